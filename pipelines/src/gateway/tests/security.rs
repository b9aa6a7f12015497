//! Port security: on a bridge that asks for it, every frame's sources are its sender's.
//!
//! On red, host 1 is on VLAN 100 with 10.0.0.1 and 2001:db8::1, host 2 there too with no address, host 3 behind the peer with 10.0.0.3.

use super::bindings::{VLAN, advertise, announce, arp_frame, ask, ip, ip6, solicit};
use super::*;
use crate::tables::{Guard, GuardIx, Prefix};
use crate::wire::{Ipv6Header, NsProbe, multicast_mac, solicited_node};
use core::net::{IpAddr, Ipv6Addr};

fn secured() -> World {
    let mut w = World::new();
    w.snapshot.set_bridge(RED, Some(BridgeSettings { port_security: true, ..settings() }));
    let vlan = Location { segment: SegmentIx(1), peer: None };
    let behind = Location { segment: SegmentIx(2), peer: Some(PeerIx(0)) };
    for (n, at, addressed) in [(1, vlan, true), (2, vlan, false), (3, behind, true)] {
        w.snapshot.set_endpoint(RED, host(n), Some(Host { at, addressed })).expect("room");
    }
    let owned: [(u8, IpAddr); 3] = [(1, ip(1).into()), (1, ip6(1).into()), (3, ip(3).into())];
    for (n, address) in owned {
        w.snapshot.set_owner(RED, address, Some(Some(host(n)))).expect("room");
    }
    w.snapshot.generation += 1;
    w
}

fn udp_from(source: Ipv4Addr) -> Vec<u8> {
    let mut packet = udp4(0, b"hello");
    packet[12..16].copy_from_slice(&source.octets());
    fix_checksum(&mut packet);
    packet
}

fn four(n: u8, source: Ipv4Addr) -> Vec<u8> {
    frame(MacAddr::BROADCAST, host(n), VLAN, EtherType::IPV4, &udp_from(source))
}

/// A packet of no payload, behind an extension header if `next` is one.
fn six_packet(source: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 40];
    Ipv6Header {
        traffic_class: TrafficClass(0),
        flow_label: 0,
        payload_len: payload.len() as u16,
        next_header: IpProtocol(next),
        hop_limit: 1,
        source,
        destination: ip6(99),
    }
    .write(packet[..].as_mut_array().expect("40"));
    packet.extend_from_slice(payload);
    packet
}

fn six(n: u8, source: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    frame(MacAddr::BROADCAST, host(n), VLAN, EtherType::IPV6, &six_packet(source, next, payload))
}

/// Whether a frame from VLAN 100 passes; if not, it must be dropped as spoofed, and teach nothing.
#[track_caller]
fn passes(w: &mut World, bytes: &[u8]) -> bool {
    let spoofed = w.dropped(LAN, DropReason::Spoofed);
    let known = (w.gateway.bindings().len(), w.gateway.macs().len());
    let out = w.send(LAN, bytes);
    if out.is_empty() {
        assert_eq!(w.dropped(LAN, DropReason::Spoofed), spoofed + 1);
        assert_eq!((w.gateway.bindings().len(), w.gateway.macs().len()), known);
    }
    !out.is_empty()
}

#[test]
fn only_a_configured_mac_at_its_place_may_send() {
    let mut w = secured();
    assert!(passes(&mut w, &four(1, ip(1))));
    assert!(!passes(&mut w, &four(9, ip(1))), "no endpoint");
    assert!(!passes(&mut w, &four(3, ip(3))), "an endpoint of another place");
    let theirs = frame(MacAddr::BROADCAST, host(3), None, EtherType::IPV4, &udp_from(ip(3)));
    assert_eq!(w.send(WAN, &vxlan(10_000, &theirs)).len(), 2);
    let elsewhere = Ipv4Addr::new(192, 0, 2, 77);
    assert_eq!(w.send(WAN, &vxlan_from(elsewhere, 10_000, 0, &theirs)), []);
    assert_eq!(w.send(PortId(2), &frame(MacAddr::BROADCAST, host(1), None, EtherType::IPV4, &udp_from(ip(1)))), []);
    // The other bridge does not ask for it.
    assert_eq!(w.send(LAN, &tenant(MacAddr::BROADCAST, host(9), Some(200))).len(), 1);
    // Nor does this one any more.
    w.snapshot.set_bridge(RED, Some(settings()));
    w.snapshot.generation += 1;
    assert_eq!(w.send(WAN, &vxlan_from(elsewhere, 10_000, 0, &theirs)).len(), 2);
    assert!(passes(&mut w, &four(9, ip(9))));
}

#[test]
fn an_endpoints_packets_are_from_its_own_addresses() {
    let mut w = secured();
    for stranger in [ip(3), ip(9), Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, Ipv4Addr::LOCALHOST] {
        assert!(!passes(&mut w, &four(1, stranger)), "{stranger}");
    }
    let mac = host(1).0;
    let made_of_it = Ipv6Addr::from_bits(
        0xfe80 << 112 | u128::from(u64::from_be_bytes([0, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]])),
    );
    assert!(passes(&mut w, &six(1, ip6(1), 59, &[])) && passes(&mut w, &six(1, made_of_it, 59, &[])));
    for stranger in [ip6(2), Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), Ipv6Addr::UNSPECIFIED, Ipv6Addr::LOCALHOST] {
        assert!(!passes(&mut w, &six(1, stranger, 59, &[])), "{stranger}");
    }
    // What is not IP has no address.
    assert!(passes(&mut w, &frame(MacAddr::BROADCAST, host(1), VLAN, EtherType::LLDP, &[0; 46])));
}

#[test]
fn an_endpoint_without_addresses_is_checked_by_its_mac() {
    let mut w = secured();
    assert!(passes(&mut w, &four(2, ip(77))) && passes(&mut w, &six(2, ip6(77), 59, &[])));
    assert!(passes(&mut w, &announce(host(2), ip(77), VLAN)) && passes(&mut w, &advertise(host(2), ip6(77), VLAN)));
    assert!(!passes(&mut w, &announce(host(2), ip(3), VLAN)), "which is host 3's");
    assert!(!passes(&mut w, &announce(host(9), ip(77), VLAN)));
}

#[test]
fn allowed_pairs_let_a_mac_and_a_prefix_in_where_they_are_named() {
    let mut w = secured();
    let (vrrp, vlan) = (MacAddr([0, 0, 0x5e, 0, 1, 0x33]), Location { segment: SegmentIx(1), peer: None });
    let guard = |len| {
        let address = Ipv4Addr::new(10, 7, 0, 0).into();
        Some(Guard { prefixes: vec![Prefix { address, len }], places: vec![vlan] })
    };
    w.snapshot.set_guard(GuardIx(0), RED, host(1), guard(16)).expect("room");
    w.snapshot.set_guard(GuardIx(1), RED, vrrp, guard(24)).expect("room");
    w.snapshot.generation += 1;
    let address = Ipv4Addr::new(10, 7, 1, 1);
    assert!(passes(&mut w, &four(1, address)) && passes(&mut w, &announce(host(1), address, VLAN)));
    assert!(!passes(&mut w, &four(1, Ipv4Addr::new(10, 8, 0, 1))));
    let from_vrrp = |address| frame(MacAddr::BROADCAST, vrrp, VLAN, EtherType::IPV4, &udp_from(address));
    assert!(passes(&mut w, &from_vrrp(Ipv4Addr::new(10, 7, 0, 9))));
    assert!(!passes(&mut w, &from_vrrp(address)), "outside its own pair");
    assert!(passes(&mut w, &announce(vrrp, Ipv4Addr::new(10, 7, 0, 9), VLAN)));
    assert_eq!(w.send(PortId(2), &announce(vrrp, Ipv4Addr::new(10, 7, 0, 9), None)), [], "at another place");
}

#[test]
fn claims_are_those_of_who_sends_them() {
    let mut w = secured();
    assert!(passes(&mut w, &ask(1, ip(9), VLAN)) && passes(&mut w, &solicit(1, ip6(9), VLAN)));
    assert!(passes(&mut w, &announce(host(1), ip(1), VLAN)) && passes(&mut w, &advertise(host(1), ip6(1), VLAN)));
    assert!(!passes(&mut w, &announce(host(1), ip(9), VLAN)) && !passes(&mut w, &advertise(host(1), ip6(9), VLAN)));
    // In the name of another MAC: a configured one of another place, one of nobody, one of a group.
    for other in [host(3), host(9), MacAddr([1, 0, 0x5e, 0, 0, 1])] {
        let lie = ArpHeader::request(other, ip(3), ip(3));
        assert!(!passes(&mut w, &arp_frame(MacAddr::BROADCAST, host(1), VLAN, &lie)), "{other}");
        assert!(!passes(&mut w, &arp_frame(MacAddr::BROADCAST, host(2), VLAN, &lie)), "{other}");
    }
    let odd = ArpHeader::request(host(1), Ipv4Addr::LOCALHOST, ip(3));
    assert!(!passes(&mut w, &arp_frame(MacAddr::BROADCAST, host(1), VLAN, &odd)));
    let probe = ArpHeader::request(host(1), Ipv4Addr::UNSPECIFIED, ip(1));
    assert!(passes(&mut w, &arp_frame(MacAddr::BROADCAST, host(1), VLAN, &probe)));
}

#[test]
fn hosts_without_an_address_may_ask_for_one_and_no_more() {
    let mut w = secured();
    let mut dhcp = udp_from(Ipv4Addr::UNSPECIFIED);
    dhcp[20..24].copy_from_slice(&[0, 68, 0, 67]);
    assert!(passes(&mut w, &frame(MacAddr::BROADCAST, host(1), VLAN, EtherType::IPV4, &dhcp)));
    dhcp[9] = 6;
    fix_checksum(&mut dhcp);
    assert!(!passes(&mut w, &frame(MacAddr::BROADCAST, host(1), VLAN, EtherType::IPV4, &dhcp)));
    let mut packet = [0; NsProbe::LEN];
    NsProbe { target: ip6(1) }.write(&mut packet);
    let to = multicast_mac(solicited_node(ip6(1)));
    assert!(passes(&mut w, &frame(to, host(1), VLAN, EtherType::IPV6, &packet)));
    let none = Ipv6Addr::UNSPECIFIED;
    // Multicast listener reports stand behind a router alert.
    assert!(passes(&mut w, &six(1, none, 0, &[58, 0, 5, 2, 0, 0, 1, 0, 143, 0, 0, 0, 0, 0, 0, 0])));
    assert!(passes(&mut w, &six(1, none, 58, &[133, 0, 0, 0, 0, 0, 0, 0])));
    assert!(!passes(&mut w, &six(1, none, 58, &[128, 0, 0, 0, 0, 0, 0, 0])));
    assert!(!passes(&mut w, &six(9, none, 58, &[133, 0, 0, 0, 0, 0, 0, 0])), "no endpoint");
}

#[test]
fn what_cannot_be_checked_does_not_pass() {
    let mut w = secured();
    // Neighbour discovery in fragments, the first of which may not even show what it is.
    for message in [&[135u8, 0, 0, 0][..], &[]] {
        let first = [&[58, 0, 0, 1, 0, 0, 0, 7], message].concat();
        assert!(!passes(&mut w, &six(1, ip6(1), 44, &first)));
    }
    assert!(passes(&mut w, &six(1, ip6(1), 44, &[58, 0, 0, 1, 0, 0, 0, 7, 128, 0, 0, 0])), "a ping");
    assert!(passes(&mut w, &six(1, ip6(1), 44, &[58, 0, 0, 8, 0, 0, 0, 7, 135, 0, 0, 0])), "a later one");
    // Headers without end.
    let chain = [60, 0, 1, 4, 0, 0, 0, 0].repeat(12);
    assert!(!passes(&mut w, &six(1, ip6(1), 60, &chain)));
    let tags = |count: usize, source| {
        let mut bytes = four(1, source);
        bytes.splice(16..16, [0x81, 0, 0, 5].repeat(count));
        bytes
    };
    // Behind one tag or two, addresses are checked; a third hides them. Where they may go, no tags are taken.
    for count in [1, 2] {
        assert!(!passes(&mut w, &tags(count, ip(3))));
        assert_eq!(w.send(LAN, &tags(count, ip(1))), []);
        assert_eq!(w.dropped(LAN, DropReason::InnerTag), 2 * count as u64);
    }
    assert!(!passes(&mut w, &tags(3, ip(1))));
}

#[test]
fn the_same_however_the_frame_is_split() {
    for (bytes, good) in
        [(advertise(host(1), ip6(1), VLAN), true), (advertise(host(1), ip6(9), VLAN), false), (four(1, ip(3)), false)]
    {
        for at in 1..bytes.len() {
            let mut w = secured();
            let out = w.send_segments(LAN, &[&bytes[..at], &bytes[at..]]);
            assert_eq!((out.len(), w.dropped(LAN, DropReason::Spoofed)), if good { (2, 0) } else { (0, 1) }, "{at}");
        }
    }
}
