//! Reads the scans of a progressive JPEG, each of which codes some bits of some coefficients (ITU-T T.81, annex G).

use super::coefficients::{Plane, ac, dc, difference};
use super::frame::{BLOCK, Frame};
use super::huffman::{Bits, Code, Damage};
use super::scan::{BlockAt, Blocks, Scan};
use super::structure::ZIGZAG;

/// Adds the bits of one scan. Returns whether the scan has surplus bytes.
pub(super) fn read(frame: &Frame, scan: &Scan<'_>, planes: &mut [Plane]) -> Result<bool, String> {
    // Scans of other than the first coefficients have one component.
    let first = &scan.parts[0];
    match (scan.band, scan.approximation) {
        ((0, _), (0, low)) => {
            let codes = scan.parts.iter().map(dc).collect::<Result<_, _>>()?;
            let before = vec![0; scan.parts.len()];
            scan.read(frame, &mut FirstDc { planes, scan, codes, before, low })
        }
        ((0, _), (_, low)) => scan.read(frame, &mut MoreDc { planes, scan, bit: 1 << low }),
        (band, (0, low)) => {
            let (plane, code) = (&mut planes[first.component], ac(first)?);
            scan.read(frame, &mut FirstAc { plane, code, band, low, blocks_to_skip: 0 })
        }
        (band, (_, low)) => {
            let (plane, code) = (&mut planes[first.component], ac(first)?);
            scan.read(frame, &mut MoreAc { plane, code, band, bit: 1 << low, blocks_to_skip: 0 })
        }
    }
}

struct FirstDc<'p, 'a> {
    planes: &'p mut [Plane],
    scan: &'p Scan<'a>,
    codes: Vec<Code<'a>>,
    before: Vec<i32>,
    low: u8,
}

impl Blocks for FirstDc<'_, '_> {
    fn restart(&mut self) {
        self.before.fill(0);
    }

    fn block(&mut self, bits: &mut Bits<'_>, part: usize, at: BlockAt) -> Result<(), Damage> {
        let value = difference(bits, &self.codes[part], &mut self.before[part])?;
        self.planes[self.scan.parts[part].component].block_mut(at)[0] = (value << self.low) as i16;
        Ok(())
    }
}

struct MoreDc<'p, 'a> {
    planes: &'p mut [Plane],
    scan: &'p Scan<'a>,
    bit: i16,
}

impl Blocks for MoreDc<'_, '_> {
    fn restart(&mut self) {}

    fn block(&mut self, bits: &mut Bits<'_>, part: usize, at: BlockAt) -> Result<(), Damage> {
        if bits.take(1)? == 1 {
            self.planes[self.scan.parts[part].component].block_mut(at)[0] |= self.bit;
        }
        Ok(())
    }
}

struct FirstAc<'p, 'a> {
    plane: &'p mut Plane,
    code: Code<'a>,
    band: (u8, u8),
    low: u8,
    blocks_to_skip: u32,
}

impl Blocks for FirstAc<'_, '_> {
    fn restart(&mut self) {
        self.blocks_to_skip = 0;
    }

    fn block(&mut self, bits: &mut Bits<'_>, _part: usize, at: BlockAt) -> Result<(), Damage> {
        if self.blocks_to_skip > 0 {
            self.blocks_to_skip -= 1;
            return Ok(());
        }
        let (mut next, last) = (usize::from(self.band.0), usize::from(self.band.1));
        let block = self.plane.block_mut(at);
        while next <= last {
            let symbol = self.code.symbol(bits)?;
            let (run, len) = (u32::from(symbol >> 4), u32::from(symbol & 15));
            match (run, len) {
                (15, 0) => next += 16,
                (run, 0) => {
                    self.blocks_to_skip = (1 << run) + bits.take(run)? - 1;
                    return Ok(());
                }
                (run, len) => {
                    next += run as usize;
                    let value = (bits.signed(len)? << self.low) as i16;
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
}

struct MoreAc<'p, 'a> {
    plane: &'p mut Plane,
    code: Code<'a>,
    band: (u8, u8),
    bit: i16,
    blocks_to_skip: u32,
}

impl Blocks for MoreAc<'_, '_> {
    fn restart(&mut self) {
        self.blocks_to_skip = 0;
    }

    fn block(&mut self, bits: &mut Bits<'_>, _part: usize, at: BlockAt) -> Result<(), Damage> {
        let (mut next, last) = (usize::from(self.band.0), usize::from(self.band.1));
        let block = self.plane.block_mut(at);
        while self.blocks_to_skip == 0 && next <= last {
            let symbol = self.code.symbol(bits)?;
            let (run, len) = (u32::from(symbol >> 4), symbol & 15);
            let new = match len {
                0 if run < 15 => {
                    self.blocks_to_skip = (1 << run) + bits.take(run)?;
                    break;
                }
                0 => None,
                1 => Some(if bits.take(1)? == 1 { self.bit } else { -self.bit }),
                _ => return Err(Damage::NoCode),
            };
            let place = refined(bits, block, &mut next, last, run, self.bit)?;
            match (new, place) {
                (Some(value), Some(place)) => block[place] = value,
                (Some(_), None) => return Err(Damage::Overfull),
                (None, _) => {}
            }
        }
        if self.blocks_to_skip > 0 {
            // In the rest of the block no zero coefficient changes.
            refined(bits, block, &mut next, last, u32::MAX, self.bit)?;
            self.blocks_to_skip -= 1;
        }
        Ok(())
    }
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
