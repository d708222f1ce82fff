//! What a run and its processes leave behind, and what they hold while they live.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::binaries::root;
use crate::lab::{Lab, TEMPORARY};
use crate::wait::until;

/// The resources that a process holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Sockets, listening and connected.
    pub sockets: usize,
    /// Files, pipes and everything else that is open.
    pub others: usize,
    pub threads: usize,
    /// Memory shared by name, and temporary files, open or mapped.
    pub shared: BTreeSet<PathBuf>,
}

pub fn held_by(process: u32) -> std::io::Result<Held> {
    let proc = Path::new("/proc").join(process.to_string());
    let open: Vec<PathBuf> = fs::read_dir(proc.join("fd"))?
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .collect();
    let sockets = open.iter().filter(|target| target.to_string_lossy().starts_with("socket:")).count();
    let maps = fs::read_to_string(proc.join("maps"))?;
    // `address rw-s …`: a program's own text and libraries are private mappings.
    let is_shared = |line: &&str| line.split(' ').nth(1).is_some_and(|rights| rights.ends_with('s'));
    let mapped =
        maps.lines().filter(is_shared).filter_map(|line| Some(PathBuf::from(&line[line.find('/')?..])));
    let temporary = std::env::temp_dir();
    // The checkout itself may lie among the temporary files.
    let checkout = root();
    let by_name = |path: &PathBuf| {
        path.starts_with("/dev/shm") || path.starts_with(&temporary) && !path.starts_with(checkout)
    };
    let shared = open.iter().cloned().chain(mapped).filter(by_name).collect();
    let threads = fs::read_dir(proc.join("task"))?.count();
    Ok(Held { sockets, others: open.len() - sockets, threads, shared })
}

/// The processes of this lab that live: all of them, and their children, work in its directory.
pub fn processes(lab: &Lab) -> Vec<String> {
    let place = lab.path("").canonicalize().expect("a lab has a directory");
    let ids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let here = ids.filter(|entry| fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == place));
    here.map(|entry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        format!("{}: {}", entry.file_name().display(), String::from_utf8_lossy(&line).replace('\0', " "))
    })
    .collect()
}

/// The files below a folder whose content is as asked.
pub fn files_that_say(dir: &Path, says: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => found.extend(files_that_say(&path, says)),
            false if says(&String::from_utf8_lossy(&fs::read(&path).unwrap_or_default())) => found.push(path),
            false => {}
        }
    }
    found
}

/// Files below the lab's directory that are left over: parts of files, snapshots without a manifest, temporary files, and a
/// journal that was not closed.
pub fn files(lab: &Lab) -> Vec<PathBuf> {
    let temporary = lab.path(TEMPORARY);
    let empty = |path: &Path| fs::metadata(path).is_ok_and(|file| file.len() == 0);
    let mut found = Vec::new();
    walk(&lab.path(""), &mut |path| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let staged = name.rsplit_once('#').is_some_and(|(_, n)| n.parse::<u64>().is_ok());
        // A reader of the journal, as tests are, makes an empty one.
        let open = name.ends_with("-wal") && !empty(path);
        let part = open || [".part", ".tmp", "-journal"].iter().any(|end| name.ends_with(end));
        let unfinished = path.is_dir() && name.starts_with("step-") && !path.join("manifest.json").is_file();
        if staged || part || unfinished || (path.starts_with(&temporary) && path != temporary) {
            found.push(path.to_owned());
        }
    });
    found
}

/// Waits until no process of the lab lives.
#[track_caller]
pub fn expect_no_process(lab: &Lab) {
    until("no process of the lab lives", || {
        let left = processes(lab);
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}

/// Asserts that no process of the lab lives and that no file is left over.
#[track_caller]
pub fn expect_none(lab: &Lab) {
    expect_no_process(lab);
    assert_eq!(files(lab), Vec::<PathBuf>::new(), "files that are left over");
}

fn walk(folder: &Path, look: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        look(&path);
        if path.is_dir() {
            walk(&path, look);
        }
    }
}
