//! Bindings to the installed DPDK: generated when this crate is built, for the release and options it is built against.
//!
//! Owns: the declarations, and a C shim (`shim/`) for what DPDK has only as inline functions and macros; every shim
//! function does its work for a whole burst where there are bursts. Refuses: any opinion on how they are used. Nothing
//! here is safe to call without DPDK's documentation at hand; `weir-pmd` is the safe side.
//!
//! Fields of `rte_mbuf` are reached by the offsets `WEIR_MBUF_*`, which the C compiler computes: the structure's layout
//! moves between releases, and bindgen cannot express all of it.
#![allow(non_camel_case_types, non_snake_case, non_upper_case_globals)]
#![allow(missing_docs, unreachable_pub, unused_qualifications)]
#![allow(clippy::all)]
#![no_std]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
