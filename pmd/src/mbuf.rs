//! Frames in DPDK's buffers: owned, with room in front, in one or several segments.
//!
//! Owns: [`Mbuf`] and all arithmetic on a buffer's fields. Refuses: shared buffers. Read first: the "Mbuf Library" chapter
//! of DPDK's programmer's guide.
//!
//! # What every `unsafe` block here relies on
//!
//! An `Mbuf` holds the only pointer to the first segment of a chain, and
//! 1. each segment's `[data_off, data_off + data_len)` lies within its `buf_len` bytes at `buf_addr`;
//! 2. the chain has `nb_segs` segments, ends in a null `next`, and `pkt_len` is the sum of their `data_len`;
//! 3. nobody else reads or writes those buffers: every reference count is 1 and no segment is indirect.
//!
//! Buffers come from [`crate::Mempool`], which makes them so, and from drivers, which owe it to
//! `rte_eth_rx_burst`'s caller. This crate never attaches, clones or raises a count. A driver may deliver *external* buffers
//! (mlx5's multi-packet receive queues, zero-copy memif): their bytes are outside the pool's element, but still
//! `buf_len` bytes at `buf_addr` for this frame alone, which is all that is used here. An *indirect* buffer shares its bytes with
//! another frame, and no driver that receives makes one. [`crate::RxQueue::receive`] checks all of this in debug builds.

use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use bitflags::bitflags;
use weir_dpdk_sys as sys;

use crate::segment::{Segment, free_chain};

/// Bytes that DPDK keeps free in front of a received or newly allocated frame (`RTE_PKTMBUF_HEADROOM`).
pub const HEADROOM: usize = sys::WEIR_HEADROOM as usize;

bitflags! {
    /// What the device says of a frame (`ol_flags`); only the flags that are used here.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct MbufFlags: u64 {
        /// The device saw a VLAN tag.
        const RX_VLAN = sys::WEIR_F_RX_VLAN;
        /// The device took the VLAN tag out of the data.
        const RX_VLAN_STRIPPED = sys::WEIR_F_RX_VLAN_STRIPPED;
        /// The device computed an RSS hash.
        const RX_RSS_HASH = sys::WEIR_F_RX_RSS_HASH;
        /// The IP header's checksum is wrong; with `RX_IP_CHECKSUM_GOOD`: absent, but the header was not damaged.
        const RX_IP_CHECKSUM_BAD = sys::WEIR_F_RX_IP_CKSUM_BAD;
        /// The IP header's checksum is right.
        const RX_IP_CHECKSUM_GOOD = sys::WEIR_F_RX_IP_CKSUM_GOOD;
        /// The outer IP header's checksum is wrong.
        const RX_OUTER_IP_CHECKSUM_BAD = sys::WEIR_F_RX_OUTER_IP_CKSUM_BAD;
        /// The bytes belong to another mbuf.
        const INDIRECT = sys::WEIR_F_INDIRECT;
        /// The bytes belong to the driver.
        const EXTERNAL = sys::WEIR_F_EXTERNAL;
    }
}

/// What the device says of the checksum of a received frame's first IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// The device found it right.
    Good,
    /// The device found it wrong.
    Bad,
    /// The device did not look, or its answer is about an inner header.
    Unknown,
}

impl Checksum {
    #[inline]
    fn said_by(flags: MbufFlags, packet_type: u32) -> Self {
        let all = MbufFlags::RX_OUTER_IP_CHECKSUM_BAD | MbufFlags::RX_IP_CHECKSUM_GOOD | MbufFlags::RX_IP_CHECKSUM_BAD;
        if !flags.intersects(all) {
            return Self::Unknown;
        }
        if flags.contains(MbufFlags::RX_OUTER_IP_CHECKSUM_BAD) {
            return Self::Bad;
        }
        if packet_type & sys::WEIR_PTYPE_TUNNEL_MASK != 0 {
            return Self::Unknown;
        }
        match (flags.contains(MbufFlags::RX_IP_CHECKSUM_GOOD), flags.contains(MbufFlags::RX_IP_CHECKSUM_BAD)) {
            (true, false) => Self::Good,
            (false, true) => Self::Bad,
            _ => Self::Unknown,
        }
    }
}

/// One frame, in one or several segments. Dropping it gives its buffers back to their pool.
///
/// If there are several segments and the frame is not empty, the first is not empty either.
#[repr(transparent)]
pub struct Mbuf(NonNull<sys::rte_mbuf>);

// SAFETY: an Mbuf is the only owner of its buffers, and pools take buffers back from any thread.
unsafe impl Send for Mbuf {}

impl Mbuf {
    /// Takes ownership of a frame.
    ///
    /// # Safety
    /// The pointer is to a frame of which the module's invariants hold, and of which the caller was the owner.
    #[inline(always)]
    pub(crate) unsafe fn from_raw(raw: NonNull<sys::rte_mbuf>) -> Self {
        Self(raw)
    }

    /// Gives up ownership: the caller must give the frame to DPDK, or back to `from_raw`.
    #[inline(always)]
    pub(crate) fn into_raw(self) -> *mut sys::rte_mbuf {
        ManuallyDrop::new(self).0.as_ptr()
    }

    /// The frame's pointer, still owned by `self`.
    pub(crate) fn as_raw(&self) -> *mut sys::rte_mbuf {
        self.0.as_ptr()
    }

    #[inline(always)]
    fn first(&self) -> Segment {
        Segment(self.0)
    }

    /// Length of the whole frame, bytes.
    #[inline]
    #[allow(clippy::len_without_is_empty, reason = "an empty frame is never asked for")]
    pub fn len(&self) -> usize {
        self.first().pkt_len() as usize
    }

    /// The first segment's bytes.
    #[inline]
    pub fn head(&self) -> &[u8] {
        let first = self.first();
        // SAFETY: invariants 1 and 3; the slice borrows self.
        unsafe { std::slice::from_raw_parts(first.data(), usize::from(first.data_len())) }
    }

    /// The first segment's bytes, writable.
    #[inline]
    pub fn head_mut(&mut self) -> &mut [u8] {
        let first = self.first();
        // SAFETY: invariants 1 and 3; the slice borrows self mutably.
        unsafe { std::slice::from_raw_parts_mut(first.data(), usize::from(first.data_len())) }
    }

    /// The bytes of every segment, first to last.
    pub fn segments(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::successors(Some(self.first()), |segment| segment.next()).map(|segment| {
            // SAFETY: invariants 1 to 3; the slices borrow self.
            unsafe { std::slice::from_raw_parts(segment.data().cast_const(), usize::from(segment.data_len())) }
        })
    }

    /// Whether there are segments behind the first.
    #[inline]
    pub fn is_segmented(&self) -> bool {
        self.first().nb_segs() > 1
    }

    /// Free bytes in front of the frame.
    #[inline]
    pub fn headroom(&self) -> usize {
        usize::from(self.first().data_off())
    }

    /// What the device says of the frame.
    #[inline]
    pub fn flags(&self) -> MbufFlags {
        MbufFlags::from_bits_truncate(self.first().ol_flags())
    }

    /// What the device says of the checksum of the frame's first IP header, as received.
    ///
    /// A device that looks into tunnels reports the innermost header here, and of the outer only that it is wrong.
    #[inline]
    pub fn ip_checksum(&self) -> Checksum {
        Checksum::said_by(self.flags(), self.first().packet_type())
    }

    /// Asks the processor to fetch the frame's first cache line of data, which parsing will need soon.
    #[inline(always)]
    pub fn prefetch(&self) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch reads nothing architecturally; SSE is part of x86-64.
        unsafe {
            core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(self.first().data().cast());
        }
    }

    /// Makes `n` bytes of room in front, their content arbitrary, and returns the first segment with them. `None`, and
    /// no change, if there is less headroom or the frame would be longer than its length field can say.
    #[inline]
    pub fn prepend(&mut self, n: usize) -> Option<&mut [u8]> {
        let mut first = self.first();
        let data_off = first.data_off();
        // No overflow below: data_off + data_len <= buf_len, which is a u16, so data_len + n fits for n <= data_off.
        if n > usize::from(data_off) {
            return None;
        }
        let pkt_len = first.pkt_len().checked_add(n as u32)?;
        first.set_data_off(data_off - n as u16);
        first.set_data_len(first.data_len() + n as u16);
        first.set_pkt_len(pkt_len);
        Some(self.head_mut())
    }

    /// Takes `n` bytes away in front.
    ///
    /// # Panics
    /// If the first segment is shorter than `n`.
    #[inline]
    pub fn trim_front(&mut self, n: usize) {
        let mut first = self.first();
        let data_len = first.data_len();
        assert!(n <= usize::from(data_len), "trim_front({n}) of a first segment of {data_len} bytes");
        first.set_data_off(first.data_off() + n as u16);
        first.set_data_len(data_len - n as u16);
        first.set_pkt_len(first.pkt_len() - n as u32);
        if n == usize::from(data_len) && first.nb_segs() > 1 {
            self.refill_head();
        }
    }

    /// Puts bytes into an empty first segment: some devices cannot send one.
    #[cold]
    fn refill_head(&mut self) {
        const ENOUGH_FOR_HEADERS: usize = 64;
        let wanted = self.len().min(ENOUGH_FOR_HEADERS).min(usize::from(self.first().buf_len()));
        let filled = self.pull(wanted);
        debug_assert!(filled, "an empty first segment has its whole buffer as room");
    }

    /// Cuts the frame to `len` bytes, and frees the segments behind; nothing happens if it is not longer.
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        let mut first = self.first();
        if len >= first.pkt_len() as usize {
            return;
        }
        if len <= usize::from(first.data_len()) && first.nb_segs() == 1 {
            // Both fit: len is at most data_len.
            first.set_data_len(len as u16);
            first.set_pkt_len(len as u32);
        } else {
            self.truncate_chain(len);
        }
    }

    #[cold]
    fn truncate_chain(&mut self, len: usize) {
        let mut first = self.first();
        let mut segment = first;
        let mut left = len;
        let mut kept: u16 = 1;
        while left > usize::from(segment.data_len()) {
            left -= usize::from(segment.data_len());
            // len < pkt_len, so there are more bytes behind (invariant 2).
            let Some(next) = segment.next() else { break };
            segment = next;
            kept += 1;
        }
        // At most data_len, by the loop's condition.
        segment.set_data_len(left as u16);
        let rest = segment.next();
        segment.set_next_raw(std::ptr::null_mut());
        first.set_nb_segs(kept);
        first.set_pkt_len(len as u32);
        free_chain(rest);
    }

    /// Moves bytes forward from later segments until the first holds at least `n`, and frees the segments that this
    /// empties. False if the frame is shorter than that or the first segment's buffer is smaller: the frame is then as it was.
    ///
    /// Bytes go behind those of the first segment; where there is no room, its bytes move into the headroom, no
    /// further than needed.
    #[inline]
    pub fn pull(&mut self, n: usize) -> bool {
        n <= usize::from(self.first().data_len()) || self.pull_from_chain(n)
    }

    #[cold]
    fn pull_from_chain(&mut self, n: usize) -> bool {
        let mut first = self.first();
        if n > self.len() || n > usize::from(first.buf_len()) {
            return false;
        }
        let data_len = usize::from(first.data_len());
        let mut missing = n - data_len;
        let shift = missing.saturating_sub(first.tailroom());
        if shift > 0 {
            let data = first.data();
            // SAFETY: n <= buf_len = data_off + data_len + tailroom, so shift <= data_off: the bytes stay in the buffer.
            unsafe { std::ptr::copy(data, data.sub(shift), data_len) };
            first.set_data_off(first.data_off() - shift as u16);
        }
        while missing > 0 {
            // n <= pkt_len, so there are bytes behind the first segment (invariant 2).
            let Some(mut next) = first.next() else { break };
            let taken = missing.min(usize::from(next.data_len()));
            let filled = first.data_len();
            // SAFETY: the room was made above; two segments never overlap (invariant 3); both lie in their buffers.
            unsafe {
                std::ptr::copy_nonoverlapping(next.data(), first.data().add(usize::from(filled)), taken);
            }
            first.set_data_len(filled + taken as u16);
            missing -= taken;
            if taken == usize::from(next.data_len()) {
                first.set_next_raw(next.next_raw());
                first.set_nb_segs(first.nb_segs() - 1);
                // SAFETY: unlinked just now, and not used again.
                unsafe { next.free() };
            } else {
                next.set_data_off(next.data_off() + taken as u16);
                next.set_data_len(next.data_len() - taken as u16);
            }
        }
        true
    }

    /// Copies bytes from `at` on, in whichever segments they are, to fill `out`. False if the frame ends before: `out` is then
    /// arbitrary.
    pub fn read(&self, mut at: usize, mut out: &mut [u8]) -> bool {
        let mut segment = Some(self.first());
        while let Some(this) = segment {
            let len = usize::from(this.data_len());
            if at < len {
                let taken = out.len().min(len - at);
                // SAFETY: at + taken <= data_len (invariant 1); `out` is a Rust slice, which no segment is part of.
                unsafe { std::ptr::copy_nonoverlapping(this.data().add(at), out.as_mut_ptr(), taken) };
                out = &mut out[taken..];
                at += taken;
            }
            if out.is_empty() {
                return true;
            }
            at -= len.min(at);
            segment = this.next();
        }
        out.is_empty()
    }

    /// Adds `n` zero bytes behind the last segment's, and returns them. `None`, and no change, if there is no room.
    pub fn append(&mut self, n: usize) -> Option<&mut [u8]> {
        if self.len() == 0 && self.is_segmented() {
            // The bytes belong into the first segment.
            self.truncate_chain(0);
        }
        let mut first = self.first();
        let mut last = self.last();
        if n > last.tailroom() {
            return None;
        }
        let pkt_len = first.pkt_len().checked_add(n as u32)?;
        let filled = last.data_len();
        // SAFETY: n bytes of tailroom follow the data (invariant 1), and are this frame's alone (invariant 3).
        let added = unsafe {
            let end = last.data().add(usize::from(filled));
            std::ptr::write_bytes(end, 0, n);
            std::slice::from_raw_parts_mut(end, n)
        };
        last.set_data_len(filled + n as u16);
        first.set_pkt_len(pkt_len);
        Some(added)
    }

    /// Hangs `next` behind this frame's last segment. Gives it back if the chain would be longer than can be said.
    pub fn chain(&mut self, next: Mbuf) -> Result<(), Mbuf> {
        let mut first = self.first();
        let segments = first.nb_segs().checked_add(next.first().nb_segs());
        let length = first.pkt_len().checked_add(next.first().pkt_len());
        let (Some(segments), Some(length)) = (segments, length) else { return Err(next) };
        self.last().set_next_raw(next.into_raw());
        first.set_nb_segs(segments);
        first.set_pkt_len(length);
        if first.data_len() == 0 {
            self.refill_head();
        }
        Ok(())
    }

    fn last(&mut self) -> Segment {
        let mut segment = self.first();
        while let Some(next) = segment.next() {
            segment = next;
        }
        segment
    }

    /// Frees all frames of a burst by one call.
    #[inline]
    pub fn free_all<T: Into<Mbuf>, const N: usize>(frames: &mut heapless::Vec<T, N>) {
        if frames.is_empty() {
            return;
        }
        let mut raw = crate::queue::take_raw(frames);
        // SAFETY: the pointers were owned by the frames taken just now; a count of at most N fits, as N is a burst.
        unsafe { sys::rte_pktmbuf_free_bulk(raw.as_mut_ptr(), raw.len() as u32) };
    }

    /// The module's invariants that can be seen in the buffer.
    pub(crate) fn is_sound(&self) -> bool {
        let mut segment = Some(self.first());
        let (mut count, mut length) = (0_u32, 0_u32);
        while let Some(this) = segment {
            let end = u32::from(this.data_off()) + u32::from(this.data_len());
            let shared = MbufFlags::from_bits_truncate(this.ol_flags()).contains(MbufFlags::INDIRECT);
            if this.refcnt() != 1 || shared || end > u32::from(this.buf_len()) {
                return false;
            }
            count += 1;
            length += u32::from(this.data_len());
            segment = this.next();
        }
        count == u32::from(self.first().nb_segs()) && length == self.first().pkt_len()
    }
}

impl Drop for Mbuf {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: self is the only owner of the chain, and is gone after this.
        unsafe { sys::weir_mbuf_free(self.0.as_ptr()) }
    }
}

impl fmt::Debug for Mbuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mbuf").field("len", &self.len()).field("segments", &self.first().nb_segs()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{Checksum, MbufFlags};

    #[test]
    fn the_device_is_believed_only_about_the_first_ip_header() {
        const TUNNEL_VXLAN: u32 = 0x3000;
        let (good, bad) = (MbufFlags::RX_IP_CHECKSUM_GOOD, MbufFlags::RX_IP_CHECKSUM_BAD);
        let outer_bad = MbufFlags::RX_OUTER_IP_CHECKSUM_BAD;
        for (flags, packet_type, expected) in [
            (good, 0, Checksum::Good),
            (bad, 0, Checksum::Bad),
            (MbufFlags::empty(), 0, Checksum::Unknown),
            (good | bad, 0, Checksum::Unknown),
            (good, TUNNEL_VXLAN, Checksum::Unknown),
            (bad, TUNNEL_VXLAN, Checksum::Unknown),
            (good | outer_bad, TUNNEL_VXLAN, Checksum::Bad),
            (good | outer_bad, 0, Checksum::Bad),
        ] {
            assert_eq!(Checksum::said_by(flags, packet_type), expected, "{flags:?} {packet_type:#x}");
        }
    }
}
