//! `lsgan nearest`: generated pictures beside the training pictures that are most like them.

use std::num::NonZero;
use std::path::PathBuf;

use comfy_table::{Table, presets};
use lsgan_console::{Counter, Failure, product};
use lsgan_data::Source;
use lsgan_evaluate::chunks::Pictures;
use lsgan_evaluate::nearest::{Neighbour, Search, nearest};
use lsgan_evaluate::{Choice, Resize};
use lsgan_spec::{Grid, RunSpec, Step};
use lsgan_train::models::SampleShape;
use serde_json::{Value, json};

use crate::generator::{DrawArgs, Generator, GeneratorArgs, data_of};
use crate::picture::PictureFile;

/// The arguments of `lsgan nearest`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    generator: GeneratorArgs,
    /// How many samples: a row of the picture each, the sample first.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
    count: u32,
    /// How many training pictures beside each, the nearest first.
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=32))]
    neighbours: u32,
    #[command(flatten)]
    draw: DrawArgs,
    /// The network by whose features pictures are compared, as `lsgan eval` has it.
    #[arg(long, value_name = "NAME|FILE.pt", value_parser = Choice::parse)]
    extractor: Option<Choice>,
    /// The most training pictures that are looked at, spread over the data set; by default all.
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true, value_parser = clap::value_parser!(u64).range(1..))]
    real: u64,
    /// How many threads compute; by default all that the machine has.
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<usize>>,
    /// The picture to write.
    #[arg(long, value_name = "FILE.png")]
    out: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Writes the picture and prints which records they are.
///
/// # Errors
/// No snapshot there, another data set than the run's, 2-D points, or a picture that cannot be written.
pub async fn run(args: Args) -> Result<(), Failure> {
    let out = PictureFile::open("--out", &args.out)?;
    let generator = args.generator.open().await?;
    let Generator { manifest, spec, sampler, .. } = &generator;
    let SampleShape::Picture { size, channels } = sampler.shape() else {
        return Err(Failure::bad_input("`lsgan nearest` compares pictures, and this run makes 2-D points."));
    };
    let data = data_of(spec, manifest, "so its pictures say nothing of what the run has learned")?;
    let draw = generator.draw(&args.draw)?;
    let latents = sampler.latents_of(draw, args.count as usize);
    let samples: Vec<f32> = latents.flat_map(|z| generator.samples_of(&z)).collect();
    let pictures = Pictures::of_samples(size as usize, channels as usize, &samples);
    let found = search(&args, spec, &pictures, &*data)?;
    out.write(&picture(&samples, &found, &*data, (size, channels))?)?;
    report(&args, &found, manifest.step)
}

fn search(
    args: &Args,
    spec: &RunSpec,
    pictures: &Pictures,
    data: &dyn Source,
) -> Result<Vec<Vec<Neighbour>>, Failure> {
    let extractor = args.extractor.clone().unwrap_or_else(|| Choice::for_data(&spec.data));
    let extractor = extractor.open(Resize::Antialiased)?;
    let threads = || std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
    let search = Search {
        neighbours: args.neighbours as usize,
        records_max: args.real,
        threads: args.threads.unwrap_or_else(threads),
    };
    let counter = Counter::new("comparing");
    let told = |done, total| counter.show("training pictures", done, Some(total));
    let found = nearest(pictures, data, &*extractor, search, &told);
    counter.end();
    Ok(found?)
}

/// A row for each sample: itself, then its neighbours.
fn picture(
    samples: &[f32],
    found: &[Vec<Neighbour>],
    data: &dyn Source,
    (size, channels): (u32, u32),
) -> Result<Vec<u8>, Failure> {
    let columns = 1 + found.iter().map(Vec::len).max().unwrap_or(0);
    let len = data.sample_len();
    let mut tiles = vec![-1.0; found.len() * columns * len];
    let rows = tiles.chunks_exact_mut(columns * len).zip(samples.chunks_exact(len)).zip(found);
    for ((row, sample), neighbours) in rows {
        row[..len].copy_from_slice(sample);
        for (tile, neighbour) in row[len..].chunks_exact_mut(len).zip(neighbours) {
            data.read(neighbour.record, tile)?;
        }
    }
    let grid = Grid { columns: columns as u32, rows: found.len() as u32 };
    Ok(lsgan_pictures::grid(&tiles, grid, size, channels)?)
}

fn report(args: &Args, found: &[Vec<Neighbour>], step: Step) -> Result<(), Failure> {
    let out = args.out.display().to_string();
    if args.json {
        let object = |near: &Neighbour| json!({ "record": near.record, "distance": near.distance });
        let rows: Vec<Value> = found.iter().map(|row| row.iter().map(object).collect()).collect();
        return product!("{:#}", json!({ "out": out, "step": step.0, "samples": rows }));
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(["sample", "nearest records, with their distances"]);
    for (at, row) in found.iter().enumerate() {
        let shown: Vec<_> =
            row.iter().map(|near| format!("{} ({:.3})", near.record, near.distance)).collect();
        table.add_row([at.to_string(), shown.join(", ")]);
    }
    product!("{table}")?;
    product!(
        "{out}: {} samples at step {step}, each with the training pictures that are nearest to it",
        found.len()
    )
}
