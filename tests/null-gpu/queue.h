// The work of one stream, in its order.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace null_gpu {

// Work is done by the thread that queues it, unless work that may block is before it (NCCL's calls): from there on a
// thread of the queue does it. So a run without NCCL has no other threads, and one with it is as asynchronous as a GPU.
class Queue {
 public:
  using Job = std::function<void()>;

  ~Queue();
  // Behind all that is queued.
  void run(Job job);
  // The same, for work that may block.
  void run_aside(Job job);
  bool is_idle();
  // Returns when all that is queued now is done.
  void wait();

 private:
  void work();

  std::mutex lock_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  std::thread thread_;
  bool is_busy_ = false, ends_ = false;
};

}  // namespace null_gpu
