//! Sums on the device with an update queued behind each, as in a training step (`nccl::flag`).
//!
//! The model of an update: it reads the copy of the abort flag that was queued before it. Where that is 0, it adds the
//! sums to the weights and counts a reduction; otherwise it does nothing.

mod local;

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use local::double::{self, Double, HostDevice, try_form, wait_until};
use local::{PATIENCE, aborter};
use lsgan_collective::nccl::device::{Device, Mark, MemoryKind};
use lsgan_collective::nccl::{AbortFlag, ElementType, Nccl, NcclGroup};
use lsgan_collective::{Aborter, Group, GroupError};
use lsgan_spec::Generation;

const COUNT: usize = 1000;

/// One rank: its device, its group, and the state of its updates, which does not move until the stream is drained.
struct Rank {
    device: Arc<HostDevice>,
    group: NcclGroup,
    flag: Arc<AbortFlag>,
    state: Box<State>,
}

struct State {
    sums: [i64; COUNT],
    weights: [i64; COUNT],
    applied: u64,
    flag_on_device: u32,
}

impl Rank {
    fn new(device: Arc<HostDevice>, group: NcclGroup) -> Self {
        let state = State { sums: [0; COUNT], weights: [0; COUNT], applied: 0, flag_on_device: 0 };
        Self { device, flag: group.abort_flag(), group, state: Box::new(state) }
    }

    /// Two ranks, with these aborters.
    fn pair(double: &Double, aborters: &[Aborter; 2]) -> [Self; 2] {
        double::pair(double, aborters).map(|(device, group)| Self::new(device, group))
    }

    /// A group of one with these changes to its [`Nccl`].
    fn alone(double: &Double, aborter: &Aborter, change: impl FnOnce(&mut Nccl)) -> Self {
        let device = Arc::new(double.device());
        let mut nccl = double.nccl_on(Arc::clone(&device) as Arc<dyn Device>);
        change(&mut nccl);
        let mut formed = try_form(&[nccl], PATIENCE, std::slice::from_ref(aborter));
        Self::new(device, formed.remove(0).expect("one rank is there"))
    }

    /// Queues one half step: gradients, their sum, the flag, the update.
    fn queue_step(&mut self, gradient: i64) -> Result<(), GroupError> {
        let state = std::ptr::from_mut(&mut *self.state) as usize;
        // SAFETY: only the stream uses the state until it is drained, which the tests wait for before they read it.
        let state_on_device = move || unsafe { &mut *(state as *mut State) };
        self.device.queue(move || state_on_device().sums = [gradient; COUNT]);
        // SAFETY: as above.
        unsafe {
            let sums = (&raw mut (*(state as *mut State)).sums).cast::<c_void>();
            self.group.enqueue_all_reduce(sums, COUNT, ElementType::I64)?;
        }
        let flag = self.flag.address() as usize;
        self.device.queue(move || {
            // SAFETY: the flag lives until the stream is drained; both sides access it atomically.
            let flag = unsafe { AtomicU32::from_ptr(flag as *mut u32) };
            state_on_device().flag_on_device = flag.load(Ordering::SeqCst);
        });
        self.device.queue(move || {
            let state = state_on_device();
            if state.flag_on_device == 0 {
                std::iter::zip(&mut state.weights, state.sums).for_each(|(weight, sum)| *weight += sum);
                state.applied += 1;
            }
        });
        Ok(())
    }
}

#[test]
fn what_is_queued_behind_a_sum_sees_it_whole() {
    for lazy_ms in [0, 2] {
        let double = Double::with(&[("LAZY_MS", lazy_ms)]);
        let [mut first, mut second] = Rank::pair(&double, &[aborter(), aborter()]);
        for step in 1..=20 {
            first.queue_step(step).expect("all are well");
            second.queue_step(10 * step).expect("all are well");
        }
        for rank in [&mut first, &mut second] {
            rank.group.drain().expect("all are well");
            assert_eq!((rank.state.applied, rank.flag.is_set()), (20, false));
            assert_eq!(rank.state.weights, [11 * 210; COUNT]);
        }
        drop((first, second));
        assert_eq!(double.misuses(), 0);
    }
}

/// The other rank never makes the second call. This one's all-reduce is aborted and leaves garbage; the update behind it
/// must do nothing, and the count must say so.
#[test]
fn weights_do_not_change_when_an_aborted_sum_leaves_garbage() {
    for lazy_ms in [0, 2] {
        let double = Double::with(&[("LAZY_MS", lazy_ms), ("GARBAGE", 1)]);
        let aborters = [aborter(), aborter()];
        let [mut first, mut second] = Rank::pair(&double, &aborters);
        first.queue_step(1).expect("all are well");
        second.queue_step(2).expect("all are well");
        first.queue_step(100).expect("it does not wait for the sum");
        aborters.iter().for_each(Aborter::abort);
        let aborted = Err(GroupError::Aborted { generation: Generation(1) });
        assert_eq!(first.group.drain(), aborted);
        assert!(first.flag.is_set());
        assert!(
            first.state.sums.iter().any(|sum| ![1, 2, 3, 100].contains(sum)),
            "the double left no garbage"
        );
        // The first step may be applied or not, but whole, and as counted.
        assert!(first.state.applied <= 1, "{}", first.state.applied);
        assert_eq!(first.state.weights, [3 * first.state.applied as i64; COUNT]);
        assert_eq!(first.queue_step(5), aborted);
        assert_eq!(second.group.drain(), aborted);
        assert_eq!(second.state.weights, [3 * second.state.applied as i64; COUNT]);
    }
}

/// The second rank's host does not run while the first one aborts, which waits for it only so long. Its own sum then ends with
/// garbage, and its flag is not set.
#[test]
fn what_a_starved_rank_has_applied_is_not_believed() {
    let double = Double::with(&[("POISON", 1)]);
    let devices = [(); 2].map(|()| Arc::new(double.device()));
    devices[1].starve();
    let aborters = [aborter(), aborter()];
    let nccls = devices.clone().map(|device| double.nccl_on(device));
    let mut groups = try_form(&nccls, PATIENCE, &aborters).into_iter();
    let [mut first, mut second] =
        devices.map(|device| Rank::new(device, groups.next().expect("two").expect("both are there")));
    first.queue_step(1).expect("all are well");
    second.queue_step(2).expect("all are well");
    for rank in [&mut first, &mut second] {
        rank.group.drain().expect("all are well");
        rank.group.update_made();
    }
    second.queue_step(100).expect("it does not wait for the sum");
    let (begun, trusts) =
        (second.device.mark().expect("a mark"), [first.group.trust(), second.group.trust()]);
    aborters[0].abort();
    wait_until("the first has given it up", || second.device.has_reached(begun).expect("it runs"));
    let device = Arc::clone(&second.device);
    let (mut second, drained) = thread::scope(|scope| {
        let (returned, returns) = channel();
        let draining = scope.spawn(move || {
            let drained = second.group.drain();
            returned.send(()).expect("it is waited for");
            (second, drained)
        });
        let early = returns.recv_timeout(Duration::from_millis(100));
        device.feed();
        assert!(early.is_err(), "it believed its sum before it had read what the first one said");
        draining.join().expect("draining does not panic")
    });
    assert!(matches!(drained, Err(GroupError::PeerLost { .. })), "{drained:?}");
    assert_eq!((second.state.applied, second.state.weights == [3; COUNT]), (2, false), "it applied garbage");
    second.group.update_made();
    drop((first.group, second.group));
    assert_eq!(trusts.map(|trust| trust.is_lost()), [false, true]);
}

/// The abort comes later in each round, while both ranks run ahead of their devices.
#[test]
fn an_abort_at_any_moment_leaves_whole_updates() {
    let mut seen = Vec::new();
    for round in 0..60 {
        let double = Double::with(&[("GARBAGE", 1)]);
        let aborters = [aborter(), aborter()];
        let ranks = Rank::pair(&double, &aborters);
        let device = Arc::clone(&ranks[0].device);
        let running: Vec<_> = ranks
            .into_iter()
            .map(|mut rank| {
                std::thread::spawn(move || {
                    while rank.queue_step(1).is_ok() {}
                    rank.group.drain().expect_err("it was aborted");
                    assert_eq!(rank.state.weights, [2 * rank.state.applied as i64; COUNT]);
                    rank.state.applied
                })
            })
            .collect();
        // A step is four jobs, so the abort comes after another job of it in each round.
        wait_until("that many jobs are queued", || device.queued() >= round);
        aborters.iter().for_each(Aborter::abort);
        let applied: Vec<_> =
            running.into_iter().map(|rank| rank.join().expect("updates are whole")).collect();
        assert!(applied[0].abs_diff(applied[1]) <= 1, "a sum needs both ranks: {applied:?}");
        assert_eq!(double.misuses(), 0);
        seen.extend(applied);
    }
    assert!(seen.iter().max() > Some(&3), "the rounds reached no steps: {seen:?}");
}

/// Only the other rank is aborted. Its abort makes this rank's call finish with garbage; this rank's flag must be set by
/// then.
#[test]
fn weights_do_not_change_when_another_rank_aborts() {
    let double = Double::with(&[("POISON", 1), ("GARBAGE", 1)]);
    for _round in 0..100 {
        let aborters = [aborter(), aborter()];
        let [mut first, second] = Rank::pair(&double, &aborters);
        first.queue_step(1).expect("it does not wait for the sum");
        aborters[1].abort();
        let error = first.group.drain().expect_err("the other rank is gone");
        assert!(matches!(error, GroupError::PeerLost { .. }), "{error}");
        assert_eq!((first.state.applied, first.state.weights), (0, [0; COUNT]));
        drop(second);
    }
    assert_eq!(double.misuses(), 0);
}

/// NCCL still works on the call when the abort comes, and puts it on the stream before the abort takes effect. The error
/// must not be returned before: the caller would free the buffer, and the call would write to it.
#[test]
fn a_call_that_reaches_the_stream_late_is_waited_for() {
    let double = Double::with(&[("LAZY_MS", 50), ("SLOW_ABORT_MS", 200), ("GARBAGE", 1)]);
    let aborters = [aborter(), aborter()];
    let [mut first, _second] = Rank::pair(&double, &aborters);
    std::thread::scope(|scope| {
        let calling = scope.spawn(|| first.queue_step(1));
        wait_until("the call is made", || double.called() == 1);
        aborters.iter().for_each(Aborter::abort);
        let aborted = Err(GroupError::Aborted { generation: Generation(1) });
        assert_eq!(calling.join().expect("no panic"), aborted);
    });
    assert_eq!(first.device.queued(), 2, "gradients and their sum are on the stream");
    assert!(first.device.has_reached(Mark(2)).expect("it never fails"));
}

/// The host may run one call ahead of its device, no further: with a full stream NCCL cannot be aborted.
#[test]
fn a_second_call_waits_for_the_first_until_an_abort() {
    let double = Double::with(&[]);
    let aborters = [aborter(), aborter()];
    let [mut first, _second] = Rank::pair(&double, &aborters);
    first.queue_step(1).expect("it does not wait for the sum");
    std::thread::scope(|scope| {
        let device = Arc::clone(&first.device);
        let waiting = scope.spawn(|| first.queue_step(2));
        wait_until("the second step's gradients are queued", || device.queued() >= 5);
        aborters.iter().for_each(Aborter::abort);
        assert!(waiting.join().expect("no panic").is_err());
    });
    assert_eq!(first.device.queued(), 5, "the second sum was queued behind one that hangs");
    assert_eq!(first.state.applied, 0);
}

/// The host queues the next half before it checks an update, and waits only for that update.
#[test]
fn an_update_is_waited_for_while_more_is_queued_behind_it() {
    let double = Double::with(&[("LAZY_MS", 2)]);
    let [mut first, mut second] = Rank::pair(&double, &[aborter(), aborter()]);
    for step in 1..=3 {
        let (release, released) = std::sync::mpsc::channel::<()>();
        first.queue_step(1).expect("all are well");
        let mark = first.group.mark_queued().expect("all are well");
        first.device.queue(move || _ = released.recv());
        second.queue_step(2).expect("all are well");
        first.group.wait_for(mark).expect("the device is past it");
        assert_eq!((first.state.applied, first.state.weights[0]), (step, 3 * step as i64));
        release.send(()).expect("the stream waits");
    }
    for rank in [&mut first, &mut second] {
        rank.group.drain().expect("all are well");
    }
    drop((first, second));
    assert_eq!(double.misuses(), 0);
}

/// The same with an aborted sum: the error comes when the device has finished the work queued ahead, too.
#[test]
fn an_update_that_is_waited_for_is_not_made_after_an_abort() {
    let double = Double::with(&[("GARBAGE", 1)]);
    let aborters = [aborter(), aborter()];
    let [mut first, _second] = Rank::pair(&double, &aborters);
    first.queue_step(1).expect("it does not wait for the sum");
    let mark = first.group.mark_queued().expect("all are well");
    let ahead = Arc::new(AtomicU32::new(0));
    let done = Arc::clone(&ahead);
    first.device.queue(move || done.store(1, Ordering::SeqCst));
    aborters.iter().for_each(Aborter::abort);
    let aborted = Err(GroupError::Aborted { generation: Generation(1) });
    assert_eq!(first.group.wait_for(mark), aborted);
    assert_eq!((first.state.applied, first.state.weights), (0, [0; COUNT]));
    assert_eq!(ahead.load(Ordering::SeqCst), 1, "the device has not finished what was queued");
    assert_eq!(first.group.mark_queued().map(|_| ()), aborted);
}

/// A device that never finishes its work: the group's error says that its buffers are not free, and it frees none of them.
#[test]
fn a_device_that_does_not_finish_is_an_error() {
    const DRAIN_WITHIN: Duration = Duration::from_millis(100);
    let double = Double::with(&[]);
    let aborter = aborter();
    let rank = Rank::alone(&double, &aborter, |nccl| nccl.drain_within = DRAIN_WITHIN);
    let Rank { device, flag, mut group, .. } = rank;
    drop(flag);
    group.all_reduce_i64(&mut [1]).expect("one rank sums");
    let held = device.allocated();
    let (release, released) = std::sync::mpsc::channel::<()>();
    device.queue(move || _ = released.recv());
    aborter.abort();
    let told = GroupError::NotDrained { generation: Generation(1), after: DRAIN_WITHIN };
    assert_eq!(group.drain(), Err(told.clone()));
    assert_eq!(group.barrier(), Err(told));
    drop(group);
    // The flag is freed, the buffers for slices are not.
    assert_eq!(device.allocated(), held - 1);
    release.send(()).expect("the stream waits");
    let end = device.mark().expect("it never fails");
    wait_until("the stream ends", || device.has_reached(end).expect("it never fails"));
}

#[test]
fn a_group_gives_all_its_memory_back() {
    let Rank { device, flag, mut group, .. } = Rank::alone(&Double::with(&[]), &aborter(), |_| ());
    drop(flag);
    group.all_reduce_f32(&mut [1.0; 10]).expect("one rank sums");
    group.broadcast(0, &mut [1; 1000]).expect("one rank broadcasts");
    assert!(device.allocated() > 0);
    drop(group);
    assert_eq!(device.allocated(), 0);
    let one = device.alloc(MemoryKind::Device, 8).expect("there is memory");
    // SAFETY: just allocated so.
    unsafe { device.free(MemoryKind::Device, one, 8) };
}

/// Without a communicator its values are their own sums, and its updates are queued behind them as usual.
#[test]
fn a_rank_alone_needs_no_nccl() {
    let double = Double::with(&[("NEVER_ARRIVES", 1)]);
    let aborter = aborter();
    let mut rank = Rank::alone(&double, &aborter, |nccl| nccl.also_alone = false);
    rank.group.broadcast(0, &mut [1]).expect("one rank broadcasts");
    (1..=4).for_each(|step| rank.queue_step(step).expect("it is well"));
    rank.group.drain().expect("it is well");
    assert_eq!((rank.state.applied, rank.state.weights), (4, [10; COUNT]));
    aborter.abort();
    assert_eq!(rank.queue_step(5), Err(GroupError::Aborted { generation: Generation(1) }));
    assert!(rank.flag.is_set());
    assert_eq!(double.begun(), 0);
}
