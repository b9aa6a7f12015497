"""Frames that are cut, or lie, from both sides: dropped by name, while another tenant's pings are not lost."""

import random
import time

from lab.net import wait_for
from lab.site import VTEP
from lab.steady import SteadyPing
from lab.wire import FrameSocket
from scapy.all import ARP, IP, TCP, UDP, Dot1Q, Ether, IPv6, Raw
from scapy.layers.vxlan import VXLAN
from test_tenants import FAR, HOST, two_tenants

# What a frame that is cut or made up may be dropped for. Anything else would be a fault: no_mbuf, tx_full, …
FAULTS = set(
    "truncated malformed_ipv4 malformed_ipv6 malformed_udp malformed_arp outer_checksum outer_fragment unknown_vlan "
    "unknown_vni vxlan_flags inner_tag source_mac link_local_control not_for_us same_segment split_horizon mtu_exceeded "
    "ecn_congestion".split()
)


def inner_frames():
    """Frames of every kind that a tenant sends, red's."""
    start = Ether(dst=FAR, src="02:00:00:00:00:0b")
    return [
        start / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1, dport=2) / Raw(b"payload"),
        start / IP(src="10.0.0.1", dst="10.0.0.2", options=[b"\x01" * 40]) / TCP() / Raw(b"payload"),
        start / IPv6(src="fe80::1", dst="fe80::2") / UDP(sport=1, dport=2) / Raw(b"payload"),
        start / ARP(op=2, hwsrc="02:00:00:00:00:0b", psrc="10.0.0.77", pdst="10.0.0.2"),
        start / Dot1Q(vlan=100) / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(),
    ]


def cut(frame):
    """The frame, and each of its beginnings that a packet socket sends (from a whole Ethernet header on)."""
    whole = bytes(frame)
    return [whole[:length] for length in range(14, len(whole) + 1)]


def garbled(frame, random_, times):
    """Copies of the frame with one to four bytes changed behind the MACs."""
    for _ in range(times):
        copy = bytearray(bytes(frame))
        for _ in range(random_.randint(1, 4)):
            copy[random_.randrange(12, len(copy))] = random_.randrange(256)
        yield bytes(copy)


def send_slowly(wire, frames):
    """Sends them, no faster than a software port's ring takes them in. Returns how many."""
    for number, frame in enumerate(frames):
        wire.send(frame)
        if number % 64 == 0:
            time.sleep(0.005)
    return len(frames)


def test_cut_and_garbled_frames_are_dropped_and_the_other_tenant_does_not_notice(lab):
    site = two_tenants(lab)
    dice = random.Random(20)
    with site.weir() as weir:
        weir.apply(site.state)
        weir.allowed_drops |= FAULTS
        site.blue_host.reaches("10.0.0.2")
        site.red_host.reaches("10.0.0.2")
        port = next(p["mac"] for p in weir.show("port") if p["name"] == "wan0")
        underlay = Ether(dst=port, src=site.red_far.mac("eth0")) / IP(src="192.0.2.2", dst=VTEP) / UDP(sport=50000, dport=4789)
        before = sum(p["rx_packets"] for p in weir.stats()["ports"])
        with SteadyPing(site.blue_host, "10.0.0.2", count=300, interval=0.01) as ping:
            # At the near ends of the gateway's cables: a kernel bridge would not pass such frames on.
            with FrameSocket(site.switch_end, "trunk") as trunk, FrameSocket(site.fabric.namespace, "gateway") as wan:
                sent = 0
                for inner in inner_frames():
                    tagged = Ether(dst=inner.dst, src=inner.src) / Dot1Q(vlan=100, type=inner.type) / inner.payload
                    outer = underlay / VXLAN(vni=10000) / inner
                    sent += send_slowly(trunk, (*cut(tagged), *garbled(tagged, dice, 100)))
                    sent += send_slowly(wan, (*cut(outer), *garbled(outer, dice, 200)))
            assert ping.running(), "the bad frames were sent while the pings ran"
        assert ping.lost == 0
        wait_for("all came in", lambda: sum(p["rx_packets"] for p in weir.stats()["ports"]) >= before + sent * 9 // 10)
        assert sum(weir.drops().values()) > 100
        assert {"truncated", "vxlan_flags", "malformed_ipv4"} <= set(weir.drops())
        rows = {row["mac"]: row["location"] for row in weir.show("mac", "--bridge", "blue")}
        assert rows == {HOST: "vlan/lan0/200", FAR: "vxlan/20000/192.0.2.3"}
        site.red_host.reaches("10.0.0.2")


def test_an_interface_that_goes_down_and_comes_back_forwards_again(lab):
    site = two_tenants(lab)
    with site.weir() as weir:
        weir.apply(site.state)
        weir.allowed_drops |= {"tx_full", "next_hop_failed", "hold_full"}
        site.red_host.reaches("10.0.0.2")
        for namespace, interface in ((site.gateway, "lan0"), (site.gateway, "wan0"), (site.switch_end, "trunk")):
            namespace.ip("link", "set", interface, "down")
            assert site.red_host.ping("10.0.0.2") == 0
            namespace.ip("link", "set", interface, "up")
            site.red_host.reaches("10.0.0.2", seconds=10)
            site.blue_far.reaches("10.0.0.1", seconds=10)
