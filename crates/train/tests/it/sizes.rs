//! Networks that the small runs do not have: sides of more than 32 pixels, and classes of other models than dcgan. One whole step of
//! each, forward and backward through both networks.

use lsgan_spec::{
    ClassesSpec, Conditioning, Discriminator, Generator, ImageSpec, Latent, ModelSpec, RunSpec, TensorData,
};
use lsgan_train::Replica;
use lsgan_train::rehearsal::runs::{ALL, run_halves, small_dcgan};

/// So narrow that a step is cheap: what is tried is how layers fit together.
const WIDTH: u32 = 2;
const LATENT: Latent = Latent::Normal(16);

fn with(size: u32, generator: Generator, discriminator: Discriminator) -> RunSpec {
    let mut spec = small_dcgan();
    spec.data.image = Some(ImageSpec::of(size, 3));
    spec.model = ModelSpec::of(generator, discriminator);
    spec.batch.per_rank = 2;
    spec
}

fn resnet(size: u32) -> RunSpec {
    let generator = Generator::Resnet { latent: LATENT, width: WIDTH };
    with(size, generator, Discriminator::Resnet { width: WIDTH })
}

fn dcgan(size: u32) -> RunSpec {
    let generator = Generator::Dcgan { latent: LATENT, width: WIDTH };
    with(size, generator, Discriminator::Dcgan { width: WIDTH })
}

fn lsgan112() -> RunSpec {
    let generator = Generator::Lsgan112 { latent: LATENT, width: WIDTH };
    with(112, generator, Discriminator::Lsgan112 { width: WIDTH })
}

fn conditional(mut spec: RunSpec) -> RunSpec {
    spec.model.classes = ClassesSpec { count: 10, embedding: 8, ..ClassesSpec::default() };
    spec
}

/// Of classes of which D reads an embedding beside its features.
fn concatenating(spec: RunSpec) -> RunSpec {
    let mut spec = conditional(spec);
    spec.model.classes.discriminator = Conditioning::Concatenation;
    spec
}

/// A worker for each of these sets of virtual ranks, before the first step.
fn fresh(spec: &RunSpec, owned: &[&[u32]]) -> Vec<Replica> {
    let member = |_: &&[u32]| Replica::builder(spec).build().expect("the spec is valid");
    owned.iter().map(member).collect()
}

/// The weights of both networks by their names, without biases and running statistics: a bias before a batch norm changes nothing,
/// and so is not changed.
fn weights(replica: &Replica) -> Vec<(String, TensorData)> {
    let parts = replica.export().into_iter();
    let networks = parts.filter(|part| ["generator", "discriminator"].contains(&part.name.as_str()));
    let named = networks.flat_map(|part| {
        part.tensors.into_iter().map(move |tensor| (format!("{}: {}", part.name, tensor.name), tensor.data))
    });
    named.filter(|(name, _)| name.ends_with(".weight")).collect()
}

#[test]
fn a_step_of_two_workers_has_the_bits_of_one_and_teaches_every_layer() {
    for (name, spec) in [
        ("resnet, 64 pixels", resnet(64)),
        ("resnet, 128 pixels", resnet(128)),
        ("dcgan, 256 pixels", dcgan(256)),
        ("lsgan112, 10 classes", conditional(lsgan112())),
        ("resnet, 10 classes", conditional(resnet(32))),
        ("resnet, 10 classes beside features", concatenating(resnet(32))),
        ("dcgan, 10 classes beside features", concatenating(dcgan(32))),
    ] {
        let mut alone = fresh(&spec, &[ALL]);
        let before = weights(&alone[0]);
        run_halves(&mut alone, &[ALL], 2);
        let owned: [&[u32]; 2] = [&[3, 0], &[1, 2]];
        let mut pair = fresh(&spec, &owned);
        run_halves(&mut pair, &owned, 2);
        for member in &pair {
            assert_eq!(member.state_hash(), alone[0].state_hash(), "{name}");
        }
        let after = weights(&alone[0]);
        assert!(before.len() > 8 && before.len() == after.len(), "{name}");
        for ((layer, before), (_, after)) in before.iter().zip(&after) {
            assert!(before != after, "{name}, {layer}: it has learned nothing");
        }
    }
}
