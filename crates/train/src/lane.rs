//! What one thread needs to compute virtual ranks. Lanes share the memory of the weights and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use lsgan_spec::{Half, Precision, Step, VirtualRank};
use tch::{Device, Kind, Tensor};

use crate::augment::Augment;
use crate::classes::Classes;
use crate::contribution::{Contribution, End, Sink};
use crate::draws::{self, Draws, Seen};
use crate::feed::Feed;
use crate::flat::Entry;
use crate::layers::{Input, Network, Norm, Role};
use crate::noise::LatentSource;
use crate::objectives::Losses;
use crate::penalties::Penalties;
use crate::state::Networks;
use crate::step::{self, Keep, RealTerm};
use crate::tensors::{floats, in_storage_order, view};

/// What all lanes of a replica share.
pub(crate) struct Shared {
    pub networks: Arc<Networks>,
    pub losses: Box<dyn Losses>,
    pub augment: Option<Augment>,
    pub classes: Option<Classes>,
    /// How many there are.
    pub class_count: u32,
    pub penalties: Penalties,
    pub latent: Arc<dyn LatentSource>,
    pub per_rank: usize,
    pub device: Device,
    pub precision: Precision,
}

/// The weights of one network as the forward pass reads them.
///
/// In f32 they are the state's own memory. bf16 has a copy, made again after every update.
pub(crate) struct ComputeWeights {
    /// A view of the weights in the state: f32 on the device.
    single: Tensor,
    /// What matrix products read; f32 or bf16 on the device.
    product: Tensor,
    /// Views of the vectors of spectral normalisation.
    vectors: Vec<Tensor>,
}

impl ComputeWeights {
    /// `single`: a view of the weights in the state. `vectors`: of those of spectral normalisation.
    pub fn new(single: Tensor, vectors: Vec<Tensor>, precision: Precision) -> Self {
        let product = match precision {
            Precision::F32 | Precision::Tf32 => single.shallow_clone(),
            Precision::Bf16 => single.to_kind(Kind::BFloat16),
        };
        Self { single, product, vectors }
    }

    /// Copies weights that have changed in the state. No graph that needs the old weights may be alive.
    pub fn refresh(&mut self) {
        if self.product.kind() != Kind::Float {
            self.product.copy_(&self.single);
        }
    }

    /// A leaf for each parameter, a view of this memory. Gradients are computed where `trained`.
    fn leaves(&self, network: &Network, trained: bool) -> Vec<Tensor> {
        let leaf = |(entry, role): (&Entry, &Role)| {
            let base = match role {
                Role::Product => &self.product,
                Role::Norm => &self.single,
            };
            view(base, entry).detach().set_requires_grad(trained)
        };
        network.parameters.entries().iter().zip(&network.roles).map(leaf).collect()
    }

    /// The same in f32, whatever the precision is.
    fn precise_leaves(&self, network: &Network) -> Vec<Tensor> {
        let leaf = |entry| view(&self.single, entry).detach().set_requires_grad(true);
        network.parameters.entries().iter().map(leaf).collect()
    }
}

/// All weights of a state as networks read them.
pub(crate) struct StateWeights {
    /// D's and G's.
    pub halves: [ComputeWeights; 2],
    /// D's as G's half reads them, where the updates are simultaneous.
    pub held: Option<ComputeWeights>,
}

impl StateWeights {
    /// The weights of a half's network have changed in the state; behind G's half those that are held as well.
    pub fn refresh(&mut self, half: Half) {
        self.halves[half as usize].refresh();
        if half == Half::Generator
            && let Some(held) = &mut self.held
        {
            held.refresh();
        }
    }
}

/// What a network computed in training, with its graph.
pub(crate) struct Passed {
    /// A fake; or D's outputs, f32 `[per_rank]`.
    pub outputs: Tensor,
    /// Of its batch norms.
    pub statistics: Vec<Tensor>,
    /// What the first layers of its pieces read, as [`Network::forward_by_pieces`] says.
    pub held: Vec<Tensor>,
}

/// The networks with their weights.
pub(crate) struct Models {
    shared: Arc<Shared>,
    pub generator: Vec<Tensor>,
    pub discriminator: Vec<Tensor>,
    /// The discriminator's weights again, as constants: what G's half reads.
    pub frozen: Vec<Tensor>,
    /// The discriminator's weights again, all in f32: what penalties read.
    pub precise: Vec<Tensor>,
    /// The vectors of the discriminator's spectral normalisation, where it is spectrally normalised.
    vectors: Vec<Tensor>,
}

impl Models {
    pub fn losses(&self) -> &dyn Losses {
        &*self.shared.losses
    }

    pub fn penalties(&self) -> &Penalties {
        &self.shared.penalties
    }

    /// Pictures as D sees them: by the numbers of `draws`, where the run augments them.
    pub fn augmented(&self, pictures: &Tensor, draws: Option<&Draws>, seen: Seen) -> Tensor {
        match (&self.shared.augment, draws) {
            (Some(augment), Some(draws)) => augment.apply(pictures, &draws.of(seen)),
            _ => pictures.shallow_clone(),
        }
    }

    /// The classes of a run, and those of these samples, f32 `[per_rank]`; none where the networks are told none.
    pub fn classes(&self, draws: Option<&Draws>, seen: Seen) -> Option<(Classes, Tensor)> {
        let classes = self.shared.classes?;
        Some((classes, draws.expect("a run with classes draws them").classes(seen)))
    }

    /// G(z) with its graph.
    pub fn generate(&self, z: &Tensor, draws: Option<&Draws>) -> Passed {
        let mut statistics = vec![];
        let (network, norm) = (self.network(Half::Generator), &mut Norm::Batch(&mut statistics));
        let told = self.classes(draws, Seen::Fake).map(|(classes, numbers)| classes.behind(z, &numbers));
        let (outputs, held) = network.forward_by_pieces(told.as_ref().unwrap_or(z), &self.generator, norm);
        Passed { outputs, statistics, held }
    }

    /// How D is normalised in a pass, after so many power iterations where it is spectrally normalised.
    fn norm_of_d<'a>(&'a self, taken: &'a mut Vec<Tensor>, iterations: u32) -> Norm<'a> {
        match self.network(Half::Discriminator).is_spectral {
            true => Norm::Spectral { taken, vectors: &self.vectors, iterations },
            false => Norm::Batch(taken),
        }
    }

    /// What D reads beside samples, which are those of `of`; none where it reads samples alone.
    fn told_beside(&self, samples: &Tensor, of: (Option<&Draws>, Seen)) -> Option<Tensor> {
        let (classes, numbers) = self.classes(of.0, of.1)?;
        classes.beside(&numbers, samples.kind())
    }

    /// D's numbers of its outputs, `[per_rank]`; `of`: whose classes they are.
    fn numbers(&self, outputs: &Tensor, of: (Option<&Draws>, Seen)) -> Tensor {
        match self.classes(of.0, of.1) {
            Some((classes, numbers)) => classes.chosen(outputs, &numbers),
            None => outputs.reshape([-1]),
        }
    }

    /// D's outputs for samples, which are those of `of`. `iterations` are of D's spectral normalisation, if it has one: a pass has one more than the pass before
    /// it in its half.
    pub fn judge(
        &self,
        (samples, of): (&Tensor, (Option<&Draws>, Seen)),
        weights: &[Tensor],
        iterations: u32,
    ) -> Passed {
        let mut statistics = vec![];
        let (network, norm) =
            (self.network(Half::Discriminator), &mut self.norm_of_d(&mut statistics, iterations));
        let told = self.told_beside(samples, of);
        let input = Input { x: samples, told: told.as_ref() };
        let (outputs, held) = network.forward_by_pieces(input, weights, norm);
        Passed { outputs: self.numbers(&outputs, of).to_kind(Kind::Float), statistics, held }
    }

    /// D's outputs for f32 samples, from [`Self::precise`], with a graph whose gradients have graphs of their own.
    pub fn judge_twice(&self, samples: &Tensor, of: (Option<&Draws>, Seen)) -> Tensor {
        let (network, mut statistics) = (self.network(Half::Discriminator), vec![]);
        let norm = &mut self.norm_of_d(&mut statistics, 1);
        let told = self.told_beside(samples, of);
        let input = Input { x: samples, told: told.as_ref() };
        self.numbers(&network.forward_twice(input, &self.precise, norm), of)
    }

    pub fn network(&self, half: Half) -> &Network {
        self.shared.networks.network(half)
    }

    /// Gradients of consecutive parameters, of which this is the first; `end` where these are the last that come.
    pub fn contribution(
        &self,
        (half, rank): (Half, VirtualRank),
        first: usize,
        gradients: Vec<Tensor>,
        end: Option<End>,
    ) -> Contribution {
        let entries = &self.network(half).parameters.entries()[first..];
        let stored = |(gradient, entry): (Tensor, &Entry)| match gradient.device() {
            Device::Cpu => in_storage_order(gradient, entry),
            // The sum copies it in order.
            Device::Cuda(_) | Device::Mps | Device::Vulkan => gradient,
        };
        let gradients = gradients.into_iter().zip(entries).map(stored).collect();
        Contribution { rank, first, gradients, end }
    }
}

/// One virtual rank's part of a half step.
pub(crate) struct Task {
    pub step: Step,
    pub rank: VirtualRank,
    pub real: Option<Real>,
}

/// What only D's half has.
pub(crate) struct Real {
    /// f32 samples on the host in our storage order.
    pub samples: Tensor,
    /// Their classes; none where the networks are told none.
    pub classes: Arc<[u32]>,
    pub keep: Keep,
}

impl Task {
    pub fn half(&self) -> Half {
        match self.real {
            Some(_) => Half::Discriminator,
            None => Half::Generator,
        }
    }

    /// The same task with the same memory, for another thread.
    pub fn share(&self) -> Self {
        let share = |real: &Real| Real {
            samples: real.samples.shallow_clone(),
            classes: real.classes.clone(),
            keep: real.keep,
        };
        Self { step: self.step, rank: self.rank, real: self.real.as_ref().map(share) }
    }
}

/// What a lane keeps for later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Fakes with their graphs.
    Fakes,
    /// Fakes, and what was computed ahead.
    All,
}

/// What one thread needs to compute virtual ranks.
pub(crate) struct Lane {
    shared: Arc<Shared>,
    models: Models,
    kept: BTreeMap<VirtualRank, (Step, Passed)>,
    /// What was computed ahead of D's half.
    ahead: BTreeMap<VirtualRank, (Step, RealTerm)>,
    noise: Feed,
    draws: Feed,
    real: Feed,
}

/// What a half of a virtual rank reads, on the device.
#[derive(Clone, Copy, Default)]
pub(crate) struct Given<'a> {
    /// G's half needs it only where no fake is kept.
    pub z: Option<&'a Tensor>,
    /// D's half needs them only where nothing was computed ahead.
    pub real: Option<&'a Tensor>,
    /// None where the run draws nothing but z.
    pub draws: Option<&'a Draws>,
}

impl Lane {
    /// A lane that reads these weights.
    pub fn new(shared: Arc<Shared>, weights: &StateWeights) -> Self {
        let networks = &shared.networks;
        let [discriminator, generator] = &weights.halves;
        let frozen = weights.held.as_ref().unwrap_or(discriminator);
        let models = Models {
            generator: generator.leaves(&networks.generator, true),
            discriminator: discriminator.leaves(&networks.discriminator, true),
            frozen: frozen.leaves(&networks.discriminator, false),
            precise: discriminator.precise_leaves(&networks.discriminator),
            vectors: discriminator.vectors.iter().map(Tensor::shallow_clone).collect(),
            shared: shared.clone(),
        };
        let [noise, draws, real] = [(); 3].map(|()| Feed::to(shared.device));
        Self { models, kept: BTreeMap::new(), ahead: BTreeMap::new(), noise, draws, real, shared }
    }

    pub fn compute(&mut self, task: &Task, sink: Sink) {
        let needs_z = task.real.is_some() || !self.keeps(task);
        let z = needs_z.then(|| self.latent(task));
        let is_ahead = self.ahead.get(&task.rank).is_some_and(|(step, _)| *step == task.step);
        let real = task.real.as_ref().filter(|_| !is_ahead).map(|real| self.carried(&real.samples));
        let draws = self.draws(task);
        let given = Given { z: z.as_ref(), real: real.as_ref(), draws: draws.as_ref() };
        self.compute_on(task, given, sink);
    }

    /// Computes what D's half needs of real samples and keeps it until then.
    pub fn compute_ahead(&mut self, task: &Task) {
        let Some(real) = &task.real else { return };
        let (samples, draws) = (self.carried(&real.samples), self.draws(task));
        self.compute_ahead_on(task, &samples, draws.as_ref());
    }

    /// The same with samples on the device.
    pub fn compute_ahead_on(&mut self, task: &Task, samples: &Tensor, draws: Option<&Draws>) {
        self.ahead.insert(task.rank, (task.step, step::real(&self.models, task.step, samples, draws)));
    }

    /// Computes a half with inputs on the device.
    pub fn compute_on(&mut self, task: &Task, Given { z, real, draws }: Given, sink: Sink) {
        let Task { step, rank, .. } = *task;
        let given = "the caller gives what this half needs";
        match task.real {
            Some(Real { keep, .. }) => {
                let ahead = self.ahead.remove(&rank).filter(|(of, _)| *of == step).map(|(_, term)| term);
                let term = ahead.unwrap_or_else(|| step::real(&self.models, step, real.expect(given), draws));
                let inputs = (z.expect(given), draws);
                let fake = step::discriminator(&self.models, rank, term, inputs, keep, sink);
                if keep == Keep::Kept {
                    self.kept.insert(rank, (step, fake));
                }
            }
            None => {
                let kept = self.kept.remove(&rank).filter(|(of, _)| *of == step).map(|(_, fake)| fake);
                let fake = kept.unwrap_or_else(|| self.models.generate(z.expect(given), draws));
                step::generator(&self.models, rank, fake, draws, sink);
            }
        }
    }

    /// What a virtual rank adds to the sum of an idle half: that it is there.
    pub fn idle(&self, rank: VirtualRank) -> Contribution {
        let zero = Tensor::zeros([0_i64; 0], (Kind::Float, self.shared.device));
        let end = End { statistics: vec![], means: std::array::from_fn(|_| zero.shallow_clone()) };
        Contribution { rank, first: 0, gradients: vec![], end: Some(end) }
    }

    /// Whether D's half of this step has what not every step has.
    pub fn is_special(&self, step: Step) -> bool {
        self.shared.penalties.are_special_at(step)
    }

    fn keeps(&self, task: &Task) -> bool {
        self.kept.get(&task.rank).is_some_and(|(step, _)| *step == task.step)
    }

    /// Drops what was kept.
    pub fn forget(&mut self, kept: Kept) {
        self.kept.clear();
        if kept == Kept::All {
            self.ahead.clear();
        }
    }

    /// Samples on the host as the networks read them, on the device.
    pub fn carried(&mut self, real: &Tensor) -> Tensor {
        let kind = self.product_kind();
        if self.shared.device == Device::Cpu {
            return real.to_kind(kind);
        }
        let flat = self.real.send(real.numel(), |to| to.copy_from_slice(floats(real)));
        flat.as_strided(real.size(), real.stride(), None).to_kind(kind)
    }

    /// z of a virtual rank at a step, on the device.
    pub fn latent(&mut self, task: &Task) -> Tensor {
        let mut size = self.shared.networks.generator.input_size(self.shared.per_rank);
        // Classes are put behind it.
        size[1] -= i64::from(self.shared.class_count);
        let len = size.iter().product::<i64>() as usize;
        let z = self.noise.send(len, |z| self.shared.latent.fill(task.step, task.rank, z));
        z.view(size.as_slice()).to_kind(self.product_kind())
    }

    /// What else is drawn for a virtual rank at a step, on the device; none where the run has no use for it.
    pub fn draws(&mut self, task: &Task) -> Option<Draws> {
        let shared = &self.shared;
        let is_drawn = shared.augment.is_some() || shared.penalties.gradient_penalty.is_some();
        if !is_drawn && shared.classes.is_none() {
            return None;
        }
        let (per_rank, step, rank) = (shared.per_rank, task.step, task.rank);
        let numbers = self.draws.send(draws::len(per_rank), |out| {
            out.fill(0.0);
            let [drawn, fake, real] = draws::parts(out, per_rank);
            if is_drawn {
                shared.latent.fill_draws(step, rank, drawn);
            }
            if shared.classes.is_some() {
                shared.latent.fill_classes(step, rank, shared.class_count, fake);
            }
            let classes = task.real.iter().flat_map(|real| real.classes.iter());
            real.iter_mut().zip(classes).for_each(|(place, class)| *place = *class as f32);
        });
        Some(Draws::new(&numbers))
    }

    fn product_kind(&self) -> Kind {
        match self.shared.precision {
            Precision::F32 | Precision::Tf32 => Kind::Float,
            Precision::Bf16 => Kind::BFloat16,
        }
    }
}
