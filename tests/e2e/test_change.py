"""Changes while traffic runs, and what a restart brings back."""

import signal

import pytest
from lab.net import end, wait_for
from lab.site import one_tenant
from lab.steady import SteadyPing


def other_bridge(number):
    """The ops that make one more bridge, with a segment of each kind."""
    name = f"other{number}"
    return [
        {"put": {"bridge": {"name": name}}},
        {"put": {"segment": {"id": f"vlan/lan0/{1000 + number}", "bridge": name}}},
        {"put": {"segment": {"id": f"vxlan/{1000 + number}", "bridge": name, "vtep": "underlay"}}},
        {"put": {"peer": {"segment": f"vxlan/{1000 + number}", "address": "192.0.2.77"}}},
    ]


def reversed_deletes(ops):
    """The ops that take away again what `ops` put."""
    kinds = {"bridge": lambda o: o["name"], "segment": lambda o: o["id"], "peer": lambda o: f"{o['segment']}/{o['address']}"}
    puts = [next(iter(op["put"].items())) for op in reversed(ops)]
    return [{"delete": {"kind": kind, "id": kinds[kind](fields)}} for kind, fields in puts]


def test_no_ping_is_lost_while_other_tenants_come_and_go(lab):
    site = one_tenant(lab)
    with site.weir() as weir:
        weir.apply(site.state)
        site.host.reaches("10.0.0.2")
        generation, changes = weir.stats()["generation"], 0
        with SteadyPing(site.host, "10.0.0.2", count=500, interval=0.01) as ping:
            while ping.running():
                ops = [op for number in range(20) for op in other_bridge(number)]
                for batch in (ops, reversed_deletes(ops)):
                    response = weir.rpc("apply", {"ops": batch})
                    assert "result" in response, response
                    changes += 1
        assert ping.lost == 0
        assert changes >= 20, "the test is about changes while traffic runs"
        assert weir.stats()["generation"] == generation + changes


def test_a_bridge_that_loses_a_segment_stops_there_and_goes_on_when_it_is_back(lab):
    site = one_tenant(lab)
    with site.weir() as weir:
        weir.apply(site.state)
        weir.allowed_drops |= {"unknown_vni", "no_flood_target", "peer_gone"}
        site.host.reaches("10.0.0.2")
        without = {**site.state, "segment": site.state["segment"][:1], "peer": []}
        weir.apply(without)
        assert site.host.ping("10.0.0.2", count=2) == 0
        assert [row for row in weir.show("mac") if row["location"].startswith("vxlan")] == []
        weir.apply(site.state)
        site.host.reaches("10.0.0.2")


@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGTERM], ids=lambda way: way.name)
def test_after_a_restart_all_is_back_without_a_reapply(lab, way):
    site = one_tenant(lab)
    site.state["endpoint"] = [
        {"bridge": "red", "mac": site.far.mac("vx0"), "location": "vxlan/10000/192.0.2.2", "ips": ["10.0.0.2"]}
    ]
    weir = site.weir()
    weir.start()
    weir.apply(site.state)
    site.host.reaches("10.0.0.2")
    before, generation = weir.ctl("export").stdout, weir.stats()["generation"]
    code = end(weir.process, way, 10)
    assert code == (-signal.SIGKILL if way == signal.SIGKILL else 0), weir.failure(f"exit {code}")
    assert site.host.ping("10.0.0.2") == 0, "it is the gateway that forwards, and nothing else"
    with weir:
        assert weir.ctl("export").stdout == before
        assert weir.stats()["generation"] == generation
        site.host.reaches("10.0.0.2")
        assert site.host.ping("10.0.0.2", count=5) == 5


def test_sigterm_under_load_leaves_a_clean_exit(lab):
    site = one_tenant(lab)
    weir = site.weir()
    weir.start()
    weir.apply(site.state)
    site.host.reaches("10.0.0.2")
    site.far.start("iperf3", "--server", stdout=-3)
    wait_for("iperf3 listens", lambda: ":5201" in site.far.run("ss", "-ltn").stdout)
    site.host.start("iperf3", "--client", "10.0.0.2", "--time", 30, "--bidir", "--parallel", 4, stdout=-3, stderr=-3)
    start = weir.stats()["ports"][0]["rx_packets"]
    wait_for("load", lambda: weir.stats()["ports"][0]["rx_packets"] > start + 5000, seconds=10)
    weir.balance()
    weir.stop()
