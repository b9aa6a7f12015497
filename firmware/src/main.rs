//! `weir`: reads its file, asks the doctor, and runs the gateway.
#![forbid(unsafe_code)]

use clap::Parser;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use weir::boot::{self, BootError, Signals};
use weir::config::{Config, Level};
use weir::doctor::{self, Facts};
use weir::logging;

/// The tables are random access over many megabytes: on small pages, each look at them costs a walk of the page tables.
#[global_allocator]
static ALLOCATOR: weir_pmd::LargePages = weir_pmd::LargePages;

const AFTER_HELP: &str = "\
Examples:
  weir --check -c weir.toml     what is wrong with the file on this machine, and how to mend it
  weir -c weir.toml             run in the foreground until SIGTERM or SIGINT
  weir -c weir.toml --log-level debug

Signals:
  SIGTERM, SIGINT   stop: send what waits, close the ports, remove the socket
  SIGHUP            nothing but a line in the log: weir.toml is read at start only, the desired state comes by RPC

Exit codes:
  0  stopped as asked, every packet buffer accounted for; or: nothing to mend (--check)
  1  something was wrong at the end: buffers missing, counters that do not balance, a worker that hung
  2  wrong usage
  3  weir.toml or this machine has to be mended first; nothing was started
  4  the saved state cannot be used, also with --check; nothing was forwarded
  5  DPDK, a port or the management socket did not start";

/// An overlay network gateway on DPDK: joins VLAN and VXLAN segments into bridges.
#[derive(Parser)]
#[command(name = "weir", after_help = AFTER_HELP, disable_version_flag = true)]
struct Arguments {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "/etc/weir/weir.toml")]
    config: PathBuf,
    /// Only look for what has to be mended, and say how
    #[arg(long)]
    check: bool,
    /// Log from this level up, instead of log.level in the file
    #[arg(long, value_enum, value_name = "LEVEL")]
    log_level: Option<Level>,
    /// Print the versions of weir, its RPC and DPDK
    #[arg(short = 'V', long)]
    version: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.version {
        let (weir, api) = (env!("CARGO_PKG_VERSION"), weir_api::VERSION);
        println!("weir {weir} (rpc {api}, {})", weir_pmd::version());
        return ExitCode::SUCCESS;
    }
    let mut config = match Config::read(&arguments.config) {
        Ok(config) => config,
        Err(e) => {
            eprintln!("weir: {e}");
            return ExitCode::from(3);
        }
    };
    config.log.level = arguments.log_level.unwrap_or(config.log.level);
    logging::start(config.log.level.into());
    let report = doctor::examine(&config, &Facts::gather(&config));
    for warning in &report.warnings {
        log::warn!("{warning}");
    }
    for problem in &report.problems {
        eprintln!("weir: {}: {problem}", arguments.config.display());
    }
    if !report.problems.is_empty() {
        eprintln!("weir: {} problem(s); nothing was started", report.problems.len());
        return ExitCode::from(3);
    }
    if arguments.check {
        if let Err(e) = boot::check_state(&config) {
            eprintln!("weir: {e}");
            return ExitCode::from(4);
        }
        println!("{}: nothing to mend", arguments.config.display());
        return ExitCode::SUCCESS;
    }
    run(&config, report.hugepages)
}

fn run(config: &Config, hugepages: bool) -> ExitCode {
    let (stop, hangup) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    for (signal, flag) in [(SIGTERM, &stop), (SIGINT, &stop), (SIGHUP, &hangup)] {
        if let Err(e) = signal_hook::flag::register(signal, flag.clone()) {
            log::error!("no handler for signal {signal}: {e}");
            return ExitCode::from(5);
        }
    }
    match boot::run(config, hugepages, &Signals { stop, hangup }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            log::error!("{e}");
            ExitCode::from(match e {
                BootError::Stop(_) => 1,
                BootError::State(_) => 4,
                BootError::Start(_) => 5,
            })
        }
    }
}
