// Functions of the driver that libtorch's library for NVRTC names in a table when it is opened, and that nobody calls. They
// are declared without their arguments, which is why this file has no header of NVIDIA's.
#include <string>

#include "log.h"

#define UNCALLED(name)                                          \
  extern "C" int name() {                                       \
    null_gpu::violation(#name ", which is not doubled");        \
    return 801; /* CUDA_ERROR_NOT_SUPPORTED */                  \
  }

UNCALLED(cuFuncGetAttribute)
UNCALLED(cuFuncSetAttribute)
UNCALLED(cuFuncSetCacheConfig)
UNCALLED(cuLaunchCooperativeKernel)
UNCALLED(cuLinkAddData_v2)
UNCALLED(cuLinkComplete)
UNCALLED(cuLinkCreate_v2)
UNCALLED(cuModuleLoad)
UNCALLED(cuModuleLoadDataEx)
UNCALLED(cuModuleUnload)
UNCALLED(cuOccupancyMaxActiveBlocksPerMultiprocessor)
UNCALLED(cuTensorMapEncodeTiled)
