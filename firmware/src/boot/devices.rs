//! Ports, and which worker gets which of their queues.
//!
//! Owns: worker w receives from queue w of every port and sends on queue w. A device with fewer rx queues than there
//! are workers feeds only the first of them. One with fewer tx queues is reached by a lane through a worker that has
//! one (worker w by worker w modulo the queues).

use super::{BootError, start_error};
use crate::config::{Config, Port as Section};
use crate::manager::views::PortFacts;
use crate::worker::outbox::{Lane, Outbox, Way};
use std::sync::Arc;
use weir_api::view::PortStats;
use weir_pipelines::tables::{PortId, PortInfo};
use weir_pipelines::wire::MacAddr;
use weir_pmd::{Capabilities, Eal, Mempool, Port, PortConfig, RxQueue, StartedPort};

/// Frames of a worker that may wait for the one whose tx queue it shares.
const LANE: usize = 1024;

/// Ports that were found, and are not started.
pub(super) struct Opened(Vec<(Section, Port, Capabilities)>);

/// What one worker has of the ports.
#[derive(Default)]
pub(super) struct Line {
    /// Its rx queues.
    pub(super) rx: Vec<(PortId, RxQueue)>,
    /// Its outboxes, by port.
    pub(super) out: Vec<Outbox>,
}

/// Ports that run.
pub(super) struct Devices {
    /// For the manager.
    pub(super) facts: Vec<PortFacts>,
    /// For the workers, by number.
    pub(super) lines: Vec<Line>,
}

impl Opened {
    /// Finds every port.
    pub(super) fn open(eal: &Eal, sections: &[Section]) -> Result<Self, BootError> {
        let open = |section: &Section| {
            let port = Port::open(eal, &section.device).map_err(start_error)?;
            let capabilities = port.capabilities().map_err(start_error)?;
            Ok((section.clone(), port, capabilities))
        };
        sections.iter().map(open).collect::<Result<_, _>>().map(Self)
    }

    /// What the pipeline wants to know of each.
    pub(super) fn infos(&self) -> Vec<PortInfo> {
        self.0.iter().map(|(section, _, can)| PortInfo { mac: MacAddr(can.mac), mtu: section.mtu }).collect()
    }

    /// Starts every port.
    pub(super) fn start(self, config: &Config, pool: &Mempool) -> Result<Devices, BootError> {
        let workers = config.workers.cores.len();
        let mut lines: Vec<Line> = (0..workers).map(|_| Line::default()).collect();
        let mut facts = Vec::new();
        for (n, (section, port, can)) in self.0.into_iter().enumerate() {
            let queues = |most: u16| u16::try_from(workers).unwrap_or(u16::MAX).min(most).max(1);
            let port_config = PortConfig {
                rx_queues: queues(can.max_rx_queues),
                tx_queues: queues(can.max_tx_queues),
                rx_descriptors: section.rx_descriptors,
                tx_descriptors: section.tx_descriptors,
                mtu: section.mtu,
                promiscuous: true,
                rx_pools: vec![pool.clone()],
            };
            let started =
                port.start(&port_config).map_err(|e| BootError::Start(format!("port {}: {e}", section.name)))?;
            note(&section, &port_config, &started, workers);
            facts.push(fact(&section, &can, &port_config, &started));
            deal(PortId(n as u16), started, &mut lines);
        }
        Ok(Devices { facts, lines })
    }
}

/// Says what the operator should know of a port.
fn note(section: &Section, config: &PortConfig, started: &StartedPort, workers: usize) {
    for note in &started.notes {
        log::info!("port {}: {note}", section.name);
    }
    if usize::from(config.rx_queues) < workers {
        let (has, name) = (config.rx_queues, &section.name);
        log::warn!("port {name}: {has} rx queue(s) for {workers} workers: the others receive nothing from it");
    }
    let pairs = section.argument("qpairs").and_then(|n| n.parse::<usize>().ok()).unwrap_or(1);
    if pairs > workers {
        let name = &section.name;
        log::warn!("port {name}: qpairs={pairs} for {workers} worker(s): what arrives on the other queues is lost");
    }
}

fn fact(section: &Section, can: &Capabilities, config: &PortConfig, started: &StartedPort) -> PortFacts {
    let [a, b, c, d, e, f] = can.mac;
    let link_up = started.control.link().is_ok_and(|link| link.up);
    let row = PortStats {
        name: section.name.to_string(),
        device: section.device.clone(),
        driver: can.driver.clone(),
        mac: format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"),
        mtu: u32::from(section.mtu),
        link_up,
        rx_queues: config.rx_queues,
        tx_queues: config.tx_queues,
        ..PortStats::default()
    };
    log::info!(
        "port {}: {} ({}), MAC {}, link {}",
        row.name,
        row.device,
        row.driver,
        row.mac,
        if link_up { "up" } else { "down" }
    );
    PortFacts { row, control: Some(started.control.clone()) }
}

/// Deals a port's queues to the workers.
fn deal(port: PortId, started: StartedPort, lines: &mut [Line]) {
    for (queue, line) in started.rx.into_iter().zip(lines.iter_mut()) {
        line.rx.push((port, queue));
    }
    let owners = started.tx.len();
    let workers = lines.len();
    // A lane for each worker without a queue, to the one whose queue it shares.
    let lanes: Vec<Arc<Lane>> = (owners..workers).map(|_| Lane::new(LANE)).collect();
    let mut ways: Vec<Way> = Vec::new();
    for (q, queue) in started.tx.into_iter().enumerate() {
        let shared = lanes.iter().enumerate().filter(|(n, _)| n % owners == q);
        ways.push(Way::Queue { queue, relays: shared.map(|(_, lane)| lane.clone().into()).collect() });
    }
    ways.extend(lanes.into_iter().map(Way::Lane));
    for (way, line) in ways.into_iter().zip(lines.iter_mut()) {
        line.out.push(Outbox::new(way));
    }
}
