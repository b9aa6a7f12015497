use super::*;
use std::collections::{BTreeMap, BTreeSet};

const GOOD: &str = r#"
[[port]]
name = "lan0"
device = "net_af_packet0,iface=veth0"
[[port]]
name = "up0"
device = "0000:01:00.0"
[workers]
cores = [1]
"#;

fn machine() -> Facts {
    Facts {
        online: BTreeSet::from([0, 1, 2]),
        allowed: BTreeSet::from([0, 1]),
        free_hugepages: BTreeMap::from([(2048, 512)]),
        hugetlbfs: Some("/dev/hugepages".into()),
        available_kib: 4 << 20,
        capabilities: u64::MAX,
        interfaces: BTreeMap::from([("veth0".to_owned(), 9000)]),
        pci: BTreeMap::from([("0000:01:00.0".to_owned(), Some("vfio-pci".to_owned()))]),
        ..Facts::default()
    }
}

/// Examines a good configuration after an edit of it and of the machine.
fn with(from: &str, to: &str, edit: impl FnOnce(&mut Facts)) -> Report {
    assert!(GOOD.contains(from), "{from}");
    let mut facts = machine();
    edit(&mut facts);
    examine(&Config::parse(&GOOD.replace(from, to)).unwrap(), &facts)
}

#[track_caller]
fn one_problem(report: Report, key: &str, value: &str, mend: &str) {
    let [problem] = &report.problems[..] else { panic!("{:#?}", report.problems) };
    assert_eq!((problem.key.as_str(), problem.value.as_str()), (key, value), "{problem}");
    assert!(problem.mend.contains(mend), "{problem}");
}

#[test]
fn a_good_machine_has_nothing_to_mend() {
    let report = with("", "", |_| {});
    assert_eq!(report.problems, []);
    assert!(report.hugepages && report.warnings.is_empty());
}

#[test]
fn cores_must_exist_be_allowed_and_differ() {
    one_problem(with("[1]", "[9]", |_| {}), "workers.cores", "9", "0, 1, 2");
    one_problem(with("[1]", "[2]", |_| {}), "workers.cores", "2", "taskset");
    one_problem(with("[1]", "[1, 1]", |_| {}), "workers.cores", "1", "once");
    one_problem(with("[1]", "[]", |_| {}), "workers.cores", "[]", "cores = [1]");
}

#[test]
fn names_devices_and_interfaces_must_differ() {
    one_problem(with("up0", "lan0", |_| {}), "port[1].name", "\"lan0\"", "own name");
    let twice = with("0000:01:00.0", "net_af_packet0,iface=veth1", |f| {
        f.interfaces.insert("veth1".into(), 1500);
    });
    one_problem(twice, "port[1].device", "\"net_af_packet0,iface=veth1\"", "own device");
    let shared = with("0000:01:00.0", "net_af_packet1,iface=veth0", |_| {});
    one_problem(shared, "port[1].device", "\"net_af_packet1,iface=veth0\"", "own interface");
}

#[test]
fn a_pci_device_must_be_there_and_bound() {
    let key = "port[1].device";
    one_problem(with("", "", |f| f.pci.clear()), key, "\"0000:01:00.0\"", "dpdk-devbind.py --status");
    let bound =
        |driver: Option<&str>| with("", "", |f| drop(f.pci.insert("0000:01:00.0".into(), driver.map(str::to_owned))));
    one_problem(bound(Some("ixgbe")), key, "\"0000:01:00.0\"", "dpdk-devbind.py --bind=vfio-pci 0000:01:00.0");
    one_problem(bound(None), key, "\"0000:01:00.0\"", "dpdk-devbind.py --bind=vfio-pci 0000:01:00.0");
}

#[test]
fn an_interface_must_be_there_and_may_be_opened() {
    let key = "port[0].device";
    one_problem(with("", "", |f| f.interfaces.clear()), key, "\"net_af_packet0,iface=veth0\"", "ip link");
    one_problem(with("", "", |f| f.capabilities = 0), key, "\"net_af_packet0,iface=veth0\"", "setcap");
    one_problem(with("net_af_packet0,iface=veth0", "net_af_packet0", |_| {}), key, "\"net_af_packet0\"", "iface=");
    one_problem(with("net_af_packet0,iface=veth0", "eth1", |_| {}), key, "\"eth1\"", "net_af_packet0");
    let tap = with("net_af_packet0,iface=veth0", "net_tap0", |f| f.capabilities = 0);
    one_problem(tap, key, "\"net_tap0\"", "cap_net_admin");
}

#[test]
fn an_interface_must_carry_the_ports_mtu() {
    let port = |device: &str, mtu: u32| {
        with("net_af_packet0,iface=veth0\"", &format!("{device}\"\nmtu = 1600"), |f| {
            f.interfaces.insert("veth0".into(), mtu);
        })
    };
    for device in ["net_af_packet0,iface=veth0", "net_af_xdp0,iface=veth0"] {
        one_problem(port(device, 1599), "port[0].mtu", "1600", "ip link set veth0 mtu 1600");
        assert_eq!(port(device, 1600).problems, []);
        assert_eq!(port(device, 1601).problems, []);
    }
    // The driver makes the interface, or there is none: nothing to compare with.
    assert_eq!(port("net_tap0,iface=veth0", 1500).problems, []);
    one_problem(
        port("net_af_packet0,iface=veth9", 1500),
        "port[0].device",
        "\"net_af_packet0,iface=veth9\"",
        "ip link",
    );
    // An MTU that no port may have is one problem, not two.
    let most = with("veth0\"", "veth0\"\nmtu = 9601", |_| {}).problems;
    assert_eq!(most.iter().filter(|p| p.key == "port[0].mtu").count(), 1, "{most:#?}");
}

#[test]
fn the_kernels_ring_must_take_the_ports_frames() {
    let port = |rest: &str| with("veth0\"", &format!("veth0{rest}"), |_| {});
    for (fits, rest) in [
        (true, "\"\nmtu = 1964"),
        (false, "\"\nmtu = 1965"),
        (true, ",framesz=4096\"\nmtu = 4012"),
        (false, ",framesz=4096\"\nmtu = 4013"),
        (true, ",framesz=16384,blocksz=16384\"\nmtu = 9000"),
        (false, ",framesz=16384\"\nmtu = 9000"),
        (false, ",framesz=65536,blocksz=65536\"\nmtu = 9000"),
        (false, ",framesz=all\""),
    ] {
        let problems = port(rest).problems;
        assert_eq!(problems.iter().all(|p| p.key != "port[0].device"), fits, "{rest}: {problems:#?}");
    }
    let value = "\"net_af_packet0,iface=veth0\"";
    one_problem(port("\"\nmtu = 2000"), "port[0].device", value, "append ,framesz=4096,blocksz=4096");
    one_problem(port("\"\nmtu = 9000"), "port[0].device", value, "append ,framesz=16384,blocksz=16384");
}

#[test]
fn large_buffers_count() {
    let jumbo = |memory: u32, pages: &str| {
        let dpdk =
            format!("mtu = 9000\n[dpdk]\nhugepages = \"{pages}\"\nmbufs = 8192\nmemory_mib = {memory}\n[workers]");
        with("[workers]", &dpdk, |_| {})
    };
    // 9088 bytes of data and 384 more, 8192 times, and 24 MiB.
    assert_eq!(jumbo(98, "auto").problems, []);
    one_problem(jumbo(97, "auto"), "dpdk.memory_mib", "97", "memory_mib = 98");
    // Three pages each.
    assert_eq!(jumbo(120, "none").problems, []);
    one_problem(jumbo(119, "none"), "dpdk.memory_mib", "119", "memory_mib = 120");
}

#[test]
fn hugepages_are_taken_missed_or_done_without() {
    let require = "[dpdk]\nhugepages = \"require\"\n[workers]";
    one_problem(
        with("[workers]", require, |f| {
            f.free_hugepages.insert(2048, 255);
        }),
        "dpdk.hugepages",
        "\"require\"",
        "sysctl vm.nr_hugepages=256",
    );
    let unmounted = with("[workers]", require, |f| f.hugetlbfs = None);
    one_problem(unmounted, "dpdk.hugepages", "\"require\"", "mount -t hugetlbfs");
    let auto = with("", "", |f| f.free_hugepages.clear());
    assert!(!auto.hugepages && auto.problems.is_empty() && auto.warnings[0].contains("ordinary pages"));
    let none = with("[workers]", "[dpdk]\nhugepages = \"none\"\n[workers]", |_| {});
    assert!(!none.hugepages && none.warnings.is_empty());
}

#[test]
fn buffers_must_suffice_and_fit() {
    let few = with("[workers]", "[dpdk]\nmbufs = 2000\n[workers]", |_| {});
    one_problem(few, "dpdk.mbufs", "2000", "mbufs = 8192");
    let scarce = with("[workers]", "[dpdk]\nmbufs = 3000\n[workers]", |_| {});
    assert!(scarce.problems.is_empty() && scarce.warnings[0].contains("dpdk.mbufs = 3000"));
    // Two ports with 1024 rx descriptors, a burst, and 512 frames that wait, for each worker.
    let least = |mbufs: u32, cores: &str| {
        with("[workers]\ncores = [1]", &format!("[dpdk]\nmbufs = {mbufs}\n[workers]\ncores = {cores}"), |_| {})
    };
    assert_eq!(least(2624, "[1]").problems, []);
    one_problem(least(2623, "[1]"), "dpdk.mbufs", "2623", "mbufs = 8192");
    assert_eq!(least(5248, "[0, 1]").problems, []);
    one_problem(least(5247, "[0, 1]"), "dpdk.mbufs", "5247", "mbufs = 16384");
    let held = with("[workers]", "[dpdk]\nmbufs = 3000\n[tables]\nheld = 900\n[workers]", |_| {});
    assert!(held.problems[0].what.contains("900 may wait"), "{:#?}", held.problems);
    one_problem(held, "dpdk.mbufs", "3000", "mbufs = 8192");
    let many = with("[workers]", "[dpdk]\nmbufs = 1000000\n[workers]", |_| {});
    one_problem(many, "dpdk.memory_mib", "512", "memory_mib = ");
    let poor = with("[workers]", "[dpdk]\nhugepages = \"none\"\n[workers]", |f| f.available_kib = 100 << 10);
    one_problem(poor, "dpdk.memory_mib", "512", "free -m");
}

#[test]
fn numbers_must_be_in_range() {
    one_problem(with("name = \"up0\"", "name = \"up0\"\nmtu = 60", |_| {}), "port[1].mtu", "60", "1500");
    let odd = with("name = \"up0\"", "name = \"up0\"\nrx_descriptors = 1000", |_| {});
    one_problem(odd, "port[1].rx_descriptors", "1000", "1024");
    one_problem(
        with("[workers]", "[tables]\nbridges = 70000\n[workers]", |_| {}),
        "tables.bridges",
        "70000",
        "default",
    );
    one_problem(
        with("[workers]", "[rpc]\nmax_connections = 0\n[workers]", |_| {}),
        "rpc.max_connections",
        "0",
        "default",
    );
    one_problem(
        with("[workers]", "[dpdk]\nfile_prefix = \"a/b\"\n[workers]", |_| {}),
        "dpdk.file_prefix",
        "\"a/b\"",
        "weir",
    );
}

#[test]
fn directories_must_be_writable_and_nobody_elses() {
    let state = "\"/var/lib/weir\"";
    let socket = "\"/run/weir/weir.sock\"";
    let refused = || Some("/: Permission denied".to_owned());
    one_problem(with("", "", |f| f.state_directory = refused()), "state.directory", state, "mkdir -p /var/lib/weir");
    one_problem(with("", "", |f| f.state_locked = true), "state.directory", state, "stop the other weir");
    one_problem(with("", "", |f| f.socket_directory = refused()), "rpc.socket", socket, "mkdir -p /run/weir");
    one_problem(with("", "", |f| f.socket_alive = true), "rpc.socket", socket, "stop the other weir");
}

#[test]
fn all_problems_are_reported_at_once() {
    let report = with("[1]", "[9, 9]", |f| {
        f.interfaces.clear();
        f.pci.clear();
        f.state_locked = true;
    });
    assert_eq!(report.problems.len(), 5, "{:#?}", report.problems);
}
