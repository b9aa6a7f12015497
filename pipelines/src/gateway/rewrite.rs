//! Rewrite: the only step that changes a tenant's bytes. Off with the outer headers and the segment's tag, on with
//! those of where the frame goes; the frame's own bytes from its EtherType on stay as they are, but for an ECN mark.
//!
//! Read first: RFC 7348 §4 and §5, RFC 7637 §3.2 (FlowID), RFC 8926 §3, RFC 6438 §3 (flow label), RFC 6040 §4,
//! IEEE 802.1Q-2018 §9.6.

use super::DropReason;
use super::parse::{self, Parsed};
use super::pipeline::{Gateway, Turn};
use super::ways::{GRE4, GRE6, Shape, UDP4, UDP6, Way};
use crate::tables::Place;
use crate::{Egress, Frame, Pool};

/// Bytes of both MACs.
pub(super) const MACS: usize = 12;

impl<F: Frame> Gateway<F> {
    /// Sends a frame out at a place.
    #[inline(always)]
    pub(super) fn forward<P, E>(&mut self, turn: &mut Turn<'_, P, E>, frame: F, p: &Parsed, place: Place)
    where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        self.forward_from(turn, frame, p, place, p.from);
    }

    /// The same, with another source MAC.
    #[inline(always)]
    pub(super) fn forward_from<P, E>(
        &mut self,
        turn: &mut Turn<'_, P, E>,
        mut frame: F,
        p: &Parsed,
        place: Place,
        from: u64,
    ) where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        if F::TRACED {
            self.note_towards(turn.snapshot, place);
        }
        let slot = match self.way(turn.snapshot, turn.now, turn.stamp, place, p.inner.flow) {
            Ok(slot) => slot,
            Err(reason) => return self.refuse(turn.port, frame, reason),
        };
        let way = self.ways.get(slot);
        let (port, wait) = (way.port, way.wait);
        match (way.write(&mut frame, p, p.to, from), wait) {
            (Ok(()), None) => self.send(turn, port, frame),
            (Ok(()), Some(neighbour)) => self.hold(turn, frame, neighbour),
            (Err(reason), _) => self.refuse(turn.port, frame, reason),
        }
    }
}

impl Way {
    /// Writes a frame as it leaves by this way, to and from these MACs.
    ///
    /// # Errors
    /// Why it cannot; the frame is then not to be used but to be dropped.
    #[inline(always)]
    pub(super) fn write<F: Frame>(&self, frame: &mut F, p: &Parsed, to: u64, from: u64) -> Result<(), DropReason> {
        let len = p.payload_len();
        // On an untagged segment, a tag of the frame's own would make it another VLAN's at the next switch, which may be
        // another tenant's; in a tunnel, RFC 7348 §6.1 wants none.
        if p.inner.tagged && self.bare {
            return Err(DropReason::InnerTag);
        }
        if len > usize::from(self.most) {
            return Err(DropReason::MtuExceeded);
        }
        match self.shape {
            Shape::Udp4 => self.wrap::<F, UDP4>(frame, p, (to, from), |outer| {
                self.write_ipv4(outer, p, len + 14 + 36);
                write_udp(outer, 34, p, len + 14 + 16);
            }),
            Shape::Tagged => self.tag::<F, 4>(frame, p, (to, from)),
            Shape::Gre4 => self.wrap::<F, GRE4>(frame, p, (to, from), |outer| {
                self.write_ipv4(outer, p, len + 14 + 28);
                outer[41] = flow_id(p);
            }),
            Shape::Untagged => self.tag::<F, 0>(frame, p, (to, from)),
            Shape::TwoTags => self.tag::<F, 8>(frame, p, (to, from)),
            Shape::Udp6 => self.wrap::<F, UDP6>(frame, p, (to, from), |outer| {
                write_ipv6(outer, p, len + 14 + 16);
                write_udp(outer, 54, p, len + 14 + 16);
            }),
            Shape::Gre6 => self.wrap::<F, GRE6>(frame, p, (to, from), |outer| {
                write_ipv6(outer, p, len + 14 + 8);
                outer[61] = flow_id(p);
            }),
        }
        .ok_or(DropReason::NoHeadroom)
    }

    /// An outer header of `N` bytes and the frame's MACs; `vary` puts in what differs from frame to frame.
    #[inline(always)]
    fn wrap<F: Frame, const N: usize>(
        &self,
        frame: &mut F,
        p: &Parsed,
        macs: (u64, u64),
        vary: impl FnOnce(&mut [u8; N]),
    ) -> Option<()> {
        let head = reshape(frame, p, N + MACS)?;
        let (outer, inner) = head.split_first_chunk_mut::<N>()?;
        outer.copy_from_slice(self.header.first_chunk::<N>()?);
        write_macs(inner.first_chunk_mut()?, macs);
        vary(outer);
        Some(())
    }

    /// The frame's MACs and `N` bytes of tags, with its priority.
    #[inline(always)]
    fn tag<F: Frame, const N: usize>(&self, frame: &mut F, p: &Parsed, to_from: (u64, u64)) -> Option<()> {
        let (macs, rest) = reshape(frame, p, MACS + N)?.split_first_chunk_mut()?;
        write_macs(macs, to_from);
        let tags = rest.first_chunk_mut::<N>()?;
        tags.copy_from_slice(self.header.first_chunk::<N>()?);
        for tag in tags.as_chunks_mut::<4>().0 {
            tag[2] |= (p.priority >> 8) as u8;
        }
        Some(())
    }

    /// An IPv4 header's length, DSCP, ECN and checksum. The MTU check has bounded the length: it fits in 16 bits.
    #[inline(always)]
    fn write_ipv4<const N: usize>(&self, outer: &mut [u8; N], p: &Parsed, total_len: usize) {
        let total_len = total_len as u16;
        outer[15] = p.inner.class.0;
        outer[16..18].copy_from_slice(&total_len.to_be_bytes());
        let sum = self.ip_sum + u32::from(p.inner.class.0) + u32::from(total_len);
        // Two folds carry everything: at most eleven words were summed.
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        outer[24..26].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    }
}

/// An IPv6 header's payload length, traffic class and flow label, which is never zero (RFC 6438 §3).
#[inline(always)]
fn write_ipv6<const N: usize>(outer: &mut [u8; N], p: &Parsed, payload_len: usize) {
    let label = (p.inner.flow >> 32) as u32 & 0xf_ffff;
    let first = 6 << 28 | u32::from(p.inner.class.0) << 20 | label.max(1);
    outer[14..18].copy_from_slice(&first.to_be_bytes());
    outer[18..20].copy_from_slice(&(payload_len as u16).to_be_bytes());
}

/// A UDP header's source port and length. The port is of the dynamic range, 49152 to 65535, as RFC 7348 §5 and RFC 8926 §3.3
/// recommend.
#[inline(always)]
fn write_udp<const N: usize>(outer: &mut [u8; N], at: usize, p: &Parsed, len: usize) {
    let source_port = 0xc000 | (p.inner.flow >> 32) as u16 & 0x3fff;
    outer[at..at + 2].copy_from_slice(&source_port.to_be_bytes());
    outer[at + 4..at + 6].copy_from_slice(&(len as u16).to_be_bytes());
}

/// 8 bits of the inner flow's hash, beside the virtual subnet (RFC 7637 §3.2).
#[inline(always)]
fn flow_id(p: &Parsed) -> u8 {
    (p.inner.flow >> 32) as u8
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

/// Writes both MACs.
#[inline(always)]
fn write_macs(macs: &mut [u8; MACS], (to, from): (u64, u64)) {
    // Two overlapping stores: the two bytes too many of the first are written again by the second.
    macs[..8].copy_from_slice(&(to << 16 | from >> 32 & 0xffff).to_be_bytes());
    macs[6..].copy_from_slice(&from.to_be_bytes()[2..]);
}
