//! The command line, and a run from its arguments to its report.

use crate::bench::{Bench, Work};
use crate::churn::Extent;
use crate::control::site::{MOST_BRIDGES, MOST_ENDPOINTS, Scale};
use crate::interrupt;
use crate::options::{Effort, Options, Skip};
use crate::output::Output;
use crate::report::{Report, tables};
use crate::routed::MOST_ROUTES;
use crate::trace::{Case, MOST_FLOWS, Traffic};
use crate::verify::Mismatch;
use anyhow::{Context, Result};
use clap::builder::PossibleValue;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;

/// Where there are fewer MACs than this, each flow has its own.
const DEFAULT_MACS: u32 = 65_536;
/// A million hosts, a thousand to a tenant.
const DEFAULT_SCALE: Scale = Scale { endpoints: 1_000_000, bridges: 1000 };
/// A million routes of one router.
const DEFAULT_EXTENT: Extent = Extent { routes: 1_000_000, batch: 100_000 };

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
  weir-bench run --case vlan-vxlan --flows 64 --trials 1 --seconds 0.3 --skip ovs --hugepages none
  weir-bench run --case route --flows 65536 --routes 1000000
  weir-bench run --case control
  weir-bench run --case control --endpoints 100000 --bridges 65536
  weir-bench run --case routes --routes 1000000 --batch 10000")]
    Run {
        #[command(flatten)]
        what: What,
        #[command(flatten)]
        size: Size,
        /// Write the report as JSON: an array with one object per case.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        #[command(flatten)]
        options: Options,
    },
    /// Measure the set: every case with 1,000 and with 65,536 flows, flood and route-vlan with 1,000 only, and control; but
    /// not routes. Writes Markdown tables and JSON; a case that disqualifies Weir is missing there, and the exit code is 3.
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
    /// What comes in and what leaves; or control or routes: what changes take, and what they do to the traffic.
    #[arg(long)]
    case: Chosen,
    /// How many 5-tuples; of arp, pairs of hosts. All cases but control and routes need it.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = flows())]
    flows: Option<u32>,
    /// How many source MACs, and as many destination MACs [default: one a flow, at most 65,536]. Of route and route-vlan,
    /// source MACs only: the hosts that routes lead to are 256, and there is one on the bridge itself for eight sources.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = flows())]
    macs: Option<u32>,
    /// Of route and route-vlan: how many routes the router has [default: 100,000]. Of routes: how many are applied
    /// [default: 1,000,000].
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_ROUTES)))]
    routes: Option<u32>,
}

/// A case of traffic, or one of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chosen {
    Traffic(Case),
    Control,
    Routes,
}

impl ValueEnum for Chosen {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [Chosen; Case::ALL.len() + 2] = {
            let mut all = [Chosen::Control; Case::ALL.len() + 2];
            let mut n = 0;
            while n < Case::ALL.len() {
                all[n] = Chosen::Traffic(Case::ALL[n]);
                n += 1;
            }
            all[n] = Chosen::Routes;
            all
        };
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Chosen::Traffic(case) => case.to_possible_value(),
            Chosen::Control => {
                Some(PossibleValue::new("control").help("Endpoints are configured, by the batch and singly"))
            }
            Chosen::Routes => {
                Some(PossibleValue::new("routes").help("Routes are configured and changed, by the batch and singly"))
            }
        }
    }
}

#[derive(Debug, Args)]
struct Size {
    /// Of control: how many endpoints [default: 1,000,000].
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_ENDPOINTS)))]
    endpoints: Option<u32>,
    /// Of control: how many bridges they are spread over [default: 1,000].
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_BRIDGES)))]
    bridges: Option<u32>,
    /// Of routes: how many in one apply [default: 100,000].
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_ROUTES)))]
    batch: Option<u32>,
}

impl What {
    /// What there is to do. Refuses arguments that are not the case's.
    fn work(&self, size: &Size) -> Result<Work> {
        if self.case != Chosen::Control && (size.endpoints.is_some() || size.bridges.is_some()) {
            return Err(wrong_arguments("--endpoints and --bridges are for --case control"));
        }
        if self.case != Chosen::Routes && size.batch.is_some() {
            return Err(wrong_arguments("--batch is for --case routes"));
        }
        if !matches!(self.case, Chosen::Traffic(_)) && (self.flows.is_some() || self.macs.is_some()) {
            return Err(wrong_arguments("--flows and --macs are not for --case control, nor for --case routes"));
        }
        match self.case {
            Chosen::Traffic(_) => Ok(Work { traffics: vec![self.traffic()?], ..Work::default() }),
            Chosen::Control if self.routes.is_some() => Err(wrong_arguments("--routes is not for --case control")),
            Chosen::Control => {
                let Scale { endpoints, bridges } = DEFAULT_SCALE;
                let endpoints = size.endpoints.unwrap_or(endpoints);
                let scale = Scale { endpoints, bridges: size.bridges.unwrap_or(bridges) };
                Ok(Work { control: Some(scale), ..Work::default() })
            }
            Chosen::Routes => {
                let Extent { routes, batch } = DEFAULT_EXTENT;
                let routes = self.routes.unwrap_or(routes);
                let extent = Extent { routes, batch: size.batch.unwrap_or(batch) };
                Ok(Work { routes: Some(extent), ..Work::default() })
            }
        }
    }

    fn traffic(&self) -> Result<Traffic> {
        let Chosen::Traffic(case) = self.case else {
            return Err(wrong_arguments("--case control and --case routes have no frames to compare"));
        };
        let flows = self.flows.ok_or_else(|| wrong_arguments(format!("--case {case} needs --flows")))?;
        let traffic = Traffic::new(case, flows, self.macs.unwrap_or(flows.min(DEFAULT_MACS)));
        let traffic = traffic.and_then(|traffic| self.routes.map_or(Ok(traffic), |n| traffic.with_routes(n)));
        traffic.map_err(|e| wrong_arguments(format!("{e:#}")))
    }
}

/// Every case, with so many flows; but what a flooded frame takes does not depend on how many there are, and between VLANs
/// what is routed differs from route as what is bridged does.
fn set(million: bool) -> Result<Work> {
    let flows = [1000, 65_536].into_iter().chain(million.then_some(1_000_000));
    let of = |flows: u32| {
        let few = |case: &Case| matches!(case, Case::Flood | Case::RouteVlan);
        let cases = Case::ALL.into_iter().filter(move |case| !few(case) || flows == 1000);
        cases.map(move |case| Traffic::new(case, flows, flows.min(DEFAULT_MACS)))
    };
    Ok(Work { traffics: flows.flat_map(of).collect::<Result<_>>()?, control: Some(DEFAULT_SCALE), routes: None })
}

fn flows() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(MOST_FLOWS))
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
            Command::Run { what, size, json, options } => {
                let work = what.work(&size)?;
                if work.traffics.is_empty() && options.skip.contains(&Skip::Weir) {
                    return Err(wrong_arguments("--skip weir leaves nothing of --case control or --case routes"));
                }
                let json = json.map(Output::open).transpose()?;
                check_cores(&options)?;
                let bench = Bench::new(&options, &work)?;
                let (reports, verdict) = bench.measure(&options, options.effort(Effort::CASE), &work)?;
                verdict?;
                print!("{}", tables(&reports));
                json.map_or(Ok(()), |output| output.write(&json_text(&reports)?))
            }
            Command::Set { million, directory, options } => {
                check_cores(&options)?;
                let mut work = set(million)?;
                if options.skip.contains(&Skip::Weir) {
                    work.control = None;
                }
                std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
                let json = Output::open(directory.join("results.json"))?;
                let markdown = Output::open(directory.join("table.md"))?;
                let bench = Bench::new(&options, &work)?;
                let (reports, verdict) = bench.measure(&options, options.effort(Effort::SET), &work)?;
                let text = tables(&reports);
                print!("{text}");
                json.write(&json_text(&reports)?)?;
                markdown.write(&text)?;
                verdict
            }
            Command::Verify { what, options } => {
                if options.skip.contains(&Skip::Weir) {
                    return Err(wrong_arguments("--skip weir leaves nothing to verify"));
                }
                let traffic = what.traffic()?;
                check_cores(&options)?;
                let work = Work { traffics: vec![traffic], ..Work::default() };
                let verified = Bench::new(&options, &work)?.verify(&options, traffic)?;
                let frames = verified.map_or(0, |v| v.frames);
                println!("{}, {} flows: {frames} frames, every byte as it must be", traffic.case, traffic.flows);
                Ok(())
            }
        }
    }
}

/// Refuses cores that this machine does not have.
fn check_cores(options: &Options) -> Result<()> {
    match options.missing_core() {
        Some(core) => Err(wrong_arguments(format!("--cores {}: core {core} is not there", options.cores))),
        None => Ok(()),
    }
}

fn json_text(reports: &[Report]) -> Result<String> {
    Ok(serde_json::to_string_pretty(reports)? + "\n")
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
    fn the_set_has_every_case() {
        let names = |million| {
            let work = set(million).unwrap();
            assert_eq!(work.control, Some(DEFAULT_SCALE));
            work.traffics.iter().map(|t| format!("{} {}", t.case, t.flows)).collect::<Vec<_>>()
        };
        let all = names(true);
        assert_eq!((names(false).len(), all.len()), (16, 23));
        for name in ["nvgre-vlan 65536", "vlan-geneve 1000000", "flood 1000", "route 65536", "route-vlan 1000"] {
            assert!(all.contains(&name.to_owned()), "{name}");
        }
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
            "vlan-vxlan --flows 1 --endpoints 5",
            "control --flows 1",
            "control --macs 1",
            "control --bridges 0",
            "control --bridges 65537",
            "control --endpoints 0",
            "control --skip weir",
            "control --routes 5",
            "routes --skip weir",
            "routes --flows 1",
            "routes --endpoints 1",
            "routes --batch 0",
            "routes --routes 1048577",
            "route",
            "route --flows 1 --routes 0",
            "route --flows 1 --batch 5",
            "vlan-vxlan --flows 1 --routes 5",
            "arp",
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
}
