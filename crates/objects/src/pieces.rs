//! Transfers objects that are too large for one request. Each piece is one request with its own retries.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{Stream, StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt as _, Result};

/// Bytes of a piece. S3 accepts pieces of 5 MiB to 5 GiB and at most 10,000 of them, so objects of up to 160 GiB.
pub const PIECE_BYTES: usize = 16 << 20;

/// Concurrent pieces: enough to saturate a network link, with little memory.
const AT_ONCE: usize = 4;

/// Reads an object's bytes in order. Fails if the object is no longer the one that `meta` describes.
pub fn get(
    objects: Arc<dyn ObjectStore>,
    meta: &ObjectMeta,
) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    let (len, path, e_tag) = (meta.size, meta.location.clone(), meta.e_tag.clone());
    let piece = move |begin: u64| {
        let range = begin..len.min(begin + PIECE_BYTES as u64);
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            if_match: e_tag.clone(),
            ..GetOptions::default()
        };
        let (objects, path) = (objects.clone(), path.clone());
        async move { objects.get_opts(&path, options).await?.bytes().await }
    };
    futures::stream::iter((0..len).step_by(PIECE_BYTES)).map(piece).buffered(AT_ONCE)
}

/// Writes an object in pieces and replaces an existing one. Readers see the whole object or none.
///
/// # Errors
/// The store's error. The upload is then aborted.
pub async fn put(objects: &dyn ObjectStore, path: &Path, bytes: &Bytes) -> Result<()> {
    let mut upload = objects.put_multipart(path).await?;
    let begins = (0..bytes.len()).step_by(PIECE_BYTES);
    let pieces: Vec<_> = begins
        .map(|begin| upload.put_part(bytes.slice(begin..bytes.len().min(begin + PIECE_BYTES)).into()))
        .collect();
    let mut put = futures::stream::iter(pieces).buffer_unordered(AT_ONCE).try_collect::<()>().await;
    if put.is_ok() {
        put = upload.complete().await.map(drop);
    }
    if put.is_err() {
        // A failed abort leaves unused pieces behind, which only take space; the first error is the one to report.
        let _ = upload.abort().await;
    }
    put
}
