//! `lsgan import`: weights of another program as the first snapshot of a run.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsgan_console::{Failure, product};
use lsgan_data::read_whole;
use lsgan_launch::{Places, data_fingerprint, load_file, open_data};
use lsgan_runfile::{Override, to_yaml};
use lsgan_snapshots::{NamedTensor, Part, Snapshot, Store, TensorData, parse_part};
use lsgan_spec::{Reduction, RunSpec, Step};
use lsgan_train::{Device, Replica, numerics};

/// The longest header of a safetensors file.
const HEADER_BYTES_MAX: u64 = 100_000_000;

/// The arguments of `lsgan import`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The run's YAML file. Its networks must be those of the weights; its data may be others.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Override a field of the file, as for `lsgan up`.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    sets: Vec<Override>,
    /// The run's directory, where it is not `checkpoint.to`.
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// G's weights and running statistics: `save_file(g.state_dict(), …)` of PyTorch, or a generator.safetensors or
    /// generator_ema.safetensors of a run. Names and shapes are those of docs/training.md; F16 and BF16 become F32.
    #[arg(long, value_name = "FILE.safetensors")]
    generator: PathBuf,
    /// D's. Without it D starts with fresh weights.
    #[arg(long, value_name = "FILE.safetensors")]
    discriminator: Option<PathBuf>,
}

/// Writes a snapshot of step 0, from which `lsgan up` or `coordinator` goes on.
///
/// # Errors
/// A run that is there already, or weights that do not fit its networks.
pub async fn run(args: Args) -> Result<(), Failure> {
    let spec = load_file(&args.config, &args.sets)?.spec;
    let places = Places::of(&spec, args.run_dir.as_deref());
    let store = Store::open(&places.store)?;
    if places.run_dir.join(lsgan_journal::FILE).exists() || !store.list().await?.is_empty() {
        return Err(Failure::bad_input(format!(
            "{} holds a run already, which keeps its weights. Name another place: --set checkpoint.to=DIR.",
            places.store
        )));
    }
    let data = open_data(&spec.data, spec.seed)?;
    let parts = parts(&spec, &args)?;
    let snapshot = Snapshot {
        step: Step(0),
        identity: spec.identity().to_string(),
        data_fingerprint: data_fingerprint(&*data, &spec.model)?,
        numerics: numerics(Device::Cpu, None).to_string(),
        spec_yaml: to_yaml(&spec),
        parts: parts.into_iter().map(Arc::new).collect(),
    };
    store.write(&snapshot).await?;
    product!(
        "{}: the run `{}` has a snapshot of step 0 with these weights. Train with `lsgan up --config {}` and the same --set.",
        places.store,
        spec.run,
        args.config.display()
    )
}

/// A fresh state, with the weights that are given.
fn parts(spec: &RunSpec, args: &Args) -> Result<Vec<Part>, Failure> {
    let mut replica = Replica::builder(spec).build()?;
    let most = len_bytes_max(&replica.export());
    let generator = given("generator", &args.generator, most)?;
    let discriminator =
        args.discriminator.as_ref().map(|path| given("discriminator", path, most)).transpose()?;
    let with_given = |part: Part| match (part.name.as_str(), &discriminator) {
        ("generator" | "generator_ema", _) => Part { tensors: generator.tensors.clone(), ..part },
        ("discriminator", Some(discriminator)) => discriminator.clone(),
        _ => part,
    };
    let parts: Vec<Part> = replica.export().into_iter().map(with_given).collect();
    let refused = |error: lsgan_train::TrainError| {
        let files = [Some(&args.generator), args.discriminator.as_ref()];
        let files: Vec<_> = files.into_iter().flatten().map(|path| path.display().to_string()).collect();
        Failure::bad_input(format!("{}: {error}", files.join(", ")))
    };
    replica.import(&parts, Reduction(0)).map_err(refused)?;
    Ok(replica.export())
}

/// The most bytes of a file with weights of this state: others keep more beside them, and numbers of 64 bits.
fn len_bytes_max(state: &[Part]) -> u64 {
    let elements: usize = state.iter().flat_map(|part| &part.tensors).map(|tensor| tensor.data.len()).sum();
    HEADER_BYTES_MAX + 4 * size_of::<f64>() as u64 * elements as u64
}

/// The tensors of a file under our names: without what DDP puts before them, and spectral normalisation behind them.
fn given(name: &str, path: &Path, len_bytes_max: u64) -> Result<Part, Failure> {
    let shown = path.display().to_string();
    let bytes = read_whole(path, len_bytes_max)
        .map_err(|error| Failure::bad_input(format!("{shown}: it cannot be read: {error}")))?;
    let part = parse_part(name, &bytes, &shown).map_err(Failure::bad_input)?;
    let renamed = |tensor: NamedTensor| {
        let name = tensor.name.strip_prefix("module.").unwrap_or(&tensor.name);
        // A vector that follows from the other one, and from the weight.
        let is_kept = !name.ends_with(".weight_v") && matches!(tensor.data, TensorData::F32(_));
        let name = name.strip_suffix("_orig").unwrap_or(name).to_owned();
        is_kept.then_some(NamedTensor { name, ..tensor })
    };
    Ok(Part { tensors: part.tensors.into_iter().filter_map(renamed).collect(), ..part })
}
