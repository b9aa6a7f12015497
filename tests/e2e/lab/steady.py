"""Pings that run beside what the test does: how many were lost, and for how long none was answered."""

import re
import signal
import subprocess
import time

from .net import LabError, end, wait_for


class SteadyPing:
    """Sends `count` pings, one each `interval` seconds, while the `with` lasts; afterwards `lost` says how many.

    The `with` ends when the last answer has come, or has not come within 5 s.
    """

    def __init__(self, namespace, address, count, interval=0.01):
        self.namespace, self.count, self.lost = namespace, count, None
        self.argv = ["ping", "-n", "-q", "-c", count, "-i", interval, "-W", 5, address]

    def __enter__(self):
        self.process = self.namespace.start(*self.argv, stdout=subprocess.PIPE, text=True)
        return self

    def running(self):
        """Whether pings are still being sent."""
        return self.process.poll() is None

    def __exit__(self, kind, *_):
        if kind is not None:
            return
        said, _ = self.process.communicate(timeout=60)
        found = re.search(r"(\d+) packets transmitted, (\d+) received", said)
        if not found or int(found.group(1)) != self.count:
            raise LabError(f"ping sent not all of {self.count}: {said}")
        self.lost = self.count - int(found.group(2))


class PingGaps:
    """Pings every `interval` seconds while the `with` lasts, which begins with the first answer.

    Afterwards `lost`, `outage` and `duplicates` tell how it went.
    """

    def __init__(self, namespace, address, interval=0.01):
        self.namespace, self.interval = namespace, interval
        self.argv = ["ping", "-n", "-D", "-i", interval, address]
        self.answers, self.duplicates = [], 0

    def __enter__(self):
        self.said = open(self.namespace.lab.directory / f"pings-{time.monotonic_ns()}", "w+")
        self.process = self.namespace.start(*self.argv, stdout=self.said, text=True)
        wait_for("the first ping is answered", lambda: "icmp_seq" in open(self.said.name).read(), every=self.interval)
        return self

    def __exit__(self, kind, *_):
        end(self.process, signal.SIGINT)
        self.said.seek(0)
        for line in self.said:
            if found := re.match(r"\[([\d.]+)\] \d+ bytes from .*icmp_seq=(\d+)", line):
                if "DUP!" in line:
                    self.duplicates += 1
                else:
                    self.answers.append((int(found.group(2)), float(found.group(1))))
        self.said.close()
        if kind is None and len(self.answers) < 2:
            raise LabError(f"{' '.join(map(str, self.argv))}: {len(self.answers)} answers")

    @property
    def lost(self):
        """Pings without an answer, between the first and the last that had one."""
        return self.answers[-1][0] - self.answers[0][0] + 1 - len(self.answers)

    @property
    def outage(self):
        """The longest time between two answers, less the interval: milliseconds."""
        times = [at for _, at in self.answers]
        return max(0.0, max(after - before for before, after in zip(times, times[1:])) - self.interval) * 1000
