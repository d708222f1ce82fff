//! Manifests and parts with anything in them.

use lsgan_fuzz::Fuzz;
use lsgan_spec::{NamedTensor, Part, Step, TensorData};

use crate::manifest::{Manifest, PartEntry};
use crate::snapshot;

fn manifest() -> Manifest {
    let part = |name: &str, len_bytes| PartEntry {
        name: name.to_owned(),
        file: format!("{name}.safetensors"),
        len_bytes,
        blake3: blake3::hash(name.as_bytes()).to_hex().to_string(),
    };
    Manifest {
        step: Step(100),
        identity: "0123".to_owned(),
        data_fingerprint: "4567".to_owned(),
        numerics: "libtorch 2.11".to_owned(),
        spec_yaml: "run: a\nsteps: 500\n".to_owned(),
        parts: vec![part("generator", 1000), part("discriminator", 77)],
    }
}

/// Writes the hash that the content has, where there is a content.
fn mend(bytes: &mut Vec<u8>) {
    let Ok(mut file) = serde_json::from_slice::<serde_json::Value>(bytes) else { return };
    let Ok(manifest) = serde_json::from_value::<Manifest>(file["snapshot"].clone()) else { return };
    file["blake3"] = manifest.blake3().into();
    *bytes = file.to_string().into_bytes();
}

#[test]
fn fuzz_manifest() {
    Fuzz::new("manifest", [manifest().to_bytes()]).mend(mend).run(|bytes| {
        match Manifest::from_bytes(bytes, Step(100), "s3://bucket/manifest.json") {
            Ok(manifest) => {
                let again = Manifest::from_bytes(&manifest.to_bytes(), Step(100), "again");
                assert_eq!(again.expect("it was just written"), manifest);
                "ok".to_owned()
            }
            Err(error) => error.to_string(),
        }
    });
}

#[test]
fn fuzz_safetensors() {
    let tensor = |name: &str, shape: &[usize], data| NamedTensor {
        name: name.to_owned(),
        shape: shape.to_vec(),
        data,
    };
    let part = |tensors| Part { name: "generator".to_owned(), tensors };
    let examples = [
        part(vec![]),
        part(vec![
            tensor("steps", &[], TensorData::I64(vec![7])),
            tensor("weight", &[2, 3], TensorData::F32(vec![1.0, -0.0, f32::MAX, 0.5, 2.0, 3.0])),
            tensor("empty", &[0, 4], TensorData::F32(vec![])),
        ]),
    ];
    let examples = examples.map(|part| snapshot::to_bytes(&part).expect("it can be written").to_vec());
    Fuzz::new("safetensors", examples).run(|bytes| {
        match snapshot::from_bytes("generator", bytes, "a.safetensors") {
            Ok(part) => {
                // Names that the format keeps for itself cannot be written.
                if let Ok(written) = snapshot::to_bytes(&part) {
                    let again =
                        snapshot::from_bytes("generator", &written, "again").expect("it was just written");
                    let shown = |part: &Part| format!("{part:?}");
                    assert_eq!(shown(&again), shown(&part), "NaN is no equal of itself");
                }
                format!("ok {}", part.tensors.len().min(3))
            }
            Err(error) => error.to_string(),
        }
    });
}
