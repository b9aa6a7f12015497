//! Commands against a firmware that is a map: what is asked, what is told, and the exit code.

use crate::firmware::Firmware;
use serde_json::{Value, json};
use weir_api::message::Call;
use weir_api::object::Bridge;

/// A firmware with a bridge, a vtep, two segments, a peer and an endpoint: generation 6.
fn configured() -> Firmware {
    let mut firmware = Firmware::default();
    for line in [
        "add bridge red --mac-limit 100",
        "add vtep tun0 --port wan0 --address 192.0.2.1/24 --neighbour 192.0.2.2=02:00:00:00:00:02",
        "add segment vlan/lan0/100 --bridge red",
        "add segment vxlan/10000 --bridge red --vtep tun0",
        "add peer vxlan/10000 192.0.2.2",
        "add endpoint red 02:00:00:00:00:01 vlan/lan0/100 --ip 10.0.0.1",
    ] {
        firmware.run(line).done();
    }
    firmware.calls.clear();
    firmware
}

#[test]
fn add_looks_first_and_writes_on_what_it_saw() {
    let mut firmware = Firmware { generation: 7, ..Firmware::default() };
    assert_eq!(firmware.run("add bridge red").done(), "added bridge red\ngeneration 8\n");
    let Some(Call::Apply(batch)) = firmware.calls.last() else { panic!("{:?}", firmware.calls) };
    assert_eq!(batch.expect_generation, Some(7));
}

#[test]
fn add_never_replaces() {
    let mut firmware = configured();
    let before = firmware.objects.clone();
    for line in
        ["add bridge red", "add bridge red --mac-limit 5", "add mac red 02:00:00:00:00:01 vxlan/10000/192.0.2.2"]
    {
        let run = firmware.run(line);
        assert_eq!((run.code(), run.out.as_str()), (1, ""), "{line}");
        assert!(run.error().contains("exists; `weirctl set`"), "{}", run.error());
    }
    assert_eq!((firmware.objects, firmware.generation), (before, 6));
}

#[test]
fn a_change_by_somebody_else_meanwhile_is_waited_out_three_times() {
    let mut firmware = Firmware { meddling: 3, ..Firmware::default() };
    firmware.run("add bridge red").done();
    firmware.meddling = 4;
    let run = firmware.run("add bridge blue");
    assert_eq!(run.code(), 6, "{}", run.error());
    assert_eq!(firmware.run("show bridge blue").code(), 4);
}

#[test]
fn set_changes_what_it_names_and_nothing_else() {
    let mut firmware = configured();
    let mut set = |line: &str, show: &str| -> Value {
        firmware.run(line).done();
        let rows: Value = serde_json::from_str(&firmware.run(&format!("-j show {show}")).done()).unwrap();
        rows[0].clone()
    };
    let bridge = set("set bridge red --unknown-unicast drop", "bridge red");
    assert_eq!((&bridge["mac_limit"], &bridge["unknown_unicast"]), (&json!(100), &json!("drop")));
    // All else is as in a new one.
    let mut new = json!(Bridge::new("red".parse().unwrap()));
    new.as_object_mut().unwrap().extend([("mac_limit".into(), json!(100)), ("unknown_unicast".into(), json!("drop"))]);
    assert_eq!(bridge, new);
    assert_eq!(
        set("set vtep tun0 --gateway 192.0.2.254 --neighbour 192.0.2.3=02:00:00:00:00:03", "vtep tun0"),
        json!({"name": "tun0", "port": "wan0", "address": "192.0.2.1/24", "gateways": ["192.0.2.254"],
            "neighbours": {"192.0.2.2": "02:00:00:00:00:02", "192.0.2.3": "02:00:00:00:00:03"}})
    );
    assert_eq!(
        set("set vtep tun0 --no-gateway --no-neighbour 192.0.2.2", "vtep tun0"),
        json!({"name": "tun0", "port": "wan0", "address": "192.0.2.1/24",
            "neighbours": {"192.0.2.3": "02:00:00:00:00:03"}})
    );
    assert_eq!(
        set("set segment vxlan/10000 --carry-tags", "segment vxlan/10000"),
        json!({"id": "vxlan/10000", "bridge": "red", "vtep": "tun0", "carry_tags": true})
    );
    assert_eq!(set("set segment vxlan/10000 --carry-tags=false", "segment vxlan/10000")["carry_tags"], json!(false));
    let host = "red 02:00:00:00:00:01";
    assert_eq!(
        set(&format!("set mac {host} vxlan/10000/192.0.2.2"), "endpoint red/02:00:00:00:00:01"),
        json!({"bridge": "red", "mac": "02:00:00:00:00:01", "location": "vxlan/10000/192.0.2.2", "ips": ["10.0.0.1"]})
    );
    let endpoint = set(&format!("set endpoint {host} --ip 10.0.0.2"), "endpoint 02:00:00:00:00:01");
    assert_eq!(endpoint["ips"], json!(["10.0.0.2"]));
    assert!(set(&format!("set endpoint {host} --no-ip"), "endpoint 02:00:00:00:00:01").get("ips").is_none());
    for (line, show, field, expected) in [
        ("set bridge red --suppression=false", "bridge red", "suppression", json!(false)),
        ("set bridge red --port-security", "bridge red", "port_security", json!(true)),
        ("set bridge red --flood-list endpoints", "bridge red", "flood_list", json!("endpoints")),
        ("set bridge red --unknown-target drop", "bridge red", "unknown_target", json!("drop")),
        (
            "set vtep tun0 --gateway 192.0.2.7 --gateway 192.0.2.8",
            "vtep tun0",
            "gateways",
            json!(["192.0.2.7", "192.0.2.8"]),
        ),
        ("set vtep tun0 --gateway 192.0.2.9", "vtep tun0", "gateways", json!(["192.0.2.9"])),
        ("set segment vxlan/10000 --mesh east", "segment vxlan/10000", "mesh", json!("east")),
        ("set segment vxlan/10000 --carry-tags", "segment vxlan/10000", "mesh", json!("east")),
        ("set segment vxlan/10000 --no-mesh", "segment vxlan/10000", "mesh", Value::Null),
        ("set peer vxlan/10000 192.0.2.2 --mesh west", "peer", "mesh", json!("west")),
        ("set peer vxlan/10000 192.0.2.2 --no-mesh", "peer", "mesh", Value::Null),
        (
            "set endpoint red 02:00:00:00:00:01 --allowed-pair 10.0.0.0/24 --allowed-pair 10.1.0.1",
            "endpoint",
            "allowed_pairs",
            json!(["10.0.0.0/24", "10.1.0.1"]),
        ),
        (
            "set endpoint red 02:00:00:00:00:01 --ip 10.0.0.7",
            "endpoint",
            "allowed_pairs",
            json!(["10.0.0.0/24", "10.1.0.1"]),
        ),
        ("set endpoint red 02:00:00:00:00:01 --no-allowed-pair", "endpoint", "allowed_pairs", Value::Null),
    ] {
        assert_eq!(set(line, show)[field], expected, "{line}");
    }
}

#[test]
fn set_changes_what_it_names_of_routers_too() {
    let mut firmware = Firmware::default();
    for line in [
        "add router r1 --icmp-limit 7",
        "add interface r1 red --mac 02:00:5e:00:00:01 --address 10.0.0.1/24 --mtu 1450 --external --gateway 10.0.0.2",
        "add route r1 10.9.0.0/16 --via 10.0.0.254",
        "add dvr-mac 02:00:5e:01:00:01 --own",
    ] {
        firmware.run(line).done();
    }
    for (line, kind, field, expected) in [
        ("set router r1 --mss-clamp", "router", "mss_clamp", json!(true)),
        ("set router r1 --mss-clamp=false", "router", "icmp_limit", json!(7)),
        ("set interface r1 red --ra-interval 30", "interface", "mtu", json!(1450)),
        ("set interface r1 red --mac 02:00:5e:00:00:07", "interface", "mac", json!("02:00:5e:00:00:07")),
        ("set interface r1 red --no-mtu", "interface", "mtu", Value::Null),
        ("set interface r1 red --gateway 10.0.0.3", "interface", "gateways", json!(["10.0.0.3"])),
        ("set interface r1 red --address 2001:db8::1/64", "interface", "addresses", json!(["2001:db8::1/64"])),
        ("set interface r1 red --no-gateway --external=false", "interface", "gateways", Value::Null),
        ("set interface r1 red --ra", "interface", "ra_interval", json!(30)),
        ("set route r1 10.9.0.0/16 --via 10.0.0.1 --via 10.0.0.2", "route", "via", json!(["10.0.0.1", "10.0.0.2"])),
        ("set route r1 10.9.0.0/16 --blackhole", "route", "via", Value::Null),
        ("set dvr-mac 02:00:5e:01:00:01 --own=false", "dvr_mac", "own", json!(false)),
    ] {
        firmware.run(line).done();
        let state: Value = serde_json::from_str(&firmware.run("export -j").done()).unwrap();
        assert_eq!(state[kind][0][field], expected, "{line}: {state}");
    }
    assert_eq!(firmware.run("set route r1 10.8.0.0/16 --blackhole").code(), 4);
    let text = firmware.run("export").done();
    assert_eq!(firmware.run_with("diff -f -", &text).code(), 0, "{text}");
    firmware.run("del route r1 10.9.0.0/16").done();
    assert_eq!(firmware.run("del interface r1 blue").code(), 4);
}

#[test]
fn set_of_what_is_not_there_adds_nothing() {
    let mut firmware = configured();
    assert_eq!(firmware.run("set bridge blue --mac-limit 1").code(), 4);
    let run = firmware.run("set vtep tun0 --no-neighbour 192.0.2.9");
    assert_eq!(run.code(), 4);
    assert!(run.error().contains("192.0.2.9 of vtep tun0"), "{}", run.error());
    assert_eq!(firmware.generation, 6);
    assert_eq!(firmware.run("set peer vxlan/10000 192.0.2.9 --mesh east").code(), 4);
    assert_eq!(firmware.run("set port lan0 --mtu 9000").code(), 2);
    assert_eq!(firmware.run("set bridge red --mac-limit 100").done(), "nothing changed; generation 6\n");
}

#[test]
fn del_is_all_or_nothing() {
    let mut firmware = configured();
    let run = firmware.run("del segment vlan/lan0/100 vlan/lan0/101");
    assert_eq!(run.code(), 4);
    assert_eq!(run.error(), "there is no segment vlan/lan0/101");
    let text = firmware.run("del segment vlan/lan0/100 vxlan/10000").done();
    assert_eq!(text, "deleted segment vlan/lan0/100\ndeleted segment vxlan/10000\ngeneration 7\n");
    let run = firmware.run("add segment vlan/lan0/7 --bridge blue");
    assert_eq!((run.code(), run.error().as_str()), (1, "there is no such bridge (at segment.bridge: blue)"));
}

#[test]
fn an_export_applies_to_the_same_state_in_either_format() {
    let mut firmware = configured();
    for flag in ["", "-j "] {
        let text = firmware.run(&format!("{flag}export")).done();
        assert_eq!(firmware.run(&format!("{flag}show state")).done(), text);
        assert_eq!(firmware.run_with("diff -f -", &text).done(), "no differences from generation 6\n");
        let mut fresh = Firmware::default();
        fresh.run_with("apply -f -", &text).done();
        assert_eq!(fresh.objects, firmware.objects);
    }
    let mut empty = Firmware::default();
    let text = empty.run("export").done();
    assert_eq!(empty.run_with("apply -f -", &text).done(), "nothing changed; generation 0\n");
}

#[test]
fn a_dry_run_tells_each_field_and_changes_nothing() {
    let mut firmware = configured();
    let file = r#"{"bridge": [{"name": "red"}, {"name": "blue"}],
        "segment": [{"id": "vlan/lan0/100", "bridge": "blue"}]}"#;
    let differences = "add bridge blue\n\
        change bridge red\n    mac_limit: 100 -> 4096\n\
        change segment vlan/lan0/100\n    bridge: red -> blue\n";
    let deleted = "delete vtep tun0\ndelete segment vxlan/10000\ndelete peer vxlan/10000/192.0.2.2\n\
        delete endpoint red/02:00:00:00:00:01\n";
    let all = format!("{differences}{deleted}7 differences from generation 6\n");
    assert_eq!(firmware.run_with("apply -f - --dry-run", file).done(), all);
    let run = firmware.run_with("diff -f -", file);
    assert_eq!((run.code(), &run.out), (5, &all));
    let run = firmware.run_with("diff -f - --merge", file);
    assert_eq!((run.code(), run.out), (5, format!("{differences}3 differences from generation 6\n")));
    assert_eq!(firmware.generation, 6);
    firmware.run_with("apply -f - --merge", file).done();
    assert_eq!(firmware.run_with("diff -f - --merge", file).code(), 0);
    assert_eq!(firmware.objects.len(), 7);
    firmware.run_with("apply -f -", file).done();
    assert_eq!(firmware.objects.len(), 3);
}

#[test]
fn a_change_of_many_is_counted_not_listed() {
    let mut firmware = Firmware::default();
    let bridges: String = (0..21).map(|i| format!("[[bridge]]\nname = \"b{i}\"\n")).collect();
    assert_eq!(firmware.run_with("apply -f -", &bridges).done(), "added 21 bridges\ngeneration 1\n");
    let text = firmware.run_with("apply -f - -j", "# none\n").done();
    let applied: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(applied["deleted"].as_array().unwrap().len(), 21);
}

#[test]
fn an_expected_generation_is_not_tried_again() {
    let mut firmware = configured();
    let run = firmware.run_with("apply -f - --expect-generation 5", "{}");
    assert_eq!(run.code(), 6, "{}", run.error());
    assert_eq!(firmware.calls.len(), 1);
    firmware.run_with("apply -f - --expect-generation 6", "{}").done();
}

#[test]
fn what_the_firmware_refuses_of_a_file_is_named_by_line_and_field() {
    let text = "[[segment]]\nid = \"vlan/lan0/1\"\nbridge = \"red\"\n\n[[segment]]\nid = \"vlan/lan0/2\"\nbridge = \"blue\"\n\
        [[bridge]]\nname = \"red\"\n";
    let run = Firmware::default().run_with("apply -f -", text);
    assert_eq!(run.code(), 1);
    assert_eq!(run.error(), "standard input:7: segment[1].bridge: there is no such bridge (found blue)");
    let json = run.result.unwrap_err().to_json();
    assert_eq!(json["error"]["place"], "standard input:7: segment[1].bridge");
    assert_eq!(json["error"]["path"], "ops[2].put.segment.bridge");
}

#[test]
fn every_page_is_fetched() {
    let mut firmware = Firmware { page: 3, ..Firmware::default() };
    let bridges: String = (0..10).map(|i| format!("[[bridge]]\nname = \"b{i}\"\n")).collect();
    firmware.run_with("apply -f -", &bridges).done();
    assert_eq!(firmware.run("show bridge").done().lines().count(), 11);
    let text = firmware.run("export").done();
    assert_eq!(firmware.run_with("diff -f -", &text).code(), 0);
}

#[test]
fn a_row_that_was_named_and_is_not_there_is_an_error() {
    let mut firmware = configured();
    for line in [
        "show bridge blue",
        "show segment vlan/lan0/7",
        "show segment vlan/lan0/100 --bridge blue",
        "show peer vxlan/10000/192.0.2.9",
        "show endpoint 02:00:00:00:00:09",
        "show endpoint red/02:00:00:00:00:09",
        "show mac 02:00:00:00:00:09",
        "show neighbour 192.0.2.9",
        "show port lan0",
        "show worker 1",
        "show table macs",
        "show event learned",
    ] {
        assert_eq!(firmware.run(line).code(), 4, "{line}");
    }
    assert_eq!(firmware.run("show endpoint red/02:00:00:00:00:01 --bridge blue").code(), 2);
    for line in ["show segment --bridge blue", "show endpoint --bridge blue", "show mac"] {
        let text = firmware.run(line).done();
        assert!(text.starts_with("no "), "{line}: {text}");
        assert_eq!(firmware.run(&format!("-j {line}")).done(), "[]\n");
    }
}

#[test]
fn an_answer_of_another_form_is_said_to_be_one() {
    let mut firmware = Firmware { learned: vec![json!({"bridge": "red", "mac": "nonsense"})], ..Firmware::default() };
    let run = firmware.run("show mac");
    assert_eq!(run.code(), 3);
    assert!(run.error().contains("list: ") && run.error().contains("same version"), "{}", run.error());
}

#[test]
fn a_warning_goes_to_standard_error_or_into_the_document() {
    let mut firmware = Firmware { warnings: vec!["port wan0 is down".to_owned()], ..Firmware::default() };
    let run = firmware.run("add bridge red");
    assert_eq!(run.notes, "weirctl: warning: port wan0 is down\n");
    assert!(!run.done().contains("warning"));
    let run = firmware.run("-j add bridge blue");
    assert_eq!(run.notes, "");
    let applied: Value = serde_json::from_str(&run.done()).unwrap();
    assert_eq!(applied["warnings"], json!(["port wan0 is down"]));
}
