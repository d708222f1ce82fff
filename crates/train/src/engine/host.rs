//! The engine of a CPU: loops over the state's own memory, and updates that are made at once.

use lsgan_spec::{Half, OptimizersSpec, Reduction};

use super::{Arithmetic, Engine, SUMS, Update, UpdateSteps, sum_of};
use crate::clip;
use crate::contribution::Contribution;
use crate::ema::ema;
use crate::error::NotApplied;
use crate::header::ControlWords;
use crate::lanes::Lanes;
use crate::optimizers::OptimizerStep;
use crate::replica::Applied;
use crate::state::State;
use crate::step::{self, Work};
use crate::sums::HostSum;
use crate::word::Words;

pub(crate) struct HostEngine {
    state: State,
    /// In the order of [`sum_of`].
    sums: [Box<dyn HostSum>; SUMS],
    /// D's numbers before this step's update of them.
    before: Vec<f32>,
    optimizers: OptimizersSpec,
}

impl HostEngine {
    /// `sums`: D's, G's, and that of idle halves.
    pub fn new(state: State, sums: [Box<dyn HostSum>; SUMS], optimizers: OptimizersSpec) -> Self {
        let before = vec![0.0; state.regions().discriminator.all().len()];
        Self { state, sums, before, optimizers }
    }

    /// The place of the sum of the half that comes next.
    fn next_sum(&self) -> usize {
        sum_of(&self.optimizers, self.state.reduction())
    }

    /// The sum of the half that comes next.
    fn sum(&mut self) -> &mut dyn HostSum {
        let at = self.next_sum();
        &mut *self.sums[at]
    }
}

impl Engine for HostEngine {
    fn compute(&mut self, lanes: &mut Lanes, work: &mut Work) {
        step::sum(self, lanes, work);
    }

    fn take_words(&mut self) -> Vec<Words> {
        self.sum().take_words()
    }

    fn put_words(&mut self, words: Vec<Words>) {
        self.sum().put_words(words);
    }

    fn apply(&mut self, update: &Update) -> Result<Applied, NotApplied> {
        let sum = &self.sums[self.next_sum()];
        let reading = sum.read_header();
        reading.check(update.reduction)?;
        let applied = update.applied(&reading, sum.repeated(), || sum.square_sum().sqrt());
        step::update(self, update);
        self.sum().clear_header();
        self.state.set_reduction(applied.reduction);
        Ok(applied)
    }

    fn step_back(&mut self) {
        let at = self.state.regions().discriminator.all();
        self.state.numbers_mut()[at].copy_from_slice(&self.before);
        self.state.set_reduction(self.state.reduction().step().first_reduction());
        self.state_changed();
    }

    fn reduction(&self) -> Reduction {
        self.state.reduction()
    }

    fn state(&self) -> &State {
        &self.state
    }

    fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    fn state_changed(&mut self) {
        self.sums.iter_mut().for_each(|sum| sum.clear_header());
        for half in [Half::Discriminator, Half::Generator] {
            let sum = &mut self.sums[half as usize];
            let moments = &self.state.numbers()[self.state.regions().of(half).second_moments.clone()];
            let last = OptimizerStep::last(&self.optimizers, half, self.state.reduction());
            sum.moments_changed(moments, last);
        }
    }
}

impl Arithmetic for HostEngine {
    fn begin(&mut self, controls: ControlWords) {
        self.sum().begin(controls);
    }

    fn add(&mut self, contribution: &Contribution) {
        self.sum().add(contribution);
    }

    fn takes_pieces(&self) -> bool {
        self.sums[self.next_sum()].takes_pieces()
    }

    fn take_ready(&mut self, first: usize) -> Vec<Words> {
        self.sum().take_ready(first)
    }

    fn end(&mut self) {
        self.sum().end();
    }
}

impl UpdateSteps for HostEngine {
    fn keep_discriminator(&mut self) {
        let at = self.state.regions().discriminator.all();
        self.before.copy_from_slice(&self.state.numbers()[at]);
    }

    fn optimize(&mut self, half: Half, step: OptimizerStep, norm_max: Option<f64>) {
        let at = self.state.regions().of(half);
        let regions = [&at.weights, &at.first_moments, &at.second_moments].map(Clone::clone);
        let disjoint = self.state.numbers_mut().get_disjoint_mut(regions);
        let [w, m, v] = disjoint.expect("the regions of a state are disjoint");
        let sum = &mut self.sums[half as usize];
        let clip = norm_max.map_or(1.0, |norm_max| clip::factor(norm_max, sum.square_sum_in_order()));
        sum.update(step, clip, [m, v, w]);
    }

    fn running_statistics(&mut self, half: Half) {
        let at = self.state.regions().of(half).statistics.clone();
        self.sums[half as usize].running_statistics(&mut self.state.numbers_mut()[at]);
    }

    fn average(&mut self, decay: f32) {
        let regions = self.state.regions().clone();
        for (average, current) in regions.averages() {
            let disjoint = self.state.numbers_mut().get_disjoint_mut([average.clone(), current.clone()]);
            let [average, current] = disjoint.expect("the regions of a state are disjoint");
            ema(decay, average, current);
        }
    }

    fn hold_discriminator(&mut self) {
        self.state.hold_discriminator();
    }
}
