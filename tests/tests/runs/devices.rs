//! What a user is told of devices: what is here, what a run asks for and does not get, what a step needs. A test double
//! of the NVIDIA driver stands for drivers that this machine does not have; nothing is computed on it.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use lsgan_tests::binaries::{binary, root};
use lsgan_tests::lab::shell;
use lsgan_tests::{Lab, Process};

/// A worker's command that sees the double as the driver, with so many GPUs and that version of CUDA.
fn probe_with_driver(lab: &Lab, gpus: &str, version: &str, more: &[String]) -> Process {
    let mut command = Command::new(binary("worker"));
    command.arg("--probe").args(more);
    with_driver(lab, "probe", command, (gpus, version))
}

fn with_driver(lab: &Lab, label: &str, mut command: Command, (gpus, version): (&str, &str)) -> Process {
    let driver = lab.path("driver");
    put_driver(&driver.join("libcuda.so.1"));
    command
        .env("LD_LIBRARY_PATH", driver)
        .env("CUDA_DOUBLE_GPUS", gpus)
        .env("CUDA_DOUBLE_VERSION", version)
        .env_remove("CUDA_VISIBLE_DEVICES");
    lab.start_command(label, command)
}

/// Several calls of one test find it there.
fn put_driver(file: &Path) {
    std::fs::create_dir_all(file.parent().expect("it is in a folder")).expect("a folder can be made");
    let _ = symlink(binary("deps/liblsgan_cuda_double.so"), file);
}

/// What is said where the driver would do and libtorch does not: a complete libtorch finds that the double cannot compute,
/// the lean one has nothing to find that with.
fn useless(lab: &Lab) -> &'static str {
    let alone = lab.start("worker", ["--probe"]).succeeds();
    if alone.out.contains("NCCL      none") { "this libtorch has no CUDA part" } else { "cannot use the GPU" }
}

/// The arguments of a run on a device.
fn run_of(lab: &Lab, device: &str) -> Vec<String> {
    lab.run_arguments(&["--set", &format!("compute.device={device}")])
}

#[test]
fn a_probe_says_what_is_here_and_what_a_step_needs() {
    let lab = Lab::new();
    let ended = probe_with_driver(&lab, "0", "13000", &run_of(&lab, "cpu")).succeeds();
    let ended = ended.expect_out(&["libtorch  2.11.0", "device    cpu: ", "numerics  probe ", "memory    "]);
    let ended = ended.expect_out(&["virtual ranks of", "MiB"]);
    ended.expect_out(&["GPUs      none: the NVIDIA driver shows no GPU to this process", "NCCL      "]);
}

#[test]
fn a_probe_shows_the_drivers_gpus_with_memory_and_peers() {
    let lab = Lab::new();
    probe_with_driver(&lab, "2", "13010", &[]).succeeds().expect_out(&[
        "driver    supports CUDA 13.1",
        "GPU 0     Double GPU, 8.0 GiB, sm_90, reaches [1] directly",
        "GPU 1     Double GPU, 8.0 GiB, sm_90, reaches [0] directly",
        // auto goes on without, and says why.
        "warning   trains on the CPU: ",
        useless(&lab),
    ]);
}

/// A folder of CUDA's toolkit, to link with, is where the loader looks first.
#[test]
fn a_stub_of_the_driver_is_named_and_not_taken_for_it() {
    let lab = Lab::new();
    // As the loader sees it, another file.
    let stub = lab.path("driver").join("libcuda.so");
    std::fs::create_dir_all(lab.path("driver")).expect("a folder can be made");
    std::fs::copy(binary("deps/liblsgan_cuda_double.so"), &stub).expect("it can be copied");
    let named = format!("{} as libcuda.so and ", stub.display());
    let words = [&named, "a stub of CUDA's toolkit", "LD_LIBRARY_PATH"];
    probe_with_driver(&lab, "1", "13000", &run_of(&lab, "cuda")).fails(1, &words);
    // Two names of one file are one driver.
    let lab = Lab::new();
    put_driver(&lab.path("driver").join("libcuda.so"));
    probe_with_driver(&lab, "1", "13000", &run_of(&lab, "cuda")).fails(1, &[useless(&lab)]);
}

/// pip's libtorch says in a file for which CUDA it was built; a driver must know that CUDA's major version.
#[test]
fn a_driver_that_is_too_old_for_this_libtorch_is_told_what_it_needs() {
    let lab = Lab::new();
    let built_for_13 = std::fs::read_to_string(root().join(".libtorch/version.py"))
        .is_ok_and(|text| text.contains("cuda: Optional[str] = '13."));
    if !built_for_13 {
        eprintln!("not tried: this libtorch is not built for CUDA 13");
        return;
    }
    let words = [
        "it supports CUDA 12.9, and this libtorch needs 13.0 or newer",
        "Update the driver to release 580 or newer, or set LIBTORCH",
        "built for CUDA 12.9 or older",
    ];
    probe_with_driver(&lab, "1", "12090", &run_of(&lab, "cuda")).fails(1, &words);
}

/// With `auto` a run goes on without the GPU, and `lsgan up` says so and why.
#[test]
fn a_run_that_trains_on_the_cpu_though_there_is_a_gpu_says_why() {
    let lab = Lab::new();
    let mut command = Command::new(binary("lsgan"));
    command.args(["up", "--workers", "1"]).args(run_of(&lab, "auto")).args(["--set", "steps=60"]);
    let ended = with_driver(&lab, "up", command, ("1", "11080")).succeeds();
    ended.expect_err(&["it trains on the CPU: the NVIDIA driver is too old: it supports CUDA 11.8"]);
}

#[test]
fn a_device_that_cannot_be_used_is_named_with_what_is_here_and_what_is_needed() {
    let too_old = "compute.device is cuda, but the NVIDIA driver is too old: it supports CUDA 11.8, and this libtorch needs";
    let no_such =
        "compute.device is cuda:2, but there is no GPU 2: this process sees 2, which are counted from 0";
    for (device, gpus, version, words) in [
        ("cuda", "1", "11080", &[too_old, "compute.device: cpu trains without"][..]),
        ("cuda:2", "2", "13000", &[no_such]),
        ("cuda", "1", "13000", &[useless(&Lab::new())]),
    ] {
        let lab = Lab::new();
        probe_with_driver(&lab, gpus, version, &run_of(&lab, device)).fails(1, words);
    }
}

#[test]
fn a_worker_of_a_run_on_gpus_ends_with_what_is_missing_here() {
    let lab = Lab::new();
    let coordinator = lab.coordinator(&["--set", "compute.device=cuda"]);
    lab.worker("anna", &coordinator.address).fails(2, &["compute.device is cuda, but "]);
}

/// Another try changes nothing, so there is none: no coordinator is started, and no worker again and again.
#[test]
fn lsgan_up_of_a_run_on_a_gpu_that_is_not_here_is_refused_once() {
    for (device, driver, words) in [
        ("cuda", ("1", "11080"), "compute.device is cuda, but the NVIDIA driver is too old"),
        (
            "cuda",
            ("0", "13000"),
            "compute.device is cuda, but the NVIDIA driver shows no GPU to this process",
        ),
        ("cuda:7", ("1", "13000"), "compute.device is cuda:7, but there is no GPU 7: this process sees 1"),
    ] {
        let lab = Lab::new();
        let mut command = Command::new(binary("lsgan"));
        command.args(["up", "--workers", "2"]).args(run_of(&lab, device));
        let ended = with_driver(&lab, "up", command, driver).fails(2, &[words]);
        assert_eq!(ended.err.matches("compute.device is").count(), 1, "{ended}");
        assert!(ended.out.is_empty() && !lab.run_dir().exists(), "nothing was started; {ended}");
    }
}

#[test]
fn tf32_on_a_cpu_is_refused() {
    let lab = Lab::new();
    let coordinator = lab.coordinator(&["--set", "compute.device=cpu", "--set", "precision=tf32"]);
    let words = ["precision is tf32, which a CPU does not have"];
    lab.worker("anna", &coordinator.address).fails(2, &words);
}

#[test]
fn too_little_memory_is_an_error_that_names_the_batch() {
    let lab = Lab::new();
    let config = root().join("configs/gaussian-ring-lsgan.yaml").display().to_string();
    let to = format!("checkpoint.to={}", lab.run_dir().display());
    // 65,536 points through layers of 512 numbers: 128 MiB for each of 48, where the process may have two GiB.
    let of_both =
        |field: &str| ["generator", "discriminator"].map(|network| format!("model.{network}.mlp.{field}"));
    let [[g_width, d_width], [g_depth, d_depth]] = ["width=512", "depth=8"].map(of_both);
    let sets = [&to, &g_width, &d_width, &g_depth, &d_depth, "batch.per_rank=65536", "compute.device=cpu"];
    let sets = sets.iter().flat_map(|set| ["--set", set]);
    let arguments: Vec<_> = ["--config", &config].into_iter().chain(sets).collect();
    let coordinator = lab.coordinator_of(&arguments);
    let limited = shell("ulimit -v 2000000;", "");
    let ended = lab.worker_under(limited, "anna", &coordinator.address).wait().expect_one_error();
    let too_little = "the CPU has too little memory for";
    ended.expect_err(&[too_little, "of batch.per_rank 65536", "Lower batch.per_rank"]);
}
