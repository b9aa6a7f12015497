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
    ARP, ICMP, IP, TCP, UDP, Dot1AD, Dot1Q, Dot3, Ether, GRE, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ND_NA,
    ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, ICMPv6ND_RA, ICMPv6ND_RS, IPOption, IPv6, IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, Jumbo, LLC, PadN, Raw, fragment,
)
from scapy.utils import checksum
from scapy.layers.dhcp import BOOTP, DHCP  # noqa: F401: the same
from scapy.layers.vxlan import VXLAN

HERE = pathlib.Path(__file__).parent

# Hosts of tenants.
A, B, C, D = (f"02:00:00:00:00:{n:02x}" for n in (0xA, 0xB, 0xC, 0xD))
ALL = "ff:ff:ff:ff:ff:ff"
# The gateways' MACs on bridges a, b and c of the routed setups, and another gateway's DVR MAC.
GA, GB, GC = (f"02:00:00:00:a0:{n:02x}" for n in (0xA, 0xB, 0xC))
FAR = "02:00:00:00:d0:02"
# The gateway's ports, and its vteps' addresses.
LAN0, LAN1, WAN0 = (f"02:00:00:00:f0:{n:02x}" for n in range(3))
VTEP, VTEP6 = "192.0.2.1", "2001:db8::1"
# Where it is asked who has VTEP6: the group, and its MAC.
ASKED, ASKED_MAC = "ff02::1:ff00:1", "33:33:ff:00:00:01"


def host(n):
    """The MAC of a tenant's n-th further host."""
    return f"02:00:00:01:{n >> 8:02x}:{n & 255:02x}"


def hop(n):
    """The MAC of 192.0.2.n, and of 2001:db8::n, on the underlay."""
    return f"02:00:00:00:02:{n:02x}"


def eth(source, destination, **fields):
    return Ether(src=source, dst=destination, **fields)


def tag(vid, pcp=0, dei=0, **fields):
    return Dot1Q(vlan=vid, prio=pcp, id=dei, **fields)


def stack(outer, inner, pcp=0, dei=0, tpid=0x88a8, **fields):
    """Two tags; priority and drop eligibility are the outer one's, `fields` the inner one's."""
    return (Dot1AD if tpid == 0x88a8 else Dot1Q)(vlan=outer, prio=pcp, id=dei) / Dot1Q(vlan=inner, **fields)


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


def across(text="hello", **fields):
    """The same between two nets: from host A, 10.0.1.10, to host B, 10.0.2.11."""
    return hello(text, **{"src": "10.0.1.10", "dst": "10.0.2.11", **fields})


def across6(text="hello", **fields):
    """The same over IPv6: from fd00:1::a to fd00:2::b."""
    return ip6(**{"src": "fd00:1::a", "dst": "fd00:2::b", **fields}) / udp() / Raw(text.encode())


def optioned(options, behind, **fields):
    """An IPv4 packet with these bytes as its options, right or wrong, padded to whole words; `behind` them. It needs the type in front."""
    options += bytes(-len(options) % 4)
    length = 20 + len(options)
    head = raw(ip(**{"ihl": length // 4, "len": length + len(raw(behind)), "proto": 17, "chksum": 0, **fields})) + options
    return Raw(patch(head, 10, struct.pack(">H", checksum(head))) + raw(behind))


def arp(op, source, source_ip, target_ip, target="00:00:00:00:00:00", **fields):
    """An ARP message: 1 asks, 2 answers."""
    return ARP(op=op, hwsrc=source, psrc=source_ip, hwdst=target, pdst=target_ip, **fields)


def under(n=2, **fields):
    """Outer Ethernet and IPv4 headers from 192.0.2.n to the vtep; `fields` are of the IP header."""
    return eth(hop(n), WAN0) / IP(**{"src": f"192.0.2.{n}", "dst": VTEP, "id": 0, "flags": "DF", **fields})


def under6(n=2, **fields):
    """Outer Ethernet and IPv6 headers from 2001:db8::n to the vtep; `fields` are of the IPv6 header."""
    return eth(hop(n), WAN0) / IPv6(**{"src": f"2001:db8::{n:x}", "dst": VTEP6, **fields})


def vxlan(vni=7, peer=2, sport=50000, vx=None, over=under, **fields):
    """Outer headers, VXLAN included, from a peer to the vtep; `vx` are fields of VXLAN's header, others of IP's."""
    return over(peer, **fields) / UDP(sport=sport, dport=4789, chksum=0) / VXLAN(**{"flags": 8, "vni": vni, **(vx or {})})


def nvgre(vsid=5000, peer=2, flow=0, gre=None, over=under, **fields):
    """Outer headers of NVGRE, from a peer to the vtep; `gre` are fields of GRE's header, others of IP's."""
    key = {"key_present": 1, "proto": 0x6558, "key": vsid << 8 | flow}
    return over(peer, **fields) / GRE(**{**key, **(gre or {})})


def option(kind=1, content=b"", of=0x0102, length=None, reserved=0):
    """A Geneve option; its length is in units of four bytes."""
    length = len(content) // 4 if length is None else length
    return struct.pack(">HBB", of, kind, reserved << 5 | length) + content


def geneve_header(vni=9, options=b"", version=0, flags=0, proto=0x6558, length=None, reserved=0):
    """A Geneve header with its options; `length` is what it says of theirs, in units of four bytes."""
    length = len(options) // 4 if length is None else length
    return Raw(struct.pack(">BBHI", version << 6 | length, flags, proto, vni << 8 | reserved) + options)


def geneve(vni=9, peer=2, sport=50000, options=b"", ge=None, over=under, **fields):
    """Outer headers, Geneve included, from a peer to the vtep; `options` and `ge` are of its header, others of IP's."""
    return over(peer, **fields) / UDP(sport=sport, dport=6081, chksum=0) / geneve_header(vni, options, **(ge or {}))


def ns(n, target, to=None, source=None, mac=None, **fields):
    """2001:db8::n, or `source`, asks who has an address: at its group, or at `to`; `fields` are of the IPv6 header."""
    last = raw(IPv6(dst=target))[37:40].hex()
    group = f"ff02::1:ff{last[:2]}:{last[2:]}"
    ask = IPv6(**{"src": source or f"2001:db8::{n:x}", "dst": to or group, "hlim": 255, **fields}) / ICMPv6ND_NS(tgt=target)
    return ask if source == "::" else ask / ICMPv6NDOptSrcLLAddr(lladdr=mac or hop(n))


def na(n, to=VTEP6, target=None, mac=None, bits=0b011, hlim=255):
    """2001:db8::n says that it, or `target`, is at a MAC; `bits` are router, solicited, override; no MAC: no option."""
    r, s, o = (bits >> 2 & 1, bits >> 1 & 1, bits & 1)
    say = IPv6(src=f"2001:db8::{n:x}", dst=to, hlim=hlim) / ICMPv6ND_NA(tgt=target or f"2001:db8::{n:x}", R=r, S=s, O=o)
    return say if mac == "" else say / ICMPv6NDOptDstLLAddr(lladdr=mac or hop(n))


def tell(n, mac, **fields):
    """2001:db8::n tells everybody, unasked, that it is at a MAC, or that `target` is."""
    return na(n, to="ff02::1", bits=0b001, mac=mac, **fields)


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
