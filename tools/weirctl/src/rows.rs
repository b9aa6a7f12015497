//! How the rows of `list` look in a table: columns and cells of each noun.

use crate::table::{Column, Table, number, text};
use serde::de::DeserializeOwned;
use weir_api::id::SegmentId;
use weir_api::object::{
    AcceptFrom, Bridge, Endpoint, FloodList, Interface, Object, Peer, Segment, Tpid, UnknownUnicast, Vtep,
};
use weir_api::view::{BindingRow, DvrMacRow, FloodRow, MacRow, NeighbourRow, RouteRow, RouterRow};

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

fn flood_or_drop(what: UnknownUnicast) -> &'static str {
    match what {
        UnknownUnicast::Flood => "flood",
        UnknownUnicast::Drop => "drop",
    }
}

fn accept_from(whom: AcceptFrom) -> &'static str {
    match whom {
        AcceptFrom::Any => "any",
        AcceptFrom::Listed => "listed",
    }
}

fn flood_list(list: FloodList) -> &'static str {
    match list {
        FloodList::Peers => "peers",
        FloodList::Endpoints => "endpoints",
    }
}

/// Everything about a bridge, by the names that its flags have.
pub fn bridge(o: &Bridge) -> [(&'static str, String); 14] {
    let rate = |limit: u32| if limit == 0 { "none".to_owned() } else { format!("{limit} packets/s") };
    [
        ("bridge", o.name.to_string()),
        ("mac-limit", o.mac_limit.to_string()),
        ("mac-ageing", format!("{} s", o.mac_ageing)),
        ("unknown-unicast", flood_or_drop(o.unknown_unicast).to_owned()),
        ("accept-from", accept_from(o.accept_from).to_owned()),
        ("flood-list", flood_list(o.flood_list).to_owned()),
        ("suppression", yes_no(o.suppression)),
        ("unknown-target", flood_or_drop(o.unknown_target).to_owned()),
        ("binding-limit", o.binding_limit.to_string()),
        ("binding-ageing", format!("{} s", o.binding_ageing)),
        ("port-security", yes_no(o.port_security)),
        ("broadcast-limit", rate(o.broadcast_limit)),
        ("unknown-limit", rate(o.unknown_limit)),
        ("announcement-limit", rate(o.announcement_limit)),
    ]
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
            text("FLOOD-LIST"),
            text("SUPPRESSION"),
            text("PORT-SECURITY"),
        ]
    }
    fn cells(&self) -> Vec<String> {
        vec![
            self.name.to_string(),
            self.mac_limit.to_string(),
            self.mac_ageing.to_string(),
            flood_or_drop(self.unknown_unicast).to_owned(),
            accept_from(self.accept_from).to_owned(),
            flood_list(self.flood_list).to_owned(),
            yes_no(self.suppression),
            yes_no(self.port_security),
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
        vec![text("SEGMENT"), text("BRIDGE"), text("VTEP"), text("CARRY-TAGS"), text("MESH"), text("TPID")]
    }
    fn cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            self.bridge.to_string(),
            or_dash(self.vtep.as_ref()),
            if self.id.is_tunnel() { yes_no(self.carry_tags) } else { String::new() },
            or_dash(self.mesh.as_ref()),
            match (&self.id, self.tpid) {
                (SegmentId::Qinq { .. }, Tpid::Service) => "0x88a8".to_owned(),
                (SegmentId::Qinq { .. }, Tpid::Customer) => "0x8100".to_owned(),
                _ => String::new(),
            },
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
        vec![text("SEGMENT"), text("ADDRESS"), text("MESH")]
    }
    fn cells(&self) -> Vec<String> {
        vec![self.segment.to_string(), self.address.to_string(), or_dash(self.mesh.as_ref())]
    }
    fn id(&self) -> String {
        Object::Peer(self.clone()).id()
    }
}

impl Row for Endpoint {
    const NOUN: &'static str = "endpoint";
    const NOUNS: &'static str = "endpoints";
    fn columns() -> Vec<Column> {
        vec![text("BRIDGE"), text("MAC"), text("LOCATION"), text("IPS"), text("ALLOWED-PAIRS")]
    }
    fn cells(&self) -> Vec<String> {
        vec![
            self.bridge.to_string(),
            self.mac.to_string(),
            self.location.to_string(),
            commas(self.ips.iter().map(ToString::to_string)),
            commas(self.allowed_pairs.iter().map(ToString::to_string)),
        ]
    }
    fn id(&self) -> String {
        Object::Endpoint(self.clone()).id()
    }
}

/// Everything about an interface, by the names that its flags have.
pub(crate) fn interface(o: &Interface) -> Vec<(&'static str, String)> {
    let mut fields = vec![
        ("router", o.router.to_string()),
        ("bridge", o.bridge.to_string()),
        ("mac", o.mac.to_string()),
        ("addresses", commas(o.addresses.iter().map(ToString::to_string))),
        ("link-local", o.mac.link_local().to_string()),
        ("mtu", o.mtu.map_or("what fits each way out".to_owned(), |mtu| format!("{mtu} bytes"))),
        ("external", yes_no(o.external)),
    ];
    if o.external {
        let gateways = commas(o.gateways.iter().map(ToString::to_string));
        fields.push(("gateways", if gateways.is_empty() { "-".to_owned() } else { gateways }));
        fields.push(("pass-without-nat", yes_no(o.pass_without_nat)));
    }
    fields.extend([
        ("ra", yes_no(o.ra)),
        ("ra-interval", format!("{} s", o.ra_interval)),
        ("ra-lifetime", format!("{} s", o.ra_lifetime)),
        ("ra-managed", yes_no(o.ra_managed)),
        ("ra-other", yes_no(o.ra_other)),
    ]);
    fields
}

impl Row for RouterRow {
    const NOUN: &'static str = "router";
    const NOUNS: &'static str = "routers";
    fn columns() -> Vec<Column> {
        vec![
            text("ROUTER"),
            text("MSS-CLAMP"),
            number("ICMP-LIMIT", "packets/s"),
            number("INTERFACES", ""),
            number("ROUTES", ""),
        ]
    }
    fn cells(&self) -> Vec<String> {
        vec![
            self.name.to_string(),
            yes_no(self.mss_clamp),
            self.icmp_limit.to_string(),
            self.interfaces.to_string(),
            self.routes.to_string(),
        ]
    }
    fn id(&self) -> String {
        self.name.to_string()
    }
}

impl Row for Interface {
    const NOUN: &'static str = "interface";
    const NOUNS: &'static str = "interfaces";
    fn columns() -> Vec<Column> {
        vec![
            text("ROUTER"),
            text("BRIDGE"),
            text("MAC"),
            text("ADDRESSES"),
            number("MTU", "bytes"),
            text("EXTERNAL"),
            text("GATEWAYS"),
            text("RA"),
        ]
    }
    fn cells(&self) -> Vec<String> {
        vec![
            self.router.to_string(),
            self.bridge.to_string(),
            self.mac.to_string(),
            commas(self.addresses.iter().map(ToString::to_string)),
            or_dash(self.mtu),
            yes_no(self.external),
            commas(self.gateways.iter().map(ToString::to_string)),
            yes_no(self.ra),
        ]
    }
    fn id(&self) -> String {
        format!("{}/{}", self.router, self.bridge)
    }
}

impl Row for RouteRow {
    const NOUN: &'static str = "route";
    const NOUNS: &'static str = "routes";
    fn columns() -> Vec<Column> {
        vec![text("ROUTER"), text("PREFIX"), text("ORIGIN"), text("VIA"), text("INTERFACE")]
    }
    fn cells(&self) -> Vec<String> {
        let via = || commas(self.via.iter().map(|hop| hop.address.to_string()));
        let mut bridges: Vec<String> = self.via.iter().map(|hop| hop.bridge.to_string()).collect();
        bridges.extend(self.bridge.as_ref().map(ToString::to_string));
        bridges.dedup();
        vec![
            self.router.to_string(),
            self.prefix.to_string(),
            self.origin.as_str().to_owned(),
            if self.blackhole { "blackhole".to_owned() } else { via() },
            commas(bridges.into_iter().map(|bridge| format!("{}/{bridge}", self.router))),
        ]
    }
    fn id(&self) -> String {
        format!("{}/{}", self.router, self.prefix)
    }
}

impl Row for DvrMacRow {
    const NOUN: &'static str = "DVR MAC";
    const NOUNS: &'static str = "DVR MACs";
    fn columns() -> Vec<Column> {
        vec![text("MAC"), text("OWN"), text("SOURCE")]
    }
    fn cells(&self) -> Vec<String> {
        vec![self.mac.to_string(), yes_no(self.own), self.source.as_str().to_owned()]
    }
    fn id(&self) -> String {
        self.mac.to_string()
    }
}

impl Row for MacRow {
    const NOUN: &'static str = "MAC";
    const NOUNS: &'static str = "MACs";
    fn columns() -> Vec<Column> {
        vec![text("BRIDGE"), text("MAC"), text("LOCATION"), text("SOURCE"), number("AGE", "s")]
    }
    fn cells(&self) -> Vec<String> {
        vec![
            self.bridge.clone(),
            self.mac.to_string(),
            self.location.to_string(),
            self.source.to_string(),
            or_dash(self.age_seconds),
        ]
    }
    fn id(&self) -> String {
        format!("{}/{}", self.bridge, self.mac)
    }
}

impl Row for BindingRow {
    const NOUN: &'static str = "binding";
    const NOUNS: &'static str = "bindings";
    fn columns() -> Vec<Column> {
        vec![text("BRIDGE"), text("ADDRESS"), text("MAC"), text("SOURCE"), number("AGE", "s"), number("SEQUENCE", "")]
    }
    fn cells(&self) -> Vec<String> {
        vec![
            self.bridge.to_string(),
            self.address.to_string(),
            self.mac.to_string(),
            self.source.to_string(),
            or_dash(self.age_seconds),
            self.sequence.to_string(),
        ]
    }
    fn id(&self) -> String {
        format!("{}/{}", self.bridge, self.address)
    }
}

impl Row for FloodRow {
    const NOUN: &'static str = "flood list with";
    const NOUNS: &'static str = "flood lists";
    fn columns() -> Vec<Column> {
        vec![text("BRIDGE"), text("SEGMENT"), text("PEER"), text("MESH"), text("ORIGIN")]
    }
    fn cells(&self) -> Vec<String> {
        vec![
            self.bridge.to_string(),
            self.segment.to_string(),
            or_dash(self.peer),
            or_dash(self.mesh.as_ref()),
            self.origin.as_str().to_owned(),
        ]
    }
    fn id(&self) -> String {
        let peer = self.peer.map(|peer| format!("/{peer}")).unwrap_or_default();
        format!("{}/{}{peer}", self.bridge, self.segment)
    }
}

impl Row for NeighbourRow {
    const NOUN: &'static str = "neighbour";
    const NOUNS: &'static str = "neighbours";
    fn columns() -> Vec<Column> {
        vec![
            text("PORT"),
            text("ROUTER"),
            text("BRIDGE"),
            text("ADDRESS"),
            text("MAC"),
            text("STATE"),
            number("HELD", "packets"),
            number("WORKER", "core"),
        ]
    }
    fn cells(&self) -> Vec<String> {
        vec![
            or_dash(self.port.as_ref()),
            or_dash(self.router.as_ref()),
            or_dash(self.bridge.as_ref()),
            self.address.clone(),
            or_dash(self.mac.as_ref()),
            self.state.clone(),
            self.held_packets.to_string(),
            self.core.to_string(),
        ]
    }
    fn id(&self) -> String {
        format!("{}/{}", self.port.as_ref().or(self.bridge.as_ref()).map_or("-", String::as_str), self.address)
    }
}
