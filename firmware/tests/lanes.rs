//! A worker without a tx queue of its own: what the other one's device cannot send is dropped, and counted once.

use weir::worker::outbox::{Lane, Outbox, Outboxes, Way};
use weir::worker::packet::Packet;
use weir_pipelines::Egress;
use weir_pipelines::tables::PortId;
use weir_pmd::{Eal, EalConfig, Mbuf, Mempool, Port, PortConfig, StartedPort};

/// A frame of so many buffers of 60 bytes.
fn frame(pool: &Mempool, parts: usize) -> Packet {
    let part = || {
        let mut part: Mbuf = pool.alloc().unwrap();
        part.append(60).unwrap();
        part
    };
    let mut whole = part();
    (1..parts).for_each(|_| whole.chain(part()).unwrap());
    whole.into()
}

fn put(worker: &mut Outboxes, pool: &Mempool, parts: &[usize]) {
    for parts in parts {
        assert!(worker.send(PortId(0), frame(pool, *parts)).is_ok());
    }
    worker.flush();
}

/// Frames counted as sent by the worker, and frames and bytes that the device took from it.
fn counted(worker: &Outboxes) -> (u64, (u64, u64)) {
    let outbox = worker.iter().next().unwrap();
    (outbox.accepted(), outbox.sent())
}

fn lost(worker: &mut Outboxes) -> u64 {
    worker.iter_mut().next().unwrap().take_unsendable()
}

#[test]
fn what_cannot_be_sent_is_dropped_by_who_put_it_in() {
    // A sink that takes no frames of several buffers.
    let eal = EalConfig {
        memory_mib: 64,
        hugepages: false,
        file_prefix: "weir-test-lanes".to_owned(),
        devices: vec!["net_null0,no-rx=1".to_owned()],
        ..EalConfig::default()
    };
    let eal = Eal::start(&eal).unwrap();
    let pool = Mempool::new(&eal, "lanes", 255, 128).unwrap();
    let config = PortConfig {
        rx_queues: 1,
        tx_queues: 1,
        rx_descriptors: 64,
        tx_descriptors: 64,
        mtu: 1500,
        promiscuous: true,
        rx_pools: vec![pool.clone()],
    };
    let StartedPort { mut tx, .. } = Port::open(&eal, "net_null0").unwrap().start(&config).unwrap();
    let lanes = [Lane::new(8), Lane::new(8)];
    let relays = lanes.iter().map(|lane| lane.clone().into()).collect();
    let worker = |way| Outboxes::from(vec![Outbox::new(way)]);
    let mut owner = worker(Way::Queue { queue: tx.remove(0), relays });
    let [mut first, mut second] = lanes.map(|lane| worker(Way::Lane(lane)));
    // Two buffers fit one, nine do not.
    put(&mut first, &pool, &[1, 9, 2]);
    put(&mut second, &pool, &[9, 9, 1]);
    assert_eq!((counted(&first), counted(&second)), ((3, (0, 0)), (3, (0, 0))), "the lanes took them");
    put(&mut owner, &pool, &[1, 9]);
    assert_eq!((lost(&mut first), lost(&mut second), lost(&mut owner)), (1, 2, 1));
    assert_eq!((counted(&first).0, counted(&second).0), (2, 1), "sent, without those that are dropped");
    assert_eq!(counted(&owner), (1, (4, 5 * 60)), "all that the device took");
    assert_eq!((lost(&mut first), lost(&mut second), lost(&mut owner)), (0, 0, 0), "each is said once");
    put(&mut second, &pool, &[1, 1]);
    assert_eq!(owner.iter().next().unwrap().relayed(), 2);
    assert_eq!(owner.iter_mut().next().unwrap().abandon(), (0, 2));
    assert_eq!(counted(&owner), (1, (4, 5 * 60)), "what was given up was not sent");
    drop((owner, first, second, pool, config));
    eal.stop().unwrap();
}
