"""Two workers, and a gateway without a free packet buffer."""

import json
import time

from lab.net import wait_for
from lab.site import Site, one_tenant
from lab.wire import FrameSocket
from scapy.all import IP, UDP, Ether, Raw


def many_flows_pass_both_ways(site):
    """So many that the device's hash puts some on either queue."""
    for direction in ([], ["--reverse"]):
        server = site.far.start("iperf3", "--server", "--one-off", stdout=-3)
        wait_for("iperf3 listens", lambda: ":5201" in site.far.run("ss", "-ltn").stdout)
        flows = ["--parallel", 16, "--time", 2, "--json", *direction]
        done = site.host.run("iperf3", "--client", "10.0.0.2", *flows, timeout=30)
        assert server.wait(10) == 0
        received = [stream["receiver"]["bytes"] for stream in json.loads(done.stdout)["end"]["streams"]]
        assert len(received) == 16 and all(received), received


def test_two_workers_on_two_queues_forward_whichever_queue_it_is(lab):
    site = one_tenant(lab, queues=2)
    with site.weir(cores=(0, 1)) as weir:
        weir.apply(site.state)
        weir.allowed_drops.add("tx_full")
        site.host.reaches("10.0.0.2")
        assert site.host.ping("10.0.0.2", count=20, interval=0.02) == 20
        many_flows_pass_both_ways(site)
        stats = weir.balance()
        assert [worker["core"] for worker in stats["workers"]] == [0, 1]
        assert all(worker["rx_packets"] > 100 for worker in stats["workers"]), stats["workers"]
        rows = {row["mac"]: row["location"] for row in weir.show("mac")}
        assert rows[site.host.mac("eth0")] == "vlan/lan0/untagged"


def test_two_workers_share_the_one_queue_of_the_underlay(lab):
    site = one_tenant(lab, queues=2, underlay_queues=1)
    with site.weir(cores=(0, 1)) as weir:
        assert weir.document["workers"]["poll"] == "adaptive"
        queues = {p["name"]: (p["rx_queues"], p["tx_queues"]) for p in weir.stats()["ports"]}
        assert queues == {"lan0": (2, 2), "wan0": (1, 1)}
        weir.apply(site.state)
        weir.allowed_drops.add("tx_full")
        site.host.reaches("10.0.0.2")
        assert site.host.ping("10.0.0.2", count=50, interval=0.02) == 50
        many_flows_pass_both_ways(site)
        wait_for("nothing comes any more", lambda: standing_still(lambda: weir.stats()["ports"]))
        stats = weir.balance()
        first, second = stats["workers"]
        # All that comes from the underlay is the first worker's; what the second sends there goes by the first's queue.
        assert first["rx_packets"] > 100 and second["rx_packets"] > 100, stats["workers"]
        assert second["tx_packets"] > 100, stats["workers"]
        # Only the first hears ARP from there, and tells the second.
        rows = [row for row in weir.show("neighbour") if row["address"] == "192.0.2.2"]
        assert {row["core"]: row["state"] in ("reachable", "stale") for row in rows} == {0: True, 1: True}, rows
        assert site.host.ping("10.0.0.2", count=50, interval=0.02) == 50


def standing_still(counter):
    """Whether a counter keeps its value for 50 ms."""
    before = counter()
    time.sleep(0.05)
    return counter() == before


def test_when_buffers_run_out_frames_are_dropped_by_name_and_it_recovers(lab):
    silent = [f"192.0.2.{n}" for n in range(100, 110)]
    known = [f"192.0.2.{n}" for n in range(110, 174)]
    site = Site(lab)
    site.host = site.untagged_host("host", "lan0", "10.0.0.1/24")
    site.underlay(neighbours={peer: "02:00:00:00:99:99" for peer in known})
    site.far = site.vxlan_host("far", 10000, "192.0.2.2", "10.0.0.2/24")
    site.bridge("red", "vlan/lan0/untagged", "vxlan/10000", peers=["192.0.2.2", *silent, *known])
    for port in site.ports:
        port |= {"rx_descriptors": 32, "tx_descriptors": 32}
    # The fewest that the preflight allows. Frames that wait for silent next hops take 128 of them; bursts, their copies
    # and what waits for the devices ask for more than the rest.
    with site.weir(dpdk={"mbufs": 256}, tables={"macs": 16384, "held": 128}) as weir:
        weir.apply(site.state)
        weir.allowed_drops |= {"no_mbuf", "hold_full", "next_hop_failed", "tx_full"}
        site.host.reaches("10.0.0.2")
        flood = Ether(dst="ff:ff:ff:ff:ff:ff", src=site.host.mac("eth0")) / IP(dst="10.0.0.255") / UDP() / Raw(b"x" * 64)
        flood = bytes(flood)
        with FrameSocket(site.host, "eth0") as wire:
            for _ in range(5000):
                wire.send(flood)
        wait_for("the flood is taken in", lambda: standing_still(lambda: weir.stats()["workers"][0]["rx_packets"]))
        wait_for("a ping after the flood", lambda: site.host.ping("10.0.0.2", wait=0.2), seconds=1)
        assert {"no_mbuf", "hold_full"} <= set(weir.drops()), weir.drops()
        assert site.host.ping("10.0.0.2", count=10, interval=0.02) == 10
        wait_for("no frame waits for ever", lambda: weir.stats()["workers"][0]["held_packets"] == 0, seconds=10)
        mbufs = weir.stats()["mbufs"]
        assert mbufs["free"] == mbufs["total"]
