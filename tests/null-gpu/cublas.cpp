// cuBLAS, as far as libtorch calls it for our networks. Each product counts as one kernel.
#include "half.h"

#include <cublas_v2.h>

#include "aliases.h"
#include "work.h"

// The type that cuBLAS's headers leave open.
struct cublasContext {
  cudaStream_t stream = nullptr;
};

namespace {

cublasStatus_t multiply(cublasHandle_t handle, const char *name) {
  null_gpu::launch(handle->stream, name);
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace

extern "C" {

cublasStatus_t cublasCreate(cublasHandle_t *handle) {
  *handle = new cublasContext;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy(cublasHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGetMathMode(cublasHandle_t, cublasMath_t *mode) {
  *mode = CUBLAS_DEFAULT_MATH;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGetPointerMode(cublasHandle_t, cublasPointerMode_t *mode) {
  *mode = CUBLAS_POINTER_MODE_HOST;
  return CUBLAS_STATUS_SUCCESS;
}

// Overloaded in cuBLAS's headers, so that an alias cannot name them.

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t, cublasOperation_t, int, int, int, const void *,
                            const void *, cudaDataType, int, const void *, cudaDataType, int, const void *, void *,
                            cudaDataType, int, cublasComputeType_t, cublasGemmAlgo_t) {
  return multiply(handle, "cublas gemm");
}

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t, cublasOperation_t, int, int, int,
                                          const void *, const void *, cudaDataType, int, long long, const void *,
                                          cudaDataType, int, long long, const void *, void *, cudaDataType, int,
                                          long long, int, cublasComputeType_t, cublasGemmAlgo_t) {
  return multiply(handle, "cublas gemm");
}

static cublasStatus_t null_gpu_matrices(cublasHandle_t handle) { return multiply(handle, "cublas gemm"); }
static cublasStatus_t null_gpu_vectors(cublasHandle_t handle) { return multiply(handle, "cublas gemv or dot"); }

}  // extern "C"

NULL_GPU_IS(cublasSgemm_v2, null_gpu_matrices)
NULL_GPU_IS(cublasDgemm_v2, null_gpu_matrices)
NULL_GPU_IS(cublasSgemmEx, null_gpu_matrices)
NULL_GPU_IS(cublasSgemmStridedBatched, null_gpu_matrices)
NULL_GPU_IS(cublasSgemv_v2, null_gpu_vectors)
NULL_GPU_IS(cublasSdot_v2, null_gpu_vectors)

NULL_GPU_SUCCEEDS(cublasSetWorkspace_v2)
NULL_GPU_SUCCEEDS(cublasSetMathMode)
NULL_GPU_SUCCEEDS(cublasSetPointerMode_v2)
