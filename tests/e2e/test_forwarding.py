"""Traffic across VLAN <-> VXLAN with real peers: ping, ARP, TCP, sizes, the vtep, next hops, moves, marks.

Read first: RFC 7348 (VXLAN), RFC 6040 (ECN and DSCP in tunnels), RFC 826 (ARP).
"""

import hashlib
import json
import os

import pytest
from lab import KernelVxlan, Router
from lab.net import wait_for
from lab.site import VTEP, Site, one_tenant
from lab.wire import Capture, FrameSocket
from scapy.all import ARP, IP, UDP, Dot1Q, Ether, Raw

FULL_SIZE = {"size": 1472, "options": ["-M", "do"]}


@pytest.fixture(params=["untagged", "tagged"])
def tenant(request, lab):
    """One tenant with its gateway running: a VLAN host, untagged or tagged, and a VXLAN host."""
    site = one_tenant(lab, tagged=request.param == "tagged")
    with site.weir() as weir:
        weir.apply(site.state)
        site.running = weir
        site.segment = site.state["segment"][0]["id"]
        yield site


def test_ping_and_arp_cross_both_ways(tenant):
    tenant.host.reaches("10.0.0.2")
    tenant.far.reaches("10.0.0.1")
    for end, other in ((tenant.host, "10.0.0.2"), (tenant.far, "10.0.0.1")):
        end.forget_neighbours()
        assert end.ping(other, count=5) == 5
        assert end.ping(other, count=3, **FULL_SIZE) == 3
    rows = {row["mac"]: row["location"] for row in tenant.running.show("mac")}
    assert rows == {
        tenant.host.mac("eth0"): tenant.segment,
        tenant.far.mac("vx0"): "vxlan/10000/192.0.2.2",
    }


def test_a_file_arrives_whole_both_ways(tenant, lab):
    tenant.running.allowed_drops.add("tx_full")  # TCP asks for as much as the path takes, and finds that out by losses
    content = os.urandom(20 << 20)
    (lab.directory / "sent").write_bytes(content)
    tenant.host.reaches("10.0.0.2")
    for sender, receiver, address in ((tenant.host, tenant.far, "10.0.0.2"), (tenant.far, tenant.host, "10.0.0.1")):
        received = lab.directory / f"received-{receiver.role}"
        listener = receiver.start("socat", "-u", "TCP-LISTEN:5000,reuseaddr", f"CREATE:{received}")
        wait_for("socat listens", lambda r=receiver: ":5000" in r.run("ss", "-ltn").stdout)
        sender.run("socat", "-u", f"FILE:{lab.directory}/sent", f"TCP:{address}:5000", timeout=60)
        assert listener.wait(10) == 0
        assert hashlib.sha256(received.read_bytes()).digest() == hashlib.sha256(content).digest()


def test_tcp_streams_flow_both_ways(tenant):
    tenant.running.allowed_drops.add("tx_full")
    tenant.host.reaches("10.0.0.2")
    for direction in ([], ["--reverse"]):
        server = tenant.far.start("iperf3", "--server", "--one-off", stdout=-3)
        wait_for("iperf3 listens", lambda: ":5201" in tenant.far.run("ss", "-ltn").stdout)
        done = tenant.host.run("iperf3", "--client", "10.0.0.2", "--time", 3, "--json", *direction, timeout=30)
        assert server.wait(10) == 0
        # A stream that crawls has stalled on losses or checksums; what a healthy one reaches is far more.
        assert json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"] > 10e6


def test_the_vtep_answers_arp_and_ping(lab):
    site = one_tenant(lab)
    with site.weir() as weir:
        weir.apply(site.state)
        site.far.reaches(VTEP)
        site.far.forget_neighbours()
        assert site.far.ping(VTEP, count=5) == 5
        assert site.far.ping(VTEP, size=1400) == 1
        port = next(port for port in weir.show("port") if port["name"] == "wan0")
        assert port["mac"] in site.far.ip("neighbour", "show", VTEP).stdout


def test_a_peer_behind_the_underlay_gateway_is_reached(lab):
    site = Site(lab)
    site.host = site.untagged_host("host", "lan0", "10.0.0.1/24")
    site.underlay(gateway="192.0.2.254")
    router, far = Router(lab.namespace("router")).namespace, lab.namespace("far")
    site.fabric.plug_in(router, "near")
    router.address("near", "192.0.2.254/24")
    lab.cable(router, "beyond", far, "eth0", mtu=2000)
    router.address("beyond", "198.51.100.254/24")
    KernelVxlan(far, "eth0", "198.51.100.2/24").device(10000, VTEP, "10.0.0.2/24")
    far.ip("route", "add", "default", "via", "198.51.100.254")
    site.bridge("red", "vlan/lan0/untagged", "vxlan/10000", peers=["198.51.100.2"])
    with site.weir() as weir:
        weir.apply(site.state)
        site.host.reaches("10.0.0.2")
        assert site.host.ping("10.0.0.2", count=3, **FULL_SIZE) == 3
        far.reaches(VTEP)
        hops = [row for row in weir.show("neighbour") if row["address"] == "192.0.2.254"]
        assert hops and hops[0]["mac"] == router.mac("near") and hops[0]["state"] == "reachable"


def test_what_does_not_fit_the_underlay_is_dropped_by_name(lab):
    site = one_tenant(lab, mtu=1549)  # 1,500 bytes need 1,550 on the underlay: 14 inner Ethernet, 8 VXLAN, 8 UDP, 20 IPv4
    with site.weir() as weir:
        weir.apply(site.state)
        site.host.reaches("10.0.0.2")
        weir.allowed_drops.add("mtu_exceeded")
        assert site.host.ping("10.0.0.2", count=3, size=1471, options=["-M", "do"]) == 3
        assert site.host.ping("10.0.0.2", count=2, **FULL_SIZE) == 0
        assert weir.drops()["mtu_exceeded"] == 2
        assert site.host.ping("10.0.0.2", count=3) == 3


def test_a_host_that_moves_is_found_at_its_new_place(lab):
    site = one_tenant(lab)
    mac = site.far.mac("vx0")
    other = site.vxlan_host("other", 10000, "192.0.2.3", "10.0.0.3/24")
    moved = site.untagged_host("moved", "lan1", "10.0.0.2/24", mac)
    moved.ip("link", "set", "eth0", "down")
    site.state["segment"].append({"id": "vlan/lan1/untagged", "bridge": "red"})
    site.state["peer"].append({"segment": "vxlan/10000", "address": "192.0.2.3"})
    with site.weir() as weir:
        weir.apply(site.state)
        for host in (site.host, other):
            host.reaches("10.0.0.2") if host is site.host else host.reaches("10.0.0.1")
        place = lambda: next(row["location"] for row in weir.show("mac") if row["mac"] == mac)  # noqa: E731
        assert place() == "vxlan/10000/192.0.2.2"
        site.far.ip("link", "set", "vx0", "down")
        # Nobody listens on its UDP port 4789 any more, and its kernel says so by ICMP.
        weir.allowed_drops.add("not_for_us")
        moved.ip("link", "set", "eth0", "up")
        # One frame from its new place is enough, and the hosts keep their ARP entries: the same MAC has moved.
        moved.reaches("10.0.0.1")
        assert place() == "vlan/lan1/untagged"
        assert site.host.ping("10.0.0.2", count=3) == 3
        other.reaches("10.0.0.2")


def test_priority_is_kept_from_vlan_to_vlan(lab):
    site = Site(lab)
    near, far = site.wire("lan0"), site.wire("lan1")
    site.bridge("red", "vlan/lan0/100", "vlan/lan1/200")
    with site.weir() as weir:
        weir.apply(site.state)
        with FrameSocket(near, "eth0") as left, FrameSocket(far, "eth0") as right:
            for priority in range(8):
                frame = Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01") / Dot1Q(prio=priority, vlan=100)
                left.send(frame / IP(src="10.0.0.1", dst="10.0.0.2") / UDP() / Raw(b"x" * 40))
                came = right.receive(lambda f: f.src == "02:00:00:00:00:01")
                assert came is not None, f"priority {priority} did not come through"
                assert (came[Dot1Q].vlan, came[Dot1Q].prio) == (200, priority)


def test_the_underlay_sees_well_formed_vxlan(lab):
    site = one_tenant(lab)
    with site.weir() as weir:
        weir.apply(site.state)
        site.host.reaches("10.0.0.2")
        with Capture(site.far, "eth0", f"udp port 4789 and src {VTEP}") as capture:
            with FrameSocket(site.host, "eth0") as wire:
                to, source = site.far.mac("vx0"), site.host.mac("eth0")
                flow = Ether(dst=to, src=source) / IP(src="10.0.0.1", dst="10.0.0.2", tos=0xB8)
                for port in list(range(2000, 2032)) * 2:
                    wire.send(flow / UDP(sport=port, dport=9) / Raw(b"x" * 20))
            assert site.host.ping("10.0.0.2", count=1, **FULL_SIZE) == 1
        assert not capture.faults()
        ports, seen = {}, 0
        for frame in capture.frames():
            assert frame[IP].version == 4 and frame[IP].flags == "DF" and frame[UDP].dport == 4789
            assert 49152 <= frame[UDP].sport <= 65535
            inner = Ether(bytes(frame[UDP].payload)[8:])
            assert bytes(frame[UDP].payload)[:8] == bytes.fromhex("0800000000271000")
            assert frame[IP].tos == (inner[IP].tos if inner.haslayer(IP) else 0)
            if inner.haslayer(IP) and inner[IP].tos == 0xB8:
                seen += 1
                ports.setdefault(inner[UDP].sport, set()).add(frame[UDP].sport)
        assert seen == 64, "every frame went into the tunnel, once"
        assert all(len(outer) == 1 for outer in ports.values()), "a flow keeps its source port"
        assert len(set.union(*ports.values())) > 16, "flows spread over source ports"


def test_arp_is_carried_and_not_answered_by_the_gateway(lab):
    site = one_tenant(lab)
    with site.weir() as weir:
        weir.apply(site.state)
        with FrameSocket(site.host, "eth0") as wire:
            request = ARP(op=1, hwsrc=site.host.mac("eth0"), psrc="10.0.0.1", pdst="10.0.0.2")
            wire.send(Ether(dst="ff:ff:ff:ff:ff:ff", src=site.host.mac("eth0")) / request)
            answer = wire.receive(lambda f: f.haslayer(ARP) and f[ARP].op == 2 and f[ARP].psrc == "10.0.0.2")
        assert answer is not None and answer[ARP].hwsrc == site.far.mac("vx0")
