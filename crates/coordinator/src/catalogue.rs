//! The snapshots of a run as its coordinator knows them: which are kept, which one must be, and which may be wrong.
//!
//! Pure: the shell does each [`Chore`] in the store, and says what came of it.

use std::collections::BTreeSet;

use lsgan_control::Outcome;
use lsgan_spec::Step;

/// See the module.
#[derive(Debug, Default)]
pub struct Catalogue {
    kept: BTreeSet<Step>,
    /// The workers' states differed: snapshots of later steps may be wrong.
    suspect_after: Option<Step>,
    /// Chores that the shell is doing.
    under_way: u32,
}

/// Something to do in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chore {
    /// Delete old snapshots, but never the pinned one.
    Retain {
        /// Should states turn out to differ, the run goes on from it.
        pinned: Option<Step>,
    },
    /// Move the snapshots of later steps to where no start looks.
    SetAsideAfter(Step),
    /// Delete what writers that were killed have left unfinished.
    DeleteLeftovers,
}

impl Catalogue {
    /// Of a run whose snapshots of these steps are kept.
    pub fn of(kept: impl IntoIterator<Item = Step>) -> Self {
        Self { kept: kept.into_iter().collect(), ..Self::default() }
    }

    /// Whether the snapshot of a step is kept.
    #[must_use]
    pub fn keeps(&self, step: Step) -> bool {
        self.kept.contains(&step)
    }

    /// The steps of all that are kept.
    #[must_use]
    pub fn kept(&self) -> Vec<Step> {
        self.kept.iter().copied().collect()
    }

    /// A snapshot is published. `equal`: the workers' states are compared, and were the same after so many steps.
    pub fn written(&mut self, step: Step, equal: Option<Step>) -> Option<Chore> {
        self.kept.insert(step);
        if self.is_busy() {
            return None; // the next snapshot looks again
        }
        self.under_way += 1;
        let pinned = equal.and_then(|equal| self.kept.range(..=equal).next_back().copied());
        Some(Chore::Retain { pinned })
    }

    /// The workers' states differ; after `equal` steps they were the same.
    pub fn differ(&mut self, equal: Step) -> Chore {
        self.suspect_after = Some(equal);
        self.under_way += 1;
        Chore::SetAsideAfter(equal)
    }

    /// A chore has ended; these snapshots are no more.
    pub fn done(&mut self, gone: &[Step]) {
        self.under_way = self.under_way.saturating_sub(1);
        self.kept.retain(|step| !gone.contains(step));
    }

    /// Whether the shell is doing a chore.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.under_way > 0
    }

    /// What is left to do when the workers write no more. After a run that ended well, what is unfinished is of writers that
    /// were killed; where states differed, a snapshot may have come after the others were moved.
    #[must_use]
    pub fn last_chore(&self, outcome: Option<&Outcome>) -> Option<Chore> {
        match (outcome, self.suspect_after) {
            (Some(Outcome::Complete | Outcome::Stopped { .. }), _) => Some(Chore::DeleteLeftovers),
            (_, suspect_after) => suspect_after.map(Chore::SetAsideAfter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retain(pinned: Option<u64>) -> Option<Chore> {
        Some(Chore::Retain { pinned: pinned.map(Step) })
    }

    #[test]
    fn the_newest_snapshot_that_is_surely_right_is_pinned() {
        let mut catalogue = Catalogue::of([10, 20].map(Step));
        assert_eq!(catalogue.written(Step(30), None), retain(None), "states are not compared");
        catalogue.done(&[]);
        assert_eq!(catalogue.written(Step(40), Some(Step(29))), retain(Some(20)));
        catalogue.done(&[Step(10), Step(20)]);
        assert_eq!(catalogue.written(Step(50), Some(Step(29))), retain(None), "none is left");
        catalogue.done(&[]);
        assert_eq!(catalogue.written(Step(60), Some(Step(60))), retain(Some(60)));
    }

    #[test]
    fn one_retention_at_a_time_and_the_next_snapshot_looks_again() {
        let mut catalogue = Catalogue::default();
        assert_eq!(catalogue.written(Step(10), None), retain(None));
        assert_eq!(catalogue.written(Step(20), None), None);
        catalogue.done(&[]);
        assert!(!catalogue.is_busy());
        assert_eq!(catalogue.written(Step(30), Some(Step(25))), retain(Some(20)));
    }

    #[test]
    fn suspects_are_moved_at_once_and_again_at_the_end() {
        let mut catalogue = Catalogue::of([10, 20, 30].map(Step));
        catalogue.written(Step(40), None);
        assert_eq!(catalogue.differ(Step(20)), Chore::SetAsideAfter(Step(20)));
        catalogue.done(&[]);
        assert!(catalogue.is_busy(), "the retention has ended, and the suspects are still moved");
        catalogue.done(&[Step(30), Step(40)]);
        assert!(!catalogue.is_busy());
        let failed = Outcome::Failed { why: "states differ".to_owned() };
        assert_eq!(catalogue.last_chore(Some(&failed)), Some(Chore::SetAsideAfter(Step(20))));
        assert_eq!(catalogue.last_chore(None), Some(Chore::SetAsideAfter(Step(20))));
    }

    #[test]
    fn leftovers_are_deleted_after_an_end_that_is_well() {
        let catalogue = Catalogue::default();
        assert_eq!(catalogue.last_chore(Some(&Outcome::Complete)), Some(Chore::DeleteLeftovers));
        let stopped = Outcome::Stopped { step: Step(3) };
        assert_eq!(catalogue.last_chore(Some(&stopped)), Some(Chore::DeleteLeftovers));
        assert_eq!(catalogue.last_chore(None), None);
    }
}
