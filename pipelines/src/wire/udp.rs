//! UDP.
//!
//! Owns: the 8-byte header and its checksum. Refuses: a length that lies. A length that ends before the IP payload does
//! is legal: what follows is no part of the datagram (RFC 9868 puts options there).
//! Read first: RFC 768; RFC 8200 §8.1 and RFC 6935 for the checksum over IPv6.

use core::fmt;

use super::checksum::Sum;
use super::{Malformed, be16};

/// View of a UDP header.
#[derive(Clone, Copy)]
pub struct Udp<'a>(&'a [u8; UdpHeader::LEN]);

impl<'a> Udp<'a> {
    /// The header at the start of an IP payload, and its own payload as the length says.
    ///
    /// # Errors
    /// As [`Udp::parse_head`].
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Malformed> {
        let udp = Self::parse_head(bytes, bytes.len())?;
        let payload = bytes.get(UdpHeader::LEN..udp.len()).ok_or(Malformed::Truncated)?;
        Ok((udp, payload))
    }

    /// The header at the start of `head`, of a datagram that may reach into further segments: `available` is the length
    /// of the IP payload, bytes. Of a first fragment, the length is that of the whole datagram: pass that or
    /// [`usize::MAX`].
    ///
    /// # Errors
    /// [`Malformed::Truncated`] if `head` is shorter than 8 bytes or the length is more than `available`;
    /// [`Malformed::BadLength`] if the length is less than 8.
    #[inline]
    pub fn parse_head(head: &'a [u8], available: usize) -> Result<Self, Malformed> {
        let udp = Self(head.first_chunk().ok_or(Malformed::Truncated)?);
        if udp.len() < UdpHeader::LEN {
            return Err(Malformed::BadLength);
        }
        if udp.len() > available {
            return Err(Malformed::Truncated);
        }
        Ok(udp)
    }

    /// The sender's port.
    #[inline]
    pub const fn source(self) -> u16 {
        be16(self.0, 0)
    }

    /// The receiver's port.
    #[inline]
    pub const fn destination(self) -> u16 {
        be16(self.0, 2)
    }

    /// Length of header and payload: bytes, at least 8.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub const fn len(self) -> usize {
        be16(self.0, 4) as usize
    }

    /// The checksum, right or wrong; 0 says that the sender made none.
    #[inline]
    pub const fn checksum(self) -> u16 {
        be16(self.0, 6)
    }

    /// Whether the datagram is as it was sent: `pseudo` is the sum of the pseudo header, `payload` that of `parse`. A
    /// checksum of 0 holds: over IPv6, where it is legal only for tunnels (RFC 6935), the caller looks at
    /// [`Udp::checksum`] first.
    #[inline]
    pub fn checksum_holds(self, pseudo: Sum, payload: &[u8]) -> bool {
        self.checksum() == 0 || pseudo.with(self.0).with(payload).holds()
    }

    /// All of it, as plain data.
    #[inline]
    pub const fn header(self) -> UdpHeader {
        UdpHeader {
            source: self.source(),
            destination: self.destination(),
            len: be16(self.0, 4),
            checksum: self.checksum(),
        }
    }
}

impl fmt::Debug for Udp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.header().fmt(f)
    }
}

/// A UDP header's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpHeader {
    /// The sender's port.
    pub source: u16,
    /// The receiver's port.
    pub destination: u16,
    /// Length of header and payload: bytes, at least 8.
    pub len: u16,
    /// The checksum, 0 for none: a VXLAN tunnel over IPv4 sends 0 (RFC 7348 §5). [`Sum::finish_udp`] makes another.
    pub checksum: u16,
}

impl UdpHeader {
    /// Length in bytes.
    pub const LEN: usize = 8;

    /// Writes every byte of the header, the checksum as it is.
    #[inline]
    pub fn write(&self, out: &mut [u8; Self::LEN]) {
        out[0..2].copy_from_slice(&self.source.to_be_bytes());
        out[2..4].copy_from_slice(&self.destination.to_be_bytes());
        out[4..6].copy_from_slice(&self.len.to_be_bytes());
        out[6..8].copy_from_slice(&self.checksum.to_be_bytes());
    }
}

impl fmt::Display for UdpHeader {
    /// `49152 > 4789 length 58`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} > {} length {}", self.source, self.destination, self.len)
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;
    use std::string::ToString;

    use super::*;
    use crate::wire::IpProtocol;

    /// From 192.0.2.1:53 to 192.0.2.2:49152: "abc".
    const BYTES: [u8; 11] = [0x00, 0x35, 0xc0, 0x00, 0x00, 0x0b, 0xf7, 0x3b, b'a', b'b', b'c'];
    const HEADER: UdpHeader = UdpHeader { source: 53, destination: 49152, len: 11, checksum: 0xf73b };

    fn pseudo() -> Sum {
        Sum::pseudo_ipv4(Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2), IpProtocol::UDP, 11)
    }

    #[test]
    fn reads_known_bytes() {
        let (udp, payload) = Udp::parse(&BYTES).unwrap();
        assert_eq!((udp.header(), payload), (HEADER, &b"abc"[..]));
        assert!(udp.checksum_holds(pseudo(), payload));
    }

    #[test]
    fn writes_known_bytes_over_dirty_ones() {
        let mut out = [0xa5; 8];
        HEADER.write(&mut out);
        assert_eq!(out, BYTES[..8]);
    }

    #[test]
    fn refuses_every_truncation() {
        for len in 0..11 {
            assert_eq!(Udp::parse(&BYTES[..len]).err(), Some(Malformed::Truncated), "{len} bytes");
            assert_eq!(Udp::parse_head(&BYTES, len).err(), Some(Malformed::Truncated), "{len} available");
        }
        assert_eq!(Udp::parse_head(&BYTES[..8], 11).unwrap().len(), 11);
    }

    #[test]
    fn refuses_lengths_that_lie() {
        for len in 0..8 {
            let mut bytes = BYTES;
            bytes[5] = len;
            assert_eq!(Udp::parse(&bytes).err(), Some(Malformed::BadLength), "length {len}");
        }
        let mut bytes = BYTES;
        bytes[5] = 12;
        assert_eq!(Udp::parse(&bytes).err(), Some(Malformed::Truncated));
    }

    #[test]
    fn what_follows_the_datagram_is_no_part_of_it() {
        let mut bytes = BYTES;
        bytes[5] = 9;
        assert_eq!(Udp::parse(&bytes).unwrap().1, b"a");
        bytes[5] = 8;
        assert_eq!(Udp::parse(&bytes).unwrap().1, b"");
    }

    #[test]
    fn the_checksum_covers_every_bit_and_may_be_absent() {
        for bit in 0..11 * 8 {
            let mut bytes = BYTES;
            bytes[bit / 8] ^= 1 << (bit % 8);
            let (header, payload) = bytes.split_first_chunk().unwrap();
            assert!(!Udp(header).checksum_holds(pseudo(), payload), "bit {bit}");
        }
        let mut bytes = BYTES;
        bytes[6..8].fill(0);
        let (udp, payload) = Udp::parse(&bytes).unwrap();
        assert!(udp.checksum_holds(pseudo(), payload));
        assert_eq!(pseudo().with(&bytes).finish_udp(), 0xf73b);
    }

    #[test]
    fn says_what_it_is() {
        assert_eq!(HEADER.to_string(), "53 > 49152 length 11");
    }
}
