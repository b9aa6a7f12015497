//! DPDK's buffers as the pipeline's frames.
//!
//! Owns: the two coats, [`Packet`] over an mbuf and [`Buffers`] over a pool. Both cost nothing at run time.

use weir_pipelines::{Burst, Checksum, Frame, Pool};
use weir_pmd::{Mbuf, Mempool};

/// An mbuf as a frame.
#[repr(transparent)]
pub struct Packet(Mbuf);

impl From<Mbuf> for Packet {
    #[inline(always)]
    fn from(mbuf: Mbuf) -> Self {
        Self(mbuf)
    }
}

impl From<Packet> for Mbuf {
    #[inline(always)]
    fn from(packet: Packet) -> Self {
        packet.0
    }
}

impl Packet {
    /// Asks for its first cache line.
    #[inline(always)]
    pub fn prefetch(&self) {
        self.0.prefetch();
    }
}

impl Frame for Packet {
    #[inline(always)]
    fn len(&self) -> usize {
        self.0.len()
    }
    #[inline(always)]
    fn head(&self) -> &[u8] {
        self.0.head()
    }
    #[inline(always)]
    fn head_mut(&mut self) -> &mut [u8] {
        self.0.head_mut()
    }
    #[inline(always)]
    fn is_segmented(&self) -> bool {
        self.0.is_segmented()
    }
    #[inline]
    fn pull(&mut self, n: usize) -> bool {
        self.0.pull(n)
    }
    #[inline(always)]
    fn prepend(&mut self, n: usize) -> Option<&mut [u8]> {
        self.0.prepend(n)
    }
    #[inline(always)]
    fn trim_front(&mut self, n: usize) {
        self.0.trim_front(n);
    }
    #[inline]
    fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }
    #[inline]
    fn read(&self, at: usize, out: &mut [u8]) -> bool {
        self.0.read(at, out)
    }
    #[inline(always)]
    fn ip_checksum(&self) -> Checksum {
        match self.0.ip_checksum() {
            weir_pmd::Checksum::Good => Checksum::Good,
            weir_pmd::Checksum::Bad => Checksum::Bad,
            weir_pmd::Checksum::Unknown => Checksum::Unknown,
        }
    }
}

/// A pool of mbufs as a source of frames.
pub struct Buffers(Mempool);

impl From<Mempool> for Buffers {
    fn from(pool: Mempool) -> Self {
        Self(pool)
    }
}

impl Pool for Buffers {
    type Frame = Packet;

    fn alloc(&mut self, len: usize) -> Option<Packet> {
        let mut mbuf = self.0.alloc()?;
        mbuf.append(len)?;
        Some(Packet(mbuf))
    }

    #[inline]
    fn copy(&mut self, frame: &Packet) -> Option<Packet> {
        self.0.copy(&frame.0).map(Packet)
    }

    #[inline]
    fn free(&mut self, frames: &mut Burst<Packet>) {
        Mbuf::free_all(frames);
    }
}
