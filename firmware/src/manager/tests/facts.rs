//! What is listed of hosts: bindings configured and learned, flood lists, and the filters of both and of MACs.

use super::super::facts::merged;
use super::*;
use crate::worker::link::BindingEntry;
use weir_api::view::{BindingRow, Source};
use weir_pipelines::tables::BridgeId;

/// `red` with addresses, a mesh, two tags, and flooding to endpoints.
fn hosts() -> Manager {
    let mut m = manager();
    let mut batch = red().as_array().unwrap().clone();
    batch.extend(
        json!([
            {"put": {"segment": {"id": "qinq/lan0/200/1", "bridge": "red"}}},
            {"put": {"segment": {"id": "nvgre/5000", "bridge": "red", "vtep": "up", "mesh": "east"}}},
            {"put": {"peer": {"segment": "nvgre/5000", "address": "192.0.2.4"}}},
            {"put": {"peer": {"segment": "nvgre/5000", "address": "192.0.2.5", "mesh": "west"}}},
        ])
        .as_array()
        .unwrap()
        .clone(),
    );
    batch[0]["put"]["bridge"]["flood_list"] = json!("endpoints");
    batch[5]["put"]["endpoint"]["ips"] = json!(["10.0.0.1", "2001:db8::1"]);
    batch[6]["put"]["endpoint"]["ips"] = json!(["10.0.0.2"]);
    m.answer(Call::Apply(Apply { ops: ops(json!(batch)), ..Apply::default() })).unwrap();
    m
}

fn rows(m: &mut Manager, json: Value) -> Value {
    json!(list(m, json).unwrap().rows)
}

#[test]
fn a_flood_list_says_where_and_why() {
    let mut m = hosts();
    let all = json!([
        {"bridge": "red", "segment": "vlan/lan0/100", "origin": "vlan"},
        {"bridge": "red", "segment": "qinq/lan0/200/1", "origin": "vlan"},
        {"bridge": "red", "segment": "vxlan/7", "peer": "192.0.2.2", "origin": "peer"},
        {"bridge": "red", "segment": "vxlan/7", "peer": "192.0.2.3", "origin": "endpoint"},
        {"bridge": "red", "segment": "nvgre/5000", "peer": "192.0.2.4", "mesh": "east", "origin": "peer"},
        {"bridge": "red", "segment": "nvgre/5000", "peer": "192.0.2.5", "mesh": "west", "origin": "peer"},
    ]);
    assert_eq!(rows(&mut m, json!({"of": "flood"})), all);
    assert_eq!(rows(&mut m, json!({"of": "flood", "source": "configured", "bridge": "red"})), all);
    assert_eq!(rows(&mut m, json!({"of": "flood", "source": "learned"})), json!([]));
    assert_eq!(rows(&mut m, json!({"of": "flood", "address": "192.0.2.5"})), json!([all[5]]));
    // What the packet path has is the same.
    let told = spread::told(&m.configuration);
    assert_eq!(told.len(), 4, "{told:?}");
}

#[test]
fn bindings_are_of_endpoints() {
    let mut m = hosts();
    let row = |address: &str, mac: u8| {
        json!({"bridge": "red", "address": address, "mac": format!("02:00:00:00:00:0{mac}"), "source": "configured",
            "sequence": 0})
    };
    let all = json!([row("10.0.0.1", 1), row("10.0.0.2", 2), row("2001:db8::1", 1)]);
    for (filter, expected) in [
        (json!({}), all.clone()),
        (json!({"source": "configured"}), all.clone()),
        (json!({"source": "learned"}), json!([])),
        (json!({"address": "2001:db8::1"}), json!([all[2]])),
        (json!({"address": "02:00:00:00:00:01"}), json!([all[0], all[2]])),
        (json!({"address": "10.0.0.9"}), json!([])),
    ] {
        let mut list = json!({"of": "binding"});
        list.as_object_mut().unwrap().extend(filter.as_object().unwrap().clone());
        assert_eq!(rows(&mut m, list), expected, "{filter}");
    }
    let macs = |m: &mut Manager, filter: Value| rows(m, filter).as_array().unwrap().len();
    assert_eq!(macs(&mut m, json!({"of": "mac", "address": "02:00:00:00:00:01"})), 1);
    assert_eq!(macs(&mut m, json!({"of": "mac", "source": "learned"})), 0);
    assert_eq!(macs(&mut m, json!({"of": "mac", "source": "configured"})), 2);
}

#[test]
fn filters_fit_what_is_listed() {
    let mut m = hosts();
    let mut wrong = |list_of: Value, path: &str, message: &str| {
        let error = list(&mut m, list_of).unwrap_err();
        assert_eq!((error.code, error.data.unwrap().path.as_str()), (code::INVALID_PARAMS, path));
        assert!(error.message.contains(message), "{}", error.message);
    };
    wrong(json!({"of": "mac", "address": "10.0.0.1"}), "address", "expected a MAC address, found 10.0.0.1");
    wrong(json!({"of": "binding", "address": "x"}), "address", "expected an IP address or a MAC address");
    wrong(json!({"of": "flood", "address": "02:00:00:00:00:01"}), "address", "a peer's IP address");
    wrong(json!({"of": "peer", "address": "192.0.2.2"}), "address", "only mac, binding and flood");
    wrong(json!({"of": "neighbour", "source": "learned"}), "source", "only mac, binding and flood");
    wrong(json!({"of": "binding", "after": "red/x"}), "after", "invalid IP address");
    wrong(json!({"of": "flood", "after": "red/vxlan/7"}), "after", "BRIDGE/SEGMENT");
}

/// A page asked for with other filters than the one before is of a list of its own.
#[test]
fn a_kept_list_is_for_the_same_question() {
    let mut m = hosts();
    let first = list(&mut m, json!({"of": "binding", "limit": 1})).unwrap();
    assert_eq!(first.next.as_deref(), Some("red/10.0.0.1"));
    let next = list(&mut m, json!({"of": "mac", "after": "red/02:00:00:00:00:01"})).unwrap();
    assert_eq!(next.rows.len(), 1);
    let filtered = json!({"of": "binding", "after": "red/10.0.0.1", "address": "02:00:00:00:00:01"});
    assert_eq!(list(&mut m, filtered).unwrap().rows[0]["address"], "2001:db8::1");
}

#[test]
fn learned_bindings_and_configured_ones_are_one_list() {
    let m = hosts();
    let entry = |last: u8, mac: u8, sequence: u32, age: u16| BindingEntry {
        bridge: BridgeId(0),
        address: [10, 0, 0, last].into(),
        mac: MacAddr([2, 0, 0, 0, 0, mac]),
        sequence,
        age,
        manners: weir_pipelines::tables::Manners::default(),
    };
    let rows = |learned: &[Vec<BindingEntry>]| -> Vec<(String, u8, Source, Option<u64>, u32)> {
        let rows = merged(&m.configuration, Some(&"red".parse().unwrap()), learned);
        let row = |r: BindingRow| (r.address.to_string(), r.mac.octets()[5], r.source, r.age_seconds, r.sequence);
        rows.into_iter().filter(|r| r.address.is_ipv4()).map(row).collect()
    };
    let (configured, learned) = (Source::Configured, Source::Learned);
    // The owner's own word changes nothing but the number of moves; another's goes before.
    assert_eq!(
        rows(&[vec![entry(1, 1, 2, 5), entry(2, 9, 1, 7), entry(3, 9, 0, 8)]]),
        [
            ("10.0.0.1".to_owned(), 1, configured, None, 2),
            ("10.0.0.2".to_owned(), 9, learned, Some(7), 1),
            ("10.0.0.3".to_owned(), 9, learned, Some(8), 0),
        ]
    );
    // Of several workers, who knows of more moves is right, though numbers wrap; of equal ones, who heard of it last.
    for (one, other, mac, age) in [
        (entry(3, 8, 1, 5), entry(3, 9, 2, 90), 9, 90),
        (entry(3, 9, u32::MAX, 5), entry(3, 8, 0, 90), 8, 90),
        (entry(3, 9, 2, 50), entry(3, 9, 2, 4), 9, 4),
        (entry(3, 8, 2, 5), entry(3, 9, 2, 90), 9, 90),
    ] {
        for workers in [[vec![one], vec![other]], [vec![other], vec![one]]] {
            let row = rows(&workers).remove(2);
            assert_eq!((row.1, row.3), (mac, Some(age)));
        }
    }
    // Of a bridge that is gone, or is another.
    assert_eq!(rows(&[vec![BindingEntry { bridge: BridgeId(7), ..entry(3, 9, 1, 1) }]]).len(), 2);
}
