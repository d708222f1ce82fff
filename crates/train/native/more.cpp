// The few operations of libtorch that the bindings do not show, or show without the argument that we need.
// An exception becomes a null pointer and a message in the caller's buffer.
#include <ATen/ATen.h>
#include <ATen/Version.h>
#include <torch/version.h>

#include <cstring>
#include <exception>

namespace {

template <typename Make>
at::Tensor* guarded(char* message, size_t message_bytes, Make make) {
  try {
    return new at::Tensor(make());
  } catch (const std::exception& e) {
    std::strncpy(message, e.what(), message_bytes - 1);
    message[message_bytes - 1] = '\0';
    return nullptr;
  }
}

}  // namespace

extern "C" {

// max(x, slope * x), which the bindings offer with a slope of 0.01 only.
at::Tensor* lsgan_leaky_relu(const at::Tensor* x, double slope, char* message, size_t message_bytes) {
  return guarded(message, message_bytes, [&] { return at::leaky_relu(*x, slope); });
}

// The same values with channels innermost in memory.
at::Tensor* lsgan_channels_last(const at::Tensor* x, char* message, size_t message_bytes) {
  return guarded(message, message_bytes, [&] { return x->contiguous(at::MemoryFormat::ChannelsLast); });
}

// As "2.11.0".
const char* lsgan_libtorch_version() { return TORCH_VERSION; }

// The instruction set that ATen's kernels were chosen for, as "AVX512".
void lsgan_cpu_capability(char* out, size_t out_bytes) {
  std::strncpy(out, at::get_cpu_capability().c_str(), out_bytes - 1);
  out[out_bytes - 1] = '\0';
}

}
