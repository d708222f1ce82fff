//! Structured logs on standard error.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{ChronoUtc, FormatTime};

use crate::print::Diagnostics;

/// The form of the logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Log {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, and nothing else on standard output and standard error.
    Json,
}

static IS_JSON: AtomicBool = AtomicBool::new(false);

/// Starts logging. `RUST_LOG` chooses what is logged; otherwise it is everything at `level` and above.
pub fn start(form: Log, level: &str) {
    IS_JSON.store(form == Log::Json, Ordering::Relaxed);
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Diagnostics)
        // It would print its own troubles past that writer, in a way that panics.
        .log_internal_errors(false)
        .with_timer(timer())
        .with_target(false);
    match form {
        Log::Text => builder.with_ansi(std::io::stderr().is_terminal()).init(),
        Log::Json => builder.json().flatten_event(true).init(),
    }
}

/// Whether all that is printed is to be JSON.
pub(crate) fn is_json() -> bool {
    IS_JSON.load(Ordering::Relaxed)
}

/// A line as a log of this level has them.
pub(crate) fn json_line(level: &str, message: &str) -> String {
    let mut timestamp = String::new();
    // A clock that cannot be written leaves the field empty.
    let _ = timer().format_time(&mut Writer::new(&mut timestamp));
    json!({ "timestamp": timestamp, "level": level, "message": message }).to_string()
}

fn timer() -> ChronoUtc {
    ChronoUtc::new("%Y-%m-%dT%H:%M:%S%.3fZ".to_owned())
}
