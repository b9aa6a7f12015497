"""Open vSwitch on its userspace datapath: a switch with access ports, a trunk and service tags, and a tunnel endpoint.

Read first: IEEE 802.1Q and 802.1ad (tags), RFC 7348 (VXLAN), RFC 7637 (NVGRE), RFC 8926 (Geneve). The kernel of the test
machine need know none of them: each switch has a database and a daemon of its own, in the lab's directory, and nothing
of the system's Open vSwitch is touched.
"""

import os

from .net import LabError, run, wait_for


class OpenVswitch:
    """One switch with the bridge br0, and hosts behind its access ports."""

    def __init__(self, lab, role):
        self.lab, self.namespace = lab, lab.namespace(role)
        self.directory = lab.directory / f"ovs-{role}"
        self.directory.mkdir()
        self._ports, self.hosts = 0, []
        database, self.database = self.directory / "conf.db", f"unix:{self.directory}/db.sock"
        run("ovsdb-tool", "create", database, "/usr/share/openvswitch/vswitch.ovsschema")
        log = open(self.directory / "log", "w")
        lab.callback(log.close)
        ctl = f"--unixctl={self.directory}/"
        quiet = {"stdout": log, "stderr": log, "env": {**os.environ, "OVS_RUNDIR": str(self.directory)}}
        lab.start("ovsdb-server", database, f"--remote=p{self.database}", f"{ctl}db.ctl", "-vconsole:warn", **quiet)
        wait_for("ovsdb-server's socket", (self.directory / "db.sock").exists)
        self.vsctl("--no-wait", "init", "--", "set", "Open_vSwitch", ".", "other_config:vlan-limit=2")
        self.namespace.start("ovs-vswitchd", self.database, f"{ctl}switch.ctl", "-vconsole:warn", **quiet)
        self.add_bridge("br0")

    def vsctl(self, *argv):
        """An `ovs-vsctl` command; waits until the switch has done it."""
        done = run("ovs-vsctl", f"--db={self.database}", "--timeout=10", *argv, check=False)
        if done.returncode != 0:
            raise LabError(f"ovs-vsctl {argv}: {done.stderr}\n{(self.directory / 'log').read_text()}")
        return done.stdout

    def add_bridge(self, name):
        """A bridge on the userspace datapath."""
        self.vsctl("add-br", name, "--", "set", "bridge", name, "datapath_type=netdev")

    def add_flow(self, flow, bridge="br0"):
        """An OpenFlow rule."""
        run("ovs-ofctl", "add-flow", f"unix:{self.directory}/{bridge}.mgmt", flow)

    def host(self, role, vid, prefix, mac=None):
        """A kernel host behind an access port of VLAN `vid` (None: the switch's untagged one); its eth0."""
        host, port = self.lab.namespace(role), self._next_port("access")
        self.lab.cable(self.namespace, port, host, "eth0")
        host.address("eth0", prefix, mac)
        self.vsctl("add-port", "br0", port, *self._tag(vid))
        self.hosts.append(host)
        return host

    @staticmethod
    def _tag(vid):
        return [] if vid is None else [f"tag={vid}"]

    def _next_port(self, kind):
        self._ports += 1
        return f"{kind}{self._ports}"


class TaggedSwitch(OpenVswitch):
    """Access ports towards hosts, one trunk towards the gateway."""

    def __init__(self, lab, role="switch"):
        super().__init__(lab, role)

    def trunk(self, namespace, interface, mtu=1500):
        """Cables the switch to `interface` in `namespace`; all VLANs, tagged."""
        self.lab.cable(self.namespace, "trunk", namespace, interface, mtu)
        self.vsctl("add-port", "br0", "trunk")

    def qinq_host(self, role, outer, inner, prefix, mac=None, tpid="802.1ad"):
        """A kernel host whose frames leave the trunk with two tags: `tpid` outside, 802.1Q inside.

        `tpid` is "802.1ad" or "802.1q". A bridge of the host's own puts the inner tag on, and the port that joins it to br0 the outer one.
        """
        host, port = self.lab.namespace(role), self._next_port("qinq")
        self.lab.cable(self.namespace, port, host, "eth0")
        host.address("eth0", prefix, mac)
        customer, inside, outside = f"c-{port}", f"{port}-in", f"{port}-out"
        self.add_bridge(customer)
        self.vsctl("add-port", customer, port, f"tag={inner}")
        patch = ["--", "set", "interface", inside, "type=patch", f"options:peer={outside}"]
        self.vsctl("add-port", customer, inside, *patch)
        service = [f"tag={outer}", "vlan_mode=dot1q-tunnel", f"cvlans={inner}", f"other_config:qinq-ethtype={tpid}"]
        patch = ["--", "set", "interface", outside, "type=patch", f"options:peer={inside}"]
        self.vsctl("add-port", "br0", outside, *service, *patch)
        return host


class TunnelSwitch(OpenVswitch):
    """A tunnel endpoint: hosts behind access ports, tunnels to other endpoints, an underlay interface named phy."""

    def __init__(self, lab, role):
        super().__init__(lab, role)
        self.local = {}

    def underlay(self, *prefixes):
        """Addresses (192.0.2.2/24, 2001:db8::2/64) on the bridge phy, whose port is the cable `wire`."""
        self.add_bridge("phy")
        self.vsctl("add-port", "phy", "wire")
        # The kernel sees what the switch sees on the wire, and would answer ARP for phy there, with the wire's MAC.
        self.namespace.run("sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=1")
        self.namespace.ip("link", "set", "phy", "up")
        for prefix in prefixes:
            self.namespace.address("phy", prefix)
            self.local[":" in prefix] = prefix.split("/")[0]

    def tunnel(self, kind, number, remote, vid=None, flow_id=0):
        """A port of VLAN `vid` towards `remote`: "vxlan" or "geneve" with VNI `number`, "nvgre" with VSID `number`.

        NVGRE sends `flow_id`, and takes in any: the key is VSID << 8 | FlowID (RFC 7637 section 3.2). One NVGRE tunnel
        for each remote address.
        """
        port, local = self._next_port(kind), self.local[":" in remote]
        ends = [f'options:local_ip="{local}"', f'options:remote_ip="{remote}"']
        if kind == "nvgre":
            ends += ["options:packet_type=legacy_l2", "options:in_key=flow", f"options:out_key={number << 8 | flow_id}"]
        else:
            ends.append(f"options:key={number}")
        of_kind = f"type={'gre' if kind == 'nvgre' else kind}"
        self.vsctl("add-port", "br0", port, *self._tag(vid), "--", "set", "interface", port, of_kind, *ends)
        if kind == "nvgre":
            number_of_port = self.vsctl("get", "interface", port, "ofport").strip()
            own = f"in_port={number_of_port},tun_id={number << 8:#x}/0xffffff00"
            self.add_flow(f"priority=20,{own},actions=NORMAL")
            self.add_flow(f"priority=10,in_port={number_of_port},actions=drop")
