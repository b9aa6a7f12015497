"""The gateway's peers that are the kernel's: a VXLAN host, an underlay router. The others are Open vSwitch's.

Read first: RFC 7348 (VXLAN), RFC 6935 and RFC 6936 (UDP checksum zero over IPv6).
"""


class KernelVxlan:
    """The Linux kernel's VXLAN device in a namespace of its own, on one end of an underlay cable."""

    def __init__(self, namespace, underlay, local):
        """`underlay` is the interface that carries `local` (such as 192.0.2.2/24 or 2001:db8::2/64)."""
        self.namespace, self.local = namespace, local.split("/")[0]
        namespace.address(underlay, local)

    def device(self, vni, remote, address, name="vx0", mac=None, mtu=1500, checksums=False):
        """A VXLAN device towards `remote`, with an overlay address.

        Over IPv6, a UDP checksum of zero is taken in, and sent unless `checksums`.
        """
        ns = self.namespace
        tunnel = ["id", vni, "local", self.local, "remote", remote, "dstport", 4789]
        if ":" in remote:
            tunnel += ["udp6zerocsumrx", "noudp6zerocsumtx" if checksums else "udp6zerocsumtx"]
        ns.ip("link", "add", name, "mtu", mtu, "type", "vxlan", *tunnel)
        ns.up(name)
        ns.address(name, address, mac)


class Router:
    """A router between two underlay nets: a namespace that forwards."""

    def __init__(self, namespace):
        self.namespace = namespace
        namespace.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        namespace.run("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")

    def address(self, interface, prefix):
        """An address; with IPv6 also a link-local one, from which a router solicits the neighbours of what it forwards."""
        self.namespace.address(interface, prefix)
        if ":" in prefix:
            self.namespace.ip("address", "add", f"fe80::{self.namespace.role[-1]}/64", "dev", interface, "nodad")


class Fabric:
    """The underlay's Ethernet: a kernel bridge in a namespace of its own, wide enough for any tunnel's frames."""

    MTU = 2000

    def __init__(self, lab):
        self.lab, self.namespace = lab, lab.namespace("fabric")
        self.namespace.ip("link", "add", "fabric", "mtu", self.MTU, "type", "bridge", "mcast_snooping", 0)
        self.namespace.ip("link", "set", "fabric", "up")

    def plug_in(self, namespace, interface, mtu=MTU):
        """Cables a namespace to the fabric."""
        port = namespace.role[:15]
        self.lab.cable(namespace, interface, self.namespace, port, mtu=mtu)
        self.namespace.ip("link", "set", port, "master", "fabric")
