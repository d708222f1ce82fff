//! Where the real samples come from, and how a picture becomes a sample.

use std::path::PathBuf;

use serde_json::json;

use crate::macros::{choice, section, words};
use crate::run::MAX_STEPS;
use crate::table::{self, Field, Form, Kind, above_zero, field, number, of, text, whole};

section! {
    /// Where the real samples come from.
    DataSpec {
        /// The kind of source and its place. The kind is part of the identity; the place is not, and the content has a
        /// fingerprint of its own.
        source: Source => of::<Source>(),
        /// How a picture becomes a sample. Required for pictures, refused for 2-D points.
        #[serde(skip_serializing_if = "Option::is_none")]
        image: Option<ImageSpec> => of::<ImageSpec>().optional(""),
        /// Records in a shard, the unit of work that is assigned; it decides the order of the data.
        shard_records: u64 => whole(1, 1_048_576).default("256").identity(),
        /// Shards of each virtual rank whose records are shuffled together: more than 1 mixes a data set that is sorted by
        /// class, which a folder with sub-folders is. A worker reads from so many places at once, and data is leased in
        /// groups of so many shards. `lsgan dataset inspect --config` and the start of a run say where it is too little.
        mix: u32 => whole(1, 1024).default("1").default_with("source", "folder", "16").identity_unless("1"),
        /// Share of the records that may turn out not to decode before the run stops, with a snapshot. Each is reported
        /// once, and the next good one of its shard, or of the shards that follow it in the epoch, takes its place.
        max_corrupt: f64 => number(0.0, 1.0).default("0.001"),
    }
}

impl DataSpec {
    /// A source with the defaults for everything else.
    #[must_use]
    pub fn of(source: Source, image: Option<ImageSpec>) -> Self {
        let spec: Self = table::with_defaults(json!({ "source": source }));
        Self { image, ..spec }
    }
}

choice! {
    /// A kind of data source; each is one file in `data/src/sources/`. That a run has this kind is part of its identity;
    /// the place is not, and the content has its own fingerprint.
    Source {
        /// A file of grey pictures in the IDX format, as MNIST and Fashion-MNIST have it, gzipped or not.
        Idx = "idx" (IdxSource => of::<IdxSource>()),
        /// A folder of pictures (JPEG, PNG or WebP), one file each, in sub-folders or not; a file's first sub-folder is its
        /// class.
        Folder = "folder" (FolderSource => of::<FolderSource>()),
        /// An LMDB folder as LSUN is downloaded: JPEG or WebP under 40-hex keys. It may be read-only.
        Lsun = "lsun" (LsunSource => of::<LsunSource>()),
        /// Tar files as the webdataset library has them, on a disk or in an object store: of each sample its picture, and its
        /// class from NAME.cls.
        Webdataset = "webdataset" (WebdatasetSource => of::<WebdatasetSource>()),
        /// CIFAR-10's binary files: pictures of 32 x 32 pixels in colour, of ten classes.
        Cifar10 = "cifar10" (Cifar10Source => of::<Cifar10Source>()),
        /// Points of a 2-D mixture of Gaussians, a pure function of the seed; for the mlp models, without data.image.
        Gaussian = "gaussian" (GaussianSource => of::<GaussianSource>()),
    }
}

impl Source {
    /// `data.mix` where the file does not set it. A folder's records are in the order of its sub-folders, which are its
    /// classes; the others are mostly mixed by who made them.
    #[must_use]
    pub fn mix_by_default(&self) -> u32 {
        DataSpec::of(self.clone(), None).mix
    }

    /// Whether it gives pictures, and not 2-D points.
    #[must_use]
    pub fn gives_pictures(&self) -> bool {
        self.mixture().is_none()
    }

    /// The mixture, if it gives 2-D points.
    #[must_use]
    pub fn mixture(&self) -> Option<&GaussianSource> {
        if let Self::Gaussian(mixture) = self { Some(mixture) } else { None }
    }
}

/// A path on the disks of this machine, where `file` lies.
const fn path(file: &'static str) -> Field {
    text(Form { accepts: "a path", takes: is_line, pattern: r"\S", list: false, file: Some(file) })
}

/// Whether a text is on one line and not empty.
pub(crate) fn is_line(text: &str) -> bool {
    !text.trim().is_empty() && !text.chars().any(char::is_control)
}

const SHARDS: Form = Form {
    accepts: "a path or the URL of an object store, with braces for several",
    takes: is_line,
    pattern: r"\S",
    list: false,
    file: None,
};

section! {
    /// An IDX file.
    IdxSource {
        /// The file; a relative path is taken from the directory where the command runs.
        images: PathBuf => path("a file of pictures")
            .required("datasets/fashion-mnist/t10k-images-idx3-ubyte.gz")
            .identity_of_presence(),
        /// A second IDX file with the pictures' labels, for `model.classes` and `lsgan dataset`.
        #[serde(skip_serializing_if = "Option::is_none")]
        labels: Option<PathBuf> => path("a file of labels")
            .optional("datasets/fashion-mnist/t10k-labels-idx1-ubyte.gz"),
    }
}

impl IdxSource {
    /// Pictures without labels.
    #[must_use]
    pub fn of(images: impl Into<PathBuf>) -> Self {
        Self { images: images.into(), labels: None }
    }
}

section! {
    /// A folder of pictures.
    FolderSource {
        /// The folder; a relative path is taken from the directory where the command runs.
        path: PathBuf => path("a folder of pictures").required("datasets/photos").identity_of_presence(),
    }
}

section! {
    /// An LMDB folder.
    LsunSource {
        /// The folder with data.mdb in it, or that file; a relative path is taken from the directory where the command runs.
        path: PathBuf => path("an LMDB folder with data.mdb in it")
            .required("datasets/bedroom_train_lmdb")
            .identity_of_presence(),
    }
}

section! {
    /// Tar shards.
    WebdatasetSource {
        /// A relative path is taken from the directory where the command runs. Endpoint, region and credentials of an s3://
        /// URL come from the environment (AWS_…) or ~/.aws, never from this file.
        shards: String => text(SHARDS).required("'datasets/train-{000000..000099}.tar'").identity_of_presence(),
    }
}

section! {
    /// CIFAR-10's binary files.
    Cifar10Source {
        /// The folder with the five training files, or one of the .bin files; a relative path is taken from the directory
        /// where the command runs.
        path: PathBuf => path("a folder with data_batch_1.bin in it")
            .required("datasets/cifar-10-batches-bin")
            .identity_of_presence(),
    }
}

section! {
    /// A 2-D mixture of Gaussians.
    GaussianSource {
        /// Where the modes lie.
        modes: Modes => of::<Modes>(),
        /// Standard deviation of each mode, in the plane's units.
        sigma: f64 => above_zero(10.0).required("0.01").identity(),
        /// Points in an epoch.
        records: u64 => whole(1, MAX_STEPS).default("1048576").identity(),
        /// How often points come from each mode, relative to the others: a whole number for each, with commas, in the order of
        /// the modes (a ring's first lies to the right and the others follow against the clock; a grid's lowest row comes
        /// first). 2,1,1,1,1,1,1,1 is the LSGAN authors' ring, whose ninth mode lies on the first.
        weights: String => text(WEIGHTS).default("equal").identity_unless("equal"),
    }
}

const WEIGHTS: Form = Form {
    accepts: "equal, or a whole number, 1 to 999, for each mode with commas, as 2,1,1,1",
    takes: |text| text == EQUAL || weights_of(text).is_some(),
    pattern: "^(equal|[1-9][0-9]{0,2}( *, *[1-9][0-9]{0,2})*)$",
    list: false,
    file: None,
};

const EQUAL: &str = "equal";

fn weights_of(text: &str) -> Option<Vec<u32>> {
    let one = |word: &str| word.trim().parse().ok().filter(|weight| (1..=999).contains(weight));
    text.split(',').map(one).collect()
}

impl GaussianSource {
    /// Modes of equal weight and this standard deviation, with the defaults for everything else.
    #[must_use]
    pub fn of(modes: Modes, sigma: f64) -> Self {
        table::with_defaults(json!({ "modes": modes, "sigma": sigma }))
    }

    /// The weight of each mode; a rule says that there are as many as modes.
    #[must_use]
    pub fn mode_weights(&self) -> Vec<u32> {
        weights_of(&self.weights).unwrap_or_else(|| vec![1; self.modes.centres().len()])
    }
}

choice! {
    /// Where the modes of a 2-D mixture lie.
    Modes {
        /// Evenly on a circle around the origin.
        Ring = "ring" {
            /// Number of modes.
            count: u32 => whole(1, 1024).required("8").identity(),
            /// Radius of the circle.
            radius: f64 => above_zero(100.0).required("1.0").identity(),
        },
        /// On a square grid, its middle at the origin.
        Grid = "grid" {
            /// Modes side by side.
            columns: u32 => whole(1, 32).required("5").identity(),
            /// Modes above each other.
            rows: u32 => whole(1, 32).required("5").identity(),
            /// Distance of neighbours.
            spacing: f64 => above_zero(100.0).required("0.5").identity(),
        },
        /// From left to right, their middle at the origin.
        Line = "line" {
            /// Number of modes.
            count: u32 => whole(1, 1024).required("8").identity(),
            /// Distance of neighbours.
            spacing: f64 => above_zero(100.0).required("0.5").identity(),
        },
    }
}

section! {
    /// How a picture becomes a sample of `[channels, size, size]` in -1..1.
    ImageSpec {
        /// Side of the square, in pixels.
        size: u32 => field(Kind::Side).required("32").identity(),
        /// Channels of a sample.
        channels: u32 => field(Kind::OneOf(&[(1, "grey"), (3, "colour")])).required("1").identity(),
        /// How a picture of another shape is made square.
        fit: Fit => of::<Fit>().default("pad").identity(),
        /// Whether pictures are mirrored, left to right.
        flip: Flip => of::<Flip>().default("never").identity_unless("never"),
    }
}

impl ImageSpec {
    /// Pictures of this size and these channels, with the defaults for everything else.
    #[must_use]
    pub fn of(size: u32, channels: u32) -> Self {
        table::with_defaults(json!({ "size": size, "channels": channels }))
    }
}

words! {
    /// Whether pictures are mirrored, left to right.
    Flip {
        /// as they are
        Never = "never",
        /// half of them, decided by the seed and the place in the order
        Random = "random",
    }
}

words! {
    /// How a picture of another shape is made square.
    Fit {
        /// scaled down until it fits (never up), the rest black
        Pad = "pad",
        /// scaled until the shorter side fits, the middle cut out
        Crop = "crop",
        /// both sides scaled, as the paper does with LSUN
        Squash = "squash",
    }
}
