//! The desired state: every object that an operator configured, by key, with the indexes that judging a change needs.
//!
//! Owns: storage and indexes, kept equal by one function, [`Desired::set`]. Judges nothing: that is
//! [`super::rules`]. A change costs what it touches, whatever else there is.

pub mod routing;

use super::key::ObjectKey;
use super::table::Table;
use routing::Routing;
use rustc_hash::FxHashMap;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;
use std::mem::{replace, take};
use std::net::IpAddr;
use weir_api::id::{AllowedPair, Location, Mac, Name, SegmentId};
use weir_api::object::{Bridge, DvrMac, Endpoint, Kind, Object, Peer, Segment, Vtep};

/// What is kept of an endpoint besides its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Where it is.
    pub location: Location,
    /// Its addresses.
    pub ips: Vec<IpAddr>,
    /// What it may hold besides.
    pub allowed_pairs: Vec<AllowedPair>,
}

/// What a put came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Put {
    /// Exactly this object was there already.
    Same,
    /// It is there now; before it stood this.
    Set(Option<Object>),
}

/// Every configured object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    pub(super) bridges: Table<Name, Bridge>,
    pub(super) vteps: Table<Name, Vtep>,
    pub(super) segments: Table<SegmentId, Segment>,
    /// With the mesh of each that names one.
    pub(super) peers: Table<SegmentId, BTreeMap<IpAddr, Option<Name>>>,
    pub(super) endpoints: Table<Name, BTreeMap<Mac, Host>>,
    pub(super) routing: Routing,
    peer_count: usize,
    endpoint_count: usize,
    pub(super) segments_of_bridge: BTreeMap<Name, BTreeSet<SegmentId>>,
    pub(super) segments_of_vtep: BTreeMap<Name, BTreeSet<SegmentId>>,
    pub(super) vteps_of_port: BTreeMap<Name, BTreeSet<Name>>,
    pub(super) vteps_at: FxHashMap<IpAddr, BTreeSet<Name>>,
    /// How many endpoints a segment has, by their bridge.
    pub(super) endpoints_on: FxHashMap<SegmentId, BTreeMap<Name, usize>>,
    /// How many peers and endpoints name an address.
    remotes: FxHashMap<IpAddr, usize>,
}

impl Desired {
    /// How many objects of a kind there are.
    pub fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Bridge => self.bridges.len(),
            Kind::Vtep => self.vteps.len(),
            Kind::Segment => self.segments.len(),
            Kind::Peer => self.peer_count,
            Kind::Endpoint => self.endpoint_count,
            Kind::Router => self.routing.routers().len(),
            Kind::Interface => self.routing.counts().0,
            Kind::Route => self.routing.counts().1,
            Kind::DvrMac => self.routing.dvr_macs().len(),
        }
    }

    /// The object.
    pub fn get(&self, key: &ObjectKey) -> Option<Object> {
        match key {
            ObjectKey::Bridge(name) => self.bridges.get(name).cloned().map(Object::Bridge),
            ObjectKey::Vtep(name) => self.vteps.get(name).cloned().map(Object::Vtep),
            ObjectKey::Segment(id) => self.segments.get(id).cloned().map(Object::Segment),
            ObjectKey::Peer(segment, address) => {
                let mesh = self.peers.get(segment)?.get(address)?.clone();
                Some(Object::Peer(Peer { segment: segment.clone(), address: *address, mesh }))
            }
            ObjectKey::Endpoint(bridge, mac) => {
                self.endpoints.get(bridge)?.get(mac).map(|host| endpoint(bridge, *mac, host.clone()))
            }
            ObjectKey::Router(name) => self.routing.routers().get(name).cloned().map(Object::Router),
            ObjectKey::Interface(router, bridge) => {
                self.routing.interface(router, bridge).cloned().map(Object::Interface)
            }
            ObjectKey::Route(router, prefix) => {
                self.routing.route(router, *prefix).map(|target| routing::route(router, *prefix, target))
            }
            ObjectKey::DvrMac(mac) => {
                self.routing.dvr_macs().get(mac).map(|own| Object::DvrMac(DvrMac { mac: *mac, own: *own }))
            }
        }
    }

    /// Puts an object, unless exactly that is there. `key` is its own. An endpoint's lists are taken out of it: there are many
    /// endpoints, and copying whole objects around was what putting them cost.
    pub fn put(&mut self, key: &ObjectKey, object: &mut Object) -> Put {
        let same = match object {
            Object::Bridge(o) => self.bridges.get(&o.name) == Some(o),
            Object::Vtep(o) => self.vteps.get(&o.name) == Some(o),
            Object::Segment(o) => self.segments.get(&o.id) == Some(o),
            Object::Peer(o) => self.peers.get(&o.segment).and_then(|p| p.get(&o.address)) == Some(&o.mesh),
            Object::Endpoint(o) => return self.put_endpoint(o),
            Object::Router(o) => self.routing.routers().get(&o.name) == Some(o),
            Object::Interface(o) => self.routing.interface(&o.router, &o.bridge) == Some(o),
            Object::Route(o) => return self.routing.put_route(o),
            Object::DvrMac(o) => self.routing.dvr_macs().get(&o.mac) == Some(&o.own),
        };
        if same { Put::Same } else { Put::Set(self.set(key, Some(object.clone()))) }
    }

    fn put_endpoint(&mut self, new: &mut Endpoint) -> Put {
        let Endpoint { bridge, mac, location, ips, allowed_pairs } = new;
        let hosts = self.endpoints.get_or_default(bridge);
        let host = |ips: &mut _, allowed_pairs: &mut _| Host {
            location: location.clone(),
            ips: take(ips),
            allowed_pairs: take(allowed_pairs),
        };
        let old = match hosts.entry(*mac) {
            Entry::Occupied(place) => {
                let old = place.into_mut();
                if old.location == *location && old.ips == *ips && old.allowed_pairs == *allowed_pairs {
                    return Put::Same;
                }
                Some(replace(old, host(ips, allowed_pairs)))
            }
            Entry::Vacant(place) => {
                place.insert(host(ips, allowed_pairs));
                self.endpoint_count += 1;
                None
            }
        };
        self.remember_place(bridge, location);
        Put::Set(old.map(|old| {
            self.forget_place(bridge, &old.location);
            endpoint(bridge, *mac, old)
        }))
    }

    /// Every key there is.
    pub fn keys(&self) -> impl Iterator<Item = ObjectKey> + '_ {
        (self.bridges.keys().cloned().map(ObjectKey::Bridge))
            .chain(self.vteps.keys().cloned().map(ObjectKey::Vtep))
            .chain(self.segments.keys().cloned().map(ObjectKey::Segment))
            .chain(self.peers.iter().flat_map(|(s, all)| all.keys().map(|a| ObjectKey::Peer(s.clone(), *a))))
            .chain(self.endpoints.iter().flat_map(|(b, all)| all.keys().map(|m| ObjectKey::Endpoint(b.clone(), *m))))
            .chain(self.routing.keys())
    }

    /// Routers, interfaces, routes and DVR MACs.
    pub fn routing(&self) -> &Routing {
        &self.routing
    }

    /// A bridge's endpoints, if it has any.
    pub fn hosts(&self, bridge: &Name) -> Option<&BTreeMap<Mac, Host>> {
        self.endpoints.get(bridge)
    }

    /// Every bridge that has endpoints, with these, in order.
    pub fn all_hosts(&self) -> impl Iterator<Item = (&Name, &BTreeMap<Mac, Host>)> {
        self.endpoints.iter()
    }

    /// Whether some peer or endpoint is at a remote address.
    pub fn is_remote(&self, address: IpAddr) -> bool {
        self.remotes.contains_key(&address)
    }

    /// The mesh that a peer names.
    pub(super) fn peer_mesh(&self, segment: &SegmentId, address: IpAddr) -> Option<&Name> {
        self.peers.get(segment)?.get(&address)?.as_ref()
    }

    /// Puts (`Some`) or deletes (`None`) the object with that key, and returns what was there.
    ///
    /// # Panics
    /// If the object has another key.
    pub fn set(&mut self, key: &ObjectKey, new: Option<Object>) -> Option<Object> {
        match (key, new) {
            (ObjectKey::Bridge(name), Some(Object::Bridge(o))) => {
                self.bridges.insert(name.clone(), o).map(Object::Bridge)
            }
            (ObjectKey::Bridge(name), None) => self.bridges.remove(name).map(Object::Bridge),
            (ObjectKey::Vtep(name), Some(Object::Vtep(o))) => self.set_vtep(name, Some(o)),
            (ObjectKey::Vtep(name), None) => self.set_vtep(name, None),
            (ObjectKey::Segment(id), Some(Object::Segment(o))) => self.set_segment(id, Some(o)),
            (ObjectKey::Segment(id), None) => self.set_segment(id, None),
            (ObjectKey::Peer(segment, address), Some(Object::Peer(o))) => {
                self.set_peer(segment, *address, Some(o.mesh))
            }
            (ObjectKey::Peer(segment, address), None) => self.set_peer(segment, *address, None),
            (ObjectKey::Endpoint(..), Some(Object::Endpoint(mut o))) => match self.put_endpoint(&mut o) {
                Put::Same => Some(Object::Endpoint(o)),
                Put::Set(old) => old,
            },
            (ObjectKey::Endpoint(bridge, mac), None) => self.remove_endpoint(bridge, *mac),
            (ObjectKey::Router(name), Some(Object::Router(o))) => self.routing.set_router(name, Some(o)),
            (ObjectKey::Router(name), None) => self.routing.set_router(name, None),
            (ObjectKey::Interface(router, bridge), Some(Object::Interface(o))) => {
                self.routing.set_interface(router, bridge, Some(o))
            }
            (ObjectKey::Interface(router, bridge), None) => self.routing.set_interface(router, bridge, None),
            (ObjectKey::Route(..), Some(Object::Route(o))) => match self.routing.put_route(&o) {
                Put::Same => Some(Object::Route(o)),
                Put::Set(old) => old,
            },
            (ObjectKey::Route(router, prefix), None) => self.routing.remove_route(router, *prefix),
            (ObjectKey::DvrMac(mac), Some(Object::DvrMac(o))) => self.routing.set_dvr_mac(*mac, Some(o)),
            (ObjectKey::DvrMac(mac), None) => self.routing.set_dvr_mac(*mac, None),
            (key, Some(object)) => panic!("{key} is not the key of {object:?}"),
        }
    }

    fn set_vtep(&mut self, name: &Name, new: Option<Vtep>) -> Option<Object> {
        if let Some(vtep) = &new {
            self.vteps_of_port.entry(vtep.port.clone()).or_default().insert(name.clone());
            self.vteps_at.entry(vtep.address.address()).or_default().insert(name.clone());
        }
        let (port, address) = match &new {
            Some(v) => (Some(v.port.clone()), Some(v.address.address())),
            None => (None, None),
        };
        let old = match new {
            Some(vtep) => self.vteps.insert(name.clone(), vtep),
            None => self.vteps.remove(name),
        }?;
        if Some(&old.port) != port.as_ref() {
            remove(&mut self.vteps_of_port, &old.port, name);
        }
        if Some(old.address.address()) != address
            && let Some(names) = self.vteps_at.get_mut(&old.address.address())
        {
            names.remove(name);
            if names.is_empty() {
                self.vteps_at.remove(&old.address.address());
            }
        }
        Some(Object::Vtep(old))
    }

    fn set_segment(&mut self, id: &SegmentId, new: Option<Segment>) -> Option<Object> {
        let (bridge, vtep) = match &new {
            Some(s) => (Some(s.bridge.clone()), s.vtep.clone()),
            None => (None, None),
        };
        let old = match new {
            Some(segment) => self.segments.insert(id.clone(), segment),
            None => self.segments.remove(id),
        };
        if let Some(old) = &old {
            remove(&mut self.segments_of_bridge, &old.bridge, id);
            if let Some(vtep) = &old.vtep {
                remove(&mut self.segments_of_vtep, vtep, id);
            }
        }
        if let Some(bridge) = bridge {
            self.segments_of_bridge.entry(bridge).or_default().insert(id.clone());
        }
        if let Some(vtep) = vtep {
            self.segments_of_vtep.entry(vtep).or_default().insert(id.clone());
        }
        old.map(Object::Segment)
    }

    /// `new` is its mesh.
    fn set_peer(&mut self, segment: &SegmentId, address: IpAddr, new: Option<Option<Name>>) -> Option<Object> {
        let before = match new {
            Some(mesh) => {
                let before = self.peers.get_or_default(segment).insert(address, mesh);
                if before.is_none() {
                    self.peer_count += 1;
                    increment(&mut self.remotes, &address);
                }
                before
            }
            None => {
                let peers = self.peers.get_mut(segment)?;
                let before = peers.remove(&address);
                if peers.is_empty() {
                    self.peers.remove(segment);
                }
                if before.is_some() {
                    self.peer_count -= 1;
                    decrement(&mut self.remotes, &address);
                }
                before
            }
        };
        before.map(|mesh| Object::Peer(Peer { segment: segment.clone(), address, mesh }))
    }

    fn remove_endpoint(&mut self, bridge: &Name, mac: Mac) -> Option<Object> {
        let hosts = self.endpoints.get_mut(bridge)?;
        let old = hosts.remove(&mac)?;
        if hosts.is_empty() {
            self.endpoints.remove(bridge);
        }
        self.endpoint_count -= 1;
        self.forget_place(bridge, &old.location);
        Some(endpoint(bridge, mac, old))
    }

    fn remember_place(&mut self, bridge: &Name, location: &Location) {
        let by_bridge = match self.endpoints_on.get_mut(&location.segment) {
            Some(by_bridge) => by_bridge,
            None => self.endpoints_on.entry(location.segment.clone()).or_default(),
        };
        match by_bridge.get_mut(bridge) {
            Some(count) => *count += 1,
            None => drop(by_bridge.insert(bridge.clone(), 1)),
        }
        if let Some(peer) = location.peer {
            increment(&mut self.remotes, &peer);
        }
    }

    fn forget_place(&mut self, bridge: &Name, location: &Location) {
        if let Some(by_bridge) = self.endpoints_on.get_mut(&location.segment) {
            if let Some(count) = by_bridge.get_mut(bridge) {
                *count -= 1;
                if *count == 0 {
                    by_bridge.remove(bridge);
                }
            }
            if by_bridge.is_empty() {
                self.endpoints_on.remove(&location.segment);
            }
        }
        if let Some(peer) = location.peer {
            decrement(&mut self.remotes, &peer);
        }
    }
}

/// An endpoint as an object.
pub(super) fn endpoint(bridge: &Name, mac: Mac, host: Host) -> Object {
    let Host { location, ips, allowed_pairs } = host;
    Object::Endpoint(Endpoint { bridge: bridge.clone(), mac, location, ips, allowed_pairs })
}

fn remove<K: Ord, V: Ord>(index: &mut BTreeMap<K, BTreeSet<V>>, key: &K, value: &V) {
    let Some(values) = index.get_mut(key) else { return };
    values.remove(value);
    if values.is_empty() {
        index.remove(key);
    }
}

fn increment<K: Hash + Eq + Clone>(counts: &mut FxHashMap<K, usize>, key: &K) {
    *counts.entry(key.clone()).or_default() += 1;
}

fn decrement<K: Hash + Eq>(counts: &mut FxHashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
