//! Refer: telling who sent a packet why it was dropped, by ICMP.
//!
//! From the address of the interface that the packet came in by, back to where it came from; so many a second for a router and no
//! more, so that nobody makes a router shout. Never about ICMP errors, fragments but the first, or what was sent to many.
//! Read first: RFC 1812 §4.3.2, RFC 4443 §2.4, RFC 1191 §4.

use super::counters::{DropReason, Event};
use super::parse::Parsed;
use super::pipeline::{Gateway, Turn};
use super::trace::Step;
use crate::tables::{Interface, RouterIx, RouterSettings, Snapshot};
use crate::wire::{
    EtherType, EthernetHeader, IcmpError, Ipv4, Ipv6, MAX_ERROR4, MAX_ERROR6, MacAddr, TrafficClass, may_cause_error4,
    may_cause_error6, write_error4, write_error6,
};
use crate::{Egress, Frame, Pool, Time};
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An error, in tokens: so many milliseconds of a rate of one a second.
const ONE: u32 = 1000;
/// Rates are not counted above this many a second.
const FASTEST: u32 = 1_000_000;
/// Errors are network control (RFC 1812 §4.3.2.5): DSCP CS6.
const CLASS: TrafficClass = TrafficClass(0xc0);
/// Bytes in front of the quoted packet: an IP header and 8 of the message.
const BEFORE4: usize = 28;
const BEFORE6: usize = 48;

/// A token bucket, filled when it is looked at.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    tokens: u32,
    /// When it was last filled, milliseconds modulo 2^32; 0 is never, and full.
    filled: u32,
}

/// What each router may still tell.
pub(super) struct Rates(Vec<Bucket>);

impl Rates {
    /// Of so many routers.
    pub(super) fn new(routers: usize) -> Self {
        Self(vec![Bucket::default(); routers])
    }

    /// Whether a router may tell one more thing now; if so, that counts. Burst: one second's worth.
    pub(super) fn may_tell(&mut self, router: RouterIx, settings: &RouterSettings, now: Time) -> bool {
        let Some(bucket) = self.0.get_mut(router.index()) else { return false };
        let limit = settings.icmp_limit.min(FASTEST);
        let (full, millis) = (limit * ONE, (now.millis() as u32).max(1));
        let passed = millis.wrapping_sub(bucket.filled).min(ONE);
        let before = if bucket.filled == 0 { full } else { bucket.tokens };
        let tokens = before.saturating_add(passed * limit).min(full);
        let may = tokens >= ONE;
        *bucket = Bucket { tokens: if may { tokens - ONE } else { tokens }, filled: millis };
        may
    }
}

/// Who tells whom.
#[derive(Clone, Copy)]
enum Between {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

impl<F: Frame> Gateway<F> {
    /// Drops a packet for a router, and tells who sent it why.
    #[cold]
    pub(super) fn refer<P, E>(
        &mut self,
        turn: &mut Turn<'_, P, E>,
        frame: F,
        p: &Parsed,
        error: IcmpError,
        reason: DropReason,
    ) where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        self.tell(turn, &frame, p, error);
        self.refuse(turn.port, frame, reason);
    }

    fn tell<P, E>(&mut self, turn: &mut Turn<'_, P, E>, frame: &F, p: &Parsed, error: IcmpError)
    where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        let snapshot = turn.snapshot;
        let at = usize::from(p.rest_at) + 2;
        let Some(between) = between(snapshot, frame.head().get(at..).unwrap_or(&[]), p, error) else { return };
        let Some(router) = speaker(snapshot, p).map(|interface| interface.router) else { return };
        let Some(settings) = snapshot.router(router).map(|router| router.settings) else { return };
        let Some(back) = self.back(snapshot, p) else { return };
        if !self.rates.may_tell(router, &settings, turn.now) {
            return self.counters.count(Event::IcmpLimited);
        }
        let (before, most) = match between {
            Between::V4(..) => (BEFORE4, MAX_ERROR4),
            Between::V6(..) => (BEFORE6, MAX_ERROR6),
        };
        let quoted = (p.end as usize - at).min(most - before);
        let (to, from) = (MacAddr::from_bits(p.from), MacAddr::from_bits(self.mac_at(snapshot, p, back)));
        let len = EthernetHeader::LEN + before + quoted;
        self.note(|_| Step::Told(error));
        self.counters.count(Event::IcmpSent);
        self.originate(turn, p.bridge, (to, from), back, len, |head| {
            let Some((ethernet, packet)) = head.split_first_chunk_mut() else { return };
            // All of it is there: the packet's length was checked.
            if let Some(quote) = packet.get_mut(before..before + quoted) {
                frame.read(at, quote);
            }
            let ether_type = match between {
                Between::V4(source, destination) => {
                    write_error4(error, source, destination, CLASS, quoted, packet);
                    EtherType::IPV4
                }
                Between::V6(source, destination) => {
                    write_error6(error, source, destination, quoted, packet);
                    EtherType::IPV6
                }
            };
            EthernetHeader { destination: to, source: from, ether_type }.write(ethernet);
        });
    }
}

/// The interface that a packet came to its router by.
fn speaker<'a>(snapshot: &'a Snapshot, p: &Parsed) -> Option<&'a Interface> {
    match p.speaker {
        Some(ix) => snapshot.interface(ix),
        None => snapshot.interface_with(p.bridge, MacAddr::from_bits(p.to)).map(|(_, interface)| interface),
    }
}

/// From which address of the interface, and to whom, a packet's error goes, if it may cause one. Over IPv6, of what is sent to the
/// router itself, from the address that it was sent to (RFC 4443 §2.2).
fn between(snapshot: &Snapshot, packet: &[u8], p: &Parsed, error: IcmpError) -> Option<Between> {
    let interface = speaker(snapshot, p)?;
    match p.inner.ip_version {
        4 if may_cause_error4(packet) => {
            let to = Ipv4::parse_head(packet, usize::MAX).ok()?.source();
            match interface.address_towards(to.into())? {
                IpAddr::V4(from) => Some(Between::V4(from, to)),
                IpAddr::V6(_) => None,
            }
        }
        6 if may_cause_error6(packet) => {
            let ip = Ipv6::parse_head(packet, usize::MAX).ok()?;
            let to = ip.source();
            if matches!(error, IcmpError::PortUnreachable | IcmpError::ProtocolUnreachable) {
                return Some(Between::V6(ip.destination(), to));
            }
            match interface.address_towards(to.into())? {
                IpAddr::V6(from) => Some(Between::V6(from, to)),
                IpAddr::V4(_) => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_tells_so_many_a_second_and_a_burst_of_as_many() {
        let mut rates = Rates::new(2);
        let settings = RouterSettings { icmp_limit: 10, ..RouterSettings::default() };
        let told = |rates: &mut Rates, router, at, tries| {
            let now = Time::from_millis(at);
            (0..tries).filter(|_| rates.may_tell(RouterIx(router), &settings, now)).count()
        };
        assert_eq!(told(&mut rates, 0, 1_000, 50), 10);
        assert_eq!(told(&mut rates, 1, 1_000, 50), 10, "each has its own");
        assert_eq!(told(&mut rates, 0, 1_500, 50), 5);
        assert_eq!(told(&mut rates, 0, 60_000, 50), 10);
        let silent = RouterSettings::default();
        assert!(!rates.may_tell(RouterIx(0), &silent, Time::from_millis(99_000)));
        assert!(!rates.may_tell(RouterIx(2), &settings, Time::from_millis(99_000)), "there is no such router");
    }
}
