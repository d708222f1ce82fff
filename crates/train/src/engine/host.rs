//! The engine of a CPU: loops over the state's own memory, and updates that are made at once.

use lsgan_spec::{Half, Reduction};

use super::{Arithmetic, Engine, Update};
use crate::adam::{AdamStep, adam};
use crate::ema::ema;
use crate::error::NotApplied;
use crate::header::{ControlWords, SumLayout};
use crate::lane::Contribution;
use crate::lanes::Lanes;
use crate::layers::BATCH_NORM_MOMENTUM;
use crate::replica::Applied;
use crate::state::{Networks, State};
use crate::step::{self, Work};
use crate::sums::Sums;
use crate::word::{Word, WordsMut, square_sum};

pub(crate) struct HostEngine<W> {
    state: State,
    /// D's and G's.
    sums: [Sums<W>; 2],
    /// D's numbers before this step's update of them.
    before: Vec<f32>,
}

impl<W: Word> HostEngine<W> {
    pub fn new(networks: &Networks, state: State, virtual_ranks: u32) -> Self {
        let sums = [Half::Discriminator, Half::Generator]
            .map(|half| Sums::new(SumLayout::new(half, networks.network(half), virtual_ranks)));
        let before = vec![0.0; state.regions().discriminator.all().len()];
        Self { state, sums, before }
    }

    fn clear_headers(&mut self) {
        self.sums.iter_mut().for_each(Sums::clear_header);
    }
}

impl<W: Word> Engine for HostEngine<W> {
    fn compute(&mut self, lanes: &mut Lanes, work: &mut Work) {
        step::sum(self, lanes, work);
    }

    fn words(&mut self, half: Half) -> WordsMut<'_> {
        self.sums[half as usize].words_mut()
    }

    fn apply(&mut self, update: &Update) -> Result<Applied, NotApplied> {
        let sums = &self.sums[update.half() as usize];
        let reading = sums.read_header();
        reading.check(update.reduction)?;
        let applied = update.applied(&reading, || square_sum(sums.gradients()).sqrt());
        step::update(self, update);
        self.sums[update.half() as usize].clear_header();
        self.state.set_reduction(applied.reduction);
        Ok(applied)
    }

    fn step_back(&mut self) {
        let at = self.state.regions().discriminator.all();
        self.state.numbers_mut()[at].copy_from_slice(&self.before);
        self.clear_headers();
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
        self.clear_headers();
    }
}

impl<W: Word> Arithmetic for HostEngine<W> {
    fn begin(&mut self, half: Half, controls: ControlWords) {
        self.sums[half as usize].begin(controls);
    }

    fn add(&mut self, half: Half, contribution: &Contribution) {
        self.sums[half as usize].add(contribution);
    }

    fn end(&mut self, half: Half) {
        self.sums[half as usize].end();
    }

    fn keep_discriminator(&mut self) {
        let at = self.state.regions().discriminator.all();
        self.before.copy_from_slice(&self.state.numbers()[at]);
    }

    fn adam(&mut self, half: Half, step: AdamStep) {
        let at = self.state.regions().of(half);
        let regions = [&at.weights, &at.first_moments, &at.second_moments].map(Clone::clone);
        let disjoint = self.state.numbers_mut().get_disjoint_mut(regions);
        let [w, m, v] = disjoint.expect("the regions of a state are disjoint");
        adam(step, self.sums[half as usize].gradients(), m, v, w);
    }

    fn running_statistics(&mut self, half: Half) {
        let at = self.state.regions().of(half).statistics.clone();
        let running = &mut self.state.numbers_mut()[at];
        for batch in self.sums[half as usize].statistics() {
            for (running, batch) in running.iter_mut().zip(batch) {
                *running = (1.0 - BATCH_NORM_MOMENTUM) * *running + BATCH_NORM_MOMENTUM * batch.mean();
            }
        }
    }

    fn average(&mut self, decay: f32) {
        let regions = self.state.regions().clone();
        for (average, current) in regions.averages() {
            let disjoint = self.state.numbers_mut().get_disjoint_mut([average.clone(), current.clone()]);
            let [average, current] = disjoint.expect("the regions of a state are disjoint");
            ema(decay, average, current);
        }
    }
}
