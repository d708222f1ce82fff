//! Keys of an object store: used as they were meant, and shown nowhere.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use lsgan_tests::binaries::binary;
use lsgan_tests::buckets::s3_environment as environment;
use lsgan_tests::leftovers::files_that_say;
use lsgan_tests::{Ended, Lab};

/// With the sign that ends a bucket's name and a host.
const SECRET: &str = "hun/ter2+x=";

/// Whether a part of the secret is in a text.
fn shows(text: &str) -> bool {
    ["hun", "ter2"].iter().any(|part| text.contains(part))
}

/// Runs a command with these variables, and looks for the secret in all that is left of it.
#[track_caller]
fn run<A: AsRef<OsStr>>(lab: &Lab, name: &str, arguments: &[A], variables: &[(&str, String)]) -> Ended {
    let mut command = Command::new(binary(name));
    command.args(arguments).envs(variables.iter().map(|(name, value)| (*name, value.clone())));
    command.env("RUST_LOG", "debug").env("RUST_BACKTRACE", "1");
    let ended = lab.start_command(name, command).wait();
    assert!(!shows(&ended.out) && !shows(&ended.err), "{ended}");
    assert!(!ended.err.contains("panicked"), "{ended}");
    assert_eq!(files_that_say(&lab.path(""), &shows), [""; 0].map(PathBuf::from));
    ended
}

/// Lists the snapshots of a run in a bucket.
fn list(lab: &Lab, variables: &[(&str, String)]) -> Ended {
    run(lab, "lsgan", &["checkpoints", "list", "--run", "s3://bucket/run"], variables)
}

/// A server that refuses all keys: the lines of the first request that it was sent.
fn asked(listener: TcpListener) -> std::thread::JoinHandle<Vec<String>> {
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a client connects");
        let mut stream = BufReader::new(stream);
        let lines: Vec<String> =
            stream.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        let body = "<Error><Code>AccessDenied</Code><Message>No</Message></Error>";
        let answer = format!("HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.get_mut().write_all(answer.as_bytes()).expect("it listens");
        lines
    })
}

/// As a secret of Kubernetes has it that was made from a file.
#[test]
fn a_lines_end_around_a_variable_is_taken_off() {
    let lab = Lab::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
    let request = asked(listener);
    let mut variables = environment(&endpoint, ("AKIA", SECRET));
    variables.push(("AWS_SESSION_TOKEN", "token".to_owned()));
    for (name, value) in &mut variables {
        if !name.ends_with("_FILE") {
            *value = format!(" {value}\n");
        }
    }
    let ended = list(&lab, &variables);
    ended.expect_code(1).expect_one_error().expect_err(&["AccessDenied"]);
    let lines = request.join().expect("it was asked");
    let line = |name: &str| lines.iter().find(|line| line.to_lowercase().starts_with(name)).cloned();
    let signed = line("authorization:").expect("it is signed");
    assert!(signed.contains("Credential=AKIA/") && signed.contains("/us-east-1/s3/"), "{lines:#?}");
    assert_eq!(line("x-amz-security-token:").as_deref(), Some("x-amz-security-token: token"));
}

#[test]
fn a_variable_that_no_header_can_carry_is_refused_by_name() {
    let lab = Lab::new();
    let with = |name: &'static str, value: &str| {
        let mut variables = environment("http://127.0.0.1:1", ("AKIA", "x"));
        variables.retain(|(other, _)| *other != name);
        variables.push((name, value.to_owned()));
        variables
    };
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
        for value in ["hun\nter2", "hun\tter2", "hunäter2", "hun\u{7f}ter2"] {
            list(&lab, &with(name, value)).expect_one_error().expect_err(&[name, "character 4"]);
        }
    }
    for (name, value) in [("AWS_REGION", "eu central"), ("AWS_REGION", "ü"), ("AWS_SSE_KMS_KEY_ID", "a\nb")]
    {
        list(&lab, &with(name, value)).expect_one_error().expect_err(&[name]);
    }
}

#[test]
fn a_secret_with_a_slash_is_shown_by_no_command_wherever_it_was_written() {
    let lab = Lab::new();
    let with_keys = |endpoint: &str| {
        let mut variables = environment(endpoint, ("AKIA", SECRET));
        variables.push(("AWS_MAX_ATTEMPTS", "1".to_owned()));
        variables
    };
    for url in [format!("s3://AKIA:{SECRET}@bucket/run"), format!("https://AKIA:{SECRET}@box:8333/bucket")] {
        let variables = with_keys("http://127.0.0.1:1");
        for arguments in [
            &["checkpoints", "verify", "--run", &url][..],
            &["sample", "--out", "x.png", "--run", &url],
            &["dataset", "inspect", &url],
        ] {
            run(&lab, "lsgan", arguments, &variables)
                .expect_one_error()
                .expect_err(&["has a user or a password"]);
        }
        let shards = format!("data.source={{ webdataset: {{ shards: '{url}' }} }}");
        for set in [format!("checkpoint.to={url}"), format!("journal.replicate={url}"), shards] {
            let arguments =
                lab.run_arguments(&["--listen", "127.0.0.1:0", "--run-dir", "run", "--set", &set]);
            let ended = run(&lab, "coordinator", &arguments, &variables);
            ended.expect_code(2).expect_one_error().expect_err(&["has a user or a password"]);
        }
    }
    for endpoint in [
        format!("http://AKIA:{SECRET}@127.0.0.1:1"),
        format!("AKIA:{SECRET}@box"),
        format!("http://{SECRET}@box"),
    ] {
        list(&lab, &with_keys(&endpoint))
            .expect_one_error()
            .expect_err(&["AWS_ENDPOINT_URL", "it has a user or a password"]);
    }
    // Nobody is there: what the client says of its request has no secret in it either.
    list(&lab, &with_keys("http://127.0.0.1:1"))
        .expect_code(1)
        .expect_one_error()
        .expect_err(&["s3://bucket/run"]);
}

/// In a file's place, an address's, a number's, and as a word that the command line does not take at all.
#[test]
fn a_secret_in_a_url_that_nobody_expects_is_not_shown_either() {
    let lab = Lab::new();
    let bucket = format!("s3://AKIA:{SECRET}@bucket/g");
    let address = format!("http://anna:{SECRET}@127.0.0.1:1");
    let import = [vec!["import".to_owned()], lab.run_arguments(&["--generator", &bucket])].concat();
    run(&lab, "lsgan", &import, &[]).expect_code(2).expect_one_error().expect_err(&["…@bucket/g"]);
    for arguments in [
        &["status", "--coordinator", &address][..],
        &["stop", "--coordinator", "http://anna:ter2@127.0.0.1:1"],
        &["timelapse", "--run", &bucket, "--out", "x.png"],
        &["scale", &bucket],
        &["up", "--workers", &bucket],
    ] {
        run(&lab, "lsgan", arguments, &[]).expect_one_error().expect_err(&["…@"]);
    }
    run(&lab, "worker", &["--coordinator", &address], &[]).expect_one_error().expect_err(&["…@127.0.0.1:1"]);
}
