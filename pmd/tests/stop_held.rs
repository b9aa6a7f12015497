//! A handle that is still held when the EAL stops: a file of its own, because the EAL starts once per process.

use weir_pmd::{Eal, EalConfig, Mempool};

#[test]
fn a_pool_still_held_is_said_at_stop() {
    let config = EalConfig {
        memory_mib: 32,
        hugepages: false,
        file_prefix: "weir-test-held".to_owned(),
        ..EalConfig::default()
    };
    let eal = Eal::start(&config).unwrap();
    let pool = Mempool::new(&eal, "held", 31, 64).unwrap();
    let held = eal.stop().unwrap_err().to_string();
    assert_eq!(held, "cannot stop the EAL: 1 handles to pools, ports or workers are still held, with 0 ports open");
    assert!(pool.alloc().is_some(), "the pool is still good");
}
