//! Scores a snapshot for the coordinator: `lsgan eval` as a child, at the lowest priority, whose line goes to the coordinator as
//! it is.
//!
//! A process and no thread: so nothing of it reaches the training, neither libtorch's settings nor its memory nor a crash, and
//! when this worker is needed a kill ends it at once, in whatever it is.

use std::pin::Pin;
use std::process::{ExitStatus, Stdio};

use lsgan_console::Failure;
use lsgan_launch::sibling;
use lsgan_spec::EvaluateSpec;
use lsgan_wire::v1;
use tokio::process::Command;

/// What comes of it. The child is killed when this is dropped.
pub type Scoring = Pin<Box<dyn Future<Output = v1::Scored> + Send>>;

/// Scores the snapshot of a step in the run's store.
pub fn score(store: &str, asked: &EvaluateSpec, step: u64) -> Scoring {
    let arguments = arguments(store, asked, step);
    Box::pin(async move {
        tracing::info!(step, "scoring a snapshot");
        match run(arguments).await {
            Ok(row) => v1::Scored { step, row, why_not: String::new() },
            Err(failure) => {
                tracing::warn!(step, "no score: {}", failure.text);
                v1::Scored { step, row: String::new(), why_not: failure.text }
            }
        }
    })
}

fn arguments(store: &str, asked: &EvaluateSpec, step: u64) -> Vec<String> {
    let (step, samples) = (step.to_string(), asked.samples.to_string());
    let weights = String::from(asked.weights.clone());
    // One thread: the machine may have other workers, which train. The score does not depend on it.
    let always = ["eval", "--row", "--threads", "1", "--run", store, "--step", &step, "--samples", &samples];
    let metrics = asked.named_metrics().map(|metrics| {
        let names: Vec<_> = metrics.into_iter().map(|metric| metric.word()).collect();
        ["--metrics".to_owned(), names.join(",")]
    });
    let all = always.into_iter().chain(["--weights", &weights]).map(str::to_owned);
    all.chain(metrics.into_iter().flatten()).collect()
}

/// The lines that it prints, one for each of the weights.
async fn run(arguments: Vec<String>) -> Result<String, Failure> {
    let mut command = Command::new(sibling("lsgan")?);
    // In a group of its own: Ctrl-C on the terminal is this worker's to hear. Nothing is done between fork and exec, so that the
    // system need not copy this process, which may hold much.
    command.args(arguments).stdin(Stdio::null()).process_group(0).kill_on_drop(true);
    let output = command.output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(Failure::failed(error_of(&said, output.status)));
    }
    for warning in said.lines() {
        tracing::info!("lsgan eval: {warning}");
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// What it says that went wrong.
fn error_of(said: &str, status: ExitStatus) -> String {
    match said.rsplit_once("error: ") {
        Some((_, error)) => error.trim().to_owned(),
        None => format!("lsgan eval ended with {status}"),
    }
}

#[cfg(test)]
mod tests {
    use lsgan_spec::ScoredWeights;

    use super::*;

    #[test]
    fn the_child_is_asked_for_what_the_runs_file_asks_for() {
        let asked = EvaluateSpec { metrics: "kid, fid".to_owned(), samples: 10, ..EvaluateSpec::default() };
        assert_eq!(
            arguments("runs/a", &asked, 500).join(" "),
            "eval --row --threads 1 --run runs/a --step 500 --samples 10 --weights ema --metrics kid,fid"
        );
        let weights = ScoredWeights::try_from("ema,raw".to_owned()).expect("they are weights");
        let both = EvaluateSpec { weights, samples: 10, ..EvaluateSpec::default() };
        assert!(arguments("runs/a", &both, 500).ends_with(&["--weights".to_owned(), "ema,raw".to_owned()]));
    }
}
