"""The benchmark, so short that its figures mean nothing: that it runs, verifies every byte, and reports what it should."""

import json

import pytest
from lab.net import run
from lab.weir import BINARIES

FIELDS = "case flows trials cycles_per_packet testpmd_io testpmd_macswap net ratio spread sent received".split()


@pytest.mark.parametrize("case", ["vlan-vxlan", "vxlan-vlan"])
def test_a_case_is_verified_measured_and_reported(case, lab):
    report = lab.directory / "report.json"
    short = "--flows 64 --trials 1 --seconds 0.3 --warm-up 0.1 --skip ovs --hugepages none".split()
    run(BINARIES / "weir-bench", "run", "--case", case, *short, "--json", report, timeout=90)
    (result,) = json.loads(report.read_text())
    assert set(FIELDS) <= set(result)
    assert (result["case"], result["flows"], result["trials"]) == (case, 64, 1)
    assert 0 < result["received"] <= result["sent"]
    assert result["cycles_per_packet"] > 0 and result["testpmd_io"] > 0
