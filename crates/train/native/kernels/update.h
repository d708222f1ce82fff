// A whole sum, from the question whether it may be applied to new weights and the last bits of the next sum.
namespace lsgan {

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

struct SquaresArgs {
  Sum sum;
  double* squares;  // of each block, added up
};

LSGAN void squares(const SquaresArgs& args, uint32_t block) {
  const Span span = args.sum.spans[block];
  double sum = 0;
  each(span.len, [&](uint32_t i) {
    const auto g = static_cast<double>(mean(args.sum, block, span.from + i));
    sum += g * g;
  });
  sum = block_sum(sum);
  if (is_first_thread()) args.squares[block] = sum;
}

// `crates/train/src/clip.rs`.
struct ClipArgs {
  const double* squares;  // of each block
  float* factor;          // what the gradients are multiplied by
  double norm_max;
  double norm_epsilon;
  uint32_t blocks;
  int32_t unused;
};

LSGAN void clip(const ClipArgs& args, uint32_t) {
  double sum = 0;
  each(args.blocks, [&](uint32_t i) { sum += args.squares[i]; });
  sum = block_sum(sum);
  if (!is_first_thread()) return;
  const double factor = args.norm_max / (root(sum) + args.norm_epsilon);
  *args.factor = static_cast<float>(factor < 1.0 ? factor : 1.0);
}

enum Rule : int32_t { kAdam = 0, kRmsProp = 1 };

// `crates/train/src/optimizers`.
struct Optimizer {
  int32_t rule;
  float step_size;
  float mix1;
  float keep2;  // β2 of Adam, α of RMSProp
  float mix2;
  float correction2;
  float epsilon;
  float kept;  // of the weight
  float momentum;
};

LSGAN void optimize(const Optimizer& o, float g, float* m, float* v, float* w) {
  *v = *v * o.keep2 + (g * g) * o.mix2;
  if (o.rule == kRmsProp) {
    *m = *m * o.momentum + g / (root(*v) + o.epsilon);
    *w = *w - o.step_size * *m;
    return;
  }
  *m = *m + (g - *m) * o.mix1;
  const float divisor = root(*v) / o.correction2 + o.epsilon;
  *w = *w * o.kept - o.step_size * (*m / divisor);
}

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
  const float* clip;  // what the gradients are multiplied by; null where that is 1
  uint32_t statistics_len;
  uint32_t mixed;  // of them so many are mixed with the batch's; the others are replaced
  uint32_t passes;
  int32_t statistics_word;
  float momentum;  // of running statistics: the share of what was
  float share;     // the share of a batch
  float decay;     // of the moving average: the share of what was
  float decay_share;
  Optimizer optimizer;
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
      updated = at < args.mixed ? updated * args.momentum + batch * args.share : batch;
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
  const float clip = args.clip == nullptr ? 1.0f : *args.clip;
  uint32_t largest = 0;
  each(span.len, [&](uint32_t i) {
    const uint32_t at = span.from + i;
    float *m = args.first_moments + at, *v = args.second_moments + at, *w = args.weights + at;
    keep(args, m);
    keep(args, v);
    keep(args, w);
    optimize(args.optimizer, mean(args.sum, block, at) * clip, m, v, w);
    if (args.average_weights != nullptr) args.average_weights[at] = average(args, args.average_weights[at], *w);
    largest = bits_of(*v) > largest ? bits_of(*v) : largest;
  });
  if (args.bits.factors == nullptr) return;
  // All threads have read this block's unit before it changes.
  largest = block_max(largest);
  if (is_first_thread()) choose_bit(args.bits, block, float_of(largest));
}

}  // namespace lsgan

LSGAN_KERNEL(decide, DecideArgs)
LSGAN_KERNEL(choose, ChooseArgs)
LSGAN_KERNEL(squares, SquaresArgs)
LSGAN_KERNEL(clip, ClipArgs)
LSGAN_KERNEL(update, UpdateArgs)
