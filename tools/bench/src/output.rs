//! Files for results.

use anyhow::{Context, Result};
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

/// A file for the results: opened before anything is measured, so that no measurement is lost to a wrong path. What it
/// held stays until the results replace it; a new one goes again if there are none.
#[derive(Debug)]
pub struct Output {
    path: PathBuf,
    file: File,
    remove: bool,
}

impl Output {
    /// Opens it, or makes it.
    pub fn open(path: PathBuf) -> Result<Self> {
        let remove = !path.exists();
        let file = File::options().write(true).create(true).truncate(false).open(&path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path, file, remove })
    }

    /// Puts the text in place of what it held.
    pub fn write(mut self, text: &str) -> Result<()> {
        self.remove = false;
        let is_file = self.file.metadata().is_ok_and(|m| m.is_file());
        // A pipe has no length.
        let emptied = if is_file { self.file.set_len(0) } else { Ok(()) };
        let written = emptied.and_then(|()| self.file.write_all(text.as_bytes()));
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.remove {
            // The error that ends the run is the one to tell.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_replace_a_file_only_when_there_are_some() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("results.json");
        drop(Output::open(path.clone()).unwrap());
        assert!(!path.exists());
        Output::open(path.clone()).unwrap().write("a longer text").unwrap();
        drop(Output::open(path.clone()).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a longer text");
        Output::open(path.clone()).unwrap().write("short").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "short");
        assert!(Output::open(path.join("below")).is_err());
    }
}
