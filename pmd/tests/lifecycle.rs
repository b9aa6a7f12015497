//! From start to a clean stop, with work on a core: one test, because the EAL starts once per process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use weir_pmd::{
    Eal, EalConfig, Lcore, Mbuf, Mempool, Port, PortConfig, StartedPort, cycles, cycles_per_second, version,
};

/// CPUs that the calling thread may use, as the kernel lists them.
fn own_cpus() -> String {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim().to_owned()
}

fn list(text: &str) -> Vec<u32> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        first.parse::<u32>().unwrap()..=last.parse().unwrap()
    };
    text.split(',').flat_map(range).collect()
}

/// Those without a core, or all if there is no other.
fn others(text: &str, core: u32) -> Vec<u32> {
    let all = list(text);
    if all.len() == 1 { all } else { all.into_iter().filter(|cpu| *cpu != core).collect() }
}

fn first_cpu(list: &str) -> u32 {
    list.split(['-', ',']).next().unwrap().parse().unwrap()
}

#[test]
fn start_work_stop() {
    let cpus = own_cpus();
    let core = first_cpu(&cpus);
    let config = EalConfig {
        worker_cores: vec![core],
        memory_mib: 32,
        hugepages: false,
        file_prefix: "weir-test-lifecycle".to_owned(),
        devices: vec!["net_null0,size=64".to_owned()],
        ..EalConfig::default()
    };
    let bad = EalConfig { worker_cores: vec![9_999], ..config.clone() };
    let refused = Eal::start(&bad).unwrap_err().to_string();
    assert_eq!(refused, format!("cannot start the EAL: worker core 9999 is not among this process's CPUs, {cpus}"));

    let eal = Eal::start(&config).unwrap();
    assert!(version().starts_with("DPDK "), "{}", version());
    assert_eq!(list(&own_cpus()), others(&cpus, core), "the main lcore floats over the CPUs that no worker has");
    let inherited = std::thread::spawn(own_cpus).join().unwrap();
    assert_eq!(inherited, own_cpus(), "a thread inherits where its maker may run");
    let again = Eal::start(&config).unwrap_err().to_string();
    assert_eq!(again, "cannot start the EAL: this process has started it before, and DPDK starts once");

    the_cycle_counter_counts();
    work_runs_on_its_core(&eal, core);
    a_panic_ends_the_work_and_not_the_process(&eal, core);
    a_busy_core_takes_no_more_work(&eal, core);
    an_lcores_cache_is_counted_as_free(&eal, core);
    a_port_outlives_its_handle_while_a_worker_polls(&eal, core);

    let foreign = Lcore::launch(&eal, 9_999, || ()).unwrap_err().to_string();
    assert_eq!(foreign, format!("cannot launch a worker on core 9999: the EAL was started for cores [{core}]"));
    eal.stop().unwrap();
    let after = Eal::start(&config).unwrap_err().to_string();
    assert_eq!(after, "cannot start the EAL: this process has started it before, and DPDK starts once");
}

fn the_cycle_counter_counts() {
    assert!(cycles_per_second() > 1_000_000, "{}", cycles_per_second());
    let before = cycles();
    std::thread::sleep(std::time::Duration::from_millis(2));
    assert!(cycles() - before >= cycles_per_second() / 1_000, "at least a millisecond's worth went by");
}

fn work_runs_on_its_core(eal: &Eal, core: u32) {
    let seen = Arc::new(AtomicU32::new(u32::MAX));
    let writer = Arc::clone(&seen);
    let handle = Lcore::launch(eal, core, move || writer.store(own_cpus().parse().unwrap(), Ordering::SeqCst)).unwrap();
    assert_eq!(handle.core(), core);
    handle.join().unwrap();
    assert_eq!(seen.load(Ordering::SeqCst), core, "pinned to one CPU");
}

fn a_panic_ends_the_work_and_not_the_process(eal: &Eal, core: u32) {
    let handle = Lcore::launch(eal, core, || panic!("on purpose")).unwrap();
    assert_eq!(handle.join().unwrap_err().to_string(), format!("cannot finish the worker on core {core}: on purpose"));
}

fn a_busy_core_takes_no_more_work(eal: &Eal, core: u32) {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let handle = Lcore::launch(eal, core, move || {
        while !stopped.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
    })
    .unwrap();
    assert!(handle.is_running());
    let busy = Lcore::launch(eal, core, || ()).unwrap_err().to_string();
    assert!(busy.ends_with("it still runs something"), "{busy}");
    stop.store(true, Ordering::Release);
    handle.join().unwrap();
    Lcore::launch(eal, core, || ()).unwrap().join().unwrap();
}

fn an_lcores_cache_is_counted_as_free(eal: &Eal, core: u32) {
    let pool = Mempool::new(eal, "cached", 1023, 64).unwrap();
    let worker = pool.clone();
    let work = move || {
        let frames: Vec<_> = (0..100).map(|_| worker.alloc().unwrap()).collect();
        assert_eq!(worker.available(), 923);
        drop(frames);
    };
    Lcore::launch(eal, core, work).unwrap().join().unwrap();
    assert_eq!(pool.available(), 1023);
    eal.check_pools().unwrap();
}

fn a_port_outlives_its_handle_while_a_worker_polls(eal: &Eal, core: u32) {
    let pool = Mempool::new(eal, "polled", 511, 256).unwrap();
    let config = PortConfig {
        rx_queues: 1,
        tx_queues: 1,
        rx_descriptors: 256,
        tx_descriptors: 256,
        mtu: 1500,
        promiscuous: false,
        rx_pools: vec![pool.clone()],
    };
    let StartedPort { control, mut rx, mut tx, .. } = Port::open(eal, "net_null0").unwrap().start(&config).unwrap();
    let (mut rx, mut tx) = (rx.remove(0), tx.remove(0));
    let (polled, bursts) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(u32::MAX)));
    let (count, limit) = (Arc::clone(&polled), Arc::clone(&bursts));
    let handle = Lcore::launch(eal, core, move || {
        let mut burst = heapless::Vec::<Mbuf, 32>::new();
        while count.load(Ordering::Acquire) < limit.load(Ordering::Acquire) {
            assert_eq!(rx.receive(&mut burst), 32);
            assert_eq!(tx.send(&mut burst), 32);
            count.fetch_add(1, Ordering::Release);
            std::thread::yield_now();
        }
    })
    .unwrap();
    drop(control);
    assert!(Port::open(eal, "net_null0").unwrap_err().to_string().contains("it is open already"));
    bursts.store(polled.load(Ordering::Acquire) + 100, Ordering::Release);
    handle.join().unwrap();
    assert!(Port::open(eal, "net_null0").unwrap_err().to_string().contains("it was closed"), "by its last queue");
    assert_eq!(pool.available(), pool.total());
}
