//! Every kind of wrong file, with the whole message that its author sees.
//!
//! A fixture is `wrong/NAME.yaml`; its leading lines `# --set path=value` are given as options; `NAME.expected`
//! is the plain message. After a change of words, run with `LSGAN_UPDATE_EXPECTED=1` and read the diff.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Once;

use lsgan_spec::{Override, Problem, RunSpec};

/// Paths in a run's file are taken from where the command runs: here the root of the checkout.
fn from_the_root() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        std::env::set_current_dir(root).expect("the checkout's root is there");
    });
}

fn fixtures() -> Vec<PathBuf> {
    from_the_root();
    let folder = std::fs::read_dir("crates/spec/tests/wrong").expect("the fixtures are there");
    let mut files: Vec<_> = folder.map(|entry| entry.expect("a folder can be listed").path()).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "yaml"));
    files.sort();
    files
}

fn sets(file: &Path) -> Vec<Override> {
    let bytes = std::fs::read(file).expect("a fixture can be read");
    let text = String::from_utf8_lossy(&bytes);
    text.lines()
        .map_while(|line| line.strip_prefix("# --set "))
        .map(|set| set.parse().expect("never"))
        .collect()
}

#[test]
fn every_wrong_file_gets_its_whole_message() {
    let update = std::env::var_os("LSGAN_UPDATE_EXPECTED").is_some();
    let mut wrong = Vec::new();
    let files = fixtures();
    for file in &files {
        let errors = RunSpec::load(file, &sets(file)).expect_err(&format!("{} is wrong", file.display()));
        let message = errors.render_plain() + "\n";
        let expected = file.with_extension("expected");
        if update {
            std::fs::write(&expected, &message).expect("the expected message can be written");
        }
        let wanted = std::fs::read_to_string(&expected).unwrap_or_default();
        if message != wanted {
            wrong.push(format!("{}\nexpected:\n{wanted}got:\n{message}", file.display()));
        }
    }
    assert!(files.len() >= 40, "only {} fixtures were found", files.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_message_names_its_file_or_option_and_says_what_is_accepted_or_what_to_do() {
    for file in fixtures() {
        let errors = RunSpec::load(&file, &sets(&file)).expect_err("a fixture is wrong");
        for error in errors.errors() {
            let text = error.to_string();
            let name = file.display().to_string();
            assert!(text.starts_with(&name) || text.starts_with("--set "), "{text}");
            assert!(text.ends_with(['.', '?']) && !text.contains('\n'), "{text}");
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
    }
}

#[test]
fn every_kind_of_problem_has_a_fixture() {
    let mut seen = BTreeSet::new();
    for file in fixtures() {
        for error in RunSpec::load(&file, &sets(&file)).expect_err("a fixture is wrong").errors() {
            // No wildcard: a new kind must be listed here and get its fixture.
            seen.insert(match error.problem {
                Problem::UnknownKey { .. } => "UnknownKey",
                Problem::WrongChoice { .. } => "WrongChoice",
                Problem::WrongValue { .. } => "WrongValue",
                Problem::Missing { .. } => "Missing",
                Problem::Twice { .. } => "Twice",
                Problem::Combination { .. } => "Combination",
                Problem::NoFile { .. } => "NoFile",
                Problem::NotYaml { .. } => "NotYaml",
                Problem::Empty { .. } => "Empty",
                Problem::Unreadable { .. } => "Unreadable",
                Problem::BadOverride { .. } => "BadOverride",
                Problem::More { .. } => "More",
            });
        }
    }
    // `More` is made by the test below: its file would be long.
    assert_eq!(seen.len(), 11, "seen: {seen:?}");
}

#[test]
fn a_file_with_thousands_of_errors_ends_with_a_sentence_about_the_rest() {
    let text: String = (0..3000).map(|n| format!("wibble{n}: 1\n")).collect();
    let errors = RunSpec::parse(&text, "run.yaml", &[]).expect_err("no key is known");
    assert!(errors.errors().iter().any(|error| matches!(error.problem, Problem::More { .. })));
    assert!(errors.errors().len() <= 101);
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    from_the_root();
    let message = |path: &Path| RunSpec::load(path, &[]).expect_err("it is not a run").render_plain();
    assert_eq!(
        message(Path::new("configs/nothing.yaml")),
        "configs/nothing.yaml: there is no such file; accepted: a YAML file of UTF-8 text, at most 1 MiB. \
         Correct the path, or copy configs/quickstart.yaml."
    );
    assert_eq!(
        message(Path::new("configs")),
        "configs: this is a directory; accepted: a YAML file of UTF-8 text, at most 1 MiB. \
         Name the run's file itself."
    );
    let folder = tempfile::tempdir().expect("a folder can be made");
    let large = folder.path().join("large.yaml");
    std::fs::write(&large, vec![b'#'; 1_048_577]).expect("a file can be written");
    assert!(message(&large).ends_with(
        "the file has 1048577 bytes; accepted: a YAML file of UTF-8 text, at most 1 MiB. Is it the right file?"
    ));
}

#[test]
fn on_a_terminal_the_lines_of_the_file_are_shown() {
    from_the_root();
    let errors =
        RunSpec::load(Path::new("crates/spec/tests/wrong/size-60.yaml"), &[]).expect_err("60 is wrong");
    let shown = errors.render_fancy();
    assert!(shown.contains("image: { size: 60, channels: 1, fit: pad }"), "{shown}");
    assert!(shown.contains("dcgan accepts 32, 64 or 128"), "{shown}");
}
