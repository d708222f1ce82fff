//! Every kind of wrong file, with the whole message that its author sees: the cases are in `wrong.txt`.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Once;

use lsgan_runfile::{Override, Problem, SpecErrors, load, parse};

const TABLE: &str = include_str!("wrong.txt");

/// A case of the table.
struct Case<'a> {
    name: &'a str,
    /// Everything before the message, as it stands in the table.
    edit: &'a str,
    text: String,
    sets: Vec<Override>,
    message: String,
}

/// Paths in a run's file are taken from where the command runs: here the root of the checkout.
fn from_the_root() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        std::env::set_current_dir(root).expect("the checkout's root is there");
    });
}

fn without<'a>(line: &'a str, mark: &str) -> Option<&'a str> {
    if line == mark { Some("") } else { line.strip_prefix(mark)?.strip_prefix(' ') }
}

fn cases() -> Vec<Case<'static>> {
    let (head, cases) = TABLE.split_once("\n\ncase ").expect("the table has cases");
    let (_, good) = head.split_once("\n\ngood\n").expect("the table has a good file");
    let good: Vec<&str> = good.lines().filter_map(|line| without(line, "+")).collect();
    parse(&(good.join("\n") + "\n"), "the good file", &[]).unwrap_or_else(|errors| panic!("{errors}"));
    cases.split("\n\ncase ").map(|case| read(case, &good)).collect()
}

fn read(case: &'static str, good: &[&str]) -> Case<'static> {
    let (edit, message) = case.split_at(case.find("\n>").expect("a case has a message"));
    let (name, lines) = edit.split_once('\n').unwrap_or((edit, ""));
    let mut text: Vec<&str> = if lines.starts_with("whole") { Vec::new() } else { good.to_vec() };
    // Where the next `+` goes: to the line that went; in a file of its own to the end.
    let mut at = None;
    let mut sets = Vec::new();
    for line in lines.lines() {
        if let Some(gone) = without(line, "-") {
            let index =
                text.iter().position(|line| *line == gone).unwrap_or_else(|| panic!("{name}: no {gone}"));
            text.remove(index);
            at = Some(index);
        } else if let Some(new) = without(line, "+") {
            let index = at.unwrap_or(text.len());
            text.insert(index, new);
            at = at.map(|index| index + 1);
        } else if let Some(last) = without(line, "$") {
            text.push(last);
        } else if let Some(set) = without(line, "set") {
            sets.push(set.parse().expect("never"));
        } else {
            assert_eq!(line, "whole", "{name}: what is this line?");
        }
    }
    let text = text.iter().fold(String::new(), |text, line| text + line + "\n");
    Case { name, edit, text, sets, message: message.trim().to_owned() }
}

/// The errors of a case, which lies in a file: a line for each, as in the table.
fn refused(case: &Case<'_>) -> (SpecErrors, String) {
    from_the_root();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file: PathBuf = folder.path().join("run.yaml");
    std::fs::write(&file, &case.text).expect("a file can be written");
    let errors = load(&file, &case.sets).expect_err(case.name);
    let name = file.display().to_string();
    let line = |line: &str| match line.strip_prefix(&name) {
        Some(rest) => match rest.strip_prefix(": ") {
            Some(rest) => format!("> -: {rest}"),
            None => format!("> {}", &rest[1..]),
        },
        None => format!("> {line}"),
    };
    let lines: Vec<_> = errors.render_plain().lines().map(line).collect();
    (errors, lines.join("\n"))
}

#[test]
fn every_wrong_file_gets_its_whole_message() {
    let (mut wrong, mut table) = (String::new(), String::new());
    let cases = cases();
    for case in &cases {
        let (_, message) = refused(case);
        if message != case.message {
            writeln!(wrong, "{}\nexpected:\n{}\ngot:\n{message}", case.name, case.message)
                .expect("to a String");
        }
        write!(table, "\n\ncase {}\n{message}", case.edit).expect("to a String");
    }
    if std::env::var_os("LSGAN_UPDATE_EXPECTED").is_some() {
        let (head, _) = TABLE.split_once("\n\ncase ").expect("the table has cases");
        std::fs::write("crates/runfile/tests/wrong.txt", format!("{head}{table}\n"))
            .expect("it can be written");
    }
    assert!(cases.len() >= 55, "only {} cases were found", cases.len());
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_kind_of_problem_has_a_case_and_every_message_says_what_to_do() {
    let mut seen = BTreeSet::new();
    for case in cases() {
        for error in refused(&case).0.errors() {
            let text = error.to_string();
            assert!(text.ends_with(['.', '?']) && !text.contains('\n'), "{text}");
            assert!(!text.chars().any(char::is_control), "{text:?}");
            // No wildcard: a new kind must be listed here and get its case.
            seen.insert(match error.problem {
                Problem::UnknownKey { .. } => "UnknownKey",
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
    // `More` and `Unreadable` are made by the tests below.
    assert_eq!(seen.len(), 9, "seen: {seen:?}");
}

#[test]
fn a_file_with_thousands_of_errors_ends_with_a_sentence_about_the_rest() {
    let text: String = (0..3000).map(|n| format!("wibble{n}: 1\n")).collect();
    let errors = parse(&text, "run.yaml", &[]).expect_err("no key is known");
    let last = errors.errors().last().map(|error| &error.problem);
    assert!(matches!(last, Some(Problem::More { shown: 100 })), "{last:?}");
    assert_eq!(errors.errors().len(), 101);
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    from_the_root();
    let message = |path: &Path| load(path, &[]).expect_err("it is not a run").render_plain();
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
    let path = folder.path().join("run.yaml");
    for (bytes, says) in [
        (
            vec![b'#'; 1_048_577],
            "run.yaml: the file has 1048577 bytes; accepted: a YAML file of UTF-8 text, at most 1 MiB. \
             Is it the right file?",
        ),
        (
            b"seed: 1\nrun: cl\xf8thes\n".to_vec(),
            "run.yaml:2:1: this line is not UTF-8 text; accepted: a YAML file of UTF-8 text, at most 1 MiB. \
             Save the file as UTF-8.",
        ),
    ] {
        std::fs::write(&path, bytes).expect("a file can be written");
        assert!(message(&path).ends_with(says), "{}", message(&path));
    }
}

#[test]
fn on_a_terminal_the_lines_of_the_file_are_shown() {
    let case = cases().into_iter().find(|case| case.name == "size-60").expect("it is a case");
    let shown = refused(&case).0.render_fancy();
    assert!(shown.contains("image: { size: 60, channels: 1, fit: pad }"), "{shown}");
    assert!(shown.contains("dcgan accepts 32, 64, 128 or 256"), "{shown}");
}
