//! The run's page beside the run (`--http`): what `lsgan ui` serves of all runs, of this one.
//!
//! It reads the journal's file as any other program does, and nothing of the shell: a browser that stands still holds up no step.

use std::path::PathBuf;
use std::sync::Arc;

use lsgan_console::{Failure, print};
use lsgan_launch::{ListenArgs, PAGE};
use lsgan_observe::{Hub, serve};
use lsgan_wire::{Listen, from_here};
use serde_json::json;
use tokio::net::TcpListener;

/// The page of a run that is being made ready.
#[derive(Debug)]
pub struct Page {
    listener: TcpListener,
    url: String,
}

impl Page {
    /// Listens on `address`.
    ///
    /// # Errors
    /// The address is taken, is none of this host's, or may be reached by others.
    pub async fn listen(address: &Listen, may: &ListenArgs) -> Result<Self, Failure> {
        let listener = crate::listen(address).await.map_err(|error| {
            Failure::failed(format!(
                "cannot listen on {address} for the page: {error}. Give another address with --http; port 0 takes a free one."
            ))
        })?;
        let address = listener.local_addr()?;
        may.check_plain(address, "--http")?;
        Ok(Self { listener, url: format!("http://{}/", from_here(address)) })
    }

    /// Serves the page of the run in this directory until the process ends, and says where.
    pub fn serve(self, run_dir: PathBuf) {
        let Self { listener, url } = self;
        // Not vital: a run whose page fails goes on.
        tokio::spawn(async move {
            let hub = Arc::new(Hub::new(vec![run_dir]));
            if let Err(error) = serve(listener, hub, std::future::pending()).await {
                tracing::warn!(%error, "the page is not served any more");
            }
        });
        print::announce_as(&json!({ "page": url }), format_args!("{PAGE}{url}"));
    }
}
