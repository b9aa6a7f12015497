//! Routers: what the packet path is told of them, and their rows.

use super::*;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use weir_api::id::{IpPrefix, Mac};
use weir_api::object::{Interface, Route};
use weir_pipelines::tables::{InterfaceIx, Prefix, Target};

/// The prefixes and MACs that the random walk uses.
fn prefixes() -> BTreeSet<IpPrefix> {
    let nets = (0..3).flat_map(|n| [format!("10.0.{n}.0/24"), format!("2001:db8:{n}::/64")]);
    let hosts = (0..3).flat_map(|n| (1..5).map(move |last| (n, last)));
    let hosts = hosts.flat_map(|(n, last)| [format!("10.0.{n}.{last}/32"), format!("2001:db8:{n}::{last}/128")]);
    let others = "0.0.0.0/0 ::/0 10.8.0.0/16 10.9.0.0/16 10.66.0.0/16 203.0.113.0/24 203.0.113.2/32 2001:db8::/64 \
        2001:db8:9::/48";
    let others = others.split_whitespace().map(str::to_owned);
    nets.chain(hosts).chain(others).map(|prefix| prefix.parse().unwrap()).collect()
}

fn dvr_macs() -> [MacAddr; 3] {
    [1, 2, 3].map(|n| MacAddr([2, 0, 0x5e, 1, 0, n]))
}

fn in_words(mac: MacAddr) -> String {
    Mac::try_from(mac.0).unwrap().to_string()
}

/// An object of routing that may or may not fit the others.
pub(super) fn random_object(next: &mut impl FnMut(u64) -> u64) -> Value {
    let router = ["r1", "r2"][next(2) as usize];
    let bridge = ["red", "blue"][next(2) as usize];
    match next(7) {
        0 => json!({"router": {"name": router, "mss_clamp": next(2) == 0, "icmp_limit": next(3)}}),
        1 => json!({"dvr_mac": {"mac": in_words(dvr_macs()[next(3) as usize]), "own": next(3) == 0}}),
        2..5 => {
            let nets: Vec<u64> = (0..3).filter(|_| next(2) == 0).collect();
            let mut addresses: Vec<_> = nets.iter().map(|n| format!("10.0.{n}.{}/24", 1 + next(4))).collect();
            let v6 = nets.iter().filter(|_| next(2) == 0).count();
            addresses.extend(nets[..v6].iter().map(|n| format!("2001:db8:{n}::{}/64", 1 + next(2))));
            let mut o = json!({"router": router, "bridge": bridge, "mac": format!("02:00:5e:0{}:00:01", next(2)),
                "addresses": addresses, "ra": v6 > 0 && next(2) == 0, "ra_managed": next(2) == 0});
            if next(2) == 0 {
                let gateways: Vec<_> = nets.iter().filter(|_| next(3) > 0).map(|n| format!("10.0.{n}.9")).collect();
                o["external"] = json!(true);
                o["gateways"] = json!(gateways);
                o["pass_without_nat"] = json!(next(2) == 0);
            }
            if next(2) == 0 {
                o["mtu"] = json!(1280 + next(2));
            }
            json!({ "interface": o })
        }
        _ => {
            let v6 = next(3) == 0;
            let prefix = match v6 {
                false => ["0.0.0.0/0", "10.9.0.0/16", "10.0.1.0/24", "10.0.0.1/32"][next(4) as usize],
                true => ["::/0", "2001:db8:9::/48", "2001:db8:1::/64"][next(3) as usize],
            };
            let hop = |n| if v6 { format!("2001:db8:{n}::8") } else { format!("10.0.{n}.8") };
            let via: Vec<_> = (0..3).filter(|_| next(2) == 0).map(hop).collect();
            json!({"route": {"router": router, "prefix": prefix, "blackhole": via.is_empty(), "via": via}})
        }
    }
}

/// Everything about routing, as the snapshot tells it, in names.
pub(super) fn told(c: &Configuration) -> BTreeSet<String> {
    let (s, ids) = (c.snapshot(), c.translator().interface_ids());
    let bridges = c.translator().bridge_names();
    let name = |ix: InterfaceIx| format!("{}/{}", ids[&ix].0, ids[&ix].1);
    let mut lines = BTreeSet::new();
    for (ix, router) in c.translator().router_names() {
        let found = s.router(ix).unwrap();
        let interfaces: BTreeSet<_> = found.interfaces.iter().map(|ix| name(*ix)).collect();
        assert_eq!(interfaces.len(), found.interfaces.len(), "twice");
        let settings = found.settings;
        lines.insert(format!("{router} clamps {} errs {} has {interfaces:?}", settings.mss_clamp, settings.icmp_limit));
        for prefix in prefixes() {
            let exact = s.exact_route(ix, Prefix { address: prefix.address(), len: prefix.length() });
            let Some(target) = exact else { continue };
            let target = match target {
                Target::Local(ix) => format!("itself at {}", name(ix)),
                Target::Connected(ix) => format!("hosts at {}", name(ix)),
                Target::Blackhole => "nowhere".to_owned(),
                Target::Via(ix) => {
                    let hops = s.next_hops(ix).iter().map(|hop| format!("{} at {}", hop.address, name(hop.interface)));
                    format!("{:?}", hops.collect::<Vec<_>>())
                }
            };
            lines.insert(format!("{router} {prefix} to {target}"));
        }
    }
    for (ix, id) in &ids {
        let o = s.interface(*ix).unwrap();
        assert_eq!((bridges[&o.bridge].as_str(), &c.translator().router_names()[&o.router]), (id.1.as_str(), &id.0));
        assert!(s.interfaces_of(o.bridge).any(|(other, _)| other == *ix));
        assert_eq!(s.advertising().contains(ix), o.advertise.is_some());
        let addresses: Vec<_> = o.addresses.iter().map(|own| format!("{}/{}", own.address, own.len)).collect();
        let ra = o.advertise.map(|ra| (ra.interval, ra.lifetime, ra.managed, ra.other));
        let (mac, out) = (in_words(o.mac), (o.external, o.pass_without_nat));
        lines.insert(format!("{} is {mac} {addresses:?} {} {out:?} {ra:?}", name(*ix), o.mtu));
    }
    for (id, name) in &bridges {
        lines.insert(format!("{name} has {} interfaces", s.interfaces_of(*id).count()));
    }
    lines
        .extend(dvr_macs().into_iter().filter(|mac| s.is_dvr_mac(*mac)).map(|mac| format!("{} is dvr", in_words(mac))));
    lines.insert(format!("{} is own", in_words(s.dvr_mac())));
    lines
}

/// The same, from the objects, in the plainest way.
pub(super) fn desired(c: &Configuration) -> BTreeSet<String> {
    let objects = whole(c);
    let interfaces: Vec<&Interface> =
        objects.iter().filter_map(|o| if let Object::Interface(o) = o { Some(o) } else { None }).collect();
    let name = |o: &Interface| format!("{}/{}", o.router, o.bridge);
    let mut own = "02:00:00:00:01:00".to_owned();
    let mut lines = BTreeSet::new();
    for object in &objects {
        match object {
            Object::Router(o) => {
                let of = interfaces.iter().filter(|i| i.router == o.name);
                let has: BTreeSet<_> = of.clone().map(|i| name(i)).collect();
                lines.insert(format!("{} clamps {} errs {} has {has:?}", o.name, o.mss_clamp, o.icmp_limit));
                let routes: Vec<_> = objects
                    .iter()
                    .filter_map(|r| if let Object::Route(r) = r { Some(r) } else { None })
                    .filter(|r| r.router == o.name)
                    .collect();
                let of: Vec<_> = of.copied().collect();
                let targets = targets(&of, &routes);
                lines.extend(targets.into_iter().map(|(prefix, target)| format!("{} {prefix} to {target}", o.name)));
            }
            Object::Interface(o) => {
                let addresses: Vec<_> = o.addresses.iter().map(ToString::to_string).collect();
                let ra = o.ra.then_some((o.ra_interval, o.ra_lifetime, o.ra_managed, o.ra_other));
                let (mtu, out) = (o.mtu.unwrap_or(u16::MAX), (o.external, o.pass_without_nat));
                lines.insert(format!("{} is {} {addresses:?} {mtu} {out:?} {ra:?}", name(o), o.mac));
            }
            Object::Bridge(o) => {
                let count = interfaces.iter().filter(|i| i.bridge == o.name).count();
                lines.insert(format!("{} has {count} interfaces", o.name));
            }
            Object::DvrMac(o) if o.own => own = o.mac.to_string(),
            Object::DvrMac(o) => drop(lines.insert(format!("{} is dvr", o.mac))),
            _ => {}
        }
    }
    lines.insert(format!("{own} is own"));
    lines
}

/// Where each route of a router leads.
fn targets(interfaces: &[&Interface], routes: &[&Route]) -> BTreeMap<IpPrefix, String> {
    let name = |o: &Interface| format!("{}/{}", o.router, o.bridge);
    let at = |hop: &IpAddr| {
        let on = interfaces.iter().find(|o| o.addresses.iter().any(|net| net.contains(*hop))).unwrap();
        format!("{hop} at {}", name(on))
    };
    let mut targets = BTreeMap::new();
    for v6 in [false, true] {
        let gateways: Vec<_> = interfaces.iter().flat_map(|o| &o.gateways).filter(|hop| hop.is_ipv6() == v6).collect();
        if !gateways.is_empty() {
            let hops: Vec<_> = gateways.into_iter().map(at).collect();
            targets.insert(IpPrefix::default_route(v6), format!("{hops:?}"));
        }
    }
    for o in interfaces {
        for address in &o.addresses {
            targets.insert(address.net(), format!("hosts at {}", name(o)));
            targets.insert(address.address().into(), format!("itself at {}", name(o)));
        }
    }
    for route in routes {
        let hops: Vec<_> = route.via.iter().map(at).collect();
        targets.insert(route.prefix, if route.blackhole { "nowhere".to_owned() } else { format!("{hops:?}") });
    }
    targets
}

/// A router on two bridges, one of them a way out, with routes by both.
pub(super) fn routed() -> Value {
    json!([
        {"put": {"bridge": {"name": "red"}}},
        {"put": {"bridge": {"name": "ext"}}},
        {"put": {"router": {"name": "r1"}}},
        {"put": {"interface": {"router": "r1", "bridge": "red", "mac": "02:00:5e:00:00:01",
            "addresses": ["10.0.0.1/24", "2001:db8::1/64"]}}},
        {"put": {"interface": {"router": "r1", "bridge": "ext", "mac": "02:00:5e:00:00:02", "external": true,
            "addresses": ["203.0.113.2/24"], "gateways": ["203.0.113.1", "203.0.113.254"]}}},
        {"put": {"route": {"router": "r1", "prefix": "10.9.0.0/16", "via": ["10.0.0.254"]}}},
        {"put": {"route": {"router": "r1", "prefix": "10.8.0.0/16", "via": ["10.0.0.254"]}}},
        {"put": {"route": {"router": "r1", "prefix": "10.66.0.0/16", "blackhole": true}}},
    ])
}

fn target(c: &Configuration, prefix: &str) -> Option<Target> {
    let names = c.translator().router_names();
    let router = names.iter().find(|(_, name)| name.as_str() == "r1").map(|(ix, _)| *ix)?;
    let prefix: IpPrefix = prefix.parse().unwrap();
    c.snapshot().exact_route(router, Prefix { address: prefix.address(), len: prefix.length() })
}

fn hops(c: &Configuration, prefix: &str) -> Vec<String> {
    let Some(Target::Via(ix)) = target(c, prefix) else { return Vec::new() };
    let ids = c.translator().interface_ids();
    let hops = c.snapshot().next_hops(ix).iter();
    hops.map(|hop| format!("{} at {}/{}", hop.address, ids[&hop.interface].0, ids[&hop.interface].1)).collect()
}

#[test]
fn routes_with_the_same_next_hops_share_a_number_as_long_as_one_needs_it() {
    let mut c = configuration(Tables::default());
    apply(&mut c, routed()).unwrap();
    let shared = target(&c, "10.9.0.0/16");
    assert_eq!(target(&c, "10.8.0.0/16"), shared);
    assert_eq!(hops(&c, "10.8.0.0/16"), ["10.0.0.254 at r1/red"]);
    assert_eq!(target(&c, "10.66.0.0/16"), Some(Target::Blackhole));
    apply(&mut c, json!([{"delete": {"kind": "route", "id": "r1/10.9.0.0/16"}}])).unwrap();
    assert_eq!((target(&c, "10.9.0.0/16"), target(&c, "10.8.0.0/16")), (None, shared));
    let Some(Target::Via(ix)) = shared else { panic!("{shared:?}") };
    let other = json!([{"put": {"route": {"router": "r1", "prefix": "10.8.0.0/16", "via": ["10.0.0.253"]}}}]);
    apply(&mut c, other).unwrap();
    assert_eq!(hops(&c, "10.8.0.0/16"), ["10.0.0.253 at r1/red"]);
    assert!(c.snapshot().next_hops(ix).is_empty(), "nobody needs it");
}

#[test]
fn gateways_of_external_interfaces_are_the_default_until_a_route_is() {
    let mut c = configuration(Tables::default());
    apply(&mut c, routed()).unwrap();
    let by_gateways = ["203.0.113.1 at r1/ext", "203.0.113.254 at r1/ext"];
    assert_eq!(hops(&c, "0.0.0.0/0"), by_gateways);
    assert_eq!(target(&c, "::/0"), None);
    let own = json!([{"put": {"route": {"router": "r1", "prefix": "0.0.0.0/0", "via": ["10.0.0.7"]}}}]);
    apply(&mut c, own).unwrap();
    assert_eq!(hops(&c, "0.0.0.0/0"), ["10.0.0.7 at r1/red"]);
    // Another way out beside the first, while the route is the default; and then that one goes.
    let second = json!([
        {"put": {"bridge": {"name": "ext2"}}},
        {"put": {"interface": {"router": "r1", "bridge": "ext2", "mac": "02:00:5e:00:00:03", "external": true,
            "addresses": ["198.51.100.2/24"], "gateways": ["198.51.100.1"]}}},
    ]);
    apply(&mut c, second).unwrap();
    assert_eq!(hops(&c, "0.0.0.0/0"), ["10.0.0.7 at r1/red"]);
    apply(&mut c, json!([{"delete": {"kind": "route", "id": "r1/0.0.0.0/0"}}])).unwrap();
    assert_eq!(hops(&c, "0.0.0.0/0"), [&by_gateways[..], &["198.51.100.1 at r1/ext2"]].concat());
    apply(&mut c, json!([{"delete": {"kind": "interface", "id": "r1/ext"}}])).unwrap();
    assert_eq!(hops(&c, "0.0.0.0/0"), ["198.51.100.1 at r1/ext2"]);
    apply(&mut c, json!([{"delete": {"kind": "interface", "id": "r1/ext2"}}])).unwrap();
    assert_eq!(target(&c, "0.0.0.0/0"), None);
}

#[test]
fn nets_change_places_and_next_hops_go_with_them() {
    let mut c = configuration(Tables::default());
    apply(&mut c, routed()).unwrap();
    let swap = json!([
        {"put": {"interface": {"router": "r1", "bridge": "red", "mac": "02:00:5e:00:00:01",
            "addresses": ["203.0.113.2/24", "2001:db8::1/64"]}}},
        {"put": {"interface": {"router": "r1", "bridge": "ext", "mac": "02:00:5e:00:00:02",
            "addresses": ["10.0.0.1/24"]}}},
    ]);
    let before = target(&c, "10.9.0.0/16");
    apply(&mut c, swap).unwrap();
    assert_eq!(hops(&c, "10.9.0.0/16"), ["10.0.0.254 at r1/ext"]);
    assert_eq!(target(&c, "10.9.0.0/16"), before, "the number is the same");
    assert_eq!(told(&c), desired(&c));
    // All goes at once, and comes again.
    let objects = whole(&c);
    let gone: Vec<_> = objects.iter().map(|o| json!({"delete": o.key()})).collect();
    apply(&mut c, json!(gone)).unwrap();
    assert_eq!(*c.desired(), Desired::default());
    apply(&mut c, json!(objects.iter().rev().map(|o| json!({"put": o})).collect::<Vec<_>>())).unwrap();
    assert_eq!((whole(&c), told(&c)), (objects, desired(&c)));
}

#[test]
fn numbers_that_are_all_in_use_change_hands_in_one_batch() {
    let limits = Tables { routers: 65_536, interfaces: 1, routes: 1, ..Tables::default() };
    let mut c = configuration(limits);
    let one = |bridge: &str, net: u8| {
        json!([
            {"put": {"interface": {"router": "r1", "bridge": bridge, "mac": "02:00:5e:00:00:01",
                "addresses": [format!("10.0.{net}.1/24"), "10.7.0.1/24"]}}},
            {"put": {"route": {"router": "r1", "prefix": "10.9.0.0/16", "via": ["10.7.0.9"]}}},
        ])
    };
    apply(&mut c, json!([{"put": {"router": {"name": "r1"}}}, {"put": {"bridge": {"name": "red"}}}, {"put": {"bridge": {"name": "blue"}}}])).unwrap();
    apply(&mut c, one("red", 1)).unwrap();
    let mut moved = one("blue", 2).as_array().unwrap().clone();
    moved.push(json!({"delete": {"kind": "interface", "id": "r1/red"}}));
    apply(&mut c, json!(moved)).unwrap();
    assert_eq!(hops(&c, "10.9.0.0/16"), ["10.7.0.9 at r1/blue"]);
    let more = json!([{"put": {"route": {"router": "r1", "prefix": "10.8.0.0/16", "blackhole": true}}}]);
    assert!(apply(&mut c, more).unwrap_err().message.contains("tables.routes in weir.toml allows 1"));
    let more = json!([{"put": {"interface": {"router": "r1", "bridge": "red", "mac": "02:00:5e:00:00:01",
        "addresses": ["10.0.1.1/24"]}}}]);
    assert!(apply(&mut c, more).unwrap_err().message.contains("tables.interfaces in weir.toml allows 1"));
}

#[test]
fn an_address_of_an_endpoint_is_no_interfaces() {
    let mut c = with_red();
    let host = |ips: Value| {
        json!({"put": {"endpoint": {"bridge": "red", "mac": "02:00:00:00:00:01",
        "location": "vlan/lan0/100", "ips": ips}}})
    };
    let interface = json!({"put": {"interface": {"router": "r1", "bridge": "red", "mac": "02:00:5e:00:00:01",
        "addresses": ["10.0.9.1/24", "10.0.0.1/24"]}}});
    apply(&mut c, json!([{"put": {"router": {"name": "r1"}}}, host(json!(["10.0.0.1", "fe80::5eff:fe00:1"]))]))
        .unwrap();
    let before = (c.desired().clone(), told(&c));
    let error = apply(&mut c, json!([interface])).unwrap_err();
    let data = error.data.unwrap();
    assert_eq!((data.path.as_str(), data.value.as_str()), ("ops[0].put.interface.addresses[1]", "10.0.0.1/24"));
    assert!(
        error.message.contains("interface r1/red: 10.0.0.1 is an address of endpoint red/02:00:00:00:00:01"),
        "{}",
        error.message
    );
    assert_eq!(before, (c.desired().clone(), told(&c)));
    apply(&mut c, json!([host(json!(["fe80::5eff:fe00:1"]))])).unwrap();
    let error = apply(&mut c, json!([interface])).unwrap_err();
    assert_eq!(error.data.unwrap().path, "ops[0].put.interface.mac");
    // It gives the address up in the same batch.
    apply(&mut c, json!([interface, host(json!([]))])).unwrap();
    let error = apply(&mut c, json!([host(json!(["10.0.0.7", "10.0.0.1"]))])).unwrap_err();
    assert_eq!(error.data.unwrap().path, "ops[0].put.endpoint.ips[1]");
    assert!(error.message.contains("10.0.0.1 is an address of interface r1/red"), "{}", error.message);
}

#[test]
fn routes_in_force_are_those_of_all_origins_in_order() {
    let mut m = manager();
    m.answer(Call::Apply(Apply { ops: ops(routed()), ..Apply::default() })).unwrap();
    let hop = |address: &str, bridge: &str| json!({"address": address, "bridge": bridge});
    let page = list(&mut m, json!({"of": "route", "in_force": true, "router": "r1"})).unwrap();
    let gateways = [hop("203.0.113.1", "ext"), hop("203.0.113.254", "ext")];
    assert_eq!(
        json!(page.rows),
        json!([
            {"router": "r1", "prefix": "0.0.0.0/0", "origin": "external", "via": gateways},
            {"router": "r1", "prefix": "10.0.0.0/24", "origin": "connected", "bridge": "red"},
            {"router": "r1", "prefix": "10.8.0.0/16", "origin": "configured", "via": [hop("10.0.0.254", "red")]},
            {"router": "r1", "prefix": "10.9.0.0/16", "origin": "configured", "via": [hop("10.0.0.254", "red")]},
            {"router": "r1", "prefix": "10.66.0.0/16", "origin": "configured", "blackhole": true},
            {"router": "r1", "prefix": "203.0.113.0/24", "origin": "connected", "bridge": "ext"},
            {"router": "r1", "prefix": "2001:db8::/64", "origin": "connected", "bridge": "red"},
        ])
    );
    let row = list(&mut m, json!({"of": "router", "in_force": true})).unwrap().rows;
    assert_eq!(
        json!(row),
        json!([{"name": "r1", "mss_clamp": false, "icmp_limit": 100, "interfaces": 2, "routes": 3}])
    );
    let macs = |m: &mut Manager| json!(list(m, json!({"of": "dvr_mac", "in_force": true})).unwrap().rows);
    assert_eq!(macs(&mut m), json!([{"mac": "02:00:00:00:01:00", "own": true, "source": "port"}]));
    let own = json!([{"put": {"dvr_mac": {"mac": "02:00:5e:01:00:01", "own": true}}}, {"put": {"dvr_mac": {"mac": "02:00:5e:01:00:02"}}}]);
    m.answer(Call::Apply(Apply { ops: ops(own), ..Apply::default() })).unwrap();
    assert_eq!(
        macs(&mut m),
        json!([{"mac": "02:00:5e:01:00:01", "own": true, "source": "configured"},
            {"mac": "02:00:5e:01:00:02", "own": false, "source": "configured"}])
    );
}

#[test]
fn pages_of_routing_hand_out_every_row_once() {
    let mut m = manager();
    let mut batch = routed().as_array().unwrap().clone();
    batch.extend([
        json!({"put": {"router": {"name": "r0"}}}),
        json!({"put": {"router": {"name": "r2"}}}),
        json!({"put": {"interface": {"router": "r2", "bridge": "red", "mac": "02:00:5e:00:00:03", "external": true,
            "addresses": ["10.0.1.1/24", "10.0.1.2/24", "2001:db8:1::1/64"], "gateways": ["10.0.1.9", "2001:db8:1::9"]}}}),
        json!({"put": {"route": {"router": "r2", "prefix": "::/0", "via": ["2001:db8:1::8"]}}}),
        json!({"put": {"dvr_mac": {"mac": "02:00:5e:01:00:02"}}}),
    ]);
    m.answer(Call::Apply(Apply { ops: ops(json!(batch)), ..Apply::default() })).unwrap();
    for (asked, count) in [
        (json!({"of": "router"}), 3),
        (json!({"of": "router", "router": "r1", "in_force": true}), 1),
        (json!({"of": "interface"}), 3),
        (json!({"of": "interface", "router": "r1"}), 2),
        (json!({"of": "interface", "bridge": "red"}), 2),
        (json!({"of": "interface", "bridge": "red", "router": "r2"}), 1),
        (json!({"of": "route"}), 4),
        (json!({"of": "route", "router": "r0"}), 0),
        (json!({"of": "route", "router": "r1"}), 3),
        (json!({"of": "route", "in_force": true}), 11),
        (json!({"of": "route", "in_force": true, "router": "r2"}), 4),
        (json!({"of": "dvr_mac"}), 1),
        (json!({"of": "dvr_mac", "in_force": true}), 2),
    ] {
        let all = list(&mut m, asked.clone()).unwrap();
        assert_eq!((all.rows.len(), all.next), (count, None), "{asked}");
        for limit in 1..4 {
            let (mut rows, mut asked) = (Vec::new(), asked.clone());
            asked["limit"] = json!(limit);
            loop {
                let page = list(&mut m, asked.clone()).unwrap();
                assert!(page.rows.len() <= limit);
                rows.extend(page.rows);
                let Some(next) = page.next else { break };
                asked["after"] = json!(next);
            }
            assert_eq!(rows, all.rows, "{asked}");
        }
    }
    for (asked, code, path) in [
        (json!({"of": "router", "router": "r9"}), code::NOT_FOUND, "router"),
        (json!({"of": "route", "bridge": "red"}), code::INVALID_PARAMS, "bridge"),
        (json!({"of": "route", "after": "r1"}), code::INVALID_PARAMS, "after"),
        (json!({"of": "interface", "in_force": true}), code::INVALID_PARAMS, "in_force"),
        (json!({"of": "interface", "bridge": "blue"}), code::NOT_FOUND, "bridge"),
        (json!({"of": "dvr_mac", "router": "r1"}), code::INVALID_PARAMS, "router"),
        (json!({"of": "bridge", "router": "r1"}), code::INVALID_PARAMS, "router"),
        (json!({"of": "mac", "in_force": true}), code::INVALID_PARAMS, "in_force"),
        (json!({"of": "route", "address": "10.0.0.1"}), code::INVALID_PARAMS, "address"),
    ] {
        let error = list(&mut m, asked.clone()).unwrap_err();
        assert_eq!((error.code, error.data.unwrap().path.as_str()), (code, path), "{asked}");
    }
}
