// What the null GPU counts and writes down, as JSON lines.
#pragma once

#include <map>
#include <string>

namespace null_gpu {

// Counted since the half before, under these names.
#define NULL_GPU_COUNTS(EACH)                                                                                   \
  EACH(launches) EACH(captured) EACH(graph_launches) EACH(graph_nodes)                                          \
  EACH(host_to_device) EACH(device_to_host) EACH(on_device) EACH(sets) EACH(pageable)                           \
  EACH(stream_syncs) EACH(device_syncs) EACH(event_syncs) EACH(copy_syncs)                                      \
  EACH(event_records) EACH(event_waits) EACH(event_queries) EACH(host_functions)                                \
  EACH(device_allocations) EACH(pinned_allocations)

// What there is now.
#define NULL_GPU_GAUGES(EACH) EACH(device_bytes) EACH(pinned_bytes) EACH(streams) EACH(events) EACH(graphs)

#define NULL_GPU_ENUMERATOR(name) name,
enum class Count { NULL_GPU_COUNTS(NULL_GPU_ENUMERATOR) how_many };
enum class Gauge { NULL_GPU_GAUGES(NULL_GPU_ENUMERATOR) how_many };
#undef NULL_GPU_ENUMERATOR

void count(Count what, long by = 1);
void gauge(Gauge what, long by);
long value(Gauge what);

// A kernel or a library's plan was launched.
void count_kernel(const std::string &name);

// A half of a step has reported to the host: writes a line of what was counted since the line before.
void end_half();

// A capture ended: writes a line of its nodes.
void log_capture(unsigned long long id, long nodes, const std::map<std::string, long> &kinds);

// The program did what CUDA forbids, or what loses work: writes a line at once.
void violation(const std::string &what);

// A number from the environment variable NULL_GPU_<name>.
long setting(const char *name, long otherwise);

}  // namespace null_gpu
