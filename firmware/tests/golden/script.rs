//! A case's script, taken apart. `tests/golden/README.md` says what its lines mean.

use crate::capture::{self, Record};
use std::collections::BTreeMap;
use std::path::Path;

/// One line of a script.
pub(crate) enum Step {
    /// A `weirctl` command, and whether it must be refused.
    Weirctl { arguments: Vec<String>, refused: bool },
    /// A burst that comes in on a port.
    Frames { port: usize, frames: Vec<Vec<u8>> },
    /// So many milliseconds pass.
    Time(u64),
    /// So many packet buffers are free from here on; `None`: enough.
    Pool(Option<usize>),
    /// So many frames the ports take in each step from here on; `None`: all.
    Room(Option<usize>),
}

/// A script, and the frames that it names.
pub(crate) struct Script {
    /// Names and MTUs of the ports.
    pub(crate) ports: Vec<(String, u16)>,
    /// Sizes of the gateway's tables where they are not the default.
    pub(crate) tables: BTreeMap<String, usize>,
    /// By line number.
    pub(crate) steps: Vec<(usize, Step)>,
    pub(crate) longest_frame: usize,
}

/// The ports that every case has, in the order of their numbers.
const PORTS: [&str; 3] = ["lan0", "lan1", "wan0"];
const MTU: u16 = 1500;

impl Script {
    pub(crate) fn read(case: &Path) -> Result<Self, String> {
        let ports = PORTS.map(|name| (name.to_owned(), MTU)).to_vec();
        let mut script = Self { ports, tables: BTreeMap::new(), steps: Vec::new(), longest_frame: 0 };
        let mut captures = Vec::new();
        for (name, _) in &script.ports {
            let records = capture::read(&case.join(format!("in.{name}.pcap")))?;
            captures.push(records);
        }
        let mut reader = Reader { captures, lets: Vec::new(), bursts: 0 };
        let text = std::fs::read_to_string(case.join("script")).map_err(|e| format!("script: {e}"))?;
        for (number, line) in lines(&text) {
            script.line(case, &mut reader, number, &line).map_err(|why| format!("script line {number}: {why}"))?;
        }
        if let Some(n) = reader.captures.iter().position(|left| !left.is_empty()) {
            return Err(format!("in.{}.pcap has frames that the script has not; run tests/golden/make.py", PORTS[n]));
        }
        Ok(script)
    }

    fn line(&mut self, case: &Path, reader: &mut Reader, number: usize, line: &str) -> Result<(), String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let step = match words[..] {
            ["let", ..] => {
                reader.lets.push(line.to_owned());
                return Ok(());
            }
            ["include", name] => {
                let path = case.join("..").join(name);
                let text = std::fs::read_to_string(&path).map_err(|e| format!("{name}: {e}"))?;
                for (inner, line) in lines(&text) {
                    self.line(case, reader, number, &line).map_err(|why| format!("{name} line {inner}: {why}"))?;
                }
                return Ok(());
            }
            ["mtu", port, mtu] => {
                self.ports[port_number(port)?].1 = parsed(mtu)?;
                return Ok(());
            }
            ["table", name, size] => {
                self.tables.insert(name.to_owned(), parsed(size)?);
                return Ok(());
            }
            ["weirctl", ref arguments @ ..] => command(arguments, false),
            ["!", "weirctl", ref arguments @ ..] => command(arguments, true),
            ["time", by] => Step::Time(millis(by)?),
            ["pool", "all"] => Step::Pool(None),
            ["pool", n] => Step::Pool(Some(parsed(n)?)),
            ["room", "all"] => Step::Room(None),
            ["room", n] => Step::Room(Some(parsed(n)?)),
            [port, "<", _, ..] => {
                let expression = line[port.len()..].trim_start()[1..].trim_start();
                let frames = reader.burst(port_number(port)?, expression)?;
                self.longest_frame = frames.iter().map(Vec::len).max().unwrap_or(0).max(self.longest_frame);
                Step::Frames { port: port_number(port)?, frames }
            }
            _ => return Err(format!("not a line of a script: {line}")),
        };
        self.steps.push((number, step));
        Ok(())
    }
}

/// Lines that are not comments, with their number; one that ends with a backslash goes on in the next.
fn lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut begun: Option<(usize, String)> = None;
    for (i, line) in text.split('\n').enumerate() {
        let (number, whole) = match begun.take() {
            Some((number, before)) => (number, before + " " + line),
            None => (i + 1, line.to_owned()),
        };
        match whole.strip_suffix('\\') {
            Some(before) => begun = Some((number, before.to_owned())),
            None => lines.push((number, whole.trim().to_owned())),
        }
    }
    lines.retain(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
}

fn command(arguments: &[&str], refused: bool) -> Step {
    Step::Weirctl { arguments: arguments.iter().map(|a| (*a).to_owned()).collect(), refused }
}

fn port_number(name: &str) -> Result<usize, String> {
    PORTS.iter().position(|p| *p == name).ok_or_else(|| format!("no port {name}, only {PORTS:?}"))
}

fn parsed<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("not a number here: {text}"))
}

/// `+5s` or `+100ms`.
fn millis(text: &str) -> Result<u64, String> {
    let by = text.strip_prefix('+').ok_or_else(|| format!("time goes by: +{text}"))?;
    match by.strip_suffix("ms") {
        Some(n) => parsed(n),
        None => Ok(parsed::<u64>(by.strip_suffix('s').ok_or("s or ms?")?)? * 1000),
    }
}

/// Gives out the frames of the input captures, burst by burst.
struct Reader {
    captures: Vec<Vec<Record>>,
    lets: Vec<String>,
    bursts: u32,
}

impl Reader {
    fn burst(&mut self, port: usize, expression: &str) -> Result<Vec<Vec<u8>>, String> {
        self.bursts += 1;
        let mut source = self.lets.clone();
        source.push(expression.to_owned());
        let stamp = stamp(&source.join("\n"));
        let records = &mut self.captures[port];
        let count = records.iter().take_while(|r| (r.seconds, r.micros) == (self.bursts, stamp)).count();
        if count == 0 {
            return Err(format!("in.{}.pcap is older than this; run tests/golden/make.py", PORTS[port]));
        }
        Ok(records.drain(..count).map(|r| r.bytes).collect())
    }
}

/// FNV-1a in 32 bits, modulo a million; `make.py` has the same.
fn stamp(text: &str) -> u32 {
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash % 1_000_000
}

#[test]
fn lines_go_on_behind_a_backslash_and_keep_their_number() {
    let found = lines("# a\n\nlan0 < x \\\n  / y\ntime +1s");
    assert_eq!(found, [(3, "lan0 < x    / y".to_owned()), (5, "time +1s".to_owned())]);
    assert_eq!((millis("+5s"), millis("+20ms")), (Ok(5000), Ok(20)));
    assert!(millis("5s").is_err() && millis("+5").is_err());
}
