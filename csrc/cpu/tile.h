// What both kinds of tile share: their size, what they hand to each other, reads and writes of single elements.
//
// A tile is up to kTile queries in the computing type A. Contiguous maps become ColumnTiles, whose vectors run over
// positions, channels-last maps become RowTiles, whose vectors run over channels; both offer the same operations, so a
// pass is written once. Numbers of a query and an item, such as scores, are (M, kTile) for both.
#pragma once

#include <algorithm>
#include <cassert>

#include "core/pass.h"
#include "cpu/items.h"
#include "cpu/plan.h"
#include "cpu/simd.h"

namespace mnad::cpu::MNAD_ISA {

// Indices of items, in integers as wide as A.
template <class A>
using Index = typename Simd<A>::Index;

// Of every query, for the nearest and the second nearest item: |q - p|^2 and the sum of q - p over the channels.
template <class A>
struct alignas(64) Differences {
  A near_square[kTile], near_total[kTile], far_square[kTile], far_total[kTile];
};

// Of every query of a tile x and of another one y: |x|^2, the sum of x over the channels, and x . y.
template <class A>
struct alignas(64) Products {
  A square[kTile], total[kTile], dot[kTile];
};

// Factors of x, of its two items and of 1 in the gradient of every query.
template <class A>
struct alignas(64) LossTerms {
  A on_query[kTile], on_first[kTile], on_second[kTile], shift[kTile];
};

// The gradient of the features is, for the gradient g of the unit query and the query x,
// (g + on_query x + on_first p_first + on_second p_second + shift) scale.
template <class A>
struct FeatureGradient {
  const LossTerms<A>& terms;
  const Index<A>*first, *second;  // null where the losses have no gradient: then on_query is the only term
  const A* scale;
};

// Queries of a tile in the order of their items, without those whose factor is 0.
template <class A>
class ByItem {
 public:
  // Orders up to kTile queries, by counting; `starts` has room for M + 1.
  void order(const Index<A>* items, const A* factors, int64_t queries, int64_t M, int* starts) {
    assert(queries <= kTile);
    items_ = items, factors_ = factors;
    std::fill(starts, starts + M + 1, 0);
    for (int64_t t = 0; t < queries; ++t) {
      assert(0 <= items[t] && items[t] < M);
      starts[items[t] + 1] += factors[t] != 0;
    }
    for (int64_t m = 0; m < M; ++m) starts[m + 1] += starts[m];
    count_ = starts[M];
    for (int64_t t = 0; t < queries; ++t)
      if (factors[t] != 0) order_[starts[items[t]]++] = int(t);
  }

  int count() const { return count_; }
  int query(int i) const { return order_[i]; }
  Index<A> item(int i) const { return items_[order_[i]]; }
  A factor(int i) const { return factors_[order_[i]]; }

 private:
  int order_[kTile], count_ = 0;
  const Index<A>* items_ = nullptr;
  const A* factors_ = nullptr;
};

// A map to write to. A streamed one is written past the caches (non-temporal stores).
template <class T, class A>
struct Target {
  T* data;
  Strides s;
  bool streamed;
  A* staging;  // a staging buffer of the size of a tile, for what is not written to the map at once

  Target from_channel(int64_t c) const { return {data + c * s.c, s, streamed, staging}; }
};

template <class T, class A>
inline void load_element_wise(const T* from, Strides s, int64_t C, int64_t n, A* to, Strides to_strides) {
  for (int64_t t = 0; t < n; ++t)
    for (int64_t c = 0; c < C; ++c) to[c * to_strides.c + t * to_strides.p] = load_one(from + c * s.c + t * s.p);
}

// Writes the first `count` lanes.
template <class T, class A>
inline void store_lanes(T* to, int64_t stride, int64_t count, Vector<A> values) {
  A lanes[kWidth<A>];
  store(lanes, values);
  for (int64_t i = 0; i < count && i < kWidth<A>; ++i) store_one(to + i * stride, lanes[i]);
}

}  // namespace mnad::cpu::MNAD_ISA
