//! The runs of a sweep.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lsgan_console::Failure;
use lsgan_journal::{LastWords, OutcomeKind};
use lsgan_launch::read_scores;
use lsgan_runfile::{Override, RunFile};
use lsgan_snapshots::{Holder, Store};
use lsgan_spec::SampleWeights;

use super::axes::{Axis, Seeds};
use crate::place::waiting;

/// The longest name of a run.
const NAME_MAX: usize = 63;
/// The most runs; more are probably a slip.
const RUNS_MAX: usize = 10_000;
/// So long the processes of a sweep that was killed may take to end.
const END_MAX: Duration = Duration::from_secs(10);

/// All runs of a sweep.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// Its folder.
    pub out: PathBuf,
    /// What differs between the runs, beside the seed.
    pub axes: Vec<Axis>,
    /// At least one, in the order of the values, seeds last.
    pub jobs: Vec<Job>,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its name, and that of its folder.
    pub name: String,
    /// Its values, in the order of the sweep's axes.
    pub values: Vec<String>,
    /// Its seed.
    pub seed: u64,
    /// Its file, with all that was set.
    pub file: RunFile,
    /// Its folder.
    pub dir: PathBuf,
}

/// What is left to do for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// To train it, from its beginning or from where it is.
    Train,
    /// To score its last snapshot.
    Score,
    /// Nothing.
    Nothing,
}

impl Sweep {
    /// Reads the run's file by `read` with every combination.
    ///
    /// # Errors
    /// All that is wrong with the first combination that is not accepted, with exit code 2.
    pub fn plan(
        read: impl Fn(&[Override]) -> Result<RunFile, Failure>,
        axes: &[Axis],
        seeds: Option<&Seeds>,
        out: Option<&Path>,
    ) -> Result<Self, Failure> {
        let seeds = seeds.map_or_else(|| vec![None], |seeds| seeds.0.iter().copied().map(Some).collect());
        let count = axes.iter().map(|axis| axis.values.len()).product::<usize>().saturating_mul(seeds.len());
        if count > RUNS_MAX {
            return Err(Failure::bad_input(format!(
                "these are {count} runs; at most {RUNS_MAX} are accepted. Name fewer values."
            )));
        }
        let mut combinations = vec![vec![]];
        for axis in axes {
            let longer = |values: &Vec<String>| {
                axis.values
                    .iter()
                    .map(|value| [values.clone(), vec![value.clone()]].concat())
                    .collect::<Vec<_>>()
            };
            combinations = combinations.iter().flat_map(longer).collect();
        }
        let mut sweep = Self { out: PathBuf::new(), axes: axes.to_vec(), jobs: vec![] };
        for values in &combinations {
            for &seed in &seeds {
                sweep.add(&read, values, seed)?;
            }
        }
        let of_file = || Path::new("runs").join(format!("{}-sweep", sweep.jobs[0].file.spec.run));
        sweep.out = out.map_or_else(of_file, Path::to_owned);
        sweep.name_all();
        sweep.forget_fixed();
        Ok(sweep)
    }

    /// Reads the file with these values.
    fn add(
        &mut self,
        read: impl Fn(&[Override]) -> Result<RunFile, Failure>,
        values: &[String],
        seed: Option<u64>,
    ) -> Result<(), Failure> {
        let sets = self.axes.iter().zip(values).map(|(axis, value)| format!("{}={value}", axis.path));
        let sets = sets.chain(seed.map(|seed| format!("seed={seed}")));
        let sets: Vec<Override> = sets.map(|set| set.parse().expect("any text is an override")).collect();
        let file = read(&sets)?;
        let seed = file.spec.seed;
        self.jobs.push(Job { name: String::new(), values: values.to_vec(), seed, file, dir: PathBuf::new() });
        Ok(())
    }

    /// Names every run after its values; where that is too long, or two would have one name, after its identity as well.
    fn name_all(&mut self) {
        let varied: Vec<bool> = self.axes.iter().map(|axis| axis.values.len() > 1).collect();
        let mut taken = BTreeSet::new();
        for job in &mut self.jobs {
            let values = self.axes.iter().zip(&job.values).zip(&varied).filter(|(_, varied)| **varied);
            let parts = values.map(|((axis, value), _)| format!("{}-{}", axis.name(), plain(value)));
            let mut name = parts.chain([format!("seed-{}", job.seed)]).collect::<Vec<_>>().join("_");
            if name.len() > NAME_MAX || taken.contains(&name) {
                let identity = job.file.spec.identity().to_string();
                name.truncate(NAME_MAX - 9);
                name = format!("{name}-{}", &identity[..8]);
            }
            taken.insert(name.clone());
            job.dir = self.out.join(&name);
            job.file.spec.run.clone_from(&name);
            job.file.spec.checkpoint.to = store(&job.file.spec.checkpoint.to, &self.out, &name);
            job.name = name;
        }
    }

    /// An axis with one value is no difference between runs.
    fn forget_fixed(&mut self) {
        let varied: Vec<bool> = self.axes.iter().map(|axis| axis.values.len() > 1).collect();
        for job in &mut self.jobs {
            let mut varied = varied.iter();
            job.values.retain(|_| *varied.next().expect("a value for each axis"));
        }
        self.axes.retain(|axis| axis.values.len() > 1);
    }

    /// Looks at what lies in the folder, before anything is started.
    ///
    /// # Errors
    /// Another run of the same name, one that is live, two runs of one name.
    pub async fn check(&self) -> Result<(), Failure> {
        let names: BTreeSet<&str> = self.jobs.iter().map(|job| job.name.as_str()).collect();
        if names.len() < self.jobs.len() {
            return Err(Failure::bad_input("two of these runs are the same. Name each value once."));
        }
        for job in &self.jobs {
            job.free().await?;
            if let Some(last) = waiting(|| LastWords::of(&job.dir))?
                && last.identity != job.file.spec.identity().to_string()
            {
                return Err(Failure::bad_input(format!(
                    "{} holds another run, with other mathematics than this sweep's. Name another folder with --out DIR.",
                    job.dir.display()
                )));
            }
        }
        Ok(())
    }

    /// The runs of these settings alone, to this step.
    #[must_use]
    pub fn of_round(&self, settings: &[Vec<String>], steps: u64) -> Self {
        let mut jobs = self.jobs.clone();
        jobs.retain(|job| settings.contains(&job.values));
        jobs.iter_mut().for_each(|job| job.file.spec.steps = steps);
        Self { jobs, ..self.clone() }
    }

    /// How many runs are finished.
    ///
    /// # Errors
    /// A journal that cannot be read.
    pub fn done(&self) -> Result<usize, Failure> {
        let mut done = 0;
        for job in &self.jobs {
            done += usize::from(job.left()? == Left::Nothing);
        }
        Ok(done)
    }
}

impl Job {
    /// Waits until no process holds the run.
    async fn free(&self) -> Result<(), Failure> {
        let since = Instant::now();
        while let Some(holder) = Holder::of(&self.dir)? {
            if since.elapsed() > END_MAX {
                return Err(Failure::bad_input(format!(
                    "the run in {} is live: {holder}. Stop it, or name another folder with --out DIR.",
                    self.dir.display()
                )));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// What is left to do.
    ///
    /// # Errors
    /// A journal or scores that cannot be read.
    pub fn left(&self) -> Result<Left, Failure> {
        let spec = &self.file.spec;
        let Some(last) = waiting(|| LastWords::of(&self.dir))? else { return Ok(Left::Train) };
        // Of a round before the last a run may have come further already.
        let is_there = last.snapshot_step.is_some_and(|step| step >= spec.steps);
        if !is_there
            || (last.outcome != Some(OutcomeKind::Complete) && last.snapshot_step == Some(spec.steps))
        {
            return Ok(Left::Train);
        }
        let rows = read_scores(&self.dir)?;
        let has = |weights: &SampleWeights| {
            rows.iter().any(|row| row.step.0 >= spec.steps && row.weights == *weights)
        };
        let is_scored = !spec.evaluate.scores_itself() || spec.evaluate.weights.all().iter().all(has);
        Ok(if is_scored { Left::Nothing } else { Left::Score })
    }
}

/// Where the snapshots of the run of this name go: into its folder, or, where the sweep's file names a bucket, into a folder there
/// that is called as its folder is.
fn store(to: &str, out: &Path, name: &str) -> String {
    if !Store::is_remote(to) {
        return out.join(name).display().to_string();
    }
    let sweep = out.file_name().map_or("sweep".into(), |sweep| sweep.to_string_lossy());
    format!("{}/{sweep}/{name}", to.trim_end_matches('/'))
}

/// A value as part of a name: letters, digits, dots and dashes.
fn plain(value: &str) -> String {
    let sign = |sign: char| if sign.is_ascii_alphanumeric() || ".-".contains(sign) { sign } else { ' ' };
    let words: String = value.chars().map(sign).collect();
    words.split_whitespace().collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use lsgan_launch::load_file;

    use super::*;

    fn sweep(sets: &[&str], seeds: Option<&str>) -> Result<Sweep, Failure> {
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/gaussian-ring-lsgan.yaml");
        let axes: Vec<Axis> = sets.iter().map(|set| set.parse().unwrap()).collect();
        let seeds = seeds.map(|seeds| seeds.parse().unwrap());
        Sweep::plan(|sets| load_file(&config, sets), &axes, seeds.as_ref(), Some(Path::new("out")))
    }

    fn names(sweep: &Sweep) -> Vec<&str> {
        sweep.jobs.iter().map(|job| job.name.as_str()).collect()
    }

    #[test]
    fn every_combination_is_a_run_of_its_own() {
        let rate = "optimizer.generator.adam.learning_rate=1e-3,2e-3";
        let sweep = sweep(&[rate, "steps=70", "batch.per_rank=8,16"], Some("1..2")).unwrap();
        assert_eq!(sweep.jobs.len(), 8);
        assert_eq!(
            names(&sweep)[..3],
            [
                "learning_rate-1e-3_per_rank-8_seed-1",
                "learning_rate-1e-3_per_rank-8_seed-2",
                "learning_rate-1e-3_per_rank-16_seed-1"
            ]
        );
        let last = &sweep.jobs[7];
        assert_eq!((last.values.as_slice(), last.seed), (&["2e-3".to_owned(), "16".to_owned()][..], 2));
        let spec = &last.file.spec;
        assert_eq!(
            (spec.steps, spec.batch.per_rank, spec.seed, spec.run.as_str()),
            (70, 16, 2, last.name.as_str())
        );
        assert_eq!(spec.checkpoint.to, format!("out/{}", last.name));
        assert_eq!(sweep.axes.len(), 2, "steps are the same for all");
    }

    /// Journals stay in the sweep's folder.
    #[test]
    fn snapshots_go_below_the_bucket_that_the_file_names() {
        let text = include_str!("../../../../configs/gaussian-ring-lsgan.yaml");
        let to: Override = "checkpoint.to=s3://bucket/rings".parse().unwrap();
        let read = |sets: &[Override]| {
            let spec = lsgan_runfile::parse(text, "ring", &[&[to.clone()][..], sets].concat());
            Ok(RunFile { spec: spec.unwrap_or_else(|errors| panic!("{errors}")), sets_mix: false })
        };
        let seeds: Seeds = "1..2".parse().unwrap();
        let sweep = Sweep::plan(read, &[], Some(&seeds), Some(Path::new("runs/out"))).unwrap();
        assert_eq!(names(&sweep), ["seed-1", "seed-2"]);
        assert_eq!(sweep.jobs[1].file.spec.checkpoint.to, "s3://bucket/rings/out/seed-2");
        assert_eq!(sweep.jobs[1].dir, Path::new("runs/out/seed-2"));
    }

    #[test]
    fn a_name_is_one_that_a_run_can_have() {
        let long = "objective={least_squares: {a: -1, b: 1, c: 0}},{least_squares: {a: -1.0000000001, b: 1.00000001, c: 0}},minimax";
        let sweep = sweep(&[long], None).unwrap();
        assert_eq!(names(&sweep)[0], "objective-least-squares-a--1-b-1-c-0_seed-1");
        assert_eq!(names(&sweep)[2], "objective-minimax_seed-1");
        for name in names(&sweep) {
            assert!(lsgan_spec::checked_name(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_wrong_path_or_value_is_refused_as_in_a_file() {
        let text = |sets: &[&str]| sweep(sets, None).expect_err("it is wrong").text;
        assert!(text(&["optimiser.generator=1"]).contains("optimiser"));
        assert!(text(&["batch.per_rank=8,0"]).contains("batch.per_rank is 0"));
    }
}
