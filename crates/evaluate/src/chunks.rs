//! Pictures as bytes, in chunks of a fixed size, through an extractor on several threads.

use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tch::{Kind, Tensor};

use crate::{EvaluateError, Extractor};

/// Pictures that a network gets at once, always so many: with another number, libtorch may take another way through a layer,
/// with other roundings. The last chunk is filled up with black.
pub const CHUNK: usize = 64;

/// Square pictures, as files have them: `[count, size, size, channels]`, a byte each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pictures {
    /// Their side.
    pub size: usize,
    /// 1 or 3.
    pub channels: usize,
    /// Rows of pixels, picture after picture.
    pub bytes: Vec<u8>,
}

impl Pictures {
    /// Of samples in −1..1, rounded as picture files are; what lies outside is cut off.
    #[must_use]
    pub fn of_samples(size: usize, channels: usize, samples: &[f32]) -> Self {
        let byte = |sample: &f32| ((sample.clamp(-1.0, 1.0) + 1.0) * 127.5).round() as u8;
        Self { size, channels, bytes: samples.iter().map(byte).collect() }
    }

    /// Numbers of one.
    #[must_use]
    pub fn picture_len(&self) -> usize {
        self.size * self.size * self.channels
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() / self.picture_len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// With black behind them, to a whole chunk.
    fn filled(mut self) -> Self {
        self.bytes.resize(CHUNK * self.picture_len(), 0);
        self
    }

    /// `[n, channels, size, size]` of bytes.
    pub(crate) fn tensor(&self) -> Tensor {
        let (n, size, channels) = (self.len() as i64, self.size as i64, self.channels as i64);
        Tensor::from_slice(&self.bytes).view([n, size, size, channels]).permute([0, 3, 1, 2]).contiguous()
    }

    /// The same with three channels: grey in all of them.
    pub(crate) fn colour(&self) -> Tensor {
        let tensor = self.tensor();
        let [n, _, h, w] = tensor.size()[..] else { unreachable!("pictures have four dimensions") };
        tensor.expand([n, 3, h, w], true).contiguous()
    }

    /// The same with one channel, in 0..255 as f32: colours become their luminance (ITU-R 601-2).
    pub(crate) fn grey(&self) -> Tensor {
        let tensor = self.tensor().to_kind(Kind::Float);
        if self.channels == 1 {
            return tensor;
        }
        let weights = Tensor::from_slice(&[0.299_f32, 0.587, 0.114]).view([1, 3, 1, 1]);
        (tensor * weights).sum_dim_intlist([1_i64].as_slice(), true, Kind::Float)
    }
}

/// The features of all pictures, `[count, features]`, in the order of the chunks. `make` makes the pictures of a chunk, at most
/// [`CHUNK`] of them, on the thread that then extracts their features; `told` hears how many chunks are done.
///
/// # Errors
/// The first that `make` or the extractor gives.
pub fn extract(
    extractor: &dyn Extractor,
    threads: NonZero<usize>,
    chunks: usize,
    make: &(dyn Fn(usize) -> Result<Pictures, EvaluateError> + Sync),
    told: &(dyn Fn(usize) + Sync),
) -> Result<Vec<f32>, EvaluateError> {
    let (next, done, failed) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let found = Mutex::new(vec![None; chunks]);
    let work = || -> Result<(), EvaluateError> {
        lsgan_train::device::one_thread();
        let session = extractor.session()?;
        loop {
            let chunk = next.fetch_add(1, Ordering::Relaxed);
            if chunk >= chunks || failed.load(Ordering::Relaxed) {
                return Ok(());
            }
            let pictures = make(chunk)?;
            let count = pictures.len();
            let mut features = if count == 0 { vec![] } else { session.features(&pictures.filled())? };
            features.truncate(count * extractor.features());
            found.lock().expect("no thread panics with it")[chunk] = Some(features);
            told(done.fetch_add(1, Ordering::Relaxed) + 1);
        }
    };
    let work = || work().inspect_err(|_| failed.store(true, Ordering::Relaxed));
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.get().min(chunks)).map(|_| scope.spawn(work)).collect();
        let own = work();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        others.into_iter().map(join).fold(own, Result::and)
    })?;
    let found = found.into_inner().expect("no thread panicked with it");
    Ok(found.into_iter().flat_map(|features| features.expect("every chunk was done")).collect())
}
