//! Waiting for an event with a deadline.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// How long anything may take. Far more than it does: a loaded machine must not fail a test.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// Between two looks. What is waited for is the event; this only bounds how often it is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Looks until `look` finds what is awaited. Its error says what is there instead.
#[track_caller]
pub fn until<T, E: Debug>(awaited: &str, mut look: impl FnMut() -> Result<T, E>) -> T {
    let begin = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) if begin.elapsed() > DEADLINE => {
                panic!("waited {} s for: {awaited}\nlast seen: {seen:?}", DEADLINE.as_secs())
            }
            Err(_) => std::thread::sleep(LOOK_EVERY),
        }
    }
}
