//! What the pipeline needs of a packet buffer, and of where they come from.
//!
//! Two implementations: DPDK's mbufs in the firmware, and byte vectors in [`crate::gateway::testing`].

use crate::tables::PortId;

/// What the device says of the checksum of a received frame's first IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// The device found it right.
    Good,
    /// The device found it wrong.
    Bad,
    /// The device did not look.
    Unknown,
}

/// At most so many frames go through the pipeline at once.
pub const BURST: usize = 64;

/// Frames on their way through, in order.
pub type Burst<F> = heapless::Vec<F, BURST>;

/// One frame, from its destination MAC to the end of its payload, in one or several segments. Dropping it frees it.
#[expect(clippy::len_without_is_empty, reason = "no frame is empty")]
pub trait Frame: Sized {
    /// Whether the steps that it takes can be written down ([`crate::gateway::trace()`]). Not a device's: where it is false, nothing of
    /// that is compiled.
    const TRACED: bool = false;

    /// Length of the whole frame, bytes.
    fn len(&self) -> usize;

    /// The first segment's bytes.
    fn head(&self) -> &[u8];

    /// The first segment's bytes, writable.
    fn head_mut(&mut self) -> &mut [u8];

    /// Whether there are segments behind the first.
    fn is_segmented(&self) -> bool;

    /// Moves bytes forward from later segments until the first holds at least `n`. False if the frame is shorter than
    /// that or the first segment has no room: the frame is then as it was.
    fn pull(&mut self, n: usize) -> bool;

    /// Makes `n` bytes of room in front, their content arbitrary, and returns the first segment with them. `None` if
    /// there is no headroom.
    fn prepend(&mut self, n: usize) -> Option<&mut [u8]>;

    /// Takes `n` bytes away in front.
    ///
    /// # Panics
    /// If the first segment is shorter than `n`.
    fn trim_front(&mut self, n: usize);

    /// Cuts the frame to `len` bytes; nothing happens if it is not longer.
    fn truncate(&mut self, len: usize);

    /// Copies bytes from `at` on, in whichever segments they are, to fill `out`. False if the frame ends before: `out` is then
    /// arbitrary.
    fn read(&self, at: usize, out: &mut [u8]) -> bool;

    /// What the device says of the first IP header's checksum.
    fn ip_checksum(&self) -> Checksum;
}

/// Where new frames come from. Every method answers `None` when there is no buffer.
pub trait Pool {
    /// The frames it makes.
    type Frame: Frame;

    /// A new frame of `len` zero bytes in one segment, with room in front for every encapsulation.
    fn alloc(&mut self, len: usize) -> Option<Self::Frame>;

    /// A frame of the same bytes that shares none of them, with room in front for every encapsulation.
    fn copy(&mut self, frame: &Self::Frame) -> Option<Self::Frame>;

    /// Frees frames, all at once.
    fn free(&mut self, frames: &mut Burst<Self::Frame>) {
        frames.clear();
    }
}

/// Where frames leave.
pub trait Egress<F> {
    /// Puts a frame in line for a port. If the line is full and the port takes nothing, it comes back.
    fn send(&mut self, port: PortId, frame: F) -> Result<(), F>;
}
