//! The case `control`: what changes cost while Weir holds a whole site, and what they cost those who wait for packets.
//!
//! Owns: the phases. Without traffic and with it, each from an empty state: all endpoints in batches, then one more,
//! many times. Then a restart with all of them, and the memory that learned MACs take. Nothing here needs a core that
//! is idle: the asking process only waits while Weir works.

pub mod look;
pub mod site;

use crate::affinity::Aside;
use crate::interrupt::pause;
use crate::memory::sweep;
use crate::pcap::Writer;
use crate::program::weir::{Forwarding, Weir, quiet, site::boot};
use crate::program::{Running, SINK, Setting};
use crate::statistics::median;
use crate::trace::{Case, Traffic};
use anyhow::{Context, Result, ensure};
use look::{HeldUp, Look};
use serde::Serialize;
use site::{Batches, PROBES, Scale};
use std::path::Path;
use std::time::{Duration, Instant};

/// The device behind the port that only the added endpoints are on.
const PROBE: &str = "net_null1,no-rx=1";
/// How long a first packet may take.
pub(crate) const FIRST_PACKET_TIME: Duration = Duration::from_secs(60);
/// How long Weir is watched before anything changes, to know what the machine itself does to it.
pub(crate) const BEFORE: Duration = Duration::from_secs(1);
/// Flows of the traffic beside the changes.
const FLOWS: u32 = 1000;

/// What was found. Goals are DESIGN's: 3 s, 20 ms, 1 ms, 64 bytes, 2 s.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Configured hosts.
    pub endpoints: u32,
    /// Bridges that they are spread over.
    pub bridges: u32,
    /// Endpoints in one `apply`.
    pub batch_endpoints: u32,
    /// With nothing to forward.
    pub without_traffic: Changes,
    /// With all the traffic that the worker takes.
    pub with_traffic: Changes,
    /// From the start of the process, with all endpoints in its state, to the first packet at the sink.
    pub restart_to_first_packet_seconds: f64,
    /// What the process grew by for each endpoint, desired state and tables together.
    pub bytes_per_endpoint: f64,
    /// MACs that were learned, of as many as there are endpoints.
    pub learned_macs: u64,
    /// What a process with a table for so many MACs takes more than one with a table for one, which gets the same frames,
    /// for each MAC that it learns more.
    pub bytes_per_learned_mac: f64,
}

/// What changes took, and what they did to the worker.
#[derive(Clone, Debug, Serialize)]
pub struct Changes {
    /// Bridges, segments and peers, before the endpoints.
    pub network_seconds: f64,
    /// All endpoints: the sum of the calls, each from the request's first byte to the answer's last.
    pub apply_seconds: f64,
    /// The slowest of those calls.
    pub slowest_batch_seconds: f64,
    /// One more endpoint: the call, median.
    pub one_more_milliseconds: f64,
    /// The same, the slowest.
    pub one_more_slowest_milliseconds: f64,
    /// One more endpoint: from the call to when the counters show a packet forwarded to it, median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_packet_milliseconds: Option<f64>,
    /// The same, the slowest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_packet_slowest_milliseconds: Option<f64>,
    /// The worker, before anything changed.
    pub before: HeldUp,
    /// The worker, while all endpoints were applied.
    pub while_applying: HeldUp,
    /// The worker, while one more was added and deleted over and over.
    pub while_adding: HeldUp,
}

/// Runs all phases in `setting`'s directory.
pub fn run(weir: &Weir, setting: &Setting, scale: Scale) -> Result<Figures> {
    let setting = Setting { traffic: traffic()?, ..setting.clone() };
    write_trace(&setting)?;
    let batches = Batches::new(setting.traffic, scale)?;
    eprintln!("control: {} endpoints, {} bridges, without traffic", scale.endpoints, scale.bridges);
    let quiet = quiet(&setting.directory)?;
    let (without_traffic, grown) = phase(weir, &within(&setting, "quiet")?, scale, &batches, &quiet)?;
    eprintln!("control: the same with traffic");
    let busy = within(&setting, "busy")?;
    let (with_traffic, _) = phase(weir, &busy, scale, &batches, &setting.source())?;
    eprintln!("control: restart");
    let restart_to_first_packet_seconds = restart(weir, &busy, scale, &setting.source())?;
    eprintln!("control: {} learned MACs", scale.endpoints);
    let (learned_macs, bytes_per_learned_mac) = learned(weir, &within(&setting, "learned")?, scale)?;
    Ok(Figures {
        endpoints: scale.endpoints,
        bridges: scale.bridges,
        batch_endpoints: scale.endpoints.min(site::BATCH),
        without_traffic,
        with_traffic,
        restart_to_first_packet_seconds,
        bytes_per_endpoint: grown as f64 / f64::from(scale.endpoints),
        learned_macs,
        bytes_per_learned_mac,
    })
}

/// The traffic beside the changes.
pub fn traffic() -> Result<Traffic> {
    Traffic::new(Case::VlanVxlan, FLOWS, FLOWS)
}

/// The same circumstances with a directory, and so a state, of its own.
pub(crate) fn within(setting: &Setting, name: &str) -> Result<Setting> {
    let directory = setting.directory.join(name);
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    Ok(Setting { directory, ..setting.clone() })
}

/// Every flow's frame, and one to each of the endpoints that are added later.
fn write_trace(setting: &Setting) -> Result<()> {
    let mut file = Writer::create(&setting.trace)?;
    for flow in 0..setting.traffic.flows {
        file.frame(&setting.traffic.input(flow, 0, [0; 6]))?;
    }
    for n in 0..PROBES {
        file.frame(&site::probe_frame(setting.traffic, n))?;
    }
    file.finish()
}

fn begin(weir: &Weir, setting: &Setting, scale: Scale, macs: u32, source: &str) -> Result<Forwarding> {
    let ports = [("lan0", source), ("uplink0", SINK), ("probe0", PROBE)];
    weir.begin(setting, &boot(setting, &scale.tables(macs), &ports))
}

pub(crate) fn end(running: Forwarding, setting: &Setting) -> Result<()> {
    Box::new(running).stop()?;
    sweep(&setting.file_prefix);
    Ok(())
}

/// From an empty state to all endpoints and one more. Answers also the bytes that the process grew by.
fn phase(weir: &Weir, setting: &Setting, scale: Scale, batches: &Batches, source: &str) -> Result<(Changes, u64)> {
    let busy = source == setting.source();
    let mut running = begin(weir, setting, scale, setting.traffic.macs * 2, source)?;
    let _aside = Aside::from(setting.cores.worker)?;
    let network_seconds = batches.send_network(&mut running)?;
    if busy {
        first_packet(&mut running, Instant::now())?;
    }
    // Tables are filled, and what starting left to do is done.
    pause(BEFORE / 2)?;
    let start = Look::at(&mut running)?;
    pause(BEFORE)?;
    let idle = Look::at(&mut running)?;
    let mut calls = Vec::new();
    for batch in &batches.endpoints {
        crate::interrupt::check()?;
        calls.push(running.send(batch)?.1.as_secs_f64());
    }
    let full = Look::at(&mut running)?;
    let (mut more, mut visible) = (Vec::new(), Vec::new());
    for n in 0..PROBES {
        let (added, seen) = one_more(&mut running, batches, n, busy)?;
        more.push(added);
        visible.extend(seen);
    }
    let done = Look::at(&mut running)?;
    end(running, setting)?;
    let changes = Changes {
        network_seconds,
        apply_seconds: calls.iter().sum(),
        slowest_batch_seconds: slowest(&calls).context("no endpoints")?,
        one_more_milliseconds: median(&more).context("nothing was added")?,
        one_more_slowest_milliseconds: slowest(&more).context("nothing was added")?,
        first_packet_milliseconds: median(&visible),
        first_packet_slowest_milliseconds: slowest(&visible),
        before: HeldUp::between(&start, &idle)?,
        while_applying: HeldUp::between(&idle, &full)?,
        while_adding: HeldUp::between(&full, &done)?,
    };
    Ok((changes, full.memory.saturating_sub(idle.memory)))
}

/// Adds an endpoint, waits for its first packet if packets come for it, and deletes it. Milliseconds.
fn one_more(running: &mut Forwarding, batches: &Batches, n: u32, busy: bool) -> Result<(f64, Option<f64>)> {
    let probed = |running: &mut Forwarding| -> Result<u64> {
        let stats = running.stats()?;
        Ok(stats.ports.last().context("stats shows no port")?.tx_packets)
    };
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    let before = probed(running)?;
    let start = Instant::now();
    let (_, took) = running.send(&batches.add(n)?)?;
    let mut seen = None;
    while busy && seen.is_none() {
        let forwarded = probed(running)? > before;
        seen = forwarded.then(|| milliseconds(start.elapsed()));
        ensure!(start.elapsed() < FIRST_PACKET_TIME, "no packet was forwarded to an endpoint that was added");
        crate::interrupt::check()?;
    }
    running.send(&batches.delete(n)?)?;
    Ok((milliseconds(took), seen))
}

/// Waits for a packet at the sink. Answers the seconds since `start`.
pub(crate) fn first_packet(running: &mut Forwarding, start: Instant) -> Result<f64> {
    while running.counts()?.received == 0 {
        ensure!(start.elapsed() < FIRST_PACKET_TIME, "no packet reached the sink");
        pause(Duration::from_millis(1))?;
    }
    Ok(start.elapsed().as_secs_f64())
}

/// Starts it with the state that it was left with.
fn restart(weir: &Weir, setting: &Setting, scale: Scale, source: &str) -> Result<f64> {
    let start = Instant::now();
    let mut running = begin(weir, setting, scale, setting.traffic.macs * 2, source)?;
    let seconds = first_packet(&mut running, start)?;
    let stats = running.stats()?;
    let entries = stats.tables.get("endpoints").map_or(0, |table| table.entries);
    ensure!(entries >= u64::from(scale.endpoints), "after the restart there are {entries} endpoints");
    end(running, setting)?;
    Ok(seconds)
}

/// Has it learn as many MACs as there are endpoints. Answers how many it learned, and the bytes of each: what it takes
/// more than when it gets the same frames and has room for one MAC only.
fn learned(weir: &Weir, setting: &Setting, scale: Scale) -> Result<(u64, f64)> {
    let number = scale.endpoints;
    let small = Scale { endpoints: 1, bridges: 1 };
    let traffic = Traffic::new(Case::VlanVxlan, number, number)?;
    let mut running = begin(weir, setting, small, 1, &quiet(&setting.directory)?)?;
    running.apply(site::learning(traffic)?)?;
    end(running, setting)?;

    let trace = setting.directory.join("learn.pcap");
    traffic.write(&trace, 1, [0; 6])?;
    let source = format!("net_pcap0,rx_pcap={}", trace.display());
    let run = |room: u32| -> Result<(u64, u64)> {
        let mut running = begin(weir, setting, small, room, &source)?;
        let end_time = Instant::now() + FIRST_PACKET_TIME;
        while running.counts()?.sent < u64::from(number) {
            ensure!(Instant::now() < end_time, "{number} frames did not come in");
            pause(Duration::from_millis(50))?;
        }
        let memory = running.process().memory()?;
        let learned = running.stats()?.tables.get("macs").map_or(0, |table| table.entries);
        end(running, setting)?;
        Ok((learned, memory))
    };
    let (without, with) = (run(1)?, run(number)?);
    remove(&trace)?;
    let more = with.0.checked_sub(without.0).filter(|more| *more > 0);
    let more = more.with_context(|| format!("{} MACs were learned of {number}", with.0))?;
    Ok((with.0, (with.1 as f64 - without.1 as f64) / more as f64))
}

fn remove(path: &Path) -> Result<()> {
    std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))
}

pub(crate) fn slowest(times: &[f64]) -> Option<f64> {
    times.iter().copied().max_by(f64::total_cmp)
}
