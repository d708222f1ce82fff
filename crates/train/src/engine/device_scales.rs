//! The last bits of `reduction: exact` in a device's memory: what [`crate::scale`] says, by the same whole numbers.

use tch::{Device, Kind, Tensor};

use crate::flat::Layout;
use crate::scale::{self, BLOCK, FINEST, HEADROOM_BITS};

pub(crate) struct DeviceScales {
    /// For each of the network's flat parameters: what a virtual rank's number is multiplied by, f32.
    pub factors: Tensor,
    /// The last bit, f32.
    pub units: Tensor,
    /// The largest number that fits into 32 bits, multiplied like that.
    largest: f64,
    /// The block of each parameter.
    block_of: Tensor,
    /// Where the numbers of each block lie, filled up with one number that is 0 and follows the parameters.
    numbers_of: Tensor,
    /// f32 `[1]`.
    virtual_ranks: Tensor,
}

impl DeviceScales {
    pub fn new(parameters: &Layout, virtual_ranks: u32, device: Device) -> Self {
        let len = parameters.len();
        let (mut block_of, mut numbers_of) = (vec![0_i64; len], vec![]);
        for (index, block) in scale::blocks(parameters).enumerate() {
            block_of[block.clone()].fill(index as i64);
            let numbers = block.map(|at| at as i64).chain(std::iter::repeat(len as i64));
            numbers_of.extend(numbers.take(BLOCK));
        }
        Self {
            factors: Tensor::zeros([len as i64], (Kind::Float, device)),
            units: Tensor::zeros([len as i64], (Kind::Float, device)),
            largest: f64::from(scale::limit(0)) / f64::from(virtual_ranks),
            block_of: Tensor::from_slice(&block_of).to_device(device),
            numbers_of: Tensor::from_slice(&numbers_of).to_device(device),
            virtual_ranks: Tensor::from_slice(&[virtual_ranks as f32]).to_device(device),
        }
    }

    /// Chooses them by the second moments `v` and their correction.
    pub fn choose(&mut self, v: &Tensor, correction: f32) {
        let followed = Tensor::cat(&[v.shallow_clone(), v.new_zeros([1], (Kind::Float, v.device()))], 0);
        let blocks = followed.index_select(0, &self.numbers_of).view([-1, BLOCK as i64]);
        let largest = blocks.amax([1], false) * f64::from(correction);
        let log2 = largest.view_dtype(Kind::Int).bitwise_right_shift_tensor_scalar(23) - 127;
        let n = log2.bitwise_right_shift_tensor_scalar(1) + 1;
        let k = (n * -1 + i64::from(31 - HEADROOM_BITS)).clamp_max(i64::from(FINEST));
        let factors = power_of_two(&k) / &self.virtual_ranks;
        self.factors.copy_(&factors.index_select(0, &self.block_of));
        self.units.copy_(&power_of_two(&-k).index_select(0, &self.block_of));
    }

    /// 1 where some of a virtual rank's numbers, multiplied by [`Self::factors`], do not fit into 32 bits, else 0; `[1]`.
    pub fn misfit(&self, scaled: &Tensor) -> Tensor {
        scaled.abs().max().gt(self.largest).reshape([1])
    }
}

/// 2^k as f32.
fn power_of_two(k: &Tensor) -> Tensor {
    (k + 127).bitwise_left_shift_tensor_scalar(23).view_dtype(Kind::Float)
}
