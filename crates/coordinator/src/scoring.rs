//! Which worker scores which snapshot, where the run's file leaves that to workers (`evaluate.where`); and the one place where
//! scores of other processes are kept, of workers and of `lsgan eval --coordinator`.
//!
//! One snapshot at a time, the newest first: of many that wait the oldest are deleted first. The machine of `control` knows
//! nothing of it: no worker is a member or not for a score.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use lsgan_control::gate::Rejection;
use lsgan_control::{Keeps, Phase, SessionId};
use lsgan_launch::{ScoreRow, append_score, has_all_scores, read_scores};
use lsgan_spec::{ScoringPlace, Step};
use lsgan_wire::v1;
use tokio::task::block_in_place;

use crate::allowance::Bucket;
use crate::causes::{Cause, Lasts};
use crate::notices::{Telling, shown};
use crate::operate::name;
use crate::shell::Shell;

/// Between two looks for a worker that is free.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long a score may take before another worker is asked. Features of 50,000 real pictures take one thread an hour.
const WITHIN: Duration = Duration::from_secs(6 * 3600);
/// The longest reason of a worker that is shown.
const WHY_LEN_BYTES_MAX: usize = 4 << 10;
/// Scores that operators may report at once, and how often one more. Each is a line of a file.
const REPORTED_MAX: u64 = 64;
const REPORTED_EVERY: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Debug)]
pub(crate) struct Scoring {
    /// Snapshots without a score, each with the streams of workers that could not make it.
    due: BTreeMap<Step, BTreeSet<SessionId>>,
    asked: Option<Asked>,
    /// All streams that were asked.
    ever: BTreeSet<SessionId>,
    looked: Option<Instant>,
    reported: Bucket,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    session: SessionId,
    step: Step,
    since: Instant,
}

/// What an answer is to the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Awaited,
    /// It was asked, and another worker was asked since.
    Late,
    Unasked,
}

impl Scoring {
    /// Nothing is due.
    pub fn new(now: Instant) -> Self {
        Self {
            due: BTreeMap::new(),
            asked: None,
            ever: BTreeSet::new(),
            looked: None,
            reported: Bucket::full(REPORTED_MAX, REPORTED_EVERY, now),
        }
    }

    /// Whether it is time to look for a worker.
    fn looks(&mut self, now: Instant) -> bool {
        if self.due.is_empty() || self.looked.is_some_and(|looked| now < looked + LOOK_EVERY) {
            return false;
        }
        self.looked = Some(now);
        true
    }

    /// The newest snapshot that is due, and the first of these workers that has not failed to score it.
    fn next(&self, free: &[SessionId]) -> Option<(SessionId, Step)> {
        self.due.iter().rev().find_map(|(step, failed)| {
            let session = free.iter().find(|session| !failed.contains(*session))?;
            Some((*session, *step))
        })
    }

    fn ask(&mut self, session: SessionId, step: Step, since: Instant) {
        self.asked = Some(Asked { session, step, since });
        self.ever.insert(session);
    }

    /// Takes the answer of a worker: if it is awaited, the worker is free.
    fn answered(&mut self, session: SessionId, step: Step) -> Answer {
        match self.asked {
            Some(asked) if (asked.session, asked.step) == (session, step) => {
                self.asked = None;
                Answer::Awaited
            }
            _ if self.ever.contains(&session) => Answer::Late,
            _ => Answer::Unasked,
        }
    }

    fn failed(&mut self, session: SessionId, step: Step) {
        if let Some(failed) = self.due.get_mut(&step) {
            failed.insert(session);
        }
    }
}

impl Shell {
    /// Snapshots of an earlier life are scored too, if they have no score yet.
    pub(crate) fn want_scores(&mut self) {
        for step in self.catalogue.kept() {
            self.wants_score(step);
        }
    }

    /// A snapshot is there: it is scored, if workers are to do that.
    pub(crate) fn wants_score(&mut self, step: Step) {
        let evaluate = &self.spec.evaluate;
        if evaluate.r#where.is_a_worker() && evaluate.is_due(step.0, self.spec.steps) {
            self.scoring.due.entry(step).or_default();
        }
    }

    /// Asks a worker for the newest score that is due, if no worker is at one.
    pub(crate) fn see_to_scores(&mut self) {
        let now = Instant::now();
        if !self.scoring.looks(now) {
            return;
        }
        let is_at_it = |asked: Asked| now < asked.since + WITHIN && self.may_score(asked.session);
        if self.scoring.asked.is_some_and(is_at_it) {
            return;
        }
        let (catalogue, sessions) = (&self.catalogue, &self.sessions);
        self.scoring.asked = None;
        self.scoring.due.retain(|step, _| catalogue.keeps(*step));
        self.scoring.ever.retain(|session| sessions.contains_key(session));
        let free = self.free_to_score();
        while let Some((session, step)) = self.scoring.next(&free) {
            match self.has_score(step) {
                Ok(true) => drop(self.scoring.due.remove(&step)),
                Ok(false) => {
                    self.scoring.ask(session, step, now);
                    return self.send(session, v1::Score { step: step.0 }.into());
                }
                Err(why) => {
                    self.scoring.due.clear();
                    return self.warn_until(Cause::Score, why);
                }
            }
        }
    }

    /// Whether a worker that was asked may still be at it: a standby drops the score when it is needed.
    fn may_score(&self, session: SessionId) -> bool {
        let is_standby = self.spec.evaluate.r#where == ScoringPlace::Standby;
        self.worker_on(session).is_some_and(|worker| !(is_standby && worker.computing))
    }

    /// The workers that can be asked, those first that will be members last.
    fn free_to_score(&self) -> Vec<SessionId> {
        if !matches!(self.run.phase(), Phase::Stepping) {
            return vec![];
        }
        let workers = self.run.workers().iter().rev();
        let free = workers.filter(|(incarnation, worker)| {
            let is_free = match self.spec.evaluate.r#where {
                ScoringPlace::Standby => {
                    !worker.computing && worker.holds.is_none() && worker.aside.is_none()
                }
                ScoringPlace::Writer => worker.computing && self.run.writer() == Some(**incarnation),
                ScoringPlace::Beside | ScoringPlace::Off => false,
            };
            is_free && !worker.leaving && worker.keeps == Keeps::Yes
        });
        free.map(|(_, worker)| worker.session).collect()
    }

    /// Whether a snapshot has all scores that the run's file asks for.
    fn has_score(&self, step: Step) -> Result<bool, String> {
        let known = block_in_place(|| read_scores(&self.run_dir)).map_err(|failure| failure.text)?;
        Ok(has_all_scores(&known, step, &self.spec.evaluate))
    }

    /// A worker says what a snapshot scores, or why it does not.
    pub(crate) fn scored(&mut self, session: SessionId, scored: &v1::Scored) {
        let step = Step(scored.step);
        match self.scoring.answered(session, step) {
            Answer::Awaited => {}
            Answer::Late => return self.reject(session, &Rejection::Late),
            Answer::Unasked if self.worker_on(session).is_none() => {
                return self.reject(session, &Rejection::NoHello);
            }
            Answer::Unasked => {
                let (says, may) = ("what a snapshot scores", "a worker that was asked");
                return self.reject(session, &Rejection::NotEntitled { says, may });
            }
        }
        match self.kept_of_worker(step, scored) {
            Ok(rows) => {
                self.notices.end(&Cause::Score);
                for row in rows {
                    self.notice(false, format!("scored {row}"));
                }
            }
            // Retention was faster.
            Err(_) if !self.catalogue.keeps(step) => {}
            Err(why) => {
                self.scoring.failed(session, step);
                let why = shown(&why, WHY_LEN_BYTES_MAX);
                let worker = self.name_of(session);
                let text = format!("{worker} could not score the snapshot of step {step}: {why}");
                self.tell(Telling { warning: true, worker, lasts: Lasts::Until(Cause::Score), text });
            }
        }
    }

    /// Keeps a worker's answer: a line for each of the weights that the run's file names.
    fn kept_of_worker(&mut self, step: Step, scored: &v1::Scored) -> Result<Vec<ScoreRow>, String> {
        if !scored.why_not.is_empty() {
            return Err(scored.why_not.clone());
        }
        let asked = &self.spec.evaluate;
        let weights = asked.weights.all();
        // One more than there may be is enough to refuse all.
        let lines = scored.row.lines().take(weights.len() + 1);
        let rows = lines.map(ScoreRow::from_line).collect::<Result<Vec<_>, _>>()?;
        let of_these = rows.iter().map(|row| row.weights).eq(weights.iter().copied());
        if !of_these || !rows.iter().all(|row| row.is_asked_for(step, asked)) {
            return Err("its score is of something else than it was asked for".to_owned());
        }
        rows.iter().try_for_each(|row| self.keep_score(row))?;
        Ok(rows)
    }

    /// An operator's `lsgan eval` has made a score.
    pub(crate) fn score_reported(&mut self, by: &str, line: &str) -> Result<(), String> {
        if !self.scoring.reported.takes(1, Instant::now()) {
            return Err("scores come faster than they are kept. Send it again in a second".to_owned());
        }
        let row = ScoreRow::from_line(line)?;
        self.keep_score(&row)?;
        self.notice(false, format!("{} has scored {row}", name(by)));
        Ok(())
    }

    /// Keeps a row in the run's directory, where all who show scores read it.
    fn keep_score(&mut self, row: &ScoreRow) -> Result<(), String> {
        if !self.catalogue.keeps(row.step) {
            return Err(format!("the run has no snapshot of step {}", row.step));
        }
        block_in_place(|| append_score(&self.run_dir, row)).map_err(|failure| failure.text)?;
        if row.is_asked_for(row.step, &self.spec.evaluate) && self.has_score(row.step)? {
            self.scoring.due.remove(&row.step);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SessionId = SessionId(1);
    const B: SessionId = SessionId(2);

    fn due(steps: &[u64]) -> Scoring {
        let mut scoring = Scoring::new(Instant::now());
        scoring.due.extend(steps.iter().map(|step| (Step(*step), BTreeSet::new())));
        scoring
    }

    #[test]
    fn the_newest_is_scored_first_and_by_none_that_failed() {
        let mut scoring = due(&[10, 20]);
        assert_eq!(scoring.next(&[]), None);
        assert_eq!(scoring.next(&[A, B]), Some((A, Step(20))));
        scoring.failed(A, Step(20));
        assert_eq!(scoring.next(&[A, B]), Some((B, Step(20))));
        assert_eq!(scoring.next(&[A]), Some((A, Step(10))), "others go on");
        scoring.failed(A, Step(10));
        assert_eq!(scoring.next(&[A]), None);
    }

    #[test]
    fn only_the_worker_that_was_asked_last_is_heard_and_once() {
        let (mut scoring, now) = (due(&[10]), Instant::now());
        assert_eq!(scoring.answered(A, Step(10)), Answer::Unasked);
        scoring.ask(A, Step(10), now);
        assert_eq!(scoring.answered(A, Step(11)), Answer::Late);
        scoring.ask(B, Step(10), now);
        assert_eq!(scoring.answered(A, Step(10)), Answer::Late);
        assert_eq!(scoring.answered(B, Step(10)), Answer::Awaited);
        assert_eq!(scoring.answered(B, Step(10)), Answer::Late);
    }

    #[test]
    fn a_worker_is_looked_for_now_and_then_while_something_is_due() {
        let begin = Instant::now();
        assert!(!due(&[]).looks(begin));
        let mut scoring = due(&[10]);
        let looks: Vec<_> = (0_u32..4).map(|look| scoring.looks(begin + look * LOOK_EVERY / 2)).collect();
        assert_eq!(looks, [true, false, true, false]);
    }
}
