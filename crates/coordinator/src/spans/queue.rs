//! Spans on their way to the collector: [`Queue`].

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::sync::Notify;
use tokio::time::timeout;

/// Spans in order, so many at most: a further one takes the place of the oldest. Clones share them.
#[derive(Clone, Debug)]
pub struct Queue(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    spans_max: usize,
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Span>,
    /// Taken, and not known to have arrived.
    on_the_way: usize,
    count: u64,
    dropped: u64,
    closed: bool,
}

/// What became of the spans of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// All that were made.
    pub made: u64,
    /// Those that did not arrive, or not yet.
    pub lost: u64,
}

impl Queue {
    /// A queue for so many spans.
    #[must_use]
    pub fn new(spans_max: usize) -> Self {
        let (state, news) = (Mutex::default(), Notify::new());
        Self(Arc::new(Inner { spans_max, state, news }))
    }

    /// Adds a span. Never waits.
    pub fn push(&self, span: Span) {
        let mut state = self.state();
        state.count += 1;
        if state.waiting.len() >= self.0.spans_max {
            state.waiting.pop_front();
            state.dropped += 1;
        }
        state.waiting.push_back(span);
        drop(state);
        self.0.news.notify_one();
    }

    /// No more spans come.
    pub fn close(&self) {
        self.state().closed = true;
        self.0.news.notify_one();
    }

    /// Whether no more spans come.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// What became of all spans.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let state = self.state();
        let here = state.waiting.len() + state.on_the_way;
        Counts { made: state.count, lost: state.dropped + here as u64 }
    }

    /// Those that are lost for good; [`Self::counts`] has those that may still arrive as well.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.state().dropped
    }

    /// Waits until the queue is closed, or has so many spans, but no longer than `most`.
    pub(super) async fn due(&self, spans: usize, most: Duration) {
        let due = async {
            loop {
                let news = self.0.news.notified();
                {
                    let state = self.state();
                    if state.closed || state.waiting.len() >= spans {
                        return;
                    }
                }
                news.await;
            }
        };
        // Too late is in time: what is there then is sent.
        let _ = timeout(most, due).await;
    }

    /// Takes the oldest spans. What was taken before has arrived.
    pub(super) fn take(&self, most: usize) -> Vec<Span> {
        let mut state = self.state();
        let count = most.min(state.waiting.len());
        state.on_the_way = count;
        state.waiting.drain(..count).collect()
    }

    /// What was taken did not arrive, and is to be sent again: the oldest, if there is room.
    pub(super) fn put_back(&self, spans: Vec<Span>) {
        let mut state = self.state();
        state.on_the_way = 0;
        for span in spans.into_iter().rev() {
            if state.waiting.len() < self.0.spans_max {
                state.waiting.push_front(span);
            } else {
                state.dropped += 1;
            }
        }
    }

    /// So many of those that were taken are lost, and the others have arrived.
    pub(super) fn arrived_but(&self, lost: u64) {
        let mut state = self.state();
        state.on_the_way = 0;
        state.dropped += lost;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("nothing panics while it is changed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(name: u64) -> Span {
        Span { name: name.to_string(), ..Span::default() }
    }

    fn names(spans: &[Span]) -> Vec<&str> {
        spans.iter().map(|span| span.name.as_str()).collect()
    }

    #[test]
    fn the_oldest_are_dropped_and_counted() {
        let queue = Queue::new(3);
        (0..5).for_each(|name| queue.push(span(name)));
        let taken = queue.take(2);
        assert_eq!(names(&taken), ["2", "3"]);
        (5..7).for_each(|name| queue.push(span(name)));
        assert_eq!(queue.counts(), Counts { made: 7, lost: 7 });
        assert_eq!(queue.dropped(), 2);
        // Those that come back are the oldest, and find no room.
        queue.push(span(7));
        queue.put_back(taken);
        assert_eq!(names(&queue.take(9)), ["5", "6", "7"]);
        queue.arrived_but(1);
        assert_eq!(queue.counts(), Counts { made: 8, lost: 6 });
    }

    #[tokio::test]
    async fn a_full_batch_or_the_end_is_awaited_and_nothing_is_missed() {
        let (queue, long) = (Queue::new(9), Duration::from_secs(3600));
        (0..2).for_each(|name| queue.push(span(name)));
        queue.due(2, long).await;
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { queue.due(3, long).await }
        });
        queue.push(span(2));
        waiting.await.expect("it ends");
        queue.close();
        queue.due(9, long).await;
        assert!(queue.is_closed());
    }
}
