//! Spans of a worker as times of the parts of its steps.
//!
//! Spans of a thread lie inside each other. What a span takes by itself is its length without what is inside of it, so that the
//! parts of a step add up to the step.

use std::cmp::Reverse;

use lsgan_wire::v1::{Span, SpanKind};

/// A part of a step.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// For people.
    pub name: &'static str,
    /// In JSON.
    pub key: &'static str,
}

const fn part(name: &'static str, key: &'static str) -> Part {
    Part { name, key }
}

/// All parts, in the order of a step.
pub const PARTS: [Part; 8] = [
    part("data wait", "data_wait"),
    part("D", "discriminator"),
    part("G", "generator"),
    part("quantise", "quantise"),
    part("exchange", "exchange"),
    part("apply", "apply"),
    part("GPU wait", "gpu_wait"),
    part("rest", "rest"),
];
/// The place of what only GPUs have.
pub const GPU_WAIT: usize = 6;

/// What a span takes by itself is of this part; none where it is of no step of the training thread.
fn part_of(kind: SpanKind) -> Option<usize> {
    Some(match kind {
        SpanKind::DataWait => 0,
        SpanKind::Discriminator | SpanKind::DiscriminatorAhead => 1,
        SpanKind::Generator => 2,
        SpanKind::Quantise => 3,
        SpanKind::Exchange => 4,
        SpanKind::Apply => 5,
        SpanKind::DeviceWait => GPU_WAIT,
        SpanKind::Step | SpanKind::Boundary => 7,
        // Of a worker of another version, which may mean another thread.
        SpanKind::Travel | SpanKind::Unspecified => return None,
    })
}

/// A whole step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepShares {
    /// Its index.
    pub step: u64,
    /// All of it.
    pub whole_ns: u64,
    /// In the order of [`PARTS`].
    pub parts_ns: [u64; PARTS.len()],
}

/// The whole steps of a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// In their order.
    pub steps: Vec<StepShares>,
}

/// A time over several steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Its mean.
    pub mean_ms: f64,
    /// In the step that has least of it.
    pub min_ms: f64,
    /// In the step that has most of it.
    pub max_ms: f64,
    /// Of the steps' whole time.
    pub share: f64,
}

/// A span that others may lie in.
struct Open {
    end_ns: u64,
    part: usize,
    own_ns: u64,
}

impl Shares {
    /// Of the spans of one worker, in any order.
    #[must_use]
    pub fn of(spans: &[Span]) -> Self {
        let mut sorted: Vec<_> = spans.iter().filter(|span| part_of(span.kind()).is_some()).collect();
        // The outer ones first; a step before what has its length.
        let is_part = |span: &Span| span.kind() != SpanKind::Step;
        sorted.sort_by_key(|span| (span.begin_ns, Reverse(span.len_ns), is_part(span)));
        let (mut shares, mut open) = (Self::default(), Vec::<Open>::new());
        for span in sorted {
            shares.close(&mut open, span.begin_ns);
            let Some(part) = part_of(span.kind()) else { continue };
            let parts_ns = [0; PARTS.len()];
            if open.is_empty() && span.kind() == SpanKind::Step {
                shares.steps.push(StepShares { step: span.step, whole_ns: span.len_ns, parts_ns });
            } else if open.is_empty() {
                continue; // of a step that is not whole
            }
            if let Some(around) = open.last_mut() {
                around.own_ns = around.own_ns.saturating_sub(span.len_ns);
            }
            open.push(Open { end_ns: span.begin_ns.saturating_add(span.len_ns), part, own_ns: span.len_ns });
        }
        shares.close(&mut open, u64::MAX);
        shares
    }

    /// Counts what has ended by then.
    fn close(&mut self, open: &mut Vec<Open>, now_ns: u64) {
        while let Some(ended) = open.pop_if(|span| span.end_ns <= now_ns) {
            if let Some(step) = self.steps.last_mut() {
                let part = &mut step.parts_ns[ended.part];
                *part = part.saturating_add(ended.own_ns);
            }
        }
    }

    /// The time of whole steps.
    #[must_use]
    pub fn whole(&self) -> Spread {
        self.spread(|step| step.whole_ns)
    }

    /// The time of a part, by its place in [`PARTS`].
    #[must_use]
    pub fn part(&self, part: usize) -> Spread {
        self.spread(|step| step.parts_ns[part])
    }

    fn spread(&self, of: impl Fn(&StepShares) -> u64) -> Spread {
        let ms = |ns: u64| ns as f64 / 1e6;
        let values = || self.steps.iter().map(|step| ms(of(step)));
        let sum: f64 = values().sum();
        let whole: f64 = self.steps.iter().map(|step| ms(step.whole_ns)).sum();
        Spread {
            mean_ms: sum / self.steps.len().max(1) as f64,
            min_ms: values().reduce(f64::min).unwrap_or(0.0),
            max_ms: values().reduce(f64::max).unwrap_or(0.0),
            share: if whole > 0.0 { sum / whole } else { 0.0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(kind: SpanKind, step: u64, begin_ns: u64, len_ns: u64) -> Span {
        Span { kind: kind.into(), step, begin_ns, len_ns }
    }

    /// As the training thread records them: what is inside first.
    fn of_a_step(step: u64, begin: u64) -> Vec<Span> {
        let at = |kind, from: u64, len| span(kind, step, begin + from, len);
        vec![
            at(SpanKind::DataWait, 0, 5),
            at(SpanKind::Quantise, 15, 3),
            at(SpanKind::Quantise, 20, 2),
            at(SpanKind::Discriminator, 5, 20),
            at(SpanKind::Exchange, 25, 10),
            at(SpanKind::Apply, 35, 4),
            at(SpanKind::Generator, 40, 30),
            at(SpanKind::DiscriminatorAhead, 72, 6),
            at(SpanKind::Travel, 20, 70),
            at(SpanKind::Exchange, 70, 10),
            at(SpanKind::Boundary, 80, 1),
            at(SpanKind::Step, 0, 100),
        ]
    }

    #[test]
    fn the_parts_of_a_step_add_up_to_it_and_nothing_counts_twice() {
        let spans = [of_a_step(3, 0), of_a_step(4, 100)].concat();
        let shares = Shares::of(&spans);
        let expected = |step| StepShares {
            step,
            whole_ns: 100,
            // D without its two additions to the sum, and the next step's part of it.
            parts_ns: [5, 20 - 5 + 6, 30, 5, 10 + 10 - 6, 4, 0, 100 - 5 - 20 - 10 - 4 - 30 - 10],
        };
        assert_eq!(shares.steps, [expected(3), expected(4)]);
        assert!(shares.steps.iter().all(|step| step.parts_ns.iter().sum::<u64>() == step.whole_ns));
        let whole: f64 = (0..PARTS.len()).map(|part| shares.part(part).share).sum();
        assert!((whole - 1.0).abs() < 1e-12);
        let Spread { mean_ms, min_ms, max_ms, share } = shares.part(2);
        assert_eq!([mean_ms, min_ms, max_ms], [30e-6; 3]);
        assert!((share - 0.3).abs() < 1e-12);
    }

    #[test]
    fn a_step_that_is_not_whole_does_not_count_and_what_makes_no_sense_breaks_nothing() {
        let mut spans = of_a_step(3, 0);
        spans.push(span(SpanKind::Discriminator, 4, 100, 20));
        assert_eq!(Shares::of(&spans).steps.len(), 1);
        assert_eq!(Shares::of(&[]), Shares::default());
        let overlapping = [span(SpanKind::Step, 0, 0, 10), span(SpanKind::Apply, 0, 5, u64::MAX - 5)];
        assert_eq!(Shares::of(&overlapping).steps.len(), 1);
        let strange = Span { kind: 99, ..span(SpanKind::Apply, 0, 0, 1) };
        assert_eq!(Shares::of(&[strange, span(SpanKind::Step, 0, 0, 4)]).steps[0].parts_ns[7], 4);
    }
}
