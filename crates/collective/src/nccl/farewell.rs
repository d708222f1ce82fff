//! The last bytes on the side channel, and its only ones: how a rank goes, and how many calls it has finished.
//!
//! What one rank has finished NCCL finishes for the others too, so that a neighbour in such a call goes on with it.
//! A connection that ends without a farewell is that of a rank that died.

/// Magic, then the count of finished calls as u64; little-endian.
pub(super) const FAREWELL_BYTES: usize = 16;

const LEAVING_MAGIC: [u8; 8] = *b"lsganBy\n";
const FAILING_MAGIC: [u8; 8] = *b"lsganNo\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// In order: all that it has to send is sent.
    Leaving,
    /// It is aborted, or lost a neighbour itself: its generation is over.
    Failing,
}

impl Farewell {
    pub(super) fn encode(self, finished_calls: u64) -> [u8; FAREWELL_BYTES] {
        let magic = match self {
            Self::Leaving => LEAVING_MAGIC,
            Self::Failing => FAILING_MAGIC,
        };
        let mut bytes = [0; FAREWELL_BYTES];
        bytes[..8].copy_from_slice(&magic);
        bytes[8..].copy_from_slice(&finished_calls.to_le_bytes());
        bytes
    }

    /// Whether these first bytes can become a farewell.
    pub(super) fn may_begin_with(bytes: &[u8]) -> bool {
        let known = bytes.len().min(LEAVING_MAGIC.len());
        [LEAVING_MAGIC, FAILING_MAGIC].iter().any(|magic| bytes[..known] == magic[..known])
    }

    /// The farewell and its count. `bytes` begin as [`Farewell::may_begin_with`] says.
    pub(super) fn decode(bytes: &[u8; FAREWELL_BYTES]) -> (Self, u64) {
        let farewell = if bytes.starts_with(&LEAVING_MAGIC) { Self::Leaving } else { Self::Failing };
        (farewell, u64::from_le_bytes(bytes[8..].try_into().expect("8 bytes")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_farewell_is_read_as_it_was_written() {
        for farewell in [Farewell::Leaving, Farewell::Failing] {
            let bytes = farewell.encode(0x0102_0304_0506_0708);
            assert_eq!(Farewell::decode(&bytes), (farewell, 0x0102_0304_0506_0708));
            assert!((0..=FAREWELL_BYTES).all(|known| Farewell::may_begin_with(&bytes[..known])));
        }
        assert!(!Farewell::may_begin_with(b"lsganHi"));
    }
}
