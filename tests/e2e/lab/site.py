"""A site: one gateway between VLAN hosts and an underlay of tunnel endpoints, and the desired state that joins them.

    host -- lan0 -- [gateway] -- wan0 -- fabric -- tunnel endpoints (192.0.2.2, 192.0.2.3, …; 2001:db8::2, …)
                     192.0.2.1, 2001:db8::1
"""

from .net import Lab
from .openvswitch import TaggedSwitch, TunnelSwitch
from .peers import Fabric, KernelVxlan
from .weir import Weir, af_packet

VTEP, VTEP6 = "192.0.2.1", "2001:db8::1"
TUNNELS = ("vxlan", "nvgre", "geneve")


def underlay_prefix(address):
    """An underlay address with its net's prefix length."""
    return f"{address}/{64 if ':' in address else 24}"


class Site:
    """The namespaces, the cables, and the [[port]] tables and desired state that go with them."""

    def __init__(self, lab: Lab, queues=1, underlay_queues=None, gateway="gateway"):
        """`gateway` is its namespace's role, where there are several."""
        self.lab, self.queues = lab, queues
        self.underlay_queues = underlay_queues or queues
        self.gateway = lab.namespace(gateway)
        self.ports, self.after_start = [], []
        self.state = {"bridge": [], "vtep": [], "segment": [], "peer": [], "endpoint": []}
        self.fabric = None
        self._macs = 0

    def port(self, name, mtu=1500, queues=None):
        """A [[port]] on the gateway's interface of the same name."""
        device = af_packet(len(self.ports), name, queues or self.queues)
        self.ports.append({"name": name, "device": device, "mtu": mtu})

    # The underlay

    def underlay(self, mtu=1600, fabric=None, address=VTEP, **vtep):
        """The fabric, or another gateway's, the port wan0 and the vtep "underlay" on it."""
        self.fabric = fabric or Fabric(self.lab)
        self.fabric.plug_in(self.gateway, "wan0")
        self.port("wan0", mtu, self.underlay_queues)
        self.state["vtep"].append({"name": "underlay", "port": "wan0", "address": f"{address}/24", **vtep})

    def underlay6(self, **vtep):
        """The vtep "underlay6", also on wan0."""
        self.state["vtep"].append({"name": "underlay6", "port": "wan0", "address": f"{VTEP6}/64", **vtep})

    def vxlan_host(self, role, vni, local, address, mac=None, **device):
        """A kernel VXLAN host on the fabric at underlay address `local`, with overlay `address` on its vx0."""
        host = self.lab.namespace(role)
        self.fabric.plug_in(host, "eth0")
        endpoint, vtep = KernelVxlan(host, "eth0", underlay_prefix(local)), VTEP6 if ":" in local else VTEP
        endpoint.device(vni, vtep, address, mac=mac or self.next_mac(), **device)
        return host

    def tunnel_switch(self, role, *addresses):
        """A switch with tunnels, at underlay `addresses`."""
        switch = TunnelSwitch(self.lab, role)
        self.fabric.plug_in(switch.namespace, "wire")
        switch.underlay(*(underlay_prefix(address) for address in addresses))
        return switch

    def tunnel_host(self, switch, role, kind, number, local, address, flow_id=0):
        """A host behind a tunnel switch (at `local`), alone on an access port that one tunnel to the gateway leads to."""
        vid = 100 + len(switch.hosts)
        switch.tunnel(kind, number, VTEP6 if ":" in local else VTEP, vid, flow_id)
        return switch.host(role, vid, address, self.next_mac())

    # The VLAN side

    def untagged_host(self, role, port, prefix, mac=None):
        """A kernel host on a port of its own, untagged."""
        host = self.lab.namespace(role)
        self.lab.cable(host, "eth0", self.gateway, port)
        host.address("eth0", prefix, mac or self.next_mac())
        self.port(port)
        return host

    def switch(self, port="lan0", role="switch"):
        """A switch whose trunk is a port of the gateway."""
        switch = TaggedSwitch(self.lab, role)
        switch.trunk(self.gateway, port)
        self.port(port)
        return switch

    def service_switch(self, port="lan0", role="switch"):
        """A switch whose trunk carries service tags (0x88A8) to a port of the gateway.

        net_af_packet gives 0x8100 for any outer tag that the kernel took out, so the port is a tap, which a kernel bridge
        joins to the trunk as soon as the gateway has made it. The trunk has room for two tags.
        """
        switch, trunk = TaggedSwitch(self.lab, role), f"{port}-trunk"
        switch.trunk(self.gateway, trunk, mtu=1508)
        self.gateway.ip("link", "add", f"{port}-join", "type", "bridge", "mcast_snooping", 0)
        self.gateway.ip("link", "set", f"{port}-join", "up")
        self.ports.append({"name": port, "device": f"net_tap{len(self.ports)},iface={port}", "mtu": 1500})

        def join():
            for end in (trunk, port):
                self.gateway.ip("link", "set", end, "master", f"{port}-join")
                # A wire learns nothing: one MAC may be on both sides, in different VLANs.
                self.gateway.run("bridge", "link", "set", "dev", end, "learning", "off")
            self.gateway.ip("link", "set", port, "up")

        self.after_start.append(join)
        return switch

    def wire(self, port):
        """A bare namespace cabled to a port, for frames made by hand on its eth0."""
        end = self.lab.namespace(port)
        self.lab.cable(end, "eth0", self.gateway, port)
        self.port(port)
        return end

    def next_mac(self):
        """A MAC that no other host of this site has."""
        self._macs += 1
        return f"02:00:00:00:0a:{self._macs:02x}"

    # The desired state

    def bridge(self, name, *segments, peers=(), **fields):
        """A bridge of segments (tunnels on the vtep "underlay") and flood peers (addresses, for every tunnel)."""
        self.state["bridge"].append({"name": name, **fields})
        for segment in segments:
            self.segment(segment, name, peers=peers if segment.split("/")[0] in TUNNELS else ())

    def segment(self, segment, bridge, peers=(), **fields):
        """A segment and its flood peers: addresses, or dicts with more than an address."""
        if segment.split("/")[0] in TUNNELS:
            fields = {"vtep": "underlay", **fields}
        self.state["segment"].append({"id": segment, "bridge": bridge, **fields})
        for peer in peers:
            peer = peer if isinstance(peer, dict) else {"address": peer}
            self.state["peer"].append({"segment": segment, **peer})

    def endpoint(self, bridge, mac, location, ips=(), **fields):
        """A configured host."""
        ips = {"ips": list(ips)} if ips else {}
        self.state["endpoint"].append({"bridge": bridge, "mac": mac, "location": location, **ips, **fields})

    def router(self, name, **fields):
        """A router of a tenant."""
        self.state.setdefault("router", []).append({"name": name, **fields})

    def interface(self, router, bridge, mac, *addresses, **fields):
        """An interface of a router: the gateway of a bridge's hosts, or a way out."""
        row = {"router": router, "bridge": bridge, "mac": mac, "addresses": list(addresses), **fields}
        self.state.setdefault("interface", []).append(row)

    def dvr_macs(self, own, *others):
        """The DVR MACs: this gateway's own, and the others'."""
        macs = [{"mac": own, "own": True}, *({"mac": mac} for mac in others)]
        self.state.setdefault("dvr_mac", []).extend(macs)

    def weir(self, **options):
        """The gateway on this site's ports; not yet started."""
        return Weir(self.lab, self.gateway, self.ports, after_start=self.after_start, **options)


def one_tenant(lab, tagged=False, queues=1, underlay_queues=None, mtu=1600):
    """The common case: `site.host` (10.0.0.1) on lan0, untagged or on VLAN 100; `site.far` (10.0.0.2) on VNI 10000."""
    site = Site(lab, queues, underlay_queues)
    if tagged:
        site.host = site.switch().host("host", 100, "10.0.0.1/24", site.next_mac())
    else:
        site.host = site.untagged_host("host", "lan0", "10.0.0.1/24")
    site.underlay(mtu)
    site.far = site.vxlan_host("far", 10000, "192.0.2.2", "10.0.0.2/24")
    site.bridge("red", f"vlan/lan0/{'100' if tagged else 'untagged'}", "vxlan/10000", peers=["192.0.2.2"])
    return site
