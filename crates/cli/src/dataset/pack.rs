//! `lsgan dataset pack`: tar shards of pictures in a run's size.

use std::path::PathBuf;

use lsgan_console::{Failure, product};
use lsgan_data::Source;
use lsgan_data::tools::{self, PackFormat, PackOptions, Packed, ShardLimit};
use lsgan_spec::{DataSpec, Flip, ImageSpec};
use serde_json::json;

use super::origin::{Opened, Origin};
use super::{LISTED_MAX, counted, left_out_json, mib, print_corrupt, print_left_out, threads};

/// The default size of a shard: few requests to an object store, and little to write again after a crash.
const SHARD_MIB: u64 = 256;

/// The arguments of `lsgan dataset pack`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
The pictures are scaled as data.image says and encoded without loss: training on the shards gives the same weights, bit for
bit, where no record was corrupt. A pack that is interrupted goes on with the same command.

Examples:
  lsgan dataset pack --config run.yaml --out /data/bedroom64
  lsgan dataset pack lsun:/data/bedroom_train_lmdb --size 64 --fit crop --out /data/bedroom64 --format webp")]
pub struct Args {
    #[command(flatten)]
    origin: Origin,
    /// The directory to write; new, empty, or one that the same command left unfinished.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Pictures in a shard, instead of a size.
    #[arg(long, value_name = "N", conflicts_with = "shard_mib", value_parser = clap::value_parser!(u64).range(1..))]
    shard_records: Option<u64>,
    /// The most MiB of a shard.
    #[arg(long, value_name = "N", default_value_t = SHARD_MIB, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    shard_mib: u64,
    /// How the pictures are encoded; both without loss.
    #[arg(long, value_enum, default_value_t = Format::Png)]
    format: Format,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// PNG: decodes fast.
    Png,
    /// Lossless WebP: smaller.
    Webp,
}

/// Packs, and prints what to write into a run's file.
///
/// # Errors
/// A data set that cannot be opened with exit code 2; what cannot be read or written with 1.
pub fn pack(args: Args) -> Result<(), Failure> {
    if !args.origin.has_config() && args.origin.size.is_none() {
        return Err(Failure::bad_input(
            "the size of the pictures is not said; accepted are --size PIXELS and --config FILE. Give one of them.",
        ));
    }
    let Opened { spec, source, .. } = args.origin.open()?;
    let options = PackOptions {
        out: args.out.clone(),
        format: match args.format {
            Format::Png => PackFormat::Png,
            Format::Webp => PackFormat::Webp,
        },
        limit: args.shard_records.map_or(ShardLimit::Mib(args.shard_mib), ShardLimit::Records),
        threads: threads(args.origin.threads),
    };
    // A source of points has none, and is refused below.
    let image = spec.image.clone().unwrap_or(ImageSpec::of(1, 1));
    let packed = counted("packing", |progress| tools::pack(&*source, &image, &options, progress))?;
    if args.json {
        let Packed { records, shards, shards_kept, len_bytes, corrupt, pattern } = &packed;
        product!(
            "{:#}",
            json!({
                "out": args.out.display().to_string(), "records": records, "shards": shards, "shards_kept": shards_kept,
                "len_bytes": len_bytes, "corrupt": corrupt, "pattern": pattern, "left_out": left_out_json(source.left_out()),
            })
        )?;
    } else {
        print(&packed, &*source, &spec, &image)?;
    }
    Ok(())
}

fn print(packed: &Packed, source: &dyn Source, spec: &DataSpec, image: &ImageSpec) -> Result<(), Failure> {
    let records = source.len();
    let kept = match packed.shards_kept {
        0 => String::new(),
        kept => format!("; {kept} of them were there already, and are whole"),
    };
    let (shards, word) = (packed.shards, if packed.shards == 1 { "shard" } else { "shards" });
    product!(
        "{} of {records} records are in {shards} {word}, {}{kept}",
        packed.records,
        mib(packed.len_bytes)
    )?;
    if !packed.corrupt.is_empty() {
        product!("{} do not decode and were left out (manifest.json names all):", packed.corrupt.len())?;
        print_corrupt(&packed.corrupt, LISTED_MAX)?;
    }
    if !source.left_out().is_empty() {
        print_left_out(source.left_out())?;
    }
    product!("In the run's file:\n\n{}", yaml(&packed.pattern, spec, image))
}

/// The section `data` of a run that trains on the shards as it would on the data set.
fn yaml(pattern: &str, spec: &DataSpec, image: &ImageSpec) -> String {
    let flip = match image.flip {
        Flip::Never => "",
        Flip::Random => ", flip: random",
    };
    let mut lines = vec![
        "data:".to_owned(),
        format!("  source: {{ webdataset: {{ shards: '{}' }} }}", pattern.replace('\'', "''")),
        format!(
            "  image: {{ size: {}, channels: {}, fit: {}{flip} }}",
            image.size,
            image.channels,
            image.fit.word()
        ),
        format!("  shard_records: {}", spec.shard_records),
    ];
    if spec.mix > 1 {
        lines.push(format!("  mix: {}", spec.mix));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use lsgan_runfile::{Override, parse};
    use lsgan_spec::{FolderSource, Source};

    use super::*;

    #[test]
    fn the_lines_are_those_of_a_runs_file() {
        let mut spec = DataSpec::of(Source::Folder(FolderSource { path: "x".into() }), None);
        spec.mix = 4;
        let image = ImageSpec { flip: Flip::Random, ..ImageSpec::of(64, 3) };
        let text = yaml("it's/shard-{000000..000002}.tar", &spec, &image);
        let quickstart = include_str!("../../../../configs/quickstart.yaml");
        let (head, tail) = (quickstart.find("data:").unwrap(), quickstart.find("model:").unwrap());
        let whole = format!("{}{text}\n{}", &quickstart[..head], &quickstart[tail..]);
        let sets: [Override; 0] = [];
        let run = parse(&whole, "run.yaml", &sets).unwrap_or_else(|errors| panic!("{errors}\n{whole}"));
        assert_eq!((run.data.image, run.data.mix, run.data.shard_records), (Some(image), 4, 256));
        let Source::Webdataset(found) = run.data.source else { panic!("{whole}") };
        assert_eq!(found.shards, "it's/shard-{000000..000002}.tar");
    }
}
