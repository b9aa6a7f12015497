//! `add`, `set` and `del`: from what was typed to a batch, and safely past others who change things at the same time.
//!
//! `add` and `set` look first and write afterwards. That nothing happens in between is asked of the firmware
//! (`expect_generation`); when something did, they look again, [`ATTEMPTS`] times in all.

use crate::cli::{Add, BridgeFields, Del, EndpointFields, HostKey, PeerKey, SegmentFields, Set, VtepFields};
use crate::failure::Failure;
use crate::routing;
use crate::session::Session;
use std::net::IpAddr;
use weir_api::id::{AllowedPair, Location, Name};
use weir_api::message::{Applied, Apply, Op};
use weir_api::object::{Bridge, Endpoint, Key, Kind, Object, Peer, Segment, Vtep};

/// How often `add` and `set` try when another generation is running each time.
pub const ATTEMPTS: u32 = 4;

fn ports() -> Failure {
    Failure::Usage("ports come from weir.toml: change it there, then restart weir".to_owned())
}

/// The object that `add` is to add.
pub fn new_object(add: &Add) -> Result<Object, Failure> {
    let endpoint = |key: &HostKey, location: &Location, ips: &[IpAddr], pairs: &[AllowedPair]| {
        let (bridge, location) = (key.bridge.clone(), location.clone());
        let (ips, allowed_pairs) = (ips.to_vec(), pairs.to_vec());
        Object::Endpoint(Endpoint { bridge, mac: key.mac, location, ips, allowed_pairs })
    };
    Ok(match add {
        Add::Bridge(a) => {
            let mut bridge = Bridge::new(a.name.clone());
            set_bridge(&mut bridge, &a.fields);
            Object::Bridge(bridge)
        }
        Add::Vtep(a) => Object::Vtep(Vtep {
            name: a.name.clone(),
            port: a.port.clone(),
            address: a.address,
            gateways: a.gateway.clone(),
            neighbours: a.neighbour.iter().copied().collect(),
        }),
        Add::Segment(a) => Object::Segment(Segment {
            id: a.id.clone(),
            bridge: a.bridge.clone(),
            vtep: a.vtep.clone(),
            carry_tags: a.carry_tags.unwrap_or(false),
            mesh: a.mesh.clone(),
            tpid: a.tpid.unwrap_or_default(),
        }),
        Add::Peer(a) => {
            Object::Peer(Peer { segment: a.key.segment.clone(), address: a.key.address, mesh: a.mesh.clone() })
        }
        Add::Endpoint(a) => endpoint(&a.key, &a.location, &a.ip, &a.allowed_pair),
        Add::Mac(a) => endpoint(&a.key, &a.location, &[], &[]),
        Add::Router(a) => Object::Router(routing::new_router(&a.name, &a.fields)),
        Add::Interface(a) => Object::Interface(routing::new_interface(a)),
        Add::Route(a) => Object::Route(routing::new_route(a)),
        Add::DvrMac(a) => Object::DvrMac(routing::new_dvr_mac(a)),
        Add::Port(_) => return Err(ports()),
    })
}

/// What `del` is to delete.
pub fn doomed(del: &Del) -> Result<Vec<Key>, Failure> {
    let keys = |kind, ids: Vec<String>| ids.into_iter().map(|id| Key { kind, id }).collect();
    let names = |names: &[Name]| names.iter().map(Name::to_string).collect();
    Ok(match del {
        Del::Bridge(a) => keys(Kind::Bridge, names(&a.ids)),
        Del::Vtep(a) => keys(Kind::Vtep, names(&a.ids)),
        Del::Segment(a) => keys(Kind::Segment, a.ids.iter().map(ToString::to_string).collect()),
        Del::Peer(key) => vec![peer_key(key)],
        Del::Endpoint(key) | Del::Mac(key) => vec![endpoint_key(key)],
        Del::Router(a) => keys(Kind::Router, names(&a.ids)),
        Del::Interface(key) => vec![routing::interface_key(key)],
        Del::Route(key) => vec![routing::route_key(key)],
        Del::DvrMac(a) => keys(Kind::DvrMac, a.ids.iter().map(ToString::to_string).collect()),
        Del::Port(_) => return Err(ports()),
    })
}

fn peer_key(key: &PeerKey) -> Key {
    Key { kind: Kind::Peer, id: format!("{}/{}", key.segment, key.address) }
}

fn endpoint_key(key: &HostKey) -> Key {
    Key { kind: Kind::Endpoint, id: format!("{}/{}", key.bridge, key.mac) }
}

/// A batch of these changes.
pub fn batch(ops: impl IntoIterator<Item = Op>) -> Apply {
    Apply { ops: ops.into_iter().collect(), ..Apply::default() }
}

/// Adds the object, unless it is there.
pub fn add(session: &mut Session<'_>, add: &Add) -> Result<Applied, Failure> {
    let object = new_object(add)?;
    settle(session, |session| match session.get(object.key()) {
        Ok(_) => Err(Failure::Exists(object.key().to_string())),
        Err(e) if e.is_not_found() => Ok(object.clone()),
        Err(e) => Err(e),
    })
}

/// Changes fields of an object that is there.
pub fn set(session: &mut Session<'_>, set: &Set) -> Result<Applied, Failure> {
    let named = |kind, id: &dyn ToString| Key { kind, id: id.to_string() };
    let key = match set {
        Set::Bridge(a) => named(Kind::Bridge, &a.name),
        Set::Vtep(a) => named(Kind::Vtep, &a.name),
        Set::Segment(a) => named(Kind::Segment, &a.id),
        Set::Endpoint(a) => endpoint_key(&a.key),
        Set::Mac(a) => endpoint_key(&a.key),
        Set::Peer(a) => peer_key(&a.key),
        Set::Router(a) => named(Kind::Router, &a.name),
        Set::Interface(a) => routing::interface_key(&a.key),
        Set::Route(a) => routing::route_key(&a.key),
        Set::DvrMac(a) => named(Kind::DvrMac, &a.mac),
        Set::Port(_) => return Err(ports()),
    };
    settle(session, |session| {
        let mut object = session.get(key.clone())?;
        edit(&mut object, set)?;
        Ok(object)
    })
}

/// Deletes objects: all, or none.
pub fn del(session: &mut Session<'_>, del: &Del) -> Result<Applied, Failure> {
    session.apply(batch(doomed(del)?.into_iter().map(Op::Delete)))
}

/// Puts what `make` makes of the running generation, as long as it is still the running one.
fn settle(
    session: &mut Session<'_>,
    mut make: impl FnMut(&mut Session<'_>) -> Result<Object, Failure>,
) -> Result<Applied, Failure> {
    let mut attempt = 1;
    loop {
        let expect_generation = Some(session.generation()?);
        let object = make(session)?;
        match session.apply(Apply { expect_generation, ..batch([Op::Put(object)]) }) {
            Err(e) if e.is_wrong_generation() && attempt < ATTEMPTS => attempt += 1,
            result => return result,
        }
    }
}

/// Changes what was given; the rest stays.
fn edit(object: &mut Object, set: &Set) -> Result<(), Failure> {
    match (object, set) {
        (Object::Bridge(bridge), Set::Bridge(a)) => set_bridge(bridge, &a.fields),
        (Object::Vtep(vtep), Set::Vtep(a)) => set_vtep(vtep, &a.fields)?,
        (Object::Segment(segment), Set::Segment(a)) => set_segment(segment, &a.fields),
        (Object::Peer(peer), Set::Peer(a)) => peer.mesh = a.fields.mesh.clone(),
        (Object::Endpoint(endpoint), Set::Endpoint(a)) => set_endpoint(endpoint, &a.fields),
        (Object::Endpoint(endpoint), Set::Mac(a)) => endpoint.location = a.location.clone(),
        (Object::Router(router), Set::Router(a)) => routing::set_router(router, &a.fields),
        (Object::Interface(interface), Set::Interface(a)) => {
            routing::set_interface(interface, &a.fields, &a.more);
        }
        (Object::Route(route), Set::Route(a)) => *route = routing::new_route(a),
        (Object::DvrMac(mac), Set::DvrMac(a)) => mac.own = a.own.unwrap_or(mac.own),
        (object, _) => return Err(Failure::Misunderstood(format!("get: found {} instead", object.key()))),
    }
    Ok(())
}

fn set_bridge(bridge: &mut Bridge, fields: &BridgeFields) {
    fn put<T: Copy>(field: &mut T, given: &Option<T>) {
        *field = given.unwrap_or(*field);
    }
    put(&mut bridge.mac_limit, &fields.mac_limit);
    put(&mut bridge.mac_ageing, &fields.mac_ageing);
    put(&mut bridge.unknown_unicast, &fields.unknown_unicast);
    put(&mut bridge.accept_from, &fields.accept_from);
    put(&mut bridge.suppression, &fields.suppression);
    put(&mut bridge.unknown_target, &fields.unknown_target);
    put(&mut bridge.binding_limit, &fields.binding_limit);
    put(&mut bridge.binding_ageing, &fields.binding_ageing);
    put(&mut bridge.port_security, &fields.port_security);
    put(&mut bridge.broadcast_limit, &fields.broadcast_limit);
    put(&mut bridge.unknown_limit, &fields.unknown_limit);
    put(&mut bridge.announcement_limit, &fields.announcement_limit);
    put(&mut bridge.flood_list, &fields.flood_list);
}

fn set_vtep(vtep: &mut Vtep, fields: &VtepFields) -> Result<(), Failure> {
    let VtepFields { port, address, gateway, no_gateway, neighbour, no_neighbour } = fields;
    if let Some(port) = port {
        vtep.port = port.clone();
    }
    vtep.address = address.unwrap_or(vtep.address);
    if *no_gateway || !gateway.is_empty() {
        vtep.gateways = gateway.clone();
    }
    for address in no_neighbour {
        let gone = vtep.neighbours.remove(address);
        gone.ok_or_else(|| Failure::NotFound(format!("configured neighbour {address} of vtep {}", vtep.name)))?;
    }
    vtep.neighbours.extend(neighbour.iter().copied());
    Ok(())
}

fn set_segment(segment: &mut Segment, fields: &SegmentFields) {
    let SegmentFields { bridge, vtep, carry_tags, mesh, no_mesh, tpid } = fields;
    if let Some(bridge) = bridge {
        segment.bridge = bridge.clone();
    }
    if let Some(vtep) = vtep {
        segment.vtep = Some(vtep.clone());
    }
    segment.carry_tags = carry_tags.unwrap_or(segment.carry_tags);
    if *no_mesh || mesh.is_some() {
        segment.mesh = mesh.clone();
    }
    segment.tpid = tpid.unwrap_or(segment.tpid);
}

fn set_endpoint(endpoint: &mut Endpoint, fields: &EndpointFields) {
    let EndpointFields { location, ip, no_ip, allowed_pair, no_allowed_pair } = fields;
    if let Some(location) = location {
        endpoint.location = location.clone();
    }
    if *no_ip || !ip.is_empty() {
        endpoint.ips = ip.clone();
    }
    if *no_allowed_pair || !allowed_pair.is_empty() {
        endpoint.allowed_pairs = allowed_pair.clone();
    }
}
