//! The manager without devices: what it accepts, what it refuses, and how it says so.

use super::configuration::Configuration;
use super::desired::Desired;
use super::*;
use crate::config::Tables;
use serde_json::{Value, json};
use weir_api::message::Op;
use weir_api::object::{Kind, Object};
use weir_pipelines::tables::{PortInfo, Secret, Snapshot};
use weir_pipelines::wire::MacAddr;

mod claims;
mod facts;
mod outcome;
mod routing;
mod routing_rules;
mod rules;
mod spread;
mod trace;
mod watch;

use outcome::meaning;

fn empty(ports: usize) -> Snapshot {
    let infos: Vec<_> = (0..ports).map(|n| PortInfo { mac: MacAddr([2, 0, 0, 0, 1, n as u8]), mtu: 1500 }).collect();
    Snapshot::new(Secret::new([1, 2]), &infos)
}

fn configuration(limits: Tables) -> Configuration {
    let ports = ["lan0", "up0"].map(|n| n.parse().unwrap());
    Configuration::new(ports.to_vec(), limits, empty(2))
}

fn manager() -> Manager {
    let limits = Tables::default();
    Manager::new(configuration(limits.clone()), limits, None, Crew::default(), Vec::new(), None)
}

fn ops(json: Value) -> Vec<Op> {
    serde_json::from_value(json).unwrap()
}

fn apply(c: &mut Configuration, json: Value) -> Result<Applied, Error> {
    c.apply(Apply { ops: ops(json), ..Apply::default() }, |_, _, _| Ok(()))
}

/// A bridge with a VLAN, a VXLAN segment, a peer, and a host on each side.
fn red() -> Value {
    json!([
        {"put": {"bridge": {"name": "red"}}},
        {"put": {"vtep": {"name": "up", "port": "up0", "address": "192.0.2.1/24", "gateway": "192.0.2.254"}}},
        {"put": {"segment": {"id": "vlan/lan0/100", "bridge": "red"}}},
        {"put": {"segment": {"id": "vxlan/7", "bridge": "red", "vtep": "up"}}},
        {"put": {"peer": {"segment": "vxlan/7", "address": "192.0.2.2"}}},
        {"put": {"endpoint": {"bridge": "red", "mac": "02:00:00:00:00:01", "location": "vlan/lan0/100"}}},
        {"put": {"endpoint": {"bridge": "red", "mac": "02:00:00:00:00:02", "location": "vxlan/7/192.0.2.3"}}},
    ])
}

fn with_red() -> Configuration {
    let mut c = configuration(Tables::default());
    apply(&mut c, red()).unwrap();
    c
}

fn list(m: &mut Manager, json: Value) -> Result<Page, Error> {
    match m.answer(Call::List(serde_json::from_value(json).unwrap()))? {
        Answer::Page(page) => Ok(page),
        other => panic!("{other:?}"),
    }
}

fn whole(c: &Configuration) -> Vec<Object> {
    c.desired().keys().map(|key| c.desired().get(&key).unwrap()).collect()
}

/// Applies to `red`, expects a refusal at a path with a value, and that nothing changed.
#[track_caller]
fn refused(json: Value, code: i32, path: &str, value: &str, message: &str) {
    let mut c = with_red();
    let before = (c.desired().clone(), c.generation(), meaning(&c));
    let error = apply(&mut c, json).unwrap_err();
    let data = error.data.clone().unwrap();
    assert_eq!((error.code, data.path.as_str(), data.value.as_str()), (code, path, value), "{error:?}");
    assert!(error.message.contains(message), "{error:?}");
    assert!(before == (c.desired().clone(), c.generation(), meaning(&c)), "something changed");
}

const INVALID: i32 = code::INVALID_STATE;

#[test]
fn references_must_exist() {
    let put = |object: Value| json!([{"put": object}]);
    let segment = put(json!({"segment": {"id": "vlan/lan0/200", "bridge": "blue"}}));
    refused(segment, INVALID, "ops[0].put.segment.bridge", "blue", "no bridge blue");
    let segment = put(json!({"segment": {"id": "vxlan/8", "bridge": "red", "vtep": "down"}}));
    refused(segment, INVALID, "ops[0].put.segment.vtep", "down", "no vtep down");
    let segment = put(json!({"segment": {"id": "vlan/lan9/200", "bridge": "red"}}));
    refused(segment, INVALID, "ops[0].put.segment.id", "lan9", "only lan0, up0");
    let peer = put(json!({"peer": {"segment": "vxlan/8", "address": "192.0.2.9"}}));
    refused(peer, INVALID, "ops[0].put.peer.segment", "vxlan/8", "no segment vxlan/8");
    let vtep = put(json!({"vtep": {"name": "b", "port": "up9", "address": "192.0.2.5/24"}}));
    refused(vtep, INVALID, "ops[0].put.vtep.port", "up9", "only lan0, up0");
    let host = put(json!({"endpoint": {"bridge": "blue", "mac": "02:00:00:00:00:09", "location": "vlan/lan0/100"}}));
    refused(host, INVALID, "ops[0].put.endpoint.bridge", "blue", "no bridge blue");
    let host = put(json!({"endpoint": {"bridge": "red", "mac": "02:00:00:00:00:09", "location": "vlan/lan0/101"}}));
    refused(host, INVALID, "ops[0].put.endpoint.location", "vlan/lan0/101", "no segment vlan/lan0/101");
}

#[test]
fn an_endpoint_is_on_a_segment_of_its_bridge() {
    let host = json!([
        {"put": {"bridge": {"name": "blue"}}},
        {"put": {"endpoint": {"bridge": "blue", "mac": "02:00:00:00:00:09", "location": "vlan/lan0/100"}}},
    ]);
    refused(host, INVALID, "ops[1].put.endpoint.location", "vlan/lan0/100", "belongs to bridge red");
    let moved = json!([
        {"put": {"bridge": {"name": "blue"}}},
        {"put": {"segment": {"id": "vlan/lan0/100", "bridge": "blue"}}},
    ]);
    let stranded = "endpoint red/02:00:00:00:00:01 is on this segment";
    refused(moved, INVALID, "ops[1].put.segment.bridge", "blue", stranded);
}

#[test]
fn a_segment_fits_its_kind() {
    let put = |object: Value| json!([{"put": {"segment": object}}]);
    let vtep = put(json!({"id": "vlan/lan0/200", "bridge": "red", "vtep": "up"}));
    refused(vtep, INVALID, "ops[0].put.segment.vtep", "up", "VLAN or QinQ segment has no vtep");
    let none = put(json!({"id": "vxlan/8", "bridge": "red"}));
    refused(none, INVALID, "ops[0].put.segment.vtep", "nothing", "needs a vtep");
    let tags = put(json!({"id": "vlan/lan0/200", "bridge": "red", "carry_tags": true}));
    refused(tags, INVALID, "ops[0].put.segment.carry_tags", "true", "tunnel");
    let untagged = put(json!({"id": "vlan/up0/untagged", "bridge": "red"}));
    refused(untagged, INVALID, "ops[0].put.segment.id", "vlan/up0/untagged", "belongs to vtep up");
    let peer = json!([{"put": {"peer": {"segment": "vlan/lan0/100", "address": "192.0.2.9"}}}]);
    refused(peer, INVALID, "ops[0].put.peer.segment", "vlan/lan0/100", "only a tunnel");
}

#[test]
fn a_vtep_has_an_address_of_its_own() {
    let put = |field: Value| {
        let mut vtep = json!({"name": "b", "port": "lan0", "address": "198.51.100.1/24"});
        vtep.as_object_mut().unwrap().extend(field.as_object().unwrap().clone());
        json!([{"put": {"vtep": vtep}}])
    };
    let path = |field: &str| format!("ops[0].put.vtep.{field}");
    for (address, message) in [
        ("192.0.2.1/24", "vtep up has the address"),
        ("192.0.2.2/24", "remote peer"),
        ("192.0.2.3/24", "remote peer"),
        ("198.51.100.0/24", "whole net"),
        ("198.51.100.255/24", "whole net"),
        ("0.0.0.0/8", "single host"),
        ("127.0.0.1/8", "single host"),
        ("224.0.0.1/24", "single host"),
        ("198.51.100.1/0", "from 1 to 32"),
        ("2001:db8::/64", "whole net"),
        ("2001:db8::1/0", "from 1 to 128"),
        ("fe80::1/64", "link-local"),
        ("ff02::1/64", "single host"),
        ("::/64", "single host"),
        ("::1/64", "single host"),
        ("::ffff:192.0.2.9/120", "write 192.0.2.9"),
    ] {
        let of_the_address = ["single host", "link-local", "write"].iter().any(|part| message.contains(part));
        let value = if of_the_address { address.split('/').next().unwrap() } else { address };
        refused(put(json!({"address": address})), INVALID, &path("address"), value, message);
    }
    for (gateway, message) in [
        ("192.0.2.7", "does not lie in"),
        ("2001:db8::2", "same family"),
        ("198.51.100.1", "own address"),
        ("198.51.100.255", "whole net"),
        ("198.51.100.2", "already"),
    ] {
        let gateways = put(json!({"gateways": ["198.51.100.2", gateway]}));
        refused(gateways, INVALID, &path("gateways[1]"), gateway, message);
    }
    refused(put(json!({"gateway": "192.0.2.7"})), INVALID, &path("gateways[0]"), "192.0.2.7", "does not lie in");
    let nine: Vec<_> = (2..11).map(|n| format!("198.51.100.{n}")).collect();
    refused(put(json!({"gateways": nine})), INVALID, &path("gateways[8]"), "198.51.100.10", "at most 8");
    let v6 = json!({"address": "2001:db8::1/64", "gateway": "fe80::7"});
    refused(put(v6), INVALID, &path("gateways[0]"), "fe80::7", "does not lie in");
    let neighbour = put(json!({"neighbours": {"192.0.2.7": "02:00:00:00:00:07"}}));
    refused(neighbour, INVALID, &path("neighbours.192.0.2.7"), "192.0.2.7", "does not lie in");
    let taken = json!([
        {"put": {"segment": {"id": "vlan/lan0/untagged", "bridge": "red"}}},
        {"put": {"vtep": {"name": "b", "port": "lan0", "address": "198.51.100.1/24"}}},
    ]);
    let mut c = with_red();
    assert!(apply(&mut c, taken).unwrap_err().message.contains("untagged traffic of port lan0"));
    let mut c = configuration(Tables::default());
    apply(&mut c, put(json!({"address": "198.51.100.0/31"}))).unwrap();
    apply(&mut c, put(json!({"address": "198.51.100.0/32"}))).unwrap();
    apply(&mut c, put(json!({"address": "2001:db8::/127", "gateway": "2001:db8::1"}))).unwrap();
    apply(&mut c, put(json!({"address": "2001:db8::ffff/64"}))).unwrap();
    apply(&mut c, put(json!({"gateways": &nine[..8]}))).unwrap();
}

#[test]
fn a_peer_is_somebody_else() {
    let own = json!([{"put": {"peer": {"segment": "vxlan/7", "address": "192.0.2.1"}}}]);
    refused(own, INVALID, "ops[0].put.peer.address", "192.0.2.1", "own");
    let own = json!([{"put": {"endpoint":
        {"bridge": "red", "mac": "02:00:00:00:00:09", "location": "vxlan/7/192.0.2.1"}}}]);
    refused(own, INVALID, "ops[0].put.endpoint.location", "192.0.2.1", "own");
    let v6 = json!([{"put": {"peer": {"segment": "vxlan/7", "address": "2001:db8::2"}}}]);
    refused(v6, INVALID, "ops[0].put.peer.address", "2001:db8::2", "not of the same family as vtep up");
    let near = json!([{"put": {"endpoint":
        {"bridge": "red", "mac": "02:00:00:00:00:09", "location": "vxlan/7/fe80::2"}}}]);
    refused(near, INVALID, "ops[0].put.endpoint.location", "fe80::2", "link-local");
    let group = json!([{"put": {"peer": {"segment": "vxlan/7", "address": "239.0.0.1"}}}]);
    refused(group, INVALID, "ops[0].put.peer.address", "239.0.0.1", "single host");
}

#[test]
fn what_is_needed_is_not_deleted() {
    let delete = |kind: &str, id: &str| json!([{"delete": {"kind": kind, "id": id}}]);
    let path = "ops[0].delete.id";
    refused(delete("bridge", "red"), INVALID, path, "red", "needed by segment vlan/lan0/100");
    refused(delete("vtep", "up"), INVALID, path, "up", "needed by segment vxlan/7");
    refused(delete("segment", "vxlan/7"), INVALID, path, "vxlan/7", "needed by peer vxlan/7/192.0.2.2");
    let host = "needed by endpoint red/02:00:00:00:00:01";
    refused(delete("segment", "vlan/lan0/100"), INVALID, path, "vlan/lan0/100", host);
    refused(delete("bridge", "blue"), code::NOT_FOUND, path, "blue", "there is no bridge blue");
    refused(delete("endpoint", "red"), code::INVALID_PARAMS, path, "red", "BRIDGE/MAC");
}

#[test]
fn a_batch_names_an_object_once_and_is_numbered() {
    let twice = json!([{"put": {"bridge": {"name": "blue"}}}, {"put": {"bridge": {"name": "blue", "mac_limit": 1}}}]);
    refused(twice, code::INVALID_PARAMS, "ops[1].put", "blue", "twice");
    let mut many: Vec<Value> = (0..100).map(|n| json!({"put": {"bridge": {"name": format!("b{n}")}}})).collect();
    many[70] = json!({"put": {"bridge": {"name": "b70", "mac_ageing": 5}}});
    refused(json!(many), INVALID, "ops[70].put.bridge.mac_ageing", "5", "10 to 36000");
    many[70] = json!({"put": {"bridge": {"name": "b70", "binding_ageing": 36001}}});
    refused(json!(many), INVALID, "ops[70].put.bridge.binding_ageing", "36001", "10 to 36000");
}

#[test]
fn order_within_a_batch_does_not_matter() {
    let mut c = configuration(Tables::default());
    let mut backwards = red();
    backwards.as_array_mut().unwrap().reverse();
    apply(&mut c, backwards).unwrap();
    assert_eq!(whole(&c), whole(&with_red()));
    let deletes = whole(&c).iter().map(|o| json!({"delete": o.key()})).collect::<Vec<_>>();
    let applied = apply(&mut c, json!(deletes)).unwrap();
    assert_eq!((applied.deleted.len(), whole(&c).len()), (7, 0));
    assert_eq!(*c.desired(), Desired::default());
}

#[test]
fn capacities_hold() {
    let limits = Tables { bridges: 1, vteps: 1, segments: 2, endpoints: 2, peers: 2, ..Tables::default() };
    let mut c = configuration(limits);
    apply(&mut c, red()).unwrap();
    for (object, key) in [
        (json!({"bridge": {"name": "blue"}}), "tables.bridges"),
        (json!({"vtep": {"name": "b", "port": "up0", "address": "192.0.2.9/24"}}), "tables.vteps"),
        (json!({"segment": {"id": "vlan/lan0/101", "bridge": "red"}}), "tables.segments"),
        (
            json!({"endpoint": {"bridge": "red", "mac": "02:00:00:00:00:03", "location": "vlan/lan0/100"}}),
            "tables.endpoints",
        ),
        (json!({"peer": {"segment": "vxlan/7", "address": "192.0.2.4"}}), "tables.peers"),
    ] {
        let error = apply(&mut c, json!([{"put": object}])).unwrap_err();
        assert!(error.code == INVALID && error.message.contains(key), "{error:?}");
        assert_eq!(c.generation(), 1);
    }
    // Within one batch, what goes makes room for what comes.
    let swap = json!([
        {"delete": {"kind": "peer", "id": "vxlan/7/192.0.2.2"}},
        {"put": {"peer": {"segment": "vxlan/7", "address": "192.0.2.4"}}},
    ]);
    apply(&mut c, swap).unwrap();
}

#[test]
fn nothing_changes_without_a_change() {
    let mut c = with_red();
    let applied = apply(&mut c, red()).unwrap();
    assert_eq!(applied, Applied { generation: 1, ..Applied::default() });
    let changed = json!([{"put": {"bridge": {"name": "red", "mac_limit": 9}}}]);
    let mut dry = Apply { ops: ops(changed.clone()), dry_run: true, ..Apply::default() };
    let applied = c.apply(dry.clone(), |_, _, _| panic!("a dry run is not persisted")).unwrap();
    assert_eq!((applied.generation, applied.changed.len(), c.generation()), (1, 1, 1));
    assert_eq!(whole(&c), whole(&with_red()));
    dry.dry_run = false;
    assert_eq!(c.apply(dry, |_, _, _| Ok(())).unwrap().generation, 2);
    let failing =
        Apply { ops: ops(json!([{"delete": {"kind": "peer", "id": "vxlan/7/192.0.2.2"}}])), ..Apply::default() };
    let full = || Error { code: code::INTERNAL, message: "disk full".into(), data: None };
    let before = (whole(&c), meaning(&c));
    assert_eq!(c.apply(failing, |_, _, _| Err(full())).unwrap_err(), full());
    assert_eq!((whole(&c), meaning(&c)), before);
}

#[test]
fn the_expected_generation_must_be_running() {
    let mut c = with_red();
    let apply = |n| Apply {
        expect_generation: Some(n),
        ops: ops(json!([{"put": {"bridge": {"name": "b"}}}])),
        ..Apply::default()
    };
    let error = c.apply(apply(7), |_, _, _| Ok(())).unwrap_err();
    assert_eq!((error.code, error.data.unwrap().value), (code::WRONG_GENERATION, "7".to_owned()));
    assert_eq!(c.apply(apply(1), |_, _, _| Ok(())).unwrap().generation, 2);
}

#[test]
fn a_replace_deletes_what_is_not_put() {
    let mut c = with_red();
    let replace = |json| Apply { ops: ops(json), replace: true, ..Apply::default() };
    let half = replace(
        json!([{"put": {"bridge": {"name": "red"}}}, {"put": {"segment": {"id": "vlan/lan0/9", "bridge": "blue"}}}]),
    );
    assert_eq!(c.apply(half, |_, _, _| Ok(())).unwrap_err().data.unwrap().path, "ops[1].put.segment.bridge");
    assert_eq!(whole(&c), whole(&with_red()));
    let deletes = replace(json!([{"delete": {"kind": "bridge", "id": "red"}}]));
    assert_eq!(c.apply(deletes, |_, _, _| Ok(())).unwrap_err().code, code::INVALID_PARAMS);
    let new =
        json!([{"put": {"bridge": {"name": "red"}}}, {"put": {"segment": {"id": "vlan/lan0/9", "bridge": "red"}}}]);
    let applied = c.apply(replace(new), |_, _, _| Ok(())).unwrap();
    assert_eq!((applied.added.len(), applied.changed.len(), applied.deleted.len()), (1, 0, 6));
    assert_eq!(whole(&c).len(), 2);
}

#[test]
fn a_peer_without_a_route_is_accepted_with_a_warning() {
    let mut c = with_red();
    let gateway = json!([{"put": {"vtep": {"name": "up", "port": "up0", "address": "192.0.2.1/24"}}}]);
    apply(&mut c, gateway).unwrap();
    let far = json!([
        {"put": {"peer": {"segment": "vxlan/7", "address": "198.51.100.7"}}},
        {"put": {"endpoint": {"bridge": "red", "mac": "02:00:00:00:00:03", "location": "vxlan/7/198.51.100.8"}}},
        {"put": {"peer": {"segment": "vxlan/7", "address": "192.0.2.7"}}},
    ]);
    let warnings = apply(&mut c, far).unwrap().warnings;
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert_eq!(
        warning,
        "peer vxlan/7/198.51.100.7 is outside the net of vtep up, 192.0.2.1/24, which has no gateway \
         (and 1 more like it): frames to it are dropped as no_route"
    );
}
