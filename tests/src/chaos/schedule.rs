//! The faults of a round, as a function of its seed.

use std::fmt;
use std::time::Duration;

use lsgan_fuzz::Random;

use crate::proxy::Cut;

/// Workers at the start; as many virtual ranks as `small.yaml` has, and one to spare.
const WORKERS_MAX: u64 = 5;
/// Faults of a round.
const FAULTS_MAX: u64 = 6;
/// Steps between two faults, at most.
const STEPS_APART_MAX: u64 = 25;
/// How long something is frozen or cut, at most: beyond the failure timeout of a round.
const LASTS_MS_MAX: u64 = 1_500;

/// A fault. The number of the worker that it hits is taken modulo the number of living workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL.
    Kill(usize),
    /// SIGKILL, and another worker is started at once.
    Replace(usize),
    /// SIGSTOP for so long.
    Freeze(usize, Duration),
    /// SIGTERM.
    Leave(usize),
    /// SIGHUP, as from a terminal that is closed.
    HangUp(usize),
    /// Another worker is started.
    Join,
    /// Another worker, whose log's reader goes away after a few lines.
    JoinUnread,
    /// Another worker, whose log is on a full disk.
    JoinFull,
    /// Another worker, which sees another disk where the run's store is.
    JoinBlind,
    /// Another worker, which its peers cannot reach at its address.
    JoinUnreachable,
    /// Directions between the worker and the coordinator are cut for so long.
    Cut(usize, Cut, Duration),
    /// The worker's connections to the coordinator are reset.
    Reset(usize),
    /// The coordinator is killed and started again.
    KillCoordinator,
    /// Coordinator and workers are killed, and started again.
    KillAll,
    /// The run is stopped with a snapshot, and started again.
    Stop,
}

/// A round's faults by the step that they wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    pub seed: u64,
    /// Workers at the start.
    pub workers: u64,
    /// `(step, fault)`, ascending. Steps that the run has passed already happen at once.
    pub faults: Vec<(u64, Fault)>,
}

impl Schedule {
    pub fn of(seed: u64) -> Self {
        let mut numbers = Random::new(seed);
        let workers = 1 + numbers.below(WORKERS_MAX);
        let mut step = 0;
        let faults = (0..1 + numbers.below(FAULTS_MAX)).map(|_| {
            step += 1 + numbers.below(STEPS_APART_MAX);
            (step, fault(&mut numbers))
        });
        let faults = faults.collect();
        Self { seed, workers, faults }
    }
}

fn fault(numbers: &mut Random) -> Fault {
    let whom = usize::try_from(numbers.below(WORKERS_MAX)).expect("it is small");
    let lasts = Duration::from_millis(1 + numbers.below(LASTS_MS_MAX));
    match numbers.below(17) {
        0 => Fault::Kill(whom),
        1 | 2 => Fault::Replace(whom),
        3 => Fault::Freeze(whom, lasts),
        4 => Fault::Leave(whom),
        5 => Fault::Join,
        6 => Fault::Cut(whom, Cut::Both, lasts),
        7 => Fault::Cut(whom, if numbers.below(2) == 0 { Cut::Forth } else { Cut::Back }, lasts),
        8 => Fault::Reset(whom),
        9 => Fault::KillCoordinator,
        10 => Fault::KillAll,
        11 => Fault::HangUp(whom),
        12 => Fault::JoinUnread,
        13 => Fault::JoinFull,
        14 => Fault::JoinBlind,
        15 => Fault::JoinUnreachable,
        _ => Fault::Stop,
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(whom) => write!(f, "kill {whom}"),
            Self::Replace(whom) => write!(f, "replace {whom}"),
            Self::Freeze(whom, lasts) => write!(f, "freeze {whom} for {} ms", lasts.as_millis()),
            Self::Leave(whom) => write!(f, "leave {whom}"),
            Self::HangUp(whom) => write!(f, "hang up {whom}"),
            Self::Join => write!(f, "join"),
            Self::JoinUnread => write!(f, "join with a log that nobody reads"),
            Self::JoinFull => write!(f, "join with a log on a full disk"),
            Self::JoinBlind => write!(f, "join with another disk"),
            Self::JoinUnreachable => write!(f, "join where nobody is reached"),
            Self::Cut(whom, cut, lasts) => {
                let ways = match cut {
                    Cut::Whole => "no way",
                    Cut::Forth => "from",
                    Cut::Back => "to",
                    Cut::Both => "off",
                };
                write!(f, "cut {ways} {whom} for {} ms", lasts.as_millis())
            }
            Self::Reset(whom) => write!(f, "reset {whom}"),
            Self::KillCoordinator => write!(f, "kill the coordinator"),
            Self::KillAll => write!(f, "kill all"),
            Self::Stop => write!(f, "stop"),
        }
    }
}

/// `3 workers: kill 1 at 17, stop at 40`.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<_> = self.faults.iter().map(|(step, fault)| format!("{fault} at {step}")).collect();
        write!(f, "{} workers: {}", self.workers, faults.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_again_and_another_one_something_else() {
        assert_eq!(Schedule::of(7), Schedule::of(7));
        assert_ne!(Schedule::of(7).faults, Schedule::of(8).faults);
    }

    #[test]
    fn every_kind_of_fault_is_drawn() {
        let drawn: Vec<_> = (0..200).flat_map(|seed| Schedule::of(seed).faults).map(|(_, f)| f).collect();
        let kinds: std::collections::BTreeSet<_> = drawn
            .iter()
            .map(|fault| fault.to_string().split_whitespace().take(2).collect::<String>())
            .collect();
        for kind in ["kill0", "replace1", "freeze2", "leave3", "join", "cutoff", "cutfrom", "cutto", "reset4"]
        {
            assert!(kinds.contains(kind), "{kind} is not among {kinds:?}");
        }
        assert!(kinds.contains("hangup"), "hang up is not among {kinds:?}");
        for fault in [Fault::KillCoordinator, Fault::KillAll, Fault::Stop, Fault::JoinUnread, Fault::JoinFull]
        {
            assert!(drawn.contains(&fault), "{fault} was not drawn");
        }
    }
}
