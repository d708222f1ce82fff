//! The routes asked from inside this process: what a page would be told, without a server.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use axum::response::Response;
use futures::stream::{BoxStream, StreamExt as _};
use tokio::task::JoinHandle;
use tower_service::Service as _;

use crate::readers::Missed;
use crate::{Hub, live, routes};

/// Answers as [`serve`](crate::serve) does, to this process alone.
pub struct Local {
    router: Router,
    /// Looks at the runs while somebody follows them.
    follower: JoinHandle<()>,
}

impl Local {
    /// Of these runs. Must be called inside a runtime.
    #[must_use]
    pub fn new(hub: Hub) -> Self {
        let hub = Arc::new(hub);
        let (changes, follower) = live::follow(hub.clone());
        Self {
            router: routes::router(hub, (changes, Missed::default()), None),
            follower: tokio::spawn(follower),
        }
    }

    /// What a route of docs/observe.md answers, and with which status.
    ///
    /// # Errors
    /// No path of an address, or an answer that breaks off.
    pub async fn get(&self, path: &str) -> Result<(StatusCode, Vec<u8>), String> {
        let response = self.answer(path).await?;
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.map_err(|error| error.to_string())?;
        Ok((status, body.to_vec()))
    }

    /// The pieces of an answer that does not end, as `/api/live` has one.
    ///
    /// # Errors
    /// No path of an address.
    pub async fn follow(&self, path: &str) -> Result<BoxStream<'static, Result<Vec<u8>, String>>, String> {
        let pieces = self.answer(path).await?.into_body().into_data_stream();
        let piece = |piece: Result<axum::body::Bytes, axum::Error>| {
            piece.map(|bytes| bytes.to_vec()).map_err(|error| error.to_string())
        };
        Ok(pieces.map(piece).boxed())
    }

    async fn answer(&self, path: &str) -> Result<Response, String> {
        let request = Request::get(path).body(Body::empty()).map_err(|error| error.to_string())?;
        match self.router.clone().call(request).await {
            Ok(response) => Ok(response),
            Err(never) => match never {},
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").finish_non_exhaustive()
    }
}
