//! What happens, one by one: the rows that `watch` streams.
//!
//! Counters say how often (`events` of [`crate::view::Stats`]); a row says who, and where. What nobody watches is not
//! kept, and a watcher that reads too slowly loses rows and is told how many.

use crate::id::{Location, Mac};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

macro_rules! events {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// What can happen.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Event {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)*
        }

        impl Event {
            /// All of them.
            pub const ALL: &'static [Event] = &[$(Event::$variant,)*];

            /// Its name, the same in the RPC and on the command line.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Event::$variant => $text,)*
                }
            }
        }
    };
}

events! {
    /// A MAC was learned that was not known: `bridge`, `mac`, `location`.
    Learned = "learned",
    /// A learned MAC turned up elsewhere, and is there now: `bridge`, `mac`, `location`, `from`.
    Moved = "moved",
    /// A worker forgot a learned MAC, each for itself: `bridge`, `mac`, `location`.
    Aged = "aged",
    /// A MAC moved too often, and stays where it is for 180 s: `bridge`, `mac`, `location`, `from`.
    Frozen = "frozen",
    /// A MAC (`what`: `mac`) or binding (`binding`) was not learned, since its bridge has as many as it may: `bridge`,
    /// `mac`, `port`. At most once a second for a bridge and port.
    Limit = "limit",
    /// A port brought more of a class (`what`: `broadcast`, `unknown`, `announcement`) into a bridge than it may:
    /// `bridge`, `port`. At most once a second for each class.
    Storm = "storm",
    /// A frame was dropped because its sender used an address that is not its own: `bridge`, `mac`, `port`, and
    /// `address` where one was claimed. At most once a second for a bridge and port.
    Spoofed = "spoofed",
    /// An address was learned that was not known: `bridge`, `address`, `mac`.
    BindingLearned = "binding_learned",
    /// An address has another MAC now: `bridge`, `address`, `mac`.
    BindingMoved = "binding_moved",
    /// A learned address was forgotten: `bridge`, `address`, `mac`.
    BindingAged = "binding_aged",
    /// A next hop does not answer: `address`, `port`.
    NeighbourFailed = "neighbour_failed",
    /// A port's link went down: `port`.
    LinkDown = "link_down",
    /// It came back: `port`.
    LinkUp = "link_up",
    /// A worker has not moved for 2 s: `worker`.
    WorkerStuck = "worker_stuck",
    /// It moves again: `worker`.
    WorkerMoves = "worker_moves",
    /// Another desired state is in force: `generation`.
    Applied = "applied",
    /// So many events are missing here: `lost`; `worker` if all who watch miss them. Told whatever is asked for.
    Lost = "lost",
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// There is no such event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSuchEvent;

impl fmt::Display for NoSuchEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no such event; there are")?;
        Event::ALL.iter().try_for_each(|event| write!(f, " {event}"))
    }
}

impl std::error::Error for NoSuchEvent {}

impl FromStr for Event {
    type Err = NoSuchEvent;

    fn from_str(text: &str) -> Result<Self, NoSuchEvent> {
        Event::ALL.iter().copied().find(|event| event.as_str() == text).ok_or(NoSuchEvent)
    }
}

/// One thing that happened. What does not apply is absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventRow {
    /// When the firmware's manager heard of it, by the wall clock: milliseconds since 1970 in UTC.
    pub time_unix_ms: u64,
    /// What.
    pub event: Event,
    /// On which bridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
    /// Which host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Which address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// Where it was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Location>,
    /// By which port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// What of a storm or limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// The core of the worker that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<u32>,
    /// Which generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// How many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
}

impl EventRow {
    /// One with nothing but a time and a name.
    pub fn new(time_unix_ms: u64, event: Event) -> Self {
        Self {
            time_unix_ms,
            event,
            bridge: None,
            mac: None,
            address: None,
            location: None,
            from: None,
            port: None,
            what: None,
            worker: None,
            generation: None,
            lost: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_same_parsed_printed_and_in_json() {
        for event in Event::ALL {
            assert_eq!(event.as_str().parse(), Ok(*event));
            assert_eq!(serde_json::to_value(event).unwrap(), event.as_str());
        }
        assert!("reboot".parse::<Event>().unwrap_err().to_string().contains("binding_moved"));
    }

    #[test]
    fn a_row_says_only_what_applies() {
        let row = EventRow { lost: Some(3), ..EventRow::new(7, Event::Lost) };
        let json = serde_json::to_string(&row).unwrap();
        assert_eq!(json, r#"{"time_unix_ms":7,"event":"lost","lost":3}"#);
        assert_eq!(serde_json::from_str::<EventRow>(&json).unwrap(), row);
    }
}
