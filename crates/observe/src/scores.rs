//! Scores of snapshots as series: one for each metric, whatever the metrics are.

use std::collections::BTreeMap;

use lsgan_launch::ScoreRow;
use lsgan_spec::Metric;
use serde_json::{Value, json};

/// Numbers of one metric that can be compared with each other.
#[derive(Debug)]
struct Series<'a> {
    metric: Metric,
    row: &'a ScoreRow,
    /// By step; a snapshot that was scored again has its newest number.
    values: BTreeMap<u64, (f64, Option<f64>)>,
}

/// All series, in the order in which they were begun. `written_ms` has the times of the snapshots.
pub(crate) fn series(rows: &[ScoreRow], written_ms: &BTreeMap<u64, u64>) -> Value {
    let mut all: Vec<Series<'_>> = Vec::new();
    for row in rows {
        for score in &row.scores {
            let is_same = |series: &Series<'_>| {
                let of = series.row;
                (series.metric, of.weights, &of.basis) == (score.metric, row.weights, &row.basis)
            };
            let place = all.iter().position(is_same).unwrap_or_else(|| {
                all.push(Series { metric: score.metric, row, values: BTreeMap::new() });
                all.len() - 1
            });
            all[place].values.insert(row.step.0, (score.value, score.deviation));
        }
    }
    all.iter().map(|series| as_json(series, &all, written_ms)).collect()
}

fn as_json(series: &Series<'_>, all: &[Series<'_>], written_ms: &BTreeMap<u64, u64>) -> Value {
    let (metric, basis) = (series.metric, &series.row.basis);
    let best = series.values.iter().min_by(|(_, (a, _)), (_, (b, _))| metric.better(*a, *b));
    let is_less = metric.better(0.0, 1.0).is_lt();
    // Several of one metric are told apart by what they depend on.
    let name = match all.iter().filter(|other| other.metric == metric).count() {
        1 => metric.word().to_owned(),
        _ => {
            let on = basis.extractor.as_deref().map(|on| format!(", {on}")).unwrap_or_default();
            let version = basis.version.as_deref().map(|v| format!(" {v}")).unwrap_or_default();
            let real = basis.real.map(|real| format!(" against {real}")).unwrap_or_default();
            let weights = series.row.weights.word();
            format!("{} ({weights}, {} samples{real}{on}{version})", metric.word(), basis.samples)
        }
    };
    let finite = |value: f64| value.is_finite().then_some(value);
    json!({
        "name": name,
        "metric": metric.word(),
        "better": if is_less { "less" } else { "more" },
        "best_step": best.filter(|(_, (value, _))| !value.is_nan()).map(|(step, _)| *step),
        "weights": series.row.weights,
        "extractor": basis.extractor,
        "samples": basis.samples,
        "steps": series.values.keys().collect::<Vec<_>>(),
        "wall_ms": series.values.keys().map(|step| written_ms.get(step)).collect::<Vec<_>>(),
        "values": series.values.values().map(|(value, _)| finite(*value)).collect::<Vec<_>>(),
        "deviations": series.values.values().map(|(_, deviation)| deviation.and_then(finite)).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(step: u64, samples: u64, scores: Value) -> ScoreRow {
        let row = json!({ "step": step, "weights": "ema", "scores": scores, "extractor": "clothes", "samples": samples });
        serde_json::from_value(row).unwrap()
    }

    #[test]
    fn each_metric_has_a_series_with_its_best_and_what_cannot_be_compared_is_another() {
        let both = |fid: f64, recall: f64| {
            let fid = json!({ "metric": "fid", "value": fid, "deviation": 0.5 });
            json!([fid, { "metric": "recall", "value": recall }])
        };
        let mut rows =
            vec![row(20, 10, both(9.0, 0.1)), row(10, 10, both(8.0, 0.4)), row(20, 10, both(7.0, 0.2))];
        let times = BTreeMap::from([(20, 2000)]);
        let all = series(&rows, &times);
        assert_eq!(all[0]["name"], "fid");
        assert_eq!(all[0]["steps"], json!([10, 20]));
        assert_eq!(
            all[0]["values"],
            json!([8.0, 7.0]),
            "a snapshot that was scored again has its newest number"
        );
        assert_eq!(all[0]["wall_ms"], json!([null, 2000]));
        assert_eq!(all[0]["deviations"], json!([0.5, 0.5]));
        assert_eq!((&all[0]["better"], &all[0]["best_step"]), (&json!("less"), &json!(20)));
        assert_eq!((&all[1]["better"], &all[1]["best_step"]), (&json!("more"), &json!(10)));
        rows.push(row(30, 99, both(1.0, 0.1)));
        let all = series(&rows, &times);
        assert_eq!(all.as_array().unwrap().len(), 4);
        assert_eq!(all[2]["name"], "fid (ema, 99 samples, clothes)");
        assert_eq!(all[0]["best_step"], 20);
    }
}
