//! `show`: its nouns and how a row is named.

use clap::{Args, Subcommand};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use weir_api::id::{IdError, Location, Mac, Name, SegmentId};

/// `show NOUN [ID]`. With -j every one of them is an array, even of one row, but for generation, state and stats.
#[derive(Debug, Subcommand)]
pub enum Show {
    /// Ports: device, link, counters
    #[command(after_help = "Examples:\n  weirctl show port\n  weirctl show port lan0 -j", alias = "ports")]
    #[command(mut_arg("id", |id| id.value_name("NAME")))]
    Port(ShowOne<Name>),
    /// Bridges
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
        after_help = "Examples:\n  weirctl show mac --bridge red\n  weirctl show mac 02:00:00:00:00:01",
        alias = "macs"
    )]
    #[command(mut_arg("id", |id| id.value_name("MAC")))]
    Mac(ShowHosts<Mac>),
    /// Endpoints: configured hosts
    #[command(
        after_help = "Examples:\n  weirctl show endpoint --bridge red\n  weirctl show endpoint red/02:00:00:00:00:01",
        alias = "endpoints"
    )]
    #[command(mut_arg("id", |id| id.value_name("BRIDGE/MAC").help("Only this one; of whatever bridge, if only a MAC")))]
    Endpoint(ShowHosts<EndpointId>),
    /// Neighbours: next hops on the underlay
    #[command(
        after_help = "Examples:\n  weirctl show neighbour\n  weirctl show neighbour 192.0.2.2",
        alias = "neighbours"
    )]
    #[command(mut_arg("id", |id| id.value_name("ADDRESS")))]
    Neighbour(ShowOne<IpAddr>),
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

fn parse<T: FromStr>(text: &str) -> Result<T, T::Err> {
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
            return Err(IdError { expected: "a peer: vxlan/VNI/ADDRESS".to_owned(), value: s.to_owned() });
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
