"""A ping that runs beside what the test does, and counts what was lost."""

import re
import subprocess

from .net import LabError


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
