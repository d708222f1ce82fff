//! A run: the root of the table, and its small sections.

use serde::{Deserialize, Serialize};

use crate::macros::{section, words};
use crate::table::{Form, below_one, number, of, text, whole};
use crate::{
    AlertsSpec, AugmentSpec, ClassesSpec, ClusterSpec, ComputeSpec, DataSpec, EvaluateSpec, ModelSpec,
    Objective, OptimizersSpec, Precision, ReductionMode, RegularizationSpec, ScheduleSpec, Step,
};

/// The largest seed: YAML and SQLite hold whole numbers of 63 bits.
pub const MAX_SEED: u64 = (1 << 63) - 1;

/// The largest number of steps or records, so that twice and thrice of it are far from the end of u64.
pub const MAX_STEPS: u64 = 1 << 40;

section! {
    /// One training, described by one YAML file.
    RunSpec {
        /// The run's name, in logs, metrics and manifests.
        run: String => text(RUN_NAME).required("quickstart"),
        /// Decides the initial weights, the order of the data and the noise.
        seed: u64 => whole(0, MAX_SEED).required("1").identity(),
        /// Steps that the run does. Each has one update of D, and one of G unless optimizer.discriminator_steps says otherwise.
        /// Raise it to go on with a finished run.
        steps: u64 => whole(1, MAX_STEPS).required("1000"),
        /// Where the real samples come from.
        data: DataSpec => of::<DataSpec>(),
        /// The two networks; both of one kind.
        model: ModelSpec => of::<ModelSpec>(),
        /// The losses of D and G.
        objective: Objective => of::<Objective>(),
        /// What is added to D's loss; nothing unless it is said here.
        regularization: RegularizationSpec => of::<RegularizationSpec>(),
        /// DiffAugment (Zhao et al. 2020): all pictures that D sees, real ones and fakes, are changed at random, and G learns
        /// through the change. Off unless it is said here.
        augment: AugmentSpec => of::<AugmentSpec>(),
        /// The two optimizers, and what both have.
        optimizer: OptimizersSpec => of::<OptimizersSpec>(),
        /// Which D the two halves of a step look at.
        updates: Updates => of::<Updates>().default("alternating").identity_unless("alternating"),
        /// The global batch: virtual_ranks x per_rank samples, whatever the number of workers.
        batch: BatchSpec => of::<BatchSpec>(),
        /// Exponential moving average of G's weights, kept beside them.
        ema: EmaSpec => of::<EmaSpec>(),
        /// Number format of the forward and backward pass; weights and moments are always f32.
        precision: Precision => of::<Precision>().default("f32").identity(),
        /// How gradients are summed.
        reduction: ReductionMode => of::<ReductionMode>()
            .default("exact")
            .identity_as(&[("exact64", "exact"), ("exact", "exact, a last bit for each block")]),
        /// What a worker computes on.
        compute: ComputeSpec => of::<ComputeSpec>(),
        /// Who takes part, and when a worker counts as dead.
        cluster: ClusterSpec => of::<ClusterSpec>(),
        /// Where snapshots go.
        checkpoint: CheckpointSpec => of::<CheckpointSpec>(),
        /// The journal of the run's directory, which the coordinator goes on from.
        journal: JournalSpec => of::<JournalSpec>(),
        /// Pictures made while training, in `samples/` of the run's directory.
        samples: SamplesSpec => of::<SamplesSpec>(),
        /// Scores of snapshots, made while the run trains.
        evaluate: EvaluateSpec => of::<EvaluateSpec>(),
        /// How often metrics are read from the device and reported.
        report: ReportSpec => of::<ReportSpec>(),
        /// What a person is told of while the run trains.
        alerts: AlertsSpec => of::<AlertsSpec>(),
    }
}

impl RunSpec {
    /// The whole spec as it travels between processes.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a spec has texts as keys and UTF-8 as texts")
    }

    /// What [`RunSpec::to_json`] made.
    ///
    /// # Errors
    /// A text of another version, with other fields.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Keeps the sum that a run began with, whose identity is `began`: in version 0.1.0 the word `exact` stood for `exact64`.
    /// Returns a sentence for people where that is not what this spec says.
    pub fn keep_reduction(&mut self, began: &str) -> Option<&'static str> {
        let old = Self { reduction: ReductionMode::Exact64, ..self.clone() };
        if self.reduction != ReductionMode::Exact || old.identity().to_string() != began {
            return None;
        }
        *self = old;
        Some(
            "reduction is exact64, as when this run began: what is called exact now gives other weights. Begin anew with \
             --fresh, or branch off with --fork NAME, to have its faster sums",
        )
    }
}

/// A name that is safe as a file's name and as a label everywhere.
const RUN_NAME: Form = Form {
    accepts: "a text of 1 to 63 ASCII letters, digits, `-`, `_` or `.`, the first a letter or a digit",
    takes: |name| {
        let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        letters && name.len() <= 63 && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
    },
    pattern: "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
    list: false,
    file: None,
};

/// A run's name from a command line, by the rule of the field `run`.
///
/// # Errors
/// What a name has to be.
pub fn checked_name(name: &str) -> Result<String, String> {
    let accepts = RUN_NAME.accepts;
    if (RUN_NAME.takes)(name) { Ok(name.to_owned()) } else { Err(format!("a run's name must be {accepts}")) }
}

words! {
    /// Which D the two halves of a step look at.
    Updates {
        /// D is updated, and then G against the updated D
        Alternating = "alternating",
        /// both are updated from the same D and G, as the LSGAN authors' code does it; on CPUs alone
        Simultaneous = "simultaneous",
    }
}

section! {
    /// The global batch.
    BatchSpec: Copy, Eq {
        /// Slices of the global batch (V), each with its own samples, noise and batch-norm statistics, which the workers
        /// share among themselves: so their number changes the speed and never the weights. At most so many workers
        /// compute; more stand by. It cannot be changed later: choose the largest number of GPUs that you may ever have.
        virtual_ranks: u32 => whole(1, 4096).required("4").identity(),
        /// Samples of one virtual rank in a step. Models of pictures with batch norm need at least 2.
        per_rank: u32 => whole(1, 65_536).required("32").identity(),
    }
}

section! {
    /// Exponential moving average of G's weights, saved as `generator_ema.safetensors`.
    EmaSpec: Copy {
        /// Share of the old average that a step keeps.
        decay: f64 => below_one().default("0.999").identity(),
        /// In the first steps the average forgets faster: after t steps half of it is no older than this share of them, as
        /// StyleGAN2-ADA does it with 0.05 (Karras et al. 2020). So the first pictures are not those of fresh weights. 0: it
        /// forgets by `decay` from the start.
        ramp: f64 => number(0.0, 1.0).default("0.0").identity_unless("0.0"),
    }
}

impl BatchSpec {
    /// Samples of a step, of all virtual ranks.
    #[must_use]
    pub fn global(self) -> u64 {
        u64::from(self.virtual_ranks) * u64::from(self.per_rank)
    }
}

impl EmaSpec {
    /// Share of the old average that G's update at `step`, which G counts by its own updates, keeps, 0 to `decay`: the smaller one
    /// of `decay` and 2^(-1 / (ramp t)), which halves what is older than `ramp` t steps. Step 0 keeps nothing of fresh weights
    /// where there is a ramp.
    ///
    /// The power is the `libm` crate's, so that every host computes the same bits.
    #[must_use]
    pub fn decay_at(&self, step: Step) -> f64 {
        if self.ramp == 0.0 {
            return self.decay;
        }
        let half_life_steps = self.ramp * step.0 as f64;
        libm::exp2(-1.0 / half_life_steps).min(self.decay)
    }
}

section! {
    /// Where snapshots go.
    CheckpointSpec: Eq {
        /// Reachable by every worker; `snapshots/` and `final/` in it are used. With s3://BUCKET/PREFIX the endpoint,
        /// region and credentials come from the environment (AWS_…) or ~/.aws, and the run's directory is runs/NAME, or
        /// --run-dir.
        to: String => text(DESTINATION).required("runs/quickstart"),
        /// Steps between snapshots; 0 for none but those at a stop and at the end.
        every: u64 => whole(0, MAX_STEPS).default("1000"),
        /// How many of the newest snapshots are kept. One that is a link to another place stays, and does not count.
        keep_last: u32 => whole(1, 1_000_000).default("3"),
    }
}

section! {
    /// The journal of the run's directory, which the coordinator goes on from.
    JournalSpec: Eq {
        /// Where it is copied to, so that a coordinator on another host goes on where one was lost with its disk: a directory
        /// that both hosts reach, or the URL of an object store, in which a folder of the run's name is used. auto: beside the
        /// snapshots, where checkpoint.to is an object store. off: nowhere. Of two coordinators with one copy the later one
        /// leads, and the earlier one ends.
        replicate: String => text(DESTINATION).default("auto"),
    }
}

const DESTINATION: Form = Form {
    accepts: "a directory or the URL of an object store",
    takes: crate::data::is_line,
    pattern: r"\S",
    list: false,
    file: None,
};

section! {
    /// Pictures made while training.
    SamplesSpec: Eq {
        /// Pictures in a grid. For 2-D points it is a density plot of 1,024 points for each picture.
        grid: Grid => text(GRID).default("8x8"),
        /// Steps between pictures; 0 for none.
        every: u64 => whole(0, MAX_STEPS).default("500"),
        /// Which of G's weights make them.
        weights: SampleWeights => of::<SampleWeights>().default("ema"),
    }
}

words! {
    /// Which of G's weights make the pictures.
    SampleWeights {
        /// the moving average
        Ema = "ema",
        /// the weights as they are
        Raw = "raw",
    }
}

const GRID: Form = Form {
    accepts: "columns x rows, each 1 to 64, as 8x8",
    takes: |text| Grid::try_from(text.to_owned()).is_ok(),
    pattern: "^ *[0-9]{1,2} *x *[0-9]{1,2} *$",
    list: false,
    file: None,
};

/// Columns and rows of a grid of pictures, written `8x8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Grid {
    /// Pictures side by side.
    pub columns: u32,
    /// Pictures on top of each other.
    pub rows: u32,
}

impl Grid {
    /// Pictures in the grid.
    #[must_use]
    pub fn count(self) -> u32 {
        self.columns * self.rows
    }
}

impl TryFrom<String> for Grid {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let sides =
            text.split_once('x').and_then(|(c, r)| Some((c.trim().parse().ok()?, r.trim().parse().ok()?)));
        match sides {
            Some((columns @ 1..=64, rows @ 1..=64)) => Ok(Self { columns, rows }),
            _ => Err(format!("`{text}` is not a grid; write columns x rows, each 1 to 64, as 8x8")),
        }
    }
}

impl From<Grid> for String {
    fn from(grid: Grid) -> Self {
        format!("{}x{}", grid.columns, grid.rows)
    }
}

section! {
    /// How often metrics are read and reported.
    ReportSpec: Eq {
        /// Steps between two rows of metrics.
        every: u64 => whole(1, 1_000_000).default("10"),
        /// Steps after which all workers compare hashes of their state; one that differs ends the run and is named. 0:
        /// never.
        state_hash_every: u64 => whole(0, MAX_STEPS).default("100"),
        /// Folder for an event file of TensorBoard, which the coordinator writes while the run goes on, and anew when it is
        /// started again; a relative path is taken from the run's directory. It has scalars, samples, scores and the run's
        /// file. The run does not wait for it, and goes on where it cannot be written.
        #[serde(skip_serializing_if = "Option::is_none")]
        tensorboard: Option<String> => text(FOLDER).optional("tensorboard"),
    }
}

const FOLDER: Form =
    Form { list: false, accepts: "a directory", takes: crate::data::is_line, pattern: r"\S", file: None };

/// Sections that may be left out as a whole: their defaults are those of their rows.
macro_rules! all_default {
    ($($section:ident),+) => {
        $(impl Default for $section {
            fn default() -> Self {
                crate::table::with_defaults(serde_json::json!({}))
            }
        })+
    };
}

all_default!(
    EmaSpec,
    ComputeSpec,
    ClusterSpec,
    JournalSpec,
    SamplesSpec,
    EvaluateSpec,
    ReportSpec,
    ScheduleSpec,
    RegularizationSpec,
    AugmentSpec,
    ClassesSpec,
    AlertsSpec
);

/// What is wrong with a run of which fewer steps are asked for than were done.
#[must_use]
pub fn gone_further(step: crate::Step, steps: u64) -> String {
    format!(
        "the run has gone further: {step} steps are done, of which {steps} are asked for, and its weights are those of step \
         {step}."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_halves_what_is_older_than_its_share_of_the_steps_until_the_decay_is_reached() {
        let without = EmaSpec { decay: 0.999, ramp: 0.0 };
        assert_eq!([0, 1, 1000].map(|step| without.decay_at(Step(step))), [0.999; 3]);
        let ramp = EmaSpec { decay: 0.999, ramp: 0.05 };
        assert_eq!(ramp.decay_at(Step(0)), 0.0, "nothing is kept of fresh weights");
        assert_eq!(ramp.decay_at(Step(20)), 0.5, "a half-life of one step");
        assert!((ramp.decay_at(Step(2000)).powi(100) - 0.5).abs() < 1e-12, "a half-life of 100 steps");
        // 0.999 has one of 692.8 steps.
        assert!(ramp.decay_at(Step(13_000)) < 0.999);
        assert_eq!([14_000, MAX_STEPS].map(|step| ramp.decay_at(Step(step))), [0.999; 2]);
    }
}
