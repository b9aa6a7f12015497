"""The demo, as a newcomer runs it; and that it leaves nothing behind, whichever way it ends."""

import os
import signal
import subprocess
import time

from lab.net import run
from lab.weir import ROOT

DIRECTORY = "/run/weir-demo"
MADE = [DIRECTORY, "/run/lock/weir-demo", "/var/run/dpdk/weir-demo"]


def leftovers():
    """What a demo made and did not take away."""
    namespaces = [line.split()[0] for line in run("ip", "netns", "list").stdout.splitlines()]
    found = [name for name in namespaces if name.startswith("weir-demo-")]
    commands = run("ps", "-eo", "args").stdout.splitlines()
    return found + [c for c in commands if DIRECTORY in c] + [path for path in MADE if os.path.exists(path)]


def test_the_demo_shows_traffic_and_cleans_up(lab):
    started = time.monotonic()
    done = run(ROOT / "demo/run", check=False, timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" 0% packet loss") == 5, done.stdout
    for word in ("vxlan/10000/192.0.2.2", "vlan/lan0/200", "unknown_vni", "weir exited with 0"):
        assert word in done.stdout, f"{word} is not in:\n{done.stdout}"
    assert leftovers() == []
    assert time.monotonic() - started < 60


def test_the_demo_cleans_up_on_ctrl_c(lab):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    demo = lab.start(ROOT / "demo/run", **pipes, start_new_session=True)
    for line in demo.stdout:
        if "weirctl apply" in line:
            break
    os.killpg(demo.pid, signal.SIGINT)  # as a terminal does it: to the demo and to all that it started
    said, _ = demo.communicate(timeout=20)
    assert demo.returncode == 130, said
    assert "The demo was interrupted." in said and "The demo failed." not in said, said
    assert leftovers() == []
