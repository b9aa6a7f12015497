//! Rows of routers, interfaces, routes and DVR MACs, page by page: the objects, and what is in force by them.
//!
//! Owns: the list of all routes that a router forwards by: those to its interfaces' nets, those of the desired state, and
//! those that gateways of external interfaces bring about, in the order of their prefixes. A page costs its rows.

use super::super::batch::fault;
use super::super::configuration::Configuration;
use super::super::desired::Desired;
use super::super::desired::routing::{Domain, Target, route};
use super::super::key::ObjectKey;
use super::{bridge, limit, no_facts, page, value};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Bound;
use weir_api::id::{IpPrefix, Mac, Name};
use weir_api::message::{Error, List, Noun, Page, code};
use weir_api::object::{DvrMac, Kind, Object, Router};
use weir_api::view::{DvrMacRow, DvrMacSource, NextHopRow, RouteOrigin, RouteRow, RouterRow};

/// An id and its row.
type Row = (String, Value);

/// Refuses what is for routing only, of what is not.
///
/// # Errors
/// `INVALID_PARAMS` for either.
pub fn no_routing(list: &List) -> Result<(), Error> {
    if let Some(router) = &list.router {
        let why = "only router, interface, route and neighbour rows can be asked for by it";
        return Err(fault(code::INVALID_PARAMS, why, "router", router));
    }
    no_view(list)
}

/// Refuses to say what is in force where that is nothing else than the objects, or is what is listed anyway.
///
/// # Errors
/// `INVALID_PARAMS`.
pub fn no_view(list: &List) -> Result<(), Error> {
    match list.in_force {
        true => {
            let why = "only router, route and dvr_mac rows are other ones in force";
            Err(fault(code::INVALID_PARAMS, why, "in_force", true))
        }
        false => Ok(()),
    }
}

/// A page of one of the four kinds.
///
/// # Errors
/// `INVALID_PARAMS` for a cursor or a filter that does not fit the noun, `NOT_FOUND` for a bridge or router that is not there.
pub(super) fn list(configuration: &Configuration, kind: Kind, list: &List) -> Result<Page, Error> {
    let state = configuration.desired();
    no_facts(list)?;
    let limit = limit(list)?;
    match (kind, &list.router, &list.bridge) {
        (Kind::DvrMac, Some(_), _) => no_routing(list)?,
        (Kind::Interface, ..) => no_view(list)?,
        _ => {}
    }
    if let (Kind::Router | Kind::Route | Kind::DvrMac, Some(name)) = (kind, &list.bridge) {
        let why = format!("a {} belongs to no bridge", list_word(list.of));
        return Err(fault(code::INVALID_PARAMS, why, "bridge", name));
    }
    let router = named_router(state, list)?;
    let after = list.after.as_deref().map(|id| ObjectKey::parse(kind, id)).transpose();
    let after = after.map_err(|why| fault(code::INVALID_PARAMS, why, "after", list.after.as_deref().unwrap_or("")))?;
    let rows: Box<dyn Iterator<Item = Row> + '_> = match (kind, after) {
        (Kind::Router, after) => {
            let after = after.and_then(|key| if let ObjectKey::Router(name) = key { Some(name) } else { None });
            Box::new(routers(state, list.in_force, router, after))
        }
        (Kind::Interface, after) => {
            let after = after.and_then(|key| if let ObjectKey::Interface(r, b) = key { Some((r, b)) } else { None });
            let bridge = bridge(state, list)?;
            Box::new(interfaces(state, router, bridge, after))
        }
        (Kind::Route, after) => {
            let after = after.and_then(|key| if let ObjectKey::Route(r, p) = key { Some((r, p)) } else { None });
            let of = move |(name, domain, first)| match list.in_force {
                true => Box::new(in_force(name, domain, first)) as Box<dyn Iterator<Item = Row> + '_>,
                false => Box::new(routes(name, domain, first)),
            };
            Box::new(domains(state, router, after).flat_map(of))
        }
        (_, after) => {
            let after = after.and_then(|key| if let ObjectKey::DvrMac(mac) = key { Some(mac) } else { None });
            dvr_macs(configuration, list.in_force, after)
        }
    };
    Ok(page(configuration.generation(), limit, rows))
}

fn list_word(noun: Noun) -> &'static str {
    match noun {
        Noun::Router => "router",
        Noun::Route => "route",
        _ => "DVR MAC",
    }
}

/// The router that rows are asked of.
///
/// # Errors
/// `NOT_FOUND` if there is none.
pub fn named_router(state: &Desired, list: &List) -> Result<Option<Name>, Error> {
    let Some(text) = &list.router else { return Ok(None) };
    let name = text.parse().ok().filter(|name| state.routing.routers().contains_key(name));
    name.map(Some).ok_or_else(|| fault(code::NOT_FOUND, format!("there is no router {text}"), "router", text))
}

fn object(object: &Object) -> Row {
    (object.id(), value(object))
}

fn excluded<T>(after: Option<T>) -> Bound<T> {
    after.map_or(Bound::Unbounded, Bound::Excluded)
}

fn routers(state: &Desired, in_force: bool, only: Option<Name>, after: Option<Name>) -> impl Iterator<Item = Row> {
    let routers = state.routing.routers().range((excluded(after), Bound::Unbounded));
    let routers = routers.filter(move |(name, _)| only.as_ref().is_none_or(|only| only == *name));
    routers.map(move |(name, router)| {
        if !in_force {
            return object(&Object::Router(router.clone()));
        }
        let Router { name: _, mss_clamp, icmp_limit } = *router;
        let has = state.routing.domain(name);
        let interfaces = has.map_or(0, |domain| domain.interfaces().len()) as u64;
        let routes = has.map_or(0, |domain| domain.routes().len()) as u64;
        let row = RouterRow { name: name.clone(), mss_clamp, icmp_limit, interfaces, routes };
        (name.to_string(), serde_json::json!(row))
    })
}

fn interfaces(
    state: &Desired,
    only: Option<Name>,
    bridge: Option<Name>,
    after: Option<(Name, Name)>,
) -> impl Iterator<Item = Row> {
    // Of one bridge, it costs the bridge's; of one router, the router's.
    let of_bridge = bridge.clone().map(|bridge| {
        let routers = state.routing.on_bridge(&bridge).into_iter().flat_map(|here| &here.routers);
        routers.filter_map(move |router| state.routing.interface(router, &bridge))
    });
    let all = bridge.is_none().then(|| {
        let domains = domains(state, only.clone(), after.clone());
        domains.flat_map(|(_, domain, first)| domain.interfaces().range((first, Bound::Unbounded)).map(|(_, o)| o))
    });
    let all = of_bridge.into_iter().flatten().chain(all.into_iter().flatten());
    let all = all.filter(move |o| only.as_ref().is_none_or(|only| *only == o.router));
    let all = all.filter(move |o| after.as_ref().is_none_or(|(r, b)| (&o.router, &o.bridge) > (r, b)));
    all.map(|o| object(&Object::Interface(o.clone())))
}

/// What routers have, of one or of all, each with where to begin in it.
fn domains<T: Clone>(
    state: &Desired,
    only: Option<Name>,
    after: Option<(Name, T)>,
) -> impl Iterator<Item = (&Name, &Domain, Bound<T>)> {
    let first = only.clone().or_else(|| after.as_ref().map(|(name, _)| name.clone()));
    let domains = state.routing.domains().range((first.map_or(Bound::Unbounded, Bound::Included), Bound::Unbounded));
    let domains = domains.take_while(move |(name, _)| only.as_ref().is_none_or(|only| only == *name));
    domains.filter_map(move |(name, domain)| match &after {
        Some((router, _)) if name < router => None,
        Some((router, last)) if name == router => Some((name, domain, Bound::Excluded(last.clone()))),
        _ => Some((name, domain, Bound::Unbounded)),
    })
}

fn routes<'a>(name: &'a Name, domain: &'a Domain, first: Bound<IpPrefix>) -> impl Iterator<Item = Row> + 'a {
    let routes = domain.routes().range((first, Bound::Unbounded));
    routes.map(move |(prefix, target)| object(&route(name, *prefix, target)))
}

/// Why there is a route, and where it leads.
enum Reason<'a> {
    Connected(&'a Name),
    Configured(&'a Target),
    External(bool),
}

/// Every route that a router forwards by.
fn in_force<'a>(name: &'a Name, domain: &'a Domain, first: Bound<IpPrefix>) -> impl Iterator<Item = Row> + 'a {
    let range = (first, Bound::Unbounded);
    let connected = domain.nets().range(range).filter_map(|(net, on)| Some((*net, Reason::Connected(on.first()?))));
    let configured = domain.routes().range(range).map(|(prefix, target)| (*prefix, Reason::Configured(target)));
    let external = [false, true].map(|v6| (IpPrefix::default_route(v6), v6)).into_iter().filter(move |(all, v6)| {
        let behind = if let Bound::Excluded(last) = first { *all > last } else { true };
        behind && !domain.routes().contains_key(all) && domain.gateways(*v6).next().is_some()
    });
    let external = external.map(|(all, v6)| (all, Reason::External(v6)));
    let rows = merged(external, merged(connected, configured));
    rows.map(move |(prefix, reason)| {
        let row = row(name, domain, prefix, &reason);
        (format!("{name}/{prefix}"), serde_json::json!(row))
    })
}

/// Two lists as one, in order.
fn merged<T>(
    a: impl Iterator<Item = (IpPrefix, T)>,
    b: impl Iterator<Item = (IpPrefix, T)>,
) -> impl Iterator<Item = (IpPrefix, T)> {
    let (mut a, mut b) = (a.peekable(), b.peekable());
    std::iter::from_fn(move || match (a.peek(), b.peek()) {
        (Some(first), Some(second)) if second.0 < first.0 => b.next(),
        (Some(_), _) => a.next(),
        (None, _) => b.next(),
    })
}

fn row(name: &Name, domain: &Domain, prefix: IpPrefix, reason: &Reason<'_>) -> RouteRow {
    let hop = |address| Some(NextHopRow { address, bridge: domain.at(address)?.1.bridge.clone() });
    let new =
        |origin| RouteRow { router: name.clone(), prefix, origin, bridge: None, via: Vec::new(), blackhole: false };
    match reason {
        Reason::Connected(on) => RouteRow { bridge: Some((*on).clone()), ..new(RouteOrigin::Connected) },
        Reason::Configured(Target { via, blackhole }) => {
            let via = via.iter().copied().filter_map(hop).collect();
            RouteRow { via, blackhole: *blackhole, ..new(RouteOrigin::Configured) }
        }
        Reason::External(v6) => {
            let via = domain.gateways(*v6).filter_map(hop).collect();
            RouteRow { via, ..new(RouteOrigin::External) }
        }
    }
}

fn dvr_macs(configuration: &Configuration, in_force: bool, after: Option<Mac>) -> Box<dyn Iterator<Item = Row> + '_> {
    let routing = configuration.desired().routing();
    let range = (excluded(after), Bound::Unbounded);
    if !in_force {
        let macs = routing.dvr_macs().range(range);
        return Box::new(macs.map(|(mac, own)| object(&Object::DvrMac(DvrMac { mac: *mac, own: *own }))));
    }
    let configured = |(mac, own): (&Mac, &bool)| (*mac, (*own, DvrMacSource::Configured));
    let mut all: BTreeMap<Mac, (bool, DvrMacSource)> = routing.dvr_macs().iter().map(configured).collect();
    if routing.own_dvr_macs().is_empty()
        && let Ok(mac) = Mac::try_from(configuration.snapshot().dvr_mac().0)
    {
        all.insert(mac, (true, DvrMacSource::Port));
    }
    let rows = all.into_iter().filter(move |(mac, _)| after.is_none_or(|after| *mac > after));
    Box::new(rows.map(|(mac, (own, source))| (mac.to_string(), serde_json::json!(DvrMacRow { mac, own, source }))))
}
