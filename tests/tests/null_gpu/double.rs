//! The null GPU, and our binaries on it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use lsgan_tests::binaries::{binary, root};
use lsgan_tests::lab::pictures;
use lsgan_tests::process::Ended;
use lsgan_tests::{Lab, Process};

use crate::log::Log;

/// The libtorch of this build, which cargo names.
fn libtorch() -> Option<PathBuf> {
    std::env::var_os("LIBTORCH").map(PathBuf::from)
}

/// Whether this build is one with the complete libtorch.
pub fn possible() -> Result<(), String> {
    let is_complete = |folder: &PathBuf| {
        folder.join("lib/libtorch_cuda.so").exists()
            && folder.join("../nvidia/cudnn/include/cudnn.h").exists()
    };
    match libtorch().filter(is_complete) {
        Some(_) => Ok(()),
        None => Err("which need the complete libtorch: `make test-gpu` installs it and runs them".to_owned()),
    }
}

/// Builds the null GPU, once. Returns its folder.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = binary("lsgan").with_file_name("null-gpu");
        let mut build = Command::new(root().join("tests/null-gpu/build"));
        build.arg(&folder).arg(libtorch().expect("the tests were found to be possible"));
        let built = build.output().expect("the script can be started");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        folder
    })
}

/// One of our binaries on the null GPU, whose log is in the lab.
pub fn command(lab: &Lab, name: &str, variables: &[(&str, &str)]) -> Command {
    let folder = folder();
    let mut command = Command::new(root().join("tests/null-gpu/run"));
    command.arg(folder).arg(libtorch().expect("the tests were found to be possible")).arg(binary(name));
    command.env("NULL_GPU_LOG", prefix(lab)).envs(variables.iter().copied());
    command
}

pub fn prefix(lab: &Lab) -> PathBuf {
    lab.path("null-gpu")
}

/// What the null GPU has logged for the lab's processes.
pub fn log_of(lab: &Lab) -> Log {
    Log::read(&prefix(lab))
}

/// A run's file, with overrides.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    /// As `configs/quickstart.yaml`.
    pub config: &'a str,
    /// As `precision=bf16`.
    pub sets: &'a [&'a str],
    /// More variables of its processes.
    pub variables: &'a [(&'a str, &'a str)],
}

impl Setup<'_> {
    /// The arguments of a coordinator of this run, in the lab's directory.
    pub fn arguments(&self, lab: &Lab) -> Vec<String> {
        let file = root().join(self.config);
        let text =
            std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        // A run's own paths are taken from the folder where it runs, which is the lab's.
        let pictures =
            text.contains("idx:").then(|| format!("data.source.idx.images={}", pictures().display()));
        let to = format!("checkpoint.to={}", lab.run_dir().display());
        let quiet = ["compute.device=cuda", "checkpoint.every=0", "samples.every=0", "evaluate.every=0"]
            .map(str::to_owned);
        let sets = quiet.into_iter().chain([to]).chain(pictures);
        let sets = sets.chain(self.sets.iter().map(|&set| set.to_owned()));
        let sets = sets.flat_map(|set| ["--set".to_owned(), set]);
        ["--config".to_owned(), file.display().to_string()].into_iter().chain(sets).collect()
    }

    /// `lsgan up` of it.
    pub fn start(&self, lab: &Lab, workers: u32) -> Process {
        let mut command = command(lab, "lsgan", self.variables);
        command.args(["up", "--workers", &workers.to_string()]).args(self.arguments(lab));
        lab.start_command("lsgan up", command)
    }

    /// Trains to the end with one worker.
    #[track_caller]
    pub fn train(&self) -> Trained {
        let lab = Lab::new();
        let ended = self.start(&lab, 1).succeeds();
        Trained { log: log_of(&lab), lab, ended }
    }
}

/// A run that has ended well.
pub struct Trained {
    pub lab: Lab,
    pub ended: Ended,
    pub log: Log,
}

impl Trained {
    /// All that its processes have logged.
    pub fn said(&self) -> String {
        let logs = std::fs::read_dir(self.lab.run_dir().join("logs")).into_iter().flatten().flatten();
        let logs = logs.map(|log| std::fs::read_to_string(log.path()).unwrap_or_default());
        [self.ended.out.clone(), self.ended.err.clone()]
            .into_iter()
            .chain(logs)
            .collect::<Vec<_>>()
            .join("\n")
    }
}
