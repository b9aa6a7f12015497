//! Geneve.
//!
//! Owns: the 8-byte header and the way past its options. Refuses: another version, control packets, payloads other than
//! Ethernet, options that do not add up to their length, and critical options, none of which is known here. Options that
//! are not critical are skipped; none is written. Reserved bits are ignored when read and zero when written.
//! Read first: RFC 8926 §3.4 (the header), §3.5 (options).

use core::fmt;

use super::{EtherType, Malformed, Vni, be16, four};

/// The UDP port of Geneve (RFC 8926 §3.3).
pub const GENEVE_PORT: u16 = 6081;

/// "Control packet": a message between tunnel endpoints, whose payload must not be forwarded.
const O_FLAG: u8 = 0x80;

/// "Critical options present": who does not know them must drop the packet.
const C_FLAG: u8 = 0x40;

/// The same, in an option's type.
const CRITICAL: u8 = 0x80;

/// View of a Geneve header whose options may all be skipped.
#[derive(Clone, Copy)]
pub struct Geneve<'a> {
    fixed: &'a [u8; GeneveHeader::LEN],
}

impl<'a> Geneve<'a> {
    /// The header at the start of a UDP payload, and the inner frame behind its options.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] if there are fewer than 8 bytes, or fewer than header and options have;
    /// [`Malformed::BadVersion`] unless it is 0; [`Malformed::ControlPacket`] if the O flag is set;
    /// [`Malformed::BadProtocol`] if the payload is not Ethernet; [`Malformed::CriticalOption`] if the C flag is set, or
    /// an option's own critical bit; [`Malformed::BadLength`] if the options do not add up to their length.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Malformed> {
        let (fixed, behind) = bytes.split_first_chunk().ok_or(Malformed::Truncated)?;
        if fixed[0] >> 6 != 0 {
            return Err(Malformed::BadVersion);
        }
        if fixed[1] & (O_FLAG | C_FLAG) != 0 {
            return Err(if fixed[1] & O_FLAG != 0 { Malformed::ControlPacket } else { Malformed::CriticalOption });
        }
        if be16(fixed, 2) != EtherType::TRANSPARENT_ETHERNET.0 {
            return Err(Malformed::BadProtocol);
        }
        let geneve = Self { fixed };
        // The common case first: no options.
        if geneve.header_len() == GeneveHeader::LEN {
            return Ok((geneve, behind));
        }
        let options = geneve.header_len() - GeneveHeader::LEN;
        let (options, inner) = behind.split_at_checked(options).ok_or(Malformed::Truncated)?;
        check(options)?;
        Ok((geneve, inner))
    }

    /// Which segment the inner frame belongs to.
    #[inline]
    pub const fn vni(self) -> Vni {
        Vni::from_high_24(four(self.fixed, 4))
    }

    /// Length of header and options: bytes, 8 to 260.
    #[inline]
    pub const fn header_len(self) -> usize {
        GeneveHeader::LEN + (self.fixed[0] & 0x3f) as usize * 4
    }

    /// All that has a meaning, as plain data.
    #[inline]
    pub const fn header(self) -> GeneveHeader {
        GeneveHeader { vni: self.vni() }
    }
}

impl fmt::Debug for Geneve<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} header {}", self.header(), self.header_len())
    }
}

/// Whether all of them may be skipped, and end where they all end: at most 63 turns, as every option has 4 bytes.
fn check(mut options: &[u8]) -> Result<(), Malformed> {
    while !options.is_empty() {
        let (head, rest) = options.split_first_chunk::<4>().ok_or(Malformed::BadLength)?;
        if head[2] & CRITICAL != 0 {
            return Err(Malformed::CriticalOption);
        }
        options = rest.get(usize::from(head[3] & 0x1f) * 4..).ok_or(Malformed::BadLength)?;
    }
    Ok(())
}

/// The fields of a Geneve header without options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GeneveHeader {
    /// Which segment the inner frame belongs to.
    pub vni: Vni,
}

impl GeneveHeader {
    /// Length in bytes.
    pub const LEN: usize = 8;

    /// Writes every byte of the header: version 0, no options, no flags, Ethernet inside, the VNI.
    #[inline]
    pub fn write(&self, out: &mut [u8; Self::LEN]) {
        let [protocol_high, protocol_low] = EtherType::TRANSPARENT_ETHERNET.0.to_be_bytes();
        let [_, a, b, c] = u32::from(self.vni).to_be_bytes();
        *out = [0, 0, protocol_high, protocol_low, a, b, c, 0];
    }
}

impl fmt::Display for GeneveHeader {
    /// `vni 42`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vni {}", self.vni)
    }
}

#[cfg(test)]
mod tests {
    use std::{format, string::ToString};

    use super::*;

    const BYTES: [u8; 9] = [0x00, 0x00, 0x65, 0x58, 0x12, 0x34, 0x56, 0x00, 0xee];

    /// The same with two options: one of class 0x0102 and 4 bytes, one of class 0xff00 and none.
    const OPTIONS: [u8; 21] = [
        0x03, 0x00, 0x65, 0x58, 0x12, 0x34, 0x56, 0x00, // 12 bytes of options
        0x01, 0x02, 0x01, 0x01, 0x01, 0x02, 0x03, 0x04, // type 1
        0xff, 0x00, 0x7f, 0x00, // type 0x7f
        0xee,
    ];

    fn header() -> GeneveHeader {
        GeneveHeader { vni: Vni::try_from(0x12_3456).unwrap() }
    }

    #[test]
    fn reads_known_bytes() {
        let (geneve, inner) = Geneve::parse(&BYTES).unwrap();
        assert_eq!((geneve.header(), geneve.header_len(), inner), (header(), 8, &[0xee][..]));
    }

    #[test]
    fn skips_options_by_their_length() {
        let (geneve, inner) = Geneve::parse(&OPTIONS).unwrap();
        assert_eq!((geneve.header(), geneve.header_len(), inner), (header(), 20, &[0xee][..]));

        let mut longest = [0; 261];
        longest[..8].copy_from_slice(&BYTES[..8]);
        (longest[0], longest[260]) = (0x3f, 0xee);
        let (geneve, inner) = Geneve::parse(&longest).unwrap();
        assert_eq!((geneve.header_len(), inner), (260, &[0xee][..]));
    }

    #[test]
    fn writes_known_bytes_over_dirty_ones() {
        let mut out = [0xff; 8];
        header().write(&mut out);
        assert_eq!(out, BYTES[..8]);
    }

    #[test]
    fn refuses_every_truncation() {
        for len in 0..20 {
            assert_eq!(Geneve::parse(&OPTIONS[..len]).err(), Some(Malformed::Truncated), "{len} bytes");
        }
        assert_eq!(Geneve::parse(&OPTIONS[..20]).unwrap().1, &[]);
    }

    #[test]
    fn refuses_options_that_do_not_add_up() {
        for (at, len) in [(11, 0), (11, 3), (11, 0x1f), (19, 1), (19, 0x1f)] {
            let mut bytes = OPTIONS;
            bytes[at] = len;
            // Without data, the first option's four bytes of data are an option of 16 bytes.
            assert_eq!(Geneve::parse(&bytes).err(), Some(Malformed::BadLength), "byte {at} is {len}");
        }
        let mut bytes = OPTIONS;
        bytes[11] = 0xe2;
        let read = Geneve::parse(&bytes).map(|(geneve, _)| geneve.header_len());
        assert_eq!(read, Ok(20), "the upper three bits are no length");
    }

    #[test]
    fn refuses_critical_options() {
        for at in [10, 18] {
            let mut bytes = OPTIONS;
            bytes[at] |= 0x80;
            assert_eq!(Geneve::parse(&bytes).err(), Some(Malformed::CriticalOption), "byte {at}");
        }
    }

    #[test]
    fn the_flags_o_and_c_decide_and_reserved_bits_do_not() {
        for flags in 0..=255 {
            let bytes = [0, flags, 0x65, 0x58, 0x12, 0x34, 0x56, 0xff];
            let expected = match flags >> 6 {
                0 => Ok(header()),
                1 => Err(Malformed::CriticalOption),
                _ => Err(Malformed::ControlPacket),
            };
            assert_eq!(Geneve::parse(&bytes).map(|(geneve, _)| geneve.header()), expected, "flags {flags:#04x}");
        }
    }

    #[test]
    fn refuses_other_versions_and_other_payloads() {
        for version in 1..4 {
            let mut bytes = BYTES;
            bytes[0] = version << 6;
            assert_eq!(Geneve::parse(&bytes).err(), Some(Malformed::BadVersion), "version {version}");
        }
        for protocol in (0..=u16::MAX).filter(|protocol| *protocol != 0x6558) {
            let mut bytes = BYTES;
            bytes[2..4].copy_from_slice(&protocol.to_be_bytes());
            assert_eq!(Geneve::parse(&bytes).err(), Some(Malformed::BadProtocol), "{protocol:#06x}");
        }
    }

    #[test]
    fn says_what_it_is() {
        assert_eq!(header().to_string(), "vni 1193046");
        assert_eq!(format!("{:?}", Geneve::parse(&OPTIONS).unwrap().0), "vni 1193046 header 20");
    }
}
