//! Hosts whose address nobody has configured: packets wait, questions go out, and an answer, or none, ends it
//! (RFC 1812 §3.3.2 and §5.2.7.1, RFC 826, RFC 4861 §7.2).

use crate::bytes::{checksum_with, get16, octets, put16};
use crate::compare::{Seen, open, take};
use crate::facts::Facts;
use crate::model::{Case, Want, judge};
use crate::packets::{Packet, carried, header};
use crate::rng::Rng;
use crate::topology::{Place, Topology, Way};
use crate::world::World;
use std::net::{IpAddr, Ipv6Addr};
use weir_pipelines::gateway::DropReason;
use weir_pipelines::tables::BridgeId;
use weir_pipelines::wire::MacAddr;

/// One network in which one address of a host is not configured.
pub(crate) fn run(seed: u64) -> Result<usize, String> {
    let mut rng = Rng::new(seed ^ 0x5eed_0000);
    let mut world = World::new(&mut rng);
    let known = world.t.clone();
    let addressed: Vec<usize> = (0..known.hosts.len()).filter(|&h| !known.hosts[h].addresses.is_empty()).collect();
    let host = *rng.pick(&addressed);
    let address = *rng.pick(&known.hosts[host].addresses);
    let bridge = known.hosts[host].bridge;
    world.snapshot.set_owner(BridgeId(bridge as u16), address, None).expect("room");
    world.snapshot.generation += 1;
    let mut unknown = known.clone();
    unknown.hosts[host].addresses.retain(|&other| other != address);
    let waits: Vec<(Packet, Want)> = (0..800).filter_map(|_| waiting(&mut rng, &known, &unknown)).take(6).collect();
    let mut asked = Vec::new();
    for (n, (packet, _)) in waits.iter().enumerate() {
        let (port, frame) = packet.frame(&known);
        let (seen, dropped) = world.send(&mut rng, port, &[frame])?;
        if !dropped.is_empty() || world.gateway.held() != n + 1 {
            return Err(format!("dropped {dropped:?}, {} held, {packet:02x?}", world.gateway.held()));
        }
        asked.extend(seen);
    }
    if waits.is_empty() {
        return Ok(0);
    }
    let question = are_questions(&known, bridge, address, host, asked)?;
    if rng.chance(50) {
        found(&mut rng, &mut world, &known, host, address, &question, &waits)?;
    } else {
        given_up(&mut world, &known, address, &waits)?;
    }
    Ok(waits.len())
}

/// A packet that waits for exactly that address, and what becomes of it once that is known.
fn waiting(rng: &mut Rng, known: &Topology, unknown: &Topology) -> Option<(Packet, Want)> {
    let packet = Packet::random(rng, known);
    let flows = crate::model::Flows::new();
    match (judge(known, &packet, &flows), judge(unknown, &packet, &flows)) {
        (Some(wants), None) if wants.len() == 1 => Some((packet, wants.into_iter().next()?)),
        _ => None,
    }
}

/// Checks that each place of the bridge was asked once, and answers the question that the host has heard.
fn are_questions(
    t: &Topology,
    bridge: usize,
    address: IpAddr,
    host: usize,
    mut asked: Vec<Seen>,
) -> Result<Seen, String> {
    let mut heard = None;
    for (n, segment) in t.segments.iter().enumerate().filter(|(_, segment)| segment.bridge == bridge) {
        let peers =
            (0..t.peers.len()).filter(|&p| matches!(segment.way, Way::Vxlan { vtep, .. } if vtep == t.peers[p].vtep));
        let places: Vec<Place> = match segment.way {
            Way::Vlan { .. } => vec![Place { segment: n, peer: None }],
            Way::Vxlan { .. } => peers.map(|peer| Place { segment: n, peer: Some(peer) }).collect(),
        };
        for place in places {
            let at = asked.iter().position(|seen| seen.place == place).ok_or(format!("{place:?} was not asked"))?;
            let question = asked.remove(at);
            is_question(t, bridge, address, &question).map_err(|why| format!("{why}: {question:02x?}"))?;
            if place == t.hosts[host].place {
                heard = Some(question);
            }
        }
    }
    if asked.is_empty() {
        heard.ok_or("the host was not asked".into())
    } else {
        Err(format!("asked more: {asked:02x?}"))
    }
}

/// Whether a frame asks for an address, in the name of an interface of the bridge, or in a tunnel, in nobody's.
fn is_question(t: &Topology, bridge: usize, address: IpAddr, seen: &Seen) -> Result<(), String> {
    let p = &seen.payload;
    let (group, sender, target) = match address {
        IpAddr::V4(_) => (MacAddr::BROADCAST, p[14..18].to_vec(), p[24..28].to_vec()),
        IpAddr::V6(v6) => {
            let o = v6.octets();
            (MacAddr([0x33, 0x33, 0xff, o[13], o[14], o[15]]), p[8..24].to_vec(), p[48..64].to_vec())
        }
    };
    if seen.to != group || target != octets(address) {
        return Err("not to all, or not for that address".into());
    }
    if address.is_ipv4() && (p[..8] != [0, 1, 8, 0, 6, 4, 0, 1] || p[8..14] != seen.from.0) {
        return Err("no ARP request from its sender".into());
    }
    if address.is_ipv6() && (p[6..8] != [58, 255] || p[40..42] != [135, 0] || get16(p, 4) as usize + 40 != p.len()) {
        return Err("no neighbour solicitation".into());
    }
    let mut here = t.interfaces.iter().filter(|i| i.bridge.index() == bridge);
    let right = match seen.place.peer {
        Some(_) => sender.iter().all(|byte| *byte == 0) && seen.from == t.dvr_mac.unwrap_or(t.ports[0].mac),
        None => here.any(|i| i.mac == seen.from && i.addresses.iter().any(|own| octets(own.address) == sender)),
    };
    if right { Ok(()) } else { Err("in another's name".into()) }
}

/// The host answers, and what waited goes as the model says; what comes later waits no more.
fn found(
    rng: &mut Rng,
    world: &mut World,
    t: &Topology,
    host: usize,
    address: IpAddr,
    question: &Seen,
    waits: &[(Packet, Want)],
) -> Result<(), String> {
    let answer = answer(t, host, address, question);
    let (port, frame) = carried(t, t.hosts[host].place, answer, None, false, 0);
    let (mut seen, dropped) = world.send(rng, port, &[frame])?;
    world.now = world.now + 1;
    world.gateway.tick(&world.snapshot, world.now, &mut world.pool, &mut world.ports);
    for (port, frame) in world.settle() {
        seen.push(open(t, port, &frame)?);
    }
    // An answer to all nodes goes on to them.
    seen.retain(|seen| seen.payload.get(40) != Some(&136) || seen.from != t.hosts[host].mac);
    if !dropped.is_empty() {
        return Err(format!("the answer was dropped: {dropped:?}"));
    }
    for (packet, want) in waits {
        let Some(sending) = &want.sending else { continue };
        take(sending, &packet.padding, packet.priority.unwrap_or(0), &mut seen)
            .map_err(|why| format!("{why}: {want:02x?} {seen:02x?}"))?;
    }
    if !seen.is_empty() || world.gateway.held() > 0 {
        return Err(format!("{} still held, and left: {seen:02x?}", world.gateway.held()));
    }
    for (packet, want) in waits {
        let (port, frame) = packet.frame(t);
        let (mut seen, mut dropped) = world.send(rng, port, &[frame])?;
        world.find(packet, std::slice::from_ref(want), &mut seen, &mut dropped)?;
    }
    Ok(())
}

/// What the host says to a question: a frame.
fn answer(t: &Topology, host: usize, address: IpAddr, question: &Seen) -> Vec<u8> {
    let mac = t.hosts[host].mac;
    let IpAddr::V6(target) = address else {
        let mut arp = vec![0, 1, 8, 0, 6, 4, 0, 2];
        arp.extend([&mac.0[..], &octets(address), &question.payload[8..18]].concat());
        return [&question.from.0[..], &mac.0, &[0x08, 0x06], &arp].concat();
    };
    let asker = crate::bytes::address(&question.payload, 8, false);
    let nobody = asker == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let to: IpAddr = if nobody { "ff02::1".parse().expect("legal") } else { asker };
    let to_mac = if nobody { MacAddr([0x33, 0x33, 0, 0, 0, 1]) } else { question.from };
    let mut na = vec![136, 0, 0, 0, if nobody { 0x20 } else { 0x60 }, 0, 0, 0];
    na.extend(target.octets());
    na.extend([2, 1]);
    na.extend(mac.0);
    let sum = checksum_with(address, to, 58, &na);
    put16(&mut na, 2, sum);
    [&to_mac.0[..], &mac.0, &[0x86, 0xdd], &header(address, to, 58, 0, 255, &na), &na].concat()
}

/// Nobody answers: what waited is dropped, and who sent it is told, if it may be.
fn given_up(world: &mut World, t: &Topology, address: IpAddr, waits: &[(Packet, Want)]) -> Result<(), String> {
    let mut seen = Vec::new();
    let reason = DropReason::HostUnreachable;
    let before: u64 =
        (0..3).map(|port| world.gateway.counters().dropped(weir_pipelines::tables::PortId(port), reason)).sum();
    for _ in 0..50 {
        world.now = world.now + 100;
        world.gateway.tick(&world.snapshot, world.now, &mut world.pool, &mut world.ports);
        for (port, frame) in world.settle() {
            seen.push(open(t, port, &frame)?);
        }
    }
    let after: u64 =
        (0..3).map(|port| world.gateway.counters().dropped(weir_pipelines::tables::PortId(port), reason)).sum();
    if after - before != waits.len() as u64 || world.gateway.held() > 0 {
        return Err(format!("{} of {} given up", after - before, waits.len()));
    }
    // All else is questions.
    seen.retain(|seen| seen.payload[0] >> 4 != 0 && (seen.payload[0] >> 4 == 4 || seen.payload[40] != 135));
    for (packet, _) in waits {
        let class = if t.hosts[packet.host].place.peer.is_some() { packet.outer_class } else { 0 };
        let facts = Facts::read(&packet.ip, packet.ip.len() + packet.padding.len(), class).map_err(|_| "unread")?;
        let want = Case::new(t, packet, &crate::model::Flows::new(), facts).told(reason, (3, 1), (1, 3), 0);
        if let Some(sending) = &want.sending {
            take(sending, &[], 0, &mut seen)
                .map_err(|why| format!("{why}, about {address}: {want:02x?} {seen:02x?}"))?;
        }
    }
    if seen.is_empty() { Ok(()) } else { Err(format!("told more: {seen:02x?}")) }
}
