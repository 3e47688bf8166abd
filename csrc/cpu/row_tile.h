// A tile of a channels-last map: one row of channels for each query, padded with zeros to whole vectors.
#pragma once

#include <algorithm>
#include <cassert>

#include "cpu/deferred_store.h"
#include "cpu/tile.h"
#include "cpu/tile_concept.h"

namespace mnad::cpu::MNAD_ISA {

template <class A>
class RowTile {
 public:
  static int64_t elements(int64_t C) { return kTile * padded<A>(C); }

  RowTile(A* data, int64_t C, int64_t n = 0) : data_(data), C_(C), length_(padded<A>(C)), n_(n) {}

  A* row(int64_t t) const {
    assert(0 <= t && t < kTile);
    return data_ + t * length_;
  }

  template <class T>
  using Deferred = NoDeferredStore<T, A>;

  // Of the items, which are read as rows.
  static bool reads_columns(const Forward&) { return false; }
  static bool reads_columns(const Backward&) { return false; }

  // Reads n positions.
  template <class T>
  void load_map(const T* from, Strides s, int64_t n) {
    n_ = n;
    for (int64_t t = 0; t < n; ++t) load_row(from + t * s.p, s, t);
  }

  // Reads n positions and computes |x_t|^2 and scores[m][t] = x_t . p_m while the rows are in the cache. Every sum runs
  // in the same order, so equal items have equal scores.
  template <class T>
  void load_and_score(const T* from, Strides s, int64_t n, const Items<A>& items, A* squares, A* scores) {
    n_ = n;
    const auto read = [&](int64_t t) {
      load_row(from + t * s.p, s, t);
      squares[t] = dot(row(t), row(t));
    };
    if (items.M * length_ > kCachedItemElements) {
      for (int64_t t = 0; t < n; ++t) read(t);
      return dots(items, scores);
    }
    int64_t t = 0;
    for (; t + Tuned::kRowQueries <= n; t += Tuned::kRowQueries) {
      for (int i = 0; i < Tuned::kRowQueries; ++i) read(t + i);
      dots_of<Tuned::kRowQueries>(t, 0, items.M, items, scores);
    }
    for (; t < n; ++t) {
      read(t);
      dots_of<1>(t, 0, items.M, items, scores);
    }
  }

  // Reads n positions of this map, y, and of another one, x.
  template <class T>
  void load_both(const T* from, Strides s, RowTile& other, const T* other_from, Strides other_s, int64_t n,
                 Products<A>& products) {
    n_ = other.n_ = n;
    for (int64_t t = 0; t < n; ++t) {
      load_row(from + t * s.p, s, t);
      other.load_row(other_from + t * other_s.p, other_s, t);
      other.multiply(t, *this, products);
    }
  }

  void fill_zero(int64_t n) {
    n_ = n;
    for (int64_t i = 0; i < n * length_; ++i) data_[i] = 0;
  }

  // Writes the tile, each query times its scale.
  template <class T>
  void write_map(const A* scale, Target<T, A> to) const {
    for (int64_t t = 0; t < n_; ++t)
      for (int64_t c = 0; c < length_; c += W) write(to, t, c, load(row(t) + c) * scale[t]);
  }

  // Writes the gradient of the features; this tile holds that of the unit queries.
  template <class T>
  void write_gradient(const FeatureGradient<A>& gradient, const RowTile& queries, const Items<A>& items,
                      Target<T, A> to) const {
    const LossTerms<A>& terms = gradient.terms;
    for (int64_t t = 0; t < n_; ++t) {
      const A *g = row(t), *x = queries.row(t), on_query = terms.on_query[t], scale = gradient.scale[t];
      if (!gradient.first) {
        for (int64_t c = 0; c < length_; c += W) write(to, t, c, (load(g + c) + on_query * load(x + c)) * scale);
        continue;
      }
      const A *near = items[gradient.first[t]], *far = items[gradient.second[t]];
      for (int64_t c = 0; c < length_; c += W) {
        const Vector<A> sum = load(g + c) + on_query * load(x + c) + terms.on_first[t] * load(near + c) +
                              terms.on_second[t] * load(far + c) + terms.shift[t];
        write(to, t, c, sum * scale);
      }
    }
  }

  void multiply_with(const RowTile& other, Products<A>& products) const {
    for (int64_t t = 0; t < n_; ++t) multiply(t, other, products);
  }

  // to[t] = x_t . other_t
  void dots_with(const RowTile& other, A* to) const {
    for (int64_t t = 0; t < n_; ++t) to[t] = dot(row(t), other.row(t));
  }

  bool finite(int64_t t) const {
    Vector<A> zero{};
    for (int64_t c = 0; c < length_; c += W) zero += load(row(t) + c) * 0;
    return sum<A>(zero) == 0;
  }

  // scores[m][t] = x_t . p_m
  void dots(const Items<A>& items, A* scores) const {
    for (int64_t m = 0; m < items.M; m += kRowItems) {  // these stay in the first cache
      const int64_t end = std::min<int64_t>(m + kRowItems, items.M);
      int64_t t = 0;
      for (; t + Tuned::kRowQueries <= n_; t += Tuned::kRowQueries)
        dots_of<Tuned::kRowQueries>(t, m, end, items, scores);
      for (; t < n_; ++t) dots_of<1>(t, m, end, items, scores);
    }
  }

  // x_t += sum over m of weights[m][t] p_m
  void add_weighted_sum(const A* weights, const Items<A>& items) {
    for (int64_t m = 0; m < items.M; m += kSummedItems)
      weighted_sums<true>(0, n_, m, weights, items,
                          [&](int64_t t, int64_t c, Vector<A> sum) { store(row(t) + c, sum); });
  }

  // Writes sum over m of weights[m][t] p_m.
  template <class T>
  void write_weighted_sum(const A* weights, const Items<A>& items, Target<T, A> to) const {
    RowTile sum(to.staging, C_);
    if (items.M > kSummedItems) {
      sum.fill_zero(n_);
      sum.add_weighted_sum(weights, items);
      return send_rows(sum, 0, n_, to);
    }
    if (!to.streamed)
      return weighted_sums<false>(0, n_, 0, weights, items,
                                  [this, to](int64_t t, int64_t c, Vector<A> value) { write(to, t, c, value); });
    // Memory is several times as fast where rows are written one after the other, and not pieces of many in turn.
    for (int64_t t = 0; t < n_; t += kSummedQueries) {
      const int64_t end = std::min<int64_t>(t + kSummedQueries, n_);
      weighted_sums<false>(t, end, 0, weights, items,
                           [sum](int64_t t, int64_t c, Vector<A> value) { store(sum.row(t) + c, value); });
      send_rows(sum, t, end, to);
    }
  }

  // Whether the losses are best computed while the unit queries are written.
  static bool compares_while_writing(const Items<A>&) { return true; }

  // What the losses need of each query, its nearest and its second nearest item. Writes the unit queries as well.
  template <class T>
  void write_and_compare(const A* inverse, const Items<A>& items, const Index<A>* first, const Index<A>* second,
                         Target<T, A> to, Differences<A>& found) const {
    for (int64_t t = 0; t < n_; ++t)
      compare_row(t, inverse[t], items[first[t]], items[second[t]], t, found,
                  [this, to, t](int64_t c, Vector<A> q) { write(to, t, c, q); });
  }

  // The same without writing, for a tile whose first query is the `at`-th of those that are given.
  void compare(const A* inverse, const Items<A>& items, const Index<A>* first, const Index<A>* second,
               Differences<A>& found, int64_t at = 0) const {
    for (int64_t t = 0; t < n_; ++t)
      compare_row(t, inverse[at + t], items[first[at + t]], items[second[at + t]], at + t, found,
                  [](int64_t, Vector<A>) {});
  }

  int64_t count() const { return n_; }

  // Calls f(rows, t, c) for parts of the queries, or of the channels unless these are wanted whole: `rows` have queries
  // from the t-th and channels from the c-th on.
  template <class F>
  void by_rows(A*, bool, F&& f) const {
    f(*this, int64_t{0}, int64_t{0});
  }

  // sums[item of t] += factor of t * x_t; rows of sums are `length` apart.
  void add_by_item(const ByItem<A>& queries, A* sums, int64_t length) const {
    int64_t c = 0;
    for (; c + kSummedVectors * W <= length_; c += kSummedVectors * W)
      add_vectors<kSummedVectors>(queries, c, sums, length);
    for (; c < length_; c += W) add_vectors<1>(queries, c, sums, length);
  }

  // sums[m] += sum over t of weights[m][t] scale[t] x_t
  void add_outer(const A* weights, const A* scale, int64_t M, A* sums) const {
    for (int64_t m = 0; m < M; ++m) {
      A factors[kTile];
      for (int64_t t = 0; t < n_; ++t) factors[t] = weights[m * kTile + t] * scale[t];
      A* to = sums + m * length_;
      for (int64_t c = 0; c < length_; c += W) {
        Vector<A> total = load(to + c);
        for (int64_t t = 0; t < n_; ++t) total += factors[t] * load(row(t) + c);
        store(to + c, total);
      }
    }
  }

 private:
  static constexpr int W = kWidth<A>;
  template <class T>
  void load_row(const T* from, Strides s, int64_t t) {
    A* to = row(t);
    const int64_t whole = s.c == 1 ? C_ / W * W : 0;
    for (int64_t c = 0; c < whole; c += W) {
      if (c % (64 / int64_t{sizeof(T)}) == 0) __builtin_prefetch(from + kAheadRows * s.p + c, 0, 2);
      store(to + c, load(from + c));
    }
    for (int64_t c = whole; c < C_; ++c) to[c] = load_one(from + c * s.c);
    for (int64_t c = C_; c < length_; ++c) to[c] = 0;
  }

  void multiply(int64_t t, const RowTile& other, Products<A>& products) const {
    const A *x = row(t), *y = other.row(t);
    Vector<A> square{}, total{}, dot{};
    for (int64_t c = 0; c < length_; c += W) {
      const Vector<A> element = load(x + c);
      square += element * element;
      total += element;
      dot += element * load(y + c);
    }
    products.square[t] = sum<A>(square), products.total[t] = sum<A>(total), products.dot[t] = sum<A>(dot);
  }

  // Adds to some vectors of the sums, item by item, so that these are in registers.
  template <int Vectors>
  void add_vectors(const ByItem<A>& queries, int64_t c, A* sums, int64_t length) const {
    for (int i = 0; i < queries.count();) {
      const Index<A> item = queries.item(i);
      A* to = sums + item * length + c;
      Vector<A> total[Vectors];
      for (int v = 0; v < Vectors; ++v) total[v] = load(to + v * W);
      do {
        const A *x = row(queries.query(i)) + c, factor = queries.factor(i);
        for (int v = 0; v < Vectors; ++v) total[v] += factor * load(x + v * W);
      } while (++i < queries.count() && queries.item(i) == item);
      for (int v = 0; v < Vectors; ++v) store(to + v * W, total[v]);
    }
  }

  // Calls take(c, q) with the vectors of the unit query as well.
  template <class F>
  void compare_row(int64_t t, A inverse, const A* near, const A* far, int64_t at, Differences<A>& found,
                   F&& take) const {
    // Two accumulators of each sum, as an addition to one alone would wait for the one before.
    Vector<A> near_square[2] = {}, near_total[2] = {}, far_square[2] = {}, far_total[2] = {};
    const A* x = row(t);
    const auto add = [&](int64_t c, int i) {
      const Vector<A> q = load(x + c) * inverse, to_near = q - load(near + c), to_far = q - load(far + c);
      take(c, q);
      near_square[i] += to_near * to_near;
      near_total[i] += to_near;
      far_square[i] += to_far * to_far;
      far_total[i] += to_far;
    };
    int64_t c = 0;
    for (; c + 2 * W <= length_; c += 2 * W) add(c, 0), add(c + W, 1);
    if (c < length_) add(c, 0);
    found.near_square[at] = sum<A>(near_square[0] + near_square[1]);
    found.near_total[at] = sum<A>(near_total[0] + near_total[1]);
    found.far_square[at] = sum<A>(far_square[0] + far_square[1]);
    found.far_total[at] = sum<A>(far_total[0] + far_total[1]);
  }

  A dot(const A* a, const A* b) const {
    Vector<A> even{}, odd{};
    int64_t c = 0;
    for (; c + 2 * W <= length_; c += 2 * W) {
      even += load(a + c) * load(b + c);
      odd += load(a + c + W) * load(b + c + W);
    }
    if (c < length_) even += load(a + c) * load(b + c);
    return sum<A>(even + odd);
  }

  template <class T>
  void write(Target<T, A> to, int64_t t, int64_t c, Vector<A> value) const {
    T* at = to.data + t * to.s.p + c * to.s.c;
    if (to.s.c != 1 || c + W > C_) return store_lanes<T, A>(at, to.s.c, C_ - c, value);
    if (to.streamed) [[unlikely]]
      return stream(at, value);
    store(at, value);
  }

  template <class T>
  void send_rows(const RowTile& from, int64_t begin, int64_t end, Target<T, A> to) const {
    for (int64_t t = begin; t < end; ++t)
      for (int64_t c = 0; c < length_; c += W) write(to, t, c, load(from.row(t) + c));
  }

  template <int Queries>
  void dots_of(int64_t t, int64_t begin, int64_t end, const Items<A>& items, A* scores) const {
    int64_t m = begin;
    for (; m + kRowItems <= end; m += kRowItems) dot_block<Queries, kRowItems>(t, items[m], scores + m * kTile + t);
    for (; m < end; ++m) dot_block<Queries, 1>(t, items[m], scores + m * kTile + t);
  }

  template <int Queries, int Count>
  void dot_block(int64_t t, const A* items, A* scores) const {
    Vector<A> sums[Queries][Count];
#pragma GCC unroll 8
    for (int q = 0; q < Queries; ++q)
#pragma GCC unroll 8
      for (int m = 0; m < Count; ++m) sums[q][m] = Vector<A>{};
    for (int64_t c = 0; c < length_; c += W) {
      Vector<A> query[Queries];
#pragma GCC unroll 8
      for (int q = 0; q < Queries; ++q) query[q] = load(row(t + q) + c);
#pragma GCC unroll 8
      for (int m = 0; m < Count; ++m) {
        Vector<A> item = load(items + m * length_ + c);
        to_register(item);
#pragma GCC unroll 8
        for (int q = 0; q < Queries; ++q) sums[q][m] += query[q] * item;
      }
    }
#pragma GCC unroll 8
    for (int m = 0; m < Count; ++m)
#pragma GCC unroll 8
      for (int q = 0; q < Queries; ++q) scores[m * kTile + q] = sum<A>(sums[q][m]);
  }

  // For queries [begin, end): take(t, c, sum) with the weighted sum of up to kSummedItems items from `first` on,
  // added to x_t or not.
  template <bool Add, class F>
  void weighted_sums(int64_t begin, int64_t end, int64_t first, const A* weights, const Items<A>& items,
                     F&& take) const {
    const int64_t count = std::min(kSummedItems, items.M - first);
    // Few items stay in the first cache, and each query is done in one go; of many, some channels stay for all queries.
    const int64_t channels = count * length_ <= kNearItemElements ? length_ : 2 * W;
    const Part part{weights + first * kTile, items[first], count};
    for (int64_t c = 0; c < length_; c += channels) {
      const int64_t last = std::min(c + channels, length_);
      int64_t t = begin;
      for (; t + kSummedQueries <= end; t += kSummedQueries)
        weighted_sums_of<Add, kSummedQueries>(t, c, last, part, take);
      for (; t < end; ++t) weighted_sums_of<Add, 1>(t, c, last, part, take);
    }
  }

  // Some items and their weights.
  struct Part {
    const A *weights, *items;
    int64_t count;
  };

  // Not inlined: in a longer function the compiler keeps the sums in memory.
  template <bool Add, int Queries, class F>
  [[gnu::noinline]] void weighted_sums_of(int64_t t, int64_t begin, int64_t end, const Part& part, F take) const {
    int64_t c = begin;
    for (; c + 2 * W <= end; c += 2 * W) weighted_sum_block<Add, Queries, 2>(t, c, part, take);
    if (c < end) weighted_sum_block<Add, Queries, 1>(t, c, part, take);
  }

  template <bool Add, int Queries, int Vectors, class F>
  void weighted_sum_block(int64_t t, int64_t c, const Part& part, F& take) const {
    Vector<A> sums[Queries][Vectors];
#pragma GCC unroll 8
    for (int q = 0; q < Queries; ++q)
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) sums[q][v] = Add ? load(row(t + q) + c + v * W) : Vector<A>{};
    const A *items = part.items + c, *weights = part.weights + t;
    for (int64_t m = 0; m < part.count; ++m, items += length_, weights += kTile) {
      Vector<A> item[Vectors];
      for (int v = 0; v < Vectors; ++v) item[v] = load(items + v * W), to_register(item[v]);
#pragma GCC unroll 8
      for (int q = 0; q < Queries; ++q)
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; ++v) sums[q][v] += weights[q] * item[v];
    }
#pragma GCC unroll 8
    for (int q = 0; q < Queries; ++q)
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) take(t + q, c + v * W, sums[q][v]);
  }

  A* data_;
  int64_t C_, length_, n_;
};

static_assert(Tile<RowTile<float>, float> && Tile<RowTile<double>, double>);

}  // namespace mnad::cpu::MNAD_ISA
