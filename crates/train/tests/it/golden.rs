//! One step or more against the numbers of real PyTorch; `reference/mod.rs` says how near they must come.

use std::collections::BTreeSet;
use std::path::Path;

use lsgan_spec::{NamedTensor, Part, Reduction, Step, TensorData};
use lsgan_train::{Device, Replica};

use crate::reference::{self, Fixture, Share, spec};

/// Where the fixtures are.
fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/reference"))
}

fn steps_are_pytorchs(name: &str) {
    for Share { what, share, tolerance } in reference::shares(folder(), name, Device::Cpu) {
        assert!(share <= tolerance, "{what}: off by {share:e} of its norm, accepted are {tolerance:e}");
    }
}

#[test]
fn three_steps_of_dcgan_are_pytorchs() {
    steps_are_pytorchs("dcgan32");
}

#[test]
fn three_steps_of_lsgan112_are_pytorchs() {
    steps_are_pytorchs("lsgan112");
}

#[test]
fn steps_of_residual_networks_are_pytorchs() {
    for name in ["resnet32", "resnet64"] {
        steps_are_pytorchs(name);
    }
}

#[test]
fn three_steps_of_dcgan_with_256_pixels_are_pytorchs() {
    steps_are_pytorchs("dcgan256");
}

/// A class for each sample, real or fake; R1 with the real ones'.
#[test]
fn three_steps_of_a_conditional_network_are_pytorchs() {
    steps_are_pytorchs("conditional");
}

/// D reads an embedding of the class beside its features; R1 goes through it twice.
#[test]
fn three_steps_of_a_network_that_reads_classes_beside_features_are_pytorchs() {
    steps_are_pytorchs("concatenation");
}

/// AdamW, a warm-up and a cosine, hinge, R1 at every second step.
#[test]
fn three_steps_with_adamw_a_schedule_and_r1_are_pytorchs() {
    steps_are_pytorchs("adamw-r1");
}

/// RMSProp with and without momentum, gradients clipped by norm.
#[test]
fn three_steps_with_rmsprop_and_clipping_are_pytorchs() {
    steps_are_pytorchs("rmsprop-clip");
}

/// WGAN-GP without batch norm in D, all pictures augmented.
#[test]
fn three_steps_of_wgan_gp_with_augmentation_are_pytorchs() {
    steps_are_pytorchs("wgan-gp-augment");
}

#[test]
fn three_steps_with_spectral_normalisation_are_pytorchs() {
    steps_are_pytorchs("spectral-norm");
}

/// With a schedule, and R1 at steps of its own.
#[test]
fn five_steps_with_two_updates_of_d_for_each_of_g_are_pytorchs() {
    steps_are_pytorchs("discriminator-steps");
}

/// So `load_state_dict(load_file("generator.safetensors"))` works, strictly.
#[test]
fn exported_names_shapes_and_counters_are_those_of_pytorchs_state_dicts() {
    for name in reference::NAMES {
        let fixture = Fixture::read(folder(), name);
        let mut replica = Replica::builder(&spec(name)).build().expect("the spec is valid");
        let applied = Step(fixture.steps()).first_reduction();
        replica.import(&fixture.initial(&replica), applied).expect("PyTorch's state dicts fit");
        let signature = |tensors: &[NamedTensor]| -> BTreeSet<_> {
            let counter = |data: &TensorData| match data {
                TensorData::I64(values) => Some(values.clone()),
                TensorData::F32(_) => None,
            };
            tensors.iter().map(|t| (t.name.clone(), t.shape.clone(), counter(&t.data))).collect()
        };
        let parts = replica.export();
        for part in parts.iter().filter(|part| part.name != "generator_ema") {
            let wanted = fixture.under(&format!("final.{}", part.name));
            assert_eq!(signature(&part.tensors), signature(&wanted), "{name}: {}", part.name);
        }
        let names = |part: &str| {
            let part = parts.iter().find(|p| p.name == part).expect("exported");
            part.tensors.iter().map(|t| t.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names("generator_ema"), names("generator"), "{name}");
    }
}

#[test]
fn what_was_exported_is_imported_to_the_same_state() {
    let fixture = Fixture::read(folder(), "lsgan112");
    let mut replica = Replica::builder(&spec("lsgan112")).build().expect("the spec is valid");
    replica.import(&fixture.initial(&replica), Reduction(4)).expect("PyTorch's state dicts fit");
    let (hash, parts) = (replica.state_hash(), replica.export());
    let mut other = Replica::builder(&spec("lsgan112")).build().expect("the spec is valid");
    assert_ne!(other.state_hash(), hash);
    other.import(&parts, Reduction(4)).expect("our own parts fit");
    assert_eq!((other.state_hash(), other.export() == parts), (hash, true));
}

#[test]
fn a_state_that_does_not_fit_is_refused_with_the_tensor_and_changes_nothing() {
    let mut replica = Replica::builder(&spec("dcgan32")).build().expect("the spec is valid");
    let before = replica.state_hash();
    let good = replica.export();
    let mut refuse = |change: &dyn Fn(&mut Vec<Part>), what: &str| {
        let mut parts = good.clone();
        change(&mut parts);
        let error = replica.import(&parts, Reduction(2)).expect_err("a state that does not fit").to_string();
        assert!(error.contains(what), "{error}");
        assert_eq!(replica.state_hash(), before);
    };
    refuse(&|parts| drop(parts.remove(2)), "the part discriminator is missing");
    refuse(&|parts| drop(parts[0].tensors.remove(0)), "generator has no main.0.weight");
    refuse(
        &|parts| parts[2].tensors[0].shape = vec![4, 2, 4, 4],
        "discriminator: main.0.weight is [4, 2, 4, 4]",
    );
    refuse(&|parts| parts[0].tensors[0].data = TensorData::I64(vec![]), "main.0.weight holds integers");
    refuse(
        &|parts| {
            let mut extra = parts[0].tensors[0].clone();
            extra.name = "main.99.weight".to_owned();
            parts[0].tensors.push(extra);
        },
        "tensors of floats",
    );
}
