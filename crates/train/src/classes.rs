//! Classes: what G and D of a conditional GAN are told of a sample (Mirza and Osindero 2014, arXiv 1411.1784).
//!
//! A class goes into the networks as one number for each class, of which the sample's own is 1 and the others 0.
//! - G reads them behind z; its first layer, [`crate::layers::Layer::Embed`], makes an embedding of them, as the LSGAN paper does for many
//!   classes (Mao et al. 2017, section 3.3).
//! - D says a number for every sample, and one more for each class; that of the sample's own class is added. This is the
//!   projection of Miyato and Koyama 2018 (arXiv 1802.05637), whose embedding is the weights of these outputs.

use tch::{Kind, Tensor};

/// The classes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Classes {
    count: i64,
}

impl Classes {
    /// None where the networks are told none.
    pub fn of(count: u32) -> Option<Self> {
        (count > 0).then_some(Self { count: count.into() })
    }

    /// `[n, count]`: 1 for the sample's own class. `numbers`: f32 `[n]`, each a class.
    pub fn one_hot(self, numbers: &Tensor, kind: Kind) -> Tensor {
        let all = Tensor::arange(self.count, (Kind::Float, numbers.device()));
        numbers.view([-1, 1]).eq_tensor(&all).to_kind(kind)
    }

    /// z as G reads it, `[n, latent + count]`. `z`: `[n, latent]`.
    pub fn behind(self, z: &Tensor, numbers: &Tensor) -> Tensor {
        Tensor::cat(&[z.shallow_clone(), self.one_hot(numbers, z.kind())], 1)
    }

    /// D's numbers `[n]` of its outputs, `[n, 1 + count]` in any form.
    pub fn chosen(self, outputs: &Tensor, numbers: &Tensor) -> Tensor {
        let outputs = outputs.reshape([-1, 1 + self.count]);
        let of_class = outputs.narrow(1, 1, self.count) * self.one_hot(numbers, outputs.kind());
        outputs.select(1, 0) + of_class.sum_dim_intlist([1].as_slice(), false, outputs.kind())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d_adds_the_number_of_the_samples_own_class() {
        let classes = Classes::of(3).expect("there are some");
        let outputs =
            Tensor::from_slice(&[1.0_f32, 10.0, 20.0, 30.0, 2.0, 40.0, 50.0, 60.0]).view([2, 4, 1, 1]);
        let chosen = classes.chosen(&outputs, &Tensor::from_slice(&[2.0_f32, 0.0]));
        assert_eq!(Vec::<f32>::try_from(chosen).unwrap(), [31.0, 42.0]);
        assert_eq!(Classes::of(0), None);
    }

    /// bf16 has whole numbers to 256 only.
    #[test]
    fn any_class_is_told_in_any_format() {
        let told = Classes::of(4096)
            .expect("there are some")
            .one_hot(&Tensor::from_slice(&[4095.0_f32]), Kind::BFloat16);
        assert_eq!(told.sum(Kind::Float).double_value(&[]), 1.0);
        assert_eq!(told.double_value(&[0, 4095]), 1.0);
    }

    #[test]
    fn g_reads_the_class_behind_z() {
        let classes = Classes::of(2).expect("there are some");
        let z = Tensor::from_slice(&[0.5_f32, -0.5, 0.25, 1.5]).view([2, 2]);
        let read = classes.behind(&z, &Tensor::from_slice(&[1.0_f32, 0.0]));
        assert_eq!(
            Vec::<f32>::try_from(read.flatten(0, -1)).unwrap(),
            [0.5, -0.5, 0.0, 1.0, 0.25, 1.5, 1.0, 0.0]
        );
    }
}
