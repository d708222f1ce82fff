//! Between the wire's messages and the rows of the journal.

use lsgan_control::report::{self, PublishedSnapshot};
use lsgan_journal::{CorruptRecord, FinalFile, Snapshot, StepRow};
use lsgan_spec::{BatchSpec, scalars};
use lsgan_wire::v1;

/// Longer than any step boundary stands still: a day. The worker alone knows how long it did.
const BLOCKED_US_MAX: u64 = 24 * 3600 * 1_000_000;

/// The journal's form of a row of metrics.
pub fn step_row(row: &v1::StepMetrics) -> StepRow {
    StepRow { step: row.step, wall_ms: row.wall_ms, scalars: row.scalars.clone() }
}

/// The wire's form of a row of metrics.
pub fn step_metrics(row: &StepRow, batch: BatchSpec) -> v1::StepMetrics {
    let row = v1::StepMetrics { step: row.step, wall_ms: row.wall_ms, scalars: row.scalars.clone() };
    with_derived(row, batch)
}

/// A row of metrics with the scalars that follow from it.
pub fn with_derived(mut row: v1::StepMetrics, batch: BatchSpec) -> v1::StepMetrics {
    let rate = row.scalars.get(scalars::IMAGES_PER_S.name).copied();
    let derived = scalars::derived(row.step, batch.global(), rate);
    row.scalars.extend(derived.map(|(scalar, value)| (scalar.name.to_owned(), value)));
    row
}

/// The journal's form of a snapshot.
pub fn snapshot(written: &PublishedSnapshot) -> Snapshot {
    Snapshot {
        step: written.step.0,
        url: written.url.clone(),
        len_bytes: written.len_bytes,
        blake3: written.blake3.clone(),
        blocked_ms: written.blocked_us.min(BLOCKED_US_MAX) as f64 / 1000.0,
    }
}

/// The wire's form of a corrupt record.
pub fn corrupt(record: &CorruptRecord) -> v1::CorruptRecord {
    let CorruptRecord { record, key, reason, step } = record.clone();
    v1::CorruptRecord { record, key, reason, step }
}

/// The journal's form of a corrupt record.
pub fn corrupt_row(record: &v1::CorruptRecord) -> CorruptRecord {
    let v1::CorruptRecord { record, key, reason, step } = record.clone();
    CorruptRecord { record, key, reason, step }
}

/// The wire's form of a final file that a worker reports.
pub fn written(file: &report::FinalFile) -> v1::FinalFile {
    let report::FinalFile { name, url, blake3 } = file.clone();
    v1::FinalFile { name, url, blake3 }
}

/// The wire's form of a final file.
pub fn final_file(FinalFile { name, url, blake3 }: FinalFile) -> v1::FinalFile {
    v1::FinalFile { name, url, blake3 }
}
