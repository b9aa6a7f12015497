//! Between the manager and a worker: queues, a mailbox, a heartbeat. Neither ever waits for the other.
//!
//! Owns: the shared ends. What the worker fills (reports, dumps) the manager allocates, and gets back to free; so does
//! a snapshot that is out of force.

use crossbeam_queue::ArrayQueue;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use weir_pipelines::Time;
use weir_pipelines::gateway::{Counters, Fact, Forget, Notice};
use weir_pipelines::tables::{BridgeId, Manners, NeighbourState, Net, Peer, PortId, SegmentIx, Snapshot};
use weir_pipelines::wire::MacAddr;

/// What the manager asks a worker to fill between two bursts; it comes back by [`Link::answers`].
pub enum Request {
    /// All counters at one moment.
    Report(Box<Report>),
    /// The learned MACs, over several turns.
    Macs(Box<MacDump>),
    /// The learned bindings, over several turns.
    Bindings(Box<BindingDump>),
    /// The next hops.
    Neighbours(Box<NeighbourDump>),
    /// To forget what was learned, over several turns.
    Clear(Box<Clear>),
    /// What is known of a few things.
    Lookups(Box<Lookups>),
}

/// A port's share of a worker's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCount {
    /// Frames that this worker took from the device.
    pub rx_packets: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Frames that the device took from this worker.
    pub tx_packets: u64,
    /// Their bytes.
    pub tx_bytes: u64,
}

/// A worker's counters at one moment: `received + originated == sent + dropped + held + consumed`.
pub struct Report {
    /// Which request this answers.
    pub number: u64,
    /// The pipeline's.
    pub counters: Counters,
    /// By port.
    pub ports: Vec<PortCount>,
    /// Frames that a device took, or another worker that has its queue.
    pub sent: u64,
    /// Frames that wait for a next hop or for a device.
    pub held: u64,
    /// The generation it forwards by.
    pub generation: u64,
    /// TSC cycles of turns that had packets, that had none, and asleep.
    pub cycles: Cycles,
    /// How long turns took.
    pub turns: Turns,
    /// TSC cycles a millisecond.
    pub cycles_per_ms: u64,
    /// Learned MACs.
    pub macs: u64,
    /// The most it can hold, by its table.
    pub macs_capacity: u64,
    /// Learned bindings.
    pub bindings: u64,
    /// Next hops.
    pub neighbours: u64,
    /// How many hosts on routed bridges it looks after.
    pub hosts: u64,
    /// Peers that are not configured.
    pub learned_peers: u64,
}

impl Report {
    /// An empty one for so many ports.
    pub fn new(number: u64, ports: usize) -> Self {
        Self {
            number,
            counters: Counters::new(ports),
            ports: vec![PortCount::default(); ports],
            sent: 0,
            held: 0,
            generation: 0,
            cycles: Cycles::default(),
            turns: Turns::default(),
            cycles_per_ms: 0,
            macs: 0,
            macs_capacity: 0,
            bindings: 0,
            neighbours: 0,
            hosts: 0,
            learned_peers: 0,
        }
    }
}

/// Where a worker's time went, in TSC cycles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cycles {
    /// Turns that had packets.
    pub busy: u64,
    /// Turns that had none.
    pub idle: u64,
    /// Asleep.
    pub sleep: u64,
}

/// How many bounds [`Turns::long`] has.
const LONG: usize = 12;

/// How long turns took: what a change, or the kernel, cost those who waited for the worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turns {
    /// The longest, TSC cycles.
    pub longest: u64,
    /// Those from [`Turns::SHORTEST_LONG`] on, by power of two; the last is open.
    pub long: [u64; LONG],
}

impl Turns {
    /// From how many microseconds on a turn is counted as a long one.
    pub const SHORTEST_LONG: u64 = 128;

    /// Notes a turn of so many cycles. `cycles_per_ms` is the clock's.
    #[inline]
    pub fn note(&mut self, cycles: u64, cycles_per_ms: u64) {
        self.longest = self.longest.max(cycles);
        // An eighth of a millisecond is a little less than the shortest of the long ones.
        if cycles >= cycles_per_ms / 8 {
            self.note_long(cycles.saturating_mul(1000) / cycles_per_ms.max(1));
        }
    }

    #[cold]
    fn note_long(&mut self, microseconds: u64) {
        let Some(bound) = (microseconds / Self::SHORTEST_LONG).checked_ilog2() else { return };
        if let Some(count) = self.long.get_mut((bound as usize).min(LONG - 1)) {
            *count += 1;
        }
    }

    /// The longest turn, microseconds.
    pub fn longest_microseconds(&self, cycles_per_ms: u64) -> u64 {
        self.longest.saturating_mul(1000) / cycles_per_ms.max(1)
    }

    /// Bounds in microseconds, and how many turns took at least that and less than twice that; those that are zero are
    /// left out.
    pub fn by_microseconds(&self) -> impl Iterator<Item = (u64, u64)> {
        let rows = self.long.into_iter().enumerate().map(|(n, count)| (Self::SHORTEST_LONG << n, count));
        rows.filter(|(_, count)| *count > 0)
    }
}

/// A learned MAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MacEntry {
    /// The bridge.
    pub bridge: BridgeId,
    /// The host.
    pub mac: MacAddr,
    /// Where it is.
    pub segment: SegmentIx,
    /// The peer behind a tunnel segment.
    pub peer: Option<Peer>,
    /// Seconds since it was seen.
    pub age: u16,
}

/// The learned MACs of a worker.
pub struct MacDump {
    /// Which request this answers.
    pub number: u64,
    /// Filled up to its capacity, which the manager chose.
    pub entries: Vec<MacEntry>,
    /// Where to go on; the worker's.
    pub cursor: usize,
    /// Whether the entries are all there were.
    pub complete: bool,
}

/// A learned binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindingEntry {
    /// The bridge.
    pub bridge: BridgeId,
    /// The address.
    pub address: std::net::IpAddr,
    /// Who has it.
    pub mac: MacAddr,
    /// A number that grows with every move.
    pub sequence: u32,
    /// Seconds since it was confirmed.
    pub age: u16,
    /// How it is advertised.
    pub manners: Manners,
}

/// The learned bindings of a worker.
pub struct BindingDump {
    /// Which request this answers.
    pub number: u64,
    /// Filled up to its capacity, which the manager chose.
    pub entries: Vec<BindingEntry>,
    /// Where to go on; the worker's.
    pub cursor: usize,
    /// Whether the entries are all there were.
    pub complete: bool,
}

/// Where a neighbour is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeighbourAt {
    /// On the underlay, on this port.
    Port(PortId),
    /// On a bridge, by a router's interface.
    Net(Net),
}

/// A neighbour: a next hop on the underlay, or a host that routers send to.
#[derive(Clone, Copy, Debug)]
pub struct NeighbourEntry {
    /// Where it is.
    pub at: NeighbourAt,
    /// Its address.
    pub address: std::net::IpAddr,
    /// Its MAC; zero until it is known.
    pub mac: MacAddr,
    /// What is known of it.
    pub state: NeighbourState,
    /// Frames that wait for it.
    pub held: u64,
}

/// The neighbours of a worker.
pub struct NeighbourDump {
    /// Which request this answers.
    pub number: u64,
    /// Filled up to its capacity, which the manager chose.
    pub entries: Vec<NeighbourEntry>,
}

/// Something that a worker may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lookup {
    /// Where a MAC is.
    Mac(BridgeId, MacAddr),
    /// Who has an address.
    Binding(BridgeId, std::net::IpAddr),
    /// A next hop on the underlay.
    Hop(PortId, std::net::IpAddr),
    /// A host that routers send to.
    Host(BridgeId, std::net::IpAddr),
}

/// What a worker knows of a few things: each has one entry at most.
pub struct Lookups {
    /// Which request this answers.
    pub number: u64,
    /// What is looked up.
    pub asked: Vec<Lookup>,
    /// Filled up to the capacity, which the manager chose: as many as are asked for.
    pub macs: Vec<MacEntry>,
    /// The same.
    pub bindings: Vec<BindingEntry>,
    /// The same.
    pub neighbours: Vec<NeighbourEntry>,
}

/// What to forget.
#[derive(Clone, Debug)]
pub struct Clear {
    /// Which request this answers.
    pub number: u64,
    /// What.
    pub what: Forget,
    /// How much was forgotten.
    pub cleared: u64,
    /// Where to go on; the worker's.
    pub cursor: usize,
    /// Facts that waited when it began: they are taken over first, so that they do not bring back what is forgotten.
    pub facts: Option<usize>,
}

/// What both ends share.
pub struct Shared {
    /// The core that the worker runs on.
    pub core: u32,
    /// Requests, one at a time.
    pub requests: ArrayQueue<Request>,
    /// Requests, filled.
    pub answers: ArrayQueue<Request>,
    /// The newest snapshot: of capacity one, the latest wins.
    pub mailbox: ArrayQueue<Arc<Snapshot>>,
    /// Snapshots out of force, for the manager to free.
    pub retired: ArrayQueue<Arc<Snapshot>>,
    /// What others learned.
    pub news: ArrayQueue<Fact>,
    /// Whether somebody watches what happens.
    pub watched: AtomicBool,
    /// What happened, while somebody watches.
    pub notices: ArrayQueue<Notice>,
    /// Notices that found no room, until the manager has taken the number.
    pub notices_lost: AtomicU64,
    /// When the worker last ticked, milliseconds.
    pub heartbeat: AtomicU64,
    /// The generation it forwards by.
    pub generation: AtomicU64,
    /// Whether it is to end.
    pub stop: AtomicBool,
    /// Set when it ended with counters that do not balance.
    pub unbalanced: AtomicBool,
}

/// The manager's end, and the worker's.
pub type Link = Arc<Shared>;

/// After how long without a tick a worker counts as stuck, milliseconds.
pub const STUCK: u64 = 2000;

/// Facts that can wait for a worker.
const FACTS: usize = 4096;
/// Notices of a worker that can wait for the manager.
const NOTICES: usize = 4096;

impl Shared {
    /// The link of the worker on a core.
    pub fn new(core: u32) -> Link {
        Arc::new(Self {
            core,
            requests: ArrayQueue::new(4),
            answers: ArrayQueue::new(8),
            mailbox: ArrayQueue::new(1),
            retired: ArrayQueue::new(8),
            news: ArrayQueue::new(FACTS),
            watched: AtomicBool::new(false),
            notices: ArrayQueue::new(NOTICES),
            notices_lost: AtomicU64::new(0),
            heartbeat: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            unbalanced: AtomicBool::new(false),
        })
    }

    /// When the worker last ticked.
    pub fn last_beat(&self) -> Time {
        Time::from_millis(self.heartbeat.load(Ordering::Relaxed))
    }

    /// Whether it has not ticked for longer than any turn takes.
    pub fn is_stuck(&self, now: Time) -> bool {
        now.since(self.last_beat()) > STUCK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_turns_are_counted_by_power_of_two() {
        // Two gigahertz.
        let per_ms = 2_000_000;
        let mut turns = Turns::default();
        for microseconds in [1, 127, 128, 255, 256, 1023, 1024, 2047, 262_143, 262_144, 10_000_000] {
            turns.note(microseconds * per_ms / 1000, per_ms);
        }
        let rows: Vec<_> = turns.by_microseconds().collect();
        assert_eq!(rows, [(128, 2), (256, 1), (512, 1), (1024, 2), (131_072, 1), (262_144, 2)]);
        assert_eq!(turns.longest_microseconds(per_ms), 10_000_000);
        turns.note(u64::MAX, per_ms);
        assert_eq!(turns.long[11], 3);
    }

    #[test]
    fn short_turns_are_only_compared() {
        let mut turns = Turns::default();
        for cycles in [300, 70_000, 200] {
            turns.note(cycles, 2_000_000);
        }
        assert_eq!((turns.longest, turns.by_microseconds().count()), (70_000, 0));
        assert_eq!(turns.longest_microseconds(2_000_000), 35);
    }
}
