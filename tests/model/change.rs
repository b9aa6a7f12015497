//! What may change between two bursts, in the lists and in the snapshot alike.

use crate::nets::{net_of, nth, prefix, size};
use crate::rng::Rng;
use crate::topology::{ROUTES, Topology, put_host, put_route, some_mtu};
use weir_pipelines::tables::{BridgeId, NextHopsIx, Prefix, RouterIx, Snapshot};
use weir_pipelines::wire::MacAddr;

/// What a change means for flows that are spread over next hops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing.
    Other(&'static str),
    /// A route has a next hop less: flows by the others stay.
    HopGone,
    /// A route comes, goes, or has a next hop more: its flows may move.
    Routes,
}

/// Changes something.
pub(crate) fn change(rng: &mut Rng, t: &mut Topology, s: &mut Snapshot) -> Change {
    s.generation += 1;
    match rng.below(10) {
        0 => route_comes(rng, t, s),
        1 => route_goes(rng, t, s),
        2 | 3 => hop_goes(rng, t, s),
        4 => owner_moves(rng, t, s),
        5 => host_moves(rng, t, s),
        6 => interface_changes(rng, t, s),
        7 => gateway_renumbers(rng, t, s),
        8 => {
            let router = rng.below(t.tells.len());
            t.tells[router] = !t.tells[router];
            t.put_router(s, router);
            Change::Other("icmp_limit")
        }
        _ => {
            t.dvr_mac = rng.chance(50).then(|| MacAddr([2, 0xdd, 0, 0, 0, rng.below(4) as u8]));
            t.put_dvr_macs(s);
            Change::Other("DVR MAC")
        }
    }
}

fn route_comes(rng: &mut Rng, t: &mut Topology, s: &mut Snapshot) -> Change {
    let router = rng.below(t.tells.len());
    let to = prefix(ROUTES[rng.below(ROUTES.len())]);
    if t.add_route(rng, router, to) {
        put_route(s, &t.routes[t.routes.len() - 1]);
    }
    Change::Routes
}

fn route_goes(rng: &mut Rng, t: &mut Topology, s: &mut Snapshot) -> Change {
    if !t.routes.is_empty() {
        let route = t.routes.swap_remove(rng.below(t.routes.len()));
        s.set_route(RouterIx(route.router as u16), route.prefix, None).expect("room");
        s.set_next_hops(NextHopsIx(route.number), None);
    }
    Change::Routes
}

fn hop_goes(rng: &mut Rng, t: &mut Topology, s: &mut Snapshot) -> Change {
    let several: Vec<usize> = (0..t.routes.len()).filter(|&r| t.routes[r].via.len() > 1).collect();
    if !several.is_empty() {
        let route = &mut t.routes[*rng.pick(&several)];
        let gone = rng.below(route.via.len());
        route.via.remove(gone);
        put_route(s, route);
    }
    Change::HopGone
}

/// An address goes over to another host of its bridge.
fn owner_moves(rng: &mut Rng, t: &mut Topology, s: &mut Snapshot) -> Change {
    let from = rng.below(t.hosts.len());
    let here: Vec<usize> = (0..t.hosts.len()).filter(|&h| t.hosts[h].bridge == t.hosts[from].bridge).collect();
    let to = *rng.pick(&here);
    if t.hosts[from].addresses.len() > 1 {
        let address = t.hosts[from].addresses.remove(0);
        t.hosts[to].addresses.push(address);
        let owner = Some(Some(t.hosts[to].mac));
        s.set_owner(BridgeId(t.hosts[to].bridge as u16), address, owner).expect("room");
    }
    Change::Other("owner")
}

fn host_moves(rng: &mut Rng, t: &mut Topology, s: &mut Snapshot) -> Change {
    let host = rng.below(t.hosts.len());
    t.hosts[host].place = t.some_place(rng, t.hosts[host].bridge);
    put_host(s, &t.hosts[host]);
    Change::Other("place")
}

fn interface_changes(rng: &mut Rng, t: &mut Topology, s: &mut Snapshot) -> Change {
    let ix = rng.below(t.interfaces.len());
    let interface = &mut t.interfaces[ix];
    match rng.below(3) {
        0 => interface.mtu = some_mtu(rng, interface),
        1 => {
            interface.external = !interface.external;
            interface.pass_without_nat = interface.external && rng.chance(50);
        }
        _ => interface.mac = MacAddr([2, 0xee, 1, ix as u8, 0, rng.below(3) as u8]),
    }
    t.put_interface(s, ix);
    Change::Other("interface")
}

/// A gateway takes another address of its net.
fn gateway_renumbers(rng: &mut Rng, t: &mut Topology, s: &mut Snapshot) -> Change {
    let ix = rng.below(t.interfaces.len());
    let which = rng.below(t.interfaces[ix].addresses.len());
    let own = t.interfaces[ix].addresses[which];
    if own.len < 30 {
        let net = net_of(own);
        let address = nth(net, 1 + rng.below((size(net) - 2).min(12) as usize) as u128);
        let taken = t.routes.iter().any(|route| route.prefix == Prefix::host(address));
        if !taken && t.is_free(t.interfaces[ix].bridge.index(), address) {
            t.interfaces[ix].addresses[which].address = address;
            t.put_interface(s, ix);
        }
    }
    Change::Other("gateway address")
}
