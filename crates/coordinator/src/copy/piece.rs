//! A piece of the copy, as bytes.

use lsgan_journal::Changes;
use serde::{Deserialize, Serialize};

/// What every piece begins with; the number counts formats.
const MAGIC: &[u8] = b"lsgan journal piece 1\n";
/// Bytes of the hash of what follows it.
const HASH_BYTES: usize = 32;

/// Some rows of a journal, in the sequence of all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Piece {
    /// Whose journal it is.
    pub leader: Leader,
    /// Why it was written.
    pub kind: Kind,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub wall_ms: u64,
    /// The number of the newest entry in the journal.
    pub entries: u64,
    /// The rows, in the order in which they were written.
    pub changes: Vec<Changes>,
}

/// One journal of a run, on one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// A random text that the journal has as a fact.
    pub journal: String,
    /// The host's name.
    pub host: String,
    /// The run's directory there.
    pub run_dir: String,
}

/// Why a piece was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A coordinator begins with a journal of which nothing was copied: the piece has all of it.
    Begins,
    /// A coordinator starts: whoever led before it does so no more.
    TakesOver,
    /// The leader goes on.
    Goes,
}

impl Kind {
    /// It marks where a leader begins. It stays for ever, so that an earlier leader finds its next number taken.
    #[must_use]
    pub fn is_a_fence(self) -> bool {
        self != Self::Goes
    }
}

impl Piece {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let body = postcard::to_stdvec(self).expect("rows are numbers and texts");
        [MAGIC, blake3::hash(&body).as_bytes(), &body].concat()
    }

    /// What [`Self::encode`] made.
    ///
    /// # Errors
    /// In a few words, why these are no bytes of a piece.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let rest = bytes.strip_prefix(MAGIC).ok_or("it is no piece of a journal of this version")?;
        let (hash, body) = rest.split_at_checked(HASH_BYTES).ok_or("it is cut off")?;
        if blake3::hash(body).as_bytes() != hash {
            return Err("its bytes are not those that were written".to_owned());
        }
        postcard::from_bytes(body).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece() -> Piece {
        let text = str::to_owned;
        let leader = Leader { journal: text("abc"), host: text("h1"), run_dir: text("runs/x") };
        Piece { leader, kind: Kind::TakesOver, wall_ms: 5, entries: 7, changes: vec![Changes::default()] }
    }

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let bytes = piece().encode();
        assert_eq!(Piece::decode(&bytes), Ok(piece()));
        for len_bytes in 0..bytes.len() {
            assert!(Piece::decode(&bytes[..len_bytes]).is_err(), "{len_bytes} bytes");
        }
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            assert!(Piece::decode(&bytes).is_err(), "byte {at}");
        }
    }
}
