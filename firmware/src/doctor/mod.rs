//! Preflight: what would go wrong on this machine, said before EAL starts, all of it at once.
//!
//! Owns: judging a [`Config`] against [`Facts`]. Every problem names the key, its value, and the command that mends it.
//! `weir --check` runs only this. What only a device can tell (queues, offloads) comes up at boot.

mod facts;

pub use facts::{CAP_NET_ADMIN, CAP_NET_RAW, Facts};

use crate::config::{Config, Hugepages, Port};
use std::collections::HashMap;
use std::fmt;

/// Bytes of packet memory that an mbuf takes besides its data: header, headroom, pool overhead.
const MBUF_BYTES: u64 = 384;
/// Bytes of an ordinary page. Without hugepages, every mbuf begins on one of its own.
const PAGE: u64 = 4096;
/// Bytes of a `net_af_packet` ring's slot that are not the frame's (packet_mmap: TPACKET2_HDRLEN and what aligns the
/// network header to 16).
const SLOT_HEADER: u32 = 66;
/// Ethernet header and a tag.
const FRAME_HEADER: u32 = 18;
/// The largest slot whose frame fits an mbuf.
const MOST_SLOT: u32 = 32_768;
/// MiB that DPDK needs besides mbufs: rings, device queues, its own tables.
const OTHER_MIB: u64 = 24;
/// Bytes that a learned MAC takes.
const MAC_BYTES: u64 = 64;
/// The same of a learned binding.
const BINDING_BYTES: u64 = 80;

/// Something that has to be mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key in `weir.toml`: `port[1].device`.
    pub key: String,
    /// Its value.
    pub value: String,
    /// What is wrong, as a sentence.
    pub what: String,
    /// What to do: a command, or a change to `weir.toml`.
    pub mend: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}: {}\n    mend: {}", self.key, self.value, self.what, self.mend)
    }
}

/// What the doctor found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What prevents a start.
    pub problems: Vec<Problem>,
    /// What does not.
    pub warnings: Vec<String>,
    /// Whether packet memory will be in hugepages.
    pub hugepages: bool,
}

impl Report {
    fn problem(
        &mut self,
        key: impl Into<String>,
        value: impl ToString,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.problems.push(Problem { key: key.into(), value: value.to_string(), what: what.into(), mend: mend.into() });
    }
}

/// Judges a configuration on a machine.
pub fn examine(config: &Config, facts: &Facts) -> Report {
    let mut report = Report::default();
    cores(config, facts, &mut report);
    ports(config, facts, &mut report);
    hugepages(config, facts, &mut report);
    memory(config, facts, &mut report);
    tables(config, &mut report);
    paths(config, facts, &mut report);
    report
}

fn cores(config: &Config, facts: &Facts, report: &mut Report) {
    let cores = &config.workers.cores;
    let key = "workers.cores";
    if cores.is_empty() {
        report.problem(key, "[]", "no core forwards", "name at least one, such as cores = [1]");
    }
    let list = |set: &std::collections::BTreeSet<u32>| set.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    for (i, core) in cores.iter().enumerate() {
        if cores[..i].contains(core) {
            report.problem(key, core, "the core is named twice", "name each core once");
        } else if !facts.online.contains(core) {
            let there = list(&facts.online);
            report.problem(
                key,
                core,
                "this machine has no such core online",
                format!("use some of {there} (lscpu -e)"),
            );
        } else if !facts.allowed.contains(core) {
            let what = format!("this process may run on {} only", list(&facts.allowed));
            report.problem(
                key,
                core,
                what,
                format!("taskset -pc {core} $$, or CPUAffinity= of the unit, then start again"),
            );
        }
    }
}

fn ports(config: &Config, facts: &Facts, report: &mut Report) {
    if config.ports.is_empty() {
        report.problem("port", "[]", "there is no port", "add a [[port]] with a name and a device");
    }
    let mut names = HashMap::new();
    let mut devices = HashMap::new();
    let mut interfaces = HashMap::new();
    for (i, port) in config.ports.iter().enumerate() {
        let key = |field: &str| format!("port[{i}].{field}");
        if let Some(first) = names.insert(port.name.as_str(), i) {
            let what = format!("port[{first}] has this name already");
            report.problem(key("name"), quoted(port.name.as_str()), what, "give each port its own name");
        }
        let device = port.device.split(',').next().unwrap_or_default();
        if let Some(first) = devices.insert(device, i) {
            let what = format!("port[{first}] uses {device} already");
            report.problem(
                key("device"),
                quoted(&port.device),
                what,
                "give each port its own device (vdevs are numbered)",
            );
        }
        if let Some(first) = port.argument("iface").and_then(|iface| interfaces.insert(iface, i)) {
            let what = format!("port[{first}] uses this interface already");
            report.problem(key("device"), quoted(&port.device), what, "give each port its own interface");
        }
        device_is_there(port, &key("device"), facts, report);
        ring(port, &key("device"), report);
        if !(68..=9600).contains(&port.mtu) {
            report.problem(key("mtu"), port.mtu, "an MTU is from 68 (RFC 791) to 9600 bytes", "mtu = 1500");
        } else {
            interface_mtu(port, &key("mtu"), facts, report);
        }
        for (field, n) in [("rx_descriptors", port.rx_descriptors), ("tx_descriptors", port.tx_descriptors)] {
            if !(32..=32_768).contains(&n) || !n.is_power_of_two() {
                let mend = format!("{field} = 1024");
                report.problem(key(field), n, "must be a power of two from 32 to 32768", mend);
            }
        }
    }
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}

/// A vdev's driver, and what follows it: `af_packet0,iface=eth1`.
fn driver(port: &Port) -> &str {
    port.device.trim_start_matches("net_").trim_start_matches("eth_")
}

/// Whether the vdev opens an interface that the kernel has.
fn opens_existing(port: &Port) -> bool {
    driver(port).starts_with("af_packet") || driver(port).starts_with("af_xdp")
}

fn device_is_there(port: &Port, key: &str, facts: &Facts, report: &mut Report) {
    let value = quoted(&port.device);
    if port.is_pci() {
        let address = port.device.split(',').next().unwrap_or_default();
        let bind = format!("modprobe vfio-pci && dpdk-devbind.py --bind=vfio-pci {address}");
        return match facts.pci.get(address).map(Option::as_deref) {
            None => report.problem(
                key,
                value,
                "there is no such PCI device",
                "dpdk-devbind.py --status shows those there are",
            ),
            Some(Some("vfio-pci" | "uio_pci_generic" | "igb_uio" | "mlx5_core" | "mlx4_core")) => {}
            Some(None) => report.problem(key, value, "the device has no driver; DPDK needs vfio-pci", bind),
            Some(Some(driver)) => {
                report.problem(key, value, format!("the kernel's driver {driver} has it; DPDK needs vfio-pci"), bind);
            }
        };
    }
    if !port.device.starts_with("net_") && !port.device.starts_with("eth_") {
        let what = "neither a PCI address nor a vdev (net_...)";
        report.problem(key, value, what, "such as \"0000:01:00.0\" or \"net_af_packet0,iface=eth1\"");
        return;
    }
    if opens_existing(port) {
        match port.argument("iface") {
            None => report.problem(key, value, "the vdev needs iface=", "append ,iface=INTERFACE"),
            Some(iface) if !facts.interfaces.contains_key(iface) => {
                let what = format!("there is no interface {iface}");
                report.problem(key, value, what, "ip link show  lists those there are (in this network namespace)");
            }
            Some(_) if facts.capabilities & CAP_NET_RAW == 0 => {
                let mend = "start as root, or setcap cap_net_raw,cap_net_admin+ep on the weir binary";
                report.problem(key, value, "opening the interface needs CAP_NET_RAW", mend);
            }
            Some(_) => {}
        }
    } else if driver(port).starts_with("tap") && facts.capabilities & CAP_NET_ADMIN == 0 {
        let mend = "start as root, or setcap cap_net_admin+ep on the weir binary";
        report.problem(key, value, "making the interface needs CAP_NET_ADMIN", mend);
    }
}

/// A frame larger than the interface's MTU is lost in the kernel, after the driver has counted it as sent.
fn interface_mtu(port: &Port, key: &str, facts: &Facts, report: &mut Report) {
    let Some(iface) = port.argument("iface").filter(|_| opens_existing(port)) else { return };
    let Some(&mtu) = facts.interfaces.get(iface) else { return };
    if mtu < u32::from(port.mtu) {
        let what = format!("the MTU of {iface} is {mtu}: the kernel drops larger frames, and no counter shows it");
        report.problem(key, port.mtu, what, format!("ip link set {iface} mtu {}", port.mtu));
    }
}

/// The kernel cuts what does not fit a slot of its ring, and the driver says nothing of it.
fn ring(port: &Port, key: &str, report: &mut Report) {
    if port.argument("framesz").is_none() && port.ring_slot().is_none() {
        return;
    }
    let needed = u32::from(port.mtu) + FRAME_HEADER + SLOT_HEADER;
    let size = needed.next_power_of_two().max(4096);
    let append = format!("append ,framesz={size},blocksz={size}");
    let block: Option<u32> = port.argument("blocksz").map_or(Some(4096), |n| n.parse().ok());
    let what = match (port.ring_slot(), block) {
        (Some(slot), _) if slot < needed => {
            format!(
                "frames of mtu = {} need framesz={needed} or more; it is {slot}, and the kernel cuts them",
                port.mtu
            )
        }
        (Some(slot), Some(block)) if slot <= MOST_SLOT && slot <= block => return,
        (Some(slot), Some(block)) if slot > block => format!("framesz={slot} is more than blocksz={block}"),
        _ => format!("framesz= and blocksz= are numbers, and framesz is at most {MOST_SLOT}"),
    };
    report.problem(key, quoted(&port.device), what, format!("{append} (in place of those that are there)"));
}

fn hugepages(config: &Config, facts: &Facts, report: &mut Report) {
    let wanted = u64::from(config.dpdk.memory_mib) << 10;
    // DPDK takes from one size at a time; the size that has most free memory decides.
    let free = facts.free_hugepages.iter().map(|(size, n)| size * n).max().unwrap_or(0);
    let size = facts.free_hugepages.keys().next().copied().unwrap_or(2048);
    let reserve = format!("sysctl vm.nr_hugepages={}", wanted.div_ceil(2048));
    let key = "dpdk.hugepages";
    let lack = if facts.hugetlbfs.is_none() {
        Some(("hugetlbfs is not mounted".to_owned(), "mount -t hugetlbfs nodev /dev/hugepages".to_owned()))
    } else if free < wanted {
        let what = format!("{} MiB of hugepages are free, dpdk.memory_mib = {}", free >> 10, wanted >> 10);
        let mend = if size == 2048 { reserve } else { format!("reserve more hugepages of {size} KiB") };
        Some((what, mend))
    } else {
        None
    };
    match (config.dpdk.hugepages, lack) {
        (Hugepages::None, _) => {}
        (_, None) => report.hugepages = true,
        (Hugepages::Require, Some((what, mend))) => report.problem(key, "\"require\"", what, mend),
        (Hugepages::Auto, Some((what, mend))) => {
            report
                .warnings
                .push(format!("{key} = \"auto\": {what}: running on ordinary pages, which is slower ({mend})"));
        }
    }
}

fn memory(config: &Config, facts: &Facts, report: &mut Report) {
    let dpdk = &config.dpdk;
    let queues = config.workers.cores.len() as u64;
    let rx: u64 = config.ports.iter().map(|p| u64::from(p.rx_descriptors) * queues).sum();
    let tx: u64 = config.ports.iter().map(|p| u64::from(p.tx_descriptors) * queues).sum();
    let mbufs = u64::from(dpdk.mbufs);
    let held = u64::from(config.tables.held) * queues;
    // Each receive descriptor of a NIC holds a buffer, each worker works on a burst, and so many frames may wait for next
    // hops that do not answer: they must not use up what the others need.
    let least = rx + held + 64 * queues;
    if mbufs < least {
        let what = format!(
            "{rx} buffers belong to the rx descriptors of all ports and workers, {held} may wait for next hops \
             (tables.held for each worker), and bursts need some"
        );
        report.problem("dpdk.mbufs", mbufs, what, format!("mbufs = {}", (least + tx).next_power_of_two()));
    } else if mbufs < least + tx {
        let what = "if every queue fills, the buffers run out";
        report.warnings.push(format!("dpdk.mbufs = {mbufs}: {what} (rx {rx} + tx {tx} descriptors + {held} held)"));
    }
    let mbuf = u64::from(config.data_room()) + MBUF_BYTES;
    let each = if report.hugepages { mbuf } else { mbuf.next_multiple_of(PAGE) };
    let needed = (mbufs * each).div_ceil(1 << 20) + OTHER_MIB;
    if needed > u64::from(dpdk.memory_mib) {
        let what = format!("dpdk.mbufs = {mbufs} of {each} bytes and the queues need {needed} MiB");
        report.problem("dpdk.memory_mib", dpdk.memory_mib, what, format!("memory_mib = {needed}, or fewer mbufs"));
    }
    let learned = u64::from(config.tables.macs) * MAC_BYTES + u64::from(config.tables.bindings) * BINDING_BYTES;
    let heap = (learned * queues) >> 10;
    let ordinary = if report.hugepages { heap } else { heap + (u64::from(dpdk.memory_mib) << 10) };
    if facts.available_kib > 0 && ordinary > facts.available_kib {
        let what =
            format!("packet memory and tables need {} MiB, {} are free", ordinary >> 10, facts.available_kib >> 10);
        report.problem(
            "dpdk.memory_mib",
            dpdk.memory_mib,
            what,
            "lower memory_mib, mbufs, tables.macs or tables.bindings (free -m)",
        );
    }
    if dpdk.file_prefix.is_empty() || dpdk.file_prefix.contains(['/', '%']) {
        let what = "must be a file name";
        report.problem("dpdk.file_prefix", quoted(&dpdk.file_prefix), what, "file_prefix = \"weir\"");
    }
}

fn tables(config: &Config, report: &mut Report) {
    let t = &config.tables;
    for (key, value, most) in [
        ("tables.macs", t.macs, 1 << 28),
        ("tables.bindings", t.bindings, 1 << 28),
        ("tables.neighbours", t.neighbours, 1 << 20),
        ("tables.bridges", t.bridges, 1 << 16),
        ("tables.segments", t.segments, 1 << 20),
        ("tables.vteps", t.vteps, 1 << 16),
        ("tables.peers", t.peers, 1 << 18),
        ("tables.learned_peers", t.learned_peers, 1 << 18),
        ("tables.held", t.held, 1 << 16),
        ("tables.endpoints", t.endpoints, 1 << 28),
    ] {
        if value == 0 || value > most {
            report.problem(key, value, format!("must be from 1 to {most}"), "leave the key out for the default");
        }
    }
}

fn paths(config: &Config, facts: &Facts, report: &mut Report) {
    let directory = config.state.directory.display().to_string();
    let socket = config.rpc.socket.display().to_string();
    if let Some(why) = &facts.state_directory {
        let mend = format!("mkdir -p {directory} && chown $(id -u) {directory}");
        report.problem("state.directory", quoted(&directory), format!("cannot be written: {why}"), mend);
    }
    if facts.state_locked {
        let mend = "stop the other weir (systemctl stop weir), or give this one its own directory";
        report.problem("state.directory", quoted(&directory), "another weir uses it", mend);
    }
    if let Some(why) = &facts.socket_directory {
        let parent = config.rpc.socket.parent().map(|p| p.display().to_string()).unwrap_or_default();
        let mend = format!("mkdir -p {parent} && chown $(id -u) {parent}");
        report.problem("rpc.socket", quoted(&socket), format!("cannot be made: {why}"), mend);
    }
    if facts.socket_alive {
        let mend = "stop the other weir (systemctl stop weir), or give this one its own socket";
        report.problem("rpc.socket", quoted(&socket), "another process listens on it", mend);
    }
    for (key, value, most) in [
        ("rpc.max_message_mib", config.rpc.max_message_mib, 4096),
        ("rpc.max_connections", config.rpc.max_connections, 1024),
        ("rpc.timeout_seconds", config.rpc.timeout_seconds, 3600),
    ] {
        if value == 0 || value > most {
            report.problem(key, value, format!("must be from 1 to {most}"), "leave the key out for the default");
        }
    }
}

#[cfg(test)]
mod tests;
