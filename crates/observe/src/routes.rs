//! What the server answers. docs/observe.md documents every route.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use lsgan_journal::JournalError;
use lsgan_launch::{ScoreRow, read_scores};
use lsgan_spec::{Step, scalars};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};

use crate::actions::{self, Action, Actions};
use crate::curves::{Ask, group};
use crate::hub::{Hub, Run};
use crate::live::{self, Newest};
use crate::readers::Missed;
use crate::tables::{self, EventsAsked};
use crate::{page, prometheus, scores, verify};

/// Pixels of a curve, where nobody says how many.
const PIXELS: u64 = 600;
/// Events of an answer, where nobody says how many.
const EVENTS: u32 = 200;

/// What every route sees.
#[derive(Clone)]
pub(crate) struct Site {
    hub: Arc<Hub>,
    changes: Arc<watch::Sender<Newest>>,
    /// What slow readers miss.
    missed: Missed,
    /// None where the page only shows.
    actions: Option<Actions>,
    /// Who may read a whole snapshot: one request at a time.
    verifying: Arc<Semaphore>,
}

/// All routes.
pub(crate) fn router(
    hub: Arc<Hub>,
    (changes, missed): (Arc<watch::Sender<Newest>>, Missed),
    actions: Option<Actions>,
) -> Router {
    Router::new()
        .route("/metrics", get(scraped))
        .route("/api/scalars", get(all_scalars))
        .route("/api/runs", get(runs))
        .route("/api/live", get(changed))
        .route("/api/runs/{run}", get(run))
        .route("/api/runs/{run}/curves", get(curves))
        .route("/api/runs/{run}/samples", get(samples))
        .route("/api/runs/{run}/samples/{step}", get(sample))
        .route("/api/runs/{run}/workers", get(workers))
        .route("/api/runs/{run}/snapshots", get(snapshots))
        .route("/api/runs/{run}/snapshots/{step}/verify", get(verified))
        .route("/api/runs/{run}/scores", get(scored))
        .route("/api/runs/{run}/data", get(data))
        .route("/api/runs/{run}/events", get(events))
        .route("/api/runs/{run}/actions", get(possible))
        .route("/api/runs/{run}/actions/{action}", post(act))
        .fallback(file)
        .with_state(Site { hub, changes, missed, actions, verifying: Arc::new(Semaphore::new(1)) })
}

/// Why a request gets no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("no run has the id {0}; /api/runs lists them")]
    NoRun(String),
    #[error("the run has no grid of step {0}; its route `samples` lists them")]
    NoSample(String),
    #[error("{0} is {1}, which is no whole number")]
    NoNumber(&'static str, String),
    #[error("{0}")]
    Journal(#[from] JournalError),
    #[error("{0}")]
    File(#[from] std::io::Error),
    #[error("there is no action {0}, or it lacks its number; there are {all}", all = actions::NAMES.join(", "))]
    NoAction(String),
    #[error("{0}")]
    NotAllowed(&'static str),
    #[error("{0}")]
    NotDone(String),
    #[error("a snapshot is being read already; ask again when that is done")]
    Busy,
    #[error("there is nothing at this address; docs/observe.md lists what there is")]
    NoRoute,
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match self {
            Self::NoRun(_) | Self::NoSample(_) | Self::NoRoute => StatusCode::NOT_FOUND,
            Self::NoNumber(..) | Self::NoAction(_) => StatusCode::BAD_REQUEST,
            Self::NotAllowed(_) => StatusCode::FORBIDDEN,
            Self::NotDone(_) => StatusCode::CONFLICT,
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            Self::Journal(_) | Self::File(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, as_json(&json!({ "error": self.to_string() }))).into_response()
    }
}

type Answer = Result<Response, Refused>;

fn as_json(value: &Value) -> Response {
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
    (headers, value.to_string()).into_response()
}

/// Reads files on a thread on which that may take its time.
async fn reading<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(read).await {
        Ok(read) => read,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Answers with what `read` says of a run.
async fn of_run(
    site: Site,
    id: String,
    read: impl FnOnce(&Run) -> Result<Value, Refused> + Send + 'static,
) -> Answer {
    let value = reading(move || {
        let run = site.hub.run(&id).ok_or(Refused::NoRun(id))?;
        read(&run)
    });
    value.await.map(|value| as_json(&value))
}

/// What stands behind the `?` of an address.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(raw: Option<String>) -> Self {
        let raw = raw.unwrap_or_default();
        Self(url::form_urlencoded::parse(raw.as_bytes()).into_owned().collect())
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &'static str) -> Result<Option<u64>, Refused> {
        let text = self.text(name).filter(|text| !text.is_empty());
        text.map(|text| text.parse().map_err(|_| Refused::NoNumber(name, text.to_owned()))).transpose()
    }
}

/// The page's files.
async fn file(uri: Uri) -> Answer {
    page::file(uri.path()).ok_or(Refused::NoRoute)
}

async fn all_scalars() -> Response {
    let scalar = |scalar: &scalars::Scalar| json!({ "name": scalar.name, "unit": scalar.unit, "help": scalar.help, "group": group(scalar) });
    as_json(&scalars::ALL.iter().map(scalar).collect())
}

async fn runs(State(site): State<Site>) -> Response {
    let all = reading(move || site.hub.runs().iter().map(|run| run.summary()).collect::<Vec<_>>()).await;
    as_json(&json!(all.iter().map(|summary| &**summary).collect::<Vec<_>>()))
}

/// What changes, as it does.
async fn changed(State(site): State<Site>) -> impl IntoResponse {
    live::stream(&site.changes, site.missed)
}

/// For Prometheus.
async fn scraped(State(site): State<Site>) -> Response {
    let text = reading(move || {
        let all: Vec<_> = site.hub.runs().iter().map(|run| run.summary()).collect();
        let runs: Vec<_> = all.iter().map(|summary| &**summary).collect();
        prometheus::text(&runs, site.hub.losses().as_ref(), site.missed.counts())
    });
    ([(CONTENT_TYPE, prometheus::CONTENT_TYPE)], text.await).into_response()
}

async fn run(State(site): State<Site>, Path(id): Path<String>) -> Answer {
    let read = |run: &Run| -> Result<Value, Refused> {
        let summary = run.summary();
        let mut journal = run.journal()?;
        let known = journal.known()?;
        let corrupt = journal.read(tables::corrupt)?;
        let files = known.final_files();
        Ok(json!({
            "summary": *summary,
            "identity": known.fact("identity"), "numerics": known.fact("numerics"),
            "records": known.fact("records").and_then(|text| text.parse::<u64>().ok()),
            "data_fingerprint": known.fact("data_fingerprint"), "spec_yaml": known.fact("spec_yaml"),
            "final_files": files.iter().map(|f| json!({ "name": f.name, "url": f.url, "blake3": f.blake3 })).collect::<Value>(),
            "corrupt_records": corrupt,
        }))
    };
    of_run(site, id, read).await
}

async fn curves(State(site): State<Site>, Path(id): Path<String>, RawQuery(raw): RawQuery) -> Answer {
    let query = Query::of(raw);
    let all = || scalars::ALL.iter().map(|scalar| scalar.name.to_owned()).collect();
    let ask = Ask {
        names: query.text("names").map_or_else(all, |names| names.split(',').map(str::to_owned).collect()),
        from: query.number("from")?.unwrap_or(0),
        until: query.number("until")?,
        pixels: query.number("pixels")?.unwrap_or(PIXELS),
        window: query.number("window")?.unwrap_or(0),
    };
    of_run(site, id, move |run| Ok(run.curves(&ask)?)).await
}

async fn samples(State(site): State<Site>, Path(id): Path<String>) -> Answer {
    of_run(site, id, |run| Ok(Value::Array(run.journal()?.read(tables::samples)?))).await
}

/// A grid as the run keeps it.
async fn sample(
    State(site): State<Site>,
    Path((id, step)): Path<(String, String)>,
    RawQuery(version): RawQuery,
) -> Answer {
    let png = reading(move || {
        let run = site.hub.run(&id).ok_or(Refused::NoRun(id))?;
        let number: u64 = step.parse().map_err(|_| Refused::NoNumber("the step", step.clone()))?;
        let file = run.journal()?.read(|db| tables::sample_file(db, number))?;
        let file = file.ok_or_else(|| Refused::NoSample(step.clone()))?;
        match tables::read_sample(&run.dir, &file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Refused::NoSample(step)),
            read => Ok(read?),
        }
    });
    // The page's address names when the grid was written, too, and so never changes what it shows.
    let keep = if version.is_some() { "private, max-age=86400, immutable" } else { "no-cache" };
    let headers = [(CONTENT_TYPE, "image/png"), (CACHE_CONTROL, keep)];
    Ok((headers, png.await?).into_response())
}

async fn workers(State(site): State<Site>, Path(id): Path<String>) -> Answer {
    let read = |run: &Run| -> Result<Value, Refused> {
        let mut value = run.journal()?.read(tables::workers)?;
        let ranks = run.journal()?.known()?.fact("virtual_ranks").and_then(|text| text.parse::<u64>().ok());
        value["virtual_ranks"] = json!(ranks);
        Ok(value)
    };
    of_run(site, id, read).await
}

async fn snapshots(State(site): State<Site>, Path(id): Path<String>) -> Answer {
    let read = |run: &Run| -> Result<Value, Refused> {
        let snapshots = run.journal()?.read(tables::snapshots)?;
        let (scores, why) = scores_of(run);
        Ok(json!({ "snapshots": snapshots, "scores": scores, "scores_unreadable": why }))
    };
    of_run(site, id, read).await
}

/// The scores of a run's snapshots, or none and why they cannot be read.
fn scores_of(run: &Run) -> (Vec<ScoreRow>, Option<String>) {
    match read_scores(&run.dir) {
        Ok(rows) => (rows, None),
        Err(failure) => (Vec::new(), Some(failure.text)),
    }
}

/// Whether a snapshot is whole.
async fn verified(
    State(site): State<Site>,
    Path((id, step)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    if verify::is_of_another_site(&headers) {
        return Err(Refused::NotAllowed("snapshots are read for this server's own page alone"));
    }
    let step = Step(step.parse().map_err(|_| Refused::NoNumber("the step", step))?);
    let turn = site.verifying.clone().try_acquire_owned().map_err(|_| Refused::Busy)?;
    let read = move |run: &Run| -> Result<Value, Refused> {
        // Until it is read, whether or not somebody still waits for the answer.
        let _turn = turn;
        Ok(verify::verify(run, step)?)
    };
    of_run(site, id, read).await
}

/// Scores of snapshots as series.
async fn scored(State(site): State<Site>, Path(id): Path<String>) -> Answer {
    let read = |run: &Run| -> Result<Value, Refused> {
        let written = run.journal()?.read(tables::written)?;
        let (rows, why) = scores_of(run);
        Ok(json!({ "series": scores::series(&rows, &written), "unreadable": why }))
    };
    of_run(site, id, read).await
}

/// What was read of the data, and what was made of it: grids of samples.
async fn data(State(site): State<Site>, Path(id): Path<String>) -> Answer {
    let read = |run: &Run| -> Result<Value, Refused> {
        let mut journal = run.journal()?;
        let known = journal.known()?;
        let (epochs, files) = (journal.read(tables::epochs)?, journal.read(tables::sample_files)?);
        let number = |name| known.fact(name).and_then(|text| text.parse::<u64>().ok());
        Ok(json!({
            "records": number("records"), "virtual_ranks": number("virtual_ranks"),
            "data_fingerprint": known.fact("data_fingerprint"),
            "epochs": epochs,
            "corrupt_count": known.corrupt.len(), "corrupt_records": journal.read(tables::corrupt)?,
            "grids": files.len(), "grids_len_bytes": tables::sample_bytes(&run.dir, &files),
        }))
    };
    of_run(site, id, read).await
}

/// What a reader of the page may ask for.
async fn possible(State(site): State<Site>, Path(id): Path<String>) -> Answer {
    let (names, needs_key) = match &site.actions {
        Some(actions) => (actions::NAMES, actions.needs_key()),
        None => (&[][..], false),
    };
    let value = json!({ "actions": names, "needs_key": needs_key });
    of_run(site, id, move |_| Ok(value)).await
}

/// Hands on what a reader of the page asks for, once.
async fn act(
    State(site): State<Site>,
    Path((id, name)): Path<(String, String)>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Answer {
    let actions = site.actions.clone().ok_or(Refused::NoRoute)?;
    actions.allow(&headers).map_err(Refused::NotAllowed)?;
    let workers = Query::of(raw).number("workers")?;
    let action = Action::named(&name, workers).ok_or(Refused::NoAction(name.clone()))?;
    let answer = of_run(site, id, move |_| Ok(json!({ "asked": name }))).await?;
    actions.ask(action).await.map_err(Refused::NotDone)?;
    Ok(answer)
}

async fn events(State(site): State<Site>, Path(id): Path<String>, RawQuery(raw): RawQuery) -> Answer {
    let query = Query::of(raw);
    let limit = query.number("limit")?.and_then(|limit| u32::try_from(limit).ok());
    let asked = EventsAsked {
        search: query.text("search").unwrap_or_default().to_owned(),
        warnings: query.text("warnings").is_some_and(|text| text == "1" || text == "true"),
        before: query.number("before")?,
        limit: limit.unwrap_or(EVENTS),
    };
    of_run(site, id, move |run| Ok(Value::Array(run.journal()?.read(|db| tables::events(db, &asked))?))).await
}
