//! A server to which alerts are posted, over HTTP or HTTPS, or which says nothing.

use std::path::PathBuf;

use lsgan_outside::{Posted, Server};
use serde_json::Value;

use crate::client::runtime;
use crate::wait::until;

const FREE: &str = "127.0.0.1:0";

/// A server at a free port of 127.0.0.1. Dropping it closes it.
pub struct Hook {
    server: Server,
    /// What came is asked for more than once.
    posted: Vec<Posted>,
}

impl Hook {
    pub fn http() -> Self {
        Self::of(runtime().block_on(Server::start("http", FREE, &[])))
    }

    /// One whose certificate is of an authority of its own.
    pub fn https() -> Self {
        Self::of(runtime().block_on(Server::start("https", FREE, &[])))
    }

    /// One that accepts connections and says nothing.
    pub fn silent() -> Self {
        Self::of(runtime().block_on(Server::silent(FREE)))
    }

    fn of(server: Server) -> Self {
        Self { server, posted: Vec::new() }
    }

    pub fn url(&self, path: &str) -> String {
        self.server.url(path)
    }

    /// As `127.0.0.1:1234`.
    pub fn authority(&self) -> String {
        self.server.address.to_string()
    }

    /// The certificate of its authority, where it has one.
    pub fn authority_file(&self) -> PathBuf {
        self.server.dir.path().join("ca.crt")
    }

    /// All that came so far; of a silent one an empty one for each connection.
    pub fn posted(&mut self) -> &[Posted] {
        self.posted.extend(self.server.come());
        &self.posted
    }

    /// Waits until something came whose body is as wanted, and returns it.
    #[track_caller]
    pub fn wait_for(&mut self, awaited: &str, wanted: impl Fn(&Value) -> bool) -> Posted {
        until(&format!("posted: {awaited}"), || {
            let posted = self.posted();
            posted.iter().find(|posted| wanted(&posted.body)).cloned().ok_or_else(|| posted.to_vec())
        })
    }
}
