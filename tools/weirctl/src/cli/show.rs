//! `show`: its nouns and how a row is named.

use super::routing::{ShowInterfaces, ShowRoutes};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use weir_api::id::{IdError, Location, Mac, Name, SegmentId};
use weir_api::view::Source;

/// `show NOUN [ID]`. With -j every one of them is an array, even of one row, but for generation, state and stats.
#[derive(Debug, Subcommand)]
pub enum Show {
    /// Ports: device, link, counters
    #[command(after_help = "Examples:\n  weirctl show port\n  weirctl show port lan0 -j", alias = "ports")]
    #[command(mut_arg("id", |id| id.value_name("NAME")))]
    Port(ShowOne<Name>),
    /// Bridges; of one, every field
    #[command(after_help = "Examples:\n  weirctl show bridge\n  weirctl show bridge red", alias = "bridges")]
    #[command(mut_arg("id", |id| id.value_name("NAME")))]
    Bridge(ShowOne<Name>),
    /// Vteps: local tunnel endpoints
    #[command(after_help = "Examples:\n  weirctl show vtep\n  weirctl show vtep tun0", alias = "vteps")]
    #[command(mut_arg("id", |id| id.value_name("NAME")))]
    Vtep(ShowOne<Name>),
    /// Segments: what bridges are attached to
    #[command(
        after_help = "Examples:\n  weirctl show segment --bridge red\n  weirctl show segment vlan/lan0/100",
        alias = "segments"
    )]
    #[command(mut_arg("id", |id| id.value_name("SEGMENT")))]
    Segment(ShowHosts<SegmentId>),
    /// Peers: remote tunnel endpoints
    #[command(
        after_help = "Examples:\n  weirctl show peer --bridge red\n  weirctl show peer vxlan/10000/192.0.2.2",
        alias = "peers"
    )]
    #[command(mut_arg("id", |id| id.value_name("SEGMENT/ADDRESS")))]
    Peer(ShowHosts<PeerId>),
    /// MACs, configured and learned
    #[command(
        after_help = "Examples:\n  weirctl show mac --bridge red\n  weirctl show mac 02:00:00:00:00:01\n  \
            weirctl show mac --bridge red --source learned",
        alias = "macs"
    )]
    #[command(mut_arg("id", |id| id.value_name("MAC")), mut_arg("address", |address| address.value_name("MAC")))]
    Mac(ShowMacs),
    /// Bindings, configured and learned: who has which address, as ARP and neighbour solicitations are answered
    #[command(
        after_help = "Examples:\n  weirctl show binding --bridge red\n  weirctl show binding 10.0.0.1\n  \
            weirctl show binding --address 02:00:00:00:00:01 --source learned",
        alias = "bindings"
    )]
    #[command(mut_arg("id", |id| id.value_name("IP|MAC")), mut_arg("address", |address| address.value_name("IP|MAC")))]
    Binding(ShowBindings),
    /// Flood lists: where each bridge's frames to everybody go
    #[command(
        after_help = "Examples:\n  weirctl show flood --bridge red\n  weirctl show flood --address 192.0.2.2",
        alias = "floods"
    )]
    #[command(mut_arg("id", |id| id.value_name("PEER")), mut_arg("address", |address| address.value_name("PEER")))]
    Flood(ShowFlood),
    /// Endpoints: configured hosts
    #[command(
        after_help = "Examples:\n  weirctl show endpoint --bridge red\n  weirctl show endpoint red/02:00:00:00:00:01",
        alias = "endpoints"
    )]
    #[command(mut_arg("id", |id| id.value_name("BRIDGE/MAC").help("Only this one; of whatever bridge, if only a MAC")))]
    Endpoint(ShowHosts<EndpointId>),
    /// Routers, and how many interfaces and routes they have
    #[command(after_help = "Examples:\n  weirctl show router\n  weirctl show router r1", alias = "routers")]
    #[command(mut_arg("id", |id| id.value_name("NAME")))]
    Router(ShowOne<Name>),
    /// Interfaces of routers; of one, every field
    #[command(
        after_help = "Examples:\n  weirctl show interface --router r1\n  weirctl show interface --bridge red\n  \
            weirctl show interface r1/red",
        alias = "interfaces"
    )]
    Interface(ShowInterfaces),
    /// Routes that routers forward by: to nets of interfaces, configured ones, and by gateways of external interfaces
    #[command(
        after_help = "Examples:\n  weirctl show route --router r1\n  weirctl show route r1/10.9.0.0/16\n  \
            weirctl show route 0.0.0.0/0",
        alias = "routes"
    )]
    Route(ShowRoutes),
    /// DVR MACs of gateways; this one's also if it is the MAC of its first port
    #[command(after_help = "Examples:\n  weirctl show dvr-mac", alias = "dvr-macs")]
    #[command(mut_arg("id", |id| id.value_name("MAC")))]
    DvrMac(ShowOne<Mac>),
    /// Neighbours: next hops on the underlay, and hosts that routers send to, as each worker knows them
    #[command(
        after_help = "Examples:\n  weirctl show neighbour\n  weirctl show neighbour 192.0.2.2\n  \
            weirctl show neighbour --bridge red\n  weirctl show neighbour --router r1",
        alias = "neighbours"
    )]
    Neighbour(ShowNeighbours),
    /// Dropped frames, by reason and port
    #[command(after_help = "Examples:\n  weirctl show drop\n  weirctl show drop unknown_vni", alias = "drops")]
    #[command(mut_arg("id", |id| id.value_name("REASON")))]
    Drop(ShowOne<Name>),
    /// Workers: cores, load, counters
    #[command(after_help = "Examples:\n  weirctl show worker\n  weirctl show worker 1", alias = "workers")]
    #[command(mut_arg("id", |id| id.value_name("CORE")))]
    Worker(ShowOne<u32>),
    /// The running generation, version and uptime
    #[command(after_help = "Examples:\n  weirctl show generation\n  weirctl show generation -j")]
    Generation,
    /// How full tables are, and the packet buffers
    #[command(after_help = "Examples:\n  weirctl show table\n  weirctl show table macs", alias = "tables")]
    #[command(mut_arg("id", |id| id.value_name("NAME")))]
    Table(ShowOne<Name>),
    /// Counts of the pipeline's events: learned, moved, aged, flooded
    #[command(after_help = "Examples:\n  weirctl show event\n  weirctl show event flooded", alias = "events")]
    #[command(mut_arg("id", |id| id.value_name("NAME")))]
    Event(ShowOne<Name>),
    /// The whole desired state: the same as export
    #[command(after_help = "Examples:\n  weirctl show state > state.toml")]
    State,
    /// Every counter and gauge at once
    #[command(after_help = "Examples:\n  weirctl show stats\n  weirctl show stats -j")]
    Stats,
}

/// All rows, or one.
#[derive(Clone, Debug, Args)]
pub struct ShowOne<T>
where
    T: FromStr + Clone + Send + Sync + 'static,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    /// Only this one
    #[arg(value_name = "ID", value_parser = parse::<T>)]
    pub id: Option<T>,
}

/// Neighbours: all, or those of a bridge or a router, or of an address.
#[derive(Clone, Debug, Args)]
pub struct ShowNeighbours {
    /// Only this one
    #[arg(value_name = "ADDRESS", value_parser = parse::<IpAddr>)]
    pub id: Option<IpAddr>,
    /// Only hosts on this bridge that routers send to
    #[arg(long, value_name = "NAME")]
    pub bridge: Option<Name>,
    /// Only those that this router sends to
    #[arg(long, value_name = "NAME")]
    pub router: Option<Name>,
}

/// All rows, or those of a bridge, or one.
#[derive(Clone, Debug, Args)]
pub struct ShowHosts<T>
where
    T: FromStr + Clone + Send + Sync + 'static,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    /// Only this one
    #[arg(value_name = "ID", value_parser = parse::<T>)]
    pub id: Option<T>,
    /// Only those of this bridge
    #[arg(long, value_name = "NAME")]
    pub bridge: Option<Name>,
}

/// MACs, by MAC.
pub type ShowMacs = ShowFacts<Mac>;
/// Bindings, by address or MAC.
pub type ShowBindings = ShowFacts<HostAddress>;
/// Flood lists, by peer.
pub type ShowFlood = ShowFacts<IpAddr>;

/// All rows, those of a bridge, of an address, or known in one way; or one that has to be there.
#[derive(Clone, Debug, Args)]
pub struct ShowFacts<T>
where
    T: FromStr + Clone + Send + Sync + 'static,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    /// Only this one, which has to be there
    #[arg(value_name = "ADDRESS", value_parser = parse::<T>)]
    pub id: Option<T>,
    /// Only those of this bridge
    #[arg(long, value_name = "NAME")]
    pub bridge: Option<Name>,
    /// Only those with this address, if there are any
    #[arg(long, value_name = "ADDRESS", conflicts_with = "id", value_parser = parse::<T>)]
    pub address: Option<T>,
    /// Only those that were configured, or learned
    #[arg(long, value_parser = source())]
    pub source: Option<Source>,
}

fn source() -> impl TypedValueParser<Value = Source> {
    PossibleValuesParser::new([Source::Configured.as_str(), Source::Learned.as_str()])
        .map(|s| if s == Source::Learned.as_str() { Source::Learned } else { Source::Configured })
}

/// A host's IP address, or its MAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostAddress {
    /// An IP address.
    Ip(IpAddr),
    /// A MAC.
    Mac(Mac),
}

impl FromStr for HostAddress {
    type Err = IdError;
    fn from_str(s: &str) -> Result<Self, IdError> {
        let mac = || s.parse().map(Self::Mac).ok();
        let error = || IdError { expected: "an IP address or a MAC address".to_owned(), value: s.to_owned() };
        s.parse().map(Self::Ip).ok().or_else(mac).ok_or_else(error)
    }
}

impl fmt::Display for HostAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Mac(mac) => mac.fmt(f),
        }
    }
}

pub(super) fn parse<T: FromStr>(text: &str) -> Result<T, T::Err> {
    text.parse()
}

/// A peer's id: SEGMENT/ADDRESS, such as `vxlan/10000/192.0.2.2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerId(Location);

impl FromStr for PeerId {
    type Err = IdError;
    fn from_str(s: &str) -> Result<Self, IdError> {
        let place: Location = s.parse()?;
        if place.peer.is_none() {
            return Err(IdError {
                expected: "a peer: TUNNEL-SEGMENT/ADDRESS such as vxlan/10000/192.0.2.2".to_owned(),
                value: s.to_owned(),
            });
        }
        Ok(Self(place))
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An endpoint's id, BRIDGE/MAC, or a MAC on whatever bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointId {
    /// The bridge, where it was given.
    pub bridge: Option<Name>,
    /// The host's MAC.
    pub mac: Mac,
}

impl FromStr for EndpointId {
    type Err = IdError;
    fn from_str(s: &str) -> Result<Self, IdError> {
        match s.split_once('/') {
            Some((bridge, mac)) => Ok(Self { bridge: Some(bridge.parse()?), mac: mac.parse()? }),
            None => Ok(Self { bridge: None, mac: s.parse()? }),
        }
    }
}
