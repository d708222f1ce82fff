//! Processes numbered items, such as records, on several threads, and passes the results in order.

use std::ops::Range;
use std::sync::mpsc::sync_channel;
use std::thread;

/// Chunks that a thread may be ahead.
const CHUNKS_AHEAD: usize = 4;

/// Calls `work` for every number of `range` on several threads, and `take` with each result on this thread, in their order.
///
/// A thread processes `chunk` of them at a time. Chunk i belongs to thread i mod `threads`, which sends its results through a
/// bounded queue of its own. So the threads need no synchronisation for the order, and none runs far ahead.
///
/// # Errors
///
/// The first error of `take`, which also ends the threads.
pub(crate) fn in_order<T: Send, E>(
    range: Range<u64>,
    threads: usize,
    chunk: u64,
    work: impl Fn(u64) -> T + Sync,
    mut take: impl FnMut(u64, T) -> Result<(), E>,
) -> Result<(), E> {
    let threads = threads.max(1);
    thread::scope(|scope| {
        let queues: Vec<_> = (0..threads)
            .map(|thread| {
                let (sender, queue) = sync_channel(CHUNKS_AHEAD);
                let (mine, work) = (chunks(range.clone(), chunk).skip(thread).step_by(threads), &work);
                scope.spawn(move || {
                    for numbers in mine {
                        let done: Vec<T> = numbers.map(work).collect();
                        // The receiver is gone after an error of `take`.
                        if sender.send(done).is_err() {
                            return;
                        }
                    }
                });
                queue
            })
            .collect();
        for (index, numbers) in chunks(range.clone(), chunk).enumerate() {
            // The thread panicked; the scope propagates the panic.
            let Ok(done) = queues[index % threads].recv() else { return Ok(()) };
            for (number, done) in numbers.zip(done) {
                take(number, done)?;
            }
        }
        Ok(())
    })
}

fn chunks(range: Range<u64>, len: u64) -> impl Iterator<Item = Range<u64>> {
    range.clone().step_by(len as usize).map(move |start| start..(start + len).min(range.end))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const CHUNK: u64 = 16;

    #[test]
    fn every_record_comes_once_and_in_order_with_any_number_of_threads() {
        for (range, threads) in [(0..1000, 1), (0..1000, 3), (5..6, 4), (7..7, 2), (3..(3 + 5 * CHUNK), 5)] {
            let mut taken = Vec::new();
            let outcome = in_order::<_, ()>(
                range.clone(),
                threads,
                CHUNK,
                |record| 3 * record,
                |record, tripled| {
                    taken.push((record, tripled));
                    Ok(())
                },
            );
            assert_eq!(outcome, Ok(()));
            assert_eq!(taken, range.map(|record| (record, 3 * record)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_error_ends_the_threads_and_none_runs_far_ahead() {
        let done = AtomicU64::new(0);
        let work = |_| done.fetch_add(1, Ordering::Relaxed);
        let outcome =
            in_order(
                0..1_000_000,
                2,
                CHUNK,
                work,
                |record, _| if record == 40 { Err("enough") } else { Ok(()) },
            );
        assert_eq!(outcome, Err("enough"));
        let most = 48 + 2 * CHUNK * (CHUNKS_AHEAD as u64 + 2);
        assert!(done.load(Ordering::Relaxed) <= most, "{done:?} of at most {most}");
    }

    #[test]
    #[should_panic(expected = "a scoped thread panicked")]
    fn a_panic_is_propagated_and_not_waited_for() {
        let work = |record| assert!(record != 100, "this one panics");
        let _ = in_order::<_, ()>(0..1000, 3, CHUNK, work, |_, ()| Ok(()));
    }
}
