//! weirctl from outside: what commands come to, how they converse with a firmware, and the program itself on a socket.
#![allow(missing_docs)]

mod commands;
mod conversation;
mod firmware;
mod program;
mod tables;
mod tracing;
mod watching;
