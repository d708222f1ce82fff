//! The last bits of `reduction: exact` in a device's memory: what [`crate::scale`] says, by the same whole numbers.

use tch::{Device, Kind, Tensor};

use crate::flat::Layout;
use crate::kernels::{Address, BitsArgs, ChooseArgs, Kernel, Kernels};
use crate::scale::{self, FINEST, HEADROOM_BITS};

pub(crate) struct DeviceScales {
    /// For each block of parameters: what a virtual rank's number is multiplied by, f32.
    pub factors: Tensor,
    /// The last bit of each, f32.
    pub units: Tensor,
    /// The largest number that fits into 32 bits, multiplied like that.
    pub largest: f32,
    virtual_ranks: u32,
    kernels: Kernels,
}

impl DeviceScales {
    pub fn new(parameters: &Layout, virtual_ranks: u32, kernels: Kernels, device: Device) -> Self {
        let blocks = scale::blocks(parameters).count() as i64;
        Self {
            factors: Tensor::zeros([blocks], (Kind::Float, device)),
            units: Tensor::zeros([blocks], (Kind::Float, device)),
            largest: scale::limit(0) / virtual_ranks as f32,
            virtual_ranks,
            kernels,
        }
    }

    /// What kernels need to choose them by second moments with this correction.
    pub fn bits(&self, correction: f32) -> BitsArgs {
        BitsArgs {
            factors: Address::of(&self.factors),
            units: Address::of(&self.units),
            correction,
            virtual_ranks: self.virtual_ranks as f32,
            finest: FINEST,
            room: 31 - HEADROOM_BITS,
        }
    }

    /// Chooses them by the second moments `v` of the parameters in `spans`, and their correction.
    pub fn choose(&mut self, spans: &Tensor, v: &Tensor, correction: f32) {
        let args = ChooseArgs {
            spans: Address::of(spans),
            second_moments: Address::of(v),
            bits: self.bits(correction),
        };
        // SAFETY: there is a span for each block, all within the parameters, of which `v` has one number each.
        unsafe { self.kernels.queue(Kernel::Choose, &args, self.units.numel()) };
    }
}
