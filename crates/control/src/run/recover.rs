//! What a journal tells a coordinator that starts: the reverse of the [`Entry`]s that [`crate::Run`] wrote.

use lsgan_spec::Step;

use super::effect::Entry;
use super::machine::Recovered;

impl Recovered {
    /// Reads all entries of a run, the oldest first. `snapshot`: steps done in the newest valid snapshot.
    ///
    /// The simulator restarts its coordinators with this very function.
    #[must_use]
    pub fn replay<'a>(entries: impl IntoIterator<Item = &'a Entry>, snapshot: Option<Step>) -> Self {
        let mut recovered = Self { snapshot, ..Self::default() };
        for entry in entries {
            recovered.read(entry);
        }
        recovered
    }

    fn read(&mut self, entry: &Entry) {
        match entry {
            Entry::Admitted { incarnation, .. } => self.incarnation = self.incarnation.max(*incarnation),
            Entry::Numerics(numerics) => self.numerics = Some(numerics.clone()),
            Entry::Generation { generation, members, .. } => {
                self.generation = *generation;
                self.members.clone_from(members);
            }
            Entry::Halting { .. } => self.members.clear(),
            // A run that has ended and is started again is to go on.
            Entry::Ended(_) => {
                self.members.clear();
                self.paused = false;
            }
            Entry::Consumed { virtual_rank, until, .. } => {
                let done = self.consumed.entry(*virtual_rank).or_default();
                *done = (*done).max(*until);
            }
            Entry::Paused { .. } => self.paused = true,
            Entry::Resumed { .. } => self.paused = false,
            // An operator who still wants a stop asks for it again. The shell reports the data as unfit again.
            Entry::StopRequested
            | Entry::DataUnfit(_)
            | Entry::Stepping(_)
            | Entry::Gone { .. }
            | Entry::OtherNumerics { .. }
            | Entry::Straggles { .. }
            | Entry::Stands { .. }
            | Entry::CutOff { .. }
            | Entry::NoProgress { .. }
            | Entry::CannotKeep { .. }
            | Entry::NoKeeper { .. }
            | Entry::ReachedAgain { .. }
            | Entry::Differs(_) => {}
        }
    }
}
