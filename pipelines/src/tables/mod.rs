//! Tables: the configured [`Snapshot`], shared and immutable, and the learned ones, private to one worker.

mod binding;
mod buckets;
mod cow;
mod flow;
mod hop;
mod ids;
mod mac;
mod neighbour;
mod objects;
mod peer;
mod recent;
mod route;
mod routing;
mod snapshot;

pub use binding::{BindOutcome, Binding, BindingDue, BindingTable, Care, Effort, Manners};
pub use buckets::Secret;
pub(crate) use flow::{Flow, FlowTable};
pub(crate) use hop::{Hop, HopTable, Known, Pair};
pub use ids::{BridgeId, GuardIx, InterfaceIx, MeshId, NextHopsIx, PeerIx, PortId, RouterIx, SegmentIx, VtepIx};
pub(crate) use mac::KEYS;
pub use mac::{LearnOutcome, LearnedMac, MacTable, Place};
pub use neighbour::{Due, Link, Neighbour, NeighbourState, NeighbourTable, Net, Question, Underlay};
pub use objects::{
    Attachment, Bridge, BridgeSettings, Encap, Guard, Host, Location, NEXT_HOPS, Peer, PortInfo, Prefix, Segment,
    SegmentKind, Vtep,
};
pub use peer::PeerTable;
pub(crate) use recent::{Recent, RecentTable};
pub use route::Target;
pub use routing::{Advertise, Gate, Interface, NextHop, Router, RouterSettings};
pub(crate) use snapshot::mac_key;
pub use snapshot::{Full, Snapshot};
