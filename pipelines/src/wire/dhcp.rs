//! DHCP and DHCPv6, as far as an onlooker needs them to learn who was given which address.
//!
//! Owns: the fields of a BOOTP message and the two options that make it a lease; the addresses in a DHCPv6 reply. Refuses:
//! hardware other than Ethernet, BOOTP without DHCP, options cut short or of a wrong length, and more than
//! [`MAX_DHCP_OPTIONS`] of them. An option that comes twice counts as its parts put together (RFC 3396 §5), which are then
//! too long. Options that overflow into the fields for names (RFC 2132 §9.3) are not looked for: no server puts the two
//! there that are read. Nothing is written.
//! Whether the sender is a server that may give addresses is for the caller to know.
//! Read first: RFC 2131 §2 and §3, RFC 2132 §3, §9.2 and §9.6; RFC 8415 §8, §21.4 and §21.6.

use core::net::{Ipv4Addr, Ipv6Addr};

use heapless::Vec;

use super::{MacAddr, Malformed, be16, four, sixteen};

/// Where DHCP servers and relays listen (RFC 2131 §4.1), UDP.
pub const DHCP_SERVER_PORT: u16 = 67;

/// Where DHCP clients listen (RFC 2131 §4.1), UDP.
pub const DHCP_CLIENT_PORT: u16 = 68;

/// Where DHCPv6 clients listen (RFC 8415 §7.2), UDP.
pub const DHCP6_CLIENT_PORT: u16 = 546;

/// Where DHCPv6 servers and relays listen (RFC 8415 §7.2), UDP.
pub const DHCP6_SERVER_PORT: u16 = 547;

/// How many options of a message are walked past, pads and options within options included.
pub const MAX_DHCP_OPTIONS: usize = 128;

/// How many addresses of a DHCPv6 reply are kept.
pub const MAX_DHCP6_ADDRESSES: usize = 4;

/// Length of a BOOTP message up to its options, with DHCP's magic cookie: bytes.
const FIXED: usize = 240;

/// The first four bytes of the options (RFC 2131 §3).
const MAGIC_COOKIE: [u8; 4] = [99, 130, 83, 99];

/// Hardware type and length of Ethernet (IANA "ARP Parameters").
const ETHERNET: (u8, u8) = (1, 6);

/// Options of DHCP (RFC 2132 §3.1, §3.2, §9.2, §9.6).
const PAD: u8 = 0;
const LEASE_TIME: u8 = 51;
const MESSAGE_TYPE: u8 = 53;
const END: u8 = 255;

/// Options of DHCPv6: addresses that are not temporary, and one of them (RFC 8415 §21.4, §21.6).
const IA_NA: u16 = 3;
const IA_ADDRESS: u16 = 5;

/// What a DHCP message is for (RFC 2132 §9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dhcp4Type(pub u8);

impl Dhcp4Type {
    /// A client looks for servers.
    pub const DISCOVER: Self = Self(1);
    /// A server offers an address.
    pub const OFFER: Self = Self(2);
    /// A client asks for the address.
    pub const REQUEST: Self = Self(3);
    /// A client found that somebody else has it.
    pub const DECLINE: Self = Self(4);
    /// A server gives it.
    pub const ACK: Self = Self(5);
    /// A server does not.
    pub const NAK: Self = Self(6);
    /// A client gives it back.
    pub const RELEASE: Self = Self(7);
    /// A client with an address asks for all else.
    pub const INFORM: Self = Self(8);
}

/// A DHCP message between an Ethernet host and a server, its fields under the names that RFC 2131 §2 gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dhcp4 {
    /// Whether it is to the client (BOOTREPLY), rather than from it (BOOTREQUEST).
    pub reply: bool,
    /// What it is for.
    pub message_type: Dhcp4Type,
    /// The client's Ethernet address.
    pub chaddr: MacAddr,
    /// The address that the client has, as it says itself; 0.0.0.0 if none.
    pub ciaddr: Ipv4Addr,
    /// The address that the client is given; 0.0.0.0 if none, as in the answer to an INFORM.
    pub yiaddr: Ipv4Addr,
    /// For how long: seconds, 0xFFFFFFFF without end.
    pub lease: Option<u32>,
}

impl Dhcp4 {
    /// What a UDP payload says.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] if there are fewer than 240 bytes, or an option ends behind them; [`Malformed::BadHardware`]
    /// if the client's is not Ethernet; [`Malformed::NotDhcp`] if it is neither request nor reply, or lacks the magic cookie
    /// or the message type; [`Malformed::BadLength`] if one of the two options has another length than it must;
    /// [`Malformed::TooManyOptions`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let (fixed, options) = bytes.split_first_chunk::<FIXED>().ok_or(Malformed::Truncated)?;
        let reply = match fixed[0] {
            1 => false,
            2 => true,
            _ => return Err(Malformed::NotDhcp),
        };
        if (fixed[1], fixed[2]) != ETHERNET {
            return Err(Malformed::BadHardware);
        }
        if four(fixed, 236) != MAGIC_COOKIE {
            return Err(Malformed::NotDhcp);
        }
        let (message_type, lease) = walk(options)?;
        Ok(Self {
            reply,
            message_type: message_type.ok_or(Malformed::NotDhcp)?,
            chaddr: MacAddr::at(fixed, 28),
            ciaddr: Ipv4Addr::from(four(fixed, 12)),
            yiaddr: Ipv4Addr::from(four(fixed, 16)),
            lease,
        })
    }

    /// Whether a server gives, or gives again, what is in [`Dhcp4::yiaddr`].
    #[inline]
    pub fn is_ack(&self) -> bool {
        self.reply && self.message_type == Dhcp4Type::ACK
    }
}

/// Message type and lease time among the options. Bytes that end without an END are read as if it were there.
fn walk(mut options: &[u8]) -> Result<(Option<Dhcp4Type>, Option<u32>), Malformed> {
    let (mut message_type, mut lease) = (None, None);
    for _ in 0..MAX_DHCP_OPTIONS {
        let (code, behind) = match options {
            [] | [END, ..] => return Ok((message_type, lease)),
            [PAD, rest @ ..] => {
                options = rest;
                continue;
            }
            [_] => return Err(Malformed::Truncated),
            [code, len, rest @ ..] => (*code, rest.split_at_checked(usize::from(*len))),
        };
        let (value, rest) = behind.ok_or(Malformed::Truncated)?;
        let again = match code {
            MESSAGE_TYPE => {
                let [number] = value.try_into().map_err(|_| Malformed::BadLength)?;
                message_type.replace(Dhcp4Type(number)).is_some()
            }
            LEASE_TIME => {
                let seconds = value.try_into().map_err(|_| Malformed::BadLength)?;
                lease.replace(u32::from_be_bytes(seconds)).is_some()
            }
            _ => false,
        };
        if again {
            return Err(Malformed::BadLength);
        }
        options = rest;
    }
    Err(Malformed::TooManyOptions)
}

/// What a DHCPv6 message is for (RFC 8415 §7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dhcp6Type(pub u8);

impl Dhcp6Type {
    /// A client looks for servers.
    pub const SOLICIT: Self = Self(1);
    /// A client asks for addresses.
    pub const REQUEST: Self = Self(3);
    /// A server gives them, or whatever else was asked for.
    pub const REPLY: Self = Self(7);
    /// A client gives addresses back.
    pub const RELEASE: Self = Self(8);
    /// A client found that somebody else has an address.
    pub const DECLINE: Self = Self(9);
}

/// An address that a DHCPv6 server gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dhcp6Address {
    /// The address.
    pub address: Ipv6Addr,
    /// For how long: seconds, 0xFFFFFFFF without end, 0 if the client must not use it any more.
    pub valid: u32,
}

/// A DHCPv6 message. It names its client by an identifier that need not contain the MAC: that is where the frame goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dhcp6 {
    /// What it is for.
    pub message_type: Dhcp6Type,
    /// Of a reply: the addresses that it gives, the first [`MAX_DHCP6_ADDRESSES`] of them. Of other messages: none.
    pub addresses: Vec<Dhcp6Address, MAX_DHCP6_ADDRESSES>,
}

impl Dhcp6 {
    /// What a UDP payload says. Only a reply is read further than its type: relays' messages have another shape.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] if there are fewer than 4 bytes, or an option ends behind what it is in;
    /// [`Malformed::BadLength`] if an option with addresses is too short for its own fields;
    /// [`Malformed::TooManyOptions`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let (fixed, options) = bytes.split_first_chunk::<4>().ok_or(Malformed::Truncated)?;
        let mut message = Self { message_type: Dhcp6Type(fixed[0]), addresses: Vec::new() };
        if message.is_reply() {
            message.read_options(options)?;
        }
        Ok(message)
    }

    /// Whether a server gives what is in [`Dhcp6::addresses`].
    #[inline]
    pub fn is_reply(&self) -> bool {
        self.message_type == Dhcp6Type::REPLY
    }

    /// Keeps the addresses that are in the message's options.
    fn read_options(&mut self, mut options: &[u8]) -> Result<(), Malformed> {
        let mut turns = MAX_DHCP_OPTIONS;
        while let Some((code, value)) = next_option(&mut options, &mut turns)? {
            if code != IA_NA {
                continue;
            }
            // Identifier and two times, then options of its own.
            let mut within = value.get(12..).ok_or(Malformed::BadLength)?;
            while let Some((code, value)) = next_option(&mut within, &mut turns)? {
                if code == IA_ADDRESS {
                    // Address, preferred and valid lifetime; options of its own behind them.
                    let fields = value.first_chunk::<24>().ok_or(Malformed::BadLength)?;
                    let address = Ipv6Addr::from(sixteen(fields, 0));
                    // Those beyond the bound are not kept.
                    let _ = self.addresses.push(Dhcp6Address { address, valid: u32::from_be_bytes(four(fields, 20)) });
                }
            }
        }
        Ok(())
    }
}

/// Takes the next option off `options`: its code and its value. One turn less is left.
fn next_option<'a>(options: &mut &'a [u8], turns: &mut usize) -> Result<Option<(u16, &'a [u8])>, Malformed> {
    if options.is_empty() {
        return Ok(None);
    }
    *turns = turns.checked_sub(1).ok_or(Malformed::TooManyOptions)?;
    let (head, rest) = options.split_first_chunk::<4>().ok_or(Malformed::Truncated)?;
    let (value, rest) = rest.split_at_checked(usize::from(be16(head, 2))).ok_or(Malformed::Truncated)?;
    *options = rest;
    Ok(Some((be16(head, 0), value)))
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    const MAC: MacAddr = MacAddr([0x52, 0x54, 0x00, 0x12, 0x34, 0x56]);

    /// An ACK of 192.0.2.9 for a day up to its names, and its options from the cookie on.
    const HEAD: [u8; 34] = [
        0x02, 0x01, 0x06, 0x00, 0x01, 0x02, 0x03, 0x04, 0x00, 0x00, 0x00, 0x00, // reply, Ethernet
        192, 0, 2, 8, 192, 0, 2, 9, 192, 0, 2, 1, 0, 0, 0, 0, // ciaddr, yiaddr, siaddr, giaddr
        0x52, 0x54, 0x00, 0x12, 0x34, 0x56, // chaddr
    ];
    const OPTIONS: [u8; 26] = [
        0x63, 0x82, 0x53, 0x63, // cookie
        0x35, 0x01, 0x05, // ACK
        0x36, 0x04, 192, 0, 2, 1, // server
        0x33, 0x04, 0x00, 0x01, 0x51, 0x80, // a day
        0x01, 0x04, 0xff, 0xff, 0xff, 0x00, // mask
        0xff,
    ];

    fn ack() -> Vec<u8> {
        with_options(&OPTIONS)
    }

    fn with_options(options: &[u8]) -> Vec<u8> {
        let mut bytes = HEAD.to_vec();
        bytes.resize(236, 0);
        bytes.extend(options);
        bytes
    }

    fn expected() -> Dhcp4 {
        Dhcp4 {
            reply: true,
            message_type: Dhcp4Type::ACK,
            chaddr: MAC,
            ciaddr: Ipv4Addr::new(192, 0, 2, 8),
            yiaddr: Ipv4Addr::new(192, 0, 2, 9),
            lease: Some(86_400),
        }
    }

    #[test]
    fn reads_known_bytes() {
        assert_eq!(Dhcp4::parse(&ack()), Ok(expected()));
        assert!(expected().is_ack());
        assert!(!Dhcp4 { reply: false, ..expected() }.is_ack());
        assert!(!Dhcp4 { message_type: Dhcp4Type::OFFER, ..expected() }.is_ack());
    }

    #[test]
    fn refuses_every_truncation_of_the_fixed_part_and_of_options() {
        let bytes = ack();
        for len in 0..240 {
            assert_eq!(Dhcp4::parse(&bytes[..len]), Err(Malformed::Truncated), "{len} bytes");
        }
        for len in 240..bytes.len() {
            let expected = match len - 240 {
                0 => Err(Malformed::NotDhcp), // no message type
                3 | 9 => Ok(Dhcp4 { lease: None, ..expected() }),
                15 | 21 => Ok(expected()),
                _ => Err(Malformed::Truncated),
            };
            assert_eq!(Dhcp4::parse(&bytes[..len]), expected, "{len} bytes");
        }
    }

    #[test]
    fn refuses_what_is_not_dhcp_over_ethernet() {
        let wrong = |at: usize, value: u8| {
            let mut bytes = ack();
            bytes[at] = value;
            Dhcp4::parse(&bytes)
        };
        assert_eq!(wrong(0, 0), Err(Malformed::NotDhcp));
        assert_eq!(wrong(0, 3), Err(Malformed::NotDhcp));
        assert_eq!(wrong(0, 1), Ok(Dhcp4 { reply: false, ..expected() }));
        assert_eq!(wrong(1, 6), Err(Malformed::BadHardware));
        assert_eq!(wrong(2, 16), Err(Malformed::BadHardware));
        for at in 236..240 {
            assert_eq!(wrong(at, 0), Err(Malformed::NotDhcp), "byte {at}");
        }
        assert_eq!(Dhcp4::parse(&with_options(&[0x63, 0x82, 0x53, 0x63, 0xff])), Err(Malformed::NotDhcp));
    }

    /// What the cookie and these options say.
    fn options(options: &[u8]) -> Result<(Dhcp4Type, Option<u32>), Malformed> {
        let bytes = with_options(&[&MAGIC_COOKIE, options].concat());
        Dhcp4::parse(&bytes).map(|dhcp| (dhcp.message_type, dhcp.lease))
    }

    #[test]
    fn options_have_their_lengths_and_come_once() {
        const ACK: [u8; 3] = [53, 1, 5];
        assert_eq!(options(&[0, 0, 53, 1, 5, 0, 255, 51, 9]), Ok((Dhcp4Type::ACK, None)), "behind the end is nothing");
        for wrong in [&[53, 0][..], &[53, 2, 5, 5], &[53, 1, 5, 51, 3, 0, 0, 1], &[53, 1, 5, 51, 5, 0, 0, 0, 0, 1]] {
            assert_eq!(options(wrong), Err(Malformed::BadLength), "{wrong:?}");
        }
        assert_eq!(options(&[ACK, ACK].concat()), Err(Malformed::BadLength));
        let day = [51, 4, 0, 1, 0x51, 0x80];
        assert_eq!(options(&[&ACK[..], &day, &day].concat()), Err(Malformed::BadLength));
    }

    #[test]
    fn walks_no_further_than_the_bound() {
        let pads = |count: usize| options(&[&[0; 200][..count], &[53, 1, 5, 255]].concat());
        assert_eq!(pads(MAX_DHCP_OPTIONS - 2), Ok((Dhcp4Type::ACK, None)));
        assert_eq!(pads(MAX_DHCP_OPTIONS - 1), Err(Malformed::TooManyOptions));
    }

    /// A reply with identifiers of client and server, then 2001:db8::9 for two hours.
    const REPLY: [u8; 76] = [
        0x07, 0x12, 0x34, 0x56, // reply
        0x00, 0x01, 0x00, 0x0a, 0x00, 0x03, 0x00, 0x01, 0x52, 0x54, 0x00, 0x12, 0x34, 0x56, // client
        0x00, 0x02, 0x00, 0x0a, 0x00, 0x03, 0x00, 0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x01, // server
        0x00, 0x03, 0x00, 0x28, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x07, 0x08, 0x00, 0x00, 0x0b, 0x40, // IA_NA
        0x00, 0x05, 0x00, 0x18, 0x20, 0x01, 0x0d, 0xb8, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // address
        0x00, 0x00, 0x00, 0x09, 0x00, 0x00, 0x0e, 0x10, 0x00, 0x00, 0x1c, 0x20, // its end, lifetimes
    ];

    fn nine() -> Dhcp6Address {
        Dhcp6Address { address: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9), valid: 7200 }
    }

    fn addresses(bytes: &[u8]) -> Result<Vec<Dhcp6Address>, Malformed> {
        Dhcp6::parse(bytes).map(|message| message.addresses.to_vec())
    }

    #[test]
    fn reads_known_bytes_of_version_6() {
        let reply = Dhcp6::parse(&REPLY).unwrap();
        assert_eq!((reply.is_reply(), &reply.addresses[..]), (true, &[nine()][..]));
        let mut request = REPLY;
        request[0] = Dhcp6Type::REQUEST.0;
        let request = Dhcp6::parse(&request).unwrap();
        assert_eq!((request.message_type, request.addresses.len()), (Dhcp6Type::REQUEST, 0));
    }

    #[test]
    fn refuses_every_truncation_of_version_6() {
        for len in 0..REPLY.len() {
            let expected = if [4, 18, 32].contains(&len) { Ok(std::vec![]) } else { Err(Malformed::Truncated) };
            assert_eq!(addresses(&REPLY[..len]), expected, "{len} bytes");
        }
    }

    #[test]
    fn options_of_version_6_are_as_long_as_their_fields() {
        let mut bytes = REPLY;
        bytes[35] = 39;
        assert_eq!(addresses(&bytes), Err(Malformed::Truncated), "an address that ends behind its group");
        let short = [&REPLY[..4], &[0, 3, 0, 11], &[0; 11]].concat();
        assert_eq!(addresses(&short), Err(Malformed::BadLength), "a group without its fields");
        let short = [&REPLY[..4], &[0, 3, 0, 39], &REPLY[36..48], &[0, 5, 0, 23], &[0; 23]].concat();
        assert_eq!(addresses(&short), Err(Malformed::BadLength), "an address without its fields");
    }

    #[test]
    fn keeps_the_first_addresses_and_walks_no_further_than_the_bound() {
        let of = |groups: usize| [&REPLY[..32], &REPLY[32..].repeat(groups)].concat();
        assert_eq!(addresses(&of(3)), Ok(std::vec![nine(); 3]));
        assert_eq!(addresses(&of(9)), Ok(std::vec![nine(); MAX_DHCP6_ADDRESSES]));
        assert!(addresses(&of((MAX_DHCP_OPTIONS - 2) / 2)).is_ok());
        assert_eq!(addresses(&of(MAX_DHCP_OPTIONS / 2)), Err(Malformed::TooManyOptions));
    }
}
