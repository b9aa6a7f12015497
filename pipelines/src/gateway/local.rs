//! Local: what the gateway answers for its own addresses on the underlay. ARP, neighbour discovery and ping, and no more.
//! What is IPv6's alone is in `local6.rs`.
//!
//! Refuses: ARP about addresses that are no vtep's, and to believe ARP about anyone it does not need.
//! Read first: RFC 826, RFC 5227 §2.1 (probes), RFC 1122 §3.2.2.6 (echo).

use super::counters::{DropReason, Event};
use super::learn::Fact;
use super::pipeline::{Gateway, Turn};
use crate::tables::PortId;
use crate::wire::checksum::Delta;
use crate::wire::{Arp, ArpOperation, EtherType, Icmp, IcmpType, Ipv4, MacAddr};
use crate::{Egress, Frame, Pool};
use core::net::IpAddr;

/// TTL of what the gateway sends.
pub(super) const TTL: u8 = 64;

/// How a frame for the gateway itself ends, unless it is dropped.
pub(super) enum Ending {
    /// It was made the answer, and goes back.
    Answer,
    /// It taught this worker something, or another one, and goes no further.
    Consumed,
}

impl<F: Frame> Gateway<F> {
    /// The step, for one frame whose EtherType is at `rest_at`.
    #[cold]
    pub(super) fn local<P, E>(&mut self, turn: &mut Turn<'_, P, E>, mut frame: F, rest_at: usize)
    where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        let ether_type = frame.head().get(rest_at..).and_then(|rest| rest.first_chunk()).copied();
        let outcome = match ether_type.map(|bytes| EtherType(u16::from_be_bytes(bytes))) {
            Some(EtherType::ARP) => self.arp(turn, &mut frame, rest_at),
            Some(EtherType::IPV6) => self.icmpv6(turn, &mut frame, rest_at),
            _ => self.echo(&mut frame, rest_at),
        };
        match outcome {
            Ok(Ending::Answer) => self.send(turn, turn.port, frame),
            Ok(Ending::Consumed) => self.consume(frame),
            Err(reason) => self.refuse(turn.port, frame, reason),
        }
    }

    /// Takes note of an ARP message, and turns a request for a vtep into the answer.
    fn arp<P, E>(&mut self, turn: &mut Turn<'_, P, E>, frame: &mut F, rest_at: usize) -> Result<Ending, DropReason>
    where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        let head = frame.head_mut();
        let (arp, _) = Arp::parse(&head[rest_at + 2..]).map_err(|_| DropReason::MalformedArp)?;
        let message = arp.header();
        let ours = turn.snapshot.vtep_at(turn.port, message.target_ip.into()).is_some();
        let sender_is_ours = turn.snapshot.vtep_at(turn.port, message.sender_ip.into()).is_some();
        let believable = message.sender_mac.is_source() && !sender_is_ours && !arp.is_probe();
        if message.operation == ArpOperation::REQUEST && ours && message.sender_mac.is_source() && !sender_is_ours {
            let info = turn.snapshot.ports().get(turn.port.index()).ok_or(DropReason::NotForUs)?;
            let answer = message.reply(info.mac);
            head[..6].copy_from_slice(&message.sender_mac.0);
            head[6..12].copy_from_slice(&info.mac.0);
            if let Some(place) = head[rest_at + 2..].first_chunk_mut() {
                answer.write(place);
            }
            self.counters.count(Event::ArpAnswered);
            if believable {
                self.confirm(turn, message.sender_ip.into(), message.sender_mac, false);
            }
            return Ok(Ending::Answer);
        }
        // The answer to what another worker asked may come here: a device may give all ARP to one of them.
        let answers_us = ours && message.operation == ArpOperation::REPLY;
        let taught = believable && self.confirm(turn, message.sender_ip.into(), message.sender_mac, answers_us);
        if believable && !taught && answers_us && self.shared {
            self.offer_neighbour(turn.port, message.sender_ip.into(), message.sender_mac);
            return Ok(Ending::Consumed);
        }
        if taught { Ok(Ending::Consumed) } else { Err(DropReason::NotForUs) }
    }

    /// Believes a next hop what its MAC is, sends what waited for it, and lets the other workers know: news, and answers,
    /// which are no news here where another worker asked. False if no next hop has that address, or its MAC is configured.
    pub(super) fn confirm<P, E>(
        &mut self,
        turn: &mut Turn<'_, P, E>,
        address: IpAddr,
        mac: MacAddr,
        answer: bool,
    ) -> bool
    where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        let Some((number, news)) = self.neighbours.confirm(turn.port.0, address, mac, turn.now) else { return false };
        self.counters.count(Event::NeighbourConfirmed);
        self.release(turn, number);
        if self.shared && (news || answer) {
            self.offer_neighbour(turn.port, address, mac);
        }
        true
    }

    /// Lets the other workers know of a next hop: so many a tick at most, so that a storm of ARP leaves room for MACs.
    pub(super) fn offer_neighbour(&mut self, port: PortId, address: IpAddr, mac: MacAddr) {
        if self.neighbour_offers > 0 {
            self.neighbour_offers -= 1;
            self.push_offer(Fact::Neighbour { port, address, mac });
        } else {
            self.counters.count(Event::OfferFull);
        }
    }

    /// Turns an echo request to a vtep into the reply.
    fn echo(&mut self, frame: &mut F, rest_at: usize) -> Result<Ending, DropReason> {
        let ip_at = rest_at + 2;
        let len = frame.len();
        let head = frame.head_mut();
        let ip = Ipv4::parse_head(&head[ip_at..], len - ip_at).map_err(|_| DropReason::MalformedIpv4)?;
        let (header_len, total_len, ttl) = (ip.header_len(), ip.total_len(), ip.ttl());
        let (icmp, _) = Icmp::parse(&head[ip_at + header_len..]).map_err(|_| DropReason::Truncated)?;
        // What lies behind the IP length is padding, and no part of the message.
        if total_len < header_len + 8 {
            return Err(DropReason::Truncated);
        }
        // Options ask for more than an answer, and nobody needs them in a ping.
        if header_len != 20 || icmp.icmp_type() != IcmpType::ECHO_REQUEST || icmp.code() != 0 {
            return Err(DropReason::NotForUs);
        }
        let macs = &mut head[..12];
        macs.rotate_left(6);
        let addresses = &mut head[ip_at + 12..ip_at + 20];
        addresses.rotate_left(4);
        let ip_head = &mut head[ip_at..ip_at + 20];
        ip_head[8] = TTL;
        update(ip_head, 10, Delta::new().u16(u16::from(ttl) << 8, u16::from(TTL) << 8));
        let message = &mut head[ip_at + 20..];
        message[0] = IcmpType::ECHO_REPLY.0;
        let request = u16::from(IcmpType::ECHO_REQUEST.0) << 8;
        update(message, 2, Delta::new().u16(request, u16::from(IcmpType::ECHO_REPLY.0) << 8));
        frame.truncate(ip_at + total_len);
        self.counters.count(Event::EchoAnswered);
        Ok(Ending::Answer)
    }
}

/// Updates the checksum at `at`. A wrong one stays wrong.
pub(super) fn update(bytes: &mut [u8], at: usize, delta: Delta) {
    let old = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    bytes[at..at + 2].copy_from_slice(&delta.apply(old).to_be_bytes());
}
