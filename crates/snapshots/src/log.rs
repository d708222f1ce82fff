//! A sequence of objects of which each is created once, beside the snapshots: of two writers, one gets the next number.
//!
//! ```text
//! <to>/journal/pieces/00000000000000000017   piece 17
//! <to>/journal/bases/00000000000000000012    all that the pieces up to 12 say, as one object
//! ```

use bytes::Bytes;
use object_store::path::Path;

use crate::error::Error;
use crate::layout;
use crate::store::{Put, Store};

const PIECES: &str = "pieces";
const BASES: &str = "bases";

/// The sequence in one store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Log {
    store: Store,
}

/// Which objects there are, by number, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The pieces; those that a base stands for may be missing.
    pub pieces: Vec<u64>,
    /// The bases.
    pub bases: Vec<u64>,
}

impl Log {
    /// The sequence in `store`, whether anything is in it or not.
    #[must_use]
    pub fn of(store: Store) -> Self {
        Self { store }
    }

    /// Where it is, as a person finds it.
    #[must_use]
    pub fn place(&self) -> String {
        self.store.show(&self.folder())
    }

    /// What is there.
    ///
    /// # Errors
    /// A store that does not answer.
    pub async fn list(&self) -> Result<Listing, Error> {
        let mut listing = Listing::default();
        for object in self.store.list_below(&self.folder()).await? {
            let number = object.location.filename().and_then(number);
            let Some(number) = number else { continue };
            if object.location == self.piece_path(number) {
                listing.pieces.push(number);
            } else if object.location == self.base_path(number) {
                listing.bases.push(number);
            }
        }
        listing.pieces.sort_unstable();
        listing.bases.sort_unstable();
        Ok(listing)
    }

    /// Creates piece `number`. Returns whether it did: another writer may have created it, or this one, where the answer
    /// to an earlier call was lost.
    ///
    /// # Errors
    /// A store that cannot be written.
    pub async fn create(&self, number: u64, bytes: Bytes) -> Result<bool, Error> {
        Ok(matches!(self.store.create(&self.piece_path(number), bytes).await?, Put::Created))
    }

    /// The bytes of a piece; none if it is not there.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub async fn piece(&self, number: u64) -> Result<Option<Bytes>, Error> {
        self.read(self.piece_path(number)).await
    }

    /// Deletes a piece.
    ///
    /// # Errors
    /// A store that cannot be written.
    pub async fn delete_piece(&self, number: u64) -> Result<(), Error> {
        self.store.delete(&self.piece_path(number)).await
    }

    /// Writes a base, or writes it again.
    ///
    /// # Errors
    /// A store that cannot be written.
    pub async fn write_base(&self, number: u64, bytes: Bytes) -> Result<(), Error> {
        self.store.overwrite(&self.base_path(number), bytes).await
    }

    /// The bytes of a base; none if it is not there.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub async fn base(&self, number: u64) -> Result<Option<Bytes>, Error> {
        self.read(self.base_path(number)).await
    }

    /// Deletes a base.
    ///
    /// # Errors
    /// A store that cannot be written.
    pub async fn delete_base(&self, number: u64) -> Result<(), Error> {
        self.store.delete(&self.base_path(number)).await
    }

    async fn read(&self, path: Path) -> Result<Option<Bytes>, Error> {
        match self.store.get(&path).await? {
            Some(object) => Ok(Some(self.store.read(&path, object).await?)),
            None => Ok(None),
        }
    }

    fn folder(&self) -> Path {
        self.store.prefix.clone().join(layout::JOURNAL)
    }

    fn piece_path(&self, number: u64) -> Path {
        self.folder().join(PIECES).join(name(number))
    }

    fn base_path(&self, number: u64) -> Path {
        self.folder().join(BASES).join(name(number))
    }
}

/// Twenty digits, so that names sort as numbers.
fn name(number: u64) -> String {
    format!("{number:020}")
}

/// The number of an object's name, or none for a name that this crate does not write.
fn number(file: &str) -> Option<u64> {
    file.parse().ok().filter(|number| name(*number) == file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(dir: &std::path::Path) -> Log {
        Log::of(Store::open(dir.to_str().expect("it is UTF-8")).expect("a directory is made"))
    }

    #[tokio::test]
    async fn a_number_is_given_once() {
        let dir = tempfile::tempdir().expect("there is room");
        let (one, other) = (log(dir.path()), log(dir.path()));
        assert!(one.create(7, "mine".into()).await.expect("it is written"));
        assert!(!other.create(7, "theirs".into()).await.expect("it answers"));
        assert_eq!(other.piece(7).await.expect("it is read").as_deref(), Some(&b"mine"[..]));
        assert_eq!(other.piece(8).await.expect("it answers"), None);
    }

    /// As who moves old pieces to another disk does.
    #[tokio::test]
    async fn nothing_behind_a_link_is_deleted() {
        let dir = tempfile::tempdir().expect("there is room");
        let (run, archive) = (dir.path().join("run"), dir.path().join("archive"));
        let log = log(&run);
        assert!(log.create(7, "mine".into()).await.expect("it is written"));
        log.write_base(7, "all".into()).await.expect("it is written");
        std::fs::rename(run.join("journal"), &archive).expect("it is on the same disk");
        std::os::unix::fs::symlink(&archive, run.join("journal")).expect("there is room");
        for refused in [log.delete_piece(7).await, log.delete_base(7).await] {
            let error = refused.expect_err("it lies behind a link").to_string();
            assert!(error.contains("lies behind the link"), "{error}");
        }
        assert_eq!(log.piece(7).await.expect("it is read").as_deref(), Some(&b"mine"[..]));
        assert_eq!(log.base(7).await.expect("it is read").as_deref(), Some(&b"all"[..]));
    }

    #[tokio::test]
    async fn pieces_and_bases_are_listed_by_number_and_nothing_else_is() {
        let dir = tempfile::tempdir().expect("there is room");
        let log = log(dir.path());
        assert_eq!(log.list().await.expect("it answers"), Listing::default());
        for number in [10, 9, 100] {
            assert!(log.create(number, "a piece".into()).await.expect("it is written"));
        }
        log.write_base(9, "a base".into()).await.expect("it is written");
        log.write_base(9, "the same base".into()).await.expect("it is written again");
        std::fs::write(dir.path().join("journal/pieces/readme"), "foreign").expect("there is room");
        let found = log.list().await.expect("it answers");
        assert_eq!(found, Listing { pieces: vec![9, 10, 100], bases: vec![9] });
        assert_eq!(log.base(9).await.expect("it is read").as_deref(), Some(&b"the same base"[..]));
        log.delete_piece(9).await.expect("it is there");
        log.delete_base(9).await.expect("it is there");
        assert_eq!(log.list().await.expect("it answers"), Listing { pieces: vec![10, 100], bases: vec![] });
    }
}
