//! What can be wrong with a data set.

use std::io;
use std::path::PathBuf;

use crate::found::Found;

/// Why a data set could not be opened. Each text says what is wrong, where, what is accepted and what to do.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// There is no such file.
    #[error("{}: there is no such file. Relative paths start at the current directory; check data.source.", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused or failed.
    #[error("{}: the file cannot be read: {source}. Check that it is a file and that this user may read it.", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// What lies there is known, and is something else.
    #[error("{place}: this is {found}, and no {wanted}. {advice}")]
    OtherKind {
        /// The file, directory or URL.
        place: String,
        /// What it is.
        found: Found,
        /// What the source reads.
        wanted: &'static str,
        /// What to do.
        advice: String,
    },
    /// A URL where a place on this machine's disks is wanted.
    #[error(
        "{}: this is a URL, and the source {kind} reads this machine's disks. From a bucket only tar shards are read \
         (data.source.webdataset.shards): `lsgan dataset pack` makes them of any data set.",
        path.display()
    )]
    Url {
        /// The source's kind.
        kind: &'static str,
        /// What was named.
        path: PathBuf,
    },
    /// The gzip stream ends before its end.
    #[error("{}: the gzip stream is cut off, its end is missing ({len_bytes} bytes on disk). {FETCH}", path.display())]
    GzipCut {
        /// The file.
        path: PathBuf,
        /// The file's size.
        len_bytes: u64,
    },
    /// The gzip stream is damaged.
    #[error("{}: the gzip stream is damaged: {reason}. {FETCH}", path.display())]
    GzipDamaged {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        reason: String,
    },
    /// The file is of another format.
    #[error(
        "{}: this is not an IDX file of pictures: it begins with {magic:#010x}; an IDX file of u8 pictures begins \
         with 0x00000803 (gzipped or not). Point data.source.idx.images at a file such as \
         train-images-idx3-ubyte.gz.",
        path.display()
    )]
    NotIdx {
        /// The file.
        path: PathBuf,
        /// Its first four bytes, the first of them highest; less than four are followed by zeros.
        magic: u32,
    },
    /// The numbers are not bytes.
    #[error(
        "{}: the IDX file holds numbers of type {found:#04x}; pictures are of type 0x08 (u8). Convert it to u8.",
        path.display()
    )]
    NotBytes {
        /// The file.
        path: PathBuf,
        /// The header's type code.
        found: u8,
    },
    /// The file holds something else than a list of pictures.
    #[error(
        "{}: the IDX file has {found} dimension(s); pictures have 3: count, height, width. A file of labels has 1: \
         take the file of images beside it.",
        path.display()
    )]
    WrongDimensionCount {
        /// The file.
        path: PathBuf,
        /// The header's number of dimensions.
        found: u8,
    },
    /// The header ends too early.
    #[error("{}: the file ends after {len_bytes} bytes of its header; the header has {header_bytes}. {FETCH}", path.display())]
    HeaderCut {
        /// The file.
        path: PathBuf,
        /// Bytes of the header that are there.
        len_bytes: usize,
        /// Bytes that it should have.
        header_bytes: usize,
    },
    /// The file is of another format, or of pictures.
    #[error(
        "{}: this is not an IDX file of labels: it begins with {magic:#010x}; an IDX file of u8 labels begins with \
         0x00000801 (gzipped or not). Point data.source.idx.labels at a file such as train-labels-idx1-ubyte.gz.",
        path.display()
    )]
    NotLabels {
        /// The file.
        path: PathBuf,
        /// Its first four bytes, the first of them highest; less than four are followed by zeros.
        magic: u32,
    },
    /// The labels are those of other pictures.
    #[error(
        "{}: it has {labels} labels, and {} has {pictures} pictures; one label for each picture is needed. Take the file \
         of labels that belongs to these pictures, or remove data.source.idx.labels.",
        path.display(),
        images.display()
    )]
    LabelCount {
        /// The file of labels.
        path: PathBuf,
        /// The file of pictures.
        images: PathBuf,
        /// Labels.
        labels: u32,
        /// Pictures.
        pictures: u32,
    },
    /// Fewer or more labels than the header says.
    #[error(
        "{}: its header says {count} labels, and {} follow. {FETCH}",
        path.display(),
        if *is_longer { "more" } else { "fewer" }
    )]
    LabelsLength {
        /// The file.
        path: PathBuf,
        /// What the header says.
        count: u32,
        /// More follow.
        is_longer: bool,
    },
    /// No pictures, or pictures without pixels, or more than fits in memory.
    #[error(
        "{}: the header says {count} pictures of {height} x {width} pixels; at least 1 of at least 1 x 1 is \
         needed, and at most 16 GiB in all, for they are held in memory. Take another file.",
        path.display()
    )]
    Extent {
        /// The file.
        path: PathBuf,
        /// Pictures.
        count: u32,
        /// Pixels.
        height: u32,
        /// Pixels.
        width: u32,
    },
    /// Fewer pixels than the header says.
    #[error(
        "{}: the file is cut off: its header says {count} pictures of {height} x {width} = {expected_bytes} bytes, \
         but only {found_bytes} follow. {FETCH}",
        path.display()
    )]
    TooShort {
        /// The file.
        path: PathBuf,
        /// Pictures.
        count: u32,
        /// Pixels.
        height: u32,
        /// Pixels.
        width: u32,
        /// What the header says.
        expected_bytes: u64,
        /// What is there.
        found_bytes: u64,
    },
    /// More pixels than the header says.
    #[error(
        "{}: the file is longer than its header says: {count} pictures of {height} x {width} = {expected_bytes} \
         bytes, and more follows. {FETCH}",
        path.display()
    )]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Pictures.
        count: u32,
        /// Pixels.
        height: u32,
        /// Pixels.
        width: u32,
        /// What the header says.
        expected_bytes: u64,
    },
    /// There are no pictures in it.
    #[error("{place}: there are no pictures in it; at least one JPEG, PNG or WebP is needed. {advice}")]
    NoPictures {
        /// The source's kind.
        kind: &'static str,
        /// The folder, file or URL.
        place: String,
        /// What is there instead, and what to do.
        advice: String,
    },
    /// Something in a folder cannot be listed.
    #[error("{}: it cannot be listed: {reason}. Check the disk, and that this user may read it.", path.display())]
    Listing {
        /// The folder, or what lies in it.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
    /// The file is of another format.
    #[error(
        "{}: this is not an LMDB file: {reason}. Point data.source.lsun.path at the folder with data.mdb in it, as LSUN \
         is downloaded and unpacked.",
        path.display()
    )]
    NotLmdb {
        /// The file.
        path: PathBuf,
        /// What is found instead.
        reason: String,
    },
    /// An LMDB file whose records are kept in another way.
    #[error("{}: this LMDB file {what}; what is read is format 1 (LMDB 0.9), with the records in the main database. {advice}", path.display())]
    OtherLmdb {
        /// The file.
        path: PathBuf,
        /// How it is kept.
        what: String,
        /// What to do.
        advice: &'static str,
    },
    /// A folder without an LMDB file.
    #[error("{}: there is no data.mdb in this folder. {advice}", path.display())]
    NoLmdb {
        /// The folder.
        path: PathBuf,
        /// What is there instead.
        advice: String,
    },
    /// The file is damaged or cut off.
    #[error("{}: the LMDB file is damaged: page {page}: {reason}. {FETCH}", path.display())]
    LmdbDamaged {
        /// The file.
        path: PathBuf,
        /// The number of the page.
        page: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// Braces that make no names.
    #[error(
        "data.source.webdataset.shards is `{pattern}`: {reason}; accepted are names with ranges and lists in braces. \
         Write it as train-{{000000..000099}}.tar, or train-{{a,b}}.tar."
    )]
    Pattern {
        /// What the run's file has.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Not a tar file, or one that is cut off.
    #[error("{place}: this is not a whole tar file: {reason}, at byte {offset_bytes}. {FETCH}")]
    Tar {
        /// The file or URL.
        place: String,
        /// Where in it.
        offset_bytes: u64,
        /// What is wrong there.
        reason: String,
    },
    /// The store refused or failed.
    #[error("{place}: the object store says: {reason}. {advice}")]
    Store {
        /// The URL.
        place: String,
        /// What it said.
        reason: String,
        /// What to do.
        advice: &'static str,
    },
    /// A URL that names no object, or a bucket without settings or credentials.
    #[error("data.source.webdataset.shards: {0}")]
    Objects(#[from] lsgan_objects::Error),
    /// The data set changed while it was looked through.
    #[error(
        "{place}: it changed while it was being read: {reason}. Wait until it is complete, then start again."
    )]
    Changing {
        /// The file, folder or URL.
        place: String,
        /// What changed.
        reason: String,
    },
    /// A source of pictures without a word on how they become samples.
    #[error(
        "data.image is missing; the source {kind} has pictures. Add \
         `image: {{ size: 32, channels: 1, fit: pad }}` under data."
    )]
    ImageMissing {
        /// The source's kind.
        kind: &'static str,
    },
    /// A source of points with a word on pictures.
    #[error("data.image is set; the source {kind} has 2-D points and no pictures. Remove data.image.")]
    ImageRefused {
        /// The source's kind.
        kind: &'static str,
    },
    /// A sample shape that no sample can have.
    #[error(
        "data.image has size {size} and channels {channels}; a size is 1 to 4,096 and channels are 1 (grey) or 3 \
         (colour). Set them to what the model accepts."
    )]
    ImageShape {
        /// Pixels.
        size: u32,
        /// Channels.
        channels: u32,
    },
    /// A mixture that has no points.
    #[error(
        "data.source.gaussian has {modes} mode(s), sigma {sigma} and {records} record(s); it needs at least 1 mode \
         and 1 record, and a sigma above 0. Set them so."
    )]
    Mixture {
        /// Modes.
        modes: u32,
        /// Standard deviation.
        sigma: f64,
        /// Records.
        records: u64,
    },
}

const FETCH: &str = "Fetch or copy the file again.";
