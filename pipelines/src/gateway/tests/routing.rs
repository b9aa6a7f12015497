//! A router between the red bridge and the blue one: what it forwards, answers, asks and refuses.

use super::*;
use crate::gateway::Event;
use crate::tables::{Interface, InterfaceIx, NextHop, NextHopsIx, Prefix, RouterIx, RouterSettings, Target};
use crate::wire::{ArpOperation, Icmp, IcmpType, Ipv4, Ipv6Header, NaPacket, Vxlan};
use core::net::{IpAddr, Ipv6Addr};

pub(super) const ROUTER: RouterIx = RouterIx(1);
pub(super) const RED_GATE: MacAddr = MacAddr([2, 0, 0x5e, 0, 0, 1]);
pub(super) const BLUE_GATE: MacAddr = MacAddr([2, 0, 0x5e, 0, 0, 2]);
const OTHER_DVR: MacAddr = MacAddr([2, 0, 0x5e, 1, 0, 2]);

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub(super) fn prefix(text: &str) -> Prefix {
    let (address, len) = text.split_once('/').expect("a prefix");
    Prefix { address: ip(address), len: len.parse().expect("a length") }
}

fn interface(bridge: BridgeId, mac: MacAddr, addresses: &[&str]) -> Interface {
    Interface {
        router: ROUTER,
        bridge,
        mac,
        addresses: addresses.iter().map(|text| prefix(text)).collect(),
        mtu: u16::MAX,
        external: false,
        pass_without_nat: false,
        advertise: None,
    }
}

/// Red is 10.0.0.0/24 with the gateway 10.0.0.254, blue 10.0.1.0/24 with 10.0.1.254; another gateway has a DVR MAC.
pub(super) fn world() -> World {
    let mut w = World::new();
    let settings = RouterSettings { mss_clamp: false, icmp_limit: 100 };
    w.snapshot.set_router(ROUTER, Some(settings));
    let red = interface(RED, RED_GATE, &["10.0.0.254/24", "2001:db8:1::fe/64"]);
    let blue = interface(BLUE, BLUE_GATE, &["10.0.1.254/24", "2001:db8:2::fe/64"]);
    w.snapshot.set_interface(InterfaceIx(0), Some(red)).expect("room");
    w.snapshot.set_interface(InterfaceIx(1), Some(blue)).expect("room");
    w.snapshot.set_dvr_macs(None, &[OTHER_DVR]);
    w.snapshot.generation += 1;
    w
}

/// A UDP datagram between two addresses, from its IP header on.
pub(super) fn packet(from: &str, to: &str, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = udp4(0, payload);
    let (IpAddr::V4(from), IpAddr::V4(to)) = (ip(from), ip(to)) else { panic!("IPv4") };
    bytes[8] = ttl;
    bytes[12..16].copy_from_slice(&from.octets());
    bytes[16..20].copy_from_slice(&to.octets());
    fix_checksum(&mut bytes);
    bytes
}

/// An ARP message of a host on a VLAN.
fn arp_on(vid: u16, to: MacAddr, header: &ArpHeader) -> Vec<u8> {
    let mut payload = [0; 28];
    header.write(&mut payload);
    frame(to, header.sender_mac, Some(vid), EtherType::ARP, &payload)
}

/// A host says on its VLAN that it has an address.
fn announce(w: &mut World, vid: u16, mac: MacAddr, address: &str) {
    let IpAddr::V4(address) = ip(address) else { panic!("IPv4") };
    let announcement = ArpHeader { target_ip: address, ..ArpHeader::request(mac, address, address) };
    w.send(LAN, &arp_on(vid, MacAddr::BROADCAST, &announcement));
}

/// A frame's parts behind a tag: MACs, VLAN identifier and packet.
pub(super) fn tagged(bytes: &[u8]) -> (MacAddr, MacAddr, u16, &[u8]) {
    let mac = |at: usize| MacAddr(bytes[at..at + 6].try_into().expect("6"));
    assert_eq!(bytes[12..14], [0x81, 0]);
    (mac(0), mac(6), u16::from_be_bytes([bytes[14], bytes[15]]) & 0xfff, &bytes[18..])
}

/// A frame in VXLAN to a peer: its VNI, MACs and packet.
fn tunnelled(bytes: &[u8]) -> (u32, MacAddr, MacAddr, &[u8]) {
    let (vxlan, inner) = Vxlan::parse(&bytes[42..]).expect("VXLAN");
    let mac = |at: usize| MacAddr(inner[at..at + 6].try_into().expect("6"));
    (vxlan.vni().into(), mac(0), mac(6), &inner[14..])
}

#[test]
fn a_packet_goes_from_bridge_to_bridge_with_a_hop_less_and_the_gateways_mac() {
    let mut w = world();
    announce(&mut w, 200, host(2), "10.0.1.2");
    let sent = packet("10.0.0.1", "10.0.1.2", 9, b"hello");
    for round in 0..3 {
        let out = w.send(LAN, &frame(RED_GATE, host(1), Some(100), EtherType::IPV4, &sent));
        assert_eq!(out.len(), 1, "round {round}");
        let (to, from, vid, came) = tagged(&out[0].1);
        assert_eq!((out[0].0, to, from, vid), (LAN, host(2), BLUE_GATE, 200));
        let (header, payload) = Ipv4::parse(came).expect("IPv4");
        assert!(header.checksum_holds());
        assert_eq!((header.ttl(), payload), (8, &sent[20..]));
    }
}

#[test]
fn into_a_tunnel_it_carries_the_dvr_mac_and_what_comes_from_another_gateway_is_not_learned() {
    let mut w = world();
    w.place(host(3), false);
    let at = Location { segment: SegmentIx(4), peer: Some(PeerIx(0)) };
    w.snapshot.set_endpoint(BLUE, host(2), Some(Host { at, addressed: true })).expect("room");
    w.snapshot.set_owner(BLUE, ip("10.0.1.2"), Some(Some(host(2)))).expect("room");
    w.snapshot.generation += 1;
    let out =
        w.send(LAN, &frame(RED_GATE, host(1), Some(100), EtherType::IPV4, &packet("10.0.0.1", "10.0.1.2", 9, b"x")));
    assert_eq!(out.len(), 1);
    let (vni, to, from, _) = tunnelled(&out[0].1);
    assert_eq!((out[0].0, vni, to, from), (WAN, 20_000, host(2), LAN_MAC), "the first port's MAC, since none is set");
    // What another gateway has routed arrives with its DVR MAC, and is delivered with the gateway's.
    let macs = w.gateway.macs().len();
    for _ in 0..3 {
        let inner = frame(host(3), OTHER_DVR, None, EtherType::IPV4, &packet("10.0.1.2", "10.0.0.3", 7, b"y"));
        let out = w.send(WAN, &vxlan(10_000, &inner));
        assert_eq!(out.len(), 1);
        let (to, from, vid, came) = tagged(&out[0].1);
        assert_eq!((to, from, vid, came[8]), (host(3), RED_GATE, 100, 7));
    }
    assert_eq!(w.gateway.macs().len(), macs);
    // So it is to a host whose place is not known.
    let inner = frame(host(4), OTHER_DVR, None, EtherType::IPV4, &packet("10.0.1.2", "10.0.0.4", 7, b"y"));
    let out = w.send(WAN, &vxlan(10_000, &inner));
    assert_eq!((out.len(), tagged(&out[0].1).1, &out[1].1[6..12]), (2, RED_GATE, &RED_GATE.0[..]));
    // From a VLAN it is nobody's.
    w.send(LAN, &frame(host(3), OTHER_DVR, Some(100), EtherType::IPV4, &packet("10.0.1.2", "10.0.0.3", 7, b"y")));
    assert_eq!(w.dropped(LAN, DropReason::SourceMac), 1);
}

#[test]
fn the_gateway_answers_for_its_addresses_and_no_question_about_them_crosses() {
    let mut w = world();
    let IpAddr::V4(gateway) = ip("10.0.0.254") else { panic!("IPv4") };
    let question = ArpHeader::request(host(1), Ipv4Addr::new(10, 0, 0, 1), gateway);
    for to in [MacAddr::BROADCAST, RED_GATE] {
        let out = w.send(LAN, &arp_on(100, to, &question));
        assert_eq!(out.len(), 1);
        let (to, from, vid, message) = tagged(&out[0].1);
        assert_eq!((out[0].0, to, from, vid), (LAN, host(1), RED_GATE, 100));
        let answer = crate::wire::Arp::parse(message).expect("ARP").0.header();
        assert_eq!((answer.operation, answer.sender_mac, answer.sender_ip), (ArpOperation::REPLY, RED_GATE, gateway));
    }
    // Nobody else has it, and nobody else is that MAC.
    let claim = ArpHeader { target_ip: gateway, ..ArpHeader::request(host(6), gateway, gateway) };
    assert_eq!(w.send(LAN, &arp_on(100, MacAddr::BROADCAST, &claim)), []);
    assert_eq!(w.dropped(LAN, DropReason::Spoofed), 1);
    assert_eq!(w.send(LAN, &tenant(host(2), RED_GATE, Some(100))), []);
    assert_eq!(w.dropped(LAN, DropReason::SourceMac), 1);
}

#[test]
fn ping_is_answered_and_hops_run_out() {
    let mut w = world();
    let mut echo = packet("10.0.0.1", "10.0.1.254", 1, &[0; 8]);
    echo[9] = 1;
    echo[20..28].copy_from_slice(&[8, 0, 0xf7, 0xfd, 0, 1, 0, 1]);
    fix_checksum(&mut echo);
    let out = w.send(LAN, &frame(RED_GATE, host(1), Some(100), EtherType::IPV4, &echo));
    let (to, from, _, came) = tagged(&out[0].1);
    assert_eq!((out.len(), to, from), (1, host(1), RED_GATE));
    let (header, message) = Ipv4::parse(came).expect("IPv4");
    assert_eq!((IpAddr::from(header.source()), IpAddr::from(header.destination())), (ip("10.0.1.254"), ip("10.0.0.1")));
    assert!(header.checksum_holds() && header.ttl() == 64);
    assert_eq!(message[0], IcmpType::ECHO_REPLY.0);
    // One hop is none for anybody else.
    let sent = packet("10.0.0.1", "10.0.1.2", 1, b"hello");
    let out = w.send(LAN, &frame(RED_GATE, host(1), Some(100), EtherType::IPV4, &sent));
    let (_, _, _, came) = tagged(&out[0].1);
    let (header, message) = Ipv4::parse(came).expect("IPv4");
    assert_eq!(IpAddr::from(header.source()), ip("10.0.0.254"));
    let (icmp, quote) = Icmp::parse(message).expect("ICMP");
    assert!(icmp.checksum_holds(quote));
    assert_eq!((icmp.icmp_type(), icmp.code(), quote), (IcmpType::TIME_EXCEEDED, 0, &sent[..]));
    assert_eq!(w.dropped(LAN, DropReason::TtlExceeded), 1);
}

#[test]
fn an_unknown_host_is_asked_for_and_the_packet_follows_the_answer() {
    let mut w = world();
    let sent = frame(RED_GATE, host(1), Some(100), EtherType::IPV4, &packet("10.0.0.1", "10.0.1.2", 9, b"hello"));
    let out = w.send(LAN, &sent);
    // On the VLAN from the gateway, into the tunnel from nobody and the DVR MAC.
    assert_eq!(out.len(), 2);
    let (to, from, vid, message) = tagged(&out[0].1);
    let asked = crate::wire::Arp::parse(message).expect("ARP").0.header();
    assert_eq!((to, from, vid), (MacAddr::BROADCAST, BLUE_GATE, 200));
    assert_eq!((IpAddr::from(asked.sender_ip), asked.sender_mac), (ip("10.0.1.254"), BLUE_GATE));
    let (vni, _, from, message) = tunnelled(&out[1].1);
    let asked = crate::wire::Arp::parse(message).expect("ARP").0.header();
    assert_eq!((vni, from, asked.sender_mac, asked.sender_ip), (20_000, LAN_MAC, LAN_MAC, Ipv4Addr::UNSPECIFIED));
    assert_eq!(w.gateway.held(), 1);
    let IpAddr::V4(owner) = ip("10.0.1.2") else { panic!("IPv4") };
    let question = ArpHeader::request(BLUE_GATE, Ipv4Addr::new(10, 0, 1, 254), owner);
    assert_eq!(w.send(LAN, &arp_on(200, BLUE_GATE, &question.reply(host(2)))), []);
    let out = w.tick(1);
    assert_eq!((out.len(), w.gateway.held()), (1, 0));
    assert_eq!(tagged(&out[0].1).0, host(2));
    assert_eq!(w.send(LAN, &sent).len(), 1);
}

#[test]
fn who_sent_to_an_absent_host_is_told_after_three_questions() {
    let mut w = world();
    let sent = frame(RED_GATE, host(1), Some(100), EtherType::IPV4, &packet("10.0.0.1", "10.0.1.2", 9, b"hello"));
    assert_eq!(w.send(LAN, &sent).len(), 2);
    assert_eq!(w.tick(1_000).len(), 2);
    assert_eq!(w.tick(1_000).len(), 2);
    let out = w.tick(1_000);
    assert_eq!(out.len(), 1);
    let (header, message) = Ipv4::parse(tagged(&out[0].1).3).expect("IPv4");
    assert_eq!((IpAddr::from(header.destination()), message[0], message[1]), (ip("10.0.0.1"), 3, 1));
    // For a while nobody is asked, and who sends is told at once.
    let out = w.send(LAN, &sent);
    assert_eq!(out.len(), 1);
    assert_eq!(w.dropped(LAN, DropReason::HostUnreachable), 2);
}

#[test]
fn a_host_that_falls_silent_while_packets_go_there_is_found_out() {
    let mut w = world();
    announce(&mut w, 200, host(2), "10.0.1.2");
    let sent = frame(RED_GATE, host(1), Some(100), EtherType::IPV4, &packet("10.0.0.1", "10.0.1.2", 9, b"hello"));
    let mut told = 0;
    for _ in 0..400 {
        let out = w.send(LAN, &sent);
        told += out.iter().filter(|(port, bytes)| *port == LAN && tagged(bytes).2 == 100).count();
        w.tick(100);
    }
    assert!(told > 0, "after some 33 seconds");
    announce(&mut w, 200, host(2), "10.0.1.2");
    w.tick(1);
    let out = w.send(LAN, &sent);
    assert_eq!((out.len(), tagged(&out[0].1).0), (1, host(2)), "back at once");
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().expect("an address")
}

/// What a host answers that was asked by unicast, as Linux does: without its MAC, and overriding nothing.
fn short_advertisement(target: Ipv6Addr) -> Vec<u8> {
    let asker = v6("2001:db8:2::fe");
    let mut whole = [0; NaPacket::LEN];
    NaPacket { override_: false, ..NaPacket::answer(asker, target, host(2)) }.write(&mut whole);
    let (packet, _) = whole.split_at_mut(64);
    (packet[5], packet[42], packet[43]) = (24, 0, 0);
    let sum = Sum::pseudo_ipv6(target, asker, IpProtocol::ICMPV6, 24).with(&packet[40..]).finish();
    packet[42..44].copy_from_slice(&sum.to_be_bytes());
    frame(BLUE_GATE, host(2), Some(200), EtherType::IPV6, packet)
}

/// A packet of red's host 1 to an address of blue's, of no protocol.
fn packet6(destination: Ipv6Addr) -> Vec<u8> {
    let mut packet = [0; Ipv6Header::LEN];
    Ipv6Header {
        traffic_class: TrafficClass(0),
        flow_label: 0,
        payload_len: 0,
        next_header: IpProtocol::NONE,
        hop_limit: 9,
        source: v6("2001:db8:1::1"),
        destination,
    }
    .write(&mut packet);
    frame(RED_GATE, host(1), Some(100), EtherType::IPV6, &packet)
}

#[test]
fn an_answer_to_a_probe_that_leaves_out_the_mac_confirms_the_host_and_teaches_nothing() {
    let (mut w, target) = (world(), v6("2001:db8:2::2"));
    assert!(w.send(LAN, &short_advertisement(target)).is_empty());
    assert_eq!(w.counters().counted(Event::BindingLearned), 0);
    w.send(LAN, &super::bindings::advertise(host(2), target, Some(200)));
    let is_to_it = |(_, bytes): &(PortId, Vec<u8>)| tagged(bytes).0 == host(2);
    let (mut came, mut probes) = (0, 0);
    for _ in 0..1_000 {
        came += w.send(LAN, &packet6(target)).iter().filter(|out| is_to_it(out)).count();
        if w.tick(100).iter().any(&is_to_it) {
            probes += 1;
            w.send(LAN, &short_advertisement(target));
        }
    }
    assert_eq!((came, w.counters().counted(Event::HostFailed)), (1_000, 0));
    assert!((1..=4).contains(&probes), "each is the only one, for some 30 seconds: {probes}");
    let known = w.gateway.bindings().get(BLUE, target.into(), w.now.seconds()).expect("a binding");
    assert!(!known.manners.yields, "what it said of itself holds");
}

#[test]
fn an_address_that_moves_takes_its_packets_along_at_once() {
    let mut w = world();
    announce(&mut w, 200, host(2), "10.0.1.2");
    announce(&mut w, 200, host(3), "10.0.1.3");
    let sent = frame(RED_GATE, host(1), Some(100), EtherType::IPV4, &packet("10.0.0.1", "10.0.1.2", 9, b"hello"));
    assert_eq!(tagged(&w.send(LAN, &sent)[0].1).0, host(2));
    announce(&mut w, 200, host(3), "10.0.1.2");
    assert_eq!(tagged(&w.send(LAN, &sent)[0].1).0, host(3));
}

#[test]
fn what_is_too_large_is_cut_or_told_of() {
    let mut w = world();
    announce(&mut w, 200, host(2), "10.0.1.2");
    let mut blue = interface(BLUE, BLUE_GATE, &["10.0.1.254/24"]);
    blue.mtu = 576;
    w.snapshot.set_interface(InterfaceIx(1), Some(blue)).expect("room");
    w.snapshot.generation += 1;
    let mut sent = packet("10.0.0.1", "10.0.1.2", 9, &[7; 1000]);
    let out = w.send(LAN, &frame(RED_GATE, host(1), Some(100), EtherType::IPV4, &sent));
    assert_eq!(out.len(), 2);
    let mut payload = Vec::new();
    for (_, bytes) in &out {
        let (header, part) = Ipv4::parse(tagged(bytes).3).expect("IPv4");
        assert!(header.checksum_holds() && header.total_len() <= 576 && header.ttl() == 8);
        assert_eq!(usize::from(header.fragment().offset()), payload.len());
        payload.extend_from_slice(part);
    }
    assert_eq!(payload, sent[20..]);
    sent[6] = 0x40;
    fix_checksum(&mut sent);
    let out = w.send(LAN, &frame(RED_GATE, host(1), Some(100), EtherType::IPV4, &sent));
    let (_, message) = Ipv4::parse(tagged(&out[0].1).3).expect("IPv4");
    assert_eq!((out.len(), message[0], message[1], &message[6..8]), (1, 3, 4, &576u16.to_be_bytes()[..]));
}

#[test]
fn equal_next_hops_share_the_flows_and_those_of_one_that_fails_go_on_by_the_others() {
    let mut w = world();
    for n in 11..14u8 {
        announce(&mut w, 200, host(n), &std::format!("10.0.1.{n}"));
    }
    let hops: Vec<_> =
        (11..14).map(|n| NextHop { interface: InterfaceIx(1), address: ip(&std::format!("10.0.1.{n}")) }).collect();
    w.snapshot.set_next_hops(NextHopsIx(0), Some(&hops));
    w.snapshot.set_route(ROUTER, prefix("172.16.0.0/12"), Some(Target::Via(NextHopsIx(0)))).expect("room");
    w.snapshot.generation += 1;
    let ways = |w: &mut World| -> Vec<MacAddr> {
        (0..90u16)
            .map(|flow| {
                let mut sent = packet("10.0.0.1", "172.16.5.5", 9, b"hello");
                sent[20..22].copy_from_slice(&(1000 + flow).to_be_bytes());
                let out = w.send(LAN, &frame(RED_GATE, host(1), Some(100), EtherType::IPV4, &sent));
                assert_eq!(out.len(), 1);
                tagged(&out[0].1).0
            })
            .collect()
    };
    let before = ways(&mut w);
    assert_eq!(ways(&mut w), before, "flows stay");
    for n in 11..14 {
        assert!((15..50).contains(&before.iter().filter(|mac| **mac == host(n)).count()), "{before:?}");
    }
    w.snapshot.set_next_hops(NextHopsIx(0), Some(&hops[..2]));
    w.snapshot.generation += 1;
    for (old, new) in before.iter().zip(ways(&mut w)) {
        assert!(*old == new || *old == host(13) && new != host(13));
    }
    assert!(w.counters().counted(Event::HostAsked) == 0);
}

#[test]
fn routers_of_one_gateway_route_to_each_other_and_each_takes_a_hop() {
    let mut w = world();
    // The second router is 10.0.1.253 on the blue bridge, and has 10.7.0.0/16 beyond 10.0.1.9 there.
    let second = RouterIx(2);
    w.snapshot.set_router(second, Some(RouterSettings { mss_clamp: false, icmp_limit: 100 }));
    let gate = MacAddr([2, 0, 0x5e, 0, 0, 3]);
    let blue = Interface { router: second, ..interface(BLUE, gate, &["10.0.1.253/24"]) };
    w.snapshot.set_interface(InterfaceIx(2), Some(blue)).expect("room");
    for (n, router, interface, via) in [(0, ROUTER, 1, "10.0.1.253"), (1, second, 2, "10.0.1.9")] {
        let hop = NextHop { interface: InterfaceIx(interface), address: ip(via) };
        w.snapshot.set_next_hops(NextHopsIx(n), Some(&[hop]));
        w.snapshot.set_route(router, prefix("10.7.0.0/16"), Some(Target::Via(NextHopsIx(n)))).expect("room");
    }
    w.snapshot.generation += 1;
    announce(&mut w, 200, host(9), "10.0.1.9");
    for _ in 0..2 {
        let sent = frame(RED_GATE, host(1), Some(100), EtherType::IPV4, &packet("10.0.0.1", "10.7.0.1", 9, b"x"));
        let out = w.send(LAN, &sent);
        assert_eq!(out.len(), 1);
        let (to, from, vid, came) = tagged(&out[0].1);
        assert_eq!((to, from, vid, came[8]), (host(9), gate, 200, 7));
    }
    let sent = frame(RED_GATE, host(1), Some(100), EtherType::IPV4, &packet("10.0.0.1", "10.7.0.1", 2, b"x"));
    let out = w.send(LAN, &sent);
    let (to, _, _, came) = tagged(&out[0].1);
    let (header, message) = Ipv4::parse(came).expect("IPv4");
    assert_eq!((to, IpAddr::from(header.source()), message[0]), (host(1), ip("10.0.1.253"), 11));
}

#[test]
fn a_router_advertises_itself_when_it_is_new_from_time_to_time_and_when_asked() {
    let mut w = world();
    let advertise = crate::tables::Advertise { interval: 10, lifetime: 1800, managed: false, other: true };
    let red = Interface { advertise: Some(advertise), ..interface(RED, RED_GATE, &["2001:db8:1::fe/64"]) };
    w.snapshot.generation += 1;
    w.snapshot.set_interface(InterfaceIx(0), Some(red)).expect("room");
    let out = w.tick(1);
    let source = |(port, bytes): &(PortId, Vec<u8>)| match *port {
        WAN => tunnelled(bytes).2,
        _ => MacAddr(bytes[6..12].try_into().expect("6")),
    };
    let sources: Vec<_> = out.iter().map(source).collect();
    assert_eq!(sources, [RED_GATE, RED_GATE, LAN_MAC], "VLAN, untagged, and from the DVR MAC into the tunnel");
    let later: usize = (0..400).map(|_| w.tick(100).len()).sum();
    assert!((3 * 4..=3 * 9).contains(&later), "{later} in 40 seconds");
    let (asker, group) = (core::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), crate::wire::ALL_ROUTERS);
    let mut ask = vec![0; 48];
    ask[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, 8, 58, 255]);
    ask[8..24].copy_from_slice(&asker.octets());
    ask[24..40].copy_from_slice(&group.octets());
    ask[40] = 133;
    let sum = Sum::pseudo_ipv6(asker, group, IpProtocol::ICMPV6, 8).with(&ask[40..]).finish();
    ask[42..44].copy_from_slice(&sum.to_be_bytes());
    let group = crate::wire::multicast_mac(group);
    let out = w.send(LAN, &frame(group, host(1), Some(100), EtherType::IPV6, &ask));
    assert_eq!(out.len(), 1, "the answer, and nothing is flooded");
    let (to, from, vid, came) = tagged(&out[0].1);
    assert_eq!((out[0].0, to, from, vid, came[40], came[45]), (LAN, host(1), RED_GATE, 100, 134, 0x40));
    // Another gateway's is not for these hosts.
    let other = came.to_vec();
    w.send(WAN, &vxlan(10_000, &frame(group, OTHER_DVR, None, EtherType::IPV6, &other)));
    assert_eq!(w.dropped(WAN, DropReason::RouterElsewhere), 1);
}
