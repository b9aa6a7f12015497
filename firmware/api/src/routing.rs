//! What an operator configures of routing: routers, their interfaces and routes, and the gateways' own MACs.

use crate::id::{IpPrefix, Mac, Name};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A tenant's virtual router: the same on every gateway that has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Router {
    /// What it is called; unique among routers.
    pub name: Name,
    /// Whether the maximum segment size that a TCP SYN names is lowered to what fits the way out. Default no.
    #[serde(default)]
    pub mss_clamp: bool,
    /// ICMP errors that it sends in a second, on each worker; 0 is none at all. Default 100.
    #[serde(default = "Router::default_icmp_limit")]
    pub icmp_limit: u32,
}

impl Router {
    /// A router of that name, with every default.
    pub fn new(name: Name) -> Self {
        Self { name, mss_clamp: false, icmp_limit: Self::default_icmp_limit() }
    }
    fn default_icmp_limit() -> u32 {
        100
    }
}

/// A router's place on a bridge: what the bridge's hosts have as their gateway, or (`external`) a way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// The router.
    pub router: Name,
    /// The bridge; a router has one interface on it at most.
    pub bridge: Name,
    /// The gateway MAC: the same on every gateway that has the router.
    pub mac: Mac,
    /// The gateway's own addresses with the prefix lengths of their nets, 1 to 16. Besides, it has the link-local address that
    /// its MAC gives it.
    pub addresses: Vec<IpPrefix>,
    /// The largest IP packet that the bridge's hosts take, 576 to 9216 bytes, and with an IPv6 address at least 1280. Without
    /// one, what fits each way out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// Whether it is a way out of the tenant's networks. Default no.
    #[serde(default)]
    pub external: bool,
    /// The next hops of the router's default routes, in this interface's nets; at most 8 of each family, over all the router's
    /// interfaces. Only of an external one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<IpAddr>,
    /// Whether what goes between it and others needs no NAT. Only of an external one. Default no.
    #[serde(default)]
    pub pass_without_nat: bool,
    /// Whether it sends router advertisements (RFC 4861 §6.2). Default no.
    #[serde(default)]
    pub ra: bool,
    /// The longest time between two of them, 4 to 1800 seconds. Default 600.
    #[serde(default = "Interface::default_ra_interval")]
    pub ra_interval: u32,
    /// For how many seconds hosts take it for a default router: 0 for not at all, or `ra_interval` to 9000. Default 1800.
    #[serde(default = "Interface::default_ra_lifetime")]
    pub ra_lifetime: u32,
    /// Whether hosts are told that there is DHCPv6 for addresses. Default no.
    #[serde(default)]
    pub ra_managed: bool,
    /// Whether hosts are told that there is DHCPv6 for all else. Default no.
    #[serde(default)]
    pub ra_other: bool,
}

impl Interface {
    /// An interface with that MAC and these addresses, and every default.
    pub fn new(router: Name, bridge: Name, mac: Mac, addresses: Vec<IpPrefix>) -> Self {
        Self {
            router,
            bridge,
            mac,
            addresses,
            mtu: None,
            external: false,
            gateways: Vec::new(),
            pass_without_nat: false,
            ra: false,
            ra_interval: Self::default_ra_interval(),
            ra_lifetime: Self::default_ra_lifetime(),
            ra_managed: false,
            ra_other: false,
        }
    }
    fn default_ra_interval() -> u32 {
        600
    }
    fn default_ra_lifetime() -> u32 {
        1800
    }
}

/// A route of a router, besides those to the nets of its interfaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The router.
    pub router: Name,
    /// Where to, without bits behind its length; unique among the router's.
    pub prefix: IpPrefix,
    /// The next hops, 1 to 8 of equal cost: a flow takes one of them. Either these or `blackhole`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub via: Vec<IpAddr>,
    /// Whether what goes there is dropped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub blackhole: bool,
}

/// The DVR MAC of a gateway: what it puts in place of the shared gateway MAC when frames that it routed leave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DvrMac {
    /// The MAC; unique among gateways.
    pub mac: Mac,
    /// Whether it is this gateway's own; all others are other gateways'. Default no.
    #[serde(default)]
    pub own: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Object;

    #[track_caller]
    fn round_trip(text: &str, key: &str) -> Object {
        let object: Object = serde_json::from_str(text).unwrap();
        assert_eq!(object.key().to_string(), key);
        assert_eq!(serde_json::from_str::<Object>(&serde_json::to_string(&object).unwrap()).unwrap(), object);
        object
    }

    #[test]
    fn what_is_not_said_is_the_default() {
        let router = round_trip(r#"{"router": {"name": "r1"}}"#, "router r1");
        assert_eq!(router, Object::Router(Router::new("r1".parse().unwrap())));
        let least = r#"{"interface": {"router": "r1", "bridge": "red", "mac": "02:00:5e:00:00:01", "addresses": ["10.0.0.1/24"]}}"#;
        let addresses = vec!["10.0.0.1/24".parse().unwrap()];
        let mac = "02:00:5e:00:00:01".parse().unwrap();
        let new = Interface::new("r1".parse().unwrap(), "red".parse().unwrap(), mac, addresses);
        assert_eq!((new.ra_interval, new.ra_lifetime, new.mtu, new.external), (600, 1800, None, false));
        assert_eq!(round_trip(least, "interface r1/red"), Object::Interface(new));
        let mac = r#"{"dvr_mac": {"mac": "02:00:5e:01:00:01"}}"#;
        let Object::DvrMac(mac) = round_trip(mac, "dvr_mac 02:00:5e:01:00:01") else { panic!() };
        assert!(!mac.own);
    }

    #[test]
    fn a_route_says_next_hops_or_that_there_are_none() {
        for (text, key) in [
            (r#"{"route":{"router":"r1","prefix":"10.9.0.0/16","via":["10.0.0.254"]}}"#, "route r1/10.9.0.0/16"),
            (r#"{"route":{"router":"r1","prefix":"2001:db8:9::/48","blackhole":true}}"#, "route r1/2001:db8:9::/48"),
        ] {
            // There may be a million: nothing is written that goes without saying.
            assert_eq!(serde_json::to_string(&round_trip(text, key)).unwrap(), text);
        }
    }

    #[test]
    fn unknown_fields_and_multicast_macs_are_refused() {
        for (bad, part) in [
            (r#"{"router": {"name": "r1", "bgp": true}}"#, "bgp"),
            (r#"{"route": {"router": "r1", "prefix": "10.0.0.0/8", "metric": 1}}"#, "metric"),
            (r#"{"dvr_mac": {"mac": "01:00:5e:00:00:01"}}"#, "01:00:5e:00:00:01"),
            (r#"{"interface": {"router": "r1", "bridge": "red", "mac": "02:00:5e:00:00:01"}}"#, "addresses"),
        ] {
            let error = serde_json::from_str::<Object>(bad).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
