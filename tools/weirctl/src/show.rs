//! `show`: asks for rows and counters, and prints them as a table or as JSON.

use crate::cli::{EndpointId, Show, ShowFacts, ShowHosts};
use crate::failure::Failure;
use crate::rows::{self, Row};
use crate::session::{Session, typed};
use crate::{apply, routing, stats};
use serde_json::Value;
use std::str::FromStr;
use weir_api::id::Name;
use weir_api::message::{List, Noun};
use weir_api::object::{Bridge, Endpoint, Key, Kind, Object, Peer, Segment, Vtep};
use weir_api::view::{BindingRow, FloodRow, MacRow, NeighbourRow};

/// `show NOUN [ID]`.
pub fn show(session: &mut Session<'_>, what: &Show) -> Result<(), Failure> {
    match what {
        Show::Bridge(a) => bridges(session, a.id.as_ref()),
        Show::Vtep(a) => one_or_all::<Vtep>(session, Kind::Vtep, named(&a.id)),
        Show::Segment(a) => of_bridge::<Segment>(session, Kind::Segment, named(&a.id), a.bridge.as_ref()),
        Show::Peer(a) => of_bridge::<Peer>(session, Kind::Peer, named(&a.id), a.bridge.as_ref()),
        Show::Endpoint(a) => endpoints(session, a),
        Show::Mac(a) => facts::<MacRow, _>(session, Noun::Mac, a),
        Show::Binding(a) => facts::<BindingRow, _>(session, Noun::Binding, a),
        Show::Flood(a) => facts::<FloodRow, _>(session, Noun::Flood, a),
        Show::Router(a) => routing::routers(session, a.id.as_ref()),
        Show::Interface(a) => routing::interfaces(session, a),
        Show::Route(a) => routing::routes(session, a),
        Show::DvrMac(a) => routing::dvr_macs(session, a.id),
        Show::Neighbour(a) => {
            let wanted = |row: &NeighbourRow| a.id.is_none_or(|address| row.address.parse() == Ok(address));
            let (bridge, router) = (named(&a.bridge), named(&a.router));
            matching(session, List { bridge, router, ..List::all(Noun::Neighbour) }, named(&a.id), wanted)
        }
        Show::Port(a) => stats::ports(session, a.id.as_ref()),
        Show::Drop(a) => stats::drops(session, a.id.as_ref()),
        Show::Worker(a) => stats::workers(session, a.id),
        Show::Generation => stats::generation(session),
        Show::Table(a) => stats::tables(session, a.id.as_ref()),
        Show::Event(a) => stats::events(session, a.id.as_ref()),
        Show::State => apply::export(session),
        Show::Stats => stats::everything(session),
    }
}

pub(crate) fn named(id: &Option<impl ToString>) -> Option<String> {
    id.as_ref().map(ToString::to_string)
}

/// `show endpoint [BRIDGE/MAC | MAC] [--bridge B]`.
fn endpoints(session: &mut Session<'_>, args: &ShowHosts<EndpointId>) -> Result<(), Failure> {
    let Some(EndpointId { bridge, mac }) = &args.id else {
        return of_bridge::<Endpoint>(session, Kind::Endpoint, None, args.bridge.as_ref());
    };
    match (bridge, &args.bridge) {
        (Some(one), Some(other)) if one != other => {
            Err(Failure::Usage(format!("{one}/{mac} is not on bridge {other}: name one bridge")))
        }
        (Some(bridge), _) | (None, Some(bridge)) => {
            one_or_all::<Endpoint>(session, Kind::Endpoint, Some(format!("{bridge}/{mac}")))
        }
        (None, None) => {
            let all = List::all(Noun::Endpoint);
            matching(session, all, Some(mac.to_string()), |row: &Endpoint| row.mac == *mac)
        }
    }
}

/// The objects of a kind, or the one of this id.
pub(crate) fn one_or_all<R: Row>(session: &mut Session<'_>, kind: Kind, id: Option<String>) -> Result<(), Failure> {
    let rows = match id {
        None => session.rows(List::all(kind.into()))?.0,
        Some(id) => vec![apply::fields(&session.get(Key { kind, id })?).into()],
    };
    print::<R>(session, rows)
}

/// The objects of a kind, or those of a bridge, or the one of this id, which then has to be of that bridge.
fn of_bridge<R: Row>(
    session: &mut Session<'_>,
    kind: Kind,
    id: Option<String>,
    bridge: Option<&Name>,
) -> Result<(), Failure> {
    if bridge.is_none() {
        return one_or_all::<R>(session, kind, id);
    }
    let list = List { bridge: named(&bridge), ..List::all(kind.into()) };
    matching::<R>(session, list, id.clone(), |row| id.as_ref().is_none_or(|id| row.id() == *id))
}

/// What the firmware knows: all of it, or of a bridge, of an address, known in one way. One that is named has to be there.
fn facts<R: Row, T>(session: &mut Session<'_>, of: Noun, args: &ShowFacts<T>) -> Result<(), Failure>
where
    T: ToString + FromStr + Clone + Send + Sync + 'static,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let address = named(&args.id).or_else(|| named(&args.address));
    let list = List { bridge: named(&args.bridge), address, source: args.source, ..List::all(of) };
    matching::<R>(session, list, named(&args.id), |_| true)
}

/// `show bridge [NAME]`: a table of all with what tells them apart, or everything about one.
fn bridges(session: &mut Session<'_>, name: Option<&Name>) -> Result<(), Failure> {
    let Some(name) = name.filter(|_| !session.json) else {
        return one_or_all::<Bridge>(session, Kind::Bridge, name.map(Name::to_string));
    };
    let key = Key { kind: Kind::Bridge, id: name.to_string() };
    match session.get(key)? {
        Object::Bridge(bridge) => {
            for (field, value) in rows::bridge(&bridge) {
                writeln!(session.out, "{field:<18}  {value}")?;
            }
            Ok(())
        }
        other => Err(Failure::Misunderstood(format!("get: found {} instead", other.key()))),
    }
}

/// The rows that are wanted. With an id, it is an error when there are none.
pub(crate) fn matching<R: Row>(
    session: &mut Session<'_>,
    list: List,
    id: Option<String>,
    wanted: impl Fn(&R) -> bool,
) -> Result<(), Failure> {
    let on = match (&list.bridge, &list.router) {
        (Some(bridge), _) => format!(" on bridge {bridge}"),
        (None, Some(router)) if *router != id.as_deref().unwrap_or_default() => format!(" of router {router}"),
        _ => String::new(),
    };
    let (rows, _, _) = session.rows(list)?;
    let Some(id) = id else { return print::<R>(session, rows) };
    let mut found = Vec::new();
    for row in rows {
        if wanted(&typed::<R>(row.clone(), "list")?) {
            found.push(row);
        }
    }
    if found.is_empty() {
        return Err(Failure::NotFound(format!("{} {id}{on}", R::NOUN)));
    }
    print::<R>(session, found)
}

fn print<R: Row>(session: &mut Session<'_>, rows: Vec<Value>) -> Result<(), Failure> {
    if session.json {
        return session.print_json(&rows);
    }
    let rows: Vec<R> = rows.into_iter().map(|row| typed(row, "list")).collect::<Result<_, _>>()?;
    Ok(rows::table(&rows).write(R::NOUNS, session.out)?)
}
