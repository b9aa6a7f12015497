"""Namespaces, cables and processes.

A namespace is named `weir-PID-N-ROLE`, PID being the test run's, so that runs side by side never meet; interfaces are
made inside their namespace, so that their names can be plain. Every process dies with the test run (PR_SET_PDEATHSIG).
"""

import contextlib
import ctypes
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

TOOLS = (
    "ip bridge ethtool ping ss sysctl tcpdump tshark iperf3 socat ovs-vswitchd ovs-vsctl ovs-ofctl ovsdb-server ovsdb-tool "
    "setpriv arping ndisc6 rdisc6 keepalived dpdk-testpmd traceroute mtr tracepath"
).split()
OFFLOADS = "tx off rx off tso off gso off gro off txvlan off rxvlan off".split()
CLONE_NEWNET = 0x40000000

_serial = itertools.count()


class LabError(Exception):
    """Something in the lab itself did not work; the message holds the command and what it printed."""


def missing_tools():
    """The tools of TOOLS that are not installed, or "root" when this is not root."""
    return [tool for tool in TOOLS if not shutil.which(tool)] + ([] if os.geteuid() == 0 else ["root"])


def run(*argv, check=True, timeout=30, stdin=None):
    """Runs a command to its end. Returns the CompletedProcess with text; raises LabError when it fails and `check`."""
    argv = [str(a) for a in argv]
    done = subprocess.run(argv, input=stdin, text=True, capture_output=True, timeout=timeout)
    if check and done.returncode != 0:
        raise LabError(f"{' '.join(argv)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def wait_for(what, condition, seconds=5.0, every=0.05):
    """Calls `condition` until it returns something true, and returns that; AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(every)


def end(process, with_signal=signal.SIGTERM, seconds=5):
    """Signals a process and waits for it; kills it when it does not end in time. Returns its exit code."""
    if process.poll() is None:
        process.send_signal(with_signal)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream and not stream.closed:
            with contextlib.suppress(OSError):
                stream.close()
    return process.returncode


class Lab(contextlib.ExitStack):
    """A directory, and all that is set up for one test; everything goes when the `with` ends."""

    def __init__(self):
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="weir-e2e-"))
        self.callback(shutil.rmtree, self.directory, ignore_errors=True)
        self.tag = f"{os.getpid()}-{next(_serial)}"

    def namespace(self, role):
        """A new network namespace with its loopback up and IPv6 off (nothing speaks unasked)."""
        return self.enter_context(Namespace.new(f"weir-{self.tag}-{role}", role, self))

    def cable(self, left, left_name, right, right_name, mtu=1500):
        """A veth pair between two namespaces, up, without offloads, so that every frame is as on a wire."""
        add = ["ip", "link", "add", left_name, "mtu", mtu, "netns", left.name, "type", "veth"]
        run(*add, "peer", "name", right_name, "mtu", mtu, "netns", right.name)
        for namespace, name in ((left, left_name), (right, right_name)):
            namespace.up(name)

    def start(self, *argv, namespace=None, **options):
        """Starts a process that ends at the latest with the lab. `options` are Popen's."""
        return self.enter_context(process(*argv, namespace=namespace, **options))


@contextlib.contextmanager
def process(*argv, namespace=None, **options):
    """A process in a namespace (or here), ended when the `with` ends."""
    enter = ["ip", "netns", "exec", namespace.name] if namespace else []
    argv = [*enter, "setpriv", "--pdeathsig", "KILL", *(str(a) for a in argv)]
    started = subprocess.Popen(argv, **options)
    try:
        yield started
    finally:
        end(started)


class Namespace:
    """A network namespace: a host, a router, or the gateway's place."""

    def __init__(self, name, role, lab):
        self.name, self.role, self.lab = name, role, lab

    @classmethod
    @contextlib.contextmanager
    def new(cls, name, role, lab):
        """Makes it, and deletes it when the `with` ends."""
        run("ip", "netns", "add", name)
        try:
            namespace = cls(name, role, lab)
            for scope in ("all", "default"):
                namespace.run("sysctl", "-qw", f"net.ipv6.conf.{scope}.disable_ipv6=1")
            namespace.ip("link", "set", "lo", "up")
            yield namespace
        finally:
            run("ip", "netns", "del", name, check=False)

    def run(self, *argv, **options):
        """Runs a command inside. See [`run`]."""
        return run("ip", "netns", "exec", self.name, *argv, **options)

    def ip(self, *argv, **options):
        """An `ip` command inside."""
        return run("ip", "-n", self.name, *argv, **options)

    def up(self, interface):
        """Offloads off, and up."""
        self.run("ethtool", "-K", interface, *OFFLOADS, check=False)
        self.ip("link", "set", interface, "up")

    def address(self, interface, prefix, mac=None):
        """Gives an interface an address such as 10.0.0.1/24 or fd00::1/64, and a MAC.

        IPv6 comes without duplicate address detection and a link-local address, and multicast groups are reported at
        once and not again: nothing speaks unasked later.
        """
        if mac:
            self.ip("link", "set", interface, "address", mac)
        if ":" in prefix:
            self.ip("link", "set", interface, "addrgenmode", "none")
            own = f"net.ipv6.conf.{interface}"
            self.run("sysctl", "-qw", f"{own}.mldv2_unsolicited_report_interval=1")
            self.run("sysctl", "-qw", f"{own}.disable_ipv6=0")
        self.ip("address", "add", prefix, "dev", interface, *(["nodad"] if ":" in prefix else []))

    def mac(self, interface):
        """The interface's MAC."""
        shown = self.ip("-o", "link", "show", "dev", interface).stdout
        return re.search(r"link/ether (\S+)", shown).group(1)

    def start(self, *argv, **options):
        """Starts a process inside; it ends at the latest with the lab."""
        return self.lab.start(*argv, namespace=self, **options)

    def ping(self, address, count=1, interval=0.2, size=56, options=(), wait=1):
        """Pings, and returns how many answers came back."""
        argv = ["ping", "-n", "-q", "-c", count, "-i", interval, "-s", size, "-W", wait, *options, address]
        done = self.run(*argv, check=False, timeout=30 + count * (interval + wait))
        found = re.search(r"(\d+) packets transmitted, (\d+) received", done.stdout)
        if not found:
            raise LabError(f"{self.role}: {' '.join(map(str, argv))}: {done.stdout}{done.stderr}")
        return int(found.group(2))

    def reaches(self, address, seconds=5.0):
        """Asserts that a ping is answered within `seconds` (several are tried: paths need a moment to come up)."""
        wait_for(f"{self.role} pings {address}", lambda: self.ping(address), seconds)

    def forget_neighbours(self):
        """Empties the ARP and ND caches."""
        self.ip("neighbour", "flush", "all")

    def socket(self, *arguments):
        """A socket made inside this namespace; it stays there wherever it is used."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net") as here, open(f"/run/netns/{self.name}") as there:
            if libc.setns(there.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), f"setns {self.name}")
            try:
                return socket.socket(*arguments)
            finally:
                if libc.setns(here.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns back")
