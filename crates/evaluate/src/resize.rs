//! How pictures get the size that a network accepts.

use tch::Tensor;

/// How pictures are scaled. It changes scores: only those of one way can be compared (Parmar et al., "On Aliased Resizing and
/// Surprising Subtleties in GAN Evaluation", arXiv 2104.11222).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resize {
    /// Bicubic, widened when scaling down, without rounding to bytes: PIL's filter, clean-fid's `clean`.
    #[default]
    Antialiased,
    /// Bilinear between the nearest pixels, whatever lies between: clean-fid's `legacy_pytorch`. A TorchScript file gets the
    /// pictures as they are and scales them itself.
    Legacy,
}

impl Resize {
    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Antialiased => "antialiased",
            Self::Legacy => "legacy",
        }
    }

    /// `[n, c, h, w]` in 0..255 to `[n, c, side, side]` in 0..255, both f32. Pictures of that size stay as they are.
    pub(crate) fn apply(self, pictures: &Tensor, side: i64) -> Tensor {
        if pictures.size()[2..] == [side, side] {
            return pictures.shallow_clone();
        }
        let scaled = match self {
            Self::Antialiased => pictures.internal_upsample_bicubic2d_aa([side, side], false, None, None),
            Self::Legacy => pictures.upsample_bilinear2d([side, side], false, None, None),
        };
        scaled.clamp(0.0, 255.0)
    }
}
