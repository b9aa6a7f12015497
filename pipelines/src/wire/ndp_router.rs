//! Neighbour discovery: what hosts ask of routers, and what a router tells them.
//!
//! Owns: router solicitations, read; router advertisements, written as whole IPv6 packets; and the link-local address
//! that is made of a MAC. Refuses: every solicitation that RFC 4861 §6.1.1 tells a router to discard, one from many, and
//! one that names two Ethernet addresses of its sender; advertisements of more than [`MAX_RA_PREFIXES`] prefixes. When
//! to send one is the caller's business (§6.2.4, §6.2.6).
//!
//! A solicitation in a fragment must be dropped too (RFC 6980 §5): the message alone does not show that, the caller does
//! it.
//! Read first: RFC 4861 §4.1, §4.2, §4.6, §6.1.1, §6.2; RFC 4291 appendix A.

use core::net::Ipv6Addr;

use super::checksum::Sum;
use super::ndp::{HOP_LIMIT, SOURCE_LINK_LAYER, link_layer_addresses};
use super::{Icmpv6Type, IpProtocol, Ipv6Header, MacAddr, Malformed, TrafficClass};

/// Every router on the link: where a solicitation goes.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// How many prefixes an advertisement tells of at most: it is then 584 bytes long, and fits every link.
pub const MAX_RA_PREFIXES: usize = 16;

/// Length of a solicitation without options, bytes.
const RS_FIXED: usize = 8;

/// Length of an advertisement without options, bytes.
const RA_FIXED: usize = 16;

/// Options of an advertisement (RFC 4861 §4.6).
const PREFIX_INFORMATION: u8 = 3;
const MTU: u8 = 5;

/// Lengths of options, bytes. That of a link-layer address is as long as that of an MTU.
const SHORT_OPTION: usize = 8;
const PREFIX_OPTION: usize = 32;

/// What hosts put into the hop limit field of their packets.
const HOST_HOP_LIMIT: u8 = 64;

/// Flags of an advertisement (RFC 4861 §4.2).
const MANAGED: u8 = 0x80;
const OTHER: u8 = 0x40;

/// Flags of a prefix (RFC 4861 §4.6.2).
const ON_LINK: u8 = 0x80;
const AUTONOMOUS: u8 = 0x40;

/// The link-local address that a host makes of its MAC: fe80::/64 and the modified EUI-64 (RFC 4291 appendix A).
#[inline]
pub const fn link_local(mac: MacAddr) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    let identifier = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    Ipv6Addr::from_bits(0xfe80 << 112 | identifier as u128)
}

/// Whether `message` is a router solicitation, and its sender's Ethernet address if it says so: the whole ICMPv6 message,
/// without the padding of the frame, of an IPv6 packet from `source` to `destination` with `hop_limit` left.
///
/// # Errors
/// [`Malformed::Truncated`] if there are fewer than 8 bytes, or an option ends behind the message;
/// [`Malformed::BadChecksum`]; [`Malformed::BadLength`] if an option's length is 0, or not that of an Ethernet address where
/// it is one; [`Malformed::TooManyOptions`]; [`Malformed::BadNd`] if it is another message, or breaks another rule of
/// the RFC's.
#[inline]
pub fn is_router_solicitation(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    hop_limit: u8,
    message: &[u8],
) -> Result<Option<MacAddr>, Malformed> {
    let (fixed, options) = message.split_first_chunk::<RS_FIXED>().ok_or(Malformed::Truncated)?;
    let solicitation = Icmpv6Type(fixed[0]) == Icmpv6Type::ROUTER_SOLICITATION && fixed[1] == 0;
    if hop_limit != HOP_LIMIT || !solicitation || source.is_multicast() {
        return Err(Malformed::BadNd);
    }
    let len = u32::try_from(message.len()).map_err(|_| Malformed::BadLength)?;
    if !Sum::pseudo_ipv6(source, destination, IpProtocol::ICMPV6, len).with(message).holds() {
        return Err(Malformed::BadChecksum);
    }
    // Other options, a target's address too, are none of its own, and skipped (RFC 4861 §6.1.1).
    let [mac] = link_layer_addresses([SOURCE_LINK_LAYER], options)?;
    if source.is_unspecified() && mac.is_some() {
        return Err(Malformed::BadNd);
    }
    Ok(mac)
}

/// A prefix that a router tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RaPrefix {
    /// Its bits; those behind `len` are ignored.
    pub prefix: Ipv6Addr,
    /// How many bits: 0 to 128.
    pub len: u8,
    /// Addresses in it are on this link.
    pub on_link: bool,
    /// Hosts may make themselves addresses in it (RFC 4862 §5.5.3).
    pub autonomous: bool,
    /// How long it is valid: seconds, all ones for ever.
    pub valid: u32,
    /// How long addresses in it are preferred: seconds, all ones for ever. What is more than `valid` is ignored.
    pub preferred: u32,
}

impl RaPrefix {
    /// Writes every byte of the option.
    #[inline]
    fn write(&self, out: &mut [u8; PREFIX_OPTION]) {
        let mask = u128::MAX.checked_shl(128u32.saturating_sub(u32::from(self.len))).unwrap_or(0);
        let flags = flag(self.on_link, ON_LINK) | flag(self.autonomous, AUTONOMOUS);
        out[..4].copy_from_slice(&[PREFIX_INFORMATION, (PREFIX_OPTION / 8) as u8, self.len, flags]);
        out[4..8].copy_from_slice(&self.valid.to_be_bytes());
        out[8..12].copy_from_slice(&self.preferred.min(self.valid).to_be_bytes());
        out[12..16].fill(0);
        out[16..].copy_from_slice(&(self.prefix.to_bits() & mask).to_be_bytes());
    }
}

/// An IPv6 packet by which a router says that it is there. The hop limit that it tells hosts to use is 64; the times of
/// neighbour discovery are left to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RaPacket<'a> {
    /// The router: a link-local address, from others hosts take none (RFC 4861 §6.1.2).
    pub source: Ipv6Addr,
    /// Who asked, or [`ALL_NODES`](super::ALL_NODES).
    pub destination: Ipv6Addr,
    /// The router's Ethernet address.
    pub source_mac: MacAddr,
    /// Addresses come by DHCPv6.
    pub managed: bool,
    /// Other things, such as name servers, come by DHCPv6.
    pub other: bool,
    /// How long it is a default router: seconds, 0 if it is none.
    pub lifetime: u16,
    /// What the link takes, bytes from the IP header on.
    pub mtu: Option<u32>,
    /// The prefixes of the link: at most [`MAX_RA_PREFIXES`].
    pub prefixes: &'a [RaPrefix],
}

impl RaPacket<'_> {
    /// Length in bytes: what stands behind the Ethernet header.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub const fn len(&self) -> usize {
        let mtu = if self.mtu.is_some() { SHORT_OPTION } else { 0 };
        Ipv6Header::LEN + RA_FIXED + SHORT_OPTION + mtu + PREFIX_OPTION * self.prefixes.len()
    }

    /// Writes every byte of the packet, with its checksum, and none behind it.
    ///
    /// `None`, and nothing written, if `out` is shorter than [`RaPacket::len`], there are more than [`MAX_RA_PREFIXES`]
    /// prefixes, or one has more than 128 bits.
    #[inline]
    pub fn write(&self, out: &mut [u8]) -> Option<()> {
        if self.prefixes.len() > MAX_RA_PREFIXES || self.prefixes.iter().any(|prefix| prefix.len > 128) {
            return None;
        }
        let (ip, message) = out.get_mut(..self.len())?.split_first_chunk_mut::<{ Ipv6Header::LEN }>()?;
        let payload_len = message.len() as u16;
        let (fixed, options) = message.split_first_chunk_mut::<RA_FIXED>()?;
        let flags = flag(self.managed, MANAGED) | flag(self.other, OTHER);
        *fixed = [0; RA_FIXED];
        (fixed[0], fixed[4], fixed[5]) = (Icmpv6Type::ROUTER_ADVERTISEMENT.0, HOST_HOP_LIMIT, flags);
        fixed[6..8].copy_from_slice(&self.lifetime.to_be_bytes());

        let (option, mut options) = options.split_first_chunk_mut::<SHORT_OPTION>()?;
        option[..2].copy_from_slice(&[SOURCE_LINK_LAYER, 1]);
        option[2..].copy_from_slice(&self.source_mac.0);
        if let Some(mtu) = self.mtu {
            let (option, behind) = options.split_first_chunk_mut::<SHORT_OPTION>()?;
            option[..4].copy_from_slice(&[MTU, 1, 0, 0]);
            option[4..].copy_from_slice(&mtu.to_be_bytes());
            options = behind;
        }
        let (options, _) = options.as_chunks_mut();
        self.prefixes.iter().zip(options).for_each(|(prefix, option)| prefix.write(option));

        let pseudo = Sum::pseudo_ipv6(self.source, self.destination, IpProtocol::ICMPV6, u32::from(payload_len));
        let checksum = pseudo.with(message).finish();
        message.get_mut(2..4)?.copy_from_slice(&checksum.to_be_bytes());
        Ipv6Header {
            traffic_class: TrafficClass(0),
            flow_label: 0,
            payload_len,
            next_header: IpProtocol::ICMPV6,
            hop_limit: HOP_LIMIT,
            source: self.source,
            destination: self.destination,
        }
        .write(ip);
        Some(())
    }
}

/// The flag if it is set.
#[inline]
const fn flag(set: bool, flag: u8) -> u8 {
    if set { flag } else { 0 }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::wire::{ALL_NODES, Ipv6, MAX_ND_OPTIONS};

    /// fe80::5054:ff:fe12:3456 asks for routers.
    const QUESTION: [u8; 56] = [
        0x60, 0x00, 0x00, 0x00, 0x00, 0x10, 0x3a, 0xff, // IPv6
        0xfe, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x50, 0x54, 0x00, 0xff, 0xfe, 0x12, 0x34, 0x56, // source
        0xff, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x02, // destination
        0x85, 0x00, 0x71, 0xb5, 0x00, 0x00, 0x00, 0x00, // solicitation
        0x01, 0x01, 0x52, 0x54, 0x00, 0x12, 0x34, 0x56, // source link-layer address
    ];

    /// Nobody asks for routers.
    const PROBE: [u8; 48] = [
        0x60, 0x00, 0x00, 0x00, 0x00, 0x08, 0x3a, 0xff, // IPv6
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // source
        0xff, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x02, // destination
        0x85, 0x00, 0x7b, 0xb8, 0x00, 0x00, 0x00, 0x00, // solicitation
    ];

    /// The router at 02:00:00:00:00:01 tells all nodes of 2001:db8:0:1::/64.
    const ADVERTISEMENT: [u8; 104] = [
        0x60, 0x00, 0x00, 0x00, 0x00, 0x40, 0x3a, 0xff, // IPv6
        0xfe, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xfe, 0x00, 0x00, 0x01, // source
        0xff, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x01, // destination
        0x86, 0x00, 0xee, 0x5a, 0x40, 0xc0, 0x07, 0x08, // advertisement, 64 hops, M and O, 1800 s
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // reachable time, retransmission timer
        0x01, 0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x01, // source link-layer address
        0x05, 0x01, 0x00, 0x00, 0x00, 0x00, 0x05, 0xaa, // MTU 1450
        0x03, 0x04, 0x40, 0xc0, 0x00, 0x27, 0x8d, 0x00, // prefix of 64 bits, L and A, valid 30 days
        0x00, 0x09, 0x3a, 0x80, 0x00, 0x00, 0x00, 0x00, // preferred 7 days
        0x20, 0x01, 0x0d, 0xb8, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    ];

    const MAC: MacAddr = MacAddr([0x52, 0x54, 0x00, 0x12, 0x34, 0x56]);
    const ROUTER: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x01]);

    const PREFIX: RaPrefix = RaPrefix {
        prefix: Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 0),
        len: 64,
        on_link: true,
        autonomous: true,
        valid: 2_592_000,
        preferred: 604_800,
    };

    fn advertisement(prefixes: &[RaPrefix]) -> RaPacket<'_> {
        RaPacket {
            source: link_local(ROUTER),
            destination: ALL_NODES,
            source_mac: ROUTER,
            managed: true,
            other: true,
            lifetime: 1800,
            mtu: Some(1450),
            prefixes,
        }
    }

    /// What a whole packet asks.
    fn read(packet: &[u8]) -> Result<Option<MacAddr>, Malformed> {
        let (ip, message) = Ipv6::parse(packet)?;
        is_router_solicitation(ip.source(), ip.destination(), ip.hop_limit(), message)
    }

    /// What the packet asks with `change` made, its length and checksum made right again: only the change is wrong.
    fn changed(packet: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Result<Option<MacAddr>, Malformed> {
        let mut bytes = packet.to_vec();
        change(&mut bytes);
        let len = u16::try_from(bytes.len() - 40).unwrap();
        bytes[4..6].copy_from_slice(&len.to_be_bytes());
        bytes[42..44].fill(0);
        let ip = Ipv6::parse(&bytes).unwrap().0;
        let pseudo = Sum::pseudo_ipv6(ip.source(), ip.destination(), IpProtocol::ICMPV6, u32::from(len));
        let checksum = pseudo.with(&bytes[40..]).finish();
        bytes[42..44].copy_from_slice(&checksum.to_be_bytes());
        read(&bytes)
    }

    #[test]
    fn reads_known_bytes() {
        assert_eq!(read(&QUESTION), Ok(Some(MAC)));
        assert_eq!(read(&PROBE), Ok(None));
        assert_eq!(changed(&QUESTION, |bytes| bytes.truncate(48)), Ok(None), "the address may be missing");
        assert_eq!(Ipv6::parse(&PROBE).unwrap().0.destination(), ALL_ROUTERS);
    }

    #[test]
    fn writes_known_bytes_over_dirty_ones() {
        for dirt in [0x00, 0xa5, 0xff] {
            let mut out = [dirt; 109];
            let prefixes = [PREFIX];
            let packet = advertisement(&prefixes);
            assert_eq!((packet.len(), packet.write(&mut out)), (104, Some(())));
            assert_eq!((&out[..104], &out[104..]), (&ADVERTISEMENT[..], &[dirt; 5][..]));
        }
    }

    #[test]
    fn refuses_every_truncation() {
        let (ip, message) = Ipv6::parse(&QUESTION).unwrap();
        for len in 0..16 {
            let short = is_router_solicitation(ip.source(), ip.destination(), 255, &message[..len]);
            let expected = if len < 8 { Malformed::Truncated } else { Malformed::BadChecksum };
            assert_eq!(short, Err(expected), "{len} bytes");
        }
        for len in 49..56 {
            assert_eq!(changed(&QUESTION, |bytes| bytes.truncate(len)), Err(Malformed::Truncated), "{len} bytes");
        }
    }

    #[test]
    fn the_checksum_covers_every_bit() {
        // From the source address on; the type, the code and their like may be refused before.
        for bit in (8 * 8..40 * 8).chain(42 * 8..56 * 8) {
            let mut bytes = QUESTION;
            bytes[bit / 8] ^= 1 << (bit % 8);
            let multicast = bytes[8] == 0xff;
            assert!(multicast || read(&bytes) == Err(Malformed::BadChecksum), "bit {bit}");
        }
    }

    #[test]
    fn refuses_what_the_rfc_does() {
        for hops in 0..255 {
            assert_eq!(changed(&QUESTION, |bytes| bytes[7] = hops), Err(Malformed::BadNd), "{hops} hops");
        }
        for icmp_type in (0..=255).filter(|icmp_type| *icmp_type != 133) {
            assert_eq!(changed(&QUESTION, |bytes| bytes[40] = icmp_type), Err(Malformed::BadNd), "type {icmp_type}");
        }
        assert_eq!(changed(&QUESTION, |bytes| bytes[41] = 1), Err(Malformed::BadNd), "code");
        assert_eq!(changed(&QUESTION, |bytes| bytes[49] = 0), Err(Malformed::BadLength), "option of no length");
        assert_eq!(changed(&QUESTION, |bytes| bytes[8..24].fill(0)), Err(Malformed::BadNd), "address of nobody");
        assert_eq!(changed(&QUESTION, |bytes| bytes[8] = 0xff), Err(Malformed::BadNd), "from many");
        assert_eq!(
            changed(&QUESTION, |bytes| bytes[44..48].fill(0xff)),
            Ok(Some(MAC)),
            "the reserved field is ignored"
        );
    }

    #[test]
    fn walks_past_options() {
        let with = |option: &[u8], times: usize| {
            changed(&QUESTION, |bytes| (0..times).for_each(|_| bytes.extend_from_slice(option)))
        };
        assert_eq!(with(&[14, 1, 1, 2, 3, 4, 5, 6], 1), Ok(Some(MAC)), "a nonce");
        assert_eq!(with(&[2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1), Ok(Some(MAC)), "a target's");
        assert_eq!(with(&QUESTION[48..], 1), Ok(Some(MAC)), "twice the same");
        assert_eq!(with(&[1, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x57], 1), Err(Malformed::BadNd), "two addresses");
        assert_eq!(with(&[1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1), Err(Malformed::BadLength));
        assert_eq!(with(&[14, 1, 1, 2, 3, 4, 5, 6], MAX_ND_OPTIONS - 1), Ok(Some(MAC)));
        assert_eq!(with(&[14, 1, 1, 2, 3, 4, 5, 6], MAX_ND_OPTIONS), Err(Malformed::TooManyOptions));
    }

    #[test]
    fn a_router_that_is_none_says_little() {
        let packet = RaPacket { managed: false, other: false, lifetime: 0, mtu: None, ..advertisement(&[]) };
        let mut out = [0xa5; 64];
        assert_eq!((packet.len(), packet.write(&mut out)), (64, Some(())));
        assert_eq!((&out[44..48], &out[56..]), (&[64, 0, 0, 0][..], &ADVERTISEMENT[56..64]));
        for (packet, flags) in
            [(RaPacket { managed: true, ..packet }, 0x80), (RaPacket { other: true, ..packet }, 0x40)]
        {
            assert_eq!((packet.write(&mut out), out[45]), (Some(()), flags));
        }
    }

    #[test]
    fn a_prefix_is_what_its_length_says() {
        let bits = Ipv6Addr::from_bits(u128::MAX);
        for len in 0..=128 {
            let mut out = [0xa5; 32];
            RaPrefix { prefix: bits, len, ..PREFIX }.write(&mut out);
            let written = u128::from_be_bytes(*out.last_chunk().unwrap());
            assert_eq!((out[2], written.leading_ones(), written.count_ones()), (len, len.into(), len.into()));
        }
        let mut out = [0xa5; 32];
        RaPrefix { on_link: false, preferred: u32::MAX, ..PREFIX }.write(&mut out);
        assert_eq!((out[3], &out[4..8], &out[8..12]), (0x40, &ADVERTISEMENT[76..80], &ADVERTISEMENT[76..80]));
        RaPrefix { autonomous: false, valid: u32::MAX, ..PREFIX }.write(&mut out);
        assert_eq!((out[3], &out[4..8]), (0x80, &[0xff; 4][..]));
    }

    #[test]
    fn refuses_short_buffers_and_what_is_no_prefix() {
        let mut out = [0xa5; 1000];
        let prefixes = [PREFIX; MAX_RA_PREFIXES + 1];
        for len in 0..104 {
            assert_eq!(advertisement(&prefixes[..1]).write(&mut out[..len]), None, "{len} bytes");
        }
        assert_eq!(advertisement(&prefixes).write(&mut out), None, "too many prefixes");
        assert_eq!(advertisement(&[RaPrefix { len: 129, ..PREFIX }]).write(&mut out), None);
        assert_eq!(out, [0xa5; 1000]);
        let most = advertisement(&prefixes[1..]);
        assert_eq!((most.len(), most.write(&mut out)), (584, Some(())));
    }

    #[test]
    fn the_address_made_of_a_mac() {
        assert_eq!(link_local(MAC), Ipv6Addr::new(0xfe80, 0, 0, 0, 0x5054, 0x00ff, 0xfe12, 0x3456));
        assert_eq!(link_local(ROUTER), Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0x00ff, 0xfe00, 1));
        // RFC 4291 appendix A: 34-56-78-9A-BC-DE.
        let example = MacAddr([0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde]);
        assert_eq!(link_local(example), Ipv6Addr::new(0xfe80, 0, 0, 0, 0x3656, 0x78ff, 0xfe9a, 0xbcde));
    }
}
