//! The control machine's settings, from the run's file.

use std::time::Duration;

use lsgan_control::{Config, PassKey, RingKeys};
use lsgan_plan::Plan;
use lsgan_spec::{NumericsPolicy, RunSpec, StragglerPolicy};
use lsgan_wire::file_hash;

/// A generation that forms is given up after so long without progress. Connecting takes milliseconds; what takes time is
/// the broadcast of the state: seconds for gigabytes, minutes over a slow link.
const FORMING_TIMEOUT_MS: u64 = 60_000;

/// How long a generation may do no step before it is ended; longer where steps are slow (see [`lsgan_control::Run`]).
const STALL_MS: u64 = 60_000;

/// How often workers' paces are compared.
const PACE_EVERY_MS: u64 = 1_000;

/// How long the expected workers are waited for, where their number is known: starting without one costs a reform.
const EXPECTED_WITHIN_MS: u64 = 30_000;

/// The settings of the machine; `patience` takes the place of its patience with generations, in tests.
pub(super) fn config(
    spec: &RunSpec,
    plan: &Plan,
    (records, (pass_key, ring_keys)): (u64, (PassKey, RingKeys)),
    (expected_workers, patience): (u32, Option<Duration>),
) -> Config {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Config {
        steps: spec.steps,
        virtual_ranks: spec.batch.virtual_ranks,
        min_workers: spec.cluster.min_workers,
        max_workers: spec.cluster.max_workers,
        expected_workers: expected_workers.min(spec.cluster.max_workers).min(spec.batch.virtual_ranks),
        gather_ms: if expected_workers > 0 { EXPECTED_WITHIN_MS } else { ms(spec.cluster.gather) },
        failure_timeout_ms: ms(spec.cluster.failure_timeout.least()),
        failure_timeout_ms_max: ms(spec.cluster.failure_timeout.most()),
        forming_timeout_ms: patience.map_or(FORMING_TIMEOUT_MS, ms),
        // Renewed when less than half is left, and half has to do for the horizon: positions are leased and consumed in
        // groups of data.mix, so a lease of little more than one would end in the middle of a step that nobody can do.
        lease_ordinals: plan.max_positions_per_steps(spec.cluster.lease_horizon_steps).saturating_mul(2),
        any_numerics: spec.cluster.numerics == NumericsPolicy::Any,
        straggler_percent: (spec.cluster.straggler_factor * 100.0).round() as u64,
        pace_every_ms: PACE_EVERY_MS,
        evict_stragglers: spec.cluster.stragglers == StragglerPolicy::Evict,
        spec: file_hash(&spec.to_json()),
        stall_ms: patience.map_or(STALL_MS, ms),
        records,
        pass_key,
        ring_keys,
    }
}
