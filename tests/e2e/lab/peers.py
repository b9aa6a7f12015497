"""The gateway's peers: a kernel VXLAN host, a switch that tags, an underlay router.

Read first: RFC 7348 (VXLAN), IEEE 802.1Q. The kernel of the test machine need not know 802.1Q: tagging is Open
vSwitch's, on its userspace datapath, with a database and a daemon of its own.
"""

from .net import LabError, run, wait_for


class KernelVxlan:
    """The Linux kernel's VXLAN device in a namespace of its own, on one end of an underlay cable."""

    def __init__(self, namespace, underlay, local):
        """`underlay` is the interface that carries `local` (such as 192.0.2.2/24)."""
        self.namespace, self.local = namespace, local.split("/")[0]
        namespace.address(underlay, local)

    def device(self, vni, remote, address, name="vx0", mac=None, mtu=1500):
        """A VXLAN device towards `remote`, with an overlay address."""
        ns = self.namespace
        tunnel = ["id", vni, "local", self.local, "remote", remote, "dstport", 4789]
        ns.ip("link", "add", name, "mtu", mtu, "type", "vxlan", *tunnel)
        ns.up(name)
        ns.address(name, address, mac)


class Router:
    """An IPv4 router between two underlay nets: a namespace that forwards."""

    def __init__(self, namespace):
        self.namespace = namespace
        namespace.run("sysctl", "-qw", "net.ipv4.ip_forward=1")


class TaggedSwitch:
    """Open vSwitch on its userspace datapath: access ports towards hosts, one trunk towards the gateway.

    The database, the sockets and the logs are in the lab's directory; nothing of the system's Open vSwitch is touched.
    """

    def __init__(self, lab, role="switch"):
        self.lab, self.namespace = lab, lab.namespace(role)
        self.directory = lab.directory / f"ovs-{role}"
        self.directory.mkdir()
        self._ports = 0
        database, remote = self.directory / "conf.db", f"unix:{self.directory}/db.sock"
        run("ovsdb-tool", "create", database, "/usr/share/openvswitch/vswitch.ovsschema")
        self.database = remote
        log = open(self.directory / "log", "w")
        lab.callback(log.close)
        ctl = f"--unixctl={self.directory}/"
        quiet = {"stdout": log, "stderr": log}
        lab.start("ovsdb-server", database, f"--remote=p{remote}", f"{ctl}db.ctl", "-vconsole:warn", **quiet)
        wait_for("ovsdb-server's socket", (self.directory / "db.sock").exists)
        self.vsctl("--no-wait", "init")
        self.namespace.start("ovs-vswitchd", remote, f"{ctl}switch.ctl", "-vconsole:warn", **quiet)
        self.vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev")

    def vsctl(self, *argv):
        """An `ovs-vsctl` command; waits until the switch has done it."""
        done = run("ovs-vsctl", f"--db={self.database}", "--timeout=10", *argv, check=False)
        if done.returncode != 0:
            raise LabError(f"ovs-vsctl {argv}: {done.stderr}\n{(self.directory / 'log').read_text()}")
        return done.stdout

    def trunk(self, namespace, interface, mtu=1500):
        """Cables the switch to `interface` in `namespace`; all VLANs, tagged."""
        self.lab.cable(self.namespace, "trunk", namespace, interface, mtu)
        self.vsctl("add-port", "br0", "trunk")

    def host(self, role, vid, prefix, mac=None):
        """A kernel host behind an access port of VLAN `vid`; its interface is eth0."""
        host, self._ports = self.lab.namespace(role), self._ports + 1
        port = f"access{self._ports}"
        self.lab.cable(self.namespace, port, host, "eth0")
        host.address("eth0", prefix, mac)
        self.vsctl("add-port", "br0", port, f"tag={vid}")
        return host
