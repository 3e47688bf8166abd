// A tile of a contiguous map: for each channel a run of kMaxTile positions, the last ones 0 if there are fewer.
#pragma once

#include "cpu/row_tile.h"
#include "cpu/tile.h"

namespace mnad::cpu::MNAD_ISA {

template <class A>
class ColumnTile {
 public:
  static constexpr bool kNeedsRows = true;
  static int64_t elements(int64_t C) { return kMaxTile * C; }

  ColumnTile(A* data, int64_t C) : data_(data), C_(C) {}

  A* column(int64_t c) const { return data_ + c * kMaxTile; }

  // Reads n positions. Channels lie a whole map apart, so the cache is told ahead of each.
  template <class T>
  void load_map(const T* from, Strides s, int64_t n) {
    n_ = n;
    if (n < kMaxTile || s.p != 1) {
      for (int64_t i = 0; n < kMaxTile && i < elements(C_); ++i) data_[i] = 0;
      return load_element_wise(from, s, C_, n, data_, {0, kMaxTile, 1});
    }
    for (int64_t c = 0; c < C_; ++c) {
      const T* run = from + c * s.c;
      if (c + kAhead < C_)
        for (int64_t i = 0; i < kMaxTile; i += 64 / sizeof(T)) __builtin_prefetch(run + kAhead * s.c + i);
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) store(column(c) + v * W, load(run + v * W));
    }
  }

  void fill_zero(int64_t n) {
    n_ = n;
    for (int64_t i = 0; i < elements(C_); ++i) data_[i] = 0;
  }

  // Writes the tile, each query times its scale.
  template <class T>
  void write_map(const A* scale, T* to, Strides s) const {
    for (int64_t c = 0; c < C_; ++c)
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) write(to, s, c, v, load(column(c) + v * W) * load(scale + v * W));
  }

  // to[t] = |x_t|^2
  void squares(A* to) const { dots_with(*this, to); }

  // to[t] = x_t . other_t
  void dots_with(const ColumnTile& other, A* to) const {
    for (int v = 0; v < kVectors; v += 2) {
      Vector<A> sums[2][2] = {};  // of even and odd channels
      for (int64_t c = 0; c < C_; ++c)
        for (int i = 0; i < 2; ++i)
          sums[c & 1][i] += load(column(c) + (v + i) * W) * load(other.column(c) + (v + i) * W);
      for (int i = 0; i < 2; ++i) store(to + (v + i) * W, sums[0][i] + sums[1][i]);
    }
  }

  bool finite(int64_t t) const {
    A zero = 0;
    for (int64_t c = 0; c < C_; ++c) zero += column(c)[t] * 0;
    return zero == 0;
  }

  // scores[m][t] = x_t . p_m, every sum in the same order, so that equal items give equal scores.
  void dots(const Items<A>& items, A* scores) const {
    for (int v = 0; v < kVectors; v += 2) {
      int64_t m = 0;
      for (; m + kItems <= items.M; m += kItems) dot_block<kItems>(v, items, m, scores);
      for (; m < items.M; ++m) dot_block<1>(v, items, m, scores);
    }
  }

  // x_t += sum over m of weights[m][t] p_m
  void add_mix(const A* weights, const Items<A>& items) {
    mix<true>(weights, items, [&](int64_t c, int v, Vector<A> value) { store(column(c) + v * W, value); });
  }

  // Writes sum over m of weights[m][t] p_m.
  template <class T>
  void write_mix(const A* weights, const Items<A>& items, T* to, Strides s) const {
    mix<false>(weights, items, [&](int64_t c, int v, Vector<A> value) { write(to, s, c, v, value); });
  }

  // square[t] = |q_t - p|^2 and total[t], the sum of q_t - p over the channels, for the item at index[t].
  void differences(const A* inverse, const Items<A>& items, const Index<A>* index, A* square, A* total) const {
    for (int v = 0; v < kVectors; ++v) {
      const Vector<A> scale = load(inverse + v * W);
      const Lookup lookup(items, index + v * W);
      Vector<A> squares{}, sums{};
      for (int64_t c = 0; c < C_; ++c) {
        const Vector<A> d = load(column(c) + v * W) * scale - lookup(c);
        squares += d * d;
        sums += d;
      }
      store(square + v * W, squares);
      store(total + v * W, sums);
    }
  }

  // x_t += on_query[t] q_t + on_first[t] p_first + on_second[t] p_second + shift[t]
  void add_losses(const ColumnTile& queries, const Items<A>& items, const Index<A>* first, const Index<A>* second,
                  const A* on_query, const A* on_first, const A* on_second, const A* shift) {
    for (int v = 0; v < kVectors; ++v) {
      const Lookup near(items, first + v * W), far(items, second + v * W);
      const Vector<A> query = load(on_query + v * W), pull = load(on_first + v * W), push = load(on_second + v * W);
      const Vector<A> constant = load(shift + v * W);
      for (int64_t c = 0; c < C_; ++c) {
        A* to = column(c) + v * W;
        store(to, load(to) + query * load(queries.column(c) + v * W) + pull * near(c) + push * far(c) + constant);
      }
    }
  }

  // x_t += scale[t] other_t
  void add_scaled(const A* scale, const ColumnTile& other) {
    for (int64_t c = 0; c < C_; ++c)
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) {
        A* to = column(c) + v * W;
        store(to, load(to) + load(scale + v * W) * load(other.column(c) + v * W));
      }
  }

  // Sums over queries want their channels together: the tile is turned into rows in `spare` first.
  void add_by_index(const A* factor, const Index<A>* index, A* sums, A* spare) const {
    rows(spare).add_by_index(factor, index, sums, nullptr);
  }
  void add_outer(const A* weights, const A* scale, int64_t M, A* sums, A* spare) const {
    rows(spare).add_outer(weights, scale, M, sums, nullptr);
  }

 private:
  static constexpr int W = kWidth<A>, kVectors = kMaxTile / W;
  // Items, and channels, whose sums for two vectors of positions fit into the registers.
  static constexpr int kItems = kVectorBytes == 64 ? 10 : 5, kChannels = kVectorBytes == 64 ? 8 : 4;
  static constexpr int64_t kAhead = 12;

  // One channel of the item that each of W queries has.
  class Lookup {
   public:
    Lookup(const Items<A>& items, const Index<A>* index) : items_(items), index_(index) {
      std::memcpy(&lanes_, index, sizeof lanes_);
    }

    Vector<A> operator()(int64_t c) const {
      if (items_.columns) {
        const A* column = items_.columns + c * kLookup<A>;
        return __builtin_shuffle(load(column), load(column + W), lanes_);
      }
      Vector<A> found;
      for (int i = 0; i < W; ++i) found[i] = items_[index_[i]][c];
      return found;
    }

   private:
    const Items<A>& items_;
    const Index<A>* index_;
    Integer<A> lanes_;
  };

  template <class T>
  void write(T* to, Strides s, int64_t c, int v, Vector<A> value) const {
    T* run = to + c * s.c + v * W * s.p;
    if (s.p == 1 && (v + 1) * W <= n_)
      store(run, value);
    else
      store_lanes<T, A>(run, s.p, n_ - v * W, value);
  }

  template <int Count>
  void dot_block(int v, const Items<A>& items, int64_t first, A* scores) const {
    Vector<A> sums[Count][2] = {};
    const A* item = items[first];
    for (int64_t c = 0; c < C_; ++c) {
      const Vector<A> x0 = load(column(c) + v * W), x1 = load(column(c) + (v + 1) * W);
#pragma GCC unroll 10
      for (int m = 0; m < Count; ++m) {
        const A p = item[m * items.length + c];
        sums[m][0] += x0 * p;
        sums[m][1] += x1 * p;
      }
    }
    for (int m = 0; m < Count; ++m)
      for (int i = 0; i < 2; ++i) store(scores + (first + m) * kMaxTile + (v + i) * W, sums[m][i]);
  }

  template <bool Add, class F>
  void mix(const A* weights, const Items<A>& items, F&& take) const {
    int64_t c = 0;
    for (; c + kChannels <= C_; c += kChannels)
      for (int v = 0; v < kVectors; v += 2) mix_block<Add, kChannels>(c, v, weights, items, take);
    for (; c < C_; ++c)
      for (int v = 0; v < kVectors; v += 2) mix_block<Add, 1>(c, v, weights, items, take);
  }

  template <bool Add, int Channels, class F>
  void mix_block(int64_t c, int v, const A* weights, const Items<A>& items, F& take) const {
    Vector<A> sums[Channels][2] = {};
    for (int i = 0; Add && i < Channels; ++i)
      for (int j = 0; j < 2; ++j) sums[i][j] = load(column(c + i) + (v + j) * W);
    for (int64_t m = 0; m < items.M; ++m) {
      const Vector<A> w0 = load(weights + m * kMaxTile + v * W), w1 = load(weights + m * kMaxTile + (v + 1) * W);
      const A* item = items[m] + c;
#pragma GCC unroll 8
      for (int i = 0; i < Channels; ++i) {
        sums[i][0] += w0 * item[i];
        sums[i][1] += w1 * item[i];
      }
    }
    for (int i = 0; i < Channels; ++i)
      for (int j = 0; j < 2; ++j) take(c + i, v + j, sums[i][j]);
  }

  RowTile<A> rows(A* spare) const {
    RowTile<A> turned(spare, C_);
    turned.fill_zero(n_);
    const int64_t whole = C_ / W * W;
    for (int64_t c = 0; c < whole; c += W)
      for (int64_t t = 0; t < n_; t += W) {
        Vector<A> block[W];
        for (int i = 0; i < W; ++i) block[i] = load(column(c + i) + t);
        transpose<A>(block);
        for (int i = 0; i < W && t + i < n_; ++i) store(turned.row(t + i) + c, block[i]);
      }
    for (int64_t c = whole; c < C_; ++c)
      for (int64_t t = 0; t < n_; ++t) turned.row(t)[c] = column(c)[t];
    return turned;
  }

  A* data_;
  int64_t C_, n_ = 0;
};

}  // namespace mnad::cpu::MNAD_ISA
