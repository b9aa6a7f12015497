//! What hosts do too much of: storms, moving to and fro, more MACs than a bridge may have.

use super::*;
use crate::gateway::{Event, Fact, Forget, Happening, Notice, Whereabouts};

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

/// Hands every offer of one to the other.
fn pass_on(from: &mut World, to: &mut World) {
    while let Some(fact) = from.gateway.next_offer() {
        to.gateway.learned_elsewhere(&to.snapshot, fact, to.now);
    }
}

fn notices(w: &mut World) -> Vec<Notice> {
    core::iter::from_fn(|| w.gateway.next_notice()).collect()
}

/// A frame of a host, to be learned, on VLAN 100 or on the untagged segment.
fn appear(w: &mut World, n: u8, tagged: bool) {
    let (port, tci) = if tagged { (LAN, Some(100)) } else { (PortId(2), None) };
    w.send(port, &tenant(MacAddr::BROADCAST, host(n), tci));
}

/// Whether frames to a host go to VLAN 100; asked from behind the peer.
fn is_on_vlan(w: &mut World, n: u8) -> bool {
    let out = w.send(WAN, &vxlan(10_000, &tenant(host(n), host(99), None)));
    assert_eq!(out.len(), 1, "known, and so not flooded");
    out[0].0 == LAN
}

const VLAN: Whereabouts = Whereabouts { segment: SegmentIx(1), peer: None };
const UNTAGGED: Whereabouts = Whereabouts { segment: SegmentIx(5), peer: None };

fn limit(w: &mut World, bridge: BridgeId, broadcast: u32, unknown: u32) {
    let limits = BridgeSettings { broadcast_limit: broadcast, unknown_limit: unknown, ..settings() };
    w.snapshot.set_bridge(bridge, Some(limits));
    w.snapshot.generation += 1;
}

#[test]
fn a_storm_is_cut_to_its_limit_and_the_other_bridge_keeps_its_share() {
    let mut w = World::new();
    limit(&mut w, RED, 10, 3);
    w.gateway.watch(true);
    for _ in 0..50 {
        w.send(LAN, &tenant(MacAddr::BROADCAST, host(1), Some(100)));
        w.send(LAN, &tenant(host(77), host(1), Some(100)));
        w.send(LAN, &tenant(MacAddr::BROADCAST, host(1), Some(200)));
    }
    assert_eq!(w.dropped(LAN, DropReason::Storm), 40 + 47);
    assert_eq!(w.counters().counted(Event::Flooded), 10 + 3 + 50);
    assert_eq!(w.counters().counted(Event::StormSeconds), 2);
    // A frame to a host that is known is no flood, and another port has a share of its own.
    assert_eq!(w.send(PortId(2), &tenant(host(1), host(2), None)).len(), 1);
    assert_eq!(w.send(PortId(2), &tenant(MacAddr::BROADCAST, host(2), None)).len(), 2);
    let storms: Vec<_> = notices(&mut w).into_iter().filter(|n| matches!(n.what, Happening::Storm(_))).collect();
    assert_eq!(storms.len(), 2);
    assert!(storms.iter().all(|n| (n.bridge, n.port, n.mac) == (Some(RED), Some(LAN), None)), "{storms:?}");
    // It goes on by the rate, and is said once more in the next second.
    w.tick(1000);
    for _ in 0..50 {
        w.send(LAN, &tenant(MacAddr::BROADCAST, host(1), Some(100)));
    }
    assert_eq!(w.dropped(LAN, DropReason::Storm), 40 + 47 + 40);
    assert_eq!(w.counters().counted(Event::StormSeconds), 3);
}

#[test]
fn the_fifth_move_is_the_last_for_180_seconds_and_frames_go_on() {
    let mut w = World::new();
    w.gateway.watch(true);
    for n in 0..6 {
        appear(&mut w, 1, n % 2 == 0);
        w.tick(1000);
    }
    assert_eq!((w.counters().counted(Event::Moved), w.counters().counted(Event::Frozen)), (5, 1));
    assert!(!is_on_vlan(&mut w, 1), "the fifth move was to the untagged segment");
    let out = w.send(LAN, &tenant(MacAddr::BROADCAST, host(1), Some(100)));
    assert_eq!(out.len(), 2, "forwarded, though not learned");
    assert!(!is_on_vlan(&mut w, 1));
    assert_eq!(w.counters().counted(Event::FrozenMacElsewhere), 1);
    let told = notices(&mut w);
    let frozen: Vec<_> = told.iter().filter(|n| n.what == Happening::Frozen).collect();
    assert_eq!(frozen.len(), 1);
    assert_eq!(
        (frozen[0].bridge, frozen[0].mac, frozen[0].at, frozen[0].from),
        (Some(RED), Some(host(1)), Some(UNTAGGED), Some(VLAN))
    );
    // It talks where it is, so that it does not age, until it thaws.
    for _ in 0..18 {
        appear(&mut w, 1, false);
        w.tick(10_000);
    }
    appear(&mut w, 1, true);
    assert!(is_on_vlan(&mut w, 1));
}

#[test]
fn four_failovers_within_the_time_all_succeed() {
    let mut w = World::new();
    for n in 0..5 {
        appear(&mut w, 1, n % 2 == 0);
        assert_eq!(is_on_vlan(&mut w, 1), n % 2 == 0, "after move {n}");
        w.tick(1000);
    }
    assert_eq!((w.counters().counted(Event::Moved), w.counters().counted(Event::Frozen)), (4, 0));
}

#[test]
fn moves_seen_by_two_workers_are_counted_once_and_freeze_on_both() {
    let (mut one, mut two) = (shared(), shared());
    for n in 0..6 {
        // Frames from VLAN 100 come to one worker, those from the other segment to the other.
        let (w, other) = if n % 2 == 0 { (&mut one, &mut two) } else { (&mut two, &mut one) };
        appear(w, 1, n % 2 == 0);
        pass_on(w, other);
        one.tick(1000);
        two.tick(1000);
    }
    let sum = |event| one.counters().counted(event) + two.counters().counted(event);
    assert_eq!((sum(Event::Learned), sum(Event::Moved), sum(Event::Frozen)), (1, 5, 1));
    appear(&mut one, 1, true);
    pass_on(&mut one, &mut two);
    assert!(!is_on_vlan(&mut one, 1) && !is_on_vlan(&mut two, 1));
}

#[test]
fn facts_that_cross_leave_both_workers_of_one_mind() {
    for later_is_one in [false, true] {
        let (mut one, mut two) = (shared(), shared());
        appear(&mut one, 1, true);
        pass_on(&mut one, &mut two);
        for w in [&mut one, &mut two] {
            w.tick(70_000);
        }
        // One hears it where it was, which it tells again by now; two where it went, before either tells.
        appear(&mut one, 1, true);
        appear(&mut two, 1, false);
        if later_is_one {
            one.tick(1);
            appear(&mut one, 1, true);
        }
        let (a, b): (Vec<Fact>, Vec<Fact>) = (
            core::iter::from_fn(|| one.gateway.next_offer()).collect(),
            core::iter::from_fn(|| two.gateway.next_offer()).collect(),
        );
        assert!(!a.is_empty() && !b.is_empty());
        b.into_iter().for_each(|fact| one.gateway.learned_elsewhere(&one.snapshot, fact, one.now));
        a.into_iter().for_each(|fact| two.gateway.learned_elsewhere(&two.snapshot, fact, two.now));
        assert_eq!((is_on_vlan(&mut one, 1), is_on_vlan(&mut two, 1)), (false, false));
    }
}

#[test]
fn a_mac_seen_first_at_two_places_by_two_workers_ends_at_one() {
    let (mut one, mut two) = (shared(), shared());
    appear(&mut one, 1, true);
    appear(&mut two, 1, false);
    let a: Vec<Fact> = core::iter::from_fn(|| one.gateway.next_offer()).collect();
    pass_on(&mut two, &mut one);
    a.into_iter().for_each(|fact| two.gateway.learned_elsewhere(&two.snapshot, fact, two.now));
    assert_eq!(is_on_vlan(&mut one, 1), is_on_vlan(&mut two, 1));
}

#[test]
fn two_workers_that_freeze_a_mac_at_two_places_agree_on_one() {
    let (mut one, mut two) = (shared(), shared());
    for w in [&mut one, &mut two] {
        (0..6).for_each(|n| appear(w, 1, n % 2 == 0));
        while w.gateway.next_offer().is_some() {}
    }
    let frozen = |at: Whereabouts| Fact::Frozen { bridge: RED, mac: host(1), segment: at.segment, peer: at.peer };
    one.gateway.learned_elsewhere(&one.snapshot, frozen(VLAN), one.now);
    two.gateway.learned_elsewhere(&two.snapshot, frozen(UNTAGGED), two.now);
    assert_eq!(is_on_vlan(&mut one, 1), is_on_vlan(&mut two, 1));
}

#[test]
fn a_configured_mac_neither_moves_nor_freezes() {
    let mut w = World::new();
    w.place(host(1), false);
    for n in 0..10 {
        appear(&mut w, 1, n % 2 == 0);
    }
    assert!(is_on_vlan(&mut w, 1));
    assert_eq!((w.counters().counted(Event::Moved), w.counters().counted(Event::Frozen)), (0, 0));
}

#[test]
fn what_was_cleared_is_forgotten_and_learned_again() {
    let mut w = World::new();
    (0..6).for_each(|n| appear(&mut w, 1, n % 2 == 0));
    w.send(WAN, &vxlan_from(Ipv4Addr::new(192, 0, 2, 77), 10_000, 0, &tenant(MacAddr::BROADCAST, host(2), None)));
    w.send(LAN, &tenant(MacAddr::BROADCAST, host(3), Some(200)));
    assert_eq!((w.gateway.macs().len(), w.gateway.peers().learned()), (3, 1));
    let clear = |w: &mut World, bridge, mac| w.gateway.clear(&w.snapshot, Forget::Macs(bridge, Some(mac)), 0);
    assert_eq!(clear(&mut w, RED, host(1)), (1, None));
    assert_eq!((clear(&mut w, RED, host(1)), clear(&mut w, BLUE, host(2))), ((0, None), (0, None)));
    appear(&mut w, 1, true);
    assert!(is_on_vlan(&mut w, 1), "it is not frozen any more");
    let (mut cleared, mut cursor) = (0, Some(0));
    while let Some(from) = cursor {
        let (n, next) = w.gateway.clear(&w.snapshot, Forget::Macs(RED, None), from);
        (cleared, cursor) = (cleared + n, next);
    }
    assert_eq!((cleared, w.gateway.macs().len(), w.gateway.peers().learned()), (3, 1, 0), "hosts 1, 2 and 99");
}

#[test]
fn who_watches_hears_of_each_thing_once() {
    let mut w = World::new();
    w.gateway.watch(true);
    appear(&mut w, 1, true);
    appear(&mut w, 1, true);
    appear(&mut w, 1, false);
    for _ in 0..310 {
        w.tick(1000);
    }
    let told: Vec<_> = notices(&mut w).into_iter().map(|n| (n.what, n.mac, n.at, n.from)).collect();
    let mac = Some(host(1));
    assert_eq!(
        told,
        [
            (Happening::Learned, mac, Some(VLAN), None),
            (Happening::Moved, mac, Some(UNTAGGED), Some(VLAN)),
            (Happening::Aged, mac, Some(UNTAGGED), None),
        ]
    );
}

#[test]
fn a_bridge_with_as_many_macs_as_it_may_is_told_once_a_second() {
    let mut w = World::new();
    w.snapshot.set_bridge(RED, Some(BridgeSettings { mac_limit: 2, ..settings() }));
    w.gateway.watch(true);
    (0..20).for_each(|n| appear(&mut w, n, true));
    let told: Vec<_> = notices(&mut w).into_iter().filter(|n| n.what == Happening::MacLimit).collect();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].bridge, told[0].mac, told[0].port), (Some(RED), Some(host(2)), Some(LAN)));
    assert_eq!(w.counters().counted(Event::MacLimit), 18);
}
