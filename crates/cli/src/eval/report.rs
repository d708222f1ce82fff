//! Scores, as people and programs read them.

use comfy_table::{Table, presets};
use lsgan_console::{Failure, product};
use lsgan_evaluate::{Evaluation, Resize};
use lsgan_launch::{ScoreRow, Value, best_score};
use serde_json::{Map, Value as Json, json};

/// All that one call has scored.
pub struct Report<'a> {
    /// How it was scored.
    pub evaluation: &'a Evaluation,
    /// In the order of the steps; at least one.
    pub rows: &'a [ScoreRow],
    /// How pictures were scaled.
    pub resize: Resize,
}

impl Report<'_> {
    /// Prints it as a table with what it is of, or as one JSON object.
    pub fn print(&self, as_json: bool) -> Result<(), Failure> {
        let best = best_score(self.rows, |_| true);
        if as_json {
            return product!("{:#}", self.json(best));
        }
        let mut table = Table::new();
        table.load_style(presets::UTF8_BORDERS_ONLY);
        let metrics = self.evaluation.plan().metrics.iter().map(|metric| metric.word().to_owned());
        table.set_header(["step".to_owned(), "weights".to_owned()].into_iter().chain(metrics));
        for row in self.rows {
            let head = [row.step.to_string(), row.weights.word().to_owned()];
            table.add_row(head.into_iter().chain(row.scores.iter().map(Value::to_string)));
        }
        product!("{table}")?;
        product!("{}", self.about())?;
        match best {
            Some(best) if self.rows.len() > 1 => product!("the best: {best}"),
            _ => Ok(()),
        }
    }

    /// What the scores are of, in a line or two.
    fn about(&self) -> String {
        let plan = self.evaluation.plan();
        let (Some(extractor), Some(reference)) = (self.evaluation.extractor(), self.evaluation.reference())
        else {
            return format!("{} points against the mixture of the run's file", plan.samples);
        };
        let real = match reference.statistics.samples {
            Some(count) => format!("{count} real ones"),
            None => "the statistics of a file".to_owned(),
        };
        let mut about = format!(
            "{} samples against {real}; {} features of {}, pictures resized {}",
            plan.samples,
            extractor.features(),
            extractor.name(),
            self.resize.word()
        );
        if !extractor.is_inception() {
            about +=
                "\nnot comparable with Inception FID: compare these only with scores of the same extractor";
        }
        about
    }

    fn json(&self, best: Option<&ScoreRow>) -> Json {
        let plan = self.evaluation.plan();
        let extractor = self.evaluation.extractor().map(|extractor| {
            json!({
                "name": extractor.name(), "version": extractor.version(), "features": extractor.features(),
                "comparable_with_inception_fid": extractor.is_inception(), "resize": self.resize.word(),
            })
        });
        let real = self.evaluation.reference().map(|reference| reference.statistics.samples);
        json!({
            "extractor": extractor, "samples": plan.samples, "real": real, "warnings": self.evaluation.warnings(),
            "snapshots": self.rows.iter().map(row_json).collect::<Vec<_>>(),
            "best_step": best.map(|row| row.step.0),
        })
    }
}

/// A snapshot's scores as one object.
pub fn row_json(row: &ScoreRow) -> Json {
    let of = |number: fn(&Value) -> Option<f64>| {
        let named = |value: &Value| number(value).map(|found| (value.metric.word().to_owned(), json!(found)));
        row.scores.iter().filter_map(named).collect::<Map<_, _>>()
    };
    json!({
        "step": row.step.0, "weights": row.weights.word(), "scores": of(|value| Some(value.value)),
        "deviations": of(|value| value.deviation),
    })
}

/// Prints the scores of one snapshot of a live run.
pub fn line(row: &ScoreRow, as_json: bool) -> Result<(), Failure> {
    if as_json { product!("{}", row_json(row)) } else { product!("{row}") }
}
