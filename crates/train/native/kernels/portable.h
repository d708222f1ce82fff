// What a GPU's engine does with its sums and its state: `crates/train/src/kernels` calls these.
//
// NVRTC compiles these files for GPUs at run time, and the host's compiler for a CPU, where tests rehearse the engine. Both give
// the same bits: each operation is rounded once (`--fmad=false`), and what threads find out together is a maximum.
// (But the gradients' norm: the order of its additions is the device's. On a CPU it is that of `clip.rs`.)
//
// `portable.h`: what differs between both, and the words of a sum. `sums.h`: adds virtual ranks to a sum. `update.h`: applies it.
// They are one source, in this order, without #include.
//
// A kernel is a function of its arguments and of a block's number. The threads of a block share the work of `each`; on a CPU
// one thread does all of it. Structures are those of `kernels/args.rs`, field by field.
#ifdef __CUDACC_RTC__
#define LSGAN static __device__ __forceinline__
using int32_t = int;
using uint32_t = unsigned int;
using int64_t = long long;
using uint64_t = unsigned long long;
#else
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#define LSGAN static inline
#endif

// A kernel under the name by which it is found.
#ifdef __CUDACC_RTC__
#define LSGAN_KERNEL(name, Args) \
  extern "C" __global__ void lsgan_kernel_##name(const lsgan::Args args) { lsgan::name(args, blockIdx.x); }
#else
#define LSGAN_KERNEL(name, Args)                                                          \
  extern "C" bool lsgan_kernel_##name(const void* args, size_t bytes, uint32_t blocks) {         \
    if (bytes != sizeof(lsgan::Args)) return false;                                       \
    for (uint32_t block = 0; block < blocks; ++block) {                                   \
      lsgan::name(*static_cast<const lsgan::Args*>(args), block);                         \
    }                                                                                     \
    return true;                                                                          \
  }
#endif

namespace lsgan {

// ---- What differs between a GPU and a CPU ----

#ifdef __CUDACC_RTC__

template <typename Work>
LSGAN void each(uint32_t count, Work work) {
  for (uint32_t i = threadIdx.x; i < count; i += blockDim.x) work(i);
}

LSGAN bool is_first_thread() { return threadIdx.x == 0; }

// The largest of all threads' numbers, for all of them. All threads of the block must come here.
LSGAN uint32_t block_max(uint32_t mine) {
  __shared__ uint32_t largest;
  __syncthreads();
  if (threadIdx.x == 0) largest = 0;
  __syncthreads();
  for (int distance = 16; distance > 0; distance /= 2) {
    const uint32_t other = __shfl_xor_sync(0xffffffffu, mine, distance);
    mine = other > mine ? other : mine;
  }
  if (threadIdx.x % 32 == 0) atomicMax(&largest, mine);
  __syncthreads();
  return largest;
}

// The sum of all threads' numbers, added in a fixed order, for the first thread. All threads of the block must come here.
LSGAN double block_sum(double mine) {
  __shared__ double of_warps[32];
  for (int distance = 16; distance > 0; distance /= 2) mine += __shfl_xor_sync(0xffffffffu, mine, distance);
  if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = mine;
  __syncthreads();
  double sum = 0;
  for (uint32_t warp = 0; warp < (blockDim.x + 31) / 32; ++warp) sum += of_warps[warp];
  return sum;
}

LSGAN void raise(uint32_t* to, uint32_t value) { atomicMax(to, value); }
LSGAN uint32_t bits_of(float x) { return __float_as_uint(x); }
LSGAN float float_of(uint32_t bits) { return __uint_as_float(bits); }
// Ties to even.
LSGAN float rounded(float x) { return rintf(x); }
LSGAN double rounded(double x) { return rint(x); }
LSGAN float root(float x) { return sqrtf(x); }
LSGAN double root(double x) { return sqrt(x); }

#else

template <typename Work>
LSGAN void each(uint32_t count, Work work) {
  for (uint32_t i = 0; i < count; ++i) work(i);
}

LSGAN bool is_first_thread() { return true; }
LSGAN uint32_t block_max(uint32_t mine) { return mine; }
LSGAN double block_sum(double mine) { return mine; }
LSGAN void raise(uint32_t* to, uint32_t value) { *to = value > *to ? value : *to; }

LSGAN uint32_t bits_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

LSGAN float float_of(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

LSGAN float rounded(float x) { return std::nearbyint(x); }
LSGAN double rounded(double x) { return std::nearbyint(x); }
LSGAN float root(float x) { return std::sqrt(x); }
LSGAN double root(double x) { return std::sqrt(x); }

#endif

// ---- Words ----

// What the words of a sum are: `crates/train/src/word.rs`.
enum Word : int32_t { kFixed = 0, kFloat = 1, kNarrow = 2 };

constexpr double kFixedUnits = 281474976710656.0;  // 2^48 in 1
constexpr double kMetricUnits = 16777216.0;        // 2^24
constexpr double kMetricLimit = 274877906944.0;    // 2^38
constexpr uint32_t kMagnitude = 0x7fffffffu;
constexpr uint32_t kInfinity = 0x7f800000u;

LSGAN int64_t word_at(const void* words, uint64_t at, int32_t word) {
  switch (word) {
    case kFloat: return static_cast<int64_t>(static_cast<const float*>(words)[at]);
    case kNarrow: return static_cast<const int32_t*>(words)[at];
    default: return static_cast<const int64_t*>(words)[at];
  }
}

LSGAN bool is_word(const void* words, uint64_t at, int64_t value, int32_t word) {
  if (word == kFloat) return static_cast<const float*>(words)[at] == static_cast<float>(value);
  return word_at(words, at, word) == value;
}

LSGAN void put_word(void* words, uint64_t at, int64_t value, int32_t word) {
  if (word == kFloat) {
    static_cast<float*>(words)[at] = static_cast<float>(value);
  } else {
    static_cast<int64_t*>(words)[at] = value;
  }
}

LSGAN void add_word(void* words, uint64_t at, int64_t value, int32_t word) {
  if (word == kFloat) {
    static_cast<float*>(words)[at] += static_cast<float>(value);
  } else {
    static_cast<int64_t*>(words)[at] += value;
  }
}

constexpr uint32_t kWordsOfBlock = 1024;

// The numbers of `count` that a block of kWordsOfBlock has.
LSGAN uint32_t in_block(uint32_t count, uint32_t block) {
  const uint32_t left = count - block * kWordsOfBlock;
  return left < kWordsOfBlock ? left : kWordsOfBlock;
}

}  // namespace lsgan
