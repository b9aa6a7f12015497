//! The configured state as the packet path reads it: one immutable [`Snapshot`] a generation.
//!
//! Owns: which bridge a frame belongs to, where a bridge floods, where its configured hosts are, what is reached
//! through which vtep. Cloning is cheap and an edit copies only what it touches; the manager edits a clone and hands
//! it to the workers whole. Judging whether a configuration makes sense is the manager's: an edit that names something
//! unknown is remembered, and has no effect on frames until what it names is there.

use super::buckets::Secret;
use super::cow::{CowMap, CowVec};
use super::objects::{
    Attachment, Bridge, BridgeSettings, Encap, Guard, Host, Location, Peer, PortInfo, Segment, SegmentKind, Vtep, fold,
};
use super::routing::Routing;
use super::{BridgeId, GuardIx, MeshId, PeerIx, Place, PortId, SegmentIx, VtepIx};
use crate::wire::MacAddr;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

/// There is no room in a table of the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// One generation of the configured state.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The number of this configuration.
    pub generation: u64,
    secret: Secret,
    ports: Arc<[PortInfo]>,
    /// By port × 8192 + VLAN identifier, 0 for untagged, and 4096 more for service tags.
    attachments: CowVec<Attachment>,
    /// From port and two tags to the segment's number; with an inner tag of 0, to how many there are.
    stacks: CowMap,
    pub(super) bridges: CowVec<Option<Arc<Bridge>>>,
    segments: CowVec<Option<Segment>>,
    /// By encapsulation and network: the segment's number and one, or 0.
    networks: [CowVec<u32>; Encap::COUNT],
    vteps: CowVec<Option<Arc<Vtep>>>,
    /// By port: the vteps on it.
    vteps_of_port: CowVec<Vec<VtepIx>>,
    peers: CowVec<Option<Peer>>,
    /// From [`Peer::key`] to its number.
    peer_numbers: CowMap,
    /// Pairs of bridge and peer that the bridge accepts frames from.
    listed: CowMap,
    /// From segment and peer to the mesh that the peer is in, where that is not the segment's.
    meshes: CowMap,
    /// From bridge and MAC to segment and peer, and whether it has addresses.
    endpoints: CowMap,
    /// From bridge and address to the MAC that it belongs to.
    owners: CowMap,
    /// From bridge and MAC to the number of what it may hold.
    guard_numbers: CowMap,
    guards: CowVec<Option<Arc<Guard>>>,
    pub(super) routing: Routing,
}

/// In an endpoint's entry, above its place: it has addresses.
const ADDRESSED: u64 = 1 << 40;
/// In an owner's entry: the MAC.
const MAC: u64 = (1 << 48) - 1;

/// Bridge and MAC as one key. Zero only for bridge 0 and the all-zero MAC, which is no host's.
#[inline]
pub(crate) fn mac_key(bridge: BridgeId, mac: MacAddr) -> u64 {
    let [a, b, c, d, e, f] = mac.0;
    u64::from(bridge.0) << 48 | u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

/// Bridge and address as a key and 16 bits more: of an IPv6 address, 78 bits of a keyed hash stand for it. That two addresses
/// of a bridge agree in them, nobody can bring about who does not know the secret; by chance, among a million addresses, the
/// likelihood is 2^-39.
#[inline]
pub(super) fn address_key(secret: Secret, bridge: BridgeId, address: IpAddr) -> (u64, u16) {
    match address {
        IpAddr::V4(v4) => (1 << 62 | u64::from(bridge.0) << 32 | u64::from(v4.to_bits()), 0),
        IpAddr::V6(v6) => {
            let folded = fold(secret, v6.to_bits());
            let again = secret.hash(fold(secret, v6.to_bits().rotate_left(40) ^ u128::from(bridge.0)));
            (3 << 62 | secret.mix(folded, u64::from(bridge.0)), (again >> 48) as u16)
        }
    }
}

fn listed_key(bridge: BridgeId, peer: PeerIx) -> u64 {
    1 << 63 | u64::from(bridge.0) << 32 | u64::from(peer.0)
}

fn mesh_key(segment: SegmentIx, peer: PeerIx) -> u64 {
    1 << 63 | u64::from(segment.0) << 32 | u64::from(peer.0)
}

fn stack_key(port: PortId, service: bool, outer: u16, inner: u16) -> u64 {
    1 << 63 | u64::from(port.0) << 32 | u64::from(service) << 24 | u64::from(outer) << 12 | u64::from(inner)
}

impl Snapshot {
    /// Generation 0: ports, and nothing configured on them.
    pub fn new(secret: Secret, ports: &[PortInfo]) -> Self {
        Self {
            generation: 0,
            secret,
            ports: ports.into(),
            attachments: CowVec::new(),
            stacks: CowMap::new(secret),
            bridges: CowVec::new(),
            segments: CowVec::new(),
            networks: core::array::from_fn(|_| CowVec::new()),
            vteps: CowVec::new(),
            vteps_of_port: CowVec::new(),
            peers: CowVec::new(),
            peer_numbers: CowMap::new(secret),
            listed: CowMap::new(secret),
            meshes: CowMap::new(secret),
            endpoints: CowMap::new(secret),
            owners: CowMap::new(secret),
            guard_numbers: CowMap::new(secret),
            guards: CowVec::new(),
            routing: Routing::new(secret),
        }
    }

    /// The secret of every hash in it; the workers' tables take the same, so that a key is hashed once.
    pub fn secret(&self) -> Secret {
        self.secret
    }

    /// What the ports are, of which there are as many as before: a configuration may be made before they are opened.
    pub fn set_ports(&mut self, ports: &[PortInfo]) {
        self.ports = ports.into();
    }

    /// The ports.
    #[inline]
    pub fn ports(&self) -> &[PortInfo] {
        &self.ports
    }

    /// What frames of `vid` on a port belong to; 0 stands for untagged. Service tags are a name space of their own.
    #[inline]
    pub fn attachment(&self, port: PortId, service: bool, vid: u16) -> Attachment {
        self.attachments.get(vlan_index(port, service, vid)).copied().unwrap_or_default()
    }

    /// The segment of frames with two tags on a port.
    #[inline]
    pub fn qinq(&self, port: PortId, service: bool, outer: u16, inner: u16) -> Option<SegmentIx> {
        let key = stack_key(port, service, outer, inner);
        self.stacks.get(self.secret.hash(key), key).filter(|_| inner != 0).map(|n| SegmentIx(n as u32))
    }

    /// The bridge.
    #[inline]
    pub fn bridge(&self, id: BridgeId) -> Option<&Bridge> {
        self.bridges.get(id.index())?.as_deref()
    }

    /// The segment.
    #[inline]
    pub fn segment(&self, ix: SegmentIx) -> Option<&Segment> {
        self.segments.get(ix.index())?.as_ref()
    }

    /// The port that a segment's frames come and go by.
    pub(crate) fn port_of(&self, ix: SegmentIx) -> Option<PortId> {
        match self.segment(ix)?.kind {
            SegmentKind::Vlan { port, .. } | SegmentKind::Qinq { port, .. } => Some(port),
            SegmentKind::Tunnel { vtep, .. } => Some(self.vtep(vtep)?.port),
        }
    }

    /// The segment of a tunnel's network: of that VNI, or VSID.
    #[inline]
    pub fn network(&self, encap: Encap, network: u32) -> Option<SegmentIx> {
        let number = *self.networks[encap as usize].get(network as usize)?;
        number.checked_sub(1).map(SegmentIx)
    }

    /// The mesh of a peer of a segment, of which the snapshot has the number if it is configured.
    #[inline]
    pub fn mesh(&self, ix: SegmentIx, segment: &Segment, peer: Option<PeerIx>) -> MeshId {
        let own = peer.filter(|_| self.meshes.len() > 0).and_then(|peer| {
            let key = mesh_key(ix, peer);
            self.meshes.get(self.secret.hash(key), key)
        });
        own.map_or(segment.mesh, |n| MeshId(n as u16))
    }

    /// The vtep.
    #[inline]
    pub fn vtep(&self, ix: VtepIx) -> Option<&Vtep> {
        self.vteps.get(ix.index())?.as_deref()
    }

    /// The vteps of a port.
    #[inline]
    pub fn vteps_of_port(&self, port: PortId) -> &[VtepIx] {
        self.vteps_of_port.get(port.index()).map_or(&[], Vec::as_slice)
    }

    /// The vtep with that address on a port.
    #[inline]
    pub fn vtep_at(&self, port: PortId, address: IpAddr) -> Option<VtepIx> {
        let is = |&&ix: &&VtepIx| self.vtep(ix).is_some_and(|v| v.address == address);
        self.vteps_of_port(port).iter().find(is).copied()
    }

    /// The peer.
    #[inline]
    pub fn peer(&self, ix: PeerIx) -> Option<Peer> {
        *self.peers.get(ix.index())?
    }

    /// The number of a configured peer.
    #[inline]
    pub fn peer_number(&self, peer: Peer) -> Option<PeerIx> {
        let key = peer.key(self.secret);
        let ix = self.peer_numbers.get(self.secret.hash(key), key).map(|n| PeerIx(n as u32))?;
        (self.peer(ix) == Some(peer)).then_some(ix)
    }

    /// Whether a bridge accepts tunnelled frames from a peer that it must list.
    #[inline]
    pub fn is_listed(&self, bridge: BridgeId, peer: PeerIx) -> bool {
        let key = listed_key(bridge, peer);
        self.listed.get(self.secret.hash(key), key).is_some()
    }

    /// Where the host with that [`mac_key`] is configured to be.
    #[inline]
    pub(crate) fn endpoint(&self, hash: u64, key: u64) -> Option<Place> {
        self.endpoints.get(hash, key).map(Place::from_bits)
    }

    /// Where the host with that MAC is configured to be on a bridge.
    pub fn endpoint_at(&self, bridge: BridgeId, mac: MacAddr) -> Option<Location> {
        let key = mac_key(bridge, mac);
        let at = self.endpoint(self.secret.hash(key), key)?;
        Some(Location { segment: at.segment(), peer: at.peer() })
    }

    /// Whether the addresses of the endpoint with that MAC are configured.
    pub fn is_addressed(&self, bridge: BridgeId, mac: MacAddr) -> bool {
        let key = mac_key(bridge, mac);
        self.endpoints.get(self.secret.hash(key), key).is_some_and(|bits| bits & ADDRESSED != 0)
    }

    /// To whom an address belongs on a bridge: to an endpoint's MAC, or (`Some(None)`) to those alone whose guard covers it.
    pub fn owner(&self, bridge: BridgeId, address: IpAddr) -> Option<Option<MacAddr>> {
        let (key, more) = address_key(self.secret, bridge, address);
        let bits = self.owners.get(self.secret.hash(key), key).filter(|bits| bits >> 48 == u64::from(more))?;
        Some((bits & MAC != 0).then(|| MacAddr::from_bits(bits & MAC)))
    }

    /// What a MAC may hold besides its endpoint's own addresses.
    pub fn guard(&self, bridge: BridgeId, mac: MacAddr) -> Option<&Guard> {
        let key = mac_key(bridge, mac);
        let number = self.guard_numbers.get(self.secret.hash(key), key)?;
        self.guards.get(number as usize)?.as_deref()
    }

    /// Brings the place of an endpoint's entry near.
    #[inline]
    pub(crate) fn touch_endpoint(&self, hash: u64) -> u64 {
        self.endpoints.touch(hash)
    }

    /// Brings near what an endpoint's entry and those of its addresses are read and written by. The reads of several
    /// endpoints overlap; the result only keeps them from being optimised away.
    pub fn touch_host(&self, bridge: BridgeId, mac: MacAddr, addresses: &[IpAddr]) -> u64 {
        let owner =
            |address: &IpAddr| self.owners.touch(self.secret.hash(address_key(self.secret, bridge, *address).0));
        addresses
            .iter()
            .map(owner)
            .fold(self.endpoints.touch(self.secret.hash(mac_key(bridge, mac))), u64::wrapping_add)
    }

    /// How many endpoints there are.
    pub fn endpoint_count(&self) -> usize {
        self.endpoints.len()
    }

    /// Creates, changes or (`None`) deletes a bridge. Its flood lists stay as they are.
    pub fn set_bridge(&mut self, id: BridgeId, settings: Option<BridgeSettings>) {
        let bridge = self.bridges.get_mut(id.index());
        match (bridge, settings) {
            (Some(bridge), Some(settings)) => {
                let before = core::mem::replace(&mut Arc::make_mut(bridge).settings, settings);
                if before.port_security != settings.port_security {
                    self.mark_attachments(id);
                }
            }
            (bridge, settings) => {
                *bridge = settings.map(|settings| Arc::new(Bridge::new(settings)));
            }
        }
    }

    /// Notes at a bridge's attachments whether it has port security, and its gateways.
    pub(super) fn mark_attachments(&mut self, id: BridgeId) {
        let Some(bridge) = self.bridges.get(id.index()).cloned().flatten() else { return };
        for &ix in &bridge.local {
            if let Some(&Segment { kind: SegmentKind::Vlan { port, vid }, .. }) = self.segment(ix) {
                *self.attachments.get_mut(vlan_index(port, false, vid.map_or(0, u16::from))) =
                    Attachment::Segment(ix, id, bridge.settings.port_security, bridge.gate);
            }
        }
    }

    /// Creates, changes or (`None`) deletes a segment. The bridge it names must be there. A tunnel segment is deleted
    /// after its peers ([`Self::set_flood`]).
    ///
    /// # Errors
    /// [`Full`]: the snapshot is not to be used.
    pub fn set_segment(&mut self, ix: SegmentIx, segment: Option<Segment>) -> Result<(), Full> {
        let before = core::mem::replace(self.segments.get_mut(ix.index()), segment);
        if let Some(old) = before {
            match old.kind {
                SegmentKind::Vlan { port, vid } => {
                    *self.attachments.get_mut(vlan_index(port, false, vid.map_or(0, u16::from))) = Attachment::None;
                }
                SegmentKind::Qinq { port, service, outer, inner } => {
                    self.stacks.remove(stack_key(port, service, outer.into(), inner.into()));
                    self.count_stack(port, service, outer.into(), -1)?;
                }
                SegmentKind::Tunnel { encap, network, .. } => {
                    *self.networks[encap as usize].get_mut(u32::from(network) as usize) = 0;
                }
            }
            if let Some(bridge) = self.bridges.get_mut(old.bridge.index()) {
                Arc::make_mut(bridge).local.retain(|&s| s != ix);
            }
        }
        let Some(new) = segment else { return Ok(()) };
        match new.kind {
            SegmentKind::Vlan { port, vid } => {
                let bridge = self.bridge(new.bridge);
                let (secure, gate) = bridge.map_or_else(Default::default, |b| (b.settings.port_security, b.gate));
                *self.attachments.get_mut(vlan_index(port, false, vid.map_or(0, u16::from))) =
                    Attachment::Segment(ix, new.bridge, secure, gate);
            }
            SegmentKind::Qinq { port, service, outer, inner } => {
                if !self.stacks.insert(stack_key(port, service, outer.into(), inner.into()), u64::from(ix.0)) {
                    return Err(Full);
                }
                self.count_stack(port, service, outer.into(), 1)?;
            }
            SegmentKind::Tunnel { encap, network, .. } => {
                *self.networks[encap as usize].get_mut(u32::from(network) as usize) = ix.0 + 1;
                return Ok(());
            }
        }
        if let Some(bridge) = self.bridges.get_mut(new.bridge.index()) {
            Arc::make_mut(bridge).local.push(ix);
        }
        Ok(())
    }

    /// Counts the segments behind an outer tag.
    fn count_stack(&mut self, port: PortId, service: bool, outer: u16, by: i64) -> Result<(), Full> {
        let key = stack_key(port, service, outer, 0);
        let count = self.stacks.get(self.secret.hash(key), key).unwrap_or(0).saturating_add_signed(by);
        let attachment = self.attachments.get_mut(vlan_index(port, service, outer));
        if count == 0 {
            *attachment = Attachment::None;
            self.stacks.remove(key);
        } else if !self.stacks.insert(key, count) {
            return Err(Full);
        } else {
            *attachment = Attachment::Stacked;
        }
        Ok(())
    }

    /// Creates, changes or (`None`) deletes a vtep. The untagged traffic of a port with vteps is the underlay's.
    pub fn set_vtep(&mut self, ix: VtepIx, vtep: Option<Vtep>) {
        let port = vtep.as_ref().map(|v| v.port);
        let before = core::mem::replace(self.vteps.get_mut(ix.index()), vtep.map(Arc::new));
        if let Some(old) = before {
            let on_port = self.vteps_of_port.get_mut(old.port.index());
            on_port.retain(|&v| v != ix);
            if on_port.is_empty() {
                *self.attachments.get_mut(vlan_index(old.port, false, 0)) = Attachment::None;
            }
        }
        if let Some(port) = port {
            self.vteps_of_port.get_mut(port.index()).push(ix);
            *self.attachments.get_mut(vlan_index(port, false, 0)) = Attachment::Underlay;
        }
    }

    /// Creates or (`None`) deletes a peer. A number stands for one peer as long as anything names it.
    ///
    /// # Errors
    /// [`Full`]: nothing has changed.
    pub fn set_peer(&mut self, ix: PeerIx, peer: Option<Peer>) -> Result<(), Full> {
        if let Some(new) = peer
            && !self.peer_numbers.insert(new.key(self.secret), u64::from(ix.0))
        {
            return Err(Full);
        }
        let before = core::mem::replace(self.peers.get_mut(ix.index()), peer);
        if let Some(old) = before.filter(|&old| Some(old) != peer) {
            self.peer_numbers.remove(old.key(self.secret));
        }
        Ok(())
    }

    /// Adds a peer to, or takes it from, what a tunnel segment's bridge floods to.
    pub fn set_flood(&mut self, segment: SegmentIx, peer: PeerIx, flood: bool) {
        let Some(bridge) = self.segment(segment).map(|s| s.bridge) else { return };
        let Some(bridge) = self.bridges.get_mut(bridge.index()) else { return };
        let remote = &mut Arc::make_mut(bridge).remote;
        match remote.iter().position(|&target| target == (segment, peer)) {
            Some(at) if !flood => drop(remote.remove(at)),
            None if flood => remote.push((segment, peer)),
            _ => {}
        }
    }

    /// Adds a peer to, or takes it from, those that a bridge with `listed_only` accepts frames from.
    ///
    /// # Errors
    /// [`Full`]: nothing has changed.
    pub fn list_peer(&mut self, bridge: BridgeId, peer: PeerIx, listed: bool) -> Result<(), Full> {
        let key = listed_key(bridge, peer);
        if !listed {
            self.listed.remove(key);
        } else if !self.listed.insert(key, 1) {
            return Err(Full);
        }
        Ok(())
    }

    /// Puts a peer of a segment in a mesh that is not the segment's, or (`None`) in the segment's.
    ///
    /// # Errors
    /// [`Full`]: nothing has changed.
    pub fn set_peer_mesh(&mut self, segment: SegmentIx, peer: PeerIx, mesh: Option<MeshId>) -> Result<(), Full> {
        let key = mesh_key(segment, peer);
        match mesh {
            None => drop(self.meshes.remove(key)),
            Some(mesh) if self.meshes.insert(key, u64::from(mesh.0)) => {}
            Some(_) => return Err(Full),
        }
        Ok(())
    }

    /// Places a host, or (`None`) forgets its place.
    ///
    /// # Errors
    /// [`Full`]: nothing has changed.
    pub fn set_endpoint(&mut self, bridge: BridgeId, mac: MacAddr, host: Option<Host>) -> Result<(), Full> {
        let key = mac_key(bridge, mac);
        match host {
            None => drop(self.endpoints.remove(key)),
            Some(Host { at: Location { segment, peer }, addressed }) => {
                let addressed = if addressed { ADDRESSED } else { 0 };
                if !self.endpoints.insert(key, Place::new(segment, peer).to_bits() | addressed) {
                    return Err(Full);
                }
            }
        }
        Ok(())
    }

    /// Says to whom an address belongs on a bridge: to a MAC, to guards alone (`Some(None)`), or (`None`) to nobody.
    ///
    /// # Errors
    /// [`Full`]: nothing has changed.
    pub fn set_owner(&mut self, bridge: BridgeId, address: IpAddr, owner: Option<Option<MacAddr>>) -> Result<(), Full> {
        let (key, more) = address_key(self.secret, bridge, address);
        match owner {
            None => drop(self.owners.remove(key)),
            Some(mac) => {
                if !self.owners.insert(key, u64::from(more) << 48 | mac.map_or(0, |mac| mac.to_bits())) {
                    return Err(Full);
                }
            }
        }
        Ok(())
    }

    /// Says what a MAC may hold besides its endpoint's own addresses, or (`None`) that it may not. A number stands for one MAC of
    /// one bridge.
    ///
    /// # Errors
    /// [`Full`]: nothing has changed.
    pub fn set_guard(&mut self, ix: GuardIx, bridge: BridgeId, mac: MacAddr, guard: Option<Guard>) -> Result<(), Full> {
        let key = mac_key(bridge, mac);
        if guard.is_none() {
            self.guard_numbers.remove(key);
        } else if !self.guard_numbers.insert(key, u64::from(ix.0)) {
            return Err(Full);
        }
        *self.guards.get_mut(ix.index()) = guard.map(Arc::new);
        Ok(())
    }
}

fn vlan_index(port: PortId, service: bool, vid: u16) -> usize {
    port.index() << 13 | usize::from(service) << 12 | usize::from(vid & 0xfff)
}
