//! How long a warning is one: what it is about, and when that has ended.

use std::fmt;

use lsgan_control::{Aside, Entry, Run};
use lsgan_observe::alerts::Kind;
use lsgan_spec::Incarnation;

/// How long a warning about a moment is shown.
pub const A_WHILE_MS: u64 = 10 * 60 * 1000;

/// How long a person should look at a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lasts {
    /// It tells of a moment: for [`A_WHILE_MS`].
    AWhile,
    /// For as long as the run does.
    Always,
    /// Until its cause has ended.
    Until(Cause),
}

impl Lasts {
    /// What the journal calls the cause of a warning that stands; none where the warning is about a moment.
    #[must_use]
    pub fn cause(&self) -> Option<String> {
        match self {
            Self::AWhile => None,
            Self::Always => Some("the run".to_owned()),
            Self::Until(cause) => Some(cause.to_string()),
        }
    }
}

/// What a warning is about. A second warning of the same cause takes the place of the first and is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The worker of this name cannot start.
    CannotStart {
        /// Its name.
        name: String,
    },
    /// The worker of this name is gone.
    Gone {
        /// Its name.
        name: String,
    },
    /// A worker is much slower than the others.
    Slow(Incarnation),
    /// A worker and another one do not reach each other.
    CutOff(Incarnation),
    /// The run goes on without the worker, since its state did not reach it.
    LeftBehind(Incarnation),
    /// The others cannot train with the worker.
    Faulty(Incarnation),
    /// Messages are ignored.
    Dropped {
        /// Who sends them.
        who: String,
    },
    /// Snapshots cannot be written.
    Snapshot,
    /// Pictures cannot be written.
    Picture,
    /// Snapshots cannot be scored.
    Score,
    /// Old snapshots cannot be deleted.
    Retention,
    /// The journal cannot be written.
    Journal,
    /// The journal cannot be copied.
    Copy,
    /// An alert of this kind stands.
    Alert(Kind),
}

impl Cause {
    /// Whether `run` shows that the cause has ended. `newest`: the youngest worker that was attached when it was said.
    /// Causes that the run's state does not show are ended by their opposite event.
    pub(crate) fn has_ended(&self, run: &Run, newest: Incarnation) -> bool {
        let attached = |name: &str| run.workers().values().any(|w| w.name == name);
        match self {
            // Names that hold a process's id do not come back, so that another worker of that host will do.
            Self::CannotStart { name } | Self::Gone { name } => {
                let host = host_of(name);
                let younger = run.workers().iter().filter(|(i, _)| **i > newest);
                attached(name) || younger.into_iter().any(|(_, w)| host_of(&w.name) == host)
            }
            Self::Slow(who) => run.workers().get(who).is_none_or(|w| !w.straggles()),
            Self::LeftBehind(who) => {
                run.workers().get(who).is_none_or(|w| w.aside != Some(Aside::LeftBehind))
            }
            Self::Faulty(who) => run.workers().get(who).is_none_or(|w| w.aside != Some(Aside::Faulty)),
            Self::CutOff(who) => run.workers().get(who).is_none_or(|w| w.aside != Some(Aside::CutOff)),
            Self::Dropped { .. }
            | Self::Snapshot
            | Self::Picture
            | Self::Score
            | Self::Retention
            | Self::Journal
            | Self::Copy
            | Self::Alert(_) => false,
        }
    }
}

/// A word for it, in the journal: the same for equal causes. Workers are named by their incarnations where one life is meant.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CannotStart { name } => write!(f, "cannot start: {name}"),
            Self::Gone { name } => write!(f, "gone: {name}"),
            Self::Slow(who) => write!(f, "slow: {who}"),
            Self::CutOff(who) => write!(f, "cut off: {who}"),
            Self::LeftBehind(who) => write!(f, "left behind: {who}"),
            Self::Faulty(who) => write!(f, "faulty: {who}"),
            Self::Dropped { who } => write!(f, "messages dropped: {who}"),
            Self::Snapshot => f.write_str("snapshots"),
            Self::Picture => f.write_str("pictures"),
            Self::Score => f.write_str("scores"),
            Self::Retention => f.write_str("old snapshots"),
            Self::Journal => f.write_str("journal"),
            Self::Copy => f.write_str("journal's copy"),
            Self::Alert(kind) => write!(f, "alert: {}", kind.word()),
        }
    }
}

/// The host in a worker's name: `host-3` of `host-3:1`.
fn host_of(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(host, _)| host)
}

/// How long the warning lasts that an entry is for people, and the worker that it is about.
pub(crate) fn of(entry: &Entry, run: &Run) -> (Lasts, String) {
    let name = |incarnation: &Incarnation| {
        run.workers().get(incarnation).map_or_else(String::new, |worker| worker.name.clone())
    };
    match entry {
        Entry::Gone { name, .. } if !name.is_empty() => {
            (Lasts::Until(Cause::Gone { name: name.clone() }), name.clone())
        }
        Entry::Straggles { incarnation, .. } => (Lasts::Until(Cause::Slow(*incarnation)), name(incarnation)),
        Entry::CutOff { incarnation, .. } => (Lasts::Until(Cause::CutOff(*incarnation)), name(incarnation)),
        Entry::LeftBehind { incarnation, .. } => {
            (Lasts::Until(Cause::LeftBehind(*incarnation)), name(incarnation))
        }
        Entry::Faulty { incarnation, .. } => (Lasts::Until(Cause::Faulty(*incarnation)), name(incarnation)),
        Entry::OtherNumerics { incarnation, .. } => (Lasts::Always, name(incarnation)),
        Entry::DataUnfit(_) | Entry::Ended(_) => (Lasts::Always, String::new()),
        _ => (Lasts::AWhile, String::new()),
    }
}
