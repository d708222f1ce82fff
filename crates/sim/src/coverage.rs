//! What was seen: counts that show whether the faults really come.

use lsgan_control::{Effect, Entry, Event, Message, Run, Start, Wish};

/// What a world has seen, so that a test can tell whether the faults really come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Worlds.
    pub worlds: u64,
    /// Events that the machine was given.
    pub events: u64,
    /// Simulated time.
    pub simulated_ms: u64,
    /// Sums that were made.
    pub reductions: u64,
    /// Generations formed.
    pub generations: u64,
    /// Of these, those in the middle of a step.
    pub formed_mid_step: u64,
    /// Of these, those from a snapshot.
    pub from_snapshot: u64,
    /// Coordinators killed.
    pub coordinator_deaths: u64,
    /// Workers that went on with a restarted coordinator.
    pub adopted: u64,
    /// Workers that were told that their incarnation is over.
    pub retired: u64,
    /// Workers whose loss the machine saw.
    pub lost: u64,
    /// Workers refused.
    pub refused: u64,
    /// Runs stopped and resumed.
    pub stops: u64,
    /// Wishes told.
    pub wishes: u64,
    /// Leases renewed.
    pub leases: u64,
    /// Runs that ended as failed, as they had to.
    pub failed: u64,
    /// Stragglers named.
    pub stragglers: u64,
    /// Pairs of workers that do not reach each other, of whom one was told to stand by.
    pub cut_off: u64,
    /// Generations that stood while all members were heard.
    pub stood: u64,
    /// Workers that were cut off and came back.
    pub reached_again: u64,
    /// Differences between states found.
    pub differences: u64,
    /// Runs paused.
    pub pauses: u64,
    /// Members told that a snapshot is wanted.
    pub asked_snapshots: u64,
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
                Effect::Journal(Entry::Stands { .. }) => self.stood += 1,
                Effect::Journal(Entry::ReachedAgain { .. }) => self.reached_again += 1,
                Effect::Journal(Entry::Differs(_)) => self.differences += 1,
                Effect::Journal(Entry::Paused { .. }) => self.pauses += 1,
                Effect::Journal(_) | Effect::Send { .. } | Effect::Close { .. } => {}
            }
        }
    }

    /// Every count with its name.
    #[must_use]
    pub fn counts(&self) -> [(&'static str, u64); 23] {
        [
            ("worlds", self.worlds),
            ("events", self.events),
            ("simulated_ms", self.simulated_ms),
            ("reductions", self.reductions),
            ("generations", self.generations),
            ("formed_mid_step", self.formed_mid_step),
            ("from_snapshot", self.from_snapshot),
            ("coordinator_deaths", self.coordinator_deaths),
            ("adopted", self.adopted),
            ("retired", self.retired),
            ("lost", self.lost),
            ("refused", self.refused),
            ("stops", self.stops),
            ("wishes", self.wishes),
            ("leases", self.leases),
            ("failed", self.failed),
            ("stragglers", self.stragglers),
            ("cut_off", self.cut_off),
            ("stood", self.stood),
            ("reached_again", self.reached_again),
            ("differences", self.differences),
            ("pauses", self.pauses),
            ("asked_snapshots", self.asked_snapshots),
        ]
    }

    /// Adds another world's.
    pub fn add(&mut self, other: &Self) {
        self.worlds += other.worlds;
        self.events += other.events;
        self.simulated_ms += other.simulated_ms;
        self.reductions += other.reductions;
        self.generations += other.generations;
        self.formed_mid_step += other.formed_mid_step;
        self.from_snapshot += other.from_snapshot;
        self.coordinator_deaths += other.coordinator_deaths;
        self.adopted += other.adopted;
        self.retired += other.retired;
        self.lost += other.lost;
        self.refused += other.refused;
        self.stops += other.stops;
        self.wishes += other.wishes;
        self.leases += other.leases;
        self.failed += other.failed;
        self.stragglers += other.stragglers;
        self.cut_off += other.cut_off;
        self.stood += other.stood;
        self.reached_again += other.reached_again;
        self.differences += other.differences;
        self.pauses += other.pauses;
        self.asked_snapshots += other.asked_snapshots;
    }
}
