//! Keys for noise.

use lsgan_spec::{Step, VirtualRank};

const CONTEXT: &str = "lsgan plan v1: key of a stream of noise";

/// The key of the counter-based generator for one virtual rank at one step.
///
/// `domain` tells uses apart (`"latent"`, `"augment"`); equal arguments give equal keys on every machine, and no
/// two different ones do, for the domain's length is hashed too.
#[must_use]
pub fn stream_key(domain: &str, seed: u64, step: Step, rank: VirtualRank) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    hasher.update(&(domain.len() as u64).to_le_bytes());
    hasher.update(domain.as_bytes());
    hasher.update(&seed.to_le_bytes());
    hasher.update(&step.0.to_le_bytes());
    hasher.update(&rank.0.to_le_bytes());
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_in_every_argument() {
        let keys = [
            stream_key("latent", 1, Step(2), VirtualRank(3)),
            stream_key("latents", 1, Step(2), VirtualRank(3)),
            stream_key("latent", 2, Step(2), VirtualRank(3)),
            stream_key("latent", 1, Step(3), VirtualRank(3)),
            stream_key("latent", 1, Step(2), VirtualRank(2)),
        ];
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }

    /// A changed key would change the bits of every run: it has to be a decision.
    #[test]
    fn a_key_stays_as_it_was_released() {
        let key = stream_key("latent", 1, Step(2), VirtualRank(3));
        assert_eq!(
            blake3::Hash::from(key).to_hex().as_str(),
            "6e547a07888b357d0d58c6bc615637fe88a3b2f32407749f9ab89a48df8334b3"
        );
    }
}
