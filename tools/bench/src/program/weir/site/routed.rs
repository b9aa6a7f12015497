//! The desired state where Weir routes: two bridges, each with one segment, a router between them, the hosts on the bridge
//! that frames leave by, and the routes to what is behind them.

use super::{BRIDGE, bridge, segment_id, vtep};
use crate::frame::Mac;
use crate::routed::{
    DVR_MAC, GATEWAY_IN, GATEWAY_OUT, NET_IN, NET_OUT, PEER_OUT, TUNNEL_OUT, VID_OUT, host_address, hosts, next_hop,
    prefix,
};
use crate::trace::{Case, Traffic, VID, peer};
use anyhow::Result;
use serde_json::{Value, json};
use std::net::IpAddr;
use weir_api::id::{Location, Name};
use weir_api::object::{Endpoint, Object, Route, State};

/// The bridge that frames leave by.
const BRIDGE_OUT: &str = "bench-out";
/// The router.
const ROUTER: &str = "bench";

/// A case's network, hosts and routes.
pub fn all(traffic: Traffic) -> Result<Vec<Object>> {
    let mut objects = network(traffic)?;
    for n in 0..traffic.routes {
        objects.push(route(n, next_hop(n))?);
    }
    Ok(objects)
}

/// Everything but the routes.
pub fn network(traffic: Traffic) -> Result<Vec<Object>> {
    let (mut state, location) = segments(traffic.case)?;
    let mut leaving = bridge(traffic);
    leaving["name"] = json!(BRIDGE_OUT);
    let mac = |mac: Mac| weir_api::id::Mac::try_from(mac);
    let interface = |bridge: &str, gateway, net: &str| -> Result<Value> {
        Ok(json!({ "router": ROUTER, "bridge": bridge, "mac": mac(gateway)?, "addresses": [net] }))
    };
    state["bridge"] = json!([bridge(traffic), leaving]);
    state["router"] = json!([{ "name": ROUTER }]);
    state["interface"] = json!([interface(BRIDGE, GATEWAY_IN, NET_IN)?, interface(BRIDGE_OUT, GATEWAY_OUT, NET_OUT)?]);
    state["dvr_mac"] = json!([{ "mac": mac(DVR_MAC)?, "own": true }]);
    let state: State = serde_json::from_value(state)?;
    let hosts = (0..hosts(&traffic)).map(|host| endpoint(host, &location));
    state.into_objects().map(Ok).chain(hosts).collect()
}

/// The segments of both bridges and what they need, and where the hosts are that frames go to.
fn segments(case: Case) -> Result<(Value, Location)> {
    if case != Case::Route {
        let (from, to) = (format!("vlan/lan0/{VID}"), format!("vlan/lan1/{VID_OUT}"));
        let segments = json!([{ "id": from, "bridge": BRIDGE }, { "id": to, "bridge": BRIDGE_OUT }]);
        return Ok((json!({ "segment": segments }), to.parse()?));
    }
    let (from, to) = (segment_id(case.tunnel()), segment_id(TUNNEL_OUT));
    let state = json!({
        "vtep": [vtep(PEER_OUT + 1)?],
        "segment": [
            { "id": from, "bridge": BRIDGE, "vtep": "vtep0" },
            { "id": to, "bridge": BRIDGE_OUT, "vtep": "vtep0" },
        ],
        "peer": [
            { "segment": from, "address": peer(0).0 },
            { "segment": to, "address": peer(PEER_OUT).0 },
        ],
    });
    Ok((state, format!("{to}/{}", peer(PEER_OUT).0).parse()?))
}

/// A host on the bridge that frames leave by.
fn endpoint(host: u32, location: &Location) -> Result<Object> {
    let (bridge, mac): (Name, _) = (BRIDGE_OUT.parse()?, Traffic::destination(host).try_into()?);
    let (ips, allowed_pairs) = (vec![IpAddr::from(host_address(host))], Vec::new());
    Ok(Object::Endpoint(Endpoint { bridge, mac, location: location.clone(), ips, allowed_pairs }))
}

/// The nth route, by that host.
pub fn route(n: u32, by: u32) -> Result<Object> {
    let via = vec![IpAddr::from(host_address(by))];
    Ok(Object::Route(Route { router: ROUTER.parse()?, prefix: prefix(n).to_string().parse()?, via, blackhole: false }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(case: Case) -> Vec<String> {
        let traffic = Traffic::new(case, 80, 80).unwrap().with_routes(20).unwrap();
        all(traffic).unwrap().iter().map(|o| o.key().to_string()).collect()
    }

    #[test]
    fn a_router_stands_between_two_bridges() {
        let keys = keys(Case::Route);
        for key in [
            "bridge bench-out",
            "segment vxlan/10001",
            "peer vxlan/10001/192.0.2.3",
            "interface bench/bench",
            "interface bench/bench-out",
            "dvr_mac 02:00:5e:01:00:01",
            "route bench/11.0.0.0/18",
            "route bench/11.0.64.0/18",
            "endpoint bench-out/02:0b:00:00:01:09",
        ] {
            assert!(keys.contains(&key.to_owned()), "{key} is not in {keys:?}");
        }
        // Bridges, vtep, segments, peers, hosts, router, interfaces, DVR MAC, routes.
        assert_eq!(keys.len(), 2 + 1 + 2 + 2 + (256 + 10) + 1 + 2 + 1 + 20);
    }

    #[test]
    fn between_vlans_there_is_no_tunnel() {
        let keys = keys(Case::RouteVlan);
        assert!(keys.contains(&"segment vlan/lan1/200".to_owned()), "{keys:?}");
        assert!(!keys.iter().any(|key| key.starts_with("vtep") || key.starts_with("peer")), "{keys:?}");
    }
}
