// From scores to ranks and weights, for all queries of a tile at once: (M, kTile) arrays, vectors over positions.
#pragma once

#include <cmath>

#include "cpu/tile.h"

namespace mnad::cpu::MNAD_ISA {

template <class A>
inline Vector<A> larger(Vector<A> a, Vector<A> b) {
  return b > a ? b : a;
}

// The nearest and the second nearest item of every query; ties go to the lower one. 0 and 1 where scores are NaN.
template <class A>
inline void rank(const A* scores, int64_t M, Index<A>* first, Index<A>* second) {
  for (int t = 0; t < kTile; t += kWidth<A>) {
    Vector<A> best = load(scores + t), next = load(scores + (M > 1 ? kTile : 0) + t);
    Integer<A> best_at{}, next_at = best_at + (M > 1);
    if (M > 1) {
      const Integer<A> swap = next > best;
      const Vector<A> low = swap ? best : next;
      best = swap ? next : best;
      next = low;
      best_at = swap ? next_at : best_at;
      next_at = swap ? next_at * 0 : next_at;
    }
    for (int64_t m = 2; m < M; ++m) {
      const Vector<A> score = load(scores + m * kTile + t);
      const Integer<A> beats_best = score > best, beats_next = score > next, at = Integer<A>{} + Index<A>(m);
      next = beats_best ? best : beats_next ? score : next;
      next_at = beats_best ? best_at : beats_next ? at : next_at;
      best = beats_best ? score : best;
      best_at = beats_best ? at : best_at;
    }
    std::memcpy(first + t, &best_at, sizeof best_at);
    std::memcpy(second + t, &next_at, sizeof next_at);
  }
}

// weights = softmax over the items; peak and total such that weights * total * exp(peak) = exp(scores).
template <class A>
inline void softmax(const A* scores, int64_t M, A* weights, A* peak, A* total) {
  for (int t = 0; t < kTile; t += kWidth<A>) {
    Vector<A> highest = load(scores + t), sum{};
    for (int64_t m = 1; m < M; ++m) highest = larger<A>(highest, load(scores + m * kTile + t));
    for (int64_t m = 0; m < M; ++m) {
      const Vector<A> weight = exp(load(scores + m * kTile + t) - highest);
      store(weights + m * kTile + t, weight);
      sum += weight;
    }
    const Vector<A> inverse = A(1) / sum;
    for (int64_t m = 0; m < M; ++m) store(weights + m * kTile + t, load(weights + m * kTile + t) * inverse);
    store(peak + t, highest);
    store(total + t, sum);
  }
}

// inverse[t] = 1 / max(|x_t|, eps), and 0 where the sum of squares overflows.
template <class A>
inline void inverse_norms(const A* squares, A* inverse) {
  for (int t = 0; t < kTile; ++t) {
    const A norm = std::sqrt(squares[t]);
    inverse[t] = A(1) / (norm < A(kNormEps) ? A(kNormEps) : norm);
  }
}

// |q - p + eps| from |q - p|^2 and the sum of q - p; written out, as eps must not count for padding.
template <class A>
inline A distance(A square, A total, int64_t C) {
  const A eps = A(kDistanceEps), shifted = square + eps * (2 * total + eps * A(C));
  return std::sqrt(shifted > 0 || shifted != shifted ? shifted : A(0));
}

}  // namespace mnad::cpu::MNAD_ISA
