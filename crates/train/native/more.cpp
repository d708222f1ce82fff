// The few operations of libtorch that the bindings do not show, or show without the argument that we need, and
// convolutions on a CPU with ways of our own where oneDNN's are slow.
#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/Version.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/version.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <vector>

#include "guarded.h"

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;
using torch::autograd::Variable;

using lsgan::guarded;
using lsgan::say;

// From so few channels or to so few, spread is faster than oneDNN.
constexpr int64_t kFewChannels = 4;

// The sides of a convolution, the same in both directions.
struct Shape {
  int64_t kernel, stride, padding;
};

// Sums columns into pictures: out[n, y, x, c] = Σ columns[n, i, j, ky, kx, c] where i·stride + ky − padding = y
// and j·stride + kx − padding = x. The order of the additions is fixed. Sums are f32.
template <typename T>
void fold(const T* columns, T* out, int64_t count, int64_t height, int64_t width, int64_t out_height,
          int64_t out_width, int64_t channels, Shape s) {
  const int64_t reach = s.kernel * channels;           // numbers of one kernel row, adjacent in the output
  const int64_t column = s.kernel * reach;             // numbers of one place
  const int64_t margin = s.padding * channels;         // left of the picture
  std::vector<float> row((std::max((width - 1) * s.stride + s.kernel, out_width + 2 * s.padding)) * channels);
  for (int64_t n = 0; n < count; ++n) {
    for (int64_t y = 0; y < out_height; ++y) {
      std::fill(row.begin(), row.end(), 0.0f);
      for (int64_t ky = 0; ky < s.kernel; ++ky) {
        const int64_t at = y + s.padding - ky;
        if (at < 0 || at % s.stride != 0 || at / s.stride >= height) continue;
        const T* from = columns + ((n * height + at / s.stride) * width) * column + ky * reach;
        float* to = row.data();
        for (int64_t j = 0; j < width; ++j, from += column, to += s.stride * channels) {
          for (int64_t k = 0; k < reach; ++k) to[k] += static_cast<float>(from[k]);
        }
      }
      T* to = out + (n * out_height + y) * out_width * channels;
      for (int64_t k = 0; k < out_width * channels; ++k) to[k] = static_cast<T>(row[margin + k]);
    }
  }
}

// A transposed convolution from many channels to few: x [n, C, h, w] and weight [C, c, k, k], both with channels
// innermost in memory, as one product of [n·h·w, C] and [C, k·k·c] whose columns are folded into the picture.
// oneDNN fills its 16 lanes with c of them; this fills them with k·k·c.
at::Tensor spread(const at::Tensor& x, const at::Tensor& weight, Shape s, int64_t out_height, int64_t out_width) {
  const auto from = x.contiguous(at::MemoryFormat::ChannelsLast);
  const int64_t n = from.size(0), many = from.size(1), height = from.size(2), width = from.size(3);
  const int64_t few = weight.size(1);
  const auto matrix = weight.contiguous(at::MemoryFormat::ChannelsLast).permute({2, 3, 1, 0});  // [k, k, c, C]
  const auto columns = at::conv2d(from, matrix.reshape({s.kernel * s.kernel * few, many, 1, 1}))
                           .contiguous(at::MemoryFormat::ChannelsLast);  // [n, k·k·c, h, w]
  auto out = at::empty({n, few, out_height, out_width}, from.options(), at::MemoryFormat::ChannelsLast);
  if (from.scalar_type() == at::kFloat) {
    fold(columns.const_data_ptr<float>(), out.mutable_data_ptr<float>(), n, height, width, out_height, out_width,
         few, s);
  } else {
    fold(columns.const_data_ptr<at::BFloat16>(), out.mutable_data_ptr<at::BFloat16>(), n, height, width,
         out_height, out_width, few, s);
  }
  return out;
}

// What libtorch computes of a convolution's backward pass.
std::tuple<at::Tensor, at::Tensor, at::Tensor> backward_of(const at::Tensor& gradient, const at::Tensor& x,
                                                           const at::Tensor& weight, int64_t bias, Shape s,
                                                           bool transposed, int64_t output_padding,
                                                           std::array<bool, 3> wanted) {
  if (!wanted[0] && !wanted[1] && !wanted[2]) return {};
  const std::array<int64_t, 1> bias_sizes{bias};
  const std::array<int64_t, 2> stride{s.stride, s.stride}, padding{s.padding, s.padding}, dilation{1, 1},
      extra{output_padding, output_padding};
  return at::convolution_backward(gradient, x, weight, at::OptionalIntArrayRef(bias_sizes), stride, padding,
                                  dilation, transposed, extra, 1, wanted);
}

// The gradient of a convolution's weights, [many, few, k, k] with channels innermost, by one product: what one place
// of `small` [n, many, h, w] answers to is gathered from `large` [n, few, H, W] into a column.
at::Tensor weights_by_product(const at::Tensor& small, const at::Tensor& large, Shape s) {
  const auto from = large.contiguous(at::MemoryFormat::ChannelsLast);
  const auto to = small.contiguous(at::MemoryFormat::ChannelsLast);
  const int64_t n = to.size(0), height = to.size(2), width = to.size(3);
  const int64_t large_height = from.size(2), large_width = from.size(3), channels = from.size(1);
  const int64_t cell = channels * from.element_size();
  const auto columns = at::empty({n * height * width, s.kernel * s.kernel * channels}, from.options());
  const auto* source = static_cast<const char*>(from.const_data_ptr());
  auto* out = static_cast<char*>(columns.mutable_data_ptr());
  for (int64_t place = 0; place < n * height * width; ++place) {
    const int64_t picture = place / (height * width);
    const int64_t top = place / width % height * s.stride - s.padding, left = place % width * s.stride - s.padding;
    const int64_t before = std::clamp<int64_t>(-left, 0, s.kernel);
    const int64_t inside = std::clamp<int64_t>(large_width - left, before, s.kernel) - before;
    for (int64_t ky = 0; ky < s.kernel; ++ky, out += s.kernel * cell) {
      const int64_t y = top + ky;
      if (y < 0 || y >= large_height) {
        std::memset(out, 0, s.kernel * cell);
        continue;
      }
      std::memset(out, 0, before * cell);
      std::memcpy(out + before * cell, source + ((picture * large_height + y) * large_width + left + before) * cell,
                  inside * cell);
      std::memset(out + (before + inside) * cell, 0, (s.kernel - before - inside) * cell);
    }
  }
  const auto rows = to.permute({0, 2, 3, 1}).reshape({n * height * width, to.size(1)});
  return at::mm(rows.t(), columns).view({to.size(1), s.kernel, s.kernel, channels}).permute({0, 3, 1, 2});
}

// [a, b, h, w] as [b, a, h, w], both with channels innermost.
at::Tensor swapped(const at::Tensor& tensor) {
  const auto from = tensor.contiguous(at::MemoryFormat::ChannelsLast);
  const int64_t a = from.size(0), b = from.size(1), places = from.size(2) * from.size(3);
  auto to = at::empty({b, a, from.size(2), from.size(3)}, from.options(), at::MemoryFormat::ChannelsLast);
  const float* source = from.const_data_ptr<float>();
  float* out = to.mutable_data_ptr<float>();
  constexpr int64_t kTile = 16;  // a tile of each side lies in the nearest cache
  for (int64_t place = 0; place < places; ++place) {
    for (int64_t i = 0; i < a; i += kTile) {
      for (int64_t j = 0; j < b; j += kTile) {
        for (int64_t y = j; y < std::min(j + kTile, b); ++y) {
          for (int64_t x = i; x < std::min(i + kTile, a); ++x) {
            out[(y * places + place) * a + x] = source[(x * places + place) * b + y];
          }
        }
      }
    }
  }
  return to;
}

// The same in f32, by a convolution: with batch and channels swapped, `small` is a kernel that is moved over `large`.
at::Tensor weights_by_convolution(const at::Tensor& small, const at::Tensor& large, Shape s) {
  const std::array<int64_t, 2> one{1, 1}, padding{s.padding, s.padding}, dilation{s.stride, s.stride};
  const auto all = at::conv2d(swapped(large), swapped(small), {}, one, padding, dilation);
  return swapped(all.narrow(2, 0, s.kernel).narrow(3, 0, s.kernel));
}

// oneDNN's kernels for weights go along the rows of the smaller picture and are slow on rows of 4; from rows of 8 on
// they are the faster way.
bool rows_are_short(const at::Tensor& small, const at::Tensor& weight) {
  return small.size(3) <= 4 && std::min(weight.size(0), weight.size(1)) > kFewChannels;
}

at::Tensor weights_of_short_rows(const at::Tensor& small, const at::Tensor& large, Shape s) {
  return small.scalar_type() == at::kFloat ? weights_by_convolution(small, large, s)
                                           : weights_by_product(small, large, s);
}

// A convolution. Between few channels and many its input's gradient is made by spread, and the gradient of its
// weights over short rows in ways of our own; the rest is oneDNN's.
struct Convolution : public torch::autograd::Function<Convolution> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias, int64_t stride, int64_t padding) {
    ctx->save_for_backward({x, weight});
    ctx->saved_data["sides"] = std::vector<int64_t>{stride, padding};
    ctx->saved_data["bias"] = bias.has_value();
    const std::array<int64_t, 2> strides{stride, stride}, paddings{padding, padding};
    return at::conv2d(x, weight, bias, strides, paddings);
  }

  static tensor_list backward(AutogradContext* ctx, tensor_list gradients) {
    const auto saved = ctx->get_saved_variables();
    const auto &x = saved[0], &weight = saved[1], &gradient = gradients[0];
    const auto sides = ctx->saved_data["sides"].toIntVector();
    const Shape s{weight.size(2), sides[0], sides[1]};
    std::array<bool, 3> wanted{ctx->needs_input_grad(0), ctx->needs_input_grad(1),
                               ctx->saved_data["bias"].toBool() && ctx->needs_input_grad(2)};
    const bool spreads = wanted[0] && x.size(1) <= kFewChannels;
    const bool short_rows = wanted[1] && rows_are_short(gradient, weight);
    wanted[0] &= !spreads;
    wanted[1] &= !short_rows;
    auto [to_x, to_weight, to_bias] = backward_of(gradient, x, weight, weight.size(0), s, false, 0, wanted);
    if (spreads) to_x = spread(gradient, weight, s, x.size(2), x.size(3));
    if (short_rows) to_weight = weights_of_short_rows(gradient, x, s);
    return {to_x, to_weight, to_bias, Variable(), Variable()};
  }
};

// A transposed convolution. From many channels to few it is made by spread, and the gradient of its weights over
// short rows in ways of our own; the rest is oneDNN's.
struct TransposedConvolution : public torch::autograd::Function<TransposedConvolution> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias, int64_t stride, int64_t padding,
                            int64_t output_padding) {
    ctx->save_for_backward({x, weight});
    ctx->saved_data["sides"] = std::vector<int64_t>{stride, padding, output_padding};
    ctx->saved_data["bias"] = bias.has_value();
    const std::array<int64_t, 2> strides{stride, stride}, paddings{padding, padding},
        extra{output_padding, output_padding};
    if (weight.size(1) > kFewChannels) {
      return at::conv_transpose2d(x, weight, bias, strides, paddings, extra);
    }
    const Shape s{weight.size(2), stride, padding};
    const auto side = [&](int64_t in) { return (in - 1) * stride - 2 * padding + s.kernel + output_padding; };
    auto out = spread(x, weight, s, side(x.size(2)), side(x.size(3)));
    return bias ? out.add_(bias->view({1, -1, 1, 1})) : out;
  }

  static tensor_list backward(AutogradContext* ctx, tensor_list gradients) {
    const auto saved = ctx->get_saved_variables();
    const auto &x = saved[0], &weight = saved[1], &gradient = gradients[0];
    const auto sides = ctx->saved_data["sides"].toIntVector();
    const Shape s{weight.size(2), sides[0], sides[1]};
    std::array<bool, 3> wanted{ctx->needs_input_grad(0), ctx->needs_input_grad(1),
                               ctx->saved_data["bias"].toBool() && ctx->needs_input_grad(2)};
    const bool short_rows = wanted[1] && rows_are_short(x, weight);
    wanted[1] &= !short_rows;
    auto [to_x, to_weight, to_bias] = backward_of(gradient, x, weight, weight.size(1), s, true, sides[2], wanted);
    if (short_rows) to_weight = weights_of_short_rows(x, gradient, s);
    return {to_x, to_weight, to_bias, Variable(), Variable(), Variable()};
  }
};

std::optional<at::Tensor> maybe(const at::Tensor* tensor) {
  return tensor == nullptr ? std::nullopt : std::optional<at::Tensor>(*tensor);
}

}  // namespace

extern "C" {

// max(x, slope * x) in x's own memory, which the bindings offer with a slope of 0.01 only.
at::Tensor* lsgan_leaky_relu_in_place(const at::Tensor* x, double slope, char* message, size_t message_bytes) {
  return guarded(message, message_bytes, [&] {
    at::Tensor y = *x;
    return at::leaky_relu_(y, slope);
  });
}

// Copies between host and device without waiting for it. Of memory on the host only what is pinned may be used so: from
// there the device reads, and there it writes, when the copy's turn comes. False, with a message, where it cannot.
bool lsgan_copy_in_turn(at::Tensor* to, const at::Tensor* from, char* message, size_t message_bytes) {
  try {
    at::NoGradGuard no_grad;
    to->copy_(*from, /*non_blocking=*/true);
    return true;
  } catch (const std::exception& e) {
    say(e, message, message_bytes);
    return false;
  }
}

// to[i] += from[i]. On a GPU one operation adds those of one type, where each would be one otherwise.
bool lsgan_add_each(at::Tensor* const* to, const at::Tensor* const* from, size_t count, char* message,
                    size_t message_bytes) {
  try {
    at::NoGradGuard no_grad;
    for (const auto type : {at::kFloat, at::kBFloat16}) {
      std::vector<at::Tensor> sums, added;
      for (size_t i = 0; i < count; ++i) {
        if (to[i]->scalar_type() != type) continue;
        sums.push_back(*to[i]);
        added.push_back(*from[i]);
      }
      if (!sums.empty()) at::_foreach_add_(sums, added);
    }
    return true;
  } catch (const std::exception& e) {
    say(e, message, message_bytes);
    return false;
  }
}

// The same values in memory of the host that a GPU reads and writes by itself.
at::Tensor* lsgan_pinned(const at::Tensor* x, char* message, size_t message_bytes) {
  return guarded(message, message_bytes, [&] { return x->pin_memory(); });
}

// The same values with channels innermost in memory.
at::Tensor* lsgan_channels_last(const at::Tensor* x, char* message, size_t message_bytes) {
  return guarded(message, message_bytes, [&] { return x->contiguous(at::MemoryFormat::ChannelsLast); });
}

// conv2d on a CPU. `bias` may be null.
at::Tensor* lsgan_conv(const at::Tensor* x, const at::Tensor* weight, const at::Tensor* bias, int64_t stride,
                            int64_t padding, char* message, size_t message_bytes) {
  return guarded(message, message_bytes,
                 [&] { return Convolution::apply(*x, *weight, maybe(bias), stride, padding); });
}

// conv_transpose2d on a CPU. `bias` may be null.
at::Tensor* lsgan_conv_transpose(const at::Tensor* x, const at::Tensor* weight, const at::Tensor* bias,
                                      int64_t stride, int64_t padding, int64_t output_padding, char* message,
                                      size_t message_bytes) {
  return guarded(message, message_bytes, [&] {
    return TransposedConvolution::apply(*x, *weight, maybe(bias), stride, padding, output_padding);
  });
}

// The gradients of a loss by each of `inputs`, as `gradients`, from its gradient by `output`. Only the part of the graph
// between them is gone through and freed. False, with a message, where it fails.
bool lsgan_gradients(const at::Tensor* output, const at::Tensor* by_output, const at::Tensor* const* inputs,
                     size_t count, at::Tensor** gradients, char* message, size_t message_bytes) {
  try {
    tensor_list wanted;
    for (size_t i = 0; i < count; ++i) wanted.push_back(*inputs[i]);
    auto found = torch::autograd::grad({*output}, wanted, {*by_output});
    for (size_t i = 0; i < count; ++i) gradients[i] = new at::Tensor(std::move(found[i]));
    return true;
  } catch (const std::exception& e) {
    say(e, message, message_bytes);
    return false;
  }
}

// What applies to all operations on GPUs. Deterministic ones also want CUBLAS_WORKSPACE_CONFIG, which cuBLAS reads when
// it is first used.
void lsgan_configure_gpus(bool tf32, bool deterministic) {
  auto& context = at::globalContext();
  context.setAllowTF32CuBLAS(tf32);
  context.setAllowTF32CuDNN(tf32);
  context.setBenchmarkCuDNN(!deterministic);
  context.setDeterministicCuDNN(deterministic);
  context.setDeterministicAlgorithms(deterministic, /*warn_only=*/false);
  // What we leave uninitialised is written before it is read.
  context.setDeterministicFillUninitializedMemory(false);
}

// As "2.11.0".
const char* lsgan_libtorch_version() { return TORCH_VERSION; }

// The instruction set that ATen's kernels were chosen for, as "AVX512".
void lsgan_cpu_capability(char* out, size_t out_bytes) {
  std::strncpy(out, at::get_cpu_capability().c_str(), out_bytes - 1);
  out[out_bytes - 1] = '\0';
}

}
