//! `lsgan checkpoints`: what snapshots there are, and whether they are whole.

use std::path::Path;

use comfy_table::{Table, presets};
use lsgan_console::{Failure, exit::chain, product};
use lsgan_launch::{ScoreRow, best_score, read_scores};
use lsgan_snapshots::Manifest;
use lsgan_spec::Step;
use serde_json::json;

use crate::eval;
use crate::place::store_of;

/// The arguments of `lsgan checkpoints`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum What {
    /// List the snapshots with their scores, if `lsgan eval` has made some; sizes are checked, hashes are not.
    List(Where),
    /// Read every byte of every snapshot and compare the hashes. Exit code 1 if one is damaged, or if there is none.
    Verify(Where),
}

#[derive(Clone, Debug, clap::Args)]
struct Where {
    /// The run's directory, or what its `checkpoint.to` says.
    #[arg(long, value_name = "DIR|URL")]
    run: String,
    /// Print one JSON array.
    #[arg(long)]
    json: bool,
}

/// Lists or verifies.
///
/// # Errors
/// No store there, or with `verify` a damaged snapshot or none at all.
pub async fn checkpoints(args: Args) -> Result<(), Failure> {
    let (place, verify) = match args.what {
        What::List(place) => (place, false),
        What::Verify(place) => (place, true),
    };
    let store = store_of(&place.run)?;
    let mut rows = Vec::new();
    for entry in store.list().await? {
        let state = if verify { store.verify(entry.step).await } else { entry.state };
        rows.push((entry.step, state.map_err(|error| chain(&error))));
    }
    let scores = if place.run.contains("://") { vec![] } else { read_scores(Path::new(&place.run))? };
    let scores = Scores { rows: &scores, best: best_score(&scores, |step| is_usable(&rows, step)) };
    if place.json {
        let objects = rows.iter().map(|(step, state)| to_json(*step, state, &scores));
        product!("{:#}", objects.collect::<serde_json::Value>())?;
    } else {
        print(&rows, verify, &scores)?;
    }
    if verify && rows.is_empty() {
        return Err(Failure::failed(format!(
            "{} holds no snapshots, so there is nothing to verify. Check the path; a run writes one every \
             `checkpoint.every` steps.",
            place.run
        )));
    }
    let damaged = rows.iter().filter(|(_, state)| state.is_err()).count();
    if verify && damaged > 0 {
        return Err(Failure::failed(format!(
            "{damaged} of {} snapshots cannot be used. A run goes on from the newest whole one.",
            rows.len()
        )));
    }
    Ok(())
}

fn is_usable(rows: &[(Step, Result<Manifest, String>)], step: Step) -> bool {
    rows.iter().any(|(is, state)| *is == step && state.is_ok())
}

/// What `lsgan eval` has said of the run's snapshots.
struct Scores<'a> {
    rows: &'a [ScoreRow],
    /// Of the snapshots that can be used.
    best: Option<&'a ScoreRow>,
}

impl Scores<'_> {
    /// The newest row of a step, of the weights by which snapshots are compared if there is one.
    fn of(&self, step: Step) -> Option<&ScoreRow> {
        let mut newest = self.rows.iter().rev().filter(|row| row.step == step);
        let any = newest.clone().next();
        newest.find(|row| self.best.is_some_and(|best| best.weights == row.weights)).or(any)
    }

    fn is_best(&self, step: Step) -> bool {
        self.best.is_some_and(|best| best.step == step)
    }

    /// The number by which snapshots are compared, and whether it is the best.
    fn shown(&self, step: Step) -> String {
        let best = self.best.filter(|best| best.step == step);
        let Some(first) = best.or_else(|| self.of(step)).and_then(ScoreRow::first) else {
            return "-".to_owned();
        };
        let best = if best.is_some() { ", the best" } else { "" };
        format!("{} {first}{best}", first.metric)
    }
}

fn len_bytes(manifest: &Manifest) -> u64 {
    manifest.parts.iter().map(|part| part.len_bytes).sum()
}

fn print(
    rows: &[(Step, Result<Manifest, String>)],
    verify: bool,
    scores: &Scores<'_>,
) -> Result<(), Failure> {
    if rows.is_empty() {
        return product!("there are no snapshots");
    }
    let good = if verify { "whole" } else { "there" };
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    let titles = ["step", "size", "parts", "state", "score"];
    // Without scores there is nothing to say of them.
    let columns = if scores.rows.is_empty() { titles.len() - 1 } else { titles.len() };
    table.set_header(&titles[..columns]);
    for (step, state) in rows {
        let mut row = match state {
            Ok(manifest) => {
                let size = format!("{:.1} MiB", len_bytes(manifest) as f64 / (1 << 20) as f64);
                vec![step.to_string(), size, manifest.parts.len().to_string(), good.to_owned()]
            }
            Err(why) => vec![step.to_string(), "-".to_owned(), "-".to_owned(), why.clone()],
        };
        row.push(scores.shown(*step));
        row.truncate(columns);
        table.add_row(row);
    }
    product!("{table}")
}

fn to_json(step: Step, state: &Result<Manifest, String>, scores: &Scores<'_>) -> serde_json::Value {
    let mut object = state_json(step, state);
    if let Some(row) = scores.of(step) {
        object["scores"] = eval::row_json(row)["scores"].take();
        object["is_best"] = scores.is_best(step).into();
    }
    object
}

fn state_json(step: Step, state: &Result<Manifest, String>) -> serde_json::Value {
    match state {
        Ok(manifest) => json!({
            "step": step.0, "usable": true, "len_bytes": len_bytes(manifest), "identity": manifest.identity,
            "parts": manifest.parts.iter().map(|part| json!({
                "name": part.name, "file": part.file, "len_bytes": part.len_bytes, "blake3": part.blake3,
            })).collect::<Vec<_>>(),
        }),
        Err(why) => json!({ "step": step.0, "usable": false, "why": why }),
    }
}
