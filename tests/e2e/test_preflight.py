"""A bad weir.toml ends the start before EAL, with all that is wrong and what mends it."""

import pytest
from lab.site import Site


@pytest.fixture
def site(lab):
    site = Site(lab)
    site.wire("lan0")
    site.wire("lan1")
    return site


def refused(weir, *words):
    """Asserts that both `--check` and a start are refused, naming every word, before EAL says anything."""
    done = weir.check()
    weir.spawn()
    assert weir.process.wait(10) not in (0, None)
    for said, code in ((done.stdout + done.stderr, done.returncode), (weir.log.read_text(), weir.process.returncode)):
        assert code > 0, said
        for word in words:
            assert word in said, f"{word} is not in: {said}"
        assert "EAL:" not in said and "panicked" not in said, said
    assert not weir.socket.exists()


def test_a_good_configuration_passes_the_check(site):
    done = site.weir().check()
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_core_that_is_not_there(site):
    refused(site.weir(cores=[777]), "cores", "777")


def test_a_core_used_twice(site):
    refused(site.weir(cores=[1, 1]), "cores", "1")


def test_an_interface_that_is_not_there(site):
    site.ports[1]["device"] = "net_af_packet1,iface=nowhere0"
    refused(site.weir(), "nowhere0", "ip link")


def test_a_port_name_used_twice(site):
    site.ports[1]["name"] = "lan0"
    refused(site.weir(), "name", "lan0")


def test_a_device_used_twice(site):
    site.ports[1]["device"] = site.ports[0]["device"]
    refused(site.weir(), "device", site.ports[0]["device"].split(",")[0])


def test_a_pci_device_that_is_not_there(site):
    site.ports[1]["device"] = "ffff:1f:1f.7"
    refused(site.weir(), "ffff:1f:1f.7")


def test_hugepages_that_are_required_and_missing(site):
    refused(site.weir(dpdk={"hugepages": "require", "memory_mib": 1 << 20}), "dpdk.hugepages", "require", "mend: ")


def test_mbufs_that_do_not_fit_the_memory(site):
    refused(site.weir(dpdk={"mbufs": 10_000_000}), "mbufs", "10000000", "memory_mib")


def test_mbufs_that_frames_which_wait_for_next_hops_could_use_up(site):
    refused(site.weir(dpdk={"mbufs": 3000}, tables={"macs": 16384, "held": 1000}), "dpdk.mbufs", "3000", "1000 may wait")


def test_all_that_is_wrong_is_said_at_once(site):
    site.ports[1]["device"] = "net_af_packet1,iface=nowhere0"
    refused(site.weir(cores=[777]), "777", "nowhere0")


def test_an_unknown_key_is_refused_with_its_line(site):
    weir = site.weir()
    weir.document["workers"]["colour"] = "red"
    from lab.weir import toml

    line = toml(weir.document).splitlines().index('colour = "red"') + 1
    refused(weir, "colour", str(line))


def test_a_second_gateway_on_the_same_state_is_refused(site):
    with site.weir():
        other = site.weir(name="second", rpc={"socket": str(site.lab.directory / "second.sock")},
                          state={"directory": str(site.lab.directory / "weir/state")})
        other.socket = site.lab.directory / "second.sock"
        refused(other, "state")


def test_the_socket_of_a_live_gateway_is_refused(site):
    with site.weir() as weir:
        other = site.weir(name="second", rpc={"socket": str(weir.socket)})
        done = other.check()
        assert done.returncode > 0 and str(weir.socket) in done.stdout + done.stderr
        assert weir.stats()["uptime_seconds"] >= 0
