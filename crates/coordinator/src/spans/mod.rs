//! The run as spans, for OpenTelemetry: what the journal is told, and one step in so many, by OTLP over gRPC to a collector.
//!
//! Nothing of the run waits for it. Spans go into a queue with a bound, from which the oldest are dropped; a task that is not
//! vital sends them. At the end of the run the process waits for [`export::LAST_WITHIN`] at most.
//!
//! - [`trace`]: events become spans: [`Spans`].
//! - [`settings`]: where they go, by the standard variables.
//! - [`queue`]: spans on their way.
//! - [`export`]: sends them: [`Exporter`].

pub mod export;
pub mod queue;
pub mod settings;
pub mod trace;

use lsgan_journal::wall_ms;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

pub use self::export::Exporter;
pub use self::queue::Queue;
pub use self::settings::Settings;
pub use self::trace::Spans;

/// The run that spans are of.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Its name.
    pub run: &'a str,
    /// The hash of what decides its weights.
    pub identity: &'a str,
    /// What only this run knows. Identifiers of traces are made of it, so that every life of its coordinator has the same.
    pub secret: &'a str,
    /// The generation that still steps, at the start of a coordinator that finds one.
    pub adopts: Option<u64>,
}

/// Starts to send the run's spans where the environment says so. Call it in the runtime. A variable that is set wrongly is told,
/// and ends no run.
pub fn start(variable: impl Fn(&str) -> Option<String>, about: &About<'_>) -> Option<(Spans, Exporter)> {
    match Settings::of(variable) {
        Ok(settings) => {
            let settings = settings?;
            tracing::info!(to = %settings.place(), "spans are exported");
            let queue = Queue::new(settings.spans_max);
            let spans = Spans::new(queue.clone(), settings.step_every, about, wall_ms());
            Some((spans, Exporter::start(settings, queue, about)))
        }
        Err(why) => {
            tracing::warn!("no spans are exported, and the run goes on: {why}");
            None
        }
    }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn number(key: &str, value: u64) -> KeyValue {
    attribute(key, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)))
}
