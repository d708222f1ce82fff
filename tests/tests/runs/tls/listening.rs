//! Where processes listen without certificates.

use std::process::Command;

use lsgan_tests::Lab;
use lsgan_tests::binaries::binary;
use lsgan_tests::lab::INSECURE;

#[test]
fn nothing_listens_where_others_reach_it_without_tls_or_the_users_word() {
    let lab = Lab::new();
    let words = ["without TLS", "lsgan certs init", "--tls", "--insecure"];
    lab.start_coordinator(&["--listen", "0.0.0.0:0"]).fails(2, &words);
    lab.up(1, &["--listen", "[::]:0"]).fails(2, &words);
    let open = lab.coordinator_at("0.0.0.0:0", &["--insecure", "--expect-workers", "2"]);
    let warned = "the coordinator listens without TLS: nothing is encrypted";
    let mut warned = open.process.output().err().matches(warned).count();
    assert_eq!(warned, 1, "it is said once");
    let port = open.listen().rsplit_once(':').expect("it has a port").1.to_owned();
    let address = format!("http://127.0.0.1:{port}");
    let worker = |more: &[&str]| {
        let mut command = Command::new(binary("worker"));
        command.args(["--coordinator", &address, "--name", "a"]).args(more);
        command
    };
    let listen = ["--peer-listen", "0.0.0.0:0"];
    lab.start_command("worker", worker(&listen))
        .fails(2, &["this worker would listen on 0.0.0.0:0", "--insecure"]);
    // By default it is where the coordinator is: on loopback.
    let on_loopback = lab.start_command("worker", worker(&[]));
    let mut variable = worker(&listen);
    variable.env(INSECURE, "true");
    let by_variable = lab.start_command("worker", variable);
    open.client.wait_for_step(1);
    warned = by_variable.output().err().matches("this worker listens without TLS").count();
    assert_eq!(warned, 1, "it is said once");
    assert!(!on_loopback.output().err().contains("without TLS"));
}
