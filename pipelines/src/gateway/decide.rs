//! Decide: where a frame goes. Pure over the snapshot, the learned tables and what was parsed.
//!
//! Configured wins over learned. A learned place counts only while it is fresh and its segment is still of the bridge.

use super::DropReason;
use super::parse::Parsed;
use super::pipeline::Gateway;
use crate::tables::{Place, Snapshot};
use crate::wire::MacAddr;
use crate::{Frame, Time};

/// What is to become of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Out at this place.
    Forward(Place),
    /// Everywhere on its bridge, but not back.
    Flood,
    /// Nowhere.
    Drop(DropReason),
}

impl<F: Frame> Gateway<F> {
    /// The step, for one frame.
    #[inline(always)]
    pub(super) fn decide(&self, snapshot: &Snapshot, p: &Parsed, now: Time) -> Decision {
        if MacAddr::from_bits(p.to).is_multicast() {
            return Decision::Flood;
        }
        let Some(bridge) = snapshot.bridge(p.bridge) else { return Decision::Drop(DropReason::UnknownVlan) };
        let configured = match snapshot.endpoint_count() {
            0 => None,
            _ => snapshot.endpoint(p.to_hash, p.to).map(|at| Place::new(at.segment, at.peer)),
        };
        let place = configured.or_else(|| {
            let entry = self.macs.get(p.to_hash, p.to)?;
            (entry.age(now.seconds()) <= bridge.settings.mac_ageing).then_some(entry.place)
        });
        let Some(place) = place.filter(|at| snapshot.segment(at.segment()).is_some_and(|s| s.bridge == p.bridge))
        else {
            return match bridge.settings.flood_unknown {
                true => Decision::Flood,
                false => Decision::Drop(DropReason::UnknownUnicast),
            };
        };
        if place == p.place {
            return Decision::Drop(DropReason::SameSegment);
        }
        if let (Some(peer), Some(origin)) = (place.peer(), p.origin) {
            // A peer that got its number within this burst is the same one without it.
            let back = place.segment() == p.place.segment() && self.peers.peer(snapshot, peer) == Some(origin);
            return Decision::Drop(if back { DropReason::SameSegment } else { DropReason::SplitHorizon });
        }
        Decision::Forward(place)
    }
}
