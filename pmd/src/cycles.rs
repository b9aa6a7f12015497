//! The cycle counter: the only clock cheap enough to read per burst.

use weir_dpdk_sys as sys;

/// The time stamp counter of this core. It counts at a constant rate, on all cores alike, and is not the core's clock.
#[inline(always)]
pub fn cycles() -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: every x86-64 processor has RDTSC, and Linux leaves it allowed in user mode.
        unsafe { core::arch::x86_64::_rdtsc() }
    }
    #[cfg(target_arch = "aarch64")]
    {
        let count: u64;
        // SAFETY: reads the virtual counter, which Linux makes readable from user mode; touches nothing else.
        unsafe { core::arch::asm!("mrs {}, cntvct_el0", out(reg) count, options(nomem, nostack)) };
        count
    }
}

/// How many [`cycles`] make a second, as the EAL measured it when it started; 0 before [`crate::Eal::start`].
pub fn cycles_per_second() -> u64 {
    // SAFETY: returns a number that the EAL wrote once.
    unsafe { sys::rte_get_tsc_hz() }
}
