//! Routes in their rows: what was acknowledged is there, whatever came and went around it.

use super::super::routes as codec;
use super::*;
use serde_json::json;
use weir_api::object::Kind;

fn ops(json: serde_json::Value) -> Vec<Op> {
    serde_json::from_value(json).unwrap()
}

const ROUTERS: [&str; 2] = ["r1", "a-router-whose-name-is-too-long-to-be-kept-in-place"];

/// Two routers, each with nets of both families.
fn two_routers() -> Vec<Op> {
    let router = ROUTERS[1];
    ops(json!([
        {"put": {"bridge": {"name": "red"}}},
        {"put": {"bridge": {"name": "blue"}}},
        {"put": {"router": {"name": "r1", "mss_clamp": true}}},
        {"put": {"router": {"name": router, "icmp_limit": 7}}},
        {"put": {"interface": {"router": "r1", "bridge": "red", "mac": "02:00:5e:00:00:01", "mtu": 1400, "ra": true,
            "addresses": ["192.0.2.1/24", "2001:db8:ffff::1/64"]}}},
        {"put": {"interface": {"router": router, "bridge": "blue", "mac": "02:00:5e:00:00:01", "external": true,
            "addresses": ["192.0.2.1/24", "2001:db8:ffff::1/64"], "gateways": ["192.0.2.9"]}}},
        {"put": {"dvr_mac": {"mac": "02:00:5e:01:00:01", "own": true}}},
        {"put": {"dvr_mac": {"mac": "02:00:5e:01:00:02"}}},
    ]))
}

/// The n-th of some routes of two routers, in one of several forms.
fn some_route(n: u64, form: u64) -> Op {
    let (router, m) = (ROUTERS[n as usize % 2], n / 2);
    let prefix = match m % 5 {
        0 => format!("10.{}.{}.0/24", m >> 8 & 255, m & 255),
        1 => format!("{}.0.0.0/{}", 11 + m % 60, 8 + m % 3),
        2 => format!("10.200.{}.{}/32", m >> 8 & 255, m & 255),
        3 => format!("2001:db8:{m:x}::/{}", 48 + m % 17),
        _ => format!("2001:db8:{m:x}::{m:x}/128"),
    };
    let hop = |last: u64| if m % 5 < 3 { format!("192.0.2.{last}") } else { format!("2001:db8:ffff::{last:x}") };
    let route = match form % 5 {
        0 => json!({"router": router, "prefix": prefix, "blackhole": true}),
        1 | 2 => json!({"router": router, "prefix": prefix, "via": [hop(2)]}),
        3 => json!({"router": router, "prefix": prefix, "via": [hop(3), hop(2)]}),
        _ => json!({"router": router, "prefix": prefix, "via": (2..10).map(hop).collect::<Vec<_>>()}),
    };
    serde_json::from_value(json!({"put": {"route": route}})).unwrap()
}

#[test]
fn routes_come_and_go_among_many_and_the_file_always_has_what_is_there() {
    let (mut store, _) = with_backend(Path::new("memory"), Disk::new()).unwrap();
    let (mut c, mut seed) = (configuration(), 1);
    apply_ops(&mut c, &mut store, two_routers());
    let (mut there, mut most) = (std::collections::BTreeMap::new(), 0);
    for batch in 0..60u64 {
        let mut ops = std::collections::BTreeMap::new();
        for _ in 0..[1, 3, 40, 700][random(&mut seed) as usize % 4] {
            let op = some_route(random(&mut seed) % 3000, random(&mut seed));
            let Op::Put(object) = &op else { unreachable!() };
            if random(&mut seed) % 60 >= batch {
                there.insert(object.key(), ());
                ops.insert(object.key(), op);
            }
        }
        let gone: Vec<_> = there.keys().filter(|key| !ops.contains_key(key)).cloned().collect();
        for key in gone.into_iter().filter(|_| random(&mut seed) % 120 < batch || batch == 59) {
            there.remove(&key);
            ops.insert(key.clone(), Op::Delete(key));
        }
        apply_ops(&mut c, &mut store, ops.into_values().collect());
        let read = load(&store).unwrap();
        assert_eq!(Saved { objects: sorted(read.objects), ..read }, saved(&c), "batch {batch}");
        most = most.max(there.len());
    }
    assert!(most > 500 && there.is_empty(), "{most} at most, {} at last", there.len());
    let read = store.database().unwrap().begin_read().unwrap();
    assert_eq!(read.open_table(ROUTES).unwrap().iter().unwrap().count(), 0, "rows of nothing");
}

#[test]
fn a_row_of_routes_is_small_and_one_that_is_damaged_anywhere_is_refused() {
    let (mut store, _) = with_backend(Path::new("memory"), Disk::new()).unwrap();
    let mut c = configuration();
    apply_ops(&mut c, &mut store, two_routers());
    let nets = (0..4096).map(|n| format!("10.{}.{}.0/24", n >> 8, n & 255));
    let route = |prefix| json!({"put": {"route": {"router": "r1", "prefix": prefix, "via": ["192.0.2.2"]}}});
    apply_ops(&mut c, &mut store, ops(nets.map(route).collect()));
    let rows = |store: &Store| {
        let read = store.database().unwrap().begin_read().unwrap();
        let table = read.open_table(ROUTES).unwrap();
        let rows = table.iter().unwrap().map(|row| row.unwrap());
        rows.map(|(key, value)| (key.value().to_vec(), value.value().to_vec())).collect::<Vec<_>>()
    };
    let before = rows(&store);
    assert!((32..128).contains(&before.len()), "{} rows", before.len());
    let bytes: usize = before.iter().map(|(key, value)| key.len() + value.len()).sum();
    assert!(bytes < 4096 * 8, "{bytes} bytes");
    apply_ops(
        &mut c,
        &mut store,
        (0..40)
            .map(|n| some_route(2 * n, n))
            .filter(|op| {
                let Op::Put(object) = op else { return false };
                !object.id().starts_with("r1/10.0.")
            })
            .collect(),
    );
    let after = rows(&store);
    for (key, value) in after.iter().filter(|row| !before.contains(row)) {
        let mut read = Vec::new();
        codec::decode(key, value, &mut read).unwrap();
        assert!(!read.is_empty() && read.iter().all(|object| object.kind() == Kind::Route));
        for at in 0..value.len() {
            let mut damaged = value.clone();
            damaged[at] ^= 1 << (at % 8);
            assert!(codec::decode(key, &damaged, &mut Vec::new()).is_err(), "byte {at} of {}", value.len());
            assert!(codec::decode(key, &value[..at], &mut Vec::new()).is_err(), "cut at {at}");
        }
        for at in key.len() - 18..key.len() {
            let mut moved = key.clone();
            moved[at] ^= 1 << (at % 8);
            assert!(codec::decode(&moved, value, &mut Vec::new()).is_err(), "under {}", moved.escape_ascii());
        }
    }
    let write = store.begin().unwrap();
    write.open_table(ROUTES).unwrap().insert(&b"r1"[..], &[1; 99][..]).unwrap();
    write.commit().unwrap();
    let why = load(&store).unwrap_err().to_string();
    assert!(why.contains("the routes r1 are not understood: its key is too short"), "{why}");
}

#[test]
fn the_format_without_routes_is_read_and_becomes_this_one_with_the_first_batch() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = open(directory.path()).unwrap();
    let mut c = configuration();
    for n in 1..=7 {
        apply(&mut c, &mut store, n).unwrap();
    }
    let write = store.begin().unwrap();
    write.delete_table(ROUTES).unwrap();
    write.open_table(META).unwrap().insert("format", WITH_ENDPOINTS).unwrap();
    write.commit().unwrap();
    drop(store);
    let (mut store, read) = open(directory.path()).unwrap();
    assert_eq!(Saved { objects: sorted(read.objects), ..read }, after(7));
    apply_ops(&mut c, &mut store, two_routers());
    apply_ops(&mut c, &mut store, vec![some_route(0, 1), some_route(3, 0)]);
    assert_eq!(store.meta().unwrap().0, Some(FORMAT));
    drop(store);
    let (_store, read) = open(directory.path()).unwrap();
    assert_eq!(Saved { objects: sorted(read.objects), ..read }, saved(&c));
}
