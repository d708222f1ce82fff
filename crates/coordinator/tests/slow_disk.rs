//! The shell on a disk that is slow: somebody else holds the journal for longer than the failure timeout.

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::{LIMIT, RUN, write_run};
use lsgan_control::SessionId;
use lsgan_coordinator::service::Input;
use lsgan_coordinator::startup::{self, Prepared, Start};
use lsgan_coordinator::status::StatusFeed;
use lsgan_coordinator::stream::{Reader, stream};
use lsgan_launch::RunArgs;
use lsgan_wire::v1::{self, coordinator_message::Kind};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// Longer than the failure timeout of the run below, and than the queue keeps a lock to itself.
const HELD_UP: Duration = Duration::from_millis(1_600);

/// Between two heartbeats.
const BEAT: Duration = Duration::from_millis(100);

/// Nobody forms a generation: four workers are needed, and three come.
fn run() -> String {
    RUN.replace("min_workers: 1, gather: 100ms, failure_timeout: 20s", "min_workers: 4, failure_timeout: 1s")
}

/// A worker's side of its session, without a network.
struct Session {
    id: SessionId,
    told: mpsc::Receiver<Result<v1::CoordinatorMessage, tonic::Status>>,
    _reader: Reader,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_disk_holds_up_what_depends_on_it_and_nothing_else() {
    let folder = tempfile::tempdir().expect("there is room for a directory");
    let Prepared { lock: _lock, description, shell, inputs, queue, status, exporter: _ } =
        prepare(folder.path()).await;
    let journal = folder.path().join("run/journal.sqlite");
    // The shell stays where it is, as in the coordinator, and the workers are elsewhere.
    let workers = tokio::spawn(hold_the_disk_up(inputs, status, description, journal));
    let present = tokio::select! {
        ended = shell.run(queue) => panic!("the shell ended: {ended:?}"),
        present = workers => present.expect("the workers do not panic"),
    };
    assert_eq!(present, ["first", "second", "third"]);
}

/// Two workers speak while the third one's arrival waits for the disk; names of those who are there afterwards.
async fn hold_the_disk_up(
    inputs: mpsc::Sender<Input>,
    status: StatusFeed,
    run: v1::RunDescription,
    journal: PathBuf,
) -> Vec<String> {
    let mut first = open(&inputs, &run, 0, "first").await;
    let mut second = open(&inputs, &run, 1, "second").await;
    first.welcome().await;
    second.welcome().await;

    let disk = rusqlite::Connection::open(journal).expect("it is there");
    disk.execute_batch("begin immediate").expect("nobody else writes");
    // This one's line in the journal waits for the disk, and its welcome with it.
    let mut third = open(&inputs, &run, 2, "third").await;
    let (begin, mut beat, mut warned) = (Instant::now(), tokio::time::interval(BEAT), false);
    while begin.elapsed() < HELD_UP || !warned {
        beat.tick().await;
        for id in [first.id, second.id, third.id] {
            say(&inputs, id, v1::Heartbeat::default().into()).await;
        }
        let status = status.read().await;
        assert_eq!(status.workers.len(), 3, "nobody is silent: {status:?}");
        warned = status.notices.iter().any(|n| n.warning && n.text.contains("the run waits for it"));
        assert!(third.told.try_recv().is_err(), "it is told what the journal does not have");
        assert!(begin.elapsed() < LIMIT, "nobody says that the journal is locked: {status:?}");
    }
    disk.execute_batch("commit").expect("nothing was written");
    third.welcome().await;
    status.read().await.workers.into_iter().map(|worker| worker.name).collect()
}

/// Whatever the shell does, and however many inputs wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_read_while_the_shell_is_busy() {
    let folder = tempfile::tempdir().expect("there is room for a directory");
    let prepared = prepare(folder.path()).await;
    // Nobody runs the shell.
    let status = timeout(LIMIT, prepared.status.read()).await.expect("it is read in time");
    assert_eq!((status.run.as_str(), status.phase()), ("small", v1::Phase::Starting));
    while prepared.inputs.try_send(Input::Stop).is_ok() {}
    let status = timeout(LIMIT, prepared.status.read()).await.expect("it is read in time");
    assert_eq!(status.run, "small");
}

async fn prepare(folder: &Path) -> Prepared {
    let config = write_run(folder, &run());
    let run_dir = Some(folder.join("run"));
    let args = RunArgs {
        config: Some(config),
        resolved: None,
        sets: Vec::new(),
        run_dir,
        fresh: false,
        accept_loss: false,
        new_numerics: false,
        fork: None,
        fork_at: None,
        from: None,
        fault_patience: None,
    };
    let file = args.load_file().expect("the file is right");
    let workers = startup::Workers { expected: 0, supervised: false, sealed: false, tokens: Arc::default() };
    match startup::prepare(file, &args, workers).await {
        Ok(Start::Ready(prepared)) => *prepared,
        Ok(Start::Finished(text)) => panic!("a new run is finished: {text}"),
        Err(failure) => panic!("{failure:?}"),
    }
}

async fn open(inputs: &mpsc::Sender<Input>, run: &v1::RunDescription, id: u64, name: &str) -> Session {
    let (outbound, told) = mpsc::channel(16);
    let id = SessionId(id);
    let (stream, reader) = stream(outbound, Default::default());
    inputs.send(Input::Opened(id, stream)).await.expect("the shell runs");
    let hello = v1::Hello {
        name: name.to_owned(),
        address: format!("127.0.0.1:{}", 9000 + id.0),
        numerics: Some(v1::Numerics { device: v1::DeviceKind::Cpu.into(), ..v1::Numerics::default() }),
        data_fingerprint: run.data_fingerprint.clone(),
        ..v1::Hello::default()
    };
    say(inputs, id, hello.into()).await;
    Session { id, told, _reader: reader }
}

async fn say(inputs: &mpsc::Sender<Input>, id: SessionId, message: v1::WorkerMessage) {
    let kind = message.kind.expect("it was made of one");
    inputs.send(Input::Message { session: id, kind, room: None }).await.expect("the shell runs");
}

impl Session {
    async fn welcome(&mut self) {
        let message = timeout(LIMIT, self.told.recv()).await.expect("it is answered in time");
        let kind = message.expect("the stream is open").expect("it is no error").kind;
        assert!(matches!(kind, Some(Kind::Welcome(_))), "{kind:?}");
    }
}
