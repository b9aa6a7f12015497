//! ICMPv6.
//!
//! Owns: the 8 bytes that every message in use begins with, the checksum over the pseudo header, and the answer to an
//! echo request. Refuses: messages that are too short. Other messages are read as far as type and code, not judged;
//! neighbour discovery is in `ndp`.
//! Read first: RFC 4443 §2.1, §2.3 (checksum), §4.1 and §4.2 (echo).

use core::fmt;

use super::checksum::{Sum, update_u16};
use super::{EchoHeader, Malformed, be16};

/// The type of an ICMPv6 message (IANA "ICMPv6 Parameters"): errors below 128.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Icmpv6Type(pub u8);

impl Icmpv6Type {
    /// The packet did not arrive (RFC 4443 §3.1).
    pub const UNREACHABLE: Self = Self(1);
    /// It was too big for a link, whose MTU is in the message (RFC 4443 §3.2).
    pub const PACKET_TOO_BIG: Self = Self(2);
    /// It ran out of hops or of time (RFC 4443 §3.3).
    pub const TIME_EXCEEDED: Self = Self(3);
    /// A field of it means nothing to who should act on it (RFC 4443 §3.4).
    pub const PARAMETER_PROBLEM: Self = Self(4);
    /// "Send this back" (RFC 4443 §4.1).
    pub const ECHO_REQUEST: Self = Self(128);
    /// The answer to an echo request, its payload the same (RFC 4443 §4.2).
    pub const ECHO_REPLY: Self = Self(129);
    /// "Is there a router?" (RFC 4861 §4.1)
    pub const ROUTER_SOLICITATION: Self = Self(133);
    /// A router says that it is there (RFC 4861 §4.2).
    pub const ROUTER_ADVERTISEMENT: Self = Self(134);
    /// Who has the target address? (RFC 4861 §4.3)
    pub const NEIGHBOUR_SOLICITATION: Self = Self(135);
    /// The sender has it (RFC 4861 §4.4).
    pub const NEIGHBOUR_ADVERTISEMENT: Self = Self(136);
    /// "There is a better way to that destination" (RFC 4861 §4.5).
    pub const REDIRECT: Self = Self(137);
}

/// View of an ICMPv6 message's first 8 bytes.
#[derive(Clone, Copy)]
pub struct Icmpv6<'a>(&'a [u8; EchoHeader::LEN]);

impl<'a> Icmpv6<'a> {
    /// The message that is an upper layer of IPv6, and what follows its first 8 bytes.
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
    pub const fn icmp_type(self) -> Icmpv6Type {
        Icmpv6Type(self.0[0])
    }

    /// What kind of that type; 0 in echo messages and neighbour discovery.
    #[inline]
    pub const fn code(self) -> u8 {
        self.0[1]
    }

    /// The checksum, right or wrong.
    #[inline]
    pub const fn checksum(self) -> u16 {
        be16(self.0, 2)
    }

    /// Whether the message is as it was sent: `pseudo` is [`Sum::pseudo_ipv6`] of its addresses and whole length, and
    /// `payload` that of `parse`, without the padding of the frame.
    #[inline]
    pub fn checksum_holds(self, pseudo: Sum, payload: &[u8]) -> bool {
        pseudo.with(self.0).with(payload).holds()
    }

    /// Its fields, if it is an echo request or reply of code 0.
    #[inline]
    pub const fn echo(self) -> Option<EchoHeader> {
        let reply = match (self.icmp_type(), self.code()) {
            (Icmpv6Type::ECHO_REQUEST, 0) => false,
            (Icmpv6Type::ECHO_REPLY, 0) => true,
            _ => return None,
        };
        Some(EchoHeader { reply, identifier: be16(self.0, 4), sequence: be16(self.0, 6) })
    }

    /// Makes an echo request of code 0 its reply, in place, and says whether it was one; anything else stays as it is. The
    /// checksum changes by what the type does: that source and destination change places does not change their sum. A
    /// wrong one stays wrong.
    #[inline]
    pub const fn answer(message: &mut [u8; EchoHeader::LEN]) -> bool {
        if message[0] != Icmpv6Type::ECHO_REQUEST.0 || message[1] != 0 {
            return false;
        }
        let (request, reply) = (Icmpv6Type::ECHO_REQUEST.0 as u16, Icmpv6Type::ECHO_REPLY.0 as u16);
        let [high, low] = update_u16(be16(message, 2), request << 8, reply << 8).to_be_bytes();
        (message[0], message[2], message[3]) = (Icmpv6Type::ECHO_REPLY.0, high, low);
        true
    }
}

impl fmt::Debug for Icmpv6<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} code {} checksum {:#06x} {:02x?}", self.icmp_type(), self.code(), self.checksum(), &self.0[4..])
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv6Addr;

    use super::*;
    use crate::wire::IpProtocol;

    /// From 2001:db8::1 to 2001:db8::2, and the answer.
    const REQUEST: [u8; 11] = [0x80, 0x00, 0x5f, 0xda, 0x00, 0x07, 0x00, 0x01, b'a', b'b', b'c'];
    const REPLY: [u8; 11] = [0x81, 0x00, 0x5e, 0xda, 0x00, 0x07, 0x00, 0x01, b'a', b'b', b'c'];

    const ONE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    const TWO: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

    fn pseudo(len: u32) -> Sum {
        Sum::pseudo_ipv6(ONE, TWO, IpProtocol::ICMPV6, len)
    }

    #[test]
    fn reads_known_bytes() {
        let (icmp, payload) = Icmpv6::parse(&REQUEST).unwrap();
        let header = EchoHeader { reply: false, identifier: 7, sequence: 1 };
        assert_eq!((icmp.icmp_type(), icmp.code(), icmp.echo()), (Icmpv6Type::ECHO_REQUEST, 0, Some(header)));
        assert_eq!((icmp.checksum(), payload), (0x5fda, &b"abc"[..]));
        assert!(icmp.checksum_holds(pseudo(11), payload));
        assert!(!icmp.checksum_holds(pseudo(12), payload), "the pseudo header counts");

        let (icmp, payload) = Icmpv6::parse(&REPLY).unwrap();
        assert_eq!(icmp.echo(), Some(EchoHeader { reply: true, ..header }));
        assert!(icmp.checksum_holds(pseudo(11), payload));
    }

    #[test]
    fn refuses_every_truncation() {
        for len in 0..8 {
            assert_eq!(Icmpv6::parse(&REQUEST[..len]).err(), Some(Malformed::Truncated), "{len} bytes");
        }
    }

    #[test]
    fn the_checksum_covers_every_bit() {
        for bit in 0..11 * 8 {
            let mut bytes = REQUEST;
            bytes[bit / 8] ^= 1 << (bit % 8);
            let (icmp, payload) = Icmpv6::parse(&bytes).unwrap();
            assert!(!icmp.checksum_holds(pseudo(11), payload), "bit {bit}");
        }
    }

    #[test]
    fn a_request_becomes_its_reply_in_place() {
        let mut bytes = REQUEST;
        assert!(Icmpv6::answer(bytes.first_chunk_mut().unwrap()));
        assert_eq!(bytes, REPLY);
    }

    #[test]
    fn only_echo_is_echo_and_only_requests_are_answered() {
        for (icmp_type, code) in (0..=255).flat_map(|kind| [(kind, 0), (kind, 1)]) {
            let mut bytes = REQUEST;
            bytes[..2].copy_from_slice(&[icmp_type, code]);
            let echo = Icmpv6::parse(&bytes).unwrap().0.echo();
            assert_eq!(echo.is_some(), code == 0 && matches!(icmp_type, 128 | 129), "{icmp_type}/{code}");
            assert_eq!(echo.is_some_and(|echo| echo.reply), (icmp_type, code) == (129, 0));
            let before = bytes;
            let answered = Icmpv6::answer(bytes.first_chunk_mut().unwrap());
            assert_eq!((answered, bytes != before), ((icmp_type, code) == (128, 0), answered), "{icmp_type}/{code}");
        }
    }
}
