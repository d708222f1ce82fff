#include "stream.h"

#include "log.h"

namespace null_gpu {
namespace {

thread_local cudaError_t last = cudaSuccess;

}  // namespace

CUstream_st &stream_of(cudaStream_t handle) {
  static CUstream_st &null_stream = *new CUstream_st;
  const bool is_null = handle == nullptr || handle == cudaStreamLegacy || handle == cudaStreamPerThread;
  return is_null ? null_stream : *handle;
}

cudaStream_t make_stream(unsigned flags) {
  auto *stream = new CUstream_st;
  stream->waits_for_the_null_stream = (flags & cudaStreamNonBlocking) == 0;
  gauge(Gauge::streams, 1);
  return stream;
}

void destroy_stream(cudaStream_t stream) {
  gauge(Gauge::streams, -1);
  delete stream;
}

cudaError_t failed(cudaError_t error) {
  if (error != cudaSuccess) last = error;
  return error;
}

cudaError_t last_error(bool forget) {
  const cudaError_t found = last;
  if (forget) last = cudaSuccess;
  return found;
}

unsigned long Happening::next_record() {
  const std::lock_guard<std::mutex> hold(lock_);
  return ++recorded_;
}

unsigned long Happening::last_record() {
  const std::lock_guard<std::mutex> hold(lock_);
  return recorded_;
}

void Happening::reach(unsigned long record) {
  const std::lock_guard<std::mutex> hold(lock_);
  reached_ = record;
  changed_.notify_all();
}

bool Happening::is_reached(unsigned long record) {
  const std::lock_guard<std::mutex> hold(lock_);
  return reached_ >= record;
}

void Happening::wait(unsigned long record) {
  std::unique_lock<std::mutex> hold(lock_);
  changed_.wait(hold, [&] { return reached_ >= record; });
}

cudaError_t record(cudaEvent_t event, cudaStream_t handle) {
  CUstream_st &stream = stream_of(handle);
  const Capture *capture = stream.capture;
  event->stream = handle;
  event->capture = capture == nullptr ? 0 : capture->id;
  if (capture != nullptr) return cudaSuccess;
  count(Count::event_records);
  const std::shared_ptr<Happening> happening = event->happening;
  const unsigned long record = happening->next_record();
  stream.queue.run([happening, record] { happening->reach(record); });
  return cudaSuccess;
}

cudaError_t query(cudaEvent_t event) {
  count(Count::event_queries);
  if (const cudaError_t error = refuse_in_capture("cudaEventQuery")) return error;
  Happening &happening = *event->happening;
  return happening.is_reached(happening.last_record()) ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t synchronize(cudaEvent_t event) {
  count(Count::event_syncs);
  if (const cudaError_t error = refuse_in_capture("cudaEventSynchronize")) return error;
  if (event->capture != 0) {
    violation("cudaEventSynchronize of an event that was recorded in a capture");
    return failed(cudaErrorCapturedEvent);
  }
  Happening &happening = *event->happening;
  happening.wait(happening.last_record());
  return cudaSuccess;
}

cudaError_t synchronize(cudaStream_t stream) {
  count(Count::stream_syncs);
  if (const cudaError_t error = refuse_if_captured(stream_of(stream), "cudaStreamSynchronize")) return error;
  stream_of(stream).queue.wait();
  return cudaSuccess;
}

}  // namespace null_gpu
