//! NVGRE.
//!
//! Owns: [`Vsid`] and the 8-byte GRE header with its key, which is VSID and FlowID. Refuses: every other shape of GRE. A
//! checksum, a sequence number, no key, a bit that a receiver must not let pass, a version other than 0, a payload other
//! than Ethernet. The reserved bits that a receiver is told to ignore are ignored, and zero when written.
//! Read first: RFC 7637 §3.2; RFC 2784 §2.2 for the reserved bits, RFC 2890 §2 for key and sequence number.

use core::fmt;

use super::{EtherType, Malformed, be16, four};

/// Flags: a key is present.
const K_FLAG: u16 = 0x2000;

/// What a receiver judges: the flags C, K and S, the bits 1, 4 and 5, which RFC 2784 §2.2 wants zero, and the version.
/// Bits 6 to 12 it "must ignore".
const JUDGED: u16 = 0xfc07;

/// A virtual subnet identifier of NVGRE, 4096 to 16,777,214 (RFC 7637 §3.2: those below are reserved, and 0xFFFFFF is the
/// vendors').
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Vsid(u32);

/// The number is no VSID of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IllegalVsid(pub u32);

impl fmt::Display for IllegalVsid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VSID {} is not in {} to {}", self.0, Vsid::MIN, Vsid::MAX)
    }
}

impl core::error::Error for IllegalVsid {}

impl Vsid {
    /// The lowest.
    pub const MIN: Self = Self(0x1000);
    /// The highest.
    pub const MAX: Self = Self(0xff_fffe);
}

impl TryFrom<u32> for Vsid {
    type Error = IllegalVsid;
    fn try_from(vsid: u32) -> Result<Self, IllegalVsid> {
        if (Self::MIN.0..=Self::MAX.0).contains(&vsid) { Ok(Self(vsid)) } else { Err(IllegalVsid(vsid)) }
    }
}

impl From<Vsid> for u32 {
    #[inline]
    fn from(vsid: Vsid) -> u32 {
        vsid.0
    }
}

impl fmt::Display for Vsid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// View of an NVGRE header.
#[derive(Clone, Copy)]
pub struct Nvgre<'a>(&'a [u8; NvgreHeader::LEN]);

impl<'a> Nvgre<'a> {
    /// The header at the start of an IP payload of protocol 47, and the inner frame behind it.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] if there are fewer than 8 bytes; [`Malformed::BadGre`] if it is GRE of another shape.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Malformed> {
        let (header, inner) = bytes.split_first_chunk().ok_or(Malformed::Truncated)?;
        if be16(header, 0) & JUDGED != K_FLAG || be16(header, 2) != EtherType::TRANSPARENT_ETHERNET.0 {
            return Err(Malformed::BadGre);
        }
        Ok((Self(header), inner))
    }

    /// Which segment the inner frame belongs to: 24 bits as they are on the wire. A reserved number is nobody's, so that
    /// a lookup tells it apart, not the parser; [`Vsid::try_from`] refuses it.
    #[inline]
    pub const fn vsid_bits(self) -> u32 {
        u32::from_be_bytes(four(self.0, 4)) >> 8
    }

    /// What the sender made of the inner flow, for the underlay to spread load by: no part of the VSID. 0 if it made
    /// nothing.
    #[inline]
    pub const fn flow_id(self) -> u8 {
        self.0[7]
    }
}

impl fmt::Debug for Nvgre<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vsid {} flow {}", self.vsid_bits(), self.flow_id())
    }
}

/// An NVGRE header's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NvgreHeader {
    /// Which segment the inner frame belongs to.
    pub vsid: Vsid,
    /// A hash of the inner flow: the same for all its frames.
    pub flow_id: u8,
}

impl NvgreHeader {
    /// Length in bytes.
    pub const LEN: usize = 8;

    /// Writes every byte of the header: the K flag and no other, version 0, Ethernet inside, VSID and FlowID as the key.
    #[inline]
    pub fn write(&self, out: &mut [u8; Self::LEN]) {
        let [flags, version] = K_FLAG.to_be_bytes();
        let [protocol_high, protocol_low] = EtherType::TRANSPARENT_ETHERNET.0.to_be_bytes();
        let [_, a, b, c] = self.vsid.0.to_be_bytes();
        *out = [flags, version, protocol_high, protocol_low, a, b, c, self.flow_id];
    }
}

impl fmt::Display for NvgreHeader {
    /// `vsid 5000 flow 7`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vsid {} flow {}", self.vsid, self.flow_id)
    }
}

#[cfg(test)]
mod tests {
    use std::{format, string::ToString};

    use super::*;

    /// VSID 0x123456, FlowID 0x9a, and one byte of an inner frame.
    const BYTES: [u8; 9] = [0x20, 0x00, 0x65, 0x58, 0x12, 0x34, 0x56, 0x9a, 0xee];

    fn header() -> NvgreHeader {
        NvgreHeader { vsid: Vsid::try_from(0x12_3456).unwrap(), flow_id: 0x9a }
    }

    #[test]
    fn reads_known_bytes() {
        let (nvgre, inner) = Nvgre::parse(&BYTES).unwrap();
        assert_eq!((nvgre.vsid_bits(), nvgre.flow_id(), inner), (0x12_3456, 0x9a, &[0xee][..]));
    }

    #[test]
    fn writes_known_bytes_over_dirty_ones() {
        let mut out = [0xff; 8];
        header().write(&mut out);
        assert_eq!(out, BYTES[..8]);
    }

    #[test]
    fn refuses_every_truncation() {
        for len in 0..8 {
            assert_eq!(Nvgre::parse(&BYTES[..len]).err(), Some(Malformed::Truncated), "{len} bytes");
        }
    }

    #[test]
    fn every_bit_of_flags_and_version_is_judged_or_ignored_as_rfc_2784_says() {
        for bits in 0..=u16::MAX {
            let mut bytes = BYTES;
            bytes[..2].copy_from_slice(&bits.to_be_bytes());
            // Bit 0 of the RFC's figure is the highest.
            let set = |bit: u16| bits >> (15 - bit) & 1 == 1;
            let legal = set(2) && ![0, 1, 3, 4, 5, 13, 14, 15].into_iter().any(set);
            let read = Nvgre::parse(&bytes).map(|(nvgre, _)| nvgre.vsid_bits());
            assert_eq!(read, if legal { Ok(0x12_3456) } else { Err(Malformed::BadGre) }, "{bits:#06x}");
        }
    }

    #[test]
    fn refuses_payloads_other_than_ethernet() {
        for protocol in (0..=u16::MAX).filter(|protocol| *protocol != 0x6558) {
            let mut bytes = BYTES;
            bytes[2..4].copy_from_slice(&protocol.to_be_bytes());
            assert_eq!(Nvgre::parse(&bytes).err(), Some(Malformed::BadGre), "{protocol:#06x}");
        }
    }

    #[test]
    fn vsid_and_flow_id_are_kept_apart() {
        let read = |key: [u8; 4]| {
            let mut bytes = BYTES;
            bytes[4..8].copy_from_slice(&key);
            Nvgre::parse(&bytes).map(|(nvgre, _)| (nvgre.vsid_bits(), nvgre.flow_id()))
        };
        assert_eq!(read([0, 0, 0, 0xff]), Ok((0, 0xff)), "a reserved VSID can be read");
        assert_eq!(read([0xff, 0xff, 0xff, 0]), Ok((0xff_ffff, 0)));
        assert_eq!(read([0, 0x10, 0, 1]), Ok((0x1000, 1)));
    }

    #[test]
    fn a_vsid_is_none_of_the_reserved_numbers() {
        for reserved in [0, 1, 0xfff, 0xff_ffff, 0x100_0000, 0x100_1000, u32::MAX] {
            assert_eq!(Vsid::try_from(reserved), Err(IllegalVsid(reserved)));
        }
        for legal in [0x1000, 0x1001, 0xff_fffe] {
            assert_eq!(Vsid::try_from(legal).map(u32::from), Ok(legal));
        }
        assert_eq!(IllegalVsid(4095).to_string(), "VSID 4095 is not in 4096 to 16777214");
    }

    #[test]
    fn says_what_it_is() {
        assert_eq!(header().to_string(), "vsid 1193046 flow 154");
        assert_eq!(format!("{:?}", Nvgre::parse(&BYTES).unwrap().0), "vsid 1193046 flow 154");
    }
}
