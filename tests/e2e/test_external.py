"""A way out of a tenant's networks: several next hops that share the flows, and what may not go out without NAT.

    plain (10.1.0.1) -- red -- r1 -- ext (203.0.113.0/24) -- one, two, three -- each has 198.18.0.1 behind it

Read first: RFC 2992 (next hops of equal cost), RFC 1812 section 5.2.7.1 (what is prohibited).
"""

import select
import socket

import pytest
from lab import Lab, Router
from lab.net import wait_for
from lab.routed import traceroute
from lab.site import Site

NAMES = ("one", "two", "three")
NEXT_HOPS = {"one": "203.0.113.1", "two": "203.0.113.2", "three": "203.0.113.3", "absent": "203.0.113.9"}
OUT = "203.0.113.254"
SERVER = "198.18.0.1"
PORTS = range(20000, 20060)


class WayOut(Site):
    """The site above; each next hop serves UDP port 7 at 198.18.0.1, and says its name."""

    def __init__(self, lab):
        super().__init__(lab)
        self.plain = self.untagged_host("plain", "lan0", "10.1.0.1/24")
        self.plain.ip("route", "add", "default", "via", "10.1.0.254")
        self.bridge("red", "vlan/lan0/untagged")
        self.bridge("ext")
        self.hops, self.servers = {}, {}
        for number, (name, address) in enumerate(((name, NEXT_HOPS[name]) for name in NAMES), 1):
            hop = self.hops[name] = self.untagged_host(name, f"out{number}", f"{address}/24")
            self.segment(f"vlan/out{number}/untagged", "ext")
            Router(hop)
            hop.ip("address", "add", f"{SERVER}/32", "dev", "lo")
            hop.ip("route", "add", "10.1.0.0/24", "via", OUT)
            server = self.servers[name] = hop.socket(socket.AF_INET, socket.SOCK_DGRAM)
            server.bind((SERVER, 7))
        self.router("r1")
        self.interface("r1", "red", "02:00:5e:00:00:01", "10.1.0.254/24")
        gateways = [NEXT_HOPS[name] for name in NAMES]
        self.interface("r1", "ext", "02:00:5e:00:00:0e", f"{OUT}/24", external=True, gateways=gateways)

    def set(self, *options):
        """Changes the way out."""
        self.at_work.ctl("set", "interface", "r1", "ext", *options)
        self.at_work.settle()

    def use(self, *names):
        """These next hops and no others."""
        self.set(*(option for name in names for option in ("--gateway", NEXT_HOPS[name])))

    def flows(self, ports=PORTS, seconds=1.0):
        """Sends a datagram from each port. {port: the next hop by which it came}, of those that came and were answered."""
        by_number = {server.fileno(): (name, server) for name, server in self.servers.items()}
        taken, poll = {}, select.poll()
        clients = {port: self.plain.socket(socket.AF_INET, socket.SOCK_DGRAM) for port in ports}
        for port, client in clients.items():
            client.bind(("10.1.0.1", port))
            client.sendto(b"?", (SERVER, 7))
        for number in by_number:
            poll.register(number, select.POLLIN)
        while len(taken) < len(clients) and (ready := poll.poll(seconds * 1000)):
            for number, _ in ready:
                name, server = by_number[number]
                _, sender = server.recvfrom(100)
                assert sender[0] == "10.1.0.1", "as it was sent, without NAT"
                taken[sender[1]] = name
                server.sendto(name.encode(), sender)
        for port, client in clients.items():
            client.settimeout(1)
            if port in taken:
                assert client.recv(100) == taken[port].encode()
            client.close()
        return taken


@pytest.fixture(scope="module")
def way():
    with Lab() as lab:
        way = WayOut(lab)
        with way.weir() as way.at_work:
            way.at_work.apply(way.state)
            way.plain.reaches("10.1.0.254")
            yield way


def open_way(way, *names):
    """All through, without NAT, by these next hops; each answers."""
    way.set("--pass-without-nat")
    way.use(*names)
    way.plain.reaches(SERVER)
    wait_for("every flow arrives", lambda: len(way.flows()) == len(PORTS))


def test_without_nat_nothing_passes_and_the_sender_is_told(way):
    way.at_work.allowed_drops.add("prohibited")
    way.set("--pass-without-nat=false")
    said = way.plain.run("ping", "-n", "-c", 2, "-i", 0.2, "-W", 1, SERVER, check=False).stdout
    assert said.count("From 10.1.0.254 icmp_seq") == 2 and "Packet filtered" in said, said
    assert way.plain.ping("203.0.113.1") == 0
    assert way.hops["one"].ping("10.1.0.1") == 0, "nor from outside"
    assert way.hops["one"].ping(OUT, count=2) == 2
    assert way.at_work.drops()["prohibited"] >= 4


def test_flows_spread_over_the_next_hops_and_come_back(way):
    way.at_work.allowed_drops.add("ttl_exceeded")
    open_way(way, "one", "two", "three")
    first = way.flows()
    assert len(first) == len(PORTS)
    shares = [list(first.values()).count(name) for name in NAMES]
    assert min(shares) >= 6, f"60 flows over three: {shares}"
    assert way.flows() == first, "a flow keeps its next hop"
    assert traceroute(way.plain, SERVER) == ["10.1.0.254", SERVER]


def test_when_a_next_hop_leaves_only_its_flows_go_on_by_others(way):
    open_way(way, "one", "two", "three")
    before = way.flows()
    for gone in NAMES:
        way.use(*(name for name in NAMES if name != gone))
        after = way.flows()
        stay = {port: name for port, name in before.items() if name != gone}
        assert {port: after[port] for port in stay} == stay, f"without {gone}"
        moved = [after[port] for port, name in before.items() if name == gone]
        assert gone not in moved and len(set(moved)) == 2, "its flows share the others"
        way.use(*NAMES)
        assert way.flows() == before, f"{gone} is back, and takes its flows again"


def test_a_next_hop_that_never_answers_is_done_without(way):
    way.at_work.allowed_drops |= {"host_unreachable", "resolve_full"}
    open_way(way, "one", "two")
    way.use("one", "two", "absent")
    assert len(way.flows(seconds=0.2)) < len(PORTS), "some wait for one who is not there"
    wait_for("all flows go on by the other two", lambda: len(way.flows(seconds=0.2)) == len(PORTS), seconds=6)
    assert set(way.flows().values()) == {"one", "two"}
    way.hops["three"].ip("address", "add", f"{NEXT_HOPS['absent']}/24", "dev", "eth0")
    way.hops["three"].run("arping", "-U", "-c", 1, "-I", "eth0", NEXT_HOPS["absent"])
    wait_for("it takes its flows, once it has announced itself", lambda: "three" in way.flows().values(), seconds=2)


def test_the_default_routes_are_shown(way):
    way.use("one", "three")
    rows = [row for row in way.at_work.show("route") if row["prefix"] == "0.0.0.0/0"]
    hops = [{"address": NEXT_HOPS[name], "bridge": "ext"} for name in ("one", "three")]
    assert rows == [{"router": "r1", "prefix": "0.0.0.0/0", "origin": "external", "via": hops}]
    assert "203.0.113.3" in way.at_work.ctl("show", "route").stdout
