//! Where frames come from and go back to.
//!
//! Owns: [`Mempool`], a handle to one of DPDK's packet pools. Pools live until the EAL stops, whoever holds a handle.

use std::ffi::CString;
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

use weir_dpdk_sys as sys;

use crate::eal::{Eal, Runtime};
use crate::error::PmdError;
use crate::mbuf::{HEADROOM, Mbuf};

/// `SOCKET_ID_ANY`.
const ANY_NUMA_NODE: i32 = -1;

/// A handle to a pool of buffers of one size. Cloning it copies the handle.
///
/// Every thread may allocate and free. On an lcore that goes through the lcore's own cache; on other threads it is
/// slower. A pool is a fixed amount of memory: when it is empty, [`Mempool::alloc`] says `None`.
#[derive(Clone)]
pub struct Mempool {
    pool: NonNull<sys::rte_mempool>,
    name: Arc<str>,
    data_room: u16,
    runtime: Arc<Runtime>,
}

// SAFETY: DPDK's pools are made here for many producers and consumers, and caches are per lcore.
unsafe impl Send for Mempool {}
// SAFETY: as above.
unsafe impl Sync for Mempool {}

impl Mempool {
    /// Makes a pool of `count` buffers, each with room for `data_room` bytes behind [`HEADROOM`] bytes in front.
    ///
    /// # Errors
    /// The name is in use or longer than DPDK allows, `count` is 0, `data_room` is 0 or does not fit 16 bits with the
    /// headroom, or there is not enough memory.
    pub fn new(eal: &Eal, name: &str, count: u32, data_room: u16) -> Result<Self, PmdError> {
        const OPERATION: &str = "make the buffer pool";
        let refuse = |reason: String| Err(PmdError::new(OPERATION, name, reason));
        if name.is_empty() || name.len() > sys::WEIR_POOL_NAME_MAX as usize {
            return refuse(format!("a pool's name has 1 to {} bytes", sys::WEIR_POOL_NAME_MAX));
        }
        let Ok(c_name) = CString::new(name) else { return refuse("its name contains a zero byte".to_owned()) };
        if count == 0 {
            return refuse("it would have 0 buffers".to_owned());
        }
        let Some(room) = u16::try_from(HEADROOM).ok().and_then(|h| h.checked_add(data_room)).filter(|_| data_room > 0)
        else {
            return refuse(format!("a data room of {data_room} bytes is not within 1 to {}", 65_535 - HEADROOM));
        };
        // SAFETY: the EAL runs, and the name is terminated.
        let pool =
            unsafe { sys::rte_pktmbuf_pool_create(c_name.as_ptr(), count, cache_size(count), 0, room, ANY_NUMA_NODE) };
        let Some(pool) = NonNull::new(pool) else {
            // SAFETY: reads this thread's errno.
            let errno = unsafe { sys::weir_errno() };
            let mib = (u64::from(count) * (u64::from(room) + 256)) >> 20;
            return Err(PmdError::from_errno(OPERATION, name, errno)
                .because(format!("{count} buffers of {data_room} bytes take about {mib} MiB of the EAL's memory")));
        };
        let pool = Self { pool, name: name.into(), data_room, runtime: Arc::clone(eal.runtime()) };
        eal.runtime().remember_pool(&pool.name, pool.pool);
        Ok(pool)
    }

    /// The name it was made with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes of one buffer behind its headroom.
    pub fn data_room(&self) -> u16 {
        self.data_room
    }

    /// Free buffers, those in the lcores' caches included. Takes a walk over all lcores: not per packet.
    pub fn available(&self) -> u32 {
        available(self.pool)
    }

    /// All buffers.
    pub fn total(&self) -> u32 {
        total(self.pool)
    }

    /// An empty frame with [`HEADROOM`] bytes in front; `None` if the pool is empty.
    #[inline]
    pub fn alloc(&self) -> Option<Mbuf> {
        // SAFETY: the pool lives as long as the EAL, which the handle keeps.
        let raw = unsafe { sys::weir_mbuf_alloc(self.pool.as_ptr()) };
        // SAFETY: a new buffer: empty, one segment, count 1, no other owner.
        NonNull::new(raw).map(|raw| unsafe { Mbuf::from_raw(raw) })
    }

    /// A frame of the same bytes that shares none of them, with [`HEADROOM`] bytes in front and in as few segments as this
    /// pool's buffers allow; `None` if the pool has too few.
    #[inline]
    pub fn copy(&self, frame: &Mbuf) -> Option<Mbuf> {
        if frame.len() == 0 {
            // DPDK copies no empty frames.
            return self.alloc();
        }
        // SAFETY: the frame is borrowed, so nobody writes it; the pool lives. u32::MAX asks for all of it.
        let raw = unsafe { sys::rte_pktmbuf_copy(frame.as_raw(), self.pool.as_ptr(), 0, u32::MAX) };
        // SAFETY: a deep copy in new buffers: count 1, no other owner.
        NonNull::new(raw).map(|raw| unsafe { Mbuf::from_raw(raw) })
    }

    pub(crate) fn as_raw(&self) -> *mut sys::rte_mempool {
        self.pool.as_ptr()
    }

    pub(crate) fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }
}

impl fmt::Debug for Mempool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mempool").field("name", &self.name).field("total", &self.total()).finish()
    }
}

/// Buffers in each lcore's cache: several bursts, but never so many that idle lcores hold most of a small pool.
fn cache_size(count: u32) -> u32 {
    (count / 16).min(256).min(sys::WEIR_CACHE_MAX)
}

/// Free buffers of a pool that lives.
pub(crate) fn available(pool: NonNull<sys::rte_mempool>) -> u32 {
    // SAFETY: pools live until the EAL stops, and the caller has the EAL.
    unsafe { sys::rte_mempool_avail_count(pool.as_ptr()) }
}

/// All buffers of a pool that lives.
pub(crate) fn total(pool: NonNull<sys::rte_mempool>) -> u32 {
    // SAFETY: as above.
    unsafe { sys::weir_pool_size(pool.as_ptr()) }
}
