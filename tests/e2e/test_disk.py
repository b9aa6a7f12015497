"""The disk under the state directory is full, and has room again: changes are refused meanwhile, forwarding goes on."""

import json

from lab.net import run
from lab.site import one_tenant
from lab.steady import SteadyPing

INTERNAL = -32603


def bridges(first, count):
    """Ops that put `count` bridges."""
    return {"ops": [{"put": {"bridge": {"name": f"b{n}"}}} for n in range(first, first + count)]}


def test_a_full_disk_refuses_changes_until_it_has_room_again(lab):
    site = one_tenant(lab)
    weir = site.weir()
    weir.state.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=24m", "weir-e2e", weir.state)
    lab.callback(run, "umount", weir.state, check=False)
    with weir:
        weir.apply(site.state)
        site.host.reaches("10.0.0.2")
        before = weir.stats()["generation"]
        filler = weir.state / "filler"
        with SteadyPing(site.host, "10.0.0.2", count=200, interval=0.01) as ping:
            try:
                with open(filler, "wb", buffering=0) as file:
                    while True:
                        file.write(bytes(4096))
            except OSError:
                pass
            for _ in range(3):
                # More than what the file has free.
                error = weir.rpc("apply", bridges(0, 20000))["error"]
                assert error["code"] == INTERNAL and "nothing changed" in error["message"], json.dumps(error)
            assert weir.stats()["generation"] == before
            assert len(weir.show("bridge")) == 1
            filler.unlink()
            assert weir.rpc("apply", bridges(0, 20000))["result"]["generation"] == before + 1
        assert ping.lost == 0
        weir.kill()
        weir.start()
        assert weir.stats()["generation"] == before + 1
        assert len(weir.show("bridge")) == 20001
        site.host.reaches("10.0.0.2")
