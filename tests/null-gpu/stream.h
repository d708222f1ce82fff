// Streams, events and captures: what the runtime's and the driver's calls have in common.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "queue.h"

// The types that CUDA's headers leave open.
struct CUgraph_st {
  long nodes = 0;
  std::map<std::string, long> kinds;
};

struct CUgraphExec_st {
  long nodes = 0;
};

namespace null_gpu {

struct Capture {
  unsigned long long id;
  cudaStream_t origin;
  cudaStreamCaptureMode mode;
  long thread;
  cudaGraph_t graph;
  bool is_invalid = false;
  // Streams that joined by an event, and whether they have work that the origin does not wait for.
  std::map<cudaStream_t, bool> joined;
};

// The records of an event, which are numbered from 1. It has happened when the last of them is reached.
class Happening {
 public:
  unsigned long next_record();
  unsigned long last_record();
  void reach(unsigned long record);
  bool is_reached(unsigned long record);
  void wait(unsigned long record);

 private:
  std::mutex lock_;
  std::condition_variable changed_;
  unsigned long recorded_ = 0, reached_ = 0;
};

}  // namespace null_gpu

struct CUstream_st {
  bool waits_for_the_null_stream = true;
  null_gpu::Queue queue;
  std::atomic<null_gpu::Capture *> capture{nullptr};
};

struct CUevent_st {
  // Outlives the handle where a record of it is queued.
  std::shared_ptr<null_gpu::Happening> happening = std::make_shared<null_gpu::Happening>();
  // Where it was recorded last: the capture's id, or 0.
  unsigned long long capture = 0;
  cudaStream_t stream = nullptr;
};

namespace null_gpu {

// A handle's stream; the null stream for 0 and its other names.
CUstream_st &stream_of(cudaStream_t handle);
cudaStream_t make_stream(unsigned flags);
void destroy_stream(cudaStream_t stream);

// Notes an error for cudaGetLastError, and gives it back.
cudaError_t failed(cudaError_t error);
cudaError_t last_error(bool forget);

// Work for a stream. True where the stream is being captured, and the work has become a node.
bool is_captured(CUstream_st &stream, const char *kind);

// A violation where the calling thread may not make this call because of a capture, which is invalid from then on.
cudaError_t refuse_in_capture(const char *call);
// The same for a call that waits for a stream, which must not be captured at all.
cudaError_t refuse_if_captured(CUstream_st &stream, const char *call);

cudaError_t begin_capture(cudaStream_t stream, cudaStreamCaptureMode mode);
// NULL_GPU_FAIL_END_CAPTURE=n makes the n-th fail.
cudaError_t end_capture(cudaStream_t stream, cudaGraph_t *graph);
void exchange_thread_mode(cudaStreamCaptureMode *mode);

cudaError_t record(cudaEvent_t event, cudaStream_t stream);
cudaError_t wait_for(cudaStream_t stream, cudaEvent_t event);
cudaError_t query(cudaEvent_t event);
cudaError_t synchronize(cudaEvent_t event);
cudaError_t synchronize(cudaStream_t stream);

}  // namespace null_gpu
