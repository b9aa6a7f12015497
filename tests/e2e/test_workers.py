"""What one worker learns, the other knows within 10 ms: moves of MACs and of addresses, on two queues.

The underlay's frames are made by hand, since the device puts them on a queue by their outer UDP ports: the test finds
two source ports, one for each worker, and then says which worker hears what.
"""

import statistics
import time

import pytest
from lab.net import wait_for
from lab.site import VTEP, Site
from lab.wire import FrameSocket
from scapy.all import ARP, IP, UDP, Ether, Raw
from scapy.layers.vxlan import VXLAN

PEERS = {"192.0.2.2": "02:00:00:00:99:02", "192.0.2.3": "02:00:00:00:99:03"}
OWNER, ASKER = PEERS
BROADCAST = "ff:ff:ff:ff:ff:ff"
ROUNDS = 20
GOAL = 10.0  # milliseconds


class TwoWorkers:
    """A gateway with two workers; `say` sends an inner frame that a certain worker hears."""

    def __init__(self, site, weir):
        self.site, self.weir = site, weir
        self.wan = FrameSocket(site.peers, "eth0")
        self.ports = {peer: {} for peer in PEERS}
        for peer in PEERS:
            self._find_ports(peer)

    def _received(self):
        return [worker["rx_packets"] for worker in self.weir.stats()["workers"]]

    def _find_ports(self, peer):
        before = self._received()
        for port in range(50000, 50064):
            self._send(peer, port, Ether(dst=mac(0xFF, 1), src=mac(0xFF, 0), type=0x88B5) / Raw(bytes(46)))
            after = wait_for("the frame is received", lambda: (now := self._received()) != before and now)  # noqa: B023
            self.ports[peer].setdefault(0 if after[0] > before[0] else 1, port)
            before = after
            if len(self.ports[peer]) == 2:
                return
        raise AssertionError("64 source ports are all on one queue")

    def _send(self, peer, port, inner):
        outer = Ether(dst=self.site.gateway.mac("wan0"), src=PEERS[peer]) / IP(src=peer, dst=VTEP)
        frame = bytes(outer / UDP(sport=port, dport=4789, chksum=0) / VXLAN(flags=8, vni=10000) / inner)
        self.wan.send(frame)
        return frame

    def say(self, worker, inner, peer=OWNER):
        """Sends an inner frame from a peer, so that `worker` receives it. Returns all of its bytes."""
        return self._send(peer, self.ports[peer][worker], inner)

    def hear(self, wanted, seconds):
        """The next inner frame that the gateway sends to a peer and is `wanted`."""
        is_it = lambda f: UDP in f and f[UDP].dport == 4789 and wanted(Ether(bytes(f[UDP].payload)[8:]))  # noqa: E731
        frame = self.wan.receive(is_it, seconds)
        return frame and Ether(bytes(frame[UDP].payload)[8:])


@pytest.fixture
def two(lab):
    site = Site(lab, queues=2)
    site.near = site.wire("lan0")
    site.underlay(neighbours=PEERS)
    site.peers = lab.namespace("peers")
    site.fabric.plug_in(site.peers, "eth0")
    site.bridge("red", "vlan/lan0/untagged")
    # An answer is for one at another place than the owner: each peer is a place, and each a mesh of its own.
    site.segment("vxlan/10000", "red", [{"address": peer, "mesh": f"of-{n}"} for n, peer in enumerate(PEERS)])
    with site.weir(cores=(0, 1)) as weir:
        weir.apply(site.state)
        workers = TwoWorkers(site, weir)
        yield workers
        workers.wan.raw.close()


def mac(group, number):
    """A MAC of its own for each round, since one that moves often is frozen."""
    return f"02:00:00:{group:02x}:00:{number:02x}"


def report(capsys, record_property, what, times):
    """Prints the times, and holds their median against the goal: a busy machine may delay one, not most."""
    line = f"{what}: median {statistics.median(times):.1f} ms, largest {max(times):.1f} ms of {len(times)}"
    record_property("measured", line)
    with capsys.disabled():
        print(f"\n    {line}", end="", flush=True)
    assert statistics.median(times) <= GOAL, line


def test_an_announcement_that_one_worker_hears_is_the_others_answer(two, capsys, record_property):
    times = []
    for number in range(ROUNDS):
        hears, answers = number % 2, 1 - number % 2
        address, old, new = f"10.0.0.{50 + number}", mac(1, number), mac(2, number)
        ask = Ether(dst=BROADCAST, src=mac(3, 0)) / ARP(op=1, hwsrc=mac(3, 0), psrc="10.0.0.9", pdst=address)

        def announce(worker, owner):
            claim = ARP(op=1, hwsrc=owner, psrc=address, hwdst="00:00:00:00:00:00", pdst=address)
            two.say(worker, Ether(dst=BROADCAST, src=owner) / claim)

        def answered():
            two.wan.send(asked)
            answer = two.hear(lambda f: ARP in f and f[ARP].op == 2 and f[ARP].psrc == address, 0.1)
            return answer and answer[ARP].hwsrc

        announce(hears, old)
        asked = two.say(answers, ask, ASKER)
        wait_for(f"{address} is known", lambda: answered() == old)
        announce(hears, new)
        begin = time.monotonic()
        wait_for(f"{address} has moved", lambda: answered() == new, every=0)
        times.append((time.monotonic() - begin) * 1000)
        assert all(answered() == new for _ in range(3)), "no worker goes back to what was"
    report(capsys, record_property, "an address that moved, asked of the other worker", times)


def test_a_mac_that_moves_by_what_one_worker_hears_is_sent_after_by_the_other(two, capsys, record_property):
    two.weir.allowed_drops.add("same_segment")  # the MAC has moved to the peer that sends to it
    times = []
    with FrameSocket(two.site.near, "eth0") as near:
        for number in range(ROUNDS):
            hears, forwards, moving = number % 2, 1 - number % 2, mac(4, number)
            to_it = Ether(dst=moving, src=mac(5, 0), type=0x88B5)
            near.send(Ether(dst=BROADCAST, src=moving, type=0x88B5) / Raw(bytes(46)))
            tunnelled = two.say(forwards, to_it / Raw(bytes(46)))
            assert near.receive(lambda f, to=moving: f.dst == to) is not None
            two.say(hears, Ether(dst=BROADCAST, src=moving, type=0x88B5) / Raw(bytes(46)))
            moved, sent = time.monotonic(), []
            while time.monotonic() < moved + 0.05:
                two.wan.send(tunnelled[:-46] + len(sent).to_bytes(2, "big") * 23)
                sent.append((time.monotonic() - moved) * 1000)
                time.sleep(0.0003)
            astray = [0.0]  # when each frame was sent that still went where the MAC was
            while (frame := near.receive(lambda f, to=moving: f.dst == to, 0.05)) is not None:
                astray.append(sent[int.from_bytes(bytes(frame.payload)[:2], "big")])
            times.append(max(astray))
    report(capsys, record_property, "a MAC that moved, sent to by the other worker", times)
