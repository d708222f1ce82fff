//! The leaves of an LMDB file's tree in key order, which locate each record.

use serde::{Deserialize, Serialize};

use super::pages::{Node, Page, Pages, Value, other_lmdb};
use crate::DataError;
use crate::error::FETCH;
use crate::index::{Meter, OnProgress};

/// Deeper than any tree that fits on a disk: a deeper one has a cycle.
const DEPTH_MAX: usize = 32;
/// The most names of databases in a message.
const NAMES_SHOWN_MAX: usize = 5;
/// Records between two progress reports.
const PROGRESS_RECORDS: u64 = 100_000;

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Leaves {
    /// First record and page number of each leaf, in order.
    leaves: Vec<(u64, u64)>,
    records: u64,
    fingerprint: [u8; 32],
}

/// A branch on the path from the root to the current page.
struct Branch {
    bytes: Vec<u8>,
    number: u64,
    next_child: usize,
}

impl Leaves {
    /// Walks the tree. Reads keys and lengths, but not the pages of long values.
    pub(super) fn find(pages: &Pages, on_progress: OnProgress<'_>) -> Result<Self, DataError> {
        let entries = pages.main_tree().entries;
        let damaged = |page: u64, reason: String| damaged(pages, page, &reason);
        let mut found = Self::default();
        let mut hasher = blake3::Hasher::new();
        hasher.update(super::KIND.as_bytes());
        let mut meter = Meter::new(on_progress, "records", Some(entries), PROGRESS_RECORDS);
        let mut path: Vec<Branch> = Vec::new();
        let mut next = pages.main_tree().root;
        let mut pages_left = pages.count();
        while let Some(number) = next {
            let here = |reason| damaged(number, reason);
            pages_left = pages_left.checked_sub(1).ok_or_else(|| here("it was met before".to_owned()))?;
            let mut bytes = vec![0; pages.page_bytes()];
            pages.read_page(number, &mut bytes).map_err(here)?;
            let page = Page::parse(&bytes).map_err(here)?;
            if page.is_leaf() {
                refuse_named_databases(pages, page)?;
                found.add_leaf(pages, number, page, &mut hasher).map_err(here)?;
                meter.done(found.records);
                if found.records > entries {
                    return Err(here(format!("the tree has more than its {entries} records")));
                }
            } else if path.len() == DEPTH_MAX {
                return Err(here(format!("it lies deeper than {DEPTH_MAX} pages")));
            } else {
                path.push(Branch { bytes, number, next_child: 0 });
            }
            next = next_page(&mut path).map_err(|(page, reason)| damaged(page, reason))?;
        }
        if found.records != entries {
            let reason = format!("the tree has {} records and says that it has {entries}", found.records);
            return Err(damaged(0, reason));
        }
        let changing = |reason: String| DataError::changing(pages.path().display(), &reason);
        pages.check_unchanged().map_err(changing)?;
        found.fingerprint = *hasher.finalize().as_bytes();
        Ok(found)
    }

    fn add_leaf(
        &mut self,
        pages: &Pages,
        number: u64,
        page: Page<'_>,
        hasher: &mut blake3::Hasher,
    ) -> Result<(), String> {
        if page.nodes() > 0 {
            self.leaves.push((self.records, number));
        }
        for index in 0..page.nodes() {
            let node = page.node(index)?;
            let len_bytes = match node.value {
                Value::Here(value) => value.len() as u64,
                Value::Tree => return Err(format!("its node {index} holds no value")),
                Value::Pages { first, len_bytes } if pages.holds(first, len_bytes) => len_bytes,
                Value::Pages { first, .. } => {
                    return Err(format!(
                        "the value of its node {index} begins on page {first} and ends behind the end of the file, \
                         which is cut off"
                    ));
                }
            };
            hasher.update(&(node.key.len() as u64).to_le_bytes()).update(node.key);
            hasher.update(&len_bytes.to_le_bytes());
        }
        self.records += page.nodes() as u64;
        Ok(())
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    pub(super) fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// The page number and the node of a record below [`records`](Self::records).
    pub(super) fn locate(&self, record: u64) -> (u64, usize) {
        let (first, page) = self.leaves[self.leaves.partition_point(|(first, _)| *first <= record) - 1];
        (page, (record - first) as usize)
    }
}

/// Refuses a file that keeps its records in named databases, and names them.
fn refuse_named_databases(pages: &Pages, page: Page<'_>) -> Result<(), DataError> {
    let name = |index| match page.node(index) {
        Ok(Node { key, value: Value::Tree }) => Some(format!("`{}`", super::shown(key))),
        // `add_leaf` reports a damaged node.
        Ok(_) | Err(_) => None,
    };
    let names: Vec<String> = (0..page.nodes()).filter_map(name).take(NAMES_SHOWN_MAX).collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(other_lmdb(
        pages.path(),
        &format!("keeps records in named databases ({})", names.join(", ")),
        "Copy the one with the pictures into the main database of a new LMDB file, or write its pictures into a folder.",
    ))
}

fn damaged(pages: &Pages, page: u64, reason: &str) -> DataError {
    let what = format!("the LMDB file is damaged: page {page}: {reason}. {FETCH}");
    DataError::unusable(pages.path().display(), what)
}

/// The next page of a depth-first walk; none at the end of the tree.
fn next_page(path: &mut Vec<Branch>) -> Result<Option<u64>, (u64, String)> {
    while let Some(Branch { bytes, number, next_child }) = path.last_mut() {
        let page = Page::parse(bytes).map_err(|reason| (*number, reason))?;
        if *next_child < page.nodes() {
            *next_child += 1;
            return page.child(*next_child - 1).map(Some).map_err(|reason| (*number, reason));
        }
        path.pop();
    }
    Ok(None)
}
