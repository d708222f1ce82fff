//! Azurite: Azure's own emulator of its blob storage, from npm (`scripts/azurite`).

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::{BucketServer, Kind, Who, free_ports};
use crate::binaries::root;
use crate::process::Process;

/// The one account that it has, with the key that its documentation publishes.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
/// Signatures for that account, made with that key until 2099: for all, and for reading alone.
const ALL: &str = "sv=2023-11-03&ss=b&srt=sco&sp=rwdlac&se=2099-01-01T00%3A00%3A00Z\
                   &sig=YJ1ufSDEfiyzw9rFRaEKrJIaj6i6ZL1eVkhzaeY8kp8%3D";
const READ: &str = "sv=2023-11-03&ss=b&srt=sco&sp=rl&se=2099-01-01T00%3A00%3A00Z\
                    &sig=BB2%2FM1N2jsG7jJKx8MsK082cPdGQWuvrxC8fG7fbUB8%3D";

pub(super) fn possible() -> Result<PathBuf, String> {
    let ours = root().join(".azurite/node_modules/.bin/azurite-blob");
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&on_path).map(|folder| folder.join("azurite-blob"));
    let found = std::iter::once(ours.clone()).chain(on_path).find(|path| path.is_file());
    found.ok_or_else(|| format!("{} is missing; scripts/azurite installs it", ours.display()))
}

pub(super) fn start(program: &Path, host: &str) -> BucketServer {
    let dir = TempDir::with_prefix("lsgan-azurite-").expect("a temporary directory can be made");
    let port = free_ports(host, 1)[0];
    let mut command = Command::new(program);
    command.args(["--silent", "--disableTelemetry", "--blobHost", host, "--blobPort", &port.to_string()]);
    command.arg("--location").arg(dir.path());
    let address = format!("{host}:{port}").parse().expect("it is an address");
    BucketServer::of(Kind::Azurite, Process::start("azurite", command), address).with(dir)
}

pub(super) fn environment(endpoint: &str, who: Who) -> Vec<(&'static str, String)> {
    let key = match who {
        Who::Admin | Who::Writer => ("AZURE_STORAGE_ACCOUNT_KEY", KEY),
        Who::Reader => ("AZURE_STORAGE_SAS_TOKEN", READ),
    };
    // Where a process without a key asks for the machine's identity: nobody listens there.
    let identity = ("IDENTITY_ENDPOINT", "http://127.0.0.1:1/identity");
    let variables = [("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT), key, identity];
    let endpoint = ("AZURE_STORAGE_ENDPOINT", format!("{endpoint}/{ACCOUNT}"));
    variables.map(|(name, value)| (name, value.to_owned())).into_iter().chain([endpoint]).collect()
}

/// The path of the request that makes a container.
pub(super) fn container(name: &str) -> String {
    format!("/{ACCOUNT}/{name}?restype=container&{ALL}")
}
