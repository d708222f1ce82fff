//! Progress for a Kubeflow TrainJob, whose status then shows percent, time left and metrics: [`TrainJob`].
//!
//! Kubeflow Trainer (from 2.2 on, with its feature gate `TrainJobStatus`) says in three variables where a status is posted, and
//! where the certificate of its authority and a token are. Both files are renewed in place, so they are read for each report.
//! Source: the user guide "TrainJob Progress and Training Metrics" of kubeflow/trainer, and its proposal 2779.
//!
//! The run never waits for it, but for [`LAST_WITHIN`] at its end: a report that fails is told, once until one succeeds again.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use lsgan_console::TimeLeft;
use lsgan_spec::chain;
use lsgan_wire::v1;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::post::{self, post};
use crate::status::StatusFeed;

/// The URL that statuses are posted to.
pub const URL: &str = "KUBEFLOW_TRAINER_SERVER_URL";
/// The path of the certificate of the authority that the server's is signed by, in PEM.
pub const AUTHORITY: &str = "KUBEFLOW_TRAINER_SERVER_CA_CERT";
/// The path of the token that proves which job a report is of.
pub const TOKEN: &str = "KUBEFLOW_TRAINER_SERVER_TOKEN";

/// Between two reports; Kubeflow asks for no more than one in 5 s.
const EVERY: Duration = Duration::from_secs(5);
/// How long a report may take.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// How long the end of the run waits for the last report.
pub const LAST_WITHIN: Duration = Duration::from_secs(5);

/// Where the progress of this coordinator's run is reported.
#[derive(Debug)]
pub struct TrainJob {
    url: String,
    authority: PathBuf,
    token: PathBuf,
    every: Duration,
}

impl TrainJob {
    /// The TrainJob that these variables tell of; none where they are not set. A variable that is set alone is told.
    #[must_use]
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        let url = variable(URL)?;
        match (variable(AUTHORITY), variable(TOKEN)) {
            (Some(authority), Some(token)) => {
                Some(Self { url, authority: authority.into(), token: token.into(), every: EVERY })
            }
            _ => {
                tracing::warn!(
                    "{URL} is set without {AUTHORITY} and {TOKEN}: no progress is reported to a TrainJob"
                );
                None
            }
        }
    }

    /// The same with other pauses, for tests.
    #[must_use]
    pub fn every(self, every: Duration) -> Self {
        Self { every, ..self }
    }

    /// Reports the status in `feed` from time to time, and once more when the run has ended.
    pub async fn follow(self, feed: StatusFeed) {
        let (mut left, mut fails) = (TimeLeft::default(), false);
        let mut ended = false;
        loop {
            let status = feed.read().await;
            let report = report(&status, left.of(&status), SystemTime::now());
            match self.post(&report).await {
                Ok(()) => fails = false,
                Err(_) if fails => {}
                Err(why) => {
                    fails = true;
                    tracing::warn!("progress is not reported to the TrainJob, and the run goes on: {why}");
                }
            }
            if ended {
                return;
            }
            ended = timeout(self.every, feed.ended()).await.is_ok();
        }
    }

    async fn post(&self, report: &Value) -> Result<(), String> {
        let read =
            |path: &PathBuf| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
        let invalid = |path: &PathBuf, what| format!("{} has no {what}", path.display());
        let token = String::from_utf8(read(&self.token)?).map_err(|_| invalid(&self.token, "token"))?;
        let authority = reqwest::Certificate::from_pem_bundle(&read(&self.authority)?)
            .map_err(|_| invalid(&self.authority, "certificate in PEM"))?;
        let client = post::client(ANSWERED_WITHIN).tls_certs_only(authority);
        // The token is for this server alone.
        let client = client.https_only(true).no_proxy().build().map_err(|error| chain(&error))?;
        post(client.post(&self.url).bearer_auth(token.trim()), report).await
    }
}

/// A status as Kubeflow Trainer takes it: percent 0 to 100, seconds left, metrics as text.
fn report(status: &v1::RunStatus, left: Option<Duration>, now: SystemTime) -> Value {
    let metric = |name: &str, value: Value| json!({ "name": name, "value": value.to_string() });
    let scalars = status.metrics.iter().flat_map(|row| &row.scalars).filter(|(_, value)| value.is_finite());
    let mut metrics: Vec<Value> = scalars.map(|(name, &value)| metric(name, value.into())).collect();
    metrics.extend([metric("step", status.step.into()), metric("steps", status.steps.into())]);
    let mut trainer = json!({
        "metrics": metrics,
        "lastUpdatedTime": humantime::format_rfc3339_seconds(now).to_string(),
    });
    if let Some(percent) = (100 * status.step).checked_div(status.steps) {
        trainer["progressPercentage"] = percent.min(100).into();
    }
    if let Some(left) = left {
        trainer["estimatedRemainingSeconds"] = left.as_secs().min(i32::MAX as u64).into();
    }
    json!({ "trainerStatus": trainer })
}
