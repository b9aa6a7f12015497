//! A frame that is still held when the EAL stops: a file of its own, because the EAL starts once per process.

use weir_pmd::{Eal, EalConfig, Mempool};

#[test]
fn a_frame_not_given_back_is_named_at_stop() {
    let config = EalConfig {
        memory_mib: 32,
        hugepages: false,
        file_prefix: "weir-test-leak".to_owned(),
        ..EalConfig::default()
    };
    let eal = Eal::start(&config).unwrap();
    let (pool, _other) = (Mempool::new(&eal, "leaky", 31, 64).unwrap(), Mempool::new(&eal, "tight", 31, 64).unwrap());
    let (first, second) = (pool.alloc().unwrap(), pool.alloc().unwrap());
    let missing = eal.check_pools().unwrap_err().to_string();
    assert_eq!(missing, "cannot account for all buffers: 2 of 31 buffers of pool leaky are not back");
    drop(first);
    let missing = eal.stop().unwrap_err().to_string();
    assert_eq!(missing, "cannot account for all buffers: 1 of 31 buffers of pool leaky are not back");
    // The EAL still runs, so the frame is still good.
    drop(second);
    assert_eq!(pool.available(), 31);
}
