//! Trace: what would become of a frame, by the running snapshot and what the workers know.
//!
//! Owns: a gateway of its own for each trace, made of the packet path's code, that forwards nothing. It is asked again and again
//! until it meets nothing that the workers have not been asked about: so they are asked about a few entries, by one message in
//! a tick, and never for whole tables. Refuses frames that nobody could have meant. Rates, limits and frozen MACs are not looked
//! at: those are what the counters are for.

mod craft;
mod summary;
mod words;

use super::batch::fault;
use super::configuration::Configuration;
use super::crew::Crew;
use crate::config::Tables;
use crate::worker::link::{Lookup, NeighbourAt, NeighbourEntry};
use rustc_hash::FxHashSet;
use std::cmp::Reverse;
use weir_api::message::{Error, code};
use weir_api::trace::{Trace, Traced};
use weir_pipelines::gateway::{Belief, Fact, Limits, Sighting, Step, Traced as Path, trace};
use weir_pipelines::tables::{BridgeId, NeighbourState, Net, Snapshot, Target};

/// How often the workers are asked at most: each answer may lead one step further.
const ROUNDS: usize = 8;
/// About how many things at most, in one trace. What is behind that counts as not known.
const MOST: usize = 1024;

/// Answers a trace.
///
/// # Errors
/// `INVALID_PARAMS` for a frame that cannot be made, `NOT_FOUND` for a port or endpoint that is not there, `UNAVAILABLE` if a
/// worker does not answer.
pub(super) fn answer(
    configuration: &Configuration,
    crew: &mut Crew,
    tables: &Tables,
    wanted: &Trace,
) -> Result<Traced, Error> {
    let snapshot = configuration.snapshot();
    let mut known = Known::default();
    let (port, bytes) = craft::arriving(configuration, wanted, |bridge, address| {
        known.learn(crew, vec![Lookup::Binding(bridge, address)])?;
        Ok(known.owner(bridge, address))
    })?;
    let limits = limits(tables);
    let mut path = trace(snapshot, limits, &known.beliefs, port, &bytes);
    for _ in 0..ROUNDS {
        let open = known.open(snapshot, &path);
        if open.is_empty() {
            break;
        }
        known.learn(crew, open)?;
        path = trace(snapshot, limits, &known.beliefs, port, &bytes);
    }
    let answer = words::answer(configuration, port, &bytes, path);
    answer.ok_or_else(|| fault(code::INTERNAL, "the port has no name", "at", &wanted.at))
}

/// Tables for one frame and what it meets.
fn limits(tables: &Tables) -> Limits {
    let few = 4 * MOST;
    Limits {
        bridges: 1 << 16,
        macs: few,
        bindings: few,
        peers: tables.peer_numbers() as usize,
        learned_peers: few,
        neighbours: tables.neighbours as usize,
        held: tables.held as usize,
        hosts: few,
        hops: few,
        routers: 1 << 16,
        leads: false,
        shared: false,
    }
}

/// What the workers said so far.
#[derive(Default)]
struct Known {
    asked: FxHashSet<Lookup>,
    beliefs: Vec<Belief>,
}

impl Known {
    /// What a frame met, and the workers have not been asked about.
    fn open(&self, snapshot: &Snapshot, path: &Path) -> Vec<Lookup> {
        let mut open = Vec::new();
        let mut bridge = BridgeId(0);
        for step in &path.steps {
            match *step {
                Step::Ingress { bridge: found, .. } => bridge = found,
                // Who claims to have an address, and who had it before.
                Step::Parsed(headers) => open.extend(headers.source.map(|source| Lookup::Binding(bridge, source))),
                Step::Sender { bridge, mac, .. } | Step::Lookup { bridge, mac, .. } => {
                    open.push(Lookup::Mac(bridge, mac));
                }
                Step::Owner { bridge, address, .. } => {
                    open.extend([Lookup::Binding(bridge, address), Lookup::Host(bridge, address)]);
                }
                // Which of several next hops it takes depends on who of them has failed.
                Step::Route { found: Some((_, Target::Via(ix))), .. } => {
                    let hops = snapshot.next_hops(ix).iter();
                    let at = hops.filter_map(|hop| Some((snapshot.interface(hop.interface)?.bridge, hop.address)));
                    open.extend(at.map(|(bridge, address)| Lookup::Host(bridge, address)));
                }
                Step::Neighbour { link, address, state: NeighbourState::Resolving, .. } => {
                    open.push(Lookup::Hop(link.port, address));
                }
                _ => {}
            }
        }
        let mut seen = FxHashSet::default();
        open.retain(|lookup| !self.asked.contains(lookup) && seen.insert(*lookup));
        open.truncate(MOST.saturating_sub(self.asked.len()));
        open
    }

    /// Asks the workers. Where they differ, the one who saw a MAC last is right, who knows of the later claim on an address, and
    /// who has heard of a neighbour.
    fn learn(&mut self, crew: &mut Crew, open: Vec<Lookup>) -> Result<(), Error> {
        let answers = crew.look_up(&open)?;
        self.asked.extend(open);
        let mut macs: Vec<_> = answers.iter().flat_map(|answer| &answer.macs).collect();
        macs.sort_by_key(|entry| entry.age);
        let mut first = FxHashSet::default();
        macs.retain(|entry| first.insert((entry.bridge, entry.mac)));
        self.beliefs.extend(macs.into_iter().map(|entry| {
            let (bridge, mac, segment, peer) = (entry.bridge, entry.mac, entry.segment, entry.peer);
            Belief::Fact(Fact::Mac { bridge, mac, segment, peer, sighting: Sighting::Again })
        }));
        // The path takes the later of two by itself.
        self.beliefs.extend(answers.iter().flat_map(|answer| &answer.bindings).map(|entry| {
            let (bridge, address, mac) = (entry.bridge, entry.address, entry.mac);
            Belief::Fact(Fact::Binding { bridge, address, mac, sequence: entry.sequence, manners: entry.manners })
        }));
        let mut neighbours: Vec<_> = answers.iter().flat_map(|answer| &answer.neighbours).collect();
        neighbours.sort_by_key(|entry| Reverse(worth(entry.state)));
        let mut first = FxHashSet::default();
        neighbours.retain(|entry| first.insert((place(entry), entry.address)));
        self.beliefs.extend(neighbours.into_iter().filter_map(belief));
        Ok(())
    }

    /// Who was learned to have an address.
    fn owner(&self, bridge: BridgeId, address: std::net::IpAddr) -> Option<weir_pipelines::wire::MacAddr> {
        self.beliefs.iter().find_map(|belief| match belief {
            Belief::Fact(Fact::Binding { bridge: of, address: is, mac, .. }) if (*of, *is) == (bridge, address) => {
                Some(*mac)
            }
            _ => None,
        })
    }
}

/// How much a worker's word on a neighbour is worth.
fn worth(state: NeighbourState) -> u8 {
    match state {
        NeighbourState::Permanent => 4,
        NeighbourState::Reachable => 3,
        NeighbourState::Stale => 2,
        NeighbourState::Failed => 1,
        NeighbourState::Resolving => 0,
    }
}

fn place(entry: &NeighbourEntry) -> (bool, u16) {
    match entry.at {
        NeighbourAt::Port(port) => (false, port.0),
        NeighbourAt::Net(Net { bridge, .. }) => (true, bridge.0),
    }
}

/// What there is to believe of a neighbour. Who has a host's address is a binding's to say.
fn belief(entry: &NeighbourEntry) -> Option<Belief> {
    let &NeighbourEntry { at, address, mac, state, .. } = entry;
    match (at, state) {
        (NeighbourAt::Port(port), NeighbourState::Reachable | NeighbourState::Stale) => {
            Some(Belief::Fact(Fact::Neighbour { port, address, mac }))
        }
        (NeighbourAt::Port(port), NeighbourState::Failed) => Some(Belief::HopFailed(port, address)),
        (NeighbourAt::Net(net), NeighbourState::Failed) => Some(Belief::HostFailed(net, address)),
        _ => None,
    }
}
