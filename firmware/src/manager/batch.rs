//! A batch of changes to the desired state: all of them, or none.
//!
//! Owns: making the changes, judging the result, and undoing them. The batch is made in place and remembered in a log
//! of what was there before, so that both ways cost what the batch touches, not what the state holds.

use super::desired::{Desired, Put};
use super::key::ObjectKey;
use super::rules::{self, Broken};
use crate::config::Tables;
use rustc_hash::{FxBuildHasher, FxHashSet};
use std::hash::BuildHasher;
use weir_api::id::Name;
use weir_api::message::{Applied, Error, Fault, Op, code};
use weir_api::object::{Key, Kind, Object};

/// The most DVR MACs: one for each gateway.
pub const DVR_MACS: usize = 4096;

/// One object that is different now.
#[derive(Clone, Debug)]
pub struct Change {
    /// Which one.
    pub key: ObjectKey,
    /// What was there before.
    pub old: Option<Box<Object>>,
    /// Whether there is one now; the state has it.
    pub there: bool,
}

/// An error with a place.
pub fn fault(code: i32, message: impl Into<String>, path: impl Into<String>, value: impl ToString) -> Error {
    let mut value = value.to_string();
    if value.len() > 256 {
        let end = (0..=253).rev().find(|&i| value.is_char_boundary(i)).unwrap_or(0);
        value.truncate(end);
        value.push_str("...");
    }
    Error { code, message: message.into(), data: Some(Fault { path: path.into(), value }) }
}

/// Makes a batch of changes in `state`; with `replace`, whatever is not put is deleted. Returns the changes, and for each of
/// the first of them its place among the ops.
///
/// # Errors
/// The first thing that is wrong, with its path and value. The state is then as it was.
pub fn make(
    state: &mut Desired,
    ports: &[Name],
    limits: &Tables,
    ops: Vec<Op>,
    replace: bool,
) -> Result<(Vec<Change>, Vec<usize>), Error> {
    let mut changes = Vec::with_capacity(ops.len());
    let result = perform(state, ops, replace, &mut changes).and_then(|origins| {
        judge(state, ports, &changes, &origins)?;
        capacities(state, limits)?;
        Ok(origins)
    });
    match result {
        Ok(origins) => Ok((changes, origins)),
        Err(error) => {
            undo(state, changes);
            Err(error)
        }
    }
}

/// Makes a batch undone again.
pub fn undo(state: &mut Desired, changes: Vec<Change>) {
    for change in changes.into_iter().rev() {
        state.set(&change.key, change.old.map(|old| *old));
    }
}

/// What a batch has named so far. What it changed, its changes say.
struct Named {
    /// Of every key, its hash: a set of a hundred thousand keys would not fit into a cache.
    hashes: FxHashSet<u64>,
    /// Those whose object was there already.
    same: Vec<ObjectKey>,
}

impl Named {
    /// Whether a key is named for the first time.
    fn is_new(&mut self, key: &ObjectKey, changes: &[Change]) -> bool {
        self.hashes.insert(FxBuildHasher.hash_one(key))
            || !(self.same.contains(key) || changes.iter().any(|change| change.key == *key))
    }

    /// What a whole state does not name, in order.
    fn unnamed(&self, state: &Desired, changes: &[Change]) -> Vec<ObjectKey> {
        let named: FxHashSet<&ObjectKey> = self.same.iter().chain(changes.iter().map(|change| &change.key)).collect();
        state.keys().filter(|key| !named.contains(key)).collect()
    }
}

/// Makes the changes, and returns for each of them its place among the ops.
fn perform(state: &mut Desired, ops: Vec<Op>, replace: bool, changes: &mut Vec<Change>) -> Result<Vec<usize>, Error> {
    let mut origins = Vec::with_capacity(ops.len());
    let hashes = FxHashSet::with_capacity_and_hasher(ops.len(), FxBuildHasher);
    let mut named = Named { hashes, same: Vec::new() };
    for (i, mut op) in ops.into_iter().enumerate() {
        let (key, verb) = match &op {
            Op::Put(object) => (ObjectKey::of(object), "put"),
            Op::Delete(key) => (to_delete(key, i, replace)?, "delete"),
        };
        if !named.is_new(&key, changes) {
            let why = format!("the batch names {key} twice");
            return Err(fault(code::INVALID_PARAMS, why, format!("ops[{i}].{verb}"), key.id()));
        }
        let (old, there) = match &mut op {
            Op::Put(object) => match state.put(&key, object) {
                Put::Same => {
                    named.same.push(key);
                    continue;
                }
                Put::Set(old) => (old, true),
            },
            Op::Delete(_) => match state.set(&key, None) {
                None => {
                    let why = format!("there is no {key}");
                    return Err(fault(code::NOT_FOUND, why, format!("ops[{i}].delete.id"), key.id()));
                }
                old => (old, false),
            },
        };
        changes.push(Change { key, old: old.map(Box::new), there });
        origins.push(i);
    }
    if replace {
        for key in named.unnamed(state, changes).into_iter().rev() {
            let old = state.set(&key, None).map(Box::new);
            changes.push(Change { key, old, there: false });
        }
    }
    Ok(origins)
}

/// What the i-th op is to delete.
fn to_delete(key: &Key, i: usize, replace: bool) -> Result<ObjectKey, Error> {
    if replace {
        let why = "with replace, what is not put is deleted: the batch has puts only";
        return Err(fault(code::INVALID_PARAMS, why, format!("ops[{i}].delete"), key));
    }
    ObjectKey::parse(key.kind, &key.id)
        .map_err(|why| fault(code::INVALID_PARAMS, why, format!("ops[{i}].delete.id"), &key.id))
}

/// Judges what is different. What a replace deleted has no op, and needs no judging: all that stays is put.
fn judge(state: &Desired, ports: &[Name], changes: &[Change], origins: &[usize]) -> Result<(), Error> {
    let at = |n: usize| origins.get(n).copied();
    for (n, change) in changes.iter().enumerate() {
        if change.there {
            let judged = rules::judge(state, ports, &change.key).and_then(|()| match change.old.as_deref() {
                Some(before) => rules::judge_before(state, &change.key, before),
                None => Ok(()),
            });
            judged.map_err(|Broken { field, value, why }| {
                let i = at(n).unwrap_or(n);
                let message = format!("{}: {why}", change.key);
                fault(code::INVALID_STATE, message, format!("ops[{i}].put.{}.{field}", change.key.kind()), value)
            })?;
        } else if let (Some(referrer), Some(i)) = (rules::referrer(state, &change.key, change.old.as_deref()), at(n)) {
            let why = format!("{} is still needed by {referrer}", change.key);
            return Err(fault(code::INVALID_STATE, why, format!("ops[{i}].delete.id"), change.key.id()));
        }
    }
    // A replaced whole state may leave nothing behind that refers to what it deleted.
    for change in changes.iter().skip(origins.len()) {
        if let Some(referrer) = rules::referrer(state, &change.key, change.old.as_deref()) {
            let why = format!("{referrer} needs {}, which the whole state does not have", change.key);
            return Err(fault(code::INVALID_STATE, why, "ops", referrer.id()));
        }
    }
    Ok(())
}

fn capacities(state: &Desired, limits: &Tables) -> Result<(), Error> {
    for (kind, key, capacity) in [
        (Kind::Bridge, "bridges", limits.bridges),
        (Kind::Vtep, "vteps", limits.vteps),
        (Kind::Segment, "segments", limits.segments),
        (Kind::Endpoint, "endpoints", limits.endpoints),
        (Kind::Router, "routers", limits.routers),
        (Kind::Interface, "interfaces", limits.interfaces),
        (Kind::Route, "routes", limits.routes),
    ] {
        let count = state.count(kind);
        if count > capacity as usize {
            let why = format!("there would be {count} {key}; tables.{key} in weir.toml allows {capacity}");
            return Err(fault(code::INVALID_STATE, why, "ops", count));
        }
    }
    let count = state.count(Kind::DvrMac);
    if count > DVR_MACS {
        let why = format!("there would be {count} DVR MACs, and {DVR_MACS} are the most");
        return Err(fault(code::INVALID_STATE, why, "ops", count));
    }
    Ok(())
}

/// What a batch changed, as the RPC says it.
pub fn applied(changes: &[Change], state: &Desired, generation: u64) -> Applied {
    let mut applied = Applied { generation, ..Applied::default() };
    let mut unreachable: Option<(String, usize)> = None;
    for Change { key, old, there } in changes {
        let list = match (old, there) {
            (None, _) => &mut applied.added,
            (Some(_), true) => &mut applied.changed,
            (Some(_), false) => &mut applied.deleted,
        };
        list.push(key.to_api());
        if *there && let Some(why) = rules::no_route(state, key) {
            let (_, count) = unreachable.get_or_insert((why, 0));
            *count += 1;
        }
    }
    if let Some((first, count)) = unreachable {
        let others = if count > 1 { format!(" (and {} more like it)", count - 1) } else { String::new() };
        applied.warnings.push(format!("{first}{others}: frames to it are dropped as no_route"));
    }
    applied
}
