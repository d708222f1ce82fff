//! [`Config`]: what the machine knows of the run's file.

use serde::{Deserialize, Serialize};

use crate::pass::PassKey;
use crate::ring::RingKeys;

/// What the machine must know of the run's specification. Integers only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Steps that the run does.
    pub steps: u64,
    /// V.
    pub virtual_ranks: u32,
    /// Training starts and goes on with at least this many.
    pub min_workers: u32,
    /// Workers beyond this many stand by.
    pub max_workers: u32,
    /// The first generation is formed at once when so many workers are attached; 0 if their number is not known.
    pub expected_workers: u32,
    /// With `min_workers` there, how long the first generation waits for more.
    pub gather_ms: u64,
    /// A worker that is silent for longer is dead, where heartbeats come in time.
    pub failure_timeout_ms: u64,
    /// The longest it can be where heartbeats come late; equal to `failure_timeout_ms`: always that.
    pub failure_timeout_ms_max: u64,
    /// A generation that is not ready after this long is given up, and another one formed.
    pub forming_timeout_ms: u64,
    /// How many positions beyond the consumed ones each virtual rank may read.
    pub lease_ordinals: u64,
    /// Admit workers whose numerics differ. The run then no longer promises bits.
    pub any_numerics: bool,
    /// A member whose pace is more than so many percent of the median of the others is a straggler.
    pub straggler_percent: u64,
    /// How often paces are compared.
    pub pace_every_ms: u64,
    /// Stragglers stand by while `min_workers` others are there.
    pub evict_stragglers: bool,
    /// Hash of the run's file as it is now. A generation that was formed under another one is formed anew.
    pub spec: String,
    /// How long a generation may do no step before it is ended; longer if its steps are slow.
    pub stall_ms: u64,
    /// Records in the data set.
    pub records: u64,
    /// What seals the workers' passes.
    pub pass_key: PassKey,
    /// Where the keys of the members' ring come from.
    pub ring_keys: RingKeys,
}
