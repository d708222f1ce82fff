//! One live coordinator for a run directory, and moving an old run aside.
//!
//! The lock is the operating system's, on an open file: it ends with the process that holds it, however that
//! ends. The file's text only says who that is.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Seek as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::store::make_durably;

const FILE: &str = "coordinator.lock";

/// Enough for the text that [`RunLock`] writes; more is not read from a file that anybody may have written.
const TEXT_MAX_BYTES: u64 = 4096;

/// A tool that looks whether a directory is held ([`Holder::of`]) has the lock for a moment. A coordinator that starts in
/// that moment must not be refused for it.
const LOOK_TAKES_MAX: Duration = Duration::from_millis(100);
/// Between two tries.
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// Who holds a run directory, as far as its lock file says: it may be read just when it is being written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// Process id on its host.
    pub pid: Option<u32>,
    /// The host's name.
    pub host: Option<String>,
    /// Where the coordinator listens, once it does.
    pub address: Option<String>,
}

/// A run directory held by this process. Dropping it lets go.
#[derive(Debug)]
pub struct RunLock {
    dir: PathBuf,
    file: File,
}

impl RunLock {
    /// Takes the run directory, which is made if it is not there.
    ///
    /// # Errors
    /// [`Error::InUse`] with its holder, if another process, or another lock of this one, has it.
    pub fn acquire(dir: &Path) -> Result<Self, Error> {
        let wrong = cannot_lock(dir);
        make_durably(dir).map_err(wrong)?;
        let dir = dir.canonicalize().map_err(wrong)?;
        let (path, wrong) = (dir.join(FILE), cannot_lock(&dir));
        // Not truncated: until the lock is taken, the text is another process's. No link: the text of the file behind it
        // would be lost.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(nix::libc::O_NOFOLLOW)
            .open(&path);
        let file = file.map_err(wrong)?;
        let begin = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if begin.elapsed() < LOOK_TAKES_MAX => {
                    std::thread::sleep(LOOK_PAUSE);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::InUse { holder: Holder::read(&file), path });
                }
                Err(TryLockError::Error(source)) => return Err(wrong(source)),
            }
        }
        let mut lock = Self { dir, file };
        lock.write_holder(None)?;
        Ok(lock)
    }

    /// Writes the address where the coordinator listens into the lock file, for tools and for messages of coordinators that are refused.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn describe(&mut self, address: &str) -> Result<(), Error> {
        self.write_holder(Some(address.to_owned()))
    }

    /// The run directory, as an absolute path without links.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Moves the run in this directory aside with [`move_aside`], and holds the new, empty directory. Returns
    /// where the old run is now; none if there was nothing but the lock.
    ///
    /// # Errors
    /// A directory that cannot be moved; [`Error::InUse`] if another process took the new directory first.
    pub fn archive(self) -> Result<(Option<PathBuf>, Self), Error> {
        let wrong = cannot_lock(&self.dir);
        let mut names = fs::read_dir(&self.dir).map_err(wrong)?.map(|entry| entry.map(|e| e.file_name()));
        if names.all(|name| name.is_ok_and(|name| name == FILE)) {
            return Ok((None, self));
        }
        // Held until the new directory is: the lock went along with the old one.
        let moved = move_aside(&self.dir)?;
        let lock = Self::acquire(&self.dir)?;
        Ok((moved, lock))
    }

    fn write_holder(&mut self, address: Option<String>) -> Result<(), Error> {
        let holder = Holder { pid: Some(std::process::id()), host: host_name(), address };
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(holder.to_text().as_bytes())
        };
        write(&mut self.file).map_err(cannot_lock(&self.dir))
    }
}

/// This host's name; none where the system has none, or one that is not UTF-8.
#[must_use]
pub fn host_name() -> Option<String> {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok())
}

impl Holder {
    /// The holder of a run directory at this moment; none if it is free, or there is no such run.
    ///
    /// # Errors
    /// A lock file that cannot be read.
    pub fn of(dir: &Path) -> Result<Option<Self>, Error> {
        let wrong = cannot_lock(dir);
        let file = match File::open(dir.join(FILE)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(wrong(source)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(Self::read(&file))),
            Err(TryLockError::Error(source)) => Err(wrong(source)),
        }
    }

    /// Where a tool on `this_host` reaches the coordinator, `host:port`; none before it listens. On another host a loopback
    /// address is of no use, and the holder's name takes its place.
    #[must_use]
    pub fn reached_at(&self, this_host: Option<&str>) -> Option<String> {
        let address = self.address.as_ref()?;
        let loopback = address.parse::<SocketAddr>().ok().filter(|address| address.ip().is_loopback());
        match (loopback, &self.host) {
            (Some(loopback), Some(host)) if Some(host.as_str()) != this_host => {
                Some(format!("{host}:{}", loopback.port()))
            }
            _ => Some(address.clone()),
        }
    }

    /// `pid 7`, `host box`, `address 127.0.0.1:7000`: a line each.
    fn to_text(&self) -> String {
        let pid = self.pid.map(|pid| format!("pid {pid}\n"));
        let host = self.host.as_ref().map(|host| format!("host {host}\n"));
        let address = self.address.as_ref().map(|address| format!("address {address}\n"));
        [pid, host, address].into_iter().flatten().collect()
    }

    fn from_text(text: &str) -> Self {
        let value = |key| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        Self {
            pid: value("pid").and_then(|pid| pid.parse().ok()),
            host: value("host").map(str::to_owned),
            address: value("address").map(str::to_owned),
        }
    }

    fn read(file: &File) -> Self {
        let mut text = Vec::new();
        // Whatever could be read is better than nothing in a message.
        let _ = file.take(TEXT_MAX_BYTES).read_to_end(&mut text);
        Self::from_text(&String::from_utf8_lossy(&text))
    }
}

/// A run directory that the system refuses.
fn cannot_lock(dir: &Path) -> impl Fn(io::Error) -> Error + Copy {
    move |source| Error::Disk {
        action: format!("lock `{}`", dir.join(FILE).display()),
        source,
        advice: "Check the directory and its permissions.",
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "process {pid}")?,
            None => write!(f, "a process that is starting")?,
        }
        if let Some(host) = &self.host {
            write!(f, " on {host}")?;
        }
        match &self.address {
            Some(address) => write!(f, ", listening on {address}"),
            None => Ok(()),
        }
    }
}

/// Renames a directory to `<dir>.old-1`, or the next free number, and makes an empty one in its place.
/// Nothing is deleted and nothing overwritten. Of a link, what it leads to is renamed where it lies. Returns the new path; none if the directory is missing or empty.
///
/// # Errors
/// [`Error::Disk`]: a mount point, or a directory above that cannot be written.
pub fn move_aside(dir: &Path) -> Result<Option<PathBuf>, Error> {
    let wrong = |to: &Path, source| Error::Disk {
        action: format!("move `{}` aside to `{}`", dir.display(), to.display()),
        source,
        advice: "The directory above must be writable and on the same file system; or choose another --run-dir.",
    };
    let dir = match dir.canonicalize() {
        Ok(dir) => dir,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(wrong(dir, source)),
    };
    if fs::read_dir(&dir).map_err(|source| wrong(&dir, source))?.next().is_none() {
        return Ok(None);
    }
    let to = claim_name(&dir).map_err(|(to, source)| wrong(&to, source))?;
    // A rename takes the place of an empty directory and of nothing else.
    if let Err(source) = fs::rename(&dir, &to) {
        // Ours, and removed only while it is still empty.
        let _ = fs::remove_dir(&to);
        return Err(wrong(&to, source));
    }
    make_durably(&dir).map_err(|source| wrong(&to, source))?;
    Ok(Some(to))
}

/// An empty directory beside `dir` that was not there before.
fn claim_name(dir: &Path) -> Result<PathBuf, (PathBuf, io::Error)> {
    let Some(name) = dir.file_name() else {
        return Err((
            dir.to_owned(),
            io::Error::new(ErrorKind::InvalidInput, "it has no directory above it"),
        ));
    };
    for number in 1_u32.. {
        let mut name = name.to_owned();
        name.push(format!(".old-{number}"));
        let to = dir.with_file_name(name);
        match fs::create_dir(&to) {
            Ok(()) => return Ok(to),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(source) => return Err((to, source)),
        }
    }
    Err((dir.to_owned(), io::Error::new(ErrorKind::AlreadyExists, "all numbers are taken")))
}
