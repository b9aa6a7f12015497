//! `weirctl`: see the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(weirctl::main(std::env::args_os()))
}
