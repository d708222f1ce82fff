// CUDA's driver, as far as our crates and libtorch call it. A call that is missing here is named by the loader, or by
// cudarc, when it is made.
#include <cuda.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "device.h"
#include "log.h"
#include "memory.h"
#include "stream.h"
#include "work.h"

using namespace null_gpu;

namespace {

constexpr CUresult driver_error(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return CUDA_SUCCESS;
    case cudaErrorNotReady: return CUDA_ERROR_NOT_READY;
    case cudaErrorMemoryAllocation: return CUDA_ERROR_OUT_OF_MEMORY;
    default: return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
}

bool is_device(CUdevice device) { return device >= 0 && device < device_count(); }

// A device's context is told by its number, from 1.
CUcontext context_of(int device) { return reinterpret_cast<CUcontext>(static_cast<size_t>(device) + 1); }

// Unlike the runtime, the driver makes no context by itself. `call` is refused on a thread that has none.
CUresult refuse_without_context(const char *call) {
  if (has_current_device()) return CUDA_SUCCESS;
  violation(std::string(call) + " on a thread without a current context");
  return CUDA_ERROR_INVALID_CONTEXT;
}

CUresult allocate(void **memory, Kind kind, size_t bytes, const char *call) {
  if (const CUresult error = refuse_without_context(call)) return error;
  if (const cudaError_t error = refuse_in_capture(call)) return driver_error(error);
  *memory = take(kind, bytes, current_device());
  return *memory == nullptr ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

CUresult free_memory(void *memory, const char *call) {
  if (const cudaError_t error = refuse_in_capture(call)) return driver_error(error);
  stream_of(nullptr).queue.wait();
  give(memory);
  return CUDA_SUCCESS;
}

void *pointer(CUdeviceptr address) { return reinterpret_cast<void *>(address); }

}  // namespace

extern "C" {

CUresult cuInit(unsigned) { return device_count() == 0 ? CUDA_ERROR_NO_DEVICE : CUDA_SUCCESS; }

CUresult cuDriverGetVersion(int *version) {
  *version = cuda_version;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int *count) {
  *count = device_count();
  return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
  *device = ordinal;
  return is_device(ordinal) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

CUresult cuDeviceGetName(char *name, int len, CUdevice) {
  std::snprintf(name, static_cast<size_t>(len), "%s", device_name);
  return CUDA_SUCCESS;
}

// Workers tell each other by it whether they share a GPU.
CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice device) {
  std::memset(uuid, 0, sizeof *uuid);
  uuid->bytes[0] = static_cast<char>(device + 1);
  return is_device(device) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

// The header has only the newer name, which is this one's as well; drivers have both, and cudarc asks for the older.
#undef cuDeviceGetUuid
CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice device) { return cuDeviceGetUuid_v2(uuid, device); }

CUresult cuDeviceTotalMem(size_t *bytes, CUdevice) {
  *bytes = device_memory_bytes;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute which, CUdevice) {
  // The driver and the runtime number them alike.
  *value = attribute(static_cast<cudaDeviceAttr>(which));
  return CUDA_SUCCESS;
}

CUresult cuDeviceCanAccessPeer(int *can, CUdevice, CUdevice) {
  *can = 0;
  return CUDA_SUCCESS;
}

// Contexts.

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
  *context = context_of(device);
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease(CUdevice) { return CUDA_SUCCESS; }

CUresult cuDevicePrimaryCtxGetState(CUdevice, unsigned *flags, int *is_active) {
  *flags = 0;
  *is_active = 1;
  return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext context) {
  const auto number = reinterpret_cast<size_t>(context);
  return set_current_device(static_cast<int>(number) - 1) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

CUresult cuCtxGetCurrent(CUcontext *context) {
  *context = has_current_device() ? context_of(current_device()) : nullptr;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetDevice(CUdevice *device) {
  *device = current_device();
  return CUDA_SUCCESS;
}

// Memory.

CUresult cuMemAlloc(CUdeviceptr *address, size_t bytes) {
  void *memory = nullptr;
  const CUresult error = allocate(&memory, Kind::device, bytes, "cuMemAlloc");
  *address = reinterpret_cast<CUdeviceptr>(memory);
  return error;
}

CUresult cuMemHostAlloc(void **memory, size_t bytes, unsigned) { return allocate(memory, Kind::pinned, bytes,
                        "cuMemHostAlloc"); }

CUresult cuMemFree(CUdeviceptr address) { return free_memory(pointer(address), "cuMemFree"); }

CUresult cuMemFreeHost(void *memory) { return free_memory(memory, "cuMemFreeHost"); }

CUresult cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  if (const CUresult error = refuse_without_context("cuMemcpyAsync")) return error;
  return driver_error(copy(pointer(to), pointer(from), bytes, stream, Contents::all));
}

CUresult cuMemcpyHtoDAsync(CUdeviceptr to, const void *from, size_t bytes, CUstream stream) {
  if (const CUresult error = refuse_without_context("cuMemcpyHtoDAsync")) return error;
  return driver_error(copy(pointer(to), from, bytes, stream, Contents::states));
}

CUresult cuPointerGetAttribute(void *value, CUpointer_attribute which, CUdeviceptr address) {
  if (which != CU_POINTER_ATTRIBUTE_CONTEXT) return CUDA_ERROR_NOT_SUPPORTED;
  *static_cast<CUcontext *>(value) = context_of(place_of(pointer(address)).device);
  return CUDA_SUCCESS;
}

// Streams and events.

CUresult cuStreamCreate(CUstream *stream, unsigned flags) {
  if (const CUresult error = refuse_without_context("cuStreamCreate")) return error;
  *stream = make_stream(flags);
  return CUDA_SUCCESS;
}

CUresult cuStreamDestroy(CUstream stream) {
  destroy_stream(stream);
  return CUDA_SUCCESS;
}

CUresult cuStreamSynchronize(CUstream stream) { return driver_error(synchronize(stream)); }

CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned) { return driver_error(wait_for(stream, event)); }

// Work of a library that is not doubled here: of the double of NCCL, whose calls last until the other ranks call too.
CUresult cuLaunchHostFunc(CUstream stream, CUhostFn function, void *data) {
  if (is_captured(stream_of(stream), "host")) return CUDA_SUCCESS;
  count(Count::host_functions);
  stream_of(stream).queue.run_aside([=] { function(data); });
  return CUDA_SUCCESS;
}

CUresult cuEventCreate(CUevent *event, unsigned) {
  if (const CUresult error = refuse_without_context("cuEventCreate")) return error;
  *event = new CUevent_st;
  gauge(Gauge::events, 1);
  return CUDA_SUCCESS;
}

CUresult cuEventDestroy(CUevent event) {
  gauge(Gauge::events, -1);
  delete event;
  return CUDA_SUCCESS;
}

CUresult cuEventRecord(CUevent event, CUstream stream) {
  if (const CUresult error = refuse_without_context("cuEventRecord")) return error;
  return driver_error(record(event, stream));
}

CUresult cuEventQuery(CUevent event) { return driver_error(query(event)); }

CUresult cuEventSynchronize(CUevent event) { return driver_error(synchronize(event)); }

// Modules, of which nothing is read: a function is its name, which is never freed.

CUresult cuModuleLoadData(CUmodule *module, const void *) {
  if (const CUresult error = refuse_without_context("cuModuleLoadData")) return error;
  if (const cudaError_t error = refuse_in_capture("cuModuleLoadData")) return driver_error(error);
  static int loaded;
  *module = reinterpret_cast<CUmodule>(&loaded);
  return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction *function, CUmodule, const char *name) {
  *function = reinterpret_cast<CUfunction>(new std::string(name));
  return CUDA_SUCCESS;
}

CUresult cuLaunchKernel(CUfunction function, unsigned blocks_x, unsigned blocks_y, unsigned blocks_z, unsigned, unsigned,
                        unsigned, unsigned, CUstream stream, void **, void **) {
  if (const CUresult error = refuse_without_context("cuLaunchKernel")) return error;
  const auto &name = *reinterpret_cast<const std::string *>(function);
  if (blocks_x == 0 || blocks_y == 0 || blocks_z == 0) violation(name + " without blocks");
  return driver_error(launch(stream, name));
}

// NVRTC looks for tables of the driver's own, and does without.
CUresult cuGetExportTable(const void **table, const CUuuid *) {
  *table = nullptr;
  return CUDA_ERROR_NOT_FOUND;
}

// Errors.

CUresult cuGetErrorString(CUresult error, const char **words) {
  *words = error == CUDA_ERROR_OUT_OF_MEMORY ? "out of memory" : "an error of the null GPU";
  return CUDA_SUCCESS;
}

CUresult cuGetErrorName(CUresult error, const char **name) {
  *name = error == CUDA_ERROR_OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "an error of the null GPU";
  return CUDA_SUCCESS;
}

}  // extern "C"
