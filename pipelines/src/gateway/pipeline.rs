//! The way of a burst, every step visible. A step is a file of its name.
//!
//! Three passes over the burst, so that memory latency overlaps: take every frame apart; read the cache lines where
//! their entries are; then learn, decide, rewrite and send, frame by frame.

use super::counters::{Counters, DropReason};
use super::decide::Decision;
use super::flap::Movers;
use super::ingress::Arrival;
use super::learn::Fact;
use super::meter::Meter;
use super::notice::{Notice, Notices};
use super::parse::{Note, Parsed};
use super::resolve::Held;
use super::snoop::BINDING_OFFERS;
use super::tunnels::{Key4, Key6, Tunnels};
use crate::tables::{BindingTable, MacTable, NeighbourTable, PeerTable, PortId, Secret, Snapshot};
use crate::{BURST, Burst, Egress, Frame, Pool, Time};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;
use core::hint::black_box;

/// Next hops offered to the other workers in a tick at most.
const NEIGHBOUR_OFFERS: u32 = 64;

/// How large a worker's tables are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bridges: their numbers are below this, at most 65,536.
    pub bridges: usize,
    /// Learned MACs.
    pub macs: usize,
    /// Learned bindings, below 2^32.
    pub bindings: usize,
    /// Configured peers: their numbers are below this.
    pub peers: usize,
    /// Peers that are not configured, and have learned MACs behind them.
    pub learned_peers: usize,
    /// Next hops on the underlay.
    pub neighbours: usize,
    /// Frames that wait for next hops to resolve, in all.
    pub held: usize,
    /// Whether there are other workers to share what is learned with.
    pub shared: bool,
}

impl Default for Limits {
    /// A gateway of middling size: 64k bridges, a million MACs.
    fn default() -> Self {
        Self {
            bridges: 65_536,
            macs: 1 << 20,
            bindings: 1 << 20,
            peers: 16_384,
            learned_peers: 16_384,
            neighbours: 4096,
            held: 512,
            shared: false,
        }
    }
}

/// One worker's gateway: its learned tables, its counters, the frames that wait.
pub struct Gateway<F> {
    pub(super) macs: MacTable,
    pub(super) bindings: BindingTable,
    pub(super) peers: PeerTable,
    pub(super) tunnels4: Tunnels<Key4>,
    pub(super) tunnels6: Tunnels<Key6>,
    pub(super) neighbours: NeighbourTable,
    pub(super) held: Held<F>,
    pub(super) counters: Counters,
    pub(super) meter: Meter,
    pub(super) movers: Movers,
    pub(super) notices: Notices,
    pub(super) offers: VecDeque<Fact>,
    pub(super) shared: bool,
    /// How many next hops may still be offered in this tick.
    pub(super) neighbour_offers: u32,
    /// How many bindings may.
    pub(super) binding_offers: u32,
    /// Frames that go nowhere, freed together at the end of a burst.
    pub(super) refused: Burst<F>,
    /// What is known of each frame of the burst.
    lanes: Box<[Parsed]>,
}

impl<F: Frame> Gateway<F> {
    /// A gateway that has learned nothing. `secret` is the snapshot's: a MAC is hashed once for all tables.
    pub fn new(secret: Secret, ports: usize, limits: Limits) -> Self {
        Self {
            macs: MacTable::new(secret, limits.macs, limits.bridges),
            bindings: BindingTable::new(secret, limits.bindings, limits.bridges),
            peers: PeerTable::new(secret, limits.peers, limits.learned_peers),
            tunnels4: Tunnels::new(),
            tunnels6: Tunnels::new(),
            neighbours: NeighbourTable::new(secret, limits.neighbours),
            held: Held::new(limits.held),
            counters: Counters::new(ports),
            meter: Meter::new(secret, limits.bridges, ports),
            movers: Movers::new(limits.macs),
            notices: Notices::new(),
            offers: VecDeque::with_capacity(super::learn::OFFERS),
            shared: limits.shared,
            neighbour_offers: NEIGHBOUR_OFFERS,
            binding_offers: BINDING_OFFERS,
            refused: Burst::new(),
            lanes: vec![Parsed::default(); BURST].into(),
        }
    }

    /// Takes a burst that came in on a port all the way. The burst is empty afterwards: every frame was sent, dropped
    /// for a counted reason, or waits for its next hop.
    pub fn process<P: Pool<Frame = F>>(
        &mut self,
        snapshot: &Snapshot,
        now: Time,
        port: PortId,
        burst: &mut Burst<F>,
        pool: &mut P,
        out: &mut impl Egress<F>,
    ) {
        self.counters.received += burst.len() as u64;
        let mut lanes = core::mem::take(&mut self.lanes);
        let mut arrivals = heapless::Vec::<Arrival, BURST>::new();
        for (frame, lane) in burst.iter_mut().zip(lanes.iter_mut()) {
            // There are as many lanes, and as much room here, as a burst has frames.
            let mut arrival = self.ingress(snapshot, port, frame, lane);
            if arrival == Arrival::Bridged && lane.is_noted() {
                arrival = self.examine(snapshot, now, port, frame, lane);
            }
            let _ = arrivals.push(arrival);
        }
        self.fetch(snapshot, &lanes[..arrivals.len()]);
        let seconds = now.seconds();
        for (arrival, lane) in arrivals.iter_mut().zip(lanes.iter()) {
            if *arrival == Arrival::Bridged
                && let Err(reason) = self.learn(snapshot, lane, port, now, seconds)
            {
                *arrival = Arrival::Dropped(reason);
            }
        }
        let mut decisions = heapless::Vec::<Decision<'_>, BURST>::new();
        for (arrival, lane) in arrivals.iter().zip(lanes.iter()) {
            let _ = decisions.push(match arrival {
                Arrival::Bridged if lane.inner.note != Note::None => Decision::Suppress,
                Arrival::Bridged => self.decide(snapshot, lane, seconds),
                Arrival::Local(rest_at) => Decision::Local(*rest_at),
                Arrival::Consumed => Decision::Consume,
                Arrival::Dropped(reason) => Decision::Drop(*reason),
            });
        }
        let mut turn = Turn { snapshot, now, port, pool, out };
        for ((frame, decision), lane) in burst.drain(..).zip(&decisions).zip(lanes.iter()) {
            self.carry_out(&mut turn, frame, lane, *decision);
        }
        self.lanes = lanes;
        pool.free(&mut self.refused);
    }

    /// Does with a frame what was decided.
    #[inline(always)]
    pub(super) fn carry_out<P, E>(&mut self, turn: &mut Turn<'_, P, E>, frame: F, lane: &Parsed, decision: Decision<'_>)
    where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        match decision {
            Decision::Forward(place, segment) => self.forward(turn, frame, lane, place, segment),
            Decision::Flood(class) => self.flood(turn, frame, lane, class),
            Decision::Local(rest_at) => self.local(turn, frame, usize::from(rest_at)),
            Decision::Suppress => self.suppress(turn, frame, lane),
            Decision::Consume => self.consume(frame),
            Decision::Drop(reason) => self.refuse(turn.port, frame, reason),
        }
    }

    /// Reads the cache lines in which the burst's entries most likely are, all before any is needed: the loads do not
    /// depend on each other, so the processor has them under way together.
    #[inline]
    fn fetch(&self, snapshot: &Snapshot, lanes: &[Parsed]) {
        let endpoints = snapshot.endpoint_count() > 0;
        let mut sum = 0u64;
        // The lane of a frame that was dropped holds an older one's hashes: a read in vain, and a branch saved.
        for lane in lanes {
            // Where there are endpoints, most destinations are: the table of learned ones is asked for the others.
            sum ^= self.macs.touch(lane.from_hash);
            sum ^= if endpoints { snapshot.touch_endpoint(lane.to_hash) } else { self.macs.touch(lane.to_hash) };
        }
        black_box(sum);
    }

    /// What is due by time, not by frames: next hops to ask again, entries to forget. Called about every millisecond.
    pub fn tick<P: Pool<Frame = F>>(&mut self, snapshot: &Snapshot, now: Time, pool: &mut P, out: &mut impl Egress<F>) {
        let mut turn = Turn { snapshot, now, port: PortId(0), pool, out };
        self.resolve_due(&mut turn);
        self.probe_due(&mut turn);
        self.forget(snapshot, now);
        (self.neighbour_offers, self.binding_offers) = (NEIGHBOUR_OFFERS, BINDING_OFFERS);
        pool.free(&mut self.refused);
    }

    /// Drops the frames that wait, since no answer will be heard any more.
    pub fn stop(&mut self) {
        self.held.drop_all(&mut self.counters);
    }

    /// The counters.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The counters, for what happens to frames once they left the pipeline.
    pub fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }

    /// Says whether somebody watches: only then are there notices.
    pub fn watch(&mut self, watched: bool) {
        self.notices.watch(watched);
    }

    /// What happened, oldest first.
    pub fn next_notice(&mut self) -> Option<Notice> {
        self.notices.next()
    }

    /// Gives a notice back that found no room elsewhere.
    pub fn return_notice(&mut self, notice: Notice) {
        self.notices.give_back(notice);
    }

    /// How many notices found no room since this was last asked.
    pub fn take_lost_notices(&mut self) -> u64 {
        self.notices.take_lost()
    }

    /// The learned MACs.
    pub fn macs(&self) -> &MacTable {
        &self.macs
    }

    /// The learned bindings.
    pub fn bindings(&self) -> &BindingTable {
        &self.bindings
    }

    /// The remote tunnel endpoints.
    pub fn peers(&self) -> &PeerTable {
        &self.peers
    }

    /// The next hops on the underlay.
    pub fn neighbours(&self) -> &NeighbourTable {
        &self.neighbours
    }

    /// How many frames wait for their next hop, in all.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// How many frames wait for a next hop.
    pub fn held_for(&self, neighbour: usize) -> usize {
        self.neighbours.entries().get(neighbour).map_or(0, |n| n.held as usize)
    }

    /// Ends a frame that taught this worker something.
    #[cold]
    pub(super) fn consume(&mut self, frame: F) {
        self.counters.consumed += 1;
        // Freed with those that were refused.
        drop(self.refused.push(frame));
    }

    /// Drops a frame for a reason.
    #[inline]
    pub(super) fn refuse(&mut self, port: PortId, frame: F, reason: DropReason) {
        self.counters.drop(port, reason);
        // More than a burst only if floods are refused too: those are freed one by one.
        drop(self.refused.push(frame));
    }
}

/// What a step needs of the world, besides the gateway's own tables.
pub(super) struct Turn<'a, P, E> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) now: Time,
    /// The port that the frame came in on.
    pub(super) port: PortId,
    pub(super) pool: &'a mut P,
    pub(super) out: &'a mut E,
}
