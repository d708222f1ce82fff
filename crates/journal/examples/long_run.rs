//! Fills the journal of a short run as if it had gone on for millions of steps, with the writer of its coordinator: `make bench
//! PART=observe` measures the file, and opens it.
//!
//! ```text
//! long_run RUN_DIR STEPS SPIKE_AT
//! ```
//!
//! Each step has a row with all scalars, that of the step SPIKE_AT a `loss_d` of 1,000; every shard that is read has an entry and a row,
//! with the batch of configs/quickstart.yaml and the pictures of LSUN's bedrooms.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use lsgan_control::Entry;
use lsgan_journal::{FILE, JournalError, StepRow, Writer, wall_ms};
use lsgan_plan::{Geometry, Plan};
use lsgan_spec::scalars::{self, Scalar};
use lsgan_spec::{Generation, Incarnation, VirtualRank};

const RECORDS: u64 = 3_033_042;
const SHARD_RECORDS: u64 = 256;
const VIRTUAL_RANKS: u32 = 4;
const PER_RANK: u32 = 16;

/// Of a step.
const STEP_MS: u64 = 20;
/// What a worker reports at a time, and what a transaction has.
const REPORT_STEPS: u64 = 100;
const TOGETHER_STEPS: u64 = 10_000;
const SPIKE: f64 = 1_000.0;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let numbers = arguments.get(1..).unwrap_or_default().iter().map(|text| text.parse::<u64>());
    let filled = match (arguments.first(), numbers.collect::<Result<Vec<u64>, _>>().as_deref()) {
        (Some(run_dir), Ok(&[steps, spike_at])) => fill(Path::new(run_dir), steps, spike_at),
        _ => Err("write: long_run RUN_DIR STEPS SPIKE_AT".into()),
    };
    match filled {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn fill(run_dir: &Path, steps: u64, spike_at: u64) -> Result<(), Box<dyn Error>> {
    let mut journal = Writer::open(&run_dir.join(FILE))?;
    let newest = journal.known()?.newest_step;
    let (from, began_ms) = newest.map_or((0, wall_ms()), |row| (row.step + 1, row.wall_ms));
    let plan = Plan::new(1, Geometry::new(RECORDS, SHARD_RECORDS, VIRTUAL_RANKS, PER_RANK)?);
    let mut noise = Noise(1);
    let mut row = |step: u64| {
        // Values drift a little, as those of a run do.
        let drift = step as f64 * 1e-7;
        let value = |scalar: &Scalar| match (scalar.name, step) {
            ("loss_d", step) if step == spike_at => SPIKE,
            _ => drift + noise.next(),
        };
        let values: Vec<f64> = scalars::ALL.iter().map(value).collect();
        let names = scalars::ALL.iter().map(|scalar| scalar.name.to_owned());
        let wall_ms = began_ms + (step - from) * STEP_MS;
        StepRow { step, wall_ms, scalars: names.zip(values).collect() }
    };
    for begin in (from..steps).step_by(TOGETHER_STEPS as usize) {
        let until = (begin + TOGETHER_STEPS).min(steps);
        journal.together(|journal| {
            for first in (begin..until).step_by(REPORT_STEPS as usize) {
                let rows: Vec<_> = (first..(first + REPORT_STEPS).min(until)).map(&mut row).collect();
                journal.add_steps(&rows)?;
            }
            read_shards(journal, &plan, until, began_ms + (until - from) * STEP_MS)
        })?;
    }
    Ok(())
}

/// Writes which shards were read when so many steps are done.
fn read_shards(journal: &mut Writer, plan: &Plan, steps: u64, now_ms: u64) -> Result<(), JournalError> {
    let (incarnation, generation) = (Incarnation(1), Generation(1));
    for virtual_rank in (0..VIRTUAL_RANKS).map(VirtualRank) {
        let read = journal.recovered().consumed.get(&virtual_rank).copied().unwrap_or(0);
        for from in read..steps * u64::from(PER_RANK) / SHARD_RECORDS {
            let until = from + 1;
            let entry = Entry::Consumed { virtual_rank, from, until, incarnation, generation };
            journal.record(&entry, plan, now_ms)?;
        }
    }
    Ok(())
}

/// Numbers from 0 to 1 that do not look alike: xorshift64 (Marsaglia, "Xorshift RNGs", 2003).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}
