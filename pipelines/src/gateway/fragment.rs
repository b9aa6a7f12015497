//! Fragment: routed packets that do not fit the way on. IPv4 that may be is cut; who sent anything else is told what fits.
//!
//! What fits is what the way on has room for inside its tunnel, and what the bridge's hosts take. The outer header is never
//! fragmented. The first fragment is the frame itself, the others are new ones.
//! Read first: RFC 791 §3.2, RFC 1191 §4, RFC 8200 §5.

use super::counters::{DropReason, Event};
use super::parse::{self, Parsed};
use super::pipeline::{Gateway, Turn};
use super::rewrite::MACS;
use super::route::hop_on;
use crate::tables::Place;
use crate::wire::{EtherType, Fragments, IcmpError, Piece};
use crate::{Egress, Frame, Pool};

/// A packet is cut in so many pieces at most.
const PIECES: usize = 64;
/// In front of an IP header: MACs and EtherType.
const ETHERNET: usize = MACS + 2;

impl<F: Frame> Gateway<F> {
    /// Does what is to be done with a routed packet of which only `most` bytes would fit.
    #[cold]
    pub(super) fn too_large<P, E>(
        &mut self,
        turn: &mut Turn<'_, P, E>,
        mut frame: F,
        p: &Parsed,
        place: Place,
        most: u16,
    ) where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        let at = usize::from(p.rest_at) + 2;
        let total_len = (p.end as usize).saturating_sub(at);
        let header = frame.head().get(at..).filter(|_| p.inner.ip_version == 4);
        let cut = header.and_then(|header| Fragments::new(header, total_len, most.into()));
        if cut.is_none() {
            let error = IcmpError::TooBig { mtu: most };
            return self.refer(turn, frame, p, error, DropReason::FragmentationNeeded);
        }
        // With a hop less, and the mark of congestion, in every piece.
        if let (Some(ecn), Some(rest)) = (p.ecn, frame.head_mut().get_mut(usize::from(p.rest_at)..)) {
            parse::set_ecn(rest, &p.inner, ecn);
        }
        if hop_on(&mut frame, p, most).is_none() {
            return self.refuse(turn.port, frame, DropReason::Truncated);
        }
        let pieces = frame.head().get(at..).and_then(|header| Fragments::new(header, total_len, most.into()));
        let mut pieces = pieces.into_iter().flatten();
        let Some(first) = pieces.next() else { return self.refuse(turn.port, frame, DropReason::Truncated) };
        let payload_at = at + first.header.len();
        let mut later = heapless::Vec::<F, PIECES>::new();
        for piece in pieces {
            self.counters.originated += 1;
            let made = self.make_piece(turn, &frame, &piece, payload_at);
            if let Some(Err(piece)) = made.map(|made| later.push(made)) {
                self.refuse(turn.port, piece, DropReason::FragmentationNeeded);
            }
        }
        self.counters.count(Event::Fragmented);
        if let Some(place) = frame.head_mut().get_mut(at..payload_at) {
            place.copy_from_slice(&first.header);
        }
        let lane = Parsed { to: p.hop.to, end: (payload_at + first.len) as u32, ecn: None, ..*p };
        self.forward_from(turn, frame, &lane, place, p.hop.from);
        for frame in later {
            let lane = Parsed { rest_at: MACS as u16, end: frame.len() as u32, ..lane };
            self.forward_from(turn, frame, &lane, place, p.hop.from);
        }
    }

    /// A later fragment. What cannot be made is counted.
    fn make_piece<P, E>(&mut self, turn: &mut Turn<'_, P, E>, frame: &F, piece: &Piece, payload_at: usize) -> Option<F>
    where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        let len = ETHERNET + piece.header.len() + piece.len;
        let Some(mut made) = turn.pool.alloc(len) else {
            self.counters.drop(turn.port, DropReason::NoMbuf);
            return None;
        };
        let (before, payload) = made.head_mut().split_at_mut(ETHERNET + piece.header.len());
        before[MACS..ETHERNET].copy_from_slice(&EtherType::IPV4.0.to_be_bytes());
        before[ETHERNET..].copy_from_slice(&piece.header);
        if !frame.read(payload_at + piece.from, payload) {
            self.refuse(turn.port, made, DropReason::Truncated);
            return None;
        }
        Some(made)
    }
}
