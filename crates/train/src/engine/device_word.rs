//! The conversions of [`Word`] over tensors.

use tch::{Kind, Tensor};

use crate::header::{GOOD, NOT_FINITE, TOO_LARGE};
use crate::word::{DeviceWordKind, METRIC_LIMIT, METRIC_SCALE, SCALE, Word};

pub(crate) trait DeviceWord: Word {
    const IN_A_DEVICE: DeviceWordKind;

    /// A virtual rank's numbers in units of the sum, not rounded.
    fn scaled(numbers: &Tensor, virtual_ranks: u32) -> Tensor;
    /// They as words, and the rank's mark. `worst`: the largest magnitude; `finite`: all numbers are.
    fn shares(scaled: Tensor, worst: &Tensor, finite: &Tensor) -> (Tensor, Tensor);
    /// A virtual rank's shares in the metrics' means as words.
    fn metrics(shares: Tensor) -> Tensor;
    /// The means over the virtual ranks, f32.
    fn means(words: Tensor) -> Tensor;
}

impl DeviceWord for i64 {
    const IN_A_DEVICE: DeviceWordKind = DeviceWordKind::Wide;

    fn scaled(numbers: &Tensor, virtual_ranks: u32) -> Tensor {
        numbers.to_kind(Kind::Double) * Self::factor(virtual_ranks)
    }

    /// Bad numbers are not added.
    fn shares(scaled: Tensor, worst: &Tensor, finite: &Tensor) -> (Tensor, Tensor) {
        let fits = worst.le(f64::from(Self::LIMIT));
        let mark = scalar(TOO_LARGE, worst).where_self(&fits.logical_not(), &scalar(GOOD, worst));
        let mark = mark.where_self(finite, &scalar(NOT_FINITE, worst));
        let good = scaled.where_self(&finite.logical_and(&fits), &scaled.zeros_like());
        (good.round().to_kind(Kind::Int64), mark)
    }

    fn metrics(shares: Tensor) -> Tensor {
        let clamped = shares.nan_to_num(0.0, METRIC_LIMIT, -METRIC_LIMIT).clamp(-METRIC_LIMIT, METRIC_LIMIT);
        (clamped * METRIC_SCALE).round()
    }

    fn means(words: Tensor) -> Tensor {
        (words.to_kind(Kind::Double) * (1.0 / SCALE)).to_kind(Kind::Float)
    }
}

impl DeviceWord for f32 {
    const IN_A_DEVICE: DeviceWordKind = DeviceWordKind::Fast;

    fn scaled(numbers: &Tensor, virtual_ranks: u32) -> Tensor {
        numbers * f64::from(Self::factor(virtual_ranks))
    }

    fn shares(scaled: Tensor, _worst: &Tensor, finite: &Tensor) -> (Tensor, Tensor) {
        (scaled, scalar(GOOD, finite).where_self(finite, &scalar(NOT_FINITE, finite)))
    }

    fn metrics(shares: Tensor) -> Tensor {
        shares
    }

    fn means(words: Tensor) -> Tensor {
        words
    }
}

/// An i64 without dimensions where `like` is.
fn scalar(value: i64, like: &Tensor) -> Tensor {
    Tensor::full([0_i64; 0], value, (Kind::Int64, like.device()))
}
