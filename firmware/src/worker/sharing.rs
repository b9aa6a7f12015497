//! What a worker tells: the other workers what it learned, and the manager what happened.
//!
//! Owns: the order. Facts go straight into the queues of all others, in the order in which they were learned, so that
//! the manager may be busy for as long as it likes. A queue that is full keeps them waiting, so that none is lost: who
//! moved is not to be looked for where it was. Only a worker that stands still is not waited for.

use super::Worker;
use super::link::Link;
use std::sync::atomic::Ordering;
use weir_pipelines::Time;
use weir_pipelines::gateway::{Event, Fact};

/// The other workers.
#[derive(Default)]
pub struct Others {
    links: Vec<Link>,
    /// A fact that one of them had no room for.
    waiting: Option<Fact>,
    /// Who has heard of that already.
    heard: Vec<bool>,
}

impl Others {
    /// Those behind these links.
    pub fn new(links: Vec<Link>) -> Self {
        Self { heard: vec![false; links.len()], waiting: None, links }
    }

    /// Tells all of them every fact that `next` has, until one of them has no room. How many were kept from a worker
    /// that stands still.
    pub fn tell(&mut self, now: Time, mut next: impl FnMut() -> Option<Fact>) -> u64 {
        let mut missed = 0;
        while let Some(fact) = self.waiting.take().or_else(&mut next) {
            for (link, heard) in self.links.iter().zip(&mut self.heard) {
                if !*heard {
                    let told = link.news.push(fact).is_ok();
                    let gone = !told && link.is_stuck(now);
                    missed += u64::from(gone);
                    *heard = told || gone;
                }
            }
            if self.heard.contains(&false) {
                self.waiting = Some(fact);
                break;
            }
            self.heard.fill(false);
        }
        missed
    }

    /// Does not tell on what one of them had no room for, if it is one of those.
    pub fn withdraw(&mut self, is_one: impl Fn(&Fact) -> bool) {
        if self.waiting.as_ref().is_some_and(is_one) {
            self.waiting = None;
            self.heard.fill(false);
        }
    }
}

impl Worker {
    /// Tells the others what was learned here.
    pub(super) fn tell_others(&mut self, now: Time) {
        let gateway = &mut self.gateway;
        let missed = self.others.tell(now, || gateway.next_offer());
        for _ in 0..missed {
            gateway.counters_mut().count(Event::NewsFull);
        }
    }

    /// Takes over up to so many facts that others learned.
    pub(super) fn hear(&mut self, most: usize, now: Time) {
        for _ in 0..most {
            let Some(fact) = self.link.news.pop() else { break };
            self.gateway.learned_elsewhere(&self.snapshot, fact, now);
        }
    }

    /// Tells the manager what happened, if somebody watches.
    pub(super) fn notify(&mut self) {
        self.gateway.watch(self.link.watched.load(Ordering::Relaxed));
        while let Some(notice) = self.gateway.next_notice() {
            if let Err(notice) = self.link.notices.push(notice) {
                self.gateway.return_notice(notice);
                break;
            }
        }
        let lost = self.gateway.take_lost_notices();
        if lost > 0 {
            self.link.notices_lost.fetch_add(lost, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::link::{STUCK, Shared};
    use weir_pipelines::gateway::Sighting;
    use weir_pipelines::tables::{BridgeId, SegmentIx};
    use weir_pipelines::wire::MacAddr;

    fn fact(n: u32) -> Fact {
        let [a, b, c, d] = n.to_be_bytes();
        let mac = MacAddr([2, 0, a, b, c, d]);
        Fact::Mac { bridge: BridgeId(1), mac, segment: SegmentIx(0), peer: None, sighting: Sighting::Again }
    }

    fn heard(link: &Link) -> Vec<Fact> {
        std::iter::from_fn(|| link.news.pop()).collect()
    }

    #[test]
    fn what_a_full_queue_has_no_room_for_waits_and_comes_once_and_in_order() {
        let links = [Shared::new(2), Shared::new(3)];
        let mut others = Others::new(links.to_vec());
        let room = links[0].news.capacity();
        let mut offers = std::collections::VecDeque::from_iter((0..room as u32 + 100).map(fact));
        // One of them listens, the other does not yet.
        let mut first = Vec::new();
        for _ in 0..3 {
            assert_eq!(others.tell(Time::from_millis(0), || offers.pop_front()), 0);
            assert_eq!(others.waiting, Some(fact(room as u32)));
            first.extend(heard(&links[0]));
        }
        let mut second = heard(&links[1]);
        assert_eq!((others.tell(Time::from_millis(0), || offers.pop_front()), others.waiting), (0, None));
        first.extend(heard(&links[0]));
        second.extend(heard(&links[1]));
        let all: Vec<Fact> = (0..room as u32 + 100).map(fact).collect();
        assert!(first == all && second == all, "{} and {} of {}", first.len(), second.len(), all.len());
    }

    #[test]
    fn a_worker_that_stands_still_keeps_nothing_from_the_others() {
        let links = [Shared::new(2), Shared::new(3)];
        let mut others = Others::new(links.to_vec());
        let room = links[0].news.capacity() as u32;
        links[0].heartbeat.store(STUCK + 1, Ordering::Relaxed);
        let mut got = 0;
        let mut missed = 0;
        for round in 0..3 {
            let mut offers = (round * room..(round + 1) * room).map(fact);
            missed += others.tell(Time::from_millis(STUCK + 1), || offers.next());
            assert_eq!(others.waiting, None);
            got += heard(&links[0]).len() as u32;
        }
        assert_eq!((got, missed), (3 * room, u64::from(2 * room)));
        assert_eq!(links[1].news.len() as u32, room, "it has what there was room for");
    }

    #[test]
    fn what_is_withdrawn_while_it_waits_is_told_to_nobody_else_and_the_next_one_is_to_all() {
        let links = [Shared::new(2), Shared::new(3)];
        let mut others = Others::new(links.to_vec());
        while links[1].news.push(fact(0)).is_ok() {}
        let mut offers = [fact(1), fact(2)].into_iter();
        others.tell(Time::from_millis(0), || offers.next());
        others.withdraw(|waiting| *waiting == fact(1));
        heard(&links[1]);
        others.tell(Time::from_millis(0), || offers.next());
        assert_eq!((heard(&links[0]), heard(&links[1])), (vec![fact(1), fact(2)], vec![fact(2)]));
    }
}
