//! The hashes of what a run trained. Equal runs have equal ones, whatever happened to them.

use std::path::Path;
use std::sync::OnceLock;

use crate::lab::Lab;

/// The BLAKE3 hashes of a finished run's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weights {
    /// Of `final/generator.safetensors`.
    pub generator: String,
    /// Of `final/discriminator.safetensors`.
    pub discriminator: String,
}

impl Weights {
    /// Of the run in this directory.
    #[track_caller]
    pub fn of(run_dir: &Path) -> Self {
        let hash = |name: &str| {
            let path = run_dir.join("final").join(name);
            let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            blake3::hash(&bytes).to_hex().to_string()
        };
        Self { generator: hash("generator.safetensors"), discriminator: hash("discriminator.safetensors") }
    }

    /// Of an undisturbed run of `small.yaml` with one worker. Trained once for all tests of a process.
    pub fn undisturbed() -> &'static Self {
        static WEIGHTS: OnceLock<Weights> = OnceLock::new();
        WEIGHTS.get_or_init(|| {
            let lab = Lab::new();
            lab.up(1, &[]).succeeds();
            lab.weights()
        })
    }
}
