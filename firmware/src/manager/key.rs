//! What tells one object of the desired state from another, parsed.
//!
//! Owns: the way between the RPC's `{kind, id}` and the typed key that the tables are sorted by.

use std::fmt;
use std::net::IpAddr;
use weir_api::id::{Mac, Name, SegmentId};
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
        }
    }

    /// Its id among its kind, as the RPC spells it.
    pub fn id(&self) -> String {
        match self {
            Self::Bridge(name) | Self::Vtep(name) => name.to_string(),
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
        })
    }
}

fn form(kind: Kind) -> &'static str {
    match kind {
        Kind::Bridge | Kind::Vtep => "a name",
        Kind::Segment => "a segment such as vxlan/10000",
        Kind::Peer => "SEGMENT/ADDRESS such as vxlan/10000/192.0.2.2",
        Kind::Endpoint => "BRIDGE/MAC such as red/02:00:00:00:00:01",
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
        ] {
            assert_eq!(ObjectKey::parse(kind, id).unwrap().to_api(), Key { kind, id: id.to_owned() });
        }
        for (kind, id) in
            [(Kind::Peer, "vxlan/10000"), (Kind::Endpoint, "red"), (Kind::Endpoint, "red/01:00:00:00:00:00")]
        {
            assert!(ObjectKey::parse(kind, id).unwrap_err().contains("expected"));
        }
    }
}
