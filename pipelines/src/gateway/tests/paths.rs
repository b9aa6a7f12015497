//! The paths that everything else builds on, byte by byte.

use super::*;
use crate::gateway::Event;
use crate::wire::{Ipv4, Udp, Vxlan};

/// Takes an encapsulated frame apart: outer Ethernet, IP, UDP source port, VNI, inner frame.
fn outer(bytes: &[u8]) -> (Ipv4<'_>, u16, u32, &[u8]) {
    let (ip, payload) = Ipv4::parse(&bytes[14..]).expect("IPv4");
    assert!(ip.checksum_holds());
    let (udp, payload) = Udp::parse(payload).expect("UDP");
    let (vxlan, inner) = Vxlan::parse(payload).expect("VXLAN");
    (ip, udp.source(), vxlan.vni().into(), inner)
}

#[test]
fn a_tagged_frame_leaves_in_vxlan_without_its_tag() {
    let mut w = World::new();
    w.place(host(2), true);
    let out = w.send(LAN, &frame(host(2), host(1), Some(0xb064), EtherType::IPV4, &udp4(0xb9, b"hello")));
    let [(port, bytes)] = &out[..] else { panic!("{out:?}") };
    assert_eq!(*port, WAN);
    assert_eq!((&bytes[..6], &bytes[6..12]), (&PEER_MAC.0[..], &WAN_MAC.0[..]));
    let (ip, source_port, vni, inner) = outer(bytes);
    assert_eq!((ip.source(), ip.destination(), ip.ttl(), ip.traffic_class().0), (VTEP, PEER, 64, 0xb9));
    assert_eq!(ip.total_len(), bytes.len() - 14);
    assert!(ip.fragment().dont_fragment());
    assert!(source_port >= 49152);
    assert_eq!(vni, 10_000);
    assert_eq!(inner, frame(host(2), host(1), None, EtherType::IPV4, &udp4(0xb9, b"hello")));
}

#[test]
fn a_vxlan_frame_leaves_with_the_tag_of_its_segment_and_is_learned() {
    let mut w = World::new();
    let out = w.send(LAN, &tenant(MacAddr::BROADCAST, host(1), Some(100)));
    assert_eq!(out.iter().map(|(p, _)| p.0).collect::<Vec<_>>(), [2, 1]);
    let inner = tenant(host(1), host(2), None);
    // Padding behind the outer datagram is not the inner frame's.
    let mut bytes = vxlan(10_000, &inner);
    bytes.extend_from_slice(&[0xee; 9]);
    assert_eq!(w.send(WAN, &bytes), [(LAN, tenant(host(1), host(2), Some(100)))]);
    // Both are known now: no more flooding, either way.
    let out = w.send(LAN, &tenant(host(2), host(1), Some(100)));
    assert_eq!(out.len(), 1);
    assert_eq!(outer(&out[0].1).3, tenant(host(2), host(1), None));
    assert_eq!((w.counters().counted(Event::Learned), w.counters().counted(Event::Flooded)), (2, 1));
}

#[test]
fn tenants_with_the_same_macs_never_meet() {
    let mut w = World::new();
    for (vid, vni) in [(100, 10_000), (200, 20_000)] {
        w.send(LAN, &tenant(MacAddr::BROADCAST, host(1), Some(vid)));
        let out = w.send(WAN, &vxlan(vni, &tenant(host(1), host(2), None)));
        assert_eq!(out, [(LAN, tenant(host(1), host(2), Some(vid)))]);
    }
    for (vid, vni) in [(100, 10_000), (200, 20_000)] {
        let out = w.send(LAN, &tenant(host(2), host(1), Some(vid)));
        assert_eq!(out.len(), 1);
        assert_eq!(outer(&out[0].1).2, vni);
    }
}

#[test]
fn a_mac_that_moves_is_found_at_its_new_place_at_once() {
    let mut w = World::new();
    w.send(WAN, &vxlan(10_000, &tenant(MacAddr::BROADCAST, host(1), None)));
    w.send(LAN, &tenant(MacAddr::BROADCAST, host(1), Some(100)));
    let out = w.send(PortId(2), &tenant(host(1), host(3), None));
    assert_eq!(out, [(LAN, tenant(host(1), host(3), Some(100)))]);
    assert_eq!(w.counters().counted(Event::Moved), 1);
    assert_eq!(w.gateway.peers().learned(), 0);
}

#[test]
fn an_unlisted_peer_is_learned_for_as_long_as_a_mac_is_behind_it() {
    let mut w = World::new();
    let other = Ipv4Addr::new(192, 0, 2, 77);
    w.send(WAN, &vxlan_from(other, 10_000, 0, &tenant(MacAddr::BROADCAST, host(9), None)));
    assert_eq!(w.gateway.peers().learned(), 1);
    // Its next hop is not known: the frame waits, and a question goes out.
    let out = w.send(LAN, &tenant(host(9), host(1), Some(100)));
    assert_eq!((out.len(), w.gateway.held()), (1, 1));
    assert_eq!(out[0].1[..6], MacAddr::BROADCAST.0);
    let question = ArpHeader { ..ArpHeader::request(WAN_MAC, VTEP, other) };
    assert_eq!(out[0].1[14..42], arp(host(0), &question)[14..]);
    // The answer lets it go.
    let mac = MacAddr([2, 0xbb, 0, 0, 0, 77]);
    let out = w.send(WAN, &arp(WAN_MAC, &question.reply(mac)));
    assert_eq!((out.len(), w.gateway.held()), (1, 0));
    assert_eq!(out[0].1[..6], mac.0);
    assert_eq!(outer(&out[0].1).0.destination(), other);
    // Forgotten after silence, and with it the peer.
    for _ in 0..400 {
        w.tick(1_000);
    }
    assert_eq!((w.gateway.macs().len(), w.gateway.peers().learned()), (0, 0));
}

#[test]
fn arp_that_teaches_a_next_hop_is_consumed_and_other_arp_is_not_for_us() {
    let mut w = World::new();
    let far = Ipv4Addr::new(192, 0, 2, 77);
    w.send(WAN, &vxlan_from(far, 10_000, 0, &tenant(MacAddr::BROADCAST, host(9), None)));
    w.send(LAN, &tenant(host(9), host(1), Some(100)));
    let answer_of = |address| ArpHeader::request(WAN_MAC, VTEP, address).reply(host(77));
    let announcement = ArpHeader::request(host(78), far, far);
    for (message, consumed, refused) in [
        (answer_of(far), 1, 0),
        (announcement, 2, 0),
        // From whom nobody asked, from one whose MAC is configured, and in the vtep's own name.
        (answer_of(Ipv4Addr::new(192, 0, 2, 78)), 2, 1),
        (answer_of(PEER), 2, 2),
        (answer_of(VTEP), 2, 3),
    ] {
        w.send(WAN, &arp(WAN_MAC, &message));
        assert_eq!((w.counters().consumed, w.dropped(WAN, DropReason::NotForUs)), (consumed, refused), "{message:?}");
    }
    assert_eq!(w.counters().dropped_total(), 3);
}

#[test]
fn a_configured_mac_wins_and_never_moves() {
    let mut w = World::new();
    w.send(LAN, &tenant(MacAddr::BROADCAST, host(1), Some(100)));
    w.place(host(1), true);
    let out = w.send(PortId(2), &tenant(host(1), host(3), None));
    assert_eq!(out[0].0, WAN);
    w.send(LAN, &tenant(MacAddr::BROADCAST, host(1), Some(100)));
    let out = w.send(PortId(2), &tenant(host(1), host(3), None));
    assert_eq!(out[0].0, WAN);
    for _ in 0..10 {
        w.tick(1);
    }
    w.send(LAN, &tenant(MacAddr::BROADCAST, host(1), Some(100)));
    assert_eq!(w.counters().counted(Event::ConfiguredMacElsewhere), 1);
}

#[test]
fn what_is_learned_on_a_segment_is_forgotten_with_it() {
    let mut w = World::new();
    w.send(LAN, &tenant(MacAddr::BROADCAST, host(1), Some(100)));
    let kind = SegmentKind::Vlan { port: LAN, vid: 100.try_into().ok() };
    w.snapshot.set_segment(SegmentIx(1), None).expect("room");
    w.snapshot.set_segment(SegmentIx(1), Some(segment(BLUE, kind))).expect("room");
    w.snapshot.generation += 1;
    let out = w.send(WAN, &vxlan(10_000, &tenant(host(1), host(2), None)));
    assert!(out.iter().all(|(port, _)| *port == PortId(2)), "nothing of red's reaches blue: {out:?}");
}

#[test]
fn pings_to_the_vtep_are_answered_in_place() {
    let mut w = World::new();
    let mut packet = udp4(0, b"abcdefg");
    packet[9] = 1;
    packet[12..16].copy_from_slice(&PEER.octets());
    packet[16..20].copy_from_slice(&VTEP.octets());
    packet[20..24].copy_from_slice(&[8, 0, 0, 0]);
    let sum = Sum::new().with(&packet[20..]).finish();
    packet[22..24].copy_from_slice(&sum.to_be_bytes());
    fix_checksum(&mut packet);
    let out = w.send(WAN, &frame(WAN_MAC, PEER_MAC, None, EtherType::IPV4, &packet));
    let [(WAN, bytes)] = &out[..] else { panic!("{out:?}") };
    assert_eq!((&bytes[..6], &bytes[6..12]), (&PEER_MAC.0[..], &WAN_MAC.0[..]));
    let (ip, message) = Ipv4::parse(&bytes[14..]).expect("IPv4");
    assert!(ip.checksum_holds());
    assert_eq!((ip.source(), ip.destination(), ip.ttl(), message[0]), (VTEP, PEER, 64, 0));
    assert_eq!(Sum::new().with(message).finish(), 0);
}
