//! Filled in next.
#![forbid(unsafe_code)]
fn main() {}
