//! Neighbour discovery: solicitations and advertisements.
//!
//! Owns: the two messages by which hosts find each other's Ethernet addresses, read as plain data and written as whole
//! IPv6 packets. Refuses: every message that RFC 4861 §7.1 tells a receiver to discard, a source or target that no
//! interface can have (RFC 4291 §2.5.2, §2.5.3, §2.7), two options of one kind that contradict each other, since hosts
//! would differ in which they believe, and more than [`MAX_ND_OPTIONS`] options. Other options are skipped. What the MAC
//! in an option is, is not judged: any six bytes.
//!
//! A solicitation or advertisement in a fragment must be dropped too (RFC 6980 §5): the message alone does not show
//! that, the caller does it.
//! Read first: RFC 4861 §4.3, §4.4, §4.6.1, §7.1.1, §7.1.2, §7.2.4; RFC 4291 §2.7.1; RFC 2464 §7.

use core::net::Ipv6Addr;

use super::checksum::Sum;
use super::{Icmpv6Type, IpProtocol, Ipv6Header, MacAddr, Malformed, TrafficClass, sixteen};

/// How many options are walked past. Hosts send one or two; RFC 3971 (SEND) knows four more.
pub const MAX_ND_OPTIONS: usize = 16;

/// Every node on the link: where an advertisement goes that nobody asked for, or one who has no address yet.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Hops left of a message that no router can have forwarded (RFC 4861 §4.3).
pub(super) const HOP_LIMIT: u8 = 255;

/// Length of both messages without options, bytes.
const FIXED: usize = 24;

/// Option: the Ethernet address of the packet's sender.
pub(super) const SOURCE_LINK_LAYER: u8 = 1;

/// Option: the Ethernet address of the target.
const TARGET_LINK_LAYER: u8 = 2;

/// Flags of an advertisement (RFC 4861 §4.4).
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// A valid neighbour solicitation or advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nd {
    /// Who has the target? From the unspecified address: is the target free (RFC 4862 §5.4.2)?
    Solicitation {
        /// The address that is asked for.
        target: Ipv6Addr,
        /// The Ethernet address that goes with the packet's source; never there if the source is unspecified.
        source_mac: Option<MacAddr>,
    },
    /// Somebody has the target.
    Advertisement {
        /// The address that is told of.
        target: Ipv6Addr,
        /// The Ethernet address that goes with it; may be missing in the answer to a unicast solicitation.
        target_mac: Option<MacAddr>,
        /// The sender is a router.
        router: bool,
        /// It answers a solicitation.
        solicited: bool,
        /// It overrides what is known of the target.
        override_: bool,
    },
}

impl Nd {
    /// What `message` asks or says: the whole ICMPv6 message, without the padding of the frame, of an IPv6 packet from
    /// `source` to `destination` with `hop_limit` left.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] if there are fewer than 24 bytes, or an option ends behind the message;
    /// [`Malformed::BadChecksum`]; [`Malformed::BadLength`] if an option's length is 0, or not that of an Ethernet address
    /// where it is one; [`Malformed::TooManyOptions`]; [`Malformed::BadNd`] if it is neither a solicitation nor an
    /// advertisement, or breaks another rule of the RFC's.
    #[inline]
    pub fn parse(source: Ipv6Addr, destination: Ipv6Addr, hop_limit: u8, message: &[u8]) -> Result<Self, Malformed> {
        let (fixed, options) = message.split_first_chunk::<FIXED>().ok_or(Malformed::Truncated)?;
        let target = Ipv6Addr::from(sixteen(fixed, 8));
        let held_by_nobody = target.is_multicast() || target.is_unspecified() || target.is_loopback();
        if hop_limit != HOP_LIMIT || fixed[1] != 0 || held_by_nobody || source.is_multicast() {
            return Err(Malformed::BadNd);
        }
        let len = u32::try_from(message.len()).map_err(|_| Malformed::BadLength)?;
        if !Sum::pseudo_ipv6(source, destination, IpProtocol::ICMPV6, len).with(message).holds() {
            return Err(Malformed::BadChecksum);
        }
        let [source_mac, target_mac] = link_layer_addresses([SOURCE_LINK_LAYER, TARGET_LINK_LAYER], options)?;
        match Icmpv6Type(fixed[0]) {
            Icmpv6Type::NEIGHBOUR_SOLICITATION => {
                if source.is_unspecified() && (source_mac.is_some() || !is_solicited_node(destination)) {
                    return Err(Malformed::BadNd);
                }
                Ok(Self::Solicitation { target, source_mac })
            }
            Icmpv6Type::NEIGHBOUR_ADVERTISEMENT => {
                let [router, solicited, override_] = [ROUTER, SOLICITED, OVERRIDE].map(|flag| fixed[4] & flag != 0);
                if solicited && destination.is_multicast() {
                    return Err(Malformed::BadNd);
                }
                Ok(Self::Advertisement { target, target_mac, router, solicited, override_ })
            }
            _ => Err(Malformed::BadNd),
        }
    }
}

/// The Ethernet addresses in the options of these kinds; options of other kinds are skipped.
pub(super) fn link_layer_addresses<const N: usize>(
    kinds: [u8; N],
    mut options: &[u8],
) -> Result<[Option<MacAddr>; N], Malformed> {
    let mut found = [None; N];
    for _ in 0..MAX_ND_OPTIONS {
        if options.is_empty() {
            return Ok(found);
        }
        // Every option is at least 8 bytes long, its length in units of 8.
        let option = options.first_chunk::<8>().ok_or(Malformed::Truncated)?;
        let place = kinds.iter().zip(&mut found).find(|(kind, _)| **kind == option[0]).map(|(_, place)| place);
        if option[1] == 0 || place.is_some() && option[1] != 1 {
            return Err(Malformed::BadLength);
        }
        let mac = MacAddr::at(option, 2);
        if place.is_some_and(|place| *place.get_or_insert(mac) != mac) {
            return Err(Malformed::BadNd);
        }
        options = options.get(8 * usize::from(option[1])..).ok_or(Malformed::Truncated)?;
    }
    if options.is_empty() { Ok(found) } else { Err(Malformed::TooManyOptions) }
}

/// What all solicited-node addresses have in common: their upper 104 bits (RFC 4291 §2.7.1).
const SOLICITED_NODE: u128 = 0xff02_0000_0000_0000_0000_0001_ff00_0000;

/// The multicast address that a node listens to for solicitations for `address` (RFC 4291 §2.7.1).
#[inline]
pub const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(SOLICITED_NODE | address.to_bits() & 0xff_ffff)
}

/// Whether it is some node's solicited-node address.
const fn is_solicited_node(address: Ipv6Addr) -> bool {
    address.to_bits() >> 24 == SOLICITED_NODE >> 24
}

/// The Ethernet address of an IPv6 multicast address (RFC 2464 §7): 33-33 and its last four bytes.
#[inline]
pub const fn multicast_mac(group: Ipv6Addr) -> MacAddr {
    MacAddr::from_bits(0x3333_0000_0000 | group.to_bits() as u64 & 0xffff_ffff)
}

/// An IPv6 packet that asks who has an address, and says who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NsPacket {
    /// Who asks: not the unspecified address, for that is [`NsProbe`].
    pub source: Ipv6Addr,
    /// The target itself, or its [`solicited_node`] address.
    pub destination: Ipv6Addr,
    /// The address that is asked for.
    pub target: Ipv6Addr,
    /// Where to answer to.
    pub source_mac: MacAddr,
}

impl NsPacket {
    /// Length in bytes: what stands behind the Ethernet header.
    pub const LEN: usize = Ipv6Header::LEN + FIXED + 8;

    /// The question who has `target`, to all who may have it.
    #[inline]
    pub const fn new(source: Ipv6Addr, source_mac: MacAddr, target: Ipv6Addr) -> Self {
        Self { source, destination: solicited_node(target), target, source_mac }
    }

    /// Writes every byte of the packet, with its checksum.
    #[inline]
    pub fn write(&self, out: &mut [u8; Self::LEN]) {
        write_option(SOURCE_LINK_LAYER, self.source_mac, out);
        write(self.source, self.destination, Icmpv6Type::NEIGHBOUR_SOLICITATION, 0, self.target, out);
    }
}

/// An IPv6 packet that asks whether anybody has an address, from nobody (RFC 4862 §5.4.2). It needs no address of the
/// asker's. Who has the target tells [`ALL_NODES`]. To ask one host only, send it to that host's MAC: the IPv6
/// destination must be the solicited-node address all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NsProbe {
    /// The address that is asked for.
    pub target: Ipv6Addr,
}

impl NsProbe {
    /// Length in bytes: what stands behind the Ethernet header.
    pub const LEN: usize = Ipv6Header::LEN + FIXED;

    /// Writes every byte of the packet, with its checksum.
    #[inline]
    pub fn write(&self, out: &mut [u8; Self::LEN]) {
        let destination = solicited_node(self.target);
        write(Ipv6Addr::UNSPECIFIED, destination, Icmpv6Type::NEIGHBOUR_SOLICITATION, 0, self.target, out);
    }
}

/// An IPv6 packet that says who has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NaPacket {
    /// Who says so: as a rule the target.
    pub source: Ipv6Addr,
    /// Who asked, or [`ALL_NODES`].
    pub destination: Ipv6Addr,
    /// The address that is told of.
    pub target: Ipv6Addr,
    /// The Ethernet address that goes with it.
    pub target_mac: MacAddr,
    /// The target is a router.
    pub router: bool,
    /// It answers a solicitation: must be clear if the destination is multicast.
    pub solicited: bool,
    /// It overrides what the receiver knows of the target.
    pub override_: bool,
}

impl NaPacket {
    /// Length in bytes: what stands behind the Ethernet header.
    pub const LEN: usize = NsPacket::LEN;

    /// The answer that `mac` has `target` to the solicitation from `asker`, from a host and overriding (RFC 4861 §7.2.4).
    /// One who asked from the unspecified address is told by way of [`ALL_NODES`].
    #[inline]
    pub fn answer(asker: Ipv6Addr, target: Ipv6Addr, mac: MacAddr) -> Self {
        let solicited = !asker.is_unspecified();
        let destination = if solicited { asker } else { ALL_NODES };
        Self { source: target, destination, target, target_mac: mac, router: false, solicited, override_: true }
    }

    /// Writes every byte of the packet, with its checksum.
    #[inline]
    pub fn write(&self, out: &mut [u8; Self::LEN]) {
        let flag = |set, flag| if set { flag } else { 0 };
        let flags = flag(self.router, ROUTER) | flag(self.solicited, SOLICITED) | flag(self.override_, OVERRIDE);
        write_option(TARGET_LINK_LAYER, self.target_mac, out);
        write(self.source, self.destination, Icmpv6Type::NEIGHBOUR_ADVERTISEMENT, flags, self.target, out);
    }
}

/// Writes the option of a packet that has one.
#[inline]
fn write_option(kind: u8, mac: MacAddr, out: &mut [u8; NsPacket::LEN]) {
    out[64..66].copy_from_slice(&[kind, 1]);
    out[66..72].copy_from_slice(&mac.0);
}

/// Writes the first 64 bytes. The option behind them must be there already: the checksum covers it.
#[inline]
fn write<const N: usize>(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    icmp_type: Icmpv6Type,
    flags: u8,
    target: Ipv6Addr,
    out: &mut [u8; N],
) {
    const { assert!(N == NsPacket::LEN || N == NsProbe::LEN) };
    let len = (N - Ipv6Header::LEN) as u16;
    let mut ip = [0; Ipv6Header::LEN];
    Ipv6Header {
        traffic_class: TrafficClass(0),
        flow_label: 0,
        payload_len: len,
        next_header: IpProtocol::ICMPV6,
        hop_limit: HOP_LIMIT,
        source,
        destination,
    }
    .write(&mut ip);
    out[..40].copy_from_slice(&ip);
    out[40..48].copy_from_slice(&[icmp_type.0, 0, 0, 0, flags, 0, 0, 0]);
    out[48..64].copy_from_slice(&target.octets());
    let pseudo = Sum::pseudo_ipv6(source, destination, IpProtocol::ICMPV6, u32::from(len));
    let checksum = pseudo.with(&out[40..]).finish();
    out[42..44].copy_from_slice(&checksum.to_be_bytes());
}
