//! What must hold of everything a router does to packets, whatever they are.

use core::net::{Ipv4Addr, Ipv6Addr};
use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use super::checksum::Sum;
use super::*;

/// The options of an IPv4 header: whole ones, then end-of-options up to a whole word.
fn options() -> impl Strategy<Value = Vec<u8>> {
    vec((any::<u8>(), vec(any::<u8>(), 0..8)), 0..6).prop_map(|options| {
        let mut bytes: Vec<u8> = Vec::new();
        for (kind, value) in options {
            let len = if kind < 2 { 1 } else { 2 + value.len() };
            if bytes.len() + len <= 40 && kind != 0 {
                bytes.push(kind);
                bytes.extend((kind > 1).then_some(len as u8));
                bytes.extend(value.iter().take(len.saturating_sub(2)));
            }
        }
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    })
}

/// A header with options, its checksum right.
fn header4(header: Ipv4Header, options: &[u8]) -> Vec<u8> {
    let mut fixed = [0; Ipv4Header::LEN];
    header.write(&mut fixed);
    let mut bytes = [&fixed[..], options].concat();
    bytes[0] += (options.len() / 4) as u8;
    bytes[10..12].fill(0);
    let checksum = Sum::new().with(&bytes).finish();
    bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

fn error() -> impl Strategy<Value = IcmpError> {
    prop_oneof![
        Just(IcmpError::TimeExceeded),
        Just(IcmpError::NetUnreachable),
        Just(IcmpError::HostUnreachable),
        Just(IcmpError::PortUnreachable),
        Just(IcmpError::ProtocolUnreachable),
        Just(IcmpError::Prohibited),
        any::<u16>().prop_map(|mtu| IcmpError::TooBig { mtu }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: proptest::test_runner::RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Cut twice, for two links: what the host reassembles is what was sent.
    #[test]
    fn fragments_reassemble_to_the_original(
        options in options(),
        payload in vec(any::<u8>(), 0..3000),
        (identification, ttl, more, offset) in (any::<u16>(), any::<u8>(), any::<bool>(), 0u16..7500),
        mtus in (68usize..1600, 68usize..1600),
    ) {
        let header = header4(Ipv4Header {
            traffic_class: TrafficClass(0x28),
            total_len: (20 + options.len() + payload.len()) as u16,
            identification,
            fragment: Fragment::from_bits(u16::from(more) << 13 | offset),
            ttl,
            protocol: IpProtocol::UDP,
            source: Ipv4Addr::new(10, 0, 0, 5),
            destination: Ipv4Addr::new(192, 0, 2, 9),
        }, &options);
        let original = Ipv4::parse_head(&header, 65_535).unwrap();

        let mut cut = Vec::new();
        for first in Fragments::new(&header, header.len() + payload.len(), mtus.0).unwrap() {
            let part = &payload[first.from..first.from + first.len];
            prop_assert!(first.header.len() + first.len <= mtus.0);
            for second in Fragments::new(&first.header, first.header.len() + first.len, mtus.1).unwrap() {
                prop_assert!(second.header.len() + second.len <= mtus.1);
                cut.push([&second.header[..], &part[second.from..second.from + second.len]].concat());
            }
        }

        let mut reassembled: Vec<u8> = Vec::new();
        for (number, packet) in cut.iter().enumerate() {
            let (ip, part) = Ipv4::parse(packet).unwrap();
            prop_assert!(ip.checksum_holds());
            let fragment = ip.fragment();
            prop_assert_eq!(usize::from(fragment.offset()), usize::from(original.fragment().offset()) + reassembled.len());
            prop_assert_eq!(fragment.more(), more || number + 1 < cut.len());
            prop_assert!(number + 1 == cut.len() || !part.is_empty() && part.len() % 8 == 0);
            let same = Ipv4Header { total_len: original.header().total_len, fragment: original.fragment(), ..ip.header() };
            prop_assert_eq!(same, original.header());
            if number == 0 {
                prop_assert_eq!(ip.options(), original.options());
            }
            reassembled.extend(part);
        }
        prop_assert_eq!(reassembled, payload);
    }

    #[test]
    fn any_bytes_into_fragments(mut header in vec(any::<u8>(), 0..64), words: u8, total_len in 0usize..70_000, mtu in 0usize..2000) {
        header.first_mut().into_iter().for_each(|first| *first = 0x40 | words & 15);
        let mut from = 0;
        for piece in Fragments::new(&header, total_len, mtu).into_iter().flatten() {
            prop_assert!(piece.from == from && piece.header.len() + piece.len <= mtu);
            prop_assert!(Ipv4::parse_head(&piece.header, mtu).unwrap().checksum_holds());
            from += piece.len;
        }
        prop_assert!(from == 0 || from + Ipv4::parse_head(&header, 65_535).unwrap().header_len() == total_len);
    }

    #[test]
    fn errors_are_right_and_cause_no_more_of_them(
        error in error(),
        (source, destination, class) in any::<(u128, u128, u8)>(),
        mut packet in vec(any::<u8>(), 0..1400),
        quote_len in 0usize..1300,
    ) {
        let before = packet.clone();
        let (source4, destination4) = (Ipv4Addr::from(source as u32), Ipv4Addr::from(destination as u32));
        match write_error4(error, source4, destination4, TrafficClass(class), quote_len, &mut packet) {
            Some(len) => {
                prop_assert!(len == 28 + quote_len && len <= MAX_ERROR4 && packet[28..] == before[28..]);
                let (ip, message) = Ipv4::parse(&packet[..len]).unwrap();
                let (icmp, quote) = Icmp::parse(message).unwrap();
                prop_assert!(ip.checksum_holds() && icmp.checksum_holds(quote) && quote.len() == quote_len);
                prop_assert!((ip.source(), ip.destination()) == (source4, destination4) && ip.traffic_class().0 == class);
                prop_assert!(!may_cause_error4(&packet));
            }
            None => prop_assert!(packet == before && (quote_len > MAX_ERROR4 - 28 || packet.len() < 28 + quote_len)),
        }
        let mut packet = before.clone();
        let (source6, destination6) = (Ipv6Addr::from(source), Ipv6Addr::from(destination));
        match write_error6(error, source6, destination6, quote_len, &mut packet) {
            Some(len) => {
                prop_assert!(len == 48 + quote_len && len <= MAX_ERROR6 && packet[48..] == before[48..]);
                let (ip, message) = Ipv6::parse(&packet[..len]).unwrap();
                let (icmp, quote) = Icmpv6::parse(message).unwrap();
                let pseudo = Sum::pseudo_ipv6(source6, destination6, IpProtocol::ICMPV6, message.len() as u32);
                prop_assert!(icmp.checksum_holds(pseudo, quote) && quote.len() == quote_len);
                prop_assert!((ip.source(), ip.destination()) == (source6, destination6));
                prop_assert!(!may_cause_error6(&packet));
            }
            None => prop_assert!(packet == before && (quote_len > MAX_ERROR6 - 48 || packet.len() < 48 + quote_len)),
        }
    }

    #[test]
    fn any_bytes_may_or_may_not_cause_errors(mut bytes in vec(any::<u8>(), 0..100), six: bool) {
        bytes.first_mut().into_iter().for_each(|first| *first = if six { 0x60 } else { 0x45 });
        prop_assert!(!may_cause_error4(&bytes) || !six && bytes.len() >= 20);
        prop_assert!(!may_cause_error6(&bytes) || six && bytes.len() >= 40);
    }

    #[test]
    fn one_hop_less_is_the_header_written_anew(
        (class, total_len, identification, fragment) in (any::<u8>(), 20u16.., any::<u16>(), any::<u16>()),
        (ttl, protocol, source, destination) in (1u8.., any::<u8>(), any::<u32>(), any::<u32>()),
        wrong in 1u16..=0xfffe,
    ) {
        let header = Ipv4Header {
            traffic_class: TrafficClass(class),
            total_len,
            identification,
            fragment: Fragment::from_bits(fragment),
            ttl,
            protocol: IpProtocol(protocol),
            source: Ipv4Addr::from(source),
            destination: Ipv4Addr::from(destination),
        };
        let (mut bytes, mut anew) = ([0; Ipv4Header::LEN], [0; Ipv4Header::LEN]);
        header.write(&mut bytes);
        Ipv4Header::decrement_ttl(&mut bytes);
        Ipv4Header { ttl: ttl - 1, ..header }.write(&mut anew);
        prop_assert_eq!(bytes, anew);

        // A checksum that was wrong stays wrong.
        header.write(&mut bytes);
        let checksum = Sum::new().with(&bytes[10..12]).with(&wrong.to_be_bytes()).finish();
        bytes[10..12].copy_from_slice(&(!checksum).to_be_bytes());
        Ipv4Header::decrement_ttl(&mut bytes);
        prop_assert!(!Sum::new().with(&bytes).holds());
    }

    #[test]
    fn a_right_checksum_stays_right_and_a_wrong_one_wrong(
        options in vec(prop_oneof![
            Just(std::vec![1]),
            any::<[u8; 2]>().prop_map(|[a, b]| std::vec![2, 4, a, b]),
            Just(std::vec![3, 3, 7]),
            Just(std::vec![4, 2]),
            vec(any::<u8>(), 1..5),
        ], 0..10),
        (flags, pseudo, most) in (prop_oneof![Just(2u8), Just(0x12), any::<u8>()], any::<u16>(), any::<u16>()),
        payload in vec(any::<u8>(), 0..9),
        wrong in 1u16..=0xfffe,
    ) {
        let mut options = options.concat();
        options.truncate(40);
        options.resize(options.len().next_multiple_of(4), 0);
        let mut tcp = [&[0x9c, 0x40, 0, 80, 1, 2, 3, 4, 5, 6, 7, 8, 0x50, flags, 1, 2, 0, 0, 0, 0][..], &options, &payload].concat();
        tcp[12] += ((options.len() / 4) as u8) << 4;
        let pseudo = Sum::new().with(&[pseudo.to_be_bytes(), [0, 6]].concat());
        let checksum = pseudo.with(&tcp).finish();
        tcp[16..18].copy_from_slice(&checksum.to_be_bytes());

        let mut right = tcp.clone();
        let changed = clamp_mss(&mut right, most);
        prop_assert!(pseudo.with(&right).holds());
        prop_assert_eq!(changed, right != tcp);
        prop_assert!(!changed || flags & 2 != 0);
        prop_assert!(right[..16] == tcp[..16] && right[20 + options.len()..] == payload);
        prop_assert!(!clamp_mss(&mut right.clone(), most), "once is enough");

        let mut off = tcp.clone();
        let checksum = Sum::new().with(&checksum.to_be_bytes()).with(&wrong.to_be_bytes()).finish();
        off[16..18].copy_from_slice(&(!checksum).to_be_bytes());
        prop_assert_eq!(clamp_mss(&mut off, most), changed);
        prop_assert!(!pseudo.with(&off).holds());
    }

    #[test]
    fn any_bytes_into_clamp_mss(mut tcp in vec(any::<u8>(), 0..80), most: u16) {
        let before = tcp.clone();
        let changed = clamp_mss(&mut tcp, most);
        prop_assert_eq!(changed, tcp != before);
        prop_assert_eq!(tcp.len(), before.len());
    }

    /// With a right checksum, so that the options are reached.
    #[test]
    fn any_bytes_into_router_solicitations(
        mut message in vec(any::<u8>(), 8..120),
        (source, destination) in any::<(u128, u128)>(),
        lens in vec((1usize..14, 1u8..4, 0u8..3), 0..6),
    ) {
        let (source, destination) = (Ipv6Addr::from(source), Ipv6Addr::from(destination));
        for (at, kind, len) in lens {
            message.get_mut(8 * at..8 * at + 2).into_iter().for_each(|option| option.copy_from_slice(&[kind, len]));
        }
        message[..4].copy_from_slice(&[133, 0, 0, 0]);
        let pseudo = Sum::pseudo_ipv6(source, destination, IpProtocol::ICMPV6, message.len() as u32);
        let checksum = pseudo.with(&message).finish();
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        match is_router_solicitation(source, destination, 255, &message) {
            Ok(Some(mac)) => {
                let said = message.chunks(8).any(|option| option[..2] == [1, 1] && option[2..] == mac.0);
                prop_assert!(said && !source.is_unspecified());
            }
            Ok(None) => prop_assert!(message.len() % 8 == 0),
            Err(malformed) => prop_assert_ne!(malformed, Malformed::BadChecksum),
        }
    }

    #[test]
    fn router_advertisements_are_right(
        (source, destination, mac, lifetime) in any::<(u128, u128, [u8; 6], u16)>(),
        (managed, other, mtu) in any::<(bool, bool, Option<u32>)>(),
        prefixes in vec(any::<(u128, u8, bool, bool, u32, u32)>(), 0..18),
        dirt: u8,
    ) {
        let prefixes: Vec<RaPrefix> = prefixes.into_iter().map(|(bits, len, on_link, autonomous, valid, preferred)| RaPrefix {
            prefix: Ipv6Addr::from(bits),
            len: len % 129,
            on_link,
            autonomous,
            valid,
            preferred,
        }).collect();
        let (source, destination) = (Ipv6Addr::from(source), Ipv6Addr::from(destination));
        let packet = RaPacket { source, destination, source_mac: MacAddr(mac), managed, other, lifetime, mtu, prefixes: &prefixes };
        let mut out = std::vec![dirt; packet.len()];
        prop_assert_eq!(packet.write(&mut out).is_some(), prefixes.len() <= MAX_RA_PREFIXES);
        prop_assume!(prefixes.len() <= MAX_RA_PREFIXES);
        prop_assert!(out.len() <= 1280);

        let (ip, message) = Ipv6::parse(&out).unwrap();
        prop_assert_eq!((ip.source(), ip.destination(), ip.hop_limit(), ip.total_len()), (source, destination, 255, out.len()));
        let pseudo = Sum::pseudo_ipv6(source, destination, IpProtocol::ICMPV6, message.len() as u32);
        prop_assert!(pseudo.with(message).holds());
        let number = |at: usize| u32::from_be_bytes(message[at..at + 4].try_into().unwrap());
        prop_assert!(message[..2] == [134, 0] && message[4] == 64 && number(4) as u16 == lifetime);
        prop_assert_eq!((message[5] & 0x80 != 0, message[5] & 0x40 != 0, message[5] & 0x3f), (managed, other, 0));
        // The options, walked as a host does.
        let (mut at, mut found, mut told) = (16, (None, None), Vec::new());
        while at < message.len() {
            match message[at] {
                1 => found.0 = Some(&message[at + 2..at + 8]),
                5 => found.1 = Some(number(at + 4)),
                _ => told.push(RaPrefix {
                    prefix: Ipv6Addr::from(<[u8; 16]>::try_from(&message[at + 16..at + 32]).unwrap()),
                    len: message[at + 2],
                    on_link: message[at + 3] & 0x80 != 0,
                    autonomous: message[at + 3] & 0x40 != 0,
                    valid: number(at + 4),
                    preferred: number(at + 8),
                }),
            }
            at += 8 * usize::from(message[at + 1]);
        }
        prop_assert_eq!(found, (Some(&mac[..]), mtu));
        let expected: Vec<RaPrefix> = prefixes.iter().map(|prefix| RaPrefix {
            prefix: Ipv6Addr::from((0..u32::from(prefix.len)).fold(0, |bits, bit| bits | prefix.prefix.to_bits() & 1 << (127 - bit))),
            preferred: prefix.preferred.min(prefix.valid),
            ..*prefix
        }).collect();
        prop_assert_eq!(told, expected);
    }
}
