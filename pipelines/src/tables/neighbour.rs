//! Next hops on the underlay, as one worker knows them: address to MAC, kept fresh by ARP and neighbour discovery.
//!
//! Owns: when to ask, whom to believe, when to give up. It sends nothing itself: [`NeighbourTable::due`] says what is
//! to be asked. Only what the gateway needs has an entry; an ARP message about anybody else leaves no trace.
//! Read first: RFC 826; RFC 4861 §7.3 for the states; RFC 1122 §2.3.2.2 for holding frames.

use super::buckets::{self, Bucket, Secret};
use super::objects::fold;
use super::{PortId, VtepIx};
use crate::Time;
use crate::wire::MacAddr;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;

/// For how long a confirmed neighbour is believed before it is asked again, ms (RFC 4861 REACHABLE_TIME).
const REACHABLE: u64 = 30_000;
/// Between two questions, ms (RFC 4861 RETRANS_TIMER).
const RETRY: u64 = 1_000;
/// Unanswered questions after which a neighbour has failed.
const ATTEMPTS: u8 = 3;
/// For how long a failed neighbour is left alone, ms.
const FAILED: u64 = 5_000;

/// Entries looked at for one that can be given up, when the table is full.
const LOOKED_AT: usize = 64;

/// What is known of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeighbourState {
    /// Asked for, no answer yet: frames wait.
    Resolving,
    /// Its MAC was confirmed lately.
    Reachable,
    /// Its MAC is used while it is asked to confirm it.
    Stale,
    /// It did not answer: frames are dropped, and it is asked again after a while.
    Failed,
    /// Its MAC is configured.
    Permanent,
}

/// A neighbour.
#[derive(Clone, Copy, Debug)]
pub struct Neighbour {
    /// The port it is on.
    pub port: PortId,
    /// The vtep that it is asked from.
    pub vtep: VtepIx,
    /// Its address.
    pub address: IpAddr,
    /// Its MAC; zero until it is known.
    pub mac: MacAddr,
    /// What is known of it.
    pub state: NeighbourState,
    /// Whether a frame wanted it since it was last looked after.
    pub wanted: bool,
    /// How many frames wait for it.
    pub held: u32,
    attempts: u8,
    /// When it is looked after next.
    due: Time,
}

/// A question to ask: an ARP request or a neighbour solicitation, to everybody or to the neighbour's MAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Of this entry.
    pub neighbour: u32,
    /// To whom; broadcast is, over IPv6, the group of those who may have the address.
    pub to: MacAddr,
}

/// What looking after a neighbour came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Ask.
    Ask(Question),
    /// It has just failed: drop what waits for it.
    Failed(u32),
    /// Its MAC has just been configured: send what waits for it.
    Release(u32),
}

/// The table. When it is full, an entry that nobody needs gives its number to another.
pub struct NeighbourTable {
    entries: Vec<Neighbour>,
    index: Box<[Bucket]>,
    secret: Secret,
    capacity: usize,
    cursor: usize,
    /// Where a number to reuse was last looked for, and how often one was found.
    hand: usize,
    /// How often frames had to go another way because of what was found out.
    changes: u64,
}

/// A key for a neighbour: of an IPv6 one only a keyed hash, so that what is found is to be compared.
fn key(secret: Secret, port: PortId, address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(v4) => 1 << 63 | u64::from(port.0) << 32 | u64::from(v4.to_bits()),
        IpAddr::V6(v6) => 3 << 62 | secret.mix(fold(secret, v6.to_bits()), u64::from(port.0)),
    }
}

impl NeighbourTable {
    /// A table for `capacity` neighbours.
    pub fn new(secret: Secret, capacity: usize) -> Self {
        Self {
            entries: Vec::with_capacity(capacity),
            index: vec![Bucket::default(); (capacity / 2 + 1).next_power_of_two()].into(),
            secret,
            capacity,
            cursor: 0,
            hand: 0,
            changes: 0,
        }
    }

    /// The entries.
    pub fn entries(&self) -> &[Neighbour] {
        &self.entries
    }

    /// The most it holds.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The entry of that number.
    #[inline]
    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut Neighbour> {
        self.entries.get_mut(number as usize)
    }

    /// Whether frames can go to a neighbour now.
    pub(crate) fn is_resolved(&self, number: u32) -> bool {
        let state = self.entries.get(number as usize).map(|n| n.state);
        state.is_some_and(|s| !matches!(s, NeighbourState::Resolving | NeighbourState::Failed))
    }

    /// Whether frames can go to a neighbour now, or soon.
    pub(crate) fn is_usable(&self, number: u32) -> bool {
        self.entries.get(number as usize).is_some_and(|n| n.state != NeighbourState::Failed)
    }

    fn find(&self, port: PortId, address: IpAddr) -> Option<u32> {
        let key = key(self.secret, port, address);
        let (b, s) = buckets::find(&self.index, self.secret.hash(key), key)?;
        let number = self.index[b].values[s] as u32;
        (self.entries[number as usize].address == address).then_some(number)
    }

    /// The number of a neighbour, which gets an entry if it has none; `None` if the table is full. A configured MAC is
    /// in force at once, and one that is no longer configured is asked for.
    pub(crate) fn want(
        &mut self,
        port: PortId,
        vtep: VtepIx,
        address: IpAddr,
        configured: Option<MacAddr>,
        now: Time,
    ) -> Option<u32> {
        let number = match self.find(port, address) {
            Some(number) => number,
            None => self.add(port, vtep, address, now)?,
        };
        let entry = &mut self.entries[number as usize];
        entry.vtep = vtep;
        match configured {
            Some(mac) => {
                if entry.state != NeighbourState::Permanent {
                    entry.due = now;
                }
                (entry.mac, entry.state) = (mac, NeighbourState::Permanent);
            }
            None if entry.state == NeighbourState::Permanent => {
                (entry.state, entry.attempts, entry.due) = (NeighbourState::Resolving, 0, now);
            }
            None => {}
        }
        Some(number)
    }

    fn add(&mut self, port: PortId, vtep: VtepIx, address: IpAddr, now: Time) -> Option<u32> {
        let number = if self.entries.len() < self.capacity { self.entries.len() } else { self.give_up_one(now)? };
        if !buckets::insert(&mut self.index, self.secret, key(self.secret, port, address), number as u64) {
            return None;
        }
        let (mac, state) = (MacAddr::default(), NeighbourState::Resolving);
        // Asked for by its first frame, not before.
        let entry = Neighbour { port, vtep, address, mac, state, wanted: false, held: 0, attempts: 0, due: now };
        match self.entries.get_mut(number) {
            Some(place) => *place = entry,
            None => self.entries.push(entry),
        }
        Some(number as u32)
    }

    /// Finds an entry that nobody needs, and forgets whose it was: failed, or not wanted for as long as it would be
    /// believed. Looks at a few at a time.
    fn give_up_one(&mut self, now: Time) -> Option<usize> {
        for _ in 0..LOOKED_AT.min(self.entries.len()) {
            self.hand = (self.hand + 1) % self.entries.len();
            let entry = &self.entries[self.hand];
            let idle = match entry.state {
                NeighbourState::Failed => true,
                NeighbourState::Reachable => !entry.wanted && now >= entry.due,
                NeighbourState::Resolving => !entry.wanted && entry.attempts == 0,
                NeighbourState::Stale | NeighbourState::Permanent => false,
            };
            if idle && entry.held == 0 {
                let key = key(self.secret, entry.port, entry.address);
                if let Some((b, s)) = buckets::find(&self.index, self.secret.hash(key), key) {
                    self.index[b].keys[s] = 0;
                }
                self.changes += 1;
                return Some(self.hand);
            }
        }
        None
    }

    /// How often a MAC or a neighbour changed, or one failed or was tried again: until then, frames go as they went.
    #[inline]
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// Takes note that `address` on a port has said what its MAC is. Its number, and whether that is news, if it can be
    /// believed: it has an entry, and that is not a configured one.
    pub(crate) fn confirm(&mut self, port: PortId, address: IpAddr, mac: MacAddr, now: Time) -> Option<(u32, bool)> {
        let number = self.find(port, address)?;
        let entry = &mut self.entries[number as usize];
        if entry.state == NeighbourState::Permanent {
            return None;
        }
        let news = entry.mac != mac || entry.state != NeighbourState::Reachable;
        self.changes += u64::from(news);
        (entry.mac, entry.state, entry.attempts) = (mac, NeighbourState::Reachable, 0);
        (entry.due, entry.wanted) = (now + REACHABLE, false);
        Some((number, news))
    }

    /// The MAC of a neighbour that is believed.
    pub(crate) fn mac(&self, port: PortId, address: IpAddr) -> Option<MacAddr> {
        let entry = &self.entries[self.find(port, address)? as usize];
        matches!(entry.state, NeighbourState::Reachable | NeighbourState::Stale).then_some(entry.mac)
    }

    /// Looks after a frame's neighbour that is not resolved: the question to ask at once, if it was not asked lately.
    pub(crate) fn ask_now(&mut self, number: u32, now: Time) -> Option<Question> {
        let entry = self.entries.get_mut(number as usize)?;
        if entry.state != NeighbourState::Resolving || entry.attempts > 0 || now < entry.due {
            return None;
        }
        (entry.attempts, entry.due) = (1, now + RETRY);
        Some(Question { neighbour: number, to: MacAddr::BROADCAST })
    }

    /// Looks after the next `count` entries in turn; `each` hears what is to be done.
    pub(crate) fn due(&mut self, count: usize, now: Time, mut each: impl FnMut(Due)) {
        for _ in 0..count.min(self.entries.len()) {
            self.cursor = (self.cursor + 1) % self.entries.len();
            let number = self.cursor as u32;
            let entry = &mut self.entries[self.cursor];
            if now < entry.due {
                continue;
            }
            match entry.state {
                NeighbourState::Permanent => {
                    entry.due = Time::from_millis(u64::MAX);
                    each(Due::Release(number));
                }
                // Nobody needs it: asked again once somebody does.
                NeighbourState::Reachable if !entry.wanted => {}
                NeighbourState::Reachable => {
                    (entry.state, entry.attempts, entry.due) = (NeighbourState::Stale, 1, now + RETRY);
                    each(Due::Ask(Question { neighbour: number, to: entry.mac }));
                }
                NeighbourState::Stale | NeighbourState::Resolving if entry.attempts >= ATTEMPTS => {
                    (entry.state, entry.attempts, entry.due) = (NeighbourState::Failed, 0, now + FAILED);
                    self.changes += 1;
                    each(Due::Failed(number));
                }
                // No frame waits for it; one that went by another next hop may have wanted it.
                NeighbourState::Resolving if entry.attempts == 0 && !entry.wanted => {}
                NeighbourState::Stale | NeighbourState::Resolving => {
                    // The last question of a stale one goes to everybody: its address may have a new MAC.
                    let last = entry.attempts + 1 >= ATTEMPTS;
                    let known = entry.state == NeighbourState::Stale && !last;
                    let to = if known { entry.mac } else { MacAddr::BROADCAST };
                    (entry.attempts, entry.due) = (entry.attempts + 1, now + RETRY);
                    each(Due::Ask(Question { neighbour: number, to }));
                }
                NeighbourState::Failed => {
                    (entry.state, entry.attempts, entry.wanted) = (NeighbourState::Resolving, 0, false);
                    self.changes += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    const PORT: PortId = PortId(1);
    const VTEP: VtepIx = VtepIx(0);
    const HOP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    fn due(table: &mut NeighbourTable, now: u64) -> std::vec::Vec<Due> {
        let mut all = std::vec::Vec::new();
        table.due(usize::MAX, at(now), |d| all.push(d));
        all
    }

    fn ask(to: MacAddr) -> Due {
        Due::Ask(Question { neighbour: 0, to })
    }

    #[test]
    fn a_silent_neighbour_is_asked_three_times_then_left_alone_then_asked_again() {
        let mut t = NeighbourTable::new(Secret::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]), 8);
        assert_eq!(t.want(PORT, VTEP, HOP, None, at(0)), Some(0));
        assert_eq!(due(&mut t, 0), []);
        assert!(t.ask_now(0, at(0)).is_some());
        assert_eq!(t.ask_now(0, at(1)), None);
        assert_eq!(due(&mut t, 1_000), [ask(MacAddr::BROADCAST)]);
        assert_eq!(due(&mut t, 2_000), [ask(MacAddr::BROADCAST)]);
        assert_eq!(due(&mut t, 3_000), [Due::Failed(0)]);
        assert_eq!(t.ask_now(0, at(3_001)), None);
        assert_eq!(due(&mut t, 8_000), []);
        assert!(t.ask_now(0, at(8_000)).is_some());
    }

    #[test]
    fn a_wanted_neighbour_is_probed_by_unicast_and_keeps_its_mac_meanwhile() {
        let mut t = NeighbourTable::new(Secret::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]), 8);
        t.want(PORT, VTEP, HOP, None, at(0));
        assert_eq!(t.confirm(PORT, HOP, MAC, at(0)), Some((0, true)));
        assert_eq!(t.confirm(PORT, HOP, MAC, at(0)), Some((0, false)));
        assert_eq!(due(&mut t, 40_000), []);
        t.entries[0].wanted = true;
        assert_eq!(due(&mut t, 40_000), [ask(MAC)]);
        assert_eq!((t.entries()[0].state, t.entries()[0].mac), (NeighbourState::Stale, MAC));
        assert_eq!(due(&mut t, 41_000), [ask(MAC)]);
        assert_eq!(due(&mut t, 42_000), [ask(MacAddr::BROADCAST)]);
        t.confirm(PORT, HOP, MacAddr([2, 0, 0, 0, 0, 10]), at(42_500));
        assert_eq!(t.entries()[0].state, NeighbourState::Reachable);
    }

    #[test]
    fn a_neighbour_configured_while_frames_wait_for_it_releases_them_once() {
        let mut t = NeighbourTable::new(Secret::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]), 8);
        t.want(PORT, VTEP, HOP, None, at(0));
        assert!(t.ask_now(0, at(0)).is_some());
        t.want(PORT, VTEP, HOP, Some(MAC), at(10));
        assert_eq!(due(&mut t, 10), [Due::Release(0)]);
        t.want(PORT, VTEP, HOP, Some(MAC), at(20));
        assert_eq!(due(&mut t, 100_000), []);
    }

    #[test]
    fn a_full_table_gives_up_what_nobody_needs() {
        let mut t = NeighbourTable::new(Secret::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]), 2);
        let hop = |n| IpAddr::V4(Ipv4Addr::new(192, 0, 2, n));
        for n in [2, 3] {
            t.want(PORT, VTEP, hop(n), None, at(0));
            t.ask_now(u32::from(n) - 2, at(0));
        }
        t.confirm(PORT, hop(2), MAC, at(0));
        assert_eq!(t.want(PORT, VTEP, hop(4), None, at(10)), None, "both are needed");
        assert_eq!(t.want(PORT, VTEP, hop(4), None, at(40_000)), Some(0), "the first was not wanted for long");
        assert_eq!((t.changes(), t.entries()[0].address), (2, hop(4)), "one confirmed, one given up");
        assert_eq!(t.confirm(PORT, hop(2), MAC, at(40_000)), None);
        t.ask_now(0, at(40_000));
        assert_eq!(t.want(PORT, VTEP, hop(5), None, at(40_000)), None);
    }

    #[test]
    fn nobody_gets_an_entry_or_a_configured_mac_by_talking() {
        let mut t = NeighbourTable::new(Secret::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]), 1);
        assert_eq!(t.confirm(PORT, HOP, MAC, at(0)), None);
        t.want(PORT, VTEP, HOP, Some(MAC), at(0));
        assert_eq!(t.confirm(PORT, HOP, MacAddr([2, 0, 0, 0, 0, 66]), at(0)), None);
        assert_eq!((t.entries()[0].state, t.entries()[0].mac), (NeighbourState::Permanent, MAC));
        assert_eq!(t.want(PORT, VTEP, IpAddr::V4(Ipv4Addr::new(192, 0, 2, 3)), None, at(0)), None);
        t.want(PORT, VTEP, HOP, None, at(5));
        assert_eq!(t.entries()[0].state, NeighbourState::Resolving);
    }
}
