//! `lsgan timelapse`: the pictures that a run has made while it trained, as an animation.

use std::fs;
use std::path::{Path, PathBuf};

use lsgan_console::{Counter, Failure, product, say};
use lsgan_pictures::{RgbImage, read};
use lsgan_snapshots::Store;
use serde_json::json;

use crate::picture::AnimationFile;

/// The longest animation: its frames are all in memory.
const FRAMES_MAX: usize = 2_000;

/// The arguments of `lsgan timelapse`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The run's directory. Its pictures are in samples/, one for every `samples.every` steps. They are there also where the
    /// snapshots are in a bucket.
    #[arg(long, value_name = "DIR")]
    run: String,
    /// The animation to write: an animated PNG or, named so, WebP. All browsers play both, and neither loses anything.
    #[arg(long, value_name = "FILE.png|FILE.webp")]
    out: PathBuf,
    /// Pictures a second.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=60))]
    fps: u16,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Writes the animation.
///
/// # Errors
/// No pictures there, or an animation that cannot be written.
pub fn timelapse(args: &Args) -> Result<(), Failure> {
    let run = directory(&args.run)?;
    let out = AnimationFile::open("--out", &args.out)?;
    let files = thinned(pictures(run)?);
    let counter = Counter::new("reading");
    let mut frames: Vec<RgbImage> = Vec::with_capacity(files.len());
    let mut left_out = 0;
    for (at, file) in files.iter().enumerate() {
        let png = fs::read(file)
            .map_err(|error| Failure::failed(format!("{}: it cannot be read: {error}", file.display())))?;
        match read(&png) {
            // Those of another `samples.grid`, from before the run's file was changed, have no place beside the last.
            Ok(frame) => frames.push(frame),
            Err(error) => say!("warning: {} is left out: {error}", file.display()),
        }
        counter.show("pictures", at as u64 + 1, Some(files.len() as u64));
    }
    counter.end();
    if let Some(size) = frames.last().map(RgbImage::dimensions) {
        let all = frames.len();
        frames.retain(|frame| frame.dimensions() == size);
        left_out = all - frames.len();
    }
    if left_out > 0 {
        say!("warning: {left_out} pictures are left out, whose size is not that of the last one");
    }
    out.write(&frames, args.fps)?;
    let (out, count) = (args.out.display().to_string(), frames.len());
    if args.json {
        return product!("{:#}", json!({ "out": out, "frames": count, "left_out": left_out }));
    }
    product!("{out}: {count} pictures, {:.1} s", count as f64 / f64::from(args.fps))
}

/// The run's directory.
///
/// # Errors
/// A bucket, which has snapshots alone: bad input.
fn directory(run: &str) -> Result<&Path, Failure> {
    if Store::is_remote(run) {
        return Err(Failure::bad_input(format!(
            "--run {run}: a bucket has a run's snapshots, not its pictures. These are in the run's directory on its coordinator's \
             machine, by default runs/NAME, or what --run-dir said there. Name that: lsgan timelapse --run runs/NAME"
        )));
    }
    Ok(Path::new(run.strip_prefix("file://").unwrap_or(run)))
}

/// The run's pictures in the order of their steps.
fn pictures(run: &Path) -> Result<Vec<PathBuf>, Failure> {
    let folder = run.join("samples");
    let none = || {
        Failure::failed(format!(
            "{} holds no pictures. A run makes one every `samples.every` steps, in its directory on the coordinator's machine \
             (runs/NAME by default, or --run-dir). Name that directory.",
            folder.display()
        ))
    };
    let entries = fs::read_dir(&folder).map_err(|_| none())?;
    let mut files: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "png"))
        .collect();
    // Their names have the step in ten digits.
    files.sort();
    if files.is_empty() { Err(none()) } else { Ok(files) }
}

/// At most [`FRAMES_MAX`], evenly, the last among them.
fn thinned(files: Vec<PathBuf>) -> Vec<PathBuf> {
    let every = files.len().div_ceil(FRAMES_MAX);
    let last = files.len() - 1;
    files
        .into_iter()
        .enumerate()
        .filter(|(at, _)| (last - at).is_multiple_of(every))
        .map(|(_, file)| file)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_pictures_are_thinned_evenly_and_the_last_stays() {
        for count in [1, FRAMES_MAX, FRAMES_MAX + 1, 5 * FRAMES_MAX + 3] {
            let files: Vec<_> = (0..count).map(|at| PathBuf::from(at.to_string())).collect();
            let kept = thinned(files.clone());
            assert!(kept.len() <= FRAMES_MAX && kept.len() > FRAMES_MAX / 2 || kept.len() == count);
            assert_eq!(kept.last(), files.last());
        }
    }
}
