//! What a router is between, and where its routes lead: two bridges, the hosts on the one that frames leave by, and as many
//! routes as asked for, such that of every destination it is known without a lookup which route it takes.
//!
//! Owns: the addresses and MACs of the two bridges, the layout of the routes, and which flow goes where. Of eight flows
//! seven go to networks behind one of 256 hosts, each flow by a route of its own while there are enough, and one to a
//! host on the bridge itself. Routes come in sites of 16, a /18 and more specific ones inside it and inside each other, half of
//! them of 24 bits, as in tables of the Internet; neighbours in a site lead to different hosts, so that a match which is not
//! the longest shows in the frame.
//! Read first: RFC 4632 §5.1.

use crate::frame::{Mac, Tunnel};
use crate::trace::{Traffic, VNI};
use std::net::Ipv4Addr;

/// The gateway's MAC on the bridge that frames come from.
pub const GATEWAY_IN: Mac = [0x02, 0x00, 0x5e, 0x00, 0x00, 0x0a];
/// The gateway's MAC on the bridge that they leave by.
pub const GATEWAY_OUT: Mac = [0x02, 0x00, 0x5e, 0x00, 0x00, 0x0b];
/// The DVR MAC, which stands for either in tunnels.
pub const DVR_MAC: Mac = [0x02, 0x00, 0x5e, 0x01, 0x00, 0x01];
/// The gateway's address and net on the bridge that frames come from.
pub const NET_IN: &str = "10.127.255.254/9";
/// The gateway's address and net on the bridge that they leave by.
pub const NET_OUT: &str = "10.255.255.254/9";
/// The VXLAN network that they leave by, where it is one.
pub const TUNNEL_OUT: Tunnel = Tunnel::Vxlan(VNI + 1);
/// The VLAN that they leave by, where it is one.
pub const VID_OUT: u16 = 200;
/// Which remote tunnel endpoint its hosts are behind.
pub const PEER_OUT: u32 = 1;
/// Routes, where the arguments do not say.
pub const DEFAULT_ROUTES: u32 = 100_000;
/// The most routes: what the addresses below leave room for, and what Weir has by default.
pub const MOST_ROUTES: u32 = 1 << 20;
/// Hosts that routes lead to.
pub const NEXT_HOPS: u32 = 256;
/// Of so many flows, one goes to a host on the bridge.
const TO_A_NEIGHBOUR: u32 = 8;

/// Where the sites begin: they end before 75.0.0.0, and so take nothing that is not routed, nor the bridges' nets.
const SITES: u32 = u32::from_be_bytes([11, 0, 0, 0]);
/// Bits of a site's prefix.
const SITE_LENGTH: u32 = 18;
/// Prime, so that its multiples meet every route before they meet one twice.
const STRIDE: u64 = 0x9e37_79b1;

/// A route of a site.
#[derive(Clone, Copy, Debug)]
struct Spot {
    /// Bits of its prefix.
    length: u8,
    /// Where it begins in the site.
    at: u32,
    /// The first of its addresses that no other route of the site is more specific for,
    free: u32,
    /// and how many there are behind that one, at least.
    room: u32,
}

/// A spot that begins at one /24 of the site, and has another to itself.
const fn spot(length: u8, at: u32, free: u32) -> Spot {
    Spot { length, at: at << 8, free: free << 8 | 1, room: 250 }
}

const SITE: [Spot; 16] = [
    spot(18, 0, 63),
    spot(20, 0, 15),
    spot(21, 16, 23),
    spot(22, 0, 3),
    spot(22, 24, 27),
    spot(23, 4, 5),
    spot(23, 28, 29),
    spot(24, 0, 0),
    spot(24, 8, 8),
    spot(24, 17, 17),
    spot(24, 25, 25),
    spot(24, 28, 28),
    spot(24, 40, 40),
    spot(24, 62, 62),
    Spot { length: 28, at: 9 << 8, free: 9 << 8 | 1, room: 14 },
    Spot { length: 32, at: 41 << 8 | 10, free: 41 << 8 | 10, room: 1 },
];

/// A route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Its first address.
    pub address: Ipv4Addr,
    /// Its bits.
    pub length: u8,
}

impl std::fmt::Display for Prefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// The nth route.
pub fn prefix(n: u32) -> Prefix {
    let (site, spot) = place(n);
    Prefix { address: Ipv4Addr::from_bits(site + spot.at), length: spot.length }
}

/// The host that the nth route leads to.
pub fn next_hop(n: u32) -> u32 {
    n % NEXT_HOPS
}

/// The address of the nth host on the bridge that frames leave by; those that routes lead to come first.
pub fn host_address(host: u32) -> Ipv4Addr {
    Traffic::destination_address(host)
}

/// How many hosts there are on that bridge: those that routes lead to, and an eighth of the source MACs.
pub fn hosts(traffic: &Traffic) -> u32 {
    NEXT_HOPS + neighbours(traffic)
}

fn neighbours(traffic: &Traffic) -> u32 {
    (traffic.macs / TO_A_NEIGHBOUR).max(1)
}

/// Where a site begins, and which of its routes the nth is.
fn place(n: u32) -> (u32, Spot) {
    let spots = SITE.len() as u32;
    (SITES + ((n / spots) << (32 - SITE_LENGTH)), SITE[(n % spots) as usize])
}

/// Where a flow's packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Whom they are for.
    pub address: Ipv4Addr,
    /// The host that they are handed to: who that is, or the next hop.
    pub host: u32,
    /// The route that they take, unless it is the bridge's own net.
    pub route: Option<u32>,
}

/// Where a flow's packets go.
pub fn destination(traffic: &Traffic, flow: u32) -> Destination {
    let (turn, place_in_turn) = (flow / TO_A_NEIGHBOUR, flow % TO_A_NEIGHBOUR);
    if place_in_turn == TO_A_NEIGHBOUR - 1 {
        let host = NEXT_HOPS + turn % neighbours(traffic);
        return Destination { address: host_address(host), host, route: None };
    }
    let (nth, routes) = (flow - turn, traffic.routes.max(1));
    let route = (u64::from(nth) * STRIDE % u64::from(routes)) as u32;
    let (site, spot) = place(route);
    let address = Ipv4Addr::from_bits(site + spot.free + nth / routes % spot.room);
    Destination { address, host: next_hop(route), route: Some(route) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Case;
    use std::collections::HashSet;

    fn traffic(flows: u32, routes: u32) -> Traffic {
        Traffic::new(Case::Route, flows, flows).unwrap().with_routes(routes).unwrap()
    }

    fn covers(prefix: Prefix, address: Ipv4Addr) -> bool {
        (prefix.address.to_bits() ^ address.to_bits()).checked_shr(32 - u32::from(prefix.length)).unwrap_or(0) == 0
    }

    #[test]
    fn every_destination_s_longest_match_is_the_route_that_it_is_said_to_take() {
        for (flows, routes) in [(4000, 100), (1000, 1), (1000, 1003), (30_000, 33)] {
            let (traffic, routes) = (traffic(flows, routes), (0..routes).map(prefix).collect::<Vec<_>>());
            for flow in 0..flows {
                let to = destination(&traffic, flow);
                let longest = (0..).zip(&routes).filter(|(_, r)| covers(**r, to.address)).max_by_key(|(_, r)| r.length);
                assert_eq!(to.route, longest.map(|(n, _)| n), "flow {flow}");
                let expected = to.route.map_or(to.host, next_hop);
                assert_eq!(to.host, expected);
                assert!(to.host < hosts(&traffic) && (to.route.is_some() || to.address == host_address(to.host)));
            }
        }
    }

    #[test]
    fn routes_differ_have_no_bits_behind_their_length_and_stay_in_their_range() {
        let mut seen = HashSet::new();
        for n in (0..2000).chain(MOST_ROUTES - 2000..MOST_ROUTES) {
            let Prefix { address, length } = prefix(n);
            assert!(seen.insert((address, length)), "{n}");
            assert_eq!(u64::from(address.to_bits()) % (1 << (32 - length)), 0, "{n}");
            assert!((11..75).contains(&address.octets()[0]), "{n}");
        }
    }

    #[test]
    fn flows_take_a_route_each_and_one_of_eight_none() {
        let traffic = traffic(8000, 100_000);
        let all: Vec<_> = (0..8000).map(|flow| destination(&traffic, flow)).collect();
        let routes: HashSet<_> = all.iter().filter_map(|to| to.route).collect();
        let neighbours: HashSet<_> = all.iter().filter(|to| to.route.is_none()).map(|to| to.host).collect();
        assert_eq!((routes.len(), neighbours.len()), (7000, 1000));
        assert_eq!(all.iter().map(|to| to.address).collect::<HashSet<_>>().len(), 8000);
    }

    #[test]
    fn whom_another_route_of_the_site_leads_to_is_another_host() {
        for site in [0, 77, 65_535] {
            let hosts: HashSet<_> = (site * 16..site * 16 + 16).map(next_hop).collect();
            assert_eq!(hosts.len(), 16);
        }
    }
}
