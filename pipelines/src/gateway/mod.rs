//! The pipeline: what becomes of a burst of frames, step by step. [`pipeline`] is its table of contents.

mod counters;
mod decide;
mod egress;
mod guard;
mod ingress;
mod learn;
mod local;
mod local6;
mod parse;
pub mod pipeline;
mod probe;
mod resolve;
mod rewrite;
mod snoop;
mod suppress;
pub mod testing;
#[cfg(test)]
mod tests;
mod tunnels;

pub use counters::{Counters, DropReason, Event};
pub use learn::Fact;
pub use pipeline::{Gateway, Limits};
