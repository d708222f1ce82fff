//! The table of implementations, each held to the whole contract.

mod local;

use std::process::ExitCode;
use std::sync::{Arc, LazyLock};

use libtest_mimic::{Arguments, Trial};

use local::double::{self, Double};
use lsgan_collective::contract::{Implementation, Mismatch, contract};
use lsgan_collective::nccl::cuda::CudaDevice;
use lsgan_collective::nccl::{CONNECT_WITHIN, DRAIN_WITHIN, Library, Nccl, NcclGroup};
use lsgan_collective::{Group, GroupError};

/// All but NCCL on GPUs, which `main` adds.
const IMPLEMENTATIONS: &[Implementation] = &[
    Implementation { mismatch: Mismatch::FailsTheCall, ..row("tcp", make_tcp) },
    Implementation { mismatch: Mismatch::FailsTheCall, ..row("tcp, encrypted", make_sealed_tcp) },
    Implementation { mismatch: Mismatch::FailsTheCall, ..row("tcp, on one host", make_local) },
    row("nccl over its double", make_nccl),
    row("nccl over its double, whose calls continue in its own threads", make_lazy_nccl),
];

const fn row(name: &'static str, make: fn(usize) -> Vec<Box<dyn Group>>) -> Implementation {
    Implementation { name, make, size_max: 8, mismatch: Mismatch::Undefined }
}

fn make_tcp(size: usize) -> Vec<Box<dyn Group>> {
    local::form(size).into_iter().map(|group| Box::new(group) as Box<dyn Group>).collect()
}

fn make_sealed_tcp(size: usize) -> Vec<Box<dyn Group>> {
    local::form_sealed(size).into_iter().map(|group| Box::new(group) as Box<dyn Group>).collect()
}

fn make_local(size: usize) -> Vec<Box<dyn Group>> {
    local::form_local(size).into_iter().map(|group| Box::new(group) as Box<dyn Group>).collect()
}

fn make_nccl(size: usize) -> Vec<Box<dyn Group>> {
    static DOUBLE: LazyLock<Double> = LazyLock::new(|| Double::with(&[]));
    boxed(double::form(&vec![&*DOUBLE; size]))
}

fn make_lazy_nccl(size: usize) -> Vec<Box<dyn Group>> {
    static DOUBLE: LazyLock<Double> = LazyLock::new(|| Double::with(&[("LAZY_MS", 1), ("GARBAGE", 1)]));
    boxed(double::form(&vec![&*DOUBLE; size]))
}

fn boxed(groups: Vec<NcclGroup>) -> Vec<Box<dyn Group>> {
    groups.into_iter().map(|group| Box::new(group) as Box<dyn Group>).collect()
}

/// This machine's NCCL and its number of GPUs.
fn gpus() -> Result<(Library, usize), GroupError> {
    let library = Library::find(None)?;
    Ok((library, CudaDevice::count()?))
}

/// A GPU for each rank. (Ranks that share a GPU must be processes, each with its own NCCL_HOSTID.)
fn make_nccl_on_gpus(size: usize) -> Vec<Box<dyn Group>> {
    let (library, _) = gpus().expect("the row is skipped without them");
    let nccl = |index| Nccl {
        library: library.clone(),
        device: Arc::new(CudaDevice::new(index).expect("the GPU was counted")),
        also_alone: true,
        connect_within: CONNECT_WITHIN,
        drain_within: DRAIN_WITHIN,
    };
    boxed(double::form_with(&(0..size).map(nccl).collect::<Vec<_>>()))
}

fn main() -> ExitCode {
    let (size_max, skipped) = match gpus() {
        Ok((_, count @ 0..2)) => (2, Some(format!("it takes two GPUs, and there are {count}"))),
        Ok((_, count)) => (count.min(8), None),
        Err(why) => (2, Some(why.to_string())),
    };
    if let Some(why) = &skipped {
        eprintln!("skipped, nccl on GPUs: {why}");
    }
    let on_gpus = Implementation { size_max, ..row("nccl on GPUs", make_nccl_on_gpus) };
    let trial = |implementation: Implementation| {
        let run = move || {
            contract(&implementation);
            Ok(())
        };
        Trial::test(format!("{} keeps the contract", implementation.name), run)
    };
    let here = IMPLEMENTATIONS.iter().copied().map(trial);
    let trials = here.chain([trial(on_gpus).with_ignored_flag(skipped.is_some())]);
    let mut arguments = Arguments::from_args();
    // The contract measures how long an abort takes.
    arguments.test_threads.get_or_insert(1);
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
