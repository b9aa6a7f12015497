"""`weirctl trace`: what it says would leave is what leaves, to the byte, and saying so leaves no trace itself."""

import json

import pytest
from lab.site import Site
from lab.wire import FrameSocket
from scapy.all import IP, UDP, Dot1Q, Ether

NEAR, OTHER = "02:00:00:00:00:01", "02:00:00:00:00:03"


@pytest.fixture
def routed(lab):
    """red: a host on VLAN 100 of lan0, one behind a VXLAN peer; blue: one on VLAN 200 of lan1; a router between them."""
    site = Site(lab)
    site.near, site.other = site.wire("lan0"), site.wire("lan1")
    site.underlay()
    site.far = site.vxlan_host("far", 10000, "192.0.2.2", "10.0.0.2/24")
    site.bridge("red", "vlan/lan0/100", "vxlan/10000", peers=["192.0.2.2"])
    site.bridge("blue", "vlan/lan1/200")
    site.endpoint("red", NEAR, "vlan/lan0/100", ["10.0.0.1"])
    site.endpoint("red", site.far.mac("vx0"), "vxlan/10000/192.0.2.2", ["10.0.0.2"])
    interface = {"router": "r1", "mac": "02:00:5e:00:00:01"}
    site.state["router"] = [{"name": "r1"}]
    site.state["interface"] = [
        {**interface, "bridge": "red", "addresses": ["10.0.0.254/24"]},
        {**interface, "bridge": "blue", "addresses": ["10.0.1.254/24"]},
    ]
    with site.weir() as weir:
        weir.apply(site.state)
        site.running = weir
        yield site


def traced(site, *argv):
    return json.loads(site.running.ctl("-j", "trace", *argv).stdout)


def test_a_bridged_packet_leaves_as_traced(routed):
    trace = ["--endpoint", f"red/{NEAR}", "--dst", "10.0.0.2", "--tos", "184", "--length", "200"]
    first = traced(routed, *trace)
    # Nothing has gone to the peer yet: it would be asked for its MAC.
    assert (first["outcome"], first["frames"][0]["port"]) == ("waits", "wan0")
    assert "who has 192.0.2.2" in first["frames"][0]["summary"]
    with FrameSocket(routed.near, "eth0") as near, FrameSocket(routed.far, "eth0") as far:
        near.send(bytes.fromhex(first["frame"]))
        came = far.receive(lambda f: f.haslayer(UDP) and f[UDP].dport == 4789)
        found = traced(routed, *trace)
        assert far.receive(lambda f: bytes(f) == bytes(came), seconds=0.3) is None, "a trace sends nothing"
    assert found["outcome"] == "forwarded" and found["frame"] == first["frame"]
    assert [frame["bytes"] for frame in found["frames"]] == [bytes(came).hex()]
    objects = [f"{o['kind']} {o['id']}" for step in found["steps"] if (o := step.get("object"))]
    assert objects == ["segment vlan/lan0/100", f"endpoint red/{NEAR}", f"endpoint red/{routed.far.mac('vx0')}", "segment vxlan/10000"]


def test_a_routed_packet_leaves_as_traced_once_its_host_is_known(routed):
    trace = ["--endpoint", f"red/{NEAR}", "--dst", "10.0.1.3", "--proto", "tcp", "--dport", "443"]
    first = traced(routed, *trace)
    assert first["outcome"] == "waits" and "who has 10.0.1.3" in first["frames"][0]["summary"]
    before = routed.running.stats()["events"]
    with FrameSocket(routed.near, "eth0") as near, FrameSocket(routed.other, "eth0") as other:
        near.send(bytes.fromhex(first["frame"]))
        question = other.receive(lambda f: f.haslayer("ARP"))
        assert bytes(question).hex() == first["frames"][0]["bytes"]
        answer = Ether(dst=question.src, src=OTHER) / Dot1Q(vlan=200) / question["ARP"].copy()
        answer["ARP"].op, answer["ARP"].hwsrc, answer["ARP"].psrc = 2, OTHER, "10.0.1.3"
        answer["ARP"].hwdst, answer["ARP"].pdst = question["ARP"].hwsrc, question["ARP"].psrc
        other.send(answer)
        came = other.receive(lambda f: f.haslayer(IP))
    assert came is not None and (came[IP].ttl, came.dst) == (63, OTHER)
    found = traced(routed, *trace)
    assert found["outcome"] == "forwarded"
    assert [frame["bytes"] for frame in found["frames"]] == [bytes(came).hex()]
    after = routed.running.stats()["events"]
    assert after["host_asked"] == before["host_asked"] + 1, "only what was sent asked, and no trace did"
    said = routed.running.ctl("trace", *trace).stdout
    assert "interface r1/blue" in said and said.endswith("forwarded (generation 1)\n")
