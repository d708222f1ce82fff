//! What a user can get wrong in a file, an option or an address: each has its message and its exit code, 2 for wrong
//! input (and then nothing was started), 1 for what failed.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use lsgan_tests::lab::{SHORT, pictures};
use lsgan_tests::{Lab, Weights, until};

/// Both ways to start a run refuse it with exit code 2 and these words, and leave nothing behind.
#[track_caller]
fn refused_as_bad_input(more: &[&str], words: &[&str]) {
    let lab = Lab::new();
    for mut process in [lab.up(2, more), lab.start_coordinator(more)] {
        let ended = process.fails(2, words);
        assert!(ended.out.is_empty(), "nothing was started, so nothing listens; {ended}");
    }
    assert!(!lab.run_dir().exists(), "no run directory was made");
}

// ---- the run's file ----

#[test]
fn what_is_wrong_in_a_run_is_refused_with_what_to_do_and_nothing_is_started() {
    for (more, words) in [
        // A misspelt field.
        (&["--set", "checkpoint.evry=5"][..], &["checkpoint.evry is not known", "Did you mean `every`?"][..]),
        // More workers than virtual ranks.
        (&["--set", "cluster.min_workers=5"], &["cluster.min_workers is 5", "at most 4 workers"]),
        // A discriminator of another kind than the generator.
        (&["--set", "model.discriminator={ lsgan112: {} }"], &["model.discriminator"]),
        // An override without a value.
        (&["--set", "steps"], &["--set steps", "path=value"]),
        // Data that is not there.
        (
            &["--set", "data.source.idx.images=nowhere.gz"],
            &["data.source.idx.images is `nowhere.gz`, which does not exist"],
        ),
        (&["--fresh", "--fork", "name"], &["--fresh", "--fork", "cannot be used with"]),
    ] {
        refused_as_bad_input(more, words);
    }
}

#[test]
fn all_errors_are_reported_at_once() {
    let wrong = ["data.image.size=60", "seed=-1", "steps=many", "reduction=exakt"];
    let size = "data.image.size is 60; dcgan accepts 32, 64, 128 or 256";
    refused_as_bad_input(
        &wrong.map(|set| ["--set", set]).concat(),
        &[size, "seed is -1", "steps is `many`", "`exakt`"],
    );
}

#[test]
fn a_file_that_is_missing_or_no_yaml_is_refused_with_its_name_and_line() {
    let lab = Lab::new();
    let broken = lab.path("broken.yaml");
    fs::write(&broken, "run: broken\nseed: 1\n\tsteps: 7\n").expect("a file can be written");
    let broken = broken.display().to_string();
    for (config, words) in
        [("nowhere.yaml", "nowhere.yaml: there is no such file"), (&broken, "broken.yaml:2:7")]
    {
        lab.lsgan(["up", "--config", config]).fails(2, &[words]);
        lab.start("coordinator", ["--config", config]).fails(2, &[words]);
    }
}

#[test]
fn data_that_is_empty_cut_off_or_something_else_is_refused_with_what_is_wrong() {
    let lab = Lab::new();
    let whole = fs::read(pictures()).expect("the data set is in the repository");
    for (name, bytes, words) in [
        ("empty.gz", &[][..], "this is an empty file (0 bytes)"),
        ("cut.gz", &whole[..whole.len() / 2], "the gzip stream is cut off"),
        ("other.gz", &b"PK\x03\x04 this is no picture"[..], "IDX"),
    ] {
        let path = lab.path(name);
        fs::write(&path, bytes).expect("a file can be written");
        let set = format!("data.source.idx.images={}", path.display());
        refused_as_bad_input(&["--set", &set], &[name, words]);
    }
}

// ---- addresses ----

#[test]
fn a_port_in_use_is_named_with_the_option_that_changes_it() {
    let lab = Lab::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let words = ["cannot listen on", &address, "--listen", "port 0 takes a free one"];
    lab.up(1, &["--listen", &address]).fails(1, &words);
    let ended = lab.start_coordinator(&["--listen", &address]).fails(1, &words);
    assert!(ended.out.is_empty(), "{ended}");
}

#[test]
fn a_worker_tries_again_says_so_and_gives_up_when_told() {
    let lab = Lab::new();
    let address = format!("http://{}:7070", lab.host());
    let mut worker = lab.start("worker", ["--coordinator", &address, "--give-up-after", "1s"]);
    worker.fails(
        1,
        &[
            &format!("the coordinator at {address} cannot be reached, trying again"),
            &format!("the coordinator at {address} cannot be reached for 1s"),
            "--give-up-after sets how long to try",
        ],
    );
}

#[test]
fn a_worker_that_was_started_first_finds_its_coordinator_later() {
    let lab = Lab::new();
    let listen = format!("{}:7070", lab.host());
    let mut worker = lab.worker("early", &format!("http://{listen}"));
    worker.wait_for_words("cannot be reached, trying again");
    let mut coordinator = lab.coordinator_at(&listen, &SHORT);
    coordinator.process.succeeds();
    worker.succeeds();
}

#[test]
fn an_address_that_is_none_is_refused_at_once() {
    let lab = Lab::new();
    for address in ["nonsense", "host:7070", "::", "ftp://host:7070"] {
        for mut process in [
            lab.start("worker", ["--coordinator", address]),
            lab.lsgan(["status", "--coordinator", address]),
            lab.lsgan(["node", "--workers", "1", "--coordinator", address]),
        ] {
            process.fails(2, &[address, "write http://HOST:PORT"]);
        }
    }
}

#[test]
fn the_status_of_nobody_says_where_nobody_answers() {
    let lab = Lab::new();
    let address = format!("http://{}:7070", lab.host());
    let words = [&address, "check that the coordinator runs"];
    lab.lsgan(["status", "--coordinator", &address]).fails(1, &words);
}

// ---- data that changes ----

/// Ten grey pictures in IDX form, of which the first is all `grey`.
fn ten_pictures(path: &Path, grey: u8) {
    let mut bytes = vec![0, 0, 8, 3];
    for n in [10_u32, 28, 28] {
        bytes.extend(n.to_be_bytes());
    }
    bytes.extend([grey; 28 * 28]);
    bytes.extend((0..9 * 28 * 28).map(|i| (i % 251) as u8));
    fs::write(path, bytes).expect("a file can be written");
}

#[test]
fn data_that_changed_since_the_snapshot_is_refused() {
    let lab = Lab::new();
    let data = lab.path("ten.idx");
    ten_pictures(&data, 1);
    let set = format!("data.source.idx.images={}", data.display());
    lab.up(1, &[&SHORT[..], &["--set", &set]].concat()).succeeds();
    ten_pictures(&data, 2);
    lab.up(1, &["--set", &set])
        .fails(2, &["the data has changed since the snapshot of step 30", "--fork NAME"]);
    // Another run may learn from other data, with the weights of this one.
    for (workers, name) in [(1, "one"), (2, "two")] {
        lab.up(workers, &["--set", &set, "--set", "steps=40", "--fork", name])
            .succeeds()
            .expect_err(&["starts from the snapshot of step 30"]);
    }
    assert_eq!(Weights::of(&lab.path("one")), Weights::of(&lab.path("two")));
}

#[test]
fn a_worker_that_reads_other_data_is_refused() {
    let lab = Lab::new();
    let data = lab.path("ten.idx");
    ten_pictures(&data, 1);
    let set = format!("data.source.idx.images={}", data.display());
    let coordinator = lab.coordinator(&["--set", &set]);
    ten_pictures(&data, 2);
    lab.worker("other", &coordinator.address)
        .fails(2, &["the data that this worker reads differs from the coordinator's", "same files"]);
    until("the coordinator's status names the refused worker", || {
        let status = coordinator.client.status()?;
        let told = status.notices.iter().any(|n| n.warning && n.text.contains("other was refused"));
        if told { Ok(()) } else { Err(format!("{:?}", status.notices)) }
    });
}
