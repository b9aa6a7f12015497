//! Log lines on stderr, or for the journal.
//!
//! Owns: the form of a line. On a terminal or in a file: seconds since the start, level, text. Where systemd reads
//! stderr (`JOURNAL_STREAM` is set): the `<N>` priority prefix of sd-daemon(3), and no time, since the journal has one.
//! Never used on the packet path.

use log::{Level, LevelFilter, Log, Metadata, Record};
use std::io::Write;
use std::time::Instant;

struct Stderr {
    started: Instant,
    journal: bool,
}

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = line(self.journal, self.started.elapsed().as_secs_f64(), record);
        // A log that cannot be written has nowhere to be reported.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

fn line(journal: bool, seconds: f64, record: &Record) -> String {
    let text = record.args().to_string();
    if journal {
        let priority = match record.level() {
            Level::Error => 3,
            Level::Warn => 4,
            Level::Info => 6,
            Level::Debug | Level::Trace => 7,
        };
        return text.lines().map(|l| format!("<{priority}>{l}\n")).collect();
    }
    let level = record.level().as_str().to_ascii_lowercase();
    format!("{seconds:>10.3} {level:<5} {text}\n")
}

/// Sends every log line of the process to stderr, from `level` up. Only the first call has an effect on where to.
pub fn start(level: LevelFilter) {
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let logger = Box::new(Stderr { started: Instant::now(), journal });
    // An embedding test may have its own logger already: then that one stays.
    let _ = log::set_boxed_logger(logger);
    log::set_max_level(level);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_time_and_level_and_the_journal_a_priority() {
        let record = |text| Record::builder().level(Level::Warn).args(text).build();
        assert_eq!(line(false, 1.5, &record(format_args!("link down"))), "     1.500 warn  link down\n");
        assert_eq!(line(true, 1.5, &record(format_args!("one\ntwo"))), "<4>one\n<4>two\n");
    }
}
