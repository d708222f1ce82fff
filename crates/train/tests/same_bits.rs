//! The weights are a pure function of the run: not of how the virtual ranks are grouped, on how many threads
//! they are computed, or where a worker enters.

mod common;

use common::{compute_half, run_halves, small_dcgan, small_mlp};
use lsgan_spec::{Precision, ReductionMode, RunSpec};
use lsgan_train::{Device, Replica, TrainError};

/// Ten halves are five steps.
const HALVES: u64 = 10;

fn replicas(spec: &RunSpec, count: usize) -> Vec<Replica> {
    (0..count).map(|_| Replica::new(spec, Device::Cpu).expect("the spec is valid")).collect()
}

fn hash_after(spec: &RunSpec, owned: &[&[u32]]) -> blake3::Hash {
    let mut members = replicas(spec, owned.len());
    run_halves(&mut members, owned, HALVES);
    let hash = members[0].state_hash();
    for member in &members {
        assert_eq!(member.state_hash(), hash, "members of one group have the same state");
    }
    hash
}

fn specs() -> Vec<RunSpec> {
    let bf16 = RunSpec { precision: Precision::Bf16, ..small_dcgan() };
    vec![small_dcgan(), bf16, small_mlp()]
}

#[test]
fn any_grouping_of_the_virtual_ranks_gives_the_same_state() {
    for spec in specs() {
        let alone = hash_after(&spec, &[&[0, 1, 2, 3]]);
        assert_eq!(alone, hash_after(&spec, &[&[0, 1], &[2, 3]]));
        assert_eq!(alone, hash_after(&spec, &[&[3, 0], &[], &[2, 1]]));
        assert_eq!(alone, hash_after(&spec, &[&[0], &[1], &[2], &[3]]));
        let other = RunSpec { seed: spec.seed + 1, ..spec.clone() };
        assert_ne!(alone, hash_after(&other, &[&[0, 1, 2, 3]]), "the hash sees the weights");
    }
}

#[test]
fn the_number_of_threads_never_changes_a_bit() {
    for mut spec in specs() {
        for reduction in [ReductionMode::Exact, ReductionMode::Fast] {
            spec.reduction = reduction;
            spec.compute.threads = 1;
            let one = hash_after(&spec, &[&[0, 1, 2, 3]]);
            for threads in [2, 3] {
                spec.compute.threads = threads;
                assert_eq!(one, hash_after(&spec, &[&[0, 1, 2, 3]]), "{reduction:?}, {threads} threads");
            }
        }
    }
}

#[test]
fn a_step_back_from_the_middle_of_a_step_is_its_beginning_and_the_same_bits_follow() {
    for spec in specs() {
        let mut one = replicas(&spec, 1);
        run_halves(&mut one, &[&[0, 1, 2, 3]], 4);
        let before = one[0].state_hash();
        assert!(!one[0].step_back(), "it is at the beginning of a step");
        run_halves(&mut one, &[&[0, 1, 2, 3]], 1);
        assert!(one[0].step_back());
        assert_eq!(one[0].state_hash(), before);
        run_halves(&mut one, &[&[0, 1, 2, 3]], HALVES - 4);
        assert_eq!(one[0].state_hash(), hash_after(&spec, &[&[0, 1, 2, 3]]));
    }
}

#[test]
fn whoever_came_in_at_the_middle_of_a_step_cannot_step_back() {
    let spec = small_dcgan();
    let mut first = replicas(&spec, 1);
    run_halves(&mut first, &[&[0, 1, 2, 3]], 3);
    let bytes = first[0].state_bytes().to_vec();
    let mut joiner = replicas(&spec, 1);
    run_halves(&mut joiner, &[&[0, 1, 2, 3]], 1);
    let received = joiner[0].receive_state(|state| {
        state.copy_from_slice(&bytes);
        Ok::<(), TrainError>(())
    });
    assert!(received.is_ok());
    assert!(!joiner[0].step_back());
}

#[test]
fn a_fake_that_is_computed_again_is_the_same() {
    for spec in specs() {
        let kept = hash_after(&spec, &[&[0, 1, 2, 3]]);
        for at_most in [0, 1, 3] {
            let mut members = replicas(&spec, 1);
            members[0].keep_fakes_at_most(at_most);
            run_halves(&mut members, &[&[0, 1, 2, 3]], HALVES);
            assert_eq!(kept, members[0].state_hash(), "{at_most} fakes kept");
        }
    }
}

/// At every reduction a new replica takes the state, once from a peer and once from a snapshot, and goes on
/// with other ranks than before.
#[test]
fn a_worker_can_enter_at_either_half() {
    for spec in specs() {
        let undisturbed = hash_after(&spec, &[&[0, 1, 2, 3]]);
        for entry in 0..HALVES {
            let mut members = replicas(&spec, 2);
            run_halves(&mut members[..1], &[&[0, 1, 2, 3]], entry);
            let bytes = members[0].state_bytes().to_vec();
            let received: Result<(), TrainError> = members[1].receive_state(|state| {
                state.copy_from_slice(&bytes);
                Ok(())
            });
            received.expect("a peer's state fits");
            let parts = members[0].export();
            let mut resumed = replicas(&spec, 1);
            resumed[0].import(&parts, members[0].reduction()).expect("a snapshot fits");
            assert_eq!(resumed[0].state_hash(), members[0].state_hash());
            members.append(&mut resumed);
            run_halves(&mut members, &[&[1], &[0, 3], &[2]], HALVES - entry);
            for member in &members {
                assert_eq!(undisturbed, member.state_hash(), "entered at reduction {entry}");
            }
        }
    }
}

/// A half that was computed and never applied, as after an abort, leaves nothing behind.
#[test]
fn an_aborted_half_leaves_no_trace() {
    let spec = small_dcgan();
    let undisturbed = hash_after(&spec, &[&[0, 1, 2, 3]]);
    let mut members = replicas(&spec, 1);
    for _ in 0..HALVES {
        compute_half(&mut members, &[&[2, 1]]);
        run_halves(&mut members, &[&[0, 1, 2, 3]], 1);
    }
    assert_eq!(undisturbed, members[0].state_hash());
}

/// What a peer's broken broadcast leaves is not taken for a state.
#[test]
fn half_a_state_is_never_kept() {
    let spec = small_dcgan();
    let mut members = replicas(&spec, 1);
    let fresh = members[0].state_hash();
    run_halves(&mut members, &[&[0, 1, 2, 3]], 3);
    let aborted: Result<(), TrainError> = members[0].receive_state(|state| {
        state[..1000].fill(7);
        Err(TrainError::Data { problem: "the peer died" })
    });
    assert!(matches!(aborted, Err(TrainError::Data { problem: "the peer died" })));
    assert_eq!((members[0].state_hash(), members[0].reduction().0), (fresh, 0));
    let foreign: Result<(), TrainError> = members[0].receive_state(|state| {
        state.fill(1);
        Ok(())
    });
    assert!(matches!(foreign, Err(TrainError::PeerLayout { .. })));
    assert_eq!(members[0].state_hash(), fresh);
    run_halves(&mut members, &[&[0, 1, 2, 3]], HALVES);
    assert_eq!(members[0].state_hash(), hash_after(&spec, &[&[0, 1, 2, 3]]));
}
