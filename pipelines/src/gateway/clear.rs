//! Clear: forgetting what was learned because an operator says so, not because time has passed.
//!
//! Owns: doing so in pieces, so that no turn lasts long. What still talks is learned again with its next frame.

use super::learn::Fact;
use super::pipeline::Gateway;
use crate::Frame;
use crate::tables::{BridgeId, KEYS, Place, Snapshot, mac_key};
use crate::wire::MacAddr;
use core::net::IpAddr;

/// What is to be forgotten of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forget {
    /// Where that host is, or every host, and how often it moved: a frozen one thaws.
    Macs(BridgeId, Option<MacAddr>),
    /// Who has that address, or every address.
    Bindings(BridgeId, Option<IpAddr>),
}

impl Forget {
    /// Whether a fact would bring it back.
    pub fn covers(self, fact: &Fact) -> bool {
        match (self, *fact) {
            (Forget::Macs(here, only), Fact::Mac { bridge, mac, .. } | Fact::Frozen { bridge, mac, .. }) => {
                bridge == here && only.is_none_or(|only| only == mac)
            }
            (
                Forget::Bindings(here, only),
                Fact::Binding { bridge, address, .. } | Fact::BindingGone { bridge, address, .. },
            ) => bridge == here && only.is_none_or(|only| only == address),
            _ => false,
        }
    }
}

impl<F: Frame> Gateway<F> {
    /// Forgets a piece of that, from `cursor` on, and withdraws offers of it that were not told yet. How many entries
    /// were forgotten, and the cursor to go on with, or `None` when it came by all.
    pub fn clear(&mut self, snapshot: &Snapshot, what: Forget, cursor: usize) -> (u64, Option<usize>) {
        self.offers.retain(|fact| !what.covers(fact));
        match what {
            Forget::Macs(bridge, Some(mac)) => {
                let key = mac_key(bridge, mac);
                (u64::from(self.clear_mac(snapshot.secret().hash(key), key)), None)
            }
            Forget::Macs(bridge, None) => self.clear_macs(snapshot, bridge, cursor),
            Forget::Bindings(bridge, Some(address)) => (u64::from(self.bindings.clear(bridge, address)), None),
            Forget::Bindings(bridge, None) => self.bindings.clear_some(bridge, cursor),
        }
    }

    fn clear_macs(&mut self, snapshot: &Snapshot, bridge: BridgeId, cursor: usize) -> (u64, Option<usize>) {
        let mut keys = heapless::Vec::<u64, KEYS>::new();
        // No more keys than there is room for.
        let next = self.macs.keys_of(bridge, cursor, |key| {
            let _ = keys.push(key);
        });
        for &key in &keys {
            self.clear_mac(snapshot.secret().hash(key), key);
        }
        (keys.len() as u64, next)
    }

    fn clear_mac(&mut self, hash: u64, key: u64) -> bool {
        self.movers.forget(hash, key);
        let Some(entry) = self.macs.remove(hash, key) else { return false };
        if let Some(peer) = Place::peer(entry.place) {
            self.peers.release(peer);
            self.peers.reclaim();
        }
        true
    }
}
