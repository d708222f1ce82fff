#include "memory.h"

#include <sys/mman.h>

#include <atomic>
#include <map>
#include <mutex>

#include "log.h"

namespace null_gpu {
namespace {

struct Block {
  size_t bytes;
  Place place;
};

std::mutex &lock = *new std::mutex;
// By the first address.
std::map<const char *, Block> &blocks = *new std::map<const char *, Block>;

constexpr size_t page_bytes = 4096;

bool is_refused() {
  static std::atomic<long> asked;
  static const long from = setting("FAIL_ALLOCATIONS_FROM", 0), only = setting("FAIL_ALLOCATION", 0);
  const long nth = ++asked;
  return (from > 0 && nth >= from) || nth == only;
}

Gauge gauge_of(Kind kind) { return kind == Kind::device ? Gauge::device_bytes : Gauge::pinned_bytes; }

}  // namespace

void *take(Kind kind, size_t bytes, int device) {
  count(kind == Kind::device ? Count::device_allocations : Count::pinned_allocations);
  if (is_refused()) return nullptr;
  const size_t whole = (bytes / page_bytes + 1) * page_bytes;
  // Pages come into being when they are written: kernels write none, so that large models fit into small hosts.
  void *memory = mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  gauge(gauge_of(kind), static_cast<long>(whole));
  const std::lock_guard<std::mutex> hold(lock);
  blocks[static_cast<char *>(memory)] = Block{whole, Place{kind, device}};
  return memory;
}

void give(void *memory) {
  if (memory == nullptr) return;
  const std::lock_guard<std::mutex> hold(lock);
  const auto found = blocks.find(static_cast<char *>(memory));
  if (found == blocks.end()) return violation("memory is freed that was not allocated");
  gauge(gauge_of(found->second.place.kind), -static_cast<long>(found->second.bytes));
  munmap(memory, found->second.bytes);
  blocks.erase(found);
}

Place place_of(const void *address) {
  const auto *at = static_cast<const char *>(address);
  const std::lock_guard<std::mutex> hold(lock);
  auto behind = blocks.upper_bound(at);
  if (behind == blocks.begin()) return Place{Kind::pageable, 0};
  const auto &[first, block] = *--behind;
  return at < first + block.bytes ? block.place : Place{Kind::pageable, 0};
}

}  // namespace null_gpu
