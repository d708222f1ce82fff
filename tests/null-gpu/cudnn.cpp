// cuDNN, as far as libtorch calls it for our networks. Each plan that is executed counts as one kernel.
#include <cudnn.h>

#include <cstdio>

#include "aliases.h"
#include "work.h"

// The types that cuDNN's headers leave open.
struct cudnnContext {
  cudaStream_t stream = nullptr;
};
struct cudnnTensorStruct {};
struct cudnnActivationStruct {};

namespace {

struct BackendDescriptor {
  cudnnBackendDescriptorType_t type;
};

// One engine without a workspace is what every heuristic finds.
constexpr int64_t engines = 1;

cudnnStatus_t execute(cudnnHandle_t handle, const char *name) {
  null_gpu::launch(handle->stream, name);
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace

extern "C" {

size_t cudnnGetVersion() { return CUDNN_VERSION; }

size_t cudnnGetCudartVersion() { return 13000; }

const char *cudnnGetErrorString(cudnnStatus_t) { return "an error of the null GPU"; }

void cudnnGetLastErrorString(char *message, size_t len) { std::snprintf(message, len, "an error of the null GPU"); }

cudnnStatus_t cudnnCreate(cudnnHandle_t *handle) {
  *handle = new cudnnContext;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetStream(cudnnHandle_t handle, cudaStream_t *stream) {
  *stream = handle->stream;
  return CUDNN_STATUS_SUCCESS;
}

// The interface of convolutions: descriptors of anything, whose attributes nobody looks at here.

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *descriptor) {
  *descriptor = new BackendDescriptor{type};
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
  delete static_cast<BackendDescriptor *>(descriptor);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t, int64_t, int64_t *count, void *values) {
  const bool has_one = name == CUDNN_ATTR_ENGINEHEUR_RESULTS || name == CUDNN_ATTR_ENGINECFG_ENGINE;
  const bool is_zero = name == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE || name == CUDNN_ATTR_ENGINE_GLOBAL_INDEX;
  const bool is_count = name == CUDNN_ATTR_OPERATIONGRAPH_ENGINE_GLOBAL_COUNT;
  if (count != nullptr) *count = has_one || is_zero || is_count ? 1 : 0;
  if (values != nullptr && (is_zero || is_count)) *static_cast<int64_t *>(values) = is_count ? engines : 0;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t, cudnnBackendDescriptor_t) {
  return execute(handle, "cudnnBackendExecute");
}

// Batch norm.

cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t *descriptor) {
  *descriptor = new cudnnTensorStruct;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t descriptor) {
  delete descriptor;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnCreateActivationDescriptor(cudnnActivationDescriptor_t *descriptor) {
  *descriptor = new cudnnActivationStruct;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnDestroyActivationDescriptor(cudnnActivationDescriptor_t descriptor) {
  delete descriptor;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize(cudnnHandle_t, cudnnBatchNormMode_t,
                                                                       cudnnBatchNormOps_t, cudnnTensorDescriptor_t,
                                                                       cudnnTensorDescriptor_t,
                                                                       cudnnTensorDescriptor_t,
                                                                       cudnnTensorDescriptor_t,
                                                                       cudnnActivationDescriptor_t, size_t *bytes) {
  *bytes = 1024;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetBatchNormalizationTrainingExReserveSpaceSize(cudnnHandle_t, cudnnBatchNormMode_t,
                                                                   cudnnBatchNormOps_t, cudnnActivationDescriptor_t,
                                                                   cudnnTensorDescriptor_t, size_t *bytes) {
  *bytes = 1024;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetBatchNormalizationBackwardExWorkspaceSize(cudnnHandle_t, cudnnBatchNormMode_t,
                                                                cudnnBatchNormOps_t, cudnnTensorDescriptor_t,
                                                                cudnnTensorDescriptor_t, cudnnTensorDescriptor_t,
                                                                cudnnTensorDescriptor_t, cudnnTensorDescriptor_t,
                                                                cudnnTensorDescriptor_t, cudnnActivationDescriptor_t,
                                                                size_t *bytes) {
  *bytes = 1024;
  return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t null_gpu_batch_norm(cudnnHandle_t handle) { return execute(handle,
                                         "cudnnBatchNormalizationForward"); }
static cudnnStatus_t null_gpu_batch_norm_backward(cudnnHandle_t handle) { return execute(handle,
                                                  "cudnnBatchNormalizationBackward"); }

}  // extern "C"

NULL_GPU_IS(cudnnBatchNormalizationForwardTrainingEx, null_gpu_batch_norm)
NULL_GPU_IS(cudnnBatchNormalizationForwardInference, null_gpu_batch_norm)
NULL_GPU_IS(cudnnBatchNormalizationBackwardEx, null_gpu_batch_norm_backward)

NULL_GPU_SUCCEEDS(cudnnBackendFinalize)
NULL_GPU_SUCCEEDS(cudnnBackendSetAttribute)
NULL_GPU_SUCCEEDS(cudnnSetTensorNdDescriptor)
NULL_GPU_SUCCEEDS(cudnnSetActivationDescriptor)
