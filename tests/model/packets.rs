//! Random packets to gateways, and the frames that bring them: mostly right ones, with one oddity or none.

use crate::bytes::{checksum, checksum_with, fix, get16, octets, put16};
use crate::nets::{net_of, nth, prefix, size};
use crate::rng::Rng;
use crate::topology::{OTHER_GATEWAY, Place, ROUTES, Topology, VTEPS, WAN, Way};
use std::net::{IpAddr, Ipv6Addr};
use weir_pipelines::tables::PortId;
use weir_pipelines::wire::MacAddr;

/// Addresses that no host has, or none that packets are routed from or to.
const ODD: [&str; 21] = [
    "0.0.0.0",
    "0.1.2.3",
    "127.0.0.1",
    "127.200.0.9",
    "169.254.3.4",
    "224.0.0.1",
    "239.1.2.3",
    "240.0.0.1",
    "255.255.255.254",
    "255.255.255.255",
    "198.51.100.9",
    "223.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "febf::7",
    "ff02::1",
    "ff0e::5",
    "2001:db8:77::1",
    "fec0::1",
    "2001:db8::",
];

/// A packet that a host sends to a gateway, whenever that is and wherever both are by then.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packet {
    pub(crate) host: usize,
    pub(crate) interface: usize,
    pub(crate) ip: Vec<u8>,
    /// Bytes behind the packet.
    pub(crate) padding: Vec<u8>,
    /// The class on the outer header, if it comes in a tunnel.
    pub(crate) outer_class: u8,
    /// The bits of its tag beside the VLAN; on an untagged segment that is a priority tag.
    pub(crate) priority: Option<u8>,
    /// A tag of its own behind that: a priority tag, or a VLAN's.
    pub(crate) tag: Option<u16>,
    /// Bytes of the frame that arrive, if not all.
    pub(crate) cut: Option<usize>,
    /// A source MAC that is not the host's.
    pub(crate) from: Option<MacAddr>,
}

impl Packet {
    pub(crate) fn random(rng: &mut Rng, t: &Topology) -> Self {
        let interface = rng.below(t.interfaces.len());
        let bridge = t.interfaces[interface].bridge.index();
        let here: Vec<usize> = (0..t.hosts.len()).filter(|&h| t.hosts[h].bridge == bridge).collect();
        let host = *rng.pick(&here);
        let v4 = rng.chance(60);
        let (source, destination) = ends(rng, t, host, interface, v4);
        let mut ip = if v4 { v4_packet(rng, t, source, destination) } else { v6_packet(rng, t, source, destination) };
        if rng.chance(2) {
            spoil(rng, &mut ip);
        }
        let padding = if rng.chance(15) { 1 + rng.below(40) } else { 0 };
        Self {
            host,
            interface,
            outer_class: if rng.chance(60) { rng.below(256) as u8 } else { 0 },
            priority: rng.chance(15).then(|| rng.below(16) as u8),
            tag: rng.chance(6).then(|| *rng.pick(&[0, 0xa000, 0xe000, 0x0007])),
            cut: rng.chance(4).then(|| 1 + rng.below(80 + ip.len())),
            from: rng.chance(1).then(|| [OTHER_GATEWAY, MacAddr([1, 0, 0, 0, 0, 1])][rng.below(2)]),
            padding: (0..padding).map(|_| rng.next() as u8).collect(),
            ip,
        }
    }

    /// The frame within its tunnel, or without its VLAN's tag.
    pub(crate) fn inner(&self, t: &Topology) -> Vec<u8> {
        let from = self.from.unwrap_or(t.hosts[self.host].mac);
        let mut frame = [t.interfaces[self.interface].mac.0, from.0].concat();
        if let Some(tag) = self.tag {
            frame.extend([0x81, 0x00]);
            frame.extend(tag.to_be_bytes());
        }
        frame.extend(if self.ip[0] >> 4 == 4 { [0x08, 0x00] } else { [0x86, 0xdd] });
        frame.extend_from_slice(&self.ip);
        frame.extend_from_slice(&self.padding);
        frame
    }

    /// The frame as it arrives, and where.
    pub(crate) fn frame(&self, t: &Topology) -> (PortId, Vec<u8>) {
        let inner = self.inner(t);
        let (port, mut frame) =
            carried(t, t.hosts[self.host].place, inner, self.priority, self.tag.is_some(), self.outer_class);
        frame.truncate(self.cut.unwrap_or(usize::MAX));
        (port, frame)
    }
}

/// A frame as it comes from a place, and by which port. On an untagged segment it has a priority tag if it has a `priority`, or must have
/// one.
pub(crate) fn carried(
    t: &Topology,
    place: Place,
    mut inner: Vec<u8>,
    priority: Option<u8>,
    tagged: bool,
    class: u8,
) -> (PortId, Vec<u8>) {
    match t.segments[place.segment].way {
        Way::Vlan { port, vid } => {
            if vid.is_some() || priority.is_some() || tagged {
                let tci = (u16::from(priority.unwrap_or(0)) << 12 | vid.unwrap_or(0)).to_be_bytes();
                inner.splice(12..12, [0x81, 0x00, tci[0], tci[1]]);
            }
            (port, inner)
        }
        Way::Vxlan { vni, vtep } => {
            let peer = &t.peers[place.peer.expect("hosts in tunnels are behind peers")];
            let mac = t.ports[WAN.index()].mac;
            (WAN, wrap(peer.address, VTEPS[vtep], peer.mac, mac, vni, class, &inner))
        }
    }
}

/// A frame in VXLAN (RFC 7348).
fn wrap(from: IpAddr, to: IpAddr, from_mac: MacAddr, to_mac: MacAddr, vni: u32, class: u8, inner: &[u8]) -> Vec<u8> {
    let mut udp = vec![0xd0, 0x01, 0x12, 0xb5, 0, 0, 0, 0];
    put16(&mut udp, 4, 16 + inner.len() as u16);
    udp.extend([8, 0, 0, 0]);
    udp.extend((vni << 8).to_be_bytes());
    udp.extend_from_slice(inner);
    let mut frame = [to_mac.0, from_mac.0].concat();
    frame.extend(if from.is_ipv4() { [0x08, 0x00] } else { [0x86, 0xdd] });
    frame.extend(header(from, to, 17, class, 64, &udp));
    frame.extend(udp);
    frame
}

/// An IP header without options in front of `payload`.
pub(crate) fn header(from: IpAddr, to: IpAddr, protocol: u8, class: u8, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let mut ip = match from {
        IpAddr::V4(_) => vec![0x45, class, 0, 0, 0, 0, 0, 0, ttl, protocol, 0, 0],
        IpAddr::V6(_) => vec![0x60 | class >> 4, class << 4, 0, 0, 0, 0, protocol, ttl],
    };
    ip.extend(octets(from));
    ip.extend(octets(to));
    if from.is_ipv4() {
        put16(&mut ip, 2, 20 + payload.len() as u16);
        fix(&mut ip);
    } else {
        put16(&mut ip, 4, payload.len() as u16);
    }
    ip
}

/// The same packet to another gateway of the bridge, if there is one.
pub(crate) fn twin(rng: &mut Rng, t: &Topology, packet: &Packet) -> Option<Packet> {
    let bridge = t.interfaces[packet.interface].bridge;
    let others: Vec<usize> =
        (0..t.interfaces.len()).filter(|&i| i != packet.interface && t.interfaces[i].bridge == bridge).collect();
    (!others.is_empty()).then(|| Packet { interface: *rng.pick(&others), ..packet.clone() })
}

/// Whom a packet is from and to.
fn ends(rng: &mut Rng, t: &Topology, host: usize, interface: usize, v4: bool) -> (IpAddr, IpAddr) {
    let family = |a: &&IpAddr| a.is_ipv4() == v4;
    let router = t.interfaces[interface].router;
    let gateways: Vec<IpAddr> = t
        .interfaces
        .iter()
        .filter(|i| i.router == router)
        .flat_map(|i| {
            let link_local = crate::model::link_local(i.mac);
            i.addresses.iter().map(|own| own.address).chain([link_local])
        })
        .filter(|a| family(&a))
        .collect();
    let own: Vec<IpAddr> = t.hosts[host].addresses.iter().filter(family).copied().collect();
    let all: Vec<IpAddr> = t.hosts.iter().flat_map(|h| &h.addresses).filter(family).copied().collect();
    let odd: Vec<IpAddr> = ODD.iter().map(|text| text.parse().expect("legal")).filter(|a| family(&a)).collect();
    let nets: Vec<_> = t.interfaces.iter().flat_map(|i| &i.addresses).filter(|own| family(&&own.address)).collect();
    let fallback = odd[odd.len() - 3];
    let one = |rng: &mut Rng, of: &[IpAddr]| if of.is_empty() { fallback } else { *rng.pick(of) };
    let edge = |rng: &mut Rng| match nets.is_empty() {
        true => fallback,
        false => {
            let net = net_of(**rng.pick(&nets));
            nth(net, if rng.chance(70) { size(net) - 1 } else { 0 })
        }
    };
    let source = match rng.below(100) {
        0..4 => one(rng, &odd),
        4..6 => edge(rng),
        6..8 => one(rng, &gateways),
        8..12 => one(rng, &all),
        _ => one(rng, &own),
    };
    let destination = match rng.below(100) {
        0..6 => one(rng, &odd),
        6..9 => edge(rng),
        9..24 => one(rng, &gateways),
        24..45 => {
            let route = prefix(ROUTES[rng.below(ROUTES.len())]);
            let more = rng.below(if route.len > 100 || route.address.is_ipv4() && route.len == 32 { 1 } else { 90 });
            if route.address.is_ipv4() == v4 { nth(route, more as u128) } else { one(rng, &all) }
        }
        _ => one(rng, &all),
    };
    (source, destination)
}

/// What a packet carries: its protocol, and the message with a right checksum.
fn message(rng: &mut Rng, source: IpAddr, destination: IpAddr, len: usize) -> (u8, Vec<u8>) {
    let v4 = source.is_ipv4();
    let payload: Vec<u8> = (0..len).map(|_| rng.next() as u8).collect();
    let port = |rng: &mut Rng| 1024 + rng.below(3000) as u16;
    let icmp = if v4 { 1 } else { 58 };
    let (protocol, mut message, at) = match rng.below(10) {
        0..4 => {
            let mut udp = [port(rng).to_be_bytes(), port(rng).to_be_bytes()].concat();
            udp.extend((8 + len as u16).to_be_bytes());
            udp.extend([0, 0]);
            (17, udp, 6)
        }
        4 | 5 => {
            let mut tcp = [port(rng).to_be_bytes(), port(rng).to_be_bytes()].concat();
            tcp.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 0x10, 0, 0, 0, 0, 0]);
            (6, tcp, 16)
        }
        6..8 => (icmp, vec![if v4 { 8 } else { 128 }, 0, 0, 0, 0x12, 0x34, 0, rng.below(9) as u8], 2),
        8 => {
            let kind = if v4 { *rng.pick(&[0, 3, 5, 11, 12]) } else { *rng.pick(&[1, 2, 3, 4, 129]) };
            (icmp, vec![kind, 0, 0, 0, 0, 0, 0, 0], 2)
        }
        _ => (*rng.pick(&[47, 132, 112, 253]), vec![0; 8], usize::MAX),
    };
    message.extend(payload);
    if at < message.len() {
        let sum = if icmp == 1 && protocol == 1 {
            checksum(&message)
        } else {
            checksum_with(source, destination, protocol, &message)
        };
        put16(&mut message, at, sum);
    }
    (protocol, message)
}

/// A length of a packet that may be around a limit.
fn some_len(rng: &mut Rng, t: &Topology) -> usize {
    if rng.chance(60) {
        return 60 + rng.below(200);
    }
    let mut limits = vec![576, 1280, 4000];
    for port in &t.ports {
        limits.extend([port.mtu, port.mtu - 50, port.mtu - 70].map(usize::from));
    }
    limits.extend(t.interfaces.iter().filter(|i| i.mtu < u16::MAX).map(|i| usize::from(i.mtu)));
    rng.pick(&limits) + rng.below(12) - 4
}

fn v4_packet(rng: &mut Rng, t: &Topology, source: IpAddr, destination: IpAddr) -> Vec<u8> {
    let options = if rng.chance(14) { options(rng) } else { vec![] };
    let len = some_len(rng, t).saturating_sub(40 + options.len());
    let (protocol, message) = message(rng, source, destination, len);
    let class = if rng.chance(40) { rng.below(256) as u8 } else { 0 };
    let ttl = *rng.pick(&[0, 1, 1, 2, 64, 64, 64, 64, 64, 255]);
    let mut ip = header(source, destination, protocol, class, ttl, &message);
    ip.extend(&options);
    ip[0] += (options.len() / 4) as u8;
    ip.extend(message);
    let total = ip.len() as u16;
    put16(&mut ip, 2, total);
    put16(&mut ip, 4, rng.next() as u16);
    let fragment = match rng.below(10) {
        0 => 0x2000,
        1 => rng.below(300) as u16 | *rng.pick(&[0, 0x2000]),
        _ => 0,
    };
    let dont = if rng.chance(40) { 0x4000 } else { 0 };
    put16(&mut ip, 6, fragment | dont);
    fix(&mut ip);
    if rng.chance(8) {
        // The identification that makes the checksum, or the next router's, 0 or nearly so.
        let id = u32::from(get16(&ip, 4)) + u32::from(get16(&ip, 10)) + rng.below(3) as u32 * 0x100;
        put16(&mut ip, 4, ((id & 0xffff) + (id >> 16)) as u16);
        fix(&mut ip);
    }
    if rng.chance(3) {
        ip[10] ^= 1 << rng.below(8);
    }
    ip
}

/// Options of an IPv4 header, padded (RFC 791 §3.1).
fn options(rng: &mut Rng) -> Vec<u8> {
    let all: [&[u8]; 8] = [
        &[1],
        &[148, 4, 0, 0],
        &[7, 7, 4, 0, 0, 0, 0],
        &[68, 8, 5, 0, 0, 0, 0, 0],
        &[130, 11, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        &[131, 7, 4, 10, 0, 0, 1],
        &[137, 7, 4, 10, 0, 0, 1],
        &[0, 131, 7, 4],
    ];
    let count = 1 + rng.below(3);
    let mut options = rng.some(&all, count).concat();
    options.resize(options.len().next_multiple_of(4), 0);
    options
}

fn v6_packet(rng: &mut Rng, t: &Topology, source: IpAddr, destination: IpAddr) -> Vec<u8> {
    let len = some_len(rng, t);
    let (protocol, message) = message(rng, source, destination, len - 60);
    let class = if rng.chance(40) { rng.below(256) as u8 } else { 0 };
    let ttl = *rng.pick(&[0, 1, 1, 2, 64, 64, 64, 64, 64, 255]);
    let mut chain: Vec<(u8, Vec<u8>)> = Vec::new();
    if rng.chance(8) {
        chain.push((0, vec![0, 0, 1, 4, 0, 0, 0, 0]));
    }
    if rng.chance(6) {
        chain.push((60, vec![0, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
    }
    if rng.chance(6) {
        let mut routing = vec![0, 2, *rng.pick(&[0, 2, 4]), rng.below(2) as u8, 0, 0, 0, 0];
        routing.extend(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 5).octets());
        chain.push((43, routing));
    }
    if rng.chance(12) {
        let bits = if rng.chance(50) { 1 } else { (rng.below(200) as u16) << 3 | rng.below(2) as u16 };
        let mut fragment = vec![0, 0, 0, 0, 0, 0, 0, 7];
        put16(&mut fragment, 2, bits);
        chain.push((44, fragment));
    }
    if rng.chance(10) {
        chain = rng.some(&chain, 4);
    }
    let mut kind = protocol;
    let mut payload = message;
    for (own, mut bytes) in chain.into_iter().rev() {
        bytes[0] = kind;
        kind = own;
        payload.splice(0..0, bytes);
    }
    let mut ip = header(source, destination, kind, class, ttl, &payload);
    ip[1] |= rng.below(16) as u8;
    ip.extend(payload);
    ip
}

/// Makes a header lie about itself.
fn spoil(rng: &mut Rng, ip: &mut [u8]) {
    let v4 = ip[0] >> 4 == 4;
    match rng.below(3) {
        0 if v4 => ip[0] = 0x40 | rng.below(5) as u8,
        1 if v4 => put16(ip, 2, rng.below(20) as u16),
        _ => {
            let at = if v4 { 2 } else { 4 };
            let longer = get16(ip, at) + 41 + rng.below(100) as u16;
            put16(ip, at, longer);
        }
    }
    if v4 && ip[0] & 0xf >= 5 {
        fix(ip);
    }
}
