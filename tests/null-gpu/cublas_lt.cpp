// cuBLASLt, as far as libtorch calls it for our networks. Each product counts as one kernel.
#include "half.h"

#include <cublasLt.h>

#include "aliases.h"
#include "work.h"

namespace {

template <typename Descriptor>
cublasStatus_t create(Descriptor **descriptor) {
  *descriptor = new Descriptor{};
  return CUBLAS_STATUS_SUCCESS;
}

template <typename Descriptor>
cublasStatus_t destroy(Descriptor *descriptor) {
  delete descriptor;
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace

extern "C" {

size_t cublasLtGetVersion() { return 130100; }

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *made, cublasComputeType_t,
                                        cudaDataType_t) { return create(made); }
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t made) { return destroy(made); }
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *made, cudaDataType, uint64_t, uint64_t,
                                          int64_t) { return create(made); }
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t made) { return destroy(made); }
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *made) { return create(made); }
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t made) { return destroy(made); }

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatmulPreference_t, int,
                                              cublasLtMatmulHeuristicResult_t *results, int *found) {
  *results = {};
  *found = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t, const void *, const void *,
                              cublasLtMatrixLayout_t, const void *, cublasLtMatrixLayout_t, const void *,
                              const void *, cublasLtMatrixLayout_t, void *, cublasLtMatrixLayout_t,
                              const cublasLtMatmulAlgo_t *, void *, size_t, cudaStream_t stream) {
  null_gpu::launch(stream, "cublasLtMatmul");
  return CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"

NULL_GPU_SUCCEEDS(cublasLtMatmulDescSetAttribute)
NULL_GPU_SUCCEEDS(cublasLtMatrixLayoutSetAttribute)
NULL_GPU_SUCCEEDS(cublasLtMatmulPreferenceSetAttribute)
