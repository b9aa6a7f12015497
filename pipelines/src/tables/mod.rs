//! Tables: the configured [`Snapshot`], shared and immutable, and the learned ones, private to one worker.

mod buckets;
mod cow;
mod ids;
mod mac;
mod neighbour;
mod peer;
mod snapshot;

pub use buckets::Secret;
pub use ids::{BridgeId, PeerIx, PortId, SegmentIx, VtepIx};
pub use mac::{LearnOutcome, LearnedMac, MacTable, Place};
pub use neighbour::{Due, Neighbour, NeighbourState, NeighbourTable, Question};
pub use peer::{OUTER_LEN, PeerEntry, PeerTable, Resolution};
pub(crate) use snapshot::mac_key;
pub use snapshot::{
    Attachment, Bridge, BridgeSettings, Full, Location, Peer, PortInfo, Segment, SegmentKind, Snapshot, Vtep,
};
