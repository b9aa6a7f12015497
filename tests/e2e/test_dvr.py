"""Two gateways with the same routers: each routes what its own hosts send, and the gateway's MAC stays on its VLANs.

    red   a1 -- lan0 --,                                        ,-- lan0 -- b1   10.1.0.0/24
                       [east] -- wan0 == VXLAN == wan0 -- [west]
    blue  a2 -- lan1 --'  192.0.2.1              192.0.2.2      '-- lan1 -- b2   10.2.0.0/24
    blue  moving -- lan2 -- [east]                    [west] -- lan2 -- moved

Read first: RFC 9135 (symmetric and asymmetric routing and bridging), RFC 826 and RFC 4861 (who has the gateway's address).
"""

import contextlib

import pytest
from lab import Lab
from lab.net import wait_for
from lab.routed import GATEWAY_MACS, GATEWAYS, Host
from lab.site import Site
from lab.steady import PingGaps
from lab.wire import Capture
from scapy.all import ARP, IP, UDP, Ether, ICMPv6ND_NA, ICMPv6ND_NS, IPv6

DVR = {"192.0.2.1": "02:00:5e:01:00:01", "192.0.2.2": "02:00:5e:01:00:02"}
EAST, WEST = DVR
VIP = "10.2.0.100"
MOVING = ("10.2.0.50", "02:00:00:00:0b:50")


class Half(Site):
    """One gateway with a host in red and one in blue, and the port lan2 for what moves."""

    def __init__(self, lab, role, own, other, number, fabric=None):
        super().__init__(lab, gateway=role)
        self.role, self.own, self.other = role, own, other
        for port, bridge in (("lan0", "red"), ("lan1", "blue")):
            self.bridge(bridge, f"vlan/{port}/untagged")
        name = "b" if role == "west" else "a"
        self.hosts = {
            f"{name}1": Host(self._host(f"{name}1", "lan0", 1, number), "eth0", "red", number),
            f"{name}2": Host(self._host(f"{name}2", "lan1", 2, number), "eth0", "blue", number),
        }
        self.moving = self.untagged_host(f"{name}3", "lan2", f"{MOVING[0]}/24", MOVING[1])
        self.moving.ip("route", "add", "default", "via", GATEWAYS["blue"][0])
        self.segment("vlan/lan2/untagged", "blue")
        self.underlay(mtu=1600, fabric=fabric, address=own)
        for bridge, vni in (("red", 10001), ("blue", 10002)):
            self.segment(f"vxlan/{vni}", bridge, [other])
        self.router("r1")
        for bridge, mac in GATEWAY_MACS.items():
            v4, v6 = GATEWAYS[bridge]
            self.interface("r1", bridge, mac, f"{v4}/24", f"{v6}/64")
        self.dvr_macs(DVR[own], DVR[other])

    def _host(self, role, port, net, number):
        return self.untagged_host(role, port, f"10.{net}.0.{number}/24", f"02:00:00:00:0b:{net}{number - 10}")

    def mac(self, name):
        """A host's MAC."""
        return self.hosts[name].namespace.mac("eth0")


class Pair:
    """Both gateways at work."""

    def __init__(self, east, west, weirs):
        self.east, self.west, self.weirs = east, west, weirs
        self.hosts = {**east.hosts, **west.hosts}

    def pairs(self):
        """All pairs of hosts, by name."""
        return [(a, b) for a in self.hosts for b in self.hosts if a != b]

    def allow(self, *reasons):
        """Drops that a test expects."""
        for weir in self.weirs:
            weir.allowed_drops.update(reasons)


@pytest.fixture(scope="module")
def pair():
    with contextlib.ExitStack() as stack:
        lab = stack.enter_context(Lab())
        east = Half(lab, "east", EAST, WEST, 11)
        west = Half(lab, "west", WEST, EAST, 12, fabric=east.fabric)
        for half in (east, west):
            half.moving.ip("link", "set", "eth0", "down")
        for name, location in (("a2", {EAST: "vlan/lan1/untagged", WEST: f"vxlan/10002/{EAST}"}),
                               ("b2", {EAST: f"vxlan/10002/{WEST}", WEST: "vlan/lan1/untagged"})):
            host = {**east.hosts, **west.hosts}[name]
            for half in (east, west):
                mac, ips = host.namespace.mac("eth0"), [host.v4, host.v6]
                half.endpoint("blue", mac, location[half.own], ips, allowed_pairs=[VIP])
        weirs = []
        for half in (east, west):
            weir = stack.enter_context(half.weir(name=half.role))
            weir.apply(half.state)
            weirs.append(weir)
        pair = Pair(east, west, weirs)
        for host in pair.hosts.values():
            host.start_v6()
        yield pair


def inner(frames):
    """Of each frame in VXLAN: from which gateway, and the frame inside."""
    return [(f[IP].src, Ether(bytes(f[UDP].payload)[8:])) for f in frames]


def addresses(frame):
    """The addresses that an IP packet goes between; None for what is none."""
    layer = next((frame[layer] for layer in (IP, IPv6) if layer in frame), None)
    return layer and (layer.src, layer.dst)


def speaks_of_a_gateway(frame):
    """Whether it is ARP or neighbour discovery about an address of a gateway, or from one."""
    gateways = {address for pair in GATEWAYS.values() for address in pair}
    if ARP in frame:
        return bool({frame[ARP].psrc, frame[ARP].pdst} & gateways)
    targets = {frame[kind].tgt for kind in (ICMPv6ND_NS, ICMPv6ND_NA) if kind in frame}
    return bool(targets and (targets | {frame[IPv6].src, frame[IPv6].dst}) & gateways)


def test_all_reach_all_and_the_gateways_mac_never_crosses(pair):
    wan = [Capture(half.gateway, "wan0", "udp port 4789") for half in (pair.east, pair.west)]
    hosts = {name: Capture(host.namespace, "eth0") for name, host in pair.hosts.items()}
    with contextlib.ExitStack() as stack:
        for capture in (*wan, *hosts.values()):
            stack.enter_context(capture)
        for name, other in pair.pairs():
            for family in (4, 6):
                pair.hosts[name].namespace.reaches(pair.hosts[other].at(family))
                got = pair.hosts[name].namespace.ping(pair.hosts[other].at(family), count=2)
                assert got == 2, f"{name} to {other}, IPv{family}"
    bridge_of = {host.at(family): (host.bridge, name) for name, host in pair.hosts.items() for family in (4, 6)}
    routed = bridged = 0
    for gateway, frame in [crossing for capture in wan for crossing in inner(capture.frames())]:
        assert frame.src not in GATEWAY_MACS.values(), frame.summary()
        assert not speaks_of_a_gateway(frame), frame.summary()
        source, destination = addresses(frame) or (None, None)
        if source in bridge_of and destination in bridge_of:
            across = bridge_of[source][0] != bridge_of[destination][0]
            host = bridge_of[source][1]
            assert frame.src == (DVR[gateway] if across else pair.hosts[host].namespace.mac("eth0")), frame.summary()
            routed, bridged = routed + across, bridged + (not across)
    assert routed >= 32 and bridged >= 32, (routed, bridged)
    for name, capture in hosts.items():
        assert not capture.faults(), name
        host = pair.hosts[name]
        own = {h.at(family) for h in pair.hosts.values() for family in (4, 6) if h.bridge == host.bridge}
        across = [f for f in capture.frames() if (addresses(f) or [None])[0] in bridge_of.keys() - own]
        assert {f.src for f in across} == {GATEWAY_MACS[host.bridge]} and across, name
        assert not {f.src for f in capture.frames()} & set(DVR.values()), f"{name} sees a DVR MAC"


def test_each_host_knows_the_gateway_by_the_gateways_mac(pair):
    for host in pair.hosts.values():
        for gateway in GATEWAYS[host.bridge]:
            host.namespace.reaches(gateway)
            assert host.namespace.ping(gateway, count=2) == 2
            assert GATEWAY_MACS[host.bridge] in host.namespace.ip("neighbour", "show", gateway).stdout


def test_both_show_their_dvr_macs(pair):
    for weir, own, other in zip(pair.weirs, (EAST, WEST), (WEST, EAST)):
        rows = {row["mac"]: (row["own"], row["source"]) for row in weir.show("dvr-mac")}
        assert rows == {DVR[own]: (True, "configured"), DVR[other]: (False, "configured")}
        assert {row["mac"] for row in weir.show("mac")}.isdisjoint({*DVR.values(), *GATEWAY_MACS.values()})


def test_a_host_that_moves_to_the_other_gateway_is_found_there(pair):
    # The kernel of a gateway's host that went away says nothing; frames on their way to it are lost.
    pair.allow("same_segment", "not_for_us", "tx_full")
    address = MOVING[0]
    places = (pair.east.moving, pair.west.moving)
    places[0].ip("link", "set", "eth0", "up")
    places[0].ip("route", "replace", "default", "via", GATEWAYS["blue"][0])
    for name in ("a1", "b1", "a2"):
        pair.hosts[name].namespace.reaches(address)
    for old, new in (places, places[::-1]):
        pings = [PingGaps(pair.hosts[name].namespace, address, 0.02) for name in ("a1", "b1", "a2")]
        with contextlib.ExitStack() as stack:
            for each in pings:
                stack.enter_context(each)
            old.ip("link", "set", "eth0", "down")
            new.ip("link", "set", "eth0", "up")
            new.ip("route", "replace", "default", "via", GATEWAYS["blue"][0])
            new.run("arping", "-U", "-c", 1, "-I", "eth0", address)
            for name in ("a1", "b1", "a2"):
                pair.hosts[name].namespace.reaches(address)
        assert [p.duplicates for p in pings] == [0, 0, 0]
        assert max(p.outage for p in pings) < 2000, [p.outage for p in pings]
    places[0].ip("link", "set", "eth0", "down")


def test_a_shared_address_that_moves_behind_the_router_takes_its_packets_along(pair):
    first, second = pair.hosts["a2"].namespace, pair.hosts["b2"].namespace
    first.address("eth0", f"{VIP}/24")
    first.run("arping", "-U", "-c", 1, "-I", "eth0", VIP)
    for old, new in ((first, second), (second, first)):
        pings = [PingGaps(pair.hosts[name].namespace, VIP, 0.02) for name in ("a1", "b1")]
        with pings[0], pings[1]:
            old.ip("address", "del", f"{VIP}/24", "dev", "eth0")
            new.address("eth0", f"{VIP}/24")
            new.run("arping", "-U", "-c", 1, "-I", "eth0", VIP)
            for name in ("a1", "b1"):
                pair.hosts[name].namespace.reaches(VIP)
            shown = lambda: [row["mac"] for row in pair.weirs[0].show("binding", "--address", VIP)]  # noqa: E731
            wait_for("the binding has moved", lambda n=new: shown() == [n.mac("eth0")])
        assert max(p.outage for p in pings) < 1000, [p.outage for p in pings]
