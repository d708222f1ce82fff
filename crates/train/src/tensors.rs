//! Between slices and tensors. The conversions that are unsafe are in this file.

use tch::kind::Element;
use tch::{Device, Kind, Tensor};

use crate::flat::{self, Entry};
use crate::word::{DeviceWordKind, DeviceWords};

/// The view of one named tensor in a flat one (which may itself be a part of a larger one).
pub(crate) fn view(base: &Tensor, entry: &Entry) -> Tensor {
    let part = base.narrow(0, entry.offset as i64, entry.len() as i64);
    part.as_strided(entry.size(), entry.strides(), None)
}

/// The f32 numbers of a dense tensor on the host, in the order of its memory.
pub(crate) fn floats(tensor: &Tensor) -> &[f32] {
    assert_eq!(
        (tensor.kind(), tensor.device()),
        (Kind::Float, Device::Cpu),
        "gradients come as f32 to the host"
    );
    // SAFETY: the tensor is f32 on the host; its memory is dense (it has our strides, or one dimension), so it
    // has `numel` numbers; the slice borrows the tensor, which keeps them.
    unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast(), tensor.numel()) }
}

/// The words of a tensor of one dimension on the host.
pub(crate) fn words<W: Element>(tensor: &Tensor) -> &[W] {
    assert_eq!((tensor.kind(), tensor.device()), (W::KIND, Device::Cpu), "words of this kind, on the host");
    // SAFETY: the tensor has `numel` words in dense memory; the slice borrows the tensor, which keeps them.
    unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast(), tensor.numel()) }
}

/// The same, to be changed. Nothing else may use the tensor's memory meanwhile.
pub(crate) fn words_mut<W: Element>(tensor: &mut Tensor) -> &mut [W] {
    assert_eq!((tensor.kind(), tensor.device()), (W::KIND, Device::Cpu), "words of this kind, on the host");
    // SAFETY: as above, and the tensor is borrowed mutably.
    unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast(), tensor.numel()) }
}

/// A tensor over the words of a sum in a device's memory.
///
/// # Safety
/// The tensor must not outlive the replica whose words these are, nor be used while the replica computes.
pub(crate) unsafe fn over_words(words: DeviceWords, device: Device) -> Tensor {
    let kind = match words.kind {
        DeviceWordKind::Wide => Kind::Int64,
        DeviceWordKind::Narrow => Kind::Int,
        DeviceWordKind::Fast => Kind::Float,
    };
    // SAFETY: the memory has so many words of this kind; the caller vouches for its life.
    unsafe { Tensor::from_blob(words.start.cast(), &[words.count as i64], &[1], kind, device) }
}

/// Samples `[count, h, w, c]` (or `[count, 2]`) as a tensor of the shape that the networks see.
pub(crate) fn samples(values: &[f32], size: &[i64]) -> Tensor {
    Tensor::from_slice(values).as_strided(size, flat::strides(size), None)
}

/// The same without a copy.
///
/// # Safety
/// The tensor must not outlive `values`.
pub(crate) unsafe fn samples_in_place(values: &[f32], size: &[i64]) -> Tensor {
    assert_eq!(values.len() as i64, size.iter().product::<i64>(), "so many numbers as the shape has");
    // SAFETY: the memory has so many f32; the caller vouches for its life.
    unsafe {
        let start = values.as_ptr().cast();
        Tensor::from_blob(start, size, &flat::strides(size), Kind::Float, Device::Cpu)
    }
}

/// A gradient on the host as f32 in our storage order. In f32 it comes like that, and nothing is copied.
pub(crate) fn in_storage_order(gradient: Tensor, entry: &Entry) -> Tensor {
    let gradient = gradient.to_kind(Kind::Float);
    let (size, strides) = (entry.size(), entry.strides());
    if same_order(&size, &gradient.stride(), &strides) {
        return gradient;
    }
    let mut ours = Tensor::empty_strided(&size, &strides, (Kind::Float, Device::Cpu));
    ours.copy_(&gradient);
    ours
}

/// Whether two strides put the same numbers at the same places; where a side is 1, its stride says nothing.
fn same_order(size: &[i64], a: &[i64], b: &[i64]) -> bool {
    size.iter().zip(a.iter().zip(b)).all(|(&side, (a, b))| side == 1 || a == b)
}
