//! Remote endpoints on the packet path: who has a number, who is listed, who gets flooded frames.
//!
//! Owns: counting who names each of them, and the numbers of peers. A peer is there while a peer or an endpoint of the
//! desired state is at it; a bridge floods to it while a peer object says so or, where the bridge floods to its endpoints,
//! one of them is behind it.

use super::numbers::Numbers;
use super::translate::Refusal;
use crate::config::Tables;
use rustc_hash::{FxHashMap, FxHashSet};
use std::net::IpAddr;
use weir_pipelines::tables as path;
use weir_pipelines::tables::{BridgeId, Encap, PeerIx, SegmentIx, Snapshot, VtepIx};

pub(super) type PeerKey = (VtepIx, Encap, IpAddr);
type ListKey = (BridgeId, PeerKey);
type FloodKey = (SegmentIx, PeerKey);

/// Where a peer or an endpoint is, in numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) bridge: BridgeId,
    pub(super) segment: SegmentIx,
    pub(super) peer: Option<PeerKey>,
}

/// How many more, or fewer, objects name each peer.
#[derive(Default)]
pub(super) struct Shift {
    peers: FxHashMap<PeerKey, i64>,
    listed: FxHashMap<ListKey, i64>,
    floods: FxHashMap<FloodKey, i64>,
    /// Taken off its bridge's flood list, whether or not it comes back.
    unflooded: FxHashSet<FloodKey>,
}

impl Shift {
    /// `floods` is whether it is also a reason to flood there.
    pub(super) fn add(&mut self, place: &Place, floods: bool, by: i64) {
        let Some(peer) = place.peer else { return };
        *self.peers.entry(peer).or_default() += by;
        *self.listed.entry((place.bridge, peer)).or_default() += by;
        if floods {
            *self.floods.entry((place.segment, peer)).or_default() += by;
        }
    }
}

/// Who is known, and how many name it.
#[derive(Debug)]
pub(super) struct Reach {
    /// Values: how many peers and endpoints name it.
    peers: Numbers<PeerKey, u32>,
    /// Values: how many of the bridge's peers and endpoints are behind it. The numbers mean nothing.
    listed: Numbers<ListKey, u32>,
    /// Values: how many reasons there are to flood to it. The numbers mean nothing.
    floods: Numbers<FloodKey, u32>,
}

impl Reach {
    pub(super) fn new(limits: &Tables) -> Self {
        Self {
            peers: Numbers::new(limits.peers, limits.peer_numbers()),
            listed: Numbers::new(u32::MAX, u32::MAX),
            floods: Numbers::new(u32::MAX, u32::MAX),
        }
    }

    pub(super) fn peer_count(&self) -> usize {
        self.peers.count()
    }

    pub(super) fn number(&self, peer: Option<PeerKey>) -> Option<PeerIx> {
        self.peers.get(&peer?).map(|(ix, _)| PeerIx(ix))
    }

    pub(super) fn keep(&mut self) {
        self.peers.keep();
        self.listed.keep();
        self.floods.keep();
    }

    pub(super) fn undo(&mut self) {
        self.peers.undo();
        self.listed.undo();
        self.floods.undo();
    }

    /// Takes off the flood lists whom nobody that stays names, and all who are on segments that go elsewhere. `shift` has
    /// what leaves and not yet what comes; segments and peers have the numbers of before.
    pub(super) fn unflood(&self, next: &mut Snapshot, shift: &mut Shift, moving: &FxHashSet<SegmentIx>) {
        for (key, by) in &shift.floods {
            let before = self.floods.get(key).map_or(0, |(_, n)| *n);
            if (shifted(before, *by) == 0 || moving.contains(&key.0))
                && let Some(ix) = self.number(Some(key.1))
            {
                next.set_flood(key.0, ix, false);
                shift.unflooded.insert(*key);
            }
        }
    }

    /// Peers that nobody names any more go; those that are new get numbers, and are listed and flooded to.
    pub(super) fn settle(&mut self, next: &mut Snapshot, shift: Shift) -> Result<(), Refusal> {
        // In an order of their own, so that the same batch always gives the same numbers.
        let mut listed: Vec<_> = shift.listed.into_iter().filter(|(_, by)| *by != 0).collect();
        let mut peers: Vec<_> = shift.peers.into_iter().filter(|(_, by)| *by != 0).collect();
        let mut floods: Vec<_> = shift.floods.into_iter().collect();
        listed.sort_unstable();
        peers.sort_unstable();
        floods.sort_unstable();
        for (key, by) in &listed {
            let count = self.listed.get(key).map_or(0, |(_, n)| *n);
            let left = shifted(count, *by);
            if left > 0 {
                continue;
            }
            self.listed.free(key);
            if let Some(ix) = self.number(Some(key.1)) {
                let _ = next.list_peer(key.0, ix, false);
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
            let ix = self.peers.put(key, left).ok_or(Refusal::Full("tables.peers"))?;
            if before == 0 {
                let (vtep, encap, address) = *key;
                let peer = path::Peer { vtep, encap, address };
                next.set_peer(PeerIx(ix), Some(peer)).map_err(|path::Full| Refusal::Full("tables.peers"))?;
            }
        }
        for (key, by) in &listed {
            let before = self.listed.get(key).map_or(0, |(_, n)| *n);
            let left = shifted(before, *by);
            if left == 0 {
                continue;
            }
            self.listed.put(key, left).ok_or(Refusal::Full("tables.peers"))?;
            if before == 0
                && let Some(ix) = self.number(Some(key.1))
            {
                next.list_peer(key.0, ix, true).map_err(|path::Full| Refusal::Full("tables.peers"))?;
            }
        }
        for (key, by) in &floods {
            let before = self.floods.get(key).map_or(0, |(_, n)| *n);
            let left = shifted(before, *by);
            if left == 0 {
                self.floods.free(key);
                continue;
            }
            self.floods.put(key, left).ok_or(Refusal::Full("tables.peers"))?;
            if (before == 0 || shift.unflooded.contains(key))
                && let Some(ix) = self.number(Some(key.1))
            {
                next.set_flood(key.0, ix, true);
            }
        }
        Ok(())
    }
}

pub(super) fn shifted(count: u32, by: i64) -> u32 {
    u32::try_from(i64::from(count) + by).unwrap_or(0)
}
