//! `lsgan export`, whose files real PyTorch and a real ONNX runtime run.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use lsgan_tests::binaries::root;
use lsgan_tests::{Lab, tests, trials};

/// Runs both files on the same z, and on two numbers of them. Prints the largest difference, and the picture's shape.
const COMPARE: &str = "\
import sys, numpy, onnxruntime, torch
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
print(off, list(b.shape), float(b.std()))
";

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
        let mut command = Command::new(&python);
        command.args(["-c", COMPARE]).args([lab.path("g.pt"), lab.path("g.onnx")]).arg(numbers);
        let told = lab.start_command("python", command).succeeds();
        let off: f64 = told.out.split(' ').next().and_then(|off| off.parse().ok()).expect("a number");
        assert!(off < 1e-5, "{name}: {told}");
        assert!(told.out.contains(&format!("[7, 1, {side}, {side}]")), "{name}: {told}");
    }
}

fn a_place_that_cannot_be_written_is_refused_before_anything_is_read() {
    let lab = Lab::new();
    lab.lsgan(["export", "--run", "nowhere", "--onnx", "nowhere/g.onnx"])
        .fails(2, &["--onnx nowhere/g.onnx: there is no directory nowhere"]);
    lab.lsgan(["export", "--run", "nowhere"]).fails(2, &["--torchscript <FILE.pt>|--onnx <FILE.onnx>"]);
}
