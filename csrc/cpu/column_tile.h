// A tile of a contiguous map: for each channel a run of kTile positions, the last ones 0 if there are fewer.
#pragma once

#include <algorithm>

#include "cpu/tile.h"

namespace mnad::cpu::MNAD_ISA {

template <class A>
class ColumnTile {
 public:
  static int64_t elements(int64_t C) { return kTile * C; }

  ColumnTile(A* data, int64_t C) : data_(data), C_(C) {}

  A* column(int64_t c) const { return data_ + c * kTile; }

  // Reads n positions, and gives |x_t|^2 of each if `squares` is not null.
  template <class T>
  void load_map(const T* from, Strides s, int64_t n, A* squares) {
    begin(n, squares);
    load_channels(from, s, 0, C_, squares);
  }

  // Reads n positions and gives |x_t|^2 and scores[m][t] = x_t . p_m, while the channels are in the cache. Every sum
  // runs in the same order, so equal items give equal scores.
  template <class T>
  void load_and_score(const T* from, Strides s, int64_t n, const Items<A>& items, A* squares, A* scores) {
    begin(n, squares);
    std::fill(scores, scores + items.M * kTile, A(0));
    for (int64_t c = 0; c < C_; c += kCached) {
      const int64_t end = std::min(c + kCached, C_);
      load_channels(from, s, c, end, squares);
      add_dots(items, c, end, scores);
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

  // Writes (x_t + along[t] other_t) scale[t].
  template <class T>
  void write_sum(const A* along, const ColumnTile& other, const A* scale, T* to, Strides s) const {
    for (int64_t c = 0; c < C_; ++c)
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) {
        const Vector<A> sum = load(column(c) + v * W) + load(along + v * W) * load(other.column(c) + v * W);
        write(to, s, c, v, sum * load(scale + v * W));
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
    add_dots(items, 0, C_, scores);
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

  // What the losses need of each query, its nearest and its second nearest item.
  Differences<A> differences(const A* inverse, const Items<A>& items, const Index<A>* first,
                             const Index<A>* second) const {
    Differences<A> found;
    for (int v = 0; v < kVectors; ++v) {
      const Vector<A> scale = load(inverse + v * W);
      const Lookup near(items, first + v * W), far(items, second + v * W);
      Vector<A> near_square{}, near_total{}, far_square{}, far_total{};
      for (int64_t c = 0; c < C_; ++c) {
        const Vector<A> q = load(column(c) + v * W) * scale, to_near = q - near(c), to_far = q - far(c);
        near_square += to_near * to_near;
        near_total += to_near;
        far_square += to_far * to_far;
        far_total += to_far;
      }
      store(found.near_square + v * W, near_square);
      store(found.near_total + v * W, near_total);
      store(found.far_square + v * W, far_square);
      store(found.far_total + v * W, far_total);
    }
    return found;
  }

  // x_t += on_query[t] q_t + on_first[t] p_first + on_second[t] p_second + shift[t]; along[t] = q_t . x_t of the sum
  void add_losses(const ColumnTile& queries, const Items<A>& items, const Index<A>* first, const Index<A>* second,
                  const LossTerms<A>& terms, A* along) {
    for (int v = 0; v < kVectors; ++v) {
      const Lookup near(items, first + v * W), far(items, second + v * W);
      const Vector<A> on_query = load(terms.on_query + v * W), on_first = load(terms.on_first + v * W);
      const Vector<A> on_second = load(terms.on_second + v * W), shift = load(terms.shift + v * W);
      Vector<A> dots{};
      for (int64_t c = 0; c < C_; ++c) {
        A* to = column(c) + v * W;
        const Vector<A> x = load(queries.column(c) + v * W);
        const Vector<A> sum = load(to) + on_query * x + on_first * near(c) + on_second * far(c) + shift;
        dots += x * sum;
        store(to, sum);
      }
      store(along + v * W, dots);
    }
  }

  // sums[index[t]] += factor[t] x_t; a factor of 0 adds nothing, whatever x_t is.
  void add_by_index(const A* factor, const Index<A>* index, A* sums) const {
    const Groups groups(factor, index, n_);
    Vector<A> rows[kTile];
    for (int64_t c = 0; c < C_; c += W) {
      turn(c, rows);
      for (int group = 0; group < groups.count; ++group) {
        const int begin = groups.begin[group], end = groups.begin[group + 1];
        A* to = sums + index[groups.order[begin]] * padded<A>(C_) + c;
        Vector<A> total = load(to);
        for (int i = begin; i < end; ++i) total += factor[groups.order[i]] * rows[groups.order[i]];
        store(to, total);
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
  static constexpr int W = kWidth<A>, kVectors = kTile / W;
  // Items, and channels, whose sums for two vectors of positions fit into the registers.
  static constexpr int kItems = kVectorBytes == 64 ? 10 : 5, kChannels = kVectorBytes == 64 ? 8 : 4;
  // Channels to be in the first cache together, and to be asked for ahead.
  static constexpr int64_t kCached = 64, kAhead = 16;

  // The queries with a factor, those of the same item together.
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

  // One channel of the item that each of W queries has.
  class Lookup {
   public:
    Lookup(const Items<A>& items, const Index<A>* index) : items_(items), index_(index) {
      std::memcpy(&lanes_, index, sizeof lanes_);
    }

    Vector<A> operator()(int64_t c) const {
      if (items_.columns) {
        const A* column = items_.columns + c * kLookup<A>;
        if (items_.M <= W) return __builtin_shuffle(load(column), lanes_);
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

  void begin(int64_t n, A* squares) {
    n_ = n;
    if (squares) std::fill(squares, squares + kTile, A(0));
  }

  // Channels lie a whole map apart, so the cache is told ahead of each.
  template <class T>
  void load_channels(const T* from, Strides s, int64_t begin, int64_t end, A* squares) {
    if (n_ == kTile && s.p == 1) {
      for (int64_t c = begin; c < end; ++c) {
        const T* run = from + c * s.c;
        if (c + kAhead < C_)
          for (int64_t i = 0; i < kTile; i += 64 / sizeof(T)) __builtin_prefetch(run + kAhead * s.c + i);
#pragma GCC unroll 16
        for (int v = 0; v < kVectors; ++v) store(column(c) + v * W, load(run + v * W));
      }
    } else {
      std::fill(column(begin), column(end), A(0));
      load_element_wise(from + begin * s.c, s, end - begin, n_, column(begin), {0, kTile, 1});
    }
    for (int v = 0; squares && v < kVectors; v += 2) {
      Vector<A> sums[2] = {load(squares + v * W), load(squares + (v + 1) * W)};
      for (int64_t c = begin; c < end; ++c)
        for (int i = 0; i < 2; ++i) sums[i] += load(column(c) + (v + i) * W) * load(column(c) + (v + i) * W);
      for (int i = 0; i < 2; ++i) store(squares + (v + i) * W, sums[i]);
    }
  }

  void add_dots(const Items<A>& items, int64_t begin, int64_t end, A* scores) const {
    for (int v = 0; v < kVectors; v += 2) {
      int64_t m = 0;
      for (; m + kItems <= items.M; m += kItems) dot_block<kItems>(v, items, m, begin, end, scores);
      for (; m < items.M; ++m) dot_block<1>(v, items, m, begin, end, scores);
    }
  }

  template <class T>
  void write(T* to, Strides s, int64_t c, int v, Vector<A> value) const {
    T* run = to + c * s.c + v * W * s.p;
    __builtin_prefetch(run + kAhead * s.c, 1);
    if (s.p == 1 && (v + 1) * W <= n_)
      store(run, value);
    else
      store_lanes<T, A>(run, s.p, n_ - v * W, value);
  }

  template <int Count>
  void dot_block(int v, const Items<A>& items, int64_t first, int64_t begin, int64_t end, A* scores) const {
    Vector<A> sums[Count][2];
#pragma GCC unroll 10
    for (int m = 0; m < Count; ++m)
#pragma GCC unroll 2
      for (int i = 0; i < 2; ++i) sums[m][i] = load(scores + (first + m) * kTile + (v + i) * W);
    const A* item = items[first];
    for (int64_t c = begin; c < end; ++c) {
      const Vector<A> x0 = load(column(c) + v * W), x1 = load(column(c) + (v + 1) * W);
#pragma GCC unroll 10
      for (int m = 0; m < Count; ++m) {
        const A p = item[m * items.length + c];
        sums[m][0] += x0 * p;
        sums[m][1] += x1 * p;
      }
    }
#pragma GCC unroll 10
    for (int m = 0; m < Count; ++m)
#pragma GCC unroll 2
      for (int i = 0; i < 2; ++i) store(scores + (first + m) * kTile + (v + i) * W, sums[m][i]);
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
    Vector<A> sums[Channels][2];
#pragma GCC unroll 8
    for (int i = 0; i < Channels; ++i)
#pragma GCC unroll 2
      for (int j = 0; j < 2; ++j) sums[i][j] = Add ? load(column(c + i) + (v + j) * W) : Vector<A>{};
    for (int64_t m = 0; m < items.M; ++m) {
      const Vector<A> w0 = load(weights + m * kTile + v * W), w1 = load(weights + m * kTile + (v + 1) * W);
      const A* item = items[m] + c;
#pragma GCC unroll 8
      for (int i = 0; i < Channels; ++i) {
        sums[i][0] += w0 * item[i];
        sums[i][1] += w1 * item[i];
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < Channels; ++i)
#pragma GCC unroll 2
      for (int j = 0; j < 2; ++j) take(c + i, v + j, sums[i][j]);
  }

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

  A* data_;
  int64_t C_, n_ = 0;
};

}  // namespace mnad::cpu::MNAD_ISA
