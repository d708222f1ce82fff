//! All that a seed decides before its world begins: sizes, classes of fault, and the time of each fault.

use std::collections::BTreeSet;
use std::fmt;

use lsgan_control::{Config, PassKey, RingKeys};
use lsgan_spec::{Millis, Reduction};

use crate::faults::{
    CLASSES, Class, FAR_CLASSES, Fault, LATER_CLASSES, LOST_CLASSES, OPERATOR_CLASSES, STRANGE_CLASSES,
    SUPERSEDED_CLASSES, WorkerFault, draw_count, draw_fault,
};
use crate::rng::{Rng, Stream};

/// A world with so many workers is a large one: a tenth of them are members, half a step takes up to a second, and
/// most invariants are checked after one event in fifty thousand.
pub const LARGE: u32 = 1_000;

/// In a large world: more than the default, because more messages are late.
const LARGE_FAILURE_TIMEOUT_MS: u64 = 5_000;

/// Sizes that the command line sets instead of the seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fixed {
    /// Steps of the run.
    pub steps: Option<u64>,
    /// Workers at the start.
    pub workers: Option<u32>,
}

/// The draws of one seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    pub seed: u64,
    pub config: Config,
    /// Workers at the start.
    pub workers: u32,
    /// Steps for which one shard position lasts a virtual rank.
    pub steps_per_ordinal: u64,
    /// Steps between two snapshots; none if there are no periodic snapshots.
    pub snapshot_every: Option<u64>,
    /// Longest computation of half a step.
    pub compute_ms_max: u64,
    /// Longest delay of a message.
    pub net_ms_max: u64,
    /// A worker that is aborted while it receives a broadcast has lost the state that it held before.
    pub broadcast_in_place: bool,
    /// A worker whose incarnation is over drops its state before it comes back.
    pub forgets: bool,
    pub classes: BTreeSet<Class>,
    /// The faults with their times, in order.
    pub faults: Vec<(Millis, Fault)>,
    /// Nothing fails from here on.
    pub calm_from: Millis,
    /// The reduction whose gradient is not finite.
    pub poison: Option<Reduction>,
    /// How many tasks fail.
    pub failing_tasks: u32,
    /// Steps between two reports of a state's hash and of paces; none if there are none.
    pub hash_every: Option<u64>,
}

impl Setup {
    /// The draws of `seed`, except for the sizes in `fixed`.
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
        match seed % 5 {
            2 => setup.draw_later(&mut Rng::new(seed, Stream::Later)),
            3 => setup.draw_far(&mut Rng::new(seed, Stream::Far)),
            4 => {
                setup.draw_hidden(&mut Rng::new(seed, Stream::Hidden));
                setup.draw_classes_with_faults(OPERATOR_CLASSES, &mut Rng::new(seed, Stream::Operator));
            }
            _ => {}
        }
        if seed % 10 == 5 {
            setup.draw_classes_with_faults(STRANGE_CLASSES, &mut Rng::new(seed, Stream::Strange));
        }
        if seed % 20 == 10 {
            setup.draw_classes_with_faults(LOST_CLASSES, &mut Rng::new(seed, Stream::Lost));
        }
        if seed % 40 == 26 {
            // Which of two coordinators an operator asks is another question.
            setup.classes.remove(&Class::Stop);
            setup.faults.retain(|(_, fault)| !matches!(fault, Fault::Stop { .. }));
            setup.draw_classes_with_faults(SUPERSEDED_CLASSES, &mut Rng::new(seed, Stream::Superseded));
        }
        setup.faults.sort_by_key(|(at, _)| *at);
        setup
    }

    /// Longest half step while nothing fails.
    #[must_use]
    pub fn half_ms_max(&self) -> u64 {
        self.compute_ms_max + 4 * self.net_ms_max + 2
    }

    /// Longest time that a generation stands because a training thread hangs, or a broadcast: the machine waits ten times as long before
    /// the first step, and twenty times the mean after it.
    #[must_use]
    pub fn stall_ms_max(&self) -> u64 {
        // A generation whose coordinator restarts while a state is broadcast is adopted as one that steps.
        let hangs = self.classes.contains(&Class::Hang) || self.classes.contains(&Class::Far);
        if hangs { 12 * self.config.stall_ms + 2 * 20 * self.half_ms_max() } else { 0 }
    }

    fn draw_faults(&mut self, rng: &mut Rng) {
        for class in self.classes.clone() {
            match class {
                Class::Poison => self.poison = Some(Reduction(rng.between(0, 2 * self.config.steps - 1))),
                Class::StoreFails => self.failing_tasks = 1,
                _ => {}
            }
            for _ in 0..draw_count(class, rng) {
                let at = rng.time(Millis(0), self.calm_from);
                let fault = draw_fault(class, self.config.failure_timeout_ms, rng);
                self.faults.extend(fault.map(|fault| (at, fault)));
            }
        }
    }

    fn draw_classes_with_faults(&mut self, classes: &[(Class, u64)], rng: &mut Rng) {
        for (class, n) in classes {
            if !rng.one_in(*n) {
                continue;
            }
            self.classes.insert(*class);
            for _ in 0..draw_count(*class, rng) {
                let fault = draw_fault(*class, self.config.failure_timeout_ms, rng);
                self.faults.extend(fault.map(|fault| (rng.time(Millis(0), self.calm_from), fault)));
            }
        }
    }

    fn draw_later(&mut self, rng: &mut Rng) {
        self.hash_every = Some(rng.between(1, 6));
        self.config.pace_every_ms = rng.between(20, 100);
        self.config.evict_stragglers = rng.one_in(2);
        self.draw_classes_with_faults(LATER_CLASSES, rng);
        if self.classes.contains(&Class::Hang) {
            self.config.stall_ms = rng.between(500, 2_000);
        }
    }

    fn draw_far(&mut self, rng: &mut Rng) {
        self.draw_classes_with_faults(FAR_CLASSES, rng);
        if self.classes.contains(&Class::Far) {
            self.config.stall_ms = rng.between(500, 2_000);
        }
    }

    /// Addresses that cannot be reached. Some of these worlds take minutes, in slow steps, so that a worker that was cut
    /// off can come back.
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
            let cut = if rng.one_in(3) { WorkerFault::Sever } else { WorkerFault::Hide };
            let at = rng.time(Millis(0), Millis(self.calm_from.0 / 3));
            self.faults.push((at, Fault::Worker(cut)));
            if !rng.one_in(3) {
                self.faults.push((at.plus(rng.between(1_000, 15_000)), Fault::Heal));
            }
        }
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
        records: 1_000,
        pass_key: PassKey::of("the run's secret"),
        ring_keys: RingKeys::default(),
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
            "half a step up to {} ms, a message up to {} ms, gather {} ms, failure {} ms, forming {} ms",
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
