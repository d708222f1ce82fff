//! The file that makes a snapshot: what it is of, and each part's size and hash.
//!
//! ```json
//! { "format": 1,
//!   "snapshot": { "step": 100, "identity": "…", "data_fingerprint": "…", "numerics": "…", "spec_yaml": "…",
//!                 "parts": [ { "name": "generator", "file": "generator.safetensors", "len_bytes": …, "blake3": "…" } ] },
//!   "blake3": "…" }
//! ```
//! The last hash is that of `snapshot` as compact JSON in this order of keys: a changed byte in a text that
//! has no hash of its own is noticed too.

use lsgan_spec::Step;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::layout;

/// The version of the manifest's format that this build writes, and the only one that it reads.
pub const FORMAT: u64 = 1;

/// The largest manifest that is read: far more than a spec and some parts need, and little to allocate.
pub const MAX_BYTES: u64 = 4 << 20;

/// What a snapshot is of, and what it consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// How many steps are done.
    pub step: Step,
    /// Hash of what decides the run's mathematics, as hex.
    pub identity: String,
    /// Hash of the data that the run reads, as hex.
    pub data_fingerprint: String,
    /// What the run's arithmetic was done with; opaque here.
    pub numerics: String,
    /// The run's file as it was.
    pub spec_yaml: String,
    /// In the order in which they were given.
    pub parts: Vec<PartEntry>,
}

/// One part of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartEntry {
    /// The part's name: `generator`, …
    pub name: String,
    /// Its file in the snapshot's folder: `<name>.safetensors`, unless that was taken by other bytes.
    pub file: String,
    /// Size of the file.
    pub len_bytes: u64,
    /// BLAKE3 hash of the file, as 64 hex digits.
    pub blake3: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File<M> {
    format: u64,
    snapshot: M,
    blake3: String,
}

/// What every version of the format has.
#[derive(Deserialize)]
struct Version {
    format: u64,
}

impl Manifest {
    /// The part of this name, if there is one.
    #[must_use]
    pub fn part(&self, name: &str) -> Option<&PartEntry> {
        self.parts.iter().find(|part| part.name == name)
    }

    /// The manifest's file.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let file = File { format: FORMAT, snapshot: self, blake3: self.blake3() };
        let mut bytes = serde_json::to_vec_pretty(&file).expect("a manifest is texts and numbers");
        bytes.push(b'\n');
        bytes
    }

    /// Reads the file of `step`'s manifest; `path` is for the error's text.
    pub(crate) fn from_bytes(bytes: &[u8], step: Step, path: &str) -> Result<Self, Error> {
        let damaged = |text: String| Error::Damaged { text: format!("manifest `{path}` {text}") };
        let syntax =
            |error| damaged(format!("cannot be read: {error}. It is damaged: use another snapshot."));
        let Version { format: found } = serde_json::from_slice(bytes).map_err(syntax)?;
        if found != FORMAT {
            return Err(Error::Format { path: path.to_owned(), found });
        }
        let file: File<Self> = serde_json::from_slice(bytes).map_err(syntax)?;
        let found = file.snapshot.blake3();
        if found != file.blake3 {
            return Err(damaged(format!(
                "states BLAKE3 {} of its content, which is {found}. It was changed: use another snapshot.",
                file.blake3
            )));
        }
        match file.snapshot.misplaced(step) {
            Some(problem) => Err(damaged(format!("does not belong here: {problem}. Use another snapshot."))),
            None => Ok(file.snapshot),
        }
    }

    /// In what this one is of another state than `theirs`, as (what, theirs, ours). Files' names do not count,
    /// nor does what is not part of the identity.
    pub(crate) fn difference(&self, theirs: &Self) -> Option<(String, String, String)> {
        if self.identity != theirs.identity {
            return Some(("identity".to_owned(), theirs.identity.clone(), self.identity.clone()));
        }
        let names = |manifest: &Self| join_names(&manifest.parts);
        if names(self) != names(theirs) {
            return Some(("list of parts".to_owned(), names(theirs), names(self)));
        }
        let mut pairs = self.parts.iter().zip(&theirs.parts);
        let (ours, theirs) = pairs.find(|(ours, theirs)| !ours.holds_the_same_as(theirs))?;
        let show = |part: &PartEntry| format!("{} ({} bytes)", part.blake3, part.len_bytes);
        Some((format!("part {}", ours.name), show(theirs), show(ours)))
    }

    /// Hash of all that the manifest says, as 64 hex digits: equal for equal snapshots.
    #[must_use]
    pub fn blake3(&self) -> String {
        let json = serde_json::to_vec(self).expect("a manifest is texts and numbers");
        blake3::hash(&json).to_hex().to_string()
    }

    fn misplaced(&self, step: Step) -> Option<String> {
        if self.step != step {
            return Some(format!("it is of step {}, its folder of step {step}", self.step));
        }
        let foreign = self.parts.iter().find(|part| !layout::is_plain_file(&part.file))?;
        Some(format!("its part `{}` has the file `{}`, which is no plain name", foreign.name, foreign.file))
    }
}

impl PartEntry {
    /// Whether the files have the same bytes, whatever their names.
    pub(crate) fn holds_the_same_as(&self, other: &Self) -> bool {
        (&self.blake3, self.len_bytes) == (&other.blake3, other.len_bytes)
    }
}

/// The parts' names with commas, for people.
pub(crate) fn join_names(parts: &[PartEntry]) -> String {
    parts.iter().map(|part| part.name.as_str()).collect::<Vec<_>>().join(", ")
}
