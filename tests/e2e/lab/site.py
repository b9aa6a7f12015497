"""A site: one gateway between VLAN hosts and an underlay of kernel VXLAN hosts, and the desired state that joins them.

    host -- lan0 -- [gateway] -- wan0 -- fabric -- VXLAN hosts (192.0.2.2, 192.0.2.3, …)
                     192.0.2.1
"""

from .net import Lab
from .openvswitch import TaggedSwitch
from .peers import Fabric, KernelVxlan
from .weir import Weir, af_packet

VTEP = "192.0.2.1"


class Site:
    """The namespaces, the cables, and the [[port]] tables and desired state that go with them."""

    def __init__(self, lab: Lab, queues=1, underlay_queues=None):
        self.lab, self.queues = lab, queues
        self.underlay_queues = underlay_queues or queues
        self.gateway = lab.namespace("gateway")
        self.ports = []
        self.state = {"bridge": [], "vtep": [], "segment": [], "peer": []}
        self.fabric = None
        self._macs = 0

    def port(self, name, mtu=1500, queues=None):
        """A [[port]] on the gateway's interface of the same name."""
        device = af_packet(len(self.ports), name, queues or self.queues)
        self.ports.append({"name": name, "device": device, "mtu": mtu})

    # The underlay

    def underlay(self, mtu=1600, **vtep):
        """The fabric, the port wan0 and the vtep "underlay" on it."""
        self.fabric = Fabric(self.lab)
        self.fabric.plug_in(self.gateway, "wan0")
        self.port("wan0", mtu, self.underlay_queues)
        self.state["vtep"].append({"name": "underlay", "port": "wan0", "address": f"{VTEP}/24", **vtep})

    def vxlan_host(self, role, vni, local, address, mac=None):
        """A kernel VXLAN host on the fabric at underlay address `local`, with overlay `address` on its vx0."""
        host = self.lab.namespace(role)
        self.fabric.plug_in(host, "eth0")
        KernelVxlan(host, "eth0", f"{local}/24").device(vni, VTEP, address, mac=mac or self._next_mac())
        return host

    # The VLAN side

    def untagged_host(self, role, port, prefix, mac=None):
        """A kernel host on a port of its own, untagged."""
        host = self.lab.namespace(role)
        self.lab.cable(host, "eth0", self.gateway, port)
        host.address("eth0", prefix, mac or self._next_mac())
        self.port(port)
        return host

    def switch(self, port="lan0", role="switch"):
        """A switch whose trunk is a port of the gateway."""
        switch = TaggedSwitch(self.lab, role)
        switch.trunk(self.gateway, port)
        self.port(port)
        return switch

    def wire(self, port):
        """A bare namespace cabled to a port, for frames made by hand on its eth0."""
        end = self.lab.namespace(port)
        self.lab.cable(end, "eth0", self.gateway, port)
        self.port(port)
        return end

    def _next_mac(self):
        self._macs += 1
        return f"02:00:00:00:0a:{self._macs:02x}"

    # The desired state

    def bridge(self, name, *segments, peers=(), **fields):
        """A bridge of segments (VXLAN ones on the vtep "underlay") and flood peers (addresses, for every tunnel)."""
        self.state["bridge"].append({"name": name, **fields})
        for segment in segments:
            tunnel = {"vtep": "underlay"} if segment.startswith("vxlan/") else {}
            self.state["segment"].append({"id": segment, "bridge": name, **tunnel})
            if tunnel:
                self.state["peer"] += [{"segment": segment, "address": peer} for peer in peers]

    def weir(self, **options):
        """The gateway on this site's ports; not yet started."""
        return Weir(self.lab, self.gateway, self.ports, **options)


def one_tenant(lab, tagged=False, queues=1, underlay_queues=None, mtu=1600):
    """The common case: `site.host` (10.0.0.1) on lan0, untagged or on VLAN 100; `site.far` (10.0.0.2) on VNI 10000."""
    site = Site(lab, queues, underlay_queues)
    if tagged:
        site.host = site.switch().host("host", 100, "10.0.0.1/24", site._next_mac())
    else:
        site.host = site.untagged_host("host", "lan0", "10.0.0.1/24")
    site.underlay(mtu)
    site.far = site.vxlan_host("far", 10000, "192.0.2.2", "10.0.0.2/24")
    site.bridge("red", f"vlan/lan0/{'100' if tagged else 'untagged'}", "vxlan/10000", peers=["192.0.2.2"])
    return site
