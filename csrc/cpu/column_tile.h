// A tile of a contiguous map: for each channel a run of kTile positions, the last ones 0 if there are fewer; with
// channels of 0 up to a whole vector of them.
#pragma once

#include <algorithm>
#include <type_traits>

#include "cpu/column_map.h"
#include "cpu/column_mix.h"
#include "cpu/column_picks.h"
#include "cpu/column_rows.h"
#include "cpu/tile.h"

namespace mnad::cpu::MNAD_ISA {

template <class A>
class ColumnTile {
 public:
  static int64_t elements(int64_t C) { return kTile * padded<A>(C); }

  ColumnTile(A* data, int64_t C) : data_(data), C_(C) { std::fill(column(C), column(padded<A>(C)), A(0)); }

  A* column(int64_t c) const { return data_ + c * kTile; }

  static constexpr bool kHasColumns = true;  // of the items

  // Whether there are few items, so that queries pick theirs from the columns.
  static bool can_pick(int64_t M) { return ColumnPicks<A>::can_pick(M); }

  // Whether scores are worked out from the columns.
  static bool scores_from_columns(int64_t M) { return M <= kMixed; }

  // Transposes the items, into memory of (length, breadth).
  static void arrange(Items<A>& items, A* columns) {
    for (int64_t c = 0; c < items.length; c += W)
      for (int64_t first = 0; first < items.breadth; first += W) {
        Vector<A> block[W];
        for (int i = 0; i < W; ++i) block[i] = first + i < items.M ? load(items[first + i] + c) : Vector<A>{};
        transpose<A>(block);
        for (int i = 0; i < W; ++i) store(columns + (c + i) * items.breadth + first, block[i]);
      }
    items.columns = columns;
  }

  // Reads n positions.
  template <class T>
  void load_map(const T* from, Strides s, int64_t n) {
    n_ = n;
    load_channels(from, s, 0, C_);
  }

  // Reads n positions and gives |x_t|^2 and scores[m][t] = x_t . p_m, while the channels are in the cache. Every sum
  // runs in the same order, so equal items give equal scores.
  template <class T>
  void load_and_score(const T* from, Strides s, int64_t n, const Items<A>& items, A* squares, A* scores) {
    std::fill(squares, squares + kTile, A(0));
    if (!scores_from_columns(items.M)) {
      load_map(from, s, n);
      add_squares(0, C_, squares);
      return dots(items, scores);
    }
    n_ = n;
    std::fill(scores, scores + items.M * kTile, A(0));
    const int64_t on_the_way = n_ == kTile && s.p == 1 && items.M >= kItems ? kItems : 0;
    for (int64_t c = 0; c < C_; c += kCached) {
      const int64_t end = std::min(c + kCached, C_);
      if (on_the_way) {
        load_and_dot(from, s, items, c, end, squares, scores);
      } else {
        load_channels(from, s, c, end);
        add_squares(c, end, squares);
      }
      add_dots<true>(items, on_the_way, c, end, scores);
    }
  }

  // Reads n positions of this map and of another.
  template <class T>
  void load_both(const T* from, Strides s, ColumnTile& other, const T* other_from, Strides other_s, int64_t n,
                 Products<A>& products) {
    if (n < kTile || s.p != 1 || other_s.p != 1) {
      load_map(from, s, n);
      other.load_map(other_from, other_s, n);
      return multiply_with(other, products);
    }
    n_ = other.n_ = n;
    products = {};
    for (int64_t c = 0; c < C_; c += kRead)
      load_and_multiply(from, s, other, other_from, other_s, c, std::min(c + kRead, C_), products);
  }

  void fill_zero(int64_t n) {
    n_ = n;
    for (int64_t i = 0; i < elements(C_); ++i) data_[i] = 0;
  }

  // Writes the tile, each query times its scale.
  template <class T>
  void write_map(const A* scale, Target<T, A> given) const {
    staged<true>(given, n_, C_, [&](auto to, int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; ++c) {
        const A* x = column(c);
#pragma GCC unroll 16
        for (int v = 0; v < kVectors; ++v) write(to, c - begin, v, load(x + v * W) * load(scale + v * W));
      }
    });
  }

  // Writes (x_t + along[t] other_t) scale[t].
  template <class T>
  void write_sum(const A* along, const ColumnTile& other, const A* scale, Target<T, A> given) const {
    staged<false>(given, n_, C_, [&](auto to, int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; ++c) {
        const A *x = column(c), *y = other.column(c);
#pragma GCC unroll 16
        for (int v = 0; v < kVectors; ++v) {
          const Vector<A> sum = load(x + v * W) + load(along + v * W) * load(y + v * W);
          write(to, c - begin, v, sum * load(scale + v * W));
        }
      }
    });
  }

  // Writes (x_t + on_query[t] other_t + on_first[t] p_first + on_second[t] p_second + shift[t]) scale[t].
  template <class T>
  void write_with_items(const LossTerms<A>& terms, const ColumnTile& other, const Items<A>& items,
                        const Index<A>* first, const Index<A>* second, const A* scale, Target<T, A> given) const {
    if (can_pick(items.M))
      return staged<false>(given, n_, C_, [&](auto to, int64_t begin, int64_t end) {
        ColumnPicks<A>(data_, items, first, second).write_sum(begin, end, terms, other.data_, scale, to);
      });
    through_spare(given, n_, C_, [&](int64_t begin, int64_t end) {
      rows().write_sum(begin, end, terms, other.data_, items, first, second, scale, given.spare);
    });
  }

  void multiply_with(const ColumnTile& other, Products<A>& products) const {
    for (int t = 0; t < kTile; t += W) {
      Vector<A> square{}, total{}, dot{};
      for (int64_t c = 0; c < C_; ++c) {
        const Vector<A> x = load(column(c) + t);
        square += x * x;
        total += x;
        dot += x * load(other.column(c) + t);
      }
      store(products.square + t, square), store(products.total + t, total), store(products.dot + t, dot);
    }
  }

  // to[t] = x_t . other_t
  void dots_with(const ColumnTile& other, A* to) const {
    for (int v = 0; v < kVectors; v += 2) {
      Vector<A> sums[2] = {};
      for (int64_t c = 0; c < C_; ++c)
        for (int i = 0; i < 2; ++i) sums[i] += load(column(c) + (v + i) * W) * load(other.column(c) + (v + i) * W);
      for (int i = 0; i < 2; ++i) store(to + (v + i) * W, sums[i]);
    }
  }

  bool finite(int64_t t) const {
    A zero = 0;
    for (int64_t c = 0; c < C_; ++c) zero += column(c)[t] * 0;
    return zero == 0;
  }

  // scores[m][t] = x_t . p_m
  void dots(const Items<A>& items, A* scores) const {
    std::fill(scores, scores + items.M * kTile, A(0));
    for (int64_t c = 0; c < C_; c += kScored) add_dots<false>(items, 0, c, std::min(c + kScored, C_), scores);
  }

  // x_t += sum over m of weights[m][t] p_m
  void add_mix(const A* weights, const Items<A>& items) {
    const auto start = [this](int64_t c, int v) { return load(column(c) + v * W); };
    const auto take = [this](int64_t c, int v, const auto& sums) {
      write_block(Columns<A, A, false>{column(c), kTile}, v, sums);
    };
    for (int64_t m = 0; m < items.M; m += kMixed) ColumnMix<A>(weights, items, m).run(0, C_, start, take);
  }

  // Writes sum over m of weights[m][t] p_m.
  template <class T>
  void write_mix(const A* weights, const Items<A>& items, Target<T, A> given) const {
    if (items.M > kMixed) {
      ColumnTile sum(given.spare, C_);
      sum.fill_zero(n_);
      sum.add_mix(weights, items);
      return send_spare(given, n_, 0, C_);
    }
    staged<true>(given, n_, C_, [&](auto to, int64_t begin, int64_t end) {
      const auto start = [](int64_t, int) { return Vector<A>{}; };
      const auto take = [to, begin](int64_t c, int v, const auto& sums) {
        write_block(to.from_channel(c - begin), v, sums);
      };
      ColumnMix<A>(weights, items, 0).run(begin, end, start, take);
    });
  }

  // Writes the unit queries, and behind them the mix; beside its multiply-adds if they are written in the same runs.
  template <class T>
  void write_output(const A* inverse, const A* weights, const Items<A>& items, Target<T, A> to) const {
    if (n_ == kTile && to.s.p == 1 && ColumnMix<A>::by_runs(items.M))
      return to.streamed ? write_beside_mix(inverse, weights, items, Columns<T, A, true>{to.data, to.s.c})
                         : write_beside_mix(inverse, weights, items, Columns<T, A, false>{to.data, to.s.c});
    write_map(inverse, to);
    write_mix(weights, items, to.from_channel(C_));
  }

  // Whether losses are best worked out while the unit queries are written.
  static bool compares_while_writing(const Items<A>& items) { return can_pick(items.M); }

  // What the losses need of each query, its nearest and its second nearest item. Writes the unit queries as well.
  template <class T>
  void write_and_compare(const A* inverse, const Items<A>& items, const Index<A>* first, const Index<A>* second,
                         Target<T, A> given, Differences<A>& found) const {
    found = {};
    staged<true>(given, n_, C_, [&](auto to, int64_t begin, int64_t end) {
      ColumnPicks<A>(data_, items, first, second).write_and_compare(begin, end, inverse, to, found);
    });
  }

  // Calls f(rows, t, c) for parts of the queries, or of the channels unless these are wanted whole: `rows` have queries
  // from the t-th and channels from the c-th on, in memory of a tile's size.
  template <class F>
  void by_rows(A* memory, bool whole, F&& f) const {
    rows().each(memory, whole, f);
  }

  // sums[m] += sum over t of weights[m][t] scale[t] x_t
  void add_outer(const A* weights, const A* scale, int64_t M, A* sums) const {
    rows().add_outer(weights, scale, M, sums);
  }

 private:
  static constexpr int W = kWidth<A>, kVectors = kTile / W;
  // Items whose sums for two vectors of positions fit into the registers.
  static constexpr int kItems = kVectorBytes == 64 ? 10 : 5;
  // Channels that are read before the rest of the items meets them, in the nearest caches; that are asked for ahead
  // where two maps are read; and of which many items are scored, in the second cache.
  static constexpr int64_t kCached = kVectorBytes == 64 ? 128 : 32, kRead = kVectorBytes == 64 ? 16 : 32;
  static constexpr int64_t kScored = 128;
  static constexpr int64_t kMixed = ColumnMix<A>::kItems;

  ColumnRows<A> rows() const { return {data_, C_, n_}; }

  template <class T, bool kStreamed>
  void write_beside_mix(const A* inverse, const A* weights, const Items<A>& items, Columns<T, A, kStreamed> to) const {
    const auto start = [](int64_t, int) { return Vector<A>{}; };
    const auto take = [data = data_, inverse, to, C = C_](int64_t c, int v, const auto& sums) {
      write_block(to.from_channel(C + c), v, sums);
      std::remove_cvref_t<decltype(sums)> queries;
      scale_block(data + c * kTile + v * W, inverse + v * W, queries);
      write_block(to.from_channel(c), v, queries);
    };
    ColumnMix<A>(weights, items, 0).run(0, C_, start, take);
  }

  template <int Channels, int Vectors>
  [[gnu::always_inline]] static void scale_block(const A* x, const A* scale, Vector<A> (&to)[Channels][Vectors]) {
#pragma GCC unroll 8
    for (int i = 0; i < Channels; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < Vectors; ++j) to[i][j] = load(x + i * kTile + j * W) * load(scale + j * W);
  }

  template <class T>
  void load_channels(const T* from, Strides s, int64_t begin, int64_t end) {
    if (n_ == kTile && s.p == 1) {
      for (int64_t c = begin; c < end; ++c) {
        const T* run = from + c * s.c;
        A* x = column(c);
        prefetch(run + kCached * s.c, kTile);
#pragma GCC unroll 16
        for (int v = 0; v < kVectors; ++v) store(x + v * W, load(run + v * W));
      }
    } else {
      std::fill(column(begin), column(end), A(0));
      load_element_wise(from + begin * s.c, s, end - begin, n_, column(begin), {0, kTile, 1});
    }
  }

  template <class T>
  void load_and_multiply(const T* from, Strides s, ColumnTile& other, const T* other_from, Strides other_s,
                         int64_t begin, int64_t end, Products<A>& products) {
    constexpr int kTogether = kVectorBytes == 64 ? 8 : 4;
    const T *next = from + (begin + kRead) * s.c, *other_next = other_from + (begin + kRead) * other_s.c;
    for (int v = 0; v < kVectors; v += kTogether) {
      Vector<A> square[kTogether], total[kTogether], dot[kTogether];
      for (int i = 0; i < kTogether; ++i) {
        const int t = (v + i) * W;
        square[i] = load(products.square + t), total[i] = load(products.total + t), dot[i] = load(products.dot + t);
      }
      for (int64_t c = begin; c < end; ++c) {
        const T *run = from + c * s.c + v * W, *other_run = other_from + c * other_s.c + v * W;
        A *to = column(c) + v * W, *other_to = other.column(c) + v * W;
        const int64_t done = (v / kTogether * kRead + c - begin) * (kTogether * W);
        prefetch_part(next, s, done, kTogether * W);
        prefetch_part(other_next, other_s, done, kTogether * W);
#pragma GCC unroll 8
        for (int i = 0; i < kTogether; ++i) {
          const Vector<A> x = load(run + i * W), y = load(other_run + i * W);
          square[i] += x * x;
          total[i] += x;
          dot[i] += x * y;
          store(to + i * W, x);
          store(other_to + i * W, y);
        }
      }
      for (int i = 0; i < kTogether; ++i) {
        const int t = (v + i) * W;
        store(products.square + t, square[i]), store(products.total + t, total[i]), store(products.dot + t, dot[i]);
      }
    }
  }

  void add_squares(int64_t begin, int64_t end, A* squares) const {
    for (int v = 0; v < kVectors; v += 2) {
      Vector<A> sums[2] = {load(squares + v * W), load(squares + (v + 1) * W)};
      for (int64_t c = begin; c < end; ++c)
        for (int i = 0; i < 2; ++i) sums[i] += load(column(c) + (v + i) * W) * load(column(c) + (v + i) * W);
      for (int i = 0; i < 2; ++i) store(squares + (v + i) * W, sums[i]);
    }
  }

  // Reads channels of a whole tile and adds what they give to the squares and to the scores of the first items.
  template <class T>
  void load_and_dot(const T* from, Strides s, const Items<A>& items, int64_t begin, int64_t end, A* squares,
                    A* scores) {
    const T* next = from + (begin + kCached) * s.c;
    for (int v = 0; v < kVectors; v += 2) {
      Vector<A> sums[2] = {load(squares + v * W), load(squares + (v + 1) * W)};
      dot_block<true, kItems>(v, items, 0, begin, end, scores, [&](int64_t c, Vector<A>& x0, Vector<A>& x1) {
        const T* run = from + c * s.c + v * W;
        prefetch_part(next, s, (v / 2 * kCached + c - begin) * (2 * W), 2 * W);
        x0 = load(run), x1 = load(run + W);
        A* to = column(c) + v * W;
        store(to, x0);
        store(to + W, x1);
        sums[0] += x0 * x0;
        sums[1] += x1 * x1;
      });
      for (int i = 0; i < 2; ++i) store(squares + (v + i) * W, sums[i]);
    }
  }

  // Adds channels [begin, end) to the scores of items [first, M). The columns have a channel of few items in one line
  // of the cache, and that of some of many items in lines that push each other out.
  template <bool kFromColumns>
  void add_dots(const Items<A>& items, int64_t first, int64_t begin, int64_t end, A* scores) const {
    int64_t m = first;
    for (; m + kItems <= items.M; m += kItems) add_dots_of<kFromColumns, kItems>(items, m, begin, end, scores);
    for (; m < items.M; ++m) add_dots_of<kFromColumns, 1>(items, m, begin, end, scores);
  }

  // Not inlined: in a longer function the compiler keeps the sums in memory.
  template <bool kFromColumns, int Count>
  [[gnu::noinline]] void add_dots_of(const Items<A>& items, int64_t m, int64_t begin, int64_t end, A* scores) const {
    for (int v = 0; v < kVectors; v += 2) {
      const A* x = data_ + v * W;
      dot_block<kFromColumns, Count>(v, items, m, begin, end, scores, [x](int64_t c, Vector<A>& x0, Vector<A>& x1) {
        x0 = load(x + c * kTile), x1 = load(x + c * kTile + W);
      });
    }
  }

  template <bool kFromColumns, int Count, class F>
  void dot_block(int v, const Items<A>& items, int64_t first, int64_t begin, int64_t end, A* scores,
                 F&& queries) const {
    Vector<A> sums[Count][2];
#pragma GCC unroll 10
    for (int m = 0; m < Count; ++m)
#pragma GCC unroll 2
      for (int i = 0; i < 2; ++i) sums[m][i] = load(scores + (first + m) * kTile + (v + i) * W);
    const int64_t apart = kFromColumns ? 1 : items.length, next = kFromColumns ? items.breadth : 1;
    const A* channel = kFromColumns ? items.columns + begin * next + first : items[first] + begin;
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
      for (int i = 0; i < 2; ++i) store(scores + (first + m) * kTile + (v + i) * W, sums[m][i]);
  }

  A* data_;
  int64_t C_, n_ = 0;
};

}  // namespace mnad::cpu::MNAD_ISA
