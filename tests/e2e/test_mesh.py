"""One bridge of every kind of segment: each host reaches each other, and hears each broadcast once.

Read first: RFC 7348 (VXLAN), RFC 7637 (NVGRE), RFC 8926 (Geneve), IEEE 802.1ad (two tags), RFC 6935 (UDP over IPv6).

    lan0  untagged  -- plain
    lan1  trunk     -- tagged (VLAN 100), qinq (0x88A8 300, 7), qinq-8100 (0x8100 301, 8)      Open vSwitch
    wan0  kernel    -- VXLAN 10000 from the kernel
          switch    -- VXLAN 10000, NVGRE 5000, Geneve 6000 from Open vSwitch
"""

import itertools

import pytest
from lab.site import Site
from lab.wire import Listeners
from scapy.all import Ether, Raw

KERNEL = {4: "192.0.2.2", 6: "2001:db8::2"}
SWITCH = {4: "192.0.2.3", 6: "2001:db8::3"}
FULL_SIZE = {"size": 1472, "options": ["-M", "do"]}


class Mesh(Site):
    """The site above. `places` is {name: (namespace, interface, location)}; all are in the bridge red."""

    def __init__(self, lab, family, meshes=True):
        """Tunnels over IPv4 (4) or IPv6 (6). With `meshes`, each endpoint of a tunnel is in a mesh of its own."""
        super().__init__(lab)
        self.places, self.family, self.meshes = {}, family, meshes
        self.bridge("red")
        self._vlan_side()
        self.underlay(mtu=1700)
        if family == 6:
            self.underlay6()
        self._tunnel_side("underlay6" if family == 6 else "underlay")

    def _add(self, name, namespace, location, interface="eth0"):
        self.places[name] = (namespace, interface, location)

    def _next_address(self):
        return f"10.0.0.{len(self.places) + 1}/24"

    def address(self, name):
        """The overlay address of a host."""
        return f"10.0.0.{list(self.places).index(name) + 1}"

    def _vlan_side(self):
        self._add("plain", self.untagged_host("plain", "lan0", self._next_address()), "vlan/lan0/untagged")
        self.segment("vlan/lan0/untagged", "red")
        switch = self.service_switch("lan1")
        self._add("tagged", switch.host("tagged", 100, self._next_address(), self.next_mac()), "vlan/lan1/100")
        self.segment("vlan/lan1/100", "red")
        for name, location, tpid in (("qinq", "qinq/lan1/300/7", "0x88a8"), ("qinq-8100", "qinq/lan1/301/8", "0x8100")):
            outer, inner = (int(vid) for vid in location.split("/")[2:])
            by_name = {"0x88a8": "802.1ad", "0x8100": "802.1q"}[tpid]
            host = switch.qinq_host(name, outer, inner, self._next_address(), self.next_mac(), by_name)
            self._add(name, host, location)
            self.segment(location, "red", tpid=tpid)

    def _tunnel_side(self, vtep):
        kernel, remote = KERNEL[self.family], SWITCH[self.family]
        host = self.vxlan_host("kernel", 10000, kernel, self._next_address())
        self._add("kernel", host, f"vxlan/10000/{kernel}", "vx0")
        switch = self.tunnel_switch("tunnels", remote)
        for name, kind, number in (("vxlan", "vxlan", 10000), ("nvgre", "nvgre", 5000), ("geneve", "geneve", 6000)):
            host = self.tunnel_host(switch, name, kind, number, remote, self._next_address(), flow_id=0x5A)
            self._add(name, host, f"{kind}/{number}/{remote}")
        own = {"mesh": "switch"} if self.meshes else {}
        self.segment("vxlan/10000", "red", [kernel, {"address": remote, **own}], vtep=vtep)
        for segment in ("nvgre/5000", "geneve/6000"):
            own = {"mesh": segment.split("/")[0]} if self.meshes else {}
            self.segment(segment, "red", [remote], vtep=vtep, **own)

    def listeners(self):
        """All hosts, listening."""
        return Listeners({name: place[:2] for name, place in self.places.items()})

    def broadcasts(self, listeners):
        """Every host sends a broadcast: {sender: {listener: how often it was heard}}."""
        heard = {}
        for name, (namespace, interface, _) in self.places.items():
            marker = f"from {name}!".encode()
            frame = Ether(dst="ff:ff:ff:ff:ff:ff", src=namespace.mac(interface), type=0x88B5) / Raw(marker * 6)
            listeners.send(name, frame)
            heard[name] = listeners.heard(marker)
        return heard


@pytest.mark.parametrize("family", [4, 6])
def test_every_encapsulation_meets_every_other_in_one_bridge(lab, family):
    mesh = Mesh(lab, family)
    with mesh.weir() as weir:
        weir.apply(mesh.state)
        for name, (namespace, _, _) in mesh.places.items():
            for other in mesh.places.keys() - {name}:
                namespace.reaches(mesh.address(other))
        for name, (namespace, _, _) in mesh.places.items():
            for other in mesh.places.keys() - {name}:
                assert namespace.ping(mesh.address(other), **FULL_SIZE) == 1, f"{name} to {other}, full size"
        rows = {row["mac"]: row["location"] for row in weir.show("mac")}
        assert rows == {namespace.mac(interface): at for namespace, interface, at in mesh.places.values()}
        with mesh.listeners() as listeners:
            once = {name: {other: int(other != name) for other in mesh.places} for name in mesh.places}
            assert mesh.broadcasts(listeners) == once


@pytest.mark.parametrize("family", [4, 6])
def test_within_one_mesh_no_tunnel_hears_another(lab, family):
    mesh = Mesh(lab, family, meshes=False)
    tunnels = {"kernel", "vxlan", "nvgre", "geneve"}
    with mesh.weir() as weir:
        weir.allowed_drops |= {"split_horizon"}
        weir.apply(mesh.state)
        mesh.places["plain"][0].reaches(mesh.address("geneve"))
        with mesh.listeners() as listeners:
            expected = {
                name: {other: int(other != name and not {name, other} <= tunnels) for other in mesh.places}
                for name in mesh.places
            }
            assert mesh.broadcasts(listeners) == expected
        for name, other in itertools.permutations(sorted(tunnels), 2):
            assert mesh.places[name][0].ping(mesh.address(other), wait=0.3) == 0, f"{name} to {other}"


def test_tunnels_over_ipv4_and_ipv6_are_one_bridge(lab):
    site = Site(lab)
    site.host = site.untagged_host("host", "lan0", "10.0.0.1/24")
    site.underlay(mtu=1700)
    site.underlay6()
    four = site.vxlan_host("four", 10000, KERNEL[4], "10.0.0.2/24")
    six = site.vxlan_host("six", 10006, KERNEL[6], "10.0.0.3/24")
    summed = site.vxlan_host("summed", 10006, "2001:db8::4", "10.0.0.4/24", checksums=True)
    site.bridge("red", "vlan/lan0/untagged")
    site.segment("vxlan/10000", "red", [KERNEL[4]], mesh="four")
    site.segment("vxlan/10006", "red", [KERNEL[6], {"address": "2001:db8::4", "mesh": "summed"}], vtep="underlay6")
    hosts = {"10.0.0.1": site.host, "10.0.0.2": four, "10.0.0.3": six, "10.0.0.4": summed}
    with site.weir() as weir:
        weir.apply(site.state)
        for host in hosts.values():
            for address in hosts.keys():
                host.reaches(address)
                assert host.ping(address, **FULL_SIZE) == 1
