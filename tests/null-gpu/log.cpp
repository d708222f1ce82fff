#include "log.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>

namespace null_gpu {
namespace {

template <typename Of>
using Numbers = std::array<std::atomic<long>, static_cast<size_t>(Of::how_many)>;

#define NULL_GPU_NAME(name) #name,
constexpr const char *count_names[] = {NULL_GPU_COUNTS(NULL_GPU_NAME)};
constexpr const char *gauge_names[] = {NULL_GPU_GAUGES(NULL_GPU_NAME)};
#undef NULL_GPU_NAME

Numbers<Count> counts;
Numbers<Gauge> gauges;

// Never destroyed: threads of the program may still write while it exits.
std::mutex &lock = *new std::mutex;
std::map<std::string, long> &kernels = *new std::map<std::string, long>;

// NULL_GPU_LOG is a prefix: each process writes a file of its own. Without it only violations are shown.
FILE *file() {
  static FILE *const opened = [] {
    const char *prefix = std::getenv("NULL_GPU_LOG");
    if (prefix == nullptr) return stderr;
    const std::string path = std::string(prefix) + "." + std::to_string(getpid()) + ".jsonl";
    FILE *log = std::fopen(path.c_str(), "w");
    return log == nullptr ? stderr : log;
  }();
  return opened;
}

void write(const std::string &line) {
  std::fprintf(file(), "%s\n", line.c_str());
  // The process may be killed.
  std::fflush(file());
}

std::string quoted(const std::string &text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out + "\"";
}

std::string object(const std::map<std::string, long> &numbers) {
  std::string out = "{";
  for (const auto &[name, number] : numbers) {
    if (out.size() > 1) out += ',';
    out += quoted(name) + ":" + std::to_string(number);
  }
  return out + "}";
}

std::string field(const char *name,
                  long number) { return std::string(",\"") + name + "\":" + std::to_string(number); }

// The memory of the process that is not in files; 0 where the system does not say.
long private_kib() {
  FILE *statm = std::fopen("/proc/self/statm", "r");
  if (statm == nullptr) return 0;
  long size = 0, resident = 0, shared = 0;
  const int read = std::fscanf(statm, "%ld %ld %ld", &size, &resident, &shared);
  std::fclose(statm);
  return read == 3 ? (resident - shared) * (sysconf(_SC_PAGESIZE) / 1024) : 0;
}

}  // namespace

void count(Count what, long by) { counts[static_cast<size_t>(what)] += by; }
void gauge(Gauge what, long by) { gauges[static_cast<size_t>(what)] += by; }
long value(Gauge what) { return gauges[static_cast<size_t>(what)]; }

void count_kernel(const std::string &name) {
  count(Count::launches);
  static const bool by_name = setting("KERNELS", 0) != 0;
  if (!by_name) return;
  const std::lock_guard<std::mutex> hold(lock);
  ++kernels[name];
}

void end_half() {
  static std::atomic<long> halves;
  const std::lock_guard<std::mutex> hold(lock);
  std::string line = "{\"event\":\"half\"" + field("half", ++halves);
  for (size_t i = 0; i < counts.size(); ++i) line += field(count_names[i], counts[i].exchange(0));
  for (size_t i = 0; i < gauges.size(); ++i) line += field(gauge_names[i], gauges[i]);
  line += field("private_kib", private_kib());
  if (!kernels.empty()) line += ",\"kernels\":" + object(kernels);
  kernels.clear();
  if (file() != stderr) write(line + "}");
}

void log_capture(unsigned long long id, long nodes, const std::map<std::string, long> &kinds) {
  const std::lock_guard<std::mutex> hold(lock);
  const std::string line = "{\"event\":\"capture\"" + field("id", static_cast<long>(id)) + field("nodes", nodes);
  if (file() != stderr) write(line + ",\"kinds\":" + object(kinds) + "}");
}

void violation(const std::string &what) {
  const std::lock_guard<std::mutex> hold(lock);
  write("{\"event\":\"violation\",\"what\":" + quoted(what) + field("thread", syscall(SYS_gettid)) + "}");
}

long setting(const char *name, long otherwise) {
  const char *set = std::getenv((std::string("NULL_GPU_") + name).c_str());
  return set == nullptr ? otherwise : std::atol(set);
}

}  // namespace null_gpu
