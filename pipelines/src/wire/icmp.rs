//! ICMP over IPv4.
//!
//! Owns: the 8 bytes that every message begins with, the echo messages, and the checksum. Refuses: messages that are too
//! short. Other messages are read as far as type and code, not judged.
//! Read first: RFC 792; RFC 1122 §3.2.2.6 for echo.

use core::fmt;

use super::checksum::Sum;
use super::{Malformed, be16};

/// The type of an ICMP message (IANA "ICMP Type Numbers").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IcmpType(pub u8);

impl IcmpType {
    /// The answer to an echo request, its payload the same.
    pub const ECHO_REPLY: Self = Self(0);
    /// The datagram did not arrive; code 4 says that it needed fragmentation (RFC 1191).
    pub const UNREACHABLE: Self = Self(3);
    /// "Send this back."
    pub const ECHO_REQUEST: Self = Self(8);
    /// The datagram ran out of hops or of time.
    pub const TIME_EXCEEDED: Self = Self(11);
}

/// View of an ICMP message's first 8 bytes.
#[derive(Clone, Copy)]
pub struct Icmp<'a>(&'a [u8; EchoHeader::LEN]);

impl<'a> Icmp<'a> {
    /// The message that is an IP payload, and what follows its first 8 bytes.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] if there are fewer than 8 bytes.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Malformed> {
        let (header, payload) = bytes.split_first_chunk().ok_or(Malformed::Truncated)?;
        Ok((Self(header), payload))
    }

    /// What it is.
    #[inline]
    pub const fn icmp_type(self) -> IcmpType {
        IcmpType(self.0[0])
    }

    /// What kind of that type; 0 in echo messages.
    #[inline]
    pub const fn code(self) -> u8 {
        self.0[1]
    }

    /// The checksum, right or wrong.
    #[inline]
    pub const fn checksum(self) -> u16 {
        be16(self.0, 2)
    }

    /// Whether the message is as it was sent; `payload` is that of `parse`, without the padding of the frame.
    #[inline]
    pub fn checksum_holds(self, payload: &[u8]) -> bool {
        Sum::new().with(self.0).with(payload).holds()
    }

    /// Its fields, if it is an echo request or reply of code 0.
    #[inline]
    pub const fn echo(self) -> Option<EchoHeader> {
        let reply = match (self.icmp_type(), self.code()) {
            (IcmpType::ECHO_REQUEST, 0) => false,
            (IcmpType::ECHO_REPLY, 0) => true,
            _ => return None,
        };
        Some(EchoHeader { reply, identifier: be16(self.0, 4), sequence: be16(self.0, 6) })
    }
}

impl fmt::Debug for Icmp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} code {} checksum {:#06x} {:02x?}", self.icmp_type(), self.code(), self.checksum(), &self.0[4..])
    }
}

/// An echo message's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EchoHeader {
    /// Whether it is the answer.
    pub reply: bool,
    /// Which conversation.
    pub identifier: u16,
    /// Which of its requests.
    pub sequence: u16,
}

impl EchoHeader {
    /// Length in bytes, without payload.
    pub const LEN: usize = 8;

    /// Writes every byte of the header, with its checksum: `payload` is the sum of what follows.
    #[inline]
    pub fn write(&self, payload: Sum, out: &mut [u8; Self::LEN]) {
        let icmp_type = if self.reply { IcmpType::ECHO_REPLY } else { IcmpType::ECHO_REQUEST };
        out[0..4].copy_from_slice(&[icmp_type.0, 0, 0, 0]);
        out[4..6].copy_from_slice(&self.identifier.to_be_bytes());
        out[6..8].copy_from_slice(&self.sequence.to_be_bytes());
        let checksum = Sum::new().with(out).then(payload).finish();
        out[2..4].copy_from_slice(&checksum.to_be_bytes());
    }
}

impl fmt::Display for EchoHeader {
    /// `echo request 7 sequence 1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.reply { "reply" } else { "request" };
        write!(f, "echo {kind} {} sequence {}", self.identifier, self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;
    use crate::wire::checksum::update_u16;

    const REQUEST: [u8; 11] = [8, 0, 0x33, 0x95, 0x00, 0x07, 0x00, 0x01, b'a', b'b', b'c'];
    const HEADER: EchoHeader = EchoHeader { reply: false, identifier: 7, sequence: 1 };

    #[test]
    fn reads_known_bytes() {
        let (icmp, payload) = Icmp::parse(&REQUEST).unwrap();
        assert_eq!((icmp.icmp_type(), icmp.code(), icmp.echo()), (IcmpType::ECHO_REQUEST, 0, Some(HEADER)));
        assert_eq!(icmp.checksum(), 0x3395);
        assert_eq!(payload, b"abc");
        assert!(icmp.checksum_holds(payload));
    }

    #[test]
    fn writes_known_bytes_over_dirty_ones() {
        let mut out = [0xa5; 8];
        HEADER.write(Sum::new().with(b"abc"), &mut out);
        assert_eq!(out, REQUEST[..8]);
    }

    #[test]
    fn refuses_every_truncation() {
        for len in 0..8 {
            assert_eq!(Icmp::parse(&REQUEST[..len]).err(), Some(Malformed::Truncated), "{len} bytes");
        }
        let (icmp, payload) = Icmp::parse(&REQUEST[..10]).unwrap();
        assert!(!icmp.checksum_holds(payload), "cut in its payload");
    }

    #[test]
    fn the_checksum_covers_every_bit() {
        for bit in 0..11 * 8 {
            let mut bytes = REQUEST;
            bytes[bit / 8] ^= 1 << (bit % 8);
            let (icmp, payload) = Icmp::parse(&bytes).unwrap();
            assert!(!icmp.checksum_holds(payload), "bit {bit}");
        }
    }

    #[test]
    fn only_types_0_and_8_of_code_0_are_echo() {
        for (icmp_type, code) in (0..=255).flat_map(|kind| [(kind, 0), (kind, 1)]) {
            let mut bytes = REQUEST;
            bytes[..2].copy_from_slice(&[icmp_type, code]);
            let echo = Icmp::parse(&bytes).unwrap().0.echo();
            assert_eq!(echo.is_some(), code == 0 && (icmp_type == 0 || icmp_type == 8), "{icmp_type}/{code}");
            assert_eq!(echo.is_some_and(|echo| echo.reply), (icmp_type, code) == (0, 0));
        }
    }

    #[test]
    fn a_reply_in_place_needs_one_word_of_the_checksum() {
        let mut reply = [0; 8];
        EchoHeader { reply: true, ..HEADER }.write(Sum::new().with(b"abc"), &mut reply);
        assert_eq!(update_u16(0x3395, 0x0800, 0x0000).to_be_bytes(), reply[2..4]);
    }

    #[test]
    fn says_what_it_is() {
        assert_eq!(HEADER.to_string(), "echo request 7 sequence 1");
        assert_eq!(EchoHeader { reply: true, ..HEADER }.to_string(), "echo reply 7 sequence 1");
    }
}
