"""A worker that hangs: it is named in the log, the supervisor hears no more, and management goes on.

The worker's thread, and no other, is stopped by ptrace(2), as a debugger would. systemd is played by the test.
"""

import contextlib
import ctypes
import json
import os
import socket
import time
from pathlib import Path

from lab.net import wait_for
from lab.site import one_tenant

PTRACE_ATTACH, PTRACE_DETACH = 16, 17
WALL = 0x40000000
WATCHDOG_SECONDS = 0.4


def ptrace(request, thread):
    """One ptrace request without arguments."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    if libc.ptrace(request, thread, None, None) != 0:
        raise OSError(ctypes.get_errno(), f"ptrace({request}) of thread {thread}")


@contextlib.contextmanager
def stopped(thread):
    """One thread stands still while the `with` lasts; the others of its process do not."""
    ptrace(PTRACE_ATTACH, thread)
    try:
        os.waitpid(thread, WALL)
        yield
    finally:
        ptrace(PTRACE_DETACH, thread)


def worker_threads(process):
    """The threads that DPDK started for workers."""
    tasks = Path(f"/proc/{process}/task").iterdir()
    return [int(task.name) for task in tasks if "worker" in (task / "comm").read_text()]


class Supervisor:
    """systemd's part: a socket that hears what the gateway says."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)

    def heard(self):
        """What was said since this was last asked."""
        words = []
        with contextlib.suppress(BlockingIOError):
            while True:
                words.append(self.socket.recv(256).decode())
        return words


def test_a_worker_that_hangs_is_named_and_the_supervisor_hears_no_more(lab, monkeypatch):
    supervisor = Supervisor(lab.directory / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(lab.directory / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", str(int(WATCHDOG_SECONDS * 1e6)))
    site = one_tenant(lab)
    with site.weir() as weir:
        weir.apply(site.state)
        site.host.reaches("10.0.0.2")
        assert "READY=1" in supervisor.heard()
        wait_for("the gateway says that it lives", lambda: "WATCHDOG=1" in supervisor.heard())
        [worker] = worker_threads(weir.process.pid)
        with stopped(worker):
            wait_for("the log names the worker", lambda: "worker on core 1 has not moved for" in weir.log.read_text())
            supervisor.heard()
            time.sleep(WATCHDOG_SECONDS * 3)
            assert supervisor.heard() == []
            # What needs no worker is answered at once, what needs it within 1 s, by name.
            assert "result" in weir.rpc("list", {"of": "bridge"})
            error = weir.rpc("stats")["error"]
            assert (error["code"], "core 1" in error["message"]) == (5, True), json.dumps(error)
        wait_for("the gateway says that it lives again", lambda: "WATCHDOG=1" in supervisor.heard())
        assert "worker on core 1 moves again" in weir.log.read_text()
        site.host.reaches("10.0.0.2")
        assert site.host.ping("10.0.0.2", count=10, interval=0.02) == 10
    assert "STOPPING=1" in supervisor.heard()
