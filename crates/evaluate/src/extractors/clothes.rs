//! A small classifier of Fashion-MNIST: three convolutions and 128 features, for the quickstart and pictures like it.
//!
//! `scripts/make-fashion-mnist-extractor` trains it on the 60,000 pictures that the quickstart does not read, and writes the
//! weights that are part of this program. The network is `Classifier` there:
//!
//! ```text
//! [n, 1, 32, 32] conv 3×3 relu, max-pool 2   [n, 32, 16, 16]
//!                conv 3×3 relu, max-pool 2   [n, 64, 8, 8]
//!                conv 3×3 relu, mean         [n, 128]
//! ```

use std::path::Path;
use std::sync::OnceLock;

use tch::{Kind, Tensor};

use super::weights::Weights;
use super::{Extractor, Session};
use crate::chunks::Pictures;
use crate::{EvaluateError, Resize};

pub const NAME: &str = "clothes";
const SIDE: i64 = 32;
pub const FEATURES: usize = 128;

/// The classifier.
pub struct Clothes {
    resize: Resize,
}

impl Clothes {
    pub fn new(resize: Resize) -> Self {
        Self { resize }
    }
}

/// The weights that are part of the program.
fn weights() -> &'static Weights {
    static WEIGHTS: OnceLock<Weights> = OnceLock::new();
    WEIGHTS.get_or_init(|| {
        let bytes = include_bytes!("../../weights/clothes.safetensors");
        Weights::new(Path::new("clothes.safetensors"), bytes).expect("the program's own weights are whole")
    })
}

impl Extractor for Clothes {
    fn name(&self) -> String {
        NAME.to_owned()
    }

    fn version(&self) -> String {
        format!("{}-{}", weights().hash, self.resize.word())
    }

    fn features(&self) -> usize {
        FEATURES
    }

    fn session(&self) -> Result<Box<dyn Session + '_>, EvaluateError> {
        let conv = |layer: u8| {
            let tensor = |what: &str| weights().tensor(&format!("conv{layer}.{what}"));
            (tensor("weight"), tensor("bias"))
        };
        Ok(Box::new(Layers { convs: [conv(1), conv(2), conv(3)], resize: self.resize }))
    }
}

struct Layers {
    convs: [(Tensor, Tensor); 3],
    resize: Resize,
}

impl Session for Layers {
    fn features(&self, pictures: &Pictures) -> Result<Vec<f32>, EvaluateError> {
        let run = || {
            let _no_grad = tch::no_grad_guard();
            let mut x = self.resize.apply(&pictures.grey(), SIDE) / 127.5 - 1.0; // [n, 1, 32, 32]
            for (layer, (weight, bias)) in self.convs.iter().enumerate() {
                x = x.f_conv2d(weight, Some(bias), [1, 1], [1, 1], [1, 1], 1)?.relu_();
                if layer < 2 {
                    x = x.f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)?;
                }
            }
            let features = x.f_mean_dim([2_i64, 3].as_slice(), false, Kind::Float)?; // [n, 128]
            Vec::<f32>::try_from(features.flatten(0, -1))
        };
        run().map_err(|error| EvaluateError::of_network(NAME, &error))
    }
}
