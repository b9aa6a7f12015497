//! DPDK's log, into the `log` crate under the target `dpdk`.
//!
//! DPDK's own levels are one finer: NOTICE becomes `info`, INFO becomes `debug`, DEBUG becomes `trace`. While the EAL
//! starts, its errors are also kept: they say what the errno does not.

use std::ffi::{c_char, c_int};
use std::sync::Mutex;

use log::{Level, LevelFilter};
use weir_dpdk_sys as sys;

use crate::error::PmdError;

/// Errors said while the EAL starts; `None` at all other times.
static STARTUP_ERRORS: Mutex<Option<Vec<String>>> = Mutex::new(None);

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

/// Sends DPDK's log to `log`, and starts keeping errors.
pub(crate) fn begin() -> Result<(), PmdError> {
    *startup_errors() = Some(Vec::new());
    // SAFETY: `sink` lives as long as the program, and may be called on any thread.
    let result = unsafe { sys::weir_log_to(Some(sink)) };
    if result < 0 { Err(PmdError::from_errno("take over DPDK's log", "", result)) } else { Ok(()) }
}

/// Stops keeping errors, and returns those that were said.
pub(crate) fn end() -> Vec<String> {
    startup_errors().take().unwrap_or_default()
}

fn startup_errors() -> std::sync::MutexGuard<'static, Option<Vec<String>>> {
    STARTUP_ERRORS.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
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
    if level == Level::Error
        && let Some(kept) = startup_errors().as_mut().filter(|kept| kept.len() < KEPT)
    {
        kept.push(message.to_owned());
    }
    log::log!(target: "dpdk", level, "{message}");
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
