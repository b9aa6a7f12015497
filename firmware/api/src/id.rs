//! What objects are called: names, MAC addresses, segments, locations, prefixes.
//!
//! Every one of them is a string on the wire, and parses back to the same value. A value that no object can have
//! cannot be built.

pub use crate::name::Name;
use crate::trace::{AnyMac, Proto};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Why a string is not the identifier it should be: what was expected, and what was found instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdError {
    /// What would have been right, as a phrase: "a MAC address such as 02:00:00:00:00:01".
    pub expected: String,
    /// What was found.
    pub value: String,
}

impl IdError {
    pub(crate) fn new(expected: impl Into<String>, value: &str) -> Self {
        let mut value: String = value.chars().take(128).collect();
        if value.is_empty() {
            value.push_str("an empty string");
        }
        Self { expected: expected.into(), value }
    }
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, found {}", self.expected, self.value)
    }
}

impl std::error::Error for IdError {}

/// Serialises by `Display` and parses by `FromStr`, so that one form serves JSON, TOML and the command line.
macro_rules! as_string {
    ($($t:ty),*) => {$(
        impl Serialize for $t {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $t {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                d.deserialize_str(Parse(PhantomData))
            }
        }
    )*};
}

/// Parses a string where it stands, without a copy of it.
struct Parse<T>(PhantomData<T>);

impl<T: FromStr<Err = IdError>> Visitor<'_> for Parse<T> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

as_string!(Name, Mac, SegmentId, Location, IpPrefix, AllowedPair, AnyMac, Proto);

/// A number in plain digits: no sign, no blanks, so that every number has one spelling but for leading zeros.
fn digits<T: FromStr>(s: &str) -> Option<T> {
    s.bytes().all(|b| b.is_ascii_digit()).then(|| s.parse().ok()).flatten()
}

/// A unicast MAC address, as `02:00:00:00:00:01`. Multicast and all-zero addresses are refused: no host has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mac([u8; 6]);

impl Mac {
    /// The six octets, in the order they go on the wire.
    pub fn octets(self) -> [u8; 6] {
        self.0
    }

    /// The link-local address of an interface with this MAC (RFC 4291 §2.5.6 and appendix A).
    pub fn link_local(self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.0.map(u16::from);
        Ipv6Addr::new(0xfe80, 0, 0, 0, (a ^ 2) << 8 | b, c << 8 | 0xff, 0xfe00 | d, e << 8 | f)
    }

    /// Writes it behind what `out` has.
    pub fn push_to(self, out: &mut String) {
        out.push_str(std::str::from_utf8(&self.text()).unwrap_or_default());
    }

    fn text(self) -> [u8; 17] {
        // By hand: a million of them are written with a large state.
        let digit = |n: u8| b"0123456789abcdef"[usize::from(n & 0xf)];
        let mut text = [b':'; 17];
        for (place, octet) in text.chunks_mut(3).zip(self.0) {
            (place[0], place[1]) = (digit(octet >> 4), digit(octet));
        }
        text
    }

    fn number(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }
}

// By hand: tables are sorted by MAC, and two numbers compare faster than two arrays.
impl Ord for Mac {
    fn cmp(&self, other: &Self) -> Ordering {
        self.number().cmp(&other.number())
    }
}

impl PartialOrd for Mac {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl TryFrom<[u8; 6]> for Mac {
    type Error = IdError;
    fn try_from(o: [u8; 6]) -> Result<Self, IdError> {
        if o[0] & 1 == 1 || o == [0; 6] {
            return Err(IdError::new("a unicast MAC address", &Mac(o).to_string()));
        }
        Ok(Self(o))
    }
}

impl FromStr for Mac {
    type Err = IdError;
    fn from_str(s: &str) -> Result<Self, IdError> {
        let error = || IdError::new("a MAC address such as 02:00:00:00:00:01", s);
        let text: &[u8; 17] = s.as_bytes().try_into().map_err(|_| error())?;
        let mut octets = [0u8; 6];
        for (n, octet) in octets.iter_mut().enumerate() {
            let digit = |at: usize| char::from(text[3 * n + at]).to_digit(16);
            let (Some(high), Some(low)) = (digit(0), digit(1)) else { return Err(error()) };
            if n < 5 && !matches!(text[3 * n + 2], b':' | b'-') {
                return Err(error());
            }
            *octet = (high << 4 | low) as u8;
        }
        Self::try_from(octets)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(std::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

/// What a bridge is attached to: `vlan/PORT/VID`, `vlan/PORT/untagged`, `qinq/PORT/OUTER/INNER`, `vxlan/VNI`, `nvgre/VSID` or
/// `geneve/VNI`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SegmentId {
    /// A VLAN on a port. `None` is untagged (and priority-tagged) traffic.
    Vlan {
        /// The port's name in `weir.toml`.
        port: Name,
        /// 1 to 4094, or `None` for untagged.
        vid: Option<u16>,
    },
    /// A customer's VLAN within a provider's on a port: two tags (IEEE 802.1ad).
    Qinq {
        /// The port's name in `weir.toml`.
        port: Name,
        /// The outer tag: 1 to 4094.
        outer: u16,
        /// The inner tag: 1 to 4094.
        inner: u16,
    },
    /// A VXLAN network: 0 to 16,777,215 (RFC 7348 §5).
    Vxlan {
        /// The 24-bit VXLAN network identifier.
        vni: u32,
    },
    /// An NVGRE virtual subnet: 4,096 to 16,777,214 (RFC 7637 §3.2).
    Nvgre {
        /// The 24-bit virtual subnet identifier.
        vsid: u32,
    },
    /// A Geneve network: 0 to 16,777,215 (RFC 8926 §3.4).
    Geneve {
        /// The 24-bit virtual network identifier.
        vni: u32,
    },
}

impl SegmentId {
    /// Whether frames of this segment come and go by a tunnel.
    pub fn is_tunnel(&self) -> bool {
        matches!(self, Self::Vxlan { .. } | Self::Nvgre { .. } | Self::Geneve { .. })
    }
}

/// A VLAN ID.
fn vid(s: &str, expected: &str) -> Result<u16, IdError> {
    digits(s).filter(|vid| (1..=4094).contains(vid)).ok_or_else(|| IdError::new(expected, s))
}

/// A network identifier of 24 bits.
fn vni(s: &str) -> Result<u32, IdError> {
    digits(s).filter(|vni| *vni <= 0xff_ffff).ok_or_else(|| IdError::new("a VNI from 0 to 16777215", s))
}

impl FromStr for SegmentId {
    type Err = IdError;
    fn from_str(s: &str) -> Result<Self, IdError> {
        // One more than the longest has, and no allocation: there may be a million of them to read.
        let mut parts = [""; 5];
        let count = parts.iter_mut().zip(s.split('/')).map(|(place, part)| *place = part).count();
        match parts[..count] {
            ["vlan", port, "untagged"] => Ok(Self::Vlan { port: port.parse()?, vid: None }),
            ["vlan", port, number] => {
                let vid = vid(number, "a VLAN ID from 1 to 4094, or untagged")?;
                Ok(Self::Vlan { port: port.parse()?, vid: Some(vid) })
            }
            ["qinq", port, outer, inner] => Ok(Self::Qinq {
                port: port.parse()?,
                outer: vid(outer, "an outer VLAN ID from 1 to 4094")?,
                inner: vid(inner, "an inner VLAN ID from 1 to 4094")?,
            }),
            ["vxlan", number] => Ok(Self::Vxlan { vni: vni(number)? }),
            ["geneve", number] => Ok(Self::Geneve { vni: vni(number)? }),
            ["nvgre", number] => match digits(number) {
                Some(vsid @ 0x1000..=0xff_fffe) => Ok(Self::Nvgre { vsid }),
                _ => Err(IdError::new("a VSID from 4096 to 16777214 (RFC 7637 reserves the others)", number)),
            },
            _ => {
                let forms = "a segment: vlan/PORT/VID, vlan/PORT/untagged, qinq/PORT/OUTER/INNER, vxlan/VNI, nvgre/VSID or geneve/VNI";
                Err(IdError::new(forms, s))
            }
        }
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vlan { port, vid: Some(vid) } => write!(f, "vlan/{port}/{vid}"),
            Self::Vlan { port, vid: None } => write!(f, "vlan/{port}/untagged"),
            Self::Qinq { port, outer, inner } => write!(f, "qinq/{port}/{outer}/{inner}"),
            Self::Vxlan { vni } => write!(f, "vxlan/{vni}"),
            Self::Nvgre { vsid } => write!(f, "nvgre/{vsid}"),
            Self::Geneve { vni } => write!(f, "geneve/{vni}"),
        }
    }
}

/// Where a host is: on a local segment (`vlan/lan0/100`), or behind a peer (`vxlan/10000/192.0.2.2`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location {
    /// The segment the host's frames come and go on.
    pub segment: SegmentId,
    /// The remote tunnel endpoint; exactly when the segment is a tunnel.
    pub peer: Option<IpAddr>,
}

impl FromStr for Location {
    type Err = IdError;
    fn from_str(s: &str) -> Result<Self, IdError> {
        let local = s.starts_with("vlan/") || s.starts_with("qinq/");
        let tunnel =
            s.rsplit_once('/').filter(|_| !local).and_then(|(id, peer)| Some((id.parse::<SegmentId>().ok()?, peer)));
        if let Some((segment, peer)) = tunnel.filter(|(segment, _)| segment.is_tunnel()) {
            let peer = peer.parse().map_err(|_| IdError::new("a peer's IP address", peer))?;
            return Ok(Self { segment, peer: Some(peer) });
        }
        let segment: SegmentId = s.parse()?;
        if segment.is_tunnel() {
            return Err(IdError::new(format!("{segment}/PEER, since a tunnel leads to many places"), s));
        }
        Ok(Self { segment, peer: None })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.peer {
            Some(peer) => write!(f, "{}/{peer}", self.segment),
            None => write!(f, "{}", self.segment),
        }
    }
}

/// An address and a prefix length, as `192.0.2.1/24`. Bits behind the prefix are kept: it can name a host in its net.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IpPrefix {
    address: IpAddr,
    length: u8,
}

impl IpPrefix {
    /// The address as it was written, host bits and all.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// The prefix length in bits: 0 to 32, or to 128.
    pub fn length(self) -> u8 {
        self.length
    }

    /// The whole net: no bits behind the prefix.
    pub fn net(self) -> Self {
        let length = u32::from(self.length);
        let address = match self.address {
            IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & !u32::MAX.checked_shr(length).unwrap_or(0)).into(),
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::MAX.checked_shr(length).unwrap_or(0)).into(),
        };
        Self { address, ..self }
    }

    /// All addresses of a family.
    pub fn default_route(v6: bool) -> Self {
        let address = if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        Self { address, length: 0 }
    }

    /// Whether it is one address, not a net of several.
    pub fn is_exact(self) -> bool {
        self == self.address.into()
    }

    /// Whether `other` is of the same family and lies in this prefix.
    pub fn contains(self, other: IpAddr) -> bool {
        fn same(a: u128, b: u128, width: u32, length: u8) -> bool {
            (a ^ b).checked_shr(width - u32::from(length)).unwrap_or(0) == 0
        }
        match (self.address, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32, self.length),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128, self.length),
            _ => false,
        }
    }
}

impl From<IpAddr> for IpPrefix {
    /// The prefix of one address.
    fn from(address: IpAddr) -> Self {
        Self { address, length: if address.is_ipv4() { 32 } else { 128 } }
    }
}

impl TryFrom<(IpAddr, u8)> for IpPrefix {
    type Error = IdError;
    fn try_from((address, length): (IpAddr, u8)) -> Result<Self, IdError> {
        if length > if address.is_ipv4() { 32 } else { 128 } {
            return Err(IdError::new("a prefix length of at most 32, or 128", &length.to_string()));
        }
        Ok(Self { address, length })
    }
}

impl FromStr for IpPrefix {
    type Err = IdError;
    fn from_str(s: &str) -> Result<Self, IdError> {
        let error = || IdError::new("an address with a prefix length, such as 192.0.2.1/24", s);
        let (address, length) = s.split_once('/').ok_or_else(error)?;
        let address: IpAddr = address.parse().map_err(|_| error())?;
        Self::try_from((address, digits(length).ok_or_else(error)?)).map_err(|_| error())
    }
}

impl fmt::Display for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// An address, or a whole prefix, that an endpoint may hold besides its own: `10.0.0.100`, `10.0.0.0/24`, or with the MAC that
/// holds it instead of the endpoint's, `10.0.0.100=00:00:5e:00:01:33`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AllowedPair {
    /// The address, with all its bits, or the prefix.
    pub prefix: IpPrefix,
    /// The MAC that holds it; the endpoint's own if none is said.
    pub mac: Option<Mac>,
}

impl AllowedPair {
    /// Whether it is one address, not a prefix of several.
    pub fn is_exact(self) -> bool {
        self.prefix.is_exact()
    }
}

impl FromStr for AllowedPair {
    type Err = IdError;
    fn from_str(s: &str) -> Result<Self, IdError> {
        let error =
            || IdError::new("ADDRESS, PREFIX/LENGTH or either with =MAC, such as 10.0.0.100=00:00:5e:00:01:33", s);
        let (what, mac) = match s.split_once('=') {
            Some((what, mac)) => (what, Some(mac.parse()?)),
            None => (s, None),
        };
        let prefix = match what.parse::<IpAddr>() {
            Ok(address) => address.into(),
            Err(_) => what.parse().map_err(|_| error())?,
        };
        Ok(Self { prefix, mac })
    }
}

impl fmt::Display for AllowedPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_exact() {
            true => write!(f, "{}", self.prefix.address)?,
            false => write!(f, "{}", self.prefix)?,
        }
        self.mac.map_or(Ok(()), |mac| write!(f, "={mac}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn round_trip<T: FromStr<Err = IdError> + fmt::Display>(text: &str) {
        match text.parse::<T>() {
            Ok(value) => assert_eq!(value.to_string(), text),
            Err(e) => panic!("{text}: {e}"),
        }
    }

    #[test]
    fn every_identifier_prints_as_it_was_written() {
        round_trip::<Name>("web-1.prod_a");
        round_trip::<Mac>("02:00:00:aa:bb:cc");
        round_trip::<SegmentId>("vlan/lan0/100");
        round_trip::<SegmentId>("vlan/lan0/untagged");
        round_trip::<SegmentId>("vxlan/16777215");
        round_trip::<SegmentId>("qinq/lan0/200/100");
        round_trip::<SegmentId>("nvgre/4096");
        round_trip::<SegmentId>("geneve/0");
        round_trip::<Location>("qinq/lan0/200/100");
        round_trip::<Location>("nvgre/5000/2001:db8::2");
        round_trip::<AllowedPair>("10.0.0.100");
        round_trip::<AllowedPair>("2001:db8::/64");
        round_trip::<AllowedPair>("10.0.0.100=00:00:5e:00:01:33");
        round_trip::<Location>("vlan/lan0/100");
        round_trip::<Location>("vxlan/10000/192.0.2.2");
        round_trip::<Location>("vxlan/10000/2001:db8::2");
        round_trip::<IpPrefix>("192.0.2.1/24");
        round_trip::<IpPrefix>("2001:db8::1/64");
    }

    #[test]
    fn what_no_object_can_be_called_is_refused() {
        for bad in ["", "a/b", "ä", &"x".repeat(64)] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
        for bad in [
            "",
            "02:00:00:00:00",
            "02:00:00:00:00:01:02",
            "01:00:5e:00:00:01",
            "00:00:00:00:00:00",
            "2:0:0:0:0:1",
            "+2:00:00:00:00:01",
        ] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
        for bad in [
            "vlan/lan0/0",
            "vlan/lan0/4095",
            "vxlan/16777216",
            "geneve/16777216",
            "nvgre/4095",
            "nvgre/16777215",
            "qinq/lan0/100",
            "qinq/lan0/0/1",
            "vxlan/-1",
            "vlan/lan0",
            "gre/1",
            "vxlan/10000/192.0.2.2",
        ] {
            assert!(bad.parse::<SegmentId>().is_err(), "{bad}");
        }
        for bad in ["vxlan/10000", "vxlan/10000/x", "vlan/lan0/100/192.0.2.2"] {
            assert!(bad.parse::<Location>().is_err(), "{bad}");
        }
        for bad in ["10.0.0.0/33", "10.0.0.1=", "10.0.0.1=01:00:5e:00:00:01", "=02:00:00:00:00:01"] {
            assert!(bad.parse::<AllowedPair>().is_err(), "{bad}");
        }
        for bad in ["192.0.2.1", "192.0.2.1/33", "2001:db8::1/129", "/24"] {
            assert!(bad.parse::<IpPrefix>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_mac_gives_a_link_local_address() {
        let mac: Mac = "02:00:5e:00:00:01".parse().unwrap();
        assert_eq!(mac.link_local().to_string(), "fe80::5eff:fe00:1");
        let mac: Mac = "34:56:78:9a:bc:de".parse().unwrap();
        assert_eq!(mac.link_local().to_string(), "fe80::3656:78ff:fe9a:bcde");
    }

    #[test]
    fn a_prefix_contains_its_own_and_no_other() {
        let net: IpPrefix = "192.0.2.129/25".parse().unwrap();
        assert!(net.contains("192.0.2.200".parse().unwrap()));
        assert!(!net.contains("192.0.2.1".parse().unwrap()));
        assert!(!net.contains("2001:db8::1".parse().unwrap()));
        assert_eq!(net.net().to_string(), "192.0.2.128/25");
        assert_eq!("2001:db8::1/0".parse::<IpPrefix>().unwrap().net().to_string(), "::/0");
        assert_eq!("10.0.0.1/32".parse::<IpPrefix>().unwrap().net().to_string(), "10.0.0.1/32");
        let all: IpPrefix = "::/0".parse().unwrap();
        assert!(all.contains("2001:db8::1".parse().unwrap()));
    }
}
