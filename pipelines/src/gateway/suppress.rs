//! Suppress: questions who has an address, answered where they come in, by what is known.
//!
//! The answer is the owner's: its MAC in the message and as the frame's source, so that switches towards the asker learn
//! nothing that is not so: frames to the owner do come here. Answered is only what this gateway would forward: if the
//! owner is where the question came from, or in the same mesh, it hears the question itself, and one answer is enough; if
//! its MAC is not known, or too old, it may be gone. Questions to one host, which test whether it is there (RFC 4861
//! §7.3), are forwarded. Those for link-local addresses are answered only once the owner has said whether it is a router:
//! who is told that its router is none takes it off its list (RFC 4861 §7.2.5).
//! Where questions for unknown addresses are dropped, an address that an allowed pair names by itself is known to be
//! somebody's, and asked for; of one that only a prefix covers nothing is known before its holder has announced it.
//! Read first: RFC 826, RFC 5227 §2.1, RFC 4861 §7.2.4, RFC 9161 §3.2, RFC 7432 §10.

use super::counters::{DropReason, Event};
use super::decide::Decision;
use super::guard::{Title, title};
use super::parse::{Note, Parsed};
use super::pipeline::{Gateway, Turn};
use super::snoop;
use super::trace::Step;
use crate::tables::{BridgeId, Manners, Place, Snapshot, mac_key};
use crate::wire::{ALL_NODES, Arp, ArpHeader, MacAddr, NaPacket, Nd, TrafficClass, multicast_mac};
use crate::{Egress, Frame, Pool};
use core::net::{IpAddr, Ipv6Addr};

/// What is asked.
#[derive(Clone, Copy)]
enum Question {
    /// By ARP.
    Arp(ArpHeader),
    /// By a solicitation: from where, and for what.
    Nd { asker: Ipv6Addr, target: Ipv6Addr },
}

impl Question {
    fn target(&self) -> IpAddr {
        match self {
            Self::Arp(message) => message.target_ip.into(),
            Self::Nd { target, .. } => (*target).into(),
        }
    }

    /// What a frame asks that was examined before.
    fn read(head: &[u8], p: &Parsed) -> Option<Self> {
        let at = usize::from(p.rest_at) + usize::from(p.inner.ip_at);
        let message = head.get(at..p.end as usize)?;
        if p.inner.note == Note::Arp {
            return Arp::parse(message).ok().map(|(arp, _)| Self::Arp(arp.header()));
        }
        let (ip, _, message) = snoop::ipv6_message(message)?;
        match Nd::parse(ip.source(), ip.destination(), ip.hop_limit(), message).ok()? {
            Nd::Solicitation { target, .. } => Some(Self::Nd { asker: ip.source(), target }),
            Nd::Advertisement { .. } => None,
        }
    }
}

impl<F: Frame> Gateway<F> {
    /// The step, for one frame that is a question, or an announcement: that goes to everybody.
    #[cold]
    pub(super) fn suppress<P, E>(&mut self, turn: &mut Turn<'_, P, E>, frame: F, p: &Parsed)
    where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        if p.inner.note == Note::Announced {
            return self.flood_admitted(turn, frame, p);
        }
        let settings = turn.snapshot.bridge(p.bridge).map(|b| b.settings);
        let (Some(settings), Some(question)) = (settings, Question::read(frame.head(), p)) else {
            return self.proceed(turn, frame, p);
        };
        if let Some((ix, interface)) = turn.snapshot.interface_at(p.bridge, question.target()) {
            self.note(|_| Step::Interface(ix));
            let manners = Manners { router: Some(true), yields: false };
            let mac = interface.mac;
            // Without a number for who asks, not even then does it go on to others.
            if self.back(turn.snapshot, p).is_none() {
                return self.refuse(turn.port, frame, DropReason::PeerGone);
            }
            return self.answer(turn, frame, p, &question, (mac, manners));
        }
        if F::TRACED {
            self.note_owner(turn.snapshot, p.bridge, question.target(), turn.now);
        }
        match self.owner(turn.snapshot, p.bridge, question.target(), turn.now.seconds()) {
            // An address that is set aside for some may be anywhere among them until one has announced it.
            None if !settings.flood_unknown_target && turn.snapshot.owner(p.bridge, question.target()).is_none() => {
                self.refuse(turn.port, frame, DropReason::UnknownTarget);
            }
            Some((mac, manners)) if settings.suppress && self.is_to_be_answered(turn, p, &question, mac, manners) => {
                self.answer(turn, frame, p, &question, (mac, manners));
            }
            _ => self.proceed(turn, frame, p),
        }
    }

    /// Sends a frame on as if nobody had looked.
    fn proceed<P, E>(&mut self, turn: &mut Turn<'_, P, E>, frame: F, p: &Parsed)
    where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        let decision = self.decide(turn.snapshot, p, turn.now.seconds());
        if F::TRACED {
            self.note_lookup(turn.snapshot, p, turn.now);
        }
        self.carry_out(turn, frame, p, decision);
    }

    /// Who has an address: who was learned to have it, if it still may; else whose it is.
    pub(super) fn owner(
        &self,
        snapshot: &Snapshot,
        bridge: BridgeId,
        address: IpAddr,
        now: u64,
    ) -> Option<(MacAddr, Manners)> {
        let learned = self.bindings.get(bridge, address, now);
        let learned = learned.filter(|b| title(snapshot, bridge, b.mac, address) != Title::None);
        let configured = || snapshot.owner(bridge, address).flatten().map(|mac| (mac, Manners::default()));
        learned.map(|b| (b.mac, b.manners)).or_else(configured)
    }

    /// Whether this gateway is to answer a question about an address that `mac` has.
    fn is_to_be_answered<P, E>(
        &self,
        turn: &Turn<'_, P, E>,
        p: &Parsed,
        question: &Question,
        mac: MacAddr,
        manners: Manners,
    ) -> bool {
        let snapshot = turn.snapshot;
        let asks_of_itself = match question {
            Question::Arp(message) => message.sender_mac == mac || !message.sender_mac.is_source(),
            Question::Nd { .. } => false,
        };
        if asks_of_itself || mac == MacAddr::from_bits(p.from) {
            return false;
        }
        if snoop::is_link_local(question.target()) && manners.router.is_none() {
            return false;
        }
        let to = mac_key(p.bridge, mac);
        let towards = Parsed { to, to_hash: snapshot.secret().hash(to), ..*p };
        matches!(self.decide(snapshot, &towards, turn.now.seconds()), Decision::Forward(..))
    }

    /// Makes a question its answer, and sends it back to where it came from.
    fn answer<P, E>(
        &mut self,
        turn: &mut Turn<'_, P, E>,
        mut frame: F,
        p: &Parsed,
        question: &Question,
        (mac, manners): (MacAddr, Manners),
    ) where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        // A peer that had no number has one since its MAC was learned, unless none was left.
        let peer = self.origin(turn.snapshot, p).and_then(|peer| self.peers.find(turn.snapshot, peer));
        if p.tunnel && peer.is_none() {
            return self.proceed(turn, frame, p);
        }
        let back = Place::new(p.place.segment(), peer);
        self.note(|_| Step::Answered { address: question.target(), mac });
        let mut lane = Parsed { to: p.from, from: mac_key(p.bridge, mac), ecn: None, ..*p };
        lane.inner.class = TrafficClass::default();
        let at = usize::from(p.rest_at) + usize::from(p.inner.ip_at);
        let is_gateways = turn.snapshot.interface_at(p.bridge, question.target()).is_some();
        match *question {
            Question::Arp(message) => {
                if let Some(place) = frame.head_mut().get_mut(at..).and_then(|bytes| bytes.first_chunk_mut()) {
                    message.reply(mac).write(place);
                }
                self.counters.count(if is_gateways { Event::ArpAnswered } else { Event::ArpSuppressed });
            }
            Question::Nd { asker, target } => {
                let len = p.end as usize - at;
                if len < NaPacket::LEN && !lengthen(&mut frame, p, NaPacket::LEN - len) {
                    return self.refuse(turn.port, frame, DropReason::NoHeadroom);
                }
                let (router, override_) = (manners.router == Some(true), !manners.yields);
                let answer = NaPacket { router, override_, ..NaPacket::answer(asker, target, mac) };
                if let Some(place) = frame.head_mut().get_mut(at..).and_then(|bytes| bytes.first_chunk_mut()) {
                    answer.write(place);
                }
                lane.end = (at + NaPacket::LEN) as u32;
                if asker.is_unspecified() {
                    lane.to = mac_key(p.bridge, multicast_mac(ALL_NODES));
                }
                self.counters.count(if is_gateways { Event::NdAnswered } else { Event::NdSuppressed });
            }
        }
        self.forward(turn, frame, &lane, back);
    }
}

/// Makes a frame longer by a few bytes behind its IP header, which stays where it is, counted from the front: what is in
/// front of the EtherType is written anew anyway. False if there is no room.
fn lengthen<F: Frame>(frame: &mut F, p: &Parsed, more: usize) -> bool {
    let Some(head) = frame.prepend(more) else { return false };
    let from = usize::from(p.rest_at) + more;
    let until = from + usize::from(p.inner.ip_at);
    if until > head.len() {
        return false;
    }
    head.copy_within(from..until, usize::from(p.rest_at));
    true
}
