//! `dpdk-testpmd`: what the devices and the machine cost by themselves.

use super::{Counts, Program, Running, SINK, Setting, find};
use crate::memory::sweep;
use crate::process::{Dialogue, Process};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::time::Duration;

const INSTALL: &str = "apt-get install dpdk-dev";
const START_TIME: Duration = Duration::from_secs(60);
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// What it does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// Hands it on, without a look at it.
    Io,
    /// Exchanges its MAC addresses: the least that touches it.
    MacSwap,
}

/// testpmd in one of its modes.
#[derive(Debug)]
pub struct Testpmd {
    program: PathBuf,
    forward: Forward,
}

impl Testpmd {
    /// Finds the program.
    pub fn new(program: &Path, forward: Forward) -> Result<Self> {
        Ok(Self { program: find(program, INSTALL)?, forward })
    }

    /// The frequency of the TSC as the EAL measures it, Hz, and DPDK's version. Starts the program without ports.
    pub fn facts(&self, directory: &Path, file_prefix: &str) -> Result<(u64, String)> {
        let log = directory.join("eal.log");
        let arguments = ["--no-huge", "-m", "64", "--no-pci", "--no-telemetry", "-v", "--log-level=lib.eal:debug"];
        let mut arguments: Vec<String> = arguments.map(str::to_owned).into();
        arguments.extend(["--file-prefix".into(), file_prefix.into()]);
        // Without a port it gives up, after the EAL has said what is asked for here.
        let process = Process::start(&self.program, &arguments, &[], &log)?;
        process.wait(START_TIME)?;
        sweep(file_prefix);
        let text = std::fs::read_to_string(&log)?;
        let hz = text.lines().find_map(tsc_hz).context("the EAL says no TSC frequency")?;
        let version = text.lines().find_map(version).context("the EAL says no version")?;
        Ok((hz, version))
    }
}

impl Program for Testpmd {
    fn name(&self) -> &'static str {
        match self.forward {
            Forward::Io => "testpmd io",
            Forward::MacSwap => "testpmd macswap",
        }
    }

    fn start(&mut self, setting: &Setting) -> Result<Box<dyn Running>> {
        let mode = match self.forward {
            Forward::Io => "io",
            Forward::MacSwap => "macswap",
        };
        let mut arguments = setting.memory.eal_arguments();
        let mut add = |texts: &[&str]| arguments.extend(texts.iter().map(|t| (*t).to_owned()));
        // The main lcore comes first in the list; testpmd forwards on the others.
        let (main, worker) = (setting.cores.main, setting.cores.worker);
        add(&["--lcores", &format!("(0)@{main},(1)@{worker}"), "--main-lcore", "0"]);
        add(&["--no-pci", "--no-telemetry", "--file-prefix", &setting.file_prefix]);
        add(&[
            "--vdev",
            &setting.source(),
            "--vdev",
            SINK,
            "--",
            "-i",
            "--auto-start",
            "--no-flush-rx",
            "--nb-cores=1",
        ]);
        add(&[&format!("--forward-mode={mode}"), &format!("--total-num-mbufs={}", setting.mbufs)]);
        let log = setting.directory.join(format!("testpmd-{mode}.log"));
        let (process, mut dialogue) = Process::converse(&self.program, &arguments, &log)?;
        let started = |line: &str| line.contains("packet forwarding - ports=2").then_some(());
        dialogue.hear(START_TIME, started).map_err(|e| e.context(process.log_tail()))?;
        Ok(Box::new(Forwarding { process, dialogue, file_prefix: setting.file_prefix.clone() }))
    }
}

struct Forwarding {
    process: Process,
    dialogue: Dialogue,
    file_prefix: String,
}

impl Running for Forwarding {
    fn process(&self) -> &Process {
        &self.process
    }

    fn counts(&mut self) -> Result<Counts> {
        // Port after port; the source is port 0, the sink port 1.
        self.dialogue.say("show port stats all")?;
        let (mut sent, mut transmitted) = (None, None);
        self.dialogue.hear(ANSWER_TIME, |line| {
            sent = sent.or_else(|| counter(line, "RX-packets"));
            let found = counter(line, "TX-packets")?;
            match transmitted.replace(found) {
                None => None,
                Some(_) => Some(Counts { sent: sent?, received: found }),
            }
        })
    }

    fn stop(mut self: Box<Self>) -> Result<()> {
        self.dialogue.say("quit")?;
        self.dialogue.hear(ANSWER_TIME, |line| line.contains("Bye...").then_some(()))?;
        let status = self.process.wait(ANSWER_TIME)?;
        ensure!(status.success(), "testpmd ended badly ({status})");
        sweep(&self.file_prefix);
        Ok(())
    }
}

/// A counter in a line of `show port stats`: `TX-packets: 60976896  TX-errors: 0 …`.
fn counter(line: &str, name: &str) -> Option<u64> {
    let rest = line.trim_start().strip_prefix(name)?.strip_prefix(':')?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Hz in `EAL: TSC frequency is ~2600000 KHz`.
fn tsc_hz(line: &str) -> Option<u64> {
    let (_, rest) = line.split_once("TSC frequency is ~")?;
    Some(rest.split(' ').next()?.parse::<u64>().ok()? * 1000)
}

/// The version in `EAL: RTE Version: 'DPDK 22.11.11'`.
fn version(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("RTE Version: '")?;
    Some(rest.split('\'').next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_in_what_it_prints() {
        let text = "  ######################## NIC statistics for port 1  ########################\n\
                      RX-packets: 0          RX-missed: 0          RX-bytes:  0\n\
                      RX-errors: 0\n\
                      RX-nombuf:  0         \n\
                      TX-packets: 48972768   TX-errors: 0          TX-bytes:  0\n";
        let read = |name| text.lines().find_map(|l| counter(l, name));
        assert_eq!(read("TX-packets"), Some(48_972_768));
        assert_eq!(read("RX-packets"), Some(0));
        assert_eq!(read("RX"), None);
        assert_eq!(counter("TX-packets: many", "TX-packets"), None);
    }

    #[test]
    fn the_eal_says_the_frequency_and_the_version() {
        assert_eq!(tsc_hz("EAL: TSC frequency is ~2600000 KHz"), Some(2_600_000_000));
        assert_eq!(tsc_hz("EAL: TSC is not safe to use in SMP mode"), None);
        assert_eq!(version("EAL: RTE Version: 'DPDK 22.11.11'").as_deref(), Some("DPDK 22.11.11"));
    }
}
