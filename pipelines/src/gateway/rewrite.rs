//! Rewrite: the only step that changes a tenant's bytes. Off with the outer headers and the segment's tag, on with
//! those of where the frame goes; the frame's own bytes from its EtherType on stay as they are, but for an ECN mark.
//!
//! Read first: RFC 7348 §4 and §5, RFC 6040 §4, RFC 6864 §4.1, IEEE 802.1Q-2018 §9.6.

use super::DropReason;
use super::parse::{self, Parsed};
use super::pipeline::{Gateway, Turn};
use crate::tables::{
    NeighbourState, OUTER_LEN, PeerEntry, PeerIx, Place, PortId, Resolution, Segment, SegmentKind, VtepIx,
};
use crate::wire::{EtherType, VlanId, Vni};
use crate::{Egress, Frame, Pool};

/// Bytes of both MACs.
const MACS: usize = 12;

impl<F: Frame> Gateway<F> {
    /// Sends one of a flooded frame's copies out at a place.
    pub(super) fn forward_copy<P, E>(&mut self, turn: &mut Turn<'_, P, E>, frame: F, p: &Parsed, place: Place)
    where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        match turn.snapshot.segment(place.segment()) {
            Some(segment) => self.forward(turn, frame, p, place, segment),
            None => self.refuse(turn.port, frame, DropReason::PeerGone),
        }
    }

    /// Sends a frame out at a place, which is on that segment.
    #[inline(always)]
    pub(super) fn forward<P, E>(
        &mut self,
        turn: &mut Turn<'_, P, E>,
        frame: F,
        p: &Parsed,
        place: Place,
        segment: &Segment,
    ) where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        // On an untagged segment, a tag of the frame's own would make it another VLAN's at the next switch, which may be
        // another tenant's; in a tunnel, RFC 7348 §6.1 wants none.
        let bare = match segment.kind {
            SegmentKind::Vlan { vid, .. } => vid.is_none(),
            SegmentKind::Qinq { .. } => false,
            SegmentKind::Tunnel { .. } => !segment.carry_tags,
        };
        if p.inner.tagged && bare {
            return self.refuse(turn.port, frame, DropReason::InnerTag);
        }
        match (segment.kind, place.peer()) {
            (SegmentKind::Vlan { port, vid }, _) => self.emit_on_vlan(turn, frame, p, port, vid),
            (SegmentKind::Tunnel { network, vtep, .. }, Some(peer)) => {
                self.encapsulate(turn, frame, p, peer, network, vtep);
            }
            (SegmentKind::Tunnel { .. } | SegmentKind::Qinq { .. }, _) => {
                self.refuse(turn.port, frame, DropReason::PeerGone)
            }
        }
    }

    #[inline(always)]
    fn emit_on_vlan<P, E>(
        &mut self,
        turn: &mut Turn<'_, P, E>,
        mut frame: F,
        p: &Parsed,
        port: PortId,
        vid: Option<VlanId>,
    ) where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        let mtu = turn.snapshot.ports().get(port.index()).map_or(0, |info| usize::from(info.mtu));
        if p.payload_len() > mtu {
            return self.refuse(turn.port, frame, DropReason::MtuExceeded);
        }
        let to = MACS + if vid.is_some() { 4 } else { 0 };
        let Some(head) = reshape(&mut frame, p, to) else {
            return self.refuse(turn.port, frame, DropReason::NoHeadroom);
        };
        write_macs(head, p);
        if let Some(vid) = vid {
            let tci = p.priority | u16::from(vid);
            let tag = u32::from(EtherType::VLAN.0) << 16 | u32::from(tci);
            head[MACS..MACS + 4].copy_from_slice(&tag.to_be_bytes());
        }
        self.send(turn, port, frame);
    }

    #[inline(always)]
    fn encapsulate<P, E>(
        &mut self,
        turn: &mut Turn<'_, P, E>,
        mut frame: F,
        p: &Parsed,
        peer: PeerIx,
        vni: Vni,
        vtep: VtepIx,
    ) where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        let Some(entry) = self.peers.get(peer, turn.snapshot, &mut self.neighbours, turn.now) else {
            return self.refuse(turn.port, frame, DropReason::PeerGone);
        };
        match entry.resolution {
            Resolution::Ready if entry.vtep == vtep => {}
            // The number has outlived its peer, and was given to another vtep's.
            Resolution::Ready => return self.refuse(turn.port, frame, DropReason::PeerGone),
            Resolution::Gone => return self.refuse(turn.port, frame, DropReason::PeerGone),
            Resolution::NoRoute => return self.refuse(turn.port, frame, DropReason::NoRoute),
            Resolution::NoNeighbour => return self.refuse(turn.port, frame, DropReason::NeighbourTableFull),
        }
        // Ethernet header, IP to VXLAN header: all that the underlay's MTU has to hold.
        let inner_len = p.payload_len() + 14;
        if inner_len + OUTER_LEN - 14 > usize::from(entry.mtu) {
            return self.refuse(turn.port, frame, DropReason::MtuExceeded);
        }
        let Some(head) = reshape(&mut frame, p, OUTER_LEN + MACS) else {
            return self.refuse(turn.port, frame, DropReason::NoHeadroom);
        };
        let Some((outer, inner)) = head.split_first_chunk_mut::<OUTER_LEN>() else {
            return self.refuse(turn.port, frame, DropReason::NoHeadroom);
        };
        write_macs(inner, p);
        write_outer(outer, entry, p, inner_len, vni);
        let (port, number) = (entry.port, entry.neighbour);
        let Some(neighbour) = self.neighbours.get_mut(number) else {
            return self.refuse(turn.port, frame, DropReason::PeerGone);
        };
        neighbour.wanted = true;
        match neighbour.state {
            NeighbourState::Permanent | NeighbourState::Reachable | NeighbourState::Stale => {
                outer[..6].copy_from_slice(&neighbour.mac.0);
                self.send(turn, port, frame);
            }
            NeighbourState::Resolving => self.hold(turn, frame, number),
            NeighbourState::Failed => self.refuse(turn.port, frame, DropReason::NextHopFailed),
        }
    }
}

/// Moves the frame's front so that `to` bytes are before its EtherType, and returns the first segment. The bytes there
/// are arbitrary then; the frame ends where it should.
#[inline(always)]
fn reshape<'f, F: Frame>(frame: &'f mut F, p: &Parsed, to: usize) -> Option<&'f mut [u8]> {
    let from = usize::from(p.rest_at);
    frame.truncate(p.end as usize);
    if let Some(ecn) = p.ecn {
        parse::set_ecn(frame.head_mut().get_mut(from..)?, &p.inner, ecn);
    }
    if from >= to {
        frame.trim_front(from - to);
        Some(frame.head_mut())
    } else {
        frame.prepend(to - from)
    }
}

/// Writes both MACs at the beginning of `head`.
#[inline]
fn write_macs(head: &mut [u8], p: &Parsed) {
    // Two overlapping stores: the two bytes too many of the first are written again by the second.
    head[..8].copy_from_slice(&(p.to << 16 | p.from >> 32 & 0xffff).to_be_bytes());
    head[6..MACS].copy_from_slice(&p.from.to_be_bytes()[2..]);
}

/// Writes an outer header for a frame of `inner_len` bytes, but for the destination MAC.
#[inline]
fn write_outer(outer: &mut [u8; OUTER_LEN], entry: &PeerEntry, p: &Parsed, inner_len: usize, vni: Vni) {
    *outer = entry.header;
    // The MTU check has bounded both: they fit in 16 bits.
    let udp_len = (inner_len + 16) as u16;
    let total_len = udp_len + 20;
    outer[15] = p.inner.class.0;
    outer[16..18].copy_from_slice(&total_len.to_be_bytes());
    let sum = entry.ip_sum + u32::from(p.inner.class.0) + u32::from(total_len);
    // Two folds carry everything: at most eleven words were summed.
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    outer[24..26].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    // The dynamic range, as RFC 7348 §5 recommends: 49152 to 65535.
    let source_port = 0xc000 | (p.inner.flow >> 32) as u16 & 0x3fff;
    outer[34..36].copy_from_slice(&source_port.to_be_bytes());
    outer[38..40].copy_from_slice(&udp_len.to_be_bytes());
    outer[46..50].copy_from_slice(&(u32::from(vni) << 8).to_be_bytes());
}
