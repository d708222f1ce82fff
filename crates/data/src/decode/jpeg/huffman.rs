//! Huffman codes and the bit reader (ITU-T T.81, annexes C and F).

use super::frame::BLOCK;

/// Codes of up to 9 bits are looked up in a table; the few longer ones are searched.
const FAST_BITS: u32 = 9;
const LEN_MAX: usize = 16;
/// The advance of a symbol that ends its block: beyond any coefficient.
const END_OF_BLOCK: usize = 128;

/// Why coded data cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damage {
    #[error("it ends early: coded data are missing")]
    Ends,
    /// Bits that begin no code, or a code without a meaning here.
    #[error("its coded data are damaged: no code of its tables")]
    NoCode,
    /// More than 64 coefficients.
    #[error("its coded data are damaged: a block has too many coefficients")]
    Overfull,
    /// 8-bit samples cannot give it.
    #[error("its coded data are damaged: a coefficient is too large")]
    TooLarge,
}

/// The meaning of a code's symbols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// The size of the difference to the previous block.
    Dc,
    /// A run of zeros and the size of the coefficient after it.
    Ac,
}

/// A table as stored in the file.
#[derive(Clone, Debug)]
pub(super) struct Definition<'a> {
    /// The numbers of codes with 1, 2, … 16 bits.
    counts: [u8; LEN_MAX],
    values: &'a [u8],
}

impl<'a> Definition<'a> {
    /// Parses the definition at the start of `bytes`, and returns the rest.
    pub(super) fn parse(bytes: &'a [u8], class: Class) -> Result<(Self, &'a [u8]), String> {
        let (counts, rest) = bytes.split_first_chunk().ok_or("a Huffman table is cut off")?;
        let count = counts.iter().map(|&count| usize::from(count)).sum();
        let mut next = 0u32;
        for (len, &count) in (1..).zip(counts) {
            next += u32::from(count);
            // The code of ones alone must stay unused (annex C), so that padding with ones is no code.
            if next >= 1 << len {
                return Err(format!("a Huffman table has more codes of {len} bits than there are"));
            }
            next <<= 1;
        }
        let values = rest.get(..count).ok_or("a Huffman table is cut off")?;
        if class == Class::Dc && values.iter().any(|&bits| bits > 15) {
            return Err("a Huffman table has differences of more than 15 bits".to_owned());
        }
        Ok((Self { counts: *counts, values }, &rest[count..]))
    }
}

/// Several consecutive symbols with their numbers.
#[derive(Clone, Copy, Default)]
struct SymbolRun {
    /// The sum of their bits; 0 if a longer code begins here.
    bits: u8,
    /// Their advance in a block, with and without the last symbol.
    far: u8,
    far_before_last: u8,
}

/// A table for decoding.
pub(super) struct Code<'a> {
    /// By the next bits: the length of the code (0 for a longer code) and its symbol.
    symbols: [(u8, u8); 1 << FAST_BITS],
    /// By the next bits: all symbols that they contain.
    steps: [SymbolRun; 1 << FAST_BITS],
    /// For each length: the first longer code, left-aligned in 16 bits, and the offset from a code to its value.
    ends: [u32; LEN_MAX + 1],
    offsets: [i32; LEN_MAX + 1],
    values: &'a [u8],
}

impl<'a> Code<'a> {
    pub(super) fn new(definition: &Definition<'a>, class: Class) -> Self {
        let values = definition.values;
        let mut code = Self {
            symbols: [(0, 0); 1 << FAST_BITS],
            steps: [SymbolRun::default(); 1 << FAST_BITS],
            ends: [0; LEN_MAX + 1],
            offsets: [0; LEN_MAX + 1],
            values,
        };
        let (mut next, mut index) = (0u32, 0usize);
        for (len, &count) in (1..).zip(&definition.counts) {
            code.offsets[len as usize] = index as i32 - next as i32;
            for &symbol in &values[index..index + usize::from(count)] {
                if len <= FAST_BITS {
                    let (first, some) = (next << (FAST_BITS - len), 1 << (FAST_BITS - len));
                    code.symbols[first as usize..first as usize + some].fill((len as u8, symbol));
                }
                next += 1;
            }
            index += usize::from(count);
            code.ends[len as usize] = next << (LEN_MAX as u32 - len);
            next <<= 1;
        }
        // Only coefficients after the first are ever skipped.
        if class == Class::Ac {
            for next in 0..code.steps.len() {
                code.steps[next] = code.steps_in(next);
            }
        }
        code
    }

    /// The symbols in the bits `next`, up to the end of a block.
    fn steps_in(&self, next: usize) -> SymbolRun {
        let mut steps = SymbolRun::default();
        while u32::from(steps.bits) < FAST_BITS {
            let rest = (next << steps.bits) & ((1 << FAST_BITS) - 1);
            let (len, symbol) = self.symbols[rest];
            if len == 0 || u32::from(steps.bits + len) > FAST_BITS {
                break;
            }
            let (bits, far) = stepped(symbol);
            steps =
                SymbolRun { bits: steps.bits + len + bits, far: steps.far + far, far_before_last: steps.far };
            if usize::from(far) == END_OF_BLOCK {
                break;
            }
        }
        steps
    }

    /// Reads the next symbol.
    #[inline]
    pub(super) fn symbol(&self, bits: &mut Bits<'_>) -> Result<u8, Damage> {
        let (len, symbol) = self.symbols[bits.peek(FAST_BITS) as usize];
        if len == 0 {
            return self.long(bits);
        }
        bits.skip(len.into())?;
        Ok(symbol)
    }

    /// Skips the rest of a block, from coefficient `next` on.
    #[inline]
    pub(super) fn step_over(&self, bits: &mut Bits<'_>, mut next: usize) -> Result<(), Damage> {
        while next < BLOCK {
            bits.refill();
            // Two iterations take at most 48 bits.
            for _ in 0..2 {
                let steps = self.steps[bits.top(FAST_BITS) as usize];
                if steps.bits > 0 && next + usize::from(steps.far_before_last) < BLOCK {
                    bits.skip(steps.bits.into())?;
                    next += usize::from(steps.far);
                } else {
                    // The symbols after the next one may belong to another block.
                    let (more, far) = stepped(self.symbol(bits)?);
                    bits.take(more.into())?;
                    next += usize::from(far);
                }
                if next >= BLOCK {
                    break;
                }
            }
        }
        if next > BLOCK && next < END_OF_BLOCK { Err(Damage::Overfull) } else { Ok(()) }
    }

    #[cold]
    fn long(&self, bits: &mut Bits<'_>) -> Result<u8, Damage> {
        let next = bits.peek(LEN_MAX as u32) as u32;
        let found = (1..=LEN_MAX).find(|&len| next < self.ends[len]);
        let Some(len) = found else {
            // With the missing bits it might be a code.
            return Err(if bits.count < LEN_MAX as u32 { Damage::Ends } else { Damage::NoCode });
        };
        bits.skip(len as u32)?;
        let index = (next >> (LEN_MAX - len)) as i32 + self.offsets[len];
        usize::try_from(index).ok().and_then(|index| self.values.get(index)).copied().ok_or(Damage::NoCode)
    }
}

/// The bits of the number after a symbol, and the advance of the symbol in its block.
fn stepped(symbol: u8) -> (u8, u8) {
    match (symbol >> 4, symbol & 15) {
        (15, 0) => (0, 16),
        (_, 0) => (0, END_OF_BLOCK as u8),
        (run, bits) => (bits, run + 1),
    }
}

/// Reads bits, the highest bit of a byte first, and detects the end.
pub(super) struct Bits<'a> {
    left: &'a [u8],
    /// The next bits, from the top. After the first `count` bits come zeros or following bits.
    buffer: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let mut bits = Self { left: bytes, buffer: 0, count: 0 };
        bits.refill();
        bits
    }

    /// Fills the buffer to at least 56 bits, or to the end.
    #[inline]
    fn refill(&mut self) {
        if let Some((chunk, _)) = self.left.split_first_chunk::<8>() {
            self.buffer |= u64::from_be_bytes(*chunk) >> self.count;
            let bytes = (63 - self.count) / 8;
            self.left = &self.left[bytes as usize..];
            self.count += 8 * bytes;
        } else {
            self.refill_at_the_end();
        }
    }

    #[cold]
    fn refill_at_the_end(&mut self) {
        while self.count <= 56
            && let [byte, rest @ ..] = self.left
        {
            self.buffer |= u64::from(*byte) << (56 - self.count);
            self.count += 8;
            self.left = rest;
        }
    }

    /// The next `len` bits, 1 to 16, without consuming them; zeros beyond the end.
    #[inline]
    fn peek(&mut self, len: u32) -> u64 {
        if self.count < 32 {
            self.refill();
        }
        self.top(len)
    }

    #[inline]
    fn top(&self, len: u32) -> u64 {
        self.buffer >> (64 - len)
    }

    /// `len`: at most 31.
    #[inline]
    fn skip(&mut self, len: u32) -> Result<(), Damage> {
        if len > self.count {
            return Err(Damage::Ends);
        }
        self.buffer <<= len;
        self.count -= len;
        Ok(())
    }

    /// The whole bytes that were not consumed.
    pub(super) fn left_bytes(&self) -> usize {
        self.left.len() + self.count as usize / 8
    }

    /// Consumes the next `len` bits, 0 to 16.
    #[inline]
    pub(super) fn take(&mut self, len: u32) -> Result<u32, Damage> {
        if len == 0 {
            return Ok(0);
        }
        let bits = self.peek(len) as u32;
        self.skip(len)?;
        Ok(bits)
    }

    /// Reads a number of `len` bits, 0 to 15, whose first bit is its sign (T.81, F.2.2.1).
    #[inline]
    pub(super) fn signed(&mut self, len: u32) -> Result<i32, Damage> {
        let bits = self.take(len)? as i32;
        let is_negative = len > 0 && bits >> (len - 1) == 0;
        Ok(if is_negative { bits - (1 << len) + 1 } else { bits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of a table with codes of these lengths.
    fn definition(lens: &[usize], values: &'static [u8]) -> Result<Vec<u8>, String> {
        let mut bytes = vec![0; LEN_MAX];
        lens.iter().for_each(|&len| bytes[len - 1] += 1);
        bytes.extend(values);
        Definition::parse(&bytes, Class::Ac).map(|_| bytes.clone())
    }

    #[test]
    fn a_table_keeps_the_code_of_ones_free() {
        assert!(definition(&[1, 2], &[7, 8]).is_ok());
        assert!(definition(&[1, 1], &[7, 8]).is_err());
        assert!(definition(&[1, 2, 2], &[7, 8, 9]).is_err());
        assert!(definition(&[16], &[7]).is_ok());
        assert!(definition(&[1, 2], &[7]).is_err(), "a value is missing");
        let bytes = definition(&[1], &[16]).unwrap();
        assert!(Definition::parse(&bytes, Class::Dc).is_err());
    }

    #[test]
    fn short_and_long_codes_are_read_and_what_is_missing_is_seen() {
        let bytes = definition(&[1, 3, 12], &[7, 8, 9]).unwrap();
        let code = Code::new(&Definition::parse(&bytes, Class::Ac).unwrap().0, Class::Ac);
        // 0, 100, 101000000000, 11…
        let coded = [0b0100_1010, 0b0000_0000, 0b1100_0000];
        let mut bits = Bits::new(&coded);
        assert_eq!([(); 3].map(|()| code.symbol(&mut bits)), [Ok(7), Ok(8), Ok(9)]);
        assert_eq!(
            code.symbol(&mut bits),
            Err(Damage::Ends),
            "eight bits are left, and might begin a longer code"
        );
        let mut bits = Bits::new(&coded[..1]);
        assert_eq!([(); 3].map(|()| code.symbol(&mut bits)), [Ok(7), Ok(8), Err(Damage::Ends)]);
        let mut bits = Bits::new(&[0xff; 4]);
        assert_eq!(code.symbol(&mut bits), Err(Damage::NoCode));
    }

    #[test]
    fn a_number_has_its_sign_in_its_first_bit() {
        let mut bits = Bits::new(&[0b0110_0101]);
        assert_eq!([1, 2, 3, 2].map(|len| bits.signed(len)), [Ok(-1), Ok(3), Ok(-6), Ok(-2)]);
        assert_eq!((bits.signed(0), bits.signed(1)), (Ok(0), Err(Damage::Ends)));
    }
}
