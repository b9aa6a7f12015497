//! What the firmware knows of hosts, page by page: MACs and bindings, configured and learned; and where bridges flood to.
//!
//! Owns: putting what workers learned and what is configured into one list, in order of bridge and address, and its filters.
//! A list of MACs or bindings is taken from the workers with its first page and kept for the others; a flood list follows
//! from the desired state, and its cursor is the place of the last row.

use super::batch::fault;
use super::configuration::Configuration;
use super::crew::Crew;
use super::desired::{Desired, Host};
use super::pages;
use super::views;
use crate::worker::link::BindingEntry;
use serde_json::Value;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::IpAddr;
use std::ops::Bound;
use std::str::FromStr;
use std::time::{Duration, Instant};
use weir_api::id::{Location, Mac, Name, SegmentId};
use weir_api::message::{Error, List, Noun, Page, code};
use weir_api::object::FloodList;
use weir_api::view::{BindingRow, FloodRow, MacRow, Origin, Source};

/// How long a list is kept for the pages behind the first.
const KEPT: Duration = Duration::from_secs(30);

/// A list that is handed out page by page.
pub(super) struct Kept {
    /// What was asked for, without the page.
    of: Asked,
    made: Instant,
    rows: Rows,
}

#[derive(PartialEq)]
struct Asked {
    noun: Noun,
    bridge: Option<Name>,
    address: Option<Address>,
    source: Option<Source>,
}

/// What a host goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Address {
    Ip(IpAddr),
    Mac(Mac),
}

/// Sorted by bridge and MAC, or bridge and address.
enum Rows {
    Macs(Vec<MacRow>),
    Bindings(Vec<BindingRow>),
}

impl Kept {
    /// Whether nobody asks for the next page any more.
    pub(super) fn is_old(&self) -> bool {
        self.made.elapsed() > KEPT
    }
}

/// A page of MACs or bindings. `kept` is what is left of the list before, and becomes what is left of this.
///
/// # Errors
/// `INVALID_PARAMS` for a filter or cursor that does not fit, `NOT_FOUND` for a bridge that is not there, `UNAVAILABLE` if a
/// worker does not answer.
pub(super) fn list(
    configuration: &Configuration,
    crew: &mut Crew,
    ports: usize,
    list: &List,
    kept: &mut Option<Kept>,
) -> Result<Page, Error> {
    let limit = pages::limit(list)?;
    let bridge = pages::bridge(configuration.desired(), list)?;
    let of = Asked { noun: list.of, bridge, address: address(list)?, source: list.source };
    let kept_rows = kept.take().filter(|kept| list.after.is_some() && kept.of == of);
    let taken = match kept_rows {
        Some(taken) => taken,
        None => {
            let rows = match of.noun {
                Noun::Mac => Rows::Macs(macs(configuration, crew, ports, &of)?),
                _ => Rows::Bindings(bindings(configuration, crew, ports, &of)?),
            };
            Kept { of, made: Instant::now(), rows }
        }
    };
    let generation = configuration.generation();
    let page = match &taken.rows {
        Rows::Macs(rows) => {
            let first = first(rows, list, |row, bridge, mac: Mac| (row.bridge.as_str(), row.mac) <= (bridge, mac))?;
            let id = |row: &MacRow| format!("{}/{}", row.bridge, row.mac);
            pages::page(generation, limit, rows[first..].iter().map(|row| (id(row), serde_json::json!(row))))
        }
        Rows::Bindings(rows) => {
            let first =
                first(rows, list, |row, bridge, ip: IpAddr| (row.bridge.as_str(), row.address) <= (bridge, ip))?;
            let id = |row: &BindingRow| format!("{}/{}", row.bridge, row.address);
            pages::page(generation, limit, rows[first..].iter().map(|row| (id(row), serde_json::json!(row))))
        }
    };
    *kept = page.next.is_some().then_some(taken);
    Ok(page)
}

/// The number of the first row behind the cursor, BRIDGE/ADDRESS.
fn first<R, A>(rows: &[R], list: &List, is_before: impl Fn(&R, &str, A) -> bool) -> Result<usize, Error>
where
    A: FromStr + Copy,
    A::Err: Display,
{
    let Some(after) = &list.after else { return Ok(0) };
    let (bridge, address) = after.rsplit_once('/').unwrap_or_default();
    let address: A =
        address.parse().map_err(|why: A::Err| fault(code::INVALID_PARAMS, why.to_string(), "after", after))?;
    Ok(rows.partition_point(|row| is_before(row, bridge, address)))
}

/// The address that rows are asked of, of the kind that the noun has.
fn address(list: &List) -> Result<Option<Address>, Error> {
    let Some(text) = &list.address else { return Ok(None) };
    let (ip, mac) = (text.parse().ok().map(Address::Ip), text.parse().ok().map(Address::Mac));
    let (address, expected) = match list.of {
        Noun::Mac => (mac, "a MAC address"),
        Noun::Flood => (ip, "a peer's IP address"),
        _ => (ip.or(mac), "an IP address or a MAC address"),
    };
    let why = || format!("expected {expected}, found {text}");
    address.map(Some).ok_or_else(|| fault(code::INVALID_PARAMS, why(), "address", text))
}

fn macs(configuration: &Configuration, crew: &mut Crew, ports: usize, of: &Asked) -> Result<Vec<MacRow>, Error> {
    let learned = match of.source {
        Some(Source::Configured) => Vec::new(),
        _ => crew.macs(ports)?,
    };
    let mut rows = views::macs(configuration, of.bridge.as_ref(), &learned);
    rows.retain(|row| of.source.is_none_or(|source| row.source == source));
    rows.retain(|row| of.address.is_none_or(|address| address == Address::Mac(row.mac)));
    Ok(rows)
}

fn bindings(
    configuration: &Configuration,
    crew: &mut Crew,
    ports: usize,
    of: &Asked,
) -> Result<Vec<BindingRow>, Error> {
    // Those that are learned decide which configured ones are in force.
    let learned = crew.bindings(ports)?;
    let mut rows = merged(configuration, of.bridge.as_ref(), &learned);
    rows.retain(|row| of.source.is_none_or(|source| row.source == source));
    rows.retain(|row| match of.address {
        None => true,
        Some(Address::Ip(ip)) => row.address == ip,
        Some(Address::Mac(mac)) => row.mac == mac,
    });
    Ok(rows)
}

/// Bindings configured and learned, in order of bridge and address; of one bridge, or of all. Where workers differ, the one
/// that knows of more moves is right. What somebody else may hold and has announced goes before whose it is.
pub(super) fn merged(
    configuration: &Configuration,
    bridge: Option<&Name>,
    learned: &[Vec<BindingEntry>],
) -> Vec<BindingRow> {
    let names = configuration.translator().bridge_names();
    let mut rows: BTreeMap<(&Name, IpAddr), BindingEntry> = BTreeMap::new();
    for entry in learned.iter().flatten() {
        let Some(name) = names.get(&entry.bridge).filter(|name| bridge.is_none_or(|only| only == *name)) else {
            continue;
        };
        let row = rows.entry((name, entry.address)).or_insert(*entry);
        // Numbers of moves wrap.
        let newer = entry.sequence.wrapping_sub(row.sequence) as i32;
        let higher = (entry.mac.0, Reverse(entry.age)) > (row.mac.0, Reverse(row.age));
        if newer > 0 || newer == 0 && higher {
            *row = *entry;
        }
    }
    let mut all: BTreeMap<(&Name, IpAddr), BindingRow> = BTreeMap::new();
    for (name, hosts) in configuration.desired().endpoints.iter() {
        if bridge.is_some_and(|only| only != name) {
            continue;
        }
        for (mac, Host { ips, .. }) in hosts {
            for &address in ips {
                let row = BindingRow {
                    bridge: name.clone(),
                    address,
                    mac: *mac,
                    source: Source::Configured,
                    age_seconds: None,
                    sequence: 0,
                };
                all.insert((name, address), row);
            }
        }
    }
    for ((name, address), entry) in rows {
        let Ok(mac) = Mac::try_from(entry.mac.0) else { continue };
        match all.get_mut(&(name, address)) {
            Some(own) if own.mac == mac => own.sequence = entry.sequence,
            _ => {
                let row = BindingRow {
                    bridge: name.clone(),
                    address,
                    mac,
                    source: Source::Learned,
                    age_seconds: Some(u64::from(entry.age)),
                    sequence: entry.sequence,
                };
                all.insert((name, address), row);
            }
        }
    }
    all.into_values().collect()
}

/// A page of where bridges flood to.
///
/// # Errors
/// As [`list`].
pub(super) fn floods(configuration: &Configuration, list: &List) -> Result<Page, Error> {
    let state = configuration.desired();
    let limit = pages::limit(list)?;
    let bridge = pages::bridge(state, list)?;
    let address = address(list)?;
    let after = list.after.as_deref().map(cursor).transpose()?;
    let first = after.as_ref().map_or(Bound::Unbounded, |(name, ..)| Bound::Included(name.clone()));
    let names = state.bridges.range((first, Bound::Unbounded)).map(|(name, _)| name);
    let names = names.filter(|name| bridge.as_ref().is_none_or(|only| only == *name));
    // They are all configured.
    let names = names.filter(|_| list.source.is_none_or(|source| source == Source::Configured));
    let rows = names.flat_map(|name| of_bridge(state, name));
    let rows =
        rows.filter(|row| after.as_ref().is_none_or(|at| (&row.bridge, &row.segment, row.peer) > (&at.0, &at.1, at.2)));
    let rows = rows.filter(|row| address.is_none_or(|address| row.peer.map(Address::Ip) == Some(address)));
    let id = |row: &FloodRow| match row.peer {
        Some(peer) => format!("{}/{}/{peer}", row.bridge, row.segment),
        None => format!("{}/{}", row.bridge, row.segment),
    };
    Ok(pages::page(configuration.generation(), limit, rows.map(|row| (id(&row), value(&row)))))
}

fn value(row: &FloodRow) -> Value {
    serde_json::json!(row)
}

type FloodKey = (Name, SegmentId, Option<IpAddr>);

/// BRIDGE/SEGMENT, or BRIDGE/SEGMENT/PEER.
fn cursor(after: &str) -> Result<FloodKey, Error> {
    let parse = || {
        let (bridge, place) = after.split_once('/')?;
        let Location { segment, peer } = place.parse().ok()?;
        Some((bridge.parse().ok()?, segment, peer))
    };
    let why = "expected BRIDGE/SEGMENT, or BRIDGE/SEGMENT/PEER for a tunnel";
    parse().ok_or_else(|| fault(code::INVALID_PARAMS, why, "after", after))
}

/// Where a bridge floods to, in order of segment and peer.
fn of_bridge<'a>(state: &'a Desired, name: &'a Name) -> impl Iterator<Item = FloodRow> + 'a {
    let mut hosts: BTreeMap<&SegmentId, BTreeSet<IpAddr>> = BTreeMap::new();
    if state.bridges.get(name).is_some_and(|bridge| bridge.flood_list == FloodList::Endpoints) {
        for host in state.endpoints.get(name).into_iter().flat_map(|hosts| hosts.values()) {
            if let Some(peer) = host.location.peer {
                hosts.entry(&host.location.segment).or_default().insert(peer);
            }
        }
    }
    let segments = state.segments_of_bridge.get(name).into_iter().flatten();
    segments.flat_map(move |id| {
        let mut places: BTreeMap<Option<IpAddr>, Origin> = BTreeMap::new();
        if !id.is_tunnel() {
            places.insert(None, Origin::Vlan);
        }
        let behind = hosts.remove(id).unwrap_or_default();
        places.extend(behind.into_iter().map(|peer| (Some(peer), Origin::Endpoint)));
        let peers = state.peers.get(id).into_iter().flat_map(|peers| peers.keys());
        places.extend(peers.map(|peer| (Some(*peer), Origin::Peer)));
        places.into_iter().map(move |(peer, origin)| {
            let own = peer.and_then(|peer| state.peer_mesh(id, peer));
            let mesh = own.or_else(|| state.segments.get(id)?.mesh.as_ref()).cloned();
            FloodRow { bridge: name.clone(), segment: id.clone(), peer, mesh, origin }
        })
    })
}
