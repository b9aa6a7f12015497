//! What comes of a case: frames out, port by port, and every counter that is not zero.

use crate::capture::{self, Record};
use crate::script::Script;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// The frames that each port sent, in order, and the counters that are not zero, by name.
pub(crate) struct Outcome {
    pub(crate) sent: BTreeMap<String, Vec<Record>>,
    pub(crate) counters: BTreeMap<String, u64>,
}

impl Outcome {
    /// What must come of a case.
    pub(crate) fn read(case: &Path, script: &Script) -> Result<Self, String> {
        let mut sent = BTreeMap::new();
        for (name, _) in &script.ports {
            sent.insert(name.clone(), capture::read(&case.join(format!("out.{name}.pcap")))?);
        }
        let text = std::fs::read_to_string(case.join("counters")).map_err(|e| format!("counters: {e}"))?;
        let mut counters = BTreeMap::new();
        for line in text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
            let (name, count) = line.rsplit_once(' ').ok_or_else(|| format!("counters: not NAME COUNT: {line}"))?;
            let count = count.parse().map_err(|_| format!("counters: not NAME COUNT: {line}"))?;
            counters.insert(name.to_owned(), count);
        }
        Ok(Self { sent, counters })
    }

    /// Makes this what must come of the case.
    pub(crate) fn write(&self, case: &Path) -> Result<(), String> {
        for (name, records) in &self.sent {
            capture::write(&case.join(format!("out.{name}.pcap")), records)?;
        }
        let mut text = String::new();
        for (name, count) in &self.counters {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name} {count}");
        }
        std::fs::write(case.join("counters"), text).map_err(|e| format!("counters: {e}"))
    }

    /// Whether what came is what must come; every difference, else.
    pub(crate) fn compare(&self, came: &Outcome) -> Result<(), String> {
        let mut found = Vec::new();
        for (name, expected) in &self.sent {
            let sent = came.sent.get(name).map_or(&[][..], Vec::as_slice);
            let first = expected.iter().zip(sent).position(|(e, s)| e != s);
            if let Some(at) = first.or_else(|| (expected.len() != sent.len()).then(|| expected.len().min(sent.len()))) {
                let show = |records: &[Record]| records.get(at).map_or("no frame".to_owned(), shown);
                let counts = format!("{} sent instead of {}", sent.len(), expected.len());
                found.push(format!(
                    "{name}, frame {at} ({counts}):\n    {}\n  is not\n    {}",
                    show(sent),
                    show(expected)
                ));
            }
        }
        let names = self.counters.keys().chain(came.counters.keys().filter(|name| !self.counters.contains_key(*name)));
        for name in names {
            let count = |of: &Outcome| of.counters.get(name).copied().unwrap_or(0);
            if count(self) != count(came) {
                found.push(format!("{name} is {} instead of {}", count(came), count(self)));
            }
        }
        if found.is_empty() { Ok(()) } else { Err(found.join("\n  ")) }
    }
}

fn shown(record: &Record) -> String {
    let mut text = format!("at {}.{:06}, {} bytes:", record.seconds, record.micros, record.bytes.len());
    for pair in record.bytes.chunks(2) {
        text.push(' ');
        pair.iter().for_each(|byte| text.push_str(&format!("{byte:02x}")));
    }
    text
}
