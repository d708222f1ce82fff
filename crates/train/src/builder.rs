//! Builds a replica: which engine, how many lanes, whether halves are recorded.

use std::ops::Range;
use std::sync::Arc;

use lsgan_spec::{CudaGraphs, Half, ReductionMode, RunSpec, Updates};
use tch::Device;

use crate::augment::Augment;
use crate::classes::Classes;
use crate::device;
use crate::engine::Engine;
use crate::engine::device::DeviceEngine;
use crate::engine::host::HostEngine;
use crate::error::TrainError;
use crate::graphs::{self, Graphs, Notice, Proof, Recorder};
use crate::header::SumLayout;
use crate::lane::{ComputeWeights, Lane, Shared, StateWeights};
use crate::lanes::Lanes;
use crate::memory::{KeptLimit, ahead_max, kept_max};
use crate::models::{self, SampleShape};
use crate::noise::{LatentSource, SeededLatent};
use crate::objectives;
use crate::penalties::Penalties;
use crate::rehearsal::Rehearsal;
use crate::replica::Replica;
use crate::state::{Networks, Regions, State};
use crate::sums::{FixedSum, HostSum, SMALL, ScaledSum};
use crate::tensors::view;
use crate::word::Word;

/// Builds a [`Replica`].
#[must_use]
pub struct Builder<'a> {
    spec: &'a RunSpec,
    device: Device,
    latent: Option<Arc<dyn LatentSource>>,
    rehearsal: Option<Rehearsal>,
    small: usize,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(spec: &'a RunSpec) -> Self {
        Self { spec, device: Device::Cpu, latent: None, rehearsal: None, small: SMALL }
    }

    /// Computes on this device.
    pub fn device(self, device: Device) -> Self {
        Self { device, ..self }
    }

    /// Takes z from this source, not from the run's seed.
    pub fn latent(self, latent: Arc<dyn LatentSource>) -> Self {
        Self { latent: Some(latent), ..self }
    }

    /// For tests: computes on a CPU as on a GPU.
    pub fn rehearsal(self, rehearsal: Option<Rehearsal>) -> Self {
        Self { rehearsal, ..self }
    }

    /// For tests: networks of so many parameters or more sum their gradients in 32 bits, where `reduction` is exact.
    pub fn in_32_bits_from(self, small: usize) -> Self {
        Self { small, ..self }
    }

    /// The replica, at reduction 0.
    ///
    /// # Errors
    /// Models that do not fit the run's data; a GPU that cannot compute.
    pub fn build(self) -> Result<Replica, TrainError> {
        device::one_thread();
        let Self { spec, device, .. } = self;
        let is_host = device == Device::Cpu && self.rehearsal.is_none();
        if spec.updates == Updates::Simultaneous && !is_host {
            return Err(TrainError::SimultaneousOnGpu);
        }
        let networks = Arc::new(Networks::of(spec)?);
        let state = State::fresh(spec.seed, &networks, Arc::new(Regions::new(&networks, spec.updates)));
        let shared = self.shared(&networks);
        let limit = KeptLimit::of(device);
        let (recorder, notice) = self.recorder();
        let (engine, lanes) = match spec.reduction {
            ReductionMode::Exact | ReductionMode::Exact64 => self.engine::<i64>(&shared, state, recorder)?,
            ReductionMode::Fast => self.engine::<f32>(&shared, state, recorder)?,
        };
        Ok(Replica {
            lanes,
            engine,
            sample: SampleShape::of(spec)?,
            kept_max: kept_max(&networks.generator, spec.batch.per_rank, limit),
            ahead_max: ahead_max(&networks.discriminator, limit),
            networks,
            device,
            spec: spec.clone(),
            before: None,
            notice,
        })
    }

    fn shared(&self, networks: &Arc<Networks>) -> Arc<Shared> {
        let Self { spec, device, .. } = *self;
        let seeded = SeededLatent { seed: spec.seed, latent: models::latent(&spec.model.generator) };
        Arc::new(Shared {
            networks: networks.clone(),
            losses: objectives::losses(&spec.objective),
            augment: Augment::of(&spec.augment),
            classes: Classes::of(&spec.model.classes),
            class_count: spec.model.classes.count,
            penalties: Penalties::of(spec),
            latent: self.latent.clone().unwrap_or_else(|| Arc::new(seeded)),
            per_rank: spec.batch.per_rank as usize,
            device,
            precision: spec.precision,
        })
    }

    /// A lane alone, with the weights of reduction 0, and the shape of its samples.
    pub(crate) fn lane(&self) -> Result<(Lane, SampleShape), TrainError> {
        device::one_thread();
        let networks = Arc::new(Networks::of(self.spec)?);
        let state =
            State::fresh(self.spec.seed, &networks, Arc::new(Regions::new(&networks, self.spec.updates)));
        let weights = self.weights(&networks, state.regions(), &state.tensor().to_device(self.device));
        Ok((Lane::new(self.shared(&networks), &weights), SampleShape::of(self.spec)?))
    }

    /// The weights in the numbers of a state, as networks read them.
    fn weights(&self, networks: &Networks, regions: &Regions, numbers: &tch::Tensor) -> StateWeights {
        let region = |at: &Range<usize>| numbers.narrow(0, at.start as i64, at.len() as i64);
        let halves = [Half::Discriminator, Half::Generator].map(|half| {
            let statistics = region(&regions.of(half).statistics);
            let vectors = networks.network(half).vectors().map(|entry| view(&statistics, entry));
            ComputeWeights::new(region(&regions.of(half).weights), vectors.collect(), self.spec.precision)
        });
        let held = regions.held.as_ref();
        let held = held.map(|at| ComputeWeights::new(region(at), vec![], self.spec.precision));
        StateWeights { halves, held }
    }

    /// The recorder of CUDA graphs, if halves are to be recorded; or why they cannot be.
    fn recorder(&self) -> (Option<Box<dyn Recorder>>, Option<Notice>) {
        match (self.rehearsal, self.device, self.spec.compute.cuda_graphs) {
            (Some(rehearsal), _, _) => (rehearsal.recorder(), None),
            (None, Device::Cuda(index), CudaGraphs::Auto) => match graphs::open(index) {
                Ok(recorder) => (Some(recorder), None),
                Err(why) => {
                    let text = format!("no CUDA graphs are used: {why}");
                    (None, Some(Notice { is_warning: false, text }))
                }
            },
            (None, _, _) => (None, None),
        }
    }

    /// The engine, and lanes that read its weights.
    fn engine<W: Word>(
        &self,
        shared: &Arc<Shared>,
        state: State,
        recorder: Option<Box<dyn Recorder>>,
    ) -> Result<(Box<dyn Engine>, Lanes), TrainError> {
        let (spec, networks) = (self.spec, &shared.networks);
        let regions = state.regions().clone();
        let weights = |numbers: &tch::Tensor| self.weights(networks, &regions, numbers);
        // A GPU computes one virtual rank after another: each fills it.
        let alone = self.device != Device::Cpu || recorder.is_some();
        let count = if alone { 1 } else { spec.compute.threads.max(1) };
        let lanes = |weights: StateWeights| {
            let lane = || Lane::new(shared.clone(), &weights);
            Lanes::new(lane(), (1..count).map(|_| lane()).collect(), weights)
        };
        if self.device == Device::Cpu && self.rehearsal.is_none() {
            let weights = weights(state.tensor());
            return Ok((self.on_host::<W>(networks, state), lanes(weights)));
        }
        let device = DeviceEngine::<W>::new(networks, state, self.device, spec, self.small)
            .map_err(|why| TrainError::NoKernels { why: why.to_string() })?;
        let weights = weights(device.numbers());
        let Some(recorder) = recorder else { return Ok((Box::new(device), lanes(weights))) };
        let proof = if spec.compute.deterministic { Proof::SameBits } else { Proof::Close };
        let lane = Lane::new(shared.clone(), &weights);
        Ok((Box::new(Graphs::new(device, recorder, lane, proof)), lanes(weights)))
    }

    fn on_host<W: Word>(&self, networks: &Networks, state: State) -> Box<dyn Engine> {
        let virtual_ranks = self.spec.batch.virtual_ranks;
        let sum = |half| -> Box<dyn HostSum> {
            let network = networks.network(half);
            let layout = SumLayout::new(half, network, virtual_ranks);
            match self.spec.reduction {
                ReductionMode::Exact => Box::new(ScaledSum::new(layout, network, self.small)),
                ReductionMode::Exact64 | ReductionMode::Fast => Box::new(FixedSum::<W>::new(layout)),
            }
        };
        let idle: Box<dyn HostSum> = Box::new(FixedSum::<W>::new(SumLayout::header_alone(virtual_ranks)));
        let sums = [sum(Half::Discriminator), sum(Half::Generator), idle];
        Box::new(HostEngine::new(state, sums, self.spec.optimizer))
    }
}
