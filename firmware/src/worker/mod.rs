//! The worker: one thread on one core, from rx queues through the pipeline to tx queues.
//!
//! Owns: its queues, its gateway (learned tables and counters), and the turn: receive, process, flush; and about every
//! millisecond a tick, which is also when it hears of the manager. Between ticks it takes no lock, allocates nothing,
//! logs nothing and makes no system call; with `poll = "adaptive"` it sleeps when nothing arrives.

pub mod link;
pub mod outbox;
pub mod packet;
pub mod sharing;

use crate::config::Poll;
use link::{
    BindingDump, BindingEntry, Clear, Cycles, Link, Lookup, Lookups, MacDump, MacEntry, NeighbourAt, NeighbourDump,
    NeighbourEntry, PortCount, Report, Request, Turns,
};
use outbox::Outboxes;
use packet::{Buffers, Packet};
use sharing::Others;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use weir_pipelines::gateway::{DropReason, Gateway, Whereabouts};
use weir_pipelines::tables::{Binding, Neighbour, PortId, Snapshot};
use weir_pipelines::{Burst, Frame, Time};
use weir_pmd::{RxQueue, cycles};

/// Turns in vain before an adaptive worker sleeps.
const PATIENCE: u32 = 64;
/// The shortest and the longest sleep.
const SLEEP: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(1));
/// Facts from other workers taken over in a tick, so that none lasts long: a full queue in eight.
const NEWS: usize = 512;
/// Flushes tried when the gateway stops, a millisecond apart, before what waits is dropped.
const LAST_FLUSHES: u32 = 100;

/// Milliseconds since the process took up its work, by the TSC: the same on all cores, and never set.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    epoch: u64,
    cycles_per_ms: u64,
}

impl Clock {
    /// A clock that begins now. The EAL must run, since it has measured the TSC.
    pub fn start() -> Self {
        Self { epoch: cycles(), cycles_per_ms: (weir_pmd::cycles_per_second() / 1000).max(1) }
    }

    /// The time at a reading of the TSC.
    pub fn at(&self, cycles: u64) -> Time {
        Time::from_millis(cycles.saturating_sub(self.epoch) / self.cycles_per_ms)
    }

    /// The time now.
    pub fn now(&self) -> Time {
        self.at(cycles())
    }
}

/// What a worker is made of.
pub struct Worker {
    /// To the manager.
    pub link: Link,
    /// To the other workers.
    pub others: Others,
    /// Its rx queues, with their ports.
    pub rx: Vec<(PortId, RxQueue)>,
    /// Its ways out.
    pub out: Outboxes,
    /// Where new frames come from.
    pub pool: Buffers,
    /// Its tables and counters.
    pub gateway: Gateway<Packet>,
    /// What is in force.
    pub snapshot: Arc<Snapshot>,
    /// What to do when nothing arrives.
    pub poll: Poll,
    /// The process's time.
    pub clock: Clock,
    /// Frames received, by port.
    pub received: Vec<PortCount>,
    /// Where its time went.
    pub cycles: Cycles,
    /// How long its turns took.
    pub turns: Turns,
    /// What takes several turns.
    pub errand: Option<Errand>,
}

/// What takes several turns.
pub enum Errand {
    /// To hand out the learned MACs.
    Macs(Box<MacDump>),
    /// To hand out the learned bindings.
    Bindings(Box<BindingDump>),
    /// To forget what was learned.
    Clear(Box<Clear>),
}

impl Worker {
    /// Forwards until told to stop; then sends what it can, drops the rest, and ends.
    pub fn run(mut self) {
        self.link.generation.store(self.snapshot.generation, Ordering::Release);
        let mut before = cycles();
        let mut now = self.clock.at(before);
        let mut next_tick = 0;
        let mut vain = 0;
        loop {
            let received = self.turn(now);
            let after = cycles();
            // The turn, and what came before it since the last one: a tick, a change taken over, a page of an errand.
            let took = after.wrapping_sub(before);
            self.turns.note(took, self.clock.cycles_per_ms);
            if received > 0 {
                self.cycles.busy += took;
                vain = 0;
            } else {
                self.cycles.idle += took;
                vain = u32::saturating_add(vain, 1);
            }
            before = after;
            if after >= next_tick {
                next_tick = after + self.clock.cycles_per_ms;
                now = self.clock.at(after);
                if self.link.stop.load(Ordering::Acquire) {
                    break;
                }
                self.tick(now);
            }
            match self.errand.take() {
                Some(Errand::Macs(dump)) => self.page(dump, now),
                Some(Errand::Bindings(dump)) => self.page_bindings(dump, now),
                Some(Errand::Clear(clear)) => self.forget(clear, now),
                None => {}
            }
            if vain > PATIENCE && self.poll == Poll::Adaptive && self.errand.is_none() {
                std::thread::sleep(nap(vain));
                before = cycles();
                self.cycles.sleep += before.wrapping_sub(after);
            }
        }
        self.end();
    }

    /// Takes a burst from every rx queue all the way.
    #[inline]
    fn turn(&mut self, now: Time) -> usize {
        let mut total = 0;
        for (port, queue) in &mut self.rx {
            let mut burst: Burst<Packet> = Burst::new();
            let received = queue.receive(&mut burst);
            if received == 0 {
                continue;
            }
            let mut bytes = 0;
            for packet in &burst {
                packet.prefetch();
                bytes += packet.len() as u64;
            }
            if let Some(count) = self.received.get_mut(port.index()) {
                count.rx_packets += received as u64;
                count.rx_bytes += bytes;
            }
            self.gateway.process(&self.snapshot, now, *port, &mut burst, &mut self.pool, &mut self.out);
            total += received;
        }
        self.out.flush();
        total
    }

    /// What is due by time, and what the manager wants.
    fn tick(&mut self, now: Time) {
        self.adopt();
        self.tell_others(now);
        self.hear(NEWS, now);
        self.gateway.tick(&self.snapshot, now, &mut self.pool, &mut self.out);
        self.notify();
        self.count_unsendable();
        match self.link.requests.pop() {
            Some(Request::Report(report)) => self.report(report),
            Some(Request::Neighbours(dump)) => self.neighbours(dump),
            Some(Request::Macs(dump)) => self.errand = Some(Errand::Macs(dump)),
            Some(Request::Bindings(dump)) => self.errand = Some(Errand::Bindings(dump)),
            Some(Request::Clear(clear)) => self.errand = Some(Errand::Clear(clear)),
            Some(Request::Lookups(lookups)) => self.look_up(lookups, now),
            None => {}
        }
        self.link.heartbeat.store(now.millis(), Ordering::Relaxed);
    }

    /// Takes the newest snapshot in force, if there is room to give the old one back.
    fn adopt(&mut self) {
        if self.link.retired.is_full() {
            return;
        }
        if let Some(next) = self.link.mailbox.pop() {
            let old = std::mem::replace(&mut self.snapshot, next);
            // There is room, and only this worker puts something in.
            let _ = self.link.retired.push(old);
            self.link.generation.store(self.snapshot.generation, Ordering::Release);
        }
    }

    /// A frame that a device can never take was counted as sent; it is dropped.
    fn count_unsendable(&mut self) {
        for (n, outbox) in self.out.iter_mut().enumerate() {
            for _ in 0..outbox.take_unsendable() {
                self.gateway.counters_mut().drop(PortId(n as u16), DropReason::MtuExceeded);
            }
        }
    }

    fn report(&mut self, mut report: Box<Report>) {
        report.counters.copy_from(self.gateway.counters());
        report.ports.copy_from_slice(&self.received);
        report.sent = 0;
        report.held = self.gateway.held() as u64;
        for (outbox, port) in self.out.iter().zip(&mut report.ports) {
            report.sent += outbox.accepted();
            report.held += outbox.waiting() as u64;
            (port.tx_packets, port.tx_bytes) = outbox.sent();
        }
        report.generation = self.snapshot.generation;
        report.cycles = self.cycles;
        report.turns = self.turns;
        report.cycles_per_ms = self.clock.cycles_per_ms;
        report.macs = self.gateway.macs().len() as u64;
        report.macs_capacity = self.gateway.macs().capacity() as u64;
        report.bindings = self.gateway.bindings().len() as u64;
        report.neighbours = self.gateway.neighbours().entries().len() as u64;
        report.hosts = self.gateway.hosts().entries().len() as u64;
        report.learned_peers = self.gateway.peers().learned() as u64;
        self.answer(Request::Report(report));
    }

    fn neighbours(&mut self, mut dump: Box<NeighbourDump>) {
        dump.entries.clear();
        let room = dump.entries.capacity();
        let underlay = self.gateway.neighbours().entries().iter();
        let underlay = underlay.map(|entry| neighbour(NeighbourAt::Port(entry.link.port), entry));
        let hosts = self.gateway.hosts().entries().iter();
        let hosts = hosts.map(|entry| neighbour(NeighbourAt::Net(entry.link), entry));
        // No more than the manager has made room for.
        dump.entries.extend(underlay.chain(hosts).take(room));
        self.answer(Request::Neighbours(dump));
    }

    /// What is known of a few things. There is room for all of it.
    fn look_up(&self, mut lookups: Box<Lookups>, now: Time) {
        let Lookups { asked, macs, bindings, neighbours, .. } = &mut *lookups;
        for one in asked.iter() {
            match *one {
                Lookup::Mac(bridge, mac) => {
                    let known = self.gateway.learned_at(&self.snapshot, bridge, mac, now);
                    let entry = |(at, age): (Whereabouts, u16)| MacEntry {
                        bridge,
                        mac,
                        segment: at.segment,
                        peer: at.peer,
                        age,
                    };
                    macs.extend(known.map(entry));
                }
                Lookup::Binding(bridge, address) => {
                    bindings.extend(self.gateway.bindings().get(bridge, address, now.seconds()).map(binding));
                }
                Lookup::Hop(port, address) => {
                    let entry = self.gateway.neighbours().get(port.0, address);
                    neighbours.extend(entry.map(|entry| neighbour(NeighbourAt::Port(port), entry)));
                }
                Lookup::Host(bridge, address) => {
                    let entry = self.gateway.hosts().get(bridge.0, address);
                    neighbours.extend(entry.map(|entry| neighbour(NeighbourAt::Net(entry.link), entry)));
                }
            }
        }
        self.answer(Request::Lookups(lookups));
    }

    /// One page of the learned MACs, and the answer if it was the last.
    fn page(&mut self, mut dump: Box<MacDump>, now: Time) {
        let (gateway, snapshot) = (&self.gateway, &self.snapshot);
        let MacDump { entries, cursor, complete, .. } = &mut *dump;
        let next = gateway.macs().page(*cursor, |bridge, mac, learned| {
            if entries.len() == entries.capacity() {
                *complete = false;
                return;
            }
            let peer = learned.place.peer().and_then(|ix| gateway.peers().peer(snapshot, ix));
            let age = learned.age(now.seconds());
            entries.push(MacEntry { bridge, mac, segment: learned.place.segment(), peer, age });
        });
        match next {
            Some(at) if *complete => {
                *cursor = at;
                self.errand = Some(Errand::Macs(dump));
            }
            _ => self.answer(Request::Macs(dump)),
        }
    }

    /// The same of the learned bindings.
    fn page_bindings(&mut self, mut dump: Box<BindingDump>, now: Time) {
        let BindingDump { entries, cursor, complete, .. } = &mut *dump;
        let next = self.gateway.bindings().page(*cursor, now.seconds(), |known| {
            if entries.len() == entries.capacity() {
                *complete = false;
                return;
            }
            entries.push(binding(known));
        });
        match next {
            Some(at) if *complete => {
                *cursor = at;
                self.errand = Some(Errand::Bindings(dump));
            }
            _ => self.answer(Request::Bindings(dump)),
        }
    }

    /// One page of what is to be forgotten, and the answer if it was the last. Facts that waited come first, and those
    /// not told yet are not told any more: neither brings back what is forgotten.
    fn forget(&mut self, mut clear: Box<Clear>, now: Time) {
        self.others.withdraw(|fact| clear.what.covers(fact));
        let facts = clear.facts.unwrap_or_else(|| self.link.news.len());
        clear.facts = Some(facts.saturating_sub(NEWS));
        self.hear(facts.min(NEWS), now);
        if facts > NEWS {
            self.errand = Some(Errand::Clear(clear));
            return;
        }
        let (cleared, next) = self.gateway.clear(&self.snapshot, clear.what, clear.cursor);
        clear.cleared += cleared;
        match next {
            Some(at) => {
                clear.cursor = at;
                self.errand = Some(Errand::Clear(clear));
            }
            None => self.answer(Request::Clear(clear)),
        }
    }

    /// If the manager has not taken earlier answers, it has given up on them: this one is freed here.
    fn answer(&self, request: Request) {
        let _ = self.link.answers.force_push(request);
    }

    /// Sends what it can, drops the rest, and checks that every frame is accounted for.
    fn end(&mut self) {
        self.gateway.stop();
        for _ in 0..LAST_FLUSHES {
            self.out.flush();
            if self.out.iter().all(|outbox| outbox.waiting() + outbox.relayed() == 0) {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.count_unsendable();
        let mut sent = 0;
        for (n, outbox) in self.out.iter_mut().enumerate() {
            let (own, others) = outbox.abandon();
            if others > 0 {
                log::warn!(
                    "worker on core {}: {others} frames of other workers were not sent at the end",
                    self.link.core
                );
            }
            for _ in 0..own {
                self.gateway.counters_mut().drop(PortId(n as u16), DropReason::Stopped);
            }
            sent += outbox.accepted();
        }
        let counters = self.gateway.counters();
        let came = counters.received + counters.originated;
        let went = sent + counters.dropped_total() + counters.consumed;
        if came != went {
            let core = self.link.core;
            log::error!(
                "worker on core {core}: {came} frames came or were made, but {went} were sent, dropped or consumed"
            );
            self.link.unbalanced.store(true, Ordering::Release);
        }
    }
}

fn binding(known: Binding) -> BindingEntry {
    let Binding { bridge, address, mac, sequence, age, manners, .. } = known;
    BindingEntry { bridge, address, mac, sequence, age, manners }
}

fn neighbour<L>(at: NeighbourAt, entry: &Neighbour<L>) -> NeighbourEntry {
    let &Neighbour { address, mac, state, held, .. } = entry;
    NeighbourEntry { at, address, mac, state, held: u64::from(held) }
}

/// Longer, the longer nothing came.
fn nap(vain: u32) -> Duration {
    (SLEEP.0 * vain.saturating_sub(PATIENCE)).min(SLEEP.1)
}
