// Readings are known by their sizes and their order: see `DeviceEngine::report` in crates/train/src/engine/device.rs for
// what is copied behind an update, and crates/train/src/header.rs for the words of a header.
#include "answers.h"

#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "log.h"

namespace null_gpu {
namespace {

// A mark has three bits, seven are in a word, and a good one is 1.
constexpr int64_t full_marks = 01111111;
constexpr size_t mark_bits = 3;
constexpr size_t mark_words_max = 4096 / 7 + 1;
// Words of a header besides the marks, at least: control words, means, one bucket.
constexpr size_t other_words_min = 8;
constexpr size_t header_words_step = 16;
// Pageable memory of so many bytes is a state, which replaces the weights; a step copies batches from pinned memory.
constexpr size_t state_bytes_min = 4096;

struct Run {
  std::mutex lock;
  // Those of a whole sum, which the program copies to the device when it starts.
  std::vector<int64_t> marks{1};
  // By the address of each count: a worker's probe has an engine of its own.
  std::map<const void *, int64_t> applied;
  bool is_aborted = false, is_behind_header = false;
};
Run &run = *new Run;

bool is_last_word(int64_t word) {
  int64_t marks = 0;
  for (size_t count = 1; count <= 7; ++count) {
    marks = (marks << mark_bits) | 1;
    if (word == marks) return true;
  }
  return false;
}

// The marks of a sum in which every virtual rank is once and good; empty if these words are anything else.
std::vector<int64_t> marks_in(const void *from, size_t bytes) {
  const size_t words = bytes / sizeof(int64_t);
  if (bytes % sizeof(int64_t) != 0 || words == 0 || words > mark_words_max) return {};
  std::vector<int64_t> found(words);
  std::memcpy(found.data(), from, bytes);
  for (size_t i = 0; i + 1 < words; ++i) {
    if (found[i] != full_marks) return {};
  }
  return is_last_word(found.back()) ? found : std::vector<int64_t>{};
}

template <typename Word>
void put_header(void *to, size_t bytes) {
  std::memset(to, 0, bytes);
  for (size_t i = 0; i < run.marks.size(); ++i) static_cast<Word *>(to)[i] = static_cast<Word>(run.marks[i]);
}

// Words of `reduction: fast` have four bytes, others eight, which the header's length tells.
bool has_short_words(size_t bytes) {
  const size_t least = run.marks.size() + other_words_min;
  const size_t words = (least + header_words_step - 1) / header_words_step * header_words_step;
  return bytes < words * sizeof(int64_t);
}

bool is_header(size_t bytes) {
  const size_t step = header_words_step * sizeof(float);
  return bytes >= step && bytes % step == 0 && bytes < state_bytes_min + run.marks.size() * sizeof(int64_t);
}

}  // namespace

void written_by_host(const void *from, size_t bytes, bool is_pinned) {
  const std::lock_guard<std::mutex> hold(run.lock);
  if (bytes >= state_bytes_min && !is_pinned) run.applied.clear();
  if (bytes == sizeof(uint32_t) && is_pinned) {
    uint32_t flag = 0;
    std::memcpy(&flag, from, sizeof flag);
    run.is_aborted = flag != 0;
  }
  if (auto marks = marks_in(from, bytes); !marks.empty()) run.marks = std::move(marks);
}

void read_by_host(void *to, const void *from, size_t bytes, bool is_pinned) {
  const std::lock_guard<std::mutex> hold(run.lock);
  if (bytes == 1) *static_cast<char *>(to) = 1;
  if (!is_pinned) return;
  if (bytes == sizeof(int64_t) && run.is_behind_header) {
    int64_t &applied = run.applied[from];
    if (!run.is_aborted) ++applied;
    std::memcpy(to, &applied, sizeof applied);
    run.is_behind_header = false;
  } else if (is_header(bytes)) {
    has_short_words(bytes) ? put_header<float>(to, bytes) : put_header<int64_t>(to, bytes);
    run.is_behind_header = true;
    end_half();
  }
}

}  // namespace null_gpu
