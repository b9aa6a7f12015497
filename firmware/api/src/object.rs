//! What an operator configures: the desired state, object by object.
//!
//! An object is whole: a put replaces it. Ports are not here; they are known at boot, from `weir.toml`.

use crate::id::{AllowedPair, IpPrefix, Location, Mac, Name, SegmentId};
pub use crate::routing::{DvrMac, Interface, Route, Router};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A tenant's L2 broadcast domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bridge {
    /// What it is called; unique among bridges.
    pub name: Name,
    /// How many MACs it may learn; the newest beyond that are not learned. Default 4,096.
    #[serde(default = "Bridge::default_mac_limit")]
    pub mac_limit: u32,
    /// After how many seconds of silence a learned MAC is forgotten, 10 to 36,000. Default 300 (IEEE 802.1Q §8.8.3).
    #[serde(default = "Bridge::default_mac_ageing")]
    pub mac_ageing: u32,
    /// What becomes of a frame to a MAC that is not known. Default flood.
    #[serde(default)]
    pub unknown_unicast: UnknownUnicast,
    /// Whose tunnelled frames are accepted. Default any.
    #[serde(default)]
    pub accept_from: AcceptFrom,
    /// Whether requests for known bindings (ARP, neighbour solicitations) are answered where they come in. Default yes.
    #[serde(default = "Bridge::default_suppression")]
    pub suppression: bool,
    /// What becomes of a request for an address without a binding. Default flood.
    #[serde(default)]
    pub unknown_target: UnknownUnicast,
    /// How many bindings it may learn; the newest beyond that are not learned. Default 4,096.
    #[serde(default = "Bridge::default_binding_limit")]
    pub binding_limit: u32,
    /// After how many seconds without confirmation a learned binding's owner is asked, and forgotten if it is silent, 10 to
    /// 36,000. Default 300.
    #[serde(default = "Bridge::default_binding_ageing")]
    pub binding_ageing: u32,
    /// Whether every frame's source MAC and IP are checked against the endpoints' addresses and allowed pairs. Default no.
    #[serde(default)]
    pub port_security: bool,
    /// Broadcast and multicast frames that each port, or tunnel port, may bring in a second on each worker; 0 is without limit.
    /// Default 10,000.
    #[serde(default = "Bridge::default_flood_limit")]
    pub broadcast_limit: u32,
    /// The same for frames to unknown MACs. Default 10,000.
    #[serde(default = "Bridge::default_flood_limit")]
    pub unknown_limit: u32,
    /// The same for announcements: gratuitous ARP and unsolicited neighbour advertisements. Default 1,000.
    #[serde(default = "Bridge::default_announcement_limit")]
    pub announcement_limit: u32,
    /// Where flooded frames go besides the bridge's VLANs. Default peers.
    #[serde(default)]
    pub flood_list: FloodList,
}

impl Bridge {
    /// A bridge of that name, with every default.
    pub fn new(name: Name) -> Self {
        Self {
            name,
            mac_limit: Self::default_mac_limit(),
            mac_ageing: Self::default_mac_ageing(),
            unknown_unicast: UnknownUnicast::default(),
            accept_from: AcceptFrom::default(),
            suppression: Self::default_suppression(),
            unknown_target: UnknownUnicast::default(),
            binding_limit: Self::default_binding_limit(),
            binding_ageing: Self::default_binding_ageing(),
            port_security: false,
            broadcast_limit: Self::default_flood_limit(),
            unknown_limit: Self::default_flood_limit(),
            announcement_limit: Self::default_announcement_limit(),
            flood_list: FloodList::default(),
        }
    }
    fn default_suppression() -> bool {
        true
    }
    fn default_binding_limit() -> u32 {
        4096
    }
    fn default_binding_ageing() -> u32 {
        300
    }
    fn default_flood_limit() -> u32 {
        10_000
    }
    fn default_announcement_limit() -> u32 {
        1000
    }
    fn default_mac_limit() -> u32 {
        4096
    }
    fn default_mac_ageing() -> u32 {
        300
    }
}

/// What becomes of a frame to a MAC, or a request for an address, that is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownUnicast {
    /// It goes everywhere on the bridge but back.
    #[default]
    Flood,
    /// It is dropped and counted.
    Drop,
}

/// From which remote tunnel endpoints a bridge accepts frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AcceptFrom {
    /// From whoever knows the VNI.
    #[default]
    Any,
    /// Only from the segment's peers and from where its endpoints are.
    Listed,
}

/// Where a bridge floods to, besides its VLANs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FloodList {
    /// To its peers.
    #[default]
    Peers,
    /// To its peers, and to every peer that an endpoint is behind.
    Endpoints,
}

/// The EtherType of the outer of two tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tpid {
    /// A service tag (IEEE 802.1ad).
    #[default]
    #[serde(rename = "0x88a8")]
    Service,
    /// A customer tag (IEEE 802.1Q), as older equipment stacks them.
    #[serde(rename = "0x8100")]
    Customer,
}

/// An attachment of a bridge: a VLAN on a port, or a network in tunnels on a vtep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// What it is; unique among segments.
    pub id: SegmentId,
    /// The bridge it belongs to.
    pub bridge: Name,
    /// The local tunnel endpoint; needed for a tunnel, refused for a VLAN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vtep: Option<Name>,
    /// Whether frames that still carry a VLAN tag inside the tunnel pass (RFC 7348 §6.1 wants them dropped). Default no.
    #[serde(default)]
    pub carry_tags: bool,
    /// The full mesh that the tunnel's peers are in: frames never go from a mesh to the same mesh. Without one, all are in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
    /// The EtherType of a `qinq` segment's outer tag. Default 0x88a8.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tpid: Tpid,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A local tunnel endpoint: an address of this gateway on the underlay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vtep {
    /// What it is called; unique among vteps.
    pub name: Name,
    /// The port it is on. Its untagged traffic is the underlay's.
    pub port: Name,
    /// Its address with the prefix length of the net that is reached directly, such as `192.0.2.1/24`.
    pub address: IpPrefix,
    /// The next hops for peers outside that net, at most 8 of equal cost: a flow takes one of them. In JSON also `gateway`, and one
    /// address without a list.
    #[serde(default, alias = "gateway", deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<IpAddr>,
    /// Next hops in that net whose MAC is configured instead of resolved by ARP: they never change and never age.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub neighbours: BTreeMap<IpAddr, Mac>,
}

/// A list, or its only element.
fn one_or_many<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Vec<IpAddr>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected an IP address, or a list of them")]
    enum OneOrMany {
        One(IpAddr),
        Many(Vec<IpAddr>),
    }
    Ok(match OneOrMany::deserialize(d)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}

/// A remote tunnel endpoint on a segment: one more place that flooded frames go to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// The tunnel segment.
    pub segment: SegmentId,
    /// The remote endpoint's address on the underlay.
    pub address: IpAddr,
    /// The full mesh that it is in, if that is not its segment's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// A host on a bridge, configured: its MAC never moves and never ages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// The bridge it is on.
    pub bridge: Name,
    /// Its MAC address; unique on the bridge.
    pub mac: Mac,
    /// Where it is.
    pub location: Location,
    /// Its addresses: requests for them are answered with its MAC, and nobody else may claim them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<IpAddr>,
    /// Addresses and prefixes that it may hold besides, such as a virtual address that moves between hosts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_pairs: Vec<AllowedPair>,
}

/// What kinds of object there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// [`Bridge`]; its id is its name.
    Bridge,
    /// [`Vtep`]; its id is its name.
    Vtep,
    /// [`Segment`]; its id is a [`SegmentId`].
    Segment,
    /// [`Peer`]; its id is SEGMENT/ADDRESS.
    Peer,
    /// [`Endpoint`]; its id is BRIDGE/MAC.
    Endpoint,
    /// [`Router`]; its id is its name.
    Router,
    /// [`Interface`]; its id is ROUTER/BRIDGE.
    Interface,
    /// [`Route`]; its id is ROUTER/PREFIX.
    Route,
    /// [`DvrMac`]; its id is its MAC.
    DvrMac,
}

impl Kind {
    /// All kinds, each before those that refer to it.
    pub const ALL: [Kind; 9] = [
        Kind::Bridge,
        Kind::Vtep,
        Kind::Segment,
        Kind::Peer,
        Kind::Endpoint,
        Kind::Router,
        Kind::Interface,
        Kind::Route,
        Kind::DvrMac,
    ];

    /// The kind's one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Bridge => "bridge",
            Kind::Vtep => "vtep",
            Kind::Segment => "segment",
            Kind::Peer => "peer",
            Kind::Endpoint => "endpoint",
            Kind::Router => "router",
            Kind::Interface => "interface",
            Kind::Route => "route",
            Kind::DvrMac => "dvr_mac",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let kind = Kind::ALL.into_iter().find(|k| k.as_str() == s);
        kind.ok_or_else(|| format!("expected one of {}, found {s}", Kind::ALL.map(Kind::as_str).join(", ")))
    }
}

/// Any object, tagged by its kind: `{"bridge": {"name": "red"}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Object {
    /// A bridge.
    Bridge(Bridge),
    /// A vtep.
    Vtep(Vtep),
    /// A segment.
    Segment(Segment),
    /// A peer.
    Peer(Peer),
    /// An endpoint.
    Endpoint(Endpoint),
    /// A router.
    Router(Router),
    /// An interface.
    Interface(Interface),
    /// A route.
    Route(Route),
    /// A DVR MAC.
    DvrMac(DvrMac),
}

impl Object {
    /// What kind of object this is.
    pub fn kind(&self) -> Kind {
        match self {
            Object::Bridge(_) => Kind::Bridge,
            Object::Vtep(_) => Kind::Vtep,
            Object::Segment(_) => Kind::Segment,
            Object::Peer(_) => Kind::Peer,
            Object::Endpoint(_) => Kind::Endpoint,
            Object::Router(_) => Kind::Router,
            Object::Interface(_) => Kind::Interface,
            Object::Route(_) => Kind::Route,
            Object::DvrMac(_) => Kind::DvrMac,
        }
    }

    /// What it is called among its kind.
    pub fn id(&self) -> String {
        match self {
            Object::Bridge(o) => o.name.to_string(),
            Object::Vtep(o) => o.name.to_string(),
            Object::Segment(o) => o.id.to_string(),
            Object::Peer(o) => format!("{}/{}", o.segment, o.address),
            Object::Endpoint(o) => format!("{}/{}", o.bridge, o.mac),
            Object::Router(o) => o.name.to_string(),
            Object::Interface(o) => format!("{}/{}", o.router, o.bridge),
            Object::Route(o) => format!("{}/{}", o.router, o.prefix),
            Object::DvrMac(o) => o.mac.to_string(),
        }
    }

    /// Its kind and id.
    pub fn key(&self) -> Key {
        Key { kind: self.kind(), id: self.id() }
    }
}

/// The kind and id of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// What kind of object.
    pub kind: Kind,
    /// What it is called among its kind.
    pub id: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.id)
    }
}

/// A whole desired state, as `weirctl apply -f` reads it: one list per kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The bridges.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bridge: Vec<Bridge>,
    /// The vteps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vtep: Vec<Vtep>,
    /// The segments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segment: Vec<Segment>,
    /// The peers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peer: Vec<Peer>,
    /// The endpoints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoint: Vec<Endpoint>,
    /// The routers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub router: Vec<Router>,
    /// Their interfaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interface: Vec<Interface>,
    /// Their routes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub route: Vec<Route>,
    /// The gateways' DVR MACs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dvr_mac: Vec<DvrMac>,
}

impl State {
    /// Every object, each kind before those that refer to it.
    pub fn into_objects(self) -> impl Iterator<Item = Object> {
        let Self { bridge, vtep, segment, peer, endpoint, router, interface, route, dvr_mac } = self;
        (bridge.into_iter().map(Object::Bridge))
            .chain(vtep.into_iter().map(Object::Vtep))
            .chain(segment.into_iter().map(Object::Segment))
            .chain(peer.into_iter().map(Object::Peer))
            .chain(endpoint.into_iter().map(Object::Endpoint))
            .chain(router.into_iter().map(Object::Router))
            .chain(interface.into_iter().map(Object::Interface))
            .chain(route.into_iter().map(Object::Route))
            .chain(dvr_mac.into_iter().map(Object::DvrMac))
    }
}

impl FromIterator<Object> for State {
    fn from_iter<I: IntoIterator<Item = Object>>(objects: I) -> Self {
        let mut state = Self::default();
        for object in objects {
            match object {
                Object::Bridge(o) => state.bridge.push(o),
                Object::Vtep(o) => state.vtep.push(o),
                Object::Segment(o) => state.segment.push(o),
                Object::Peer(o) => state.peer.push(o),
                Object::Endpoint(o) => state.endpoint.push(o),
                Object::Router(o) => state.router.push(o),
                Object::Interface(o) => state.interface.push(o),
                Object::Route(o) => state.route.push(o),
                Object::DvrMac(o) => state.dvr_mac.push(o),
            }
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_tagged_by_its_kind_and_fills_in_defaults() {
        let object: Object = serde_json::from_str(r#"{"bridge": {"name": "red"}}"#).unwrap();
        let Object::Bridge(bridge) = &object else { panic!("{object:?}") };
        assert_eq!((bridge.mac_limit, bridge.mac_ageing), (4096, 300));
        assert_eq!(object.key().to_string(), "bridge red");
    }

    #[test]
    fn an_unknown_field_is_refused_by_name() {
        let error = serde_json::from_str::<Object>(r#"{"bridge": {"name": "red", "colour": 1}}"#).unwrap_err();
        assert!(error.to_string().contains("colour"), "{error}");
    }

    #[test]
    fn a_state_keeps_every_object() {
        let text = r#"{"bridge":[{"name":"red"}],"segment":[{"id":"vlan/lan0/100","bridge":"red"}],
            "peer":[{"segment":"vxlan/7","address":"192.0.2.2"}],
            "endpoint":[{"bridge":"red","mac":"02:00:00:00:00:01","location":"vxlan/7/192.0.2.2"}],
            "dvr_mac":[{"mac":"02:00:5e:01:00:01","own":true}],"route":[{"router":"r1","prefix":"::/0","blackhole":true}],
            "interface":[{"router":"r1","bridge":"red","mac":"02:00:5e:00:00:01","addresses":["10.0.0.1/24"]}],
            "router":[{"name":"r1"}]}"#;
        let state: State = serde_json::from_str(text).unwrap();
        let again: State = state.clone().into_objects().collect();
        assert_eq!(state, again);
        let ids: Vec<_> = state.into_objects().map(|o| o.key().to_string()).collect();
        assert_eq!(
            ids,
            [
                "bridge red",
                "segment vlan/lan0/100",
                "peer vxlan/7/192.0.2.2",
                "endpoint red/02:00:00:00:00:01",
                "router r1",
                "interface r1/red",
                "route r1/::/0",
                "dvr_mac 02:00:5e:01:00:01"
            ]
        );
    }

    #[test]
    fn a_kind_is_the_same_parsed_printed_and_in_json() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        assert!("gateway".parse::<Kind>().unwrap_err().contains("route, dvr_mac, found gateway"));
    }
}
