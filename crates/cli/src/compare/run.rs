//! What is known of a run that is compared.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lsgan_console::Failure;
use lsgan_journal::{FILE, Known, Reader, wall_ms};
use lsgan_launch::{ScoreRow, read_scores};
use lsgan_observe::summary::Summary;
use lsgan_snapshots::Holder;
use lsgan_spec::scalars::Scalar;
use lsgan_spec::{RunSpec, leaves, printable};

use crate::journal::check;
use crate::place::waiting;

/// Fields in which any two runs differ.
const OWN: [&str; 2] = ["run", "checkpoint.to"];

/// A run that is compared.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its name, or where another one has that too, its directory.
    pub label: String,
    /// Its directory, as it was named.
    pub dir: PathBuf,
    /// In a few numbers.
    pub summary: Summary,
    /// Its file; none if that is of another version.
    pub spec: Option<RunSpec>,
    /// In the order of its evaluations.
    pub scores: Vec<ScoreRow>,
    /// The hash of what decides its mathematics.
    pub identity: Option<String>,
    /// The hash of G's weights, once it is finished.
    pub weights: Option<String>,
}

/// A field of runs' files that is not the same in all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// As in the file.
    pub path: String,
    /// What each run has; none where it has no such field, or its file is of another version.
    pub values: Vec<Option<String>>,
}

/// Reads the runs in these directories.
///
/// # Errors
/// A directory that holds none, a journal or scores that cannot be read.
pub fn read(dirs: &[PathBuf]) -> Result<Vec<Run>, Failure> {
    let mut runs = dirs.iter().map(|dir| Run::read(dir)).collect::<Result<Vec<_>, _>>()?;
    let count = |name: &str| runs.iter().filter(|run| run.summary.name == name).count();
    let labels: Vec<_> = runs
        .iter()
        .map(|run| match count(&run.summary.name) {
            1 => printable(&run.summary.name).into_owned(),
            _ => printable(&run.dir.display().to_string()).into_owned(),
        })
        .collect();
    runs.iter_mut().zip(labels).for_each(|(run, label)| run.label = label);
    Ok(runs)
}

impl Run {
    fn read(dir: &Path) -> Result<Self, Failure> {
        if dir.to_string_lossy().contains("://") {
            return Err(Failure::bad_input(format!(
                "{} is an address. Name the run's directory, which has its scalars and scores also where its snapshots are \
                 elsewhere.",
                dir.display()
            )));
        }
        check(dir)?;
        let live = matches!(Holder::of(dir), Ok(Some(_)));
        let summary = waiting(|| Summary::read("", dir, live, wall_ms()))?;
        let known = waiting(|| Reader::open(&dir.join(FILE))?.known())?;
        let spec = known.fact("spec_yaml").and_then(|yaml| lsgan_runfile::parse(yaml, "its file", &[]).ok());
        Ok(Self {
            label: String::new(),
            dir: dir.to_owned(),
            summary,
            spec,
            scores: read_scores(dir)?,
            identity: known.fact("identity").map(str::to_owned),
            weights: weights(&known),
        })
    }

    /// Thousands of images that it has seen.
    #[must_use]
    pub fn kimg(&self) -> Option<f64> {
        let images = self.summary.global_batch?.saturating_mul(self.summary.step);
        Some(images as f64 / 1000.0)
    }

    /// The newest value of a scalar.
    #[must_use]
    pub fn newest(&self, scalar: Scalar) -> Option<f64> {
        self.summary.newest.get(scalar.name).copied()
    }
}

fn weights(known: &Known) -> Option<String> {
    known.final_files().into_iter().find(|file| file.name == "generator").map(|file| file.blake3)
}

/// The fields in which the runs' files differ, in the order of their paths. Files of another version do not count.
#[must_use]
pub fn fields(runs: &[Run]) -> Vec<Field> {
    let specs: Vec<_> = runs.iter().map(|run| run.spec.as_ref()).collect();
    let mut found: BTreeMap<String, Vec<Option<String>>> = BTreeMap::new();
    for (index, spec) in specs.iter().enumerate() {
        for leaf in spec.iter().flat_map(|spec| leaves::of(spec)) {
            let values = found.entry(leaf.path).or_insert_with(|| vec![None; specs.len()]);
            values[index] = Some(leaf.value.to_string());
        }
    }
    let differ = |values: &[Option<String>]| {
        let mut known = values.iter().zip(&specs).filter(|(_, spec)| spec.is_some()).map(|(value, _)| value);
        let first = known.next();
        known.any(|value| Some(value) != first)
    };
    let of_all = found.into_iter().filter(|(path, _)| !OWN.contains(&path.as_str()));
    of_all.filter(|(_, values)| differ(values)).map(|(path, values)| Field { path, values }).collect()
}

#[cfg(test)]
mod tests {
    use lsgan_runfile::Override;

    use super::*;

    const QUICKSTART: &str = include_str!("../../../../configs/quickstart.yaml");

    fn run(sets: &[&str]) -> Run {
        let sets: Vec<Override> = sets.iter().map(|set| set.parse().expect("it is an override")).collect();
        let spec = lsgan_runfile::parse(QUICKSTART, "quickstart.yaml", &sets).expect("it is right");
        Run {
            label: "a".to_owned(),
            dir: PathBuf::from("a"),
            summary: Summary { step: 30, global_batch: Some(64), ..Summary::default() },
            spec: Some(spec),
            scores: vec![],
            identity: None,
            weights: None,
        }
    }

    fn paths(runs: &[Run]) -> Vec<String> {
        fields(runs).into_iter().map(|field| field.path).collect()
    }

    #[test]
    fn only_fields_that_differ_are_told_and_none_that_always_do() {
        let base = run(&[]);
        assert_eq!(paths(&[base.clone(), run(&["run=b", "checkpoint.to=runs/b"])]), Vec::<String>::new());
        let faster = run(&["optimizer.generator.adam.learning_rate=0.001"]);
        let found = fields(&[base.clone(), faster, base.clone()]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, "optimizer.generator.adam.learning_rate");
        assert_eq!(found[0].values[1].as_deref(), Some("0.001"));
        assert_eq!(found[0].values[0], found[0].values[2]);
    }

    #[test]
    fn a_field_that_one_run_has_alone_differs_and_a_file_of_another_version_does_not_count() {
        let base = run(&[]);
        let other = run(&["objective=non_saturating"]);
        let found = fields(&[base.clone(), other]);
        let a = found.iter().find(|field| field.path == "objective.least_squares.a").expect("it differs");
        assert!(a.values[0].is_some() && a.values[1].is_none(), "{a:?}");
        assert!(found.iter().all(|field| field.path.starts_with("objective")), "{found:?}");

        let unknown = Run { spec: None, ..base.clone() };
        assert_eq!(paths(&[unknown, base]), Vec::<String>::new());
    }

    #[test]
    fn images_are_counted_in_thousands() {
        assert_eq!(run(&[]).kimg(), Some(1.92));
    }
}
