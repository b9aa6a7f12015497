//! What is made of the commands' definitions: completion scripts and man pages.

use crate::cli::Cli;
use crate::failure::{EXIT_CODES, Failure};
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use std::io::{self, Write};
use std::path::Path;

/// Writes the completion script of a shell.
pub(crate) fn completion(shell: &str, out: &mut dyn Write) -> Result<(), Failure> {
    let shell: Shell = shell.parse().map_err(|e| Failure::Usage(format!("{shell}: {e}")))?;
    // Generated into memory first: clap_complete panics when it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "weirctl", &mut script);
    Ok(out.write_all(&script)?)
}

/// Writes a man page per command into `directory`, and says how many.
pub(crate) fn man(directory: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    let name = directory.display();
    if !directory.is_dir() {
        return Err(Failure::File(format!("{name}: no such directory: `mkdir -p {name}` makes it")));
    }
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let count = pages(&root, directory).map_err(|e| Failure::File(format!("{name}: {e}")))?;
    Ok(writeln!(out, "{count} man pages in {name}")?)
}

/// The page of a command and those of its subcommands; how many they are.
fn pages(command: &Command, directory: &Path) -> io::Result<usize> {
    let mut count = 1;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        count += pages(sub, directory)?;
    }
    let page = Man::new(command.clone()).source(concat!("Weir ", env!("CARGO_PKG_VERSION"))).manual("Weir");
    let mut roff = Vec::new();
    page.render_title(&mut roff)?;
    page.render_name_section(&mut roff)?;
    page.render_synopsis_section(&mut roff)?;
    page.render_description_section(&mut roff)?;
    page.render_options_section(&mut roff)?;
    if command.has_subcommands() {
        page.render_subcommands_section(&mut roff)?;
    }
    let after = command.get_after_long_help().or(command.get_after_help()).map(ToString::to_string);
    let after = after.unwrap_or_default().replace(EXIT_CODES, "");
    let (notes, examples) = after.split_once("Examples:\n").unwrap_or((&after, ""));
    section(&mut roff, "NOTES", notes)?;
    section(&mut roff, "EXAMPLES", examples)?;
    section(&mut roff, "EXIT STATUS", EXIT_CODES.split_once('\n').map_or("", |(_, codes)| codes))?;
    std::fs::write(directory.join(page.get_filename()), roff)?;
    Ok(count)
}

/// A section whose lines stay as they are; nothing where there is no text.
fn section(roff: &mut Vec<u8>, title: &str, text: &str) -> io::Result<()> {
    if text.trim().is_empty() {
        return Ok(());
    }
    writeln!(roff, ".SH \"{title}\"\n.nf")?;
    for line in text.trim_matches('\n').lines() {
        // `\&` keeps a line that begins with a dot or a quote from being a request.
        writeln!(roff, "\\&{}", line.replace('\\', "\\e").replace('-', "\\-"))?;
    }
    writeln!(roff, ".fi")
}
