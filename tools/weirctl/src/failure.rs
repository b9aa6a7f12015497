//! Why a command did not do what it was asked, and the exit code that says so to a script.

use serde_json::{Value, json};
use std::fmt;
use std::io;
use std::path::PathBuf;
use weir_api::message::{self, code};

/// What the exit codes mean; part of `--help` and of every man page.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  refused by the firmware, or the output could not be written
  2  wrong usage, or a file that cannot be read or is not a desired state
  3  no connection, no answer in time, or no answer that can be understood
  4  no such object
  5  differences were found (diff)
  6  another generation is running than was expected";

/// The exit code of a `diff` that found differences.
pub const DIFFERENCES: u8 = 5;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub enum Failure {
    /// The firmware answered with an error.
    Refused(message::Error),
    /// `add` of an object that is there: its kind and id.
    Exists(String),
    /// There is no such row or object, by the name that was given.
    NotFound(String),
    /// What was asked makes no sense, in words.
    Usage(String),
    /// A file that was named cannot be used, in words that begin with its name.
    File(String),
    /// The firmware cannot be reached, or does not answer as it should.
    NoAnswer {
        /// The socket that was tried.
        socket: PathBuf,
        /// What happened.
        what: String,
        /// What to look at.
        check: String,
    },
    /// The firmware answered something else than the API has, in words.
    Misunderstood(String),
    /// The firmware refused what a file says.
    RefusedFile {
        /// File, line where it is known, and field.
        place: String,
        /// What it says of it.
        error: message::Error,
    },
    /// The desired state changed again and again between reading and writing.
    Unsettled(String),
    /// Output could not be written.
    Output(io::Error),
}

impl Failure {
    /// The exit code, as [`EXIT_CODES`] has it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Refused(error) | Failure::RefusedFile { error, .. } => match error.code {
                code::NOT_FOUND => 4,
                code::WRONG_GENERATION => 6,
                _ => 1,
            },
            Failure::Exists(_) | Failure::Output(_) => 1,
            Failure::Usage(_) | Failure::File(_) => 2,
            Failure::NoAnswer { .. } | Failure::Misunderstood(_) => 3,
            Failure::NotFound(_) => 4,
            Failure::Unsettled(_) => 6,
        }
    }

    /// Whether the firmware refused because another generation is running.
    pub fn is_wrong_generation(&self) -> bool {
        matches!(self, Failure::Refused(e) if e.code == code::WRONG_GENERATION)
    }

    /// Whether the firmware has no such object.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Failure::Refused(e) if e.code == code::NOT_FOUND)
    }

    /// The failure as `-j` prints it, on standard error: `exit_code` and `message` always; `code`, `path` and `value`
    /// where the firmware gave them; `place` in a file; `socket` where it could not be reached.
    pub fn to_json(&self) -> Value {
        let mut error = json!({ "exit_code": self.exit_code(), "message": self.to_string() });
        match self {
            Failure::Refused(e) | Failure::RefusedFile { error: e, .. } => {
                error["message"] = json!(e.message);
                error["code"] = json!(e.code);
                if let Failure::RefusedFile { place, .. } = self {
                    error["place"] = json!(place);
                }
                if let Some(fault) = &e.data {
                    error["path"] = json!(fault.path);
                    error["value"] = json!(fault.value);
                }
            }
            Failure::NoAnswer { socket, .. } => error["socket"] = json!(socket.display().to_string()),
            _ => {}
        }
        json!({ "error": error })
    }
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        Failure::Output(e)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Refused(error) => {
                f.write_str(&error.message)?;
                let Some(fault) = &error.data else { return Ok(()) };
                // The only change of a batch needs no number.
                let path = fault.path.strip_prefix("ops[0].put.").unwrap_or(&fault.path);
                match (names(&error.message, &fault.value), path) {
                    (true, path) if !path.contains('.') || path.ends_with(".delete.id") => Ok(()),
                    (true, path) => write!(f, " (at {path})"),
                    (false, "") => write!(f, " (found {})", fault.value),
                    (false, path) => write!(f, " (at {path}: {})", fault.value),
                }
            }
            Failure::RefusedFile { place, error } => {
                write!(f, "{place}: {}", error.message)?;
                match &error.data {
                    Some(fault) if !names(&error.message, &fault.value) => write!(f, " (found {})", fault.value),
                    _ => Ok(()),
                }
            }
            Failure::Exists(what) => write!(f, "{what} exists; `weirctl set` changes it, `weirctl del` deletes it"),
            Failure::NotFound(what) => write!(f, "there is no {what}"),
            Failure::Usage(text) | Failure::File(text) | Failure::Unsettled(text) | Failure::Misunderstood(text) => {
                f.write_str(text)
            }
            Failure::NoAnswer { socket, what, check } => write!(f, "{}: {what}; {check}", socket.display()),
            Failure::Output(e) => write!(f, "the output could not be written: {e}"),
        }
    }
}

impl std::error::Error for Failure {}

/// Whether the message has the value as a word, so that it need not be said again.
fn names(message: &str, value: &str) -> bool {
    let between = |c: char| !(c.is_alphanumeric() || "._-:/".contains(c));
    message.split(between).any(|word| word.trim_end_matches(['.', ':']) == value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_and_value_are_said_once() {
        let said = |message: &str, path: &str, value: &str| {
            let data = Some(message::Fault { path: path.to_owned(), value: value.to_owned() });
            Failure::Refused(message::Error { code: 1, message: message.to_owned(), data }).to_string()
        };
        assert_eq!(said("there is no bridge red", "id", "red"), "there is no bridge red");
        assert_eq!(said("generation 7 is running, not 5", "expect_generation", "5"), "generation 7 is running, not 5");
        assert_eq!(said("there is no bridge red", "ops[3].delete.id", "red"), "there is no bridge red");
        assert_eq!(
            said("segment vxlan/7: there is no vtep t.", "ops[0].put.segment.vtep", "t"),
            "segment vxlan/7: there is no vtep t. (at segment.vtep)"
        );
        // The 1 of 10 is not the value.
        assert_eq!(
            said("must be from 10 to 36000 seconds", "ops[2].put.bridge.mac_ageing", "1"),
            "must be from 10 to 36000 seconds (at ops[2].put.bridge.mac_ageing: 1)"
        );
        assert_eq!(said("too long", "", "x"), "too long (found x)");
    }
}
