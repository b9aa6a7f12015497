"""A tenant's two bridges and the router between them; and what a host says of the way to another.

    plain -- lan0 (untagged) --,                         ,-- lan1 (VLAN 200, Open vSwitch) -- tagged
                             red ------ router r1 ---- blue
    kernel -- VXLAN 10001 -----'                         '-- VXLAN 10002 -- far

Read first: RFC 1812 §5 (what a router does), RFC 1191 and RFC 8201 (path MTU).
"""

import contextlib
import json
import re

from .net import process, wait_for
from .site import VTEP, Site

GATEWAY_MACS = {"red": "02:00:5e:00:00:01", "blue": "02:00:5e:00:00:02"}
GATEWAYS = {"red": ("10.1.0.254", "fd01::fe"), "blue": ("10.2.0.254", "fd02::fe")}
VXLAN_MTU = 1450  # on an underlay of 1500


class Host:
    """A kernel host of a bridge, with addresses of both families, and routes to the gateway."""

    def __init__(self, namespace, interface, bridge, number):
        self.namespace, self.interface, self.bridge = namespace, interface, bridge
        net = 1 if bridge == "red" else 2
        self.v4, self.v6 = f"10.{net}.0.{number}", f"fd{net:02x}::{number}"
        namespace.ip("route", "add", "default", "via", GATEWAYS[bridge][0])

    def start_v6(self):
        """Gives it its IPv6 address, of which it speaks at once, and the route."""
        self.namespace.address(self.interface, f"{self.v6}/64")
        self.namespace.ip("-6", "route", "add", "default", "via", GATEWAYS[self.bridge][1])

    def at(self, family):
        """Its address of a family."""
        return self.v6 if family == 6 else self.v4

    def gateway(self, family):
        """Its gateway's address of a family."""
        return GATEWAYS[self.bridge][family == 6]


class RoutedSite(Site):
    """The site above; `hosts` is {name: Host}."""

    def __init__(self, lab, **router):
        super().__init__(lab)
        plain = self.untagged_host("plain", "lan0", "10.1.0.1/24")
        tagged = self.switch("lan1").host("tagged", 200, "10.2.0.1/24", self.next_mac())
        self.underlay(mtu=1500)
        kernel = self.vxlan_host("kernel", 10001, "192.0.2.2", "10.1.0.2/24", mtu=VXLAN_MTU)
        far = self.vxlan_host("far", 10002, "192.0.2.3", "10.2.0.2/24", mtu=VXLAN_MTU)
        self.bridge("red", "vlan/lan0/untagged", "vxlan/10001", peers=["192.0.2.2"])
        self.bridge("blue", "vlan/lan1/200", "vxlan/10002", peers=["192.0.2.3"])
        self.hosts = {
            "plain": Host(plain, "eth0", "red", 1),
            "kernel": Host(kernel, "vx0", "red", 2),
            "tagged": Host(tagged, "eth0", "blue", 1),
            "far": Host(far, "vx0", "blue", 2),
        }
        self.router("r1", **router)
        for bridge, mac in GATEWAY_MACS.items():
            v4, v6 = GATEWAYS[bridge]
            self.interface("r1", bridge, mac, f"{v4}/24", f"{v6}/64")

    @contextlib.contextmanager
    def running(self):
        """The gateway at work, as `at_work`; then the hosts get their IPv6 addresses."""
        with self.weir() as self.at_work:
            self.at_work.apply(self.state)
            for host in self.hosts.values():
                host.start_v6()
            for name in ("kernel", "far"):
                self.hosts[name].namespace.reaches(VTEP)
            yield self

    def across(self):
        """All pairs of hosts on different bridges, by name."""
        hosts = self.hosts.items()
        return [(a, b) for a, one in hosts for b, other in hosts if one.bridge != other.bridge]


def traceroute(namespace, address):
    """The hops to an address, as `traceroute` prints them: an address, or "*", for each."""
    family = "-6" if ":" in address else "-4"
    said = namespace.run("traceroute", family, "-n", "-q", 1, "-w", 2, "-m", 6, address).stdout
    return re.findall(r"^ *\d+ +(\S+)", said, re.M)


def mtr(namespace, address, count=2):
    """The report of `mtr`: {hop: pings that were answered}."""
    family = "-6" if ":" in address else "-4"
    said = namespace.run("mtr", family, "--report", "-n", "-i", 0.2, "-G", 0.5, "-m", 6, "-c", count, "-j", address).stdout
    hubs = json.loads(said)["report"]["hubs"]
    return {hub["host"]: round(hub["Snt"] * (1 - hub["Loss%"] / 100)) for hub in hubs}


def path_mtu(namespace, address):
    """The path MTU that `tracepath` finds, and how many hops there are."""
    family = "-6" if ":" in address else "-4"
    said = namespace.run("tracepath", family, "-n", "-m", 6, address).stdout
    found = re.search(r"Resume: pmtu (\d+) hops (\d+)", said)
    assert found, said
    return int(found.group(1)), int(found.group(2))


@contextlib.contextmanager
def iperf_server(host):
    """iperf3's server on a host, while the `with` lasts."""
    with process("iperf3", "--server", namespace=host, stdout=-3):
        wait_for("iperf3 listens", lambda: ":5201" in host.run("ss", "-ltn").stdout)
        yield


def iperf(client, address, *options, seconds=1):
    """What iperf3's client says at the end, as it is received: its "sum_received" or, of UDP, "sum"."""
    done = client.run("iperf3", "--client", address, "--time", seconds, "--json", *options, timeout=30)
    end = json.loads(done.stdout)["end"]
    return end.get("sum_received") or end["sum"]
