//! The table of all fields: one row for each, with what it accepts and whether it decides the mathematics.
//!
//! The rows are what errors quote and what the identity is made from. Tests hold them, the types of [`crate::run`]
//! and `configs/reference.yaml` together, so that a new field cannot be added without a word on each.

/// One field of a run's file.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Where it is; a choice is one step of the path, as `objective.least_squares.a`.
    pub path: &'static str,
    /// Whether it decides the mathematics.
    pub part: Part,
    /// What it accepts, as an error says it after "accepted:".
    pub accepts: &'static str,
    /// A value in YAML that it accepts.
    pub example: &'static str,
}

/// What a field contributes to the run's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Its value: another value, other weights.
    Value,
    /// Its value, unless it is this one. A field that came later: it has this value, and so no part in the identity,
    /// in the runs that were made before, which therefore go on.
    ValueUnless(&'static str),
    /// Only that it is there: it names a choice, but its value is a place.
    Presence,
    /// Nothing.
    Nothing,
}

impl Part {
    /// Whether another value makes another run.
    #[must_use]
    pub fn decides(self) -> bool {
        matches!(self, Self::Value | Self::ValueUnless(_))
    }
}

use Part::{Nothing, Presence, Value, ValueUnless};

const fn field(path: &'static str, part: Part, accepts: &'static str, example: &'static str) -> Field {
    Field { path, part, accepts, example }
}

const DIMENSION: &str = "a whole number, 1 to 16,384";
const GAIN: &str = "a number above 0, at most 10";
const DEPTH: &str = "a whole number, 1 to 8";
const MLP_WIDTH: &str = "a whole number, 1 to 4,096";
const DCGAN_WIDTH: &str = "a whole number, 1 to 512";
const LSGAN112_WIDTH: &str = "a whole number, 1 to 256";
const TARGET: &str = "a number, -10^6 to 10^6";
const RATE: &str = "a number above 0, at most 1";
const SHARDS: &str = "a path or the URL of an object store, with braces for several";
const SPACING: &str = "a number above 0, at most 100";
const DECAY: &str = "a number, at least 0 and below 1";

/// Every field, in the order of the reference.
pub const FIELDS: &[Field] = &[
    field(
        "run",
        Nothing,
        "a text of 1 to 63 ASCII letters, digits, `-`, `_` or `.`, the first a letter or a digit",
        "quickstart",
    ),
    field("seed", Value, "a whole number, 0 to 2^63 - 1", "1"),
    field("steps", Nothing, "a whole number, 1 to 2^40", "1000"),
    field("data.source.idx.images", Presence, "a path", "datasets/fashion-mnist/t10k-images-idx3-ubyte.gz"),
    field("data.source.idx.labels", Nothing, "a path", "datasets/fashion-mnist/t10k-labels-idx1-ubyte.gz"),
    field("data.source.folder.path", Presence, "a path", "datasets/photos"),
    field("data.source.lsun.path", Presence, "a path", "datasets/bedroom_train_lmdb"),
    field("data.source.webdataset.shards", Presence, SHARDS, "'datasets/train-{000000..000099}.tar'"),
    field("data.source.gaussian.modes.ring.count", Value, "a whole number, 1 to 1,024", "8"),
    field("data.source.gaussian.modes.ring.radius", Value, "a number above 0, at most 100", "1.0"),
    field("data.source.gaussian.modes.grid.columns", Value, "a whole number, 1 to 32", "5"),
    field("data.source.gaussian.modes.grid.rows", Value, "a whole number, 1 to 32", "5"),
    field("data.source.gaussian.modes.grid.spacing", Value, SPACING, "0.5"),
    field("data.source.gaussian.modes.line.count", Value, "a whole number, 1 to 1,024", "8"),
    field("data.source.gaussian.modes.line.spacing", Value, SPACING, "0.5"),
    field("data.source.gaussian.sigma", Value, "a number above 0, at most 10", "0.01"),
    field("data.source.gaussian.records", Value, "a whole number, 1 to 2^40", "1048576"),
    field("data.image.size", Value, "a whole number: 32, 64 or 128 for dcgan, 112 for lsgan112", "32"),
    field("data.image.channels", Value, "1 (grey) or 3 (colour)", "1"),
    field("data.image.fit", Value, "pad, crop or squash", "pad"),
    field("data.image.flip", ValueUnless("never"), "never or random", "never"),
    field("data.shard_records", Value, "a whole number, 1 to 1,048,576", "256"),
    field("data.mix", ValueUnless("1"), "a whole number, 1 to 1,024", "1"),
    field("data.max_corrupt", Nothing, "a number, 0 to 1", "0.001"),
    field("model.generator.dcgan.latent.normal", Value, DIMENSION, "100"),
    field("model.generator.dcgan.latent.uniform", Value, DIMENSION, "100"),
    field("model.generator.dcgan.width", Value, DCGAN_WIDTH, "32"),
    field("model.generator.lsgan112.latent.normal", Value, DIMENSION, "1024"),
    field("model.generator.lsgan112.latent.uniform", Value, DIMENSION, "1024"),
    field("model.generator.lsgan112.width", Value, LSGAN112_WIDTH, "64"),
    field("model.generator.mlp.latent.normal", Value, DIMENSION, "256"),
    field("model.generator.mlp.latent.uniform", Value, DIMENSION, "256"),
    field("model.generator.mlp.width", Value, MLP_WIDTH, "128"),
    field("model.generator.mlp.depth", Value, DEPTH, "2"),
    field("model.generator.mlp.gain", Value, GAIN, "1.0"),
    field("model.discriminator.dcgan.width", Value, DCGAN_WIDTH, "32"),
    field("model.discriminator.lsgan112.width", Value, LSGAN112_WIDTH, "64"),
    field("model.discriminator.mlp.width", Value, MLP_WIDTH, "128"),
    field("model.discriminator.mlp.depth", Value, DEPTH, "2"),
    field("model.discriminator.mlp.gain", Value, GAIN, "1.0"),
    field("objective.least_squares.a", Value, TARGET, "-1"),
    field("objective.least_squares.b", Value, TARGET, "1"),
    field("objective.least_squares.c", Value, TARGET, "0"),
    field("objective.minimax", Value, "nothing in it: {}", "{}"),
    field("objective.non_saturating", Value, "nothing in it: {}", "{}"),
    field("optimizer.generator.adam.learning_rate", Value, RATE, "0.0002"),
    field("optimizer.generator.adam.beta1", Value, DECAY, "0.5"),
    field("optimizer.generator.adam.beta2", Value, DECAY, "0.999"),
    field("optimizer.generator.adam.epsilon", Value, RATE, "1.0e-8"),
    field("optimizer.discriminator.adam.learning_rate", Value, RATE, "0.0002"),
    field("optimizer.discriminator.adam.beta1", Value, DECAY, "0.5"),
    field("optimizer.discriminator.adam.beta2", Value, DECAY, "0.999"),
    field("optimizer.discriminator.adam.epsilon", Value, RATE, "1.0e-8"),
    field("batch.virtual_ranks", Value, "a whole number, 1 to 4,096", "4"),
    field("batch.per_rank", Value, "a whole number, 1 to 65,536", "32"),
    field("ema.decay", Value, DECAY, "0.999"),
    field("precision", Value, "f32, tf32 or bf16", "f32"),
    field("reduction", Value, "exact or fast", "exact"),
    field("compute.device", Nothing, "auto, cpu, cuda or cuda:N with N from 0 to 1,023", "auto"),
    field("compute.threads", Nothing, "a whole number, 1 to 256", "1"),
    field("compute.loader_threads", Nothing, "a whole number, 1 to 256", "1"),
    field("compute.cpu_isa", Nothing, "native or avx2", "native"),
    field("compute.deterministic", Nothing, "true or false", "true"),
    field("compute.cuda_graphs", Nothing, "auto or off", "off"),
    field("cluster.min_workers", Nothing, "a whole number, 1 to 4,096", "1"),
    field("cluster.max_workers", Nothing, "a whole number, 1 to 4,096", "64"),
    field("cluster.failure_timeout", Nothing, "auto, or a duration with its unit, 200ms to 1h", "auto"),
    field("cluster.gather", Nothing, "a duration with its unit, 0s to 1h", "200ms"),
    field("cluster.lease_horizon_steps", Nothing, "a whole number, 1 to 1,000,000", "2000"),
    field("cluster.numerics", Nothing, "same or any", "same"),
    field("cluster.straggler_factor", Nothing, "a number, 1.1 to 100", "2.0"),
    field("cluster.stragglers", Nothing, "report or evict", "report"),
    field("checkpoint.to", Nothing, "a directory or the URL of an object store", "runs/quickstart"),
    field("checkpoint.every", Nothing, "a whole number, 0 to 2^40", "1000"),
    field("checkpoint.keep_last", Nothing, "a whole number, 1 to 1,000,000", "3"),
    field("samples.grid", Nothing, "columns x rows, each 1 to 64, as 8x8", "8x8"),
    field("samples.every", Nothing, "a whole number, 0 to 2^40", "500"),
    field("samples.weights", Nothing, "ema or raw", "ema"),
    field("report.every", Nothing, "a whole number, 1 to 1,000,000", "10"),
    field("report.state_hash_every", Nothing, "a whole number, 0 to 2^40", "100"),
];

/// Where one of several must be chosen (an example takes the first of [`children`]).
pub const CHOICES: &[&str] = &[
    "data.source",
    "data.source.gaussian.modes",
    "model.generator",
    "model.generator.dcgan.latent",
    "model.generator.lsgan112.latent",
    "model.generator.mlp.latent",
    "model.discriminator",
    "objective",
    "optimizer.generator",
    "optimizer.discriminator",
];

/// The fields that hold any text: a number there needs quotes.
pub const TEXTS: &[&str] = &[
    "run",
    "data.source.idx.images",
    "data.source.idx.labels",
    "data.source.folder.path",
    "data.source.lsun.path",
    "data.source.webdataset.shards",
    "checkpoint.to",
];

/// The row of `path`, where it is a field and not something that holds fields.
pub fn get(path: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.path == path)
}

/// The names directly below `path` ("" is the root), in the order of the table.
pub fn children(path: &str) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = Vec::new();
    for field in FIELDS {
        let below = if path.is_empty() {
            Some(field.path)
        } else {
            field.path.strip_prefix(path).and_then(|rest| rest.strip_prefix('.'))
        };
        if let Some(name) = below.and_then(|below| below.split('.').next())
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    names
}

/// What `path` accepts, whatever it is.
pub fn accepts(path: &str) -> String {
    match get(path) {
        Some(field) => field.accepts.to_owned(),
        None if CHOICES.contains(&path) => format!("a map with one of {}", listed(&children(path), "or")),
        None => format!("a map with {}", listed(&children(path), "and")),
    }
}

/// A value in YAML that `path` accepts, on one line.
pub fn example(path: &str) -> String {
    if let Some(field) = get(path) {
        return field.example.to_owned();
    }
    let names = children(path);
    let shown = if CHOICES.contains(&path) { &names[..1] } else { &names[..] };
    let entries: Vec<_> =
        shown.iter().map(|name| format!("{name}: {}", example(&format!("{path}.{name}")))).collect();
    format!("{{ {} }}", entries.join(", "))
}

/// `a, b and c`, with the last word that is asked for.
pub fn listed(names: &[&str], last: &str) -> String {
    match names {
        [] => "nothing".to_owned(),
        [one] => (*one).to_owned(),
        [first @ .., end] => format!("{} {last} {end}", first.join(", ")),
    }
}

/// The known word that `word` was probably meant to be.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let edits = |name: &str| strsim::damerau_levenshtein(word, name);
    let best = known.iter().copied().min_by_key(|name| edits(name))?;
    // A third of a word may be wrong, and two letters of a short one; more is another word.
    (edits(best) <= 2.max(best.len() / 3) && edits(best) < best.len()).then_some(best)
}
