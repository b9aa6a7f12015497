//! Large tables on large pages: an allocator that asks the kernel for them.
//!
//! A lookup in a table of many megabytes misses the TLB as often as the cache, and 2-MiB pages mend the former. Every
//! allocation from 2 MiB on is aligned to them and marked for them (`madvise(2)`, `MADV_HUGEPAGE`), and zeroed memory is
//! touched at once, so that the packet path never waits for a page fault. Where the kernel has none to give, ordinary
//! pages serve, more slowly. `weir-bench`, `vlan-vxlan` at 64k flows, shows the difference.

use std::alloc::{GlobalAlloc, Layout, System};

/// Size and alignment of a large page, bytes.
const LARGE: usize = 2 << 20;

/// The system's allocator, with large pages for large allocations. For `#[global_allocator]`.
#[derive(Clone, Copy, Debug, Default)]
pub struct LargePages;

/// The same allocation, aligned so that large pages fit; `None` if it is a small one.
fn aligned(layout: Layout) -> Option<Layout> {
    if layout.size() < LARGE { None } else { layout.align_to(LARGE).ok() }
}

// SAFETY: every method hands on to the system's allocator, and the layout for a given request is always the same.
unsafe impl GlobalAlloc for LargePages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(large) = aligned(layout) else {
            // SAFETY: the caller's promise.
            return unsafe { System.alloc(layout) };
        };
        // SAFETY: the size is the caller's and not zero; a larger alignment satisfies the smaller.
        let memory = unsafe { System.alloc(large) };
        if !memory.is_null() {
            // Advice may be refused: then pages are ordinary ones.
            // SAFETY: the range was just allocated, begins at a page, and the advice does not change its contents.
            unsafe { libc::madvise(memory.cast(), large.size() & !(LARGE - 1), libc::MADV_HUGEPAGE) };
        }
        memory
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if aligned(layout).is_none() {
            // SAFETY: the caller's promise.
            return unsafe { System.alloc_zeroed(layout) };
        }
        // SAFETY: the caller's promise.
        let memory = unsafe { self.alloc(layout) };
        if !memory.is_null() {
            // SAFETY: so many bytes were just allocated.
            unsafe { memory.write_bytes(0, layout.size()) };
        }
        memory
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: `alloc` took the same layout for this one.
        unsafe { System.dealloc(memory, aligned(layout).unwrap_or(layout)) };
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that size with this alignment does not overflow.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        if aligned(layout).is_none() && aligned(new).is_none() {
            // SAFETY: the system's allocator made it, with this layout.
            return unsafe { System.realloc(memory, layout, size) };
        }
        // SAFETY: a non-zero size, the caller's promise.
        let moved = unsafe { self.alloc(new) };
        if !moved.is_null() {
            // SAFETY: both are at least so long, and they are different allocations.
            unsafe { moved.copy_from_nonoverlapping(memory, layout.size().min(size)) };
            // SAFETY: the caller gave it up.
            unsafe { self.dealloc(memory, layout) };
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_keeps_its_bytes_across_every_border() {
        let sizes = [1, 4096, LARGE - 1, LARGE, 3 * LARGE + 5, 2 * LARGE, 100, LARGE];
        for zeroed in [false, true] {
            let mut layout = Layout::from_size_align(sizes[0], 64).expect("legal");
            // SAFETY: of non-zero size, written before it is read, freed with its own layout.
            unsafe {
                let mut memory = if zeroed { LargePages.alloc_zeroed(layout) } else { LargePages.alloc(layout) };
                assert!(!zeroed || *memory == 0);
                memory.write(7);
                for size in sizes {
                    memory = LargePages.realloc(memory, layout, size);
                    layout = Layout::from_size_align(size, 64).expect("legal");
                    assert_eq!((*memory, memory as usize % 64), (7, 0), "at {size}");
                    assert!(size < LARGE || (memory as usize).is_multiple_of(LARGE));
                    memory.add(size - 1).write(if size == 1 { 7 } else { 9 });
                }
                LargePages.dealloc(memory, layout);
            }
        }
    }

    #[test]
    fn zeroed_memory_is_zero_whatever_was_there() {
        let layout = Layout::from_size_align(2 * LARGE, 8).expect("legal");
        for _ in 0..4 {
            // SAFETY: of non-zero size, freed with its own layout.
            unsafe {
                let memory = LargePages.alloc_zeroed(layout);
                let bytes = std::slice::from_raw_parts_mut(memory, layout.size());
                assert!(bytes.iter().all(|&b| b == 0));
                bytes.fill(0xff);
                LargePages.dealloc(memory, layout);
            }
        }
    }
}
