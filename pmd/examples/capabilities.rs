//! Prints what devices can do, and what starting them notes: `capabilities DEVICE...`, without hugepages, as root.

use weir_pmd::{Eal, EalConfig, Mempool, PmdError, Port, PortConfig};

fn main() -> Result<(), PmdError> {
    let devices: Vec<String> = std::env::args().skip(1).collect();
    let config = EalConfig {
        hugepages: false,
        file_prefix: format!("weir-capabilities-{}", std::process::id()),
        devices: devices.clone(),
        ..EalConfig::default()
    };
    let eal = Eal::start(&config)?;
    let pool = Mempool::new(&eal, "capabilities", 8191, 2048)?;
    for device in &devices {
        let port = Port::open(&eal, device)?;
        println!("{}: {:#?}", port.name(), port.capabilities()?);
        let started = port.start(&PortConfig {
            rx_queues: 1,
            tx_queues: 1,
            rx_descriptors: 1024,
            tx_descriptors: 1024,
            mtu: 1500,
            promiscuous: true,
            rx_pools: vec![pool.clone()],
        });
        match started {
            Ok(started) => println!("{:?} {:#?}", started.control.link()?, started.notes),
            Err(error) => println!("{error}"),
        }
    }
    drop(pool);
    eal.stop()
}
