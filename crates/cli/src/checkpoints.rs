//! `lsgan checkpoints`: what snapshots there are, and whether they are whole.

use comfy_table::{Table, presets};
use lsgan_console::{Failure, exit::chain, product};
use lsgan_snapshots::Manifest;
use lsgan_spec::Step;
use serde_json::json;

use crate::place::store_of;

/// The arguments of `lsgan checkpoints`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum What {
    /// List the snapshots; sizes are checked, hashes are not.
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
    if place.json {
        product!(
            "{:#}",
            rows.iter().map(|(step, state)| to_json(*step, state)).collect::<serde_json::Value>()
        )?;
    } else {
        print(&rows, verify)?;
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

fn len_bytes(manifest: &Manifest) -> u64 {
    manifest.parts.iter().map(|part| part.len_bytes).sum()
}

fn print(rows: &[(Step, Result<Manifest, String>)], verify: bool) -> Result<(), Failure> {
    if rows.is_empty() {
        return product!("there are no snapshots");
    }
    let good = if verify { "whole" } else { "there" };
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(["step", "size", "parts", "state"]);
    for (step, state) in rows {
        let row = match state {
            Ok(manifest) => {
                let size = format!("{:.1} MiB", len_bytes(manifest) as f64 / (1 << 20) as f64);
                [step.to_string(), size, manifest.parts.len().to_string(), good.to_owned()]
            }
            Err(why) => [step.to_string(), "-".to_owned(), "-".to_owned(), why.clone()],
        };
        table.add_row(row);
    }
    product!("{table}")
}

fn to_json(step: Step, state: &Result<Manifest, String>) -> serde_json::Value {
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
