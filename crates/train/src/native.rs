//! The few operations of libtorch that the bindings do not show (`native/more.cpp`). The only file of ours that
//! calls C++.

use std::ffi::{CStr, c_char};

use tch::Tensor;
use torch_sys::C_tensor;

unsafe extern "C" {
    fn lsgan_leaky_relu_in_place(
        x: *const C_tensor,
        slope: f64,
        message: *mut c_char,
        bytes: usize,
    ) -> *mut C_tensor;
    fn lsgan_channels_last(x: *const C_tensor, message: *mut c_char, bytes: usize) -> *mut C_tensor;
    fn lsgan_thin_conv(
        x: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        stride: i64,
        padding: i64,
        message: *mut c_char,
        bytes: usize,
    ) -> *mut C_tensor;
    fn lsgan_thin_conv_transpose(
        x: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        stride: i64,
        padding: i64,
        output_padding: i64,
        message: *mut c_char,
        bytes: usize,
    ) -> *mut C_tensor;
    fn lsgan_libtorch_version() -> *const c_char;
    fn lsgan_cpu_capability(out: *mut c_char, bytes: usize);
}

const MESSAGE_BYTES: usize = 4096;

/// max(x, slope·x), elementwise, in the memory of `x`, which nobody may need any more.
pub(crate) fn leaky_relu_in_place(x: &Tensor, slope: f64) -> Tensor {
    // SAFETY: `x` is a live tensor, the message buffer has the length that is said.
    made(|message, bytes| unsafe { lsgan_leaky_relu_in_place(x.as_ptr(), slope, message, bytes) })
}

/// The same values with channels innermost in memory; shape `[n, c, h, w]` stays.
pub(crate) fn channels_last(x: &Tensor) -> Tensor {
    // SAFETY: as above.
    made(|message, bytes| unsafe { lsgan_channels_last(x.as_ptr(), message, bytes) })
}

/// conv2d on a CPU for few input channels: the input's gradient takes a fifth of oneDNN's time.
pub(crate) fn thin_conv(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    stride: i64,
    padding: i64,
) -> Tensor {
    let bias = bias.map_or(std::ptr::null(), Tensor::as_ptr);
    // SAFETY: the tensors live, a missing bias is null, the message buffer has the length that is said.
    made(|message, bytes| unsafe {
        lsgan_thin_conv(x.as_ptr(), weight.as_ptr(), bias, stride, padding, message, bytes)
    })
}

/// conv_transpose2d on a CPU for few output channels: the output takes a fifth of oneDNN's time.
pub(crate) fn thin_conv_transpose(
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
        lsgan_thin_conv_transpose(x, weight, bias, stride, padding, output_padding, message, bytes)
    })
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
    let mut message: [c_char; MESSAGE_BYTES] = [0; MESSAGE_BYTES];
    let tensor = call(message.as_mut_ptr(), MESSAGE_BYTES);
    if tensor.is_null() {
        // SAFETY: on failure the callee wrote a text that ends with a zero.
        panic!("libtorch: {}", unsafe { CStr::from_ptr(message.as_ptr()) }.to_string_lossy());
    }
    // SAFETY: the callee gave us a tensor of our own.
    unsafe { Tensor::from_ptr(tensor) }
}
