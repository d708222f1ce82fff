//! `lsgan export`, whose files real PyTorch and a real ONNX runtime run.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use lsgan_tests::binaries::root;
use lsgan_tests::{Lab, tests, trials};
use serde_json::json;

/// Runs both files on the same z, and on two numbers of them; then on the z of pictures that are given, as bytes.
const COMPARE: &str = "\
import json, sys, numpy, onnxruntime, torch
script = torch.jit.load(sys.argv[1])
session = onnxruntime.InferenceSession(sys.argv[2])
torch.manual_seed(1)
off = 0.0
for n in (1, 7):
    z = torch.randn(n, int(sys.argv[3]))
    with torch.no_grad():
        a = script(z)
    (b,) = session.run(['samples'], {'z': z.numpy()})
    assert tuple(a.shape) == b.shape, (a.shape, b.shape)
    off = max(off, float(numpy.abs(a.numpy() - b).max()))
shape = list(b.shape)
z = numpy.load(sys.argv[4])
ours = numpy.fromfile(sys.argv[5], dtype=numpy.uint8)
with torch.no_grad():
    a = script(torch.from_numpy(z)).numpy()
(b,) = session.run(['samples'], {'z': z})
level_off, unequal = 0.0, 0
for samples in (a, b):
    levels = (samples.transpose(0, 2, 3, 1).astype(numpy.float64).clip(-1, 1) + 1) * 127.5
    assert levels.size == ours.size, (levels.shape, ours.size)
    level_off = max(level_off, float(numpy.abs(levels.ravel() - ours).max()))
    unequal = max(unequal, int((numpy.floor(levels.ravel() + 0.5) != ours).sum()))
print(json.dumps({'off': off, 'shape': shape, 'bytes': int(ours.size), 'level_off': level_off, 'unequal': unequal}))
";

/// A sample of −1..1 is one of 256 levels in a picture.
const LEVELS: f64 = 127.5;
/// How far a sample may be from ours.
const OFF_MAX: f64 = 1e-5;

/// The Python environment with both.
fn python() -> Result<PathBuf, String> {
    let python = root().join(".venv-peer/bin/python");
    let has_both = |python: &PathBuf| {
        let check = Command::new(python).args(["-c", "import torch, onnxruntime, numpy"]).output();
        check.is_ok_and(|output| output.status.success())
    };
    Some(python).filter(has_both).ok_or_else(|| {
        "there is no .venv-peer with torch and onnxruntime; scripts/python-env .venv-peer bench/requirements.txt makes it".to_owned()
    })
}

fn main() -> ExitCode {
    let mut all =
        trials::trials(&python().map(drop), tests![pytorch_and_an_onnx_runtime_make_the_same_pictures]);
    all.extend(trials::trials(
        &Ok(()),
        tests![a_place_that_cannot_be_written_is_refused_before_anything_is_read],
    ));
    trials::run(all)
}

fn pytorch_and_an_onnx_runtime_make_the_same_pictures() {
    let python = python().expect("it was there");
    let lab = Lab::new();
    let resnet = [
        "model.generator={resnet: {latent: {normal: 16}, width: 4}}",
        "model.discriminator={resnet: {width: 4}}",
    ];
    let lsgan112 = [
        "data.image.size=112",
        "model.generator={lsgan112: {latent: {normal: 16}, width: 2}}",
        "model.discriminator={lsgan112: {width: 2}}",
    ];
    let labels = root().join("datasets/fashion-mnist/t10k-labels-idx1-ubyte.gz");
    let labels = format!("data.source.idx.labels={}", labels.display());
    let by_class = ["model.classes={count: 10, embedding: 8}", &labels];
    // The numbers of one z; where there are classes, one for each behind it.
    let cases = [
        ("dcgan", &[][..], "16", 32),
        ("resnet", &resnet, "16", 32),
        ("lsgan112", &lsgan112, "16", 112),
        ("by-class", &by_class, "26", 32),
    ];
    for (name, more, numbers, side) in cases {
        let to = format!("checkpoint.to={}", lab.path(name).display());
        let sets = ["steps=12", "samples.every=0", &to];
        let sets: Vec<_> =
            sets.into_iter().chain(more.iter().copied()).flat_map(|set| ["--set", set]).collect();
        lab.up(1, &sets).succeeds();
        let run = lab.path(name).display().to_string();
        lab.lsgan(["export", "--run", &run, "--torchscript", "g.pt", "--onnx", "g.onnx"])
            .succeeds()
            .expect_out(&["g.pt, g.onnx: generator_ema at step 12"]);
        fs::write(lab.path("pictures.raw"), pictures(&lab, &run, &format!("{name}-pictures"))).unwrap();
        let mut command = Command::new(&python);
        let files = ["g.pt", "g.onnx"].map(|file| lab.path(file));
        command.args(["-c", COMPARE]).args(files).arg(numbers);
        command.args(["z.npy", "pictures.raw"].map(|file| lab.path(file)));
        let told = lab.start_command("python", command).succeeds().json();
        let number = |key: &str| told[key].as_f64().expect("a number");
        assert!(number("off") < OFF_MAX, "{name}: {told}");
        assert_eq!(told["shape"], json!([7, 1, side, side]), "{name}");
        // Of a sample that is so near to the border of two levels that the last bits decide, the other one is right too.
        assert!(number("level_off") < 0.5 + LEVELS * OFF_MAX, "{name}: {told}");
        assert!(number("unequal") <= number("bytes") / 1000.0, "{name}: {told}");
    }
}

/// The bytes of 70 samples of a run, which are more than are made at once; their z are in z.npy.
fn pictures(lab: &Lab, run: &str, folder: &str) -> Vec<u8> {
    lab.lsgan(["sample", "--run", run, "--count", "70", "--singles", folder, "--latents", "z.npy"])
        .succeeds();
    let bytes = |at| {
        let path = lab.path(&format!("{folder}/{at:06}.png"));
        image::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).into_bytes()
    };
    (0..70).flat_map(bytes).collect()
}

fn a_place_that_cannot_be_written_is_refused_before_anything_is_read() {
    let lab = Lab::new();
    lab.lsgan(["export", "--run", "nowhere", "--onnx", "nowhere/g.onnx"])
        .fails(2, &["--onnx nowhere/g.onnx: there is no directory nowhere"]);
    lab.lsgan(["export", "--run", "nowhere"]).fails(2, &["--torchscript <FILE.pt>|--onnx <FILE.onnx>"]);
    lab.lsgan(["sample", "--run", "nowhere", "--out", "x.png", "--latents", "nowhere/z.npy"])
        .fails(2, &["--latents nowhere/z.npy: there is no directory nowhere"]);
}
