//! Frames, built byte by byte from the RFCs, and from nothing that the gateway itself is built of: what they are
//! compared with must not share its mistakes.
//!
//! All frames are without FCS. Read first: RFC 791 §3.1, RFC 768, RFC 826, RFC 7348 §5, RFC 7637 §3.2, RFC 8926 §3,
//! IEEE 802.1Q §9.6.

use std::net::Ipv4Addr;
use std::ops::Range;

/// Six octets in the order they go on the wire.
pub type Mac = [u8; 6];

/// Bytes of the smallest Ethernet frame, without FCS.
pub const INNER_LENGTH: usize = 60;
/// Bytes of UDP payload in an inner frame.
pub const PAYLOAD_LENGTH: usize = INNER_LENGTH - 14 - 20 - 8;
/// Bytes of an ARP packet for Ethernet and IPv4 behind its Ethernet header.
const ARP_LENGTH: usize = 28;
/// Bytes of a tagged ARP frame that mean something; what follows is padding.
pub const TAGGED_ARP_LENGTH: usize = 14 + 4 + ARP_LENGTH;

/// The numbers of an inner frame: Ethernet, IPv4, UDP.
#[derive(Clone, Copy, Debug)]
pub struct Inner {
    /// Destination MAC.
    pub destination: Mac,
    /// Source MAC.
    pub source: Mac,
    /// Source address.
    pub from: Ipv4Addr,
    /// Destination address.
    pub to: Ipv4Addr,
    /// Source port.
    pub from_port: u16,
    /// Destination port.
    pub to_port: u16,
    /// Hops left.
    pub ttl: u8,
    /// What UDP carries.
    pub payload: [u8; PAYLOAD_LENGTH],
}

impl Inner {
    /// The frame, untagged: [`INNER_LENGTH`] bytes, so 64 with FCS.
    pub fn bytes(&self) -> [u8; INNER_LENGTH] {
        let mut udp = [0; 8 + PAYLOAD_LENGTH];
        udp[0..2].copy_from_slice(&self.from_port.to_be_bytes());
        udp[2..4].copy_from_slice(&self.to_port.to_be_bytes());
        udp[4..6].copy_from_slice(&(8 + PAYLOAD_LENGTH as u16).to_be_bytes());
        udp[8..].copy_from_slice(&self.payload);
        let checksum = udp_checksum(self.from, self.to, &udp);
        udp[6..8].copy_from_slice(&checksum.to_be_bytes());

        let mut frame = [0; INNER_LENGTH];
        frame[0..6].copy_from_slice(&self.destination);
        frame[6..12].copy_from_slice(&self.source);
        frame[12..14].copy_from_slice(&[0x08, 0x00]);
        frame[14..34].copy_from_slice(&ipv4_header(self.from, self.to, UDP, self.ttl, udp.len()));
        frame[34..].copy_from_slice(&udp);
        frame
    }
}

/// The frame with an 802.1Q tag (TPID 0x8100, priority 0) behind its MAC addresses.
pub fn tagged(vid: u16, frame: &[u8]) -> Vec<u8> {
    let mut tagged = Vec::with_capacity(frame.len() + 4);
    tagged.extend(&frame[..12]);
    tagged.extend([0x81, 0x00]);
    tagged.extend(vid.to_be_bytes());
    tagged.extend(&frame[12..]);
    tagged
}

/// What ARP says.
#[derive(Clone, Copy, Debug)]
pub struct Arp {
    /// The MAC that sends.
    pub sender: Mac,
    /// Its address.
    pub sender_address: Ipv4Addr,
    /// The MAC that is asked for, or answered.
    pub target: Mac,
    /// Its address.
    pub target_address: Ipv4Addr,
}

impl Arp {
    /// A request to all: the target's MAC stays zero.
    pub fn request(&self) -> [u8; INNER_LENGTH] {
        self.frame([0xff; 6], 1, [0; 6])
    }

    /// An answer to the target alone.
    pub fn answer(&self) -> [u8; INNER_LENGTH] {
        self.frame(self.target, 2, self.target)
    }

    /// Untagged, padded with zeros.
    fn frame(&self, destination: Mac, operation: u8, target: Mac) -> [u8; INNER_LENGTH] {
        let mut frame = [0; INNER_LENGTH];
        frame[0..6].copy_from_slice(&destination);
        frame[6..12].copy_from_slice(&self.sender);
        // Hardware Ethernet with 6 bytes, protocol IPv4 with 4.
        frame[12..22].copy_from_slice(&[0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4, 0, operation]);
        frame[22..28].copy_from_slice(&self.sender);
        frame[28..32].copy_from_slice(&self.sender_address.octets());
        frame[32..38].copy_from_slice(&target);
        frame[38..42].copy_from_slice(&self.target_address.octets());
        frame
    }
}

/// A kind of tunnel over IPv4, and the network in it: 24 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnel {
    /// With its VNI.
    Vxlan(u32),
    /// With its VSID.
    Nvgre(u32),
    /// With its VNI.
    Geneve(u32),
}

impl Tunnel {
    /// Bytes that it puts in front of a frame: Ethernet 14, IPv4 20, then GRE with a key 8, or UDP 8 and its header 8.
    pub fn overhead(self) -> usize {
        match self {
            Tunnel::Nvgre(_) => 14 + 20 + 8,
            Tunnel::Vxlan(_) | Tunnel::Geneve(_) => 14 + 20 + 8 + 8,
        }
    }

    /// Where the number stands by which the underlay tells flows apart: the UDP source port, or NVGRE's FlowID.
    pub fn entropy(self) -> Range<usize> {
        match self {
            Tunnel::Nvgre(_) => 41..42,
            Tunnel::Vxlan(_) | Tunnel::Geneve(_) => 34..36,
        }
    }
}

/// The numbers of an encapsulation over IPv4.
#[derive(Clone, Copy, Debug)]
pub struct Outer {
    /// Destination MAC: the next hop's.
    pub destination: Mac,
    /// Source MAC: the sending port's.
    pub source: Mac,
    /// The sending tunnel endpoint.
    pub from: Ipv4Addr,
    /// The receiving tunnel endpoint.
    pub to: Ipv4Addr,
    /// UDP source port, or FlowID in its low eight bits.
    pub entropy: u16,
    /// The kind of tunnel.
    pub tunnel: Tunnel,
}

impl Outer {
    /// The frame in the tunnel: DSCP and ECN zero like the inner ones, no fragmentation. UDP's checksum is zero, as RFC
    /// 7348 §5 recommends and RFC 8926 §3.3 allows.
    pub fn encapsulate(&self, inner: &[u8]) -> Vec<u8> {
        let mut frame = Vec::with_capacity(self.tunnel.overhead() + inner.len());
        frame.extend(self.destination);
        frame.extend(self.source);
        frame.extend([0x08, 0x00]);
        let length = self.tunnel.overhead() - 14 - 20 + inner.len();
        let protocol = if matches!(self.tunnel, Tunnel::Nvgre(_)) { GRE } else { UDP };
        frame.extend(ipv4_header(self.from, self.to, protocol, TTL, length));
        match self.tunnel {
            Tunnel::Vxlan(vni) => {
                self.udp(&mut frame, 4789, length);
                frame.extend([0x08, 0, 0, 0]);
                frame.extend((vni << 8).to_be_bytes());
            }
            Tunnel::Geneve(vni) => {
                self.udp(&mut frame, 6081, length);
                // Version 0, no options, no flags, Ethernet inside.
                frame.extend([0, 0, 0x65, 0x58]);
                frame.extend((vni << 8).to_be_bytes());
            }
            Tunnel::Nvgre(vsid) => {
                // A key, and nothing else; Ethernet inside.
                frame.extend([0x20, 0, 0x65, 0x58]);
                frame.extend((vsid << 8 | u32::from(self.entropy & 0xff)).to_be_bytes());
            }
        }
        frame.extend(inner);
        frame
    }

    fn udp(&self, frame: &mut Vec<u8>, port: u16, length: usize) {
        frame.extend(self.entropy.to_be_bytes());
        frame.extend(port.to_be_bytes());
        frame.extend((length as u16).to_be_bytes());
        frame.extend([0, 0]);
    }
}

/// IP protocol numbers.
const UDP: u8 = 17;
const GRE: u8 = 47;
/// The hops that a packet is sent with.
pub const TTL: u8 = 64;

/// Twenty bytes: no options, DSCP and ECN zero, identification 0 with DF (RFC 6864 §4.1).
fn ipv4_header(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, ttl: u8, payload: usize) -> [u8; 20] {
    let mut header = [0; 20];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&(20 + payload as u16).to_be_bytes());
    header[6] = 0x40;
    header[8] = ttl;
    header[9] = protocol;
    header[12..16].copy_from_slice(&from.octets());
    header[16..20].copy_from_slice(&to.octets());
    let checksum = !sum(&header);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    header
}

/// UDP's checksum over IPv4's pseudo header; a computed zero is sent as all ones (RFC 768).
fn udp_checksum(from: Ipv4Addr, to: Ipv4Addr, udp: &[u8]) -> u16 {
    let mut bytes = Vec::with_capacity(12 + udp.len());
    bytes.extend(from.octets());
    bytes.extend(to.octets());
    bytes.extend([0, 17]);
    bytes.extend((udp.len() as u16).to_be_bytes());
    bytes.extend(udp);
    match !sum(&bytes) {
        0 => 0xffff,
        checksum => checksum,
    }
}

/// The one's complement sum of big-endian words (RFC 1071 §1), an odd last byte padded with zero.
pub fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w.get(1).copied().unwrap_or(0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inner() -> Inner {
        Inner {
            destination: [2, 0, 0, 0, 0, 0x0b],
            source: [2, 0, 0, 0, 0, 0x0a],
            from: Ipv4Addr::new(10, 0, 0, 1),
            to: Ipv4Addr::new(10, 128, 0, 1),
            from_port: 1024,
            to_port: 2000,
            ttl: TTL,
            payload: *b"0123456789abcdefgh",
        }
    }

    #[test]
    fn an_inner_frame_has_known_bytes() {
        let frame = inner().bytes();
        let expected = [
            2, 0, 0, 0, 0, 0x0b, 2, 0, 0, 0, 0, 0x0a, 0x08, 0x00, // Ethernet
            0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0x26, 0x3e, 10, 0, 0, 1, 10, 128, 0, 1, // IPv4
            0x04, 0x00, 0x07, 0xd0, 0, 26, 0x48, 0xc9, // UDP
        ];
        assert_eq!(frame[..42], expected);
        assert_eq!(&frame[42..], b"0123456789abcdefgh");
        assert_eq!(sum(&frame[14..34]), 0xffff, "the header's checksum verifies");
    }

    #[test]
    fn a_hop_less_changes_the_header_alone() {
        let (frame, on) = (inner().bytes(), Inner { ttl: TTL - 1, ..inner() }.bytes());
        assert_eq!((on[22], sum(&on[14..34])), (63, 0xffff));
        assert_eq!((&on[..22], &on[26..]), (&frame[..22], &frame[26..]));
    }

    #[test]
    fn the_udp_checksum_verifies_and_is_never_zero() {
        let frame = inner().bytes();
        let mut pseudo = frame[26..34].to_vec();
        pseudo.extend([0, 17, 0, 26]);
        pseudo.extend(&frame[34..]);
        assert_eq!(sum(&pseudo), 0xffff);
        // 17 + 2 + 0xffec adds up to 0xffff: the complement is zero, which would mean "no checksum".
        let zero = Ipv4Addr::UNSPECIFIED;
        assert_eq!(udp_checksum(zero, zero, &[0xff, 0xec]), 0xffff);
    }

    #[test]
    fn a_tag_stands_behind_the_addresses() {
        let frame = inner().bytes();
        let tagged = tagged(100, &frame);
        assert_eq!(tagged.len(), 64);
        assert_eq!(tagged[..12], frame[..12]);
        assert_eq!(tagged[12..18], [0x81, 0x00, 0x00, 0x64, 0x08, 0x00]);
        assert_eq!(tagged[18..], frame[14..]);
    }

    fn tunnelled(tunnel: Tunnel) -> Vec<u8> {
        let outer = Outer {
            destination: [2, 0, 0, 0, 2, 2],
            source: [2, 0, 0, 0, 2, 1],
            from: Ipv4Addr::new(192, 0, 2, 1),
            to: Ipv4Addr::new(192, 0, 2, 2),
            entropy: 0xc001,
            tunnel,
        };
        let frame = outer.encapsulate(&inner().bytes());
        assert_eq!(frame[tunnel.overhead()..], inner().bytes());
        assert_eq!(sum(&frame[14..34]), 0xffff, "the outer header's checksum verifies");
        frame
    }

    #[test]
    fn a_vxlan_frame_has_known_bytes() {
        let tunnel = Tunnel::Vxlan(10_000);
        let frame = tunnelled(tunnel);
        let expected = [
            2, 0, 0, 0, 2, 2, 2, 0, 0, 0, 2, 1, 0x08, 0x00, // Ethernet
            0x45, 0, 0, 96, 0, 0, 0x40, 0, 64, 17, 0xb6, 0x89, 192, 0, 2, 1, 192, 0, 2, 2, // IPv4
            0xc0, 0x01, 0x12, 0xb5, 0, 76, 0, 0, // UDP
            0x08, 0, 0, 0, 0x00, 0x27, 0x10, 0, // VXLAN
        ];
        assert_eq!(frame[..tunnel.overhead()], expected);
        assert_eq!(frame[tunnel.entropy()], [0xc0, 0x01]);
    }

    #[test]
    fn a_geneve_frame_differs_from_a_vxlan_one_in_port_and_header() {
        let tunnel = Tunnel::Geneve(10_000);
        let (frame, vxlan) = (tunnelled(tunnel), tunnelled(Tunnel::Vxlan(10_000)));
        assert_eq!((&frame[..36], &frame[38..42]), (&vxlan[..36], &vxlan[38..42]));
        assert_eq!(frame[36..38], [0x17, 0xc1]);
        assert_eq!(frame[42..50], [0, 0, 0x65, 0x58, 0x00, 0x27, 0x10, 0]);
        assert_eq!(frame[tunnel.entropy()], [0xc0, 0x01]);
    }

    #[test]
    fn an_nvgre_frame_has_known_bytes() {
        let tunnel = Tunnel::Nvgre(5000);
        let frame = tunnelled(tunnel);
        let expected = [
            2, 0, 0, 0, 2, 2, 2, 0, 0, 0, 2, 1, 0x08, 0x00, // Ethernet
            0x45, 0, 0, 88, 0, 0, 0x40, 0, 64, 47, 0xb6, 0x73, 192, 0, 2, 1, 192, 0, 2, 2, // IPv4
            0x20, 0, 0x65, 0x58, 0x00, 0x13, 0x88, 0x01, // GRE
        ];
        assert_eq!(frame[..tunnel.overhead()], expected);
        assert_eq!(frame[tunnel.entropy()], [0x01]);
    }

    #[test]
    fn arp_has_known_bytes() {
        let arp = Arp {
            sender: [2, 0, 0, 0, 0, 0x0a],
            sender_address: Ipv4Addr::new(10, 0, 0, 1),
            target: [2, 0, 0, 0, 0, 0x0b],
            target_address: Ipv4Addr::new(10, 128, 0, 1),
        };
        let request = [
            255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 0x0a, 0x08, 0x06, // Ethernet
            0, 1, 0x08, 0x00, 6, 4, 0, 1, 2, 0, 0, 0, 0, 0x0a, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 128, 0, 1,
        ];
        assert_eq!(arp.request()[..42], request);
        let answer = [
            2, 0, 0, 0, 0, 0x0b, 2, 0, 0, 0, 0, 0x0a, 0x08, 0x06, // Ethernet
            0, 1, 0x08, 0x00, 6, 4, 0, 2, 2, 0, 0, 0, 0, 0x0a, 10, 0, 0, 1, 2, 0, 0, 0, 0, 0x0b, 10, 128, 0, 1,
        ];
        assert_eq!(arp.answer()[..42], answer);
        assert_eq!((arp.request()[42..].to_vec(), arp.answer()[42..].to_vec()), (vec![0; 18], vec![0; 18]));
        assert_eq!(tagged(100, &arp.answer()[..42]).len(), TAGGED_ARP_LENGTH);
    }

    #[test]
    fn the_sum_is_that_of_rfc_1071() {
        assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
        assert_eq!(sum(&[0x12]), 0x1200);
        assert_eq!(sum(&[0xff, 0xff, 0x00, 0x01]), 0x0001);
    }
}
