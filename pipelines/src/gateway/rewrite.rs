//! Rewrite: the only step that changes a tenant's bytes. Off with the outer headers and the segment's tag, on with
//! those of where the frame goes; the frame's own bytes from its EtherType on stay as they are, but for an ECN mark.
//!
//! Read first: RFC 7348 §4 and §5, RFC 7637 §3.2 (FlowID), RFC 8926 §3, RFC 6438 §3 (flow label), RFC 6040 §4, RFC 6864 §4.1,
//! IEEE 802.1Q-2018 §9.6.

use super::DropReason;
use super::parse::{self, Parsed};
use super::pipeline::{Gateway, Turn};
use crate::tables::{
    NeighbourState, PeerEntry, PeerIx, Place, PortId, Resolution, Segment, SegmentKind, Shape, VtepIx,
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
            (SegmentKind::Vlan { port, vid: None }, _) => self.emit(turn, frame, p, port, []),
            (SegmentKind::Vlan { port, vid: Some(vid) }, _) => {
                self.emit(turn, frame, p, port, [tag(EtherType::VLAN, p, vid)]);
            }
            (SegmentKind::Qinq { port, service, outer, inner }, _) => {
                let outer = tag(if service { EtherType::SERVICE_VLAN } else { EtherType::VLAN }, p, outer);
                self.emit(turn, frame, p, port, [outer, tag(EtherType::VLAN, p, inner)]);
            }
            (SegmentKind::Tunnel { network, vtep, .. }, Some(peer)) => {
                self.encapsulate(turn, frame, p, peer, network, vtep);
            }
            (SegmentKind::Tunnel { .. }, None) => self.refuse(turn.port, frame, DropReason::PeerGone),
        }
    }

    /// Sends a frame out on a port behind these tags.
    #[inline(always)]
    fn emit<P, E, const TAGS: usize>(
        &mut self,
        turn: &mut Turn<'_, P, E>,
        mut frame: F,
        p: &Parsed,
        port: PortId,
        tags: [[u8; 4]; TAGS],
    ) where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        let mtu = turn.snapshot.ports().get(port.index()).map_or(0, |info| usize::from(info.mtu));
        if p.payload_len() > mtu {
            return self.refuse(turn.port, frame, DropReason::MtuExceeded);
        }
        let Some(head) = reshape(&mut frame, p, MACS + TAGS * 4) else {
            return self.refuse(turn.port, frame, DropReason::NoHeadroom);
        };
        write_macs(head, p);
        head[MACS..MACS + TAGS * 4].copy_from_slice(tags.as_flattened());
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
        // Ethernet header, IP to tunnel header: all that the underlay's MTU has to hold.
        let inner_len = p.payload_len() + 14;
        let outer_len = entry.shape.len();
        if inner_len + outer_len - 14 > usize::from(entry.mtu) {
            return self.refuse(turn.port, frame, DropReason::MtuExceeded);
        }
        let Some(head) = reshape(&mut frame, p, outer_len + MACS) else {
            return self.refuse(turn.port, frame, DropReason::NoHeadroom);
        };
        let written = match entry.shape {
            Shape::Udp4 => wrap::<{ Shape::UDP4 }>(head, entry, p, |outer| {
                write_ipv4(outer, entry, p, inner_len + 36);
                write_udp(&mut outer[34..], p, inner_len + 16, vni);
            }),
            Shape::Gre4 => wrap::<{ Shape::GRE4 }>(head, entry, p, |outer| {
                write_ipv4(outer, entry, p, inner_len + 28);
                write_key(&mut outer[38..], p, vni);
            }),
            Shape::Udp6 => wrap::<{ Shape::UDP6 }>(head, entry, p, |outer| {
                write_ipv6(outer, p, inner_len + 16);
                write_udp(&mut outer[54..], p, inner_len + 16, vni);
            }),
            Shape::Gre6 => wrap::<{ Shape::GRE6 }>(head, entry, p, |outer| {
                write_ipv6(outer, p, inner_len + 8);
                write_key(&mut outer[58..], p, vni);
            }),
        };
        if written.is_none() {
            return self.refuse(turn.port, frame, DropReason::NoHeadroom);
        }
        let (port, number) = (entry.port, entry.hop(p.inner.flow, &self.neighbours));
        let Some(neighbour) = self.neighbours.get_mut(number) else {
            return self.refuse(turn.port, frame, DropReason::PeerGone);
        };
        neighbour.wanted = true;
        match neighbour.state {
            NeighbourState::Permanent | NeighbourState::Reachable | NeighbourState::Stale => {
                head[..6].copy_from_slice(&neighbour.mac.0);
                self.send(turn, port, frame);
            }
            NeighbourState::Resolving => self.hold(turn, frame, number),
            NeighbourState::Failed => self.refuse(turn.port, frame, DropReason::NextHopFailed),
        }
    }
}

/// A tag with the priority of the one that the frame came with, as it goes on the wire.
#[inline(always)]
fn tag(ether_type: EtherType, p: &Parsed, vid: VlanId) -> [u8; 4] {
    let tci = p.priority | u16::from(vid);
    (u32::from(ether_type.0) << 16 | u32::from(tci)).to_be_bytes()
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

/// Writes an outer header of `N` bytes, and the inner frame's MACs behind it; `vary` puts in what differs from frame to frame.
#[inline(always)]
fn wrap<const N: usize>(head: &mut [u8], entry: &PeerEntry, p: &Parsed, vary: impl FnOnce(&mut [u8; N])) -> Option<()> {
    let (outer, inner) = head.split_first_chunk_mut::<N>()?;
    outer.copy_from_slice(entry.header.first_chunk::<N>()?);
    write_macs(inner, p);
    vary(outer);
    Some(())
}

/// An IPv4 header's length, DSCP, ECN and checksum. The MTU check has bounded the length: it fits in 16 bits.
#[inline(always)]
fn write_ipv4<const N: usize>(outer: &mut [u8; N], entry: &PeerEntry, p: &Parsed, total_len: usize) {
    let total_len = total_len as u16;
    outer[15] = p.inner.class.0;
    outer[16..18].copy_from_slice(&total_len.to_be_bytes());
    let sum = entry.ip_sum + u32::from(p.inner.class.0) + u32::from(total_len);
    // Two folds carry everything: at most eleven words were summed.
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    outer[24..26].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

/// An IPv6 header's payload length, traffic class and flow label, which is never zero (RFC 6438 §3).
#[inline(always)]
fn write_ipv6<const N: usize>(outer: &mut [u8; N], p: &Parsed, payload_len: usize) {
    let label = (p.inner.flow >> 32) as u32 & 0xf_ffff;
    let first = 6 << 28 | u32::from(p.inner.class.0) << 20 | label.max(1);
    outer[14..18].copy_from_slice(&first.to_be_bytes());
    outer[18..20].copy_from_slice(&(payload_len as u16).to_be_bytes());
}

/// A UDP header's source port and length, and the network behind it. The port is of the dynamic range, 49152 to 65535, as RFC 7348
/// §5 and RFC 8926 §3.3 recommend.
#[inline(always)]
fn write_udp(udp: &mut [u8], p: &Parsed, len: usize, vni: Vni) {
    let source_port = 0xc000 | (p.inner.flow >> 32) as u16 & 0x3fff;
    udp[..2].copy_from_slice(&source_port.to_be_bytes());
    udp[4..6].copy_from_slice(&(len as u16).to_be_bytes());
    udp[12..16].copy_from_slice(&(u32::from(vni) << 8).to_be_bytes());
}

/// A GRE key: the virtual subnet, and 8 bits of the inner flow's hash (RFC 7637 §3.2).
#[inline(always)]
fn write_key(key: &mut [u8], p: &Parsed, vsid: Vni) {
    let flow_id = (p.inner.flow >> 32) as u32 & 0xff;
    key[..4].copy_from_slice(&(u32::from(vsid) << 8 | flow_id).to_be_bytes());
}
