//! Classes: what G and D of a conditional GAN are told of a sample (Mirza and Osindero 2014, arXiv 1411.1784).
//!
//! A class goes into the networks as one number for each class, of which the sample's own is 1 and the others 0.
//! - G reads them behind z; its first layer, [`crate::layers::Layer::Embed`], makes an embedding of them, as the LSGAN paper does for many
//!   classes (Mao et al. 2017, section 3.3).
//! - D says a number for every sample, and one more for each class; that of the sample's own class is added. This is the
//!   projection of Miyato and Koyama 2018 (arXiv 1802.05637), whose embedding is the weights of these outputs.
//! - Or D reads them beside its features: [`crate::layers::Layer::Concatenate`] puts an embedding of its own beside what the last
//!   hidden layer reads, in the way of the LSGAN paper. Beside what the last layer reads it would add a number to D(x) that depends on
//!   the class alone, whatever x is: that layer is linear.

use lsgan_spec::{ClassesSpec, Conditioning};
use tch::{Kind, Tensor};

use crate::native;

/// The classes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Classes {
    count: i64,
    discriminator: Conditioning,
}

impl Classes {
    /// None where the networks are told none.
    pub fn of(spec: &ClassesSpec) -> Option<Self> {
        let ClassesSpec { count, discriminator, .. } = *spec;
        (count > 0).then_some(Self { count: count.into(), discriminator })
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

    /// What D reads beside samples of these classes, `[n, count]`; none by projection.
    pub fn beside(self, numbers: &Tensor, kind: Kind) -> Option<Tensor> {
        match self.discriminator {
            Conditioning::Projection => None,
            Conditioning::Concatenation => Some(self.one_hot(numbers, kind)),
        }
    }

    /// D's numbers `[n]` of its outputs: by projection `[n, 1 + count]` in any form, else these.
    pub fn chosen(self, outputs: &Tensor, numbers: &Tensor) -> Tensor {
        if self.discriminator == Conditioning::Concatenation {
            return outputs.reshape([-1]);
        }
        let outputs = outputs.reshape([-1, 1 + self.count]);
        let of_class = outputs.narrow(1, 1, self.count) * self.one_hot(numbers, outputs.kind());
        outputs.select(1, 0) + of_class.sum_dim_intlist([1].as_slice(), false, outputs.kind())
    }
}

/// `[n, channels, …]` with t·Wᵀ as more channels, the same at every place. `told`: t, `[n, classes]`. `weight`: W, `[outputs, classes]`.
pub(crate) fn concatenated(x: &Tensor, told: &Tensor, weight: &Tensor) -> Tensor {
    let embedded = told.linear(weight, None::<&Tensor>);
    match x.size()[..] {
        [n, _, h, w] => {
            let everywhere = embedded.view([n, -1, 1, 1]).expand([n, -1, h, w], false);
            native::channels_last(&Tensor::cat(&[x.shallow_clone(), everywhere], 1))
        }
        _ => Tensor::cat(&[x.shallow_clone(), embedded], 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(count: u32, discriminator: Conditioning) -> Option<Classes> {
        Classes::of(&ClassesSpec { count, discriminator, ..ClassesSpec::default() })
    }

    #[test]
    fn d_adds_the_number_of_the_samples_own_class() {
        let numbers = Tensor::from_slice(&[2.0_f32, 0.0]);
        let projecting = classes(3, Conditioning::Projection).expect("there are some");
        let outputs =
            Tensor::from_slice(&[1.0_f32, 10.0, 20.0, 30.0, 2.0, 40.0, 50.0, 60.0]).view([2, 4, 1, 1]);
        let chosen = projecting.chosen(&outputs, &numbers);
        assert_eq!(Vec::<f32>::try_from(chosen).unwrap(), [31.0, 42.0]);
        assert!(projecting.beside(&numbers, Kind::Float).is_none());
        assert_eq!(classes(0, Conditioning::Projection), None);
    }

    #[test]
    fn d_reads_an_embedding_of_the_class_at_every_place() {
        let all = |x: Tensor| Vec::<f32>::try_from(x.contiguous().flatten(0, -1)).unwrap();
        let numbers = Tensor::from_slice(&[2.0_f32, 0.0]);
        let concatenating = classes(3, Conditioning::Concatenation).expect("there are some");
        let told = concatenating.beside(&numbers, Kind::Float).expect("it is told beside");
        let weight = Tensor::from_slice(&[1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0]).view([2, 3]);
        let points = Tensor::from_slice(&[0.5_f32, -0.5]).view([2, 1]);
        assert_eq!(all(concatenated(&points, &told, &weight)), [0.5, 3.0, 6.0, -0.5, 1.0, 4.0]);
        let pictures = points.view([2, 1, 1, 1]).expand([2, 1, 1, 2], false);
        assert_eq!(
            all(concatenated(&pictures, &told, &weight)),
            [0.5, 0.5, 3.0, 3.0, 6.0, 6.0, -0.5, -0.5, 1.0, 1.0, 4.0, 4.0]
        );
        assert_eq!(all(concatenating.chosen(&points, &numbers)), [0.5, -0.5]);
    }

    /// bf16 has whole numbers to 256 only.
    #[test]
    fn any_class_is_told_in_any_format() {
        let told = classes(4096, Conditioning::Projection)
            .expect("there are some")
            .one_hot(&Tensor::from_slice(&[4095.0_f32]), Kind::BFloat16);
        assert_eq!(told.sum(Kind::Float).double_value(&[]), 1.0);
        assert_eq!(told.double_value(&[0, 4095]), 1.0);
    }

    #[test]
    fn g_reads_the_class_behind_z() {
        let two = classes(2, Conditioning::Projection).expect("there are some");
        let z = Tensor::from_slice(&[0.5_f32, -0.5, 0.25, 1.5]).view([2, 2]);
        let read = two.behind(&z, &Tensor::from_slice(&[1.0_f32, 0.0]));
        assert_eq!(
            Vec::<f32>::try_from(read.flatten(0, -1)).unwrap(),
            [0.5, -0.5, 0.0, 1.0, 0.25, 1.5, 1.0, 0.0]
        );
    }
}
