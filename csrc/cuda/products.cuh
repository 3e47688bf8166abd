// Products of a tile with the items: dot products and other sums over the channels, and weighted sums of the items.
//
// For sums over the channels a thread has a column of the tile, kRows positions, and one of kGroups groups of channels.
// The partial sums of a column are added over four groups of a warp, then over the warps, always in the same order.
#pragma once

#include "cuda/block.cuh"

namespace mnad::cuda {

// Blocks of kItemBlock items; a row for each channel or for each position.
template <class A>
struct Table {
  A* data;
  int64_t stride;  // between blocks

  __device__ Table<const A> as_const() const { return {data, stride}; }

  __device__ A* row(int block, int row) const {
    return data + block * stride + row / 4 * kQuadPitch + row % 4 * kRowPitch;
  }
  __device__ A& at(int item, int row) const { return this->row(item / kItemBlock, row)[item % kItemBlock]; }
};

template <class A>
__device__ inline void load_row(const A* row, A (&to)[kItemBlock]) {
  constexpr int kWide = 16 / int(sizeof(A)), kRest = kItemBlock % kWide;
#pragma unroll
  for (int i = 0; i + kWide <= kItemBlock; i += kWide) {
    A values[kWide];
    load_values(row + i, values);
#pragma unroll
    for (int v = 0; v < kWide; ++v) to[i + v] = values[v];
  }
  if constexpr (kRest > 0) {
    A values[kRest];
    load_values(row + kItemBlock - kRest, values);
#pragma unroll
    for (int v = 0; v < kRest; ++v) to[kItemBlock - kRest + v] = values[v];
  }
}

// A thread's coordinates in a tile: its column of positions and its group of channels.
template <class K>
class ThreadCoordinates {
 public:
  const int column = int(threadIdx.x) % kColumns, group = int(threadIdx.x) / kColumns;

  __device__ int position(int r) const { return K::kChannelsLast ? column + kColumns * r : K::kRows * column + r; }

  // Calls f(step, row) for every kChannelsAtOnce channels of the group: steps for load(), and where the first of their
  // rows lies in a table of channels; the others follow kRowPitch apart.
  template <class F>
  __device__ void for_each_channel(int channels, F&& f) const {
    constexpr int kChannels = K::kChannelsAtOnce * kGroups, kRows = kChannels / 4 * kQuadPitch;
    const int first = K::kChannelsAtOnce * group;
    int row = first / 4 * kQuadPitch + first % 4 * kRowPitch;
#pragma unroll(K::kRows == 4 ? 1 : 2)
    for (int c = first, step = 0; c < channels; c += kChannels, ++step, row += kRows) f(step, row);
  }

  // The values of a step's channels at the positions of the column.
  __device__ void load(const Tile<K>& tile, int step, typename K::A (&x)[K::kChannelsAtOnce][K::kRows]) const {
    constexpr int kChannels = K::kChannelsAtOnce * kGroups;
    const int first = K::kChannelsAtOnce * group;
    if constexpr (K::kChannelsLast) {
#pragma unroll
      for (int r = 0; r < K::kRows; ++r) {
        typename K::A values[K::kChannelsAtOnce];
        load_widened(tile.data + tile.offset(position(r), first) + step * kChannels, values);
#pragma unroll
        for (int i = 0; i < K::kChannelsAtOnce; ++i) x[i][r] = values[i];
      }
    } else {
#pragma unroll
      for (int i = 0; i < K::kChannelsAtOnce; ++i)
        load_widened(tile.data + tile.offset(first + i, position(0)) + step * tile.distance(kChannels), x[i]);
    }
  }
};

// Adds to sums[i][r] the products of the column with item i of a block, and to the last of them its squares.
template <class K, class A = typename K::A>
__device__ inline void add_products(const Tile<K>& tile, int channels, const Table<const A>& items, int block,
                                    A (&sums)[kScoreSums][K::kRows]) {
  const ThreadCoordinates<K> thread;
  const A* const of_block = items.row(block, 0);
  thread.for_each_channel(channels, [&](int step, int row) {
    A x[K::kChannelsAtOnce][K::kRows];
    thread.load(tile, step, x);
#pragma unroll
    for (int i = 0; i < K::kChannelsAtOnce; ++i) {
      A item[kItemBlock];
      load_row(of_block + row + i * kRowPitch, item);
#pragma unroll
      for (int r = 0; r < K::kRows; ++r) {
#pragma unroll
        for (int m = 0; m < kItemBlock; ++m) sums[m][r] += x[i][r] * item[m];
        sums[kItemBlock][r] += x[i][r] * x[i][r];
      }
    }
  });
}

// N numbers of every position, in kWarps parts, one of each warp.
template <class K, int N, class A = typename K::A>
class PartialSums {
 public:
  __device__ explicit PartialSums(A* data) : data_(data) {}
  __device__ A* end() const { return data_ + kWarps * kColumns * kPitch; }

  // Takes every thread's part of the sums. Of the four groups of a warp each keeps a quarter of the numbers.
  __device__ void put(const A (&sums)[N][K::kRows]) const {
    A kept[kNumbers] = {};
#pragma unroll
    for (int i = 0; i < N; ++i)
#pragma unroll
      for (int r = 0; r < K::kRows; ++r) kept[i * K::kRows + r] = sums[i][r];
    A half[kNumbers / 2], quarter[kNumbers / 4];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    halve(kept, half, 2 * kColumns);
    halve(half, quarter, kColumns);
    A* to = data_ + (warp * kColumns + lane % kColumns) * kPitch;
    to += (lane & 2 * kColumns ? kNumbers / 2 : 0) + (lane & kColumns ? kNumbers / 4 : 0);
#pragma unroll
    for (int i = 0; i < kNumbers / 4; ++i) to[i] = quarter[i];
  }

  // Adds up the parts of number i of a position; all threads have put theirs before.
  __device__ A total(int i, int position) const {
    const int column = K::kChannelsLast ? position % kColumns : position / K::kRows;
    const int r = K::kChannelsLast ? position / kColumns : position % K::kRows;
    const A* from = data_ + column * kPitch + i * K::kRows + r;
    A total = 0;
#pragma unroll
    for (int warp = 0; warp < kWarps; ++warp) total += from[warp * kColumns * kPitch];
    return total;
  }

 private:
  static constexpr int kNumbers = round_to_quads(N * K::kRows), kPitch = sums_pitch(N * K::kRows);

  template <int kWhole>
  __device__ static void halve(const A (&values)[kWhole], A (&sums)[kWhole / 2], int distance) {
    const bool upper = threadIdx.x & distance;
    A given[kWhole / 2];
#pragma unroll
    for (int i = 0; i < kWhole / 2; ++i) given[i] = upper ? values[i] : values[i + kWhole / 2];
    swap_lanes<32>(given, distance);
#pragma unroll
    for (int i = 0; i < kWhole / 2; ++i) sums[i] = (upper ? values[i + kWhole / 2] : values[i]) + given[i];
  }

  A* const data_;
};

// Calls f(across, offset, sums) with sums[i][v] = sum over the items of weights[t] . items[c], where (across + i, along
// + v) are the position t and the channel c and lie at the offset in a tile, for all elements of a tile. Before that,
// and where along changes, begin(across, along, distance) tells the first of the rows and how far it is to the next
// ones; what lies along is held in registers.
template <class K, class H, class F, class A = typename K::A>
__device__ inline void weighted_sums(Table<const A> weights, Table<const A> items, int blocks, int channels,
                                     const Tile<K>& tile, H&& begin, F&& f) {
  constexpr int kAlong = K::kAlong, kAcross = K::kAcross;
  const auto& held_table = K::kChannelsLast ? items : weights;
  const auto& table = K::kChannelsLast ? weights : items;
  const int length = K::kChannelsLast ? channels : K::kTile, rows = K::kChannelsLast ? K::kTile : channels;
  // Powers of two, so that the lanes of a warp take the same number of steps.
  const int packs = length / kAlong, lanes = K::kChannelsLast ? std::min(packs & -packs, int{kThreads}) : kColumns;
  const int groups = kThreads / lanes, lane = int(threadIdx.x) % lanes, group = int(threadIdx.x) / lanes;
  const int distance = kAcross * groups;

  A held[kAlong][kItemBlock];
  const auto hold = [&](int block, int along) {
#pragma unroll
    for (int v = 0; v < kAlong; ++v) load_row(held_table.row(block, along + v), held[v]);
  };
  for (int along = kAlong * lane; along < length; along += kAlong * lanes) {
    begin(kAcross * group, along, distance);
    if (K::kFast && blocks > 0) hold(0, along);
    int offset = tile.offset(kAcross * group, along);
    const A* first = table.row(0, kAcross * group);
#pragma unroll 1
    for (int across = kAcross * group; across < rows; across += distance, offset += tile.distance(distance)) {
      A sums[kAcross][kAlong] = {};
      for (int block = 0; block < (K::kFast ? std::min(blocks, 1) : blocks); ++block) {
        if (!K::kFast) hold(block, along);
        if (K::kChannelsLast || !K::kFast) first = table.row(block, across);
#pragma unroll
        for (int i = 0; i < kAcross; ++i) {
          A row[kItemBlock];
          load_row(first + i * kRowPitch, row);
#pragma unroll
          for (int v = 0; v < kAlong; ++v)
#pragma unroll
            for (int m = 0; m < kItemBlock; ++m) sums[i][v] += held[v][m] * row[m];
        }
      }
      if (!K::kChannelsLast) first += kAcross * kGroups / 4 * kQuadPitch;
      f(across, offset, sums);
    }
  }
}

// Numbers of the positions of elements that lie side by side: those along are held, that across is read.
template <class K, class A>
__device__ inline void hold_positions(const A* numbers, int along, A (&to)[K::kAlong]) {
  if constexpr (!K::kChannelsLast) load_values(numbers + along, to);
}
template <class K, class A>
__device__ inline void read_position(const A* numbers, int across, A (&to)[K::kAlong]) {
  if constexpr (K::kChannelsLast)
#pragma unroll
    for (int v = 0; v < K::kAlong; ++v) to[v] = numbers[across];
}

// Copies a block of up to kItemBlock items to a table, padded with zeros. A thread has kInFlight packs on their way
// before it needs the first. `kWhole`: they are known to consist of packs of 16 bytes.
template <bool kWhole, class A>
__device__ inline void load_items(const A* from, int count, int64_t C, int channels, A* to) {
  constexpr int kWide = 16 / int(sizeof(A)), kInFlight = 5;
  const bool wide = C % kWide == 0 && reinterpret_cast<uintptr_t>(from) % 16 == 0;
  const Table<A> table{to, 0};
  const int packs = channels / kWide;
  for (int begin = threadIdx.x; begin < kItemBlock * packs; begin += kInFlight * kThreads) {
    A values[kInFlight][kWide] = {};
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      const int m = (begin + i * kThreads) / packs, c = (begin + i * kThreads) % packs * kWide;
      if ((kWhole || wide) && m < count && c < C) {
        load_values(from + m * C + c, values[i]);
      } else if constexpr (!kWhole) {
#pragma unroll
        for (int v = 0; v < kWide; ++v)
          if (m < count && c + v < C) values[i][v] = from[m * C + c + v];
      }
    }
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      const int m = (begin + i * kThreads) / packs, c = (begin + i * kThreads) % packs * kWide;
      if (m < kItemBlock)
#pragma unroll
        for (int v = 0; v < kWide; ++v) table.at(m, c + v) = values[i][v];
    }
  }
}

}  // namespace mnad::cuda
