// CUDA's runtime: streams, events and graphs.
#include "aliases.h"
#include "log.h"
#include "stream.h"

using namespace null_gpu;

extern "C" {

// Streams.

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags, int) {
  *stream = make_stream(flags);
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  destroy_stream(stream);
  return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  if (const cudaError_t error = refuse_if_captured(stream_of(stream), "cudaStreamQuery")) return error;
  return stream_of(stream).queue.is_idle() ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return synchronize(stream); }

// Only the null stream has work that is not done at once, by NCCL.
cudaError_t cudaDeviceSynchronize() {
  count(Count::device_syncs);
  if (const cudaError_t error = refuse_in_capture("cudaDeviceSynchronize")) return error;
  stream_of(nullptr).queue.wait();
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) { return wait_for(stream, event); }

cudaError_t cudaStreamAddCallback(cudaStream_t stream, cudaStreamCallback_t callback, void *data, unsigned) {
  stream_of(stream).queue.run_aside([=] { callback(stream, cudaSuccess, data); });
  return cudaSuccess;
}

// Events.

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned) {
  *event = new CUevent_st;
  gauge(Gauge::events, 1);
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event) { return cudaEventCreateWithFlags(event, 0); }

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  gauge(Gauge::events, -1);
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) { return record(event, stream); }

cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned) { return record(event,
                                     stream); }

cudaError_t cudaEventQuery(cudaEvent_t event) { return failed(query(event)); }

cudaError_t cudaEventSynchronize(cudaEvent_t event) { return synchronize(event); }

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t, cudaEvent_t) {
  *ms = 0.01F;
  return cudaSuccess;
}

// Captures and graphs.

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) { return begin_capture(stream,
                                   mode); }

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) { return end_capture(stream, graph); }

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus *status) {
  const Capture *capture = stream_of(stream).capture;
  *status = capture == nullptr ? cudaStreamCaptureStatusNone : cudaStreamCaptureStatusActive;
  if (capture != nullptr && capture->is_invalid) *status = cudaStreamCaptureStatusInvalidated;
  return cudaSuccess;
}

cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus *status, unsigned long long *id,
                                     cudaGraph_t *graph, const cudaGraphNode_t **nodes,
                                     const cudaGraphEdgeData **edges, size_t *count) {
  const Capture *capture = stream_of(stream).capture;
  if (id != nullptr) *id = capture == nullptr ? 0 : capture->id;
  if (graph != nullptr) *graph = capture == nullptr ? nullptr : capture->graph;
  if (nodes != nullptr) *nodes = nullptr;
  if (edges != nullptr) *edges = nullptr;
  if (count != nullptr) *count = 0;
  return cudaStreamIsCapturing(stream, status);
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode *mode) {
  exchange_thread_mode(mode);
  return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *, size_t *nodes) {
  *nodes = static_cast<size_t>(graph->nodes);
  return cudaSuccess;
}

cudaError_t cudaGraphNodeGetDependencies(cudaGraphNode_t, cudaGraphNode_t *, cudaGraphEdgeData *, size_t *count) {
  *count = 0;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *graph, cudaGraph_t from, unsigned long long) {
  *graph = new CUgraphExec_st{from->nodes};
  gauge(Gauge::graphs, 1);
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  if (is_captured(stream_of(stream), "graph")) return cudaSuccess;
  count(Count::graph_launches);
  count(Count::graph_nodes, graph->nodes);
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  gauge(Gauge::graphs, -1);
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
  gauge(Gauge::graphs, -1);
  delete graph;
  return cudaSuccess;
}

}  // extern "C"

NULL_GPU_SUCCEEDS(cudaGraphDebugDotPrint)
