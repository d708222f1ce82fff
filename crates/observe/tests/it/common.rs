//! Runs whose journals are written here, and a server that shows them over a real socket.
#![allow(dead_code, reason = "each test file uses its part")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lsgan_journal::{Beginning, FILE, StepRow, Writer};
use lsgan_observe::actions::Actions;
use lsgan_observe::{Hub, serve};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// Far more than anything here takes.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Runs below a directory, and a server that shows them.
pub struct Site {
    pub dir: TempDir,
    pub address: SocketAddr,
    pub runtime: Runtime,
}

impl Site {
    pub fn new() -> Self {
        Self::with(None)
    }

    /// One whose readers may act.
    pub fn with(actions: Option<Actions>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let hub = Arc::new(Hub::new(vec![dir.path().to_owned()]));
        runtime.spawn(serve(listener, hub, actions, std::future::pending()));
        Self { dir, address, runtime }
    }

    pub fn run_dir(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A run's journal with some facts. Dropped, it is a run whose coordinator ended.
    pub fn journal(&self, name: &str) -> Writer {
        std::fs::create_dir_all(self.run_dir(name)).unwrap();
        let mut journal = Writer::open(&self.run_dir(name).join(FILE)).unwrap();
        let yaml = include_str!("../../../../tests/small.yaml");
        let spec = lsgan_runfile::parse(yaml, "small.yaml", &[]).unwrap();
        let facts = vec![
            ("run", name.to_owned()),
            ("spec_yaml", lsgan_runfile::to_yaml(&spec)),
            ("identity", "abc".to_owned()),
            ("virtual_ranks", "4".to_owned()),
            ("global_batch", "16".to_owned()),
            ("records", "10000".to_owned()),
        ];
        journal.begin(&Beginning { facts, ..Beginning::default() }).unwrap();
        journal
    }

    /// Sends a request as it stands, and reads what comes back until the server ends the connection.
    pub fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub fn get(&self, path: &str) -> (u16, String) {
        let answer =
            self.raw(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer)
    }

    pub fn json(&self, path: &str) -> Value {
        let (status, answer) = self.get(path);
        assert_eq!(status, 200, "{path}: {answer}");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
    }

    /// The only run's id.
    pub fn id(&self) -> String {
        self.json("/api/runs")[0]["id"].as_str().unwrap().to_owned()
    }
}

/// A row of metrics.
pub fn row(step: u64, loss_d: f64) -> StepRow {
    let scalars = [("loss_d", loss_d), ("images_per_s", 100.0)];
    StepRow {
        step,
        wall_ms: 1_000_000 + step * 10,
        scalars: scalars.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    }
}
