//! `trace`: a packet by its fields or its bytes, and where it comes in.

use clap::Args;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use weir_api::id::{IdError, Mac, Name};
use weir_api::trace::{self, AnyMac, Proto};

/// `trace`.
#[derive(Clone, Debug, Args)]
#[command(
    group = clap::ArgGroup::new("at").required(true).args(["port", "endpoint"]),
    group = clap::ArgGroup::new("what").required(true).args(["hex", "dst", "arp_request"]),
    after_help = EXAMPLES
)]
pub struct TraceArgs {
    /// The port that it comes in by
    #[arg(long, value_name = "PORT")]
    pub port: Option<Name>,
    /// The endpoint that sends it: its MAC, its address, its gateway, and its tag or tunnel are then known
    #[arg(long, value_name = "BRIDGE/MAC")]
    pub endpoint: Option<HostId>,
    /// The frame's bytes, from the destination MAC on; at an endpoint, as the host itself sends them
    #[arg(long, value_name = "DIGITS", value_parser = hex, conflicts_with_all = FIELDS)]
    pub hex: Option<String>,
    /// VLAN tag; at a port only
    #[arg(long, value_name = "VID", conflicts_with = "endpoint", value_parser = clap::value_parser!(u16).range(0..=4094))]
    pub vlan: Option<u16>,
    /// Source MAC [endpoint: its own]
    #[arg(long, value_name = "MAC", required_unless_present_any = ["endpoint", "hex"])]
    pub src_mac: Option<Mac>,
    /// Destination MAC [endpoint: its gateway's or, of an address on its own bridge, the owner's]
    #[arg(long, value_name = "MAC", required_unless_present_any = ["endpoint", "hex", "arp_request"])]
    pub dst_mac: Option<AnyMac>,
    /// Source address [endpoint: its first one]
    #[arg(long, value_name = "ADDRESS")]
    pub src: Option<IpAddr>,
    /// Destination address
    #[arg(long, value_name = "ADDRESS")]
    pub dst: Option<IpAddr>,
    /// udp, tcp (a SYN), icmp (a ping) or a protocol's number [default: udp]
    #[arg(long, value_name = "PROTOCOL")]
    pub proto: Option<Proto>,
    /// Source port [default: 49152]
    #[arg(long, value_name = "PORT")]
    pub sport: Option<u16>,
    /// Destination port [default: 9]
    #[arg(long, value_name = "PORT")]
    pub dport: Option<u16>,
    /// TTL or hop limit [default: 64]
    #[arg(long, value_name = "HOPS")]
    pub ttl: Option<u8>,
    /// DSCP and ECN, a byte [default: 0]
    #[arg(long, value_name = "BYTE")]
    pub tos: Option<u8>,
    /// Length of the IP packet, bytes [default: its headers']
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(20..=16_000))]
    pub length: Option<u16>,
    /// Not to be fragmented; of IPv4 only
    #[arg(long)]
    pub df: bool,
    /// Instead of an IP packet, an ARP request for this address
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["dst", "proto", "sport", "dport", "ttl", "tos", "length", "df"])]
    pub arp_request: Option<Ipv4Addr>,
}

/// What makes a frame, if not its bytes.
const FIELDS: [&str; 13] = [
    "vlan",
    "src_mac",
    "dst_mac",
    "src",
    "dst",
    "proto",
    "sport",
    "dport",
    "ttl",
    "tos",
    "length",
    "df",
    "arp_request",
];

const EXAMPLES: &str = "\
Examples:
  weirctl trace --endpoint red/02:00:00:00:00:01 --dst 10.0.1.2
  weirctl trace --endpoint red/02:00:00:00:00:01 --dst 10.0.1.2 --proto tcp --dport 443 --length 1500 --df
  weirctl trace --endpoint red/02:00:00:00:00:01 --arp-request 10.0.0.254
  weirctl trace --port lan0 --vlan 100 --src-mac 02:00:00:00:00:01 --dst-mac 02:00:00:00:00:02 --src 10.0.0.1 --dst 10.0.0.2
  weirctl trace --port lan0 --hex 0200000000020200000000018100006488b5 -j";

/// Digits that are bytes; they go on as they are.
fn hex(text: &str) -> Result<String, IdError> {
    trace::bytes(text).map(|_| text.to_owned())
}

/// An endpoint's id with its bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostId {
    /// The bridge.
    pub bridge: Name,
    /// The host's MAC.
    pub mac: Mac,
}

impl FromStr for HostId {
    type Err = IdError;
    fn from_str(s: &str) -> Result<Self, IdError> {
        let expected = "BRIDGE/MAC such as red/02:00:00:00:00:01".to_owned();
        let (bridge, mac) = s.split_once('/').ok_or(IdError { expected, value: s.to_owned() })?;
        Ok(Self { bridge: bridge.parse()?, mac: mac.parse()? })
    }
}
