//! Sample pictures: a function of the state and of the run's fixed z.

use lsgan_spec::*;
use lsgan_train::rehearsal::runs::{run_halves, small_dcgan, small_mlp};
use lsgan_train::{Replica, Sampler};

fn replica(spec: &RunSpec) -> Vec<Replica> {
    vec![Replica::builder(spec).build().expect("the spec is valid")]
}

fn sides(png: &[u8]) -> (u32, u32) {
    let picture = image::load_from_memory(png).expect("the picture is a PNG");
    (picture.width(), picture.height())
}

#[test]
fn a_grid_has_every_sample_and_a_plot_its_side() {
    let grid = replica(&small_dcgan())[0].sample_picture().expect("a grid");
    assert_eq!(sides(&grid), (4 * 34 + 2, 2 * 34 + 2));
    let mut colour = small_dcgan();
    colour.data.image = Some(ImageSpec::of(64, 3));
    assert_eq!(sides(&replica(&colour)[0].sample_picture().expect("a grid")), (4 * 66 + 2, 2 * 66 + 2));
    let plot = replica(&small_mlp())[0].sample_picture().expect("a plot");
    assert_eq!(sides(&plot), (512, 512));
}

#[test]
fn a_picture_is_a_function_of_the_state_and_training_goes_on_as_if_there_were_none() {
    for spec in [small_dcgan(), small_mlp()] {
        let mut members = replica(&spec);
        let first = members[0].sample_picture().expect("a picture");
        assert_eq!(first, members[0].sample_picture().expect("a picture"));
        run_halves(&mut members, &[&[0, 1, 2, 3]], 6);
        let later = members[0].sample_picture().expect("a picture");
        assert_ne!(first, later);
        let mut quiet = replica(&spec);
        run_halves(&mut quiet, &[&[0, 1, 2, 3]], 6);
        assert_eq!(quiet[0].state_hash(), members[0].state_hash());
        assert_eq!(quiet[0].sample_picture().expect("a picture"), later);
    }
}

#[test]
fn a_saved_generator_makes_the_picture_that_the_replica_makes() {
    for (weights, part) in [(SampleWeights::Ema, "generator_ema"), (SampleWeights::Raw, "generator")] {
        let mut spec = small_dcgan();
        spec.samples.weights = weights;
        let mut members = replica(&spec);
        run_halves(&mut members, &[&[0, 1, 2, 3]], 4);
        let parts = members[0].export();
        let part = parts.iter().find(|p| p.name == part).expect("exported");
        let sampler = Sampler::new(&spec).expect("valid");
        let weights = sampler.load(part).expect("it fits");
        let picture = sampler.picture(&weights.as_weights(), spec.samples.grid);
        assert_eq!(picture.expect("a picture"), members[0].sample_picture().expect("a picture"));
    }
}

#[test]
fn a_part_of_another_width_makes_no_picture() {
    let mut wide = small_dcgan();
    wide.model.generator = Generator::Dcgan { latent: Latent::Normal(16), width: 8 };
    let parts = replica(&wide)[0].export();
    let error = Sampler::new(&small_dcgan()).expect("valid").load(&parts[0]);
    let text = error.expect_err("another width").to_string();
    assert!(text.contains("main.0.weight is [16, 32, 4, 4], the run's is [16, 16, 4, 4]"), "{text}");
}
