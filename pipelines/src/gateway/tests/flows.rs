//! What is remembered of flows and tunnels holds only as long as what it rests on: every change shows with the very next frame.

use super::*;
use crate::gateway::{Event, Fact};

/// Sends the frame twice, so that the second time it goes the remembered way; both must come to the same.
fn twice(w: &mut World, port: PortId, bytes: &[u8]) -> Vec<(PortId, Vec<u8>)> {
    let first = w.send(port, bytes);
    assert_eq!(w.send(port, bytes), first);
    first
}

/// Hosts 1 on VLAN 100, 2 behind the peer, and 3 on the untagged port, all learned.
fn world() -> World {
    let mut w = World::new();
    w.send(LAN, &tenant(MacAddr::BROADCAST, host(1), Some(100)));
    w.send(WAN, &vxlan(10_000, &tenant(MacAddr::BROADCAST, host(2), None)));
    w.send(PortId(2), &tenant(MacAddr::BROADCAST, host(3), None));
    w
}

#[test]
fn a_host_that_moves_is_followed_within_the_same_burst_and_second() {
    let mut w = world();
    let frame = tenant(host(1), host(2), None);
    assert_eq!(twice(&mut w, WAN, &vxlan(10_000, &frame))[0].0, LAN);
    w.send(PortId(2), &tenant(MacAddr::BROADCAST, host(1), None));
    assert_eq!(twice(&mut w, WAN, &vxlan(10_000, &frame)), [(PortId(2), frame.clone())]);
    // Here and there in one burst: both go where it is at its end, as they would if they were looked up.
    let mut burst = Burst::new();
    for bytes in [tenant(host(2), host(3), None), tenant(host(1), host(3), None), tenant(host(3), host(1), None)] {
        let _ = burst.push(w.pool.frame(&[&bytes]).expect("a buffer"));
    }
    w.gateway.process(&w.snapshot, w.now, PortId(2), &mut burst, &mut w.pool, &mut w.ports);
    assert_eq!(w.ports.take().len(), 1, "the other two are on one segment");
}

#[test]
fn a_change_of_the_configuration_shows_with_the_next_frame() {
    let mut w = world();
    let frame = tenant(host(2), host(1), Some(100));
    assert_eq!(twice(&mut w, LAN, &frame)[0].0, WAN);
    w.place(host(2), false);
    assert_eq!(twice(&mut w, LAN, &frame), [], "configured on the segment it comes from");
    w.snapshot.set_endpoint(RED, host(2), None).expect("room");
    w.snapshot.generation += 1;
    assert_eq!(twice(&mut w, LAN, &frame)[0].0, WAN, "learned, still");
    w.snapshot.set_bridge(RED, Some(BridgeSettings { listed_only: true, ..settings() }));
    w.snapshot.generation += 1;
    let back = vxlan(10_000, &tenant(host(1), host(2), None));
    assert_eq!(twice(&mut w, WAN, &back), [], "the peer is not listed");
}

#[test]
fn a_next_hop_with_another_mac_or_none_shows_with_the_next_frame() {
    let mut w = world();
    let vtep = w.snapshot.vtep(VtepIx(0)).expect("there").clone();
    w.snapshot.set_vtep(VtepIx(0), Some(Vtep { neighbours: vec![], ..vtep }));
    w.snapshot.generation += 1;
    let frame = tenant(host(2), host(1), Some(100));
    assert_eq!(w.send(LAN, &frame).len(), 1, "a question");
    for n in [20, 21] {
        let fact = Fact::Neighbour { port: WAN, address: PEER.into(), mac: host(n) };
        w.gateway.learned_elsewhere(&w.snapshot, fact, w.now);
        w.tick(1);
        assert_eq!(twice(&mut w, LAN, &frame)[0].1[..6], host(n).0);
    }
    // It falls silent: asked, it does not answer, and frames to it are dropped by name.
    for _ in 0..350 {
        w.send(LAN, &frame);
        w.tick(100);
    }
    assert_eq!(w.counters().counted(Event::NeighbourFailed), 1);
    assert!(w.dropped(LAN, DropReason::NextHopFailed) > 0);
}

#[test]
fn a_remembered_flow_keeps_its_hosts_from_ageing_and_silence_does_not() {
    let mut w = world();
    let (there, back) = (tenant(host(2), host(1), Some(100)), vxlan(10_000, &tenant(host(1), host(2), None)));
    for _ in 0..700 {
        w.tick(1000);
        assert_eq!((w.send(LAN, &there).len(), w.send(WAN, &back).len()), (1, 1));
    }
    assert_eq!(w.counters().counted(Event::Aged), 1, "host 3");
    // Host 2 is silent: after its ageing time, frames to it are flooded again.
    for _ in 0..302 {
        w.tick(1000);
        w.send(LAN, &there);
    }
    assert_eq!(w.send(LAN, &there).len(), 2);
}

#[test]
fn tenants_with_the_same_hosts_share_no_flow() {
    let mut w = world();
    w.send(LAN, &tenant(MacAddr::BROADCAST, host(1), Some(200)));
    w.send(LAN, &tenant(MacAddr::BROADCAST, host(2), Some(200)));
    assert_eq!(twice(&mut w, LAN, &tenant(host(2), host(1), Some(100)))[0].0, WAN);
    assert_eq!(twice(&mut w, LAN, &tenant(host(2), host(1), Some(200))), [], "on the same segment there");
}

#[test]
fn a_tenant_whose_hosts_move_leaves_the_flows_of_others_as_they_are() {
    let mut w = world();
    let frame = tenant(host(2), host(1), Some(100));
    twice(&mut w, LAN, &frame);
    let stamp = |w: &World, bridge| {
        let macs = w.gateway.macs();
        (macs.moves(), macs.moves_of(bridge))
    };
    let before = stamp(&w, RED);
    // Blue's host 5 goes to and fro.
    for n in 0..6 {
        w.send(LAN, &tenant(MacAddr::BROADCAST, host(5), Some(200)));
        if n < 2 {
            w.send(WAN, &vxlan(20_000, &tenant(MacAddr::BROADCAST, host(5), None)));
        }
    }
    let after = stamp(&w, RED);
    assert!(after.0 > before.0 && after.1 == before.1, "{before:?} {after:?}");
    assert_eq!(twice(&mut w, LAN, &frame)[0].0, WAN);
}

#[test]
fn hosts_behind_a_peer_that_gets_a_mesh_of_its_own_are_of_that_mesh_at_once() {
    let mut w = world();
    let stranger = Ipv4Addr::new(192, 0, 2, 9);
    let far = |inner: &[u8]| vxlan_from(stranger, 10_000, 0, inner);
    w.send(WAN, &far(&tenant(MacAddr::BROADCAST, host(7), None)));
    w.snapshot.set_peer(PeerIx(1), Some(peer(stranger))).expect("room");
    w.snapshot.set_peer_mesh(SegmentIx(2), PeerIx(1), Some(MeshId(5))).expect("room");
    w.snapshot.generation += 1;
    // From that peer to a host of its own: it does not come back.
    assert_eq!(twice(&mut w, WAN, &far(&tenant(host(7), host(8), None))), []);
    // From a peer of the other mesh: relayed, once its next hop answers.
    let fact = Fact::Neighbour { port: WAN, address: stranger.into(), mac: host(99) };
    w.send(WAN, &vxlan(10_000, &tenant(host(7), host(2), None)));
    w.gateway.learned_elsewhere(&w.snapshot, fact, w.now);
    w.tick(1);
    let out = twice(&mut w, WAN, &vxlan(10_000, &tenant(host(7), host(2), None)));
    assert_eq!(out.iter().map(|(port, bytes)| (*port, bytes[5])).collect::<Vec<_>>(), [(WAN, 99)]);
}

#[test]
fn who_floods_with_new_macs_over_the_limit_keeps_no_facts_waiting() {
    let mut w = World::with(Limits { macs: 64, shared: true, ..super::limits() });
    w.snapshot.set_bridge(RED, Some(BridgeSettings { mac_limit: 4, ..settings() }));
    w.snapshot.generation += 1;
    for n in 0..200 {
        w.send(LAN, &tenant(MacAddr::BROADCAST, host(n), Some(100)));
    }
    let told = core::iter::from_fn(|| w.gateway.next_offer()).count();
    assert!(told <= 5, "{told} facts of {} MACs", w.gateway.macs().len());
}

#[test]
fn a_next_hop_whose_mac_is_configured_at_one_vtep_is_known_to_all_of_its_port() {
    let mut w = world();
    let other = Vtep {
        port: WAN,
        address: Ipv4Addr::new(192, 0, 2, 200).into(),
        prefix_len: 24,
        gateways: vec![],
        neighbours: vec![],
    };
    w.snapshot.set_vtep(VtepIx(1), Some(other));
    w.snapshot.set_peer(PeerIx(2), Some(Peer { vtep: VtepIx(1), ..peer(PEER) })).expect("room");
    let kind =
        SegmentKind::Tunnel { encap: Encap::Vxlan, network: Vni::try_from(30_000).expect("legal"), vtep: VtepIx(1) };
    w.snapshot.set_segment(SegmentIx(6), Some(segment(RED, kind))).expect("room");
    let at = Location { segment: SegmentIx(6), peer: Some(PeerIx(2)) };
    w.snapshot.set_endpoint(RED, host(6), Some(Host { at, addressed: false })).expect("room");
    w.snapshot.generation += 1;
    for _ in 0..3 {
        for to in [host(2), host(6)] {
            let out = twice(&mut w, LAN, &tenant(to, host(1), Some(100)));
            assert_eq!(out[0].1[..6], PEER_MAC.0, "{to:?}");
        }
        w.tick(1000);
    }
    assert_eq!(w.gateway.held(), 0);
}
