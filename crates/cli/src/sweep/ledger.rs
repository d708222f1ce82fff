//! How long runs took, over all attempts: a journal knows when things happened, not how long nothing did.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use lsgan_console::Failure;

/// The file's name in a sweep's folder.
const FILE: &str = "seconds.json";

/// Seconds by run, in a file.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    seconds: BTreeMap<String, f64>,
}

impl Ledger {
    /// Reads it, and makes the folder where there is none.
    ///
    /// # Errors
    /// A folder that cannot be made, a file that cannot be read.
    pub fn open(out: &Path) -> Result<Self, Failure> {
        let path = out.join(FILE);
        fs::create_dir_all(out).map_err(|error| {
            Failure::bad_input(format!(
                "{} cannot be made: {error}. Name another folder with --out DIR.",
                out.display()
            ))
        })?;
        let seconds = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => {
                return Err(Failure::failed(format!("{}: it cannot be read: {error}", path.display())));
            }
            // A file that a full disk has cut off costs the times, and no run.
            Ok(text) => serde_json::from_str(&text).unwrap_or_default(),
        };
        Ok(Self { path, seconds })
    }

    /// How long a run took so far.
    #[must_use]
    pub fn of(&self, run: &str) -> f64 {
        self.seconds.get(run).copied().unwrap_or(0.0)
    }

    /// Says so, and writes it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn put(&mut self, runs: impl IntoIterator<Item = (String, f64)>) -> Result<(), Failure> {
        self.seconds.extend(runs);
        let text = serde_json::to_string_pretty(&self.seconds).expect("texts and numbers are JSON");
        replace(&self.path, &text)
    }
}

/// Writes a file whole or not at all: under another name first.
///
/// # Errors
/// It cannot be written.
pub fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    let new = path.with_extension("new");
    let written = fs::write(&new, text).and_then(|()| fs::rename(&new, path));
    written.map_err(|error| Failure::failed(format!("{}: it cannot be written: {error}", path.display())))
}
