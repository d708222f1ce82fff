//! Spans of runs of real processes, as a collector of OpenTelemetry receives them; and a collector that stands still, which holds
//! up no run.

use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use lsgan_tests::binaries::binary;
use lsgan_tests::collector::{Collector, Span, text};
use lsgan_tests::disturb::{assert_undisturbed_weights, finish, wait_for_members};
use lsgan_tests::http::{self, PAGE};
use lsgan_tests::{Coordinator, Lab, until};

/// A coordinator that exports spans to this address, with these variables.
fn coordinator(lab: &Lab, collector: &str, listen: &str, variables: &[(&str, &str)]) -> Coordinator {
    coordinator_with(lab, collector, &["--listen", listen, "--expect-workers", "2"], variables)
}

fn coordinator_with(lab: &Lab, collector: &str, more: &[&str], variables: &[(&str, &str)]) -> Coordinator {
    let mut command = Command::new(binary("coordinator"));
    command.args(lab.run_arguments(&[&["--quiet"], more].concat()));
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector).env("OTEL_BSP_SCHEDULE_DELAY", "50");
    command.envs(variables.iter().copied());
    Lab::listening(lab.start_command("coordinator", command))
}

fn named<'a>(spans: &'a [Span], name: &'a str) -> impl Iterator<Item = &'a Span> {
    spans.iter().filter(move |span| span.name == name)
}

/// Asserts that a span whose parent has come lies inside it, and is of its trace. How many there are.
fn check_parents(spans: &[Span]) -> usize {
    let parent_of = |span: &Span| spans.iter().find(|other| other.span_id == span.parent_span_id);
    let pairs: Vec<_> = spans.iter().filter_map(|span| Some((span, parent_of(span)?))).collect();
    for (span, parent) in &pairs {
        assert_eq!(span.trace_id, parent.trace_id, "{span:?} in {parent:?}");
        assert!(parent.start_time_unix_nano <= span.start_time_unix_nano, "{span:?} in {parent:?}");
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?}");
        assert!(span.end_time_unix_nano <= parent.end_time_unix_nano, "{span:?} in {parent:?}");
    }
    pairs.len()
}

/// Asserts that a generation was formed, stepped and was halted, one right after the other.
fn check_stages(spans: &[Span], generation: &Span) {
    let stages: Vec<_> = ["forming", "stepping", "halted"]
        .into_iter()
        .filter_map(|name| named(spans, name).find(|span| span.parent_span_id == generation.span_id))
        .collect();
    assert_eq!(stages.len(), 3, "{stages:?}");
    for pair in stages.windows(2) {
        assert_eq!(pair[0].end_time_unix_nano, pair[1].start_time_unix_nano, "{pair:?}");
    }
}

#[test]
fn a_run_in_which_a_worker_dies_is_told_in_spans() {
    let lab = Lab::new();
    let collector = Collector::start(lab.host());
    let listen = format!("{}:0", lab.host());
    let variables = [("LSGAN_TRACE_EVERY", "10"), ("OTEL_SERVICE_NAME", "gan")];
    let mut coordinator = coordinator(&lab, &collector.url(), &listen, &variables);
    let killed = lab.worker("killed", &coordinator.address);
    let stays = lab.worker("stays", &coordinator.address);
    coordinator.client.wait_for_step(30);
    killed.kill();
    wait_for_members(&lab, 1);
    finish(&mut coordinator.process, vec![stays]);
    assert_undisturbed_weights(&lab);

    let spans = collector.spans();
    let resources = collector.resources();
    assert!(resources.iter().all(|of| text(of, "service.name") == Some("gan")), "{resources:?}");
    assert!(resources.iter().all(|of| text(of, "lsgan.run") == Some("small")), "{resources:?}");
    let roots = spans.iter().filter(|span| span.parent_span_id.is_empty()).count();
    assert_eq!(check_parents(&spans), spans.len() - roots, "each parent has come");
    let mut ids: Vec<_> = spans.iter().map(|span| &span.span_id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), spans.len(), "an identifier is given once");

    let first = named(&spans, "generation").next().expect("generations end");
    let is_killed = |span: &&Span| text(&span.attributes, "lsgan.worker") == Some("killed");
    let gone = named(&spans, "worker gone").find(is_killed).expect("its death is a span");
    assert_eq!(gone.parent_span_id, first.span_id, "it died in the first generation");
    assert!(gone.status.as_ref().is_some_and(|status| status.code == 2), "{gone:?}");
    check_stages(&spans, first);
    assert!(named(&spans, "generation").count() >= 2);
    let steps = named(&spans, "step").count();
    assert!((15..=25).contains(&steps), "one in ten of 200, and some a second time: {steps}");
    let counts = ["worker joined", "run ended"].map(|name| named(&spans, name).count());
    assert_eq!(counts, [2, 1]);
    assert!(named(&spans, "snapshot").count() > 3, "one every 25 steps");
}

#[test]
fn a_coordinator_that_is_started_again_goes_on_in_the_trace_of_its_generation() {
    let lab = Lab::new();
    let collector = Collector::start(lab.host());
    let listen = format!("{}:0", lab.host());
    let mut first = coordinator(&lab, &collector.url(), &listen, &[]);
    let workers = ["a", "b"].map(|name| lab.worker(name, &first.address));
    let forming = until("the collector has the forming of the first generation", || {
        let spans = collector.spans();
        named(&spans, "forming").next().cloned().ok_or(spans.len())
    });
    first.client.wait_for_step(5);
    let listen = first.kill();
    let mut second = coordinator(&lab, &collector.url(), &listen, &[]);
    finish(&mut second.process, workers.into());
    let spans = collector.spans();
    let adopted = named(&spans, "adopted generation").next().expect("the generation went on");
    assert_eq!(adopted.trace_id, forming.trace_id);
    check_parents(&spans);
}

/// The kernel accepts for a listener that never does.
#[test]
fn a_collector_that_never_answers_holds_up_no_run_and_what_it_misses_is_counted() {
    let lab = Lab::new();
    let silent = TcpListener::bind((lab.host(), 0)).expect("there is a free port");
    let address = format!("http://{}", silent.local_addr().expect("it is bound"));
    let listen = format!("{}:0", lab.host());
    let variables =
        [("LSGAN_TRACE_EVERY", "1"), ("OTEL_BSP_MAX_QUEUE_SIZE", "8"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "200")];
    let mut coordinator = coordinator(&lab, &address, &listen, &variables);
    let workers = ["a", "b"].map(|name| lab.worker(name, &coordinator.address));
    workers.into_iter().for_each(|mut worker| drop(worker.succeeds()));
    let begin = Instant::now();
    let said = coordinator.process.succeeds().err;
    // The coordinator's own goodbye takes a moment, too.
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    assert_undisturbed_weights(&lab);
    assert_eq!(said.matches("spans are not taken by").count(), 1, "{said}");
    let line = said.lines().find(|line| line.contains("spans are lost")).expect("they are counted");
    let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert!(numbers.len() == 2 && numbers[0] == numbers[1] && numbers[0] > 200, "{line}");
}

#[test]
fn a_scraper_of_the_page_sees_how_many_spans_are_dropped() {
    let lab = Lab::new();
    let silent = TcpListener::bind((lab.host(), 0)).expect("there is a free port");
    let collector = format!("http://{}", silent.local_addr().expect("it is bound"));
    let listen = format!("{}:0", lab.host());
    let page = ["--http", "127.0.0.1:0", "--expect-workers", "1", "--set", "steps=1000000"];
    let more = [&["--listen", listen.as_str()][..], &page].concat();
    let variables = [("LSGAN_TRACE_EVERY", "1"), ("OTEL_BSP_MAX_QUEUE_SIZE", "8")];
    let mut coordinator = coordinator_with(&lab, &collector, &more, &variables);
    let page = http::page(&coordinator.process.wait_for_words(PAGE));
    let worker = lab.worker("a", &coordinator.address);
    until("spans are dropped, and counted", || {
        let text = http::ask(&page, "GET /metrics", "")?;
        let line = text.lines().find(|line| line.starts_with("lsgan_spans_dropped_total{"));
        let count = line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        if count > Some(0) { Ok(()) } else { Err(text) }
    });
    worker.kill();
    coordinator.kill();
}
