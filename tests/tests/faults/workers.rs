//! Workers that fail, freeze, are cut off or are slow; and those that come and go.

use std::time::Duration;

use lsgan_tests::disturb::{
    assert_disturbed, assert_undisturbed_weights, cluster, finish, random_step, wait_for_members, workers_of,
};
use lsgan_tests::process::Ended;
use lsgan_tests::{Coordinator, Cut, Lab, Process, Proxy, until};
use lsgan_wire::v1::Role;
use nix::sys::signal::Signal;

const SHORT_TIMEOUT: [&str; 2] = ["--set", "cluster.failure_timeout=500ms"];

#[test]
fn a_worker_that_ends_by_an_error_is_done_without() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator(&["--expect-workers", "3"]);
    // Without any grace the wish to leave ends it where it is.
    let mut fails = lab.worker_with("fails", &coordinator.address, &["--grace", "0s"], &[]);
    let others: Vec<_> = (1..=2).map(|n| lab.worker(&format!("worker-{n}"), &coordinator.address)).collect();
    coordinator.client.wait_for_step(random_step());
    fails.signal(Signal::SIGTERM);
    fails.wait().expect_code(143).expect_err(&["no step boundary was reached within 0s, ends now"]);
    wait_for_members(&lab, 2);
    finish(&mut coordinator.process, others);
    assert_disturbed(&lab, "held");
    assert_undisturbed_weights(&lab);
}

/// They look at an update only when the next half is computed, as on a GPU, and record halves with a stand-in; of three
/// one does not. One is killed, one leaves, one comes: the weights are those of a run on CPUs.
#[test]
fn workers_that_run_ahead_as_on_a_gpu_train_the_same_weights() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator(&["--expect-workers", "3"]);
    let address = coordinator.address.clone();
    let rehearsing = |name: &str| lab.worker_with(name, &address, &["--rehearse-gpu"], &[]);
    let (killed, mut leaves, plain) =
        (rehearsing("killed"), rehearsing("leaves"), lab.worker("plain", &address));
    let step = random_step();
    coordinator.client.wait_for_step(step);
    killed.kill();
    let new = rehearsing("new");
    coordinator.client.wait_for_step(2 * step);
    leaves.signal(Signal::SIGTERM);
    leaves.wait().expect_code(143);
    finish(&mut coordinator.process, vec![plain, new]);
    assert_disturbed(&lab, "held");
    assert_undisturbed_weights(&lab);
}

/// Its heartbeats go on, and the others wait for its sum.
#[test]
fn a_training_thread_that_hangs_is_noticed_and_done_without() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator(&["--expect-workers", "3", "--fault-patience", "2s"]);
    let mut hangs = lab.worker_with("hangs", &coordinator.address, &["--fault-stall-at", "20"], &[]);
    let others: Vec<_> = (1..=2).map(|n| lab.worker(&format!("worker-{n}"), &coordinator.address)).collect();
    wait_for_members(&lab, 2);
    finish(&mut coordinator.process, others);
    let told = lab.journal().texts("select text from events where warning = 1");
    for words in ["has done no step for", "it did not park in time"] {
        assert!(told.iter().any(|text| text.contains(words)), "{words}: {told:?}");
    }
    hangs.wait().expect_code(1).expect_err(&["this incarnation is over", "error: the training thread hangs"]);
    assert_disturbed(&lab, "held");
    assert_undisturbed_weights(&lab);
}

/// A boundary that cannot come, because a peer is frozen for longer than anybody waits for it.
#[test]
fn a_leaver_whose_grace_is_over_ends_without_a_boundary() {
    let lab = Lab::new();
    let patient = ["--expect-workers", "2", "--set", "cluster.failure_timeout=1h"];
    let mut coordinator = lab.coordinator(&patient);
    let mut leaver = lab.worker_with("leaver", &coordinator.address, &["--grace", "300ms"], &[]);
    let stays = lab.worker("stays", &coordinator.address);
    coordinator.client.wait_for_step(random_step());
    stays.signal(Signal::SIGSTOP);
    leaver.signal(Signal::SIGTERM);
    leaver
        .wait()
        .expect_code(143)
        .expect_err(&["leaving at the next step boundary", "within 300ms, ends now"]);
    stays.signal(Signal::SIGCONT);
    finish(&mut coordinator.process, vec![stays]);
    assert_disturbed(&lab, "held");
    assert_undisturbed_weights(&lab);
}

/// With `min_workers` at three the others wait for the one that comes back, so that it surely takes part again.
#[test]
fn a_frozen_worker_is_told_that_its_incarnation_is_over_and_comes_back_as_a_new_one() {
    let lab = Lab::new();
    let three = ["--set", "cluster.min_workers=3"];
    let (mut coordinator, mut workers) = cluster(&lab, 3, &[&SHORT_TIMEOUT[..], &three].concat());
    coordinator.client.wait_for_step(random_step());
    workers[0].signal(Signal::SIGSTOP);
    coordinator.client.wait_until("the frozen one is taken for dead", |status| status.workers.len() == 2);
    workers[0].signal(Signal::SIGCONT);
    workers[0].wait_for_words("this incarnation is over: silent for more than 500 ms");
    finish(&mut coordinator.process, workers);
    assert_eq!(wait_for_members(&lab, 3).start, "held");
    let lives = "select incarnation from workers where name = 'worker-1'";
    assert_eq!(lab.journal().number(&format!("select count(*) from ({lives})")), 2);
    assert_eq!(lab.journal().number(&format!("{lives} order by 1 desc limit 1")), 4);
    assert_undisturbed_weights(&lab);
}

/// A worker behind a proxy, and the others of a run of three.
fn one_behind_a_proxy(lab: &Lab) -> (Coordinator, Proxy, Vec<Process>) {
    let coordinator = lab.coordinator(&[&["--expect-workers", "3"], &SHORT_TIMEOUT[..]].concat());
    let proxy = Proxy::before(coordinator.address.trim_start_matches("http://"), lab.host());
    let mut workers = vec![lab.worker("behind", &proxy.url())];
    workers.extend((1..=2).map(|n| lab.worker(&format!("worker-{n}"), &coordinator.address)));
    (coordinator, proxy, workers)
}

/// Cuts one worker from the coordinator but not from its peers, waits until the others went on without it, heals.
#[track_caller]
fn is_cut_off(cut: Cut) {
    let lab = Lab::new();
    let (mut coordinator, proxy, workers) = one_behind_a_proxy(&lab);
    coordinator.client.wait_for_step(random_step());
    proxy.cut(cut);
    assert_eq!(wait_for_members(&lab, 2).start, "held");
    proxy.cut(Cut::Whole);
    finish(&mut coordinator.process, workers);
    assert_disturbed(&lab, "held");
    assert_undisturbed_weights(&lab);
}

#[test]
fn a_worker_that_is_cut_from_the_coordinator_is_done_without_until_it_is_back() {
    is_cut_off(Cut::Both);
}

#[test]
fn a_worker_that_hears_but_is_not_heard_is_done_without_until_it_is_back() {
    is_cut_off(Cut::Forth);
}

/// Nobody needs the coordinator's words while stepping: it goes on with the others, whatever it does not hear.
#[test]
fn a_worker_that_is_heard_but_does_not_hear_steps_on() {
    let lab = Lab::new();
    let (mut coordinator, proxy, workers) = one_behind_a_proxy(&lab);
    let step = coordinator.client.wait_for_step(random_step()).step;
    proxy.cut(Cut::Back);
    coordinator.client.wait_for_step(step + 20);
    proxy.cut(Cut::Whole);
    finish(&mut coordinator.process, workers);
    assert_undisturbed_weights(&lab);
}

#[test]
fn a_worker_whose_connection_is_reset_comes_back_at_once() {
    let lab = Lab::new();
    let (mut coordinator, proxy, mut workers) = one_behind_a_proxy(&lab);
    coordinator.client.wait_for_step(random_step());
    proxy.reset();
    workers[0].wait_for_words("the coordinator is away, going on without it");
    finish(&mut coordinator.process, workers);
    assert_disturbed(&lab, "held");
    assert_undisturbed_weights(&lab);
}

/// It is tried before anybody parks for it.
#[test]
fn a_worker_that_cannot_be_reached_costs_a_stepping_run_no_step() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator(&["--expect-workers", "2"]);
    let worker = |name: &str, more: &[&str]| lab.worker_with(name, &coordinator.address, more, &[]);
    let slowly = ["--fault-slowness", "12"];
    let mut workers = vec![worker("worker-1", &slowly), worker("worker-2", &slowly)];
    coordinator.client.wait_for_step(5);
    workers.push(worker("worker-3", &["--advertise", "127.0.0.99"]));
    let warned = coordinator.process.wait_for_words("though the coordinator hears both");
    let named = ["(worker-3) at 127.0.0.99:", "(connection refused)", "--advertise IP"];
    assert!(named.iter().all(|words| warned.contains(words)), "{warned}");
    let status = coordinator.client.status().expect("the run goes on");
    assert_eq!(status.workers.iter().filter(|worker| worker.role() == Role::CutOff).count(), 1, "{status:?}");
    finish(&mut coordinator.process, workers);
    assert_eq!(lab.journal().generations().len(), 1);
    assert_undisturbed_weights(&lab);
}

/// Three workers of which `slow` computes many times as slowly.
fn one_is_slow(lab: &Lab, more: &[&str]) -> (Coordinator, Process, Vec<Process>) {
    let coordinator = lab.coordinator(&[&["--expect-workers", "3"], more].concat());
    let slow = lab.worker_with("slow", &coordinator.address, &["--fault-slowness", "25"], &[]);
    let others = (1..=2).map(|n| lab.worker(&format!("worker-{n}"), &coordinator.address)).collect();
    (coordinator, slow, others)
}

/// The notice that names the straggler, once there is one.
fn wait_for_straggler(coordinator: &Coordinator) -> String {
    let named = |status: &lsgan_wire::v1::RunStatus| {
        let text = |text: &str| text.contains("(slow) is a straggler");
        status
            .notices
            .iter()
            .find(|notice| notice.warning && text(&notice.text))
            .map(|notice| notice.text.clone())
    };
    let status = coordinator.client.wait_until("the straggler is named", |status| named(status).is_some());
    named(&status).expect("it was waited for")
}

/// The two times in a straggler's notice, in milliseconds.
fn times_of(notice: &str) -> (f64, f64) {
    let words: Vec<_> = notice.split_whitespace().collect();
    let before_ms = |at: usize| words[at - 1].parse().expect("a time stands before its unit");
    let at: Vec<_> =
        (0..words.len()).filter(|&at| words[at].trim_matches(|c| ",;.".contains(c)) == "ms").collect();
    (before_ms(at[0]), before_ms(at[1]))
}

#[test]
fn a_slow_worker_is_named_with_its_time_and_the_others_wait_for_it() {
    let lab = Lab::new();
    let (mut coordinator, mut slow, others) = one_is_slow(&lab, &[]);
    let notice = wait_for_straggler(&coordinator);
    let (own_ms, median_ms) = times_of(&notice);
    assert!(own_ms > 2.0 * median_ms, "{notice}");
    let status = coordinator.client.status().expect("the run goes on");
    let worker = |name: &str| status.workers.iter().find(|w| w.name == name).expect("all are attached");
    assert_eq!((worker("slow").role(), worker("slow").straggles), (Role::Member, true));
    assert!(!worker("worker-1").straggles && !worker("worker-2").straggles, "{:?}", status.workers);
    assert_eq!(status.generation, 1, "nobody was sent away");
    // Its slowness is of no further use.
    slow.signal(Signal::SIGTERM);
    slow.wait().expect_code(143);
    finish(&mut coordinator.process, others);
    assert_undisturbed_weights(&lab);
}

#[test]
fn a_slow_worker_is_evicted_where_the_spec_says_so() {
    let lab = Lab::new();
    let (mut coordinator, mut slow, others) = one_is_slow(&lab, &["--set", "cluster.stragglers=evict"]);
    let notice = wait_for_straggler(&coordinator);
    assert!(notice.contains("it stands by while there are enough others"), "{notice}");
    assert_eq!(wait_for_members(&lab, 2).start, "held");
    finish(&mut coordinator.process, others);
    slow.wait().expect_code(0);
    assert_disturbed(&lab, "held");
    assert_undisturbed_weights(&lab);
}

/// Asks a run of `lsgan up` for another number of workers.
fn scale(lab: &Lab, workers: &str, address: &str) -> Ended {
    lab.start("scale", "lsgan", &["scale", "--workers", workers, "--coordinator", address]).wait()
}

/// The address that `lsgan up` printed.
fn address_of(up: &mut Process) -> String {
    let line = up.wait_for_words("the coordinator listens on http://");
    let address = line.split("listens on ").nth(1).and_then(|rest| rest.split(';').next());
    address.expect("the line says where").to_owned()
}

/// It cannot begin before it is scaled up, however slow the machine is.
#[test]
fn a_run_of_lsgan_up_is_scaled_up_and_down() {
    let lab = Lab::new();
    let mut up = lab.up(1, &["--set", "cluster.min_workers=2"]);
    let address = address_of(&mut up);
    let client = lab.client(&mut up);
    client.wait_until("one worker waits", |status| status.workers.len() == 1);
    scale(&lab, "3", &address).expect_code(0).expect_out(&["the run will have 3 workers"]);
    let status = client.wait_until("three compute", |status| {
        status.workers.iter().filter(|w| w.role() == Role::Member).count() == 3 && status.step > 2
    });
    assert_eq!(status.workers_wanted, Some(3));
    scale(&lab, "2", &address).expect_code(0);
    until("the third worker has left", || match workers_of(&up).len() {
        2 => Ok(()),
        others => Err(others),
    });
    up.wait().expect_code(0).expect_err(&["from 1 to 3 workers", "from 3 to 2 workers"]);
    let members: Vec<_> = lab.journal().generations().iter().map(|g| g.members).collect();
    assert_eq!(members.last(), Some(&2), "{members:?}");
    assert!(members.contains(&3), "{members:?}");
    let left = "select count(*) from workers where name = 'up:3' and why = 'left as it asked'";
    assert_eq!(lab.journal().number(left), 1);
    assert_undisturbed_weights(&lab);
}

#[test]
fn a_run_whose_workers_nobody_supervises_cannot_be_scaled() {
    let lab = Lab::new();
    let coordinator = lab.coordinator(&[]);
    let ended = scale(&lab, "2", &coordinator.address).expect_code(1).expect_one_error();
    ended.expect_err(&["nobody supervises this run's workers"]);
}

/// The others go on while the joiner starts: what a join costs them is one generation's change.
#[test]
fn workers_join_and_leave_again_and_again_while_it_steps() {
    let lab = Lab::new();
    let (mut coordinator, mut workers) = cluster(&lab, 1, &[]);
    coordinator.client.wait_for_step(5);
    for name in ["second", "third"] {
        let mut guest = lab.worker(name, &coordinator.address);
        let step = coordinator.client.wait_until(&format!("{name} computes"), |status| {
            status
                .workers
                .iter()
                .any(|w| w.name == name && w.role() == Role::Member && !w.virtual_ranks.is_empty())
        });
        coordinator.client.wait_for_step(step.step + 2);
        guest.signal(Signal::SIGTERM);
        guest.wait().expect_code(143);
    }
    workers.push(lab.worker("last", &coordinator.address));
    finish(&mut coordinator.process, workers);
    let journal = lab.journal();
    // A leave that is announced repeats nothing: every generation starts where the one before ended.
    assert!(journal.generations().iter().skip(1).all(|g| g.start == "held"), "{:?}", journal.generations());
    assert_eq!(journal.number("select count(*) from workers where why = 'left as it asked'"), 2);
    assert_undisturbed_weights(&lab);
}

/// Nobody waits for a time-out of any kind: with a failure timeout of minutes it takes no longer.
#[test]
fn survivors_of_a_death_go_on_at_once() {
    let lab = Lab::new();
    let (mut coordinator, mut workers) = cluster(&lab, 3, &["--set", "cluster.failure_timeout=5m"]);
    coordinator.client.wait_for_step(random_step());
    workers.remove(0).kill();
    finish(&mut coordinator.process, workers);
    let gap_ms = lab.journal().number(
        "select b.stepping_ms - a.halted_ms from generations a join generations b on b.generation = a.generation + 1
         where (select count(*) from members m where m.generation = b.generation) = 2",
    );
    let gap = Duration::from_millis(gap_ms);
    println!("{gap:?} from the notice of the death to the next step");
    assert!(gap < Duration::from_secs(5), "{gap:?}, on however slow a machine");
    assert_undisturbed_weights(&lab);
}
