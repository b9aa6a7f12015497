//! One command's conversation: the firmware it asks, and where its output goes.

use crate::client::Ask;
use crate::failure::Failure;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::{Read, Write};
use weir_api::message::{Applied, Apply, Call, List, Noun, Page};
use weir_api::object::{Key, Kind, Object};
use weir_api::view::Stats;

/// What a command needs of the world. Tests put buffers and a fake firmware in its place.
pub struct Session<'a> {
    /// Who answers.
    pub firmware: &'a mut dyn Ask,
    /// Where `-f -` reads.
    pub input: &'a mut dyn Read,
    /// What was asked for.
    pub out: &'a mut dyn Write,
    /// Warnings.
    pub notes: &'a mut dyn Write,
    /// Whether output is one JSON document.
    pub json: bool,
}

impl Session<'_> {
    /// The call's result as the type it has in [`weir_api`].
    pub fn ask<T: DeserializeOwned>(&mut self, call: Call) -> Result<T, Failure> {
        let method = match &call {
            Call::Apply(_) => "apply",
            Call::Get(_) => "get",
            Call::List(_) => "list",
            Call::Stats {} => "stats",
            Call::Watch(_) => "watch",
            Call::Clear(_) => "clear",
            Call::Trace(_) => "trace",
        };
        typed(self.firmware.ask(call)?, method)
    }

    /// Applies a batch.
    pub fn apply(&mut self, batch: Apply) -> Result<Applied, Failure> {
        self.ask(Call::Apply(batch))
    }

    /// One object of the desired state.
    pub fn get(&mut self, key: Key) -> Result<Object, Failure> {
        self.ask(Call::Get(key))
    }

    /// Every counter and gauge.
    pub fn stats(&mut self) -> Result<Stats, Failure> {
        self.ask(Call::Stats {})
    }

    /// The running generation.
    pub fn generation(&mut self) -> Result<u64, Failure> {
        let first = List { limit: Some(1), ..List::all(Noun::from(Kind::Bridge)) };
        Ok(self.ask::<Page>(Call::List(first))?.generation)
    }

    /// All rows that are asked for, page by page, and the generation of the first and last page.
    pub fn rows(&mut self, mut list: List) -> Result<(Vec<Value>, u64, u64), Failure> {
        let mut page: Page = self.ask(Call::List(list.clone()))?;
        let first = page.generation;
        let mut rows = page.rows;
        while let Some(next) = page.next {
            if list.after.as_ref() == Some(&next) {
                return Err(not_understood("list", &format!("page {next} again and again")));
            }
            list.after = Some(next);
            page = self.ask(Call::List(list.clone()))?;
            rows.append(&mut page.rows);
        }
        Ok((rows, first, page.generation))
    }

    /// One JSON document, on a line.
    pub fn print_json(&mut self, document: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.out, document).map_err(|e| Failure::Output(e.into()))?;
        Ok(writeln!(self.out)?)
    }
}

/// A row or result as the type it has in [`weir_api`].
pub fn typed<T: DeserializeOwned>(value: Value, of: &str) -> Result<T, Failure> {
    serde_path_to_error::deserialize(value).map_err(|e| not_understood(of, &e.to_string()))
}

fn not_understood(method: &str, why: &str) -> Failure {
    Failure::Misunderstood(format!(
        "{method}: an answer that this weirctl does not understand ({why}); is weir of the same version ({}, API {})?",
        env!("CARGO_PKG_VERSION"),
        weir_api::VERSION
    ))
}
