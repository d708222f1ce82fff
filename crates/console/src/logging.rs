//! Structured logs on standard error.

use std::fmt;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};

use lsgan_spec::printable_lines;
use serde_json::json;
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::format::{self, FormatFields, Writer};
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
static IS_COLOURED: AtomicBool = AtomicBool::new(false);

/// Starts logging. `RUST_LOG` chooses what is logged; otherwise it is everything at `level` and above.
pub fn start(form: Log, level: &str) {
    IS_JSON.store(form == Log::Json, Ordering::Relaxed);
    let is_coloured = form == Log::Text && std::io::stderr().is_terminal();
    IS_COLOURED.store(is_coloured, Ordering::Relaxed);
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Diagnostics)
        // It would print its own troubles past that writer, in a way that panics.
        .log_internal_errors(false)
        .with_timer(timer())
        .with_target(false);
    match form {
        Log::Text => builder.with_ansi(is_coloured).fmt_fields(fields()).init(),
        Log::Json => builder.json().flatten_event(true).init(),
    }
}

/// An event's message and fields, `name=value`. Their escape characters are taken out here, where they can be told from those
/// of the colours around them: `tracing_subscriber` takes them out of messages only.
pub(crate) fn fields() -> impl for<'writer> FormatFields<'writer> + Send + Sync + 'static {
    let write = |writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug| {
        let value = format!("{value:?}");
        let value = printable_lines(&value);
        if field.name() == "message" { write!(writer, "{value}") } else { write!(writer, "{field}={value}") }
    };
    format::debug_fn(write).delimited(" ")
}

/// Whether all that is printed is to be JSON.
pub(crate) fn is_json() -> bool {
    IS_JSON.load(Ordering::Relaxed)
}

/// Whether events have colours.
pub(crate) fn is_coloured() -> bool {
    IS_COLOURED.load(Ordering::Relaxed)
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
