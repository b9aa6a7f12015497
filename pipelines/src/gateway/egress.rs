//! Egress: frames to the ports, one or many.
//!
//! Flooding is head-end replication: a copy to each VLAN segment of the bridge but the one it came from, and to each peer
//! but, if it came from a tunnel, those of the same full mesh, who have had their own copy (split horizon).

use super::counters::{DropReason, Event};
use super::meter::Class;
use super::parse::Parsed;
use super::pipeline::{Gateway, Turn};
use super::trace::Step;
use crate::tables::{PeerIx, Place, PortId, SegmentIx};
use crate::{Egress, Frame, Pool};

impl<F: Frame> Gateway<F> {
    /// Gives a frame to a port.
    #[inline]
    pub(super) fn send<P, E: Egress<F>>(&mut self, turn: &mut Turn<'_, P, E>, port: PortId, frame: F) {
        if F::TRACED {
            let length = frame.len() as u32;
            self.note(|_| Step::Leaves { port, length });
        }
        match turn.out.send(port, frame) {
            Ok(()) => self.counters.sent += 1,
            Err(frame) => self.refuse(turn.port, frame, DropReason::TxFull),
        }
    }

    /// Sends a frame everywhere on its bridge but back, if as many of its class may come in.
    #[inline(never)]
    pub(super) fn flood<P, E>(&mut self, turn: &mut Turn<'_, P, E>, frame: F, p: &Parsed, class: Class)
    where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        if !self.may_flood(turn, p, class) {
            return self.refuse(turn.port, frame, DropReason::Storm);
        }
        self.flood_admitted(turn, frame, p);
    }

    /// The same of a frame that was let in before.
    pub(super) fn flood_admitted<P, E>(&mut self, turn: &mut Turn<'_, P, E>, frame: F, p: &Parsed)
    where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        let snapshot = turn.snapshot;
        let Some(bridge) = snapshot.bridge(p.bridge) else {
            return self.refuse(turn.port, frame, DropReason::UnknownVlan);
        };
        self.counters.count(Event::Flooded);
        let local = bridge.local.iter().filter(|&&ix| ix != p.place.segment()).map(|&ix| Place::new(ix, None));
        let is_beyond = |(ix, peer): &(SegmentIx, PeerIx)| {
            let mesh = || snapshot.segment(*ix).map(|segment| snapshot.mesh(*ix, segment, Some(*peer)));
            !p.tunnel || mesh().is_some_and(|mesh| mesh != p.mesh)
        };
        let remote = bridge.remote.iter().filter(|target| is_beyond(target));
        let mut places = local.chain(remote.map(|&(ix, peer)| Place::new(ix, Some(peer))));
        // All but the last get copies, the last the frame itself.
        let Some(mut place) = places.next() else {
            return self.refuse(turn.port, frame, DropReason::NoFloodTarget);
        };
        for next in places {
            self.counters.originated += 1;
            match turn.pool.copy(&frame) {
                Some(copy) => self.forward_from(turn, copy, p, place, source(p, place)),
                None => self.counters.drop(turn.port, DropReason::NoMbuf),
            }
            place = next;
        }
        self.forward_from(turn, frame, p, place, source(p, place));
    }
}

/// The MAC that a frame leaves with at a place.
fn source(p: &Parsed, place: Place) -> u64 {
    if p.dressed && place.peer().is_none() { p.hop.from } else { p.from }
}
