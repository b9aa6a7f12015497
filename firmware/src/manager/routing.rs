//! Routers on the packet path: who has a number, where each route leads, and which way out is the default.
//!
//! Owns: the numbers of routers, interfaces and next hops, and the order of edits about them: what goes, numbers, what comes.
//! Routes of a router with the same next hops share one number, which is there while one of them is. The gateways of a
//! router's external interfaces are its default routes, of each family one, unless it has such a route of its own.
//! Costs what the batch touches, and for an interface that comes, goes or has other addresses, the next hops in its nets.

use super::batch::Change;
use super::desired::Desired;
use super::desired::routing::{Hops, own_addresses};
use super::key::ObjectKey;
use super::numbers::Numbers;
use super::reach::shifted;
use super::translate::{Refusal, TakenAddress, mac_addr};
use crate::config::Tables;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use weir_api::id::{IpPrefix, Mac, Name};
use weir_api::object::{Interface, Object, Router};
use weir_pipelines::tables as path;
use weir_pipelines::tables::{BridgeId, InterfaceIx, NextHop, NextHopsIx, Prefix, RouterIx, Snapshot, Target};

const FULL: Refusal = Refusal::Full("tables.routes");

type InterfaceKey = (Name, Name);
type HopsKey = (RouterIx, Hops);

/// What a batch changes about next hops: by how many routes more or fewer lead by them, and whether they have to be set
/// though that does not change.
#[derive(Default)]
struct Shift<'a> {
    hops: FxHashMap<HopsKey, Shifted<'a>>,
}

#[derive(Default)]
struct Shifted<'a> {
    by: i64,
    anew: bool,
    /// Whose they are now.
    router: Option<&'a Name>,
}

impl<'a> Shift<'a> {
    fn leave(&mut self, key: HopsKey) {
        self.hops.entry(key).or_default().by -= 1;
    }

    /// `anew`: whether they have to be set even if they are there already.
    fn come(&mut self, key: HopsKey, router: &'a Name, anew: bool) {
        let shifted = self.hops.entry(key).or_default();
        shifted.by += 1;
        shifted.anew |= anew;
        shifted.router = Some(router);
    }

    fn renew(&mut self, key: HopsKey, router: &'a Name) {
        let shifted = self.hops.entry(key).or_default();
        shifted.anew = true;
        shifted.router = Some(router);
    }
}

/// Which number stands for what.
#[derive(Debug)]
pub(super) struct Routers {
    routers: Numbers<Name, ()>,
    interfaces: Numbers<InterfaceKey, ()>,
    /// Values: how many routes lead by them.
    next_hops: Numbers<HopsKey, u32>,
    /// From router and whether it is of IPv6 to the gateways that are its default route. The numbers mean nothing.
    defaults: Numbers<(Name, bool), HopsKey>,
}

impl Routers {
    pub(super) fn new(limits: &Tables) -> Self {
        let lists = limits.routers.saturating_mul(2).saturating_add(limits.routes);
        Self {
            routers: Numbers::new(limits.routers, 1 << 16),
            interfaces: Numbers::new(limits.interfaces, limits.interfaces),
            next_hops: Numbers::new(lists, lists),
            defaults: Numbers::new(u32::MAX, u32::MAX),
        }
    }

    pub(super) fn keep(&mut self) {
        self.routers.keep();
        self.interfaces.keep();
        self.next_hops.keep();
        self.defaults.keep();
    }

    pub(super) fn undo(&mut self) {
        self.routers.undo();
        self.interfaces.undo();
        self.next_hops.undo();
        self.defaults.undo();
    }

    /// The name of a numbered router, for every number in use.
    pub(super) fn router_names(&self) -> HashMap<RouterIx, Name> {
        self.routers.iter().map(|(name, n, ())| (RouterIx(n as u16), name.clone())).collect()
    }

    /// The router and bridge of a numbered interface, for every number in use.
    pub(super) fn interface_ids(&self) -> HashMap<InterfaceIx, (Name, Name)> {
        self.interfaces.iter().map(|(key, n, ())| (InterfaceIx(n), key.clone())).collect()
    }

    fn router(&self, name: &Name) -> Option<RouterIx> {
        self.routers.get(name).map(|(n, ())| RouterIx(n as u16))
    }

    fn interface(&self, key: &InterfaceKey) -> Option<InterfaceIx> {
        self.interfaces.get(key).map(|(n, ())| InterfaceIx(n))
    }

    /// Edits the snapshot. Bridges have their new numbers, and endpoints are where they have to be.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn edit(
        &mut self,
        next: &mut Snapshot,
        state: &Desired,
        changes: &[Change],
        bridge: impl Fn(&Name) -> Option<BridgeId>,
    ) -> Result<(), Refusal> {
        let first = changes.iter().position(|change| is_routing(&change.key));
        let Some(first) = first else { return Ok(()) };
        let changes = &changes[first..];
        let mut shift = Shift::default();
        self.leave(next, state, changes, &mut shift);
        self.free_numbers(next, changes);
        let new = self.number(next, state, changes)?;
        for (n, change) in changes.iter().enumerate() {
            if let (ObjectKey::Interface(router, name), true) = (&change.key, change.there) {
                let interface = state.routing.interface(router, name);
                self.arrive(next, state, first + n, interface, bridge(name))?;
            }
        }
        for change in changes {
            self.shift(state, change, &new, &mut shift);
        }
        let defaults = self.shift_defaults(next, state, changes, &mut shift);
        self.settle(next, state, shift)?;
        self.lead(next, state, changes, &defaults)?;
        if changes.iter().any(|change| matches!(change.key, ObjectKey::DvrMac(_))) {
            let macs = |own| move |(mac, is_own): (&Mac, &bool)| (*is_own == own).then(|| mac_addr(*mac));
            let all = state.routing.dvr_macs();
            let others: Vec<_> = all.iter().filter_map(macs(false)).collect();
            next.set_dvr_macs(all.iter().find_map(macs(true)), &others);
        }
        Ok(())
    }

    /// What is gone, and interfaces that have other routes of their own now, leave the snapshot, by the numbers of before.
    fn leave(&self, next: &mut Snapshot, state: &Desired, changes: &[Change], shift: &mut Shift<'_>) {
        for Change { key, old, there } in changes {
            match (key, old.as_deref()) {
                (ObjectKey::Route(router, prefix), Some(Object::Route(old))) => {
                    let Some(ix) = self.router(router) else { continue };
                    if !old.blackhole {
                        shift.leave((ix, old.via.as_slice().into()));
                    }
                    if !there {
                        // Taking an entry away needs no room.
                        let _ = next.set_route(ix, to_prefix(*prefix), None);
                    }
                }
                (ObjectKey::Interface(router, bridge), Some(Object::Interface(old))) => {
                    let new = state.routing.interface(router, bridge);
                    if new.is_none_or(|new| new.addresses != old.addresses || new.mac != old.mac)
                        && let Some(ix) = self.interface(&(router.clone(), bridge.clone()))
                    {
                        let _ = next.set_interface(ix, None);
                    }
                }
                _ => {}
            }
        }
    }

    fn free_numbers(&mut self, next: &mut Snapshot, changes: &[Change]) {
        for change in changes.iter().filter(|change| !change.there) {
            match &change.key {
                ObjectKey::Interface(router, bridge) => {
                    self.interfaces.free(&(router.clone(), bridge.clone()));
                }
                ObjectKey::Router(name) => {
                    if let Some(ix) = self.routers.free(name) {
                        next.set_router(RouterIx(ix as u16), None);
                    }
                }
                _ => {}
            }
        }
    }

    /// Routers and interfaces that are new get numbers, and routers go into the snapshot. Returns the numbers of new routers.
    fn number(
        &mut self,
        next: &mut Snapshot,
        state: &Desired,
        changes: &[Change],
    ) -> Result<FxHashSet<RouterIx>, Refusal> {
        let mut new = FxHashSet::default();
        for Change { key, old, there } in changes {
            match key {
                ObjectKey::Router(name) if *there => {
                    let ix = self.routers.put(name, ()).ok_or(Refusal::Full("tables.routers"))?;
                    let ix = RouterIx(ix as u16);
                    next.set_router(ix, state.routing.routers().get(name).map(settings));
                    if old.is_none() {
                        new.insert(ix);
                    }
                }
                ObjectKey::Interface(router, bridge) if *there => {
                    let key = (router.clone(), bridge.clone());
                    self.interfaces.put(&key, ()).ok_or(Refusal::Full("tables.interfaces"))?;
                }
                _ => {}
            }
        }
        Ok(new)
    }

    /// An interface comes, or is another than before.
    fn arrive(
        &self,
        next: &mut Snapshot,
        state: &Desired,
        change: usize,
        interface: Option<&Interface>,
        bridge: Option<BridgeId>,
    ) -> Result<(), Refusal> {
        let (Some(o), Some(bridge)) = (interface, bridge) else { return Ok(()) };
        let key = (o.router.clone(), o.bridge.clone());
        let (Some(router), Some(ix)) = (self.router(&o.router), self.interface(&key)) else { return Ok(()) };
        for (n, address) in own_addresses(o).enumerate() {
            let Some(Some(mac)) = next.owner(bridge, address) else { continue };
            let Ok(mac) = Mac::try_from(mac.0) else { continue };
            let host = state.endpoints.get(&o.bridge).and_then(|hosts| hosts.get(&mac));
            if host.is_some_and(|host| host.ips.contains(&address)) {
                let (field, value) = match o.addresses.get(n) {
                    Some(written) => (format!("interface.addresses[{n}]"), written.to_string()),
                    None => ("interface.mac".to_owned(), o.mac.to_string()),
                };
                let owner = ObjectKey::Endpoint(o.bridge.clone(), mac);
                return Err(Refusal::Taken(Box::new(TakenAddress { change, field, value, address, owner })));
            }
        }
        let interface = path::Interface {
            router,
            bridge,
            mac: mac_addr(o.mac),
            addresses: o.addresses.iter().map(|address| to_prefix(*address)).collect(),
            mtu: o.mtu.unwrap_or(u16::MAX),
            external: o.external,
            pass_without_nat: o.pass_without_nat,
            advertise: o.ra.then(|| advertise(o)),
        };
        next.set_interface(ix, Some(interface)).map_err(|path::Full| FULL)
    }

    /// The next hops of a route that comes; and those that an interface which comes, goes or has other addresses brings to
    /// another interface.
    fn shift<'a>(&self, state: &'a Desired, change: &'a Change, new: &FxHashSet<RouterIx>, shift: &mut Shift<'a>) {
        match &change.key {
            ObjectKey::Route(router, prefix) => {
                let target = state.routing.route(router, *prefix).filter(|target| !target.blackhole);
                if let (Some(target), Some(ix)) = (target, self.router(router)) {
                    shift.come((ix, target.via.clone()), router, new.contains(&ix));
                }
            }
            ObjectKey::Interface(router, bridge) => {
                let Some((ix, domain)) = self.router(router).zip(state.routing.domain(router)) else { return };
                let (old, new) = (interface_of(change), domain.interfaces().get(bridge));
                if old.zip(new).is_some_and(|(old, new)| old.addresses == new.addresses) {
                    return;
                }
                for net in old.into_iter().chain(new).flat_map(|interface| &interface.addresses) {
                    for (_, list) in domain.hops_in(*net) {
                        shift.renew((ix, list.clone()), router);
                    }
                }
            }
            _ => {}
        }
    }

    /// The default routes by gateways become what they have to be. Returns those that are to be set.
    fn shift_defaults<'a>(
        &mut self,
        next: &mut Snapshot,
        state: &'a Desired,
        changes: &'a [Change],
        shift: &mut Shift<'a>,
    ) -> Vec<(HopsKey, bool)> {
        let touched: BTreeSet<&Name> = changes.iter().filter_map(|change| may_turn_default(state, change)).collect();
        let mut set = Vec::new();
        for (router, v6) in touched.into_iter().flat_map(|router| [(router, false), (router, true)]) {
            let key = (router.clone(), v6);
            let before = self.defaults.get(&key).map(|(_, hops)| hops.clone());
            let ix = self.router(router);
            let routed = state.routing.route(router, IpPrefix::default_route(v6)).is_some();
            let gateways = state.routing.domain(router).filter(|_| !routed).map(|domain| domain.gateways(v6));
            let gateways: Vec<IpAddr> = gateways.into_iter().flatten().collect();
            let now = ix.filter(|_| !gateways.is_empty()).map(|ix| (ix, Hops::from(gateways)));
            if let Some(before) = before {
                // Where it is the same, it leaves, comes and is set again: its interface may be another.
                if now.is_none() && !routed {
                    let _ = next.set_route(before.0, to_prefix(IpPrefix::default_route(v6)), None);
                }
                self.defaults.free(&key);
                shift.leave(before);
            }
            if let Some(now) = now {
                shift.come(now.clone(), router, true);
                self.defaults.put(&key, now.clone());
                set.push((now, v6));
            }
        }
        set
    }

    /// Next hops by which no route leads any more go; those that are new, or are reached by another interface, are set.
    fn settle(&mut self, next: &mut Snapshot, state: &Desired, shift: Shift<'_>) -> Result<(), Refusal> {
        // In an order of their own, so that the same batch always gives the same numbers.
        let mut hops: Vec<_> = shift.hops.into_iter().filter(|(_, shifted)| shifted.by != 0 || shifted.anew).collect();
        hops.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        // Those that go first, so that their numbers can be had.
        for gone in [true, false] {
            for (key, change) in &hops {
                let before = self.next_hops.get(key).map_or(0, |(_, count)| *count);
                let left = shifted(before, change.by);
                if gone && left == 0 {
                    if let Some(ix) = self.next_hops.free(key) {
                        next.set_next_hops(NextHopsIx(ix), None);
                    }
                } else if !gone && left > 0 {
                    let ix = self.next_hops.put(key, left).ok_or(FULL)?;
                    if before == 0 || change.anew {
                        let hops = change.router.map(|router| self.resolve(state, router, &key.1));
                        next.set_next_hops(NextHopsIx(ix), hops.as_deref());
                    }
                }
            }
        }
        Ok(())
    }

    /// By which interfaces next hops are reached.
    fn resolve(&self, state: &Desired, router: &Name, hops: &[IpAddr]) -> Vec<NextHop> {
        let resolved = hops.iter().filter_map(|&address| {
            let (_, interface) = state.routing.domain(router)?.at(address)?;
            let interface = self.interface(&(router.clone(), interface.bridge.clone()))?;
            Some(NextHop { interface, address })
        });
        resolved.collect()
    }

    /// Routes lead where they have to.
    fn lead(
        &self,
        next: &mut Snapshot,
        state: &Desired,
        changes: &[Change],
        defaults: &[(HopsKey, bool)],
    ) -> Result<(), Refusal> {
        let by = |key: &HopsKey| self.next_hops.get(key).map(|(n, _)| Target::Via(NextHopsIx(n)));
        for change in changes {
            let ObjectKey::Route(router, prefix) = &change.key else { continue };
            let Some((ix, target)) = self.router(router).zip(state.routing.route(router, *prefix)) else { continue };
            let target = if target.blackhole { Some(Target::Blackhole) } else { by(&(ix, target.via.clone())) };
            next.set_route(ix, to_prefix(*prefix), target).map_err(|path::Full| FULL)?;
        }
        for (key, v6) in defaults {
            next.set_route(key.0, to_prefix(IpPrefix::default_route(*v6)), by(key)).map_err(|path::Full| FULL)?;
        }
        Ok(())
    }
}

fn is_routing(key: &ObjectKey) -> bool {
    use ObjectKey::{DvrMac, Interface, Route, Router};
    matches!(key, Router(_) | Interface(..) | Route(..) | DvrMac(_))
}

/// What an interface was before.
fn interface_of(change: &Change) -> Option<&Interface> {
    match change.old.as_deref() {
        Some(Object::Interface(old)) => Some(old),
        _ => None,
    }
}

/// The router whose default routes by gateways a change may turn: one whose gateways, or whose own default routes, come or
/// go.
fn may_turn_default<'a>(state: &Desired, change: &'a Change) -> Option<&'a Name> {
    match &change.key {
        ObjectKey::Route(router, prefix) if prefix.length() == 0 => Some(router),
        ObjectKey::Interface(router, bridge) => {
            let now = state.routing.interface(router, bridge);
            interface_of(change).into_iter().chain(now).any(|o| !o.gateways.is_empty()).then_some(router)
        }
        _ => None,
    }
}

pub(super) fn to_prefix(prefix: IpPrefix) -> Prefix {
    Prefix { address: prefix.address(), len: prefix.length() }
}

fn settings(router: &Router) -> path::RouterSettings {
    path::RouterSettings { mss_clamp: router.mss_clamp, icmp_limit: router.icmp_limit }
}

fn advertise(o: &Interface) -> path::Advertise {
    // At most 9,000, by the rules.
    let seconds = |seconds: u32| u16::try_from(seconds).unwrap_or(u16::MAX);
    path::Advertise {
        interval: seconds(o.ra_interval),
        lifetime: seconds(o.ra_lifetime),
        managed: o.ra_managed,
        other: o.ra_other,
    }
}
