//! Clear: forgetting what was learned because an operator says so, not because time has passed.
//!
//! Owns: doing so in pieces, so that no turn lasts long. What still talks is learned again with its next frame.

use super::pipeline::Gateway;
use crate::Frame;
use crate::tables::{BridgeId, KEYS, Place, Snapshot, mac_key};
use crate::wire::MacAddr;
use core::net::IpAddr;

impl<F: Frame> Gateway<F> {
    /// Forgets a learned MAC, and that it moved: a frozen one thaws. Whether it was known. Offers that were not told yet
    /// are withdrawn.
    pub fn clear_mac(&mut self, snapshot: &Snapshot, bridge: BridgeId, mac: MacAddr) -> bool {
        let key = mac_key(bridge, mac);
        self.offers.retain(|fact| !fact.is_of(bridge, Some(mac)));
        self.clear_key(snapshot.secret().hash(key), key)
    }

    /// Forgets learned MACs of a bridge, from `cursor` on, a few hundred buckets at a time. How many, and the cursor to
    /// go on with, or `None` when it came by all.
    pub fn clear_macs(&mut self, snapshot: &Snapshot, bridge: BridgeId, cursor: usize) -> (u64, Option<usize>) {
        self.offers.retain(|fact| !fact.is_of(bridge, None));
        let mut keys = heapless::Vec::<u64, KEYS>::new();
        // No more keys than there is room for.
        let next = self.macs.keys_of(bridge, cursor, |key| {
            let _ = keys.push(key);
        });
        for &key in &keys {
            self.clear_key(snapshot.secret().hash(key), key);
        }
        (keys.len() as u64, next)
    }

    /// Forgets a learned binding. Whether it was known.
    pub fn clear_binding(&mut self, bridge: BridgeId, address: IpAddr) -> bool {
        self.bindings.clear(bridge, address)
    }

    /// Forgets learned bindings of a bridge, from `cursor` on, a thousand entries at a time, like [`Self::clear_macs`].
    pub fn clear_bindings(&mut self, bridge: BridgeId, cursor: usize) -> (u64, Option<usize>) {
        self.bindings.clear_some(bridge, cursor)
    }

    fn clear_key(&mut self, hash: u64, key: u64) -> bool {
        self.movers.forget(hash, key);
        let Some(entry) = self.macs.remove(hash, key) else { return false };
        if let Some(peer) = Place::peer(entry.place) {
            self.peers.release(peer);
            self.peers.reclaim();
        }
        true
    }
}
