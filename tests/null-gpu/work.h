// The work that is queued on streams.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

namespace null_gpu {

// Does nothing but to be counted. `name` is the kernel's, or the library's function that would launch some.
cudaError_t launch(cudaStream_t stream, const std::string &name);

// Copies in the stream's order. Pageable memory of the host is read before this returns, and written as well.
// With Contents::states device memory holds nothing but states that came from the host's pageable memory; of all else,
// which a device would have computed, the host reads zeros, so that the weights stay what they were, and two runs read
// the same.
enum class Contents { states, all };
cudaError_t copy(void *to, const void *from, size_t bytes, cudaStream_t stream, Contents contents);
cudaError_t set(void *to, int byte, size_t bytes, cudaStream_t stream);

}  // namespace null_gpu
