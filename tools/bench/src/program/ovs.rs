//! Open vSwitch with DPDK: its userspace datapath with a tunnel port, in a network namespace of its own.
//!
//! Two bridges, as its documentation lays them out: `tenant` with the VLAN side and the tunnel, `underlay` with the
//! outer side and the tunnel's address. Its flows are the least that do the work: no MAC table, no learning; so it does
//! less than Weir does. Its GRE key is all 32 bits, so that NVGRE's VSID stands in the upper 24: what it sends has FlowID
//! zero, and what comes with any FlowID is matched by a mask. Where it routes, it has a flow for each route.

mod routed;

use super::{Counts, Program, Running, SINK, Setting, find};
use crate::frame::Mac;
use crate::frame::Tunnel;
use crate::interrupt::pause;
use crate::memory::sweep;
use crate::process::{Process, arguments, run};
use crate::routed::{PEER_OUT, TUNNEL_OUT};
use crate::trace::{Case, Traffic, VID, VTEP, peer};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const INSTALL: &str = "apt-get install openvswitch-switch-dpdk";
const DAEMON: &str = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk";
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
const START_TIME: Duration = Duration::from_secs(60);
const STOP_TIME: Duration = Duration::from_secs(10);
/// How long it may take to meet all flows of routed traffic.
const SETTLE_TIME: Duration = Duration::from_secs(10);
/// The most flows of routed traffic: it met 65,536 in no quarter of a minute.
const MOST_ROUTED_FLOWS: u32 = 8192;
/// The most routes: it loads some 10,000 to 30,000 a second.
const MOST_ROUTES: u32 = 131_072;
/// The packet buffers that it can have (its `MAX_NB_MBUF`), less what it wants in flight.
const MOST_FLOWS: u32 = 4096 * 64 - 16_384;
/// MiB for those buffers, one to an ordinary page, with room.
const MEMORY_MIB: u32 = 1536;

/// Open vSwitch.
#[derive(Debug)]
pub struct OpenVswitch {
    daemon: PathBuf,
    database: PathBuf,
    /// The MAC that tunnelled frames are for.
    gateway: Mac,
}

impl OpenVswitch {
    /// MiB that it needs, whatever the number of flows.
    pub const MEMORY_MIB: u32 = MEMORY_MIB;

    /// Finds the programs. The error says why it cannot run.
    pub fn new(traffic: Traffic, gateway: Mac) -> Result<Self> {
        let Traffic { case, flows, routes, .. } = traffic;
        ensure!(!matches!(case, Case::Arp | Case::Flood), "its static flows do not do {case}");
        ensure!(routes <= MOST_ROUTES, "more than {MOST_ROUTES} routes take it too long to load, a flow for each");
        let many = case.is_routed() && flows > MOST_ROUTED_FLOWS;
        ensure!(!many, "with a flow for each route, it has not met more than {MOST_ROUTED_FLOWS} of them in time");
        let daemon = find(Path::new(DAEMON), INSTALL)?;
        let database = find(Path::new("ovsdb-server"), INSTALL)?;
        find(Path::new(SCHEMA), INSTALL)?;
        for tool in ["ovs-vsctl", "ovs-ofctl", "ovs-appctl", "ovsdb-tool", "unshare", "nsenter", "ip"] {
            find(Path::new(tool), INSTALL)?;
        }
        ensure!(rustix::process::geteuid().is_root(), "it needs root, for a network namespace");
        ensure!(flows <= MOST_FLOWS, "its packet buffers hold the frames of {MOST_FLOWS} flows at most");
        Ok(Self { daemon, database, gateway })
    }

    /// Its version, as in `3.1.0`.
    pub fn version(&self) -> Result<String> {
        let text = run(Path::new("ovs-vsctl"), &arguments(["--version"]), &[])?;
        let version = text.lines().next().and_then(|l| l.split(' ').next_back());
        version.map(str::to_owned).context("ovs-vsctl says no version")
    }
}

impl Program for OpenVswitch {
    fn name(&self) -> &'static str {
        "Open vSwitch"
    }

    fn start(&mut self, setting: &Setting) -> Result<Box<dyn Running>> {
        let directory = tempfile::Builder::new().prefix("ovs").tempdir_in(&setting.directory)?;
        let tools = Tools { directory: directory.path().to_owned() };
        let conf = tools.path("conf.db");
        tools.call("ovsdb-tool", &["create", &conf, SCHEMA])?;
        let remote = format!("--remote=punix:{}", tools.path("db.sock"));
        let control = format!("--unixctl={}", tools.path("db.ctl"));
        let database_arguments = arguments([&conf, &remote, &control, "--no-chdir"]);
        let log = setting.directory.join("ovsdb-server.log");
        let mut database = Process::start(&self.database, &database_arguments, &tools.environment(), &log)?;
        let socket = PathBuf::from(tools.path("db.sock"));
        database.until(START_TIME, || Ok(socket.exists().then_some(())))?;

        tools.call("ovs-vsctl", &["--no-wait", "init"])?;
        tools.call("ovs-vsctl", &boot(setting))?;
        let daemon = self.daemon.to_string_lossy();
        let control = format!("--unixctl={}", tools.path("switch.ctl"));
        let database_address = format!("unix:{}", tools.path("db.sock"));
        let switch_arguments = arguments(["--net", "--", &daemon, &database_address, &control, "--no-chdir"]);
        let log = setting.directory.join("ovs-vswitchd.log");
        let mut switch = Process::start(Path::new("unshare"), &switch_arguments, &tools.environment(), &log)?;
        switch.until(START_TIME, || {
            let answer = tools.call("ovs-vsctl", &["get", "Open_vSwitch", ".", "dpdk_initialized"])?;
            Ok((answer.trim() == "true").then_some(()))
        })?;
        let (traffic, file_prefix) = (setting.traffic, setting.file_prefix.clone());
        let switching = Switching { switch, _database: database, tools, traffic, file_prefix, _directory: directory };
        switching.configure(setting, self.gateway).map_err(|e| e.context(switching.switch.log_tail()))?;
        if setting.traffic.case.is_routed() {
            switching.settle()?;
        }
        Ok(Box::new(switching))
    }
}

/// What must be set before it starts: DPDK's arguments, and one PMD thread on the worker's core.
fn boot(setting: &Setting) -> Vec<String> {
    // It adds --in-memory by itself, which does not go together with --no-huge unless --legacy-mem says otherwise.
    let huge = if setting.memory.huge { "" } else { "--no-huge --legacy-mem" };
    let extra =
        format!("{huge} -m {} --no-pci --no-telemetry --file-prefix {}", setting.memory.mib, setting.file_prefix);
    let mut set = arguments(["--no-wait", "set", "Open_vSwitch", ".", "other_config:dpdk-init=true"]);
    set.push(format!("other_config:pmd-cpu-mask={:#x}", 1u64 << setting.cores.worker));
    set.push(format!("other_config:dpdk-lcore-mask={:#x}", 1u64 << setting.cores.main));
    set.push(format!("other_config:dpdk-extra=\"{}\"", extra.trim_start()));
    set
}

/// The command-line tools of one instance.
#[derive(Clone, Debug)]
struct Tools {
    directory: PathBuf,
}

impl Tools {
    fn path(&self, name: &str) -> String {
        self.directory.join(name).to_string_lossy().into_owned()
    }

    /// Keeps the instance away from one that the system runs.
    fn environment(&self) -> Vec<(&'static str, String)> {
        let directory = self.directory.to_string_lossy().into_owned();
        ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"].map(|name| (name, directory.clone())).into()
    }

    fn call<S: AsRef<str>>(&self, tool: &str, texts: &[S]) -> Result<String> {
        let mut arguments = match tool {
            "ovs-vsctl" => vec![format!("--db=unix:{}", self.path("db.sock")), "--timeout=15".into()],
            "ovs-appctl" => vec![format!("--target={}", self.path("switch.ctl"))],
            _ => Vec::new(),
        };
        arguments.extend(texts.iter().map(|t| t.as_ref().to_owned()));
        run(Path::new(tool), &arguments, &self.environment())
    }
}

struct Switching {
    // In the order in which they must go.
    switch: Process,
    _database: Process,
    tools: Tools,
    traffic: Traffic,
    file_prefix: String,
    _directory: tempfile::TempDir,
}

impl Switching {
    fn source_bridge(&self) -> &'static str {
        if self.traffic.case.comes_tunnelled() { "underlay" } else { "tenant" }
    }

    fn sink_bridge(&self) -> &'static str {
        if self.traffic.case.leaves_tunnelled() { "underlay" } else { "tenant" }
    }

    fn configure(&self, setting: &Setting, gateway: Mac) -> Result<()> {
        let vsctl = |texts: &[&str]| self.tools.call("ovs-vsctl", texts).map(|_| ());
        for bridge in ["tenant", "underlay"] {
            vsctl(&["add-br", bridge, "--", "set", "bridge", bridge, "datapath_type=netdev", "fail_mode=secure"])?;
        }
        // The tunnel's address stands on the bridge's own port; its MAC is the one that the trace's frames are for.
        vsctl(&["set", "bridge", "underlay", &format!("other_config:hwaddr=\"{}\"", written(gateway))])?;
        self.in_namespace(&["addr", "add", &format!("{VTEP}/24"), "dev", "underlay"])?;
        self.in_namespace(&["link", "set", "underlay", "up"])?;
        let case = self.traffic.case;
        self.add_tunnel("tunnel", 0, &tunnel(case.tunnel(), case.comes_tunnelled()))?;
        if case == Case::Route {
            self.add_tunnel(routed::TUNNEL_OUT, PEER_OUT, &tunnel(TUNNEL_OUT, false))?;
        }
        self.add_device("sink", self.sink_bridge(), SINK)?;

        let flow = |bridge: &str, flow: &str| self.tools.call("ovs-ofctl", &["add-flow", bridge, flow]).map(|_| ());
        if case.leaves_tunnelled() {
            flow("underlay", "in_port=LOCAL,actions=output:sink")?;
        }
        if case.is_routed() {
            let file = self.tools.path("routes");
            for flows in routed::flows(self.traffic) {
                std::fs::write(&file, flows).with_context(|| format!("cannot write {file}"))?;
                self.tools.call("ovs-ofctl", &["add-flows", "tenant", &file])?;
            }
        } else if !case.leaves_tunnelled() {
            flow("tenant", &format!("in_port=tunnel{},actions=mod_vlan_vid:{VID},output:sink", matched(case)))?;
        }
        self.add_device("source", self.source_bridge(), &setting.source())?;
        match case {
            _ if case.comes_tunnelled() => flow("underlay", "in_port=source,actions=LOCAL"),
            _ if case.is_routed() => Ok(()),
            _ => flow("tenant", &format!("in_port=source,dl_vlan={VID},actions=strip_vlan,output:tunnel")),
        }
    }

    /// Waits until it has met every flow, as far as it keeps them: each that it meets costs it the search of all routes.
    fn settle(&self) -> Result<()> {
        let (end, mut before) = (Instant::now() + SETTLE_TIME, None);
        while Instant::now() < end {
            let met = misses(&self.tools.call("ovs-appctl", &["dpif-netdev/pmd-stats-show"])?);
            if met.is_some_and(|met| met > 0) && met == before {
                break;
            }
            before = met;
            pause(Duration::from_millis(300))?;
        }
        Ok(())
    }

    /// A tunnel port to the nth remote tunnel endpoint, whose MAC it is told.
    fn add_tunnel(&self, name: &str, nth: u32, [kind, key]: &[String; 2]) -> Result<()> {
        let (address, mac) = peer(nth);
        let remote = format!("options:remote_ip={address}");
        let port = ["add-port", "tenant", name, "--", "set", "interface", name, kind, &remote, key];
        self.tools.call("ovs-vsctl", &port)?;
        let neighbour = ["tnl/neigh/set", "underlay", &address.to_string(), &written(mac)];
        self.tools.call("ovs-appctl", &neighbour).map(|_| ())
    }

    fn add_device(&self, name: &str, bridge: &str, device: &str) -> Result<()> {
        let device = format!("options:dpdk-devargs=\"{device}\"");
        let add = ["add-port", bridge, name, "--", "set", "interface", name, "type=dpdk", &device, "options:n_rxq=1"];
        self.tools.call("ovs-vsctl", &add)?;
        let error = self.tools.call("ovs-vsctl", &["get", "interface", name, "error"])?;
        ensure!(error.trim() == "[]", "port {name}: {}", error.trim());
        Ok(())
    }

    fn in_namespace(&self, ip: &[&str]) -> Result<()> {
        let namespace = format!("--net=/proc/{}/ns/net", self.switch.id());
        let mut arguments = arguments([&namespace, "--", "ip"]);
        arguments.extend(ip.iter().map(|t| (*t).to_owned()));
        run(Path::new("nsenter"), &arguments, &[]).map(|_| ())
    }

    fn count(&self, bridge: &str, port: &str, direction: &str) -> Result<u64> {
        let text = self.tools.call("ovs-ofctl", &["dump-ports", bridge, port])?;
        packets(&text, direction).with_context(|| format!("ovs-ofctl shows no {direction} packets:\n{text}"))
    }
}

impl Running for Switching {
    fn process(&self) -> &Process {
        &self.switch
    }

    fn counts(&mut self) -> Result<Counts> {
        self.switch.alive()?;
        let sent = self.count(self.source_bridge(), "source", "rx")?;
        Ok(Counts { sent, received: self.count(self.sink_bridge(), "sink", "tx")? })
    }

    fn stop(self: Box<Self>) -> Result<()> {
        self.tools.call("ovs-appctl", &["exit"])?;
        let Switching { switch, file_prefix, .. } = *self;
        let status = switch.wait(STOP_TIME)?;
        ensure!(status.success(), "ovs-vswitchd ended badly ({status})");
        sweep(&file_prefix);
        Ok(())
    }
}

/// The tunnel port's type, and the key of what it sends and takes.
fn tunnel(tunnel: Tunnel, comes: bool) -> [String; 2] {
    let [kind, key] = match tunnel {
        Tunnel::Vxlan(vni) => ["vxlan".into(), vni.to_string()],
        Tunnel::Geneve(vni) => ["geneve".into(), vni.to_string()],
        // What comes has a FlowID in the key.
        Tunnel::Nvgre(_) if comes => ["gre".into(), "flow".into()],
        Tunnel::Nvgre(vsid) => ["gre".into(), (vsid << 8).to_string()],
    };
    [format!("type={kind}"), format!("options:key={key}")]
}

/// What a flow has to match besides the tunnel port, where that takes every key.
fn matched(case: Case) -> String {
    match case.tunnel() {
        Tunnel::Nvgre(vsid) => format!(",tun_id={:#x}/0xffffff00", vsid << 8),
        Tunnel::Vxlan(_) | Tunnel::Geneve(_) => String::new(),
    }
}

/// How often its worker had to ask for a flow, in what `dpif-netdev/pmd-stats-show` prints.
fn misses(text: &str) -> Option<u64> {
    let of = |line: &str| line.trim().strip_prefix("miss with success upcall:")?.trim().parse::<u64>().ok();
    text.lines().filter_map(of).max()
}

/// A MAC as its tools read it.
fn written(mac: Mac) -> String {
    mac.map(|b| format!("{b:02x}")).join(":")
}

/// The packets in what `ovs-ofctl dump-ports` prints of one port; `direction` is rx or tx.
fn packets(text: &str, direction: &str) -> Option<u64> {
    let (_, rest) = text.split_once(&format!("{direction} pkts="))?;
    rest.split(',').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;
    use crate::trace::Traffic;

    #[test]
    fn packets_are_found_in_what_it_prints() {
        let text = "OFPST_PORT reply (xid=0x4): 1 ports\n  port  1: rx pkts=12, bytes=0, drop=0, errs=0, frame=?, over=?, \
                    crc=?\n           tx pkts=10598136, bytes=0, drop=0, errs=0, coll=?\n";
        assert_eq!(packets(text, "rx"), Some(12));
        assert_eq!(packets(text, "tx"), Some(10_598_136));
        assert_eq!(packets("ovs-ofctl: tenant is not a bridge or a socket", "tx"), None);
        assert_eq!(packets("tx pkts=?, bytes=?", "tx"), None);
    }

    #[test]
    fn what_it_had_to_ask_for_is_the_worker_s() {
        let text = "pmd thread numa_id 0 core_id 1:\n  packets received: 50\n  miss with success upcall: 7\n  \
                    miss with failed upcall: 9\nmain thread:\n  miss with success upcall: 0\n";
        assert_eq!((misses(text), misses("")), (Some(7), None));
    }

    #[test]
    fn it_gets_the_same_kind_of_memory_and_the_same_cores() {
        let mut setting = Setting {
            traffic: Traffic::new(Case::VlanVxlan, 1, 1).unwrap(),
            trace: "t".into(),
            cores: "0,1".parse().unwrap(),
            memory: Memory { huge: false, mib: 1280 },
            mbufs: 1,
            directory: ".".into(),
            file_prefix: "p".into(),
        };
        let set = boot(&setting).join(" ");
        assert!(set.contains("pmd-cpu-mask=0x2 ") && set.contains("dpdk-lcore-mask=0x1 "), "{set}");
        assert!(set.contains("dpdk-extra=\"--no-huge --legacy-mem -m 1280 "), "{set}");
        setting.memory.huge = true;
        assert!(boot(&setting).join(" ").contains("dpdk-extra=\"-m 1280 "));
    }

    #[test]
    fn what_it_cannot_do_is_said() {
        assert!(OpenVswitch::new(Traffic::new(Case::VlanVxlan, 1 << 20, 1).unwrap(), [2; 6]).is_err());
        let refused = |traffic| OpenVswitch::new(traffic, [2; 6]).unwrap_err().to_string();
        assert_eq!(refused(Traffic::new(Case::Flood, 1, 1).unwrap()), "its static flows do not do flood");
        let routed = |flows| Traffic::new(Case::Route, flows, 1).unwrap();
        assert!(refused(routed(8193)).contains("more than 8192"));
        assert!(refused(routed(1).with_routes(200_000).unwrap()).contains("131072 routes"));
    }

    #[test]
    fn the_vsid_is_the_upper_part_of_the_key() {
        assert_eq!(tunnel(Tunnel::Nvgre(5000), false), ["type=gre", "options:key=1280000"]);
        assert_eq!(tunnel(Tunnel::Nvgre(5000), true), ["type=gre", "options:key=flow"]);
        assert_eq!(matched(Case::NvgreVlan), ",tun_id=0x138800/0xffffff00");
        assert_eq!(tunnel(Tunnel::Geneve(20_000), false), ["type=geneve", "options:key=20000"]);
        assert_eq!(
            (tunnel(Tunnel::Vxlan(10_000), true)[1].as_str(), matched(Case::VxlanVlan).as_str()),
            ("options:key=10000", "")
        );
    }
}
