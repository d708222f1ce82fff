//! `lsgan dataset inspect`: what is in a data set.

use std::path::PathBuf;

use comfy_table::{Table, presets};
use lsgan_console::{Failure, product};
use lsgan_data::tools::{self, ClassMixing, Classes, Inspection, Selection};
use lsgan_data::{SampleShape, Source};
use lsgan_spec::{Grid, ImageSpec, printable};
use serde_json::{Value, json};

use super::origin::{Opened, Origin};
use super::{counted, left_out_json, print_corrupt, print_left_out, sheet, threads};
use crate::picture::PictureFile;

/// Records that are looked at without `--verify`.
const RECORDS: u64 = 1000;
/// Classes that are listed: the others are few.
const CLASSES_LISTED_MAX: usize = 30;

/// The arguments of `lsgan dataset inspect`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lsgan dataset inspect lsun:/data/bedroom_train_lmdb --sheet sheet.png
  lsgan dataset inspect --config run.yaml --verify    # every record; exit code 1 if one does not decode
  lsgan dataset inspect '/data/train-{000000..000099}.tar' --json")]
pub struct Args {
    #[command(flatten)]
    origin: Origin,
    /// Decode every record, not only 1,000 spread over the data set. Exit code 1 if one does not decode.
    #[arg(long)]
    verify: bool,
    /// Write a sheet of samples spread over the data set, as training sees them; of points, a density plot.
    #[arg(long, value_name = "FILE.png")]
    sheet: Option<PathBuf>,
    /// Columns and rows of the sheet.
    #[arg(long, value_name = "COLUMNSxROWS", default_value = "8x8", value_parser = grid, requires = "sheet")]
    grid: Grid,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

fn grid(text: &str) -> Result<Grid, String> {
    Grid::try_from(text.to_owned())
}

/// Inspects the data set and prints the result.
///
/// # Errors
/// A data set that cannot be opened or read; with `--verify` one that has corrupt records.
pub fn inspect(args: Args) -> Result<(), Failure> {
    let sheet_file = args.sheet.as_deref().map(|path| PictureFile::open("--sheet", path)).transpose()?;
    let Opened { spec, source, batch } = args.origin.open()?;
    let source = &*source;
    let (doing, which) = match args.verify {
        true => ("verifying", Selection::All),
        false => ("looking", Selection::AtMost(RECORDS)),
    };
    let threads = threads(args.origin.threads);
    let looked = counted(doing, |progress| tools::inspect(source, which, threads, progress))?;
    let classes = tools::classes(source);
    let mixing = tools::mixing(source, &spec, &batch, 0);
    if let Some(file) = sheet_file {
        file.write(&sheet::sheet(source, &spec, args.grid)?)?;
    }
    if args.json {
        product!("{:#}", to_json(source, spec.image.as_ref(), &looked, &classes, mixing.as_ref()))?;
    } else {
        print(source, spec.image.as_ref(), &looked, &classes)?;
        if let Some(mixing) = &mixing {
            product!("batches      {mixing}")?;
        }
        if let Some(path) = &args.sheet {
            product!("sheet        {}", path.display())?;
        }
    }
    if args.verify && !looked.corrupt.is_empty() {
        return Err(Failure::failed(format!(
            "{} of {} records do not decode. Replace them or leave them out: training puts others of their shards in \
             their places, up to data.max_corrupt.",
            looked.corrupt.len(),
            looked.records
        )));
    }
    Ok(())
}

fn print(
    source: &dyn Source,
    image: Option<&ImageSpec>,
    looked: &Inspection,
    classes: &Classes,
) -> Result<(), Failure> {
    product!("kind         {}", source.kind())?;
    product!("records      {}", source.len())?;
    product!("fingerprint  {}", source.fingerprint())?;
    match (source.sample_shape(), image) {
        (SampleShape::Image { size, channels }, Some(image)) => {
            product!("sample       {size} x {size} x {channels}, fit {}", image.fit.word())?;
        }
        (SampleShape::Image { size, channels }, None) => {
            product!("sample       {size} x {size} x {channels}")?
        }
        (SampleShape::Point2, _) => product!("sample       a point of the plane")?,
    }
    let formats: Vec<String> =
        looked.formats.iter().map(|(format, count)| format!("{count} {format}")).collect();
    let of = if looked.records == source.len() { "all".to_owned() } else { looked.records.to_string() };
    let corrupt = looked.corrupt.len();
    product!("looked at    {of}: {}", [formats, vec![format!("{corrupt} corrupt")]].concat().join(", "))?;
    if let Some(len_bytes) = looked.len_bytes {
        product!("bytes        {len_bytes}")?;
    }
    if let (Some(width), Some(height)) = (looked.width, looked.height) {
        product!("width        {width}")?;
        product!("height       {height}")?;
    }
    print_left_out(source.left_out())?;
    print_classes(source, classes)?;
    if corrupt > 0 {
        product!("corrupt records")?;
        print_corrupt(&looked.corrupt, usize::MAX)?;
    }
    Ok(())
}

fn print_classes(source: &dyn Source, classes: &Classes) -> Result<(), Failure> {
    if classes.counts.is_empty() {
        return product!("classes      none");
    }
    let without = match classes.without {
        0 => String::new(),
        without => format!(", {without} records without one"),
    };
    product!("classes      {}{without}", classes.counts.len())?;
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    let has_names = !source.class_names().is_empty();
    let row = |class: &str, name: &str, records: &str| match has_names {
        true => vec![class.to_owned(), name.to_owned(), records.to_owned()],
        false => vec![class.to_owned(), records.to_owned()],
    };
    table.set_header(row("class", "name", "records"));
    for (class, count) in classes.counts.iter().take(CLASSES_LISTED_MAX) {
        let name = printable(name(source, *class).unwrap_or_default());
        table.add_row(row(&class.to_string(), &name, &count.to_string()));
    }
    product!("{table}")?;
    if classes.counts.len() > CLASSES_LISTED_MAX {
        product!("and {} more; --json has all", classes.counts.len() - CLASSES_LISTED_MAX)?;
    }
    Ok(())
}

fn name(source: &dyn Source, class: u32) -> Option<&str> {
    source.class_names().get(class as usize).map(String::as_str)
}

fn to_json(
    source: &dyn Source,
    image: Option<&ImageSpec>,
    looked: &Inspection,
    classes: &Classes,
    mixing: Option<&ClassMixing>,
) -> Value {
    let counts = classes
        .counts
        .iter()
        .map(|(class, count)| json!({ "class": class, "name": name(source, *class), "records": count }));
    json!({
        "kind": source.kind(),
        "records": source.len(),
        "fingerprint": source.fingerprint().to_string(),
        "image": image,
        "looked_at": {
            "records": looked.records,
            "formats": looked.formats,
            "len_bytes": looked.len_bytes,
            "width": looked.width,
            "height": looked.height,
            "corrupt": looked.corrupt,
        },
        "left_out": left_out_json(source.left_out()),
        "classes": { "records": classes.records, "without": classes.without, "counts": counts.collect::<Value>() },
        "batches": mixing.map(|mixing| json!({
            "mix": mixing.mix,
            "virtual_rank": mixing.rank,
            "step": mixing.step,
            "is_poor": mixing.is_poor(),
            "better_mix": mixing.better,
        })),
    })
}
