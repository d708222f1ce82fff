//! What a command was asked to write: a picture, a list. It is refused before the work where it cannot be.

use std::fs::{self, File};
use std::process::{Command, Stdio};

use lsgan_tests::Lab;
use lsgan_tests::binaries::binary;
use lsgan_tests::lab::{SHORT, pictures};

#[test]
fn a_picture_that_cannot_be_written_is_refused_before_the_work_and_by_name() {
    let lab = Lab::finished();
    fs::create_dir(lab.path("folder.png")).expect("it can be made");
    let run = lab.run_dir().display().to_string();
    let data = "idx:".to_owned() + &lab.path("pictures.idx").display().to_string();
    fs::write(
        lab.path("pictures.idx"),
        [&[0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 4][..], &[7; 16]].concat(),
    )
    .expect("it can be written");
    for (out, words) in [
        ("x.jpg", ".jpg is another format. Name it x.png."),
        ("x.gif", ".gif is another format"),
        ("nowhere/x.png", "there is no directory nowhere"),
        ("folder.png", "this is a directory"),
        ("/proc/x.png", "it cannot be written"),
    ] {
        let sample = ["sample", "--run", &run, "--out", out];
        let sheet = ["dataset", "inspect", &data, "--sheet", out];
        for (option, arguments) in [("--out", &sample[..]), ("--sheet", &sheet)] {
            let ended = lab.lsgan(arguments).fails(2, &[&format!("{option} {out}: "), words]);
            assert!(ended.out.is_empty(), "nothing was looked at; {ended}");
        }
    }
    assert!(["x.jpg", "x.gif", "x.png", "nowhere"].iter().all(|name| !lab.path(name).exists()));
}

#[test]
fn nothing_to_verify_is_no_success() {
    let lab = Lab::new();
    fs::create_dir(lab.path("empty")).expect("it can be made");
    let verify = |more: &[&str]| {
        let arguments = [&["checkpoints", "verify", "--run", "empty"], more].concat();
        let ended = lab.lsgan(arguments).wait().expect_code(1).expect_one_error();
        ended.expect_err(&["empty holds no snapshots", "checkpoint.every"])
    };
    verify(&[]);
    assert_eq!(verify(&["--json"]).out.trim(), "[]");
    lab.lsgan(["checkpoints", "list", "--run", "empty"]).succeeds();
}

#[test]
fn a_fork_has_a_name_as_a_run_has_or_is_refused_at_the_command_line() {
    let lab = Lab::finished();
    let long = "x".repeat(64);
    for name in ["a/b", "", "..", ".", "../x", "-x", " x", "a b", "ä", "a\nb", &long] {
        let fork = format!("--fork={name}");
        let more = [&SHORT[..], &["--set", "steps=40", &fork]].concat();
        for mut process in [lab.up(1, &more), lab.start_coordinator(&more)] {
            process.fails(2, &["--fork <NAME>", "1 to 63 ASCII letters"]);
        }
    }
    let more = [&SHORT[..], &["--set", "steps=40", "--fork", "run"]].concat();
    lab.up(1, &more).fails(2, &["--fork run names the run's own place"]);
    let names = fs::read_dir(lab.path("")).expect("it is there").flatten().map(|entry| entry.file_name());
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    assert_eq!(names, ["run", "tmp"], "nothing was made");
}

/// Starts a command whose standard output is `out`.
fn with_output(lab: &Lab, name: &str, arguments: &[&str], out: Stdio) -> (Option<i32>, String) {
    let mut command = Command::new(binary(name));
    let command = command.args(arguments).current_dir(lab.path("")).stdin(Stdio::null());
    let ended = command.stdout(out).stderr(Stdio::piped()).output().expect("it can be started");
    (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned())
}

/// As `| head` is, once it has seen enough.
#[test]
fn a_reader_that_has_seen_enough_and_a_full_disk_are_no_bugs() {
    let lab = Lab::finished();
    let other = Lab::new();
    let coordinator = other.coordinator(&[]);
    let run = lab.run_dir().display().to_string();
    let data = format!("idx:{}", pictures().display());
    for arguments in [
        &["checkpoints", "list", "--run", &run][..],
        &["checkpoints", "list", "--json", "--run", &run],
        &["checkpoints", "verify", "--run", &run],
        &["dataset", "inspect", &data],
        &["dataset", "inspect", "--json", &data],
        &["dataset", "export", "--out", "exported", &data],
        &["sample", "--count", "1", "--run", &run, "--out", "x.png"],
        &["status", "--run", &run],
        &["status", "--run", &run, "--json"],
        &["status", "--coordinator", &coordinator.address],
        &["status", "--coordinator", &coordinator.address, "--json"],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe can be made");
        drop(reader);
        let (code, err) = with_output(&lab, "lsgan", arguments, writer.into());
        assert_eq!(
            (code, err.contains("error") || err.contains("panic")),
            (Some(141), false),
            "{arguments:?}: {err}"
        );
        let full = File::options().write(true).open("/dev/full").expect("every Linux has it");
        let (code, err) = with_output(&lab, "lsgan", arguments, full.into());
        let told = err.contains("error: standard output cannot be written: No space left on device");
        assert_eq!((code, told, err.contains("panic")), (Some(1), true, false), "{arguments:?}: {err}");
    }
    for (name, arguments) in [("worker", "--probe"), ("lsgan", "--help"), ("coordinator", "--version")] {
        let (reader, writer) = std::io::pipe().expect("a pipe can be made");
        drop(reader);
        let full = File::options().write(true).open("/dev/full").expect("every Linux has it");
        for out in [writer.into(), full.into()] {
            let (code, err) = with_output(&lab, name, &[arguments], out);
            assert!(
                code.is_some_and(|code| code != 101) && !err.contains("panic"),
                "{name} {arguments}: {err}"
            );
        }
    }
}
