//! Addresses and header views, one file per protocol.
//!
//! A view borrows bytes and comes only from `parse`, which checks that they suffice; it never reads outside them.

mod ethernet;
mod vxlan;

pub use ethernet::{IllegalVlanId, MacAddr, VlanId};
pub use vxlan::{IllegalVni, Vni};
