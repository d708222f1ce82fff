//! A sum's words in 32 bits, in a device's memory, where the gradients have a last bit for each block.
//!
//! All travel in one all-reduce: `[limbs of the head | gradients | guard]`. The head, which needs 64 bits, travels as limbs of 16
//! bits, each in a word of 32: the limbs of 4096 workers stay below 2^28 together, and make the 64-bit sum afterwards.

use tch::{Device, Kind, Tensor};

const LIMBS: i64 = 4;
const LIMB_BITS: i64 = 16;

pub(super) struct DeviceNarrow {
    /// i32.
    pub words: Tensor,
    /// The head, added up; i64.
    pub head: Tensor,
    /// The lowest bit of each limb, and its bits, of which the last limb has all that are left; i64 `[4, 1]`.
    shifts: Tensor,
    masks: Tensor,
}

impl DeviceNarrow {
    /// For a sum of so many words, the first `head` of which need 64 bits.
    pub fn new(len: i64, head: i64, device: Device) -> Self {
        let column = |of: fn(i64) -> i64| {
            let limbs: Vec<_> = (0..LIMBS).map(of).collect();
            Tensor::from_slice(&limbs).view([LIMBS, 1]).to_device(device)
        };
        Self {
            words: Tensor::zeros([LIMBS * head + len - head], (Kind::Int, device)),
            head: Tensor::zeros([head], (Kind::Int64, device)),
            shifts: column(|limb| limb * LIMB_BITS),
            masks: column(|limb| if limb + 1 < LIMBS { (1 << LIMB_BITS) - 1 } else { -1 }),
        }
    }

    /// Takes over this worker's words. Those that do not fit are any: all workers read so in the header.
    pub fn fill(&mut self, wide: &Tensor) {
        let head = self.head.numel() as i64;
        let limbs = wide.narrow(0, 0, head).bitwise_right_shift(&self.shifts);
        self.limbs().copy_(&limbs.bitwise_and_tensor(&self.masks));
        self.behind_head().copy_(&wide.narrow(0, head, wide.numel() as i64 - head));
    }

    /// The words are added up over all workers.
    pub fn read_head(&mut self) {
        let limbs = self.limbs().to_kind(Kind::Int64).bitwise_left_shift(&self.shifts);
        self.head.copy_(&limbs.sum_dim_intlist([0].as_slice(), false, Kind::Int64));
    }

    fn limbs(&self) -> Tensor {
        let head = self.head.numel() as i64;
        self.words.narrow(0, 0, LIMBS * head).view([LIMBS, head])
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
        let mut all = DeviceNarrow::new(8, 5, Device::Cpu);
        for head in &heads {
            let mut one = DeviceNarrow::new(8, 5, Device::Cpu);
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
        let mut one = DeviceNarrow::new(2, 2, Device::Cpu);
        one.fill(&Tensor::from_slice(&[(1_i64 << 51) - 1, -1]));
        let mut all = DeviceNarrow::new(2, 2, Device::Cpu);
        all.words.copy_(&(&one.words * 4096));
        all.read_head();
        assert_eq!(Vec::<i64>::try_from(&all.head).expect("one dimension"), [((1 << 51) - 1) * 4096, -4096]);
    }
}
