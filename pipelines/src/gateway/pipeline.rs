//! The way of a burst, every step visible. A step is a file of its name.
//!
//! Three passes over the burst, so that memory latency overlaps: take every frame apart; look up, all together, where its like
//! went, and learn and decide for those of which nothing is known yet in this second; rewrite and send, frame by frame.

use super::advertise::Advertising;
use super::counters::{Counters, DropReason};
use super::decide::Decision;
use super::flap::Movers;
use super::hosts::{HOSTS_SHARE, WAITING, Waiting};
use super::ingress::is_for_a_gateway;
use super::learn::Fact;
use super::meter::{Class, Meter};
use super::notice::{Notice, Notices};
use super::parse::Routed;
use super::parse::{Note, Parsed};
use super::refer::Rates;
use super::resolve::Held;
use super::snoop::Allowance;
use super::trace::{Record, Step};
use super::tunnels::Tunnels;
use super::ways::Ways;
use crate::tables::Place;
use crate::tables::{
    BindingTable, BridgeId, FlowTable, HopTable, Known, MacTable, NeighbourTable, Net, PeerTable, PortId, Secret,
    Snapshot, Underlay,
};
use crate::wire::MacAddr;
use crate::{BURST, Burst, Egress, Frame, Pool, Time};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;
use core::hint::black_box;

/// Next hops offered to the other workers in a tick at most.
const NEIGHBOUR_OFFERS: u32 = 64;

/// For so many seconds, a power of two, what was found out about packets for routers holds if nothing changes: less than the shortest
/// time in which a MAC or a binding ages.
const HOP_SECONDS: u64 = 4;

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
    /// Frames that wait for next hops to resolve, in all; and as many again that wait for hosts on routed bridges.
    pub held: usize,
    /// Hosts on routed bridges that are looked after.
    pub hosts: usize,
    /// Pairs of addresses whose way through a router is remembered.
    pub hops: usize,
    /// Routers: their numbers are below this, at most 65,536.
    pub routers: usize,
    /// Whether it is this worker that advertises the routers.
    pub leads: bool,
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
            hosts: 65_536,
            hops: 1 << 21,
            routers: 65_536,
            leads: true,
            shared: false,
        }
    }
}

/// One worker's gateway: its learned tables, its counters, the frames that wait.
pub struct Gateway<F> {
    pub(super) macs: MacTable,
    pub(super) bindings: BindingTable,
    pub(super) peers: PeerTable,
    /// Where frames between known hosts went in this second.
    flows: FlowTable,
    /// How packets between known addresses went through a router in this second.
    hops: HopTable,
    pub(super) ways: Ways,
    pub(super) tunnels: Tunnels,
    pub(super) neighbours: NeighbourTable<Underlay>,
    pub(super) held: Held<(PortId, F)>,
    /// Hosts on routed bridges, and next hops of routers.
    pub(super) hosts: NeighbourTable<Net>,
    pub(super) waiting: Held<Waiting<F>>,
    /// How many of them are for hosts on which bridge, and the most that may be.
    pub(super) waiting_of: Box<[u16; WAITING]>,
    pub(super) waiting_share: usize,
    /// What routers may still tell in this second.
    pub(super) rates: Rates,
    /// When the routers advertise themselves next.
    pub(super) advertising: Advertising,
    pub(super) counters: Counters,
    pub(super) meter: Meter,
    pub(super) movers: Movers,
    pub(super) notices: Notices,
    pub(super) offers: VecDeque<Fact>,
    pub(super) shared: bool,
    /// How many next hops may still be offered in this tick.
    pub(super) neighbour_offers: u32,
    /// How many bindings may.
    pub(super) binding_offers: Allowance,
    /// Frames that go nowhere, freed together at the end of a burst.
    pub(super) refused: Burst<F>,
    /// What is known of each frame of the burst.
    lanes: Box<[Parsed]>,
    /// What a trace writes down.
    pub(super) record: Record,
}

impl<F: Frame> Gateway<F> {
    /// A gateway that has learned nothing. `secret` is the snapshot's: a MAC is hashed once for all tables.
    pub fn new(secret: Secret, ports: usize, limits: Limits) -> Self {
        Self {
            macs: MacTable::new(secret, limits.macs, limits.bridges),
            bindings: BindingTable::new(secret, limits.bindings, limits.bridges),
            peers: PeerTable::new(secret, limits.peers, limits.learned_peers),
            flows: FlowTable::new(limits.macs / 2),
            hops: HopTable::new(limits.hops),
            ways: Ways::new((limits.peers + limits.learned_peers + limits.bridges).clamp(1024, 65_536)),
            tunnels: Tunnels::new(),
            neighbours: NeighbourTable::new(secret, limits.neighbours, usize::MAX),
            held: Held::new(limits.held),
            hosts: NeighbourTable::new(secret, limits.hosts, (limits.hosts / HOSTS_SHARE).max(1)),
            waiting: Held::new(limits.held),
            waiting_of: Box::new([0; WAITING]),
            waiting_share: (limits.held / 8).max(32),
            rates: Rates::new(limits.routers),
            advertising: Advertising::new(limits.leads),
            counters: Counters::new(ports),
            meter: Meter::new(secret, limits.bridges, ports),
            movers: Movers::new(limits.macs),
            notices: Notices::new(),
            offers: VecDeque::with_capacity(super::learn::OFFERS + super::learn::LAST_OFFERS),
            shared: limits.shared,
            neighbour_offers: NEIGHBOUR_OFFERS,
            binding_offers: Allowance::new(),
            refused: Burst::new(),
            lanes: vec![Parsed::default(); BURST].into(),
            record: Record::default(),
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
        let mut all = core::mem::take(&mut self.lanes);
        let underlay = self.underlay_of(snapshot, port);
        for (frame, lane) in burst.iter_mut().zip(all.iter_mut()) {
            if self.is_traced() {
                *lane = Parsed { place: Place::NOWHERE, ..Parsed::default() };
            }
            lane.decision = self.ingress(snapshot, port, underlay, frame, lane);
            if lane.decision == Decision::Open && lane.gate.is_any() && is_for_a_gateway(snapshot, lane) {
                lane.for_router(frame.head(), snapshot.secret());
            }
            if F::TRACED {
                self.note_arrival(snapshot, port, frame, lane);
            }
            if lane.decision == Decision::Open && lane.is_noted() {
                lane.decision = self.examine(snapshot, now, port, frame, lane);
                let (secure, refused) = (lane.secure, lane.decision.reason());
                self.note(|_| Step::Guard { secure, refused });
            }
        }
        // There are as many lanes as a burst has frames.
        let lanes = &mut all[..burst.len()];
        let stamp = self.stamp(snapshot, now);
        let open = self.recall(snapshot, lanes, stamp);
        if open != 0 {
            self.consider(snapshot, port, now, stamp, burst, lanes, open);
        }
        let stamp = self.stamp(snapshot, now);
        let mut turn = Turn { snapshot, now, stamp, port, pool, out };
        for (frame, lane) in burst.drain(..).zip(lanes.iter()) {
            self.carry_out(&mut turn, frame, lane, lane.decision);
        }
        self.lanes = all;
        self.peers.reclaim();
        pool.free(&mut self.refused);
    }

    /// Does with a frame what was decided.
    #[inline(always)]
    pub(super) fn carry_out<P, E>(&mut self, turn: &mut Turn<'_, P, E>, frame: F, lane: &Parsed, decision: Decision)
    where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        if F::TRACED {
            self.note_decision(turn.snapshot, lane, decision);
        }
        match decision {
            Decision::Forward(place) => self.forward(turn, frame, lane, place),
            Decision::Flood(class) => self.flood(turn, frame, lane, class),
            Decision::Local(rest_at) => {
                self.local(turn, frame, usize::from(rest_at));
                // It may have taught the gateway a next hop.
                turn.stamp = self.stamp(turn.snapshot, turn.now);
            }
            Decision::Route(place) => self.forward_routed(turn, frame, lane, place),
            Decision::Suppress => self.suppress(turn, frame, lane),
            Decision::Consume => self.consume(frame),
            Decision::Drop(reason) => self.refuse(turn.port, frame, reason),
            Decision::Deliver(place) => self.forward_delivered(turn, frame, lane, place),
            Decision::RouteToAll => self.route_to_all(turn, frame, lane),
            Decision::Wait(neighbour) => self.wait(turn, frame, lane, neighbour),
            Decision::Gateway => self.gateway(turn, frame, lane),
            Decision::Refer(error, reason) => self.refer(turn, frame, lane, error, reason),
            Decision::Advertise => self.answer_solicitation(turn, frame, lane),
            // None is left.
            Decision::Open => self.refuse(turn.port, frame, DropReason::UnknownUnicast),
        }
    }

    /// The second, and the state of all that says how a place is reached: a way that was made under the same stamp holds.
    #[inline(always)]
    pub(super) fn stamp(&self, snapshot: &Snapshot, now: Time) -> u64 {
        // Each of them only grows, and so does their sum whenever one does.
        let state = snapshot.generation + self.peers.releases() + self.neighbours.changes();
        1 << 63 | state << 32 | u64::from(now.seconds() as u32)
    }

    /// The same, and where the hosts of a bridge are: what was found out of its flows under the same stamp holds.
    #[inline(always)]
    fn flow_stamp(&self, stamp: u64, bridge: BridgeId) -> u64 {
        stamp.wrapping_add(u64::from(self.macs.moves_of(bridge)) << 32) | 1 << 63
    }

    /// Decides on the frames whose like went the same way already, and answers which are still open, a bit each.
    #[inline(always)]
    fn recall(&self, snapshot: &Snapshot, lanes: &mut [Parsed], stamp: u64) -> u64 {
        // One read of each line before any is needed: the loads do not depend on each other, so the processor has them under way
        // together. The lane of a frame that was dropped holds an older one's hash: a read in vain, and a branch saved.
        let near = lanes.iter().fold(0, |sum, lane| {
            sum ^ match lane.routed {
                Routed::No => self.flows.touch(lane.flow_hash),
                Routed::Plain | Routed::Odd => self.hops.touch(lane.flow_hash),
            }
        });
        black_box(near);
        let mut open = 0;
        for (n, lane) in lanes.iter_mut().enumerate() {
            if lane.decision != Decision::Open {
                continue;
            }
            if lane.routed != Routed::No {
                open |= u64::from(!self.recall_hop(snapshot, lane, stamp)) << n;
                continue;
            }
            match self.flows.get(lane.flow_hash, lane.flow(), self.flow_stamp(stamp, lane.bridge)) {
                Some((place, false)) if lane.inner.note == Note::None => lane.decision = Decision::Forward(place),
                Some((place, true)) if lane.inner.note == Note::None => {
                    lane.decision = self.deliver(snapshot, lane, place)
                }
                _ => open |= 1 << n,
            }
        }
        open
    }

    /// The same for a frame for a router. Whether its like went the same way already.
    #[inline(never)]
    fn recall_hop(&self, snapshot: &Snapshot, lane: &mut Parsed, stamp: u64) -> bool {
        if lane.routed == Routed::Odd || lane.inner.note != Note::None {
            return false;
        }
        let pair = lane.pair();
        let stamp = self.flow_stamp(stamp, lane.bridge);
        let stamp = |leaving| self.hop_stamp(stamp, leaving);
        let known = match self.hops.get(lane.flow_hash, pair, stamp) {
            Some(Known::Spread) => {
                let pair = pair.of_flow(lane.inner.flow);
                self.hops.get(pair.hash(snapshot.secret()), pair, stamp)
            }
            known => known,
        };
        let Some(Known::Way(place, hop)) = known else { return false };
        (lane.decision, lane.hop) = (Decision::Route(place), hop);
        true
    }

    /// A stamp of a bridge's flows, and where the hosts of the bridge are that they leave by. It lasts [`HOP_SECONDS`]: with a
    /// million pairs of addresses, many would be found out anew each time that they come.
    #[inline(always)]
    fn hop_stamp(&self, stamp: u64, leaving: BridgeId) -> u64 {
        let moves = self.macs.moves_of(leaving).wrapping_add(self.bindings.moves_of(leaving));
        let stamp = stamp & !(HOP_SECONDS - 1);
        stamp.wrapping_add(u64::from(moves) << 32) | 1 << 63
    }

    /// Keeps how a packet goes through a router.
    fn remember_hop(&mut self, snapshot: &Snapshot, lane: &Parsed, stamp: u64, place: Place, spread: bool) {
        let stamp = self.flow_stamp(stamp, lane.bridge);
        let (mut pair, mut hash) = (lane.pair(), lane.flow_hash);
        if spread {
            self.hops.put(hash, pair, self.hop_stamp(stamp, lane.bridge), Known::Spread);
            pair = pair.of_flow(lane.inner.flow);
            hash = pair.hash(snapshot.secret());
        }
        self.hops.put(hash, pair, self.hop_stamp(stamp, lane.hop.bridge()), Known::Way(place, lane.hop));
    }

    /// Learns and decides, for the open ones.
    #[inline(never)]
    #[expect(clippy::too_many_arguments, reason = "all that a burst is")]
    fn consider(
        &mut self,
        snapshot: &Snapshot,
        port: PortId,
        now: Time,
        before: u64,
        burst: &[F],
        lanes: &mut [Parsed],
        open: u64,
    ) {
        let seconds = now.seconds();
        let moves = self.macs.moves();
        let mut settled = self.learn_all(snapshot, port, now, lanes, open);
        let mut open = open;
        if self.stamp(snapshot, now) != before || self.macs.moves() != moves {
            // One of them has moved: what was recalled may be wrong by now, even for frames before it.
            let recalled = |lane: &Parsed| {
                matches!(lane.decision, Decision::Forward(_) | Decision::Deliver(_) | Decision::Route(_))
            };
            let again = (lanes.iter().enumerate()).fold(0, |all, (n, lane)| all | u64::from(recalled(lane)) << n);
            lanes.iter_mut().filter(|lane| recalled(lane)).for_each(|lane| lane.decision = Decision::Open);
            self.learn_all(snapshot, port, now, lanes, again);
            open |= again;
            // And what taught nothing new when its turn came, may do so when its like comes next.
            settled = 0;
        }
        let stamp = self.stamp(snapshot, now);
        for n in bits(open) {
            let lane = &mut lanes[n];
            if lane.decision != Decision::Open {
                continue;
            }
            if lane.inner.note != Note::None {
                lane.decision = Decision::Suppress;
                continue;
            }
            let settled = settled & 1 << n != 0;
            if lane.routed != Routed::No {
                let (decision, spread) = self.route(snapshot, now, &burst[n], lane);
                lane.decision = decision;
                if let (Decision::Route(place), true, Routed::Plain) = (decision, settled, lane.routed) {
                    self.remember_hop(snapshot, lane, stamp, place, spread);
                }
                continue;
            }
            lane.decision = self.decide(snapshot, lane, seconds);
            if F::TRACED {
                self.note_lookup(snapshot, lane, now);
            }
            let dvr = lane.tunnel && snapshot.is_dvr_mac(MacAddr::from_bits(lane.from));
            if let (Decision::Flood(Class::Unknown), true) = (lane.decision, dvr) {
                self.dress(snapshot, &burst[n], lane);
            }
            if let Decision::Forward(place) = lane.decision {
                if dvr {
                    lane.decision = self.deliver(snapshot, lane, place);
                    self.dress(snapshot, &burst[n], lane);
                }
                if settled && !(dvr && lane.gate.is_several()) {
                    let stamp = self.flow_stamp(stamp, lane.bridge);
                    self.flows.put(lane.flow_hash, lane.flow(), stamp, (place, dvr));
                }
            }
        }
    }

    /// Learns from the lanes whose bits are set, and answers which of them taught nothing new.
    fn learn_all(&mut self, snapshot: &Snapshot, port: PortId, now: Time, lanes: &mut [Parsed], which: u64) -> u64 {
        let (secret, endpoints) = (snapshot.secret(), snapshot.endpoint_count() > 0);
        let mut near = 0;
        for n in bits(which) {
            let lane = &mut lanes[n];
            (lane.to_hash, lane.from_hash) = (secret.hash(lane.to), secret.hash(lane.from));
            near ^= self.macs.touch(lane.from_hash);
            // Where there are endpoints, most destinations are: the table of learned ones is asked for the others.
            near ^= if endpoints { snapshot.touch_endpoint(lane.to_hash) } else { self.macs.touch(lane.to_hash) };
        }
        black_box(near);
        let mut settled = 0;
        for n in bits(which) {
            if F::TRACED {
                self.note_sender(snapshot, &lanes[n], now);
            }
            match self.learn(snapshot, &lanes[n], port, now) {
                Ok(known) => settled |= u64::from(known) << n,
                Err(reason) => lanes[n].decision = Decision::Drop(reason),
            }
        }
        settled
    }

    /// What is due by time, not by frames: next hops to ask again, entries to forget. Called about every millisecond.
    pub fn tick<P: Pool<Frame = F>>(&mut self, snapshot: &Snapshot, now: Time, pool: &mut P, out: &mut impl Egress<F>) {
        (self.neighbour_offers, self.binding_offers) = (NEIGHBOUR_OFFERS, Allowance::new());
        let stamp = self.stamp(snapshot, now);
        let mut turn = Turn { snapshot, now, stamp, port: PortId(0), pool, out };
        self.resolve_due(&mut turn);
        turn.stamp = self.stamp(snapshot, now);
        self.probe_due(&mut turn);
        self.hosts_due(&mut turn);
        self.advertise_due(&mut turn);
        self.forget(snapshot, now);
        self.peers.reclaim();
        pool.free(&mut self.refused);
    }

    /// Drops the frames that wait, since no answer will be heard any more.
    pub fn stop(&mut self) {
        self.held.drop_all(&mut self.counters, |(port, _)| *port);
        self.waiting.drop_all(&mut self.counters, |waiting| waiting.port);
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
    pub fn neighbours(&self) -> &NeighbourTable<Underlay> {
        &self.neighbours
    }

    /// How many frames wait for their next hop, in all.
    pub fn held(&self) -> usize {
        self.held.len() + self.waiting.len()
    }

    /// Hosts on routed bridges, and next hops of routers.
    pub fn hosts(&self) -> &NeighbourTable<Net> {
        &self.hosts
    }

    /// Ends a frame that taught this worker something.
    #[cold]
    pub(super) fn consume(&mut self, frame: F) {
        self.note(|_| Step::Consumed);
        self.counters.consumed += 1;
        // Freed with those that were refused.
        drop(self.refused.push(frame));
    }

    /// Drops a frame for a reason.
    #[inline]
    pub(super) fn refuse(&mut self, port: PortId, frame: F, reason: DropReason) {
        self.note(|_| Step::Dropped { port, reason });
        self.counters.drop(port, reason);
        // More than a burst only if floods are refused too: those are freed one by one.
        drop(self.refused.push(frame));
    }
}

/// The numbers of the bits that are set, ascending.
fn bits(mut set: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let lowest = set.checked_sub(1)?;
        let n = set.trailing_zeros() as usize;
        set &= lowest;
        Some(n)
    })
}

const _: () = assert!(BURST <= 64);

/// What a step needs of the world, besides the gateway's own tables.
pub(super) struct Turn<'a, P, E> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) now: Time,
    /// [`Gateway::stamp`] of now.
    pub(super) stamp: u64,
    /// The port that the frame came in on.
    pub(super) port: PortId,
    pub(super) pool: &'a mut P,
    pub(super) out: &'a mut E,
}
