//! Resolve: next hops on the underlay. Asks by ARP or neighbour discovery, holds frames meanwhile, releases or drops them.
//!
//! Read first: RFC 826, RFC 4861 §7.2, RFC 1122 §2.3.2 (hold frames, and not too many; ask no more than once a second).

use super::counters::{Counters, DropReason, Event};
use super::notice::{Happening, Notice};
use super::pipeline::{Gateway, Turn};
use super::trace::Step;
use crate::tables::{Due, Neighbour, PortId, Question, Underlay};
use crate::wire::{ArpHeader, EtherType, EthernetHeader, MacAddr, NsPacket, multicast_mac};
use crate::{Egress, Frame, Pool};
use alloc::vec::Vec;
use core::net::IpAddr;

/// So many frames wait for one next hop at most.
const PER_NEIGHBOUR: u32 = 32;
/// Next hops looked after in a tick.
const TURN: usize = 64;
/// The shortest Ethernet frame without FCS, bytes (IEEE 802.3 §3.2.7).
pub(super) const SHORTEST: usize = 60;
/// A frame with a neighbour solicitation or advertisement, bytes.
pub(super) const ND: usize = 14 + NsPacket::LEN;

/// Frames that wait for a neighbour, each with what it takes to go on; oldest first.
pub(super) struct Held<T> {
    frames: Vec<(u32, T)>,
    capacity: usize,
    /// Neighbours that are known by now and that frames wait for: as many as frames at most.
    release: Vec<u32>,
}

impl<T> Held<T> {
    pub(super) fn new(capacity: usize) -> Self {
        Self { frames: Vec::with_capacity(capacity), capacity, release: Vec::with_capacity(capacity) }
    }

    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Lets one more frame wait for a neighbour that so many wait for already; it comes back if there is no room.
    pub(super) fn push(&mut self, neighbour: u32, waiting: u32, frame: T) -> Result<(), T> {
        if self.frames.len() >= self.capacity || waiting >= PER_NEIGHBOUR {
            return Err(frame);
        }
        self.frames.push((neighbour, frame));
        Ok(())
    }

    /// The oldest that waits for a neighbour.
    pub(super) fn take(&mut self, neighbour: u32) -> Option<T> {
        let at = self.frames.iter().position(|(n, _)| *n == neighbour)?;
        Some(self.frames.remove(at).1)
    }

    /// Notes that a neighbour is known; its frames go with the next tick.
    pub(super) fn release_later(&mut self, neighbour: u32) {
        if !self.release.contains(&neighbour) {
            self.release.push(neighbour);
        }
    }

    /// A neighbour whose frames may go.
    pub(super) fn next_release(&mut self) -> Option<u32> {
        self.release.pop()
    }

    /// Drops all; `port` says by which port a frame came in.
    pub(super) fn drop_all(&mut self, counters: &mut Counters, port: impl Fn(&T) -> PortId) {
        for (_, frame) in self.frames.drain(..) {
            counters.drop(port(&frame), DropReason::Stopped);
        }
    }
}

impl<F: Frame> Gateway<F> {
    /// Notes that a next hop is resolved; its frames go with the next tick.
    pub(super) fn release_later(&mut self, neighbour: u32) {
        if self.neighbours.get_mut(neighbour).is_some_and(|n| n.held > 0) {
            self.held.release_later(neighbour);
        }
    }

    /// The oldest frame that waits for a next hop.
    fn take_held(&mut self, neighbour: u32) -> Option<(PortId, F)> {
        let entry = self.neighbours.get_mut(neighbour).filter(|n| n.held > 0)?;
        let taken = self.held.take(neighbour)?;
        entry.held -= 1;
        Some(taken)
    }

    /// Lets a frame wait for a next hop, and asks for it.
    #[cold]
    pub(super) fn hold<P, E>(&mut self, turn: &mut Turn<'_, P, E>, frame: F, neighbour: u32)
    where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        if let Some(entry) = self.neighbours.entries().get(neighbour as usize).copied() {
            self.note(|_| Step::Waits(entry.address));
        }
        match self.neighbours.get_mut(neighbour) {
            Some(entry) => match self.held.push(neighbour, entry.held, (turn.port, frame)) {
                Ok(()) => entry.held += 1,
                Err((port, frame)) => self.refuse(port, frame, DropReason::HoldFull),
            },
            None => self.refuse(turn.port, frame, DropReason::HoldFull),
        }
        if let Some(question) = self.neighbours.ask_now(neighbour, turn.now) {
            self.ask(turn, question);
        }
    }

    /// Sends the frames that waited for a next hop.
    pub(super) fn release<P, E>(&mut self, turn: &mut Turn<'_, P, E>, neighbour: u32)
    where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        let Some(&Neighbour { link: Underlay { port, .. }, mac, .. }) =
            self.neighbours.entries().get(neighbour as usize)
        else {
            return;
        };
        let arrived = turn.port;
        while let Some((from, mut frame)) = self.take_held(neighbour) {
            turn.port = from;
            if let Some(destination) = frame.head_mut().first_chunk_mut() {
                *destination = mac.0;
            }
            self.send(turn, port, frame);
        }
        turn.port = arrived;
    }

    /// Asks for a next hop.
    fn ask<P, E>(&mut self, turn: &mut Turn<'_, P, E>, question: Question)
    where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        let Some(&entry) = self.neighbours.entries().get(question.neighbour as usize) else { return };
        let Some(vtep) = turn.snapshot.vtep(entry.link.vtep) else { return };
        let Some(info) = turn.snapshot.ports().get(entry.link.port.index()) else { return };
        self.note(|_| Step::Asked(entry.address));
        let (len, event) = if entry.address.is_ipv4() { (SHORTEST, Event::ArpAsked) } else { (ND, Event::NdAsked) };
        self.counters.originated += 1;
        let Some(mut frame) = turn.pool.alloc(len) else {
            return self.counters.drop(entry.link.port, DropReason::NoMbuf);
        };
        match (vtep.address, entry.address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let request = ArpHeader::request(info.mac, ours, theirs);
                write_arp(frame.head_mut(), question.to, info.mac, &request);
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let mut packet = NsPacket::new(ours, info.mac, theirs);
                let mut to = multicast_mac(packet.destination);
                if !question.to.is_broadcast() {
                    (packet.destination, to) = (theirs, question.to);
                }
                write_ipv6(frame.head_mut(), to, info.mac, |bytes| packet.write(bytes));
            }
            // A next hop is of its vtep's family.
            _ => return self.refuse(entry.link.port, frame, DropReason::NoRoute),
        }
        self.counters.count(event);
        let arrived = core::mem::replace(&mut turn.port, entry.link.port);
        self.send(turn, entry.link.port, frame);
        turn.port = arrived;
    }

    /// Looks after the next hops whose time has come.
    pub(super) fn resolve_due<P, E>(&mut self, turn: &mut Turn<'_, P, E>)
    where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        while let Some(neighbour) = self.held.next_release() {
            self.release(turn, neighbour);
        }
        let mut due = heapless::Vec::<Due, TURN>::new();
        self.neighbours.due(TURN, turn.now, |d| {
            let _ = due.push(d);
        });
        for one in due {
            match one {
                Due::Ask(question) => self.ask(turn, question),
                Due::Release(neighbour) => self.release(turn, neighbour),
                Due::Failed(neighbour) => {
                    self.counters.count(Event::NeighbourFailed);
                    if let Some(entry) = self.neighbours.entries().get(neighbour as usize) {
                        let (port, address) = (Some(entry.link.port), Some(entry.address));
                        self.notices.note(|| Notice { port, address, ..Notice::new(Happening::NeighbourFailed) });
                    }
                    while let Some((port, frame)) = self.take_held(neighbour) {
                        self.refuse(port, frame, DropReason::NextHopFailed);
                    }
                }
            }
        }
    }
}

/// Writes an ARP message as an untagged frame at the beginning of `head`, which is long enough.
pub(super) fn write_arp(head: &mut [u8], to: MacAddr, from: MacAddr, arp: &ArpHeader) {
    let Some((ethernet, rest)) = head.split_first_chunk_mut() else { return };
    EthernetHeader { destination: to, source: from, ether_type: EtherType::ARP }.write(ethernet);
    if let Some((message, _)) = rest.split_first_chunk_mut() {
        arp.write(message);
    }
}

/// Writes an IPv6 packet of `N` bytes as an untagged frame at the beginning of `head`, which is long enough.
pub(super) fn write_ipv6<const N: usize>(
    head: &mut [u8],
    to: MacAddr,
    from: MacAddr,
    packet: impl FnOnce(&mut [u8; N]),
) {
    let Some((ethernet, rest)) = head.split_first_chunk_mut() else { return };
    EthernetHeader { destination: to, source: from, ether_type: EtherType::IPV6 }.write(ethernet);
    if let Some((bytes, _)) = rest.split_first_chunk_mut() {
        packet(bytes);
    }
}
