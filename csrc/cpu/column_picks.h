// Queries of a ColumnTile with few items: one vector holds a channel of all of them, so a permutation of its lanes
// looks up the channel of every query's own item.
#pragma once

#include <cassert>

#include "cpu/column_map.h"
#include "cpu/tile.h"

namespace mnad::cpu::MNAD_ISA {

template <class A>
class ColumnPicks {
 public:
  static bool can_pick(int64_t M) { return M <= W; }

  // The two items of each query.
  ColumnPicks(const Items<A>& items, const Index<A>* first, const Index<A>* second)
      : items_(items.columns), first_(first), second_(second) {
    assert(items.columns && items.breadth == W && "picks take one vector of items");
  }

  // Writes channels [begin, end) of the unit queries and adds up what the losses need; `columns` is (C, kTile).
  template <class To>
  void write_and_compare(const A* columns, int64_t begin, int64_t end, const A* inverse, To to,
                         Differences<A>& found) const {
    for (int v = 0; v < kVectors; v += kTogether) compare(columns, v, begin, end, inverse, to, found);
  }

 private:
  static constexpr int W = kWidth<A>, kVectors = kTile / W;
  // Vectors of queries that are worked on together.
  static constexpr int kTogether = Tuned::kComparedVectors;

  // The two items of the queries in these vectors.
  struct Pairs {
    Integer<A> near[kTogether], far[kTogether];

    Pairs(int v, const Index<A>* first, const Index<A>* second) {
      std::memcpy(near, first + v * W, sizeof near);
      std::memcpy(far, second + v * W, sizeof far);
    }
  };

  // What write_and_compare does, for kTogether vectors of queries from the v-th on.
  template <class To>
  void compare(const A* columns, int v, int64_t begin, int64_t end, const A* inverse, To to,
               Differences<A>& found) const {
    const Pairs pairs(v, first_, second_);
    Vector<A> scale[kTogether], near_square[kTogether], near_total[kTogether], far_square[kTogether],
        far_total[kTogether];
    for (int i = 0; i < kTogether; ++i) {
      const int t = (v + i) * W;
      scale[i] = load(inverse + t);
      near_square[i] = load(found.near_square + t), near_total[i] = load(found.near_total + t);
      far_square[i] = load(found.far_square + t), far_total[i] = load(found.far_total + t);
    }
    for (int64_t c = begin; c < end; ++c) {
      const Vector<A> items = load(items_ + c * W);
      const A* x = columns + c * kTile + v * W;
#pragma GCC unroll 4
      for (int i = 0; i < kTogether; ++i) {
        Vector<A> here = load(x + i * W);
        const Vector<A> to_near = here * scale[i] - __builtin_shuffle(items, pairs.near[i]);
        const Vector<A> to_far = here * scale[i] - __builtin_shuffle(items, pairs.far[i]);
        to_register(here);  // what is written must not change how the differences are contracted
        write(to, c - begin, v + i, here * scale[i]);
        near_square[i] += to_near * to_near;
        near_total[i] += to_near;
        far_square[i] += to_far * to_far;
        far_total[i] += to_far;
      }
    }
    for (int i = 0; i < kTogether; ++i) {
      const int t = (v + i) * W;
      store(found.near_square + t, near_square[i]), store(found.near_total + t, near_total[i]);
      store(found.far_square + t, far_square[i]), store(found.far_total + t, far_total[i]);
    }
  }

  const A* items_;  // (C, W)
  const Index<A>*first_, *second_;
};

}  // namespace mnad::cpu::MNAD_ISA
