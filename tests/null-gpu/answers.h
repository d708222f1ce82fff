// What the host reads of a device whose kernels do nothing.
#pragma once

#include <cstddef>

namespace null_gpu {

// A copy between host and device has been made. A training program goes on only if what it reads is what it would read
// of a device that computes, so three readings are answered:
// - the header of a half's sum: all virtual ranks are in it and good, all means are 0;
// - the count of updates behind it: one more than that count was before, unless the abort flag was set when the device
//   copied it;
// - a single byte, which is whether two tensors are equal: they are.
void written_by_host(const void *from, size_t bytes, bool is_pinned);
void read_by_host(void *to, const void *from, size_t bytes, bool is_pinned);

}  // namespace null_gpu
