//! The site that `control` configures: bridges, each a VXLAN network, and endpoints spread over them, as requests that
//! are ready to be sent.

use crate::frame::{Mac, Tunnel};
use crate::program::rpc::Prepared;
use crate::program::weir::Forwarding;
use crate::program::weir::site::{BRIDGE, bridge, endpoints, network, segment_id, vtep};
use crate::trace::{FLOOD_PEERS, Traffic, VNI, peer};
use anyhow::Result;
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr};
use weir_api::message::{Apply, Call, Op};
use weir_api::object::{Endpoint, Object, State};

/// Endpoints in one `apply`.
pub const BATCH: u32 = 100_000;
/// How often one more is added.
pub const PROBES: u32 = 20;
/// The most endpoints, and the most bridges: what numbers and addresses below leave room for.
pub const MOST_ENDPOINTS: u32 = 4_000_000;
/// As many as Weir has numbers for.
pub const MOST_BRIDGES: u32 = 65_536;
/// The VLAN of the endpoints that are added one by one.
const PROBE_VID: u16 = 200;
/// The VXLAN network of bridge 1; of the others, those behind it.
const FIRST_VNI: u32 = 1_000_000;

/// How large the site is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Configured hosts.
    pub endpoints: u32,
    /// Bridges; the first is the one that the traffic is on.
    pub bridges: u32,
}

impl Scale {
    /// The `tables` of `weir.toml`, with room for so many learned MACs.
    pub fn tables(self, macs: u32) -> String {
        let (endpoints, bridges) = (self.endpoints + 4096, self.bridges);
        let segments = bridges + 16;
        format!("macs = {macs}, endpoints = {endpoints}, bridges = {bridges}, segments = {segments}")
    }

    fn bridge(self, n: u32) -> String {
        if n == 0 { BRIDGE.into() } else { format!("tenant-{n}") }
    }

    fn tunnel(self, n: u32) -> Tunnel {
        Tunnel::Vxlan(if n == 0 { VNI } else { FIRST_VNI + n })
    }
}

/// The requests.
#[derive(Debug)]
pub struct Batches {
    network: Vec<Prepared>,
    /// All endpoints, [`BATCH`] each.
    pub endpoints: Vec<Prepared>,
}

impl Batches {
    /// Makes them all.
    pub fn new(traffic: Traffic, scale: Scale) -> Result<Self> {
        let mut objects = tenants(traffic, scale)?;
        objects.extend(endpoints(traffic)?);
        let network = objects.chunks(BATCH as usize).map(|chunk| put(chunk.iter().cloned()));
        let network = network.collect::<Result<_>>()?;
        let starts = (0..scale.endpoints).step_by(BATCH as usize);
        let batch = |from: u32| {
            let until = (from + BATCH).min(scale.endpoints);
            put((from..until).map(|n| endpoint(scale, n)).collect::<Result<Vec<_>>>()?)
        };
        Ok(Self { network, endpoints: starts.map(batch).collect::<Result<_>>()? })
    }

    /// Sends everything but the endpoints. Answers seconds.
    pub fn send_network(&self, running: &mut Forwarding) -> Result<f64> {
        let mut seconds = 0.0;
        for batch in &self.network {
            seconds += running.send(batch)?.1.as_secs_f64();
        }
        Ok(seconds)
    }

    /// One more endpoint, on the port that no other is on.
    pub fn add(&self, n: u32) -> Result<Prepared> {
        put([probe(n)?])
    }

    /// And away again.
    pub fn delete(&self, n: u32) -> Result<Prepared> {
        let ops = vec![Op::Delete(probe(n)?.key())];
        Prepared::new(0, Call::Apply(Apply { ops, ..Apply::default() }))
    }
}

pub(crate) fn put(objects: impl IntoIterator<Item = Object>) -> Result<Prepared> {
    let ops = objects.into_iter().map(Op::Put).collect();
    Prepared::new(0, Call::Apply(Apply { ops, ..Apply::default() }))
}

/// What the traffic needs, but for its endpoints; and nothing is flooded that would be counted as forwarded.
pub fn learning(traffic: Traffic) -> Result<Vec<Object>> {
    let drop = |object| match object {
        Object::Bridge(bridge) => {
            let unknown_unicast = weir_api::object::UnknownUnicast::Drop;
            Object::Bridge(weir_api::object::Bridge { unknown_unicast, ..bridge })
        }
        other => other,
    };
    Ok(network(traffic)?.into_iter().map(drop).collect())
}

/// Every bridge with its VXLAN segment and the peers on it; the traffic's also with its VLAN, and the added endpoints'.
fn tenants(traffic: Traffic, scale: Scale) -> Result<Vec<Object>> {
    let named: Vec<_> = (1..scale.bridges).map(|n| (n, scale.bridge(n), segment_id(scale.tunnel(n)))).collect();
    let bridges = named.iter().map(|(_, name, _)| {
        let mut like = bridge(traffic);
        like["name"] = json!(name);
        like
    });
    let probed = json!({ "id": format!("vlan/probe0/{PROBE_VID}"), "bridge": BRIDGE });
    let segments = named.iter().map(|(_, name, id)| json!({ "id": id, "bridge": name, "vtep": "vtep0" }));
    let peers = named.iter().map(|(n, _, id)| json!({ "segment": id, "address": peer(n % FLOOD_PEERS).0 }));
    let state: State = serde_json::from_value(json!({
        "bridge": bridges.collect::<Vec<_>>(),
        "vtep": [vtep(FLOOD_PEERS)?],
        "segment": segments.chain([probed]).collect::<Vec<_>>(),
        "peer": peers.collect::<Vec<_>>(),
    }))?;
    // The vtep with all its neighbours stands in for the traffic's.
    let traffic = learning(traffic)?.into_iter().filter(|object| !matches!(object, Object::Vtep(_)));
    Ok(traffic.chain(state.into_objects()).collect())
}

/// The nth host: on bridge n modulo their number, behind one of the peers, with one address.
fn endpoint(scale: Scale, n: u32) -> Result<Object> {
    let bridge = n % scale.bridges;
    let location = format!("{}/{}", segment_id(scale.tunnel(bridge)), peer(n % FLOOD_PEERS).0).parse()?;
    let [a, b, c, d] = n.to_be_bytes();
    let mac: Mac = [0x02, 0x0c, a, b, c, d];
    let address = Ipv4Addr::from_bits(u32::from_be_bytes([172, 16, 0, 0]) + n / scale.bridges + 1);
    let bridge = scale.bridge(bridge).parse()?;
    let (mac, ips, allowed_pairs) = (mac.try_into()?, vec![IpAddr::from(address)], Vec::new());
    Ok(Object::Endpoint(Endpoint { bridge, mac, location, ips, allowed_pairs }))
}

fn probe_mac(n: u32) -> Mac {
    let [a, b, c, d] = n.to_be_bytes();
    [0x02, 0x0d, a, b, c, d]
}

/// The nth endpoint that is added later.
fn probe(n: u32) -> Result<Object> {
    let location = format!("vlan/probe0/{PROBE_VID}").parse()?;
    let address = Ipv4Addr::from_bits(u32::from_be_bytes([10, 255, 0, 0]) + 1 + n);
    let (mac, ips, allowed_pairs) = (probe_mac(n).try_into()?, vec![IpAddr::from(address)], Vec::new());
    Ok(Object::Endpoint(Endpoint { bridge: BRIDGE.parse()?, mac, location, ips, allowed_pairs }))
}

/// A frame of the traffic's first flow, but to that endpoint.
pub fn probe_frame(traffic: Traffic, n: u32) -> Vec<u8> {
    let mut frame = traffic.input(0, 0, [0; 6]);
    frame[..6].copy_from_slice(&probe_mac(n));
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{INNER_LENGTH, tagged};
    use crate::trace::VID;
    use std::collections::HashSet;

    const SCALE: Scale = Scale { endpoints: 250_000, bridges: 300 };

    #[test]
    fn every_endpoint_is_on_a_bridge_with_a_segment() {
        let traffic = crate::control::traffic().unwrap();
        let objects = tenants(traffic, SCALE).unwrap();
        let ids: HashSet<String> = objects.iter().map(|o| o.key().to_string()).collect();
        assert_eq!(ids.len(), objects.len());
        // Bridges; segments, the two VLANs among them; a peer each; the vtep.
        assert_eq!(ids.len(), 300 + 302 + 300 + 1);
        for n in [0, 1, 299, 300, 249_999] {
            let Object::Endpoint(endpoint) = endpoint(SCALE, n).unwrap() else { panic!() };
            let (segment, _) =
                endpoint.location.to_string().rsplit_once('/').map(|(s, p)| (s.to_owned(), p.to_owned())).unwrap();
            assert!(ids.contains(&format!("bridge {}", endpoint.bridge)), "{n}");
            assert!(ids.contains(&format!("segment {segment}")), "{n}");
        }
    }

    #[test]
    fn hosts_differ_and_share_no_address_on_a_bridge() {
        let mut seen = HashSet::new();
        for n in 0..5000 {
            let Object::Endpoint(endpoint) = endpoint(SCALE, n).unwrap() else { panic!() };
            assert!(seen.insert(endpoint.mac.to_string()));
            assert!(seen.insert(format!("{} {}", endpoint.bridge, endpoint.ips[0])));
        }
    }

    #[test]
    fn batches_hold_every_endpoint() {
        let batches = Batches::new(crate::control::traffic().unwrap(), SCALE).unwrap();
        assert_eq!((batches.network.len(), batches.endpoints.len()), (1, 3));
    }

    #[test]
    fn an_added_endpoint_s_frame_is_to_its_mac_on_the_traffic_s_vlan() {
        let frame = probe_frame(crate::control::traffic().unwrap(), 3);
        let Object::Endpoint(endpoint) = probe(3).unwrap() else { panic!() };
        assert_eq!(endpoint.mac, weir_api::id::Mac::try_from(probe_mac(3)).unwrap());
        assert_eq!((&frame[..6], frame.len()), (&probe_mac(3)[..], INNER_LENGTH + 4));
        assert_eq!(frame[12..16], tagged(VID, &[0; 60])[12..16]);
    }
}
