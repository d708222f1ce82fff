//! Servers of buckets of a test's own: one for each protocol, and a second one that speaks S3.
//!
//! - `seaweedfs`, `moto`: S3. They come with the test-time Python environment.
//! - `azurite`: Azure's own emulator, which `scripts/azurite` installs.
//! - `google`: a double of Google's XML API before moto. No emulator that can be installed serves the requests of
//!   object_store's client: `fake-gcs-server` and `gcp-storage-emulator` take no XML uploads on a condition.

mod azurite;
mod google;
mod moto;
mod seaweedfs;

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::process::Process;
use crate::wait::until;

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    SeaweedFs,
    Moto,
    Azurite,
    Google,
}

/// Whose keys a process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// May do all.
    Admin,
    /// May read and write, but makes no buckets.
    Writer,
    /// May only read. Moto does not tell it from a writer.
    Reader,
}

/// What a kind of server does differently, for tests that hold for all.
#[derive(Clone, Copy, Debug)]
pub struct Traits {
    /// Its codes for an object and for a bucket that are not there.
    pub no_key: &'static str,
    pub no_bucket: &'static str,
    /// Method and path of the request that begins a large object, of one that brings a piece, and of one that closes it.
    pub begins: (&'static str, &'static str),
    pub piece: (&'static str, &'static str),
    /// It knows what a reader and a stranger may not do.
    pub has_keys: bool,
}

const S3: Traits = Traits {
    no_key: "NoSuchKey",
    no_bucket: "NoSuchBucket",
    begins: ("POST", "?uploads"),
    piece: ("PUT", "partNumber="),
    has_keys: true,
};

impl Kind {
    pub const ALL: [Self; 4] = [Self::SeaweedFs, Self::Moto, Self::Azurite, Self::Google];

    pub fn name(self) -> &'static str {
        match self {
            Self::SeaweedFs => "seaweedfs",
            Self::Moto => "moto",
            Self::Azurite => "azurite",
            Self::Google => "google",
        }
    }

    /// The scheme of its URLs.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::SeaweedFs | Self::Moto => "s3",
            Self::Azurite => "az",
            Self::Google => "gs",
        }
    }

    pub fn traits(self) -> Traits {
        match self {
            Self::SeaweedFs => S3,
            Self::Moto => Traits { has_keys: false, ..S3 },
            Self::Google => Traits { has_keys: true, ..S3 },
            Self::Azurite => Traits {
                no_key: "BlobNotFound",
                no_bucket: "ContainerNotFound",
                // Pieces come without a beginning.
                begins: ("PUT", "comp=block&"),
                piece: ("PUT", "comp=block&"),
                has_keys: true,
            },
        }
    }

    /// The program that it is.
    ///
    /// # Errors
    /// It is not installed here; says what installs it.
    pub fn possible(self) -> Result<PathBuf, String> {
        match self {
            Self::SeaweedFs => seaweedfs::possible(),
            Self::Moto | Self::Google => moto::possible(),
            Self::Azurite => azurite::possible(),
        }
    }

    /// Starts one on free ports of `host` and waits until it answers.
    pub fn start(self, host: &str) -> BucketServer {
        let program = self.possible().unwrap_or_else(|why| panic!("{why}"));
        match self {
            Self::SeaweedFs => seaweedfs::start(&program, host),
            Self::Moto => moto::start(&program, host),
            Self::Azurite => azurite::start(&program, host),
            Self::Google => google::start(&program, host),
        }
    }

    /// The environment of a process that uses this endpoint (`http://HOST:PORT`), and nothing of the machine's own.
    pub fn environment(self, endpoint: &str, who: Who) -> Vec<(&'static str, String)> {
        match self {
            Self::SeaweedFs | Self::Moto => s3_environment(endpoint, seaweedfs::keys(who)),
            Self::Azurite => azurite::environment(endpoint, who),
            Self::Google => google::environment(endpoint, who),
        }
    }
}

/// The environment of a process that uses this S3 endpoint with these keys, and nothing of the machine's own.
pub fn s3_environment(endpoint: &str, (id, secret): (&str, &str)) -> Vec<(&'static str, String)> {
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

/// A server. It ends with the thread that started it.
pub struct BucketServer {
    kind: Kind,
    address: SocketAddr,
    process: Process,
    /// What goes with it, once its process has ended.
    parts: Vec<Box<dyn Send + Sync>>,
}

impl BucketServer {
    /// Waits until the process answers at `address`.
    fn of(kind: Kind, mut process: Process, address: SocketAddr) -> Self {
        until("the server of buckets answers", || {
            if process.running().is_err() {
                panic!("{} ended: {}", kind.name(), process.output().err());
            }
            std::net::TcpStream::connect(address).map(drop).map_err(|error| error.to_string())
        });
        Self { kind, address, parts: Vec::new(), process }
    }

    fn with(mut self, part: impl Send + Sync + 'static) -> Self {
        self.parts.push(Box::new(part));
        self
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes a bucket; one that is there already stays. SeaweedFS makes it with the first object of an administrator.
    pub fn make_bucket(&self, bucket: &str) {
        let answer = match self.kind {
            Kind::SeaweedFs => return,
            Kind::Moto | Kind::Google => put(self.address, &format!("/{bucket}")),
            Kind::Azurite => put(self.address, &azurite::container(bucket)),
        };
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(["200", "201", "409"].contains(&status), "{bucket} cannot be made: {answer}");
    }
}

impl Drop for BucketServer {
    fn drop(&mut self) {
        if self.process.running().is_ok() {
            self.process.signal(nix::sys::signal::Signal::SIGKILL);
        }
    }
}

/// A PUT without a body; returns the answer.
fn put(address: SocketAddr, path: &str) -> String {
    use std::io::{Read as _, Write as _};
    let ask = || {
        let mut stream = std::net::TcpStream::connect(address)?;
        let head = format!(
            "PUT {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    ask().expect("the server answers")
}

/// `count` free ports, all different.
fn free_ports(host: &str, count: usize) -> Vec<u16> {
    let listen = |_| std::net::TcpListener::bind((host, 0)).expect("there is a free port");
    // All at once, so that they differ.
    let listeners: Vec<_> = (0..count).map(listen).collect();
    listeners.iter().map(|listener| listener.local_addr().expect("it has one").port()).collect()
}
