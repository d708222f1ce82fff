// The memory of the null GPU: pages of the host.
#pragma once

#include <cstddef>

namespace null_gpu {

enum class Kind { pageable, pinned, device };

// Zeros. Null where NULL_GPU_FAIL_ALLOCATIONS_FROM=n says that the n-th allocation and all after it fail, or
// NULL_GPU_FAIL_ALLOCATION=n that the n-th does; both kinds count together, from 1.
void *take(Kind kind, size_t bytes, int device);
void give(void *memory);

// What an address lies in. Memory that was not taken here is pageable.
struct Place {
  Kind kind;
  int device;
};
Place place_of(const void *address);

// What a device seems to have.
constexpr size_t device_memory_bytes = 80UL << 30;

}  // namespace null_gpu
