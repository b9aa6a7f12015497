//! Decide: where a frame goes. Pure over the snapshot, the learned tables and what was parsed.
//!
//! Configured wins over learned. A learned place counts only while it is fresh and its segment is still of the bridge.

use super::DropReason;
use super::meter::Class;
use super::parse::{self, Parsed};
use super::pipeline::Gateway;
use crate::Frame;
use crate::tables::{Bridge, BridgeId, Place, Segment, Snapshot};
use crate::wire::{IcmpError, MacAddr};

/// What is to become of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Decision {
    /// A tenant's frame, not looked up yet: its lane says the rest.
    #[default]
    Open,
    /// Out at this place.
    Forward(Place),
    /// Everywhere on its bridge, but not back; as one of a class.
    Flood(Class),
    /// To the gateway itself: ARP, neighbour discovery or ping on the underlay. The number says where its EtherType is.
    Local(u16),
    /// Answered, if it asks and there is somebody to answer for; else to all whom it is for.
    Suppress,
    /// Nowhere, since it has done what it was for.
    Consume,
    /// Out at this place, with the gateway's MAC as its source where it leaves the tunnels: another gateway has routed it.
    Deliver(Place),
    /// By a router, out at this place: its lane's hop says how.
    Route(Place),
    /// By a router, to a host whose MAC is known and whose place is not: everywhere on the bridge that its hop names.
    RouteToAll,
    /// By a router, as soon as this neighbour is known.
    Wait(u32),
    /// To a router itself.
    Gateway,
    /// Nowhere; who sent it is told why.
    Refer(IcmpError, DropReason),
    /// Asks for routers, and is told of those of this gateway.
    Advertise,
    /// Nowhere.
    Drop(DropReason),
}

impl Decision {
    /// Why it goes nowhere, if it does.
    pub(super) fn reason(self) -> Option<DropReason> {
        match self {
            Self::Drop(reason) | Self::Refer(_, reason) => Some(reason),
            _ => None,
        }
    }
}

impl<F: Frame> Gateway<F> {
    /// The step, for one frame.
    pub(super) fn decide(&self, snapshot: &Snapshot, p: &Parsed, now: u64) -> Decision {
        if parse::is_group(p.to) {
            return Decision::Flood(Class::Broadcast);
        }
        let Some(bridge) = snapshot.bridge(p.bridge) else { return Decision::Drop(DropReason::UnknownVlan) };
        // Nothing that a router does not take, or that is for this gateway itself, goes further.
        if bridge.gate.is_any() && self.is_own(snapshot, p.bridge, p.to) {
            return Decision::Drop(DropReason::NotForUs);
        }
        let configured = match snapshot.endpoint_count() {
            // Of the first bridge, a frame to 00:00:00:00:00:00: nobody's, and no key of a table.
            _ if p.to == 0 => return self.unknown(bridge),
            0 => None,
            _ => snapshot.endpoint(p.to_hash, p.to),
        };
        let place = configured.or_else(|| {
            let entry = self.macs.get(p.to_hash, p.to)?;
            (entry.age(now) <= bridge.settings.mac_ageing).then_some(entry.place)
        });
        let segment_of = |at: Place| snapshot.segment(at.segment()).filter(|s| s.bridge == p.bridge).map(|s| (at, s));
        let Some((place, segment)) = place.and_then(segment_of) else {
            return self.unknown(bridge);
        };
        if place == p.place {
            return Decision::Drop(DropReason::SameSegment);
        }
        if p.tunnel && place.peer().is_some() {
            self.relay(snapshot, p, place, segment)
        } else {
            Decision::Forward(place)
        }
    }

    /// Whether a key's MAC is a gateway's on its bridge, or this gateway's own DVR MAC.
    pub(super) fn is_own(&self, snapshot: &Snapshot, bridge: BridgeId, key: u64) -> bool {
        let mac = MacAddr::from_bits(key);
        mac == snapshot.dvr_mac() || snapshot.interface_with(bridge, mac).is_some()
    }

    /// A frame from a tunnel to a tunnel: only from one mesh to another.
    #[cold]
    fn relay(&self, snapshot: &Snapshot, p: &Parsed, place: Place, segment: &Segment) -> Decision {
        let peer = place.peer().and_then(|ix| self.peers.peer(snapshot, ix));
        // A peer that got its number within this burst, or another one since it was configured, is the same.
        if place.segment() == p.place.segment() && peer.is_some() && peer == self.origin(snapshot, p) {
            return Decision::Drop(DropReason::SameSegment);
        }
        let number = peer.and_then(|peer| self.peers.find(snapshot, peer));
        match snapshot.mesh(place.segment(), segment, number) {
            mesh if mesh == p.mesh => Decision::Drop(DropReason::SplitHorizon),
            _ => Decision::Forward(place),
        }
    }

    /// A frame to a MAC that is not known.
    fn unknown(&self, bridge: &Bridge) -> Decision {
        match bridge.settings.flood_unknown {
            true => Decision::Flood(Class::Unknown),
            false => Decision::Drop(DropReason::UnknownUnicast),
        }
    }
}
