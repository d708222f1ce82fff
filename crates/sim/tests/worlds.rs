//! The worlds of many seeds, and of those that once found a bug.

use lsgan_sim::faults::{
    CLASSES, FAR_CLASSES, LATER_CLASSES, LOST_CLASSES, OPERATOR_CLASSES, STRANGE_CLASSES, SUPERSEDED_CLASSES,
};
use lsgan_sim::{Class, Coverage, Fixed, Setup, Trace, World, simulate};

/// Simulates the seeds. Panics with the first failure.
fn simulate_all(seeds: impl IntoIterator<Item = u64>, fixed: Fixed) -> Coverage {
    let mut total = Coverage::default();
    for seed in seeds {
        match simulate(seed, fixed) {
            Ok(coverage) => total.add(&coverage),
            Err(failure) => panic!("{failure}"),
        }
    }
    total
}

#[test]
fn every_invariant_holds_in_ten_thousand_worlds_and_every_fault_comes() {
    let total = simulate_all(0..10_000, Fixed::default());
    for (name, count) in total.counts() {
        assert!(count >= 80, "only {count} {name} in {} worlds", total.worlds);
    }
}

#[test]
fn a_world_without_faults_loses_nobody_and_reads_no_snapshot() {
    let calm = (0..4_000).filter(|seed| Setup::draw(*seed, Fixed::default()).classes.is_empty());
    let total = simulate_all(calm, Fixed::default());
    assert!(total.worlds > 100, "{} worlds", total.worlds);
    assert_eq!((total.lost, total.retired, total.from_snapshot), (0, 0, 0));
}

/// Nothing is told that the journal's copy does not have, and no step is summed twice, though two believe that they lead.
#[test]
fn of_two_coordinators_one_leads() {
    let superseded = |seed: &u64| Setup::draw(*seed, Fixed::default()).classes.contains(&Class::Superseded);
    let total = simulate_all((0..20_000).filter(superseded), Fixed::default());
    assert!(
        total.deposed >= 200 && total.fenced >= 200,
        "{} deposed, {} fenced",
        total.deposed,
        total.fenced
    );
}

#[test]
fn one_seed_has_one_history() {
    for seed in 0..200 {
        let setup = Setup::draw(seed, Fixed::default());
        let one = World::new(setup.clone(), Trace::Off).run().unwrap();
        // A trace must change nothing.
        let other = World::new(setup, Trace::Last).run().unwrap();
        assert_eq!(one, other, "seed {seed}");
    }
}

#[test]
fn the_command_line_fixes_sizes() {
    let fixed = Fixed { steps: Some(7), workers: Some(6) };
    let setup = Setup::draw(1, fixed);
    assert_eq!((setup.config.steps, setup.workers), (7, 6));
    simulate_all(0..50, fixed);
}

#[test]
fn each_class_of_fault_is_drawn_and_many_seeds_lack_it() {
    let setups: Vec<_> = (0..2_000).map(|seed| Setup::draw(seed, Fixed::default())).collect();
    let drawn = CLASSES
        .iter()
        .chain(LATER_CLASSES)
        .chain(FAR_CLASSES)
        .chain(OPERATOR_CLASSES)
        .chain(STRANGE_CLASSES)
        .chain(LOST_CLASSES)
        .chain(SUPERSEDED_CLASSES)
        .map(|(class, _)| *class);
    let classes: Vec<Class> = drawn.chain([Class::Hidden]).collect();
    assert_eq!(classes.len(), 31);
    for class in classes {
        let with = setups.iter().filter(|s| s.classes.contains(&class)).count();
        assert!((40..1_000).contains(&with), "{class:?} is in {with} of 2000 seeds");
    }
}

/// Seeds that found a bug in the machine. Each failed with the bug and passes without it. `tests/mutants.md` has the
/// violation of each.
const FOUND: &[(u64, &str)] = &[
    (
        0,
        "A crash between an incarnation's end and its generation's end left a generation that waited for it.",
    ),
    (96, "A member that was lost while a restarted coordinator waited for the others was adopted again."),
    (86, "A member that was alive and did not park held up the run for ever."),
    (51, "The only holder of a state in the middle of a step was let go."),
    (191, "A generation was formed while a worker from before a restart, which was ahead, had not parked."),
    (4038, "A Ready that was sent again later set back what its worker was known to hold."),
    (968, "A standby that came back ahead of the stepping generation was let go with the only copy."),
    (177_930, "Of several standbys that were ahead, the first was kept and not the most advanced."),
    (211_131, "A coordinator restarted while its first generation formed never gathered again."),
    (621, "A stopped run ended without the state that a worker brought back while it was saved."),
    (77, "A worker reported how far it had read while it was no member, and never again."),
    (1971, "A worker's answer to a task of an earlier stream counted for a later one."),
];

/// Seeds for which the simulator reported a violation where there was none.
const FALSE_ALARMS: &[(u64, &str)] = &[(
    198_477,
    "A worker whose Hello was still under way counted as one that could have written snapshots.",
)];

#[test]
fn seeds_that_found_a_bug_pass() {
    for (seed, bug) in FOUND.iter().chain(FALSE_ALARMS) {
        if let Err(failure) = simulate(*seed, Fixed::default()) {
            panic!("this bug may be back: {bug}\n{failure}");
        }
    }
}
