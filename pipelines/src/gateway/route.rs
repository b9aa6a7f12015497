//! Route: what a router does with a packet. Pure over the snapshot, the learned tables and the packet.
//!
//! A packet that a host sends to a gateway MAC is routed where it comes in (DVR), by the one router whose MAC that is: judged as
//! RFC 1812 wants it, matched to the longest prefix, and given to the next hop's MAC, which the bindings know. Of several next
//! hops, each flow takes the one that wins for it (highest random weight, RFC 2992 §3): when one goes, only its flows go.
//! Who has an address is decided as for questions about it, so traffic follows an announcement at once.
//! Refuses: source routes, packets from or to addresses that are not routed, and to tell why about what must not be told
//! about. Redirects are never sent.
//! Read first: RFC 1812 §4.2.2, §5.2 and §5.3, RFC 8200 §3, RFC 4291 §2.5.6, RFC 2992.

use super::counters::DropReason;
use super::decide::Decision;
use super::parse::{self, CHAIN, Parsed, Routed};
use super::pipeline::{Gateway, Turn};
use super::snoop::is_a_hosts;
use super::trace::Step;
use crate::tables::{Hop, Interface, Net, NextHop, Pair, Place, Snapshot, Target, mac_key};
use crate::wire::{IcmpError, Ipv4, Ipv4Header, Ipv6, Ipv6Header, MacAddr, clamp_mss};
use crate::{Egress, Frame, Pool, Time};
use core::net::IpAddr;

/// A packet's way, as far as its router decides it.
#[derive(Clone, Copy)]
struct Onward {
    hop: NextHop,
    /// Whether it depends on the flow.
    spread: bool,
}

/// What is read of a packet for a router.
#[derive(Clone, Copy)]
pub(super) struct Packet {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    /// Hops left.
    pub(super) hops: u8,
}

impl Packet {
    /// The packet of a frame for a router.
    ///
    /// # Errors
    /// Why a router drops it unseen.
    pub(super) fn read(head: &[u8], p: &Parsed) -> Result<Self, DropReason> {
        let at = usize::from(p.rest_at) + usize::from(p.inner.ip_at);
        let (packet, len) = (head.get(at..).unwrap_or(&[]), (p.end as usize).saturating_sub(at));
        match p.inner.ip_version {
            _ if p.inner.tagged => Err(DropReason::InnerTag),
            4 => {
                let ip = Ipv4::parse_head(packet, len).map_err(|_| DropReason::MalformedIpv4)?;
                if !ip.checksum_holds() {
                    return Err(DropReason::IpChecksum);
                }
                if ip.is_source_routed().map_err(|_| DropReason::MalformedIpv4)? {
                    return Err(DropReason::SourceRoute);
                }
                Ok(Self { source: ip.source().into(), destination: ip.destination().into(), hops: ip.ttl() })
            }
            6 => {
                let ip = Ipv6::parse_head(packet, len).map_err(|_| DropReason::MalformedIpv6)?;
                let behind = packet.get(Ipv6Header::LEN..ip.total_len().min(packet.len())).unwrap_or(&[]);
                let behind = &behind[..behind.len().min(parse::IPV6_WALK)];
                match ip.upper(behind) {
                    Ok(upper) if upper.routed => return Err(DropReason::SourceRoute),
                    Ok(_) => {}
                    // What hides behind more headers than are walked may be anything.
                    Err(_) => return Err(DropReason::MalformedIpv6),
                }
                Ok(Self { source: ip.source().into(), destination: ip.destination().into(), hops: ip.hop_limit() })
            }
            _ => Err(DropReason::NotForUs),
        }
    }
}

impl<F: Frame> Gateway<F> {
    /// The step, for one frame for a router; how it leaves stands in its lane's hop. Whether that depends on its flow.
    pub(super) fn route(&mut self, snapshot: &Snapshot, now: Time, frame: &F, lane: &mut Parsed) -> (Decision, bool) {
        let found = snapshot.interface_with(lane.bridge, MacAddr::from_bits(lane.to));
        let Some((ix, interface)) = found else { return (Decision::Drop(DropReason::NotForUs), false) };
        self.note(|_| Step::Interface(ix));
        match Packet::read(frame.head(), lane) {
            Ok(packet) => self.route_packet(snapshot, now, interface, packet, lane),
            Err(reason) => (Decision::Drop(reason), false),
        }
    }

    /// The same for a packet that came in by an interface. Where its next hop is another router of this gateway's, that one
    /// routes it on.
    fn route_packet<'a>(
        &mut self,
        snapshot: &'a Snapshot,
        now: Time,
        mut from: &'a Interface,
        mut packet: Packet,
        lane: &mut Parsed,
    ) -> (Decision, bool) {
        (lane.hop, lane.speaker) = (Hop { mtu: u16::MAX, ..Hop::default() }, None);
        let mut spread = false;
        for routers in 1..=CHAIN {
            let onward = match self.onward(snapshot, from, packet, lane.inner.flow) {
                Ok(onward) => onward,
                Err(decision) => return (decision, spread),
            };
            let Some(to) = snapshot.interface(onward.hop.interface) else { break };
            lane.hop.clamp |= snapshot.router(from.router).is_some_and(|router| router.settings.mss_clamp);
            lane.hop.mtu = lane.hop.mtu.min(to.mtu);
            lane.hop.routers = routers;
            spread |= onward.spread;
            match snapshot.interface_at(to.bridge, onward.hop.address) {
                Some((ix, next)) if next.router != from.router => {
                    self.note(|_| Step::Interface(ix));
                    (from, lane.speaker) = (next, Some(ix));
                }
                _ => return (self.towards(snapshot, now, onward.hop, to, lane), spread),
            }
            packet.hops -= 1;
        }
        (Decision::Refer(IcmpError::NetUnreachable, DropReason::Unroutable), spread)
    }

    /// The next hop of a packet that came in by an interface, or what else becomes of it.
    fn onward(&mut self, snapshot: &Snapshot, from: &Interface, packet: Packet, flow: u64) -> Result<Onward, Decision> {
        let Packet { source, destination, hops } = packet;
        let martian = Err(Decision::Drop(DropReason::Martian));
        let (found, back) = (snapshot.route(from.router, destination), snapshot.route(from.router, source));
        let ours = |target| matches!(target, Some((_, Target::Local(_))));
        if !is_a_hosts(source)
            || !is_a_hosts(destination)
            || from.addresses.iter().any(|own| own.is_all_of(source))
            || is_all_of_a_net(snapshot, back, source)
            || is_all_of_a_net(snapshot, found, destination)
            || ours(back)
            || source == from.link_local()
        {
            return martian;
        }
        self.note(|_| Step::Route { router: from.router, to: destination, found });
        if ours(found) || destination == from.link_local() {
            return Err(Decision::Gateway);
        }
        if is_of_the_link(source) || is_of_the_link(destination) {
            return martian;
        }
        if hops <= 1 {
            return Err(Decision::Refer(IcmpError::TimeExceeded, DropReason::TtlExceeded));
        }
        let onward = match found.map(|(_, target)| target) {
            None => return Err(Decision::Refer(IcmpError::NetUnreachable, DropReason::Unroutable)),
            Some(Target::Blackhole) => return Err(Decision::Drop(DropReason::Blackhole)),
            Some(Target::Local(_)) => return Err(Decision::Gateway),
            Some(Target::Connected(interface)) => {
                Onward { hop: NextHop { interface, address: destination }, spread: false }
            }
            Some(Target::Via(ix)) => {
                let hops = snapshot.next_hops(ix);
                let hop = self.choose_hop(snapshot, hops, Pair::share(flow));
                let hop = hop.ok_or(Decision::Refer(IcmpError::NetUnreachable, DropReason::Unroutable))?;
                Onward { hop, spread: hops.len() > 1 }
            }
        };
        self.note(|_| Step::NextHop { interface: onward.hop.interface, address: onward.hop.address });
        let to = snapshot.interface(onward.hop.interface);
        let to = to.ok_or(Decision::Refer(IcmpError::NetUnreachable, DropReason::Unroutable))?;
        let passes = |interface: &Interface| !interface.external || interface.pass_without_nat;
        if !passes(from) || !passes(to) {
            return Err(Decision::Refer(IcmpError::Prohibited, DropReason::Prohibited));
        }
        Ok(onward)
    }

    /// The next hop that wins for a flow among those that have not failed, or if all have, among all (highest random
    /// weight). One that has failed gets its flows back once it answers; whether it does is asked for them.
    fn choose_hop(&mut self, snapshot: &Snapshot, hops: &[NextHop], flow: u64) -> Option<NextHop> {
        if let [only] = hops {
            return Some(*only);
        }
        let secret = snapshot.secret();
        let weight = |hop: &&NextHop| {
            let member = match hop.address {
                IpAddr::V4(v4) => u64::from(v4.to_bits()),
                IpAddr::V6(v6) => secret.mix(v6.to_bits() as u64, (v6.to_bits() >> 64) as u64),
            };
            secret.hash(secret.mix(flow, member))
        };
        let bridge_of = |hop: &NextHop| snapshot.interface(hop.interface).map_or(0, |interface| interface.bridge.0);
        let due = hops.iter().max_by_key(weight)?;
        if !self.hosts.is_failed(bridge_of(due), due.address) {
            return Some(*due);
        }
        if let Some(number) = self.hosts.find(bridge_of(due), due.address)
            && let Some(entry) = self.hosts.get_mut(number)
        {
            entry.wanted = true;
        }
        let is_alive = |hop: &&NextHop| !self.hosts.is_failed(bridge_of(hop), hop.address);
        Some(*hops.iter().filter(is_alive).max_by_key(weight).unwrap_or(due))
    }

    /// How a packet goes to its next hop.
    fn towards(&mut self, snapshot: &Snapshot, now: Time, hop: NextHop, to: &Interface, lane: &mut Parsed) -> Decision {
        let net = Net { bridge: to.bridge, interface: hop.interface };
        if F::TRACED {
            self.note_owner(snapshot, to.bridge, hop.address, now);
        }
        let mac = match self.find_host(snapshot, net, hop.address, now) {
            Ok(mac) => mac,
            Err(decision) => return decision,
        };
        (lane.hop.to, lane.hop.from) = (mac_key(to.bridge, mac), to.mac.to_bits());
        let leaving = leaving(snapshot, lane);
        if F::TRACED {
            self.note_lookup(snapshot, &leaving, now);
        }
        match self.decide(snapshot, &leaving, now.seconds()) {
            Decision::Forward(place) => {
                if place.peer().is_some() {
                    lane.hop.from = snapshot.dvr_mac().to_bits();
                }
                Decision::Route(place)
            }
            Decision::Flood(_) => Decision::RouteToAll,
            Decision::Drop(reason) => Decision::Drop(reason),
            _ => Decision::Refer(IcmpError::HostUnreachable, DropReason::HostUnreachable),
        }
    }

    /// Sends a frame that another gateway has routed out at a place.
    #[inline(never)]
    pub(super) fn forward_delivered<P, E>(&mut self, turn: &mut Turn<'_, P, E>, frame: F, p: &Parsed, place: Place)
    where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        self.forward_from(turn, frame, p, place, p.hop.from);
    }

    /// Sends a routed packet out at a place.
    #[inline(never)]
    pub(super) fn forward_routed<P, E>(&mut self, turn: &mut Turn<'_, P, E>, mut frame: F, p: &Parsed, place: Place)
    where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        if F::TRACED {
            self.note_towards(turn.snapshot, place);
        }
        let slot = match self.way(turn.snapshot, turn.now, turn.stamp, place, p.inner.flow) {
            Ok(slot) => slot,
            Err(reason) => return self.refuse(turn.port, frame, reason),
        };
        let way = self.ways.get(slot);
        let (port, wait, most) = (way.port, way.wait, way.most.min(p.hop.mtu));
        if p.payload_len() > usize::from(most) {
            return self.too_large(turn, frame, p, place, most);
        }
        let written = match hop_on(&mut frame, p, most) {
            Some(()) => self.ways.get(slot).write(&mut frame, p, p.hop.to, p.hop.from),
            None => Err(DropReason::Truncated),
        };
        match (written, wait) {
            (Ok(()), None) => self.send(turn, port, frame),
            (Ok(()), Some(neighbour)) => self.hold(turn, frame, neighbour),
            (Err(reason), _) => self.refuse(turn.port, frame, reason),
        }
    }

    /// Sends a routed packet everywhere on the bridge that it leaves by.
    #[cold]
    pub(super) fn route_to_all<P, E>(&mut self, turn: &mut Turn<'_, P, E>, mut frame: F, p: &Parsed)
    where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        // What fits the smallest way there is not looked for: as with any flood, a copy that does not fit is dropped.
        if hop_on(&mut frame, p, p.hop.mtu).is_none() {
            return self.refuse(turn.port, frame, DropReason::Truncated);
        }
        let lane = leaving(turn.snapshot, p);
        self.flood(turn, frame, &lane, super::meter::Class::Unknown);
    }

    /// The same of a frame that another gateway has routed: its source becomes the gateway's MAC where it leaves the tunnels.
    #[inline(always)]
    pub(super) fn deliver(&self, snapshot: &Snapshot, lane: &mut Parsed, place: Place) -> Decision {
        match place.peer() {
            None if lane.gate.is_any() => {
                let first = snapshot.interfaces_of(lane.bridge).next();
                lane.hop.from = first.map_or(lane.from, |(_, interface)| interface.mac.to_bits());
                Decision::Deliver(place)
            }
            _ => Decision::Forward(place),
        }
    }

    /// Finds the gateway MAC that a frame of another gateway's is delivered with, in full: where there are several gateways, that of the
    /// one in whose net its destination is.
    #[cold]
    pub(super) fn dress(&self, snapshot: &Snapshot, frame: &F, lane: &mut Parsed) {
        let to = destination(frame.head(), lane);
        let covers =
            |interface: &Interface| to.is_some_and(|to| interface.addresses.iter().any(|own| own.contains(to)));
        let of_net = snapshot.interfaces_of(lane.bridge).find(|(_, interface)| covers(interface));
        if let Some((_, interface)) = of_net.or_else(|| snapshot.interfaces_of(lane.bridge).next()) {
            (lane.hop.from, lane.dressed) = (interface.mac.to_bits(), true);
        }
    }
}

/// A lane as it is on the bridge that its packet leaves by.
pub(super) fn leaving(snapshot: &Snapshot, lane: &Parsed) -> Parsed {
    let bridge = lane.hop.bridge();
    Parsed {
        to: lane.hop.to,
        to_hash: snapshot.secret().hash(lane.hop.to),
        from: mac_key(bridge, snapshot.dvr_mac()),
        bridge,
        place: Place::NOWHERE,
        tunnel: false,
        stranger: None,
        priority: 0,
        routed: Routed::No,
        dressed: true,
        ..*lane
    }
}

/// Where an IP packet in a frame goes.
fn destination(head: &[u8], p: &Parsed) -> Option<IpAddr> {
    let at = usize::from(p.rest_at) + usize::from(p.inner.ip_at);
    let packet = head.get(at..)?;
    let len = (p.end as usize).saturating_sub(at);
    match p.inner.ip_version {
        4 => Ipv4::parse_head(packet, len).ok().map(|ip| ip.destination().into()),
        6 => Ipv6::parse_head(packet, len).ok().map(|ip| ip.destination().into()),
        _ => None,
    }
}

/// Whether an address stands for all of the net that the route to it is to.
fn is_all_of_a_net(snapshot: &Snapshot, route: Option<(u8, Target)>, address: IpAddr) -> bool {
    let Some((_, Target::Connected(ix))) = route else { return false };
    snapshot.interface(ix).is_some_and(|interface| interface.addresses.iter().any(|own| own.is_all_of(address)))
}

/// Whether an address is of one link only.
fn is_of_the_link(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// Takes the routers' hops off, and lowers TCP's segment size to what fits `most`, if it is to be. `None` if the header is not there.
#[inline(always)]
pub(super) fn hop_on<F: Frame>(frame: &mut F, p: &Parsed, most: u16) -> Option<()> {
    let ip = frame.head_mut().get_mut(usize::from(p.rest_at) + 2..)?;
    for _ in 0..p.hop.routers {
        match p.inner.ip_version {
            4 => Ipv4Header::decrement_ttl(ip.first_chunk_mut()?),
            _ => Ipv6Header::decrement_hop_limit(ip.first_chunk_mut()?),
        }
    }
    if p.hop.clamp {
        clamp(ip, p.inner.ip_version, most);
    }
    Some(())
}

/// Lowers the segment size that a TCP SYN asks for (RFC 4459 §3.2): `ip` begins with the packet's header.
#[cold]
fn clamp(ip: &mut [u8], version: u8, most: u16) {
    const TCP: u8 = 6;
    let (at, is_tcp) = match version {
        4 => {
            let Ok(header) = Ipv4::parse_head(ip, usize::MAX) else { return };
            (header.header_len(), header.protocol().0 == TCP && header.fragment().is_first())
        }
        _ => {
            let Ok(header) = Ipv6::parse_head(ip, usize::MAX) else { return };
            let Ok(upper) = header.upper(&ip[Ipv6Header::LEN..]) else { return };
            (Ipv6Header::LEN + upper.offset, upper.protocol.0 == TCP && upper.is_first())
        }
    };
    // Without options, of which the segment size says nothing (RFC 6691 §2).
    let headers: u16 = if version == 4 { 40 } else { 60 };
    if let (true, Some(tcp)) = (is_tcp, ip.get_mut(at..)) {
        clamp_mss(tcp, most.saturating_sub(headers));
    }
}
