//! What was found out about a tunnel, kept for its next frame: vtep, peer, segment and bridge in one line of cache.
//!
//! Owns: a direct-mapped memory of addresses and VNIs that frames came in with and passed. It saves the chain of lookups
//! from destination address to vtep to VNI to segment to bridge to peer, which cost half of decapsulation
//! (`weir-bench`, `vxlan-vlan`). An entry holds for one generation, and until a learned peer's number is given back; whatever
//! is not in it is looked up. A collision costs that lookup, and nothing else.

use crate::tables::{BridgeId, Peer, PeerTable, Place, PortId, Secret, Snapshot};
use crate::wire::{IpProtocol, TrafficClass, VXLAN_PORT};
use alloc::boxed::Box;

/// Entries: 16 KiB of them.
const ENTRIES: usize = 256;

/// Where frames come from: the outer addresses, the VNI and the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TunnelKey {
    addresses: u64,
    network: u64,
}

impl TunnelKey {
    #[inline(always)]
    pub(super) fn new(source: u32, destination: u32, vni: u32, port: PortId) -> Self {
        Self {
            addresses: u64::from(source) << 32 | u64::from(destination),
            network: u64::from(port.0) << 32 | u64::from(vni),
        }
    }

    #[inline(always)]
    fn slot(self, secret: Secret) -> usize {
        (secret.mix(self.addresses, self.network) >> 32) as usize % ENTRIES
    }
}

/// Where frames of a tunnel belong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) place: Place,
    pub(super) origin: Peer,
    pub(super) bridge: BridgeId,
    pub(super) carry_tags: bool,
}

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Tunnel {
    key: TunnelKey,
    generation: u64,
    /// [`PeerTable::releases`] at that time.
    releases: u64,
    found: Found,
}

/// The memory.
pub(super) struct Tunnels(Box<[Option<Tunnel>; ENTRIES]>);

impl Tunnels {
    pub(super) fn new() -> Self {
        Self(Box::new([const { None }; ENTRIES]))
    }

    /// What is known of a tunnel, if it still holds.
    #[inline(always)]
    pub(super) fn get(&self, key: TunnelKey, snapshot: &Snapshot, peers: &PeerTable) -> Option<&Found> {
        let tunnel = self.0[key.slot(snapshot.secret())].as_ref()?;
        let holds =
            tunnel.key == key && tunnel.generation == snapshot.generation && tunnel.releases == peers.releases();
        holds.then_some(&tunnel.found)
    }

    /// Keeps what was found out about a tunnel whose peer has a number.
    pub(super) fn put(&mut self, key: TunnelKey, snapshot: &Snapshot, peers: &PeerTable, found: Found) {
        let (generation, releases) = (snapshot.generation, peers.releases());
        self.0[key.slot(snapshot.secret())] = Some(Tunnel { key, generation, releases, found });
    }
}

/// The outer headers of an ordinary VXLAN frame, behind Ethernet: IPv4 without options, whole; UDP to the VXLAN port; the I
/// flag; lengths that agree. Anything else is not refused here, but looked at in full.
#[derive(Clone, Copy)]
pub(super) struct Outer<'a>(&'a [u8; Outer::LEN]);

impl<'a> Outer<'a> {
    /// Bytes of IPv4, UDP and VXLAN header.
    pub(super) const LEN: usize = 20 + 8 + 8;

    /// The headers at the beginning of `head`; `available` is the length from there to the end of the frame.
    #[inline(always)]
    pub(super) fn parse(head: &'a [u8], available: usize) -> Option<Self> {
        let outer = Self(head.first_chunk()?);
        let total_len = usize::from(outer.be16(2));
        let ordinary = outer.0[0] == 0x45
            && outer.0[9] == IpProtocol::UDP.0
            && outer.be16(6) & 0x3fff == 0
            && outer.be16(22) == VXLAN_PORT
            && outer.0[28] & 0x08 != 0
            && total_len <= available
            && outer.udp_len() <= total_len.wrapping_sub(20)
            && outer.udp_len() >= Self::LEN - 20 + 14
            && total_len >= Self::LEN;
        ordinary.then_some(outer)
    }

    #[inline(always)]
    fn be16(self, at: usize) -> u16 {
        u16::from_be_bytes([self.0[at], self.0[at + 1]])
    }

    #[inline(always)]
    fn be32(self, at: usize) -> u32 {
        u32::from_be_bytes([self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]])
    }

    #[inline(always)]
    pub(super) fn source(self) -> u32 {
        self.be32(12)
    }

    #[inline(always)]
    pub(super) fn destination(self) -> u32 {
        self.be32(16)
    }

    #[inline(always)]
    pub(super) fn vni(self) -> u32 {
        self.be32(32) >> 8
    }

    #[inline(always)]
    pub(super) fn udp_len(self) -> usize {
        usize::from(self.be16(24))
    }

    #[inline(always)]
    pub(super) fn class(self) -> TrafficClass {
        TrafficClass(self.0[1])
    }

    /// Whether the IPv4 header is as it was sent.
    #[inline(always)]
    pub(super) fn checksum_holds(self) -> bool {
        // The sum is the same in any byte order, but for that of its own bytes (RFC 1071 §2 (B)); all ones is its own mirror.
        let word =
            |at: usize| u64::from(u32::from_ne_bytes([self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]]));
        let sum = word(0) + word(4) + word(8) + word(12) + word(16);
        let sum = (sum & 0xffff_ffff) + (sum >> 32);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        // A header is never all zeros, so a sum of zero does not come.
        (sum & 0xffff) + (sum >> 16) == 0xffff
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Ipv4;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: proptest::test_runner::RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_checksum_is_the_wires(mut bytes in prop::collection::vec(any::<u8>(), 60..60 + 1), right in any::<bool>()) {
            bytes[0] = 0x45;
            bytes[2..4].copy_from_slice(&[0, 60]);
            bytes[6..8].fill(0);
            bytes[9] = 17;
            bytes[22..26].copy_from_slice(&[0x12, 0xb5, 0, 40]);
            bytes[28] |= 8;
            if right {
                bytes[10..12].fill(0);
                let sum = crate::wire::checksum::Sum::new().with(&bytes[..20]).finish();
                bytes[10..12].copy_from_slice(&sum.to_be_bytes());
            }
            let outer = Outer::parse(&bytes, bytes.len()).expect("ordinary");
            let (ip, _) = Ipv4::parse(&bytes).expect("IPv4");
            prop_assert_eq!(outer.checksum_holds(), ip.checksum_holds());
            prop_assert!(outer.checksum_holds() || !right);
        }
    }
}
