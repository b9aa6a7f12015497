//! The arguments that all commands have in common.

use crate::memory::Hugepages;
use crate::program::Cores;
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};

/// How long and how often, where the arguments do not say.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Of a trial, seconds.
    pub seconds: f64,
    /// Of each program.
    pub trials: u32,
    /// Before a trial, seconds.
    pub warm_up: f64,
}

impl Effort {
    /// For one case.
    pub const CASE: Effort = Effort { seconds: 2.0, trials: 5, warm_up: 0.5 };
    /// For each case of the set, so that all of it takes some minutes.
    pub const SET: Effort = Effort { seconds: 1.0, trials: 3, warm_up: 0.3 };
}

/// What all commands have in common.
#[derive(Debug, Args)]
pub struct Options {
    /// How long a trial counts, seconds [default: 2; of the set: 1].
    #[arg(long, value_name = "S", allow_negative_numbers = true, value_parser = trial_seconds)]
    pub seconds: Option<f64>,
    /// How often each program is measured [default: 5; of the set: 3; control and routes: 1].
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub trials: Option<u32>,
    /// How long packets flow before a trial counts, seconds [default: 0.5; of the set: 0.3].
    #[arg(long, value_name = "S", allow_negative_numbers = true, value_parser = seconds)]
    pub warm_up: Option<f64>,
    /// The management core and the worker core.
    #[arg(long, value_name = "MAIN,WORKER", default_value_t = Cores { main: 0, worker: 1 })]
    pub cores: Cores,
    /// Where packet buffers live.
    #[arg(long, value_enum, default_value_t = Hugepages::Auto)]
    pub hugepages: Hugepages,
    /// Leave a program out. testpmd stays: every figure is relative to it.
    #[arg(long, value_enum, value_name = "PROGRAM")]
    pub skip: Vec<Skip>,
    /// Weir's binary [default: weir beside this one].
    #[arg(long, value_name = "PATH")]
    pub weir: Option<PathBuf>,
    /// testpmd's binary.
    #[arg(long, value_name = "PATH", default_value = "dpdk-testpmd")]
    pub testpmd: PathBuf,
    /// Keep traces, configuration and logs in this directory.
    #[arg(long, value_name = "DIRECTORY")]
    pub keep: Option<PathBuf>,
}

impl Options {
    /// The core that this machine does not have, if one is asked for.
    pub fn missing_core(&self) -> Option<u32> {
        let there = |core: &u32| Path::new(&format!("/sys/devices/system/cpu/cpu{core}")).exists();
        [self.cores.main, self.cores.worker].into_iter().find(|core| !there(core))
    }

    /// What is asked for, or else the command's own.
    pub fn effort(&self, otherwise: Effort) -> Effort {
        Effort {
            seconds: self.seconds.unwrap_or(otherwise.seconds),
            trials: self.trials.unwrap_or(otherwise.trials),
            warm_up: self.warm_up.unwrap_or(otherwise.warm_up),
        }
    }
}

/// A program that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Skip {
    /// Weir.
    Weir,
    /// Open vSwitch.
    Ovs,
}

fn seconds(text: &str) -> Result<f64, String> {
    seconds_from(text, 0.0)
}

/// As [`seconds`], but a trial takes time.
fn trial_seconds(text: &str) -> Result<f64, String> {
    seconds_from(text, 0.001)
}

fn seconds_from(text: &str, least: f64) -> Result<f64, String> {
    let seconds = text.parse::<f64>().ok().filter(|s| (least..=3600.0).contains(s));
    seconds.ok_or_else(|| format!("expected seconds, {least} to 3600"))
}
