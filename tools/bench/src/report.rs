//! What the trials came to: JSON for programs, tables for people.

mod churn;
mod control;

pub use churn::ChurnReport;
pub use control::ControlReport;

use crate::measure::{Trial, Trials};
use crate::trace::{Case, Traffic};
use crate::verify::Verified;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What one case came to.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Report {
    /// A case of traffic.
    Traffic(Box<CaseReport>),
    /// The case `control`.
    Control(Box<ControlReport>),
    /// The case `routes`.
    Churn(Box<ChurnReport>),
}

/// One case of traffic. All figures are TSC cycles per packet at the sink, medians of the trials; packets are medians too.
#[derive(Clone, Debug, Serialize)]
pub struct CaseReport {
    /// Which way the frames went.
    pub case: &'static str,
    /// 5-tuples.
    pub flows: u32,
    /// Source MACs, and unless they are routed, as many destination MACs.
    pub macs: u32,
    /// Configured routes, where frames are routed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routes: Option<u32>,
    /// Trials of each program.
    pub trials: usize,
    /// Between the two readings of a trial.
    pub seconds: f64,
    /// Packets that leave Weir for each that comes in.
    pub copies_per_frame: u32,
    /// Weir's.
    pub cycles_per_packet: Option<f64>,
    /// The same for each packet that came in, where several leave for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cycles_per_frame_in: Option<f64>,
    /// ARP requests that Weir answers, and so keeps from being flooded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<f64>,
    /// testpmd's, handing packets on untouched: the devices' share of every figure.
    pub testpmd_io: Option<f64>,
    /// testpmd's, exchanging MAC addresses.
    pub testpmd_macswap: Option<f64>,
    /// Open vSwitch's; absent where it did not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ovs_cycles_per_packet: Option<f64>,
    /// Why Open vSwitch did not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ovs_absent: Option<String>,
    /// Weir's less testpmd io's; absent where more leaves than comes in, for which testpmd has no like.
    pub net: Option<f64>,
    /// Weir's over testpmd io's.
    pub ratio: Option<f64>,
    /// (largest - smallest) / median of Weir's trials.
    pub spread: Option<f64>,
    /// The same of testpmd io's: what the machine itself swung by.
    pub testpmd_io_spread: Option<f64>,
    /// The smallest part of a trial that any program's worker had its core: below 1, others ran there.
    pub core_share: Option<f64>,
    /// Weir's cycles on its core alone, without the time that others ran there: an estimate.
    pub cycles_on_core: Option<f64>,
    /// That less testpmd io's of the same kind.
    pub net_on_core: Option<f64>,
    /// Packets that Weir took from the source.
    pub sent: Option<u64>,
    /// Packets that the sink took from Weir.
    pub received: Option<u64>,
    /// The comparison byte for byte; absent where Weir did not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<Verified>,
    /// Every trial, by program.
    pub samples: BTreeMap<&'static str, Vec<Trial>>,
    /// Where and with what.
    #[serde(flatten)]
    pub circumstances: Circumstances,
}

/// Where and with what.
#[derive(Clone, Debug, Serialize)]
pub struct Circumstances {
    /// Cycles of the TSC a second.
    pub tsc_hz: u64,
    /// Processor and number of cores.
    pub machine: String,
    /// Management core and worker core.
    pub cores: String,
    /// Hugepages used, or why there are none.
    pub hugepages: String,
    /// By program.
    pub versions: BTreeMap<&'static str, String>,
}

impl Circumstances {
    /// All of it in a line.
    fn line(&self) -> String {
        let versions: Vec<String> = self.versions.iter().map(|(name, version)| format!("{name}: {version}")).collect();
        let (ghz, versions) = (self.tsc_hz as f64 / 1e9, versions.join("; "));
        let Self { machine, cores, hugepages, .. } = self;
        format!("{machine}; TSC {ghz:.3} GHz; cores {cores}; hugepages: {hugepages}. {versions}.\n")
    }
}

/// What one case's trials brought.
#[derive(Debug)]
pub struct Measured {
    /// The traffic.
    pub traffic: Traffic,
    /// Between the two readings.
    pub seconds: f64,
    /// By name of the program.
    pub trials: BTreeMap<&'static str, Trials>,
    /// The comparison byte for byte.
    pub verified: Option<Verified>,
    /// Why Open vSwitch did not run.
    pub ovs_absent: Option<String>,
}

impl CaseReport {
    /// Computes the figures.
    pub fn new(measured: Measured, circumstances: Circumstances) -> Self {
        let Measured { traffic, seconds, trials, verified, ovs_absent } = measured;
        let of = |name: &str| trials.get(name);
        let cycles = |name: &str| of(name).and_then(Trials::cycles);
        let (weir, io) = (cycles("weir"), cycles("testpmd io"));
        let on_core = |name: &str| of(name).and_then(Trials::cycles_on_core);
        let cycles_on_core = on_core("weir");
        let case = traffic.case;
        let copied = case.copies() > 1;
        let both = |weir: Option<f64>, io: Option<f64>| weir.zip(io).filter(|_| !copied);
        Self {
            case: case.as_str(),
            flows: traffic.flows,
            macs: traffic.macs,
            routes: case.is_routed().then_some(traffic.routes),
            trials: trials.values().map(|t| t.0.len()).max().unwrap_or(0),
            seconds,
            copies_per_frame: case.copies(),
            cycles_per_packet: weir,
            cycles_per_frame_in: weir.filter(|_| copied).map(|cycles| cycles * f64::from(case.copies())),
            requests_per_second: weir.filter(|_| case == Case::Arp).map(|cycles| circumstances.tsc_hz as f64 / cycles),
            testpmd_io: io,
            testpmd_macswap: cycles("testpmd macswap"),
            ovs_cycles_per_packet: cycles("Open vSwitch"),
            ovs_absent,
            net: both(weir, io).map(|(weir, io)| weir - io),
            ratio: both(weir, io).map(|(weir, io)| weir / io),
            spread: of("weir").and_then(Trials::spread),
            testpmd_io_spread: of("testpmd io").and_then(Trials::spread),
            core_share: trials.values().filter_map(Trials::core_share).min_by(f64::total_cmp),
            cycles_on_core,
            net_on_core: both(cycles_on_core, on_core("testpmd io")).map(|(weir, io)| weir - io),
            sent: of("weir").and_then(Trials::sent),
            received: of("weir").and_then(Trials::received),
            verified,
            samples: trials.iter().map(|(name, t)| (*name, t.0.clone())).collect(),
            circumstances,
        }
    }
}

/// Markdown tables of the cases, and what it takes to read them. Empty for no cases.
pub fn tables(reports: &[Report]) -> String {
    let cases: Vec<&CaseReport> =
        reports.iter().filter_map(|r| if let Report::Traffic(case) = r { Some(&**case) } else { None }).collect();
    let mut text = table(&cases);
    for report in reports {
        let more = match report {
            Report::Traffic(_) => continue,
            Report::Control(report) => report.table(),
            Report::Churn(report) => report.table(),
        };
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&more);
    }
    text
}

fn table(cases: &[&CaseReport]) -> String {
    let head = [
        "case",
        "flows",
        "MACs",
        "weir",
        "net",
        "ratio",
        "testpmd io",
        "macswap",
        "Open vSwitch",
        "OVS net",
        "spread",
        "io spread",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    for case in cases {
        let cycles = |figure: Option<f64>| figure.map_or("–".into(), |f| format!("{f:.1}"));
        let percent = |figure: Option<f64>| figure.map_or("–".into(), |f| format!("{:.0} %", f * 100.0));
        rows.push([
            case.case.into(),
            case.flows.to_string(),
            case.macs.to_string(),
            cycles(case.cycles_per_packet),
            cycles(case.net),
            case.ratio.map_or("–".into(), |r| format!("{r:.2} ×")),
            cycles(case.testpmd_io),
            cycles(case.testpmd_macswap),
            cycles(case.ovs_cycles_per_packet),
            cycles(case.ovs_cycles_per_packet.zip(case.testpmd_io).map(|(ovs, io)| ovs - io)),
            percent(case.spread),
            percent(case.testpmd_io_spread),
        ]);
    }
    let Some(first) = cases.first() else { return String::new() };
    let mut text = aligned(&rows);
    text.push_str(&legend(first, cases));
    text
}

/// Columns of one width, numbers to the right.
fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [3; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for (n, row) in rows.iter().enumerate() {
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            // Writing to a String cannot fail.
            let _ = if column == 0 { write!(text, "| {cell:width$} ") } else { write!(text, "| {cell:>width$} ") };
        }
        text.push_str("|\n");
        if n == 0 {
            for (column, width) in widths.into_iter().enumerate() {
                let dashes = "-".repeat(width + 1);
                let _ = if column == 0 { write!(text, "|-{dashes}") } else { write!(text, "|{dashes}:") };
            }
            text.push_str("|\n");
        }
    }
    text
}

fn legend(first: &CaseReport, cases: &[&CaseReport]) -> String {
    let mut text = format!(
        "\nTSC cycles per packet at the sink: median of {} trials of {} s each, the programs taking turns. net and ratio \
         are to\ntestpmd io on the same trace; spread is (largest - smallest) / median. Inner frames of 64 bytes (60 \
         without FCS),\none worker core, every destination MAC a configured endpoint, all else by default: sources are \
         learned, ARP is\nsuppressed. Open vSwitch runs static flows without a MAC table, so it does less than Weir.\n\n",
        first.trials, first.seconds
    );
    text.push_str(&first.circumstances.line());
    text.push_str(
        "The ports are software devices (net_pcap, net_null): the figures compare programs, and are no line rate.\n",
    );
    for case in cases {
        if let Some(why) = &case.ovs_absent {
            let _ = writeln!(text, "{}, {} flows: Open vSwitch did not run: {why}.", case.case, case.flows);
        }
        if let Some(cycles) = case.cycles_per_frame_in {
            let _ = writeln!(
                text,
                "{}, {} flows: {} packets leave for each that comes in; weir's cycles are for each that leaves, and \
                 {cycles:.0} for each\nthat comes in. testpmd hands on one.",
                case.case, case.flows, case.copies_per_frame
            );
        }
        if let Some(routes) = case.routes {
            let _ = writeln!(
                text,
                "{}, {} flows: {routes} configured routes; of eight flows, seven take one each, to 256 hosts in all, and one \
                 goes to a\nhost on the bridge. weir looks a pair of addresses up once a second, and else remembers its way.",
                case.case, case.flows
            );
        }
        if let Some(requests) = case.requests_per_second {
            let _ = writeln!(
                text,
                "{}, {} flows: {:.2} million requests answered a second, none of them flooded.",
                case.case,
                case.flows,
                requests / 1e6
            );
        }
        if let Some(verified) = &case.verified {
            let frames = verified.frames;
            let _ = writeln!(
                text,
                "{}, {} flows: {frames} frames compared, every byte as it must be.",
                case.case, case.flows
            );
        }
        let percent = |part: f64| (part * 100.0).round();
        if let Some(share) = case.core_share.filter(|s| *s < 0.95) {
            let _ = writeln!(
                text,
                "{}, {} flows: a worker had its core for {} % of the time only: the machine was not idle, measure again.",
                case.case,
                case.flows,
                percent(share)
            );
            if let Some(cycles) = case.cycles_on_core {
                let net = case.net_on_core.map_or(String::new(), |net| format!(", net {net:.0}"));
                let _ = writeln!(text, "  without the time that others ran there: weir about {cycles:.0}{net}.");
            }
        }
        if let Some(spread) = case.testpmd_io_spread.filter(|s| *s > 0.2) {
            let _ = writeln!(
                text,
                "{}, {} flows: testpmd io itself swung by {} %: compare with care, or measure again.",
                case.case,
                case.flows,
                percent(spread)
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(weir: bool) -> CaseReport {
        of_case(Case::VlanVxlan, weir)
    }

    fn of_case(case: Case, weir: bool) -> CaseReport {
        let trial = |cycles_per_packet| Trial { cycles_per_packet, sent: 1000, received: 990, core_share: Some(0.5) };
        let trials = |cycles: &[f64]| Trials(cycles.iter().map(|c| trial(*c)).collect());
        let mut programs = BTreeMap::from([
            ("testpmd io", trials(&[40.0, 50.0, 42.0])),
            ("testpmd macswap", trials(&[45.0, 45.0, 45.0])),
        ]);
        if weir {
            programs.insert("weir", trials(&[100.0, 105.0, 110.0]));
        }
        let measured = Measured {
            traffic: Traffic::new(case, 1000, 1000).unwrap(),
            seconds: 2.0,
            trials: programs,
            verified: weir.then_some(Verified { frames: 2000, source_ports: 900, flow_ids: 0 }),
            ovs_absent: Some("it is not installed".into()),
        };
        let circumstances = Circumstances {
            tsc_hz: 2_600_000_000,
            machine: "a test, 2 cores".into(),
            cores: "0,1".into(),
            hugepages: "none".into(),
            versions: BTreeMap::from([("testpmd", "DPDK 22.11.11".into())]),
        };
        CaseReport::new(measured, circumstances)
    }

    #[test]
    fn net_and_ratio_are_to_testpmd_io() {
        let json = serde_json::to_value(report(true)).unwrap();
        let expected = serde_json::json!({
            "case": "vlan-vxlan", "flows": 1000, "macs": 1000, "trials": 3, "seconds": 2.0, "cycles_per_packet": 105.0,
            "testpmd_io": 42.0, "testpmd_macswap": 45.0, "net": 63.0, "ratio": 2.5, "sent": 1000, "received": 990,
            "tsc_hz": 2_600_000_000u64, "machine": "a test, 2 cores", "hugepages": "none",
        });
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(&json[key], value, "{key}");
        }
        assert!((json["spread"].as_f64().unwrap() - 10.0 / 105.0).abs() < 1e-9);
        assert!(json.get("ovs_cycles_per_packet").is_none());
        assert_eq!(json["samples"]["weir"][1]["cycles_per_packet"], 105.0);
    }

    #[test]
    fn the_table_names_units_and_the_machine() {
        let text = table(&[&report(true)]);
        let row = text.lines().nth(2).unwrap();
        assert!(row.starts_with("| vlan-vxlan | ") && row.contains("105.0 | 63.0 | 2.50 ×"), "{row}");
        for part in ["TSC cycles per packet", "TSC 2.600 GHz", "no line rate", "not installed", "2000 frames compared"]
        {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(text.contains("testpmd io itself swung by 24 %"), "{text}");
        assert!(text.contains("a worker had its core for 50 % of the time only"), "{text}");
        assert!(text.contains("weir about 52, net 32."), "{text}");
    }

    #[test]
    fn what_did_not_run_has_no_figure() {
        let report = report(false);
        assert_eq!((report.cycles_per_packet, report.net, report.sent), (None, None, None));
        assert!(table(&[&report]).contains('–'));
        assert_eq!(tables(&[]), "");
    }

    #[test]
    fn copies_are_counted_by_what_leaves_and_compared_with_nothing() {
        let report = of_case(Case::Flood, true);
        assert_eq!((report.cycles_per_packet, report.cycles_per_frame_in), (Some(105.0), Some(1680.0)));
        assert_eq!(
            (report.net, report.ratio, report.net_on_core, report.requests_per_second),
            (None, None, None, None)
        );
        assert!(table(&[&report]).contains("16 packets leave for each that comes in"), "{}", table(&[&report]));
        assert!(table(&[&report]).contains("1680 for each"));
    }

    #[test]
    fn what_is_routed_says_by_how_many_routes() {
        let (report, bridged) = (of_case(Case::Route, true), report(true));
        assert_eq!((report.routes, report.net, bridged.routes), (Some(100_000), Some(63.0), None));
        assert!(table(&[&report]).contains("route, 1000 flows: 100000 configured routes;"), "{}", table(&[&report]));
        assert!(!table(&[&bridged]).contains("configured routes"));
    }

    #[test]
    fn suppressed_requests_have_a_rate() {
        let report = of_case(Case::Arp, true);
        assert!((report.requests_per_second.unwrap() - 2.6e9 / 105.0).abs() < 1e-3);
        assert_eq!((report.net, report.cycles_per_frame_in), (Some(63.0), None));
        assert!(table(&[&report]).contains("24.76 million requests answered a second"));
    }
}
