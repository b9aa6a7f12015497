//! Craft: the frame that is asked about, as it comes in by a port.
//!
//! Owns: what follows from an endpoint (its MAC, its address, its gateway, the tag or tunnel around its frames), defaults, and
//! ranges. Checksums are right, so that nothing but what was asked for is wrong with the frame.

use super::super::batch::fault;
use super::super::configuration::Configuration;
use super::super::translate::mac_addr;
use std::net::{IpAddr, Ipv4Addr};
use weir_api::id::{Location, Mac, Name};
use weir_api::message::{Error, code};
use weir_api::trace::{self, Fields, FrameSpec, Proto, Trace};
use weir_pipelines::gateway;
use weir_pipelines::tables::{BridgeId, PortId};
use weir_pipelines::wire::checksum::Sum;
use weir_pipelines::wire::{
    ArpHeader, EtherType, EthernetHeader, Fragment, IcmpType, Icmpv6Type, IpProtocol, Ipv4Header, Ipv6Header, MacAddr,
    Tag, TrafficClass,
};

/// The longest IP packet that is made, bytes.
const LONGEST: u16 = 16_000;

/// Who sends the frame, where an endpoint does.
struct Sender<'a> {
    bridge: &'a Name,
    number: BridgeId,
    mac: Mac,
    location: &'a Location,
    ips: &'a [IpAddr],
}

/// The frame that a trace is about, and by which port it comes in. `owner` says who was learned to have an address.
///
/// # Errors
/// As [`super::answer`].
pub(super) fn arriving(
    configuration: &Configuration,
    wanted: &Trace,
    owner: impl FnOnce(BridgeId, IpAddr) -> Result<Option<MacAddr>, Error>,
) -> Result<(PortId, Vec<u8>), Error> {
    let sender = match wanted.at.split_once('/') {
        Some((bridge, mac)) => sender(configuration, &wanted.at, bridge, mac)?,
        None => {
            let port = port(configuration, &wanted.at)?;
            return Ok((port, bytes(&wanted.frame, |fields| craft(fields, None, None))?));
        }
    };
    let plain = bytes(&wanted.frame, |fields| {
        if let Some(vlan) = fields.vlan {
            return Err(wrong("vlan", vlan, "the tag of an endpoint's frames is its segment's; leave it out"));
        }
        let gateway = match fields.dst {
            Some(dst) if fields.dst_mac.is_none() => Some(next(configuration, &sender, dst, owner)?),
            _ => None,
        };
        craft(fields, Some(&sender), gateway)
    })?;
    let segment = configuration.translator().segment_number(&sender.location.segment);
    let arrived =
        segment.and_then(|segment| gateway::arriving(configuration.snapshot(), segment, sender.location.peer, &plain));
    arrived.ok_or_else(|| {
        let why = "a frame of an endpoint has at least its MACs";
        fault(code::INVALID_PARAMS, why, "frame", format!("{} bytes", plain.len()))
    })
}

fn wrong(field: &str, value: impl ToString, why: impl Into<String>) -> Error {
    fault(code::INVALID_PARAMS, why, format!("frame.fields.{field}"), value)
}

fn port(configuration: &Configuration, at: &str) -> Result<PortId, Error> {
    let translator = configuration.translator();
    let found = at.parse().ok().and_then(|name| translator.port(&name));
    found.ok_or_else(|| {
        let ports: Vec<_> = translator.ports().iter().map(Name::as_str).collect();
        let why = format!("there is no port {at}, only {}; an endpoint is BRIDGE/MAC", ports.join(", "));
        fault(code::NOT_FOUND, why, "at", at)
    })
}

fn sender<'a>(configuration: &'a Configuration, at: &str, bridge: &str, mac: &str) -> Result<Sender<'a>, Error> {
    let mac: Mac = mac.parse().map_err(|why: weir_api::id::IdError| {
        fault(code::INVALID_PARAMS, format!("an endpoint is BRIDGE/MAC: {why}"), "at", at)
    })?;
    let state = configuration.desired();
    let missing = || fault(code::NOT_FOUND, format!("there is no endpoint {at}"), "at", at);
    let (bridge, _) =
        bridge.parse().ok().and_then(|name: Name| state.bridges.get_key_value(&name)).ok_or_else(missing)?;
    let host = state.hosts(bridge).and_then(|hosts| hosts.get(&mac)).ok_or_else(missing)?;
    let number = configuration.translator().bridge_number(bridge).ok_or_else(missing)?;
    Ok(Sender { bridge, number, mac, location: &host.location, ips: &host.ips })
}

/// The MAC that an endpoint sends to for an address: its gateway's, unless the address is on its own bridge; then its owner's.
fn next(
    configuration: &Configuration,
    sender: &Sender<'_>,
    dst: IpAddr,
    owner: impl FnOnce(BridgeId, IpAddr) -> Result<Option<MacAddr>, Error>,
) -> Result<MacAddr, Error> {
    let snapshot = configuration.snapshot();
    if let Some((_, interface)) = snapshot.interface_at(sender.number, dst) {
        return Ok(interface.mac);
    }
    let group = match dst {
        IpAddr::V4(v4) if v4.is_broadcast() => Some(MacAddr::BROADCAST),
        IpAddr::V4(v4) if v4.is_multicast() => {
            let [_, b, c, d] = v4.octets();
            Some(MacAddr([1, 0, 0x5e, b & 0x7f, c, d]))
        }
        IpAddr::V6(v6) if v6.is_multicast() => Some(weir_pipelines::wire::multicast_mac(v6)),
        _ => None,
    };
    if let Some(group) = group {
        return Ok(group);
    }
    let mut gateways = snapshot.interfaces_of(sender.number).map(|(_, interface)| interface).peekable();
    let own = |ip: &IpAddr| ip.is_ipv4() == dst.is_ipv4();
    let from = sender.ips.iter().find(|ip| own(ip));
    if gateways.peek().is_some() {
        let all: Vec<_> = gateways.collect();
        let covers = |ip: IpAddr| all.iter().find(|i| i.addresses.iter().any(|prefix| prefix.contains(ip)));
        if covers(dst).is_none()
            && let Some(gateway) = from.and_then(|ip| covers(*ip)).or_else(|| all.first())
        {
            return Ok(gateway.mac);
        }
    }
    if let Some(mac) = snapshot.owner(sender.number, dst).flatten() {
        return Ok(mac);
    }
    owner(sender.number, dst)?.ok_or_else(|| {
        let why = format!("nobody on bridge {} is known to have {dst}: say to which MAC by dst_mac", sender.bridge);
        wrong("dst", dst, why)
    })
}

/// The bytes of a frame; `craft` makes them of fields.
fn bytes(frame: &FrameSpec, craft: impl FnOnce(&Fields) -> Result<Vec<u8>, Error>) -> Result<Vec<u8>, Error> {
    match frame {
        FrameSpec::Fields(fields) => craft(fields),
        FrameSpec::Hex(hex) => trace::bytes(hex).map_err(|why| {
            let value = hex.chars().take(40).collect::<String>();
            fault(code::INVALID_PARAMS, why.to_string(), "frame.hex", value)
        }),
    }
}

/// A frame of fields. What an endpoint is known by stands in for what is not said.
fn craft(fields: &Fields, sender: Option<&Sender<'_>>, next: Option<MacAddr>) -> Result<Vec<u8>, Error> {
    let missing = |field: &str| wrong(field, "nothing", format!("{field} is missing: at a port nothing says it"));
    let from = fields.src_mac.or(sender.map(|sender| sender.mac)).map(mac_addr).ok_or_else(|| missing("src_mac"))?;
    let said = fields.dst_mac.map(|mac| MacAddr(mac.0)).or(next);
    let (ether_type, to, payload) = match (fields.arp_request, fields.dst) {
        (Some(_), Some(dst)) => {
            return Err(wrong("dst", dst, "an ARP request asks for arp_request, and goes to no address"));
        }
        (Some(target), None) => {
            let own = sender.and_then(|sender| sender.ips.iter().find(|ip| ip.is_ipv4()).copied());
            let asker = match fields.src.or(own) {
                Some(IpAddr::V4(v4)) => v4,
                Some(src) => return Err(wrong("src", src, "ARP asks from an IPv4 address")),
                None => Ipv4Addr::UNSPECIFIED,
            };
            let mut message = [0; ArpHeader::LEN];
            ArpHeader::request(from, asker, target).write(&mut message);
            (EtherType::ARP, said.unwrap_or(MacAddr::BROADCAST), message.to_vec())
        }
        (None, Some(dst)) => {
            let own = sender.and_then(|sender| sender.ips.iter().find(|ip| ip.is_ipv4() == dst.is_ipv4()).copied());
            let src =
                fields.src.or(own).ok_or_else(|| wrong("src", "nothing", "src is missing: from which address?"))?;
            let (ether_type, packet) = packet(fields, src, dst)?;
            (ether_type, said.ok_or_else(|| missing("dst_mac"))?, packet)
        }
        (None, None) => return Err(wrong("dst", "nothing", "dst is missing: to which address?")),
    };
    let mut frame = vec![0; EthernetHeader::LEN];
    let outer = if fields.vlan.is_some() { EtherType::VLAN } else { ether_type };
    if let Some(head) = frame.first_chunk_mut() {
        EthernetHeader { destination: to, source: from, ether_type: outer }.write(head);
    }
    if let Some(vlan) = fields.vlan {
        if vlan > 4094 {
            return Err(wrong("vlan", vlan, "a VLAN is from 0 to 4094"));
        }
        frame.extend(Tag::from_tci(EtherType::VLAN, vlan).tci().to_be_bytes());
        frame.extend(ether_type.0.to_be_bytes());
    }
    frame.extend(payload);
    // The shortest on Ethernet, as a host would send it.
    frame.resize(frame.len().max(60), 0);
    Ok(frame)
}

/// An IP packet.
fn packet(fields: &Fields, src: IpAddr, dst: IpAddr) -> Result<(EtherType, Vec<u8>), Error> {
    let ip_len: u16 = if dst.is_ipv4() { 20 } else { 40 };
    let (protocol, upper_len) = match fields.proto {
        Proto::Udp => (IpProtocol::UDP, 8),
        Proto::Tcp => (IpProtocol::TCP, 20),
        Proto::Icmp if dst.is_ipv4() => (IpProtocol::ICMP, 8),
        Proto::Icmp => (IpProtocol::ICMPV6, 8),
        Proto::Number(number) => (IpProtocol(number), 0),
    };
    let least = ip_len + upper_len;
    let length = fields.length.unwrap_or(least);
    if !(least..=LONGEST).contains(&length) {
        return Err(wrong("length", length, format!("such a packet has from {least} to {LONGEST} bytes")));
    }
    let ports = matches!(fields.proto, Proto::Udp | Proto::Tcp);
    if let Some(port) = fields.sport.or(fields.dport).filter(|_| !ports) {
        return Err(wrong("sport", port, format!("{} has no ports", fields.proto)));
    }
    let (class, hops) = (TrafficClass(fields.tos.unwrap_or(0)), fields.ttl.unwrap_or(64));
    let payload_len = length - ip_len;
    let (ether_type, mut packet, sum) = match (src, dst) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let fragment = if fields.df { Fragment::DONT_FRAGMENT } else { Fragment::from_bits(0) };
            let mut bytes = [0; Ipv4Header::LEN];
            Ipv4Header {
                traffic_class: class,
                total_len: length,
                identification: 1,
                fragment,
                ttl: hops,
                protocol,
                source,
                destination,
            }
            .write(&mut bytes);
            let sum = match fields.proto {
                Proto::Icmp => Sum::new(),
                _ => Sum::pseudo_ipv4(source, destination, protocol, payload_len),
            };
            (EtherType::IPV4, bytes.to_vec(), sum)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            if fields.df {
                return Err(wrong("df", true, "IPv6 is never fragmented on its way"));
            }
            let mut bytes = [0; Ipv6Header::LEN];
            Ipv6Header {
                traffic_class: class,
                flow_label: 0,
                payload_len,
                next_header: protocol,
                hop_limit: hops,
                source,
                destination,
            }
            .write(&mut bytes);
            let sum = Sum::pseudo_ipv6(source, destination, protocol, payload_len.into());
            (EtherType::IPV6, bytes.to_vec(), sum)
        }
        _ => return Err(wrong("src", src, format!("not of the same family as {dst}"))),
    };
    packet.extend(upper(fields, dst, payload_len, sum));
    Ok((ether_type, packet))
}

/// What an IP packet carries: `len` bytes, with a checksum that begins with `sum`.
fn upper(fields: &Fields, dst: IpAddr, len: u16, sum: Sum) -> Vec<u8> {
    let mut bytes = vec![0; len.into()];
    let (sport, dport) = (fields.sport.unwrap_or(0xc000).to_be_bytes(), fields.dport.unwrap_or(9).to_be_bytes());
    let checksum_at = match fields.proto {
        Proto::Udp => {
            bytes[..2].copy_from_slice(&sport);
            bytes[2..4].copy_from_slice(&dport);
            bytes[4..6].copy_from_slice(&len.to_be_bytes());
            6
        }
        Proto::Tcp => {
            bytes[..2].copy_from_slice(&sport);
            bytes[2..4].copy_from_slice(&dport);
            // Five words of header, SYN, a full window.
            bytes[12..16].copy_from_slice(&[0x50, 0x02, 0xff, 0xff]);
            16
        }
        Proto::Icmp => {
            bytes[0] = if dst.is_ipv4() { IcmpType::ECHO_REQUEST.0 } else { Icmpv6Type::ECHO_REQUEST.0 };
            2
        }
        Proto::Number(_) => return bytes,
    };
    let checksum = match sum.with(&bytes).finish() {
        // Of UDP, zero says that there is none.
        0 if fields.proto == Proto::Udp => 0xffff,
        checksum => checksum,
    };
    bytes[checksum_at..checksum_at + 2].copy_from_slice(&checksum.to_be_bytes());
    bytes
}
