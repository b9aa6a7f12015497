//! Routers, interfaces, routes and DVR MACs: what is typed of them as objects, and how they are shown.

use crate::cli::{
    AddDvrMac, AddInterface, AddRoute, InterfaceFields, InterfaceKey, MoreOfInterface, RouteId, RouteKey, RouterFields,
    ShowInterfaces, ShowRoutes,
};
use crate::failure::Failure;
use crate::rows;
use crate::session::Session;
use crate::show::{matching, named, one_or_all};
use weir_api::id::{Mac, Name};
use weir_api::message::{List, Noun};
use weir_api::object::{DvrMac, Interface, Key, Kind, Object, Route, Router};
use weir_api::view::{DvrMacRow, RouteRow, RouterRow};

pub(crate) fn new_router(name: &Name, fields: &RouterFields) -> Router {
    let mut router = Router::new(name.clone());
    set_router(&mut router, fields);
    router
}

pub(crate) fn set_router(router: &mut Router, fields: &RouterFields) {
    let RouterFields { mss_clamp, icmp_limit } = fields;
    router.mss_clamp = mss_clamp.unwrap_or(router.mss_clamp);
    router.icmp_limit = icmp_limit.unwrap_or(router.icmp_limit);
}

pub(crate) fn new_interface(args: &AddInterface) -> Interface {
    let AddInterface { key, mac, address, mtu, gateway, more } = args;
    let mut interface = Interface::new(key.router.clone(), key.bridge.clone(), *mac, address.clone());
    (interface.mtu, interface.gateways) = (*mtu, gateway.clone());
    set_more(&mut interface, more);
    interface
}

pub(crate) fn set_interface(interface: &mut Interface, fields: &InterfaceFields, more: &MoreOfInterface) {
    let InterfaceFields { mac, address, mtu, no_mtu, gateway, no_gateway } = fields;
    interface.mac = mac.unwrap_or(interface.mac);
    if !address.is_empty() {
        interface.addresses = address.clone();
    }
    if *no_mtu || mtu.is_some() {
        interface.mtu = *mtu;
    }
    if *no_gateway || !gateway.is_empty() {
        interface.gateways = gateway.clone();
    }
    set_more(interface, more);
}

fn set_more(interface: &mut Interface, more: &MoreOfInterface) {
    fn put<T: Copy>(field: &mut T, given: &Option<T>) {
        *field = given.unwrap_or(*field);
    }
    put(&mut interface.external, &more.external);
    put(&mut interface.pass_without_nat, &more.pass_without_nat);
    put(&mut interface.ra, &more.ra);
    put(&mut interface.ra_interval, &more.ra_interval);
    put(&mut interface.ra_lifetime, &more.ra_lifetime);
    put(&mut interface.ra_managed, &more.ra_managed);
    put(&mut interface.ra_other, &more.ra_other);
}

pub(crate) fn new_route(args: &AddRoute) -> Route {
    let (key, fields) = (&args.key, &args.fields);
    Route { router: key.router.clone(), prefix: key.prefix, via: fields.via.clone(), blackhole: fields.blackhole }
}

pub(crate) fn new_dvr_mac(args: &AddDvrMac) -> DvrMac {
    DvrMac { mac: args.mac, own: args.own.unwrap_or(false) }
}

pub(crate) fn interface_key(key: &InterfaceKey) -> Key {
    Key { kind: Kind::Interface, id: format!("{}/{}", key.router, key.bridge) }
}

pub(crate) fn route_key(key: &RouteKey) -> Key {
    Key { kind: Kind::Route, id: format!("{}/{}", key.router, key.prefix) }
}

/// `show router [NAME]`.
pub(crate) fn routers(session: &mut Session<'_>, name: Option<&Name>) -> Result<(), Failure> {
    let list = List { router: name.map(Name::to_string), in_force: true, ..List::all(Noun::Router) };
    matching::<RouterRow>(session, list, name.map(Name::to_string), |row| name.is_none_or(|name| row.name == *name))
}

/// `show interface [ROUTER/BRIDGE] [--router R] [--bridge B]`: a table, or everything about one.
pub(crate) fn interfaces(session: &mut Session<'_>, args: &ShowInterfaces) -> Result<(), Failure> {
    let Some(id) = named(&args.id) else {
        let (router, bridge) = (named(&args.router), named(&args.bridge));
        let list = List { router, bridge, ..List::all(Noun::Interface) };
        return matching::<Interface>(session, list, None, |_| true);
    };
    if session.json {
        return one_or_all::<Interface>(session, Kind::Interface, Some(id));
    }
    match session.get(Key { kind: Kind::Interface, id })? {
        Object::Interface(interface) => {
            for (field, value) in rows::interface(&interface) {
                writeln!(session.out, "{field:<18}  {value}")?;
            }
            Ok(())
        }
        other => Err(Failure::Misunderstood(format!("get: found {} instead", other.key()))),
    }
}

/// `show route [[ROUTER/]PREFIX] [--router R]`: all that are in force.
pub(crate) fn routes(session: &mut Session<'_>, args: &ShowRoutes) -> Result<(), Failure> {
    let of = args.id.as_ref().and_then(|id| id.router.as_ref());
    if let (Some(one), Some(other)) = (of, &args.router)
        && one != other
    {
        return Err(Failure::Usage(format!("the route is not of router {other} but of {one}: name one router")));
    }
    let list = List { router: named(&of.or(args.router.as_ref())), in_force: true, ..List::all(Noun::Route) };
    let id = args.id.as_ref().map(|RouteId { router, prefix }| match router {
        Some(router) => format!("{router}/{prefix}"),
        None => prefix.to_string(),
    });
    matching::<RouteRow>(session, list, id, |row| args.id.as_ref().is_none_or(|id| id.prefix == row.prefix))
}

/// `show dvr-mac [MAC]`.
pub(crate) fn dvr_macs(session: &mut Session<'_>, mac: Option<Mac>) -> Result<(), Failure> {
    let list = List { in_force: true, ..List::all(Noun::DvrMac) };
    matching::<DvrMacRow>(session, list, named(&mac), |row| mac.is_none_or(|mac| mac == row.mac))
}
