//! A run: what all its cases share, and each case from its trace to its report.

use crate::churn::{self, Extent};
use crate::control::{self, site::Scale};
use crate::frame::Mac;
use crate::measure::{self, Schedule};
use crate::memory::{self, Memory, Reservation, sweep};
use crate::options::{Effort, Options, Skip};
use crate::program::ovs::OpenVswitch;
use crate::program::testpmd::{Forward, Testpmd};
use crate::program::weir::{FIRST_PCAP_MAC, Weir};
use crate::program::{Program, Setting};
use crate::report::{CaseReport, ChurnReport, Circumstances, ControlReport, Measured, Report};
use crate::trace::Traffic;
use crate::verify::{Mismatch, Verified};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What there is to measure.
#[derive(Clone, Debug, Default)]
pub struct Work {
    /// Cases of traffic.
    pub traffics: Vec<Traffic>,
    /// The case `control`, at that size.
    pub control: Option<Scale>,
    /// The case `routes`, at that size.
    pub routes: Option<Extent>,
}

/// What a whole run shares: Weir found, memory reserved, a directory.
pub struct Bench {
    weir: Option<Weir>,
    memory: Memory,
    hugepages: String,
    file_prefix: String,
    directory: PathBuf,
    _scratch: Option<tempfile::TempDir>,
    _reservation: Reservation,
}

impl Bench {
    /// Finds Weir, reserves memory, and makes the directory.
    pub fn new(options: &Options, work: &Work) -> Result<Self> {
        let weir = match &options.weir {
            _ if options.skip.contains(&Skip::Weir) => None,
            Some(path) => Some(Weir::new(path)?),
            None => Some(Weir::new(&std::env::current_exe()?.with_file_name("weir"))?),
        };
        let (directory, scratch) = directory(options.keep.as_deref())?;
        let file_prefix = format!("weir-bench-{}", std::process::id());
        let mbufs = memory::mbufs(work.traffics.iter().map(|t| t.flows).max().unwrap_or(0));
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
    fn setting(&self, options: &Options, traffic: Traffic, name: &str) -> Result<Setting> {
        let directory = self.directory.join(name);
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
    fn prepare(&self, setting: &Setting) -> Result<(Mac, Option<Verified>)> {
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

    /// Only compares what Weir makes of a trace.
    pub fn verify(&self, options: &Options, traffic: Traffic) -> Result<Option<Verified>> {
        let setting = self.setting(options, traffic, &named(traffic))?;
        Ok(self.prepare(&setting)?.1)
    }

    /// Measures everything. A case in which Weir is disqualified has no report; the others' come all the same, and beside
    /// them the first [`Mismatch`].
    pub fn measure(self, options: &Options, effort: Effort, work: &Work) -> Result<(Vec<Report>, Result<()>)> {
        let circumstances = self.circumstances(options)?;
        let (mut reports, mut verdict) = (Vec::new(), Ok(()));
        for traffic in &work.traffics {
            match self.case(options, effort, *traffic, circumstances.clone()) {
                Ok(report) => reports.push(Report::Traffic(Box::new(report))),
                Err(e) if e.downcast_ref::<Mismatch>().is_some() => {
                    let e = e.context(format!("{}, {} flows", traffic.case, traffic.flows));
                    eprintln!("{e:#}");
                    verdict = verdict.and(Err(e));
                }
                Err(e) => return Err(e),
            }
        }
        for trial in 1..=options.trials.unwrap_or(1) {
            reports.extend(self.changes(options, work, trial, &circumstances)?);
        }
        Ok((reports, verdict))
    }

    /// The cases that measure what changes take.
    fn changes(&self, options: &Options, work: &Work, trial: u32, on: &Circumstances) -> Result<Vec<Report>> {
        let mut reports = Vec::new();
        let Some(weir) = &self.weir else { return Ok(reports) };
        if let Some(scale) = work.control {
            let setting = self.setting(options, control::traffic()?, &format!("control-{trial}"))?;
            let (figures, circumstances) = (control::run(weir, &setting, scale)?, on.clone());
            reports.push(Report::Control(Box::new(ControlReport { case: "control", figures, circumstances })));
        }
        if let Some(extent) = work.routes {
            let setting = self.setting(options, extent.traffic()?, &format!("routes-{trial}"))?;
            let (figures, circumstances) = (churn::run(weir, &setting, extent)?, on.clone());
            reports.push(Report::Churn(Box::new(ChurnReport { case: "routes", figures, circumstances })));
        }
        Ok(reports)
    }

    fn case(
        &self,
        options: &Options,
        effort: Effort,
        traffic: Traffic,
        mut circumstances: Circumstances,
    ) -> Result<CaseReport> {
        let setting = self.setting(options, traffic, &named(traffic))?;
        let (mac, verified) = self.prepare(&setting)?;
        let mut programs: Vec<Box<dyn Program>> = vec![Box::new(Testpmd::new(&options.testpmd, Forward::Io)?)];
        if let Some(weir) = &self.weir {
            programs.push(Box::new(weir.clone()));
        }
        programs.push(Box::new(Testpmd::new(&options.testpmd, Forward::MacSwap)?));
        let ovs_absent = match OpenVswitch::new(traffic, mac) {
            _ if options.skip.contains(&Skip::Ovs) => Some("--skip ovs".to_owned()),
            Err(e) => Some(format!("{e:#}")),
            Ok(ovs) => {
                circumstances.versions.insert("Open vSwitch", ovs.version()?);
                programs.push(Box::new(ovs));
                None
            }
        };
        let tsc_hz = circumstances.tsc_hz;
        let Effort { seconds, trials, warm_up } = effort;
        let warm_up = Duration::from_secs_f64(warm_up);
        let schedule = Schedule { trials, seconds, warm_up, tsc_hz };
        let trials = measure::run(&mut programs, &setting, schedule)?;
        let names = programs.iter().map(|p| p.name());
        let measured = Measured { traffic, seconds, trials: names.zip(trials).collect(), verified, ovs_absent };
        std::fs::remove_file(&setting.trace).with_context(|| format!("cannot remove {}", setting.trace.display()))?;
        Ok(CaseReport::new(measured, circumstances))
    }
}

/// The directory of a case.
fn named(traffic: Traffic) -> String {
    format!("{}-{}", traffic.case, traffic.flows)
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
    #[test]
    fn a_directory_to_keep_must_be_empty() {
        let directory = tempfile::tempdir().unwrap();
        assert!(super::directory(Some(directory.path())).is_ok());
        std::fs::write(directory.path().join("x"), "").unwrap();
        assert!(super::directory(Some(directory.path())).unwrap_err().to_string().contains("not empty"));
    }
}
