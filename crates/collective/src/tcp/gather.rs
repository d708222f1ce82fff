//! All-reduce of few values, where the hops cost more than the bytes.

use super::flow::{Element, Flow, read};

/// Values of so many bytes are few: on a link of 10 Gbit/s they take 7 µs, a hop takes 20 and more. Between two processes of
/// one host 64 bytes take 20 µs so, and 63 µs around the ring twice; 200,000 bytes take 90 µs so, and 55 µs.
const FEW_BYTES: usize = 8 << 10;

/// Whether [`RingGather`] is the faster way to sum so many bytes.
pub(super) fn is_few(len_bytes: usize) -> bool {
    len_bytes <= FEW_BYTES
}

/// All-reduce: the values of every rank go around the ring of n ranks, and each rank adds them up by itself. n − 1 hops and
/// n − 1 times the values, where [`RingAllReduce`](super::flow::RingAllReduce) needs 2(n − 1) hops and 2(n − 1)/n times the
/// values.
pub(super) struct RingGather<'a, T> {
    rank: usize,
    size: usize,
    values: &'a mut [T],
    /// This rank's values, where they are not in `values` but are to stay.
    own: Option<&'a [T]>,
    /// The values of the other ranks: those of the left neighbour, then those of the left neighbour of that one, and so on.
    others: &'a mut Vec<u8>,
    sent_bytes: usize,
    received_bytes: usize,
}

impl<'a, T: Element> RingGather<'a, T> {
    /// [`Self::finish`] makes the sums of `values`, where this rank's values are as well, unless they are in `own`.
    pub(super) fn new(
        (rank, size): (usize, usize),
        own: Option<&'a [T]>,
        values: &'a mut [T],
        others: &'a mut Vec<u8>,
    ) -> Self {
        others.resize(size_of_val(values) * (size - 1), 0);
        Self { rank, size, values, own, others, sent_bytes: 0, received_bytes: 0 }
    }

    fn own_bytes(&self) -> &[u8] {
        bytemuck::cast_slice(self.own.unwrap_or(self.values))
    }

    /// Adds up what has arrived. In the order of the ranks, so that floats have the same bits everywhere.
    pub(super) fn finish(self) {
        let Self { rank, size, values, own, others, .. } = self;
        let len = values.len();
        for start in (0..len).step_by(BLOCK) {
            let at = start..(start + BLOCK).min(len);
            let mut sums = [T::zeroed(); BLOCK];
            let sums = &mut sums[..at.len()];
            for of in 0..size {
                // A rank is as many places left of this one as its values have come hops.
                match (rank + size - of) % size {
                    0 => add(sums, own.unwrap_or(values)[at.clone()].iter().copied(), of),
                    hops => {
                        let start = ((hops - 1) * len + at.start) * size_of::<T>();
                        add(sums, read(&others[start..start + at.len() * size_of::<T>()]), of);
                    }
                }
            }
            values[at].copy_from_slice(sums);
        }
    }
}

/// Values that are added at a time: 16 KiB or less, which stay in the first-level cache.
const BLOCK: usize = 2048;

/// Adds the values of a rank. Those of the first are the sums: -0.0 stays what it is.
fn add<T: Element>(sums: &mut [T], values: impl Iterator<Item = T>, rank: usize) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum = if rank == 0 { value } else { sum.plus(value) };
    }
}

impl<T: Element> Flow for RingGather<'_, T> {
    fn outgoing(&self) -> &[u8] {
        let own = self.own_bytes();
        if self.all_sent() {
            return &[];
        }
        match self.sent_bytes.checked_sub(own.len()) {
            None => &own[self.sent_bytes..],
            // The last ones came from the right neighbour.
            Some(forwarded) => {
                &self.others[forwarded..self.received_bytes.min(self.others.len() - own.len())]
            }
        }
    }

    fn sent(&mut self, count_bytes: usize) {
        self.sent_bytes += count_bytes;
    }

    fn all_sent(&self) -> bool {
        self.sent_bytes == self.others.len()
    }

    fn incoming(&mut self) -> &mut [u8] {
        &mut self.others[self.received_bytes..]
    }

    fn received(&mut self, count_bytes: usize) {
        self.received_bytes += count_bytes;
    }

    fn all_received(&self) -> bool {
        self.received_bytes == self.others.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::flow::move_all;
    use super::*;

    proptest! {
        /// Whatever the pieces and the delays, every rank ends with the same sums, in place or beside its values.
        #[test]
        fn a_gather_sums_whatever_the_pieces(
            size in 2_usize..6,
            length in 0_usize..60,
            moves in vec((0_usize..6, 1_usize..200), 0..200),
            is_beside in any::<bool>(),
        ) {
            // Their sum depends on the order.
            let value = |rank: usize, index: usize| (index as f32 + 0.1) * 1000_f32.powi(rank as i32 - 2);
            let own: Vec<Vec<f32>> =
                (0..size).map(|rank| (0..length).map(|index| value(rank, index)).collect()).collect();
            let mut values = if is_beside { vec![vec![7.0; length]; size] } else { own.clone() };
            let mut others = vec![Vec::new(); size];
            let mut flows = Vec::new();
            for ((rank, values), others) in values.iter_mut().enumerate().zip(&mut others) {
                let own = is_beside.then_some(&own[rank][..]);
                flows.push(RingGather::new((rank, size), own, values, others));
            }
            move_all(&mut flows, &moves);
            prop_assert!(flows.iter().all(|flow| flow.all_sent() && flow.all_received()));
            flows.into_iter().for_each(RingGather::finish);
            for index in 0..length {
                let sum = (1..size).fold(value(0, index), |sum, rank| sum + value(rank, index));
                prop_assert!(values.iter().all(|values| values[index].to_bits() == sum.to_bits()), "value {index}");
            }
        }
    }
}
