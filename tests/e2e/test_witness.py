"""tshark's opinion of what the gateway sends: right numbers, right checksums, nothing malformed, by each encapsulation.

Read first: RFC 7348 section 5, RFC 7637 section 3.2, RFC 8926 section 3, RFC 6935 and 6936 (checksum zero), RFC 6438
(flow labels).
"""

import pytest
from lab.site import VTEP, VTEP6, Site
from lab.wire import Capture, FrameSocket
from scapy.all import IP, UDP, Ether, IPv6, Raw

REMOTE = {4: "192.0.2.3", 6: "2001:db8::3"}
FLOWS = 64
# kind: (number, the field that holds it, its value from the number, the outer UDP destination port)
TUNNELS = {
    "vxlan": (10000, "vxlan.vni", lambda value: value, 4789),
    "nvgre": (5000, "gre.key", lambda value: value >> 8, None),
    "geneve": (6000, "geneve.vni", lambda value: value, 6081),
}


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("kind", TUNNELS)
def test_what_leaves_by_a_tunnel_is_well_formed(lab, kind, family):
    number, field, number_of, port = TUNNELS[kind]
    remote, vtep = REMOTE[family], VTEP if family == 4 else VTEP6
    site = Site(lab)
    site.host = site.untagged_host("host", "lan0", "10.0.0.1/24")
    site.underlay(mtu=1700)
    if family == 6:
        site.underlay6()
    switch = site.tunnel_switch("tunnels", remote)
    far = site.tunnel_host(switch, "far", kind, number, remote, "10.0.0.2/24")
    site.bridge("red", "vlan/lan0/untagged")
    site.segment(f"{kind}/{number}", "red", [remote], vtep="underlay" if family == 4 else "underlay6")
    with site.weir() as weir:
        weir.apply(site.state)
        site.host.reaches("10.0.0.2")
        with Capture(switch.namespace, "wire", f"ether src {site.gateway.mac('wan0')}") as capture:
            with FrameSocket(site.host, "eth0") as wire:
                ether = Ether(dst=far.mac("eth0"), src=site.host.mac("eth0"))
                for flow in list(range(FLOWS)) * 2:
                    wire.send(ether / IP(src="10.0.0.1", dst="10.0.0.2", tos=0xB8) / UDP(sport=41000 + flow, dport=9))
                for flow in range(FLOWS):
                    six = IPv6(src="fd00::1", dst="fd00::2", tc=0xB8)
                    wire.send(ether / six / UDP(sport=41000 + flow, dport=9) / Raw(b"x" * flow))
                wire.send(ether / Raw(b"\x00\x04llc!" + bytes(40)))
            assert site.host.ping("10.0.0.2", size=1472, options=["-M", "do"]) == 1
        assert capture.faults() == []
        outer = ["ip.src", "ip.dsfield.dscp", "ip.flags.df"] if family == 4 else ["ipv6.src", "ipv6.tclass.dscp", "ipv6.flow"]
        layer = field.split(".")[0]
        rows = capture.decode(field, "udp.srcport", "udp.dstport", "udp.checksum", *outer, only=layer)
        assert len(rows) == 3 * FLOWS + 2
        assert {number_of(int(row[field][0], 0)) for row in rows} == {number}
        assert {row[outer[0]][0] for row in rows} == {vtep}
        assert sum(row[outer[1]][0] == "46" for row in rows) == 3 * FLOWS, "DSCP is the inner packet's"
        marks_of = {}  # an inner flow: (its port, its family) -> what the outer header made of it
        for row in rows:
            ports, mark = row["udp.srcport"], int(row[field][0], 0) & 0xFF
            if port is not None:
                mark = int(ports.pop(0))
                assert row["udp.dstport"][0] == str(port) and mark >= 49152
                assert int(row["udp.checksum"][0], 0) == 0
            if ports:
                label = row["ipv6.flow"][0] if family == 6 else None
                marks_of.setdefault((ports[0], len(row[outer[0]])), set()).add((mark, label))
        assert len(marks_of) == 2 * FLOWS
        assert all(len(marks) == 1 for marks in marks_of.values()), "a flow keeps its mark"
        marks = {next(iter(each)) for each in marks_of.values()}
        assert len({mark for mark, _ in marks}) > FLOWS // 4, "flows spread"
        if family == 6:
            labels = {int(label, 0) for _, label in marks}
            assert 0 not in labels and len(labels) > FLOWS // 4, labels


def test_what_leaves_by_two_tags_is_well_formed(lab):
    site = Site(lab)
    near, far = site.wire("lan0"), site.wire("lan1")
    site.bridge("red", "vlan/lan0/untagged")
    site.segment("qinq/lan1/300/7", "red", tpid="0x88a8")
    site.segment("qinq/lan1/301/8", "red", tpid="0x8100")
    with site.weir() as weir:
        weir.apply(site.state)
        with Capture(far, "eth0") as capture, FrameSocket(near, "eth0") as wire:
            ether = Ether(dst="ff:ff:ff:ff:ff:ff", src="02:00:00:00:00:01")
            wire.send(ether / IP(src="10.0.0.1", dst="10.0.0.255") / UDP(sport=41000, dport=9) / Raw(b"x" * 40))
        assert capture.faults() == []
        rows = capture.decode("eth.type", "ieee8021ad.id", "vlan.id", "udp.dstport")
        assert sorted((row["ieee8021ad.id"], row["vlan.id"], row["udp.dstport"]) for row in rows) == [
            ([], ["301", "8"], ["9"]),
            (["300"], ["7"], ["9"]),
        ]


def test_the_vtep_of_ipv6_answers_solicitations_and_pings(lab):
    site = Site(lab)
    site.underlay(mtu=1700)
    site.underlay6()
    host = lab.namespace("host")
    site.fabric.plug_in(host, "eth0")
    host.address("eth0", "2001:db8::2/64")
    with site.weir() as weir:
        weir.apply(site.state)
        with Capture(host, "eth0", f"ether src {site.gateway.mac('wan0')}") as capture:
            host.reaches(VTEP6)
            assert host.ping(VTEP6, count=3, size=1400) == 3
            assert host.ping(VTEP6, count=2, size=57) == 2
        assert capture.faults() == []
        rows = capture.decode("icmpv6.type", "icmpv6.nd.na.target_address", only="icmpv6")
        kinds = [row["icmpv6.type"][0] for row in rows]
        assert kinds.count("129") >= 6 and kinds.count("136") >= 1, kinds
        assert {row["icmpv6.nd.na.target_address"][0] for row in rows if row["icmpv6.type"] == ["136"]} == {VTEP6}
