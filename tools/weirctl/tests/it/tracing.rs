//! `trace`: what it asks, what it prints, what it refuses.

use crate::firmware::Firmware;
use clap::Parser;
use serde_json::{Value, json};
use weirctl::cli::Cli;

fn traced() -> Value {
    json!({
        "generation": 7, "port": "lan0", "frame": "0200000000020200000000018100006488b5",
        "steps": [
            {"step": "ingress", "object": {"kind": "segment", "id": "vlan/lan0/100"}, "port": "lan0", "bridge": "red",
                "location": "vlan/lan0/100", "text": "into bridge red"},
            {"step": "decide", "location": "vlan/lan0/200", "text": "forward to vlan/lan0/200"},
            {"step": "leave", "port": "lan0", "text": "18 bytes"},
        ],
        "frames": [{"port": "lan0", "length": 18, "summary": "02:00:00:00:00:01 > 02:00:00:00:00:02 vlan 200 type 0x88b5",
            "bytes": "020000000002020000000001810000c888b5"}],
        "outcome": "forwarded",
    })
}

fn asked(line: &str) -> Value {
    let mut firmware = Firmware { traced: traced(), ..Firmware::default() };
    firmware.run(line).done();
    json!(firmware.calls.last().unwrap())["params"].clone()
}

#[test]
fn it_asks_for_what_was_given_and_leaves_the_rest_to_the_firmware() {
    assert_eq!(
        asked("trace --endpoint red/02-00-00-00-00-01 --dst 10.0.1.2"),
        json!({"at": "red/02:00:00:00:00:01", "frame": {"fields": {"dst": "10.0.1.2", "proto": "udp"}}})
    );
    assert_eq!(asked("trace --port lan0 --hex 02:00"), json!({"at": "lan0", "frame": {"hex": "02:00"}}));
    assert_eq!(
        asked(
            "trace --port lan0 --vlan 100 --src-mac 02:00:00:00:00:01 --dst-mac ff:ff:ff:ff:ff:ff --src 10.0.0.1 \
             --dst 10.0.1.2 --proto tcp --sport 1 --dport 2 --ttl 3 --tos 4 --length 500 --df"
        ),
        json!({"at": "lan0", "frame": {"fields": {"vlan": 100, "src_mac": "02:00:00:00:00:01",
            "dst_mac": "ff:ff:ff:ff:ff:ff", "src": "10.0.0.1", "dst": "10.0.1.2", "proto": "tcp", "sport": 1, "dport": 2,
            "ttl": 3, "tos": 4, "length": 500, "df": true}}})
    );
    assert_eq!(
        asked("trace --port lan0 --src-mac 02:00:00:00:00:01 --arp-request 10.0.0.9")["frame"]["fields"],
        json!({"src_mac": "02:00:00:00:00:01", "arp_request": "10.0.0.9", "proto": "udp"})
    );
}

#[test]
fn steps_are_numbered_lines_and_frames_are_dumped() {
    let mut firmware = Firmware { traced: traced(), ..Firmware::default() };
    let out = firmware.run("trace --port lan0 --hex 00").done();
    let expected = "\
1  ingress  segment vlan/lan0/100  into bridge red
2  decide   -                      forward to vlan/lan0/200
3  leave    port lan0              18 bytes

18 bytes out of port lan0: 02:00:00:00:00:01 > 02:00:00:00:00:02 vlan 200 type 0x88b5
  0000  02 00 00 00 00 02 02 00 00 00 00 01 81 00 00 c8
  0010  88 b5

forwarded (generation 7)
";
    assert_eq!(out, expected);
    let json: Value = serde_json::from_str(&firmware.run("trace --port lan0 --hex 00 -j").done()).unwrap();
    assert_eq!(json, traced());
    firmware.traced["more_steps"] = json!(3);
    firmware.traced["more_frames"] = json!(2);
    (firmware.traced["outcome"], firmware.traced["reason"]) = (json!("dropped"), json!("blackhole"));
    let out = firmware.run("trace --port lan0 --hex 00").done();
    assert!(out.contains("… and 3 more steps\n") && out.contains("… and 2 more frames\n"), "{out}");
    assert!(out.ends_with("\ndropped: blackhole (generation 7)\n"), "{out}");
}

#[test]
fn what_is_no_packet_is_refused_before_it_is_asked_for() {
    for (line, says) in [
        ("trace --hex 00", "--port <PORT>|--endpoint <BRIDGE/MAC>"),
        ("trace --port lan0", "--hex <DIGITS>|--dst <ADDRESS>|--arp-request <ADDRESS>"),
        ("trace --port lan0 --endpoint red/02:00:00:00:00:01 --hex 00", "cannot be used with"),
        ("trace --port lan0 --hex 020g", "expected a hexadecimal digit as character 4, found g"),
        ("trace --port lan0 --hex 00 --ttl 3", "cannot be used with"),
        ("trace --endpoint red --dst 10.0.0.1", "expected BRIDGE/MAC such as red/02:00:00:00:00:01, found red"),
        ("trace --endpoint red/02:00:00:00:00:01 --vlan 5 --dst 10.0.0.1", "cannot be used with"),
        ("trace --port lan0 --dst 10.0.0.1", "--src-mac <MAC>"),
        ("trace --endpoint red/02:00:00:00:00:01 --dst 10.0.0.1 --ttl 256", "256"),
        ("trace --endpoint red/02:00:00:00:00:01 --dst 10.0.0.1 --length 16001", "16001"),
        ("trace --endpoint red/02:00:00:00:00:01 --dst 10.0.0.1 --proto sctp", "expected udp, tcp, icmp, or a number"),
        ("trace --endpoint red/02:00:00:00:00:01 --arp-request 10.0.0.1 --ttl 4", "cannot be used with"),
    ] {
        let error = Cli::try_parse_from(["weirctl"].into_iter().chain(line.split_whitespace()));
        let text = error.err().unwrap_or_else(|| panic!("{line}")).to_string();
        assert!(text.contains(says), "{line}: {text}");
    }
}
