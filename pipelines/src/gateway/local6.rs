//! Local, over IPv6: neighbour discovery and ping for the vteps.
//!
//! Refuses: discovery that RFC 4861 §7.1 calls invalid, fragments of it (RFC 6980), and to believe it about anyone that it does not
//! need. Read first: RFC 4861 §7.2, RFC 4862 §5.4 (duplicate address detection), RFC 4443 §4.2 (echo).

use super::counters::{DropReason, Event};
use super::local::{Ending, TTL};
use super::pipeline::{Gateway, Turn};
use super::resolve::{ND, write_ipv6};
use crate::wire::{Icmpv6, Icmpv6Type, IpProtocol, Ipv6, MacAddr, NaPacket, Nd, multicast_mac};
use crate::{Egress, Frame, Pool};
use core::net::Ipv6Addr;

impl<F: Frame> Gateway<F> {
    /// An ICMPv6 message on the underlay: to a vtep, or to the group of one.
    pub(super) fn icmpv6<P, E>(
        &mut self,
        turn: &mut Turn<'_, P, E>,
        frame: &mut F,
        rest_at: usize,
    ) -> Result<Ending, DropReason>
    where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        let (ip_at, len) = (rest_at + 2, frame.len());
        let head = frame.head();
        let from = MacAddr([head[6], head[7], head[8], head[9], head[10], head[11]]);
        let ip = Ipv6::parse_head(&head[ip_at..], len - ip_at).map_err(|_| DropReason::MalformedIpv6)?;
        if ip.next_header() != IpProtocol::ICMPV6 {
            return Err(DropReason::NotForUs);
        }
        let (source, destination, limit, payload_len) =
            (ip.source(), ip.destination(), ip.hop_limit(), ip.payload_len());
        let payload = head.get(ip_at + 40..).unwrap_or(&[]);
        let (icmp, _) = Icmpv6::parse(&payload[..payload.len().min(payload_len)]).map_err(|_| DropReason::Truncated)?;
        match icmp.icmp_type() {
            Icmpv6Type::ECHO_REQUEST if destination.is_multicast() => Err(DropReason::NotForUs),
            // Nobody to answer: no single node has such an address (RFC 4291 §2.5.2, §2.5.3, §2.7), or it is the vtep's own.
            Icmpv6Type::ECHO_REQUEST
                if source.is_multicast()
                    || source.is_unspecified()
                    || source.is_loopback()
                    || turn.snapshot.vtep_at(turn.port, source.into()).is_some() =>
            {
                Err(DropReason::NotForUs)
            }
            Icmpv6Type::ECHO_REQUEST => self.echo6(frame, ip_at),
            Icmpv6Type::NEIGHBOUR_SOLICITATION | Icmpv6Type::NEIGHBOUR_ADVERTISEMENT => {
                // Its checksum is over all of it, in however many segments that came.
                let end = ip_at + 40 + payload_len;
                if frame.head().len() < end && !frame.pull(end) {
                    return Err(DropReason::NoHeadroom);
                }
                let message = &frame.head()[ip_at + 40..end];
                let nd = Nd::parse(source, destination, limit, message).map_err(|_| DropReason::MalformedNd)?;
                self.discovery(turn, source, from, nd)
            }
            _ => Err(DropReason::NotForUs),
        }
    }

    /// Answers a solicitation for a vtep, and takes note of what a next hop says of itself.
    fn discovery<P, E>(
        &mut self,
        turn: &mut Turn<'_, P, E>,
        source: Ipv6Addr,
        from: MacAddr,
        nd: Nd,
    ) -> Result<Ending, DropReason>
    where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        let is_ours = |address: Ipv6Addr| turn.snapshot.vtep_at(turn.port, address.into()).is_some();
        if is_ours(source) {
            return Err(DropReason::NotForUs);
        }
        match nd {
            Nd::Solicitation { target, source_mac } => {
                if !is_ours(target) {
                    return Err(DropReason::NotForUs);
                }
                let info = turn.snapshot.ports().get(turn.port.index()).ok_or(DropReason::NotForUs)?;
                let answer = NaPacket::answer(source, target, info.mac);
                // Whoever has no address yet hears it with everybody (RFC 4861 §7.2.4).
                let to = match answer.destination.is_multicast() {
                    true => multicast_mac(answer.destination),
                    false => source_mac.filter(|mac| mac.is_source()).unwrap_or(from),
                };
                self.counters.originated += 1;
                match turn.pool.alloc(ND) {
                    Some(mut reply) => {
                        write_ipv6(reply.head_mut(), to, info.mac, |bytes| answer.write(bytes));
                        self.counters.count(Event::NdAnswered);
                        self.send(turn, turn.port, reply);
                    }
                    None => self.counters.drop(turn.port, DropReason::NoMbuf),
                }
                if let Some(mac) = source_mac.filter(|mac| mac.is_source() && !source.is_unspecified()) {
                    self.confirm(turn, source.into(), mac, false);
                }
                Ok(Ending::Consumed)
            }
            Nd::Advertisement { target, target_mac, solicited, override_, .. } => {
                let known = self.neighbours.mac(turn.port.0, target.into());
                // Without a MAC, an answer to a question by unicast confirms the one that is known (RFC 4861 §4.4).
                let said = target_mac.filter(|mac| mac.is_source()).or(known.filter(|_| solicited));
                let Some(mac) = said.filter(|_| !is_ours(target)) else { return Err(DropReason::NotForUs) };
                // What does not override is not believed against what is known (RFC 4861 §7.2.5).
                if !override_ && known.is_some_and(|known| known != mac) {
                    return Err(DropReason::NotForUs);
                }
                let taught = self.confirm(turn, target.into(), mac, solicited);
                if !taught && solicited && self.shared {
                    self.offer_neighbour(turn.port, target.into(), mac);
                    return Ok(Ending::Consumed);
                }
                if taught { Ok(Ending::Consumed) } else { Err(DropReason::NotForUs) }
            }
        }
    }

    /// Turns an echo request to a vtep into the reply.
    fn echo6(&mut self, frame: &mut F, ip_at: usize) -> Result<Ending, DropReason> {
        let head = frame.head_mut();
        let Some((before, ip)) = head.split_at_mut_checked(ip_at) else { return Err(DropReason::Truncated) };
        let payload_len = ip.get(4..).and_then(|rest| rest.first_chunk()).map_or(0, |len| u16::from_be_bytes(*len));
        let Some((fixed, behind)) = ip.split_first_chunk_mut::<40>() else { return Err(DropReason::Truncated) };
        if !behind.first_chunk_mut().is_some_and(Icmpv6::answer) {
            return Err(DropReason::NotForUs);
        }
        before[..12].rotate_left(6);
        fixed[8..].rotate_left(16);
        fixed[7] = TTL;
        frame.truncate(ip_at + 40 + usize::from(payload_len));
        self.counters.count(Event::EchoAnswered);
        Ok(Ending::Answer)
    }
}
