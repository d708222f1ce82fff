//! The newest numbers of all runs in Prometheus' text format, by its conventions: base units, a help line, `_total`.

use std::fmt::Write;

use lsgan_spec::scalars::{self, Scalar};

use crate::losses::Losses;
use crate::readers::Counts;
use crate::summary::Summary;

/// The type that a scraper expects.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A number of a run; none where it is not known.
type Value = fn(&Summary) -> Option<f64>;

/// Name without `lsgan_`, kind, help, value.
const NUMBERS: &[(&str, &str, &str, Value)] = &[
    ("live", "gauge", "Whether a coordinator holds the run (1) or not (0).", |run| {
        Some(f64::from(u8::from(run.live)))
    }),
    ("steps_total", "counter", "Steps done.", |run| Some(run.step as f64)),
    ("steps_planned", "gauge", "Steps that the run's file asks for.", |run| whole(run.steps)),
    ("images_total", "counter", "Images that the steps were computed on.", |run| {
        run.global_batch.map(|batch| (batch * run.step) as f64)
    }),
    ("time_left_seconds", "gauge", "Time that the run still takes at its present rate.", |run| run.eta_s),
    ("goodput_ratio", "gauge", "Time stepping divided by time since the start.", |run| run.goodput),
    ("generation", "gauge", "Number of the newest generation.", |run| Some(run.generation as f64)),
    ("workers", "gauge", "Workers that are attached.", |run| Some(run.workers as f64)),
    ("workers_memory_bytes", "gauge", "Memory that the workers take of their hosts, together.", |run| {
        whole(run.memory_bytes)
    }),
    ("snapshot_step", "gauge", "Steps done in the newest snapshot.", |run| whole(run.snapshot_step)),
    ("events_total", "counter", "Events that the journal has.", |run| Some(run.events_until as f64)),
    ("corrupt_records", "gauge", "Records of the data set that do not decode.", |run| {
        Some(run.corrupt_records as f64)
    }),
    ("alerts_standing", "gauge", "Alerts that stand.", |run| Some(run.alerts.len() as f64)),
    ("alerts_total", "counter", "Alerts that have begun since the coordinator started.", |run| {
        whole(run.alerts_begun)
    }),
    ("last_step_timestamp_seconds", "gauge", "When the newest step ended.", |run| {
        run.updated_ms.map(|ms| ms as f64 / 1000.0)
    }),
];

/// How much was dropped; none where there is nothing of its kind.
type Dropped = fn(&Losses) -> Option<u64>;

/// Of what the process has dropped that serves its own run's page: name without `lsgan_`, help, value.
const LOSSES: &[(&str, &str, Dropped)] = &[
    (
        "alerts_dropped_total",
        "Alerts that the webhook's server did not take, or that waited for too long.",
        |losses| losses.alerts,
    ),
    ("spans_dropped_total", "Spans that no collector took, and that the coordinator dropped.", |losses| {
        losses.spans
    }),
    (
        "log_lines_dropped_total",
        "Lines that the coordinator's log file lacks: its disk took none.",
        |losses| Some(losses.log_lines),
    ),
    ("worker_log_lines_dropped_total", "Lines of workers' logs that came too fast to be sent.", |losses| {
        Some(losses.worker_log_lines)
    }),
];

/// One of the counts of what readers missed.
type Count = fn(&Counts) -> u64;

/// Of what the readers of this process's page missed, whichever run it is of: name without `lsgan_`, help, value.
const MISSED: &[(&str, &str, Count)] = &[
    (
        "page_updates_skipped_total",
        "Changes of runs that slow readers of live events were not told one by one.",
        |missed| missed.updates,
    ),
    (
        "page_requests_refused_total",
        "Requests to the page that had no turn in time, because too many waited.",
        |missed| missed.requests,
    ),
];

fn whole(number: Option<u64>) -> Option<f64> {
    number.map(|number| number as f64)
}

/// All runs as a scraper reads them. `losses`: of the coordinator whose process this is. `missed`: by readers of its page.
pub(crate) fn text(runs: &[&Summary], losses: Option<&Losses>, missed: Counts) -> String {
    let mut out = String::new();
    let info = "Facts of a run as labels; always 1.";
    family(&mut out, "run_info", "gauge", info, runs, |run| {
        Some((format!(",state=\"{}\",dir=\"{}\"", escaped(&run.state), escaped(&run.dir)), 1.0))
    });
    for (name, kind, help, value) in NUMBERS {
        family(&mut out, name, kind, help, runs, |run| value(run).map(|value| (String::new(), value)));
    }
    for (name, help, value) in LOSSES {
        let value = losses.and_then(value).map(|count| (String::new(), count as f64));
        family(&mut out, name, "counter", help, runs, |_| value.clone());
    }
    for (name, help, value) in MISSED {
        let count = value(&missed);
        // Text takes text.
        let _ =
            write!(out, "# HELP lsgan_{name} {help}\n# TYPE lsgan_{name} counter\nlsgan_{name} {count}\n");
    }
    for scalar in scalars::ALL {
        let (name, factor) = in_base_units(scalar);
        family(&mut out, &name, "gauge", scalar.help, runs, |run| {
            run.newest.get(scalar.name).map(|value| (String::new(), value * factor))
        });
    }
    out
}

/// A scalar's name with its base unit, and what its number is multiplied with.
fn in_base_units(scalar: &Scalar) -> (String, f64) {
    // A single `d` stands for days there.
    let word = |(place, word)| match (place, word) {
        (_, "d") => "discriminator",
        (_, "g") => "generator",
        (_, "ms") | (0, "s") => "seconds",
        (_, "s") => "second", // images per …
        (_, word) => word,
    };
    let name = scalar.name.split('_').enumerate().map(word).collect::<Vec<_>>().join("_");
    (name, if scalar.unit == "ms" { 1e-3 } else { 1.0 })
}

/// One metric with a line for each run that has it; nothing where none has.
fn family(
    out: &mut String,
    name: &str,
    kind: &str,
    help: &str,
    runs: &[&Summary],
    value: impl Fn(&Summary) -> Option<(String, f64)>,
) {
    let lines = runs.iter().filter_map(|run| {
        let (labels, value) = value(run)?;
        let (run, id) = (escaped(&run.name), escaped(&run.id));
        Some(format!("lsgan_{name}{{run=\"{run}\",id=\"{id}\"{labels}}} {value}\n"))
    });
    let lines: String = lines.collect();
    if !lines.is_empty() {
        // Text takes text.
        let _ = write!(out, "# HELP lsgan_{name} {help}\n# TYPE lsgan_{name} {kind}\n{lines}");
    }
}

/// What may stand between quotes.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    /// A file of deploy/monitoring.
    fn monitoring(name: &str) -> String {
        let path = format!("{}/../../deploy/monitoring/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The names of all metrics that a run can have.
    fn exported() -> BTreeSet<String> {
        let run = Summary {
            steps: Some(1),
            global_batch: Some(1),
            eta_s: Some(1.0),
            goodput: Some(1.0),
            snapshot_step: Some(1),
            memory_bytes: Some(1),
            alerts_begun: Some(1),
            updated_ms: Some(1),
            newest: scalars::ALL.iter().map(|scalar| (scalar.name.to_owned(), 1.0)).collect(),
            ..Summary::default()
        };
        let losses = Losses { spans: Some(0), alerts: Some(0), ..Losses::default() };
        let text = text(&[&run], Some(&losses), Counts::default());
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
        types.map(str::to_owned).collect()
    }

    /// The names of ours in all texts of a value.
    fn names_in(value: &Value) -> BTreeSet<String> {
        match value {
            Value::String(text) => text
                .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .filter(|word| word.starts_with("lsgan_"))
                .map(str::to_owned)
                .collect(),
            Value::Array(values) => values.iter().flat_map(names_in).collect(),
            Value::Object(fields) => fields.values().flat_map(names_in).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) => BTreeSet::new(),
        }
    }

    /// So that a new scalar gets its panel.
    #[test]
    fn the_dashboard_shows_every_metric_and_no_other() {
        let text = monitoring("grafana-dashboard.json");
        let dashboard: Value = serde_json::from_str(&text).expect("it is JSON");
        assert_eq!(names_in(&dashboard), exported());
    }

    #[test]
    fn every_alert_rule_is_of_metrics_that_there_are_and_says_what_to_do() {
        let rules: Value = serde_saphyr::from_str(&monitoring("alerts.yaml")).expect("it is YAML");
        let rules = rules["groups"][0]["rules"].as_array().expect("the group has rules");
        assert!(rules.len() > 10, "{rules:?}");
        let exported = exported();
        for rule in rules {
            let unknown: Vec<_> = names_in(rule).difference(&exported).cloned().collect();
            assert_eq!(unknown, [""; 0], "{rule}");
            let severity = rule["labels"]["severity"].as_str().unwrap_or_default();
            assert!(["critical", "warning", "info"].contains(&severity), "{rule}");
            let annotations = &rule["annotations"];
            for field in [&rule["expr"], &annotations["summary"], &annotations["description"]] {
                assert!(field.as_str().is_some_and(|text| !text.is_empty()), "{rule}");
            }
        }
    }

    #[test]
    fn a_run_is_told_in_base_units_and_its_name_ends_no_label() {
        let newest = [("step_ms", 250.0), ("images_per_s", 12.5), ("s_per_kimg", 80.0), ("loss_d", 0.5)];
        let run = Summary {
            id: "a-1".to_owned(),
            name: "a\"} 1\n".to_owned(),
            step: 7,
            newest: newest.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            ..Summary::default()
        };
        let losses = Losses { alerts: Some(2), spans: None, log_lines: 3, worker_log_lines: 0 };
        let text = text(&[&run], Some(&losses), Counts { updates: 4, requests: 5 });
        let labels = r#"{run="a\"} 1\n",id="a-1"}"#;
        for line in [
            format!("lsgan_steps_total{labels} 7\n"),
            format!("lsgan_step_seconds{labels} 0.25\n"),
            format!("lsgan_images_per_second{labels} 12.5\n"),
            format!("lsgan_seconds_per_kimg{labels} 80\n"),
            format!("lsgan_loss_discriminator{labels} 0.5\n"),
            format!("lsgan_alerts_dropped_total{labels} 2\n"),
            format!("lsgan_log_lines_dropped_total{labels} 3\n"),
            "\nlsgan_page_updates_skipped_total 4\n".to_owned(),
            "\nlsgan_page_requests_refused_total 5\n".to_owned(),
        ] {
            assert!(text.contains(&line), "{line} in\n{text}");
        }
        assert!(text.contains("# TYPE lsgan_steps_total counter\n"));
        assert!(text.contains("# TYPE lsgan_log_lines_dropped_total counter\n"));
        assert!(!text.contains("time_left"), "what is not known is left out");
        assert!(!text.contains("spans"), "nothing is exported");
        assert!(
            !self::text(&[&run], None, Counts::default()).contains("dropped"),
            "only a coordinator drops something"
        );
    }
}
