//! Hosts: who has an address on a routed bridge. Known from endpoints and bindings; asked for where nobody is known; probed while
//! packets go there; given up, and said to be gone, when silent.
//!
//! Packets wait meanwhile as they came in, so many for a host and so many in all, and are routed again when it is known:
//! an answer may come here, or to another worker. Of what is not known, one bridge takes up only its share.
//! A question goes to everybody on the bridge: on its VLANs from the gateway's address and MAC; into tunnels from nobody's
//! address and the DVR MAC, so that the gateway's never cross, and whoever answers for an owner there answers here.
//! Read first: RFC 1122 §2.3.2, RFC 4861 §7.2 and §7.3, RFC 5227 §1.1 (questions from nobody).

use super::counters::{DropReason, Event};
use super::decide::Decision;
use super::learn::Fact;
use super::notice::{Happening, Notice};
use super::parse::{Inner, Parsed};
use super::pipeline::{Gateway, Turn};
use super::resolve::{ND, SHORTEST, write_arp, write_ipv6};
use super::trace::Step;
use crate::tables::{BridgeId, Due, NeighbourState, Net, Place, PortId, Question, Snapshot, mac_key};
use crate::wire::{
    ArpHeader, EthernetHeader, IcmpError, MacAddr, NsPacket, NsProbe, TrafficClass, multicast_mac, solicited_node,
};
use crate::{Egress, Frame, Pool, Time};
use core::net::{IpAddr, Ipv4Addr};

/// One bridge's unknown hosts take up one in so many of the places for hosts.
pub(super) const HOSTS_SHARE: usize = 8;
/// Counters of waiting packets, by the lowest bits of a bridge's number.
pub(super) const WAITING: usize = 256;
/// Hosts looked after in a tick.
const TURN: usize = 64;
/// A binding that was confirmed so many seconds ago, or less, needs no probe.
const FRESH: u16 = 30;

/// A packet that waits for a host.
pub(super) struct Waiting<F> {
    /// The port that it came in by.
    pub(super) port: PortId,
    lane: Parsed,
    frame: F,
}

impl<F: Frame> Gateway<F> {
    /// The MAC of a host on a routed bridge, or what becomes of a packet to it.
    pub(super) fn find_host(
        &mut self,
        snapshot: &Snapshot,
        net: Net,
        address: IpAddr,
        now: Time,
    ) -> Result<MacAddr, Decision> {
        if let Some((mac, _)) = self.owner(snapshot, net.bridge, address, now.seconds()) {
            // Whose address is configured is not looked after; nor is anybody once there is no room for it.
            let learned = self.bindings.get(net.bridge, address, now.seconds()).filter(|known| known.mac == mac);
            if let (Some(known), Some(number)) = (learned, self.want(net, address, now, learned.is_some())) {
                let is_known = self.hosts.is_resolved(number);
                if !is_known && known.age <= FRESH {
                    self.hosts.confirm(net.bridge.0, address, mac, now);
                }
                if let Some(entry) = self.hosts.get_mut(number) {
                    entry.wanted = true;
                }
            }
            return Ok(mac);
        }
        let number = self.hosts.want(net, address, None, now).ok_or(Decision::Drop(DropReason::ResolveFull))?;
        let entry = self.hosts.get_mut(number).ok_or(Decision::Drop(DropReason::ResolveFull))?;
        entry.wanted = true;
        if entry.state == NeighbourState::Failed {
            return Err(Decision::Refer(IcmpError::HostUnreachable, DropReason::HostUnreachable));
        }
        // It has answered, and what it said is not known any more, or was never learned.
        self.hosts.doubt(number, now);
        Err(Decision::Wait(number))
    }

    fn want(&mut self, net: Net, address: IpAddr, now: Time, learned: bool) -> Option<u32> {
        if learned { self.hosts.want(net, address, None, now) } else { None }
    }

    /// Takes note that a host of a routed bridge has said what its MAC is: what waits for it goes with the next tick.
    pub(super) fn host_confirmed(&mut self, bridge: BridgeId, address: IpAddr, mac: MacAddr, now: Time) {
        // Without routers, all that hosts say of themselves comes by here.
        if self.hosts.entries().is_empty() {
            return;
        }
        let Some((number, _)) = self.hosts.confirm(bridge.0, address, mac, now) else { return };
        if self.hosts.get_mut(number).is_some_and(|entry| entry.held > 0) {
            self.waiting.release_later(number);
        }
    }

    /// Lets a packet wait for a host, and asks for it.
    #[cold]
    pub(super) fn wait<P, E>(&mut self, turn: &mut Turn<'_, P, E>, frame: F, lane: &Parsed, number: u32)
    where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        let (held, bridge) = self.hosts.get_mut(number).map_or((u32::MAX, 0), |e| (e.held, e.link.bridge.0));
        // One bridge's absent hosts leave room for the others' packets.
        let share = usize::from(bridge) % WAITING;
        let held = if usize::from(self.waiting_of[share]) >= self.waiting_share { u32::MAX } else { held };
        if let Some(entry) = self.hosts.entries().get(number as usize).copied() {
            self.note(|_| Step::Waits(entry.address));
        }
        match self.waiting.push(number, held, Waiting { port: turn.port, lane: *lane, frame }) {
            Ok(()) => {
                self.waiting_of[share] += 1;
                if let Some(entry) = self.hosts.get_mut(number) {
                    entry.held += 1;
                }
            }
            Err(Waiting { port, frame, .. }) => self.refuse(port, frame, DropReason::ResolveFull),
        }
        if let Some(question) = self.hosts.ask_now(number, turn.now) {
            self.ask_host(turn, question);
        }
    }

    /// The oldest packet that waits for a host.
    fn take_waiting(&mut self, number: u32) -> Option<Waiting<F>> {
        let entry = self.hosts.get_mut(number).filter(|entry| entry.held > 0)?;
        let taken = self.waiting.take(number)?;
        entry.held -= 1;
        self.waiting_of[usize::from(entry.link.bridge.0) % WAITING] -= 1;
        Some(taken)
    }

    /// Looks after the hosts whose time has come, and routes what waited for those that are known by now.
    pub(super) fn hosts_due<P, E>(&mut self, turn: &mut Turn<'_, P, E>)
    where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        while let Some(number) = self.waiting.next_release() {
            self.release_waiting(turn, number);
        }
        let mut due = heapless::Vec::<Due, TURN>::new();
        self.hosts.due(TURN, turn.now, |d| {
            let _ = due.push(d);
        });
        for one in due {
            match one {
                Due::Ask(question) => self.look_after(turn, question),
                Due::Release(number) => self.release_waiting(turn, number),
                Due::Failed(number) => self.host_failed(turn, number),
            }
        }
    }

    /// Routes again what waited for a host. What still has to wait does so: as many as there were are looked at.
    fn release_waiting<P, E>(&mut self, turn: &mut Turn<'_, P, E>, number: u32)
    where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        let arrived = turn.port;
        for _ in 0..self.hosts.get_mut(number).map_or(0, |entry| entry.held) {
            let Some(Waiting { port, mut lane, frame }) = self.take_waiting(number) else { break };
            turn.port = port;
            if self.back(turn.snapshot, &lane).is_none() {
                self.refuse(port, frame, DropReason::PeerGone);
                continue;
            }
            let (decision, _) = self.route(turn.snapshot, turn.now, &frame, &mut lane);
            self.carry_out(turn, frame, &lane, decision);
        }
        turn.port = arrived;
    }

    /// Asks a host that is due, unless it is known by other means.
    fn look_after<P, E>(&mut self, turn: &mut Turn<'_, P, E>, question: Question)
    where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        let Some(&entry) = self.hosts.entries().get(question.neighbour as usize) else { return };
        let (bridge, address, seconds) = (entry.link.bridge, entry.address, turn.now.seconds());
        if let Some((mac, _)) = self.owner(turn.snapshot, bridge, address, seconds) {
            let learned = self.bindings.get(bridge, address, seconds).filter(|known| known.mac == mac);
            // The configuration is not doubted, and who spoke lately is there.
            if learned.is_none_or(|known| known.age < FRESH && known.probes == 0) {
                return self.host_confirmed(bridge, address, mac, turn.now);
            }
        }
        self.ask_host(turn, question);
    }

    /// Nobody answered: what waits is dropped, who sent it is told, and what was known is forgotten, here and by the other
    /// workers.
    fn host_failed<P, E>(&mut self, turn: &mut Turn<'_, P, E>, number: u32)
    where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        let Some(&entry) = self.hosts.entries().get(number as usize) else { return };
        let (bridge, address) = (entry.link.bridge, entry.address);
        self.counters.count(Event::HostFailed);
        self.notices.note(|| Notice {
            bridge: Some(bridge),
            address: Some(address),
            ..Notice::new(Happening::NeighbourFailed)
        });
        if let Some(binding) = self.bindings.forget(bridge, address, turn.now.seconds()) {
            self.aged(&binding);
            if self.shared {
                self.push_offer(Fact::BindingGone { bridge, address, mac: binding.mac, sequence: binding.sequence });
            }
        }
        let arrived = turn.port;
        while let Some(Waiting { port, lane, frame }) = self.take_waiting(number) {
            turn.port = port;
            self.refer(turn, frame, &lane, IcmpError::HostUnreachable, DropReason::HostUnreachable);
        }
        turn.port = arrived;
    }

    /// Asks a host for its MAC: everybody, or the one that is believed to have it.
    fn ask_host<P, E>(&mut self, turn: &mut Turn<'_, P, E>, question: Question)
    where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        let Some(&entry) = self.hosts.entries().get(question.neighbour as usize) else { return };
        let (snapshot, net) = (turn.snapshot, entry.link);
        self.note(|_| Step::Asked(entry.address));
        self.counters.count(Event::HostAsked);
        if !question.to.is_broadcast() {
            let at = self.place_of(snapshot, net.bridge, question.to, turn.now.seconds());
            if let Some((place, _)) = at {
                return self.ask_at(turn, net, entry.address, question.to, place);
            }
        }
        let Some(bridge) = snapshot.bridge(net.bridge) else { return };
        let to = match entry.address {
            IpAddr::V4(_) => MacAddr::BROADCAST,
            IpAddr::V6(target) => multicast_mac(solicited_node(target)),
        };
        for &ix in &bridge.local {
            self.ask_at(turn, net, entry.address, to, Place::new(ix, None));
        }
        for &(ix, peer) in &bridge.remote {
            self.ask_at(turn, net, entry.address, to, Place::new(ix, Some(peer)));
        }
    }

    /// Asks at one place.
    fn ask_at<P, E>(&mut self, turn: &mut Turn<'_, P, E>, net: Net, target: IpAddr, to: MacAddr, place: Place)
    where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        // The number may be another interface's by now.
        let interface = turn.snapshot.interface(net.interface).filter(|interface| interface.bridge == net.bridge);
        let Some(interface) = interface else { return };
        // The gateway's address and MAC never cross a tunnel.
        let ours = interface.address_towards(target).filter(|_| place.peer().is_none());
        let from = if ours.is_some() { interface.mac } else { turn.snapshot.dvr_mac() };
        let len = match (target, ours) {
            (IpAddr::V4(_), _) => SHORTEST,
            (IpAddr::V6(_), Some(_)) => ND,
            (IpAddr::V6(_), None) => EthernetHeader::LEN + NsProbe::LEN,
        };
        let is_to_all = to.is_multicast();
        self.originate(turn, net.bridge, (to, from), place, len, |head| match (target, ours) {
            (IpAddr::V4(target), ours) => {
                let ours = if let Some(IpAddr::V4(ours)) = ours { ours } else { Ipv4Addr::UNSPECIFIED };
                write_arp(head, to, from, &ArpHeader::request(from, ours, target));
            }
            (IpAddr::V6(target), Some(IpAddr::V6(ours))) => {
                let mut packet = NsPacket::new(ours, from, target);
                if !is_to_all {
                    packet.destination = target;
                }
                write_ipv6(head, to, from, |bytes| packet.write(bytes));
            }
            (IpAddr::V6(target), _) => write_ipv6(head, to, from, |bytes| NsProbe { target }.write(bytes)),
        });
    }

    /// Sends a frame of this gateway's own on a bridge, out at one place. `write` writes it, from its MACs on, into `len` bytes.
    pub(super) fn originate<P, E>(
        &mut self,
        turn: &mut Turn<'_, P, E>,
        bridge: BridgeId,
        (to, from): (MacAddr, MacAddr),
        place: Place,
        len: usize,
        write: impl FnOnce(&mut [u8]),
    ) where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        let Some(port) = turn.snapshot.port_of(place.segment()) else { return };
        self.counters.originated += 1;
        let Some(mut frame) = turn.pool.alloc(len) else {
            return self.counters.drop(port, DropReason::NoMbuf);
        };
        write(frame.head_mut());
        // An outer header has the class of the packet that was written (RFC 6040 §4.1), as of any other.
        let (version, class) = match frame.head() {
            [_, _, _, _, _, _, _, _, _, _, _, _, 0x08, 0x00, _, class, ..] => (4, *class),
            [_, _, _, _, _, _, _, _, _, _, _, _, 0x86, 0xdd, high, low, ..] => (6, high << 4 | low >> 4),
            _ => (0, 0),
        };
        let (to, from) = (mac_key(bridge, to), mac_key(bridge, from));
        let flow = turn.snapshot.secret().mix(to, from);
        let class = TrafficClass(class);
        let inner = Inner { flow, class, ip_at: 2, ip_version: version, ..Inner::default() };
        let lane = Parsed { to, from, bridge, rest_at: 12, end: len as u32, inner, ..Parsed::default() };
        let arrived = core::mem::replace(&mut turn.port, port);
        self.forward(turn, frame, &lane, place);
        turn.port = arrived;
    }
}
