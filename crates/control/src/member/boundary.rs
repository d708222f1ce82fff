//! What a member does at a step boundary, decided from the reduced header: every rank parks after the same step.

use lsgan_spec::Step;
use serde::{Deserialize, Serialize};

use crate::Form;

/// What a worker wishes for in the header of a reduction; after the sum, what any member wishes for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wishes {
    /// A snapshot after this step.
    pub snapshot: bool,
    /// All park, so that the group can be formed anew.
    pub reform: bool,
    /// All park, so that the run can be closed or paused.
    pub finish: bool,
    /// All park, because a worker leaves.
    pub leave: bool,
}

/// What a member was told of its part in a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duty {
    /// It writes the generation's snapshots.
    pub writes: bool,
    /// All park when so many steps are done.
    pub last_step: Step,
}

/// What a member does at a step boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boundary {
    /// It parks.
    pub parks: bool,
    /// It writes a snapshot.
    pub snapshot: bool,
}

impl Duty {
    /// The receiver's duty in a generation.
    #[must_use]
    pub fn of(form: &Form) -> Self {
        Self { writes: form.writer == Some(form.rank), last_step: form.last_step }
    }

    /// No step is begun when so many are done.
    #[must_use]
    pub fn is_over(self, done: Step) -> bool {
        done >= self.last_step
    }

    /// What is due when `done` steps are done and the last header had these `wishes`. `snapshot_due`: the run's file asks
    /// for a snapshot of this step.
    #[must_use]
    pub fn step_done(self, done: Step, wishes: Wishes, snapshot_due: bool) -> Boundary {
        // What closes a run is a snapshot too; two of the same step would be one too many.
        let closes = wishes.finish || self.is_over(done);
        Boundary {
            parks: closes || wishes.reform || wishes.leave,
            snapshot: self.writes && (snapshot_due || wishes.snapshot) && !closes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITER: Duty = Duty { writes: true, last_step: Step(10) };
    const OTHER: Duty = Duty { writes: false, last_step: Step(10) };
    const NONE: Wishes = Wishes { snapshot: false, reform: false, finish: false, leave: false };

    #[test]
    fn every_wish_but_that_for_a_snapshot_parks_all_members() {
        for duty in [WRITER, OTHER] {
            let parks = |wishes| duty.step_done(Step(3), wishes, false).parks;
            assert!(parks(Wishes { reform: true, ..NONE }));
            assert!(parks(Wishes { finish: true, ..NONE }));
            assert!(parks(Wishes { leave: true, ..NONE }));
            assert!(!parks(Wishes { snapshot: true, ..NONE }));
            assert!(!parks(NONE));
        }
    }

    #[test]
    fn all_park_when_the_last_step_is_done() {
        for duty in [WRITER, OTHER] {
            assert!(!duty.step_done(Step(9), NONE, false).parks && !duty.is_over(Step(9)));
            assert!(duty.step_done(Step(10), NONE, false).parks && duty.is_over(Step(10)));
        }
    }

    #[test]
    fn the_writer_alone_writes_what_is_due_or_wished_for() {
        let wished = Wishes { snapshot: true, ..NONE };
        assert!(WRITER.step_done(Step(3), NONE, true).snapshot);
        assert!(WRITER.step_done(Step(3), wished, false).snapshot);
        assert!(!WRITER.step_done(Step(3), NONE, false).snapshot);
        assert!(!OTHER.step_done(Step(3), wished, true).snapshot);
        let leaves = Wishes { leave: true, ..wished };
        assert!(WRITER.step_done(Step(3), leaves, false).snapshot, "no task follows where one leaves");
    }

    #[test]
    fn what_is_closed_with_a_snapshot_has_no_second_one() {
        assert!(!WRITER.step_done(Step(3), Wishes { finish: true, ..NONE }, true).snapshot);
        assert!(!WRITER.step_done(Step(10), Wishes { snapshot: true, ..NONE }, true).snapshot);
    }
}
