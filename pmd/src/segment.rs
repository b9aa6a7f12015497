//! One buffer of a frame: where DPDK keeps its fields, and nothing of who owns it.
//!
//! Owns: reading and writing `rte_mbuf`'s fields, inlined, at the offsets that the C compiler computed. The invariants
//! referred to by number are in `mbuf.rs`.

use std::ptr::NonNull;

use weir_dpdk_sys as sys;

/// A field's place in `rte_mbuf`, and its type.
macro_rules! field {
    ($get:ident, $set:ident, $offset:ident, $type:ty) => {
        #[inline(always)]
        pub(crate) fn $get(&self) -> $type {
            // SAFETY: the segment is live, and the C compiler computed the field's offset and asserted its size.
            unsafe { self.0.as_ptr().cast::<u8>().add(sys::$offset as usize).cast::<$type>().read() }
        }
        #[inline(always)]
        pub(crate) fn $set(&mut self, value: $type) {
            // SAFETY: as for reading; the segment has one owner, which is borrowed mutably here.
            unsafe { self.0.as_ptr().cast::<u8>().add(sys::$offset as usize).cast::<$type>().write(value) }
        }
    };
}

/// One segment of a chain that an [`crate::Mbuf`] owns: fields and bytes, no ownership. Whoever holds one also
/// borrows the `Mbuf`, mutably where it writes.
#[derive(Clone, Copy)]
pub(crate) struct Segment(pub(crate) NonNull<sys::rte_mbuf>);

impl Segment {
    field!(data_off, set_data_off, WEIR_MBUF_DATA_OFF, u16);
    field!(data_len, set_data_len, WEIR_MBUF_DATA_LEN, u16);
    field!(pkt_len, set_pkt_len, WEIR_MBUF_PKT_LEN, u32);
    field!(nb_segs, set_nb_segs, WEIR_MBUF_NB_SEGS, u16);
    field!(next_raw, set_next_raw, WEIR_MBUF_NEXT, *mut sys::rte_mbuf);

    /// A field that is only read.
    #[inline(always)]
    fn read<T: Copy>(self, offset: u32) -> T {
        // SAFETY: as in `field!`; `T` is given by the callers right below, as dpdk.h asserts it.
        unsafe { self.0.as_ptr().cast::<u8>().add(offset as usize).cast::<T>().read() }
    }

    #[inline(always)]
    fn buf_addr(self) -> *mut u8 {
        self.read(sys::WEIR_MBUF_BUF_ADDR)
    }

    #[inline(always)]
    pub(crate) fn buf_len(self) -> u16 {
        self.read(sys::WEIR_MBUF_BUF_LEN)
    }

    pub(crate) fn refcnt(self) -> u16 {
        self.read(sys::WEIR_MBUF_REFCNT)
    }

    #[inline(always)]
    pub(crate) fn ol_flags(self) -> u64 {
        self.read(sys::WEIR_MBUF_OL_FLAGS)
    }

    #[inline(always)]
    pub(crate) fn packet_type(self) -> u32 {
        self.read(sys::WEIR_MBUF_PACKET_TYPE)
    }

    #[inline(always)]
    pub(crate) fn data(self) -> *mut u8 {
        // SAFETY: invariant 1: data_off is within the buffer.
        unsafe { self.buf_addr().add(usize::from(self.data_off())) }
    }

    pub(crate) fn next(self) -> Option<Segment> {
        NonNull::new(self.next_raw()).map(Segment)
    }

    /// Free bytes behind the data.
    #[inline(always)]
    pub(crate) fn tailroom(self) -> usize {
        usize::from(self.buf_len()) - usize::from(self.data_off()) - usize::from(self.data_len())
    }

    /// Gives one segment back that no chain points to any more.
    ///
    /// # Safety
    /// The caller owns the segment and does not use it again.
    pub(crate) unsafe fn free(self) {
        // SAFETY: by this function's own contract.
        unsafe { sys::weir_mbuf_free_segment(self.0.as_ptr()) }
    }
}

/// Frees all segments from `segment` on; they are in no frame any more.
pub(crate) fn free_chain(mut segment: Option<Segment>) {
    while let Some(mut this) = segment {
        segment = this.next();
        this.set_next_raw(std::ptr::null_mut());
        // SAFETY: the caller unlinked the chain from its frame, and each segment is visited once.
        unsafe { this.free() };
    }
}
