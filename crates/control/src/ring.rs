//! The keys of the workers' ring: whoever knows the key of a generation is a member of it.
//!
//! A member is told the key when it is told to form, and in no other way. It is not journaled: a generation that outlives
//! its coordinator is connected already.

use std::fmt;

use lsgan_spec::Generation;
use serde::{Deserialize, Serialize};

/// What the keys of a coordinator's generations come from.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingKeys {
    seed: [u8; 32],
    sealed: bool,
}

/// What the members of one generation are told.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingKey {
    pub secret: [u8; 32],
    /// Whether all that travels is encrypted; if not, members only prove to each other that they know the secret.
    pub sealed: bool,
}

impl RingKeys {
    /// Of a seed from the system's random source, another one for each life of a coordinator.
    #[must_use]
    pub fn new(seed: [u8; 32], sealed: bool) -> Self {
        Self { seed, sealed }
    }

    /// The key of a generation. Nothing about it follows from those of others.
    #[must_use]
    pub fn of(&self, generation: Generation) -> RingKey {
        let secret = blake3::keyed_hash(&self.seed, &generation.0.to_le_bytes());
        RingKey { secret: secret.into(), sealed: self.sealed }
    }
}

/// It must not come into a log.
impl fmt::Debug for RingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RingKeys")
    }
}

/// It must not come into a log.
impl fmt::Debug for RingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RingKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_generation_of_each_coordinator_has_a_key_of_its_own() {
        let [first, second] = [[1; 32], [2; 32]].map(|seed| RingKeys::new(seed, true));
        let key = first.of(Generation(1));
        assert_eq!(key, first.of(Generation(1)));
        assert_ne!(key, first.of(Generation(2)));
        assert_ne!(key, second.of(Generation(1)));
        assert!(key.sealed);
        assert_eq!(format!("{key:?} {first:?}"), "RingKey RingKeys");
    }
}
