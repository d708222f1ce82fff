//! What a seed decides: the sizes of the world, the classes of fault that it has, and when they strike.

use std::collections::BTreeSet;
use std::fmt;

use lsgan_control::Config;
use lsgan_spec::{Millis, Reduction};

use crate::rng::{Rng, Stream};

/// A class of fault. Each seed has some of them; one seed in eight has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// SIGTERM to a worker.
    Leave,
    /// One more worker.
    Join,
    /// SIGKILL to a worker.
    Death,
    /// SIGSTOP to a worker, SIGCONT later.
    Freeze,
    /// SIGKILL to the coordinator between two of its effects, and a restart.
    Coordinator,
    /// An operator stops the run and later goes on with it.
    Stop,
    /// SIGKILL to everybody, the coordinator too.
    EveryoneDies,
    /// The stream between a worker and the coordinator breaks.
    Stream,
    /// The connection between two members breaks.
    Link,
    /// A worker is told to abort, is alive and does not park.
    Stuck,
    /// A worker says something twice, the second time late.
    Echo,
    /// A worker comes whose bits would differ.
    Odd,
    /// A gradient is not finite.
    Poison,
    /// A task that writes what lasts fails.
    StoreFails,
    /// A bit of a worker's state flips.
    Flip,
    /// A worker is much slower than the others.
    Slow,
    /// The network between a worker and the coordinator carries nothing one way for a while.
    OneWay,
    /// Workers' clocks are fast or slow by up to a fifth.
    Drift,
    /// The network between two workers carries nothing any more, though both reach the coordinator.
    Severed,
    /// The data set turns out too bad to train on.
    Unfit,
    /// A worker's address cannot be reached by its peers, though it reaches theirs.
    Hidden,
    /// Some workers do not see the store, until nothing fails any more; and snapshots fail.
    Blind,
    /// An operator pauses the run and later goes on with it.
    Pause,
    /// An operator asks for snapshots.
    Snapshot,
    /// A worker's training thread is gone, and its heartbeats go on.
    Hang,
}

/// All classes, with how often (once in so many seeds) each is on.
const CLASSES: &[(Class, u64)] = &[
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

/// Classes that came later, for every fifth seed only and from a stream of chance of their own: so the seeds that
/// once found a bug keep their worlds.
const LATER_CLASSES: &[(Class, u64)] = &[
    (Class::Flip, 2),
    (Class::Slow, 1),
    (Class::OneWay, 2),
    (Class::Drift, 2),
    (Class::Severed, 2),
    (Class::Unfit, 8),
    (Class::Blind, 3),
    (Class::Hang, 3),
];

/// What an operator does, for another fifth of the seeds, for the same reason.
const OPERATOR_CLASSES: &[(Class, u64)] = &[(Class::Pause, 2), (Class::Snapshot, 2)];

/// One fault. Whom it hits is drawn when it strikes, from those who are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGTERM to a worker.
    Leave,
    /// One more worker.
    Join,
    /// SIGKILL to a worker; its supervisor starts it again after so long, if at all.
    Kill {
        /// How long.
        restart_ms: Option<u64>,
    },
    /// SIGSTOP to a worker for so long.
    Freeze {
        /// How long.
        for_ms: u64,
    },
    /// SIGKILL to the coordinator while it performs the effects of one of its next events.
    CrashCoordinator {
        /// For how long it stays away.
        down_ms: u64,
    },
    /// The operator stops the run, and goes on so long after its end.
    Stop {
        /// How long.
        resume_ms: u64,
    },
    /// The operator pauses the run, and goes on after so long.
    Pause {
        /// How long.
        for_ms: u64,
    },
    /// The operator asks for a snapshot.
    Snapshot,
    /// SIGKILL to everybody.
    KillAll {
        /// For how long nobody is there.
        down_ms: u64,
    },
    /// A worker's stream to the coordinator breaks.
    BreakStream,
    /// A member loses its connection to its peers.
    BreakLink,
    /// A worker will not park the next time that it is told to abort.
    Stick,
    /// A worker's training thread does nothing more from its next half step on.
    Hang,
    /// A worker says again something that it said on this stream.
    Echo,
    /// A worker comes whose bits would differ.
    JoinOdd,
    /// A bit of a worker's state flips.
    Flip,
    /// A worker is much slower from now on.
    Slow,
    /// Nothing comes through any more between a worker and another one.
    Sever,
    /// Nobody connects to a worker any more; connections that stand go on.
    Hide,
    /// All workers reach each other again.
    Heal,
    /// The shell finds the data set too bad.
    DataUnfit,
    /// What a worker says, or what it is told, is held up for so long.
    OneWay {
        /// What it says; otherwise what it is told.
        up: bool,
        /// How long.
        for_ms: u64,
    },
}

/// Sizes that the command line fixes instead of the seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fixed {
    /// Steps of the run.
    pub steps: Option<u64>,
    /// Workers at the start.
    pub workers: Option<u32>,
}

/// A world with so many workers is a large one: a tenth of them are members, half a step takes up to a second, and
/// most sentences are looked at after one event in fifty thousand.
pub const LARGE: u32 = 1_000;

/// In a large world: more than the default, as with so many a network is more often late.
const LARGE_FAILURE_TIMEOUT_MS: u64 = 5_000;

/// All that a seed decides before the world begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// The seed.
    pub seed: u64,
    /// The machine's configuration.
    pub config: Config,
    /// Workers at the start.
    pub workers: u32,
    /// How many steps one shard position lasts a virtual rank.
    pub steps_per_ordinal: u64,
    /// The writer writes a snapshot after every so many steps; never if none.
    pub snapshot_every: Option<u64>,
    /// The most that half a step computes.
    pub compute_ms_max: u64,
    /// The most that a message is under way.
    pub net_ms_max: u64,
    /// A worker that is aborted while it receives a broadcast has lost the state that it held before.
    pub broadcast_in_place: bool,
    /// A worker whose incarnation is over drops its state before it comes back.
    pub forgets: bool,
    /// The classes of fault.
    pub classes: BTreeSet<Class>,
    /// When which fault strikes, in order.
    pub faults: Vec<(Millis, Fault)>,
    /// From here on nothing fails any more.
    pub calm_from: Millis,
    /// The gradient that is not finite.
    pub poison: Option<Reduction>,
    /// How many tasks fail.
    pub failing_tasks: u32,
    /// Members report the hash of their state after every so many steps, and their paces; never if none.
    pub hash_every: Option<u64>,
}

impl Setup {
    /// What `seed` decides, apart from what is `fixed`.
    #[must_use]
    pub fn draw(seed: u64, fixed: Fixed) -> Self {
        let mut rng = Rng::new(seed, Stream::Setup);
        let workers = fixed.workers.unwrap_or(rng.between(1, 5) as u32).max(1);
        let config = draw_config(&mut rng, workers, fixed.steps);
        let compute_ms_max = if workers >= LARGE { 1_000 } else { rng.between(2, 60) };
        let net_ms_max = rng.between(1, 40);
        let half_ms = compute_ms_max / 3 + net_ms_max / 3 + 1;
        let calm_from = Millis(1_000 + config.gather_ms + config.steps * 2 * half_ms);
        let classes = draw_classes(&mut rng);
        let mut setup = Self {
            seed,
            workers,
            steps_per_ordinal: rng.between(1, 6),
            snapshot_every: (!rng.one_in(5)).then(|| rng.between(2, 12)),
            compute_ms_max,
            net_ms_max,
            broadcast_in_place: rng.one_in(2),
            forgets: rng.one_in(2),
            faults: Vec::new(),
            calm_from,
            poison: None,
            failing_tasks: 0,
            hash_every: None,
            classes,
            config,
        };
        setup.draw_faults(&mut rng);
        if seed % 5 == 2 {
            setup.draw_later(&mut Rng::new(seed, Stream::Later));
        }
        if seed % 5 == 4 {
            setup.draw_hidden(&mut Rng::new(seed, Stream::Hidden));
        }
        if seed % 5 == 4 {
            setup.draw_operator(&mut Rng::new(seed, Stream::Operator));
        }
        setup
    }

    /// The most that half a step takes while nothing fails.
    #[must_use]
    pub fn half_ms_max(&self) -> u64 {
        self.compute_ms_max + 4 * self.net_ms_max + 2
    }

    /// The most that a generation stands because a member's training thread is gone: ten times as long before its first
    /// step, twenty times the mean after it.
    #[must_use]
    pub fn stall_ms_max(&self) -> u64 {
        let hangs = self.classes.contains(&Class::Hang);
        if hangs { 12 * self.config.stall_ms + 2 * 20 * self.half_ms_max() } else { 0 }
    }

    fn draw_later(&mut self, rng: &mut Rng) {
        self.hash_every = Some(rng.between(1, 6));
        self.config.pace_every_ms = rng.between(20, 100);
        self.config.evict_stragglers = rng.one_in(2);
        for (class, n) in LATER_CLASSES {
            if !rng.one_in(*n) {
                continue;
            }
            self.classes.insert(*class);
            let count = if matches!(class, Class::OneWay | Class::Severed) { rng.between(1, 4) } else { 1 };
            for _ in 0..count {
                let fault = match class {
                    Class::Flip => Fault::Flip,
                    Class::Slow => Fault::Slow,
                    Class::Severed => Fault::Sever,
                    Class::Unfit => Fault::DataUnfit,
                    Class::Hang => Fault::Hang,
                    Class::OneWay => {
                        let for_ms = rng.between(1, 3 * self.config.failure_timeout_ms);
                        Fault::OneWay { up: rng.one_in(2), for_ms }
                    }
                    _ => continue,
                };
                self.faults.push((rng.time(Millis(0), self.calm_from), fault));
            }
        }
        if self.classes.contains(&Class::Hang) {
            self.config.stall_ms = rng.between(500, 2_000);
        }
        self.faults.sort_by_key(|(at, _)| *at);
    }

    /// Addresses that cannot be reached, in seeds of their own for the same reason. Some of these worlds take minutes, in
    /// slow steps, so that a worker that was cut off can come back.
    fn draw_hidden(&mut self, rng: &mut Rng) {
        if rng.one_in(5) {
            return;
        }
        self.classes.insert(Class::Hidden);
        if rng.one_in(2) {
            self.config.failure_timeout_ms_max = 10 * self.config.failure_timeout_ms;
        }
        if self.workers < LARGE && !rng.one_in(4) {
            self.compute_ms_max = rng.between(2_000, 6_000);
            self.calm_from = Millis(1_000 + self.config.gather_ms + self.config.steps * self.compute_ms_max);
        }
        for _ in 0..rng.between(1, 4) {
            let cut = if rng.one_in(3) { Fault::Sever } else { Fault::Hide };
            let at = rng.time(Millis(0), Millis(self.calm_from.0 / 3));
            self.faults.push((at, cut));
            if !rng.one_in(3) {
                self.faults.push((at.plus(rng.between(1_000, 15_000)), Fault::Heal));
            }
        }
        self.faults.sort_by_key(|(at, _)| *at);
    }

    fn draw_operator(&mut self, rng: &mut Rng) {
        for (class, n) in OPERATOR_CLASSES {
            if !rng.one_in(*n) {
                continue;
            }
            self.classes.insert(*class);
            for _ in 0..rng.between(1, 3) {
                let fault = match class {
                    Class::Pause => Fault::Pause { for_ms: rng.delay_ms(3_000) },
                    _ => Fault::Snapshot,
                };
                self.faults.push((rng.time(Millis(0), self.calm_from), fault));
            }
        }
        self.faults.sort_by_key(|(at, _)| *at);
    }

    fn draw_faults(&mut self, rng: &mut Rng) {
        let timeout_ms = self.config.failure_timeout_ms;
        for class in self.classes.clone() {
            let count = match class {
                Class::Stop | Class::EveryoneDies | Class::Odd => rng.between(1, 2),
                Class::Poison => {
                    self.poison = Some(Reduction(rng.between(0, 2 * self.config.steps - 1)));
                    0
                }
                Class::StoreFails => {
                    self.failing_tasks = 1;
                    0
                }
                Class::Echo => rng.between(4, 30),
                _ => rng.between(1, 4),
            };
            for _ in 0..count {
                let at = rng.time(Millis(0), self.calm_from);
                let fault = match class {
                    Class::Leave => Fault::Leave,
                    Class::Join => Fault::Join,
                    Class::Death => {
                        let restart_ms = (!rng.one_in(3)).then(|| rng.between(0, 1_500));
                        Fault::Kill { restart_ms }
                    }
                    Class::Freeze => Fault::Freeze { for_ms: rng.between(1, 3 * timeout_ms) },
                    Class::Coordinator => Fault::CrashCoordinator { down_ms: rng.delay_ms(6_000) },
                    Class::Stop => Fault::Stop { resume_ms: rng.delay_ms(3_000) },
                    Class::EveryoneDies => Fault::KillAll { down_ms: rng.delay_ms(2_000) },
                    Class::Stream => Fault::BreakStream,
                    Class::Link => Fault::BreakLink,
                    Class::Stuck => Fault::Stick,
                    Class::Echo => Fault::Echo,
                    Class::Odd => Fault::JoinOdd,
                    Class::Poison
                    | Class::StoreFails
                    | Class::Flip
                    | Class::Slow
                    | Class::OneWay
                    | Class::Drift
                    | Class::Severed
                    | Class::Unfit
                    | Class::Hidden
                    | Class::Blind
                    | Class::Pause
                    | Class::Snapshot
                    | Class::Hang => continue,
                };
                self.faults.push((at, fault));
            }
        }
        self.faults.sort_by_key(|(at, _)| *at);
    }
}

fn draw_config(rng: &mut Rng, workers: u32, steps: Option<u64>) -> Config {
    let mut virtual_ranks = rng.between(1, 8) as u32;
    let mut max_workers = rng.between(1, 6) as u32;
    if workers >= LARGE {
        (virtual_ranks, max_workers) = (workers / 10, workers / 10);
    }
    let most = workers.min(virtual_ranks).min(max_workers).min(3);
    let failure_timeout_ms =
        if workers >= LARGE { LARGE_FAILURE_TIMEOUT_MS } else { rng.between(300, 1_500) };
    Config {
        steps: steps.unwrap_or(rng.between(3, 40)).max(1),
        virtual_ranks,
        min_workers: rng.between(1, u64::from(most)) as u32,
        max_workers,
        expected_workers: if rng.one_in(2) { workers } else { 0 },
        gather_ms: rng.between(0, 500),
        failure_timeout_ms,
        failure_timeout_ms_max: failure_timeout_ms,
        forming_timeout_ms: rng.between(1_000, 5_000),
        lease_ordinals: rng.between(1, 12),
        any_numerics: false,
        straggler_percent: 200,
        pace_every_ms: 1_000,
        evict_stragglers: false,
        spec: String::new(),
        stall_ms: 60_000,
    }
}

fn draw_classes(rng: &mut Rng) -> BTreeSet<Class> {
    if rng.one_in(8) {
        return BTreeSet::new();
    }
    CLASSES.iter().filter(|(_, n)| rng.one_in(*n)).map(|(class, _)| *class).collect()
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = &self.config;
        writeln!(
            f,
            "{} steps, {} virtual ranks, {} workers (at least {}, at most {}, expected {})",
            c.steps, c.virtual_ranks, self.workers, c.min_workers, c.max_workers, c.expected_workers
        )?;
        writeln!(
            f,
            "a half step up to {} ms, a message up to {} ms, gather {} ms, failure {} ms, forming {} ms",
            self.compute_ms_max, self.net_ms_max, c.gather_ms, c.failure_timeout_ms, c.forming_timeout_ms
        )?;
        let snapshots = self.snapshot_every.map_or("never".to_owned(), |n| format!("every {n} steps"));
        writeln!(
            f,
            "leases of {} positions of {} steps, snapshots {snapshots}, broadcast in place: {}, retired forget: {}",
            c.lease_ordinals, self.steps_per_ordinal, self.broadcast_in_place, self.forgets
        )?;
        writeln!(f, "classes {:?}, calm from {} ms", self.classes, self.calm_from)?;
        if let Some(poison) = self.poison {
            writeln!(f, "reduction {poison} is not finite")?;
        }
        for (at, fault) in &self.faults {
            writeln!(f, "  {at} ms: {fault:?}")?;
        }
        Ok(())
    }
}
