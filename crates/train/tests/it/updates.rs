//! `updates: simultaneous`: G's half reads D's weights of before D's update, whoever computes it.

use lsgan_spec::{Optimizer, OptimizersSpec, Part, Reduction, RunSpec, TensorData, Updates};
use lsgan_train::rehearsal::runs::{ALL, run_halves, small_dcgan, small_mlp};
use lsgan_train::{Replica, TrainError};

fn simultaneous(spec: RunSpec) -> RunSpec {
    RunSpec { updates: Updates::Simultaneous, ..spec }
}

fn replica(spec: &RunSpec) -> Replica {
    Replica::builder(spec).build().expect("the spec is valid")
}

/// After so many halves, alone.
fn after(spec: &RunSpec, halves: u64) -> Replica {
    let mut members = [replica(spec)];
    run_halves(&mut members, &[ALL], halves);
    let [member] = members;
    member
}

fn part(replica: &Replica, name: &str) -> Part {
    let parts = replica.export();
    parts.into_iter().find(|part| part.name == name).expect("the state has this part")
}

/// The bits of a part's tensors.
fn bits(part: &Part) -> Vec<u32> {
    let of = |data: &TensorData| match data {
        TensorData::F32(values) => values.iter().map(|value| value.to_bits()).collect(),
        TensorData::I64(_) => vec![],
    };
    part.tensors.iter().flat_map(|tensor| of(&tensor.data)).collect()
}

/// In the first step, G's update is that against a D which has not moved: the one of an alternating run whose D hardly
/// learns. D's update is that of any run.
#[test]
fn g_is_updated_against_the_d_that_the_step_began_with() {
    for spec in [small_mlp(), small_dcgan()] {
        let OptimizersSpec { generator, .. } = spec.optimizer;
        let still = Optimizer::Adam { learning_rate: 1e-38, beta1: 0.5, beta2: 0.999, epsilon: 1e-8 };
        let with_still_d = RunSpec { optimizer: OptimizersSpec::of(generator, still), ..spec.clone() };
        let [both, alternating, still] =
            [simultaneous(spec.clone()), spec.clone(), with_still_d].map(|spec| after(&spec, 2));
        let [g_both, g_alternating, g_still] =
            [&both, &alternating, &still].map(|of| bits(&part(of, "generator")));
        assert!(g_both == g_still, "G against a D that has not moved");
        assert!(g_both != g_alternating, "G against a D that has");
        let [d_both, d_alternating] = [&both, &alternating].map(|of| bits(&part(of, "discriminator")));
        assert!(d_both == d_alternating, "D's half is the same");
    }
}

/// Two workers share the virtual ranks, and between the halves a third takes the place of one, with the state of the other.
#[test]
fn a_worker_that_enters_between_the_halves_computes_the_same_bits() {
    let spec = simultaneous(small_mlp());
    let alone = after(&spec, 6).state_hash();
    let mut members = [replica(&spec), replica(&spec)];
    run_halves(&mut members, &[&[0, 2], &[1, 3]], 3);
    let [first, _] = members;
    let mut third = replica(&spec);
    third
        .receive_state(|bytes| -> Result<(), TrainError> {
            bytes.copy_from_slice(first.state_bytes());
            Ok(())
        })
        .expect("it is of the same run");
    let mut members = [first, third];
    run_halves(&mut members, &[&[0], &[1, 2, 3]], 3);
    assert!(members.iter().all(|member| member.state_hash() == alone));
}

/// Snapshots have no part of their own for it: between two steps it is D.
#[test]
fn a_run_goes_on_from_a_snapshot_and_can_take_a_step_back() {
    let spec = simultaneous(small_mlp());
    let through = after(&spec, 8);
    let mut resumed = replica(&spec);
    resumed.import(&after(&spec, 4).export(), Reduction(4)).expect("it is of the same run");
    assert_eq!(resumed.state_hash(), after(&spec, 4).state_hash(), "equal snapshots are equal states");
    let mut members = [resumed];
    run_halves(&mut members, &[ALL], 1);
    assert!(members[0].step_back());
    run_halves(&mut members, &[ALL], 4);
    assert_eq!(members[0].state_hash(), through.state_hash());
    // The parts are those of an alternating run.
    let names = |replica: &Replica| replica.export().into_iter().map(|part| part.name).collect::<Vec<_>>();
    assert_eq!(names(&through), names(&replica(&small_mlp())));
}

/// An alternating run's state is as it was before there were other ones.
#[test]
fn only_simultaneous_updates_take_the_memory() {
    let (both, alternating) = (replica(&simultaneous(small_mlp())), replica(&small_mlp()));
    let parameters = both.networks().discriminator.parameters.len();
    assert_eq!(both.state_bytes().len(), alternating.state_bytes().len() + parameters * size_of::<f32>());
}

#[test]
fn a_gpu_s_engine_refuses_it() {
    let spec = simultaneous(small_mlp());
    let rehearsal = Some(lsgan_train::rehearsal::Rehearsal::CallByCall);
    let refused = Replica::builder(&spec).rehearsal(rehearsal).build();
    assert!(matches!(refused, Err(TrainError::SimultaneousOnGpu)));
}
