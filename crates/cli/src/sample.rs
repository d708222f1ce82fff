//! `lsgan sample`: pictures from a run's newest snapshot.

use std::path::PathBuf;

use lsgan_console::{Failure, exit::chain, product, say};
use lsgan_snapshots::{Manifest, Part, Store};
use lsgan_spec::{Grid, RunSpec, SampleWeights, Step};
use lsgan_train::Sampler;
use serde_json::json;

use crate::picture::PictureFile;
use crate::place::store_of;
use crate::words::words;

/// The arguments of `lsgan sample`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The run's directory, or what its `checkpoint.to` says.
    #[arg(long, visible_alias = "checkpoint", value_name = "DIR|URL")]
    run: String,
    /// The snapshot of this step instead of the newest whole one.
    #[arg(long, value_name = "STEP")]
    step: Option<u64>,
    /// How many samples; rounded up to a full grid.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    count: u32,
    /// Which of G's weights; by default those of `samples.weights`.
    #[arg(long, value_name = "WHICH", value_parser = words::<SampleWeights>())]
    weights: Option<SampleWeights>,
    /// The picture to write.
    #[arg(long, value_name = "FILE.png")]
    out: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Writes a grid of samples.
///
/// # Errors
/// No snapshot there, or a picture that cannot be written.
pub async fn sample(args: Args) -> Result<(), Failure> {
    let out = PictureFile::open("--out", &args.out)?;
    let store = store_of(&args.run)?;
    let manifest = match args.step {
        Some(step) => store.verify(Step(step)).await?,
        None => newest(&store, &args.run).await?,
    };
    let spec = lsgan_runfile::parse(&manifest.spec_yaml, "the snapshot's specification", &[])
        .map_err(|errors| Failure::failed(errors.render_plain()))?;
    let name = match args.weights.unwrap_or(spec.samples.weights) {
        SampleWeights::Ema => "generator_ema",
        SampleWeights::Raw => "generator",
    };
    let part = store.load_part(&manifest, name).await?;
    let grid = grid(args.count);
    let png = picture(&spec, &part, grid)?;
    out.write(&png)?;
    let (out, step, count) = (args.out.display().to_string(), manifest.step.0, grid.count());
    if args.json {
        product!("{:#}", json!({ "out": out, "step": step, "count": count, "weights": name }))?;
    } else {
        product!("{out}: {count} samples of {name} at step {step}")?;
    }
    Ok(())
}

async fn newest(store: &Store, place: &str) -> Result<Manifest, Failure> {
    let found = store.newest_valid().await?;
    for skipped in &found.skipped {
        say!("warning: the snapshot of step {} is skipped: {}", skipped.step, chain(&skipped.reason));
    }
    found.manifest.ok_or_else(|| {
        Failure::failed(format!(
            "{place} holds no whole snapshot. Train until one is written (`checkpoint.every`)."
        ))
    })
}

fn picture(spec: &RunSpec, part: &Part, grid: Grid) -> Result<Vec<u8>, Failure> {
    let sampler = Sampler::new(spec)?;
    Ok(sampler.picture_of_part(part, grid)?)
}

/// The squarest grid of at least `count` pictures.
fn grid(count: u32) -> Grid {
    let columns = (f64::from(count).sqrt().ceil()) as u32;
    Grid { columns, rows: count.div_ceil(columns) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_holds_all_and_is_about_square() {
        for count in 1..=4096 {
            let Grid { columns, rows } = grid(count);
            assert!(columns * rows >= count && columns * (rows - 1) < count, "{count}: {columns}x{rows}");
            assert!(columns >= rows && columns <= 64, "{count}: {columns}x{rows}");
        }
    }
}
