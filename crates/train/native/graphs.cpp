// Recording what libtorch queues on a GPU as a CUDA graph, and queueing it again by one call.
//
// This is a library of its own, which the binaries carry in themselves and open when a run asks for graphs: it needs
// libtorch_cuda, which the same binaries must do without on a CPU. Nothing is linked; what it needs is there by then.
// An exception becomes a null pointer or false, and a message in the caller's buffer.
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include <cstring>
#include <exception>
#include <memory>

namespace {

struct Recording : at::cuda::CUDAGraph {
  c10::cuda::CUDAStream before;

  explicit Recording(c10::cuda::CUDAStream before) : before(before) {}

  // Memory is taken as usual again, where a recording that failed has left it otherwise.
  void leave_pool() const { c10::cuda::CUDACachingAllocator::endAllocateToPool(before.device_index(), mempool_id_); }
};

template <typename Work>
bool guarded(char* message, size_t message_bytes, Work work) {
  try {
    work();
    return true;
  } catch (const std::exception& e) {
    // What went wrong is told here, and must not be found again by the next kernel.
    (void)cudaGetLastError();
    std::strncpy(message, e.what(), message_bytes - 1);
    message[message_bytes - 1] = '\0';
    return false;
  }
}

}  // namespace

extern "C" {

// Begins to record what this thread, and its backward passes, queue on a device. With `pool`, memory is taken from where
// that recording has it: all that share a pool must be replayed in the order of their recording. Ends with
// lsgan_graphs_end, also after an error in between.
Recording* lsgan_graphs_begin(int device, Recording* pool, char* message, size_t message_bytes) {
  std::unique_ptr<Recording> recording;
  const bool good = guarded(message, message_bytes, [&] {
    const auto index = static_cast<c10::DeviceIndex>(device);
    // A recording is of the current device, and a worker has no other.
    c10::cuda::set_device(index);
    // All of a process are recorded on one stream, so that a graph of tensors that one has made and another reads
    // stays on it. The usual stream, the null one, cannot be recorded.
    static const auto stream = c10::cuda::getStreamFromPool(/*isHighPriority=*/false, index);
    c10::cuda::device_synchronize();
    recording = std::make_unique<Recording>(c10::cuda::getCurrentCUDAStream(index));
    c10::cuda::setCurrentCUDAStream(stream);
    try {
      // Of this thread alone: others ask for their events meanwhile.
      recording->capture_begin(pool == nullptr ? at::cuda::MempoolId_t{0, 0} : pool->pool(),
                               cudaStreamCaptureModeThreadLocal);
    } catch (...) {
      c10::cuda::setCurrentCUDAStream(recording->before);
      char unheard[256];
      (void)guarded(unheard, sizeof unheard, [&] { recording->leave_pool(); });
      // Never freed: libtorch's destructor throws, which ends the process, where the generator of random numbers does
      // not know the graph yet, as when there is no memory for that.
      (void)recording.release();
      throw;
    }
  });
  return good ? recording.release() : nullptr;
}

// The stream on which a recording that was begun is made.
void* lsgan_graphs_stream(Recording* recording) {
  return c10::cuda::getCurrentCUDAStream(recording->before.device_index()).stream();
}

// Ends it; false where what was queued cannot be recorded.
bool lsgan_graphs_end(Recording* recording, char* message, size_t message_bytes) {
  const bool good = guarded(message, message_bytes, [&] { recording->capture_end(); });
  c10::cuda::setCurrentCUDAStream(recording->before);
  char unheard[256];
  if (!good) (void)guarded(unheard, sizeof unheard, [&] { recording->leave_pool(); });
  return good;
}

// Queues on the current stream what was recorded.
bool lsgan_graphs_replay(Recording* recording, char* message, size_t message_bytes) {
  return guarded(message, message_bytes, [&] { recording->replay(); });
}

// Gives it back, with the memory that no other recording of its pool has.
void lsgan_graphs_free(Recording* recording) {
  char message[256];
  (void)guarded(message, sizeof message, [&] {
    c10::cuda::device_synchronize();
    delete recording;
  });
}

// Gives memory back that libtorch keeps for what is done no more.
void lsgan_graphs_empty_cache() {
  char message[256];
  (void)guarded(message, sizeof message, [] { c10::cuda::CUDACachingAllocator::emptyCache(); });
}

}
