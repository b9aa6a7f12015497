//! Words: what a trace found, by the names that an operator gave.
//!
//! Owns: which object a step used, and a sentence for each. How many steps and frames are shown is bounded; the others are counted.

use super::super::configuration::Configuration;
use super::summary;
use std::collections::HashMap;
use std::net::IpAddr;
use weir_api::id::{IpPrefix, Location, Name, SegmentId};
use weir_api::object::{Key, Kind};
use weir_api::trace::{AnyMac, LeavingFrame, Outcome, StepName, TraceStep, Traced, hex};
use weir_api::view;
use weir_pipelines::gateway::{Class, DropReason, Headers, Source, Step, Traced as Path, Verdict, Whereabouts};
use weir_pipelines::tables::{BridgeId, InterfaceIx, NeighbourState, PortId, RouterIx, SegmentIx, Target};
use weir_pipelines::wire::{IcmpError, MacAddr};

/// So many frames are shown.
const FRAMES: usize = 64;

/// Puts what was found in words. `None` if the port has no name, as every port has.
pub(super) fn answer(configuration: &Configuration, port: PortId, frame: &[u8], path: Path) -> Option<Traced> {
    let names = Names::of(configuration);
    let (outcome, reason) = outcome(&path);
    let shown = path.frames.iter().take(FRAMES);
    let leaving = |(port, bytes): &(PortId, Vec<u8>)| {
        let (length, summary, bytes) = (bytes.len(), summary::frame(bytes), hex(bytes));
        Some(LeavingFrame { port: names.port(*port)?, length, summary, bytes })
    };
    Some(Traced {
        generation: configuration.generation(),
        port: names.port(port)?,
        frame: hex(frame),
        steps: path.steps.iter().map(|step| names.step(step)).collect(),
        more_steps: path.more as u64,
        frames: shown.filter_map(leaving).collect(),
        more_frames: path.frames.len().saturating_sub(FRAMES) as u64,
        outcome,
        reason: reason.map(|reason| reason.as_str().to_owned()),
    })
}

/// What became of the frame itself, whatever else left because of it.
fn outcome(path: &Path) -> (Outcome, Option<DropReason>) {
    let has = |is: fn(&Step) -> bool| path.steps.iter().any(is);
    let reason = path.steps.iter().rev().find_map(|step| match step {
        Step::Dropped { reason, .. } => Some(*reason),
        _ => None,
    });
    if path.held > 0 {
        return (Outcome::Waits, None);
    }
    if has(|step| matches!(step, Step::Told(_))) || path.frames.is_empty() && reason.is_some() {
        return (Outcome::Dropped, reason);
    }
    if has(|step| matches!(step, Step::Consumed)) {
        return (Outcome::Consumed, None);
    }
    let last = path.steps.iter().rev().find_map(|step| match step {
        Step::Decided(verdict) => Some(*verdict),
        _ => None,
    });
    let answers = matches!(last, Some(Verdict::Local | Verdict::Gateway | Verdict::Advertise));
    if answers || has(|step| matches!(step, Step::Answered { .. })) {
        return (Outcome::Answered, None);
    }
    (Outcome::Forwarded, None)
}

/// What numbers are called.
struct Names<'a> {
    configuration: &'a Configuration,
    ports: &'a [Name],
    bridges: HashMap<BridgeId, Name>,
    segments: HashMap<SegmentIx, SegmentId>,
    routers: HashMap<RouterIx, Name>,
    interfaces: HashMap<InterfaceIx, (Name, Name)>,
}

/// A step without anything but its name.
fn bare(step: StepName, text: impl Into<String>) -> TraceStep {
    TraceStep {
        step,
        object: None,
        port: None,
        bridge: None,
        location: None,
        mac: None,
        address: None,
        source: None,
        reason: None,
        text: text.into(),
    }
}

fn key(kind: Kind, id: impl ToString) -> Option<Key> {
    Some(Key { kind, id: id.to_string() })
}

fn source(source: Source) -> Option<view::Source> {
    match source {
        Source::Configured => Some(view::Source::Configured),
        Source::Learned => Some(view::Source::Learned),
        Source::Unknown => None,
    }
}

fn mac(mac: MacAddr) -> Option<AnyMac> {
    Some(AnyMac(mac.0))
}

impl<'a> Names<'a> {
    fn of(configuration: &'a Configuration) -> Self {
        let translator = configuration.translator();
        Self {
            configuration,
            ports: translator.ports(),
            bridges: translator.bridge_names(),
            segments: translator.segment_ids(),
            routers: translator.router_names(),
            interfaces: translator.interface_ids(),
        }
    }

    fn port(&self, port: PortId) -> Option<Name> {
        self.ports.get(port.index()).cloned()
    }

    fn bridge(&self, bridge: BridgeId) -> Option<Name> {
        self.bridges.get(&bridge).cloned()
    }

    fn location(&self, at: Whereabouts) -> Option<Location> {
        Some(Location { segment: self.segments.get(&at.segment)?.clone(), peer: at.peer.map(|peer| peer.address) })
    }

    /// A place for a sentence.
    fn place(&self, at: Whereabouts) -> String {
        self.location(at).map_or_else(|| "a place that is gone".to_owned(), |at| at.to_string())
    }

    fn interface(&self, ix: InterfaceIx) -> Option<Key> {
        let (router, bridge) = self.interfaces.get(&ix)?;
        key(Kind::Interface, format!("{router}/{bridge}"))
    }

    /// The object that says where a host is: its endpoint, or the segment that it was seen on.
    fn who(&self, bridge: BridgeId, of: MacAddr, at: Option<Whereabouts>, known: Source) -> Option<Key> {
        match known {
            Source::Configured => key(Kind::Endpoint, format!("{}/{of}", self.bridges.get(&bridge)?)),
            Source::Learned => key(Kind::Segment, self.segments.get(&at?.segment)?),
            Source::Unknown => None,
        }
    }

    fn step(&self, step: &Step) -> TraceStep {
        match *step {
            Step::Ingress { port, bridge, at } => self.ingress(port, bridge, at),
            Step::Arrived(port) => TraceStep {
                port: self.port(port),
                ..bare(StepName::Ingress, "of no segment, or for the gateway itself")
            },
            Step::Parsed(headers) => {
                TraceStep { address: headers.destination, ..bare(StepName::Parse, parsed(&headers)) }
            }
            Step::Guard { secure, refused } => guard(secure, refused),
            Step::Sender { bridge, mac: of, at, source: known } => self.sender(bridge, of, at, known),
            Step::Interface(ix) => {
                TraceStep { object: self.interface(ix), ..bare(StepName::Interface, "the router's way in") }
            }
            Step::Route { router, to, found } => self.route(router, to, found),
            Step::NextHop { interface, address } => TraceStep {
                object: self.interface(interface),
                bridge: self.interfaces.get(&interface).map(|(_, bridge)| bridge.clone()),
                address: Some(address),
                ..bare(StepName::NextHop, format!("to {address}"))
            },
            Step::Owner { bridge, address, mac: of, source: known } => self.owner(bridge, address, of, known),
            Step::Lookup { bridge, mac: of, at, source: known } => self.lookup(bridge, of, at, known),
            Step::Decided(verdict) => self.decided(verdict),
            Step::Answered { address, mac: of } => TraceStep {
                address: Some(address),
                mac: mac(of),
                ..bare(StepName::Answer, format!("{address} is at {of}, says the gateway for its owner"))
            },
            Step::Told(error) => bare(StepName::Tell, format!("its sender is told: {}", told(error))),
            Step::Towards(at) => TraceStep {
                object: self.segments.get(&at.segment).and_then(|id| key(Kind::Segment, id)),
                location: self.location(at),
                ..bare(StepName::Towards, format!("out at {}", self.place(at)))
            },
            Step::Neighbour { link, address, mac: of, state } => {
                let known = !of.is_zero();
                let text = match known {
                    true => format!("{address} is at {of}, {}", word(state)),
                    false => format!("{address} is {}", word(state)),
                };
                TraceStep {
                    port: self.port(link.port),
                    address: Some(address),
                    mac: mac(of).filter(|_| known),
                    ..bare(StepName::Neighbour, text)
                }
            }
            Step::Waits(address) => TraceStep {
                address: Some(address),
                ..bare(StepName::Wait, format!("until {address} has said what its MAC is"))
            },
            Step::Asked(address) => {
                TraceStep { address: Some(address), ..bare(StepName::Ask, format!("who has {address}?")) }
            }
            Step::Leaves { port, length } => {
                TraceStep { port: self.port(port), ..bare(StepName::Leave, format!("{length} bytes")) }
            }
            Step::Dropped { port, reason } => TraceStep {
                port: self.port(port),
                reason: Some(reason.as_str().to_owned()),
                ..bare(StepName::Drop, reason.as_str())
            },
            Step::Consumed => bare(StepName::Consume, "it has taught the gateway something, and goes no further"),
        }
    }

    fn ingress(&self, port: PortId, bridge: BridgeId, at: Whereabouts) -> TraceStep {
        let name = self.bridge(bridge);
        let into = name.as_ref().map(|name| format!("into bridge {name}")).unwrap_or_default();
        let text = match at.peer {
            Some(peer) => format!("{into}, from peer {}", peer.address),
            None => into,
        };
        TraceStep {
            object: self.segments.get(&at.segment).and_then(|id| key(Kind::Segment, id)),
            port: self.port(port),
            bridge: name,
            location: self.location(at),
            ..bare(StepName::Ingress, text)
        }
    }

    fn sender(&self, bridge: BridgeId, of: MacAddr, at: Option<Whereabouts>, known: Source) -> TraceStep {
        let text = match (at, known) {
            (Some(at), Source::Configured) => format!("{of} is configured at {}", self.place(at)),
            (Some(at), _) => format!("{of} is known to be at {}", self.place(at)),
            (None, _) => format!("{of} is not known yet"),
        };
        TraceStep {
            object: self.who(bridge, of, at, known),
            bridge: self.bridge(bridge),
            mac: mac(of),
            location: at.and_then(|at| self.location(at)),
            source: source(known),
            ..bare(StepName::Sender, text)
        }
    }

    fn lookup(&self, bridge: BridgeId, of: MacAddr, at: Option<Whereabouts>, known: Source) -> TraceStep {
        let text = match at {
            Some(at) => format!("{of} is at {}", self.place(at)),
            None => format!("nobody knows where {of} is"),
        };
        TraceStep { step: StepName::Lookup, text, ..self.sender(bridge, of, at, known) }
    }

    fn owner(&self, bridge: BridgeId, address: IpAddr, of: Option<MacAddr>, known: Source) -> TraceStep {
        let name = self.bridge(bridge);
        let text = match (of, source(known)) {
            (Some(of), Some(source)) => format!("{address} is {of}'s, {source}"),
            _ => format!("nobody is known to have {address}"),
        };
        let endpoint = of.filter(|_| known == Source::Configured).zip(name.as_ref());
        TraceStep {
            object: endpoint.and_then(|(of, name)| key(Kind::Endpoint, format!("{name}/{of}"))),
            bridge: name,
            address: Some(address),
            mac: of.and_then(mac),
            source: source(known),
            ..bare(StepName::Owner, text)
        }
    }

    fn route(&self, router: RouterIx, to: IpAddr, found: Option<(u8, Target)>) -> TraceStep {
        let name = self.routers.get(&router);
        let prefix = found.and_then(|(len, _)| IpPrefix::try_from((to, len)).ok()).map(IpPrefix::net);
        let is_configured = |prefix: &IpPrefix| {
            name.is_some_and(|name| self.configuration.desired().routing().route(name, *prefix).is_some())
        };
        let configured = prefix.filter(is_configured).zip(name);
        let route = configured.and_then(|(prefix, name)| key(Kind::Route, format!("{name}/{prefix}")));
        let shown = prefix.map(|prefix| prefix.to_string()).unwrap_or_default();
        let (object, text) = match found.map(|(_, target)| target) {
            None => (name.and_then(|name| key(Kind::Router, name)), format!("there is no route to {to}")),
            Some(Target::Local(ix)) => (self.interface(ix), format!("{to} is the router's own address")),
            Some(Target::Connected(ix)) => (self.interface(ix), format!("{shown}: the net of this interface")),
            Some(Target::Blackhole) => (route, format!("{shown}: a blackhole")),
            Some(Target::Via(ix)) => {
                let hops = self.configuration.snapshot().next_hops(ix);
                let hops: Vec<_> = hops.iter().map(|hop| hop.address.to_string()).collect();
                // Else by the gateways of external interfaces.
                let object = route.or_else(|| name.and_then(|name| key(Kind::Router, name)));
                (object, format!("{shown} by {}", hops.join(", ")))
            }
        };
        TraceStep { object, address: Some(to), ..bare(StepName::Route, text) }
    }

    fn decided(&self, verdict: Verdict) -> TraceStep {
        let at = match verdict {
            Verdict::Forward(at) | Verdict::Deliver(at) | Verdict::Route(at) => Some(at),
            _ => None,
        };
        let reason = match verdict {
            Verdict::Drop(reason) | Verdict::Refer(_, reason) => Some(reason.as_str()),
            _ => None,
        };
        let text = match verdict {
            Verdict::Forward(at) => format!("forward to {}", self.place(at)),
            Verdict::Deliver(at) => {
                format!("forward to {}, with the gateway's MAC: another gateway has routed it", self.place(at))
            }
            Verdict::Flood(Class::Unknown) => "flood: the destination is not known".to_owned(),
            Verdict::Flood(_) => "flood: it is for many".to_owned(),
            Verdict::Route(at) => format!("route to {}", self.place(at)),
            Verdict::RouteToAll(bridge) => {
                let name = self.bridge(bridge).map(|name| name.to_string()).unwrap_or_default();
                format!("route to everywhere on bridge {name}: where its destination is, is not known")
            }
            Verdict::Question => "a question or an announcement: answer it, or pass it on".to_owned(),
            Verdict::Wait => "wait: the next hop's MAC is not known".to_owned(),
            Verdict::Local => "for the gateway itself, on the underlay".to_owned(),
            Verdict::Gateway => "for the router itself".to_owned(),
            Verdict::Advertise => "it looks for routers: tell it of those that are here".to_owned(),
            Verdict::Consume => "it has done what it was for".to_owned(),
            Verdict::Refer(_, reason) => format!("drop, and tell its sender: {}", reason.as_str()),
            Verdict::Drop(reason) => format!("drop: {}", reason.as_str()),
        };
        TraceStep {
            location: at.and_then(|at| self.location(at)),
            reason: reason.map(str::to_owned),
            ..bare(StepName::Decide, text)
        }
    }
}

fn guard(secure: bool, refused: Option<DropReason>) -> TraceStep {
    let text = match (secure, refused) {
        (_, Some(reason)) => format!("its sender may not say or send that: {}", reason.as_str()),
        (true, None) => "port security: its sender is who it says".to_owned(),
        (false, None) => "its sender may say that".to_owned(),
    };
    TraceStep { reason: refused.map(|reason| reason.as_str().to_owned()), ..bare(StepName::Guard, text) }
}

/// What a frame says, in a line.
fn parsed(headers: &Headers) -> String {
    let Headers { from, to, ether_type, version, source, destination, protocol, hops, length } = *headers;
    let macs = format!("{from} > {to}");
    match (source, destination) {
        (Some(source), Some(destination)) if version > 0 => {
            let protocol = match protocol {
                1 => "icmp".to_owned(),
                6 => "tcp".to_owned(),
                17 => "udp".to_owned(),
                58 => "icmpv6".to_owned(),
                other => format!("protocol {other}"),
            };
            format!("{macs}, {source} > {destination} {protocol}, {hops} hops left, {length} bytes")
        }
        (Some(source), Some(destination)) => format!("{macs}, ARP of {source} about {destination}, {length} bytes"),
        _ => format!("{macs}, type {ether_type:#06x}, {length} bytes"),
    }
}

fn word(state: NeighbourState) -> &'static str {
    match state {
        NeighbourState::Resolving => "not known yet",
        NeighbourState::Reachable | NeighbourState::Stale => "learned",
        NeighbourState::Failed => "silent",
        NeighbourState::Permanent => "configured",
    }
}

fn told(error: IcmpError) -> String {
    match error {
        IcmpError::TimeExceeded => "time exceeded".to_owned(),
        IcmpError::NetUnreachable => "net unreachable".to_owned(),
        IcmpError::HostUnreachable => "host unreachable".to_owned(),
        IcmpError::PortUnreachable => "port unreachable".to_owned(),
        IcmpError::ProtocolUnreachable => "protocol unreachable".to_owned(),
        IcmpError::Prohibited => "prohibited".to_owned(),
        IcmpError::TooBig { mtu } => format!("too big, {mtu} bytes fit"),
    }
}
