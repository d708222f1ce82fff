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

/// A walk through the tree, depth first.
struct Walk<'a> {
    pages: &'a Pages,
    /// Pages that were not met yet.
    pages_left: u64,
    /// Of the record before, since a tree is in the order of its keys. A leaf that is met twice is not.
    last_key: Option<Vec<u8>>,
    hasher: blake3::Hasher,
    meter: Meter<'a>,
    found: Leaves,
}

impl Leaves {
    /// Walks the tree. Reads keys and lengths, but not the pages of long values.
    pub(super) fn find(pages: &Pages, on_progress: OnProgress<'_>) -> Result<Self, DataError> {
        let entries = pages.main_tree().entries;
        let meter = Meter::new(on_progress, "records", Some(entries), PROGRESS_RECORDS);
        let (hasher, found) = (blake3::Hasher::new(), Self::default());
        let mut walk = Walk { pages, pages_left: pages.count(), last_key: None, hasher, meter, found };
        walk.hasher.update(super::KIND.as_bytes());
        if let Some(root) = pages.main_tree().root {
            walk.page(root, 0)?;
        }
        let Walk { hasher, mut found, .. } = walk;
        if found.records != entries {
            let reason = format!("the tree has {} records and says that it has {entries}", found.records);
            return Err(damaged(pages, 0, &reason));
        }
        let changing = |reason: String| DataError::changing(pages.path().display(), &reason);
        pages.check_unchanged().map_err(changing)?;
        found.fingerprint = *hasher.finalize().as_bytes();
        Ok(found)
    }

    /// Whether [`locate`](Self::locate) finds a leaf for each record. A file that somebody else wrote may say anything.
    pub(super) fn is_whole(&self) -> bool {
        let firsts = self.leaves.iter().map(|(first, _)| *first);
        firsts.clone().next().unwrap_or(0) == 0
            && firsts.is_sorted_by(|a, b| a < b)
            && self.leaves.last().is_none_or(|(first, _)| *first < self.records)
            && (self.records == 0) == self.leaves.is_empty()
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

impl Walk<'_> {
    fn page(&mut self, number: u64, depth: usize) -> Result<(), DataError> {
        let pages = self.pages;
        let here = |reason: String| damaged(pages, number, &reason);
        let entries = pages.main_tree().entries;
        self.pages_left =
            self.pages_left.checked_sub(1).ok_or_else(|| here("it was met before".to_owned()))?;
        let mut bytes = vec![0; pages.page_bytes()];
        pages.read_page(number, &mut bytes).map_err(here)?;
        let page = Page::parse(&bytes).map_err(here)?;
        if page.is_leaf() {
            refuse_named_databases(pages, page)?;
            self.leaf(number, page).map_err(here)?;
            self.meter.done(self.found.records);
            return match self.found.records > entries {
                true => Err(here(format!("the tree has more than its {entries} records"))),
                false => Ok(()),
            };
        }
        if depth == DEPTH_MAX {
            return Err(here(format!("it lies deeper than {DEPTH_MAX} pages")));
        }
        (0..page.nodes()).try_for_each(|index| self.page(page.child(index).map_err(here)?, depth + 1))
    }

    fn leaf(&mut self, number: u64, page: Page<'_>) -> Result<(), String> {
        if page.nodes() > 0 {
            self.found.leaves.push((self.found.records, number));
        }
        for index in 0..page.nodes() {
            let node = page.node(index)?;
            let len_bytes = match node.value {
                Value::Here(value) => value.len() as u64,
                Value::Tree => return Err(format!("its node {index} holds no value")),
                Value::Pages { first, len_bytes } if self.pages.holds(first, len_bytes) => len_bytes,
                Value::Pages { first, .. } => {
                    return Err(format!(
                        "the value of its node {index} begins on page {first} and ends behind the end of the file, \
                         which is cut off"
                    ));
                }
            };
            if self.last_key.as_deref().is_some_and(|last| last >= node.key) {
                return Err(format!("the key of its node {index} is not behind that of the record before"));
            }
            let last_key = self.last_key.get_or_insert_default();
            last_key.clear();
            last_key.extend_from_slice(node.key);
            self.hasher.update(&(node.key.len() as u64).to_le_bytes()).update(node.key);
            self.hasher.update(&len_bytes.to_le_bytes());
        }
        self.found.records += page.nodes() as u64;
        Ok(())
    }
}

/// Refuses a file that keeps its records in named databases, and names them.
fn refuse_named_databases(pages: &Pages, page: Page<'_>) -> Result<(), DataError> {
    let name = |index| match page.node(index) {
        Ok(Node { key, value: Value::Tree }) => Some(format!("`{}`", super::shown(key))),
        // `Walk::leaf` reports a damaged node.
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
