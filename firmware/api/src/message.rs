//! Requests, responses and errors: JSON-RPC 2.0, one message a line.
//!
//! Read first: <https://www.jsonrpc.org/specification>. Left out of it: batches (an `apply` is one already) and
//! notifications from clients (every request is answered).

use crate::event::Event;
use crate::id::Mac;
use crate::object::{Key, Kind, Object};
use crate::trace::Trace;
use crate::view::Source;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::net::IpAddr;

/// A request as it goes on the wire: the envelope around a [`Call`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Always "2.0".
    pub jsonrpc: Version,
    /// Comes back in the response.
    pub id: u64,
    /// What is asked.
    #[serde(flatten)]
    pub call: Call,
}

/// The literal "2.0".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// JSON-RPC 2.0.
    #[default]
    #[serde(rename = "2.0")]
    V2,
}

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", content = "params", rename_all = "lowercase")]
pub enum Call {
    /// Change the desired state. Answers [`Applied`].
    Apply(Apply),
    /// One object of the desired state. Answers [`Object`].
    Get(Key),
    /// Objects of the desired state, or rows of what the firmware knows. Answers [`Page`].
    List(List),
    /// Every counter and gauge. Answers [`crate::view::Stats`].
    Stats {},
    /// What happens from now on. Answers [`Watching`]; from then on the connection only streams [`Notification`]s.
    Watch(Watch),
    /// Forget what was learned. Answers [`Cleared`].
    Clear(Clear),
    /// What would become of a frame. Answers [`crate::trace::Traced`].
    Trace(Trace),
}

/// Which events are to be streamed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// Only these; all if none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
    /// Only those of this bridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
}

/// That events are streamed from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watching {
    /// Always true.
    pub watching: bool,
}

/// One event, as it goes on the wire: JSON-RPC's notification, a request that nobody answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notification<R> {
    /// Always "2.0".
    pub jsonrpc: Version,
    /// Always "event".
    pub method: EventMethod,
    /// What happened: a [`crate::event::EventRow`].
    pub params: R,
}

/// The literal "event".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventMethod {
    /// The only one.
    #[default]
    #[serde(rename = "event")]
    Event,
}

/// What to forget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clear {
    /// Which kind of fact.
    pub what: Clearable,
    /// On which bridge.
    pub bridge: String,
    /// Of `mac`: only this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Of `binding`: only that of this address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
}

/// What can be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clearable {
    /// Learned MACs.
    Mac,
    /// Learned bindings.
    Binding,
}

/// What was forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cleared {
    /// Each worker has tables of its own.
    pub workers: Vec<ClearedWorker>,
}

/// What one worker has forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClearedWorker {
    /// The core that it runs on.
    pub core: u32,
    /// How many entries it knew, and knows no more.
    pub cleared: u64,
}

/// A batch of changes: all of them, or none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Apply {
    /// The changes, in any order: references are checked when all are made. At most one an object.
    pub ops: Vec<Op>,
    /// Whether what is not put is deleted: the ops are then a whole desired state.
    #[serde(default)]
    pub replace: bool,
    /// Whether only to say what would change.
    #[serde(default)]
    pub dry_run: bool,
    /// Refuse unless this is the running generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_generation: Option<u64>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// Create the object, or replace the one of the same kind and id.
    Put(Object),
    /// Delete the object. An error if there is none, or if something that stays refers to it.
    Delete(Key),
}

/// What an `apply` changed, or would.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Applied {
    /// The generation now running. It grows by one with an `apply` that changes something.
    pub generation: u64,
    /// What is there now and was not before.
    pub added: Vec<Key>,
    /// What is different now.
    pub changed: Vec<Key>,
    /// What is gone now.
    pub deleted: Vec<Key>,
    /// What was accepted but does not have its full effect, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Which rows are asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// Rows of what.
    pub of: Noun,
    /// Only rows of this bridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
    /// Only rows of this router; of `router`, `interface`, `route` and `neighbour`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<String>,
    /// Rows of what is in force instead of objects: of `router` [`crate::view::RouterRow`], of `route`
    /// [`crate::view::RouteRow`], of `dvr_mac` [`crate::view::DvrMacRow`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_force: bool,
    /// Only rows with this address: of `mac` a MAC, of `binding` an IP address or a MAC, of `flood` a peer's IP address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Only rows that are known in this way; of `mac`, `binding` and `flood`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Where to go on: `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// At most this many rows; the firmware's own bound is 10,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

impl List {
    /// Every row of a noun.
    pub fn all(of: Noun) -> Self {
        Self { of, bridge: None, router: None, in_force: false, address: None, source: None, after: None, limit: None }
    }
}

/// What can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Noun {
    /// [`crate::object::Bridge`] rows.
    Bridge,
    /// [`crate::object::Vtep`] rows.
    Vtep,
    /// [`crate::object::Segment`] rows.
    Segment,
    /// [`crate::object::Peer`] rows.
    Peer,
    /// [`crate::object::Endpoint`] rows.
    Endpoint,
    /// [`crate::object::Router`] rows.
    Router,
    /// [`crate::object::Interface`] rows.
    Interface,
    /// [`crate::object::Route`] rows.
    Route,
    /// [`crate::object::DvrMac`] rows.
    DvrMac,
    /// [`crate::view::MacRow`]: MACs configured and learned.
    Mac,
    /// [`crate::view::BindingRow`]: addresses and who has them, configured and learned.
    Binding,
    /// [`crate::view::FloodRow`]: where frames to everybody go.
    Flood,
    /// [`crate::view::NeighbourRow`]: next hops on the underlay.
    Neighbour,
}

impl From<Kind> for Noun {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Bridge => Noun::Bridge,
            Kind::Vtep => Noun::Vtep,
            Kind::Segment => Noun::Segment,
            Kind::Peer => Noun::Peer,
            Kind::Endpoint => Noun::Endpoint,
            Kind::Router => Noun::Router,
            Kind::Interface => Noun::Interface,
            Kind::Route => Noun::Route,
            Kind::DvrMac => Noun::DvrMac,
        }
    }
}

/// Rows, and where to go on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// The generation that the rows are of.
    pub generation: u64,
    /// The rows; their form follows the noun.
    pub rows: Vec<Value>,
    /// Passed as `after`, brings the next page. Absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A response: the result, or what went wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Response {
    /// Always "2.0".
    pub jsonrpc: Version,
    /// That of the request; null where it could not be read.
    pub id: Option<u64>,
    /// What was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// Why there is no result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Error {
    /// One of [`code`].
    pub code: i32,
    /// One sentence for a person.
    pub message: String,
    /// Where it is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Fault>,
}

/// The place of what is wrong, and what stands there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// From the params down: `ops[7000].put.segment.vtep`.
    pub path: String,
    /// What stands there.
    pub value: String,
}

/// Error codes: those of JSON-RPC, then Weir's own.
pub mod code {
    /// Not JSON.
    pub const PARSE: i32 = -32700;
    /// JSON, but no request.
    pub const INVALID_REQUEST: i32 = -32600;
    /// No such method.
    pub const METHOD_NOT_FOUND: i32 = -32601;
    /// The parameters do not fit the method.
    pub const INVALID_PARAMS: i32 = -32602;
    /// The firmware failed; its log says how.
    pub const INTERNAL: i32 = -32603;
    /// The desired state would not be valid.
    pub const INVALID_STATE: i32 = 1;
    /// Another generation is running than was expected.
    pub const WRONG_GENERATION: i32 = 2;
    /// No such object.
    pub const NOT_FOUND: i32 = 3;
    /// Too large, too many, too slow.
    pub const LIMIT: i32 = 4;
    /// A worker did not answer in time.
    pub const UNAVAILABLE: i32 = 5;
}
