//! `lsgan status`: the state of a run.

use std::path::Path;

use comfy_table::{Table, presets};
use lsgan_console::progress::scored;
use lsgan_console::{Failure, clock, mebibytes, product};
use lsgan_journal::{OutcomeKind, wall_ms};
use lsgan_observe::alerts::Alert;
use lsgan_observe::summary::Summary;
use lsgan_spec::scalars::{self, Scalar};
use lsgan_wire::v1;
use serde_json::{Value, json};

use crate::live::{Args, Found};

/// Prints the status once; of a run that is not live, what its journal says.
///
/// # Errors
/// No such run, or a coordinator that cannot be reached.
pub async fn status(args: Args) -> Result<(), Failure> {
    let mut live = match args.target.find().await? {
        Found::Live(live) => live,
        Found::Away(away) if args.json => {
            return product!("{:#}", away.to_json());
        }
        Found::Away(away) => return product!("{away}"),
    };
    let mut status = live.status().await.map_err(|status| Failure::failed(status.message()))?;
    // Where the run is on this machine, its journal says more.
    let alerts = live.dir.as_deref().map(alerts).unwrap_or_default();
    if args.json {
        let mut object = to_json(&status);
        object["alerts"] = json!(alerts);
        return product!("{object:#}");
    }
    // What the journal says of an alert is of this moment; the coordinator's warning is of when it began.
    let is_told = |notice: &v1::Notice| alerts.iter().any(|a| notice.text.starts_with(&a.kind.heading()));
    status.notices.retain(|notice| !is_told(notice));
    print(&status)?;
    alerts.iter().try_for_each(|alert| product!("{}", alert.line()))
}

/// What a person should look at.
fn alerts(dir: &Path) -> Vec<Alert> {
    // A journal that cannot be read now is no reason for a status to fail.
    Summary::read("", dir, true, wall_ms()).map(|summary| summary.alerts).unwrap_or_default()
}

fn print(status: &v1::RunStatus) -> Result<(), Failure> {
    if status.phase() == v1::Phase::Starting {
        return product!("{}: starting: it reads the data set and looks at the snapshots", status.run);
    }
    product!("{}: step {} of {}, {}", status.run, status.step, status.steps, status.phase())?;
    if let Some(paused) = &status.paused {
        let since = clock(paused.wall_ms, wall_ms());
        product!("paused since {since} by {}; `lsgan resume` goes on", paused.by)?;
    }
    product!("generation {}, {:.1} images/s", status.generation, status.images_per_s)?;
    if let Some(metrics) = &status.metrics {
        let measured = scalars::ALL.iter().filter(|scalar| metrics.scalars.contains_key(scalar.name));
        let shown: Vec<_> = measured.map(|scalar| shown(scalar, metrics.scalar(scalar.name))).collect();
        product!("at step {}: {}", metrics.step, shown.join(", "))?;
    }
    if let Some(score) = &status.score {
        product!("score at step {}: {}", score.step, scored(score))?;
    }
    if let Some(bytes) = status.memory_bytes() {
        product!("the workers take {} of their hosts' memory", mebibytes(bytes))?;
    }
    match status.snapshot_step {
        Some(step) => product!("newest snapshot at step {step}, in {}", status.run_dir)?,
        None => product!("no snapshot yet; run directory {}", status.run_dir)?,
    }
    product!("{}", workers(status))?;
    for worker in status.workers.iter().filter(|w| !w.cannot_keep.is_empty()) {
        product!("{} cannot write snapshots: {}", worker.name, worker.cannot_keep)?;
    }
    print_corrupt(status)?;
    let now_ms = wall_ms();
    for notice in status.notices.iter().filter(|notice| notice.warning && notice.over_ms.is_none()) {
        product!("warning, {}: {}", when(notice, now_ms), notice.text)?;
    }
    Ok(())
}

/// A row for each worker.
fn workers(status: &v1::RunStatus) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(["worker", "name", "peers at", "role", "virtual ranks", "step", "ms a rank", "heard"]);
    for worker in &status.workers {
        table.add_row([
            worker.incarnation.to_string(),
            worker.name.clone(),
            worker.address.clone(),
            match (worker.writes, worker.cannot_keep.is_empty()) {
                (true, _) => format!("{}, writes", worker.role()),
                (false, false) => format!("{}, cannot write", worker.role()),
                (false, true) => worker.role().to_string(),
            },
            ranges(&worker.virtual_ranks),
            worker.applied.map_or("-".to_owned(), |applied| (applied / 2).to_string()),
            worker.pace_us.map_or("-".to_owned(), |us| {
                format!("{:.1}{}", us as f64 / 1000.0, if worker.straggles { " (straggler)" } else { "" })
            }),
            format!("{} ms ago", worker.heard_ms_ago),
        ]);
    }
    table
}

fn print_corrupt(status: &v1::RunStatus) -> Result<(), Failure> {
    if status.corrupt_count == 0 {
        return Ok(());
    }
    product!(
        "{} corrupt records, of which {} are accepted (data.max_corrupt):",
        status.corrupt_count,
        status.corrupt_count_max
    )?;
    let shown = status.corrupt_records.len() as u64;
    if shown < status.corrupt_count {
        product!(
            "  the newest {shown}; all of them: sqlite3 {}/journal.sqlite 'select * from corrupt_records'",
            status.run_dir
        )?;
    }
    for record in &status.corrupt_records {
        product!("  `{}`: {}", record.key, record.reason)?;
    }
    Ok(())
}

/// A scalar with its unit: `loss_d 0.4912`, `step_ms 12.3 ms`.
fn shown(scalar: &Scalar, value: f64) -> String {
    let Scalar { name, unit, .. } = scalar;
    if unit.is_empty() { format!("{name} {value:.4}") } else { format!("{name} {value:.1} {unit}") }
}

/// When something happened, and how often: `20:31:05 UTC`, or `20:31:05 UTC, 14 times, last 20:45:10 UTC`.
fn when(notice: &v1::Notice, now_ms: u64) -> String {
    let first = clock(notice.wall_ms, now_ms);
    match notice.count {
        0 | 1 => first,
        count => format!("{first}, {count} times, last {}", clock(notice.last_ms, now_ms)),
    }
}

/// Ranks in short: `0-3, 7`.
fn ranges(ranks: &[u32]) -> String {
    let mut spans: Vec<(u32, u32)> = Vec::new();
    for &rank in ranks {
        match spans.last_mut() {
            Some((_, last)) if *last + 1 == rank => *last = rank,
            _ => spans.push((rank, rank)),
        }
    }
    let words = spans.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") });
    words.collect::<Vec<_>>().join(", ")
}

/// The status as JSON, with the wire's names.
#[must_use]
pub fn to_json(status: &v1::RunStatus) -> Value {
    let metrics = status.metrics.as_ref().map(|m| {
        let mut metrics = json!({ "step": m.step, "wall_ms": m.wall_ms });
        m.scalars.iter().for_each(|(name, value)| metrics[name] = json!(value));
        metrics
    });
    let worker = |w: &v1::WorkerStatus| {
        json!({
            "incarnation": w.incarnation, "name": w.name, "address": w.address, "role": w.role().to_string(),
            "virtual_ranks": w.virtual_ranks, "applied": w.applied, "heard_ms_ago": w.heard_ms_ago,
            "pace_us": w.pace_us, "straggles": w.straggles, "writes": w.writes, "cannot_keep": w.cannot_keep,
            "memory_bytes": w.memory_bytes,
        })
    };
    let notice = |n: &v1::Notice| {
        json!({
            "number": n.number, "wall_ms": n.wall_ms, "text": n.text, "warning": n.warning, "count": n.count,
            "last_ms": n.last_ms, "over_ms": n.over_ms, "worker": n.worker,
        })
    };
    let file = |f: &v1::FinalFile| json!({ "name": f.name, "url": f.url, "blake3": f.blake3 });
    let corrupt = |r: &v1::CorruptRecord| json!({ "record": r.record, "key": r.key, "reason": r.reason, "step": r.step });
    let score = status.score.as_ref().map(|s| {
        json!({
            "metric": s.metric, "value": s.value, "step": s.step, "best_value": s.best_value, "best_step": s.best_step,
        })
    });
    let outcome = status
        .outcome
        .as_ref()
        .map(|o| json!({ "outcome": o.kind().map_or("unknown", OutcomeKind::word), "why": o.why }));
    json!({
        "live": true, "run": status.run, "identity": status.identity, "run_dir": status.run_dir, "phase": status.phase().to_string(),
        "generation": status.generation, "step": status.step, "steps": status.steps,
        "global_batch": status.global_batch, "metrics": metrics, "images_per_s": status.images_per_s,
        "workers": status.workers.iter().map(worker).collect::<Vec<_>>(),
        "memory_bytes": status.memory_bytes(), "score": score,
        "snapshot_step": status.snapshot_step, "outcome": outcome,
        "final_files": status.final_files.iter().map(file).collect::<Vec<_>>(),
        "workers_wanted": status.workers_wanted,
        "paused": status.paused.as_ref().map(|p| json!({ "wall_ms": p.wall_ms, "by": p.by })),
        "corrupt_count": status.corrupt_count, "corrupt_count_max": status.corrupt_count_max,
        "corrupt_records": status.corrupt_records.iter().map(corrupt).collect::<Vec<_>>(),
        "notices": status.notices.iter().map(notice).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_those_of_the_logs_with_the_date_where_it_is_another_day() {
        let (then, day) = (1_795_897_865_000, 24 * 60 * 60 * 1000);
        let mut notice = lsgan_wire::v1::Notice { wall_ms: then, count: 1, ..Default::default() };
        assert_eq!(super::when(&notice, then + 60_000), "20:31:05 UTC");
        (notice.count, notice.last_ms) = (14, then + 845_000);
        assert_eq!(super::when(&notice, then + 900_000), "20:31:05 UTC, 14 times, last 20:45:10 UTC");
        notice.count = 1;
        assert_eq!(super::when(&notice, then + day), "2026-11-28 20:31:05 UTC");
    }

    #[test]
    fn neighbouring_ranks_are_shown_as_ranges() {
        assert_eq!(super::ranges(&[0, 1, 2, 5, 7, 8]), "0-2, 5, 7-8");
        assert_eq!(super::ranges(&[]), "");
    }
}
