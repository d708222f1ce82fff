//! The loader gives the plan's batches in order, as far as the leases permit, and stops on request.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use lsgan_data::{
    Fingerprint, Leases, Loader, LoaderError, LoaderOptions, RankBatch, RecordError, Replaced, SampleShape,
    Source, StepBatch,
};
use lsgan_plan::{Geometry, Plan, coin};
use lsgan_spec::{Flip, Position, Step, VirtualRank};

use crate::common::{DEADLINE, Numbered, sample, within_deadline};

fn plan(records: u64, shard_records: u64, virtual_ranks: u32, per_rank: u32) -> Plan {
    Plan::new(1, Geometry::new(records, shard_records, virtual_ranks, per_rank).unwrap())
}

fn options(ranks: &[u32], from: u64, threads: usize, depth_steps: usize) -> LoaderOptions {
    LoaderOptions {
        ranks: ranks.iter().copied().map(VirtualRank).collect(),
        from: Step(from),
        threads,
        depth_steps,
        classes: false,
    }
}

/// Unlimited leases.
fn all_leased() -> Arc<Leases> {
    let leases = Leases::new();
    (0..64).for_each(|rank| leases.grant(VirtualRank(rank), u64::MAX));
    Arc::new(leases)
}

fn started(source: Numbered, plan: Plan, options: LoaderOptions) -> Loader {
    Loader::start(Arc::new(source), plan, all_leased(), options).unwrap()
}

fn steps(mut loader: Loader, count: usize) -> Vec<StepBatch> {
    within_deadline("steps", move || (0..count).map(|_| loader.next().unwrap()).collect())
}

/// The batches of the plan, read in one thread.
fn wanted(source: &dyn Source, plan: &Plan, ranks: &[VirtualRank], step: Step) -> Vec<RankBatch> {
    let samples = |rank| plan.batch(rank, step).flat_map(|it| sample(source, it.record)).collect();
    ranks
        .iter()
        .map(|&virtual_rank| RankBatch { virtual_rank, samples: samples(virtual_rank), classes: vec![] })
        .collect()
}

#[test]
fn every_step_has_the_plans_records_from_any_step_on_with_any_number_of_threads() {
    let plan = plan(1000, 64, 5, 7);
    for (ranks, from, threads, depth_steps) in
        [(&[0, 1, 2, 3, 4][..], 0, 1, 1), (&[3, 1], 123, 2, 4), (&[4], 5, 4, 2), (&[0, 2, 4], 77, 3, 9)]
    {
        let options = options(ranks, from, threads, depth_steps);
        let batches = steps(started(Numbered::new(1000), plan, options.clone()), 60);
        for (step, batch) in (from..).zip(batches) {
            assert_eq!(batch.step, Step(step));
            assert_eq!(batch.batches, wanted(&Numbered::new(1000), &plan, &options.ranks, Step(step)));
            assert_eq!(batch.replaced, []);
        }
    }
}

/// Every record occurs once in these steps, so a read tells its position. The leases grow by one ordinal at a time; each
/// releases the steps that it covers, and no read comes before its lease.
#[test]
fn no_position_is_read_before_it_is_leased() {
    let plan = plan(4 * 10 * 6, 6, 4, 5);
    let position_of: BTreeMap<u64, Position> = (0..40)
        .map(Position)
        .flat_map(|p| (0..6).map(move |i| (plan.visit(p).record(i).record, p)))
        .collect();
    let leases = Arc::new(Leases::new());
    let unleased = Arc::new(Mutex::new(Vec::new()));
    let watch = {
        let (leases, unleased) = (Arc::clone(&leases), Arc::clone(&unleased));
        move |record| {
            let position = position_of[&record];
            if position.0 / 4 >= leases.until(plan.rank_of(position)) {
                unleased.lock().unwrap().push(position);
            }
        }
    };
    let source = Arc::new(Numbered::watched(plan.geometry().records(), watch));
    let mut loader = Loader::start(source, plan, Arc::clone(&leases), options(&[1, 3], 0, 3, 8)).unwrap();
    let (sender, given) = mpsc::channel();
    let consumer = std::thread::spawn(move || {
        for _ in 0..12 {
            sender.send(loader.next().unwrap().step).unwrap();
        }
    });
    let mut next = 0;
    for until in 1..=10 {
        for rank in [1, 3] {
            leases.grant(VirtualRank(rank), until);
        }
        while next < 12 && plan.ordinals_needed(VirtualRank(1), next + 1) <= until {
            assert_eq!(given.recv_timeout(DEADLINE), Ok(Step(next)), "with {until} ordinals leased");
            next += 1;
        }
        assert!(given.try_recv().is_err(), "step {next} was given out with {until} ordinals leased");
    }
    assert_eq!(next, 12);
    within_deadline("the end of the consumer", move || consumer.join().unwrap());
    assert_eq!(*unleased.lock().unwrap(), []);
}

/// Every record occurs once in these steps, so a read tells its step. The caller stores the next front before each call.
#[test]
fn no_step_is_read_further_ahead_than_the_depth() {
    const DEPTH: u64 = 3;
    let plan = plan(1000, 10, 1, 5);
    let step_of: BTreeMap<u64, u64> = (0..200)
        .flat_map(|step| plan.batch(VirtualRank(0), Step(step)).map(move |it| (it.record, step)))
        .collect();
    let front = Arc::new(AtomicU64::new(0));
    let (sender, reads) = mpsc::channel();
    let watch = {
        let front = Arc::clone(&front);
        move |record| {
            let step = step_of[&record];
            let _ = sender.send((step, front.load(Ordering::SeqCst)));
        }
    };
    let mut loader = started(Numbered::watched(1000, watch), plan, options(&[0], 0, 2, DEPTH as usize));
    for step in 0..150 {
        // Wait until the window is full; a thread that reads beyond it is detected here.
        while reads.recv_timeout(DEADLINE).map(|(read, front)| {
            assert!(read < front + DEPTH, "step {read} was read while the front was {front}");
            read
        }) != Ok(step + DEPTH - 1)
        {}
        front.store(step + 1, Ordering::SeqCst);
        assert_eq!(loader.next().unwrap().step, Step(step));
    }
}

#[test]
fn dropping_a_loader_that_waits_for_a_lease_ends_its_threads() {
    let source: Arc<dyn Source> = Arc::new(Numbered::new(100));
    let (held, leases) = (Arc::clone(&source), Arc::new(Leases::new()));
    within_deadline("dropping", move || {
        drop(Loader::start(source, plan(100, 10, 2, 5), leases, options(&[0, 1], 0, 3, 2)).unwrap());
    });
    assert_eq!(Arc::strong_count(&held), 1, "a thread still holds the source");
}

#[test]
fn dropping_a_loader_whose_window_is_full_ends_its_threads() {
    let (sender, reads) = mpsc::channel();
    let source = Numbered::watched(100, move |_| sender.send(()).unwrap());
    let loader = started(source, plan(100, 10, 1, 5), options(&[0], 0, 1, 2));
    (0..10).for_each(|_| reads.recv_timeout(DEADLINE).unwrap());
    within_deadline("dropping", move || drop(loader));
    assert_eq!(reads.recv_timeout(DEADLINE), Err(mpsc::RecvTimeoutError::Disconnected), "the source is gone");
}

#[test]
fn a_stopper_wakes_a_caller_who_waits() {
    let (source, leases) = (Arc::new(Numbered::new(100)), Arc::new(Leases::new()));
    let mut loader = Loader::start(source, plan(100, 10, 2, 5), leases, options(&[0], 0, 1, 2)).unwrap();
    let stopper = loader.stopper();
    let caller =
        std::thread::spawn(move || (loader.next().map(|batch| batch.step), loader.next().map(|_| ())));
    stopper.stop();
    let stopped = within_deadline("the caller", move || caller.join().unwrap());
    assert_eq!(stopped, (Err(LoaderError::Stopped), Err(LoaderError::Stopped)));
}

/// One of seven records is bad, and all but one of shard 3. Each is replaced by the next good one of its position in the
/// order of the visit, with any number of threads, and reported.
#[test]
fn a_record_that_does_not_decode_is_replaced_by_the_next_of_its_position() {
    let bad: BTreeSet<u64> = (0..200).filter(|&r| r % 7 == 0 || (60..79).contains(&r)).collect();
    let plan = plan(200, 20, 2, 8);
    let run = |threads| {
        let source = Numbered::without(200, bad.iter().copied());
        steps(started(source, plan, options(&[0, 1], 0, threads, 3)), 30)
    };
    let batches = run(1);
    let mut replaced_count = 0;
    for batch in &batches {
        let mut replaced = batch.replaced.iter();
        for RankBatch { virtual_rank, samples, .. } in &batch.batches {
            for (wanted, sample) in plan.batch(*virtual_rank, batch.step).zip(samples.chunks(2)) {
                let visit = plan.visit(wanted.position);
                let good =
                    (0..20).map(|i| visit.record((wanted.offset + i) % 20).record).find(|r| !bad.contains(r));
                let by = good.unwrap();
                assert_eq!(sample, [by as f32, by as f32 + 0.5]);
                if by != wanted.record {
                    let reason = RecordError::Undecodable {
                        kind: "numbered",
                        key: format!("number-{}", wanted.record),
                        reason: "it was made so".into(),
                    };
                    let expected =
                        Replaced { virtual_rank: *virtual_rank, record: wanted.record, by, reason };
                    assert_eq!(replaced.next(), Some(&expected));
                    replaced_count += 1;
                }
            }
        }
        assert_eq!(replaced.next(), None);
    }
    assert!(replaced_count > 50, "{replaced_count} replaced");
    for (one, several) in batches.iter().zip(run(4)) {
        assert_eq!(
            (one.step, &one.batches, &one.replaced),
            (several.step, &several.batches, &several.replaced)
        );
    }
}

/// Pictures of 3 columns, of which the first holds the number of the record, so that mirroring shows. Each sample is
/// mirrored as the coin of its place says.
#[test]
fn samples_are_mirrored_as_the_coins_of_their_places_say() {
    struct Arrows;
    impl Source for Arrows {
        fn kind(&self) -> &'static str {
            "arrows"
        }
        fn len(&self) -> u64 {
            100
        }
        fn sample_shape(&self) -> SampleShape {
            SampleShape::Image { size: 3, channels: 1 }
        }
        fn read(&self, record: u64, out: &mut [f32]) -> Result<(), RecordError> {
            out.fill(0.0);
            out.chunks_mut(3).for_each(|row| row[0] = 1.0 + record as f32);
            Ok(())
        }
        fn fingerprint(&self) -> Fingerprint {
            Fingerprint::from_bytes([1; 32])
        }
        fn flip(&self) -> Flip {
            Flip::Random
        }
    }
    let plan = plan(100, 10, 2, 5);
    let mut mirrored = 0;
    for threads in [1, 3] {
        let loader = Loader::start(Arc::new(Arrows), plan, all_leased(), options(&[0, 1], 7, threads, 2));
        for StepBatch { step, batches, .. } in steps(loader.unwrap(), 40) {
            for RankBatch { virtual_rank, samples, .. } in batches {
                for (it, sample) in plan.batch(virtual_rank, step).zip(samples.chunks(9)) {
                    let arrow = 1.0 + it.record as f32;
                    let is_mirrored = coin("flip", plan.seed(), it.position, it.offset);
                    let row = if is_mirrored { [0.0, 0.0, arrow] } else { [arrow, 0.0, 0.0] };
                    assert_eq!(sample, [row; 3].as_flattened());
                    mirrored += u32::from(is_mirrored);
                }
            }
        }
    }
    assert!((300..500).contains(&mirrored), "{mirrored} of 800 mirrored");
}

/// Four shards of a virtual rank are mixed. The samples are those of the plan, and a bad record is replaced by one of its
/// own shard.
#[test]
fn mixed_positions_are_read_as_the_plan_says() {
    let geometry = Geometry::new(203, 10, 2, 7).unwrap().with_mix(4).unwrap();
    let plan = Plan::new(1, geometry);
    let source = Numbered::without(203, [5, 77]);
    for batch in steps(started(source, plan, options(&[0, 1], 3, 3, 2)), 40) {
        for RankBatch { virtual_rank, samples, .. } in &batch.batches {
            for (it, sample) in plan.batch(*virtual_rank, batch.step).zip(samples.chunks(2)) {
                let replaced = batch.replaced.iter().find(|replaced| replaced.record == it.record);
                let by = replaced.map_or(it.record, |replaced| replaced.by);
                assert_eq!(sample[0], by as f32);
                assert_eq!(by != it.record, [5, 77].contains(&it.record));
                assert_eq!(by / 10, it.record / 10, "a record of the same shard");
            }
        }
    }
}

/// The replacement by the rule: the next good record of its own position, then of those that follow in the epoch, always
/// from its own offset on.
fn expected_replacement(plan: &Plan, bad: &BTreeSet<u64>, wanted: lsgan_plan::RecordRef) -> u64 {
    let shards = plan.geometry().shards_per_epoch();
    let place = wanted.position.0 % shards;
    (0..shards)
        .map(|next| plan.visit(Position(wanted.epoch * shards + (place + next) % shards)))
        .flat_map(|visit| {
            let count = visit.record_count();
            (0..count).map(move |i| visit.record((wanted.offset + i) % count).record)
        })
        .find(|record| !bad.contains(record))
        .expect("some record is good")
}

/// The only record of the short last shard is bad, and all records of two shards in the middle. With any mix, ranks and
/// threads, records of other shards replace them by the rule.
#[test]
fn the_records_of_a_bad_shard_are_replaced_from_the_shards_that_follow() {
    let bad: BTreeSet<u64> = (16..32).chain([64]).collect();
    for (ranks, mix) in [(1, 1), (2, 1), (3, 4)] {
        let geometry = Geometry::new(65, 8, ranks, 4).unwrap().with_mix(mix).unwrap();
        let plan = Plan::new(1, geometry);
        let all: Vec<u32> = (0..ranks).collect();
        let run = |threads, from, count| {
            let source = Numbered::without(65, bad.iter().copied());
            steps(started(source, plan, options(&all, from, threads, 3)), count)
        };
        let batches = run(1, 0, 60);
        let (mut replaced, mut by_others) = (BTreeSet::new(), BTreeSet::new());
        for batch in &batches {
            for RankBatch { virtual_rank, samples, .. } in &batch.batches {
                for (wanted, sample) in plan.batch(*virtual_rank, batch.step).zip(samples.chunks(2)) {
                    let by = expected_replacement(&plan, &bad, wanted);
                    assert_eq!(sample[0], by as f32, "{wanted:?}");
                    if by != wanted.record {
                        replaced.insert(wanted.record);
                        by_others.insert(by);
                    }
                }
            }
        }
        assert_eq!(replaced, bad, "{ranks} ranks, mix {mix}: in 60 steps each is met");
        assert!(by_others.len() > 8, "not always the same ones: {by_others:?}");
        // A start in the middle, without knowledge of bad records, and with more threads.
        for (one, several) in batches[17..].iter().zip(run(4, 17, 43)) {
            assert_eq!((&one.batches, &one.replaced), (&several.batches, &several.replaced));
        }
    }
}

#[test]
fn one_good_shard_feeds_a_run_and_a_data_set_without_a_good_record_is_an_error() {
    let small = plan(100, 20, 1, 5);
    let good = small.visit(Position(0)).shard().0;
    let source = Numbered::without(100, (0..100).filter(|record| record / 20 != good));
    let mut loader = started(source, small, options(&[0], 0, 2, 8));
    let given = within_deadline("steps", move || (0..40).map(|_| loader.next().unwrap().step).count());
    assert_eq!(given, 40, "one good shard feeds them all");

    let mut loader = started(Numbered::without(100, 0..100), small, options(&[0], 0, 2, 8));
    let (first, second) =
        within_deadline("the error", move || (loader.next().unwrap_err(), loader.next().unwrap_err()));
    let record = small.batch(VirtualRank(0), Step(0)).next().unwrap().record;
    assert_eq!(
        first.to_string(),
        format!(
            "no record of shard {good} decodes, nor any other of the data set; the first says: record `number-{record}` \
             of the numbered data set does not decode: it was made so. Replace it, or leave it out. Check the data set \
             with `lsgan dataset inspect --verify`."
        )
    );
    assert_eq!(first, second, "the error stays");
    // The search in a large set without a good record is limited.
    let source = Numbered::without(300_000, 0..300_000);
    let mut loader = started(source, plan(300_000, 10, 1, 5), options(&[0], 0, 1, 1));
    let error = within_deadline("the error", move || loader.next().unwrap_err());
    assert!(error.to_string().contains("one of the 256 shards that follow it in the epoch"), "{error}");
}

/// After a panic of the only thread, no thread reads the other virtual rank's batch.
#[test]
fn a_panic_of_the_source_ends_the_wait_with_an_error() {
    let source = Numbered::watched(100, |_| panic!("made to panic"));
    let mut loader = started(source, plan(100, 20, 2, 5), options(&[0, 1], 3, 1, 2));
    let error = within_deadline("the error", move || loader.next().unwrap_err());
    assert_eq!(error, LoaderError::Panicked { step: Step(3), rank: VirtualRank(0) });
}

#[test]
fn invalid_options_are_refused() {
    let start = |options| {
        Loader::start(Arc::new(Numbered::new(100)), plan(100, 10, 4, 5), all_leased(), options)
            .map(|_| ())
            .unwrap_err()
    };
    for nothing in [options(&[], 0, 1, 1), options(&[0], 0, 0, 1), options(&[0], 0, 1, 0)] {
        assert!(matches!(start(nothing), LoaderError::NothingToDo { .. }));
    }
    assert_eq!(start(options(&[4], 0, 1, 1)), LoaderError::Rank { rank: VirtualRank(4), virtual_ranks: 4 });
    assert_eq!(
        start(options(&[1, 2, 1], 0, 1, 1)),
        LoaderError::Rank { rank: VirtualRank(1), virtual_ranks: 4 }
    );
    let error =
        Loader::start(Arc::new(Numbered::new(99)), plan(100, 10, 4, 5), all_leased(), options(&[0], 0, 1, 1));
    let expected = LoaderError::RecordCount { kind: "numbered", found: 99, expected: 100 };
    assert_eq!(error.map(|_| ()).unwrap_err(), expected);
}

#[test]
fn recycled_buffers_are_used_again() {
    let mut loader = started(Numbered::new(100), plan(100, 10, 2, 5), options(&[0, 1], 0, 2, 3));
    let buffers = within_deadline("steps", move || {
        let mut buffers = BTreeSet::new();
        for _ in 0..500 {
            let batch = loader.next().unwrap();
            buffers.extend(batch.batches.iter().map(|batch| batch.samples.as_ptr() as usize));
            loader.recycle(batch);
        }
        buffers
    });
    assert!(buffers.len() <= 2 * (3 + 2), "{} buffers for 2 virtual ranks and 3 steps ahead", buffers.len());
}
