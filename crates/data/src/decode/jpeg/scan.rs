//! One scan: its coded data, and the order of its blocks (ITU-T T.81, annex A.2).

use std::ops::Range;

use super::frame::{Frame, Size};
use super::huffman::{Bits, Damage, Definition};
use super::structure::ENDS;

/// A component in a scan, with the codes that hold for it.
pub(super) struct Part<'a> {
    /// Its place in the frame.
    pub(super) component: usize,
    pub(super) dc: Option<Definition<'a>>,
    pub(super) ac: Option<Definition<'a>>,
}

/// One scan.
pub(super) struct Scan<'a> {
    pub(super) parts: Vec<Part<'a>>,
    /// First and last coefficient.
    pub(super) band: (u8, u8),
    /// The lowest bit that is known before and after; 0 before where nothing is.
    pub(super) approximation: (u8, u8),
    /// MCUs between two restarts; 0 for none.
    restart_interval: usize,
    /// The coded data without stuffed zeros and restart markers.
    data: Vec<u8>,
    /// Where the data end before each restart marker, and its number.
    restarts: Vec<(usize, u8)>,
    /// Bytes of the coded data in the file.
    pub(super) len_bytes: usize,
}

/// Where a block lies in its component, in blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) row: usize,
    pub(super) column: usize,
}

/// Decodes the blocks of a scan.
pub(super) trait Blocks {
    /// A restart: nothing is known of the blocks before.
    fn restart(&mut self);
    /// The next block; `part` is its component's place in the scan.
    fn block(&mut self, bits: &mut Bits<'_>, part: usize, at: Place) -> Result<(), Damage>;
}

impl<'a> Scan<'a> {
    /// `coded`: the file from the first byte of the scan's coded data on.
    pub(super) fn new(
        parts: Vec<Part<'a>>,
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

    /// Hands every block to `blocks`, in the order in which they are coded. Whether there are more bytes than the blocks
    /// need, which are stepped over.
    pub(super) fn read(&self, frame: &Frame, blocks: &mut impl Blocks) -> Result<bool, String> {
        let order = Order::new(self, frame);
        let mut has_more = false;
        let interval = if self.restart_interval == 0 { order.mcus.area() } else { self.restart_interval };
        for (nth, first) in (0..order.mcus.area()).step_by(interval).enumerate() {
            blocks.restart();
            let data = self.interval(nth).map_err(|reason| format!("{reason}, {}", order.so_far(first)))?;
            let mut bits = Bits::new(&self.data[data]);
            for mcu in first..order.mcus.area().min(first + interval) {
                order.mcu(mcu, &mut bits, blocks).map_err(|damage| match damage {
                    Damage::Ends => format!("it ends early: coded data are missing, {}", order.so_far(mcu)),
                    Damage::NoCode => {
                        format!("its coded data are damaged: no code of its tables, {}", order.so_far(mcu))
                    }
                    Damage::TooLarge => {
                        format!(
                            "its coded data are damaged: a coefficient is too large, {}",
                            order.so_far(mcu)
                        )
                    }
                    Damage::Overfull => {
                        format!(
                            "its coded data are damaged: a block has too many coefficients, {}",
                            order.so_far(mcu)
                        )
                    }
                })?;
            }
            has_more |= bits.left_bytes() > 0;
        }
        Ok(has_more || self.restarts.len() >= order.mcus.area().div_ceil(interval))
    }

    /// Where the data of the interval `nth` lie. The markers before it are counted from 0 to 7, again and again.
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

/// Which blocks an MCU of a scan has, and where they lie.
struct Order {
    /// MCUs of the scan.
    mcus: Size,
    /// For each part the blocks of an MCU.
    parts: Vec<Size>,
}

impl Order {
    fn new(scan: &Scan<'_>, frame: &Frame) -> Self {
        match &scan.parts[..] {
            // A component alone: its own blocks, row after row, whatever its factors.
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
                    blocks.block(bits, part, Place { row, column })?;
                }
            }
        }
        Ok(())
    }

    fn so_far(&self, mcu: usize) -> String {
        format!("{mcu} of {} units of a scan are whole", self.mcus.area())
    }
}
