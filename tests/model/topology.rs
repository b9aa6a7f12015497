//! A random network in plain lists, and the snapshot that says the same.
//!
//! The model reads the lists alone, and the gateway the snapshot alone. Ports 0 and 2 lead to hosts; port 1 has the vteps and
//! VLANs besides. MACs are the same on every bridge, and nets the same in every router, as far as that is legal.

use crate::nets::{covers, net_of, nth, prefix, size};
use crate::rng::Rng;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use weir_pipelines::tables::{
    BridgeId, BridgeSettings, Encap, Host, Interface, InterfaceIx, Location, MeshId, NextHop, NextHopsIx, Peer, PeerIx,
    PortId, PortInfo, Prefix, RouterIx, RouterSettings, Secret, Segment, SegmentIx, SegmentKind, Snapshot, Target,
    Vtep, VtepIx,
};
use weir_pipelines::wire::{MacAddr, Vni};

/// Nets that interfaces take: small and large, with and without a broadcast address.
const NETS: [&str; 13] = [
    "10.0.0.0/24",
    "10.0.1.0/25",
    "10.0.2.0/28",
    "10.0.3.0/31",
    "172.16.0.0/16",
    "192.168.7.0/30",
    "10.9.0.0/22",
    "2001:db8:0::/64",
    "2001:db8:1::/64",
    "2001:db8:2::/120",
    "2001:db8:3::/127",
    "fd00:5::/48",
    "2001:db8:4::/64",
];

/// Prefixes of routes: within each other, within nets, and around them.
pub(crate) const ROUTES: [&str; 15] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.0.0.128/25",
    "10.0.1.0/26",
    "203.0.113.0/24",
    "203.0.113.128/25",
    "203.0.113.7/32",
    "172.16.4.0/22",
    "100.64.0.0/10",
    "::/0",
    "2001:db8::/32",
    "2001:db8:1:0:8000::/65",
    "2001:db8:99::/48",
    "2001:db8:99:1::/64",
    "2001:db8:99::7/128",
];

/// Another gateway's DVR MAC.
pub(crate) const OTHER_GATEWAY: MacAddr = MacAddr([2, 0xdd, 0, 0, 0, 9]);
/// The vteps: by number, on port 1.
pub(crate) const VTEPS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1))];
/// The port that the vteps are on.
pub(crate) const WAN: PortId = PortId(1);

/// How frames come and go on a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Vlan { port: PortId, vid: Option<u16> },
    Vxlan { vni: u32, vtep: usize },
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Seg {
    pub(crate) bridge: usize,
    pub(crate) way: Way,
}

/// Where a host is: the segment, and the peer if it is a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: usize,
    pub(crate) peer: Option<usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct Remote {
    pub(crate) vtep: usize,
    pub(crate) address: IpAddr,
    pub(crate) mac: MacAddr,
}

#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) bridge: usize,
    pub(crate) mac: MacAddr,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) place: Place,
}

/// A configured route; without next hops it is a blackhole.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) router: usize,
    pub(crate) prefix: Prefix,
    /// Interface and address of each.
    pub(crate) via: Vec<(usize, IpAddr)>,
    /// The number of its next hops in the snapshot.
    pub(crate) number: u32,
}

/// All that is configured.
#[derive(Clone, Debug)]
pub(crate) struct Topology {
    pub(crate) ports: [PortInfo; 3],
    pub(crate) bridges: usize,
    pub(crate) segments: Vec<Seg>,
    pub(crate) peers: Vec<Remote>,
    /// By router: whether it tells hosts of errors.
    pub(crate) tells: Vec<bool>,
    pub(crate) interfaces: Vec<Interface>,
    pub(crate) routes: Vec<Route>,
    pub(crate) hosts: Vec<Endpoint>,
    pub(crate) dvr_mac: Option<MacAddr>,
    /// How many routes there have been.
    pub(crate) numbers: u32,
}

impl Topology {
    pub(crate) fn random(rng: &mut Rng) -> Self {
        let port = |n, mtu| PortInfo { mac: MacAddr([2, 0xaa, 0, 0, 0, n]), mtu };
        let ports = [
            port(0, *rng.pick(&[1500, 1500, 1400, 9000])),
            port(1, *rng.pick(&[1400, 1500, 1550, 1600])),
            port(2, *rng.pick(&[1500, 1300, 1280])),
        ];
        let mut t = Self {
            ports,
            bridges: 2 + rng.below(4),
            segments: Vec::new(),
            peers: Vec::new(),
            tells: Vec::new(),
            interfaces: Vec::new(),
            routes: Vec::new(),
            hosts: Vec::new(),
            dvr_mac: rng.chance(50).then_some(MacAddr([2, 0xdd, 0, 0, 0, 1])),
            numbers: 0,
        };
        t.add_segments(rng);
        for router in 0..1 + rng.below(3) {
            t.tells.push(rng.chance(90));
            t.add_interfaces(rng, router);
        }
        for interface in 0..t.interfaces.len() {
            t.add_hosts(rng, interface);
        }
        for router in 0..t.tells.len() {
            for text in ROUTES {
                if rng.chance(55) {
                    t.add_route(rng, router, prefix(text));
                }
            }
        }
        t
    }

    fn add_segments(&mut self, rng: &mut Rng) {
        for (vtep, &own) in VTEPS.iter().enumerate() {
            for n in 2..4u8 {
                let address = nth(Prefix::host(own), u128::from(n) - 1);
                self.peers.push(Remote { vtep, address, mac: MacAddr([2, 0xbb, 0, 0, vtep as u8, n]) });
            }
        }
        let untagged = rng.below(self.bridges);
        for bridge in 0..self.bridges {
            let n = bridge as u16;
            let mut ways = vec![Way::Vlan { port: PortId(0), vid: Some(100 + n) }];
            if bridge == untagged {
                ways.push(Way::Vlan { port: PortId(2), vid: None });
            } else if rng.chance(50) {
                ways.push(Way::Vlan { port: PortId(2), vid: Some(200 + n) });
            }
            if rng.chance(20) {
                ways.push(Way::Vlan { port: WAN, vid: Some(300 + n) });
            }
            if rng.chance(75) {
                ways.push(Way::Vxlan { vni: 10_000 + u32::from(n), vtep: rng.below(VTEPS.len()) });
            }
            self.segments.extend(ways.into_iter().map(|way| Seg { bridge, way }));
        }
    }

    fn add_interfaces(&mut self, rng: &mut Rng, router: usize) {
        let mut nets = rng.some(&NETS, NETS.len());
        let bridges: Vec<usize> = (0..self.bridges).collect();
        let count = 2 + rng.below(3);
        for bridge in rng.some(&bridges, count) {
            let mut addresses = Vec::new();
            for _ in 0..2 + rng.below(3) {
                let Some(net) = nets.pop().map(prefix) else { break };
                let first = u128::from(net.len < 31);
                let last = if net.address.is_ipv4() { size(net) - 1 - first } else { 1 };
                let own = nth(net, if rng.chance(70) { first } else { last });
                addresses.push(Prefix { address: own, len: net.len });
            }
            if rng.chance(15) {
                let alone = IpAddr::V4(Ipv4Addr::new(10, 77, router as u8, bridge as u8 + 1));
                addresses.push(Prefix::host(alone));
            }
            if addresses.is_empty() {
                continue;
            }
            let external = rng.chance(20);
            let mac = MacAddr([2, 0xee, 0, 0, 0, router as u8]);
            let mut interface = Interface {
                router: RouterIx(router as u16),
                bridge: BridgeId(bridge as u16),
                mac,
                addresses,
                mtu: u16::MAX,
                external,
                pass_without_nat: external && rng.chance(50),
                advertise: None,
            };
            interface.mtu = some_mtu(rng, &interface);
            self.interfaces.push(interface);
        }
    }

    fn add_hosts(&mut self, rng: &mut Rng, interface: usize) {
        let bridge = self.interfaces[interface].bridge.index();
        let nets = self.interfaces[interface].addresses.clone();
        for _ in 0..3 {
            let number = self.hosts.iter().filter(|host| host.bridge == bridge).count();
            let mac = MacAddr([2, 0x11, 0, 0, 0, number as u8]);
            let place = self.some_place(rng, bridge);
            let mut host = Endpoint { bridge, mac, addresses: Vec::new(), place };
            for own in &nets {
                let net = net_of(*own);
                let ends = u128::from(own.len < 31);
                let among = (size(net) - 2 * ends).min(9);
                let address = nth(net, ends + rng.below(among as usize) as u128);
                if self.is_free(bridge, address) {
                    host.addresses.push(address);
                }
            }
            self.hosts.push(host);
        }
    }

    /// Whether nobody on a bridge has an address, and no net of its interfaces means something else by it.
    pub(crate) fn is_free(&self, bridge: usize, address: IpAddr) -> bool {
        let owned = self.hosts.iter().any(|host| host.bridge == bridge && host.addresses.contains(&address));
        let here = self.interfaces.iter().filter(|i| i.bridge.index() == bridge);
        !owned && !here.flat_map(|i| &i.addresses).any(|own| own.address == address)
    }

    /// Any place of a bridge.
    pub(crate) fn some_place(&self, rng: &mut Rng, bridge: usize) -> Place {
        let here: Vec<usize> = (0..self.segments.len()).filter(|&s| self.segments[s].bridge == bridge).collect();
        let segment = *rng.pick(&here);
        let peer = match self.segments[segment].way {
            Way::Vlan { .. } => None,
            Way::Vxlan { vtep, .. } => {
                let there: Vec<usize> = (0..self.peers.len()).filter(|&p| self.peers[p].vtep == vtep).collect();
                Some(*rng.pick(&there))
            }
        };
        Place { segment, peer }
    }

    /// Gives a router a route, if it may have it and has it not.
    pub(crate) fn add_route(&mut self, rng: &mut Rng, router: usize, prefix: Prefix) -> bool {
        let own = |i: &&Interface| i.router.index() == router;
        let exact = |net: &Prefix| net_of(*net) == prefix || Prefix::host(net.address) == prefix;
        if self.interfaces.iter().filter(own).flat_map(|i| &i.addresses).any(exact)
            || self.routes.iter().any(|r| r.router == router && r.prefix == prefix)
        {
            return false;
        }
        let hops = self.hops(router, prefix.address.is_ipv4());
        let count = if rng.chance(20) { 0 } else { 1 + rng.below(4) };
        let via = rng.some(&hops, count);
        self.routes.push(Route { router, prefix, via, number: self.numbers });
        self.numbers += 1;
        true
    }

    /// All hosts that may be next hops of a router's routes.
    fn hops(&self, router: usize, v4: bool) -> Vec<(usize, IpAddr)> {
        let mut hops = Vec::new();
        for (ix, interface) in self.interfaces.iter().enumerate().filter(|(_, i)| i.router.index() == router) {
            let here = self.hosts.iter().filter(|host| host.bridge == interface.bridge.index());
            for &address in here.flat_map(|host| &host.addresses).filter(|a| a.is_ipv4() == v4) {
                let covered = interface.addresses.iter().any(|own| covers(*own, address));
                let own = self.interfaces.iter().filter(|i| i.router.index() == router);
                if covered && !own.flat_map(|i| &i.addresses).any(|own| own.address == address) {
                    hops.push((ix, address));
                }
            }
        }
        hops
    }

    /// The snapshot that says the same.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let secret = Secret::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]);
        let mut s = Snapshot::new(secret, &self.ports);
        s.generation = 1;
        for (n, &address) in VTEPS.iter().enumerate() {
            let there = self.peers.iter().filter(|peer| peer.vtep == n);
            let neighbours = there.map(|peer| (peer.address, peer.mac)).collect();
            let prefix_len = if address.is_ipv4() { 24 } else { 64 };
            let vtep = Vtep { port: WAN, address, prefix_len, gateways: vec![], neighbours };
            s.set_vtep(VtepIx(n as u16), Some(vtep));
        }
        for (n, peer) in self.peers.iter().enumerate() {
            let peer = Peer { vtep: VtepIx(peer.vtep as u16), encap: Encap::Vxlan, address: peer.address };
            s.set_peer(PeerIx(n as u32), Some(peer)).expect("room");
        }
        for bridge in 0..self.bridges {
            s.set_bridge(BridgeId(bridge as u16), Some(BridgeSettings::default()));
        }
        for (n, segment) in self.segments.iter().enumerate() {
            self.put_segment(&mut s, n, segment);
        }
        for router in 0..self.tells.len() {
            self.put_router(&mut s, router);
        }
        for interface in 0..self.interfaces.len() {
            self.put_interface(&mut s, interface);
        }
        self.hosts.iter().for_each(|host| put_host(&mut s, host));
        self.routes.iter().for_each(|route| put_route(&mut s, route));
        self.put_dvr_macs(&mut s);
        s
    }

    fn put_segment(&self, s: &mut Snapshot, n: usize, segment: &Seg) {
        let ix = SegmentIx(n as u32);
        let kind = match segment.way {
            Way::Vlan { port, vid } => {
                SegmentKind::Vlan { port, vid: vid.map(|vid| vid.try_into().expect("a legal VLAN")) }
            }
            Way::Vxlan { vni, vtep } => SegmentKind::Tunnel {
                encap: Encap::Vxlan,
                network: Vni::try_from(vni).expect("a legal VNI"),
                vtep: VtepIx(vtep as u16),
            },
        };
        let bridge = BridgeId(segment.bridge as u16);
        s.set_segment(ix, Some(Segment { bridge, kind, carry_tags: false, mesh: MeshId(0) })).expect("room");
        if let Way::Vxlan { vtep, .. } = segment.way {
            for peer in (0..self.peers.len()).filter(|&peer| self.peers[peer].vtep == vtep) {
                s.set_flood(ix, PeerIx(peer as u32), true);
            }
        }
    }

    pub(crate) fn put_router(&self, s: &mut Snapshot, router: usize) {
        let icmp_limit = if self.tells[router] { 1_000_000 } else { 0 };
        s.set_router(RouterIx(router as u16), Some(RouterSettings { mss_clamp: false, icmp_limit }));
    }

    pub(crate) fn put_interface(&self, s: &mut Snapshot, interface: usize) {
        let ix = InterfaceIx(interface as u32);
        s.set_interface(ix, Some(self.interfaces[interface].clone())).expect("room");
    }

    pub(crate) fn put_dvr_macs(&self, s: &mut Snapshot) {
        s.set_dvr_macs(self.dvr_mac, &[OTHER_GATEWAY]);
    }
}

/// Some limit that an interface may have.
pub(crate) fn some_mtu(rng: &mut Rng, interface: &Interface) -> u16 {
    let v6 = interface.addresses.iter().any(|own| own.address.is_ipv6());
    match rng.below(4) {
        0 if !v6 => *rng.pick(&[576, 577, 1000]),
        0 | 1 => *rng.pick(&[1280, 1281, 1400, 1450]),
        _ => u16::MAX,
    }
}

pub(crate) fn put_host(s: &mut Snapshot, host: &Endpoint) {
    let bridge = BridgeId(host.bridge as u16);
    let peer = host.place.peer.map(|peer| PeerIx(peer as u32));
    let at = Location { segment: SegmentIx(host.place.segment as u32), peer };
    s.set_endpoint(bridge, host.mac, Some(Host { at, addressed: true })).expect("room");
    for &address in &host.addresses {
        s.set_owner(bridge, address, Some(Some(host.mac))).expect("room");
    }
}

pub(crate) fn put_route(s: &mut Snapshot, route: &Route) {
    let ix = NextHopsIx(route.number);
    let hop = |&(interface, address): &(usize, IpAddr)| NextHop { interface: InterfaceIx(interface as u32), address };
    let hops: Vec<NextHop> = route.via.iter().map(hop).collect();
    s.set_next_hops(ix, (!hops.is_empty()).then_some(&hops[..]));
    let target = if hops.is_empty() { Target::Blackhole } else { Target::Via(ix) };
    s.set_route(RouterIx(route.router as u16), route.prefix, Some(target)).expect("room");
}
