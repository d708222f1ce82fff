//! Hosts with IPv6 alone, with IPv4 alone and with both: a run needs no other settings than the addresses of its
//! coordinator.
//!
//! Most of these tests need root for network namespaces. What this machine cannot run is counted as skipped, by name.

use std::process::{Command, ExitCode};

use lsgan_tests::binaries::binary;
use lsgan_tests::disturb::{assert_undisturbed_weights, finish};
use lsgan_tests::network::{Protocols, address, address_v6, ipv6};
use lsgan_tests::trials::{Test, run, trials};
use lsgan_tests::{Lab, Network, Process, tests};

/// The coordinator's host; the workers' follow.
const COORDINATOR: usize = 0;

/// Where a lab keeps what its hosts have as `/etc/hosts`.
const NAMES: &str = "hosts";

fn main() -> ExitCode {
    let with_ipv6: &[Test] = tests![
        a_cluster_may_have_ipv6_alone,
        a_laptop_may_have_ipv6_alone,
        a_name_with_both_addresses_leads_to_the_one_that_listens,
    ];
    let all = [
        trials(&ipv6(), tests![loopback_may_be_that_of_ipv6]),
        trials(&Network::possible_with_ipv6(), with_ipv6),
        trials(&Network::possible(), tests![a_cluster_may_have_ipv4_alone]),
    ];
    run(all.into_iter().flatten().collect())
}

/// Starts a coordinator with `coordinator` and two workers with their commands, and waits for the run's good end.
#[track_caller]
fn train(
    lab: &Lab,
    mut coordinator: Command,
    listen: &str,
    worker: impl Fn(usize) -> Command,
    reached: &str,
) {
    coordinator.args(lab.run_arguments(&["--quiet", "--listen", listen, "--expect-workers", "2"]));
    let mut coordinator = Lab::listening(lab.start_command("coordinator", coordinator));
    let port = coordinator.address.rsplit_once(':').expect("an address has a port").1.to_owned();
    let workers = (1..=2).map(|number| -> Process {
        let name = format!("worker-{number}");
        let mut command = worker(number);
        command.args(["--coordinator", &format!("http://{reached}:{port}"), "--name", &name]);
        lab.start_command(&name, command)
    });
    let workers = workers.collect();
    finish(&mut coordinator.process, workers);
    assert_undisturbed_weights(lab);
}

/// Asserts the addresses that the workers told each other, without their ports.
#[track_caller]
fn assert_peers_at(lab: &Lab, expected: [String; 2]) {
    let told = lab.journal().texts("select address from workers order by name");
    let told: Vec<_> =
        told.iter().map(|address| address.rsplit_once(':').expect("it has a port").0).collect();
    assert_eq!(told, expected);
}

fn loopback_may_be_that_of_ipv6() {
    let lab = Lab::new();
    let program = |name| Command::new(binary(name));
    train(&lab, program("coordinator"), "[::1]:0", |_| program("worker"), "[::1]");
    assert_peers_at(&lab, ["[::1]", "[::1]"].map(str::to_owned));
}

fn a_cluster_may_have_ipv6_alone() {
    let (lab, network) = (Lab::new(), Network::speaking(Protocols::V6Alone, 3));
    let (names, file) = (format!("{} first-machine\n", address_v6(COORDINATOR)), lab.path(NAMES));
    let program = |host, name| network.command_with_names(host, name, &names, &file);
    let coordinator = program(COORDINATOR, "coordinator");
    train(&lab, coordinator, "[::]:0", |number| program(number, "worker"), "first-machine");
    assert_peers_at(&lab, [1, 2].map(|host| format!("[{}]", address_v6(host))));
}

/// The defaults of `lsgan up`, and the name that people write.
fn a_laptop_may_have_ipv6_alone() {
    for listen in [&[][..], &["--listen", "localhost:0"], &["--listen", "[::]:0"]] {
        let (lab, network) = (Lab::new(), Network::speaking(Protocols::V6Alone, 1));
        let mut command = network.command_with_names(0, "lsgan", "::1 localhost\n", &lab.path(NAMES));
        command.args(["up", "--workers", "2"]).args(lab.run_arguments(listen));
        lab.start_command("lsgan up", command)
            .succeeds()
            .expect_err(&["the coordinator listens on http://[::"]);
        assert_undisturbed_weights(&lab);
    }
}

fn a_cluster_may_have_ipv4_alone() {
    let (lab, network) = (Lab::new(), Network::speaking(Protocols::V4Alone, 3));
    let coordinator = network.command(COORDINATOR, "coordinator");
    train(&lab, coordinator, "[::]:0", |number| network.command(number, "worker"), &address(COORDINATOR));
    assert_peers_at(&lab, [1, 2].map(address));
    // All addresses of a host that has no loopback of IPv6.
    let lab = Lab::new();
    let mut command = network.command(0, "lsgan");
    command.args(["up", "--workers", "2"]).args(lab.run_arguments(&["--listen", "[::]:0"]));
    lab.start_command("lsgan up", command).succeeds();
    assert_undisturbed_weights(&lab);
}

/// The name has an address of each protocol, and the coordinator listens on that of IPv4 alone.
fn a_name_with_both_addresses_leads_to_the_one_that_listens() {
    let (lab, network) = (Lab::new(), Network::speaking(Protocols::Both, 3));
    let both = format!("{} first-machine\n{} first-machine\n", address_v6(COORDINATOR), address(COORDINATOR));
    let file = lab.path(NAMES);
    let worker = |number| network.command_with_names(number, "worker", &both, &file);
    let coordinator = network.command(COORDINATOR, "coordinator");
    train(&lab, coordinator, &format!("{}:0", address(COORDINATOR)), worker, "first-machine");
    assert_peers_at(&lab, [1, 2].map(address));
}
