//! What is fine field by field and makes no sense together.

use crate::model::{SIDES, sides};
use crate::table::{find, listed};
use crate::{BatchNorm, Device, Metric, RunSpec, Updates};

/// Fields that do not go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The field that is pointed at.
    pub path: &'static str,
    /// All fields that it is about.
    pub about: Vec<&'static str>,
    /// What the field is.
    pub found: String,
    /// What the others accept.
    pub accepted: String,
    /// What to do.
    pub fix: String,
}

const SOURCE: &str = "data.source";
const IMAGE: &str = "data.image";
const SIZE: &str = "data.image.size";
const GENERATOR: &str = "model.generator";
const DISCRIMINATOR: &str = "model.discriminator";
const UPDATES: &str = "updates";
const DISCRIMINATOR_STEPS: &str = "optimizer.discriminator_steps";
const SPECTRAL_NORM: &str = "model.spectral_norm";
const DEVICE: &str = "compute.device";
const BATCH_NORM: &str = "model.batch_norm";
const VIRTUAL_RANKS: &str = "batch.virtual_ranks";
const PER_RANK: &str = "batch.per_rank";
const MIN_WORKERS: &str = "cluster.min_workers";
const METRICS: &str = "evaluate.metrics";
const MODES: &str = "data.source.gaussian.modes";
const WEIGHTS: &str = "data.source.gaussian.weights";
const MAX_WORKERS: &str = "cluster.max_workers";

/// All rules over several fields that a spec breaks.
#[must_use]
pub fn broken(spec: &RunSpec) -> Vec<Finding> {
    let mut found = Vec::new();
    models_fit_the_source(spec, &mut found);
    the_image_fits_the_source(spec, &mut found);
    the_image_fits_the_models(spec, &mut found);
    batch_norm_has_a_batch(spec, &mut found);
    the_cluster_fits_the_batch(spec, &mut found);
    the_metrics_fit_the_source(spec, &mut found);
    every_mode_has_a_weight(spec, &mut found);
    simultaneous_updates_are_possible(spec, &mut found);
    found.extend(spec.objective.equal_targets());
    found.extend(crate::augment::of_points(spec));
    found.extend(spec.optimizer.schedule.fall_without_steps());
    found
}

fn finding(
    (path, about): (&'static str, &[&'static str]),
    found: impl ToString,
    accepted: String,
    fix: String,
) -> Finding {
    Finding { path, about: about.to_vec(), found: found.to_string(), accepted, fix }
}

/// What the source gives, the models must make and judge; both are of one kind.
fn models_fit_the_source(spec: &RunSpec, found: &mut Vec<Finding>) {
    let (source, pictures) = (spec.data.source.word(), spec.data.source.gives_pictures());
    let (g, d) = (spec.model.generator.word(), spec.model.discriminator.word());
    let makes_pictures = |model: &str| !sides(model).is_empty();
    let what = if pictures { "pictures" } else { "2-D points" };
    for (path, model) in [(GENERATOR, g), (DISCRIMINATOR, d)] {
        if makes_pictures(model) != pictures {
            let fitting = SIDES.iter().filter(|(_, sides)| sides.is_empty() != pictures);
            let names: Vec<_> = fitting.map(|(name, _)| *name).collect();
            let accepted =
                format!("the {source} source gives {what}, for which {} is accepted", listed(&names, "or"));
            let fix = "Set it to that, or choose another source.".to_owned();
            found.push(finding((path, &[SOURCE, GENERATOR, DISCRIMINATOR]), model, accepted, fix));
        }
    }
    if g != d && makes_pictures(g) == makes_pictures(d) {
        let accepted = format!("the generator is {g} and both must be of one kind");
        let fix = format!("Set it to {g}, or change the generator.");
        found.push(finding((DISCRIMINATOR, &[GENERATOR, DISCRIMINATOR]), d, accepted, fix));
    }
}

/// Pictures need `data.image`, points must not have it.
fn the_image_fits_the_source(spec: &RunSpec, found: &mut Vec<Finding>) {
    let (source, pictures) = (spec.data.source.word(), spec.data.source.gives_pictures());
    match (&spec.data.image, pictures) {
        (None, true) => found.push(finding(
            (IMAGE, &[IMAGE, SOURCE]),
            "missing",
            format!("the {source} source gives pictures, for which size and channels are needed"),
            format!("Add `image: {}`.", find(IMAGE).expect("it is a section").example()),
        )),
        (Some(_), false) => found.push(finding(
            (IMAGE, &[IMAGE, SOURCE]),
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
    let model = spec.model.generator.word();
    let sides = sides(model);
    let Some(near) = sides.iter().min_by_key(|side| side.abs_diff(image.size)) else { return };
    if !sides.contains(&image.size) {
        let words: Vec<String> = sides.iter().map(u32::to_string).collect();
        let accepted = format!("{model} accepts {}", listed(&words, "or"));
        found.push(finding((SIZE, &[SIZE, GENERATOR]), image.size, accepted, format!("Set it to {near}.")));
    }
}

/// G's half then reads D's weights of before D's update, which are kept for it: on CPUs, without the vectors of spectral
/// normalisation, and from one update of D to the next.
fn simultaneous_updates_are_possible(spec: &RunSpec, found: &mut Vec<Finding>) {
    if spec.updates != Updates::Simultaneous {
        return;
    }
    let mut refuse = |field: &'static str, accepted: &str, fix: &str| {
        let (accepted, fix) = (accepted.to_owned(), fix.to_owned());
        found.push(finding((UPDATES, &[UPDATES, field]), "simultaneous", accepted, fix));
    };
    if spec.model.spectral_norm {
        refuse(
            SPECTRAL_NORM,
            "with spectral normalisation only alternating is accepted",
            "Set one of the two otherwise.",
        );
    }
    if spec.optimizer.discriminator_steps > 1 {
        refuse(
            DISCRIMINATOR_STEPS,
            "with several updates of D for each of G only alternating is accepted",
            "Set optimizer.discriminator_steps to 1, or updates to alternating.",
        );
    }
    if matches!(spec.compute.device, Device::Cuda | Device::CudaIndex(_)) {
        refuse(
            DEVICE,
            "on a GPU only alternating is accepted",
            "Set compute.device to cpu, or updates to alternating.",
        );
    }
}

/// Pictures are scored by features, points by the modes that they reach.
fn the_metrics_fit_the_source(spec: &RunSpec, found: &mut Vec<Finding>) {
    let (source, pictures) = (spec.data.source.word(), spec.data.source.gives_pictures());
    let metrics = spec.evaluate.named_metrics().unwrap_or_default();
    let Some(other) = metrics.iter().find(|metric| metric.is_of_points() == pictures) else { return };
    let fitting = Metric::ALL.iter().filter(|metric| metric.is_of_points() != pictures);
    let names: Vec<_> = fitting.map(|metric| metric.word()).collect();
    let what = if pictures { "pictures" } else { "2-D points" };
    let accepted =
        format!("the {source} source gives {what}, for which {} are accepted", listed(&names, "and"));
    let fix = "Set it to some of those, or to auto.".to_owned();
    found.push(finding((METRICS, &[METRICS, SOURCE]), other, accepted, fix));
}

/// A mixture has as many weights as modes.
fn every_mode_has_a_weight(spec: &RunSpec, found: &mut Vec<Finding>) {
    let Some(mixture) = spec.data.source.mixture() else { return };
    let (weights, modes) = (mixture.mode_weights().len(), mixture.modes.centres().len());
    if weights != modes {
        let accepted = format!("{MODES} has {modes} modes, and each needs one");
        let fix = format!("Set {modes} numbers with commas, or equal.");
        found.push(finding((WEIGHTS, &[WEIGHTS, MODES]), format!("a list of {weights}"), accepted, fix));
    }
}

/// Batch norm divides by a deviation over the batch, which one sample does not have.
fn batch_norm_has_a_batch(spec: &RunSpec, found: &mut Vec<Finding>) {
    let (model, norm) = (spec.model.generator.word(), spec.model.batch_norm);
    if sides(model).is_empty() && norm != BatchNorm::Both {
        found.push(finding(
            (BATCH_NORM, &[BATCH_NORM, GENERATOR]),
            "given",
            format!("{model} has no batch norm to leave out"),
            "Remove it.".to_owned(),
        ));
    }
    if !sides(model).is_empty() && norm != BatchNorm::None && spec.batch.per_rank == 1 {
        let accepted = format!("{model} has batch norm, which needs at least 2 samples");
        found.push(finding(
            (PER_RANK, &[PER_RANK, GENERATOR]),
            1,
            accepted,
            "Set it to 2 or more, or model.batch_norm to none.".to_owned(),
        ));
    }
}

/// Every worker that computes owns a virtual rank, so more than V cannot be waited for.
fn the_cluster_fits_the_batch(spec: &RunSpec, found: &mut Vec<Finding>) {
    let (least, most, ranks) = (spec.cluster.min_workers, spec.cluster.max_workers, spec.batch.virtual_ranks);
    if least > ranks {
        let accepted = format!("{VIRTUAL_RANKS} is {ranks}, so at most {ranks} workers can compute");
        let fix = format!("Set it to {ranks} or less.");
        found.push(finding((MIN_WORKERS, &[MIN_WORKERS, VIRTUAL_RANKS]), least, accepted, fix));
    }
    if most < least {
        let accepted = format!("{MIN_WORKERS} is {least}, and it must be at least that");
        let fix = format!("Set it to {least} or more.");
        found.push(finding((MAX_WORKERS, &[MAX_WORKERS, MIN_WORKERS]), most, accepted, fix));
    }
}
