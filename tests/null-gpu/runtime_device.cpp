// CUDA's runtime: devices, errors, kernels.
#include <dlfcn.h>

#include <cstring>
#include <mutex>
#include <unordered_map>

#include "aliases.h"
#include "device.h"
#include "log.h"
#include "memory.h"
#include "stream.h"
#include "work.h"

using namespace null_gpu;

namespace {

// The kernels' names by the address that the compiler gives each.
std::unordered_map<const void *, std::string> &kernels = *new std::unordered_map<const void *, std::string>;
std::mutex &kernels_lock = *new std::mutex;

struct Launch {
  dim3 grid, block;
  size_t shared_bytes;
  cudaStream_t stream;
};
// Between the two calls that the compiler makes of each `<<<...>>>`.
thread_local Launch pushed;

std::string name_of(const void *kernel) {
  const std::lock_guard<std::mutex> hold(kernels_lock);
  const auto found = kernels.find(kernel);
  return found == kernels.end() ? "unknown" : found->second;
}

cudaError_t launch_kernel(const void *kernel, cudaStream_t stream) {
  choose_device();
  return launch(stream, name_of(kernel));
}

}  // namespace

extern "C" {

// What the compiler's own code calls. CUDA's headers declare these for its compiler alone.

void **__cudaRegisterFatBinary(void *) {
  static void *handle;
  return &handle;
}

void __cudaRegisterFatBinaryEnd(void **) {}
void __cudaUnregisterFatBinary(void **) {}
void __cudaRegisterVar(void **, char *, char *, const char *, int, size_t, int, int) {}

void __cudaRegisterFunction(void **, const char *kernel, char *, const char *name, int, uint3 *, uint3 *, dim3 *,
                            dim3 *, int *) {
  const std::lock_guard<std::mutex> hold(kernels_lock);
  kernels[kernel] = name;
}

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared_bytes, CUstream_st *stream) {
  pushed = Launch{grid, block, shared_bytes, stream};
  return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared_bytes, void *stream) {
  *grid = pushed.grid;
  *block = pushed.block;
  *shared_bytes = pushed.shared_bytes;
  *static_cast<cudaStream_t *>(stream) = pushed.stream;
  return cudaSuccess;
}

cudaError_t __cudaGetKernel(cudaKernel_t *handle, const void *kernel) {
  *handle = static_cast<cudaKernel_t>(const_cast<void *>(kernel));
  return cudaSuccess;
}

cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3, dim3, void **, size_t, cudaStream_t stream) {
  return launch_kernel(kernel, stream);
}

cudaError_t cudaLaunchKernel(const void *kernel, dim3, dim3, void **, size_t, cudaStream_t stream) {
  return launch_kernel(kernel, stream);
}

cudaError_t cudaLaunchCooperativeKernel(const void *kernel, dim3, dim3, void **, size_t, cudaStream_t stream) {
  return launch_kernel(kernel, stream);
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *config, const void *kernel, void **) {
  return launch_kernel(kernel, config->stream);
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *attributes, const void *) {
  *attributes = {};
  attributes->maxThreadsPerBlock = attribute(cudaDevAttrMaxThreadsPerBlock);
  attributes->numRegs = 32;
  attributes->ptxVersion = attributes->binaryVersion = 90;
  return cudaSuccess;
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, const void *, int, size_t) {
  *blocks = 2;
  return cudaSuccess;
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *, int, size_t, unsigned) {
  *blocks = 2;
  return cudaSuccess;
}

// Devices.

cudaError_t cudaGetDeviceCount(int *count) {
  *count = device_count();
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int *device) {
  *device = current_device();
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  return set_current_device(device) ? cudaSuccess : failed(cudaErrorInvalidDevice);
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr which, int) {
  *value = attribute(which);
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *of, int device) {
  *of = {};
  std::strcpy(of->name, device_name);
  of->uuid.bytes[0] = static_cast<char>(device + 1);
  of->totalGlobalMem = device_memory_bytes;
  of->major = attribute(cudaDevAttrComputeCapabilityMajor);
  of->minor = attribute(cudaDevAttrComputeCapabilityMinor);
  of->multiProcessorCount = attribute(cudaDevAttrMultiProcessorCount);
  of->warpSize = attribute(cudaDevAttrWarpSize);
  of->maxThreadsPerBlock = attribute(cudaDevAttrMaxThreadsPerBlock);
  of->maxThreadsPerMultiProcessor = attribute(cudaDevAttrMaxThreadsPerMultiProcessor);
  of->maxBlocksPerMultiProcessor = attribute(cudaDevAttrMaxBlocksPerMultiprocessor);
  of->regsPerBlock = attribute(cudaDevAttrMaxRegistersPerBlock);
  of->regsPerMultiprocessor = attribute(cudaDevAttrMaxRegistersPerMultiprocessor);
  of->sharedMemPerBlock = static_cast<size_t>(attribute(cudaDevAttrMaxSharedMemoryPerBlock));
  of->sharedMemPerBlockOptin = static_cast<size_t>(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin));
  of->sharedMemPerMultiprocessor = static_cast<size_t>(attribute(cudaDevAttrMaxSharedMemoryPerMultiprocessor));
  of->maxThreadsDim[0] = of->maxThreadsDim[1] = 1024;
  of->maxThreadsDim[2] = 64;
  of->maxGridSize[0] = 2147483647;
  of->maxGridSize[1] = of->maxGridSize[2] = 65535;
  of->l2CacheSize = 50 << 20;
  of->memoryBusWidth = 5120;
  of->textureAlignment = 512;
  of->unifiedAddressing = of->concurrentKernels = of->canMapHostMemory = 1;
  return cudaSuccess;
}

cudaError_t cudaDeviceCanAccessPeer(int *can, int, int) {
  *can = 0;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char *id, int len, int device) {
  std::snprintf(id, static_cast<size_t>(len), "0000:%02d:00.0", device + 1);
  return cudaSuccess;
}

cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version) {
  *version = cuda_version;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version) {
  *version = cuda_version;
  return cudaSuccess;
}

// libtorch takes a few functions of the driver by name. Those that are not doubled say that they are not supported.
cudaError_t cudaGetDriverEntryPointByVersion(const char *name, void **function, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult *result) {
  const auto unsupported = []() -> int { return CUDA_ERROR_NOT_SUPPORTED; };
  *function = dlsym(RTLD_DEFAULT, name);
  if (*function == nullptr) *function = dlsym(RTLD_DEFAULT, (std::string(name) + "_v2").c_str());
  if (*function == nullptr) *function = reinterpret_cast<void *>(+unsupported);
  if (result != nullptr) *result = cudaDriverEntryPointSuccess;
  return cudaSuccess;
}

// Errors.

const char *cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorStreamCaptureUnsupported: return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated: return "cudaErrorStreamCaptureInvalidated";
    default: return "an error of the null GPU";
  }
}

const char *cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated: return "operation failed due to a previous error during capture";
    default: return "an error of the null GPU";
  }
}

cudaError_t cudaGetLastError() { return last_error(true); }
cudaError_t cudaPeekAtLastError() { return last_error(false); }

}  // extern "C"

NULL_GPU_SUCCEEDS(cudaFuncSetAttribute)
NULL_GPU_SUCCEEDS(cudaDeviceEnablePeerAccess)
