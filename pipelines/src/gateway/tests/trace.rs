//! Traces: which steps a frame takes, and that what is shown to leave is what leaves.

use super::routing::{BLUE_GATE, RED_GATE, ROUTER, ip, packet, tagged, world};
use super::*;
use crate::gateway::notice::Whereabouts;
use crate::gateway::{Belief, Event, Fact, Headers, Sighting, Source, Step, Traced, Verdict, arriving, trace};
use crate::tables::{InterfaceIx, Manners, Net, Target};
use crate::wire::IcmpError;
use std::net::IpAddr;

const RED_VLAN: Whereabouts = Whereabouts { segment: SegmentIx(1), peer: None };

fn traced(w: &World, beliefs: &[Belief], bytes: &[u8]) -> Traced {
    trace(&w.snapshot, limits(), beliefs, LAN, bytes)
}

/// A host of the blue bridge's VLAN, and its address.
fn blue_host(n: u8, address: &str) -> [Belief; 2] {
    let (bridge, mac, address) = (BLUE, host(n), ip(address));
    let sighting = Sighting::Again;
    [
        Belief::Fact(Fact::Mac { bridge, mac, segment: SegmentIx(3), peer: None, sighting }),
        Belief::Fact(Fact::Binding { bridge, address, mac, sequence: 1, manners: Manners::default() }),
    ]
}

#[test]
fn a_bridged_frame_says_where_it_came_in_who_sent_it_and_where_it_goes() {
    let mut w = World::new();
    w.place(host(2), true);
    let sent = tenant(host(2), host(1), Some(100));
    let found = traced(&w, &[], &sent);
    let at = Whereabouts { segment: SegmentIx(2), peer: Some(peer(PEER)) };
    let headers = Headers {
        from: host(1),
        to: host(2),
        ether_type: 0x0800,
        version: 4,
        source: Some(ip("10.0.0.1")),
        destination: Some(ip("10.0.0.2")),
        protocol: 17,
        hops: 9,
        length: 14 + 33,
    };
    let Some(Step::Neighbour { mac: PEER_MAC, .. }) = found.steps.get(6) else { panic!("{:?}", found.steps) };
    let steps = [
        Step::Ingress { port: LAN, bridge: RED, at: RED_VLAN },
        Step::Parsed(headers),
        Step::Sender { bridge: RED, mac: host(1), at: None, source: Source::Unknown },
        Step::Lookup { bridge: RED, mac: host(2), at: Some(at), source: Source::Configured },
        Step::Decided(Verdict::Forward(at)),
        Step::Towards(at),
        found.steps[6],
        Step::Leaves { port: WAN, length: 50 + 14 + 33 },
    ];
    assert_eq!((&found.steps[..], found.more, found.held), (&steps[..], 0, 0));
    assert_eq!(found.frames, w.send(LAN, &sent), "and that is what leaves");
}

#[test]
fn a_routed_packet_names_interface_route_next_hop_and_owner() {
    let mut w = world();
    let sent = frame(RED_GATE, host(1), Some(100), EtherType::IPV4, &packet("10.0.0.1", "10.0.1.2", 9, b"hello"));
    let beliefs = blue_host(2, "10.0.1.2");
    let found = traced(&w, &beliefs, &sent);
    let (at, address) = (Whereabouts { segment: SegmentIx(3), peer: None }, ip("10.0.1.2"));
    let route = Some((24, Target::Connected(InterfaceIx(1))));
    let steps = [
        Step::Interface(InterfaceIx(0)),
        Step::Route { router: ROUTER, to: address, found: route },
        Step::NextHop { interface: InterfaceIx(1), address },
        Step::Owner { bridge: BLUE, address, mac: Some(host(2)), source: Source::Learned },
        Step::Lookup { bridge: BLUE, mac: host(2), at: Some(at), source: Source::Learned },
        Step::Decided(Verdict::Route(at)),
        Step::Towards(at),
        Step::Leaves { port: LAN, length: sent.len() as u32 },
    ];
    assert_eq!(&found.steps[3..], &steps[..]);
    let (to, from, vid, came) = tagged(&found.frames[0].1);
    assert_eq!((to, from, vid, came[8]), (host(2), BLUE_GATE, 200, 8));
    for belief in beliefs {
        let Belief::Fact(fact) = belief else { panic!("{belief:?}") };
        w.gateway.learned_elsewhere(&w.snapshot, fact, w.now);
    }
    assert_eq!(w.send(LAN, &sent), found.frames);
}

#[test]
fn a_packet_for_a_host_that_nobody_knows_waits_and_asks() {
    let w = world();
    let sent = frame(RED_GATE, host(1), Some(100), EtherType::IPV4, &packet("10.0.0.1", "10.0.1.9", 9, b"hello"));
    let found = traced(&w, &[], &sent);
    let address = ip("10.0.1.9");
    let owner = Step::Owner { bridge: BLUE, address, mac: None, source: Source::Unknown };
    let steps = [owner, Step::Decided(Verdict::Wait), Step::Waits(address), Step::Asked(address)];
    assert_eq!(&found.steps[6..10], &steps[..]);
    assert_eq!((found.held, found.frames.len()), (1, 2), "asked on the VLAN and in the tunnel");
    // It has not answered: who sent it is told.
    let net = Net { bridge: BLUE, interface: InterfaceIx(1) };
    let found = traced(&w, &[Belief::HostFailed(net, address)], &sent);
    let (error, reason) = (IcmpError::HostUnreachable, DropReason::HostUnreachable);
    assert_eq!(found.steps[7..9], [Step::Decided(Verdict::Refer(error, reason)), Step::Told(error)]);
    assert!(found.steps.contains(&Step::Dropped { port: LAN, reason }) && found.frames.len() == 1);
}

#[test]
fn a_frame_that_is_dropped_ends_with_its_reason() {
    let w = World::new();
    let of_no_segment = traced(&w, &[], &tenant(host(2), host(1), Some(7)));
    let reason = DropReason::UnknownVlan;
    let steps = [Step::Arrived(LAN), Step::Decided(Verdict::Drop(reason)), Step::Dropped { port: LAN, reason }];
    assert_eq!(of_no_segment.steps, steps);
    let cut = traced(&w, &[], &tenant(host(2), host(1), Some(100))[..30]);
    let reason = DropReason::MalformedIpv4;
    assert_eq!(cut.steps.last(), Some(&Step::Dropped { port: LAN, reason }));
    assert!(matches!(cut.steps[0], Step::Ingress { bridge: RED, .. }), "it is known where it came in");
    for len in 0..40 {
        let _ = traced(&w, &[], &tenant(host(2), host(1), Some(100))[..len]);
    }
}

#[test]
fn a_next_hop_is_asked_for_or_known_from_what_workers_know() {
    let mut w = World::new();
    let Some(vtep) = w.snapshot.vtep(VtepIx(0)).cloned() else { panic!("a vtep") };
    w.snapshot.set_vtep(VtepIx(0), Some(Vtep { neighbours: vec![], ..vtep }));
    w.place(host(2), true);
    let sent = tenant(host(2), host(1), Some(100));
    let address = IpAddr::from(PEER);
    let found = traced(&w, &[], &sent);
    assert_eq!((found.held, found.steps[7..9].to_vec()), (1, vec![Step::Waits(address), Step::Asked(address)]));
    let known = Belief::Fact(Fact::Neighbour { port: WAN, address, mac: PEER_MAC });
    let found = traced(&w, &[known], &sent);
    assert_eq!((found.held, found.frames.len(), &found.frames[0].1[..6]), (0, 1, &PEER_MAC.0[..]));
    let found = traced(&w, &[Belief::HopFailed(WAN, address)], &sent);
    let reason = DropReason::NextHopFailed;
    assert_eq!(found.steps.last(), Some(&Step::Dropped { port: LAN, reason }));
}

#[test]
fn a_frame_comes_in_from_a_place_as_its_switch_or_its_peer_sends_it() {
    let mut w = World::new();
    w.place(host(1), false);
    let plain = tenant(host(1), host(3), None);
    let (port, bytes) = arriving(&w.snapshot, SegmentIx(1), None, &plain).expect("a place");
    assert_eq!((port, bytes), (LAN, tenant(host(1), host(3), Some(100))));
    let (port, bytes) = arriving(&w.snapshot, SegmentIx(2), Some(PEER.into()), &plain).expect("a place");
    assert_eq!(port, WAN);
    let out = w.send(WAN, &bytes);
    assert_eq!(out, [(LAN, tenant(host(1), host(3), Some(100)))]);
    assert_eq!(arriving(&w.snapshot, SegmentIx(2), None, &plain), None);
    assert_eq!(arriving(&w.snapshot, SegmentIx(9), None, &plain), None);
    assert_eq!(arriving(&w.snapshot, SegmentIx(1), None, &plain[..11]), None);
}

#[test]
fn a_gateway_that_is_not_asked_to_writes_nothing_down() {
    let mut w = World::new();
    w.send(LAN, &tenant(host(2), host(1), Some(100)));
    assert_eq!((w.counters().counted(Event::Learned), w.gateway.record.steps.len()), (1, 0));
}
