//! The messages on the side channel, which are its only bytes.
//!
//! A rank sends one to both neighbours when it leaves, or when its group fails. It holds the number of calls that the
//! rank has finished, because NCCL finishes those on all other ranks too, so that a neighbour in such a call continues
//! it. It also holds the ranks that the sender knows to be stopped. A rank is stopped when no sum can reach its weights
//! any more: its abort flag is set, it has left, or it is dead.

use std::collections::BTreeSet;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MessageKind {
    /// The rank leaves in order: all its values are sent. Its last message.
    Leaving,
    /// The rank's group is over: aborted, or a neighbour was lost. Sent again when the rank learns of more stopped ranks.
    Failing,
    /// The rank has waited long enough and aborts, though the ranks that are not named may not be stopped. Its last message.
    Aborting,
}

impl MessageKind {
    const ALL: [Self; 3] = [Self::Leaving, Self::Failing, Self::Aborting];

    const fn magic(self) -> [u8; 8] {
        match self {
            Self::Leaving => *b"lsganBy\n",
            Self::Failing => *b"lsganNo\n",
            Self::Aborting => *b"lsganAb\n",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: MessageKind,
    pub(super) finished_calls: u64,
    pub(super) stopped: BTreeSet<usize>,
}

impl Message {
    /// The length in a group of this size: magic (8), finished calls (u64), stopped ranks (a bit each, in u64);
    /// little-endian.
    pub(super) fn len_bytes(size: usize) -> usize {
        16 + 8 * size.div_ceil(64)
    }

    pub(super) fn encode(&self, size: usize) -> Vec<u8> {
        let mut words = vec![0_u64; size.div_ceil(64)];
        self.stopped.iter().for_each(|rank| words[rank / 64] |= 1 << (rank % 64));
        let mut bytes = self.kind.magic().to_vec();
        bytes.extend(self.finished_calls.to_le_bytes());
        bytes.extend(words.into_iter().flat_map(u64::to_le_bytes));
        bytes
    }

    /// Whether a message can begin with these bytes.
    pub(super) fn may_begin_with(bytes: &[u8]) -> bool {
        let known = bytes.len().min(8);
        MessageKind::ALL.iter().any(|kind| bytes[..known] == kind.magic()[..known])
    }

    /// Decodes [`Message::len_bytes`] bytes that passed [`Message::may_begin_with`].
    pub(super) fn decode(bytes: &[u8], size: usize) -> Self {
        let is_it = |kind: &MessageKind| bytes.starts_with(&kind.magic());
        let kind = MessageKind::ALL.into_iter().find(is_it).unwrap_or(MessageKind::Failing);
        let numbers: Vec<_> = bytes[8..].as_chunks().0.iter().copied().map(u64::from_le_bytes).collect();
        let stopped = (0..size).filter(|rank| numbers[1 + rank / 64] >> (rank % 64) & 1 == 1).collect();
        Self { kind, finished_calls: numbers[0], stopped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_written() {
        for (kind, size) in
            [(MessageKind::Leaving, 2), (MessageKind::Failing, 64), (MessageKind::Aborting, 65)]
        {
            for stopped in [vec![], vec![size - 1], (0..size).step_by(2).collect(), (0..size).collect()] {
                let stopped = stopped.into_iter().collect();
                let message = Message { kind, finished_calls: 0x0102_0304_0506_0708, stopped };
                let bytes = message.encode(size);
                assert_eq!(bytes.len(), Message::len_bytes(size));
                assert_eq!(Message::decode(&bytes, size), message);
                assert!((0..=bytes.len()).all(|known| Message::may_begin_with(&bytes[..known])));
            }
        }
        assert!(!Message::may_begin_with(b"lsganHi"));
    }
}
