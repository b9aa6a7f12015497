//! What is asked of Weir, ready to be sent, so that making it costs no measured time.

use super::Extent;
use crate::control::site::put;
use crate::program::rpc::Prepared;
use crate::program::weir::site::routed::{network, route};
use crate::routed::{NEXT_HOPS, destination, next_hop};
use crate::trace::Traffic;
use anyhow::Result;
use std::collections::BTreeSet;

/// Routes that are changed at once.
const THOUSAND: usize = 1000;

/// The requests.
#[derive(Debug)]
pub struct Requests {
    /// Bridges, router and hosts.
    pub network: Prepared,
    /// The routes that the traffic takes.
    pub taken: Prepared,
    /// All routes, in batches.
    pub all: Vec<Prepared>,
    /// Each of the routes that the traffic takes to another next hop, and each back again.
    pub one: Vec<Prepared>,
    /// A thousand routes to another next hop, those that the traffic takes among them, and back again.
    pub thousand: Vec<Prepared>,
    /// How many those are, if there are not as many.
    pub thousand_routes: u32,
}

impl Requests {
    /// Makes them all.
    pub fn new(traffic: Traffic, extent: Extent) -> Result<Self> {
        let taken: BTreeSet<u32> = (0..traffic.flows).filter_map(|flow| destination(&traffic, flow).route).collect();
        let others = (0..extent.routes).filter(|n| !taken.contains(n));
        let thousand: Vec<u32> = taken.iter().copied().chain(others).take(THOUSAND).collect();
        let starts = (0..extent.routes).step_by(extent.batch as usize);
        let all = starts.map(|from| routes(from..(from + extent.batch).min(extent.routes), next_hop));
        let one = [another as fn(u32) -> u32, next_hop].into_iter();
        let one = one.flat_map(|by| taken.iter().map(move |n| routes([*n], by)));
        Ok(Self {
            network: put(network(traffic)?)?,
            taken: routes(taken.iter().copied(), next_hop)?,
            all: all.collect::<Result<_>>()?,
            one: one.collect::<Result<_>>()?,
            thousand: vec![routes(thousand.iter().copied(), another)?, routes(thousand.iter().copied(), next_hop)?],
            thousand_routes: thousand.len() as u32,
        })
    }
}

/// Another host that the nth route can lead to.
fn another(n: u32) -> u32 {
    (next_hop(n) + NEXT_HOPS / 2) % NEXT_HOPS
}

fn routes(numbers: impl IntoIterator<Item = u32>, by: fn(u32) -> u32) -> Result<Prepared> {
    put(numbers.into_iter().map(|n| route(n, by(n))).collect::<Result<Vec<_>>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_is_what_the_traffic_takes() {
        let extent = Extent { routes: 5000, batch: 2000 };
        let requests = Requests::new(extent.traffic().unwrap(), extent).unwrap();
        // Seven of eight flows take a route; each goes there and back.
        assert_eq!((requests.all.len(), requests.one.len()), (3, 875 * 2));
        assert_eq!((requests.thousand.len(), requests.thousand_routes), (2, 1000));
        let few = Extent { routes: 50, batch: 2000 };
        let requests = Requests::new(few.traffic().unwrap(), few).unwrap();
        assert_eq!((requests.all.len(), requests.one.len(), requests.thousand_routes), (1, 100, 50));
    }

    #[test]
    fn another_next_hop_is_another() {
        assert!((0..1000).all(|n| another(n) != next_hop(n) && another(n) < NEXT_HOPS));
    }
}
