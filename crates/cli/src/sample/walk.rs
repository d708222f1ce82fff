//! One sample on its way through z, frame by frame.

use std::f32::consts::FRAC_PI_2;

use lsgan_console::{Counter, Failure};
use lsgan_pictures::{RgbImage, grid_image};
use lsgan_spec::{Grid, Latent};
use lsgan_train::Sampler;
use lsgan_train::models::SampleShape;

/// z that are computed at once.
const BATCH: usize = 64;

/// From each z of `keys` to the next, and from the last back to the first, `frames` pictures each.
///
/// # Errors
/// 2-D points, which have no picture each.
pub fn walk(
    sampler: &Sampler,
    make: impl Fn(&[f32]) -> Vec<f32>,
    (keys, latent): (&[Vec<f32>], Latent),
    frames: usize,
) -> Result<Vec<RgbImage>, Failure> {
    let SampleShape::Picture { size, channels } = sampler.shape() else {
        return Err(Failure::bad_input(
            "--interpolate shows pictures, and this run makes 2-D points. Leave it out.",
        ));
    };
    let path = path(keys, latent, frames);
    let counter = Counter::new("sampling");
    let mut pictures: Vec<RgbImage> = Vec::with_capacity(path.len());
    for batch in path.chunks(BATCH) {
        let samples = make(&batch.concat());
        let one = samples.chunks(sampler.shape().len());
        pictures.extend(one.map(|sample| grid_image(sample, Grid { columns: 1, rows: 1 }, size, channels)));
        counter.show("frames", pictures.len() as u64, Some(path.len() as u64));
    }
    counter.end();
    Ok(pictures)
}

fn path(keys: &[Vec<f32>], latent: Latent, frames: usize) -> Vec<Vec<f32>> {
    let numbers = latent.dimension() as usize;
    let between = |from: usize| {
        let (a, b) = (&keys[from], &keys[(from + 1) % keys.len()]);
        (0..frames).map(move |frame| {
            let t = frame as f32 / frames as f32;
            // What the network is told of classes is behind z.
            let ((z_a, told_a), (z_b, told_b)) = (a.split_at(numbers), b.split_at(numbers));
            let z = match latent {
                Latent::Normal(_) => on_the_sphere(z_a, z_b, t),
                Latent::Uniform(_) => mixed(z_a, z_b, [1.0 - t, t]),
            };
            [z, mixed(told_a, told_b, [1.0 - t, t])].concat()
        })
    };
    (0..keys.len()).flat_map(between).collect()
}

/// Spherical interpolation (White 2016, arXiv 1609.04468, section 2.1): normal z of many numbers lie near a sphere, and what lies
/// within it is like nothing that G was trained on.
fn on_the_sphere(a: &[f32], b: &[f32], t: f32) -> Vec<f32> {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f32>();
    let angle = (dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()).clamp(-1.0, 1.0).acos();
    // Between equal or opposite ones there is no single way.
    if !(1e-3..2.0 * FRAC_PI_2 - 1e-3).contains(&angle) {
        return mixed(a, b, [1.0 - t, t]);
    }
    mixed(a, b, [((1.0 - t) * angle).sin() / angle.sin(), (t * angle).sin() / angle.sin()])
}

fn mixed(a: &[f32], b: &[f32], [of_a, of_b]: [f32; 2]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| of_a * a + of_b * b).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_begins_at_each_key_and_stays_on_the_sphere() {
        let keys = [vec![1.0, 0.0, 0.0], vec![0.0, 1.0, 0.0], vec![0.0, 0.0, 1.0]];
        let path = path(&keys, Latent::Normal(3), 10);
        assert_eq!(path.len(), 30);
        for (at, z) in path.iter().enumerate() {
            let length = z.iter().map(|x| x * x).sum::<f32>().sqrt();
            assert!((length - 1.0).abs() < 1e-6, "{at}: {length}");
        }
        assert_eq!([&path[0], &path[10], &path[20]], [&keys[0], &keys[1], &keys[2]]);
        assert!((path[5][0] - 0.5_f32.sqrt()).abs() < 1e-6 && (path[25][0] - 0.5_f32.sqrt()).abs() < 1e-6);
    }

    #[test]
    fn uniform_keys_are_mixed_in_a_straight_line_and_equal_ones_stay() {
        let keys = [vec![-1.0, 0.5], vec![1.0, 0.5]];
        assert_eq!(path(&keys, Latent::Uniform(2), 2)[1], [0.0, 0.5]);
        let same = [vec![2.0, 1.0], vec![2.0, 1.0]];
        assert!(path(&same, Latent::Normal(2), 3).iter().all(|z| *z == same[0]));
    }
}
