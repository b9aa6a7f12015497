//! Trace: one frame through the real steps, and what each of them found.
//!
//! Owns: the record of a gateway that was made for one frame. Steps note what they found where the frames' type says so
//! ([`Frame::TRACED`]): for a device's frames it does not, so that of all this nothing stands in a worker's code. A new gateway
//! remembers no flow, so that its first frame takes the long way through every step; what the workers know is told it before.
//! Refuses nothing: what a step decides is decided by its own code, and only written down here.

use super::counters::DropReason;
use super::decide::Decision;
use super::learn::Fact;
use super::meter::Class;
use super::notice::Whereabouts;
use super::parse::{self, Inner, Parsed};
use super::pipeline::{Gateway, Limits};
use super::rewrite::MACS;
use super::snoop::ipv6_message;
use super::testing::{TestFrame, TestPool, TestPorts};
use super::ways::Way;
use crate::tables::{
    BridgeId, InterfaceIx, NeighbourState, Net, Place, PortId, RouterIx, SegmentIx, Snapshot, Target, Underlay, VtepIx,
    mac_key,
};
use crate::wire::{Arp, EtherType, IcmpError, IpProtocol, Ipv4, Ipv6, MacAddr, Nd};
use crate::{Burst, Frame, Time};
use alloc::vec::Vec;
use core::net::IpAddr;

/// So many steps are written down; what comes behind is counted only.
pub const MAX_STEPS: usize = 1024;
/// So many frames may be about: a flood to more peers than that is not to be copied in full.
const FRAMES: usize = 65_536;
/// When a trace happens: late enough that nothing is as old as the beginning.
const NOW: Time = Time::from_millis(1 << 40);

/// How something is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// An operator says so.
    Configured,
    /// Frames have shown it.
    Learned,
    /// It is not.
    Unknown,
}

/// What can be read of a frame, without its segment's own header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// Whom it is from.
    pub from: MacAddr,
    /// Whom it is for.
    pub to: MacAddr,
    /// What it carries, behind all tags.
    pub ether_type: u16,
    /// Of IP: its version; else 0.
    pub version: u8,
    /// Of IP and ARP: whom it is from.
    pub source: Option<IpAddr>,
    /// Of IP: whom it is for; of ARP and of a neighbour solicitation: whom it asks for.
    pub destination: Option<IpAddr>,
    /// Of IP: the payload's protocol.
    pub protocol: u8,
    /// Of IP: hops left.
    pub hops: u8,
    /// From its MACs on, bytes.
    pub length: u32,
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Out at a place of its bridge.
    Forward(Whereabouts),
    /// The same, with the gateway's MAC as its source: another gateway has routed it.
    Deliver(Whereabouts),
    /// Everywhere on its bridge.
    Flood(Class),
    /// By a router, out at a place.
    Route(Whereabouts),
    /// By a router, everywhere on the bridge that it leaves by.
    RouteToAll(BridgeId),
    /// A question, or an announcement: answered here, or for all whom it is for.
    Question,
    /// By a router, as soon as that is known who has its next hop's address.
    Wait,
    /// For the gateway itself, on the underlay.
    Local,
    /// For a router itself.
    Gateway,
    /// Asks for routers, and is told.
    Advertise,
    /// It has done what it was for.
    Consume,
    /// Nowhere; who sent it is told why.
    Refer(IcmpError, DropReason),
    /// Nowhere.
    Drop(DropReason),
}

/// What a step found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It came in on a segment: of a tunnel, from a peer.
    Ingress {
        /// By this port.
        port: PortId,
        /// Into this bridge.
        bridge: BridgeId,
        /// From there.
        at: Whereabouts,
    },
    /// It came in by a port, and is of no segment.
    Arrived(PortId),
    /// What it says.
    Parsed(Headers),
    /// Whether its sender may say and send that: looked at if it speaks of addresses, or its bridge has port security.
    Guard {
        /// Whether its bridge has port security.
        secure: bool,
        /// Why not.
        refused: Option<DropReason>,
    },
    /// Where its sender was known to be.
    Sender {
        /// On this bridge.
        bridge: BridgeId,
        /// The sender.
        mac: MacAddr,
        /// There.
        at: Option<Whereabouts>,
        /// By whom.
        source: Source,
    },
    /// It is for a router, by this interface.
    Interface(InterfaceIx),
    /// The route that it takes.
    Route {
        /// Of this router.
        router: RouterIx,
        /// To that address.
        to: IpAddr,
        /// Length of the route's prefix, and its target; `None` if there is no route.
        found: Option<(u8, Target)>,
    },
    /// The next hop: its destination, or another router.
    NextHop {
        /// It is reached by this interface.
        interface: InterfaceIx,
        /// Its address.
        address: IpAddr,
    },
    /// Who has an address on a bridge.
    Owner {
        /// The bridge.
        bridge: BridgeId,
        /// The address.
        address: IpAddr,
        /// Who has it.
        mac: Option<MacAddr>,
        /// How that is known.
        source: Source,
    },
    /// Where a MAC is.
    Lookup {
        /// On this bridge.
        bridge: BridgeId,
        /// The MAC.
        mac: MacAddr,
        /// There.
        at: Option<Whereabouts>,
        /// How that is known.
        source: Source,
    },
    /// What was decided.
    Decided(Verdict),
    /// A question was answered with this MAC.
    Answered {
        /// The address that was asked for.
        address: IpAddr,
        /// Who has it.
        mac: MacAddr,
    },
    /// Who sent it is told why it goes no further.
    Told(IcmpError),
    /// It, or a copy of it, or what is sent because of it, goes there.
    Towards(Whereabouts),
    /// The next hop on the underlay.
    Neighbour {
        /// On this port, asked from that vtep.
        link: Underlay,
        /// Its address.
        address: IpAddr,
        /// Its MAC; zero if it is not known.
        mac: MacAddr,
        /// What is known of it.
        state: NeighbourState,
    },
    /// It waits until that is known who has this address.
    Waits(IpAddr),
    /// That is asked for.
    Asked(IpAddr),
    /// A frame leaves.
    Leaves {
        /// By this port.
        port: PortId,
        /// Its length, bytes.
        length: u32,
    },
    /// A frame is dropped.
    Dropped {
        /// Counted for this port.
        port: PortId,
        /// For this reason.
        reason: DropReason,
    },
    /// A frame taught the gateway something, and goes no further.
    Consumed,
}

/// What a gateway that traces has written down.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    /// Whether it does.
    pub(super) on: bool,
    pub(super) steps: Vec<Step>,
    /// How many found no room.
    pub(super) more: usize,
}

/// What the workers know, and a gateway that traces is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belief {
    /// What one of them would tell the others.
    Fact(Fact),
    /// A next hop on the underlay does not answer.
    HopFailed(PortId, IpAddr),
    /// A host on a routed bridge does not answer.
    HostFailed(Net, IpAddr),
}

/// What became of a frame.
#[derive(Debug, Default)]
pub struct Traced {
    /// The steps, in order: at most [`MAX_STEPS`].
    pub steps: Vec<Step>,
    /// How many more there were.
    pub more: usize,
    /// What leaves, by which port, in order.
    pub frames: Vec<(PortId, Vec<u8>)>,
    /// How many frames wait.
    pub held: usize,
}

/// Takes one frame that comes in by a port all the way, through a gateway that is made for it and knows `beliefs`. Rates are
/// full, and no table is: what a trace shows is what becomes of the frame while no limit is reached.
pub fn trace(snapshot: &Snapshot, limits: Limits, beliefs: &[Belief], port: PortId, bytes: &[u8]) -> Traced {
    let mut gateway = Gateway::<TestFrame>::new(snapshot.secret(), snapshot.ports().len(), limits);
    for belief in beliefs {
        gateway.believe(snapshot, *belief);
    }
    gateway.record.on = true;
    let (mut pool, mut ports, mut burst) = (TestPool::new(FRAMES), TestPorts::new(), Burst::new());
    // There is room for one, in the pool and in the burst.
    if let Some(frame) = pool.frame(&[bytes]) {
        let _ = burst.push(frame);
    }
    gateway.process(snapshot, NOW, port, &mut burst, &mut pool, &mut ports);
    let held = gateway.held();
    let Record { steps, more, .. } = core::mem::take(&mut gateway.record);
    Traced { steps, more, frames: ports.take(), held }
}

/// A frame as it comes in from a host that is on that segment, of a tunnel behind that peer: with its tags, or with the outer
/// headers that the peer puts in front; and by which port. `frame` begins with its MACs. `None` if there is no such place.
pub fn arriving(
    snapshot: &Snapshot,
    segment: SegmentIx,
    peer: Option<IpAddr>,
    frame: &[u8],
) -> Option<(PortId, Vec<u8>)> {
    let way = Way::from(snapshot, segment, peer)?;
    let mac = |at: usize| frame.get(at..at + 6)?.first_chunk().copied().map(|bytes| MacAddr(bytes).to_bits());
    let (to, from) = (mac(0)?, mac(6)?);
    let inner = Inner { flow: snapshot.secret().mix(to, from), ..Inner::default() };
    let lane = Parsed { rest_at: MACS as u16, end: frame.len() as u32, inner, ..Parsed::default() };
    let mut arriving = TestPool::new(1).frame(&[frame])?;
    way.write(&mut arriving, &lane, to, from).ok()?;
    Some((way.port, arriving.bytes()))
}

impl<F: Frame> Gateway<F> {
    /// Whether steps are written down.
    #[inline(always)]
    pub(super) fn is_traced(&self) -> bool {
        F::TRACED && self.record.on
    }

    /// Writes a step down, where that is wanted.
    #[inline(always)]
    pub(super) fn note(&mut self, step: impl FnOnce(&Self) -> Step) {
        if self.is_traced() {
            let step = step(self);
            match self.record.steps.len() < MAX_STEPS {
                true => self.record.steps.push(step),
                false => self.record.more += 1,
            }
        }
    }

    /// Where a MAC was learned to be, and how many seconds ago it was seen; not if that is too long ago to be believed.
    pub fn learned_at(
        &self,
        snapshot: &Snapshot,
        bridge: BridgeId,
        mac: MacAddr,
        now: Time,
    ) -> Option<(Whereabouts, u16)> {
        let key = mac_key(bridge, mac);
        let entry = self.macs.get(snapshot.secret().hash(key), key)?;
        let age = entry.age(now.seconds());
        let is_fresh = age <= snapshot.bridge(bridge)?.settings.mac_ageing;
        is_fresh.then(|| (self.whereabouts(snapshot, entry.place), age))
    }

    /// Believes what the workers know.
    fn believe(&mut self, snapshot: &Snapshot, belief: Belief) {
        match belief {
            Belief::Fact(fact) => {
                if let Fact::Neighbour { port, address, .. } = fact {
                    self.want_hop(snapshot, port, address);
                }
                self.learned_elsewhere(snapshot, fact, NOW);
            }
            Belief::HopFailed(port, address) => {
                if let Some(number) = self.want_hop(snapshot, port, address) {
                    self.neighbours.fail(number, NOW);
                }
            }
            Belief::HostFailed(net, address) => {
                if let Some(number) = self.hosts.want(net, address, None, NOW) {
                    self.hosts.fail(number, NOW);
                }
            }
        }
    }

    fn want_hop(&mut self, snapshot: &Snapshot, port: PortId, address: IpAddr) -> Option<u32> {
        let is_asker =
            |&&ix: &&VtepIx| snapshot.vtep(ix).is_some_and(|vtep| vtep.address.is_ipv4() == address.is_ipv4());
        let vtep = *snapshot.vteps_of_port(port).iter().find(is_asker)?;
        self.neighbours.want(Underlay { port, vtep }, address, None, NOW)
    }

    /// Where a frame came in, and what it says.
    pub(super) fn note_arrival(&mut self, snapshot: &Snapshot, port: PortId, frame: &F, lane: &Parsed) {
        if lane.place == Place::NOWHERE {
            return self.note(|_| Step::Arrived(port));
        }
        self.note(|gateway| {
            let at = Whereabouts { segment: lane.place.segment(), peer: gateway.origin(snapshot, lane) };
            Step::Ingress { port, bridge: bridge_of(snapshot, lane.place.segment()), at }
        });
        if lane.end > 0 {
            self.note(|_| Step::Parsed(headers(frame.head(), lane)));
        }
    }

    /// Where a frame's sender was known to be, before the frame.
    pub(super) fn note_sender(&mut self, snapshot: &Snapshot, lane: &Parsed, now: Time) {
        self.note(|gateway| {
            let (bridge, mac) = (lane.bridge, MacAddr::from_bits(lane.from));
            let (at, source) = gateway.found(snapshot, bridge, mac, now);
            Step::Sender { bridge, mac, at, source }
        });
    }

    /// Where whom a frame is for is.
    pub(super) fn note_lookup(&mut self, snapshot: &Snapshot, lane: &Parsed, now: Time) {
        if parse::is_group(lane.to) {
            return;
        }
        self.note(|gateway| {
            let (bridge, mac) = (lane.bridge, MacAddr::from_bits(lane.to));
            let (at, source) = gateway.found(snapshot, bridge, mac, now);
            Step::Lookup { bridge, mac, at, source }
        });
    }

    /// Who has an address.
    pub(super) fn note_owner(&mut self, snapshot: &Snapshot, bridge: BridgeId, address: IpAddr, now: Time) {
        self.note(|gateway| {
            let mac = gateway.owner(snapshot, bridge, address, now.seconds()).map(|(mac, _)| mac);
            let learned = gateway.bindings.get(bridge, address, now.seconds()).map(|known| known.mac);
            let source = match mac {
                None => Source::Unknown,
                Some(_) if mac == learned => Source::Learned,
                Some(_) => Source::Configured,
            };
            Step::Owner { bridge, address, mac, source }
        });
    }

    /// That something goes to a place.
    pub(super) fn note_towards(&mut self, snapshot: &Snapshot, place: Place) {
        self.note(|gateway| Step::Towards(gateway.whereabouts(snapshot, place)));
    }

    /// What was decided on a frame.
    pub(super) fn note_decision(&mut self, snapshot: &Snapshot, lane: &Parsed, decision: Decision) {
        self.note(|gateway| {
            let at = |place| gateway.whereabouts(snapshot, place);
            Step::Decided(match decision {
                Decision::Open => Verdict::Drop(DropReason::UnknownUnicast),
                Decision::Forward(place) => Verdict::Forward(at(place)),
                Decision::Flood(class) => Verdict::Flood(class),
                Decision::Local(_) => Verdict::Local,
                Decision::Suppress => Verdict::Question,
                Decision::Consume => Verdict::Consume,
                Decision::Deliver(place) => Verdict::Deliver(at(place)),
                Decision::Route(place) => Verdict::Route(at(place)),
                Decision::RouteToAll => Verdict::RouteToAll(lane.hop.bridge()),
                Decision::Wait(_) => Verdict::Wait,
                Decision::Gateway => Verdict::Gateway,
                Decision::Refer(error, reason) => Verdict::Refer(error, reason),
                Decision::Advertise => Verdict::Advertise,
                Decision::Drop(reason) => Verdict::Drop(reason),
            })
        });
    }

    /// Where a MAC is, as the next frame to it would find: configured before learned.
    fn found(&self, snapshot: &Snapshot, bridge: BridgeId, mac: MacAddr, now: Time) -> (Option<Whereabouts>, Source) {
        let at =
            self.place_of(snapshot, bridge, mac, now.seconds()).map(|(place, _)| self.whereabouts(snapshot, place));
        let key = mac_key(bridge, mac);
        let source = match at {
            None => Source::Unknown,
            Some(_) if snapshot.endpoint(snapshot.secret().hash(key), key).is_some() => Source::Configured,
            Some(_) => Source::Learned,
        };
        (at, source)
    }
}

fn bridge_of(snapshot: &Snapshot, segment: SegmentIx) -> BridgeId {
    snapshot.segment(segment).map(|segment| segment.bridge).unwrap_or_default()
}

/// What a frame says that was taken apart; `head` begins with its segment's own header.
fn headers(head: &[u8], p: &Parsed) -> Headers {
    let at = usize::from(p.rest_at) + usize::from(p.inner.ip_at);
    let ether_type = at.checked_sub(2).and_then(|at| head.get(at..)?.first_chunk()).copied().unwrap_or_default();
    let plain = Headers {
        from: MacAddr::from_bits(p.from),
        to: MacAddr::from_bits(p.to),
        ether_type: u16::from_be_bytes(ether_type),
        length: p.end.saturating_sub(u32::from(p.rest_at)) + 12,
        ..Headers::default()
    };
    let end = (p.end as usize).min(head.len()).max(at);
    let packet = head.get(at..end).unwrap_or(&[]);
    match p.inner.ip_version {
        4 => Ipv4::parse_head(packet, usize::MAX).map_or(plain, |ip| Headers {
            version: 4,
            source: Some(ip.source().into()),
            destination: Some(ip.destination().into()),
            protocol: ip.protocol().0,
            hops: ip.ttl(),
            ..plain
        }),
        6 => headers6(packet, plain),
        _ if EtherType(plain.ether_type) == EtherType::ARP => Arp::parse(packet).map_or(plain, |(arp, _)| Headers {
            source: Some(arp.sender_ip().into()),
            destination: Some(arp.target_ip().into()),
            ..plain
        }),
        _ => plain,
    }
}

fn headers6(packet: &[u8], plain: Headers) -> Headers {
    let Ok(ip) = Ipv6::parse_head(packet, usize::MAX) else { return plain };
    let found = Headers {
        version: 6,
        source: Some(ip.source().into()),
        destination: Some(ip.destination().into()),
        protocol: ip.next_header().0,
        hops: ip.hop_limit(),
        ..plain
    };
    let message = ipv6_message(packet).filter(|(_, protocol, _)| *protocol == IpProtocol::ICMPV6);
    match message.map(|(ip, _, message)| Nd::parse(ip.source(), ip.destination(), ip.hop_limit(), message)) {
        Some(Ok(Nd::Solicitation { target, .. })) => Headers { destination: Some(target.into()), ..found },
        _ => found,
    }
}
