//! Remote tunnel endpoints, by number, as learned MACs name them.
//!
//! Owns: the numbers of those that are not configured, which are heard of from their frames and have numbers behind the
//! snapshot's for as long as a learned MAC is at them. How they are reached is in `gateway/ways.rs`.

use super::buckets::{self, Bucket, Secret};
use super::{Peer, PeerIx, Snapshot};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// Whom a number stands for.
#[derive(Clone, Copy, Debug, Default)]
struct Holder {
    peer: Option<Peer>,
    /// How many learned MACs are at it; only counted for those that are not configured.
    macs: u32,
    /// Whether it is among those to be given back.
    idle: bool,
}

/// The table.
pub struct PeerTable {
    holders: Vec<Holder>,
    configured: usize,
    /// From [`Peer::key`] to number, of those that are not configured.
    index: Box<[Bucket]>,
    free: Vec<u32>,
    /// Numbers whose last MAC is gone, and that stand for their peer until [`PeerTable::reclaim`].
    idle: Vec<u32>,
    secret: Secret,
    /// How often a number was given back.
    releases: u64,
}

impl PeerTable {
    /// A table for `configured` numbers of the snapshot's, and `learned` others.
    pub fn new(secret: Secret, configured: usize, learned: usize) -> Self {
        let total = configured + learned;
        Self {
            holders: vec![Holder::default(); total],
            configured,
            index: vec![Bucket::default(); (learned / 2 + 1).next_power_of_two()].into(),
            // The last one given back is the next handed out: no learned MAC names it any more.
            free: (configured as u32..total as u32).rev().collect(),
            idle: Vec::with_capacity(learned),
            secret,
            releases: 0,
        }
    }

    /// How many peers it holds that are not configured.
    pub fn learned(&self) -> usize {
        self.learned_capacity() - self.free.len()
    }

    /// The most of them that it holds.
    pub fn learned_capacity(&self) -> usize {
        self.holders.len() - self.configured
    }

    /// How often a number of a peer that is not configured was given back: until then, a number stands for one peer.
    #[inline]
    pub(crate) fn releases(&self) -> u64 {
        self.releases
    }

    /// The number of a peer, if it has one.
    pub(crate) fn find(&self, snapshot: &Snapshot, peer: Peer) -> Option<PeerIx> {
        snapshot.peer_number(peer).or_else(|| {
            let key = peer.key(self.secret);
            let (b, s) = buckets::find(&self.index, self.secret.hash(key), key)?;
            let number = self.index[b].values[s];
            (self.holders[number as usize].peer == Some(peer)).then_some(PeerIx(number as u32))
        })
    }

    /// The number of a peer, which gets one if it has none; `None` if there is none left.
    pub(crate) fn intern(&mut self, snapshot: &Snapshot, peer: Peer) -> Option<PeerIx> {
        if let Some(ix) = self.find(snapshot, peer) {
            return Some(ix);
        }
        let number = self.free.pop()?;
        if !buckets::insert(&mut self.index, self.secret, peer.key(self.secret), u64::from(number)) {
            self.free.push(number);
            return None;
        }
        self.holders[number as usize] = Holder { peer: Some(peer), macs: 0, idle: false };
        Some(PeerIx(number))
    }

    /// Whom a number stands for.
    pub fn peer(&self, snapshot: &Snapshot, ix: PeerIx) -> Option<Peer> {
        if ix.index() < self.configured { snapshot.peer(ix) } else { self.holders.get(ix.index())?.peer }
    }

    /// Counts one more learned MAC at a peer.
    pub(crate) fn hold(&mut self, ix: PeerIx) {
        if let Some(holder) = self.holders.get_mut(ix.index()) {
            holder.macs += 1;
        }
    }

    /// Counts one learned MAC less at a peer. One that is not configured gives its number back after the last.
    pub(crate) fn release(&mut self, ix: PeerIx) {
        let Some(holder) = self.holders.get_mut(ix.index()) else { return };
        holder.macs = holder.macs.saturating_sub(1);
        self.release_if_unused(ix);
    }

    /// Notes that a peer that was interned is not used: its number may be given back.
    pub(crate) fn release_if_unused(&mut self, ix: PeerIx) {
        let Some(holder) = self.holders.get_mut(ix.index()) else { return };
        if ix.index() >= self.configured && holder.macs == 0 && holder.peer.is_some() && !holder.idle {
            holder.idle = true;
            // As many as there are numbers at most: each is in it once.
            self.idle.push(ix.0);
        }
    }

    /// Gives back the numbers that nobody needs. Not before a burst is through: frames that were taken apart with a number must
    /// not find another peer by it.
    #[inline]
    pub(crate) fn reclaim(&mut self) {
        if !self.idle.is_empty() {
            self.reclaim_all();
        }
    }

    #[cold]
    fn reclaim_all(&mut self) {
        while let Some(number) = self.idle.pop() {
            let Some(holder) = self.holders.get_mut(number as usize) else { continue };
            holder.idle = false;
            if holder.macs > 0 {
                continue;
            }
            let Some(peer) = holder.peer.take() else { continue };
            let key = peer.key(self.secret);
            if let Some((b, s)) = buckets::find(&self.index, self.secret.hash(key), key) {
                self.index[b].keys[s] = 0;
            }
            self.free.push(number);
            self.releases += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Encap, VtepIx};
    use super::*;
    use core::net::Ipv4Addr;

    fn snapshot() -> Snapshot {
        Snapshot::new(Secret::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]), &[])
    }

    fn peer(last: u8) -> Peer {
        Peer { vtep: VtepIx(0), encap: Encap::Vxlan, address: Ipv4Addr::new(192, 0, 2, last).into() }
    }

    #[test]
    fn a_configured_peer_keeps_the_snapshots_number_and_another_gets_one_behind() {
        let mut s = snapshot();
        s.set_peer(PeerIx(3), Some(peer(2))).unwrap();
        let mut t = PeerTable::new(s.secret(), 4, 2);
        assert_eq!(t.find(&s, peer(2)), Some(PeerIx(3)));
        assert_eq!(t.find(&s, peer(9)), None);
        let learned = t.intern(&s, peer(9)).unwrap();
        assert!(learned.index() >= 4);
        assert_eq!(t.find(&s, peer(9)), Some(learned));
        t.hold(learned);
        assert_eq!(t.learned(), 1);
        assert!(t.intern(&s, peer(10)).is_some());
        assert_eq!(t.intern(&s, peer(11)), None);
        t.release(learned);
        assert_eq!(t.find(&s, peer(9)), Some(learned), "somebody may still mean it");
        assert_eq!(t.intern(&s, peer(11)), None);
        t.reclaim();
        assert_eq!(t.find(&s, peer(9)), None);
        assert!(t.intern(&s, peer(11)).is_some());
    }
}
