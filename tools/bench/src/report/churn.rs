//! The case `routes`, as JSON and as a table.

use super::{Circumstances, aligned};
use crate::churn::{Changes, Changing, Figures};
use crate::control::look::HeldUp;
use serde::Serialize;
use std::fmt::Write as _;

/// One run of the case.
#[derive(Clone, Debug, Serialize)]
pub struct ChurnReport {
    /// `routes`.
    pub case: &'static str,
    /// What was found.
    #[serde(flatten)]
    pub figures: Figures,
    /// Where and with what.
    #[serde(flatten)]
    pub circumstances: Circumstances,
}

type Part<T> = fn(&Changes) -> &T;

impl ChurnReport {
    /// A Markdown table: what, without traffic, with traffic, the goal.
    pub(super) fn table(&self) -> String {
        let f = &self.figures;
        let mut rows = vec![["routes", "without traffic", "with traffic", "goal"].map(str::to_owned)];
        let mut both = |what: &str, figure: &dyn Fn(&Changes) -> String, goal: &str| {
            let [quiet, busy] = [&f.without_traffic, &f.with_traffic].map(figure);
            rows.push([what.into(), quiet, busy, goal.into()]);
        };
        both("all routes applied, s", &|c| format!("{:.3}", c.apply_seconds), "");
        both("routes applied a second", &|c| format!("{:.0}", c.applied_routes_per_second), "");
        both("slowest batch, s", &|c| format!("{:.3}", c.slowest_batch_seconds), "");
        let changings: [(String, Part<Changing>); 2] = [
            ("one changed".into(), |c| &c.one),
            (format!("{} changed at once", f.with_traffic.thousand.routes), |c| &c.thousand),
        ];
        for (name, of) in &changings {
            both(&format!("{name}: routes a second"), &|c| format!("{:.0}", of(c).routes_per_second), "");
            both(&format!("{name}, ms (median)"), &|c| format!("{:.3}", of(c).milliseconds), "20");
            both(&format!("{name}, ms (slowest)"), &|c| format!("{:.3}", of(c).slowest_milliseconds), "20");
        }
        let [(_, _), (thousand, _)] = &changings;
        let whiles: [(&str, Part<HeldUp>); 4] = [
            ("before", |c| &c.before),
            ("applying all", |c| &c.while_applying),
            ("one changed", |c| &c.one.meanwhile),
            (thousand, |c| &c.thousand.meanwhile),
        ];
        for (name, held) in whiles {
            let goal = |goal: &'static str| if name == "before" { "" } else { goal };
            let longest = |c: &Changes| format!("≤ {}", held(c).longest_turn_microseconds_at_most);
            both(&format!("{name}: longest turn, µs"), &longest, goal("1000"));
            let long = |c: &Changes| held(c).turns_over_1_millisecond.to_string();
            both(&format!("{name}: turns over 1 ms"), &long, goal("0"));
            let denied = |c: &Changes| held(c).core_denied_milliseconds.map_or("–".into(), |ms| format!("{ms:.3}"));
            both(&format!("{name}: core denied, ms"), &denied, "");
            let rate = |c: &Changes| format!("{:.3}", held(c).sent_per_second / 1e6);
            both(&format!("{name}: million packets/s forwarded"), &rate, "");
            both(&format!("{name}: packets dropped"), &|c| held(c).dropped_packets.to_string(), "0");
        }
        let (memory, restart) = (f.bytes_per_route, f.restart_to_first_packet_seconds);
        rows.push(["memory of a route, bytes".into(), format!("{memory:.3}"), "–".into(), String::new()]);
        rows.push(["restart to first packet, s".into(), "–".into(), format!("{restart:.3}"), "2".into()]);
        aligned(&rows) + &self.legend()
    }

    fn legend(&self) -> String {
        let f = &self.figures;
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "\n{} routes of one router by 256 hosts, in batches of {}, by one client; times are from the request's \
             first byte to\nthe answer's last. A change leads routes to another host, those that the traffic takes among \
             them. A worker's\nturn is what lies between two looks at its queues; where the kernel denied it its core, \
             that counts as well.\nMemory is the whole process's: desired state and tables.",
            f.routes, f.batch_routes
        );
        text.push_str(&self.circumstances.line());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn changes(sent_per_second: f64) -> Changes {
        let held = HeldUp {
            seconds: 1.0,
            longest_turn_microseconds_at_most: 256,
            turns_over_1_millisecond: 3,
            core_denied_milliseconds: None,
            packets_per_second: sent_per_second,
            sent_per_second,
            dropped_packets: 7,
        };
        let changing = |routes| Changing {
            routes,
            calls: 200,
            routes_per_second: 100.0 * f64::from(routes),
            milliseconds: 10.0,
            slowest_milliseconds: 11.0,
            meanwhile: held.clone(),
        };
        Changes {
            apply_seconds: 2.0,
            applied_routes_per_second: 500.0,
            slowest_batch_seconds: 0.75,
            before: held.clone(),
            while_applying: held.clone(),
            one: changing(1),
            thousand: changing(1000),
        }
    }

    fn report() -> ChurnReport {
        let figures = Figures {
            routes: 1000,
            batch_routes: 100,
            without_traffic: changes(0.0),
            with_traffic: changes(12.5e6),
            restart_to_first_packet_seconds: 1.5,
            bytes_per_route: 321.0,
        };
        let circumstances = Circumstances {
            tsc_hz: 2_600_000_000,
            machine: "a test, 2 cores".into(),
            cores: "0,1".into(),
            hugepages: "none".into(),
            versions: BTreeMap::from([("weir", "weir 0.1.0".into())]),
        };
        ChurnReport { case: "routes", figures, circumstances }
    }

    #[test]
    fn every_figure_stands_beside_its_goal() {
        let text = report().table();
        let line = |start: &str| {
            let line = text.lines().find(|l| l.starts_with(&format!("| {start}"))).unwrap_or_else(|| panic!("{text}"));
            line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>()[2..5].join(" / ")
        };
        assert_eq!(line("all routes applied, s"), "2.000 / 2.000 / ");
        assert_eq!(line("one changed: routes a second"), "100 / 100 / ");
        assert_eq!(line("1000 changed at once: routes a second"), "100000 / 100000 / ");
        assert_eq!(line("1000 changed at once: longest turn"), "≤ 256 / ≤ 256 / 1000");
        assert_eq!(line("applying all: million packets/s"), "0.000 / 12.500 / ");
        assert_eq!(line("one changed: packets dropped"), "7 / 7 / 0");
        assert_eq!(line("memory of a route"), "321.000 / – / ");
        assert_eq!(line("restart to first packet"), "– / 1.500 / 2");
        assert!(text.contains("TSC 2.600 GHz") && text.contains("1000 routes of one router"), "{text}");
    }

    #[test]
    fn units_stand_in_the_names() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!((&json["case"], &json["routes"]), (&"routes".into(), &1000.into()));
        assert_eq!(json["with_traffic"]["thousand"]["routes_per_second"], 100_000.0);
        assert_eq!(json["with_traffic"]["one"]["meanwhile"]["dropped_packets"], 7);
        assert_eq!((&json["tsc_hz"], &json["bytes_per_route"]), (&2_600_000_000u64.into(), &321.0.into()));
    }
}
