//! Decides which files of a folder are records, and why the others are not.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use walkdir::DirEntry;

use crate::decode::Format;
use crate::file_kind::{FileKind, OTHER_EXTENSIONS};
use crate::left_out::Reason;

/// Extensions of pictures.
const EXTENSIONS: [&str; 6] = ["jpg", "jpeg", "jpe", "jfif", "png", "webp"];
/// The first bytes of a file that suffice to classify it.
const BEGIN_BYTES: usize = 64;

pub(super) fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}

/// Why an entry is left out by its name; folders are then not entered.
pub(super) fn reason_by_name(entry: &DirEntry) -> Option<Reason> {
    if entry.depth() == 0 {
        return None;
    }
    if is_hidden(entry.file_name()) {
        let is_file = entry.file_type().is_file();
        let is_picture = is_file && begin(entry.path()).is_ok_and(|begin| Format::of(&begin).is_some());
        return Some(if is_picture { Reason::HiddenPicture } else { Reason::Hidden });
    }
    // As mkfs creates it: owned by root, without permissions for others. A class may have the same name.
    let is_lost = entry.depth() == 1 && entry.file_name() == "lost+found" && entry.file_type().is_dir();
    let is_roots = |meta: fs::Metadata| meta.uid() == 0 && meta.mode() & 0o077 == 0;
    (is_lost && entry.metadata().is_ok_and(is_roots)).then_some(Reason::LostAndFound)
}

/// Why a file is no record; none for a record.
pub(super) fn reason_by_content(
    entry: &DirEntry,
    meta: &fs::Metadata,
    user: Option<u32>,
) -> io::Result<Option<Reason>> {
    if !meta.is_file() {
        return Ok(Some(Reason::Special));
    }
    let extension = entry.path().extension().and_then(OsStr::to_str);
    let is_called = |known: &str| extension.is_some_and(|found| known.eq_ignore_ascii_case(found));
    let has_name = EXTENSIONS.iter().any(|known| is_called(known));
    // Opening millions of files takes longer than listing them.
    if has_name && is_surely_readable(meta, user) {
        return Ok(None);
    }
    let begin = match begin(entry.path()) {
        Ok(begin) => begin,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Ok(Some(Reason::UnreadableFile));
        }
        Err(error) => return Err(error),
    };
    Ok(match FileKind::of(&begin) {
        _ if has_name => None,
        FileKind::Picture(_) => None,
        FileKind::Empty => Some(Reason::EmptyFile),
        FileKind::OtherPicture(_) => Some(Reason::OtherFormat),
        _ if OTHER_EXTENSIONS.iter().any(|(known, _)| is_called(known)) => Some(Reason::OtherFormat),
        _ => Some(Reason::NoPicture),
    })
}

/// Whether the file's mode permits `user` to read it, as its owner or as any user.
fn is_surely_readable(meta: &fs::Metadata, user: Option<u32>) -> bool {
    meta.mode() & 0o444 == 0o444 || (Some(meta.uid()) == user && meta.mode() & 0o400 != 0)
}

/// The user of this process; none if /proc is not mounted.
pub(super) fn this_user() -> Option<u32> {
    fs::metadata("/proc/self").ok().map(|meta| meta.uid())
}

fn begin(path: &Path) -> io::Result<Vec<u8>> {
    let mut begin = Vec::with_capacity(BEGIN_BYTES);
    File::open(path)?.take(BEGIN_BYTES as u64).read_to_end(&mut begin)?;
    Ok(begin)
}
