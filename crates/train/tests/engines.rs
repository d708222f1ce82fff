//! The table of engines, each held to the whole contract.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use lsgan_spec::{CudaGraphs, RunSpec};
use lsgan_train::engine::contract::{CASES, Row};
use lsgan_train::rehearsal::Rehearsal;
use lsgan_train::{Device, Replica, device};

const HOST: Row =
    Row { name: "host", make: host, reference: host, has_queue: false, records: false, is_narrow: false };
const QUEUE: Row = Row { has_queue: true, ..HOST };

const ON_A_CPU: &[Row] = &[
    HOST,
    Row { name: "host, in 32 bits", make: narrow, is_narrow: true, ..HOST },
    Row { name: "device, on the CPU", make: call_by_call, ..QUEUE },
    Row { name: "device, on the CPU, in 32 bits", make: narrow_call_by_call, is_narrow: true, ..QUEUE },
    Row { name: "graphs, on the CPU", make: recorded, records: true, ..QUEUE },
    Row {
        name: "graphs, on the CPU, in 32 bits",
        make: narrow_recorded,
        records: true,
        is_narrow: true,
        ..QUEUE
    },
];

/// A GPU has other bits than a CPU, and the same bits with and without graphs.
const ON_A_GPU: &[Row] = &[
    Row { name: "device, on a GPU", make: cuda, reference: cuda, ..QUEUE },
    Row {
        name: "device, on a GPU, in 32 bits",
        make: narrow_cuda,
        reference: cuda,
        is_narrow: true,
        ..QUEUE
    },
    Row {
        name: "graphs, on a GPU",
        make: cuda_graphs,
        reference: cuda,
        records: true,
        is_narrow: true,
        ..QUEUE
    },
];

fn rehearsed(spec: &RunSpec, rehearsal: Option<Rehearsal>) -> Replica {
    Replica::builder(spec).rehearsal(rehearsal).build().expect("the spec is valid")
}

fn host(spec: &RunSpec) -> Replica {
    rehearsed(spec, None)
}

fn narrow(spec: &RunSpec) -> Replica {
    Replica::builder(spec).in_32_bits_from(0).build().expect("the spec is valid")
}

fn narrow_rehearsed(spec: &RunSpec, rehearsal: Rehearsal) -> Replica {
    let builder = Replica::builder(spec).in_32_bits_from(0).rehearsal(Some(rehearsal));
    builder.build().expect("the spec is valid")
}

fn narrow_call_by_call(spec: &RunSpec) -> Replica {
    narrow_rehearsed(spec, Rehearsal::CallByCall)
}

fn narrow_recorded(spec: &RunSpec) -> Replica {
    narrow_rehearsed(spec, Rehearsal::Recorded)
}

fn call_by_call(spec: &RunSpec) -> Replica {
    rehearsed(spec, Some(Rehearsal::CallByCall))
}

fn recorded(spec: &RunSpec) -> Replica {
    rehearsed(spec, Some(Rehearsal::Recorded))
}

fn on_cuda(spec: &RunSpec, graphs: CudaGraphs, small: usize) -> Replica {
    let (mut spec, gpu) = (spec.clone(), Device::Cuda(0));
    spec.compute.cuda_graphs = graphs;
    device::configure(gpu, spec.precision, &spec.compute).expect("a GPU has every precision");
    Replica::builder(&spec).device(gpu).in_32_bits_from(small).build().expect("the spec is valid")
}

fn cuda(spec: &RunSpec) -> Replica {
    on_cuda(spec, CudaGraphs::Off, usize::MAX)
}

fn narrow_cuda(spec: &RunSpec) -> Replica {
    on_cuda(spec, CudaGraphs::Off, 0)
}

fn cuda_graphs(spec: &RunSpec) -> Replica {
    on_cuda(spec, CudaGraphs::Auto, 0)
}

/// What cannot be recorded, or gives other bits, is not used, and the notice says so.
fn a_recorder_that_fails_is_not_used() -> Result<(), Failed> {
    use lsgan_train::rehearsal::runs::{ALL, run_halves, small_dcgan};
    for (rehearsal, words) in [
        (Rehearsal::RecordsNothing, "this stand-in records nothing"),
        (Rehearsal::ReplaysOtherBits, "other bits than the same step queued call by call"),
    ] {
        let spec = small_dcgan();
        let (mut members, mut reference) = ([rehearsed(&spec, Some(rehearsal))], [host(&spec)]);
        run_halves(&mut members, &[ALL], 12);
        run_halves(&mut reference, &[ALL], 12);
        assert_eq!(members[0].state_hash(), reference[0].state_hash());
        let notice = members[0].take_notice().expect("it says so");
        assert!(notice.is_warning && notice.text.contains(words), "{}", notice.text);
        assert_eq!(members[0].take_notice(), None, "once");
    }
    Ok(())
}

fn main() -> ExitCode {
    let no_gpu = device::usable().err();
    if let Some(why) = &no_gpu {
        eprintln!("skipped, on a GPU: {why}");
    }
    let trials = |rows: &'static [Row], is_skipped: bool| {
        let trial = move |row: &'static Row, (name, case): (&str, fn(&Row))| {
            let run = move || {
                case(row);
                Ok(())
            };
            Trial::test(format!("{}: {name}", row.name), run).with_ignored_flag(is_skipped)
        };
        rows.iter().flat_map(move |row| CASES.iter().map(move |&case| trial(row, case)))
    };
    let mut all: Vec<_> = trials(ON_A_CPU, false).chain(trials(ON_A_GPU, no_gpu.is_some())).collect();
    all.push(Trial::test("a_recorder_that_fails_is_not_used", a_recorder_that_fails_is_not_used));
    libtest_mimic::run(&Arguments::from_args(), all).exit_code()
}
