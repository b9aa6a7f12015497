//! What DPDK refused, said so that an operator understands it.
//!
//! Owns: [`PmdError`]. Refuses: packets' fates (those are drop reasons) and a configuration's mistakes.

use std::fmt;

/// An operation of DPDK, or of this crate on it, that failed.
///
/// Displayed as `cannot <operation> <subject>: <reason>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PmdError {
    operation: &'static str,
    subject: String,
    reason: String,
    errno: Option<i32>,
}

impl PmdError {
    /// A refusal by this crate itself, with its reason in words.
    pub(crate) fn new(operation: &'static str, subject: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { operation, subject: subject.into(), reason: reason.into(), errno: None }
    }

    /// A refusal by DPDK. `errno` may have either sign: DPDK returns it negative and keeps it positive in `rte_errno`.
    pub(crate) fn from_errno(operation: &'static str, subject: impl Into<String>, errno: i32) -> Self {
        let errno = errno.saturating_abs();
        let reason = std::io::Error::from_raw_os_error(errno).to_string();
        Self { operation, subject: subject.into(), reason, errno: Some(errno) }
    }

    /// The same, with what is known about the cause after DPDK's reason.
    pub(crate) fn because(mut self, cause: impl fmt::Display) -> Self {
        self.reason = format!("{}; {cause}", self.reason);
        self
    }

    /// What was tried, as a verb with its object: `start the EAL`, `set the MTU of`.
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// What it was tried on: a device, a pool, a core; empty where the operation says it.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// DPDK's errno, positive; `None` where this crate refused before asking DPDK.
    pub fn errno(&self) -> Option<i32> {
        self.errno
    }
}

impl fmt::Display for PmdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}", self.operation)?;
        if !self.subject.is_empty() {
            write!(f, " {}", self.subject)?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl std::error::Error for PmdError {}

#[cfg(test)]
mod tests {
    use super::PmdError;

    #[test]
    fn says_what_on_what_and_why() {
        let error = PmdError::from_errno("open port", "0000:00:05.0", -19).because("is it bound to vfio-pci?");
        assert_eq!(
            error.to_string(),
            "cannot open port 0000:00:05.0: No such device (os error 19); is it bound to vfio-pci?"
        );
        assert_eq!(error.errno(), Some(19));
    }

    #[test]
    fn an_operation_without_a_subject_reads_well() {
        assert_eq!(
            PmdError::new("start the EAL", "", "it runs already").to_string(),
            "cannot start the EAL: it runs already"
        );
    }
}
