// What the forward and the backward kernel share: how a block of threads loads, multiplies and reduces a tile.
//
// A thread has one position of the tile and one group of channels, or works on packs of 16 bytes along the axis that
// lies contiguous in memory. The sum over a group of channels runs in the same order for every item, so equal items
// give equal scores.
#pragma once

#include <cstdint>
#include <type_traits>

#include "core/pass.h"
#include "cuda/plan.h"
#include "cuda/portable.cuh"

namespace mnad::cuda {

template <class T>
using Computing = std::conditional_t<std::is_same_v<T, double>, double, float>;

// Elements of 16 bytes.
template <class T>
constexpr int kPack = 16 / int(sizeof(T));

__device__ inline float widen(float x) { return x; }
__device__ inline double widen(double x) { return x; }
__device__ inline float widen(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ inline float widen(__half x) { return __half2float(x); }

__device__ inline void narrow(float x, float& to) { to = x; }
__device__ inline void narrow(double x, double& to) { to = x; }
__device__ inline void narrow(float x, __nv_bfloat16& to) { to = __float2bfloat16(x); }
__device__ inline void narrow(float x, __half& to) { to = __float2half(x); }

template <int Bytes>
__device__ inline void copy_aligned(void* to, const void* from) {
  __builtin_memcpy(__builtin_assume_aligned(to, 16), __builtin_assume_aligned(from, 16), Bytes);
}

// How a tile lies in a block's memory: rows of positions for contiguous maps, rows of channels for channels-last.
struct TileShape {
  int positions, channels, pitch;
  bool channels_last;

  __device__ explicit TileShape(const Plan& plan)
      : positions(plan.tile), channels(plan.channels), pitch(plan.pitch), channels_last(plan.channels_last) {}

  __device__ int at(int channel, int position) const {
    return channels_last ? position * pitch + channel : channel * pitch + position;
  }
  __device__ int row_length() const { return channels_last ? channels : positions; }
  __device__ int rows() const { return channels_last ? positions : channels; }
};

// The part of a map in global memory that a tile covers, seen in rows like the tile's.
template <class T>
class TileMap {
 public:
  __device__ TileMap(T* base, Strides strides, const TileShape& shape, int64_t channels, int positions)
      : base_(base),
        along_(shape.channels_last ? strides.c : strides.p),
        across_(shape.channels_last ? strides.p : strides.c),
        length_(shape.channels_last ? int(channels) : positions),
        rows_(shape.channels_last ? positions : int(channels)),
        packs_(along_ == 1 && across_ % kPack<T> == 0 && reinterpret_cast<uintptr_t>(base) % 16 == 0) {}

  // Reads the pack at (row, i); what lies outside the map is 0.
  __device__ void load(int row, int i, std::remove_const_t<T> (&pack)[kPack<T>]) const {
    if (packs_ && row < rows_ && i + kPack<T> <= length_) return copy_aligned<16>(pack, base_ + row * across_ + i);
#pragma unroll
    for (int v = 0; v < kPack<T>; ++v)
      pack[v] = row < rows_ && i + v < length_ ? base_[row * across_ + (i + v) * along_] : T(0);
  }

  // Writes the part of a pack at (row, i) that lies inside the map.
  __device__ void store(int row, int i, const Computing<T> (&values)[kPack<T>]) const {
    if (row >= rows_) return;
    alignas(16) T pack[kPack<T>];
#pragma unroll
    for (int v = 0; v < kPack<T>; ++v) narrow(values[v], pack[v]);
    if (packs_ && i + kPack<T> <= length_) return copy_aligned<16>(base_ + row * across_ + i, pack);
#pragma unroll
    for (int v = 0; v < kPack<T>; ++v)
      if (i + v < length_) base_[row * across_ + (i + v) * along_] = pack[v];
  }

 private:
  T* const base_;
  const int64_t along_, across_;
  const int length_, rows_;
  const bool packs_;
};

// Calls f(row, i) for every pack of every `Rows`-th row of a tile.
template <class T, int Rows = 1, class F>
__device__ inline void for_each_pack(const TileShape& shape, F&& f) {
  const unsigned packs = unsigned(shape.row_length() / kPack<T>), count = packs * unsigned(shape.rows() / Rows);
  for (unsigned i = threadIdx.x; i < count; i += kThreads) f(int(i / packs) * Rows, int(i % packs) * kPack<T>);
}

template <class T, class S>
__device__ inline void load_tile(const TileMap<const T>& map, const TileShape& shape, S* tile) {
  for_each_pack<T>(shape, [&](int row, int i) {
    alignas(16) T pack[kPack<T>];
    map.load(row, i, pack);
    if constexpr (std::is_same_v<T, S>) {
      copy_aligned<16>(tile + row * shape.pitch + i, pack);
    } else {
#pragma unroll
      for (int v = 0; v < kPack<T>; ++v) tile[row * shape.pitch + i + v] = widen(pack[v]);
    }
  });
}

// One chunk's partial results: numbers of each item, and (M, channels) rows of weighted sums or gradients.
template <class A>
struct Partial {
  int64_t* counts;
  A* losses;  // compactness, separateness
  A* total;
  A* peak_all;
  A* peak_assigned;
  A* rows;

  __device__ Partial(char* partials, int64_t chunk, int64_t M, int64_t channels) {
    counts = reinterpret_cast<int64_t*>(partials + chunk * partial_bytes(M, channels, sizeof(A)));
    losses = reinterpret_cast<A*>(counts + round_up(M, 4));
    total = losses + 4;
    peak_all = total + round_up(M, 4);
    peak_assigned = peak_all + round_up(M, 4);
    rows = peak_assigned + round_up(M, 4);
  }
};

// A thread's position in the tile and its group of channels.
struct Seat {
  int position, group, groups;

  __device__ explicit Seat(const TileShape& shape)
      : position(int(threadIdx.x) % shape.positions),
        group(int(threadIdx.x) / shape.positions),
        groups(kThreads / shape.positions) {}
};

// Calls f(c) for every fourth channel of the thread's group.
template <class F>
__device__ inline void for_each_quad(const TileShape& shape, const Seat& seat, F&& f) {
#pragma unroll 2
  for (int c = 4 * seat.group; c < shape.channels; c += 4 * seat.groups) f(c);
}

template <class S, class A>
__device__ inline void load_quad(const S* tile, const TileShape& shape, int c, int position, A (&quad)[4]) {
  if (shape.channels_last) {
    alignas(16) S stored[4];
    __builtin_memcpy(stored, __builtin_assume_aligned(tile + position * shape.pitch + c, 4 * sizeof(S)), sizeof stored);
#pragma unroll
    for (int i = 0; i < 4; ++i) quad[i] = widen(stored[i]);
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) quad[i] = widen(tile[(c + i) * shape.pitch + position]);
  }
}

// Adds up each of the threads' N values over the groups of a position and calls take(i, position, total) once for each.
// Begins and ends with all threads together.
template <int N, class A, class F>
__device__ inline void reduce_groups(const A (&values)[N], const TileShape& shape, A* buffer, F&& take) {
  static_assert(N <= kItemBlock);
#pragma unroll
  for (int i = 0; i < N; ++i) buffer[i * kThreads + threadIdx.x] = values[i];
  __syncthreads();
  for (int j = threadIdx.x; j < N * shape.positions; j += kThreads) {
    const int i = j / shape.positions, position = j % shape.positions;
    A total = 0;
    for (int at = position; at < kThreads; at += shape.positions) total += buffer[i * kThreads + at];
    take(i, position, total);
  }
  __syncthreads();
}

// to[m][t] = x_t . p_m
template <class S, class A>
__device__ inline void dots(const S* tile, const TileShape& shape, const A* items, int items_pitch, int64_t M,
                            A* buffer, A* to) {
  const Seat seat(shape);
  for (int64_t block = 0; block < M; block += kItemBlock) {
    A sums[kItemBlock] = {};
    for_each_quad(shape, seat, [&](int c) {
      A x[4];
      load_quad(tile, shape, c, seat.position, x);
#pragma unroll
      for (int i = 0; i < kItemBlock; ++i) {
        alignas(16) A item[4];
        copy_aligned<4 * sizeof(A)>(item, items + (block + i < M ? block + i : M - 1) * items_pitch + c);
#pragma unroll
        for (int v = 0; v < 4; ++v) sums[i] += x[v] * item[v];
      }
    });
    reduce_groups(sums, shape, buffer, [&](int i, int position, A total) {
      if (block + i < M) to[(block + i) * shape.positions + position] = total;
    });
  }
}

// Calls take(row, i, values) with every pack of sum over m of weights[m][t] p_m.
template <class T, class A, class F>
__device__ inline void mix(const A* weights, const TileShape& shape, const A* items, int items_pitch, int64_t M,
                           F&& take) {
  const A* along = shape.channels_last ? items : weights;
  const A* across = shape.channels_last ? weights : items;
  const int along_pitch = shape.channels_last ? items_pitch : shape.positions;
  const int across_pitch = shape.channels_last ? shape.positions : items_pitch;
  for_each_pack<T, 2>(shape, [&](int row, int i) {
    A sums[2][kPack<T>] = {};
#pragma unroll 2
    for (int64_t m = 0; m < M; ++m) {
      alignas(16) A values[kPack<T>];
      copy_aligned<kPack<T> * sizeof(A)>(values, along + m * along_pitch + i);
      const A first = across[m * across_pitch + row], second = across[m * across_pitch + row + 1];
#pragma unroll
      for (int v = 0; v < kPack<T>; ++v) {
        sums[0][v] += first * values[v];
        sums[1][v] += second * values[v];
      }
    }
    take(row, i, sums[0]);
    take(row + 1, i, sums[1]);
  });
}

// What a block knows of each position of its tile.
template <class A>
struct Positions {
  A inverse[kLargestTile];  // 1 / max(|x|, eps), 0 where the sum of squares overflows
  A peak[kLargestTile], exp_peak[kLargestTile], total[kLargestTile];
  A sums[4][kLargestTile];
  int first[kLargestTile], second[kLargestTile];  // nearest and second nearest item
  int at_floor[kLargestTile], finite[kLargestTile];
};

// Fills in inverse, at_floor and finite.
template <class S, class A>
__device__ inline void measure(const S* tile, const TileShape& shape, A* buffer, Positions<A>& at) {
  const Seat seat(shape);
  A sums[2] = {};
  for_each_quad(shape, seat, [&](int c) {
    A x[4];
    load_quad(tile, shape, c, seat.position, x);
#pragma unroll
    for (int v = 0; v < 4; ++v) {
      sums[0] += x[v] * x[v];
      sums[1] += x[v] * 0;  // NaN if x is not finite
    }
  });
  reduce_groups(sums, shape, buffer, [&](int i, int position, A total) {
    if (i == 0) {
      const A norm = sqrt(total);
      at.at_floor[position] = norm < A(kNormEps);
      at.inverse[position] = A(1) / (norm < A(kNormEps) ? A(kNormEps) : norm);
    } else {
      at.finite[position] = total == 0;
    }
  });
}

// Copies M items to where they lie `pitch` elements apart, padded with zeros.
template <class A>
__device__ inline void load_items(const A* from, int64_t M, int64_t C, int pitch, A* items) {
  for (int64_t m = 0; m < M; ++m)
    for (int c = threadIdx.x; c < pitch; c += kThreads) items[m * pitch + c] = c < C ? from[m * C + c] : A(0);
}

}  // namespace mnad::cuda
