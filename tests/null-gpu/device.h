// The devices that there seem to be.
#pragma once

#include <cuda_runtime_api.h>

namespace null_gpu {

constexpr const char *device_name = "Null GPU";
constexpr int cuda_version = 13000;

// NULL_GPU_DEVICES of them; 1 by default.
int device_count();

// Of the calling thread; the first, where it has none yet.
int current_device();
bool set_current_device(int device);
bool has_current_device();
// What the runtime does for a thread that has no device yet. The driver does not.
void choose_device();

// As of an H100, of which libtorch has all kernels; 1 for what is a matter of yes or no.
int attribute(cudaDeviceAttr which);

}  // namespace null_gpu
