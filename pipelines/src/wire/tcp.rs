//! TCP.
//!
//! Owns: the maximum segment size in the options of a SYN, and how it is made smaller. Refuses nothing: what is no whole
//! header, or malformed, stays as it is. The rest of the header is no business of a router's.
//! Read first: RFC 9293 §3.1, §3.2 (options), §3.7.1 (MSS); RFC 1624 §3.

use super::be16;
use super::checksum::update_u16;

/// Length of a header without options, bytes.
const LEN: usize = 20;

/// The flag of segments that open a connection.
const SYN: u8 = 0x02;

/// Options (RFC 9293 §3.2).
const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const MAXIMUM_SEGMENT_SIZE: u8 = 2;

/// Makes the maximum segment size that a SYN announces `most`, bytes, if it is more, and says whether it was. `tcp` begins
/// with the header, options included; what follows is not looked at. The checksum changes with it: a right one stays
/// right, a wrong one wrong. One that a NIC has yet to complete must not come here: it would be spoiled.
///
/// If the option is not there it is not added: the peer then sends at most 536 bytes (RFC 9293 §3.7.1), 1,220 over IPv6.
/// If it is there more than once, each is made smaller, since hosts differ in which they believe. An option that ends
/// behind the header, or before its own length, ends the walk.
#[inline]
pub fn clamp_mss(tcp: &mut [u8], most: u16) -> bool {
    let Some((fixed, rest)) = tcp.split_first_chunk_mut::<LEN>() else { return false };
    if fixed[13] & SYN == 0 {
        return false;
    }
    let header_len = usize::from(fixed[12] >> 4) * 4;
    let options = header_len.checked_sub(LEN).and_then(|len| rest.get_mut(..len));
    options.is_some_and(|options| clamp_options(fixed, options, most))
}

/// The same, of a SYN with all its options.
fn clamp_options(fixed: &mut [u8; LEN], options: &mut [u8], most: u16) -> bool {
    let (mut at, mut changed) = (0, false);
    // Every round takes at least one byte of at most 40.
    while let Some([kind, after @ ..]) = options.get_mut(at..) {
        at += match (*kind, after) {
            (END_OF_OPTIONS, _) => break,
            (NO_OPERATION, _) => 1,
            (MAXIMUM_SEGMENT_SIZE, [4, high, low, ..]) => {
                let old = u16::from_be_bytes([*high, *low]);
                if old > most {
                    [*high, *low] = most.to_be_bytes();
                    // At an odd place its bytes are the low half of one word and the high half of the next: what they
                    // add to the sum has them swapped (RFC 1071 §2 (B)).
                    let (old, new) = if at % 2 == 0 { (old, most) } else { (old.swap_bytes(), most.swap_bytes()) };
                    let checksum = update_u16(be16(fixed, 16), old, new);
                    fixed[16..18].copy_from_slice(&checksum.to_be_bytes());
                    changed = true;
                }
                4
            }
            (_, [len, ..]) if *len >= 2 => usize::from(*len),
            _ => break,
        };
    }
    changed
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::wire::{IpProtocol, checksum::Sum};
    use core::net::Ipv4Addr;

    /// 10.0.0.5 opens a connection to 192.0.2.9, as Linux does: MSS 1460, SACK permitted, timestamps, window scale.
    const SYN_1460: [u8; 40] = [
        0x9c, 0x40, 0x00, 0x50, 0x12, 0x34, 0x56, 0x78, 0x00, 0x00, 0x00, 0x00, 0xa0, 0x02, 0xfa, 0xf0, // header
        0x99, 0x82, 0x00, 0x00, // its checksum, urgent pointer
        0x02, 0x04, 0x05, 0xb4, 0x04, 0x02, 0x08, 0x0a, 0x00, 0x01, 0xe2, 0x40, 0x00, 0x00, 0x00, 0x00, // options
        0x01, 0x03, 0x03, 0x07,
    ];

    /// The same with its MSS option at an odd place.
    const ODD_1460: [u8; 28] = [
        0x9c, 0x40, 0x00, 0x50, 0x12, 0x34, 0x56, 0x78, 0x00, 0x00, 0x00, 0x00, 0x70, 0x02, 0xfa, 0xf0, // header
        0x08, 0x93, 0x00, 0x00, // its checksum, urgent pointer
        0x01, 0x02, 0x04, 0x05, 0xb4, 0x04, 0x02, 0x00, // options
    ];

    /// A SYN with these options (a multiple of 4 bytes), its checksum right.
    fn syn(options: &[u8]) -> Vec<u8> {
        let mut bytes = [&SYN_1460[..20], options].concat();
        bytes[12] = ((bytes.len() / 4) as u8) << 4;
        bytes[16..18].fill(0);
        let checksum = sum(&bytes).finish();
        bytes[16..18].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    fn sum(segment: &[u8]) -> Sum {
        let (source, destination) = (Ipv4Addr::new(10, 0, 0, 5), Ipv4Addr::new(192, 0, 2, 9));
        Sum::pseudo_ipv4(source, destination, IpProtocol::TCP, segment.len() as u16).with(segment)
    }

    /// The options of a SYN with these, clamped to 1,360; nothing if they stayed.
    fn clamped(options: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = syn(options);
        let before = bytes.clone();
        let changed = clamp_mss(&mut bytes, 1360);
        assert!(sum(&bytes).holds(), "{options:02x?}");
        assert_eq!(bytes != before, changed, "{options:02x?}");
        changed.then(|| bytes.split_off(20))
    }

    #[test]
    fn changes_known_bytes() {
        let mut bytes = SYN_1460;
        assert!(clamp_mss(&mut bytes, 1360));
        let mut expected = SYN_1460;
        expected[16..18].copy_from_slice(&[0x99, 0xe6]);
        expected[22..24].copy_from_slice(&[0x05, 0x50]);
        assert_eq!(bytes, expected);
        assert!(!clamp_mss(&mut bytes, 1360), "once is enough");

        let mut bytes = ODD_1460;
        assert!(clamp_mss(&mut bytes, 1360));
        let mut expected = ODD_1460;
        expected[16..18].copy_from_slice(&[0x6c, 0x93]);
        expected[23..25].copy_from_slice(&[0x05, 0x50]);
        assert_eq!(bytes, expected);
    }

    #[test]
    fn never_grows_and_never_adds() {
        for most in [1460, 1461, u16::MAX] {
            let mut bytes = SYN_1460;
            assert!(!clamp_mss(&mut bytes, most) && bytes == SYN_1460, "at most {most}");
        }
        assert_eq!(clamped(&[]), None);
        assert_eq!(clamped(&[4, 2, 1, 0]), None);
    }

    #[test]
    fn only_a_syn_is_changed() {
        for flags in 0..=255 {
            let mut bytes = SYN_1460;
            bytes[13] = flags;
            assert_eq!(clamp_mss(&mut bytes, 1360), flags & 2 != 0, "flags {flags:#x}");
        }
    }

    #[test]
    fn a_truncated_header_stays_as_it_is() {
        for len in 0..40 {
            let mut bytes = SYN_1460;
            assert!(!clamp_mss(&mut bytes[..len], 1360) && bytes == SYN_1460, "{len} bytes");
        }
        for words in 0..10 {
            let mut bytes = SYN_1460;
            bytes[12] = words << 4;
            // From 6 words on, the option is inside the header.
            assert_eq!(clamp_mss(&mut bytes, 1360), words >= 6, "{words} words");
        }
        let mut bytes = SYN_1460;
        bytes[12] = 0xb0;
        assert!(!clamp_mss(&mut bytes, 1360), "11 words of which 10 are there");
        let mut longer = [&SYN_1460[..], &[2, 4, 0xff, 0xff]].concat();
        assert!(clamp_mss(&mut longer, 1360) && longer[40..] == [2, 4, 0xff, 0xff], "data is no option");
    }

    #[test]
    fn walks_over_options_and_stops_at_malformed_ones() {
        let mss = [2, 4, 0x05, 0xb4];
        let less = [2, 4, 0x05, 0x50];
        for before in
            [&[1, 1, 1, 1][..], &[8, 4, 2, 4], &[2, 2, 1, 1], &[2, 3, 0xff, 1], &[2, 6, 0xff, 0xff, 1, 1, 1, 1]]
        {
            assert_eq!(clamped(&[before, &mss].concat()), Some([before, &less].concat()), "behind {before:02x?}");
        }
        for before in [[0, 1, 1, 1], [8, 0, 1, 1], [8, 1, 1, 1], [2, 0, 1, 1], [1, 1, 8, 0], [8, 200, 1, 1]] {
            assert_eq!(clamped(&[before, mss].concat()), None, "behind {before:02x?}");
        }
        assert_eq!(clamped(&[1, 1, 1, 2]), None, "cut in the option");
        assert_eq!(clamped(&[1, 1, 2, 4]), None);
        assert_eq!(clamped(&[1, 2, 4, 0xff]), None);
        assert_eq!(
            clamped(&[mss, [8, 0, 1, 1]].concat()),
            Some([less, [8, 0, 1, 1]].concat()),
            "before a malformed one"
        );
        assert_eq!(clamped(&[mss; 10].concat()), Some([less; 10].concat()), "as many as there are");
        assert_eq!(
            clamped(&[1, 2, 4, 0xff, 0xff, 2, 4, 0xff, 0xff, 0, 0, 0]),
            Some(std::vec![1, 2, 4, 0x05, 0x50, 2, 4, 0x05, 0x50, 0, 0, 0])
        );
    }
}
