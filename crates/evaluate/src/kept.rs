//! Features of real samples, kept in the user's cache between evaluations: they change with the data, the transform, the
//! extractor and the machine's numerics, all of which are in their file's name.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use lsgan_data::Source;
use lsgan_spec::{DataSpec, Fit};
use lsgan_train::Device;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};

use crate::Extractor;
use crate::chunks::CHUNK;

/// Changes with what this program makes of pictures before an extractor sees them.
const VERSION: u32 = 1;
const TENSOR: &str = "features";
/// Half a million samples with 2,048 features.
const FILE_BYTES_MAX: u64 = 4 << 30;

/// The folder `lsgan` in the user's cache; none where the environment names neither it nor a home.
#[must_use]
pub fn cache() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
    cache.map(|cache| cache.join("lsgan"))
}

/// The name of what is kept of `samples` records spread over a data set.
#[must_use]
pub fn key(data: &dyn Source, spec: &DataSpec, samples: u64, extractor: &dyn Extractor) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut add = |part: &[u8]| {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    };
    add(&VERSION.to_le_bytes());
    add(data.fingerprint().as_bytes());
    if let Some(image) = &spec.image {
        let fit = match image.fit {
            Fit::Crop => "crop",
            Fit::Pad => "pad",
            Fit::Squash => "squash",
        };
        add(format!("{} {} {fit}", image.size, image.channels).as_bytes());
    }
    add(&samples.to_le_bytes());
    add(&(CHUNK as u64).to_le_bytes());
    add(extractor.version().as_bytes());
    // The same picture has other last bits on another kind of CPU.
    add(&lsgan_train::numerics(Device::Cpu, None).probe.to_le_bytes());
    hasher.finalize().to_hex()[..32].to_owned()
}

/// Where features are kept.
#[derive(Clone, Debug)]
pub struct Kept(Option<PathBuf>);

impl Kept {
    /// In the user's cache, or nowhere if there is none.
    #[must_use]
    pub fn in_cache() -> Self {
        Self(cache().map(|cache| cache.join("features")))
    }

    /// In this folder, which is made when something is kept.
    #[must_use]
    pub fn at(folder: &Path) -> Self {
        Self(Some(folder.to_owned()))
    }

    fn path(&self, key: &str) -> Option<PathBuf> {
        self.0.as_ref().map(|folder| folder.join(format!("{key}.safetensors")))
    }

    /// `[samples, features]` that were kept under this key. A file that is not whole counts as none.
    #[must_use]
    pub fn read(&self, key: &str, features: usize) -> Option<Vec<f32>> {
        let path = self.path(key)?;
        let meta = fs::metadata(&path).ok().filter(|meta| meta.is_file() && meta.len() <= FILE_BYTES_MAX)?;
        let bytes = fs::read(&path).ok().filter(|bytes| bytes.len() as u64 == meta.len())?;
        let tensors = SafeTensors::deserialize(&bytes).ok()?;
        let tensor = tensors.tensor(TENSOR).ok()?;
        let hash = tensors.tensor("blake3").ok()?;
        let is_whole = tensor.dtype() == Dtype::F32
            && matches!(tensor.shape(), [_, found] if *found == features)
            && blake3::hash(tensor.data()).as_bytes().as_slice() == hash.data();
        let (numbers, _) = tensor.data().as_chunks::<4>();
        is_whole.then(|| numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }

    /// Keeps `[samples, features]` under this key, whole or not at all.
    ///
    /// # Errors
    /// A cache that cannot be written; the features can still be used.
    pub fn write(&self, key: &str, features: usize, values: &[f32]) -> io::Result<()> {
        let Some(path) = self.path(key) else { return Ok(()) };
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let hash = blake3::hash(&bytes);
        let view = TensorView::new(Dtype::F32, vec![values.len() / features, features], &bytes);
        let hashes = TensorView::new(Dtype::U8, vec![hash.as_bytes().len()], hash.as_bytes());
        let views =
            [(TENSOR, view.map_err(io::Error::other)?), ("blake3", hashes.map_err(io::Error::other)?)];
        let text = serialize(views, None).map_err(io::Error::other)?;
        let folder = path.parent().expect("it is in a folder");
        fs::create_dir_all(folder)?;
        let part = path.with_extension(format!("new-{}", std::process::id()));
        let mut file = fs::File::create(&part)?;
        file.write_all(&text)?;
        fs::rename(part, path)
    }
}
