//! What a user is told of devices: what is here, what a run asks for and does not get, what a step needs. A test double
//! of the NVIDIA driver stands for drivers that this machine does not have; nothing is computed on it.

use std::os::unix::fs::symlink;
use std::process::Command;

use lsgan_tests::binaries::{binary, root};
use lsgan_tests::{Lab, Process};

/// A worker's command that sees the double as the driver, with so many GPUs and that version of CUDA.
fn probe_with_driver(lab: &Lab, gpus: &str, version: &str, more: &[&str]) -> Process {
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

fn run_of(lab: &Lab, device: &str) -> Vec<String> {
    let set = format!("compute.device={device}");
    // `--config FILE --set …`; the run directory is no matter of a probe.
    lab.run_arguments(&["--set", &set])
}

fn borrowed(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

#[test]
fn a_probe_says_what_is_here_and_what_a_step_needs() {
    let lab = Lab::new();
    let arguments = run_of(&lab, "cpu");
    let ended = probe_with_driver(&lab, "0", "12040", &borrowed(&arguments)).wait().expect_code(0);
    let words =
        ["libtorch  2.11.0", "device    cpu: ", "numerics  probe ", "memory    ", "virtual ranks of", "MiB"];
    let ended = ended.expect_out(&words);
    ended.expect_out(&["GPUs      none: the NVIDIA driver shows no GPU to this process", "NCCL      none: "]);
}

#[test]
fn a_probe_shows_the_drivers_gpus_with_memory_and_peers() {
    let lab = Lab::new();
    let ended = probe_with_driver(&lab, "2", "12040", &[]).wait().expect_code(0);
    ended.expect_out(&[
        "driver    supports CUDA 12.4",
        "GPU 0     Double GPU, 8.0 GiB, sm_90, reaches [1] directly",
        "GPU 1     Double GPU, 8.0 GiB, sm_90, reaches [0] directly",
        // auto goes on without, and says why.
        "warning   trains on the CPU: this libtorch has no CUDA part",
    ]);
}

#[test]
fn a_driver_that_is_too_old_is_named_with_what_is_needed() {
    let lab = Lab::new();
    let arguments = run_of(&lab, "cuda");
    let ended = probe_with_driver(&lab, "1", "11080", &borrowed(&arguments)).wait().expect_code(1);
    let sentence = "compute.device is cuda, but the NVIDIA driver is too old: it supports CUDA 11.8, and libtorch needs \
                    12.0 or newer";
    ended.expect_one_error().expect_err(&[sentence, "compute.device: cpu trains without"]);
}

#[test]
fn an_index_that_is_not_there_is_named_with_those_that_are() {
    let lab = Lab::new();
    let arguments = run_of(&lab, "cuda:2");
    let ended = probe_with_driver(&lab, "2", "12040", &borrowed(&arguments)).wait().expect_code(1);
    let sentence =
        "compute.device is cuda:2, but there is no GPU 2: this process sees 2, which are counted from 0";
    ended.expect_one_error().expect_err(&[sentence]);
}

#[test]
fn a_libtorch_without_cuda_is_said_to_be_one() {
    let lab = Lab::new();
    let arguments = run_of(&lab, "cuda");
    let ended = probe_with_driver(&lab, "1", "12040", &borrowed(&arguments)).wait().expect_code(1);
    ended.expect_one_error().expect_err(&["this libtorch has no CUDA part", "LIBTORCH_VARIANT=cuda"]);
}

#[test]
fn a_worker_of_a_run_on_gpus_ends_with_what_is_missing_here() {
    let lab = Lab::new();
    let coordinator = lab.coordinator(&["--set", "compute.device=cuda"]);
    let ended = lab.worker("anna", &coordinator.address).wait().expect_code(2);
    ended.expect_one_error().expect_err(&["compute.device is cuda, but "]);
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
        let ended = with_driver(&lab, "up", command, driver).wait().expect_code(2).expect_one_error();
        let ended = ended.expect_err(&[words]);
        assert_eq!(ended.err.matches("compute.device is").count(), 1, "{ended}");
        assert!(ended.out.is_empty() && !lab.run_dir().exists(), "nothing was started; {ended}");
    }
}

#[test]
fn tf32_on_a_cpu_is_refused() {
    let lab = Lab::new();
    let coordinator = lab.coordinator(&["--set", "compute.device=cpu", "--set", "precision=tf32"]);
    let ended = lab.worker("anna", &coordinator.address).wait().expect_code(2);
    ended.expect_one_error().expect_err(&["precision is tf32, which a CPU does not have"]);
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
    let mut limited = Command::new("sh");
    let worker = binary("worker").display().to_string();
    limited.args(["-c", "ulimit -v 2000000; exec \"$@\"", "sh", &worker]);
    limited.args(["--coordinator", &coordinator.address, "--name", "anna", "--peer-listen", "127.0.0.1:0"]);
    let ended = lab.start_command("anna", limited).wait().expect_one_error();
    ended.expect_err(&[
        "the CPU has too little memory for",
        "of batch.per_rank 65536",
        "Lower batch.per_rank",
    ]);
}
