//! What a desired state must fulfil, whichever way it came about.
//!
//! Owns: the rules, each judged for one object against all others. A rule costs the same however many objects there
//! are. Errors say what is wrong and with which field; where in the batch it stands is the caller's to add.

mod routing;

use super::desired::{Desired, Host};
use super::key::ObjectKey;
use std::net::IpAddr;
use weir_api::id::{AllowedPair, IpPrefix, Mac, Name, SegmentId};
use weir_api::object::{Bridge, Object, Segment, Tpid, Vtep};
use weir_pipelines::tables::NEXT_HOPS;

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
            host.map_or(Ok(()), |host| endpoint(state, bridge, *mac, host))
        }
        ObjectKey::Router(_) => Ok(()),
        ObjectKey::Interface(router, bridge) => routing::interface(state, router, bridge),
        ObjectKey::Route(router, prefix) => routing::route(state, router, *prefix),
        ObjectKey::DvrMac(mac) => routing::dvr_mac(&state.routing, *mac),
    }
}

/// Who still refers to an object that is gone and was `before`; one of them, in the form `segment vxlan/7`.
pub fn referrer(state: &Desired, gone: &ObjectKey, before: Option<&Object>) -> Option<ObjectKey> {
    match gone {
        ObjectKey::Bridge(name) => {
            let segment = state.segments_of_bridge.get(name).and_then(|s| s.first());
            segment.map(|s| ObjectKey::Segment(s.clone())).or_else(|| {
                let mac = state.endpoints.get(name).and_then(|hosts| hosts.keys().next());
                mac.map(|mac| ObjectKey::Endpoint(name.clone(), *mac)).or_else(|| routing::on_bridge(state, name))
            })
        }
        ObjectKey::Vtep(name) => {
            state.segments_of_vtep.get(name).and_then(|s| s.first()).map(|s| ObjectKey::Segment(s.clone()))
        }
        ObjectKey::Segment(id) => {
            let peer = state.peers.get(id).and_then(|p| p.keys().next());
            peer.map(|a| ObjectKey::Peer(id.clone(), *a)).or_else(|| any_endpoint_on(state, id, None))
        }
        ObjectKey::Router(name) => routing::needs_router(state, name),
        ObjectKey::Interface(..) => routing::stranded(state, before?).map(|(route, _)| route),
        ObjectKey::Peer(..) | ObjectKey::Endpoint(..) | ObjectKey::Route(..) | ObjectKey::DvrMac(_) => None,
    }
}

/// Some endpoint on a segment whose bridge is not `but`. Looks at the endpoints only if the index says there is one.
fn any_endpoint_on(state: &Desired, id: &SegmentId, but: Option<&Name>) -> Option<ObjectKey> {
    let bridge = state.endpoints_on.get(id)?.keys().find(|b| Some(*b) != but)?;
    let (mac, _) = state.endpoints.get(bridge)?.iter().find(|(_, host)| host.location.segment == *id)?;
    Some(ObjectKey::Endpoint(bridge.clone(), *mac))
}

/// Judges what an object that changed leaves behind, if `before` was there: peers and endpoints that it does not fit any
/// more, though nothing about them changed.
///
/// # Errors
/// The rule that the change breaks.
pub fn judge_before(state: &Desired, key: &ObjectKey, before: &Object) -> Result<(), Broken> {
    match (key, before) {
        (ObjectKey::Vtep(name), Object::Vtep(old)) => {
            let Some(new) = state.vteps.get(name) else { return Ok(()) };
            if is_v6(new) == is_v6(old) {
                return Ok(());
            }
            let mut segments = state.segments_of_vtep.get(name).into_iter().flatten();
            match segments.find_map(|id| any_of_family(state, id, !is_v6(new))) {
                Some(other) => broken("address", new.address, format!("{other} is not of the same family")),
                None => Ok(()),
            }
        }
        (ObjectKey::Segment(id), Object::Segment(old)) => {
            let Some(name) = state.segments.get(id).and_then(|new| new.vtep.as_ref()) else { return Ok(()) };
            let Some(vtep) = state.vteps.get(name).filter(|_| old.vtep.as_ref() != Some(name)) else { return Ok(()) };
            match any_of_family(state, id, !is_v6(vtep)) {
                Some(other) => {
                    let why = format!("{other} is not of the same family as its address {}", vtep.address);
                    broken("vtep", name, why)
                }
                None => Ok(()),
            }
        }
        (ObjectKey::Interface(..), Object::Interface(_)) => match routing::stranded(state, before) {
            Some((route, Broken { value, why, .. })) => broken("addresses", value, format!("{route} needs it: {why}")),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

fn is_v6(vtep: &Vtep) -> bool {
    vtep.address.address().is_ipv6()
}

/// Some peer of a segment, or endpoint behind one, whose address is of that family.
fn any_of_family(state: &Desired, id: &SegmentId, v6: bool) -> Option<ObjectKey> {
    let peer = state.peers.get(id).and_then(|peers| peers.keys().find(|address| address.is_ipv6() == v6));
    peer.map(|address| ObjectKey::Peer(id.clone(), *address)).or_else(|| {
        let bridges = state.endpoints_on.get(id)?.keys();
        let hosts =
            bridges.flat_map(|b| state.endpoints.get(b).into_iter().flatten().map(move |(m, host)| (b, m, host)));
        let mut on = hosts.filter(|(_, _, host)| host.location.segment == *id);
        let (bridge, mac, _) = on.find(|(_, _, host)| host.location.peer.is_some_and(|peer| peer.is_ipv6() == v6))?;
        Some(ObjectKey::Endpoint(bridge.clone(), *mac))
    })
}

fn bridge(o: &Bridge) -> Result<(), Broken> {
    for (field, seconds) in [("mac_ageing", o.mac_ageing), ("binding_ageing", o.binding_ageing)] {
        if !(10..=36_000).contains(&seconds) {
            return broken(field, seconds, format!("{field} must be from 10 to 36000 seconds"));
        }
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
    let address = o.address.address();
    underlay_address("address", address)?;
    if o.address.length() == 0 {
        let most = if address.is_ipv4() { 32 } else { 128 };
        return broken("address", o.address, format!("a vtep's prefix length must be from 1 to {most}"));
    }
    if names_net(o.address, address) {
        return broken("address", o.address, format!("{address} names the whole net, not a host in it"));
    }
    if let Some(hop) = o.gateways.get(NEXT_HOPS) {
        return broken(&format!("gateways[{NEXT_HOPS}]"), hop, format!("a vtep has at most {NEXT_HOPS} gateways"));
    }
    for (n, gateway) in o.gateways.iter().enumerate() {
        let field = format!("gateways[{n}]");
        next_hop(o, &field, *gateway)?;
        if o.gateways[..n].contains(gateway) {
            return broken(&field, gateway, format!("{gateway} is among the gateways already"));
        }
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
    if names_net(o.address, hop) {
        return broken(field, hop, format!("{hop} names the whole net {}, not a host in it", o.address));
    }
    underlay_address(field, hop)
}

/// Whether an address of a net is that of all its hosts or, over IPv6, of all its routers (RFC 4291 §2.6.1), or of the net
/// itself. Nets of two addresses have no such (RFC 3021, RFC 6164).
fn names_net(net: IpPrefix, address: IpAddr) -> bool {
    let length = u32::from(net.length());
    match address {
        IpAddr::V4(v4) => {
            let host_bits = u32::MAX.checked_shr(length).unwrap_or(0);
            length < 31 && [0, host_bits].contains(&(v4.to_bits() & host_bits))
        }
        IpAddr::V6(v6) => length < 127 && v6.to_bits() & u128::MAX.checked_shr(length).unwrap_or(0) == 0,
    }
}

/// An address that a single host can have.
fn host_address(field: &str, address: IpAddr) -> Result<(), Broken> {
    let host = match address {
        IpAddr::V4(v4) => !(v4.octets()[0] == 0 || v4.octets()[0] >= 224 || v4.is_loopback()),
        IpAddr::V6(v6) => {
            if let Some(v4) = v6.to_ipv4_mapped() {
                return broken(field, address, format!("{address} is an IPv4 address in IPv6 form: write {v4}"));
            }
            !(v6.is_unspecified() || v6.is_loopback() || v6.is_multicast())
        }
    };
    match host {
        true => Ok(()),
        false => {
            broken(field, address, format!("{address} is not an address that a single host on a network can have"))
        }
    }
}

/// An address that a tunnel endpoint or a next hop on the underlay can have.
fn underlay_address(field: &str, address: IpAddr) -> Result<(), Broken> {
    match address {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            let why = format!("{address} is a link-local address, and the underlay needs a global or unique local one");
            broken(field, address, why)
        }
        _ => host_address(field, address),
    }
}

fn segment(state: &Desired, ports: &[Name], o: &Segment) -> Result<(), Broken> {
    if !state.bridges.contains_key(&o.bridge) {
        return broken("bridge", &o.bridge, format!("there is no bridge {}", o.bridge));
    }
    match (&o.id, &o.vtep) {
        (SegmentId::Vlan { port, .. } | SegmentId::Qinq { port, .. }, vtep) => {
            known_port(ports, "id", port)?;
            if let Some(vtep) = vtep {
                return broken("vtep", vtep, "a VLAN or QinQ segment has no vtep");
            }
            if o.carry_tags {
                return broken("carry_tags", true, "carry_tags is for tunnel segments");
            }
            if let Some(mesh) = &o.mesh {
                return broken("mesh", mesh, "a mesh is of tunnel segments and their peers");
            }
            tags(state, port, o)?;
        }
        (_, None) => return broken("vtep", "nothing", "a tunnel segment needs a vtep"),
        (_, Some(vtep)) if !state.vteps.contains_key(vtep) => {
            return broken("vtep", vtep, format!("there is no vtep {vtep}"));
        }
        (_, Some(_)) => {}
    }
    if o.tpid != Tpid::default() && !matches!(o.id, SegmentId::Qinq { .. }) {
        return broken("tpid", "0x8100", "tpid is the EtherType of a QinQ segment's outer tag");
    }
    if let Some(stranded) = any_endpoint_on(state, &o.id, Some(&o.bridge)) {
        return broken("bridge", &o.bridge, format!("{stranded} is on this segment and on another bridge"));
    }
    Ok(())
}

/// A tag on a port belongs to one segment, or to those with a second tag behind it. Service tags are a name space of their
/// own.
fn tags(state: &Desired, port: &Name, o: &Segment) -> Result<(), Broken> {
    match &o.id {
        SegmentId::Vlan { vid: None, .. } => match state.vteps_of_port.get(port).and_then(|v| v.first()) {
            Some(vtep) => broken("id", &o.id, format!("the untagged traffic of port {port} belongs to vtep {vtep}")),
            None => Ok(()),
        },
        SegmentId::Vlan { vid: Some(vid), .. } => {
            let stacked = |inner| SegmentId::Qinq { port: port.clone(), outer: *vid, inner };
            let mut behind = state.segments.range(stacked(0)..=stacked(u16::MAX));
            match behind.find(|(_, segment)| segment.tpid == Tpid::Customer) {
                Some((id, _)) => broken(
                    "id",
                    &o.id,
                    format!("VLAN {vid} of port {port} is the outer tag of segment {id}, tpid 0x8100"),
                ),
                None => Ok(()),
            }
        }
        SegmentId::Qinq { outer, .. } if o.tpid == Tpid::Customer => {
            let id = SegmentId::Vlan { port: port.clone(), vid: Some(*outer) };
            match state.segments.contains_key(&id) {
                true => broken("tpid", "0x8100", format!("VLAN {outer} of port {port} is segment {id} already")),
                false => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// The address of a remote tunnel endpoint on a segment.
fn remote(state: &Desired, field: &str, segment: &SegmentId, address: IpAddr) -> Result<(), Broken> {
    underlay_address(field, address)?;
    if let Some(vtep) = state.vteps_at.get(&address).and_then(|v| v.first()) {
        return broken(field, address, format!("{address} is this gateway's own: the address of vtep {vtep}"));
    }
    let vtep = state.segments.get(segment).and_then(|segment| state.vteps.get(segment.vtep.as_ref()?));
    if let Some(vtep) = vtep.filter(|vtep| is_v6(vtep) != address.is_ipv6()) {
        let why = format!("{address} is not of the same family as vtep {}, {}", vtep.name, vtep.address);
        return broken(field, address, why);
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
    remote(state, "address", segment, address)
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

fn endpoint(state: &Desired, bridge: &Name, mac: Mac, host: &Host) -> Result<(), Broken> {
    let location = &host.location;
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
    if let Some(address) = location.peer {
        remote(state, "location", &location.segment, address)?;
    }
    ips(&host.ips)?;
    allowed_pairs(&host.allowed_pairs)?;
    routing::endpoint(state, bridge, mac, host)
}

/// The most addresses of an endpoint, and the most allowed pairs.
const MOST_ADDRESSES: usize = 64;

fn ips(ips: &[IpAddr]) -> Result<(), Broken> {
    for (n, ip) in ips.iter().enumerate() {
        let field = || format!("ips[{n}]");
        if n == MOST_ADDRESSES {
            return broken(&field(), ip, format!("an endpoint has at most {MOST_ADDRESSES} addresses"));
        }
        if ips[..n].contains(ip) {
            return broken(&field(), ip, format!("{ip} is among its addresses already"));
        }
        // Without a path made for each of a million.
        host_address("", *ip).map_err(|why| Broken { field: field(), ..why })?;
    }
    Ok(())
}

fn allowed_pairs(pairs: &[AllowedPair]) -> Result<(), Broken> {
    for (n, pair) in pairs.iter().enumerate() {
        let field = format!("allowed_pairs[{n}]");
        let (prefix, address) = (pair.prefix, pair.prefix.address());
        if n == MOST_ADDRESSES {
            return broken(&field, pair, format!("an endpoint has at most {MOST_ADDRESSES} allowed pairs"));
        }
        if pairs[..n].contains(pair) {
            return broken(&field, pair, format!("{pair} is among its allowed pairs already"));
        }
        let first = prefix.net();
        if first != prefix {
            let why = format!("{prefix} has bits behind its prefix: write {first}, or {address}");
            return broken(&field, pair, why);
        }
        let mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
        if pair.is_exact() || mapped || address.is_multicast() || address.is_loopback() {
            host_address("", address).map_err(|why| Broken { field, value: pair.to_string(), ..why })?;
        }
    }
    Ok(())
}
