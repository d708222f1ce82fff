//! Blocks of work, shared by threads.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What `work` makes of each index below `count`, in the order of the indices, computed by `threads`. Which thread takes which
/// index is chance, and changes nothing: no block sees another.
pub fn map<T: Send>(threads: NonZero<usize>, count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let take = || {
        let mut made = vec![];
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return made;
            }
            made.push((index, work(index)));
        }
    };
    let mut made = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.get().min(count)).map(|_| scope.spawn(take)).collect();
        let mut made = take();
        for other in others {
            made.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        made
    });
    made.sort_by_key(|(index, _)| *index);
    made.into_iter().map(|(_, made)| made).collect()
}

/// The range of a block of `size` in `total`.
pub fn range(index: usize, size: usize, total: usize) -> std::ops::Range<usize> {
    index * size..((index + 1) * size).min(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_in_order_whoever_makes_them() {
        for threads in [1, 2, 7] {
            let made = map(NonZero::new(threads).unwrap(), 100, |index| index * 2);
            assert_eq!(made, (0..100).map(|index| index * 2).collect::<Vec<_>>());
        }
        assert!(map(NonZero::<usize>::MIN, 0, |index| index).is_empty());
    }
}
