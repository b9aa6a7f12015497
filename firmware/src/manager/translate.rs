//! From the desired state to what the packet path reads: the only translator.
//!
//! Owns: the numbers of bridges, vteps, segments and peers, and the order of edits on a [`Snapshot`]: first what goes,
//! then numbers, then what comes. Takes a state that [`super::rules`] found right. Costs what the batch touches, and
//! for a segment that changes its bridge or vtep, what is on it.

use super::batch::Change;
use super::desired::Desired;
use super::key::ObjectKey;
use super::numbers::Numbers;
use crate::config::Tables;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use weir_api::id::{Location, Mac, Name, SegmentId};
use weir_api::object::{AcceptFrom, Object, Tpid, UnknownUnicast};
use weir_pipelines::tables as path;
use weir_pipelines::tables::{BridgeId, Encap, MeshId, PeerIx, PortId, SegmentIx, Snapshot, VtepIx};
use weir_pipelines::wire::{MacAddr, VlanId, Vni};

/// A table that has no room for a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Full {
    /// Its key in `weir.toml`: `tables.peers`.
    pub table: &'static str,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no room left in the table that {} in weir.toml sizes", self.table)
    }
}

/// What is known of a numbered segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SegmentEntry {
    bridge: BridgeId,
    vtep: Option<VtepIx>,
}

type PeerKey = (VtepIx, Encap, IpAddr);
type ListKey = (BridgeId, PeerKey);

/// Where a peer or an endpoint is, in numbers.
struct Place {
    bridge: BridgeId,
    segment: SegmentIx,
    peer: Option<PeerKey>,
}

/// How many more, or fewer, objects name each peer.
#[derive(Default)]
struct Shift {
    peers: FxHashMap<PeerKey, i64>,
    listed: FxHashMap<ListKey, i64>,
}

impl Shift {
    fn add(&mut self, place: &Place, by: i64) {
        if let Some(peer) = place.peer {
            *self.peers.entry(peer).or_default() += by;
            *self.listed.entry((place.bridge, peer)).or_default() += by;
        }
    }
}

/// The running snapshot, and which number in it stands for what.
#[derive(Debug)]
pub struct Translator {
    ports: Vec<Name>,
    current: Snapshot,
    bridges: Numbers<Name, ()>,
    vteps: Numbers<Name, ()>,
    segments: Numbers<SegmentId, SegmentEntry>,
    /// Values: how many peers and endpoints name it.
    peers: Numbers<PeerKey, u32>,
    /// Values: how many of the bridge's peers and endpoints are behind it. The numbers mean nothing.
    listed: Numbers<ListKey, u32>,
}

impl Translator {
    /// One that has translated nothing yet. `ports` are the names of `empty`'s ports, in its order.
    pub fn new(ports: Vec<Name>, limits: &Tables, empty: Snapshot) -> Self {
        Self {
            ports,
            current: empty,
            bridges: Numbers::new(limits.bridges, 1 << 16),
            vteps: Numbers::new(limits.vteps, 1 << 16),
            segments: Numbers::new(limits.segments, SegmentIx::LIMIT),
            peers: Numbers::new(limits.peers, limits.peer_numbers()),
            listed: Numbers::new(u32::MAX, u32::MAX),
        }
    }

    /// The snapshot that is in force.
    pub fn current(&self) -> &Snapshot {
        &self.current
    }

    /// How many peers (pairs of vtep and address) there are.
    pub fn peer_count(&self) -> usize {
        self.peers.count()
    }

    /// Translates changes that `state` already has. Nothing is in force before [`Translator::keep`].
    ///
    /// # Errors
    /// [`Full`]; then, and whenever the snapshot is not wanted, [`Translator::undo`].
    pub fn prepare(&mut self, state: &Desired, changes: &[Change], generation: u64) -> Result<Snapshot, Full> {
        let mut next = self.current.clone();
        next.generation = generation;
        let rehomed = self.rehomed(state, changes);
        let mut shift = Shift::default();
        for change in changes.iter().filter(|c| c.old.is_some()) {
            self.leave(&mut next, &change.key, change.old.as_deref(), change.there, &mut shift);
        }
        for (key, object) in &rehomed {
            self.leave(&mut next, key, Some(object), true, &mut shift);
        }
        self.free_numbers(&mut next, changes);
        self.number(&mut next, state, changes)?;
        let comers = changes.iter().filter(|c| c.there).map(|c| &c.key).chain(rehomed.iter().map(|(key, _)| key));
        let comers: Vec<_> = comers.filter_map(|key| Some((key, self.place_of(state, key)?))).collect();
        for (_, place) in &comers {
            shift.add(place, 1);
        }
        self.settle(&mut next, shift)?;
        for (key, place) in comers {
            self.arrive(&mut next, key, &place)?;
        }
        Ok(next)
    }

    /// The prepared snapshot is in force.
    pub fn keep(&mut self, next: Snapshot) {
        self.current = next;
        self.bridges.keep();
        self.vteps.keep();
        self.segments.keep();
        self.peers.keep();
        self.listed.keep();
    }

    /// What was prepared is forgotten.
    pub fn undo(&mut self) {
        self.bridges.undo();
        self.vteps.undo();
        self.segments.undo();
        self.peers.undo();
        self.listed.undo();
    }

    /// What is on segments that change their bridge or vtep, and has to leave and come back with them.
    fn rehomed(&self, state: &Desired, changes: &[Change]) -> Vec<(ObjectKey, Object)> {
        let mut rehomed = Vec::new();
        for change in changes {
            let (ObjectKey::Segment(id), Some(Object::Segment(old)), true) =
                (&change.key, change.old.as_deref(), change.there)
            else {
                continue;
            };
            if state.segments.get(id).is_none_or(|new| new.bridge == old.bridge && new.vtep == old.vtep) {
                continue;
            }
            let peers = state.peers.get(id).into_iter().flatten().map(|(a, _)| ObjectKey::Peer(id.clone(), *a));
            let bridges = state.endpoints_on.get(id).into_iter().flat_map(|by_bridge| by_bridge.keys());
            let hosts = bridges.flat_map(|b| state.endpoints.get(b).into_iter().flatten().map(move |(m, h)| (b, m, h)));
            let hosts = hosts.filter(|(_, _, host)| host.location.segment == *id);
            let keys = peers.chain(hosts.map(|(b, m, _)| ObjectKey::Endpoint(b.clone(), *m)));
            rehomed.extend(keys.filter_map(|key| state.get(&key).map(|object| (key, object))));
        }
        if !rehomed.is_empty() {
            // What the batch touches itself comes and goes anyway.
            let touched: FxHashSet<&ObjectKey> = changes.iter().map(|c| &c.key).collect();
            rehomed.retain(|(key, _)| !touched.contains(key));
        }
        rehomed
    }

    /// A peer or endpoint leaves the place it had: by the numbers of before.
    fn leave(&self, next: &mut Snapshot, key: &ObjectKey, old: Option<&Object>, stays: bool, shift: &mut Shift) {
        match (key, old) {
            (ObjectKey::Peer(segment, address), _) => {
                let Some(place) = self.place(segment, Some(*address)) else { return };
                if let Some((ix, _)) = place.peer.and_then(|peer| self.peers.get(&peer)) {
                    next.set_flood(place.segment, PeerIx(ix), false);
                }
                shift.add(&place, -1);
            }
            (ObjectKey::Endpoint(bridge, mac), Some(Object::Endpoint(old))) => {
                let Some(place) = self.place(&old.location.segment, old.location.peer) else { return };
                if let (false, Some((id, ()))) = (stays, self.bridges.get(bridge)) {
                    // Taking an entry away needs no room.
                    let _ = next.set_endpoint(BridgeId(id as u16), mac_addr(*mac), None);
                }
                shift.add(&place, -1);
            }
            _ => {}
        }
    }

    /// Segments, vteps and bridges that are gone give back their numbers.
    fn free_numbers(&mut self, next: &mut Snapshot, changes: &[Change]) {
        let gone = || changes.iter().filter(|c| !c.there).map(|c| &c.key);
        for key in gone() {
            if let ObjectKey::Segment(id) = key
                && let Some(ix) = self.segments.free(id)
            {
                let _ = next.set_segment(SegmentIx(ix), None);
            }
        }
        for key in gone() {
            match key {
                ObjectKey::Vtep(name) => {
                    if let Some(ix) = self.vteps.free(name) {
                        next.set_vtep(VtepIx(ix as u16), None);
                    }
                }
                ObjectKey::Bridge(name) => {
                    if let Some(id) = self.bridges.free(name) {
                        next.set_bridge(BridgeId(id as u16), None);
                    }
                }
                _ => {}
            }
        }
    }

    /// Bridges, vteps and then segments that are new or different get numbers and go into the snapshot.
    fn number(&mut self, next: &mut Snapshot, state: &Desired, changes: &[Change]) -> Result<(), Full> {
        let there = || changes.iter().filter(|c| c.there).map(|c| &c.key);
        for key in there() {
            match key {
                ObjectKey::Bridge(name) => {
                    let id = self.bridges.put(name, ()).ok_or(Full { table: "tables.bridges" })?;
                    next.set_bridge(BridgeId(id as u16), state.bridges.get(name).map(settings));
                }
                ObjectKey::Vtep(name) => {
                    let ix = self.vteps.put(name, ()).ok_or(Full { table: "tables.vteps" })?;
                    next.set_vtep(VtepIx(ix as u16), state.vteps.get(name).and_then(|v| self.vtep(v)));
                }
                _ => {}
            }
        }
        for key in there() {
            let ObjectKey::Segment(id) = key else { continue };
            let Some(segment) = state.segments.get(id) else { continue };
            let bridge = self.bridges.get(&segment.bridge).map(|(n, ())| BridgeId(n as u16)).unwrap_or_default();
            let vtep = segment.vtep.as_ref().and_then(|v| self.vteps.get(v)).map(|(n, ())| VtepIx(n as u16));
            let entry = SegmentEntry { bridge, vtep };
            let ix = self.segments.put(id, entry).ok_or(Full { table: "tables.segments" })?;
            let kind = self.kind(id, segment.tpid, vtep);
            let segment =
                kind.map(|kind| path::Segment { bridge, kind, carry_tags: segment.carry_tags, mesh: MeshId(0) });
            next.set_segment(SegmentIx(ix), segment).map_err(|path::Full| Full { table: "tables.segments" })?;
        }
        Ok(())
    }

    /// Peers that nobody names any more go; those that are new get numbers.
    fn settle(&mut self, next: &mut Snapshot, shift: Shift) -> Result<(), Full> {
        // In an order of their own, so that the same batch always gives the same numbers.
        let mut listed: Vec<_> = shift.listed.into_iter().filter(|(_, by)| *by != 0).collect();
        let mut peers: Vec<_> = shift.peers.into_iter().filter(|(_, by)| *by != 0).collect();
        listed.sort_unstable();
        peers.sort_unstable();
        for (key, by) in &listed {
            let count = self.listed.get(key).map_or(0, |(_, n)| *n);
            let left = shifted(count, *by);
            if left > 0 {
                continue;
            }
            self.listed.free(key);
            if let Some((ix, _)) = self.peers.get(&key.1) {
                let _ = next.list_peer(key.0, PeerIx(ix), false);
            }
        }
        for (gone, (key, by)) in [true, false].into_iter().flat_map(|gone| peers.iter().map(move |p| (gone, p))) {
            let before = self.peers.get(key).map_or(0, |(_, n)| *n);
            let left = shifted(before, *by);
            if gone != (left == 0) {
                continue;
            }
            if left == 0 {
                if let Some(ix) = self.peers.free(key) {
                    let _ = next.set_peer(PeerIx(ix), None);
                }
                continue;
            }
            let ix = self.peers.put(key, left).ok_or(Full { table: "tables.peers" })?;
            if before == 0 {
                let (vtep, encap, address) = *key;
                let peer = path::Peer { vtep, encap, address };
                next.set_peer(PeerIx(ix), Some(peer)).map_err(|path::Full| Full { table: "tables.peers" })?;
            }
        }
        for (key, by) in &listed {
            let before = self.listed.get(key).map_or(0, |(_, n)| *n);
            let left = shifted(before, *by);
            if left == 0 {
                continue;
            }
            self.listed.put(key, left).ok_or(Full { table: "tables.peers" })?;
            if before == 0
                && let Some((ix, _)) = self.peers.get(&key.1)
            {
                next.list_peer(key.0, PeerIx(ix), true).map_err(|path::Full| Full { table: "tables.peers" })?;
            }
        }
        Ok(())
    }

    /// A peer or endpoint takes its place: by the numbers of now.
    fn arrive(&self, next: &mut Snapshot, key: &ObjectKey, place: &Place) -> Result<(), Full> {
        let peer = place.peer.and_then(|peer| self.peers.get(&peer)).map(|(ix, _)| PeerIx(ix));
        match (key, peer) {
            (ObjectKey::Peer(..), Some(peer)) => next.set_flood(place.segment, peer, true),
            (ObjectKey::Endpoint(_, mac), peer) => {
                let at = path::Location { segment: place.segment, peer };
                let host = path::Host { at, addressed: false };
                next.set_endpoint(place.bridge, mac_addr(*mac), Some(host))
                    .map_err(|path::Full| Full { table: "tables.endpoints" })?;
            }
            _ => {}
        }
        Ok(())
    }

    fn place_of(&self, state: &Desired, key: &ObjectKey) -> Option<Place> {
        match key {
            ObjectKey::Peer(segment, address) => self.place(segment, Some(*address)),
            ObjectKey::Endpoint(bridge, mac) => {
                let Location { segment, peer } = &state.endpoints.get(bridge)?.get(mac)?.location;
                self.place(segment, *peer)
            }
            _ => None,
        }
    }

    fn place(&self, segment: &SegmentId, peer: Option<IpAddr>) -> Option<Place> {
        let (ix, entry) = self.segments.get(segment)?;
        let peer = match (entry.vtep, peer) {
            (Some(vtep), Some(address)) => Some((vtep, encap(segment)?, address)),
            _ => None,
        };
        Some(Place { bridge: entry.bridge, segment: SegmentIx(ix), peer })
    }

    fn port(&self, name: &Name) -> Option<PortId> {
        self.ports.iter().position(|p| p == name).map(|n| PortId(n as u16))
    }

    fn kind(&self, id: &SegmentId, tpid: Tpid, vtep: Option<VtepIx>) -> Option<path::SegmentKind> {
        match id {
            SegmentId::Vlan { port, vid } => {
                let vid = vid.and_then(|v| VlanId::try_from(v).ok());
                Some(path::SegmentKind::Vlan { port: self.port(port)?, vid })
            }
            SegmentId::Qinq { port, outer, inner } => Some(path::SegmentKind::Qinq {
                port: self.port(port)?,
                service: tpid == Tpid::Service,
                outer: VlanId::try_from(*outer).ok()?,
                inner: VlanId::try_from(*inner).ok()?,
            }),
            SegmentId::Vxlan { vni: network }
            | SegmentId::Geneve { vni: network }
            | SegmentId::Nvgre { vsid: network } => {
                let network = Vni::try_from(*network).ok()?;
                Some(path::SegmentKind::Tunnel { encap: encap(id)?, network, vtep: vtep? })
            }
        }
    }

    fn vtep(&self, vtep: &weir_api::object::Vtep) -> Option<path::Vtep> {
        Some(path::Vtep {
            port: self.port(&vtep.port)?,
            address: vtep.address.address(),
            prefix_len: vtep.address.length(),
            gateways: vtep.gateways.clone(),
            neighbours: vtep.neighbours.iter().map(|(a, mac)| (*a, mac_addr(*mac))).collect(),
        })
    }

    /// The name of a numbered bridge, for every number in use.
    pub fn bridge_names(&self) -> HashMap<BridgeId, Name> {
        self.bridges.iter().map(|(name, n, ())| (BridgeId(n as u16), name.clone())).collect()
    }

    /// The id of a numbered segment, for every number in use.
    pub fn segment_ids(&self) -> HashMap<SegmentIx, SegmentId> {
        self.segments.iter().map(|(id, n, _)| (SegmentIx(n), id.clone())).collect()
    }
}

fn shifted(count: u32, by: i64) -> u32 {
    u32::try_from(i64::from(count) + by).unwrap_or(0)
}

fn mac_addr(mac: Mac) -> MacAddr {
    MacAddr(mac.octets())
}

/// How a tunnel segment's frames are wrapped.
fn encap(id: &SegmentId) -> Option<Encap> {
    match id {
        SegmentId::Vlan { .. } | SegmentId::Qinq { .. } => None,
        SegmentId::Vxlan { .. } => Some(Encap::Vxlan),
        SegmentId::Nvgre { .. } => Some(Encap::Nvgre),
        SegmentId::Geneve { .. } => Some(Encap::Geneve),
    }
}

fn settings(bridge: &weir_api::object::Bridge) -> path::BridgeSettings {
    path::BridgeSettings {
        mac_limit: bridge.mac_limit,
        // At most 36,000, by the rules.
        mac_ageing: u16::try_from(bridge.mac_ageing).unwrap_or(u16::MAX),
        flood_unknown: bridge.unknown_unicast == UnknownUnicast::Flood,
        listed_only: bridge.accept_from == AcceptFrom::Listed,
        suppress: bridge.suppression,
        flood_unknown_target: bridge.unknown_target == UnknownUnicast::Flood,
        binding_limit: bridge.binding_limit,
        binding_ageing: u16::try_from(bridge.binding_ageing).unwrap_or(u16::MAX),
        port_security: bridge.port_security,
        broadcast_limit: bridge.broadcast_limit,
        unknown_limit: bridge.unknown_limit,
        announcement_limit: bridge.announcement_limit,
    }
}
