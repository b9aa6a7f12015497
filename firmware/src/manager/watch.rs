//! Watch: what happens, in the operator's words, to each who wants to know.
//!
//! Owns: a bounded channel to every watcher. One that reads too slowly loses rows, and is told how many once there is
//! room; neither the manager nor a worker ever waits for it. While nobody watches, workers note nothing.

use super::configuration::Configuration;
use super::crew::Crew;
use super::views::PortFacts;
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Weak};
use std::time::{SystemTime, UNIX_EPOCH};
use weir_api::event::{Event, EventRow};
use weir_api::id::{Location, Mac, Name, SegmentId};
use weir_api::message::Watch;
use weir_pipelines::gateway::{Happening, Notice, Whereabouts};
use weir_pipelines::tables::{BridgeId, SegmentIx};

/// Rows that can wait for a watcher.
const ROWS: usize = 4096;

/// A watcher's end: rows come until the manager ends. Dropping it ends the watching.
#[derive(Debug)]
pub struct Stream {
    /// What happened, in order.
    pub rows: Receiver<Arc<EventRow>>,
    _alive: Arc<()>,
}

struct Watcher {
    wanted: Watch,
    rows: SyncSender<Arc<EventRow>>,
    alive: Weak<()>,
    lost: u64,
}

impl Watcher {
    fn wants(&self, row: &EventRow) -> bool {
        let event =
            row.event == Event::Lost || self.wanted.events.is_empty() || self.wanted.events.contains(&row.event);
        let bridge = row.event == Event::Lost || self.wanted.bridge.is_none() || self.wanted.bridge == row.bridge;
        event && bridge
    }

    fn is_there(&self) -> bool {
        self.alive.strong_count() > 0
    }

    /// Puts a row in its channel, behind the number of those that are missing before it.
    fn tell(&mut self, row: &Arc<EventRow>) {
        if !self.tell_lost() || matches!(self.rows.try_send(row.clone()), Err(TrySendError::Full(_))) {
            self.lost += 1;
        }
    }

    /// Tells how many rows are missing, if any are. False if there is no room for that either.
    fn tell_lost(&mut self) -> bool {
        if self.lost == 0 {
            return true;
        }
        let missing = EventRow { lost: Some(self.lost), ..EventRow::new(now_unix_ms(), Event::Lost) };
        let told = self.rows.try_send(Arc::new(missing)).is_ok();
        if told {
            self.lost = 0;
        }
        told
    }
}

/// What numbers are called, as of a generation.
#[derive(Default)]
struct Names {
    generation: Option<u64>,
    bridges: HashMap<BridgeId, Name>,
    segments: HashMap<SegmentIx, SegmentId>,
}

impl Names {
    /// Those of the running generation; what is gone keeps its name until its number has another.
    fn refresh(&mut self, configuration: &Configuration) {
        if self.generation != Some(configuration.generation()) {
            self.generation = Some(configuration.generation());
            self.bridges.extend(configuration.translator().bridge_names());
            self.segments.extend(configuration.translator().segment_ids());
        }
    }

    fn location(&self, at: Whereabouts) -> Option<Location> {
        Some(Location { segment: self.segments.get(&at.segment)?.clone(), peer: at.peer.map(|peer| peer.address) })
    }

    fn row(&self, ports: &[PortFacts], worker: u32, notice: &Notice) -> EventRow {
        let (event, what) = match notice.what {
            Happening::Learned => (Event::Learned, None),
            Happening::Moved => (Event::Moved, None),
            Happening::Aged => (Event::Aged, None),
            Happening::Frozen => (Event::Frozen, None),
            Happening::MacLimit => (Event::Limit, Some("mac")),
            Happening::BindingLimit => (Event::Limit, Some("binding")),
            Happening::Storm(class) => (Event::Storm, Some(class.as_str())),
            Happening::Spoofed => (Event::Spoofed, None),
            Happening::BindingLearned => (Event::BindingLearned, None),
            Happening::BindingMoved => (Event::BindingMoved, None),
            Happening::BindingAged => (Event::BindingAged, None),
            Happening::NeighbourFailed => (Event::NeighbourFailed, None),
        };
        EventRow {
            bridge: notice.bridge.and_then(|ix| self.bridges.get(&ix)).map(Name::to_string),
            mac: notice.mac.and_then(|mac| Mac::try_from(mac.0).ok()),
            address: notice.address,
            location: notice.at.and_then(|at| self.location(at)),
            from: notice.from.and_then(|from| self.location(from)),
            port: notice.port.and_then(|port| ports.get(port.index())).map(|port| port.row.name.clone()),
            what: what.map(str::to_owned),
            worker: Some(worker),
            ..EventRow::new(now_unix_ms(), event)
        }
    }
}

/// All who watch.
#[derive(Default)]
pub struct Watchers {
    list: Vec<Watcher>,
    names: Names,
}

impl Watchers {
    /// One more; the stream of what it wants.
    pub fn add(&mut self, wanted: Watch) -> Stream {
        let (send, rows) = sync_channel(ROWS);
        let alive = Arc::new(());
        self.list.push(Watcher { wanted, rows: send, alive: Arc::downgrade(&alive), lost: 0 });
        Stream { rows, _alive: alive }
    }

    /// Whether anybody watches.
    pub fn are_there(&mut self) -> bool {
        self.list.retain(Watcher::is_there);
        !self.list.is_empty()
    }

    /// Tells those for whom there is room again how much they miss.
    pub fn tell_lost(&mut self) {
        for watcher in &mut self.list {
            watcher.tell_lost();
        }
    }

    /// Tells what the manager itself has seen.
    pub fn tell(&mut self, event: Event, fill: impl FnOnce(&mut EventRow)) {
        if !self.list.is_empty() {
            let mut row = EventRow::new(now_unix_ms(), event);
            fill(&mut row);
            self.send(row);
        }
    }

    fn send(&mut self, row: EventRow) {
        let row = Arc::new(row);
        self.list.iter_mut().filter(|watcher| watcher.wants(&row)).for_each(|watcher| watcher.tell(&row));
    }

    /// Tells what the workers have seen, and lets them know whether anybody cares.
    pub fn relay(&mut self, crew: &Crew, configuration: &Configuration, ports: &[PortFacts]) {
        let watched = self.are_there();
        self.tell_lost();
        if watched {
            // Before a bridge goes whose hosts are told of as gone, its name is to be known.
            self.names.refresh(configuration);
        } else {
            self.names = Names::default();
        }
        for link in crew.links() {
            link.watched.store(watched, Ordering::Relaxed);
            // No more than the queue holds, so that one worker cannot keep the manager here.
            for _ in 0..link.notices.capacity() {
                let Some(notice) = link.notices.pop() else { break };
                if watched {
                    let row = self.names.row(ports, link.core, &notice);
                    self.send(row);
                }
            }
            let lost = link.notices_lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                let (lost, worker) = (Some(lost), Some(link.core));
                self.tell(Event::Lost, |row| (row.lost, row.worker) = (lost, worker));
            }
        }
    }
}

/// The wall clock.
fn now_unix_ms() -> u64 {
    // A clock before 1970 says nothing.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(bridge: &str) -> impl FnOnce(&mut EventRow) {
        let bridge = Some(bridge.to_owned());
        move |row| row.bridge = bridge
    }

    fn events(stream: &Stream) -> Vec<(Event, Option<String>, Option<u64>)> {
        stream.rows.try_iter().map(|row| (row.event, row.bridge.clone(), row.lost)).collect()
    }

    #[test]
    fn each_watcher_hears_what_it_wants() {
        let mut watchers = Watchers::default();
        let all = watchers.add(Watch::default());
        let moves = watchers.add(Watch { events: vec![Event::Moved], bridge: None });
        let red = watchers.add(Watch { events: vec![], bridge: Some("red".to_owned()) });
        watchers.tell(Event::Learned, learned("red"));
        watchers.tell(Event::Moved, learned("blue"));
        watchers.tell(Event::Applied, |row| row.generation = Some(3));
        watchers.tell(Event::Lost, |row| row.lost = Some(5));
        let lost = (Event::Lost, None, Some(5));
        let (red_learned, blue_moved) =
            ((Event::Learned, Some("red".to_owned()), None), (Event::Moved, Some("blue".to_owned()), None));
        let applied = (Event::Applied, None, None);
        assert_eq!(events(&all), [red_learned.clone(), blue_moved.clone(), applied, lost.clone()]);
        assert_eq!(events(&moves), [blue_moved, lost.clone()]);
        assert_eq!(events(&red), [red_learned, lost]);
    }

    #[test]
    fn a_slow_watcher_loses_rows_and_is_told_how_many() {
        let mut watchers = Watchers::default();
        let (slow, quick) = (watchers.add(Watch::default()), watchers.add(Watch::default()));
        for n in 0..ROWS + 10 {
            watchers.tell(Event::Learned, learned("red"));
            assert_eq!(events(&quick).len(), 1, "row {n}");
        }
        assert_eq!(events(&slow).len(), ROWS);
        watchers.tell(Event::Moved, learned("red"));
        let told: Vec<_> = events(&slow).into_iter().map(|(event, _, lost)| (event, lost)).collect();
        assert_eq!(told, [(Event::Lost, Some(10)), (Event::Moved, None)]);
    }

    #[test]
    fn one_that_left_is_forgotten() {
        let mut watchers = Watchers::default();
        let stays = watchers.add(Watch::default());
        drop(watchers.add(Watch::default()));
        watchers.list.retain(Watcher::is_there);
        assert_eq!(watchers.list.len(), 1);
        watchers.tell(Event::Learned, learned("red"));
        assert_eq!(events(&stays).len(), 1);
    }
}
