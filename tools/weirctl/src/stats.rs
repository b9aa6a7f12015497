//! `show port|drop|worker|generation|table|event|stats`: parts of one answer of the firmware, as tables or as JSON.

use crate::failure::Failure;
use crate::session::Session;
use crate::table::{Table, number, text};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use weir_api::id::Name;
use weir_api::view::{PortStats, Stats, TableStats, WorkerStats};

/// What mbufs are called among the tables.
const MBUFS: &str = "mbufs";

fn found<T>(rows: Vec<T>, noun: &str, id: Option<&dyn std::fmt::Display>) -> Result<Vec<T>, Failure> {
    match id {
        Some(id) if rows.is_empty() => Err(Failure::NotFound(format!("{noun} {id}"))),
        _ => Ok(rows),
    }
}

/// `show port`.
pub fn ports(session: &mut Session<'_>, id: Option<&Name>) -> Result<(), Failure> {
    let mut stats = session.stats()?;
    stats.ports.retain(|port| id.is_none_or(|id| id.as_str() == port.name));
    let ports = found(stats.ports, "port", id.map(|id| id as _))?;
    if session.json { session.print_json(&ports) } else { Ok(write_ports(&ports, session.out)?) }
}

fn write_ports(ports: &[PortStats], out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new(vec![
        text("PORT"),
        text("DEVICE"),
        text("DRIVER"),
        text("MAC"),
        number("MTU", "bytes"),
        text("LINK"),
        number("SPEED", "Mbit/s"),
        number("RX", "queues"),
        number("TX", "queues"),
        number("RX", "packets"),
        number("RX", "bytes"),
        number("TX", "packets"),
        number("TX", "bytes"),
        number("RX-MISSED", "packets"),
        number("TX-ERRORS", "packets"),
        number("DROPPED", "packets"),
    ]);
    for port in ports {
        table.push(vec![
            port.name.clone(),
            port.device.clone(),
            port.driver.clone(),
            port.mac.clone(),
            port.mtu.to_string(),
            if port.link_up { "up" } else { "down" }.to_owned(),
            if port.link_mbps == 0 { "-".to_owned() } else { port.link_mbps.to_string() },
            port.rx_queues.to_string(),
            port.tx_queues.to_string(),
            port.rx_packets.to_string(),
            port.rx_bytes.to_string(),
            port.tx_packets.to_string(),
            port.tx_bytes.to_string(),
            port.rx_missed.to_string(),
            port.tx_errors.to_string(),
            port.drops.values().sum::<u64>().to_string(),
        ]);
    }
    table.write("ports", out)
}

/// `show drop`: with -j an array of `{"reason", "port", "packets"}`, only those that are not zero.
pub fn drops(session: &mut Session<'_>, reason: Option<&Name>) -> Result<(), Failure> {
    let mut stats = session.stats()?;
    for port in &mut stats.ports {
        port.drops.retain(|name, packets| *packets != 0 && reason.is_none_or(|r| r.as_str() == name));
    }
    if session.json {
        session.print_json(&drop_rows(&stats.ports))
    } else {
        Ok(write_drops(&stats.ports, session.out)?)
    }
}

fn drop_rows(ports: &[PortStats]) -> Vec<Value> {
    let of_port = |port: &PortStats| {
        let row = |(reason, packets)| json!({ "reason": reason, "port": port.name, "packets": packets });
        port.drops.iter().map(row).collect::<Vec<_>>()
    };
    ports.iter().flat_map(of_port).collect()
}

/// Reason × port, of the ports that dropped something.
fn write_drops(ports: &[PortStats], out: &mut dyn Write) -> io::Result<()> {
    let ports: Vec<_> = ports.iter().filter(|port| port.drops.values().any(|&packets| packets != 0)).collect();
    let nonzero = |port: &'_ &PortStats| -> Vec<String> {
        port.drops.iter().filter(|&(_, &packets)| packets != 0).map(|(reason, _)| reason.clone()).collect()
    };
    let reasons: BTreeSet<String> = ports.iter().flat_map(nonzero).collect();
    if reasons.is_empty() {
        return writeln!(out, "nothing dropped");
    }
    let columns = ports.iter().map(|port| number(port.name.clone(), "packets"));
    let mut table =
        Table::new([text("REASON")].into_iter().chain(columns).chain([number("TOTAL", "packets")]).collect());
    for reason in reasons {
        let counts: Vec<u64> = ports.iter().map(|port| port.drops.get(&reason).copied().unwrap_or(0)).collect();
        let total = counts.iter().sum::<u64>();
        let cells = counts.iter().chain([&total]).map(u64::to_string);
        table.push([reason].into_iter().chain(cells).collect());
    }
    table.write("drops", out)
}

/// `show worker`.
pub fn workers(session: &mut Session<'_>, core: Option<u32>) -> Result<(), Failure> {
    let mut stats = session.stats()?;
    stats.workers.retain(|worker| core.is_none_or(|core| core == worker.core));
    let workers = found(stats.workers, "worker on core", core.as_ref().map(|core| core as _))?;
    if session.json { session.print_json(&workers) } else { Ok(write_workers(&workers, session.out)?) }
}

fn write_workers(workers: &[WorkerStats], out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new(vec![
        number("CORE", ""),
        number("GENERATION", ""),
        number("BUSY", "%"),
        number("IDLE", "%"),
        number("SLEEP", "%"),
        number("RX", "packets"),
        number("ORIGINATED", "packets"),
        number("TX", "packets"),
        number("DROPPED", "packets"),
        number("HELD", "packets"),
        number("CONSUMED", "packets"),
    ]);
    for worker in workers {
        let (busy, idle, sleep) = (worker.busy_cycles, worker.idle_cycles, worker.sleep_cycles);
        let all = u128::from(busy) + u128::from(idle) + u128::from(sleep);
        table.push(vec![
            worker.core.to_string(),
            worker.generation.to_string(),
            percent(busy, all),
            percent(idle, all),
            percent(sleep, all),
            worker.rx_packets.to_string(),
            worker.originated_packets.to_string(),
            worker.tx_packets.to_string(),
            worker.dropped_packets.to_string(),
            worker.held_packets.to_string(),
            worker.consumed_packets.to_string(),
        ]);
    }
    table.write("workers", out)
}

/// With one decimal, rounded down; `-` of nothing.
fn percent(part: u64, all: u128) -> String {
    match (u128::from(part) * 1000).checked_div(all) {
        Some(permille) => format!("{}.{}", permille / 10, permille % 10),
        None => "-".to_owned(),
    }
}

/// `show generation`.
pub fn generation(session: &mut Session<'_>) -> Result<(), Failure> {
    let stats = session.stats()?;
    if !session.json {
        return Ok(write_generation(&stats, session.out)?);
    }
    session.print_json(&json!({
        "generation": stats.generation,
        "version": stats.version,
        "api_version": stats.api_version,
        "uptime_seconds": stats.uptime_seconds,
    }))
}

fn write_generation(stats: &Stats, out: &mut dyn Write) -> io::Result<()> {
    let seconds = stats.uptime_seconds;
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    writeln!(out, "generation  {}", stats.generation)?;
    writeln!(out, "version     {} (API {})", stats.version, stats.api_version)?;
    writeln!(out, "uptime      {seconds} s ({days} d {hours:02}:{minutes:02}:{:02})", seconds % 60)
}

/// The tables, and mbufs as one more, whose entries are the buffers in use.
fn tables_and_mbufs(stats: Stats) -> BTreeMap<String, TableStats> {
    let entries = stats.mbufs.total.saturating_sub(stats.mbufs.free);
    let mut tables = stats.tables;
    tables.entry(MBUFS.to_owned()).or_insert(TableStats { entries, capacity: stats.mbufs.total });
    tables
}

/// `show table`: with -j an array of `{"table", "entries", "capacity"}`.
pub fn tables(session: &mut Session<'_>, id: Option<&Name>) -> Result<(), Failure> {
    let mut tables = tables_and_mbufs(session.stats()?);
    tables.retain(|name, _| id.is_none_or(|id| id.as_str() == name));
    let tables = found(tables.into_iter().collect(), "table", id.map(|id| id as _))?;
    if !session.json {
        return Ok(write_tables(&tables, session.out)?);
    }
    let row = |(name, t): &(String, TableStats)| json!({ "table": name, "entries": t.entries, "capacity": t.capacity });
    session.print_json(&tables.iter().map(row).collect::<Vec<_>>())
}

fn write_tables(tables: &[(String, TableStats)], out: &mut dyn Write) -> io::Result<()> {
    let mut table =
        Table::new(vec![text("TABLE"), number("ENTRIES", ""), number("CAPACITY", "entries"), number("FULL", "%")]);
    for (name, TableStats { entries, capacity }) in tables {
        let full = percent(*entries, u128::from(*capacity));
        table.push(vec![name.clone(), entries.to_string(), capacity.to_string(), full]);
    }
    table.write("tables", out)
}

/// `show event`: with -j an array of `{"event", "count"}`.
pub fn events(session: &mut Session<'_>, id: Option<&Name>) -> Result<(), Failure> {
    let mut stats = session.stats()?;
    stats.events.retain(|name, _| id.is_none_or(|id| id.as_str() == name));
    let events = found(stats.events.into_iter().collect(), "event", id.map(|id| id as _))?;
    if !session.json {
        return Ok(write_events(&events, session.out)?);
    }
    let row = |(name, count): &(String, u64)| json!({ "event": name, "count": count });
    session.print_json(&events.iter().map(row).collect::<Vec<_>>())
}

fn write_events(events: &[(String, u64)], out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new(vec![text("EVENT"), number("COUNT", "events")]);
    for (name, count) in events {
        table.push(vec![name.clone(), count.to_string()]);
    }
    table.write("events", out)
}

/// `show stats`: with -j the firmware's answer as it is.
pub fn everything(session: &mut Session<'_>) -> Result<(), Failure> {
    if session.json {
        let answer: Value = session.ask(weir_api::message::Call::Stats {})?;
        return session.print_json(&answer);
    }
    let stats = session.stats()?;
    let out = &mut *session.out;
    write_generation(&stats, out)?;
    writeln!(out)?;
    write_ports(&stats.ports, out)?;
    writeln!(out)?;
    write_drops(&stats.ports, out)?;
    writeln!(out)?;
    write_workers(&stats.workers, out)?;
    writeln!(out)?;
    write_events(&stats.events.clone().into_iter().collect::<Vec<_>>(), out)?;
    writeln!(out)?;
    Ok(write_tables(&tables_and_mbufs(stats).into_iter().collect::<Vec<_>>(), out)?)
}
