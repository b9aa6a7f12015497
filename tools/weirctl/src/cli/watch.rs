//! `watch` and `clear`: what happens, and what is to be forgotten.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use std::net::IpAddr;
use weir_api::event::Event;
use weir_api::id::{Mac, Name};

/// `watch`.
#[derive(Clone, Debug, Args)]
pub struct WatchArgs {
    /// Only this event; may be given several times
    #[arg(
        long = "event",
        value_name = "EVENT",
        value_parser = PossibleValuesParser::new(Event::ALL.iter().map(|event| event.as_str()))
            .try_map(|name| name.parse::<Event>())
    )]
    pub events: Vec<Event>,
    /// Only what happens on this bridge
    #[arg(long, value_name = "NAME")]
    pub bridge: Option<Name>,
    /// End after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
}

/// `clear WHAT`.
#[derive(Debug, Subcommand)]
pub enum Clear {
    /// Learned MACs of a bridge, while configured ones stay; a frozen one may move again
    #[command(after_help = "Examples:\n  weirctl clear mac --bridge red\n  \
            weirctl clear mac --bridge red --mac 02:00:00:00:00:01")]
    Mac {
        /// The bridge
        #[arg(long, value_name = "NAME")]
        bridge: Name,
        /// Only this one
        #[arg(long, value_name = "MAC")]
        mac: Option<Mac>,
    },
    /// Learned bindings of a bridge
    #[command(after_help = "Examples:\n  weirctl clear binding --bridge red\n  \
            weirctl clear binding --bridge red --address 10.0.0.1")]
    Binding {
        /// The bridge
        #[arg(long, value_name = "NAME")]
        bridge: Name,
        /// Only that of this address
        #[arg(long, value_name = "ADDRESS")]
        address: Option<IpAddr>,
    },
}
