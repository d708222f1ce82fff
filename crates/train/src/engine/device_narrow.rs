//! A sum's words in 32 bits, in a device's memory, where the gradients have a last bit for each block.
//!
//! All travel in one all-reduce: `[limbs of the head | gradients | guard]`. The head, which needs 64 bits, travels as limbs of 16
//! bits, each in a word of 32: the limbs of 4096 workers stay below 2^28 together, and make the 64-bit sum afterwards.

use tch::{Device, Kind, Tensor};

use crate::kernels::{Address, Kernel, Kernels, NarrowArgs, WORDS_OF_BLOCK};

/// As many as `native/kernels` has, of 16 bits each.
const LIMBS: i64 = 4;

pub(super) struct DeviceNarrow {
    /// i32.
    pub words: Tensor,
    /// The head, added up; i64.
    pub head: Tensor,
    kernels: Kernels,
}

impl DeviceNarrow {
    /// For a sum of so many words, the first `head` of which need 64 bits.
    pub fn new(len: i64, head: i64, kernels: Kernels, device: Device) -> Self {
        Self {
            words: Tensor::zeros([LIMBS * head + len - head], (Kind::Int, device)),
            head: Tensor::zeros([head], (Kind::Int64, device)),
            kernels,
        }
    }

    /// Takes over this worker's words. Those that do not fit are any: all workers read so in the header.
    pub fn fill(&mut self, wide: &Tensor) {
        let (args, len) = (self.args(wide), wide.numel());
        // SAFETY: `new` made the words for as many as `wide` has, with this head.
        unsafe { self.kernels.queue(Kernel::Narrow, &args, len.div_ceil(WORDS_OF_BLOCK)) };
    }

    /// The words are added up over all workers.
    pub fn read_head(&mut self) {
        let (args, len) = (self.args(&self.head), self.head.numel());
        // SAFETY: the head has so many words, and the words so many of each limb.
        unsafe { self.kernels.queue(Kernel::ReadHead, &args, len.div_ceil(WORDS_OF_BLOCK)) };
    }

    fn args(&self, wide: &Tensor) -> NarrowArgs {
        let [head, len] =
            [&self.head, wide].map(|words| u32::try_from(words.numel()).expect("a sum is short"));
        NarrowArgs { wide: Address::of(wide), narrow: Address::of(&self.words), head, len }
    }

    /// Gradients and guard.
    pub fn behind_head(&self) -> Tensor {
        let from = LIMBS * self.head.numel() as i64;
        self.words.narrow(0, from, self.words.numel() as i64 - from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_head_is_the_sum_of_its_limbs() {
        let heads =
            [[0, 1, -1, i64::MAX, i64::MIN], [5, 1 << 62, -(1 << 40), i64::MIN, -1], [-7, 3, 65_535, 1, 2]];
        let wide = |head: &[i64; 5]| Tensor::from_slice(&[head.as_slice(), &[4, -9, 1 << 30]].concat());
        let mut all = DeviceNarrow::new(8, 5, Kernels::OnHost, Device::Cpu);
        for head in &heads {
            let mut one = DeviceNarrow::new(8, 5, Kernels::OnHost, Device::Cpu);
            one.fill(&wide(head));
            let _ = all.words.g_add_(&one.words);
        }
        all.read_head();
        let wanted: Vec<_> =
            (0..5).map(|i| heads.iter().fold(0_i64, |sum, head| sum.wrapping_add(head[i]))).collect();
        assert_eq!(Vec::<i64>::try_from(&all.head).expect("one dimension"), wanted);
        let behind = Vec::<i32>::try_from(all.behind_head()).expect("one dimension");
        assert_eq!(behind[..2], [12, -27]);
    }

    #[test]
    fn the_limbs_of_4096_workers_do_not_wrap() {
        let mut one = DeviceNarrow::new(2, 2, Kernels::OnHost, Device::Cpu);
        one.fill(&Tensor::from_slice(&[(1_i64 << 51) - 1, -1]));
        let mut all = DeviceNarrow::new(2, 2, Kernels::OnHost, Device::Cpu);
        all.words.copy_(&(&one.words * 4096));
        all.read_head();
        assert_eq!(Vec::<i64>::try_from(&all.head).expect("one dimension"), [((1 << 51) - 1) * 4096, -4096]);
    }
}
