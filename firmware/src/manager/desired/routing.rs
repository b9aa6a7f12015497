//! Routers, their interfaces and routes, and DVR MACs in the desired state, with the indexes that judging and translating
//! a change need.
//!
//! Owns: storage and indexes, kept equal. There may be a million routes: each is an entry in its router's map, and a list of
//! next hops is kept once for all routes of the router that have it.

use super::super::key::ObjectKey;
use super::super::table::Table;
use super::{Put, decrement, remove};
use rustc_hash::FxHashMap;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::mem::replace;
use std::net::IpAddr;
use std::sync::Arc;
use weir_api::id::{IpPrefix, Mac, Name};
use weir_api::object::{DvrMac, Interface, Object, Route, Router};

/// Next hops as a route lists them.
pub type Hops = Arc<[IpAddr]>;

/// What is kept of a route besides its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The next hops.
    pub via: Hops,
    /// Whether what goes there is dropped.
    pub blackhole: bool,
}

/// Everything about routing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Routing {
    routers: Table<Name, Router>,
    domains: Table<Name, Domain>,
    on_bridges: FxHashMap<Name, OnBridge>,
    /// How many interfaces have a MAC.
    gateway_macs: FxHashMap<Mac, usize>,
    /// With whether it is this gateway's own.
    dvr_macs: BTreeMap<Mac, bool>,
    own_dvr_macs: BTreeSet<Mac>,
    interface_count: usize,
    route_count: usize,
}

/// What a router has; there is one for each that has something.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Domain {
    interfaces: BTreeMap<Name, Interface>,
    /// The bridges whose interfaces have an address in a net; of a right state, one each.
    nets: BTreeMap<IpPrefix, BTreeSet<Name>>,
    /// The bridges of interfaces with gateways.
    ways_out: BTreeSet<Name>,
    routes: BTreeMap<IpPrefix, Target>,
    /// Every list of next hops, with how many routes have it.
    lists: FxHashMap<Hops, usize>,
    /// Every next hop with the lists that it is in.
    hops: BTreeSet<(IpAddr, Hops)>,
}

/// What routers have on a bridge; there is one for each with an interface.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OnBridge {
    /// Those that have an interface on it.
    pub routers: BTreeSet<Name>,
    /// Which of them have a MAC there; of a right state, one each.
    pub macs: BTreeMap<Mac, BTreeSet<Name>>,
    /// Which of them have an address there, link-local ones included; of a right state, one each.
    pub addresses: BTreeMap<IpAddr, BTreeSet<Name>>,
}

/// All addresses of an interface: those that are configured, and the link-local one that its MAC gives it.
pub fn own_addresses(interface: &Interface) -> impl Iterator<Item = IpAddr> {
    let link_local = IpAddr::V6(interface.mac.link_local());
    interface.addresses.iter().map(|address| address.address()).chain([link_local])
}

impl Routing {
    /// The routers.
    pub fn routers(&self) -> &Table<Name, Router> {
        &self.routers
    }

    /// What each router has that has something.
    pub fn domains(&self) -> &Table<Name, Domain> {
        &self.domains
    }

    /// What a router has, if it has something.
    pub fn domain(&self, router: &Name) -> Option<&Domain> {
        self.domains.get(router)
    }

    /// What routers have on a bridge, if they have something.
    pub fn on_bridge(&self, bridge: &Name) -> Option<&OnBridge> {
        self.on_bridges.get(bridge)
    }

    /// The interface of a router on a bridge.
    pub fn interface(&self, router: &Name, bridge: &Name) -> Option<&Interface> {
        self.domain(router)?.interfaces.get(bridge)
    }

    /// The route of a router.
    pub fn route(&self, router: &Name, prefix: IpPrefix) -> Option<&Target> {
        self.domain(router)?.routes.get(&prefix)
    }

    /// How many interfaces and how many routes there are.
    pub fn counts(&self) -> (usize, usize) {
        (self.interface_count, self.route_count)
    }

    /// Some interface with that MAC. Looks at the interfaces only if the index says that there is one.
    pub fn with_mac(&self, mac: Mac) -> Option<&Interface> {
        self.gateway_macs.get(&mac)?;
        self.domains.iter().flat_map(|(_, domain)| domain.interfaces.values()).find(|interface| interface.mac == mac)
    }

    /// The DVR MACs, each with whether it is this gateway's own.
    pub fn dvr_macs(&self) -> &BTreeMap<Mac, bool> {
        &self.dvr_macs
    }

    /// Those that are this gateway's own; of a right state, at most one.
    pub fn own_dvr_macs(&self) -> &BTreeSet<Mac> {
        &self.own_dvr_macs
    }

    /// Every key there is.
    pub(super) fn keys(&self) -> impl Iterator<Item = ObjectKey> + '_ {
        let interfaces = self.domains.iter().flat_map(|(router, domain)| {
            domain.interfaces.keys().map(|bridge| ObjectKey::Interface(router.clone(), bridge.clone()))
        });
        let routes = self
            .domains
            .iter()
            .flat_map(|(router, domain)| domain.routes.keys().map(|prefix| ObjectKey::Route(router.clone(), *prefix)));
        (self.routers.keys().cloned().map(ObjectKey::Router))
            .chain(interfaces)
            .chain(routes)
            .chain(self.dvr_macs.keys().copied().map(ObjectKey::DvrMac))
    }

    pub(super) fn set_router(&mut self, name: &Name, new: Option<Router>) -> Option<Object> {
        let old = match new {
            Some(router) => self.routers.insert(name.clone(), router),
            None => self.routers.remove(name),
        };
        old.map(Object::Router)
    }

    pub(super) fn set_dvr_mac(&mut self, mac: Mac, new: Option<DvrMac>) -> Option<Object> {
        let old = match new {
            Some(new) => self.dvr_macs.insert(mac, new.own),
            None => self.dvr_macs.remove(&mac),
        };
        match new {
            Some(DvrMac { own: true, .. }) => drop(self.own_dvr_macs.insert(mac)),
            _ => drop(self.own_dvr_macs.remove(&mac)),
        }
        old.map(|own| Object::DvrMac(DvrMac { mac, own }))
    }

    pub(super) fn set_interface(&mut self, router: &Name, bridge: &Name, new: Option<Interface>) -> Option<Object> {
        let old = self.domains.get_mut(router).and_then(|domain| domain.remove_interface(bridge));
        if let Some(old) = &old {
            self.interface_count -= 1;
            self.forget(old);
        }
        match new {
            Some(new) => {
                self.interface_count += 1;
                self.remember(&new);
                self.domains.get_or_default(router).insert_interface(new);
            }
            None => self.tidy(router),
        }
        old.map(Object::Interface)
    }

    fn remember(&mut self, interface: &Interface) {
        let router = || interface.router.clone();
        let here = self.on_bridges.entry(interface.bridge.clone()).or_default();
        here.routers.insert(router());
        here.macs.entry(interface.mac).or_default().insert(router());
        for address in own_addresses(interface) {
            here.addresses.entry(address).or_default().insert(router());
        }
        *self.gateway_macs.entry(interface.mac).or_default() += 1;
    }

    fn forget(&mut self, interface: &Interface) {
        if let Some(here) = self.on_bridges.get_mut(&interface.bridge) {
            here.routers.remove(&interface.router);
            remove(&mut here.macs, &interface.mac, &interface.router);
            for address in own_addresses(interface) {
                remove(&mut here.addresses, &address, &interface.router);
            }
            if here.routers.is_empty() {
                self.on_bridges.remove(&interface.bridge);
            }
        }
        decrement(&mut self.gateway_macs, &interface.mac);
    }

    /// Puts a route, unless exactly that is there. A list of next hops that is there already is not copied.
    pub(super) fn put_route(&mut self, new: &Route) -> Put {
        let domain = self.domains.get_or_default(&new.router);
        if let Some(old) = domain.routes.get(&new.prefix)
            && *old.via == *new.via
            && old.blackhole == new.blackhole
        {
            return Put::Same;
        }
        let old = domain.set_route(new.prefix, Some((&new.via, new.blackhole)));
        self.route_count += usize::from(old.is_none());
        Put::Set(old.map(|old| route(&new.router, new.prefix, &old)))
    }

    pub(super) fn remove_route(&mut self, router: &Name, prefix: IpPrefix) -> Option<Object> {
        let old = self.domains.get_mut(router)?.set_route(prefix, None)?;
        self.route_count -= 1;
        self.tidy(router);
        Some(route(router, prefix, &old))
    }

    fn tidy(&mut self, router: &Name) {
        if self.domains.get(router).is_some_and(|domain| domain.interfaces.is_empty() && domain.routes.is_empty()) {
            self.domains.remove(router);
        }
    }
}

/// A route as an object.
pub fn route(router: &Name, prefix: IpPrefix, target: &Target) -> Object {
    let Target { via, blackhole } = target;
    Object::Route(Route { router: router.clone(), prefix, via: via.to_vec(), blackhole: *blackhole })
}

impl Domain {
    /// The interfaces, by their bridges.
    pub fn interfaces(&self) -> &BTreeMap<Name, Interface> {
        &self.interfaces
    }

    /// The nets of the interfaces, and the bridges that they are on.
    pub fn nets(&self) -> &BTreeMap<IpPrefix, BTreeSet<Name>> {
        &self.nets
    }

    /// The routes.
    pub fn routes(&self) -> &BTreeMap<IpPrefix, Target> {
        &self.routes
    }

    /// The interface in whose net an address lies, with that net.
    pub fn at(&self, address: IpAddr) -> Option<(IpPrefix, &Interface)> {
        // Nets do not overlap: the last one that does not begin behind the address has it, or none does.
        let (net, bridges) = self.nets.range(..=IpPrefix::from(address)).next_back()?;
        let bridge = bridges.first().filter(|_| net.contains(address))?;
        Some((*net, self.interfaces.get(bridge)?))
    }

    /// A net of an interface that shares addresses with `net`, but for `net` itself on `bridge`.
    pub fn overlap(&self, net: IpPrefix, bridge: &Name) -> Option<(IpPrefix, &Name)> {
        // Two addresses of one interface may be of one net.
        let is_other = |found: IpPrefix, on: &Name| found != net || on != bridge;
        let before = self.nets.range(..net).next_back().filter(|(found, _)| found.contains(net.address()));
        let behind = self.nets.range(net..).take_while(|(found, _)| net.contains(found.address()));
        let mut found = before.into_iter().chain(behind).flat_map(|(net, on)| on.iter().map(|bridge| (*net, bridge)));
        found.find(|(net, on)| is_other(*net, on))
    }

    /// The next hops of routes that lie in a net, each with a list that it is in.
    pub fn hops_in(&self, net: IpPrefix) -> impl Iterator<Item = &(IpAddr, Hops)> {
        let first: (IpAddr, Hops) = (net.net().address(), Arc::from([]));
        self.hops.range(first..).take_while(move |(hop, _)| net.contains(*hop))
    }

    /// Some route by a next hop. Looks at the routes one by one: whoever is to be told which is not in a hurry.
    pub fn route_by(&self, hop: IpAddr) -> Option<IpPrefix> {
        self.routes.iter().find(|(_, target)| target.via.contains(&hop)).map(|(prefix, _)| *prefix)
    }

    /// The gateways of a family, of all external interfaces in the order of their bridges.
    pub fn gateways(&self, v6: bool) -> impl Iterator<Item = IpAddr> {
        let interfaces = self.ways_out.iter().filter_map(|bridge| self.interfaces.get(bridge));
        interfaces.flat_map(|interface| &interface.gateways).copied().filter(move |hop| hop.is_ipv6() == v6)
    }

    fn insert_interface(&mut self, interface: Interface) {
        let bridge = &interface.bridge;
        for address in &interface.addresses {
            self.nets.entry(address.net()).or_default().insert(bridge.clone());
        }
        if !interface.gateways.is_empty() {
            self.ways_out.insert(bridge.clone());
        }
        self.interfaces.insert(bridge.clone(), interface);
    }

    fn remove_interface(&mut self, bridge: &Name) -> Option<Interface> {
        let old = self.interfaces.remove(bridge)?;
        for address in &old.addresses {
            remove(&mut self.nets, &address.net(), bridge);
        }
        self.ways_out.remove(bridge);
        Some(old)
    }

    fn set_route(&mut self, prefix: IpPrefix, new: Option<(&[IpAddr], bool)>) -> Option<Target> {
        let new = new.map(|(via, blackhole)| Target { via: self.take(via), blackhole });
        let old = match (self.routes.entry(prefix), new) {
            (Entry::Occupied(mut place), Some(new)) => Some(replace(place.get_mut(), new)),
            (Entry::Occupied(place), None) => Some(place.remove()),
            (Entry::Vacant(place), Some(new)) => {
                place.insert(new);
                None
            }
            (Entry::Vacant(_), None) => None,
        };
        if let Some(old) = &old {
            self.give_back(&old.via);
        }
        old
    }

    /// The list of these next hops, which has one more route.
    fn take(&mut self, via: &[IpAddr]) -> Hops {
        if let Some((list, _)) = self.lists.get_key_value(via) {
            let list = list.clone();
            *self.lists.entry(list.clone()).or_default() += 1;
            return list;
        }
        let list: Hops = via.into();
        self.hops.extend(via.iter().map(|hop| (*hop, list.clone())));
        self.lists.insert(list.clone(), 1);
        list
    }

    fn give_back(&mut self, list: &Hops) {
        let Some(count) = self.lists.get_mut(list) else { return };
        *count -= 1;
        if *count == 0 {
            self.lists.remove(list);
            for hop in list.iter() {
                self.hops.remove(&(*hop, list.clone()));
            }
        }
    }
}
