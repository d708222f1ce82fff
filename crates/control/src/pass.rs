//! What a worker shows on every stream, so that a coordinator that was started again believes what it says of itself:
//! a [`Pass`].
//!
//! Any process that reaches the port can say that it is worker 3 and holds the newest state. A pass is sealed with a key
//! that only the coordinators of this run have, so that nobody is remembered and a journal needs no entry for it.

use std::fmt;

use lsgan_spec::{Generation, Incarnation, Step};
use serde::{Deserialize, Serialize};

/// What a worker was told of its part in the run, sealed by its coordinator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    pub rights: Rights,
    /// A keyed hash of the rights.
    pub seal: [u8; 32],
}

/// What a worker may say of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    /// Who it is.
    pub incarnation: Incarnation,
    /// The newest generation that its process was told to form, under this incarnation or one before; 0 if there is none.
    /// A process that was told to form none holds no state.
    pub generation: Generation,
    /// No state that it holds is beyond so many steps.
    pub until: Step,
    /// It was the first rank of a generation once.
    pub led: bool,
}

impl Rights {
    /// It was told to form a generation.
    #[must_use]
    pub fn trained(&self) -> bool {
        self.generation > Generation(0)
    }
}

/// What seals the passes of a run. Equal in all lives of its coordinator, and known to no worker.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassKey([u8; 32]);

impl PassKey {
    /// The key of the run whose journal has this secret.
    #[must_use]
    pub fn of(secret: &str) -> Self {
        Self(blake3::derive_key("lsgan: the seal of what workers show on every stream", secret.as_bytes()))
    }

    /// Seals rights.
    #[must_use]
    pub fn seal(&self, rights: Rights) -> Pass {
        Pass { rights, seal: *self.hash(&rights).as_bytes() }
    }

    /// Whether a coordinator of this run sealed it.
    #[must_use]
    pub fn is_genuine(&self, pass: &Pass) -> bool {
        // Compared in constant time.
        self.hash(&pass.rights) == blake3::Hash::from_bytes(pass.seal)
    }

    fn hash(&self, rights: &Rights) -> blake3::Hash {
        let Rights { incarnation, generation, until, led } = rights;
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for number in [incarnation.0, generation.0, until.0, u64::from(*led)] {
            hasher.update(&number.to_le_bytes());
        }
        hasher.finalize()
    }
}

/// It must not come into a log.
impl fmt::Debug for PassKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PassKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_is_genuine_as_it_was_sealed_and_in_no_other_way() {
        let key = PassKey::of("a secret");
        let rights =
            Rights { incarnation: Incarnation(3), generation: Generation(2), until: Step(10), led: false };
        let pass = key.seal(rights);
        assert!(key.is_genuine(&pass));
        assert!(!PassKey::of("another run's").is_genuine(&pass));
        let forged = [
            Rights { incarnation: Incarnation(4), ..rights },
            Rights { generation: Generation(3), ..rights },
            Rights { until: Step(11), ..rights },
            Rights { led: true, ..rights },
        ];
        for rights in forged {
            assert!(!key.is_genuine(&Pass { rights, ..pass.clone() }), "{rights:?}");
        }
        assert_eq!(format!("{key:?}"), "PassKey");
    }
}
