//! Summary: a frame in a line, from the outside in.

use std::fmt::Write as _;
use weir_pipelines::wire::{
    Arp, ArpOperation, EtherType, GENEVE_PORT, Geneve, IpProtocol, Ipv4, Ipv6, MacAddr, Nvgre, Tag, Udp, VXLAN_PORT,
    Vxlan,
};

/// What a frame is: its MACs, tags, addresses, and what is in it if it is a tunnel's.
pub(super) fn frame(bytes: &[u8]) -> String {
    let mut line = String::new();
    ethernet(&mut line, bytes, true);
    line
}

/// Adds a frame. Writing to a string cannot fail.
fn ethernet(line: &mut String, bytes: &[u8], outermost: bool) {
    let Some((head, mut rest)) = bytes.split_first_chunk::<14>() else {
        let _ = write!(line, "{} bytes", bytes.len());
        return;
    };
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = *head;
    let (to, from) = (MacAddr([d0, d1, d2, d3, d4, d5]), MacAddr([s0, s1, s2, s3, s4, s5]));
    let _ = write!(line, "{from} > {to}");
    let mut ether_type = EtherType(u16::from_be_bytes([t0, t1]));
    while ether_type.is_tag() {
        let Ok((tag, next, behind)) = Tag::parse(ether_type, rest) else { return };
        let _ = write!(line, " vlan {}", tag.vid());
        (ether_type, rest) = (next, behind);
    }
    match ether_type {
        EtherType::IPV4 => ipv4(line, rest, outermost),
        EtherType::IPV6 => ipv6(line, rest, outermost),
        EtherType::ARP => arp(line, rest),
        other => {
            let _ = write!(line, " type {other}");
        }
    }
}

fn arp(line: &mut String, message: &[u8]) {
    let Ok((arp, _)) = Arp::parse(message) else { return };
    let message = arp.header();
    let _ = match message.operation {
        ArpOperation::REQUEST => write!(line, " arp: who has {}, asks {}", message.target_ip, message.sender_ip),
        ArpOperation::REPLY => write!(line, " arp: {} is at {}", message.sender_ip, message.sender_mac),
        other => write!(line, " arp: operation {}", other.0),
    };
}

fn ipv4(line: &mut String, packet: &[u8], outermost: bool) {
    let Ok(ip) = Ipv4::parse_head(packet, usize::MAX) else { return };
    let _ = write!(line, " {} > {} ttl {}", ip.source(), ip.destination(), ip.ttl());
    let fragment = ip.fragment();
    if fragment.is_fragment() {
        let _ = write!(line, " fragment at {}", fragment.offset());
    }
    if fragment.is_first() {
        upper(line, ip.protocol(), packet.get(ip.header_len()..).unwrap_or(&[]), outermost);
    }
}

fn ipv6(line: &mut String, packet: &[u8], outermost: bool) {
    let Ok(ip) = Ipv6::parse_head(packet, usize::MAX) else { return };
    let _ = write!(line, " {} > {} hop limit {}", ip.source(), ip.destination(), ip.hop_limit());
    let behind = packet.get(40..).unwrap_or(&[]);
    if let Ok(found) = ip.upper(behind) {
        upper(line, found.protocol, behind.get(found.offset..).unwrap_or(&[]), outermost);
    }
}

fn upper(line: &mut String, protocol: IpProtocol, bytes: &[u8], outermost: bool) {
    let ports =
        bytes.first_chunk::<4>().map(|[a, b, c, d]| (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])));
    let kind = bytes.first().copied().unwrap_or_default();
    match (protocol, ports) {
        (IpProtocol::UDP, _) if outermost && tunnel(line, bytes) => {}
        (IpProtocol::GRE, _) if outermost && Nvgre::parse(bytes).is_ok() => {
            if let Ok((nvgre, inner)) = Nvgre::parse(bytes) {
                let _ = write!(line, " nvgre {}: ", nvgre.vsid_bits());
                ethernet(line, inner, false);
            }
        }
        (IpProtocol::UDP, Some((from, to))) => {
            let _ = write!(line, " udp {from} > {to}");
        }
        (IpProtocol::TCP, Some((from, to))) => {
            let _ = write!(line, " tcp {from} > {to}");
        }
        (IpProtocol::ICMP, _) => {
            let _ = write!(line, " icmp {}", icmp(kind));
        }
        (IpProtocol::ICMPV6, _) => {
            let _ = write!(line, " icmpv6 {}", icmpv6(kind));
        }
        (other, _) => {
            let _ = write!(line, " protocol {}", other.0);
        }
    }
}

/// Adds what is in a tunnel over UDP; false if it is none.
fn tunnel(line: &mut String, bytes: &[u8]) -> bool {
    let Ok(udp) = Udp::parse_head(bytes, usize::MAX) else { return false };
    let payload = bytes.get(8..).unwrap_or(&[]);
    let (word, network, inner) = match udp.destination() {
        VXLAN_PORT => match Vxlan::parse(payload) {
            Ok((vxlan, inner)) => ("vxlan", vxlan.vni(), inner),
            Err(_) => return false,
        },
        GENEVE_PORT => match Geneve::parse(payload) {
            Ok((geneve, inner)) => ("geneve", geneve.vni(), inner),
            Err(_) => return false,
        },
        _ => return false,
    };
    let _ = write!(line, " {word} {network}: ");
    ethernet(line, inner, false);
    true
}

fn icmp(kind: u8) -> String {
    match kind {
        0 => "echo reply".to_owned(),
        3 => "unreachable".to_owned(),
        8 => "echo request".to_owned(),
        11 => "time exceeded".to_owned(),
        other => format!("type {other}"),
    }
}

fn icmpv6(kind: u8) -> String {
    match kind {
        1 => "unreachable".to_owned(),
        2 => "packet too big".to_owned(),
        3 => "time exceeded".to_owned(),
        128 => "echo request".to_owned(),
        129 => "echo reply".to_owned(),
        133 => "router solicitation".to_owned(),
        134 => "router advertisement".to_owned(),
        135 => "neighbour solicitation".to_owned(),
        136 => "neighbour advertisement".to_owned(),
        other => format!("type {other}"),
    }
}
