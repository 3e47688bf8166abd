// Scores of the queries of a ColumnTile: scores[m][t] = x_t . p_m, (M, kTile), block of channels by block.
#pragma once

#include <cassert>

#include "cpu/tile.h"

namespace mnad::cpu::MNAD_ISA {

template <class A>
class ColumnDots {
 public:
  static constexpr int kItems = Tuned::kScoredItems, kFewItems = kFewScoredItems;

  ColumnDots(const Items<A>& items, A* scores) : items_(items), scores_(scores) {}

  // Adds channels [begin, end) of `columns`, (C, kTile), to the scores of items [first, M). Of few items, a
  // channel is one cache line of their columns. Of many, the successive channels of a group lie so far apart there that
  // they map to the same cache sets and evict each other (conflict misses): these are read from the rows.
  template <bool kFromColumns>
  void add(const A* columns, int64_t first, int64_t begin, int64_t end) const {
    int64_t m = first;
    for (; m + kItems <= items_.M; m += kItems) add_items<kFromColumns, kItems>(columns, m, begin, end);
    for (; m + kFewItems <= items_.M; m += kFewItems) add_items<kFromColumns, kFewItems>(columns, m, begin, end);
    for (; m + 2 <= items_.M; m += 2) add_items<kFromColumns, 2>(columns, m, begin, end);
    for (; m < items_.M; ++m) add_items<kFromColumns, 1>(columns, m, begin, end);
  }

  // Adds channels [begin, end) of two vectors of positions, from the v-th on, to the scores of the first Count items;
  // queries(c, x0, x1) loads these.
  template <int Count, class F>
  void add_while_loading(int v, int64_t begin, int64_t end, F&& queries) const {
    add_block<true, Count>(v, 0, begin, end, queries);
  }

 private:
  static constexpr int W = kWidth<A>;

  // Not inlined: in a longer function the compiler keeps the sums in memory.
  template <bool kFromColumns, int Count>
  [[gnu::noinline]] void add_items(const A* columns, int64_t m, int64_t begin, int64_t end) const {
    for (int v = 0; v < kTile / W; v += 2) {
      const A* x = columns + v * W;
      add_block<kFromColumns, Count>(v, m, begin, end, [x](int64_t c, Vector<A>& x0, Vector<A>& x1) {
        x0 = load(x + c * kTile), x1 = load(x + c * kTile + W);
      });
    }
  }

  template <bool kFromColumns, int Count, class F>
  void add_block(int v, int64_t first, int64_t begin, int64_t end, F&& queries) const {
    A* scores = scores_ + first * kTile + v * W;
    Vector<A> sums[Count][2];
#pragma GCC unroll 10
    for (int m = 0; m < Count; ++m)
#pragma GCC unroll 2
      for (int i = 0; i < 2; ++i) sums[m][i] = load(scores + m * kTile + i * W);
    assert(first + Count <= items_.M && (items_.columns || !kFromColumns));
    const int64_t apart = kFromColumns ? 1 : items_.length, next = kFromColumns ? items_.breadth : 1;
    const A* channel = kFromColumns ? items_.columns + begin * next + first : items_[first] + begin;
    for (int64_t c = begin; c < end; ++c, channel += next) {
      Vector<A> x0, x1;
      queries(c, x0, x1);
#pragma GCC unroll 10
      for (int m = 0; m < Count; ++m) {
        const A p = channel[m * apart];
        sums[m][0] += x0 * p;
        sums[m][1] += x1 * p;
      }
    }
#pragma GCC unroll 10
    for (int m = 0; m < Count; ++m)
#pragma GCC unroll 2
      for (int i = 0; i < 2; ++i) store(scores + m * kTile + i * W, sums[m][i]);
  }

  const Items<A>& items_;
  A* scores_;
};

}  // namespace mnad::cpu::MNAD_ISA
