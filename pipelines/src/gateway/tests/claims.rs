//! Claims on addresses that are made to be believed, or missed: by servers, behind headers, by many, too late; and owners
//! that say little.

use super::bindings::{
    UNTAGGED, UNTAGGED_MAC, VLAN, advertise, advertise_as, allow, announce, arp_frame, ask, behind_options, binding,
    configure, exchange, ip, ip6, lease, meet, own, shared,
};
use super::*;
use crate::gateway::{Event, Fact, Forget};
use crate::tables::{Guard, GuardIx, Prefix};
use crate::wire::{ALL_NODES, Arp, NaPacket, multicast_mac};
use core::net::Ipv6Addr;

fn told(w: &mut World) -> Vec<Fact> {
    core::iter::from_fn(|| w.gateway.next_offer()).collect()
}

/// The frame with so many tags of its own.
fn tagged(mut bytes: Vec<u8>, tags: &[u16]) -> Vec<u8> {
    let tags: Vec<u8> = tags.iter().flat_map(|vid| [0x81, 0, (vid >> 8) as u8, *vid as u8]).collect();
    bytes.splice(16..16, tags);
    bytes
}

#[test]
fn a_host_that_only_answers_is_known_for_ever() {
    for (mac_ageing, binding_ageing) in [(300, 300), (10, 300), (300, 10), (20, 36_000)] {
        let mut w = World::new();
        configure(&mut w, |s| (s.mac_ageing, s.binding_ageing) = (mac_ageing, binding_ageing));
        w.send(UNTAGGED, &announce(host(2), ip(2), None));
        for _ in 0..1000 {
            for (port, asked) in w.tick(1000) {
                let question = Arp::parse(&asked[14..]).expect("ARP").0.header();
                assert_eq!((port, question.target_ip), (UNTAGGED, ip(2)));
                let answer = arp_frame(UNTAGGED_MAC, host(2), None, &question.reply(host(2)));
                assert_eq!(w.send(UNTAGGED, &answer), []);
            }
        }
        assert_eq!(w.counters().counted(Event::Aged), 0);
        assert_eq!(w.send(LAN, &ask(1, ip(2), VLAN)).len(), 1, "{mac_ageing} {binding_ageing}");
        assert_eq!(w.counters().counted(Event::ArpSuppressed), 1);
    }
}

#[test]
fn a_bridge_full_of_claims_leaves_the_others_their_news() {
    let mut w = shared();
    configure(&mut w, |s| s.announcement_limit = 0);
    let is_blue = |fact: &Fact| matches!(fact, Fact::Binding { bridge: BLUE, .. });
    for round in 0..3 {
        for n in 0..600u16 {
            let mac = host(if n / 40 % 2 == 0 { 1 } else { 4 });
            w.send(LAN, &announce(mac, ip((n % 40) as u8), VLAN));
        }
        let blue = host(5 + round);
        w.send(LAN, &announce(blue, ip(1), Some(200)));
        let facts = told(&mut w);
        assert!(facts.iter().any(is_blue), "round {round}");
        assert!(facts.iter().filter(|fact| matches!(fact, Fact::Binding { .. })).count() <= 33);
        // What red could not tell then, it tells now, and again not all at once.
        w.tick(1);
        assert!(told(&mut w).len() <= 32);
    }
}

#[test]
fn moves_are_limited_like_announcements_whatever_words_they_are_in() {
    let mut w = World::new();
    configure(&mut w, |s| s.announcement_limit = 3);
    w.send(LAN, &ask(1, ip(9), VLAN));
    for n in 0..20 {
        let question = ArpHeader::request(host(n % 2 + 1), ip(1), ip(9));
        w.send(LAN, &arp_frame(MacAddr::BROADCAST, host(n % 2 + 1), VLAN, &question));
    }
    assert_eq!(w.counters().counted(Event::BindingMoved), 3);
    assert!(w.dropped(LAN, DropReason::Storm) > 0);
    let before = w.dropped(LAN, DropReason::Storm);
    let (has_it, _) = binding(&w, ip(1)).expect("known");
    let n = has_it.0[5];
    for _ in 0..9 {
        let question = ArpHeader::request(host(n), ip(1), ip(9));
        assert_eq!(w.send(LAN, &arp_frame(MacAddr::BROADCAST, host(n), VLAN, &question)).len(), 2);
    }
    assert_eq!(w.dropped(LAN, DropReason::Storm), before, "who has it may ask on");
}

#[test]
fn what_is_forgotten_is_told_however_full_the_way_is() {
    let (mut one, mut two) = (shared(), shared());
    meet(&mut one);
    exchange(&mut one, &mut two);
    let news = Fact::Neighbour { port: WAN, address: PEER.into(), mac: PEER_MAC };
    while one.gateway.push_offer(news) {}
    one.tick(300_000);
    two.tick(300_000);
    for _ in 0..9 {
        one.tick(1000);
    }
    assert_eq!(one.gateway.bindings().len(), 2, "nobody could be told");
    told(&mut one);
    one.tick(1000);
    exchange(&mut one, &mut two);
    assert_eq!((one.gateway.bindings().len(), two.gateway.bindings().len()), (0, 0));
}

#[test]
fn a_lease_takes_nothing_from_who_has_it() {
    let mut w = World::new();
    meet(&mut w);
    let give = |to: u8, address| frame(host(to), host(66), VLAN, EtherType::IPV4, &lease(host(to), address, 5));
    w.send(LAN, &give(1, ip(2)));
    assert_eq!(binding(&w, ip(2)), Some((host(2), 0)));
    // Nor from who is configured to have it, though the other may.
    own(&mut w, host(3), &[ip(3).into()]);
    allow(&mut w, 0, host(1), ip(3), 32);
    w.send(LAN, &give(1, ip(3)));
    assert_eq!(binding(&w, ip(3)), None);
    // Nor does it say that the owner is there.
    w.tick(262_000);
    w.send(LAN, &give(2, ip(2)));
    w.tick(1000);
    assert_eq!(w.gateway.bindings().get(RED, ip(2).into(), w.now.seconds()).map(|b| b.probes), Some(1));
}

#[test]
fn what_only_hosts_can_read_does_not_pass() {
    let claim = advertise(host(1), ip6(3), None)[14..].to_vec();
    let behind = |count: usize| (0..count).fold(claim.clone(), |packet, _| behind_options(&packet, 8));
    let send = |w: &mut World, packet: &[u8]| {
        w.send(LAN, &frame(multicast_mac(ALL_NODES), host(1), VLAN, EtherType::IPV6, packet)).len()
    };
    for count in 0..12 {
        let mut w = World::new();
        own(&mut w, host(3), &[ip6(3).into()]);
        assert_eq!(send(&mut w, &behind(count)), 0);
        let reasons = [DropReason::Spoofed, DropReason::MalformedIpv6].map(|reason| w.dropped(LAN, reason));
        assert_eq!(reasons, if count <= 8 { [1, 0] } else { [0, 1] }, "{count} headers");
    }
    // A later fragment is for nobody who has not judged the first; headers that end nowhere are for nobody at all.
    let mut w = World::new();
    let mut later = behind_options(&claim, 8);
    later[6] = IpProtocol::FRAGMENT.0;
    later[40..48].copy_from_slice(&[60, 0, 0, 8, 0, 0, 0, 7]);
    assert_eq!(send(&mut w, &later), 2);
    let mut nowhere = behind(3);
    nowhere[57] = 200;
    assert_eq!(send(&mut w, &nowhere), 2);
    assert_eq!(w.gateway.bindings().len(), 0);
}

#[test]
fn no_claim_hides_behind_priority_tags() {
    let mut w = World::new();
    let red = Segment { carry_tags: true, ..segment(RED, tunnel(Encap::Vxlan, 10_000)) };
    w.snapshot.set_segment(SegmentIx(2), Some(red)).expect("room");
    own(&mut w, host(3), &[ip(3).into()]);
    let claim = announce(host(1), ip(3), VLAN);
    for (tags, reason) in
        [(&[0, 0][..], DropReason::Spoofed), (&[0; 3], DropReason::InnerTag), (&[0; 9], DropReason::InnerTag)]
    {
        let before = w.dropped(LAN, reason);
        assert_eq!(w.send(LAN, &tagged(claim.clone(), tags)), [], "{tags:?}");
        assert_eq!(w.dropped(LAN, reason), before + 1);
    }
    // A tenant's VLANs are its own, however many.
    for tags in [&[5][..], &[5, 0, 0, 0], &[0, 5, 6], &[5; 4]] {
        assert_eq!(w.send(LAN, &tagged(claim.clone(), tags)).len(), 1, "{tags:?}");
    }
}

#[test]
fn a_configured_owner_gives_way_only_to_who_overrides() {
    let mut w = World::new();
    w.place(host(3), true);
    own(&mut w, host(3), &[ip6(3).into()]);
    let prefixes = vec![Prefix { address: ip6(3).into(), len: 128 }];
    w.snapshot.set_guard(GuardIx(0), RED, host(1), Some(Guard { prefixes, places: vec![] })).expect("room");
    let anycast = NaPacket { override_: false, ..NaPacket::answer(Ipv6Addr::UNSPECIFIED, ip6(3), host(1)) };
    assert_eq!(w.send(LAN, &advertise_as(host(1), anycast, VLAN)).len(), 2);
    assert_eq!(binding(&w, ip6(3)), None);
    assert_eq!(w.send(LAN, &advertise(host(1), ip6(3), VLAN)).len(), 2);
    assert_eq!(binding(&w, ip6(3)), Some((host(1), 1)));
}

#[test]
fn a_virtual_address_that_nobody_has_announced_yet_is_asked_for() {
    let mut w = World::new();
    configure(&mut w, |s| s.flood_unknown_target = false);
    w.snapshot.set_owner(RED, ip(7).into(), Some(None)).expect("room");
    allow(&mut w, 0, host(2), ip(7), 32);
    assert_eq!(w.send(LAN, &ask(1, ip(7), VLAN)).len(), 2);
    assert_eq!((w.send(LAN, &ask(1, ip(8), VLAN)), w.dropped(LAN, DropReason::UnknownTarget)), (vec![], 1));
}

#[test]
fn a_new_claim_wins_over_an_old_one_that_only_another_worker_remembers() {
    let (mut one, mut two) = (shared(), shared());
    for mac in [host(9), host(8), host(9)] {
        one.send(LAN, &announce(mac, ip(2), VLAN));
    }
    exchange(&mut one, &mut two);
    assert_eq!(two.gateway.clear(&two.snapshot, Forget::Bindings(RED, Some(ip(2).into())), 0), (1, None));
    for w in [&mut one, &mut two] {
        w.now = w.now + 60_000;
    }
    two.send(UNTAGGED, &announce(host(2), ip(2), None));
    exchange(&mut one, &mut two);
    assert_eq!([&one, &two].map(|w| binding(w, ip(2)).map(|b| b.0)), [Some(host(2)); 2]);
}

#[test]
fn an_answer_that_another_worker_hears_saves_what_ages_soon_and_late() {
    for ageing in [10u16, 40, 5000, 36_000] {
        let (mut one, mut two) = (shared(), shared());
        for w in [&mut one, &mut two] {
            configure(w, |s| s.binding_ageing = ageing);
            w.place(host(1), false);
        }
        one.send(LAN, &announce(host(1), ip(2), VLAN));
        exchange(&mut one, &mut two);
        for w in [&mut one, &mut two] {
            w.now = w.now + (u64::from(ageing) - 1) * 1000;
        }
        // Whoever asks, the other hears the answer.
        for second in 0..200 {
            let asked = [one.tick(1000).len(), two.tick(1000).len()];
            let question = ArpHeader::request(LAN_MAC, Ipv4Addr::UNSPECIFIED, ip(2));
            let answer = arp_frame(LAN_MAC, host(1), VLAN, &question.reply(host(1)));
            if asked[0] > 0 {
                two.send(LAN, &answer);
            }
            if asked[1] > 0 {
                one.send(LAN, &answer);
            }
            exchange(&mut one, &mut two);
            let known = [&one, &two].map(|w| w.gateway.bindings().len());
            assert_eq!(known, [1, 1], "{second} s after {ageing}");
        }
        assert_eq!([&one, &two].map(|w| w.counters().counted(Event::BindingAged)), [0, 0]);
    }
}

#[test]
fn hosts_behind_a_peer_are_not_asked_and_believed_while_they_talk() {
    let mut w = World::new();
    configure(&mut w, |s| (s.mac_ageing, s.binding_ageing) = (30, 20));
    w.send(WAN, &vxlan(10_000, &announce(host(3), ip(3), None)));
    for second in 0..200 {
        assert_eq!(w.tick(1000), []);
        if second % 25 == 0 {
            w.send(WAN, &vxlan(10_000, &tenant(MacAddr::BROADCAST, host(3), None)));
        }
    }
    assert_eq!(binding(&w, ip(3)), Some((host(3), 0)));
    for _ in 0..60 {
        assert_eq!(w.tick(1000), []);
    }
    assert_eq!((w.gateway.bindings().len(), w.counters().counted(Event::BindingProbed)), (0, 0));
    // A configured one has no age: what it was learned to hold ages by itself.
    w.place(host(3), true);
    w.send(WAN, &vxlan(10_000, &announce(host(3), ip(3), None)));
    for _ in 0..21 {
        assert_eq!(w.tick(1000), []);
    }
    assert_eq!(w.gateway.bindings().len(), 0);
}

#[test]
fn a_host_that_moves_behind_a_peer_while_it_is_asked_is_asked_no_more() {
    for (mac_ageing, binding_ageing) in [(300, 20), (40, 300)] {
        let mut w = World::new();
        configure(&mut w, |s| (s.mac_ageing, s.binding_ageing) = (mac_ageing, binding_ageing));
        w.send(UNTAGGED, &announce(host(2), ip(2), None));
        while w.tick(1000).is_empty() {}
        for _ in 0..100 {
            w.send(WAN, &vxlan(10_000, &tenant(MacAddr::BROADCAST, host(2), None)));
            for _ in 0..10 {
                assert_eq!(w.tick(1000), [], "{mac_ageing} {binding_ageing}");
            }
        }
        let known = w.gateway.bindings().get(RED, ip(2).into(), w.now.seconds()).expect("it talks");
        assert_eq!((known.mac, known.probes), (host(2), 0));
    }
}
