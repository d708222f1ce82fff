//! The state as named tensors in PyTorch's order and under PyTorch's names: what snapshots hold.
//!
//! | part | tensors |
//! | --- | --- |
//! | `generator`, `discriminator` | a state dict: `main.0.weight`, `main.1.running_mean`, `main.1.num_batches_tracked` … |
//! | `generator_ema` | the same names, averaged |
//! | `generator_adam`, `discriminator_adam` | `main.0.weight.exp_avg`, `main.0.weight.exp_avg_sq` …, of Adam and AdamW |
//! | `generator_rmsprop`, `discriminator_rmsprop` | `main.0.weight.momentum_buffer`, `main.0.weight.square_avg` … |

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use lsgan_spec::{Half, NamedTensor, Optimizer, OptimizersSpec, Part, Reduction, TensorData};

use crate::TrainError;
use crate::flat::{Entry, Layout, from_row_major, to_row_major};
use crate::layers::Network;
use crate::state::{Networks, Regions, State, reduction_of};

/// A copy of the state, for another thread to split into parts. Needs no libtorch.
#[derive(Clone)]
pub struct StateCopy {
    numbers: Vec<f32>,
    networks: Arc<Networks>,
    regions: Arc<Regions>,
    optimizers: OptimizersSpec,
}

impl StateCopy {
    pub(crate) fn of(state: &State, networks: &Arc<Networks>, optimizers: &OptimizersSpec) -> Self {
        Self {
            numbers: state.numbers().to_vec(),
            optimizers: *optimizers,
            networks: networks.clone(),
            regions: state.regions().clone(),
        }
    }

    /// Copies a newer state into the same memory.
    pub(crate) fn refill(&mut self, state: &State) {
        self.numbers.copy_from_slice(state.numbers());
    }

    /// How many reductions it has applied.
    #[must_use]
    pub fn reduction(&self) -> Reduction {
        reduction_of(&self.numbers)
    }

    /// Its parts, in a fixed order; equal states give equal parts.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        let recipes = recipes(&self.networks, &self.regions, &self.optimizers, self.reduction());
        recipes.into_iter().map(|recipe| part(recipe, &self.numbers)).collect()
    }
}

/// One flat region that is saved, its layout, and what is appended to the layout's names.
struct Source<'a> {
    layout: &'a Layout,
    region: Range<usize>,
    suffix: &'static str,
}

/// What a part is made of. `batches_tracked`: how many batches its batch norms have seen, where they count them.
struct Recipe<'a> {
    name: String,
    network: &'a Network,
    batches_tracked: Option<i64>,
    sources: Vec<Source<'a>>,
}

/// What an optimizer's moments are called in PyTorch: the ending of the part, then the endings of its tensors.
fn moment_names(optimizer: &Optimizer) -> (&'static str, [&'static str; 2]) {
    match optimizer {
        Optimizer::Adam { .. } | Optimizer::AdamW { .. } => ("adam", [".exp_avg", ".exp_avg_sq"]),
        Optimizer::RmsProp { .. } => ("rmsprop", [".momentum_buffer", ".square_avg"]),
    }
}

fn recipes<'a>(
    networks: &'a Networks,
    regions: &Regions,
    optimizers: &OptimizersSpec,
    reduction: Reduction,
) -> Vec<Recipe<'a>> {
    let (g, d) = (&networks.generator, &networks.discriminator);
    let state_dict = |network: &'a Network, weights: &Range<usize>, statistics: &Range<usize>| {
        vec![
            Source { layout: &network.parameters, region: weights.clone(), suffix: "" },
            Source { layout: &network.statistics, region: statistics.clone(), suffix: "" },
        ]
    };
    let moments = |half: Half| {
        let (network, at) = (networks.network(half), regions.of(half));
        let (of, suffixes) = moment_names(optimizers.of_half(half));
        let regions = [at.first_moments.clone(), at.second_moments.clone()];
        let source = |(region, suffix)| Source { layout: &network.parameters, region, suffix };
        let sources = regions.into_iter().zip(suffixes).map(source).collect();
        Recipe { name: format!("{}_{of}", network.name), network, batches_tracked: None, sources }
    };
    // G sees one batch for each of its updates, D two (real and fake). Running statistics are made of these: not of what G makes
    // for D at a step whose half of G is idle.
    let batches = |half, passes| Some((optimizers.updates(half, reduction) * passes) as i64);
    let (g_batches, d_batches) = (batches(Half::Generator, 1), batches(Half::Discriminator, 2));
    let (at_g, at_d) = (&regions.generator, &regions.discriminator);
    let recipe = |name: &str, network, batches_tracked, sources| Recipe {
        name: name.to_owned(),
        network,
        batches_tracked,
        sources,
    };
    vec![
        recipe("generator", g, g_batches, state_dict(g, &at_g.weights, &at_g.statistics)),
        recipe(
            GENERATOR_EMA,
            g,
            g_batches,
            state_dict(g, &regions.average_weights, &regions.average_statistics),
        ),
        recipe("discriminator", d, d_batches, state_dict(d, &at_d.weights, &at_d.statistics)),
        moments(Half::Generator),
        moments(Half::Discriminator),
    ]
}

/// The part that holds the moving average.
pub const GENERATOR_EMA: &str = "generator_ema";

fn part(recipe: Recipe, numbers: &[f32]) -> Part {
    let mut tensors = vec![];
    for Source { layout, region, suffix } in &recipe.sources {
        let flat = &numbers[region.clone()];
        tensors.extend(layout.entries().iter().map(|entry| NamedTensor {
            name: format!("{}{suffix}", entry.name),
            shape: entry.shape.clone(),
            data: TensorData::F32(to_row_major(entry, flat)),
        }));
    }
    if let Some(batches) = recipe.batches_tracked {
        tensors.extend(recipe.network.batch_norms().map(|layer| NamedTensor {
            name: format!("{layer}.num_batches_tracked"),
            shape: vec![],
            data: TensorData::I64(vec![batches]),
        }));
    }
    Part { name: recipe.name, tensors }
}

/// Overwrites the state with saved parts. Refuses, and changes nothing, unless every tensor is there and fits.
pub(crate) fn import(
    state: &mut State,
    networks: &Networks,
    optimizers: &OptimizersSpec,
    (parts, reduction): (&[Part], Reduction),
) -> Result<(), TrainError> {
    let regions = state.regions().clone();
    let mut found = vec![];
    for recipe in recipes(networks, &regions, optimizers, reduction) {
        let part = parts.iter().find(|part| part.name == recipe.name);
        let part = part.ok_or_else(|| mismatch(format!("the part {} is missing", recipe.name)))?;
        let tensors = Tensors::of(part);
        for Source { layout, region, suffix } in &recipe.sources {
            for entry in layout.entries() {
                found.push((entry.clone(), region.clone(), tensors.get(entry, suffix)?));
            }
        }
        tensors.nothing_else(&recipe)?;
    }
    for (entry, region, values) in found {
        from_row_major(&entry, values, &mut state.numbers_mut()[region]);
    }
    // Snapshots are of states between two steps.
    state.hold_discriminator();
    state.set_reduction(reduction);
    Ok(())
}

/// Overwrites one network's weights and running statistics, wherever they lie, with a state dict.
pub(crate) fn import_network(
    network: &Network,
    part: &Part,
    weights: &mut [f32],
    statistics: &mut [f32],
) -> Result<(), TrainError> {
    let tensors = Tensors::of(part);
    for (layout, flat) in [(&network.parameters, weights), (&network.statistics, statistics)] {
        for entry in layout.entries() {
            from_row_major(entry, tensors.get(entry, "")?, flat);
        }
    }
    Ok(())
}

/// A part's tensors by name.
struct Tensors<'a> {
    part: &'a str,
    by_name: BTreeMap<&'a str, &'a NamedTensor>,
}

impl<'a> Tensors<'a> {
    fn of(part: &'a Part) -> Self {
        let by_name = part.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        Self { part: &part.name, by_name }
    }

    fn get(&self, entry: &Entry, suffix: &str) -> Result<&'a [f32], TrainError> {
        let name = format!("{}{suffix}", entry.name);
        let Some(tensor) = self.by_name.get(name.as_str()) else {
            return Err(mismatch(format!("{} has no {name}", self.part)));
        };
        match &tensor.data {
            TensorData::F32(values) if tensor.shape == entry.shape && values.len() == entry.len() => {
                Ok(values)
            }
            TensorData::F32(_) => Err(mismatch(format!(
                "{}: {name} is {:?}, the run's is {:?}",
                self.part, tensor.shape, entry.shape
            ))),
            TensorData::I64(_) => Err(mismatch(format!("{}: {name} holds integers", self.part))),
        }
    }

    fn nothing_else(&self, recipe: &Recipe) -> Result<(), TrainError> {
        let known = recipe.sources.iter().map(|source| source.layout.entries().len()).sum::<usize>();
        let counters = |name: &&str| name.ends_with(".num_batches_tracked");
        let extra = self.by_name.len() - self.by_name.keys().filter(|name| counters(name)).count();
        if extra == known {
            return Ok(());
        }
        Err(mismatch(format!("{} has {extra} tensors of floats, the run's networks have {known}", self.part)))
    }
}

fn mismatch(problem: String) -> TrainError {
    TrainError::Import { problem }
}
