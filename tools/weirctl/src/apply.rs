//! Whole desired states: `apply`, `diff` and `export`; and how a change is told.

use crate::cli::{ApplyArgs, DiffArgs};
use crate::failure::{DIFFERENCES, Failure};
use crate::session::{Session, typed};
use crate::state_file::StateFile;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use weir_api::message::{Applied, Apply, List, Op};
use weir_api::object::{Key, Kind, Object, State};

/// Up to how many objects are named one by one; of more, only the number is told (`-j` names them all).
pub const NAMED: usize = 20;

/// How often `export` reads when the state changes under it each time.
const ATTEMPTS: u32 = 4;

/// `apply`.
pub fn apply(session: &mut Session<'_>, args: &ApplyArgs) -> Result<u8, Failure> {
    let how = Apply {
        replace: !args.merge,
        dry_run: args.dry_run,
        expect_generation: args.expect_generation,
        ..Apply::default()
    };
    let (file, applied) = apply_file(session, &args.file, how)?;
    if args.dry_run {
        tell_differences(session, &file, &applied)?;
    } else {
        tell(session, &applied)?;
    }
    Ok(0)
}

/// `diff`: 0 where there is no difference, [`DIFFERENCES`] where there is.
pub fn diff(session: &mut Session<'_>, args: &DiffArgs) -> Result<u8, Failure> {
    let how = Apply { replace: !args.merge, dry_run: true, ..Apply::default() };
    let (file, applied) = apply_file(session, &args.file, how)?;
    tell_differences(session, &file, &applied)?;
    Ok(if changes(&applied) == 0 { 0 } else { DIFFERENCES })
}

/// Applies the objects of a file in the way that `how` says, and translates the place of an error back to the file.
fn apply_file(session: &mut Session<'_>, path: &Path, how: Apply) -> Result<(StateFile, Applied), Failure> {
    let file = StateFile::read(path, session.input)?;
    let ops = file.objects().iter().cloned().map(Op::Put).collect();
    let applied = session.apply(Apply { ops, ..how }).map_err(|e| match e {
        Failure::Refused(error) => match error.data.as_ref().and_then(|fault| file.place(&fault.path)) {
            Some(place) => Failure::RefusedFile { place, error },
            None => Failure::Refused(error),
        },
        e => e,
    })?;
    Ok((file, applied))
}

fn changes(applied: &Applied) -> usize {
    applied.added.len() + applied.changed.len() + applied.deleted.len()
}

/// Tells what a change has done: `added bridge red`, and the generation.
pub fn tell(session: &mut Session<'_>, applied: &Applied) -> Result<(), Failure> {
    warn(session, applied)?;
    if session.json {
        return session.print_json(applied);
    }
    for (verb, keys) in [("added", &applied.added), ("changed", &applied.changed), ("deleted", &applied.deleted)] {
        tell_keys(session.out, verb, keys)?;
    }
    let nothing = if changes(applied) == 0 { "nothing changed; " } else { "" };
    Ok(writeln!(session.out, "{nothing}generation {}", applied.generation)?)
}

/// Tells what a change would do; of what it would change, the fields too.
fn tell_differences(session: &mut Session<'_>, file: &StateFile, applied: &Applied) -> Result<(), Failure> {
    warn(session, applied)?;
    if session.json {
        return session.print_json(applied);
    }
    tell_keys(session.out, "add", &applied.added)?;
    if applied.changed.len() > NAMED {
        tell_keys(session.out, "change", &applied.changed)?;
    } else {
        for key in &applied.changed {
            tell_keys(session.out, "change", std::slice::from_ref(key))?;
            tell_fields(session, file, key)?;
        }
    }
    tell_keys(session.out, "delete", &applied.deleted)?;
    let count = changes(applied);
    let is = if count == 1 { "difference" } else { "differences" };
    let count = if count == 0 { "no".to_owned() } else { count.to_string() };
    Ok(writeln!(session.out, "{count} {is} from generation {}", applied.generation)?)
}

/// `    mac_limit: 4096 -> 10` for each field that differs.
fn tell_fields(session: &mut Session<'_>, file: &StateFile, key: &Key) -> Result<(), Failure> {
    let Some(new) = file.objects().iter().find(|o| o.key() == *key) else { return Ok(()) };
    let old = match session.get(key.clone()) {
        Ok(old) => fields(&old),
        // Deleted by someone else meanwhile: there is nothing to compare with.
        Err(e) if e.is_not_found() => return Ok(()),
        Err(e) => return Err(e),
    };
    let new = fields(new);
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let show = |value: Option<&Value>| match value {
            None => "-".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        };
        let (from, to) = (old.get(name), new.get(name));
        if from != to {
            writeln!(session.out, "    {name}: {} -> {}", show(from), show(to))?;
        }
    }
    Ok(())
}

/// An object's fields, by the names they have in JSON.
pub(crate) fn fields(object: &Object) -> Map<String, Value> {
    let value = match object {
        Object::Bridge(o) => serde_json::to_value(o),
        Object::Vtep(o) => serde_json::to_value(o),
        Object::Segment(o) => serde_json::to_value(o),
        Object::Peer(o) => serde_json::to_value(o),
        Object::Endpoint(o) => serde_json::to_value(o),
        Object::Router(o) => serde_json::to_value(o),
        Object::Interface(o) => serde_json::to_value(o),
        Object::Route(o) => serde_json::to_value(o),
        Object::DvrMac(o) => serde_json::to_value(o),
    };
    match value {
        Ok(Value::Object(fields)) => fields,
        // Strings, numbers and maps keyed by addresses always have a JSON form.
        _ => Map::new(),
    }
}

fn warn(session: &mut Session<'_>, applied: &Applied) -> Result<(), Failure> {
    // With -j they are in the document.
    if !session.json {
        for warning in &applied.warnings {
            writeln!(session.notes, "weirctl: warning: {warning}")?;
        }
    }
    Ok(())
}

/// A line each, or, of many, a line per kind with their number.
fn tell_keys(out: &mut dyn Write, verb: &str, keys: &[Key]) -> Result<(), Failure> {
    if keys.len() <= NAMED {
        for key in keys {
            writeln!(out, "{verb} {key}")?;
        }
        return Ok(());
    }
    let mut counts: BTreeMap<Kind, usize> = BTreeMap::new();
    for key in keys {
        *counts.entry(key.kind).or_default() += 1;
    }
    for (kind, count) in counts {
        writeln!(out, "{verb} {count} {kind}{}", if count == 1 { "" } else { "s" })?;
    }
    Ok(())
}

/// `export`: the whole desired state, of one generation.
pub fn export(session: &mut Session<'_>) -> Result<(), Failure> {
    let (state, generation) = desired_state(session)?;
    if session.json {
        return session.print_json(&state);
    }
    let text = toml::to_string(&state)
        .map_err(|e| Failure::Misunderstood(format!("list: a desired state without a TOML form: {e}")))?;
    let gap = if text.is_empty() { "" } else { "\n" };
    Ok(write!(session.out, "# Weir's desired state, generation {generation}\n{gap}{text}")?)
}

/// Every object, and the generation that all of them are of.
fn desired_state(session: &mut Session<'_>) -> Result<(State, u64), Failure> {
    for _ in 0..ATTEMPTS {
        let mut generations = BTreeSet::new();
        let mut objects = Vec::new();
        for kind in Kind::ALL {
            let (rows, first, last) = session.rows(List::all(kind.into()))?;
            generations.extend([first, last]);
            for row in rows {
                objects.push(object(kind, row)?);
            }
        }
        // Generations only grow: when the first page and the last page are of the same one, all are.
        if let (1, Some(generation)) = (generations.len(), generations.first()) {
            return Ok((objects.into_iter().collect(), *generation));
        }
    }
    Err(Failure::Unsettled(format!("the desired state changed during each of {ATTEMPTS} readings; try again")))
}

/// A row of `list` as the object it is.
fn object(kind: Kind, row: Value) -> Result<Object, Failure> {
    Ok(match kind {
        Kind::Bridge => Object::Bridge(typed(row, "list")?),
        Kind::Vtep => Object::Vtep(typed(row, "list")?),
        Kind::Segment => Object::Segment(typed(row, "list")?),
        Kind::Peer => Object::Peer(typed(row, "list")?),
        Kind::Endpoint => Object::Endpoint(typed(row, "list")?),
        Kind::Router => Object::Router(typed(row, "list")?),
        Kind::Interface => Object::Interface(typed(row, "list")?),
        Kind::Route => Object::Route(typed(row, "list")?),
        Kind::DvrMac => Object::DvrMac(typed(row, "list")?),
    })
}
