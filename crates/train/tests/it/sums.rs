//! The mean that a sum holds, and runs whose models do not fit their data.

use lsgan_spec::*;
use lsgan_train::rehearsal::runs::{ALL, compute_half, small_dcgan, small_mlp};
use lsgan_train::{Metrics, Replica, Words};

fn replicas(spec: &RunSpec, count: usize) -> Vec<Replica> {
    (0..count).map(|_| Replica::builder(spec).build().expect("the spec is valid")).collect()
}

/// The loss of four ranks is the mean of the losses that each has alone in a run of one rank with its noise.
#[test]
fn the_loss_is_the_mean_over_the_virtual_ranks() {
    let mut four = replicas(&small_dcgan(), 1);
    compute_half(&mut four, &[ALL]);
    let mean = four[0].apply(Metrics::Read).expect("good").metrics.expect("asked for").get(scalars::LOSS_D);
    let alone = |rank: u32| {
        let mut members = replicas(&small_dcgan(), 4);
        compute_half(&mut members, &[&[0], &[1], &[2], &[3]]);
        let taken = members[rank as usize].take_words();
        let [Words::Wide(words)] = &taken[..] else { panic!("a small network's words are in one piece") };
        // One word of marks, four of control, then the loss at 2^24, divided by V = 4.
        words[5] as f64 / f64::from(1 << 24) * 4.0
    };
    let by_hand = (0..4).map(alone).sum::<f64>() / 4.0;
    assert!((mean - by_hand).abs() < 1e-6, "{mean} instead of {by_hand}");
}

#[test]
fn models_and_data_that_do_not_fit_are_refused() {
    let refuse = |change: &dyn Fn(&mut RunSpec), text: &str| {
        let mut spec = small_dcgan();
        change(&mut spec);
        let error = Replica::builder(&spec).build().err().expect("refused");
        assert_eq!(error.to_string(), text);
    };
    let sized = |size, channels| {
        move |spec: &mut RunSpec| {
            spec.data.image = Some(ImageSpec::of(size, channels));
        }
    };
    let dcgan = "dcgan works on pictures of 32, 64, 128 or 256 pixels with 1 or 3 channels";
    refuse(
        &sized(60, 1),
        &format!("{dcgan}, but the run's samples are [60, 60, 1]; choose another model or data.image"),
    );
    refuse(
        &sized(64, 2),
        &format!("{dcgan}, but the run's samples are [64, 64, 2]; choose another model or data.image"),
    );
    refuse(
        &|spec| spec.model = small_mlp().model,
        "mlp works on 2-D points, but the run's samples are [32, 32, 1]; choose another model or data.image",
    );
    refuse(
        &|spec| spec.data.image = None,
        "pictures need their size and channels; see data.image in the run's file",
    );
}
