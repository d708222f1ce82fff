//! Objects too large for one request: each piece is asked for, and asked for again, on its own.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{Stream, StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt as _, Result};

/// Bytes of a piece. S3 accepts 5 MiB to 5 GiB and 10,000 pieces, so objects of up to 160 GiB.
pub const PIECE_BYTES: usize = 16 << 20;

/// Pieces under way at once: enough to fill a line, and little memory.
const AT_ONCE: usize = 4;

/// An object's bytes in order. An error if it is not the one of `meta` any more.
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

/// Puts an object, whatever is there, piece by piece. It is there as a whole or not at all.
///
/// # Errors
/// The store's; the pieces that are there are taken back, as far as it lets us.
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
        // What stays costs room only; the error that made it fail is the one to report.
        let _ = upload.abort().await;
    }
    put
}
