//! Ctrl-C and SIGTERM become an error that unwinds the run, so that every child is stopped and the machine's
//! hugepages are put back on the way out.

use anyhow::{Context, Result, bail};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread::sleep;
use std::time::{Duration, Instant};

static ASKED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Default::default);

/// How long a pause may overlook a signal.
const STEP: Duration = Duration::from_millis(20);

/// From here on SIGINT, SIGTERM and SIGHUP no longer end the process but make [`check`] fail.
pub fn catch() -> Result<()> {
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&ASKED)).context("cannot catch signals")?;
    }
    Ok(())
}

/// Whether a signal came.
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// Fails once a signal came.
pub fn check() -> Result<()> {
    if asked() {
        bail!("interrupted");
    }
    Ok(())
}

/// Sleeps, and fails at once when a signal comes.
pub fn pause(time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    loop {
        check()?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        sleep(left.min(STEP));
    }
}
