//! Neighbours, as one worker knows them: next hops on the underlay, and hosts that routers send to. Address to MAC, kept
//! fresh by ARP and neighbour discovery.
//!
//! Owns: when to ask, whom to believe, when to give up. It sends nothing itself: [`NeighbourTable::due`] says what is
//! to be asked. Only what the gateway needs has an entry; an ARP message about anybody else leaves no trace. What of
//! that is still unknown is bounded per link, so that who asks for one absent host after the other keeps nobody else's
//! from being found.
//! Read first: RFC 826; RFC 4861 §7.3 for the states; RFC 1122 §2.3.2.2 for holding frames.

use super::buckets::{self, Bucket, Secret};
use super::objects::fold;
use super::{BridgeId, InterfaceIx, PortId, VtepIx};
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

/// Where neighbours are, and whom they are asked from.
pub trait Link: Copy {
    /// What tells one link from another, below 2^16.
    fn number(self) -> u16;
}

/// A port of the underlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Underlay {
    /// The port.
    pub port: PortId,
    /// The vtep that they are asked from.
    pub vtep: VtepIx,
}

impl Link for Underlay {
    #[inline]
    fn number(self) -> u16 {
        self.port.0
    }
}

/// A routed bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net {
    /// The bridge.
    pub bridge: BridgeId,
    /// The interface that they are asked from.
    pub interface: InterfaceIx,
}

impl Link for Net {
    #[inline]
    fn number(self) -> u16 {
        self.bridge.0
    }
}

/// A neighbour.
#[derive(Clone, Copy, Debug)]
pub struct Neighbour<L> {
    /// The link it is on.
    pub link: L,
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
    /// Whether it did not answer when it was last asked in full.
    failed: bool,
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

/// Counters of what is unknown, by the lowest bits of a link's number.
const SHARES: usize = 256;

/// The table. When it is full, an entry that nobody needs gives its number to another.
pub struct NeighbourTable<L> {
    entries: Vec<Neighbour<L>>,
    index: Box<[Bucket]>,
    secret: Secret,
    capacity: usize,
    cursor: usize,
    /// Where a number to reuse was last looked for, and how often one was found.
    hand: usize,
    /// How often frames had to go another way because of what was found out.
    changes: u64,
    /// How many entries of a link are not resolved, and the most that may be.
    unknown: Box<[u32; SHARES]>,
    share: u32,
}

/// A key for a neighbour: of an IPv6 one only a keyed hash, so that what is found is to be compared.
fn key(secret: Secret, link: u16, address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(v4) => 1 << 63 | u64::from(link) << 32 | u64::from(v4.to_bits()),
        IpAddr::V6(v6) => 3 << 62 | secret.mix(fold(secret, v6.to_bits()), u64::from(link)),
    }
}

impl<L: Link> NeighbourTable<L> {
    /// A table for `capacity` neighbours, of which one link's may take up `share` while they are not resolved.
    pub fn new(secret: Secret, capacity: usize, share: usize) -> Self {
        Self {
            unknown: Box::new([0; SHARES]),
            share: u32::try_from(share).unwrap_or(u32::MAX),
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
    pub fn entries(&self) -> &[Neighbour<L>] {
        &self.entries
    }

    /// The most it holds.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// What is known of an address on a link of that number.
    pub fn get(&self, link: u16, address: IpAddr) -> Option<&Neighbour<L>> {
        self.entries.get(self.find(link, address)? as usize)
    }

    /// The entry of that number.
    #[inline]
    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut Neighbour<L>> {
        self.entries.get_mut(number as usize)
    }

    /// Whether frames can go to a neighbour now.
    pub(crate) fn is_resolved(&self, number: u32) -> bool {
        let state = self.entries.get(number as usize).map(|n| n.state);
        state.is_some_and(|s| !matches!(s, NeighbourState::Resolving | NeighbourState::Failed))
    }

    /// Whether a neighbour of a link did not answer, and has not since.
    pub(crate) fn is_failed(&self, link: u16, address: IpAddr) -> bool {
        let number = self.find(link, address);
        number.is_some_and(|number| self.entries[number as usize].failed)
    }

    /// Asks anew for one that was believed and that nobody knows any more.
    pub(crate) fn doubt(&mut self, number: u32, now: Time) {
        let entry = &mut self.entries[number as usize];
        if matches!(entry.state, NeighbourState::Reachable | NeighbourState::Stale) {
            (entry.attempts, entry.due) = (0, now);
            self.turn(number, NeighbourState::Resolving);
        }
    }

    /// Whether frames can go to a neighbour now, or soon.
    pub(crate) fn is_usable(&self, number: u32) -> bool {
        self.entries.get(number as usize).is_some_and(|n| n.state != NeighbourState::Failed)
    }

    /// The number of a neighbour that has an entry; `link` is its link's.
    pub(crate) fn find(&self, link: u16, address: IpAddr) -> Option<u32> {
        let key = key(self.secret, link, address);
        let (b, s) = buckets::find(&self.index, self.secret.hash(key), key)?;
        let number = self.index[b].values[s] as u32;
        (self.entries[number as usize].address == address).then_some(number)
    }

    /// Puts an entry in a state, and counts what is not resolved.
    fn turn(&mut self, number: u32, state: NeighbourState) {
        let entry = &mut self.entries[number as usize];
        let unknown = |s| u32::from(matches!(s, NeighbourState::Resolving | NeighbourState::Failed));
        let count = &mut self.unknown[usize::from(entry.link.number()) % SHARES];
        *count = *count + unknown(state) - unknown(entry.state);
        entry.state = state;
    }

    /// The number of a neighbour, which gets an entry if it has none; `None` if the table is full. A configured MAC is
    /// in force at once, and one that is no longer configured is asked for.
    pub(crate) fn want(&mut self, link: L, address: IpAddr, configured: Option<MacAddr>, now: Time) -> Option<u32> {
        let number = match self.find(link.number(), address) {
            Some(number) => number,
            None => self.add(link, address, now)?,
        };
        let entry = &mut self.entries[number as usize];
        entry.link = link;
        match configured {
            Some(mac) => {
                if entry.state != NeighbourState::Permanent {
                    entry.due = now;
                }
                entry.mac = mac;
                self.turn(number, NeighbourState::Permanent);
            }
            None if entry.state == NeighbourState::Permanent => {
                (entry.attempts, entry.due) = (0, now);
                self.turn(number, NeighbourState::Resolving);
            }
            None => {}
        }
        Some(number)
    }

    fn add(&mut self, link: L, address: IpAddr, now: Time) -> Option<u32> {
        let number = match self.entries.len() {
            _ if self.unknown[usize::from(link.number()) % SHARES] >= self.share => {
                self.give_up_one(Some(link.number()), now)?
            }
            len if len < self.capacity => len,
            _ => self.give_up_one(None, now)?,
        };
        if !buckets::insert(&mut self.index, self.secret, key(self.secret, link.number(), address), number as u64) {
            return None;
        }
        let (mac, state) = (MacAddr::default(), NeighbourState::Resolving);
        // Asked for by its first frame, not before.
        let entry =
            Neighbour { link, address, mac, state, wanted: false, held: 0, attempts: 0, failed: false, due: now };
        match self.entries.get_mut(number) {
            Some(place) => *place = entry,
            None => self.entries.push(entry),
        }
        self.unknown[usize::from(link.number()) % SHARES] += 1;
        Some(number as u32)
    }

    /// Finds an entry that nobody needs, and forgets whose it was: failed, or not wanted for as long as it would be
    /// believed. One of a link's that is not resolved, if a link is named. Looks at a few at a time.
    fn give_up_one(&mut self, link: Option<u16>, now: Time) -> Option<usize> {
        for _ in 0..LOOKED_AT.min(self.entries.len()) {
            self.hand = (self.hand + 1) % self.entries.len();
            let entry = &self.entries[self.hand];
            let idle = match entry.state {
                NeighbourState::Failed => true,
                NeighbourState::Reachable => !entry.wanted && now >= entry.due,
                NeighbourState::Resolving => !entry.wanted && entry.attempts == 0,
                NeighbourState::Stale | NeighbourState::Permanent => false,
            };
            let is_unknown = matches!(entry.state, NeighbourState::Resolving | NeighbourState::Failed);
            let fits = link.is_none_or(|link| is_unknown && entry.link.number() == link);
            if idle && fits && entry.held == 0 {
                self.forget(self.hand);
                return Some(self.hand);
            }
        }
        None
    }

    /// Forgets whose an entry was: its number is to be given to another at once.
    fn forget(&mut self, number: usize) {
        let entry = &self.entries[number];
        let key = key(self.secret, entry.link.number(), entry.address);
        if let Some((b, s)) = buckets::find(&self.index, self.secret.hash(key), key) {
            self.index[b].keys[s] = 0;
        }
        if matches!(entry.state, NeighbourState::Resolving | NeighbourState::Failed) {
            self.unknown[usize::from(entry.link.number()) % SHARES] -= 1;
        }
        self.changes += 1;
    }

    /// How often a MAC or a neighbour changed, or one failed or was tried again: until then, frames go as they went.
    #[inline]
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// Takes note that `address` on a port has said what its MAC is. Its number, and whether that is news, if it can be
    /// believed: it has an entry, and that is not a configured one.
    pub(crate) fn confirm(&mut self, link: u16, address: IpAddr, mac: MacAddr, now: Time) -> Option<(u32, bool)> {
        let number = self.find(link, address)?;
        let entry = &mut self.entries[number as usize];
        if entry.state == NeighbourState::Permanent {
            return None;
        }
        let news = entry.mac != mac || entry.state != NeighbourState::Reachable;
        self.changes += u64::from(news);
        (entry.mac, entry.attempts, entry.failed) = (mac, 0, false);
        (entry.due, entry.wanted) = (now + REACHABLE, false);
        self.turn(number, NeighbourState::Reachable);
        Some((number, news))
    }

    /// Takes over that a neighbour does not answer.
    pub(crate) fn fail(&mut self, number: u32, now: Time) {
        self.turn(number, NeighbourState::Failed);
        let entry = &mut self.entries[number as usize];
        (entry.attempts, entry.due) = (0, now + FAILED);
    }

    /// The MAC of a neighbour that is believed.
    pub(crate) fn mac(&self, link: u16, address: IpAddr) -> Option<MacAddr> {
        let entry = &self.entries[self.find(link, address)? as usize];
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
                    (entry.attempts, entry.due) = (1, now + RETRY);
                    each(Due::Ask(Question { neighbour: number, to: entry.mac }));
                    self.turn(number, NeighbourState::Stale);
                }
                NeighbourState::Stale | NeighbourState::Resolving if entry.attempts >= ATTEMPTS => {
                    (entry.attempts, entry.failed, entry.due) = (0, true, now + FAILED);
                    self.changes += 1;
                    self.turn(number, NeighbourState::Failed);
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
                    (entry.attempts, entry.wanted) = (0, false);
                    self.changes += 1;
                    self.turn(number, NeighbourState::Resolving);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    const LINK: Underlay = Underlay { port: PortId(1), vtep: VtepIx(0) };
    const PORT: u16 = 1;
    const HOP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    fn due<L: Link>(table: &mut NeighbourTable<L>, now: u64) -> std::vec::Vec<Due> {
        let mut all = std::vec::Vec::new();
        table.due(usize::MAX, at(now), |d| all.push(d));
        all
    }

    fn ask(to: MacAddr) -> Due {
        Due::Ask(Question { neighbour: 0, to })
    }

    #[test]
    fn a_silent_neighbour_is_asked_three_times_then_left_alone_then_asked_again() {
        let mut t = NeighbourTable::new(Secret::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]), 8, usize::MAX);
        assert_eq!(t.want(LINK, HOP, None, at(0)), Some(0));
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
        let mut t = NeighbourTable::new(Secret::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]), 8, usize::MAX);
        t.want(LINK, HOP, None, at(0));
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
        let mut t = NeighbourTable::new(Secret::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]), 8, usize::MAX);
        t.want(LINK, HOP, None, at(0));
        assert!(t.ask_now(0, at(0)).is_some());
        t.want(LINK, HOP, Some(MAC), at(10));
        assert_eq!(due(&mut t, 10), [Due::Release(0)]);
        t.want(LINK, HOP, Some(MAC), at(20));
        assert_eq!(due(&mut t, 100_000), []);
    }

    #[test]
    fn a_full_table_gives_up_what_nobody_needs() {
        let mut t = NeighbourTable::new(Secret::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]), 2, usize::MAX);
        let hop = |n| IpAddr::V4(Ipv4Addr::new(192, 0, 2, n));
        for n in [2, 3] {
            t.want(LINK, hop(n), None, at(0));
            t.ask_now(u32::from(n) - 2, at(0));
        }
        t.confirm(PORT, hop(2), MAC, at(0));
        assert_eq!(t.want(LINK, hop(4), None, at(10)), None, "both are needed");
        assert_eq!(t.want(LINK, hop(4), None, at(40_000)), Some(0), "the first was not wanted for long");
        assert_eq!((t.changes(), t.entries()[0].address), (2, hop(4)), "one confirmed, one given up");
        assert_eq!(t.confirm(PORT, hop(2), MAC, at(40_000)), None);
        t.ask_now(0, at(40_000));
        assert_eq!(t.want(LINK, hop(5), None, at(40_000)), None);
    }

    #[test]
    fn nobody_gets_an_entry_or_a_configured_mac_by_talking() {
        let mut t = NeighbourTable::new(Secret::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]), 1, usize::MAX);
        assert_eq!(t.confirm(PORT, HOP, MAC, at(0)), None);
        t.want(LINK, HOP, Some(MAC), at(0));
        assert_eq!(t.confirm(PORT, HOP, MacAddr([2, 0, 0, 0, 0, 66]), at(0)), None);
        assert_eq!((t.entries()[0].state, t.entries()[0].mac), (NeighbourState::Permanent, MAC));
        assert_eq!(t.want(LINK, IpAddr::V4(Ipv4Addr::new(192, 0, 2, 3)), None, at(0)), None);
        t.want(LINK, HOP, None, at(5));
        assert_eq!(t.entries()[0].state, NeighbourState::Resolving);
    }

    #[test]
    fn a_link_with_its_share_of_unknown_ones_gets_no_more_and_the_others_do() {
        let mut t = NeighbourTable::new(Secret::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]), 8, 2);
        let net = |n| Net { bridge: BridgeId(n), interface: InterfaceIx(0) };
        let host = |n| IpAddr::V4(Ipv4Addr::new(10, 0, 0, n));
        for n in 0..2 {
            let number = t.want(net(1), host(n), None, at(0)).expect("room");
            assert!(t.ask_now(number, at(0)).is_some());
        }
        assert_eq!(t.want(net(1), host(2), None, at(0)), None);
        assert!(t.want(net(2), host(2), None, at(0)).is_some());
        t.confirm(1, host(0), MAC, at(10));
        let number = t.want(net(1), host(2), None, at(10)).expect("one is known by now");
        assert!(t.ask_now(number, at(10)).is_some());
        assert_eq!(t.want(net(1), host(3), None, at(10)), None);
        for now in [1_010, 2_020, 3_030, 4_040] {
            due(&mut t, now);
        }
        assert!(t.want(net(1), host(3), None, at(4_050)).is_some(), "one that failed gives way");
    }
}
