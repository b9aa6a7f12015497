//! The steps together: a small gateway, frames from the wire, and the invariants that hold whatever arrives.
//!
//! What each kind of frame comes to is shown by the golden cases; here is what must hold for every frame.

mod bindings;
mod claims;
mod encaps;
mod flows;
mod hostile;
mod lifetimes;
mod protection;
mod routing;
mod security;
mod sharing;
mod trace;

use super::testing::{TestFrame, TestPool, TestPorts};
use super::{Counters, DropReason, Gateway, Limits};
use crate::tables::{
    BridgeId, BridgeSettings, Encap, Host, Location, MeshId, Peer, PeerIx, PortId, PortInfo, Secret, Segment,
    SegmentIx, SegmentKind, Snapshot, Vtep, VtepIx,
};
use crate::wire::{
    ArpHeader, EtherType, EthernetHeader, Fragment, IpProtocol, Ipv4Header, MacAddr, Tag, TrafficClass, UdpHeader,
    VXLAN_PORT, Vni, VxlanHeader, checksum::Sum,
};
use crate::{Burst, Time};
use core::net::Ipv4Addr;
use std::vec;
use std::vec::Vec;

pub(super) const LAN: PortId = PortId(0);
pub(super) const WAN: PortId = PortId(1);
pub(super) const LAN_MAC: MacAddr = MacAddr([2, 0xaa, 0, 0, 0, 0]);
pub(super) const WAN_MAC: MacAddr = MacAddr([2, 0xaa, 0, 0, 0, 1]);
pub(super) const VTEP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(super) const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub(super) const PEER_MAC: MacAddr = MacAddr([2, 0xbb, 0, 0, 0, 2]);
pub(super) const RED: BridgeId = BridgeId(1);
pub(super) const BLUE: BridgeId = BridgeId(2);
/// As an operator gets them who sets none, but for a limit that tests reach.
pub(super) fn settings() -> BridgeSettings {
    BridgeSettings { mac_limit: 100, ..BridgeSettings::default() }
}

/// A host's MAC.
pub(super) fn host(n: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, n])
}

/// A VXLAN peer behind the vtep.
pub(super) fn peer(address: Ipv4Addr) -> Peer {
    Peer { vtep: VtepIx(0), encap: Encap::Vxlan, address: address.into() }
}

/// A tunnel's kind, from the vtep.
pub(super) fn tunnel(encap: Encap, network: u32) -> SegmentKind {
    SegmentKind::Tunnel { encap, network: Vni::try_from(network).expect("legal"), vtep: VtepIx(0) }
}

/// A segment without tags of its frames' own, in the mesh of all.
pub(super) fn segment(bridge: BridgeId, kind: SegmentKind) -> Segment {
    Segment { bridge, kind, carry_tags: false, mesh: MeshId(0) }
}

/// Red: VLAN 100 on LAN, untagged on LAN 2 (port 2), VNI 10000 with one peer. Blue: VLAN 200 on LAN, VNI 20000 with the
/// same peer. The peer's MAC is configured.
pub(super) fn snapshot() -> Snapshot {
    let secret = Secret::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]);
    let info = |mac| PortInfo { mac, mtu: 1600 };
    let mut s = Snapshot::new(secret, &[info(LAN_MAC), info(WAN_MAC), info(MacAddr([2, 0xaa, 0, 0, 0, 2]))]);
    s.generation = 1;
    let (address, neighbours) = (VTEP.into(), vec![(PEER.into(), PEER_MAC)]);
    s.set_vtep(VtepIx(0), Some(Vtep { port: WAN, address, prefix_len: 24, gateways: vec![], neighbours }));
    s.set_peer(PeerIx(0), Some(peer(PEER))).expect("room");
    for (bridge, vlan, vid, vxlan, vni) in [(RED, 1, 100u16, 2, 10_000u32), (BLUE, 3, 200, 4, 20_000)] {
        s.set_bridge(bridge, Some(settings()));
        let kind = SegmentKind::Vlan { port: LAN, vid: vid.try_into().ok() };
        s.set_segment(SegmentIx(vlan), Some(segment(bridge, kind))).expect("room");
        let kind = tunnel(Encap::Vxlan, vni);
        s.set_segment(SegmentIx(vxlan), Some(segment(bridge, kind))).expect("room");
        s.set_flood(SegmentIx(vxlan), PeerIx(0), true);
    }
    let kind = SegmentKind::Vlan { port: PortId(2), vid: None };
    s.set_segment(SegmentIx(5), Some(segment(RED, kind))).expect("room");
    s
}

/// A small gateway with everything it needs, and the balance of frames checked at every turn.
pub(super) struct World {
    pub(super) snapshot: Snapshot,
    pub(super) gateway: Gateway<TestFrame>,
    pub(super) pool: TestPool,
    pub(super) ports: TestPorts,
    pub(super) now: Time,
}

/// Tables that tests can fill.
pub(super) fn limits() -> Limits {
    Limits {
        bridges: 8,
        macs: 64,
        bindings: 64,
        peers: 8,
        learned_peers: 8,
        neighbours: 8,
        held: 16,
        hosts: 32,
        hops: 64,
        routers: 4,
        leads: true,
        shared: false,
    }
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(limits())
    }

    pub(super) fn with(limits: Limits) -> Self {
        let snapshot = snapshot();
        let gateway = Gateway::new(snapshot.secret(), snapshot.ports().len(), limits);
        Self { snapshot, gateway, pool: TestPool::new(1000), ports: TestPorts::new(), now: Time::from_millis(5000) }
    }

    /// Sends a frame in, and answers what comes out.
    pub(super) fn send(&mut self, port: PortId, bytes: &[u8]) -> Vec<(PortId, Vec<u8>)> {
        self.send_segments(port, &[bytes])
    }

    pub(super) fn send_segments(&mut self, port: PortId, segments: &[&[u8]]) -> Vec<(PortId, Vec<u8>)> {
        let mut burst = Burst::new();
        let frame = self.pool.frame(segments).expect("a buffer for the test's own frame");
        assert!(burst.push(frame).is_ok());
        self.gateway.process(&self.snapshot, self.now, port, &mut burst, &mut self.pool, &mut self.ports);
        assert!(burst.is_empty());
        self.settle()
    }

    pub(super) fn tick(&mut self, millis: u64) -> Vec<(PortId, Vec<u8>)> {
        self.now = self.now + millis;
        self.gateway.tick(&self.snapshot, self.now, &mut self.pool, &mut self.ports);
        self.settle()
    }

    fn settle(&mut self) -> Vec<(PortId, Vec<u8>)> {
        let out = self.ports.take();
        let c = self.gateway.counters();
        let ended = c.sent + c.dropped_total() + c.consumed + self.gateway.held() as u64;
        assert_eq!(c.received + c.originated, ended, "every frame ends in exactly one way");
        assert_eq!(self.pool.live(), self.gateway.held(), "no buffer is kept or lost");
        out
    }

    pub(super) fn counters(&self) -> &Counters {
        self.gateway.counters()
    }

    pub(super) fn dropped(&self, port: PortId, reason: DropReason) -> u64 {
        self.counters().dropped(port, reason)
    }

    /// Places a host of the red bridge on VLAN 100, or behind the peer.
    pub(super) fn place(&mut self, mac: MacAddr, behind_peer: bool) {
        let at = match behind_peer {
            true => Location { segment: SegmentIx(2), peer: Some(PeerIx(0)) },
            false => Location { segment: SegmentIx(1), peer: None },
        };
        self.snapshot.set_endpoint(RED, mac, Some(Host { at, addressed: false })).expect("room");
        self.snapshot.generation += 1;
    }
}

/// A UDP datagram over IPv4 from 10.0.0.1 to 10.0.0.2, from its IP header on.
pub(super) fn udp4(class: u8, payload: &[u8]) -> Vec<u8> {
    let udp_len = 8 + payload.len() as u16;
    let mut bytes = vec![0; 28];
    let ip = Ipv4Header {
        traffic_class: TrafficClass(class),
        total_len: 20 + udp_len,
        identification: 7,
        fragment: Fragment::from_bits(0),
        ttl: 9,
        protocol: IpProtocol::UDP,
        source: Ipv4Addr::new(10, 0, 0, 1),
        destination: Ipv4Addr::new(10, 0, 0, 2),
    };
    ip.write(bytes[..20].as_mut_array().expect("20"));
    let udp = UdpHeader { source: 1000, destination: 2000, len: udp_len, checksum: 0 };
    udp.write(bytes[20..28].as_mut_array().expect("8"));
    bytes.extend_from_slice(payload);
    bytes
}

/// A frame: MACs, tag, EtherType, payload.
pub(super) fn frame(to: MacAddr, from: MacAddr, tci: Option<u16>, ether_type: EtherType, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 14];
    let first = if tci.is_some() { EtherType::VLAN } else { ether_type };
    EthernetHeader { destination: to, source: from, ether_type: first }.write(bytes[..].as_mut_array().expect("14"));
    if let Some(tci) = tci {
        bytes.extend_from_slice(&Tag::from_tci(EtherType::VLAN, tci).tci().to_be_bytes());
        bytes.extend_from_slice(&ether_type.0.to_be_bytes());
    }
    bytes.extend_from_slice(payload);
    bytes
}

/// A tenant's IPv4 frame.
pub(super) fn tenant(to: MacAddr, from: MacAddr, tci: Option<u16>) -> Vec<u8> {
    frame(to, from, tci, EtherType::IPV4, &udp4(0, b"hello"))
}

/// A frame in VXLAN from a peer to the vtep.
pub(super) fn vxlan_from(peer: Ipv4Addr, vni: u32, class: u8, inner: &[u8]) -> Vec<u8> {
    let mut payload = vec![0; 8];
    VxlanHeader { vni: Vni::try_from(vni).expect("legal") }.write(payload[..].as_mut_array().expect("8"));
    payload.extend_from_slice(inner);
    let mut packet = udp4(class, &payload);
    packet[12..16].copy_from_slice(&peer.octets());
    packet[16..20].copy_from_slice(&VTEP.octets());
    packet[22..24].copy_from_slice(&VXLAN_PORT.to_be_bytes());
    fix_checksum(&mut packet);
    frame(WAN_MAC, PEER_MAC, None, EtherType::IPV4, &packet)
}

pub(super) fn vxlan(vni: u32, inner: &[u8]) -> Vec<u8> {
    vxlan_from(PEER, vni, 0, inner)
}

/// Makes the checksum of the IPv4 header that `packet` begins with right again.
pub(super) fn fix_checksum(packet: &mut [u8]) {
    packet[10..12].fill(0);
    let sum = Sum::new().with(&packet[..20]).finish();
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// An ARP frame.
pub(super) fn arp(to: MacAddr, header: &ArpHeader) -> Vec<u8> {
    let mut payload = [0; 28];
    header.write(&mut payload);
    frame(to, header.sender_mac, None, EtherType::ARP, &payload)
}
