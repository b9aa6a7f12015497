//! Every encapsulation over both families, between two gateways: what one wraps the other unwraps, byte for byte.

use super::*;
use crate::tables::{MeshId, NEXT_HOPS};
use core::net::IpAddr;
use std::collections::BTreeSet;

const ENCAPS: [(Encap, u32); 3] = [(Encap::Vxlan, 10_000), (Encap::Nvgre, 5000), (Encap::Geneve, 77)];

fn addresses(v6: bool) -> [IpAddr; 2] {
    match v6 {
        false => [VTEP.into(), PEER.into()],
        true => ["2001:db8::1".parse().expect("IPv6"), "2001:db8::2".parse().expect("IPv6")],
    }
}

/// A gateway at `local` with a segment of every encapsulation from number 2 on, each in a mesh of its own, and the remote end a
/// peer of each. Its own WAN MAC is `mac`, the other one's is configured.
fn gateway(local: IpAddr, remote: IpAddr, mac: MacAddr, remote_mac: MacAddr) -> World {
    let mut w = World::new();
    let s = &mut w.snapshot;
    let info = |mac| PortInfo { mac, mtu: 1600 };
    *s = Snapshot::new(s.secret(), &[info(LAN_MAC), info(mac), info(MacAddr([2, 0xaa, 0, 0, 0, 2]))]);
    s.generation = 2;
    let prefix_len = if local.is_ipv4() { 24 } else { 64 };
    let neighbours = vec![(remote, remote_mac)];
    s.set_vtep(VtepIx(0), Some(Vtep { port: WAN, address: local, prefix_len, gateways: vec![], neighbours }));
    s.set_bridge(RED, Some(settings()));
    let kind = SegmentKind::Vlan { port: LAN, vid: 100.try_into().ok() };
    s.set_segment(SegmentIx(1), Some(segment(RED, kind))).expect("room");
    for (n, (encap, network)) in (0u16..).zip(ENCAPS) {
        let (ix, peer) = (SegmentIx(u32::from(n) + 2), PeerIx(u32::from(n)));
        s.set_peer(peer, Some(Peer { vtep: VtepIx(0), encap, address: remote })).expect("room");
        let new = Segment { mesh: MeshId(n), ..segment(RED, tunnel(encap, network)) };
        s.set_segment(ix, Some(new)).expect("room");
        s.set_flood(ix, peer, true);
    }
    w
}

fn pair(v6: bool) -> [World; 2] {
    let [here, there] = addresses(v6);
    [gateway(here, there, WAN_MAC, PEER_MAC), gateway(there, here, PEER_MAC, WAN_MAC)]
}

fn at(w: &mut World, mac: MacAddr, segment: u32) {
    let at = Location { segment: SegmentIx(segment), peer: segment.checked_sub(2).map(PeerIx) };
    w.snapshot.set_endpoint(RED, mac, Some(Host { at, addressed: false })).expect("room");
    w.snapshot.generation += 1;
}

#[test]
fn what_one_gateway_wraps_another_unwraps() {
    for v6 in [false, true] {
        let [mut here, mut there] = pair(v6);
        for n in 0..3 {
            at(&mut here, host(2), n + 2);
            at(&mut there, host(2), 1);
            // The second time around it is known by heart.
            for round in 0..3 {
                let out = here.send(LAN, &tenant(host(2), host(1), Some(100)));
                let [(WAN, wrapped)] = &out[..] else { panic!("{v6} {n} {round}: {out:?}") };
                let out = there.send(WAN, wrapped);
                assert_eq!(out, [(LAN, tenant(host(2), host(1), Some(100)))], "{v6} {n} {round}");
            }
            let at = there.gateway.macs().get(there.snapshot.secret().hash(key(host(1))), key(host(1)));
            assert_eq!(at.map(|entry| entry.place.segment()), Some(SegmentIx(n + 2)), "learned where it came from");
        }
    }
}

fn key(mac: MacAddr) -> u64 {
    crate::tables::mac_key(RED, mac)
}

#[test]
fn a_flooded_frame_goes_to_every_other_mesh_and_to_none_twice() {
    let [mut here, mut there] = pair(true);
    let out = here.send(LAN, &tenant(MacAddr::BROADCAST, host(1), Some(100)));
    assert_eq!(out.iter().map(|(port, _)| *port).collect::<Vec<_>>(), [WAN, WAN, WAN]);
    for (_, wrapped) in &out {
        let relayed = there.send(WAN, wrapped);
        assert_eq!(relayed.len(), 3, "to the VLAN and two other meshes");
        let shapes: BTreeSet<_> = relayed.iter().map(|(_, bytes)| bytes.len()).collect();
        assert!(
            relayed.iter().all(|(port, bytes)| *port == LAN || bytes[20] != wrapped[20] || bytes[56] != wrapped[56])
        );
        assert!(shapes.len() > 1);
    }
    // A unicast frame from one mesh to another is relayed, within one it is not.
    at(&mut there, host(9), 2);
    let out = here.send(LAN, &tenant(host(9), host(1), Some(100)));
    let counts: Vec<_> = out.iter().map(|(_, wrapped)| there.send(WAN, wrapped).len()).collect();
    assert_eq!(counts, [0, 1, 1]);
}

#[test]
fn without_meshes_of_their_own_tunnels_never_answer_tunnels() {
    let [mut here, mut there] = pair(false);
    for ix in 2..5 {
        let before = *there.snapshot.segment(SegmentIx(ix)).expect("there");
        there.snapshot.set_segment(SegmentIx(ix), Some(Segment { mesh: MeshId(0), ..before })).expect("room");
    }
    there.snapshot.generation += 1;
    for (_, wrapped) in here.send(LAN, &tenant(MacAddr::BROADCAST, host(1), Some(100))) {
        assert_eq!(there.send(WAN, &wrapped), [(LAN, tenant(MacAddr::BROADCAST, host(1), Some(100)))]);
    }
    // A peer with a mesh of its own is relayed to.
    there.snapshot.set_peer_mesh(SegmentIx(4), PeerIx(2), Some(MeshId(7))).expect("room");
    there.snapshot.generation += 1;
    let counts: Vec<_> = here.send(LAN, &tenant(MacAddr::BROADCAST, host(3), Some(100)));
    let counts: Vec<_> = counts.iter().map(|(_, wrapped)| there.send(WAN, wrapped).len()).collect();
    assert_eq!(counts, [2, 2, 3]);
}

#[test]
fn two_tags_are_a_segment_of_their_own_and_both_outer_kinds_are_apart() {
    let mut w = World::new();
    for (ix, service) in [(6, true), (7, false)] {
        let vid = |n: u16| n.try_into().expect("legal");
        let kind = SegmentKind::Qinq { port: LAN, service, outer: vid(300), inner: vid(5 + u16::from(service)) };
        w.snapshot.set_segment(SegmentIx(ix), Some(segment(RED, kind))).expect("room");
    }
    w.snapshot.generation += 1;
    let stacked = |outer: u16, tpid: u16, inner: u16| {
        let mut bytes = tenant(MacAddr::BROADCAST, host(1), Some(inner));
        let [a, b] = tpid.to_be_bytes();
        let [c, d] = outer.to_be_bytes();
        bytes.splice(12..12, [a, b, c, d]);
        bytes
    };
    let ports = |out: Vec<(PortId, Vec<u8>)>| {
        out.into_iter().map(|(port, bytes)| (port.0, bytes[12..20].to_vec())).collect::<Vec<_>>()
    };
    let out = ports(w.send(LAN, &stacked(300, 0x88a8, 6)));
    assert_eq!(out.len(), 4);
    assert!(out.contains(&(0, vec![0x81, 0, 1, 44, 0x81, 0, 0, 5])), "{out:?}");
    let out = ports(w.send(LAN, &stacked(0xe000 | 300, 0x8100, 5)));
    assert!(out.contains(&(0, vec![0x88, 0xa8, 0xe1, 44, 0x81, 0, 0xe0, 6])), "{out:?}");
    for (outer, tpid, inner) in [(300, 0x88a8, 5), (300, 0x8100, 6), (301, 0x88a8, 6), (300, 0x88a8, 0)] {
        assert_eq!(w.send(LAN, &stacked(outer, tpid, inner)), [], "{outer} {tpid:x} {inner}");
    }
    assert_eq!(w.dropped(LAN, DropReason::UnknownVlan), 4);
    w.snapshot.set_segment(SegmentIx(6), None).expect("room");
    w.snapshot.generation += 1;
    assert_eq!(w.send(LAN, &stacked(300, 0x88a8, 6)), []);
    assert_eq!(w.send(LAN, &stacked(300, 0x8100, 5)).len(), 3);
}

#[test]
fn flows_spread_over_equal_next_hops_and_leave_the_one_that_fails() {
    let mut w = World::new();
    let gateways: Vec<IpAddr> = (0..NEXT_HOPS as u8).map(|n| [192, 0, 2, 100 + n].into()).collect();
    let (address, neighbours) = (VTEP.into(), vec![]);
    let vtep = Vtep { port: WAN, address, prefix_len: 24, gateways: gateways.clone(), neighbours };
    w.snapshot.set_vtep(VtepIx(0), Some(vtep));
    let far = Peer { vtep: VtepIx(0), encap: Encap::Vxlan, address: [198, 51, 100, 1].into() };
    w.snapshot.set_peer(PeerIx(0), Some(far)).expect("room");
    w.place(host(2), true);
    let flow = |n: u8| {
        let mut ip = udp4(0, b"hello");
        ip[21] = n;
        frame(host(2), host(1), Some(100), EtherType::IPV4, &ip)
    };
    let asked = |out: Vec<(PortId, Vec<u8>)>| out.into_iter().filter(|(_, bytes)| bytes[12..14] == [8, 6]);
    let mut questions = BTreeSet::new();
    for n in 0..=255 {
        questions.extend(asked(w.send(LAN, &flow(n))).map(|(_, bytes)| bytes[41]));
    }
    assert_eq!(questions.len(), NEXT_HOPS, "each is asked for when a flow wants it");
    // All answer but the first.
    for (n, gateway) in (0u8..).zip(&gateways).skip(1) {
        let fact = crate::gateway::Fact::Neighbour { port: WAN, address: *gateway, mac: host(200 + n) };
        w.gateway.learned_elsewhere(&w.snapshot, fact, w.now);
    }
    for _ in 0..50 {
        w.tick(100);
    }
    let by: Vec<u8> = (0..=255).flat_map(|n| w.send(LAN, &flow(n))).map(|(_, bytes)| bytes[5]).collect();
    assert_eq!(by.len(), 256, "the one that failed loses no flow");
    assert_eq!(by.iter().collect::<BTreeSet<_>>().len(), NEXT_HOPS - 1);
    let again: Vec<u8> = (0..=255).flat_map(|n| w.send(LAN, &flow(n))).map(|(_, bytes)| bytes[5]).collect();
    assert_eq!(by, again, "a flow stays where it is");
}

#[test]
fn an_ipv6_next_hop_is_asked_for_and_the_vtep_answers() {
    let [here, there] = addresses(true);
    let [mut a, mut b] = [gateway(here, there, WAN_MAC, PEER_MAC), gateway(there, here, PEER_MAC, WAN_MAC)];
    for (w, address) in [(&mut a, here), (&mut b, there)] {
        let (prefix_len, gateways, neighbours) = (64, vec![], vec![]);
        w.snapshot.set_vtep(VtepIx(0), Some(Vtep { port: WAN, address, prefix_len, gateways, neighbours }));
    }
    at(&mut a, host(2), 2);
    at(&mut b, host(2), 1);
    let out = a.send(LAN, &tenant(host(2), host(1), Some(100)));
    let [(WAN, question)] = &out[..] else { panic!("{out:?}") };
    assert_eq!(question[..6], [0x33, 0x33, 0xff, 0, 0, 2]);
    let out = b.send(WAN, question);
    let [(WAN, answer)] = &out[..] else { panic!("{out:?}") };
    let out = a.send(WAN, answer);
    let [(WAN, wrapped)] = &out[..] else { panic!("{out:?}") };
    assert_eq!(b.send(WAN, wrapped), [(LAN, tenant(host(2), host(1), Some(100)))]);
    // Later it is asked by unicast, and answers so.
    a.send(LAN, &tenant(host(2), host(1), Some(100)));
    let out = (0..400).flat_map(|_| a.tick(100)).next();
    let Some((WAN, probe)) = out else { panic!("no probe") };
    assert_eq!(probe[..6], PEER_MAC.0);
    let [(WAN, answer)] = &b.send(WAN, &probe)[..] else { panic!("no answer") };
    assert_eq!(a.send(WAN, answer), []);
    assert_eq!(a.counters().dropped_total() + b.counters().dropped_total(), 0);
}

#[test]
fn an_underlay_of_the_other_family_or_without_a_gateway_is_no_route() {
    let mut w = gateway(addresses(true)[0], VTEP.into(), WAN_MAC, PEER_MAC);
    at(&mut w, host(2), 2);
    assert_eq!(w.send(LAN, &tenant(host(2), host(1), Some(100))), []);
    assert_eq!(w.dropped(LAN, DropReason::NoRoute), 1);
}
