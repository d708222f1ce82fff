//! Every extractor keeps the contract, and its features are those of the PyTorch original on the same pictures
//! (scripts/make-extractor-fixtures, make-fashion-mnist-extractor).

mod common;

use std::path::Path;
use std::process::ExitCode;

use common::{fixtures, floats, tensor};
use libtest_mimic::{Arguments, Failed, Trial};
use lsgan_evaluate::chunks::Pictures;
use lsgan_evaluate::extractors::contract;
use lsgan_evaluate::{Choice, EvaluateError, Extractor, Resize};
use lsgan_spec::{DataSpec, ImageSpec};

/// What features of another implementation may differ by, of the largest one.
const RELATIVE: f32 = 1e-4;

type Check = fn();

const CHECKS: &[(&str, Check)] = &[
    ("clothes: keeps the contract", || contract(&*Choice::Clothes.open(Resize::Antialiased).unwrap())),
    ("clothes: features are those of PyTorch", clothes_are_those_of_pytorch),
    ("torchscript: keeps the contract", || {
        for resize in [Resize::Antialiased, Resize::Legacy] {
            contract(&*tiny(resize));
        }
    }),
    ("torchscript: features are those of PyTorch, of bytes and of resized pictures", tiny_is_that_of_pytorch),
    ("torchscript: a file that is none, or fails on pictures, is refused by name", others_are_refused),
    ("an extractor without weights says how to get them", weights_that_are_missing_are_named),
];

/// With ImageNet's weights, which are not part of the program.
const INSTALLED: &[(&str, Check)] = &[
    ("efficientnet_lite0: keeps the contract", || contract(&*efficientnet())),
    ("efficientnet_lite0: features are those of PyTorch", efficientnet_is_that_of_pytorch),
];

fn main() -> ExitCode {
    let is_missing = matches!(
        Choice::EfficientNetLite0.open(Resize::Antialiased),
        Err(EvaluateError::NotInstalled { .. })
    );
    if is_missing {
        eprintln!("skipped: no weights of efficientnet_lite0; scripts/get-efficientnet-lite0 fetches them");
    }
    let trial = |(name, check): (&str, Check), is_skipped: bool| {
        let run = move || -> Result<(), Failed> {
            check();
            Ok(())
        };
        Trial::test(name, run).with_ignored_flag(is_skipped)
    };
    let always = CHECKS.iter().map(|check| trial(*check, false));
    let installed = INSTALLED.iter().map(|check| trial(*check, is_missing));
    libtest_mimic::run(&Arguments::from_args(), always.chain(installed).collect()).exit_code()
}

fn tiny(resize: Resize) -> Box<dyn Extractor> {
    Choice::parse(&fixtures().join("tiny.pt").display().to_string()).unwrap().open(resize).unwrap()
}

fn efficientnet() -> Box<dyn Extractor> {
    Choice::EfficientNetLite0.open(Resize::Antialiased).unwrap()
}

#[track_caller]
fn assert_near(what: &str, found: &[f32], wanted: &[f32]) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    let largest = wanted.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let worst = found.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= RELATIVE * largest, "{what}: differs by {worst} where the largest feature is {largest}");
}

/// Features of a fixture's pictures.
fn of_fixture(extractor: &dyn Extractor, name: &str) -> Vec<f32> {
    let (shape, bytes) = tensor("extractors.safetensors", name);
    let pictures = Pictures { size: shape[1], channels: shape[3], bytes };
    extractor.session().unwrap().features(&pictures).unwrap()
}

fn clothes_are_those_of_pytorch() {
    let images =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/fashion-mnist/t10k-images-idx3-ubyte.gz");
    let source = lsgan_spec::Source::Idx(lsgan_spec::IdxSource::of(images));
    let data = lsgan_data::open(&DataSpec::of(source, Some(ImageSpec::of(32, 1))), 0).unwrap();
    let fixture = std::fs::read_to_string(fixtures().join("clothes.json")).unwrap();
    let fixture: serde_json::Value = serde_json::from_str(&fixture).unwrap();
    let rows = fixture["features"].as_array().unwrap();
    let wanted: Vec<f32> = rows
        .iter()
        .flat_map(|row| row.as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32))
        .collect();
    let mut samples = vec![0.0; rows.len() * data.sample_len()];
    for (record, out) in samples.chunks_mut(data.sample_len()).enumerate() {
        data.read(record as u64, out).unwrap();
    }
    let extractor = Choice::Clothes.open(Resize::Antialiased).unwrap();
    let found = extractor.session().unwrap().features(&Pictures::of_samples(32, 1, &samples)).unwrap();
    assert_near("clothes", &found, &wanted);
}

fn tiny_is_that_of_pytorch() {
    for resize in [Resize::Legacy, Resize::Antialiased] {
        let extractor = tiny(resize);
        assert_eq!((extractor.name().as_str(), extractor.features()), ("tiny.pt", 6));
        assert!(!extractor.is_inception());
        for name in ["colour", "grey"] {
            let wanted = floats("extractors.safetensors", &format!("{name}.tiny.{}", resize.word()));
            assert_near(name, &of_fixture(&*extractor, name), &wanted);
        }
    }
}

fn efficientnet_is_that_of_pytorch() {
    for name in ["colour", "grey", "large"] {
        let wanted = floats("extractors.safetensors", &format!("{name}.efficientnet_lite0"));
        assert_near(name, &of_fixture(&*efficientnet(), name), &wanted);
    }
}

fn others_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("none.pt");
    std::fs::write(&file, "text").unwrap();
    let refused = |path: &Path| {
        let error = Choice::TorchScript(path.to_owned()).open(Resize::Legacy).err();
        error.expect("it cannot be used").to_string()
    };
    let text = refused(&file);
    assert!(text.contains("none.pt: it is no TorchScript") && !text.contains('\n'), "{text}");
    let text = refused(&dir.path().join("nowhere.pt"));
    assert!(text.contains("nowhere.pt: it cannot be read"), "{text}");
    for word in ["inception", "clothes.safetensors"] {
        assert!(
            Choice::parse(word)
                .is_err_and(|text| text.contains("clothes, efficientnet_lite0 or a TorchScript"))
        );
    }
}

fn weights_that_are_missing_are_named() {
    let error = EvaluateError::NotInstalled { extractor: "efficientnet_lite0", path: "/nowhere/file".into() };
    let text = error.to_string();
    assert!(text.contains("/nowhere/file") && text.contains("scripts/get-efficientnet-lite0"), "{text}");
}
