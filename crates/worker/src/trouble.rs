//! Reports to the coordinator what keeps a worker from training, for people who do not read this host's log.

use std::time::Duration;

use lsgan_wire::{Client, v1};

/// A coordinator that does not take it in this time is not waited for: the worker's own log has it as well.
const WITHIN: Duration = Duration::from_secs(2);

/// Tells the coordinator why the worker of this name cannot start. Nothing follows from it but what people are shown.
pub async fn report(mut client: Client, name: String, why: &str) {
    let report = v1::ReportTroubleRequest { name, why: why.to_owned() };
    match tokio::time::timeout(WITHIN, client.report_trouble(report)).await {
        Ok(Ok(_)) => {}
        Ok(Err(status)) => tracing::debug!("the coordinator does not take the report: {status}"),
        Err(_) => tracing::debug!("the coordinator takes no report in time"),
    }
}
