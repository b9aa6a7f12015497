//! The manager: the desired state, what it means for the packet path, and who asks.
//!
//! Owns: one thread that takes calls one by one; the order validate → translate → persist → publish → answer; telling
//! those who watch what happens; watching that workers live. Read in this order: [`configuration`], [`batch`], [`rules`],
//! [`translate`], [`crew`].

pub mod batch;
mod claims;
pub mod configuration;
pub mod crew;
pub mod desired;
mod facts;
pub mod key;
pub mod numbers;
pub mod pages;
mod reach;
mod routing;
pub mod rules;
pub mod table;
#[cfg(test)]
mod tests;
mod trace;
pub mod translate;
pub mod views;
pub mod watch;

use crate::config::Tables;
use crate::rpc::{Answer, Job};
use crate::store::Store;
use crate::worker::link::Link;
use batch::fault;
use configuration::Configuration;
use crew::Crew;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use views::PortFacts;
use watch::Watchers;
use weir_api::event::Event;
use weir_api::message::{
    Applied, Apply, Call, Clear, Clearable, Cleared, ClearedWorker, Error, List, Noun, Page, Watch, code,
};
use weir_api::view::{MbufStats, Stats};
use weir_pipelines::gateway::Forget;
use weir_pipelines::wire::MacAddr;

/// Between two looks at links.
const LINKS: Duration = Duration::from_millis(500);

/// The manager's state. It has no thread of its own: [`Manager::take`] is called in a loop.
pub struct Manager {
    configuration: Configuration,
    limits: Tables,
    store: Option<Store>,
    crew: Crew,
    ports: Vec<PortFacts>,
    pool: Option<weir_pmd::Mempool>,
    started: Instant,
    /// A list whose next page may be asked for.
    kept: Option<facts::Kept>,
    links_seen: Option<Instant>,
    links_down: u64,
    watchers: Watchers,
}

impl Manager {
    /// A manager of a configuration that is in force. Without a store, what it applies is not kept.
    pub fn new(
        configuration: Configuration,
        limits: Tables,
        store: Option<Store>,
        crew: Crew,
        ports: Vec<PortFacts>,
        pool: Option<weir_pmd::Mempool>,
    ) -> Self {
        let (started, kept, links_seen, links_down) = (Instant::now(), None, None, 0);
        Self {
            configuration,
            limits,
            store,
            crew,
            ports,
            pool,
            started,
            kept,
            links_seen,
            links_down,
            watchers: Watchers::default(),
        }
    }

    /// The workers.
    pub fn crew(&mut self) -> &mut Crew {
        &mut self.crew
    }

    /// Waits for a call, no longer than `pause`, and answers it; then does what is due. False if no call can come any
    /// more.
    pub fn take(&mut self, jobs: &Receiver<Job>, pause: Duration) -> bool {
        match jobs.recv_timeout(pause) {
            Ok(Job { call, reply }) => {
                let answer = self.answer(call);
                // A client that left does not hear its answer.
                let _ = reply.send(answer);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        self.due();
        true
    }

    fn due(&mut self) {
        self.crew.free_retired();
        self.tell_watchers();
        if self.kept.as_ref().is_some_and(facts::Kept::is_old) {
            self.kept = None;
        }
        if self.links_seen.is_none_or(|seen| seen.elapsed() > LINKS) {
            self.links_seen = Some(Instant::now());
            self.watch_links();
        }
    }

    /// Logs and counts links that went down or came back.
    fn watch_links(&mut self) {
        for PortFacts { row, control } in &mut self.ports {
            let Some(Ok(link)) = control.as_ref().map(weir_pmd::PortControl::link) else { continue };
            if row.link_up && !link.up {
                log::warn!("port {}: link down", row.name);
                self.links_down += 1;
            } else if !row.link_up && link.up {
                log::info!("port {}: link up", row.name);
            }
            if row.link_up != link.up {
                let event = if link.up { Event::LinkUp } else { Event::LinkDown };
                self.watchers.tell(event, |told| told.port = Some(row.name.clone()));
            }
            row.link_up = link.up;
        }
    }

    /// Tells those who watch what the workers did since the last time.
    fn tell_watchers(&mut self) {
        for (core, stuck) in self.crew.take_turned() {
            let event = if stuck { Event::WorkerStuck } else { Event::WorkerMoves };
            self.watchers.tell(event, |row| row.worker = Some(core));
        }
        self.watchers.relay(&self.crew, &self.configuration, &self.ports);
    }

    /// A stream of what happens from now on.
    fn watch(&mut self, wanted: Watch) -> Result<Answer, Error> {
        pages::named_bridge(self.configuration.desired(), wanted.bridge.as_deref())?;
        let stream = self.watchers.add(wanted);
        // Workers begin to note at their next tick, which is no later than the answer is read.
        self.watchers.relay(&self.crew, &self.configuration, &self.ports);
        Ok(Answer::Watching { watching: true, stream: Some(stream) })
    }

    /// Lets the workers forget what they learned.
    fn clear(&mut self, clear: &Clear) -> Result<Cleared, Error> {
        pages::named_bridge(self.configuration.desired(), Some(&clear.bridge))?;
        let names = self.configuration.translator().bridge_names();
        let number = names.iter().find(|(_, name)| name.as_str() == clear.bridge).map(|(number, _)| *number);
        let what = match (clear.what, number) {
            (_, None) => return Ok(Cleared::default()),
            (Clearable::Mac, Some(bridge)) => match clear.address {
                None => Forget::Macs(bridge, clear.mac.map(|mac| MacAddr(mac.octets()))),
                Some(address) => {
                    let why = "a MAC is named by itself, not by an address";
                    return Err(fault(code::INVALID_PARAMS, why, "address", address));
                }
            },
            (Clearable::Binding, Some(bridge)) => match clear.mac {
                None => Forget::Bindings(bridge, clear.address),
                Some(mac) => {
                    let why = "a binding is named by its address, not by a MAC";
                    return Err(fault(code::INVALID_PARAMS, why, "mac", mac));
                }
            },
        };
        self.kept = None;
        let cleared = self.crew.clear(what)?;
        let row = |(link, cleared): (&Link, u64)| ClearedWorker { core: link.core, cleared };
        Ok(Cleared { workers: self.crew.links().iter().zip(cleared).map(row).collect() })
    }

    /// Answers a call.
    ///
    /// # Errors
    /// As the RPC reference says for each method.
    pub fn answer(&mut self, call: Call) -> Result<Answer, Error> {
        match call {
            Call::Apply(apply) => self.apply(apply).map(Answer::Applied),
            Call::Get(key) => self.configuration.get(key.kind, &key.id).map(Answer::Object),
            Call::List(list) => self.list(&list).map(Answer::Page),
            Call::Stats {} => self.stats().map(|stats| Answer::Stats(Box::new(stats))),
            Call::Watch(watch) => self.watch(watch),
            Call::Clear(clear) => self.clear(&clear).map(Answer::Cleared),
            Call::Trace(wanted) => {
                let traced = trace::answer(&self.configuration, &mut self.crew, &self.limits, &wanted);
                traced.map(|traced| Answer::Traced(Box::new(traced)))
            }
        }
    }

    fn apply(&mut self, apply: Apply) -> Result<Applied, Error> {
        let before = self.configuration.generation();
        let store = &mut self.store;
        let mut applied = self.configuration.apply(apply, |changes, state, generation| match store {
            Some(store) => store.commit(changes, state, generation).map_err(|e| {
                log::error!("{e}");
                Error { code: code::INTERNAL, message: format!("nothing changed: {e}"), data: None }
            }),
            None => Ok(()),
        })?;
        if self.configuration.generation() == before {
            return Ok(applied);
        }
        self.kept = None;
        for core in self.crew.publish(self.configuration.snapshot()) {
            let late = format!("the worker on core {core} does not forward by generation {} yet", applied.generation);
            log::error!("{late}");
            applied.warnings.push(late);
        }
        let (added, changed, deleted) = (applied.added.len(), applied.changed.len(), applied.deleted.len());
        self.watchers.tell(Event::Applied, |row| row.generation = Some(applied.generation));
        log::info!("generation {}: {added} added, {changed} changed, {deleted} deleted", applied.generation);
        Ok(applied)
    }

    fn list(&mut self, list: &List) -> Result<Page, Error> {
        let kind = pages::kind(list.of);
        match list.of {
            // Hosts that routers know are of a router.
            Noun::Neighbour => pages::no_view(list)?,
            _ if kind.is_none() => pages::no_routing(list)?,
            _ => {}
        }
        match (kind, list.of) {
            (Some(kind), _) => pages::objects(&self.configuration, kind, list),
            (None, Noun::Mac | Noun::Binding) => {
                facts::list(&self.configuration, &mut self.crew, self.ports.len(), list, &mut self.kept)
            }
            (None, Noun::Flood) => facts::floods(&self.configuration, list),
            (None, _) => self.list_neighbours(list),
        }
    }

    /// Few enough for a page: a cursor is the number of the row.
    fn list_neighbours(&mut self, list: &List) -> Result<Page, Error> {
        let limit = pages::limit(list)?;
        pages::no_facts(list)?;
        pages::bridge(self.configuration.desired(), list)?;
        pages::named_router(self.configuration.desired(), list)?;
        let after = list.after.as_deref().map(str::parse::<usize>).transpose();
        let after = after
            .map_err(|e| fault(code::INVALID_PARAMS, e.to_string(), "after", list.after.as_deref().unwrap_or("")))?;
        let room = self.limits.neighbours.saturating_add(self.limits.hosts);
        let entries = self.crew.neighbours(room as usize)?;
        let interfaces = self.configuration.translator().interface_ids();
        let by_worker = self.crew.links().iter().zip(&entries);
        let rows = by_worker.flat_map(|(link, all)| views::neighbours(&self.ports, &interfaces, link.core, all));
        let is = |wanted: &Option<String>, is: &Option<String>| wanted.is_none() || wanted == is;
        let rows = rows.filter(|row| is(&list.bridge, &row.bridge) && is(&list.router, &row.router));
        let rows = rows.enumerate().skip(after.map_or(0, |n| n.saturating_add(1)));
        Ok(pages::page(
            self.configuration.generation(),
            limit,
            rows.map(|(n, row)| (n.to_string(), serde_json::json!(row))),
        ))
    }

    fn stats(&mut self) -> Result<Stats, Error> {
        let reports = self.crew.reports(self.ports.len())?;
        let cores: Vec<u32> = self.crew.links().iter().map(|l| l.core).collect();
        let mut stats = Stats {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            api_version: weir_api::VERSION,
            generation: self.configuration.generation(),
            uptime_seconds: self.started.elapsed().as_secs(),
            tables: views::tables(&self.configuration, &self.limits, &reports),
            ..Stats::default()
        };
        views::add_reports(&mut stats, &self.ports, &cores, &reports);
        stats.events.insert("worker_stuck".to_owned(), self.crew.stood_still);
        stats.events.insert("link_down".to_owned(), self.links_down);
        if let Some(pool) = &self.pool {
            stats.mbufs = MbufStats { free: u64::from(pool.available()), total: u64::from(pool.total()) };
        }
        Ok(stats)
    }
}
