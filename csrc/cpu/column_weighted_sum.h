// Weighted sums of the items for the queries of a ColumnTile: sum over m of weights[m][t] p_m, block of channels by
// block.
#pragma once

#include <algorithm>
#include <cassert>

#include "cpu/tile.h"

namespace mnad::cpu::MNAD_ISA {

template <class A>
class ColumnWeightedSum {
 public:
  // Up to kSummedItems items from `first` on.
  ColumnWeightedSum(const A* weights, const Items<A>& items, int64_t first)
      : weights_(weights + first * kTile),
        items_(items.columns + first),
        breadth_(items.breadth),
        M_(std::min(kSummedItems, items.M - first)) {
    assert(items.columns && 0 <= first && first < items.M);
  }

  // Calls take(c, v, sums) for blocks of channels [begin, end) and vectors of positions, from the c-th and the v-th on:
  // sums[i][j] = start(c + i, v + j) + the weighted sum.
  template <class Start, class Take>
  void run(int64_t begin, int64_t end, Start start, Take take) const {
    // Long runs of positions are written fastest, if the weights of all items stay in the first cache.
    if constexpr (kVectorBytes == 64)
      if (M_ * kTile * int64_t{sizeof(A)} <= kWeightBytes) return run_blocks<2, 8>(begin, end, start, take);
    run_blocks<kVectorBytes == 64 ? 8 : 4, 2>(begin, end, start, take);
  }

 private:
  static constexpr int W = kWidth<A>;

  // By blocks whose sums fit into the registers. Not inlined: in a longer function the compiler keeps them in memory.
  template <int Channels, int Vectors, class Start, class Take>
  [[gnu::noinline]] void run_blocks(int64_t begin, int64_t end, Start start, Take take) const {
    int64_t c = begin;
    for (; c + Channels <= end; c += Channels) run_block<Channels, Vectors>(c, start, take);
    for (; c < end; ++c) run_block<1, Vectors>(c, start, take);
  }

  template <int Channels, int Vectors, class Start, class Take>
  [[gnu::always_inline]] void run_block(int64_t c, Start& start, Take& take) const {
    const A *items = items_ + c * breadth_, *all_weights = weights_;
    const int64_t breadth = breadth_, M = M_;
    for (int v = 0; v < kTile / W; v += Vectors) {
      Vector<A> sums[Channels][Vectors];
#pragma GCC unroll 8
      for (int i = 0; i < Channels; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < Vectors; ++j) sums[i][j] = start(c + i, v + j);
      const A* weights = all_weights + v * W;
      for (int64_t m = 0; m < M; ++m, weights += kTile) {
#pragma GCC unroll 8
        for (int j = 0; j < Vectors; ++j) {
          Vector<A> weight = load(weights + j * W);
          to_register(weight);
#pragma GCC unroll 8
          for (int i = 0; i < Channels; ++i) sums[i][j] += weight * items[i * breadth + m];
        }
      }
      take(c, v, sums);
    }
  }

  const A *weights_, *items_;
  int64_t breadth_, M_;
};

}  // namespace mnad::cpu::MNAD_ISA
