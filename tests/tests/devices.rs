//! What a user is told of devices: what is here, what a run asks for and does not get, what a step needs. A test double
//! of the NVIDIA driver stands for drivers that this machine does not have; nothing is computed on it.

use std::os::unix::fs::symlink;
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
    std::fs::create_dir_all(&driver).expect("a folder can be made");
    let double = binary("deps/liblsgan_cuda_double.so");
    // Several calls of one test find it there.
    let _ = symlink(double, driver.join("libcuda.so.1"));
    command
        .env("LD_LIBRARY_PATH", driver)
        .env("CUDA_DOUBLE_GPUS", gpus)
        .env("CUDA_DOUBLE_VERSION", version)
        .env_remove("CUDA_VISIBLE_DEVICES");
    lab.start_command(label, command)
}

/// The arguments of a run on a device.
fn run_of(lab: &Lab, device: &str) -> Vec<String> {
    lab.run_arguments(&["--set", &format!("compute.device={device}")])
}

#[test]
fn a_probe_says_what_is_here_and_what_a_step_needs() {
    let lab = Lab::new();
    let ended = probe_with_driver(&lab, "0", "12040", &run_of(&lab, "cpu")).succeeds();
    let ended = ended.expect_out(&["libtorch  2.11.0", "device    cpu: ", "numerics  probe ", "memory    "]);
    let ended = ended.expect_out(&["virtual ranks of", "MiB"]);
    ended.expect_out(&["GPUs      none: the NVIDIA driver shows no GPU to this process", "NCCL      none: "]);
}

#[test]
fn a_probe_shows_the_drivers_gpus_with_memory_and_peers() {
    let lab = Lab::new();
    probe_with_driver(&lab, "2", "12040", &[]).succeeds().expect_out(&[
        "driver    supports CUDA 12.4",
        "GPU 0     Double GPU, 8.0 GiB, sm_90, reaches [1] directly",
        "GPU 1     Double GPU, 8.0 GiB, sm_90, reaches [0] directly",
        // auto goes on without, and says why.
        "warning   trains on the CPU: this libtorch has no CUDA part",
    ]);
}

#[test]
fn a_device_that_cannot_be_used_is_named_with_what_is_here_and_what_is_needed() {
    let too_old = "compute.device is cuda, but the NVIDIA driver is too old: it supports CUDA 11.8, and libtorch needs 12.0 \
                   or newer";
    let no_such =
        "compute.device is cuda:2, but there is no GPU 2: this process sees 2, which are counted from 0";
    let no_cuda = "this libtorch has no CUDA part";
    for (device, gpus, version, words) in [
        ("cuda", "1", "11080", &[too_old, "compute.device: cpu trains without"][..]),
        ("cuda:2", "2", "12040", &[no_such]),
        ("cuda", "1", "12040", &[no_cuda, "LIBTORCH_VARIANT=cuda"]),
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
            ("0", "12040"),
            "compute.device is cuda, but the NVIDIA driver shows no GPU to this process",
        ),
        ("cuda:7", ("1", "12040"), "compute.device is cuda:7, but there is no GPU 7: this process sees 1"),
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
