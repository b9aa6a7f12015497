//! VXLAN (RFC 7348 §5).

/// A VXLAN network identifier, 24 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Vni(u32);

/// The number does not fit in 24 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IllegalVni(pub u32);

impl TryFrom<u32> for Vni {
    type Error = IllegalVni;
    fn try_from(vni: u32) -> Result<Self, IllegalVni> {
        if vni <= 0xff_ffff { Ok(Self(vni)) } else { Err(IllegalVni(vni)) }
    }
}

impl From<Vni> for u32 {
    fn from(vni: Vni) -> u32 {
        vni.0
    }
}
