//! Reads the coefficients of a JPEG from all its scans (ITU-T T.81, annex F), and checks that they are complete.

use super::frame::{BLOCK, Component, Frame, Process};
use super::huffman::{Bits, Class, Code, Damage};
use super::progressive;
use super::scan::{BlockAt, Blocks, Scan, ScanComponent};
use super::structure::{Jpeg, ZIGZAG};

/// The blocks of one component.
pub(super) struct Plane {
    /// Blocks in a row.
    stride: usize,
    /// Row after row. A coefficient has the index row × 8 + column, and is not yet multiplied by its quantization.
    blocks: Vec<[i16; BLOCK]>,
}

impl Plane {
    pub(super) fn block(&self, BlockAt { row, column }: BlockAt) -> &[i16; BLOCK] {
        &self.blocks[row * self.stride + column]
    }

    pub(super) fn block_mut(&mut self, BlockAt { row, column }: BlockAt) -> &mut [i16; BLOCK] {
        &mut self.blocks[row * self.stride + column]
    }
}

/// The blocks whose coefficients are needed. The others are checked, but may stay zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WantedBlocks {
    /// None: the blocks are only checked.
    Nothing,
    /// The blocks with the picture's last column, its last row, or both.
    Edges {
        right: bool,
        bottom: bool,
    },
    All,
}

impl WantedBlocks {
    pub(super) fn has(self, component: &Component, BlockAt { row, column }: BlockAt) -> bool {
        match self {
            Self::Nothing => false,
            Self::Edges { right, bottom } => {
                (right && column + 1 == component.blocks.across)
                    || (bottom && row + 1 == component.blocks.down)
            }
            Self::All => true,
        }
    }
}

/// The content of the coded data.
pub(super) struct Coefficients {
    pub(super) planes: Vec<Plane>,
    /// The coded data have bytes that no block needs.
    pub(super) has_more: bool,
}

/// Reads the coefficients of all components.
///
/// # Errors
///
/// Missing coefficients, whether needed or not; damaged coded data.
pub(super) fn read(jpeg: &Jpeg<'_>, wanted: WantedBlocks) -> Result<Coefficients, String> {
    let frame = &jpeg.frame;
    let mut known = KnownBits::new(frame);
    for scan in &jpeg.scans {
        known.add(frame, scan)?;
    }
    known.check_all(frame)?;
    check_quantization(frame)?;
    let is_empty = wanted == WantedBlocks::Nothing && frame.process == Process::Sequential;
    let plane = |component: &Component| Plane {
        stride: component.padded.across,
        blocks: if is_empty { Vec::new() } else { vec![[0; BLOCK]; component.padded.area()] },
    };
    let mut planes: Vec<_> = frame.components.iter().map(plane).collect();
    let mut has_more = false;
    for scan in &jpeg.scans {
        has_more |= match frame.process {
            Process::Sequential => sequential(frame, scan, &mut planes, wanted)?,
            Process::Progressive => progressive::read(frame, scan, &mut planes)?,
        };
    }
    if wanted == WantedBlocks::All || frame.process == Process::Progressive {
        check_range(frame, &planes)?;
    }
    Ok(Coefficients { planes, has_more })
}

fn sequential(
    frame: &Frame,
    scan: &Scan<'_>,
    planes: &mut [Plane],
    wanted: WantedBlocks,
) -> Result<bool, String> {
    let codes = scan.parts.iter().map(|part| Ok([dc(part)?, ac(part)?])).collect::<Result<_, String>>()?;
    let before = vec![0; scan.parts.len()];
    let step =
        |part: &ScanComponent<'_>| frame.components[part.component].quantization.map_or(1, |table| table[0]);
    let steps = scan.parts.iter().map(step).collect();
    scan.read(frame, &mut Sequential { frame, planes, scan, codes, before, steps, wanted })
}

/// Refuses coefficients that are too large for 8-bit samples: each decoder overflows in its own way, and so does
/// libjpeg-turbo's vector code. If zune-jpeg decodes a single scan, only the first coefficients are checked.
fn check_range(frame: &Frame, planes: &[Plane]) -> Result<(), String> {
    for (component, plane) in frame.components.iter().zip(planes) {
        let quantization = component.quantization.as_ref().expect("it was looked for");
        let is_possible = |block: &[i16; BLOCK]| {
            block.iter().zip(quantization).all(|(&value, &step)| is_possible(value.into(), step))
        };
        if let Some(at) = plane.blocks.iter().position(|block| !is_possible(block)) {
            let (row, column) = (at / plane.stride, at % plane.stride);
            return Err(format!(
                "its coded data are damaged: a coefficient is too large, in block {column} of row {row} of component {}",
                component.id
            ));
        }
    }
    Ok(())
}

/// Whether 8-bit samples can give this coefficient: at most 8 × 128 for the first, and less than twice that for the others;
/// plus one rounding to a multiple of the quantization's `step`, and one more for encoders that round by cost.
fn is_possible(value: i32, step: u16) -> bool {
    let step = i32::from(step);
    value.saturating_mul(step).abs() <= 2048 + 2 * step
}

fn check_quantization(frame: &Frame) -> Result<(), String> {
    match frame.components.iter().find(|component| component.quantization.is_none()) {
        Some(component) => Err(format!("component {} has no table of quantization", component.id)),
        None => Ok(()),
    }
}

pub(super) fn dc<'a>(part: &ScanComponent<'a>) -> Result<Code<'a>, String> {
    let definition = part.dc.as_ref().ok_or("a scan has no Huffman table for its first coefficients")?;
    Ok(Code::new(definition, Class::Dc))
}

pub(super) fn ac<'a>(part: &ScanComponent<'a>) -> Result<Code<'a>, String> {
    let definition = part.ac.as_ref().ok_or("a scan has no Huffman table for its coefficients")?;
    Ok(Code::new(definition, Class::Ac))
}

/// The bits that the scans define: for each component and coefficient, the lowest defined bit.
struct KnownBits {
    lowest: Vec<[Option<u8>; BLOCK]>,
}

impl KnownBits {
    fn new(frame: &Frame) -> Self {
        Self { lowest: vec![[None; BLOCK]; frame.components.len()] }
    }

    fn add(&mut self, frame: &Frame, scan: &Scan<'_>) -> Result<(), String> {
        let ((first, last), (high, low)) = match frame.process {
            Process::Sequential => ((0, 63), (0, 0)),
            Process::Progressive => (scan.band, scan.approximation),
        };
        // A scan has only first coefficients, or only others of a single component.
        let is_alone = if first == 0 { last == 0 } else { scan.parts.len() == 1 };
        let is_legal = (is_alone || frame.process == Process::Sequential)
            && first <= last
            && last < BLOCK as u8
            && low <= 13
            && (high == 0 || low + 1 == high);
        if !is_legal {
            return Err(format!(
                "a scan has coefficients {first} to {last} from bit {high} to {low}: there is none such"
            ));
        }
        for part in &scan.parts {
            for lowest in &mut self.lowest[part.component][usize::from(first)..=usize::from(last)] {
                let wanted = if high == 0 { None } else { Some(high) };
                if *lowest != wanted {
                    let id = frame.components[part.component].id;
                    return Err(format!("its scans are out of order, or one is missing: component {id}"));
                }
                *lowest = Some(low);
            }
        }
        Ok(())
    }

    fn check_all(&self, frame: &Frame) -> Result<(), String> {
        for (lowest, component) in self.lowest.iter().zip(&frame.components) {
            if let Some(at) = lowest.iter().position(|&lowest| lowest != Some(0)) {
                return Err(format!(
                    "it ends early: scans are missing, with coefficient {at} of component {}",
                    component.id
                ));
            }
        }
        Ok(())
    }
}

struct Sequential<'p, 'a> {
    frame: &'p Frame,
    planes: &'p mut [Plane],
    scan: &'p Scan<'a>,
    codes: Vec<[Code<'a>; 2]>,
    before: Vec<i32>,
    /// The quantization of the first coefficient of each part.
    steps: Vec<u16>,
    wanted: WantedBlocks,
}

impl Blocks for Sequential<'_, '_> {
    fn restart(&mut self) {
        self.before.fill(0);
    }

    #[inline]
    fn block(&mut self, bits: &mut Bits<'_>, part: usize, at: BlockAt) -> Result<(), Damage> {
        let component = self.scan.parts[part].component;
        let [dc, ac] = &self.codes[part];
        let first = difference(bits, dc, &mut self.before[part])?;
        if !is_possible(first, self.steps[part]) {
            return Err(Damage::TooLarge);
        }
        if !self.wanted.has(&self.frame.components[component], at) {
            return ac.step_over(bits, 1);
        }
        let block = self.planes[component].block_mut(at);
        block[0] = first as i16;
        fill(bits, ac, block)
    }
}

fn fill(bits: &mut Bits<'_>, ac: &Code<'_>, block: &mut [i16; BLOCK]) -> Result<(), Damage> {
    let mut next = 1;
    while next < BLOCK {
        let symbol = ac.symbol(bits)?;
        let (run, len) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        match (run, len) {
            (15, 0) => next += 16,
            (_, 0) => return Ok(()),
            (run, len) => {
                let place = ZIGZAG.get(next + run).ok_or(Damage::Overfull)?;
                block[usize::from(*place)] = bits.signed(len)? as i16;
                next += run + 1;
            }
        }
    }
    if next > BLOCK { Err(Damage::Overfull) } else { Ok(()) }
}

/// Reads a first coefficient, which is coded as the difference to the previous block.
pub(super) fn difference(bits: &mut Bits<'_>, code: &Code<'_>, before: &mut i32) -> Result<i32, Damage> {
    let len = code.symbol(bits)?;
    *before = before.wrapping_add(bits.signed(len.into())?);
    Ok(*before)
}
