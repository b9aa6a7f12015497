//! What routers, interfaces, routes and DVR MACs must fulfil.

use super::routing::routed;
use super::*;

/// Applies to a router of two interfaces, expects a refusal at a path with a value, and that nothing changed.
#[track_caller]
fn wrong(batch: Value, path: &str, value: &str, message: &str) {
    let mut c = configuration(Tables::default());
    apply(&mut c, routed()).unwrap();
    let before = (c.desired().clone(), super::routing::told(&c));
    let error = apply(&mut c, batch).unwrap_err();
    let data = error.data.clone().unwrap();
    assert_eq!((error.code, data.path.as_str(), data.value.as_str()), (INVALID, path, value), "{error:?}");
    assert!(error.message.contains(message), "{error:?}");
    assert!(before == (c.desired().clone(), super::routing::told(&c)), "something changed");
}

fn put(kind: &str, least: Value, more: Value) -> Value {
    let mut object = least;
    object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!([{"put": {kind: object}}])
}

/// An interface of a second router.
fn interface(more: Value) -> Value {
    let least = json!({"router": "r2", "bridge": "red", "mac": "02:00:5e:00:00:09", "addresses": ["10.5.0.1/24"]});
    let mut batch = put("interface", least, more);
    batch.as_array_mut().unwrap().push(json!({"put": {"router": {"name": "r2"}}}));
    batch
}

#[track_caller]
fn wrong_interface(more: Value, field: &str, value: &str, message: &str) {
    wrong(interface(more), &format!("ops[0].put.interface.{field}"), value, message);
}

#[test]
fn an_interface_has_addresses_that_are_nobody_elses() {
    wrong_interface(json!({"addresses": []}), "addresses", "[]", "at least one");
    let many: Vec<_> = (0..17).map(|n| format!("10.5.{n}.1/24")).collect();
    wrong_interface(json!({"addresses": many}), "addresses[16]", "10.5.16.1/24", "at most 16");
    for (address, message) in [
        ("127.0.0.1/8", "single host"),
        ("::ffff:10.0.0.9/120", "write 10.0.0.9"),
        ("fe80::1/64", "fe80::5eff:fe00:9 by itself"),
    ] {
        let value = address.split('/').next().unwrap();
        wrong_interface(json!({"addresses": ["10.5.0.1/24", address]}), "addresses[1]", value, message);
    }
    for (address, message) in [
        ("10.5.1.0/24", "names the whole net"),
        ("10.5.1.255/24", "names the whole net"),
        ("2001:db8:5::/64", "names the whole net"),
        ("10.5.0.1/24", "among its addresses already"),
        ("10.0.0.1/24", "an address of interface r1/red already"),
        ("2001:db8::1/64", "an address of interface r1/red already"),
    ] {
        wrong_interface(json!({"addresses": ["10.5.0.1/24", address]}), "addresses[1]", address, message);
    }
    for (address, net) in [("10.5.7.1/16", "10.5.0.0/16"), ("10.5.0.129/25", "10.5.0.128/25")] {
        let why = format!("10.5.0.0/24 overlaps {net} of interface r2/red");
        wrong_interface(json!({"addresses": ["10.5.0.1/24", address]}), "addresses[0]", "10.5.0.1/24", &why);
    }
    wrong_interface(json!({"addresses": ["10.6.0.1/0"]}), "addresses[0]", "10.6.0.1/0", "from 1 to 32");
    wrong_interface(json!({"addresses": ["2001:db8::6/0"]}), "addresses[0]", "2001:db8::6/0", "from 1 to 128");
    // Of one router, no two interfaces share a net; another router's may.
    let blue = json!({"put": {"bridge": {"name": "blue"}}});
    let same = |router: &str, address: &str| {
        json!([{"put": {"interface": {"router": router, "bridge": "blue", "mac": "02:00:5e:00:00:01",
            "addresses": [address]}}}, blue, {"put": {"router": {"name": "r2"}}}])
    };
    for address in ["10.0.0.2/24", "10.0.0.130/25", "10.0.2.1/8", "2001:db8::2/48"] {
        let field = "ops[0].put.interface.addresses[0]";
        wrong(same("r1", address), field, address, "of interface r1/red");
        let mut c = configuration(Tables::default());
        apply(&mut c, routed()).unwrap();
        apply(&mut c, same("r2", address)).unwrap();
    }
    wrong(same("r1", "10.9.7.1/16"), "ops[0].put.interface.addresses[0]", "10.9.7.1/16", "by route r1/10.9.0.0/16");
    let mut c = configuration(Tables::default());
    apply(&mut c, routed()).unwrap();
    let right = json!({"addresses": ["10.5.0.1/24", "10.5.0.2/24", "10.0.0.9/24", "10.6.0.0/31", "10.6.1.1/32"]});
    apply(&mut c, interface(right)).unwrap();
}

#[test]
fn an_interface_has_a_mac_that_is_nobody_elses() {
    wrong_interface(json!({"mac": "02:00:5e:00:00:01"}), "mac", "02:00:5e:00:00:01", "of interface r1/red already");
    let dvr = json!({"put": {"dvr_mac": {"mac": "02:00:5e:00:00:09"}}});
    let mut both = interface(json!({}));
    both.as_array_mut().unwrap().push(dvr.clone());
    wrong(both, "ops[0].put.interface.mac", "02:00:5e:00:00:09", "DVR MAC of a gateway");
    let dvr = json!([{"put": {"dvr_mac": {"mac": "02:00:5e:00:00:01"}}}]);
    wrong(dvr, "ops[0].put.dvr_mac.mac", "02:00:5e:00:00:01", "MAC of interface r1/red");
    let host = |mac: &str| {
        json!([{"put": {"endpoint": {"bridge": "red", "mac": mac, "location": "vlan/lan0/100"}}},
            {"put": {"segment": {"id": "vlan/lan0/100", "bridge": "red"}}}])
    };
    wrong(host("02:00:5e:00:00:01"), "ops[0].put.endpoint.mac", "02:00:5e:00:00:01", "MAC of interface r1/red");
    let mut c = configuration(Tables::default());
    apply(&mut c, routed()).unwrap();
    apply(&mut c, host("02:00:5e:00:00:09")).unwrap();
    let error = apply(&mut c, interface(json!({}))).unwrap_err();
    assert_eq!(error.data.unwrap().path, "ops[0].put.interface.mac");
    assert!(error.message.contains("MAC of endpoint red/02:00:5e:00:00:09"), "{}", error.message);
}

#[test]
fn an_interface_is_of_something_and_within_bounds() {
    wrong_interface(json!({"router": "r3"}), "router", "r3", "no router r3");
    wrong_interface(json!({"bridge": "blue"}), "bridge", "blue", "no bridge blue");
    wrong_interface(json!({"mtu": 575}), "mtu", "575", "from 576 to 9216 bytes with IPv4 only");
    wrong_interface(json!({"mtu": 9217}), "mtu", "9217", "from 576");
    let v6 = |mtu: u32| json!({"addresses": ["2001:db8:5::1/64"], "mtu": mtu});
    wrong_interface(v6(1279), "mtu", "1279", "from 1280 to 9216 bytes with IPv6");
    wrong_interface(json!({"ra": true}), "ra", "true", "nothing to advertise");
    wrong_interface(json!({"ra_interval": 3}), "ra_interval", "3", "from 4 to 1800");
    wrong_interface(json!({"ra_lifetime": 599}), "ra_lifetime", "599", "0, or from ra_interval, 600, to 9000");
    wrong_interface(json!({"ra_lifetime": 9001}), "ra_lifetime", "9001", "to 9000");
    wrong_interface(json!({"pass_without_nat": true}), "pass_without_nat", "true", "for external interfaces");
    wrong_interface(json!({"gateways": ["10.5.0.9"]}), "gateways[0]", "10.5.0.9", "only an external interface");
    for (gateway, message) in [
        ("10.6.0.1", "does not lie in a net of the interface"),
        ("fe80::1", "does not lie in"),
        ("10.5.0.1", "router's own address"),
        ("10.5.0.255", "names the whole net 10.5.0.0/24"),
        ("10.5.0.8", "already"),
    ] {
        let more = json!({"external": true, "gateways": ["10.5.0.8", gateway]});
        wrong_interface(more, "gateways[1]", gateway, message);
    }
    let nine: Vec<_> = (2..11).map(|n| format!("10.5.0.{n}")).collect();
    let more = json!({"external": true, "gateways": nine});
    wrong_interface(more, "gateways[0]", "10.5.0.2", "would have 9 gateways of this family, and 8 are the most");
    // Together with those of the router's other way out.
    let seventh = json!([
        {"put": {"bridge": {"name": "ext2"}}},
        {"put": {"interface": {"router": "r1", "bridge": "ext2", "mac": "02:00:5e:00:00:03", "external": true,
            "addresses": ["10.5.0.1/24"], "gateways": nine[..7]}}},
    ]);
    wrong(seventh, "ops[1].put.interface.gateways[0]", "10.5.0.2", "would have 9 gateways");
    let mut c = configuration(Tables::default());
    apply(&mut c, routed()).unwrap();
    apply(&mut c, interface(json!({"external": true, "gateways": nine[..8], "pass_without_nat": true}))).unwrap();
    apply(&mut c, interface(v6(1280))).unwrap();
}

#[track_caller]
fn wrong_route(more: Value, field: &str, value: &str, message: &str) {
    let batch = put("route", json!({"router": "r1", "prefix": "10.7.0.0/16"}), more);
    wrong(batch, &format!("ops[0].put.route.{field}"), value, message);
}

#[test]
fn a_route_leads_somewhere_else_by_neighbours() {
    wrong_route(json!({"router": "r3", "blackhole": true}), "router", "r3", "no router r3");
    wrong_route(json!({}), "via", "[]", "next hops, or blackhole");
    wrong_route(json!({"via": ["10.0.0.9"], "blackhole": true}), "blackhole", "true", "either next hops or blackhole");
    for (prefix, message) in [
        ("10.7.0.1/16", "write 10.7.0.0/16"),
        ("10.0.0.0/24", "net of interface r1/red"),
        ("10.0.0.1/32", "router's own address"),
        ("2001:db8::1/128", "router's own address"),
        ("224.0.0.0/4", "nothing is routed"),
        ("ff00::/8", "nothing is routed"),
        ("fe80::/64", "nothing is routed"),
        ("127.0.0.0/8", "nothing is routed"),
        ("::ffff:10.0.0.0/104", "nothing is routed"),
    ] {
        wrong_route(json!({"prefix": prefix, "blackhole": true}), "prefix", prefix, message);
    }
    for (hop, message) in [
        ("10.1.0.9", "does not lie in a net of an interface of router r1"),
        ("2001:db8::9", "not of the same family as 10.7.0.0/16"),
        ("10.0.0.1", "router's own address"),
        ("10.0.0.0", "names the whole net 10.0.0.0/24"),
        ("203.0.113.255", "names the whole net"),
        ("10.0.0.9", "among the next hops already"),
    ] {
        wrong_route(json!({"via": ["10.0.0.9", hop]}), "via[1]", hop, message);
    }
    let v6 = json!({"prefix": "2001:db8:9::/48", "via": ["fe80::9"]});
    wrong_route(v6, "via[0]", "fe80::9", "does not lie in a net");
    let nine: Vec<_> = (2..11).map(|n| format!("10.0.0.{n}")).collect();
    wrong_route(json!({"via": nine}), "via[8]", "10.0.0.10", "at most 8");
    let mut c = configuration(Tables::default());
    apply(&mut c, routed()).unwrap();
    for right in [
        json!({"via": nine[..8]}),
        json!({"prefix": "10.0.0.128/25", "via": ["203.0.113.1"]}),
        json!({"prefix": "0.0.0.0/0", "blackhole": true}),
        json!({"prefix": "::/0", "via": ["2001:db8::9"]}),
        json!({"prefix": "169.254.169.254/32", "via": ["10.0.0.9"]}),
    ] {
        apply(&mut c, put("route", json!({"router": "r1", "prefix": "10.7.0.0/16"}), right)).unwrap();
    }
}

#[test]
fn what_a_route_needs_stays() {
    let needed = "still needed by route r1/10.8.0.0/16";
    wrong(json!([{"delete": {"kind": "interface", "id": "r1/red"}}]), "ops[0].delete.id", "r1/red", needed);
    for addresses in [json!(["10.1.0.1/24"]), json!(["10.0.0.254/24"]), json!(["10.0.0.1/25"])] {
        let other = json!([{"put": {"interface": {"router": "r1", "bridge": "red", "mac": "02:00:5e:00:00:01",
            "addresses": addresses}}}]);
        wrong(other, "ops[0].put.interface.addresses", "10.0.0.254", "route r1/10.8.0.0/16 needs it: 10.0.0.254");
    }
    let delete = |kind: &str, id: &str| json!([{"delete": {"kind": kind, "id": id}}]);
    wrong(delete("router", "r1"), "ops[0].delete.id", "r1", "still needed by interface r1/ext");
    wrong(delete("bridge", "red"), "ops[0].delete.id", "red", "still needed by interface r1/red");
    // A whole state that leaves out what its routes need.
    let mut c = configuration(Tables::default());
    apply(&mut c, routed()).unwrap();
    let mut ops = ops(routed());
    ops.remove(3);
    let whole = Apply { ops, replace: true, ..Apply::default() };
    let error = c.apply(whole, |_, _, _| Ok(())).unwrap_err();
    assert!(error.message.contains("needs interface r1/red, which the whole state does not have"), "{}", error.message);
    // A router without interfaces has only blackholes, and these keep it.
    let bare = json!([{"put": {"router": {"name": "r3"}}},
        {"put": {"route": {"router": "r3", "prefix": "10.0.0.0/8", "blackhole": true}}}]);
    apply(&mut c, bare).unwrap();
    let error = apply(&mut c, delete("router", "r3")).unwrap_err();
    assert!(error.message.contains("needed by route r3/10.0.0.0/8"), "{}", error.message);
}

#[test]
fn one_dvr_mac_is_the_gateways_own() {
    let own = |last: u8| json!({"put": {"dvr_mac": {"mac": format!("02:00:5e:01:00:0{last}"), "own": true}}});
    wrong(json!([own(1), own(2)]), "ops[0].put.dvr_mac.own", "true", "02:00:5e:01:00:02 is this gateway's own already");
    let mut c = configuration(Tables::default());
    apply(&mut c, json!([own(1)])).unwrap();
    assert_eq!(apply(&mut c, json!([own(2)])).unwrap_err().data.unwrap().path, "ops[0].put.dvr_mac.own");
    apply(&mut c, json!([own(2), {"put": {"dvr_mac": {"mac": "02:00:5e:01:00:01"}}}])).unwrap();
    let many: Vec<_> = (0..4095)
        .map(|n| json!({"put": {"dvr_mac": {"mac": format!("02:00:5e:02:{:02x}:{:02x}", n >> 8, n & 255)}}}))
        .collect();
    let error = apply(&mut c, json!(many)).unwrap_err();
    assert!(error.message.contains("4097 DVR MACs, and 4096 are the most"), "{}", error.message);
}
