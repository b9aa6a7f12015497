//! The workers, as the manager sees them: publishing to them, asking them, passing on what they learn.
//!
//! Owns: bounded waiting. A worker that does not answer in time is named in the error; nothing else waits for it.

use super::batch::fault;
use crate::worker::link::{
    BindingDump, BindingEntry, Link, MacDump, MacEntry, NeighbourDump, NeighbourEntry, Report, Request,
};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use weir_api::message::{Error, code};
use weir_pipelines::Time;
use weir_pipelines::tables::Snapshot;

/// For how long a worker is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two looks for its answer.
const LOOK: Duration = Duration::from_micros(100);

/// All workers.
#[derive(Default)]
pub struct Crew {
    links: Vec<Link>,
    stuck: Vec<bool>,
    number: u64,
    /// Facts that did not fit in the queue of a worker that stands still.
    pub news_full: u64,
    /// How often a worker was found standing still.
    pub stood_still: u64,
}

impl Crew {
    /// The workers behind these links.
    pub fn new(links: Vec<Link>) -> Self {
        let stuck = vec![false; links.len()];
        Self { links, stuck, ..Self::default() }
    }

    /// Their links, in the order of `weir.toml`.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// Puts a snapshot in every worker's mailbox, and waits until all forward by it. The cores of those that did not
    /// take it in time are returned: they take it when they can.
    pub fn publish(&self, snapshot: &Snapshot) -> Vec<u32> {
        let generation = snapshot.generation;
        let snapshot = Arc::new(snapshot.clone());
        for link in &self.links {
            // One that was never taken is freed here.
            drop(link.mailbox.force_push(snapshot.clone()));
        }
        let deadline = Instant::now() + PATIENCE;
        let late = || self.links.iter().filter(|l| l.generation.load(Ordering::Acquire) < generation);
        while late().next().is_some() && Instant::now() < deadline {
            std::thread::sleep(LOOK);
        }
        self.free_retired();
        late().map(|link| link.core).collect()
    }

    /// Frees snapshots that workers gave back.
    fn free_retired(&self) {
        for link in &self.links {
            while link.retired.pop().is_some() {}
        }
    }

    /// Passes on what workers learned, and frees what they gave back. Whether there was anything to pass on.
    ///
    /// While another worker's queue is full, offers stay where they are, so that none is lost: who moved is not to be
    /// looked for where it was. A worker that stands still is not waited for.
    pub fn turn(&mut self) -> bool {
        self.free_retired();
        let mut any = false;
        for (n, link) in self.links.iter().enumerate() {
            let others =
                || self.links.iter().zip(&self.stuck).enumerate().filter(move |(m, _)| *m != n).map(|(_, o)| o);
            // No more than the queue holds, so that one worker cannot keep the manager here.
            for _ in 0..link.offers.capacity() {
                if others().any(|(other, stuck)| !stuck && other.news.is_full()) {
                    break;
                }
                let Some(fact) = link.offers.pop() else { break };
                any = true;
                for (other, _) in others() {
                    self.news_full += u64::from(other.news.push(fact).is_err());
                }
            }
        }
        any
    }

    /// Looks for workers that stand still, and logs those that begin or cease to. Whether all are alive.
    pub fn are_alive(&mut self, now: Time) -> bool {
        for (link, was_stuck) in self.links.iter().zip(&mut self.stuck) {
            let stuck = link.is_stuck(now);
            if stuck && !*was_stuck {
                self.stood_still += 1;
                let still = now.since(link.last_beat());
                log::error!("worker on core {} has not moved for {still} ms", link.core);
            } else if !stuck && *was_stuck {
                log::warn!("worker on core {} moves again", link.core);
            }
            *was_stuck = stuck;
        }
        !self.stuck.contains(&true)
    }

    /// A report of every worker, in order.
    ///
    /// # Errors
    /// `UNAVAILABLE`, naming the core of a worker that did not answer in time.
    pub fn reports(&mut self, ports: usize) -> Result<Vec<Box<Report>>, Error> {
        let number = self.next_number();
        self.ask(
            |_| Request::Report(Box::new(Report::new(number, ports))),
            |request| match request {
                Request::Report(report) if report.number == number => Some(report),
                _ => None,
            },
        )
    }

    /// The next hops of every worker, in order; at most `room` of each.
    ///
    /// # Errors
    /// As [`Crew::reports`].
    pub fn neighbours(&mut self, room: usize) -> Result<Vec<Vec<NeighbourEntry>>, Error> {
        let number = self.next_number();
        let request = |_| Request::Neighbours(Box::new(NeighbourDump { number, entries: Vec::with_capacity(room) }));
        self.ask(request, |request| match request {
            Request::Neighbours(dump) if dump.number == number => Some(dump.entries),
            _ => None,
        })
    }

    /// The learned MACs of every worker, in order.
    ///
    /// # Errors
    /// As [`Crew::reports`]; also if MACs are learned faster than they can be listed.
    pub fn macs(&mut self, ports: usize) -> Result<Vec<Vec<MacEntry>>, Error> {
        for _ in 0..3 {
            let known: Vec<u64> = self.reports(ports)?.iter().map(|report| report.macs).collect();
            let number = self.next_number();
            let request = |n: usize| {
                let entries = Vec::with_capacity(room(&known, n));
                Request::Macs(Box::new(MacDump { number, entries, cursor: 0, complete: true }))
            };
            let dumps = self.ask(request, |request| match request {
                Request::Macs(dump) if dump.number == number => Some(dump),
                _ => None,
            })?;
            if dumps.iter().all(|dump| dump.complete) {
                return Ok(dumps.into_iter().map(|dump| dump.entries).collect());
            }
        }
        Err(too_fast("MACs"))
    }

    /// The learned bindings of every worker, in order.
    ///
    /// # Errors
    /// As [`Crew::macs`].
    pub fn bindings(&mut self, ports: usize) -> Result<Vec<Vec<BindingEntry>>, Error> {
        for _ in 0..3 {
            let known: Vec<u64> = self.reports(ports)?.iter().map(|report| report.bindings).collect();
            let number = self.next_number();
            let request = |n: usize| {
                let entries = Vec::with_capacity(room(&known, n));
                Request::Bindings(Box::new(BindingDump { number, entries, cursor: 0, complete: true }))
            };
            let dumps = self.ask(request, |request| match request {
                Request::Bindings(dump) if dump.number == number => Some(dump),
                _ => None,
            })?;
            if dumps.iter().all(|dump| dump.complete) {
                return Ok(dumps.into_iter().map(|dump| dump.entries).collect());
            }
        }
        Err(too_fast("bindings"))
    }

    fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// Asks every worker, and waits for all. Answers to what was given up on before are freed.
    fn ask<T>(
        &self,
        mut request: impl FnMut(usize) -> Request,
        mut answer: impl FnMut(Request) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        for (n, link) in self.links.iter().enumerate() {
            if link.requests.push(request(n)).is_err() {
                return Err(unavailable(link));
            }
        }
        let deadline = Instant::now() + PATIENCE;
        let mut answers = Vec::with_capacity(self.links.len());
        for link in &self.links {
            let found = loop {
                match link.answers.pop().map(&mut answer) {
                    Some(Some(found)) => break found,
                    Some(None) => {}
                    None if Instant::now() >= deadline => return Err(unavailable(link)),
                    None => std::thread::sleep(LOOK),
                }
            };
            answers.push(found);
        }
        Ok(answers)
    }
}

/// Room for what the worker of that number knew, and for what it learns meanwhile.
fn room(known: &[u64], worker: usize) -> usize {
    known.get(worker).map_or(0, |&count| count as usize) * 5 / 4 + 4096
}

fn too_fast(what: &str) -> Error {
    let message = format!("{what} are learned faster than they can be listed; try again");
    Error { code: code::UNAVAILABLE, message, data: None }
}

fn unavailable(link: &Link) -> Error {
    let message = format!("the worker on core {} did not answer within {} s", link.core, PATIENCE.as_secs());
    fault(code::UNAVAILABLE, message, "worker", link.core)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::link::{STUCK, Shared};
    use weir_pipelines::gateway::{Fact, Sighting};
    use weir_pipelines::tables::{BridgeId, SegmentIx};
    use weir_pipelines::wire::MacAddr;

    fn fact(n: u32) -> Fact {
        let [a, b, c, d] = n.to_be_bytes();
        let mac = MacAddr([2, 0, a, b, c, d]);
        Fact::Mac { bridge: BridgeId(1), mac, segment: SegmentIx(0), peer: None, sighting: Sighting::Again }
    }

    /// Offers what fits from `from` on, and answers the first that did not.
    fn offer(link: &Link, from: u32) -> u32 {
        (from..).find(|n| link.offers.push(fact(*n)).is_err()).unwrap_or(from)
    }

    #[test]
    fn what_a_full_queue_has_no_room_for_waits_and_is_not_lost() {
        let links = [Shared::new(1), Shared::new(2), Shared::new(3)];
        let mut crew = Crew::new(links.to_vec());
        let offered = offer(&links[1], offer(&links[0], 0));
        while crew.turn() {}
        let mut heard = Vec::new();
        loop {
            while let Some(fact) = links[2].news.pop() {
                heard.push(fact);
            }
            for link in &links[..2] {
                while link.news.pop().is_some() {}
            }
            if !crew.turn() {
                break;
            }
        }
        assert_eq!(heard, (0..offered).map(fact).collect::<Vec<_>>());
        assert_eq!(crew.news_full, 0);
    }

    #[test]
    fn a_worker_that_stands_still_keeps_nothing_from_the_others() {
        let links = [Shared::new(1), Shared::new(2), Shared::new(3)];
        let mut crew = Crew::new(links.to_vec());
        for link in &links[..2] {
            link.heartbeat.store(STUCK + 1, Ordering::Relaxed);
        }
        for _ in 0..2 {
            assert!(!crew.are_alive(Time::from_millis(STUCK + 1)));
            assert_eq!(crew.stood_still, 1, "once, however often it is looked at");
        }
        let (mut from, mut heard) = (0, 0);
        for _ in 0..3 {
            from = offer(&links[0], from);
            while crew.turn() {}
            heard += std::iter::from_fn(|| links[1].news.pop()).count() as u32;
        }
        assert_eq!((heard, crew.news_full), (from, u64::from(from) - links[2].news.len() as u64));
    }
}
