//! IPv6.
//!
//! Owns: the 40-byte header, and the way past extension headers to the upper layer. Refuses: another version, a payload
//! length that lies, more than [`MAX_EXTENSIONS`] extension headers. Jumbograms (RFC 2675) are not known here: a
//! payload length of 0 means no payload.
//! Read first: RFC 8200 §3 and §4; RFC 4302 §2.2 for the one extension header with a length of its own kind.

use core::fmt;
use core::net::Ipv6Addr;

use super::{Ecn, IpProtocol, Malformed, TrafficClass, be16, four, sixteen};

/// How many extension headers are walked past. RFC 8200 §4.1 knows an order of seven.
pub const MAX_EXTENSIONS: usize = 8;

/// View of an IPv6 header.
#[derive(Clone, Copy)]
pub struct Ipv6<'a>(&'a [u8; Ipv6Header::LEN]);

impl<'a> Ipv6<'a> {
    /// The header at the start of `bytes`, and its payload, extension headers included, as the payload length says:
    /// what lies behind is padding, and `bytes.len() - total_len()` long.
    ///
    /// # Errors
    /// As [`Ipv6::parse_head`].
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Malformed> {
        let ip = Self::parse_head(bytes, bytes.len())?;
        let payload = bytes.get(Ipv6Header::LEN..ip.total_len()).ok_or(Malformed::Truncated)?;
        Ok((ip, payload))
    }

    /// The header at the start of `head`, of a packet that may reach into further segments: `available` is the number
    /// of bytes in the frame from where `head` begins.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] if `head` is shorter than 40 bytes or the payload length says more than `available`;
    /// [`Malformed::BadVersion`] unless it is 6.
    #[inline]
    pub fn parse_head(head: &'a [u8], available: usize) -> Result<Self, Malformed> {
        let fixed = head.first_chunk().ok_or(Malformed::Truncated)?;
        if fixed[0] >> 4 != 6 {
            return Err(Malformed::BadVersion);
        }
        let ip = Self(fixed);
        if ip.total_len() > available {
            return Err(Malformed::Truncated);
        }
        Ok(ip)
    }

    /// DSCP and ECN.
    #[inline]
    pub const fn traffic_class(self) -> TrafficClass {
        TrafficClass((be16(self.0, 0) >> 4) as u8)
    }

    /// Flow label, 20 bits; 0 means none (RFC 6437).
    #[inline]
    pub const fn flow_label(self) -> u32 {
        u32::from_be_bytes(four(self.0, 0)) & 0x000f_ffff
    }

    /// Length of the payload with its extension headers, bytes.
    #[inline]
    pub const fn payload_len(self) -> usize {
        be16(self.0, 4) as usize
    }

    /// Length of header and payload, bytes.
    #[inline]
    pub const fn total_len(self) -> usize {
        Ipv6Header::LEN + self.payload_len()
    }

    /// What follows the header: an extension header or the upper layer.
    #[inline]
    pub const fn next_header(self) -> IpProtocol {
        IpProtocol(self.0[6])
    }

    /// Hops left.
    #[inline]
    pub const fn hop_limit(self) -> u8 {
        self.0[7]
    }

    /// Whom it is from.
    #[inline]
    pub fn source(self) -> Ipv6Addr {
        Ipv6Addr::from(sixteen(self.0, 8))
    }

    /// Whom it is for.
    #[inline]
    pub fn destination(self) -> Ipv6Addr {
        Ipv6Addr::from(sixteen(self.0, 24))
    }

    /// Walks past the extension headers in `payload`, the bytes behind the header, to the upper layer. ESP ends the way:
    /// it is the upper layer as far as anyone can see; a later fragment ends it too.
    ///
    /// `payload` may be only the first of several segments' bytes: the answer is then [`Malformed::Truncated`] if the
    /// extension headers go on behind it.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] if an extension header ends behind the payload; [`Malformed::TooManyExtensions`].
    #[inline]
    pub fn upper(self, payload: &[u8]) -> Result<Upper, Malformed> {
        let upper = Upper { protocol: self.next_header(), offset: 0, fragment: None, routed: false };
        // The common case first, without a loop.
        if is_extension(upper.protocol) { walk(upper, payload) } else { Ok(upper) }
    }

    /// All of it, as plain data.
    #[inline]
    pub fn header(self) -> Ipv6Header {
        Ipv6Header {
            traffic_class: self.traffic_class(),
            flow_label: self.flow_label(),
            payload_len: be16(self.0, 4),
            next_header: self.next_header(),
            hop_limit: self.hop_limit(),
            source: self.source(),
            destination: self.destination(),
        }
    }
}

impl fmt::Debug for Ipv6<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.header().fmt(f)
    }
}

/// The upper layer of an IPv6 packet, and what its extension headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upper {
    /// Its protocol; [`IpProtocol::NONE`] if there is none.
    pub protocol: IpProtocol,
    /// Where its header begins: bytes from the end of the 40-byte header, at most the payload's length. In a later
    /// fragment, where that fragment's data begins, which is not a header.
    pub offset: usize,
    /// The fragment header, if there is one.
    pub fragment: Option<Ipv6Fragment>,
    /// Whether there is a routing header that still has segments to visit (RFC 8200 §4.4).
    pub routed: bool,
}

impl Upper {
    /// Whether the upper layer's header is at `offset`: not so in a later fragment.
    #[inline]
    pub const fn is_first(&self) -> bool {
        match self.fragment {
            Some(fragment) => fragment.offset() == 0,
            None => true,
        }
    }
}

/// A fragment header (RFC 8200 §4.5) without its next header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ipv6Fragment {
    bits: u16,
    /// The same in all fragments of a packet.
    pub identification: u32,
}

impl Ipv6Fragment {
    /// Where in the fragmentable part this fragment's data begins: bytes, a multiple of 8.
    #[inline]
    pub const fn offset(self) -> u16 {
        self.bits & 0xfff8
    }

    /// Whether another fragment follows.
    #[inline]
    pub const fn more(self) -> bool {
        self.bits & 1 != 0
    }
}

/// Walks on from `upper`, whose protocol is an extension header at its offset.
fn walk(mut upper: Upper, payload: &[u8]) -> Result<Upper, Malformed> {
    for _ in 0..MAX_EXTENSIONS {
        let bytes = payload.get(upper.offset..).ok_or(Malformed::Truncated)?;
        // Every extension header is at least 8 bytes long.
        let start = bytes.first_chunk::<8>().ok_or(Malformed::Truncated)?;
        let len = match upper.protocol {
            IpProtocol::FRAGMENT => {
                let identification = u32::from_be_bytes(four(start, 4));
                upper.fragment = Some(Ipv6Fragment { bits: be16(start, 2) & 0xfff9, identification });
                8
            }
            IpProtocol::AUTHENTICATION => (usize::from(start[1]) + 2) * 4,
            IpProtocol::ROUTING => {
                upper.routed |= start[3] != 0;
                (usize::from(start[1]) + 1) * 8
            }
            _ => (usize::from(start[1]) + 1) * 8,
        };
        if len > bytes.len() {
            return Err(Malformed::Truncated);
        }
        upper.protocol = IpProtocol(start[0]);
        upper.offset += len;
        if !is_extension(upper.protocol) || !upper.is_first() {
            return Ok(upper);
        }
    }
    Err(Malformed::TooManyExtensions)
}

/// Whether it is an extension header with a next header of its own (IANA "IPv6 Extension Header Types").
#[inline]
pub(crate) const fn is_extension(protocol: IpProtocol) -> bool {
    matches!(
        protocol,
        IpProtocol::HOP_BY_HOP
            | IpProtocol::ROUTING
            | IpProtocol::FRAGMENT
            | IpProtocol::AUTHENTICATION
            | IpProtocol::DESTINATION_OPTIONS
            | IpProtocol::MOBILITY
            | IpProtocol::HIP
            | IpProtocol::SHIM6
    )
}

/// An IPv6 header's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Header {
    /// DSCP and ECN.
    pub traffic_class: TrafficClass,
    /// Flow label: 20 bits, the upper 12 are ignored.
    pub flow_label: u32,
    /// Length of the payload with its extension headers, bytes.
    pub payload_len: u16,
    /// What follows the header.
    pub next_header: IpProtocol,
    /// Hops left.
    pub hop_limit: u8,
    /// Whom it is from.
    pub source: Ipv6Addr,
    /// Whom it is for.
    pub destination: Ipv6Addr,
}

impl Ipv6Header {
    /// Length in bytes, without extension headers.
    pub const LEN: usize = 40;

    /// Writes every byte of the header.
    #[inline]
    pub fn write(&self, out: &mut [u8; Self::LEN]) {
        let first = 6 << 28 | u32::from(self.traffic_class.0) << 20 | (self.flow_label & 0x000f_ffff);
        out[0..4].copy_from_slice(&first.to_be_bytes());
        out[4..6].copy_from_slice(&self.payload_len.to_be_bytes());
        out[6..8].copy_from_slice(&[self.next_header.0, self.hop_limit]);
        out[8..24].copy_from_slice(&self.source.octets());
        out[24..40].copy_from_slice(&self.destination.octets());
    }

    /// Changes the ECN field of a header in place. No checksum covers it.
    #[inline]
    pub fn set_ecn(fixed: &mut [u8; Self::LEN], ecn: Ecn) {
        fixed[1] = fixed[1] & 0xcf | ecn.bits() << 4;
    }

    /// Takes one of the hops left, in place. No checksum covers it. The caller has seen that there is more than one.
    #[inline]
    pub const fn decrement_hop_limit(fixed: &mut [u8; Self::LEN]) {
        fixed[7] = fixed[7].wrapping_sub(1);
    }
}

impl fmt::Display for Ipv6Header {
    /// `2001:db8::1 > 2001:db8::2 next 58 hops 255 payload 32`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} > {} next {}", self.source, self.destination, self.next_header)?;
        write!(f, " hops {} payload {}", self.hop_limit, self.payload_len)
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec::Vec;

    use super::*;

    const BYTES: [u8; 40] = [
        0x6b, 0xa1, 0x23, 0x45, 0x00, 0x10, 0x3a,
        0xff, // traffic class 0xba, label 0x12345, 16 bytes, ICMPv6, 255
        0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, // source
        0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, // destination
    ];

    const HEADER: Ipv6Header = Ipv6Header {
        traffic_class: TrafficClass(0xba),
        flow_label: 0x12345,
        payload_len: 16,
        next_header: IpProtocol::ICMPV6,
        hop_limit: 255,
        source: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1),
        destination: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2),
    };

    /// The known header with 16 bytes of payload, then `padding` bytes more.
    fn packet(padding: usize) -> Vec<u8> {
        let mut bytes = BYTES.to_vec();
        bytes.resize(56 + padding, 0xee);
        bytes
    }

    /// The way through `payload` when the header's next header is `first`.
    fn upper(first: IpProtocol, payload: &[u8]) -> Result<Upper, Malformed> {
        let mut bytes = BYTES;
        bytes[6] = first.0;
        Ipv6::parse_head(&bytes, 56).unwrap().upper(payload)
    }

    const UDP: u8 = IpProtocol::UDP.0;

    #[test]
    fn reads_known_bytes() {
        let bytes = packet(0);
        let (ip, payload) = Ipv6::parse(&bytes).unwrap();
        assert_eq!((ip.header(), payload), (HEADER, &[0xee; 16][..]));
        assert_eq!((ip.payload_len(), ip.total_len()), (16, 56));
        let plain = Upper { protocol: IpProtocol::ICMPV6, offset: 0, fragment: None, routed: false };
        assert_eq!(ip.upper(payload), Ok(plain));
    }

    #[test]
    fn writes_known_bytes_over_dirty_ones() {
        let mut out = [0xa5; 40];
        HEADER.write(&mut out);
        assert_eq!(out, BYTES);
        let mut out = [0xff; 40];
        Ipv6Header { flow_label: 0xfff1_2345, ..HEADER }.write(&mut out);
        assert_eq!(out, BYTES, "a flow label has 20 bits");
    }

    #[test]
    fn refuses_every_truncation() {
        let bytes = packet(0);
        for len in 0..56 {
            assert_eq!(Ipv6::parse(&bytes[..len]).err(), Some(Malformed::Truncated), "{len} bytes");
            assert_eq!(Ipv6::parse_head(&bytes, len).err(), Some(Malformed::Truncated), "{len} available");
        }
        assert_eq!(Ipv6::parse_head(&bytes[..40], 56).unwrap().total_len(), 56);
    }

    #[test]
    fn padding_is_not_payload() {
        let bytes = packet(5);
        let (ip, payload) = Ipv6::parse(&bytes).unwrap();
        assert_eq!((payload.len(), bytes.len() - ip.total_len()), (16, 5));
    }

    #[test]
    fn refuses_other_versions() {
        for version in (0..16).filter(|version| *version != 6) {
            let mut bytes = packet(0);
            bytes[0] = version << 4;
            assert_eq!(Ipv6::parse(&bytes).err(), Some(Malformed::BadVersion), "version {version}");
        }
    }

    #[test]
    fn walks_past_extension_headers() {
        let payload = [
            [60, 0, 0, 0, 0, 0, 0, 0],  // hop-by-hop, 8 bytes, then destination options
            [43, 1, 0, 0, 0, 0, 0, 0],  // destination options, 16 bytes, then routing
            [0; 8],                     // their second half
            [51, 0, 4, 0, 0, 0, 0, 0],  // routing, no segments left, then authentication
            [UDP, 2, 0, 0, 0, 0, 0, 0], // authentication, 16 bytes, then UDP
            [0; 8],                     // its second half
        ]
        .concat();
        let expected = Upper { protocol: IpProtocol::UDP, offset: 48, fragment: None, routed: false };
        assert_eq!(upper(IpProtocol::HOP_BY_HOP, &payload), Ok(expected));
        for len in 0..48 {
            assert_eq!(upper(IpProtocol::HOP_BY_HOP, &payload[..len]), Err(Malformed::Truncated), "{len} bytes");
        }
    }

    #[test]
    fn notices_source_routes() {
        assert!(upper(IpProtocol::ROUTING, &[UDP, 0, 4, 1, 0, 0, 0, 0]).unwrap().routed);
        let behind = [[IpProtocol::ROUTING.0, 0, 0, 0, 0, 0, 0, 0], [UDP, 0, 0, 9, 0, 0, 0, 0]].concat();
        assert!(upper(IpProtocol::HOP_BY_HOP, &behind).unwrap().routed);
    }

    #[test]
    fn goes_on_behind_a_first_fragment_and_stops_at_a_later_one() {
        let destination_options = IpProtocol::DESTINATION_OPTIONS.0;
        let options = [UDP, 0, 0, 0, 0, 0, 0, 0];
        let first = [[destination_options, 0, 0x00, 0x01, 1, 2, 3, 4], options].concat();
        let read = upper(IpProtocol::FRAGMENT, &first).unwrap();
        assert_eq!((read.protocol, read.offset, read.is_first()), (IpProtocol::UDP, 16, true));
        let fragment = read.fragment.unwrap();
        assert_eq!((fragment.offset(), fragment.more(), fragment.identification), (0, true, 0x0102_0304));

        let later = [[destination_options, 0, 0x05, 0xa8, 1, 2, 3, 4], options].concat();
        let read = upper(IpProtocol::FRAGMENT, &later).unwrap();
        assert_eq!((read.protocol.0, read.offset, read.is_first()), (destination_options, 8, false));
        let fragment = read.fragment.unwrap();
        assert_eq!((fragment.offset(), fragment.more()), (1448, false));
    }

    #[test]
    fn stops_where_nothing_can_be_read() {
        for last in [IpProtocol::ESP, IpProtocol::NONE, IpProtocol::TCP, IpProtocol(253)] {
            assert_eq!(upper(last, &[]).map(|upper| (upper.protocol, upper.offset)), Ok((last, 0)));
            let read = upper(IpProtocol::HOP_BY_HOP, &[last.0, 0, 0, 0, 0, 0, 0, 0]);
            assert_eq!(read.map(|upper| (upper.protocol, upper.offset)), Ok((last, 8)));
        }
    }

    #[test]
    fn walks_no_further_than_the_bound() {
        let chain = |extensions: usize| {
            let mut payload = [IpProtocol::DESTINATION_OPTIONS.0, 0, 0, 0, 0, 0, 0, 0].repeat(extensions);
            payload[8 * (extensions - 1)] = UDP;
            upper(IpProtocol::DESTINATION_OPTIONS, &payload).map(|upper| upper.offset)
        };
        assert_eq!(chain(MAX_EXTENSIONS), Ok(8 * MAX_EXTENSIONS));
        assert_eq!(chain(MAX_EXTENSIONS + 1), Err(Malformed::TooManyExtensions));
    }

    #[test]
    fn a_changed_ecn_changes_nothing_else() {
        for ecn in [Ecn::NotEct, Ecn::Ect0, Ecn::Ect1, Ecn::Ce] {
            let (mut bytes, mut expected) = (BYTES, [0; 40]);
            Ipv6Header::set_ecn(&mut bytes, ecn);
            Ipv6Header { traffic_class: HEADER.traffic_class.with_ecn(ecn), ..HEADER }.write(&mut expected);
            assert_eq!(bytes, expected, "{ecn:?}");
        }
    }

    #[test]
    fn one_hop_less_changes_nothing_else() {
        let (mut bytes, mut expected) = (BYTES, [0; 40]);
        Ipv6Header::decrement_hop_limit(&mut bytes);
        Ipv6Header { hop_limit: 254, ..HEADER }.write(&mut expected);
        assert_eq!(bytes, expected);
    }

    #[test]
    fn says_what_it_is() {
        assert_eq!(HEADER.to_string(), "2001:db8::1 > 2001:db8::2 next 58 hops 255 payload 16");
    }
}
