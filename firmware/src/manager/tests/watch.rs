//! What those who watch hear, and what workers are asked to forget.

use super::*;
use crate::worker::link::{Link, Request, Shared};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use weir_api::event::{Event, EventRow};
use weir_api::message::{Clear, Clearable, Watch};
use weir_pipelines::gateway::{Class, Happening, Notice, Whereabouts};
use weir_pipelines::tables::{BridgeId, Encap, Peer, PortId, SegmentIx, VtepIx};

/// A manager of `red` with two workers that nobody runs.
fn with_workers() -> (Manager, [Link; 2]) {
    let links = [Shared::new(1), Shared::new(2)];
    let port = |name: &str| {
        let row = weir_api::view::PortStats { name: name.to_owned(), ..weir_api::view::PortStats::default() };
        PortFacts { row, control: None }
    };
    let ports = vec![port("lan0"), port("up0")];
    let limits = Tables::default();
    (Manager::new(with_red(), limits, None, Crew::new(links.to_vec()), ports, None), links)
}

fn watch(manager: &mut Manager, json: Value) -> super::super::watch::Stream {
    let watch: Watch = serde_json::from_value(json).unwrap();
    match manager.answer(Call::Watch(watch)).unwrap() {
        Answer::Watching { watching: true, stream: Some(stream) } => stream,
        other => panic!("{other:?}"),
    }
}

/// Lets the manager do what is due.
fn due(manager: &mut Manager) {
    let (_jobs, calls) = sync_channel(1);
    assert!(manager.take(&calls, Duration::ZERO));
}

fn rows(stream: &super::super::watch::Stream) -> Vec<Value> {
    let mut rows: Vec<Value> = stream.rows.try_iter().map(|row: Arc<EventRow>| json!(*row)).collect();
    for row in &mut rows {
        assert!(row.as_object_mut().unwrap().remove("time_unix_ms").unwrap().as_u64() > Some(1_600_000_000_000));
    }
    rows
}

/// The numbers of `red`, its VLAN and its VXLAN segment.
fn numbers(manager: &Manager) -> (BridgeId, SegmentIx, SegmentIx) {
    let translator = manager.configuration.translator();
    let segment = |id: &str| {
        let id = id.parse().unwrap();
        *translator.segment_ids().iter().find(|(_, found)| **found == id).unwrap().0
    };
    (*translator.bridge_names().keys().next().unwrap(), segment("vlan/lan0/100"), segment("vxlan/7"))
}

#[test]
fn what_workers_notice_is_told_in_the_operators_words() {
    let (mut manager, links) = with_workers();
    due(&mut manager);
    assert!(links.iter().all(|link| !link.watched.load(Ordering::Relaxed)), "nobody watches");
    let stream = watch(&mut manager, json!({}));
    assert!(links.iter().all(|link| link.watched.load(Ordering::Relaxed)));
    let (bridge, vlan, vxlan) = numbers(&manager);
    let mac = MacAddr([2, 0, 0, 0, 0, 9]);
    let peer = Peer { vtep: VtepIx(0), encap: Encap::Vxlan, address: "192.0.2.2".parse().unwrap() };
    let moved = Notice {
        at: Some(Whereabouts { segment: vxlan, peer: Some(peer) }),
        from: Some(Whereabouts { segment: vlan, peer: None }),
        ..Notice::of(Happening::Moved, bridge, mac)
    };
    let storm = Notice { bridge: Some(bridge), port: Some(PortId(1)), ..Notice::new(Happening::Storm(Class::Unknown)) };
    assert!(links[1].notices.push(moved).is_ok() && links[1].notices.push(storm).is_ok());
    links[0].notices_lost.store(3, Ordering::Relaxed);
    due(&mut manager);
    assert_eq!(
        rows(&stream),
        [
            json!({"event": "lost", "lost": 3, "worker": 1}),
            json!({"event": "moved", "bridge": "red", "mac": "02:00:00:00:00:09", "worker": 2,
                "location": "vxlan/7/192.0.2.2", "from": "vlan/lan0/100"}),
            json!({"event": "storm", "bridge": "red", "port": "up0", "what": "unknown", "worker": 2}),
        ]
    );
    drop(stream);
    due(&mut manager);
    assert!(links.iter().all(|link| !link.watched.load(Ordering::Relaxed)), "nobody does any more");
}

#[test]
fn what_the_manager_sees_itself_is_told_too() {
    let (mut manager, links) = with_workers();
    let stream = watch(&mut manager, json!({"events": ["applied", "worker_stuck", "worker_moves"]}));
    for link in &links {
        // As if they forwarded by whatever comes.
        link.generation.store(u64::MAX, Ordering::Relaxed);
    }
    let ops = ops(json!([{"put": {"bridge": {"name": "blue"}}}]));
    manager.answer(Call::Apply(Apply { ops, ..Apply::default() })).unwrap();
    let late = weir_pipelines::Time::from_millis(crate::worker::link::STUCK + 1);
    links[0].heartbeat.store(late.millis(), Ordering::Relaxed);
    manager.crew().are_alive(late);
    due(&mut manager);
    links[1].heartbeat.store(late.millis(), Ordering::Relaxed);
    manager.crew().are_alive(late);
    due(&mut manager);
    assert_eq!(
        rows(&stream),
        [
            json!({"event": "applied", "generation": 2}),
            json!({"event": "worker_stuck", "worker": 2}),
            json!({"event": "worker_moves", "worker": 2}),
        ]
    );
}

#[test]
fn hosts_of_a_bridge_that_is_gone_are_told_of_by_its_name() {
    let (mut manager, links) = with_workers();
    let stream = watch(&mut manager, json!({"bridge": "red"}));
    let (bridge, vlan, _) = numbers(&manager);
    for link in &links {
        link.generation.store(u64::MAX, Ordering::Relaxed);
    }
    let gone = json!([{"put": {"bridge": {"name": "blue"}}}]);
    manager.answer(Call::Apply(Apply { ops: ops(gone), replace: true, ..Apply::default() })).unwrap();
    let at = Some(Whereabouts { segment: vlan, peer: None });
    let aged = Notice { at, ..Notice::of(Happening::Aged, bridge, MacAddr([2, 0, 0, 0, 0, 9])) };
    assert!(links[0].notices.push(aged).is_ok());
    due(&mut manager);
    let told = rows(&stream);
    assert_eq!((&told[0]["event"], &told[0]["bridge"]), (&json!(Event::Aged), &json!("red")), "{told:?}");
}

#[test]
fn a_bridge_that_is_not_there_cannot_be_watched_or_cleared() {
    let (mut manager, _) = with_workers();
    let watch = Watch { events: vec![], bridge: Some("blue".to_owned()) };
    let clear = |what, mac: Option<&str>, address: Option<&str>, bridge: &str| {
        let (mac, address) = (mac.map(|mac| mac.parse().unwrap()), address.map(|a| a.parse().unwrap()));
        Call::Clear(Clear { what, bridge: bridge.to_owned(), mac, address })
    };
    for (call, code, path, value) in [
        (Call::Watch(watch), code::NOT_FOUND, "bridge", "blue"),
        (clear(Clearable::Mac, None, None, "blue"), code::NOT_FOUND, "bridge", "blue"),
        (clear(Clearable::Mac, None, Some("10.0.0.1"), "red"), code::INVALID_PARAMS, "address", "10.0.0.1"),
        (
            clear(Clearable::Binding, Some("02:00:00:00:00:01"), None, "red"),
            code::INVALID_PARAMS,
            "mac",
            "02:00:00:00:00:01",
        ),
    ] {
        let error = manager.answer(call).unwrap_err();
        let data = error.data.unwrap();
        assert_eq!((error.code, data.path.as_str(), data.value.as_str()), (code, path, value));
    }
}

#[test]
fn all_workers_forget_twice_and_say_how_much() {
    let (mut manager, links) = with_workers();
    let (bridge, ..) = numbers(&manager);
    let stop = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (links.into_iter().zip(1u64..))
        .map(|(link, n)| {
            let stop = stop.clone();
            std::thread::spawn(move || {
                let mut asked = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    if let Some(Request::Clear(mut clear)) = link.requests.pop() {
                        asked.push(clear.what);
                        clear.cleared = n * 10;
                        let _ = link.answers.push(Request::Clear(clear));
                    }
                    std::thread::sleep(Duration::from_micros(100));
                }
                asked
            })
        })
        .collect();
    let mac = Some("02:00:00:00:00:09".parse().unwrap());
    let clear = Clear { what: Clearable::Mac, bridge: "red".to_owned(), mac, address: None };
    let answer = json!(manager.answer(Call::Clear(clear)).unwrap());
    stop.store(true, Ordering::Relaxed);
    assert_eq!(answer, json!({"workers": [{"core": 1, "cleared": 20}, {"core": 2, "cleared": 40}]}));
    let what = Forget::Macs(bridge, Some(MacAddr([2, 0, 0, 0, 0, 9])));
    for worker in workers {
        assert_eq!(worker.join().unwrap(), [what, what]);
    }
}
