"""What an operator does with a router, and sees of it: routes, limits, MSS, absent hosts, what is shown.

Read first: RFC 1812 sections 4.3 and 5.2.7 (errors), RFC 4459 section 3.2 and RFC 6691 (segment size).
"""

import re
import time

import pytest
from lab.net import wait_for
from lab.routed import GATEWAY_MACS, GATEWAYS, traceroute
from lab.wire import Capture
from scapy.all import TCP

FAMILIES = pytest.mark.parametrize("family", [4, 6])
LO = "198.18.0.1"


def ask(host, address, count=2, wait=6):
    """What `ping` prints."""
    return host.namespace.run("ping", "-n", "-c", count, "-i", 0.3, "-W", wait, address, check=False).stdout


def segment_size(client, server, family):
    """The maximum segment size in a SYN, as it arrives."""
    to = server.at(family)
    listener = server.namespace.start("socat", "-u", f"TCP{family}-LISTEN:5000,reuseaddr", "/dev/null")
    wait_for("socat listens", lambda: ":5000" in server.namespace.run("ss", "-ltn").stdout)
    with Capture(server.namespace, server.interface, f"{'ip6' if family == 6 else 'tcp'}") as capture:
        client.namespace.run("socat", "-u", "/dev/null", f"TCP:{'[' + to + ']' if family == 6 else to}:5000")
        assert listener.wait(5) == 0
    assert not capture.faults()
    syns = [f[TCP] for f in capture.frames() if TCP in f and f[TCP].flags == "S" and f[TCP].dport == 5000]
    assert len(syns) >= 1
    return dict(syns[0].options)["MSS"]


@FAMILIES
def test_the_segment_size_is_lowered_to_what_fits_if_the_router_says_so(routed, family):
    plain, tagged, far = (routed.hosts[name] for name in ("plain", "tagged", "far"))
    headers = 40 if family == 4 else 60
    plain.namespace.reaches(far.at(family))
    assert segment_size(plain, far, family) == 1500 - headers
    routed.at_work.ctl("set", "router", "r1", "--mss-clamp")
    routed.at_work.settle()
    assert segment_size(plain, far, family) == 1450 - headers
    assert segment_size(plain, tagged, family) == 1500 - headers
    routed.at_work.ctl("set", "interface", "r1", "blue", "--mtu", 1400)
    routed.at_work.settle()
    assert segment_size(plain, tagged, family) == 1400 - headers
    routed.at_work.ctl("set", "interface", "r1", "blue", "--no-mtu")
    routed.at_work.ctl("set", "router", "r1", "--mss-clamp=false")
    routed.at_work.settle()


@FAMILIES
def test_an_absent_host_is_unreachable_within_four_seconds(routed, family):
    routed.at_work.allowed_drops.add("host_unreachable")
    absent, state = ("10.2.0.99", "fd02::99")[family == 6], []
    for name in ("plain", "kernel"):
        begin = time.monotonic()
        said = ask(routed.hosts[name], absent, count=1)
        assert time.monotonic() - begin < 4.5, said
        text = "Destination Host Unreachable" if family == 4 else "Destination unreachable: Address unreachable"
        assert f"From {GATEWAYS['red'][family == 6]} icmp_seq=1 {text}" in said, said
        state = [row["state"] for row in routed.at_work.show("neighbour", "--bridge", "blue") if row["address"] == absent]
    assert state == ["failed"]


def test_a_host_that_comes_is_reached_at_once(routed):
    routed.at_work.allowed_drops |= {"host_unreachable", "resolve_full"}
    host, tagged = routed.hosts["plain"], routed.hosts["tagged"].namespace
    assert "Unreachable" in ask(host, "10.2.0.98", count=1)
    tagged.ip("address", "add", "10.2.0.98/24", "dev", "eth0")
    tagged.run("arping", "-U", "-c", 1, "-I", "eth0", "10.2.0.98")
    host.namespace.reaches("10.2.0.98", seconds=2)
    tagged.ip("address", "del", "10.2.0.98/24", "dev", "eth0")


def test_routes_lead_by_a_host_and_into_nothing(routed):
    weir, plain, tagged = routed.at_work, routed.hosts["plain"], routed.hosts["tagged"]
    weir.allowed_drops |= {"unroutable", "blackhole", "ttl_exceeded"}
    said = ask(plain, LO, count=1, wait=1)
    assert "From 10.1.0.254 icmp_seq=1 Destination Net Unreachable" in said, said
    tagged.namespace.ip("address", "add", f"{LO}/32", "dev", "lo")
    weir.ctl("add", "route", "r1", "198.18.0.0/24", "--via", tagged.v4)
    weir.ctl("add", "route", "r1", "198.18.0.128/25", "--blackhole")
    weir.settle()
    plain.namespace.reaches(LO)
    assert plain.namespace.ping(LO, count=3) == 3
    assert traceroute(plain.namespace, LO) == ["10.1.0.254", LO]
    assert ask(plain, "198.18.0.200", count=1, wait=1).count("From") == 0
    assert weir.drops()["blackhole"] == 1
    rows = {row["prefix"]: row for row in weir.show("route", "--router", "r1")}
    hop = {"address": tagged.v4, "bridge": "blue"}
    assert rows["198.18.0.0/24"] == {"router": "r1", "prefix": "198.18.0.0/24", "origin": "configured", "via": [hop]}
    assert rows["198.18.0.128/25"]["blackhole"] is True
    for prefix in ("198.18.0.0/24", "198.18.0.128/25"):
        weir.ctl("del", "route", "r1", prefix)
    weir.settle()
    assert "Net Unreachable" in ask(plain, LO, count=1, wait=1)


def test_a_silent_router_tells_nothing_and_forwards(routed):
    routed.at_work.allowed_drops.add("ttl_exceeded")
    plain, tagged = routed.hosts["plain"], routed.hosts["tagged"]
    plain.namespace.reaches(tagged.v4)
    routed.at_work.ctl("set", "router", "r1", "--icmp-limit", 0)
    routed.at_work.settle()
    assert traceroute(plain.namespace, tagged.v4) == ["*", tagged.v4]
    routed.at_work.ctl("set", "router", "r1", "--icmp-limit", 100)
    routed.at_work.settle()
    assert traceroute(plain.namespace, tagged.v4) == ["10.1.0.254", tagged.v4]


def test_what_is_sent_to_the_router_is_refused(routed):
    routed.at_work.allowed_drops.add("port_unreachable")
    plain = routed.hosts["plain"]
    for address in GATEWAYS["red"]:
        target = f"[{address}]" if ":" in address else address
        done = plain.namespace.run("socat", "-u", "/dev/null", f"TCP:{target}:22,connect-timeout=2", check=False)
        assert re.search("refused|unreachable|Permission", done.stderr), done.stderr


def test_the_running_system_is_shown(routed):
    weir = routed.at_work
    for name, other in routed.across():
        routed.hosts[name].namespace.reaches(routed.hosts[other].v4)
    assert [(row["name"], row["interfaces"], row["routes"]) for row in weir.show("router")] == [("r1", 2, 0)]
    shown = {row["bridge"]: row for row in weir.show("interface")}
    for bridge, mac in GATEWAY_MACS.items():
        v4, v6 = GATEWAYS[bridge]
        assert (shown[bridge]["mac"], shown[bridge]["addresses"]) == (mac, [f"{v4}/24", f"{v6}/64"])
    nets = {(row["prefix"], row["origin"], row["bridge"]) for row in weir.show("route")}
    of_bridge = {"red": ("10.1.0.0/24", "fd01::/64"), "blue": ("10.2.0.0/24", "fd02::/64")}
    assert nets == {(net, "connected", bridge) for bridge, pair in of_bridge.items() for net in pair}
    for bridge in of_bridge:
        rows = {row["address"]: row for row in weir.show("neighbour", "--bridge", bridge)}
        for host in (host for host in routed.hosts.values() if host.bridge == bridge):
            row = rows[host.v4]
            assert (row["mac"], row["router"]) == (host.namespace.mac(host.interface), "r1")
            assert row["state"] in ("reachable", "stale")
    [own] = weir.show("dvr-mac")
    first = next(port for port in weir.show("port") if port["name"] == "lan0")
    assert own == {"mac": first["mac"], "own": True, "source": "port"}
    for noun, words in (
        ("router", ["r1", "100"]),
        ("interface", ["r1", "red", GATEWAY_MACS["red"], "10.1.0.254/24,fd01::fe/64"]),
        ("route", ["10.2.0.0/24", "connected", "r1/blue"]),
        ("neighbour", ["10.1.0.1", "reachable", "blue"]),
        ("dvr-mac", [own["mac"], "port"]),
    ):
        text = weir.ctl("show", noun).stdout
        assert [word for word in words if word not in text] == [], text
