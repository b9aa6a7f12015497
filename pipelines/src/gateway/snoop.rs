//! Snoop: what hosts and DHCP servers say of who has which address, judged and learned. Before MACs are learned, so that
//! a frame that lies teaches nothing.
//!
//! A claim is the sender of an ARP message, the source of a neighbour solicitation, the target of an advertisement, or
//! what a DHCP server gives. A claim on what the claimant may not hold is dropped with its frame; any other moves the
//! binding at once, on all workers, and the frame goes on as if nobody had looked. What a DHCP server says, anybody can
//! say, and of anybody: it teaches only what nobody is known to have, as far as the client may hold what it is given.
//! Frames with a VLAN tag of their own are of a tenant's own broadcast domains, in which the same address may be
//! another's: they are checked with port security, but teach nothing and are not answered. What a host can read and this
//! gateway cannot, a message behind more extension headers than are walked, is dropped: a claim could be in it.
//! Read first: RFC 826, RFC 5227 §1.1 and §2.4, RFC 4861 §7.2, RFC 9161 §3.1 and §3.5, RFC 7513 §7 (DHCP).

use super::counters::{DropReason, Event};
use super::decide::Decision;
use super::guard::{Title, title};
use super::learn::Fact;
use super::meter::{Class, Remark};
use super::notice::{Happening, Notice, Whereabouts};
use super::parse::{self, Note, Parsed};
use super::pipeline::Gateway;
use crate::tables::{BindOutcome, Binding, BridgeId, BridgeSettings, Manners, PortId, Snapshot};
use crate::wire::{
    Arp, ArpOperation, Dhcp4, Dhcp6, Icmpv6Type, IpProtocol, Ipv4, Ipv6, MAX_DHCP6_ADDRESSES, MacAddr, Malformed, Nd,
    Udp, is_router_solicitation, solicited_node,
};
use crate::{Frame, Time};
use core::net::{IpAddr, Ipv6Addr};

/// Bindings that may still be offered to the other workers in a tick, so that a storm of claims leaves room for MACs, and
/// one bridge's storm leaves room for the others'.
pub(super) struct Allowance {
    left: u16,
    /// By the lowest bits of a bridge's number.
    shares: [u8; Self::SHARES],
}

impl Allowance {
    /// Of all bridges.
    const ALL: u16 = 256;
    /// Of one: an eighth.
    const EACH: u8 = 32;
    const SHARES: usize = 64;

    /// What there is at the beginning of a tick.
    pub(super) const fn new() -> Self {
        Self { left: Self::ALL, shares: [Self::EACH; Self::SHARES] }
    }

    /// What a bridge has left.
    fn of(&self, bridge: BridgeId) -> u16 {
        self.left.min(self.shares[bridge.index() % Self::SHARES].into())
    }

    /// One less for a bridge that has some left.
    fn take(&mut self, bridge: BridgeId) {
        self.left = self.left.saturating_sub(1);
        let share = &mut self.shares[bridge.index() % Self::SHARES];
        *share = share.saturating_sub(1);
    }
}

/// Somebody has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claim {
    address: IpAddr,
    mac: MacAddr,
    /// Whether it counts against what is known.
    overrides: bool,
    manners: Option<Manners>,
    /// Whether the claimant itself says so.
    by_itself: bool,
    /// Whether it only confirms what is known: the MAC is not in the message, but where it came from.
    confirms: bool,
}

impl Claim {
    fn new(address: impl Into<IpAddr>, mac: MacAddr) -> Self {
        Self { address: address.into(), mac, overrides: true, manners: None, by_itself: true, confirms: false }
    }
}

/// What a message is, besides what it claims.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    /// To everybody: who has that?
    Question,
    /// To everybody: somebody has that.
    Announcement,
    /// Is there a router?
    SeeksRouter,
    /// Here is a router.
    Router,
    /// Nothing that is not simply forwarded.
    #[default]
    Other,
}

/// What a frame says.
#[derive(Debug, Default)]
struct Said {
    claims: heapless::Vec<Claim, MAX_DHCP6_ADDRESSES>,
    kind: Kind,
    /// The address that is asked for, be it of everybody or of one host.
    asks: Option<IpAddr>,
}

impl Said {
    fn new(claim: Option<Claim>, kind: Kind) -> Self {
        Self { claims: claim.into_iter().collect(), kind, asks: None }
    }

    fn asking(self, asks: Option<IpAddr>) -> Self {
        Self { asks, ..self }
    }
}

/// Whether it is an address that one host can have.
pub(super) fn is_a_hosts(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !matches!(v4.octets()[0], 0 | 127 | 224..),
        IpAddr::V6(v6) => {
            !(v6.is_multicast() || v6.is_unspecified() || v6.is_loopback()) && v6.to_ipv4_mapped().is_none()
        }
    }
}

impl<F: Frame> Gateway<F> {
    /// The step, for one frame that is noted. Its lane keeps a note only if it is a question that may be answered, or an
    /// announcement that was let in.
    #[cold]
    pub(super) fn examine(
        &mut self,
        snapshot: &Snapshot,
        now: Time,
        port: PortId,
        frame: &mut F,
        lane: &mut Parsed,
    ) -> Decision {
        self.judge(snapshot, now, port, frame, lane).unwrap_or_else(Decision::Drop)
    }

    fn judge(
        &mut self,
        snapshot: &Snapshot,
        now: Time,
        port: PortId,
        frame: &mut F,
        lane: &mut Parsed,
    ) -> Result<Decision, DropReason> {
        let note = core::mem::take(&mut lane.inner.note);
        let settings = &snapshot.bridge(lane.bridge).ok_or(DropReason::UnknownVlan)?.settings;
        let end = lane.end as usize;
        // All of it is needed where more than fixed headers is read.
        let whole = matches!(note, Note::Nd | Note::Dhcp) || lane.inner.ip_version == 6;
        if whole && frame.head().len() < end && !frame.pull(end) {
            return Err(DropReason::NoHeadroom);
        }
        let head = frame.head();
        let head = &head[..head.len().min(end)];
        let said = read(head, lane, note)?;
        let scene = Scene { snapshot, settings, bridge: lane.bridge, port, now };
        let ours = is_of_the_bridge(head, lane);
        self.check(&scene, head, lane, &said, ours)?;
        if note == Note::None || !ours {
            return Ok(Decision::Open);
        }
        // Nobody else has a gateway's MAC: what says so teaches no address either.
        if lane.gate.is_any() && self.is_a_gateways(snapshot, lane) {
            return Err(DropReason::SourceMac);
        }
        // What moves a binding is an announcement, in whatever words: to all workers it is.
        let announces = said.kind == Kind::Announcement || said.claims.iter().any(|claim| self.moves(&scene, claim));
        if announces && !self.admit(settings, lane.bridge, port, Class::Announcement, now) {
            return Err(DropReason::Storm);
        }
        for claim in &said.claims {
            self.claim(&scene, claim);
        }
        // The gateway's own affairs end here, whoever else may hear them: its addresses are asked for, and its routers.
        if said.asks.is_some_and(|target| snapshot.interface_at(lane.bridge, target).is_some()) {
            // It may be the first that is heard of a host, and the packets that it asks for come to its MAC.
            self.learn_noted(snapshot, lane, port, now)?;
            lane.inner.note = note;
            return Ok(Decision::Suppress);
        }
        match said.kind {
            Kind::SeeksRouter if snapshot.interfaces_of(lane.bridge).any(|(_, i)| i.advertise.is_some()) => {
                self.learn_noted(snapshot, lane, port, now)?;
                return Ok(Decision::Advertise);
            }
            Kind::Router if lane.gate.is_any() && is_of_a_gateway(snapshot, lane) => {
                return Err(DropReason::RouterElsewhere);
            }
            _ => {}
        }
        let to_us = snapshot.ports().iter().any(|p| p.mac.to_bits() == lane.to & MAC)
            || lane.gate.is_any() && self.is_own(snapshot, lane.bridge, lane.to);
        if to_us && !said.claims.is_empty() {
            // Another worker may have asked.
            let asked_for_a_router = lane.gate.is_any();
            for claim in said.claims.iter().filter(|_| asked_for_a_router) {
                self.offer_binding(lane.bridge, claim.address, now.seconds());
            }
            // The answer to a probe, which is for nobody else; what is for everybody goes on even if it is one (RFC 4861
            // §7.2.4). It is the only frame of a quiet host's: its MAC must not age either.
            self.learn_noted(snapshot, lane, port, now)?;
            return Ok(Decision::Consume);
        }
        lane.inner.note = match said.kind {
            Kind::Question => note,
            Kind::Announcement => Note::Announced,
            Kind::Other | Kind::SeeksRouter | Kind::Router => Note::None,
        };
        Ok(Decision::Open)
    }

    /// Learns the source of a frame that goes no further.
    fn learn_noted(
        &mut self,
        snapshot: &Snapshot,
        lane: &mut Parsed,
        port: PortId,
        now: Time,
    ) -> Result<bool, DropReason> {
        lane.from_hash = snapshot.secret().hash(lane.from);
        self.learn(snapshot, lane, port, now)
    }

    /// Whether a frame comes from a MAC of this gateway's, or, without a tunnel, of another's.
    fn is_a_gateways(&self, snapshot: &Snapshot, lane: &Parsed) -> bool {
        let is_dvr = || !lane.tunnel && snapshot.is_dvr_mac(MacAddr::from_bits(lane.from));
        self.is_own(snapshot, lane.bridge, lane.from) || is_dvr()
    }

    /// Whether all that a frame says of its sender is so. If not, that is said once a second.
    fn check(
        &mut self,
        scene: &Scene<'_>,
        head: &[u8],
        lane: &Parsed,
        said: &Said,
        ours: bool,
    ) -> Result<(), DropReason> {
        let &Scene { snapshot, settings, bridge, port, now } = scene;
        // What another gateway has routed, it has judged.
        let secure = lane.secure && !is_of_a_gateway(snapshot, lane);
        let is_false = |c: &&Claim| {
            (ours || lane.secure) && title(snapshot, bridge, c.mac, c.address) == Title::None
                || secure && c.by_itself && !self.lives_at(snapshot, c.mac, lane)
        };
        let claim = said.claims.iter().find(is_false).copied();
        let verdict = match claim {
            Some(_) => Err(DropReason::Spoofed),
            None if secure => self.guard(snapshot, head, lane),
            None => Ok(()),
        };
        if verdict == Err(DropReason::Spoofed) && self.meter.may_say(Remark::Spoofed, bridge, port, settings, now) {
            let at = Some(Whereabouts { segment: lane.place.segment(), peer: self.origin(snapshot, lane) });
            let mac = claim.map_or(MacAddr::from_bits(lane.from), |c| c.mac);
            let (address, port) = (claim.map(|c| c.address), Some(port));
            self.notices.note(|| Notice { address, at, port, ..Notice::of(Happening::Spoofed, bridge, mac) });
        }
        verdict
    }

    /// What is known of an address that is claimed, and whether the claim counts against that.
    fn weigh(&self, scene: &Scene<'_>, claim: &Claim) -> (Option<Binding>, bool) {
        let &Scene { snapshot, bridge, now, .. } = scene;
        let Claim { address, mac, .. } = *claim;
        let is_routed = snapshot.bridge(bridge).is_some_and(|bridge| bridge.gate.is_any());
        let is_ours = snapshot.ports().iter().any(|port| port.mac == mac)
            || is_routed && self.is_own(snapshot, bridge, mac.to_bits());
        if !mac.is_source() || !is_a_hosts(address) || is_ours {
            return (None, false);
        }
        let known = self.bindings.get(bridge, address, now.seconds());
        let holder = known.filter(|k| title(snapshot, bridge, k.mac, address) != Title::None).map(|k| k.mac);
        let holder = holder.or_else(|| snapshot.owner(bridge, address).flatten());
        let counts = match holder {
            Some(holder) if holder != mac => claim.overrides && claim.by_itself,
            Some(_) => claim.by_itself,
            None => !claim.confirms,
        };
        (known, counts)
    }

    /// Whether a claim takes an address from who was learned to have it.
    fn moves(&self, scene: &Scene<'_>, claim: &Claim) -> bool {
        matches!(self.weigh(scene, claim), (Some(known), true) if known.mac != claim.mac)
    }

    /// Learns what is claimed, which the claimant may.
    fn claim(&mut self, scene: &Scene<'_>, claim: &Claim) {
        let &Scene { snapshot, settings, bridge, port, now } = scene;
        let Claim { address, mac, manners, .. } = *claim;
        let (known, counts) = self.weigh(scene, claim);
        let owner = snapshot.owner(bridge, address);
        let is_own = owner == Some(Some(mac));
        // What the configuration says needs no learning, but for what it does not say: whether a router is meant.
        let is_news = !is_own || known.is_some() || manners.is_some() && is_link_local(address);
        if !(counts && is_news) {
            return;
        }
        let seconds = now.seconds();
        // There are no more of these than are configured: they need no limit, and must not be kept from moving by others.
        let limit = if owner.is_some() { u32::MAX } else { settings.binding_limit };
        let overrides_owner = owner.flatten().is_some_and(|owner| owner != mac);
        let first = u32::from(overrides_owner);
        let notice = |what| Notice { address: Some(address), port: Some(port), ..Notice::of(what, bridge, mac) };
        match self.bindings.learn((bridge, address, mac), manners, first, seconds, limit) {
            BindOutcome::New if !overrides_owner => {
                self.counters.count(Event::BindingLearned);
                self.notices.note(|| notice(Happening::BindingLearned));
                self.offer_binding(bridge, address, seconds);
            }
            BindOutcome::New | BindOutcome::Moved(_) => {
                self.counters.count(Event::BindingMoved);
                self.notices.note(|| notice(Happening::BindingMoved));
                self.offer_binding(bridge, address, seconds);
            }
            BindOutcome::Same(before) => {
                let since = ((seconds >> 4) as u8).wrapping_sub(before.told);
                // Four times within the ageing time, so that the others' do not age; and what was not heard for as long,
                // whatever a clock says that begins anew every 4096 s.
                let due = u16::from(since) >= (settings.binding_ageing / 64).clamp(1, 128)
                    || before.age >= (settings.binding_ageing / 4).clamp(1, 2048);
                let news = manners.is_some_and(|manners| manners != before.manners);
                // Who looked after it until now may have asked, and waits for this.
                if due || news || before.probes > 0 || !before.own {
                    self.offer_binding(bridge, address, seconds);
                }
            }
            BindOutcome::OverLimit => {
                self.counters.count(Event::BindingLimit);
                if self.meter.may_say(Remark::BindingLimit, bridge, port, settings, now) {
                    self.notices.note(|| notice(Happening::BindingLimit));
                }
            }
            BindOutcome::Full => self.counters.count(Event::BindingTableFull),
            BindOutcome::Outdated => {}
        }
        // What found no room is not known.
        if self.bindings.get(bridge, address, seconds).is_some_and(|known| known.mac == mac) {
            self.host_confirmed(bridge, address, mac, now);
        }
    }

    /// Offers a binding to the other workers; if there is no room now, soon.
    pub(super) fn offer_binding(&mut self, bridge: BridgeId, address: IpAddr, now: u64) {
        if !self.shared {
            return;
        }
        let Some(binding) = self.bindings.get(bridge, address, now) else { return };
        let Binding { mac, sequence, manners, .. } = binding;
        let told = self.binding_offers.of(bridge) > 0
            && self.push_offer(Fact::Binding { bridge, address, mac, sequence, manners });
        if told {
            self.binding_offers.take(bridge);
        }
        self.bindings.set_told(bridge, address, told, now);
    }

    /// Takes over what another worker learned of an address.
    pub(super) fn binding_elsewhere(&mut self, snapshot: &Snapshot, fact: Fact, now: Time) {
        let (time, now) = (now, now.seconds());
        match fact {
            Fact::Binding { bridge, address, mac, sequence, manners } => {
                let Some(settings) = snapshot.bridge(bridge).map(|b| b.settings) else { return };
                if title(snapshot, bridge, mac, address) == Title::None {
                    return;
                }
                let limited = snapshot.owner(bridge, address).is_none();
                let limit = if limited { settings.binding_limit } else { u32::MAX };
                let limits = (limit, settings.binding_ageing);
                match self.bindings.hear((bridge, address, mac), manners, sequence, now, limits) {
                    BindOutcome::OverLimit => self.counters.count(Event::BindingLimit),
                    BindOutcome::Full => self.counters.count(Event::BindingTableFull),
                    // The worker that saw it has counted it.
                    BindOutcome::New | BindOutcome::Moved(_) | BindOutcome::Same(_) => {
                        self.host_confirmed(bridge, address, mac, time);
                    }
                    BindOutcome::Outdated => {}
                }
            }
            Fact::BindingGone { bridge, address, mac, sequence } => {
                self.bindings.unhear(bridge, address, mac, sequence, now);
            }
            Fact::Mac { .. } | Fact::Frozen { .. } | Fact::Neighbour { .. } => {}
        }
    }
}

/// Whether a frame came from another gateway that routed it: in a tunnel, from a DVR MAC.
pub(super) fn is_of_a_gateway(snapshot: &Snapshot, p: &Parsed) -> bool {
    p.tunnel && snapshot.is_dvr_mac(MacAddr::from_bits(p.from))
}

/// In a key, the MAC.
const MAC: u64 = (1 << 48) - 1;

/// Where and when something is said.
struct Scene<'a> {
    snapshot: &'a Snapshot,
    settings: &'a BridgeSettings,
    bridge: BridgeId,
    port: PortId,
    now: Time,
}

pub(super) fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// Whether a frame is of its bridge's own broadcast domain: its tags, if it has any, name no VLAN (IEEE 802.1Q §9.6).
fn is_of_the_bridge(head: &[u8], p: &Parsed) -> bool {
    let at = usize::from(p.rest_at);
    let between = head.get(at..at + usize::from(p.inner.ip_at)).unwrap_or(&[]);
    // EtherType, then tag and EtherType behind it, as often as there are tags.
    between.get(2..).unwrap_or(&[]).chunks_exact(4).all(|tag| u16::from_be_bytes([tag[0], tag[1]]) & 0xfff == 0)
}

/// What a frame says, of which `head` is all that is needed.
fn read(head: &[u8], p: &Parsed, note: Note) -> Result<Said, DropReason> {
    let at = usize::from(p.rest_at) + usize::from(p.inner.ip_at);
    let message = head.get(at..).unwrap_or(&[]);
    let to_all = parse::is_group(p.to);
    match note {
        Note::None | Note::Announced => Ok(Said::default()),
        Note::Arp => arp(message, to_all),
        Note::Nd => nd(message, MacAddr::from_bits(p.from), to_all, p.secure),
        Note::Dhcp if p.inner.ip_version == 4 => Ok(Said::new(dhcp4(message), Kind::Other)),
        Note::Dhcp => Ok(Said { claims: dhcp6(message, MacAddr::from_bits(p.to)), ..Said::default() }),
    }
}

fn arp(message: &[u8], to_all: bool) -> Result<Said, DropReason> {
    let (arp, _) = Arp::parse(message).map_err(|_| DropReason::MalformedArp)?;
    let asks = arp.operation() == ArpOperation::REQUEST;
    if !asks && arp.operation() != ArpOperation::REPLY {
        return Ok(Said::default());
    }
    let claim = (!arp.sender_ip().is_unspecified()).then(|| Claim::new(arp.sender_ip(), arp.sender_mac()));
    let kind = match asks {
        _ if !to_all => Kind::Other,
        true if !arp.is_announcement() => Kind::Question,
        _ => Kind::Announcement,
    };
    let target = (asks && !arp.is_announcement()).then(|| arp.target_ip().into());
    Ok(Said::new(claim, kind).asking(target))
}

/// The upper layer's message of a whole IPv6 packet, if it can be found.
pub(super) fn ipv6_message(packet: &[u8]) -> Option<(Ipv6<'_>, IpProtocol, &[u8])> {
    let (ip, payload) = Ipv6::parse(packet).ok()?;
    let upper = ip.upper(payload).ok().filter(|upper| upper.fragment.is_none())?;
    Some((ip, upper.protocol, payload.get(upper.offset..)?))
}

fn nd(packet: &[u8], from: MacAddr, to_all: bool, secure: bool) -> Result<Said, DropReason> {
    let Some((ip, protocol, message)) = ipv6_message(packet) else {
        // A fragment, which hosts take no claims from (RFC 6980 §5), a chain of headers that ends nowhere, or one that
        // only hosts walk to its end.
        let walked = Ipv6::parse(packet).and_then(|(ip, payload)| ip.upper(payload));
        return match walked {
            _ if secure => Err(DropReason::Spoofed),
            Err(Malformed::TooManyExtensions) => Err(DropReason::MalformedIpv6),
            Ok(_) | Err(_) => Ok(Said::default()),
        };
    };
    let kind = message.first().map(|kind| Icmpv6Type(*kind));
    let (source, destination) = (ip.source(), ip.destination());
    match kind.filter(|_| protocol == IpProtocol::ICMPV6) {
        Some(Icmpv6Type::NEIGHBOUR_SOLICITATION | Icmpv6Type::NEIGHBOUR_ADVERTISEMENT) => {}
        Some(Icmpv6Type::ROUTER_ADVERTISEMENT) => return Ok(Said::new(None, Kind::Router)),
        Some(Icmpv6Type::ROUTER_SOLICITATION) => {
            // One that hosts' routers would not take is forwarded like anything else.
            let valid = is_router_solicitation(source, destination, ip.hop_limit(), message);
            let said = |mac: Option<MacAddr>| Said::new(mac.map(|mac| Claim::new(source, mac)), Kind::SeeksRouter);
            return Ok(valid.map(said).unwrap_or_default());
        }
        _ => return Ok(Said::default()),
    }
    let nd = Nd::parse(source, destination, ip.hop_limit(), message).map_err(|_| DropReason::MalformedNd)?;
    Ok(match nd {
        Nd::Solicitation { target, source_mac } => {
            let claim = source_mac.map(|mac| Claim::new(source, mac));
            let asks = to_all && destination == solicited_node(target);
            Said::new(claim, if asks { Kind::Question } else { Kind::Other }).asking(Some(target.into()))
        }
        // The answer to a question to one host may leave out what the asker knows (RFC 4861 §4.4 and §7.2.5).
        Nd::Advertisement { target, target_mac: None, solicited: true, .. } if !to_all => {
            let claim = Claim { overrides: false, confirms: true, ..Claim::new(target, from) };
            Said::new(Some(claim), Kind::Other)
        }
        Nd::Advertisement { target, target_mac, router, override_, .. } => {
            let manners = Some(Manners { router: Some(router), yields: !override_ });
            let claim = target_mac.map(|mac| Claim { overrides: override_, manners, ..Claim::new(target, mac) });
            Said::new(claim, if to_all { Kind::Announcement } else { Kind::Other })
        }
    })
}

/// What a DHCP server gives to a client.
fn dhcp4(packet: &[u8]) -> Option<Claim> {
    let (ip, payload) = Ipv4::parse(packet).ok()?;
    if ip.protocol() != IpProtocol::UDP || ip.fragment().is_fragment() {
        return None;
    }
    let (_, payload) = Udp::parse(payload).ok()?;
    let dhcp = Dhcp4::parse(payload).ok().filter(|dhcp| dhcp.is_ack() && !dhcp.yiaddr.is_unspecified())?;
    Some(Claim { by_itself: false, ..Claim::new(dhcp.yiaddr, dhcp.chaddr) })
}

/// The same of DHCPv6, whose clients are known only by where the frame goes.
fn dhcp6(packet: &[u8], to: MacAddr) -> heapless::Vec<Claim, MAX_DHCP6_ADDRESSES> {
    let message = ipv6_message(packet).filter(|(_, protocol, _)| *protocol == IpProtocol::UDP && !to.is_multicast());
    let dhcp = message.and_then(|(.., datagram)| Udp::parse(datagram).ok()).and_then(|(_, p)| Dhcp6::parse(p).ok());
    let given = dhcp.map(|dhcp| dhcp.addresses).unwrap_or_default();
    let claim = |address: Ipv6Addr| Claim { by_itself: false, ..Claim::new(address, to) };
    given.iter().filter(|given| given.valid > 0).map(|given| claim(given.address)).collect()
}
