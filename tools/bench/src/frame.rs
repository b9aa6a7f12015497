//! Frames, built byte by byte from the RFCs, and from nothing that the gateway itself is built of: what they are
//! compared with must not share its mistakes.
//!
//! All frames are without FCS. Read first: RFC 791 §3.1, RFC 768, RFC 7348 §5, IEEE 802.1Q §9.6.

use std::net::Ipv4Addr;

/// Six octets in the order they go on the wire.
pub type Mac = [u8; 6];

/// Bytes of the smallest Ethernet frame, without FCS.
pub const INNER_LENGTH: usize = 60;
/// Bytes that a VXLAN encapsulation over IPv4 puts in front: 14 + 20 + 8 + 8.
pub const OVERHEAD: usize = 50;
/// Bytes of UDP payload in an inner frame.
pub const PAYLOAD_LENGTH: usize = INNER_LENGTH - 14 - 20 - 8;
/// Where the source port stands in an encapsulated frame.
pub const OUTER_SOURCE_PORT: std::ops::Range<usize> = 34..36;

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
        frame[14..34].copy_from_slice(&ipv4_header(self.from, self.to, udp.len()));
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

/// The numbers of a VXLAN encapsulation over IPv4.
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
    /// UDP source port.
    pub from_port: u16,
    /// VXLAN network identifier, 24 bits.
    pub vni: u32,
}

impl Outer {
    /// The frame in VXLAN: UDP checksum zero and destination port 4789, as RFC 7348 §5 recommends; DSCP and ECN zero
    /// like the inner ones; no fragmentation.
    pub fn encapsulate(&self, inner: &[u8]) -> Vec<u8> {
        let udp_length = 8 + 8 + inner.len();
        let mut frame = Vec::with_capacity(OVERHEAD + inner.len());
        frame.extend(self.destination);
        frame.extend(self.source);
        frame.extend([0x08, 0x00]);
        frame.extend(ipv4_header(self.from, self.to, udp_length));
        frame.extend(self.from_port.to_be_bytes());
        frame.extend(4789u16.to_be_bytes());
        frame.extend((udp_length as u16).to_be_bytes());
        frame.extend([0, 0]);
        frame.extend([0x08, 0, 0, 0]);
        frame.extend((self.vni << 8).to_be_bytes());
        frame.extend(inner);
        frame
    }
}

/// Twenty bytes: no options, DSCP and ECN zero, identification 0 with DF (RFC 6864 §4.1), TTL 64, UDP.
fn ipv4_header(from: Ipv4Addr, to: Ipv4Addr, payload: usize) -> [u8; 20] {
    let mut header = [0; 20];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&(20 + payload as u16).to_be_bytes());
    header[6] = 0x40;
    header[8] = 64;
    header[9] = 17;
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

    #[test]
    fn an_encapsulation_has_known_bytes() {
        let outer = Outer {
            destination: [2, 0, 0, 0, 2, 2],
            source: [2, 0, 0, 0, 2, 1],
            from: Ipv4Addr::new(192, 0, 2, 1),
            to: Ipv4Addr::new(192, 0, 2, 2),
            from_port: 0xc001,
            vni: 10_000,
        };
        let frame = outer.encapsulate(&inner().bytes());
        let expected = [
            2, 0, 0, 0, 2, 2, 2, 0, 0, 0, 2, 1, 0x08, 0x00, // Ethernet
            0x45, 0, 0, 96, 0, 0, 0x40, 0, 64, 17, 0xb6, 0x89, 192, 0, 2, 1, 192, 0, 2, 2, // IPv4
            0xc0, 0x01, 0x12, 0xb5, 0, 76, 0, 0, // UDP
            0x08, 0, 0, 0, 0x00, 0x27, 0x10, 0, // VXLAN
        ];
        assert_eq!(frame[..OVERHEAD], expected);
        assert_eq!(frame[OVERHEAD..], inner().bytes());
        assert_eq!(frame[OUTER_SOURCE_PORT], [0xc0, 0x01]);
    }

    #[test]
    fn the_sum_is_that_of_rfc_1071() {
        assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
        assert_eq!(sum(&[0x12]), 0x1200);
        assert_eq!(sum(&[0xff, 0xff, 0x00, 0x01]), 0x0001);
    }
}
