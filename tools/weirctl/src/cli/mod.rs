//! What can be typed: every command, its arguments and its help. Completion and man pages come from here too.
//!
//! Owns the grammar only: values are parsed to [`weir_api`]'s types, so that what no object can be called is refused
//! before anything is sent. Whether an object fits the others is the firmware's to say.

mod change;
mod routing;
mod show;
mod state;
mod trace;
mod watch;

pub use change::{
    Add, AddBridge, AddEndpoint, AddMac, AddPeer, AddSegment, AddVtep, BridgeFields, Del, EndpointFields, HostKey, Ids,
    PeerFields, PeerKey, SegmentFields, Set, SetBridge, SetEndpoint, SetMac, SetPeer, SetSegment, SetVtep,
    Unchangeable, VtepFields,
};
pub use routing::{
    AddDvrMac, AddInterface, AddRoute, AddRouter, InterfaceFields, InterfaceId, InterfaceKey, MoreOfInterface,
    RouteFields, RouteId, RouteKey, RouterFields, SetDvrMac, SetInterface, SetRoute, SetRouter, ShowInterfaces,
    ShowRoutes,
};
pub use show::{
    EndpointId, HostAddress, PeerId, Show, ShowBindings, ShowFacts, ShowFlood, ShowHosts, ShowMacs, ShowOne,
};
pub use state::{ApplyArgs, DiffArgs};
pub use trace::{HostId, TraceArgs};
pub use watch::{Clear, WatchArgs};

use crate::failure::EXIT_CODES;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

/// Shows and changes a running Weir.
///
/// weirctl talks to the firmware over its Unix socket. What it changes is the desired state: bridges, the segments
/// that are attached to them, vteps, peers and endpoints; routers, their interfaces and routes, and DVR MACs. A change
/// that was answered survives a restart, and each worker takes it over between two bursts. Ports are not part of it: they come from weir.toml.
#[derive(Debug, Parser)]
#[command(
    name = "weirctl",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = format!("{EXIT_CODES}\n\n{EXAMPLES}")
)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  weirctl show port
  weirctl add bridge red
  weirctl add segment vlan/lan0/100 --bridge red
  weirctl show mac --bridge red
  weirctl apply -f state.toml --dry-run";

/// What holds for every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Print one JSON document instead of text
    #[arg(short, long, global = true)]
    pub json: bool,
    /// The firmware's socket
    #[arg(
        short,
        long,
        global = true,
        value_name = "PATH",
        env = "WEIR_SOCKET",
        hide_env_values = true,
        default_value = "/run/weir/weir.sock",
        value_hint = clap::ValueHint::FilePath
    )]
    pub socket: PathBuf,
    /// How long each call may take, connecting included
    #[arg(long, global = true, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub timeout: Duration,
}

/// Seconds, with a fraction if need be: more than 0, at most a day.
fn seconds(text: &str) -> Result<Duration, String> {
    let error = || format!("expected seconds, more than 0 and at most 86400, found {text}");
    let seconds: f64 = text.parse().map_err(|_| error())?;
    if !(seconds > 0.0 && seconds <= 86400.0) {
        return Err(error());
    }
    Ok(Duration::from_secs_f64(seconds).max(Duration::from_millis(1)))
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show objects, what was learned, and counters
    #[command(subcommand)]
    Show(Show),
    /// Add an object; refused if it exists
    #[command(subcommand)]
    Add(Add),
    /// Change fields of an object that exists; the others keep their values
    #[command(subcommand)]
    Set(Set),
    /// Delete objects
    #[command(subcommand)]
    Del(Del),
    /// Forget what was learned; what still talks is learned again
    #[command(subcommand)]
    Clear(Clear),
    /// Print what happens, as it happens
    ///
    /// A line for each event: the time in UTC, the event, and what it is about; with -j, JSON. Ends with Ctrl-C. Where
    /// events came faster than they could be told, `lost` says how many are missing. What happened before is not told:
    /// `show event` has the counts.
    #[command(after_help = "Examples:\n  weirctl watch\n  weirctl watch --event moved --event frozen --bridge red\n  \
            weirctl watch -j --event storm --count 1")]
    Watch(WatchArgs),
    /// Show where a packet would go, and why
    ///
    /// The packet takes the same decisions as every other one, by the running configuration and what the workers have learned,
    /// and each is printed: the step, the object that it used, what it came to; then the bytes that would leave. Nothing is
    /// sent, learned or counted. Rates and limits are not looked at.
    Trace(TraceArgs),
    /// Make a file's desired state the firmware's
    ///
    /// All of it or, on any error, nothing. What the file does not have is deleted, unless --merge is given.
    Apply(ApplyArgs),
    /// Show what apply would change
    ///
    /// Changes nothing. Exits 5 if there are differences, 0 if not.
    Diff(DiffArgs),
    /// Print the whole desired state, fit for apply
    ///
    /// TOML, or JSON with -j. `weirctl show state` is the same.
    #[command(after_help = "Examples:\n  weirctl export > state.toml\n  weirctl export -j > state.json")]
    Export,
    /// Print a shell's completion script
    #[command(after_help = "Examples:\n  weirctl completion bash > /usr/share/bash-completion/completions/weirctl\n  \
            weirctl completion zsh > /usr/local/share/zsh/site-functions/_weirctl")]
    Completion {
        /// The shell
        #[arg(value_parser = ["bash", "zsh", "fish"])]
        shell: String,
    },
    /// Write the man pages, one per command, into a directory
    #[command(after_help = "Examples:\n  weirctl man /usr/local/share/man/man1")]
    Man {
        /// Where to; must exist
        #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
        directory: PathBuf,
    },
}
