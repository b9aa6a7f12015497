"""Frames on the wire: sent by hand, and captured.

The kernel takes a VLAN tag out of a frame before a packet socket sees it; [`FrameSocket`] puts it back from the
auxiliary data (packet(7), PACKET_AUXDATA), so that what is read is what was on the wire.
"""

import contextlib
import select
import signal
import socket
import struct
import time

from . import witness
from .net import LabError, end

with contextlib.redirect_stderr(None):
    from scapy.all import Ether, rdpcap

ETH_P_ALL = 3
SOL_PACKET, PACKET_AUXDATA = 263, 8
TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID = 0x10, 0x40
PACKET_OUTGOING = 4


class FrameSocket:
    """A packet socket on an interface of a namespace: whole Ethernet frames, tags and all."""

    def __init__(self, namespace, interface):
        self.raw = namespace.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.raw.bind((interface, 0))
        self.raw.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.raw.close()

    def send(self, frame):
        """Sends a frame: scapy's or bytes."""
        self.raw.send(bytes(frame))

    def receive(self, wanted=lambda frame: True, seconds=2.0):
        """The next frame (scapy's Ether) that came in and is `wanted`; None when there is none in time."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.raw.settimeout(left)
            try:
                data, auxiliary, _, sender = self.raw.recvmsg(65536, 256)
            except TimeoutError:
                return None
            if sender[2] == PACKET_OUTGOING:
                continue
            frame = Ether(self._with_tag(data, auxiliary))
            if wanted(frame):
                return frame
        return None

    @staticmethod
    def _with_tag(data, auxiliary):
        for level, kind, value in auxiliary:
            if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
                status, _, _, _, _, tci, tpid = struct.unpack("IIIHHHH", value[:20])
                if status & TP_STATUS_VLAN_VALID:
                    tpid = tpid if status & TP_STATUS_VLAN_TPID_VALID else 0x8100
                    return data[:12] + struct.pack("!HH", tpid, tci) + data[12:]
        return data


class Capture:
    """tcpdump on an interface while the `with` lasts; afterwards its frames, and tshark's opinion of them."""

    def __init__(self, namespace, interface, expression=""):
        self.namespace, self.interface, self.expression = namespace, interface, expression
        directory = namespace.lab.directory
        self.file = directory / f"{namespace.role}-{interface}-{time.monotonic_ns()}.pcap"

    def __enter__(self):
        self.said = open(f"{self.file}.log", "w+")
        write = ["tcpdump", "-Z", "root", "-n", "-U", "--immediate-mode", "-i", self.interface, "-w", self.file]
        self.process = self.namespace.start(*write, *self.expression.split(), stderr=self.said)
        deadline = time.monotonic() + 10
        while "listening on" not in (said := self._said()):
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise LabError(f"tcpdump on {self.namespace.role} {self.interface}: {said}")
            time.sleep(0.02)
        return self

    def __exit__(self, *_):
        time.sleep(0.1)
        end(self.process, signal.SIGINT)
        self.said.close()

    def _said(self):
        self.said.seek(0)
        return self.said.read()

    def frames(self):
        """What was captured, as scapy's Ether."""
        return list(rdpcap(str(self.file)))

    def faults(self):
        """What tshark finds wrong: malformed packets, bad checksums. One line each; empty when all is well."""
        return witness.faults(self.file)

    def decode(self, *fields, only=""):
        """What tshark decodes. See [`witness.decode`]."""
        return witness.decode(self.file, *fields, only=only)


class Listeners:
    """Hosts that listen for frames with a marker: who heard it, and how often.

    Each place is (namespace, interface); a host does not hear what it sends itself.
    """

    def __init__(self, places):
        """`places` is a dict of name -> (namespace, interface)."""
        self.sockets = {name: FrameSocket(*place) for name, place in places.items()}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for each in self.sockets.values():
            each.raw.close()

    def send(self, name, frame):
        """Sends a frame from one of the places."""
        self.sockets[name].send(frame)

    def heard(self, marker, quiet=0.3):
        """How often each place heard a frame that contains `marker`, after `quiet` seconds of silence."""
        counts = dict.fromkeys(self.sockets, 0)
        poll = select.poll()
        by_number = {each.raw.fileno(): (name, each.raw) for name, each in self.sockets.items()}
        for number in by_number:
            poll.register(number, select.POLLIN)
        last = time.monotonic()
        while (left := last + quiet - time.monotonic()) > 0:
            for number, _ in poll.poll(left * 1000):
                name, raw = by_number[number]
                data, sender = raw.recvfrom(65536)
                if sender[2] != PACKET_OUTGOING and marker in data:
                    counts[name] += 1
                    last = time.monotonic()
        return counts
