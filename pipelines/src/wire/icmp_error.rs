//! ICMP and ICMPv6 errors: what a router says about a packet that it does not forward.
//!
//! Owns: the errors that the gateway sends, in the words of either protocol; whole packets that carry them; and about
//! which packets nothing may be said at all. Refuses: packets longer than [`MAX_ERROR4`] and [`MAX_ERROR6`]. How often
//! errors are sent, and whether a destination is some subnet's directed broadcast, is the caller's business.
//! Read first: RFC 792; RFC 1812 §4.3.2; RFC 1191 §4; RFC 4443 §2.4 and §3.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::checksum::Sum;
use super::{EchoHeader, Fragment, IcmpType, Icmpv6Type, IpProtocol, Ipv4, Ipv4Header, Ipv6, Ipv6Header, TrafficClass};

/// The longest IPv4 packet with an error in it: bytes (RFC 1812 §4.3.2.3).
pub const MAX_ERROR4: usize = 576;

/// The longest IPv6 packet with an error in it: bytes, what every link takes (RFC 4443 §2.4 (c)).
pub const MAX_ERROR6: usize = 1280;

/// Hops that an error may go (RFC 1700, "Assigned Numbers").
const HOPS: u8 = 64;

/// Where the quoted packet begins: behind the IP header, and 8 bytes of the message.
const QUOTE_AT4: usize = Ipv4Header::LEN + EchoHeader::LEN;
const QUOTE_AT6: usize = Ipv6Header::LEN + EchoHeader::LEN;

/// Where the Next Header field stands in an IPv6 header: the pointer of a parameter problem about it.
const NEXT_HEADER_AT: u8 = 6;

/// What became of a packet, or why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IcmpError {
    /// It ran out of hops.
    TimeExceeded,
    /// There is no route to its destination.
    NetUnreachable,
    /// There is a route, but nobody answers there.
    HostUnreachable,
    /// Nobody listens at that port of the gateway's.
    PortUnreachable,
    /// The gateway does not speak that protocol.
    ProtocolUnreachable,
    /// A rule forbids it.
    Prohibited,
    /// It does not fit the next link, and must not, or cannot, be fragmented.
    TooBig {
        /// What fits: bytes from the IP header on.
        mtu: u16,
    },
}

impl IcmpError {
    /// Type, code and bytes 4 to 7 of the ICMP message (RFC 792; RFC 1812 §5.2.7.1 for code 13, RFC 1191 §4 for the MTU).
    #[inline]
    pub const fn v4(self) -> (u8, u8, [u8; 4]) {
        match self {
            Self::TimeExceeded => (IcmpType::TIME_EXCEEDED.0, 0, [0; 4]),
            Self::NetUnreachable => (IcmpType::UNREACHABLE.0, 0, [0; 4]),
            Self::HostUnreachable => (IcmpType::UNREACHABLE.0, 1, [0; 4]),
            Self::ProtocolUnreachable => (IcmpType::UNREACHABLE.0, 2, [0; 4]),
            Self::PortUnreachable => (IcmpType::UNREACHABLE.0, 3, [0; 4]),
            Self::TooBig { mtu } => (IcmpType::UNREACHABLE.0, 4, (mtu as u32).to_be_bytes()),
            Self::Prohibited => (IcmpType::UNREACHABLE.0, 13, [0; 4]),
        }
    }

    /// Type, code and bytes 4 to 7 of the ICMPv6 message (RFC 4443 §3). A protocol that is not spoken is a parameter
    /// problem there: its pointer is that of a packet without extension headers.
    #[inline]
    pub const fn v6(self) -> (u8, u8, [u8; 4]) {
        match self {
            Self::TimeExceeded => (Icmpv6Type::TIME_EXCEEDED.0, 0, [0; 4]),
            Self::NetUnreachable => (Icmpv6Type::UNREACHABLE.0, 0, [0; 4]),
            Self::Prohibited => (Icmpv6Type::UNREACHABLE.0, 1, [0; 4]),
            Self::HostUnreachable => (Icmpv6Type::UNREACHABLE.0, 3, [0; 4]),
            Self::PortUnreachable => (Icmpv6Type::UNREACHABLE.0, 4, [0; 4]),
            Self::TooBig { mtu } => (Icmpv6Type::PACKET_TOO_BIG.0, 0, (mtu as u32).to_be_bytes()),
            Self::ProtocolUnreachable => (Icmpv6Type::PARAMETER_PROBLEM.0, 1, [0, 0, 0, NEXT_HEADER_AT]),
        }
    }
}

/// Writes an IPv4 packet with an error around its quote, and answers the packet's length: 28 bytes more than the quote.
/// `packet` holds the quote already: `quote_len` bytes from its byte 28 on, the beginning of the packet that the error
/// is about. Every byte before is written, none behind.
///
/// The packet may be fragmented, and there is no counter here to number it by; its identification is the ICMP checksum.
/// What RFC 6864 §4.3 fears, fragments of unlike packets joined, takes two packets that differ and have the same one;
/// and a host must take 576 bytes, so that links which fragment them are hard to find.
///
/// `None` if `packet` is shorter than that, or that is more than [`MAX_ERROR4`].
#[inline]
pub fn write_error4(
    error: IcmpError,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    traffic_class: TrafficClass,
    quote_len: usize,
    packet: &mut [u8],
) -> Option<usize> {
    let len = quote_len.checked_add(QUOTE_AT4).filter(|len| *len <= MAX_ERROR4)?;
    let (ip, message) = packet.get_mut(..len)?.split_first_chunk_mut()?;
    let checksum = write_message(error.v4(), Sum::new(), message)?;
    Ipv4Header {
        traffic_class,
        total_len: len as u16,
        identification: checksum,
        fragment: Fragment::WHOLE,
        ttl: HOPS,
        protocol: IpProtocol::ICMP,
        source,
        destination,
    }
    .write(ip);
    Some(len)
}

/// Writes an IPv6 packet with an error around its quote, and answers the packet's length: 48 bytes more than the quote.
/// `packet` holds the quote already: `quote_len` bytes from its byte 48 on, the beginning of the packet that the error
/// is about. Every byte before is written, none behind.
///
/// `None` if `packet` is shorter than that, or that is more than [`MAX_ERROR6`].
#[inline]
pub fn write_error6(
    error: IcmpError,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    quote_len: usize,
    packet: &mut [u8],
) -> Option<usize> {
    let len = quote_len.checked_add(QUOTE_AT6).filter(|len| *len <= MAX_ERROR6)?;
    let (ip, message) = packet.get_mut(..len)?.split_first_chunk_mut()?;
    let payload_len = message.len() as u16;
    let pseudo = Sum::pseudo_ipv6(source, destination, IpProtocol::ICMPV6, u32::from(payload_len));
    write_message(error.v6(), pseudo, message)?;
    Ipv6Header {
        traffic_class: TrafficClass(0),
        flow_label: 0,
        payload_len,
        next_header: IpProtocol::ICMPV6,
        hop_limit: HOPS,
        source,
        destination,
    }
    .write(ip);
    Some(len)
}

/// Writes the first 8 bytes of a message whose quote is there already, and answers its checksum.
#[inline]
fn write_message((icmp_type, code, rest): (u8, u8, [u8; 4]), pseudo: Sum, message: &mut [u8]) -> Option<u16> {
    let (header, quote) = message.split_first_chunk_mut::<{ EchoHeader::LEN }>()?;
    header[..4].copy_from_slice(&[icmp_type, code, 0, 0]);
    header[4..].copy_from_slice(&rest);
    let checksum = pseudo.with(header).with(quote).finish();
    header[2..4].copy_from_slice(&checksum.to_be_bytes());
    Some(checksum)
}

/// Whether a router may send an ICMP error about an IPv4 packet: `packet` is its first bytes, the whole header at least,
/// and the first byte behind it if that is ICMP's; with less, nothing may be sent.
///
/// Not about an ICMP error (RFC 1812 §4.3.2.7), nor about a type that nobody knows for a query; not about a fragment
/// other than the first; not to a source that is no single host (RFC 1122 §3.2.2); not about what was sent to many.
#[inline]
pub fn may_cause_error4(packet: &[u8]) -> bool {
    let Ok(ip) = Ipv4::parse_head(packet, usize::MAX) else { return false };
    let (source, destination) = (ip.source(), ip.destination());
    // 0/8, 127/8, multicast, class E, broadcast.
    let from_a_host = !matches!(source.octets()[0], 0 | 127 | 224..);
    let to_a_host = !destination.is_multicast() && !destination.is_broadcast();
    if !ip.fragment().is_first() || !from_a_host || !to_a_host {
        return false;
    }
    if ip.protocol() != IpProtocol::ICMP {
        return true;
    }
    let icmp_type = packet.get(ip.header_len()..ip.total_len().min(packet.len())).and_then(<[u8]>::first);
    icmp_type.is_some_and(|icmp_type| is_query4(*icmp_type))
}

/// Whether an ICMP type is a question or its answer (IANA "ICMP Type Numbers"): echo, router discovery, timestamp,
/// information, address mask, extended echo.
const fn is_query4(icmp_type: u8) -> bool {
    matches!(icmp_type, 0 | 8 | 9 | 10 | 13..=18 | 42 | 43)
}

/// Whether a router may send an ICMPv6 error about an IPv6 packet: `packet` is its first bytes, the header and all
/// extension headers at least, and the first byte behind them if that is ICMPv6's; with less, nothing may be sent.
///
/// The rules are those of RFC 4443 §2.4 (e), and two of [`may_cause_error4`]: not about a fragment other than the
/// first, nor from the loopback address.
#[inline]
pub fn may_cause_error6(packet: &[u8]) -> bool {
    let Ok(ip) = Ipv6::parse_head(packet, usize::MAX) else { return false };
    let source = ip.source();
    if source.is_unspecified() || source.is_multicast() || source.is_loopback() || ip.destination().is_multicast() {
        return false;
    }
    let payload = packet.get(Ipv6Header::LEN..ip.total_len().min(packet.len())).unwrap_or_default();
    match ip.upper(payload) {
        Ok(upper) if !upper.is_first() => false,
        Ok(upper) if upper.protocol == IpProtocol::ICMPV6 => {
            // Errors have the high bit clear (RFC 4443 §2.1); a redirect counts as one (§2.4 (e.2)).
            let icmp_type = payload.get(upper.offset).map(|icmp_type| Icmpv6Type(*icmp_type));
            icmp_type.is_some_and(|icmp_type| icmp_type.0 >= 128 && icmp_type != Icmpv6Type::REDIRECT)
        }
        Ok(_) => true,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::IcmpError::*;
    use super::*;
    use crate::wire::{Icmp, Icmpv6};

    /// 10.0.0.1 tells 10.0.0.5 that its datagram to 192.0.2.9 ran out of hops.
    const EXCEEDED: [u8; 56] = [
        0x45, 0xc0, 0x00, 0x38, 0xf2, 0x4c, 0x00, 0x00, 0x40, 0x01, 0x73, 0xb3, // IPv4, class selector 6
        0x0a, 0x00, 0x00, 0x01, 0x0a, 0x00, 0x00, 0x05, // source, destination
        0x0b, 0x00, 0xf2, 0x4c, 0x00, 0x00, 0x00, 0x00, // time exceeded
        0x45, 0x00, 0x00, 0x2c, 0x12, 0x34, 0x00, 0x00, 0x01, 0x11, 0xdb, 0x7f, // its IPv4
        0x0a, 0x00, 0x00, 0x05, 0xc0, 0x00, 0x02, 0x09, // its source, destination
        0x80, 0x00, 0x82, 0x9a, 0x00, 0x18, 0x00, 0x00, // its UDP
    ];

    /// 2001:db8::1 tells 2001:db8::5 that 1400 bytes would fit on the way to 2001:db8:1::9.
    const TOO_BIG: [u8; 96] = [
        0x60, 0x00, 0x00, 0x00, 0x00, 0x38, 0x3a, 0x40, // IPv6
        0x20, 0x01, 0x0d, 0xb8, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, // source
        0x20, 0x01, 0x0d, 0xb8, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x05, // destination
        0x02, 0x00, 0x5a, 0x82, 0x00, 0x00, 0x05, 0x78, // packet too big
        0x60, 0x00, 0x00, 0x00, 0x00, 0x08, 0x06, 0x40, // its IPv6
        0x20, 0x01, 0x0d, 0xb8, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x05, // its source
        0x20, 0x01, 0x0d, 0xb8, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x09, // and destination
        0x80, 0x00, 0x00, 0x50, 0x00, 0x00, 0x00, 0x01, // its TCP
    ];

    const ALL: [IcmpError; 7] = [
        TimeExceeded,
        NetUnreachable,
        HostUnreachable,
        PortUnreachable,
        ProtocolUnreachable,
        Prohibited,
        TooBig { mtu: 1400 },
    ];

    const ROUTER4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const HOST4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
    const ROUTER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 5);
    const CS6: TrafficClass = TrafficClass(0xc0);

    fn write4(error: IcmpError, quote_len: usize, packet: &mut [u8]) -> Option<usize> {
        write_error4(error, ROUTER4, HOST4, CS6, quote_len, packet)
    }

    fn write6(error: IcmpError, quote_len: usize, packet: &mut [u8]) -> Option<usize> {
        write_error6(error, ROUTER6, HOST6, quote_len, packet)
    }

    /// The bytes from `at` on are the packet's, all around is dirt.
    fn dirty(packet: &[u8], at: usize, dirt: u8) -> Vec<u8> {
        let mut bytes = std::vec![dirt; packet.len() + 5];
        bytes[at..packet.len()].copy_from_slice(&packet[at..]);
        bytes
    }

    #[test]
    fn writes_known_bytes_around_a_quote_over_dirty_ones() {
        for dirt in [0x00, 0xa5, 0xff] {
            let mut bytes = dirty(&EXCEEDED, 28, dirt);
            assert_eq!(write4(TimeExceeded, 28, &mut bytes), Some(56));
            assert_eq!((&bytes[..56], &bytes[56..]), (&EXCEEDED[..], &[dirt; 5][..]));

            let mut bytes = dirty(&TOO_BIG, 48, dirt);
            assert_eq!(write6(TooBig { mtu: 1400 }, 48, &mut bytes), Some(96));
            assert_eq!((&bytes[..96], &bytes[96..]), (&TOO_BIG[..], &[dirt; 5][..]));
        }
    }

    #[test]
    fn types_and_codes_are_those_of_iana() {
        let four = ALL.map(|error| error.v4()).map(|(icmp_type, code, _)| (icmp_type, code));
        assert_eq!(four, [(11, 0), (3, 0), (3, 1), (3, 3), (3, 2), (3, 13), (3, 4)]);
        let six = ALL.map(|error| error.v6()).map(|(icmp_type, code, _)| (icmp_type, code));
        assert_eq!(six, [(3, 0), (1, 0), (1, 3), (1, 4), (4, 1), (1, 1), (2, 0)]);
        for error in ALL {
            let mtu = if error == ALL[6] { [0, 0, 0x05, 0x78] } else { [0; 4] };
            assert_eq!(error.v4().2, mtu, "{error:?}");
            let rest = if error == ProtocolUnreachable { [0, 0, 0, 6] } else { mtu };
            assert_eq!(error.v6().2, rest, "{error:?}");
        }
        assert_eq!(TooBig { mtu: u16::MAX }.v6().2, [0, 0, 0xff, 0xff]);
    }

    #[test]
    fn what_is_written_can_be_read() {
        for error in ALL {
            let mut bytes = dirty(&EXCEEDED, 28, 0xa5);
            let len = write4(error, 27, &mut bytes).unwrap();
            let (ip, message) = Ipv4::parse(&bytes[..len]).unwrap();
            let (icmp, quote) = Icmp::parse(message).unwrap();
            assert!(ip.checksum_holds() && icmp.checksum_holds(quote), "{error:?}");
            assert_eq!((ip.source(), ip.destination(), ip.traffic_class()), (ROUTER4, HOST4, CS6));
            assert_eq!((ip.ttl(), ip.fragment(), ip.protocol()), (64, Fragment::WHOLE, IpProtocol::ICMP));
            assert_eq!((icmp.icmp_type().0, icmp.code(), quote), (error.v4().0, error.v4().1, &EXCEEDED[28..55]));

            let mut bytes = dirty(&TOO_BIG, 48, 0xa5);
            let len = write6(error, 47, &mut bytes).unwrap();
            let (ip, message) = Ipv6::parse(&bytes[..len]).unwrap();
            let (icmp, quote) = Icmpv6::parse(message).unwrap();
            let pseudo = Sum::pseudo_ipv6(ip.source(), ip.destination(), IpProtocol::ICMPV6, message.len() as u32);
            assert!(icmp.checksum_holds(pseudo, quote), "{error:?}");
            assert_eq!((ip.source(), ip.destination(), ip.hop_limit()), (ROUTER6, HOST6, 64));
            assert_eq!((icmp.icmp_type().0, icmp.code(), quote), (error.v6().0, error.v6().1, &TOO_BIG[48..95]));
        }
    }

    #[test]
    fn refuses_short_buffers_and_long_packets() {
        let mut bytes = [0; 2000];
        for len in 0..56 {
            assert_eq!(write4(TimeExceeded, 28, &mut bytes[..len]), None, "{len} bytes");
        }
        for len in 0..96 {
            assert_eq!(write6(TimeExceeded, 48, &mut bytes[..len]), None, "{len} bytes");
        }
        assert_eq!(bytes, [0; 2000], "nothing written");
        assert_eq!(write4(TimeExceeded, MAX_ERROR4 - 28, &mut bytes), Some(MAX_ERROR4));
        assert_eq!(write6(TimeExceeded, MAX_ERROR6 - 48, &mut bytes), Some(MAX_ERROR6));
        for quote in [MAX_ERROR6 - 47, 70_000, usize::MAX] {
            assert_eq!(write4(TimeExceeded, quote, &mut bytes), None, "{quote} bytes");
            assert_eq!(write6(TimeExceeded, quote, &mut bytes), None, "{quote} bytes");
        }
    }

    /// What `bytes` may cause after `change`.
    fn cause4(change: impl FnOnce(&mut [u8])) -> bool {
        let mut bytes = EXCEEDED;
        bytes[20] = 8;
        change(&mut bytes);
        may_cause_error4(&bytes)
    }

    fn cause6(change: impl FnOnce(&mut [u8])) -> bool {
        let mut bytes = TOO_BIG;
        bytes[40] = 128;
        change(&mut bytes);
        may_cause_error6(&bytes)
    }

    #[test]
    fn only_queries_among_icmp_cause_errors() {
        for icmp_type in 0..=255 {
            let query = [0, 8, 9, 10, 13, 14, 15, 16, 17, 18, 42, 43].contains(&icmp_type);
            assert_eq!(cause4(|bytes| bytes[20] = icmp_type), query, "type {icmp_type}");
            let any = cause4(|bytes| (bytes[9], bytes[20]) = (IpProtocol::UDP.0, icmp_type));
            assert!(any, "UDP that looks like type {icmp_type}");
            let informational = icmp_type >= 128 && icmp_type != 137;
            assert_eq!(cause6(|bytes| bytes[40] = icmp_type), informational, "ICMPv6 type {icmp_type}");
            let any = cause6(|bytes| (bytes[6], bytes[40]) = (IpProtocol::TCP.0, icmp_type));
            assert!(any, "TCP that looks like type {icmp_type}");
        }
        // Behind options, and behind an extension header.
        assert!(!cause4(|bytes| (bytes[0], bytes[24]) = (0x46, 11)));
        assert!(cause4(|bytes| (bytes[0], bytes[24]) = (0x46, 8)));
        let behind = |icmp_type| cause6(|bytes| (bytes[6], bytes[40], bytes[41], bytes[48]) = (60, 58, 0, icmp_type));
        assert!(behind(128) && !behind(1));
    }

    #[test]
    fn no_later_fragment_causes_an_error() {
        assert!(cause4(|bytes| bytes[6] = 0x20), "a first one may");
        for bit in 0..13 {
            let later = cause4(|bytes| bytes[6..8].copy_from_slice(&(1u16 << bit | 0x2000).to_be_bytes()));
            assert!(!later, "bit {bit}");
        }
        let fragment = |bits: u16, kind| {
            cause6(|bytes| {
                (bytes[6], bytes[40], bytes[41], bytes[48]) = (44, kind, 0, 128);
                bytes[42..44].copy_from_slice(&bits.to_be_bytes());
            })
        };
        assert!(fragment(1, 58) && fragment(1, 6));
        assert!(!fragment(8, 58) && !fragment(0xfff9, 6));
    }

    #[test]
    fn only_single_hosts_are_told() {
        for (address, from, to) in [
            ([0, 0, 0, 0], false, true),
            ([0, 1, 2, 3], false, true),
            ([127, 0, 0, 1], false, true),
            ([223, 255, 255, 1], true, true),
            ([224, 0, 0, 1], false, false),
            ([239, 255, 255, 255], false, false),
            ([240, 0, 0, 1], false, true),
            ([255; 4], false, false),
        ] {
            assert_eq!(cause4(|bytes| bytes[12..16].copy_from_slice(&address)), from, "from {address:?}");
            assert_eq!(cause4(|bytes| bytes[16..20].copy_from_slice(&address)), to, "to {address:?}");
        }
        for (address, from, to) in [
            (Ipv6Addr::UNSPECIFIED, false, true),
            (Ipv6Addr::LOCALHOST, false, true),
            (Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), false, false),
            (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), true, true),
            (HOST6, true, true),
        ] {
            assert_eq!(cause6(|bytes| bytes[8..24].copy_from_slice(&address.octets())), from, "from {address}");
            assert_eq!(cause6(|bytes| bytes[24..40].copy_from_slice(&address.octets())), to, "to {address}");
        }
    }

    #[test]
    fn nothing_is_said_about_what_cannot_be_read() {
        let (mut udp, mut echo) = (EXCEEDED, EXCEEDED);
        (udp[9], echo[20]) = (IpProtocol::UDP.0, 8);
        let (mut tcp, mut echo6, mut behind) = (TOO_BIG, TOO_BIG, TOO_BIG);
        (tcp[6], echo6[40]) = (IpProtocol::TCP.0, 128);
        (behind[6], behind[40], behind[41], behind[48]) = (60, 58, 0, 128);
        for len in 0..=56 {
            assert_eq!(may_cause_error4(&udp[..len]), len >= 20, "UDP, {len} bytes");
            assert_eq!(may_cause_error4(&echo[..len]), len >= 21, "echo, {len} bytes");
            assert_eq!(may_cause_error6(&tcp[..len]), len >= 40, "TCP, {len} bytes");
            assert_eq!(may_cause_error6(&echo6[..len]), len >= 41, "echo over IPv6, {len} bytes");
            assert_eq!(may_cause_error6(&behind[..len]), len >= 49, "behind an extension header, {len} bytes");
        }
        // Padding is no ICMP message.
        (echo[3], echo6[5]) = (20, 0);
        assert!(!may_cause_error4(&echo) && !may_cause_error6(&echo6));
        (echo[3], echo6[5]) = (21, 1);
        assert!(may_cause_error4(&echo) && may_cause_error6(&echo6));
        assert!(!cause4(|bytes| bytes[0] = 0x65) && !cause6(|bytes| bytes[0] = 0x45));
    }
}
