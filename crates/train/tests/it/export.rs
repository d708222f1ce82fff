//! Generators as files that other programs run. `tests/tests/export.rs` runs them in PyTorch and in an ONNX runtime.

use lsgan_spec::{BatchNorm, ClassesSpec, Discriminator, Generator, ImageSpec, Latent, RunSpec};
use lsgan_train::export::Format;
use lsgan_train::rehearsal::runs::{small_dcgan, small_mlp};
use lsgan_train::{Replica, Sampler};
use tch::{CModule, Device, Kind, Tensor};

fn runs() -> Vec<RunSpec> {
    let mut resnet = small_dcgan();
    resnet.data.image = Some(ImageSpec::of(32, 3));
    resnet.model.generator = Generator::Resnet { latent: Latent::Normal(8), width: 4 };
    resnet.model.discriminator = Discriminator::Resnet { width: 4 };
    let mut without_norm = resnet.clone();
    without_norm.model.batch_norm = BatchNorm::None;
    let mut conditional = small_dcgan();
    conditional.model.classes = ClassesSpec { count: 3, embedding: 5, ..ClassesSpec::default() };
    vec![small_dcgan(), resnet, without_norm, conditional, small_mlp()]
}

/// For any number of z, though two were there when it was recorded.
#[test]
fn torchscript_makes_the_samples_of_the_run() {
    let dir = tempfile::tempdir().unwrap();
    for spec in runs() {
        let parts = Replica::builder(&spec).build().unwrap().export();
        let part = parts.iter().find(|part| part.name == "generator").unwrap();
        let sampler = Sampler::new(&spec).unwrap();
        let weights = sampler.load(part).unwrap();
        let path = dir.path().join("g.pt");
        sampler.export(&weights.as_weights(), Format::TorchScript, &path).unwrap();
        let z = sampler.latents(5).concat();
        let wanted = Tensor::from_slice(&sampler.samples_of(&weights.as_weights(), &z));
        let module = CModule::load_on_device(&path, Device::Cpu).unwrap();
        let found = module.forward_ts(&[Tensor::from_slice(&z).view([5, -1])]).unwrap();
        let pictures = if found.dim() == 4 { found.permute([0, 2, 3, 1]) } else { found };
        let found = pictures.contiguous().view([-1]);
        let off = (found - wanted).abs().max().to_kind(Kind::Double).double_value(&[]);
        assert!(off < 1e-5, "{}: {off}", spec.model.generator.word());
    }
}
