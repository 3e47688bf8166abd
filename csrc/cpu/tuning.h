// The sizes that trade one cost for another.
//
// "Measured" is the time with half or double a value, divided by the time with it: float32, C = 512, P = 1024, B = 1,
// M = 10, 24, 64 and 100, one thread, AVX-512 kernels on a shared two-core Intel Xeon with AMX (2 MiB second cache a
// core), medians of 41 to 81 interleaved runs. "Not sensitive" is within 3 %, the noise. AVX2 and the baseline have not
// been measured.
#pragma once

#include <cstdint>

namespace mnad::cpu {

// Caches as __builtin_prefetch numbers them.
constexpr int kFirstCache = 3, kSecondCache = 2;

// ---- the cut of a pass, see plan.h ----

// Positions of a tile. Longer runs of a contiguous map are read and written faster, shorter tiles leave more room for
// the items in the second cache. At least the 8 vectors that a block of ColumnWeightedSum writes.
// Measured: double 1.05 to 1.28.
constexpr int kTile = 128;

// Work that moves more bytes is written past the caches, which can't hold it: a cached store reads each line before it
// is written, and evicts another one.
// Measured: half 1.25 (columns) and 2.2 (rows) in a read of 6 MiB, double 1.3 in a step of 12 MiB.
constexpr int64_t kHeldBytes = int64_t{8} << 20;

// Of tiles of columns, a part of each thread's chunks is written past the caches already in work that moves more bytes
// than this: at the end of each run the hardware prefetcher pulls lines that another core is writing.
// Measured: double 1.5 in a read of 6 MiB; half was not measured.
constexpr int64_t kSmallBytes = int64_t{4} << 20;

// Chunks leave a partial sum of M x C each: few, and they stay small beside the features; many, and there is one for
// every thread.
// Measured: kMostChunks 16 is not sensitive, 64 is 1.03 in a step of columns; the others were not measured.
constexpr int64_t kMostPartialBytes = int64_t{64} << 20, kFewestChunks = 8, kMostChunks = 32;

// Additions of partial sums that are worth waking another thread.
// Not measured.
constexpr int64_t kAdditionsOfThread = int64_t{1} << 16;

// ---- tiles of columns ----

// Channels in the staging buffer at once: they stay in the first cache until they are sent on. A multiple of every
// vector's width.
// Measured: double is not sensitive.
constexpr int64_t kStagedChannels = 16;

// How many channels ahead of a store its line is prefetched.
// Measured: not sensitive.
constexpr int64_t kWriteAheadChannels = 16;

// Channels of two maps that are read together while the next ones are prefetched. More amortise the reads and writes of
// the sums better, but each run of a large map is another page, and the first TLB has few entries.
// Measured: half 1.05 to 1.09 in a step, double is not sensitive.
constexpr int64_t kPairedChannels = 32;

// Channels that many items are scored with before the next ones: they stay in the second cache.
// Measured: not sensitive.
constexpr int64_t kScoredChannels = 128;

// Channels that are transposed to rows at once: they stay in the first caches until they are used.
// Measured: not sensitive.
constexpr int64_t kTransposedChannels = 64;

// Bytes of weights that stay in the first cache. Up to this a weighted sum works on long runs of positions, which are
// fastest to write.
// Measured: not sensitive.
constexpr int64_t kWeightBytes = 16 << 10;

// Items that are scored together where fewer than Tuning::kScoredItems are left.
// Measured: 2 is not sensitive.
constexpr int kFewScoredItems = 5;

// ---- tiles of rows ----

// How many rows ahead of a load its line is prefetched to the second cache.
// Measured: half is not sensitive, double 0.96 in a read of M = 10.
constexpr int64_t kAheadRows = 8;

// Elements of items that stay in the second cache beside a tile: these are scored while rows are read, more of them
// afterwards, block by block.
// Measured: not sensitive.
constexpr int64_t kCachedItemElements = 32 << 10;

// Elements of items that stay in the first cache: a weighted sum takes all channels of a query in one go, otherwise two
// vectors of channels of all queries.
// Measured: half 1.11 in a read of M = 10; double is not sensitive, 0.97 in one of M = 24.
constexpr int64_t kNearItemElements = 8 << 10;

// Items whose products with Tuning::kRowQueries queries are in registers together.
// Measured: 2 takes 1.05 to 1.3 in reads, 10 takes 1.14 to 1.28.
constexpr int kRowItems = 5;

// Queries whose weighted sums, of two vectors each, are in registers together.
// Measured: half 1.03 to 1.2 in reads, double 1.3 to 1.8: its sums don't fit into the registers.
constexpr int kSummedQueries = 6;

// Vectors of the sums of queries by item that are in registers together.
// Measured: not sensitive.
constexpr int kSummedVectors = 4;

// ---- both ----

// Items that are summed with their weights at once: the weights, (kSummedItems, kTile), stay in the second cache.
// Measured: half 1.2 in a read of M = 64, double 0.9 (columns) and 0.93 (rows) in one of M = 100.
constexpr int64_t kSummedItems = 64;

// ---- what depends on the length of a vector ----

template <int kVectorBytes>
struct Tuning {
  // AVX-512: vectors as long as a line of the cache, and 32 registers instead of 16.
  static constexpr bool kLong = kVectorBytes == 64;

  // Items whose scores for two vectors of positions are in registers together.
  // Measured: half 1.04 in a read.
  static constexpr int kScoredItems = kLong ? 10 : 5;

  // Channels that are read, and scored with the first items, before the other items are: they stay in the first cache,
  // while the next ones are prefetched.
  // Measured: half 1.04 in a read of M = 10, double 1.03 to 1.10.
  static constexpr int64_t kCachedChannels = kLong ? 64 : 32;

  // The cache that these are prefetched to. The channels of a large map lie in the same sets of the first one, which
  // evicts them before they are read if there are many (conflict misses).
  // Measured: the second one takes 0.93 to 0.96 in reads of columns; when the first one was chosen, the second one took
  // 1.04 to 1.2 in a step.
  static constexpr int kScoreCache = kLong ? kFirstCache : kSecondCache;

  // Vectors of positions whose sums over two maps are in registers together.
  // Measured: double is not sensitive.
  static constexpr int kPairedVectors = kLong ? 2 : 4;

  // Vectors of queries that are compared with their two items together.
  // Measured: half is not sensitive.
  static constexpr int kComparedVectors = kLong ? 4 : 2;

  // Queries of a tile of rows that are scored together.
  // Measured: half 1.09 to 1.11 in reads of M = 24 and more.
  static constexpr int kRowQueries = kLong ? 4 : 2;
};

}  // namespace mnad::cpu
