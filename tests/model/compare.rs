//! What left, taken apart, and whether it is what the model wants: outer headers field by field, the rest to the byte.

use crate::bytes::{checksum, checksum_with, ends, get16};
use crate::facts::copied_options;
use crate::model::{Sending, What};
use crate::topology::{Place, Topology, VTEPS, WAN, Way};
use std::net::IpAddr;
use weir_pipelines::tables::PortId;
use weir_pipelines::wire::MacAddr;

/// A frame that left.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) place: Place,
    pub(crate) to: MacAddr,
    pub(crate) from: MacAddr,
    /// The bits of its tag beside the VLAN.
    priority: u8,
    /// What is behind the EtherType.
    pub(crate) payload: Vec<u8>,
    /// The UDP source port of its tunnel, which stands for its flow.
    pub(crate) entropy: Option<u16>,
}

/// Checks a condition, or says what is wrong.
fn ensure(condition: bool, what: &str) -> Result<(), String> {
    if condition { Ok(()) } else { Err(what.into()) }
}

fn mac(bytes: &[u8], at: usize) -> MacAddr {
    MacAddr(bytes[at..at + 6].try_into().expect("six"))
}

/// Takes a frame apart.
pub(crate) fn open(t: &Topology, port: PortId, frame: &[u8]) -> Result<Seen, String> {
    ensure(frame.len() >= 34, "a frame too short for anything")?;
    if port == WAN && get16(frame, 12) != 0x8100 {
        return open_tunnel(t, frame);
    }
    let (vid, priority, at) = match get16(frame, 12) {
        0x8100 => (Some(get16(frame, 14) & 0xfff), (frame[14] >> 4), 16),
        _ => (None, 0, 12),
    };
    let segment = t.segments.iter().position(|segment| segment.way == Way::Vlan { port, vid });
    let place = Place { segment: segment.ok_or(format!("VLAN {vid:?} of no segment"))?, peer: None };
    open_inner(place, priority, None, frame, at)
}

fn open_inner(place: Place, priority: u8, entropy: Option<u16>, frame: &[u8], at: usize) -> Result<Seen, String> {
    let payload = frame[at + 2..].to_vec();
    let right = match payload[0] >> 4 {
        0 => 0x0806,
        4 => 0x0800,
        _ => 0x86dd,
    };
    ensure(get16(frame, at) == right, "an EtherType that is not the packet's")?;
    Ok(Seen { place, to: mac(frame, 0), from: mac(frame, 6), priority, payload, entropy })
}

fn open_tunnel(t: &Topology, frame: &[u8]) -> Result<Seen, String> {
    let outer = &frame[14..];
    let v4 = outer[0] >> 4 == 4;
    let ip_len = if v4 { 20 } else { 40 };
    ensure(get16(frame, 12) == if v4 { 0x0800 } else { 0x86dd }, "the outer EtherType")?;
    ensure(outer.len() >= ip_len + 16 + 34, "a tunnel's frame too short")?;
    let (source, destination) = ends(outer);
    let (len, protocol, ttl, class) = match v4 {
        true => (usize::from(get16(outer, 2)), outer[9], outer[8], outer[1]),
        false => (40 + usize::from(get16(outer, 4)), outer[6], outer[7], outer[0] << 4 | outer[1] >> 4),
    };
    ensure(!v4 || (outer[0] == 0x45 && checksum(&outer[..20]) == 0), "the outer IPv4 header")?;
    ensure(!v4 || get16(outer, 6) & 0x3fff == 0, "the outer datagram is a fragment")?;
    ensure(len == outer.len() && protocol == 17 && ttl > 1, "the outer length, protocol or TTL")?;
    ensure(len <= t.ports[1].mtu.into(), "larger than the port's MTU")?;
    let vtep = VTEPS.iter().position(|&vtep| vtep == source).ok_or("from no vtep")?;
    let peer = t.peers.iter().position(|peer| peer.vtep == vtep && peer.address == destination).ok_or("to no peer")?;
    ensure(mac(frame, 0) == t.peers[peer].mac && mac(frame, 6) == t.ports[1].mac, "the outer MACs")?;
    let udp = &outer[ip_len..];
    ensure(get16(udp, 2) == 4789 && get16(udp, 0) >= 0xc000, "the outer UDP ports")?;
    ensure(usize::from(get16(udp, 4)) == udp.len() && get16(udp, 6) == 0, "the outer UDP length or checksum")?;
    ensure(udp[8..12] == [8, 0, 0, 0] && udp[15] == 0, "the VXLAN header")?;
    let vni = u32::from_be_bytes([0, udp[12], udp[13], udp[14]]);
    let segment = t.segments.iter().position(|segment| segment.way == Way::Vxlan { vni, vtep });
    let place = Place { segment: segment.ok_or("a VNI of no segment")?, peer: Some(peer) };
    let inner = &udp[16..];
    let seen = open_inner(place, 0, Some(get16(udp, 0)), inner, 12)?;
    let p = &seen.payload;
    let inner_class = match p[0] >> 4 {
        0 => 0,
        4 => p[1],
        _ => p[0] << 4 | p[1] >> 4,
    };
    ensure(class == inner_class, "DSCP or ECN of the outer header are not the inner one's")?;
    Ok(seen)
}

/// Takes from what was `seen` what is wanted, for a packet that came with this padding and priority, and answers the entropy of its
/// first frame.
///
/// # Errors
/// What was wrong with what came nearest. `seen` is then as it was.
pub(crate) fn take(want: &Sending, padding: &[u8], priority: u8, seen: &mut Vec<Seen>) -> Result<Option<u16>, String> {
    if let What::Pieces(ip, mtu) = &want.what {
        return take_pieces(want, ip, *mtu, seen);
    }
    let mut nearest = "nothing left by that place with those MACs".to_string();
    for at in 0..seen.len() {
        if !is_there(want, &seen[at]) {
            continue;
        }
        match fits(want, padding, priority, &seen[at]) {
            Ok(()) => return Ok(seen.remove(at).entropy),
            Err(why) => nearest = why,
        }
    }
    Err(nearest)
}

fn is_there(want: &Sending, seen: &Seen) -> bool {
    (seen.place, seen.to, seen.from) == (want.place, want.to, want.from)
}

fn fits(want: &Sending, padding: &[u8], priority: u8, seen: &Seen) -> Result<(), String> {
    ensure(seen.priority == 0 || seen.priority == priority, "a priority that it did not have")?;
    match &want.what {
        What::Packet(ip) => {
            let (own, behind) = seen.payload.split_at_checked(ip.len()).ok_or("shorter than the packet")?;
            ensure(own == ip, "other bytes than the packet's")?;
            ensure(behind.is_empty() || behind == padding, "bytes behind the packet that it did not come with")
        }
        What::Error { from, to, kind, word, quotes } => {
            let (source, message) = icmp(&seen.payload, *to)?;
            ensure(source == *from, &format!("an error from {source}, not {from}"))?;
            ensure((message[0], message[1]) == *kind, &format!("ICMP {} {}, not {kind:?}", message[0], message[1]))?;
            ensure(
                message[4..8] == word.to_be_bytes(),
                &format!("{:?} behind the checksum, not {word}", &message[4..8]),
            )?;
            ensure(quotes.iter().any(|quote| message[8..] == quote[..]), "another quote than what came")
        }
        What::Reply { from, to, message } => {
            let (source, own) = icmp(&seen.payload, *to)?;
            ensure(source == *from && own == message, "not the answer")
        }
        What::Pieces(..) => Err("in pieces".into()),
    }
}

/// Takes an ICMP packet that the gateway made apart: its source and its message.
fn icmp(packet: &[u8], to: IpAddr) -> Result<(IpAddr, &[u8]), String> {
    let v4 = packet[0] >> 4 == 4;
    let (source, destination) = ends(packet);
    let (at, len, ttl) = match v4 {
        true => (usize::from(packet[0] & 0xf) * 4, usize::from(get16(packet, 2)), packet[8]),
        false => (40, 40 + usize::from(get16(packet, 4)), packet[7]),
    };
    let protocol = packet[if v4 { 9 } else { 6 }];
    ensure(protocol == if v4 { 1 } else { 58 } && destination == to, "no ICMP, or not to the sender")?;
    ensure(len == packet.len(), "bytes behind the ICMP message")?;
    ensure(ttl == 64, &format!("TTL {ttl}"))?;
    ensure(!v4 || checksum(&packet[..at]) == 0 && get16(packet, 6) & 0x3fff == 0, "the ICMP packet's IPv4 header")?;
    let message = &packet[at..];
    let sum = if v4 { checksum(message) } else { checksum_with(source, destination, 58, message) };
    ensure(sum == 0 && message.len() >= 8, "the ICMP checksum")?;
    Ok((source, message))
}

/// Takes the fragments of a packet, one behind the other.
fn take_pieces(want: &Sending, ip: &[u8], mtu: usize, seen: &mut Vec<Seen>) -> Result<Option<u16>, String> {
    let header = usize::from(ip[0] & 0xf) * 4;
    let payload = &ip[header..];
    let (first, last) = (get16(ip, 6), get16(ip, 6) & 0x2000 == 0);
    let rest = seen.clone();
    let (mut at, mut pieces, mut entropy) = (0, 0, None);
    while at < payload.len() {
        let options = if at == 0 { ip[20..header].to_vec() } else { copied_options(&ip[20..header]) };
        let next = seen.iter().position(|seen| {
            let p = &seen.payload;
            let total = usize::from(get16(p, 2));
            let begins = 20 + options.len();
            let n = total.saturating_sub(begins);
            let more = at + n < payload.len() || !last;
            let bits = ((first & 0x9fff) + (at / 8) as u16) | if more { 0x2000 } else { 0 };
            is_there(want, seen)
                && p[0] == 0x45 + (options.len() / 4) as u8
                && (p[1], &p[4..6], p[8..10] == ip[8..10], &p[12..20]) == (ip[1], &ip[4..6], true, &ip[12..20])
                && get16(p, 6) == bits & !0x4000
                && total == p.len()
                && total <= mtu
                && n > 0
                && (!more || n.is_multiple_of(8) || at + n == payload.len())
                && checksum(&p[..begins]) == 0
                && p[20..begins] == options
                && payload[at..].starts_with(&p[begins..])
        });
        let Some(next) = next else {
            *seen = rest;
            return Err(format!("no fragment right at byte {at}"));
        };
        let piece = seen.remove(next);
        entropy = entropy.or(piece.entropy);
        at += piece.payload.len() - 20 - options.len();
        pieces += 1;
    }
    ensure(pieces <= payload.len().div_ceil((mtu - header) / 8 * 8), "more fragments than needed")?;
    Ok(entropy)
}
