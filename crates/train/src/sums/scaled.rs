//! A sum whose gradients have a last bit for each block of parameters ([`crate::scale`]): `reduction: exact`.
//!
//! Gradients travel in buckets of 32-bit words, one for each piece of the network, in the order in which they become ready. A
//! bucket may leave before the others are computed. A virtual rank whose numbers do not fit is counted in the header, in the
//! word of the bucket; after the all-reduce all workers read that, and that bucket travels again in 64 bits. Header and
//! statistics always do. Nothing is computed again, and no bit depends on what travelled.
//!
//! All travel at once in 64 bits where that is known to be better: in a network so small that a second call costs more
//! than its bytes, and before the first update, when there are no second moments.

use std::collections::{BTreeMap, BTreeSet};

use lsgan_spec::VirtualRank;

use super::HostSum;
use super::bucket::Bucket;
use crate::contribution::{Contribution, End};
use crate::error::Blame;
use crate::header::{ControlWords, Reading, SumLayout};
use crate::layers::{Network, mix_running};
use crate::optimizers::OptimizerStep;
use crate::scale::{self, BLOCK};
use crate::tensors::floats;
use crate::word::{Mode, Word, Words, put, within};

/// Networks of fewer parameters travel at once in 64 bits.
pub(crate) const SMALL: usize = 1 << 16;

/// Which words are taken next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Computed,
    /// All but the buckets that travel again.
    Summed,
    Whole,
}

/// What is wrong with a virtual rank's numbers.
#[derive(Default)]
struct Found {
    blame: Option<Blame>,
    /// The buckets into which they do not fit.
    misfits: BTreeSet<usize>,
}

pub(crate) struct ScaledSum {
    layout: SumLayout,
    /// Header and statistics; before the gradients, where all travel together.
    head: Vec<i64>,
    /// In the order of the network's pieces: the last layers first.
    buckets: Vec<Bucket>,
    /// For each parameter tensor, its bucket, and its first block there.
    places: Vec<(usize, usize)>,
    /// So many buckets have left, or are about to.
    left: usize,
    /// What is known of the virtual ranks whose pieces come.
    open: BTreeMap<VirtualRank, Found>,
    /// For each bucket: whether it has numbers of a virtual rank already.
    modes: Vec<Mode>,
    /// The same of the statistics.
    mode: Mode,
    stage: Stage,
    is_small: bool,
    /// There are second moments.
    is_scaled: bool,
}

impl ScaledSum {
    /// Networks with fewer parameters than `small` travel at once.
    pub fn new(layout: SumLayout, network: &Network, small: usize) -> Self {
        let parameters = &network.parameters;
        let entries = parameters.entries();
        let (mut buckets, mut places) = (vec![], vec![(0, 0); entries.len()]);
        let blocks: Vec<_> = scale::blocks(parameters).collect();
        for (index, piece) in network.pieces.iter().enumerate() {
            let tensors = piece.parameters.clone();
            let end = entries.get(tensors.end).map_or(parameters.len(), |next| next.offset);
            let range = entries[tensors.start].offset..end;
            let mut first = 0;
            for (place, entry) in places[tensors.clone()].iter_mut().zip(&entries[tensors]) {
                *place = (index, first);
                first += entry.len().div_ceil(BLOCK);
            }
            let inside = blocks.iter().filter(|block| range.contains(&block.start)).cloned();
            buckets.push(Bucket::new(range.clone(), inside));
        }
        Self {
            head: vec![0; layout.head().len()],
            is_small: parameters.len() < small,
            is_scaled: false,
            left: 0,
            open: BTreeMap::new(),
            modes: vec![Mode::Set; buckets.len()],
            mode: Mode::Set,
            stage: Stage::Computed,
            layout,
            buckets,
            places,
        }
    }

    /// Whether all words travel together.
    fn at_once(&self) -> bool {
        self.is_small || !self.is_scaled
    }

    /// The words of the next buckets, up to this one.
    fn take_buckets(&mut self, end: usize) -> impl Iterator<Item = Words> {
        let next = std::mem::replace(&mut self.left, end)..end;
        self.buckets[next].iter_mut().map(Bucket::take_narrow)
    }

    /// The buckets that travel again.
    fn again(&self) -> Vec<usize> {
        let misfits = &self.head[self.layout.header.misfits()];
        (0..self.buckets.len()).filter(|bucket| misfits[*bucket] > 0).collect()
    }

    /// Adds what comes behind a virtual rank's gradients.
    fn end_rank(&mut self, rank: VirtualRank, end: &End) {
        let Found { mut blame, misfits } = self.open.remove(&rank).unwrap_or_default();
        let (factor, body) = (i64::factor(self.layout.header.virtual_ranks), self.layout.header.len());
        for (part, tensor) in self.layout.parts[self.layout.parameters()..].iter().zip(&end.statistics) {
            let sum = &mut self.head[body..][part.range()];
            blame = blame.max(put(floats(tensor), factor, self.mode, sum).err());
        }
        self.mode = Mode::Add;
        self.layout.header.add(&mut self.head, rank, blame, end.means());
        let words = self.layout.header.misfits();
        misfits.into_iter().for_each(|bucket| self.head[words.start + bucket] += 1);
    }
}

impl HostSum for ScaledSum {
    fn begin(&mut self, controls: ControlWords) {
        self.head.resize(self.layout.head().len(), 0); // where a group that failed has not given it back
        self.layout.header.begin(&mut self.head, controls);
        self.buckets.iter_mut().for_each(|bucket| bucket.begin(!self.is_scaled));
        (self.mode, self.stage, self.left) = (Mode::Set, Stage::Computed, 0);
        self.modes.fill(Mode::Set);
        self.open.clear();
    }

    fn add(&mut self, contribution: &Contribution) {
        let virtual_ranks = self.layout.header.virtual_ranks;
        let places = &self.places[contribution.first..][..contribution.gradients.len()];
        let found = self.open.entry(contribution.rank).or_default();
        for (tensor, &(bucket, first)) in contribution.gradients.iter().zip(places) {
            let put = self.buckets[bucket].put(first, floats(tensor), virtual_ranks, self.modes[bucket]);
            found.blame = found.blame.max(within(put.largest, i64::LIMIT).err());
            if !put.fits {
                found.misfits.insert(bucket);
            }
        }
        places.iter().for_each(|&(bucket, _)| self.modes[bucket] = Mode::Add);
        if let Some(end) = &contribution.end {
            self.end_rank(contribution.rank, end);
        }
    }

    fn takes_pieces(&self) -> bool {
        !self.at_once() && self.buckets.len() > 1
    }

    fn take_ready(&mut self, first: usize) -> Vec<Words> {
        let (last, _) = self.places[first];
        self.take_buckets(last + 1).collect()
    }

    fn end(&mut self) {
        if self.mode == Mode::Set {
            self.buckets.iter_mut().for_each(Bucket::clear);
            self.head[self.layout.header.len()..].fill(0);
        }
    }

    fn clear_header(&mut self) {
        self.layout.header.clear(&mut self.head);
    }

    fn take_words(&mut self) -> Vec<Words> {
        match self.stage {
            Stage::Computed if self.at_once() => {
                let mut all = std::mem::take(&mut self.head);
                self.buckets.iter().rev().for_each(|bucket| bucket.append_wide(&mut all));
                vec![Words::Wide(all)]
            }
            Stage::Computed => {
                let head = Words::Wide(std::mem::take(&mut self.head));
                self.take_buckets(self.buckets.len()).chain([head]).collect()
            }
            Stage::Summed => {
                let wide = |bucket: usize| {
                    let mut words = vec![];
                    self.buckets[bucket].append_wide(&mut words);
                    Words::Wide(words)
                };
                self.again().into_iter().map(wide).collect()
            }
            Stage::Whole => vec![],
        }
    }

    fn put_words(&mut self, words: Vec<Words>) {
        match self.stage {
            Stage::Computed if self.at_once() => {
                self.head = words.into_iter().map(i64::from_words).next().unwrap_or_default();
                for bucket in &mut self.buckets {
                    let start = self.layout.gradients().start + bucket.range.start;
                    bucket.put_wide(&self.head[start..start + bucket.range.len()]);
                }
                self.head.truncate(self.layout.head().len());
                self.stage = Stage::Whole;
            }
            Stage::Computed => {
                let mut words = words.into_iter();
                self.buckets.iter_mut().zip(&mut words).for_each(|(bucket, words)| bucket.put_narrow(words));
                self.head = words.map(i64::from_words).next().unwrap_or_default();
                self.stage = Stage::Summed;
            }
            Stage::Summed | Stage::Whole => {
                self.again().into_iter().zip(words).for_each(|(bucket, words)| {
                    self.buckets[bucket].put_wide(&i64::from_words(words));
                });
                self.stage = Stage::Whole;
            }
        }
    }

    fn read_header(&self) -> Reading {
        self.layout.header.read(&self.head)
    }

    fn square_sum(&self) -> f64 {
        self.buckets.iter().rev().map(Bucket::square_sum).sum()
    }

    fn square_sum_in_order(&self) -> f64 {
        self.buckets.iter().rev().fold(0.0, |sum, bucket| bucket.square_sum_in_order(sum))
    }

    fn update(&mut self, step: OptimizerStep, clip: f32, [m, v, w]: [&mut [f32]; 3]) {
        let each = |bucket: &mut Bucket| bucket.update(step, clip, [&mut *m, &mut *v, &mut *w]);
        self.buckets.iter_mut().for_each(each);
        self.is_scaled = true;
    }

    fn running_statistics(&self, running: &mut [f32]) {
        for range in self.layout.statistics() {
            mix_running(running, &self.head[range], i64::UNIT, self.layout.mixed);
        }
    }

    fn moments_changed(&mut self, v: &[f32], step: Option<OptimizerStep>) {
        self.buckets.iter_mut().for_each(|bucket| bucket.choose(v, step));
        self.is_scaled = step.is_some();
    }

    fn repeated(&self) -> u32 {
        match self.stage {
            Stage::Whole if !self.at_once() => self.again().len() as u32,
            Stage::Computed | Stage::Summed | Stage::Whole => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use lsgan_spec::scalars::MEANS_MAX;
    use lsgan_spec::{Half, Optimizer, OptimizersSpec, Step, VirtualRank};
    use tch::{Device, Tensor};

    use super::*;
    use crate::contribution::End;
    use crate::init::Init;
    use crate::layers::{Layer, Network};
    use crate::rehearsal::runs::add_up;

    const OPTIMIZER: Optimizer =
        Optimizer::Adam { learning_rate: 0.1, beta1: 0.5, beta2: 0.999, epsilon: 1e-8 };
    const SECOND_MOMENT: f32 = 1e-6;
    const RANKS: usize = 3;

    /// The update number `t`.
    fn optimizer_step(t: u64) -> OptimizerStep {
        OptimizerStep::new(&OptimizersSpec::of(OPTIMIZER, OPTIMIZER), Half::Discriminator, Step(t - 1))
    }

    fn network() -> Network {
        let layer = Layer::Linear { inputs: 64, outputs: 40, weight: Init::Constant(0.0) };
        Network::new("discriminator", vec![64], vec![layer]).expect("its names are unique")
    }

    /// A worker's sum, with second moments. In 32 bits where numbers fit, unless all is to travel at once.
    fn sum(small: usize) -> ScaledSum {
        let network = network();
        let layout = SumLayout::new(Half::Discriminator, &network, RANKS as u32);
        let mut sum = ScaledSum::new(layout, &network, small);
        let v = vec![SECOND_MOMENT; network.parameters.len()];
        sum.moments_changed(&v, Some(optimizer_step(1000)));
        sum
    }

    /// Numbers of the usual size; one of the last is `odd`.
    fn contribution(rank: usize, odd: f32) -> Contribution {
        let value = |at: usize| ((at * 7919 + rank * 104_729) % 2001) as f32 * 1e-6 - 1e-3;
        let mut weight: Vec<_> = (0..2560).map(value).collect();
        weight[2500] = odd;
        let bias: Vec<_> = (0..40).map(value).collect();
        Contribution {
            rank: VirtualRank(rank as u32),
            first: 0,
            gradients: vec![Tensor::from_slice(&weight).view([40, 64]), Tensor::from_slice(&bias)],
            end: Some(End {
                statistics: vec![],
                means: std::array::from_fn::<_, MEANS_MAX, _>(|_| Tensor::from(0.5_f32)),
            }),
        }
    }

    /// Adds up what the workers take, until nothing is taken; the kinds of words, in order.
    fn all_reduce(workers: &mut [ScaledSum]) -> Vec<&'static str> {
        let mut kinds = vec![];
        loop {
            let mut taken: Vec<_> = workers.iter_mut().map(HostSum::take_words).collect();
            if taken[0].is_empty() {
                return kinds;
            }
            for call in 0..taken[0].len() {
                let mut words: Vec<_> = taken.iter_mut().map(|words| &mut words[call]).collect();
                kinds.push(match &*words[0] {
                    Words::Wide(_) => "wide",
                    Words::Narrow { .. } => "narrow",
                    other => panic!("no words of this sum: {other:?}"),
                });
                add_up(&mut words, &vec![Device::Cpu; workers.len()]);
            }
            workers.iter_mut().zip(taken).for_each(|(worker, words)| worker.put_words(words));
        }
    }

    /// The weights after an update, and how many buckets travelled again.
    fn updated(sum: &mut ScaledSum) -> (Vec<u32>, u32) {
        let len = network().parameters.len();
        let (mut m, mut v, mut w) = (vec![0.0; len], vec![SECOND_MOMENT; len], vec![0.0; len]);
        let (norm, repeated) = (sum.square_sum(), sum.repeated());
        assert!(norm > 0.0);
        sum.update(optimizer_step(1001), 1.0, [&mut m, &mut v, &mut w]);
        (w.into_iter().map(f32::to_bits).collect(), repeated)
    }

    /// Whether a number fits, and who has it, changes what travels and no bit.
    #[test]
    fn numbers_that_do_not_fit_travel_again_and_change_no_bit() {
        for (odd, kinds, again) in
            [(1e-3, vec!["narrow", "wide"], 0), (7.0, vec!["narrow", "wide", "wide"], 1)]
        {
            let odd_of = |rank: usize| if rank == 1 { odd } else { 1e-3 };
            let add = |sum: &mut ScaledSum, ranks: &[usize]| {
                sum.begin(ControlWords::default());
                ranks.iter().for_each(|&rank| sum.add(&contribution(rank, odd_of(rank))));
                sum.end();
            };
            let mut at_once = [sum(usize::MAX)];
            add(&mut at_once[0], &[0, 1, 2]);
            assert_eq!(all_reduce(&mut at_once), ["wide"]);
            let wanted = updated(&mut at_once[0]);

            for owned in [[&[0, 1][..], &[2]], [&[0], &[2, 1]], [&[0, 1, 2], &[]]] {
                let mut workers = [sum(0), sum(0)];
                workers.iter_mut().zip(owned).for_each(|(worker, ranks)| add(worker, ranks));
                assert_eq!(all_reduce(&mut workers), kinds, "{owned:?}");
                for worker in &mut workers {
                    worker.read_header().check(lsgan_spec::Reduction(0)).expect("all ranks are good");
                    assert_eq!(updated(worker), (wanted.0.clone(), again), "{owned:?}, {odd}");
                }
            }
            // One worker alone sends nothing.
            let mut alone = sum(0);
            add(&mut alone, &[2, 0, 1]);
            assert_eq!(updated(&mut alone), (wanted.0.clone(), 0));
        }
    }
}
