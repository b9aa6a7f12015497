//! Who may hold which address on the packet path: owners and guards.
//!
//! Owns: telling a [`Snapshot`] to whom an address belongs (to the endpoint whose own it is; else, if an allowed pair names
//! exactly it, to those alone whose guard covers it), and what a MAC may hold besides. Costs nothing for an endpoint
//! without allowed pairs but its entries in the snapshot, which are also what shows that two endpoints claim one address.

use super::desired::{Desired, Host};
use super::numbers::Numbers;
use super::reach::shifted;
use super::translate::{Refusal, mac_addr};
use crate::config::Tables;
use rustc_hash::FxHashMap;
use std::net::IpAddr;
use weir_api::id::{AllowedPair, Mac, Name};
use weir_pipelines::tables as path;
use weir_pipelines::tables::{BridgeId, Guard, GuardIx, Prefix, Snapshot};
use weir_pipelines::wire::MacAddr;

type PairKey = (BridgeId, IpAddr);
type GuardKey = (BridgeId, Mac);

const FULL: Refusal = Refusal::Full("tables.endpoints");

/// An endpoint that comes, goes or changes.
#[derive(Clone, Copy)]
pub(super) struct Claimant<'a> {
    pub(super) bridge: BridgeId,
    /// The bridge's name.
    pub(super) name: &'a Name,
    pub(super) mac: Mac,
    pub(super) ips: &'a [IpAddr],
    pub(super) pairs: &'a [AllowedPair],
}

impl Claimant<'_> {
    /// The MACs that its pairs are for, its own among them if a pair names none; each at least once.
    fn guarded(&self) -> impl Iterator<Item = Mac> {
        self.pairs.iter().map(|pair| pair.mac.unwrap_or(self.mac))
    }

    fn exact_pairs(&self) -> impl Iterator<Item = PairKey> {
        self.pairs.iter().filter(|pair| pair.is_exact()).map(|pair| (self.bridge, pair.prefix.address()))
    }
}

/// What changes in a batch about pairs.
#[derive(Default)]
pub(super) struct ClaimShift<'a> {
    /// How many more, or fewer, exact pairs name an address.
    pairs: FxHashMap<PairKey, i64>,
    guards: FxHashMap<GuardKey, Guarding<'a>>,
}

/// Which endpoints of a bridge do not name a MAC any more, and which do now.
struct Guarding<'a> {
    bridge: &'a Name,
    left: Vec<Mac>,
    came: Vec<Mac>,
}

impl<'a> ClaimShift<'a> {
    fn guarding(&mut self, at: Claimant<'a>, guarded: Mac) -> &mut Guarding<'a> {
        let new = || Guarding { bridge: at.name, left: Vec::new(), came: Vec::new() };
        self.guards.entry((at.bridge, guarded)).or_insert_with(new)
    }
}

/// Owners by pair, and guards.
#[derive(Debug)]
pub(super) struct Claims {
    /// Values: how many exact pairs name the address. The numbers mean nothing.
    pairs: Numbers<PairKey, u32>,
    /// Values: the MACs of the endpoints whose pairs make the guard, in order.
    guards: Numbers<GuardKey, Vec<Mac>>,
}

impl Claims {
    pub(super) fn new(limits: &Tables) -> Self {
        Self { pairs: Numbers::new(u32::MAX, u32::MAX), guards: Numbers::new(limits.endpoints, limits.endpoints) }
    }

    pub(super) fn keep(&mut self) {
        self.pairs.keep();
        self.guards.keep();
    }

    pub(super) fn undo(&mut self) {
        self.pairs.undo();
        self.guards.undo();
    }

    /// An endpoint gives up its addresses but those in `kept`; its pairs leave.
    pub(super) fn leave<'a>(
        &self,
        next: &mut Snapshot,
        old: Claimant<'a>,
        kept: &[IpAddr],
        shift: &mut ClaimShift<'a>,
    ) {
        for ip in old.ips.iter().filter(|ip| !kept.contains(ip)) {
            let paired = self.pairs.get(&(old.bridge, *ip)).map(|_| None);
            // What is there already needs no room.
            let _ = next.set_owner(old.bridge, *ip, paired);
        }
        for key in old.exact_pairs() {
            *shift.pairs.entry(key).or_default() -= 1;
        }
        for guarded in old.guarded() {
            shift.guarding(old, guarded).left.push(old.mac);
        }
    }

    /// An endpoint takes its addresses; its pairs come.
    ///
    /// # Errors
    /// [`Taken`].
    pub(super) fn arrive<'a>(
        &self,
        next: &mut Snapshot,
        new: Claimant<'a>,
        shift: &mut ClaimShift<'a>,
    ) -> Result<(), Taken> {
        let own = mac_addr(new.mac);
        for (n, ip) in new.ips.iter().enumerate() {
            match next.owner(new.bridge, *ip) {
                Some(Some(mac)) if mac == own => {}
                Some(Some(other)) => return Err(Taken::By(n, other)),
                _ => next.set_owner(new.bridge, *ip, Some(Some(own))).map_err(|path::Full| Taken::Full)?,
            }
        }
        for key in new.exact_pairs() {
            *shift.pairs.entry(key).or_default() += 1;
        }
        for guarded in new.guarded() {
            shift.guarding(new, guarded).came.push(new.mac);
        }
        Ok(())
    }

    /// Owners by pair and guards become what they have to be. Peers and segments have their new numbers.
    pub(super) fn settle(
        &mut self,
        next: &mut Snapshot,
        shift: ClaimShift<'_>,
        state: &Desired,
        at: impl Fn(&Host) -> Option<path::Location>,
    ) -> Result<(), Refusal> {
        for (key, by) in shift.pairs.into_iter().filter(|(_, by)| *by != 0) {
            let left = shifted(self.pairs.get(&key).map_or(0, |(_, n)| *n), by);
            let owner = next.owner(key.0, key.1);
            if left == 0 {
                self.pairs.free(&key);
                if owner == Some(None) {
                    let _ = next.set_owner(key.0, key.1, None);
                }
                continue;
            }
            self.pairs.put(&key, left).ok_or(FULL)?;
            if owner.is_none() {
                next.set_owner(key.0, key.1, Some(None)).map_err(|path::Full| FULL)?;
            }
        }
        // In an order of their own, so that the same batch always gives the same numbers.
        let mut guards: Vec<_> = shift.guards.into_iter().collect();
        guards.sort_unstable_by_key(|(key, _)| *key);
        for (key, Guarding { bridge, mut left, came }) in guards {
            let mut named_by: Vec<Mac> = self.guards.get(&key).map(|(_, by)| by.clone()).unwrap_or_default();
            left.sort_unstable();
            named_by.retain(|by| left.binary_search(by).is_err());
            named_by.extend(came);
            named_by.sort_unstable();
            named_by.dedup();
            if named_by.is_empty() {
                if let Some(ix) = self.guards.free(&key) {
                    let _ = next.set_guard(GuardIx(ix), key.0, mac_addr(key.1), None);
                }
                continue;
            }
            let hosts = state.endpoints.get(bridge);
            let hosts = named_by.iter().filter_map(|by| Some((*by, hosts?.get(by)?)));
            let guard = guard(key.1, hosts, &at);
            let ix = self.guards.put(&key, named_by).ok_or(FULL)?;
            next.set_guard(GuardIx(ix), key.0, mac_addr(key.1), Some(guard)).map_err(|path::Full| FULL)?;
        }
        Ok(())
    }
}

/// What the pairs of these endpoints let a MAC hold, and where they are.
fn guard<'a>(
    mac: Mac,
    hosts: impl Iterator<Item = (Mac, &'a Host)>,
    at: &impl Fn(&Host) -> Option<path::Location>,
) -> Guard {
    let mut guard = Guard::default();
    for (own, host) in hosts {
        let pairs = host.allowed_pairs.iter().filter(|pair| pair.mac.unwrap_or(own) == mac);
        guard.prefixes.extend(pairs.map(|pair| Prefix { address: pair.prefix.address(), len: pair.prefix.length() }));
        guard.places.extend(at(host));
    }
    // Many endpoints name the same virtual address.
    guard.prefixes.sort_unstable_by_key(|prefix| (prefix.address, prefix.len));
    guard.prefixes.dedup();
    guard.places.sort_unstable_by_key(|place| (place.segment, place.peer));
    guard.places.dedup();
    guard
}

/// Why an endpoint does not get its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// The address with this number is that of the endpoint with this MAC.
    By(usize, MacAddr),
    /// There is no room.
    Full,
}
