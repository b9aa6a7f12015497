//! The desired state and its translation, changed together or not at all.
//!
//! Owns: the order validate → translate → persist → in force. Has no threads, no files and no devices, so that a test
//! can drive it; persisting is a closure.

use super::batch::{self, Change, fault};
use super::desired::Desired;
use super::key::ObjectKey;
use super::translate::{MESHES, Refusal, Translator};
use crate::config::Tables;
use weir_api::id::Name;
use weir_api::message::{Applied, Apply, Error, Op, code};
use weir_api::object::{Kind, Object};
use weir_pipelines::tables::{PortInfo, Snapshot};

/// What is configured, and what that means for the packet path.
#[derive(Debug)]
pub struct Configuration {
    ports: Vec<Name>,
    limits: Tables,
    desired: Desired,
    translator: Translator,
}

impl Configuration {
    /// Nothing configured, on these ports (in the order of `empty`'s).
    pub fn new(ports: Vec<Name>, limits: Tables, empty: Snapshot) -> Self {
        let translator = Translator::new(ports.clone(), &limits, empty);
        Self { ports, limits, desired: Desired::default(), translator }
    }

    /// Puts a saved state in force, whole or part by part: each kind of object before those that refer to it.
    ///
    /// # Errors
    /// The first object that this `weir.toml` or this version cannot have. Nothing is in force then.
    pub fn restore(&mut self, objects: Vec<Object>, generation: u64) -> Result<(), Error> {
        let ops = objects.into_iter().map(Op::Put).collect();
        let made = batch::make(&mut self.desired, &self.ports, &self.limits, ops, false);
        let restored = made.and_then(|(changes, origins)| {
            let translated = self.translator.restore(&self.desired, &changes, generation);
            translated.map_err(|refusal| refused(refusal, &changes, &origins))
        });
        if restored.is_err() {
            let empty = Snapshot::new(self.snapshot().secret(), self.snapshot().ports());
            *self = Self::new(std::mem::take(&mut self.ports), self.limits.clone(), empty);
        }
        restored
    }

    /// Makes a batch of changes. `persist` gets them with their generation, when they are right and before they are in
    /// force; if it fails, nothing has changed. A dry run and a batch that changes nothing do not persist.
    ///
    /// # Errors
    /// What is wrong with the batch, with path and value; or `persist`'s error.
    pub fn apply(
        &mut self,
        apply: Apply,
        persist: impl FnOnce(&[Change], &Desired, u64) -> Result<(), Error>,
    ) -> Result<Applied, Error> {
        let running = self.generation();
        if let Some(expected) = apply.expect_generation.filter(|&e| e != running) {
            let why = format!("generation {running} is running, not {expected}; look at what changed, then try again");
            return Err(fault(code::WRONG_GENERATION, why, "expect_generation", expected));
        }
        let (changes, origins) = batch::make(&mut self.desired, &self.ports, &self.limits, apply.ops, apply.replace)?;
        if changes.is_empty() {
            return Ok(Applied { generation: running, ..Applied::default() });
        }
        let generation = running + 1;
        let prepared = self.translator.prepare(&self.desired, &changes, generation);
        let prepared = prepared.map_err(|refusal| refused(refusal, &changes, &origins));
        let result = match prepared {
            Ok(_) if apply.dry_run => Ok(None),
            Ok(next) => persist(&changes, &self.desired, generation).map(|()| Some(next)),
            Err(error) => Err(error),
        };
        match result {
            Ok(Some(next)) => {
                self.translator.keep(next);
                Ok(batch::applied(&changes, &self.desired, generation))
            }
            Ok(None) => {
                let applied = batch::applied(&changes, &self.desired, running);
                self.revert(changes);
                Ok(applied)
            }
            Err(error) => {
                self.revert(changes);
                Err(error)
            }
        }
    }

    fn revert(&mut self, changes: Vec<Change>) {
        self.translator.undo();
        batch::undo(&mut self.desired, changes);
    }

    /// What the ports are, in the order of their names. Nothing that is configured depends on it.
    pub fn set_ports(&mut self, ports: &[PortInfo]) {
        self.translator.set_ports(ports);
    }

    /// The generation in force.
    pub fn generation(&self) -> u64 {
        self.translator.current().generation
    }

    /// The snapshot in force.
    pub fn snapshot(&self) -> &Snapshot {
        self.translator.current()
    }

    /// What is configured.
    pub fn desired(&self) -> &Desired {
        &self.desired
    }

    /// Which number on the packet path stands for what.
    pub fn translator(&self) -> &Translator {
        &self.translator
    }

    /// One object.
    ///
    /// # Errors
    /// `INVALID_PARAMS` if the id cannot be one of its kind, `NOT_FOUND` if there is none.
    pub fn get(&self, kind: Kind, id: &str) -> Result<Object, Error> {
        let key = ObjectKey::parse(kind, id).map_err(|why| fault(code::INVALID_PARAMS, why, "id", id))?;
        self.desired.get(&key).ok_or_else(|| fault(code::NOT_FOUND, format!("there is no {key}"), "id", id))
    }
}

/// Why a batch cannot be translated, with path and value.
fn refused(refusal: Refusal, changes: &[Change], origins: &[usize]) -> Error {
    let (path, value) = match &refusal {
        Refusal::Full(table) => ("ops".to_owned(), (*table).to_owned()),
        Refusal::Meshes => ("ops".to_owned(), MESHES.to_string()),
        Refusal::Taken(taken) => {
            let op = origins.get(taken.change).copied().unwrap_or(taken.change);
            (format!("ops[{op}].put.{}", taken.field), taken.value.clone())
        }
    };
    let message = match &refusal {
        Refusal::Taken(taken) if taken.change < changes.len() => format!("{}: {refusal}", changes[taken.change].key),
        refusal => refusal.to_string(),
    };
    fault(code::INVALID_STATE, message, path, value)
}
