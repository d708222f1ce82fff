//! The bytes that a call sends to the right and receives from the left, and their order.
//!
//! Both are byte streams. Every received byte makes more bytes ready to send, so that a rank forwards a chunk while its
//! end is still on the way.

use std::ops::Range;

/// Received values are added in pieces of this size: small enough to be in the cache when they are added.
pub(super) const SCRATCH_BYTES: usize = 128 << 10;

/// The two streams of one call on one rank.
pub(super) trait Flow {
    /// The bytes that are ready to send; empty while they depend on bytes not yet received, and at the end.
    fn outgoing(&self) -> &[u8];

    /// The first `count_bytes` of [`Flow::outgoing`] are sent.
    fn sent(&mut self, count_bytes: usize);

    fn all_sent(&self) -> bool;

    /// The buffer for the next bytes from the left; empty when all are received.
    fn incoming(&mut self) -> &mut [u8];

    /// The first `count_bytes` of [`Flow::incoming`] are filled.
    fn received(&mut self, count_bytes: usize);

    fn all_received(&self) -> bool;
}

/// A number that can be summed and sent.
pub(super) trait Element: bytemuck::Pod {
    fn plus(self, other: Self) -> Self;
}

impl Element for i64 {
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
}

impl Element for i32 {
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
}

impl Element for f32 {
    fn plus(self, other: Self) -> Self {
        self + other
    }
}

/// The values in `bytes`, which need not be aligned.
pub(super) fn read<T: Element>(bytes: &[u8]) -> impl Iterator<Item = T> {
    bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned)
}

/// A position in a stream of chunks, one for each step.
#[derive(Clone, Copy)]
struct Cursor {
    step: usize,
    /// From the start of the step's chunk.
    offset_bytes: usize,
}

/// All-reduce: reduce-scatter, then all-gather, around a ring of n ranks.
///
/// The values are cut into n chunks. In step k of 2(n−1), rank r sends chunk r−k and receives chunk r−k−1 (mod n), which
/// it sends in the next step. In the first n−1 steps it adds the received values to its own, after which chunk r+1 is the
/// whole sum. In the other steps it overwrites its values, so that all ranks end with the bits that one rank computed.
pub(super) struct RingAllReduce<'a, T> {
    rank: usize,
    size: usize,
    values: &'a mut [T],
    /// This rank's values, where they are not in `values` but are to stay.
    own: Option<&'a [T]>,
    sending: Cursor,
    /// The end of what is received and, in the first n−1 steps, added; whole values there.
    received: Cursor,
    /// Bytes received and not yet added.
    scratch: &'a mut Vec<u8>,
    scratch_filled_bytes: usize,
}

impl<'a, T: Element> RingAllReduce<'a, T> {
    /// The sums come into `values`, where this rank's values are as well, unless they are in `own`.
    pub(super) fn new(
        (rank, size): (usize, usize),
        own: Option<&'a [T]>,
        values: &'a mut [T],
        scratch: &'a mut Vec<u8>,
    ) -> Self {
        scratch.resize(SCRATCH_BYTES, 0);
        let start = Cursor { step: 0, offset_bytes: 0 };
        let mut flow = Self {
            rank,
            size,
            values,
            own,
            sending: start,
            received: start,
            scratch,
            scratch_filled_bytes: 0,
        };
        flow.skip_finished_steps();
        flow
    }

    fn steps(&self) -> usize {
        2 * (self.size - 1)
    }

    /// The values that this rank sends in `step` and receives in the step before.
    fn chunk(&self, step: usize) -> Range<usize> {
        let index = (self.rank + 2 * self.size - step) % self.size;
        let (least, one_more_in) = (self.values.len() / self.size, self.values.len() % self.size);
        let start = |index: usize| index * least + index.min(one_more_in);
        start(index)..start(index + 1)
    }

    fn chunk_bytes(&self, step: usize) -> Range<usize> {
        let chunk = self.chunk(step);
        chunk.start * size_of::<T>()..chunk.end * size_of::<T>()
    }

    /// Whether this rank adds what it receives now.
    fn adds(&self) -> bool {
        self.received.step < self.size - 1
    }

    /// Moves the cursors past finished chunks; chunks may be empty.
    fn skip_finished_steps(&mut self) {
        while !self.all_received()
            && self.received.offset_bytes == self.chunk_bytes(self.received.step + 1).len()
        {
            self.received = Cursor { step: self.received.step + 1, offset_bytes: 0 };
        }
        while !self.all_sent()
            && self.sending.step <= self.received.step
            && self.sending.offset_bytes == self.chunk_bytes(self.sending.step).len()
        {
            self.sending = Cursor { step: self.sending.step + 1, offset_bytes: 0 };
        }
    }

    /// Adds the whole values in `scratch`; keeps the first bytes of a value that is not complete.
    fn add_scratch(&mut self) {
        let whole_bytes = self.scratch_filled_bytes - self.scratch_filled_bytes % size_of::<T>();
        let start = self.chunk(self.received.step + 1).start + self.received.offset_bytes / size_of::<T>();
        let at = start..start + whole_bytes / size_of::<T>();
        if let Some(own) = self.own {
            self.values[at.clone()].copy_from_slice(&own[at.clone()]); // each is added to once
        }
        for (value, received) in self.values[at].iter_mut().zip(read(&self.scratch[..whole_bytes])) {
            *value = value.plus(received);
        }
        self.scratch.copy_within(whole_bytes..self.scratch_filled_bytes, 0);
        self.scratch_filled_bytes -= whole_bytes;
        self.received.offset_bytes += whole_bytes;
    }
}

impl<T: Element> Flow for RingAllReduce<'_, T> {
    fn outgoing(&self) -> &[u8] {
        if self.all_sent() {
            return &[];
        }
        let Cursor { step, offset_bytes } = self.sending;
        let chunk = self.chunk_bytes(step);
        let ready_bytes = match step.checked_sub(1) {
            Some(source) if source == self.received.step => self.received.offset_bytes,
            Some(source) if source > self.received.step => 0,
            _ => chunk.len(),
        };
        let values = self.own.filter(|_| step == 0).unwrap_or(self.values);
        &bytemuck::cast_slice(values)[chunk.start + offset_bytes..chunk.start + ready_bytes]
    }

    fn sent(&mut self, count_bytes: usize) {
        self.sending.offset_bytes += count_bytes;
        self.skip_finished_steps();
    }

    fn all_sent(&self) -> bool {
        self.sending.step == self.steps()
    }

    fn incoming(&mut self) -> &mut [u8] {
        if self.all_received() {
            return &mut [];
        }
        let chunk = self.chunk_bytes(self.received.step + 1);
        let missing_bytes = chunk.len() - self.received.offset_bytes;
        if self.adds() {
            let end = missing_bytes.min(self.scratch.len());
            &mut self.scratch[self.scratch_filled_bytes..end]
        } else {
            &mut bytemuck::cast_slice_mut(self.values)[chunk.start + self.received.offset_bytes..chunk.end]
        }
    }

    fn received(&mut self, count_bytes: usize) {
        if self.adds() {
            self.scratch_filled_bytes += count_bytes;
            self.add_scratch();
        } else {
            self.received.offset_bytes += count_bytes;
        }
        self.skip_finished_steps();
    }

    fn all_received(&self) -> bool {
        self.received.step == self.steps()
    }
}

/// Broadcast: from the root to the right, each rank forwarding what it has, up to the rank left of the root.
pub(super) struct RingBroadcast<'a> {
    bytes: &'a mut [u8],
    /// All of them at the root.
    received_bytes: usize,
    sent_bytes: usize,
    /// None at the last rank.
    to_send_bytes: usize,
}

impl<'a> RingBroadcast<'a> {
    pub(super) fn new(rank: usize, size: usize, root: usize, bytes: &'a mut [u8]) -> Self {
        let hops = (rank + size - root) % size;
        let received_bytes = if hops == 0 { bytes.len() } else { 0 };
        let to_send_bytes = if hops == size - 1 { 0 } else { bytes.len() };
        Self { bytes, received_bytes, sent_bytes: 0, to_send_bytes }
    }
}

impl Flow for RingBroadcast<'_> {
    fn outgoing(&self) -> &[u8] {
        &self.bytes[self.sent_bytes..self.received_bytes.min(self.to_send_bytes).max(self.sent_bytes)]
    }

    fn sent(&mut self, count_bytes: usize) {
        self.sent_bytes += count_bytes;
    }

    fn all_sent(&self) -> bool {
        self.sent_bytes == self.to_send_bytes
    }

    fn incoming(&mut self) -> &mut [u8] {
        &mut self.bytes[self.received_bytes..]
    }

    fn received(&mut self, count_bytes: usize) {
        self.received_bytes += count_bytes;
    }

    fn all_received(&self) -> bool {
        self.received_bytes == self.bytes.len()
    }
}

/// Moves bytes between these ranks, in the pieces and the order of `moves`, until none can be moved.
#[cfg(test)]
pub(super) fn move_all<F: Flow>(flows: &mut [F], moves: &[(usize, usize)]) {
    let one_by_one = (0..flows.len()).cycle().zip(std::iter::repeat(usize::MAX));
    let mut in_vain = 0;
    for (from, most_bytes) in moves.iter().copied().chain(one_by_one) {
        let from = from % flows.len();
        let to = (from + 1) % flows.len();
        let sent = flows[from].outgoing();
        let sent = sent[..sent.len().min(most_bytes)].to_vec();
        let room = flows[to].incoming();
        let count_bytes = sent.len().min(room.len());
        room[..count_bytes].copy_from_slice(&sent[..count_bytes]);
        if count_bytes == 0 {
            in_vain += 1;
            if in_vain > moves.len() + 2 * flows.len() {
                return;
            }
            continue;
        }
        in_vain = 0;
        flows[from].sent(count_bytes);
        flows[to].received(count_bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the pieces and the delays, every rank ends with the plain sum, in place or beside its values.
        #[test]
        fn a_ring_sums_whatever_the_pieces(
            size in 2_usize..6,
            length in prop_oneof![0_usize..8, 0_usize..400],
            moves in vec((0_usize..6, 1_usize..200), 0..400),
            seed in any::<i64>(),
            is_beside in any::<bool>(),
        ) {
            let value = |rank: usize, index: usize| seed.wrapping_mul(rank as i64 + 1) ^ (index as i64) << 20;
            let own: Vec<Vec<i64>> =
                (0..size).map(|rank| (0..length).map(|index| value(rank, index)).collect()).collect();
            let mut values = if is_beside { vec![vec![0x5555; length]; size] } else { own.clone() };
            let mut scratches = vec![Vec::new(); size];
            let mut flows = Vec::new();
            for ((rank, values), scratch) in values.iter_mut().enumerate().zip(&mut scratches) {
                let own = is_beside.then_some(&own[rank][..]);
                flows.push(RingAllReduce::new((rank, size), own, values, scratch));
            }
            move_all(&mut flows, &moves);
            prop_assert!(flows.iter().all(|flow| flow.all_sent() && flow.all_received()));
            drop(flows);
            for index in 0..length {
                let sum = (0..size).fold(0_i64, |sum, rank| sum.wrapping_add(value(rank, index)));
                prop_assert!(values.iter().all(|values| values[index] == sum), "value {index}");
            }
        }

        /// Whatever the pieces and the delays, the root's bytes reach every rank, and the root receives none.
        #[test]
        fn a_broadcast_arrives_whatever_the_pieces(
            size in 2_usize..6,
            root in 0_usize..6,
            length in 0_usize..400,
            moves in vec((0_usize..6, 1_usize..200), 0..100),
        ) {
            let root = root % size;
            let mut bytes: Vec<Vec<u8>> = (0..size).map(|rank| vec![rank as u8; length]).collect();
            let mut flows = Vec::new();
            for (rank, bytes) in bytes.iter_mut().enumerate() {
                flows.push(RingBroadcast::new(rank, size, root, bytes));
            }
            prop_assert!(flows[root].all_received());
            move_all(&mut flows, &moves);
            prop_assert!(flows.iter().all(|flow| flow.all_sent() && flow.all_received()));
            drop(flows);
            prop_assert!(bytes.iter().all(|bytes| *bytes == vec![root as u8; length]));
        }
    }
}
