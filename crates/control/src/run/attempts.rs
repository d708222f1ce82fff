//! A back-off for generations that fail before they have applied a reduction: the cause often ends the next one too, and
//! each generation is journaled and told to all workers.

use lsgan_spec::{Incarnation, Millis, Reduction};
use serde::{Deserialize, Serialize};

use super::effect::Entry;

/// So many generations in a row may fail before the next one waits: a second death while the survivors of the first form
/// must not cost time.
const AT_ONCE: u32 = 3;
/// The first wait; each further one is twice as long.
const FIRST_MS: u64 = 50;
/// The longest wait before the same members try again.
const LONGEST_MS: u64 = 30_000;
/// The longest wait where the members are others, so that a worker that comes and goes all the time does not make the run
/// form generations all the time.
const LONGEST_FOR_OTHERS_MS: u64 = 3_200;
/// So many failures in a row for one reason end the run: with the waits between them that is a quarter of an hour, and what
/// has not changed by then needs a person.
const HOPELESS_AT: u32 = 40;
/// So many failures in a row are a warning, which is repeated at twice as many.
const WARN_AT: u32 = 5;

/// Generations in a row that started from the same reduction, so that none of them applied one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attempts {
    from: Option<Reduction>,
    members: Vec<Incarnation>,
    count: u32,
    /// What ended the last one.
    why: Option<String>,
    /// What ended so many in a row: the same but for its numbers, which may be times and ports.
    same: (String, u32),
    /// Since when the next one could have been formed.
    since: Option<Millis>,
    /// How many there were when a warning was last given.
    warned_at: u32,
}

impl Attempts {
    /// Until when a generation of `members` that starts from `from` has to wait; none if it may be formed at `now`.
    pub fn waits_until(&mut self, now: Millis, from: Reduction, members: &[Incarnation]) -> Option<Millis> {
        let longest_ms = if self.members == members { LONGEST_MS } else { LONGEST_FOR_OTHERS_MS };
        let wait_ms = if self.from == Some(from) { wait_ms(self.count, longest_ms) } else { 0 };
        let until = self.since.get_or_insert(now).plus(wait_ms);
        (until > now).then_some(until)
    }

    /// A generation that starts from `from` is formed.
    pub fn formed(&mut self, from: Reduction, members: Vec<Incarnation>) {
        if self.from == Some(from) {
            self.count = self.count.saturating_add(1);
        } else {
            (self.count, self.warned_at, self.same) = (1, 0, Default::default());
        }
        (self.from, self.members) = (Some(from), members);
        (self.why, self.since) = (None, None);
    }

    /// The generation ends. The first reason counts: the others follow from it.
    pub fn ended(&mut self, why: &str) {
        if self.why.is_some() {
            return;
        }
        self.why = Some(why.to_owned());
        let words = why.chars().filter(|c| !c.is_ascii_digit()).collect();
        let (before, times) = &mut self.same;
        *times = if *before == words { times.saturating_add(1) } else { 1 };
        *before = words;
    }

    /// Why the run cannot go on: generation after generation has ended for one reason, which trying again does not change.
    pub fn hopeless(&self) -> Option<String> {
        let (from, times) = (self.from?, self.same.1);
        let why = self.why();
        (times >= HOPELESS_AT).then(|| {
            format!(
                "{times} generations in a row have ended at step {} before they did anything, all for one reason: {why}. \
                 Mend that and start the run again: it goes on from there",
                from.step()
            )
        })
    }

    /// The reduction that the newest generation started from.
    pub fn from(&self) -> Option<Reduction> {
        self.from
    }

    /// What ended it.
    pub fn why(&self) -> &str {
        self.why.as_deref().unwrap_or("no member said why")
    }

    /// The warning that is due while the next generation waits until then.
    pub fn warning(&mut self, until: Millis) -> Option<Entry> {
        let (from, since) = (self.from?, self.since?);
        if self.count < WARN_AT.max(2 * self.warned_at) {
            return None;
        }
        self.warned_at = self.count;
        let why = self.why().to_owned();
        Some(Entry::NoProgress { attempts: self.count, from, wait_ms: until.0 - since.0, why })
    }
}

/// How long the next generation waits after `count` failures, in ms.
fn wait_ms(count: u32, longest_ms: u64) -> u64 {
    match count.checked_sub(AT_ONCE) {
        None => 0,
        Some(more) => (FIRST_MS << more.min(10)).min(longest_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: [Incarnation; 2] = [Incarnation(1), Incarnation(2)];

    /// Fails so often at reduction 4, and returns what each try waited.
    fn fail(attempts: &mut Attempts, times: usize) -> (Millis, Vec<u64>) {
        let mut now = Millis(0);
        let mut waits_ms = vec![];
        for _ in 0..times {
            let begin = now;
            if let Some(until) = attempts.waits_until(now, Reduction(4), &TWO) {
                now = until;
                assert_eq!(attempts.waits_until(now, Reduction(4), &TWO), None);
            }
            waits_ms.push(now.0 - begin.0);
            attempts.formed(Reduction(4), TWO.to_vec());
            attempts.ended("worker 2 does not answer");
        }
        (now, waits_ms)
    }

    #[test]
    fn the_first_ones_come_at_once_and_each_further_one_waits_twice_as_long() {
        let (_, waits_ms) = fail(&mut Attempts::default(), 15);
        let wanted = [0, 0, 0, 50, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000];
        assert_eq!(waits_ms, wanted);
    }

    #[test]
    fn one_that_applied_something_ends_the_waiting() {
        let mut attempts = Attempts::default();
        let (now, _) = fail(&mut attempts, 9);
        assert!(attempts.waits_until(now, Reduction(4), &TWO).is_some());
        assert_eq!(attempts.waits_until(now, Reduction(5), &TWO), None);
        attempts.formed(Reduction(5), TWO.to_vec());
        assert_eq!(attempts.waits_until(now, Reduction(5), &TWO), None);
    }

    #[test]
    fn another_worker_ends_a_long_wait() {
        let mut attempts = Attempts::default();
        let (now, _) = fail(&mut attempts, 15);
        assert!(attempts.waits_until(now, Reduction(4), &TWO).is_some());
        let three = [TWO[0], TWO[1], Incarnation(3)];
        let until = attempts.waits_until(now, Reduction(4), &three);
        assert!(until.is_some(), "not at every worker that comes and goes");
        assert_eq!(attempts.waits_until(now.plus(3_200), Reduction(4), &three), None);
    }

    #[test]
    fn forty_for_one_reason_are_hopeless_and_one_for_another_begins_to_count_anew() {
        let fail = |attempts: &mut Attempts, why: &str| {
            attempts.formed(Reduction(4), TWO.to_vec());
            attempts.ended(why);
            attempts.ended("a member was told to abort");
        };
        let mut attempts = Attempts::default();
        for times in 1..HOPELESS_AT {
            fail(&mut attempts, &format!("no answer from 10.0.0.2:{} in {times} ms", 4000 + times));
        }
        assert_eq!(attempts.hopeless(), None);
        let mut other = attempts.clone();
        fail(&mut other, "worker 2 was killed");
        fail(&mut other, "no answer from 10.0.0.2:4000 in 7 ms");
        assert_eq!(other.hopeless(), None);
        fail(&mut attempts, "no answer from 10.0.0.2:4000 in 7 ms");
        let why = attempts.hopeless().expect("the fortieth");
        assert!(
            why.contains("40 generations") && why.contains("step 2") && why.contains("no answer"),
            "{why}"
        );
        attempts.formed(Reduction(5), TWO.to_vec());
        assert_eq!(attempts.hopeless(), None, "it has applied something");
    }

    #[test]
    fn the_cause_is_named_after_five_and_not_each_time() {
        let mut attempts = Attempts::default();
        let mut warned_at = vec![];
        for times in 1..=40 {
            let (now, _) = fail(&mut attempts, 1);
            let Some(until) = attempts.waits_until(now, Reduction(4), &TWO) else { continue };
            if let Some(Entry::NoProgress { attempts: count, why, .. }) = attempts.warning(until) {
                assert_eq!((count, why.as_str()), (times, "worker 2 does not answer"));
                warned_at.push(count);
            }
            assert_eq!(attempts.warning(until), None, "said once");
        }
        assert_eq!(warned_at, [5, 10, 20, 40]);
    }
}
