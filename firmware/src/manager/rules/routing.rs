//! What routers, interfaces, routes and DVR MACs must fulfil.
//!
//! Owns: their rules, and what an endpoint on a bridge with interfaces must not be. That an endpoint has the address which
//! an interface comes with, the translation finds out, since the snapshot has the index for it.

use super::super::desired::routing::{Domain, Routing, own_addresses};
use super::super::desired::{Desired, Host};
use super::super::key::ObjectKey;
use super::{Broken, broken, host_address, names_net};
use std::net::IpAddr;
use weir_api::id::{IpPrefix, Mac, Name};
use weir_api::object::{Interface, Object};
use weir_pipelines::tables::NEXT_HOPS;

/// The most addresses of an interface.
const MOST_ADDRESSES: usize = 16;

/// Judges the interface of a router on a bridge.
pub(super) fn interface(state: &Desired, router: &Name, bridge: &Name) -> Result<(), Broken> {
    let Some(domain) = state.routing.domain(router) else { return Ok(()) };
    let Some(o) = domain.interfaces().get(bridge) else { return Ok(()) };
    known_router(state, router)?;
    if !state.bridges.contains_key(bridge) {
        return broken("bridge", bridge, format!("there is no bridge {bridge}"));
    }
    mac(state, o)?;
    if let Some(address) = o.addresses.get(MOST_ADDRESSES) {
        let field = format!("addresses[{MOST_ADDRESSES}]");
        return broken(&field, address, format!("an interface has at most {MOST_ADDRESSES} addresses"));
    }
    if o.addresses.is_empty() {
        return broken("addresses", "[]", "an interface has at least one address");
    }
    for (n, address) in o.addresses.iter().enumerate() {
        let field = format!("addresses[{n}]");
        if o.addresses[..n].iter().any(|other| other.address() == address.address()) {
            return broken(&field, address, format!("{} is among its addresses already", address.address()));
        }
        own_address(state, domain, o, &field, *address)?;
    }
    mtu(o)?;
    way_out(domain, o)?;
    advertisements(o)
}

fn known_router(state: &Desired, router: &Name) -> Result<(), Broken> {
    match state.routing.routers().contains_key(router) {
        true => Ok(()),
        false => broken("router", router, format!("there is no router {router}")),
    }
}

fn mac(state: &Desired, o: &Interface) -> Result<(), Broken> {
    if state.routing.dvr_macs().contains_key(&o.mac) {
        return broken("mac", o.mac, format!("{} is the DVR MAC of a gateway", o.mac));
    }
    if state.endpoints.get(&o.bridge).is_some_and(|hosts| hosts.contains_key(&o.mac)) {
        return broken("mac", o.mac, format!("{} is the MAC of endpoint {}/{0}", o.mac, o.bridge));
    }
    let here = state.routing.on_bridge(&o.bridge).and_then(|here| here.macs.get(&o.mac));
    match here.and_then(|routers| routers.iter().find(|router| **router != o.router)) {
        Some(other) => broken("mac", o.mac, format!("{} is the MAC of interface {other}/{} already", o.mac, o.bridge)),
        None => Ok(()),
    }
}

fn own_address(state: &Desired, domain: &Domain, o: &Interface, field: &str, prefix: IpPrefix) -> Result<(), Broken> {
    let (address, net) = (prefix.address(), prefix.net());
    host_address(field, address)?;
    if is_link_local(address) {
        let why =
            format!("{address} is a link-local address, of which each interface has {} by itself", o.mac.link_local());
        return broken(field, address, why);
    }
    if prefix.length() == 0 {
        let most = if address.is_ipv4() { 32 } else { 128 };
        return broken(field, prefix, format!("an interface's prefix length must be from 1 to {most}"));
    }
    if names_net(prefix, address) {
        return broken(field, prefix, format!("{address} names the whole net, not a host in it"));
    }
    if let Some((other, bridge)) = domain.overlap(net, &o.bridge) {
        let why = format!("{net} overlaps {other} of interface {}/{bridge}", o.router);
        return broken(field, prefix, why);
    }
    let here = state.routing.on_bridge(&o.bridge).and_then(|here| here.addresses.get(&address));
    if let Some(other) = here.and_then(|routers| routers.iter().find(|router| **router != o.router)) {
        let why = format!("{address} is an address of interface {other}/{} already", o.bridge);
        return broken(field, prefix, why);
    }
    for (taken, what) in [(net, "its net"), (address.into(), "its address")] {
        if domain.routes().contains_key(&taken) {
            return broken(field, prefix, format!("{what} {taken} is reached by route {}/{taken} already", o.router));
        }
    }
    Ok(())
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

fn has_v6(o: &Interface) -> bool {
    o.addresses.iter().any(|address| address.address().is_ipv6())
}

fn mtu(o: &Interface) -> Result<(), Broken> {
    // RFC 8200 §5; of IPv4, what every host takes (RFC 791).
    let least = if has_v6(o) { 1280 } else { 576 };
    match o.mtu {
        Some(mtu) if !(least..=9216).contains(&mtu) => {
            let family = if has_v6(o) { "with IPv6" } else { "with IPv4 only" };
            broken("mtu", mtu, format!("an interface's MTU must be from {least} to 9216 bytes {family}"))
        }
        _ => Ok(()),
    }
}

/// What an external interface may have, and others may not.
fn way_out(domain: &Domain, o: &Interface) -> Result<(), Broken> {
    if !o.external {
        if let Some(gateway) = o.gateways.first() {
            return broken("gateways[0]", gateway, "only an external interface has gateways");
        }
        if o.pass_without_nat {
            return broken("pass_without_nat", true, "pass_without_nat is for external interfaces");
        }
    }
    for (n, gateway) in o.gateways.iter().enumerate() {
        let field = format!("gateways[{n}]");
        if o.gateways[..n].contains(gateway) {
            return broken(&field, gateway, format!("{gateway} is among the gateways already"));
        }
        let Some(net) = o.addresses.iter().find(|net| net.contains(*gateway)) else {
            let why = format!("{gateway} does not lie in a net of the interface");
            return broken(&field, gateway, why);
        };
        neighbour(o, &field, *net, *gateway)?;
        let count = domain.gateways(gateway.is_ipv6()).count();
        if count > NEXT_HOPS {
            let why = format!(
                "the external interfaces of router {} would have {count} gateways of this family, \
                and {NEXT_HOPS} are the most",
                o.router
            );
            return broken(&field, gateway, why);
        }
    }
    Ok(())
}

/// A next hop in a net of an interface.
fn neighbour(o: &Interface, field: &str, net: IpPrefix, hop: IpAddr) -> Result<(), Broken> {
    host_address(field, hop)?;
    if o.addresses.iter().any(|own| own.address() == hop) {
        return broken(field, hop, format!("{hop} is the router's own address"));
    }
    if names_net(net, hop) {
        return broken(field, hop, format!("{hop} names the whole net {}, not a host in it", net.net()));
    }
    Ok(())
}

/// RFC 4861 §6.2.1.
fn advertisements(o: &Interface) -> Result<(), Broken> {
    if o.ra && !has_v6(o) {
        return broken("ra", true, "an interface without an IPv6 address has nothing to advertise");
    }
    if !(4..=1800).contains(&o.ra_interval) {
        return broken("ra_interval", o.ra_interval, "ra_interval must be from 4 to 1800 seconds");
    }
    if o.ra_lifetime != 0 && !(o.ra_interval..=9000).contains(&o.ra_lifetime) {
        let why = format!("ra_lifetime must be 0, or from ra_interval, {}, to 9000 seconds", o.ra_interval);
        return broken("ra_lifetime", o.ra_lifetime, why);
    }
    Ok(())
}

/// Judges a route.
pub(super) fn route(state: &Desired, router: &Name, prefix: IpPrefix) -> Result<(), Broken> {
    let Some(domain) = state.routing.domain(router) else { return Ok(()) };
    let Some(target) = domain.routes().get(&prefix) else { return Ok(()) };
    known_router(state, router)?;
    destination(domain, router, prefix)?;
    match (target.via.first(), target.blackhole) {
        (None, true) => return Ok(()),
        (None, false) => return broken("via", "[]", "a route has next hops, or blackhole"),
        (Some(_), true) => return broken("blackhole", true, "a route has either next hops or blackhole"),
        (Some(_), false) => {}
    }
    for (n, hop) in target.via.iter().enumerate() {
        let named = |broken: Broken| Broken { field: format!("via[{n}]"), ..broken };
        if n == NEXT_HOPS {
            return broken("", hop, format!("a route has at most {NEXT_HOPS} next hops")).map_err(named);
        }
        if target.via[..n].contains(hop) {
            return broken("", hop, format!("{hop} is among the next hops already")).map_err(named);
        }
        if hop.is_ipv4() != prefix.address().is_ipv4() {
            return broken("", hop, format!("{hop} is not of the same family as {prefix}")).map_err(named);
        }
        next_hop(domain, router, *hop).map_err(named)?;
    }
    Ok(())
}

/// A next hop of a route: a neighbour on one of the router's interfaces.
fn next_hop(domain: &Domain, router: &Name, hop: IpAddr) -> Result<(), Broken> {
    match domain.at(hop) {
        Some((net, interface)) => neighbour(interface, "", net, hop),
        None => broken("", hop, format!("{hop} does not lie in a net of an interface of router {router}")),
    }
}

/// Where a route may lead.
fn destination(domain: &Domain, router: &Name, prefix: IpPrefix) -> Result<(), Broken> {
    let first = prefix.net();
    if first != prefix {
        return broken("prefix", prefix, format!("{prefix} has bits behind its prefix: write {first}"));
    }
    let address = prefix.address();
    let mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    if prefix.length() > 0 && (address.is_multicast() || address.is_loopback() || is_link_local(address) || mapped) {
        return broken("prefix", prefix, format!("nothing is routed to {prefix}"));
    }
    if let Some(bridge) = domain.nets().get(&prefix).and_then(|bridges| bridges.first()) {
        let why = format!("{prefix} is the net of interface {router}/{bridge}, which needs no route");
        return broken("prefix", prefix, why);
    }
    let own = |(_, interface): (IpPrefix, &Interface)| own_addresses(interface).any(|own| own == address);
    if prefix.is_exact() && domain.at(address).is_some_and(own) {
        return broken("prefix", prefix, format!("{address} is the router's own address"));
    }
    Ok(())
}

/// Judges the DVR MAC of a gateway.
pub(super) fn dvr_mac(routing: &Routing, mac: Mac) -> Result<(), Broken> {
    let Some(own) = routing.dvr_macs().get(&mac) else { return Ok(()) };
    if let Some(interface) = routing.with_mac(mac) {
        let why = format!("{mac} is the MAC of interface {}/{}", interface.router, interface.bridge);
        return broken("mac", mac, why);
    }
    let other = routing.own_dvr_macs().iter().find(|other| **other != mac);
    match other.filter(|_| *own) {
        Some(other) => broken("own", true, format!("{other} is this gateway's own already")),
        None => Ok(()),
    }
}

/// What an endpoint must not be on a bridge with interfaces.
pub(super) fn endpoint(state: &Desired, bridge: &Name, mac: Mac, host: &Host) -> Result<(), Broken> {
    let Some(here) = state.routing.on_bridge(bridge) else { return Ok(()) };
    if let Some(router) = here.macs.get(&mac).and_then(|routers| routers.first()) {
        return broken("mac", mac, format!("{mac} is the MAC of interface {router}/{bridge}"));
    }
    for (n, ip) in host.ips.iter().enumerate() {
        if let Some(router) = here.addresses.get(ip).and_then(|routers| routers.first()) {
            return broken(&format!("ips[{n}]"), ip, format!("{ip} is an address of interface {router}/{bridge}"));
        }
    }
    Ok(())
}

/// Who still needs a router that is gone.
pub(super) fn needs_router(state: &Desired, name: &Name) -> Option<ObjectKey> {
    let domain = state.routing.domain(name)?;
    let interface = domain.interfaces().keys().next().map(|bridge| ObjectKey::Interface(name.clone(), bridge.clone()));
    interface.or_else(|| domain.routes().keys().next().map(|prefix| ObjectKey::Route(name.clone(), *prefix)))
}

/// Some interface on a bridge.
pub(super) fn on_bridge(state: &Desired, bridge: &Name) -> Option<ObjectKey> {
    let router = state.routing.on_bridge(bridge)?.routers.first()?;
    Some(ObjectKey::Interface(router.clone(), bridge.clone()))
}

/// The route that an interface of `before`, which is gone or has changed, leaves without one of its next hops.
pub(super) fn stranded(state: &Desired, before: &Object) -> Option<(ObjectKey, Broken)> {
    let Object::Interface(before) = before else { return None };
    let domain = state.routing.domain(&before.router)?;
    if domain.interfaces().get(&before.bridge).is_some_and(|now| now.addresses == before.addresses) {
        return None;
    }
    // Every next hop was in a net that it had, or is in one that did not change.
    let hops = before.addresses.iter().flat_map(|net| domain.hops_in(*net));
    let (hop, broken) = hops.map(|(hop, _)| (hop, next_hop(domain, &before.router, *hop))).find(|(_, r)| r.is_err())?;
    Some((ObjectKey::Route(before.router.clone(), domain.route_by(*hop)?), broken.err()?))
}
