//! Meter: how much of what is copied to many a port may bring into a bridge.
//!
//! Owns: a token bucket for each bridge, port and class, of the rate that the bridge's settings say and one second's
//! burst; and how often something is said about them. Memory is bounded: a bucket that nobody used for a second is full,
//! so that one may be forgotten at no loss. Where more pairs of bridge and port than there is room for storm within
//! one second, a bucket that gives way leaves what it had to the one that takes its place: no tokens come of it.
//! Read first: RFC 2697 §3 (token buckets).

use super::counters::Event;
use super::notice::{Happening, Notice};
use super::parse::Parsed;
use super::pipeline::{Gateway, Turn};
use crate::tables::{BridgeId, BridgeSettings, PortId, Recent, RecentTable, Secret};
use crate::{Frame, Time};

/// Pairs of bridge and port that may storm at the same time, each in its own measure: 1 MiB a worker.
const SHARES: usize = 16_384;
/// A frame, in tokens: so many milliseconds of a rate of one frame a second.
const FRAME: u64 = 1000;
/// The burst, milliseconds of the rate.
const BURST: u64 = 1000;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Frames to group addresses: broadcast and multicast alike, since both are copied to everybody.
    Broadcast,
    /// Frames to MACs that are not known.
    Unknown,
    /// Gratuitous ARP, unsolicited neighbour advertisements, and whatever else moves a binding: not taken from the
    /// broadcasts' share, so that a storm of those keeps no host from saying that it moved.
    Announcement,
}

impl Class {
    const COUNT: usize = 3;
    const ALL: [Class; Self::COUNT] = [Class::Broadcast, Class::Unknown, Class::Announcement];

    /// Its name, the same everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Class::Broadcast => "broadcast",
            Class::Unknown => "unknown",
            Class::Announcement => "announcement",
        }
    }

    /// Frames a second; 0 is without limit.
    fn limit(self, settings: &BridgeSettings) -> u64 {
        u64::from(match self {
            Class::Broadcast => settings.broadcast_limit,
            Class::Unknown => settings.unknown_limit,
            Class::Announcement => settings.announcement_limit,
        })
    }
}

/// What is said at most once a second of a bridge and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remark {
    /// That a class is over its limit.
    Storm(Class),
    /// That a MAC was not learned: the bridge has as many as it may.
    MacLimit,
    /// The same of a binding.
    BindingLimit,
    /// That somebody used an address that is not its own.
    Spoofed,
}

impl Remark {
    const COUNT: usize = Class::COUNT + 3;

    fn index(self) -> usize {
        match self {
            Remark::Storm(class) => class as usize,
            Remark::MacLimit => Class::COUNT,
            Remark::BindingLimit => Class::COUNT + 1,
            Remark::Spoofed => Class::COUNT + 2,
        }
    }
}

/// What a bridge and port have left, in one cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Share {
    key: u64,
    /// When the buckets were last filled up, milliseconds.
    filled: u64,
    /// Tokens by class.
    tokens: [u64; Class::COUNT],
    /// The second, plus one, in which each remark was last made; 0 is never.
    said: [u32; Remark::COUNT],
}

const _: () = assert!(size_of::<Share>() == 64);

impl Recent for Share {
    fn key(&self) -> u64 {
        self.key
    }
    fn worth(&self) -> u64 {
        self.filled
    }
}

impl Share {
    /// Adds what the time since it was last filled is worth.
    fn fill(&mut self, settings: &BridgeSettings, now: Time) {
        let passed = now.millis().saturating_sub(self.filled).min(BURST);
        self.filled = self.filled.max(now.millis());
        for (tokens, class) in self.tokens.iter_mut().zip(Class::ALL) {
            let limit = class.limit(settings);
            *tokens = (*tokens + passed * limit).min(BURST * limit);
        }
    }
}

/// All buckets of a worker.
pub(super) struct Meter {
    shares: RecentTable<Share>,
    secret: Secret,
}

impl Meter {
    /// Full buckets for so many bridges and ports.
    pub(super) fn new(secret: Secret, bridges: usize, ports: usize) -> Self {
        Self { shares: RecentTable::new(SHARES.min(bridges * ports)), secret }
    }

    /// The buckets of a bridge and port.
    fn share(&mut self, bridge: BridgeId, port: PortId, settings: &BridgeSettings, now: Time) -> &mut Share {
        let key = 1 << 32 | u64::from(bridge.0) << 16 | u64::from(port.0);
        let share = self.shares.slot(self.secret.hash(key), key);
        if share.key != key {
            let idle = share.key == 0 || now.millis().saturating_sub(share.filled) >= BURST;
            let tokens = if idle { Class::ALL.map(|class| BURST * class.limit(settings)) } else { share.tokens };
            *share = Share { key, filled: now.millis(), tokens, said: [0; Remark::COUNT] };
        }
        share.fill(settings, now);
        share
    }

    /// Whether one more frame of a class may come into a bridge from a port; if so, it is counted against the limit.
    pub(super) fn admit(
        &mut self,
        class: Class,
        bridge: BridgeId,
        port: PortId,
        settings: &BridgeSettings,
        now: Time,
    ) -> bool {
        if class.limit(settings) == 0 {
            return true;
        }
        let tokens = &mut self.share(bridge, port, settings, now).tokens[class as usize];
        let is_enough = *tokens >= FRAME;
        if is_enough {
            *tokens -= FRAME;
        }
        is_enough
    }

    /// Whether a remark is to be made now: the first in this second.
    pub(super) fn may_say(
        &mut self,
        remark: Remark,
        bridge: BridgeId,
        port: PortId,
        settings: &BridgeSettings,
        now: Time,
    ) -> bool {
        let said = &mut self.share(bridge, port, settings, now).said[remark.index()];
        let second = now.seconds() as u32 + 1;
        core::mem::replace(said, second) != second
    }
}

impl<F: Frame> Gateway<F> {
    /// Whether a frame may be flooded, as one of a class. If not, that is said once a second.
    pub(super) fn may_flood<P, E>(&mut self, turn: &Turn<'_, P, E>, p: &Parsed, class: Class) -> bool {
        let Some(settings) = turn.snapshot.bridge(p.bridge).map(|b| &b.settings) else { return true };
        self.admit(settings, p.bridge, turn.port, class, turn.now)
    }

    /// The same, where the bridge is known.
    pub(super) fn admit(
        &mut self,
        settings: &BridgeSettings,
        bridge: BridgeId,
        port: PortId,
        class: Class,
        now: Time,
    ) -> bool {
        if self.meter.admit(class, bridge, port, settings, now) {
            return true;
        }
        if self.meter.may_say(Remark::Storm(class), bridge, port, settings, now) {
            self.counters.count(Event::StormSeconds);
            let (bridge, port) = (Some(bridge), Some(port));
            self.notices.note(|| Notice { bridge, port, ..Notice::new(Happening::Storm(class)) });
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: PortId = PortId(1);

    fn settings(broadcast: u32) -> BridgeSettings {
        BridgeSettings { broadcast_limit: broadcast, unknown_limit: 7, announcement_limit: 3, ..Default::default() }
    }

    fn meter() -> Meter {
        Meter::new(Secret::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]), 65_536, 8)
    }

    /// How many of so many frames are let in, all at once.
    fn burst(m: &mut Meter, class: Class, bridge: u16, settings: &BridgeSettings, millis: u64) -> usize {
        let mut admit = || m.admit(class, BridgeId(bridge), PORT, settings, Time::from_millis(millis));
        (0..20_000).filter(|_| admit()).count()
    }

    #[test]
    fn a_burst_is_one_second_of_the_rate_and_then_comes_the_rate() {
        let (mut m, s) = (meter(), settings(1000));
        assert_eq!(burst(&mut m, Class::Broadcast, 1, &s, 0), 1000);
        for ms in 1..50 {
            assert_eq!(burst(&mut m, Class::Broadcast, 1, &s, ms), 1, "at {ms} ms");
        }
        assert_eq!(burst(&mut m, Class::Broadcast, 1, &s, 549), 500);
        assert_eq!(burst(&mut m, Class::Broadcast, 1, &s, 86_400_000), 1000, "never more than the burst");
    }

    #[test]
    fn rates_below_one_frame_a_tick_and_the_largest_are_exact() {
        let mut m = meter();
        let s = settings(3);
        let admitted: usize = (0..=9_999).map(|ms| burst(&mut m, Class::Broadcast, 1, &s, ms)).sum();
        assert_eq!(admitted, 3 + 29, "the burst, and three a second for 9.999 s");
        let s = settings(u32::MAX);
        assert_eq!(burst(&mut m, Class::Broadcast, 2, &s, u64::MAX), 20_000);
        assert_eq!(burst(&mut m, Class::Broadcast, 2, &s, u64::MAX), 20_000);
    }

    #[test]
    fn time_that_stands_still_or_goes_back_makes_no_tokens() {
        let (mut m, s) = (meter(), settings(10));
        assert_eq!(burst(&mut m, Class::Broadcast, 1, &s, 5000), 10);
        assert_eq!(burst(&mut m, Class::Broadcast, 1, &s, 4000), 0);
        assert_eq!(burst(&mut m, Class::Broadcast, 1, &s, 5000), 0);
        assert_eq!(burst(&mut m, Class::Broadcast, 1, &s, 5100), 1);
    }

    #[test]
    fn classes_bridges_and_ports_have_shares_of_their_own() {
        let (mut m, s) = (meter(), settings(5));
        assert_eq!(burst(&mut m, Class::Broadcast, 1, &s, 0), 5);
        assert_eq!(burst(&mut m, Class::Unknown, 1, &s, 0), 7);
        assert_eq!(burst(&mut m, Class::Announcement, 1, &s, 0), 3);
        assert_eq!(burst(&mut m, Class::Broadcast, 2, &s, 0), 5);
        assert!(m.admit(Class::Broadcast, BridgeId(1), PortId(0), &s, Time::from_millis(0)));
    }

    #[test]
    fn a_limit_of_zero_is_none_and_a_lowered_one_holds_at_once() {
        let mut m = meter();
        assert_eq!(burst(&mut m, Class::Broadcast, 1, &settings(0), 0), 20_000);
        assert_eq!(burst(&mut m, Class::Broadcast, 2, &settings(10_000), 0), 10_000);
        burst(&mut m, Class::Unknown, 3, &settings(10_000), 0);
        assert_eq!(burst(&mut m, Class::Broadcast, 3, &settings(4), 0), 4);
    }

    #[test]
    fn a_million_shares_take_no_more_memory_and_give_nobody_tokens() {
        let (mut m, s) = (meter(), settings(5));
        let bytes = m.shares.bytes();
        assert!(bytes <= 1 << 20, "{bytes} bytes");
        let mut admitted = 0;
        for n in 0..1_000_000u32 {
            // All 65,536 bridges at 8 ports, in an order that is none, twice within a millisecond.
            let n = n.wrapping_mul(0x9e37_79b9) >> 13;
            let (bridge, port) = (BridgeId((n >> 3) as u16), PortId((n & 7) as u16));
            let mut admit = || m.admit(Class::Broadcast, bridge, port, &s, Time::from_millis(1));
            admitted += usize::from(admit()) + usize::from(admit());
        }
        assert!(admitted <= SHARES * 5, "{admitted} frames of {SHARES} full buckets");
        assert_eq!(m.shares.bytes(), bytes);
        // A second later all are forgotten as if they had never been.
        assert_eq!(burst(&mut m, Class::Broadcast, 77, &s, 1001), 5);
    }

    #[test]
    fn a_remark_is_made_once_a_second() {
        let (mut m, s) = (meter(), settings(5));
        let mut say = |remark, ms| m.may_say(remark, BridgeId(1), PORT, &s, Time::from_millis(ms));
        let storm = Remark::Storm(Class::Unknown);
        assert!(say(storm, 0) && !say(storm, 999) && say(storm, 1000) && !say(storm, 1999));
        assert!(say(Remark::MacLimit, 1000) && !say(Remark::MacLimit, 1001));
        assert!(say(Remark::Storm(Class::Broadcast), 1000));
    }
}
