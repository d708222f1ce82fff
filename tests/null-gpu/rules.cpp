// Breaks each rule of stream capture once, and some that hold without: the null GPU must notice. Ends with 1, and names
// the rules, where it does not.
#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <future>
#include <thread>

namespace {

int unnoticed = 0;

void expect(const char *rule, int wanted, int found) {
  if (wanted == found) return;
  ++unnoticed;
  std::printf("%s: the error is %d and should be %d\n", rule, found, wanted);
}

cudaStream_t new_stream() {
  cudaStream_t stream = nullptr;
  (void)cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, 0);
  return stream;
}

cudaEvent_t new_event() {
  cudaEvent_t event = nullptr;
  (void)cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  return event;
}

// How a capture ends in which `work` is done.
cudaError_t captured(cudaStreamCaptureMode mode, const std::function<void(cudaStream_t)> &work) {
  const cudaStream_t stream = new_stream();
  (void)cudaStreamBeginCapture(stream, mode);
  work(stream);
  cudaGraph_t graph = nullptr;
  return cudaStreamEndCapture(stream, &graph);
}

cudaError_t allocate() {
  void *memory = nullptr;
  return cudaMalloc(&memory, 1);
}

void calls_that_are_not_safe() {
  const auto local = cudaStreamCaptureModeThreadLocal;
  expect("nothing is broken", cudaSuccess, captured(local, [](cudaStream_t) {}));
  const auto ended = captured(local, [](cudaStream_t) {
    expect("cudaMalloc in a capture", cudaErrorStreamCaptureUnsupported, allocate());
  });
  expect("a capture in which memory was allocated", cudaErrorStreamCaptureInvalidated, ended);
  (void)captured(local, [](cudaStream_t stream) {
    expect("cudaStreamSynchronize of it", cudaErrorStreamCaptureUnsupported, cudaStreamSynchronize(stream));
  });
  (void)captured(local, [](cudaStream_t) {
    auto mode = cudaStreamCaptureModeRelaxed;
    (void)cudaThreadExchangeStreamCaptureMode(&mode);
    expect("cudaMalloc by a thread that takes care", cudaSuccess, allocate());
    (void)cudaThreadExchangeStreamCaptureMode(&mode);
  });
  (void)captured(local, [](cudaStream_t) {
    expect("cudaMalloc of another thread", cudaSuccess, std::async(std::launch::async, allocate).get());
  });
  (void)captured(cudaStreamCaptureModeGlobal, [](cudaStream_t) {
    const auto error = std::async(std::launch::async, allocate).get();
    expect("cudaMalloc of another thread, where all are forbidden", cudaErrorStreamCaptureUnsupported, error);
  });
}

void streams_that_are_not_captured() {
  const auto local = cudaStreamCaptureModeThreadLocal;
  expect("the null stream", cudaErrorStreamCaptureUnsupported, cudaStreamBeginCapture(nullptr, local));
  const cudaEvent_t outside = new_event();
  (void)cudaEventRecord(outside, nullptr);
  (void)captured(local, [=](cudaStream_t stream) {
    const auto error = cudaStreamWaitEvent(stream, outside, 0);
    expect("an event from outside", cudaErrorStreamCaptureIsolation, error);
  });
  const cudaEvent_t inside = new_event(), back = new_event();
  const cudaStream_t other = new_stream();
  const auto fork = [=](cudaStream_t stream) {
    (void)cudaEventRecord(inside, stream);
    (void)cudaStreamWaitEvent(other, inside, 0);
  };
  expect("a stream that is not joined", cudaErrorStreamCaptureInvalidated, captured(local, fork));
  const auto joined = captured(local, [&](cudaStream_t stream) {
    fork(stream);
    (void)cudaEventRecord(back, other);
    (void)cudaStreamWaitEvent(stream, back, 0);
  });
  expect("a stream that is joined", cudaSuccess, joined);
  const cudaStream_t stream = new_stream();
  (void)cudaStreamBeginCapture(stream, local);
  const auto end = [=] {
    cudaGraph_t graph = nullptr;
    return cudaStreamEndCapture(stream, &graph);
  };
  expect("the end in another thread", cudaErrorStreamCaptureInvalidated, std::async(std::launch::async, end).get());
}

// What is behind a host function is as late as that function.
void late_work() {
  std::promise<void> goes_on;
  const auto wait = [](void *promise) { static_cast<std::promise<void> *>(promise)->get_future().wait(); };
  const cudaEvent_t event = new_event();
  expect("a host function", CUDA_SUCCESS, cuLaunchHostFunc(nullptr, wait, &goes_on));
  (void)cudaEventRecord(event, nullptr);
  expect("an event behind it", cudaErrorNotReady, cudaEventQuery(event));
  expect("a stream with it", cudaErrorNotReady, cudaStreamQuery(nullptr));
  goes_on.set_value();
  expect("waiting for it", cudaSuccess, cudaEventSynchronize(event));
  expect("an event that has happened", cudaSuccess, cudaEventQuery(event));
}

void the_driver_needs_a_context() {
  const auto record = [] {
    CUdeviceptr memory = 0;
    return cuMemAlloc(&memory, 1);
  };
  expect("a thread without a context", CUDA_ERROR_INVALID_CONTEXT, std::async(std::launch::async, record).get());
}

}  // namespace

int main() {
  (void)cudaSetDevice(0);
  calls_that_are_not_safe();
  streams_that_are_not_captured();
  late_work();
  the_driver_needs_a_context();
  return unnoticed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
