//! What the examples share: their options, and the runs that they measure.

use std::collections::HashMap;

use lsgan_spec::*;
use lsgan_train::rehearsal::runs::small_dcgan;

/// `--name value` pairs of the command line.
pub struct Options(HashMap<String, String>);

impl Options {
    pub fn read() -> Self {
        let arguments: Vec<_> = std::env::args().skip(1).collect();
        let pair = |pair: &[String]| match pair {
            [name, value] => (name.trim_start_matches('-').to_owned(), value.clone()),
            _ => panic!("every option has a value; see the head of this file"),
        };
        Self(arguments.chunks(2).map(pair).collect())
    }

    pub fn text(&self, name: &str, default: &str) -> String {
        self.0.get(name).cloned().unwrap_or(default.to_owned())
    }

    pub fn number(&self, name: &str, default: &str) -> u32 {
        self.text(name, default).parse().expect("a whole number")
    }
}

/// A run of one of these models.
pub fn spec(model: &str) -> RunSpec {
    let picture = |size, channels| Some(ImageSpec::of(size, channels));
    let dcgan = |width| {
        ModelSpec::of(Generator::Dcgan { latent: Latent::Normal(100), width }, Discriminator::Dcgan { width })
    };
    let idx = Source::Idx(IdxSource::of("synthetic"));
    let (source, image, model) = match model {
        "dcgan64" => (idx, picture(64, 3), dcgan(64)),
        "dcgan32" => (idx, picture(32, 1), dcgan(32)),
        "lsgan112" => {
            let generator = Generator::Lsgan112 { latent: Latent::Uniform(1024), width: 64 };
            let discriminator = Discriminator::Lsgan112 { width: 64 };
            (idx, picture(112, 3), ModelSpec::of(generator, discriminator))
        }
        "mlp" => {
            let ring = Modes::Ring { count: 8, radius: 1.0 };
            let source = Source::Gaussian(GaussianSource::of(ring, 0.01));
            let generator = Generator::Mlp { latent: Latent::Normal(256), width: 128, depth: 2, gain: 1.4 };
            let discriminator = Discriminator::Mlp { width: 128, depth: 2, gain: 1.4 };
            (source, None, ModelSpec::of(generator, discriminator))
        }
        other => panic!("no model is called {other}; see the head of this file"),
    };
    RunSpec {
        run: "bench".to_owned(),
        seed: 1,
        data: DataSpec::of(source, image),
        model,
        objective: Objective::LeastSquares { a: 0.0, b: 1.0, c: 1.0 },
        ema: EmaSpec::default(),
        compute: ComputeSpec::default(),
        ..small_dcgan()
    }
}
