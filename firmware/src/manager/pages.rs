//! Rows of the desired state, page by page.
//!
//! Owns: the order of rows, cursors and bounds. A cursor is the id of the last row, so that a page never depends on
//! what was handed out before. A page costs its rows, not what stands before them; with a `bridge`, segments and peers
//! cost those of the bridge.

mod routing;

pub use routing::{named_router, no_routing, no_view};

use super::batch::fault;
use super::configuration::Configuration;
use super::desired::{Desired, endpoint};
use super::key::ObjectKey;
use super::table::Table;
use serde_json::Value;
use std::hash::Hash;
use std::ops::Bound;
use weir_api::id::{Name, SegmentId};
use weir_api::message::{Error, List, Noun, Page, code};
use weir_api::object::{Kind, Object, Peer};

/// The most rows of a page.
pub const MOST: usize = 10_000;

/// How many rows a page may have.
///
/// # Errors
/// `INVALID_PARAMS` for none.
pub fn limit(list: &List) -> Result<usize, Error> {
    match list.limit {
        Some(0) => Err(fault(code::INVALID_PARAMS, "a page has at least one row", "limit", 0)),
        limit => Ok(limit.unwrap_or(MOST).min(MOST)),
    }
}

/// The bridge that rows are asked of.
///
/// # Errors
/// `NOT_FOUND` if there is none.
pub fn bridge(state: &Desired, list: &List) -> Result<Option<Name>, Error> {
    named_bridge(state, list.bridge.as_deref())
}

/// The bridge that a param named `bridge` asks for, if it does.
///
/// # Errors
/// `NOT_FOUND`.
pub fn named_bridge(state: &Desired, text: Option<&str>) -> Result<Option<Name>, Error> {
    let Some(text) = text else { return Ok(None) };
    let name = text.parse().ok().filter(|name| state.bridges.contains_key(name));
    name.map(Some).ok_or_else(|| fault(code::NOT_FOUND, format!("there is no bridge {text}"), "bridge", text))
}

/// Refuses the filters of what is known of hosts.
///
/// # Errors
/// `INVALID_PARAMS` for either.
pub fn no_facts(list: &List) -> Result<(), Error> {
    let why = "only mac, binding and flood rows can be asked for by it";
    match (&list.address, list.source) {
        (Some(address), _) => Err(fault(code::INVALID_PARAMS, why, "address", address)),
        (_, Some(source)) => Err(fault(code::INVALID_PARAMS, why, "source", source)),
        (None, None) => Ok(()),
    }
}

/// Rows with their ids, in order; one more than fits shows that there is another page.
pub fn page(generation: u64, limit: usize, mut rows: impl Iterator<Item = (String, Value)>) -> Page {
    let mut page = Page { generation, rows: Vec::new(), next: None };
    let mut last = None;
    for (id, row) in rows.by_ref().take(limit) {
        page.rows.push(row);
        last = Some(id);
    }
    if rows.next().is_some() {
        page.next = last;
    }
    page
}

/// A page of the desired state.
///
/// # Errors
/// `INVALID_PARAMS` for a cursor or a filter that does not fit the noun, `NOT_FOUND` for a bridge that is not there.
pub fn objects(configuration: &Configuration, kind: Kind, list: &List) -> Result<Page, Error> {
    if let Kind::Router | Kind::Interface | Kind::Route | Kind::DvrMac = kind {
        return routing::list(configuration, kind, list);
    }
    let state = configuration.desired();
    no_facts(list)?;
    no_routing(list)?;
    let limit = limit(list)?;
    let bridge = bridge(state, list)?;
    if let (Kind::Vtep, Some(name)) = (kind, &bridge) {
        return Err(fault(code::INVALID_PARAMS, "a vtep belongs to no bridge", "bridge", name));
    }
    let after = list.after.as_deref().map(|id| ObjectKey::parse(kind, id)).transpose();
    let after = after.map_err(|why| fault(code::INVALID_PARAMS, why, "after", list.after.as_deref().unwrap_or("")))?;
    let rows: Box<dyn Iterator<Item = Object> + '_> = match (kind, &after) {
        (Kind::Bridge, after) => {
            let after = after.as_ref().and_then(|k| if let ObjectKey::Bridge(n) = k { Some(n) } else { None });
            let rows = from(&state.bridges, after).map(|(_, o)| o);
            Box::new(rows.filter(move |o| bridge.as_ref().is_none_or(|b| *b == o.name)).cloned().map(Object::Bridge))
        }
        (Kind::Vtep, after) => {
            let after = after.as_ref().and_then(|k| if let ObjectKey::Vtep(n) = k { Some(n) } else { None });
            Box::new(from(&state.vteps, after).map(|(_, o)| Object::Vtep(o.clone())))
        }
        (Kind::Segment, after) => {
            let after =
                after.as_ref().and_then(|k| if let ObjectKey::Segment(id) = k { Some(id.clone()) } else { None });
            let ids = segments(state, bridge, after.map_or(Bound::Unbounded, Bound::Excluded));
            Box::new(ids.filter_map(|id| state.segments.get(id)).cloned().map(Object::Segment))
        }
        (Kind::Peer, after) => {
            let after =
                after.as_ref().and_then(|k| if let ObjectKey::Peer(s, a) = k { Some((s.clone(), *a)) } else { None });
            let first = after.as_ref().map_or(Bound::Unbounded, |(s, _)| Bound::Included(s.clone()));
            let all = segments(state, bridge, first).filter_map(|id| state.peers.get_key_value(id));
            let rows = all.flat_map(|(segment, addresses)| addresses.iter().map(move |(a, mesh)| (segment, *a, mesh)));
            let rows = rows.filter(move |(s, a, _)| after.as_ref().is_none_or(|(t, b)| *s != t || a > b));
            Box::new(rows.map(|(segment, address, mesh)| {
                Object::Peer(Peer { segment: segment.clone(), address, mesh: mesh.clone() })
            }))
        }
        (_, after) => {
            let after = after
                .as_ref()
                .and_then(|k| if let ObjectKey::Endpoint(b, m) = k { Some((b.clone(), *m)) } else { None });
            let first = after.as_ref().map_or(Bound::Unbounded, |(b, _)| Bound::Included(b.clone()));
            let bridges = state.endpoints.range((first, Bound::Unbounded));
            let bridges = bridges.filter(move |(b, _)| bridge.as_ref().is_none_or(|only| only == *b));
            Box::new(bridges.flat_map(move |(b, hosts)| {
                let mac = after.as_ref().filter(|(first, _)| first == b).map(|(_, mac)| *mac);
                let rows = hosts.range((mac.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded));
                rows.map(move |(mac, host)| endpoint(b, *mac, host.clone()))
            }))
        }
    };
    Ok(page(configuration.generation(), limit, rows.map(|object| (object.id(), value(&object)))))
}

fn from<'a, K: Hash + Ord + Clone, V>(map: &'a Table<K, V>, after: Option<&K>) -> impl Iterator<Item = (&'a K, &'a V)> {
    map.range((after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded))
}

/// Segment ids in order, of one bridge or of all.
fn segments(
    state: &Desired,
    bridge: Option<Name>,
    first: Bound<SegmentId>,
) -> Box<dyn Iterator<Item = &SegmentId> + '_> {
    match bridge {
        Some(bridge) => {
            let ids = state.segments_of_bridge.get(&bridge);
            Box::new(ids.into_iter().flat_map(move |ids| ids.range((first.clone(), Bound::Unbounded))))
        }
        None => Box::new(state.segments.range((first, Bound::Unbounded)).map(|(id, _)| id)),
    }
}

/// An object's row: its fields, without its kind.
fn value(object: &Object) -> Value {
    let json = match object {
        Object::Bridge(o) => serde_json::to_value(o),
        Object::Vtep(o) => serde_json::to_value(o),
        Object::Segment(o) => serde_json::to_value(o),
        Object::Peer(o) => serde_json::to_value(o),
        Object::Endpoint(o) => serde_json::to_value(o),
        Object::Router(o) => serde_json::to_value(o),
        Object::Interface(o) => serde_json::to_value(o),
        Object::Route(o) => serde_json::to_value(o),
        Object::DvrMac(o) => serde_json::to_value(o),
    };
    // Maps with keys that are no strings are all that JSON cannot say; an object's are strings.
    json.unwrap_or(Value::Null)
}

/// The kind that a noun lists, if it lists the desired state.
pub fn kind(noun: Noun) -> Option<Kind> {
    match noun {
        Noun::Bridge => Some(Kind::Bridge),
        Noun::Vtep => Some(Kind::Vtep),
        Noun::Segment => Some(Kind::Segment),
        Noun::Peer => Some(Kind::Peer),
        Noun::Endpoint => Some(Kind::Endpoint),
        Noun::Router => Some(Kind::Router),
        Noun::Interface => Some(Kind::Interface),
        Noun::Route => Some(Kind::Route),
        Noun::DvrMac => Some(Kind::DvrMac),
        Noun::Mac | Noun::Binding | Noun::Flood | Noun::Neighbour => None,
    }
}
