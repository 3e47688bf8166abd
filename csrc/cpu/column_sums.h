// Sums of the queries of a ColumnTile, item by item: it is turned in registers, as the sums run over channels.
#pragma once

#include "cpu/tile.h"

namespace mnad::cpu::MNAD_ISA {

// The queries with a factor, those of the same item together.
template <class A>
struct Groups {
  int order[kTile], begin[kTile + 1], count = 0;

  Groups(const A* factor, const Index<A>* index, int64_t n) {
    bool taken[kTile];
    for (int64_t t = 0; t < n; ++t) taken[t] = factor[t] == 0;
    int filled = 0;
    for (int64_t first = 0; first < n; ++first) {
      if (taken[first]) continue;
      begin[count++] = filled;
      for (int64_t t = first; t < n; ++t) {
        if (taken[t] || index[t] != index[first]) continue;
        taken[t] = true;
        order[filled++] = int(t);
      }
    }
    begin[count] = filled;
  }
};

template <class A>
class ColumnSums {
 public:
  // `columns` is (C, kTile), of which n positions are queries.
  ColumnSums(const A* columns, int64_t C, int64_t n) : columns_(columns), C_(C), n_(n) {}

  // sums[index[t]] += factor[t] x_t; a factor of 0 adds nothing, whatever x_t is.
  void add_by_index(const A* factor, const Index<A>* index, A* sums) const {
    const Groups<A> groups(factor, index, n_);
    Vector<A> rows[kTile];
    for (int64_t c = 0; c < C_; c += W) {
      turn(c, rows);
      for (int group = 0; group < groups.count; ++group) {
        const int begin = groups.begin[group], end = groups.begin[group + 1];
        A* to = sums + index[groups.order[begin]] * padded<A>(C_) + c;
        Vector<A> strands[4] = {load(to)};  // that do not wait for one another
        int i = begin;
        for (; i + 4 <= end; i += 4)
          for (int j = 0; j < 4; ++j) strands[j] += factor[groups.order[i + j]] * rows[groups.order[i + j]];
        for (; i < end; ++i) strands[0] += factor[groups.order[i]] * rows[groups.order[i]];
        store(to, (strands[0] + strands[1]) + (strands[2] + strands[3]));
      }
    }
  }

  // sums[m] += sum over t of weights[m][t] scale[t] x_t
  void add_outer(const A* weights, const A* scale, int64_t M, A* sums) const {
    Vector<A> rows[kTile];
    for (int64_t c = 0; c < C_; c += W) {
      turn(c, rows);
      for (int64_t t = 0; t < n_; ++t) rows[t] *= scale[t];
      for (int64_t m = 0; m < M; ++m) {
        A* to = sums + m * padded<A>(C_) + c;
        Vector<A> total = load(to);
        for (int64_t t = 0; t < n_; ++t) total += weights[m * kTile + t] * rows[t];
        store(to, total);
      }
    }
  }

 private:
  static constexpr int W = kWidth<A>;

  const A* column(int64_t c) const { return columns_ + c * kTile; }

  // Rows of W channels from channel c on, 0 beyond the last.
  void turn(int64_t c, Vector<A> (&rows)[kTile]) const {
    for (int64_t t = 0; t < n_; t += W) {
      Vector<A> block[W];
      if (c + W <= C_)
        for (int i = 0; i < W; ++i) block[i] = load(column(c + i) + t);
      else
        for (int i = 0; i < W; ++i) block[i] = c + i < C_ ? load(column(c + i) + t) : Vector<A>{};
      transpose<A>(block);
      for (int i = 0; i < W; ++i) rows[t + i] = block[i];
    }
  }

  const A* columns_;
  int64_t C_, n_;
};

}  // namespace mnad::cpu::MNAD_ISA
