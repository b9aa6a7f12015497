//! What tells one object of the desired state from another, parsed.
//!
//! Owns: the way between the RPC's `{kind, id}` and the typed key that the tables are sorted by.

use std::fmt;
use std::net::IpAddr;
use weir_api::id::{IpPrefix, Mac, Name, SegmentId};
use weir_api::object::{Key, Kind, Object};

/// The kind and id of an object; sorted by kind first, each before those that refer to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKey {
    /// A bridge's name.
    Bridge(Name),
    /// A vtep's name.
    Vtep(Name),
    /// A segment's id.
    Segment(SegmentId),
    /// A peer's segment and address.
    Peer(SegmentId, IpAddr),
    /// An endpoint's bridge and MAC.
    Endpoint(Name, Mac),
    /// A router's name.
    Router(Name),
    /// An interface's router and bridge.
    Interface(Name, Name),
    /// A route's router and prefix.
    Route(Name, IpPrefix),
    /// A DVR MAC.
    DvrMac(Mac),
}

impl ObjectKey {
    /// The key of an object.
    pub fn of(object: &Object) -> Self {
        match object {
            Object::Bridge(o) => Self::Bridge(o.name.clone()),
            Object::Vtep(o) => Self::Vtep(o.name.clone()),
            Object::Segment(o) => Self::Segment(o.id.clone()),
            Object::Peer(o) => Self::Peer(o.segment.clone(), o.address),
            Object::Endpoint(o) => Self::Endpoint(o.bridge.clone(), o.mac),
            Object::Router(o) => Self::Router(o.name.clone()),
            Object::Interface(o) => Self::Interface(o.router.clone(), o.bridge.clone()),
            Object::Route(o) => Self::Route(o.router.clone(), o.prefix),
            Object::DvrMac(o) => Self::DvrMac(o.mac),
        }
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Bridge(_) => Kind::Bridge,
            Self::Vtep(_) => Kind::Vtep,
            Self::Segment(_) => Kind::Segment,
            Self::Peer(..) => Kind::Peer,
            Self::Endpoint(..) => Kind::Endpoint,
            Self::Router(_) => Kind::Router,
            Self::Interface(..) => Kind::Interface,
            Self::Route(..) => Kind::Route,
            Self::DvrMac(_) => Kind::DvrMac,
        }
    }

    /// Its id among its kind, as the RPC spells it.
    pub fn id(&self) -> String {
        match self {
            Self::Bridge(name) | Self::Vtep(name) | Self::Router(name) => name.to_string(),
            Self::Segment(id) => id.to_string(),
            Self::Peer(segment, address) => format!("{segment}/{address}"),
            Self::Endpoint(bridge, mac) => {
                // A large batch is answered with one of these for each endpoint.
                let bridge = bridge.as_str();
                let mut id = String::with_capacity(bridge.len() + 18);
                id.push_str(bridge);
                id.push('/');
                mac.push_to(&mut id);
                id
            }
            Self::Interface(router, bridge) => format!("{router}/{bridge}"),
            Self::Route(router, prefix) => format!("{router}/{prefix}"),
            Self::DvrMac(mac) => mac.to_string(),
        }
    }

    /// The RPC's form of it.
    pub fn to_api(&self) -> Key {
        Key { kind: self.kind(), id: self.id() }
    }

    /// Reads an id of a kind.
    ///
    /// # Errors
    /// What was expected and what was found, as a sentence.
    pub fn parse(kind: Kind, id: &str) -> Result<Self, String> {
        let text = |e: weir_api::id::IdError| e.to_string();
        let split = || id.rsplit_once('/').ok_or_else(|| format!("expected {}, found {id}", form(kind)));
        Ok(match kind {
            Kind::Bridge => Self::Bridge(id.parse().map_err(text)?),
            Kind::Vtep => Self::Vtep(id.parse().map_err(text)?),
            Kind::Segment => Self::Segment(id.parse().map_err(text)?),
            Kind::Peer => {
                let (segment, address) = split()?;
                let address = address.parse().map_err(|_| format!("expected {}, found {id}", form(kind)))?;
                Self::Peer(segment.parse().map_err(text)?, address)
            }
            Kind::Endpoint => {
                let (bridge, mac) = split()?;
                Self::Endpoint(bridge.parse().map_err(text)?, mac.parse().map_err(text)?)
            }
            Kind::Router => Self::Router(id.parse().map_err(text)?),
            Kind::Interface => {
                let (router, bridge) = split()?;
                Self::Interface(router.parse().map_err(text)?, bridge.parse().map_err(text)?)
            }
            Kind::Route => {
                // A prefix has a slash of its own, and a name has none.
                let (router, prefix) =
                    id.split_once('/').ok_or_else(|| format!("expected {}, found {id}", form(kind)))?;
                Self::Route(router.parse().map_err(text)?, prefix.parse().map_err(text)?)
            }
            Kind::DvrMac => Self::DvrMac(id.parse().map_err(text)?),
        })
    }
}

fn form(kind: Kind) -> &'static str {
    match kind {
        Kind::Bridge | Kind::Vtep | Kind::Router => "a name",
        Kind::Segment => "a segment such as vxlan/10000",
        Kind::Peer => "SEGMENT/ADDRESS such as vxlan/10000/192.0.2.2",
        Kind::Endpoint => "BRIDGE/MAC such as red/02:00:00:00:00:01",
        Kind::Interface => "ROUTER/BRIDGE such as r1/red",
        Kind::Route => "ROUTER/PREFIX such as r1/10.9.0.0/16",
        Kind::DvrMac => "a MAC address such as 02:00:5e:01:00:01",
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().as_str())?;
        f.write_str(" ")?;
        f.write_str(&self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_parses_back() {
        for (kind, id) in [
            (Kind::Bridge, "red"),
            (Kind::Vtep, "up"),
            (Kind::Segment, "vlan/lan0/untagged"),
            (Kind::Peer, "vxlan/10000/192.0.2.2"),
            (Kind::Endpoint, "red/02:00:00:00:00:01"),
            (Kind::Router, "r1"),
            (Kind::Interface, "r1/red"),
            (Kind::Route, "r1/10.9.0.0/16"),
            (Kind::Route, "r1/2001:db8::/32"),
            (Kind::DvrMac, "02:00:5e:01:00:01"),
        ] {
            assert_eq!(ObjectKey::parse(kind, id).unwrap().to_api(), Key { kind, id: id.to_owned() });
        }
        for (kind, id) in [
            (Kind::Peer, "vxlan/10000"),
            (Kind::Endpoint, "red"),
            (Kind::Endpoint, "red/01:00:00:00:00:00"),
            (Kind::Interface, "r1"),
            (Kind::Interface, "r1/red/blue"),
            (Kind::Route, "10.9.0.0/16"),
            (Kind::Route, "r1"),
            (Kind::DvrMac, "r1"),
        ] {
            assert!(ObjectKey::parse(kind, id).unwrap_err().contains("expected"));
        }
    }
}
