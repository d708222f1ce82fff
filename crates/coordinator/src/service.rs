//! The gRPC side: a task for each inbound stream, a bounded channel out, and everything else in the shell.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use lsgan_console::vital;
use lsgan_control::SessionId;
use lsgan_launch::{ScoreRow, read_scores};
use lsgan_spec::Step;
use lsgan_wire::v1::{self, coordinator_server::Coordinator};
use lsgan_wire::{FINISHED, STARTING};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::alerts::Turned;
use crate::bounded::MessageLimit;
use crate::catalogue::Chore;
use crate::counts::Counts;
use crate::logs::LogBook;
use crate::operate::{Order, SnapshotWaiter};
use crate::profile::ProfileWaiter;
use crate::reading::{Pages, Readers};
use crate::status::StatusFeed;
use crate::stream::{Room, Stream, stream};
use crate::tokens::{TokenOrder, TokenWaiter, Tokens};

/// Messages waiting for a worker. It reads them at once; one that lets so many pile up is as good as dead.
const OUTBOUND_MESSAGES_MAX: usize = 1024;

/// What the shell is told.
#[derive(Debug)]
pub enum Input {
    /// A stream opened.
    Opened(SessionId, Stream),
    /// A worker said something.
    Message {
        /// Its stream.
        session: SessionId,
        /// What it said.
        kind: v1::worker_message::Kind,
        /// Given back when it is handled.
        room: Option<Room>,
    },
    /// A stream says more than any worker can; what is too much is dropped. Said once.
    Floods(SessionId),
    /// A stream ended or broke.
    Closed {
        /// Which.
        session: SessionId,
        /// Messages that were too many.
        dropped: u64,
    },
    /// An operator wants the run to stop.
    Stop,
    /// The system wants this process to end; the run goes on.
    Go,
    /// An operator asks for something.
    Order(Order),
    /// An operator wants a snapshot of the next step boundary.
    Snapshot {
        /// Who.
        by: String,
        /// Told where it is, or why there is none.
        answer: SnapshotWaiter,
    },
    /// A worker cannot start.
    Trouble {
        /// Its name.
        name: String,
        /// Why, as it says.
        why: String,
    },
    /// An operator wants another number of workers.
    Scale(u32, oneshot::Sender<Result<(), String>>),
    /// An operator wants to know where the time of the next steps goes.
    Profile(v1::ProfileRequest, ProfileWaiter),
    /// An operator wants something of the join tokens.
    Token(TokenOrder, TokenWaiter),
    /// An operator's `lsgan eval` has scored a snapshot.
    Score {
        /// Who.
        by: String,
        /// As a line of scores.jsonl.
        row: String,
        /// Told whether it is kept.
        answer: oneshot::Sender<Result<(), String>>,
    },
    /// Whether a worker sees the run's store; if not, why.
    StoreProved(SessionId, Option<String>),
    /// What was found of what a worker says that it wrote.
    Found(crate::seen::Found),
    /// Records that workers say do not decode were read.
    ReadAgain(crate::confirm::ReadAgain),
    /// A chore in the store is done, and the snapshots of these steps are no more; or it could not be done.
    ChoreDone(Chore, Result<Vec<Step>, String>),
    /// Alerts begin or end.
    Alerts(Turned),
}

/// The service; clones share the run. It answers before there is one.
#[derive(Clone, Debug)]
pub struct Service {
    /// What is said of the run before it has begun.
    starting: Arc<v1::RunStatus>,
    begun: Arc<OnceLock<Begun>>,
    /// The run is finished, which is all that is said to workers.
    finished: Arc<AtomicBool>,
    sessions: Arc<AtomicU64>,
    tokens: Arc<Tokens>,
    /// Where the run's page is, if it has one.
    page: Arc<OnceLock<v1::PageReply>>,
    readers: Readers,
}

/// A run that takes workers.
#[derive(Debug)]
struct Begun {
    inputs: mpsc::Sender<Input>,
    description: v1::RunDescription,
    counts: Arc<Counts>,
    status: StatusFeed,
    logs: LogBook,
    run_dir: PathBuf,
}

impl Service {
    /// A service of a run that has not begun. Its status is `starting`.
    #[must_use]
    pub fn starting(starting: v1::RunStatus, tokens: Arc<Tokens>) -> Self {
        Self {
            starting: Arc::new(starting),
            begun: Arc::default(),
            finished: Arc::default(),
            sessions: Arc::default(),
            tokens,
            page: Arc::default(),
            readers: Readers::default(),
        }
    }

    /// From now on workers are told that the run is finished.
    pub fn finish(&self) {
        self.finished.store(true, Ordering::Relaxed);
    }

    /// From now on `inputs` is told what happens, and the run is described as `description`, with `counts`, `status` and `logs`
    /// of the moment. Scores are in its directory.
    pub fn begin(
        &self,
        inputs: mpsc::Sender<Input>,
        description: v1::RunDescription,
        (counts, status, logs): (Arc<Counts>, StatusFeed, LogBook),
        run_dir: PathBuf,
    ) {
        let begun = self.begun.set(Begun { inputs, description, counts, status, logs, run_dir });
        begun.expect("a run begins once");
    }

    /// From now on operators are told where the run's page is.
    pub fn serve_page(&self, page: v1::PageReply) {
        let served = self.page.set(page);
        served.expect("a run has one page");
    }

    /// The only failed precondition of a worker's calls: it waits then for the run to begin.
    fn begun(&self) -> Result<&Begun, Status> {
        if self.finished.load(Ordering::Relaxed) {
            return Err(Status::out_of_range(FINISHED));
        }
        self.begun.get().ok_or_else(|| Status::failed_precondition(STARTING))
    }

    /// Tells the shell what somebody wants, and waits for its answer.
    pub(crate) async fn ask<T>(
        &self,
        input: impl FnOnce(oneshot::Sender<Result<T, String>>) -> Input,
    ) -> Result<T, Status> {
        let (sender, answer) = oneshot::channel();
        self.tell(input(sender)).await?;
        answer.await.map_err(|_| ending())?.map_err(Status::failed_precondition)
    }

    pub(crate) async fn tell(&self, input: Input) -> Result<(), Status> {
        self.begun()?.inputs.send(input).await.map_err(|_| ending())
    }
}

pub(crate) fn ending() -> Status {
    Status::unavailable("the coordinator is ending")
}

#[tonic::async_trait]
impl Coordinator for Service {
    type SessionStream =
        Pin<Box<dyn tokio_stream::Stream<Item = Result<v1::CoordinatorMessage, Status>> + Send>>;

    type ReadJournalStream = Pages;

    async fn describe_run(
        &self,
        _: Request<v1::DescribeRunRequest>,
    ) -> Result<Response<v1::RunDescription>, Status> {
        let Begun { description, counts, .. } = self.begun()?;
        let (generation, incarnation, metrics_until) = counts.read();
        let description = description.clone();
        Ok(Response::new(v1::RunDescription { generation, incarnation, metrics_until, ..description }))
    }

    async fn session(
        &self,
        request: Request<Streaming<v1::WorkerMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let session = SessionId(self.sessions.fetch_add(1, Ordering::Relaxed));
        let (outbound, messages) = mpsc::channel(OUTBOUND_MESSAGES_MAX);
        let limit = request.extensions().get::<Arc<MessageLimit>>().cloned().unwrap_or_default();
        let (stream, reader) = stream(outbound, limit);
        self.tell(Input::Opened(session, stream)).await?;
        let inputs = self.begun()?.inputs.clone();
        vital::task("session task", reader.run(session, request.into_inner(), inputs));
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }

    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::RunStatus>, Status> {
        Ok(Response::new(match self.begun.get() {
            Some(begun) => begun.status.read().await,
            None => self.starting.as_ref().clone(),
        }))
    }

    async fn logs(&self, request: Request<v1::LogsRequest>) -> Result<Response<v1::LogsReply>, Status> {
        Ok(Response::new(self.begun()?.logs.read(&request.into_inner())))
    }

    async fn profile(
        &self,
        request: Request<v1::ProfileRequest>,
    ) -> Result<Response<v1::ProfileReply>, Status> {
        let asked = request.into_inner();
        self.ask(|answer| Input::Profile(asked, answer)).await.map(Response::new)
    }

    async fn stop(&self, request: Request<v1::StopRequest>) -> Result<Response<v1::StopReply>, Status> {
        let v1::StopRequest { by, wait } = request.into_inner();
        self.tell(Input::Order(Order::stop(&by))).await?;
        if !wait {
            return Ok(Response::new(v1::StopReply { ended: None }));
        }
        let ended = self.begun()?.status.ended().await;
        let ended = ended.ok_or_else(ending)?;
        Ok(Response::new(v1::StopReply { ended: Some(ended) }))
    }

    async fn snapshot(
        &self,
        request: Request<v1::SnapshotRequest>,
    ) -> Result<Response<v1::SnapshotReply>, Status> {
        let by = request.into_inner().by;
        self.ask(|answer| Input::Snapshot { by, answer }).await.map(Response::new)
    }

    async fn pause(&self, request: Request<v1::PauseRequest>) -> Result<Response<v1::PauseReply>, Status> {
        self.tell(Input::Order(Order::pause(&request.into_inner().by))).await?;
        Ok(Response::new(v1::PauseReply {}))
    }

    async fn resume(&self, request: Request<v1::ResumeRequest>) -> Result<Response<v1::ResumeReply>, Status> {
        self.tell(Input::Order(Order::resume(&request.into_inner().by))).await?;
        Ok(Response::new(v1::ResumeReply {}))
    }

    async fn report_trouble(
        &self,
        request: Request<v1::ReportTroubleRequest>,
    ) -> Result<Response<v1::ReportTroubleReply>, Status> {
        let v1::ReportTroubleRequest { name, why } = request.into_inner();
        self.tell(Input::Trouble { name, why }).await?;
        Ok(Response::new(v1::ReportTroubleReply {}))
    }

    async fn scale(&self, request: Request<v1::ScaleRequest>) -> Result<Response<v1::ScaleReply>, Status> {
        let workers = request.into_inner().workers;
        self.ask(|answer| Input::Scale(workers, answer)).await?;
        Ok(Response::new(v1::ScaleReply {}))
    }

    async fn page(&self, _: Request<v1::PageRequest>) -> Result<Response<v1::PageReply>, Status> {
        let none =
            "this run has no page: its coordinator, or `lsgan up`, was started without --http HOST:PORT";
        self.page.get().cloned().map(Response::new).ok_or_else(|| Status::failed_precondition(none))
    }

    async fn create_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Result<Response<v1::TokenReply>, Status> {
        let v1::CreateTokenRequest { by, ttl_ms } = request.into_inner();
        let order = TokenOrder::create(&by, ttl_ms);
        self.ask(|answer| Input::Token(order, answer)).await.map(Response::new)
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::TokenReply>, Status> {
        let v1::RevokeTokenRequest { by, id } = request.into_inner();
        let order = TokenOrder::revoke(&by, id);
        self.ask(|answer| Input::Token(order, answer)).await.map(Response::new)
    }

    async fn list_tokens(
        &self,
        _: Request<v1::ListTokensRequest>,
    ) -> Result<Response<v1::ListTokensReply>, Status> {
        Ok(Response::new(v1::ListTokensReply { tokens: self.tokens.list() }))
    }

    async fn keep_score(
        &self,
        request: Request<v1::KeepScoreRequest>,
    ) -> Result<Response<v1::KeepScoreReply>, Status> {
        let v1::KeepScoreRequest { by, row } = request.into_inner();
        self.ask(|answer| Input::Score { by, row, answer }).await?;
        Ok(Response::new(v1::KeepScoreReply {}))
    }

    async fn list_scores(
        &self,
        request: Request<v1::ListScoresRequest>,
    ) -> Result<Response<v1::ListScoresReply>, Status> {
        let (run_dir, step) = (self.begun()?.run_dir.clone(), Step(request.into_inner().step));
        let read = tokio::task::spawn_blocking(move || read_scores(&run_dir)).await;
        let rows = read.map_err(|_| ending())?.map_err(|failure| Status::internal(failure.text))?;
        let rows = rows.iter().filter(|row| row.step == step).map(ScoreRow::to_line).collect();
        Ok(Response::new(v1::ListScoresReply { rows }))
    }

    async fn read_journal(
        &self,
        request: Request<v1::ReadJournalRequest>,
    ) -> Result<Response<Self::ReadJournalStream>, Status> {
        // Of a finished run, too.
        let begun = self.begun.get().ok_or_else(|| Status::failed_precondition(STARTING))?;
        let pages = self.readers.read(request.into_inner(), &begun.run_dir, begun.status.clone())?;
        Ok(Response::new(pages))
    }
}
