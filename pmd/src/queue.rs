//! The two ends of a port that a worker owns.
//!
//! Owns: [`RxQueue`] and [`TxQueue`]. One owner each, `&mut` to use: DPDK's queues are not for two threads. Refuses:
//! dropping what a device did not accept; that stays with the caller.
//!
//! Both take bursts of the caller's own type, as long as it is a [`Mbuf`] in a coat (`From` and `Into`); with a
//! `#[repr(transparent)]` coat the conversion costs a copy of the pointers and no more.

use std::mem::{ManuallyDrop, MaybeUninit};
use std::ptr::NonNull;
use std::sync::Arc;

use weir_dpdk_sys as sys;

use crate::mbuf::Mbuf;
use crate::port::Device;

/// Frames as DPDK wants them.
pub(crate) type RawBurst<const N: usize> = heapless::Vec<*mut sys::rte_mbuf, N>;

/// Empties `frames` into a burst of pointers, which the caller then owns.
#[inline(always)]
pub(crate) fn take_raw<T: Into<Mbuf>, const N: usize>(frames: &mut heapless::Vec<T, N>) -> RawBurst<N> {
    let mut raw = RawBurst::new();
    let count = frames.len();
    // SAFETY: no longer than before. Should `into` panic, the frames not yet taken leak; nothing is freed twice.
    unsafe { frames.set_len(0) };
    for index in 0..count {
        // SAFETY: index < count, the former length; each element is moved out once, and the vector forgot them all.
        let frame: Mbuf = unsafe { frames.as_ptr().add(index).read() }.into();
        // SAFETY: both have the capacity N.
        unsafe { raw.push_unchecked(frame.into_raw()) };
    }
    raw
}

/// Where a port's frames arrive. The port stays open as long as this lives.
#[derive(Debug)]
pub struct RxQueue {
    device: Arc<Device>,
    queue: u16,
}

impl RxQueue {
    pub(crate) fn new(device: Arc<Device>, queue: u16) -> Self {
        Self { device, queue }
    }

    /// The queue's number on its port.
    pub fn index(&self) -> u16 {
        self.queue
    }

    /// Appends what has arrived, up to `into`'s free room, and returns how many frames that were.
    ///
    /// Leave room for a whole burst: some drivers receive only in groups of 4 or 8.
    #[inline]
    pub fn receive<T: From<Mbuf>, const N: usize>(&mut self, into: &mut heapless::Vec<T, N>) -> usize {
        let room = u16::try_from(N - into.len()).unwrap_or(u16::MAX);
        if room == 0 {
            return 0;
        }
        let mut raw = [const { MaybeUninit::<*mut sys::rte_mbuf>::uninit() }; N];
        // SAFETY: the port is open and started, this queue has one owner, and `raw` has room for `room` pointers.
        let count = unsafe { sys::weir_rx_burst(self.device.id(), self.queue, raw.as_mut_ptr().cast(), room) };
        for slot in raw.iter().take(usize::from(count)) {
            // SAFETY: the driver wrote the first `count` pointers, none of them null, and gave the frames to us.
            let frame = unsafe { Mbuf::from_raw(NonNull::new_unchecked(slot.assume_init())) };
            debug_assert!(frame.is_sound(), "{} delivered a buffer that is shared or inconsistent", self.device.name());
            // SAFETY: count <= room.
            unsafe { into.push_unchecked(T::from(frame)) };
        }
        usize::from(count)
    }
}

/// Where a port's frames leave. The port stays open as long as this lives.
#[derive(Debug)]
pub struct TxQueue {
    device: Arc<Device>,
    queue: u16,
    takes_segments: bool,
    unsendable: u64,
    unsendable_bytes: u64,
}

impl TxQueue {
    pub(crate) fn new(device: Arc<Device>, queue: u16, takes_segments: bool) -> Self {
        Self { device, queue, takes_segments, unsendable: 0, unsendable_bytes: 0 }
    }

    /// The queue's number on its port.
    pub fn index(&self) -> u16 {
        self.queue
    }

    /// Offers all of `frames` to the device, and returns how many it accepted. Those are gone from the front; the others
    /// stay, in order.
    ///
    /// Where the device takes no frames of several segments, such a frame is first made one; if its first buffer is too
    /// small for that, the frame is freed and counted in [`TxQueue::unsendable`].
    #[inline]
    pub fn send<T: From<Mbuf> + Into<Mbuf>, const N: usize>(&mut self, frames: &mut heapless::Vec<T, N>) -> usize {
        if frames.is_empty() {
            return 0;
        }
        let mut raw = take_raw(frames);
        if !self.takes_segments {
            self.join_segments(&mut raw);
        }
        let offered = u16::try_from(raw.len()).unwrap_or(u16::MAX);
        // SAFETY: the port is open and started, this queue has one owner, and the frames were ours.
        let accepted = unsafe { sys::weir_tx_burst(self.device.id(), self.queue, raw.as_mut_ptr(), offered) };
        let accepted = usize::from(accepted);
        for &rest in raw.iter().skip(accepted) {
            // SAFETY: the device left this frame to us; it came from an Mbuf, so it is not null. There is room: it came
            // out of this vector.
            unsafe { frames.push_unchecked(T::from(Mbuf::from_raw(NonNull::new_unchecked(rest)))) };
        }
        accepted
    }

    /// Frames that were freed instead of sent since the queue was made: they had several segments, the device takes none,
    /// and their first buffer could not hold them.
    pub fn unsendable(&self) -> u64 {
        self.unsendable
    }

    /// Their bytes.
    pub fn unsendable_bytes(&self) -> u64 {
        self.unsendable_bytes
    }

    /// Makes every frame one segment, and takes those out that cannot be.
    #[inline]
    fn join_segments<const N: usize>(&mut self, raw: &mut RawBurst<N>) {
        // SAFETY: the pointers came from Mbufs just now, and are owned by `raw`; they are null never.
        let borrow = |&pointer: &*mut _| ManuallyDrop::new(unsafe { Mbuf::from_raw(NonNull::new_unchecked(pointer)) });
        if !raw.iter().any(|pointer| borrow(pointer).is_segmented()) {
            return;
        }
        raw.retain(|pointer| {
            let mut frame = borrow(pointer);
            let all = frame.len();
            let joined = !frame.is_segmented() || frame.pull(all);
            if !joined {
                self.unsendable += 1;
                self.unsendable_bytes += all as u64;
                drop(ManuallyDrop::into_inner(frame));
            }
            joined
        });
    }
}
