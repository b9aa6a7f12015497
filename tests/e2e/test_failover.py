"""Two tenants share an address by VRRP (keepalived), behind different segments: how long it is away when it moves.

Read first: RFC 5798 (VRRP), RFC 9161 section 3.7 and RFC 7432 section 15 (moves). The pair sends one announcement when
it takes the address, and no second one: what the gateway does not pass on is lost.
"""

import pytest
from lab import VrrpPair
from lab.net import wait_for
from lab.site import Site
from lab.steady import PingGaps
from lab.wire import Capture
from scapy.all import ARP, ICMP, IP

VIP = "10.0.0.100"


@pytest.fixture(params=[False, True], ids=["own-macs", "virtual-mac"])
def shared(request, lab):
    """The first of the pair on a VLAN (10.0.0.11), the second behind VXLAN (10.0.0.12); clients on either side."""
    site = Site(lab)
    first = site.untagged_host("first", "lan0", "10.0.0.11/24")
    site.clients = {"on a VLAN": (site.untagged_host("client", "lan1", "10.0.0.1/24"), "eth0")}
    site.underlay()
    second = site.vxlan_host("second", 10000, "192.0.2.2", "10.0.0.12/24")
    site.clients["behind VXLAN"] = (site.vxlan_host("far", 10000, "192.0.2.3", "10.0.0.2/24"), "vx0")
    site.bridge("red", "vlan/lan0/untagged", "vlan/lan1/untagged")
    # Each endpoint is a mesh of its own: the gateway carries from one to the other.
    peers = [{"address": f"192.0.2.{n}", "mesh": f"peer-{n}"} for n in (2, 3)]
    site.segment("vxlan/10000", "red", peers)
    entitled = f"{VIP}=00:00:5e:00:01:33" if request.param else VIP
    for host, interface, ip, location in (
        (first, "eth0", "10.0.0.11", "vlan/lan0/untagged"),
        (second, "vx0", "10.0.0.12", "vxlan/10000/192.0.2.2"),
    ):
        site.endpoint("red", host.mac(interface), location, [ip], allowed_pairs=[entitled])
    site.links = {"first": (first, "eth0"), "second": (second, "vx0")}
    site.pair = VrrpPair((first, "eth0"), (second, "vx0"), f"{VIP}/24", virtual_mac=request.param)
    return site


class Watched:
    """Pings the VIP from every client, and captures the announcements, while the `with` lasts."""

    def __init__(self, site, taker):
        """`taker` is the name of the one that takes the VIP."""
        self.clients = site.clients
        self.pings = {name: PingGaps(host, VIP) for name, (host, _) in site.clients.items()}
        self.captures = {name: Capture(*place, f"host {VIP}") for name, place in site.clients.items()}
        self.mac = (site.pair.first if taker == "first" else site.pair.second).mac

    def __enter__(self):
        for each in (*self.pings.values(), *self.captures.values()):
            each.__enter__()
        return self

    def __exit__(self, *why):
        for each in (*self.captures.values(), *self.pings.values()):
            each.__exit__(*why)

    def judge(self, say, what):
        """Each client heard one announcement, and lost no more than the election and a moment took."""
        for name, pings in self.pings.items():
            frames = self.captures[name].frames()
            told = [f for f in frames if ARP in f and f[ARP].psrc == f[ARP].pdst == VIP and f[ARP].hwsrc == self.mac]
            assert len(told) == 1, f"{name}: {len(told)} announcements"
            answers = [f.time for f in frames if ICMP in f and f[IP].src == VIP and f.time > told[0].time]
            wait = float(answers[0] - told[0].time) * 1000
            say(f"{what}, client {name}: {pings.outage:.0f} ms without an answer ({pings.lost} pings lost),"
                f" {wait:.0f} ms from the announcement to the next answer")
            assert pings.duplicates == 0
            assert wait < 500, f"{name}: {wait:.0f} ms from the announcement to the next answer"


@pytest.fixture
def say(capsys, record_property):
    """Prints a line of the test's result, also when the test passes."""

    def say(line):
        record_property("measured", line)
        with capsys.disabled():
            print(f"\n    {line}", end="", flush=True)

    return say


def test_a_shared_address_fails_over_both_ways(shared, say):
    pair, (first, link) = shared.pair, shared.links["first"]
    with shared.weir() as weir:
        # The kernel of the one whose link is down says by ICMP that nobody listens.
        weir.allowed_drops |= {"not_for_us"}
        weir.apply(shared.state)
        pair.start()
        for client, _ in shared.clients.values():
            client.reaches(VIP)
        with Watched(shared, "second") as over:
            first.ip("link", "set", link, "down")
            pair.second.becomes_master()
            for client, _ in shared.clients.values():
                client.reaches(VIP)
        over.judge(say, "link down, VLAN to VXLAN")
        with Watched(shared, "first") as back:
            first.ip("link", "set", link, "up")
            pair.first.becomes_master()
            wait_for("the second gives way", lambda: not pair.second.is_master())
            for client, _ in shared.clients.values():
                client.reaches(VIP)
        back.judge(say, "link up again, VXLAN to VLAN")
        with Watched(shared, "second") as stopped:
            pair.first.stop()
            pair.second.becomes_master()
            for client, _ in shared.clients.values():
                client.reaches(VIP)
        stopped.judge(say, "the master stops, VLAN to VXLAN")


def test_one_who_may_not_hold_the_address_does_not_get_it(shared):
    thief, interface = shared.clients["on a VLAN"]
    with shared.weir() as weir:
        weir.allowed_drops |= {"not_for_us", "spoofed"}
        weir.apply(shared.state)
        shared.pair.start()
        client, client_interface = shared.clients["behind VXLAN"]
        client.reaches(VIP)
        thief.address(interface, f"{VIP}/24")
        with Capture(client, client_interface, f"arp and host {VIP}") as heard:
            thief.run("arping", "-U", "-c", 3, "-I", interface, VIP)
        assert [f for f in heard.frames() if f[ARP].hwsrc == thief.mac(interface)] == []
        assert weir.drops()["spoofed"] >= 3
        shown = client.ip("neighbour", "show", VIP).stdout
        assert shared.pair.first.mac in shown, shown
        assert client.ping(VIP, count=3) == 3
