// CUDA's runtime: memory and copies.
#include <cstring>

#include "aliases.h"
#include "device.h"
#include "log.h"
#include "memory.h"
#include "stream.h"
#include "work.h"

using namespace null_gpu;

namespace {

cudaError_t allocate(void **memory, Kind kind, size_t bytes) {
  choose_device();
  *memory = take(kind, bytes, current_device());
  return *memory == nullptr ? failed(cudaErrorMemoryAllocation) : cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaMalloc(void **memory, size_t bytes) {
  const cudaError_t error = refuse_in_capture("cudaMalloc");
  return error == cudaSuccess ? allocate(memory, Kind::device, bytes) : error;
}

cudaError_t cudaMallocAsync(void **memory, size_t bytes, cudaStream_t) { return allocate(memory, Kind::device,
                            bytes); }

cudaError_t cudaHostAlloc(void **memory, size_t bytes, unsigned) {
  const cudaError_t error = refuse_in_capture("cudaHostAlloc");
  return error == cudaSuccess ? allocate(memory, Kind::pinned, bytes) : error;
}

cudaError_t cudaFree(void *memory) {
  // libtorch frees nothing to make a context.
  if (memory == nullptr) return cudaSuccess;
  if (const cudaError_t error = refuse_in_capture("cudaFree")) return error;
  stream_of(nullptr).queue.wait();
  give(memory);
  return cudaSuccess;
}

cudaError_t cudaFreeAsync(void *memory, cudaStream_t stream) {
  stream_of(stream).queue.run([=] { give(memory); });
  return cudaSuccess;
}

cudaError_t cudaFreeHost(void *memory) {
  if (const cudaError_t error = refuse_in_capture("cudaFreeHost")) return error;
  stream_of(nullptr).queue.wait();
  give(memory);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes) {
  *total_bytes = device_memory_bytes;
  *free_bytes = device_memory_bytes - static_cast<size_t>(value(Gauge::device_bytes));
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind) {
  count(Count::copy_syncs);
  if (const cudaError_t error = refuse_in_capture("cudaMemcpy")) return error;
  const cudaError_t error = copy(to, from, bytes, nullptr, Contents::states);
  stream_of(nullptr).queue.wait();
  return error;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  return copy(to, from, bytes, stream, Contents::states);
}

cudaError_t cudaMemcpyPeerAsync(void *to, int, const void *from, int, size_t bytes, cudaStream_t stream) {
  return copy(to, from, bytes, stream, Contents::states);
}

cudaError_t cudaMemset(void *memory, int byte, size_t bytes) { return set(memory, byte, bytes, nullptr); }

cudaError_t cudaMemsetAsync(void *memory, int byte, size_t bytes, cudaStream_t stream) {
  return set(memory, byte, bytes, stream);
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *of, const void *address) {
  const Place place = place_of(address);
  *of = {};
  of->type = cudaMemoryTypeUnregistered;
  of->device = cudaInvalidDeviceId;
  if (place.kind == Kind::pageable) return cudaSuccess;
  of->type = place.kind == Kind::device ? cudaMemoryTypeDevice : cudaMemoryTypeHost;
  of->device = place.device;
  of->devicePointer = const_cast<void *>(address);
  if (place.kind == Kind::pinned) of->hostPointer = const_cast<void *>(address);
  return cudaSuccess;
}

// Kernels' variables, which none reads.
cudaError_t cudaGetSymbolAddress(void **address, const void *) {
  static char room[1 << 16];
  *address = room;
  return cudaSuccess;
}

cudaError_t cudaMemcpyToSymbol(const void *, const void *, size_t, size_t, cudaMemcpyKind) { return cudaSuccess; }

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *pool, int) {
  *pool = nullptr;
  return cudaSuccess;
}

}  // extern "C"

NULL_GPU_SUCCEEDS(cudaMemPoolGetAttribute)
NULL_GPU_SUCCEEDS(cudaMemPoolSetAttribute)
NULL_GPU_SUCCEEDS(cudaMemPoolSetAccess)
NULL_GPU_SUCCEEDS(cudaMemPoolTrimTo)
NULL_GPU_SUCCEEDS(cudaHostRegister)
NULL_GPU_SUCCEEDS(cudaHostUnregister)
