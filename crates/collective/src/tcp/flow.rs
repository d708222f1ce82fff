//! What a call sends to the right and receives from the left, in which order.
//!
//! Both are byte streams. What may be sent grows with what has been received, down to the byte, so that a chunk is
//! passed on while its end is still on its way.

use std::ops::Range;

/// Received values are added in pieces of this size: small enough to be in the cache still when they are added.
pub(super) const SCRATCH_BYTES: usize = 128 << 10;

/// The two streams of one call on one rank.
pub(super) trait Flow {
    /// What may be sent next; empty while that depends on what has not been received, and at the end.
    fn outgoing(&self) -> &[u8];

    /// The first `count_bytes` of [`Flow::outgoing`] are sent.
    fn sent(&mut self, count_bytes: usize);

    /// Nothing is left to send.
    fn all_sent(&self) -> bool;

    /// Where the next bytes from the left are to be put; empty when all have come.
    fn incoming(&mut self) -> &mut [u8];

    /// The first `count_bytes` of [`Flow::incoming`] are filled.
    fn received(&mut self, count_bytes: usize);

    /// All have come.
    fn all_received(&self) -> bool;
}

/// A number that can be summed and sent.
pub(super) trait Element: bytemuck::Pod {
    /// Adds values that lie in `bytes`, which need not be aligned.
    fn add(values: &mut [Self], bytes: &[u8]);
}

impl Element for i64 {
    fn add(values: &mut [Self], bytes: &[u8]) {
        for (value, bytes) in values.iter_mut().zip(bytes.as_chunks().0) {
            *value = value.wrapping_add(Self::from_le_bytes(*bytes));
        }
    }
}

impl Element for f32 {
    fn add(values: &mut [Self], bytes: &[u8]) {
        for (value, bytes) in values.iter_mut().zip(bytes.as_chunks().0) {
            *value += Self::from_le_bytes(*bytes);
        }
    }
}

/// A place in a stream of chunks: so many bytes of so many steps.
#[derive(Clone, Copy)]
struct Place {
    step: usize,
    /// Of the step's chunk.
    offset_bytes: usize,
}

/// All-reduce: reduce-scatter, then all-gather, around a ring of n ranks.
///
/// The values are cut into n chunks. In step k, of 2(n−1), rank r sends chunk r−k and receives chunk r−k−1 (mod n):
/// what it receives in one step it sends in the next. In the first n−1 steps it adds what it receives, after which
/// chunk r+1 is the whole sum; in the others it takes what it receives as it is, so that all ranks end with the
/// bits that one of them computed.
pub(super) struct RingSum<'a, T> {
    rank: usize,
    size: usize,
    values: &'a mut [T],
    sending: Place,
    /// What has been received and, in the first n−1 steps, added: always whole values there.
    received: Place,
    /// Bytes that have come and are not yet added.
    scratch: &'a mut Vec<u8>,
    scratch_filled_bytes: usize,
}

impl<'a, T: Element> RingSum<'a, T> {
    pub(super) fn new(rank: usize, size: usize, values: &'a mut [T], scratch: &'a mut Vec<u8>) -> Self {
        scratch.resize(SCRATCH_BYTES, 0);
        let start = Place { step: 0, offset_bytes: 0 };
        let mut flow =
            Self { rank, size, values, sending: start, received: start, scratch, scratch_filled_bytes: 0 };
        flow.skip_finished_steps();
        flow
    }

    fn steps(&self) -> usize {
        2 * (self.size - 1)
    }

    /// The values that rank r sends in `step` and receives in the step before.
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

    /// Whether what is received now is to be added.
    fn adds(&self) -> bool {
        self.received.step < self.size - 1
    }

    /// Goes on to the next step wherever a chunk is finished; chunks may be empty.
    fn skip_finished_steps(&mut self) {
        while !self.all_received()
            && self.received.offset_bytes == self.chunk_bytes(self.received.step + 1).len()
        {
            self.received = Place { step: self.received.step + 1, offset_bytes: 0 };
        }
        while !self.all_sent()
            && self.sending.step <= self.received.step
            && self.sending.offset_bytes == self.chunk_bytes(self.sending.step).len()
        {
            self.sending = Place { step: self.sending.step + 1, offset_bytes: 0 };
        }
    }

    /// Adds the whole values among the bytes in `scratch`; keeps the beginning of a value that is cut.
    fn add_scratch(&mut self) {
        let whole_bytes = self.scratch_filled_bytes - self.scratch_filled_bytes % size_of::<T>();
        let start = self.chunk(self.received.step + 1).start + self.received.offset_bytes / size_of::<T>();
        let values = &mut self.values[start..start + whole_bytes / size_of::<T>()];
        T::add(values, &self.scratch[..whole_bytes]);
        self.scratch.copy_within(whole_bytes..self.scratch_filled_bytes, 0);
        self.scratch_filled_bytes -= whole_bytes;
        self.received.offset_bytes += whole_bytes;
    }
}

impl<T: Element> Flow for RingSum<'_, T> {
    fn outgoing(&self) -> &[u8] {
        if self.all_sent() {
            return &[];
        }
        let Place { step, offset_bytes } = self.sending;
        let chunk = self.chunk_bytes(step);
        let ready_bytes = match step.checked_sub(1) {
            Some(source) if source == self.received.step => self.received.offset_bytes,
            Some(source) if source > self.received.step => 0,
            _ => chunk.len(),
        };
        &bytemuck::cast_slice(self.values)[chunk.start + offset_bytes..chunk.start + ready_bytes]
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

/// Broadcast: from the root to the right, each rank passing on what it has, up to the rank left of the root.
pub(super) struct Relay<'a> {
    bytes: &'a mut [u8],
    /// What lies here already and what is to be sent in all: at the root everything, at the last rank nothing.
    received_bytes: usize,
    sent_bytes: usize,
    to_send_bytes: usize,
}

impl<'a> Relay<'a> {
    pub(super) fn new(rank: usize, size: usize, root: usize, bytes: &'a mut [u8]) -> Self {
        let hops = (rank + size - root) % size;
        let received_bytes = if hops == 0 { bytes.len() } else { 0 };
        let to_send_bytes = if hops == size - 1 { 0 } else { bytes.len() };
        Self { bytes, received_bytes, sent_bytes: 0, to_send_bytes }
    }
}

impl Flow for Relay<'_> {
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
