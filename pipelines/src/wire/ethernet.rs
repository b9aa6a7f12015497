//! Ethernet II and 802.1Q/802.1ad tags.

/// An Ethernet address, any of them.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddr(pub [u8; 6]);

/// A VLAN identifier from 1 to 4094 (IEEE 802.1Q-2018 §9.6: 0 is a priority tag, 4095 reserved).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VlanId(u16);

/// The number is no VLAN identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IllegalVlanId(pub u16);

impl TryFrom<u16> for VlanId {
    type Error = IllegalVlanId;
    fn try_from(vid: u16) -> Result<Self, IllegalVlanId> {
        if (1..=4094).contains(&vid) { Ok(Self(vid)) } else { Err(IllegalVlanId(vid)) }
    }
}

impl From<VlanId> for u16 {
    fn from(vid: VlanId) -> u16 {
        vid.0
    }
}
