//! What can be said of routers, interfaces, routes and DVR MACs.

use super::show::parse;
use clap::Args;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use weir_api::id::{IdError, IpPrefix, Mac, Name};

/// A router that is new.
#[derive(Debug, Args)]
pub struct AddRouter {
    /// What it is called: 1 to 63 letters, digits, '.', '_' or '-'
    pub name: Name,
    /// What it is like.
    #[command(flatten)]
    pub fields: RouterFields,
}

/// Fields of a router to change.
pub type SetRouter = AddRouter;

/// What a router is like; what is not given keeps its value, or its default.
#[derive(Debug, Args)]
#[group(multiple = true)]
pub struct RouterFields {
    /// Lower the maximum segment size of TCP to what fits the way out [default of a new one: false]
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub mss_clamp: Option<bool>,
    /// ICMP errors that it sends in a second, on each worker; 0 is none at all [default of a new one: 100]
    #[arg(long, value_name = "PACKETS/S")]
    pub icmp_limit: Option<u32>,
}

/// An interface: a router, and a bridge.
#[derive(Clone, Debug, Args)]
pub struct InterfaceKey {
    /// The router
    pub router: Name,
    /// The bridge that it is on
    pub bridge: Name,
}

/// A new interface.
#[derive(Debug, Args)]
pub struct AddInterface {
    /// Which interface.
    #[command(flatten)]
    pub key: InterfaceKey,
    /// The gateway MAC, the same on every gateway that has the router
    #[arg(long, value_name = "MAC")]
    pub mac: Mac,
    /// One of the gateway's own addresses, with the prefix length of its net; may be repeated, up to 16
    #[arg(long, value_name = "ADDRESS/LENGTH", required = true)]
    pub address: Vec<IpPrefix>,
    /// The largest IP packet that the bridge's hosts take, 576 to 9216, with IPv6 from 1280 [default: what fits each way out]
    #[arg(long, value_name = "BYTES")]
    pub mtu: Option<u16>,
    /// A next hop of the router's default route, in a net of the interface; may be repeated, up to 8 of each family
    #[arg(long, value_name = "ADDRESS")]
    pub gateway: Vec<IpAddr>,
    /// What else it is like.
    #[command(flatten)]
    pub more: MoreOfInterface,
}

/// Switches and times of an interface; what is not given keeps its value, or its default.
#[derive(Debug, Args)]
#[group(multiple = true)]
pub struct MoreOfInterface {
    /// It is a way out of the tenant's networks [default of a new one: false]
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub external: Option<bool>,
    /// What goes between it and others needs no NAT; only of an external one [default of a new one: false]
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub pass_without_nat: Option<bool>,
    /// Send router advertisements [default of a new one: false]
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub ra: Option<bool>,
    /// The longest time between two advertisements, 4 to 1800 [default of a new one: 600]
    #[arg(long, value_name = "SECONDS")]
    pub ra_interval: Option<u32>,
    /// For how long hosts take it for a default router: 0 for not at all, or up to 9000 [default of a new one: 1800]
    #[arg(long, value_name = "SECONDS")]
    pub ra_lifetime: Option<u32>,
    /// Tell hosts that there is DHCPv6 for addresses [default of a new one: false]
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub ra_managed: Option<bool>,
    /// Tell hosts that there is DHCPv6 for all else [default of a new one: false]
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub ra_other: Option<bool>,
}

/// Fields of an interface to change.
#[derive(Debug, Args)]
pub struct SetInterface {
    /// Which interface.
    #[command(flatten)]
    pub key: InterfaceKey,
    /// What to change.
    #[command(flatten)]
    pub fields: InterfaceFields,
    /// What else to change.
    #[command(flatten)]
    pub more: MoreOfInterface,
}

/// Addresses of an interface.
#[derive(Debug, Args)]
#[group(multiple = true)]
pub struct InterfaceFields {
    /// The gateway MAC
    #[arg(long, value_name = "MAC")]
    pub mac: Option<Mac>,
    /// All of the gateway's own addresses, one each time, in place of those it had
    #[arg(long, value_name = "ADDRESS/LENGTH")]
    pub address: Vec<IpPrefix>,
    /// The largest IP packet that the bridge's hosts take
    #[arg(long, value_name = "BYTES", conflicts_with = "no_mtu")]
    pub mtu: Option<u16>,
    /// The bridge's hosts take what fits each way out
    #[arg(long)]
    pub no_mtu: bool,
    /// All next hops of the router's default route here, one each time, in place of those it had
    #[arg(long, value_name = "ADDRESS", conflicts_with = "no_gateway")]
    pub gateway: Vec<IpAddr>,
    /// No next hop of the router's default route is here
    #[arg(long)]
    pub no_gateway: bool,
}

/// A route: a router, and a prefix.
#[derive(Clone, Debug, Args)]
pub struct RouteKey {
    /// The router
    pub router: Name,
    /// Where to, without bits behind its length
    #[arg(value_name = "PREFIX/LENGTH")]
    pub prefix: IpPrefix,
}

/// A route, new or with other next hops.
#[derive(Debug, Args)]
pub struct AddRoute {
    /// Which route.
    #[command(flatten)]
    pub key: RouteKey,
    /// Where it leads.
    #[command(flatten)]
    pub fields: RouteFields,
}

/// A route and where it leads from now on.
pub type SetRoute = AddRoute;

/// Where a route leads.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct RouteFields {
    /// A next hop, in a net of one of the router's interfaces; may be repeated, up to 8 of equal cost
    #[arg(long, value_name = "ADDRESS")]
    pub via: Vec<IpAddr>,
    /// What goes there is dropped
    #[arg(long)]
    pub blackhole: bool,
}

/// The DVR MAC of a gateway.
#[derive(Debug, Args)]
pub struct AddDvrMac {
    /// The MAC
    pub mac: Mac,
    /// It is this gateway's own, and not another's [default of a new one: false]
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub own: Option<bool>,
}

/// A DVR MAC, and whose it is from now on.
#[derive(Debug, Args)]
pub struct SetDvrMac {
    /// The MAC
    pub mac: Mac,
    /// It is this gateway's own, or another's
    #[arg(
        long,
        required = true,
        value_name = "true|false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub own: Option<bool>,
}

/// All interfaces, those of a router or of a bridge, or one.
#[derive(Clone, Debug, Args)]
pub struct ShowInterfaces {
    /// Only this one, and everything about it
    #[arg(value_name = "ROUTER/BRIDGE", value_parser = parse::<InterfaceId>)]
    pub id: Option<InterfaceId>,
    /// Only those of this router
    #[arg(long, value_name = "NAME", conflicts_with = "id")]
    pub router: Option<Name>,
    /// Only those on this bridge
    #[arg(long, value_name = "NAME", conflicts_with = "id")]
    pub bridge: Option<Name>,
}

/// An interface's id: ROUTER/BRIDGE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceId {
    /// The router.
    pub router: Name,
    /// The bridge.
    pub bridge: Name,
}

impl FromStr for InterfaceId {
    type Err = IdError;
    fn from_str(s: &str) -> Result<Self, IdError> {
        let error = || IdError { expected: "ROUTER/BRIDGE such as r1/red".to_owned(), value: s.to_owned() };
        let (router, bridge) = s.split_once('/').ok_or_else(error)?;
        Ok(Self { router: router.parse()?, bridge: bridge.parse()? })
    }
}

impl fmt::Display for InterfaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.router, self.bridge)
    }
}

/// All routes, those of a router, or those to one prefix.
#[derive(Clone, Debug, Args)]
pub struct ShowRoutes {
    /// Only this one; of whatever router, if only a prefix
    #[arg(value_name = "[ROUTER/]PREFIX/LENGTH", value_parser = parse::<RouteId>)]
    pub id: Option<RouteId>,
    /// Only those of this router
    #[arg(long, value_name = "NAME")]
    pub router: Option<Name>,
}

/// A route's id, ROUTER/PREFIX, or a prefix of whatever router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteId {
    /// The router, where it was given.
    pub router: Option<Name>,
    /// The prefix.
    pub prefix: IpPrefix,
}

impl FromStr for RouteId {
    type Err = IdError;
    fn from_str(s: &str) -> Result<Self, IdError> {
        if let Ok(prefix) = s.parse() {
            return Ok(Self { router: None, prefix });
        }
        let error = || IdError {
            expected: "PREFIX/LENGTH or ROUTER/PREFIX/LENGTH, such as r1/10.9.0.0/16".to_owned(),
            value: s.to_owned(),
        };
        let (router, prefix) = s.split_once('/').ok_or_else(error)?;
        Ok(Self { router: Some(router.parse()?), prefix: prefix.parse().map_err(|_| error())? })
    }
}
