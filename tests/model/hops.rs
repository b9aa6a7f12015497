//! Flows over several next hops, by the thousand: each keeps its own, whatever is remembered of others (RFC 2992 §1).

use crate::compare::Seen;
use crate::nets::nth;
use crate::packets::{Packet, header};
use crate::rng::Rng;
use crate::topology::{Route, put_route};
use crate::world::World;
use weir_pipelines::wire::MacAddr;

/// Flows between one pair of addresses: enough that of some, 24 bits of any hash are the same.
const FLOWS: usize = 20_000;
/// Frames a burst.
const AT_ONCE: usize = 60;

/// Where each flow goes, by the MAC of its next hop, sent in this order.
fn sent(rng: &mut Rng, world: &mut World, packet: &Packet, flows: &[u32]) -> Result<Vec<MacAddr>, String> {
    let mut hops = Vec::new();
    for flows in flows.chunks(AT_ONCE) {
        let frames = flows.iter().map(|&flow| {
            let mut packet = packet.clone();
            packet.ip[20..24].copy_from_slice(&flow.to_be_bytes());
            packet.frame(&world.t)
        });
        let (ports, frames): (Vec<_>, Vec<_>) = frames.unzip();
        let (seen, dropped) = world.send(rng, ports[0], &frames)?;
        if !dropped.is_empty() || seen.len() != flows.len() {
            return Err(format!("{} of {} left: {dropped:?}", seen.len(), flows.len()));
        }
        let of = |flow: u32| seen.iter().find(|seen: &&Seen| seen.payload[20..24] == flow.to_be_bytes());
        for &flow in flows {
            hops.push(of(flow).ok_or(format!("flow {flow} did not leave"))?.to);
        }
    }
    Ok(hops)
}

/// One network with a route by four next hops, of which one goes.
pub(crate) fn run(seed: u64) -> Result<usize, String> {
    let mut rng = Rng::new(seed);
    let (mut world, route) = (0..1000).find_map(|_| spread(&mut rng)).ok_or("no network with so many next hops")?;
    let interface = world.t.interfaces.iter().position(|i| i.router.index() == route.router && !i.external);
    let interface = interface.ok_or("no interface")?;
    let bridge = world.t.interfaces[interface].bridge.index();
    let host = world.t.hosts.iter().position(|host| host.bridge == bridge).ok_or("no host")?;
    let (from, to) = ([198, 51, 100, 9].into(), nth(route.prefix, 77));
    let udp = [0, 0, 9, 9, 0, 8, 0, 0];
    let ip = [header(from, to, 17, 0, 64, &udp), udp.to_vec()].concat();
    let packet = Packet { host, interface, ip, ..Packet::default() };
    // Neither port is one of DHCP's.
    let mut flows: Vec<u32> = (0..FLOWS).map(|_| rng.next() as u32 | 0x0400_0400).collect();
    flows.sort_unstable();
    flows.dedup();
    let before = sent(&mut rng, &mut world, &packet, &flows)?;
    // Nothing is remembered, and they come in the other order.
    world.snapshot.generation += 1;
    flows.reverse();
    let mut again = sent(&mut rng, &mut world, &packet, &flows)?;
    again.reverse();
    let moved = before.iter().zip(&again).filter(|(before, again)| before != again).count();
    if moved > 0 {
        return Err(format!("{moved} flows took another hop than before"));
    }
    flows.reverse();
    let mut less = route.clone();
    let (_, gone) = less.via.remove(rng.below(route.via.len()));
    put_route(&mut world.snapshot, &less);
    world.snapshot.generation += 1;
    let gone = world.t.hosts.iter().filter(|host| host.addresses.contains(&gone)).map(|host| host.mac).next();
    let after = sent(&mut rng, &mut world, &packet, &flows)?;
    for (before, after) in before.iter().zip(&after) {
        if before != after && Some(*before) != gone {
            return Err(format!("{gone:?} went, and a flow from {before} to {after}"));
        }
    }
    for mac in &before {
        let share = before.iter().filter(|other| *other == mac).count();
        if share < FLOWS / 8 {
            return Err(format!("{mac} has {share} of {FLOWS} flows"));
        }
        if share > FLOWS / 2 {
            return Err(format!("{mac} has {share} of {FLOWS} flows"));
        }
    }
    Ok(3 * FLOWS)
}

/// A network with an IPv4 route by four hosts of different MACs.
fn spread(rng: &mut Rng) -> Option<(World, Route)> {
    let world = World::new(rng);
    let t = &world.t;
    let open = t.interfaces.iter().all(|i| !i.external || i.pass_without_nat);
    let routes = t.routes.iter().filter(|r| r.prefix == crate::nets::prefix("203.0.113.0/24") && r.via.len() == 4);
    let found = routes.filter(|_| open).find(|route| {
        let mut macs: Vec<MacAddr> = Vec::new();
        for (interface, address) in &route.via {
            let bridge = t.interfaces[*interface].bridge.index();
            let owner = t.hosts.iter().find(|host| host.bridge == bridge && host.addresses.contains(address));
            macs.extend(owner.map(|host| host.mac));
        }
        macs.sort();
        macs.dedup();
        macs.len() == 4 && t.interfaces.iter().any(|i| i.router.index() == route.router && !i.external)
    });
    let route = found?.clone();
    Some((world, route))
}
