//! How the rows of `list` look in a table: columns and cells of each noun.

use crate::table::{Column, Table, number, text};
use serde::de::DeserializeOwned;
use weir_api::object::{AcceptFrom, Bridge, Endpoint, Object, Peer, Segment, UnknownUnicast, Vtep};
use weir_api::view::{MacRow, NeighbourRow, Source};

/// A row of `list`.
pub trait Row: DeserializeOwned {
    /// What one is called.
    const NOUN: &'static str;
    /// What several are called.
    const NOUNS: &'static str;
    /// The table's columns.
    fn columns() -> Vec<Column>;
    /// A cell per column.
    fn cells(&self) -> Vec<String>;
    /// What it is called among its kind.
    fn id(&self) -> String;
}

/// The rows as a table.
pub fn table<R: Row>(rows: &[R]) -> Table {
    let mut table = Table::new(R::columns());
    for row in rows {
        table.push(row.cells());
    }
    table
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or("-".to_owned(), |v| v.to_string())
}

fn yes_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

fn commas(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(",")
}

impl Row for Bridge {
    const NOUN: &'static str = "bridge";
    const NOUNS: &'static str = "bridges";
    fn columns() -> Vec<Column> {
        vec![
            text("BRIDGE"),
            number("MAC-LIMIT", ""),
            number("MAC-AGEING", "s"),
            text("UNKNOWN-UNICAST"),
            text("ACCEPT-FROM"),
        ]
    }
    fn cells(&self) -> Vec<String> {
        let unknown_unicast = match self.unknown_unicast {
            UnknownUnicast::Flood => "flood",
            UnknownUnicast::Drop => "drop",
        };
        let accept_from = match self.accept_from {
            AcceptFrom::Any => "any",
            AcceptFrom::Listed => "listed",
        };
        vec![
            self.name.to_string(),
            self.mac_limit.to_string(),
            self.mac_ageing.to_string(),
            unknown_unicast.to_owned(),
            accept_from.to_owned(),
        ]
    }
    fn id(&self) -> String {
        self.name.to_string()
    }
}

impl Row for Vtep {
    const NOUN: &'static str = "vtep";
    const NOUNS: &'static str = "vteps";
    fn columns() -> Vec<Column> {
        vec![text("VTEP"), text("PORT"), text("ADDRESS"), text("GATEWAYS"), text("NEIGHBOURS")]
    }
    fn cells(&self) -> Vec<String> {
        vec![
            self.name.to_string(),
            self.port.to_string(),
            self.address.to_string(),
            commas(self.gateways.iter().map(ToString::to_string)),
            commas(self.neighbours.iter().map(|(address, mac)| format!("{address}={mac}"))),
        ]
    }
    fn id(&self) -> String {
        self.name.to_string()
    }
}

impl Row for Segment {
    const NOUN: &'static str = "segment";
    const NOUNS: &'static str = "segments";
    fn columns() -> Vec<Column> {
        vec![text("SEGMENT"), text("BRIDGE"), text("VTEP"), text("CARRY-TAGS")]
    }
    fn cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            self.bridge.to_string(),
            or_dash(self.vtep.as_ref()),
            if self.id.is_tunnel() { yes_no(self.carry_tags) } else { String::new() },
        ]
    }
    fn id(&self) -> String {
        self.id.to_string()
    }
}

impl Row for Peer {
    const NOUN: &'static str = "peer";
    const NOUNS: &'static str = "peers";
    fn columns() -> Vec<Column> {
        vec![text("SEGMENT"), text("ADDRESS")]
    }
    fn cells(&self) -> Vec<String> {
        vec![self.segment.to_string(), self.address.to_string()]
    }
    fn id(&self) -> String {
        Object::Peer(self.clone()).id()
    }
}

impl Row for Endpoint {
    const NOUN: &'static str = "endpoint";
    const NOUNS: &'static str = "endpoints";
    fn columns() -> Vec<Column> {
        vec![text("BRIDGE"), text("MAC"), text("LOCATION"), text("IPS")]
    }
    fn cells(&self) -> Vec<String> {
        vec![
            self.bridge.to_string(),
            self.mac.to_string(),
            self.location.to_string(),
            commas(self.ips.iter().map(ToString::to_string)),
        ]
    }
    fn id(&self) -> String {
        Object::Endpoint(self.clone()).id()
    }
}

impl Row for MacRow {
    const NOUN: &'static str = "MAC";
    const NOUNS: &'static str = "MACs";
    fn columns() -> Vec<Column> {
        vec![text("BRIDGE"), text("MAC"), text("LOCATION"), text("SOURCE"), number("AGE", "s")]
    }
    fn cells(&self) -> Vec<String> {
        let source = match self.source {
            Source::Configured => "configured",
            Source::Learned => "learned",
        };
        vec![
            self.bridge.clone(),
            self.mac.to_string(),
            self.location.to_string(),
            source.to_owned(),
            or_dash(self.age_seconds),
        ]
    }
    fn id(&self) -> String {
        format!("{}/{}", self.bridge, self.mac)
    }
}

impl Row for NeighbourRow {
    const NOUN: &'static str = "neighbour";
    const NOUNS: &'static str = "neighbours";
    fn columns() -> Vec<Column> {
        vec![
            text("PORT"),
            text("ADDRESS"),
            text("MAC"),
            text("STATE"),
            number("HELD", "packets"),
            number("WORKER", "core"),
        ]
    }
    fn cells(&self) -> Vec<String> {
        vec![
            self.port.clone(),
            self.address.clone(),
            or_dash(self.mac.as_ref()),
            self.state.clone(),
            self.held_packets.to_string(),
            self.core.to_string(),
        ]
    }
    fn id(&self) -> String {
        format!("{}/{}", self.port, self.address)
    }
}
