//! DiffAugment: Zhao, Liu, Lin, Zhu and Han 2020, arXiv 2006.10738, with the operations and ranges of the authors' code.
//!
//! Pictures are `[n, channels, side, side]`. An operation is a function of the pictures and of uniform numbers; it can be
//! differentiated twice, and uses no sums whose order a device chooses.

use lsgan_spec::AugmentSpec;
use tch::{Kind, Tensor};

use crate::native;

/// Uniform numbers that a picture needs, whichever operations are on.
pub(crate) const NUMBERS: i64 = 7;

/// The operations of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Augment(AugmentSpec);

impl Augment {
    /// None where the run's file asks for nothing.
    pub fn of(spec: &AugmentSpec) -> Option<Self> {
        spec.is_on().then_some(Self(*spec))
    }

    /// The pictures changed by `draws`, f32 `[n, NUMBERS]` in 0..1.
    pub fn apply(&self, pictures: &Tensor, draws: &Tensor) -> Tensor {
        let draw = |index: i64| draws.select(1, index).view([-1, 1, 1, 1]); // [n, 1, 1, 1]
        let mut x = pictures.shallow_clone();
        if self.0.color {
            x = colour(&x, [0, 1, 2].map(draw));
        }
        if self.0.translation > 0.0 {
            x = translation(&x, self.0.translation, [3, 4].map(draw));
        }
        if self.0.cutout > 0.0 {
            x = cutout(&x, self.0.cutout, [5, 6].map(draw));
        }
        native::channels_last(&x)
    }
}

/// Adds −0.5..0.5, scales the distance from grey by 0..2, and the distance from the picture's mean by 0.5..1.5.
fn colour(x: &Tensor, draws: [Tensor; 3]) -> Tensor {
    let kind = x.kind();
    let [brightness, saturation, contrast] = draws;
    let x = x + (brightness - 0.5).to_kind(kind);
    let grey = x.mean_dim([1].as_slice(), true, kind);
    let x = (x - &grey) * (saturation * 2.0).to_kind(kind) + grey;
    let mean = x.mean_dim([1, 2, 3].as_slice(), true, kind);
    (x - &mean) * (contrast + 0.5).to_kind(kind) + mean
}

/// A whole number from 0 to `count` − 1, f32. A product may be rounded up to `count`.
fn whole(draw: &Tensor, count: i64) -> Tensor {
    (draw * count as f64).floor().clamp_max((count - 1) as f64)
}

/// ⌊side·share + ½⌋.
fn pixels(side: i64, share: f64) -> i64 {
    (side as f64 * share + 0.5) as i64
}

/// Moves a picture down and to the right by −s..=s pixels each. By products with matrices that have a single 1 in a row: each
/// pixel is moved as it is, and gradients are moved back by the same way.
fn translation(x: &Tensor, share: f64, draws: [Tensor; 2]) -> Tensor {
    let side = x.size()[2];
    let most = pixels(side, share);
    let places = Tensor::arange(side, (Kind::Float, x.device()));
    let [rows, columns] = draws.map(|draw| {
        let from = places.view([1, 1, side, 1]) + whole(&draw, 2 * most + 1) - most as f64; // [n, 1, side, 1]
        from.eq_tensor(&places.view([1, 1, 1, side])).to_kind(x.kind()) // [n, 1, to, from]
    });
    rows.matmul(x).matmul(&columns.transpose(2, 3))
}

/// Makes a square around a random place 0, as far as it lies in the picture.
fn cutout(x: &Tensor, share: f64, draws: [Tensor; 2]) -> Tensor {
    let side = x.size()[2];
    let size = pixels(side, share);
    let places = Tensor::arange(side, (Kind::Float, x.device()));
    let [rows, columns] = draws.map(|draw| {
        let first = whole(&draw, side + 1 - size % 2) - (size / 2) as f64; // [n, 1, 1, 1]
        let inside = places.ge_tensor(&first).logical_and(&places.lt_tensor(&(&first + size as f64)));
        inside.to_kind(x.kind()) // [n, 1, 1, side]
    });
    let hidden = rows.transpose(2, 3) * columns; // [n, 1, side, side]
    x * (1.0 - hidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFF: AugmentSpec = AugmentSpec { color: false, translation: 0.0, cutout: 0.0 };

    fn pictures(channels: i64) -> Tensor {
        let line = Tensor::arange(2 * channels * 64, (Kind::Float, tch::Device::Cpu));
        native::channels_last(&(line * 0.7 + 1.0).sin().view([2, channels, 8, 8]))
    }

    fn draws(of_each: [f32; 7]) -> Tensor {
        Tensor::from_slice(&[of_each, [0.5; 7]].concat()).view([2, NUMBERS])
    }

    fn augmented(spec: AugmentSpec, x: &Tensor, draws: &Tensor) -> Tensor {
        Augment::of(&spec).expect("something is on").apply(x, draws)
    }

    #[test]
    fn numbers_in_the_middle_change_no_place_and_no_colour() {
        let x = pictures(3);
        let spec = AugmentSpec { color: true, translation: 0.25, ..OFF };
        let middle = Tensor::full([2, NUMBERS], 0.5, (Kind::Float, tch::Device::Cpu));
        let off = (augmented(spec, &x, &middle) - &x).abs().max().double_value(&[]);
        assert!(off < 1e-6, "{off}");
        assert_eq!(Augment::of(&OFF), None);
    }

    #[test]
    fn a_picture_is_moved_pixel_by_pixel() {
        let x = pictures(1);
        let spec = AugmentSpec { translation: 0.25, ..OFF };
        // Of −2..=2: −2 rows, and 1 column.
        let moved = augmented(spec, &x, &draws([0.0, 0.0, 0.0, 0.0, 0.7, 0.0, 0.0]));
        let at = |y: i64, x_: i64| moved.double_value(&[0, 0, y, x_]);
        assert_eq!(at(2, 3), x.double_value(&[0, 0, 0, 4]));
        assert_eq!(at(7, 0), x.double_value(&[0, 0, 5, 1]));
        assert_eq!([at(0, 3), at(1, 3), at(4, 7)], [0.0; 3], "what came from outside is grey");
        assert!(moved.get(1).equal(&x.get(1)), "the other picture stays where it is");
    }

    #[test]
    fn a_square_is_hidden_and_teaches_nothing() {
        let x = pictures(3).set_requires_grad(true);
        let spec = AugmentSpec { cutout: 0.5, ..OFF };
        // Of places 0..=8: at 0, of which half lies outside, and at 8.
        let y = augmented(spec, &x, &draws([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.9999]));
        let hidden = y.get(0).eq(0.0).sum_dim_intlist([1, 2].as_slice(), false, Kind::Int64);
        assert_eq!(Vec::<i64>::try_from(hidden).expect("one for each channel"), [4; 3]);
        assert_eq!(y.double_value(&[0, 2, 1, 6]), 0.0);
        assert_ne!(y.double_value(&[0, 2, 2, 6]), 0.0);
        let gradient = Tensor::run_backward(&[&y.sum(Kind::Float)], &[&x], false, false).remove(0);
        let taught =
            Vec::<f64>::try_from(gradient.sum_dim_intlist([1, 2, 3].as_slice(), false, Kind::Double));
        assert_eq!(taught.expect("one for each picture"), [3.0 * 60.0, 3.0 * 48.0]);
    }
}
