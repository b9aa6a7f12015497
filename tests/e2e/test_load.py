"""Two workers, and a gateway without a free packet buffer."""

import json

from lab.net import wait_for
from lab.site import Site, one_tenant
from lab.wire import FrameSocket
from scapy.all import IP, UDP, Ether, Raw


def test_two_workers_on_two_queues_forward_whichever_queue_it_is(lab):
    site = one_tenant(lab, queues=2)
    with site.weir(cores=(0, 1)) as weir:
        weir.apply(site.state)
        weir.allowed_drops.add("tx_full")
        site.host.reaches("10.0.0.2")
        assert site.host.ping("10.0.0.2", count=20, interval=0.02) == 20
        # Many flows, so that the device's hash puts some on either queue.
        for direction in ([], ["--reverse"]):
            server = site.far.start("iperf3", "--server", "--one-off", stdout=-3)
            wait_for("iperf3 listens", lambda: ":5201" in site.far.run("ss", "-ltn").stdout)
            flows = ["--parallel", 16, "--time", 2, "--json", *direction]
            done = site.host.run("iperf3", "--client", "10.0.0.2", *flows, timeout=30)
            assert server.wait(10) == 0
            received = [stream["receiver"]["bytes"] for stream in json.loads(done.stdout)["end"]["streams"]]
            assert len(received) == 16 and all(received), received
        stats = weir.balance()
        assert [worker["core"] for worker in stats["workers"]] == [0, 1]
        assert all(worker["rx_packets"] > 100 for worker in stats["workers"]), stats["workers"]
        rows = {row["mac"]: row["location"] for row in weir.show("mac")}
        assert rows[site.host.mac("eth0")] == "vlan/lan0/untagged"


def test_when_buffers_run_out_frames_are_dropped_by_name_and_it_recovers(lab):
    peers = [f"192.0.2.{n}" for n in range(100, 164)]
    site = Site(lab)
    site.host = site.untagged_host("host", "lan0", "10.0.0.1/24")
    site.underlay(neighbours={peer: "02:00:00:00:99:99" for peer in peers})
    site.far = site.vxlan_host("far", 10000, "192.0.2.2", "10.0.0.2/24")
    site.bridge("red", "vlan/lan0/untagged", "vxlan/10000", peers=["192.0.2.2", *peers])
    for port in site.ports:
        port |= {"rx_descriptors": 64, "tx_descriptors": 64}
    with site.weir(dpdk={"mbufs": 1024}) as weir:
        weir.apply(site.state)
        weir.allowed_drops |= {"no_mbuf", "tx_full"}
        site.host.reaches("10.0.0.2")
        # Every broadcast is copied 65 times: a burst of them asks for more buffers than there are.
        flood = Ether(dst="ff:ff:ff:ff:ff:ff", src=site.host.mac("eth0")) / IP(dst="10.0.0.255") / UDP() / Raw(b"x" * 64)
        with FrameSocket(site.host, "eth0") as wire:
            for _ in range(3000):
                wire.send(flood)
        wait_for("a ping after the flood", lambda: site.host.ping("10.0.0.2"), seconds=1)
        wait_for("all buffers are back", lambda: weir.stats()["workers"][0]["held_packets"] == 0)
        assert weir.drops().get("no_mbuf", 0) > 0, weir.drops()
        assert site.host.ping("10.0.0.2", count=10, interval=0.02) == 10
