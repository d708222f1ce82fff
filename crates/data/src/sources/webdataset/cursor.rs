//! Buffered reading and seeking in a blob.

use std::cell::Cell;
use std::io::{self, Read, Seek, SeekFrom};
use std::rc::Rc;

use super::blobs::{Blob, ReadAt};

/// The most bytes that the headers of one member take: a path has at most 4 KiB on Linux, and PAX headers name times and
/// users too.
const HEADERS_BYTES_MAX: u64 = 1 << 20;

/// What may still be read of a member: its headers, and the few bytes of its content that a scan looks at. The tar crate
/// reads a long name and a PAX header as a whole into memory, and a sparse file has one of any length for nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Allowance(Rc<Cell<u64>>);

impl Allowance {
    /// To be called before each member.
    pub(super) fn renew(&self) {
        self.0.set(HEADERS_BYTES_MAX);
    }
}

/// A reader with a buffer of the size that is cheap to read ahead.
pub(super) struct Cursor<'a> {
    blob: &'a dyn Blob,
    read_at: ReadAt<'a>,
    /// The byte of the blob that is position 0.
    start: u64,
    at: u64,
    ahead: Vec<u8>,
    /// The byte of the blob where `ahead` begins.
    ahead_at: u64,
    allowance: Allowance,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(blob: &'a dyn Blob, read_at: ReadAt<'a>) -> Self {
        let allowance = Allowance::default();
        allowance.renew();
        Self { blob, read_at, start: 0, at: 0, ahead: Vec::new(), ahead_at: 0, allowance }
    }

    pub(super) fn allowance(&self) -> Allowance {
        self.allowance.clone()
    }

    /// Moves to byte `start` of the blob, which becomes position 0.
    pub(super) fn start_at(&mut self, start: u64) {
        (self.start, self.at) = (start, start);
    }
}

impl Read for Cursor<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = self.blob.len().saturating_sub(self.at);
        if left == 0 || out.is_empty() {
            return Ok(0);
        }
        let allowed = self.allowance.0.get();
        if allowed == 0 {
            return Err(io::Error::other("the headers of a member have more than 2^20 bytes"));
        }
        if !(self.ahead_at..self.ahead_at + self.ahead.len() as u64).contains(&self.at) {
            self.ahead.resize(left.min(self.blob.read_ahead_bytes()) as usize, 0);
            self.ahead_at = self.at;
            let read = (self.read_at)(self.at, &mut self.ahead);
            read.inspect_err(|_| self.ahead.clear()).map_err(io::Error::other)?;
        }
        let there = &self.ahead[(self.at - self.ahead_at) as usize..];
        let len = there.len().min(out.len()).min(usize::try_from(allowed).unwrap_or(usize::MAX));
        out[..len].copy_from_slice(&there[..len]);
        self.allowance.0.set(allowed - len as u64);
        self.at += len as u64;
        Ok(len)
    }
}

impl Seek for Cursor<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (base, by) = match to {
            SeekFrom::Start(at) => (self.start.saturating_add(at), 0),
            SeekFrom::Current(by) => (self.at, by),
            SeekFrom::End(by) => (self.blob.len(), by),
        };
        let at = base.checked_add_signed(by).filter(|at| *at >= self.start);
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at - self.start)
    }
}
