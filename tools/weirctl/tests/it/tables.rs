//! Tables of fixed values, to the last blank.

use crate::firmware::Firmware;
use serde_json::json;
use std::collections::BTreeMap;
use weir_api::view::{MbufStats, PortStats, Stats, TableStats, WorkerStats};

fn counts(of: &[(&str, u64)]) -> BTreeMap<String, u64> {
    of.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

fn port(name: &str, drops: &[(&str, u64)]) -> PortStats {
    PortStats {
        name: name.to_owned(),
        device: format!("net_tap_{name}"),
        driver: "net_tap".to_owned(),
        mac: "02:00:00:00:00:0a".to_owned(),
        mtu: 1500,
        link_up: true,
        link_mbps: 10_000,
        rx_queues: 1,
        tx_queues: 2,
        rx_packets: 12_345_678,
        rx_bytes: 1_234_567_800,
        tx_packets: 9,
        tx_bytes: 900,
        rx_missed: 3,
        tx_errors: 5,
        drops: counts(drops),
    }
}

fn running() -> Firmware {
    let worker = WorkerStats {
        core: 1,
        generation: 7,
        busy_cycles: 1,
        idle_cycles: 2,
        sleep_cycles: 6,
        rx_packets: 100,
        originated_packets: 2,
        tx_packets: 90,
        dropped_packets: 11,
        held_packets: 0,
        consumed_packets: 1,
        ..WorkerStats::default()
    };
    let mut silent = port("wan0", &[]);
    (silent.link_up, silent.link_mbps) = (false, 0);
    let stats = Stats {
        version: "0.1.0".to_owned(),
        api_version: 1,
        generation: 7,
        uptime_seconds: 93_784,
        ports: vec![port("lan0", &[("no_bridge", 5), ("malformed", 0), ("looped", 7)]), silent],
        workers: vec![worker, WorkerStats { core: 2, generation: 7, ..WorkerStats::default() }],
        events: counts(&[("flooded", 4), ("learned", 12)]),
        tables: [("macs".to_owned(), TableStats { entries: 12, capacity: 4096 })].into(),
        mbufs: MbufStats { free: 8000, total: 8192 },
    };
    let learned = vec![
        json!({"bridge": "red", "mac": "02:00:00:00:00:01", "location": "vlan/lan0/100", "source": "learned",
            "age_seconds": 12}),
        json!({"bridge": "a-long-name", "mac": "02:00:00:00:00:02", "location": "vxlan/10000/192.0.2.2",
            "source": "configured"}),
        json!({"bridge": "red", "address": "10.0.0.1", "mac": "02:00:00:00:00:01", "source": "configured", "sequence": 0}),
        json!({"bridge": "red", "address": "2001:db8::7", "mac": "02:00:00:00:00:07", "source": "learned", "age_seconds": 3,
            "sequence": 2}),
        json!({"bridge": "red", "segment": "qinq/lan0/200/100", "origin": "vlan"}),
        json!({"bridge": "red", "segment": "nvgre/5000", "peer": "2001:db8::2", "mesh": "east", "origin": "endpoint"}),
        json!({"name": "r1", "mss_clamp": true, "icmp_limit": 100, "interfaces": 2, "routes": 1000000}),
        json!({"router": "r1", "prefix": "0.0.0.0/0", "origin": "external",
            "via": [{"address": "203.0.113.1", "bridge": "ext"}, {"address": "203.0.113.254", "bridge": "ext"}]}),
        json!({"router": "r1", "prefix": "10.0.0.0/24", "origin": "connected", "bridge": "red"}),
        json!({"router": "r2", "prefix": "10.0.0.0/24", "origin": "configured", "blackhole": true}),
        json!({"mac": "02:00:5e:01:00:01", "own": false, "source": "configured"}),
        json!({"mac": "02:00:5e:01:00:02", "own": true, "source": "port"}),
    ];
    Firmware { stats, learned, ..Firmware::default() }
}

#[track_caller]
fn prints(line: &str, expected: &str) {
    assert_eq!(running().run(line).done(), expected, "{line}");
}

#[test]
fn ports() {
    prints(
        "show port",
        "\
PORT  DEVICE        DRIVER   MAC                MTU(bytes)  LINK  SPEED(Mbit/s)  RX(queues)  TX(queues)  RX(packets)   RX(bytes)  TX(packets)  TX(bytes)  RX-MISSED(packets)  TX-ERRORS(packets)  DROPPED(packets)
lan0  net_tap_lan0  net_tap  02:00:00:00:00:0a        1500  up            10000           1           2     12345678  1234567800            9        900                   3                   5                12
wan0  net_tap_wan0  net_tap  02:00:00:00:00:0a        1500  down              -           1           2     12345678  1234567800            9        900                   3                   5                 0
",
    );
    assert_eq!(running().run("show port wan0").done().lines().count(), 2);
}

#[test]
fn drops_show_only_what_was_dropped() {
    prints(
        "show drop",
        "REASON     lan0(packets)  TOTAL(packets)\nlooped                 7               7\nno_bridge              5               5\n",
    );
    prints("show drop malformed", "nothing dropped\n");
    prints("-j show drop looped", "[{\"packets\":7,\"port\":\"lan0\",\"reason\":\"looped\"}]\n");
    assert_eq!(Firmware::default().run("show drop").done(), "nothing dropped\n");
    assert_eq!(Firmware::default().run("show drop -j").done(), "[]\n");
}

#[test]
fn workers() {
    prints(
        "show worker",
        "\
CORE  GENERATION  BUSY(%)  IDLE(%)  SLEEP(%)  RX(packets)  ORIGINATED(packets)  TX(packets)  DROPPED(packets)  HELD(packets)  CONSUMED(packets)
   1           7     11.1     22.2      66.6          100                    2           90                11              0                  1
   2           7        -        -         -            0                    0            0                 0              0                  0
",
    );
}

#[test]
fn generation_version_and_uptime() {
    prints("show generation", "generation  7\nversion     0.1.0 (API 1)\nuptime      93784 s (1 d 02:03:04)\n");
    prints(
        "show generation -j",
        "{\"api_version\":1,\"generation\":7,\"uptime_seconds\":93784,\"version\":\"0.1.0\"}\n",
    );
}

#[test]
fn tables_and_packet_buffers() {
    prints(
        "show table",
        "TABLE  ENTRIES  CAPACITY(entries)  FULL(%)\nmacs        12               4096      0.2\nmbufs      192               8192      2.3\n",
    );
    prints("show table macs -j", "[{\"capacity\":4096,\"entries\":12,\"table\":\"macs\"}]\n");
}

#[test]
fn events() {
    prints("show event", "EVENT    COUNT(events)\nflooded              4\nlearned             12\n");
    prints("show event learned -j", "[{\"count\":12,\"event\":\"learned\"}]\n");
    assert_eq!(Firmware::default().run("show event").done(), "no events\n");
}

#[test]
fn macs() {
    prints(
        "show mac",
        "\
BRIDGE       MAC                LOCATION               SOURCE      AGE(s)
red          02:00:00:00:00:01  vlan/lan0/100          learned         12
a-long-name  02:00:00:00:00:02  vxlan/10000/192.0.2.2  configured       -
",
    );
    assert_eq!(running().run("show mac --bridge red").done().lines().count(), 2);
    assert_eq!(running().run("show mac 02:00:00:00:00:02").done().lines().count(), 2);
    assert_eq!(Firmware::default().run("show mac").done(), "no MACs\n");
}

#[test]
fn routing() {
    prints(
        "show router",
        "ROUTER  MSS-CLAMP  ICMP-LIMIT(packets/s)  INTERFACES   ROUTES\n\
         r1      yes                          100           2  1000000\n",
    );
    prints(
        "show route",
        "\
ROUTER  PREFIX       ORIGIN      VIA                        INTERFACE
r1      0.0.0.0/0    external    203.0.113.1,203.0.113.254  r1/ext
r1      10.0.0.0/24  connected   -                          r1/red
r2      10.0.0.0/24  configured  blackhole                  -
",
    );
    prints(
        "show dvr-mac",
        "MAC                OWN  SOURCE\n02:00:5e:01:00:01  no   configured\n02:00:5e:01:00:02  yes  port\n",
    );
    for (line, lines) in [
        ("show router r1", 2),
        ("show route --router r1", 3),
        ("show route 10.0.0.0/24", 3),
        ("show route r2/10.0.0.0/24", 2),
        ("show route 10.0.0.0/24 --router r1", 2),
        ("show dvr-mac 02:00:5e:01:00:02", 2),
    ] {
        assert_eq!(running().run(line).done().lines().count(), lines, "{line}");
    }
    for (line, code) in [
        ("show router r9", 4),
        ("show route 10.9.0.0/16", 4),
        ("show dvr-mac 02:00:5e:01:00:09", 4),
        ("show route r2/10.0.0.0/24 --router r1", 2),
    ] {
        assert_eq!(running().run(line).code(), code, "{line}");
    }
    prints(
        "show route -j --router r2",
        "[{\"blackhole\":true,\"origin\":\"configured\",\"prefix\":\"10.0.0.0/24\",\"router\":\"r2\"}]\n",
    );
}

#[test]
fn interfaces() {
    let mut firmware = Firmware::default();
    for line in [
        "add interface r1 red --mac 02:00:5e:00:00:01 --address 10.0.0.1/24 --address 2001:db8::1/64 --mtu 1450",
        "add interface r1 ext --mac 02:00:5e:00:00:02 --address 203.0.113.2/24 --external --gateway 203.0.113.1",
    ] {
        firmware.run(line).done();
    }
    assert_eq!(
        firmware.run("show interface").done(),
        "\
ROUTER  BRIDGE  MAC                ADDRESSES                   MTU(bytes)  EXTERNAL  GATEWAYS     RA
r1      ext     02:00:5e:00:00:02  203.0.113.2/24                       -  yes       203.0.113.1  no
r1      red     02:00:5e:00:00:01  10.0.0.1/24,2001:db8::1/64        1450  no        -            no
"
    );
    assert_eq!(firmware.run("show interface --bridge red --router r1").done().lines().count(), 2);
    assert_eq!(firmware.run("show interface r1/blue").code(), 4);
    assert_eq!(
        firmware.run("show interface r1/ext").done(),
        "router              r1\n\
         bridge              ext\n\
         mac                 02:00:5e:00:00:02\n\
         addresses           203.0.113.2/24\n\
         link-local          fe80::5eff:fe00:2\n\
         mtu                 what fits each way out\n\
         external            yes\n\
         gateways            203.0.113.1\n\
         pass-without-nat    no\n\
         ra                  no\n\
         ra-interval         600 s\n\
         ra-lifetime         1800 s\n\
         ra-managed          no\n\
         ra-other            no\n"
    );
}

#[test]
fn bindings() {
    prints(
        "show binding",
        "\
BRIDGE  ADDRESS      MAC                SOURCE      AGE(s)  SEQUENCE
red     10.0.0.1     02:00:00:00:00:01  configured       -         0
red     2001:db8::7  02:00:00:00:00:07  learned          3         2
",
    );
    for (line, lines) in [
        ("show binding 10.0.0.1", 2),
        ("show binding 02:00:00:00:00:07", 2),
        ("show binding --source learned --bridge red", 2),
        ("show binding --address 2001:DB8::7", 2),
        ("show binding --address 10.9.9.9", 1),
        ("show mac --source learned", 2),
        ("show mac --address 02:00:00:00:00:02", 2),
    ] {
        assert_eq!(running().run(line).done().lines().count(), lines, "{line}");
    }
    assert_eq!(Firmware::default().run("show binding").done(), "no bindings\n");
    assert_eq!(running().run("show binding 10.9.9.9").error(), "there is no binding 10.9.9.9");
    assert_eq!(running().run("show mac 02:00:00:00:00:09 --bridge red").code(), 4);
}

#[test]
fn floods() {
    prints(
        "show flood --bridge red",
        "\
BRIDGE  SEGMENT            PEER         MESH  ORIGIN
red     qinq/lan0/200/100  -            -     vlan
red     nvgre/5000         2001:db8::2  east  endpoint
",
    );
    assert_eq!(running().run("show flood --address 2001:db8::2").done().lines().count(), 2);
    assert_eq!(Firmware::default().run("show flood").done(), "no flood lists\n");
}

#[test]
fn objects() {
    let mut firmware = Firmware::default();
    let objects = "
        [[bridge]]
        name = 'red'
        unknown_limit = 0
        [[vtep]]
        name = 'tun0'
        port = 'wan0'
        address = '192.0.2.1/24'
        gateways = ['192.0.2.253', '192.0.2.254']
        neighbours = { '192.0.2.2' = '02:00:00:00:00:02', '192.0.2.3' = '02:00:00:00:00:03' }
        [[segment]]
        id = 'vlan/lan0/untagged'
        bridge = 'red'
        [[segment]]
        id = 'vxlan/10000'
        bridge = 'red'
        vtep = 'tun0'
        mesh = 'east'
        [[segment]]
        id = 'qinq/lan0/200/100'
        bridge = 'red'
        tpid = '0x8100'
        [[peer]]
        segment = 'vxlan/10000'
        address = '192.0.2.2'
        mesh = 'west'
        [[endpoint]]
        bridge = 'red'
        mac = '02:00:00:00:00:01'
        location = 'vxlan/10000/192.0.2.2'
        ips = ['10.0.0.1', '10.0.0.2']
        allowed_pairs = ['10.0.0.100=00:00:5e:00:01:33', '10.1.0.0/16']
        ";
    firmware.run_with("apply -f -", objects).done();
    for (line, expected) in [
        (
            "show bridge",
            "BRIDGE  MAC-LIMIT  MAC-AGEING(s)  UNKNOWN-UNICAST  ACCEPT-FROM  FLOOD-LIST  SUPPRESSION  PORT-SECURITY\n\
             red          4096            300  flood            any          peers       yes          no\n",
        ),
        (
            "show bridge red",
            "bridge              red\n\
             mac-limit           4096\n\
             mac-ageing          300 s\n\
             unknown-unicast     flood\n\
             accept-from         any\n\
             flood-list          peers\n\
             suppression         yes\n\
             unknown-target      flood\n\
             binding-limit       4096\n\
             binding-ageing      300 s\n\
             port-security       no\n\
             broadcast-limit     10000 packets/s\n\
             unknown-limit       none\n\
             announcement-limit  1000 packets/s\n",
        ),
        (
            "show vtep",
            "VTEP  PORT  ADDRESS       GATEWAYS                 NEIGHBOURS\n\
             tun0  wan0  192.0.2.1/24  192.0.2.253,192.0.2.254  192.0.2.2=02:00:00:00:00:02,192.0.2.3=02:00:00:00:00:03\n",
        ),
        (
            "show segment",
            "SEGMENT             BRIDGE  VTEP  CARRY-TAGS  MESH  TPID\n\
             qinq/lan0/200/100   red     -     -           -     0x8100\n\
             vlan/lan0/untagged  red     -     -           -     -\n\
             vxlan/10000         red     tun0  no          east  -\n",
        ),
        ("show peer", "SEGMENT      ADDRESS    MESH\nvxlan/10000  192.0.2.2  west\n"),
        (
            "show endpoint",
            "BRIDGE  MAC                LOCATION               IPS                ALLOWED-PAIRS\n\
             red     02:00:00:00:00:01  vxlan/10000/192.0.2.2  10.0.0.1,10.0.0.2  10.0.0.100=00:00:5e:00:01:33,10.1.0.0/16\n",
        ),
    ] {
        assert_eq!(firmware.run(line).done(), expected);
    }
    for noun in ["bridge", "vtep", "segment", "peer", "endpoint", "interface"] {
        assert_eq!(Firmware::default().run(&format!("show {noun}")).done(), format!("no {noun}s\n"));
    }
}

#[test]
fn stats_show_every_part() {
    let text = running().run("show stats").done();
    for part in ["generation  7", "lan0", "looped", "BUSY(%)", "flooded", "mbufs"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let whole: Stats = serde_json::from_str(&running().run("show stats -j").done()).unwrap();
    assert_eq!(whole, running().stats);
}
