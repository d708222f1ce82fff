//! `lsgan compare`: what is different between runs, and what came of it.
//!
//! Reads the runs' directories, also while they train, and writes nothing into them.
//!
//! - [`run`]: what is known of a run, and in which fields their files differ. [`curves`]: their scalars over the steps, drawn.

pub mod curves;
pub mod run;

use std::path::PathBuf;

use lsgan_console::{Failure, digits, product, say};
use lsgan_figures::Table;
use lsgan_launch::{ScoreRow, newest_score};
use lsgan_observe::metrics::named;
use lsgan_spec::Metric;
use lsgan_spec::scalars::Scalar;
use serde_json::{Map, Value, json};

use self::run::{Field, Run, fields};
use crate::eval::row_json;
use crate::picture::check_place;
use crate::sweep::ledger::replace;
use crate::sweep::plot::value;
use crate::sweep::table::{HASH_DIGITS, drawn};

/// What the table has.
const ROWS: &str = "\
The table has a column for each run. First come the fields in which their files differ (but for `run` and `checkpoint.to`), with \
their defaults; then state, steps, speed over the newest 100 rows of scalars, the newest values of --names, the best and the last \
scores of `lsgan eval` and what they were scored by, the identity, and the hash of G's weights once a run is finished. Runs of one identity have equal weights \
after equal steps.";

/// The arguments of `lsgan compare`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = ROWS)]
pub struct Args {
    /// The runs' directories, two or more; live and finished ones.
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// Scalars by their names, separated by commas: their newest values are in the table, and --svg draws them.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_values = ["loss_d", "loss_g"])]
    names: Vec<String>,
    /// Draw the scalars of all runs over the steps, a chart for each, into this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print CSV, numbers with all their digits.
    #[arg(long)]
    csv: bool,
}

/// Prints what is different between runs.
///
/// # Errors
/// Fewer than two runs, a directory without one, a scalar that nobody knows, a file that cannot be written; a journal that cannot
/// be read.
pub fn compare(args: &Args) -> Result<(), Failure> {
    let wanted = named(&args.names).map_err(|why| Failure::bad_input(format!("--names: {why}")))?;
    if args.runs.len() < 2 {
        return Err(Failure::bad_input(
            "one run is named, and there is nothing to compare it with. Name the directories of two or more: lsgan compare \
             runs/a runs/b",
        ));
    }
    if let Some(path) = &args.svg {
        curves::check_svg(path)?;
        check_place("--svg", path, "compare.svg")?;
    }
    let runs = run::read(&args.runs)?;
    if let Some(path) = &args.svg {
        let figure = curves::figure(&runs, &wanted)?;
        replace(path, &lsgan_figures::svg(&figure)?)?;
    }
    let compared = Compared { fields: fields(&runs), runs, wanted };
    match (args.json, args.csv) {
        (true, _) => product!("{:#}", compared.json())?,
        (_, true) => {
            let table = compared.table(|number| number.to_string(), usize::MAX);
            product!("{}", table.csv().trim_end())?;
        }
        _ => compared.print()?,
    }
    if let Some(path) = &args.svg {
        say!("the curves are in {}", path.display());
    }
    Ok(())
}

/// Runs, and what is different in their files.
struct Compared {
    runs: Vec<Run>,
    fields: Vec<Field>,
    /// Scalars whose newest values are shown.
    wanted: Vec<Scalar>,
}

/// What a row of the table has of a run.
enum Cell {
    Text(String),
    Number(Option<f64>),
    Hash(Option<String>),
}

/// A row of the table: its name, and what it has of each run.
type Row = (String, Box<dyn Fn(&Run) -> Cell>);

impl Compared {
    fn print(&self) -> Result<(), Failure> {
        product!("{}", drawn(&self.table(digits, HASH_DIGITS)))?;
        if self.fields.is_empty() {
            product!("their files say the same")?;
        }
        for run in self.runs.iter().filter(|run| run.spec.is_none()) {
            product!("{}: its file is of another version, and is not compared", run.label)?;
        }
        let mut scored = self.runs.iter().filter_map(|run| newest_score(&run.scores));
        let first = scored.next();
        if scored.any(|row| first.is_some_and(|first| first.basis != row.basis)) {
            product!("their scores were made in different ways (row `scored by`): they cannot be compared")?;
        }
        Ok(())
    }

    fn table(&self, number: impl Fn(f64) -> String, hash_digits: usize) -> Table {
        let shown = |cell: Cell| match cell {
            Cell::Text(text) => text,
            Cell::Number(value) => value.map_or_else(String::new, &number),
            Cell::Hash(hash) => hash.iter().flat_map(|hash| hash.chars()).take(hash_digits).collect(),
        };
        let of_field = |field: &Field| {
            let values = field.values.iter().map(|value| value.clone().unwrap_or_else(|| "-".to_owned()));
            [field.path.clone()].into_iter().chain(values).collect()
        };
        let mut rows: Vec<Vec<String>> = self.fields.iter().map(of_field).collect();
        for (name, cell) in self.results() {
            let cells: Vec<_> = self.runs.iter().map(|run| shown(cell(run))).collect();
            // What no run has is left out.
            if cells.iter().any(|cell| !cell.is_empty()) {
                rows.push([name].into_iter().chain(cells).collect());
            }
        }
        let header = [String::new()].into_iter().chain(self.runs.iter().map(|run| run.label.clone()));
        Table { header: header.collect(), rows }
    }

    /// The rows behind those of the files.
    fn results(&self) -> Vec<Row> {
        fn row(name: &str, cell: impl Fn(&Run) -> Cell + 'static) -> Row {
            (name.to_owned(), Box::new(cell))
        }
        let whole = |number: Option<u64>| Cell::Text(number.map_or_else(String::new, |n| n.to_string()));
        let mut rows = vec![
            row("directory", |run| Cell::Text(run.dir.display().to_string())),
            row("state", |run| Cell::Text(run.summary.state.clone())),
            row("step", move |run| whole(Some(run.summary.step))),
            row("of", move |run| whole(run.summary.steps)),
            row("kimg", |run| Cell::Number(run.kimg())),
            row("images/s", |run| Cell::Number(run.summary.images_per_s)),
            row("s/kimg", |run| Cell::Number(run.summary.s_per_kimg)),
        ];
        for scalar in self.wanted.clone() {
            rows.push(row(scalar.name, move |run| Cell::Number(run.newest(scalar))));
        }
        for metric in self.metrics() {
            let of = move |row: Option<&ScoreRow>| Cell::Number(row.and_then(|row| value(row, metric)));
            rows.push(row(&format!("best {metric}"), move |run| of(run.summary.best.as_ref())));
            rows.push(row(&format!("last {metric}"), move |run| of(newest_score(&run.scores))));
        }
        let step = move |row: Option<&ScoreRow>| whole(row.map(|row| row.step.0));
        rows.extend([
            row("best at step", move |run| step(run.summary.best.as_ref())),
            row("last at step", move |run| step(newest_score(&run.scores))),
            row("scored by", |run| Cell::Text(newest_score(&run.scores).map_or_else(String::new, scored_by))),
            row("identity", |run| Cell::Hash(run.identity.clone())),
            row("weights", |run| Cell::Hash(run.weights.clone())),
        ]);
        rows
    }

    /// The metrics of the last scores, in their order.
    fn metrics(&self) -> Vec<Metric> {
        let mut metrics = vec![];
        for score in self.runs.iter().filter_map(|run| newest_score(&run.scores)).flat_map(|row| &row.scores)
        {
            if !metrics.contains(&score.metric) {
                metrics.push(score.metric);
            }
        }
        metrics
    }

    fn json(&self) -> Value {
        let run = |run: &Run| {
            let newest = |scalar: &Scalar| (scalar.name.to_owned(), json!(run.newest(*scalar)));
            let newest: Map<_, _> = self.wanted.iter().map(newest).collect();
            let (summary, dir) = (&run.summary, run.dir.display().to_string());
            json!({
                "label": run.label, "name": summary.name, "dir": dir, "state": summary.state, "live": summary.live,
                "step": summary.step, "steps": summary.steps, "kimg": run.kimg(),
                "images_per_s": summary.images_per_s, "s_per_kimg": summary.s_per_kimg,
                "goodput": summary.goodput, "newest": newest,
                "best": summary.best.as_ref().map(row_json), "last": newest_score(&run.scores).map(row_json),
                "identity": run.identity, "weights": run.weights,
            })
        };
        let field = |field: &Field| json!({ "path": field.path, "values": field.values });
        json!({
            "runs": self.runs.iter().map(run).collect::<Vec<_>>(),
            "different": self.fields.iter().map(field).collect::<Vec<_>>(),
        })
    }
}

/// What scores depend on besides the weights, in a few words.
fn scored_by(row: &ScoreRow) -> String {
    let extractor = row.basis.extractor.as_deref().map_or_else(String::new, |name| format!(", {name}"));
    let real = row.basis.real.map_or_else(String::new, |real| format!(" against {real}"));
    format!("{} samples{real}{extractor}", row.basis.samples)
}
