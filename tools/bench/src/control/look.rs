//! What a worker went through between two looks: how long it was away from its queues, and why.

use crate::process::Waits;
use crate::program::Running;
use crate::program::weir::Forwarding;
use anyhow::{Context, Result};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

/// A millisecond, as near as the counters' bounds come to it.
const MILLISECOND: u64 = 1024;

/// Weir's counters and the kernel's at one moment.
#[derive(Clone, Debug)]
pub struct Look {
    at: Instant,
    packets: u64,
    sent: u64,
    dropped: u64,
    longest: u64,
    long: BTreeMap<u64, u64>,
    threads: HashMap<u32, Waits>,
    /// Bytes that the process takes.
    pub memory: u64,
}

impl Look {
    /// Now.
    pub fn at(running: &mut Forwarding) -> Result<Self> {
        let stats = running.stats()?;
        let worker = stats.workers.first().context("stats shows no worker")?;
        Ok(Self {
            at: Instant::now(),
            packets: worker.rx_packets,
            sent: worker.tx_packets,
            dropped: worker.dropped_packets,
            longest: worker.longest_turn_microseconds,
            long: worker.long_turns_by_microseconds.clone(),
            threads: running.process().threads(),
            memory: running.process().memory()?,
        })
    }
}

/// How the worker fared for a while.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeldUp {
    /// How long the while was.
    pub seconds: f64,
    /// The longest that it was away from its queues, at most: exact if it was the longest since it began, else the end
    /// of the class of durations that it was counted in.
    pub longest_turn_microseconds_at_most: u64,
    /// Turns of a millisecond (1,024 µs) or more.
    pub turns_over_1_millisecond: u64,
    /// For how long in all the worker wanted its core and the kernel gave it to others. Where that is not small, long
    /// turns are the machine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub core_denied_milliseconds: Option<f64>,
    /// Packets that it took in.
    pub packets_per_second: f64,
    /// Packets that it sent on.
    pub sent_per_second: f64,
    /// Packets that it dropped.
    pub dropped_packets: u64,
}

impl HeldUp {
    /// Fails when counters ran backwards.
    pub fn between(first: &Look, last: &Look) -> Result<Self> {
        let mut grown = BTreeMap::new();
        for (bound, count) in &last.long {
            let more = count.checked_sub(first.long.get(bound).copied().unwrap_or(0)).context("turns ran backwards")?;
            if more > 0 {
                grown.insert(*bound, more);
            }
        }
        let longest = match grown.last_key_value() {
            _ if last.longest > first.longest => last.longest,
            // No class is longer than the longest turn of all.
            Some((bound, _)) => (bound * 2).min(last.longest),
            None => last.longest.min(128),
        };
        let seconds = (last.at - first.at).as_secs_f64();
        let grown_by = |first: u64, last: u64| last.checked_sub(first).context("packets ran backwards");
        let packets = grown_by(first.packets, last.packets)?;
        let sent = grown_by(first.sent, last.sent)?;
        Ok(Self {
            seconds,
            longest_turn_microseconds_at_most: longest,
            turns_over_1_millisecond: grown.range(MILLISECOND..).map(|(_, count)| count).sum(),
            core_denied_milliseconds: denied(&first.threads, &last.threads).map(|ns| ns as f64 / 1e6),
            packets_per_second: packets as f64 / seconds,
            sent_per_second: sent as f64 / seconds,
            dropped_packets: grown_by(first.dropped, last.dropped)?,
        })
    }
}

/// Nanoseconds for which the busiest thread, which is the worker, waited for its core.
fn denied(first: &HashMap<u32, Waits>, last: &HashMap<u32, Waits>) -> Option<u64> {
    let between = |(id, last): (&u32, &Waits)| {
        let first = first.get(id)?;
        Some((last.on_core.checked_sub(first.on_core)?, last.waiting.checked_sub(first.waiting)?))
    };
    last.iter().filter_map(between).max().map(|(_, waiting)| waiting)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn look(at: Instant, longest: u64, long: &[(u64, u64)], waiting: u64) -> Look {
        let worker = Waits { on_core: 1_000_000 * waiting, waiting };
        Look {
            at,
            packets: 1000 * longest,
            sent: 990 * longest,
            dropped: 10 * longest,
            longest,
            long: long.iter().copied().collect(),
            threads: HashMap::from([(1, Waits { on_core: 5, waiting: 999 * waiting }), (2, worker)]),
            memory: 0,
        }
    }

    #[test]
    fn the_longest_is_exact_if_it_is_the_longest_of_all() {
        let start = Instant::now();
        let first = look(start, 300, &[(128, 1), (256, 1)], 1_000_000);
        let last = look(start + Duration::from_secs(2), 1500, &[(128, 3), (256, 1), (1024, 1)], 3_000_000);
        let held = HeldUp::between(&first, &last).unwrap();
        let expected = HeldUp {
            seconds: 2.0,
            longest_turn_microseconds_at_most: 1500,
            turns_over_1_millisecond: 1,
            core_denied_milliseconds: Some(2.0),
            packets_per_second: 600_000.0,
            sent_per_second: 594_000.0,
            dropped_packets: 12_000,
        };
        assert_eq!(held, expected);
        assert!(HeldUp::between(&last, &first).is_err());
    }

    #[test]
    fn else_it_is_the_end_of_its_class() {
        let start = Instant::now();
        let at_most = |longest, first: &[_], last: &[_]| {
            let (first, last) = (look(start, longest, first, 1), look(start + BEAT, longest, last, 2));
            HeldUp::between(&first, &last).unwrap().longest_turn_microseconds_at_most
        };
        const BEAT: Duration = Duration::from_secs(1);
        assert_eq!(at_most(5000, &[(4096, 1)], &[(128, 1), (4096, 1)]), 256);
        assert_eq!(at_most(5000, &[(4096, 1)], &[(4096, 2)]), 5000);
        assert_eq!(at_most(5000, &[(4096, 1)], &[(4096, 1)]), 128);
        assert_eq!(at_most(40, &[], &[]), 40);
    }
}
