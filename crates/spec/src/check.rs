//! The checks that need more than one field, and those that need the disk.

use std::io::ErrorKind;
use std::path::Path;

use crate::errors::Problem;
use crate::fields;
use crate::tree::quoted;
use crate::{Discriminator, Generator, Objective, RunSpec, Source};

/// Two fields that do not go together.
pub struct Finding {
    /// The field that is pointed at.
    pub path: String,
    /// All fields that it is about; where one of them was reported already, this is not news.
    pub about: Vec<&'static str>,
    /// What is wrong.
    pub problem: Problem,
}

fn finding(
    path: &str,
    about: &[&'static str],
    found: impl ToString,
    accepted: String,
    fix: String,
) -> Finding {
    let problem = Problem::Combination { path: path.to_owned(), found: found.to_string(), accepted, fix };
    Finding { path: path.to_owned(), about: about.to_vec(), problem }
}

/// The kinds of model; a generator and its discriminator have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Dcgan,
    Lsgan112,
    Mlp,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Dcgan => "dcgan",
            Self::Lsgan112 => "lsgan112",
            Self::Mlp => "mlp",
        }
    }

    /// The sides of the pictures that it makes and judges; none for points.
    fn sizes(self) -> &'static [u32] {
        match self {
            Self::Dcgan => &[32, 64, 128],
            Self::Lsgan112 => &[112],
            Self::Mlp => &[],
        }
    }

    fn makes_pictures(self) -> bool {
        !self.sizes().is_empty()
    }
}

fn generator_kind(generator: &Generator) -> Kind {
    match generator {
        Generator::Dcgan { .. } => Kind::Dcgan,
        Generator::Lsgan112 { .. } => Kind::Lsgan112,
        Generator::Mlp { .. } => Kind::Mlp,
    }
}

fn discriminator_kind(discriminator: &Discriminator) -> Kind {
    match discriminator {
        Discriminator::Dcgan { .. } => Kind::Dcgan,
        Discriminator::Lsgan112 { .. } => Kind::Lsgan112,
        Discriminator::Mlp { .. } => Kind::Mlp,
    }
}

/// The source's word, and whether it gives pictures.
fn source_kind(source: &Source) -> (&'static str, bool) {
    match source {
        Source::Idx(_) => ("idx", true),
        Source::Folder(_) => ("folder", true),
        Source::Lsun(_) => ("lsun", true),
        Source::Webdataset(_) => ("webdataset", true),
        Source::Gaussian(_) => ("gaussian", false),
    }
}

const SOURCE: &str = "data.source";
const IMAGE: &str = "data.image";
const SIZE: &str = "data.image.size";
const GENERATOR: &str = "model.generator";
const DISCRIMINATOR: &str = "model.discriminator";
const VIRTUAL_RANKS: &str = "batch.virtual_ranks";
const PER_RANK: &str = "batch.per_rank";
const MIN_WORKERS: &str = "cluster.min_workers";
const MAX_WORKERS: &str = "cluster.max_workers";

/// Everything about a spec that is fine field by field and makes no sense together.
pub fn combinations(spec: &RunSpec) -> Vec<Finding> {
    let mut found = Vec::new();
    models_fit_the_source(spec, &mut found);
    the_image_fits_the_source(spec, &mut found);
    the_image_fits_the_models(spec, &mut found);
    batch_norm_has_a_batch(spec, &mut found);
    the_cluster_fits_the_batch(spec, &mut found);
    the_targets_differ(spec, &mut found);
    found
}

/// Pictures need a model for pictures, points need `mlp`, and G and D are of one kind.
fn models_fit_the_source(spec: &RunSpec, found: &mut Vec<Finding>) {
    let (source, pictures) = source_kind(&spec.data.source);
    let (g, d) = (generator_kind(&spec.model.generator), discriminator_kind(&spec.model.discriminator));
    let (gives, accepted) = if pictures { ("pictures", "dcgan or lsgan112") } else { ("2-D points", "mlp") };
    for (path, kind) in [(GENERATOR, g), (DISCRIMINATOR, d)] {
        if kind.makes_pictures() != pictures {
            let accepted = format!("the {source} source gives {gives}, for which {accepted} is accepted");
            let fix = "Set it to that, or choose another source.".to_owned();
            found.push(finding(path, &[SOURCE, GENERATOR, DISCRIMINATOR], kind.name(), accepted, fix));
        }
    }
    if g != d && g.makes_pictures() == d.makes_pictures() {
        let accepted = format!("the generator is {} and both must be of one kind", g.name());
        let fix = format!("Set it to {}, or change the generator.", g.name());
        found.push(finding(DISCRIMINATOR, &[GENERATOR, DISCRIMINATOR], d.name(), accepted, fix));
    }
}

/// Pictures need `data.image`, points must not have it.
fn the_image_fits_the_source(spec: &RunSpec, found: &mut Vec<Finding>) {
    let (source, pictures) = source_kind(&spec.data.source);
    let about = [IMAGE, SOURCE];
    match (&spec.data.image, pictures) {
        (None, true) => found.push(finding(
            IMAGE,
            &about,
            "missing",
            format!("the {source} source gives pictures, for which size and channels are needed"),
            format!("Add `image: {}`.", fields::example(IMAGE)),
        )),
        (Some(_), false) => found.push(finding(
            IMAGE,
            &about,
            "given",
            format!("the {source} source gives 2-D points, which have no size"),
            "Remove it.".to_owned(),
        )),
        (Some(_), true) | (None, false) => {}
    }
}

/// The models accept only certain sizes.
fn the_image_fits_the_models(spec: &RunSpec, found: &mut Vec<Finding>) {
    let Some(image) = &spec.data.image else { return };
    let kind = generator_kind(&spec.model.generator);
    let sizes = kind.sizes();
    let Some(near) = sizes.iter().min_by_key(|size| size.abs_diff(image.size)) else { return };
    if !sizes.contains(&image.size) {
        let words: Vec<String> = sizes.iter().map(u32::to_string).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let accepted = format!("{} accepts {}", kind.name(), fields::listed(&words, "or"));
        found.push(finding(SIZE, &[SIZE, GENERATOR], image.size, accepted, format!("Set it to {near}.")));
    }
}

/// Batch norm divides by a deviation over the batch, which one sample does not have.
fn batch_norm_has_a_batch(spec: &RunSpec, found: &mut Vec<Finding>) {
    let kind = generator_kind(&spec.model.generator);
    if kind.makes_pictures() && spec.batch.per_rank == 1 {
        let accepted = format!("{} has batch norm, which needs at least 2 samples", kind.name());
        found.push(finding(PER_RANK, &[PER_RANK, GENERATOR], 1, accepted, "Set it to 2 or more.".to_owned()));
    }
}

/// Every worker that computes owns a virtual rank, so more than V cannot be waited for.
fn the_cluster_fits_the_batch(spec: &RunSpec, found: &mut Vec<Finding>) {
    let (least, most, ranks) = (spec.cluster.min_workers, spec.cluster.max_workers, spec.batch.virtual_ranks);
    if least > ranks {
        let accepted = format!("{VIRTUAL_RANKS} is {ranks}, so at most {ranks} workers can compute");
        let fix = format!("Set it to {ranks} or less.");
        found.push(finding(MIN_WORKERS, &[MIN_WORKERS, VIRTUAL_RANKS], least, accepted, fix));
    }
    if most < least {
        let accepted = format!("{MIN_WORKERS} is {least}, and it must be at least that");
        let fix = format!("Set it to {least} or more.");
        found.push(finding(MAX_WORKERS, &[MAX_WORKERS, MIN_WORKERS], most, accepted, fix));
    }
}

/// With one target for real and fake, D has nothing to learn.
fn the_targets_differ(spec: &RunSpec, found: &mut Vec<Finding>) {
    match spec.objective {
        // As the 32-bit floats that they become.
        Objective::LeastSquares { a, b, .. } if a as f32 == b as f32 => {
            let path = "objective.least_squares.b";
            let accepted =
                "so is a, and D needs different targets for real samples (b) and fakes (a)".to_owned();
            let fix = "The paper's are a: -1, b: 1.".to_owned();
            found.push(finding(path, &["objective.least_squares.a", path], b, accepted, fix));
        }
        Objective::LeastSquares { .. } | Objective::Minimax {} | Objective::NonSaturating {} => {}
    }
}

/// The files that the run needs and that cannot be used, each as a [`Problem::NoFile`].
pub fn paths(spec: &RunSpec) -> Vec<Problem> {
    let needed: Vec<(&str, &Path, &str)> = match &spec.data.source {
        Source::Idx(idx) => {
            let labels =
                idx.labels.iter().map(|path| ("data.source.idx.labels", &**path, "a file of labels"));
            let images = ("data.source.idx.images", &*idx.images, "a file of pictures");
            [images].into_iter().chain(labels).collect()
        }
        Source::Folder(folder) => vec![("data.source.folder.path", &folder.path, "a folder of pictures")],
        Source::Lsun(lsun) => {
            vec![("data.source.lsun.path", &lsun.path, "an LMDB folder with data.mdb in it")]
        }
        // Many files, or an object store: the data crate names the one that is missing when it opens them.
        Source::Webdataset(_) | Source::Gaussian(_) => Vec::new(),
    };
    let problem = |(field, path, accepted): (&str, &Path, &str)| {
        let (reason, fix) = unusable(path)?;
        Some(Problem::NoFile {
            path: field.to_owned(),
            found: quoted(&path.to_string_lossy()),
            reason,
            accepted: accepted.to_owned(),
            fix: fix.to_owned(),
        })
    };
    needed.into_iter().filter_map(problem).collect()
}

/// Why nothing at `path` can be read, and what to do. What is there, and whether it is what the source reads, the data
/// crate says, which knows formats.
fn unusable(path: &Path) -> Option<(String, &'static str)> {
    const CORRECT: &str =
        "Correct the path; a relative one is taken from the directory where the command runs.";
    const PACK: &str = "This source reads this machine's disks. From a bucket only tar shards are read, which `lsgan \
                        dataset pack` makes: data.source.webdataset.shards.";
    const ALLOW: &str = "Let this user read it, or correct the path.";
    let opened = |error: std::io::Error| (format!("which cannot be read ({error})"), ALLOW);
    if path.to_string_lossy().contains("://") {
        return Some(("which is a URL".to_owned(), PACK));
    }
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => std::fs::read_dir(path).err().map(opened),
        Ok(meta) if !meta.is_file() => Some(("which is not a plain file".to_owned(), CORRECT)),
        Ok(_) => std::fs::File::open(path).err().map(opened),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let is_link = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink());
            let what = if is_link { "which is a link that leads nowhere" } else { "which does not exist" };
            Some((what.to_owned(), CORRECT))
        }
        Err(error) => Some(opened(error)),
    }
}
