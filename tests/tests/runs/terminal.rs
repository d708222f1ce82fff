//! `lsgan up` on a terminal: the line of progress, and what is said above it.

use std::collections::BTreeSet;

use lsgan_tests::binaries::binary;
use lsgan_tests::process::{children_named, send};
use lsgan_tests::{Lab, Terminal};
use nix::sys::signal::Signal;

/// With which all begins that is said above the line of progress. Further lines of a text are indented.
const BEGINNINGS: [&str; 7] = [
    "starting: ",
    "the coordinator listens on ",
    "· ",
    "warning: ",
    "  ",
    "stopping with a snapshot; once more ends at once",
    "stopped after step ",
];

/// A worker dies meanwhile, so that events come while the line is drawn.
#[test]
fn lines_and_progress_do_not_break_each_other_and_what_happens_is_said_once() {
    let lab = Lab::new();
    let run = lab.run_arguments(&["--set", "steps=1000000"]);
    let quoted: Vec<_> = run.iter().map(|word| format!("'{word}'")).collect();
    let (lsgan, run) = (binary("lsgan"), quoted.join(" "));
    let mut up = Terminal::start(&lab, "up", &format!("{} up --workers 2 {run}; exit $?", lsgan.display()));
    up.wait_until("both workers train, and their memory is shown", |sent| {
        sent.contains("generation 1 of 2 workers") && sent.contains(" MiB · 2/2 workers")
    });
    let supervisor = up.child("lsgan");
    send(children_named(supervisor, "worker")[0], Signal::SIGKILL);
    up.wait_until("both train again", |sent| {
        sent.contains("and is started again")
            && sent.rsplit_once("of 2 workers starts from").is_some_and(|(_, after)| after.contains("s/kimg"))
    });
    send(supervisor, Signal::SIGINT);
    up.process.wait().expect_code(130);

    let lines = up.lines();
    for line in &lines {
        assert!(BEGINNINGS.iter().any(|words| line.starts_with(words)), "`{line}` of {lines:#?}");
        assert!(
            !line.contains("s/kimg") && !line.contains('━'),
            "progress is left in `{line}` of {lines:#?}"
        );
    }
    let told: Vec<_> =
        lines.iter().filter(|line| line.starts_with("· ") || line.starts_with("warning: ")).collect();
    assert_eq!(told.iter().collect::<BTreeSet<_>>().len(), told.len(), "something is said twice: {lines:#?}");
    let starts = lab.journal().texts("select text from events where text like 'generation % starts %'");
    assert!(starts.len() >= 2, "{starts:#?}");
    for text in starts {
        assert!(lines.contains(&format!("· {text}")), "`{text}` is not said: {lines:#?}");
    }
    let ends = lines.iter().filter(|line| line.contains("died") && line.contains("and is started again"));
    assert_eq!(ends.count(), 1, "{lines:#?}");
    assert!(lines.last().is_some_and(|line| line.starts_with("stopped after step ")), "{lines:#?}");
}
