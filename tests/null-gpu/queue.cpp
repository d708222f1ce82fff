#include "queue.h"

#include <utility>

namespace null_gpu {

Queue::~Queue() {
  {
    const std::lock_guard<std::mutex> hold(lock_);
    ends_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Queue::run(Job job) {
  if (is_idle()) return job();
  run_aside(std::move(job));
}

void Queue::run_aside(Job job) {
  const std::lock_guard<std::mutex> hold(lock_);
  if (!thread_.joinable()) thread_ = std::thread([this] { work(); });
  jobs_.push_back(std::move(job));
  changed_.notify_all();
}

bool Queue::is_idle() {
  const std::lock_guard<std::mutex> hold(lock_);
  return jobs_.empty() && !is_busy_;
}

void Queue::wait() {
  std::unique_lock<std::mutex> hold(lock_);
  changed_.wait(hold, [this] { return jobs_.empty() && !is_busy_; });
}

void Queue::work() {
  std::unique_lock<std::mutex> hold(lock_);
  for (;;) {
    changed_.wait(hold, [this] { return ends_ || !jobs_.empty(); });
    if (jobs_.empty()) return;
    const Job job = std::move(jobs_.front());
    jobs_.pop_front();
    is_busy_ = true;
    hold.unlock();
    job();
    hold.lock();
    is_busy_ = false;
    changed_.notify_all();
  }
}

}  // namespace null_gpu
