//! A small D, trained without a library: one hidden layer of tanh, D(x) = Σ v·tanh(w·x + u) + t.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// The network with its parameters, all in one list: w `[hidden, inputs]`, then u `[hidden]`, v `[hidden]`, t.
#[derive(Clone, Debug)]
pub struct Network {
    inputs: usize,
    hidden: usize,
    parameters: Vec<f64>,
}

/// A place, and how much of the real and of the generated samples lies there; over all places each sums to 1.
#[derive(Clone, Debug)]
pub struct Place {
    /// `[inputs]`.
    pub x: Vec<f64>,
    /// Share of the real samples.
    pub real: f64,
    /// Share of the generated ones.
    pub fake: f64,
}

/// How D is trained: Adam on all places at once.
#[derive(Clone, Copy, Debug)]
pub struct Training {
    /// Updates.
    pub steps: usize,
    /// Step size of the first update; it falls to 0 along half a cosine.
    pub learning_rate: f64,
}

impl Network {
    /// With weights as PyTorch's linear layers have them at first: uniform within ±1/√inputs of the layer.
    pub fn new(inputs: usize, hidden: usize, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut uniform = |of: usize| {
            let unit = (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
            (2.0 * unit - 1.0) / (of as f64).sqrt()
        };
        let first = hidden * (inputs + 1);
        let parameters =
            (0..first + hidden + 1).map(|i| uniform(if i < first { inputs } else { hidden })).collect();
        Self { inputs, hidden, parameters }
    }

    /// w, u, v of a hidden unit.
    fn unit(&self, unit: usize) -> (&[f64], f64, f64) {
        let (inputs, after_w) = (self.inputs, self.hidden * self.inputs);
        let w = &self.parameters[unit * inputs..][..inputs];
        (w, self.parameters[after_w + unit], self.parameters[after_w + self.hidden + unit])
    }

    fn tanh(&self, unit: usize, x: &[f64]) -> f64 {
        let (w, u, _) = self.unit(unit);
        libm::tanh(w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + u)
    }

    /// D(x).
    pub fn output(&self, x: &[f64]) -> f64 {
        let last = self.parameters[self.parameters.len() - 1];
        (0..self.hidden).map(|unit| self.unit(unit).2 * self.tanh(unit, x)).sum::<f64>() + last
    }

    /// ∇D(x), `[inputs]`.
    pub fn gradient(&self, x: &[f64]) -> Vec<f64> {
        let mut gradient = vec![0.0; self.inputs];
        for unit in 0..self.hidden {
            let (w, _, v) = self.unit(unit);
            let slope = v * (1.0 - self.tanh(unit, x).powi(2));
            gradient.iter_mut().zip(w).for_each(|(sum, w)| *sum += slope * w);
        }
        gradient
    }

    /// Adds `slope` · ∂D(x)/∂parameters.
    fn add_backward(&self, x: &[f64], slope: f64, into: &mut [f64]) {
        let (inputs, after_w) = (self.inputs, self.hidden * self.inputs);
        for unit in 0..self.hidden {
            let (tanh, (_, _, v)) = (self.tanh(unit, x), self.unit(unit));
            let before = slope * v * (1.0 - tanh * tanh);
            for (input, x) in x.iter().enumerate() {
                into[unit * inputs + input] += before * x;
            }
            into[after_w + unit] += before;
            into[after_w + self.hidden + unit] += slope * tanh;
        }
        into[self.parameters.len() - 1] += slope;
    }

    /// Minimises Σ real·l_real(D(x)) + fake·l_fake(D(x)), where `slope` is the sum's derivative by D at a place. `each` sees the
    /// network after every update.
    pub fn train(
        &mut self,
        places: &[Place],
        training: Training,
        slope: impl Fn(&Place, f64) -> f64,
        mut each: impl FnMut(usize, &Self),
    ) {
        const BETA1: f64 = 0.9;
        const BETA2: f64 = 0.999;
        let count = self.parameters.len();
        let (mut first, mut second) = (vec![0.0; count], vec![0.0; count]);
        for step in 1..=training.steps {
            let mut gradient = vec![0.0; count];
            for place in places {
                self.add_backward(&place.x, slope(place, self.output(&place.x)), &mut gradient);
            }
            let share = (step - 1) as f64 / training.steps as f64;
            let rate = training.learning_rate * (1.0 + libm::cos(std::f64::consts::PI * share)) / 2.0;
            let corrected = |moment: f64, beta: f64| moment / (1.0 - beta.powi(step as i32));
            for (i, parameter) in self.parameters.iter_mut().enumerate() {
                first[i] = BETA1 * first[i] + (1.0 - BETA1) * gradient[i];
                second[i] = BETA2 * second[i] + (1.0 - BETA2) * gradient[i] * gradient[i];
                *parameter -= rate * corrected(first[i], BETA1) / (corrected(second[i], BETA2).sqrt() + 1e-8);
            }
            each(step, self);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Central differences by x and by every parameter.
    #[test]
    fn its_gradients_are_its_finite_differences() {
        let (network, x, step) = (Network::new(2, 5, 3), [0.3, -1.2], 1e-5);
        for (input, found) in network.gradient(&x).into_iter().enumerate() {
            let at = |by: f64| {
                let mut moved = x;
                moved[input] += by;
                network.output(&moved)
            };
            assert!((found - (at(step) - at(-step)) / (2.0 * step)).abs() < 1e-8, "by x[{input}]: {found}");
        }
        let mut backward = vec![0.0; network.parameters.len()];
        network.add_backward(&x, 2.0, &mut backward);
        for (parameter, found) in backward.into_iter().enumerate() {
            let at = |by: f64| {
                let mut moved = network.clone();
                moved.parameters[parameter] += by;
                2.0 * moved.output(&x)
            };
            assert!((found - (at(step) - at(-step)) / (2.0 * step)).abs() < 1e-8, "{parameter}: {found}");
        }
    }

    #[test]
    fn it_learns_which_side_is_real() {
        let place = |x: f64, real: f64| Place { x: vec![x], real, fake: 0.5 - real };
        let places = [place(-1.0, 0.0), place(-0.5, 0.0), place(0.5, 0.5), place(1.0, 0.5)];
        let mut network = Network::new(1, 4, 1);
        let least_squares = |at: &Place, d: f64| at.real * (d - 1.0) + at.fake * (d + 1.0);
        let mut seen = 0;
        network.train(&places, Training { steps: 500, learning_rate: 0.05 }, least_squares, |step, _| {
            seen = step
        });
        let outputs: Vec<f64> = places.iter().map(|place| network.output(&place.x)).collect();
        assert_eq!(seen, 500);
        assert!(
            outputs.iter().zip([-1.0, -1.0, 1.0, 1.0]).all(|(found, label)| (found - label).abs() < 0.05),
            "{outputs:?}"
        );
    }
}
