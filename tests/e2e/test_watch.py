"""`weirctl watch` and `weirctl clear`: what happens is told as it happens, to any number of watchers."""

import json
import signal
import subprocess

from lab.net import end, wait_for
from lab.site import one_tenant
from lab.weir import BINARIES

MOVING = "02:00:00:00:00:77"


class Watch:
    """A `weirctl watch -j` that runs; its lines so far."""

    def __init__(self, weir, directory, *argv):
        self.path = directory / f"watched-{len(list(directory.iterdir()))}"
        command = [BINARIES / "weirctl", "-s", weir.socket, "-j", "watch", *argv]
        with open(self.path, "w") as out:
            self.process = subprocess.Popen(command, stdout=out, stdin=subprocess.DEVNULL)

    def rows(self):
        """What it has printed, parsed: every line is a whole one once it is there."""
        return [json.loads(line) for line in self.path.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def events(self, mac=None):
        """Events and their places, of one host or of all."""
        rows = [row for row in self.rows() if mac is None or row.get("mac") == mac]
        return [(row["event"], row.get("location"), row.get("from")) for row in rows]

    def finish(self):
        """Interrupts it, as Ctrl-C does: its exit code."""
        return end(self.process, signal.SIGINT, 5)


def begin(weir, directory, *argv):
    """A watch that is known to have begun: an apply is told, which is repeated until it is."""
    watch = Watch(weir, directory, "--event", "applied", *argv)
    limit = iter(range(5000, 6000))

    def told():
        weir.ctl("set", "bridge", "red", "--mac-limit", str(next(limit)))
        return watch.rows()

    wait_for("the watch has begun", told)
    return watch


def appear(host, device, mac):
    """A host's device gets a MAC, and says something by it."""
    host.ip("link", "set", device, "address", mac)
    host.run("ping", "-c", "1", "-W", "1", "-b", "10.0.0.255", check=False)


def test_a_watcher_sees_hosts_learned_and_moved_and_what_was_applied(lab):
    site = one_tenant(lab)
    with site.weir() as weir:
        weir.apply(site.state)
        watch = begin(weir, lab.directory, "--event", "learned", "--event", "moved")
        moves_only = begin(weir, lab.directory, "--event", "moved")
        near, far = site.host.mac("eth0"), site.far.mac("vx0")
        site.host.reaches("10.0.0.2")
        segment = site.state["segment"][0]["id"]
        wait_for("both hosts are told of", lambda: watch.events(near) and watch.events(far))
        assert watch.events(near) == [("learned", segment, None)]
        assert watch.events(far) == [("learned", "vxlan/10000/192.0.2.2", None)]
        appear(site.host, "eth0", MOVING)
        wait_for("the new MAC is told of", lambda: watch.events(MOVING))
        site.host.ip("link", "set", "eth0", "address", near)
        appear(site.far, "vx0", MOVING)
        moved = ("moved", "vxlan/10000/192.0.2.2", segment)
        wait_for("its move is told", lambda: moved in watch.events(MOVING))
        assert watch.events(MOVING) == [("learned", segment, None), moved]
        wait_for("the other watcher has it too", lambda: moves_only.events(MOVING) == [moved])
        assert {row["event"] for row in moves_only.rows()} == {"applied", "moved"}
        assert all(row["bridge"] == "red" for row in watch.rows() if row["event"] != "applied")
        assert weir.show("event", "moved")[0]["count"] >= 1
        assert (watch.finish(), moves_only.finish()) == (0, 0)


def test_what_was_cleared_is_learned_again_by_who_still_talks(lab):
    site = one_tenant(lab)
    with site.weir() as weir:
        weir.apply(site.state)
        site.host.reaches("10.0.0.2")
        near = site.host.mac("eth0")
        watch = begin(weir, lab.directory, "--event", "learned")
        cleared = json.loads(weir.ctl("-j", "clear", "mac", "--bridge", "red").stdout)
        assert sum(worker["cleared"] for worker in cleared["workers"]) >= 2
        assert site.host.ping("10.0.0.2", count=3) == 3
        wait_for("it is learned again", lambda: ("learned", site.state["segment"][0]["id"], None) in watch.events(near))
        refused = weir.ctl("clear", "mac", "--bridge", "blue", check=False)
        assert refused.returncode == 4 and "there is no bridge blue" in refused.stderr
        assert watch.finish() == 0


def test_a_watch_ends_with_its_count_and_with_the_gateway(lab):
    site = one_tenant(lab)
    with site.weir() as weir:
        weir.apply(site.state)
        counted = begin(weir, lab.directory, "--count", "1")
        assert counted.process.wait(5) == 0
        assert len(counted.rows()) == 1
        whole = begin(weir, lab.directory)
    # The gateway has stopped, with somebody watching, and said that all was well.
    assert whole.process.wait(5) == 3
