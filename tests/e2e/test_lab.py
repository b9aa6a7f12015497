"""The lab without a gateway: when these fail, the fault is the lab's, not the gateway's."""

import pytest
from lab import Fabric, KernelVxlan, Router, TaggedSwitch, TunnelSwitch, VrrpPair
from lab.net import wait_for
from lab.steady import PingGaps
from lab.wire import Capture, FrameSocket, Listeners
from scapy.all import ICMP, IP, UDP, Dot1AD, Dot1Q, Ether, ICMPv6EchoRequest, IPv6, Raw, wrpcap

UNDERLAY = {4: ("192.0.2.2", "192.0.2.3"), 6: ("2001:db8::2", "2001:db8::3")}
NUMBER = 5000
NUMBERS = {"vxlan": "vxlan.vni", "geneve": "geneve.vni", "nvgre": "gre.key"}


def test_two_kernel_vxlan_hosts_reach_each_other_through_a_router(lab):
    left, middle, right = (lab.namespace(role) for role in ("left", "middle", "right"))
    lab.cable(left, "eth0", middle, "near", mtu=2000)
    lab.cable(right, "eth0", middle, "far", mtu=2000)
    Router(middle)
    middle.address("near", "192.0.2.254/24")
    middle.address("far", "198.51.100.254/24")
    KernelVxlan(left, "eth0", "192.0.2.2/24").device(7, "198.51.100.2", "10.0.0.1/24")
    KernelVxlan(right, "eth0", "198.51.100.2/24").device(7, "192.0.2.2", "10.0.0.2/24")
    left.ip("route", "add", "default", "via", "192.0.2.254")
    right.ip("route", "add", "default", "via", "198.51.100.254")
    with Capture(middle, "near", "udp port 4789") as capture:
        left.reaches("10.0.0.2")
        assert left.ping("10.0.0.2", size=1472, options=["-M", "do"]) == 1
    assert capture.frames() and not capture.faults()


def test_hosts_on_the_switch_meet_only_on_their_vlan(lab):
    switch = TaggedSwitch(lab)
    a = switch.host("a", 100, "10.0.0.1/24")
    switch.host("b", 100, "10.0.0.2/24")
    switch.host("c", 200, "10.0.0.3/24")
    a.reaches("10.0.0.2")
    assert a.ping("10.0.0.3") == 0
    assert a.ping("10.0.0.2", size=1472, options=["-M", "do"]) == 1


def test_the_trunk_carries_tags_and_a_frame_socket_sees_them(lab):
    switch, far = TaggedSwitch(lab), lab.namespace("far")
    switch.trunk(far, "eth0")
    host = switch.host("host", 100, "10.0.0.1/24")
    with FrameSocket(far, "eth0") as trunk, FrameSocket(host, "eth0") as access:
        access.send(Ether(dst="02:00:00:00:00:09", src="02:00:00:00:00:01", type=0x88B5) / Raw(b"x" * 46))
        seen = trunk.receive(lambda f: f.src == "02:00:00:00:00:01")
        assert seen is not None and seen.haslayer(Dot1Q) and seen[Dot1Q].vlan == 100


@pytest.mark.parametrize(("outer", "kind"), [("802.1ad", Dot1AD), ("802.1q", Dot1Q)])
def test_a_host_behind_a_service_tag_sends_and_takes_two_tags(lab, outer, kind):
    switch, far = TaggedSwitch(lab), lab.namespace("far")
    switch.trunk(far, "eth0")
    host = switch.qinq_host("host", 300, 7, "10.0.0.1/24", tpid=outer)
    same = switch.qinq_host("same", 300, 7, "10.0.0.2/24", tpid=outer)
    other = switch.qinq_host("other", 300, 8, "10.0.0.3/24", tpid=outer)
    host.reaches("10.0.0.2")
    assert other.ping("10.0.0.2") == 0
    with FrameSocket(far, "eth0") as trunk, FrameSocket(same, "eth0") as access:
        out = Ether(dst="ff:ff:ff:ff:ff:ff", src="02:00:00:00:00:01", type=0x88B5) / Raw(b"x" * 46)
        access.send(out)
        seen = trunk.receive(lambda f: f.src == "02:00:00:00:00:01")
        assert [(type(tag), tag.vlan) for tag in (seen.payload, seen.payload.payload)] == [(kind, 300), (Dot1Q, 7)]
        back = Ether(dst="ff:ff:ff:ff:ff:ff", src="02:00:00:00:00:09") / kind(vlan=300) / Dot1Q(vlan=7, type=0x88B5)
        trunk.send(back / Raw(b"y" * 46))
        seen = access.receive(lambda f: f.src == "02:00:00:00:00:09")
        assert seen is not None and seen.type == 0x88B5


def switches(lab, family, kinds=("vxlan", "geneve", "nvgre"), flow_ids=(0, 0)):
    """Two tunnel switches, joined by each kind; behind each kind a host on both: (fabric, {kind: (left, right)})."""
    fabric, ends, hosts = Fabric(lab), UNDERLAY[family], {kind: [] for kind in kinds}
    for side, (local, remote) in enumerate((ends, ends[::-1])):
        switch = TunnelSwitch(lab, f"switch{side}")
        fabric.plug_in(switch.namespace, "wire")
        switch.underlay(f"{local}/{24 if family == 4 else 64}")
        for vid, kind in enumerate(kinds, 100):
            switch.tunnel(kind, NUMBER, remote, vid, *([flow_ids[side]] if kind == "nvgre" else []))
            hosts[kind].append(switch.host(f"{kind}{side}", vid, f"10.0.0.{side + 1}/24"))
    return fabric, hosts


@pytest.mark.parametrize("family", [4, 6])
def test_hosts_behind_tunnel_switches_meet_by_each_encapsulation(lab, family):
    fabric, hosts = switches(lab, family, flow_ids=(0x12, 0xFE))
    for kind, (left, right) in hosts.items():
        with Capture(fabric.namespace, "switch0") as capture:
            left.reaches("10.0.0.2")
            assert right.ping("10.0.0.1", count=3, size=1472, options=["-M", "do"]) == 3
        assert not capture.faults()
        layer = NUMBERS[kind].split(".")[0]
        seen = {int(row[NUMBERS[kind]][0], 0) for row in capture.decode(NUMBERS[kind], only=layer)}
        keys = {NUMBER << 8 | flow_id for flow_id in (0x12, 0xFE)}
        assert seen == (keys if kind == "nvgre" else {NUMBER})


def test_a_tunnel_switch_takes_no_other_vsid(lab):
    fabric, ends = Fabric(lab), UNDERLAY[4]
    hosts = []
    for side, vsid in enumerate((5000, 5001)):
        switch = TunnelSwitch(lab, f"switch{side}")
        fabric.plug_in(switch.namespace, "wire")
        switch.underlay(f"{ends[side]}/24")
        switch.tunnel("nvgre", vsid, ends[1 - side])
        hosts.append(switch.host(f"host{side}", None, f"10.0.0.{side + 1}/24"))
    with Capture(fabric.namespace, "switch0", "proto 47") as capture:
        assert hosts[0].ping("10.0.0.2", count=2) == 0
    assert capture.frames(), "the requests were sent"


@pytest.mark.parametrize("checksums", [False, True])
def test_kernel_vxlan_hosts_reach_each_other_over_ipv6(lab, checksums):
    fabric, ends = Fabric(lab), UNDERLAY[6]
    hosts = [lab.namespace(f"host{side}") for side in (0, 1)]
    for side, host in enumerate(hosts):
        fabric.plug_in(host, "eth0")
        vxlan = KernelVxlan(host, "eth0", f"{ends[side]}/64")
        vxlan.device(NUMBER, ends[1 - side], f"10.0.0.{side + 1}/24", checksums=checksums)
    with Capture(hosts[0], "eth0", "udp port 4789") as capture:
        hosts[0].reaches("10.0.0.2")
        assert hosts[1].ping("10.0.0.1", count=3, size=1472, options=["-M", "do"]) == 3
    assert not capture.faults()
    zero = {row["udp.checksum"][0] == "0x0000" for row in capture.decode("udp.checksum", only="vxlan")}
    assert zero == {not checksums}


def test_listeners_count_each_copy_of_a_frame(lab):
    switch = TaggedSwitch(lab)
    vlans = {"a": 100, "b": 100, "c": 100, "stranger": 200}
    hosts = {name: switch.host(name, vid, f"10.0.0.{n}/24") for n, (name, vid) in enumerate(vlans.items(), 1)}
    broadcast = Ether(dst="ff:ff:ff:ff:ff:ff", src=hosts["a"].mac("eth0"), type=0x88B5)
    with Listeners({name: (host, "eth0") for name, host in hosts.items()}) as listeners:
        for content in (b"mark", b"mark", b"else"):
            listeners.send("a", broadcast / Raw(content * 12))
        assert listeners.heard(b"mark") == {"a": 0, "b": 2, "c": 2, "stranger": 0}


def test_the_witness_finds_what_is_wrong(lab):
    capture = Capture(lab.namespace("nowhere"), "none")
    frame = Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01") / IP(src="10.0.0.1", dst="10.0.0.2")
    good = [frame / UDP(sport=1, dport=9) / Raw(b"x"), frame / ICMP() / Raw(b"x")]
    bad = [
        frame / UDP(sport=1, dport=9, chksum=1) / Raw(b"x"),
        frame / ICMP(chksum=1) / Raw(b"x"),
        Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01") / IP(dst="10.0.0.2", chksum=1) / UDP() / Raw(b"x"),
        frame / UDP(sport=50000, dport=4789) / Raw(bytes.fromhex("0800000000271000") + bytes(9)),
        Ether(dst="02:00:00:00:00:02") / IPv6(dst="fd00::2") / ICMPv6EchoRequest(cksum=1),
    ]
    wrpcap(str(capture.file), good)
    assert capture.faults() == []
    wrpcap(str(capture.file), [*good, *bad])
    assert len(capture.faults()) == len(bad), capture.faults()


@pytest.mark.parametrize("virtual_mac", [False, True])
def test_a_vrrp_pair_fails_over_both_ways(lab, virtual_mac):
    switch = TaggedSwitch(lab)
    first, second = (switch.host(f"vrrp{n}", 100, f"10.0.0.{n}/24") for n in (1, 2))
    client = switch.host("client", 100, "10.0.0.9/24")
    pair = VrrpPair((first, "eth0"), (second, "eth0"), "10.0.0.100/24", virtual_mac=virtual_mac)
    pair.start()
    client.reaches("10.0.0.100")
    with PingGaps(client, "10.0.0.100") as pings:
        first.ip("link", "set", "eth0", "down")
        pair.second.becomes_master()
        client.reaches("10.0.0.100")
        first.ip("link", "set", "eth0", "up")
        pair.first.becomes_master()
        wait_for("the second gives way", lambda: not pair.second.is_master())
        client.reaches("10.0.0.100")
    assert 0 < pings.lost < 200 and 0 < pings.outage < 2000, (pings.lost, pings.outage)
    shown = client.ip("neighbour", "show", "10.0.0.100").stdout
    assert pair.first.mac in shown, shown
