//! Worlds of many seeds, and those that once found a bug.

use lsgan_sim::{Class, Coverage, Fixed, Setup, Trace, World, simulate};

/// Lives through the seeds; the first failure is shown whole.
fn live(seeds: impl IntoIterator<Item = u64>, fixed: Fixed) -> Coverage {
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
fn every_sentence_holds_in_three_thousand_worlds_and_every_fault_comes() {
    let total = live(0..3_000, Fixed::default());
    for (name, count) in total.counts() {
        assert!(count >= 100, "only {count} {name} in {} worlds", total.worlds);
    }
}

#[test]
fn a_world_without_faults_trains_without_a_second_generation() {
    let calm = (0..2_000).filter(|seed| Setup::draw(*seed, Fixed::default()).classes.is_empty());
    // All workers are there when the first generation is formed, or come later and are taken in.
    let expected = calm.filter(|seed| Setup::draw(*seed, Fixed::default()).config.expected_workers > 0);
    let total = live(expected, Fixed::default());
    assert!(total.worlds > 50, "{} worlds", total.worlds);
    assert_eq!((total.lost, total.retired, total.from_snapshot), (0, 0, 0));
}

#[test]
fn one_seed_has_one_history() {
    for seed in 0..200 {
        let setup = Setup::draw(seed, Fixed::default());
        let one = World::new(setup.clone(), Trace::Off).run().unwrap();
        // Writing lines down must change nothing.
        let other = World::new(setup, Trace::Last).run().unwrap();
        assert_eq!(one, other, "seed {seed}");
    }
}

#[test]
fn the_command_line_fixes_sizes() {
    let fixed = Fixed { steps: Some(7), workers: Some(6) };
    let setup = Setup::draw(1, fixed);
    assert_eq!((setup.config.steps, setup.workers), (7, 6));
    live(0..50, fixed);
}

#[test]
fn each_class_of_fault_is_drawn_and_many_seeds_lack_it() {
    let setups: Vec<_> = (0..2_000).map(|seed| Setup::draw(seed, Fixed::default())).collect();
    for class in [
        Class::Leave,
        Class::Join,
        Class::Death,
        Class::Freeze,
        Class::Coordinator,
        Class::Stop,
        Class::EveryoneDies,
        Class::Stream,
        Class::Link,
        Class::Stuck,
        Class::Echo,
        Class::Odd,
        Class::Poison,
        Class::StoreFails,
    ] {
        let with = setups.iter().filter(|s| s.classes.contains(&class)).count();
        assert!((40..1_000).contains(&with), "{class:?} is in {with} of 2000 seeds");
    }
}
