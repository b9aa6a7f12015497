"""A pair of tenants that share an address by VRRP: keepalived, as cloud users run it.

Read first: RFC 5798 (VRRP), RFC 5227 (announcements). The kernel of the test machine need not have macvlan, which
keepalived's `use_vmac` asks for: where a virtual MAC is wanted, the VIP is on an interface of its own with that MAC,
bridged to the host's.
"""

from .net import end, wait_for

VIRTUAL_MAC = "00:00:5e:00:01:{:02x}"  # RFC 5798 section 7.3
ADVERTISEMENT = 0.1  # seconds between a master's advertisements: the backup takes over after three, and a bit


class Keepalived:
    """keepalived on a host's interface; the higher `priority` is master, and takes the VIP back when it returns."""

    def __init__(self, host, interface, vip, priority, router=51, virtual_mac=False):
        """`vip` is an address with its prefix length, such as 10.0.0.100/24."""
        self.host, self.interface, self.vip = host, interface, vip
        self.mac = VIRTUAL_MAC.format(router) if virtual_mac else host.mac(interface)
        self.process = None
        self.own = own = host.lab.directory / f"keepalived-{host.role}"
        own.mkdir()
        carrier = self._interface_of_its_own() if virtual_mac else interface
        (own / "conf").write_text(f"""
global_defs {{
    router_id {host.role}
    vrrp_version 3
    vrrp_garp_master_repeat 1
    vrrp_garp_master_delay 0
    vrrp_garp_master_refresh 0
}}
vrrp_instance lab {{
    state BACKUP
    interface {self.interface}
    virtual_router_id {router}
    priority {priority}
    advert_int {ADVERTISEMENT}
    track_interface {{
        {interface}
    }}
    virtual_ipaddress {{
        {vip} dev {carrier}
    }}
}}
""")

    def _interface_of_its_own(self):
        """A kernel bridge of the host's interface and an interface with the virtual MAC, which is where the VIP goes."""
        host = self.host
        host.ip("link", "add", "lan", "address", host.mac(self.interface), "type", "bridge", "mcast_snooping", 0)
        host.ip("link", "add", "virtual", "address", self.mac, "type", "veth", "peer", "name", "vport")
        for port in (self.interface, "vport"):
            host.ip("link", "set", port, "master", "lan")
        for interface in ("virtual", "vport", "lan"):
            host.up(interface)
        for prefix in host.ip("-o", "-4", "address", "show", "dev", self.interface).stdout.split("inet ")[1:]:
            host.ip("address", "del", prefix.split()[0], "dev", self.interface)
            host.ip("address", "add", prefix.split()[0], "dev", "lan")
        # An address is answered for by the interface that has it, and by no other.
        for scope in ("arp_ignore", "arp_announce"):
            host.run("sysctl", "-qw", f"net.ipv4.conf.all.{scope}={1 if scope == 'arp_ignore' else 2}")
        self.interface = "lan"
        return "virtual"

    def start(self):
        """Starts it. It takes part in the election at once."""
        own = self.own
        log = open(own / "log", "a")
        argv = ["keepalived", "-P", "-n", "-l", "-D", "-f", own / "conf", "-p", own / "pid", "-r", own / "vrrp"]
        self.process = self.host.start(*argv, stdout=log, stderr=log)
        log.close()

    def stop(self):
        """SIGTERM: it says good-bye by an advertisement of priority 0, and gives the VIP up."""
        end(self.process)

    def is_master(self):
        """Whether it holds the VIP."""
        return f" {self.vip} " in self.host.ip("-o", "address", "show").stdout

    def becomes_master(self, seconds=10):
        """Asserts that it takes the VIP in time."""
        wait_for(f"{self.host.role} takes {self.vip}", self.is_master, seconds, every=0.01)


class VrrpPair:
    """Two hosts behind any segments, the first with the higher priority."""

    def __init__(self, first, second, vip, **options):
        """`first` and `second` are (namespace, interface)."""
        self.vip = vip.split("/")[0]
        self.first = Keepalived(*first, vip, 200, **options)
        self.second = Keepalived(*second, vip, 100, **options)

    def start(self):
        """Starts both and waits for the first to be master, and the second not."""
        self.second.start()
        self.first.start()
        self.first.becomes_master()
        wait_for("the second is backup", lambda: not self.second.is_master())
