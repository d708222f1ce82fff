//! For how long a silent worker is waited for, where that follows from how long living ones are silent.

use lsgan_control::{Config, Entry, Event, GoneReason};

use crate::bench::{Bench, config};

fn stepping() -> Bench {
    Bench::stepping(Config { failure_timeout_ms_max: 15_000, ..config() }, 2)
}

/// Both are heard every so often, for so long.
fn live(bench: &mut Bench, every_ms: u64, for_ms: u64) {
    let until = bench.now.plus(for_ms);
    while bench.now < until {
        bench.now = bench.now.plus(every_ms);
        bench.heard(1, 2);
        bench.heard(2, 2);
        bench.apply(Event::Tick);
    }
    assert_eq!(bench.run.workers().len(), 2);
}

/// The second worker is silent from now on; returns how long it is waited for.
fn noticed_after_ms(bench: &mut Bench) -> u64 {
    let begin = bench.now;
    loop {
        bench.now = bench.now.plus(50);
        bench.heard(1, 2);
        bench.apply(Event::Tick);
        if bench.run.workers().len() < 2 {
            let gone =
                |entry: &&Entry| matches!(entry, Entry::Gone { reason: GoneReason::Silent { .. }, .. });
            assert_eq!(bench.journal.iter().filter(gone).count(), 1);
            return bench.now.0 - begin.0;
        }
        assert!(bench.now.0 - begin.0 < 60_000);
    }
}

#[test]
fn on_a_quiet_machine_a_frozen_worker_is_noticed_soon() {
    let mut bench = stepping();
    live(&mut bench, 250, 10_000);
    assert_eq!(noticed_after_ms(&mut bench), 1_550);
}

#[test]
fn on_a_busy_one_it_takes_three_of_its_silences() {
    let mut bench = stepping();
    live(&mut bench, 1_200, 10_000);
    assert_eq!(noticed_after_ms(&mut bench), 3_650);
}

#[test]
fn it_never_takes_longer_than_the_limit() {
    let mut bench = stepping();
    for every_ms in [1_000, 2_500, 7_000, 12_000] {
        live(&mut bench, every_ms, 30_000);
    }
    assert_eq!(noticed_after_ms(&mut bench), 15_050);
}

#[test]
fn a_busy_time_is_forgotten() {
    let mut bench = stepping();
    live(&mut bench, 1_200, 10_000);
    live(&mut bench, 250, 240_000);
    assert_eq!(noticed_after_ms(&mut bench), 1_550);
}

#[test]
fn while_little_is_known_it_takes_longer() {
    assert_eq!(noticed_after_ms(&mut stepping()), 4_550);
}

#[test]
fn a_timeout_that_is_fixed_stays_as_it_is() {
    let mut bench = Bench::stepping(config(), 2);
    live(&mut bench, 1_200, 10_000);
    assert_eq!(noticed_after_ms(&mut bench), 1_550);
}
