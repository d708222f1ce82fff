// What a GPU's engine does with its sums and its state: `crates/train/src/kernels` calls these.
//
// NVRTC compiles this file for GPUs at run time, and the host's compiler for a CPU, where tests rehearse the engine. Both give
// the same bits: each operation is rounded once (`--fmad=false`), and what threads find out together is a maximum.
//
// A kernel is a function of its arguments and of a block's number. The threads of a block share the work of `each`; on a CPU
// one thread does all of it. Structures are those of `kernels/args.rs`, field by field.
#pragma once

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

LSGAN void raise(uint32_t* to, uint32_t value) { atomicMax(to, value); }
LSGAN uint32_t bits_of(float x) { return __float_as_uint(x); }
LSGAN float float_of(uint32_t bits) { return __uint_as_float(bits); }
// Ties to even.
LSGAN float rounded(float x) { return rintf(x); }
LSGAN double rounded(double x) { return rint(x); }
LSGAN float root(float x) { return sqrtf(x); }

#else

template <typename Work>
LSGAN void each(uint32_t count, Work work) {
  for (uint32_t i = 0; i < count; ++i) work(i);
}

LSGAN bool is_first_thread() { return true; }
LSGAN uint32_t block_max(uint32_t mine) { return mine; }
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

// ---- Begin a sum ----

struct BeginArgs {
  void* words;        // [guard | header | body | guard]
  void* guard;        // what each virtual rank adds to the guards: one word
  int64_t value;      // this
  int64_t wishes[4];  // this worker's
  uint64_t last;      // the guard behind
  uint32_t head;      // words of the guard in front and the header
  uint32_t wishes_at;
  int32_t word;
  int32_t unused;
};

LSGAN void begin(const BeginArgs& args, uint32_t) {
  each(args.head, [&](uint32_t i) {
    const bool is_wish = i >= args.wishes_at && i < args.wishes_at + 4;
    put_word(args.words, i, is_wish ? args.wishes[i - args.wishes_at] : 0, args.word);
  });
  if (!is_first_thread()) return;
  put_word(args.words, args.last, 0, args.word);
  put_word(args.guard, 0, args.value, args.word);
}

// ---- Add a virtual rank ----

// Where a tensor of a virtual rank lies. Its numbers are counted in the order in which the sum has them.
struct Part {
  const void* numbers;
  int32_t sizes[4];  // the outermost first
  int32_t strides[4];
  int32_t is_bf16;
  int32_t is_dense;  // number i is at place i
};

constexpr uint32_t kPartsMax = 32;

// What a block adds: numbers of a part that have the same last bit.
struct Piece {
  uint32_t part;
  uint32_t from;  // the first number in the part
  uint32_t len;
  uint32_t to;    // the first word
  int32_t scale;  // the block of parameters; -1 for a statistic
};

// What is known of a virtual rank's numbers.
struct Found {
  uint32_t worst;   // the bits of the largest magnitude
  uint32_t misfit;  // 1 where one does not fit into 32 bits
};

struct AddArgs {
  Part parts[kPartsMax];
  const Piece* pieces;
  Found* found;
  void* words;
  const float* factors;  // of each block of parameters; null where all numbers have the same last bit
  const float* loss;
  double factor;         // of numbers that all have the same last bit
  float largest;         // that fits into 32 bits, multiplied by its factor
  float limit;           // the largest magnitude that may be added
  uint32_t first_part;   // the number of parts[0]
  int32_t word;
  int32_t is_first;      // of its sum
  int32_t unused;
};

LSGAN float number(const Part& part, uint32_t i) {
  int64_t at = i;
  if (!part.is_dense) {
    at = 0;
    for (int side = 3; side >= 0; --side) {
      const auto size = static_cast<uint32_t>(part.sizes[side]);
      at += static_cast<int64_t>(i % size) * part.strides[side];
      i /= size;
    }
  }
  if (part.is_bf16) {
    return float_of(static_cast<uint32_t>(static_cast<const unsigned short*>(part.numbers)[at]) << 16);
  }
  return static_cast<const float*>(part.numbers)[at];
}

LSGAN bool has_own_bit(const AddArgs& args, const Piece& piece) {
  return args.factors != nullptr && piece.scale >= 0;
}

LSGAN void measure(const AddArgs& args, uint32_t block) {
  const Piece piece = args.pieces[block];
  const Part& part = args.parts[piece.part - args.first_part];
  uint32_t worst = 0, misfit = 0;
  const float factor = has_own_bit(args, piece) ? args.factors[piece.scale] : 0.0f;
  each(piece.len, [&](uint32_t i) {
    const float x = number(part, piece.from + i);
    const uint32_t magnitude = bits_of(x) & kMagnitude;
    worst = magnitude > worst ? magnitude : worst;
    if (float_of(bits_of(x * factor) & kMagnitude) > args.largest) misfit = 1;
  });
  worst = block_max(worst);
  misfit = block_max(misfit);
  if (!is_first_thread()) return;
  raise(&args.found->worst, worst);
  if (misfit != 0) raise(&args.found->misfit, misfit);
}

LSGAN bool is_finite(const Found& found, const float* loss) {
  return found.worst < kInfinity && (bits_of(*loss) & kMagnitude) < kInfinity;
}

LSGAN void add(const AddArgs& args, uint32_t block) {
  const Piece piece = args.pieces[block];
  const Part& part = args.parts[piece.part - args.first_part];
  if (args.word == kFloat) {
    float* words = static_cast<float*>(args.words) + piece.to;
    each(piece.len, [&](uint32_t i) {
      const float share = number(part, piece.from + i) * static_cast<float>(args.factor);
      words[i] = args.is_first ? share : words[i] + share;
    });
    return;
  }
  // Bad numbers are not added: the mark says what is wrong.
  const bool is_good = is_finite(*args.found, args.loss) && args.found->worst <= bits_of(args.limit);
  int64_t* words = static_cast<int64_t*>(args.words) + piece.to;
  const bool own_bit = has_own_bit(args, piece);
  const float factor = own_bit ? args.factors[piece.scale] : 0.0f;
  each(piece.len, [&](uint32_t i) {
    int64_t share = 0;
    if (is_good) {
      const float x = number(part, piece.from + i);
      share = own_bit ? static_cast<int64_t>(rounded(x * factor))
                      : static_cast<int64_t>(rounded(static_cast<double>(x) * args.factor));
    }
    words[i] = args.is_first ? share : words[i] + share;
  });
}

struct EndRankArgs {
  void* words;
  const void* guard;
  Found* found;
  const float* means[3];  // the loss first
  uint64_t last;
  float limit;
  uint32_t mark_at;
  uint32_t mark_shift;
  uint32_t metrics_at;
  uint32_t misfits_at;
  uint32_t virtual_ranks;
  int32_t word;
  int32_t unused;
};

// Mark, means and guards: `crates/train/src/header.rs`.
LSGAN void end_rank(const EndRankArgs& args, uint32_t) {
  if (!is_first_thread()) return;
  constexpr int64_t good = 1, too_large = 6, not_finite = 7;
  int64_t mark = good;
  if (args.word != kFloat && args.found->worst > bits_of(args.limit)) mark = too_large;
  if (!is_finite(*args.found, args.means[0])) mark = not_finite;
  add_word(args.words, args.mark_at, mark << args.mark_shift, args.word);
  for (uint32_t i = 0; i < 3; ++i) {
    double share = static_cast<double>(*args.means[i]) / static_cast<double>(args.virtual_ranks);
    if (args.word == kFloat) {
      static_cast<float*>(args.words)[args.metrics_at + i] += static_cast<float>(share);
      continue;
    }
    share = share > kMetricLimit ? kMetricLimit : share < -kMetricLimit ? -kMetricLimit : share;
    const bool is_number = share == share;
    add_word(args.words, args.metrics_at + i,
             is_number ? static_cast<int64_t>(rounded(share * kMetricUnits)) : 0, args.word);
  }
  add_word(args.words, args.misfits_at, args.found->misfit, args.word);
  const int64_t guard = word_at(args.guard, 0, args.word);
  add_word(args.words, 0, guard, args.word);
  add_word(args.words, args.last, guard, args.word);
  *args.found = Found{0, 0};
}

// ---- Words in 32 bits ----

constexpr uint32_t kWordsOfBlock = 1024;
constexpr uint32_t kLimbs = 4;
constexpr uint32_t kLimbBits = 16;

// The numbers of `count` that a block of kWordsOfBlock has.
LSGAN uint32_t in_block(uint32_t count, uint32_t block) {
  const uint32_t left = count - block * kWordsOfBlock;
  return left < kWordsOfBlock ? left : kWordsOfBlock;
}

struct NarrowArgs {
  int64_t* wide;    // [head | behind]
  int32_t* narrow;  // [limbs of the head, the lowest first | behind]
  uint32_t head;
  uint32_t len;     // of `wide`
};

LSGAN void narrow(const NarrowArgs& args, uint32_t block) {
  each(in_block(args.len, block), [&](uint32_t i) {
    const uint32_t at = block * kWordsOfBlock + i;
    const int64_t word = args.wide[at];
    if (at >= args.head) {
      args.narrow[(kLimbs - 1) * args.head + at] = static_cast<int32_t>(word);
      return;
    }
    for (uint32_t limb = 0; limb < kLimbs; ++limb) {
      const int64_t bits = word >> (limb * kLimbBits);
      args.narrow[limb * args.head + at] =
          static_cast<int32_t>(limb + 1 < kLimbs ? bits & ((1 << kLimbBits) - 1) : bits);
    }
  });
}

// `wide` is the head alone.
LSGAN void read_head(const NarrowArgs& args, uint32_t block) {
  each(in_block(args.head, block), [&](uint32_t i) {
    const uint32_t at = block * kWordsOfBlock + i;
    uint64_t word = 0;
    for (uint32_t limb = 0; limb < kLimbs; ++limb) {
      const auto bits = static_cast<int64_t>(args.narrow[limb * args.head + at]);
      word += static_cast<uint64_t>(bits) << (limb * kLimbBits);
    }
    args.wide[at] = static_cast<int64_t>(word);
  });
}

// ---- The update ----

struct DecideArgs {
  int32_t* sound;       // whether every update was made
  int64_t* applied;     // how many were
  const uint32_t* flag;  // the abort flag
  const void* head;     // [guard | header]
  const void* last;     // the guard behind
  const int64_t* complete;
  int64_t guard;        // of all virtual ranks together
  uint32_t header_at;
  uint32_t marks;
  uint32_t misfits_at;
  int32_t word;
  int32_t last_word;
  int32_t checks_misfits;
};

// Whether the update may be made: the sum is whole and good, and was not aborted.
LSGAN void decide(const DecideArgs& args, uint32_t) {
  uint32_t bad = 0;
  each(args.marks, [&](uint32_t i) {
    if (!is_word(args.head, args.header_at + i, args.complete[i], args.word)) bad = 1;
  });
  bad = block_max(bad);
  if (!is_first_thread()) return;
  const bool is_whole = bad == 0 && is_word(args.head, 0, args.guard, args.word) &&
                        is_word(args.last, 0, args.guard, args.last_word);
  const bool fits = !args.checks_misfits || is_word(args.head, args.misfits_at, 0, args.word);
  *args.sound = *args.sound != 0 && is_whole && fits && *args.flag == 0;
  if (*args.sound) *args.applied += 1;
}

// The last bit of a block of parameters: `crates/train/src/scale.rs`.
struct Bits {
  float* factors;
  float* units;
  float correction;  // of second moments
  float virtual_ranks;
  int32_t finest;    // k is at most this
  int32_t room;      // k is this minus n
};

LSGAN void choose_bit(const Bits& bits, uint32_t block, float largest) {
  const int32_t log2 = static_cast<int32_t>(bits_of(largest * bits.correction) >> 23) - 127;
  const int32_t n = (log2 >> 1) + 1;
  const int32_t k = bits.room - n < bits.finest ? bits.room - n : bits.finest;
  bits.factors[block] = float_of(static_cast<uint32_t>(k + 127) << 23) / bits.virtual_ranks;
  bits.units[block] = float_of(static_cast<uint32_t>(127 - k) << 23);
}

// A block of parameters.
struct Span {
  uint32_t from;
  uint32_t len;
};

struct ChooseArgs {
  const Span* spans;
  const float* second_moments;
  Bits bits;
};

LSGAN void choose(const ChooseArgs& args, uint32_t block) {
  const Span span = args.spans[block];
  uint32_t largest = 0;
  each(span.len, [&](uint32_t i) {
    const uint32_t v = bits_of(args.second_moments[span.from + i]);
    largest = v > largest ? v : largest;
  });
  largest = block_max(largest);
  if (is_first_thread()) choose_bit(args.bits, block, float_of(largest));
}

// The gradients of a sum.
struct Sum {
  const Span* spans;
  const void* words;
  const float* units;  // of each block; null where all words have the same
  int32_t word;
  uint32_t blocks;
};

// The mean over the virtual ranks.
LSGAN float mean(const Sum& sum, uint32_t block, uint32_t at) {
  if (sum.word == kFloat) return static_cast<const float*>(sum.words)[at];
  if (sum.word == kNarrow) {
    return static_cast<float>(static_cast<const int32_t*>(sum.words)[at]) * sum.units[block];
  }
  const auto word = static_cast<double>(static_cast<const int64_t*>(sum.words)[at]);
  const double unit = sum.units == nullptr ? 1.0 / kFixedUnits : static_cast<double>(sum.units[block]);
  return static_cast<float>(word * unit);
}

struct GradientsArgs {
  Sum sum;
  float* gradients;
};

LSGAN void gradients(const GradientsArgs& args, uint32_t block) {
  const Span span = args.sum.spans[block];
  each(span.len, [&](uint32_t i) {
    args.gradients[span.from + i] = mean(args.sum, block, span.from + i);
  });
}

// `crates/train/src/adam.rs`.
struct Adam {
  float step_size;
  float mix1;
  float beta2;
  float mix2;
  float correction2;
  float epsilon;
};

struct UpdateArgs {
  const int32_t* sound;
  Sum sum;
  Bits bits;  // for the next sum; its factors are null where all numbers have the same last bit
  const void* batch_statistics;  // words: a network's for each pass
  float* weights;
  float* first_moments;
  float* second_moments;
  float* statistics;
  float* average_weights;     // null where the network has no moving average
  float* average_statistics;
  // Where numbers are kept that are replaced, each at the same distance; null where they are not.
  float* kept;
  const float* kept_from;
  uint32_t statistics_len;
  uint32_t passes;
  int32_t statistics_word;
  float momentum;  // of running statistics: the share of what was
  float share;     // the share of a batch
  float decay;     // of the moving average: the share of what was
  float decay_share;
  Adam adam;
};

LSGAN void keep(const UpdateArgs& args, const float* from) {
  if (args.kept != nullptr) args.kept[from - args.kept_from] = *from;
}

LSGAN float average(const UpdateArgs& args, float was, float is) { return was * args.decay + is * args.decay_share; }

LSGAN void update_statistics(const UpdateArgs& args, uint32_t block) {
  each(in_block(args.statistics_len, block), [&](uint32_t i) {
    const uint32_t at = block * kWordsOfBlock + i;
    float* running = args.statistics + at;
    keep(args, running);
    float updated = *running;
    for (uint32_t pass = 0; pass < args.passes; ++pass) {
      const uint32_t from = pass * args.statistics_len + at;
      const float batch =
          args.statistics_word == kFloat
              ? static_cast<const float*>(args.batch_statistics)[from]
              : static_cast<float>(static_cast<double>(static_cast<const int64_t*>(args.batch_statistics)[from]) *
                                   (1.0 / kFixedUnits));
      updated = updated * args.momentum + batch * args.share;
    }
    *running = updated;
    if (args.average_statistics != nullptr) {
      args.average_statistics[at] = average(args, args.average_statistics[at], updated);
    }
  });
}

// The blocks of parameters come first, then those of statistics.
LSGAN void update(const UpdateArgs& args, uint32_t block) {
  if (*args.sound == 0) return;
  if (block >= args.sum.blocks) return update_statistics(args, block - args.sum.blocks);
  const Span span = args.sum.spans[block];
  const Adam& adam = args.adam;
  uint32_t largest = 0;
  each(span.len, [&](uint32_t i) {
    const uint32_t at = span.from + i;
    float *m = args.first_moments + at, *v = args.second_moments + at, *w = args.weights + at;
    keep(args, m);
    keep(args, v);
    keep(args, w);
    const float g = mean(args.sum, block, at);
    *m = *m + (g - *m) * adam.mix1;
    *v = *v * adam.beta2 + (g * g) * adam.mix2;
    const float divisor = root(*v) / adam.correction2 + adam.epsilon;
    *w = *w - adam.step_size * (*m / divisor);
    if (args.average_weights != nullptr) args.average_weights[at] = average(args, args.average_weights[at], *w);
    largest = bits_of(*v) > largest ? bits_of(*v) : largest;
  });
  if (args.bits.factors == nullptr) return;
  // All threads have read this block's unit before it changes.
  largest = block_max(largest);
  if (is_first_thread()) choose_bit(args.bits, block, float_of(largest));
}

}  // namespace lsgan

// ---- Their names ----

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

LSGAN_KERNEL(begin, BeginArgs)
LSGAN_KERNEL(measure, AddArgs)
LSGAN_KERNEL(add, AddArgs)
LSGAN_KERNEL(end_rank, EndRankArgs)
LSGAN_KERNEL(narrow, NarrowArgs)
LSGAN_KERNEL(read_head, NarrowArgs)
LSGAN_KERNEL(decide, DecideArgs)
LSGAN_KERNEL(choose, ChooseArgs)
LSGAN_KERNEL(gradients, GradientsArgs)
LSGAN_KERNEL(update, UpdateArgs)
