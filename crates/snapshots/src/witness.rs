//! Whether two processes see the same store: each writes what the other one must find.
//!
//! A path says nothing: `/data/run` may be another disk on every host, and a bucket may be open to one of two. The
//! coordinator posts a secret, a worker reads it and answers with an object that holds it, and the coordinator reads that.

use bytes::Bytes;
use object_store::path::Path;

use crate::error::Error;
use crate::store::Store;

/// The folder of what is written to be seen. It goes with [`Store::remove_witness`].
const WITNESS: &str = "witness";
/// What the coordinator posts.
const POSTED: &str = "coordinator";
/// Where workers answer.
const ANSWERS: &str = "answers";
/// A secret is 64 bytes; no more than this is read of what lies there.
const MAX_BYTES: u64 = 1024;

impl Store {
    /// Posts `secret`, in place of an earlier one.
    ///
    /// # Errors
    /// A store that cannot be written.
    pub async fn post_witness(&self, secret: &str) -> Result<(), Error> {
        self.overwrite(&self.posted(), Bytes::copy_from_slice(secret.as_bytes())).await
    }

    /// Reads the secret that was posted and answers it with an object `name`. Returns the secret; none if this store has
    /// none, and so is another one.
    ///
    /// # Errors
    /// A store that cannot be read or written.
    pub async fn answer_witness(&self, name: &str) -> Result<Option<String>, Error> {
        let Some(secret) = self.witness(&self.posted()).await? else { return Ok(None) };
        let answer = Bytes::copy_from_slice(secret.as_bytes());
        self.overwrite_fleeting(&self.answer(name), answer).await?;
        Ok(Some(secret))
    }

    /// Takes an answer out of the store: what it holds; none if it is not there.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub async fn take_answer(&self, name: &str) -> Result<Option<String>, Error> {
        let answer = self.witness(&self.answer(name)).await?;
        if answer.is_some() {
            self.delete(&self.answer(name)).await?;
        }
        Ok(answer)
    }

    /// Removes what was posted, and answers that were not taken.
    ///
    /// # Errors
    /// A store that does not answer.
    pub async fn remove_witness(&self) -> Result<(), Error> {
        for object in self.list_below(&self.prefix.clone().join(WITNESS)).await? {
            self.delete(&object.location).await?;
        }
        Ok(())
    }

    async fn witness(&self, path: &Path) -> Result<Option<String>, Error> {
        match self.get(path).await? {
            Some(object) if object.meta.size <= MAX_BYTES => {
                let bytes = self.read(path, object).await?;
                Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
            }
            _ => Ok(None),
        }
    }

    fn posted(&self) -> Path {
        self.prefix.clone().join(WITNESS).join(POSTED)
    }

    /// Whatever a worker names it, it lies in its folder: a name's slashes are encoded.
    fn answer(&self, name: &str) -> Path {
        self.prefix.clone().join(WITNESS).join(ANSWERS).join(name)
    }
}
