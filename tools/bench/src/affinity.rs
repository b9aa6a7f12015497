//! Keeping this process off the worker's core while it asks, so that a worker is not held up by the one who wants to
//! know whether it is.

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The calling thread without one of its cores; dropping it gives the core back. Programs started meanwhile would inherit
/// it: start them before.
#[derive(Debug)]
pub struct Aside {
    before: CpuSet,
}

impl Aside {
    /// Leaves the core, unless there is no other.
    pub fn from(core: u32) -> Result<Self> {
        let before = sched_getaffinity(None).context("cannot read the CPU affinity")?;
        let mut without = before;
        without.unset(core as usize);
        if without.count() > 0 {
            sched_setaffinity(None, &without).context("cannot set the CPU affinity")?;
        }
        Ok(Self { before })
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if let Err(e) = sched_setaffinity(None, &self.before) {
            eprintln!("weir-bench: cannot set the CPU affinity: {e}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_is_left_and_given_back() {
        let cores = || sched_getaffinity(None).unwrap();
        let before = cores();
        let core = (0..CpuSet::MAX_CPU).find(|core| before.is_set(*core)).unwrap();
        let aside = Aside::from(core as u32).unwrap();
        assert_eq!(cores().is_set(core), before.count() == 1);
        drop(aside);
        assert_eq!(cores(), before);
    }
}
