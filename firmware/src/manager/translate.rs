//! From the desired state to what the packet path reads: the only translator.
//!
//! Owns: the numbers of bridges, vteps, segments and meshes (those of peers are [`super::reach`]'s, who may hold an address is
//! [`super::claims`]', routers are [`super::routing`]'s), and the order of edits on a [`Snapshot`]: first what goes, then
//! numbers, then what comes. Takes a state that [`super::rules`] found right, but for one rule that it judges itself, since
//! the snapshot has the index for it: an address is of one endpoint of a bridge, or of an interface. Costs what the batch touches, and for a segment that changes its bridge
//! or vtep, or a bridge that changes whom it floods to, what is on it.

use super::batch::Change;
use super::claims::{ClaimShift, Claimant, Claims, Taken};
use super::desired::{Desired, Host};
use super::key::ObjectKey;
use super::numbers::Numbers;
use super::reach::{Place, Reach, Shift, shifted};
use super::routing::Routers;
use crate::config::Tables;
use rustc_hash::FxHashSet;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hint::black_box;
use std::net::IpAddr;
use weir_api::id::{Mac, Name, SegmentId};
use weir_api::object::{AcceptFrom, FloodList, Object, Tpid, UnknownUnicast};
use weir_pipelines::tables as path;
use weir_pipelines::tables::{BridgeId, Encap, InterfaceIx, MeshId, PortId, RouterIx, SegmentIx, Snapshot, VtepIx};
use weir_pipelines::wire::{MacAddr, VlanId, Vni};

/// Why a right state cannot be translated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A table has no room for a change: the one with this key in `weir.toml`, such as `tables.peers`.
    Full(&'static str),
    /// There are more names of meshes than [`MESHES`].
    Meshes,
    /// An endpoint or an interface has an address that is an endpoint's.
    Taken(Box<TakenAddress>),
}

/// An address that is another's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenAddress {
    /// The number of the change.
    pub change: usize,
    /// Where in the object the address stands, or what gives it: `endpoint.ips[1]`.
    pub field: String,
    /// What stands there.
    pub value: String,
    /// The address.
    pub address: IpAddr,
    /// Whose it is.
    pub owner: ObjectKey,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(table) => write!(f, "no room left in the table that {table} in weir.toml sizes"),
            Self::Meshes => write!(f, "there can be no more than {MESHES} meshes"),
            Self::Taken(taken) => write!(f, "{} is an address of {} already", taken.address, taken.owner),
        }
    }
}

/// How many meshes can have names.
pub const MESHES: u32 = u16::MAX as u32;

/// So many arrivals have what they need brought near at one time.
const TOGETHER: usize = 16;

/// What is known of a numbered segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SegmentEntry {
    bridge: BridgeId,
    vtep: Option<VtepIx>,
}

/// A peer or an endpoint that comes to a place.
struct Comer<'a> {
    /// The number of the change; none for what comes along with its segment or bridge.
    change: usize,
    place: Place,
    floods: bool,
    what: Coming<'a>,
}

enum Coming<'a> {
    Peer { mesh: Option<&'a Name> },
    Endpoint { name: &'a Name, mac: Mac, host: &'a Host },
}

/// The running snapshot, and which number in it stands for what.
#[derive(Debug)]
pub struct Translator {
    ports: Vec<Name>,
    current: Snapshot,
    /// Values: whether it floods to its endpoints' peers too.
    bridges: Numbers<Name, bool>,
    vteps: Numbers<Name, ()>,
    segments: Numbers<SegmentId, SegmentEntry>,
    /// Values: how many segments and peers are in it. The number on the path is one more: 0 is the mesh without a name.
    meshes: Numbers<Name, u32>,
    reach: Reach,
    claims: Claims,
    routers: Routers,
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
            meshes: Numbers::new(MESHES, MESHES),
            reach: Reach::new(limits),
            claims: Claims::new(limits),
            routers: Routers::new(limits),
        }
    }

    /// The snapshot that is in force.
    pub fn current(&self) -> &Snapshot {
        &self.current
    }

    /// What the ports are, in the order of their names.
    pub fn set_ports(&mut self, ports: &[path::PortInfo]) {
        self.current.set_ports(ports);
    }

    /// How many peers (pairs of vtep and address) there are.
    pub fn peer_count(&self) -> usize {
        self.reach.peer_count()
    }

    /// Translates changes that `state` already has. Nothing is in force before [`Translator::keep`].
    ///
    /// # Errors
    /// [`Refusal`]; then, and whenever the snapshot is not wanted, [`Translator::undo`].
    pub fn prepare(&mut self, state: &Desired, changes: &[Change], generation: u64) -> Result<Snapshot, Refusal> {
        let next = self.current.clone();
        self.edit(next, state, changes, generation)
    }

    /// Translates a part of a saved state, and puts it in force. Copies nothing, as [`Translator::prepare`] must for those
    /// who read the snapshot in force.
    ///
    /// # Errors
    /// [`Refusal`]; what was in force is then gone.
    pub fn restore(&mut self, state: &Desired, changes: &[Change], generation: u64) -> Result<(), Refusal> {
        let empty = Snapshot::new(self.current.secret(), self.current.ports());
        let next = std::mem::replace(&mut self.current, empty);
        let next = self.edit(next, state, changes, generation)?;
        self.keep(next);
        Ok(())
    }

    fn edit(
        &mut self,
        mut next: Snapshot,
        state: &Desired,
        changes: &[Change],
        generation: u64,
    ) -> Result<Snapshot, Refusal> {
        next.generation = generation;
        let rehomed = self.rehomed(state, changes);
        let moving = self.moving(state, changes);
        let (mut shift, mut claims) = (Shift::default(), ClaimShift::default());
        for change in changes {
            if let Some(old) = change.old.as_deref() {
                self.leave(&mut next, state, (&change.key, old), change.there, &mut shift, &mut claims);
            }
        }
        for (key, object) in &rehomed {
            self.leave(&mut next, state, (key, object), true, &mut shift, &mut claims);
        }
        self.reach.unflood(&mut next, &mut shift, &moving);
        self.free_numbers(&mut next, state, changes);
        self.number_meshes(state, changes)?;
        self.number(&mut next, state, changes)?;
        let keys = changes.iter().enumerate().filter(|(_, c)| c.there).map(|(n, c)| (n, &c.key));
        let keys = keys.chain(rehomed.iter().map(|(key, _)| (usize::MAX, key)));
        let comers: Vec<_> = keys.filter_map(|(n, key)| self.comer(state, n, key)).collect();
        for comer in &comers {
            shift.add(&comer.place, comer.floods, 1);
        }
        self.reach.settle(&mut next, shift)?;
        for some in comers.chunks(TOGETHER) {
            black_box(some.iter().map(|comer| touch(&next, comer)).fold(0, u64::wrapping_add));
            for comer in some {
                self.arrive(&mut next, comer, &mut claims)?;
            }
        }
        let (segments, reach) = (&self.segments, &self.reach);
        let at = |host: &Host| {
            let place = place(segments, &host.location.segment, host.location.peer)?;
            Some(path::Location { segment: place.segment, peer: reach.number(place.peer) })
        };
        self.claims.settle(&mut next, claims, state, at)?;
        let bridges = &self.bridges;
        let bridge = |name: &Name| bridges.get(name).map(|(n, _)| BridgeId(n as u16));
        self.routers.edit(&mut next, state, changes, bridge)?;
        Ok(next)
    }

    /// The prepared snapshot is in force.
    pub fn keep(&mut self, next: Snapshot) {
        self.current = next;
        self.bridges.keep();
        self.vteps.keep();
        self.segments.keep();
        self.meshes.keep();
        self.reach.keep();
        self.claims.keep();
        self.routers.keep();
    }

    /// What was prepared is forgotten.
    pub fn undo(&mut self) {
        self.bridges.undo();
        self.vteps.undo();
        self.segments.undo();
        self.meshes.undo();
        self.reach.undo();
        self.claims.undo();
        self.routers.undo();
    }

    /// What is on segments that change their bridge or vtep, and has to leave and come back with them; and the endpoints of
    /// bridges that from now on flood to endpoints, or do not any more.
    fn rehomed(&self, state: &Desired, changes: &[Change]) -> Vec<(ObjectKey, Object)> {
        let mut keys = Vec::new();
        for change in changes.iter().filter(|change| change.there) {
            match (&change.key, change.old.as_deref()) {
                (ObjectKey::Segment(id), Some(Object::Segment(old))) => {
                    if state.segments.get(id).is_none_or(|new| new.bridge == old.bridge && new.vtep == old.vtep) {
                        continue;
                    }
                    let peers = state.peers.get(id).into_iter().flatten();
                    keys.extend(peers.map(|(address, _)| ObjectKey::Peer(id.clone(), *address)));
                    for bridge in state.endpoints_on.get(id).into_iter().flat_map(|by_bridge| by_bridge.keys()) {
                        let hosts = state.endpoints.get(bridge).into_iter().flatten();
                        let on = hosts.filter(|(_, host)| host.location.segment == *id);
                        keys.extend(on.map(|(mac, _)| ObjectKey::Endpoint(bridge.clone(), *mac)));
                    }
                }
                (ObjectKey::Bridge(name), Some(Object::Bridge(old))) => {
                    if state.bridges.get(name).is_none_or(|new| new.flood_list == old.flood_list) {
                        continue;
                    }
                    let hosts = state.endpoints.get(name).into_iter().flatten();
                    let remote = hosts.filter(|(_, host)| host.location.peer.is_some());
                    keys.extend(remote.map(|(mac, _)| ObjectKey::Endpoint(name.clone(), *mac)));
                }
                _ => {}
            }
        }
        // A host may be named by its segment and by its bridge.
        keys.sort_unstable();
        keys.dedup();
        let mut rehomed: Vec<_> =
            keys.into_iter().filter_map(|key| state.get(&key).map(|object| (key, object))).collect();
        if !rehomed.is_empty() {
            // What the batch touches itself comes and goes anyway.
            let touched: FxHashSet<&ObjectKey> = changes.iter().map(|c| &c.key).collect();
            rehomed.retain(|(key, _)| !touched.contains(key));
        }
        rehomed
    }

    /// The segments that change their bridge.
    fn moving(&self, state: &Desired, changes: &[Change]) -> FxHashSet<SegmentIx> {
        let moving = changes.iter().filter_map(|change| match (&change.key, change.old.as_deref()) {
            (ObjectKey::Segment(id), Some(Object::Segment(old))) => {
                let moves = state.segments.get(id).is_some_and(|new| new.bridge != old.bridge);
                self.segments.get(id).filter(|_| moves).map(|(ix, _)| SegmentIx(ix))
            }
            _ => None,
        });
        moving.collect()
    }

    /// A peer or endpoint leaves the place it had: by the numbers of before.
    fn leave<'a>(
        &self,
        next: &mut Snapshot,
        state: &Desired,
        (key, old): (&'a ObjectKey, &'a Object),
        stays: bool,
        shift: &mut Shift,
        claims: &mut ClaimShift<'a>,
    ) {
        match (key, old) {
            (ObjectKey::Peer(segment, address), Object::Peer(old)) => {
                let Some(place) = place(&self.segments, segment, Some(*address)) else { return };
                if let (Some(_), Some(ix)) = (&old.mesh, self.reach.number(place.peer)) {
                    // Taking an entry away needs no room.
                    let _ = next.set_peer_mesh(place.segment, ix, None);
                }
                shift.add(&place, true, -1);
            }
            (ObjectKey::Endpoint(name, mac), Object::Endpoint(old)) => {
                let Some(place) = place(&self.segments, &old.location.segment, old.location.peer) else { return };
                let floods = place.peer.is_some() && self.floods_to_endpoints(name);
                let Some((id, _)) = self.bridges.get(name) else { return };
                let bridge = BridgeId(id as u16);
                if !stays {
                    let _ = next.set_endpoint(bridge, mac_addr(*mac), None);
                }
                if !old.ips.is_empty() || !old.allowed_pairs.is_empty() {
                    let kept = state.endpoints.get(name).and_then(|hosts| hosts.get(mac));
                    let kept = kept.map_or(&[][..], |host| &host.ips);
                    let (ips, pairs) = (&old.ips[..], &old.allowed_pairs[..]);
                    self.claims.leave(next, Claimant { bridge, name, mac: *mac, ips, pairs }, kept, claims);
                }
                shift.add(&place, floods, -1);
            }
            _ => {}
        }
    }

    fn floods_to_endpoints(&self, bridge: &Name) -> bool {
        self.bridges.get(bridge).is_some_and(|(_, floods)| *floods)
    }

    /// Segments, vteps and bridges that are gone give back their numbers, and tags whose EtherType changes what
    /// they had.
    fn free_numbers(&mut self, next: &mut Snapshot, state: &Desired, changes: &[Change]) {
        let gone = || changes.iter().filter(|c| !c.there).map(|c| &c.key);
        for key in gone() {
            if let ObjectKey::Segment(id) = key
                && let Some(ix) = self.segments.free(id)
            {
                let _ = next.set_segment(SegmentIx(ix), None);
            }
        }
        for change in changes {
            if let (ObjectKey::Segment(id), Some(Object::Segment(old))) = (&change.key, change.old.as_deref())
                && state.segments.get(id).is_some_and(|new| new.tpid != old.tpid)
                && let Some((ix, _)) = self.segments.get(id)
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

    /// Meshes that are named for the first time get numbers, and those that nothing names any more give theirs back.
    fn number_meshes(&mut self, state: &Desired, changes: &[Change]) -> Result<(), Refusal> {
        let mut shift: BTreeMap<&Name, i64> = BTreeMap::new();
        for Change { key, old, .. } in changes {
            let old = match old.as_deref() {
                Some(Object::Segment(old)) => old.mesh.as_ref(),
                Some(Object::Peer(old)) => old.mesh.as_ref(),
                _ => None,
            };
            let new = match key {
                ObjectKey::Segment(id) => state.segments.get(id).and_then(|segment| segment.mesh.as_ref()),
                ObjectKey::Peer(segment, address) => state.peer_mesh(segment, *address),
                _ => continue,
            };
            for (mesh, by) in [(old, -1), (new, 1)] {
                if let Some(mesh) = mesh {
                    *shift.entry(mesh).or_default() += by;
                }
            }
        }
        // Those that go first, so that their numbers can be had.
        for gone in [true, false] {
            for (mesh, by) in &shift {
                let left = shifted(self.meshes.get(mesh).map_or(0, |(_, count)| *count), *by);
                match (gone, left) {
                    (true, 0) => drop(self.meshes.free(mesh)),
                    (false, 1..) => drop(self.meshes.put(mesh, left).ok_or(Refusal::Meshes)?),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn mesh(&self, name: Option<&Name>) -> MeshId {
        MeshId(name.and_then(|name| self.meshes.get(name)).map_or(0, |(n, _)| n as u16 + 1))
    }

    /// Bridges, vteps and then segments that are new or different get numbers and go into the snapshot.
    fn number(&mut self, next: &mut Snapshot, state: &Desired, changes: &[Change]) -> Result<(), Refusal> {
        let there = || changes.iter().filter(|c| c.there).map(|c| &c.key);
        for key in there() {
            match key {
                ObjectKey::Bridge(name) => {
                    let bridge = state.bridges.get(name);
                    let floods = bridge.is_some_and(|bridge| bridge.flood_list == FloodList::Endpoints);
                    let id = self.bridges.put(name, floods).ok_or(Refusal::Full("tables.bridges"))?;
                    next.set_bridge(BridgeId(id as u16), bridge.map(settings));
                }
                ObjectKey::Vtep(name) => {
                    let ix = self.vteps.put(name, ()).ok_or(Refusal::Full("tables.vteps"))?;
                    next.set_vtep(VtepIx(ix as u16), state.vteps.get(name).and_then(|v| self.vtep(v)));
                }
                _ => {}
            }
        }
        for key in there() {
            let ObjectKey::Segment(id) = key else { continue };
            let Some(segment) = state.segments.get(id) else { continue };
            let bridge = self.bridges.get(&segment.bridge).map(|(n, _)| BridgeId(n as u16)).unwrap_or_default();
            let vtep = segment.vtep.as_ref().and_then(|v| self.vteps.get(v)).map(|(n, ())| VtepIx(n as u16));
            let entry = SegmentEntry { bridge, vtep };
            let ix = self.segments.put(id, entry).ok_or(Refusal::Full("tables.segments"))?;
            let (carry_tags, mesh) = (segment.carry_tags, self.mesh(segment.mesh.as_ref()));
            let kind = self.kind(id, segment.tpid, vtep);
            let segment = kind.map(|kind| path::Segment { bridge, kind, carry_tags, mesh });
            next.set_segment(SegmentIx(ix), segment).map_err(|path::Full| Refusal::Full("tables.segments"))?;
        }
        Ok(())
    }

    /// What comes to a place, by the numbers of now.
    fn comer<'a>(&self, state: &'a Desired, change: usize, key: &'a ObjectKey) -> Option<Comer<'a>> {
        match key {
            ObjectKey::Peer(segment, address) => {
                let place = place(&self.segments, segment, Some(*address))?;
                let what = Coming::Peer { mesh: state.peer_mesh(segment, *address) };
                Some(Comer { change, place, floods: true, what })
            }
            ObjectKey::Endpoint(name, mac) => {
                let host = state.endpoints.get(name)?.get(mac)?;
                let place = place(&self.segments, &host.location.segment, host.location.peer)?;
                let floods = place.peer.is_some() && self.floods_to_endpoints(name);
                Some(Comer { change, place, floods, what: Coming::Endpoint { name, mac: *mac, host } })
            }
            _ => None,
        }
    }

    /// A peer or endpoint takes its place.
    fn arrive<'a>(&self, next: &mut Snapshot, comer: &Comer<'a>, claims: &mut ClaimShift<'a>) -> Result<(), Refusal> {
        let Place { bridge, segment, .. } = comer.place;
        let peer = self.reach.number(comer.place.peer);
        match comer.what {
            Coming::Peer { mesh } => {
                if let (Some(peer), Some(_)) = (peer, mesh) {
                    next.set_peer_mesh(segment, peer, Some(self.mesh(mesh)))
                        .map_err(|path::Full| Refusal::Full("tables.peers"))?;
                }
            }
            Coming::Endpoint { name, mac, host } => {
                let (ips, pairs) = (&host.ips[..], &host.allowed_pairs[..]);
                let addressed = !ips.is_empty() || pairs.iter().any(|pair| pair.mac.is_none_or(|of| of == mac));
                let placed = path::Host { at: path::Location { segment, peer }, addressed };
                next.set_endpoint(bridge, mac_addr(mac), Some(placed))
                    .map_err(|path::Full| Refusal::Full("tables.endpoints"))?;
                let claimant = Claimant { bridge, name, mac, ips, pairs };
                self.claims.arrive(next, claimant, claims).map_err(|taken| match taken {
                    Taken::By(ip, owner) => {
                        let owner = Mac::try_from(owner.0).unwrap_or(mac);
                        let owner = ObjectKey::Endpoint(name.clone(), owner);
                        let (address, field) = (ips[ip], format!("endpoint.ips[{ip}]"));
                        let (change, value) = (comer.change, address.to_string());
                        Refusal::Taken(Box::new(TakenAddress { change, field, value, address, owner }))
                    }
                    Taken::Full => Refusal::Full("tables.endpoints"),
                })?;
            }
        }
        Ok(())
    }

    /// The ports, in the order of their numbers.
    pub fn ports(&self) -> &[Name] {
        &self.ports
    }

    /// The number of a port.
    pub fn port(&self, name: &Name) -> Option<PortId> {
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

    /// The number of a bridge.
    pub fn bridge_number(&self, name: &Name) -> Option<BridgeId> {
        self.bridges.get(name).map(|(n, _)| BridgeId(n as u16))
    }

    /// The number of a segment.
    pub fn segment_number(&self, id: &SegmentId) -> Option<SegmentIx> {
        self.segments.get(id).map(|(n, _)| SegmentIx(n))
    }

    /// The name of a numbered bridge, for every number in use.
    pub fn bridge_names(&self) -> HashMap<BridgeId, Name> {
        self.bridges.iter().map(|(name, n, _)| (BridgeId(n as u16), name.clone())).collect()
    }

    /// The name of a numbered mesh, for every number in use.
    pub fn mesh_names(&self) -> HashMap<MeshId, Name> {
        self.meshes.iter().map(|(name, n, _)| (MeshId(n as u16 + 1), name.clone())).collect()
    }

    /// The name of a numbered router, for every number in use.
    pub fn router_names(&self) -> HashMap<RouterIx, Name> {
        self.routers.router_names()
    }

    /// The router and bridge of a numbered interface, for every number in use.
    pub fn interface_ids(&self) -> HashMap<InterfaceIx, (Name, Name)> {
        self.routers.interface_ids()
    }

    /// The id of a numbered segment, for every number in use.
    pub fn segment_ids(&self) -> HashMap<SegmentIx, SegmentId> {
        self.segments.iter().map(|(id, n, _)| (SegmentIx(n), id.clone())).collect()
    }
}

/// Brings near what the arrival of an endpoint reads and writes.
fn touch(next: &Snapshot, comer: &Comer<'_>) -> u64 {
    match comer.what {
        Coming::Endpoint { mac, host, .. } => next.touch_host(comer.place.bridge, mac_addr(mac), &host.ips),
        Coming::Peer { .. } => 0,
    }
}

/// A place in numbers, if its segment has one.
fn place(segments: &Numbers<SegmentId, SegmentEntry>, segment: &SegmentId, peer: Option<IpAddr>) -> Option<Place> {
    let (ix, entry) = segments.get(segment)?;
    let peer = match (entry.vtep, peer) {
        (Some(vtep), Some(address)) => Some((vtep, encap(segment)?, address)),
        _ => None,
    };
    Some(Place { bridge: entry.bridge, segment: SegmentIx(ix), peer })
}

pub(super) fn mac_addr(mac: Mac) -> MacAddr {
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
