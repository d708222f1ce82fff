//! The run's page beside the run (`--http`): what `lsgan ui` serves of all runs, of this one; and, with `--http-actions`, what
//! its readers ask the run to do.
//!
//! It reads the journal's file as any other program does, and nothing of the shell: a browser that stands still holds up no step.

use std::path::PathBuf;
use std::sync::Arc;

use lsgan_console::{Failure, log_file, print};
use lsgan_launch::{ListenArgs, PAGE};
use lsgan_observe::actions::{Action, Actions, Asked};
use lsgan_observe::losses::{Counting, Losses};
use lsgan_observe::{Hub, serve};
use lsgan_wire::{Listen, from_here, v1};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tonic::Status;

use crate::logs::LogBook;
use crate::operate::Order;
use crate::random;
use crate::service::{Input, Service};
use crate::spans::{Exporter, Queue};
use crate::webhook::Outbox;

/// Who asks, where a reader of the page does.
const READER: &str = "a reader of the page";

/// The page of a run that is being made ready.
pub struct Page {
    listener: TcpListener,
    url: String,
    key: Option<String>,
    actions: Option<(Actions, mpsc::Receiver<Asked>)>,
}

impl Page {
    /// Listens on `address`. Its readers may ask for actions if `acts`, with a key if the run is `sealed` by TLS or other hosts
    /// reach the page.
    ///
    /// # Errors
    /// The address is taken, is none of this host's, or may be reached by others.
    pub async fn listen(
        address: &Listen,
        may: &ListenArgs,
        (acts, sealed): (bool, bool),
    ) -> Result<Self, Failure> {
        let listener = crate::listen(address).await.map_err(|error| {
            Failure::failed(format!(
                "cannot listen on {address} for the page: {error}. Give another address with --http; port 0 takes a free one."
            ))
        })?;
        let address = listener.local_addr()?;
        may.check_plain(address, "--http")?;
        let is_open = !sealed && address.ip().to_canonical().is_loopback();
        let key = if acts && !is_open { Some(key()?) } else { None };
        let actions = acts.then(|| Actions::new(key.clone()));
        Ok(Self { listener, url: format!("http://{}/", from_here(address)), key, actions })
    }

    /// Serves the page of the run in this directory until the process ends, and says where. What readers ask for is asked of
    /// `service`; `counting` is for its scrapers.
    pub fn serve(self, run_dir: PathBuf, service: Service, counting: Counting) {
        let Self { listener, url, key, actions } = self;
        service.serve_page(v1::PageReply { url: url.clone(), key: key.unwrap_or_default() });
        let (actions, asked) = actions.unzip();
        // Not vital, neither of them: a run whose page fails goes on.
        if let Some(asked) = asked {
            tokio::spawn(take(asked, service));
        }
        tokio::spawn(async move {
            let hub = Arc::new(Hub::new(vec![run_dir]).counting(counting));
            if let Err(error) = serve(listener, hub, actions, std::future::pending()).await {
                tracing::warn!(%error, "the page is not served any more");
            }
        });
        print::announce_as(&json!({ "page": url }), format_args!("{PAGE}{url}"));
    }
}

/// Counts what this process has dropped. `alerts`: those that wait for a webhook.
pub fn counting(exporter: Option<&Exporter>, alerts: Option<Arc<Outbox>>, logs: &LogBook) -> Counting {
    let (spans, logs) = (exporter.map(Exporter::queue), logs.clone());
    Counting::new(move || Losses {
        alerts: alerts.as_deref().map(Outbox::dropped),
        spans: spans.as_ref().map(Queue::dropped),
        log_lines: log_file::lost(),
        worker_log_lines: logs.lost(),
    })
}

/// A key that nobody can guess: 128 bits.
fn key() -> Result<String, Failure> {
    Ok(random::secret()?[..16].iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Asks the run for what readers ask for.
async fn take(mut asked: mpsc::Receiver<Asked>, service: Service) {
    while let Some(Asked { action, answer }) = asked.recv().await {
        let result = ask(&service, action).await;
        // The reader may have gone.
        let _ = answer.send(result.map_err(|status| status.message().to_owned()));
    }
}

/// Returns once the run will do it; a snapshot is on the page when it is written.
async fn ask(service: &Service, action: Action) -> Result<(), Status> {
    match action {
        Action::Stop => service.tell(Input::Order(Order::stop(READER))).await,
        Action::Pause => service.tell(Input::Order(Order::pause(READER))).await,
        Action::Resume => service.tell(Input::Order(Order::resume(READER))).await,
        Action::Snapshot => {
            let (answer, _) = oneshot::channel();
            service.tell(Input::Snapshot { by: READER.to_owned(), answer }).await
        }
        Action::Scale { workers } => service.ask(|answer| Input::Scale(workers, answer)).await,
    }
}
