// How the columns of a ColumnTile are written to their map, and prefetched from it. In the caches, the order of vectors
// does not matter; memory is several times as fast where a run of positions is read or written line after line.
#pragma once

#include <algorithm>
#include <cassert>

#include "cpu/tile.h"

namespace mnad::cpu::MNAD_ISA {

template <int kCache = kSecondCache, class T>
inline void prefetch(const T* run, int64_t length) {
  for (int64_t i = 0; i < length; i += 64 / sizeof(T)) __builtin_prefetch(run + i, 0, kCache);
}

// The same for the i-th piece of a block of channels, whose runs are `stride` apart, in the order of memory.
template <int kCache, int kLength, class T>
inline void prefetch_piece(const T* block, int64_t stride, int64_t i) {
  constexpr uint64_t kPieces = kTile / kLength;  // of a run
  const auto run = int64_t(uint64_t(i) / kPieces), piece = int64_t(uint64_t(i) % kPieces);
  prefetch<kCache>(block + run * stride + piece * kLength, kLength);
}

// Channels to write to, `stride` apart, vector by vector of positions.
template <class T, class A, bool kStreamed>
struct Columns {
  T* data;
  int64_t stride;

  Columns from_channel(int64_t c) const { return {data + c * stride, stride}; }
};

// Writes the v-th vector of positions of a channel.
template <class T, class A, bool kStreamed>
inline void write(Columns<T, A, kStreamed> to, int64_t c, int v, Vector<A> value) {
  T* run = to.data + c * to.stride + v * kWidth<A>;
  if constexpr (kStreamed) return stream(run, value);
  if (v * kWidth<A> * sizeof(T) % 64 == 0) prefetch(run + kWriteAheadChannels * to.stride, 1);
  store(run, value);
}

// A null sink: drops the vectors that are written to it.
struct NullSink {};

template <class V>
inline void write(NullSink, int64_t, int, V) {}

// Calls f(columns) with a map that takes vectors.
template <class T, class A, class F>
void with_columns(Target<T, A> to, F&& f) {
  to.streamed ? f(Columns<T, A, true>{to.data, to.s.c}) : f(Columns<T, A, false>{to.data, to.s.c});
}

// Writes vectors of positions, from the v-th on, of the first channels. The barrier keeps the compiler from reordering
// the stores: a core that sees whole cache lines written one after the other need not read them first.
template <class T, class A, bool kStreamed, int Channels, int Count>
[[gnu::always_inline]] inline void write_block(Columns<T, A, kStreamed> to, int v,
                                               const Vector<A> (&block)[Channels][Count]) {
  constexpr int W = kWidth<A>;
#pragma GCC unroll 8
  for (int i = 0; i < Channels; ++i) {
    T* run = to.data + i * to.stride + v * W;
#pragma GCC unroll 8
    for (int j = 0; j < Count; ++j) {
      kStreamed ? stream(run + j * W, block[i][j]) : store(run + j * W, block[i][j]);
      asm volatile("" ::: "memory");
    }
  }
}

// Writes channels [begin, end) of n positions from the staging buffer, run by run.
template <class T, class A>
void write_staged(Target<T, A> to, int64_t n, int64_t begin, int64_t end) {
  constexpr int W = kWidth<A>;
  assert(to.staging && 0 < n && n <= kTile);
  const A* from = to.staging;
  for (int64_t c = begin; c < end; ++c, from += kTile) {
    T* run = to.data + c * to.s.c;
    if (n < kTile || to.s.p != 1) {
      for (int64_t t = 0; t < n; ++t) store_one(run + t * to.s.p, from[t]);
    } else {
#pragma GCC unroll 16
      for (int t = 0; t < kTile; t += W) to.streamed ? stream(run + t, load(from + t)) : store(run + t, load(from + t));
    }
  }
}

// Calls f(begin, end) for blocks of the C channels, and writes to the map what it leaves in the staging buffer, which
// stays in the cache.
template <class T, class A, class F>
void through_staging(Target<T, A> to, int64_t n, int64_t C, F&& f) {
  for (int64_t begin = 0; begin < C; begin += kStagedChannels) {
    const int64_t end = std::min(begin + kStagedChannels, C);
    f(begin, end);
    write_staged(to, n, begin, end);
  }
}

// Calls f(columns, begin, end) for blocks of the C channels; the first column is channel `begin`. The columns are the
// map itself or, if that takes no vectors or is streamed, the staging buffer. `Computes` says that f computes more than
// it reads: then vectors as long as a cache line are streamed at once, as the stores are far enough apart.
template <bool Computes, class T, class A, class F>
void staged(Target<T, A> to, int64_t n, int64_t C, F&& f) {
  if (n == kTile && to.s.p == 1) {
    if (!to.streamed) return f(Columns<T, A, false>{to.data, to.s.c}, int64_t{0}, C);
    if constexpr (Computes && kVectorBytes == 64) return f(Columns<T, A, true>{to.data, to.s.c}, int64_t{0}, C);
  }
  const Columns<A, A, false> staging{to.staging, kTile};
  through_staging(to, n, C, [&](int64_t begin, int64_t end) { f(staging, begin, end); });
}

}  // namespace mnad::cpu::MNAD_ISA
