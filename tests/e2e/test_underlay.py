"""The underlay's next hops: several of equal cost, chosen by the flow, over IPv4 and IPv6.

Read first: RFC 2992 (hashing over next hops), RFC 4861 (their MACs over IPv6).
"""

import pytest
from lab import KernelVxlan, Router
from lab.net import wait_for
from lab.site import VTEP, VTEP6, Site
from lab.wire import Capture, FrameSocket
from scapy.all import IP, UDP, Ether

FLOWS = 64
NETS = {4: ("192.0.2.{}", 24, "198.51.100.{}"), 6: ("2001:db8::{}", 64, "2001:db8:1::{}")}


# kind: what it adds to an inner packet, its Ethernet header included: that header, the tunnel's own, UDP's.
OVERHEAD = {"vxlan": 14 + 8 + 8, "nvgre": 14 + 8, "geneve": 14 + 8 + 8}
OUTER_IP = {4: 20, 6: 40}


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("kind", OVERHEAD)
def test_a_tunnel_takes_just_what_fits_the_underlay(lab, kind, family):
    remote, vtep = NETS[family][0].format(3), "underlay" if family == 4 else "underlay6"
    site = Site(lab)
    site.host = site.untagged_host("host", "lan0", "10.0.0.1/24")
    site.underlay(mtu=1500 + OVERHEAD[kind] + OUTER_IP[family] - 1)
    if family == 6:
        site.underlay6()
    site.tunnel_host(site.tunnel_switch("tunnels", remote), "far", kind, 5000, remote, "10.0.0.2/24")
    site.bridge("red", "vlan/lan0/untagged")
    site.segment(f"{kind}/5000", "red", [remote], vtep=vtep)
    with site.weir() as weir:
        weir.apply(site.state)
        weir.allowed_drops.add("mtu_exceeded")
        site.host.reaches("10.0.0.2")
        assert site.host.ping("10.0.0.2", count=2, size=1471, options=["-M", "do"]) == 2
        assert site.host.ping("10.0.0.2", count=2, size=1472, options=["-M", "do"]) == 0
        assert weir.drops() == {"mtu_exceeded": 2}


@pytest.mark.parametrize("family", [4, 6])
def test_flows_spread_over_equal_next_hops_and_each_stays_on_one(lab, family):
    near, length, beyond = NETS[family]
    vtep, gateways = VTEP if family == 4 else VTEP6, [near.format(251), near.format(252)]
    site = Site(lab)
    site.host = site.untagged_host("host", "lan0", "10.0.0.1/24")
    if family == 4:
        site.underlay(gateways=gateways)
    else:
        site.underlay(mtu=1700)
        site.underlay6(gateways=gateways)
    far, hub = lab.namespace("far"), lab.namespace("hub")
    hub.ip("link", "add", "hub", "mtu", 2000, "type", "bridge", "mcast_snooping", 0)
    hub.ip("link", "set", "hub", "up")
    routers = [Router(lab.namespace(f"router{n}")) for n in (251, 252)]
    for number, router in enumerate(routers, 251):
        site.fabric.plug_in(router.namespace, "near")
        router.address("near", f"{near.format(number)}/{length}")
        lab.cable(router.namespace, "beyond", hub, f"r{number}", mtu=2000)
        hub.ip("link", "set", f"r{number}", "master", "hub")
        router.address("beyond", f"{beyond.format(number)}/{length}")
    lab.cable(far, "eth0", hub, "far", mtu=2000)
    hub.ip("link", "set", "far", "master", "hub")
    endpoint = KernelVxlan(far, "eth0", f"{beyond.format(2)}/{length}")
    endpoint.device(10000, vtep, "10.0.0.2/24")
    far.ip("route", "add", "default", "via", beyond.format(251))
    site.bridge("red", "vlan/lan0/untagged")
    site.segment("vxlan/10000", "red", [beyond.format(2)], vtep="underlay" if family == 4 else "underlay6")
    with site.weir() as weir:
        weir.apply(site.state)
        site.host.reaches("10.0.0.2")
        mac = site.gateway.mac("wan0")
        ether = Ether(dst=far.mac("vx0"), src=site.host.mac("eth0")) / IP(src="10.0.0.1", dst="10.0.0.2")
        flows = [bytes(ether / UDP(sport=41000 + flow, dport=9)) for flow in range(FLOWS)]
        captures = [Capture(router.namespace, "near", f"udp port 4789 and ether src {mac}") for router in routers]
        with FrameSocket(site.host, "eth0") as wire:
            # While a next hop's MAC is being asked for, its flows take the other: the first round is not judged.
            for flow in flows:
                wire.send(flow)
            reachable = lambda: {n["address"] for n in weir.show("neighbour") if n["state"] == "reachable"}  # noqa: E731
            wait_for("both next hops are resolved", lambda: set(gateways) <= reachable())
            with captures[0], captures[1]:
                for flow in flows * 3:
                    wire.send(flow)
                assert site.host.ping("10.0.0.2", count=3) == 3
        seen = []
        for capture in captures:
            rows = capture.decode("udp.dstport", "udp.srcport", only="vxlan")
            seen.append([row["udp.srcport"][1] for row in rows if row["udp.dstport"][1:] == ["9"]])
        assert sum(map(len, seen)) == 3 * FLOWS
        assert not set(seen[0]) & set(seen[1]), "a flow stays on its next hop"
        assert all(len(set(ports)) > FLOWS // 8 for ports in seen), [len(set(ports)) for ports in seen]
