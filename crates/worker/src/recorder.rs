//! What a few steps take the training thread, part by part, while an operator asks for it (`lsgan profile`): [`Recorder`].
//!
//! While nobody does, a step costs one look at a number, and no clock is read. Nothing that is computed or sent to other
//! workers depends on it.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use lsgan_spec::Step;
use lsgan_wire::v1::{self, SpanKind};

use crate::outbox::Outbox;

/// When a part of a step began; none while nothing is recorded.
pub type Begin = Option<Instant>;

/// Records spans of the steps of one generation.
#[derive(Debug, Default)]
pub struct Recorder(Option<Box<Recording>>);

#[derive(Debug)]
struct Recording {
    ask: v1::RecordSpans,
    /// When recording began, and the same by the wall clock.
    origin: Instant,
    wall_us: u64,
    /// Whole steps.
    done: u32,
    spans: Vec<v1::Span>,
    /// The present step.
    step: Step,
    step_began: Instant,
    /// Spans of the steps before it.
    before: usize,
    /// It is done, and only the next one has not begun.
    is_whole: bool,
    /// Some of its spans have no room.
    is_full: bool,
}

impl Recorder {
    /// Whether anything is recorded.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// D's half of a step begins, and with it the step; the one before is whole. Looks whether a profile is asked for.
    pub fn step_begins(&mut self, step: Step, outbox: &Outbox) {
        let asked = outbox.profiling.number();
        if asked == 0 && self.0.is_none() {
            return;
        }
        let now = Instant::now();
        if let Some(recording) = self.0.take_if(|recording| recording.ask.profile == asked) {
            self.0 = recording.after_step(now, outbox);
        } else {
            // Nobody asks for what was recorded until now.
            self.0 = outbox.profiling.asked().map(|ask| Box::new(Recording::new(ask, step, now)));
        }
        if let Some(recording) = &mut self.0 {
            recording.begin_step(step, now);
        }
    }

    /// A step is done: all that is due after it, too.
    pub fn step_ended(&mut self, step: Step) {
        if let Some(recording) = &mut self.0 {
            recording.is_whole = recording.step == step;
        }
    }

    /// The generation has ended. What was recorded is delivered, without a step that is not whole.
    pub fn finish(&mut self, outbox: &Outbox) {
        let Some(mut recording) = self.0.take() else { return };
        if recording.is_whole {
            match recording.after_step(Instant::now(), outbox) {
                Some(not_delivered) => recording = not_delivered,
                None => return,
            }
        } else {
            recording.spans.truncate(recording.before);
        }
        let why = format!("{} of {} steps: its generation ended", recording.done, recording.ask.steps);
        recording.deliver(why, outbox);
    }

    /// A part of a step begins.
    #[must_use]
    pub fn begin(&self) -> Begin {
        self.0.is_some().then(Instant::now)
    }

    /// A part of a step that began then ends.
    pub fn end(&mut self, begin: Begin, kind: SpanKind) {
        if let Some(begin) = begin {
            self.between(begin, Instant::now(), kind);
        }
    }

    /// A part of a step lasted from `begin` to `end`.
    pub fn between(&mut self, begin: Instant, end: Instant, kind: SpanKind) {
        if let Some(recording) = &mut self.0 {
            recording.add(kind, begin, end);
        }
    }
}

impl Recording {
    fn new(ask: v1::RecordSpans, step: Step, now: Instant) -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            ask,
            origin: now,
            wall_us: u64::try_from(wall.as_micros()).unwrap_or(u64::MAX),
            done: 0,
            spans: Vec::new(),
            step,
            step_began: now,
            before: 0,
            is_whole: false,
            is_full: false,
        }
    }

    fn begin_step(&mut self, step: Step, now: Instant) {
        (self.step, self.step_began, self.before) = (step, now, self.spans.len());
        (self.is_whole, self.is_full) = (false, false);
    }

    fn add(&mut self, kind: SpanKind, begin: Instant, end: Instant) {
        // Each step has one span more, of its own.
        let parts = self.spans.len() - self.done as usize;
        if parts < self.ask.spans_max.saturating_sub(self.ask.steps) as usize {
            let span = self.span(kind, begin, end);
            self.spans.push(span);
        } else {
            self.is_full = true;
        }
    }

    fn span(&self, kind: SpanKind, begin: Instant, end: Instant) -> v1::Span {
        let ns = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        v1::Span {
            kind: kind.into(),
            step: self.step.0,
            begin_ns: ns(begin.saturating_duration_since(self.origin)),
            len_ns: ns(end.saturating_duration_since(begin)),
        }
    }

    /// Closes a step that is whole; delivers all when it is the last one.
    fn after_step(mut self: Box<Self>, now: Instant, outbox: &Outbox) -> Option<Box<Self>> {
        if self.is_full {
            // Of a step with only some of its parts nobody knows where it went.
            self.spans.truncate(self.before);
            let (done, steps, most) = (self.done, self.ask.steps, self.ask.spans_max);
            self.deliver(format!("{done} of {steps} steps: more than {most} spans are not kept"), outbox);
            return None;
        }
        let span = self.span(SpanKind::Step, self.step_began, now);
        self.spans.push(span);
        self.done += 1;
        if self.done < self.ask.steps {
            return Some(self);
        }
        self.deliver(String::new(), outbox);
        None
    }

    fn deliver(&self, why: String, outbox: &Outbox) {
        let end = v1::Recorded { wall_us: self.wall_us, steps: self.done, why };
        outbox.recorded(self.ask.profile, &self.spans, end);
    }
}

#[cfg(test)]
mod tests {
    use lsgan_control::member::{Identity, Participant};

    use super::*;

    fn outbox(steps: u32, spans_max: u32) -> Outbox {
        let outbox = Outbox::new(Participant::new(Identity::default()));
        outbox.profiling.ask(v1::RecordSpans { profile: 1, steps, spans_max });
        outbox
    }

    /// Does steps with so many parts until nothing is recorded any more, or `steps` are done.
    fn record(recorder: &mut Recorder, outbox: &Outbox, steps: u64, parts: u64) {
        for step in 0..steps {
            recorder.step_begins(Step(step), outbox);
            for _ in 0..parts {
                let begin = recorder.begin();
                recorder.end(begin, SpanKind::Apply);
            }
            recorder.step_ended(Step(step));
        }
    }

    fn delivered(outbox: &Outbox) -> (Vec<v1::Span>, v1::Recorded) {
        let mut mail = outbox.profiling.take();
        let end = mail.last_mut().and_then(|last| last.end.take()).expect("it was delivered");
        (mail.into_iter().flat_map(|piece| piece.spans).collect(), end)
    }

    #[test]
    fn nothing_is_recorded_while_nobody_asks() {
        let outbox = Outbox::new(Participant::new(Identity::default()));
        let mut recorder = Recorder::default();
        record(&mut recorder, &outbox, 2, 1);
        assert_eq!((recorder.is_on(), recorder.begin()), (false, None));
        recorder.finish(&outbox);
        assert!(outbox.profiling.take().is_empty());
    }

    #[test]
    fn as_many_steps_as_are_asked_for_are_recorded_each_with_its_parts_inside() {
        let outbox = outbox(3, 1000);
        let mut recorder = Recorder::default();
        record(&mut recorder, &outbox, 5, 2);
        assert!(!recorder.is_on());
        let (spans, end) = delivered(&outbox);
        assert_eq!((spans.len(), end.steps, end.why.as_str()), (9, 3, ""));
        let is_step = |span: &&v1::Span| span.kind() == SpanKind::Step;
        let steps: Vec<_> = spans.iter().filter(is_step).collect();
        assert_eq!(steps.iter().map(|span| span.step).collect::<Vec<_>>(), [0, 1, 2]);
        for step in &steps {
            let mut parts = spans.iter().filter(|span| span.step == step.step && !is_step(span));
            let inside = |part: &v1::Span| {
                part.begin_ns >= step.begin_ns && part.begin_ns + part.len_ns <= step.begin_ns + step.len_ns
            };
            assert!(parts.all(inside), "{spans:?}");
        }
    }

    #[test]
    fn a_generation_that_ends_leaves_its_whole_steps() {
        let (first, second) = (outbox(10, 1000), outbox(10, 1000));
        let mut recorder = Recorder::default();
        record(&mut recorder, &first, 2, 1);
        recorder.step_begins(Step(2), &first);
        let begin = recorder.begin();
        recorder.end(begin, SpanKind::Apply);
        recorder.finish(&first);
        let (spans, end) = delivered(&first);
        assert_eq!((spans.len(), end.steps), (4, 2), "the third step was not whole");
        assert_eq!(end.why, "2 of 10 steps: its generation ended");

        // At a step boundary the last one is.
        record(&mut recorder, &second, 2, 1);
        recorder.finish(&second);
        let (spans, end) = delivered(&second);
        assert_eq!((spans.len(), end.steps), (4, 2));
    }

    #[test]
    fn a_step_without_room_for_all_its_parts_is_left_out() {
        let outbox = outbox(10, 16);
        let mut recorder = Recorder::default();
        record(&mut recorder, &outbox, 5, 4);
        let (spans, end) = delivered(&outbox);
        assert_eq!((spans.len(), end.steps), (5, 1), "six parts have room");
        assert_eq!(end.why, "1 of 10 steps: more than 16 spans are not kept");
    }

    #[test]
    fn another_profile_ends_the_one_before() {
        let outbox = outbox(10, 1000);
        let mut recorder = Recorder::default();
        record(&mut recorder, &outbox, 2, 1);
        outbox.profiling.ask(v1::RecordSpans { profile: 2, steps: 1, spans_max: 1000 });
        record(&mut recorder, &outbox, 2, 1);
        let (spans, end) = delivered(&outbox);
        assert_eq!((spans.len(), end.steps), (2, 1));
        assert_eq!(outbox.profiling.number(), 0);
    }
}
