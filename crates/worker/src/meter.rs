//! Times and metrics of steps, gathered into a row every `report.every` steps.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lsgan_spec::scalars;
use lsgan_train::HalfMetrics;
use lsgan_wire::v1;

/// Gathers the rows.
#[derive(Debug)]
pub struct Meter {
    every: u64,
    since: Instant,
    steps: u64,
    data_wait: Duration,
    reduce: Duration,
    repeated: u32,
    discriminator: Option<HalfMetrics>,
    generator: Option<HalfMetrics>,
}

impl Meter {
    /// A row every `every` steps.
    #[must_use]
    pub fn new(every: u64) -> Self {
        let zero = Duration::ZERO;
        Self {
            every,
            since: Instant::now(),
            steps: 0,
            data_wait: zero,
            reduce: zero,
            repeated: 0,
            discriminator: None,
            generator: None,
        }
    }

    /// Starts the clock anew, after a time in which no step was made.
    pub fn restart(&mut self) {
        *self = Self::new(self.every);
    }

    /// Whether a row ends with this step.
    #[must_use]
    pub fn wants(&self, step: u64) -> bool {
        (step + 1).is_multiple_of(self.every)
    }

    /// Time that was spent waiting for data.
    pub fn data_wait(&mut self, waited: Duration) {
        self.data_wait += waited;
    }

    /// Time that was spent in an all-reduce.
    pub fn reduce(&mut self, spent: Duration) {
        self.reduce += spent;
    }

    /// So many parts of a sum travelled again.
    pub fn repeated(&mut self, parts: u32) {
        self.repeated += parts;
    }

    /// The metrics of D's half.
    pub fn discriminator(&mut self, metrics: Option<HalfMetrics>) {
        self.discriminator = metrics;
    }

    /// The metrics of G's half, which an idle one does not have.
    pub fn generator(&mut self, metrics: Option<HalfMetrics>) {
        self.generator = metrics;
    }

    /// A step has ended; returns the row that ends with it.
    pub fn step_ended(&mut self, step: u64) -> Option<v1::StepMetrics> {
        self.steps += 1;
        if !self.wants(step) {
            return None;
        }
        let row = self.row(step);
        self.restart();
        row
    }

    /// None where D's half was done in a generation before, whose metrics are gone with it. Without G's where its half was idle:
    /// older ones would be taken for this step's.
    fn row(&self, step: u64) -> Option<v1::StepMetrics> {
        let (d, g) = (self.discriminator?, self.generator);
        let per_step = |time: Duration| time.as_secs_f64() * 1000.0 / self.steps as f64;
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let clock = [
            (scalars::STEP_MS, per_step(self.since.elapsed())),
            (scalars::DATA_WAIT_MS, per_step(self.data_wait)),
            (scalars::REDUCE_MS, per_step(self.reduce)),
            (scalars::SUMS_REPEATED, f64::from(self.repeated) / self.steps as f64),
        ];
        let of_g = g.iter().flat_map(HalfMetrics::scalars);
        let all = clock.into_iter().chain(d.scalars()).chain(of_g);
        Some(v1::StepMetrics {
            step,
            wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
            scalars: all.map(|(scalar, value)| (scalar.name.to_owned(), value)).collect(),
        })
    }
}
