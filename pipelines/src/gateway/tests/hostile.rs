//! Whatever arrives: nothing panics, every frame ends in exactly one way, every buffer comes back, and nothing of one
//! bridge is seen on another. `World` checks the first three at every turn.

use super::*;
use crate::gateway::DropReason;
use proptest::prelude::*;

/// Frames that get deep into the gateway, to be bent.
fn seeds() -> Vec<(PortId, Vec<u8>)> {
    let red = tenant(host(2), host(1), None);
    let mut ipv6 = vec![0x60, 0, 0, 0, 0, 13, 17, 64];
    ipv6.extend_from_slice(&[0x20; 32]);
    ipv6.extend_from_slice(&udp4(0, b"hello")[20..]);
    let six = frame(host(2), host(1), Some(100), EtherType::IPV6, &ipv6);
    let ask = ArpHeader::request(PEER_MAC, PEER, VTEP);
    vec![
        (LAN, tenant(host(2), host(1), Some(100))),
        (LAN, tenant(MacAddr::BROADCAST, host(3), Some(200))),
        (LAN, six),
        (PortId(2), red.clone()),
        (WAN, vxlan(10_000, &red)),
        (WAN, vxlan(20_000, &frame(MacAddr::BROADCAST, host(3), Some(7), EtherType::IPV4, &udp4(2, b"x")))),
        (WAN, vxlan(10_000, &vxlan(20_000, &red))),
        (WAN, arp(MacAddr::BROADCAST, &ask)),
        (WAN, arp(WAN_MAC, &ask.reply(PEER_MAC))),
        (LAN, bindings::announce(host(1), bindings::ip(1), Some(100))),
        (LAN, bindings::ask(2, bindings::ip(1), Some(100))),
        (WAN, vxlan(10_000, &bindings::ask(3, bindings::ip(1), None))),
        (LAN, bindings::advertise(host(1), bindings::ip6(1), Some(100))),
        (WAN, vxlan(10_000, &bindings::solicit(3, bindings::ip6(1), None))),
        (PortId(2), bindings::detect(4, bindings::ip6(1), None)),
        (LAN, frame(host(2), host(9), Some(100), EtherType::IPV4, &bindings::lease(host(2), bindings::ip(2), 5))),
    ]
}

#[test]
fn a_second_tag_hops_neither_to_another_vlan_nor_into_a_tunnel() {
    let mut w = World::new();
    // To untagged port 2, where it would be taken for VLAN 200's, and to a tunnel that carries no tags.
    let mut inner = 200u16.to_be_bytes().to_vec();
    inner.extend_from_slice(&EtherType::IPV4.0.to_be_bytes());
    inner.extend_from_slice(&udp4(0, b"hop"));
    let out = w.send(LAN, &frame(MacAddr::BROADCAST, host(1), Some(100), EtherType::VLAN, &inner));
    assert_eq!((out, w.dropped(LAN, DropReason::InnerTag)), (vec![], 2));
}

#[test]
fn nobody_that_is_no_host_is_a_peer() {
    for source in [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 1], [255, 255, 255, 255], VTEP.octets()] {
        let mut w = World::new();
        let out = w.send(WAN, &vxlan_from(source.into(), 10_000, 0, &tenant(host(2), host(1), None)));
        assert_eq!((out, w.gateway.macs().len(), w.dropped(WAN, DropReason::NotForUs)), (vec![], 0, 1), "{source:?}");
    }
}

#[test]
fn a_frame_cut_anywhere_is_dropped_and_teaches_nothing() {
    // But for ports, an IPv4 packet's bytes are all within its lengths: every cut shows.
    for (port, bytes) in seeds() {
        for len in 0..bytes.len() {
            let mut w = World::new();
            let out = w.send(port, &bytes[..len]);
            assert_eq!(out, [], "cut at {len} of {}", bytes.len());
            assert_eq!(w.gateway.macs().len(), 0, "cut at {len} of {}", bytes.len());
            assert_eq!(w.counters().dropped_total(), 1);
        }
    }
}

#[test]
fn segments_split_anywhere_come_out_the_same() {
    for (port, bytes) in seeds() {
        let (mut whole, mut split) = (World::new(), World::new());
        let expected = whole.send(port, &bytes);
        for at in 1..bytes.len() {
            let mut w = World::new();
            assert_eq!(w.send_segments(port, &[&bytes[..at], &bytes[at..]]), expected, "split at {at}");
        }
        let bytewise: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(split.send_segments(port, &bytewise), expected);
    }
}

#[test]
fn own_zero_and_group_sources_are_refused() {
    let mut w = World::new();
    for from in [WAN_MAC, LAN_MAC, MacAddr::ZERO, MacAddr::BROADCAST, MacAddr([1, 0, 0x5e, 0, 0, 1])] {
        assert_eq!(w.send(LAN, &tenant(host(2), from, Some(100))), []);
        assert_eq!(w.send(WAN, &vxlan(10_000, &tenant(host(2), from, None))), []);
    }
    assert_eq!((w.dropped(LAN, DropReason::SourceMac), w.dropped(WAN, DropReason::SourceMac)), (5, 5));
    assert_eq!(w.gateway.macs().len(), 0);
}

#[test]
fn an_empty_pool_costs_copies_and_nothing_else_and_recovers() {
    let mut w = World::new();
    w.pool.set_capacity(1);
    let out = w.send(LAN, &tenant(MacAddr::BROADCAST, host(1), Some(100)));
    assert_eq!((out.len(), w.dropped(LAN, DropReason::NoMbuf)), (1, 1));
    w.pool.set_capacity(1000);
    assert_eq!(w.send(LAN, &tenant(MacAddr::BROADCAST, host(1), Some(100))).len(), 2);
}

#[test]
fn a_port_that_takes_nothing_costs_its_frames_and_is_counted() {
    let mut w = World::new();
    w.ports.room = 0;
    assert_eq!(w.send(LAN, &tenant(MacAddr::BROADCAST, host(1), Some(100))), []);
    assert_eq!(w.dropped(LAN, DropReason::TxFull), 2);
}

#[test]
fn frames_for_a_silent_next_hop_wait_within_bounds_and_are_dropped_by_name() {
    let mut w = World::new();
    let far = Ipv4Addr::new(192, 0, 2, 77);
    w.send(WAN, &vxlan_from(far, 10_000, 0, &tenant(MacAddr::BROADCAST, host(2), None)));
    for _ in 0..20 {
        w.send(LAN, &tenant(host(2), host(1), Some(100)));
    }
    assert_eq!((w.gateway.held(), w.dropped(LAN, DropReason::HoldFull)), (16, 4));
    for _ in 0..4 {
        w.tick(1_000);
    }
    assert_eq!((w.gateway.held(), w.dropped(LAN, DropReason::NextHopFailed)), (0, 16));
    w.send(LAN, &tenant(host(2), host(1), Some(100)));
    assert_eq!(w.dropped(LAN, DropReason::NextHopFailed), 17);
}

/// Whether a frame that left carries the mark of the blue tenant's host 3, or only red's.
fn leaks(port: PortId, bytes: &[u8], marker: &[u8]) -> bool {
    let blue_place = match port {
        LAN => bytes.get(12..16).is_some_and(|tag| tag[..2] == [0x81, 0] && tag[2] & 15 == 0 && tag[3] == 200),
        WAN => bytes.get(46..49).is_some_and(|vni| vni == [0, 0x4e, 0x20]),
        _ => false,
    };
    !blue_place && bytes.windows(marker.len()).any(|w| w == marker)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, rng_seed: proptest::test_runner::RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_at_any_port(frames in prop::collection::vec(
        (0u16..3, prop::collection::vec(any::<u8>(), 0..200)), 1..20)
    ) {
        let mut w = World::new();
        for (port, bytes) in frames {
            w.send(PortId(port), &bytes);
        }
        w.tick(1_000);
    }

    #[test]
    fn bent_frames_at_any_port(frames in prop::collection::vec(
        (0usize..16, prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), any::<prop::sample::Index>(), 0u16..3), 1..40)
    ) {
        let mut w = World::new();
        let seeds = seeds();
        for (seed, bends, cut, elsewhere) in frames {
            let (port, mut bytes) = seeds[seed].clone();
            for (at, to) in bends {
                let at = at.index(bytes.len());
                bytes[at] = to;
            }
            let cut = cut.index(bytes.len());
            if cut % 4 == 0 {
                bytes.truncate(cut);
            }
            let (front, back) = bytes.split_at(cut.min(bytes.len()));
            let port = if cut % 7 == 0 { PortId(elsewhere) } else { port };
            if front.is_empty() || back.is_empty() {
                w.send(port, &bytes);
            } else {
                w.send_segments(port, &[front, back]);
            }
        }
        for millis in [1_000, 300_000, 1_000, 1_000, 1_000] {
            w.tick(millis);
        }
    }

    #[test]
    fn what_blue_sends_only_blue_sees(frames in prop::collection::vec(
        (any::<bool>(), any::<bool>(), 0u8..6, 0u8..6, any::<bool>()), 1..60)
    ) {
        let mut w = World::new();
        let marker = b"only blue may see this";
        for (blue, tunnelled, from, to, broadcast) in frames {
            let to = if broadcast { MacAddr::BROADCAST } else { host(to + 1) };
            let payload = udp4(0, if blue { marker } else { b"red" });
            let (vid, vni) = if blue { (200, 20_000) } else { (100, 10_000) };
            let out = if tunnelled {
                w.send(WAN, &vxlan(vni, &frame(to, host(from + 1), None, EtherType::IPV4, &payload)))
            } else {
                w.send(LAN, &frame(to, host(from + 1), Some(vid), EtherType::IPV4, &payload))
            };
            for (port, bytes) in out {
                prop_assert!(!leaks(port, &bytes, marker), "{port:?} {bytes:02x?}");
            }
        }
    }
}
