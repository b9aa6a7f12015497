//! Ports: from a device's name to queues that run.
//!
//! Owns: [`Port`] (found, not started), [`PortControl`] (link, counters, modes of a started port), and when a port is
//! stopped and closed: once, when its control and all its queues are gone. Refuses: opening a port twice, stripping VLAN
//! tags. What a driver cannot do but works without is said in [`StartedPort::notes`].

use std::ffi::CString;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use weir_dpdk_sys as sys;

use crate::eal::{Eal, Runtime, device_name};
use crate::error::PmdError;
use crate::logging;
use crate::mempool::Mempool;
use crate::offloads::{Capabilities, RxOffloads, TxOffloads, rss_hash};
use crate::queue::{RxQueue, TxQueue};

/// ENOTSUP of Linux.
const NOT_SUPPORTED: i32 = 95;

/// The MTU that ethdev assumes until told otherwise.
const DEFAULT_MTU: u16 = 1500;

/// Ethernet header, two VLAN tags and FCS: what a frame has around the MTU.
const FRAME_OVERHEAD: usize = 14 + 8 + 4;

/// The driver whose MTU limit is about its ioctl, not its frames: those pass as far as `framesz` goes.
const AF_PACKET: &str = "net_af_packet";

/// An open DPDK port: shared by its queues and its control, closed when the last of them goes.
#[derive(Debug)]
pub(crate) struct Device {
    id: u16,
    name: String,
    started: AtomicBool,
    /// Held while the driver is asked or told something: its control functions are for one thread at a time.
    control: Mutex<()>,
    runtime: Arc<Runtime>,
}

impl Device {
    #[inline(always)]
    pub(crate) fn id(&self) -> u16 {
        self.id
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// DPDK's answer as a result.
    fn check(&self, operation: &'static str, result: i32) -> Result<(), PmdError> {
        if result < 0 { Err(PmdError::from_errno(operation, self.name.as_str(), result)) } else { Ok(()) }
    }

    fn info(&self) -> Result<sys::rte_eth_dev_info, PmdError> {
        let mut info = sys::rte_eth_dev_info::default();
        let _one = self.lock();
        // SAFETY: the port is open; `info` is DPDK's to fill.
        self.check("describe port", unsafe { sys::rte_eth_dev_info_get(self.id, &mut info) })?;
        Ok(info)
    }

    fn mac(&self) -> Result<[u8; 6], PmdError> {
        let mut mac = sys::rte_ether_addr::default();
        let _one = self.lock();
        // SAFETY: the port is open; `mac` is DPDK's to fill.
        self.check("read the MAC address of port", unsafe { sys::rte_eth_macaddr_get(self.id, &mut mac) })?;
        Ok(mac.addr_bytes)
    }

    fn set_promiscuous(&self, on: bool) -> Result<(), PmdError> {
        let _one = self.lock();
        // SAFETY: the port is open.
        let result = unsafe {
            if on { sys::rte_eth_promiscuous_enable(self.id) } else { sys::rte_eth_promiscuous_disable(self.id) }
        };
        self.check(if on { "make promiscuous port" } else { "end promiscuous mode of port" }, result)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: queues and control each hold this, so nobody polls the port or asks it anything from here on.
        unsafe {
            if self.started.load(Ordering::Acquire) {
                let result = sys::rte_eth_dev_stop(self.id);
                if let Err(error) = self.check("stop port", result) {
                    log::warn!("{error}");
                }
            }
            let result = sys::rte_eth_dev_close(self.id);
            if let Err(error) = self.check("close port", result) {
                log::warn!("{error}");
            }
        }
        self.runtime.release_port(self.id);
    }
}

/// How a port is started.
#[derive(Clone, Debug)]
pub struct PortConfig {
    /// Number of rx queues, at least 1.
    pub rx_queues: u16,
    /// Number of tx queues, at least 1.
    pub tx_queues: u16,
    /// Descriptors of each rx queue; adjusted to what the device has, with a note.
    pub rx_descriptors: u16,
    /// Descriptors of each tx queue; as above.
    pub tx_descriptors: u16,
    /// Largest payload of an Ethernet frame, bytes.
    pub mtu: u16,
    /// Whether frames to any MAC are wanted: a bridge wants them.
    pub promiscuous: bool,
    /// Where received frames' buffers come from: one pool per rx queue, or one for all.
    pub rx_pools: Vec<Mempool>,
}

/// A port that was found, and is not started.
#[derive(Debug)]
pub struct Port {
    device: Arc<Device>,
}

/// A port that runs.
#[derive(Debug)]
pub struct StartedPort {
    /// Its control.
    pub control: PortControl,
    /// Its rx queues, by number.
    pub rx: Vec<RxQueue>,
    /// Its tx queues, by number.
    pub tx: Vec<TxQueue>,
    /// What was asked for and the driver does not do, in words for the operator.
    pub notes: Vec<String>,
}

impl Port {
    /// Finds the port of a device of [`crate::EalConfig::devices`], by the same string or its part before the comma.
    ///
    /// # Errors
    /// There is no such port, or it is open already.
    pub fn open(eal: &Eal, device: &str) -> Result<Self, PmdError> {
        const OPERATION: &str = "open port";
        let name = device_name(device);
        let refuse = |reason: &str| PmdError::new(OPERATION, name.as_str(), reason);
        let c_name = CString::new(name.as_str()).map_err(|_| refuse("its name contains a zero byte"))?;
        let mut id = 0;
        // SAFETY: the name is terminated, and `id` is DPDK's to fill.
        let result = unsafe { sys::rte_eth_dev_get_port_by_name(c_name.as_ptr(), &mut id) };
        if result < 0 {
            return Err(PmdError::from_errno(OPERATION, name, result)
                .because("the EAL was started without this device, no driver took it, or it was closed"));
        }
        let runtime = Arc::clone(eal.runtime());
        if !runtime.claim_port(id) {
            return Err(refuse("it is open already"));
        }
        Ok(Self {
            device: Arc::new(Device { id, name, started: AtomicBool::new(false), control: Mutex::default(), runtime }),
        })
    }

    /// The name DPDK knows it by.
    pub fn name(&self) -> &str {
        &self.device.name
    }

    /// What the device is and can do.
    ///
    /// # Errors
    /// The driver does not answer.
    pub fn capabilities(&self) -> Result<Capabilities, PmdError> {
        capabilities(&self.device)
    }

    /// Configures and starts the port. If that fails, the port is closed, and DPDK cannot open it again.
    ///
    /// # Errors
    /// A number is beyond what the device has, or the driver refuses; the message says which.
    pub fn start(self, config: &PortConfig) -> Result<StartedPort, PmdError> {
        let info = self.device.info()?;
        let capabilities = capabilities(&self.device)?;
        let setup = Setup { device: &self.device, config, info, capabilities };
        setup.check()?;
        let (started, errors) = logging::keeping_errors(|| setup.start());
        let notes =
            started.map_err(|error| if errors.is_empty() { error } else { error.because(errors.join("; ")) })?;
        let segments = setup.capabilities.tx.contains(TxOffloads::SEGMENTS);
        let rx = (0..config.rx_queues).map(|queue| RxQueue::new(Arc::clone(&self.device), queue)).collect();
        let tx = (0..config.tx_queues).map(|queue| TxQueue::new(Arc::clone(&self.device), queue, segments)).collect();
        Ok(StartedPort { control: PortControl { device: self.device }, rx, tx, notes })
    }
}

fn capabilities(device: &Device) -> Result<Capabilities, PmdError> {
    let (info, mac) = (device.info()?, device.mac()?);
    // SAFETY: the port is open.
    let node = unsafe { sys::rte_eth_dev_socket_id(device.id) };
    Ok(Capabilities::new(&info, mac, node))
}

/// One port's way from configuration to running, in the order DPDK wants it.
struct Setup<'a> {
    device: &'a Device,
    config: &'a PortConfig,
    info: sys::rte_eth_dev_info,
    capabilities: Capabilities,
}

impl Setup<'_> {
    fn refuse(&self, reason: String) -> PmdError {
        PmdError::new("start port", self.device.name.as_str(), reason)
    }

    /// All steps; the notes they made.
    fn start(&self) -> Result<Vec<String>, PmdError> {
        let mut notes = Vec::new();
        self.configure(&mut notes)?;
        self.set_mtu(&mut notes)?;
        self.set_up_queues(&mut notes)?;
        self.run(&mut notes)?;
        Ok(notes)
    }

    fn check(&self) -> Result<(), PmdError> {
        let Self { config, capabilities, .. } = self;
        for (what, asked, most) in [
            ("rx_queues", config.rx_queues, capabilities.max_rx_queues),
            ("tx_queues", config.tx_queues, capabilities.max_tx_queues),
        ] {
            if asked == 0 || asked > most {
                let driver = &capabilities.driver;
                return Err(self.refuse(format!("{what} = {asked}; its driver {driver} has 1 to {most}")));
            }
        }
        let pools = config.rx_pools.len();
        if pools != 1 && pools != usize::from(config.rx_queues) {
            return Err(
                self.refuse(format!("{pools} rx pools for {} rx queues: give one, or one each", config.rx_queues))
            );
        }
        if config.rx_pools.iter().any(|pool| !Arc::ptr_eq(pool.runtime(), &self.device.runtime)) {
            return Err(self.refuse("an rx pool belongs to another EAL".to_owned()));
        }
        Ok(())
    }

    /// Whether frames of the asked size need several buffers.
    fn needs_scatter(&self) -> bool {
        let frame = usize::from(self.config.mtu) + FRAME_OVERHEAD;
        self.config.rx_pools.iter().any(|pool| frame > usize::from(pool.data_room()))
    }

    fn configure(&self, notes: &mut Vec<String>) -> Result<(), PmdError> {
        let Self { device, config, info, capabilities } = self;
        let mut conf = sys::rte_eth_conf::default();
        let mut rx = capabilities.rx & RxOffloads::IPV4_CHECKSUM;
        if self.needs_scatter() {
            if capabilities.rx.contains(RxOffloads::SCATTER) {
                rx |= RxOffloads::SCATTER;
            } else {
                notes.push(format!(
                    "{}: frames of MTU {} exceed one buffer, and {} does not say that it can spread them",
                    device.name, config.mtu, capabilities.driver
                ));
            }
        }
        conf.rxmode.offloads = rx.bits();
        conf.txmode.offloads = (capabilities.tx & TxOffloads::SEGMENTS).bits();
        conf.rxmode.mtu = u32::from(config.mtu.max(capabilities.min_mtu).min(capabilities.max_mtu));
        conf.rxmode.mq_mode = sys::WEIR_MQ_RX_NONE;
        if config.rx_queues > 1 {
            let hash = rss_hash(info);
            if hash != 0 {
                conf.rxmode.mq_mode = sys::WEIR_MQ_RX_RSS;
                conf.rx_adv_conf.rss_conf.rss_hf = hash;
            } else {
                notes.push(format!(
                    "{}: {} has no RSS that can be configured; how flows spread over its {} rx queues is the driver's choice",
                    device.name, capabilities.driver, config.rx_queues
                ));
            }
        }
        // SAFETY: the port is open and not started; `conf` is only read.
        let result = unsafe { sys::rte_eth_dev_configure(device.id, config.rx_queues, config.tx_queues, &conf) };
        device.check("configure port", result)
    }

    /// Sets the MTU, where that is more than ethdev's note of it.
    fn set_mtu(&self, notes: &mut Vec<String>) -> Result<(), PmdError> {
        let Self { device, config, capabilities, .. } = self;
        if config.mtu > capabilities.max_mtu && capabilities.driver == AF_PACKET {
            notes.push(format!(
                "{}: {AF_PACKET} sets no MTU over {}; frames of MTU {} pass if the interface's own MTU and framesz allow",
                device.name, capabilities.max_mtu, config.mtu
            ));
            return Ok(());
        }
        if config.mtu == DEFAULT_MTU && capabilities.driver == AF_PACKET {
            // The driver would set the interface's MTU, which may be larger on purpose.
            return Ok(());
        }
        // SAFETY: the port is open and configured.
        let result = unsafe { sys::rte_eth_dev_set_mtu(device.id, config.mtu) };
        if result == -NOT_SUPPORTED {
            if config.mtu > DEFAULT_MTU {
                let driver = &capabilities.driver;
                notes
                    .push(format!("{}: {driver} cannot set an MTU; {} is not enforced by it", device.name, config.mtu));
            }
            return Ok(());
        }
        device.check("set the MTU of port", result).map_err(|error| {
            let Capabilities { min_mtu, max_mtu, driver, .. } = capabilities;
            error.because(format!("mtu = {}; its driver {driver} says {min_mtu} to {max_mtu}", config.mtu))
        })
    }

    fn set_up_queues(&self, notes: &mut Vec<String>) -> Result<(), PmdError> {
        let Self { device, config, info, .. } = self;
        let (mut rx, mut tx) = (config.rx_descriptors, config.tx_descriptors);
        // SAFETY: the port is open and configured; both numbers are DPDK's to adjust.
        let result = unsafe { sys::rte_eth_dev_adjust_nb_rx_tx_desc(device.id, &mut rx, &mut tx) };
        device.check("choose the descriptors of port", result)?;
        for (what, asked, got) in [("rx", config.rx_descriptors, rx), ("tx", config.tx_descriptors, tx)] {
            if asked != got {
                notes.push(format!("{}: {got} {what} descriptors per queue, not {asked}", device.name));
            }
        }
        // SAFETY: the port is open.
        let node = unsafe { sys::rte_eth_dev_socket_id(device.id) }.cast_unsigned();
        let mut rx_conf = info.default_rxconf;
        rx_conf.offloads = 0;
        let mut tx_conf = info.default_txconf;
        tx_conf.offloads = 0;
        for (queue, pool) in (0..config.rx_queues).zip(config.rx_pools.iter().cycle()) {
            // SAFETY: the port is configured with this many queues; the pool lives until the EAL stops, after the port.
            let result = unsafe { sys::rte_eth_rx_queue_setup(device.id, queue, rx, node, &rx_conf, pool.as_raw()) };
            device.check("set up an rx queue of port", result)?;
        }
        for queue in 0..config.tx_queues {
            // SAFETY: as above.
            let result = unsafe { sys::rte_eth_tx_queue_setup(device.id, queue, tx, node, &tx_conf) };
            device.check("set up a tx queue of port", result)?;
        }
        Ok(())
    }

    fn run(&self, notes: &mut Vec<String>) -> Result<(), PmdError> {
        let Self { device, config, .. } = self;
        // SAFETY: the port is configured, and all its queues are set up.
        device.check("start port", unsafe { sys::rte_eth_dev_start(device.id) })?;
        device.started.store(true, Ordering::Release);
        match device.set_promiscuous(config.promiscuous) {
            Err(error) if error.errno() == Some(NOT_SUPPORTED) => {
                if config.promiscuous {
                    notes.push(format!("{}: {} has no promiscuous mode", device.name, self.capabilities.driver));
                }
            }
            result => result?,
        }
        // A tag that a device took out would put the frame into the wrong bridge.
        // SAFETY: the port is open.
        let vlan = unsafe { sys::rte_eth_dev_get_vlan_offload(device.id) };
        if vlan > 0 && vlan.cast_unsigned() & sys::WEIR_VLAN_STRIP != 0 {
            return Err(self.refuse("its driver strips VLAN tags, and cannot be told not to".to_owned()));
        }
        Ok(())
    }
}

/// Link, counters and modes of a started port, from any thread. The port stays open as long as this lives.
#[derive(Clone, Debug)]
pub struct PortControl {
    device: Arc<Device>,
}

/// State of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Whether it carries frames.
    pub up: bool,
    /// Its speed, Mbit/s; 0 where the driver does not know.
    pub mbps: u32,
}

/// A port's counters since it started, as the driver counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Frames received (`ipackets`).
    pub rx_packets: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Frames lost because an rx queue was full (`imissed`).
    pub rx_missed: u64,
    /// Frames received with an error (`ierrors`).
    pub rx_errors: u64,
    /// Times there was no buffer to receive into (`rx_nombuf`).
    pub rx_no_buffer: u64,
    /// Frames sent (`opackets`).
    pub tx_packets: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    /// Frames accepted and not sent (`oerrors`).
    pub tx_errors: u64,
}

impl PortControl {
    /// The name DPDK knows it by.
    pub fn name(&self) -> &str {
        &self.device.name
    }

    /// The device's MAC address.
    ///
    /// # Errors
    /// The driver does not answer.
    pub fn mac(&self) -> Result<[u8; 6], PmdError> {
        self.device.mac()
    }

    /// What the device is and can do.
    ///
    /// # Errors
    /// The driver does not answer.
    pub fn capabilities(&self) -> Result<Capabilities, PmdError> {
        capabilities(&self.device)
    }

    /// The link's state, as last known: does not wait.
    ///
    /// # Errors
    /// The driver does not answer.
    pub fn link(&self) -> Result<Link, PmdError> {
        let (mut mbps, mut up) = (0, 0);
        let _one = self.device.lock();
        // SAFETY: the port is open; both are the shim's to fill.
        let result = unsafe { sys::weir_link(self.device.id, &mut mbps, &mut up) };
        self.device.check("read the link of port", result)?;
        Ok(Link { up: up != 0, mbps })
    }

    /// The port's counters.
    ///
    /// # Errors
    /// The driver does not answer.
    pub fn stats(&self) -> Result<PortStats, PmdError> {
        let mut stats = sys::rte_eth_stats::default();
        let _one = self.device.lock();
        // SAFETY: the port is open; `stats` is DPDK's to fill.
        let result = unsafe { sys::rte_eth_stats_get(self.device.id, &mut stats) };
        self.device.check("read the counters of port", result)?;
        Ok(PortStats {
            rx_packets: stats.ipackets,
            rx_bytes: stats.ibytes,
            rx_missed: stats.imissed,
            rx_errors: stats.ierrors,
            rx_no_buffer: stats.rx_nombuf,
            tx_packets: stats.opackets,
            tx_bytes: stats.obytes,
            tx_errors: stats.oerrors,
        })
    }

    /// Takes frames to any MAC, or only those to its own, broadcast and multicast.
    ///
    /// # Errors
    /// The driver refuses, or cannot.
    pub fn set_promiscuous(&self, on: bool) -> Result<(), PmdError> {
        self.device.set_promiscuous(on)
    }
}
