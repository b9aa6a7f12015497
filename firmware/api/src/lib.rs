//! The messages of Weir's RPC, shared by the firmware and the tools.
//!
//! Owns: what an operator can configure ([`object`]), what can be asked ([`message`]) and what is answered
//! ([`view`], [`event`], [`trace`]). Refuses, while parsing: unknown fields, names and addresses that no object can have. What needs other
//! objects to judge (does the bridge exist?) is the firmware's to refuse.
//!
//! The transport is JSON-RPC 2.0 (<https://www.jsonrpc.org/specification>), one message a line, over a Unix socket.
#![forbid(unsafe_code)]

pub mod event;
pub mod id;
pub mod message;
mod name;
pub mod object;
mod routing;
pub mod trace;
pub mod view;

/// The version of these messages. It grows when a message changes in a way that an older peer would misread.
pub const VERSION: u32 = 1;
