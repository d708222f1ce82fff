//! The work of kernels over a sum: which block takes which numbers. Tables in a device's memory.

use std::ops::Range;

use tch::{Device, Tensor};

use crate::flat::Layout;
use crate::header::SumLayout;
use crate::kernels::{Address, PARTS_MAX};
use crate::scale::{self, BLOCK};

/// Fields of `Piece` in `native/kernels`.
const FIELDS: usize = 5;

pub(super) struct DevicePieces {
    /// `[pieces, FIELDS]`, i32: what each block adds of a virtual rank.
    pieces: Tensor,
    /// Each call adds the pieces of some parts.
    pub calls: Vec<Call>,
    /// `[blocks, 2]`, i32: start and length of each block of parameters.
    pub spans: Tensor,
    /// How many there are.
    pub blocks: usize,
}

pub(super) struct Call {
    pub first_part: usize,
    pub pieces: Range<usize>,
}

impl DevicePieces {
    /// `before`: words that lie before those of the layout.
    pub fn new(layout: &SumLayout, parameters: &Layout, before: usize, device: Device) -> Self {
        let (mut pieces, mut calls, mut scale) = (Vec::<[i32; FIELDS]>::new(), Vec::<Call>::new(), 0);
        let body = before + layout.header.len();
        for (index, part) in layout.parts.iter().enumerate() {
            if index % PARTS_MAX == 0 {
                calls.push(Call { first_part: index, pieces: pieces.len()..pieces.len() });
            }
            for from in (0..part.len()).step_by(BLOCK) {
                let len = BLOCK.min(part.len() - from);
                let own_bit = if index < layout.parameters() { scale } else { -1 };
                scale += 1;
                pieces.push([
                    short(index),
                    short(from),
                    short(len),
                    short(body + part.offset + from),
                    own_bit,
                ]);
            }
            calls.last_mut().expect("one was begun").pieces.end = pieces.len();
        }
        let spans: Vec<_> =
            scale::blocks(parameters).map(|block| [short(block.start), short(block.len())]).collect();
        Self {
            pieces: Tensor::from_slice(pieces.as_flattened()).to_device(device),
            calls,
            blocks: spans.len(),
            spans: Tensor::from_slice(spans.as_flattened()).to_device(device),
        }
    }

    /// Of a piece and those behind it.
    pub fn address(&self, piece: usize) -> Address {
        Address::within(&self.pieces, piece * FIELDS)
    }
}

fn short(number: usize) -> i32 {
    i32::try_from(number).expect("a sum has fewer words")
}

#[cfg(test)]
mod tests {
    use lsgan_spec::{Half, Reduction, VirtualRank};
    use tch::Kind;

    use super::super::device_sum::DeviceSum;
    use super::*;
    use crate::contribution::{Contribution, End};
    use crate::header::ControlWords;
    use crate::init::Init;
    use crate::kernels::Kernels;
    use crate::layers::{Bias, Conv, Layer, Network};
    use crate::tensors::words;

    /// More parts than a call takes, some of several pieces, some of four dimensions.
    fn network() -> Network {
        let weight = Init::Constant(0.0);
        let conv =
            Conv { inputs: 7, outputs: 33, kernel: 5, stride: 2, padding: 2, bias: Bias::With, weight };
        let mut layers = vec![Layer::Conv(conv), Layer::BatchNorm { channels: 33, weight }, Layer::Flatten];
        layers.extend((0..20).map(|_| Layer::Linear { inputs: 33, outputs: 33, weight }));
        Network::new("pieces", vec![7, 1, 1], layers).expect("the names are unique")
    }

    /// Numbers that bf16 can hold.
    fn numbers(size: &[i64], seed: i64) -> Tensor {
        let line = Tensor::arange(size.iter().product::<i64>(), (Kind::Float, Device::Cpu)) + seed;
        (line * 0.7).sin().to_kind(Kind::BFloat16).to_kind(Kind::Float).view(size)
    }

    /// The words of two virtual ranks, whose tensors `lay` lays out.
    fn sum_of(network: &Network, is_scaled: bool, lay: impl Fn(&Tensor, &[i64]) -> Tensor) -> Vec<i64> {
        let layout = SumLayout::new(Half::Discriminator, network, 2);
        assert!(layout.parts.len() > PARTS_MAX, "several calls add a virtual rank");
        let (parameters, ways) = (&network.parameters, [is_scaled, true]);
        let mut sum = DeviceSum::<i64>::new(layout, parameters, ways, Kernels::OnHost, Device::Cpu);
        let moments = numbers(&[network.parameters.len() as i64], 9).square() * 1e-3;
        sum.choose_scales(&moments, Some(1.0));
        sum.begin(Reduction(4), ControlWords::default());
        for rank in 0..2_u32 {
            let mut tensors: Vec<_> = sum
                .layout
                .parts
                .iter()
                .zip(100 * i64::from(rank)..)
                .map(|(part, seed)| lay(&numbers(&part.size(), seed), &part.strides()))
                .collect();
            let statistics = tensors.split_off(sum.layout.parameters());
            let means = [0.5, -1.5, 2.0].map(Tensor::from).map(|mean| mean.to_kind(Kind::Float));
            let end = Some(End { statistics, means });
            sum.add(&Contribution { rank: VirtualRank(rank), first: 0, gradients: tensors, end });
        }
        sum.end();
        words::<i64>(&sum.copy_of_words()).to_vec()
    }

    #[test]
    fn it_does_not_matter_how_a_tensor_lies_in_memory() {
        let network = network();
        for is_scaled in [true, false] {
            let in_our_order = |tensor: &Tensor, strides: &[i64]| {
                let mut ours = Tensor::empty_strided(tensor.size(), strides, (Kind::Float, Device::Cpu));
                ours.copy_(tensor);
                ours
            };
            let wanted = sum_of(&network, is_scaled, in_our_order);
            let row_major = |tensor: &Tensor, _: &[i64]| tensor.shallow_clone();
            let columns_first = |tensor: &Tensor, _: &[i64]| match tensor.dim() {
                2 => tensor.transpose(0, 1).contiguous().transpose(0, 1),
                _ => tensor.shallow_clone(),
            };
            let in_bf16 = |tensor: &Tensor, _: &[i64]| tensor.to_kind(Kind::BFloat16);
            assert_eq!(sum_of(&network, is_scaled, row_major), wanted);
            assert_eq!(sum_of(&network, is_scaled, columns_first), wanted);
            assert_eq!(sum_of(&network, is_scaled, in_bf16), wanted);
        }
    }

    /// By hand: exact64 has round(x · 2^48 / V) of each number at the place of the layout.
    #[test]
    fn every_number_is_added_once_at_its_place() {
        let network = network();
        let layout = SumLayout::new(Half::Discriminator, &network, 2);
        let found = sum_of(&network, false, |tensor, _| tensor.shallow_clone());
        let mut wanted = vec![0_i64; layout.body().len()];
        for rank in [0_i64, 1] {
            for (part, seed) in layout.parts.iter().zip(100 * rank..) {
                let values = Vec::<f32>::try_from(numbers(&part.size(), seed).flatten(0, -1)).expect("f32");
                let mut flat = vec![0.0; part.offset + part.len()];
                crate::flat::from_row_major(part, &values, &mut flat);
                for (at, x) in flat.iter().enumerate().skip(part.offset) {
                    wanted[at] += (f64::from(*x) * (2_f64.powi(48) / 2.0)).round_ties_even() as i64;
                }
            }
        }
        let body = crate::flat::ALIGNMENT + layout.header.len();
        assert_eq!(found[body..body + wanted.len()], wanted);
    }
}
