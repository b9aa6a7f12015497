//! From a configuration to a gateway that forwards, and back to nothing.
//!
//! Owns: the order. The saved state is in force before a port starts. Stopping goes the other way: workers end, ports
//! close, and every packet buffer must be back in its pool; one that is missing is an error.

mod devices;
mod state;

use crate::config::{Config, Tables};
use crate::manager::Manager;
use crate::manager::crew::Crew;
use crate::rpc;
use crate::supervisor::{Supervisor, Watchdog};
use crate::worker::link::{Cycles, Link, PortCount, Shared, Turns};
use crate::worker::packet::Buffers;
use crate::worker::sharing::Others;
use crate::worker::{Clock, Worker};
use devices::{Devices, Opened};
use state::Loading;
pub use state::check_state;
use std::fmt;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};
use weir_pipelines::gateway::{Gateway, Limits};
use weir_pipelines::tables::Secret;
use weir_pmd::{Eal, EalConfig, Lcore, LcoreHandle, Mempool};

/// For how long the manager waits for a call before it looks after the rest.
const PAUSE: Duration = Duration::from_millis(10);
/// How long workers may take to end.
const FAREWELL: Duration = Duration::from_secs(5);

/// What the operating system told the process; set by signal handlers.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    /// To stop: SIGTERM, SIGINT.
    pub stop: Arc<AtomicBool>,
    /// SIGHUP, which changes nothing, and is answered in the log.
    pub hangup: Arc<AtomicBool>,
}

/// Why the gateway did not start, or did not end as it should.
#[derive(Debug)]
pub enum BootError {
    /// The saved state cannot be used.
    State(String),
    /// DPDK, a port or the socket.
    Start(String),
    /// Something was wrong at the end: buffers missing, counters that do not balance, a worker that hangs.
    Stop(String),
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State(what) | Self::Start(what) | Self::Stop(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for BootError {}

fn start_error(e: impl fmt::Display) -> BootError {
    BootError::Start(e.to_string())
}

/// Runs the gateway until it is told to stop. `hugepages` is the doctor's finding.
///
/// # Errors
/// [`BootError`]: what prevented the start, or was wrong at the end.
pub fn run(config: &Config, hugepages: bool, signals: &Signals) -> Result<(), BootError> {
    let supervisor = Arc::new(Supervisor::from_environment());
    let secret = Secret::new(random().map_err(start_error)?);
    let loading = Loading::start(config, secret)?;
    let eal = start_eal(config, hugepages)?;
    let result = forward(&eal, config, secret, loading, &supervisor, signals);
    let balanced = eal.stop().map_err(|e| BootError::Stop(e.to_string()));
    if result.is_ok() && balanced.is_ok() {
        log::info!("stopped; every packet buffer is back");
    }
    result.and(balanced)
}

/// Everything between the EAL's start and its stop. Holds nothing of DPDK's when it returns.
fn forward(
    eal: &Eal,
    config: &Config,
    secret: Secret,
    loading: Loading,
    supervisor: &Arc<Supervisor>,
    signals: &Signals,
) -> Result<(), BootError> {
    // The doctor has refused what is larger, and the pool would.
    let data_room = u16::try_from(config.data_room()).unwrap_or(u16::MAX);
    let pool = Mempool::new(eal, "frames", config.dpdk.mbufs, data_room).map_err(start_error)?;
    let opened = Opened::open(eal, &config.ports)?;
    let (store, mut configuration) = loading.end()?;
    configuration.set_ports(&opened.infos());
    let Devices { facts, lines } = opened.start(config, &pool)?;
    let clock = Clock::start();
    let snapshot = Arc::new(configuration.snapshot().clone());
    let links: Vec<Link> = config.workers.cores.iter().map(|core| Shared::new(*core)).collect();
    let mut handles = Vec::new();
    for (link, line) in links.iter().zip(lines) {
        let worker = Worker {
            link: link.clone(),
            others: Others::new(links.iter().filter(|other| other.core != link.core).cloned().collect()),
            rx: line.rx,
            out: line.out.into(),
            pool: Buffers::from(pool.clone()),
            gateway: Gateway::new(secret, config.ports.len(), limits(&config.tables, links.len(), handles.is_empty())),
            snapshot: snapshot.clone(),
            poll: config.workers.poll,
            clock,
            received: vec![PortCount::default(); config.ports.len()],
            cycles: Cycles::default(),
            turns: Turns::default(),
            errand: None,
        };
        match Lcore::launch(eal, link.core, move || worker.run()) {
            Ok(handle) => handles.push(handle),
            Err(e) => return end(&links, handles).and(Err(start_error(e))),
        }
    }
    drop(snapshot);
    let mut manager =
        Manager::new(configuration, config.tables.clone(), Some(store), Crew::new(links.clone()), facts, Some(pool));
    let served = serve(config, &mut manager, clock, supervisor, signals);
    end(&links, handles).and(served)
}

/// Answers calls until told to stop.
fn serve(
    config: &Config,
    manager: &mut Manager,
    clock: Clock,
    supervisor: &Arc<Supervisor>,
    signals: &Signals,
) -> Result<(), BootError> {
    let watchdog = Watchdog::start(supervisor, manager.crew().links().to_vec(), move || clock.now());
    let watchdog = watchdog.map_err(|e| BootError::Start(format!("no thread for the watchdog: {e}")))?;
    let (jobs, calls) = sync_channel(config.rpc.max_connections as usize);
    let server = rpc::Server::start(&config.rpc, jobs)
        .map_err(|e| BootError::Start(format!("rpc.socket = {:?}: {e}", config.rpc.socket)))?;
    log::info!("forwarding; listening on {}", config.rpc.socket.display());
    supervisor.ready();
    while !signals.stop.load(Ordering::Acquire) && manager.take(&calls, PAUSE) {
        let now = clock.now();
        manager.crew().are_alive(now);
        watchdog.beat(now);
        if signals.hangup.swap(false, Ordering::AcqRel) {
            log::info!("SIGHUP: weir.toml is read at start only; the desired state comes by RPC");
        }
    }
    supervisor.stopping();
    log::info!("stopping");
    // Who waits for an answer gets an error, before the server waits for who waits.
    drop(calls);
    server.stop();
    Ok(())
}

/// Ends the workers, and with them what they hold of the ports.
fn end(links: &[Link], handles: Vec<LcoreHandle>) -> Result<(), BootError> {
    for link in links {
        link.stop.store(true, Ordering::Release);
    }
    let deadline = Instant::now() + FAREWELL;
    let mut wrong = Vec::new();
    for handle in handles {
        while handle.is_running() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        if handle.is_running() {
            wrong.push(format!("the worker on core {} does not end", handle.core()));
        } else if let Err(e) = handle.join() {
            wrong.push(e.to_string());
        }
    }
    for link in links {
        while link.retired.pop().is_some() || link.mailbox.pop().is_some() {}
        if link.unbalanced.load(Ordering::Acquire) {
            wrong.push(format!("the counters of the worker on core {} do not balance", link.core));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(BootError::Stop(wrong.join("; "))) }
}

fn start_eal(config: &Config, hugepages: bool) -> Result<Eal, BootError> {
    let eal = EalConfig {
        worker_cores: config.workers.cores.clone(),
        memory_mib: config.dpdk.memory_mib,
        hugepages,
        file_prefix: config.dpdk.file_prefix.clone(),
        devices: config.ports.iter().map(|p| p.device.clone()).collect(),
        log_level: config.log.level.into(),
        extra_args: config.dpdk.extra_args.clone(),
    };
    Eal::start(&eal).map_err(start_error)
}

/// The first of the workers leads.
fn limits(tables: &Tables, workers: usize, leads: bool) -> Limits {
    Limits {
        // Every number that a bridge can have, so that freed ones rest.
        bridges: 1 << 16,
        macs: tables.macs as usize,
        bindings: tables.bindings as usize,
        peers: tables.peer_numbers() as usize,
        learned_peers: tables.learned_peers as usize,
        neighbours: tables.neighbours as usize,
        held: tables.held as usize,
        hosts: tables.hosts as usize,
        hops: tables.hops as usize,
        routers: 1 << 16,
        leads,
        shared: workers > 1,
    }
}

/// 128 bits from the operating system.
fn random() -> std::io::Result<[u64; 2]> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let (a, b) = bytes.split_at(8);
    let word = |half: &[u8]| half.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
    Ok([word(a), word(b)])
}
