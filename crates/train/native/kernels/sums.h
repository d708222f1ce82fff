// A worker's part of a sum: begun, virtual ranks added to it, and its words in 32 bits.
namespace lsgan {

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

constexpr uint32_t kLimbs = 4;
constexpr uint32_t kLimbBits = 16;

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

}  // namespace lsgan

LSGAN_KERNEL(begin, BeginArgs)
LSGAN_KERNEL(measure, AddArgs)
LSGAN_KERNEL(add, AddArgs)
LSGAN_KERNEL(end_rank, EndRankArgs)
LSGAN_KERNEL(narrow, NarrowArgs)
LSGAN_KERNEL(read_head, NarrowArgs)
