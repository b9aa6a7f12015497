//! The Internet checksum.
//!
//! Owns: the one's complement sum over bytes in any number of pieces (RFC 1071 §2), its incremental update (RFC 1624
//! eqn. 3), and the pseudo headers of IPv4 (RFC 768) and IPv6 (RFC 8200 §8.1).
//! Refuses: any opinion on where a checksum lies in a header; that is the header's file.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::IpProtocol;

/// A one's complement sum in the making. Pieces may have odd lengths: the bytes count as if they were in one piece.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    /// Not folded. 2^32 words of 32 bits fit, far more than any frame has.
    total: u64,
    /// Whether an odd number of bytes has been added, so that the next byte is the low half of a word.
    odd: bool,
}

impl Sum {
    /// The sum of nothing.
    #[inline]
    pub const fn new() -> Self {
        Self { total: 0, odd: false }
    }

    /// The pseudo header of UDP and TCP over IPv4 (RFC 768): `len` is the length of header and payload, in bytes.
    #[inline]
    pub fn pseudo_ipv4(source: Ipv4Addr, destination: Ipv4Addr, protocol: IpProtocol, len: u16) -> Self {
        let words = u64::from(u32::from(source)) + u64::from(u32::from(destination));
        Self { total: words + u64::from(protocol.0) + u64::from(len), odd: false }
    }

    /// The pseudo header of UDP, TCP and ICMPv6 over IPv6 (RFC 8200 §8.1): `len` as in [`Sum::pseudo_ipv4`], and
    /// `protocol` that of the upper layer, whatever extension headers precede it.
    #[inline]
    pub fn pseudo_ipv6(source: Ipv6Addr, destination: Ipv6Addr, protocol: IpProtocol, len: u32) -> Self {
        let sum = Self { total: u64::from(protocol.0) + u64::from(len), odd: false };
        sum.with(&source.octets()).with(&destination.octets())
    }

    /// With these bytes behind those that were added before.
    #[inline]
    #[must_use]
    pub fn with(self, bytes: &[u8]) -> Self {
        self.then(Self { total: words(bytes), odd: bytes.len() % 2 == 1 })
    }

    /// With the bytes that `behind` sums, behind those that were added before.
    #[inline]
    #[must_use]
    pub fn then(self, behind: Self) -> Self {
        // Bytes that start in the middle of a word change places within it: RFC 1071 §2 (B).
        let sum = if self.odd { u64::from(fold(behind.total).swap_bytes()) } else { behind.total };
        Self { total: self.total + sum, odd: self.odd ^ behind.odd }
    }

    /// The checksum to put into the field: the complement of the sum. The field itself must have counted as zero.
    #[inline]
    pub const fn finish(self) -> u16 {
        !fold(self.total)
    }

    /// The checksum to put into a UDP header, where 0 means "none": a computed 0 becomes 0xFFFF (RFC 768).
    #[inline]
    pub const fn finish_udp(self) -> u16 {
        match self.finish() {
            0 => 0xffff,
            sum => sum,
        }
    }

    /// Whether bytes that include their checksum are as they were sent.
    #[inline]
    pub const fn holds(self) -> bool {
        self.finish() == 0
    }
}

/// The sum of the bytes as big-endian words; an odd last byte is a word's high half.
#[inline]
fn words(bytes: &[u8]) -> u64 {
    // 32 bits at a time: 2^16 is 1 modulo 2^16 - 1, so that the fold makes the same of it (RFC 1071 §2 (C)).
    let (quads, rest) = bytes.as_chunks::<4>();
    let sum: u64 = quads.iter().map(|quad| u64::from(u32::from_be_bytes(*quad))).sum();
    let (pairs, last) = rest.as_chunks::<2>();
    let sum = sum + pairs.iter().map(|pair| u64::from(u16::from_be_bytes(*pair))).sum::<u64>();
    sum + last.first().map_or(0, |byte| u64::from(*byte) << 8)
}

/// The same number modulo 2^16 - 1, in 16 bits. Only 0 becomes 0.
#[inline]
const fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff); // at most 2^33 - 2
    let sum = (sum >> 16) + (sum & 0xffff); // at most 0x2_fffe
    let sum = (sum >> 16) + (sum & 0xffff); // at most 0x1_0001
    let sum = (sum >> 16) + (sum & 0xffff);
    sum as u16 // at most 0xffff: 0x1_0000 and 0x1_0001 have become 1 and 2
}

/// What a change of some fields does to every checksum that covers them (RFC 1624 eqn. 3): made once, applied to the IP
/// header's and to the transport's. A checksum that was wrong stays wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delta(u64);

impl Delta {
    /// No change.
    #[inline]
    pub const fn new() -> Self {
        Self(0)
    }

    /// And a 16-bit word, at an even distance from where the checksum begins, changes from `old` to `new`.
    #[inline]
    #[must_use]
    pub const fn u16(self, old: u16, new: u16) -> Self {
        Self(self.0 + (!old) as u64 + new as u64)
    }

    /// And 32 bits, such as an IPv4 address, change from `old` to `new`.
    #[inline]
    #[must_use]
    pub const fn u32(self, old: u32, new: u32) -> Self {
        Self(self.0 + (!old) as u64 + new as u64)
    }

    /// The checksum after the change. It equals the one computed anew, unless every byte that it covers is now zero,
    /// which neither an IP header nor a pseudo header can be.
    #[inline]
    pub const fn apply(self, checksum: u16) -> u16 {
        !fold((!checksum) as u64 + self.0)
    }

    /// The same for a UDP checksum: 0 says that there is none, and stays; a computed 0 becomes 0xFFFF (RFC 768).
    #[inline]
    pub const fn apply_udp(self, checksum: u16) -> u16 {
        match checksum {
            0 => 0,
            checksum => match self.apply(checksum) {
                0 => 0xffff,
                new => new,
            },
        }
    }
}

/// The checksum after one 16-bit word has changed from `old` to `new`; see [`Delta::apply`].
#[inline]
pub const fn update_u16(checksum: u16, old: u16, new: u16) -> u16 {
    Delta::new().u16(old, new).apply(checksum)
}

/// The checksum after 32 bits have changed from `old` to `new`; see [`Delta::apply`].
#[inline]
pub const fn update_u32(checksum: u16, old: u32, new: u32) -> u16 {
    Delta::new().u32(old, new).apply(checksum)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 1071 §3.
    const RFC_1071: [u8; 8] = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];

    #[test]
    fn sums_the_example_of_rfc_1071() {
        assert_eq!(Sum::new().with(&RFC_1071).finish(), !0xddf2);
    }

    #[test]
    fn holds_with_the_checksum_in_place_and_not_with_another() {
        let sum = Sum::new().with(&RFC_1071);
        assert!(sum.with(&(!0xddf2u16).to_be_bytes()).holds());
        assert!(!sum.with(&0xddf2u16.to_be_bytes()).holds());
        assert!(!Sum::new().holds(), "nothing holds no checksum");
    }

    #[test]
    fn an_odd_byte_is_the_high_half_of_a_word() {
        assert_eq!(Sum::new().with(&[0xab]).finish(), !0xab00);
        assert_eq!(Sum::new().with(&[0x01, 0x02, 0x03]).finish(), !0x0402);
    }

    #[test]
    fn pieces_of_any_length_sum_like_the_whole() {
        let whole = Sum::new().with(&RFC_1071).finish();
        for first in 0..=8 {
            for second in first..=8 {
                let (a, b) = RFC_1071.split_at(second);
                let (a, middle) = a.split_at(first);
                assert_eq!(Sum::new().with(a).with(middle).with(b).finish(), whole, "cut at {first} and {second}");
                let behind = Sum::new().with(middle).then(Sum::new().with(b));
                assert_eq!(Sum::new().with(a).then(behind).finish(), whole, "cut at {first} and {second}, joined");
            }
        }
    }

    #[test]
    fn carries_fold_to_the_end() {
        assert_eq!(fold(0), 0);
        assert_eq!(fold(0xffff), 0xffff);
        assert_eq!(fold(0x1_0000), 1);
        assert_eq!(fold(0x1_ffff_ffff), 1);
        assert_eq!(fold(u64::MAX), 0xffff);
        assert_eq!(fold(0x1_0000_ffff_ffff), 1, "a carry out of every step");
        assert_eq!(Sum::new().with(&[0xff; 9000]).finish(), 0);
    }

    #[test]
    fn updates_the_example_of_rfc_1624() {
        // RFC 1624 §4: the case where the older equation answers 0xffff.
        assert_eq!(update_u16(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    #[test]
    fn an_update_of_32_bits_is_that_of_its_halves() {
        let halves = update_u16(update_u16(0x1234, 0x0a00, 0xc0a8), 0x0001, 0x0002);
        assert_eq!(update_u32(0x1234, 0x0a00_0001, 0xc0a8_0002), halves);
    }

    #[test]
    fn udp_keeps_zero_and_never_computes_it() {
        assert_eq!(Delta::new().u16(0x5555, 0x3285).apply_udp(0xdd2f), 0xffff);
        assert_eq!(Delta::new().u16(0x5555, 0x3285).apply_udp(0), 0);
        assert_eq!(Sum::new().with(&[0xff, 0xff]).finish_udp(), 0xffff);
        assert_eq!(Sum::new().with(&[0xff, 0xfe]).finish_udp(), 1);
    }

    #[test]
    fn pseudo_headers_are_the_bytes_they_stand_for() {
        let (source, destination) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(198, 51, 100, 7));
        let bytes = [192, 0, 2, 1, 198, 51, 100, 7, 0, 17, 0x12, 0x34];
        let pseudo = Sum::pseudo_ipv4(source, destination, IpProtocol::UDP, 0x1234);
        assert_eq!(pseudo.finish(), Sum::new().with(&bytes).finish());

        let (source, destination) = (Ipv6Addr::LOCALHOST, Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xffff));
        let pseudo = Sum::pseudo_ipv6(source, destination, IpProtocol::TCP, 0x1_2345);
        let written = Sum::new().with(&source.octets()).with(&destination.octets());
        assert_eq!(pseudo.finish(), written.with(&[0, 1, 0x23, 0x45, 0, 0, 0, 6]).finish());
    }
}
