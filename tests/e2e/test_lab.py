"""The lab without a gateway: when these fail, the fault is the lab's, not the gateway's."""

from lab import KernelVxlan, Router, TaggedSwitch
from lab.wire import Capture, FrameSocket
from scapy.all import Dot1Q, Ether, Raw


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
