//! The only bytes on the side channel: how a rank goes, how many calls it has finished, and which ranks it knows to be
//! still.
//!
//! What one rank has finished NCCL finishes for the others too, so that a neighbour in such a call goes on with it. A
//! rank is still when no sum reaches its weights any more: its flag is set, it has left, or it is dead.

/// How a rank goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// In order: all that it has to send is sent, and nothing more comes from it here.
    Leaving,
    /// It is aborted, or lost a neighbour itself: its generation is over. Said again when it knows of more still ranks.
    Failing,
}

impl Way {
    const fn magic(self) -> [u8; 8] {
        match self {
            Self::Leaving => *b"lsganBy\n",
            Self::Failing => *b"lsganNo\n",
        }
    }
}

/// A set of a group's ranks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ranks {
    size: usize,
    words: Vec<u64>,
}

impl Ranks {
    /// None of so many.
    pub(super) fn none(size: usize) -> Self {
        Self { size, words: vec![0; size.div_ceil(64)] }
    }

    /// False if it is in already.
    pub(super) fn insert(&mut self, rank: usize) -> bool {
        let (word, bit) = (&mut self.words[rank / 64], 1 << (rank % 64));
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// False if all of them are in already.
    pub(super) fn insert_all(&mut self, others: &Self) -> bool {
        let mut new = false;
        for (word, other) in std::iter::zip(&mut self.words, &others.words) {
            new |= other & !*word != 0;
            *word |= other;
        }
        new
    }

    pub(super) fn are_all(&self) -> bool {
        (0..self.size).all(|rank| self.words[rank / 64] >> (rank % 64) & 1 == 1)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Farewell {
    pub(super) way: Way,
    pub(super) finished_calls: u64,
    pub(super) still: Ranks,
}

impl Farewell {
    /// How long each is in a group of this size: magic (8), finished calls (u64), ranks (a bit each, in u64);
    /// little-endian.
    pub(super) fn len_bytes(size: usize) -> usize {
        16 + 8 * size.div_ceil(64)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.way.magic().to_vec();
        bytes.extend(self.finished_calls.to_le_bytes());
        bytes.extend(self.still.words.iter().flat_map(|word| word.to_le_bytes()));
        bytes
    }

    /// Whether these first bytes can become a farewell.
    pub(super) fn may_begin_with(bytes: &[u8]) -> bool {
        let known = bytes.len().min(8);
        [Way::Leaving, Way::Failing].iter().any(|way| bytes[..known] == way.magic()[..known])
    }

    /// The farewell in these [`Farewell::len_bytes`] bytes, which begin as [`Farewell::may_begin_with`] says.
    pub(super) fn decode(bytes: &[u8], size: usize) -> Self {
        let way = if bytes.starts_with(&Way::Leaving.magic()) { Way::Leaving } else { Way::Failing };
        let mut numbers = bytes[8..].as_chunks().0.iter().copied().map(u64::from_le_bytes);
        let finished_calls = numbers.next().expect("it has its whole length");
        Self { way, finished_calls, still: Ranks { size, words: numbers.collect() } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_farewell_is_read_as_it_was_written() {
        for (way, size) in [(Way::Leaving, 2), (Way::Failing, 64), (Way::Failing, 65)] {
            let mut still = Ranks::none(size);
            still.insert(size - 1);
            let farewell = Farewell { way, finished_calls: 0x0102_0304_0506_0708, still };
            let bytes = farewell.encode();
            assert_eq!(bytes.len(), Farewell::len_bytes(size));
            assert_eq!(Farewell::decode(&bytes, size), farewell);
            assert!((0..=bytes.len()).all(|known| Farewell::may_begin_with(&bytes[..known])));
        }
        assert!(!Farewell::may_begin_with(b"lsganHi"));
    }

    #[test]
    fn ranks_are_all_when_each_is_in() {
        for size in [1, 2, 63, 64, 65, 130] {
            let (mut ranks, mut even) = (Ranks::none(size), Ranks::none(size));
            (0..size).step_by(2).for_each(|rank| assert!(even.insert(rank)));
            assert!(!even.insert(0));
            (1..size).step_by(2).for_each(|rank| assert!(!ranks.are_all() && ranks.insert(rank)));
            assert!(!ranks.are_all());
            assert!(ranks.insert_all(&even) && !ranks.insert_all(&even));
            assert!(ranks.are_all());
        }
    }
}
