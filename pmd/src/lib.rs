//! Safe, owned DPDK: what the firmware needs of it, and nothing a caller can get wrong in memory.
//!
//! Owns: every call into DPDK. [`Eal`] is the running environment, once per process; a [`Port`] becomes queues that
//! one worker each may own ([`RxQueue`], [`TxQueue`]) and a handle for its control ([`PortControl`]); frames are
//! [`Mbuf`]s, which belong to exactly one owner and go back to their [`Mempool`] when dropped; an [`Lcore`] runs a worker.
//!
//! Refuses: sharing a buffer between two owners, reference counts, indirect buffers, rewriting what a device did not
//! accept. A leak cannot happen without `mem::forget`, and is found by [`Eal::stop`]; a double free cannot be written.
//!
//! Lifetimes are counted, not borrowed: a port is stopped and closed when its last queue and its control handle are
//! gone, and DPDK's memory is given back only when nothing points into it any more.
//!
//! ```no_run
//! use weir_pmd::{Eal, EalConfig, Lcore, Mbuf, Mempool, Port, PortConfig, StartedPort};
//!
//! let devices = vec!["net_pcap0,rx_pcap=in.pcap,tx_pcap=out.pcap".to_owned()];
//! let eal = Eal::start(&EalConfig { worker_cores: vec![1], hugepages: false, devices, ..EalConfig::default() })?;
//! let pool = Mempool::new(&eal, "frames", 8191, 2048)?;
//! let StartedPort { control, mut rx, mut tx, notes } = Port::open(&eal, "net_pcap0")?.start(&PortConfig {
//!     rx_queues: 1,
//!     tx_queues: 1,
//!     rx_descriptors: 1024,
//!     tx_descriptors: 1024,
//!     mtu: 1500,
//!     promiscuous: true,
//!     rx_pools: vec![pool.clone()],
//! })?;
//! notes.iter().for_each(|note| println!("{note}"));
//! let (mut rx, mut tx) = (rx.remove(0), tx.remove(0));
//! let worker = Lcore::launch(&eal, 1, move || {
//!     let mut burst = heapless::Vec::<Mbuf, 32>::new();
//!     while rx.receive(&mut burst) > 0 {
//!         tx.send(&mut burst);
//!         Mbuf::free_all(&mut burst);
//!     }
//! })?;
//! worker.join()?;
//! println!("{:?}", control.stats()?);
//! drop((control, pool));
//! eal.stop()?;
//! # Ok::<(), weir_pmd::PmdError>(())
//! ```

mod cycles;
mod eal;
mod error;
mod large_pages;
mod lcore;
mod logging;
mod mbuf;
mod mempool;
mod offloads;
mod port;
mod queue;
mod segment;

pub use cycles::{cycles, cycles_per_second};
pub use eal::{Eal, EalConfig, version};
pub use error::PmdError;
pub use large_pages::LargePages;
pub use lcore::{Lcore, LcoreHandle};
pub use mbuf::{Checksum, HEADROOM, Mbuf, MbufFlags};
pub use mempool::Mempool;
pub use offloads::{Capabilities, RxOffloads, TxOffloads};
pub use port::{Link, Port, PortConfig, PortControl, PortStats, StartedPort};
pub use queue::{RxQueue, TxQueue};
