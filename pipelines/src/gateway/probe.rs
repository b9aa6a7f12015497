//! Probe: owners of learned bindings that were silent for long are asked, each by itself, whether they are there; who does
//! not answer is forgotten.
//!
//! The question is the one of a host that is about to take the address, and has none (RFC 5227 §2.1.1, RFC 4862 §5.4.2):
//! it needs no address of the gateway's, and teaches nobody anything. It comes from the port's own MAC; the answer to
//! it ends here if it is for that MAC alone (`gateway/snoop.rs`). One worker asks: the one that has heard the owner itself.
//! A quiet host is asked before its MAC ages: without it, nobody would be answered. Hosts behind a peer are their own
//! gateway's to ask, which with port security lets no MAC of this one's in: what they have is believed while they talk.
//! Read first: RFC 9161 §3.6, RFC 4861 §7.3.

use super::counters::Event;
use super::guard::{Title, title};
use super::learn::{Fact, OFFERS};
use super::notice::{Happening, Notice};
use super::pipeline::{Gateway, Turn};
use super::resolve::{SHORTEST, write_arp, write_ipv6};
use crate::tables::{Binding, BindingDue, BridgeId, Care, Effort, MacTable, Place, PortId, Snapshot, mac_key};
use crate::wire::{ArpHeader, EthernetHeader, MacAddr, NsProbe};
use crate::{Egress, Frame, Pool};
use core::net::{IpAddr, Ipv4Addr};

/// Bindings looked at in a tick: a million in eight seconds.
const SWEEP: usize = 128;
/// Owners asked in a tick at most.
const ASKS: usize = 32;

/// What is due for a binding, and when.
fn care(snapshot: &Snapshot, macs: &MacTable, b: &Binding, now: u64) -> Care {
    let Some(settings) = snapshot.bridge(b.bridge).map(|bridge| &bridge.settings) else { return Care::Withdraw };
    if title(snapshot, b.bridge, b.mac, b.address) == Title::None {
        return Care::Withdraw;
    }
    let (ageing, mac_ageing) = (settings.binding_ageing, settings.mac_ageing);
    // So long before its MAC ages an owner is asked: time for three probes, and for this round to come by.
    let early = mac_ageing.saturating_sub((mac_ageing / 8).clamp(5, 60)).max(1);
    if !b.own || b.age < ageing.min(early) {
        return Care::Ask(ageing);
    }
    let key = mac_key(b.bridge, b.mac);
    let hash = snapshot.secret().hash(key);
    if let Some(place) = snapshot.endpoint(hash, key) {
        return if place.peer().is_some() { Care::Forget(ageing) } else { Care::Ask(ageing) };
    }
    match macs.get(hash, key) {
        Some(mac) if mac.place.peer().is_some() && mac.age(now) <= mac_ageing => Care::Keep(ageing),
        Some(mac) if mac.place.peer().is_some() => Care::Forget(ageing),
        // It was asked early, and is asked on even if its MAC is forgotten now.
        _ if b.probes > 0 && b.age < ageing => Care::Ask(ageing.min(early)),
        Some(mac) if mac.age(now) >= early => Care::Ask(ageing.min(early)),
        Some(_) | None => Care::Ask(ageing),
    }
}

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
        // What is forgotten is told in this turn, as far as there is room.
        let farewells = if self.shared { OFFERS - self.offers.len() } else { usize::MAX };
        let effort = Effort { looks: SWEEP, asks: ASKS, farewells };
        let mut due = heapless::Vec::<BindingDue, { SWEEP + ASKS }>::new();
        let Self { bindings, macs, .. } = self;
        bindings.due(
            effort,
            now,
            |b| care(snapshot, macs, b, now),
            |d| {
                // An entry has one thing due, or two if it is asked.
                let _ = due.push(d);
            },
        );
        for one in &due {
            if let BindingDue::Aged(Binding { bridge, address, mac, sequence, own: true, .. }) = *one
                && self.shared
            {
                self.push_offer(Fact::BindingGone { bridge, address, mac, sequence });
            }
        }
        for one in due {
            match one {
                BindingDue::Ask(binding) => self.probe(turn, &binding),
                BindingDue::Tell(Binding { bridge, address, .. }) => self.offer_binding(bridge, address, now),
                // The others see by the configuration that it is withdrawn.
                BindingDue::Aged(binding) | BindingDue::Withdrawn(binding) => self.aged(&binding),
            }
        }
    }

    pub(super) fn aged(&mut self, binding: &Binding) {
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
        let at = self.place_of(snapshot, binding.bridge, binding.mac, turn.now.seconds());
        let Some((place, port)) = at else { return };
        let Some(info) = snapshot.ports().get(port.index()) else { return };
        self.counters.count(Event::BindingProbed);
        let len = match binding.address {
            IpAddr::V4(_) => SHORTEST,
            IpAddr::V6(_) => EthernetHeader::LEN + NsProbe::LEN,
        };
        let (to, from) = (binding.mac, info.mac);
        self.originate(turn, binding.bridge, (to, from), place, len, |head| match binding.address {
            IpAddr::V4(target) => {
                write_arp(head, to, from, &ArpHeader::request(from, Ipv4Addr::UNSPECIFIED, target));
            }
            IpAddr::V6(target) => write_ipv6(head, to, from, |bytes| NsProbe { target }.write(bytes)),
        });
    }

    /// Where a host of a bridge is, and the port to it.
    pub(super) fn place_of(
        &self,
        snapshot: &Snapshot,
        bridge: BridgeId,
        mac: MacAddr,
        now: u64,
    ) -> Option<(Place, PortId)> {
        let key = mac_key(bridge, mac);
        let hash = snapshot.secret().hash(key);
        let ageing = snapshot.bridge(bridge)?.settings.mac_ageing;
        let learned = || self.macs.get(hash, key).filter(|e| e.age(now) <= ageing).map(|e| e.place);
        let place = snapshot.endpoint(hash, key).or_else(learned)?;
        snapshot.segment(place.segment()).filter(|s| s.bridge == bridge)?;
        Some((place, snapshot.port_of(place.segment())?))
    }
}
