// Queries of a ColumnTile with few items: a vector has a channel of all of them, and every query picks that of its own.
#pragma once

#include "cpu/column_map.h"
#include "cpu/tile.h"

namespace mnad::cpu::MNAD_ISA {

template <class A>
class ColumnPicks {
 public:
  static bool can_pick(int64_t M) { return M <= W; }

  // `columns` is (C, kTile); the two items of each query.
  ColumnPicks(const A* columns, const Items<A>& items, const Index<A>* first, const Index<A>* second)
      : columns_(columns), items_(items), first_(first), second_(second) {}

  // Writes channels [begin, end) of the unit queries and adds up what the losses need.
  template <class To>
  void write_and_compare(int64_t begin, int64_t end, const A* inverse, To to, Differences<A>& found) const {
    for (int v = 0; v < kVectors; v += kTogether) compare(v, begin, end, inverse, to, found);
  }

  // Writes channels [begin, end) of (x_t + on_query[t] other_t + on_first[t] p_first + on_second[t] p_second +
  // shift[t]) scale[t].
  template <class To>
  void write_sum(int64_t begin, int64_t end, const LossTerms<A>& terms, const A* other, const A* scale, To to) const {
    for (int v = 0; v < kVectors; v += kTogether) add_items(v, begin, end, terms, other, scale, to);
  }

 private:
  static constexpr int W = kWidth<A>, kVectors = kTile / W;
  // Vectors of queries that are worked on together.
  static constexpr int kTogether = kVectorBytes == 64 ? 4 : 2;

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
  void compare(int v, int64_t begin, int64_t end, const A* inverse, To to, Differences<A>& found) const {
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
      const Vector<A> channel = load(items_.columns + c * W);
      const A* x = columns_ + c * kTile + v * W;
#pragma GCC unroll 4
      for (int i = 0; i < kTogether; ++i) {
        const Vector<A> q = load(x + i * W) * scale[i];
        const Vector<A> to_near = q - __builtin_shuffle(channel, pairs.near[i]);
        const Vector<A> to_far = q - __builtin_shuffle(channel, pairs.far[i]);
        write(to, c - begin, v + i, q);
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

  // What write_sum does, for kTogether vectors of queries from the v-th on.
  template <class To>
  void add_items(int v, int64_t begin, int64_t end, const LossTerms<A>& terms, const A* other, const A* scale,
                 To to) const {
    const Pairs pairs(v, first_, second_);
    Vector<A> on_query[kTogether], on_first[kTogether], on_second[kTogether], shift[kTogether], scales[kTogether];
    for (int i = 0; i < kTogether; ++i) {
      const int t = (v + i) * W;
      on_query[i] = load(terms.on_query + t), on_first[i] = load(terms.on_first + t);
      on_second[i] = load(terms.on_second + t), shift[i] = load(terms.shift + t), scales[i] = load(scale + t);
    }
    for (int64_t c = begin; c < end; ++c) {
      const Vector<A> channel = load(items_.columns + c * W);
      const A *x = columns_ + c * kTile + v * W, *y = other + c * kTile + v * W;
#pragma GCC unroll 4
      for (int i = 0; i < kTogether; ++i) {
        Vector<A> sum = load(x + i * W) + shift[i];
        sum += on_query[i] * load(y + i * W);
        sum += on_first[i] * __builtin_shuffle(channel, pairs.near[i]);
        sum += on_second[i] * __builtin_shuffle(channel, pairs.far[i]);
        write(to, c - begin, v + i, sum * scales[i]);
      }
    }
  }

  const A* columns_;
  const Items<A>& items_;
  const Index<A>*first_, *second_;
};

}  // namespace mnad::cpu::MNAD_ISA
