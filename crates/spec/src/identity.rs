//! What makes a run this run: a hash of everything that decides its mathematics.
//!
//! Not in it: where things are (paths), how fast they go (compute, cluster) and what is told of them (samples,
//! reports), nor how many steps there are, so that a run can be made longer. The data's content has a fingerprint
//! of its own, which the data crate makes.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::RunSpec;
use crate::leaves::{self, Leaf};
use crate::table::{self, Part, Scalar};

/// Changes when the canonical form does: then every run is another.
const CONTEXT: &str = "lsgan run identity, canonical form 1";

/// The hash of what decides a run's mathematics. Equal identities and equal data give equal weights.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Identity([u8; 32]);

/// 64 hexadecimal digits; `{:.12}` shortens it.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(blake3::Hash::from_bytes(self.0).to_hex().as_str())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({self})")
    }
}

/// A text that is not an identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a run's identity; accepted: 64 hexadecimal digits. Copy it from a manifest or from `lsgan status`."
)]
pub struct BadIdentity(String);

impl FromStr for Identity {
    type Err = BadIdentity;

    fn from_str(text: &str) -> Result<Self, BadIdentity> {
        let hash = blake3::Hash::from_hex(text).map_err(|_| BadIdentity(text.chars().take(80).collect()))?;
        Ok(Self(*hash.as_bytes()))
    }
}

impl TryFrom<String> for Identity {
    type Error = BadIdentity;

    fn try_from(text: String) -> Result<Self, BadIdentity> {
        text.parse()
    }
}

impl From<Identity> for String {
    fn from(identity: Identity) -> Self {
        identity.to_string()
    }
}

/// A field that decides the mathematics and is not the same in two specs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldDiff {
    /// Its path, as in the run's file.
    pub path: String,
    /// What this spec has; none where it has no such field.
    pub ours: Option<String>,
    /// What the other has.
    pub theirs: Option<String>,
}

impl fmt::Display for FieldDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "not there".to_owned());
        write!(f, "{}: {} here, {} there", self.path, shown(&self.ours), shown(&self.theirs))
    }
}

impl RunSpec {
    /// The hash of what decides the mathematics.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        for leaf in deciding(self) {
            let value = counted(&leaf.path, &leaf.value);
            for part in [leaf.path.as_bytes(), &value] {
                // Lengths first, so that no two lists of fields are the same bytes.
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
        }
        Identity(*hasher.finalize().as_bytes())
    }

    /// The fields that make this run another than `other`, in the order of their paths; empty where the
    /// identities are equal.
    #[must_use]
    pub fn identity_diff(&self, other: &Self) -> Vec<FieldDiff> {
        let (ours, theirs) = (deciding(self), deciding(other));
        let mut paths: BTreeMap<&str, [Option<&Scalar>; 2]> = BTreeMap::new();
        for (side, leaves) in [(0, &ours), (1, &theirs)] {
            for leaf in leaves {
                paths.entry(&leaf.path).or_default()[side] = Some(&leaf.value);
            }
        }
        paths
            .into_iter()
            .filter(|(path, [ours, theirs])| {
                ours.map(|value| counted(path, value)) != theirs.map(|value| counted(path, value))
            })
            .map(|(path, [ours, theirs])| FieldDiff {
                path: path.to_owned(),
                ours: ours.map(ToString::to_string).or_else(|| unsaid(path)),
                theirs: theirs.map(ToString::to_string).or_else(|| unsaid(path)),
            })
            .collect()
    }
}

/// What a field has that is left out of the identity where it has it; none for other fields, which then are not there.
fn unsaid(path: &str) -> Option<String> {
    match table::find(path)?.part() {
        Part::ValueUnless(first) => Some(first.to_owned()),
        Part::Value | Part::ValueAs(_) | Part::Presence | Part::Nothing => None,
    }
}

/// The fields that decide, of those that only name a choice without their values.
fn deciding(spec: &RunSpec) -> Vec<Leaf> {
    let part = |path: &str| table::find(path).expect("the table has a row for every field").part();
    leaves::of(spec)
        .into_iter()
        .filter_map(|leaf| match part(&leaf.path) {
            Part::Value | Part::ValueAs(_) => Some(leaf),
            Part::ValueUnless(first) => (leaf.value.to_string() != first).then_some(leaf),
            Part::Presence => Some(Leaf { value: Scalar::Nothing, ..leaf }),
            Part::Nothing => None,
        })
        .collect()
}

/// What a field's value counts as.
fn counted(path: &str, value: &Scalar) -> Vec<u8> {
    let part = table::find(path).map(|row| row.part());
    match (part, value) {
        (Some(Part::ValueAs(words)), Scalar::Text(word)) => {
            let other = words.iter().find(|(of, _)| of == word).map(|(_, counts_as)| *counts_as);
            encoded(&Scalar::Text(other.unwrap_or(word).to_owned()))
        }
        _ => encoded(value),
    }
}

/// A value as bytes that no library's way to print numbers can change.
fn encoded(value: &Scalar) -> Vec<u8> {
    let (kind, bytes) = match value {
        Scalar::Whole(value) => (b'w', value.to_le_bytes().to_vec()),
        // -0 and 0 are the same number.
        Scalar::Real(value) => {
            (b'r', (if *value == 0.0 { 0.0 } else { *value }).to_bits().to_le_bytes().to_vec())
        }
        Scalar::Text(value) => (b't', value.as_bytes().to_vec()),
        Scalar::Bool(value) => (b'b', vec![u8::from(*value)]),
        Scalar::Nothing => (b'n', Vec::new()),
    };
    [vec![kind], bytes].concat()
}
