//! Weir's packet pipeline: wire formats, tables, and the gateway's steps.
//!
//! Owns: what becomes of a frame. Knows nothing of DPDK, sockets, files or clocks: frames come as [`Frame`]s, time and
//! randomness as arguments, so that everything here runs on any machine, under a fuzzer, and in the tests' own time.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod frame;
pub mod gateway;
pub mod tables;
mod time;
pub mod wire;

pub use frame::{BURST, Burst, Checksum, Egress, Frame, Pool};
pub use time::Time;
