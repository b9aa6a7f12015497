//! Known bytes, every rule of RFC 4861 §7.1, and both ways between packets and plain data.

use std::vec::Vec;

use super::ndp::*;
use super::{Icmpv6Type, IpProtocol, Ipv6, MacAddr, Malformed, checksum::Sum};
use core::net::Ipv6Addr;

/// fe80::5054:ff:fe12:3456 asks who has 2001:db8::2.
const QUESTION: [u8; 72] = [
    0x60, 0x00, 0x00, 0x00, 0x00, 0x20, 0x3a, 0xff, // IPv6
    0xfe, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x50, 0x54, 0x00, 0xff, 0xfe, 0x12, 0x34, 0x56, // source
    0xff, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0xff, 0x00, 0x00, 0x02, // destination
    0x87, 0x00, 0x42, 0xe8, 0x00, 0x00, 0x00, 0x00, // solicitation
    0x20, 0x01, 0x0d, 0xb8, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, // target
    0x01, 0x01, 0x52, 0x54, 0x00, 0x12, 0x34, 0x56, // source link-layer address
];

/// Nobody asks for it.
const PROBE: [u8; 64] = [
    0x60, 0x00, 0x00, 0x00, 0x00, 0x18, 0x3a, 0xff, // IPv6
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // source
    0xff, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0xff, 0x00, 0x00, 0x02, // destination
    0x87, 0x00, 0x4c, 0xeb, 0x00, 0x00, 0x00, 0x00, // solicitation
    0x20, 0x01, 0x0d, 0xb8, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, // target
];

/// 2001:db8::2 answers 2001:db8::1: solicited, override.
const ANSWER: [u8; 72] = [
    0x60, 0x00, 0x00, 0x00, 0x00, 0x20, 0x3a, 0xff, // IPv6
    0x20, 0x01, 0x0d, 0xb8, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, // source
    0x20, 0x01, 0x0d, 0xb8, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, // destination
    0x88, 0x00, 0x05, 0xb7, 0x60, 0x00, 0x00, 0x00, // advertisement
    0x20, 0x01, 0x0d, 0xb8, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, // target
    0x02, 0x01, 0x52, 0x54, 0x00, 0x12, 0x34, 0x56, // target link-layer address
];

/// The router 2001:db8::2 tells all nodes.
const ANNOUNCEMENT: [u8; 72] = [
    0x60, 0x00, 0x00, 0x00, 0x00, 0x20, 0x3a, 0xff, // IPv6
    0x20, 0x01, 0x0d, 0xb8, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, // source
    0xff, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, // destination
    0x88, 0x00, 0xf4, 0x6c, 0xa0, 0x00, 0x00, 0x00, // advertisement
    0x20, 0x01, 0x0d, 0xb8, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, // target
    0x02, 0x01, 0x52, 0x54, 0x00, 0x12, 0x34, 0x56, // target link-layer address
];

const MAC: MacAddr = MacAddr([0x52, 0x54, 0x00, 0x12, 0x34, 0x56]);
const HOST: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x5054, 0xff, 0xfe12, 0x3456);
const ASKER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const TARGET: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

/// What a whole packet says.
fn read(packet: &[u8]) -> Result<Nd, Malformed> {
    let (ip, message) = Ipv6::parse(packet)?;
    Nd::parse(ip.source(), ip.destination(), ip.hop_limit(), message)
}

/// The packet with `change` made, its length and checksum made right again: only the change is wrong.
fn changed(packet: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = packet.to_vec();
    change(&mut bytes);
    let len = u16::try_from(bytes.len() - 40).unwrap();
    bytes[4..6].copy_from_slice(&len.to_be_bytes());
    if len >= 4 {
        bytes[42..44].fill(0);
        let ip = Ipv6::parse(&bytes).unwrap().0;
        let pseudo = Sum::pseudo_ipv6(ip.source(), ip.destination(), IpProtocol::ICMPV6, u32::from(len));
        let checksum = pseudo.with(&bytes[40..]).finish();
        bytes[42..44].copy_from_slice(&checksum.to_be_bytes());
    }
    bytes
}

fn put(at: usize, what: impl AsRef<[u8]>) -> impl FnOnce(&mut Vec<u8>) {
    move |bytes| bytes[at..at + what.as_ref().len()].copy_from_slice(what.as_ref())
}

#[test]
fn reads_known_bytes() {
    assert_eq!(read(&QUESTION), Ok(Nd::Solicitation { target: TARGET, source_mac: Some(MAC) }));
    assert_eq!(read(&PROBE), Ok(Nd::Solicitation { target: TARGET, source_mac: None }));
    let told = |router, solicited, override_| {
        Ok(Nd::Advertisement { target: TARGET, target_mac: Some(MAC), router, solicited, override_ })
    };
    assert_eq!(read(&ANSWER), told(false, true, true));
    assert_eq!(read(&ANNOUNCEMENT), told(true, false, true));
}

#[test]
fn writes_known_bytes_over_dirty_ones() {
    let mut out = [0xa5; 72];
    NsPacket::new(HOST, MAC, TARGET).write(&mut out);
    assert_eq!(out, QUESTION);
    let mut out = [0xa5; 64];
    NsProbe { target: TARGET }.write(&mut out);
    assert_eq!(out, PROBE);
    let mut out = [0xa5; 72];
    let answer = NaPacket::answer(ASKER, TARGET, MAC);
    answer.write(&mut out);
    assert_eq!(out, ANSWER);
    let mut out = [0xff; 72];
    NaPacket { destination: ALL_NODES, router: true, solicited: false, ..answer }.write(&mut out);
    assert_eq!(out, ANNOUNCEMENT);
}

#[test]
fn who_has_no_address_yet_is_answered_by_way_of_all_nodes() {
    let answer = NaPacket::answer(Ipv6Addr::UNSPECIFIED, TARGET, MAC);
    assert_eq!((answer.destination, answer.solicited), (ALL_NODES, false));
    let mut out = [0; 72];
    answer.write(&mut out);
    assert!(matches!(read(&out), Ok(Nd::Advertisement { solicited: false, .. })));
}

#[test]
fn refuses_every_truncation() {
    for whole in [&QUESTION[..], &PROBE, &ANSWER] {
        for len in 40..whole.len() {
            let bytes = changed(whole, |bytes| bytes.truncate(len));
            let read = read(&bytes);
            if len == 64 {
                assert!(read.is_ok(), "a message without options");
            } else {
                assert_eq!(read, Err(Malformed::Truncated), "{len} bytes");
            }
        }
    }
}

#[test]
fn the_checksum_covers_every_bit_of_addresses_and_message() {
    for whole in [QUESTION, ANSWER] {
        for bit in 64..72 * 8 {
            let mut bytes = whole;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(read(&bytes), Err(Malformed::BadChecksum | Malformed::BadNd)), "bit {bit}");
        }
        let mut bytes = whole;
        bytes[71] ^= 1;
        assert_eq!(read(&bytes), Err(Malformed::BadChecksum));
    }
}

#[test]
fn a_router_between_is_noticed() {
    for whole in [QUESTION, ANSWER] {
        for hops in 0..255 {
            assert_eq!(read(&changed(&whole, put(7, [hops]))), Err(Malformed::BadNd), "{hops} hops");
        }
    }
}

#[test]
fn code_and_type_are_those_of_the_rfc() {
    for whole in [QUESTION, ANSWER] {
        for code in 1..=255 {
            assert_eq!(read(&changed(&whole, put(41, [code]))), Err(Malformed::BadNd), "code {code}");
        }
        for kind in (0..=255).filter(|kind| ![135, 136].contains(kind)) {
            assert_eq!(read(&changed(&whole, put(40, [kind]))), Err(Malformed::BadNd), "type {kind}");
        }
    }
}

#[test]
fn refuses_sources_and_targets_that_nobody_has() {
    for whole in [QUESTION, ANSWER] {
        for target in [ALL_NODES, solicited_node(TARGET), Ipv6Addr::UNSPECIFIED, Ipv6Addr::LOCALHOST] {
            assert_eq!(read(&changed(&whole, put(48, target.octets()))), Err(Malformed::BadNd), "target {target}");
        }
        assert_eq!(read(&changed(&whole, put(8, ALL_NODES.octets()))), Err(Malformed::BadNd));
    }
}

#[test]
fn an_option_has_a_length() {
    for whole in [QUESTION, ANSWER] {
        assert_eq!(read(&changed(&whole, put(65, [0]))), Err(Malformed::BadLength));
        let longer = |bytes: &mut Vec<u8>| {
            bytes[65] = 2;
            bytes.extend([0; 8]);
        };
        assert_eq!(read(&changed(&whole, longer)), Err(Malformed::BadLength), "no Ethernet address");
        let other = [14, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(read(&changed(&whole, |bytes| bytes.extend(other))), Err(Malformed::BadLength), "an unknown one");
        let too_long = [14, 2, 0, 0, 0, 0, 0, 0];
        assert_eq!(read(&changed(&whole, |bytes| bytes.extend(too_long))), Err(Malformed::Truncated));
    }
}

#[test]
fn skips_other_options_up_to_the_bound() {
    let nonce = |bytes: &mut Vec<u8>| {
        let option = bytes.split_off(64);
        bytes.extend([14, 2]);
        bytes.extend([0xee; 14]);
        bytes.extend(option);
    };
    assert_eq!(read(&changed(&QUESTION, nonce)), read(&QUESTION));
    let many = |options| read(&changed(&PROBE, |bytes| bytes.extend([14, 1, 0, 0, 0, 0, 0, 0].repeat(options))));
    assert_eq!(many(MAX_ND_OPTIONS), read(&PROBE));
    assert_eq!(many(MAX_ND_OPTIONS + 1), Err(Malformed::TooManyOptions));
}

#[test]
fn one_kind_of_option_says_one_thing() {
    let again = |bytes: &mut Vec<u8>| bytes.extend_from_within(64..);
    assert_eq!(read(&changed(&ANSWER, again)), read(&ANSWER));
    let otherwise = |bytes: &mut Vec<u8>| {
        bytes.extend_from_within(64..);
        bytes[79] ^= 1;
    };
    assert_eq!(read(&changed(&ANSWER, otherwise)), Err(Malformed::BadNd));
    assert_eq!(read(&changed(&QUESTION, otherwise)), Err(Malformed::BadNd));
    // The other kind is not for this message.
    let told = Nd::Advertisement { target: TARGET, target_mac: None, router: false, solicited: true, override_: true };
    assert_eq!(read(&changed(&ANSWER, put(64, [1]))), Ok(told));
    let asked = Nd::Solicitation { target: TARGET, source_mac: None };
    assert_eq!(read(&changed(&QUESTION, put(64, [2]))), Ok(asked));
}

#[test]
fn nobody_asks_all_who_may_have_it_and_has_no_mac() {
    assert_eq!(read(&changed(&QUESTION, put(8, [0; 16]))), Err(Malformed::BadNd), "a MAC of nobody");
    for destination in [TARGET, ALL_NODES, Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xfe00, 2)] {
        let bytes = changed(&PROBE, put(24, destination.octets()));
        assert_eq!(read(&bytes), Err(Malformed::BadNd), "to {destination}");
        let from_somebody = changed(&bytes, put(8, HOST.octets()));
        assert_eq!(read(&from_somebody), read(&PROBE), "to {destination}");
    }
}

#[test]
fn what_all_are_told_nobody_asked_for() {
    assert_eq!(read(&changed(&ANNOUNCEMENT, put(44, [0x40]))), Err(Malformed::BadNd));
    for flags in 0..=255u8 {
        let told = Nd::Advertisement {
            target: TARGET,
            target_mac: Some(MAC),
            router: flags & 0x80 != 0,
            solicited: flags & 0x40 != 0,
            override_: flags & 0x20 != 0,
        };
        assert_eq!(read(&changed(&ANSWER, put(44, [flags, 0xff, 0xff, 0xff]))), Ok(told), "reserved bits are ignored");
    }
}

#[test]
fn multicast_addresses_are_those_of_the_rfcs() {
    // RFC 4291 §2.7.1 gives this one.
    let address = Ipv6Addr::new(0x4037, 0, 0, 0, 0x1, 0x800, 0x200e, 0x8c6c);
    assert_eq!(solicited_node(address), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff0e, 0x8c6c));
    assert_eq!(multicast_mac(solicited_node(address)), MacAddr([0x33, 0x33, 0xff, 0x0e, 0x8c, 0x6c]));
    assert_eq!(multicast_mac(ALL_NODES), MacAddr([0x33, 0x33, 0, 0, 0, 1]));
    assert_eq!(Icmpv6Type::NEIGHBOUR_SOLICITATION.0, 135);
}
