//! The configured state as the packet path reads it: one immutable [`Snapshot`] a generation.
//!
//! Owns: which bridge a frame belongs to, where a bridge floods, where its configured hosts are, what is reached
//! through which vtep. Cloning is cheap and an edit copies only what it touches; the manager edits a clone and hands
//! it to the workers whole. Judging whether a configuration makes sense is the manager's: an edit that names something
//! unknown is remembered, and has no effect on frames until what it names is there.

use super::buckets::Secret;
use super::cow::{CowMap, CowVec};
use super::{BridgeId, PeerIx, Place, PortId, SegmentIx, VtepIx};
use crate::wire::{MacAddr, VlanId, Vni};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

/// What the path knows of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortInfo {
    /// Its own MAC, which is also that of the vteps on it.
    pub mac: MacAddr,
    /// The largest packet behind the Ethernet header and the segment's tag, bytes.
    pub mtu: u16,
}

/// What an operator sets on a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BridgeSettings {
    /// The most MACs it learns, on each worker.
    pub mac_limit: u32,
    /// Seconds of silence after which a learned MAC is forgotten.
    pub mac_ageing: u16,
    /// Whether a frame to an unknown MAC is flooded; else it is dropped.
    pub flood_unknown: bool,
    /// Whether tunnelled frames are accepted only from listed peers ([`Snapshot::list_peer`]).
    pub listed_only: bool,
}

/// A bridge: its settings, and where it floods.
#[derive(Clone, Debug)]
pub struct Bridge {
    /// What the operator set.
    pub settings: BridgeSettings,
    /// Its VLAN segments.
    pub local: Vec<SegmentIx>,
    /// The peers behind its tunnel segments that flooded frames go to.
    pub remote: Vec<(SegmentIx, PeerIx)>,
}

/// How frames come and go on a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    /// With this tag on this port, or without one.
    Vlan {
        /// The port.
        port: PortId,
        /// The tag; `None` for untagged and priority-tagged frames.
        vid: Option<VlanId>,
    },
    /// In VXLAN, from this vtep.
    Vxlan {
        /// The network.
        vni: Vni,
        /// The local tunnel endpoint.
        vtep: VtepIx,
    },
}

/// An attachment of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The bridge it belongs to.
    pub bridge: BridgeId,
    /// How its frames come and go.
    pub kind: SegmentKind,
    /// Whether frames inside a tunnel may carry a tag of their own.
    pub carry_tags: bool,
}

/// A local tunnel endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vtep {
    /// The port whose untagged traffic is its underlay.
    pub port: PortId,
    /// Its address.
    pub address: Ipv4Addr,
    /// Length of the prefix that is reached without a gateway, bits.
    pub prefix_len: u8,
    /// The next hop to everything else.
    pub gateway: Option<Ipv4Addr>,
    /// Next hops whose MAC is configured.
    pub neighbours: Vec<(Ipv4Addr, MacAddr)>,
}

impl Vtep {
    /// The next hop towards `address`; `None` without a route.
    pub fn next_hop(&self, address: Ipv4Addr) -> Option<Ipv4Addr> {
        if self.is_on_link(address) { Some(address) } else { self.gateway }
    }

    /// Whether `address` is reached without a gateway.
    pub fn is_on_link(&self, address: Ipv4Addr) -> bool {
        let host_bits = 32 - u32::from(self.prefix_len.min(32));
        (address.to_bits() ^ self.address.to_bits()).checked_shr(host_bits).unwrap_or(0) == 0
    }
}

/// A remote tunnel endpoint, as seen from one vtep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The local end.
    pub vtep: VtepIx,
    /// The remote end.
    pub address: Ipv4Addr,
}

impl Peer {
    /// A non-zero key for it.
    #[inline]
    pub(super) fn key(self) -> u64 {
        1 << 63 | u64::from(self.vtep.0) << 32 | u64::from(self.address.to_bits())
    }
}

/// Where a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// The segment.
    pub segment: SegmentIx,
    /// The peer behind it; exactly when the segment is a tunnel.
    pub peer: Option<PeerIx>,
}

/// The VLAN space of a port, entry by entry: what a frame with that tag belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attachment {
    /// Nothing: it is dropped.
    #[default]
    None,
    /// A segment, and its bridge.
    Segment(SegmentIx, BridgeId),
    /// The underlay: the vteps of the port.
    Underlay,
}

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
    /// By port × 4096 + VLAN identifier, 0 for untagged.
    attachments: CowVec<Attachment>,
    bridges: CowVec<Option<Arc<Bridge>>>,
    segments: CowVec<Option<Segment>>,
    /// By VNI: the segment's number and one, or 0.
    vnis: CowVec<u32>,
    vteps: CowVec<Option<Arc<Vtep>>>,
    /// By port: the vteps on it.
    vteps_of_port: CowVec<Vec<VtepIx>>,
    peers: CowVec<Option<Peer>>,
    /// From [`Peer::key`] to its number.
    peer_numbers: CowMap,
    /// Pairs of bridge and peer that the bridge accepts frames from.
    listed: CowMap,
    /// From bridge and MAC to segment and peer.
    endpoints: CowMap,
}

/// Bridge and MAC as one key. Zero only for bridge 0 and the all-zero MAC, which is no host's.
#[inline]
pub(crate) fn mac_key(bridge: BridgeId, mac: MacAddr) -> u64 {
    let [a, b, c, d, e, f] = mac.0;
    u64::from(bridge.0) << 48 | u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

fn listed_key(bridge: BridgeId, peer: PeerIx) -> u64 {
    1 << 63 | u64::from(bridge.0) << 32 | u64::from(peer.0)
}

impl Snapshot {
    /// Generation 0: ports, and nothing configured on them.
    pub fn new(secret: Secret, ports: &[PortInfo]) -> Self {
        Self {
            generation: 0,
            secret,
            ports: ports.into(),
            attachments: CowVec::new(),
            bridges: CowVec::new(),
            segments: CowVec::new(),
            vnis: CowVec::new(),
            vteps: CowVec::new(),
            vteps_of_port: CowVec::new(),
            peers: CowVec::new(),
            peer_numbers: CowMap::new(secret),
            listed: CowMap::new(secret),
            endpoints: CowMap::new(secret),
        }
    }

    /// The secret of every hash in it; the workers' tables take the same, so that a key is hashed once.
    pub fn secret(&self) -> Secret {
        self.secret
    }

    /// The ports.
    #[inline]
    pub fn ports(&self) -> &[PortInfo] {
        &self.ports
    }

    /// What frames of `vid` on a port belong to; 0 stands for untagged.
    #[inline]
    pub fn attachment(&self, port: PortId, vid: u16) -> Attachment {
        self.attachments.get(vlan_index(port, vid)).copied().unwrap_or_default()
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

    /// The segment of a VXLAN network.
    #[inline]
    pub fn vni(&self, vni: Vni) -> Option<SegmentIx> {
        let number = *self.vnis.get(u32::from(vni) as usize)?;
        number.checked_sub(1).map(SegmentIx)
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
    pub fn vtep_at(&self, port: PortId, address: Ipv4Addr) -> Option<VtepIx> {
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
        let key = peer.key();
        self.peer_numbers.get(self.secret.hash(key), key).map(|n| PeerIx(n as u32))
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

    /// Brings the place of an endpoint's entry near.
    #[inline]
    pub(crate) fn touch_endpoint(&self, hash: u64) -> u64 {
        self.endpoints.touch(hash)
    }

    /// How many endpoints there are.
    pub fn endpoint_count(&self) -> usize {
        self.endpoints.len()
    }

    /// Creates, changes or (`None`) deletes a bridge. Its flood lists stay as they are.
    pub fn set_bridge(&mut self, id: BridgeId, settings: Option<BridgeSettings>) {
        let bridge = self.bridges.get_mut(id.index());
        match (bridge, settings) {
            (Some(bridge), Some(settings)) => Arc::make_mut(bridge).settings = settings,
            (bridge, settings) => {
                *bridge = settings.map(|settings| Arc::new(Bridge { settings, local: Vec::new(), remote: Vec::new() }));
            }
        }
    }

    /// Creates, changes or (`None`) deletes a segment. The bridge it names must be there. A tunnel segment is deleted
    /// after its peers ([`Self::set_flood`]).
    pub fn set_segment(&mut self, ix: SegmentIx, segment: Option<Segment>) {
        let before = core::mem::replace(self.segments.get_mut(ix.index()), segment);
        if let Some(old) = before {
            match old.kind {
                SegmentKind::Vlan { port, vid } => {
                    *self.attachments.get_mut(vlan_index(port, vid.map_or(0, u16::from))) = Attachment::None;
                    if let Some(bridge) = self.bridges.get_mut(old.bridge.index()) {
                        Arc::make_mut(bridge).local.retain(|&s| s != ix);
                    }
                }
                SegmentKind::Vxlan { vni, .. } => *self.vnis.get_mut(u32::from(vni) as usize) = 0,
            }
        }
        if let Some(new) = segment {
            match new.kind {
                SegmentKind::Vlan { port, vid } => {
                    *self.attachments.get_mut(vlan_index(port, vid.map_or(0, u16::from))) =
                        Attachment::Segment(ix, new.bridge);
                    if let Some(bridge) = self.bridges.get_mut(new.bridge.index()) {
                        Arc::make_mut(bridge).local.push(ix);
                    }
                }
                SegmentKind::Vxlan { vni, .. } => *self.vnis.get_mut(u32::from(vni) as usize) = ix.0 + 1,
            }
        }
    }

    /// Creates, changes or (`None`) deletes a vtep. The untagged traffic of a port with vteps is the underlay's.
    pub fn set_vtep(&mut self, ix: VtepIx, vtep: Option<Vtep>) {
        let port = vtep.as_ref().map(|v| v.port);
        let before = core::mem::replace(self.vteps.get_mut(ix.index()), vtep.map(Arc::new));
        if let Some(old) = before {
            let on_port = self.vteps_of_port.get_mut(old.port.index());
            on_port.retain(|&v| v != ix);
            if on_port.is_empty() {
                *self.attachments.get_mut(vlan_index(old.port, 0)) = Attachment::None;
            }
        }
        if let Some(port) = port {
            self.vteps_of_port.get_mut(port.index()).push(ix);
            *self.attachments.get_mut(vlan_index(port, 0)) = Attachment::Underlay;
        }
    }

    /// Creates or (`None`) deletes a peer. A number stands for one peer as long as anything names it.
    ///
    /// # Errors
    /// [`Full`]: nothing has changed.
    pub fn set_peer(&mut self, ix: PeerIx, peer: Option<Peer>) -> Result<(), Full> {
        if let Some(new) = peer
            && !self.peer_numbers.insert(new.key(), u64::from(ix.0))
        {
            return Err(Full);
        }
        let before = core::mem::replace(self.peers.get_mut(ix.index()), peer);
        if let Some(old) = before.filter(|&old| Some(old) != peer) {
            self.peer_numbers.remove(old.key());
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

    /// Places a host, or (`None`) forgets its place.
    ///
    /// # Errors
    /// [`Full`]: nothing has changed.
    pub fn set_endpoint(&mut self, bridge: BridgeId, mac: MacAddr, at: Option<Location>) -> Result<(), Full> {
        let key = mac_key(bridge, mac);
        match at {
            None => drop(self.endpoints.remove(key)),
            Some(Location { segment, peer }) => {
                if !self.endpoints.insert(key, Place::new(segment, peer).to_bits()) {
                    return Err(Full);
                }
            }
        }
        Ok(())
    }
}

fn vlan_index(port: PortId, vid: u16) -> usize {
    port.index() << 12 | usize::from(vid & 0xfff)
}
