//! `add`, `set` and `del`: what can be said of each kind of object.

use super::routing::{
    AddDvrMac, AddInterface, AddRoute, AddRouter, InterfaceKey, RouteKey, SetDvrMac, SetInterface, SetRoute, SetRouter,
};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args, Subcommand};
use std::net::IpAddr;
use std::str::FromStr;
use weir_api::id::{AllowedPair, IpPrefix, Location, Mac, Name, SegmentId};
use weir_api::object::{AcceptFrom, FloodList, Tpid, UnknownUnicast};

/// `add KIND …`.
#[derive(Debug, Subcommand)]
pub enum Add {
    /// Add a bridge: a tenant's L2 broadcast domain
    #[command(
        after_help = "Examples:\n  weirctl add bridge red\n  weirctl add bridge red --mac-limit 1000 --mac-ageing 60\n  \
            weirctl add bridge red --suppression=false --flood-list endpoints"
    )]
    Bridge(AddBridge),
    /// Add a vtep: a local tunnel endpoint address on the underlay
    #[command(after_help = "Examples:\n  weirctl add vtep tun0 --port wan0 --address 192.0.2.1/24\n  \
        weirctl add vtep tun0 --port wan0 --address 192.0.2.1/24 --gateway 192.0.2.254\n  \
        weirctl add vtep tun6 --port wan0 --address 2001:db8::1/64 --gateway 2001:db8::fe --gateway 2001:db8::ff\n  \
        weirctl add vtep tun0 --port wan0 --address 192.0.2.1/24 --neighbour 192.0.2.2=02:00:00:00:00:02")]
    Vtep(AddVtep),
    /// Attach a bridge to a VLAN on a port, or to a VXLAN, NVGRE or Geneve network on a vtep
    #[command(after_help = "Examples:\n  weirctl add segment vlan/lan0/100 --bridge red\n  \
        weirctl add segment vlan/lan1/untagged --bridge red\n  weirctl add segment vxlan/10000 --bridge red --vtep tun0\n  \
        weirctl add segment nvgre/5000 --bridge red --vtep tun0 --mesh west\n  \
        weirctl add segment geneve/7 --bridge red --vtep tun6\n  \
        weirctl add segment qinq/lan0/200/100 --bridge red --tpid 0x8100")]
    Segment(AddSegment),
    /// Add a peer: a remote tunnel endpoint that flooded frames of the segment go to
    #[command(after_help = "Examples:\n  weirctl add peer vxlan/10000 192.0.2.2\n  \
        weirctl add peer nvgre/5000 2001:db8::2 --mesh east")]
    Peer(AddPeer),
    /// Add an endpoint: a host on a bridge, whose MAC never moves and never ages
    #[command(after_help = "Examples:\n  \
        weirctl add endpoint red 02:00:00:00:00:01 vlan/lan0/100 --ip 10.0.0.1\n  \
        weirctl add endpoint red 02:00:00:00:00:02 vxlan/10000/192.0.2.2\n  \
        weirctl add endpoint red 02:00:00:00:00:03 nvgre/5000/2001:db8::2 --ip 10.0.0.3 \
        --allowed-pair 10.0.0.100 --allowed-pair 10.0.0.101=00:00:5e:00:01:33")]
    Endpoint(AddEndpoint),
    /// Add a configured MAC: an endpoint without addresses
    ///
    /// `weirctl show endpoint` shows it as such, and `weirctl set endpoint` can give it addresses.
    #[command(after_help = "Examples:\n  weirctl add mac red 02:00:00:00:00:01 vlan/lan0/100")]
    Mac(AddMac),
    /// Add a router of a tenant
    #[command(after_help = "Examples:\n  weirctl add router r1\n  weirctl add router r1 --mss-clamp --icmp-limit 1000")]
    Router(AddRouter),
    /// Add an interface: the gateway of a bridge's hosts, or a way out
    #[command(after_help = "Examples:\n  \
        weirctl add interface r1 red --mac 02:00:5e:00:00:01 --address 10.0.0.1/24 --address 2001:db8::1/64\n  \
        weirctl add interface r1 red --mac 02:00:5e:00:00:01 --address 2001:db8::1/64 --ra --ra-interval 30 --mtu 1450\n  \
        weirctl add interface r1 ext --mac 02:00:5e:00:00:02 --address 203.0.113.2/24 --external --gateway 203.0.113.1")]
    Interface(AddInterface),
    /// Add a route of a router
    #[command(after_help = "Examples:\n  weirctl add route r1 10.9.0.0/16 --via 10.0.0.254\n  \
        weirctl add route r1 2001:db8:9::/48 --via 2001:db8::fe --via 2001:db8::ff\n  \
        weirctl add route r1 10.66.0.0/16 --blackhole")]
    Route(AddRoute),
    /// Add the DVR MAC of a gateway: what stands in place of the gateway MAC in frames that it has routed
    ///
    /// Every gateway has to know those of all others. Without an own one, this gateway's is the MAC of its first port.
    #[command(after_help = "Examples:\n  weirctl add dvr-mac 02:00:5e:01:00:01 --own\n  \
        weirctl add dvr-mac 02:00:5e:01:00:02")]
    DvrMac(AddDvrMac),
    /// Not possible here: ports come from weir.toml and need a restart
    #[command(after_help = PORT_EXAMPLE)]
    Port(Unchangeable),
}

/// `set KIND ID --field…`.
#[derive(Debug, Subcommand)]
pub enum Set {
    /// Change a bridge
    #[command(
        after_help = "Examples:\n  weirctl set bridge red --mac-limit 1000 --unknown-unicast drop\n  \
            weirctl set bridge red --port-security --unknown-target drop\n  \
            weirctl set bridge red --broadcast-limit 500 --suppression=false",
        mut_group("BridgeFields", |fields| fields.required(true))
    )]
    Bridge(SetBridge),
    /// Change a vtep
    #[command(after_help = "Examples:\n  weirctl set vtep tun0 --gateway 192.0.2.254\n  \
        weirctl set vtep tun0 --gateway 192.0.2.253 --gateway 192.0.2.254\n  \
        weirctl set vtep tun0 --neighbour 192.0.2.2=02:00:00:00:00:02 --no-neighbour 192.0.2.3\n  \
        weirctl set vtep tun0 --no-gateway")]
    Vtep(SetVtep),
    /// Change a segment
    #[command(after_help = "Examples:\n  weirctl set segment vlan/lan0/100 --bridge blue\n  \
        weirctl set segment vxlan/10000 --carry-tags=false\n  \
        weirctl set segment vxlan/10000 --no-mesh")]
    Segment(SetSegment),
    /// Change an endpoint
    #[command(after_help = "Examples:\n  \
        weirctl set endpoint red 02:00:00:00:00:01 --location vxlan/10000/192.0.2.2\n  \
        weirctl set endpoint red 02:00:00:00:00:01 --ip 10.0.0.1 --ip 10.0.0.2\n  \
        weirctl set endpoint red 02:00:00:00:00:01 --no-ip\n  \
        weirctl set endpoint red 02:00:00:00:00:01 --allowed-pair 10.0.0.100 --allowed-pair 2001:db8:7::/48")]
    Endpoint(SetEndpoint),
    /// Change where a configured MAC is
    #[command(after_help = "Examples:\n  weirctl set mac red 02:00:00:00:00:01 vxlan/10000/192.0.2.2")]
    Mac(SetMac),
    /// Change which full mesh a peer is in
    #[command(after_help = "Examples:\n  weirctl set peer vxlan/10000 192.0.2.2 --mesh east\n  \
        weirctl set peer vxlan/10000 192.0.2.2 --no-mesh")]
    Peer(SetPeer),
    /// Change a router
    #[command(
        after_help = "Examples:\n  weirctl set router r1 --mss-clamp\n  weirctl set router r1 --icmp-limit 0",
        mut_group("RouterFields", |fields| fields.required(true))
    )]
    Router(SetRouter),
    /// Change an interface
    #[command(
        after_help = "Examples:\n  weirctl set interface r1 red --address 10.0.0.1/24 --address 10.0.1.1/24\n  \
            weirctl set interface r1 red --mtu 1450 --ra\n  weirctl set interface r1 ext --no-gateway --no-mtu",
        group(ArgGroup::new("changes").args(INTERFACE_FIELDS).required(true).multiple(true))
    )]
    Interface(SetInterface),
    /// Change where a route leads
    #[command(after_help = "Examples:\n  weirctl set route r1 10.9.0.0/16 --via 10.0.0.253 --via 10.0.0.254\n  \
        weirctl set route r1 10.9.0.0/16 --blackhole")]
    Route(SetRoute),
    /// Change whose a DVR MAC is
    #[command(after_help = "Examples:\n  weirctl set dvr-mac 02:00:5e:01:00:01 --own\n  \
        weirctl set dvr-mac 02:00:5e:01:00:01 --own=false")]
    DvrMac(SetDvrMac),
    /// Not possible here: ports come from weir.toml and need a restart
    #[command(after_help = PORT_EXAMPLE)]
    Port(Unchangeable),
}

/// `del KIND ID…`.
#[derive(Debug, Subcommand)]
pub enum Del {
    /// Delete bridges; refused while a segment, an endpoint or an interface refers to one
    #[command(after_help = "Examples:\n  weirctl del bridge red\n  weirctl del bridge red blue")]
    Bridge(Ids<Name>),
    /// Delete vteps; refused while a segment refers to one
    #[command(after_help = "Examples:\n  weirctl del vtep tun0")]
    Vtep(Ids<Name>),
    /// Delete segments; refused while a peer or an endpoint refers to one
    #[command(after_help = "Examples:\n  weirctl del segment vlan/lan0/100\n  \
        weirctl del segment vlan/lan0/100 vxlan/10000")]
    Segment(Ids<SegmentId>),
    /// Delete a peer
    #[command(after_help = "Examples:\n  weirctl del peer vxlan/10000 192.0.2.2")]
    Peer(PeerKey),
    /// Delete an endpoint
    #[command(after_help = "Examples:\n  weirctl del endpoint red 02:00:00:00:00:01")]
    Endpoint(HostKey),
    /// Delete a configured MAC: the same as del endpoint
    #[command(after_help = "Examples:\n  weirctl del mac red 02:00:00:00:00:01")]
    Mac(HostKey),
    /// Delete routers; refused while one has an interface or a route
    #[command(after_help = "Examples:\n  weirctl del router r1")]
    Router(Ids<Name>),
    /// Delete an interface; refused while a route has a next hop in its nets
    #[command(after_help = "Examples:\n  weirctl del interface r1 red")]
    Interface(InterfaceKey),
    /// Delete a route
    #[command(after_help = "Examples:\n  weirctl del route r1 10.9.0.0/16")]
    Route(RouteKey),
    /// Delete DVR MACs
    #[command(after_help = "Examples:\n  weirctl del dvr-mac 02:00:5e:01:00:02")]
    DvrMac(Ids<Mac>),
    /// Not possible here: ports come from weir.toml and need a restart
    #[command(after_help = PORT_EXAMPLE)]
    Port(Unchangeable),
}

/// At least one of them is changed.
const INTERFACE_FIELDS: [&str; 13] = [
    "mac",
    "address",
    "mtu",
    "no_mtu",
    "gateway",
    "no_gateway",
    "external",
    "pass_without_nat",
    "ra",
    "ra_interval",
    "ra_lifetime",
    "ra_managed",
    "ra_other",
];

const PORT_EXAMPLE: &str = "Examples:\n  weirctl show port";

/// Whatever was typed after a noun that cannot be changed.
#[derive(Debug, Args)]
pub struct Unchangeable {
    /// Not read
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub ignored: Vec<String>,
}

/// A new bridge.
#[derive(Debug, Args)]
pub struct AddBridge {
    /// What it is called: 1 to 63 letters, digits, '.', '_' or '-'
    pub name: Name,
    /// What it is like.
    #[command(flatten)]
    pub fields: BridgeFields,
}

/// What a bridge is like; what is not given keeps its value, or its default.
#[derive(Debug, Args)]
#[group(multiple = true)]
pub struct BridgeFields {
    /// How many MACs it may learn [default of a new one: 4096]
    #[arg(long, value_name = "N")]
    pub mac_limit: Option<u32>,
    /// After how many seconds of silence a learned MAC is forgotten, 10 to 36000 [default of a new one: 300]
    #[arg(long, value_name = "SECONDS")]
    pub mac_ageing: Option<u32>,
    /// What becomes of a frame to a MAC that is not known [default of a new one: flood]
    #[arg(long, value_name = "WHAT", value_parser = unknown_unicast())]
    pub unknown_unicast: Option<UnknownUnicast>,
    /// Whose tunnelled frames are accepted: anyone's who knows the VNI, or those of peers and of endpoints' locations
    /// [default of a new one: any]
    #[arg(long, value_name = "WHOM", value_parser = accept_from())]
    pub accept_from: Option<AcceptFrom>,
    /// Answer ARP requests and neighbour solicitations for known bindings here [default of a new one: true]
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub suppression: Option<bool>,
    /// What becomes of a request for an address without a binding [default of a new one: flood]
    #[arg(long, value_name = "WHAT", value_parser = unknown_unicast())]
    pub unknown_target: Option<UnknownUnicast>,
    /// How many bindings it may learn [default of a new one: 4096]
    #[arg(long, value_name = "N")]
    pub binding_limit: Option<u32>,
    /// After how many seconds without confirmation the owner of a learned binding is asked, and forgotten if it is silent,
    /// 10 to 36000 [default of a new one: 300]
    #[arg(long, value_name = "SECONDS")]
    pub binding_ageing: Option<u32>,
    /// Check the source MAC and IP of every frame against the endpoints' addresses and allowed pairs [default of a new
    /// one: false]
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub port_security: Option<bool>,
    /// Broadcast and multicast frames that each port may bring in a second, on each worker; 0 is without limit [default of
    /// a new one: 10000]
    #[arg(long, value_name = "PACKETS/S")]
    pub broadcast_limit: Option<u32>,
    /// The same for frames to unknown MACs [default of a new one: 10000]
    #[arg(long, value_name = "PACKETS/S")]
    pub unknown_limit: Option<u32>,
    /// The same for gratuitous ARP and unsolicited neighbour advertisements [default of a new one: 1000]
    #[arg(long, value_name = "PACKETS/S")]
    pub announcement_limit: Option<u32>,
    /// Where flooded frames go besides the bridge's VLANs: to its peers, or also to every peer that an endpoint is behind
    /// [default of a new one: peers]
    #[arg(long, value_name = "LIST", value_parser = flood_list())]
    pub flood_list: Option<FloodList>,
}

fn unknown_unicast() -> impl TypedValueParser<Value = UnknownUnicast> {
    PossibleValuesParser::new(["flood", "drop"])
        .map(|s| if s == "drop" { UnknownUnicast::Drop } else { UnknownUnicast::Flood })
}

fn accept_from() -> impl TypedValueParser<Value = AcceptFrom> {
    PossibleValuesParser::new(["any", "listed"])
        .map(|s| if s == "listed" { AcceptFrom::Listed } else { AcceptFrom::Any })
}

fn flood_list() -> impl TypedValueParser<Value = FloodList> {
    PossibleValuesParser::new(["peers", "endpoints"])
        .map(|s| if s == "endpoints" { FloodList::Endpoints } else { FloodList::Peers })
}

fn tpid() -> impl TypedValueParser<Value = Tpid> {
    PossibleValuesParser::new(["0x88a8", "0x8100"]).map(|s| if s == "0x8100" { Tpid::Customer } else { Tpid::Service })
}

/// Fields of a bridge to change.
#[derive(Debug, Args)]
pub struct SetBridge {
    /// The bridge
    pub name: Name,
    /// What to change.
    #[command(flatten)]
    pub fields: BridgeFields,
}

/// A new vtep.
#[derive(Debug, Args)]
pub struct AddVtep {
    /// What it is called: 1 to 63 letters, digits, '.', '_' or '-'
    pub name: Name,
    /// The port it is on; its untagged traffic is the underlay's
    #[arg(long, value_name = "NAME")]
    pub port: Name,
    /// Its address, with the prefix length of the net that is reached directly
    #[arg(long, value_name = "ADDRESS/LENGTH")]
    pub address: IpPrefix,
    /// A next hop for peers outside that net; may be repeated, up to 8 of equal cost
    #[arg(long, value_name = "ADDRESS")]
    pub gateway: Vec<IpAddr>,
    /// A next hop whose MAC is configured instead of resolved by ARP; may be repeated
    #[arg(long, value_name = "ADDRESS=MAC", value_parser = neighbour)]
    pub neighbour: Vec<(IpAddr, Mac)>,
}

/// `192.0.2.2=02:00:00:00:00:02`.
fn neighbour(text: &str) -> Result<(IpAddr, Mac), String> {
    let error = || format!("expected ADDRESS=MAC, such as 192.0.2.2=02:00:00:00:00:02, found {text}");
    let (address, mac) = text.split_once('=').ok_or_else(error)?;
    Ok((address.parse().map_err(|_| error())?, mac.parse().map_err(|e| format!("{e}"))?))
}

/// Fields of a vtep to change.
#[derive(Debug, Args)]
pub struct SetVtep {
    /// The vtep
    pub name: Name,
    /// What to change.
    #[command(flatten)]
    pub fields: VtepFields,
}

/// At least one field of a vtep.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct VtepFields {
    /// The port it is on
    #[arg(long, value_name = "NAME")]
    pub port: Option<Name>,
    /// Its address, with the prefix length of the net that is reached directly
    #[arg(long, value_name = "ADDRESS/LENGTH")]
    pub address: Option<IpPrefix>,
    /// All next hops for peers outside that net, one each time, in place of those it had
    #[arg(long, value_name = "ADDRESS")]
    pub gateway: Vec<IpAddr>,
    /// No next hop for peers outside that net
    #[arg(long, conflicts_with = "gateway")]
    pub no_gateway: bool,
    /// Add a next hop with a configured MAC, or change its MAC; may be repeated
    #[arg(long, value_name = "ADDRESS=MAC", value_parser = neighbour)]
    pub neighbour: Vec<(IpAddr, Mac)>,
    /// Remove a next hop with a configured MAC; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    pub no_neighbour: Vec<IpAddr>,
}

/// A new segment.
#[derive(Debug, Args)]
pub struct AddSegment {
    /// What it is: vlan/PORT/VID, vlan/PORT/untagged, qinq/PORT/OUTER/INNER, vxlan/VNI, nvgre/VSID (4096 to 16777214) or geneve/VNI
    #[arg(value_name = "ID")]
    pub id: SegmentId,
    /// The bridge it belongs to
    #[arg(long, value_name = "NAME")]
    pub bridge: Name,
    /// The local tunnel endpoint: needed for a tunnel, refused for vlan and qinq
    #[arg(long, value_name = "NAME")]
    pub vtep: Option<Name>,
    /// Let frames pass that still carry a VLAN tag inside the tunnel
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub carry_tags: Option<bool>,
    /// The full mesh that the tunnel's peers are in; without one, all such tunnels are in one
    #[arg(long, value_name = "NAME")]
    pub mesh: Option<Name>,
    /// The EtherType of a qinq segment's outer tag [default: 0x88a8]
    #[arg(long, value_name = "ETHERTYPE", value_parser = tpid())]
    pub tpid: Option<Tpid>,
}

/// Fields of a segment to change.
#[derive(Debug, Args)]
pub struct SetSegment {
    /// The segment
    #[arg(value_name = "ID")]
    pub id: SegmentId,
    /// What to change.
    #[command(flatten)]
    pub fields: SegmentFields,
}

/// At least one field of a segment.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct SegmentFields {
    /// The bridge it belongs to
    #[arg(long, value_name = "NAME")]
    pub bridge: Option<Name>,
    /// The local tunnel endpoint
    #[arg(long, value_name = "NAME")]
    pub vtep: Option<Name>,
    /// Let frames pass that still carry a VLAN tag inside the tunnel, or drop them
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub carry_tags: Option<bool>,
    /// The full mesh that the tunnel's peers are in
    #[arg(long, value_name = "NAME", conflicts_with = "no_mesh")]
    pub mesh: Option<Name>,
    /// The tunnel's peers are in the mesh without a name
    #[arg(long)]
    pub no_mesh: bool,
    /// The EtherType of a qinq segment's outer tag
    #[arg(long, value_name = "ETHERTYPE", value_parser = tpid())]
    pub tpid: Option<Tpid>,
}

/// A new peer.
#[derive(Debug, Args)]
pub struct AddPeer {
    /// Which peer.
    #[command(flatten)]
    pub key: PeerKey,
    /// The full mesh that it is in, if that is not its segment's
    #[arg(long, value_name = "NAME")]
    pub mesh: Option<Name>,
}

/// Fields of a peer to change.
#[derive(Debug, Args)]
pub struct SetPeer {
    /// Which peer.
    #[command(flatten)]
    pub key: PeerKey,
    /// What to change.
    #[command(flatten)]
    pub fields: PeerFields,
}

/// The field of a peer.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct PeerFields {
    /// The full mesh that it is in
    #[arg(long, value_name = "NAME")]
    pub mesh: Option<Name>,
    /// It is in its segment's mesh
    #[arg(long)]
    pub no_mesh: bool,
}

/// A peer: a segment, and an address.
#[derive(Debug, Args)]
pub struct PeerKey {
    /// The tunnel segment: vxlan/VNI, nvgre/VSID or geneve/VNI
    pub segment: SegmentId,
    /// The remote endpoint's address on the underlay
    pub address: IpAddr,
}

/// A new endpoint.
#[derive(Debug, Args)]
pub struct AddEndpoint {
    /// Which host.
    #[command(flatten)]
    pub key: HostKey,
    /// Where it is: a VLAN or QinQ segment, or TUNNEL-SEGMENT/PEER such as vxlan/10000/192.0.2.2
    pub location: Location,
    /// One of its addresses; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Vec<IpAddr>,
    /// An address or prefix that it may hold besides, or that MAC instead of it; may be repeated
    #[arg(long, value_name = "PREFIX[=MAC]")]
    pub allowed_pair: Vec<AllowedPair>,
}

/// A new configured MAC.
#[derive(Debug, Args)]
pub struct AddMac {
    /// Which host.
    #[command(flatten)]
    pub key: HostKey,
    /// Where it is: a VLAN or QinQ segment, or TUNNEL-SEGMENT/PEER such as vxlan/10000/192.0.2.2
    pub location: Location,
}

/// A configured MAC and its new place.
pub type SetMac = AddMac;

/// A host: a bridge, and a MAC on it.
#[derive(Clone, Debug, Args)]
pub struct HostKey {
    /// The bridge it is on
    pub bridge: Name,
    /// Its MAC address
    pub mac: Mac,
}

/// Fields of an endpoint to change.
#[derive(Debug, Args)]
pub struct SetEndpoint {
    /// Which host.
    #[command(flatten)]
    pub key: HostKey,
    /// What to change.
    #[command(flatten)]
    pub fields: EndpointFields,
}

/// At least one field of an endpoint.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct EndpointFields {
    /// Where it is: a VLAN or QinQ segment, or TUNNEL-SEGMENT/PEER such as vxlan/10000/192.0.2.2
    #[arg(long)]
    pub location: Option<Location>,
    /// All of its addresses, one each time, in place of those it had
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Vec<IpAddr>,
    /// It has no addresses
    #[arg(long, conflicts_with = "ip")]
    pub no_ip: bool,
    /// All of its allowed pairs, one each time, in place of those it had
    #[arg(long, value_name = "PREFIX[=MAC]")]
    pub allowed_pair: Vec<AllowedPair>,
    /// It may hold nothing besides its addresses
    #[arg(long, conflicts_with = "allowed_pair")]
    pub no_allowed_pair: bool,
}

/// Which objects.
#[derive(Debug, Args)]
pub struct Ids<T>
where
    T: FromStr + Clone + Send + Sync + 'static,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    /// Which; several go in one change, all or none
    #[arg(value_name = "ID", required = true, value_parser = |s: &str| s.parse::<T>())]
    pub ids: Vec<T>,
}
