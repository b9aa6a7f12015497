//! Guard: who may hold an address, and, with port security, whether a frame's sources are its sender's.
//!
//! On every bridge, an address that belongs to an endpoint is that endpoint's and those' whose allowed pairs cover it;
//! any other address is anybody's. With port security, each source MAC must be an endpoint's at its place, or one that
//! an allowed pair names, and each source address one that it may hold; of endpoints without addresses only the MAC is
//! checked. What cannot be checked is refused then: a third tag, extension headers without end, neighbour discovery in
//! fragments.
//! Read first: RFC 7039 §2, RFC 6980 §5, RFC 7113 §2 (evasion), RFC 4291 appendix A.

use super::DropReason;
use super::parse::Parsed;
use super::pipeline::Gateway;
use super::snoop;
use crate::Frame;
use crate::tables::{BridgeId, Place, Snapshot, mac_key};
use crate::wire::{
    DHCP_CLIENT_PORT, DHCP_SERVER_PORT, EtherType, Icmpv6Type, IpProtocol, Ipv4, Ipv6, Ipv6Header, MacAddr, link_local,
};
use core::net::IpAddr;

/// Messages that hosts without an address send (RFC 2710 §4, RFC 3810 §5.2.13): reports of the groups they are in.
const MLD_REPORT: Icmpv6Type = Icmpv6Type(131);
const MLD_DONE: Icmpv6Type = Icmpv6Type(132);
const MLD2_REPORT: Icmpv6Type = Icmpv6Type(143);
/// The last message of neighbour discovery (RFC 4861 §4.5); the others are before it.
const REDIRECT: u8 = 137;

/// By what right a MAC holds an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Title {
    /// It is its endpoint's.
    Own,
    /// An allowed pair covers it.
    Pair,
    /// It is nobody's, and its bridge lets anybody take those.
    Free,
    /// By none.
    None,
}

/// By what right `mac` may hold an address on a bridge.
pub(super) fn title(snapshot: &Snapshot, bridge: BridgeId, mac: MacAddr, address: IpAddr) -> Title {
    // A gateway's address is nobody else's, whatever pairs say.
    if let Some((_, interface)) = snapshot.interface_at(bridge, address) {
        return if interface.mac == mac { Title::Own } else { Title::None };
    }
    let owner = snapshot.owner(bridge, address);
    if owner == Some(Some(mac)) {
        return Title::Own;
    }
    if snapshot.guard(bridge, mac).is_some_and(|g| g.prefixes.iter().any(|p| p.contains(address))) {
        return Title::Pair;
    }
    if owner.is_some() {
        return Title::None;
    }
    let secure = snapshot.bridge(bridge).is_some_and(|b| b.settings.port_security);
    let unaddressed = || snapshot.endpoint_at(bridge, mac).is_some() && !snapshot.is_addressed(bridge, mac);
    if !secure || address == link_local(mac) || unaddressed() { Title::Free } else { Title::None }
}

impl<F: Frame> Gateway<F> {
    /// Whether a frame's source MAC, and the source address of an IP packet in it, are its sender's. `head` reaches as far
    /// as an IPv6 packet does.
    pub(super) fn guard(&self, snapshot: &Snapshot, head: &[u8], p: &Parsed) -> Result<(), DropReason> {
        let mac = MacAddr::from_bits(p.from);
        if !self.lives_at(snapshot, mac, p) {
            return Err(DropReason::Spoofed);
        }
        let at = usize::from(p.rest_at) + usize::from(p.inner.ip_at);
        let Some((before, packet)) = head.split_at_checked(at) else { return Err(DropReason::Truncated) };
        let ether_type = before.last_chunk().map(|bytes| EtherType(u16::from_be_bytes(*bytes)));
        if ether_type.is_none_or(EtherType::is_tag) {
            return Err(DropReason::Spoofed);
        }
        let len = (p.end as usize).saturating_sub(at);
        let holds = match p.inner.ip_version {
            4 => {
                let ip = Ipv4::parse_head(packet, len).map_err(|_| DropReason::MalformedIpv4)?;
                let behind = packet.get(ip.header_len()..).unwrap_or(&[]);
                is_dhcp_client(ip, behind) || may_send_from(snapshot, p.bridge, mac, ip.source().into())
            }
            6 => {
                let ip = Ipv6::parse_head(packet, len).map_err(|_| DropReason::MalformedIpv6)?;
                let behind = packet.get(Ipv6Header::LEN..ip.total_len().min(packet.len())).unwrap_or(&[]);
                let Ok(upper) = ip.upper(behind) else { return Err(DropReason::Spoofed) };
                let kind = behind.get(upper.offset).map(|kind| Icmpv6Type(*kind));
                let is_icmp = upper.protocol == IpProtocol::ICMPV6 && upper.is_first();
                if is_icmp && upper.fragment.is_some() && kind.is_none_or(is_neighbour_discovery) {
                    return Err(DropReason::Spoofed);
                }
                let from_nobody = ip.source().is_unspecified() && is_icmp && kind.is_some_and(is_of_no_address);
                from_nobody || may_send_from(snapshot, p.bridge, mac, ip.source().into())
            }
            _ => true,
        };
        if holds { Ok(()) } else { Err(DropReason::Spoofed) }
    }

    /// Whether a MAC is configured to be where a frame came from: its endpoint is there, or one whose allowed pair names it.
    pub(super) fn lives_at(&self, snapshot: &Snapshot, mac: MacAddr, p: &Parsed) -> bool {
        let key = mac_key(p.bridge, mac);
        if let Some(at) = snapshot.endpoint(snapshot.secret().hash(key), key)
            && self.is_at(snapshot, at, p)
        {
            return true;
        }
        let guard = snapshot.guard(p.bridge, mac);
        guard.is_some_and(|g| g.places.iter().any(|at| self.is_at(snapshot, Place::new(at.segment, at.peer), p)))
    }
}

/// Whether packets from an address may be in frames from that MAC.
fn may_send_from(snapshot: &Snapshot, bridge: BridgeId, mac: MacAddr, address: IpAddr) -> bool {
    let by_mac_only = snapshot.endpoint_at(bridge, mac).is_some() && !snapshot.is_addressed(bridge, mac);
    by_mac_only || snoop::is_a_hosts(address) && title(snapshot, bridge, mac, address) != Title::None
}

/// Whether a packet is from a host that has no address yet and asks a DHCP server for one.
fn is_dhcp_client(ip: Ipv4<'_>, behind: &[u8]) -> bool {
    let [a, b] = DHCP_CLIENT_PORT.to_be_bytes();
    let [c, d] = DHCP_SERVER_PORT.to_be_bytes();
    let is_udp = ip.protocol() == IpProtocol::UDP && !ip.fragment().is_fragment();
    ip.source().is_unspecified() && is_udp && behind.first_chunk() == Some(&[a, b, c, d])
}

/// Whether a host sends it that has no address yet.
fn is_of_no_address(kind: Icmpv6Type) -> bool {
    let asks = matches!(kind, Icmpv6Type::NEIGHBOUR_SOLICITATION | Icmpv6Type::ROUTER_SOLICITATION);
    asks || matches!(kind, MLD_REPORT | MLD_DONE | MLD2_REPORT)
}

fn is_neighbour_discovery(kind: Icmpv6Type) -> bool {
    (Icmpv6Type::ROUTER_SOLICITATION.0..=REDIRECT).contains(&kind.0)
}
