//! The world of a case: a manager, a gateway, a pool, ports and a clock. After each step, every frame is accounted for.

use crate::capture::Record;
use crate::command;
use crate::outcome::Outcome;
use crate::script::{Script, Step};
use std::collections::BTreeMap;
use std::path::Path;
use weir::config::Tables;
use weir::manager::configuration::Configuration;
use weir_pipelines::gateway::testing::{TestFrame, TestPool, TestPorts};
use weir_pipelines::gateway::{DropReason, Event, Gateway, Limits};
use weir_pipelines::tables::{PortId, PortInfo, Secret, Snapshot};
use weir_pipelines::wire::MacAddr;
use weir_pipelines::{BURST, Burst, Time};

/// How frames come in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Delivery {
    /// Bursts as the script has them, each frame in one segment.
    Whole,
    /// Each frame is a burst of its own.
    OneByOne,
    /// The first segment has so many bytes.
    SplitAt(usize),
    /// Each byte is a segment.
    Crumbs,
    /// Some bytes of some frames are others, and some frames are cut. What comes of it is anybody's guess, but no frame
    /// may be lost.
    Mangled(u64),
}

/// The longest time between two ticks, ms.
const TICK: u64 = 50;
/// More buffers than any case needs.
const BUFFERS: usize = 4096;

pub(crate) struct World {
    delivery: Delivery,
    names: Vec<String>,
    configuration: Configuration,
    gateway: Gateway<TestFrame>,
    pool: TestPool,
    /// How many buffers are free besides those of the frames that come in.
    free: Option<usize>,
    ports: TestPorts,
    now: Time,
    sent: Vec<(PortId, Record)>,
}

impl World {
    pub(crate) fn new(script: &Script, delivery: Delivery) -> Result<Self, String> {
        // Chosen once, so that flows' source ports are always the same.
        let secret = Secret::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]);
        let infos: Vec<_> = (script.ports.iter().zip(0u8..))
            .map(|(&(_, mtu), n)| PortInfo { mac: MacAddr([2, 0, 0, 0, 0xf0, n]), mtu })
            .collect();
        let names: Vec<_> = script.ports.iter().map(|(name, _)| name.clone()).collect();
        let api_names =
            names.iter().map(|name| name.parse().map_err(|e| format!("{name}: {e}"))).collect::<Result<_, _>>()?;
        let mut limits = Limits {
            bridges: 64,
            macs: 256,
            bindings: 256,
            peers: 128,
            learned_peers: 16,
            neighbours: 16,
            held: 64,
            hosts: 16,
            hops: 64,
            routers: 64,
            leads: true,
            shared: false,
        };
        let mut tables = Tables { bridges: 64, peers: 64, ..Tables::default() };
        for (table, &size) in &script.tables {
            match table.as_str() {
                "macs" => limits.macs = size,
                "bindings" => limits.bindings = size,
                "learned_peers" => limits.learned_peers = size,
                "neighbours" => limits.neighbours = size,
                "hosts" => limits.hosts = size,
                "held" => limits.held = size,
                "bridges" => tables.bridges = size as u32,
                "segments" => tables.segments = size as u32,
                "peers" => tables.peers = size as u32,
                _ => return Err(format!("no table {table} can be sized here")),
            }
        }
        Ok(Self {
            delivery,
            configuration: Configuration::new(api_names, tables, Snapshot::new(secret, &infos)),
            gateway: Gateway::new(secret, names.len(), limits),
            names,
            pool: TestPool::new(BUFFERS),
            free: None,
            ports: TestPorts::new(),
            now: Time::from_millis(0),
            sent: Vec::new(),
        })
    }

    /// Does a line of the script.
    pub(crate) fn step(&mut self, case: &Path, step: &Step) -> Result<(), String> {
        match step {
            Step::Weirctl { arguments, refused } => {
                let result = command::run(&mut self.configuration, case, arguments);
                match (result, refused) {
                    (Ok(()), true) => return Err("it was not refused".to_owned()),
                    (Err(why), false) => return Err(why),
                    _ => {}
                }
            }
            Step::Frames { port, frames } => {
                let size = if matches!(self.delivery, Delivery::OneByOne) { 1 } else { BURST };
                for burst in frames.chunks(size) {
                    self.receive(PortId(*port as u16), burst)?;
                }
            }
            Step::Time(by) => {
                let end = self.now + *by;
                while self.now < end {
                    self.now = (self.now + TICK).min(end);
                    self.limit_pool();
                    self.gateway.tick(self.configuration.snapshot(), self.now, &mut self.pool, &mut self.ports);
                    self.account()?;
                }
            }
            Step::Pool(free) => self.free = *free,
            Step::Room(room) => self.ports.room = room.unwrap_or(usize::MAX),
        }
        Ok(())
    }

    fn receive(&mut self, port: PortId, frames: &[Vec<u8>]) -> Result<(), String> {
        self.pool.set_capacity(BUFFERS);
        let mut burst = Burst::new();
        let mangled: Vec<_>;
        let frames = match &mut self.delivery {
            Delivery::Mangled(random) => {
                mangled = frames.iter().map(|bytes| mangle(bytes, random)).collect();
                &mangled[..]
            }
            _ => frames,
        };
        for bytes in frames {
            let segments = segments(bytes, self.delivery);
            let frame = self.pool.frame(&segments).ok_or("the case needs more buffers than a case may")?;
            burst.push(frame).map_err(|_| "a burst of more than a burst")?;
        }
        self.limit_pool();
        let snapshot = self.configuration.snapshot();
        self.gateway.process(snapshot, self.now, port, &mut burst, &mut self.pool, &mut self.ports);
        if !burst.is_empty() {
            return Err(format!("{} frames of the burst are left over", burst.len()));
        }
        self.account()
    }

    fn limit_pool(&mut self) {
        self.pool.set_capacity(self.free.map_or(BUFFERS, |free| self.pool.live() + free));
    }

    /// Takes what was sent, and sees that no frame is lost or counted twice.
    fn account(&mut self) -> Result<(), String> {
        let counters = self.gateway.counters();
        let held = self.gateway.held();
        let came = counters.received + counters.originated;
        let went = counters.sent + counters.dropped_total() + counters.consumed + held as u64;
        if came != went {
            return Err(format!("{came} frames came or were made, {went} were sent, dropped, consumed or wait"));
        }
        let on_ports = self.ports.sent.len();
        if self.pool.live() != on_ports + held {
            return Err(format!("{} buffers in use for {on_ports} frames sent and {held} that wait", self.pool.live()));
        }
        let (seconds, micros) = (self.now.seconds() as u32, (self.now.millis() % 1000 * 1000) as u32);
        let taken = self.ports.take().into_iter();
        self.sent.extend(taken.map(|(port, bytes)| (port, Record { seconds, micros, bytes })));
        Ok(())
    }

    /// Stops the gateway, and tells what came of it all.
    pub(crate) fn finish(mut self) -> Result<Outcome, String> {
        self.gateway.stop();
        self.account()?;
        if self.pool.live() != 0 {
            return Err(format!("{} buffers never came back", self.pool.live()));
        }
        if self.gateway.counters().sent != self.sent.len() as u64 {
            return Err(format!("{} frames counted as sent, {} were", self.gateway.counters().sent, self.sent.len()));
        }
        let mut counters = BTreeMap::new();
        let mut note = |name: String, count: u64| {
            if count > 0 {
                counters.insert(name, count);
            }
        };
        let counted = self.gateway.counters();
        for (n, name) in self.names.iter().enumerate() {
            for &reason in DropReason::ALL {
                note(format!("drops.{name}.{}", reason.as_str()), counted.dropped(PortId(n as u16), reason));
            }
        }
        for &event in Event::ALL {
            note(format!("events.{}", event.as_str()), counted.counted(event));
        }
        note("frames.received".to_owned(), counted.received);
        note("frames.originated".to_owned(), counted.originated);
        note("frames.sent".to_owned(), counted.sent);
        note("frames.consumed".to_owned(), counted.consumed);
        note("tables.macs".to_owned(), self.gateway.macs().len() as u64);
        note("tables.learned_peers".to_owned(), self.gateway.peers().learned() as u64);
        note("tables.neighbours".to_owned(), self.gateway.neighbours().entries().len() as u64);
        let mut sent: BTreeMap<String, Vec<Record>> =
            self.names.iter().map(|name| (name.clone(), Vec::new())).collect();
        for (port, record) in self.sent {
            sent.entry(self.names[port.index()].clone()).or_default().push(record);
        }
        Ok(Outcome { sent, counters })
    }
}

/// The frame with some of its first 128 bytes changed, and perhaps cut.
fn mangle(bytes: &[u8], random: &mut u64) -> Vec<u8> {
    // xorshift64: the state is never zero.
    let mut below = |n: usize| {
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        (*random >> 32) as usize % n
    };
    let mut bytes = bytes.to_vec();
    for _ in 0..below(4) {
        let at = below(bytes.len().min(128));
        bytes[at] = [0, 1, 0x7f, 0xff, below(256) as u8, bytes[at] ^ 1 << below(8)][below(6)];
    }
    if below(4) == 0 {
        bytes.truncate(1 + below(bytes.len()));
    }
    bytes
}

fn segments(bytes: &[u8], delivery: Delivery) -> Vec<&[u8]> {
    match delivery {
        Delivery::SplitAt(at) if at < bytes.len() => vec![&bytes[..at], &bytes[at..]],
        Delivery::Crumbs => bytes.chunks(1).collect(),
        Delivery::Mangled(random) if random % 2 == 0 => bytes.chunks(1 + (random >> 8) as usize % 60).collect(),
        _ => vec![bytes],
    }
}
