//! What every model must keep.

use std::collections::BTreeSet;

use lsgan_spec::{BatchNorm, ClassesSpec, Conditioning, Discriminator, Generator, Latent, ModelSpec};
use tch::{Kind, Tensor};

use super::{SampleShape, discriminator, generator};
use crate::flat::ALIGNMENT;
use crate::init::initialise;
use crate::layers::{Input, Network, Norm};
use crate::tensors::view;

/// One model at one size, with the parameter counts that its authors state (or PyTorch counts).
struct Row {
    name: &'static str,
    model: ModelSpec,
    sample: SampleShape,
    parameters: [usize; 2],
}

fn dcgan(name: &'static str, (size, channels): (u32, u32), width: u32, parameters: [usize; 2]) -> Row {
    let latent = Latent::Normal(100);
    let model = ModelSpec::of(Generator::Dcgan { latent, width }, Discriminator::Dcgan { width });
    Row { name, model, sample: SampleShape::Picture { size, channels }, parameters }
}

fn lsgan112(name: &'static str, parameters: [usize; 2]) -> Row {
    let (latent, width) = (Latent::Uniform(1024), 64);
    let model = ModelSpec::of(Generator::Lsgan112 { latent, width }, Discriminator::Lsgan112 { width });
    Row { name, model, sample: SampleShape::Picture { size: 112, channels: 3 }, parameters }
}

fn resnet(name: &'static str, parameters: [usize; 2]) -> Row {
    let (latent, width) = (Latent::Normal(64), 8);
    let model = ModelSpec::of(Generator::Resnet { latent, width }, Discriminator::Resnet { width });
    Row { name, model, sample: SampleShape::Picture { size: 32, channels: 3 }, parameters }
}

fn with(row: Row, batch_norm: BatchNorm) -> Row {
    Row { model: ModelSpec { batch_norm, ..row.model }, ..row }
}

/// Told 10 classes, of which G makes 64 numbers.
fn conditional(row: Row) -> Row {
    let classes = ClassesSpec { count: 10, embedding: 64, ..ClassesSpec::default() };
    Row { model: ModelSpec { classes, ..row.model }, ..row }
}

/// The same, and D makes 64 numbers of its own, beside what its last hidden layer reads.
fn concatenating(row: Row) -> Row {
    let mut row = conditional(row);
    row.model.classes.discriminator = Conditioning::Concatenation;
    row
}

fn mlp(name: &'static str, parameters: [usize; 2]) -> Row {
    let model = ModelSpec::of(
        Generator::Mlp { latent: Latent::Normal(256), width: 128, depth: 2, gain: 1.4 },
        Discriminator::Mlp { width: 128, depth: 2, gain: 1.4 },
    );
    Row { name, model, sample: SampleShape::Point, parameters }
}

fn rows() -> Vec<Row> {
    vec![
        dcgan("dcgan, 32 pixels, grey", (32, 1), 32, [369_600, 166_784]),
        dcgan("dcgan, 64 pixels, colour", (64, 3), 64, [3_576_704, 2_765_568]),
        dcgan("dcgan, 128 pixels, colour", (128, 3), 16, [1_107_680, 702_144]),
        dcgan("dcgan, 256 pixels, colour", (256, 3), 8, [1_109_360, 703_840]),
        resnet("resnet, 32 pixels", [62_635, 38_609]),
        with(resnet("resnet, no batch norm", [62_403, 38_353]), BatchNorm::None),
        lsgan112("lsgan112, colour", [15_591_427, 4_333_441]),
        // A norm has two numbers a channel, a bias one: 224 and 192 channels are normed.
        with(dcgan("dcgan, no batch norm", (32, 1), 32, [369_376, 166_592]), BatchNorm::None),
        with(dcgan("dcgan, batch norm in G", (32, 1), 32, [369_600, 166_592]), BatchNorm::Generator),
        with(dcgan("dcgan, batch norm in D", (32, 1), 32, [369_376, 166_784]), BatchNorm::Discriminator),
        // Its layers have biases anyway: 23·64 and 14·64 normed channels.
        with(lsgan112("lsgan112, no batch norm", [15_588_483, 4_331_649]), BatchNorm::None),
        // 10·64 of the embedding, 64 more inputs of G's first layer, 10 more outputs of D's last.
        conditional(dcgan(
            "dcgan, 10 classes",
            (32, 1),
            32,
            [369_600 + 640 + 64 * 2_048, 166_784 + 10 * 2_048],
        )),
        conditional(lsgan112(
            "lsgan112, 10 classes",
            [15_591_427 + 640 + 64 * 12_544, 4_333_441 + 10 * 25_089],
        )),
        conditional(resnet("resnet, 10 classes", [62_635 + 640 + 64 * 512, 38_609 + 10 * 513])),
        mlp("mlp", [49_666, 17_025]),
    ]
}

/// 10·64 of each embedding, 64 more inputs of G's first layer and of D's last hidden one.
fn concatenating_rows() -> [Row; 4] {
    let dcgan = dcgan(
        "dcgan, 10 classes beside features",
        (32, 1),
        32,
        [369_600 + 640 + 64 * 2_048, 166_784 + 640 + 64 * 2_048],
    );
    let lsgan112 = lsgan112(
        "lsgan112, 10 classes beside features",
        [15_591_427 + 640 + 64 * 12_544, 4_333_441 + 640 + 64 * 12_800],
    );
    // A 3x3 and a 1x1 convolution to 32 channels, and a batch norm.
    let resnet = resnet(
        "resnet, 10 classes beside features",
        [62_635 + 640 + 64 * 512, 38_609 + 640 + 64 * (288 + 32 + 2)],
    );
    let mlp = mlp("mlp, 10 classes beside features", [49_666 + 640 + 64 * 128, 17_025 + 640 + 64 * 128]);
    [dcgan, lsgan112, resnet, mlp].map(concatenating)
}

/// Runs every check over every model. Panics with the model's name and what it broke.
pub fn contract() {
    for row in rows().into_iter().chain(concatenating_rows()) {
        let g = generator(&row.model, row.sample).expect("the table's models are valid");
        let d = discriminator(&row.model, row.sample).expect("the table's models are valid");
        for (network, parameters) in [(&g, row.parameters[0]), (&d, row.parameters[1])] {
            let name = format!("{}, {}", row.name, network.name);
            assert_eq!(network.parameters.count(), parameters, "{name}: trainable parameters");
            names_are_unique_and_pytorchs(&name, network);
            leaves_are_views_of_the_flat_tensor(&name, network);
            initial_weights_are_a_function_of_the_seed(&name, network);
        }
        outputs_have_the_stated_shapes(row.name, &g, &d, (row.sample, row.model.classes));
    }
}

fn names_are_unique_and_pytorchs(name: &str, network: &Network) {
    let entries = || network.parameters.entries().iter().chain(network.statistics.entries());
    let names: BTreeSet<_> = entries().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names.len(), entries().count(), "{name}: a name comes twice");
    for entry in names {
        let parts: Vec<_> = entry.split('.').collect();
        let last = ["weight", "bias", "running_mean", "running_var", "weight_u"];
        // A number for each Sequential, in a residual block behind the name of its part.
        let numbered = |parts: &[&str]| matches!(parts, ["main" | "block" | "shortcut", at] if at.parse::<u32>().is_ok());
        let good = matches!(parts[..], [.., end] if last.contains(&end))
            && parts[0] == "main"
            && parts[..parts.len() - 1].chunks(2).all(numbered);
        assert!(good, "{name}: {entry} is not a name of a PyTorch Sequential called main");
    }
}

fn leaves_are_views_of_the_flat_tensor(name: &str, network: &Network) {
    let numbers: Vec<f32> = (0..network.parameters.len()).map(|i| i as f32).collect();
    let flat = Tensor::from_slice(&numbers);
    for entry in network.parameters.entries() {
        assert!(entry.offset.is_multiple_of(ALIGNMENT), "{name}: {} starts inside a cache line", entry.name);
        let leaf = view(&flat, entry);
        assert_eq!(leaf.size(), entry.size(), "{name}: shape of {}", entry.name);
        let offset = (leaf.data_ptr() as usize - flat.data_ptr() as usize) / size_of::<f32>();
        assert_eq!(offset, entry.offset, "{name}: {} does not lie in the flat tensor", entry.name);
        let last: Vec<i64> = entry.size().iter().map(|n| n - 1).collect();
        assert_eq!(
            leaf.double_value(&last),
            (entry.range().end - 1) as f64,
            "{name}: last of {}",
            entry.name
        );
    }
}

fn initial_weights_are_a_function_of_the_seed(name: &str, network: &Network) {
    let drawn = |seed| {
        let mut flat = vec![0.0; network.parameters.len()];
        initialise(seed, network.name, &network.parameters, &network.inits, &mut flat);
        flat
    };
    let first = drawn(1);
    assert!(first == drawn(1), "{name}: the same seed gives other weights");
    assert!(first != drawn(2), "{name}: another seed gives the same weights");
}

fn outputs_have_the_stated_shapes(
    name: &str,
    g: &Network,
    d: &Network,
    (sample, classes): (SampleShape, ClassesSpec),
) {
    let weights = |network: &Network| -> Vec<Tensor> {
        let mut flat = vec![0.0; network.parameters.len()];
        initialise(1, network.name, &network.parameters, &network.inits, &mut flat);
        let flat = Tensor::from_slice(&flat);
        network.parameters.entries().iter().map(|entry| view(&flat, entry)).collect()
    };
    let z = Tensor::ones(g.input_size(2), (Kind::Float, tch::Device::Cpu));
    let mut statistics = vec![];
    let samples = g.forward(&z, &weights(g), &mut Norm::Batch(&mut statistics));
    assert_eq!(samples.size(), sample.size(2), "{name}: shape of two samples");
    assert_eq!(statistics.len(), g.statistics.entries().len(), "{name}: G's batch-norm statistics");
    statistics.clear();
    let told = Tensor::ones([2, i64::from(classes.count)], (Kind::Float, tch::Device::Cpu));
    let input = Input { x: &samples, told: Some(&told) };
    let judged = d.forward(input, &weights(d), &mut Norm::Batch(&mut statistics));
    let more = match classes.discriminator {
        Conditioning::Projection => classes.count as usize,
        Conditioning::Concatenation => 0,
    };
    assert_eq!(
        judged.numel(),
        2 * (1 + more),
        "{name}: D says a number for each sample, and by projection for each class"
    );
    assert_eq!(statistics.len(), d.statistics.entries().len(), "{name}: D's batch-norm statistics");
}
