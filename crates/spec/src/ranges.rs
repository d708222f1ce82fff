//! The checks of single values that garde's own rules cannot say: open ends, and floats (garde lets NaN pass).
//!
//! The texts are for those who build a [`crate::RunSpec`] in code; a file's reader sees [`crate::fields`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::FailureTimeout;

fn ensure(holds: bool, accepted: impl FnOnce() -> String) -> garde::Result {
    if holds { Ok(()) } else { Err(garde::Error::new(accepted())) }
}

/// Above 0, at most `most`.
pub fn above_zero(most: f64) -> impl Fn(&f64, &()) -> garde::Result {
    move |value, ()| ensure(*value > 0.0 && *value <= most, || format!("must be above 0 and at most {most}"))
}

/// At least 0, below 1.
pub fn below_one(value: &f64, (): &()) -> garde::Result {
    ensure((0.0..1.0).contains(value), || "must be at least 0 and below 1".to_owned())
}

/// From `least` to `most`.
pub fn between(least: f64, most: f64) -> impl Fn(&f64, &()) -> garde::Result {
    move |value, ()| ensure((least..=most).contains(value), || format!("must be from {least} to {most}"))
}

/// From −`most` to `most`.
pub fn within(most: f64) -> impl Fn(&f64, &()) -> garde::Result {
    move |value, ()| ensure(value.abs() <= most, || format!("must be from -{most} to {most}"))
}

/// From `least` to `most`.
pub fn duration(least: Duration, most: Duration) -> impl Fn(&Duration, &()) -> garde::Result {
    move |value, ()| ensure((least..=most).contains(value), || format!("must be from {least:?} to {most:?}"))
}

/// As long as it takes, or a duration of which a sixth is no burden.
pub fn failure_timeout(timeout: &FailureTimeout, (): &()) -> garde::Result {
    let (least, most) = (Duration::from_millis(200), Duration::from_secs(3600));
    match timeout {
        FailureTimeout::Auto => Ok(()),
        FailureTimeout::Fixed(timeout) => duration(least, most)(timeout, &()),
    }
}

/// Grey or colour.
pub fn channels(value: &u32, (): &()) -> garde::Result {
    ensure(matches!(value, 1 | 3), || "must be 1 or 3".to_owned())
}

/// A name that is safe as a file's name and as a label everywhere.
pub fn run_name(name: &str, (): &()) -> garde::Result {
    let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    ensure(letters && first && name.len() <= 63, || {
        "must be 1 to 63 ASCII letters, digits, `-`, `_` or `.`, the first a letter or a digit".to_owned()
    })
}

/// A run's name from a command line, by the rule of the field `run`.
///
/// # Errors
/// What a name has to be.
pub fn checked_name(name: &str) -> Result<String, String> {
    run_name(name, &()).map(|()| name.to_owned()).map_err(|error| format!("a run's name {error}"))
}

/// A path that is UTF-8 (a run's file is) and not empty.
pub fn path(path: &Path, (): &()) -> garde::Result {
    ensure(path.to_str().is_some_and(is_line), || "must be a path on one line".to_owned())
}

/// A path, or none.
pub fn optional_path(path: &Option<PathBuf>, (): &()) -> garde::Result {
    path.as_deref().map_or(Ok(()), |found| self::path(found, &()))
}

/// A path or a URL of tar files.
pub fn shards(shards: &str, (): &()) -> garde::Result {
    ensure(is_line(shards), || "must be a path or a URL on one line".to_owned())
}

/// A directory or a URL.
pub fn destination(to: &str, (): &()) -> garde::Result {
    ensure(is_line(to), || "must be a directory or a URL on one line".to_owned())
}

fn is_line(text: &str) -> bool {
    !text.trim().is_empty() && !text.chars().any(char::is_control)
}
