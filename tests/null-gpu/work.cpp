#include "work.h"

#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "answers.h"
#include "log.h"
#include "memory.h"
#include "stream.h"

namespace null_gpu {
namespace {

Count count_of(Kind to, Kind from) {
  if (from != Kind::device) return Count::host_to_device;
  return to == Kind::device ? Count::on_device : Count::device_to_host;
}

// What is smaller is no state. A state is read from behind its first fields, which are the host's business.
constexpr size_t state_bytes_min = 4096;

// The states in device memory: where, and how long.
std::mutex &states_lock = *new std::mutex;
std::map<const char *, size_t> &states = *new std::map<const char *, size_t>;

void put_state(void *to, const void *from, size_t bytes) {
  std::memcpy(to, from, bytes);
  if (bytes < state_bytes_min) return;
  const std::lock_guard<std::mutex> hold(states_lock);
  states[static_cast<char *>(to)] = bytes;
}

// Whether these bytes are a state to its end. libtorch gives the memory to other tensors later, which have another length.
bool is_state(const void *from, size_t bytes) {
  const auto *first = static_cast<const char *>(from);
  const std::lock_guard<std::mutex> hold(states_lock);
  auto behind = states.upper_bound(first);
  if (behind == states.begin()) return false;
  const auto &[start, state_bytes] = *--behind;
  return first < start + state_bytes_min && first + bytes == start + state_bytes;
}

void copy_contents(void *to, Kind to_kind, const void *from, Kind from_kind, size_t bytes, Contents contents) {
  const bool reads = to_kind != Kind::device, writes = from_kind != Kind::device;
  if (contents == Contents::all || (reads && writes)) {
    std::memcpy(to, from, bytes);
  } else if (from_kind == Kind::pageable) {
    put_state(to, from, bytes);
  } else if (reads && is_state(from, bytes)) {
    std::memcpy(to, from, bytes);
  } else if (reads) {
    std::memset(to, 0, bytes);
  }
}

// Makes the copy, and answers what the host reads by it. What all contents are copied of is real.
void copy_now(void *to, Kind to_kind, const void *from, Kind from_kind, size_t bytes, Contents contents) {
  copy_contents(to, to_kind, from, from_kind, bytes, contents);
  if (contents == Contents::all) return;
  if (from_kind != Kind::device) written_by_host(from, bytes, from_kind == Kind::pinned);
  if (from_kind == Kind::device && to_kind != Kind::device) read_by_host(to, from, bytes, to_kind == Kind::pinned);
}

}  // namespace

cudaError_t launch(cudaStream_t handle, const std::string &name) {
  if (is_captured(stream_of(handle), "kernel")) return cudaSuccess;
  count_kernel(name);
  return cudaSuccess;
}

cudaError_t copy(void *to, const void *from, size_t bytes, cudaStream_t handle, Contents contents) {
  CUstream_st &stream = stream_of(handle);
  const Kind to_kind = place_of(to).kind, from_kind = place_of(from).kind;
  const bool is_pageable = to_kind == Kind::pageable || from_kind == Kind::pageable;
  if (is_captured(stream, "copy")) {
    // The replayed copy would use memory that the program may have freed.
    if (is_pageable) violation("a copy of pageable memory is captured");
    return cudaSuccess;
  }
  count(count_of(to_kind, from_kind));
  if (is_pageable) count(Count::pageable);
  if (from_kind == Kind::pageable && !stream.queue.is_idle()) {
    const auto *first = static_cast<const char *>(from);
    const auto staged = std::make_shared<std::vector<char>>(first, first + bytes);
    stream.queue.run([=] { copy_now(to, to_kind, staged->data(), from_kind, bytes, contents); });
    return cudaSuccess;
  }
  stream.queue.run([=] { copy_now(to, to_kind, from, from_kind, bytes, contents); });
  if (to_kind == Kind::pageable) stream.queue.wait();
  return cudaSuccess;
}

cudaError_t set(void *to, int byte, size_t bytes, cudaStream_t handle) {
  CUstream_st &stream = stream_of(handle);
  if (is_captured(stream, "set")) return cudaSuccess;
  count(Count::sets);
  stream.queue.run([=] { std::memset(to, byte, bytes); });
  return cudaSuccess;
}

}  // namespace null_gpu
