//! Weir: one bridge with a VLAN and a tunnel segment, the destination MACs configured as endpoints, the source MACs
//! learned from the trace. Where it routes, two bridges with a segment each, and a router between them.
//!
//! Its desired state is applied once and kept on its disk; every later start of the same case has it in force before
//! the first packet.

pub mod site;

use super::rpc::{Prepared, Rpc};
use super::{Counts, Program, Running, SINK, Setting, find};
use crate::frame::Mac;
use crate::memory::sweep;
use crate::process::{Process, arguments, run};
use crate::trace::Case;
use crate::verify::{self, Mismatch, Verified};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fmt::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use weir_api::message::{Apply, Call, Op};
use weir_api::object::Object;
use weir_api::view::{PortStats, Stats};

const INSTALL: &str = "cargo build --release -p weir";
const START_TIME: Duration = Duration::from_secs(60);
const STOP_TIME: Duration = Duration::from_secs(30);
/// Endpoints in one `apply`.
const BATCH: usize = 16_384;
/// Rounds of the trace when frames are compared: two, so that order within a flow means something.
const ROUNDS: u32 = 2;

/// The MAC of a process's first `net_pcap` device: the driver numbers them from zero.
pub const FIRST_PCAP_MAC: Mac = [0x02, 0x70, 0x63, 0x61, 0x70, 0x00];

/// Weir.
#[derive(Clone, Debug)]
pub struct Weir {
    program: PathBuf,
}

/// Where frames come from and go to.
enum Devices {
    /// Nothing comes.
    Quiet,
    /// A capture, once; what leaves is captured.
    Once { input: PathBuf, output: PathBuf },
    /// The trace, over and over; what leaves is counted.
    Endless,
}

impl Weir {
    /// Finds the program.
    pub fn new(program: &Path) -> Result<Self> {
        Ok(Self { program: find(program, INSTALL)? })
    }

    /// What `weir --version` says.
    pub fn version(&self) -> Result<String> {
        Ok(run(&self.program, &arguments(["--version"]), &[])?.trim().to_owned())
    }

    /// Brings the desired state onto its disk. Answers the MAC of the port that frames come in on.
    pub fn prepare(&self, setting: &Setting) -> Result<Mac> {
        let mut running = self.launch(setting, Devices::Quiet)?;
        let objects = site::all(setting.traffic)?;
        running.apply(objects)?;
        let mac = port_mac(running.stats()?.ports.first())?;
        Box::new(running).stop()?;
        Ok(mac)
    }

    /// Sends the trace through once and compares every frame that leaves with what must leave.
    pub fn verify(&self, setting: &Setting, source_mac: Mac) -> Result<Verified> {
        let traffic = setting.traffic;
        let (input, output) = (setting.directory.join("verify-in.pcap"), setting.directory.join("verify-out.pcap"));
        traffic.write(&input, ROUNDS, source_mac)?;
        let mut running = self.launch(setting, Devices::Once { input: input.clone(), output: output.clone() })?;
        let sink_mac = running.settle(u64::from(traffic.flows) * u64::from(ROUNDS))?;
        let drops = running.drops()?;
        let strays = running.strays()?;
        Box::new(running).stop()?;
        let verified = verify::capture(&output, traffic, ROUNDS, sink_mac).and_then(|verified| match strays {
            0 => Ok(verified),
            n => {
                let message = format!("{n} frames left by the port on which none should");
                Err(Mismatch { message, difference: None }.into())
            }
        });
        let verified = verified.map_err(|e| if drops.is_empty() { e } else { e.context(format!("drops: {drops}")) })?;
        for file in [input, output] {
            std::fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        }
        Ok(verified)
    }

    fn launch(&self, setting: &Setting, devices: Devices) -> Result<Forwarding> {
        let case = setting.traffic.case;
        let (source, sink) = match devices {
            Devices::Quiet => (quiet(&setting.directory)?, SINK.to_owned()),
            Devices::Once { input, output } if case.returns() => {
                (format!("net_pcap0,rx_pcap={},tx_pcap={}", input.display(), output.display()), SINK.to_owned())
            }
            Devices::Once { input, output } => {
                (format!("net_pcap0,rx_pcap={}", input.display()), format!("net_pcap1,tx_pcap={}", output.display()))
            }
            Devices::Endless => (setting.source(), SINK.to_owned()),
        };
        let (source_name, sink_name) = site::port_names(case);
        let ports = [(source_name, source.as_str()), (sink_name, sink.as_str())];
        self.begin(setting, &site::boot(setting, &site::tables(setting.traffic), &ports))
    }

    /// Starts it with that `weir.toml`, and waits until it can be asked.
    pub fn begin(&self, setting: &Setting, boot: &str) -> Result<Forwarding> {
        let directory = &setting.directory;
        let configuration = directory.join("weir.toml");
        std::fs::create_dir_all(directory.join("state"))?;
        std::fs::write(&configuration, boot)?;
        let log = directory.join("weir.log");
        let arguments = arguments(["-c", &configuration.to_string_lossy()]);
        let mut process = Process::start(&self.program, &arguments, &[], &log)?;
        let socket = directory.join("weir.sock");
        let stream = process.until(START_TIME, || Ok(UnixStream::connect(&socket).ok()))?;
        let rpc = Rpc::new(stream)?;
        let case = setting.traffic.case;
        Ok(Forwarding { process, rpc, case, file_prefix: setting.file_prefix.clone() })
    }
}

/// A device that nothing comes from.
pub fn quiet(directory: &Path) -> Result<String> {
    let empty = directory.join("empty.pcap");
    crate::pcap::Writer::create(&empty)?.finish()?;
    Ok(format!("net_pcap0,rx_pcap={}", empty.display()))
}

impl Program for Weir {
    fn name(&self) -> &'static str {
        "weir"
    }

    fn copies(&self, case: Case) -> u32 {
        case.copies()
    }

    fn start(&mut self, setting: &Setting) -> Result<Box<dyn Running>> {
        Ok(Box::new(self.launch(setting, Devices::Endless)?))
    }
}

/// Weir at work.
pub struct Forwarding {
    process: Process,
    rpc: Rpc,
    case: Case,
    file_prefix: String,
}

impl Forwarding {
    /// Sends a request; see [`Rpc::send`].
    pub fn send(&mut self, prepared: &Prepared) -> Result<(Value, Duration)> {
        self.rpc.send(prepared).map_err(|e| self.process.explain(e))
    }

    fn call(&mut self, call: Call) -> Result<Value> {
        self.rpc.call(call).map_err(|e| self.process.explain(e))
    }

    /// All its counters.
    pub fn stats(&mut self) -> Result<Stats> {
        self.process.alive()?;
        let result = self.call(Call::Stats {})?;
        serde_json::from_value(result).context("cannot read the answer to stats")
    }

    /// Puts objects, some thousands in one call.
    pub fn apply(&mut self, objects: Vec<Object>) -> Result<()> {
        for batch in objects.chunks(BATCH) {
            let ops = batch.iter().cloned().map(Op::Put).collect();
            self.call(Call::Apply(Apply { ops, ..Apply::default() }))?;
        }
        Ok(())
    }

    /// Waits until `frames` came in and no more go out. Answers the MAC of the port they leave on.
    fn settle(&mut self, frames: u64) -> Result<Mac> {
        let end = Instant::now() + START_TIME;
        let due = frames * u64::from(self.case.copies());
        let mut last = None;
        loop {
            let stats = self.stats()?;
            let (source, outlet) = (stats.ports.first(), outlet(&stats, self.case)?);
            let seen = (source.map_or(0, |port| port.rx_packets), outlet.tx_packets);
            if seen.0 >= frames && (seen.1 >= due || last == Some(seen)) {
                return port_mac(Some(outlet));
            }
            if Instant::now() > end {
                bail!("weir took {} of {frames} frames in {} s", seen.0, START_TIME.as_secs());
            }
            last = Some(seen);
            crate::interrupt::pause(Duration::from_millis(200))?;
        }
    }

    /// Frames that left by the other port.
    fn strays(&mut self) -> Result<u64> {
        let stats = self.stats()?;
        let outlet = &outlet(&stats, self.case)?.name;
        Ok(stats.ports.iter().filter(|port| port.name != *outlet).map(|port| port.tx_packets).sum())
    }

    fn drops(&mut self) -> Result<String> {
        let mut text = String::new();
        for port in self.stats()?.ports {
            for (reason, count) in port.drops {
                // Writing to a String cannot fail.
                let _ = write!(text, "{}{reason} on {}: {count}", if text.is_empty() { "" } else { ", " }, port.name);
            }
        }
        Ok(text)
    }
}

impl Running for Forwarding {
    fn process(&self) -> &Process {
        &self.process
    }

    fn counts(&mut self) -> Result<Counts> {
        let stats = self.stats()?;
        let sent = stats.ports.first().map_or(0, |source| source.rx_packets);
        Ok(Counts { sent, received: outlet(&stats, self.case)?.tx_packets })
    }

    fn stop(self: Box<Self>) -> Result<()> {
        let Forwarding { process, rpc, file_prefix, .. } = *self;
        drop(rpc);
        process.terminate(STOP_TIME)?;
        sweep(&file_prefix);
        Ok(())
    }
}

/// The port that frames leave on. Ports stand in the order of weir.toml, the source first.
fn outlet(stats: &Stats, case: Case) -> Result<&PortStats> {
    let port = stats.ports.get(usize::from(!case.returns()));
    port.with_context(|| format!("stats shows {} ports, expected 2 or more", stats.ports.len()))
}

fn port_mac(port: Option<&PortStats>) -> Result<Mac> {
    let port = port.context("stats shows no port")?;
    let octets: Option<Vec<u8>> = port.mac.split(':').map(|p| u8::from_str_radix(p, 16).ok()).collect();
    let octets = octets.and_then(|o| Mac::try_from(o).ok());
    octets.with_context(|| format!("port {} has MAC {:?}", port.name, port.mac))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_where_they_leave() {
        let port = |name: &str, rx_packets, tx_packets| PortStats {
            name: name.into(),
            rx_packets,
            tx_packets,
            ..PortStats::default()
        };
        let stats = Stats { ports: vec![port("lan0", 10, 8), port("uplink0", 0, 3)], ..Stats::default() };
        assert_eq!(outlet(&stats, Case::VlanVxlan).unwrap().tx_packets, 3);
        assert_eq!(outlet(&stats, Case::Arp).unwrap().tx_packets, 8);
        assert!(outlet(&Stats::default(), Case::Arp).is_err());
    }

    #[test]
    fn a_port_s_mac_is_read() {
        let port = |mac: &str| PortStats { mac: mac.into(), ..PortStats::default() };
        assert_eq!(port_mac(Some(&port("02:70:63:61:70:00"))).unwrap(), FIRST_PCAP_MAC);
        for bad in ["", "02:70:63:61:70", "02:70:63:61:70:zz"] {
            assert!(port_mac(Some(&port(bad))).is_err(), "{bad}");
        }
        assert!(port_mac(None).is_err());
    }
}
