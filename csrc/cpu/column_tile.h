// A tile of a contiguous map: for each channel a run of kTile positions, the last ones 0 if there are fewer; with
// channels of 0 up to a whole vector of them.
#pragma once

#include <algorithm>
#include <cassert>
#include <type_traits>

#include "cpu/column_dots.h"
#include "cpu/column_map.h"
#include "cpu/column_picks.h"
#include "cpu/column_rows.h"
#include "cpu/column_sums.h"
#include "cpu/column_weighted_sum.h"
#include "cpu/deferred_store.h"
#include "cpu/tile.h"
#include "cpu/tile_concept.h"

namespace mnad::cpu::MNAD_ISA {

template <class A>
class ColumnTile {
 public:
  static int64_t elements(int64_t C) { return kTile * padded<A>(C); }

  ColumnTile(A* data, int64_t C) : data_(data), C_(C) { std::fill(column(C), column(padded<A>(C)), A(0)); }

  A* column(int64_t c) const {
    assert(0 <= c && c <= padded<A>(C_));
    return data_ + c * kTile;
  }

  // Deferred stores pay off where a vector is a whole cache line.
  template <class T>
  using Deferred = std::conditional_t<kVectorBytes == 64, DeferredStore<T, A>, NoDeferredStore<T, A>>;

  // Whether a pass reads the transposed items.
  static bool reads_columns(const Forward& pass) { return pass.output || scores_from_columns(pass.shape.M); }
  static bool reads_columns(const Backward& pass) {
    return pass.wants_score_gradient() || (pass.indices && ColumnPicks<A>::can_pick(pass.shape.M));
  }

  // Reads n positions.
  template <class T>
  void load_map(const T* from, Strides s, int64_t n) {
    n_ = n;
    load_channels(from, s, 0, C_, ScaledSink<NullSink, A>{});
  }

  // Reads n positions and computes |x_t|^2 and scores[m][t] = x_t . p_m while the channels are in the cache. Every sum
  // runs in the same order, so equal items have equal scores. Where this tile and the one before are both whole, the
  // queries of the one before are written to `leaving` before they are overwritten.
  template <class T, class Sink = NullSink>
  void load_and_score(const T* from, Strides s, int64_t n, const Items<A>& items, A* squares, A* scores,
                      ScaledSink<Sink, A> leaving = {}) {
    n_ = n;
    std::fill(squares, squares + kTile, A(0));
    if (!scores_from_columns(items.M)) {
      load_channels(from, s, 0, C_, leaving);
      add_squares(0, C_, squares);
      return dots(items, scores);
    }
    std::fill(scores, scores + items.M * kTile, A(0));
    const ColumnDots<A> sums(items, scores);
    constexpr int kMost = ColumnDots<A>::kItems, kFew = ColumnDots<A>::kFewItems;
    for (int64_t c = 0; c < C_; c += Tuned::kCachedChannels) {
      const int64_t end = std::min(c + Tuned::kCachedChannels, C_);
      int64_t scored = 0;
      if (is_whole(n, s) && items.M >= kMost) {
        scored = load_and_dot<kMost>(from, s, sums, c, end, squares, leaving);
      } else if (is_whole(n, s) && items.M >= kFew) {
        scored = load_and_dot<kFew>(from, s, sums, c, end, squares, leaving);
      } else {
        load_channels(from, s, c, end, leaving);
        add_squares(c, end, squares);
      }
      sums.template add<true>(data_, scored, c, end);
    }
  }

  // Reads n positions of two maps: y into this tile, x into `other`.
  template <class T>
  void load_both(const T* from, Strides s, ColumnTile& other, const T* other_from, Strides other_s, int64_t n,
                 Products<A>& products) {
    if (!is_whole(n, s) || !is_whole(n, other_s)) {
      load_map(from, s, n);
      other.load_map(other_from, other_s, n);
      return other.multiply_with(*this, products);
    }
    load_whole(from, s, other, other_from, other_s, n, products, NullSink{}, ScaledSum<A>{});
  }

  // The same where both tiles are whole and so were the ones before, whose gradient is written to `leaving` as they are
  // overwritten.
  template <class T, class Sink>
  void load_both(const T* from, Strides s, ColumnTile& other, const T* other_from, Strides other_s, int64_t n,
                 Products<A>& products, GradientSink<Sink, A> leaving) {
    assert(is_whole(n, s) && is_whole(n, other_s) && n_ == n && other.n_ == n);
    with_sum(leaving.gradient, leaving.items,
             [&](auto sum) { load_whole(from, s, other, other_from, other_s, n, products, leaving.sink, sum); });
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

  // Writes the gradient of the features; this tile holds that of the unit queries.
  template <class T>
  void write_gradient(const FeatureGradient<A>& gradient, const ColumnTile& queries, const Items<A>& items,
                      Target<T, A> to) const {
    if (!gradient.first || ColumnPicks<A>::can_pick(items.M))
      return with_sum(gradient, items, [&](auto sum) { write_sum(sum, queries, to); });
    through_staging(to, n_, C_, [&](int64_t begin, int64_t end) {
      rows().write_gradient(begin, end, gradient, queries.data_, items, to.staging);
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
    const ColumnDots<A> sums(items, scores);
    for (int64_t c = 0; c < C_; c += kScoredChannels)
      sums.template add<false>(data_, 0, c, std::min(c + kScoredChannels, C_));
  }

  // x_t += sum over m of weights[m][t] p_m
  void add_weighted_sum(const A* weights, const Items<A>& items) {
    const auto start = [this](int64_t c, int v) { return load(column(c) + v * W); };
    const auto take = [this](int64_t c, int v, const auto& sums) {
      write_block(Columns<A, A, false>{column(c), kTile}, v, sums);
    };
    for (int64_t m = 0; m < items.M; m += kSummedItems) ColumnWeightedSum<A>(weights, items, m).run(0, C_, start, take);
  }

  // Writes sum over m of weights[m][t] p_m.
  template <class T>
  void write_weighted_sum(const A* weights, const Items<A>& items, Target<T, A> given) const {
    if (items.M > kSummedItems) {
      ColumnTile sum(given.staging, C_);
      sum.fill_zero(n_);
      sum.add_weighted_sum(weights, items);
      return write_staged(given, n_, 0, C_);
    }
    staged<true>(given, n_, C_, [&](auto to, int64_t begin, int64_t end) {
      const auto start = [](int64_t, int) { return Vector<A>{}; };
      const auto take = [to, begin](int64_t c, int v, const auto& sums) {
        write_block(to.from_channel(c - begin), v, sums);
      };
      ColumnWeightedSum<A>(weights, items, 0).run(begin, end, start, take);
    });
  }

  // Whether the losses are best computed while the unit queries are written.
  static bool compares_while_writing(const Items<A>& items) { return ColumnPicks<A>::can_pick(items.M); }

  // What the losses need of each query, its nearest and its second nearest item. Writes the unit queries as well.
  template <class T>
  void write_and_compare(const A* inverse, const Items<A>& items, const Index<A>* first, const Index<A>* second,
                         Target<T, A> given, Differences<A>& found) const {
    found = {};
    staged<true>(given, n_, C_, [&](auto to, int64_t begin, int64_t end) {
      ColumnPicks<A>(items, first, second).write_and_compare(data_, begin, end, inverse, to, found);
    });
  }

  // The same without writing.
  void compare(const A* inverse, const Items<A>& items, const Index<A>* first, const Index<A>* second,
               Differences<A>& found) const {
    found = {};
    ColumnPicks<A>(items, first, second).write_and_compare(data_, 0, C_, inverse, NullSink{}, found);
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
  // Whether something of the last tile is written while this one is read.
  template <class Sink>
  static constexpr bool kLeaves = !std::is_same_v<Sink, NullSink>;

  // Whether n positions of such a map are a whole tile, which is read and written in vectors.
  static bool is_whole(int64_t n, Strides s) { return n == kTile && s.p == 1; }

  // Whether scores are computed from the columns of the items.
  static bool scores_from_columns(int64_t M) { return M <= kSummedItems; }

  // Calls f with the sum that a gradient is; `items` are few if the losses have a part in it.
  template <class F>
  static void with_sum(const FeatureGradient<A>& of, const Items<A>& items, F&& f) {
    of.first ? f(PickedSum<A>{items.columns, of.first, of.second, of.terms, of.scale})
             : f(ScaledSum<A>{of.terms.on_query, of.scale});
  }

  ColumnRows<A> rows() const { return {data_, C_, n_}; }

  template <class T, class Sum>
  void write_sum(Sum sum, const ColumnTile& other, Target<T, A> given) const {
    staged<false>(given, n_, C_, [&](auto to, int64_t begin, int64_t end) {
      for (int v = 0; v < kVectors; v += 2) {
        const typename Sum::Factors factors[] = {sum.factors(v), sum.factors(v + 1)};
        for (int64_t c = begin; c < end; ++c)
#pragma GCC unroll 2
          for (int i = 0; i < 2; ++i) {
            const Vector<A> x = load(column(c) + (v + i) * W), y = load(other.column(c) + (v + i) * W);
            write(to, c - begin, v + i, sum(c, factors[i], x, y));
          }
      }
    });
  }

  template <class T, class Sink>
  void load_channels(const T* from, Strides s, int64_t begin, int64_t end, ScaledSink<Sink, A> leaving) {
    if (is_whole(n_, s)) {
      for (int64_t c = begin; c < end; ++c) {
        const T* run = from + c * s.c;
        A* x = column(c);
        prefetch(run + Tuned::kCachedChannels * s.c, kTile);
#pragma GCC unroll 16
        for (int v = 0; v < kVectors; ++v) {
          if constexpr (kLeaves<Sink>) write(leaving.sink, c, v, load(x + v * W) * load(leaving.scale + v * W));
          store(x + v * W, load(run + v * W));
        }
      }
    } else {
      std::fill(column(begin), column(end), A(0));
      load_element_wise(from + begin * s.c, s, end - begin, n_, column(begin), {0, kTile, 1});
    }
  }

  template <class T, class Sink, class Sum>
  void load_whole(const T* from, Strides s, ColumnTile& other, const T* other_from, Strides other_s, int64_t n,
                  Products<A>& products, Sink sink, Sum sum) {
    n_ = other.n_ = n;
    products = {};
    for (int64_t c = 0; c < C_; c += kPairedChannels)
      load_and_multiply(from, s, other, other_from, other_s, c, std::min(c + kPairedChannels, C_), products, sink, sum);
  }

  // Not inlined: in a longer function the compiler keeps the sums in memory.
  template <class T, class Sink, class Sum>
  [[gnu::noinline]] void load_and_multiply(const T* from, Strides s, ColumnTile& other, const T* other_from,
                                           Strides other_s, int64_t begin, int64_t end, Products<A>& products,
                                           Sink sink, Sum sum) {
    constexpr int kTogether = Tuned::kPairedVectors, kPiece = kTogether * W;
    const T *next = from + (begin + kPairedChannels) * s.c,
            *other_next = other_from + (begin + kPairedChannels) * other_s.c;
    for (int v = 0; v < kVectors; v += kTogether) {
      Vector<A> square[kTogether], total[kTogether], dot[kTogether];
      typename Sum::Factors factors[kTogether];
      for (int i = 0; i < kTogether; ++i) {
        const int t = (v + i) * W;
        square[i] = load(products.square + t), total[i] = load(products.total + t), dot[i] = load(products.dot + t);
        if constexpr (kLeaves<Sink>) factors[i] = sum.factors(v + i);
      }
      for (int64_t c = begin; c < end; ++c) {
        const T *run = from + c * s.c + v * W, *other_run = other_from + c * other_s.c + v * W;
        A *to = column(c) + v * W, *other_to = other.column(c) + v * W;
        const int64_t piece = v / kTogether * kPairedChannels + c - begin;
        prefetch_piece<kSecondCache, kPiece>(next, s.c, piece);
        prefetch_piece<kSecondCache, kPiece>(other_next, other_s.c, piece);
#pragma GCC unroll 4
        for (int i = 0; i < kTogether; ++i) {
          if constexpr (kLeaves<Sink>)
            write(sink, c, v + i, sum(c, factors[i], load(to + i * W), load(other_to + i * W)));
          const Vector<A> y = load(run + i * W), x = load(other_run + i * W);
          store(to + i * W, y);
          store(other_to + i * W, x);
          square[i] += x * x;
          total[i] += x;
          dot[i] += x * y;
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

  // Reads channels of a whole tile and adds them to the squares and to the scores of the first Count items; returns
  // Count. Not inlined, for the same reason.
  template <int Count, class T, class Sink>
  [[gnu::noinline]] int load_and_dot(const T* from, Strides s, const ColumnDots<A>& dots, int64_t begin, int64_t end,
                                     A* squares, ScaledSink<Sink, A> leaving) {
    const T* next = from + (begin + Tuned::kCachedChannels) * s.c;
    A* const tile = data_;  // a copy: to the compiler, any store might change the member
    for (int v = 0; v < kVectors; v += 2) {
      Vector<A> scales[2];
      if constexpr (kLeaves<Sink>)
        scales[0] = load(leaving.scale + v * W), scales[1] = load(leaving.scale + (v + 1) * W);
      Vector<A> sums[2] = {load(squares + v * W), load(squares + (v + 1) * W)};
      dots.template add_while_loading<Count>(v, begin, end, [&](int64_t c, Vector<A>& x0, Vector<A>& x1) {
        const T* run = from + c * s.c + v * W;
        A* to = tile + c * kTile + v * W;
        prefetch_piece<Tuned::kScoreCache, 2 * W>(next, s.c, v / 2 * Tuned::kCachedChannels + c - begin);
        if constexpr (kLeaves<Sink>) {
          write(leaving.sink, c, v, load(to) * scales[0]);
          write(leaving.sink, c, v + 1, load(to + W) * scales[1]);
        }
        x0 = load(run), x1 = load(run + W);
        store(to, x0);
        store(to + W, x1);
        sums[0] += x0 * x0;
        sums[1] += x1 * x1;
      });
      for (int i = 0; i < 2; ++i) store(squares + (v + i) * W, sums[i]);
    }
    return Count;
  }

  A* data_;
  int64_t C_, n_ = 0;
};

static_assert(Tile<ColumnTile<float>, float> && Tile<ColumnTile<double>, double>);

}  // namespace mnad::cpu::MNAD_ISA
