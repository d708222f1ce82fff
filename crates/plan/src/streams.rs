//! Keys for noise, and coins.

use lsgan_spec::{Position, Step, VirtualRank};

const CONTEXT: &str = "lsgan plan v1: key of a stream of noise";
const COIN: &str = "lsgan plan v1: coin for a place in the order";

/// The key of the counter-based generator for one virtual rank at one step.
///
/// `domain` tells uses apart (`"latent"`, `"augment"`). Equal arguments give equal keys on every machine, and different
/// arguments give different keys; for this, the hash includes the domain's length.
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

/// A fair coin for one place in the order of the samples: number `offset` of a visit to `position`. It is the same on every
/// worker, and independent for each visit of a record. `domain` tells uses apart (`"flip"`).
#[must_use]
pub fn coin(domain: &str, seed: u64, position: Position, offset: u64) -> bool {
    let mut hasher = blake3::Hasher::new_derive_key(COIN);
    hasher.update(&(domain.len() as u64).to_le_bytes());
    hasher.update(domain.as_bytes());
    for number in [seed, position.0, offset] {
        hasher.update(&number.to_le_bytes());
    }
    hasher.finalize().as_bytes()[0] & 1 == 1
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

    /// 40,000 coins: the heads are within five standard deviations (of 100) of the half, and neighbours are independent.
    #[test]
    fn coins_are_fair_and_differ_in_every_argument() {
        let toss = |seed, position, offset| coin("flip", seed, Position(position), offset);
        let tosses = |f: &dyn Fn(u64) -> bool| (0..10_000).map(f).collect::<Vec<_>>();
        let rows = [
            tosses(&|i| toss(i, 1, 1)),
            tosses(&|i| toss(1, i, 1)),
            tosses(&|i| toss(1, 1, i)),
            tosses(&|i| coin("other", 1, Position(1), i)),
        ];
        let heads: usize = rows.iter().flatten().filter(|heads| **heads).count();
        assert!(heads.abs_diff(20_000) < 500, "{heads} heads of 40,000");
        for row in &rows {
            let same = row.windows(2).filter(|pair| pair[0] == pair[1]).count();
            assert!(same.abs_diff(5_000) < 250, "{same} of 9,999 as the one before");
        }
        let equal = rows[2].iter().zip(&rows[3]).filter(|(a, b)| a == b).count();
        assert!(equal.abs_diff(5_000) < 250, "{equal} of 10,000 equal in two domains");
    }

    /// A changed key would change the weights of every run.
    #[test]
    fn a_key_stays_as_it_was_released() {
        let key = stream_key("latent", 1, Step(2), VirtualRank(3));
        assert_eq!(
            blake3::Hash::from(key).to_hex().as_str(),
            "6e547a07888b357d0d58c6bc615637fe88a3b2f32407749f9ab89a48df8334b3"
        );
    }
}
