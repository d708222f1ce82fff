//! `lsgan figure`: the paper's claims, drawn.

use std::fs;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValue, PossibleValuesParser};
use comfy_table::{Table, presets};
use lsgan_console::{Failure, product, say};
use lsgan_figures::{FIGURES, Figure};

use crate::trained::TRAINED;

/// The arguments of `lsgan figure`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Which figures.
    #[arg(value_name = "NAME", required = true, value_parser = names())]
    names: Vec<String>,
    /// Where NAME.svg, NAME.png and NAME.csv are written; earlier ones of these names are replaced.
    #[arg(long, value_name = "DIR", default_value = "figures")]
    out: PathBuf,
    /// Of modes and stability: all settings, more seeds and steps, which takes an hour or more, and not a part of it. The runs are
    /// in runs/figure-NAME-full then, else in runs/figure-NAME; what is trained there is not trained again.
    #[arg(long)]
    full: bool,
    /// Of modes and stability: how many workers train at once; by default as many as CPUs.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    workers: Option<u32>,
}

fn names() -> PossibleValuesParser {
    let trained = TRAINED.iter().map(|figure| (figure.name, figure.about));
    let all = FIGURES.iter().map(|figure| (figure.name, figure.about)).chain(trained);
    PossibleValuesParser::new(all.map(|(name, about)| PossibleValue::new(name).help(about)))
}

/// Computes and draws figures, and prints their numbers.
///
/// # Errors
/// A folder that cannot be written, with exit code 2; runs that failed or were stopped.
pub async fn figure(args: Args) -> Result<(), Failure> {
    fs::create_dir_all(&args.out).map_err(|error| cannot_write(&args.out, &error))?;
    for name in &args.names {
        let figure = match FIGURES.iter().find(|figure| figure.name == name) {
            Some(found) => {
                say!("{name}: {}", found.about);
                (found.make)()
            }
            None => {
                let found = TRAINED.iter().find(|figure| figure.name == name);
                found.expect("clap takes no other names").figure(args.full, args.workers).await?
            }
        };
        write(&figure, name, &args.out)?;
    }
    Ok(())
}

/// Writes a figure's files, and prints its numbers and what they say.
fn write(figure: &Figure, name: &str, out: &Path) -> Result<(), Failure> {
    let files = [
        ("svg", lsgan_figures::svg(figure)?.into_bytes()),
        ("png", lsgan_figures::png(figure)?),
        ("csv", figure.csv().into_bytes()),
    ];
    for (ending, bytes) in files {
        let path = out.join(format!("{name}.{ending}"));
        fs::write(&path, bytes).map_err(|error| cannot_write(&path, &error))?;
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(&figure.numbers.header);
    table.add_rows(&figure.numbers.rows);
    product!("{table}")?;
    for note in &figure.notes {
        product!("{note}")?;
    }
    product!("{name}.svg, {name}.png and {name}.csv are in {}", out.display())
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::bad_input(format!(
        "{} cannot be written: {error}. Name another folder with --out DIR.",
        path.display()
    ))
}
