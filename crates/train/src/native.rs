//! The few operations of libtorch that the bindings lack (`native/`). The only file that calls our C++.

use std::ffi::{CStr, c_char};

use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

unsafe extern "C" {
    fn lsgan_leaky_relu_in_place(
        x: *const C_tensor,
        slope: f64,
        message: *mut c_char,
        bytes: usize,
    ) -> *mut C_tensor;
    fn lsgan_copy_in_turn(
        to: *mut C_tensor,
        from: *const C_tensor,
        message: *mut c_char,
        bytes: usize,
    ) -> bool;
    fn lsgan_gradients(
        output: *const C_tensor,
        by_output: *const C_tensor,
        inputs: *const *const C_tensor,
        count: usize,
        gradients: *mut *mut C_tensor,
        message: *mut c_char,
        bytes: usize,
    ) -> bool;
    fn lsgan_add_each(
        to: *const *mut C_tensor,
        from: *const *const C_tensor,
        count: usize,
        message: *mut c_char,
        bytes: usize,
    ) -> bool;
    fn lsgan_pinned(x: *const C_tensor, message: *mut c_char, bytes: usize) -> *mut C_tensor;
    fn lsgan_channels_last(x: *const C_tensor, message: *mut c_char, bytes: usize) -> *mut C_tensor;
    fn lsgan_conv(
        x: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        stride: i64,
        padding: i64,
        message: *mut c_char,
        bytes: usize,
    ) -> *mut C_tensor;
    fn lsgan_conv_transpose(
        x: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        stride: i64,
        padding: i64,
        output_padding: i64,
        message: *mut c_char,
        bytes: usize,
    ) -> *mut C_tensor;
    fn lsgan_dense(
        x: *const C_tensor,
        parameters: *const *const C_tensor,
        activations: *const i64,
        slopes: *const f64,
        layers: usize,
        message: *mut c_char,
        bytes: usize,
    ) -> *mut C_tensor;
    fn lsgan_reused(len: i64, message: *mut c_char, bytes: usize) -> *mut C_tensor;
    fn lsgan_configure_gpus(tf32: bool, deterministic: bool);
    fn lsgan_libtorch_version() -> *const c_char;
    fn lsgan_cpu_capability(out: *mut c_char, bytes: usize);
}

const MESSAGE_BYTES: usize = 4096;

/// max(x, slope·x), elementwise, in the memory of `x`, whose old values no gradient may need.
pub(crate) fn leaky_relu_in_place(x: &Tensor, slope: f64) -> Tensor {
    // SAFETY: `x` is a live tensor, the message buffer has the length that is said.
    made(|message, bytes| unsafe { lsgan_leaky_relu_in_place(x.as_ptr(), slope, message, bytes) })
}

/// Queues a copy between host and device on the stream, and waits for nothing. Memory of a GPU's host must be pinned, and
/// must not change until the copy is done.
pub(crate) fn copy_in_turn(to: &Tensor, from: &Tensor) {
    // SAFETY: both are live tensors, the message buffer has the length that is said.
    done(|message, bytes| unsafe {
        lsgan_copy_in_turn(to.as_ptr().cast_mut(), from.as_ptr(), message, bytes)
    });
}

/// The gradients of a loss by each of `inputs`, weights or what was computed on the way to `output`, from its gradient by
/// `output`. Only the part of the graph between them is gone through, and freed.
pub(crate) fn gradients(output: &Tensor, by_output: &Tensor, inputs: &[&Tensor]) -> Vec<Tensor> {
    let pointers: Vec<*const C_tensor> = inputs.iter().map(|input| input.as_ptr()).collect();
    let mut gradients: Vec<*mut C_tensor> = vec![std::ptr::null_mut(); inputs.len()];
    let (inputs, count, found) = (pointers.as_ptr(), pointers.len(), gradients.as_mut_ptr());
    // SAFETY: all are live tensors, both lists and the message buffer have the lengths that are said.
    done(|message, bytes| unsafe {
        lsgan_gradients(output.as_ptr(), by_output.as_ptr(), inputs, count, found, message, bytes)
    });
    // SAFETY: the callee gave us tensors of our own.
    gradients.into_iter().map(|gradient| unsafe { Tensor::from_ptr(gradient) }).collect()
}

/// Adds each of `from`, f32 or bf16, to the tensor of `to` in its place.
pub(crate) fn add_each(to: &[Tensor], from: &[Tensor]) {
    assert_eq!(to.len(), from.len(), "each has its place");
    let sums: Vec<*mut C_tensor> = to.iter().map(|tensor| tensor.as_ptr().cast_mut()).collect();
    let added: Vec<*const C_tensor> = from.iter().map(|tensor| tensor.as_ptr()).collect();
    // SAFETY: all are live tensors, both lists and the message buffer have the lengths that are said.
    done(|message, bytes| unsafe {
        lsgan_add_each(sums.as_ptr(), added.as_ptr(), sums.len(), message, bytes)
    });
}

/// Zeros in memory of the host that [`copy_in_turn`] may use with `device`: pinned, if that is a GPU.
pub(crate) fn shared_with(device: Device, len: i64, kind: Kind) -> Tensor {
    let plain = Tensor::zeros([len], (kind, Device::Cpu));
    if !device.is_cuda() {
        return plain;
    }
    // SAFETY: `plain` is a live tensor, the message buffer has the length that is said.
    made(|message, bytes| unsafe { lsgan_pinned(plain.as_ptr(), message, bytes) })
}

/// The same values with channels innermost in memory; shape `[n, c, h, w]` stays.
pub(crate) fn channels_last(x: &Tensor) -> Tensor {
    // SAFETY: as above.
    made(|message, bytes| unsafe { lsgan_channels_last(x.as_ptr(), message, bytes) })
}

/// conv2d on a CPU, with our own algorithms where oneDNN's are slow.
pub(crate) fn conv(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, stride: i64, padding: i64) -> Tensor {
    let bias = bias.map_or(std::ptr::null(), Tensor::as_ptr);
    // SAFETY: the tensors live, a missing bias is null, the message buffer has the length that is said.
    made(|message, bytes| unsafe {
        lsgan_conv(x.as_ptr(), weight.as_ptr(), bias, stride, padding, message, bytes)
    })
}

/// conv_transpose2d on a CPU, with our own algorithms where oneDNN's are slow.
pub(crate) fn conv_transpose(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    stride: i64,
    [padding, output_padding]: [i64; 2],
) -> Tensor {
    let bias = bias.map_or(std::ptr::null(), Tensor::as_ptr);
    // SAFETY: as above.
    made(|message, bytes| unsafe {
        let (x, weight) = (x.as_ptr(), weight.as_ptr());
        lsgan_conv_transpose(x, weight, bias, stride, padding, output_padding, message, bytes)
    })
}

/// So many f32 on the host, with any values, in memory that this thread uses again when nobody else has it.
pub(crate) fn reused(len: i64) -> Tensor {
    // SAFETY: the message buffer has the length that is said.
    made(|message, bytes| unsafe { lsgan_reused(len, message, bytes) })
}

/// Linear layers on a CPU, each with what follows it ([`crate::dense`]), as one node of the graph. `parameters`: weight and
/// bias of each.
pub(crate) fn dense(x: &Tensor, parameters: &[Tensor], activations: &[i64], slopes: &[f64]) -> Tensor {
    let layers = activations.len();
    assert_eq!(
        (parameters.len(), slopes.len()),
        (2 * layers, layers),
        "two parameters and a slope for each layer"
    );
    let parameters: Vec<*const C_tensor> = parameters.iter().map(Tensor::as_ptr).collect();
    let (parameters, activations, slopes) = (parameters.as_ptr(), activations.as_ptr(), slopes.as_ptr());
    // SAFETY: the tensors live, the lists and the message buffer have the lengths that are said.
    made(|message, bytes| unsafe {
        lsgan_dense(x.as_ptr(), parameters, activations, slopes, layers, message, bytes)
    })
}

/// Whether GPUs round products to TensorFloat-32, and whether their kernels give the same bits each time.
pub(crate) fn configure_gpus(tf32: bool, deterministic: bool) {
    // SAFETY: sets flags of libtorch's global context.
    unsafe { lsgan_configure_gpus(tf32, deterministic) }
}

/// The version of libtorch that this was built against, as `2.11.0`.
pub(crate) fn libtorch_version() -> String {
    // SAFETY: the function returns a string constant.
    unsafe { CStr::from_ptr(lsgan_libtorch_version()) }.to_string_lossy().into_owned()
}

/// The instruction set that libtorch's own kernels were chosen for, as `AVX512`.
pub(crate) fn cpu_capability() -> String {
    let mut text: [c_char; 64] = [0; 64];
    // SAFETY: the function writes at most the length that is said, and ends it with a zero.
    unsafe { lsgan_cpu_capability(text.as_mut_ptr(), text.len()) };
    // SAFETY: see above; `text` lives to the end of this function.
    unsafe { CStr::from_ptr(text.as_ptr()) }.to_string_lossy().into_owned()
}

/// A tensor that C++ made, or a panic with libtorch's words: like in `tch`, a wrong shape is our bug.
fn made(call: impl FnOnce(*mut c_char, usize) -> *mut C_tensor) -> Tensor {
    let mut tensor = std::ptr::null_mut();
    done(|message, bytes| {
        tensor = call(message, bytes);
        !tensor.is_null()
    });
    // SAFETY: the callee gave us a tensor of our own.
    unsafe { Tensor::from_ptr(tensor) }
}

/// What C++ has done, or a panic with libtorch's words.
fn done(call: impl FnOnce(*mut c_char, usize) -> bool) {
    let mut message: [c_char; MESSAGE_BYTES] = [0; MESSAGE_BYTES];
    if !call(message.as_mut_ptr(), MESSAGE_BYTES) {
        // SAFETY: on failure the callee wrote a text that ends with a zero.
        panic!("libtorch: {}", unsafe { CStr::from_ptr(message.as_ptr()) }.to_string_lossy());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Channels in and out, side of the picture, then kernel, stride and padding.
    type Case = ([i64; 2], i64, [i64; 3]);

    /// Few channels and many, short rows and long ones, odd kernels, kernels that lie beyond both edges.
    const CASES: [Case; 8] = [
        ([3, 8], 16, [4, 2, 1]),
        ([1, 8], 7, [5, 2, 2]),
        ([8, 3], 8, [4, 2, 1]),
        ([8, 16], 8, [4, 2, 1]),
        ([8, 16], 4, [3, 1, 1]),
        ([16, 8], 7, [5, 2, 2]),
        ([8, 8], 2, [5, 1, 2]),
        ([8, 8], 32, [4, 2, 1]),
    ];

    /// In f32 the algorithms differ in the order of additions; in bf16 also in what they round to its 8 bits,
    /// several times where a CPU has no instructions for it.
    const PRECISIONS: [(Kind, f64); 2] = [(Kind::Float, 1e-5), (Kind::BFloat16, 2e-2)];

    /// Numbers in −1..1 that bf16 can hold, channels innermost.
    fn numbers(size: &[i64]) -> Tensor {
        let count = size.iter().product::<i64>();
        let line = (Tensor::arange(count, (Kind::Float, Device::Cpu)) * 0.7).sin().to_kind(Kind::BFloat16);
        let tensor = line.to_kind(Kind::Float).view(size);
        if size.len() == 4 { channels_last(&tensor) } else { tensor }
    }

    /// Output and gradients of x, weight and bias, as f32.
    fn all_of(inputs: &[Tensor; 3], kind: Kind, compute: impl Fn(&[Tensor]) -> Tensor) -> Vec<Tensor> {
        let leaf = |tensor: &Tensor| tensor.to_kind(kind).detach().set_requires_grad(true);
        let leaves: Vec<_> = inputs.iter().map(leaf).collect();
        let y = compute(&leaves);
        let loss = (y.to_kind(Kind::Float) * numbers(&y.size())).sum(Kind::Float);
        let mut all = Tensor::run_backward(&[&loss], &leaves, false, false);
        all.insert(0, y);
        all.iter().map(|tensor| tensor.detach().to_kind(Kind::Float)).collect()
    }

    fn assert_close(ours: &[Tensor], wanted: &[Tensor], tolerance: f64, what: &str) {
        for ((ours, wanted), name) in ours.iter().zip(wanted).zip(["output", "x", "weight", "bias"]) {
            assert_eq!(ours.size(), wanted.size(), "{what}: {name}");
            let distance = (ours - wanted).abs().max().double_value(&[]);
            let scale = wanted.abs().max().double_value(&[]);
            assert!(distance <= tolerance * scale, "{what}: {name} is {distance} off, of {scale}");
        }
    }

    #[test]
    fn a_convolution_and_its_gradients_are_those_of_libtorch() {
        crate::device::one_thread();
        for case @ ([inputs, outputs], side, [kernel, stride, padding]) in CASES {
            let sizes: [&[i64]; 3] =
                [&[5, inputs, side, side], &[outputs, inputs, kernel, kernel], &[outputs]];
            let tensors = sizes.map(numbers);
            let wanted = all_of(&tensors, Kind::Float, |t| {
                t[0].conv2d(&t[1], Some(&t[2]), [stride; 2], [padding; 2], [1; 2], 1)
            });
            for (kind, tolerance) in PRECISIONS {
                let ours = all_of(&tensors, kind, |t| conv(&t[0], &t[1], Some(&t[2]), stride, padding));
                assert_close(&ours, &wanted, tolerance, &format!("{case:?} {kind:?}"));
            }
        }
    }

    #[test]
    fn a_transposed_convolution_and_its_gradients_are_those_of_libtorch() {
        crate::device::one_thread();
        for case @ ([inputs, outputs], side, [kernel, stride, padding]) in CASES {
            let extra = stride - 1;
            let sizes: [&[i64]; 3] =
                [&[5, inputs, side, side], &[inputs, outputs, kernel, kernel], &[outputs]];
            let tensors = sizes.map(numbers);
            let wanted = all_of(&tensors, Kind::Float, |t| {
                let (stride, padding, extra) = ([stride; 2], [padding; 2], [extra; 2]);
                t[0].conv_transpose2d(&t[1], Some(&t[2]), stride, padding, extra, 1, [1; 2])
            });
            for (kind, tolerance) in PRECISIONS {
                let paddings = [padding, extra];
                let ours =
                    all_of(&tensors, kind, |t| conv_transpose(&t[0], &t[1], Some(&t[2]), stride, paddings));
                assert_close(&ours, &wanted, tolerance, &format!("{case:?} {kind:?}"));
            }
        }
    }
}
