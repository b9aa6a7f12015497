//! What must become of a packet that a host sends to a gateway: RFC 1812 §4.2.2, §4.3 and §5.2 to §5.3, RFC 8200, RFC 4443 §2.4 and
//! RFC 6040 §4.2 read plainly, over the lists of [`crate::topology`].
//!
//! Where an RFC leaves the order of two checks open, or which next hop of equal cost is taken, there are several answers, and the
//! gateway may give any of them. Where the model has no answer, it says so, and the packet is not sent.

use crate::bytes::{checksum, checksum_with, fix, get16, put16};
use crate::facts::Facts;
use crate::nets::{covers, net_of, nth, size};
use crate::packets::Packet;
use crate::topology::{OTHER_GATEWAY, Place, Topology, Way};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use weir_pipelines::gateway::DropReason as Reason;
use weir_pipelines::tables::{Interface, Prefix};
use weir_pipelines::wire::MacAddr;

/// A next hop: by which interface, and its address.
pub(crate) type Hop = (usize, IpAddr);
/// Which next hop a flow took.
pub(crate) type Flows = HashMap<Flow, Hop>;
/// Router, number of the route, what makes a flow.
pub(crate) type Flow = (usize, u32, Vec<u8>);

/// One answer to a packet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Want {
    /// The one of which it is dropped; empty if it is not.
    pub(crate) reasons: Vec<Reason>,
    /// What leaves.
    pub(crate) sending: Option<Sending>,
    /// The next hop, of several, that this is by.
    pub(crate) by: Option<(Flow, Hop)>,
}

/// What leaves, where and by whose MACs.
#[derive(Clone, Debug)]
pub(crate) struct Sending {
    pub(crate) place: Place,
    pub(crate) to: MacAddr,
    pub(crate) from: MacAddr,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    /// These bytes.
    Packet(Vec<u8>),
    /// This IPv4 packet, in fragments of at most so many bytes.
    Pieces(Vec<u8>, usize),
    /// An ICMP error: type and code, the word behind the checksum, and either of these as what it quotes.
    Error { from: IpAddr, to: IpAddr, kind: (u8, u8), word: u32, quotes: [Vec<u8>; 2] },
    /// An ICMP message that answers.
    Reply { from: IpAddr, to: IpAddr, message: Vec<u8> },
}

/// Lengths or versions that lie, wherever the gateway notices first.
const MALFORMED: [Reason; 4] = [Reason::Truncated, Reason::MalformedIpv4, Reason::MalformedIpv6, Reason::MalformedUdp];

fn dropped(reasons: &[Reason]) -> Want {
    Want { reasons: reasons.to_vec(), ..Want::default() }
}

/// The link-local address that is made of a MAC (RFC 4291 appendix A).
pub(crate) fn link_local(mac: MacAddr) -> IpAddr {
    let m = mac.0;
    let id = [m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]];
    let mut all = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    all[8..].copy_from_slice(&id);
    IpAddr::V6(Ipv6Addr::from(all))
}

/// The largest packet that a place takes behind what is put around it.
pub(crate) fn room(t: &Topology, place: Place) -> usize {
    match t.segments[place.segment].way {
        Way::Vlan { port, .. } => t.ports[port.index()].mtu.into(),
        // Outer addresses, UDP, VXLAN, and the inner Ethernet header.
        Way::Vxlan { vtep: 0, .. } => usize::from(t.ports[1].mtu) - 20 - 8 - 8 - 14,
        Way::Vxlan { .. } => usize::from(t.ports[1].mtu) - 40 - 8 - 8 - 14,
    }
}

/// Whose source MAC routed frames to a place have.
fn gateway_mac(t: &Topology, interface: &Interface, place: Place) -> MacAddr {
    match t.segments[place.segment].way {
        Way::Vlan { .. } => interface.mac,
        Way::Vxlan { .. } => t.dvr_mac.unwrap_or(t.ports[0].mac),
    }
}

/// A packet at a gateway, on the way to an answer.
pub(crate) struct Case<'a> {
    t: &'a Topology,
    packet: &'a Packet,
    interface: &'a Interface,
    place: Place,
    flows: &'a Flows,
    f: Facts,
}

/// The answers of which the gateway must give one, or `None` if the model has none.
pub(crate) fn judge(t: &Topology, packet: &Packet, flows: &Flows) -> Option<Vec<Want>> {
    let place = t.hosts[packet.host].place;
    let tunnel = place.peer.is_some();
    let odd_source = match packet.from {
        Some(OTHER_GATEWAY) if tunnel => return None,
        other => other.is_some(),
    };
    let (_, frame) = packet.frame(t);
    let (_, whole) = Packet { cut: None, ..packet.clone() }.frame(t);
    let needed = if tunnel { whole.len() } else { whole.len() - packet.padding.len() };
    let mut reasons = Vec::new();
    if frame.len() < needed {
        reasons.extend(MALFORMED);
    }
    if odd_source {
        reasons.push(Reason::SourceMac);
    }
    if packet.tag.is_some_and(|tag| tag & 0xfff != 0 || tunnel) {
        reasons.push(Reason::InnerTag);
    }
    let class = if tunnel { packet.outer_class } else { 0 };
    match Facts::read(&packet.ip, packet.ip.len() + packet.padding.len(), class) {
        Err(more) => reasons.extend(more),
        Ok(f) if reasons.is_empty() => {
            return Case::new(t, packet, flows, f).route();
        }
        Ok(_) => {}
    }
    Some(vec![dropped(&reasons)])
}

impl<'a> Case<'a> {
    pub(crate) fn new(t: &'a Topology, packet: &'a Packet, flows: &'a Flows, f: Facts) -> Self {
        let (interface, place) = (&t.interfaces[packet.interface], t.hosts[packet.host].place);
        Self { t, packet, interface, place, flows, f }
    }

    /// The router's interfaces.
    fn interfaces(&self) -> impl Iterator<Item = (usize, &Interface)> {
        self.t.interfaces.iter().enumerate().filter(|(_, i)| i.router == self.interface.router)
    }

    /// Whether an address is the router's own; of link-local ones, that of the interface alone is.
    fn is_own(&self, address: IpAddr) -> bool {
        let here = link_local(self.interface.mac) == address;
        here || self.interfaces().any(|(_, i)| i.addresses.iter().any(|own| own.address == address))
    }

    /// Whether an address means all of one of the router's nets.
    fn is_directed_broadcast(&self, address: IpAddr) -> bool {
        let mut nets = self.interfaces().flat_map(|(_, i)| &i.addresses).map(|own| net_of(*own));
        nets.any(|net| {
            address.is_ipv4()
                && net.address.is_ipv4()
                && net.len < 31
                && (address == net.address || address == nth(net, size(net) - 1))
        })
    }

    fn route(self) -> Option<Vec<Want>> {
        let (source, destination) = (self.f.source, self.f.destination);
        let mut early = self.f.early.clone();
        if !is_host(source)
            || !is_host(destination)
            || self.is_own(source)
            || self.is_directed_broadcast(source)
            || self.is_directed_broadcast(destination) && !self.is_own(destination)
        {
            early.push(Reason::Martian);
        }
        let local = self.is_own(destination);
        if !local && is_link_local(source) | is_link_local(destination) {
            early.push(Reason::Martian);
        }
        if early.is_empty() {
            return if local { self.deliver() } else { self.forward() };
        }
        let mut wants = vec![dropped(&early)];
        if early == [Reason::Martian] && self.is_behind_a_longer_route() {
            wants.extend(if local { self.deliver()? } else { self.forward()? });
        }
        Some(wants)
    }

    /// Whether a packet is martian for no other reason than an address that means all of a net, of which a longer route says that this
    /// part of it is elsewhere: there it may be a host's (RFC 1812 §5.3.5.2).
    fn is_behind_a_longer_route(&self) -> bool {
        let ends = [self.f.source, self.f.destination];
        let net_here = |to| self.longest(to).is_some_and(|(_, by)| by.is_ok());
        let near = |own: &Prefix| covers(*own, self.f.source);
        ends.iter()
            .all(|&end| is_host(end) && !is_link_local(end) && !(self.is_directed_broadcast(end) && net_here(end)))
            && !self.is_own(self.f.source)
            && !(self.is_directed_broadcast(self.f.source) && self.interface.addresses.iter().any(near))
    }

    /// An ICMP error about the packet and a drop; the drop alone, if there must be none about it.
    pub(crate) fn told(&self, reason: Reason, v4: (u8, u8), v6: (u8, u8), word: u32) -> Want {
        let mut want = dropped(&[reason]);
        let f = &self.f;
        if !self.t.tells[self.interface.router.index()] || f.is_icmp_error || f.is_later_fragment {
            return want;
        }
        // RFC 4443 §2.2: what is sent to the router is answered by the address that it was sent to.
        let source = match reason {
            Reason::PortUnreachable if !f.v4 => Some(f.destination),
            _ => self.address_towards(f.source),
        };
        let room = if f.v4 { 576 - 28 } else { 1280 - 48 };
        // RFC 1812 §4.3.2.3: what the way here has changed may, and need not, be undone.
        let quotes = [&f.ip, &f.unmarked].map(|ip| ip[..ip.len().min(room)].to_vec());
        let kind = if f.v4 { v4 } else { v6 };
        want.sending = source.map(|from| self.back(What::Error { from, to: f.source, kind, word, quotes }));
        want
    }

    /// The address by which the interface speaks to a host: of its net, else the first of its family.
    fn address_towards(&self, to: IpAddr) -> Option<IpAddr> {
        let own = &self.interface.addresses;
        let near = own.iter().find(|own| covers(**own, to));
        let first = own.iter().find(|own| own.address.is_ipv4() == to.is_ipv4());
        let link_local = link_local(self.interface.mac);
        near.or(first).map(|own| own.address).or(to.is_ipv6().then_some(link_local))
    }

    /// Back to where the packet came from.
    fn back(&self, what: What) -> Sending {
        let to = self.t.hosts[self.packet.host].mac;
        Sending { place: self.place, to, from: gateway_mac(self.t, self.interface, self.place), what }
    }

    /// To the router itself (RFC 1812 §4.2.2.9: whatever its TTL).
    fn deliver(self) -> Option<Vec<Want>> {
        let f = &self.f;
        let mut wants = Vec::new();
        if is_link_local(f.source) && !is_link_local(f.destination) {
            wants.push(dropped(&[Reason::Martian]));
        }
        let elsewhere = !self.interface.addresses.iter().any(|own| own.address == f.destination);
        if elsewhere && f.destination != link_local(self.interface.mac) {
            wants.extend(self.prohibited(
                self.interfaces().find(|(_, i)| i.addresses.iter().any(|own| own.address == f.destination))?.0,
            ));
        }
        // A gateway may decline to look behind options and extension headers at what is sent to it.
        let plain = if f.v4 { 20 } else { 40 };
        let unread = (f.message != plain).then(|| dropped(&[Reason::NotForUs]));
        let message = &f.ip[f.message..];
        if f.is_fragment {
            // Nothing is put together here: what is counted is not the model's.
            wants.push(dropped(Reason::ALL));
        } else if (f.v4 && f.protocol == 1) || (!f.v4 && f.protocol == 58) {
            let echo = if f.v4 { 8 } else { 128 };
            if message[0] != echo {
                wants.push(dropped(Reason::ALL));
            } else if f.ip.len() > room(self.t, self.place).min(self.interface.mtu.into()) {
                return None;
            } else {
                wants.push(Want { sending: Some(self.reply(message)), ..Want::default() });
                wants.extend(unread);
            }
        } else if f.protocol == 6 || f.protocol == 17 {
            wants.push(self.told(Reason::PortUnreachable, (3, 3), (1, 4), 0));
            wants.extend(unread.filter(|_| !f.v4));
        } else {
            let word = if f.v4 { 0 } else { f.protocol_at as u32 };
            wants.push(self.told(Reason::PortUnreachable, (3, 2), (4, 1), word));
            wants.extend(unread.filter(|_| !f.v4));
        }
        Some(wants)
    }

    fn reply(&self, request: &[u8]) -> Sending {
        let (from, to) = (self.f.destination, self.f.source);
        let mut message = request.to_vec();
        message[0] = if self.f.v4 { 0 } else { 129 };
        put16(&mut message, 2, 0);
        let sum = if self.f.v4 { checksum(&message) } else { checksum_with(from, to, 58, &message) };
        put16(&mut message, 2, sum);
        self.back(What::Reply { from, to, message })
    }

    /// What NAT would have to let through between two interfaces.
    fn prohibited(&self, out: usize) -> Option<Want> {
        let closed = |i: &Interface| i.external && !i.pass_without_nat;
        let out = &self.t.interfaces[out];
        (closed(self.interface) || closed(out)).then(|| self.told(Reason::Prohibited, (3, 13), (1, 1), 0))
    }

    /// On to another host (RFC 1812 §5.2.1.2; the checks before the TTL's may be made in any order).
    fn forward(self) -> Option<Vec<Want>> {
        let mut wants = Vec::new();
        if self.f.ttl <= 1 {
            wants.push(self.told(Reason::TtlExceeded, (11, 0), (3, 0), 0));
        }
        match self.longest(self.f.destination) {
            None => wants.push(self.told(Reason::Unroutable, (3, 0), (1, 0), 0)),
            Some((_, Ok(interface))) => wants.extend(self.by((interface, self.f.destination), &wants)?),
            Some((_, Err(route))) if route.via.is_empty() => wants.push(dropped(&[Reason::Blackhole])),
            Some((_, Err(route))) => {
                let key = (route.router, route.number, self.f.flow());
                let known = self.flows.get(&key).filter(|hop| route.via.contains(hop));
                let before = wants.clone();
                for &hop in route.via.iter().filter(|hop| known.is_none_or(|known| known == *hop)) {
                    let more = self.by(hop, &before)?;
                    wants.extend(more.into_iter().map(|want| Want { by: Some((key.clone(), hop)), ..want }));
                }
            }
        }
        Some(wants)
    }

    /// The route with the longest prefix: to a net of an interface, or a configured one.
    fn longest(&self, to: IpAddr) -> Option<(u8, Result<usize, &crate::topology::Route>)> {
        let nets = self.interfaces().flat_map(|(ix, i)| i.addresses.iter().map(move |own| (*own, ix)));
        let nets = nets.filter(|(own, _)| covers(*own, to) && !own.is_host()).map(|(own, ix)| (own.len, Ok(ix)));
        let of_router = |r: &&crate::topology::Route| r.router == self.interface.router.index() && covers(r.prefix, to);
        let routes = self.t.routes.iter().filter(of_router).map(|r| (r.prefix.len, Err(r)));
        nets.chain(routes).max_by_key(|(len, _)| *len)
    }

    /// What becomes of it by one next hop, if nothing came `before`.
    fn by(&self, (out, address): Hop, before: &[Want]) -> Option<Vec<Want>> {
        let mut wants: Vec<Want> = self.prohibited(out).into_iter().collect();
        let interface = &self.t.interfaces[out];
        let hairpin = std::ptr::eq(interface, self.interface);
        if !before.is_empty() || (!wants.is_empty() && !hairpin) {
            return Some(wants);
        }
        let bridge = interface.bridge.index();
        let owner = self.t.hosts.iter().find(|host| host.bridge == bridge && host.addresses.contains(&address))?;
        let mtu = room(self.t, owner.place).min(interface.mtu.into());
        let mut ip = self.f.ip.clone();
        ip[if self.f.v4 { 8 } else { 7 }] -= 1;
        if self.f.v4 {
            fix(&mut ip);
        }
        let what = if ip.len() <= mtu {
            What::Packet(ip)
        } else if self.f.v4 && get16(&ip, 6) & 0x4000 == 0 {
            What::Pieces(ip, mtu)
        } else {
            wants.push(self.told(Reason::FragmentationNeeded, (3, 4), (2, 0), mtu as u32));
            return Some(wants);
        };
        let from = gateway_mac(self.t, interface, owner.place);
        let sending = Some(Sending { place: owner.place, to: owner.mac, from, what });
        wants.push(Want { sending, ..Want::default() });
        Some(wants)
    }
}

fn in_net(address: IpAddr, net: &str) -> bool {
    covers(crate::nets::prefix(net), address)
}

/// Whether an address can be a host's (RFC 1812 §4.2.2.11 and §5.3.7, RFC 4291 §2.4 to §2.7).
fn is_host(address: IpAddr) -> bool {
    let none = ["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "::/128", "::1/128", "ff00::/8"];
    !none.iter().any(|net| in_net(address, net))
}

fn is_link_local(address: IpAddr) -> bool {
    in_net(address, "169.254.0.0/16") || in_net(address, "fe80::/10")
}
