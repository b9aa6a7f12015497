//! What was found out about a tunnel, kept for its next frame: segment, peer and bridge in one line of cache.
//!
//! Owns: a direct-mapped memory of addresses and networks that frames came in with and passed. It saves the chain of lookups
//! from destination address to vtep to network to segment to bridge to peer, which cost half of decapsulation
//! (`weir-bench`, `vxlan-vlan`). An entry holds for one generation, and until a learned peer's number is given back; whatever
//! is not in it is looked up. A collision costs that lookup, and nothing else.
//! Read first: RFC 7348 §5, RFC 7637 §3.2, RFC 8926 §3.4.

use crate::tables::{BridgeId, Encap, MeshId, PeerTable, Place, PortId, Secret, Snapshot};
use crate::wire::{GENEVE_PORT, IpProtocol, TrafficClass, VXLAN_PORT};
use alloc::boxed::Box;

/// Entries: 16 KiB of them for IPv4, twice that for IPv6.
const ENTRIES: usize = 256;

/// Which network a frame names, on which port it came: above the 24 bits of the network, the encapsulation and the port.
#[inline(always)]
fn network_of(encap: Encap, network: u32, port: PortId) -> u64 {
    u64::from(port.0) << 32 | (encap as u64) << 24 | u64::from(network)
}

/// Where frames come from.
pub(super) trait TunnelKey: Copy + Eq {
    /// A hash of it.
    fn hash(self, secret: Secret) -> u64;
}

/// By IPv4: both addresses, and the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key4 {
    addresses: u64,
    network: u64,
}

impl TunnelKey for Key4 {
    #[inline(always)]
    fn hash(self, secret: Secret) -> u64 {
        secret.mix(self.addresses, self.network)
    }
}

/// By IPv6: both addresses, and the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key6 {
    addresses: [u64; 4],
    network: u64,
}

impl TunnelKey for Key6 {
    #[inline(always)]
    fn hash(self, secret: Secret) -> u64 {
        let [a, b, c, d] = self.addresses;
        secret.mix(secret.mix(a, b) ^ self.network, secret.mix(c, d))
    }
}

/// Where frames of a tunnel belong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) place: Place,
    pub(super) bridge: BridgeId,
    /// The full mesh that they come from.
    pub(super) mesh: MeshId,
    pub(super) carry_tags: bool,
    /// Whether the bridge has port security.
    pub(super) secure: bool,
}

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Tunnel<K> {
    key: K,
    generation: u64,
    /// [`PeerTable::releases`] at that time.
    releases: u64,
    found: Found,
}

const _: () = assert!(size_of::<Option<Tunnel<Key4>>>() == 64);

/// The memory.
pub(super) struct Tunnels<K>(Box<[Option<Tunnel<K>>; ENTRIES]>);

impl<K: TunnelKey> Tunnels<K> {
    pub(super) fn new() -> Self {
        Self(Box::new([const { None }; ENTRIES]))
    }

    #[inline(always)]
    fn slot(key: K, snapshot: &Snapshot) -> usize {
        (key.hash(snapshot.secret()) >> 32) as usize % ENTRIES
    }

    /// What is known of a tunnel, if it still holds.
    #[inline(always)]
    pub(super) fn get(&self, key: K, snapshot: &Snapshot, peers: &PeerTable) -> Option<Found> {
        let tunnel = self.0[Self::slot(key, snapshot)].as_ref()?;
        let holds =
            tunnel.key == key && tunnel.generation == snapshot.generation && tunnel.releases == peers.releases();
        holds.then_some(tunnel.found)
    }

    /// Keeps what was found out about a tunnel whose peer has a number.
    pub(super) fn put(&mut self, key: K, snapshot: &Snapshot, peers: &PeerTable, found: Found) {
        let (generation, releases) = (snapshot.generation, peers.releases());
        self.0[Self::slot(key, snapshot)] = Some(Tunnel { key, generation, releases, found });
    }
}

/// What an ordinary outer header says, read at fixed offsets: addresses, network, and where the inner frame is. Anything out of the
/// ordinary is not refused here, but looked at in full.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outer<K> {
    pub(super) key: K,
    /// From the IP header to the inner frame and to its end, bytes.
    pub(super) inner_at: usize,
    pub(super) end: usize,
    pub(super) class: TrafficClass,
}

/// From a transport header on: the encapsulation, the network, and how long the headers are.
#[inline(always)]
fn udp(header: &[u8; 16], len: usize) -> Option<(Encap, u32)> {
    let be16 = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let network = u32::from_be_bytes([header[12], header[13], header[14], header[15]]) >> 8;
    if usize::from(be16(4)) > len || usize::from(be16(4)) < 16 + 14 {
        return None;
    }
    match be16(2) {
        VXLAN_PORT if header[8] & 0x08 != 0 => Some((Encap::Vxlan, network)),
        // Version 0, no options; neither control nor critical; Ethernet.
        GENEVE_PORT if be16(8) & 0xffc0 == 0 && be16(10) == 0x6558 => Some((Encap::Geneve, network)),
        _ => None,
    }
}

/// The same of GRE: a key, nothing else, and Ethernet.
#[inline(always)]
fn gre(header: &[u8; 8], len: usize) -> Option<(Encap, u32)> {
    let head = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
    let network = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) >> 8;
    // But for the bits that a receiver ignores (RFC 2784 §2.2).
    (head & 0xfc07_ffff == 0x2000_6558 && len >= 8 + 14).then_some((Encap::Nvgre, network))
}

/// Bytes of IPv4, UDP and VXLAN header. An inner Ethernet header behind a GRE header is as long at least.
const V4: usize = 20 + 8 + 8;
/// The same of IPv6.
const V6: usize = 40 + 8 + 8;

impl Outer<Key4> {
    /// An IPv4 header at the beginning of `head`, and what is behind it; `available` is the length from there to the end of the
    /// frame.
    #[inline(always)]
    pub(super) fn parse4(head: &[u8], available: usize, port: PortId) -> Option<Self> {
        let head: &[u8; V4] = head.first_chunk()?;
        let be16 = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let total_len = usize::from(be16(2));
        if head[0] != 0x45 || be16(6) & 0x3fff != 0 || total_len > available {
            return None;
        }
        let (_, behind) = head.split_first_chunk::<20>()?;
        let len = total_len.wrapping_sub(20);
        let (encap, network, inner_at, end) = match IpProtocol(head[9]) {
            IpProtocol::UDP => {
                let (encap, network) = udp(behind.first_chunk()?, len)?;
                (encap, network, V4, 20 + usize::from(be16(24)))
            }
            IpProtocol::GRE => {
                let (encap, network) = gre(behind.first_chunk()?, len)?;
                (encap, network, 28, total_len)
            }
            _ => return None,
        };
        let addresses = u64::from_be_bytes(*head[12..].first_chunk()?);
        let key = Key4 { addresses, network: network_of(encap, network, port) };
        (total_len >= V4).then_some(Self { key, inner_at, end, class: TrafficClass(head[1]) })
    }
}

impl Outer<Key6> {
    /// The same of an IPv6 header.
    #[inline(always)]
    pub(super) fn parse6(head: &[u8], available: usize, port: PortId) -> Option<Self> {
        let head: &[u8; V6] = head.first_chunk()?;
        let be16 = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let len = usize::from(be16(4));
        if head[0] >> 4 != 6 || len + 40 > available {
            return None;
        }
        let (_, behind) = head.split_first_chunk::<40>()?;
        let (encap, network, inner_at, end) = match IpProtocol(head[6]) {
            IpProtocol::UDP => {
                let (encap, network) = udp(behind.first_chunk()?, len)?;
                (encap, network, V6, 40 + usize::from(be16(44)))
            }
            IpProtocol::GRE => {
                let (encap, network) = gre(behind.first_chunk()?, len)?;
                (encap, network, 48, 40 + len)
            }
            _ => return None,
        };
        let word = |at: usize| head[at..].first_chunk().map_or(0, |word| u64::from_be_bytes(*word));
        let addresses = [word(8), word(16), word(24), word(32)];
        let key = Key6 { addresses, network: network_of(encap, network, port) };
        Some(Self { key, inner_at, end, class: TrafficClass((be16(0) >> 4) as u8) })
    }
}

/// Whether the IPv4 header at the beginning of `head`, of 20 bytes, is as it was sent.
#[inline(always)]
pub(super) fn checksum_holds(head: &[u8]) -> bool {
    let Some(head) = head.first_chunk::<20>() else { return false };
    // The sum is the same in any byte order, but for that of its own bytes (RFC 1071 §2 (B)); all ones is its own mirror.
    let word = |at: usize| u64::from(u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]));
    let sum = word(0) + word(4) + word(8) + word(12) + word(16);
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    // A header is never all zeros, so a sum of zero does not come.
    (sum & 0xffff) + (sum >> 16) == 0xffff
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
            if right {
                bytes[10..12].fill(0);
                let sum = crate::wire::checksum::Sum::new().with(&bytes[..20]).finish();
                bytes[10..12].copy_from_slice(&sum.to_be_bytes());
            }
            let (ip, _) = Ipv4::parse(&bytes).expect("IPv4");
            prop_assert_eq!(checksum_holds(&bytes), ip.checksum_holds());
            prop_assert!(checksum_holds(&bytes) || !right);
        }
    }
}
