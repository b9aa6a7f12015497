//! Probe: owners of learned bindings that were silent for long are asked, each by itself, whether they are there; who does
//! not answer is forgotten.
//!
//! The question is the one of a host that is about to take the address, and has none (RFC 5227 §2.1.1, RFC 4862 §5.4.2):
//! it needs no address of the gateway's, and teaches nobody anything. It comes from the port's own MAC; the answer to
//! it ends here (`gateway/snoop.rs`). One worker asks: the one that has heard the owner itself.
//! Read first: RFC 9161 §3.6, RFC 4861 §7.3.

use super::counters::{DropReason, Event};
use super::guard::{Title, title};
use super::learn::Fact;
use super::notice::{Happening, Notice};
use super::parse::{Inner, Parsed};
use super::pipeline::{Gateway, Turn};
use super::resolve::{SHORTEST, write_arp, write_ipv6};
use crate::tables::{Binding, BindingDue, Place, PortId, SegmentKind, Snapshot, mac_key};
use crate::wire::{ArpHeader, EthernetHeader, NsProbe};
use crate::{Egress, Frame, Pool};
use core::net::{IpAddr, Ipv4Addr};

/// Bindings looked at in a tick: a million in eight seconds.
const SWEEP: usize = 128;
/// Owners asked in a tick at most.
const ASKS: usize = 32;

impl<F: Frame> Gateway<F> {
    /// Looks after the bindings whose time has come.
    pub(super) fn probe_due<P, E>(&mut self, turn: &mut Turn<'_, P, E>)
    where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        if self.bindings.is_empty() {
            return;
        }
        let (snapshot, now) = (turn.snapshot, turn.now.seconds());
        let ageing = |b: &Binding| {
            let settings = snapshot.bridge(b.bridge)?.settings;
            (title(snapshot, b.bridge, b.mac, b.address) != Title::None).then_some(settings.binding_ageing)
        };
        let mut due = heapless::Vec::<BindingDue, { SWEEP + ASKS }>::new();
        self.bindings.due((SWEEP, ASKS), now, ageing, |d| {
            // An entry has one thing due, or two if it is asked.
            let _ = due.push(d);
        });
        for one in due {
            match one {
                BindingDue::Ask(binding) => self.probe(turn, &binding),
                BindingDue::Tell(Binding { bridge, address, .. }) => self.offer_binding(bridge, address, now),
                BindingDue::Aged(binding) => {
                    self.aged(&binding);
                    let Binding { bridge, address, mac, sequence, own, .. } = binding;
                    if own && self.shared {
                        self.push_offer(Fact::BindingGone { bridge, address, mac, sequence });
                    }
                }
                // The others see by the configuration that it is.
                BindingDue::Withdrawn(binding) => self.aged(&binding),
            }
        }
    }

    fn aged(&mut self, binding: &Binding) {
        let &Binding { bridge, address, mac, .. } = binding;
        self.counters.count(Event::BindingAged);
        self.notices.note(|| Notice { address: Some(address), ..Notice::of(Happening::BindingAged, bridge, mac) });
    }

    /// Asks the owner of a binding whether it is there. If its place is not known, silence is the answer.
    fn probe<P, E>(&mut self, turn: &mut Turn<'_, P, E>, binding: &Binding)
    where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        let snapshot = turn.snapshot;
        let Some((place, port)) = self.place_of(snapshot, binding, turn.now.seconds()) else { return };
        let Some(info) = snapshot.ports().get(port.index()) else { return };
        self.counters.originated += 1;
        self.counters.count(Event::BindingProbed);
        let len = match binding.address {
            IpAddr::V4(_) => SHORTEST,
            IpAddr::V6(_) => EthernetHeader::LEN + NsProbe::LEN,
        };
        let Some(mut frame) = turn.pool.alloc(len) else {
            return self.counters.drop(port, DropReason::NoMbuf);
        };
        let mut inner = Inner { ip_at: 2, ..Inner::default() };
        match binding.address {
            IpAddr::V4(target) => {
                let request = ArpHeader::request(info.mac, Ipv4Addr::UNSPECIFIED, target);
                write_arp(frame.head_mut(), binding.mac, info.mac, &request);
            }
            IpAddr::V6(target) => {
                inner.ip_version = 6;
                write_ipv6(frame.head_mut(), binding.mac, info.mac, |bytes| NsProbe { target }.write(bytes));
            }
        }
        let (to, from) = (mac_key(binding.bridge, binding.mac), mac_key(binding.bridge, info.mac));
        inner.flow = snapshot.secret().mix(to, from);
        let lane =
            Parsed { to, from, bridge: binding.bridge, rest_at: 12, end: len as u32, inner, ..Parsed::default() };
        let arrived = core::mem::replace(&mut turn.port, port);
        self.forward(turn, frame, &lane, place);
        turn.port = arrived;
    }

    /// Where the owner of a binding is, and the port to it.
    fn place_of(&self, snapshot: &Snapshot, binding: &Binding, now: u64) -> Option<(Place, PortId)> {
        let key = mac_key(binding.bridge, binding.mac);
        let hash = snapshot.secret().hash(key);
        let ageing = snapshot.bridge(binding.bridge)?.settings.mac_ageing;
        let learned = || self.macs.get(hash, key).filter(|e| e.age(now) <= ageing).map(|e| e.place);
        let place = snapshot.endpoint(hash, key).or_else(learned)?;
        let segment = snapshot.segment(place.segment()).filter(|s| s.bridge == binding.bridge)?;
        let port = match segment.kind {
            SegmentKind::Vlan { port, .. } | SegmentKind::Qinq { port, .. } => port,
            SegmentKind::Tunnel { vtep, .. } => snapshot.vtep(vtep)?.port,
        };
        Some((place, port))
    }
}
