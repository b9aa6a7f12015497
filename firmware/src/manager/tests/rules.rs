//! What a desired state must fulfil: tags, meshes, address families, and what an endpoint may have.

use super::*;

#[track_caller]
fn segment(more: Value, field: &str, value: &str, message: &str) {
    let mut segment = json!({"bridge": "red"});
    segment.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    refused(json!([{"put": {"segment": segment}}]), INVALID, &format!("ops[0].put.segment.{field}"), value, message);
}

#[test]
fn what_is_for_tunnels_or_for_two_tags_is_for_nothing_else() {
    segment(json!({"id": "vlan/lan0/9", "mesh": "east"}), "mesh", "east", "tunnel segments and their peers");
    segment(json!({"id": "qinq/lan0/9/1", "mesh": "east"}), "mesh", "east", "tunnel segments and their peers");
    segment(json!({"id": "qinq/lan0/9/1", "carry_tags": true}), "carry_tags", "true", "tunnel segments");
    segment(json!({"id": "qinq/lan0/9/1", "vtep": "up"}), "vtep", "up", "has no vtep");
    segment(json!({"id": "qinq/lan9/9/1"}), "id", "lan9", "only lan0, up0");
    segment(json!({"id": "vlan/lan0/9", "tpid": "0x8100"}), "tpid", "0x8100", "QinQ segment's outer tag");
    segment(json!({"id": "nvgre/5000", "vtep": "up", "tpid": "0x8100"}), "tpid", "0x8100", "QinQ segment's outer tag");
    segment(json!({"id": "geneve/5000"}), "vtep", "nothing", "needs a vtep");
}

#[test]
fn an_outer_tag_is_no_segment_of_its_own() {
    let stacked = |tpid: &str| json!({"put": {"segment": {"id": "qinq/lan0/100/1", "bridge": "red", "tpid": tpid}}});
    let taken = "VLAN 100 of port lan0 is segment vlan/lan0/100 already";
    refused(json!([stacked("0x8100")]), INVALID, "ops[0].put.segment.tpid", "0x8100", taken);
    // A service tag is another name space.
    let mut c = with_red();
    apply(&mut c, json!([stacked("0x88a8")])).unwrap();
    let error = apply(&mut c, json!([stacked("0x8100")])).unwrap_err();
    assert_eq!(error.data.unwrap().path, "ops[0].put.segment.tpid");
    // The other way round; and both at once in one batch.
    let outer = json!({"put": {"segment": {"id": "vlan/lan0/300", "bridge": "red"}}});
    let inner = json!({"put": {"segment": {"id": "qinq/lan0/300/7", "bridge": "red", "tpid": "0x8100"}}});
    refused(json!([inner, outer]), INVALID, "ops[0].put.segment.tpid", "0x8100", "vlan/lan0/300 already");
    apply(&mut c, json!([inner])).unwrap();
    let error = apply(&mut c, json!([outer])).unwrap_err();
    assert_eq!(error.data.unwrap().path, "ops[0].put.segment.id");
    assert!(error.message.contains("outer tag of segment qinq/lan0/300/7"), "{}", error.message);
    // They change places in one batch.
    let swap = json!([
        {"put": {"segment": {"id": "vlan/lan0/300", "bridge": "red"}}},
        {"put": {"segment": {"id": "qinq/lan0/300/7", "bridge": "red", "tpid": "0x88a8"}}},
    ]);
    apply(&mut c, swap).unwrap();
    meaning(&c);
    let back = json!([
        {"put": {"segment": {"id": "qinq/lan0/300/7", "bridge": "red", "tpid": "0x8100"}}},
        {"delete": {"kind": "segment", "id": "vlan/lan0/300"}},
    ]);
    apply(&mut c, back).unwrap();
    meaning(&c);
}

/// A bridge over both families.
fn both() -> Configuration {
    let mut c = with_red();
    let v6 = json!([
        {"put": {"vtep": {"name": "up6", "port": "up0", "address": "2001:db8::1/64", "gateways": ["2001:db8::fe", "2001:db8::ff"]}}},
        {"put": {"segment": {"id": "nvgre/5000", "bridge": "red", "vtep": "up6"}}},
        {"put": {"segment": {"id": "geneve/7", "bridge": "red", "vtep": "up6"}}},
        {"put": {"peer": {"segment": "nvgre/5000", "address": "2001:db8::2"}}},
        {"put": {"endpoint": {"bridge": "red", "mac": "02:00:00:00:00:03", "location": "geneve/7/2001:db8::3"}}},
    ]);
    apply(&mut c, v6).unwrap();
    c
}

#[test]
fn an_ipv6_underlay_reaches_the_packet_path() {
    use std::net::IpAddr;
    use weir_pipelines::tables::{Encap, Peer, VtepIx};
    let c = both();
    let s = c.snapshot();
    let peer = |encap, address: &str| Peer { vtep: VtepIx(1), encap, address: address.parse().unwrap() };
    assert!(s.peer_number(peer(Encap::Nvgre, "2001:db8::2")).is_some());
    assert!(s.peer_number(peer(Encap::Geneve, "2001:db8::3")).is_some());
    assert!(s.peer_number(peer(Encap::Vxlan, "2001:db8::2")).is_none());
    let vtep = s.vtep(VtepIx(1)).unwrap();
    assert_eq!((vtep.address, vtep.prefix_len), ("2001:db8::1".parse::<IpAddr>().unwrap(), 64));
    assert_eq!(vtep.gateways.len(), 2);
}

#[test]
fn a_vtep_and_its_peers_are_of_one_family() {
    let v4 = |name: &str| json!({"put": {"vtep": {"name": name, "port": "up0", "address": "198.51.100.1/24"}}});
    let v6 = |name: &str| json!({"put": {"vtep": {"name": name, "port": "up0", "address": "2001:db8:1::1/64"}}});
    let path = |field: &str| format!("ops[0].put.{field}");
    let not = "peer vxlan/7/192.0.2.2 is not of the same family";
    refused(json!([v6("up")]), INVALID, &path("vtep.address"), "2001:db8:1::1/64", not);
    let mut c = both();
    let before = (c.desired().clone(), meaning(&c));
    for (batch, at, message) in [
        (json!([v4("up6")]), "vtep.address", "peer nvgre/5000/2001:db8::2 is not of the same family"),
        (
            json!([{"put": {"segment": {"id": "nvgre/5000", "bridge": "red", "vtep": "up"}}}]),
            "segment.vtep",
            "peer nvgre/5000/2001:db8::2 is not of the same family as its address 192.0.2.1/24",
        ),
        (
            json!([{"put": {"segment": {"id": "geneve/7", "bridge": "red", "vtep": "up"}}}]),
            "segment.vtep",
            "endpoint red/02:00:00:00:00:03 is not",
        ),
        (
            json!([{"put": {"peer": {"segment": "geneve/7", "address": "192.0.2.9"}}}]),
            "peer.address",
            "not of the same family as vtep up6",
        ),
    ] {
        let error = apply(&mut c, batch).unwrap_err();
        assert!(error.message.contains(message), "{}", error.message);
        assert_eq!(error.data.unwrap().path, path(at));
        assert!(before == (c.desired().clone(), meaning(&c)), "something changed");
    }
    // What goes along is fine.
    let together = json!([
        {"put": {"segment": {"id": "nvgre/5000", "bridge": "red", "vtep": "up"}}},
        {"delete": {"kind": "peer", "id": "nvgre/5000/2001:db8::2"}},
        {"put": {"peer": {"segment": "nvgre/5000", "address": "192.0.2.9"}}},
    ]);
    apply(&mut c, together).unwrap();
}

#[test]
fn an_endpoint_has_addresses_that_hosts_can_have() {
    #[track_caller]
    fn endpoint(field: &str, list: Value, n: usize, value: &str, message: &str) {
        let endpoint = json!({"bridge": "red", "mac": "02:00:00:00:00:09", "location": "vlan/lan0/100", field: list});
        let path = format!("ops[0].put.endpoint.{field}[{n}]");
        refused(json!([{"put": {"endpoint": endpoint}}]), INVALID, &path, value, message);
    }
    for bad in ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "ff02::1"] {
        endpoint("ips", json!(["10.0.0.1", bad]), 1, bad, "single host");
        endpoint("allowed_pairs", json!([bad]), 0, bad, "single host");
    }
    endpoint("ips", json!(["::ffff:10.0.0.1"]), 0, "::ffff:10.0.0.1", "write 10.0.0.1");
    endpoint("ips", json!(["10.0.0.1", "10.0.0.2", "10.0.0.1"]), 2, "10.0.0.1", "already");
    endpoint(
        "allowed_pairs",
        json!(["10.0.0.1", "10.0.0.1=02:00:00:00:00:01", "10.0.0.1/32"]),
        2,
        "10.0.0.1",
        "already",
    );
    endpoint("allowed_pairs", json!(["10.0.0.7/24"]), 0, "10.0.0.7/24", "write 10.0.0.0/24, or 10.0.0.7");
    endpoint("allowed_pairs", json!(["2001:db8::7/64"]), 0, "2001:db8::7/64", "write 2001:db8::/64");
    endpoint("allowed_pairs", json!(["224.0.0.0/4"]), 0, "224.0.0.0/4", "single host");
    endpoint("allowed_pairs", json!(["ff00::/8"]), 0, "ff00::/8", "single host");
    let many: Vec<_> = (0..65).map(|n| format!("10.0.1.{n}")).collect();
    endpoint("ips", json!(many), 64, "10.0.1.64", "at most 64");
    endpoint("allowed_pairs", json!(many), 64, "10.0.1.64", "at most 64");
    let mut c = with_red();
    let right = json!({"bridge": "red", "mac": "02:00:00:00:00:09", "location": "vlan/lan0/100", "ips": &many[..64],
        "allowed_pairs": ["0.0.0.0/0", "::/0", "fe80::9", "10.0.0.0/24=00:00:5e:00:01:07", "169.254.0.0/16"]});
    apply(&mut c, json!([{"put": {"endpoint": right}}])).unwrap();
}
