//! What IPv4 and IPv6 share: protocol numbers, and the traffic class with its ECN field.
//!
//! Owns: [`IpProtocol`], [`TrafficClass`], and the ECN rules of tunnels. Refuses nothing: every byte is legal.
//! Read first: RFC 2474 §3 (DSCP), RFC 3168 §5 (ECN), RFC 6040 §4 (ECN in tunnels).

use core::fmt;

/// The protocol of an IP payload, or the kind of an IPv6 extension header (IANA "Protocol Numbers").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IpProtocol(pub u8);

impl IpProtocol {
    /// IPv6 hop-by-hop options (RFC 8200 §4.3).
    pub const HOP_BY_HOP: Self = Self(0);
    /// ICMP over IPv4 (RFC 792).
    pub const ICMP: Self = Self(1);
    /// TCP (RFC 9293).
    pub const TCP: Self = Self(6);
    /// UDP (RFC 768).
    pub const UDP: Self = Self(17);
    /// IPv6 routing header (RFC 8200 §4.4).
    pub const ROUTING: Self = Self(43);
    /// IPv6 fragment header (RFC 8200 §4.5).
    pub const FRAGMENT: Self = Self(44);
    /// GRE (RFC 2784).
    pub const GRE: Self = Self(47);
    /// Encapsulating security payload (RFC 4303): what follows cannot be read.
    pub const ESP: Self = Self(50);
    /// Authentication header (RFC 4302).
    pub const AUTHENTICATION: Self = Self(51);
    /// ICMPv6 (RFC 4443).
    pub const ICMPV6: Self = Self(58);
    /// IPv6: nothing follows (RFC 8200 §4.7).
    pub const NONE: Self = Self(59);
    /// IPv6 destination options (RFC 8200 §4.6).
    pub const DESTINATION_OPTIONS: Self = Self(60);
    /// SCTP (RFC 9260).
    pub const SCTP: Self = Self(132);
    /// IPv6 mobility header (RFC 6275 §6.1).
    pub const MOBILITY: Self = Self(135);
    /// Host identity protocol (RFC 7401).
    pub const HIP: Self = Self(139);
    /// Shim6 (RFC 5533).
    pub const SHIM6: Self = Self(140);

    /// Whether the payload begins with a source and a destination port, 16 bits each.
    #[inline]
    pub const fn has_ports(self) -> bool {
        matches!(self, Self::TCP | Self::UDP | Self::SCTP)
    }
}

impl fmt::Display for IpProtocol {
    /// The number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Explicit congestion notification, two bits (RFC 3168 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Ecn {
    /// The transport does not take part: it learns of congestion by loss.
    NotEct = 0b00,
    /// ECN-capable, ECT(1).
    Ect1 = 0b01,
    /// ECN-capable, ECT(0).
    Ect0 = 0b10,
    /// Congestion experienced.
    Ce = 0b11,
}

impl Ecn {
    /// The low two bits.
    #[inline]
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 0b11 {
            0b00 => Self::NotEct,
            0b01 => Self::Ect1,
            0b10 => Self::Ect0,
            _ => Self::Ce,
        }
    }

    /// As on the wire, 0 to 3.
    #[inline]
    pub const fn bits(self) -> u8 {
        self as u8
    }

    /// The field of the inner header after decapsulation, or `None` if the packet is to be dropped: congestion was
    /// signalled to a transport that hears of it only by loss (RFC 6040 §4.2, figure 4).
    #[inline]
    pub const fn decapsulate(outer: Ecn, inner: Ecn) -> Option<Ecn> {
        // Nothing happened on the way: the common case, and one compare.
        if matches!(outer, Self::NotEct) {
            return Some(inner);
        }
        match (inner, outer) {
            (Self::NotEct, Self::Ce) => None,
            (Self::NotEct, _) => Some(Self::NotEct),
            (_, Self::Ce) => Some(Self::Ce),
            (Self::Ect0, Self::Ect1) => Some(Self::Ect1),
            (inner, _) => Some(inner),
        }
    }
}

/// IPv4's type of service and IPv6's traffic class: DSCP in the upper six bits, ECN in the lower two. A gateway that
/// encapsulates copies all eight (RFC 6040 §4.1 for ECN in normal mode, RFC 2983 §3.1 for a uniform DSCP).
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct TrafficClass(pub u8);

impl TrafficClass {
    /// Differentiated services code point, 0 to 63.
    #[inline]
    pub const fn dscp(self) -> u8 {
        self.0 >> 2
    }

    /// Explicit congestion notification.
    #[inline]
    pub const fn ecn(self) -> Ecn {
        Ecn::from_bits(self.0)
    }

    /// The same DSCP with another ECN.
    #[inline]
    #[must_use]
    pub const fn with_ecn(self, ecn: Ecn) -> Self {
        Self(self.0 & 0xfc | ecn.bits())
    }
}

impl fmt::Display for TrafficClass {
    /// `dscp 46 ecn 2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dscp {} ecn {}", self.dscp(), self.ecn().bits())
    }
}

impl fmt::Debug for TrafficClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::Ecn::{Ce, Ect0, Ect1, NotEct};
    use super::*;

    #[test]
    fn decapsulates_as_figure_4_of_rfc_6040() {
        const OUTER: [Ecn; 4] = [NotEct, Ect0, Ect1, Ce];
        let figure = [
            (NotEct, [Some(NotEct), Some(NotEct), Some(NotEct), None]),
            (Ect0, [Some(Ect0), Some(Ect0), Some(Ect1), Some(Ce)]),
            (Ect1, [Some(Ect1), Some(Ect1), Some(Ect1), Some(Ce)]),
            (Ce, [Some(Ce), Some(Ce), Some(Ce), Some(Ce)]),
        ];
        for (inner, row) in figure {
            for (outer, expected) in OUTER.into_iter().zip(row) {
                assert_eq!(Ecn::decapsulate(outer, inner), expected, "outer {outer:?}, inner {inner:?}");
            }
        }
    }

    #[test]
    fn ecn_bits_are_those_of_rfc_3168() {
        assert_eq!([NotEct.bits(), Ect1.bits(), Ect0.bits(), Ce.bits()], [0, 1, 2, 3]);
        for bits in 0..=255 {
            assert_eq!(Ecn::from_bits(bits).bits(), bits & 3);
        }
    }

    #[test]
    fn a_traffic_class_is_dscp_and_ecn() {
        let expedited = TrafficClass(0xb8);
        assert_eq!((expedited.dscp(), expedited.ecn()), (46, NotEct));
        assert_eq!(expedited.with_ecn(Ce), TrafficClass(0xbb));
        assert_eq!(TrafficClass(0xbb).with_ecn(NotEct), expedited);
        assert_eq!(TrafficClass(0xba).to_string(), "dscp 46 ecn 2");
    }
}
