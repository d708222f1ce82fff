//! Mutations of byte strings, drawn from a seed.

/// Mutations of an input, at most. Many of one change little, so that most inputs stay nearly valid.
const MUTATIONS_MAX: u64 = 6;
/// The longest piece that is copied, and the longest input.
const PIECE_BYTES_MAX: u64 = 256;
const INPUT_BYTES_MAX: usize = 1 << 20;
/// Lengths and counts at which parsers err.
const EDGES: [u64; 14] =
    [0, 1, 2, 7, 8, 16, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX];
const SIGNS: &[u8] = b"{}[]:,.-\"'\\\n\r\t \0\x1b%@/&*!|>#=~";

/// Steele and others' SplitMix64 (2014): numbers from a seed, the same on every machine.
pub struct Random(u64);

impl Random {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is more than 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn index(&mut self, len: usize) -> usize {
        self.below(len.max(1) as u64) as usize
    }

    /// One of several, of which there is at least one.
    pub fn of<'a, T>(&mut self, several: &'a [T]) -> &'a T {
        &several[self.index(several.len())]
    }

    /// Changes an input in one to six places; pieces come from itself and from `examples`.
    pub fn mutate(&mut self, input: &mut Vec<u8>, examples: &[Vec<u8>]) {
        for _ in 0..=self.below(MUTATIONS_MAX) {
            self.mutate_once(input, examples);
        }
        input.truncate(INPUT_BYTES_MAX);
    }

    fn mutate_once(&mut self, input: &mut Vec<u8>, examples: &[Vec<u8>]) {
        let at = self.index(input.len());
        let piece = at..input.len().min(at + 1 + self.below(PIECE_BYTES_MAX) as usize);
        match self.below(10) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = self.next() as u8,
            2 => self.write_edge(input, at),
            3 => drop(input.drain(piece)),
            4 => {
                let copy = input[piece].to_vec();
                let to = self.index(input.len() + 1);
                drop(input.splice(to..to, copy));
            }
            5 => {
                let other = self.of(examples);
                let from = self.index(other.len());
                let to = other.len().min(from + 1 + self.below(PIECE_BYTES_MAX) as usize);
                let copy = other[from..to].to_vec();
                let replaced = at..(at + self.index(copy.len() + 1)).min(input.len());
                drop(input.splice(replaced, copy));
            }
            6 => input.truncate(at),
            7 => input.insert(at.min(input.len()), *self.of(SIGNS)),
            8 => self.write_number(input, at),
            _ => {
                let (from, to) = (at, self.index(input.len()));
                if from < input.len() && to < input.len() {
                    input.swap(from, to);
                }
            }
        }
    }

    /// Overwrites 1, 2, 4 or 8 bytes with an edge or one beside it, in either order of bytes.
    fn write_edge(&mut self, input: &mut [u8], at: usize) {
        let len = 1 << self.below(4);
        let value = self.of(&EDGES).wrapping_add(self.below(3)).wrapping_sub(1);
        let bytes = match self.below(2) {
            0 => value.to_le_bytes()[..len].to_vec(),
            _ => value.to_be_bytes()[8 - len..].to_vec(),
        };
        for (to, from) in input.iter_mut().skip(at).zip(bytes) {
            *to = from;
        }
    }

    /// Replaces the decimal number at or behind `at` with an edge.
    fn write_number(&mut self, input: &mut Vec<u8>, at: usize) {
        let is_digit = |byte: &u8| byte.is_ascii_digit();
        let Some(begin) = input.iter().skip(at).position(is_digit).map(|ahead| at + ahead) else { return };
        let len = input[begin..].iter().take_while(|byte| is_digit(byte)).count();
        let number = self.of(&EDGES).to_string();
        drop(input.splice(begin..begin + len, number.into_bytes()));
    }
}
