//! A firmware that is a map: enough of `apply`, `get`, `list` and `stats` to converse with.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use weir_api::event::EventRow;
use weir_api::message::{Applied, Apply, Call, Error, Fault, List, Noun, Op, Page, Watch, code};
use weir_api::object::{Key, Kind, Object};
use weir_api::view::Stats;
use weirctl::cli::Cli;
use weirctl::client::{Ask, Each};
use weirctl::failure::Failure;
use weirctl::session::Session;

#[derive(Default)]
pub(crate) struct Firmware {
    pub(crate) objects: BTreeMap<Key, Object>,
    pub(crate) generation: u64,
    pub(crate) stats: Stats,
    /// Rows of `mac`, `binding`, `flood` and `neighbour`, and of what is in force, as they are.
    pub(crate) learned: Vec<Value>,
    /// Rows on a page; 0 is no bound.
    pub(crate) page: usize,
    /// How many more times somebody else changes something between a `get` and an `apply`.
    pub(crate) meddling: u32,
    /// What every `apply` warns of.
    pub(crate) warnings: Vec<String>,
    /// What happens to who watches.
    pub(crate) happens: Vec<EventRow>,
    /// The answer to `trace`.
    pub(crate) traced: Value,
    /// Every call, as it came.
    pub(crate) calls: Vec<Call>,
}

/// What a command printed, and how it ended.
pub(crate) struct Run {
    pub(crate) result: Result<u8, Failure>,
    pub(crate) out: String,
    pub(crate) notes: String,
}

impl Run {
    pub(crate) fn code(&self) -> u8 {
        self.result.as_ref().map_or_else(Failure::exit_code, |code| *code)
    }

    #[track_caller]
    pub(crate) fn error(&self) -> String {
        self.result.as_ref().expect_err("a failure").to_string()
    }

    #[track_caller]
    pub(crate) fn done(self) -> String {
        match self.result {
            Ok(0) => self.out,
            other => panic!("{other:?}: {}", self.out),
        }
    }
}

impl Firmware {
    /// Runs a command line, split at blanks.
    pub(crate) fn run(&mut self, line: &str) -> Run {
        self.run_with(line, "")
    }

    /// Runs a command line with something on standard input.
    pub(crate) fn run_with(&mut self, line: &str, input: &str) -> Run {
        let cli = <Cli as clap::Parser>::try_parse_from(["weirctl"].into_iter().chain(line.split_whitespace()))
            .unwrap_or_else(|e| panic!("{line}: {e}"));
        let (mut out, mut notes) = (Vec::new(), Vec::new());
        let mut session = Session {
            firmware: self,
            input: &mut input.as_bytes(),
            out: &mut out,
            notes: &mut notes,
            json: cli.global.json,
        };
        let result = weirctl::execute(&cli.command, &mut session);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Run { result, out: text(out), notes: text(notes) }
    }

    pub(crate) fn answer(&mut self, call: Call) -> Result<Value, Error> {
        self.calls.push(call.clone());
        match call {
            Call::Apply(batch) => self.apply(batch).map(|applied| json!(applied)),
            Call::Get(key) => match self.objects.get(&key) {
                Some(object) => Ok(json!(object)),
                None => Err(error(code::NOT_FOUND, &format!("there is no {key}"), "id", &key.id)),
            },
            Call::List(list) => Ok(json!(self.list(&list))),
            Call::Stats {} => Ok(json!(self.stats)),
            Call::Watch(_) => Ok(json!({"watching": true})),
            Call::Trace(_) => Ok(self.traced.clone()),
            Call::Clear(_) => Ok(json!({"workers": [{"core": 1, "cleared": 2}, {"core": 3, "cleared": 0}]})),
        }
    }

    fn apply(&mut self, batch: Apply) -> Result<Applied, Error> {
        if self.meddling > 0 && batch.expect_generation.is_some() {
            self.meddling -= 1;
            self.generation += 1;
        }
        if batch.expect_generation.is_some_and(|g| g != self.generation) {
            let message = format!("generation {} is running", self.generation);
            let fault = ("expect_generation", batch.expect_generation.unwrap().to_string());
            return Err(error(code::WRONG_GENERATION, &message, fault.0, &fault.1));
        }
        let mut next = if batch.replace { BTreeMap::new() } else { self.objects.clone() };
        for (i, op) in batch.ops.into_iter().enumerate() {
            match op {
                Op::Put(object) => drop(next.insert(object.key(), object)),
                Op::Delete(key) => {
                    if next.remove(&key).is_none() {
                        let path = format!("ops[{i}].delete.id");
                        return Err(error(code::NOT_FOUND, &format!("there is no {key}"), &path, &key.id));
                    }
                }
            }
            for object in next.values() {
                let Object::Segment(segment) = object else { continue };
                let bridge = Key { kind: Kind::Bridge, id: segment.bridge.to_string() };
                if !next.contains_key(&bridge) {
                    let path = format!("ops[{i}].put.segment.bridge");
                    return Err(error(code::INVALID_STATE, "there is no such bridge", &path, &bridge.id));
                }
            }
        }
        let (old, new) = (&self.objects, &next);
        let mut applied = Applied {
            generation: self.generation,
            added: new.keys().filter(|k| !old.contains_key(k)).cloned().collect(),
            changed: new.iter().filter(|(k, o)| old.get(k).is_some_and(|p| p != *o)).map(|(k, _)| k.clone()).collect(),
            deleted: old.keys().filter(|k| !new.contains_key(k)).cloned().collect(),
            warnings: self.warnings.clone(),
        };
        let same = self.objects == next;
        if !batch.dry_run && !same {
            self.generation += 1;
            applied.generation = self.generation;
            self.objects = next;
        }
        Ok(applied)
    }

    fn list(&self, list: &List) -> Page {
        let kind = Kind::ALL.into_iter().find(|kind| Noun::from(*kind) == list.of);
        let rows: Vec<Value> = match kind.filter(|_| !list.in_force) {
            None => self.learned.clone(),
            Some(kind) => {
                let of_kind = self.objects.values().filter(|o| o.kind() == kind);
                // An object is tagged by its kind; a row is not.
                of_kind.map(|o| json!(o)[kind.as_str()].clone()).collect()
            }
        };
        let of_bridge = |row: &Value| list.bridge.as_ref().is_none_or(|b| row["bridge"] == json!(b));
        let of_address = |row: &Value| {
            list.address.as_ref().is_none_or(|a| ["mac", "address", "peer"].iter().any(|field| row[field] == json!(a)))
        };
        let of_source = |row: &Value| list.source.is_none_or(|source| row["source"] == json!(source));
        let of_router = |row: &Value| {
            let name = if list.of == Noun::Router { &row["name"] } else { &row["router"] };
            list.router.as_ref().is_none_or(|r| name == &json!(r))
        };
        let rows = rows.into_iter().filter(of_router).filter(of_bridge).filter(of_address).filter(of_source);
        let rows: Vec<Value> = rows.filter(|row| is_of(list.of, row)).collect();
        let from: usize = list.after.as_ref().map_or(0, |after| after.parse().unwrap());
        let limit = list.limit.unwrap_or(usize::MAX).min(if self.page == 0 { usize::MAX } else { self.page });
        let to = from.saturating_add(limit).min(rows.len());
        let next = (to < rows.len()).then(|| to.to_string());
        Page { generation: self.generation, rows: rows[from..to].to_vec(), next }
    }
}

/// Whether a row that was learned is one of the noun.
fn is_of(noun: Noun, row: &Value) -> bool {
    match noun {
        Noun::Binding => row.get("sequence").is_some(),
        Noun::Flood => row.get("origin").is_some() && row.get("prefix").is_none(),
        Noun::Mac => row.get("location").is_some() || row.get("mac").is_some_and(|mac| mac == "nonsense"),
        Noun::Router => row.get("icmp_limit").is_some(),
        Noun::Route => row.get("prefix").is_some(),
        Noun::DvrMac => row.get("own").is_some(),
        _ => true,
    }
}

fn error(code: i32, message: &str, path: &str, value: &str) -> Error {
    let data = Some(Fault { path: path.to_owned(), value: value.to_owned() });
    Error { code, message: message.to_owned(), data }
}

impl Ask for Firmware {
    fn ask(&mut self, call: Call) -> Result<Value, Failure> {
        self.answer(call).map_err(Failure::Refused)
    }

    fn watch(&mut self, watch: Watch, each: &mut Each<'_>) -> Result<(), Failure> {
        self.ask(Call::Watch(watch))?;
        for row in self.happens.drain(..) {
            if each(row)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}
