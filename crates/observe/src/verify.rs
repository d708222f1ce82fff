//! Whether a snapshot is whole, as `lsgan checkpoints verify` finds out: every byte of it is read, and the hashes are compared.
//!
//! It reads the store and nothing else, on a thread on which that may take its time; of the training nothing waits for it. One snapshot
//! is read at a time, since disks and networks are the run's, too.

use std::time::Instant;

use axum::http::HeaderMap;
use lsgan_journal::JournalError;
use lsgan_launch::Places;
use lsgan_snapshots::{Error, Store};
use lsgan_spec::{Step, chain};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::actions::SITE;
use crate::hub::Run;

/// Whether a page of another site has a browser ask. It could not read the answer, and could have this server read gigabytes.
pub(crate) fn is_of_another_site(headers: &HeaderMap) -> bool {
    let site = headers.get(SITE).and_then(|site| site.to_str().ok());
    site.is_some_and(|site| !["same-origin", "none"].contains(&site))
}

/// Reads a snapshot of a run. Blocks for as long as that takes: call it on a thread of a runtime on which that may be.
///
/// # Errors
/// The run's journal, which says where its snapshots are, cannot be read. What is wrong with the snapshot is an answer.
pub(crate) fn verify(run: &Run, step: Step) -> Result<Value, JournalError> {
    let begin = Instant::now();
    let place = place(run)?;
    let read = Store::open_existing(&place).and_then(|store| Handle::current().block_on(store.verify(step)));
    let took_ms = begin.elapsed().as_secs_f64() * 1000.0;
    Ok(match read {
        Ok(manifest) => {
            let len_bytes: u64 = manifest.parts.iter().map(|part| part.len_bytes).sum();
            json!({
                "step": step.0, "state": "whole", "took_ms": took_ms, "parts": manifest.parts.len(), "len_bytes": len_bytes,
            })
        }
        Err(error) => json!({
            "step": step.0, "state": state(&error), "took_ms": took_ms, "why": chain(&error),
        }),
    })
}

/// Where the run's snapshots are.
fn place(run: &Run) -> Result<String, JournalError> {
    let bucket = match run.dir.join("snapshots").is_dir() {
        true => None,
        false => run.journal()?.known()?.fact("spec_yaml").and_then(Places::bucket_of),
    };
    Ok(bucket.unwrap_or_else(|| run.dir.display().to_string()))
}

/// In a word. A store that does not answer says nothing of the snapshot.
fn state(error: &Error) -> &'static str {
    match error {
        Error::NoSnapshot { .. } => "missing",
        error if error.is_damage() => "damaged",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn another_sites_page_cannot_have_a_snapshot_read() {
        let says =
            |site| HeaderMap::from_iter([(HeaderName::from_static(SITE), HeaderValue::from_static(site))]);
        assert!(["cross-site", "same-site"].into_iter().all(|site| is_of_another_site(&says(site))));
        assert!(!["same-origin", "none"].into_iter().any(|site| is_of_another_site(&says(site))));
        assert!(!is_of_another_site(&HeaderMap::new()), "what is no browser does not say");
    }
}
