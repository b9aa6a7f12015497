"""The gateway under test: its configuration, its process, its RPC and `weirctl`.

Every test ends with [`Weir.finish`]: counters balance, nothing was dropped for a reason the test does not name, SIGTERM
leaves a clean exit (the firmware itself compares its free mbufs with those at start, and exits non-zero when they differ).
"""

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from .net import end, run, wait_for

ROOT = Path(__file__).resolve().parents[3]
BINARIES = ROOT / os.environ.get("WEIR_BINARIES", "target/release")  # a relative path is the checkout's


class WeirFailure(AssertionError):
    """The gateway did not do as it must; holds its log."""


def af_packet(number, interface, queues=1):
    """The device string of a software port on an interface."""
    return f"net_af_packet{number},iface={interface}" + (f",qpairs={queues}" if queues > 1 else "")


def toml_value(value):
    """A TOML value; of the few types that are needed here, JSON's notation is also TOML's."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(k)} = {toml_value(v)}" for k, v in value.items()) + " }"
    return json.dumps(value)


def toml(document):
    """A TOML document of tables (dicts) and arrays of tables (lists of dicts)."""
    lines = []
    for name, content in document.items():
        for table in content if isinstance(content, list) else [content]:
            lines.append(f"[[{name}]]" if isinstance(content, list) else f"[{name}]")
            lines += [f"{key} = {toml_value(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


class Weir:
    """One gateway in a namespace. As a context manager: starts, and on a clean end of the `with` finishes and judges."""

    def __init__(self, lab, namespace, ports, *, cores=(1,), dpdk=None, name="weir", after_start=(), **sections):
        """`ports` is a list of [[port]] tables; `sections` are other tables of weir.toml.

        `after_start` is called each time that it has started: for interfaces that it makes itself.
        """
        self.after_start = after_start
        self.lab, self.namespace, self.name = lab, namespace, name
        self.directory = lab.directory / name
        self.directory.mkdir(exist_ok=True)
        self.config, self.log = self.directory / "weir.toml", self.directory / "log"
        self.socket, self.state = self.directory / "weir.sock", self.directory / "state"
        self.document = {
            "dpdk": {
                "hugepages": "none",
                "memory_mib": 256,
                "mbufs": 8192,
                "file_prefix": f"{lab.directory.name}-{name}",
                **(dpdk or {}),
            },
            "workers": {"cores": list(cores), "poll": "adaptive"},
            "rpc": {"socket": str(self.socket)},
            "state": {"directory": str(self.state)},
            "tables": {"macs": 16384},
            "port": ports,
            **sections,
        }
        self.allowed_drops, self.process, self.generation = set(), None, None

    # The process

    def spawn(self, *options):
        """Starts the process without waiting for it to answer."""
        self.config.write_text(toml(self.document))
        self.state.mkdir(exist_ok=True)
        log = open(self.log, "a")
        argv = [BINARIES / "weir", "-c", self.config, *options]
        self.process = self.namespace.start(*argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        log.close()

    def start(self, seconds=20):
        """Starts it and waits until it answers the RPC."""
        self.spawn()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise self.failure(f"weir ended with {self.process.returncode} instead of starting")
            try:
                stats = self.stats()
            except OSError:
                time.sleep(0.02)
                continue
            for call in self.after_start:
                call()
            return stats
        raise self.failure(f"weir does not answer {seconds} s after its start")

    def check(self):
        """Runs `weir --check`: the CompletedProcess."""
        self.config.write_text(toml(self.document))
        return self.namespace.run(BINARIES / "weir", "--check", "-c", self.config, check=False)

    def kill(self):
        """SIGKILL: nothing is said good-bye to."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """SIGTERM; the exit must be 0."""
        code = end(self.process, signal.SIGTERM, 10)
        if code != 0:
            raise self.failure(f"weir exits with {code} on SIGTERM")

    def failure(self, what):
        """A WeirFailure with the log."""
        log = self.log.read_text(errors="replace") if self.log.exists() else ""
        return WeirFailure(f"{what}\n--- {self.name}'s log\n{log[-8000:]}")

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, error, traceback):
        if kind is None:
            self.finish()
        else:
            log = self.log.read_text(errors="replace")
            print(f"--- {self.name}'s log\n{log[-8000:]}")
            if self.process.poll() is None:
                self.report_counters()
                end(self.process, signal.SIGTERM, 10)

    def report_counters(self):
        """Prints every counter, for a test that failed."""
        try:
            print(f"--- {self.name}'s counters\n{json.dumps(self.stats(), indent=1)}")
        except (OSError, AssertionError) as e:
            print(f"--- {self.name} does not tell its counters: {e}")

    def finish(self):
        """Counters balance, drops are only the named ones, and SIGTERM leaves exit code 0."""
        self.balance()
        stray = {reason: n for reason, n in self.drops().items() if reason not in self.allowed_drops}
        if stray:
            raise self.failure(f"dropped for reasons the test does not name: {stray}")
        self.stop()

    # Management

    def rpc(self, method, params=None, timeout=10):
        """One JSON-RPC call on a connection of its own. Returns the response, result or error."""
        with self.connect(timeout) as connection:
            request = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params or {}}
            connection.sendall(json.dumps(request).encode() + b"\n")
            line = connection.makefile("rb").readline()
        if not line:
            raise ConnectionError(f"{self.name} closed the connection without an answer")
        response = json.loads(line)
        assert response["id"] == 7, response
        return response

    def connect(self, timeout=10):
        """A raw connection to the RPC's socket."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(timeout)
        try:
            connection.connect(str(self.socket))
        except OSError:
            connection.close()
            raise
        return connection

    def stats(self):
        """Every counter and gauge, as the RPC gives them."""
        response = self.rpc("stats")
        assert "result" in response, response
        return response["result"]

    def ctl(self, *argv, check=True, stdin=None):
        """`weirctl` on this gateway. Returns the CompletedProcess; fails on a non-zero exit when `check`."""
        done = run(BINARIES / "weirctl", "-s", self.socket, *argv, check=False, stdin=stdin)
        if check and done.returncode != 0:
            raise self.failure(f"weirctl {' '.join(map(str, argv))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def show(self, *argv):
        """What `weirctl -j show …` prints, parsed."""
        return json.loads(self.ctl("-j", "show", *argv).stdout)

    def apply(self, state, *options):
        """Applies a whole desired state (a dict of lists) with `weirctl apply -f -`, and waits until workers run it."""
        self.ctl("apply", "-f", "-", *options, stdin=toml(state))
        self.settle()

    def settle(self):
        """Waits until every worker forwards by the newest generation."""

        def settled():
            stats = self.stats()
            return all(w["generation"] == stats["generation"] for w in stats["workers"])

        wait_for("every worker forwards by the newest generation", settled)

    # Counters

    def drops(self):
        """Frames dropped by reason, over all ports."""
        total = {}
        for port in self.stats()["ports"]:
            for reason, n in port["drops"].items():
                total[reason] = total.get(reason, 0) + n
        return total

    def balance(self):
        """Asserts: received + originated = sent + dropped + held + consumed, and ports agree with workers."""
        stats = self.stats()
        workers = {key: sum(w[key] for w in stats["workers"]) for key in stats["workers"][0] if key.endswith("_packets")}
        came = workers["rx_packets"] + workers["originated_packets"]
        went = sum(workers[f"{way}_packets"] for way in ("tx", "dropped", "held", "consumed"))
        dropped = sum(sum(port["drops"].values()) for port in stats["ports"])
        if came != went or dropped != workers["dropped_packets"]:
            sums = f"{came} came, {went} went, {dropped} dropped by name"
            raise self.failure(f"counters do not balance: {sums}: {json.dumps(stats, indent=1)}")
        for way in ("rx_packets", "tx_packets"):
            ports = sum(port[way] for port in stats["ports"])
            if ports != workers[way]:
                raise self.failure(f"ports count {ports} {way}, workers {workers[way]}")
        return stats
