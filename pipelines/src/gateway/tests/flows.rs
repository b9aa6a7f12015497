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
