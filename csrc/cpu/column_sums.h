// Sums of the queries of a ColumnTile, item by item: it is turned in registers, as the sums run over channels.
#pragma once

#include "cpu/tile.h"

namespace mnad::cpu::MNAD_ISA {

template <class A>
class ColumnSums {
 public:
  // `columns` is (C, kTile), of which n positions are queries.
  ColumnSums(const A* columns, int64_t C, int64_t n) : columns_(columns), C_(C), n_(n) {}

  // sums[index[t]] += factor[t] x_t; a factor of 0 adds nothing, whatever x_t is. Neighbours with the same item are
  // added up before they reach its sum.
  void add_by_index(const A* factor, const Index<A>* index, A* sums) const {
    Vector<A> rows[W];
    for (int64_t c = 0; c < C_; c += W) {
      A* to = sums + c;
      Vector<A> run{};
      for (int64_t block = 0; block < n_; block += W) {
        turn(c, block, rows);
#pragma GCC unroll 16
        for (int i = 0; i < W; ++i) {
          const int64_t t = block + i;
          if (factor[t] == 0) continue;
          A* next = sums + index[t] * padded<A>(C_) + c;
          if (next != to) {
            store(to, load(to) + run);
            run = Vector<A>{};
            to = next;
          }
          run += factor[t] * rows[i];
        }
      }
      store(to, load(to) + run);
    }
  }

  // sums[m] += sum over t of weights[m][t] scale[t] x_t
  void add_outer(const A* weights, const A* scale, int64_t M, A* sums) const {
    Vector<A> rows[kTile];
    for (int64_t c = 0; c < C_; c += W) {
      for (int64_t t = 0; t < n_; t += W) turn(c, t, rows + t);
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

  // Rows of W channels from channel c on, 0 beyond the last, of W positions from t on.
  void turn(int64_t c, int64_t t, Vector<A>* rows) const {
    Vector<A> block[W];
    if (c + W <= C_)
      for (int i = 0; i < W; ++i) block[i] = load(column(c + i) + t);
    else
      for (int i = 0; i < W; ++i) block[i] = c + i < C_ ? load(column(c + i) + t) : Vector<A>{};
    transpose<A>(block);
    for (int i = 0; i < W; ++i) rows[i] = block[i];
  }

  const A* columns_;
  int64_t C_, n_;
};

}  // namespace mnad::cpu::MNAD_ISA
