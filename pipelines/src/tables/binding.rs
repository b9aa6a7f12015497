//! The learned bindings of one worker: which MAC an address of a bridge is at, as hosts and DHCP servers have said.
//! Bounded, aged without timers, 32 bytes an entry and as much again in the index.
//!
//! Owns: addresses with their MACs, how often each has moved, when it was last confirmed, and who looks after it: the
//! worker that heard of it last, not those that were told. Refuses: more than a bridge's limit, more than the table's
//! capacity. Who may hold an address is not judged here. Configured owners are not here: what is, wins over them
//! (see `gateway/suppress.rs`).
//! Read first: RFC 9161 §3.1 and §3.5, RFC 7432 §15 (sequence numbers).

use super::BridgeId;
use super::buckets::{self, Bucket, Secret};
use super::snapshot::address_key;
use crate::wire::MacAddr;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Unanswered probes, a second apart, after which a binding is forgotten.
const PROBES: u8 = 3;
/// Entries that are handed out, or looked at to be forgotten, at a time.
const PAGE: usize = 1024;
/// An age that 16 bits of seconds can hold, wherever the clock stands.
const OLDEST: u16 = 60_000;
/// For so many seconds a worker that has heard an owner itself goes on looking after its binding, though another worker
/// says that it has heard it too.
const JUST_NOW: u16 = 3;

/// What an owner says of itself in neighbour advertisements (RFC 4861 §4.4): answers for it say the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manners {
    /// Whether it is a router; unknown until it has advertised itself.
    pub router: Option<bool>,
    /// Whether it does not override what others say: an anycast address's.
    pub yields: bool,
}

/// A learned binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The bridge.
    pub bridge: BridgeId,
    /// The address.
    pub address: IpAddr,
    /// Who has it.
    pub mac: MacAddr,
    /// What its moves are ordered by, modulo 2^32: each grows it by one, or to the second in which it was made if that is
    /// more. So a later claim comes after earlier ones that were forgotten.
    pub sequence: u32,
    /// How it is advertised.
    pub manners: Manners,
    /// Seconds since it was confirmed.
    pub age: u16,
    /// Whether this worker has heard it itself, and looks after it.
    pub own: bool,
    /// Probes that its owner has not answered yet.
    pub probes: u8,
    /// In which 16 seconds the other workers were last told, modulo 256.
    pub told: u8,
}

/// What came of a claim on an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindOutcome {
    /// It was not known.
    New,
    /// It was known, and is confirmed: as it was before.
    Same(Binding),
    /// It was another's: as it was before.
    Moved(Binding),
    /// What is known is newer.
    Outdated,
    /// The bridge has as many as it may: not learned.
    OverLimit,
    /// There is no room for it: not learned.
    Full,
}

/// What is due for a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindingDue {
    /// Ask its owner whether it is there.
    Ask(Binding),
    /// It was forgotten: its owner is silent.
    Aged(Binding),
    /// It was forgotten: its owner may not hold it any more.
    Withdrawn(Binding),
    /// Tell the other workers, which was not possible before.
    Tell(Binding),
}

/// For how many seconds a binding is believed without being confirmed, and what is to be done then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    /// It is not believed at all: nobody may hold it so.
    Withdraw,
    /// Its owner is asked.
    Ask(u16),
    /// It is believed as long again: its owner is there.
    Keep(u16),
    /// It is forgotten.
    Forget(u16),
}

/// How much may be done in one round of care.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Bindings looked at.
    pub looks: usize,
    /// Owners asked.
    pub asks: usize,
    /// Bindings forgotten of which the other workers are to be told.
    pub farewells: usize,
}

/// An entry, or a link in the list of free ones: then its MAC is zero, and its sequence the number of the next.
#[derive(Clone, Copy, Debug)]
struct Entry {
    address: u128,
    mac: MacAddr,
    bridge: BridgeId,
    sequence: u32,
    /// In which second it was confirmed, modulo 65,536.
    seen: u16,
    told: u8,
    /// The bits below, and above them how many probes are not answered.
    state: u8,
}

const _: () = assert!(size_of::<Entry>() == 32);

const V6: u8 = 1;
const OWN: u8 = 2;
const UNTOLD: u8 = 4;
const ROLE: u8 = 8;
const ROUTER: u8 = 16;
const YIELDS: u8 = 32;
const PROBES_AT: u32 = 6;
/// Counters of moves.
const MOVES: usize = 1024;
/// No entry's number.
const NONE: u32 = u32::MAX;

impl Entry {
    fn has(&self, bit: u8) -> bool {
        self.state & bit != 0
    }

    fn set(&mut self, bit: u8, on: bool) {
        self.state = if on { self.state | bit } else { self.state & !bit };
    }

    fn probes(&self) -> u8 {
        self.state >> PROBES_AT
    }

    fn set_probes(&mut self, probes: u8) {
        self.state = self.state & !(u8::MAX << PROBES_AT) | probes.min(PROBES) << PROBES_AT;
    }

    fn set_manners(&mut self, manners: Manners) {
        self.set(ROLE, manners.router.is_some());
        self.set(ROUTER, manners.router == Some(true));
        self.set(YIELDS, manners.yields);
    }

    fn age(&self, now: u64) -> u16 {
        (now as u16).wrapping_sub(self.seen)
    }

    fn unpack(&self, now: u64) -> Binding {
        let address = match self.has(V6) {
            true => IpAddr::V6(Ipv6Addr::from_bits(self.address)),
            false => IpAddr::V4(Ipv4Addr::from_bits(self.address as u32)),
        };
        Binding {
            bridge: self.bridge,
            address,
            mac: self.mac,
            sequence: self.sequence,
            manners: Manners { router: self.has(ROLE).then(|| self.has(ROUTER)), yields: self.has(YIELDS) },
            age: self.age(now),
            own: self.has(OWN),
            probes: self.probes(),
            told: self.told,
        }
    }
}

/// Whether one sequence number is after another, as far as they are not half of all apart (RFC 1982 §3.2).
fn is_after(one: u32, other: u32) -> bool {
    (one.wrapping_sub(other) as i32) > 0
}

/// An address as a number, and the state bit of its family.
fn bits_of(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(v4) => (v4.to_bits().into(), 0),
        IpAddr::V6(v6) => (v6.to_bits(), V6),
    }
}

/// The table.
pub struct BindingTable {
    entries: Vec<Entry>,
    index: Box<[Bucket]>,
    secret: Secret,
    capacity: usize,
    len: usize,
    free: u32,
    per_bridge: Vec<u32>,
    cursor: usize,
    /// By the lower bits of the bridge's number.
    moves_of: Box<[u32; MOVES]>,
}

impl BindingTable {
    /// A table for `capacity` bindings, below 2^32, on bridges numbered below `bridges`. It takes 32 bytes a binding once
    /// it is used, and 22 to 43 from the beginning.
    pub fn new(secret: Secret, capacity: usize, bridges: usize) -> Self {
        Self {
            entries: Vec::with_capacity(capacity),
            index: vec![Bucket::default(); (capacity / 3 + 1).next_power_of_two()].into(),
            secret,
            capacity,
            len: 0,
            free: NONE,
            per_bridge: vec![0; bridges],
            cursor: 0,
            moves_of: Box::new([0; MOVES]),
        }
    }

    /// How often an address of a bridge, or of those that share its counter, went to another MAC, or was forgotten: until then, what
    /// was found out about who has one holds.
    #[inline(always)]
    pub(crate) fn moves_of(&self, bridge: BridgeId) -> u32 {
        self.moves_of[bridge.index() % MOVES]
    }

    fn count_move(&mut self, bridge: BridgeId) {
        let count = &mut self.moves_of[bridge.index() % MOVES];
        *count = count.wrapping_add(1);
    }

    /// How many bindings it holds.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The most it holds.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many of a bridge it holds.
    pub fn len_of(&self, bridge: BridgeId) -> u32 {
        self.per_bridge.get(bridge.index()).copied().unwrap_or(0)
    }

    /// The number of an address's entry, or else whether its key is taken by another address.
    fn find(&self, bridge: BridgeId, address: IpAddr) -> Result<usize, bool> {
        let (key, _) = address_key(self.secret, bridge, address);
        let (b, s) = buckets::find(&self.index, self.secret.hash(key), key).ok_or(false)?;
        let number = self.index[b].values[s] as usize;
        let (bits, family) = bits_of(address);
        match self.entries.get(number) {
            Some(e) if (e.address, e.bridge, e.state & V6) == (bits, bridge, family) => Ok(number),
            _ => Err(true),
        }
    }

    /// The binding of an address.
    pub fn get(&self, bridge: BridgeId, address: IpAddr, now: u64) -> Option<Binding> {
        self.find(bridge, address).ok().map(|number| self.entries[number].unpack(now))
    }

    /// Learns that `mac` has said that it holds an address, or that somebody has said so of it. `first` is how many moves
    /// that makes if the address was not known; what is not known of its manners stays as it was.
    pub(crate) fn learn(
        &mut self,
        (bridge, address, mac): (BridgeId, IpAddr, MacAddr),
        manners: Option<Manners>,
        first: u32,
        now: u64,
        limit: u32,
    ) -> BindOutcome {
        let number = match self.find(bridge, address) {
            Ok(number) => number,
            Err(true) => return BindOutcome::Full,
            Err(false) => {
                return match self.add(bridge, address, limit) {
                    Ok(entry) => {
                        (entry.mac, entry.sequence, entry.seen) = (mac, (now as u32).wrapping_add(first), now as u16);
                        entry.told = (now >> 4) as u8;
                        entry.set(OWN, true);
                        entry.set_manners(manners.unwrap_or_default());
                        if first > 0 {
                            // It is taken from a configured owner.
                            self.count_move(bridge);
                        }
                        BindOutcome::New
                    }
                    Err(outcome) => outcome,
                };
            }
        };
        let entry = &mut self.entries[number];
        let before = entry.unpack(now);
        entry.seen = now as u16;
        entry.set(OWN, true);
        entry.set_probes(0);
        if before.mac == mac {
            if let Some(manners) = manners {
                entry.set_manners(manners);
            }
            return BindOutcome::Same(before);
        }
        let next = entry.sequence.wrapping_add(1);
        (entry.mac, entry.sequence) = (mac, if is_after(now as u32, next) { now as u32 } else { next });
        entry.set_manners(manners.unwrap_or_default());
        self.count_move(bridge);
        BindOutcome::Moved(before)
    }

    /// Takes over what another worker has learned: the higher sequence number wins, and of equal ones the higher MAC. What
    /// is older than `ageing` seconds here gives way to anything.
    pub(crate) fn hear(
        &mut self,
        (bridge, address, mac): (BridgeId, IpAddr, MacAddr),
        manners: Manners,
        sequence: u32,
        now: u64,
        (limit, ageing): (u32, u16),
    ) -> BindOutcome {
        let number = match self.find(bridge, address) {
            Ok(number) => number,
            Err(true) => return BindOutcome::Full,
            Err(false) => {
                return match self.add(bridge, address, limit) {
                    Ok(entry) => {
                        (entry.mac, entry.sequence, entry.seen) = (mac, sequence, now as u16);
                        entry.told = (now >> 4) as u8;
                        entry.set_manners(manners);
                        self.count_move(bridge);
                        BindOutcome::New
                    }
                    Err(outcome) => outcome,
                };
            }
        };
        let entry = &mut self.entries[number];
        let before = entry.unpack(now);
        let same = before.mac == mac;
        let newer = is_after(sequence, before.sequence)
            || sequence == before.sequence && mac.to_bits() > before.mac.to_bits()
            || before.age > ageing;
        if !same && !newer {
            // Who said this does not know better: it is to be told.
            entry.set(UNTOLD, true);
            return BindOutcome::Outdated;
        }
        if !same || is_after(sequence, before.sequence) {
            entry.sequence = sequence;
        }
        entry.set(OWN, before.own && same && before.age <= JUST_NOW);
        entry.set(UNTOLD, false);
        entry.set_probes(0);
        (entry.mac, entry.seen, entry.told) = (mac, now as u16, (now >> 4) as u8);
        if !same || manners.router.is_some() {
            entry.set_manners(manners);
        }
        if same {
            return BindOutcome::Same(before);
        }
        self.count_move(bridge);
        BindOutcome::Moved(before)
    }

    /// Notes whether the other workers could be told of a binding now; else it is due to be told again.
    pub(crate) fn set_told(&mut self, bridge: BridgeId, address: IpAddr, told: bool, now: u64) {
        let Ok(number) = self.find(bridge, address) else { return };
        let entry = &mut self.entries[number];
        entry.set(UNTOLD, !told);
        entry.told = (now >> 4) as u8;
    }

    /// Forgets a binding that another worker has found to be out of date, unless this one knows better. Whether it did.
    pub(crate) fn unhear(&mut self, bridge: BridgeId, address: IpAddr, mac: MacAddr, sequence: u32, now: u64) -> bool {
        let Ok(number) = self.find(bridge, address) else { return false };
        let entry = self.entries[number];
        let knows_better = entry.has(OWN) && entry.age(now) <= JUST_NOW;
        if entry.mac != mac || is_after(entry.sequence, sequence) || knows_better {
            // Who said this does not know better: it is to be told.
            self.entries[number].set(UNTOLD, entry.has(UNTOLD) || knows_better);
            return false;
        }
        self.remove(number);
        true
    }

    /// Forgets a binding whose owner was found to be silent: what it was.
    pub(crate) fn forget(&mut self, bridge: BridgeId, address: IpAddr, now: u64) -> Option<Binding> {
        let number = self.find(bridge, address).ok()?;
        let binding = self.entries[number].unpack(now);
        self.remove(number);
        Some(binding)
    }

    /// An entry for an address that has none: its MAC is still to be filled in.
    fn add(&mut self, bridge: BridgeId, address: IpAddr, limit: u32) -> Result<&mut Entry, BindOutcome> {
        let count = self.per_bridge.get(bridge.index()).copied().ok_or(BindOutcome::Full)?;
        if count >= limit {
            return Err(BindOutcome::OverLimit);
        }
        let number = if self.free == NONE { self.entries.len() } else { self.free as usize };
        let (key, _) = address_key(self.secret, bridge, address);
        let full = self.len >= self.capacity || number >= self.capacity;
        if full || !buckets::insert(&mut self.index, self.secret, key, number as u64) {
            return Err(BindOutcome::Full);
        }
        let (address, state) = bits_of(address);
        let entry = Entry { address, mac: MacAddr::ZERO, bridge, sequence: 0, seen: 0, told: 0, state };
        match self.entries.get_mut(number) {
            Some(place) => {
                self.free = place.sequence;
                *place = entry;
            }
            None => self.entries.push(entry),
        }
        self.len += 1;
        self.per_bridge[bridge.index()] += 1;
        Ok(&mut self.entries[number])
    }

    fn remove(&mut self, number: usize) {
        let entry = self.entries[number].unpack(0);
        let (key, _) = address_key(self.secret, entry.bridge, entry.address);
        if let Some((b, s)) = buckets::find(&self.index, self.secret.hash(key), key) {
            self.index[b].keys[s] = 0;
        }
        self.count_move(entry.bridge);
        let place = &mut self.entries[number];
        (place.mac, place.sequence) = (MacAddr::ZERO, self.free);
        self.free = number as u32;
        self.len -= 1;
        if let Some(count) = self.per_bridge.get_mut(entry.bridge.index()) {
            *count -= 1;
        }
    }

    /// Looks after the next entries in turn: `each` hears what is due. `care` answers what is due when. Stops early when
    /// all owners that may be are asked. What cannot be told to the other workers now is forgotten in a later round.
    pub(crate) fn due(
        &mut self,
        mut effort: Effort,
        now: u64,
        care: impl Fn(&Binding) -> Care,
        mut each: impl FnMut(BindingDue),
    ) {
        for _ in 0..effort.looks.min(self.entries.len()) {
            if effort.asks == 0 {
                return;
            }
            self.cursor = (self.cursor + 1) % self.entries.len();
            let number = self.cursor;
            if self.entries[number].mac.is_zero() {
                continue;
            }
            let binding = self.entries[number].unpack(now);
            let is_gone = match care(&binding) {
                Care::Withdraw => {
                    self.remove(number);
                    each(BindingDue::Withdrawn(binding));
                    continue;
                }
                // Who looks after it says so four times in that time, and says when it has forgotten it.
                Care::Ask(ageing) | Care::Keep(ageing) | Care::Forget(ageing) if !binding.own => {
                    binding.age > ageing.saturating_mul(2).min(OLDEST)
                }
                Care::Ask(ageing) => {
                    let due = ageing.saturating_add(u16::from(binding.probes));
                    let asks = binding.age >= due && binding.probes < PROBES;
                    if asks {
                        let entry = &mut self.entries[number];
                        // Late or not, the next one is a second from now.
                        entry.seen = (now as u16).wrapping_sub(due);
                        entry.set_probes(binding.probes + 1);
                        effort.asks -= 1;
                        each(BindingDue::Ask(binding));
                    }
                    binding.age >= due && !asks
                }
                Care::Keep(ageing) if binding.age >= ageing => {
                    let entry = &mut self.entries[number];
                    entry.seen = now as u16;
                    entry.set_probes(0);
                    entry.set(UNTOLD, true);
                    false
                }
                Care::Keep(_) => false,
                Care::Forget(ageing) => binding.age >= ageing,
            };
            if is_gone && (!binding.own || effort.farewells > 0) {
                effort.farewells -= usize::from(binding.own);
                self.remove(number);
                each(BindingDue::Aged(binding));
            } else if self.entries[number].has(UNTOLD) {
                each(BindingDue::Tell(binding));
            }
        }
    }

    /// Forgets the binding of an address. Whether it was known.
    pub(crate) fn clear(&mut self, bridge: BridgeId, address: IpAddr) -> bool {
        self.find(bridge, address).map(|number| self.remove(number)).is_ok()
    }

    /// Forgets those of a bridge from `cursor` on, as many as [`Self::page`] hands out at a time: how many, and the cursor
    /// to go on with.
    pub(crate) fn clear_some(&mut self, bridge: BridgeId, cursor: usize) -> (u64, Option<usize>) {
        let end = cursor.saturating_add(PAGE).min(self.entries.len());
        let mut count = 0;
        for number in cursor..end {
            if self.entries[number].bridge == bridge && !self.entries[number].mac.is_zero() {
                self.remove(number);
                count += 1;
            }
        }
        (count, (end < self.entries.len()).then_some(end))
    }

    /// Hands out bindings from `cursor` on, a few hundred at a time; the cursor to go on with, or `None` when all were
    /// handed out.
    pub fn page(&self, cursor: usize, now: u64, mut each: impl FnMut(Binding)) -> Option<usize> {
        let end = cursor.saturating_add(PAGE).min(self.entries.len());
        for entry in self.entries.get(cursor..end)?.iter().filter(|e| !e.mac.is_zero()) {
            each(entry.unpack(now));
        }
        (end < self.entries.len()).then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    const RED: BridgeId = BridgeId(1);
    const BLUE: BridgeId = BridgeId(2);
    const ONE: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const TWO: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
    const AGEING: u16 = 300;
    const ALL: Effort = Effort { looks: usize::MAX, asks: usize::MAX, farewells: usize::MAX };

    fn table(capacity: usize) -> BindingTable {
        BindingTable::new(Secret::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]), capacity, 4)
    }

    fn v4(n: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n))
    }

    fn v6(n: u128) -> IpAddr {
        IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8 << 96 | n))
    }

    fn learn(t: &mut BindingTable, address: IpAddr, mac: MacAddr, now: u64) -> BindOutcome {
        t.learn((RED, address, mac), None, 0, now, u32::MAX)
    }

    fn hear(t: &mut BindingTable, mac: MacAddr, sequence: u32, now: u64) -> BindOutcome {
        t.hear((RED, v4(1), mac), Manners::default(), sequence, now, (u32::MAX, AGEING))
    }

    fn at(t: &BindingTable, address: IpAddr) -> Option<(MacAddr, u32)> {
        t.get(RED, address, 0).map(|b| (b.mac, b.sequence))
    }

    fn due(t: &mut BindingTable, now: u64) -> Vec<BindingDue> {
        let mut all = Vec::new();
        t.due(ALL, now, |_| Care::Ask(AGEING), |d| all.push(d));
        all
    }

    #[test]
    fn a_binding_is_learned_confirmed_and_moved() {
        for address in [v4(1), v6(1), IpAddr::V6(Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped())] {
            let mut t = table(10);
            assert_eq!(learn(&mut t, address, ONE, 5), BindOutcome::New);
            assert!(matches!(learn(&mut t, address, ONE, 9), BindOutcome::Same(b) if b.age == 4));
            assert!(matches!(learn(&mut t, address, TWO, 9), BindOutcome::Moved(b) if b.mac == ONE));
            assert_eq!((at(&t, address), t.len(), t.len_of(RED)), (Some((TWO, 9)), 1, 1), "no less than the second");
            assert!(matches!(learn(&mut t, address, ONE, 9), BindOutcome::Moved(_)));
            assert_eq!(at(&t, address), Some((ONE, 10)));
            assert_eq!(t.get(BridgeId(2), address, 9), None);
        }
    }

    #[test]
    fn families_do_not_meet() {
        let mut t = table(10);
        let low = IpAddr::V6(Ipv6Addr::from_bits(0x0a00_0001));
        learn(&mut t, v4(1), ONE, 0);
        learn(&mut t, low, TWO, 0);
        assert_eq!((at(&t, v4(1)), at(&t, low)), (Some((ONE, 0)), Some((TWO, 0))));
    }

    #[test]
    fn the_owner_is_asked_three_times_a_second_apart_then_forgotten() {
        let mut t = table(10);
        learn(&mut t, v4(1), ONE, 1000);
        assert_eq!(due(&mut t, 1299), []);
        for second in 0..3u64 {
            // However often it is looked at, and however late.
            let asked = due(&mut t, 1310 + second);
            assert!(matches!(asked[..], [BindingDue::Ask(b)] if u64::from(b.probes) == second), "{asked:?}");
            assert_eq!(due(&mut t, 1310 + second), []);
        }
        assert!(matches!(due(&mut t, 1313)[..], [BindingDue::Aged(b)] if b.mac == ONE));
        assert_eq!((t.len(), t.len_of(RED), at(&t, v4(1))), (0, 0, None));
    }

    #[test]
    fn an_owner_that_answers_stays() {
        let mut t = table(10);
        learn(&mut t, v4(1), ONE, 0);
        assert_eq!(due(&mut t, 300).len(), 1);
        assert!(matches!(learn(&mut t, v4(1), ONE, 301), BindOutcome::Same(b) if b.probes == 1));
        assert_eq!(due(&mut t, 600), []);
        assert!(matches!(due(&mut t, 601)[..], [BindingDue::Ask(b)] if b.probes == 0));
    }

    #[test]
    fn who_was_told_asks_nobody_and_forgets_after_twice_the_time() {
        let mut t = table(10);
        assert_eq!(hear(&mut t, ONE, 0, 0), BindOutcome::New);
        assert_eq!(due(&mut t, 600), []);
        assert!(matches!(due(&mut t, 601)[..], [BindingDue::Aged(_)]));
        // Until it hears the owner itself.
        hear(&mut t, ONE, 0, 1000);
        learn(&mut t, v4(1), ONE, 1001);
        assert!(matches!(due(&mut t, 1301)[..], [BindingDue::Ask(_)]));
    }

    #[test]
    fn the_higher_sequence_wins_and_of_equal_ones_the_higher_mac() {
        let mut t = table(10);
        learn(&mut t, v4(1), ONE, 0);
        assert!(matches!(hear(&mut t, TWO, 0, 1), BindOutcome::Moved(_)), "the higher MAC");
        assert_eq!(hear(&mut t, ONE, 0, 1), BindOutcome::Outdated);
        assert!(matches!(due(&mut t, 2)[..], [BindingDue::Tell(b)] if b.mac == TWO), "it is told who has it");
        assert!(matches!(hear(&mut t, ONE, 1, 1), BindOutcome::Moved(_)));
        assert_eq!(hear(&mut t, TWO, 0, 2), BindOutcome::Outdated);
        assert_eq!(at(&t, v4(1)), Some((ONE, 1)));
        // Old news is better than what nobody has confirmed for long.
        assert!(matches!(hear(&mut t, TWO, 0, 400), BindOutcome::Moved(_)));
        assert_eq!(at(&t, v4(1)), Some((TWO, 0)));
    }

    #[test]
    fn a_later_claim_comes_after_what_was_forgotten_here() {
        let (mut old, mut new) = (table(10), table(10));
        for mac in [ONE, TWO, ONE] {
            learn(&mut old, v4(1), mac, 100);
        }
        learn(&mut new, v4(1), TWO, 350);
        let (mac, sequence) = at(&new, v4(1)).expect("learned");
        assert!(matches!(hear(&mut old, mac, sequence, 350), BindOutcome::Moved(_)));
        assert_eq!(hear(&mut new, ONE, 102, 350), BindOutcome::Outdated);
    }

    #[test]
    fn what_cannot_be_told_is_not_forgotten_yet() {
        let mut t = table(10);
        learn(&mut t, v4(1), ONE, 0);
        learn(&mut t, v4(2), ONE, 0);
        let mut forget = |farewells, now| {
            let mut gone = 0;
            t.due(
                Effort { farewells, ..ALL },
                now,
                |_| Care::Forget(9),
                |d| gone += u32::from(matches!(d, BindingDue::Aged(_))),
            );
            (gone, t.len())
        };
        assert_eq!([forget(5, 8), forget(0, 9), forget(1, 9), forget(5, 9)], [(0, 2), (0, 2), (1, 1), (1, 0)]);
    }

    #[test]
    fn sequence_numbers_wrap() {
        let mut t = table(10);
        hear(&mut t, ONE, u32::MAX, 0);
        learn(&mut t, v4(1), TWO, 0);
        assert_eq!(at(&t, v4(1)), Some((TWO, 0)));
        assert_eq!(hear(&mut t, ONE, u32::MAX, 0), BindOutcome::Outdated);
    }

    #[test]
    fn what_another_has_forgotten_is_forgotten_but_not_what_is_newer() {
        let mut t = table(10);
        hear(&mut t, ONE, 4, 0);
        assert!(!t.unhear(RED, v4(1), ONE, 3, 9) && !t.unhear(RED, v4(1), TWO, 9, 9));
        learn(&mut t, v4(1), ONE, 10);
        assert!(!t.unhear(RED, v4(1), ONE, 4, 11), "heard a second ago");
        assert!(t.unhear(RED, v4(1), ONE, 4, 20));
        assert_eq!((t.len(), at(&t, v4(1))), (0, None));
    }

    #[test]
    fn a_bridge_at_its_limit_learns_no_more_and_the_others_do() {
        let mut t = table(100);
        for n in 0..3 {
            assert_eq!(t.learn((RED, v4(n), ONE), None, 0, 0, 3), BindOutcome::New);
        }
        assert_eq!(t.learn((RED, v4(9), ONE), None, 0, 0, 3), BindOutcome::OverLimit);
        assert_eq!(t.learn((BridgeId(2), v4(9), ONE), None, 0, 0, 3), BindOutcome::New);
        assert_eq!(t.learn((BridgeId(4), v4(9), ONE), None, 0, 0, 3), BindOutcome::Full, "no bridge of this table");
        assert!(matches!(t.learn((RED, v4(2), TWO), None, 0, 0, 3), BindOutcome::Moved(_)));
    }

    #[test]
    fn a_table_holds_its_capacity_and_what_is_freed_is_used_again() {
        let mut t = table(10_000);
        let address = |n: u32| if n.is_multiple_of(2) { v4(n) } else { v6(n.into()) };
        for round in 0..3u64 {
            for n in 0..10_000 {
                assert_eq!(learn(&mut t, address(n), ONE, round * 1000), BindOutcome::New, "at {n}");
            }
            assert_eq!(learn(&mut t, v4(70_000), ONE, 0), BindOutcome::Full);
            let mut gone = 0;
            t.due(ALL, 0, |_| Care::Withdraw, |_| gone += 1);
            assert_eq!((gone, t.len(), t.entries.len()), (10_000, 0, 10_000));
        }
        assert!(t.index.len() * 64 <= 43 * t.capacity());
    }

    #[test]
    fn any_order_of_changes_leaves_what_a_map_would_hold() {
        let (mut t, mut model) = (table(500), HashMap::new());
        let mut state = 7u64;
        for step in 0..50_000u64 {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            let n = (state >> 33) as u32 % 400;
            let address = if n.is_multiple_of(3) { v6(n.into()) } else { v4(n) };
            let mac = if state >> 60 & 1 == 0 { ONE } else { TWO };
            if state >> 62 == 0 {
                let known = t.get(RED, address, 0);
                assert_eq!(known.map(|b| b.mac), model.remove(&address), "step {step}");
                assert_eq!(known.is_some_and(|b| t.unhear(RED, address, b.mac, b.sequence, 99)), known.is_some());
            } else {
                learn(&mut t, address, mac, 0);
                model.insert(address, mac);
            }
            assert_eq!((t.len(), t.len_of(RED)), (model.len(), model.len() as u32));
        }
        assert_eq!(t.clear_some(BLUE, 0), (0, None));
        let mut paged = HashMap::new();
        let mut cursor = Some(0);
        while let Some(at) = cursor {
            cursor = t.page(at, 0, |b| assert!(paged.insert(b.address, b.mac).is_none()));
        }
        assert_eq!(paged, model);
        assert_eq!((t.clear(RED, v4(1)), t.clear(RED, v4(1))), (model.contains_key(&v4(1)), false));
        let left = t.len() as u64;
        assert_eq!((t.clear_some(RED, 0), t.len()), ((left, None), 0));
    }

    #[test]
    fn manners_are_kept_until_somebody_else_has_the_address() {
        let mut t = table(10);
        let router = Manners { router: Some(true), yields: true };
        t.learn((RED, v6(1), ONE), Some(router), 0, 0, 9);
        learn(&mut t, v6(1), ONE, 1);
        assert_eq!(t.get(RED, v6(1), 1).map(|b| b.manners), Some(router));
        learn(&mut t, v6(1), TWO, 1);
        assert_eq!(t.get(RED, v6(1), 1).map(|b| b.manners), Some(Manners::default()));
    }
}
