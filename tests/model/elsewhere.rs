//! Packets that another gateway has routed: they come in a tunnel of their destination's bridge, with that gateway's DVR MAC, and
//! are delivered without losing another hop, from the MAC of the bridge's gateway.

use crate::bytes::ends;
use crate::compare::take;
use crate::model::{Sending, What};
use crate::nets::covers;
use crate::packets::{Packet, carried};
use crate::rng::Rng;
use crate::topology::{OTHER_GATEWAY, Place, Topology, Way};
use crate::world::World;
use std::net::IpAddr;
use weir_pipelines::gateway::DropReason;
use weir_pipelines::wire::MacAddr;

/// One network: whatever another gateway sends to hosts, several times.
pub(crate) fn run(seed: u64) -> Result<usize, String> {
    let mut rng = Rng::new(seed ^ 0xd0_0000);
    let mut world = World::new(&mut rng);
    let t = world.t.clone();
    let deliveries: Vec<_> = (0..200).filter_map(|_| delivery(&mut rng, &t)).take(12).collect();
    for _ in 0..3 * deliveries.len() {
        let (host, packet, place) = rng.pick(&deliveries);
        let inner = [&t.hosts[*host].mac.0[..], &OTHER_GATEWAY.0, &packet.inner(&t)[12..]].concat();
        let (port, frame) = carried(&t, *place, inner, None, false, 0);
        let (mut seen, dropped) = world.send(&mut rng, port, &[frame])?;
        let to = &t.hosts[*host];
        if to.place.peer.is_some() {
            if dropped != [DropReason::SplitHorizon] || !seen.is_empty() {
                return Err(format!("from a tunnel to a tunnel: {dropped:?} {seen:02x?}"));
            }
            continue;
        }
        let mut why = format!("dropped {dropped:?}");
        let found = gateways(&t, to.bridge, ends(&packet.ip).1).into_iter().any(|from| {
            let sending = Sending { place: to.place, to: to.mac, from, what: What::Packet(packet.ip.clone()) };
            take(&sending, &packet.padding, 0, &mut seen).map_err(|other| why = other).is_ok()
        });
        if !found || !seen.is_empty() || !dropped.is_empty() {
            return Err(format!("{why} ({dropped:?}): {packet:02x?} {seen:02x?}\n{t:?}"));
        }
    }
    Ok(3 * deliveries.len())
}

/// A packet to a host, and from which place of its bridge it may come.
fn delivery(rng: &mut Rng, t: &Topology) -> Option<(usize, Packet, Place)> {
    let packet = Packet { cut: None, from: None, tag: None, ..Packet::random(rng, t) };
    let wants = crate::model::judge(t, &packet, &crate::model::Flows::new())?;
    let [want] = &wants[..] else { return None };
    let Some(Sending { what: What::Packet(ip), .. }) = &want.sending else { return None };
    let to = ends(ip).1;
    let hosts: Vec<usize> = (0..t.hosts.len()).filter(|&host| t.hosts[host].addresses.contains(&to)).collect();
    let host = *rng.pick(if hosts.is_empty() { return None } else { &hosts });
    let segment =
        t.segments.iter().position(|s| s.bridge == t.hosts[host].bridge && matches!(s.way, Way::Vxlan { .. }))?;
    let Way::Vxlan { vtep, .. } = t.segments[segment].way else { return None };
    let peer = t.peers.iter().position(|peer| peer.vtep == vtep)?;
    let place = Place { segment, peer: Some(peer) };
    let fits = ip.len() + packet.padding.len() <= crate::model::room(t, t.hosts[host].place);
    (t.hosts[host].place != place && fits).then(|| (host, Packet { ip: ip.clone(), ..packet }, place))
}

/// The MACs of the gateways of a bridge in whose nets an address is; of all of them, if it is in none's.
fn gateways(t: &Topology, bridge: usize, to: IpAddr) -> Vec<MacAddr> {
    let here: Vec<_> = t.interfaces.iter().filter(|i| i.bridge.index() == bridge).collect();
    let near = here.iter().filter(|i| i.addresses.iter().any(|own| covers(*own, to)));
    let near: Vec<MacAddr> = near.map(|i| i.mac).collect();
    if near.is_empty() { here.iter().map(|i| i.mac).collect() } else { near }
}
