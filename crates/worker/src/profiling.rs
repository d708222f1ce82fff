//! Profiles between the session and the training thread: what is asked for (`lsgan profile`), and what was recorded.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use lsgan_wire::v1;

/// The most steps and spans that are recorded, whatever is asked for.
const STEPS_MAX: u32 = 1000;
const SPANS_MAX: u32 = 20_000;
/// Spans of one message, which then has less than 64 KiB.
const SPANS_SENT: usize = 1000;

/// See the module.
#[derive(Debug, Default)]
pub struct Profiling {
    /// The profile that is asked for; 0 while none is. The training thread reads it once a step.
    asked: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    ask: Option<v1::RecordSpans>,
    /// What was recorded and not sent yet.
    mail: Vec<v1::Spans>,
}

impl Profiling {
    /// The coordinator asks for a profile. An earlier one is of no use any more.
    pub fn ask(&self, ask: v1::RecordSpans) {
        let (steps, spans_max) = (ask.steps.clamp(1, STEPS_MAX), ask.spans_max.min(SPANS_MAX));
        let mut inner = self.lock();
        let ask = v1::RecordSpans { profile: ask.profile, steps, spans_max };
        *inner = Inner { ask: Some(ask), mail: Vec::new() };
        self.asked.store(ask.profile, Ordering::Relaxed);
    }

    /// A stream begins, on which nothing is asked for yet.
    pub fn forget(&self) {
        let mut inner = self.lock();
        *inner = Inner::default();
        self.asked.store(0, Ordering::Relaxed);
    }

    /// The number of the profile that is asked for; 0 while none is.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// The profile that is asked for.
    #[must_use]
    pub fn asked(&self) -> Option<v1::RecordSpans> {
        self.lock().ask
    }

    /// A profile is recorded. Nothing follows if it is not the one that is asked for.
    pub fn deliver(&self, profile: u64, spans: &[v1::Span], end: v1::Recorded) {
        let mut inner = self.lock();
        if inner.ask.is_none_or(|ask| ask.profile != profile) {
            return;
        }
        let piece = |spans: &[v1::Span]| v1::Spans { profile, spans: spans.to_vec(), end: None };
        let mut mail: Vec<_> = spans.chunks(SPANS_SENT).map(piece).collect();
        if mail.is_empty() {
            mail.push(piece(&[]));
        }
        if let Some(last) = mail.last_mut() {
            last.end = Some(end);
        }
        *inner = Inner { ask: None, mail };
        self.asked.store(0, Ordering::Relaxed);
    }

    /// What is to be sent now, in order.
    pub fn take(&self) -> Vec<v1::Spans> {
        std::mem::take(&mut self.lock().mail)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics while it is locked")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(profile: u64) -> v1::RecordSpans {
        v1::RecordSpans { profile, steps: 1_000_000, spans_max: u32::MAX }
    }

    fn end() -> v1::Recorded {
        v1::Recorded { wall_us: 1, steps: 2, why: String::new() }
    }

    #[test]
    fn what_is_asked_for_is_bounded_and_sent_in_pieces_of_which_the_last_says_how_it_ended() {
        let profiling = Profiling::default();
        assert_eq!((profiling.number(), profiling.asked()), (0, None));
        profiling.ask(ask(7));
        assert_eq!(profiling.number(), 7);
        let asked = profiling.asked().expect("it is asked for");
        assert_eq!((asked.steps, asked.spans_max), (STEPS_MAX, SPANS_MAX));
        profiling.deliver(7, &vec![v1::Span::default(); SPANS_SENT + 1], end());
        let mail = profiling.take();
        let lengths: Vec<_> = mail.iter().map(|piece| (piece.spans.len(), piece.end.is_some())).collect();
        assert_eq!(lengths, [(SPANS_SENT, false), (1, true)]);
        assert_eq!((profiling.number(), profiling.take().len()), (0, 0), "it is told once");
    }

    #[test]
    fn what_nobody_asks_for_any_more_is_not_sent() {
        let profiling = Profiling::default();
        profiling.deliver(1, &[], end());
        profiling.ask(ask(1));
        profiling.ask(ask(2));
        profiling.deliver(1, &[], end());
        assert_eq!((profiling.number(), profiling.take().len()), (2, 0));
        profiling.deliver(2, &[], end());
        assert_eq!(profiling.take().len(), 1, "a profile without spans is one too");
        profiling.ask(ask(3));
        profiling.forget();
        profiling.deliver(3, &[], end());
        assert_eq!((profiling.number(), profiling.take().len()), (0, 0));
    }
}
