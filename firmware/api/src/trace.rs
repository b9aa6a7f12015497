//! Trace: one packet through the running gateway's decisions, step by step.
//!
//! Nothing of it is sent, learned or counted. The frame comes as hexadecimal digits or as fields; it goes in at a port, or as an
//! endpoint sends it: then its tag or tunnel is put around it, and what is not said of it follows from the endpoint.

use crate::id::{IdError, Location, Mac, Name};
use crate::object::Key;
use crate::view::Source;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// What to trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    /// Where the frame comes in: a port's name, or an endpoint, BRIDGE/MAC.
    pub at: String,
    /// The frame.
    pub frame: FrameSpec,
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FrameSpec {
    /// Its bytes from the destination MAC on, without FCS, two digits each; blanks, colons and line feeds between them are skipped.
    /// At an endpoint, as the host itself sends it.
    Hex(String),
    /// What it is made of.
    Fields(Box<Fields>),
}

/// What a frame is made of. What is left out has a default; at a port, MACs have none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fields {
    /// Source MAC; of an endpoint, its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src_mac: Option<Mac>,
    /// Destination MAC; of an endpoint, its gateway's or the owner's of `dst`; of an ARP request, everybody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dst_mac: Option<AnyMac>,
    /// VLAN tag, 0 to 4094; at a port only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// Source address; of an endpoint, its first one of `dst`'s family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src: Option<IpAddr>,
    /// Destination address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dst: Option<IpAddr>,
    /// What it carries; UDP if nothing is said.
    #[serde(default)]
    pub proto: Proto,
    /// Source port of UDP and TCP; 49152.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sport: Option<u16>,
    /// Destination port; 9.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dport: Option<u16>,
    /// TTL or hop limit; 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
    /// DSCP and ECN; 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tos: Option<u8>,
    /// Whether it must not be fragmented; of IPv4 only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub df: bool,
    /// Length of the IP packet, bytes, at most 16,000; without one, its headers alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u16>,
    /// An ARP request for this address instead of an IP packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arp_request: Option<Ipv4Addr>,
}

/// A MAC, be it a group's or a host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnyMac(pub [u8; 6]);

impl FromStr for AnyMac {
    type Err = IdError;
    fn from_str(s: &str) -> Result<Self, IdError> {
        let error = || IdError::new("a MAC address such as 02:00:00:00:00:01", s);
        let mut octets = [0; 6];
        let mut parts = s.split([':', '-']);
        for octet in &mut octets {
            let part = parts.next().filter(|part| part.len() == 2).ok_or_else(error)?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| error())?;
        }
        if parts.next().is_some() { Err(error()) } else { Ok(Self(octets)) }
    }
}

impl fmt::Display for AnyMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// What an IP packet carries: `udp`, `tcp` (a SYN), `icmp` (a ping, of either family), or a protocol's number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proto {
    /// UDP.
    #[default]
    Udp,
    /// A TCP SYN.
    Tcp,
    /// A ping.
    Icmp,
    /// Another one, with zeros behind the IP header.
    Number(u8),
}

impl FromStr for Proto {
    type Err = IdError;
    fn from_str(s: &str) -> Result<Self, IdError> {
        match s {
            "udp" => Ok(Self::Udp),
            "tcp" => Ok(Self::Tcp),
            "icmp" => Ok(Self::Icmp),
            _ => s.parse().map(Self::Number).map_err(|_| IdError::new("udp, tcp, icmp, or a number from 0 to 255", s)),
        }
    }
}

impl fmt::Display for Proto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp => f.write_str("udp"),
            Self::Tcp => f.write_str("tcp"),
            Self::Icmp => f.write_str("icmp"),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

/// What became of the frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traced {
    /// The generation that decided.
    pub generation: u64,
    /// The port that it came in by.
    pub port: Name,
    /// The frame as it came in: hexadecimal digits.
    pub frame: String,
    /// What each step found, in order.
    pub steps: Vec<TraceStep>,
    /// How many more steps there were.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_steps: u64,
    /// The frames that would leave, in order.
    pub frames: Vec<LeavingFrame>,
    /// How many more would.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_frames: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it would be dropped: a drop reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It, or copies of it, would leave.
    Forwarded,
    /// An answer would leave.
    Answered,
    /// It would wait for an answer to the question that would leave.
    Waits,
    /// It would be dropped.
    Dropped,
    /// It would teach the gateway something, and go no further.
    Consumed,
}

impl Outcome {
    /// Its one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Answered => "answered",
            Self::Waits => "waits",
            Self::Dropped => "dropped",
            Self::Consumed => "consumed",
        }
    }
}

macro_rules! steps {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// Which step it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum StepName {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)*
        }

        impl StepName {
            /// Its one word.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(StepName::$variant => $text,)*
                }
            }
        }
    };
}

steps! {
    /// Where it came in: the segment, `bridge`, `port`, `location`.
    Ingress = "ingress",
    /// What it says.
    Parse = "parse",
    /// Whether its sender may say, and send, that.
    Guard = "guard",
    /// Where its sender was known to be: `bridge`, `mac`, `location`, `source`.
    Sender = "sender",
    /// The router's interface that it is for.
    Interface = "interface",
    /// The route that it takes: `address` is where to.
    Route = "route",
    /// The next hop: the interface, `bridge`, `address`.
    NextHop = "next_hop",
    /// Who has an address: `bridge`, `address`, `mac`, `source`.
    Owner = "owner",
    /// Where a MAC is: `bridge`, `mac`, `location`, `source`.
    Lookup = "lookup",
    /// What was decided.
    Decide = "decide",
    /// A question was answered: `address`, `mac`.
    Answer = "answer",
    /// Who sent it is told why it goes no further.
    Tell = "tell",
    /// It, or a copy of it, or what is sent because of it, goes there: `location`.
    Towards = "towards",
    /// The next hop on the underlay: `port`, `address`, `mac`.
    Neighbour = "neighbour",
    /// It waits until that is known who has `address`.
    Wait = "wait",
    /// Who has `address` is asked.
    Ask = "ask",
    /// A frame leaves: `port`.
    Leave = "leave",
    /// A frame is dropped: `reason`.
    Drop = "drop",
    /// It taught the gateway something, and goes no further.
    Consume = "consume",
}

/// What a step found. What does not apply is absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceStep {
    /// Which step.
    pub step: StepName,
    /// The object that it used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Key>,
    /// A port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Name>,
    /// A bridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<Name>,
    /// A place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// A MAC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<AnyMac>,
    /// An address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// How it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// A drop reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same for a person.
    pub text: String,
}

/// A frame that would leave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeavingFrame {
    /// By which port.
    pub port: Name,
    /// Its length, bytes, without FCS.
    pub length: usize,
    /// What it is, for a person.
    pub summary: String,
    /// Its bytes: hexadecimal digits.
    pub bytes: String,
}

/// The longest frame that is traced, bytes.
pub const MAX_FRAME: usize = 16_384;

/// The bytes that hexadecimal digits stand for, two each; blanks, colons and line feeds between them are skipped.
///
/// # Errors
/// Where another character stands, that a digit is missing, or that there are none or too many.
pub fn bytes(hex: &str) -> Result<Vec<u8>, IdError> {
    let digits = hex.chars().enumerate().filter(|(_, c)| !c.is_whitespace() && *c != ':');
    let mut half = None;
    let mut bytes = Vec::new();
    for (at, c) in digits {
        let wrong = || IdError::new(format!("a hexadecimal digit as character {}", at + 1), &c.to_string());
        let digit = c.to_digit(16).ok_or_else(wrong)? as u8;
        match half.take() {
            None => half = Some(digit),
            Some(high) => bytes.push(high << 4 | digit),
        }
    }
    match half {
        Some(_) => Err(IdError::new("two hexadecimal digits a byte", &format!("{} and one more", 2 * bytes.len()))),
        None if (1..=MAX_FRAME).contains(&bytes.len()) => Ok(bytes),
        None => Err(IdError::new(format!("from 1 to {MAX_FRAME} bytes"), &bytes.len().to_string())),
    }
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from_digit(n.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_bytes_and_what_is_no_digit_is_named_with_its_place() {
        assert_eq!(bytes("02:00 00\n aB").unwrap(), [2, 0, 0, 0xab]);
        assert_eq!(hex(&[2, 0, 0xab]), "0200ab");
        let wrong = |text| bytes(text).unwrap_err().to_string();
        assert_eq!(wrong("02 0g"), "expected a hexadecimal digit as character 5, found g");
        assert_eq!(wrong("020"), "expected two hexadecimal digits a byte, found 2 and one more");
        assert_eq!(wrong(""), "expected from 1 to 16384 bytes, found 0");
        assert_eq!(wrong(&"00".repeat(MAX_FRAME + 1)), "expected from 1 to 16384 bytes, found 16385");
    }

    #[test]
    fn a_mac_may_be_a_groups() {
        let mac: AnyMac = "ff-ff-ff-ff-ff-0A".parse().unwrap();
        assert_eq!((mac.0[5], mac.to_string().as_str()), (10, "ff:ff:ff:ff:ff:0a"));
        for wrong in ["", "ff", "ff:ff:ff:ff:ff", "ff:ff:ff:ff:ff:ff:ff", "ff:ff:ff:ff:ff:fg", "0:0:0:0:0:0"] {
            assert!(wrong.parse::<AnyMac>().is_err(), "{wrong}");
        }
        assert_eq!(["udp", "tcp", "icmp", "47"].map(|text| text.parse::<Proto>().unwrap().to_string()).len(), 4);
        assert!("256".parse::<Proto>().is_err());
    }
}
