//! `lsgan dataset export`: a folder of picture files.

use std::path::PathBuf;

use lsgan_console::{Failure, product};
use lsgan_data::tools::{self, Exported};
use serde_json::json;

use super::origin::{Opened, Origin};
use super::{LISTED_MAX, counted, left_out_json, mib, print_corrupt, print_left_out, threads};

/// The arguments of `lsgan dataset export`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Encoded pictures are written as they are, pixels as PNG; what is read of them in a run is the same. Classes become
sub-folders. An export that is interrupted goes on with the same command, which compares each file that is there.

Examples:
  lsgan dataset export lsun:/data/bedroom_val_lmdb --out /data/bedroom_val
  lsgan dataset export idx:t10k-images-idx3-ubyte.gz --labels t10k-labels-idx1-ubyte.gz --out /data/clothes")]
pub struct Args {
    #[command(flatten)]
    origin: Origin,
    /// The directory to write; new, empty, or one that the same command left unfinished.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Exports, and prints what to write into a run's file.
///
/// # Errors
/// A data set that cannot be opened with exit code 2; what cannot be read or written with 1.
pub fn export(args: Args) -> Result<(), Failure> {
    let Opened { source, .. } = args.origin.open()?;
    let threads = threads(args.origin.threads);
    let exported = counted("exporting", |progress| tools::export(&*source, &args.out, threads, progress));
    let Exported { records, records_kept, len_bytes, corrupt } = exported?;
    let out = args.out.display().to_string();
    if args.json {
        product!(
            "{:#}",
            json!({
                "out": out, "records": records, "records_kept": records_kept, "len_bytes": len_bytes, "corrupt": corrupt,
                "left_out": left_out_json(source.left_out()),
            })
        )?;
        return Ok(());
    }
    let kept = match records_kept {
        0 => String::new(),
        kept => format!("; {kept} of them were there already"),
    };
    product!("{records} of {} records are in {out}, {}{kept}", source.len(), mib(len_bytes))?;
    if !corrupt.is_empty() {
        product!("{} do not decode and were left out:", corrupt.len())?;
        print_corrupt(&corrupt, LISTED_MAX)?;
    }
    if !source.left_out().is_empty() {
        print_left_out(source.left_out())?;
    }
    product!(
        "In the run's file:\n\ndata:\n  source: {{ folder: {{ path: '{}' }} }}",
        out.replace('\'', "''")
    )?;
    Ok(())
}
