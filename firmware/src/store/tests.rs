//! What was acknowledged is there again: after a failure at any write, and after SIGKILL at any moment.

use super::*;
use crate::config::Tables;
use crate::manager::configuration::Configuration;
use std::io::Error as BackendIoError;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use weir_api::message::{Apply, Error, Op, code};
use weir_pipelines::tables::{PortInfo, Secret, Snapshot};
use weir_pipelines::wire::MacAddr;

mod routes;

/// What was in the file.
#[derive(Debug, Default, PartialEq)]
struct Saved {
    generation: u64,
    objects: Vec<Object>,
}

fn load(store: &Store) -> Result<Saved, StoreError> {
    let generation = store.meta().map_err(|e| store.error(e))?.1.unwrap_or(0);
    let mut objects = Vec::new();
    store.read(|part| {
        objects.extend(part);
        Ok::<_, StoreError>(())
    })?;
    Ok(Saved { generation, objects })
}

fn loaded((store, generation): (Store, u64)) -> Result<(Store, Saved), StoreError> {
    let saved = load(&store)?;
    assert_eq!(saved.generation, generation);
    Ok((store, saved))
}

fn open(directory: &Path) -> Result<(Store, Saved), StoreError> {
    Store::open(directory).and_then(loaded)
}

fn with_backend(path: &Path, disk: Disk) -> Result<(Store, Saved), StoreError> {
    Store::with_backend(path, disk).and_then(loaded)
}

fn configuration() -> Configuration {
    let empty = Snapshot::new(
        Secret::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]),
        &[PortInfo { mac: MacAddr([2, 0, 0, 0, 0, 1]), mtu: 1500 }],
    );
    Configuration::new(vec!["lan0".parse().unwrap()], Tables::default(), empty)
}

/// Batch n puts a bridge of that number with two endpoints, and takes away the one of five batches ago: whole or not.
fn batch(n: u64) -> Apply {
    let bridge = |n: u64| format!("b{n}");
    let vlan = |n: u64| format!("vlan/lan0/{}", n % 4000 + 1);
    let host = |n: u64, h: u64| serde_json::json!({"bridge": bridge(n), "mac": format!("02:00:00:00:00:0{h}"), "location": vlan(n)});
    let mut ops = vec![
        serde_json::json!({"put": {"bridge": {"name": bridge(n)}}}),
        serde_json::json!({"put": {"segment": {"id": vlan(n), "bridge": bridge(n)}}}),
        serde_json::json!({"put": {"endpoint": host(n, 1)}}),
        serde_json::json!({"put": {"endpoint": host(n, 2)}}),
    ];
    if n > 5 {
        let old = n - 5;
        for (kind, id) in [
            ("endpoint", format!("{}/02:00:00:00:00:01", bridge(old))),
            ("endpoint", format!("{}/02:00:00:00:00:02", bridge(old))),
            ("segment", vlan(old)),
            ("bridge", bridge(old)),
        ] {
            ops.push(serde_json::json!({"delete": {"kind": kind, "id": id}}));
        }
    }
    let ops = ops.into_iter().map(|op| serde_json::from_value::<Op>(op).unwrap()).collect();
    Apply { ops, ..Apply::default() }
}

fn apply(c: &mut Configuration, store: &mut Store, n: u64) -> Result<(), Error> {
    let failed = |e: StoreError| Error { code: code::INTERNAL, message: e.to_string(), data: None };
    c.apply(batch(n), |changes, state, generation| store.commit(changes, state, generation).map_err(failed)).map(drop)
}

/// The state after so many batches, as it must be on disk.
fn after(n: u64) -> Saved {
    let mut c = configuration();
    for n in 1..=n {
        c.apply(batch(n), |_, _, _| Ok(())).unwrap();
    }
    saved(&c)
}

fn saved(c: &Configuration) -> Saved {
    let objects: Vec<Object> = c.desired().keys().map(|key| c.desired().get(&key).unwrap()).collect();
    Saved { generation: c.generation(), objects: sorted(objects) }
}

fn sorted(mut objects: Vec<Object>) -> Vec<Object> {
    objects.sort_by_key(|o| (o.kind(), o.id()));
    objects
}

#[test]
fn what_is_written_is_read_and_the_directory_is_locked() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, empty) = open(&directory.path().join("a/b")).unwrap();
    assert_eq!(empty, Saved::default());
    let mut c = configuration();
    for n in 1..=7 {
        apply(&mut c, &mut store, n).unwrap();
    }
    let second = open(&directory.path().join("a/b")).err().unwrap().to_string();
    assert!(second.contains("in use by another weir"), "{second}");
    drop(store);
    let (_store, read) = open(&directory.path().join("a/b")).unwrap();
    assert_eq!(Saved { objects: sorted(read.objects), ..read }, after(7));
}

#[test]
fn a_start_that_was_killed_while_it_made_the_file_is_no_damage() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(DRAFT), [0; 4096]).unwrap();
    let (mut store, empty) = open(directory.path()).unwrap();
    assert_eq!(empty, Saved::default());
    apply(&mut configuration(), &mut store, 1).unwrap();
    drop(store);
    assert!(!directory.path().join(DRAFT).exists());
    let mode = std::fs::metadata(directory.path().join(FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "tenants' networks are nobody else's to read");
    assert_eq!(open(directory.path()).unwrap().1.generation, 1);
}

#[test]
fn after_a_failed_write_the_next_batch_opens_the_file_anew() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = open(directory.path()).unwrap();
    let mut c = configuration();
    apply(&mut c, &mut store, 1).unwrap();
    store.failed = true;
    apply(&mut c, &mut store, 2).unwrap();
    assert!(!store.failed);
    // The write that failed is on disk all the same, and not in force.
    store.failed = true;
    store.write(&[], c.desired(), 3).unwrap();
    let refused = apply(&mut c, &mut store, 3).unwrap_err().message;
    assert!(refused.contains("holds generation 3, and 2 is running: restart weir"), "{refused}");
    drop(store);
    assert_eq!(open(directory.path()).unwrap().1.generation, 3);
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let opened = || open(directory.path()).err().unwrap().to_string();
    std::fs::write(directory.path().join(FILE), b"not a database, but long enough to look at it".repeat(100)).unwrap();
    assert!(opened().contains("state.redb: cannot be opened"), "{}", opened());
    std::fs::remove_file(directory.path().join(FILE)).unwrap();
    let edit = |edit: &dyn Fn(&WriteTransaction)| {
        let (store, _) = open(directory.path()).unwrap();
        let write = store.begin().unwrap();
        edit(&write);
        write.commit().unwrap();
    };
    edit(&|w| drop(w.open_table(META).unwrap().insert("format", 4).unwrap()));
    assert!(opened().contains("format 4; this version of weir reads formats 1 to 3 only"), "{}", opened());
    std::fs::remove_file(directory.path().join(FILE)).unwrap();
    edit(&|w| drop(w.open_table(OBJECTS).unwrap().insert("bridge red", &b"{\"bridge\":{}}"[..]).unwrap()));
    assert!(opened().contains("object \"bridge red\" is not understood: missing field `name`"), "{}", opened());
    std::fs::remove_file(directory.path().join(FILE)).unwrap();
    let blue: &[u8] = br#"{"bridge":{"name":"blue"}}"#;
    edit(&|w| drop(w.open_table(OBJECTS).unwrap().insert("bridge red", blue).unwrap()));
    assert!(opened().contains("under \"bridge red\" stands bridge blue"), "{}", opened());
}

/// Numbers that look random, the same every time.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    *state >> 33
}

/// The n-th of some endpoints of two bridges, in one of many forms.
fn some_endpoint(n: u64, form: u64) -> Op {
    let (bridge, vlan) =
        (["red", "a-name-that-is-far-too-long-to-be-kept-in-place-with-the-others"][n as usize % 2], n % 2 + 1);
    let mine = |last: u64| format!("10.{}.{}.{last}", n >> 8, n & 255);
    let many = (0..64).map(|i| format!("2001:db8:{n:x}::{i:x}")).collect();
    let ips = [vec![], vec![mine(1)], vec![mine(2), format!("2001:db8:{n:x}::1:0")], many];
    let pairs = [vec![], vec![mine(9), "10.64.0.0/16=00:00:5e:00:01:33".to_owned()]];
    let [.., a, b] = (n / 2 * 977).to_be_bytes();
    serde_json::from_value(serde_json::json!({"put": {"endpoint": {
        "bridge": bridge,
        "mac": format!("02:00:00:00:{a:02x}:{b:02x}"),
        "location": if form & 8 == 0 { format!("vlan/lan0/{vlan}") } else { format!("vlan/lan0/100{vlan}") },
        "ips": ips[form as usize % 4],
        "allowed_pairs": pairs[usize::from(form % 16 == 5)],
    }}}))
    .unwrap()
}

/// Those two bridges, and where their endpoints are.
fn two_bridges() -> Vec<Op> {
    let bridges = ["red", "a-name-that-is-far-too-long-to-be-kept-in-place-with-the-others"];
    let of_bridge = |(n, name): (usize, &str)| {
        let vlan = n + 1;
        [
            serde_json::json!({"put": {"bridge": {"name": name}}}),
            serde_json::json!({"put": {"segment": {"id": format!("vlan/lan0/{vlan}"), "bridge": name}}}),
            serde_json::json!({"put": {"segment": {"id": format!("vlan/lan0/100{vlan}"), "bridge": name}}}),
        ]
    };
    let ops = bridges.into_iter().enumerate().flat_map(of_bridge);
    ops.map(|op| serde_json::from_value::<Op>(op).unwrap()).collect()
}

fn apply_ops(c: &mut Configuration, store: &mut Store, ops: Vec<Op>) {
    let apply = Apply { ops, ..Apply::default() };
    let failed = |e: StoreError| Error { code: code::INTERNAL, message: e.to_string(), data: None };
    c.apply(apply, |changes, state, generation| store.commit(changes, state, generation).map_err(failed)).unwrap();
}

#[test]
fn endpoints_come_and_go_among_many_and_the_file_always_has_what_is_there() {
    let (mut store, _) = with_backend(Path::new("memory"), Disk::new()).unwrap();
    let (mut c, mut seed) = (configuration(), 1);
    apply_ops(&mut c, &mut store, two_bridges());
    let (mut there, mut most) = (std::collections::BTreeSet::new(), 0);
    for batch in 0..60u64 {
        // Large and small batches; the later ones mostly delete, until nothing is left.
        let size = [1, 3, 40, 700][random(&mut seed) as usize % 4];
        let mut ops = std::collections::BTreeMap::new();
        for _ in 0..size {
            let n = random(&mut seed) % 3000;
            let keep = random(&mut seed) % 60 >= batch;
            if keep {
                ops.insert(n, some_endpoint(n, random(&mut seed)));
                there.insert(n);
            }
        }
        let gone: Vec<u64> = there.iter().copied().filter(|n| !ops.contains_key(n)).collect();
        for n in gone.into_iter().filter(|_| random(&mut seed) % 120 < batch || batch == 59) {
            let Op::Put(object) = some_endpoint(n, 0) else { unreachable!() };
            ops.insert(n, Op::Delete(object.key()));
            there.remove(&n);
        }
        apply_ops(&mut c, &mut store, ops.into_values().collect());
        let read = load(&store).unwrap();
        assert_eq!(Saved { objects: sorted(read.objects), ..read }, saved(&c), "batch {batch}");
        most = most.max(there.len());
    }
    assert!(most > 500 && there.is_empty(), "{most} at most, {} at last", there.len());
    let read = store.database().unwrap().begin_read().unwrap();
    assert_eq!(read.open_table(ENDPOINTS).unwrap().iter().unwrap().count(), 0, "rows of nothing");
}

#[test]
fn a_row_of_endpoints_that_is_damaged_anywhere_is_refused_by_name() {
    let (mut store, _) = with_backend(Path::new("memory"), Disk::new()).unwrap();
    let mut c = configuration();
    apply_ops(&mut c, &mut store, two_bridges());
    apply_ops(&mut c, &mut store, (0..10).map(|n| some_endpoint(n, n)).collect());
    let rows: Vec<(Vec<u8>, Vec<u8>)> = {
        let read = store.database().unwrap().begin_read().unwrap();
        let table = read.open_table(ENDPOINTS).unwrap();
        let rows = table.iter().unwrap().map(|row| row.unwrap());
        rows.map(|(key, value)| (key.value().to_vec(), value.value().to_vec())).collect()
    };
    assert!(rows.len() >= 2);
    for (key, value) in &rows {
        let mut read = Vec::new();
        endpoints::decode(key, value, &mut read).unwrap();
        assert!(!read.is_empty());
        for at in 0..value.len() {
            let mut damaged = value.clone();
            damaged[at] ^= 1 << (at % 8);
            assert!(endpoints::decode(key, &damaged, &mut Vec::new()).is_err(), "byte {at} of {}", value.len());
            assert!(endpoints::decode(key, &value[..at], &mut Vec::new()).is_err(), "cut at {at}");
        }
    }
    let write = store.begin().unwrap();
    write.open_table(ENDPOINTS).unwrap().insert(&b"blue/\0\0\0\0\0\0"[..], &[0; 8][..]).unwrap();
    write.open_table(ENDPOINTS).unwrap().insert(&b"blue"[..], &[1; 99][..]).unwrap();
    write.commit().unwrap();
    let why = load(&store).unwrap_err().to_string();
    assert!(why.contains("the endpoints blue are not understood: its key is too short"), "{why}");
    // A whole row that stands under another key.
    let mut moved = rows[0].0.clone();
    *moved.last_mut().unwrap() ^= 1;
    assert!(endpoints::decode(&moved, &rows[0].1, &mut Vec::new()).is_err());
}

#[test]
fn the_former_format_is_read_and_becomes_this_one_with_the_first_batch() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = open(directory.path()).unwrap();
    let mut c = configuration();
    for n in 1..=7 {
        apply(&mut c, &mut store, n).unwrap();
    }
    let write = store.begin().unwrap();
    write.delete_table(ENDPOINTS).unwrap();
    for object in saved(&c).objects.iter().filter(|o| o.kind() == weir_api::object::Kind::Endpoint) {
        let (key, json) = (object.key().to_string(), serde_json::to_vec(object).unwrap());
        write.open_table(OBJECTS).unwrap().insert(key.as_str(), json.as_slice()).unwrap();
    }
    write.open_table(META).unwrap().insert("format", FIRST).unwrap();
    write.commit().unwrap();
    drop(store);
    let (mut store, read) = open(directory.path()).unwrap();
    assert_eq!(Saved { objects: sorted(read.objects), ..read }, after(7));
    assert_eq!(store.meta().unwrap().0, Some(FIRST));
    apply(&mut c, &mut store, 8).unwrap();
    assert_eq!(store.meta().unwrap().0, Some(FORMAT));
    drop(store);
    let (_store, read) = open(directory.path()).unwrap();
    assert_eq!(Saved { objects: sorted(read.objects), ..read }, after(8));
}

/// A disk that is pulled at the k-th write, truncation or sync: of what was not synced by then, any part is lost.
#[derive(Clone, Debug)]
struct Disk(Arc<Mutex<Platter>>);

#[derive(Debug)]
struct Platter {
    bytes: Vec<u8>,
    /// As they were at the last sync.
    synced: Vec<u8>,
    /// What was done since.
    since: Vec<Step>,
    /// Operations until it is pulled.
    left: u64,
}

#[derive(Clone, Debug)]
enum Step {
    Write(u64, Vec<u8>),
    Length(u64),
}

fn perform(bytes: &mut Vec<u8>, step: &Step) {
    match step {
        Step::Write(offset, data) => {
            let (from, to) = (*offset as usize, *offset as usize + data.len());
            bytes.resize(bytes.len().max(to), 0);
            bytes[from..to].copy_from_slice(data);
        }
        Step::Length(len) => bytes.resize(*len as usize, 0),
    }
}

impl Disk {
    fn new() -> Self {
        let left = u64::MAX;
        Self(Arc::new(Mutex::new(Platter { bytes: Vec::new(), synced: Vec::new(), since: Vec::new(), left })))
    }

    fn platter(&self) -> std::sync::MutexGuard<'_, Platter> {
        self.0.lock().unwrap()
    }

    fn pull_after(&self, operations: u64) {
        self.platter().left = operations;
    }

    fn is_pulled(&self) -> bool {
        self.platter().left == 0
    }

    /// The same disk after power has come back: each operation since the last sync was done, or was not, or in half.
    fn again(&self, mut random: u64) -> Self {
        let old = self.platter();
        let mut bytes = old.synced.clone();
        for step in &old.since {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            match (step, random >> 62) {
                (Step::Write(offset, data), 0) => {
                    perform(&mut bytes, &Step::Write(*offset, data[..data.len() / 2].to_vec()));
                }
                (_, 1) => {}
                (step, _) => perform(&mut bytes, step),
            }
        }
        let platter = Platter { synced: bytes.clone(), bytes, since: Vec::new(), left: u64::MAX };
        Self(Arc::new(Mutex::new(platter)))
    }

    fn step(&self, step: Option<Step>) -> Result<(), BackendIoError> {
        let mut platter = self.platter();
        platter.left = platter.left.saturating_sub(1);
        // The last operation is under way when the power goes.
        if let Some(step) = &step {
            platter.since.push(step.clone());
        }
        if platter.left == 0 {
            return Err(BackendIoError::other("pulled"));
        }
        match step {
            Some(step) => perform(&mut platter.bytes, &step),
            None => {
                platter.synced = platter.bytes.clone();
                platter.since.clear();
            }
        }
        Ok(())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, BackendIoError> {
        Ok(self.platter().bytes.len() as u64)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), BackendIoError> {
        let platter = self.platter();
        let there = platter.bytes.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(there.ok_or_else(|| BackendIoError::other("behind the end"))?);
        Ok(())
    }
    fn set_len(&self, len: u64) -> Result<(), BackendIoError> {
        self.step(Some(Step::Length(len)))
    }
    fn sync_data(&self) -> Result<(), BackendIoError> {
        self.step(None)
    }
    fn write(&self, offset: u64, data: &[u8]) -> Result<(), BackendIoError> {
        self.step(Some(Step::Write(offset, data.to_vec())))
    }
}

#[test]
fn a_loss_of_power_at_any_write_loses_nothing_acknowledged() {
    let path = Path::new("memory");
    let expected: Vec<Saved> = (0..=9).map(after).collect();
    let mut failures = 0;
    for k in 1.. {
        let disk = Disk::new();
        let (mut store, _) = with_backend(path, disk.clone()).unwrap();
        let mut c = configuration();
        for n in 1..=6 {
            apply(&mut c, &mut store, n).unwrap();
        }
        disk.pull_after(k);
        let mut acknowledged = 6;
        for n in 7..=9 {
            if apply(&mut c, &mut store, n).is_err() {
                failures += 1;
                break;
            }
            acknowledged = n;
        }
        assert_eq!(saved(&c), expected[acknowledged as usize], "in memory, at write {k}");
        for lost in 0..8 {
            let opened = with_backend(path, disk.again(k << 8 | lost));
            let (_store, read) = opened.unwrap_or_else(|e| panic!("at write {k}.{lost}: {e}"));
            let read = Saved { objects: sorted(read.objects), ..read };
            let whole = [acknowledged, acknowledged + 1].map(|n| expected.get(n as usize) == Some(&read));
            assert!(whole.contains(&true), "on disk, at write {k}.{lost}: generation {}", read.generation);
        }
        if acknowledged == 9 && !disk.is_pulled() {
            break;
        }
        drop(store);
    }
    assert!(failures > 10, "only {failures} failures were tried");
}

const CHILD: &str = "WEIR_TEST_STORE";

/// Not a test of its own: the child that is killed. It applies for ever, and says what was acknowledged.
#[test]
fn child_that_applies() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let (mut store, read) = open(Path::new(&directory)).unwrap();
    let mut c = configuration();
    c.restore(read.objects, read.generation).unwrap();
    for n in c.generation() + 1.. {
        apply(&mut c, &mut store, n).unwrap();
        println!("acknowledged {n}");
    }
}

#[test]
fn sigkill_at_any_moment_loses_nothing_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let program = std::env::current_exe().unwrap();
    let deadline = Instant::now() + Duration::from_secs(4);
    let (mut last, mut kills) = (0, 0u64);
    while Instant::now() < deadline || kills < 5 {
        let mut child = Command::new(&program)
            .args(["--exact", "store::tests::child_that_applies", "--nocapture"])
            .env(CHILD, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let reader = std::thread::spawn(move || {
            let numbers = out.lines().map_while(Result::ok);
            numbers.filter_map(|line| line.rsplit_once("acknowledged ")?.1.parse::<u64>().ok()).max()
        });
        // Different moments, from before it has begun to well within.
        std::thread::sleep(Duration::from_millis(20 + kills * 37 % 250));
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        last = reader.join().unwrap().unwrap_or(last).max(last);
        let (_store, read) = open(directory.path()).unwrap();
        let read = Saved { objects: sorted(read.objects), ..read };
        assert!(read.generation == last || read.generation == last + 1, "{} after {last}", read.generation);
        assert_eq!(read, after(read.generation));
        last = read.generation;
    }
    assert!(last > 20, "only {last} batches in {kills} lives");
}
