//! The fixtures of scripts/make-extractor-fixtures.

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;

/// The folder of the fixtures.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Shape and bytes of a tensor in one of the files.
pub fn tensor(file: &str, name: &str) -> (Vec<usize>, Vec<u8>) {
    let bytes = std::fs::read(fixtures().join(file)).expect("the fixture is there");
    let tensors = SafeTensors::deserialize(&bytes).expect("the fixture is whole");
    let tensor = tensors.tensor(name).unwrap_or_else(|error| panic!("{file} has {name}: {error}"));
    (tensor.shape().to_vec(), tensor.data().to_vec())
}

/// The numbers of an f32 tensor.
pub fn floats(file: &str, name: &str) -> Vec<f32> {
    let (_, bytes) = tensor(file, name);
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}
