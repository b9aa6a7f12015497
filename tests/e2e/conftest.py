"""End-to-end tests: what they need, and what they share.

Run as root: `/usr/bin/python3 -m pytest tests/e2e`, after `cargo build --release`. Without root or without a tool they
fail, and do not skip: a test that did not run has shown nothing.
"""

import signal
import sys

import pytest

sys.dont_write_bytecode = True

from lab import Lab  # noqa: E402
from lab.net import missing_tools  # noqa: E402
from lab.routed import RoutedSite  # noqa: E402
from lab.weir import BINARIES  # noqa: E402


def pytest_sessionstart(session):
    missing = missing_tools()
    missing += [str(BINARIES / name) for name in ("weir", "weirctl", "weir-bench") if not (BINARIES / name).exists()]
    if missing:
        pytest.exit(f"the end-to-end tests miss: {', '.join(missing)} (sudo make deps build)", returncode=3)

    def interrupt(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


@pytest.fixture
def lab():
    """An empty lab; all that a test puts into it goes with the test."""
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="module")
def routed():
    """A tenant's two bridges, the router between them and hosts on either side, at work; one for all tests of a file."""
    with Lab() as lab, RoutedSite(lab).running() as site:
        yield site
