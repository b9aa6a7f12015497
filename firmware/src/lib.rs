//! Weir's firmware: it owns the ports and the cores, and keeps the running configuration equal to the desired one.
//!
//! Read in this order: [`config`] (the file), [`doctor`] (the machine), [`manager`] (the desired state and what it
//! means), [`store`] (its copy on disk), [`rpc`] (the way in).
#![forbid(unsafe_code)]

pub mod boot;
pub mod config;
pub mod doctor;
pub mod logging;
pub mod manager;
pub mod rpc;
pub mod store;
pub mod supervisor;
pub mod worker;
