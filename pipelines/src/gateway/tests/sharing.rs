//! What one worker learns, the others know.

use super::*;
use crate::gateway::Fact;

fn shared() -> World {
    World::with(Limits {
        bridges: 8,
        macs: 64,
        bindings: 64,
        peers: 8,
        learned_peers: 8,
        neighbours: 8,
        held: 16,
        shared: true,
        ..limits()
    })
}

/// Hands every offer of one to the other; how many there were.
fn pass_on(from: &mut World, to: &mut World) -> usize {
    let mut count = 0;
    while let Some(fact) = from.gateway.next_offer() {
        to.gateway.learned_elsewhere(&to.snapshot, fact, to.now);
        count += 1;
    }
    count
}

#[test]
fn a_mac_learned_by_one_is_forwarded_to_by_the_other() {
    let (mut one, mut two) = (shared(), shared());
    let far = Ipv4Addr::new(192, 0, 2, 77);
    one.send(LAN, &tenant(MacAddr::BROADCAST, host(1), Some(100)));
    one.send(WAN, &vxlan_from(far, 10_000, 0, &tenant(MacAddr::BROADCAST, host(2), None)));
    assert_eq!(pass_on(&mut one, &mut two), 2);
    assert_eq!(two.send(PortId(2), &tenant(host(1), host(3), None)), [(LAN, tenant(host(1), host(3), Some(100)))]);
    two.send(LAN, &tenant(host(2), host(1), Some(100)));
    assert_eq!(two.gateway.held(), 1, "the peer is known by its address, whatever its number");
    assert_eq!(two.gateway.neighbours().entries()[0].address, far);
    // What was learned elsewhere is not offered back.
    assert_eq!(pass_on(&mut two, &mut one), 1, "host 3 only");
}

#[test]
fn a_mac_that_goes_on_talking_to_one_does_not_age_on_the_other() {
    let (mut one, mut two) = (shared(), shared());
    for _ in 0..40 {
        one.send(LAN, &tenant(MacAddr::BROADCAST, host(1), Some(100)));
        pass_on(&mut one, &mut two);
        for _ in 0..20 {
            one.tick(1_000);
            two.tick(1_000);
        }
    }
    assert_eq!((one.gateway.macs().len(), two.gateway.macs().len()), (1, 1));
}

#[test]
fn a_next_hop_resolved_by_one_releases_what_waits_on_the_other() {
    let (mut one, mut two) = (shared(), shared());
    let far = Ipv4Addr::new(192, 0, 2, 77);
    for w in [&mut one, &mut two] {
        w.send(WAN, &vxlan_from(far, 10_000, 0, &tenant(MacAddr::BROADCAST, host(2), None)));
        w.send(LAN, &tenant(host(2), host(1), Some(100)));
        assert_eq!(w.gateway.held(), 1);
    }
    let answer = ArpHeader::request(WAN_MAC, VTEP, far).reply(host(77));
    assert_eq!(one.send(WAN, &arp(WAN_MAC, &answer)).len(), 1);
    pass_on(&mut one, &mut two);
    assert_eq!(two.tick(1).len(), 1);
    assert_eq!(two.gateway.held(), 0);
}

#[test]
fn an_answer_that_comes_to_another_worker_than_asked_is_passed_on() {
    // A device that has one rx queue, or hashes only IP, gives all ARP to one worker.
    let (mut one, mut two) = (shared(), shared());
    let far = Ipv4Addr::new(192, 0, 2, 77);
    two.send(WAN, &vxlan_from(far, 10_000, 0, &tenant(MacAddr::BROADCAST, host(2), None)));
    assert_eq!((two.send(LAN, &tenant(host(2), host(1), Some(100))).len(), two.gateway.held()), (1, 1));
    let answer = ArpHeader::request(WAN_MAC, VTEP, far).reply(host(77));
    assert_eq!(one.send(WAN, &arp(WAN_MAC, &answer)), []);
    assert_eq!((one.counters().consumed, one.gateway.neighbours().entries().len()), (1, 0));
    pass_on(&mut one, &mut two);
    let out = two.tick(1);
    assert_eq!((out.len(), two.gateway.held()), (1, 0));
    assert_eq!(out[0].1[..6], host(77).0);
}

#[test]
fn an_answer_that_is_no_news_to_who_hears_it_is_passed_on_to_who_asked() {
    let (mut one, mut two) = (shared(), shared());
    let far = Ipv4Addr::new(192, 0, 2, 77);
    let answer = arp(WAN_MAC, &ArpHeader::request(WAN_MAC, VTEP, far).reply(host(77)));
    // The second needs the next hop when the first has known it for a while.
    for (w, other_waits) in [(true, 0), (false, 1)] {
        let asks = if w { &mut one } else { &mut two };
        asks.send(WAN, &vxlan_from(far, 10_000, 0, &tenant(MacAddr::BROADCAST, host(2), None)));
        asks.send(LAN, &tenant(host(2), host(1), Some(100)));
        one.send(WAN, &answer);
        assert_eq!(two.gateway.held(), other_waits);
        pass_on(&mut one, &mut two);
        two.tick(1);
    }
    assert_eq!(two.gateway.held(), 0);
}

#[test]
fn an_offer_that_finds_no_room_is_made_again() {
    let mut w = shared();
    let fact = Fact::Neighbour { port: WAN, address: PEER.into(), mac: PEER_MAC };
    while w.gateway.push_offer(fact) {}
    w.send(LAN, &tenant(MacAddr::BROADCAST, host(1), Some(100)));
    while w.gateway.next_offer().is_some() {}
    w.tick(1_000);
    w.send(LAN, &tenant(MacAddr::BROADCAST, host(1), Some(100)));
    assert!(matches!(w.gateway.next_offer(), Some(Fact::Mac { .. })));
}
