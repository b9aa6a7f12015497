//! Weir's management tool, as a library: `main.rs` only hands over the command line.
//!
//! Owns the way from a command line to messages of [`weir_api`] and from their answers to text, JSON and an exit code.
//! Refuses, before anything is sent, what no object can be; what does not fit the other objects, the firmware refuses.
//!
//! A test that has the firmware's manager in its own process needs no socket: [`calls`] turns one command into messages,
//! and [`execute`] runs any command against whatever implements [`client::Ask`].
#![forbid(unsafe_code)]

pub mod apply;
pub mod change;
pub mod cli;
pub mod client;
pub mod failure;
mod generated;
mod routing;
pub mod rows;
pub mod session;
pub mod show;
pub mod state_file;
pub mod stats;
pub mod table;
pub mod trace;
pub mod watch;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use cli::{Cli, Command};
use client::Client;
use failure::Failure;
use session::Session;
use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use weir_api::message::{Call, Op};

/// The messages that a command comes to: one `apply` for `add` and `del`.
///
/// `args` is the command without the program's name: `["add", "bridge", "red"]`. Pure: nothing is read or sent. The
/// message of an `add` replaces the object if it exists; only [`execute`] looks first. An error is one of grammar, or a
/// command whose messages depend on answers (`set`, `show`…) or on a file (`apply`, `diff`): those need [`execute`].
pub fn calls(args: &[&str]) -> Result<Vec<Call>, clap::Error> {
    let cli = Cli::try_parse_from(["weirctl"].iter().chain(args))?;
    let error = |kind, text: &str| Cli::command().error(kind, text);
    let refused = |e: Failure| error(ErrorKind::ValueValidation, &e.to_string());
    let ops: Vec<Op> = match &cli.command {
        Command::Add(add) => vec![Op::Put(change::new_object(add).map_err(refused)?)],
        Command::Del(del) => change::doomed(del).map_err(refused)?.into_iter().map(Op::Delete).collect(),
        _ => {
            let text = "only `add` and `del` are the same messages whatever the firmware answers";
            return Err(error(ErrorKind::InvalidSubcommand, text));
        }
    };
    Ok(vec![Call::Apply(change::batch(ops))])
}

/// Runs a command, and gives its exit code: 0, or 5 for a `diff` with differences.
pub fn execute(command: &Command, session: &mut Session<'_>) -> Result<u8, Failure> {
    match command {
        Command::Show(what) => show::show(session, what)?,
        Command::Add(add) => {
            let applied = change::add(session, add)?;
            apply::tell(session, &applied)?;
        }
        Command::Set(set) => {
            let applied = change::set(session, set)?;
            apply::tell(session, &applied)?;
        }
        Command::Del(del) => {
            let applied = change::del(session, del)?;
            apply::tell(session, &applied)?;
        }
        Command::Clear(what) => watch::clear(session, what)?,
        Command::Watch(args) => watch::watch(session, args)?,
        Command::Trace(args) => trace::trace(session, args)?,
        Command::Apply(args) => return apply::apply(session, args),
        Command::Diff(args) => return apply::diff(session, args),
        Command::Export => apply::export(session)?,
        Command::Completion { shell } => generated::completion(shell, session.out)?,
        Command::Man { directory } => generated::man(directory, session.out)?,
    }
    Ok(0)
}

/// The whole program: reads the command line, `args` with the program's name first, and gives the exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(e) => {
            // Help or an error that nobody reads any more is no failure of its own.
            let _ = e.print();
            return if e.use_stderr() { 2 } else { 0 };
        }
    };
    let mut client = Client::new(&cli.global.socket, cli.global.timeout);
    let mut out = BufWriter::new(io::stdout().lock());
    let mut session = Session {
        firmware: &mut client,
        input: &mut io::stdin().lock(),
        out: &mut out,
        notes: &mut io::stderr().lock(),
        json: cli.global.json,
    };
    let result = execute(&cli.command, &mut session);
    let flushed = out.flush().map_err(Failure::Output);
    let result = result.and_then(|code| flushed.map(|()| code));
    // Whatever is left would be flushed again on drop, to fail again.
    let _ = out.into_parts();
    match result {
        Ok(code) => code,
        // `weirctl … | head`: who reads has had enough.
        Err(Failure::Output(e)) if e.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(failure) => {
            let line = if cli.global.json { failure.to_json().to_string() } else { format!("weirctl: {failure}") };
            let _ = writeln!(io::stderr(), "{line}");
            failure.exit_code()
        }
    }
}
