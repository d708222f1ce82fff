// CUDA's header of 16-bit floats needs a package that libtorch does not install. cuBLAS's headers only point to them.
#pragma once

#define __CUDA_FP16_H__
#define __CUDA_BF16_H__

struct __half;
struct __nv_bfloat16;
