//! The scores of a sweep over the steps, each setting with the spread over its seeds.

use lsgan_figures::{Axis, Chart, Corner, Figure, Mark, Series};
use lsgan_launch::ScoreRow;
use lsgan_spec::{Metric, Step};

use super::table::{Results, Row, median};

/// Settings beyond so many have no colours of their own, and are left to the table.
const SETTINGS_MAX: usize = 7;

/// A chart for each metric; none where there are no scores at two steps.
#[must_use]
pub fn figure(results: &Results) -> Option<Figure> {
    let groups = results.groups();
    let shown = &groups[..groups.len().min(SETTINGS_MAX)];
    let scores = || results.rows().iter().flat_map(|row| &row.scores);
    let last = scores().map(|row| row.step).max()?;
    if scores().all(|row| row.step == last) {
        return None;
    }
    let of_metric = |metric: Metric| {
        let line = |(colour, (values, rows)): (usize, &(&[String], Vec<&Row>))| {
            let name = if values.is_empty() { "all seeds".to_owned() } else { values.join(", ") };
            over_seeds(&name, colour, metric, rows)
        };
        let series: Vec<Series> = shown.iter().enumerate().flat_map(line).collect();
        let values = series.iter().flat_map(|series| &series.points).map(|[_, y]| *y);
        let y = Axis::around(metric.word(), values);
        Chart {
            title: metric.to_string(),
            x: Axis::new("step", 0.0, last.0 as f64),
            y: y.unwrap_or_else(|| Axis::new(metric.word(), 0.0, 1.0)),
            series,
            legend: Some(Corner::UpperRight),
        }
    };
    let metrics = results.metrics();
    let charts: Vec<Chart> = metrics.into_iter().map(of_metric).collect();
    Some(Figure { columns: charts.len().clamp(1, 3), charts, numbers: results.short(), notes: vec![] })
}

/// The median over the seeds as a line, in the area between the least and the most.
#[must_use]
pub fn over_seeds(name: &str, colour: usize, metric: Metric, rows: &[&Row]) -> Vec<Series> {
    let first = rows.iter().max_by_key(|row| row.scores.len());
    let mut steps: Vec<Step> =
        first.map_or(vec![], |row| row.scores.iter().map(|score| score.step).collect());
    // One that was scored with several weights shows those of the first.
    steps.dedup();
    let at = |step: Step| {
        let scores = rows.iter().filter_map(|row| row.scores.iter().find(|score| score.step == step));
        let mut values: Vec<f64> = scores.filter_map(|score| value(score, metric)).collect();
        values.sort_by(f64::total_cmp);
        (step.0 as f64, values)
    };
    let found: Vec<_> = steps.into_iter().map(at).filter(|(_, values)| !values.is_empty()).collect();
    let line = |of: &dyn Fn(&[f64]) -> f64| {
        found.iter().map(|(step, values)| [*step, of(values)]).collect::<Vec<_>>()
    };
    let (least, most) = (line(&|values| values[0]), line(&|values| values[values.len() - 1]));
    let area = most.into_iter().chain(least.into_iter().rev()).collect();
    vec![
        Series::new(&format!("{name}, least to most"), colour, Mark::Area, area),
        Series::line(name, colour, line(&median)),
    ]
}

/// One of the scores of a row.
#[must_use]
pub fn value(row: &ScoreRow, metric: Metric) -> Option<f64> {
    row.scores
        .iter()
        .find(|score| score.metric == metric)
        .map(|score| score.value)
        .filter(|value| value.is_finite())
}
