//! Weir: one bridge with a VLAN and a VXLAN segment, the destination MACs configured as endpoints, the source MACs
//! learned from the trace.
//!
//! Its desired state is applied once and kept on its disk; every later start of the same case has it in force before
//! the first packet.

use super::rpc::Rpc;
use super::{Counts, Program, Running, SINK, Setting, find};
use crate::frame::Mac;
use crate::memory::sweep;
use crate::process::{Process, arguments, run};
use crate::trace::{Case, PEER, PEER_MAC, Traffic, VID, VNI, VTEP};
use crate::verify::{self, Verified};
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::fmt::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use weir_api::id::{Location, Name};
use weir_api::message::{Apply, Call, Op};
use weir_api::object::{Endpoint, Object, State};
use weir_api::view::{PortStats, Stats};

const INSTALL: &str = "cargo build --release -p weir";
const START_TIME: Duration = Duration::from_secs(60);
const STOP_TIME: Duration = Duration::from_secs(30);
/// Endpoints in one `apply`.
const BATCH: usize = 16_384;
/// What the one bridge is called.
const BRIDGE: &str = "bench";
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
        let mut objects = network(setting.traffic)?;
        objects.extend(endpoints(setting.traffic)?);
        for batch in objects.chunks(BATCH) {
            let ops = batch.iter().cloned().map(Op::Put).collect();
            running.rpc.call(Call::Apply(Apply { ops, ..Apply::default() }))?;
        }
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
        Box::new(running).stop()?;
        let verified = verify::capture(&output, traffic, ROUNDS, sink_mac);
        let verified = verified.map_err(|e| if drops.is_empty() { e } else { e.context(format!("drops: {drops}")) })?;
        for file in [input, output] {
            std::fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        }
        Ok(verified)
    }

    fn launch(&self, setting: &Setting, devices: Devices) -> Result<Forwarding> {
        let directory = &setting.directory;
        let empty = directory.join("empty.pcap");
        crate::pcap::Writer::create(&empty)?.finish()?;
        let (source, sink) = match devices {
            Devices::Quiet => (format!("net_pcap0,rx_pcap={}", empty.display()), SINK.to_owned()),
            Devices::Once { input, output } => {
                (format!("net_pcap0,rx_pcap={}", input.display()), format!("net_pcap1,tx_pcap={}", output.display()))
            }
            Devices::Endless => (setting.source(), SINK.to_owned()),
        };
        let configuration = directory.join("weir.toml");
        std::fs::create_dir_all(directory.join("state"))?;
        std::fs::write(&configuration, boot(setting, &source, &sink))?;
        let log = directory.join("weir.log");
        let arguments = arguments(["-c", &configuration.to_string_lossy()]);
        let mut process = Process::start(&self.program, &arguments, &[], &log)?;
        let socket = directory.join("weir.sock");
        let stream = process.until(START_TIME, || Ok(UnixStream::connect(&socket).ok()))?;
        let rpc = Rpc::new(stream)?;
        Ok(Forwarding { process, rpc, file_prefix: setting.file_prefix.clone() })
    }
}

impl Program for Weir {
    fn name(&self) -> &'static str {
        "weir"
    }

    fn start(&mut self, setting: &Setting) -> Result<Box<dyn Running>> {
        Ok(Box::new(self.launch(setting, Devices::Endless)?))
    }
}

struct Forwarding {
    process: Process,
    rpc: Rpc,
    file_prefix: String,
}

impl Forwarding {
    fn stats(&mut self) -> Result<Stats> {
        self.process.alive()?;
        let result = self.rpc.call(Call::Stats {})?;
        serde_json::from_value(result).context("cannot read the answer to stats")
    }

    /// Waits until `frames` came in and no more go out. Answers the MAC of the port they leave on.
    fn settle(&mut self, frames: u64) -> Result<Mac> {
        let end = Instant::now() + START_TIME;
        let mut last = None;
        loop {
            let stats = self.stats()?;
            let (source, sink) = source_and_sink(&stats)?;
            let seen = (source.rx_packets, sink.tx_packets);
            if seen.0 >= frames && (seen.1 >= frames || last == Some(seen)) {
                return port_mac(Some(sink));
            }
            if Instant::now() > end {
                bail!("weir took {} of {frames} frames in {} s", seen.0, START_TIME.as_secs());
            }
            last = Some(seen);
            crate::interrupt::pause(Duration::from_millis(200))?;
        }
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
        let (source, sink) = source_and_sink(&stats)?;
        Ok(Counts { sent: source.rx_packets, received: sink.tx_packets })
    }

    fn stop(self: Box<Self>) -> Result<()> {
        let Forwarding { process, rpc, file_prefix } = *self;
        drop(rpc);
        process.terminate(STOP_TIME)?;
        sweep(&file_prefix);
        Ok(())
    }
}

/// The ports stand in the order of weir.toml.
fn source_and_sink(stats: &Stats) -> Result<(&PortStats, &PortStats)> {
    match &stats.ports[..] {
        [source, sink] => Ok((source, sink)),
        ports => bail!("stats shows {} ports, expected 2", ports.len()),
    }
}

fn port_mac(port: Option<&PortStats>) -> Result<Mac> {
    let port = port.context("stats shows no port")?;
    let octets: Option<Vec<u8>> = port.mac.split(':').map(|p| u8::from_str_radix(p, 16).ok()).collect();
    let octets = octets.and_then(|o| Mac::try_from(o).ok());
    octets.with_context(|| format!("port {} has MAC {:?}", port.name, port.mac))
}

/// The names of the ports that frames come in on and leave on.
fn port_names(case: Case) -> (&'static str, &'static str) {
    match case {
        Case::VlanVxlan => ("lan0", "uplink0"),
        Case::VxlanVlan => ("uplink0", "lan0"),
    }
}

/// `weir.toml`. The source stands first, so that it is the process's first `net_pcap`.
fn boot(setting: &Setting, source: &str, sink: &str) -> String {
    let Setting { traffic, cores, memory, mbufs, directory, file_prefix, .. } = setting;
    let (source_name, sink_name) = port_names(traffic.case);
    let hugepages = if memory.huge { "require" } else { "none" };
    let extra = if memory.huge { "\"--huge-unlink\"" } else { "" };
    let directory = directory.display();
    let macs = traffic.macs * 2 + 1024;
    let (mib, worker) = (memory.mib, cores.worker);
    format!(
        "dpdk = {{ hugepages = \"{hugepages}\", memory_mib = {mib}, mbufs = {mbufs}, \
         file_prefix = \"{file_prefix}\", extra_args = [{extra}] }}\n\
         workers = {{ cores = [{worker}], poll = \"busy\" }}\n\
         tables = {{ macs = {macs}, endpoints = {macs} }}\n\
         rpc = {{ socket = \"{directory}/weir.sock\" }}\n\
         state = {{ directory = \"{directory}/state\" }}\n\
         log = {{ level = \"info\" }}\n\
         [[port]]\nname = \"{source_name}\"\ndevice = \"{source}\"\n\
         [[port]]\nname = \"{sink_name}\"\ndevice = \"{sink}\"\n"
    )
}

/// The bridge, its two segments, the vtep and the peer.
fn network(traffic: Traffic) -> Result<Vec<Object>> {
    let neighbour = weir_api::id::Mac::try_from(PEER_MAC)?;
    let state: State = serde_json::from_value(json!({
        "bridge": [{ "name": BRIDGE, "mac_limit": traffic.macs + 1024 }],
        "vtep": [{
            "name": "vtep0", "port": "uplink0", "address": format!("{VTEP}/24"),
            "neighbours": { PEER.to_string(): neighbour },
        }],
        "segment": [
            { "id": format!("vlan/lan0/{VID}"), "bridge": BRIDGE },
            { "id": format!("vxlan/{VNI}"), "bridge": BRIDGE, "vtep": "vtep0" },
        ],
        "peer": [{ "segment": format!("vxlan/{VNI}"), "address": PEER }],
    }))?;
    Ok(state.into_objects().collect())
}

/// The hosts that frames go to, where the case says they are.
fn endpoints(traffic: Traffic) -> Result<Vec<Object>> {
    let location: Location = match traffic.case {
        Case::VlanVxlan => format!("vxlan/{VNI}/{PEER}").parse()?,
        Case::VxlanVlan => format!("vlan/lan0/{VID}").parse()?,
    };
    let bridge: Name = BRIDGE.parse()?;
    let endpoint = |n| {
        let mac = Traffic::destination(n).try_into()?;
        Ok(Object::Endpoint(Endpoint {
            bridge: bridge.clone(),
            mac,
            location: location.clone(),
            ips: Vec::new(),
            allowed_pairs: Vec::new(),
        }))
    };
    (0..traffic.macs).map(endpoint).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;

    fn setting(case: Case) -> Setting {
        Setting {
            traffic: Traffic::new(case, 1000, 64).unwrap(),
            trace: "/run/bench/trace.pcap".into(),
            cores: "0,1".parse().unwrap(),
            memory: Memory { huge: false, mib: 300 },
            mbufs: 17_384,
            directory: "/run/bench".into(),
            file_prefix: "bench-1".into(),
        }
    }

    #[test]
    fn the_source_is_the_first_port_of_either_case() {
        for (case, first) in [(Case::VlanVxlan, "lan0"), (Case::VxlanVlan, "uplink0")] {
            let setting = setting(case);
            let text = boot(&setting, &setting.source(), SINK);
            let (_, ports) = text.split_once("[[port]]").unwrap();
            assert!(ports.starts_with(&format!("\nname = \"{first}\"\ndevice = \"net_pcap0,")), "{text}");
            assert!(text.contains("hugepages = \"none\", memory_mib = 300, mbufs = 17384"), "{text}");
        }
    }

    #[test]
    fn the_desired_state_is_one_bridge_with_every_destination() {
        let traffic = setting(Case::VlanVxlan).traffic;
        let ids: Vec<String> = network(traffic).unwrap().iter().map(|o| o.key().to_string()).collect();
        let expected = [
            "bridge bench",
            "vtep vtep0",
            "segment vlan/lan0/100",
            "segment vxlan/10000",
            "peer vxlan/10000/192.0.2.2",
        ];
        assert_eq!(ids, expected);
        let endpoints = endpoints(traffic).unwrap();
        assert_eq!(endpoints.len(), 64);
        assert_eq!(endpoints[63].id(), "bench/02:0b:00:00:00:3f");
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
