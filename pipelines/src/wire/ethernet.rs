//! Ethernet II, and the tags of 802.1Q and 802.1ad.
//!
//! Owns: [`MacAddr`], [`EtherType`], [`VlanId`], [`Tag`], and the 14-byte header. Refuses nothing but frames that are
//! too short: a length in the EtherType's place (LLC) is a frame like any other.
//! Read first: IEEE 802.3-2018 §3.2, IEEE 802.1Q-2018 §9.6 (tag control information) and table 8-1 (reserved addresses).

use core::fmt;

use super::{Malformed, be16};

/// An Ethernet address, any of them.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// Every station.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// All zero: nobody's, and no legal source.
    pub const ZERO: Self = Self([0; 6]);

    /// Whether it is a group address; the broadcast address is one.
    #[inline]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether it is the broadcast address.
    #[inline]
    pub const fn is_broadcast(self) -> bool {
        self.to_bits() == 0xffff_ffff_ffff
    }

    /// Whether it is all zero.
    #[inline]
    pub const fn is_zero(self) -> bool {
        self.to_bits() == 0
    }

    /// Whether a frame may come from it: neither a group address nor zero.
    #[inline]
    pub const fn is_source(self) -> bool {
        !self.is_multicast() && !self.is_zero()
    }

    /// Whether it is one of 01-80-C2-00-00-00 to -0F (IEEE 802.1Q-2018 table 8-1), which no bridge forwards: STP, LACP,
    /// LLDP, pause.
    #[inline]
    pub const fn is_link_local_control(self) -> bool {
        self.to_bits() >> 4 == 0x0180_c200_0000 >> 4
    }

    /// The address in the low 48 bits of a number, its first byte in bits 40 to 47; what is above is ignored.
    #[inline]
    pub const fn from_bits(bits: u64) -> Self {
        let [_, _, a, b, c, d, e, f] = bits.to_be_bytes();
        Self([a, b, c, d, e, f])
    }

    /// The address as a number: its first byte in bits 40 to 47. A key for tables.
    #[inline]
    pub const fn to_bits(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }

    /// The six bytes from `at`.
    #[inline(always)]
    pub(super) const fn at<const N: usize>(bytes: &[u8; N], at: usize) -> Self {
        Self([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3], bytes[at + 4], bytes[at + 5]])
    }
}

impl fmt::Display for MacAddr {
    /// Lower-case, with colons: `02:00:00:00:00:0a`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What follows an Ethernet header or a tag: a protocol from 0x600, a length below (IEEE 802.3-2018 §3.2.6).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EtherType(pub u16);

impl EtherType {
    /// IPv4 (RFC 894).
    pub const IPV4: Self = Self(0x0800);
    /// ARP (RFC 826).
    pub const ARP: Self = Self(0x0806);
    /// Transparent Ethernet bridging, the payload of NVGRE (RFC 7637 §3.2).
    pub const TRANSPARENT_ETHERNET: Self = Self(0x6558);
    /// A customer tag, 802.1Q.
    pub const VLAN: Self = Self(0x8100);
    /// IPv6 (RFC 2464).
    pub const IPV6: Self = Self(0x86dd);
    /// A service tag, 802.1ad.
    pub const SERVICE_VLAN: Self = Self(0x88a8);
    /// Link layer discovery, 802.1AB.
    pub const LLDP: Self = Self(0x88cc);

    /// Whether a tag follows: 802.1Q or 802.1ad.
    #[inline]
    pub const fn is_tag(self) -> bool {
        matches!(self, Self::VLAN | Self::SERVICE_VLAN)
    }

    /// Whether it is a length, and an LLC header follows.
    #[inline]
    pub const fn is_length(self) -> bool {
        self.0 < 0x600
    }
}

impl fmt::Display for EtherType {
    /// The number: `0x0800`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.0)
    }
}

impl fmt::Debug for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A VLAN identifier from 1 to 4094 (IEEE 802.1Q-2018 §9.6: 0 is a priority tag, 4095 reserved).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VlanId(u16);

/// The number is no VLAN identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IllegalVlanId(pub u16);

impl fmt::Display for IllegalVlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VLAN identifier {} is not in 1 to 4094", self.0)
    }
}

impl core::error::Error for IllegalVlanId {}

impl TryFrom<u16> for VlanId {
    type Error = IllegalVlanId;
    fn try_from(vid: u16) -> Result<Self, IllegalVlanId> {
        if (1..=4094).contains(&vid) { Ok(Self(vid)) } else { Err(IllegalVlanId(vid)) }
    }
}

impl From<VlanId> for u16 {
    #[inline]
    fn from(vid: VlanId) -> u16 {
        vid.0
    }
}

impl fmt::Display for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// One 802.1Q or 802.1ad tag (IEEE 802.1Q-2018 §9.3): what kind, and its control information.
///
/// In a frame its EtherType stands where the untagged frame's would be, so that [`Tag::LEN`] bytes from there are the tag
/// and the payload's EtherType follows.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag {
    tpid: EtherType,
    tci: u16,
}

impl Tag {
    /// Length in bytes: the tag's EtherType and its control information.
    pub const LEN: usize = 4;

    /// A tag for a VLAN, of priority 0 and not drop eligible.
    #[inline]
    pub const fn new(tpid: EtherType, vid: VlanId) -> Self {
        Self { tpid, tci: vid.0 }
    }

    /// The tag with this control information: every number is legal.
    #[inline]
    pub const fn from_tci(tpid: EtherType, tci: u16) -> Self {
        Self { tpid, tci }
    }

    /// The tag's EtherType: [`EtherType::VLAN`] or [`EtherType::SERVICE_VLAN`].
    #[inline]
    pub const fn tpid(self) -> EtherType {
        self.tpid
    }

    /// Control information: PCP in bits 13 to 15, DEI in bit 12, VID below.
    #[inline]
    pub const fn tci(self) -> u16 {
        self.tci
    }

    /// Priority code point, 0 to 7.
    #[inline]
    pub const fn pcp(self) -> u8 {
        (self.tci >> 13) as u8
    }

    /// Drop eligible indicator.
    #[inline]
    pub const fn dei(self) -> bool {
        self.tci & 0x1000 != 0
    }

    /// VLAN identifier as it is on the wire, 0 to 4095: 0 is a priority tag, 4095 is illegal.
    #[inline]
    pub const fn vid(self) -> u16 {
        self.tci & 0x0fff
    }

    /// The same priority and drop eligibility on another VLAN.
    #[inline]
    #[must_use]
    pub const fn with_vid(self, vid: VlanId) -> Self {
        Self { tpid: self.tpid, tci: self.tci & 0xf000 | vid.0 }
    }

    /// Reads what follows a header of EtherType `tpid`: the control information and the payload's EtherType. Answers
    /// the tag, that EtherType, and the bytes behind it.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] if there are fewer than four bytes.
    #[inline]
    pub fn parse(tpid: EtherType, bytes: &[u8]) -> Result<(Self, EtherType, &[u8]), Malformed> {
        let (rest, payload) = bytes.split_first_chunk::<4>().ok_or(Malformed::Truncated)?;
        Ok((Self { tpid, tci: be16(rest, 0) }, EtherType(be16(rest, 2)), payload))
    }

    /// Writes EtherType and control information.
    #[inline]
    pub fn write(self, out: &mut [u8; Self::LEN]) {
        let [a, b] = self.tpid.0.to_be_bytes();
        let [c, d] = self.tci.to_be_bytes();
        *out = [a, b, c, d];
    }
}

impl fmt::Display for Tag {
    /// `0x8100 vid 42 pcp 3`, with `dei` behind it if that is set.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} vid {} pcp {}{}", self.tpid, self.vid(), self.pcp(), if self.dei() { " dei" } else { "" })
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// View of an Ethernet header.
#[derive(Clone, Copy)]
pub struct Ethernet<'a>(&'a [u8; EthernetHeader::LEN]);

impl<'a> Ethernet<'a> {
    /// The header at the start of a frame, and what follows it: a tag's last four bytes if the EtherType
    /// [is a tag's](EtherType::is_tag), the payload otherwise.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] if there are fewer than 14 bytes.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Malformed> {
        let (header, payload) = bytes.split_first_chunk().ok_or(Malformed::Truncated)?;
        Ok((Self(header), payload))
    }

    /// Whom it is for.
    #[inline]
    pub const fn destination(self) -> MacAddr {
        MacAddr::at(self.0, 0)
    }

    /// Whom it is from.
    #[inline]
    pub const fn source(self) -> MacAddr {
        MacAddr::at(self.0, 6)
    }

    /// What follows.
    #[inline]
    pub const fn ether_type(self) -> EtherType {
        EtherType(be16(self.0, 12))
    }

    /// All of it, as plain data.
    #[inline]
    pub const fn header(self) -> EthernetHeader {
        EthernetHeader { destination: self.destination(), source: self.source(), ether_type: self.ether_type() }
    }
}

impl fmt::Debug for Ethernet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.header().fmt(f)
    }
}

/// An Ethernet header's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EthernetHeader {
    /// Whom it is for.
    pub destination: MacAddr,
    /// Whom it is from.
    pub source: MacAddr,
    /// What follows.
    pub ether_type: EtherType,
}

impl EthernetHeader {
    /// Length in bytes, without tags.
    pub const LEN: usize = 14;

    /// Writes every byte of the header.
    #[inline]
    pub fn write(&self, out: &mut [u8; Self::LEN]) {
        out[0..6].copy_from_slice(&self.destination.0);
        out[6..12].copy_from_slice(&self.source.0);
        out[12..14].copy_from_slice(&self.ether_type.0.to_be_bytes());
    }
}

impl fmt::Display for EthernetHeader {
    /// `02:00:00:00:00:01 > 02:00:00:00:00:02 0x0800`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} > {} {}", self.source, self.destination, self.ether_type)
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    /// A tagged IPv4 frame's first 18 bytes, and one of its payload.
    const TAGGED: [u8; 19] = [
        0x02, 0x00, 0x00, 0x00, 0x00, 0x0a, // destination
        0x52, 0x54, 0x00, 0x12, 0x34, 0x56, // source
        0x81, 0x00, 0x70, 0x2a, // 802.1Q, PCP 3, DEI, VID 42
        0x08, 0x00, // IPv4
        0x45,
    ];

    const HEADER: EthernetHeader = EthernetHeader {
        destination: MacAddr([0x02, 0, 0, 0, 0, 0x0a]),
        source: MacAddr([0x52, 0x54, 0x00, 0x12, 0x34, 0x56]),
        ether_type: EtherType::VLAN,
    };

    #[test]
    fn reads_known_bytes() {
        let (ethernet, rest) = Ethernet::parse(&TAGGED).unwrap();
        assert_eq!(ethernet.header(), HEADER);
        assert!(ethernet.ether_type().is_tag());
        let (tag, ether_type, payload) = Tag::parse(ethernet.ether_type(), rest).unwrap();
        assert_eq!((tag.tpid(), tag.pcp(), tag.dei(), tag.vid()), (EtherType::VLAN, 3, true, 42));
        assert_eq!((tag.tci(), ether_type, payload), (0x702a, EtherType::IPV4, &[0x45][..]));
    }

    #[test]
    fn writes_known_bytes_over_dirty_ones() {
        let mut out = [0xa5; 14];
        HEADER.write(&mut out);
        assert_eq!(out, TAGGED[..14]);
        let mut out = [0xa5; 4];
        Tag::from_tci(EtherType::VLAN, 0x702a).write(&mut out);
        assert_eq!(out, TAGGED[12..16]);
    }

    #[test]
    fn refuses_every_truncation() {
        for len in 0..14 {
            assert_eq!(Ethernet::parse(&TAGGED[..len]).err(), Some(Malformed::Truncated), "{len} bytes");
        }
        for len in 0..4 {
            let tag = Tag::parse(EtherType::VLAN, &TAGGED[14..14 + len]);
            assert_eq!(tag.err(), Some(Malformed::Truncated), "{len} bytes");
        }
    }

    #[test]
    fn a_tag_keeps_its_priority_on_another_vlan() {
        let vid = VlanId::try_from(4094).unwrap();
        let tag = Tag::from_tci(EtherType::SERVICE_VLAN, 0xb000).with_vid(vid);
        assert_eq!((tag.pcp(), tag.dei(), tag.vid(), tag.tpid()), (5, true, 4094, EtherType::SERVICE_VLAN));
        assert_eq!(Tag::new(EtherType::VLAN, vid).tci(), 4094);
        assert_eq!(Tag::from_tci(EtherType::VLAN, 0xffff).with_vid(vid).tci(), 0xfffe);
    }

    #[test]
    fn only_1_to_4094_identify_a_vlan() {
        for vid in 0..=u16::MAX {
            let expected = if vid == 0 || vid >= 4095 { Err(IllegalVlanId(vid)) } else { Ok(vid) };
            assert_eq!(VlanId::try_from(vid).map(u16::from), expected);
        }
    }

    #[test]
    fn knows_the_kinds_of_addresses() {
        let (broadcast, zero) = (MacAddr::BROADCAST, MacAddr::ZERO);
        assert!(broadcast.is_broadcast() && broadcast.is_multicast() && !broadcast.is_zero() && !broadcast.is_source());
        assert!(zero.is_zero() && !zero.is_multicast() && !zero.is_broadcast() && !zero.is_source());
        let group = MacAddr([0x33, 0x33, 0, 0, 0, 1]);
        assert!(group.is_multicast() && !group.is_broadcast() && !group.is_source());
        assert!(HEADER.source.is_source() && !HEADER.source.is_multicast());
        let group = MacAddr([0x01, 0x00, 0x5e, 0x00, 0x00, 0x02]);
        assert!(group.is_multicast() && !MacAddr([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff]).is_multicast());
    }

    #[test]
    fn control_addresses_are_the_sixteen_of_802_1q() {
        for last in 0..=255 {
            assert_eq!(MacAddr([0x01, 0x80, 0xc2, 0, 0, last]).is_link_local_control(), last < 16, "{last:#x}");
        }
        for (byte, bit) in (0..5).flat_map(|byte| (0..8).map(move |bit| (byte, bit))) {
            let mut mac = MacAddr([0x01, 0x80, 0xc2, 0, 0, 0]);
            mac.0[byte] ^= 1 << bit;
            assert!(!mac.is_link_local_control(), "{mac}");
        }
    }

    #[test]
    fn lengths_end_where_protocols_begin() {
        assert!(EtherType(0x05ff).is_length() && !EtherType(0x0600).is_length());
    }

    #[test]
    fn says_what_it_is() {
        assert_eq!(HEADER.to_string(), "52:54:00:12:34:56 > 02:00:00:00:00:0a 0x8100");
        assert_eq!(Tag::from_tci(EtherType::VLAN, 0x702a).to_string(), "0x8100 vid 42 pcp 3 dei");
        assert_eq!(Tag::from_tci(EtherType::SERVICE_VLAN, 7).to_string(), "0x88a8 vid 7 pcp 0");
        assert_eq!(IllegalVlanId(4095).to_string(), "VLAN identifier 4095 is not in 1 to 4094");
        assert_eq!(HEADER.source.to_bits(), 0x5254_0012_3456);
    }
}
