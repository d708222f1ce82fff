//! One scan: its coded data, and the order of its blocks (ITU-T T.81, annex A.2).

use std::ops::Range;

use super::frame::{Frame, Size};
use super::huffman::{Bits, Damage, Definition};
use super::structure::ENDS;

/// A component of a scan, with its codes.
pub(super) struct ScanComponent<'a> {
    /// The index in the frame.
    pub(super) component: usize,
    pub(super) dc: Option<Definition<'a>>,
    pub(super) ac: Option<Definition<'a>>,
}

pub(super) struct Scan<'a> {
    pub(super) parts: Vec<ScanComponent<'a>>,
    /// First and last coefficient.
    pub(super) band: (u8, u8),
    /// The lowest defined bit before the scan (0 if none) and after it.
    pub(super) approximation: (u8, u8),
    /// MCUs between two restarts; 0 for none.
    restart_interval: usize,
    /// The coded data without stuffed zeros and restart markers.
    data: Vec<u8>,
    /// For each restart marker, the length of the data before it, and its number.
    restarts: Vec<(usize, u8)>,
    /// The length of the coded data in the file.
    pub(super) len_bytes: usize,
}

/// The place of a block in its component, in blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockAt {
    pub(super) row: usize,
    pub(super) column: usize,
}

/// Decodes the blocks of a scan.
pub(super) trait Blocks {
    /// Resets the state at a restart marker.
    fn restart(&mut self);
    /// Decodes the next block; `part` is the index of its component in the scan.
    fn block(&mut self, bits: &mut Bits<'_>, part: usize, at: BlockAt) -> Result<(), Damage>;
}

impl<'a> Scan<'a> {
    /// `coded` is the file from the first byte of the scan's coded data on.
    pub(super) fn new(
        parts: Vec<ScanComponent<'a>>,
        band: (u8, u8),
        approximation: (u8, u8),
        restart_interval: usize,
        coded: &[u8],
    ) -> Result<Self, String> {
        let (mut data, mut restarts, mut at) = (Vec::with_capacity(coded.len()), Vec::new(), 0);
        loop {
            let rest = &coded[at..];
            let marked = rest.iter().position(|&byte| byte == 0xff).ok_or(ENDS)?;
            let filled = rest[marked..].iter().position(|&byte| byte != 0xff).ok_or(ENDS)?;
            data.extend(&rest[..marked]);
            match rest[marked + filled] {
                0 => data.push(0xff),
                restart @ 0xd0..=0xd7 => restarts.push((data.len(), restart - 0xd0)),
                _ => {
                    let len_bytes = at + marked;
                    return Ok(Self {
                        parts,
                        band,
                        approximation,
                        restart_interval,
                        data,
                        restarts,
                        len_bytes,
                    });
                }
            }
            at += marked + filled + 1;
        }
    }

    /// Decodes every block with `blocks`, in coded order. Returns whether there are surplus bytes, which are skipped.
    pub(super) fn read(&self, frame: &Frame, blocks: &mut impl Blocks) -> Result<bool, String> {
        let order = McuLayout::new(self, frame);
        let mut has_more = false;
        let interval = if self.restart_interval == 0 { order.mcus.area() } else { self.restart_interval };
        for (nth, first) in (0..order.mcus.area()).step_by(interval).enumerate() {
            blocks.restart();
            let data = self.interval(nth).map_err(|reason| format!("{reason}, {}", order.so_far(first)))?;
            let mut bits = Bits::new(&self.data[data]);
            for mcu in first..order.mcus.area().min(first + interval) {
                let decoded = order.mcu(mcu, &mut bits, blocks);
                decoded.map_err(|damage| format!("{damage}, {}", order.so_far(mcu)))?;
            }
            has_more |= bits.left_bytes() > 0;
        }
        Ok(has_more || self.restarts.len() >= order.mcus.area().div_ceil(interval))
    }

    /// The data of the interval `nth`. Its restart marker has the number `nth - 1` modulo 8.
    fn interval(&self, nth: usize) -> Result<Range<usize>, String> {
        let end = self.restarts.get(nth).map_or(self.data.len(), |&(at, _)| at);
        let Some(before) = nth.checked_sub(1) else { return Ok(0..end) };
        match self.restarts.get(before) {
            Some(&(at, number)) if usize::from(number) == before % 8 => Ok(at..end),
            Some((_, number)) => Err(format!(
                "its coded data are damaged: restart marker {number} stands where {} belongs",
                before % 8
            )),
            None => Err("it ends early: a restart marker is missing".to_owned()),
        }
    }
}

/// The blocks of an MCU of a scan.
struct McuLayout {
    /// The number of MCUs.
    mcus: Size,
    /// The blocks of an MCU for each part.
    parts: Vec<Size>,
}

impl McuLayout {
    fn new(scan: &Scan<'_>, frame: &Frame) -> Self {
        match &scan.parts[..] {
            // A single component: its own blocks, row after row, whatever its factors.
            [only] => Self {
                mcus: frame.components[only.component].blocks,
                parts: vec![Size { across: 1, down: 1 }],
            },
            parts => Self {
                mcus: frame.mcus,
                parts: parts.iter().map(|part| frame.components[part.component].factors).collect(),
            },
        }
    }

    fn mcu(&self, mcu: usize, bits: &mut Bits<'_>, blocks: &mut impl Blocks) -> Result<(), Damage> {
        let (mcu_row, mcu_column) = (mcu / self.mcus.across, mcu % self.mcus.across);
        for (part, size) in self.parts.iter().enumerate() {
            for row in mcu_row * size.down..(mcu_row + 1) * size.down {
                for column in mcu_column * size.across..(mcu_column + 1) * size.across {
                    blocks.block(bits, part, BlockAt { row, column })?;
                }
            }
        }
        Ok(())
    }

    fn so_far(&self, mcu: usize) -> String {
        format!("{mcu} of {} units of a scan are whole", self.mcus.area())
    }
}
