//! Work pinned to a core.
//!
//! Owns: [`Lcore`] and [`LcoreHandle`]. An lcore is a thread that the EAL made when it started, pinned to one core. It
//! sleeps until work is launched on it.

use std::any::Any;
use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use weir_dpdk_sys as sys;

use crate::eal::{Eal, Runtime};
use crate::error::PmdError;

/// Launches work on the worker cores of [`crate::EalConfig`].
#[derive(Debug)]
pub struct Lcore;

/// How a launched closure ended: `None` while it runs, then whether it returned or panicked.
#[derive(Default)]
struct Outcome {
    ended: Mutex<Option<Result<(), String>>>,
    changed: Condvar,
}

/// What is handed to the lcore.
struct Launch {
    work: Box<dyn FnOnce() + Send>,
    outcome: Arc<Outcome>,
    /// The EAL cannot be stopped under running work.
    runtime: Arc<Runtime>,
}

/// Work that was launched. Dropping it lets the work run on, unattended.
pub struct LcoreHandle {
    core: u32,
    lcore: u32,
    outcome: Arc<Outcome>,
}

impl Lcore {
    /// Runs `work` on the worker core `core`, a CPU number out of [`crate::EalConfig::worker_cores`].
    ///
    /// # Errors
    /// `core` is not a worker core, or still runs something.
    pub fn launch(eal: &Eal, core: u32, work: impl FnOnce() + Send + 'static) -> Result<LcoreHandle, PmdError> {
        const OPERATION: &str = "launch a worker on core";
        let Some(lcore) = eal.runtime().lcore_of(core) else {
            let cores = eal.runtime().worker_cores();
            return Err(PmdError::new(OPERATION, core.to_string(), format!("the EAL was started for cores {cores:?}")));
        };
        let outcome = Arc::new(Outcome::default());
        let runtime = Arc::clone(eal.runtime());
        let launch = Box::new(Launch { work: Box::new(work), outcome: Arc::clone(&outcome), runtime });
        let argument = Box::into_raw(launch);
        let one_at_a_time = eal.runtime().lock_launch();
        // SAFETY: `run` takes the box back, exactly once, on the lcore.
        let result = unsafe { sys::rte_eal_remote_launch(Some(run), argument.cast(), lcore) };
        drop(one_at_a_time);
        if result < 0 {
            // SAFETY: the lcore refused, so nobody else has the box.
            drop(unsafe { Box::from_raw(argument) });
            return Err(PmdError::from_errno(OPERATION, core.to_string(), result).because("it still runs something"));
        }
        Ok(LcoreHandle { core, lcore, outcome })
    }
}

/// Called by DPDK on the lcore.
extern "C" fn run(argument: *mut c_void) -> c_int {
    // SAFETY: `launch` made the box and gave it away.
    let Launch { work, outcome, runtime } = *unsafe { Box::from_raw(argument.cast::<Launch>()) };
    // A panic must not unwind into C. What the closure captured is gone either way, so nothing half-done is seen.
    let result = catch_unwind(AssertUnwindSafe(work)).map_err(|panic| describe(panic.as_ref()));
    drop(runtime);
    *outcome.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    outcome.changed.notify_all();
    0
}

fn describe(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

impl LcoreHandle {
    /// The CPU that the work runs on.
    pub fn core(&self) -> u32 {
        self.core
    }

    /// Whether the work has neither returned nor panicked.
    pub fn is_running(&self) -> bool {
        self.outcome.ended.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Waits for the work to end. The core is then free for another launch.
    ///
    /// # Errors
    /// The work panicked; the error carries its message.
    pub fn join(self) -> Result<(), PmdError> {
        let ended = self.outcome.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.outcome.changed.wait_while(ended, |ended| ended.is_none());
        let result = waited.unwrap_or_else(PoisonError::into_inner).take().unwrap_or(Ok(()));
        // The lcore has a few instructions to go until it takes work again.
        // SAFETY: reads the state of an lcore that exists.
        while unsafe { sys::rte_eal_get_lcore_state(self.lcore) } != sys::WEIR_LCORE_WAIT {
            std::thread::yield_now();
        }
        result.map_err(|message| PmdError::new("finish the worker on core", self.core.to_string(), message))
    }
}

impl std::fmt::Debug for LcoreHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LcoreHandle").field("core", &self.core).field("running", &self.is_running()).finish()
    }
}
