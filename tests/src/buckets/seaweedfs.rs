//! SeaweedFS: a real S3 server, which knows who may do what. One binary of the test-time Python environment.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::{BucketServer, Kind, Who, free_ports};
use crate::binaries::root;
use crate::process::Process;

/// The permissions of each identity, as SeaweedFS reads them. Only `admin` may make buckets.
const IDENTITIES: &str = r#"{"identities": [
  {"name": "admin", "credentials": [{"accessKey": "admin", "secretKey": "admin-secret"}],
   "actions": ["Admin", "Read", "Write", "List", "Tagging"]},
  {"name": "writer", "credentials": [{"accessKey": "writer", "secretKey": "writer-secret"}],
   "actions": ["Read", "Write", "List", "Tagging"]},
  {"name": "reader", "credentials": [{"accessKey": "reader", "secretKey": "reader-secret"}],
   "actions": ["Read", "List"]}
]}"#;

/// Access key and secret.
pub(super) fn keys(who: Who) -> (&'static str, &'static str) {
    match who {
        Who::Admin => ("admin", "admin-secret"),
        Who::Writer => ("writer", "writer-secret"),
        Who::Reader => ("reader", "reader-secret"),
    }
}

/// The parts of the one process.
const PARTS: [&str; 4] = ["master", "volume", "filer", "s3"];
/// Each part has a port for HTTP and one for gRPC.
const PORTS: usize = 2 * PARTS.len();

/// Files that the server makes in `/tmp` under its ports' numbers, and leaves when it is killed.
struct Sockets(Vec<PathBuf>);

impl Drop for Sockets {
    fn drop(&mut self) {
        for socket in &self.0 {
            // Where it has made none, there is nothing to remove.
            let _ = fs::remove_file(socket);
        }
    }
}

pub(super) fn possible() -> Result<PathBuf, String> {
    let weed = root().join(".venv-test/bin/weed");
    if weed.is_file() {
        return Ok(weed);
    }
    Err(format!(
        "{} is missing; scripts/python-env .venv-test scripts/requirements-test.txt installs it",
        weed.display()
    ))
}

pub(super) fn start(weed: &Path, host: &str) -> BucketServer {
    let dir = TempDir::with_prefix("lsgan-s3-").expect("a temporary directory can be made");
    let config = dir.path().join("identities.json");
    fs::write(&config, IDENTITIES).expect("it can be written");
    fs::create_dir(dir.path().join("data")).expect("it can be made");
    let ports = free_ports(host, PORTS);
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
    let process = Process::start("S3 server", command);
    let address = format!("{host}:{}", ports[6]).parse().expect("it is an address");
    let grpc = PARTS.iter().zip([ports[1], ports[3], ports[5], ports[7]]);
    let sockets = grpc.map(|(part, port)| format!("/tmp/seaweedfs-{part}-grpc-{port}.sock").into());
    BucketServer::of(Kind::SeaweedFs, process, address).with(Sockets(sockets.collect())).with(dir)
}
