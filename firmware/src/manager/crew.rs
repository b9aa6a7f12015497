//! The workers, as the manager sees them: publishing to them, asking them, looking whether they live.
//!
//! Owns: bounded waiting. A worker that does not answer in time is named in the error; nothing else waits for it.

use super::batch::fault;
use crate::worker::link::{
    BindingDump, BindingEntry, Clear, Link, Lookup, Lookups, MacDump, MacEntry, NeighbourDump, NeighbourEntry, Report,
    Request,
};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use weir_api::message::{Error, code};
use weir_pipelines::Time;
use weir_pipelines::gateway::Forget;
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
    /// Who began to stand still or ceased to, since it was last asked: core, and whether it stands.
    turned: Vec<(u32, bool)>,
    number: u64,
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
    pub fn free_retired(&self) {
        for link in &self.links {
            while link.retired.pop().is_some() {}
        }
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
            if stuck != *was_stuck {
                self.turned.push((link.core, stuck));
            }
            *was_stuck = stuck;
        }
        !self.stuck.contains(&true)
    }

    /// The cores of workers that stand still since this was last asked, or move again: and whether they stand.
    pub fn take_turned(&mut self) -> Vec<(u32, bool)> {
        std::mem::take(&mut self.turned)
    }

    /// Lets every worker forget something. How many entries each forgot, in order.
    ///
    /// In two rounds: what was on its way while the first worker forgot it is known, or forgotten too, by the time that
    /// all have, so that the second round finds whatever it brought back.
    ///
    /// # Errors
    /// As [`Crew::reports`].
    pub fn clear(&mut self, what: Forget) -> Result<Vec<u64>, Error> {
        let mut cleared = vec![0; self.links.len()];
        for _ in 0..2 {
            let number = self.next_number();
            let request = |_| Request::Clear(Box::new(Clear { number, what, cleared: 0, cursor: 0, facts: None }));
            let answers = self.ask(request, |request| match request {
                Request::Clear(clear) if clear.number == number => Some(clear.cleared),
                _ => None,
            })?;
            cleared.iter_mut().zip(answers).for_each(|(sum, n)| *sum += n);
        }
        Ok(cleared)
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

    /// What every worker knows of a few things, in order.
    ///
    /// # Errors
    /// As [`Crew::reports`].
    pub fn look_up(&mut self, asked: &[Lookup]) -> Result<Vec<Box<Lookups>>, Error> {
        let number = self.next_number();
        let request = |_| {
            Request::Lookups(Box::new(Lookups {
                number,
                asked: asked.to_vec(),
                macs: Vec::with_capacity(asked.len()),
                bindings: Vec::with_capacity(asked.len()),
                neighbours: Vec::with_capacity(asked.len()),
            }))
        };
        self.ask(request, |request| match request {
            Request::Lookups(lookups) if lookups.number == number => Some(lookups),
            _ => None,
        })
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

    #[test]
    fn a_worker_that_stands_still_is_counted_once_however_often_it_is_looked_at() {
        let links = [Shared::new(1), Shared::new(2)];
        let mut crew = Crew::new(links.to_vec());
        links[0].heartbeat.store(STUCK + 1, Ordering::Relaxed);
        for _ in 0..2 {
            assert!(!crew.are_alive(Time::from_millis(STUCK + 1)));
            assert_eq!(crew.stood_still, 1);
        }
        links[1].heartbeat.store(STUCK + 1, Ordering::Relaxed);
        assert!(crew.are_alive(Time::from_millis(STUCK + 1)));
    }
}
