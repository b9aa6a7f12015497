#!/usr/bin/python3
"""Makes the input captures of the golden cases from their scripts.

    tests/golden/make.py                 writes in.PORT.pcap of every case
    tests/golden/make.py CASE...         of these cases
    tests/golden/make.py --check         writes nothing; exits 1 if a capture is not what its script says

A line `PORT < EXPRESSION` in a script is a burst of frames: a scapy packet, bytes, or a list of them. The expression is
Python; besides scapy it may use the words below and the script's own `let NAME = EXPRESSION` lines. A frame's capture
time says where it is from: in seconds the number of its `<` line in the script, in microseconds a hash of the
expression and of the `let` lines before it, by which the runner knows a capture that is older than its script.

Needs scapy (Debian: apt-get install python3-scapy).
"""

import pathlib
import struct
import sys

from scapy.all import (  # noqa: F401: for the scripts
    ARP, ICMP, IP, TCP, UDP, Dot1AD, Dot1Q, Dot3, Ether, GRE, ICMPv6EchoRequest, IPOption, IPv6,
    IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, LLC, PadN, Raw, fragment,
)
from scapy.layers.vxlan import VXLAN

HERE = pathlib.Path(__file__).parent

# Hosts of tenants.
A, B, C, D = (f"02:00:00:00:00:{n:02x}" for n in (0xA, 0xB, 0xC, 0xD))
ALL = "ff:ff:ff:ff:ff:ff"
# The gateway's ports, and its vtep's address.
LAN0, LAN1, WAN0 = (f"02:00:00:00:f0:{n:02x}" for n in range(3))
VTEP = "192.0.2.1"


def host(n):
    """The MAC of a tenant's n-th further host."""
    return f"02:00:00:01:{n >> 8:02x}:{n & 255:02x}"


def hop(n):
    """The MAC of 192.0.2.n on the underlay."""
    return f"02:00:00:00:02:{n:02x}"


def eth(source, destination, **fields):
    return Ether(src=source, dst=destination, **fields)


def tag(vid, pcp=0, dei=0, **fields):
    return Dot1Q(vlan=vid, prio=pcp, id=dei, **fields)


def data(n):
    """n bytes of payload."""
    return Raw(bytes(i & 255 for i in range(n)))


def ip(**fields):
    """An IPv4 header between two hosts of a tenant."""
    return IP(**{"src": "10.0.0.1", "dst": "10.0.0.2", **fields})


def ip6(**fields):
    return IPv6(**{"src": "fd00::1", "dst": "fd00::2", **fields})


def udp(sport=1000, dport=2000, **fields):
    return UDP(sport=sport, dport=dport, **fields)


def hello(text="hello", **fields):
    """A small IPv4 UDP datagram; `fields` are of its IP header."""
    return ip(**fields) / udp() / Raw(text.encode())


def arp(op, source, source_ip, target_ip, target="00:00:00:00:00:00", **fields):
    """An ARP message: 1 asks, 2 answers."""
    return ARP(op=op, hwsrc=source, psrc=source_ip, hwdst=target, pdst=target_ip, **fields)


def under(n=2, **fields):
    """Outer Ethernet and IPv4 headers from 192.0.2.n to the vtep; `fields` are of the IP header."""
    return eth(hop(n), WAN0) / IP(**{"src": f"192.0.2.{n}", "dst": VTEP, "id": 0, "flags": "DF", **fields})


def vxlan(vni=7, peer=2, sport=50000, vx=None, **fields):
    """Outer headers, VXLAN included, from a peer to the vtep; `vx` are fields of VXLAN's header, others of IP's."""
    return under(peer, **fields) / UDP(sport=sport, dport=4789, chksum=0) / VXLAN(**{"flags": 8, "vni": vni, **(vx or {})})


def raw(frame):
    return bytes(frame)


def pad(frame, n, byte=b"\xee"):
    """The frame with n bytes of padding behind it."""
    return raw(frame) + byte * n


def patch(frame, at, new):
    """The frame with other bytes at a place; no checksum follows."""
    frame = raw(frame)
    assert at + len(new) <= len(frame), "behind the end"
    return frame[:at] + bytes(new) + frame[at + len(new):]


def cuts(frame, first=1, last=None):
    """The frame cut to each length from `first` to `last`, or to one less than it has."""
    frame = raw(frame)
    return [frame[:n] for n in range(first, (last if last is not None else len(frame) - 1) + 1)]


def lines(script):
    """The script's lines, without comments; a line that ends with a backslash goes on in the next."""
    text = script.read_text().replace("\\\n", " ")
    return [line.strip() for line in text.split("\n") if line.strip() and not line.strip().startswith("#")]


def stamp(text):
    """FNV-1a in 32 bits, modulo a million; the runner has the same."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value % 1_000_000


def captures(case):
    """The captures of a case: file name to bytes."""
    names, lets, number, frames = dict(globals()), [], 0, {}
    for line in lines(case / "script"):
        word, operator, rest = (line.split(None, 2) + ["", ""])[:3]
        if word == "let":
            name, expression = line[3:].split("=", 1)
            lets.append(line)
            names[name.strip()] = eval(expression, names)
        elif operator == "<":
            number += 1
            burst = eval(rest, names)
            burst = burst if isinstance(burst, list) else [burst]
            records = frames.setdefault(f"in.{word}.pcap", [])
            records += [(number, stamp("\n".join([*lets, rest])), raw(frame)) for frame in burst]
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    return {
        name: head + b"".join(struct.pack("<IIII", s, us, len(f), len(f)) + f for s, us, f in records)
        for name, records in frames.items()
    }


def main(arguments):
    check = "--check" in arguments
    chosen = [a.rstrip("/") for a in arguments if a != "--check"]
    cases = sorted(p.parent for p in HERE.glob("*/script") if not chosen or p.parent.name in chosen)
    stale = []
    for case in cases:
        try:
            made = captures(case)
        except Exception as error:
            sys.exit(f"{case.name}: {error!r}")
        there = {p.name: p.read_bytes() for p in case.glob("in.*.pcap")}
        if made == there:
            continue
        stale.append(case.name)
        if not check:
            for name in there.keys() - made.keys():
                (case / name).unlink()
            for name, content in made.items():
                (case / name).write_bytes(content)
    if check and stale:
        sys.exit(f"not what their scripts say: {', '.join(stale)}; run tests/golden/make.py")


if __name__ == "__main__":
    main(sys.argv[1:])
