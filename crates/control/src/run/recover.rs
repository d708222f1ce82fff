//! What a journal tells a coordinator that starts: the reverse of the [`Entry`]s that [`crate::Run`] wrote.

use lsgan_spec::Step;

use super::effect::Entry;
use super::machine::Recovered;

impl Recovered {
    /// The entry that stands for all that were read. What the store knows is no part of the journal.
    #[must_use]
    pub fn base(&self) -> Entry {
        Entry::Base(Box::new(Self { snapshot: None, missing: None, ..self.clone() }))
    }

    /// Reads the entries of a run, the oldest first: all of them, or those from any [`Entry::Base`] on. `snapshot`: steps
    /// done in the newest valid snapshot.
    ///
    /// The shipped coordinator and the simulator both start with this function.
    #[must_use]
    pub fn replay<'a>(entries: impl IntoIterator<Item = &'a Entry>, snapshot: Option<Step>) -> Self {
        let mut recovered = Self { snapshot, ..Self::default() };
        for entry in entries {
            recovered.read(entry);
        }
        recovered
    }

    /// Takes up the next entry.
    pub fn read(&mut self, entry: &Entry) {
        match entry {
            Entry::Base(base) => {
                let (snapshot, missing) = (self.snapshot, self.missing.take());
                *self = Self { snapshot, missing, ..base.as_ref().clone() };
            }
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
            | Entry::LeftBehind { .. }
            | Entry::Faulty { .. }
            | Entry::NoProgress { .. }
            | Entry::CannotKeep { .. }
            | Entry::NoKeeper { .. }
            | Entry::ReachedAgain { .. }
            | Entry::Differs(_) => {}
        }
    }
}
