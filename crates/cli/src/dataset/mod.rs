//! `lsgan dataset`: a data set inspected, packed or exported.
//!
//! - [`origin`]: which data set: that of a run's file, or one that is named directly.
//! - [`inspect`], [`sheet`]: what is in it.
//! - [`pack`]: tar shards of pictures in a run's size.
//! - [`export`]: a folder of files.

pub mod export;
pub mod inspect;
pub mod origin;
pub mod pack;
pub mod sheet;

use lsgan_console::{Counter, Failure, product};
use lsgan_data::left_out::{Group, Reason};
use lsgan_data::tools::CorruptRecord;
use lsgan_data::{LeftOut, Progress};
use serde_json::{Value, json};

/// The arguments of `lsgan dataset`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum What {
    /// Show what is in a data set: records, formats, sizes, classes, a sheet of pictures, and what does not decode.
    Inspect(inspect::Args),
    /// Write a data set as tar shards of pictures in a run's size, without loss, so that training need not decode and
    /// scale large ones again in every epoch.
    Pack(pack::Args),
    /// Write a data set as a folder of picture files.
    Export(export::Args),
}

/// Inspects, packs or exports.
///
/// # Errors
/// A data set that cannot be opened with exit code 2; with 1 one that has corrupt records where they were looked for, and
/// what cannot be written.
pub fn dataset(args: Args) -> Result<(), Failure> {
    match args.what {
        What::Inspect(args) => inspect::inspect(args),
        What::Pack(args) => pack::pack(args),
        What::Export(args) => export::export(args),
    }
}

/// Does the work while a bar shows how far it is.
fn counted<T>(what: &'static str, work: impl FnOnce(&(dyn Fn(Progress) + Sync)) -> T) -> T {
    let counter = Counter::new(what);
    let done = work(&|at| counter.show(at.unit, at.done, at.total));
    counter.end();
    done
}

/// The default number of threads: one for each core.
fn threads(said: Option<u16>) -> usize {
    said.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from)
}

/// Corrupt records that are listed on a terminal; JSON and manifests have all.
const LISTED_MAX: usize = 20;

/// Lists records that do not decode.
fn print_corrupt(corrupt: &[CorruptRecord], listed_max: usize) -> Result<(), Failure> {
    for CorruptRecord { record, key, reason } in corrupt.iter().take(listed_max) {
        product!("  {record}  {key}: {reason}")?;
    }
    if corrupt.len() > listed_max {
        product!("  and {} more", corrupt.len() - listed_max)?;
    }
    Ok(())
}

/// Lists files that lie with the records and are none.
fn print_left_out(left_out: &LeftOut) -> Result<(), Failure> {
    match left_out.count() {
        0 => product!("left out     nothing")?,
        count => product!("left out     {count}")?,
    }
    left_out.lines().iter().try_for_each(|line| product!("  {line}"))
}

fn left_out_json(left_out: &LeftOut) -> Value {
    let group = |(reason, group): (Reason, &Group)| {
        let Group { count, examples } = group;
        json!({ "reason": reason, "count": count, "examples": examples, "remedy": reason.remedy() })
    };
    left_out.groups().map(group).collect()
}

fn mib(len_bytes: u64) -> String {
    format!("{:.1} MiB", len_bytes as f64 / (1 << 20) as f64)
}
