//! The pipeline: what becomes of a burst of frames, step by step. [`pipeline`] is its table of contents.

mod advertise;
mod clear;
mod counters;
mod decide;
mod egress;
mod flap;
mod fragment;
mod gate;
mod guard;
mod hosts;
mod ingress;
mod learn;
mod local;
mod local6;
mod meter;
mod notice;
mod parse;
pub mod pipeline;
mod probe;
mod refer;
mod resolve;
mod rewrite;
mod route;
mod snoop;
mod suppress;
pub mod testing;
#[cfg(test)]
mod tests;
mod trace;
mod tunnels;
mod ways;

pub use clear::Forget;
pub use counters::{Counters, DropReason, Event};
pub use learn::{Fact, Sighting};
pub use meter::Class;
pub use notice::{Happening, Notice, Whereabouts};
pub use pipeline::{Gateway, Limits};
pub use trace::{Belief, Headers, MAX_STEPS, Source, Step, Traced, Verdict, arriving, trace};
