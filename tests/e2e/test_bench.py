"""The benchmark, so short that its figures mean nothing: that it runs, verifies every byte, and reports what it should."""

import json

import pytest
from lab.net import run
from lab.weir import BINARIES

FIELDS = "case flows trials cycles_per_packet testpmd_io testpmd_macswap net ratio spread sent received".split()
SHORT = "--trials 1 --seconds 0.3 --warm-up 0.1 --hugepages none".split()


def measured(lab, case, *arguments):
    report = lab.directory / "report.json"
    run(BINARIES / "weir-bench", "run", "--case", case, *arguments, *SHORT, "--json", report, timeout=90)
    (result,) = json.loads(report.read_text())
    assert result["case"] == case
    return result


@pytest.mark.parametrize("case", ["vlan-vxlan", "vxlan-vlan", "vlan-nvgre", "nvgre-vlan", "vlan-geneve"])
def test_a_case_is_verified_measured_and_reported(case, lab):
    result = measured(lab, case, "--flows", 64, "--skip", "ovs")
    assert set(FIELDS) <= set(result)
    assert (result["flows"], result["trials"], result["copies_per_frame"]) == (64, 1, 1)
    assert 0 < result["received"] <= result["sent"]
    assert result["cycles_per_packet"] > 0 and result["testpmd_io"] > 0
    assert result["verified"]["frames"] == 128


def test_a_flooded_frame_is_counted_by_its_copies(lab):
    result = measured(lab, "flood", "--flows", 64)
    assert result["verified"]["frames"] == 64 * 2 * 16
    assert result["received"] > result["sent"] * 15
    assert result["cycles_per_frame_in"] == pytest.approx(result["cycles_per_packet"] * 16)
    assert result["net"] is None and "ovs_cycles_per_packet" not in result


def test_suppressed_requests_are_counted_by_their_answers(lab):
    result = measured(lab, "arp", "--flows", 64)
    assert result["verified"]["frames"] == 128
    assert result["requests_per_second"] == pytest.approx(result["tsc_hz"] / result["cycles_per_packet"])
    assert "ovs_cycles_per_packet" not in result


@pytest.mark.parametrize("case", ["route", "route-vlan"])
def test_routed_frames_are_verified_measured_and_reported(case, lab):
    result = measured(lab, case, "--flows", 64, "--routes", 500, "--skip", "ovs")
    assert (result["routes"], result["copies_per_frame"], result["verified"]["frames"]) == (500, 1, 128)
    assert 0 < result["received"] <= result["sent"]
    assert result["net"] == pytest.approx(result["cycles_per_packet"] - result["testpmd_io"])


@pytest.mark.parametrize("case", ["route", "route-vlan"])
def test_open_vswitch_routes_as_well(case, lab):
    result = measured(lab, case, "--flows", 64, "--routes", 500, "--skip", "weir")
    assert result["ovs_cycles_per_packet"] > result["testpmd_io"]


def test_more_flows_than_open_vswitch_meets_in_time_leave_it_out(lab):
    result = measured(lab, "route", "--flows", 8200, "--routes", 500, "--skip", "weir")
    assert "8192" in result["ovs_absent"] and "ovs_cycles_per_packet" not in result


@pytest.mark.parametrize("case", ["vlan-nvgre", "nvgre-vlan", "vlan-geneve"])
def test_open_vswitch_is_measured_with_every_tunnel(case, lab):
    result = measured(lab, case, "--flows", 64, "--skip", "weir")
    assert result["ovs_cycles_per_packet"] > result["testpmd_io"]


def test_changes_are_timed_with_and_without_traffic(lab):
    result = measured(lab, "control", "--endpoints", 50_000, "--bridges", 50)
    for changes in (result["without_traffic"], result["with_traffic"]):
        assert 0 < changes["one_more_milliseconds"] <= changes["one_more_slowest_milliseconds"]
        assert 0 < changes["slowest_batch_seconds"] <= changes["apply_seconds"]
        for held in (changes["before"], changes["while_applying"], changes["while_adding"]):
            assert held["longest_turn_microseconds_at_most"] > 0
    quiet, busy = result["without_traffic"], result["with_traffic"]
    assert "first_packet_milliseconds" not in quiet and quiet["while_adding"]["packets_per_second"] == 0
    assert busy["first_packet_milliseconds"] > busy["one_more_milliseconds"]
    assert busy["while_applying"]["packets_per_second"] > 0
    assert 0 < result["learned_macs"] <= 50_000 and result["bytes_per_learned_mac"] > 0
    assert result["restart_to_first_packet_seconds"] > 0


def test_routes_are_applied_and_changed_under_the_packets_that_take_them(lab):
    result = measured(lab, "routes", "--routes", 20_000, "--batch", 5000)
    assert (result["routes"], result["batch_routes"]) == (20_000, 5000)
    for changes in (result["without_traffic"], result["with_traffic"]):
        assert 0 < changes["slowest_batch_seconds"] <= changes["apply_seconds"]
        assert (changes["one"]["routes"], changes["thousand"]["routes"]) == (1, 1000)
        for changing in (changes["one"], changes["thousand"]):
            assert 0 < changing["milliseconds"] <= changing["slowest_milliseconds"]
            assert changing["routes_per_second"] > 0 and changing["calls"] > 0
    quiet, busy = result["without_traffic"], result["with_traffic"]
    assert quiet["while_applying"]["sent_per_second"] == 0
    # Every packet has a way, whatever of it changes.
    for held in (busy["before"], busy["while_applying"], busy["one"]["meanwhile"], busy["thousand"]["meanwhile"]):
        assert held["sent_per_second"] > 0 and held["dropped_packets"] == 0
    assert result["restart_to_first_packet_seconds"] > 0 and result["bytes_per_route"] > 0
