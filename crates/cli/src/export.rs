//! `lsgan export`: a generator as a file that other programs run.

use std::path::{Path, PathBuf};

use lsgan_console::{Failure, product};
use lsgan_train::export::Format;
use serde_json::json;

use crate::generator::{Generator, GeneratorArgs};

/// The arguments of `lsgan export`.
#[derive(Clone, Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("format").required(true).multiple(true).args(["torchscript", "onnx"]))]
pub struct Args {
    #[command(flatten)]
    generator: GeneratorArgs,
    /// Write TorchScript, for `torch.jit.load`. Its `forward` takes z, f32 [n, numbers of one z], and gives samples, f32 [n,
    /// channels, side, side] in -1..1 (2-D points: [n, 2]).
    #[arg(long, value_name = "FILE.pt")]
    torchscript: Option<PathBuf>,
    /// Write ONNX, operator set 17, with the input `z` and the output `samples`, as above.
    #[arg(long, value_name = "FILE.onnx")]
    onnx: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Writes the files.
///
/// # Errors
/// No snapshot there, or a place that cannot be written.
pub async fn run(args: Args) -> Result<(), Failure> {
    let targets =
        [("--torchscript", Format::TorchScript, &args.torchscript), ("--onnx", Format::Onnx, &args.onnx)];
    let targets: Vec<_> = targets
        .into_iter()
        .filter_map(|(option, format, path)| Some((option, format, path.as_deref()?)))
        .collect();
    for (option, _, path) in &targets {
        check(option, path)?;
    }
    let Generator { manifest, name, sampler, weights, .. } = args.generator.open().await?;
    for (_, format, path) in &targets {
        sampler
            .export(&weights.as_weights(), *format, path)
            .map_err(|error| Failure::failed(error.to_string()))?;
    }
    let step = manifest.step.0;
    let files: Vec<_> = targets.iter().map(|(_, _, path)| path.display().to_string()).collect();
    if args.json {
        return product!("{:#}", json!({ "files": files, "step": step, "weights": name }));
    }
    product!("{}: {name} at step {step}", files.join(", "))
}

/// Before anything is read: a place where no file can be.
fn check(option: &str, path: &Path) -> Result<(), Failure> {
    let refuse = |problem: String| Err(Failure::bad_input(format!("{option} {}: {problem}", path.display())));
    if path.is_dir() {
        return refuse("this is a directory. Name a file in it.".to_owned());
    }
    match path.parent().filter(|above| !above.as_os_str().is_empty()) {
        Some(above) if !above.is_dir() => {
            refuse(format!("there is no directory {}. Make it, or name another.", above.display()))
        }
        _ => Ok(()),
    }
}
