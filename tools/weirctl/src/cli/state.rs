//! Whole desired states: `apply` and `diff`.

use clap::Args;
use std::path::PathBuf;

/// The file of `apply` and `diff`.
const FORMAT: &str = "\
The file is TOML or JSON: by its extension, or else by its content. Every object is a table of its kind:

  [[bridge]]    name, mac_limit, mac_ageing, unknown_unicast, accept_from
  [[vtep]]      name, port, address, gateway, neighbours
  [[segment]]   id, bridge, vtep, carry_tags
  [[peer]]      segment, address
  [[endpoint]]  bridge, mac, location, ips
  [[router]]    name, mss_clamp, icmp_limit
  [[interface]] router, bridge, mac, addresses, mtu, external, gateways, pass_without_nat, ra
  [[route]]     router, prefix, via, blackhole
  [[dvr_mac]]   mac, own

A file without a byte but blanks is refused: it is likelier a command that failed than the wish to delete all.";

/// Arguments of `apply`.
#[derive(Debug, Args)]
#[command(
    after_long_help = format!("{FORMAT}\n\n{APPLY_EXAMPLES}"),
    after_help = APPLY_EXAMPLES
)]
pub struct ApplyArgs {
    /// The desired state; - is standard input
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub file: PathBuf,
    /// Only show what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Only add and change; delete nothing
    #[arg(long)]
    pub merge: bool,
    /// Refuse unless this generation is running
    #[arg(long, value_name = "N")]
    pub expect_generation: Option<u64>,
}

const APPLY_EXAMPLES: &str = "\
Examples:
  weirctl apply -f state.toml
  weirctl apply -f state.toml --dry-run
  weirctl apply -f more.json --merge
  weirctl apply -f - --expect-generation 7";

/// Arguments of `diff`.
#[derive(Debug, Args)]
#[command(
    after_long_help = format!("{FORMAT}\n\n{DIFF_EXAMPLES}"),
    after_help = DIFF_EXAMPLES
)]
pub struct DiffArgs {
    /// The desired state; - is standard input
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub file: PathBuf,
    /// As apply --merge: what the file does not have is no difference
    #[arg(long)]
    pub merge: bool,
}

const DIFF_EXAMPLES: &str = "\
Examples:
  weirctl diff -f state.toml
  weirctl diff -f state.toml -j";
