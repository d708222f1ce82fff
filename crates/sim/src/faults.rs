//! The classes of fault, how often a seed has each, and the faults that it draws for them.

use crate::rng::Rng;

/// A class of fault. Each seed has some of them; one seed in eight has none of [`CLASSES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// SIGTERM to a worker.
    Leave,
    /// One more worker starts.
    Join,
    /// SIGKILL to a worker.
    Death,
    /// SIGSTOP to a worker, SIGCONT later.
    Freeze,
    /// SIGKILL to the coordinator between two of its effects, and a restart.
    Coordinator,
    /// An operator stops the run and later resumes it.
    Stop,
    /// SIGKILL to all workers and the coordinator.
    EveryoneDies,
    /// The stream between a worker and the coordinator breaks.
    Stream,
    /// The connection between two members breaks.
    Link,
    /// A worker is told to abort, is alive and does not park.
    Stuck,
    /// A worker sends a report a second time, late.
    Echo,
    /// A worker with other numerics starts.
    Odd,
    /// A gradient is not finite.
    Poison,
    /// A task that closes the run fails.
    StoreFails,
    /// A bit of a worker's state flips.
    Flip,
    /// A worker is much slower than the others.
    Slow,
    /// The network between a worker and the coordinator is held up in one direction for a while.
    OneWay,
    /// Workers' clocks are fast or slow by up to a fifth.
    Drift,
    /// The network between two workers carries nothing any more, though both reach the coordinator.
    Severed,
    /// The data set turns out too bad to train on.
    Unfit,
    /// A worker's address cannot be reached by its peers, though it reaches theirs.
    Hidden,
    /// Some workers do not see the store until the calm, and two snapshots fail.
    Blind,
    /// A worker starts whose link is so slow that a state does not get through it until the calm.
    Far,
    /// An operator pauses the run and later resumes it.
    Pause,
    /// An operator asks for snapshots.
    Snapshot,
    /// A worker's training thread hangs, and its heartbeats go on.
    Hang,
    /// Programs that are no workers reach the coordinator's port and say what they like.
    Stranger,
    /// A worker's steps fail, and those of the others do not.
    Sick,
    /// A GPU's host stands still while the others end a sum, so that its state may hold garbage.
    Starved,
    /// The coordinator's host is lost with its disk, and another host goes on with the copy of the journal.
    HostLost,
    /// A coordinator that lives on is taken for dead, and another one restores the journal's copy and leads.
    Superseded,
}

/// The first classes, each with `n`: it is on in one of `n` seeds.
pub const CLASSES: &[(Class, u64)] = &[
    (Class::Leave, 3),
    (Class::Join, 3),
    (Class::Death, 3),
    (Class::Freeze, 3),
    (Class::Coordinator, 3),
    (Class::Stop, 5),
    (Class::EveryoneDies, 8),
    (Class::Stream, 4),
    (Class::Link, 4),
    (Class::Stuck, 8),
    (Class::Echo, 4),
    (Class::Odd, 8),
    (Class::Poison, 24),
    (Class::StoreFails, 24),
];

/// Classes that were added later. Only every fifth seed has them, and they have a random stream of their own, so that
/// the seeds that once found a bug keep their worlds.
pub const LATER_CLASSES: &[(Class, u64)] = &[
    (Class::Flip, 2),
    (Class::Slow, 1),
    (Class::OneWay, 2),
    (Class::Drift, 2),
    (Class::Severed, 2),
    (Class::Unfit, 8),
    (Class::Blind, 3),
    (Class::Hang, 3),
];

/// Slow links, for another fifth of the seeds and for the same reason.
pub const FAR_CLASSES: &[(Class, u64)] = &[(Class::Far, 1)];

/// Strangers, and members that the others cannot train with, for a tenth of the seeds and for the same reason.
pub const STRANGE_CLASSES: &[(Class, u64)] = &[(Class::Stranger, 1), (Class::Sick, 2), (Class::Starved, 2)];

/// Losses of the coordinator's host, for a twentieth of the seeds and for the same reason.
pub const LOST_CLASSES: &[(Class, u64)] = &[(Class::HostLost, 1)];

/// Two coordinators at once, for a fortieth of the seeds and for the same reason.
pub const SUPERSEDED_CLASSES: &[(Class, u64)] = &[(Class::Superseded, 1)];

/// Requests of an operator, for another fifth of the seeds and for the same reason.
pub const OPERATOR_CLASSES: &[(Class, u64)] = &[(Class::Pause, 2), (Class::Snapshot, 2)];

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// One more worker starts.
    Join,
    /// A worker with other numerics starts.
    JoinOdd,
    /// A worker starts that a state does not reach.
    JoinFar,
    /// A program that is no worker opens a stream. It says Hello or not, and then anything.
    Stranger,
    /// SIGKILL to the coordinator while it performs the effects of one of its next events; it restarts after so long.
    CrashCoordinator { down_ms: u64 },
    /// The same, and its journal is lost. What starts after so long has what the copy has: all that something was sent about.
    LoseHost { down_ms: u64 },
    /// Another coordinator starts after so long, while this one lives on and is hardly heard for so long.
    Supersede { after_ms: u64, silent_ms: u64 },
    /// An operator stops the run, and resumes it so long after its end.
    Stop { resume_ms: u64 },
    /// An operator pauses the run for so long.
    Pause { for_ms: u64 },
    /// An operator asks for a snapshot.
    Snapshot,
    /// SIGKILL to all workers and the coordinator; new ones start after so long.
    KillAll { down_ms: u64 },
    /// All workers reach each other again.
    Heal,
    /// The coordinator's shell finds the data set too bad to train on.
    DataUnfit,
    /// A fault of one worker, which is drawn when the fault strikes from those that are alive.
    Worker(WorkerFault),
}

/// A fault of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerFault {
    /// SIGTERM.
    Leave,
    /// SIGKILL; its supervisor starts it again after so long, if at all.
    Kill { restart_ms: Option<u64> },
    /// SIGSTOP for so long.
    Freeze { for_ms: u64 },
    /// Its stream to the coordinator breaks.
    BreakStream,
    /// It loses its connection to its peers.
    BreakLink,
    /// It will not park when it is told to abort.
    Stick,
    /// Its training thread hangs at its next half step.
    Hang,
    /// It sends again a report that it sent on this stream.
    Echo,
    /// A bit of its state flips.
    Flip,
    /// Its steps fail from now on.
    Sicken,
    /// It drops its state when the next sum is ended by others.
    Starve,
    /// It is much slower from now on.
    Slow,
    /// The network between it and another worker carries nothing any more.
    Sever,
    /// No new connection to it can be made; existing ones go on.
    Hide,
    /// What it sends (`up`), or what it is sent, is held up for so long.
    OneWay { up: bool, for_ms: u64 },
}

/// How many faults of a class strike in a world.
pub fn draw_count(class: Class, rng: &mut Rng) -> u64 {
    match class {
        Class::Leave
        | Class::Join
        | Class::Death
        | Class::Freeze
        | Class::Coordinator
        | Class::Stream
        | Class::Link
        | Class::Stuck
        | Class::OneWay
        | Class::Severed
        | Class::Sick
        | Class::HostLost
        | Class::Superseded => rng.between(1, 4),
        Class::Far => rng.between(2, 6),
        Class::Pause | Class::Snapshot => rng.between(1, 3),
        Class::Stop | Class::EveryoneDies | Class::Odd => rng.between(1, 2),
        Class::Echo | Class::Stranger | Class::Starved => rng.between(4, 30),
        Class::Flip | Class::Slow | Class::Unfit | Class::Hang => 1,
        Class::Poison | Class::StoreFails | Class::Drift | Class::Hidden | Class::Blind => 0,
    }
}

/// A fault of a class. None if the class is a property of the world instead.
pub fn draw_fault(class: Class, failure_timeout_ms: u64, rng: &mut Rng) -> Option<Fault> {
    use Fault::Worker;
    Some(match class {
        Class::Leave => Worker(WorkerFault::Leave),
        Class::Join => Fault::Join,
        Class::Death => {
            let restart_ms = (!rng.one_in(3)).then(|| rng.between(0, 1_500));
            Worker(WorkerFault::Kill { restart_ms })
        }
        Class::Freeze => Worker(WorkerFault::Freeze { for_ms: rng.between(1, 3 * failure_timeout_ms) }),
        Class::Coordinator => Fault::CrashCoordinator { down_ms: rng.delay_ms(6_000) },
        Class::HostLost => Fault::LoseHost { down_ms: rng.delay_ms(6_000) },
        Class::Superseded => {
            Fault::Supersede { after_ms: rng.delay_ms(3_000), silent_ms: rng.delay_ms(8_000) }
        }
        Class::Stop => Fault::Stop { resume_ms: rng.delay_ms(3_000) },
        Class::EveryoneDies => Fault::KillAll { down_ms: rng.delay_ms(2_000) },
        Class::Stream => Worker(WorkerFault::BreakStream),
        Class::Link => Worker(WorkerFault::BreakLink),
        Class::Stuck => Worker(WorkerFault::Stick),
        Class::Echo => Worker(WorkerFault::Echo),
        Class::Odd => Fault::JoinOdd,
        Class::Far => Fault::JoinFar,
        Class::Stranger => Fault::Stranger,
        Class::Flip => Worker(WorkerFault::Flip),
        Class::Slow => Worker(WorkerFault::Slow),
        Class::Sick => Worker(WorkerFault::Sicken),
        Class::Starved => Worker(WorkerFault::Starve),
        Class::Severed => Worker(WorkerFault::Sever),
        Class::Unfit => Fault::DataUnfit,
        Class::Hang => Worker(WorkerFault::Hang),
        Class::OneWay => {
            let for_ms = rng.between(1, 3 * failure_timeout_ms);
            Worker(WorkerFault::OneWay { up: rng.one_in(2), for_ms })
        }
        Class::Pause => Fault::Pause { for_ms: rng.delay_ms(3_000) },
        Class::Snapshot => Fault::Snapshot,
        Class::Poison | Class::StoreFails | Class::Drift | Class::Hidden | Class::Blind => return None,
    })
}
