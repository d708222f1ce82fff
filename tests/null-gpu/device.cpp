#include "device.h"

#include "log.h"

namespace null_gpu {
namespace {

constexpr int none = -1;
thread_local int current = none;

}  // namespace

int device_count() {
  static const int devices = static_cast<int>(setting("DEVICES", 1));
  return devices;
}

int current_device() { return current == none ? 0 : current; }

bool has_current_device() { return current != none; }

void choose_device() {
  if (current == none) current = 0;
}

bool set_current_device(int device) {
  if (device < 0 || device >= device_count()) return false;
  current = device;
  return true;
}

int attribute(cudaDeviceAttr which) {
  switch (which) {
    case cudaDevAttrComputeCapabilityMajor: return 9;
    case cudaDevAttrComputeCapabilityMinor: return 0;
    case cudaDevAttrMultiProcessorCount: return 132;
    case cudaDevAttrWarpSize: return 32;
    case cudaDevAttrMaxThreadsPerBlock: return 1024;
    case cudaDevAttrMaxThreadsPerMultiProcessor: return 2048;
    case cudaDevAttrMaxBlocksPerMultiprocessor: return 32;
    case cudaDevAttrMaxRegistersPerBlock: return 65536;
    case cudaDevAttrMaxRegistersPerMultiprocessor: return 65536;
    case cudaDevAttrMaxSharedMemoryPerBlock: return 49152;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: return 232448;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: return 233472;
    default: return 1;
  }
}

}  // namespace null_gpu
