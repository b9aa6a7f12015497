"""Requests for addresses that the gateway knows are answered by the gateway: their owner's link shows none of them.

Read first: RFC 826 and RFC 5227 (ARP, probes), RFC 4861 (neighbour discovery), RFC 9161 and RFC 7432 section 10.
"""

import contextlib
import re
import socket

import pytest
from lab.net import wait_for
from lab.site import VTEP, Site
from lab.wire import Capture, FrameSocket
from scapy.all import (
    ARP,
    Ether,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    in6_getnsma,
    in6_getnsmac,
)

BROADCAST = "ff:ff:ff:ff:ff:ff"
ASKS = "arp[6:2] == 1"
SOLICITS = "icmp6 and ip6[40] == 135"


@pytest.fixture
def tenant(lab):
    """A host that asks (10.0.0.1, fd00::1, on lan0), an owner behind VXLAN and one behind lan1."""
    site = Site(lab)
    site.host = site.untagged_host("host", "lan0", "10.0.0.1/24")
    site.near = site.untagged_host("near", "lan1", "10.0.0.3/24")
    site.underlay()
    site.far = site.vxlan_host("far", 10000, "192.0.2.2", "10.0.0.2/24")
    site.bridge("red", "vlan/lan0/untagged", "vlan/lan1/untagged", "vxlan/10000", peers=["192.0.2.2"])
    site.owners = {
        "far": (site.far, "vx0", "10.0.0.2", "fd00::2", "vxlan/10000/192.0.2.2"),
        "near": (site.near, "eth0", "10.0.0.3", "fd00::3", "vlan/lan1/untagged"),
    }
    return site


@contextlib.contextmanager
def running(site):
    """The gateway at work; then the hosts get their IPv6 addresses, of which they speak at once."""
    with site.weir() as weir:
        weir.apply(site.state)
        for number, (host, interface) in enumerate(((site.host, "eth0"), (site.far, "vx0"), (site.near, "eth0")), 1):
            host.address(interface, f"fd00::{number}/64")
        site.far.reaches(VTEP)
        yield weir


def known(weir, address):
    """Waits until the gateway has a binding for an address."""
    wait_for(f"a binding for {address}", lambda: weir.show("binding", "--address", address))


def configure(site, owner):
    """The owner becomes an endpoint of the desired state."""
    namespace, interface, v4, v6, location = site.owners[owner]
    site.endpoint("red", namespace.mac(interface), location, [v4, v6])


def requests(capture):
    """The requests in a capture, shown."""
    return [frame.summary() for frame in capture.frames()]


@pytest.mark.parametrize("source", ["configured", "learned"])
@pytest.mark.parametrize("owner", ["far", "near"])
def test_arping_is_answered_and_the_owners_link_shows_no_request(tenant, owner, source):
    namespace, interface, v4, _, _ = tenant.owners[owner]
    if source == "configured":
        configure(tenant, owner)
    with running(tenant) as weir:
        if source == "learned":
            namespace.run("arping", "-U", "-c", 1, "-I", interface, v4)
            known(weir, v4)
        with Capture(namespace, interface, ASKS) as link:
            done = tenant.host.run("arping", "-b", "-c", 2, "-I", "eth0", v4)
        assert requests(link) == []
        answered = re.findall(rf"reply from {re.escape(v4)} \[(\S+)\]", done.stdout)
        assert [mac.lower() for mac in answered] == [namespace.mac(interface)] * 2, done.stdout
        # What the answer says is true.
        assert tenant.host.ping(v4, count=3) == 3


@pytest.mark.parametrize("source", ["configured", "learned"])
@pytest.mark.parametrize("owner", ["far", "near"])
def test_neighbour_solicitations_are_answered_and_the_owners_link_shows_none(tenant, owner, source):
    namespace, interface, _, v6, _ = tenant.owners[owner]
    if source == "configured":
        configure(tenant, owner)
    with running(tenant) as weir:
        if source == "learned":
            announcement = ICMPv6ND_NA(tgt=v6, R=0, S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=namespace.mac(interface))
            with FrameSocket(namespace, interface) as wire:
                to_all = Ether(dst="33:33:00:00:00:01", src=namespace.mac(interface)) / IPv6(src=v6, dst="ff02::1")
                wire.send(to_all / announcement)
            known(weir, v6)
        with Capture(namespace, interface, SOLICITS) as link:
            done = tenant.host.run("ndisc6", "-n", "-1", "-r", 1, "-s", "fd00::1", v6, "eth0")
        assert requests(link) == []
        assert namespace.mac(interface) in done.stdout.lower(), done.stdout
        assert tenant.host.ping(v6, count=3) == 3


def test_kernels_find_each_other_without_a_flooded_request(tenant):
    for owner in tenant.owners:
        configure(tenant, owner)
    with running(tenant) as weir:
        with Capture(tenant.far, "vx0", ASKS) as far, Capture(tenant.near, "eth0", ASKS) as near:
            for address in ("10.0.0.2", "10.0.0.3"):
                assert tenant.host.ping(address, count=2) == 2
        asked = [f for f in far.frames() + near.frames() if f.dst == BROADCAST and f[ARP].psrc == "10.0.0.1"]
        assert asked == []


def test_a_probe_is_answered_and_teaches_nothing(tenant):
    configure(tenant, "far")
    with running(tenant) as weir:
        with Capture(tenant.far, "vx0", ASKS) as link:
            # Duplicate address detection: exit 1 says that somebody has the address.
            assert tenant.host.run("arping", "-D", "-c", 2, "-I", "eth0", "10.0.0.2", check=False).returncode == 1
            with FrameSocket(tenant.host, "eth0") as wire:
                solicited = in6_getnsma(socket.inet_pton(socket.AF_INET6, "fd00::2"))
                group = socket.inet_ntop(socket.AF_INET6, solicited)
                probe = Ether(dst=in6_getnsmac(solicited), src=tenant.host.mac("eth0")) / IPv6(src="::", dst=group)
                wire.send(probe / ICMPv6ND_NS(tgt="fd00::2"))
                answer = wire.receive(lambda f: f.haslayer(ICMPv6ND_NA))
            assert answer is not None and answer[IPv6].dst == "ff02::1" and answer[ICMPv6ND_NA].S == 0
            assert answer[ICMPv6NDOptDstLLAddr].lladdr == tenant.far.mac("vx0")
        assert requests(link) == []
        addresses = {row["address"] for row in weir.show("binding")}
        assert addresses == {"10.0.0.2", "fd00::2"}


def test_an_unknown_address_is_flooded_or_not_as_the_bridge_says(tenant):
    with running(tenant) as weir:
        with Capture(tenant.near, "eth0", ASKS) as link:
            tenant.host.run("arping", "-b", "-c", 2, "-I", "eth0", "10.0.0.99", check=False)
        assert len(link.frames()) == 2
        weir.ctl("set", "bridge", "red", "--unknown-target", "drop")
        weir.settle()
        weir.allowed_drops.add("unknown_target")
        with Capture(tenant.near, "eth0", ASKS) as link:
            tenant.host.run("arping", "-b", "-c", 2, "-I", "eth0", "10.0.0.99", check=False)
        assert requests(link) == [] and weir.drops()["unknown_target"] == 2


def test_without_suppression_requests_are_carried(tenant):
    tenant.state["bridge"][0]["suppression"] = False
    configure(tenant, "near")
    with running(tenant) as weir:
        with Capture(tenant.near, "eth0", ASKS) as link:
            tenant.host.run("arping", "-b", "-c", 2, "-I", "eth0", "10.0.0.3")
        assert len(link.frames()) == 2


def test_a_silent_owner_is_probed_by_unicast_and_forgotten(tenant):
    tenant.state["bridge"][0]["binding_ageing"] = 10
    with running(tenant) as weir:
        mac = tenant.near.mac("eth0")
        tenant.near.run("arping", "-U", "-c", 1, "-I", "eth0", "10.0.0.3")
        tenant.near.ip("address", "flush", "dev", "eth0")
        known(weir, "10.0.0.3")
        assert [row["mac"] for row in weir.show("binding", "--address", "10.0.0.3")] == [mac]
        with Capture(tenant.near, "eth0", ASKS) as link:
            gone = lambda: not weir.show("binding", "--address", "10.0.0.3")  # noqa: E731
            wait_for("the binding of a silent owner goes", gone, seconds=20, every=0.5)
        probes = [f for f in link.frames() if f[ARP].pdst == "10.0.0.3"]
        assert len(probes) == 3 and {f.dst for f in probes} == {mac}
