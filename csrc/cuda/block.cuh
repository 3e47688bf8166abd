// How a block of threads sees a tile: its kinds of kernels, where an element lies, and how maps are read and written.
#pragma once

#include <cstdint>
#include <type_traits>

#include "core/pass.h"
#include "cuda/plan.h"
#include "cuda/portable.cuh"

namespace mnad::cuda {

template <class T>
using Computing = std::conditional_t<std::is_same_v<T, double>, double, float>;

// What a kernel is compiled for: the storage type, the layout, and the number of positions in a column of the tile.
//
// `Along` is the axis that lies contiguous in memory, positions or channels, and `across` the other one. A thread that
// writes results has kAlong neighbours along, for some steps across; kShare such threads make up a pack of 16 bytes.
template <class T_, int kRows_, bool kChannelsLast_, bool kFast_, bool kTwice_ = false>
struct Kind {
  using T = T_;
  using A = Computing<T>;
  static constexpr bool kChannelsLast = kChannelsLast_, kFast = kFast_;
  static constexpr bool kTwice = kTwice_;  // holds the next tile, too
  static constexpr int kRows = kRows_, kTile = kColumns * kRows;
  static constexpr int kPack = 16 / int(sizeof(T));
  static constexpr int kAlong = kChannelsLast ? std::min(4, kPack) : kRows;
  static constexpr int kShare = kPack / kAlong;
  static constexpr int kAcross = kFast ? kShare : std::max(kShare, 2);
  static constexpr int kChannelsAtOnce = sizeof(T) == 2 ? 2 : 1;  // 4 bytes of a channels-last row
  static constexpr int kPacksOfRow = kTile / kPack;               // of a contiguous tile
  static_assert(kPack % kAlong == 0 && kAcross % kShare == 0 && kPacksOfRow > 0);
};

template <class T, int kRows, bool kChannelsLast>
struct Fast : Kind<T, kRows, kChannelsLast, true> {};
template <class T, bool kChannelsLast>
struct FastTwice : Kind<T, kLargestTile / kColumns, kChannelsLast, true, true> {};
template <class T, bool kChannelsLast>
struct General : Kind<T, std::is_same_v<T, double> ? 1 : kLargestTile / kColumns, kChannelsLast, false> {};

__device__ inline float widen(float x) { return x; }
__device__ inline double widen(double x) { return x; }
__device__ inline float widen(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ inline float widen(__half x) { return __half2float(x); }

__device__ inline void narrow(float x, float& to) { to = x; }
__device__ inline void narrow(double x, double& to) { to = x; }
__device__ inline void narrow(float x, __nv_bfloat16& to) { to = __float2bfloat16(x); }
__device__ inline void narrow(float x, __half& to) { to = __float2half(x); }

template <int Bytes>
using Word =
    std::conditional_t<Bytes == 16, unsigned __int128,
                       std::conditional_t<Bytes == 8, uint64_t, std::conditional_t<Bytes == 4, uint32_t, uint16_t>>>;

__device__ inline Word<16> as_word(uint4 four) {
  Word<16> word;
  __builtin_memcpy(&word, &four, sizeof word);
  return word;
}

// Reads N neighbours at once.
template <class S, int N>
__device__ inline void load_values(const S* from, S (&to)[N]) {
  const auto word = load_word<Word<N* int(sizeof(S))>>(from);
  __builtin_memcpy(to, &word, sizeof word);
}
template <int N, class S, class A>
__device__ inline void load_widened(const S* from, A (&to)[N]) {
  S stored[N];
  load_values(from, stored);
#pragma unroll
  for (int i = 0; i < N; ++i) to[i] = widen(stored[i]);
}

// How a tile lies in a block's memory. Contiguous maps: rows of positions, channel after channel, with the packs of a
// row exchanged so that neither neighbours in a row nor those in a column lie in the same banks. Channels-last maps:
// rows of channels, `pitch` elements apart.
template <class K>
class Tile {
 public:
  using T = typename K::T;

  T* const data;

  __device__ Tile(T* elements, int pitch) : data(elements), pitch_(pitch) {}

  // Where an element is; the first of a pack is aligned to 16 bytes.
  __device__ int offset(int across, int along) const {
    if constexpr (K::kChannelsLast) {
      return across * pitch_ + along;
    } else {
      const int pack = along / K::kPack ^ swizzle(across);
      return across * K::kTile + pack * K::kPack + along % K::kPack;
    }
  }
  __device__ int offset_of(int channel, int position) const {
    return K::kChannelsLast ? offset(position, channel) : offset(channel, position);
  }
  // From an element to that of another row: kGroups or a multiple of it further on, or of the same line of banks.
  __device__ int distance(int across) const { return across * (K::kChannelsLast ? pitch_ : K::kTile); }
  // From the first of a step's kAcross rows at `offset` to row i of them.
  __device__ int row_of(int offset, int i) const {
    // The packs of other rows may be exchanged in another way.
    if (K::kChannelsLast || kRowsOfLine % K::kAcross == 0) return offset + distance(i);
    const int across = offset / K::kTile,
              pack = offset / K::kPack % K::kPacksOfRow ^ swizzle(across) ^ swizzle(across + i);
    return (across + i) * K::kTile + pack * K::kPack + offset % K::kPack;
  }

 private:
  __device__ static int swizzle(int across) { return across / kRowsOfLine % K::kPacksOfRow; }
  static constexpr int kRowsOfLine = std::max(8 / K::kPacksOfRow, 1);  // of all 32 banks
  static_assert(K::kChannelsLast || kGroups % (kRowsOfLine * K::kPacksOfRow) == 0);

  const int pitch_;
};

// The part of a map in global memory that a tile covers.
template <class K, class E>
class TileMap {
 public:
  using T = typename K::T;

  __device__ TileMap(E* base, Strides strides, int channels, int positions)
      : base_(base),
        along_(K::kChannelsLast ? strides.c : strides.p),
        across_(K::kChannelsLast ? strides.p : strides.c),
        length_(K::kChannelsLast ? channels : positions),
        rows_(K::kChannelsLast ? positions : channels),
        packs_(along_ == 1 && across_ % K::kPack == 0 && reinterpret_cast<uintptr_t>(base) % 16 == 0) {}

  __device__ int64_t offset(int across, int along) const { return across * across_ + along; }

  // The pack of the elements from (across, along) on, which lie at offset `at`; what lies outside the map is 0.
  __device__ uint4 load(int across, int along, int64_t at) const {
    uint4 word{};
    if (is_whole(across, along)) {
      word = load_streaming(base_ + at);
    } else if constexpr (!K::kFast) {
      T pack[K::kPack];
#pragma unroll
      for (int v = 0; v < K::kPack; ++v)
        pack[v] = across < rows_ && along + v < length_ ? base_[across * across_ + (along + v) * along_] : T(0);
      __builtin_memcpy(&word, pack, sizeof word);
    }
    return word;
  }

  // Begins to copy such a pack; of the fast kind alone.
  __device__ void copy(int across, int along, int64_t at, T* to) const {
    const bool inside = is_whole(across, along);
    copy_async(to, base_ + (inside ? at : 0), inside);
  }

  // Writes the part of such a pack that lies inside the map.
  __device__ void store(int across, int along, int64_t at, uint4 word) const {
    if (is_whole(across, along)) {
      store_streaming(base_ + at, word);
    } else if constexpr (!K::kFast) {
      T pack[K::kPack];
      __builtin_memcpy(pack, &word, sizeof word);
#pragma unroll
      for (int v = 0; v < K::kPack; ++v)
        if (across < rows_ && along + v < length_) base_[across * across_ + (along + v) * along_] = pack[v];
    }
  }

 private:
  // Maps of the fast kind begin and end with whole packs.
  __device__ bool is_whole(int across, int along) const {
    if constexpr (K::kFast) return (across < rows_) & (along < length_);
    return packs_ && across < rows_ && along + K::kPack <= length_;
  }

  E* const base_;
  const int64_t along_, across_;
  const int length_, rows_;
  const bool packs_;
};

// Goes through the packs of a tile's rows, kThreads at a time.
template <class K>
class Packs {
 public:
  int across, along;  // of the pack's first element

  __device__ explicit Packs(int channels)
      : length_(K::kChannelsLast ? channels : K::kTile),
        rows_(kThreads / packs()),
        rest_(kThreads % packs() * K::kPack) {
    across = int(threadIdx.x) / packs(), along = int(threadIdx.x) % packs() * K::kPack;
  }

  // How far it is to the next pack in a map whose rows lie so far apart.
  __device__ int64_t step(int64_t row) const { return rows_ * row + rest_ + (wraps() ? row - length_ : 0); }
  __device__ void next() {
    across += rows_ + wraps();
    along += rest_ - (wraps() ? length_ : 0);
  }

 private:
  __device__ int packs() const { return K::kChannelsLast ? length_ / K::kPack : K::kPacksOfRow; }
  __device__ bool wraps() const { return K::kChannelsLast && along + rest_ >= length_; }

  const int length_, rows_, rest_;
};

// Copies a tile from global memory. A thread has kInFlight packs on their way before it needs the first.
template <class K>
__device__ inline void load_tile(const TileMap<K, const typename K::T>& map, const Tile<K>& tile, int channels) {
  constexpr int kInFlight = K::kFast ? 8 : 4;
  const int rows = K::kChannelsLast ? K::kTile : channels;
  const int64_t row = map.offset(1, 0);
  Packs<K> from(channels), to = from;
  int64_t at = map.offset(from.across, from.along);
  while (from.across < rows) {
    uint4 words[kInFlight];
#pragma unroll
    for (int i = 0; i < kInFlight; ++i, at += from.step(row), from.next())
      words[i] = map.load(from.across, from.along, at);
#pragma unroll
    for (int i = 0; i < kInFlight; ++i, to.next())
      if (to.across < rows) store_word(tile.data + tile.offset(to.across, to.along), as_word(words[i]));
  }
}

// Begins to copy a tile from global memory, past the registers.
template <class K>
__device__ inline void copy_tile(const TileMap<K, const typename K::T>& map, const Tile<K>& tile, int channels) {
  const int64_t row = map.offset(1, 0);
  Packs<K> pack(channels);
  int64_t at = map.offset(pack.across, pack.along);
#pragma unroll 4
  for (; pack.across < (K::kChannelsLast ? K::kTile : channels); at += pack.step(row), pack.next())
    map.copy(pack.across, pack.along, at, tile.data + tile.offset(pack.across, pack.along));
}

template <class K>
__device__ inline void clear_tile(const Tile<K>& tile, int channels) {
  for (Packs<K> at(channels); at.across < (K::kChannelsLast ? K::kTile : channels); at.next())
    store_word(tile.data + tile.offset(at.across, at.along), Word<16>{});
}

// Lane i of N neighbours gives its piece r to lane r, as piece i. A round exchanges the pieces whose number differs
// from the lane's in one bit.
template <bool kWholeWarp, int N, int kWords>
__device__ inline void transpose(unsigned (&pieces)[N][kWords], int lane) {
#pragma unroll
  for (int bit = N / 2; bit > 0; bit /= 2) {
    const bool upper = lane & bit;
    unsigned sent[std::max(N / 2, 1) * kWords];
#pragma unroll
    for (int i = 0, n = 0; i < N; ++i)
      if (!(i & bit))
#pragma unroll
        for (int w = 0; w < kWords; ++w) sent[n++] = upper ? pieces[i][w] : pieces[i + bit][w];
    swap_lanes<N, kWholeWarp>(sent, bit);
#pragma unroll
    for (int i = 0, n = 0; i < N; ++i)
      if (!(i & bit))
#pragma unroll
        for (int w = 0; w < kWords; ++w, ++n) {
          pieces[i][w] = upper ? sent[n] : pieces[i][w];
          pieces[i + bit][w] = upper ? pieces[i + bit][w] : sent[n];
        }
  }
}

// Writes kAlong values of each of kAcross rows, step by step: kShare lanes, which lie side by side, put packs together.
template <class K>
class RowWriter {
 public:
  using T = typename K::T;

  __device__ explicit RowWriter(const TileMap<K, T>& map) : map_(map) {}

  // Begins with the rows from `across` on; the next ones are `distance` further on.
  __device__ void begin(int across, int along, int distance) {
    across_ = across + lane(), along_ = along / K::kPack * K::kPack, distance_ = distance;
    at_ = map_.offset(across_, along_);
  }

  template <class A>
  __device__ void write(const A (&values)[K::kAcross][K::kAlong]) {
    constexpr int kShare = K::kShare, kWords = 4 / kShare;  // of a lane's piece of a pack
#pragma unroll
    for (int part = 0; part < K::kAcross; part += kShare) {
      T stored[kShare][K::kAlong];
#pragma unroll
      for (int i = 0; i < kShare; ++i)
#pragma unroll
        for (int v = 0; v < K::kAlong; ++v) narrow(values[part + i][v], stored[i][v]);
      unsigned words[kShare][kWords];
      __builtin_memcpy(words, stored, sizeof words);
      transpose<K::kFast>(words, lane());
      uint4 word;
      __builtin_memcpy(&word, words, sizeof word);
      map_.store(across_ + part, along_, at_ + map_.offset(part, 0), word);
    }
    across_ += distance_, at_ += map_.offset(distance_, 0);
  }

 private:
  __device__ static int lane() { return threadIdx.x % K::kShare; }

  const TileMap<K, T> map_;
  int across_ = 0, along_ = 0, distance_ = 0;
  int64_t at_ = 0;
};

}  // namespace mnad::cuda
