// The gradient that a backward pass writes: x, the gradient of the unit query, plus multiples of y, the query, and of
// its two items. Factors of a vector of positions stay in registers for all channels.
#pragma once

#include <cstring>

#include "cpu/tile.h"

namespace mnad::cpu::MNAD_ISA {

// Takes what leaves a tile while the next one is loaded over it: every query x as x scale[t].
template <class Sink, class A>
struct ScaledSink {
  Sink sink;
  const A* scale;
};

// The same for a gradient.
template <class Sink, class A>
struct GradientSink {
  Sink sink;
  const FeatureGradient<A>& gradient;
  const Items<A>& items;
};

// (x + along[t] y) scale[t]
template <class A>
struct ScaledSum {
  const A *along, *scale;

  struct Factors {
    Vector<A> along, scale;
  };

  // Those of the v-th vector of positions.
  Factors factors(int v) const { return {load(along + v * kWidth<A>), load(scale + v * kWidth<A>)}; }

  Vector<A> operator()(int64_t, const Factors& of, Vector<A> x, Vector<A> y) const {
    return (x + of.along * y) * of.scale;
  }
};

// (x + on_query[t] y + on_first[t] p_first + on_second[t] p_second + shift[t]) scale[t] of a channel, for as few items
// as a vector has lanes.
template <class A>
struct PickedSum {
  const A* items;  // (C, W)
  const Index<A>*first, *second;
  const LossTerms<A>& terms;
  const A* scale;

  struct Factors {
    Vector<A> on_query, on_first, on_second, shift, scale;
    Integer<A> near, far;
  };

  // Those of the v-th vector of positions.
  Factors factors(int v) const {
    const int t = v * kWidth<A>;
    Factors factors;
    factors.on_query = load(terms.on_query + t), factors.shift = load(terms.shift + t);
    factors.on_first = load(terms.on_first + t), factors.on_second = load(terms.on_second + t);
    factors.scale = load(scale + t);
    std::memcpy(&factors.near, first + t, sizeof factors.near);
    std::memcpy(&factors.far, second + t, sizeof factors.far);
    return factors;
  }

  Vector<A> operator()(int64_t c, const Factors& of, Vector<A> x, Vector<A> y) const {
    const Vector<A> channel = load(items + c * kWidth<A>);
    Vector<A> sum = x + of.shift;
    sum += of.on_query * y;
    sum += of.on_first * __builtin_shuffle(channel, of.near);
    sum += of.on_second * __builtin_shuffle(channel, of.far);
    return sum * of.scale;
  }
};

}  // namespace mnad::cpu::MNAD_ISA
