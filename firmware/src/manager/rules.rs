//! What a desired state must fulfil, whichever way it came about.
//!
//! Owns: the rules, each judged for one object against all others. A rule costs the same however many objects there
//! are. Errors say what is wrong and with which field; where in the batch it stands is the caller's to add.

use super::desired::Desired;
use super::key::ObjectKey;
use std::net::{IpAddr, Ipv4Addr};
use weir_api::id::{Location, Name, SegmentId};
use weir_api::object::{Bridge, Segment, Vtep};

/// A rule that an object breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The field, from the object down: `vtep`.
    pub field: String,
    /// What stands there.
    pub value: String,
    /// Why that cannot be, as a sentence.
    pub why: String,
}

fn broken<T>(field: &str, value: impl ToString, why: impl Into<String>) -> Result<T, Broken> {
    Err(Broken { field: field.to_owned(), value: value.to_string(), why: why.into() })
}

/// Judges the object of that key, if it is in the state.
///
/// # Errors
/// The first rule that it breaks.
pub fn judge(state: &Desired, ports: &[Name], key: &ObjectKey) -> Result<(), Broken> {
    match key {
        ObjectKey::Bridge(name) => state.bridges.get(name).map_or(Ok(()), bridge),
        ObjectKey::Vtep(name) => state.vteps.get(name).map_or(Ok(()), |o| vtep(state, ports, o)),
        ObjectKey::Segment(id) => state.segments.get(id).map_or(Ok(()), |o| segment(state, ports, o)),
        ObjectKey::Peer(segment, address) => peer(state, segment, *address),
        ObjectKey::Endpoint(bridge, mac) => {
            let host = state.endpoints.get(bridge).and_then(|hosts| hosts.get(mac));
            host.map_or(Ok(()), |host| endpoint(state, bridge, &host.location))
        }
    }
}

/// Who still refers to an object that is gone; one of them, in the form `segment vxlan/7`.
pub fn referrer(state: &Desired, gone: &ObjectKey) -> Option<ObjectKey> {
    match gone {
        ObjectKey::Bridge(name) => {
            let segment = state.segments_of_bridge.get(name).and_then(|s| s.first());
            segment.map(|s| ObjectKey::Segment(s.clone())).or_else(|| {
                let mac = state.endpoints.get(name)?.keys().next()?;
                Some(ObjectKey::Endpoint(name.clone(), *mac))
            })
        }
        ObjectKey::Vtep(name) => {
            state.segments_of_vtep.get(name).and_then(|s| s.first()).map(|s| ObjectKey::Segment(s.clone()))
        }
        ObjectKey::Segment(id) => {
            let peer = state.peers.get(id).and_then(|p| p.keys().next());
            peer.map(|a| ObjectKey::Peer(id.clone(), *a)).or_else(|| any_endpoint_on(state, id, None))
        }
        ObjectKey::Peer(..) | ObjectKey::Endpoint(..) => None,
    }
}

/// Some endpoint on a segment whose bridge is not `but`. Looks at the endpoints only if the index says there is one.
fn any_endpoint_on(state: &Desired, id: &SegmentId, but: Option<&Name>) -> Option<ObjectKey> {
    let bridge = state.endpoints_on.get(id)?.keys().find(|b| Some(*b) != but)?;
    let (mac, _) = state.endpoints.get(bridge)?.iter().find(|(_, host)| host.location.segment == *id)?;
    Some(ObjectKey::Endpoint(bridge.clone(), *mac))
}

fn bridge(o: &Bridge) -> Result<(), Broken> {
    if !(10..=36_000).contains(&o.mac_ageing) {
        return broken("mac_ageing", o.mac_ageing, "mac_ageing must be from 10 to 36000 seconds");
    }
    Ok(())
}

fn known_port(ports: &[Name], field: &str, port: &Name) -> Result<(), Broken> {
    if ports.contains(port) {
        return Ok(());
    }
    let known: Vec<_> = ports.iter().map(Name::as_str).collect();
    broken(field, port, format!("there is no port {port} in weir.toml, only {}", known.join(", ")))
}

fn vtep(state: &Desired, ports: &[Name], o: &Vtep) -> Result<(), Broken> {
    known_port(ports, "port", &o.port)?;
    let address = host_address("address", o.address.address())?;
    let length = o.address.length();
    if length == 0 {
        return broken("address", o.address, "a vtep's prefix length must be from 1 to 32");
    }
    let host_bits = u32::MAX.checked_shr(u32::from(length)).unwrap_or(0);
    if length < 31 && [0, host_bits].contains(&(address.to_bits() & host_bits)) {
        return broken("address", o.address, format!("{address} names the whole net, not a host in it"));
    }
    for gateway in &o.gateways {
        next_hop(o, "gateways", *gateway)?;
    }
    for neighbour in o.neighbours.keys() {
        next_hop(o, &format!("neighbours.{neighbour}"), *neighbour)?;
    }
    let untagged = SegmentId::Vlan { port: o.port.clone(), vid: None };
    if state.segments.contains_key(&untagged) {
        let why = format!("the untagged traffic of port {} belongs to segment {untagged} already", o.port);
        return broken("port", &o.port, why);
    }
    if let Some(other) = state.vteps_at.get(&o.address.address()).and_then(|v| v.iter().find(|n| **n != o.name)) {
        return broken("address", o.address, format!("vtep {other} has the address {address} already"));
    }
    if state.is_remote(o.address.address()) {
        return broken("address", o.address, format!("{address} is the address of a remote peer"));
    }
    Ok(())
}

fn next_hop(o: &Vtep, field: &str, hop: IpAddr) -> Result<(), Broken> {
    if hop.is_ipv4() != o.address.address().is_ipv4() {
        return broken(field, hop, format!("{hop} is not of the same family as the vtep's address {}", o.address));
    }
    if !o.address.contains(hop) {
        return broken(field, hop, format!("{hop} does not lie in the vtep's net {}", o.address));
    }
    if hop == o.address.address() {
        return broken(field, hop, format!("{hop} is the vtep's own address"));
    }
    host_address(field, hop).map(drop)
}

/// An IPv4 address that a single host can have.
fn host_address(field: &str, address: IpAddr) -> Result<Ipv4Addr, Broken> {
    let IpAddr::V4(v4) = address else {
        return broken(field, address, "an IPv6 underlay is not implemented yet; use an IPv4 address");
    };
    let first = v4.octets()[0];
    if first == 0 || first >= 224 || v4.is_loopback() {
        return broken(field, address, format!("{v4} is not an address that a single host on a network can have"));
    }
    Ok(v4)
}

fn segment(state: &Desired, ports: &[Name], o: &Segment) -> Result<(), Broken> {
    if !state.bridges.contains_key(&o.bridge) {
        return broken("bridge", &o.bridge, format!("there is no bridge {}", o.bridge));
    }
    match (&o.id, &o.vtep) {
        (SegmentId::Vlan { port, vid }, vtep) => {
            known_port(ports, "id", port)?;
            if let Some(vtep) = vtep {
                return broken("vtep", vtep, "a VLAN segment has no vtep");
            }
            if o.carry_tags {
                return broken("carry_tags", true, "carry_tags is for tunnel segments");
            }
            if vid.is_none()
                && let Some(vtep) = state.vteps_of_port.get(port).and_then(|v| v.first())
            {
                return broken("id", &o.id, format!("the untagged traffic of port {port} belongs to vtep {vtep}"));
            }
        }
        (_, None) => return broken("vtep", "nothing", "a tunnel segment needs a vtep"),
        (_, Some(vtep)) if !state.vteps.contains_key(vtep) => {
            return broken("vtep", vtep, format!("there is no vtep {vtep}"));
        }
        (_, Some(_)) => {}
    }
    if let Some(stranded) = any_endpoint_on(state, &o.id, Some(&o.bridge)) {
        return broken("bridge", &o.bridge, format!("{stranded} is on this segment and on another bridge"));
    }
    Ok(())
}

fn remote(state: &Desired, field: &str, address: IpAddr) -> Result<(), Broken> {
    host_address(field, address)?;
    if let Some(vtep) = state.vteps_at.get(&address).and_then(|v| v.first()) {
        return broken(field, address, format!("{address} is this gateway's own: the address of vtep {vtep}"));
    }
    Ok(())
}

fn peer(state: &Desired, segment: &SegmentId, address: IpAddr) -> Result<(), Broken> {
    if !segment.is_tunnel() {
        return broken("segment", segment, "only a tunnel segment has peers");
    }
    if !state.segments.contains_key(segment) {
        return broken("segment", segment, format!("there is no segment {segment}"));
    }
    remote(state, "address", address)
}

/// Why a peer, or the peer that an endpoint is behind, cannot be reached: it is outside its vtep's net, which has no
/// gateway. Not an error: a gateway may come later.
pub fn no_route(state: &Desired, key: &ObjectKey) -> Option<String> {
    let (segment, address) = match key {
        ObjectKey::Peer(segment, address) => (segment, *address),
        ObjectKey::Endpoint(bridge, mac) => {
            let location = &state.endpoints.get(bridge)?.get(mac)?.location;
            (&location.segment, location.peer?)
        }
        _ => return None,
    };
    let name = state.segments.get(segment)?.vtep.as_ref()?;
    let vtep = state.vteps.get(name)?;
    let reached = vtep.address.contains(address) || !vtep.gateways.is_empty();
    (!reached).then(|| format!("{key} is outside the net of vtep {name}, {}, which has no gateway", vtep.address))
}

fn endpoint(state: &Desired, bridge: &Name, location: &Location) -> Result<(), Broken> {
    if !state.bridges.contains_key(bridge) {
        return broken("bridge", bridge, format!("there is no bridge {bridge}"));
    }
    match state.segments.get(&location.segment) {
        None => return broken("location", location, format!("there is no segment {}", location.segment)),
        Some(s) if s.bridge != *bridge => {
            let why = format!("segment {} belongs to bridge {}", location.segment, s.bridge);
            return broken("location", location, why);
        }
        Some(_) => {}
    }
    location.peer.map_or(Ok(()), |address| remote(state, "location", address))
}
