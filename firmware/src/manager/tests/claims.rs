//! Who may hold which address: what the packet path is told of endpoints' addresses and allowed pairs.

use super::*;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use weir_api::id::Name;
use weir_pipelines::tables::{BridgeId, Location, PeerIx};

/// The addresses and MACs that these tests use.
fn addresses() -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> = (0..6).map(|n| IpAddr::from([10, 0, 0, n])).collect();
    all.extend(["2001:db8::1", "2001:db8::2"].map(|a| a.parse::<IpAddr>().unwrap()));
    all
}

fn macs() -> Vec<MacAddr> {
    (0..4).map(|n| MacAddr([2, 0, 0, 0, 0, n])).chain([MacAddr([0, 0, 0x5e, 0, 1, 7])]).collect()
}

fn in_words(mac: MacAddr) -> String {
    weir_api::id::Mac::try_from(mac.0).unwrap().to_string()
}

/// Owners, guards and who has addresses, as the snapshot tells them.
pub(super) fn told(c: &Configuration) -> BTreeSet<String> {
    let (s, ids) = (c.snapshot(), c.translator().segment_ids());
    let peer = |ix: PeerIx| s.peer(ix).unwrap().address;
    let place =
        |at: &Location| at.peer.map_or(ids[&at.segment].to_string(), |ix| format!("{}/{}", ids[&at.segment], peer(ix)));
    let mut lines = BTreeSet::new();
    for (id, name) in c.translator().bridge_names() {
        for address in addresses() {
            if let Some(owner) = s.owner(id, address) {
                lines.insert(format!("{name} {address} of {}", owner.map_or("pairs".to_owned(), in_words)));
            }
        }
        for mac in macs() {
            if s.is_addressed(id, mac) {
                lines.insert(format!("{name} {} has addresses", in_words(mac)));
            }
            if let Some(guard) = s.guard(id, mac) {
                let prefixes: BTreeSet<_> = guard.prefixes.iter().map(|p| format!("{}/{}", p.address, p.len)).collect();
                let places: BTreeSet<_> = guard.places.iter().map(place).collect();
                assert_eq!((prefixes.len(), places.len()), (guard.prefixes.len(), guard.places.len()), "twice");
                lines.insert(format!("{name} {} may hold {prefixes:?} at {places:?}", in_words(mac)));
            }
        }
    }
    lines
}

/// The same, from the objects, in the plainest way.
pub(super) fn desired(c: &Configuration) -> BTreeSet<String> {
    type Guard = (BTreeSet<String>, BTreeSet<String>);
    let mut lines = BTreeSet::new();
    let mut owners: BTreeMap<(Name, IpAddr), Option<String>> = BTreeMap::new();
    let mut guards: BTreeMap<(Name, String), Guard> = BTreeMap::new();
    for object in whole(c) {
        let Object::Endpoint(o) = object else { continue };
        for ip in &o.ips {
            owners.insert((o.bridge.clone(), *ip), Some(o.mac.to_string()));
        }
        for pair in &o.allowed_pairs {
            if pair.is_exact() {
                owners.entry((o.bridge.clone(), pair.prefix.address())).or_default();
            }
            let guard = guards.entry((o.bridge.clone(), pair.mac.unwrap_or(o.mac).to_string())).or_default();
            guard.0.insert(pair.prefix.to_string());
            guard.1.insert(o.location.to_string());
        }
        if !o.ips.is_empty() || o.allowed_pairs.iter().any(|pair| pair.mac.is_none_or(|mac| mac == o.mac)) {
            lines.insert(format!("{} {} has addresses", o.bridge, o.mac));
        }
    }
    for ((bridge, address), owner) in owners {
        lines.insert(format!("{bridge} {address} of {}", owner.unwrap_or("pairs".to_owned())));
    }
    for ((bridge, mac), (prefixes, places)) in guards {
        lines.insert(format!("{bridge} {mac} may hold {prefixes:?} at {places:?}"));
    }
    lines
}

fn host(mac: u8, more: Value) -> Value {
    let mut host = json!({"bridge": "red", "mac": format!("02:00:00:00:00:0{mac}"), "location": "vlan/lan0/100"});
    host.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"put": {"endpoint": host}})
}

fn red_with(hosts: Value) -> Configuration {
    let mut c = with_red();
    apply(&mut c, hosts).unwrap();
    assert_eq!(told(&c), desired(&c));
    c
}

const RED: BridgeId = BridgeId(0);

fn mac(n: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, n])
}

fn ip(n: u8) -> IpAddr {
    [10, 0, 0, n].into()
}

#[test]
fn an_address_is_its_endpoints() {
    let mut c = red_with(json!([host(1, json!({"ips": ["10.0.0.1", "2001:db8::1"]}))]));
    assert_eq!(c.snapshot().owner(RED, ip(1)), Some(Some(mac(1))));
    assert_eq!(c.snapshot().owner(RED, "2001:db8::1".parse().unwrap()), Some(Some(mac(1))));
    assert_eq!(c.snapshot().owner(BridgeId(1), ip(1)), None);
    assert!(c.snapshot().is_addressed(RED, mac(1)) && !c.snapshot().is_addressed(RED, mac(2)));
    // It changes hands within one batch, whichever comes first.
    let swapped = json!([host(2, json!({"ips": ["10.0.0.1"]})), host(1, json!({"ips": ["10.0.0.2"]}))]);
    apply(&mut c, swapped).unwrap();
    assert_eq!([1, 2].map(|n| c.snapshot().owner(RED, ip(n))), [Some(Some(mac(2))), Some(Some(mac(1)))]);
    assert_eq!(c.snapshot().owner(RED, "2001:db8::1".parse().unwrap()), None);
    apply(&mut c, json!([{"delete": {"kind": "endpoint", "id": "red/02:00:00:00:00:02"}}])).unwrap();
    assert_eq!(c.snapshot().owner(RED, ip(1)), None);
    assert_eq!(told(&c), desired(&c));
}

#[test]
fn an_address_is_of_one_endpoint_of_a_bridge() {
    let mut c = red_with(json!([host(1, json!({"ips": ["10.0.0.1"]}))]));
    let before = (c.desired().clone(), meaning(&c), told(&c));
    let other = "endpoint red/02:00:00:00:00:02: 10.0.0.1 is an address of endpoint red/02:00:00:00:00:01 already";
    for (batch, path, message) in [
        (json!([host(2, json!({"ips": ["10.0.0.7", "10.0.0.1"]}))]), "ops[0].put.endpoint.ips[1]", other),
        // Within one batch, too; what changes nothing has no part in it.
        (
            json!([
                host(1, json!({"ips": ["10.0.0.1"]})),
                host(3, json!({"ips": ["10.0.0.3"]})),
                host(2, json!({"ips": ["10.0.0.1"]})),
            ]),
            "ops[2].put.endpoint.ips[0]",
            other,
        ),
        (
            json!([host(3, json!({"ips": ["10.0.0.8"]})), host(2, json!({"ips": ["10.0.0.8"]}))]),
            "ops[1].put.endpoint.ips[0]",
            "10.0.0.8 is an address of endpoint red/02:00:00:00:00:03 already",
        ),
    ] {
        let error = apply(&mut c, batch).unwrap_err();
        assert_eq!((error.code, error.data.unwrap().path.as_str()), (INVALID, path));
        assert!(error.message.contains(message), "{}", error.message);
        assert!(before == (c.desired().clone(), meaning(&c), told(&c)), "something changed");
    }
    // On another bridge it is another address.
    let blue = json!([
        {"put": {"bridge": {"name": "blue"}}},
        {"put": {"segment": {"id": "vlan/lan0/200", "bridge": "blue"}}},
        {"put": {"endpoint": {"bridge": "blue", "mac": "02:00:00:00:00:01", "location": "vlan/lan0/200", "ips": ["10.0.0.1"]}}},
    ]);
    apply(&mut c, blue).unwrap();
    assert_eq!(told(&c), desired(&c));
}

#[test]
fn a_virtual_address_is_of_those_whose_pairs_name_it() {
    let vip = json!({"ips": ["10.0.0.1"], "allowed_pairs": ["10.0.0.5"]});
    let other = json!({"ips": ["10.0.0.2"], "allowed_pairs": ["10.0.0.5", "10.0.0.0/24"]});
    let mut c = red_with(json!([host(1, vip), host(2, other)]));
    assert_eq!(c.snapshot().owner(RED, ip(5)), Some(None));
    assert_eq!(c.snapshot().owner(RED, ip(4)), None, "a prefix owns nothing");
    assert_eq!(c.snapshot().guard(RED, mac(2)).unwrap().prefixes.len(), 2);
    // An endpoint's own address goes before, and comes back to the pairs.
    apply(&mut c, json!([host(3, json!({"ips": ["10.0.0.5"]}))])).unwrap();
    assert_eq!(c.snapshot().owner(RED, ip(5)), Some(Some(mac(3))));
    apply(&mut c, json!([{"delete": {"kind": "endpoint", "id": "red/02:00:00:00:00:03"}}])).unwrap();
    assert_eq!(c.snapshot().owner(RED, ip(5)), Some(None));
    apply(&mut c, json!([host(1, json!({}))])).unwrap();
    assert_eq!(c.snapshot().owner(RED, ip(5)), Some(None), "the other still names it");
    assert!(c.snapshot().guard(RED, mac(1)).is_none() && !c.snapshot().is_addressed(RED, mac(1)));
    apply(&mut c, json!([host(2, json!({}))])).unwrap();
    assert_eq!(c.snapshot().owner(RED, ip(5)), None);
    assert_eq!(told(&c), desired(&c));
}

#[test]
fn a_shared_mac_may_be_where_they_are_who_name_it() {
    let pairs = json!({"allowed_pairs": ["10.0.0.5=00:00:5e:00:01:07"]});
    let mut far = host(2, pairs.clone());
    far["put"]["endpoint"]["location"] = json!("vxlan/7/192.0.2.3");
    let mut c = red_with(json!([host(1, pairs), far]));
    let virtual_mac = MacAddr([0, 0, 0x5e, 0, 1, 7]);
    let guard = c.snapshot().guard(RED, virtual_mac).unwrap();
    assert_eq!((guard.prefixes.len(), guard.places.len()), (1, 2));
    assert!(c.snapshot().guard(RED, mac(1)).is_none(), "the pair is not for its own MAC");
    assert!(!c.snapshot().is_addressed(RED, mac(1)));
    // Its place goes along with a segment that moves to another vtep.
    let moved = json!([
        {"put": {"vtep": {"name": "other", "port": "up0", "address": "198.51.100.1/24"}}},
        {"put": {"segment": {"id": "vxlan/7", "bridge": "red", "vtep": "other"}}},
    ]);
    apply(&mut c, moved).unwrap();
    assert_eq!(told(&c), desired(&c));
    apply(&mut c, json!([host(1, json!({}))])).unwrap();
    assert_eq!(c.snapshot().guard(RED, virtual_mac).unwrap().places.len(), 1);
    apply(&mut c, json!([{"delete": {"kind": "endpoint", "id": "red/02:00:00:00:00:02"}}])).unwrap();
    assert!(c.snapshot().guard(RED, virtual_mac).is_none());
}
