//! How long a silent worker is waited for before it counts as dead.
//!
//! Heartbeats come at a sixth of the shortest timeout. On a busy machine the heartbeats of all workers come late. So the
//! longest silence after which a worker was heard again tells how long the next one may last.

use lsgan_spec::Millis;
use serde::{Deserialize, Serialize};

use super::config::Config;

/// The timeout is so many times the longest silence: three heartbeats in a row are lost rarely.
const FACTOR: u64 = 3;
/// Silences are remembered for this long at least, and for twice as long at most.
const WINDOW_MS: u64 = 120_000;
/// How long after the first worker attached silences are tolerated: a machine on which workers start is busy.
const UNKNOWN_FOR_MS: u64 = 5_000;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Silences {
    /// When the first worker attached.
    since: Option<Millis>,
    /// The longest of this window and of the one before.
    longest_ms: [u64; 2],
    window_until: Millis,
}

impl Silences {
    /// A worker attached.
    pub fn began(&mut self, now: Millis) {
        self.since.get_or_insert(now);
    }

    /// A worker is heard after a silence.
    pub fn ended(&mut self, now: Millis, silent_ms: u64) {
        if now >= self.window_until {
            // A window without a heartbeat counts as two.
            let stale = now >= self.window_until.plus(WINDOW_MS);
            self.longest_ms = [0, if stale { 0 } else { self.longest_ms[0] }];
            self.window_until = now.plus(WINDOW_MS);
        }
        self.longest_ms[0] = self.longest_ms[0].max(silent_ms);
    }

    /// For how long a silent worker is waited for.
    pub fn timeout_ms(&self, now: Millis, config: &Config) -> u64 {
        let known = self.since.is_some_and(|since| now >= since.plus(UNKNOWN_FOR_MS));
        let unknown_ms = if known { 0 } else { FACTOR * config.failure_timeout_ms };
        let longest_ms = self.longest_ms[0].max(self.longest_ms[1]);
        (FACTOR * longest_ms)
            .max(unknown_ms)
            .clamp(config.failure_timeout_ms, config.failure_timeout_ms_max.max(config.failure_timeout_ms))
    }
}
