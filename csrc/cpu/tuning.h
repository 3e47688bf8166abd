// The sizes that trade one cost for another.
#pragma once

#include <cstdint>

namespace mnad::cpu {

// ---- the cut of a pass, see plan.h ----

// Positions of a tile. Longer runs of a contiguous map are read and written faster, shorter tiles leave more room for
// the items in the second cache. At least the 8 vectors that a block of ColumnWeightedSum writes.
constexpr int kTile = 128;

// Work that moves more bytes is written past the caches, which can't hold it: a cached store reads each line before it
// is written, and evicts another one.
constexpr int64_t kHeldBytes = int64_t{8} << 20;

// Of tiles of columns, a part of each thread's chunks is written past the caches already in work that moves more bytes
// than this: at the end of each run the hardware prefetcher pulls lines that another core is writing.
constexpr int64_t kSmallBytes = int64_t{4} << 20;

// Chunks leave a partial sum of M x C each: few, and they stay small beside the features; many, and there is one for
// every thread.
constexpr int64_t kMostPartialBytes = int64_t{64} << 20, kFewestChunks = 8, kMostChunks = 32;

// Additions of partial sums that are worth waking another thread.
constexpr int64_t kAdditionsOfThread = int64_t{1} << 16;

// ---- tiles of columns ----

// Channels in the staging buffer at once: they stay in the first cache until they are sent on. A multiple of every
// vector's width.
constexpr int64_t kStagedChannels = 16;

// How many channels ahead of a store its line is prefetched.
constexpr int64_t kWriteAheadChannels = 16;

// Channels of two maps that are read together while the next ones are prefetched. More amortise the reads and writes of
// the sums better, but each run of a large map is another page, and the first TLB has few entries.
constexpr int64_t kPairedChannels = 32;

// Channels that many items are scored with before the next ones: they stay in the second cache.
constexpr int64_t kScoredChannels = 128;

// Channels that are transposed to rows at once: they stay in the first caches until they are used.
constexpr int64_t kTransposedChannels = 64;

// Weights that stay in the first cache, so that a weighted sum goes by long runs of positions, which are best to write.
constexpr int64_t kWeightBytes = 16 << 10;

// Items that are scored together where fewer than Tuning::kScoredItems are left.
constexpr int kFewScoredItems = 5;

// ---- tiles of rows ----

// How many rows ahead of a load its line is prefetched to the second cache.
constexpr int64_t kAheadRows = 8;

// Elements of items that stay in the second cache beside a tile: these are scored while rows are read, more of them
// afterwards, block by block.
constexpr int64_t kCachedItemElements = 32 << 10;

// Elements of items that stay in the first cache: a weighted sum takes all channels of a query in one go, otherwise two
// vectors of channels of all queries.
constexpr int64_t kNearItemElements = 8 << 10;

// Items whose products with Tuning::kRowQueries queries are in registers together.
constexpr int kRowItems = 5;

// Queries whose weighted sums, of two vectors each, are in registers together.
constexpr int kSummedQueries = 6;

// Vectors of the sums of queries by item that are in registers together.
constexpr int kSummedVectors = 4;

// ---- both ----

// Items that are summed with their weights at once: the weights, (kSummedItems, kTile), stay in the second cache.
constexpr int64_t kSummedItems = 64;

// ---- what depends on the length of a vector ----

template <int kVectorBytes>
struct Tuning {
  // AVX-512: vectors as long as a line of the cache, and 32 registers instead of 16.
  static constexpr bool kLong = kVectorBytes == 64;

  // Items whose scores for two vectors of positions are in registers together.
  static constexpr int kScoredItems = kLong ? 10 : 5;

  // Channels that are read, and scored with the first items, before the other items are: they stay in the first cache,
  // while the next ones are prefetched.
  static constexpr int64_t kCachedChannels = kLong ? 64 : 32;

  // The cache that these are prefetched to, as __builtin_prefetch counts: 3 is the first one, 2 the second. Many
  // channels map to the same sets of the first one (conflict misses).
  static constexpr int kScoreCache = kLong ? 3 : 2;

  // Vectors of positions whose sums over two maps are in registers together.
  static constexpr int kPairedVectors = kLong ? 2 : 4;

  // Vectors of queries that are compared with their two items together.
  static constexpr int kComparedVectors = kLong ? 4 : 2;

  // Queries of a tile of rows that are scored together.
  static constexpr int kRowQueries = kLong ? 4 : 2;
};

}  // namespace mnad::cpu
