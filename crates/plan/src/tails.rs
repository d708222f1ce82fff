//! The positions of a virtual rank that hold the short last shard, and the arithmetic of seeking past them.
//!
//! The short shard is an epoch's last place, so position p is short when p ≡ N − 1 (mod N). Virtual rank v's
//! ordinal k is position k·V + v: a linear congruence in k. Let g = gcd(V, N). If g does not divide N − 1 − v, there is no
//! solution; otherwise there is exactly one in every N / g ordinals, always at the same distance. The code below follows
//! from that. Counts of records are u128: 2^64 steps of 2^32 samples fit.

use crate::Geometry;

/// The numbers that are the same for all virtual ranks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TailGrid {
    /// gcd(V, N).
    gcd: u64,
    /// N / g.
    every: u64,
    /// (V / g)⁻¹ mod (N / g).
    inverse: u64,
}

/// One virtual rank's sequence of shard sizes: `full`, except at the ordinals of `tails`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    full: u64,
    tails: Option<Tails>,
}

/// Short shards of `records` records at the ordinals `first`, `first + every`, `first + 2·every` …
#[derive(Clone, Copy, Debug)]
struct Tails {
    first: u64,
    every: u64,
    records: u64,
}

impl TailGrid {
    pub(crate) fn new(geometry: &Geometry) -> Self {
        let shards = geometry.shards_per_epoch();
        let gcd = greatest_common_divisor(u64::from(geometry.virtual_ranks()), shards);
        let every = shards / gcd;
        Self { gcd, every, inverse: inverse(u64::from(geometry.virtual_ranks()) / gcd, every) }
    }

    /// The sizes of virtual rank `rank`, which is below V.
    pub(crate) fn sizes(&self, geometry: &Geometry, rank: u32) -> Sizes {
        let full = geometry.shard_records();
        let shards = geometry.shards_per_epoch();
        let places_to_tail = shards - 1 - u64::from(rank) % shards;
        if geometry.tail_records() == 0 || !places_to_tail.is_multiple_of(self.gcd) {
            return Sizes { full, tails: None };
        }
        let first = u128::from(places_to_tail / self.gcd) * u128::from(self.inverse) % u128::from(self.every);
        let tails = Tails { first: first as u64, every: self.every, records: geometry.tail_records() };
        Sizes { full, tails: Some(tails) }
    }

    /// The sizes of a virtual rank whose short shards come first and as often as possible.
    pub(crate) fn shortest_sizes(&self, geometry: &Geometry) -> Sizes {
        let records = geometry.tail_records();
        let tails = (records > 0).then_some(Tails { first: 0, every: self.every, records });
        Sizes { full: geometry.shard_records(), tails }
    }
}

impl Sizes {
    /// Locates the record that has `records` others before it: the number of whole positions before it, and its offset
    /// in the next.
    pub(crate) fn seek(&self, records: u128) -> (u128, u64) {
        let full = u128::from(self.full);
        let Some(tails) = self.tails else {
            return (records / full, (records % full) as u64);
        };
        let missing = full - u128::from(tails.records);
        // The sizes repeat with a period that has one short shard, so the rest lies in one period.
        let period_records = u128::from(tails.every) * full - missing;
        let before_period = records / period_records * u128::from(tails.every);
        let rest = records % period_records;
        let tail_begins = u128::from(tails.first) * full;
        let tail_ends = tail_begins + u128::from(tails.records);
        let (ordinal, offset) = if rest < tail_begins {
            (rest / full, rest % full)
        } else if rest < tail_ends {
            (u128::from(tails.first), rest - tail_begins)
        } else {
            ((rest + missing) / full, (rest + missing) % full)
        };
        (before_period + ordinal, offset as u64)
    }

    /// The number of records in the ordinals `0..ordinals`: the inverse of [`seek`](Self::seek).
    pub(crate) fn before(&self, ordinals: u64) -> u128 {
        let all_full = u128::from(ordinals) * u128::from(self.full);
        let Some(tails) = self.tails else { return all_full };
        let tail_count = ordinals.saturating_sub(tails.first).div_ceil(tails.every);
        all_full - u128::from(tail_count) * u128::from(self.full - tails.records)
    }
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The x in `0..modulus` with a·x ≡ 1, for coprime `a` and `modulus` (extended Euclid); 0 if `modulus` is 1.
fn inverse(a: u64, modulus: u64) -> u64 {
    let m = i128::from(modulus);
    let (mut r, mut next_r) = (m, i128::from(a) % m);
    let (mut x, mut next_x) = (0, 1);
    while next_r != 0 {
        let quotient = r / next_r;
        (r, next_r) = (next_r, r - quotient * next_r);
        (x, next_x) = (next_x, x - quotient * next_x);
    }
    x.rem_euclid(m) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every record of the first 40 ordinals lies where the ordinals before it end, for tails at all ordinals.
    #[test]
    fn before_and_seek_are_inverse() {
        for (first, every, records) in (0..5).flat_map(|f| (f + 1..7).map(move |e| (f, e, 1 + (f + e) % 4))) {
            for tails in [None, Some(Tails { first, every, records })] {
                let sizes = Sizes { full: 5, tails };
                for ordinal in 0..40 {
                    let (begin, end) = (sizes.before(ordinal), sizes.before(ordinal + 1));
                    for record in begin..end {
                        let place = (u128::from(ordinal), (record - begin) as u64);
                        assert_eq!(sizes.seek(record), place, "{sizes:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_inverse_times_its_number_is_1() {
        for modulus in 1..60 {
            for a in (1..200).filter(|&a| greatest_common_divisor(a, modulus) == 1) {
                assert_eq!(a * inverse(a, modulus) % modulus, 1 % modulus, "{a} mod {modulus}");
            }
        }
        let large = inverse(u64::MAX - 1, u64::MAX);
        assert_eq!(u128::from(u64::MAX - 1) * u128::from(large) % u128::from(u64::MAX), 1);
    }
}
