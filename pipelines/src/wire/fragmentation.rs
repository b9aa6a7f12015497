//! Fragmentation of IPv4.
//!
//! Owns: where a datagram is cut for a smaller MTU, and the header of every piece. Refuses: a datagram that must not be
//! fragmented, an MTU that has no room for its header and 8 bytes, and lengths that no datagram has. Moving the payload
//! is the caller's business; so is to have seen that the header's checksum holds, since every piece gets a right one.
//! Read first: RFC 791 §3.2 (fragmentation), §3.1 (the copied flag of options).

use super::checksum::Sum;
use super::ipv4::{END_OF_OPTIONS, NO_OPERATION};
use super::{Fragment, Ipv4, Ipv4Header};

/// The longest header: bytes.
const MAX_HEADER: usize = 60;

/// The longest datagram, reassembled: bytes.
const MAX_DATAGRAM: usize = 65_535;

/// An option's flag that it goes into every fragment (RFC 791 §3.1).
const COPIED: u8 = 0x80;

/// One fragment: its header, and which part of the payload follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The complete header, 20 to 60 bytes, with its checksum.
    pub header: heapless::Vec<u8, MAX_HEADER>,
    /// Where its payload begins in the payload of the datagram that is cut: bytes, a multiple of 8.
    pub from: usize,
    /// Length of its payload: bytes. A multiple of 8 in all pieces but the last.
    pub len: usize,
}

/// The pieces of a datagram, in order: at least one.
#[derive(Clone, Debug)]
pub struct Fragments {
    fixed: [u8; Ipv4Header::LEN],
    /// The options of the first piece, and those of the others.
    options: heapless::Vec<u8, { MAX_HEADER - Ipv4Header::LEN }>,
    copied: heapless::Vec<u8, { MAX_HEADER - Ipv4Header::LEN }>,
    /// What the datagram itself is a fragment of.
    fragment: Fragment,
    mtu: usize,
    /// Length of the payload, and where the next piece of it begins; `None` behind the last.
    payload_len: usize,
    from: Option<usize>,
}

impl Fragments {
    /// The pieces of the datagram whose header, options included, `header` begins with, and which is `total_len` bytes
    /// long, header and payload: none longer than `mtu`, in bytes. The datagram may be a fragment itself.
    ///
    /// `None` if it must not be fragmented; if `mtu` does not hold its header and 8 bytes; if `header` is none, or
    /// `total_len` is shorter than it; or if it would reach behind the longest datagram, as no fragment of one does.
    pub fn new(header: &[u8], total_len: usize, mtu: usize) -> Option<Self> {
        let ip = Ipv4::parse_head(header, usize::MAX).ok()?;
        let fragment = ip.fragment();
        let payload_len = total_len.checked_sub(ip.header_len())?;
        // The offset field would run over (CVE-1999-0128).
        let end = total_len.checked_add(usize::from(fragment.offset()))?;
        if fragment.dont_fragment() || mtu < ip.header_len() + 8 || end > MAX_DATAGRAM {
            return None;
        }
        Some(Self {
            fixed: *header.first_chunk()?,
            options: heapless::Vec::from_slice(ip.options()).ok()?,
            copied: copied(ip.options())?,
            fragment,
            mtu,
            payload_len,
            from: Some(0),
        })
    }
}

impl Iterator for Fragments {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let from = self.from?;
        let options = if from == 0 { &self.options } else { &self.copied };
        let header_len = Ipv4Header::LEN + options.len();
        let (room, rest) = (self.mtu - header_len, self.payload_len - from);
        let last = rest <= room;
        // At least 8: the MTU holds that behind the longest of the headers.
        let len = if last { rest } else { room & !7 };
        self.from = if last { None } else { Some(from + len) };

        let more = u16::from(!last || self.fragment.more()) << 13;
        let offset = (usize::from(self.fragment.offset()) + from) >> 3;
        let mut fixed = self.fixed;
        fixed[0] = 0x40 | (header_len >> 2) as u8;
        fixed[2..4].copy_from_slice(&((header_len + len) as u16).to_be_bytes());
        fixed[6..8].copy_from_slice(&(more | offset as u16).to_be_bytes());
        fixed[10..12].fill(0);
        let checksum = Sum::new().with(&fixed).with(options).finish();
        fixed[10..12].copy_from_slice(&checksum.to_be_bytes());

        let mut header = heapless::Vec::new();
        header.extend_from_slice(&fixed).ok()?;
        header.extend_from_slice(options).ok()?;
        Some(Piece { header, from, len })
    }
}

/// The options that go into later fragments too, padded to whole words. One that ends behind the header, or before its
/// own length, ends them.
fn copied<const N: usize>(options: &[u8]) -> Option<heapless::Vec<u8, N>> {
    let mut found = heapless::Vec::new();
    let mut rest = options;
    // Every round takes at least one byte of at most 40.
    while let [kind, after @ ..] = rest {
        if *kind == END_OF_OPTIONS {
            break;
        }
        if *kind == NO_OPERATION {
            rest = after;
            continue;
        }
        let len = after.first().map_or(0, |len| usize::from(*len));
        let Some((option, behind)) = rest.split_at_checked(len).filter(|_| len >= 2) else { break };
        if kind & COPIED != 0 {
            found.extend_from_slice(option).ok()?;
        }
        rest = behind;
    }
    found.resize(found.len().next_multiple_of(4), END_OF_OPTIONS).ok()?;
    Some(found)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::wire::Malformed;

    /// 10.0.0.5 sends 192.0.2.9 a UDP datagram of 1,520 bytes with no operation, a router alert and a record route.
    const HEADER: [u8; 36] = [
        0x49, 0x00, 0x05, 0xf0, 0x12, 0x34, 0x00, 0x00, 0x40, 0x11, 0x83, 0x17, // IPv4
        0x0a, 0x00, 0x00, 0x05, 0xc0, 0x00, 0x02, 0x09, // source, destination
        0x01, 0x94, 0x04, 0x00, 0x00, 0x07, 0x07, 0x04, 0x0a, 0x00, 0x00, 0x01, 0x82, 0x03, 0x77, 0x00, // options
    ];

    fn pieces(header: &[u8], total_len: usize, mtu: usize) -> Vec<Piece> {
        let pieces: Vec<Piece> = Fragments::new(header, total_len, mtu).unwrap().collect();
        for piece in &pieces {
            let ip = Ipv4::parse_head(&piece.header, mtu).unwrap();
            assert!(ip.checksum_holds(), "{ip:?}");
            assert_eq!((ip.header_len(), ip.total_len()), (piece.header.len(), piece.header.len() + piece.len));
        }
        pieces
    }

    /// The header's first 20 bytes, with this fragment field.
    fn plain(fragment: u16) -> [u8; 20] {
        let ip = Ipv4::parse_head(&HEADER, 2000).unwrap();
        let mut out = [0xa5; 20];
        Ipv4Header { fragment: Fragment::from_bits(fragment), ..ip.header() }.write(&mut out);
        out
    }

    /// Offset, whether more follow, and where from and how long.
    fn shape(piece: &Piece) -> (u16, bool, usize, usize) {
        let fragment = Ipv4::parse_head(&piece.header, 65_535).unwrap().fragment();
        (fragment.offset(), fragment.more(), piece.from, piece.len)
    }

    #[test]
    fn cuts_into_known_bytes() {
        let pieces = pieces(&HEADER, 1520, 576);
        assert_eq!(
            pieces.iter().map(|piece| (piece.from, piece.len)).collect::<Vec<_>>(),
            [(0, 536), (536, 544), (1080, 404)]
        );
        let first = [0x49, 0x00, 0x02, 0x3c, 0x12, 0x34, 0x20, 0x00, 0x40, 0x11, 0x66, 0xcb];
        assert_eq!(pieces[0].header[..], [&first[..], &HEADER[12..]].concat());
        let second = [0x47, 0x00, 0x02, 0x3c, 0x12, 0x34, 0x20, 0x43, 0x40, 0x11, 0xeb, 0x23];
        let third = [0x47, 0x00, 0x01, 0xb0, 0x12, 0x34, 0x00, 0x87, 0x40, 0x11, 0x0b, 0x6c];
        let copied = [0x94, 0x04, 0x00, 0x00, 0x82, 0x03, 0x77, 0x00];
        assert_eq!(pieces[1].header[..], [&second[..], &HEADER[12..20], &copied].concat());
        assert_eq!(pieces[2].header[..], [&third[..], &HEADER[12..20], &copied].concat());
    }

    #[test]
    fn what_fits_stays_in_one_piece() {
        for mtu in [1520, 1521, 9000, usize::MAX] {
            let pieces = pieces(&HEADER, 1520, mtu);
            assert_eq!(pieces.len(), 1, "MTU {mtu}");
            assert_eq!((&pieces[0].header[..], pieces[0].from, pieces[0].len), (&HEADER[..], 0, 1484));
        }
        assert_eq!(pieces(&HEADER, 36, 44).iter().map(shape).collect::<Vec<_>>(), [(0, false, 0, 0)]);
        let shapes: Vec<_> = pieces(&plain(0), 1500, 1499).iter().map(shape).collect();
        assert_eq!(shapes, [(0, true, 0, 1472), (1472, false, 1472, 8)]);
        let shapes: Vec<_> = pieces(&plain(0), 45, 28).iter().map(shape).collect();
        assert_eq!(shapes, [(0, true, 0, 8), (8, true, 8, 8), (16, true, 16, 8), (24, false, 24, 1)]);
    }

    #[test]
    fn a_fragment_is_fragmented_further() {
        // In the middle of a datagram: more follow behind the last piece.
        let shapes: Vec<_> = pieces(&plain(0x2000 | 185), 1500, 1000).iter().map(shape).collect();
        assert_eq!(shapes, [(1480, true, 0, 976), (2456, true, 976, 504)]);
        // The last one of it.
        let shapes: Vec<_> = pieces(&plain(185), 1501, 1000).iter().map(shape).collect();
        assert_eq!(shapes, [(1480, true, 0, 976), (2456, false, 976, 505)]);
        // The last bytes of the longest datagram.
        let shapes: Vec<_> = pieces(&plain(8188), 20 + 11, 28).iter().map(shape).collect();
        assert_eq!(shapes, [(65_504, true, 0, 8), (65_512, false, 8, 3)]);
    }

    #[test]
    fn refuses_what_must_or_can_not_be_cut() {
        assert!(Fragments::new(&plain(0x4000), 1500, 1000).is_none(), "don't fragment");
        assert!(Fragments::new(&plain(0x4000), 1500, 1500).is_none());
        for mtu in 0..28 {
            assert!(Fragments::new(&plain(0), 1500, mtu).is_none(), "MTU {mtu}");
        }
        for mtu in 28..44 {
            assert!(Fragments::new(&plain(0), 1500, mtu).is_some() && Fragments::new(&HEADER, 1520, mtu).is_none());
        }
        for total_len in (0..20).chain([65_536, usize::MAX]) {
            assert!(Fragments::new(&plain(0), total_len, 1500).is_none(), "{total_len} bytes");
        }
        assert!(Fragments::new(&plain(0), 65_535, 1500).is_some());
        assert!(Fragments::new(&plain(8188), 20 + 12, 28).is_none(), "behind the longest datagram");
        assert!(Fragments::new(&plain(8191), 65_535, 1500).is_none());
    }

    #[test]
    fn refuses_every_truncation_of_the_header() {
        for len in 0..36 {
            assert_eq!(Ipv4::parse_head(&HEADER[..len], 1520).err(), Some(Malformed::Truncated));
            assert!(Fragments::new(&HEADER[..len], 1520, 1000).is_none(), "{len} bytes");
        }
        let mut longer = HEADER.to_vec();
        longer.resize(100, 0xee);
        assert_eq!(pieces(&longer, 1520, 576), pieces(&HEADER, 1520, 576), "the payload behind it");
    }

    #[test]
    fn copies_the_options_that_say_so() {
        let copied = |options: &[u8]| copied::<40>(options).unwrap();
        assert!(copied(&[]).is_empty() && copied(&[1; 40]).is_empty() && copied(&[0, 148, 4, 0]).is_empty());
        assert_eq!(copied(&[148, 4, 0, 0]), [148, 4, 0, 0]);
        assert_eq!(copied(&[1, 1, 130, 2]), [130, 2, 0, 0]);
        assert_eq!(copied(&[7, 3, 4, 131, 3, 4, 68, 3, 1, 137, 3, 4]), [131, 3, 4, 137, 3, 4, 0, 0]);
        assert_eq!(copied(&[[148, 4, 9, 9]; 10].concat())[..], [[148, 4, 9, 9]; 10].concat());
        // What is malformed ends them.
        for malformed in [[148, 0, 0, 0], [148, 1, 0, 0], [148, 5, 0, 0], [1, 1, 1, 148], [7, 9, 148, 2]] {
            assert_eq!(copied(&[[130, 4, 5, 6], malformed].concat()), [130, 4, 5, 6], "{malformed:?}");
        }
    }
}
