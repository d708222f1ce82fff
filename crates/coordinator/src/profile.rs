//! `lsgan profile`: where the time of a few steps goes, as the members of the generation record it on their hosts.
//!
//! Nothing is recorded unless an operator asks, one at a time. What workers answer is held until all of them have, or the time
//! is up; it is bounded for each of them and for all together.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lsgan_control::gate::Rejection;
use lsgan_control::{Phase, SessionId, Worker};
use lsgan_spec::Incarnation;
use lsgan_wire::v1;
use tokio::sync::oneshot;

use crate::notices::shown;
use crate::operate::name;
use crate::shell::Shell;

/// The most steps.
const STEPS_MAX: u32 = 1000;
/// The most spans of one worker.
const SPANS_MAX: usize = 20_000;
/// The most spans of all workers, which then take about 16 MiB here and in the reply.
const ALL_SPANS_MAX: usize = 400_000;
/// The longest that an operator may want to wait.
const WITHIN_MAX: Duration = Duration::from_secs(60 * 60);
/// The longest of a worker's sentences that is shown.
const WHY_LEN_BYTES_MAX: usize = 1000;

/// Told of a profile, or why there is none.
pub type ProfileWaiter = oneshot::Sender<Result<v1::ProfileReply, String>>;

/// The profiles of a coordinator's life.
#[derive(Debug, Default)]
pub(crate) struct Profiles {
    /// The number of the newest, counted from 1.
    newest: u64,
    /// It is not answered yet.
    running: Option<Running>,
}

/// A profile that is not answered yet.
#[derive(Debug)]
struct Running {
    by: String,
    steps: u32,
    since: Instant,
    within: Duration,
    /// Of each worker.
    spans_max: usize,
    /// Those that were asked, by their streams.
    workers: BTreeMap<SessionId, v1::ProfiledWorker>,
    answer: ProfileWaiter,
}

impl Running {
    /// All has come that will.
    fn is_whole(&self) -> bool {
        self.workers.values().all(|worker| worker.end.is_some() || !worker.why.is_empty())
    }

    /// Takes what a worker that was asked has recorded.
    fn take(&mut self, session: SessionId, sent: v1::Spans, now: Instant) -> Result<(), Rejection> {
        let Some(worker) = self.workers.get_mut(&session) else { return Ok(()) };
        if worker.end.is_some() || !worker.why.is_empty() {
            return Err(Rejection::Late);
        }
        // The clocks of two hosts are not equally fast.
        let passed = now.duration_since(self.since).mul_f64(1.001);
        let passed_ns = u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX);
        let room = self.spans_max.saturating_sub(worker.spans.len());
        if let Err(rejection) = check(&sent, (self.steps, room), passed_ns) {
            worker.why = "what it sent cannot be true".to_owned();
            return Err(rejection);
        }
        worker.spans.extend(sent.spans);
        if let Some(mut end) = sent.end {
            end.why = shown(&end.why, WHY_LEN_BYTES_MAX);
            worker.why = end.why.clone();
            worker.end = Some(end);
        }
        Ok(())
    }

    /// The answer, with what has come. `missing` says why there is no more.
    fn finish(self, run: &str, missing: &str) {
        let mut workers: Vec<_> = self.workers.into_values().collect();
        for worker in workers.iter_mut().filter(|worker| worker.end.is_none() && worker.why.is_empty()) {
            worker.why = missing.to_owned();
        }
        workers.sort_by_key(|worker| worker.incarnation);
        // The operator may have gone.
        let _ = self.answer.send(Ok(v1::ProfileReply { run: run.to_owned(), workers }));
    }
}

/// Whether spans can be what was asked for: so many steps, no more spans than there is `room`, none longer than the time since.
fn check(sent: &v1::Spans, (steps, room): (u32, usize), passed_ns: u64) -> Result<(), Rejection> {
    let refuse = |field, value, accepted| Err(Rejection::OutOfBounds { field, value, accepted });
    if sent.spans.len() > room {
        return refuse("the number of spans", sent.spans.len().to_string(), format!("{room} more"));
    }
    for span in &sent.spans {
        let end_ns = span.begin_ns.checked_add(span.len_ns);
        if end_ns.is_none_or(|end_ns| end_ns > passed_ns) {
            let value = format!("{} + {} ns", span.begin_ns, span.len_ns);
            return refuse("a span's end", value, format!("at most {passed_ns} ns"));
        }
    }
    match &sent.end {
        Some(end) if end.steps > steps => {
            refuse("the number of steps recorded", end.steps.to_string(), format!("at most {steps}"))
        }
        _ => Ok(()),
    }
}

impl Shell {
    /// An operator wants to know where the time of the next steps goes.
    pub(crate) fn profile_asked(&mut self, asked: &v1::ProfileRequest, answer: ProfileWaiter) {
        if let Err(why) = self.may_profile(asked.steps) {
            // The operator may have gone.
            let _ = answer.send(Err(why));
            return;
        }
        let (by, steps) = (name(&asked.by), asked.steps);
        let members = self.run.workers().iter().filter(|(_, worker)| worker.computing);
        let profiled = |(incarnation, worker): (&Incarnation, &Worker)| {
            let (incarnation, name) = (incarnation.0, worker.name.clone());
            (worker.session, v1::ProfiledWorker { incarnation, name, ..v1::ProfiledWorker::default() })
        };
        let workers: BTreeMap<_, _> = members.map(profiled).collect();
        let spans_max = SPANS_MAX.min(ALL_SPANS_MAX / workers.len().max(1));
        tracing::info!("{by} asks for a profile of {steps} steps");
        self.profiles.newest += 1;
        let wish = v1::RecordSpans {
            profile: self.profiles.newest,
            steps,
            spans_max: u32::try_from(spans_max).unwrap_or(u32::MAX),
        };
        let sessions: Vec<_> = workers.keys().copied().collect();
        let within = Duration::from_millis(asked.within_ms).min(WITHIN_MAX);
        let since = Instant::now();
        self.profiles.running = Some(Running { by, steps, since, within, spans_max, workers, answer });
        for session in sessions {
            self.send(session, wish.into());
        }
    }

    /// Whether a profile can be asked for now; if not, why.
    fn may_profile(&self, steps: u32) -> Result<(), String> {
        if !(1..=STEPS_MAX).contains(&steps) {
            return Err(format!("a profile of {steps} steps is asked for; accepted are 1 to {STEPS_MAX}"));
        }
        if let Some(running) = self.profiles.running.as_ref().filter(|other| !other.answer.is_closed()) {
            let Running { by, steps, .. } = running;
            return Err(format!(
                "{by} profiles the run already, {steps} steps of it. Ask again when that has ended."
            ));
        }
        if self.run.rests() {
            return Err("the run is paused, so that no step is done. `lsgan resume` goes on.".to_owned());
        }
        let why = match self.run.phase() {
            Phase::Stepping => return Ok(()),
            Phase::Gathering => "it gathers workers",
            Phase::Adopting => "its coordinator was started again and waits for the workers to come back",
            Phase::Forming { .. } => "a generation of workers is being formed",
            Phase::Halting { .. } => "a generation of workers is being ended",
            Phase::Closing { .. } => "it is being closed",
            Phase::Ended(_) => return Err("the run has ended.".to_owned()),
        };
        Err(format!("the run does no steps now: {why}. `lsgan status` says more; ask again when it steps."))
    }

    /// A worker sends spans.
    pub(crate) fn recorded(&mut self, session: SessionId, sent: v1::Spans) {
        if let Err(rejection) = self.take_spans(session, sent) {
            self.reject(session, &rejection);
        }
    }

    fn take_spans(&mut self, session: SessionId, sent: v1::Spans) -> Result<(), Rejection> {
        let Profiles { newest, running } = &mut self.profiles;
        let running = running.as_mut().filter(|_| sent.profile == *newest);
        if let Some(running) = running.filter(|running| running.workers.contains_key(&session)) {
            return running.take(session, sent, Instant::now());
        }
        let was_asked_for = (1..=*newest).contains(&sent.profile);
        match self.worker_on(session) {
            None => Err(Rejection::NoHello),
            Some(_) if was_asked_for => Err(Rejection::Late),
            Some(_) => Err(Rejection::OutOfBounds {
                field: "the profile that spans are of",
                value: sent.profile.to_string(),
                accepted: "one that was asked for".to_owned(),
            }),
        }
    }

    /// Answers a profile when all of it has come, or no more will.
    pub(crate) fn tell_profile(&mut self) {
        let Some(running) = &mut self.profiles.running else { return };
        for (session, worker) in &mut running.workers {
            let is_silent = worker.end.is_none() && worker.why.is_empty();
            if is_silent && !self.sessions.contains_key(session) {
                worker.why = "it ended, or its connection broke, before it had sent all of it".to_owned();
            }
        }
        let is_late = running.since.elapsed() >= running.within;
        let is_over = self.outcome.is_some() || running.answer.is_closed();
        if !(running.is_whole() || is_late || is_over) {
            return;
        }
        let missing = match is_late {
            true => format!("it has not sent all of it within {} s", running.within.as_secs_f64()),
            false => "the run ended before it had sent all of it".to_owned(),
        };
        if let Some(running) = self.profiles.running.take() {
            running.finish(&self.spec.run, &missing);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(begin_ns: u64, len_ns: u64) -> v1::Span {
        v1::Span { kind: v1::SpanKind::Apply.into(), step: 3, begin_ns, len_ns }
    }

    fn sent(spans: Vec<v1::Span>, end: Option<u32>) -> v1::Spans {
        let end = end.map(|steps| v1::Recorded { wall_us: 1, steps, why: String::new() });
        v1::Spans { profile: 1, spans, end }
    }

    fn running(answer: ProfileWaiter) -> Running {
        let worker = |incarnation| v1::ProfiledWorker { incarnation, ..v1::ProfiledWorker::default() };
        Running {
            by: "anna".to_owned(),
            steps: 2,
            since: Instant::now(),
            within: Duration::from_secs(1),
            spans_max: 3,
            workers: [(SessionId(7), worker(2)), (SessionId(8), worker(1))].into(),
            answer,
        }
    }

    #[test]
    fn what_cannot_be_true_is_refused() {
        let is_fine = |sent: &v1::Spans| check(sent, (2, 3), 1_000).is_ok();
        assert!(is_fine(&sent(vec![span(0, 1_000), span(1_000, 0), span(3, 4)], Some(2))));
        assert!(!is_fine(&sent(vec![span(0, 1); 4], None)), "too many");
        assert!(!is_fine(&sent(vec![span(1, 1_000)], None)), "it is not over yet");
        assert!(!is_fine(&sent(vec![span(u64::MAX, 1)], None)));
        assert!(!is_fine(&sent(vec![], Some(3))), "more steps than were asked for");
    }

    #[test]
    fn pieces_of_each_worker_are_put_together_and_what_is_missing_is_said() {
        let (answer, mut told) = oneshot::channel();
        let mut running = running(answer);
        let later = Instant::now() + Duration::from_secs(1);
        assert_eq!(running.take(SessionId(7), sent(vec![span(0, 1)], None), later), Ok(()));
        assert_eq!(running.take(SessionId(7), sent(vec![span(1, 1)], Some(2)), later), Ok(()));
        assert_eq!(running.take(SessionId(7), sent(vec![], Some(2)), later), Err(Rejection::Late));
        assert!(!running.is_whole());
        assert!(running.take(SessionId(8), sent(vec![span(0, 1); 4], None), later).is_err());
        assert!(running.is_whole(), "of one that says what cannot be no more is taken");
        running.finish("small", "nothing came");
        let reply = told.try_recv().expect("it is answered").expect("with spans");
        let workers: Vec<_> =
            reply.workers.iter().map(|w| (w.incarnation, w.spans.len(), w.why.as_str())).collect();
        assert_eq!(workers, [(1, 0, "what it sent cannot be true"), (2, 2, "")]);
    }

    #[test]
    fn a_worker_that_says_nothing_is_named() {
        let (answer, mut told) = oneshot::channel();
        running(answer).finish("small", "nothing came");
        let reply = told.try_recv().expect("it is answered").expect("with workers");
        assert!(reply.workers.iter().all(|worker| worker.why == "nothing came" && worker.end.is_none()));
    }
}
