//! Counts of what a world went through, so that a test can tell whether the faults really come.

use lsgan_control::{Effect, Entry, Event, Message, Run, Start, Wish};

/// Declares the counts once: the fields, their names, and their addition.
macro_rules! counts {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// Counts of one world, or of many added up.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Coverage {
            $($(#[doc = $doc])* pub $name: u64,)*
        }

        impl Coverage {
            /// Every count with its name.
            pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }

            /// Adds the counts of another world.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

counts! {
    worlds,
    /// Events given to the coordinator's machine.
    events,
    simulated_ms,
    /// All-reduces that were completed.
    reductions,
    /// Generations formed.
    generations,
    /// Generations formed in the middle of a step.
    formed_mid_step,
    /// Generations formed from a snapshot.
    from_snapshot,
    coordinator_deaths,
    /// Entries that were lost with the coordinator's host.
    lost_entries,
    /// Coordinators that found that another one leads.
    deposed,
    /// What they had decided and never told.
    fenced,
    /// Workers that went on in their generation with a restarted coordinator.
    adopted,
    /// Workers that were told that their incarnation is over.
    retired,
    /// Workers whose closed stream the machine saw.
    lost,
    refused,
    /// Runs that an operator stopped.
    stops,
    /// Wishes sent, except those for a snapshot.
    wishes,
    /// Leases extended.
    leases,
    /// Runs that failed for a reason that the seed drew.
    failed,
    /// Workers named as stragglers.
    stragglers,
    /// Workers that stand aside because they and another one do not reach each other.
    cut_off,
    /// Workers without which a run went on, since its state did not reach them.
    left_behind,
    /// Workers that the others could not train with.
    faulty,
    /// States that were dropped, since they may have held garbage.
    dropped,
    /// Generations that did no step although all members were heard.
    stood,
    /// Workers that stood aside and were reached again.
    reached_again,
    /// Differences found between the states of members.
    differences,
    pauses,
    /// Messages of strangers that were ignored.
    ignored,
    /// Strangers that said Hello.
    strangers,
    /// Wishes for a snapshot sent.
    asked_snapshots,
}

impl Coverage {
    pub(crate) fn count(&mut self, before: &Run, event: &Event, effects: &[Effect]) {
        self.events += 1;
        if let Event::Closed { session } = event
            && before.workers().values().any(|w| w.session == *session)
        {
            self.lost += 1;
        }
        for effect in effects {
            match effect {
                Effect::Journal(Entry::Generation { from, start, .. }) => {
                    self.generations += 1;
                    self.formed_mid_step += from.0 % 2;
                    self.from_snapshot += u64::from(matches!(start, Start::Snapshot(_)));
                }
                Effect::Send { message: Message::Wish { wish: Wish::Snapshot, .. }, .. } => {
                    self.asked_snapshots += 1;
                }
                Effect::Send { message: Message::Wish { .. }, .. } => self.wishes += 1,
                Effect::Send { message: Message::Lease { .. }, .. } => self.leases += 1,
                Effect::Send { message: Message::Refused { .. }, .. } => self.refused += 1,
                Effect::Journal(Entry::Straggles { .. }) => self.stragglers += 1,
                Effect::Journal(Entry::CutOff { .. }) => self.cut_off += 1,
                Effect::Journal(Entry::LeftBehind { .. }) => self.left_behind += 1,
                Effect::Journal(Entry::Faulty { .. }) => self.faulty += 1,
                Effect::Journal(Entry::Stands { .. }) => self.stood += 1,
                Effect::Journal(Entry::ReachedAgain { .. }) => self.reached_again += 1,
                Effect::Journal(Entry::Differs(_)) => self.differences += 1,
                Effect::Journal(Entry::Paused { .. }) => self.pauses += 1,
                Effect::Journal(_) | Effect::Send { .. } | Effect::Close { .. } => {}
            }
        }
    }
}
