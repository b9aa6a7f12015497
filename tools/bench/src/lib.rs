//! Measures Weir in TSC cycles per packet, beside `dpdk-testpmd` and Open vSwitch with DPDK.
//!
//! Owns: the traffic ([`trace`]), the check that what Weir makes of it is right to the byte ([`verify`]), the programs
//! and how each is started and read ([`program`] and its children), the trials ([`measure`]), what changes take
//! ([`control`], [`churn`]) and their report ([`report`]). Refuses: to time a gateway whose frames are not what the RFCs say, or that loses packets.
//!
//! Every program is a process of its own with one worker core: frames come from `net_pcap,infinite_rx=1` and end in
//! `net_null,no-rx=1`. These are software devices: the figures compare programs on one machine in one run, and are no
//! line rate.
//!
//! Read first: RFC 7348 §5 (VXLAN's headers), RFC 2544 §26 for what a throughput trial is elsewhere.
#![forbid(unsafe_code)]

pub mod affinity;
pub mod bench;
pub mod churn;
pub mod cli;
pub mod control;
pub mod frame;
pub mod interrupt;
pub mod measure;
pub mod memory;
pub mod options;
pub mod output;
pub mod pcap;
pub mod process;
pub mod program;
pub mod report;
pub mod routed;
pub mod statistics;
pub mod trace;
pub mod verify;
