// Tensors whose memory a thread uses again.
#pragma once

#include <ATen/core/Tensor.h>

namespace lsgan {

// A tensor of this thread without values that nobody else has; one from before, where there is one. Between threads memory
// would go from one core's cache to another's, and glibc's lock with it.
at::Tensor reused(at::IntArrayRef size, at::ScalarType type);

}  // namespace lsgan
