//! Measures what the exact sum loses, on real gradients, and prints the table of docs/exact-sum.md.
//!
//! ```text
//! zcat datasets/fashion-mnist/t10k-images-idx3-ubyte.gz > /tmp/images
//! sum_error --images /tmp/images [--model dcgan32|dcgan64|lsgan112|mlp] [--steps N] [--batch N]
//! ```
//!
//! A run of 4 virtual ranks is trained; at some of its steps each rank's gradient is taken by itself, and summed by each
//! scheme. Errors are of the mean gradient, ‖sum − mean‖₂ / ‖mean‖₂ in f64. A rank that does not fit is one of whose numbers
//! does not fit into 32 bits.

mod support;

use lsgan_spec::*;
use lsgan_train::state::Regions;
use lsgan_train::{ControlWords, Metrics, RankBatch, Replica, Words};
use support::Options;

const RANKS: u32 = 4;
const BLOCKS: [usize; 4] = [256, 1024, 4096, usize::MAX];
const HEADROOMS: [i32; 3] = [4, 6, 8];

fn main() {
    let options = Options::read();
    let (model, steps) = (options.text("model", "dcgan32"), u64::from(options.number("steps", "300")));
    let batch = BatchSpec { virtual_ranks: RANKS, per_rank: options.number("batch", "16") };
    // Its sums are 2^-48 fine, so that they serve as the truth.
    let spec = RunSpec { batch, reduction: ReductionMode::Exact64, ..support::spec(&model) };
    let images =
        std::fs::read(options.text("images", "/tmp/images")).expect("--images is a file of the IDX format");
    let mut replica = Replica::builder(&spec).build().expect("the spec is valid");
    println!("| model | step | half | f32 sum | {} |", columns());
    println!("| --- | --- | --- | --- |{}", " --- |".repeat(BLOCKS.len() * HEADROOMS.len()));
    for step in 0..steps {
        let batches: Vec<_> = (0..RANKS).map(|rank| samples(&spec, &images, step, rank)).collect();
        let looks = step > 0 && (step + 1).is_power_of_two() || step + 1 == steps;
        for half in [Half::Discriminator, Half::Generator] {
            if looks {
                let gradients: Vec<_> =
                    (0..RANKS).map(|rank| gradient(&mut replica, &batches, half, rank)).collect();
                println!("| {model} | {} | {half:?} | {} |", step + 1, row(&replica, half, &gradients));
            }
            compute(&mut replica, &batches, half, &[0, 1, 2, 3]);
            replica.apply(Metrics::Skipped).expect("the sum is good");
        }
    }
}

fn columns() -> String {
    let block = |block: usize| if block == usize::MAX { "tensor".to_owned() } else { block.to_string() };
    let of = |size: usize| HEADROOMS.map(|headroom| format!("block {}, H {headroom}", block(size)));
    BLOCKS.map(|size| of(size).join(" | ")).join(" | ")
}

/// Pictures of 28 × 28, scaled to the run's by their nearest pixels; or points near a ring.
fn samples(spec: &RunSpec, images: &[u8], step: u64, rank: u32) -> Vec<f32> {
    let first = (step * u64::from(RANKS) + u64::from(rank)) * u64::from(spec.batch.per_rank);
    let (side, channels) = match &spec.data.image {
        Some(image) => (image.size as usize, image.channels as usize),
        None => {
            let angle = |index: u64| (index % 8) as f32 * std::f32::consts::FRAC_PI_4;
            let points = first..first + u64::from(spec.batch.per_rank);
            return points.flat_map(|index| [angle(index).cos(), angle(index).sin()]).collect();
        }
    };
    let count = ((images.len() - 16) / 784) as u64;
    let mut samples = vec![];
    for index in first..first + u64::from(spec.batch.per_rank) {
        let image = &images[16 + (index % count) as usize * 784..][..784];
        for at in 0..side * side {
            let pixel = image[at / side * 28 / side * 28 + at % side * 28 / side];
            samples.extend(std::iter::repeat_n(f32::from(pixel) / 127.5 - 1.0, channels));
        }
    }
    samples
}

fn compute(replica: &mut Replica, batches: &[Vec<f32>], half: Half, ranks: &[u32]) {
    let (step, none) = (replica.reduction().step(), ControlWords::default());
    let ranks: Vec<_> = ranks.iter().map(|&rank| VirtualRank(rank)).collect();
    let batch = |rank: &VirtualRank| RankBatch {
        virtual_rank: *rank,
        samples: &batches[rank.0 as usize],
        classes: &[],
    };
    let computed = match half {
        Half::Discriminator => {
            replica.compute_discriminator(step, &ranks.iter().map(batch).collect::<Vec<_>>(), none)
        }
        Half::Generator => replica.compute_generator(step, &ranks, none),
    };
    computed.expect("the half that comes next");
}

/// A virtual rank's share of the mean gradient.
fn gradient(replica: &mut Replica, batches: &[Vec<f32>], half: Half, rank: u32) -> Vec<f64> {
    compute(replica, batches, half, &[rank]);
    let taken = replica.take_words();
    let [Words::Wide(words)] = &taken[..] else { panic!("exact64 has words of one kind") };
    let len = replica.networks().network(half).parameters.len();
    words[words.len() - len..].iter().map(|&word| word as f64 / (1_u64 << 48) as f64).collect()
}

/// The errors of a step's half, and in brackets the ranks that do not fit.
fn row(replica: &Replica, half: Half, gradients: &[Vec<f64>]) -> String {
    let network = replica.networks().network(half);
    let moments = Regions::new(replica.networks(), Updates::Alternating).of(half).second_moments.clone();
    let numbers = replica.state_bytes().as_chunks::<4>().0;
    let v: Vec<_> = numbers[moments].iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let correction = 1.0 / (1.0 - 0.999_f64.powi(replica.reduction().step().0 as i32));
    let mean: Vec<_> = (0..v.len()).map(|at| gradients.iter().map(|g| g[at]).sum::<f64>()).collect();
    let norm = mean.iter().map(|g| g * g).sum::<f64>().sqrt();
    let in_f32 = (0..v.len()).map(|at| {
        let sum = gradients.iter().fold(0.0_f32, |sum, g| sum + g[at] as f32);
        (f64::from(sum) - mean[at]).powi(2)
    });
    let mut cells = vec![format!("{:.1e}", in_f32.sum::<f64>().sqrt() / norm)];
    for block in BLOCKS {
        for headroom in HEADROOMS {
            let (mut error, mut misfits) = (0.0, vec![false; gradients.len()]);
            for entry in network.parameters.entries() {
                for start in entry.range().step_by(block.min(entry.len())) {
                    let range = start..(start + block.min(entry.len())).min(entry.range().end);
                    let largest = v[range.clone()].iter().copied().fold(0.0, f32::max);
                    let n = (f64::from(largest) * correction).sqrt().log2().floor() as i32 + 1;
                    let k = 48.min(31 - headroom - n);
                    for at in range {
                        let share = |g: &f64| (g * 2_f64.powi(k)).round_ties_even();
                        let sum: f64 = gradients.iter().map(|g| share(&g[at])).sum();
                        error += (sum / 2_f64.powi(k) - mean[at]).powi(2);
                        for (misfit, g) in misfits.iter_mut().zip(gradients) {
                            *misfit |= share(&g[at]).abs() * f64::from(RANKS) >= 2_f64.powi(31);
                        }
                    }
                }
            }
            let misfits = misfits.iter().filter(|misfit| **misfit).count();
            cells.push(format!("{:.1e} ({misfits})", error.sqrt() / norm));
        }
    }
    cells.join(" | ")
}
