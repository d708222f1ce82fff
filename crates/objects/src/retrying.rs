//! Retries what `object_store` does not: lists whose body breaks off, and puts whose answer was lost.
//!
//! Retried with growing pauses: connections that are refused or break, answers 5xx, 429 and 408, and bodies that break
//! off (from the first missing byte, while the object is unchanged). Not retried: permanent answers (403, 404, 412).
//! `object_store` implements most of this; [`RetryingStore`] adds the rest.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryFutureExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::Scheme;
use crate::failure::{FailureKind, StoreFailure};
use crate::opening::{FIRST_PAUSE, PAUSE_MAX, Patience};

/// A client that also retries what `object_store` does not.
#[derive(Debug)]
pub(crate) struct RetryingStore {
    pub(crate) objects: Arc<dyn ObjectStore>,
    pub(crate) scheme: Scheme,
    pub(crate) patience: Patience,
}

impl fmt::Display for RetryingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.objects.fmt(f)
    }
}

/// Repeats `ask` until it gives a permanent answer, or the deadline or the attempts end.
async fn persist<T, F: Future<Output = Result<T>>>(
    (patience, scheme): (Patience, Scheme),
    mut ask: impl FnMut() -> F,
) -> Result<T> {
    let begin = Instant::now();
    let mut pause = FIRST_PAUSE;
    for _ in 1..patience.attempts {
        match ask().await {
            Err(error)
                if StoreFailure::of(&error, scheme).kind == FailureKind::Away
                    && begin.elapsed() < patience.deadline =>
            {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            answer => return answer,
        }
    }
    ask().await
}

impl RetryingStore {
    fn patience(&self) -> (Patience, Scheme) {
        (self.patience, self.scheme)
    }
}

#[async_trait]
impl ObjectStore for RetryingStore {
    /// A retried create-only put may report that the object exists: the caller's own, from the attempt before.
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        persist(self.patience(), || self.objects.put_opts(location, payload.clone(), options.clone())).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        persist(self.patience(), || self.objects.put_multipart_opts(location, options.clone())).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.objects.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (objects, patience) = (self.objects.clone(), self.patience());
        let delete = move |location: Path| {
            let objects = objects.clone();
            async move {
                let one = || {
                    let one = futures::stream::once(std::future::ready(Ok(location.clone()))).boxed();
                    objects.delete_stream(one).try_for_each(|_| std::future::ready(Ok(())))
                };
                persist(patience, one).await.map(|()| location)
            }
        };
        locations.and_then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (objects, patience, prefix) = (self.objects.clone(), self.patience(), prefix.cloned());
        let all =
            async move { persist(patience, || objects.list(prefix.as_ref()).try_collect::<Vec<_>>()).await };
        all.map_ok(|items| futures::stream::iter(items.into_iter().map(Ok))).try_flatten_stream().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        persist(self.patience(), || self.objects.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        persist(self.patience(), || self.objects.copy_opts(from, to, options.clone())).await
    }
}
