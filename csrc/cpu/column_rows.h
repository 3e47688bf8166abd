// Queries of a ColumnTile, transposed to rows of channels: there, what combines a query with its own items reads
// contiguous memory.
#pragma once

#include <algorithm>

#include "cpu/column_map.h"
#include "cpu/row_tile.h"
#include "cpu/tile.h"

namespace mnad::cpu::MNAD_ISA {

template <class A>
class ColumnRows {
 public:
  // `columns` is (C, kTile), of which n positions are queries, and 0 up to a whole vector of channels.
  ColumnRows(const A* columns, int64_t C, int64_t n) : columns_(columns), C_(C), n_(n) {}

  // Calls f(rows, t, c) with rows in memory of a tile's size: with some queries from the t-th on if channels are wanted
  // whole, otherwise with all queries and some channels from the c-th on.
  template <class F>
  void each(A* memory, bool whole, F&& f) const {
    if (whole) {
      for (int64_t t = 0; t < n_; t += kQueries) f(transposed_rows(t, kQueries, 0, C_, memory), t, int64_t{0});
      return;
    }
    int64_t c = 0;
    for (; c + kTransposedChannels <= C_; c += kTransposedChannels)
      f(transposed_rows(0, kTile, c, c + kTransposedChannels, memory), int64_t{0}, c);
    if (c < C_) f(transposed_rows(0, kTile, c, C_, memory), int64_t{0}, c);
  }

  // sums[m] += sum over t of weights[m][t] scale[t] x_t
  void add_outer(const A* weights, const A* scale, int64_t M, A* sums) const {
    Vector<A> rows[kTile];
    for (int64_t c = 0; c < C_; c += W) {
      for (int64_t t = 0; t < n_; t += W) transposed_block(c, t, rows + t);
      for (int64_t t = 0; t < n_; ++t) rows[t] *= scale[t];
      for (int64_t m = 0; m < M; ++m) {
        A* to = sums + m * padded<A>(C_) + c;
        Vector<A> total = load(to);
        for (int64_t t = 0; t < n_; ++t) total += weights[m * kTile + t] * rows[t];
        store(to, total);
      }
    }
  }

  // Writes channels [begin, end) of a gradient, (end - begin, kTile). What the items add is computed in rows and
  // transposed.
  void write_gradient(int64_t begin, int64_t end, const FeatureGradient<A>& gradient, const A* queries,
                      const Items<A>& items, A* to) const {
    const LossTerms<A>& terms = gradient.terms;
    A rows[kQueries][kStagedChannels];
    for (int64_t t = 0; t < kTile; t += kQueries) {
      for (int q = 0; q < kQueries; ++q) {
        const A *near = items[gradient.first[t + q]], *far = items[gradient.second[t + q]];
        prefetch(columns_ + end * kTile + (t + q) * kQueries, 1);  // the next block's, line by line
        prefetch(queries + end * kTile + (t + q) * kQueries, 1);
        for (int64_t c = begin; c < end; c += W) {
          const Vector<A> sum = terms.on_first[t + q] * load(near + c) + terms.on_second[t + q] * load(far + c);
          store(rows[q] + c - begin, sum + terms.shift[t + q]);
        }
      }
      for (int64_t c = begin; c < end; c += W)
        for (int q = 0; q < kQueries; q += W) {
          Vector<A> added[W];
          load_transposed(rows[q] + c - begin, kStagedChannels, added);
          const Vector<A> on_query = load(terms.on_query + t + q), scales = load(gradient.scale + t + q);
          const A *x = columns_ + c * kTile + t + q, *y = queries + c * kTile + t + q;
          A* run = to + (c - begin) * kTile + t + q;
          const auto write = [&](int i) {
            const Vector<A> sum = load(x + i * kTile) + on_query * load(y + i * kTile) + added[i];
            store(run + i * kTile, sum * scales);
          };
          if (c + W <= end)
#pragma GCC unroll 16
            for (int i = 0; i < W; ++i) write(i);
          else
            for (int i = 0; c + i < end; ++i) write(i);
        }
    }
  }

 private:
  static constexpr int W = kWidth<A>;
  // Queries that are transposed together: as many as a cache line holds.
  static constexpr int kQueries = 64 / sizeof(A);

  // Up to `count` queries from the first on, with channels [begin, end), as rows in memory.
  [[gnu::always_inline]] RowTile<A> transposed_rows(int64_t first, int64_t count, int64_t begin, int64_t end,
                                                    A* memory) const {
    count = std::min(count, n_ - first);
    const RowTile<A> rows(memory, end - begin, count);
    for (int64_t t = 0; t < count; t += kQueries)
      for (int64_t c = begin; c < end; c += W)
        for (int64_t q = t; q < t + kQueries; q += W) {
          Vector<A> block[W];
          transposed_block(c, first + q, block);
#pragma GCC unroll 16
          for (int i = 0; i < W; ++i) store(rows.row(q + i) + c - begin, block[i]);
        }
    return rows;
  }

  // Rows of W channels from channel c on, of W positions from t on.
  void transposed_block(int64_t c, int64_t t, Vector<A>* rows) const {
    const A* from = columns_ + c * kTile + t;
    Vector<A> block[W];
    load_transposed(from, kTile, block);
    for (int i = 0; i < W; ++i) rows[i] = block[i];
  }

  const A* columns_;
  int64_t C_, n_;
};

}  // namespace mnad::cpu::MNAD_ISA
