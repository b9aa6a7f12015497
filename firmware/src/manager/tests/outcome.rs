//! What the snapshot says of a desired state, whichever way that came about; and the pages that the manager hands out.

use super::*;
use weir_pipelines::tables::{
    Attachment, BridgeId, Encap, Location, Peer, PeerIx, PortId, SegmentIx, SegmentKind, VtepIx,
};

fn location(c: &Configuration, mac: u8) -> Option<(SegmentIx, Option<Peer>)> {
    let mac = MacAddr([2, 0, 0, 0, 0, mac]);
    let Location { segment, peer } = c.snapshot().endpoint_at(BridgeId(0), mac)?;
    Some((segment, peer.and_then(|ix| c.snapshot().peer(ix))))
}

#[test]
fn the_snapshot_says_what_is_desired() {
    let c = with_red();
    let s = c.snapshot();
    assert_eq!(s.generation, 1);
    let Attachment::Segment(vlan, BridgeId(0), false, _) = s.attachment(PortId(0), false, 100) else {
        panic!("no VLAN 100")
    };
    assert_eq!(s.attachment(PortId(1), false, 0), Attachment::Underlay);
    let vxlan = s.network(Encap::Vxlan, 7).unwrap();
    let segment = s.segment(vxlan).unwrap();
    assert!(matches!(segment.kind, SegmentKind::Tunnel { vtep: VtepIx(0), .. }) && segment.bridge == BridgeId(0));
    let bridge = s.bridge(BridgeId(0)).unwrap();
    assert!(bridge.settings.flood_unknown && !bridge.settings.listed_only);
    assert_eq!((bridge.settings.mac_limit, bridge.settings.mac_ageing), (4096, 300));
    assert_eq!(bridge.local, [vlan]);
    let peer = |last| Peer { vtep: VtepIx(0), encap: Encap::Vxlan, address: [192, 0, 2, last].into() };
    let number = |last| s.peer_number(peer(last)).unwrap();
    assert_eq!(bridge.remote, [(vxlan, number(2))]);
    assert!(s.is_listed(BridgeId(0), number(2)) && s.is_listed(BridgeId(0), number(3)));
    assert_eq!(location(&c, 1), Some((vlan, None)));
    assert_eq!(location(&c, 2), Some((vxlan, Some(peer(3)))));
}

#[test]
fn peers_live_as_long_as_somebody_names_them() {
    let mut c = with_red();
    let peer = |last| Peer { vtep: VtepIx(0), encap: Encap::Vxlan, address: [192, 0, 2, last].into() };
    let before = c.snapshot().peer_number(peer(3)).unwrap();
    // A second reason to know the peer keeps its number.
    apply(&mut c, json!([{"put": {"peer": {"segment": "vxlan/7", "address": "192.0.2.3"}}}])).unwrap();
    apply(&mut c, json!([{"delete": {"kind": "endpoint", "id": "red/02:00:00:00:00:02"}}])).unwrap();
    assert_eq!(c.snapshot().peer_number(peer(3)), Some(before));
    apply(&mut c, json!([{"delete": {"kind": "peer", "id": "vxlan/7/192.0.2.3"}}])).unwrap();
    assert_eq!(c.snapshot().peer_number(peer(3)), None);
    assert!(!c.snapshot().is_listed(BridgeId(0), before));
    assert_eq!(c.snapshot().bridge(BridgeId(0)).unwrap().remote.len(), 1);
    assert_eq!(location(&c, 2), None);
    // The freed number comes last.
    apply(&mut c, json!([{"put": {"peer": {"segment": "vxlan/7", "address": "192.0.2.3"}}}])).unwrap();
    assert_ne!(c.snapshot().peer_number(peer(3)), Some(before));
}

#[test]
fn a_segment_takes_what_is_on_it_to_another_vtep() {
    let mut c = with_red();
    let moved = json!([
        {"put": {"vtep": {"name": "other", "port": "up0", "address": "198.51.100.1/24"}}},
        {"put": {"segment": {"id": "vxlan/7", "bridge": "red", "vtep": "other"}}},
    ]);
    apply(&mut c, moved).unwrap();
    let s = c.snapshot();
    let peer =
        |vtep, last| s.peer_number(Peer { vtep: VtepIx(vtep), encap: Encap::Vxlan, address: [192, 0, 2, last].into() });
    assert_eq!((peer(0, 2), peer(0, 3)), (None, None));
    let vxlan = s.network(Encap::Vxlan, 7).unwrap();
    assert_eq!(s.bridge(BridgeId(0)).unwrap().remote, [(vxlan, peer(1, 2).unwrap())]);
    let at = location(&c, 2).unwrap();
    assert_eq!(at, (vxlan, Some(Peer { vtep: VtepIx(1), encap: Encap::Vxlan, address: [192, 0, 2, 3].into() })));
}

#[test]
fn a_restored_state_is_the_same_state() {
    let c = with_red();
    let mut again = configuration(Tables::default());
    again.restore(whole(&c), 41).unwrap();
    assert_eq!((whole(&again), again.generation(), again.snapshot().generation), (whole(&c), 41, 41));
    let mut other = Configuration::new(vec!["lan0".parse().unwrap()], Tables::default(), empty(1));
    let error = other.restore(whole(&c), 41).unwrap_err();
    assert!(error.message.contains("vtep up: there is no port up0 in weir.toml"), "{error:?}");
    assert_eq!((whole(&other).len(), other.generation()), (0, 0));
}

/// Batches of random puts and deletes, most of them refused: a refused one changes nothing, and what is in force is
/// always what a fresh start from the same objects would be, but for the numbers.
#[test]
fn any_sequence_of_batches_keeps_everything_equal() {
    let mut c = configuration(Tables::default());
    let mut random = 1u64;
    let mut next = move |n: u64| {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (random >> 33) % n
    };
    let (mut accepted, mut refused) = (0, 0);
    // How often there were routes by next hops, and gateways.
    let mut routed = [0, 0];
    for _ in 0..4000 {
        let batch: Vec<Value> = (0..=next(4)).map(|_| random_op(&mut next)).collect();
        let before = (c.desired().clone(), meaning(&c));
        match apply(&mut c, json!(batch)) {
            Ok(_) => accepted += 1,
            Err(_) => {
                refused += 1;
                assert!(before == (c.desired().clone(), meaning(&c)), "something changed");
            }
        }
        let mut fresh = configuration(Tables::default());
        fresh.restore(whole(&c), c.generation()).unwrap();
        assert_eq!(fresh.desired(), c.desired());
        assert_eq!(meaning(&fresh), meaning(&c));
        assert_eq!(claims::told(&c), claims::desired(&c));
        assert_eq!(spread::told(&c), spread::desired(&c));
        let told = routing::told(&c);
        assert_eq!(told, routing::desired(&c));
        for (count, what) in routed.iter_mut().zip(["9.0.0/16 to [", "0.0.0.0/0 to ["]) {
            *count += u32::from(told.iter().any(|line| line.contains(what)));
        }
        assert_eq!(fresh.translator().peer_count(), c.translator().peer_count());
    }
    assert!(accepted > 300 && refused > 300, "{accepted} accepted, {refused} refused");
    assert!(routed.iter().all(|count| *count > 300), "{routed:?}");
}

fn random_op(next: &mut impl FnMut(u64) -> u64) -> Value {
    let bridge = ["red", "blue"][next(2) as usize];
    let vtep = ["up", "alt"][next(2) as usize];
    let (vlan, tunnel) = (format!("vlan/lan0/{}", 1 + next(2)), ["vxlan/0", "vxlan/1", "nvgre/4096"][next(3) as usize]);
    let qinq = format!("qinq/lan0/{}/{}", 2 + next(2), 1 + next(2));
    let remote = format!("192.0.2.{}", 2 + next(3));
    let mut object = match next(12) {
        0 => {
            let flood_list = ["peers", "endpoints"][next(2) as usize];
            json!({"bridge": {"name": bridge, "mac_limit": next(3), "flood_list": flood_list}})
        }
        1 => json!({"vtep": {"name": vtep, "port": "up0", "address": format!("192.0.2.{}/24", 1 + next(4))}}),
        2 => json!({"segment": {"id": vlan, "bridge": bridge}}),
        3 => {
            let tpid = ["0x88a8", "0x8100"][next(2) as usize];
            json!({"segment": {"id": qinq, "bridge": bridge, "tpid": tpid}})
        }
        4 => json!({"segment": {"id": tunnel, "bridge": bridge, "vtep": vtep}}),
        5 => json!({"peer": {"segment": tunnel, "address": remote}}),
        8.. => routing::random_object(next),
        _ => {
            let location = [vlan, qinq, format!("{tunnel}/{remote}")][next(3) as usize].clone();
            let ips: Vec<_> = (1..4).filter(|_| next(3) == 0).map(|n| format!("10.0.0.{n}")).collect();
            let pairs = ["10.0.0.1", "10.0.0.2=02:00:00:00:00:01", "10.0.0.2=00:00:5e:00:01:07", "10.0.0.0/8"];
            let pairs: Vec<_> = pairs.iter().filter(|_| next(4) == 0).collect();
            json!({"endpoint": {"bridge": bridge, "mac": format!("02:00:00:00:00:0{}", next(3)), "location": location,
                "ips": ips, "allowed_pairs": pairs}})
        }
    };
    for kind in ["segment", "peer"] {
        if let Some(named) = object.get_mut(kind).filter(|_| next(2) == 0) {
            let tunnel = kind == "peer" || named.get("vtep").is_some();
            if tunnel {
                named["mesh"] = json!(["east", "west"][next(2) as usize]);
            }
        }
    }
    let object: Object = serde_json::from_value(object).unwrap();
    if next(3) == 0 { json!({"delete": object.key()}) } else { json!({"put": object}) }
}

/// What a snapshot means, in names: numbers differ with the way there.
pub(super) fn meaning(c: &Configuration) -> Vec<String> {
    let (s, names, ids) = (c.snapshot(), c.translator().bridge_names(), c.translator().segment_ids());
    let peer = |ix: PeerIx| s.peer(ix).map(|p| (s.vtep(p.vtep).map(|v| v.address), p.address));
    let mut lines = Vec::new();
    for (id, name) in &names {
        let bridge = s.bridge(*id).unwrap();
        let mut local: Vec<_> = bridge.local.iter().map(|ix| ids[ix].to_string()).collect();
        let mut remote: Vec<_> = bridge.remote.iter().map(|(ix, p)| (ids[ix].to_string(), peer(*p).unwrap())).collect();
        local.sort();
        remote.sort();
        lines.push(format!("bridge {name} {:?} {local:?} {remote:?}", bridge.settings));
        for n in 0..3 {
            let at = s.endpoint_at(*id, MacAddr([2, 0, 0, 0, 0, n]));
            lines.push(format!("host {name} {n} {:?}", at.map(|l| (ids[&l.segment].to_string(), l.peer.map(peer)))));
        }
        for last in 1..6 {
            for vtep in 0..256 {
                let p = Peer { vtep: VtepIx(vtep), encap: Encap::Vxlan, address: [192, 0, 2, last].into() };
                if let (Some(ix), Some(v)) = (s.peer_number(p), s.vtep(VtepIx(vtep))) {
                    lines.push(format!("listed {name} {} {last} {}", v.address, s.is_listed(*id, ix)));
                }
            }
        }
    }
    for (ix, id) in &ids {
        let segment = s.segment(*ix).unwrap();
        let vtep = match segment.kind {
            SegmentKind::Tunnel { encap, network, vtep } => {
                assert_eq!(s.network(encap, network.into()), Some(*ix));
                s.vtep(vtep).map(|v| v.address)
            }
            SegmentKind::Vlan { port, vid } => {
                let gate = s.bridge(segment.bridge).unwrap().gate;
                let there = Attachment::Segment(*ix, segment.bridge, false, gate);
                assert_eq!(s.attachment(port, false, vid.map_or(0, u16::from)), there);
                None
            }
            SegmentKind::Qinq { port, service, outer, inner } => {
                assert_eq!(s.attachment(port, service, outer.into()), Attachment::Stacked, "{id}");
                assert_eq!(s.qinq(port, service, outer.into(), inner.into()), Some(*ix));
                None
            }
        };
        lines.push(format!("segment {id} {} {vtep:?}", names[&segment.bridge]));
    }
    lines.push(format!("endpoints {} underlay {:?}", s.endpoint_count(), s.attachment(PortId(1), false, 0)));
    lines.sort();
    lines
}

#[test]
fn pages_hand_out_every_row_once() {
    let mut m = manager();
    let mut batch = red().as_array().unwrap().clone();
    batch.push(json!({"put": {"bridge": {"name": "blue"}}}));
    batch.push(json!({"put": {"segment": {"id": "vxlan/8", "bridge": "blue", "vtep": "up"}}}));
    batch.extend((3..8).map(
        |n| json!({"put": {"peer": {"segment": format!("vxlan/{}", 7 + n % 2), "address": format!("192.0.2.{n}")}}}),
    ));
    batch.extend((3..9).map(|n| {
        json!({"put": {"endpoint":
        {"bridge": "blue", "mac": format!("02:00:00:00:00:0{n}"), "location": "vxlan/8/192.0.2.2",
            "ips": [format!("10.0.0.{n}")]}}})
    }));
    batch[5]["put"]["endpoint"]["ips"] = json!(["2001:db8::1"]);
    m.answer(Call::Apply(Apply { ops: ops(json!(batch)), ..Apply::default() })).unwrap();
    for (of, bridge, count) in [
        ("bridge", None, 2),
        ("vtep", None, 1),
        ("segment", None, 3),
        ("peer", None, 6),
        ("endpoint", None, 8),
        ("mac", None, 8),
        ("binding", None, 7),
        ("flood", None, 7),
        ("bridge", Some("red"), 1),
        ("segment", Some("red"), 2),
        ("peer", Some("blue"), 3),
        ("endpoint", Some("blue"), 6),
        ("mac", Some("red"), 2),
        ("binding", Some("red"), 1),
        ("flood", Some("red"), 4),
        ("neighbour", None, 0),
    ] {
        let whole = list(&mut m, json!({"of": of, "bridge": bridge})).unwrap();
        assert_eq!((whole.rows.len(), whole.next), (count, None), "{of} {bridge:?}");
        for limit in 1..4 {
            let (mut rows, mut after) = (Vec::new(), None);
            loop {
                let page = list(&mut m, json!({"of": of, "bridge": bridge, "limit": limit, "after": after})).unwrap();
                assert!(page.rows.len() <= limit);
                rows.extend(page.rows);
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(rows, whole.rows, "{of} {bridge:?} by {limit}");
        }
    }
}

#[test]
fn wrong_lists_and_gets_are_refused() {
    let mut m = manager();
    let wrong = |m: &mut Manager, json: Value| {
        let error = list(m, json).unwrap_err();
        (error.code, error.data.unwrap().path)
    };
    assert_eq!(wrong(&mut m, json!({"of": "mac", "limit": 0})), (code::INVALID_PARAMS, "limit".into()));
    assert_eq!(wrong(&mut m, json!({"of": "peer", "after": "x"})), (code::INVALID_PARAMS, "after".into()));
    assert_eq!(wrong(&mut m, json!({"of": "mac", "after": "x"})), (code::INVALID_PARAMS, "after".into()));
    assert_eq!(wrong(&mut m, json!({"of": "neighbour", "after": "x"})), (code::INVALID_PARAMS, "after".into()));
    assert_eq!(wrong(&mut m, json!({"of": "mac", "bridge": "red"})), (code::NOT_FOUND, "bridge".into()));
    assert_eq!(wrong(&mut m, json!({"of": "neighbour", "bridge": "red"})), (code::NOT_FOUND, "bridge".into()));
    assert_eq!(wrong(&mut m, json!({"of": "neighbour", "router": "r1"})), (code::NOT_FOUND, "router".into()));
    m.answer(Call::Apply(Apply { ops: ops(red()), ..Apply::default() })).unwrap();
    assert_eq!(wrong(&mut m, json!({"of": "vtep", "bridge": "red"})), (code::INVALID_PARAMS, "bridge".into()));
    let mut get = |kind, id: &str| m.answer(Call::Get(weir_api::object::Key { kind, id: id.into() }));
    assert_eq!(get(Kind::Bridge, "blue").unwrap_err().code, code::NOT_FOUND);
    assert_eq!(get(Kind::Segment, "x").unwrap_err().code, code::INVALID_PARAMS);
    assert!(matches!(get(Kind::Peer, "vxlan/7/192.0.2.2"), Ok(Answer::Object(Object::Peer(_)))));
}

/// What `docs/rpc.md` shows is what happens, to the letter.
#[test]
fn the_reference_is_exact() {
    let mut m = manager();
    let mut shown = include_str!("../../../docs/rpc.md").lines().peekable();
    let mut compared = 0;
    while let Some(line) = shown.next() {
        let Some(request) = line.strip_prefix("→ ") else { continue };
        let response = crate::rpc::respond(request.as_bytes(), |call| m.answer(call));
        if let Some(expected) = shown.peek().and_then(|next| next.strip_prefix("← ")) {
            assert_eq!(String::from_utf8(response).unwrap(), expected, "{request}");
            compared += 1;
        }
    }
    assert_eq!(compared, 21);
}
