//! Sentences for people: what happened, for the log, the journal and `lsgan status`.

use std::collections::VecDeque;

use lsgan_control::{Direction, Entry, GoneReason, Outcome, Run, Start};
use lsgan_journal::wall_ms;
use lsgan_spec::{Incarnation, printable};
use lsgan_wire::v1;

use crate::causes::{A_WHILE_MS, Cause, Lasts};

/// How many are kept for tools that ask; the journal has them all.
const KEPT: usize = 200;

/// The newest notices.
#[derive(Debug, Default)]
pub struct Notices {
    number: u64,
    kept: VecDeque<Kept>,
    /// Causes that have ended and are not in the journal as such, with the times.
    ended: Vec<(String, u64)>,
}

#[derive(Debug)]
struct Kept {
    notice: v1::Notice,
    lasts: Lasts,
    /// The youngest worker that was attached when it was said last.
    newest: Incarnation,
}

/// Something to tell people.
#[derive(Debug)]
pub struct Telling {
    /// A person should look at it.
    pub warning: bool,
    /// The worker that it is about; empty if it is about none.
    pub worker: String,
    /// For how long, if it is a warning.
    pub lasts: Lasts,
    /// The sentence.
    pub text: String,
}

/// Whether people have heard it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is news.
    First,
    /// It happened again.
    Again,
}

impl Notices {
    /// None yet; the next one follows the `number` that the journal has, so that who watched a coordinator that died
    /// sees what is new with the next one.
    pub fn after(number: u64) -> Self {
        Self { number, ..Self::default() }
    }

    /// Adds one; a warning that stands already, in the same words or of the same cause, is counted up instead.
    pub fn add(&mut self, telling: Telling, newest: Incarnation) -> Heard {
        let Telling { warning, worker, lasts, text } = telling;
        let now_ms = wall_ms();
        let standing = |kept: &&mut Kept| {
            let same = matches!(lasts, Lasts::Until(_)) && kept.lasts == lasts || kept.notice.text == text;
            warning && kept.notice.warning && kept.over_ms(now_ms).is_none() && same
        };
        if let Some(kept) = self.kept.iter_mut().rev().find(standing) {
            kept.notice.count = kept.notice.count.saturating_add(1);
            (kept.notice.last_ms, kept.notice.text, kept.newest) = (now_ms, text, newest);
            return Heard::Again;
        }
        self.number += 1;
        if self.kept.len() == KEPT {
            // What a person should still look at is kept longest.
            let past =
                self.kept.iter().position(|kept| !kept.notice.warning || kept.over_ms(now_ms).is_some());
            self.kept.remove(past.unwrap_or(0));
        }
        let (number, count) = (self.number, 1);
        let notice = v1::Notice {
            number,
            wall_ms: now_ms,
            text,
            warning,
            count,
            last_ms: now_ms,
            over_ms: None,
            worker,
        };
        self.kept.push_back(Kept { notice, lasts, newest });
        Heard::First
    }

    /// A cause has ended. Returns whether a warning stood because of it.
    pub fn end(&mut self, cause: &Cause) -> bool {
        let (now_ms, mut stood) = (wall_ms(), false);
        for kept in &mut self.kept {
            if kept.notice.over_ms.is_none() && matches!(&kept.lasts, Lasts::Until(its) if its == cause) {
                kept.notice.over_ms = Some(now_ms);
                self.ended.push((cause.to_string(), now_ms));
                stood = true;
            }
        }
        stood
    }

    /// Ends the warnings whose cause has ended, as `run` shows.
    pub fn refresh(&mut self, run: &Run) {
        let now_ms = wall_ms();
        for kept in self.kept.iter_mut().filter(|kept| kept.notice.over_ms.is_none()) {
            if let Lasts::Until(cause) = &kept.lasts
                && cause.has_ended(run, kept.newest)
            {
                kept.notice.over_ms = Some(now_ms);
                self.ended.push((cause.to_string(), now_ms));
            }
        }
    }

    /// The causes that have ended since the last call, and when.
    pub fn take_ended(&mut self) -> Vec<(String, u64)> {
        std::mem::take(&mut self.ended)
    }

    /// Whether a warning of this cause stands.
    #[must_use]
    pub fn stands(&self, cause: &Cause) -> bool {
        let its = |kept: &Kept| matches!(&kept.lasts, Lasts::Until(its) if its == cause);
        self.kept.iter().any(|kept| kept.notice.over_ms.is_none() && its(kept))
    }

    /// All that are kept, oldest first.
    pub fn all(&self) -> Vec<v1::Notice> {
        let now_ms = wall_ms();
        let shown = |kept: &Kept| v1::Notice { over_ms: kept.over_ms(now_ms), ..kept.notice.clone() };
        self.kept.iter().map(shown).collect()
    }
}

impl Kept {
    fn over_ms(&self, now_ms: u64) -> Option<u64> {
        let while_until = self.notice.last_ms + A_WHILE_MS;
        let passed = self.lasts == Lasts::AWhile && while_until <= now_ms;
        self.notice.over_ms.or(passed.then_some(while_until))
    }
}

/// What a person is told about a journal entry of `run`: `(whether to look at it, the sentence)`.
#[expect(clippy::too_many_lines, reason = "a flat match: a sentence for each entry")]
pub fn sentence(entry: &Entry, run: &Run) -> Option<(bool, String)> {
    let label = |incarnation, name: &str| match name {
        "" => format!("worker {incarnation}"),
        name => format!("worker {incarnation} ({name})"),
    };
    let known = |incarnation| label(incarnation, run.workers().get(incarnation).map_or("", |w| &w.name));
    Some(match entry {
        Entry::Admitted { incarnation, name, address } => {
            (false, format!("worker {incarnation} ({name}, peers at {address}) joined"))
        }
        Entry::Gone { incarnation, name, reason } => {
            (*reason != GoneReason::Left, format!("{} is gone: {reason}", label(incarnation, name)))
        }
        Entry::OtherNumerics { incarnation, numerics } => (
            true,
            format!(
                "{} has other numerics than the run ({numerics}) and is admitted, as cluster.numerics says: the run \
                 no longer promises equal bits",
                known(incarnation)
            ),
        ),
        Entry::Straggles { incarnation, pace_us, median_us, evicted } => {
            let ms = |us: &u64| *us as f64 / 1000.0;
            let then = if *evicted { "; it stands by while there are enough others" } else { "" };
            let text = format!(
                "{} is a straggler: it needs {:.1} ms for a virtual rank in a step, the median of the others is \
                 {:.1} ms{then}",
                known(incarnation),
                ms(pace_us),
                ms(median_us)
            );
            (true, text)
        }
        Entry::Stands { generation, stood_ms, limit_ms, behind } => {
            let (stood_s, limit_s) = (stood_ms / 1000, limit_ms / 1000);
            let whom = match behind.as_slice() {
                [] => "one of them".to_owned(),
                behind => behind.iter().map(known).collect::<Vec<_>>().join(" and "),
            };
            let text = format!(
                "generation {generation} has done no step for {stood_s} s, though all of its workers are heard: they \
                 wait for {whom}. After {limit_s} s it ends, and whoever does not stop then is done without"
            );
            (true, text)
        }
        Entry::CutOff { incarnation, peer, direction, why } => {
            let at = |incarnation| {
                let address = run.workers().get(incarnation).map_or("its address", |worker| &worker.address);
                format!("{} at {address}", known(incarnation))
            };
            (true, cut_off(&at(incarnation), &at(peer), *direction, why))
        }
        Entry::ReachedAgain { incarnation } => {
            (false, format!("{} and the others reach each other again: it takes part", known(incarnation)))
        }
        Entry::LeftBehind { incarnation, attempts, why } => (
            true,
            format!(
                "the run goes on without {}: its state did not reach that worker in {attempts} generations, and the last \
                 one ended so: {why}. Look at the network between it and the others. It takes part again when it is \
                 started again, or when there are too few others",
                known(incarnation)
            ),
        ),
        Entry::Faulty { incarnation, why } => (
            true,
            format!(
                "{} stands by while there are enough others: {why}. Look at its host and its log. It takes part again when it \
                 is started again, or when there are too few others",
                known(incarnation)
            ),
        ),
        Entry::NoProgress { attempts, from, wait_ms, why } => (
            true,
            format!(
                "no progress since step {}: {attempts} generations in a row have ended before they did anything. What \
                 ended the last one: {why} The next try is in {:.1} s, or when a worker joins or goes.",
                from.step(),
                *wait_ms as f64 / 1000.0
            ),
        ),
        // Of the members that have applied the first reduction.
        Entry::Numerics(numerics) => (false, format!("the run's numerics are {numerics}")),
        Entry::Generation { generation, members, from, start } => {
            let workers = match members.len() {
                1 => "1 worker".to_owned(),
                n => format!("{n} workers"),
            };
            let origin = match start {
                Start::Fresh => "with fresh weights".to_owned(),
                Start::Snapshot(step) => format!("from the snapshot of step {step}"),
                Start::Held => format!("from the state held at step {}", from.step()),
            };
            (false, format!("generation {generation} of {workers} starts {origin}"))
        }
        Entry::Halting { generation, why } => (false, format!("generation {generation} ends: {why}")),
        Entry::StopRequested => (false, "stopping at the next step boundary, with a snapshot".to_owned()),
        Entry::Paused { by } => {
            (false, format!("paused by {by}: it rests at the next step boundary, with a snapshot"))
        }
        Entry::Resumed { by } => (false, format!("{by} goes on with the run")),
        Entry::DataUnfit(_) => {
            (true, "the data set is too bad to train on: stopping at the next step boundary".to_owned())
        }
        Entry::Ended(Outcome::Complete) => (false, "all steps are done".to_owned()),
        Entry::Ended(Outcome::Stopped { step }) => (false, format!("stopped after step {step}")),
        Entry::CannotKeep { incarnation, why } => {
            (true, format!("{} computes, but cannot write snapshots: {why}", known(incarnation)))
        }
        Entry::NoKeeper { step } => (
            true,
            format!(
                "step {step} is to be written, and no attached worker sees the run's store: the run waits for one that does. \
                 Start one, or mend the store on one of these hosts"
            ),
        ),
        Entry::Ended(Outcome::Refused { why }) => (true, format!("the run does not start: {why}")),
        Entry::Ended(Outcome::Failed { why }) => (true, format!("the run failed: {why}")),
        // What follows from a difference is the run's failure, which says it.
        Entry::Stepping(_) | Entry::Consumed { .. } | Entry::Differs(_) | Entry::Base(_) => return None,
    })
}

/// Why a worker stands aside, and what to do. Both come with their addresses.
fn cut_off(one: &str, peer: &str, direction: Direction, why: &str) -> String {
    let what = match direction {
        Direction::Inbound => {
            format!("{peer} cannot connect to {one} ({why}), though the coordinator hears both")
        }
        Direction::Outbound => {
            format!("{one} cannot connect to {peer} ({why}), though the coordinator hears both")
        }
        Direction::Both => {
            format!("{one} and {peer} cannot reach each other ({why}), though the coordinator hears both")
        }
    };
    let remedy = match direction {
        Direction::Inbound => {
            "Start it with --advertise IP, an address of its host that the other hosts reach, and with --peer-listen \
             IP:PORT on a port that the firewall lets in."
        }
        Direction::Outbound => {
            "Either the second one's address is wrong (--advertise IP, --peer-listen IP:PORT, its firewall), or the \
             first one's host lets no connections out."
        }
        Direction::Both => "Look at the network between their hosts.",
    };
    let goes = if direction == Direction::Inbound { "The second one" } else { "The first one" };
    format!(
        "{what}. {goes} stands aside while there are enough others, and is tried again from time to time. {remedy}"
    )
}

/// What is shown of a text that somebody else sent: so many bytes of it at most, which a terminal shows as they are.
pub(crate) fn shown(text: &str, len_bytes_max: usize) -> String {
    printable(&text[..text.floor_char_boundary(len_bytes_max)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn telling(lasts: Lasts, text: &str) -> Telling {
        Telling { warning: true, worker: "anna".to_owned(), lasts, text: text.to_owned() }
    }

    #[test]
    fn a_warning_that_stands_is_counted_up_and_one_that_is_over_comes_anew() {
        let (mut notices, nobody) = (Notices::after(7), Incarnation(0));
        let snapshot = |step: u64| telling(Lasts::Until(Cause::Snapshot), &format!("step {step}: disk full"));
        assert_eq!(notices.add(snapshot(10), nobody), Heard::First);
        for step in 11..24 {
            assert_eq!(notices.add(snapshot(step), nobody), Heard::Again);
        }
        let all = notices.all();
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].number, all[0].count, all[0].text.as_str()), (8, 14, "step 23: disk full"));
        assert!(all[0].over_ms.is_none() && all[0].last_ms >= all[0].wall_ms);
        assert!(notices.end(&Cause::Snapshot));
        let ended: Vec<_> = notices.take_ended().into_iter().map(|(cause, _)| cause).collect();
        assert_eq!(ended, ["snapshots"]);
        assert!(!notices.end(&Cause::Snapshot), "it is over already");
        assert!(notices.all()[0].over_ms.is_some());
        assert_eq!(notices.add(snapshot(30), nobody), Heard::First);
        assert_eq!(notices.all()[1].number, 9);
    }

    #[test]
    fn equal_words_are_one_warning_and_events_are_never_counted_up() {
        let (mut notices, nobody) = (Notices::default(), Incarnation(0));
        assert_eq!(notices.add(telling(Lasts::AWhile, "odd"), nobody), Heard::First);
        assert_eq!(notices.add(telling(Lasts::AWhile, "odd"), nobody), Heard::Again);
        let event = || Telling { warning: false, ..telling(Lasts::AWhile, "worker 1 joined") };
        assert_eq!(notices.add(event(), nobody), Heard::First);
        assert_eq!(notices.add(event(), nobody), Heard::First);
        assert_eq!(notices.all().len(), 3);
    }

    #[test]
    fn what_a_person_should_look_at_outlives_any_number_of_events() {
        let (mut notices, nobody) = (Notices::default(), Incarnation(0));
        notices.add(telling(Lasts::Always, "no equal bits"), nobody);
        for event in 0..1_000 {
            let event = telling(Lasts::AWhile, &event.to_string());
            notices.add(Telling { warning: false, ..event }, nobody);
        }
        assert_eq!(notices.all().len(), KEPT);
        assert_eq!(notices.all()[0].text, "no equal bits");
    }
}
