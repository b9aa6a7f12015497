//! Nothing that was learned outlives its truth: what the configuration withdraws is gone within seconds, and tables that
//! are full give up what nobody needs.

use super::*;
use crate::gateway::{Fact, Sighting};

const FAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);

/// Seconds pass: more than a sweep of these small tables takes.
fn wait(w: &mut World) {
    for _ in 0..20 {
        w.tick(1000);
    }
}

#[test]
fn a_peer_taken_off_a_bridge_that_lists_its_peers_gets_no_more_of_its_frames() {
    let mut w = World::new();
    w.snapshot.set_bridge(RED, Some(BridgeSettings { listed_only: true, ..settings() }));
    w.snapshot.list_peer(RED, PeerIx(0), true).expect("room");
    w.snapshot.generation += 1;
    w.send(WAN, &vxlan(10_000, &tenant(MacAddr::BROADCAST, host(2), None)));
    assert_eq!(w.gateway.macs().len(), 1);
    // Blue still has the peer.
    w.snapshot.set_flood(SegmentIx(2), PeerIx(0), false);
    w.snapshot.list_peer(RED, PeerIx(0), false).expect("room");
    w.snapshot.generation += 1;
    wait(&mut w);
    let out = w.send(LAN, &tenant(host(2), host(1), Some(100)));
    assert!(out.iter().all(|(port, _)| *port == PortId(2)), "{out:?}");
    // Nor does another worker's word bring it back.
    let peer = Some(peer(PEER));
    let fact = Fact::Mac { bridge: RED, mac: host(2), segment: SegmentIx(2), peer, sighting: Sighting::Again };
    w.gateway.learned_elsewhere(&w.snapshot, fact, w.now);
    assert_eq!(w.gateway.macs().len(), 1, "host 1 only");
}

#[test]
fn hosts_behind_a_segment_that_moved_to_another_vtep_are_flooded_to() {
    let mut w = World::new();
    w.send(WAN, &vxlan_from(FAR, 10_000, 0, &tenant(MacAddr::BROADCAST, host(2), None)));
    let address = Ipv4Addr::new(192, 0, 2, 9);
    let vtep = Vtep { port: WAN, address: address.into(), prefix_len: 24, gateways: vec![], neighbours: vec![] };
    w.snapshot.set_vtep(VtepIx(1), Some(vtep));
    w.snapshot.set_flood(SegmentIx(2), PeerIx(0), false);
    let kind =
        SegmentKind::Tunnel { encap: Encap::Vxlan, network: Vni::try_from(10_000).expect("legal"), vtep: VtepIx(1) };
    w.snapshot.set_segment(SegmentIx(2), Some(segment(RED, kind))).expect("room");
    w.snapshot.generation += 1;
    wait(&mut w);
    assert_eq!((w.gateway.macs().len(), w.gateway.peers().learned()), (0, 0));
    assert_eq!(w.send(LAN, &tenant(host(2), host(1), Some(100))).len(), 1);
    assert_eq!(w.dropped(LAN, DropReason::PeerGone), 0);
}

#[test]
fn as_many_next_hops_as_frames_wait_for_are_released_at_once() {
    let mut w = World::with(Limits {
        bridges: 8,
        macs: 512,
        bindings: 64,
        peers: 8,
        learned_peers: 256,
        neighbours: 256,
        held: 256,
        shared: true,
        ..limits()
    });
    let far = |n| Ipv4Addr::new(192, 0, 2, n);
    w.snapshot.set_bridge(RED, Some(BridgeSettings { mac_limit: 1000, ..settings() }));
    w.snapshot.generation += 1;
    for n in 10..110u8 {
        w.send(WAN, &vxlan_from(far(n), 10_000, 0, &tenant(MacAddr::BROADCAST, host(n), None)));
        w.send(LAN, &tenant(host(n), host(1), Some(100)));
    }
    assert_eq!(w.gateway.held(), 100);
    for n in 10..110u8 {
        let fact = Fact::Neighbour { port: WAN, address: far(n).into(), mac: host(n) };
        w.gateway.learned_elsewhere(&w.snapshot, fact, w.now);
    }
    assert_eq!(w.tick(1).len(), 100);
    assert_eq!(w.gateway.held(), 0);
}

#[test]
fn next_hops_that_come_and_go_never_fill_the_table_for_good() {
    let mut w = World::new();
    for n in 10..30u8 {
        let far = Ipv4Addr::new(192, 0, 2, n);
        w.send(WAN, &vxlan_from(far, 10_000, 0, &tenant(MacAddr::BROADCAST, host(n), None)));
        w.send(LAN, &tenant(host(n), host(1), Some(100)));
        for _ in 0..400 {
            w.tick(1000);
        }
    }
    assert_eq!(w.gateway.neighbours().entries().len(), 8);
    assert_eq!(w.dropped(LAN, DropReason::NeighbourTableFull), 0);
    // A peer that is in use reaches its next hop by its own number, whoever had that before.
    w.place(host(2), true);
    let out = w.send(LAN, &tenant(host(2), host(1), Some(100)));
    assert_eq!(out.iter().map(|(_, f)| &f[..6]).collect::<Vec<_>>(), [&PEER_MAC.0[..]]);
}

#[test]
fn a_frame_to_nobodys_mac_is_flooded_like_any_unknown_one() {
    let mut w = World::new();
    let first = BridgeId(0);
    w.snapshot.set_bridge(first, Some(settings()));
    for (ix, vid) in [(0, 300u16), (6, 301), (7, 302)] {
        let kind = SegmentKind::Vlan { port: LAN, vid: vid.try_into().ok() };
        w.snapshot.set_segment(SegmentIx(ix), Some(segment(first, kind))).expect("room");
    }
    w.snapshot.generation += 1;
    assert_eq!(w.send(LAN, &tenant(MacAddr::ZERO, host(1), Some(301))).len(), 2);
}

#[test]
fn a_storm_of_arp_leaves_room_for_macs_to_be_passed_on() {
    let mut w = World::with(Limits {
        bridges: 8,
        macs: 64,
        bindings: 64,
        peers: 8,
        learned_peers: 8,
        neighbours: 8,
        held: 16,
        shared: true,
        ..limits()
    });
    for n in 0..5000u16 {
        let [a, b] = n.to_be_bytes();
        let from = Ipv4Addr::new(10, 9, a, b);
        let stranger = ArpHeader::request(MacAddr([2, 9, 0, 0, a, b]), from, VTEP);
        w.send(WAN, &arp(MacAddr::BROADCAST, &stranger));
        w.send(WAN, &arp(WAN_MAC, &ArpHeader::request(WAN_MAC, VTEP, from).reply(MacAddr([2, 9, 0, 0, a, b]))));
    }
    w.send(LAN, &tenant(MacAddr::BROADCAST, host(1), Some(100)));
    let offers: Vec<Fact> = core::iter::from_fn(|| w.gateway.next_offer()).collect();
    assert!(offers.len() <= 100, "{}", offers.len());
    assert!(matches!(offers.last(), Some(Fact::Mac { .. })));
}
