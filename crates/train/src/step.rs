//! The mathematics of a step, for one virtual rank at a time.
//!
//! **D's half.** z → G → fake, kept; D on real and on the fake without its graph; D's loss; gradients of D.
//! **G's half.** D, frozen, on the kept fake; G's loss; gradients of G. A fake that was not kept is computed
//! again: the same bits, since D's update touches nothing that it depends on.
//!
//! A [`Lane`] is what one thread needs for that. Lanes share the memory of the weights and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use lsgan_spec::{Precision, Step, VirtualRank};
use tch::{Device, Kind, Tensor};

use crate::feed::Feed;
use crate::flat::{self, Entry};
use crate::layers::{Network, Norm, Role};
use crate::noise::LatentSource;
use crate::objectives::Losses;
use crate::state::Networks;
use crate::sums::Means;

/// What all lanes of a replica share.
pub(crate) struct Shared {
    pub networks: Arc<Networks>,
    pub losses: Box<dyn Losses>,
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
}

impl ComputeWeights {
    /// `single`: a view of the weights in the state.
    pub fn new(single: Tensor, precision: Precision) -> Self {
        let product = match precision {
            Precision::F32 | Precision::Tf32 => single.shallow_clone(),
            Precision::Bf16 => single.to_kind(Kind::BFloat16),
        };
        Self { single, product }
    }

    /// Takes over what has changed in the state. No graph that needs the old weights may be alive.
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
}

/// The view of one named tensor in a flat one (which may itself be a part of a larger one).
pub(crate) fn view(base: &Tensor, entry: &Entry) -> Tensor {
    let part = base.narrow(0, entry.offset as i64, entry.len() as i64);
    part.as_strided(entry.size(), entry.strides(), None)
}

/// What one virtual rank adds to a sum.
pub(crate) struct Contribution {
    pub rank: VirtualRank,
    /// One for each parameter. On a CPU f32 in our storage order, elsewhere as they come.
    pub gradients: Vec<Tensor>,
    /// The batch-norm statistics of each pass, in the order of the passes; f32.
    pub statistics: Vec<Vec<Tensor>>,
    /// Loss, D(x) (0 in G's half) and D(G(z)); f32 without dimensions.
    pub means: [Tensor; 3],
}

/// A fake with its graph, and the statistics of the batch norms that made it.
struct Fake {
    step: Step,
    samples: Tensor,
    statistics: Vec<Tensor>,
}

/// What one thread needs to compute virtual ranks.
pub(crate) struct Lane {
    shared: Arc<Shared>,
    generator: Vec<Tensor>,
    discriminator: Vec<Tensor>,
    /// The discriminator's memory again, but nothing asks for its gradients.
    frozen: Vec<Tensor>,
    kept: BTreeMap<VirtualRank, Fake>,
    noise: Feed,
    real: Feed,
}

/// Whether the fakes of D's half stay in memory for G's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    Kept,
    ComputedAgain,
}

impl Lane {
    pub fn new(shared: Arc<Shared>, generator: &ComputeWeights, discriminator: &ComputeWeights) -> Self {
        let networks = shared.networks.clone();
        Self {
            generator: generator.leaves(&networks.generator, true),
            discriminator: discriminator.leaves(&networks.discriminator, true),
            frozen: discriminator.leaves(&networks.discriminator, false),
            kept: BTreeMap::new(),
            noise: Feed::to(shared.device),
            real: Feed::to(shared.device),
            shared,
        }
    }

    /// D's half for one virtual rank. `real`: f32 samples on the host in our storage order.
    pub fn discriminator_half(
        &mut self,
        step: Step,
        rank: VirtualRank,
        real: &Tensor,
        keep: Keep,
    ) -> Contribution {
        let z = self.latent(step, rank);
        let real = self.carried(real);
        self.discriminator_on(step, rank, [&z, &real], keep)
    }

    /// The same with z and the real samples on the device, as [`Self::latent`] and [`Self::carried`] give them.
    pub fn discriminator_on(
        &mut self,
        step: Step,
        rank: VirtualRank,
        [z, real]: [&Tensor; 2],
        keep: Keep,
    ) -> Contribution {
        let fake = match keep {
            Keep::Kept => self.fake(step, z),
            Keep::ComputedAgain => tch::no_grad(|| self.fake(step, z)),
        };
        let (mut of_real, mut of_fake) = (vec![], vec![]);
        let on_real = self.judge(real, &self.discriminator, &mut of_real);
        let on_fake = self.judge(&fake.samples.detach(), &self.discriminator, &mut of_fake);
        let loss = self.shared.losses.discriminator(&on_real, &on_fake);
        let gradients = Tensor::run_backward(&[&loss], &self.discriminator, false, false);
        if keep == Keep::Kept {
            self.kept.insert(rank, fake);
        }
        let network = &self.shared.networks.discriminator;
        Contribution {
            rank,
            gradients: in_our_order(network, gradients),
            statistics: vec![of_real, of_fake],
            means: [loss.detach(), mean(&on_real), mean(&on_fake)],
        }
    }

    /// G's half for one virtual rank.
    pub fn generator_half(&mut self, step: Step, rank: VirtualRank) -> Contribution {
        let is_kept = self.kept.get(&rank).is_some_and(|fake| fake.step == step);
        let z = (!is_kept).then(|| self.latent(step, rank));
        self.generator_on(step, rank, z.as_ref())
    }

    /// The same with z on the device, which is needed where no fake is kept.
    pub fn generator_on(&mut self, step: Step, rank: VirtualRank, z: Option<&Tensor>) -> Contribution {
        let kept = self.kept.remove(&rank).filter(|fake| fake.step == step);
        let fake = kept.unwrap_or_else(|| self.fake(step, z.expect("z comes where no fake is kept")));
        let on_fake = self.judge(&fake.samples, &self.frozen, &mut vec![]);
        let loss = self.shared.losses.generator(&on_fake);
        let gradients = Tensor::run_backward(&[&loss], &self.generator, false, false);
        Contribution {
            rank,
            gradients: in_our_order(&self.shared.networks.generator, gradients),
            statistics: vec![fake.statistics],
            means: [loss.detach(), on_fake.detach().mean(Kind::Float).zeros_like(), mean(&on_fake)],
        }
    }

    /// Drops every kept fake with its graph.
    pub fn forget(&mut self) {
        self.kept.clear();
    }

    /// Samples on the host as the networks read them, on the device.
    pub fn carried(&mut self, real: &Tensor) -> Tensor {
        let kind = self.product_kind();
        if self.shared.device == Device::Cpu {
            return real.to_kind(kind);
        }
        let flat = self.real.send(real.numel(), |to| to.copy_from_slice(numbers(real)));
        flat.as_strided(real.size(), real.stride(), None).to_kind(kind)
    }

    /// z of a virtual rank at a step, on the device.
    pub fn latent(&mut self, step: Step, rank: VirtualRank) -> Tensor {
        let size = self.shared.networks.generator.input_size(self.shared.per_rank);
        let len = size.iter().product::<i64>() as usize;
        let z = self.noise.send(len, |z| self.shared.latent.fill(step, rank, z));
        z.view(size.as_slice()).to_kind(self.product_kind())
    }

    /// G(z) with its graph.
    fn fake(&self, step: Step, z: &Tensor) -> Fake {
        let network = &self.shared.networks.generator;
        let mut statistics = vec![];
        let samples = network.forward(z, &self.generator, &mut Norm::Batch(&mut statistics));
        Fake { step, samples, statistics }
    }

    /// D's outputs, f32 `[per_rank]`.
    fn judge(&self, samples: &Tensor, weights: &[Tensor], statistics: &mut Vec<Tensor>) -> Tensor {
        let network = &self.shared.networks.discriminator;
        network.forward(samples, weights, &mut Norm::Batch(statistics)).reshape([-1]).to_kind(Kind::Float)
    }

    fn product_kind(&self) -> Kind {
        match self.shared.precision {
            Precision::F32 | Precision::Tf32 => Kind::Float,
            Precision::Bf16 => Kind::BFloat16,
        }
    }
}

fn mean(x: &Tensor) -> Tensor {
    x.detach().mean(Kind::Float)
}

impl Contribution {
    /// The means as numbers; waits for the device.
    pub fn means(&self) -> Means {
        let [loss, real, fake] = self.means.each_ref().map(|mean| mean.double_value(&[]));
        Means { loss, real, fake }
    }
}

/// On a CPU gradients as f32 in our storage order; in f32 they come like that. Elsewhere they are put in order where
/// they are copied anyway.
fn in_our_order(network: &Network, gradients: Vec<Tensor>) -> Vec<Tensor> {
    let entries = network.parameters.entries();
    let stored = |(gradient, entry): (Tensor, &Entry)| match gradient.device() {
        Device::Cpu => stored(gradient, entry),
        Device::Cuda(_) | Device::Mps | Device::Vulkan => gradient,
    };
    gradients.into_iter().zip(entries).map(stored).collect()
}

fn stored(gradient: Tensor, entry: &Entry) -> Tensor {
    let gradient = gradient.to_kind(Kind::Float);
    let (size, strides) = (entry.size(), entry.strides());
    if same_order(&size, &gradient.stride(), &strides) {
        return gradient;
    }
    let mut ours = Tensor::empty_strided(&size, &strides, (Kind::Float, Device::Cpu));
    ours.copy_(&gradient);
    ours
}

/// Whether two strides put the same numbers at the same places; where a side is 1, its stride says nothing.
fn same_order(size: &[i64], a: &[i64], b: &[i64]) -> bool {
    size.iter().zip(a.iter().zip(b)).all(|(&side, (a, b))| side == 1 || a == b)
}

/// The numbers of an f32 tensor on the host whose memory is dense, in the order of its memory.
pub(crate) fn numbers(tensor: &Tensor) -> &[f32] {
    assert_eq!(
        (tensor.kind(), tensor.device()),
        (Kind::Float, Device::Cpu),
        "gradients come as f32 to the host"
    );
    // SAFETY: the tensor is f32 on the host; its memory is dense (it has our strides, or one dimension), so it
    // has `numel` numbers; the slice borrows the tensor, which keeps them.
    unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast(), tensor.numel()) }
}

/// Samples `[count, h, w, c]` (or `[count, 2]`) as a tensor of the shape that the networks see.
pub(crate) fn samples(values: &[f32], size: &[i64]) -> Tensor {
    Tensor::from_slice(values).as_strided(size, flat::strides(size), None)
}

/// The same without a copy.
///
/// # Safety
/// The tensor must not outlive `values`.
pub(crate) unsafe fn samples_in_place(values: &[f32], size: &[i64]) -> Tensor {
    assert_eq!(values.len() as i64, size.iter().product::<i64>(), "so many numbers as the shape has");
    // SAFETY: the memory has so many f32; the caller vouches for its life.
    unsafe {
        let start = values.as_ptr().cast();
        Tensor::from_blob(start, size, &flat::strides(size), Kind::Float, Device::Cpu)
    }
}
