// Mixes of items for the queries of a ColumnTile: sum over m of weights[m][t] p_m, for some channels after the other.
#pragma once

#include <algorithm>

#include "cpu/tile.h"

namespace mnad::cpu::MNAD_ISA {

template <class A>
class ColumnMix {
 public:
  static constexpr int64_t kItems = 64;  // whose weights, (kItems, kTile), stay in the nearest caches

  // Up to kItems items from `first` on.
  ColumnMix(const A* weights, const Items<A>& items, int64_t first)
      : weights_(weights + first * kTile),
        items_(items[first]),
        length_(items.length),
        M_(std::min(kItems, items.M - first)) {}

  // Calls take(c, v, start(c, v) + the mix) for channels [begin, end) and all vectors of positions.
  template <class Start, class Take>
  void run(int64_t begin, int64_t end, Start&& start, Take&& take) const {
    int64_t c = begin;
    for (; c + kChannels <= end; c += kChannels) run_block<kChannels>(c, start, take);
    for (; c < end; ++c) run_block<1>(c, start, take);
  }

 private:
  static constexpr int W = kWidth<A>;
  // Channels whose sums for two vectors of positions fit into the registers.
  static constexpr int kChannels = kVectorBytes == 64 ? 8 : 4;

  template <int Channels, class Start, class Take>
  void run_block(int64_t c, Start& start, Take& take) const {
    A channels[kItems][Channels];  // side by side: in the items they would push each other out of the cache
    for (int64_t m = 0; m < M_; ++m) std::memcpy(channels[m], items_ + m * length_ + c, sizeof channels[m]);
    for (int v = 0; v < kTile / W; v += 2) {
      Vector<A> sums[Channels][2];
#pragma GCC unroll 8
      for (int i = 0; i < Channels; ++i) sums[i][0] = start(c + i, v), sums[i][1] = start(c + i, v + 1);
      for (int64_t m = 0; m < M_; ++m) {
        const Vector<A> w0 = load(weights_ + m * kTile + v * W), w1 = load(weights_ + m * kTile + (v + 1) * W);
#pragma GCC unroll 8
        for (int i = 0; i < Channels; ++i) {
          sums[i][0] += w0 * channels[m][i];
          sums[i][1] += w1 * channels[m][i];
        }
      }
#pragma GCC unroll 8
      for (int i = 0; i < Channels; ++i) take(c + i, v, sums[i][0]), take(c + i, v + 1, sums[i][1]);
    }
  }

  const A *weights_, *items_;
  int64_t length_, M_;
};

}  // namespace mnad::cpu::MNAD_ISA
