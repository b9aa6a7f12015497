//! VXLAN.
//!
//! Owns: [`Vni`] and the 8-byte header. Refuses: a header whose I flag is clear. Reserved bits are ignored when read and
//! zero when written. Read first: RFC 7348 §5.

use core::fmt;

use super::{Malformed, four};

/// The UDP port of VXLAN (RFC 7348 §5).
pub const VXLAN_PORT: u16 = 4789;

/// "VNI is valid": the only flag that RFC 7348 defines.
const I_FLAG: u8 = 0x08;

/// A network identifier of VXLAN (RFC 7348 §4) or Geneve (RFC 8926 §3.4), 24 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Vni(u32);

/// The number does not fit in 24 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IllegalVni(pub u32);

impl fmt::Display for IllegalVni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VNI {} is not in 0 to 16777215", self.0)
    }
}

impl core::error::Error for IllegalVni {}

impl Vni {
    /// Network 0.
    pub const ZERO: Self = Self(0);

    /// The upper 24 of these bits, as VXLAN and Geneve have them; the last byte is ignored.
    #[inline(always)]
    pub(super) const fn from_high_24(bytes: [u8; 4]) -> Self {
        Self(u32::from_be_bytes(bytes) >> 8)
    }
}

impl TryFrom<u32> for Vni {
    type Error = IllegalVni;
    fn try_from(vni: u32) -> Result<Self, IllegalVni> {
        if vni <= 0xff_ffff { Ok(Self(vni)) } else { Err(IllegalVni(vni)) }
    }
}

impl From<Vni> for u32 {
    #[inline]
    fn from(vni: Vni) -> u32 {
        vni.0
    }
}

impl fmt::Display for Vni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// View of a VXLAN header with a valid VNI.
#[derive(Clone, Copy)]
pub struct Vxlan<'a>(&'a [u8; VxlanHeader::LEN]);

impl<'a> Vxlan<'a> {
    /// The header at the start of a UDP payload, and the inner frame behind it.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] if there are fewer than 8 bytes, [`Malformed::NoVni`] if the I flag is clear.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Malformed> {
        let (header, inner) = bytes.split_first_chunk().ok_or(Malformed::Truncated)?;
        if header[0] & I_FLAG == 0 {
            return Err(Malformed::NoVni);
        }
        Ok((Self(header), inner))
    }

    /// Which segment the inner frame belongs to.
    #[inline]
    pub const fn vni(self) -> Vni {
        Vni::from_high_24(four(self.0, 4))
    }

    /// All that has a meaning, as plain data.
    #[inline]
    pub const fn header(self) -> VxlanHeader {
        VxlanHeader { vni: self.vni() }
    }
}

impl fmt::Debug for Vxlan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.header().fmt(f)
    }
}

/// A VXLAN header's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VxlanHeader {
    /// Which segment the inner frame belongs to.
    pub vni: Vni,
}

impl VxlanHeader {
    /// Length in bytes.
    pub const LEN: usize = 8;

    /// Writes every byte of the header: the I flag, the VNI, zero in what is reserved.
    #[inline]
    pub fn write(&self, out: &mut [u8; Self::LEN]) {
        let [a, b, c, zero] = (self.vni.0 << 8).to_be_bytes();
        *out = [I_FLAG, 0, 0, 0, a, b, c, zero];
    }
}

impl fmt::Display for VxlanHeader {
    /// `vni 42`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vni {}", self.vni)
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    const BYTES: [u8; 9] = [0x08, 0, 0, 0, 0x12, 0x34, 0x56, 0, 0xee];

    fn header() -> VxlanHeader {
        VxlanHeader { vni: Vni::try_from(0x12_3456).unwrap() }
    }

    #[test]
    fn reads_known_bytes() {
        let (vxlan, inner) = Vxlan::parse(&BYTES).unwrap();
        assert_eq!((vxlan.header(), inner), (header(), &[0xee][..]));
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
            assert_eq!(Vxlan::parse(&BYTES[..len]).err(), Some(Malformed::Truncated), "{len} bytes");
        }
    }

    #[test]
    fn the_i_flag_decides_and_reserved_bits_do_not() {
        for flags in 0..=255 {
            let bytes = [flags, 0xff, 0xff, 0xff, 0x12, 0x34, 0x56, 0xff];
            let read = Vxlan::parse(&bytes).map(|(vxlan, _)| vxlan.header());
            assert_eq!(read, if flags & 8 != 0 { Ok(header()) } else { Err(Malformed::NoVni) }, "flags {flags:#04x}");
        }
    }

    #[test]
    fn a_vni_has_24_bits() {
        assert_eq!(Vni::try_from(0xff_ffff).map(u32::from), Ok(0xff_ffff));
        assert_eq!(Vni::try_from(0).map(u32::from), Ok(0));
        assert_eq!(Vni::try_from(0x100_0000), Err(IllegalVni(0x100_0000)));
        assert_eq!(IllegalVni(0x100_0000).to_string(), "VNI 16777216 is not in 0 to 16777215");
        assert_eq!(header().to_string(), "vni 1193046");
    }
}
