//! Flap: MACs that move again and again are held where they are (RFC 7432 §15.1).
//!
//! Owns: the last moves of the MACs that moved lately, those that other workers saw included. The fifth move within 180
//! seconds is the last one: it takes place, and then the MAC is frozen for 180 seconds. So four failovers within that
//! time leave a virtual address free to move once more. Memory is bounded; where more MACs move at the same time than there is
//! room for, those whose last move is longest ago are not watched any more, frozen ones last of all.

use crate::Time;
use crate::tables::{Recent, RecentTable};

/// MACs that are watched at the same time: 256 KiB a worker.
const MOVERS: usize = 4096;
/// So many moves make a flapping MAC (RFC 7432 §15.1, N).
const MOVES: usize = 5;
/// Within so long (RFC 7432 §15.1, M), and frozen for so long; milliseconds.
pub(super) const WINDOW: u64 = 180_000;

/// A MAC that moved, in one cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Mover {
    key: u64,
    /// When it moved, milliseconds plus one, the last time first; 0 is never.
    moves: [u64; MOVES],
    /// Until when it stays where it is, milliseconds.
    frozen_until: u64,
}

const _: () = assert!(size_of::<Mover>() == 64);

impl Recent for Mover {
    fn key(&self) -> u64 {
        self.key
    }
    fn worth(&self) -> u64 {
        self.frozen_until.max(self.moves[0])
    }
}

/// The MACs that moved lately. Keys and hashes are those of the table of MACs.
pub(super) struct Movers(RecentTable<Mover>);

impl Movers {
    /// None yet; as many as a table of so many MACs needs at most.
    pub(super) fn new(macs: usize) -> Self {
        Self(RecentTable::new(MOVERS.min(macs)))
    }

    /// When a MAC last moved, if that is known.
    pub(super) fn last(&self, hash: u64, key: u64) -> Option<Time> {
        Some(Time::from_millis(self.0.get(hash, key)?.moves[0].checked_sub(1)?))
    }

    /// Whether a MAC has to stay where it is.
    pub(super) fn is_frozen(&self, hash: u64, key: u64, now: Time) -> bool {
        self.0.get(hash, key).is_some_and(|m| now.millis() < m.frozen_until)
    }

    /// Notes a move. Whether it is one too many within the time.
    pub(super) fn note(&mut self, hash: u64, key: u64, when: Time) -> bool {
        let mover = self.entry(hash, key);
        let when = when.millis().saturating_add(1);
        mover.moves.rotate_right(1);
        mover.moves[0] = when;
        let first = mover.moves[MOVES - 1];
        first != 0 && when.saturating_sub(first) <= WINDOW
    }

    /// Holds a MAC where it is from now on. Its moves are not held against it again when it thaws.
    pub(super) fn freeze(&mut self, hash: u64, key: u64, now: Time) {
        let mover = self.entry(hash, key);
        mover.moves[1..].fill(0);
        mover.frozen_until = now.millis().saturating_add(WINDOW);
    }

    /// Forgets a MAC's moves, and thaws it.
    pub(super) fn forget(&mut self, hash: u64, key: u64) {
        if let Some(mover) = self.0.get_mut(hash, key) {
            *mover = Mover::default();
        }
    }

    fn entry(&mut self, hash: u64, key: u64) -> &mut Mover {
        let mover = self.0.slot(hash, key);
        if mover.key != key {
            *mover = Mover { key, ..Mover::default() };
        }
        mover
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::Secret;

    fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1000)
    }

    #[test]
    fn the_fifth_move_within_180_seconds_is_one_too_many() {
        let mut m = Movers::new(1 << 20);
        let flaps: [bool; 6] = core::array::from_fn(|n| m.note(1, 1, at(n as u64 * 45)));
        assert_eq!(flaps, [false, false, false, false, true, true], "five in exactly 180 s");
        let flaps: [bool; 9] = core::array::from_fn(|n| m.note(2, 2, at(n as u64 * 46)));
        assert_eq!(flaps, [false; 9], "never five in 180 s");
    }

    #[test]
    fn a_frozen_mac_thaws_after_180_seconds_and_has_all_its_moves_again() {
        let mut m = Movers::new(1 << 20);
        assert!((0..5).map(|n| m.note(1, 1, at(n))).eq([false, false, false, false, true]));
        m.freeze(1, 1, at(4));
        assert!(m.is_frozen(1, 1, at(4)) && m.is_frozen(1, 1, Time::from_millis(183_999)));
        assert!(!m.is_frozen(1, 1, at(184)) && !m.is_frozen(2, 2, at(5)));
        let flaps: [bool; 4] = core::array::from_fn(|n| m.note(1, 1, at(185 + n as u64)));
        assert_eq!(flaps, [false; 4]);
    }

    #[test]
    fn a_mac_that_was_cleared_may_move_at_once() {
        let mut m = Movers::new(1 << 20);
        m.note(1, 1, at(0));
        m.freeze(1, 1, at(0));
        m.forget(1, 1);
        assert_eq!((m.is_frozen(1, 1, at(1)), m.last(1, 1)), (false, None));
    }

    #[test]
    fn a_million_movers_take_no_more_memory_and_thaw_nobody_before_its_time() {
        let mut m = Movers::new(1 << 20);
        let bytes = m.0.bytes();
        assert!(bytes <= 256 << 10, "{bytes} bytes");
        let secret = Secret::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]);
        m.freeze(secret.hash(7), 7, at(100));
        for key in 8..1_000_008 {
            m.note(secret.hash(key), key, at(101));
        }
        assert_eq!(m.0.bytes(), bytes);
        assert!(m.is_frozen(secret.hash(7), 7, at(101)));
        assert_eq!(m.last(secret.hash(1_000_007), 1_000_007), Some(at(101)));
    }
}
