//! The sums of a reduction on the host and the updates that they feed: loops over the state's own memory.

use lsgan_spec::{Half, ReductionMode};

use crate::adam::{AdamStep, adam_exact, adam_fast};
use crate::ema::ema;
use crate::layers::{BATCH_NORM_MOMENTUM, Network};
use crate::state::{Networks, State};
use crate::step::{Contribution, numbers};
use crate::sums::{Gradients, Piece, Sums, passes};

/// The sums of both halves, and what is needed to step back.
pub(crate) struct OnHost {
    sums: [Sums; 2],
    /// D's numbers before this step's update of them.
    before: Vec<f32>,
}

impl OnHost {
    pub fn new(networks: &Networks, state: &State, virtual_ranks: u32, mode: ReductionMode) -> Self {
        let sums = |half, network: &Network| Sums::new(half, network, passes(half), virtual_ranks, mode);
        Self {
            sums: [
                sums(Half::Discriminator, &networks.discriminator),
                sums(Half::Generator, &networks.generator),
            ],
            before: vec![0.0; state.regions().discriminator.all().len()],
        }
    }

    pub fn sums(&mut self, half: Half) -> &mut Sums {
        &mut self.sums[half as usize]
    }

    /// Puts what one virtual rank adds into the sums of `half`, whose network is `network`.
    pub fn add(&mut self, half: Half, network: &Network, contribution: &Contribution) {
        let parameters = network.parameters.entries();
        let piece = |offset, tensor| Piece { offset, values: numbers(tensor) };
        let gradients: Vec<_> = parameters
            .iter()
            .zip(&contribution.gradients)
            .map(|(entry, tensor)| piece(entry.offset, tensor))
            .collect();
        let layout = &network.statistics;
        let mut statistics = vec![];
        for (pass, tensors) in contribution.statistics.iter().enumerate() {
            let at =
                |(entry, tensor): (&crate::flat::Entry, _)| piece(pass * layout.len() + entry.offset, tensor);
            statistics.extend(layout.entries().iter().zip(tensors).map(at));
        }
        self.sums[half as usize].add(contribution.rank, &gradients, &statistics, contribution.means());
    }

    /// Updates the state with the sum of `half`, whose network is `network`; with `decay` the moving average too.
    pub fn apply(
        &mut self,
        half: Half,
        network: &Network,
        state: &mut State,
        adam: AdamStep,
        decay: Option<f32>,
    ) {
        if half == Half::Discriminator {
            self.before.copy_from_slice(&state.numbers()[state.regions().discriminator.all()]);
        }
        self.update_weights(half, state, adam);
        self.update_statistics(half, network, state);
        if let Some(decay) = decay {
            update_average(state, decay);
        }
        self.sums[half as usize].clear_header();
    }

    fn update_weights(&self, half: Half, state: &mut State, adam: AdamStep) {
        let at = state.regions().of(half).clone();
        let regions = [at.weights, at.first_moments, at.second_moments];
        let disjoint = state.numbers_mut().get_disjoint_mut(regions);
        let [w, m, v] = disjoint.expect("the regions of a state are disjoint");
        match self.sums[half as usize].gradients() {
            Gradients::Exact(sum) => adam_exact(adam, sum, m, v, w),
            Gradients::Fast(mean) => adam_fast(adam, mean, m, v, w),
        }
    }

    /// r = 0.9·r + 0.1·batch, once for each pass, in the order of the passes: D's real, then its fake.
    fn update_statistics(&self, half: Half, network: &Network, state: &mut State) {
        let sums = &self.sums[half as usize];
        let batches: Vec<_> =
            (0..passes(half)).map(|pass| sums.statistics(pass, &network.statistics)).collect();
        let at = state.regions().of(half).statistics.clone();
        let running = &mut state.numbers_mut()[at];
        for batch in batches {
            for (running, batch) in running.iter_mut().zip(batch) {
                *running = (1.0 - BATCH_NORM_MOMENTUM) * *running + BATCH_NORM_MOMENTUM * batch;
            }
        }
    }

    /// D's numbers are again those before this step's update of them.
    pub fn step_back(&self, state: &mut State) {
        let at = state.regions().discriminator.all();
        state.numbers_mut()[at].copy_from_slice(&self.before);
    }

    pub fn clear_headers(&mut self) {
        self.sums.iter_mut().for_each(Sums::clear_header);
    }
}

fn update_average(state: &mut State, decay: f32) {
    let regions = state.regions().clone();
    for (average, current) in [
        (&regions.average_weights, &regions.generator.weights),
        (&regions.average_statistics, &regions.generator.statistics),
    ] {
        let disjoint = state.numbers_mut().get_disjoint_mut([average.clone(), current.clone()]);
        let [average, current] = disjoint.expect("the regions of a state are disjoint");
        ema(decay, average, current);
    }
}
