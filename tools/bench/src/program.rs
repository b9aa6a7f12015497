//! The programs that are measured: how each is started on a trace, and where its packets are counted.
//!
//! Each is a fresh process with one worker core and two ports: `net_pcap` with `infinite_rx=1`, which preloads the
//! trace into packet buffers and delivers it over and over, and `net_null` with `no-rx=1`, which counts and frees.

pub mod ovs;
pub mod rpc;
pub mod testpmd;
pub mod weir;

use crate::memory::Memory;
use crate::process::Process;
use crate::trace::{Case, Traffic};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};

/// Under which circumstances a trial runs.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The traffic that the trace holds.
    pub traffic: Traffic,
    /// The trace, one frame a flow.
    pub trace: PathBuf,
    /// Where the program runs.
    pub cores: Cores,
    /// How much memory it gets, and of which kind.
    pub memory: Memory,
    /// How many packet buffers it gets.
    pub mbufs: u32,
    /// A directory for logs, sockets and databases.
    pub directory: PathBuf,
    /// What DPDK calls its run-time files.
    pub file_prefix: String,
}

impl Setting {
    /// The source's vdev arguments. The MAC of the first `net_pcap` device of a process is
    /// [`weir::FIRST_PCAP_MAC`].
    pub fn source(&self) -> String {
        format!("net_pcap0,rx_pcap={},infinite_rx=1", self.trace.display())
    }
}

/// The sink's vdev arguments.
pub const SINK: &str = "net_null0,no-rx=1";

/// Two cores, written `MAIN,WORKER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cores {
    /// For management threads.
    pub main: u32,
    /// For the one worker.
    pub worker: u32,
}

impl std::str::FromStr for Cores {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parse = |t: &str| t.parse::<u32>().ok().filter(|c| *c < 64);
        let cores = text.split_once(',').and_then(|(main, worker)| Some((parse(main)?, parse(worker)?)));
        let cores = cores.filter(|(main, worker)| main != worker);
        let (main, worker) = cores.ok_or("expected two different cores below 64, MAIN,WORKER, such as 0,1")?;
        Ok(Self { main, worker })
    }
}

impl std::fmt::Display for Cores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{},{}", self.main, self.worker)
    }
}

/// Packets since the program started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// That the worker took from the source.
    pub sent: u64,
    /// That the sink took from the worker.
    pub received: u64,
}

/// A program that can be measured.
pub trait Program {
    /// What the report calls it.
    fn name(&self) -> &'static str;
    /// How many packets it sends for each that comes in.
    fn copies(&self, _: Case) -> u32 {
        1
    }
    /// Starts it, configured and polling. Packets may flow a little later.
    fn start(&mut self, setting: &Setting) -> Result<Box<dyn Running>>;
}

/// A program at work. Dropping it kills it.
pub trait Running {
    /// Reads its counters, as they are between the call and its return.
    fn counts(&mut self) -> Result<Counts>;
    /// The process that forwards.
    fn process(&self) -> &Process;
    /// Ends it, and makes sure that it ended well.
    fn stop(self: Box<Self>) -> Result<()>;
}

/// Finds a program: a path as it is, a name in `PATH` and in the directories of the system's own commands. `install`
/// is what to do where there is none.
pub fn find(program: &Path, install: &str) -> Result<PathBuf> {
    if program.components().count() > 1 {
        ensure!(program.is_file(), "{} is not there: {install}", program.display());
        return Ok(program.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = directories.map(|d| d.join(program)).find(|p| p.is_file());
    found.with_context(|| format!("{} is not installed: {install}", program.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_two_different_ones() {
        assert_eq!("0,1".parse(), Ok(Cores { main: 0, worker: 1 }));
        assert_eq!(Cores { main: 2, worker: 3 }.to_string(), "2,3");
        for bad in ["", "1", "1,1", "0,64", "a,b", "0,1,2", "-1,0"] {
            assert!(bad.parse::<Cores>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_missing_program_says_how_to_get_it() {
        assert_eq!(find(Path::new("/bin/sh"), "").unwrap(), Path::new("/bin/sh"));
        assert!(find(Path::new("sh"), "").unwrap().ends_with("sh"));
        let error = find(Path::new("no-such-program"), "apt-get install it").unwrap_err().to_string();
        assert_eq!(error, "no-such-program is not installed: apt-get install it");
    }
}
