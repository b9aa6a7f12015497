//! Who has an address: learned, moved, answered for, asked and forgotten; and what of that the other workers know.
//!
//! Hosts 1 and 2 are on VLAN 100 and on the untagged segment of red, host 3 is behind the peer.

use super::*;
use crate::gateway::{Event, Fact, Forget, Happening};
use crate::tables::{Guard, GuardIx, Prefix};
use crate::wire::{
    ALL_NODES, Arp, ArpOperation, Icmpv6Type, Ipv6Header, NaPacket, Nd, NsPacket, NsProbe, multicast_mac,
    solicited_node,
};
use core::net::{IpAddr, Ipv6Addr};

pub(super) const VLAN: Option<u16> = Some(100);
pub(super) const UNTAGGED: PortId = PortId(2);
pub(super) const UNTAGGED_MAC: MacAddr = MacAddr([2, 0xaa, 0, 0, 0, 2]);

pub(super) fn ip(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, n)
}

pub(super) fn ip6(n: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n)
}

pub(super) fn arp_frame(to: MacAddr, from: MacAddr, tci: Option<u16>, header: &ArpHeader) -> Vec<u8> {
    let mut payload = [0; 28];
    header.write(&mut payload);
    frame(to, from, tci, EtherType::ARP, &payload)
}

/// Host `n` asks everybody for `target`.
pub(super) fn ask(n: u8, target: Ipv4Addr, tci: Option<u16>) -> Vec<u8> {
    arp_frame(MacAddr::BROADCAST, host(n), tci, &ArpHeader::request(host(n), ip(n), target))
}

/// `mac` announces an address, by a request.
pub(super) fn announce(mac: MacAddr, address: Ipv4Addr, tci: Option<u16>) -> Vec<u8> {
    arp_frame(MacAddr::BROADCAST, mac, tci, &ArpHeader::request(mac, address, address))
}

pub(super) fn six<const N: usize>(
    to: MacAddr,
    from: MacAddr,
    tci: Option<u16>,
    write: impl FnOnce(&mut [u8; N]),
) -> Vec<u8> {
    let mut packet = [0; N];
    write(&mut packet);
    frame(to, from, tci, EtherType::IPV6, &packet)
}

pub(super) fn solicit(n: u8, target: Ipv6Addr, tci: Option<u16>) -> Vec<u8> {
    let packet = NsPacket::new(ip6(n.into()), host(n), target);
    six(multicast_mac(solicited_node(target)), host(n), tci, |out| packet.write(out))
}

/// Is `target` free?
pub(super) fn detect(n: u8, target: Ipv6Addr, tci: Option<u16>) -> Vec<u8> {
    let probe = NsProbe { target };
    six(multicast_mac(solicited_node(target)), host(n), tci, |out| probe.write(out))
}

pub(super) fn advertise(mac: MacAddr, target: Ipv6Addr, tci: Option<u16>) -> Vec<u8> {
    advertise_as(mac, NaPacket::answer(Ipv6Addr::UNSPECIFIED, target, mac), tci)
}

pub(super) fn advertise_as(mac: MacAddr, packet: NaPacket, tci: Option<u16>) -> Vec<u8> {
    six(multicast_mac(ALL_NODES), mac, tci, |out| packet.write(out))
}

/// The ARP message in a frame without tunnel.
pub(super) fn arp_in(bytes: &[u8]) -> ArpHeader {
    let at = if bytes[12..14] == [0x81, 0] { 18 } else { 14 };
    Arp::parse(&bytes[at..]).expect("ARP").0.header()
}

/// Where the IPv6 packet goes, and what it says.
fn nd_in(bytes: &[u8]) -> (Ipv6Addr, Nd) {
    let at = if bytes[12..14] == [0x81, 0] { 18 } else { 14 };
    let (ip, message) = crate::wire::Ipv6::parse(&bytes[at..]).expect("IPv6");
    (ip.destination(), Nd::parse(ip.source(), ip.destination(), ip.hop_limit(), message).expect("ND"))
}

pub(super) fn own(w: &mut World, mac: MacAddr, addresses: &[IpAddr]) {
    for &address in addresses {
        w.snapshot.set_owner(RED, address, Some(Some(mac))).expect("room");
    }
    w.snapshot.generation += 1;
}

/// What a MAC of red may hold besides.
pub(super) fn allow(w: &mut World, ix: u32, mac: MacAddr, address: Ipv4Addr, len: u8) {
    let prefixes = vec![Prefix { address: address.into(), len }];
    w.snapshot.set_guard(GuardIx(ix), RED, mac, Some(Guard { prefixes, places: vec![] })).expect("room");
    w.snapshot.generation += 1;
}

pub(super) fn configure(w: &mut World, change: impl FnOnce(&mut BridgeSettings)) {
    let mut settings = settings();
    change(&mut settings);
    w.snapshot.set_bridge(RED, Some(settings));
    w.snapshot.generation += 1;
}

/// Who has an address, and its sequence number, counted from the second in which each world begins.
pub(super) fn binding(w: &World, address: impl Into<IpAddr>) -> Option<(MacAddr, u32)> {
    let begin = World::new().now.seconds() as u32;
    w.gateway.bindings().get(RED, address.into(), w.now.seconds()).map(|b| (b.mac, b.sequence.wrapping_sub(begin)))
}

/// Host 2 says that it has its addresses, and everybody hears it.
pub(super) fn meet(w: &mut World) {
    assert_eq!(w.send(UNTAGGED, &announce(host(2), ip(2), None)).len(), 2);
    assert_eq!(w.send(UNTAGGED, &advertise(host(2), ip6(2), None)).len(), 2);
}

#[test]
fn a_question_for_a_learned_binding_is_answered_where_it_comes_in() {
    let mut w = World::new();
    meet(&mut w);
    let out = w.send(LAN, &ask(1, ip(2), VLAN));
    let question = ArpHeader::request(host(1), ip(1), ip(2));
    assert_eq!(out, [(LAN, arp_frame(host(1), host(2), VLAN, &question.reply(host(2))))]);
    let out = w.send(LAN, &solicit(1, ip6(2), VLAN));
    let answer = NaPacket::answer(ip6(1), ip6(2), host(2));
    assert_eq!(out, [(LAN, six(host(1), host(2), VLAN, |out| answer.write(out)))]);
    assert_eq!((w.counters().counted(Event::ArpSuppressed), w.counters().counted(Event::NdSuppressed)), (1, 1));
}

#[test]
fn answers_to_tunnels_go_back_into_them_to_peers_never_seen_before_too() {
    for far in [PEER, Ipv4Addr::new(192, 0, 2, 77)] {
        let mut w = World::new();
        meet(&mut w);
        let mut out = w.send(WAN, &vxlan_from(far, 10_000, 0x02, &ask(3, ip(2), None)));
        if far != PEER {
            // Its next hop is asked for first.
            assert_eq!((out.len(), w.gateway.held()), (1, 1));
            out = w.send(WAN, &arp(WAN_MAC, &ArpHeader::request(WAN_MAC, VTEP, far).reply(host(77))));
        }
        let question = ArpHeader::request(host(3), ip(3), ip(2));
        let [(port, bytes)] = &out[..] else { panic!("{out:?}") };
        assert_eq!((*port, &bytes[50..]), (WAN, &arp_frame(host(3), host(2), None, &question.reply(host(2)))[..]));
        assert_eq!(bytes[30..34], far.octets());
        assert_eq!(bytes[15], 0, "the answer carries no mark of the question's");
    }
}

#[test]
fn a_solicitation_shorter_than_its_answer_is_answered_behind_any_headers() {
    let mut w = World::new();
    meet(&mut w);
    let answer = NaPacket::answer(Ipv6Addr::UNSPECIFIED, ip6(2), host(2));
    let bare = |tci| six(multicast_mac(ALL_NODES), host(2), tci, |out| answer.write(out));
    assert_eq!(w.send(LAN, &detect(1, ip6(2), VLAN)), [(LAN, bare(VLAN))]);
    // With a priority tag of its own, which stays.
    let mut tagged = detect(1, ip6(2), VLAN);
    tagged.splice(16..16, [0x81, 0, 0xa0, 0]);
    let mut expected = bare(VLAN);
    expected.splice(16..16, [0x81, 0, 0xa0, 0]);
    assert_eq!(w.send(LAN, &tagged), [(LAN, expected)]);
    let out = w.send(WAN, &vxlan(10_000, &detect(3, ip6(2), None)));
    assert_eq!((out.len(), &out[0].1[50..]), (1, &bare(None)[..]));
    // Without room in the buffer, it is dropped.
    assert_eq!(w.dropped(LAN, DropReason::NoHeadroom), 0);
}

#[test]
fn configured_owners_are_answered_for_and_learned_ones_come_before_them() {
    let mut w = World::new();
    w.place(host(3), true);
    own(&mut w, host(3), &[ip(3).into(), ip6(3).into()]);
    assert_eq!(arp_in(&w.send(LAN, &ask(1, ip(3), VLAN))[0].1).sender_mac, host(3));
    let (to, nd) = nd_in(&w.send(LAN, &solicit(1, ip6(3), VLAN))[0].1);
    assert_eq!(to, ip6(1));
    assert!(matches!(nd, Nd::Advertisement { target_mac: Some(mac), solicited: true, .. } if mac == host(3)));
    // Host 2 may take the address over, and does; when it falls silent, the configured owner is back.
    allow(&mut w, 0, host(2), ip(3), 32);
    assert_eq!(w.send(UNTAGGED, &announce(host(2), ip(3), None)).len(), 2);
    assert_eq!(binding(&w, ip(3)), Some((host(2), 1)));
    assert_eq!(arp_in(&w.send(LAN, &ask(1, ip(3), VLAN))[0].1).sender_mac, host(2));
    for _ in 0..310 {
        w.tick(1000);
    }
    assert_eq!(binding(&w, ip(3)), None);
    assert_eq!(arp_in(&w.send(LAN, &ask(1, ip(3), VLAN))[0].1).sender_mac, host(3));
    // So it is when the owner itself announces.
    w.send(UNTAGGED, &announce(host(2), ip(3), None));
    w.send(WAN, &vxlan(10_000, &announce(host(3), ip(3), None)));
    assert_eq!(binding(&w, ip(3)), Some((host(3), 310 + 2)));
}

#[test]
fn probes_are_answered_and_teach_nothing() {
    let mut w = World::new();
    meet(&mut w);
    let probe = |n, target| ArpHeader::request(host(n), Ipv4Addr::UNSPECIFIED, target);
    let known = probe(1, ip(2));
    let out = w.send(LAN, &arp_frame(MacAddr::BROADCAST, host(1), VLAN, &known));
    assert_eq!(out, [(LAN, arp_frame(host(1), host(2), VLAN, &known.reply(host(2))))]);
    assert_eq!(w.send(LAN, &arp_frame(MacAddr::BROADCAST, host(1), VLAN, &probe(1, ip(9)))).len(), 2);
    assert_eq!(w.send(LAN, &detect(1, ip6(9), VLAN)).len(), 2);
    assert_eq!(w.gateway.bindings().len(), 2, "host 2's, and no other");
}

#[test]
fn who_asks_whether_its_own_address_is_free_is_not_told_that_it_has_it() {
    let mut w = World::new();
    meet(&mut w);
    let probe = ArpHeader::request(host(2), Ipv4Addr::UNSPECIFIED, ip(2));
    // Wherever it is now.
    assert_eq!(w.send(LAN, &arp_frame(MacAddr::BROADCAST, host(2), VLAN, &probe)).len(), 2);
    assert_eq!(w.send(LAN, &detect(2, ip6(2), VLAN)).len(), 2);
}

#[test]
fn questions_to_one_host_and_to_its_own_segment_reach_it() {
    let mut w = World::new();
    meet(&mut w);
    let question = ArpHeader::request(host(1), ip(1), ip(2));
    let asks = arp_frame(host(2), host(1), VLAN, &question);
    assert_eq!(w.send(LAN, &asks), [(UNTAGGED, arp_frame(host(2), host(1), None, &question))]);
    let mut packet = NsPacket::new(ip6(1), host(1), ip6(2));
    packet.destination = ip6(2);
    let out = w.send(LAN, &six(host(2), host(1), VLAN, |out| packet.write(out)));
    assert_eq!(out.iter().map(|(port, _)| *port).collect::<Vec<_>>(), [UNTAGGED]);
    // Host 4 is where host 2 is: that hears the question itself, and everybody else as well.
    assert_eq!(w.send(UNTAGGED, &ask(4, ip(2), None)).len(), 2);
    // A peer's host is in the same mesh as a peer: its own gateway answers.
    w.send(WAN, &vxlan(10_000, &announce(host(3), ip(3), None)));
    let far = Ipv4Addr::new(192, 0, 2, 77);
    let out = w.send(WAN, &vxlan_from(far, 10_000, 0, &ask(5, ip(3), None)));
    assert_eq!(out.len(), 2, "to both segments, and not into the tunnel: {out:?}");
    assert_eq!(w.counters().counted(Event::ArpSuppressed), 0);
}

#[test]
fn who_is_gone_is_not_answered_for() {
    let mut w = World::new();
    configure(&mut w, |s| (s.mac_ageing, s.binding_ageing) = (10, 36_000));
    meet(&mut w);
    w.tick(11_000);
    assert!(binding(&w, ip(2)).is_some());
    assert_eq!(w.send(LAN, &ask(1, ip(2), VLAN)).len(), 2, "flooded: it may be anywhere");
}

#[test]
fn without_suppression_questions_are_flooded_and_claims_judged_all_the_same() {
    let mut w = World::new();
    configure(&mut w, |s| s.suppress = false);
    own(&mut w, host(3), &[ip(3).into()]);
    meet(&mut w);
    assert_eq!(w.send(LAN, &ask(1, ip(2), VLAN)).len(), 2);
    assert_eq!(w.send(LAN, &announce(host(1), ip(3), VLAN)), []);
    assert_eq!(w.dropped(LAN, DropReason::Spoofed), 1);
}

#[test]
fn questions_for_unknown_addresses_are_dropped_where_that_is_set() {
    let mut w = World::new();
    configure(&mut w, |s| s.flood_unknown_target = false);
    meet(&mut w);
    w.gateway.watch(true);
    assert_eq!(w.send(LAN, &ask(1, ip(9), VLAN)), []);
    assert_eq!(w.send(LAN, &solicit(1, ip6(9), VLAN)), []);
    assert_eq!(w.dropped(LAN, DropReason::UnknownTarget), 2);
    assert_eq!(binding(&w, ip(1)), Some((host(1), 0)), "who asks is heard");
    assert_eq!(w.send(LAN, &ask(1, ip(2), VLAN)).len(), 1);
    assert_eq!(w.send(LAN, &announce(host(1), ip(1), VLAN)).len(), 2);
}

#[test]
fn a_claim_on_what_is_anothers_is_dropped_and_teaches_nothing() {
    let mut w = World::new();
    w.place(host(3), true);
    own(&mut w, host(3), &[ip(3).into(), ip6(3).into()]);
    w.snapshot.set_owner(RED, ip(7).into(), Some(None)).expect("room");
    allow(&mut w, 0, host(2), ip(7), 32);
    w.gateway.watch(true);
    let question = ArpHeader::request(host(1), ip(3), ip(2));
    let mut solicitation = NsPacket::new(ip6(3), host(1), ip6(2));
    let claims = [
        announce(host(1), ip(3), VLAN),
        announce(host(1), ip(7), VLAN),
        arp_frame(MacAddr::BROADCAST, host(1), VLAN, &question),
        arp_frame(host(2), host(1), VLAN, &ArpHeader::request(host(2), ip(2), ip(3)).reply(host(1))),
        advertise(host(1), ip6(3), VLAN),
        six(multicast_mac(solicitation.destination), host(1), VLAN, |out| solicitation.write(out)),
    ];
    for (n, claim) in claims.iter().enumerate() {
        assert_eq!(w.send(LAN, claim), []);
        assert_eq!(w.dropped(LAN, DropReason::Spoofed), n as u64 + 1);
    }
    assert_eq!((w.gateway.bindings().len(), w.gateway.macs().len()), (0, 0));
    let said: Vec<_> = core::iter::from_fn(|| w.gateway.next_notice()).collect();
    assert_eq!(said.len(), 1, "once a second");
    assert_eq!((said[0].what, said[0].mac, said[0].address), (Happening::Spoofed, Some(host(1)), Some(ip(3).into())));
    // Who may, may.
    assert_eq!(w.send(UNTAGGED, &announce(host(2), ip(7), None)).len(), 2);
    assert_eq!(w.send(WAN, &vxlan(10_000, &announce(host(3), ip(3), None))).len(), 2);
    // In the other bridge, these are nobody's.
    assert_eq!(w.send(LAN, &announce(host(1), ip(3), Some(200))).len(), 1);
    solicitation.source = ip6(4);
    let free = six(multicast_mac(solicitation.destination), host(1), VLAN, |out| solicitation.write(out));
    assert_eq!(w.send(LAN, &free).len(), 2);
}

#[test]
fn an_announcement_moves_the_binding_at_once_and_reaches_everybody() {
    let mut w = World::new();
    meet(&mut w);
    w.gateway.watch(true);
    let reply = ArpHeader { operation: ArpOperation::REPLY, ..ArpHeader::request(host(1), ip(2), ip(2)) };
    assert_eq!(w.send(LAN, &arp_frame(MacAddr::BROADCAST, host(1), VLAN, &reply)).len(), 2);
    assert_eq!(binding(&w, ip(2)), Some((host(1), 1)));
    assert_eq!(arp_in(&w.send(UNTAGGED, &ask(4, ip(2), None))[0].1).sender_mac, host(1));
    assert_eq!(w.send(WAN, &vxlan(10_000, &announce(host(3), ip(2), None))).len(), 2);
    assert_eq!(binding(&w, ip(2)), Some((host(3), 2)));
    assert_eq!(w.send(LAN, &advertise(host(1), ip6(2), VLAN)).len(), 2);
    assert_eq!(binding(&w, ip6(2)), Some((host(1), 1)));
    assert_eq!(w.counters().counted(Event::BindingMoved), 3);
    let said: Vec<_> = core::iter::from_fn(|| w.gateway.next_notice()).collect();
    let moved: Vec<_> = said.iter().filter(|n| n.what == Happening::BindingMoved).map(|n| n.mac).collect();
    assert_eq!(moved, [host(1), host(3), host(1)].map(Some));
}

#[test]
fn a_storm_of_announcements_is_cut_and_leaves_broadcasts_their_share() {
    let mut w = World::new();
    configure(&mut w, |s| (s.announcement_limit, s.broadcast_limit) = (3, 5));
    for n in 0..20 {
        w.send(LAN, &announce(host(1), ip(n), VLAN));
        w.send(LAN, &advertise(host(1), ip6(n.into()), VLAN));
    }
    assert_eq!((w.dropped(LAN, DropReason::Storm), w.gateway.bindings().len()), (37, 3), "nor is more learned");
    for _ in 0..5 {
        assert_eq!(w.send(LAN, &tenant(MacAddr::BROADCAST, host(1), VLAN)).len(), 2);
    }
    assert_eq!(w.dropped(LAN, DropReason::Storm), 37);
}

#[test]
fn an_advertisement_that_does_not_override_moves_nothing_and_answers_say_what_the_owner_said() {
    let mut w = World::new();
    meet(&mut w);
    let mut packet = NaPacket { override_: false, ..NaPacket::answer(Ipv6Addr::UNSPECIFIED, ip6(2), host(1)) };
    w.send(LAN, &advertise_as(host(1), packet, VLAN));
    assert_eq!(binding(&w, ip6(2)), Some((host(2), 0)));
    (packet.target, packet.source, packet.router) = (ip6(1), ip6(1), true);
    w.send(LAN, &advertise_as(host(1), packet, VLAN));
    let (_, nd) = nd_in(&w.send(UNTAGGED, &solicit(2, ip6(1), None))[0].1);
    assert!(matches!(nd, Nd::Advertisement { router: true, override_: false, .. }), "{nd:?}");
}

#[test]
fn link_local_owners_are_answered_for_once_it_is_known_whether_they_are_routers() {
    let mut w = World::new();
    let router = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
    own(&mut w, host(2), &[router.into()]);
    w.send(UNTAGGED, &tenant(host(99), host(2), None));
    // Its own solicitation does not say it.
    let packet = NsPacket::new(router, host(2), ip6(9));
    w.send(UNTAGGED, &six(multicast_mac(packet.destination), host(2), None, |out| packet.write(out)));
    assert_eq!(w.send(LAN, &solicit(1, router, VLAN)).len(), 2, "the owner may be a router");
    let answer = NaPacket { router: true, ..NaPacket::answer(ip6(1), router, host(2)) };
    assert_eq!(w.send(UNTAGGED, &six(host(1), host(2), None, |out| answer.write(out))).len(), 1);
    let out = w.send(LAN, &solicit(1, router, VLAN));
    assert_eq!(out, [(LAN, six(host(1), host(2), VLAN, |out| answer.write(out)))]);
}

/// What a DHCP server gives to a host.
pub(super) fn lease(to: MacAddr, address: Ipv4Addr, kind: u8) -> Vec<u8> {
    let mut payload = vec![0; 244];
    payload[..3].copy_from_slice(&[2, 1, 6]);
    payload[16..20].copy_from_slice(&address.octets());
    payload[28..34].copy_from_slice(&to.0);
    payload[236..].copy_from_slice(&[99, 130, 83, 99, 53, 1, kind, 255]);
    let mut packet = udp4(0, &payload);
    packet[20..24].copy_from_slice(&[0, 67, 0, 68]);
    packet
}

#[test]
fn what_dhcp_servers_give_is_known_before_its_owner_says_a_word() {
    let mut w = World::new();
    w.send(UNTAGGED, &tenant(host(99), host(2), None));
    let mut give = |kind| w.send(LAN, &frame(host(2), host(66), VLAN, EtherType::IPV4, &lease(host(2), ip(2), kind)));
    assert_eq!((give(2).len(), give(6).len()), (1, 1), "an offer and a refusal");
    assert_eq!(give(5).len(), 1);
    assert_eq!(binding(&w, ip(2)), Some((host(2), 0)));
    assert_eq!(arp_in(&w.send(LAN, &ask(1, ip(2), VLAN))[0].1).sender_mac, host(2));
    // TCP of the same ports, and what belongs to another.
    let mut tcp = lease(host(2), ip(3), 5);
    tcp[9] = 6;
    fix_checksum(&mut tcp);
    assert_eq!(w.send(LAN, &frame(host(2), host(66), VLAN, EtherType::IPV4, &tcp)).len(), 1);
    assert_eq!(binding(&w, ip(3)), None);
    own(&mut w, host(3), &[ip(3).into()]);
    let theirs = frame(host(2), host(66), VLAN, EtherType::IPV4, &lease(host(2), ip(3), 5));
    assert_eq!((w.send(LAN, &theirs), w.dropped(LAN, DropReason::Spoofed)), (vec![], 1));
}

#[test]
fn what_dhcpv6_servers_give_is_the_hosts_that_the_frame_is_for() {
    let mut w = World::new();
    w.send(UNTAGGED, &tenant(host(99), host(2), None));
    let mut reply = vec![7, 1, 2, 3, 0, 3, 0, 40];
    reply.extend_from_slice(&[0; 12]);
    reply.extend_from_slice(&[0, 5, 0, 24]);
    reply.extend_from_slice(&ip6(2).octets());
    reply.extend_from_slice(&[0, 0, 0, 9, 0, 0, 0, 9]);
    let len = 8 + reply.len() as u16;
    let mut packet = vec![0x60, 0, 0, 0, 0, len as u8, 17, 64];
    packet.extend_from_slice(&ip6(66).octets());
    packet.extend_from_slice(&ip6(22).octets());
    packet.extend_from_slice(&[2, 35, 2, 34, 0, len as u8, 0, 0]);
    packet.extend_from_slice(&reply);
    assert_eq!(w.send(LAN, &frame(host(2), host(66), VLAN, EtherType::IPV6, &packet)).len(), 1);
    assert_eq!(binding(&w, ip6(2)), Some((host(2), 0)));
    let len = packet.len();
    packet[len - 1] = 0;
    w.gateway.clear(&w.snapshot, Forget::Bindings(RED, Some(ip6(2).into())), 0);
    w.send(LAN, &frame(host(2), host(66), VLAN, EtherType::IPV6, &packet));
    assert_eq!(binding(&w, ip6(2)), None, "taken back");
}

#[test]
fn a_silent_owner_is_asked_by_itself_three_times_and_forgotten() {
    let mut w = World::new();
    configure(&mut w, |s| s.binding_ageing = 10);
    meet(&mut w);
    assert_eq!(w.tick(9_999), []);
    for round in 0..3 {
        let asked = w.tick(if round == 0 { 1 } else { 1000 });
        assert_eq!(asked.len(), 2, "each once: {asked:?}");
        let question = ArpHeader::request(UNTAGGED_MAC, Ipv4Addr::UNSPECIFIED, ip(2));
        let mut four = arp_frame(host(2), UNTAGGED_MAC, None, &question);
        four.resize(60, 0);
        assert!(asked.contains(&(UNTAGGED, four)));
        let probe = NsProbe { target: ip6(2) };
        assert!(asked.contains(&(UNTAGGED, six(host(2), UNTAGGED_MAC, None, |out| probe.write(out)))));
        assert_eq!(w.tick(0), []);
    }
    assert_eq!(arp_in(&w.send(LAN, &ask(1, ip(2), VLAN))[0].1).sender_mac, host(2), "until then, it is believed");
    w.gateway.watch(true);
    assert_eq!(w.tick(1000), []);
    assert_eq!((w.gateway.bindings().len(), w.counters().counted(Event::BindingAged)), (1, 2), "host 1 has asked");
    let said: Vec<_> = core::iter::from_fn(|| w.gateway.next_notice()).map(|n| n.what).collect();
    assert_eq!(said, [Happening::BindingAged; 2]);
    assert_eq!(w.send(LAN, &ask(1, ip(2), VLAN)).len(), 2);
}

#[test]
fn an_owner_that_answers_is_believed_on_and_what_it_says_to_the_gateway_alone_goes_no_further() {
    let mut w = World::new();
    configure(&mut w, |s| s.binding_ageing = 10);
    meet(&mut w);
    assert_eq!(w.tick(10_000).len(), 2);
    let question = ArpHeader::request(UNTAGGED_MAC, Ipv4Addr::UNSPECIFIED, ip(2));
    assert_eq!(w.send(UNTAGGED, &arp_frame(UNTAGGED_MAC, host(2), None, &question.reply(host(2)))), []);
    let answer = advertise(host(2), ip6(2), None);
    // Whom it is for besides, nobody can tell.
    assert_eq!(w.send(UNTAGGED, &answer).len(), 2);
    assert_eq!(w.counters().consumed, 1);
    assert_eq!(w.tick(9_999), []);
    assert_eq!(w.gateway.bindings().len(), 2);
    assert_eq!(w.tick(1).len(), 2);
    // One who has it now says so while the old owner is asked: that is no answer.
    assert_eq!(w.send(LAN, &advertise(host(1), ip6(2), VLAN)).len(), 2);
    assert_eq!(binding(&w, ip6(2)), Some((host(1), 20)));
}

#[test]
fn who_cannot_be_reached_is_forgotten_without_being_asked() {
    let mut w = World::new();
    configure(&mut w, |s| (s.mac_ageing, s.binding_ageing) = (10, 20));
    w.send(LAN, &frame(host(2), host(66), VLAN, EtherType::IPV4, &lease(host(2), ip(2), 5)));
    assert_eq!(w.gateway.bindings().len(), 1);
    for _ in 0..24 {
        assert_eq!(w.tick(1000), []);
    }
    assert_eq!((w.gateway.bindings().len(), w.counters().counted(Event::BindingProbed)), (0, 0));
}

#[test]
fn what_the_configuration_gives_to_another_is_forgotten_and_not_answered_meanwhile() {
    let mut w = World::new();
    meet(&mut w);
    w.place(host(3), true);
    own(&mut w, host(3), &[ip(2).into()]);
    assert_eq!(arp_in(&w.send(LAN, &ask(1, ip(2), VLAN))[0].1).sender_mac, host(3));
    w.tick(1);
    assert_eq!(binding(&w, ip(2)), None);
    w.snapshot.set_bridge(RED, None);
    w.snapshot.generation += 1;
    w.tick(1);
    assert_eq!(w.gateway.bindings().len(), 0);
}

#[test]
fn a_bridge_learns_no_more_bindings_than_its_limit_but_whose_address_it_is_moves() {
    let mut w = World::new();
    configure(&mut w, |s| s.binding_limit = 3);
    own(&mut w, host(3), &[ip(99).into()]);
    allow(&mut w, 0, host(2), ip(99), 32);
    w.gateway.watch(true);
    for n in 10..20 {
        assert_eq!(w.send(LAN, &announce(host(1), ip(n), VLAN)).len(), 2);
    }
    assert_eq!((w.gateway.bindings().len(), w.counters().counted(Event::BindingLimit)), (3, 7));
    let said = core::iter::from_fn(|| w.gateway.next_notice()).filter(|n| n.what == Happening::BindingLimit);
    assert_eq!(said.count(), 1);
    assert_eq!(w.send(LAN, &announce(host(4), ip(10), Some(200))).len(), 1);
    assert_eq!(w.gateway.bindings().len_of(BLUE), 1, "the other bridge has its own");
    w.send(UNTAGGED, &announce(host(2), ip(99), None));
    assert_eq!(binding(&w, ip(99)), Some((host(2), 1)));
}

#[test]
fn a_table_that_is_full_refuses_and_is_counted() {
    let mut w = World::new();
    for n in 0..100 {
        assert_eq!(w.send(LAN, &announce(host(1), Ipv4Addr::new(10, 0, 1, n), VLAN)).len(), 2);
    }
    assert_eq!((w.gateway.bindings().len(), w.counters().counted(Event::BindingTableFull)), (64, 36));
}

#[test]
fn messages_that_hosts_must_discard_are_dropped_before_anything_is_learned() {
    let good = advertise(host(1), ip6(1), VLAN);
    // Hop limit, ICMPv6 code, a bit of the target, an option of no length, one that ends behind the message.
    for (at, byte) in [(25, 64), (59, 1), (80, 0xff), (83, 0), (83, 2)] {
        let mut w = World::new();
        let mut bad = good.clone();
        bad[at] = byte;
        if at >= 59 {
            fix_icmpv6(&mut bad[18..], at == 80);
        }
        assert_eq!(w.send(LAN, &bad), [], "byte {at}");
        assert_eq!(w.dropped(LAN, DropReason::MalformedNd), 1, "byte {at}");
        assert_eq!((w.gateway.macs().len(), w.gateway.bindings().len()), (0, 0), "byte {at}");
    }
    // Another ICMPv6 message is bridged, whatever is wrong with it.
    let mut echo = good;
    echo[58] = Icmpv6Type::ECHO_REQUEST.0;
    assert_eq!(World::new().send(LAN, &echo).len(), 2);
}

/// Makes the checksum right again, or leaves it wrong.
fn fix_icmpv6(packet: &mut [u8], wrong: bool) {
    packet[42..44].fill(0);
    let (ip, message) = crate::wire::Ipv6::parse(packet).expect("IPv6");
    let pseudo = Sum::pseudo_ipv6(ip.source(), ip.destination(), IpProtocol::ICMPV6, message.len() as u32);
    let sum = pseudo.with(message).finish() ^ u16::from(wrong);
    packet[42..44].copy_from_slice(&sum.to_be_bytes());
}

/// The packet with a destination options header of so many bytes before its message.
pub(super) fn behind_options(packet: &[u8], len: usize) -> Vec<u8> {
    let mut long = packet[..40].to_vec();
    long[6] = IpProtocol::DESTINATION_OPTIONS.0;
    let payload_len = u16::from_be_bytes([packet[4], packet[5]]) + len as u16;
    long[4..6].copy_from_slice(&payload_len.to_be_bytes());
    // PadN options fill it.
    let mut options = vec![0; len];
    options[..2].copy_from_slice(&[packet[6], (len / 8 - 1) as u8]);
    long.extend_from_slice(&options);
    long.extend_from_slice(&packet[Ipv6Header::LEN..]);
    long
}

#[test]
fn no_claim_hides_behind_extension_headers_however_the_frame_is_split() {
    let claim = advertise(host(1), ip6(3), None);
    for len in [8, 64, 72, 600] {
        let bytes = frame(multicast_mac(ALL_NODES), host(1), VLAN, EtherType::IPV6, &behind_options(&claim[14..], len));
        for cut in [bytes.len(), 60, 200, 300] {
            let (front, back) = bytes.split_at(cut.min(bytes.len()));
            let segments = if back.is_empty() { vec![front] } else { vec![front, back] };
            let mut w = World::new();
            own(&mut w, host(3), &[ip6(3).into()]);
            assert_eq!(w.send_segments(LAN, &segments), [], "{len} bytes of options");
            assert_eq!(w.dropped(LAN, DropReason::Spoofed), 1);
            let mut w = World::new();
            assert_eq!(w.send_segments(LAN, &segments).len(), 2);
            assert_eq!(binding(&w, ip6(3)), Some((host(1), 0)));
        }
    }
}

#[test]
fn a_tenants_own_vlans_are_no_part_of_the_bridges_bindings() {
    let mut w = World::new();
    meet(&mut w);
    own(&mut w, host(3), &[ip(3).into()]);
    let inside = |vid: u16, mut bytes: Vec<u8>| {
        bytes.splice(16..16, [0x81, 0, (vid >> 8) as u8, vid as u8]);
        bytes
    };
    // The tunnel and the untagged segment take no tags.
    assert_eq!(w.send(LAN, &inside(5, ask(1, ip(2), VLAN))), []);
    assert_eq!(w.send(LAN, &inside(5, announce(host(1), ip(3), VLAN))), []);
    assert_eq!((w.dropped(LAN, DropReason::InnerTag), w.dropped(LAN, DropReason::Spoofed)), (4, 0));
    assert_eq!(binding(&w, ip(1)), None);
    // A priority tag is no VLAN: hosts take such a frame like any.
    assert_eq!(w.send(LAN, &inside(0, announce(host(1), ip(3), VLAN))), []);
    assert_eq!(w.dropped(LAN, DropReason::Spoofed), 1);
    assert_eq!(w.send(LAN, &inside(0, ask(1, ip(2), VLAN))).len(), 1);
}

pub(super) fn shared() -> World {
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

/// Hands every offer of each to the other until there are none.
pub(super) fn exchange(one: &mut World, two: &mut World) {
    for _ in 0..4 {
        while let Some(fact) = one.gateway.next_offer() {
            two.gateway.learned_elsewhere(&two.snapshot, fact, two.now);
        }
        core::mem::swap(one, two);
    }
}

#[test]
fn a_binding_that_moves_on_one_worker_is_answered_for_by_the_other() {
    let (mut one, mut two) = (shared(), shared());
    meet(&mut one);
    exchange(&mut one, &mut two);
    assert_eq!(arp_in(&two.send(LAN, &ask(1, ip(2), VLAN))[0].1).sender_mac, host(2));
    // The move is seen by the second, a later one by the first; each answers from its newest word.
    two.send(WAN, &vxlan(10_000, &announce(host(3), ip(2), None)));
    exchange(&mut one, &mut two);
    assert_eq!((binding(&one, ip(2)), binding(&two, ip(2))), (Some((host(3), 1)), Some((host(3), 1))));
    one.send(UNTAGGED, &announce(host(2), ip(2), None));
    exchange(&mut one, &mut two);
    assert_eq!((binding(&one, ip(2)), binding(&two, ip(2))), (Some((host(2), 2)), Some((host(2), 2))));
}

#[test]
fn two_workers_that_see_different_moves_at_once_agree() {
    let (mut one, mut two) = (shared(), shared());
    meet(&mut one);
    exchange(&mut one, &mut two);
    one.send(LAN, &announce(host(1), ip(2), VLAN));
    two.send(WAN, &vxlan(10_000, &announce(host(3), ip(2), None)));
    exchange(&mut one, &mut two);
    assert_eq!((binding(&one, ip(2)), binding(&two, ip(2))), (Some((host(3), 1)), Some((host(3), 1))));
    // What was claimed again since wins.
    one.send(LAN, &announce(host(1), ip(2), VLAN));
    exchange(&mut one, &mut two);
    assert_eq!((binding(&one, ip(2)), binding(&two, ip(2))), (Some((host(1), 2)), Some((host(1), 2))));
}

#[test]
fn one_worker_asks_and_all_forget() {
    let (mut one, mut two) = (shared(), shared());
    meet(&mut one);
    exchange(&mut one, &mut two);
    assert_eq!((one.tick(300_000).len(), two.tick(300_000).len()), (2, 0));
    for _ in 0..3 {
        one.tick(1000);
        two.tick(1000);
        exchange(&mut one, &mut two);
    }
    assert_eq!((one.gateway.bindings().len(), two.gateway.bindings().len()), (0, 0));
}

#[test]
fn an_owner_that_talks_to_one_worker_stays_known_to_the_other() {
    let (mut one, mut two) = (shared(), shared());
    meet(&mut one);
    for second in 0..2000 {
        if second % 20 == 0 {
            one.send(UNTAGGED, &announce(host(2), ip(2), None));
            one.send(UNTAGGED, &advertise(host(2), ip6(2), None));
        }
        one.tick(1000);
        two.tick(1000);
        exchange(&mut one, &mut two);
    }
    assert_eq!((one.gateway.bindings().len(), two.gateway.bindings().len()), (2, 2));
    let asked = one.counters().counted(Event::BindingProbed) + two.counters().counted(Event::BindingProbed);
    assert_eq!(asked, 0);
}

#[test]
fn an_answer_to_the_other_workers_question_reaches_it() {
    let (mut one, mut two) = (shared(), shared());
    meet(&mut one);
    exchange(&mut one, &mut two);
    assert_eq!((one.tick(300_000).len(), two.tick(300_000).len()), (2, 0));
    let question = ArpHeader::request(UNTAGGED_MAC, Ipv4Addr::UNSPECIFIED, ip(2));
    assert_eq!(two.send(UNTAGGED, &arp_frame(UNTAGGED_MAC, host(2), None, &question.reply(host(2)))), []);
    two.send(UNTAGGED, &advertise(host(2), ip6(2), None));
    exchange(&mut one, &mut two);
    for _ in 0..10 {
        assert_eq!(one.tick(1000), []);
    }
    assert_eq!(one.gateway.bindings().len(), 2);
}

#[test]
fn facts_about_what_is_not_so_here_are_not_taken_over() {
    let mut w = shared();
    own(&mut w, host(3), &[ip(3).into()]);
    let fact = |bridge, address: Ipv4Addr| Fact::Binding {
        bridge,
        address: address.into(),
        mac: host(1),
        sequence: 7,
        manners: Default::default(),
    };
    for fact in [fact(RED, ip(3)), fact(BridgeId(7), ip(4))] {
        w.gateway.learned_elsewhere(&w.snapshot, fact, w.now);
    }
    assert_eq!(w.gateway.bindings().len(), 0);
}

#[test]
fn a_storm_of_claims_leaves_room_for_macs_and_is_told_in_the_end() {
    let (mut one, mut two) = (shared(), shared());
    configure(&mut one, |s| s.announcement_limit = 0);
    for n in 0..64 {
        one.send(LAN, &announce(host(1), ip(n), VLAN));
    }
    for n in 0..5000u16 {
        let mac = if n % 2 == 0 { host(1) } else { host(4) };
        one.send(LAN, &announce(mac, ip((n % 64) as u8), VLAN));
    }
    one.send(LAN, &tenant(MacAddr::BROADCAST, host(9), VLAN));
    let offers: Vec<Fact> = core::iter::from_fn(|| one.gateway.next_offer()).collect();
    assert!(offers.len() <= 300, "{}", offers.len());
    assert!(offers.iter().any(|fact| matches!(fact, Fact::Mac { mac, .. } if *mac == host(9))));
    for fact in offers {
        two.gateway.learned_elsewhere(&two.snapshot, fact, two.now);
    }
    for _ in 0..3 {
        one.tick(1);
        exchange(&mut one, &mut two);
    }
    for n in 1..64 {
        assert_eq!(binding(&one, ip(n)), binding(&two, ip(n)), "{n}");
    }
}
