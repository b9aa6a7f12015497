//! DPDK's log, into the `log` crate under the target `dpdk`.
//!
//! DPDK's own levels are one finer: NOTICE becomes `info`, INFO becomes `debug`, DEBUG becomes `trace`. While the EAL or a
//! port starts, the errors it logs are also kept: they say what the errno does not.

use std::cell::RefCell;
use std::ffi::{c_char, c_int};

use log::{Level, LevelFilter};
use weir_dpdk_sys as sys;

use crate::error::PmdError;

thread_local! {
    /// Errors logged by this thread while it is in [`keeping_errors`]; `None` at all other times.
    static KEPT_ERRORS: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// How many of them are worth keeping.
const KEPT: usize = 4;

/// The value of `--log-level` that lets through what `filter` wants to see.
pub(crate) fn argument(filter: LevelFilter) -> String {
    let level = match filter {
        LevelFilter::Off => "emergency",
        LevelFilter::Error => "error",
        LevelFilter::Warn => "warning",
        LevelFilter::Info => "notice",
        LevelFilter::Debug => "info",
        LevelFilter::Trace => "debug",
    };
    format!("*:{level}")
}

/// Sends DPDK's log to `log` from now on.
pub(crate) fn begin() -> Result<(), PmdError> {
    // SAFETY: `sink` lives as long as the program, and may be called on any thread.
    let result = unsafe { sys::weir_log_to(Some(sink)) };
    if result < 0 { Err(PmdError::from_errno("take over DPDK's log", "", result)) } else { Ok(()) }
}

/// Does `work`, and returns with its result the errors that DPDK logged on this thread meanwhile.
pub(crate) fn keeping_errors<T>(work: impl FnOnce() -> T) -> (T, Vec<String>) {
    KEPT_ERRORS.set(Some(Vec::new()));
    let result = work();
    (result, KEPT_ERRORS.take().unwrap_or_default())
}

/// Called by DPDK with one message.
extern "C" fn sink(level: c_int, text: *const c_char, length: usize) {
    if text.is_null() {
        return;
    }
    // SAFETY: DPDK's stream passes `length` readable bytes, which stay until this returns.
    let bytes = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), length) };
    let message = String::from_utf8_lossy(bytes);
    let message = message.trim();
    if message.is_empty() {
        return;
    }
    let level = severity(level);
    if level == Level::Error {
        // A thread that is ending has no such variable any more, and keeps nothing.
        let _ = KEPT_ERRORS.try_with(|kept| keep(&mut kept.borrow_mut(), message));
    }
    log::log!(target: "dpdk", level, "{message}");
}

fn keep(kept: &mut Option<Vec<String>>, message: &str) {
    if let Some(kept) = kept.as_mut().filter(|kept| kept.len() < KEPT) {
        kept.push(message.to_owned());
    }
}

/// RTE_LOG_EMERG is 1, RTE_LOG_DEBUG is 8.
fn severity(level: c_int) -> Level {
    match level {
        ..=4 => Level::Error,
        5 => Level::Warn,
        6 => Level::Info,
        7 => Level::Debug,
        _ => Level::Trace,
    }
}
