//! IPv4.
//!
//! Owns: the header with its options, its checksum, and the fragment field. Refuses: another version, a header shorter
//! than 20 bytes, lengths that lie. A wrong checksum is not refused by `parse`: a bridge forwards it; ask
//! [`Ipv4::checksum_holds`] where the gateway is addressed itself.
//! Read first: RFC 791 §3.1.

use core::fmt;
use core::net::Ipv4Addr;

use super::checksum::{Sum, update_u16};
use super::{Ecn, IpProtocol, Malformed, TrafficClass, be16, four};

/// Options of one byte (RFC 791 §3.1): the end of them, and padding.
pub(super) const END_OF_OPTIONS: u8 = 0;
pub(super) const NO_OPERATION: u8 = 1;
/// Loose and strict source and record route (RFC 791 §3.1).
const LOOSE_SOURCE_ROUTE: u8 = 131;
const STRICT_SOURCE_ROUTE: u8 = 137;

/// Flags and fragment offset, 16 bits (RFC 791 §3.1). The reserved bit is ignored when read, zero when built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fragment(u16);

impl Fragment {
    /// A whole datagram that may be fragmented on its way.
    pub const WHOLE: Self = Self(0);
    /// A whole datagram that must not be fragmented.
    pub const DONT_FRAGMENT: Self = Self(0x4000);

    /// The field as on the wire, its reserved bit cleared.
    #[inline]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits & 0x7fff)
    }

    /// The field as on the wire.
    #[inline]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Whether no router may fragment it further.
    #[inline]
    pub const fn dont_fragment(self) -> bool {
        self.0 & 0x4000 != 0
    }

    /// Whether another fragment follows.
    #[inline]
    pub const fn more(self) -> bool {
        self.0 & 0x2000 != 0
    }

    /// Where in the datagram this fragment's payload begins: bytes, a multiple of 8, at most 65,528.
    #[inline]
    pub const fn offset(self) -> u16 {
        (self.0 & 0x1fff) << 3
    }

    /// Whether it is a part of a datagram: the first or a later one.
    #[inline]
    pub const fn is_fragment(self) -> bool {
        self.0 & 0x3fff != 0
    }

    /// Whether the payload begins with the transport's header: a whole datagram or a first fragment.
    #[inline]
    pub const fn is_first(self) -> bool {
        self.0 & 0x1fff == 0
    }
}

/// View of an IPv4 header and its options.
#[derive(Clone, Copy)]
pub struct Ipv4<'a> {
    fixed: &'a [u8; Ipv4Header::LEN],
    options: &'a [u8],
}

impl<'a> Ipv4<'a> {
    /// The header at the start of `bytes`, and its payload as the total length says: what lies behind is padding, and
    /// `bytes.len() - total_len()` long.
    ///
    /// # Errors
    /// As [`Ipv4::parse_head`].
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Malformed> {
        let ip = Self::parse_head(bytes, bytes.len())?;
        let payload = bytes.get(ip.header_len()..ip.total_len()).ok_or(Malformed::Truncated)?;
        Ok((ip, payload))
    }

    /// The header at the start of `head`, of a datagram that may reach into further segments: `available` is the number
    /// of bytes in the frame from where `head` begins.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] if the header ends behind `head` or the total length is more than `available`;
    /// [`Malformed::BadVersion`] unless it is 4; [`Malformed::BadLength`] if the header claims to be shorter than 20
    /// bytes or longer than the datagram.
    #[inline]
    pub fn parse_head(head: &'a [u8], available: usize) -> Result<Self, Malformed> {
        let (fixed, rest) = head.split_first_chunk::<{ Ipv4Header::LEN }>().ok_or(Malformed::Truncated)?;
        if fixed[0] >> 4 != 4 {
            return Err(Malformed::BadVersion);
        }
        let options_len = header_len(fixed).checked_sub(Ipv4Header::LEN).ok_or(Malformed::BadLength)?;
        let ip = Self { fixed, options: rest.get(..options_len).ok_or(Malformed::Truncated)? };
        if ip.total_len() < ip.header_len() {
            return Err(Malformed::BadLength);
        }
        if ip.total_len() > available {
            return Err(Malformed::Truncated);
        }
        Ok(ip)
    }

    /// Length of the header with its options: bytes, 20 to 60, a multiple of 4.
    #[inline]
    pub const fn header_len(self) -> usize {
        header_len(self.fixed)
    }

    /// Length of header and payload: bytes, at least [`Ipv4::header_len`].
    #[inline]
    pub const fn total_len(self) -> usize {
        be16(self.fixed, 2) as usize
    }

    /// DSCP and ECN.
    #[inline]
    pub const fn traffic_class(self) -> TrafficClass {
        TrafficClass(self.fixed[1])
    }

    /// Identification, the same in all fragments of a datagram.
    #[inline]
    pub const fn identification(self) -> u16 {
        be16(self.fixed, 4)
    }

    /// Flags and fragment offset.
    #[inline]
    pub const fn fragment(self) -> Fragment {
        Fragment::from_bits(be16(self.fixed, 6))
    }

    /// Hops left.
    #[inline]
    pub const fn ttl(self) -> u8 {
        self.fixed[8]
    }

    /// The payload's protocol.
    #[inline]
    pub const fn protocol(self) -> IpProtocol {
        IpProtocol(self.fixed[9])
    }

    /// The checksum, right or wrong.
    #[inline]
    pub const fn checksum(self) -> u16 {
        be16(self.fixed, 10)
    }

    /// Whom it is from.
    #[inline]
    pub fn source(self) -> Ipv4Addr {
        Ipv4Addr::from(four(self.fixed, 12))
    }

    /// Whom it is for.
    #[inline]
    pub fn destination(self) -> Ipv4Addr {
        Ipv4Addr::from(four(self.fixed, 16))
    }

    /// The options: 0 to 40 bytes, a multiple of 4.
    #[inline]
    pub const fn options(self) -> &'a [u8] {
        self.options
    }

    /// Whether the header is as it was sent.
    #[inline]
    pub fn checksum_holds(self) -> bool {
        Sum::new().with(self.fixed).with(self.options).holds()
    }

    /// Whether an option wants the datagram to go a certain way, loosely or strictly.
    ///
    /// # Errors
    /// [`Malformed::BadLength`] if an option before any such ends behind the header, or before its own length.
    pub fn is_source_routed(self) -> Result<bool, Malformed> {
        let mut rest = self.options;
        // Every round takes at least one byte of at most 40.
        while let [kind, after @ ..] = rest {
            rest = match *kind {
                END_OF_OPTIONS => break,
                NO_OPERATION => after,
                LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE => return Ok(true),
                _ => match after.first() {
                    Some(len) if *len >= 2 => rest.get(usize::from(*len)..).ok_or(Malformed::BadLength)?,
                    _ => return Err(Malformed::BadLength),
                },
            };
        }
        Ok(false)
    }

    /// All but options and checksum, as plain data.
    #[inline]
    pub fn header(self) -> Ipv4Header {
        Ipv4Header {
            traffic_class: self.traffic_class(),
            total_len: be16(self.fixed, 2),
            identification: self.identification(),
            fragment: self.fragment(),
            ttl: self.ttl(),
            protocol: self.protocol(),
            source: self.source(),
            destination: self.destination(),
        }
    }
}

impl fmt::Debug for Ipv4<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} options {:02x?} checksum {:#06x}", self.header(), self.options, self.checksum())
    }
}

/// The header's length as its IHL says: bytes, 0 to 60.
#[inline(always)]
const fn header_len(fixed: &[u8; Ipv4Header::LEN]) -> usize {
    ((fixed[0] & 0x0f) as usize) << 2
}

/// An IPv4 header's fields, without options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Header {
    /// DSCP and ECN.
    pub traffic_class: TrafficClass,
    /// Length of header and payload, bytes.
    pub total_len: u16,
    /// Identification, the same in all fragments of a datagram.
    pub identification: u16,
    /// Flags and fragment offset.
    pub fragment: Fragment,
    /// Hops left.
    pub ttl: u8,
    /// The payload's protocol.
    pub protocol: IpProtocol,
    /// Whom it is from.
    pub source: Ipv4Addr,
    /// Whom it is for.
    pub destination: Ipv4Addr,
}

impl Ipv4Header {
    /// Length in bytes, without options.
    pub const LEN: usize = 20;

    /// Writes every byte of the header, with its checksum.
    #[inline]
    pub fn write(&self, out: &mut [u8; Self::LEN]) {
        out[0..2].copy_from_slice(&[0x45, self.traffic_class.0]);
        out[2..4].copy_from_slice(&self.total_len.to_be_bytes());
        out[4..6].copy_from_slice(&self.identification.to_be_bytes());
        out[6..8].copy_from_slice(&self.fragment.0.to_be_bytes());
        out[8..12].copy_from_slice(&[self.ttl, self.protocol.0, 0, 0]);
        out[12..16].copy_from_slice(&self.source.octets());
        out[16..20].copy_from_slice(&self.destination.octets());
        let checksum = Sum::new().with(out).finish();
        out[10..12].copy_from_slice(&checksum.to_be_bytes());
    }

    /// Changes the ECN field of a header in place, and its checksum with it. A wrong checksum stays wrong.
    #[inline]
    pub fn set_ecn(fixed: &mut [u8; Self::LEN], ecn: Ecn) {
        let old = be16(fixed, 0);
        fixed[1] = TrafficClass(fixed[1]).with_ecn(ecn).0;
        let checksum = update_u16(be16(fixed, 10), old, be16(fixed, 0));
        fixed[10..12].copy_from_slice(&checksum.to_be_bytes());
    }

    /// Takes one of the hops left, in place, and changes the checksum with it. A wrong checksum stays wrong. The caller has
    /// seen that there is more than one.
    #[inline]
    pub fn decrement_ttl(fixed: &mut [u8; Self::LEN]) {
        fixed[8] = fixed[8].wrapping_sub(1);
        // RFC 1624 eqn. 3: whatever the word was, its complement and one that is 0x100 less add up to 0xfeff. The sum is
        // at most 0x1_fefe: one fold is enough.
        let sum = u32::from(!be16(fixed, 10)) + 0xfeff;
        let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
        fixed[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
}

impl fmt::Display for Ipv4Header {
    /// `192.0.2.1 > 192.0.2.2 protocol 17 ttl 64 length 84`, with the fragment behind it if it is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} > {} protocol {}", self.source, self.destination, self.protocol)?;
        write!(f, " ttl {} length {}", self.ttl, self.total_len)?;
        if self.fragment.is_fragment() {
            write!(f, " fragment {}{}", self.fragment.offset(), if self.fragment.more() { "+" } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec::Vec;

    use super::*;

    /// The header of a 115-byte UDP datagram, checksum 0xb861.
    const BYTES: [u8; 20] = [
        0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8,
        0x00, 0xc7,
    ];

    const HEADER: Ipv4Header = Ipv4Header {
        traffic_class: TrafficClass(0),
        total_len: 115,
        identification: 0,
        fragment: Fragment::DONT_FRAGMENT,
        ttl: 64,
        protocol: IpProtocol::UDP,
        source: Ipv4Addr::new(192, 168, 0, 1),
        destination: Ipv4Addr::new(192, 168, 0, 199),
    };

    /// The known header, then `payload` bytes of 0xee.
    fn datagram(payload: usize) -> Vec<u8> {
        let mut bytes = BYTES.to_vec();
        bytes.resize(20 + payload, 0xee);
        bytes
    }

    /// A header with these options (a multiple of 4 bytes), nothing behind them.
    fn with_options(options: &[u8]) -> Vec<u8> {
        let mut bytes = [&BYTES[..], options].concat();
        bytes[0] = 0x45 + (options.len() / 4) as u8;
        bytes[3] = bytes.len() as u8;
        bytes
    }

    #[test]
    fn reads_known_bytes() {
        let bytes = datagram(95);
        let (ip, payload) = Ipv4::parse(&bytes).unwrap();
        assert_eq!(ip.header(), HEADER);
        assert_eq!((ip.header_len(), ip.total_len(), ip.options()), (20, 115, &[][..]));
        assert_eq!((ip.checksum(), ip.checksum_holds()), (0xb861, true));
        assert_eq!(payload, [0xee; 95]);
    }

    #[test]
    fn writes_known_bytes_over_dirty_ones() {
        for dirt in [0x00, 0xa5, 0xff] {
            let mut out = [dirt; 20];
            HEADER.write(&mut out);
            assert_eq!(out, BYTES);
        }
    }

    #[test]
    fn refuses_every_truncation() {
        let bytes = datagram(95);
        for len in 0..115 {
            assert_eq!(Ipv4::parse(&bytes[..len]).err(), Some(Malformed::Truncated), "{len} bytes");
            assert_eq!(Ipv4::parse_head(&bytes, len).err(), Some(Malformed::Truncated), "{len} available");
        }
        for len in 0..20 {
            assert_eq!(Ipv4::parse_head(&bytes[..len], 115).err(), Some(Malformed::Truncated), "head of {len}");
        }
        assert_eq!(Ipv4::parse_head(&bytes[..20], 115).unwrap().total_len(), 115);
    }

    #[test]
    fn a_header_cut_in_its_options_is_truncated() {
        let bytes = with_options(&[1; 40]);
        for len in 0..60 {
            assert_eq!(Ipv4::parse_head(&bytes[..len], 60).err(), Some(Malformed::Truncated), "head of {len}");
        }
        assert_eq!(Ipv4::parse(&bytes).unwrap().0.options(), [1; 40]);
    }

    #[test]
    fn padding_is_not_payload() {
        let bytes = datagram(95 + 7);
        let (ip, payload) = Ipv4::parse(&bytes).unwrap();
        assert_eq!((payload.len(), bytes.len() - ip.total_len()), (95, 7));
    }

    #[test]
    fn refuses_versions_and_lengths_that_lie() {
        for version in (0..16).filter(|version| *version != 4) {
            let mut bytes = datagram(95);
            bytes[0] = version << 4 | 5;
            assert_eq!(Ipv4::parse(&bytes).err(), Some(Malformed::BadVersion), "version {version}");
        }
        for ihl in 0..5 {
            let mut bytes = datagram(95);
            bytes[0] = 0x40 | ihl;
            assert_eq!(Ipv4::parse(&bytes).err(), Some(Malformed::BadLength), "IHL {ihl}");
        }
        for total in 0..20 {
            let mut bytes = datagram(95);
            bytes[3] = total;
            assert_eq!(Ipv4::parse(&bytes).err(), Some(Malformed::BadLength), "total length {total}");
        }
        let mut bytes = with_options(&[1; 4]);
        bytes[3] = 23;
        assert_eq!(Ipv4::parse(&bytes).err(), Some(Malformed::BadLength));
    }

    #[test]
    fn the_checksum_covers_every_bit_and_the_options() {
        let mut bytes = with_options(&[1, 1, 1, 0]);
        bytes[10..12].fill(0);
        let checksum = Sum::new().with(&bytes).finish();
        bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
        assert!(Ipv4::parse(&bytes).unwrap().0.checksum_holds());
        // Not the first four bytes, whose change may be refused before.
        for bit in 32..24 * 8 {
            let mut wrong = bytes.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(!Ipv4::parse(&wrong).unwrap().0.checksum_holds(), "bit {bit}");
        }
    }

    #[test]
    fn a_fragment_field_is_flags_and_offset() {
        let first = Fragment::from_bits(0x2000);
        assert!(first.more() && first.is_fragment() && first.is_first() && !first.dont_fragment());
        let last = Fragment::from_bits(0x00b9);
        assert!(!last.more() && last.is_fragment() && !last.is_first());
        assert_eq!(last.offset(), 1480);
        assert!(!Fragment::DONT_FRAGMENT.is_fragment() && Fragment::DONT_FRAGMENT.dont_fragment());
        assert!(!Fragment::WHOLE.is_fragment() && Fragment::WHOLE.is_first());
        assert_eq!(Fragment::from_bits(0xffff).bits(), 0x7fff);
        for bit in 0..13 {
            let later = Fragment::from_bits(1 << bit);
            assert!(later.is_fragment() && !later.is_first() && !later.more() && !later.dont_fragment(), "bit {bit}");
        }
        assert_eq!(Fragment::from_bits(0x1fff).offset(), 65_528);
    }

    #[test]
    fn finds_source_routes_among_options() {
        let routed = |options: &[u8]| Ipv4::parse(&with_options(options)).unwrap().0.is_source_routed();
        assert_eq!(routed(&[]), Ok(false));
        assert_eq!(routed(&[131, 3, 4, 0]), Ok(true));
        assert_eq!(routed(&[1, 137, 3, 4]), Ok(true));
        assert_eq!(routed(&[7, 7, 4, 0, 0, 0, 0, 131]), Ok(true), "behind a record route");
        assert_eq!(routed(&[7, 8, 4, 0, 0, 0, 0, 131]), Ok(false), "inside a record route");
        assert_eq!(routed(&[0, 131, 3, 4]), Ok(false), "behind the end");
        assert_eq!(routed(&[7, 2, 131, 0]), Ok(true), "behind an option of two bytes");
        assert_eq!(routed(&[7, 5, 4, 0]), Err(Malformed::BadLength));
        assert_eq!(routed(&[7, 0, 4, 0]), Err(Malformed::BadLength));
        assert_eq!(routed(&[7, 1, 4, 0]), Err(Malformed::BadLength));
        assert_eq!(routed(&[1, 1, 1, 7]), Err(Malformed::BadLength));
    }

    #[test]
    fn a_changed_ecn_changes_its_checksum_alone() {
        for ecn in [Ecn::NotEct, Ecn::Ect0, Ecn::Ect1, Ecn::Ce] {
            let mut expected = [0; 20];
            let header = Ipv4Header { traffic_class: TrafficClass(0xb9), ..HEADER };
            Ipv4Header { traffic_class: TrafficClass(0xb8 | ecn.bits()), ..HEADER }.write(&mut expected);
            let mut bytes = [0; 20];
            header.write(&mut bytes);
            Ipv4Header::set_ecn(&mut bytes, ecn);
            assert_eq!(bytes, expected, "{ecn:?}");

            let mut wrong = bytes;
            wrong[10] ^= 0x10;
            Ipv4Header::set_ecn(&mut wrong, Ecn::Ce);
            assert!(!Ipv4::parse_head(&wrong, 115).unwrap().checksum_holds());
        }
    }

    #[test]
    fn one_hop_less_is_the_header_written_anew() {
        let mut bytes = BYTES;
        Ipv4Header::decrement_ttl(&mut bytes);
        assert_eq!((bytes[8], &bytes[10..12]), (63, &[0xb9, 0x61][..]));
        for (ttl, identification) in (2..=255).flat_map(|ttl| (0..=u16::MAX).step_by(17).map(move |id| (ttl, id))) {
            let (mut bytes, mut expected) = ([0; 20], [0; 20]);
            Ipv4Header { ttl, identification, ..HEADER }.write(&mut bytes);
            Ipv4Header { ttl: ttl - 1, identification, ..HEADER }.write(&mut expected);
            Ipv4Header::decrement_ttl(&mut bytes);
            assert_eq!(bytes, expected, "ttl {ttl}, identification {identification}");
        }
    }

    #[test]
    fn says_what_it_is() {
        assert_eq!(HEADER.to_string(), "192.168.0.1 > 192.168.0.199 protocol 17 ttl 64 length 115");
        let fragment = Ipv4Header { fragment: Fragment::from_bits(0x20b9), ..HEADER };
        assert_eq!(fragment.to_string(), "192.168.0.1 > 192.168.0.199 protocol 17 ttl 64 length 115 fragment 1480+");
    }
}
