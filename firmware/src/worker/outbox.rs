//! Where a worker's frames leave: an outbox for each port, in front of a tx queue.
//!
//! Owns: what a device did not take yet. It stays for the next turn; when an outbox is full too, the frame goes back to
//! the pipeline, which counts it. Where a device has fewer tx queues than there are workers, some workers hand their
//! frames to one that has a queue, over a bounded lane.

use super::packet::Packet;
use crossbeam_queue::ArrayQueue;
use std::sync::Arc;
use weir_pipelines::tables::PortId;
use weir_pipelines::{Burst, Egress, Frame};
use weir_pmd::{Mbuf, TxQueue};

/// From workers without a tx queue to the one that has it.
pub type Lane = Arc<ArrayQueue<Packet>>;

/// What comes by a lane, and what of it the device did not take yet.
pub struct Relay {
    lane: Lane,
    waiting: Burst<Packet>,
}

impl From<Lane> for Relay {
    fn from(lane: Lane) -> Self {
        Self { lane, waiting: Burst::new() }
    }
}

/// How a worker reaches a port.
pub enum Way {
    /// By a queue of its own, for itself and for who comes by the lane.
    Queue {
        /// The queue.
        queue: TxQueue,
        /// Others' frames.
        relay: Option<Box<Relay>>,
    },
    /// By another worker's.
    Lane(Lane),
}

/// One port's outbox.
pub struct Outbox {
    way: Way,
    waiting: Burst<Packet>,
    /// Frames of this worker that the device or the lane took.
    accepted: u64,
    /// Frames that the device took from this worker, those from the lane included.
    sent: u64,
    /// Bytes of frames put in, those from the lane included, less those dropped.
    bytes: u64,
    /// Frames of this worker that the queue freed because the device cannot send them.
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

    /// Frames that wait for the device to take them, without those on the lane.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Frames that the device took here, and their bytes.
    pub fn sent(&self) -> (u64, u64) {
        let length = |burst: &Burst<Packet>| burst.iter().map(|p| p.len() as u64).sum::<u64>();
        let relay = match &self.way {
            Way::Queue { relay: Some(relay), .. } => length(&relay.waiting),
            _ => 0,
        };
        let bytes = match self.way {
            Way::Queue { .. } => self.bytes - length(&self.waiting) - relay,
            Way::Lane(_) => 0,
        };
        (self.sent, bytes)
    }

    /// Frames that the device cannot send, since this was last asked; they are freed.
    pub fn take_unsendable(&mut self) -> u64 {
        std::mem::take(&mut self.unsendable)
    }

    /// Gives the device, or the lane, what it takes.
    #[inline]
    pub fn flush(&mut self) {
        match &mut self.way {
            Way::Queue { queue, relay } => {
                let (sent, lost) = offer(queue, &mut self.waiting);
                self.accepted += sent;
                self.unsendable += lost;
                self.sent += sent;
                if let Some(relay) = relay {
                    let Relay { lane, waiting: burst } = &mut **relay;
                    while !burst.is_full()
                        && let Some(packet) = lane.pop()
                    {
                        self.bytes += packet.len() as u64;
                        // There is room: it was just asked for.
                        let _ = burst.push(packet);
                    }
                    // A frame from the lane that cannot be sent was counted as sent by who put it there.
                    self.sent += offer(queue, burst).0;
                }
            }
            Way::Lane(lane) => {
                let mut rest = Burst::new();
                for packet in std::mem::take(&mut self.waiting) {
                    match lane.push(packet) {
                        Ok(()) => self.accepted += 1,
                        Err(packet) => drop(rest.push(packet)),
                    }
                }
                self.waiting = rest;
            }
        }
    }

    /// Frees what waits, when the gateway stops. How many of this worker's frames that were, and how many by the lane.
    pub fn abandon(&mut self) -> (usize, usize) {
        let own = self.waiting.len();
        self.bytes -= self.waiting.iter().map(|p| p.len() as u64).sum::<u64>();
        Mbuf::free_all(&mut self.waiting);
        let mut others = 0;
        if let Way::Queue { relay: Some(relay), .. } = &mut self.way {
            let Relay { lane, waiting: burst } = &mut **relay;
            others = burst.len() + lane.len();
            Mbuf::free_all(burst);
            while lane.pop().is_some() {}
        }
        (own, others)
    }
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
            if !outbox.waiting.is_empty() || matches!(outbox.way, Way::Queue { relay: Some(_), .. }) {
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
