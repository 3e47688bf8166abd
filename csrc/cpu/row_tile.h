// A tile of a channels-last map: one row of channels for each query, padded with zeros to whole vectors.
#pragma once

#include "cpu/tile.h"

namespace mnad::cpu::MNAD_ISA {

template <class A>
class RowTile {
 public:
  static constexpr bool kNeedsRows = false;
  static int64_t elements(int64_t C) { return kMaxTile * padded<A>(C); }

  RowTile(A* data, int64_t C) : data_(data), C_(C), length_(padded<A>(C)) {}

  A* row(int64_t t) const { return data_ + t * length_; }

  // Reads n positions.
  template <class T>
  void load_map(const T* from, Strides s, int64_t n) {
    n_ = n;
    const int64_t whole = s.c == 1 ? C_ / W * W : 0;
    for (int64_t t = 0; t < n; ++t) {
      for (int64_t c = 0; c < whole; c += W) store(row(t) + c, load(from + t * s.p + c));
      for (int64_t c = whole; c < C_; ++c) row(t)[c] = load_one(from + t * s.p + c * s.c);
      for (int64_t c = C_; c < length_; ++c) row(t)[c] = 0;
    }
  }

  void fill_zero(int64_t n) {
    n_ = n;
    for (int64_t i = 0; i < n * length_; ++i) data_[i] = 0;
  }

  // Writes the tile, each query times its scale.
  template <class T>
  void write_map(const A* scale, T* to, Strides s) const {
    for (int64_t t = 0; t < n_; ++t)
      for (int64_t c = 0; c < length_; c += W) write(to + t * s.p, s, c, load(row(t) + c) * scale[t]);
  }

  // squares[t] = |x_t|^2
  void squares(A* to) const { dots_with(*this, to); }

  // to[t] = x_t . other_t
  void dots_with(const RowTile& other, A* to) const {
    for (int64_t t = 0; t < n_; ++t) {
      const A *a = row(t), *b = other.row(t);
      Vector<A> even{}, odd{};
      int64_t c = 0;
      for (; c + 2 * W <= length_; c += 2 * W) {
        even += load(a + c) * load(b + c);
        odd += load(a + c + W) * load(b + c + W);
      }
      if (c < length_) even += load(a + c) * load(b + c);
      to[t] = sum<A>(even + odd);
    }
  }

  bool finite(int64_t t) const {
    Vector<A> zero{};
    for (int64_t c = 0; c < length_; c += W) zero += load(row(t) + c) * 0;
    return sum<A>(zero) == 0;
  }

  // scores[m][t] = x_t . p_m, every sum in the same order, so that equal items give equal scores.
  void dots(const Items<A>& items, A* scores) const {
    int64_t t = 0;
    for (; t + kQueries <= n_; t += kQueries) dots_of<kQueries>(t, items, scores);
    for (; t < n_; ++t) dots_of<1>(t, items, scores);
  }

  // x_t += sum over m of weights[m][t] p_m
  void add_mix(const A* weights, const Items<A>& items) {
    mix<true>(weights, items, [&](int64_t t, int64_t c, Vector<A> value) { store(row(t) + c, value); });
  }

  // Writes sum over m of weights[m][t] p_m.
  template <class T>
  void write_mix(const A* weights, const Items<A>& items, T* to, Strides s) const {
    mix<false>(weights, items, [&](int64_t t, int64_t c, Vector<A> value) { write(to + t * s.p, s, c, value); });
  }

  // square[t] = |q_t - p|^2 and total[t], the sum of q_t - p over the channels, for the item at index[t].
  void differences(const A* inverse, const Items<A>& items, const Index<A>* index, A* square, A* total) const {
    for (int64_t t = 0; t < n_; ++t) {
      const A *x = row(t), *item = items[index[t]];
      Vector<A> squares{}, sums{};
      for (int64_t c = 0; c < length_; c += W) {
        const Vector<A> d = load(x + c) * inverse[t] - load(item + c);
        squares += d * d;
        sums += d;
      }
      square[t] = sum<A>(squares);
      total[t] = sum<A>(sums);
    }
  }

  // x_t += on_query[t] q_t + on_first[t] p_first + on_second[t] p_second + shift[t]
  void add_losses(const RowTile& queries, const Items<A>& items, const Index<A>* first, const Index<A>* second,
                  const A* on_query, const A* on_first, const A* on_second, const A* shift) {
    for (int64_t t = 0; t < n_; ++t) {
      const A *x = queries.row(t), *near = items[first[t]], *far = items[second[t]];
      A* to = row(t);
      for (int64_t c = 0; c < length_; c += W)
        store(to + c, load(to + c) + on_query[t] * load(x + c) + on_first[t] * load(near + c) +
                          on_second[t] * load(far + c) + shift[t]);
    }
  }

  // x_t += scale[t] other_t
  void add_scaled(const A* scale, const RowTile& other) {
    for (int64_t t = 0; t < n_; ++t)
      for (int64_t c = 0; c < length_; c += W) store(row(t) + c, load(row(t) + c) + scale[t] * load(other.row(t) + c));
  }

  // sums[index[t]] += factor[t] x_t; a factor of 0 adds nothing, whatever x_t is.
  void add_by_index(const A* factor, const Index<A>* index, A* sums, A* /*spare*/) const {
    for (int64_t t = 0; t < n_; ++t) {
      if (factor[t] == 0) continue;
      A* to = sums + index[t] * length_;
      for (int64_t c = 0; c < length_; c += W) store(to + c, load(to + c) + factor[t] * load(row(t) + c));
    }
  }

  // sums[m] += sum over t of weights[m][t] scale[t] x_t
  void add_outer(const A* weights, const A* scale, int64_t M, A* sums, A* /*spare*/) const {
    for (int64_t m = 0; m < M; ++m) {
      A factors[kMaxTile];
      for (int64_t t = 0; t < n_; ++t) factors[t] = weights[m * kMaxTile + t] * scale[t];
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
  // Queries and items whose sums fit into the registers together.
  static constexpr int kQueries = kVectorBytes == 64 ? 4 : 2, kItems = 5;

  template <class T>
  void write(T* to, Strides s, int64_t c, Vector<A> value) const {
    if (s.c == 1 && c + W <= C_)
      store(to + c, value);
    else
      store_lanes<T, A>(to + c * s.c, s.c, C_ - c, value);
  }

  template <int Queries>
  void dots_of(int64_t t, const Items<A>& items, A* scores) const {
    int64_t m = 0;
    for (; m + kItems <= items.M; m += kItems) dot_block<Queries, kItems>(t, items[m], scores + m * kMaxTile + t);
    for (; m < items.M; ++m) dot_block<Queries, 1>(t, items[m], scores + m * kMaxTile + t);
  }

  template <int Queries, int Count>
  void dot_block(int64_t t, const A* items, A* scores) const {
    Vector<A> sums[Queries][Count] = {};
    for (int64_t c = 0; c < length_; c += W) {
      Vector<A> query[Queries];
#pragma GCC unroll 8
      for (int q = 0; q < Queries; ++q) query[q] = load(row(t + q) + c);
#pragma GCC unroll 8
      for (int m = 0; m < Count; ++m) {
        const Vector<A> item = load(items + m * length_ + c);
#pragma GCC unroll 8
        for (int q = 0; q < Queries; ++q) sums[q][m] += query[q] * item;
      }
    }
    for (int m = 0; m < Count; ++m)
      for (int q = 0; q < Queries; ++q) scores[m * kMaxTile + q] = sum<A>(sums[q][m]);
  }

  template <bool Add, class F>
  void mix(const A* weights, const Items<A>& items, F&& take) const {
    int64_t t = 0;
    for (; t + 4 <= n_; t += 4) mix_queries<Add, 4>(t, weights, items, take);
    for (; t < n_; ++t) mix_queries<Add, 1>(t, weights, items, take);
  }

  template <bool Add, int Queries, class F>
  void mix_queries(int64_t t, const A* weights, const Items<A>& items, F& take) const {
    int64_t c = 0;
    for (; c + 2 * W <= length_; c += 2 * W) mix_block<Add, Queries, 2>(t, c, weights, items, take);
    if (c < length_) mix_block<Add, Queries, 1>(t, c, weights, items, take);
  }

  template <bool Add, int Queries, int Vectors, class F>
  void mix_block(int64_t t, int64_t c, const A* weights, const Items<A>& items, F& take) const {
    Vector<A> sums[Queries][Vectors] = {};
    for (int q = 0; Add && q < Queries; ++q)
      for (int v = 0; v < Vectors; ++v) sums[q][v] = load(row(t + q) + c + v * W);
    for (int64_t m = 0; m < items.M; ++m) {
      Vector<A> item[Vectors];
      for (int v = 0; v < Vectors; ++v) item[v] = load(items[m] + c + v * W);
#pragma GCC unroll 8
      for (int q = 0; q < Queries; ++q)
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; ++v) sums[q][v] += weights[m * kMaxTile + t + q] * item[v];
    }
    for (int q = 0; q < Queries; ++q)
      for (int v = 0; v < Vectors; ++v) take(t + q, c + v * W, sums[q][v]);
  }

  A* data_;
  int64_t C_, length_, n_ = 0;
};

}  // namespace mnad::cpu::MNAD_ISA
