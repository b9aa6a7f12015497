//! Golden cases: what each directory of `tests/golden` says, the gateway does; byte by byte, counter by counter.
//!
//! A case is a script of `weirctl` commands, frames and time, and what must come of it. It runs through the code that
//! the firmware runs: `weirctl`'s command line, the manager's judging and translating, the gateway; only frames, ports
//! and the clock are the test's. Each case runs again with its frames one by one, split in two segments at each byte, and
//! with one segment a byte: the outcome must be the same. `tests/golden/README.md` has the words of a script.
//!
//! And each runs with its frames mangled: then only the books must balance.
//!
//! `REGEN=1` writes what came of the first run; `CASE=name` runs one case.

mod capture;
mod command;
mod outcome;
mod script;
mod world;

use outcome::Outcome;
use script::Script;
use std::path::{Path, PathBuf};
use world::{Delivery, World};

/// How far into a frame the segments are split.
const SPLITS: usize = 200;

/// Runs a case's script with its frames delivered in that way.
fn run(case: &Path, script: &Script, delivery: Delivery) -> Result<Outcome, String> {
    let mut world = World::new(script, delivery)?;
    for (number, step) in &script.steps {
        world.step(case, step).map_err(|why| format!("script line {number} ({delivery:?}): {why}"))?;
    }
    world.finish().map_err(|why| format!("at the end ({delivery:?}): {why}"))
}

/// What a case must come to, and whether it does so in every way of delivery.
fn judge(case: &Path, regenerate: bool) -> Result<(), String> {
    let script = Script::read(case)?;
    let whole = run(case, &script, Delivery::Whole)?;
    if regenerate {
        whole.write(case)?;
    }
    let expected = Outcome::read(case, &script)?;
    expected.compare(&whole).map_err(|why| format!("{why} (REGEN=1 writes what came)"))?;
    let mut ways = vec![Delivery::OneByOne, Delivery::Crumbs];
    ways.extend((1..=SPLITS.min(script.longest_frame)).map(Delivery::SplitAt));
    for way in ways {
        expected.compare(&run(case, &script, way)?).map_err(|why| format!("{way:?}: {why}"))?;
    }
    Ok(())
}

/// How often each case runs with mangled frames.
const MANGLINGS: u64 = 40;

#[test]
fn no_frame_is_lost_whatever_stands_in_it() {
    for case in cases() {
        let script = Script::read(&case).unwrap_or_else(|why| panic!("{}: {why}", case.display()));
        for seed in 1..=MANGLINGS {
            if let Err(why) = run(&case, &script, Delivery::Mangled(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))) {
                panic!("{}: seed {seed}: {why}", case.display());
            }
        }
    }
}

fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let entries = std::fs::read_dir(&root).unwrap_or_else(|e| panic!("{}: {e}", root.display()));
    let mut cases: Vec<_> = entries.map(|e| e.expect("a directory entry").path()).collect();
    cases.retain(|path| path.join("script").exists());
    cases.sort();
    cases
}

#[test]
fn every_case_comes_out_as_written() {
    let regenerate = std::env::var_os("REGEN").is_some_and(|v| v == "1");
    let only = std::env::var("CASE").ok();
    let name = |case: &Path| case.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let chosen: Vec<_> = cases().into_iter().filter(|case| only.as_ref().is_none_or(|o| *o == name(case))).collect();
    assert!(!chosen.is_empty(), "no such case");
    let mut failures = Vec::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = chosen
            .chunks(chosen.len().div_ceil(2))
            .map(|part| {
                let all = |case: &PathBuf| judge(case, regenerate).err().map(|why| format!("{}: {why}", name(case)));
                scope.spawn(move || part.iter().filter_map(all).collect::<Vec<_>>())
            })
            .collect();
        for thread in threads {
            match thread.join() {
                Ok(found) => failures.extend(found),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), chosen.len(), failures.join("\n"));
}
