//! The frame of a JPEG: size, components, and their division into blocks (ITU-T T.81, annexes A and B.2.2).

use super::scan::ScanComponent;

/// A block has 8 × 8 samples.
pub(super) const BLOCK_SIDE: usize = 8;
/// Coefficients of a block.
pub(super) const BLOCK: usize = BLOCK_SIDE * BLOCK_SIDE;
/// T.81, B.2.3.
const BLOCKS_IN_MCU_MAX: usize = 10;

/// A quantization table, indexed by row × 8 + column.
pub(super) type Quantization = [u16; BLOCK];

/// How the scans code the coefficients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Process {
    /// Whole blocks: baseline and extended.
    Sequential,
    /// In parts, over several scans.
    Progressive,
}

/// Columns and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) across: usize,
    pub(super) down: usize,
}

impl Size {
    pub(super) fn area(self) -> usize {
        self.across * self.down
    }
}

/// One plane of the picture.
#[derive(Clone, Debug)]
pub(super) struct Component {
    pub(super) id: u8,
    /// Sampling factors, 1 to 4.
    pub(super) factors: Size,
    /// Samples that belong to the picture.
    pub(super) samples: Size,
    /// Blocks with such samples; a scan of this component alone has these.
    pub(super) blocks: Size,
    /// Blocks of whole MCUs; a scan with other components has these.
    pub(super) padded: Size,
    /// The number of its quantization table.
    pub(super) table: u8,
    /// The table as defined at the component's first scan.
    pub(super) quantization: Option<Quantization>,
}

/// The content of the start-of-frame segment.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) process: Process,
    pub(super) size: Size,
    pub(super) components: Vec<Component>,
    /// The maximum of all components' factors.
    pub(super) most: Size,
    pub(super) mcus: Size,
}

impl Component {
    /// The pixels that a sample covers.
    pub(super) fn by(&self, frame: &Frame) -> Size {
        Size { across: frame.most.across / self.factors.across, down: frame.most.down / self.factors.down }
    }
}

impl Frame {
    /// `components` has 3 bytes for each: id, factors, table.
    pub(super) fn new(process: Process, size: Size, components: &[u8]) -> Result<Self, String> {
        let of = |them: &[u8]| Size { across: usize::from(them[1] >> 4), down: usize::from(them[1] & 15) };
        let factors: Vec<Size> = components.chunks_exact(3).map(of).collect();
        let most = Size {
            across: factors.iter().map(|it| it.across).max().unwrap_or(1),
            down: factors.iter().map(|it| it.down).max().unwrap_or(1),
        };
        let whole = |it: &Size| {
            (1..=4).contains(&it.across)
                && (1..=4).contains(&it.down)
                && most.across.is_multiple_of(it.across)
                && most.down.is_multiple_of(it.down)
        };
        if !factors.iter().all(whole) {
            let said: Vec<_> = factors.iter().map(|it| format!("{}x{}", it.across, it.down)).collect();
            return Err(format!(
                "its sampling factors are {}; decoded are 1 to 4 of which the greatest is a multiple of all",
                said.join(", ")
            ));
        }
        let mcus = Size {
            across: size.across.div_ceil(BLOCK_SIDE * most.across),
            down: size.down.div_ceil(BLOCK_SIDE * most.down),
        };
        let mut frame = Self { process, size, components: Vec::new(), most, mcus };
        for (said, factors) in components.chunks_exact(3).zip(factors) {
            if frame.components.iter().any(|it| it.id == said[0]) {
                return Err(format!("it has two components {}", said[0]));
            }
            let samples = Size {
                across: (size.across * factors.across).div_ceil(most.across),
                down: (size.down * factors.down).div_ceil(most.down),
            };
            frame.components.push(Component {
                id: said[0],
                factors,
                samples,
                blocks: Size {
                    across: samples.across.div_ceil(BLOCK_SIDE),
                    down: samples.down.div_ceil(BLOCK_SIDE),
                },
                padded: Size { across: mcus.across * factors.across, down: mcus.down * factors.down },
                table: said[2],
                quantization: None,
            });
        }
        Ok(frame)
    }

    /// Refuses a scan with too many blocks in an MCU.
    pub(super) fn check_mcu(&self, parts: &[ScanComponent<'_>]) -> Result<(), String> {
        let blocks: usize = parts.iter().map(|part| self.components[part.component].factors.area()).sum();
        if parts.len() > 1 && blocks > BLOCKS_IN_MCU_MAX {
            return Err(format!(
                "its sampling factors make {blocks} blocks in an MCU; at most {BLOCKS_IN_MCU_MAX} are allowed"
            ));
        }
        Ok(())
    }
}
