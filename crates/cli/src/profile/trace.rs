//! A profile in the trace event format, which Perfetto and chrome://tracing open.
//!
//! A process is a worker, with a thread that trains and one on which sums travel; each span is a complete event (`"ph": "X"`).
//! The format: <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>, "Complete Events" and
//! "Metadata Events"; times are microseconds.

use lsgan_wire::v1::{ProfileReply, ProfiledWorker, Span, SpanKind};
use serde::Serialize;

/// Threads of a worker, by their numbers in a trace.
const TRAINING: u32 = 1;
const SUMS: u32 = 2;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Trace<'a> {
    display_time_unit: &'static str,
    other_data: Run<'a>,
    trace_events: Vec<Event<'a>>,
}

#[derive(Serialize)]
struct Run<'a> {
    run: &'a str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Event<'a> {
    Complete {
        name: String,
        cat: &'static str,
        ph: &'static str,
        /// Since the first worker began to record.
        ts: f64,
        dur: f64,
        pid: u64,
        tid: u32,
        args: Of,
    },
    Metadata {
        name: &'static str,
        ph: &'static str,
        pid: u64,
        tid: u32,
        args: Named<'a>,
    },
}

#[derive(Serialize)]
struct Of {
    step: u64,
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
}

/// The trace as JSON.
///
/// # Errors
/// None that is known of.
pub fn chrome(profile: &ProfileReply) -> Result<String, serde_json::Error> {
    let began_us = |worker: &ProfiledWorker| worker.end.as_ref().map(|end| end.wall_us);
    let first_us = profile.workers.iter().filter_map(began_us).min().unwrap_or(0);
    let mut trace_events = Vec::new();
    for worker in &profile.workers {
        let pid = worker.incarnation;
        let named = |name, tid, is| Event::Metadata { name, ph: "M", pid, tid, args: Named { name: is } };
        trace_events.push(named("process_name", 0, &worker.name));
        trace_events.push(named("thread_name", TRAINING, "training"));
        trace_events.push(named("thread_name", SUMS, "sums"));
        // Of a worker that did not come to its end it is not known when it began: about when the first one did.
        let offset_us = began_us(worker).map_or(0, |began| began - first_us) as f64;
        trace_events.extend(worker.spans.iter().map(|span| complete(pid, offset_us, span)));
    }
    let other_data = Run { run: &profile.run };
    serde_json::to_string(&Trace { display_time_unit: "ms", other_data, trace_events })
}

fn complete(pid: u64, offset_us: f64, span: &Span) -> Event<'static> {
    let kind = span.kind();
    Event::Complete {
        name: if kind == SpanKind::Step { format!("step {}", span.step) } else { kind.to_string() },
        cat: "step",
        ph: "X",
        ts: offset_us + span.begin_ns as f64 / 1e3,
        dur: span.len_ns as f64 / 1e3,
        pid,
        tid: if kind == SpanKind::Travel { SUMS } else { TRAINING },
        args: Of { step: span.step },
    }
}

#[cfg(test)]
mod tests {
    use lsgan_wire::v1::Recorded;
    use serde_json::{Value, json};

    use super::*;

    fn worker(incarnation: u64, name: &str, wall_us: Option<u64>, kind: SpanKind) -> ProfiledWorker {
        let end = wall_us.map(|wall_us| Recorded { wall_us, steps: 1, why: String::new() });
        let spans = vec![Span { kind: kind.into(), step: 7, begin_ns: 1_500, len_ns: 2_000_250 }];
        ProfiledWorker { incarnation, name: name.to_owned(), spans, end, why: String::new() }
    }

    #[test]
    fn each_worker_is_a_process_with_its_name_and_each_span_a_complete_event() {
        let workers = vec![
            worker(3, "a\"<b>", Some(1_000_100), SpanKind::Step),
            worker(4, "b", Some(1_000_000), SpanKind::Travel),
            worker(5, "gone", None, SpanKind::Apply),
        ];
        let trace = chrome(&ProfileReply { run: "small".to_owned(), workers }).expect("it is JSON");
        let trace: Value = serde_json::from_str(&trace).expect("it is JSON");
        assert_eq!((&trace["displayTimeUnit"], &trace["otherData"]["run"]), (&json!("ms"), &json!("small")));
        let events = trace["traceEvents"].as_array().expect("a list");
        assert_eq!(events.len(), 3 * 4);
        let args = json!({ "name": "a\"<b>" });
        assert_eq!(events[0], json!({ "name": "process_name", "ph": "M", "pid": 3, "tid": 0, "args": args }));
        let step = json!({
            "name": "step 7", "cat": "step", "ph": "X", "ts": 101.5, "dur": 2000.25, "pid": 3, "tid": 1,
            "args": { "step": 7 },
        });
        assert_eq!(events[3], step);
        let short = |event: &Value| [event["name"].clone(), event["tid"].clone(), event["ts"].clone()];
        assert_eq!(short(&events[7]), [json!("sum travels"), json!(2), json!(1.5)]);
        assert_eq!(short(&events[11]), [json!("apply"), json!(1), json!(1.5)]);
    }
}
