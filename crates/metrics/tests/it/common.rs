//! The features that scripts/make-metric-fixtures has made.

use lsgan_metrics::Set;
use safetensors::SafeTensors;

/// Real and generated features of a case.
pub fn sets(case: &str) -> (Set, Set) {
    let bytes = include_bytes!("../fixtures/features.safetensors");
    let tensors = SafeTensors::deserialize(bytes).expect("the fixture is whole");
    let set = |which: &'static str| {
        let tensor = tensors.tensor(&format!("{case}.{which}")).expect("the fixture has the case");
        let (numbers, _) = tensor.data().as_chunks::<4>();
        let values = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        Set::new(which, tensor.shape()[1], values).expect("features are finite")
    };
    (set("real"), set("generated"))
}
