"""Two tenants with the same addresses and the same MACs never see each other."""

from lab.site import Site
from lab.wire import Capture, FrameSocket
from scapy.all import ARP, ICMP, IP, Dot1Q, Ether, Raw

HOST, FAR = "02:00:00:00:00:01", "02:00:00:00:00:02"
TENANTS = {"red": (100, 10000, "192.0.2.2"), "blue": (200, 20000, "192.0.2.3")}


def two_tenants(lab):
    """Red and blue on one trunk and one vtep; both with 10.0.0.1 on the VLAN and 10.0.0.2 on the VXLAN, same MACs."""
    site = Site(lab)
    switch = site.switch()
    site.switch_end = switch.namespace
    site.underlay()
    for name, (vid, vni, peer) in TENANTS.items():
        setattr(site, f"{name}_host", switch.host(f"{name}-host", vid, "10.0.0.1/24", HOST))
        setattr(site, f"{name}_far", site.vxlan_host(f"{name}-far", vni, peer, "10.0.0.2/24", FAR))
        site.bridge(name, f"vlan/lan0/{vid}", f"vxlan/{vni}", peers=[peer])
    return site


def test_the_same_addresses_in_two_tenants_do_not_meet(lab):
    site = two_tenants(lab)
    with site.weir() as weir:
        weir.apply(site.state)
        site.red_host.reaches("10.0.0.2")
        site.blue_host.reaches("10.0.0.2")
        # From here on only red speaks; not one frame of it may reach blue's hosts, floods included.
        with (
            Capture(site.blue_host, "eth0") as on_vlan,
            Capture(site.blue_far, "eth0", "udp port 4789") as on_tunnel,
            Capture(site.red_far, "eth0", "udp port 4789") as on_own,
        ):
            assert site.red_host.ping("10.0.0.2", count=5) == 5
            assert site.red_far.ping("10.0.0.1", count=5) == 5
            assert site.red_host.ping("10.0.0.99", count=2) == 0
            assert site.red_far.ping("10.0.0.99", count=2) == 0
        assert on_own.frames(), "the captures do see traffic"
        assert on_vlan.frames() == []
        assert on_tunnel.frames() == []
        for name, (vid, vni, peer) in TENANTS.items():
            rows = {row["mac"]: row["location"] for row in weir.show("mac", "--bridge", name)}
            assert rows == {HOST: f"vlan/lan0/{vid}", FAR: f"vxlan/{vni}/{peer}"}


def test_each_tenant_answers_its_own(lab):
    site = two_tenants(lab)
    # An address that only blue has: red must not reach it, whatever MACs and ARP caches say.
    site.blue_far.ip("address", "add", "10.0.0.3/24", "dev", "vx0")
    with site.weir() as weir:
        weir.apply(site.state)
        site.blue_host.reaches("10.0.0.3")
        site.red_host.reaches("10.0.0.2")
        site.red_host.ip("neighbour", "replace", "10.0.0.3", "lladdr", FAR, "dev", "eth0")
        assert site.red_host.ping("10.0.0.3", count=2) == 0


def test_frames_of_no_tenant_are_dropped_by_name(lab):
    site = Site(lab)
    wire = site.wire("lan0")
    site.underlay()
    site.bridge("red", "vlan/lan0/100", "vxlan/10000", peers=["192.0.2.2"])
    far = site.vxlan_host("far", 10000, "192.0.2.2", "10.0.0.2/24")
    far.ip("link", "add", "vx9", "type", "vxlan", "id", 9, "local", "192.0.2.2", "remote", "192.0.2.1", "dstport", 4789)
    far.up("vx9")
    with site.weir() as weir:
        weir.apply(site.state)
        weir.allowed_drops |= {"unknown_vlan", "unknown_vni"}
        far.reaches("192.0.2.1")
        ping = Ether(dst=FAR, src=HOST) / Dot1Q(vlan=300) / IP(src="10.0.0.1", dst="10.0.0.2") / ICMP()
        with FrameSocket(wire, "eth0") as lan, FrameSocket(far, "vx9") as tunnel:
            for _ in range(3):
                lan.send(ping)
            for _ in range(2):
                tunnel.send(Ether(dst="ff:ff:ff:ff:ff:ff", src=HOST) / ARP(pdst="10.0.0.1") / Raw(b"\0" * 18))
            assert lan.receive(lambda f: f.src == HOST, seconds=0.5) is None
        assert weir.drops() == {"unknown_vlan": 3, "unknown_vni": 2}
        assert weir.show("mac") == []
