//! What was found out about a tunnel, kept for its next frame, with what its headers look like.
//!
//! Owns: a direct-mapped memory of outer headers that frames came in with and passed: the bytes that are the same in every
//! frame of a tunnel, under a mask. One comparison of 80 bytes then stands for taking the headers apart and for the chain of lookups
//! from destination address to vtep to network to segment to bridge to peer. An entry holds for one state of the
//! tables; whatever is not in it is looked at in full. A collision costs that, and nothing else.
//! Read first: RFC 7348 §5, RFC 7637 §3.2, RFC 8926 §3.4.

use crate::tables::{BridgeId, Encap, Gate, MeshId, Place, Secret};
use crate::wire::{IpProtocol, TrafficClass};
use alloc::boxed::Box;

/// Entries: 128 KiB of them.
const ENTRIES: usize = 1024;
/// So much of a frame is compared, bytes: an outer header over IPv6, and some of the inner frame. Shorter ones are looked at in full.
const LEN: usize = 80;
/// The same in words.
const WORDS: usize = LEN / 8;

/// Where frames of a tunnel belong.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    pub(super) place: Place,
    pub(super) bridge: BridgeId,
    /// The full mesh that they come from.
    pub(super) mesh: MeshId,
    pub(super) carry_tags: bool,
    /// Whether the bridge has port security.
    pub(super) secure: bool,
    /// The gateways of the bridge.
    pub(super) gate: Gate,
}

/// Which outer headers a frame has, none of them tagged or with options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    #[default]
    Vxlan4,
    Nvgre4,
    Geneve4,
    Vxlan6,
    Nvgre6,
    Geneve6,
}

impl Kind {
    pub(super) fn new(encap: Encap, v6: bool) -> Self {
        match (encap, v6) {
            (Encap::Vxlan, false) => Self::Vxlan4,
            (Encap::Nvgre, false) => Self::Nvgre4,
            (Encap::Geneve, false) => Self::Geneve4,
            (Encap::Vxlan, true) => Self::Vxlan6,
            (Encap::Nvgre, true) => Self::Nvgre6,
            (Encap::Geneve, true) => Self::Geneve6,
        }
    }
}

/// The bits of the first 80 bytes that are the same in every frame of a tunnel, by [`Kind`].
static MASKS: [[u8; LEN]; 6] = [
    mask(&V4, 34, &UDP, &VXLAN),
    mask(&V4, 34, &[], &NVGRE),
    mask(&V4, 34, &UDP, &GENEVE),
    mask(&V6, 54, &UDP, &VXLAN),
    mask(&V6, 54, &[], &NVGRE),
    mask(&V6, 54, &UDP, &GENEVE),
];

/// Version and header length, fragmentation but for DF, protocol, addresses: as (offset behind Ethernet, mask).
const V4: [(usize, u8); 12] = [
    (0, 0xff),
    (6, 0x3f),
    (7, 0xff),
    (9, 0xff),
    (12, 0xff),
    (13, 0xff),
    (14, 0xff),
    (15, 0xff),
    (16, 0xff),
    (17, 0xff),
    (18, 0xff),
    (19, 0xff),
];
/// Version, next header; the addresses are all that is behind them.
const V6: [(usize, u8); 2] = [(0, 0xf0), (6, 0xff)];
/// The destination port.
const UDP: [(usize, u8); 2] = [(2, 0xff), (3, 0xff)];
/// The I flag and the VNI.
const VXLAN: [(usize, u8); 4] = [(0, 0x08), (4, 0xff), (5, 0xff), (6, 0xff)];
/// The flags but for those that a receiver ignores (RFC 2784 §2.2), the protocol and the VSID.
const NVGRE: [(usize, u8); 7] = [(0, 0xfc), (1, 0x07), (2, 0xff), (3, 0xff), (4, 0xff), (5, 0xff), (6, 0xff)];
/// Version and length of options, the flags that are defined, the protocol and the VNI.
const GENEVE: [(usize, u8); 7] = [(0, 0xff), (1, 0xc0), (2, 0xff), (3, 0xff), (4, 0xff), (5, 0xff), (6, 0xff)];

const fn mask(ip: &[(usize, u8)], transport: usize, udp: &[(usize, u8)], tunnel: &[(usize, u8)]) -> [u8; LEN] {
    const fn set(mut mask: [u8; LEN], at: usize, bits: &[(usize, u8)]) -> [u8; LEN] {
        let mut n = 0;
        while n < bits.len() {
            mask[at + bits[n].0] = bits[n].1;
            n += 1;
        }
        mask
    }
    let mut mask = [0; LEN];
    // The destination MAC and the EtherType; and the addresses of IPv6.
    let mut n = 0;
    while n < 54 {
        if n < 6 || n == 12 || n == 13 || transport == 54 && n >= 22 {
            mask[n] = 0xff;
        }
        n += 1;
    }
    let mask = set(set(mask, 14, ip), transport, udp);
    set(mask, if udp.is_empty() { transport } else { transport + 8 }, tunnel)
}

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Tunnel {
    /// The first bytes of its frames, under the mask of its kind.
    pattern: [u8; LEN],
    /// The state of the tables in which it was found out, and the port; 0 is none.
    state: u64,
    found: Found,
    kind: Kind,
}

const _: () = assert!(size_of::<Tunnel>() == 128);

/// A frame of a tunnel that is known.
pub(super) struct Known {
    pub(super) found: Found,
    /// Where its inner frame begins and ends.
    pub(super) at: usize,
    pub(super) end: usize,
    pub(super) class: TrafficClass,
    /// Whether its outer header has a checksum.
    pub(super) v4: bool,
}

/// The memory.
pub(super) struct Tunnels(Box<[Tunnel]>);

impl Tunnels {
    pub(super) fn new() -> Self {
        let none = Tunnel { pattern: [0; LEN], state: 0, found: Found::default(), kind: Kind::Vxlan4 };
        Self(alloc::vec![none; ENTRIES].into())
    }

    /// Where a tunnel's entry is: by what tells most of them apart.
    #[inline(always)]
    fn slot(head: &[u8; LEN], secret: Secret) -> usize {
        let be32 = |at: usize| u64::from(u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]));
        let (source, network) = match head[12] {
            0x08 if head[23] == IpProtocol::UDP.0 => (be32(26), be32(46)),
            0x08 => (be32(26), be32(38)),
            _ if head[20] == IpProtocol::UDP.0 => (be32(34), be32(66)),
            _ => (be32(34), be32(58)),
        };
        // The last byte is no part of the network.
        (secret.mix(source, network >> 8) >> 32) as usize % ENTRIES
    }

    /// What is known of the tunnel that a frame of `len` bytes came in, if its lengths agree. `head` begins with its Ethernet header.
    #[inline(always)]
    pub(super) fn get(&self, head: &[u8], len: usize, secret: Secret, state: u64) -> Option<Known> {
        let head: &[u8; LEN] = head.first_chunk()?;
        let tunnel = &self.0[Self::slot(head, secret)];
        let mask = &MASKS[tunnel.kind as usize];
        let word = |bytes: &[u8; LEN], n: usize| {
            let at = n * 8;
            u64::from_ne_bytes([
                bytes[at],
                bytes[at + 1],
                bytes[at + 2],
                bytes[at + 3],
                bytes[at + 4],
                bytes[at + 5],
                bytes[at + 6],
                bytes[at + 7],
            ])
        };
        let mut differs = tunnel.state ^ state;
        for n in 0..WORDS {
            differs |= (word(head, n) ^ word(&tunnel.pattern, n)) & word(mask, n);
        }
        if differs != 0 {
            return None;
        }
        let be16 = |at: usize| usize::from(u16::from_be_bytes([head[at], head[at + 1]]));
        let v4 = head[12] == 0x08;
        let (ip_end, class, transport) = match v4 {
            true => (14 + be16(16), TrafficClass(head[15]), 34),
            false => (54 + be16(18), TrafficClass((be16(14) >> 4) as u8), 54),
        };
        let (at, end) = match tunnel.kind {
            Kind::Nvgre4 | Kind::Nvgre6 => (transport + 8, ip_end),
            _ => (transport + 16, transport + if v4 { be16(38) } else { be16(58) }),
        };
        let agrees = ip_end <= len && end <= ip_end && at + 14 <= end;
        agrees.then_some(Known { found: tunnel.found, at, end, class, v4 })
    }

    /// Keeps what was found out about a tunnel, of a frame whose headers are of this kind.
    pub(super) fn put(&mut self, head: &[u8], secret: Secret, state: u64, kind: Kind, found: Found) {
        let Some(head) = head.first_chunk::<LEN>() else { return };
        let mut pattern = *head;
        for (byte, mask) in pattern.iter_mut().zip(&MASKS[kind as usize]) {
            *byte &= mask;
        }
        self.0[Self::slot(head, secret)] = Tunnel { pattern, state, found, kind };
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

    #[test]
    fn every_bit_that_matters_tells_a_frame_from_the_known_ones() {
        let secret = Secret::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]);
        for v6 in [false, true] {
            for encap in [Encap::Vxlan, Encap::Nvgre, Encap::Geneve] {
                let kind = Kind::new(encap, v6);
                let mut frame = [0u8; 200];
                let udp = encap != Encap::Nvgre;
                let transport = if v6 { 54 } else { 34 };
                frame[12..14].copy_from_slice(if v6 { &[0x86, 0xdd] } else { &[8, 0] });
                let protocol = if udp { 17 } else { 47 };
                let len = (200 - transport) as u16;
                if v6 {
                    (frame[14], frame[20]) = (0x60, protocol);
                    frame[18..20].copy_from_slice(&len.to_be_bytes());
                } else {
                    (frame[14], frame[23]) = (0x45, protocol);
                    frame[16..18].copy_from_slice(&(len + 20).to_be_bytes());
                }
                if udp {
                    frame[transport + 4..transport + 6].copy_from_slice(&len.to_be_bytes());
                }
                let mut tunnels = Tunnels::new();
                tunnels.put(&frame, secret, 7, kind, Found::default());
                let known = |frame: &[u8], state| tunnels.get(frame, frame.len(), secret, state);
                let at = transport + if udp { 16 } else { 8 };
                assert_eq!(known(&frame, 7).map(|k| (k.at, k.end)), Some((at, 200)), "{kind:?}");
                assert!(known(&frame, 8).is_none() && known(&frame[..LEN - 1], 7).is_none());
                for (n, mask) in MASKS[kind as usize].iter().enumerate() {
                    for bit in 0..8 {
                        frame[n] ^= 1 << bit;
                        let lengths = matches!(n, 16..20) || udp && matches!(n - transport.min(n), 4 | 5);
                        if !lengths || mask & 1 << bit != 0 {
                            assert_eq!(known(&frame, 7).is_none(), mask & 1 << bit != 0, "{kind:?} byte {n} bit {bit}");
                        }
                        frame[n] ^= 1 << bit;
                    }
                }
                // Lengths that lie.
                for (at, by) in [(if v6 { 19 } else { 17 }, 1u8), (transport + 5, 1)] {
                    let mut longer = frame;
                    longer[at] += by;
                    assert!(!udp && at > 20 || known(&longer, 7).is_none(), "{kind:?} {at}");
                }
            }
        }
    }
}
