// A tile of a contiguous map: for each channel a run of kTile positions, the last ones 0 if there are fewer.
#pragma once

#include <algorithm>

#include "cpu/column_sums.h"
#include "cpu/lookup.h"
#include "cpu/tile.h"

namespace mnad::cpu::MNAD_ISA {

template <class A>
class ColumnTile {
 public:
  static int64_t elements(int64_t C) { return kTile * C; }

  ColumnTile(A* data, int64_t C) : data_(data), C_(C) {}

  A* column(int64_t c) const { return data_ + c * kTile; }

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
    n_ = n;
    std::fill(squares, squares + kTile, A(0));
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
      add_dots(items, on_the_way, c, end, scores);
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
    constexpr int kTogether = kVectorBytes == 64 ? 8 : 4;
    for (int v = 0; v < kVectors; v += kTogether) {
      Vector<A> square[kTogether] = {}, total[kTogether] = {}, dot[kTogether] = {};
      for (int64_t c = 0; c < C_; ++c) {
        const T *run = from + c * s.c + v * W, *other_run = other_from + c * other_s.c + v * W;
        prefetch(run + kAhead * s.c, kTogether * W);
        prefetch(other_run + kAhead * other_s.c, kTogether * W);
#pragma GCC unroll 8
        for (int i = 0; i < kTogether; ++i) {
          const Vector<A> x = load(run + i * W), y = load(other_run + i * W);
          square[i] += x * x;
          total[i] += x;
          dot[i] += x * y;
          store(column(c) + (v + i) * W, x);
          store(other.column(c) + (v + i) * W, y);
        }
      }
      for (int i = 0; i < kTogether; ++i) {
        const int t = (v + i) * W;
        store(products.square + t, square[i]), store(products.total + t, total[i]), store(products.dot + t, dot[i]);
      }
    }
  }

  void fill_zero(int64_t n) {
    n_ = n;
    for (int64_t i = 0; i < elements(C_); ++i) data_[i] = 0;
  }

  // Writes the tile, each query times its scale.
  template <class T>
  void write_map(const A* scale, Target<T> given) const {
    const Target<T> to = whole(given);
    for (int64_t c = 0; c < C_; ++c)
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) write(to, c, v, load(column(c) + v * W) * load(scale + v * W));
    copy_spare(given);
  }

  // Writes (x_t + along[t] other_t) scale[t].
  template <class T>
  void write_sum(const A* along, const ColumnTile& other, const A* scale, Target<T> given) const {
    const Target<T> to = whole(given);
    for (int64_t c = 0; c < C_; ++c)
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) {
        const Vector<A> sum = load(column(c) + v * W) + load(along + v * W) * load(other.column(c) + v * W);
        write(to, c, v, sum * load(scale + v * W));
      }
    copy_spare(given);
  }

  // Writes (x_t + on_query[t] other_t + on_first[t] p_first + on_second[t] p_second + shift[t]) scale[t].
  template <class T>
  void write_with_items(const LossTerms<A>& terms, const ColumnTile& other, const Items<A>& items,
                        const Index<A>* first, const Index<A>* second, const A* scale, Target<T> given) const {
    const Target<T> to = whole(given);
    look_up<A>(items, [&](auto lookup) {
      for (int v = 0; v < kVectors; v += kWithItems) {
        Integer<A> near[kWithItems], far[kWithItems];
        Vector<A> on_query[kWithItems], on_first[kWithItems], on_second[kWithItems], shift[kWithItems],
            scales[kWithItems];
        for (int i = 0; i < kWithItems; ++i) {
          const int t = (v + i) * W;
          std::memcpy(near + i, first + t, sizeof *near);
          std::memcpy(far + i, second + t, sizeof *far);
          on_query[i] = load(terms.on_query + t), on_first[i] = load(terms.on_first + t);
          on_second[i] = load(terms.on_second + t), shift[i] = load(terms.shift + t), scales[i] = load(scale + t);
        }
        for (int64_t c = 0; c < C_; ++c) {
          lookup.at(c);
#pragma GCC unroll 4
          for (int i = 0; i < kWithItems; ++i) {
            Vector<A> sum = load(column(c) + (v + i) * W) + shift[i];
            sum += on_query[i] * load(other.column(c) + (v + i) * W);
            sum += on_first[i] * lookup[near[i]];
            sum += on_second[i] * lookup[far[i]];
            write(to, c, v + i, sum * scales[i]);
          }
        }
      }
    });
    copy_spare(given);
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
    add_dots(items, 0, 0, C_, scores);
  }

  // x_t += sum over m of weights[m][t] p_m
  void add_mix(const A* weights, const Items<A>& items) {
    mix<true>(weights, items, [&](int64_t c, int v, Vector<A> value) { store(column(c) + v * W, value); });
  }

  // Writes sum over m of weights[m][t] p_m.
  template <class T>
  void write_mix(const A* weights, const Items<A>& items, Target<T> given) const {
    const Target<T> to = whole(given);
    mix<false>(weights, items, [to](int64_t c, int v, Vector<A> value) { write(to, c, v, value); });
    copy_spare(given);
  }

  // What the losses need of each query, its nearest and its second nearest item. Writes the unit queries as well.
  template <class T>
  Differences<A> write_and_compare(const A* inverse, const Items<A>& items, const Index<A>* first,
                                   const Index<A>* second, Target<T> given) const {
    const Target<T> to = whole(given);
    Differences<A> found;
    look_up<A>(items, [&](auto lookup) {
      for (int v = 0; v < kVectors; v += kWithItems) compare(v, inverse, lookup, first, second, to, found);
    });
    copy_spare(given);
    return found;
  }

  // sums[index[t]] += factor[t] x_t; a factor of 0 adds nothing, whatever x_t is.
  void add_by_index(const A* factor, const Index<A>* index, A* sums) const {
    ColumnSums<A>(data_, C_, n_).add_by_index(factor, index, sums);
  }

  // sums[m] += sum over t of weights[m][t] scale[t] x_t
  void add_outer(const A* weights, const A* scale, int64_t M, A* sums) const {
    ColumnSums<A>(data_, C_, n_).add_outer(weights, scale, M, sums);
  }

 private:
  static constexpr int W = kWidth<A>, kVectors = kTile / W;
  // Items, and channels, whose sums for two vectors of positions fit into the registers.
  static constexpr int kItems = kVectorBytes == 64 ? 10 : 5, kChannels = kVectorBytes == 64 ? 8 : 4;
  // Vectors of positions that are compared with their items, and written with them, together.
  static constexpr int kWithItems = kVectorBytes == 64 ? 4 : 2;
  // Channels to be in the first cache together, and to be asked for ahead.
  static constexpr int64_t kCached = 64, kAhead = 32;

  // Compares and writes kWithItems vectors of queries from the v-th on.
  template <class T, class L>
  void compare(int v, const A* inverse, L& lookup, const Index<A>* first, const Index<A>* second, Target<T> to,
               Differences<A>& found) const {
    Integer<A> near[kWithItems], far[kWithItems];
    Vector<A> scale[kWithItems];
    for (int i = 0; i < kWithItems; ++i) {
      std::memcpy(near + i, first + (v + i) * W, sizeof *near);
      std::memcpy(far + i, second + (v + i) * W, sizeof *far);
      scale[i] = load(inverse + (v + i) * W);
    }
    Vector<A> near_square[kWithItems] = {}, near_total[kWithItems] = {};
    Vector<A> far_square[kWithItems] = {}, far_total[kWithItems] = {};
    for (int64_t c = 0; c < C_; ++c) {
      lookup.at(c);
#pragma GCC unroll 4
      for (int i = 0; i < kWithItems; ++i) {
        const Vector<A> q = load(column(c) + (v + i) * W) * scale[i];
        const Vector<A> to_near = q - lookup[near[i]], to_far = q - lookup[far[i]];
        write(to, c, v + i, q);
        near_square[i] += to_near * to_near;
        near_total[i] += to_near;
        far_square[i] += to_far * to_far;
        far_total[i] += to_far;
      }
    }
    for (int i = 0; i < kWithItems; ++i) {
      const int t = (v + i) * W;
      store(found.near_square + t, near_square[i]), store(found.near_total + t, near_total[i]);
      store(found.far_square + t, far_square[i]), store(found.far_total + t, far_total[i]);
    }
  }

  // Channels lie a whole map apart, so the second cache is told ahead of each. In the first one they would push each
  // other out.
  template <class T>
  static void prefetch(const T* run, int64_t length) {
    for (int64_t i = 0; i < length; i += 64 / sizeof(T)) __builtin_prefetch(run + i, 0, 2);
  }

  template <class T>
  void load_channels(const T* from, Strides s, int64_t begin, int64_t end) {
    if (n_ == kTile && s.p == 1) {
      for (int64_t c = begin; c < end; ++c) {
        const T* run = from + c * s.c;
        prefetch(run + kAhead * s.c, kTile);
#pragma GCC unroll 16
        for (int v = 0; v < kVectors; ++v) store(column(c) + v * W, load(run + v * W));
      }
    } else {
      std::fill(column(begin), column(end), A(0));
      load_element_wise(from + begin * s.c, s, end - begin, n_, column(begin), {0, kTile, 1});
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
    for (int v = 0; v < kVectors; v += 2) {
      Vector<A> sums[2] = {load(squares + v * W), load(squares + (v + 1) * W)};
      dot_block<kItems>(v, items, 0, begin, end, scores, [&](int64_t c, Vector<A>& x0, Vector<A>& x1) {
        const T* run = from + c * s.c + v * W;
        prefetch(run + kCached * s.c, 2 * W);
        x0 = load(run), x1 = load(run + W);
        store(column(c) + v * W, x0);
        store(column(c) + (v + 1) * W, x1);
        sums[0] += x0 * x0;
        sums[1] += x1 * x1;
      });
      for (int i = 0; i < 2; ++i) store(squares + (v + i) * W, sums[i]);
    }
  }

  // Adds channels [begin, end) to the scores of items [first, M).
  void add_dots(const Items<A>& items, int64_t first, int64_t begin, int64_t end, A* scores) const {
    for (int v = 0; v < kVectors; v += 2) {
      const auto kept = [&](int64_t c, Vector<A>& x0, Vector<A>& x1) {
        x0 = load(column(c) + v * W), x1 = load(column(c) + (v + 1) * W);
      };
      int64_t m = first;
      for (; m + kItems <= items.M; m += kItems) dot_block<kItems>(v, items, m, begin, end, scores, kept);
      for (; m < items.M; ++m) dot_block<1>(v, items, m, begin, end, scores, kept);
    }
  }

  // Where to write whole vectors: to the map itself if it takes them, else to the spare.
  template <class T>
  Target<T> whole(Target<T> to) const {
    if (n_ == kTile && to.s.p == 1) return to;
    return {to.spare, {0, kTile, 1}, false, to.spare};
  }

  template <class T>
  void copy_spare(Target<T> to) const {
    if (n_ == kTile && to.s.p == 1) return;
    for (int64_t c = 0; c < C_; ++c)
      for (int64_t t = 0; t < n_; ++t) to.data[c * to.s.c + t * to.s.p] = to.spare[c * kTile + t];
  }

  template <class T>
  static void write(Target<T> to, int64_t c, int v, Vector<A> value) {
    T* run = to.data + c * to.s.c + v * W;
    if (to.streamed) return stream(run, value);
    if (v * W * sizeof(T) % 64 == 0) prefetch(run + kAhead / 2 * to.s.c, 1);
    store(run, value);
  }

  template <int Count, class F>
  void dot_block(int v, const Items<A>& items, int64_t first, int64_t begin, int64_t end, A* scores,
                 F&& queries) const {
    Vector<A> sums[Count][2];
#pragma GCC unroll 10
    for (int m = 0; m < Count; ++m)
#pragma GCC unroll 2
      for (int i = 0; i < 2; ++i) sums[m][i] = load(scores + (first + m) * kTile + (v + i) * W);
    const A* item = items[first];
    for (int64_t c = begin; c < end; ++c) {
      Vector<A> x0, x1;
      queries(c, x0, x1);
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

  A* data_;
  int64_t C_, n_ = 0;
};

}  // namespace mnad::cpu::MNAD_ISA
