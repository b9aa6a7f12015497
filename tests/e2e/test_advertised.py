"""Hosts that get their IPv6 addresses from a router's advertisements, and two tenants that have the same nets.

Read first: RFC 4861 section 6 (router advertisements), RFC 4862 (addresses without a server), RFC 8201.
"""

import ipaddress
import re

import pytest
from lab import Lab
from lab.net import wait_for
from lab.routed import GATEWAY_MACS, path_mtu
from lab.site import VTEP, Site
from lab.wire import Capture

ROUTER = "fe80::5eff:fe00:1"  # of red's gateway MAC
ADVERTISED = "icmp6 and ip6[40] == 134"


def autoconfigure(host, interface):
    """The kernel's own IPv6: a link-local address, and what routers advertise."""
    host.ip("link", "set", interface, "addrgenmode", "eui64")
    for name, value in (("accept_ra", 1), ("autoconf", 1), ("use_tempaddr", 0), ("disable_ipv6", 0)):
        host.run("sysctl", "-qw", f"net.ipv6.conf.{interface}.{name}={value}")


def global_address(host, interface):
    """The address that an interface made of an advertised prefix, once it is known to be its own; None as yet."""
    shown = host.ip("-6", "-o", "address", "show", "dev", interface, "scope", "global", "-tentative").stdout
    found = re.search(r"inet6 (\S+)/64", shown)
    return found and found.group(1)


def slaac(mac, net):
    """The address of a MAC in a net such as "fd01::" (RFC 4291 appendix A)."""
    b = [int(part, 16) for part in mac.split(":")]
    words = [(b[0] ^ 2) << 8 | b[1], b[2] << 8 | 0xFF, 0xFE00 | b[3], b[4] << 8 | b[5]]
    return str(ipaddress.ip_address(net + ":".join(f"{word:x}" for word in words)))


@pytest.fixture(scope="module")
def site():
    """Red: `vlan` on lan0 and `far` behind VXLAN, which configure themselves; blue: `blue`, with an address of its own."""
    with Lab() as lab:
        site = Site(lab)
        site.vlan = site.untagged_host("vlan", "lan0", "10.1.0.1/24")
        site.blue = site.untagged_host("blue", "lan1", "10.2.0.1/24")
        site.underlay(mtu=1500)
        site.far = site.vxlan_host("far", 10001, "192.0.2.2", "10.1.0.2/24", mtu=1500)
        site.bridge("red", "vlan/lan0/untagged", "vxlan/10001", peers=["192.0.2.2"])
        site.bridge("blue", "vlan/lan1/untagged")
        site.router("r1")
        ra = {"ra": True, "ra_interval": 4, "ra_lifetime": 60, "ra_managed": True, "ra_other": True, "mtu": 1400}
        site.interface("r1", "red", GATEWAY_MACS["red"], "10.1.0.254/24", "fd01::fe/64", **ra)
        site.interface("r1", "blue", GATEWAY_MACS["blue"], "10.2.0.254/24", "fd02::fe/64")
        with site.weir() as site.at_work:
            # What a host says to all of a bridge that has nobody else.
            site.at_work.allowed_drops.add("no_flood_target")
            site.at_work.apply(site.state)
            # Blue's host is alone: what it reports of its multicast groups is for nobody.
            site.at_work.allowed_drops.add("no_flood_target")
            site.far.reaches(VTEP)
            site.blue.address("eth0", "fd02::1/64")
            site.blue.ip("-6", "route", "add", "default", "via", "fd02::fe")
            site.hosts = {"vlan": (site.vlan, "eth0"), "far": (site.far, "vx0")}
            for place in site.hosts.values():
                autoconfigure(*place)
            yield site


@pytest.mark.parametrize("name", ["vlan", "far"])
def test_a_host_configures_itself_and_is_routed(site, name):
    host, interface = site.hosts[name]
    own = wait_for("an address", lambda: global_address(host, interface), seconds=10)
    assert own == slaac(host.mac(interface), "fd01::")
    route = host.ip("-6", "route", "show", "default").stdout
    assert f"via {ROUTER} dev {interface} proto ra" in route and "mtu 1400" in route, route
    host.reaches("fd02::1")
    assert host.ping("fd02::1", count=3) == 3
    assert site.blue.ping(own, count=3) == 3
    assert path_mtu(host, "fd02::1") == (1400, 2)
    assert GATEWAY_MACS["red"] in host.ip("neighbour", "show", ROUTER).stdout
    site.at_work.allowed_drops.add("ttl_exceeded")


@pytest.mark.parametrize("name", ["vlan", "far"])
def test_who_asks_for_routers_hears_all_that_is_set(site, name):
    host, interface = site.hosts[name]
    wait_for("an address", lambda: global_address(host, interface), seconds=10)
    with Capture(host, interface, ADVERTISED) as capture:
        said = host.run("rdisc6", "-1", "-r", 1, interface).stdout
    for pattern in (
        r"Stateful address conf\.\s*: +Yes",
        r"Stateful other conf\.\s*: +Yes",
        r"Router lifetime\s*: +60 ",
        r"MTU\s*: +1400 ",
        r"Prefix\s*: +fd01::/64",
        rf"Source link-layer address: +{GATEWAY_MACS['red'].upper()}",
        rf"from {ROUTER}",
    ):
        assert re.search(pattern, said, re.I), f"{pattern}: {said}"
    assert not capture.faults()
    fields = ("icmpv6.nd.ra.flag.m", "icmpv6.nd.ra.flag.o", "icmpv6.nd.ra.router_lifetime", "ipv6.hlim")
    rows = capture.decode(*fields)
    assert rows and all(list(row.values())[2:] == [["60"], ["255"]] for row in rows), rows
    assert all(row[fields[0]] in (["1"], ["True"]) and row[fields[1]] in (["1"], ["True"]) for row in rows), rows


def test_advertisements_come_by_themselves_on_their_own_bridge(site):
    host, interface = site.hosts["vlan"]
    with Capture(host, interface, ADVERTISED) as capture, Capture(site.blue, "eth0", ADVERTISED) as other:
        wait_for("two of them", lambda: len(capture.frames()) >= 2 if capture.file.exists() else False, 10, 0.5)
    assert {f.dst for f in capture.frames()} == {"33:33:00:00:00:01"}
    assert {f.src for f in capture.frames()} == {GATEWAY_MACS["red"]}
    assert other.frames() == []


def test_two_tenants_with_the_same_nets_and_macs_never_meet():
    with Lab() as lab:
        site = Site(lab)
        hosts = {}
        for number, (tenant, bridge) in enumerate((t, b) for t in ("a", "b") for b in ("red", "blue")):
            net, port = 1 if bridge == "red" else 2, f"lan{number}"
            name = f"{tenant}-{bridge}"
            hosts[name] = site.untagged_host(name, port, f"10.{net}.0.1/24", f"02:00:00:00:0c:0{net}")
            hosts[name].ip("route", "add", "default", "via", f"10.{net}.0.254")
            site.bridge(name, f"vlan/{port}/untagged")
        for tenant in ("a", "b"):
            site.router(tenant)
            for net, bridge in ((1, "red"), (2, "blue")):
                site.interface(tenant, f"{tenant}-{bridge}", GATEWAY_MACS[bridge], f"10.{net}.0.254/24")
        with site.weir() as weir:
            weir.apply(site.state)
            for tenant, other in (("a", "b"), ("b", "a")):
                hosts[f"{tenant}-red"].reaches("10.2.0.1")
                with Capture(hosts[f"{other}-red"], "eth0") as red, Capture(hosts[f"{other}-blue"], "eth0") as blue:
                    assert hosts[f"{tenant}-red"].ping("10.2.0.1", count=5) == 5
                    assert hosts[f"{tenant}-blue"].ping("10.1.0.1", count=5) == 5
                assert red.frames() + blue.frames() == [], f"{other} hears {tenant}"
            # What only the other tenant has is nowhere.
            weir.allowed_drops |= {"host_unreachable", "no_flood_target"}  # an announcement that nobody else is there to hear
            hosts["b-blue"].ip("address", "add", "10.2.0.7/24", "dev", "eth0")
            hosts["b-blue"].run("arping", "-U", "-c", 1, "-I", "eth0", "10.2.0.7")
            hosts["b-red"].reaches("10.2.0.7")
            said = hosts["a-red"].run("ping", "-n", "-c", 1, "-W", 6, "10.2.0.7", check=False).stdout
            assert "Destination Host Unreachable" in said, said
