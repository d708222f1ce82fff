//! Times as people read them.

use std::time::{Duration, UNIX_EPOCH};

/// Days have no other length in Unix time.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// The end of the year 9999, behind which no text of a date stands.
const LAST_MS: u64 = 253_402_300_799_000;

/// A time of day as the logs have it; with its date unless that is today's.
#[must_use]
pub fn clock(wall_ms: u64, now_ms: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(wall_ms.min(LAST_MS));
    let text = humantime::format_rfc3339_seconds(time).to_string(); // 2026-11-28T20:31:05Z
    let (date, time) = text.trim_end_matches('Z').split_once('T').unwrap_or(("", &text));
    if wall_ms / DAY_MS == now_ms / DAY_MS { format!("{time} UTC") } else { format!("{date} {time} UTC") }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_time_that_cannot_be_is_shown_too() {
        assert_eq!(super::clock(u64::MAX, 0), "9999-12-31 23:59:59 UTC");
        assert_eq!(super::clock(1_795_897_865_000, 1_795_897_865_000), "20:31:05 UTC");
    }
}
