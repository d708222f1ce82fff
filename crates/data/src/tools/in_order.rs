//! All records on all cores, and what comes of them in their order.

use std::ops::Range;
use std::sync::mpsc::sync_channel;
use std::thread;

/// Records that a thread does in one go.
const CHUNK: u64 = 16;
/// Goes that lie ready before a thread waits.
const CHUNKS_AHEAD: usize = 4;

/// Does `work` with every record of `range` on so many `threads`, and hands what comes of it to `take`, on this thread and
/// in the order of the records.
///
/// Chunk i is the thread's i mod `threads`, which sends what it has done through a bounded queue of its own: the order is
/// there without communication between the threads, and no thread runs far ahead.
///
/// # Errors
///
/// The first one of `take`; the threads end soon after.
pub(super) fn in_order<T: Send, E>(
    range: Range<u64>,
    threads: usize,
    work: impl Fn(u64) -> T + Sync,
    mut take: impl FnMut(u64, T) -> Result<(), E>,
) -> Result<(), E> {
    let threads = threads.max(1);
    thread::scope(|scope| {
        let queues: Vec<_> = (0..threads)
            .map(|thread| {
                let (sender, queue) = sync_channel(CHUNKS_AHEAD);
                let (mine, work) = (chunks(range.clone()).skip(thread).step_by(threads), &work);
                scope.spawn(move || {
                    for chunk in mine {
                        let done: Vec<T> = chunk.map(work).collect();
                        // The receiver is gone: there was an error.
                        if sender.send(done).is_err() {
                            return;
                        }
                    }
                });
                queue
            })
            .collect();
        for (index, chunk) in chunks(range.clone()).enumerate() {
            // A thread that panicked sends nothing more; the scope hands the panic on.
            let Ok(done) = queues[index % threads].recv() else { return Ok(()) };
            for (record, done) in chunk.zip(done) {
                take(record, done)?;
            }
        }
        Ok(())
    })
}

fn chunks(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let count = (range.end - range.start.min(range.end)).div_ceil(CHUNK);
    (0..count).map(move |chunk| {
        let start = range.start + chunk * CHUNK;
        start..(start + CHUNK).min(range.end)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn every_record_comes_once_and_in_order_with_any_number_of_threads() {
        for (range, threads) in [(0..1000, 1), (0..1000, 3), (5..6, 4), (7..7, 2), (3..(3 + 5 * CHUNK), 5)] {
            let mut taken = Vec::new();
            let outcome = in_order::<_, ()>(
                range.clone(),
                threads,
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
    fn an_error_ends_it_and_nobody_runs_far_ahead() {
        let done = AtomicU64::new(0);
        let work = |_| done.fetch_add(1, Ordering::Relaxed);
        let outcome =
            in_order(0..1_000_000, 2, work, |record, _| if record == 40 { Err("enough") } else { Ok(()) });
        assert_eq!(outcome, Err("enough"));
        let most = 48 + 2 * CHUNK * (CHUNKS_AHEAD as u64 + 2);
        assert!(done.load(Ordering::Relaxed) <= most, "{done:?} of at most {most}");
    }

    #[test]
    #[should_panic(expected = "a scoped thread panicked")]
    fn a_panic_is_handed_on_and_not_waited_for() {
        let work = |record| assert!(record != 100, "this one panics");
        let _ = in_order::<_, ()>(0..1000, 3, work, |_, ()| Ok(()));
    }
}
