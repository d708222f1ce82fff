//! Faults of NCCL, played by its test double: each ends in bounded time, with the right error.

mod local;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use local::double::{self, Double, HostDevice, form, try_form, try_form_waiting, try_meet, wait_until};
use local::{PATIENCE, aborter};
use lsgan_collective::nccl::{Connected, Library, NcclGroup, NcclVersion};
use lsgan_collective::{Aborter, Group, GroupError};
use lsgan_spec::Generation;

/// For tests in which a deadline must pass.
const SOON: Duration = Duration::from_millis(300);

fn aborters<const N: usize>() -> [Aborter; N] {
    [(); N].map(|()| aborter())
}

/// Rank 0 of two with its device, and the other rank, which never makes a call.
fn with_an_absent_peer(double: &Double) -> (NcclGroup, Arc<HostDevice>, NcclGroup) {
    let [(device, first), (_, absent)] = double::pair(double, &aborters());
    (first, device, absent)
}

/// Aborts in the middle of a group's first call, when the copy to the device and the call itself are queued. The thread
/// returns how long the abort itself took.
fn abort_in_the_first_call(group: &NcclGroup, device: &Arc<HostDevice>) -> JoinHandle<Duration> {
    let (aborter, device) = (group.aborter(), Arc::clone(device));
    thread::spawn(move || {
        wait_until("the call is queued", || device.queued() >= 2);
        let started = Instant::now();
        aborter.abort();
        started.elapsed()
    })
}

#[test]
fn a_rank_that_never_arrives_is_an_error_after_the_time_that_nccl_has() {
    let (here, lost) = (Double::with(&[]), Double::with(&[("NEVER_ARRIVES", 1)]));
    let (started, said) = (Instant::now(), AtomicU32::new(0));
    let waiting = || {
        said.fetch_add(1, Ordering::Relaxed);
    };
    let nccls = [here.nccl(), lost.nccl()];
    // NCCL may take longer to connect ranks than they take to meet.
    let outcomes = try_form_waiting(&nccls, SOON, &aborters::<2>(), &waiting);
    assert!((nccls[0].connect_within..PATIENCE / 2).contains(&started.elapsed()), "{:?}", started.elapsed());
    assert!(said.into_inner() > 0, "somebody else gives them up otherwise");
    let errors: Vec<_> =
        outcomes.into_iter().map(|outcome| outcome.expect_err("rank 1 never arrives")).collect();
    // The first rank whose deadline passes closes its connections, and the other may notice that before its own deadline.
    assert!(errors.iter().any(|error| matches!(error, GroupError::NcclNotReady { .. })), "{errors:?}");
    for error in errors {
        assert!(matches!(error, GroupError::NcclNotReady { .. } | GroupError::PeerLost { .. }), "{error}");
    }
    assert_eq!((here.misuses(), lost.misuses()), (0, 0));
}

#[test]
fn a_group_that_nccl_never_connects_can_be_aborted() {
    let (here, lost) = (Double::with(&[]), Double::with(&[("NEVER_ARRIVES", 1)]));
    let all = aborters::<2>();
    let outcomes = thread::scope(|scope| {
        scope.spawn(|| {
            wait_until("NCCL connects on both ranks", || (here.begun(), lost.begun()) == (1, 1));
            all.iter().for_each(Aborter::abort);
        });
        try_form(&[here.nccl(), lost.nccl()], PATIENCE, &all)
    });
    for outcome in outcomes {
        let error = outcome.expect_err("rank 1 never arrives");
        assert!(matches!(error, GroupError::Aborted { .. } | GroupError::PeerLost { .. }), "{error}");
    }
    assert_eq!((here.misuses(), lost.misuses()), (0, 0));
}

#[test]
fn two_ranks_on_one_gpu_are_refused_with_both_named() {
    let double = Double::with(&[]);
    let devices = [7, 8, 7].map(|id| {
        let device = double.device();
        device.call(id);
        Arc::new(device)
    });
    let nccls = devices.map(|device| double.nccl_on(device));
    for outcome in try_form(&nccls, PATIENCE, &aborters::<3>()) {
        let error = outcome.expect_err("NCCL would refuse it too, and say less");
        let GroupError::OneDevice { peers, .. } = &error else { panic!("{error}") };
        assert_eq!(peers.map(|peer| peer.rank), [0, 2]);
        let text = error.for_people();
        assert!(text.contains("same GPU") && text.contains("at most one worker for each GPU"), "{text}");
    }
    assert_eq!((double.begun(), double.misuses()), (0, 0));
}

/// They have met over TCP, and go on with that.
#[test]
fn two_ranks_on_one_gpu_can_sum_over_tcp() {
    let double = Double::with(&[]);
    let nccls = [7, 7].map(|id| {
        let device = double.device();
        device.call(id);
        double.nccl_on(Arc::new(device))
    });
    let met = try_meet(&nccls, PATIENCE, &aborters::<2>(), &|| ());
    let groups: Vec<_> = met.into_iter().map(|met| met.expect("they meet")).collect();
    thread::scope(|scope| {
        for met in groups {
            scope.spawn(move || {
                let Connected::OneDevice { mut meeting, peers } = met else { panic!("NCCL would refuse it") };
                assert_eq!(peers.map(|peer| peer.rank), [0, 1]);
                let mut sum = [3 + meeting.rank() as i64];
                meeting.all_reduce_i64(&mut sum).expect("they have met");
                assert_eq!(sum, [7]);
            });
        }
    });
    assert_eq!((double.begun(), double.misuses()), (0, 0));
}

#[test]
fn different_versions_are_refused_with_both_named() {
    let (old, new) = (Double::with(&[("VERSION", 22_105)]), Double::with(&[("VERSION", 22_703)]));
    let outcomes = try_form(&[old.nccl(), new.nccl(), old.nccl()], PATIENCE, &aborters::<3>());
    let errors: Vec<_> = outcomes.into_iter().map(|outcome| outcome.expect_err("they differ")).collect();
    let GroupError::NcclVersions { peer, .. } = errors[0] else { panic!("{}", errors[0]) };
    assert_eq!(
        errors[0].to_string(),
        format!(
            "generation 1 cannot be formed: rank 0 has NCCL 2.21.5, {peer} has NCCL 2.27.3, and different versions do \
             not talk to each other. Install the same libtorch on all workers."
        )
    );
    for (rank, other) in [(0, 1), (1, 0), (2, 1)] {
        assert!(
            matches!(errors[rank], GroupError::NcclVersions { rank: ours, peer, .. }
                if (ours, peer.rank) == (rank, other)),
            "{}",
            errors[rank]
        );
    }
}

/// The config's length depends on the version, and the double checks it.
#[test]
fn every_supported_version_gets_its_config() {
    for version in [21_801, 22_105, 22_602, 22_703, 22_803, 22_902, 23_000, 23_100] {
        let double = Double::with(&[("VERSION", version)]);
        let mut groups = form(&[&double]);
        groups[0].all_reduce_i64(&mut [1]).expect("one rank sums");
        assert_eq!(double.library.version(), NcclVersion(u32::try_from(version).expect("it is positive")));
    }
}

#[test]
fn a_version_that_is_too_old_is_refused() {
    let error = double::open_with("VERSION", 21_705).expect_err("it is too old");
    let GroupError::NcclTooOld { library, .. } = &error else { panic!("{error}") };
    assert_eq!(
        error.to_string(),
        format!(
            "{library} is NCCL 2.17.5; accepted is 2.18.0 or later. Install a newer libtorch, or name a newer NCCL in \
             LSGAN_NCCL_LIB."
        )
    );
}

#[test]
fn a_library_that_is_missing_or_not_nccl_is_an_error_with_its_path() {
    let error = Library::open(Path::new("/nowhere/libnccl.so.2")).expect_err("there is none");
    let told = error.to_string();
    assert!(told.starts_with("NCCL cannot be used: /nowhere/libnccl.so.2: "), "{told}");
    assert!(told.contains("LSGAN_NCCL_LIB"), "{told}");
    let error = Library::open(Path::new("libc.so.6")).expect_err("libc is no NCCL");
    assert!(error.to_string().contains("ncclGetUniqueId"), "{error}");
}

#[test]
fn a_library_is_described_with_version_and_file() {
    let double = Double::with(&[]);
    let groups = form(&[&double]);
    let description = groups[0].description();
    assert!(description.starts_with("NCCL 2.27.3 from /"), "{description}");
}

/// Rank 1's NCCL notices a network error. Rank 0's never does; rank 0 learns of it over the side channel.
#[test]
fn an_asynchronous_error_ends_the_call_on_every_rank() {
    let (well, ill) = (Double::with(&[]), Double::with(&[]));
    let groups = form(&[&well, &ill]);
    ill.set("ASYNC_ERROR", 6);
    let errors =
        each(groups, |mut group| group.all_reduce_i64(&mut [1; 100]).expect_err("rank 1's NCCL fails"));
    assert!(matches!(errors[0], GroupError::PeerLost { .. }), "{}", errors[0]);
    assert_eq!(
        errors[1],
        GroupError::Nccl {
            generation: Generation(1),
            rank: 1,
            doing: "go on",
            code: 6,
            said: "remote process exited or there was a network error: said by the double".to_owned(),
        }
    );
    assert_eq!((well.misuses(), ill.misuses()), (0, 0));
}

/// `ncclCommAbort` takes long. The thread that aborts does not wait for it; the call does, and returns Aborted.
#[test]
fn a_slow_abort_holds_up_the_call_but_not_the_aborting_thread() {
    const SLOW: Duration = Duration::from_millis(300);
    let double = Double::with(&[("SLOW_ABORT_MS", 300), ("GARBAGE", 1)]);
    let (mut group, device, _absent) = with_an_absent_peer(&double);
    let aborting = abort_in_the_first_call(&group, &device);
    let started = Instant::now();
    let error = group.all_reduce_i64(&mut [1; 100]).expect_err("it is aborted");
    assert_eq!(error, GroupError::Aborted { generation: Generation(1) });
    assert!((SLOW..PATIENCE / 2).contains(&started.elapsed()), "{:?}", started.elapsed());
    assert!(
        aborting.join().expect("an abort does not panic") < SLOW / 2,
        "the aborting thread does not wait"
    );
    assert_eq!(group.barrier(), Err(error));
}

/// NCCL does not write to the caller's slice.
#[test]
fn garbage_never_reaches_a_slice() {
    let double = Double::with(&[("GARBAGE", 1)]);
    let (mut group, device, _absent) = with_an_absent_peer(&double);
    let aborting = abort_in_the_first_call(&group, &device);
    let mut values = vec![7; 100_000];
    group.all_reduce_i64(&mut values).expect_err("it is aborted");
    assert!(values.iter().all(|value| *value == 7));
    aborting.join().expect("an abort does not panic");
}

/// Runs `body` on a thread for each.
fn each<G: Send + 'static, R: Send + 'static>(
    groups: Vec<G>,
    body: impl Fn(G) -> R + Send + Copy + 'static,
) -> Vec<R> {
    let threads: Vec<_> = groups.into_iter().map(|group| thread::spawn(move || body(group))).collect();
    threads.into_iter().map(|thread| thread.join().expect("no rank panics")).collect()
}
