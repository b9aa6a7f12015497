//! What is typed, and the messages it comes to.

use clap::{Command, CommandFactory, Parser};
use serde_json::{Value, json};
use weirctl::cli::Cli;

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[track_caller]
fn comes_to(line: &str, ops: Value) {
    let calls = weirctl::calls(&words(line)).unwrap_or_else(|e| panic!("{line}: {e}"));
    let expected = json!([{ "method": "apply", "params": { "ops": ops, "replace": false, "dry_run": false } }]);
    assert_eq!(json!(calls), expected, "{line}");
}

/// A put of the bridge `red`: these fields, and every other one with its default.
fn bridge(fields: Value) -> Value {
    let mut bridge = json!({"name": "red", "mac_limit": 4096, "mac_ageing": 300, "unknown_unicast": "flood",
        "accept_from": "any", "suppression": true, "unknown_target": "flood", "binding_limit": 4096,
        "binding_ageing": 300, "port_security": false, "broadcast_limit": 10000, "unknown_limit": 10000,
        "announcement_limit": 1000, "flood_list": "peers"});
    bridge.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    json!([{"put": {"bridge": bridge}}])
}

#[test]
fn add_puts_the_object_with_its_defaults() {
    comes_to("add bridge red", bridge(json!({})));
    comes_to(
        "add bridge red --mac-limit 7 --mac-ageing 60 --unknown-unicast drop --accept-from listed",
        bridge(json!({"mac_limit": 7, "mac_ageing": 60, "unknown_unicast": "drop", "accept_from": "listed"})),
    );
    comes_to(
        "add vtep tun0 --port wan0 --address 192.0.2.1/24",
        json!([{"put": {"vtep": {"name": "tun0", "port": "wan0", "address": "192.0.2.1/24"}}}]),
    );
    comes_to(
        "add vtep tun0 --port wan0 --address 192.0.2.1/24 --gateway 192.0.2.254 \
         --neighbour 192.0.2.3=02:00:00:00:00:03 --neighbour 192.0.2.2=02-00-00-00-00-02",
        json!([{"put": {"vtep": {"name": "tun0", "port": "wan0", "address": "192.0.2.1/24", "gateways": ["192.0.2.254"],
            "neighbours": {"192.0.2.2": "02:00:00:00:00:02", "192.0.2.3": "02:00:00:00:00:03"}}}}]),
    );
    comes_to(
        "add segment vlan/lan0/100 --bridge red",
        json!([{"put": {"segment": {"id": "vlan/lan0/100", "bridge": "red", "carry_tags": false}}}]),
    );
    comes_to(
        "add segment vxlan/10000 --bridge red --vtep tun0 --carry-tags",
        json!([{"put": {"segment": {"id": "vxlan/10000", "bridge": "red", "vtep": "tun0", "carry_tags": true}}}]),
    );
    comes_to(
        "add peer vxlan/10000 192.0.2.2",
        json!([{"put": {"peer": {"segment": "vxlan/10000", "address": "192.0.2.2"}}}]),
    );
    comes_to(
        "add endpoint red 02:00:00:00:00:01 vxlan/10000/192.0.2.2 --ip 10.0.0.1 --ip 2001:db8::1",
        json!([{"put": {"endpoint": {"bridge": "red", "mac": "02:00:00:00:00:01",
            "location": "vxlan/10000/192.0.2.2", "ips": ["10.0.0.1", "2001:db8::1"]}}}]),
    );
    comes_to(
        "add bridge red --suppression=false --unknown-target drop --binding-limit 5 --binding-ageing 30 --port-security \
         --broadcast-limit 1 --unknown-limit 0 --announcement-limit 3 --flood-list endpoints",
        bridge(json!({"suppression": false, "unknown_target": "drop", "binding_limit": 5, "binding_ageing": 30,
            "port_security": true, "broadcast_limit": 1, "unknown_limit": 0, "announcement_limit": 3,
            "flood_list": "endpoints"})),
    );
    comes_to(
        "add vtep tun6 --port wan0 --address 2001:db8::1/64 --gateway 2001:db8::fe --gateway 2001:db8::ff",
        json!([{"put": {"vtep": {"name": "tun6", "port": "wan0", "address": "2001:db8::1/64",
            "gateways": ["2001:db8::fe", "2001:db8::ff"]}}}]),
    );
    comes_to(
        "add segment nvgre/5000 --bridge red --vtep tun0 --mesh east",
        json!([{"put": {"segment": {"id": "nvgre/5000", "bridge": "red", "vtep": "tun0", "carry_tags": false,
            "mesh": "east"}}}]),
    );
    comes_to(
        "add segment qinq/lan0/200/100 --bridge red --tpid 0x8100",
        json!([{"put": {"segment": {"id": "qinq/lan0/200/100", "bridge": "red", "carry_tags": false,
            "tpid": "0x8100"}}}]),
    );
    comes_to(
        "add peer geneve/7 2001:db8::2 --mesh west",
        json!([{"put": {"peer": {"segment": "geneve/7", "address": "2001:db8::2", "mesh": "west"}}}]),
    );
    comes_to(
        "add endpoint red 02:00:00:00:00:01 nvgre/5000/2001:db8::2 --allowed-pair 10.0.0.0/24 --allowed-pair \
         10.0.1.1=00:00:5e:00:01:33",
        json!([{"put": {"endpoint": {"bridge": "red", "mac": "02:00:00:00:00:01", "location": "nvgre/5000/2001:db8::2",
            "allowed_pairs": ["10.0.0.0/24", "10.0.1.1=00:00:5e:00:01:33"]}}}]),
    );
    let endpoint = json!([{"put": {"endpoint": {"bridge": "red", "mac": "02:00:00:00:00:01",
        "location": "vlan/lan0/100"}}}]);
    comes_to("add endpoint red 02:00:00:00:00:01 vlan/lan0/100", endpoint.clone());
    comes_to("add mac red 02:00:00:00:00:01 vlan/lan0/100", endpoint);
}

#[test]
fn routers_and_what_they_have_are_put_with_their_defaults() {
    comes_to("add router r1", json!([{"put": {"router": {"name": "r1", "mss_clamp": false, "icmp_limit": 100}}}]));
    comes_to(
        "add router r1 --mss-clamp --icmp-limit 0",
        json!([{"put": {"router": {"name": "r1", "mss_clamp": true, "icmp_limit": 0}}}]),
    );
    let interface = |fields: Value| {
        let mut o = json!({"router": "r1", "bridge": "red", "mac": "02:00:5e:00:00:01", "addresses": ["10.0.0.1/24"],
            "external": false, "pass_without_nat": false, "ra": false, "ra_interval": 600, "ra_lifetime": 1800,
            "ra_managed": false, "ra_other": false});
        o.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!([{"put": {"interface": o}}])
    };
    let least = "add interface r1 red --mac 02:00:5e:00:00:01 --address 10.0.0.1/24";
    comes_to(least, interface(json!({})));
    comes_to(
        &format!(
            "{least} --address 2001:db8::1/64 --mtu 1450 --ra --ra-interval 30 --ra-lifetime 0 --ra-managed --ra-other"
        ),
        interface(json!({"addresses": ["10.0.0.1/24", "2001:db8::1/64"], "mtu": 1450, "ra": true, "ra_interval": 30,
            "ra_lifetime": 0, "ra_managed": true, "ra_other": true})),
    );
    comes_to(
        &format!("{least} --external --gateway 10.0.0.2 --gateway 10.0.0.3 --pass-without-nat"),
        interface(json!({"external": true, "gateways": ["10.0.0.2", "10.0.0.3"], "pass_without_nat": true})),
    );
    comes_to(
        "add route r1 10.9.0.0/16 --via 10.0.0.254 --via 10.0.0.253",
        json!([{"put": {"route": {"router": "r1", "prefix": "10.9.0.0/16", "via": ["10.0.0.254", "10.0.0.253"]}}}]),
    );
    comes_to(
        "add route r1 ::/0 --blackhole",
        json!([{"put": {"route": {"router": "r1", "prefix": "::/0", "blackhole": true}}}]),
    );
    let own = |own: bool| json!([{"put": {"dvr_mac": {"mac": "02:00:5e:01:00:01", "own": own}}}]);
    comes_to("add dvr-mac 02:00:5e:01:00:01", own(false));
    comes_to("add dvr-mac 02-00-5E-01-00-01 --own", own(true));
}

#[test]
fn del_deletes_by_the_objects_own_id() {
    let delete = |kind: &str, id: &str| json!({"delete": {"kind": kind, "id": id}});
    comes_to("del bridge red", json!([delete("bridge", "red")]));
    comes_to("del vtep tun0 tun1", json!([delete("vtep", "tun0"), delete("vtep", "tun1")]));
    // However it is written, an id has one form.
    comes_to("del segment vlan/lan0/0100", json!([delete("segment", "vlan/lan0/100")]));
    comes_to("del peer vxlan/7 2001:DB8:0::2", json!([delete("peer", "vxlan/7/2001:db8::2")]));
    comes_to("del endpoint red 02-00-00-00-00-0A", json!([delete("endpoint", "red/02:00:00:00:00:0a")]));
    comes_to("del mac red 02:00:00:00:00:0a", json!([delete("endpoint", "red/02:00:00:00:00:0a")]));
    comes_to("del router r1 r2", json!([delete("router", "r1"), delete("router", "r2")]));
    comes_to("del interface r1 red", json!([delete("interface", "r1/red")]));
    comes_to("del route r1 2001:DB8:0::/32", json!([delete("route", "r1/2001:db8::/32")]));
    comes_to("del dvr-mac 02-00-5e-01-00-01", json!([delete("dvr_mac", "02:00:5e:01:00:01")]));
}

#[test]
fn what_cannot_be_is_refused_and_named() {
    for (line, part) in [
        ("add bridge a/b", "a/b"),
        ("add bridge red --unknown-unicast maybe", "maybe"),
        ("add bridge red --mac-limit -1", "-1"),
        ("add segment vlan/lan0/4095 --bridge red", "4095"),
        ("add segment vxlan/1 --bridge red --carry-tags=perhaps", "perhaps"),
        ("add segment vlan/lan0/1", "--bridge"),
        ("add vtep t --port p --address 192.0.2.1", "192.0.2.1"),
        ("add vtep t --port p --address 192.0.2.1/24 --neighbour 192.0.2.2", "ADDRESS=MAC"),
        ("add vtep t --port p --address 192.0.2.1/24 --neighbour 192.0.2.2=01:00:5e:00:00:01", "01:00:5e"),
        ("add endpoint red 01:00:5e:00:00:01 vlan/lan0/1", "01:00:5e:00:00:01"),
        ("add endpoint red 02:00:00:00:00:01 vxlan/7", "vxlan/7"),
        ("add mac red 02:00:00:00:00:01 vlan/lan0/100 --ip 10.0.0.1", "--ip"),
        ("add port lan0", "weir.toml"),
        ("set port lan0 --mtu 9000", "only `add` and `del`"),
        ("del port lan0", "restart"),
        ("del bridge", "<ID>"),
        ("set bridge red", "--mac-limit"),
        ("set endpoint red 02:00:00:00:00:01", "--location"),
        ("set endpoint red 02:00:00:00:00:01 --ip 10.0.0.1 --no-ip", "--no-ip"),
        ("set vtep tun0 --gateway 192.0.2.2 --no-gateway", "--no-gateway"),
        ("set endpoint red 02:00:00:00:00:01 --allowed-pair 10.0.0.1 --no-allowed-pair", "--no-allowed-pair"),
        ("set segment vxlan/7 --mesh a --no-mesh", "--no-mesh"),
        ("set peer vxlan/7 192.0.2.2", "--mesh"),
        ("set peer vxlan/7 192.0.2.2 --mesh a --no-mesh", "--no-mesh"),
        ("add segment qinq/lan0/1/2 --bridge red --tpid 0x9100", "0x9100"),
        ("add segment nvgre/4095 --bridge red --vtep t", "4096 to 16777214"),
        ("add bridge red --flood-list all", "all"),
        ("add bridge red --port-security=maybe", "maybe"),
        ("add endpoint red 02:00:00:00:00:01 vlan/lan0/1 --allowed-pair 10.0.0.1/33", "10.0.0.1/33"),
        ("show binding x", "an IP address or a MAC address"),
        ("show binding 10.0.0.1 --address 10.0.0.1", "--address"),
        ("show mac --source guessed", "guessed"),
        ("show bridge", "only `add` and `del`"),
        ("apply -f x", "only `add` and `del`"),
        ("show peer vxlan/7", "vxlan/7/PEER"),
        ("show peer vlan/lan0/1", "TUNNEL-SEGMENT/ADDRESS"),
        ("add interface r1 red --mac 02:00:5e:00:00:01", "--address"),
        ("add interface r1 red --address 10.0.0.1/24", "--mac"),
        ("add interface r1 red --mac 02:00:5e:00:00:01 --address 10.0.0.1", "192.0.2.1/24"),
        ("set interface r1 red", "--address"),
        ("set interface r1 red --mtu 1400 --no-mtu", "--no-mtu"),
        ("set interface r1 red --gateway 10.0.0.2 --no-gateway", "--no-gateway"),
        ("set router r1", "--mss-clamp"),
        ("add route r1 10.9.0.0/16", "--via"),
        ("add route r1 10.9.0.0/16 --via 10.0.0.2 --blackhole", "--blackhole"),
        ("set route r1 10.9.0.0/16", "--via"),
        ("set dvr-mac 02:00:5e:01:00:01", "--own"),
        ("add dvr-mac 01:00:5e:00:00:01", "01:00:5e:00:00:01"),
        ("show interface r1", "ROUTER/BRIDGE"),
        ("show interface r1/red --router r1", "--router"),
        ("show route r1", "ROUTER/PREFIX/LENGTH"),
        ("show bridge --timeout 0", "found 0"),
        ("show bridge --timeout inf", "found inf"),
        ("frobnicate", "frobnicate"),
    ] {
        let error = weirctl::calls(&words(line)).expect_err(line).to_string();
        assert!(error.contains(part), "{line}: {error}");
    }
}

/// Every command, by its path: `weirctl add bridge`.
fn every_command(command: &Command, path: &str, visit: &mut dyn FnMut(&str, &Command)) {
    visit(path, command);
    for sub in command.get_subcommands() {
        every_command(sub, &format!("{path} {}", sub.get_name()), visit);
    }
}

#[test]
fn every_command_has_examples_and_every_example_parses() {
    Cli::command().debug_assert();
    every_command(&Cli::command(), "weirctl", &mut |path, command| {
        assert!(command.get_about().is_some(), "{path} says what it does");
        if command.has_subcommands() && path != "weirctl" {
            return;
        }
        let helps = [command.get_after_help(), command.get_after_long_help()];
        assert!(helps[0].is_some(), "{path} has examples");
        for help in helps.into_iter().flatten() {
            let text = help.to_string();
            let (_, examples) = text.split_once("Examples:\n").unwrap_or_else(|| panic!("{path} has examples: {text}"));
            for line in examples.lines() {
                let line = line.trim_start();
                let typed = line.split(['>', '|']).next().unwrap();
                assert!(line.starts_with("weirctl "), "{path}: {line}");
                let parsed = Cli::try_parse_from(words(typed));
                assert!(parsed.is_ok(), "{path}: {line}: {parsed:?}");
            }
        }
    });
}

#[test]
fn every_argument_says_what_it_is() {
    every_command(&Cli::command(), "weirctl", &mut |path, command| {
        for argument in command.get_arguments().filter(|a| !a.is_hide_set()) {
            assert!(argument.get_help().is_some(), "{path}: {}", argument.get_id());
        }
    });
}
