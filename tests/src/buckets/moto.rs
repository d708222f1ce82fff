//! Moto: S3 in Python, of the test-time Python environment. It asks for no keys.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{BucketServer, Kind, free_ports};
use crate::binaries::root;
use crate::process::Process;

/// One request at a time: with threads, its look whether an object exists and its creation are two steps, and of two creators
/// at once both succeed.
const LAUNCH: &str = "\
import sys
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
run_simple(sys.argv[1], int(sys.argv[2]), DomainDispatcherApplication(create_backend_app), threaded=False)
";

pub(super) fn possible() -> Result<PathBuf, String> {
    let folder = root().join(".venv-test/bin");
    if folder.join("moto_server").is_file() {
        return Ok(folder.join("python"));
    }
    Err(format!(
        "{} is missing; scripts/python-env .venv-test scripts/requirements-test.txt installs it",
        folder.join("moto_server").display()
    ))
}

pub(super) fn start(python: &Path, host: &str) -> BucketServer {
    let port = free_ports(host, 1)[0];
    let mut command = Command::new(python);
    command.args(["-c", LAUNCH, host, &port.to_string()]);
    let address = format!("{host}:{port}").parse().expect("it is an address");
    BucketServer::of(Kind::Moto, Process::start("moto", command), address)
}
