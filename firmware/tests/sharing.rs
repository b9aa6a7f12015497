//! Two workers on two queues of a port: what one learns, the other knows. No manager runs: there is nobody to wait for.
//!
//! Prints how long that took (`cargo test -p weir --test sharing -- --nocapture`).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use weir::config::Poll;
use weir::worker::link::{Clear, Cycles, Link, MacDump, PortCount, Report, Request, Shared, Turns};
use weir::worker::outbox::{Outbox, Way};
use weir::worker::packet::{Buffers, Packet};
use weir::worker::sharing::Others;
use weir::worker::{Clock, Worker};
use weir_pipelines::gateway::{Event, Forget, Gateway, Limits};
use weir_pipelines::tables::{
    BridgeId, BridgeSettings, MeshId, PortId, PortInfo, Secret, Segment, SegmentIx, SegmentKind, Snapshot,
};
use weir_pipelines::wire::MacAddr;
use weir_pmd::{Eal, EalConfig, Lcore, Mbuf, Mempool, Port, PortConfig, StartedPort, TxQueue};

/// So many facts are timed.
const FACTS: u32 = 300;
const RED: BridgeId = BridgeId(1);

/// One bridge with a VLAN on the port; what is flooded has nowhere to go.
fn snapshot() -> Snapshot {
    let info = PortInfo { mac: MacAddr([2, 0xaa, 0, 0, 0, 0]), mtu: 1500 };
    let mut snapshot = Snapshot::new(Secret::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]), &[info]);
    snapshot.generation = 1;
    snapshot.set_bridge(RED, Some(BridgeSettings::default()));
    let kind = SegmentKind::Vlan { port: PortId(0), vid: None };
    let segment = Segment { bridge: RED, kind, carry_tags: false, mesh: MeshId(0) };
    snapshot.set_segment(SegmentIx(0), Some(segment)).unwrap();
    snapshot
}

fn host(n: u32) -> MacAddr {
    let [_, a, b, c] = n.to_be_bytes();
    MacAddr([2, 0, 0, a, b, c])
}

/// Puts a broadcast of a host on a queue.
fn say(queue: &mut TxQueue, pool: &Mempool, n: u32) {
    let mut frame = [0xff; 60];
    frame[6..12].copy_from_slice(&host(n).0);
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    let mut mbuf: Mbuf = pool.alloc().unwrap();
    mbuf.append(60).unwrap().copy_from_slice(&frame);
    let mut burst: weir_pipelines::Burst<Packet> = [mbuf.into()].into_iter().collect();
    assert_eq!(queue.send(&mut burst), 1);
}

fn ask(link: &Link, request: Request) -> Request {
    assert!(link.requests.push(request).is_ok());
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match link.answers.pop() {
            Some(answer) => return answer,
            None => std::thread::sleep(Duration::from_micros(50)),
        }
        assert!(Instant::now() < deadline, "the worker does not answer");
    }
}

fn report(link: &Link) -> Box<Report> {
    match ask(link, Request::Report(Box::new(Report::new(0, 1)))) {
        Request::Report(report) => report,
        _ => unreachable!("asked for a report"),
    }
}

fn knows(link: &Link, n: u32) -> bool {
    let entries = Vec::with_capacity(2 * FACTS as usize);
    match ask(link, Request::Macs(Box::new(MacDump { number: 0, entries, cursor: 0, complete: true }))) {
        Request::Macs(dump) => dump.entries.iter().any(|entry| entry.mac == host(n)),
        _ => unreachable!("asked for MACs"),
    }
}

fn wait(what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(1), "{what}: not within a second");
    }
    begun.elapsed()
}

#[test]
fn what_one_worker_learns_the_other_knows_though_no_manager_runs() {
    let config = EalConfig {
        worker_cores: vec![0, 1],
        memory_mib: 64,
        hugepages: false,
        file_prefix: "weir-test-sharing".to_owned(),
        devices: vec!["net_ring0".to_owned(), "net_null0,no-rx=1".to_owned()],
        ..EalConfig::default()
    };
    let eal = Eal::start(&config).unwrap();
    let pool = Mempool::new(&eal, "sharing", 1023, 256).unwrap();
    let config = |rx_queues| PortConfig {
        rx_queues,
        tx_queues: 2,
        rx_descriptors: 256,
        tx_descriptors: 256,
        mtu: 1500,
        promiscuous: true,
        rx_pools: vec![pool.clone()],
    };
    // What the test puts in on a queue of the ring comes out at the same one; what the workers send is nobody's.
    let StartedPort { control: _ring, rx, tx: mut inputs, .. } =
        Port::open(&eal, "net_ring0").unwrap().start(&config(2)).unwrap();
    let StartedPort { control: _sink, rx: unused, tx: sinks, .. } =
        Port::open(&eal, "net_null0").unwrap().start(&config(1)).unwrap();
    let links: Vec<Link> = [0, 1].map(Shared::new).into();
    let snapshot = Arc::new(snapshot());
    let clock = Clock::start();
    let limits = Limits { bridges: 8, macs: 4096, bindings: 64, held: 8, shared: true, ..Limits::default() };
    let mut handles = Vec::new();
    for ((link, rx), sink) in links.iter().zip(rx).zip(sinks) {
        let worker = Worker {
            link: link.clone(),
            others: Others::new(links.iter().filter(|other| other.core != link.core).cloned().collect()),
            rx: vec![(PortId(0), rx)],
            out: vec![Outbox::new(Way::Queue { queue: sink, relays: Vec::new() })].into(),
            pool: Buffers::from(pool.clone()),
            gateway: Gateway::new(snapshot.secret(), 1, limits),
            snapshot: snapshot.clone(),
            poll: Poll::Adaptive,
            clock,
            received: vec![PortCount::default()],
            cycles: Cycles::default(),
            turns: Turns::default(),
            errand: None,
        };
        handles.push(Lcore::launch(&eal, link.core, move || worker.run()).unwrap());
    }

    let mut took = Vec::new();
    for n in 0..FACTS {
        let (from, to) = if n % 2 == 0 { (0, 1) } else { (1, 0) };
        // They may be asleep, for up to a millisecond, or not.
        std::thread::sleep(Duration::from_micros(u64::from(n % 7) * 300));
        say(&mut inputs[from], &pool, n);
        took.push(wait("the other worker knows", || report(&links[to]).macs == u64::from(n) + 1));
    }
    took.sort_unstable();
    println!(
        "{FACTS} facts, asked for included: median {:?}, 99 of 100 within {:?}, worst {:?}",
        took[took.len() / 2],
        took[took.len() * 99 / 100],
        took[took.len() - 1]
    );
    for link in &links {
        let counters = report(link).counters;
        assert_eq!(counters.counted(Event::Learned), u64::from(FACTS) / 2, "each is counted where it was seen");
        assert_eq!((counters.counted(Event::OfferFull), counters.counted(Event::NewsFull)), (0, 0));
    }

    // What is forgotten stays forgotten, whatever was on its way.
    for mac in [Some(host(0)), None] {
        for link in links.iter().chain(&links) {
            let clear = Clear { number: 0, what: Forget::Macs(RED, mac), cleared: 0, cursor: 0, facts: None };
            assert!(matches!(ask(link, Request::Clear(Box::new(clear))), Request::Clear(_)));
        }
        assert!(links.iter().all(|link| !knows(link, 0)));
    }
    assert!(links.iter().all(|link| report(link).macs == 0));

    // Who watches hears where it was seen, and nothing of what is only passed on.
    for link in &links {
        link.watched.store(true, Ordering::Relaxed);
    }
    std::thread::sleep(Duration::from_millis(20));
    say(&mut inputs[1], &pool, 7);
    wait("both know", || links.iter().all(|link| knows(link, 7)));
    let told: Vec<_> = links.iter().map(|link| link.notices.len()).collect();
    assert_eq!(told, [0, 1]);

    for link in &links {
        link.stop.store(true, Ordering::Release);
    }
    for handle in handles {
        handle.join().unwrap();
    }
    assert!(links.iter().all(|link| !link.unbalanced.load(Ordering::Acquire)));
    drop((unused, inputs, _ring, _sink, pool));
    eal.stop().unwrap();
}
