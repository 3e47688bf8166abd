// Arithmetic on rows of channels. Rows are whole vectors long; padding is zero.
#pragma once

#include <cmath>

#include "cpu/simd.h"
#include "cpu/tile.h"

namespace mnad::cpu::MNAD_ISA {

// 1 / max(|x|, eps), and 0 where the sum of squares overflows.
template <class A>
inline A inverse_norm(const A* x, int64_t length, bool* at_floor = nullptr) {
  Vector<A> even{}, odd{};
  int64_t c = 0;
  for (; c + 2 * kWidth<A> <= length; c += 2 * kWidth<A>) {
    const Vector<A> a = load(x + c), b = load(x + c + kWidth<A>);
    even += a * a;
    odd += b * b;
  }
  if (c < length) even += load(x + c) * load(x + c);
  const A norm = std::sqrt(sum<A>(even + odd));
  const bool low = norm < A(kNormEps);
  if (at_floor) *at_floor = low;
  return A(1) / (low ? A(kNormEps) : norm);
}

template <class A>
inline bool all_finite(const A* x, int64_t length) {
  Vector<A> zero{};
  for (int64_t c = 0; c < length; c += kWidth<A>) zero += load(x + c) * 0;
  return sum<A>(zero) == 0;
}

template <class A>
inline A dot(const A* a, const A* b, int64_t length) {
  Vector<A> products{};
  for (int64_t c = 0; c < length; c += kWidth<A>) products += load(a + c) * load(b + c);
  return sum<A>(products);
}

template <class A>
inline void add_scaled(A* to, A scale, const A* from, int64_t length) {
  for (int64_t c = 0; c < length; c += kWidth<A>) store(to + c, load(to + c) + scale * load(from + c));
}

// Dot products of `Queries` rows with `Count` items; every sum runs over the channels in the same order, so
// equal items give equal scores wherever they stand.
template <class A, int Queries, int Count>
inline void dot_block(Rows<const A> x, const A* items, int64_t length, A* scores, int64_t stride) {
  Vector<A> sums[Queries][Count] = {};
  for (int64_t c = 0; c < length; c += kWidth<A>) {
    Vector<A> query[Queries];
    for (int q = 0; q < Queries; ++q) query[q] = load(x[q] + c);
#pragma GCC unroll 8
    for (int m = 0; m < Count; ++m) {
      const Vector<A> item = load(items + m * length + c);
#pragma GCC unroll 8
      for (int q = 0; q < Queries; ++q) sums[q][m] += query[q] * item;
    }
  }
  for (int q = 0; q < Queries; ++q)
    for (int m = 0; m < Count; ++m) scores[q * stride + m] = sum<A>(sums[q][m]);
}

template <class A, int Queries>
inline void dot_rows(Rows<const A> x, const A* items, int64_t M, int64_t length, A* scores, int64_t stride) {
  int64_t m = 0;
  for (; m + 5 <= M; m += 5) dot_block<A, Queries, 5>(x, items + m * length, length, scores + m, stride);
  for (; m < M; ++m) dot_block<A, Queries, 1>(x, items + m * length, length, scores + m, stride);
}

// scores[t][m] = x_t . p_m
template <class A>
inline void dots(Rows<const A> x, int64_t n, const A* items, int64_t M, int64_t length, Rows<A> scores) {
  int64_t t = 0;
  for (; t + 2 <= n; t += 2) dot_rows<A, 2>(Rows<const A>{x[t], x.stride}, items, M, length, scores[t], scores.stride);
  if (t < n) dot_rows<A, 1>(Rows<const A>{x[t], x.stride}, items, M, length, scores[t], scores.stride);
}

template <class A, int Queries, int Vectors>
inline void mix_block(Rows<A> weights, const A* items, int64_t M, int64_t length, Rows<A> to, bool add) {
  Vector<A> sums[Queries][Vectors];
  for (int q = 0; q < Queries; ++q)
    for (int v = 0; v < Vectors; ++v) sums[q][v] = add ? load(to[q] + v * kWidth<A>) : Vector<A>{};
  for (int64_t m = 0; m < M; ++m) {
    Vector<A> item[Vectors];
    for (int v = 0; v < Vectors; ++v) item[v] = load(items + m * length + v * kWidth<A>);
#pragma GCC unroll 8
    for (int q = 0; q < Queries; ++q)
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) sums[q][v] += weights[q][m] * item[v];
  }
  for (int q = 0; q < Queries; ++q)
    for (int v = 0; v < Vectors; ++v) store(to[q] + v * kWidth<A>, sums[q][v]);
}

template <class A, int Queries>
inline void mix_rows(Rows<A> weights, const A* items, int64_t M, int64_t length, Rows<A> to, bool add) {
  int64_t c = 0;
  for (; c + 2 * kWidth<A> <= length; c += 2 * kWidth<A>)
    mix_block<A, Queries, 2>(weights, items + c, M, length, Rows<A>{to.data + c, to.stride}, add);
  if (c < length) mix_block<A, Queries, 1>(weights, items + c, M, length, Rows<A>{to.data + c, to.stride}, add);
}

// to_t = [to_t +] sum over m of weights[t][m] p_m
template <class A>
inline void mix(Rows<A> weights, int64_t n, const A* items, int64_t M, int64_t length, Rows<A> to, bool add) {
  int64_t t = 0;
  for (; t + 4 <= n; t += 4) mix_rows<A, 4>({weights[t], weights.stride}, items, M, length, {to[t], to.stride}, add);
  for (; t < n; ++t) mix_rows<A, 1>({weights[t], weights.stride}, items, M, length, {to[t], to.stride}, add);
}

// to_m += sum over t of weights[t][m] scale[t] x_t
template <class A>
inline void add_outer(Rows<A> weights, const A* scale, Rows<const A> x, int64_t n, int64_t M, int64_t length, A* to) {
  for (int64_t m = 0; m < M; ++m) {
    A factors[kMaxTile];
    for (int64_t t = 0; t < n; ++t) factors[t] = weights[t][m] * (scale ? scale[t] : A(1));
    A* row = to + m * length;
    for (int64_t c = 0; c < length; c += kWidth<A>) {
      Vector<A> total = load(row + c);
      for (int64_t t = 0; t < n; ++t) total += factors[t] * load(x[t] + c);
      store(row + c, total);
    }
  }
}

// The difference between a query and an item: squared length, and length with eps added to every channel.
template <class A>
struct Difference {
  A square, distance;
};

template <class A>
inline Difference<A> difference(const A* x, A inverse, const A* item, int64_t length, int64_t channels) {
  Vector<A> squares{}, sums{};
  for (int64_t c = 0; c < length; c += kWidth<A>) {
    const Vector<A> d = load(x + c) * inverse - load(item + c);
    squares += d * d;
    sums += d;
  }
  // |d + eps|^2 written out, as eps must not count for the padding.
  const A eps = A(kDistanceEps), square = sum<A>(squares);
  const A shifted = square + eps * (2 * sum<A>(sums) + eps * channels);
  return {square, std::sqrt(shifted > 0 || shifted != shifted ? shifted : A(0))};
}

}  // namespace mnad::cpu::MNAD_ISA
