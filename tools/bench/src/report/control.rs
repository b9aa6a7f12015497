//! The case `control`, as JSON and as a table.

use super::{Circumstances, aligned};
use crate::control::{Changes, Figures, look::HeldUp};
use serde::Serialize;
use std::fmt::Write as _;

/// One run of the case.
#[derive(Clone, Debug, Serialize)]
pub struct ControlReport {
    /// `control`.
    pub case: &'static str,
    /// What was found.
    #[serde(flatten)]
    pub figures: Figures,
    /// Where and with what.
    #[serde(flatten)]
    pub circumstances: Circumstances,
}

impl ControlReport {
    /// A Markdown table: what, without traffic, with traffic, the goal.
    pub(super) fn table(&self) -> String {
        let f = &self.figures;
        let mut rows = vec![["control", "without traffic", "with traffic", "goal"].map(str::to_owned)];
        let mut both = |what: &str, figure: &dyn Fn(&Changes) -> Option<String>, goal: &str| {
            let [quiet, busy] = [&f.without_traffic, &f.with_traffic].map(|c| figure(c).unwrap_or_else(|| "–".into()));
            rows.push([what.into(), quiet, busy, goal.into()]);
        };
        let three = |number: f64| Some(format!("{number:.3}"));
        both("bridges, segments, peers applied, s", &|c| three(c.network_seconds), "");
        both("all endpoints applied, s", &|c| three(c.apply_seconds), "3");
        both("slowest batch, s", &|c| three(c.slowest_batch_seconds), "");
        both("one more, ms (median)", &|c| three(c.one_more_milliseconds), "20");
        both("one more, ms (slowest)", &|c| three(c.one_more_slowest_milliseconds), "20");
        both("first packet to it, ms (median)", &|c| c.first_packet_milliseconds.and_then(three), "20");
        both("first packet to it, ms (slowest)", &|c| c.first_packet_slowest_milliseconds.and_then(three), "20");
        for (name, held) in [
            ("before", (|c| &c.before) as fn(&Changes) -> &HeldUp),
            ("applying all", |c| &c.while_applying),
            ("adding one", |c| &c.while_adding),
        ] {
            let longest = |c: &Changes| Some(format!("≤ {}", held(c).longest_turn_microseconds_at_most));
            both(&format!("{name}: longest turn, µs"), &longest, if name == "before" { "" } else { "1000" });
            let long = |c: &Changes| Some(held(c).turns_over_1_millisecond.to_string());
            both(&format!("{name}: turns over 1 ms"), &long, if name == "before" { "" } else { "0" });
            both(&format!("{name}: core denied, ms"), &|c| held(c).core_denied_milliseconds.and_then(three), "");
            let rate = |c: &Changes| Some(format!("{:.3}", held(c).packets_per_second / 1e6));
            both(&format!("{name}: million packets/s"), &rate, "");
        }
        let mut one = |what: &str, figure: f64, goal: &str| {
            rows.push([what.into(), format!("{figure:.3}"), "–".into(), goal.into()]);
        };
        one("memory of an endpoint, bytes", f.bytes_per_endpoint, "");
        one("memory of a learned MAC, bytes", f.bytes_per_learned_mac, "64");
        let restart = format!("{:.3}", f.restart_to_first_packet_seconds);
        rows.push(["restart to first packet, s".into(), "–".into(), restart, "2".into()]);
        let mut text = aligned(&rows);
        text.push_str(&self.legend());
        text
    }

    fn legend(&self) -> String {
        let f = &self.figures;
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "\n{} endpoints with an address each, over {} bridges, in batches of {}, by one client; times are from the \
             request's\nfirst byte to the answer's last. A worker's turn is what lies between two looks at its queues; \
             where the kernel\ndenied it its core, that counts as well. {} of as many MACs were learned for the \
             memory of each.",
            f.endpoints, f.bridges, f.batch_endpoints, f.learned_macs
        );
        text.push_str(&self.circumstances.line());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn changes(first_packet: Option<f64>) -> Changes {
        let held = HeldUp {
            seconds: 1.0,
            longest_turn_microseconds_at_most: 256,
            turns_over_1_millisecond: 3,
            core_denied_milliseconds: None,
            packets_per_second: 12.5e6,
            sent_per_second: 12.5e6,
            dropped_packets: 0,
        };
        Changes {
            network_seconds: 0.25,
            apply_seconds: 6.5,
            slowest_batch_seconds: 0.75,
            one_more_milliseconds: 5.0,
            one_more_slowest_milliseconds: 6.0,
            first_packet_milliseconds: first_packet,
            first_packet_slowest_milliseconds: first_packet,
            before: held.clone(),
            while_applying: held.clone(),
            while_adding: held,
        }
    }

    fn report() -> ControlReport {
        let figures = Figures {
            endpoints: 1000,
            bridges: 10,
            batch_endpoints: 100,
            without_traffic: changes(None),
            with_traffic: changes(Some(7.0)),
            restart_to_first_packet_seconds: 1.5,
            bytes_per_endpoint: 321.0,
            learned_macs: 998,
            bytes_per_learned_mac: 20.5,
        };
        let circumstances = Circumstances {
            tsc_hz: 2_600_000_000,
            machine: "a test, 2 cores".into(),
            cores: "0,1".into(),
            hugepages: "none".into(),
            versions: BTreeMap::from([("weir", "weir 0.1.0".into())]),
        };
        ControlReport { case: "control", figures, circumstances }
    }

    #[test]
    fn every_figure_stands_beside_its_goal() {
        let text = report().table();
        let line = |start: &str| {
            let line = text.lines().find(|l| l.starts_with(&format!("| {start}"))).unwrap_or_else(|| panic!("{text}"));
            line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>()[2..5].join(" / ")
        };
        assert_eq!(line("all endpoints applied"), "6.500 / 6.500 / 3");
        assert_eq!(line("first packet to it, ms (median)"), "– / 7.000 / 20");
        assert_eq!(line("applying all: longest turn"), "≤ 256 / ≤ 256 / 1000");
        assert_eq!(line("adding one: core denied"), "– / – / ");
        assert_eq!(line("memory of a learned MAC"), "20.500 / – / 64");
        assert_eq!(line("restart to first packet"), "– / 1.500 / 2");
        assert!(text.contains("TSC 2.600 GHz") && text.contains("998 of as many MACs"), "{text}");
    }

    #[test]
    fn units_stand_in_the_names() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!((&json["case"], &json["endpoints"]), (&"control".into(), &1000.into()));
        assert_eq!(json["with_traffic"]["apply_seconds"], 6.5);
        assert_eq!(json["with_traffic"]["first_packet_milliseconds"], 7.0);
        assert!(json["without_traffic"].get("first_packet_milliseconds").is_none());
        assert_eq!(json["with_traffic"]["while_applying"]["turns_over_1_millisecond"], 3);
        assert_eq!((&json["tsc_hz"], &json["bytes_per_learned_mac"]), (&2_600_000_000u64.into(), &20.5.into()));
    }
}
