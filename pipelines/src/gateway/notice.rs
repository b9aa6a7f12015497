//! Notice: what those who watch are told, one by one, where counters only say how often.
//!
//! Owns: a bounded ring, filled only while somebody watches. What finds no room is lost, and how much that was is
//! counted and told too: a watcher never slows the path, and never believes that it saw everything when it did not.

use super::meter::Class;
use crate::tables::{BridgeId, Peer, PortId, SegmentIx};
use crate::wire::MacAddr;
use alloc::collections::VecDeque;
use core::net::IpAddr;

/// So many notices wait for the next tick at most.
const ROOM: usize = 1024;

/// A place by what the configuration calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whereabouts {
    /// The segment.
    pub segment: SegmentIx,
    /// The peer behind a tunnel segment.
    pub peer: Option<Peer>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A MAC was learned that was not known.
    Learned,
    /// A learned MAC turned up elsewhere, and is there now.
    Moved,
    /// A learned MAC was forgotten.
    Aged,
    /// A MAC moved too often, and stays where it is for a while.
    Frozen,
    /// A MAC was not learned: its bridge has as many as it may. At most once a second for a bridge and port.
    MacLimit,
    /// The same of a binding.
    BindingLimit,
    /// A bridge's port brought more of that than it may. At most once a second for each class.
    Storm(Class),
    /// Somebody used an address that is not its own. At most once a second for a bridge and port.
    Spoofed,
    /// A binding was learned that was not known.
    BindingLearned,
    /// A binding has another MAC now.
    BindingMoved,
    /// A learned binding was forgotten.
    BindingAged,
    /// A next hop does not answer.
    NeighbourFailed,
}

/// One thing that happened, and to whom. What does not apply is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What.
    pub what: Happening,
    /// On which bridge.
    pub bridge: Option<BridgeId>,
    /// Which host.
    pub mac: Option<MacAddr>,
    /// Which address.
    pub address: Option<IpAddr>,
    /// Where it is now, or was when it was forgotten.
    pub at: Option<Whereabouts>,
    /// Where it was before.
    pub from: Option<Whereabouts>,
    /// The port that it came in by.
    pub port: Option<PortId>,
}

impl Notice {
    /// Of a host on a bridge.
    pub fn of(what: Happening, bridge: BridgeId, mac: MacAddr) -> Self {
        Self { bridge: Some(bridge), mac: Some(mac), ..Self::new(what) }
    }

    /// Of nobody yet.
    pub fn new(what: Happening) -> Self {
        Self { what, bridge: None, mac: None, address: None, at: None, from: None, port: None }
    }
}

/// The ring.
pub(super) struct Notices {
    ring: VecDeque<Notice>,
    watched: bool,
    lost: u64,
}

impl Notices {
    /// An empty one that nobody watches.
    pub(super) fn new() -> Self {
        Self { ring: VecDeque::with_capacity(ROOM), watched: false, lost: 0 }
    }

    /// Says whether somebody watches. What waits when nobody does any more is forgotten.
    pub(super) fn watch(&mut self, watched: bool) {
        self.watched = watched;
        if !watched {
            self.ring.clear();
            self.lost = 0;
        }
    }

    /// Notes what happened, if somebody watches.
    #[inline]
    pub(super) fn note(&mut self, notice: impl FnOnce() -> Notice) {
        if !self.watched {
            return;
        }
        if self.ring.len() < ROOM {
            self.ring.push_back(notice());
        } else {
            self.lost += 1;
        }
    }

    /// The oldest.
    pub(super) fn next(&mut self) -> Option<Notice> {
        self.ring.pop_front()
    }

    /// Gives one back that found no room elsewhere.
    pub(super) fn give_back(&mut self, notice: Notice) {
        self.ring.push_front(notice);
    }

    /// How many found no room since this was last asked.
    pub(super) fn take_lost(&mut self) -> u64 {
        core::mem::take(&mut self.lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_kept_that_nobody_watches() {
        let mut n = Notices::new();
        n.note(|| unreachable!("nobody asked"));
        n.watch(true);
        n.note(|| Notice::new(Happening::Learned));
        n.watch(false);
        assert_eq!((n.next(), n.take_lost()), (None, 0));
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let mut n = Notices::new();
        n.watch(true);
        let room = n.ring.capacity();
        for port in 0..ROOM as u16 + 10 {
            n.note(|| Notice { port: Some(PortId(port)), ..Notice::new(Happening::Learned) });
        }
        assert_eq!((n.ring.capacity(), n.take_lost(), n.take_lost()), (room, 10, 0));
        assert_eq!(n.next().and_then(|notice| notice.port), Some(PortId(0)), "the oldest are kept, and come first");
    }
}
