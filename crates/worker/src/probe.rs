//! `worker --probe`: what this host has to compute with, and with a run's file what a step of it needs.

use std::path::PathBuf;

use lsgan_collective::nccl;
use lsgan_console::{Failure, exit::chain, product};
use lsgan_runfile::Override;
use lsgan_spec::{ComputeSpec, Device as Wish};
use lsgan_train::gpu::{Driver, Gpu, NoGpu};
use lsgan_train::{Device, device, gpu, has_cuda_graphs, libtorch, memory, numerics};

/// Prints what this host has to compute with, and with `--config` what a step of that run needs of it.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "worker --probe", version = env!("LSGAN_VERSION"))]
pub struct Args {
    /// Already said.
    #[arg(long, hide = true)]
    probe: bool,
    /// Take the device from this run's file, and say how much memory a step needs.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Override a field of the run's file.
    #[arg(long, value_name = "PATH=VALUE", requires = "config")]
    set: Vec<Override>,
    /// Which of this host's workers it would be.
    #[arg(long, value_name = "N", env = "LSGAN_LOCAL_RANK", default_value_t = 0)]
    local_rank: u32,
    /// How many virtual ranks it would own; by default all.
    #[arg(long, value_name = "N", requires = "config")]
    virtual_ranks: Option<u32>,
}

/// Prints it.
///
/// # Errors
/// A run's file that cannot be used, or a device that it asks for and that is not here; after all else is printed.
pub fn probe(args: &Args) -> Result<(), Failure> {
    let spec = args.config.as_ref().map(|file| lsgan_runfile::load(file, &args.set)).transpose();
    let spec = spec.map_err(|errors| Failure::bad_input(errors.render_plain()))?.map(|file| file.spec);
    let driver = gpu::driver();
    print_driver(driver.as_ref().copied())?;
    match nccl::Library::find(libtorch::nccl().as_deref()) {
        Ok(library) => {
            line("NCCL", &library.description())?;
            library.version().trouble().map_or(Ok(()), |trouble| line("warning", &trouble))?;
        }
        Err(error) => line("NCCL", &format!("none: {}", chain(&error)))?,
    }
    let (wish, compute) = match &spec {
        Some(spec) => (spec.compute.device, spec.compute),
        None => (Wish::Auto, ComputeSpec::default()),
    };
    let chosen = device::choose(wish, args.local_rank)?;
    if let Some(why) = &chosen.no_gpu {
        line("warning", &format!("trains on the CPU: {why}"))?;
    }
    if let Some(spec) = &spec {
        device::configure(chosen.device, spec.precision, &compute).map_err(Failure::bad_input_of)?;
    }
    let numerics = numerics(chosen.device, spec.as_ref());
    line("libtorch", &numerics.libtorch)?;
    line("device", &format!("{}: {}", name(chosen.device), numerics.hardware()))?;
    line("numerics", &format!("probe {:016x}", numerics.probe))?;
    let graphs =
        if has_cuda_graphs() { "built in" } else { "not built in: no headers of CUDA's runtime were there" };
    line("graphs", graphs)?;
    let Some(spec) = spec else { return Ok(()) };
    let ranks = args.virtual_ranks.unwrap_or(spec.batch.virtual_ranks);
    let estimate = memory::Estimate::new(&spec, ranks, memory::KeptLimit::of(chosen.device))
        .map_err(Failure::bad_input_of)?;
    line("memory", &format!("{ranks} virtual ranks of {}: {estimate}", spec.batch.per_rank))?;
    warn_if_too_much(&estimate, chosen.device, driver.ok())
}

fn print_driver(driver: Result<&Driver, &NoGpu>) -> Result<(), Failure> {
    match driver {
        Err(why) => line("GPUs", &format!("none: {why}")),
        Ok(Driver { cuda, gpus }) => {
            line("driver", &format!("supports CUDA {cuda}"))?;
            for Gpu { index, name, memory_bytes, capability, peers } in gpus {
                let gib = *memory_bytes as f64 / f64::from(1 << 30);
                let peers = match peers.as_slice() {
                    [] => String::new(),
                    peers => format!(", reaches {peers:?} directly"),
                };
                let (major, minor) = capability;
                line(&format!("GPU {index}"), &format!("{name}, {gib:.1} GiB, sm_{major}{minor}{peers}"))?;
            }
            Ok(())
        }
    }
}

fn warn_if_too_much(
    estimate: &memory::Estimate,
    device: Device,
    driver: Option<&Driver>,
) -> Result<(), Failure> {
    let Device::Cuda(index) = device else { return Ok(()) };
    let Some(gpu) = driver.and_then(|driver| driver.gpus.get(index)) else { return Ok(()) };
    if estimate.total() > gpu.memory_bytes {
        line(
            "warning",
            "that is more than the GPU has: lower batch.per_rank, and raise batch.virtual_ranks for it",
        )?;
    }
    Ok(())
}

fn name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        Device::Cpu | Device::Mps | Device::Vulkan => "cpu".to_owned(),
    }
}

fn line(what: &str, text: &str) -> Result<(), Failure> {
    product!("{what:<9} {text}")
}
