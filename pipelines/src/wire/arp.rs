//! ARP between Ethernet and IPv4.
//!
//! Owns: the 28-byte packet. Refuses: hardware other than Ethernet, protocols other than IPv4, and lengths other than
//! theirs. Operations other than request and reply are read, not judged.
//! Read first: RFC 826; RFC 5227 §1.1 for probes and announcements.

use core::fmt;
use core::net::Ipv4Addr;

use super::{EtherType, MacAddr, Malformed, be16, four};

/// Hardware type of Ethernet (RFC 826, IANA "ARP Parameters").
const ETHERNET: u16 = 1;

/// What an ARP packet asks or says (IANA "ARP Parameters").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ArpOperation(pub u16);

impl ArpOperation {
    /// Who has the target's address?
    pub const REQUEST: Self = Self(1);
    /// The sender has it.
    pub const REPLY: Self = Self(2);
}

/// View of an ARP packet between Ethernet and IPv4.
#[derive(Clone, Copy)]
pub struct Arp<'a>(&'a [u8; ArpHeader::LEN]);

impl<'a> Arp<'a> {
    /// The packet at the start of an Ethernet payload, and the padding behind it.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] if there are fewer than 28 bytes; [`Malformed::BadHardware`], [`Malformed::BadProtocol`]
    /// or [`Malformed::BadLength`] if it is not about Ethernet, IPv4, and addresses of 6 and 4 bytes.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Malformed> {
        let (packet, padding) = bytes.split_first_chunk().ok_or(Malformed::Truncated)?;
        if be16(packet, 0) != ETHERNET {
            return Err(Malformed::BadHardware);
        }
        if be16(packet, 2) != EtherType::IPV4.0 {
            return Err(Malformed::BadProtocol);
        }
        if (packet[4], packet[5]) != (6, 4) {
            return Err(Malformed::BadLength);
        }
        Ok((Self(packet), padding))
    }

    /// What it asks or says.
    #[inline]
    pub const fn operation(self) -> ArpOperation {
        ArpOperation(be16(self.0, 6))
    }

    /// The sender's Ethernet address.
    #[inline]
    pub const fn sender_mac(self) -> MacAddr {
        MacAddr::at(self.0, 8)
    }

    /// The sender's IPv4 address; 0.0.0.0 in a probe.
    #[inline]
    pub fn sender_ip(self) -> Ipv4Addr {
        Ipv4Addr::from(four(self.0, 14))
    }

    /// The target's Ethernet address; means nothing in a request.
    #[inline]
    pub const fn target_mac(self) -> MacAddr {
        MacAddr::at(self.0, 18)
    }

    /// The target's IPv4 address.
    #[inline]
    pub fn target_ip(self) -> Ipv4Addr {
        Ipv4Addr::from(four(self.0, 24))
    }

    /// Whether the sender asks if the target address is free (RFC 5227 §2.1.1): its own address is no binding.
    #[inline]
    pub fn is_probe(self) -> bool {
        self.operation() == ArpOperation::REQUEST && self.sender_ip().is_unspecified()
    }

    /// Whether the sender announces its own address, as a request or a reply (RFC 5227 §2.3, "gratuitous").
    #[inline]
    pub fn is_announcement(self) -> bool {
        self.sender_ip() == self.target_ip() && !self.sender_ip().is_unspecified()
    }

    /// All of it, as plain data.
    #[inline]
    pub fn header(self) -> ArpHeader {
        ArpHeader {
            operation: self.operation(),
            sender_mac: self.sender_mac(),
            sender_ip: self.sender_ip(),
            target_mac: self.target_mac(),
            target_ip: self.target_ip(),
        }
    }
}

impl fmt::Debug for Arp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.header().fmt(f)
    }
}

/// An ARP packet's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArpHeader {
    /// What it asks or says.
    pub operation: ArpOperation,
    /// The sender's Ethernet address.
    pub sender_mac: MacAddr,
    /// The sender's IPv4 address; 0.0.0.0 in a probe.
    pub sender_ip: Ipv4Addr,
    /// The target's Ethernet address; zero in a request.
    pub target_mac: MacAddr,
    /// The target's IPv4 address.
    pub target_ip: Ipv4Addr,
}

impl ArpHeader {
    /// Length in bytes.
    pub const LEN: usize = 28;

    /// The question who has `target`.
    #[inline]
    pub const fn request(sender_mac: MacAddr, sender_ip: Ipv4Addr, target: Ipv4Addr) -> Self {
        let operation = ArpOperation::REQUEST;
        Self { operation, sender_mac, sender_ip, target_mac: MacAddr::ZERO, target_ip: target }
    }

    /// The answer to `self`, a request: `mac` has the address that it asks for.
    #[inline]
    #[must_use]
    pub const fn reply(&self, mac: MacAddr) -> Self {
        Self {
            operation: ArpOperation::REPLY,
            sender_mac: mac,
            sender_ip: self.target_ip,
            target_mac: self.sender_mac,
            target_ip: self.sender_ip,
        }
    }

    /// Writes every byte of the packet.
    #[inline]
    pub fn write(&self, out: &mut [u8; Self::LEN]) {
        out[0..2].copy_from_slice(&ETHERNET.to_be_bytes());
        out[2..4].copy_from_slice(&EtherType::IPV4.0.to_be_bytes());
        out[4..6].copy_from_slice(&[6, 4]);
        out[6..8].copy_from_slice(&self.operation.0.to_be_bytes());
        out[8..14].copy_from_slice(&self.sender_mac.0);
        out[14..18].copy_from_slice(&self.sender_ip.octets());
        out[18..24].copy_from_slice(&self.target_mac.0);
        out[24..28].copy_from_slice(&self.target_ip.octets());
    }
}

impl fmt::Display for ArpHeader {
    /// `who has 192.0.2.2, tell 192.0.2.1 (02:00:00:00:00:01)`, `192.0.2.2 is at 02:00:00:00:00:02`, `operation 3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.operation {
            ArpOperation::REQUEST => {
                write!(f, "who has {}, tell {} ({})", self.target_ip, self.sender_ip, self.sender_mac)
            }
            ArpOperation::REPLY => write!(f, "{} is at {}", self.sender_ip, self.sender_mac),
            ArpOperation(other) => write!(f, "operation {other}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    /// A request from 192.0.2.1 for 192.0.2.2, and one byte of padding.
    const REQUEST: [u8; 29] = [
        0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01, // Ethernet, IPv4, their lengths, request
        0x52, 0x54, 0x00, 0x12, 0x34, 0x56, 192, 0, 2, 1, // sender
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 192, 0, 2, 2, // target
        0xee,
    ];

    const SENDER: MacAddr = MacAddr([0x52, 0x54, 0x00, 0x12, 0x34, 0x56]);
    const OURS: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x0a]);

    fn request() -> ArpHeader {
        ArpHeader::request(SENDER, Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2))
    }

    #[test]
    fn reads_known_bytes() {
        let (arp, padding) = Arp::parse(&REQUEST).unwrap();
        assert_eq!((arp.header(), padding), (request(), &[0xee][..]));
        assert!(!arp.is_probe() && !arp.is_announcement());
    }

    #[test]
    fn writes_known_bytes_over_dirty_ones() {
        let mut out = [0xa5; 28];
        request().write(&mut out);
        assert_eq!(out, REQUEST[..28]);
    }

    #[test]
    fn refuses_every_truncation() {
        for len in 0..28 {
            assert_eq!(Arp::parse(&REQUEST[..len]).err(), Some(Malformed::Truncated), "{len} bytes");
        }
    }

    #[test]
    fn refuses_what_is_not_between_ethernet_and_ipv4() {
        let expected = [
            Malformed::BadHardware,
            Malformed::BadHardware,
            Malformed::BadProtocol,
            Malformed::BadProtocol,
            Malformed::BadLength,
            Malformed::BadLength,
        ];
        for (at, malformed) in expected.into_iter().enumerate() {
            for bit in 0..8 {
                let mut bytes = REQUEST;
                bytes[at] ^= 1 << bit;
                assert_eq!(Arp::parse(&bytes).err(), Some(malformed), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn a_reply_turns_the_request_around() {
        let reply = request().reply(OURS);
        let expected = ArpHeader {
            operation: ArpOperation::REPLY,
            sender_mac: OURS,
            sender_ip: Ipv4Addr::new(192, 0, 2, 2),
            target_mac: SENDER,
            target_ip: Ipv4Addr::new(192, 0, 2, 1),
        };
        assert_eq!(reply, expected);
    }

    #[test]
    fn tells_probes_and_announcements_from_questions() {
        let kinds = |sender_ip, target, operation| {
            let mut bytes = [0; 28];
            ArpHeader { operation, ..ArpHeader::request(SENDER, sender_ip, target) }.write(&mut bytes);
            let (arp, _) = Arp::parse(&bytes).unwrap();
            (arp.is_probe(), arp.is_announcement())
        };
        let (none, one) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::new(192, 0, 2, 1));
        assert_eq!(kinds(none, one, ArpOperation::REQUEST), (true, false));
        assert_eq!(kinds(none, none, ArpOperation::REQUEST), (true, false));
        assert_eq!(kinds(none, one, ArpOperation::REPLY), (false, false));
        assert_eq!(kinds(one, one, ArpOperation::REQUEST), (false, true));
        assert_eq!(kinds(one, one, ArpOperation::REPLY), (false, true));
    }

    #[test]
    fn says_what_it_is() {
        assert_eq!(request().to_string(), "who has 192.0.2.2, tell 192.0.2.1 (52:54:00:12:34:56)");
        assert_eq!(request().reply(OURS).to_string(), "192.0.2.2 is at 02:00:00:00:00:0a");
        assert_eq!(ArpHeader { operation: ArpOperation(3), ..request() }.to_string(), "operation 3");
    }
}
