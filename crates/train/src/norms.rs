//! The normalisations of one pass through a network: which statistics and vectors they read, and where theirs go.

use std::iter::Zip;
use std::slice::Iter;

use tch::{Device, Kind, Tensor};

use crate::layers::{BATCH_NORM_EPSILON, Network};
use crate::spectral;
use crate::tensors::view;

/// The source of batch norm's statistics.
pub enum Norm<'a> {
    /// The batch. They are appended here: mean, then unbiased variance, of each batch norm.
    Batch(&'a mut Vec<Tensor>),
    /// The same of a spectrally normalised network, and behind them its new vectors after so many `iterations` from `vectors`.
    Spectral { taken: &'a mut Vec<Tensor>, vectors: &'a [Tensor], iterations: u32 },
    /// These running statistics: mean, then variance, of each batch norm.
    Running(Iter<'a, Tensor>),
}

/// Batch norms on one pass through a network.
pub(crate) struct Norms<'a> {
    /// Mean, then variance, of each that is still to come.
    statistics: Iter<'a, Tensor>,
    /// They are computed, and not only read.
    of_batch: bool,
    /// Of each product of a spectrally normalised network that is still to come: its vector, and where the new one goes.
    vectors: Zip<Iter<'a, Tensor>, Iter<'a, Tensor>>,
    iterations: u32,
}

impl Norm<'_> {
    /// Memory for all statistics of the batch is made and cleared at once: a GPU takes as long for one as for all.
    pub(crate) fn begin(&mut self, network: &Network, device: Device) -> Norms<'_> {
        let layout = &network.statistics;
        let (taken, vectors, iterations) = match self {
            Self::Batch(taken) => (taken, &[][..], 0),
            Self::Spectral { taken, vectors, iterations } => (taken, *vectors, *iterations),
            Self::Running(running) => {
                let none: &[Tensor] = &[];
                let vectors = none.iter().zip(none);
                return Norms { statistics: running.clone(), of_batch: false, vectors, iterations: 0 };
            }
        };
        let (first, entries) = (taken.len(), layout.entries());
        if !entries.is_empty() {
            let all = Tensor::zeros([network.mixed.max(1) as i64], (Kind::Float, device));
            let of_norms = entries.iter().take_while(|entry| entry.offset < network.mixed);
            taken.extend(of_norms.map(|entry| view(&all, entry)));
            // Apart: to autograd a vector that is put would change the statistics, which gradients need.
            taken.extend(network.vectors().map(|entry| Tensor::zeros(entry.size(), (Kind::Float, device))));
        }
        let (statistics, new) = taken[first..].split_at(entries.len() - network.vectors().count());
        Norms { statistics: statistics.iter(), of_batch: true, vectors: vectors.iter().zip(new), iterations }
    }
}

impl Norms<'_> {
    /// A weight of a product, divided by its largest singular value where the network is spectrally normalised.
    pub fn weight(&mut self, weight: &Tensor) -> Tensor {
        let Some((vector, new)) = self.vectors.next() else { return weight.shallow_clone() };
        let (normalised, u) = spectral::normalised(weight, vector, self.iterations);
        new.shallow_clone().copy_(&u);
        normalised
    }

    /// y = (x − mean) / √(variance + ε) · weight + bias, for each channel.
    pub fn apply(&mut self, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
        let mut next = || self.statistics.next().expect("every batch norm has statistics");
        let (mean, variance) = (Some(next()), Some(next()));
        let (w, b) = (Some(weight), Some(bias));
        // A momentum of 1 makes the running statistics those of this batch alone, as PyTorch rounds them.
        let momentum = if self.of_batch { 1.0 } else { 0.0 };
        x.batch_norm(w, b, mean, variance, self.of_batch, momentum, BATCH_NORM_EPSILON, true)
    }
}
