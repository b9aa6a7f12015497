//! Gate: what is sent to a router itself. Ping is answered; all else is told that nobody is there.
//!
//! The answer goes back to who sent the packet, on the same bridge: a host that can send to the gateway can hear it. ARP and
//! neighbour discovery for the gateway's addresses are answered where all questions are ([`super::suppress`]).
//! Read first: RFC 1812 §4.3.3.6, RFC 4443 §4.2, RFC 1122 §3.2.2.6.

use super::counters::{DropReason, Event};
use super::local::{TTL, update};
use super::parse::{Parsed, Routed};
use super::pipeline::{Gateway, Turn};
use crate::tables::{Place, Snapshot};
use crate::wire::checksum::Delta;
use crate::wire::{Icmp, IcmpError, IcmpType, Icmpv6, IpProtocol, Ipv4, Ipv6, Ipv6Header};
use crate::{Egress, Frame, Pool};

/// What becomes of a packet to the router.
enum Answer {
    /// It was made the answer.
    Reply,
    /// Who sent it is told why not.
    Refer(IcmpError),
}

impl<F: Frame> Gateway<F> {
    /// The step, for one packet to an address of its router's.
    #[cold]
    pub(super) fn gateway<P, E>(&mut self, turn: &mut Turn<'_, P, E>, mut frame: F, p: &Parsed)
    where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        let at = usize::from(p.rest_at) + 2;
        let len = (p.end as usize).saturating_sub(at);
        let packet = frame.head_mut().get_mut(at..).unwrap_or(&mut []);
        let answer = match p.inner.ip_version {
            4 => answer4(packet, len),
            _ => answer6(packet, len),
        };
        match answer {
            Ok(Answer::Reply) => {
                let Some(back) = self.back(turn.snapshot, p) else {
                    return self.refuse(turn.port, frame, DropReason::PeerGone);
                };
                self.counters.count(Event::EchoAnswered);
                let lane = Parsed { to: p.from, from: self.mac_at(turn.snapshot, p, back), routed: Routed::No, ..*p };
                self.forward(turn, frame, &lane, back);
            }
            Ok(Answer::Refer(error)) => self.refer(turn, frame, p, error, DropReason::PortUnreachable),
            Err(reason) => self.refuse(turn.port, frame, reason),
        }
    }

    /// The place that a frame came from. `None` if that is a peer for whom there is no number.
    pub(super) fn back(&self, snapshot: &Snapshot, p: &Parsed) -> Option<Place> {
        // A packet that waited may have outlived that its segment was its bridge's.
        snapshot.segment(p.place.segment()).filter(|segment| segment.bridge == p.bridge)?;
        if !p.tunnel {
            return Some(p.place);
        }
        // A peer that had no number has one since its MAC was learned, unless none was left.
        let peer = self.origin(snapshot, p).and_then(|peer| self.peers.find(snapshot, peer))?;
        Some(Place::new(p.place.segment(), Some(peer)))
    }

    /// The MAC with which a router's own packets leave for a place: that of the gateway that the frame was for, or, into a tunnel,
    /// this gateway's DVR MAC.
    pub(super) fn mac_at(&self, snapshot: &Snapshot, p: &Parsed, place: Place) -> u64 {
        if place.peer().is_some() { snapshot.dvr_mac().to_bits() } else { p.to }
    }
}

/// Makes an echo request over IPv4 its reply, in place.
fn answer4(packet: &mut [u8], len: usize) -> Result<Answer, DropReason> {
    let ip = Ipv4::parse_head(packet, len).map_err(|_| DropReason::MalformedIpv4)?;
    let (header_len, total_len, ttl, protocol) = (ip.header_len(), ip.total_len(), ip.ttl(), ip.protocol());
    if ip.fragment().is_fragment() {
        return Err(DropReason::NotForUs);
    }
    match protocol {
        IpProtocol::ICMP => {}
        IpProtocol::UDP | IpProtocol::TCP => return Ok(Answer::Refer(IcmpError::PortUnreachable)),
        _ => return Ok(Answer::Refer(IcmpError::ProtocolUnreachable)),
    }
    let (icmp, _) = Icmp::parse(&packet[header_len..]).map_err(|_| DropReason::Truncated)?;
    if total_len < header_len + 8 {
        return Err(DropReason::Truncated);
    }
    if header_len != 20 || icmp.icmp_type() != IcmpType::ECHO_REQUEST || icmp.code() != 0 {
        return Err(DropReason::NotForUs);
    }
    packet[12..20].rotate_left(4);
    packet[8] = TTL;
    update(packet, 10, Delta::new().u16(u16::from(ttl) << 8, u16::from(TTL) << 8));
    let message = &mut packet[20..];
    message[0] = IcmpType::ECHO_REPLY.0;
    let (request, reply) = (u16::from(IcmpType::ECHO_REQUEST.0) << 8, u16::from(IcmpType::ECHO_REPLY.0) << 8);
    update(message, 2, Delta::new().u16(request, reply));
    Ok(Answer::Reply)
}

/// The same over IPv6.
fn answer6(packet: &mut [u8], len: usize) -> Result<Answer, DropReason> {
    let ip = Ipv6::parse_head(packet, len).map_err(|_| DropReason::MalformedIpv6)?;
    match ip.next_header() {
        IpProtocol::ICMPV6 => {}
        IpProtocol::UDP | IpProtocol::TCP => return Ok(Answer::Refer(IcmpError::PortUnreachable)),
        IpProtocol::FRAGMENT | IpProtocol::NONE => return Err(DropReason::NotForUs),
        // Behind extension headers, nothing is answered.
        IpProtocol::HOP_BY_HOP | IpProtocol::ROUTING | IpProtocol::DESTINATION_OPTIONS => {
            return Err(DropReason::NotForUs);
        }
        _ => return Ok(Answer::Refer(IcmpError::ProtocolUnreachable)),
    }
    if ip.payload_len() < 8 {
        return Err(DropReason::Truncated);
    }
    let Some((fixed, behind)) = packet.split_first_chunk_mut::<{ Ipv6Header::LEN }>() else {
        return Err(DropReason::Truncated);
    };
    if !behind.first_chunk_mut().is_some_and(Icmpv6::answer) {
        return Err(DropReason::NotForUs);
    }
    fixed[8..].rotate_left(16);
    fixed[7] = TTL;
    Ok(Answer::Reply)
}
