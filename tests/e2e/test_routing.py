"""Traffic across a router, between hosts of every kind: ping, traces, path MTU, fragments, TCP and UDP.

Read first: RFC 1812 section 5, RFC 791 section 3.2 (fragments), RFC 1191 and RFC 8201 (path MTU), RFC 8200.
"""

import pytest
from lab.routed import GATEWAY_MACS, GATEWAYS, VXLAN_MTU, iperf, iperf_server, mtr, path_mtu, traceroute
from lab.wire import Capture
from scapy.all import ICMP, IP, Ether, ICMPv6PacketTooBig, IPv6

PAIRS = [("plain", "tagged"), ("plain", "far"), ("kernel", "tagged"), ("kernel", "far")]
FAMILIES = pytest.mark.parametrize("family", [4, 6])


def forget_path_mtu(host):
    """What a host has learned of paths is of another test."""
    for family in "46":
        host.namespace.ip(f"-{family}", "route", "flush", "cache")


def events(weir):
    """Counts of the pipeline's events."""
    return {row["event"]: row["count"] for row in weir.show("event")}


@FAMILIES
def test_every_host_reaches_every_other_and_every_gateway(routed, family):
    for name, other in routed.across():
        host = routed.hosts[name]
        host.namespace.reaches(routed.hosts[other].at(family))
        assert host.namespace.ping(routed.hosts[other].at(family), count=3) == 3, f"{name} to {other}"
    for name, host in routed.hosts.items():
        for bridge, gateways in GATEWAYS.items():
            assert host.namespace.ping(gateways[family == 6], count=2) == 2, f"{name} to the gateway of {bridge}"


@FAMILIES
@pytest.mark.parametrize(("name", "other"), PAIRS)
def test_traces_show_the_router_once_and_the_host(routed, name, other, family):
    routed.at_work.allowed_drops.add("ttl_exceeded")
    host, to = routed.hosts[name], routed.hosts[other].at(family)
    host.namespace.reaches(to)
    assert traceroute(host.namespace, to) == [host.gateway(family), to]
    assert mtr(host.namespace, to) == {host.gateway(family): 2, to: 2}


@FAMILIES
def test_tracepath_finds_what_fits_the_tunnel(routed, family):
    routed.at_work.allowed_drops |= {"ttl_exceeded", "fragmentation_needed"}
    host = routed.hosts["plain"]
    told = "icmp6 and ip6[40] == 2" if family == 6 else "icmp[0] == 3 and icmp[1] == 4"
    for other, mtu in (("tagged", 1500), ("far", VXLAN_MTU)):
        host.namespace.reaches(routed.hosts[other].at(family))
        with Capture(host.namespace, "eth0", told) as capture:
            assert path_mtu(host.namespace, routed.hosts[other].at(family)) == (mtu, 2)
        assert not capture.faults()
        said = [f[ICMPv6PacketTooBig].mtu if family == 6 else f[ICMP].nexthopmtu for f in capture.frames()]
        assert set(said) == ({mtu} if mtu < 1500 else set()), f"towards {other}"
        forget_path_mtu(host)


def test_what_does_not_fit_the_tunnel_is_cut_and_arrives(routed):
    host, far = routed.hosts["plain"], routed.hosts["far"]
    host.namespace.reaches(far.v4)
    may = ["-M", "dont"]
    with Capture(far.namespace, "vx0", "ip and dst 10.2.0.2") as capture:
        assert host.namespace.ping(far.v4, count=3, size=1472, options=may) == 3
    assert not capture.faults()
    pieces = [f[IP] for f in capture.frames()]
    assert [(p.flags, p.frag * 8, p.len, p.ttl) for p in pieces] == [("MF", 0, 1444, 63), (0, 1424, 76, 63)] * 3


def test_fragments_are_cut_again_and_arrive(routed):
    # Within a tunnel: the fragments of a host on a VLAN are put together by the kernel, before net_af_packet reads them.
    kernel, far, weir = routed.hosts["kernel"], routed.hosts["far"], routed.at_work
    weir.ctl("set", "interface", "r1", "blue", "--mtu", 1280)
    weir.settle()
    kernel.namespace.reaches(far.v4)
    for size in (1423, 3000, 9000, 40000):
        assert kernel.namespace.ping(far.v4, count=2, size=size, options=["-M", "dont"]) == 2, size
    with Capture(far.namespace, "vx0", "ip and dst 10.2.0.2") as capture:
        assert kernel.namespace.ping(far.v4, size=3000, options=["-M", "dont"]) == 1
    assert not capture.faults()
    assert max(f[IP].len for f in capture.frames()) <= 1280
    assert events(weir)["fragmented"] >= 5
    weir.ctl("set", "interface", "r1", "blue", "--no-mtu")
    weir.settle()


def test_over_ipv6_the_sender_is_told_and_cuts(routed):
    routed.at_work.allowed_drops.add("fragmentation_needed")
    host, far = routed.hosts["plain"], routed.hosts["far"]
    host.namespace.reaches(far.v6)
    assert host.namespace.ping(far.v6, count=3, size=3000) >= 2, "the first may be lost"
    assert far.namespace.ping(host.v6, count=3, size=3000) == 3
    forget_path_mtu(host)


def test_frames_come_from_the_gateway_with_a_hop_less(routed):
    for name, other in (("plain", "tagged"), ("tagged", "plain"), ("kernel", "tagged"), ("far", "plain")):
        host, to = routed.hosts[name], routed.hosts[other]
        host.namespace.reaches(to.v4)
        with Capture(to.namespace, to.interface, f"src {host.v4} or src {host.v6}") as capture:
            assert host.namespace.ping(to.v4) == host.namespace.ping(to.v6) == 1
        assert not capture.faults()
        frames = capture.frames()
        assert {f[Ether].src for f in frames} == {GATEWAY_MACS[to.bridge]}
        assert {f[IP].ttl if IP in f else f[IPv6].hlim for f in frames} == {63} and len(frames) == 2


@pytest.mark.parametrize(("name", "other"), [("plain", "tagged"), ("plain", "far"), ("tagged", "kernel")])
def test_tcp_and_udp_flow_both_ways(routed, name, other):
    routed.at_work.allowed_drops |= {"tx_full", "fragmentation_needed"}
    host, to = routed.hosts[name], routed.hosts[other]
    with iperf_server(to.namespace):
        for address, direction in ((to.v4, []), (to.v4, ["--reverse"]), (to.v6, []), (to.v6, ["--reverse"])):
            assert iperf(host.namespace, address, *direction)["bits_per_second"] > 10e6, f"TCP, {address} {direction}"
        for direction in ([], ["--reverse"]):
            udp = iperf(host.namespace, to.v4, "--udp", "--bitrate", "10M", "--length", 1200, *direction)
            assert udp["packets"] > 500 and udp["lost_percent"] < 5, f"UDP, {direction}"
