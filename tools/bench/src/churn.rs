//! The case `routes`: what it takes to configure very many routes and to change them, and what that costs the packets that
//! take them.
//!
//! Owns: the phases. Without traffic and with it, each from an empty state: all routes in batches, then one route after
//! another to another next hop, then a thousand at once, for a while each. Then a restart with all of them. The routes that
//! the traffic takes are there before it, and are those that change, so that every packet has a way at all times.

pub mod requests;

use crate::affinity::Aside;
use crate::control::look::{HeldUp, Look};
use crate::control::{BEFORE, end, first_packet, slowest, within};
use crate::interrupt::pause;
use crate::program::rpc::Prepared;
use crate::program::weir::site::{boot, port_names, tables};
use crate::program::weir::{FIRST_PCAP_MAC, Forwarding, Weir, quiet};
use crate::program::{SINK, Setting};
use crate::statistics::median;
use crate::trace::{Case, Traffic};
use anyhow::{Context, Result, ensure};
use requests::Requests;
use serde::Serialize;
use std::time::{Duration, Instant};

/// For how long single routes are changed, and for how long a thousand at once.
const CHANGING: Duration = Duration::from_secs(2);
/// Flows of the traffic.
const FLOWS: u32 = 1000;

/// How much there is to configure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Routes.
    pub routes: u32,
    /// Routes in one `apply`.
    pub batch: u32,
}

impl Extent {
    /// The traffic that takes them.
    pub fn traffic(self) -> Result<Traffic> {
        Traffic::new(Case::Route, FLOWS, FLOWS)?.with_routes(self.routes)
    }
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Configured routes, of one router.
    pub routes: u32,
    /// Routes in one `apply`.
    pub batch_routes: u32,
    /// With nothing to forward.
    pub without_traffic: Changes,
    /// With all the traffic that the worker takes.
    pub with_traffic: Changes,
    /// From the start of the process, with all routes in its state, to the first packet at the sink.
    pub restart_to_first_packet_seconds: f64,
    /// What the process grew by for each route, desired state and tables together.
    pub bytes_per_route: f64,
}

/// What changes took, and what they did to the worker.
#[derive(Clone, Debug, Serialize)]
pub struct Changes {
    /// All routes: the sum of the calls, each from the request's first byte to the answer's last.
    pub apply_seconds: f64,
    /// Routes by that time.
    pub applied_routes_per_second: f64,
    /// The slowest of those calls.
    pub slowest_batch_seconds: f64,
    /// The worker, before that.
    pub before: HeldUp,
    /// The worker, while all routes were applied.
    pub while_applying: HeldUp,
    /// One route to another next hop, over and over.
    pub one: Changing,
    /// A thousand routes at once, over and over.
    pub thousand: Changing,
}

/// The same change over and over.
#[derive(Clone, Debug, Serialize)]
pub struct Changing {
    /// Routes in one `apply`.
    pub routes: u32,
    /// How often.
    pub calls: usize,
    /// Changed routes a second, one call after another.
    pub routes_per_second: f64,
    /// A call, median.
    pub milliseconds: f64,
    /// The slowest.
    pub slowest_milliseconds: f64,
    /// The worker meanwhile.
    pub meanwhile: HeldUp,
}

/// Runs all phases in `setting`'s directory.
pub fn run(weir: &Weir, setting: &Setting, extent: Extent) -> Result<Figures> {
    let traffic = extent.traffic()?;
    let setting = Setting { traffic, ..setting.clone() };
    traffic.write(&setting.trace, 1, FIRST_PCAP_MAC)?;
    let requests = Requests::new(traffic, extent)?;
    eprintln!("routes: {} in batches of {}, without traffic", extent.routes, extent.batch);
    let quiet = quiet(&setting.directory)?;
    let (without_traffic, grown) = phase(weir, &within(&setting, "quiet")?, extent, &requests, &quiet)?;
    eprintln!("routes: the same with traffic");
    let busy = within(&setting, "busy")?;
    let (with_traffic, _) = phase(weir, &busy, extent, &requests, &setting.source())?;
    eprintln!("routes: restart");
    let restart_to_first_packet_seconds = restart(weir, &busy, extent)?;
    Ok(Figures {
        routes: extent.routes,
        batch_routes: extent.routes.min(extent.batch),
        without_traffic,
        with_traffic,
        restart_to_first_packet_seconds,
        bytes_per_route: grown as f64 / f64::from(extent.routes),
    })
}

fn begin(weir: &Weir, setting: &Setting, source: &str) -> Result<Forwarding> {
    let (source_name, sink_name) = port_names(setting.traffic.case);
    weir.begin(setting, &boot(setting, &tables(setting.traffic), &[(source_name, source), (sink_name, SINK)]))
}

/// From an empty state to all routes, and changes of them. Answers also the bytes that the process grew by for them.
fn phase(weir: &Weir, setting: &Setting, extent: Extent, requests: &Requests, source: &str) -> Result<(Changes, u64)> {
    let busy = source == setting.source();
    let mut running = begin(weir, setting, source)?;
    let _aside = Aside::from(setting.cores.worker)?;
    running.send(&requests.network)?;
    if busy {
        // So that no packet is without a way; else they would be missing from what the process grows by.
        running.send(&requests.taken)?;
        first_packet(&mut running, Instant::now())?;
    }
    // Tables are filled, and what starting left to do is done.
    pause(BEFORE / 2)?;
    let start = Look::at(&mut running)?;
    pause(BEFORE)?;
    let idle = Look::at(&mut running)?;
    let mut calls = Vec::new();
    for batch in &requests.all {
        crate::interrupt::check()?;
        calls.push(running.send(batch)?.1.as_secs_f64());
    }
    let full = Look::at(&mut running)?;
    let one = changing(&mut running, &requests.one, 1)?;
    let thousand = changing(&mut running, &requests.thousand, requests.thousand_routes)?;
    end(running, setting)?;
    let apply_seconds = calls.iter().sum();
    let changes = Changes {
        apply_seconds,
        applied_routes_per_second: f64::from(extent.routes) / apply_seconds,
        slowest_batch_seconds: slowest(&calls).context("no routes")?,
        before: HeldUp::between(&start, &idle)?,
        while_applying: HeldUp::between(&idle, &full)?,
        one,
        thousand,
    };
    Ok((changes, full.memory.saturating_sub(idle.memory)))
}

/// Sends requests, in order and from the beginning again, for a while.
fn changing(running: &mut Forwarding, requests: &[Prepared], routes: u32) -> Result<Changing> {
    let first = Look::at(running)?;
    let (start, mut calls) = (Instant::now(), Vec::new());
    for request in requests.iter().cycle() {
        calls.push(running.send(request)?.1.as_secs_f64() * 1000.0);
        if start.elapsed() > CHANGING {
            break;
        }
        crate::interrupt::check()?;
    }
    let last = Look::at(running)?;
    Ok(Changing {
        routes,
        calls: calls.len(),
        routes_per_second: calls.len() as f64 * f64::from(routes) * 1000.0 / calls.iter().sum::<f64>(),
        milliseconds: median(&calls).context("nothing was changed")?,
        slowest_milliseconds: slowest(&calls).context("nothing was changed")?,
        meanwhile: HeldUp::between(&first, &last)?,
    })
}

/// Starts it with the state that it was left with.
fn restart(weir: &Weir, setting: &Setting, extent: Extent) -> Result<f64> {
    let start = Instant::now();
    let mut running = begin(weir, setting, &setting.source())?;
    let seconds = first_packet(&mut running, start)?;
    let entries = running.stats()?.tables.get("routes").map_or(0, |table| table.entries);
    ensure!(entries == u64::from(extent.routes), "after the restart there are {entries} routes");
    end(running, setting)?;
    Ok(seconds)
}
