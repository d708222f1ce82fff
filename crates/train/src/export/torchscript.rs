//! TorchScript: the operations of one pass, recorded by libtorch's tracer.

use std::path::Path;

use tch::{CModule, Device, Kind, Tensor};

use super::Exported;
use crate::device;
use crate::layers::Norm;

pub(super) fn write(generator: &Exported<'_>, path: &Path) -> Result<(), String> {
    let Exported { network, weights, running } = *generator;
    device::one_thread();
    let shape = [&[-1], network.input.as_slice()].concat();
    let z = Tensor::zeros([2, network.input.iter().product()], (Kind::Float, Device::Cpu));
    let mut forward = |inputs: &[Tensor]| {
        let norm = &mut Norm::Running(running.iter());
        // By libtorch's operations alone: a program that loads the file does not have ours.
        vec![network.forward_twice(&inputs[0].view(shape.as_slice()), weights, norm)]
    };
    let traced = tch::no_grad(|| CModule::create_by_tracing("generator", "forward", &[z], &mut forward));
    let said = |error: tch::TchError| error.to_string().lines().next().unwrap_or_default().to_owned();
    traced.and_then(|module| module.save(path)).map_err(said)
}
