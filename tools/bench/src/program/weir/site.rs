//! What Weir is told: `weir.toml`, and the desired state of a case.

pub mod routed;

use crate::frame::Tunnel;
use crate::program::Setting;
use crate::trace::{Case, Traffic, VID, VTEP, peer};
use anyhow::Result;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;
use weir_api::id::{Location, Name};
use weir_api::object::{Endpoint, Object, State};

/// What the traffic's bridge is called.
pub const BRIDGE: &str = "bench";

/// The names of the ports that frames come in on and leave on.
pub fn port_names(case: Case) -> (&'static str, &'static str) {
    match case {
        Case::RouteVlan => ("lan0", "lan1"),
        case if case.comes_tunnelled() => ("uplink0", "lan0"),
        _ => ("lan0", "uplink0"),
    }
}

/// The `tables` of `weir.toml` for a case.
pub fn tables(traffic: Traffic) -> String {
    let (macs, bindings) = (traffic.macs * 2 + 1024, traffic.flows * 2 + 1024);
    let room = format!("macs = {macs}, endpoints = {macs}, bindings = {bindings}");
    if traffic.case.is_routed() { format!("{room}, routes = {}", traffic.routes) } else { room }
}

/// `weir.toml`, with ports by name and device. The source stands first, so that it is the process's first `net_pcap`.
pub fn boot(setting: &Setting, tables: &str, ports: &[(&str, &str)]) -> String {
    let Setting { cores, memory, mbufs, directory, file_prefix, .. } = setting;
    let hugepages = if memory.huge { "require" } else { "none" };
    let extra = if memory.huge { "\"--huge-unlink\"" } else { "" };
    let directory = directory.display();
    let (mib, worker) = (memory.mib, cores.worker);
    let ports: String =
        ports.iter().map(|(name, device)| format!("[[port]]\nname = \"{name}\"\ndevice = \"{device}\"\n")).collect();
    format!(
        "dpdk = {{ hugepages = \"{hugepages}\", memory_mib = {mib}, mbufs = {mbufs}, \
         file_prefix = \"{file_prefix}\", extra_args = [{extra}] }}\n\
         workers = {{ cores = [{worker}], poll = \"busy\" }}\n\
         tables = {{ {tables} }}\n\
         rpc = {{ socket = \"{directory}/weir.sock\" }}\n\
         state = {{ directory = \"{directory}/state\" }}\n\
         log = {{ level = \"info\" }}\n\
         {ports}"
    )
}

/// A tunnel's segment, as it is written.
pub fn segment_id(tunnel: Tunnel) -> String {
    match tunnel {
        Tunnel::Vxlan(vni) => format!("vxlan/{vni}"),
        Tunnel::Nvgre(vsid) => format!("nvgre/{vsid}"),
        Tunnel::Geneve(vni) => format!("geneve/{vni}"),
    }
}

/// The bridge of a case's traffic: with room for all that there is to learn, and without limits to storms, which the
/// traffic is.
pub fn bridge(traffic: Traffic) -> Value {
    json!({
        "name": BRIDGE, "mac_limit": traffic.macs + 1024, "binding_limit": traffic.flows + 1024,
        "broadcast_limit": 0, "unknown_limit": 0, "announcement_limit": 0,
    })
}

/// The vtep, which knows the MAC of every peer.
pub fn vtep(peers: u32) -> Result<Value> {
    let neighbour = |n| {
        let (address, mac) = peer(n);
        Ok((address.to_string(), weir_api::id::Mac::try_from(mac)?))
    };
    let neighbours: BTreeMap<_, _> = (0..peers).map(neighbour).collect::<Result<_>>()?;
    Ok(json!({ "name": "vtep0", "port": "uplink0", "address": format!("{VTEP}/24"), "neighbours": neighbours }))
}

/// Everything that a case needs.
pub fn all(traffic: Traffic) -> Result<Vec<Object>> {
    if traffic.case.is_routed() {
        return routed::all(traffic);
    }
    let mut objects = network(traffic)?;
    objects.extend(endpoints(traffic)?);
    Ok(objects)
}

/// The bridge, its two segments, the vtep and the peers.
pub fn network(traffic: Traffic) -> Result<Vec<Object>> {
    let tunnel = segment_id(traffic.case.tunnel());
    let peers = traffic.case.copies();
    let state: State = serde_json::from_value(json!({
        "bridge": [bridge(traffic)],
        "vtep": [vtep(peers)?],
        "segment": [
            { "id": format!("vlan/lan0/{VID}"), "bridge": BRIDGE },
            { "id": tunnel, "bridge": BRIDGE, "vtep": "vtep0" },
        ],
        "peer": (0..peers).map(|n| json!({ "segment": tunnel, "address": peer(n).0 })).collect::<Vec<_>>(),
    }))?;
    Ok(state.into_objects().collect())
}

/// The hosts that frames go to, where the case says they are, each with the addresses that it is asked for by.
pub fn endpoints(traffic: Traffic) -> Result<Vec<Object>> {
    let location: Location = match traffic.case {
        case if case.comes_tunnelled() => format!("vlan/lan0/{VID}").parse()?,
        case => format!("{}/{}", segment_id(case.tunnel()), peer(0).0).parse()?,
    };
    let bridge: Name = BRIDGE.parse()?;
    let mut ips = vec![Vec::new(); traffic.macs as usize];
    for flow in 0..traffic.flows {
        if let Some(ips) = ips.get_mut(traffic.destination_of(flow) as usize) {
            ips.push(IpAddr::from(Traffic::destination_address(flow)));
        }
    }
    let endpoint = |(n, ips)| {
        let mac = Traffic::destination(n).try_into()?;
        Ok(Object::Endpoint(Endpoint {
            bridge: bridge.clone(),
            mac,
            location: location.clone(),
            ips,
            allowed_pairs: Vec::new(),
        }))
    };
    (0..).zip(ips).map(endpoint).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;
    use crate::program::SINK;

    fn setting(case: Case) -> Setting {
        Setting {
            traffic: Traffic::new(case, 1000, 64).unwrap(),
            trace: "/run/bench/trace.pcap".into(),
            cores: "0,1".parse().unwrap(),
            memory: Memory { huge: false, mib: 300 },
            mbufs: 17_384,
            directory: "/run/bench".into(),
            file_prefix: "bench-1".into(),
        }
    }

    #[test]
    fn the_source_is_the_first_port_of_every_case() {
        for case in Case::ALL {
            let setting = setting(case);
            let (source, sink) = port_names(case);
            assert_eq!(source == "uplink0", case.comes_tunnelled());
            let text = boot(&setting, &tables(setting.traffic), &[(source, &setting.source()), (sink, SINK)]);
            let (_, ports) = text.split_once("[[port]]").unwrap();
            assert!(ports.starts_with(&format!("\nname = \"{source}\"\ndevice = \"net_pcap0,")), "{text}");
            assert!(text.contains("hugepages = \"none\", memory_mib = 300, mbufs = 17384"), "{text}");
        }
    }

    #[test]
    fn the_desired_state_is_one_bridge_with_every_destination() {
        let traffic = setting(Case::VlanVxlan).traffic;
        let ids: Vec<String> = network(traffic).unwrap().iter().map(|o| o.key().to_string()).collect();
        let expected = [
            "bridge bench",
            "vtep vtep0",
            "segment vlan/lan0/100",
            "segment vxlan/10000",
            "peer vxlan/10000/192.0.2.2",
        ];
        assert_eq!(ids, expected);
        let endpoints = endpoints(traffic).unwrap();
        assert_eq!(endpoints.len(), 64);
        assert_eq!(endpoints[63].id(), "bench/02:0b:00:00:00:3f");
    }

    #[test]
    fn every_address_that_is_asked_for_has_one_host() {
        let endpoints = endpoints(setting(Case::Arp).traffic).unwrap();
        let ips: Vec<_> =
            endpoints.iter().flat_map(|o| if let Object::Endpoint(e) = o { e.ips.clone() } else { vec![] }).collect();
        let different: std::collections::HashSet<_> = ips.iter().collect();
        assert_eq!((ips.len(), different.len()), (1000, 1000));
        let Object::Endpoint(first) = &endpoints[0] else { panic!() };
        assert_eq!(first.ips[0], IpAddr::from(Traffic::destination_address(0)));
    }

    #[test]
    fn a_flooded_frame_has_sixteen_peers_with_known_next_hops() {
        let objects = network(setting(Case::Flood).traffic).unwrap();
        let peers = objects.iter().filter(|o| matches!(o, Object::Peer(_))).count();
        let Some(Object::Vtep(vtep)) = objects.iter().find(|o| matches!(o, Object::Vtep(_))) else { panic!() };
        assert_eq!((peers, vtep.neighbours.len()), (16, 16));
    }
}
