//! The command line, and a run from its arguments to its report.

use crate::interrupt;
use crate::measure::{self, Schedule};
use crate::memory::{self, Hugepages, Memory, Reservation, sweep};
use crate::program::ovs::OpenVswitch;
use crate::program::testpmd::{Forward, Testpmd};
use crate::program::weir::{FIRST_PCAP_MAC, Weir};
use crate::program::{Cores, Program, Setting};
use crate::report::{CaseReport, Circumstances, Measured, table};
use crate::trace::{Case, MOST_FLOWS, Traffic};
use crate::verify::{Mismatch, Verified};
use anyhow::{Context, Result, bail};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Where there are fewer MACs than this, each flow has its own.
const DEFAULT_MACS: u32 = 65_536;

/// Measures Weir in TSC cycles per packet, beside dpdk-testpmd and Open vSwitch with DPDK, on the same trace in the
/// same run.
///
/// Before anything is timed, one pass over the trace is compared byte for byte with what the RFCs ask for; a gateway
/// that fails it is disqualified.
#[derive(Debug, Parser)]
#[command(
    name = "weir-bench",
    version,
    max_term_width = 110,
    after_help = "\
Exit codes: 0 measured, 1 something failed, 2 wrong arguments, 3 disqualified, 130 interrupted."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure one case.
    #[command(after_help = "\
Examples:
  weir-bench run --case vlan-vxlan --flows 1000
  weir-bench run --case vxlan-vlan --flows 65536 --macs 4096 --seconds 3 --trials 9 --json decap.json
  weir-bench run --case vlan-vxlan --flows 64 --trials 1 --seconds 0.3 --skip ovs --hugepages none")]
    Run {
        #[command(flatten)]
        what: What,
        /// Write the report as JSON: an array with one object per case.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        #[command(flatten)]
        options: Options,
    },
    /// Measure the set: both cases with 1,000 and with 65,536 flows. Writes a Markdown table and JSON.
    #[command(after_help = "\
Examples:
  weir-bench set
  weir-bench set --million --directory results/today")]
    Set {
        /// Also with 1,000,000 flows: takes 5 GiB and some minutes more.
        #[arg(long)]
        million: bool,
        /// Where table.md and results.json go.
        #[arg(long, value_name = "DIRECTORY", default_value = "bench-results")]
        directory: PathBuf,
        #[command(flatten)]
        options: Options,
    },
    /// Only compare what Weir makes of a trace, byte for byte; time nothing.
    #[command(after_help = "\
Example:
  weir-bench verify --case vlan-vxlan --flows 1000")]
    Verify {
        #[command(flatten)]
        what: What,
        #[command(flatten)]
        options: Options,
    },
}

#[derive(Debug, Args)]
struct What {
    /// Which way the frames go.
    #[arg(long)]
    case: Case,
    /// How many 5-tuples.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = flows())]
    flows: u32,
    /// How many source MACs, and as many destination MACs [default: one a flow, at most 65,536].
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = flows())]
    macs: Option<u32>,
}

impl What {
    fn traffic(&self) -> Result<Traffic> {
        let traffic = Traffic::new(self.case, self.flows, self.macs.unwrap_or(self.flows.min(DEFAULT_MACS)));
        traffic.map_err(|e| wrong_arguments(format!("{e:#}")))
    }
}

#[derive(Debug, Args)]
struct Options {
    /// How long a trial counts, seconds.
    #[arg(long, value_name = "S", default_value_t = 2.0, allow_negative_numbers = true, value_parser = trial_seconds)]
    seconds: f64,
    /// How often each program is measured.
    #[arg(long, value_name = "N", default_value_t = 5, allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    trials: u32,
    /// How long packets flow before a trial counts, seconds.
    #[arg(long, value_name = "S", default_value_t = 0.5, allow_negative_numbers = true, value_parser = seconds)]
    warm_up: f64,
    /// The management core and the worker core.
    #[arg(long, value_name = "MAIN,WORKER", default_value_t = Cores { main: 0, worker: 1 })]
    cores: Cores,
    /// Where packet buffers live.
    #[arg(long, value_enum, default_value_t = Hugepages::Auto)]
    hugepages: Hugepages,
    /// Leave a program out. testpmd stays: every figure is relative to it.
    #[arg(long, value_enum, value_name = "PROGRAM")]
    skip: Vec<Skip>,
    /// Weir's binary [default: weir beside this one].
    #[arg(long, value_name = "PATH")]
    weir: Option<PathBuf>,
    /// testpmd's binary.
    #[arg(long, value_name = "PATH", default_value = "dpdk-testpmd")]
    testpmd: PathBuf,
    /// Keep traces, configuration and logs in this directory.
    #[arg(long, value_name = "DIRECTORY")]
    keep: Option<PathBuf>,
}

impl Options {
    /// Refuses cores that this machine does not have.
    fn check_cores(&self) -> Result<()> {
        for core in [self.cores.main, self.cores.worker] {
            if !Path::new(&format!("/sys/devices/system/cpu/cpu{core}")).exists() {
                return Err(wrong_arguments(format!("--cores {}: core {core} is not there", self.cores)));
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Skip {
    Weir,
    Ovs,
}

fn flows() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(MOST_FLOWS))
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

/// What clap says of arguments that only together, or only on this machine, are wrong.
fn wrong_arguments(what: impl std::fmt::Display) -> anyhow::Error {
    Cli::command().error(ErrorKind::ValueValidation, what).into()
}

/// Runs the command of this process's arguments.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = interrupt::catch().and_then(|()| cli.run());
    let Err(error) = result else { return ExitCode::SUCCESS };
    if let Some(usage) = error.downcast_ref::<clap::Error>() {
        eprint!("{usage}");
        return ExitCode::from(2);
    }
    eprintln!("weir-bench: {error:#}");
    ExitCode::from(match () {
        () if interrupt::asked() => 130,
        () if error.downcast_ref::<Mismatch>().is_some() => 3,
        () => 1,
    })
}

impl Cli {
    fn run(self) -> Result<()> {
        match self.command {
            Command::Run { what, json, options } => {
                let traffic = what.traffic()?;
                let json = json.map(Output::open).transpose()?;
                options.check_cores()?;
                let reports = Bench::new(&options, &[traffic])?.measure(&options, &[traffic])?;
                print!("{}", table(&reports));
                json.map_or(Ok(()), |output| output.write(&json_text(&reports)?))
            }
            Command::Set { million, directory, options } => {
                options.check_cores()?;
                let flows = [1000, 65_536].into_iter().chain(million.then_some(1_000_000));
                let traffics = flows.flat_map(|n| Case::ALL.map(|case| Traffic::new(case, n, n.min(DEFAULT_MACS))));
                let traffics = traffics.collect::<Result<Vec<_>>>()?;
                std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
                let json = Output::open(directory.join("results.json"))?;
                let markdown = Output::open(directory.join("table.md"))?;
                let reports = Bench::new(&options, &traffics)?.measure(&options, &traffics)?;
                let text = table(&reports);
                print!("{text}");
                json.write(&json_text(&reports)?)?;
                markdown.write(&text)
            }
            Command::Verify { what, options } => {
                if options.skip.contains(&Skip::Weir) {
                    return Err(wrong_arguments("--skip weir leaves nothing to verify"));
                }
                let traffic = what.traffic()?;
                options.check_cores()?;
                let bench = Bench::new(&options, &[traffic])?;
                let (_, verified) = bench.prepare(&bench.setting(&options, traffic)?)?;
                let frames = verified.map_or(0, |v| v.frames);
                println!("{}, {} flows: {frames} frames, every byte as it must be", traffic.case, traffic.flows);
                Ok(())
            }
        }
    }
}

fn json_text(reports: &[CaseReport]) -> Result<String> {
    Ok(serde_json::to_string_pretty(reports)? + "\n")
}

/// A file for the results: opened before anything is measured, so that no measurement is lost to a wrong path. What it
/// held stays until the results replace it; a new one goes again if there are none.
struct Output {
    path: PathBuf,
    file: File,
    remove: bool,
}

impl Output {
    fn open(path: PathBuf) -> Result<Self> {
        let remove = !path.exists();
        let file = File::options().write(true).create(true).truncate(false).open(&path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path, file, remove })
    }

    fn write(mut self, text: &str) -> Result<()> {
        self.remove = false;
        let is_file = self.file.metadata().is_ok_and(|m| m.is_file());
        // A pipe has no length.
        let emptied = if is_file { self.file.set_len(0) } else { Ok(()) };
        let written = emptied.and_then(|()| self.file.write_all(text.as_bytes()));
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.remove {
            // The error that ends the run is the one to tell.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// What a whole run shares: Weir found, memory reserved, a directory.
struct Bench {
    weir: Option<Weir>,
    memory: Memory,
    hugepages: String,
    file_prefix: String,
    directory: PathBuf,
    _scratch: Option<tempfile::TempDir>,
    _reservation: Reservation,
}

impl Bench {
    fn new(options: &Options, traffics: &[Traffic]) -> Result<Self> {
        let weir = match &options.weir {
            _ if options.skip.contains(&Skip::Weir) => None,
            Some(path) => Some(Weir::new(path)?),
            None => Some(Weir::new(&std::env::current_exe()?.with_file_name("weir"))?),
        };
        let (directory, scratch) = directory(options.keep.as_deref())?;
        let file_prefix = format!("weir-bench-{}", std::process::id());
        let mbufs = memory::mbufs(traffics.iter().map(|t| t.flows).max().unwrap_or(0));
        let ovs = if options.skip.contains(&Skip::Ovs) { 0 } else { OpenVswitch::MEMORY_MIB };
        let (memory, _reservation, hugepages) = memory::acquire(options.hugepages, mbufs, ovs)?;
        Ok(Self { weir, memory, hugepages, file_prefix, directory, _scratch: scratch, _reservation })
    }

    fn circumstances(&self, options: &Options) -> Result<Circumstances> {
        let testpmd = Testpmd::new(&options.testpmd, Forward::Io)?;
        let (tsc_hz, dpdk) = testpmd.facts(&self.directory, &self.file_prefix)?;
        let mut versions = BTreeMap::from([("testpmd", dpdk)]);
        if let Some(weir) = &self.weir {
            versions.insert("weir", weir.version()?);
        }
        let (cores, hugepages) = (options.cores.to_string(), self.hugepages.clone());
        Ok(Circumstances { tsc_hz, machine: machine()?, cores, hugepages, versions })
    }

    /// The circumstances of one case; each has a directory of its own.
    fn setting(&self, options: &Options, traffic: Traffic) -> Result<Setting> {
        let directory = self.directory.join(format!("{}-{}", traffic.case, traffic.flows));
        std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        Ok(Setting {
            traffic,
            trace: directory.join("trace.pcap"),
            cores: options.cores,
            memory: self.memory,
            mbufs: memory::mbufs(traffic.flows),
            directory,
            file_prefix: self.file_prefix.clone(),
        })
    }

    /// Configures Weir, compares what it makes of the trace, and writes the trace. Answers the MAC that tunnelled
    /// frames are for.
    fn prepare(&self, setting: &Setting) -> Result<(crate::frame::Mac, Option<Verified>)> {
        let traffic = setting.traffic;
        let (mac, verified) = match &self.weir {
            None => (FIRST_PCAP_MAC, None),
            Some(weir) => {
                eprintln!("{} {} flows: comparing frames", traffic.case, traffic.flows);
                let mac = weir.prepare(setting)?;
                (mac, Some(weir.verify(setting, mac)?))
            }
        };
        traffic.write(&setting.trace, 1, mac)?;
        Ok((mac, verified))
    }

    fn measure(self, options: &Options, traffics: &[Traffic]) -> Result<Vec<CaseReport>> {
        let circumstances = self.circumstances(options)?;
        traffics.iter().map(|traffic| self.case(options, *traffic, circumstances.clone())).collect()
    }

    fn case(&self, options: &Options, traffic: Traffic, mut circumstances: Circumstances) -> Result<CaseReport> {
        let setting = self.setting(options, traffic)?;
        let (mac, verified) = self.prepare(&setting)?;
        let mut programs: Vec<Box<dyn Program>> = vec![Box::new(Testpmd::new(&options.testpmd, Forward::Io)?)];
        if let Some(weir) = &self.weir {
            programs.push(Box::new(weir.clone()));
        }
        programs.push(Box::new(Testpmd::new(&options.testpmd, Forward::MacSwap)?));
        let ovs_absent = match OpenVswitch::new(traffic.flows, mac) {
            _ if options.skip.contains(&Skip::Ovs) => Some("--skip ovs".to_owned()),
            Err(e) => Some(format!("{e:#}")),
            Ok(ovs) => {
                circumstances.versions.insert("Open vSwitch", ovs.version()?);
                programs.push(Box::new(ovs));
                None
            }
        };
        let tsc_hz = circumstances.tsc_hz;
        let warm_up = Duration::from_secs_f64(options.warm_up);
        let schedule = Schedule { trials: options.trials, seconds: options.seconds, warm_up, tsc_hz };
        let trials = measure::run(&mut programs, &setting, schedule)?;
        let names = programs.iter().map(|p| p.name());
        let measured =
            Measured { traffic, seconds: options.seconds, trials: names.zip(trials).collect(), verified, ovs_absent };
        std::fs::remove_file(&setting.trace).with_context(|| format!("cannot remove {}", setting.trace.display()))?;
        Ok(CaseReport::new(measured, circumstances))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // What a killed child left; before the hugepages go back.
        sweep(&self.file_prefix);
    }
}

/// The directory to work in: the one to keep, which must be empty or new, or one that goes with the run.
fn directory(keep: Option<&Path>) -> Result<(PathBuf, Option<tempfile::TempDir>)> {
    let Some(keep) = keep else {
        let scratch = tempfile::Builder::new().prefix("weir-bench-").tempdir()?;
        return Ok((scratch.path().to_owned(), Some(scratch)));
    };
    std::fs::create_dir_all(keep).with_context(|| format!("--keep: cannot make {}", keep.display()))?;
    let keep = keep.canonicalize()?;
    if std::fs::read_dir(&keep)?.next().is_some() {
        bail!("--keep {}: the directory is not empty", keep.display());
    }
    Ok((keep, None))
}

/// Processor and number of cores.
fn machine() -> Result<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").context("cannot read /proc/cpuinfo")?;
    let field = |name: &str| {
        let line = text.lines().find(|l| l.split(':').next().is_some_and(|k| k.trim() == name));
        line.and_then(|l| l.split_once(':')).map_or("unknown", |(_, value)| value.trim())
    };
    let cores = text.lines().filter(|l| l.starts_with("processor")).count();
    Ok(format!("{} (model {}), {cores} cores", field("model name"), field("model")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn macs_default_to_one_a_flow() {
        let parse = |arguments: &str| {
            let Command::Run { what, .. } = Cli::try_parse_from(arguments.split(' ')).unwrap().command else {
                panic!()
            };
            what.traffic().unwrap().macs
        };
        assert_eq!(parse("weir-bench run --case vlan-vxlan --flows 1000"), 1000);
        assert_eq!(parse("weir-bench run --case vlan-vxlan --flows 1000000"), 65_536);
        assert_eq!(parse("weir-bench run --case vxlan-vlan --flows 1000 --macs 10"), 10);
    }

    #[test]
    fn what_cannot_be_measured_is_a_usage_error() {
        let exit_code = |rest: &str| {
            let line = format!("weir-bench run --case {rest}");
            let parsed = Cli::try_parse_from(line.split(' ')).map_err(anyhow::Error::from);
            // Nothing gets as far as measuring: the file for the results cannot be opened.
            let error = parsed.and_then(Cli::run).unwrap_err();
            error.downcast_ref::<clap::Error>().map(clap::Error::exit_code)
        };
        let last = "--json /dev/null/none";
        assert_eq!(exit_code(&format!("vlan-vxlan --flows 1 --seconds 0.001 --trials 1 {last}")), None);
        for wrong in [
            "vlan-vlan --flows 1",
            "vlan-vxlan",
            "vlan-vxlan --flows 0",
            "vlan-vxlan --flows -1",
            "vlan-vxlan --flows 4194305",
            "vlan-vxlan --flows 2 --macs 0",
            "vlan-vxlan --flows 2 --macs 3",
            "vlan-vxlan --flows 1 --cores 1",
            "vlan-vxlan --flows 1 --cores 1,1",
            "vlan-vxlan --flows 1 --cores 0,64",
            "vlan-vxlan --flows 1 --seconds 0",
            "vlan-vxlan --flows 1 --seconds -1",
            "vlan-vxlan --flows 1 --seconds NaN",
            "vlan-vxlan --flows 1 --seconds inf",
            "vlan-vxlan --flows 1 --seconds 1e-300",
            "vlan-vxlan --flows 1 --warm-up -1",
            "vlan-vxlan --flows 1 --trials 0",
            "vlan-vxlan --flows 1 --trials -1",
        ] {
            assert_eq!(exit_code(&format!("{wrong} {last}")), Some(2), "{wrong}");
        }
    }

    #[test]
    fn results_replace_a_file_only_when_there_are_some() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("results.json");
        drop(Output::open(path.clone()).unwrap());
        assert!(!path.exists());
        Output::open(path.clone()).unwrap().write("a longer text").unwrap();
        drop(Output::open(path.clone()).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a longer text");
        Output::open(path.clone()).unwrap().write("short").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "short");
        assert!(Output::open(path.join("below")).is_err());
    }

    #[test]
    fn a_directory_to_keep_must_be_empty() {
        let directory = tempfile::tempdir().unwrap();
        assert!(super::directory(Some(directory.path())).is_ok());
        std::fs::write(directory.path().join("x"), "").unwrap();
        assert!(super::directory(Some(directory.path())).unwrap_err().to_string().contains("not empty"));
    }
}
