//! Who takes part, and when a worker counts as dead.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::macros::{section, words};
use crate::table::{Field, Kind, field, number, of, whole};

section! {
    /// Who takes part, and when a worker counts as dead.
    ClusterSpec: Copy {
        /// Training starts, and goes on, with at least so many workers; not more than batch.virtual_ranks.
        min_workers: u32 => whole(1, 4096).default("1"),
        /// Workers beyond so many stand by; not less than min_workers.
        max_workers: u32 => whole(1, 4096).default("64"),
        /// Silence longer than this is a death. A death that is taken for one costs a run nothing but the time in which it
        /// is not noticed (frozen machines, pulled cables; a process that ends is noticed at once); a living worker that is
        /// taken for dead costs it that worker for seconds. auto: 1.5s where all workers are heard in time, and three times
        /// the longest silence of a living worker in the last minutes where a busy machine or network holds them up, at
        /// most 15s; 4.5s in the first 5s. Heartbeats come at a sixth of it, with auto four times a second.
        failure_timeout: FailureTimeout => duration(true, Duration::from_millis(200)).default("auto"),
        /// How long the first generation waits for more workers, once min_workers are there.
        #[serde(with = "humantime_serde")]
        gather: Duration => duration(false, Duration::ZERO).default("200ms"),
        /// How far ahead of its use data is leased, in steps: so long can the coordinator be away.
        lease_horizon_steps: u64 => whole(1, 1_000_000).default("2000"),
        /// Whether a worker that would compute other bits than the run's first one (another libtorch, another kind of
        /// device) is refused.
        numerics: NumericsPolicy => of::<NumericsPolicy>().default("same"),
        /// A worker that takes longer for a virtual rank than so many times the median of the others is a straggler.
        straggler_factor: f64 => number(1.1, 100.0).default("2.0"),
        /// What happens to stragglers.
        stragglers: StragglerPolicy => of::<StragglerPolicy>().default("report"),
    }
}

/// A duration of at most an hour.
const fn duration(auto: bool, least: Duration) -> Field {
    field(Kind::Duration { auto, least, most: Duration::from_secs(3600) })
}

words! {
    /// Whether workers that would compute other bits are refused.
    NumericsPolicy {
        /// it is refused, with both sides shown
        Same = "same",
        /// it takes part, and the final weights depend on who computed what
        Any = "any",
    }
}

words! {
    /// What happens to stragglers.
    StragglerPolicy {
        /// they are named, and the others wait for them at every step
        Report = "report",
        /// they are named, and stand by while min_workers others are there
        Evict = "evict",
    }
}

/// How long a worker may be silent before it counts as dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum FailureTimeout {
    /// As long as the run's own silences ask for: see [`FailureTimeout::least`] and [`FailureTimeout::most`].
    Auto,
    /// Always so long, 200ms to 1h.
    Fixed(Duration),
}

impl FailureTimeout {
    /// The silence that counts as a death where all workers are heard in time.
    #[must_use]
    pub fn least(self) -> Duration {
        match self {
            Self::Auto => Duration::from_millis(1_500),
            Self::Fixed(timeout) => timeout,
        }
    }

    /// The same on machines that let living workers be silent for long.
    #[must_use]
    pub fn most(self) -> Duration {
        match self {
            Self::Auto => Duration::from_secs(15),
            Self::Fixed(timeout) => timeout,
        }
    }
}

impl TryFrom<String> for FailureTimeout {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "auto" => Ok(Self::Auto),
            text => humantime::parse_duration(text).map(Self::Fixed).map_err(|error| error.to_string()),
        }
    }
}

impl From<FailureTimeout> for String {
    fn from(timeout: FailureTimeout) -> Self {
        match timeout {
            FailureTimeout::Auto => "auto".to_owned(),
            FailureTimeout::Fixed(timeout) => humantime::format_duration(timeout).to_string(),
        }
    }
}
