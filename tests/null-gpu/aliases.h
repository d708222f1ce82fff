// Many functions of NVIDIA's libraries need one answer. Their names and types are those of NVIDIA's headers.
#pragma once

extern "C" {
// All of NVIDIA's libraries say success by 0.
[[gnu::used]] static int null_gpu_success() { return 0; }
}

// `function` is `other`, of this file, which may have fewer parameters: all are passed in registers or by the caller.
#define NULL_GPU_IS(function, other) extern "C" decltype(function) function __attribute__((alias(#other)));

#define NULL_GPU_SUCCEEDS(function) NULL_GPU_IS(function, null_gpu_success)
