//! What the firmware knows and counts, in the RPC's words: stats, MACs, next hops.
//!
//! Owns: putting the workers' numbers and the configuration's names together.

use super::configuration::Configuration;
use super::desired::Host;
use crate::config::Tables;
use crate::worker::link::{MacEntry, NeighbourAt, NeighbourEntry, Report};
use std::collections::{BTreeMap, HashMap};
use weir_api::id::{Location, Mac, Name, SegmentId};
use weir_api::object::Kind;
use weir_api::view::{MacRow, NeighbourRow, PortStats, Source, Stats, TableStats, WorkerStats};
use weir_pipelines::gateway::{DropReason, Event};
use weir_pipelines::tables::{BridgeId, InterfaceIx, NeighbourState, PortId, SegmentIx};

/// What a port is, besides its counters.
#[derive(Clone, Debug, Default)]
pub struct PortFacts {
    /// Name, device, driver, MAC, MTU, queues; counters zero.
    pub row: PortStats,
    /// Its control, where there is a device.
    pub control: Option<weir_pmd::PortControl>,
}

/// Adds the workers' counters to the rest.
pub fn add_reports(stats: &mut Stats, ports: &[PortFacts], cores: &[u32], reports: &[Box<Report>]) {
    stats.ports = ports.iter().enumerate().map(|(n, facts)| port(n, facts, reports)).collect();
    stats.workers = cores.iter().zip(reports).map(|(core, report)| worker(*core, report)).collect();
    for event in Event::ALL {
        let sum = reports.iter().map(|r| r.counters.counted(*event)).sum();
        stats.events.insert(event.as_str().to_owned(), sum);
    }
}

fn port(n: usize, facts: &PortFacts, reports: &[Box<Report>]) -> PortStats {
    let mut row = facts.row.clone();
    if let Some(control) = &facts.control {
        match control.link() {
            Ok(link) => (row.link_up, row.link_mbps) = (link.up, link.mbps),
            Err(e) => log::warn!("port {}: {e}", row.name),
        }
        match control.stats() {
            Ok(device) => {
                row.rx_missed = device.rx_missed + device.rx_errors + device.rx_no_buffer;
                row.tx_errors = device.tx_errors;
            }
            Err(e) => log::warn!("port {}: {e}", row.name),
        }
    }
    for report in reports {
        if let Some(count) = report.ports.get(n) {
            row.rx_packets += count.rx_packets;
            row.rx_bytes += count.rx_bytes;
            row.tx_packets += count.tx_packets;
            row.tx_bytes += count.tx_bytes;
        }
    }
    for reason in DropReason::ALL {
        let sum: u64 = reports.iter().map(|r| r.counters.dropped(PortId(n as u16), *reason)).sum();
        if sum > 0 {
            row.drops.insert(reason.as_str().to_owned(), sum);
        }
    }
    row
}

fn worker(core: u32, report: &Report) -> WorkerStats {
    WorkerStats {
        core,
        generation: report.generation,
        busy_cycles: report.cycles.busy,
        idle_cycles: report.cycles.idle,
        sleep_cycles: report.cycles.sleep,
        longest_turn_microseconds: report.turns.longest_microseconds(report.cycles_per_ms),
        long_turns_by_microseconds: report.turns.by_microseconds().collect(),
        rx_packets: report.counters.received,
        originated_packets: report.counters.originated,
        tx_packets: report.sent,
        dropped_packets: report.counters.dropped_total(),
        held_packets: report.held,
        consumed_packets: report.counters.consumed,
    }
}

/// How full every table is.
pub fn tables(configuration: &Configuration, limits: &Tables, reports: &[Box<Report>]) -> BTreeMap<String, TableStats> {
    let desired = configuration.desired();
    let fullest = |count: fn(&Report) -> u64| reports.iter().map(|r| count(r)).max().unwrap_or(0);
    let rows: [(&str, u64, u32); 13] = [
        ("bridges", desired.count(Kind::Bridge) as u64, limits.bridges),
        ("vteps", desired.count(Kind::Vtep) as u64, limits.vteps),
        ("segments", desired.count(Kind::Segment) as u64, limits.segments),
        ("endpoints", desired.count(Kind::Endpoint) as u64, limits.endpoints),
        ("routers", desired.count(Kind::Router) as u64, limits.routers),
        ("interfaces", desired.count(Kind::Interface) as u64, limits.interfaces),
        ("routes", desired.count(Kind::Route) as u64, limits.routes),
        ("peers", configuration.translator().peer_count() as u64, limits.peers),
        ("macs", fullest(|r| r.macs), limits.macs),
        ("bindings", fullest(|r| r.bindings), limits.bindings),
        ("neighbours", fullest(|r| r.neighbours), limits.neighbours),
        ("hosts", fullest(|r| r.hosts), limits.hosts),
        ("learned_peers", fullest(|r| r.learned_peers), limits.learned_peers),
    ];
    let row = |(name, entries, capacity): (&str, u64, u32)| {
        (name.to_owned(), TableStats { entries, capacity: u64::from(capacity) })
    };
    rows.into_iter().map(row).collect()
}

/// MACs configured and learned, in order of bridge and MAC; of one bridge, or of all. Where workers differ, the one
/// that saw it last is right.
pub fn macs(configuration: &Configuration, bridge: Option<&Name>, learned: &[Vec<MacEntry>]) -> Vec<MacRow> {
    let names = configuration.translator().bridge_names();
    let segments = configuration.translator().segment_ids();
    let mut rows: BTreeMap<(&Name, Mac), (Location, Option<u64>)> = BTreeMap::new();
    for entry in learned.iter().flatten() {
        let Some((name, mac, location)) = place(entry, &names, &segments) else { continue };
        if bridge.is_some_and(|only| only != name) {
            continue;
        }
        let age = Some(u64::from(entry.age));
        let row = rows.entry((name, mac)).or_insert_with(|| (location.clone(), age));
        if age < row.1 {
            *row = (location, age);
        }
    }
    for (name, hosts) in configuration.desired().endpoints.iter() {
        if bridge.is_none_or(|only| only == name) {
            rows.extend(hosts.iter().map(|(mac, Host { location, .. })| ((name, *mac), (location.clone(), None))));
        }
    }
    let row = |((bridge, mac), (location, age_seconds)): ((&Name, Mac), (Location, Option<u64>))| MacRow {
        bridge: bridge.to_string(),
        mac,
        location,
        source: if age_seconds.is_some() { Source::Learned } else { Source::Configured },
        age_seconds,
    };
    rows.into_iter().map(row).collect()
}

/// An entry in words; `None` if what it names is gone.
fn place<'a>(
    entry: &MacEntry,
    names: &'a HashMap<BridgeId, Name>,
    segments: &HashMap<SegmentIx, SegmentId>,
) -> Option<(&'a Name, Mac, Location)> {
    let segment = segments.get(&entry.segment)?.clone();
    let peer = entry.peer.map(|p| p.address);
    if segment.is_tunnel() != peer.is_some() {
        return None;
    }
    Some((names.get(&entry.bridge)?, Mac::try_from(entry.mac.0).ok()?, Location { segment, peer }))
}

/// The neighbours of one worker, in words; `interfaces` are those of routers, each with its router and its bridge.
pub fn neighbours(
    ports: &[PortFacts],
    interfaces: &HashMap<InterfaceIx, (Name, Name)>,
    core: u32,
    entries: &[NeighbourEntry],
) -> Vec<NeighbourRow> {
    let row = |entry: &NeighbourEntry| {
        let (port, interface) = match entry.at {
            NeighbourAt::Port(port) => (ports.get(port.index()).map(|p| p.row.name.clone()), None),
            NeighbourAt::Net(net) => (None, interfaces.get(&net.interface)),
        };
        let [a, b, c, d, e, f] = entry.mac.0;
        let known = entry.mac.0 != [0; 6];
        NeighbourRow {
            port,
            bridge: interface.map(|(_, bridge)| bridge.to_string()),
            router: interface.map(|(router, _)| router.to_string()),
            address: entry.address.to_string(),
            mac: known.then(|| format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")),
            state: state(entry.state).to_owned(),
            held_packets: entry.held,
            core,
        }
    };
    entries.iter().map(row).collect()
}

fn state(state: NeighbourState) -> &'static str {
    match state {
        NeighbourState::Resolving => "resolving",
        NeighbourState::Reachable => "reachable",
        NeighbourState::Stale => "stale",
        NeighbourState::Failed => "failed",
        NeighbourState::Permanent => "permanent",
    }
}
