//! The command `weir-bench`; see [`weir_bench`].
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    weir_bench::cli::main()
}
