// The rules of CUDA's stream capture. A call that breaks one is a violation in the log, and gets CUDA's error.
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "log.h"
#include "stream.h"

namespace null_gpu {
namespace {

std::mutex &lock = *new std::mutex;
// Those that go on. The count is looked at without the lock.
std::vector<Capture *> &captures = *new std::vector<Capture *>;
std::atomic<size_t> how_many{0};

thread_local cudaStreamCaptureMode thread_mode = cudaStreamCaptureModeGlobal;

long this_thread() {
  static thread_local const long id = syscall(SYS_gettid);
  return id;
}

cudaError_t broken(Capture *capture, cudaError_t error, const std::string &what) {
  if (capture != nullptr) capture->is_invalid = true;
  violation(what);
  return failed(error);
}

// Whether CUDA forbids this thread calls that may be unsafe, because of this capture.
bool forbids(const Capture &capture) {
  if (capture.thread == this_thread()) return capture.mode != cudaStreamCaptureModeRelaxed;
  return thread_mode == cudaStreamCaptureModeGlobal && capture.mode == cudaStreamCaptureModeGlobal;
}

// Work on a stream that is not captured, while a capture goes on.
void check_work_outside(const CUstream_st &stream, const char *kind) {
  const std::lock_guard<std::mutex> hold(lock);
  for (Capture *capture : captures) {
    const bool is_null = &stream == &stream_of(nullptr);
    if (is_null && stream_of(capture->origin).waits_for_the_null_stream) {
      broken(capture, cudaErrorStreamCaptureImplicit,
             std::string(kind) + " on the null stream, for which a captured stream waits");
    }
    // CUDA allows it; what is to be replayed lacks it.
    if (capture->thread == this_thread()) {
      violation(std::string(kind) + " on a stream that is not captured, by the thread that captures another");
    }
  }
}

std::vector<Capture *>::iterator of_origin(cudaStream_t stream) {
  return std::find_if(captures.begin(), captures.end(), [=](Capture *capture) { return capture->origin == stream; });
}

bool has_unjoined_work(const Capture &capture) {
  return std::any_of(capture.joined.begin(), capture.joined.end(), [](const auto &stream) { return stream.second; });
}

// Waits for an event that was not recorded in a capture.
cudaError_t wait_outside(CUstream_st &stream, cudaEvent_t event) {
  const std::shared_ptr<Happening> happening = event->happening;
  const unsigned long record = happening->last_record();
  if (Capture *capture = stream.capture) {
    // CUDA ignores an event that was never recorded.
    if (record == 0) return cudaSuccess;
    const std::lock_guard<std::mutex> hold(lock);
    return broken(capture, cudaErrorStreamCaptureIsolation,
                  "a captured stream waits for an event from outside of the capture");
  }
  count(Count::event_waits);
  if (!happening->is_reached(record)) stream.queue.run_aside([happening, record] { happening->wait(record); });
  return cudaSuccess;
}

// Waits for an event of a capture, which this stream joins, or which gets the work of another stream by it.
cudaError_t join(CUstream_st &stream, cudaEvent_t event) {
  const std::lock_guard<std::mutex> hold(lock);
  const auto is_its = [=](const Capture *capture) { return capture->id == event->capture; };
  const auto found = std::find_if(captures.begin(), captures.end(), is_its);
  Capture *own = stream.capture;
  if (found == captures.end() || (own != nullptr && own != *found)) {
    return broken(own, cudaErrorStreamCaptureIsolation, "a stream waits for an event of another capture");
  }
  if (&stream != (*found)->origin) {
    stream.capture = *found;
    (*found)->joined.emplace(&stream, true);
  } else if (event->stream != (*found)->origin) {
    (*found)->joined[event->stream] = false;
  }
  return cudaSuccess;
}

bool is_refused() {
  static std::atomic<long> ended;
  static const long refused = setting("FAIL_END_CAPTURE", 0);
  return ++ended == refused;
}

}  // namespace

bool is_captured(CUstream_st &stream, const char *kind) {
  if (how_many == 0) return false;
  Capture *capture = stream.capture;
  if (capture == nullptr) {
    check_work_outside(stream, kind);
    return false;
  }
  const std::lock_guard<std::mutex> hold(lock);
  count(Count::captured);
  ++capture->graph->nodes;
  ++capture->graph->kinds[kind];
  if (&stream != capture->origin) capture->joined[&stream] = true;
  return true;
}

cudaError_t refuse_in_capture(const char *call) {
  if (how_many == 0 || thread_mode == cudaStreamCaptureModeRelaxed) return cudaSuccess;
  const std::lock_guard<std::mutex> hold(lock);
  for (Capture *capture : captures) {
    if (forbids(*capture)) {
      return broken(capture, cudaErrorStreamCaptureUnsupported, std::string(call) + " during a capture");
    }
  }
  return cudaSuccess;
}

cudaError_t refuse_if_captured(CUstream_st &stream, const char *call) {
  if (Capture *capture = stream.capture) {
    return broken(capture, cudaErrorStreamCaptureUnsupported, std::string(call) + " of a stream that is captured");
  }
  return refuse_in_capture(call);
}

cudaError_t begin_capture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  static unsigned long long next_id = 1;
  const std::lock_guard<std::mutex> hold(lock);
  if (&stream_of(stream) == &stream_of(nullptr)) {
    return broken(nullptr, cudaErrorStreamCaptureUnsupported, "a capture of the null stream is begun");
  }
  if (stream->capture != nullptr) {
    return broken(stream->capture, cudaErrorIllegalState, "a capture of a stream that is captured is begun");
  }
  auto *capture = new Capture{next_id++, stream, mode, this_thread(), new CUgraph_st, false, {}};
  gauge(Gauge::graphs, 1);
  captures.push_back(capture);
  stream->capture = capture;
  how_many = captures.size();
  return cudaSuccess;
}

cudaError_t end_capture(cudaStream_t stream, cudaGraph_t *graph) {
  const std::lock_guard<std::mutex> hold(lock);
  *graph = nullptr;
  const auto found = of_origin(stream);
  if (found == captures.end()) return broken(nullptr, cudaErrorIllegalState, "a capture is ended that was not begun");
  const std::unique_ptr<Capture> capture(*found);
  if (capture->mode != cudaStreamCaptureModeRelaxed && capture->thread != this_thread()) {
    (void)broken(capture.get(), cudaErrorStreamCaptureWrongThread,
     "a capture is ended by another thread than began it");
  }
  if (has_unjoined_work(*capture)) {
    (void)broken(capture.get(), cudaErrorStreamCaptureUnjoined,
     "a capture ends with work that its stream does not wait for");
  }
  captures.erase(found);
  how_many = captures.size();
  for (const auto &joined : capture->joined) joined.first->capture = nullptr;
  stream->capture = nullptr;
  if (capture->is_invalid || is_refused()) {
    gauge(Gauge::graphs, -1);
    delete capture->graph;
    return failed(cudaErrorStreamCaptureInvalidated);
  }
  log_capture(capture->id, capture->graph->nodes, capture->graph->kinds);
  *graph = capture->graph;
  return cudaSuccess;
}

void exchange_thread_mode(cudaStreamCaptureMode *mode) { std::swap(*mode, thread_mode); }

cudaError_t wait_for(cudaStream_t stream, cudaEvent_t event) {
  return event->capture == 0 ? wait_outside(stream_of(stream), event) : join(stream_of(stream), event);
}

}  // namespace null_gpu
