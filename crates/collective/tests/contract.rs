//! The table of implementations, each held to the whole contract.

mod local;

use std::process::ExitCode;
use std::sync::{Arc, LazyLock};

use libtest_mimic::{Arguments, Trial};

use local::double::{self, Double};
use lsgan_collective::contract::{DeadPeer, Implementation, Mismatch, contract};
use lsgan_collective::nccl::cuda::CudaDevice;
use lsgan_collective::nccl::{DRAIN_WITHIN, Library, Nccl, NcclGroup};
use lsgan_collective::{Group, GroupError};

/// One line for each implementation. NCCL itself, which needs GPUs, is added by `main`.
const IMPLEMENTATIONS: &[Implementation] = &[
    Implementation {
        name: "tcp",
        make: make_tcp,
        size_max: 8,
        dead_peer: DeadPeer::FailsTheCall,
        mismatch: Mismatch::FailsTheCall,
    },
    Implementation {
        name: "nccl over its double",
        make: make_nccl,
        size_max: 8,
        dead_peer: DeadPeer::FailsTheCall,
        mismatch: Mismatch::Undefined,
    },
    Implementation {
        name: "nccl over its double, whose calls go on in threads of its own",
        make: make_lazy_nccl,
        size_max: 8,
        dead_peer: DeadPeer::FailsTheCall,
        mismatch: Mismatch::Undefined,
    },
];

fn make_tcp(size: usize) -> Vec<Box<dyn Group>> {
    local::form(size).into_iter().map(|group| Box::new(group) as Box<dyn Group>).collect()
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

/// What is needed for NCCL itself: a library, and two GPUs. Or why it cannot be had here.
fn gpus() -> Result<(Library, usize), GroupError> {
    let library = Library::find(None)?;
    Ok((library, CudaDevice::count()?))
}

/// NCCL itself, a GPU for each rank. (Ranks that share a GPU must be processes, each with its own NCCL_HOSTID.)
fn make_nccl_on_gpus(size: usize) -> Vec<Box<dyn Group>> {
    let (library, _) = gpus().expect("else this row is skipped");
    let nccl = |index| Nccl {
        library: library.clone(),
        device: Arc::new(CudaDevice::new(index).expect("the GPU was counted")),
        also_alone: true,
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
    let on_gpus = Implementation {
        name: "nccl on GPUs",
        make: make_nccl_on_gpus,
        size_max,
        dead_peer: DeadPeer::FailsTheCall,
        mismatch: Mismatch::Undefined,
    };
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
    // The contract measures how long an abort takes: one at a time.
    arguments.test_threads.get_or_insert(1);
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
