//! Traces in the operator's words: what goes in, what each step used, what would leave.

use super::*;
use crate::worker::link::{BindingEntry, Lookup, MacEntry, NeighbourAt, NeighbourEntry, Request, Shared};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use weir_api::trace::Traced;
use weir_pipelines::tables::{BridgeId, Manners, NeighbourState, PortId, SegmentIx};

/// `red` with a router to `blue`, and a host on each side of each.
fn routed() -> Value {
    let mut all = red().as_array().unwrap().clone();
    all[5]["put"]["endpoint"]["ips"] = json!(["10.0.0.1"]);
    all[6]["put"]["endpoint"]["ips"] = json!(["10.0.0.2", "2001:db8::2"]);
    let more = json!([
        {"put": {"bridge": {"name": "blue"}}},
        {"put": {"segment": {"id": "vlan/lan0/200", "bridge": "blue"}}},
        {"put": {"endpoint": {"bridge": "blue", "mac": "02:00:00:00:00:03", "location": "vlan/lan0/200", "ips": ["10.0.1.3"]}}},
        {"put": {"router": {"name": "r1"}}},
        {"put": {"interface": {"router": "r1", "bridge": "red", "mac": "02:00:5e:00:00:01", "addresses": ["10.0.0.254/24"]}}},
        {"put": {"interface": {"router": "r1", "bridge": "blue", "mac": "02:00:5e:00:00:02", "addresses": ["10.0.1.254/24"]}}},
        {"put": {"route": {"router": "r1", "prefix": "10.9.0.0/16", "blackhole": true}}},
        {"put": {"route": {"router": "r1", "prefix": "10.8.0.0/16", "via": ["10.0.1.8", "10.0.1.9"]}}},
    ]);
    all.extend(more.as_array().unwrap().clone());
    json!(all)
}

fn with_crew(links: Vec<Link>) -> Manager {
    let limits = Tables::default();
    let mut configuration = configuration(limits.clone());
    apply(&mut configuration, routed()).unwrap();
    Manager::new(configuration, limits, None, Crew::new(links), Vec::new(), None)
}

fn trace(m: &mut Manager, json: Value) -> Result<Traced, Error> {
    match m.answer(Call::Trace(serde_json::from_value(json).unwrap()))? {
        Answer::Traced(traced) => Ok(*traced),
        other => panic!("{other:?}"),
    }
}

fn ask(m: &mut Manager, at: &str, fields: Value) -> Traced {
    trace(m, json!({"at": at, "frame": {"fields": fields}})).unwrap()
}

/// Step and object, a line each.
fn objects(traced: &Traced) -> Vec<String> {
    let row = |step: &weir_api::trace::TraceStep| {
        let object = step.object.as_ref().map(|key| format!(" {key}")).unwrap_or_default();
        format!("{}{object}", step.step.as_str())
    };
    traced.steps.iter().map(row).collect()
}

#[test]
fn an_endpoints_packet_to_another_net_goes_to_its_gateway_and_every_object_is_named() {
    let mut m = with_crew(Vec::new());
    let found = ask(&mut m, "red/02:00:00:00:00:01", json!({"dst": "10.0.1.3", "ttl": 9}));
    assert_eq!(
        objects(&found),
        [
            "ingress segment vlan/lan0/100",
            "parse",
            "sender endpoint red/02:00:00:00:00:01",
            "interface interface r1/red",
            "route interface r1/blue",
            "next_hop interface r1/blue",
            "owner endpoint blue/02:00:00:00:00:03",
            "lookup endpoint blue/02:00:00:00:00:03",
            "decide",
            "towards segment vlan/lan0/200",
            "leave",
        ]
    );
    assert_eq!((found.outcome.as_str(), found.reason.as_deref(), found.port.as_str()), ("forwarded", None, "lan0"));
    let [frame] = &found.frames[..] else { panic!("{found:?}") };
    assert_eq!(frame.summary, "02:00:5e:00:00:02 > 02:00:00:00:00:03 vlan 200 10.0.0.1 > 10.0.1.3 ttl 8 udp 49152 > 9");
    assert!(found.frame.starts_with("02005e000001020000000001810000640800"), "{}", found.frame);
    assert!(frame.bytes.starts_with("02000000000302005e000002810000c80800"), "{}", frame.bytes);
    // The other way round, the host being behind a tunnel.
    let found = ask(&mut m, "red/02:00:00:00:00:02", json!({"dst": "10.0.1.3", "proto": "tcp", "dport": 80}));
    assert_eq!(found.steps[0].location.as_ref().unwrap().to_string(), "vxlan/7/192.0.2.3");
    assert!(found.frames[0].summary.ends_with("10.0.0.2 > 10.0.1.3 ttl 63 tcp 49152 > 80"), "{:?}", found.frames);
}

#[test]
fn what_goes_nowhere_says_why() {
    let mut m = with_crew(Vec::new());
    let mut why = |dst: &str, more: Value| {
        let mut fields = json!({"dst": dst});
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let found = ask(&mut m, "red/02:00:00:00:00:01", fields);
        (found.outcome.as_str(), found.reason.unwrap_or_default(), found.frames.len())
    };
    assert_eq!(why("10.9.1.1", json!({})), ("dropped", "blackhole".to_owned(), 0));
    assert_eq!(why("10.7.1.1", json!({})), ("dropped", "unroutable".to_owned(), 1), "its sender is told");
    assert_eq!(why("10.0.1.3", json!({"ttl": 1})), ("dropped", "ttl_exceeded".to_owned(), 1));
    assert_eq!(why("10.0.1.3", json!({"length": 4000, "df": true})), ("dropped", "fragmentation_needed".to_owned(), 1));
    assert_eq!(why("10.0.1.3", json!({"length": 4000})), ("forwarded", String::new(), 3), "in three pieces");
    assert_eq!(why("10.0.0.254", json!({"proto": "icmp"})), ("answered", String::new(), 1));
    assert_eq!(why("10.0.1.77", json!({})), ("waits", String::new(), 1));
    let asked = ask(&mut m, "red/02:00:00:00:00:01", json!({"arp_request": "10.0.0.254"}));
    assert_eq!((asked.outcome.as_str(), asked.frames.len()), ("answered", 1));
    let route = ask(&mut m, "red/02:00:00:00:00:01", json!({"dst": "10.8.1.1"}));
    assert!(objects(&route).contains(&"route route r1/10.8.0.0/16".to_owned()), "{route:?}");
}

/// A worker that knows that 10.0.1.77 is at a MAC on blue's VLAN, that next hop 192.0.2.3 has a MAC, and nothing else; it
/// answers until it is told to stop.
fn worker(link: Link, blue: BridgeId, vlan: SegmentIx, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<Vec<usize>> {
    use std::sync::atomic::Ordering;
    let (host, hop) = (MacAddr([2, 0, 0, 0, 0, 0x77]), MacAddr([2, 0, 0, 0, 0, 0xbb]));
    std::thread::spawn(move || {
        let mut asked = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let Some(Request::Lookups(mut lookups)) = link.requests.pop() else {
                std::thread::sleep(Duration::from_micros(100));
                continue;
            };
            asked.push(lookups.asked.len());
            for lookup in lookups.asked.clone() {
                match lookup {
                    Lookup::Binding(bridge, address) if address.to_string() == "10.0.1.77" => {
                        assert_eq!(bridge, blue);
                        let (sequence, age, manners) = (1, 5, Manners::default());
                        lookups.bindings.push(BindingEntry { bridge, address, mac: host, sequence, age, manners });
                    }
                    Lookup::Mac(bridge, mac) if mac == host => {
                        lookups.macs.push(MacEntry { bridge, mac, segment: vlan, peer: None, age: 5 });
                    }
                    Lookup::Hop(port, address) if address.to_string() == "192.0.2.3" => {
                        let at = NeighbourAt::Port(PortId(1));
                        assert_eq!(port, PortId(1));
                        let state = NeighbourState::Reachable;
                        lookups.neighbours.push(NeighbourEntry { at, address, mac: hop, state, held: 0 });
                    }
                    _ => {}
                }
            }
            assert!(link.answers.push(Request::Lookups(lookups)).is_ok());
        }
        asked
    })
}

#[test]
fn what_workers_have_learned_counts_and_they_are_asked_for_a_few_entries_only() {
    let link = Shared::new(1);
    let mut m = with_crew(vec![link.clone()]);
    let translator = m.configuration.translator();
    let blue = translator.bridge_number(&"blue".parse().unwrap()).unwrap();
    let vlan = translator.segment_number(&"vlan/lan0/200".parse().unwrap()).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let running = worker(link, blue, vlan, stop.clone());
    let found = ask(&mut m, "red/02:00:00:00:00:01", json!({"dst": "10.0.1.77"}));
    let tunnel = ask(&mut m, "red/02:00:00:00:00:01", json!({"dst": "10.0.0.2"}));
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let asked = running.join().unwrap();
    assert_eq!(found.outcome.as_str(), "forwarded", "{found:?}");
    assert!(found.frames[0].bytes.starts_with("02000000007702005e000002810000c8"), "{:?}", found.frames);
    let owner = found.steps.iter().find(|step| step.step == weir_api::trace::StepName::Owner).unwrap();
    assert_eq!(json!(owner)["source"], "learned");
    assert_eq!(tunnel.outcome.as_str(), "forwarded", "{tunnel:?}");
    assert!(tunnel.frames[0].bytes.starts_with("0200000000bb"), "{:?}", tunnel.frames);
    assert!(asked.iter().sum::<usize>() < 20, "{asked:?}");
}

#[test]
fn what_cannot_be_traced_is_refused_with_its_place() {
    let mut m = with_crew(Vec::new());
    let mut wrong = |at: &str, frame: Value| {
        let error = trace(&mut m, json!({"at": at, "frame": frame})).unwrap_err();
        let data = error.data.unwrap();
        (error.code, data.path, data.value, error.message)
    };
    let (invalid, host) = (code::INVALID_PARAMS, "red/02:00:00:00:00:01");
    let mut refused = |at: &str, frame: Value, code: i32, path: &str, value: &str, message: &str| {
        let (is, at_path, found, said) = wrong(at, frame);
        assert_eq!((is, at_path.as_str(), found.as_str()), (code, path, value), "{said}");
        assert!(said.contains(message), "{said}");
    };
    let fields = |fields: Value| json!({"fields": fields});
    refused("lan9", json!({"hex": "00"}), code::NOT_FOUND, "at", "lan9", "only lan0, up0");
    refused("red/x", json!({"hex": "00"}), invalid, "at", "red/x", "BRIDGE/MAC");
    for at in ["red/02:00:00:00:00:09", "pink/02:00:00:00:00:01"] {
        refused(at, json!({"hex": "00"}), code::NOT_FOUND, "at", at, "there is no endpoint");
    }
    refused("lan0", json!({"hex": "02 0x"}), invalid, "frame.hex", "02 0x", "character 5");
    refused(host, json!({"hex": "0200"}), invalid, "frame", "2 bytes", "MACs");
    let macs = |mut more: Value| {
        more["src_mac"] = json!("02:00:00:00:00:01");
        more["dst_mac"] = json!("02:00:00:00:00:02");
        json!({"fields": more})
    };
    refused(
        "lan0",
        fields(json!({"dst": "10.0.0.1"})),
        invalid,
        "frame.fields.src_mac",
        "nothing",
        "src_mac is missing",
    );
    refused("lan0", macs(json!({"dst": "10.0.0.1"})), invalid, "frame.fields.src", "nothing", "src is missing");
    refused("lan0", macs(json!({})), invalid, "frame.fields.dst", "nothing", "dst is missing");
    let packet = |more: Value| {
        let mut all = json!({"src": "10.0.0.1", "dst": "10.0.0.2"});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        macs(all)
    };
    refused("lan0", packet(json!({"vlan": 4095})), invalid, "frame.fields.vlan", "4095", "0 to 4094");
    refused("lan0", packet(json!({"length": 27})), invalid, "frame.fields.length", "27", "from 28 to 16000");
    refused("lan0", packet(json!({"src": "::1"})), invalid, "frame.fields.src", "::1", "family");
    refused("lan0", packet(json!({"proto": "icmp", "dport": 5})), invalid, "frame.fields.sport", "5", "no ports");
    refused("lan0", packet(json!({"arp_request": "10.0.0.3"})), invalid, "frame.fields.dst", "10.0.0.2", "ARP");
    refused(host, fields(json!({"dst": "10.0.1.3", "vlan": 5})), invalid, "frame.fields.vlan", "5", "segment's");
    refused(
        host,
        fields(json!({"dst": "10.0.0.99"})),
        invalid,
        "frame.fields.dst",
        "10.0.0.99",
        "nobody on bridge red",
    );
    refused(host, fields(json!({"dst": "2001:db8::9"})), invalid, "frame.fields.src", "nothing", "src is missing");
}
