//! The leaves of an LMDB file's tree, in order: where each record is.

use super::pages::{Node, Page, Pages, Value, other_lmdb};
use crate::DataError;
use crate::error::FETCH;
use crate::index::{Meter, Numbers, OnProgress};

/// Deeper than any tree that fits a disk: what goes deeper goes in circles.
const DEPTH_MAX: usize = 32;
/// Names of databases in a message.
const NAMES_SHOWN_MAX: usize = 5;
/// Records between two words on how far it has come.
const PROGRESS_RECORDS: u64 = 100_000;

/// Which page holds which records.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Leaves {
    /// First record and page of each leaf; the records rise.
    leaves: Vec<(u64, u64)>,
    records: u64,
    fingerprint: [u8; 32],
}

impl Leaves {
    /// Walks the tree, and looks at keys and lengths alone: no value's page is read.
    pub(super) fn find(pages: &Pages, on_progress: OnProgress<'_>) -> Result<Self, DataError> {
        let entries = pages.meta().entries;
        let mut found = Self::default();
        let mut hasher = blake3::Hasher::new();
        hasher.update(super::KIND.as_bytes());
        let mut meter = Meter::new(on_progress, "records", Some(entries), PROGRESS_RECORDS);
        // The branches on the way down, each with its page and the next child to take.
        let mut way: Vec<(Vec<u8>, u64, usize)> = Vec::new();
        let mut next = pages.meta().root;
        let mut pages_left = pages.count();
        while let Some(number) = next {
            let damaged = |reason| damaged(pages, number, reason);
            pages_left = pages_left.checked_sub(1).ok_or_else(|| damaged("it was met before".to_owned()))?;
            let mut bytes = vec![0; pages.page_bytes()];
            pages.read_page(number, &mut bytes).map_err(damaged)?;
            let page = Page::parse(&bytes).map_err(damaged)?;
            if page.is_leaf() {
                check_values(pages, page)?;
                found.take(pages, number, page, &mut hasher).map_err(damaged)?;
                meter.done(found.records);
                if found.records > entries {
                    return Err(damaged(format!("the tree has more than its {entries} records")));
                }
            } else {
                if way.len() == DEPTH_MAX {
                    return Err(damaged(format!("it lies deeper than {DEPTH_MAX} pages")));
                }
                way.push((bytes, number, 0));
            }
            next = next_child(&mut way).map_err(|(page, reason)| self::damaged(pages, page, reason))?;
        }
        if found.records != entries {
            let reason = format!("the tree has {} records and says that it has {entries}", found.records);
            return Err(damaged(pages, 0, reason));
        }
        let changing = |reason: String| DataError::changing(pages.path().display(), &reason);
        pages.check_unchanged().map_err(changing)?;
        found.fingerprint = *hasher.finalize().as_bytes();
        Ok(found)
    }

    fn take(
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

    /// The page on which a record is, which has to be below [`records`](Self::records), and which node of it.
    pub(super) fn place(&self, record: u64) -> (u64, usize) {
        let (first, page) = self.leaves[self.leaves.partition_point(|(first, _)| *first <= record) - 1];
        (page, (record - first) as usize)
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(48 + 16 * self.leaves.len());
        out.extend_from_slice(&self.fingerprint);
        out.extend_from_slice(&self.records.to_le_bytes());
        for (first, page) in &self.leaves {
            out.extend_from_slice(&first.to_le_bytes());
            out.extend_from_slice(&page.to_le_bytes());
        }
        out
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut numbers = Numbers(bytes);
        let mut found = Self { fingerprint: numbers.hash()?, records: numbers.u64()?, leaves: vec![] };
        found.leaves.reserve_exact(numbers.0.len() / 16);
        while !numbers.is_empty() {
            found.leaves.push((numbers.u64()?, numbers.u64()?));
        }
        let begins = found.leaves.first().map_or(found.records == 0, |(first, _)| *first == 0);
        let rises = found.leaves.windows(2).all(|pair| pair[0].0 < pair[1].0);
        (begins && rises).then_some(found)
    }
}

/// Refuses a file with databases in its main one, by their names.
fn check_values(pages: &Pages, page: Page<'_>) -> Result<(), DataError> {
    let name = |index| match page.node(index) {
        Ok(Node { key, value: Value::Tree }) => Some(format!("`{}`", super::shown(key))),
        // What is damaged is said by who takes it.
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

fn damaged(pages: &Pages, page: u64, reason: String) -> DataError {
    let what = format!("the LMDB file is damaged: page {page}: {reason}. {FETCH}");
    DataError::unusable(pages.path().display(), what)
}

/// The next page to go down to; none when the whole tree was walked.
fn next_child(way: &mut Vec<(Vec<u8>, u64, usize)>) -> Result<Option<u64>, (u64, String)> {
    while let Some((bytes, number, next)) = way.last_mut() {
        let page = Page::parse(bytes).map_err(|reason| (*number, reason))?;
        if *next < page.nodes() {
            *next += 1;
            return page.child(*next - 1).map(Some).map_err(|reason| (*number, reason));
        }
        way.pop();
    }
    Ok(None)
}
