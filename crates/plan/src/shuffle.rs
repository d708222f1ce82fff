//! A seeded permutation in constant memory: a Feistel network with cycle walking.
//!
//! A shuffled list of all shards would be simpler, but takes megabytes for each epoch, and the coordinator needs thousands
//! of epochs. Here any place of any epoch costs some 50 ns.

/// Rounds of the network. Four rounds of random functions are hard to tell from a random permutation if the halves are
/// wide (Luby and Rackoff 1988). Here a half can be one bit; a test shows that eight rounds mix evenly even then.
const ROUNDS: usize = 8;

/// A permutation of `0..size`.
#[derive(Clone, Debug)]
pub struct Shuffle {
    size: u64,
    half_bits: u32,
    round_keys: [u64; ROUNDS],
}

impl Shuffle {
    /// A permutation that is a function of the size, the `numbers`, and the `domain`, a sentence that tells apart two uses
    /// of the same numbers.
    #[must_use]
    pub fn new(size: u64, domain: &'static str, numbers: &[u64]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(domain);
        for number in numbers {
            hasher.update(&number.to_le_bytes());
        }
        let mut stream = hasher.finalize_xof();
        let round_keys = std::array::from_fn(|_| {
            let mut key_bytes = [0; 8];
            stream.fill(&mut key_bytes);
            u64::from_le_bytes(key_bytes)
        });
        Self { size, half_bits: half_bits(size), round_keys }
    }

    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The item at `place`, which must be below [`size`](Self::size).
    ///
    /// The network permutes the next power of 4. A value outside of `0..size` goes through it again until it is inside.
    /// The result is a permutation of `0..size`, and takes fewer than four passes on average.
    #[must_use]
    pub fn at(&self, place: u64) -> u64 {
        assert!(place < self.size, "place {place} of a shuffle of {} things", self.size);
        let mut value = self.permute_power_of_4(place);
        while value >= self.size {
            value = self.permute_power_of_4(value);
        }
        value
    }

    fn permute_power_of_4(&self, value: u64) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for key in self.round_keys {
            (left, right) = (right, left ^ (mix(right ^ key) & mask));
        }
        (left << self.half_bits) | right
    }
}

/// The smallest h with 4^h ≥ `size`: 0 to 32.
fn half_bits(size: u64) -> u32 {
    let bits = u64::BITS - size.saturating_sub(1).leading_zeros();
    bits.div_ceil(2)
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014, with Stafford's variant 13 of the constants).
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_is_the_next_power_of_4() {
        let bits = [0, 1, 2, 4, 5, 16, 17, 1 << 62, (1 << 62) + 1, u64::MAX].map(half_bits);
        assert_eq!(bits, [0, 0, 1, 1, 2, 2, 3, 31, 32, 32]);
    }

    #[test]
    fn the_widest_shuffle_stays_inside() {
        let shuffle = Shuffle::new(u64::MAX, "test", &[1]);
        for place in [0, 1, u64::MAX / 2, u64::MAX - 1] {
            assert!(shuffle.at(place) < u64::MAX);
        }
    }

    /// χ² over all n! orders, 4,000 draws; the bounds are the 1 − 10⁻⁶ quantiles for n! − 1 degrees of freedom.
    #[test]
    fn small_shuffles_take_every_order_equally_often() {
        for (size, orders, bound) in [(2, 2, 23.9), (3, 6, 35.9), (4, 24, 69.0)] {
            let mut seen = std::collections::BTreeMap::new();
            for seed in 0..4000 {
                let shuffle = Shuffle::new(size, "test", &[seed]);
                let order: Vec<u64> = (0..size).map(|place| shuffle.at(place)).collect();
                *seen.entry(order).or_insert(0u32) += 1;
            }
            let expected = 4000.0 / f64::from(orders);
            assert_eq!(seen.len(), orders as usize, "orders of {size} things that came up");
            let chi2: f64 = seen.values().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum();
            assert!(chi2 < bound, "orders of {size} things: χ² {chi2:.1}, bound {bound}");
        }
    }
}
