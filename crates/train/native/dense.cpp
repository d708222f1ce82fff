// A network of linear layers with activations between them, as one node of autograd's graph.
//
// libtorch spends several microseconds on each operation of a graph, about what a small product takes. Here its kernels
// are called directly: those that autograd would call, on the same numbers in the same order. The bits are the same.
#include <ATen/CPUFunctions.h>
#include <torch/csrc/autograd/custom_function.h>

#include <array>
#include <vector>

#include "guarded.h"
#include "reused.h"

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

// What follows a linear layer, in the numbers of `Activation` in src/dense.rs.
enum Activation : int64_t { kNone, kRelu, kLeakyRelu, kTanh };

// In x's own memory.
void activate(at::Tensor& x, int64_t activation, double slope) {
  switch (activation) {
    case kRelu: at::cpu::relu_(x); break;
    case kLeakyRelu: at::cpu::leaky_relu_(x, slope); break;
    case kTanh: at::cpu::tanh_(x); break;
    default: break;
  }
}

// Makes the gradient by an activation's output y the one by its input, in its own memory.
void go_back(at::Tensor& gradient, const at::Tensor& y, int64_t activation, double slope) {
  switch (activation) {
    case kRelu: at::cpu::threshold_backward_out(gradient, gradient, y, 0); break;
    case kLeakyRelu:
      at::cpu::leaky_relu_backward_out(gradient, gradient, y, slope, /*self_is_result=*/true);
      break;
    case kTanh: at::cpu::tanh_backward_out(gradient, gradient, y); break;
    default: break;
  }
}

at::Tensor product(const at::Tensor& a, const at::Tensor& b) {
  auto out = lsgan::reused({a.size(0), b.size(1)}, a.scalar_type());
  at::cpu::mm_out(out, a, b);
  return out;
}

// `parameters`: weight [outputs, inputs] and bias [outputs] of each layer. `activations` and `slopes`: one of each layer.
struct Dense : public torch::autograd::Function<Dense> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, at::TensorList parameters,
                            const std::vector<int64_t>& activations, const std::vector<double>& slopes) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    tensor_list kept(parameters.begin(), parameters.end());
    kept.push_back(x);
    for (size_t layer = 0; layer < activations.size(); ++layer) {
      const auto &weight = parameters[2 * layer], &bias = parameters[2 * layer + 1], &input = kept.back();
      const std::array<int64_t, 2> size{x.size(0), weight.size(0)};
      // The last one becomes a part of the graph, and is not used again.
      auto y = layer + 1 < activations.size() ? lsgan::reused(size, x.scalar_type()) : at::empty(size, x.options());
      at::cpu::addmm_out(y, bias, input, weight.t());
      activate(y, activations[layer], slopes[layer]);
      kept.push_back(std::move(y));
    }
    const auto out = kept.back();
    ctx->save_for_backward(std::move(kept));
    ctx->saved_data["activations"] = activations;
    ctx->saved_data["slopes"] = slopes;
    return out;
  }

  static tensor_list backward(AutogradContext* ctx, tensor_list by_outputs) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    const auto kept = ctx->get_saved_variables();
    const auto activations = ctx->saved_data["activations"].toIntVector();
    const auto slopes = ctx->saved_data["slopes"].toDoubleVector();
    const size_t layers = activations.size(), parameters = 2 * layers;
    // As many as forward has inputs: x, the parameters, and two that are no tensors.
    tensor_list gradients(1 + parameters + 2);
    auto gradient = by_outputs[0].clone();
    for (size_t layer = layers; layer-- > 0;) {
      const auto &weight = kept[2 * layer], &x = kept[parameters + layer], &y = kept[parameters + layer + 1];
      go_back(gradient, y, activations[layer], slopes[layer]);
      const size_t at = 1 + 2 * layer;
      if (ctx->needs_input_grad(at)) gradients[at] = product(gradient.t(), x);
      if (ctx->needs_input_grad(at + 1)) gradients[at + 1] = at::cpu::sum(gradient, {0});
      if (layer > 0 || ctx->needs_input_grad(0)) gradient = product(gradient, weight);
    }
    if (ctx->needs_input_grad(0)) gradients[0] = gradient;
    return gradients;
  }
};

}  // namespace

extern "C" {

// The network's outputs for x [n, inputs], on a CPU. `parameters` are two for each of so many layers.
at::Tensor* lsgan_dense(const at::Tensor* x, const at::Tensor* const* parameters, const int64_t* activations,
                        const double* slopes, size_t layers, char* message, size_t message_bytes) {
  return lsgan::guarded(message, message_bytes, [&] {
    tensor_list given;
    for (size_t i = 0; i < 2 * layers; ++i) given.push_back(*parameters[i]);
    const std::vector<int64_t> follow(activations, activations + layers);
    return Dense::apply(*x, at::TensorList(given), follow, std::vector<double>(slopes, slopes + layers));
  });
}

}
