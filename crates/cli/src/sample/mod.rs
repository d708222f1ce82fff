//! `lsgan sample`: pictures from a run's newest snapshot.
//!
//! - [`Args`]: what is asked for: a grid, single files (`singles`), or an animation (`walk`).

mod singles;
mod walk;

use std::path::PathBuf;

use lsgan_console::{Failure, product};
use lsgan_spec::Grid;
use lsgan_train::{Draw, models};
use serde_json::json;

use crate::generator::{DrawArgs, Generator, GeneratorArgs};
use crate::picture::{AnimationFile, PictureFile, check_place};
use singles::Folder;

/// The largest grid.
const GRID_MAX: u32 = 4096;
/// The longest animation: its frames are all in memory.
const FRAMES_MAX: u32 = 10_000;

/// The arguments of `lsgan sample`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    generator: GeneratorArgs,
    /// How many samples: in a grid up to 4,096, rounded up to a full one; with --singles any number.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    count: u32,
    #[command(flatten)]
    draw: DrawArgs,
    /// The picture to write; with --interpolate FILE.webp is possible too.
    #[arg(long, value_name = "FILE.png", required_unless_present = "singles")]
    out: Option<PathBuf>,
    /// Write each sample to a file of its own in this folder, which is made.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out", "interpolate"])]
    singles: Option<PathBuf>,
    /// Write an animation instead (an animated PNG or WebP, by the name of --out; all browsers play both): one sample that goes
    /// from each of --count points of the noise to the next in so many frames, and back to the first.
    #[arg(long, value_name = "FRAMES", value_parser = clap::value_parser!(u32).range(1..=1000))]
    interpolate: Option<u32>,
    /// Frames a second of the animation.
    #[arg(long, value_name = "N", default_value_t = 20, requires = "interpolate", value_parser = clap::value_parser!(u16).range(1..=60))]
    fps: u16,
    /// Write the noise of the samples too, f32 [samples, numbers of one z], as NumPy loads it: what `lsgan export` has written makes
    /// the same samples of it. Where there are classes, a number for each stands behind z.
    #[arg(long, value_name = "FILE.npy", conflicts_with = "interpolate")]
    latents: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Where samples go.
enum Target {
    File(PictureFile),
    /// So many frames from each sample to the next.
    Animation(AnimationFile, u32),
    Folder(Folder),
}

impl Args {
    fn target(&self) -> Result<Target, Failure> {
        if let Some(frames) = self.interpolate
            && u64::from(frames) * u64::from(self.count) > u64::from(FRAMES_MAX)
        {
            return Err(Failure::bad_input(format!(
                "--interpolate {frames} with --count {} makes {} frames, and an animation has at most {FRAMES_MAX}. Ask for fewer.",
                self.count,
                u64::from(frames) * u64::from(self.count)
            )));
        }
        if self.singles.is_none() && self.count > GRID_MAX {
            return Err(Failure::bad_input(format!(
                "--count {}: a grid has at most {GRID_MAX}. Ask for fewer, or for a file each with --singles DIR.",
                self.count
            )));
        }
        if let Some(path) = &self.latents {
            check_place("--latents", path, "z.npy")?;
        }
        match (&self.singles, &self.out, self.interpolate) {
            (Some(folder), ..) => Ok(Target::Folder(Folder::open(folder)?)),
            (None, Some(out), None) => Ok(Target::File(PictureFile::open("--out", out)?)),
            (None, Some(out), Some(frames)) => {
                Ok(Target::Animation(AnimationFile::open("--out", out)?, frames))
            }
            (None, None, _) => unreachable!("clap asks for one of them"),
        }
    }
}

/// Writes samples.
///
/// # Errors
/// No snapshot there, or a picture that cannot be written.
pub async fn sample(args: Args) -> Result<(), Failure> {
    let target = args.target()?;
    let generator = args.generator.open().await?;
    let draw = generator.draw(&args.draw)?;
    let count = write(&args, target, &generator, draw)?;
    if let Some(path) = &args.latents {
        let written = generator.sampler.write_latents(draw, count as usize, path);
        written.map_err(|error| Failure::failed(error.to_string()))?;
    }
    let Generator { manifest, name, .. } = generator;
    let out = args.out.or(args.singles).expect("one of them is given").display().to_string();
    let step = manifest.step.0;
    if args.json {
        return product!(
            "{:#}",
            json!({ "out": out, "step": step, "count": count, "weights": name, "seed": draw.seed })
        );
    }
    product!("{out}: {count} samples of {name} at step {step}")
}

/// Returns how many samples it has written.
fn write(args: &Args, target: Target, generator: &Generator, draw: Draw) -> Result<u32, Failure> {
    let Generator { spec, sampler, weights, .. } = generator;
    let count = args.count as usize;
    let make = |z: &[f32]| generator.samples_of(z);
    match target {
        Target::Folder(folder) => {
            folder.write(sampler.shape(), (count, sampler.latents_of(draw, count)), make)?;
            Ok(args.count)
        }
        Target::File(file) => {
            let grid = grid(args.count);
            file.write(&sampler.picture_of(&weights.as_weights(), grid, draw)?)?;
            Ok(grid.count())
        }
        Target::Animation(file, frames) => {
            let latent = models::latent(&spec.model.generator);
            let all: Vec<f32> = sampler.latents_of(draw, count).flatten().collect();
            let keys: Vec<Vec<f32>> = all.chunks(all.len() / count).map(<[f32]>::to_vec).collect();
            file.write(&walk::walk(sampler, make, (&keys, latent), frames as usize)?, args.fps)?;
            Ok(args.count)
        }
    }
}

/// The squarest grid of at least `count` pictures.
fn grid(count: u32) -> Grid {
    let columns = (f64::from(count).sqrt().ceil()) as u32;
    Grid { columns, rows: count.div_ceil(columns) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_holds_all_and_is_about_square() {
        for count in 1..=GRID_MAX {
            let Grid { columns, rows } = grid(count);
            assert!(columns * rows >= count && columns * (rows - 1) < count, "{count}: {columns}x{rows}");
            assert!(columns >= rows && columns <= 64, "{count}: {columns}x{rows}");
        }
    }
}
