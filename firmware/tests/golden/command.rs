//! `weirctl` commands in the test's own process: the command line as it is parsed, the manager as it judges.

use clap::Parser;
use serde_json::Value;
use std::path::Path;
use weir::manager::configuration::Configuration;
use weir_api::message::{Call, Page};
use weirctl::cli::{Cli, Command};
use weirctl::client::Ask;
use weirctl::failure::Failure;
use weirctl::session::Session;

/// Answers what commands that change something ask.
struct Manager<'a>(&'a mut Configuration);

impl Ask for Manager<'_> {
    fn ask(&mut self, call: Call) -> Result<Value, Failure> {
        let json = |value: serde_json::Result<Value>| value.map_err(|e| Failure::Misunderstood(e.to_string()));
        match call {
            Call::Apply(batch) => {
                let applied = self.0.apply(batch, |_, _, _| Ok(())).map_err(Failure::Refused)?;
                json(serde_json::to_value(applied))
            }
            Call::Get(key) => json(serde_json::to_value(self.0.get(key.kind, &key.id).map_err(Failure::Refused)?)),
            // Asked for the generation's sake.
            Call::List(_) => {
                let page = Page { generation: self.0.generation(), rows: Vec::new(), next: None };
                json(serde_json::to_value(page))
            }
            Call::Stats {} => Err(Failure::Misunderstood("no stats here: the counters file has them".to_owned())),
            Call::Watch(_) | Call::Clear(_) | Call::Trace(_) => {
                Err(Failure::Misunderstood("no workers here to ask".to_owned()))
            }
        }
    }
}

/// Runs a command; files that it names are the case's.
pub(crate) fn run(configuration: &mut Configuration, case: &Path, arguments: &[String]) -> Result<(), String> {
    let line = ["weirctl".to_owned()].into_iter().chain(arguments.iter().cloned());
    let mut cli = Cli::try_parse_from(line).map_err(|e| e.to_string())?;
    if let Command::Apply(apply) = &mut cli.command {
        apply.file = case.join(&apply.file);
    }
    let mut session = Session {
        firmware: &mut Manager(configuration),
        input: &mut std::io::empty(),
        out: &mut std::io::sink(),
        notes: &mut std::io::sink(),
        json: false,
    };
    match weirctl::execute(&cli.command, &mut session) {
        Ok(0) => Ok(()),
        Ok(code) => Err(format!("exit code {code}")),
        Err(failure) => Err(failure.to_string()),
    }
}
