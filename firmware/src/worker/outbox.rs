//! Where a worker's frames leave: an outbox for each port, in front of a tx queue.
//!
//! Owns: what a device did not take yet. It stays for the next turn; when an outbox is full too, the frame goes back to
//! the pipeline, which counts it. Where a device has fewer tx queues than there are workers, some workers hand their
//! frames to one that has a queue, each over a bounded lane of its own. What of that cannot be sent goes back as a number, and
//! is dropped by who put it in.

use super::packet::Packet;
use crossbeam_queue::ArrayQueue;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use weir_pipelines::tables::PortId;
use weir_pipelines::{Burst, Egress, Frame};
use weir_pmd::{Mbuf, TxQueue};

/// From a worker without a tx queue to the one that has it.
pub struct Lane {
    frames: ArrayQueue<Packet>,
    /// Frames that came by it and that the device cannot send, until who put them in has heard of it.
    lost: AtomicU64,
}

impl Lane {
    /// One that holds so many frames.
    pub fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self { frames: ArrayQueue::new(capacity), lost: AtomicU64::new(0) })
    }
}

/// What comes by a lane, and what of it the device did not take yet.
pub struct Relay {
    lane: Arc<Lane>,
    waiting: Burst<Packet>,
}

impl From<Arc<Lane>> for Relay {
    fn from(lane: Arc<Lane>) -> Self {
        Self { lane, waiting: Burst::new() }
    }
}

/// How a worker reaches a port.
pub enum Way {
    /// By a queue of its own, for itself and for who comes by a lane.
    Queue {
        /// The queue.
        queue: TxQueue,
        /// Others' frames, by worker.
        relays: Vec<Relay>,
    },
    /// By another worker's.
    Lane(Arc<Lane>),
}

/// One port's outbox.
pub struct Outbox {
    way: Way,
    waiting: Burst<Packet>,
    /// Frames of this worker that the device or the lane took, less those of the lane that could not be sent.
    accepted: u64,
    /// Frames that the device took from this worker, those from lanes included.
    sent: u64,
    /// Bytes of frames put in, those from lanes included, less those given up.
    bytes: u64,
    /// Frames of this worker that were freed because the device cannot send them.
    unsendable: u64,
}

impl Outbox {
    /// An empty one.
    pub fn new(way: Way) -> Self {
        Self { way, waiting: Burst::new(), accepted: 0, sent: 0, bytes: 0, unsendable: 0 }
    }

    /// Frames of this worker that the device, or the lane, took.
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Frames of this worker that wait for the device to take them, without those on the lane.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Frames that the device took here, and their bytes.
    pub fn sent(&self) -> (u64, u64) {
        let bytes = match &self.way {
            Way::Queue { queue, relays } => {
                let waiting = length(&self.waiting) + relays.iter().map(|relay| length(&relay.waiting)).sum::<u64>();
                self.bytes - waiting - queue.unsendable_bytes()
            }
            Way::Lane(_) => 0,
        };
        (self.sent, bytes)
    }

    /// Frames of this worker that the device cannot send, since this was last asked; they are freed.
    pub fn take_unsendable(&mut self) -> u64 {
        if let Way::Lane(lane) = &self.way {
            let lost = lane.lost.swap(0, Ordering::Relaxed);
            self.accepted -= lost;
            self.unsendable += lost;
        }
        std::mem::take(&mut self.unsendable)
    }

    /// Gives the device, or the lane, what it takes.
    #[inline]
    pub fn flush(&mut self) {
        match &mut self.way {
            Way::Queue { queue, relays } => {
                let (sent, lost) = offer(queue, &mut self.waiting);
                self.accepted += sent;
                self.unsendable += lost;
                self.sent += sent;
                for Relay { lane, waiting: burst } in relays {
                    while !burst.is_full()
                        && let Some(packet) = lane.frames.pop()
                    {
                        self.bytes += packet.len() as u64;
                        // There is room: it was just asked for.
                        let _ = burst.push(packet);
                    }
                    let (sent, lost) = offer(queue, burst);
                    self.sent += sent;
                    // Who put such a frame in has counted it as sent, and takes that back.
                    if lost > 0 {
                        lane.lost.fetch_add(lost, Ordering::Relaxed);
                    }
                }
            }
            Way::Lane(lane) => {
                let mut rest = Burst::new();
                for packet in std::mem::take(&mut self.waiting) {
                    match lane.frames.push(packet) {
                        Ok(()) => self.accepted += 1,
                        Err(packet) => drop(rest.push(packet)),
                    }
                }
                self.waiting = rest;
            }
        }
    }

    /// Frames of other workers that wait here, those on their lanes included.
    pub fn relayed(&self) -> usize {
        match &self.way {
            Way::Queue { relays, .. } => relays.iter().map(|relay| relay.waiting.len() + relay.lane.frames.len()).sum(),
            Way::Lane(_) => 0,
        }
    }

    /// Frees what waits, when the gateway stops. How many of this worker's frames that were, and how many of others',
    /// which those have counted as sent.
    pub fn abandon(&mut self) -> (usize, usize) {
        let own = self.waiting.len();
        self.bytes -= length(&self.waiting);
        Mbuf::free_all(&mut self.waiting);
        let mut others = 0;
        if let Way::Queue { relays, .. } = &mut self.way {
            for Relay { lane, waiting: burst } in relays {
                others += burst.len();
                self.bytes -= length(burst);
                Mbuf::free_all(burst);
                others += std::iter::from_fn(|| lane.frames.pop()).count();
            }
        }
        (own, others)
    }
}

/// Bytes of the frames.
fn length(burst: &Burst<Packet>) -> u64 {
    burst.iter().map(|packet| packet.len() as u64).sum()
}

/// Frames that the device took, and that it never can.
#[inline]
fn offer(queue: &mut TxQueue, burst: &mut Burst<Packet>) -> (u64, u64) {
    let before = burst.len();
    if before == 0 {
        return (0, 0);
    }
    let sent = queue.send(burst);
    (sent as u64, (before - sent - burst.len()) as u64)
}

/// All of a worker's outboxes, by port.
pub struct Outboxes(Vec<Outbox>);

impl From<Vec<Outbox>> for Outboxes {
    fn from(outboxes: Vec<Outbox>) -> Self {
        Self(outboxes)
    }
}

impl Outboxes {
    /// Flushes every outbox that has something, or somebody's lane.
    #[inline]
    pub fn flush(&mut self) {
        for outbox in &mut self.0 {
            if !outbox.waiting.is_empty() || matches!(&outbox.way, Way::Queue { relays, .. } if !relays.is_empty()) {
                outbox.flush();
            }
        }
    }

    /// Each outbox, by port.
    pub fn iter(&self) -> impl Iterator<Item = &Outbox> {
        self.0.iter()
    }

    /// Each outbox, by port.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Outbox> {
        self.0.iter_mut()
    }
}

impl Egress<Packet> for Outboxes {
    #[inline]
    fn send(&mut self, port: PortId, frame: Packet) -> Result<(), Packet> {
        let Some(outbox) = self.0.get_mut(port.index()) else { return Err(frame) };
        let length = frame.len() as u64;
        let frame = match outbox.waiting.push(frame) {
            Ok(()) => {
                outbox.bytes += length;
                return Ok(());
            }
            Err(frame) => frame,
        };
        outbox.flush();
        outbox.waiting.push(frame)?;
        outbox.bytes += length;
        Ok(())
    }
}
