//! Reads the scans of a progressive JPEG, each of which codes some bits of some coefficients (ITU-T T.81, annex G).

use super::coefficients::{Plane, ac, dc, difference};
use super::frame::{BLOCK, Frame};
use super::huffman::{Bits, Code, Damage};
use super::scan::{BlockAt, Blocks, Scan};
use super::structure::ZIGZAG;

/// Adds the bits of one scan. Returns whether the scan has surplus bytes.
pub(super) fn read(frame: &Frame, scan: &Scan<'_>, planes: &mut [Plane]) -> Result<bool, String> {
    let codes = match (scan.band, scan.approximation) {
        ((0, _), (0, _)) => scan.parts.iter().map(dc).collect::<Result<_, _>>()?,
        // Single bits, without a code.
        ((0, _), _) => Vec::new(),
        // Scans of other than the first coefficients have one component.
        _ => vec![ac(&scan.parts[0])?],
    };
    let before = vec![0; scan.parts.len()];
    scan.read(frame, &mut Progressive { planes, scan, codes, before, blocks_to_skip: 0 })
}

struct Progressive<'p, 'a> {
    planes: &'p mut [Plane],
    scan: &'p Scan<'a>,
    codes: Vec<Code<'a>>,
    /// The first coefficient of the block before, of each part.
    before: Vec<i32>,
    /// Blocks that have no more coefficients in this scan.
    blocks_to_skip: u32,
}

impl Blocks for Progressive<'_, '_> {
    fn restart(&mut self) {
        self.before.fill(0);
        self.blocks_to_skip = 0;
    }

    fn block(&mut self, bits: &mut Bits<'_>, part: usize, at: BlockAt) -> Result<(), Damage> {
        let block = self.planes[self.scan.parts[part].component].block_mut(at);
        let low = self.scan.approximation.1;
        let band = (usize::from(self.scan.band.0), usize::from(self.scan.band.1));
        match (band.0, self.scan.approximation.0) {
            (0, 0) => {
                let value = difference(bits, &self.codes[part], &mut self.before[part])?;
                block[0] = (value << low) as i16;
                Ok(())
            }
            (0, _) => {
                block[0] |= (bits.take(1)? as i16) << low;
                Ok(())
            }
            (_, 0) => first(bits, &self.codes[0], block, band, low, &mut self.blocks_to_skip),
            (_, _) => more(bits, &self.codes[0], block, band, 1 << low, &mut self.blocks_to_skip),
        }
    }
}

/// Reads the first bits of the coefficients of a band.
fn first(
    bits: &mut Bits<'_>,
    code: &Code<'_>,
    block: &mut [i16; BLOCK],
    (mut next, last): (usize, usize),
    low: u8,
    blocks_to_skip: &mut u32,
) -> Result<(), Damage> {
    if *blocks_to_skip > 0 {
        *blocks_to_skip -= 1;
        return Ok(());
    }
    while next <= last {
        let symbol = code.symbol(bits)?;
        let (run, len) = (u32::from(symbol >> 4), u32::from(symbol & 15));
        match (run, len) {
            (15, 0) => next += 16,
            (run, 0) => {
                *blocks_to_skip = (1 << run) + bits.take(run)? - 1;
                return Ok(());
            }
            (run, len) => {
                next += run as usize;
                let value = (bits.signed(len)? << low) as i16;
                if next > last {
                    return Err(Damage::Overfull);
                }
                block[usize::from(ZIGZAG[next])] = value;
                next += 1;
            }
        }
    }
    if next > last + 1 { Err(Damage::Overfull) } else { Ok(()) }
}

/// Reads one more bit of the coefficients of a band.
fn more(
    bits: &mut Bits<'_>,
    code: &Code<'_>,
    block: &mut [i16; BLOCK],
    (mut next, last): (usize, usize),
    bit: i16,
    blocks_to_skip: &mut u32,
) -> Result<(), Damage> {
    while *blocks_to_skip == 0 && next <= last {
        let symbol = code.symbol(bits)?;
        let (run, len) = (u32::from(symbol >> 4), symbol & 15);
        let new = match len {
            0 if run < 15 => {
                *blocks_to_skip = (1 << run) + bits.take(run)?;
                break;
            }
            0 => None,
            1 => Some(if bits.take(1)? == 1 { bit } else { -bit }),
            _ => return Err(Damage::NoCode),
        };
        let place = refined(bits, block, &mut next, last, run, bit)?;
        match (new, place) {
            (Some(value), Some(place)) => block[place] = value,
            (Some(_), None) => return Err(Damage::Overfull),
            (None, _) => {}
        }
    }
    if *blocks_to_skip > 0 {
        // In the rest of the block no zero coefficient changes.
        refined(bits, block, &mut next, last, u32::MAX, bit)?;
        *blocks_to_skip -= 1;
    }
    Ok(())
}

/// Reads a bit for each nonzero coefficient until it has passed `zeros` zero coefficients. Returns the place of the next
/// zero one, and moves `next` behind it; none at the end of the block.
fn refined(
    bits: &mut Bits<'_>,
    block: &mut [i16; BLOCK],
    next: &mut usize,
    last: usize,
    mut zeros: u32,
    bit: i16,
) -> Result<Option<usize>, Damage> {
    while *next <= last {
        let place = usize::from(ZIGZAG[*next]);
        *next += 1;
        let value = &mut block[place];
        if *value == 0 {
            if zeros == 0 {
                return Ok(Some(place));
            }
            zeros -= 1;
        } else if bits.take(1)? == 1 && *value & bit == 0 {
            *value = value.wrapping_add(if *value > 0 { bit } else { -bit });
        }
    }
    Ok(None)
}
