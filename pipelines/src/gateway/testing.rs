//! Frames, a pool and ports for tests and traces: byte vectors, split into segments anywhere, with nothing hidden.

use crate::tables::PortId;
use crate::{Checksum, Egress, Frame, Pool};
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;

/// Room in front of a new frame, bytes: as much as DPDK's default.
const HEADROOM: usize = 128;
/// What stands in room that nobody has written: a step that forgets a byte shows.
const DIRT: u8 = 0xa5;

/// A frame of byte vectors.
#[derive(Debug)]
pub struct TestFrame {
    /// The first segment with its headroom, of which `front` bytes are left.
    first: Vec<u8>,
    front: usize,
    later: Vec<Vec<u8>>,
    live: Rc<Cell<usize>>,
}

impl TestFrame {
    /// All bytes of the frame.
    pub fn bytes(&self) -> Vec<u8> {
        let mut all = self.head().to_vec();
        self.later.iter().for_each(|segment| all.extend_from_slice(segment));
        all
    }
}

impl Drop for TestFrame {
    fn drop(&mut self) {
        self.live.set(self.live.get() - 1);
    }
}

impl Frame for TestFrame {
    const TRACED: bool = true;

    fn len(&self) -> usize {
        self.head().len() + self.later.iter().map(Vec::len).sum::<usize>()
    }

    fn head(&self) -> &[u8] {
        &self.first[self.front..]
    }

    fn head_mut(&mut self) -> &mut [u8] {
        &mut self.first[self.front..]
    }

    fn is_segmented(&self) -> bool {
        !self.later.is_empty()
    }

    fn pull(&mut self, n: usize) -> bool {
        if n > self.len() {
            return false;
        }
        while self.head().len() < n {
            let missing = n - self.head().len();
            let next = &mut self.later[0];
            let taken = missing.min(next.len());
            self.first.extend(next.drain(..taken));
            if next.is_empty() {
                self.later.remove(0);
            }
        }
        true
    }

    fn prepend(&mut self, n: usize) -> Option<&mut [u8]> {
        self.front = self.front.checked_sub(n)?;
        self.first[self.front..self.front + n].fill(DIRT);
        Some(self.head_mut())
    }

    fn trim_front(&mut self, n: usize) {
        assert!(n <= self.head().len());
        self.front += n;
    }

    fn truncate(&mut self, len: usize) {
        let mut left = len.saturating_sub(self.head().len());
        self.first.truncate(self.front + len);
        for segment in &mut self.later {
            segment.truncate(left);
            left -= segment.len();
        }
        self.later.retain(|segment| !segment.is_empty());
    }

    fn read(&self, at: usize, out: &mut [u8]) -> bool {
        let all = self.bytes();
        match all.get(at..at + out.len()) {
            Some(bytes) => out.copy_from_slice(bytes),
            None => return false,
        }
        true
    }

    fn ip_checksum(&self) -> Checksum {
        Checksum::Unknown
    }
}

/// A pool of so many frames.
#[derive(Debug)]
pub struct TestPool {
    capacity: usize,
    live: Rc<Cell<usize>>,
}

impl TestPool {
    /// A pool that `capacity` frames come from.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, live: Rc::default() }
    }

    /// How many frames are about.
    pub fn live(&self) -> usize {
        self.live.get()
    }

    /// Changes how many frames there may be.
    pub fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
    }

    /// A frame of these segments' bytes, as a device would deliver it.
    pub fn frame(&mut self, segments: &[&[u8]]) -> Option<TestFrame> {
        let (first, later) = segments.split_first()?;
        if self.live.get() >= self.capacity {
            return None;
        }
        self.live.set(self.live.get() + 1);
        let mut bytes = vec![DIRT; HEADROOM];
        bytes.extend_from_slice(first);
        let later = later.iter().map(|s| s.to_vec()).collect();
        Some(TestFrame { first: bytes, front: HEADROOM, later, live: Rc::clone(&self.live) })
    }
}

impl Pool for TestPool {
    type Frame = TestFrame;

    fn alloc(&mut self, len: usize) -> Option<TestFrame> {
        self.frame(&[&vec![0; len]])
    }

    fn copy(&mut self, frame: &TestFrame) -> Option<TestFrame> {
        self.frame(&[&frame.bytes()])
    }
}

/// Ports that keep what was sent, in order; each takes so many frames.
#[derive(Debug)]
pub struct TestPorts {
    /// What was sent and not taken yet, by which port.
    pub sent: Vec<(PortId, TestFrame)>,
    /// How many frames are taken in all.
    pub room: usize,
}

impl TestPorts {
    /// Ports that take everything.
    pub fn new() -> Self {
        Self { sent: Vec::new(), room: usize::MAX }
    }

    /// Takes what was sent, as bytes.
    pub fn take(&mut self) -> Vec<(PortId, Vec<u8>)> {
        self.sent.drain(..).map(|(port, frame)| (port, frame.bytes())).collect()
    }
}

impl Default for TestPorts {
    fn default() -> Self {
        Self::new()
    }
}

impl Egress<TestFrame> for TestPorts {
    fn send(&mut self, port: PortId, frame: TestFrame) -> Result<(), TestFrame> {
        if self.sent.len() >= self.room {
            return Err(frame);
        }
        self.sent.push((port, frame));
        Ok(())
    }
}
