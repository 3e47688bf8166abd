// A tile of queries as rows of channels, packed from and unpacked to maps of any layout.
#pragma once

#include "core/pass.h"
#include "cpu/simd.h"

namespace mnad::cpu::MNAD_ISA {

constexpr int kMaxTile = 32;

// Rows of the computing type, padded with zeros to a whole number of vectors.
template <class A>
struct Rows {
  A* data;
  int64_t stride;

  A* operator[](int64_t t) const { return data + t * stride; }
};

template <class T, class A>
void pack_element_wise(const T* from, Strides s, int64_t channels, int64_t padded_channels, int64_t positions,
                       Rows<A> rows) {
  for (int64_t t = 0; t < positions; ++t) {
    const T* x = from + t * s.p;
    A* row = rows[t];
    int64_t c = 0;
    if (s.c == 1)
      for (; c + kWidth<A> <= channels; c += kWidth<A>) store(row + c, load(x + c));
    for (; c < channels; ++c) row[c] = load_one(x + c * s.c);
    for (; c < padded_channels; ++c) row[c] = 0;
  }
}

// Reads `positions` positions of `channels` channels into rows.
template <class T, class A>
void pack(const T* from, Strides s, int64_t channels, int64_t positions, Rows<A> rows) {
  constexpr int W = kWidth<A>;
  const int64_t block_positions = s.p == 1 ? positions / W * W : 0;
  const int64_t block_channels = channels / W * W;
  // All positions of W channels in turn: the channels of a contiguous map lie in the same cache sets, so a
  // cache line must be used up before the next one comes.
  for (int64_t c = 0; c < block_channels; c += W) {
    for (int64_t t = 0; t < block_positions; t += W) {
      Vector<A> block[W];
      for (int i = 0; i < W; ++i) block[i] = load(from + (c + i) * s.c + t);
      transpose<A>(block);
      for (int i = 0; i < W; ++i) store(rows[t + i] + c, block[i]);
    }
  }
  if (block_positions > 0 && block_channels < rows.stride)
    pack_element_wise(from + block_channels * s.c, s, channels - block_channels, rows.stride - block_channels,
                      block_positions, Rows<A>{rows.data + block_channels, rows.stride});
  pack_element_wise(from + block_positions * s.p, s, channels, rows.stride, positions - block_positions,
                    Rows<A>{rows[block_positions], rows.stride});
}

template <class T, class A>
void unpack_element_wise(Rows<A> rows, const A* scale, T* to, Strides s, int64_t channels, int64_t positions) {
  for (int64_t t = 0; t < positions; ++t) {
    const A* row = rows[t];
    const A factor = scale ? scale[t] : A(1);
    T* y = to + t * s.p;
    int64_t c = 0;
    if (s.c == 1)
      for (; c + kWidth<A> <= channels; c += kWidth<A>) store(y + c, load(row + c) * factor);
    for (; c < channels; ++c) store_one(y + c * s.c, row[c] * factor);
  }
}

// Writes rows, each times its factor in `scale` (1 if null), to `positions` positions of `channels` channels.
template <class T, class A>
void unpack(Rows<A> rows, const A* scale, T* to, Strides s, int64_t channels, int64_t positions) {
  constexpr int W = kWidth<A>;
  const int64_t block_positions = s.p == 1 ? positions / W * W : 0;
  const int64_t block_channels = channels / W * W;
  for (int64_t c = 0; c < block_channels; c += W) {
    for (int64_t t = 0; t < block_positions; t += W) {
      Vector<A> block[W];
      for (int i = 0; i < W; ++i) block[i] = load(rows[t + i] + c) * (scale ? scale[t + i] : A(1));
      transpose<A>(block);
      for (int i = 0; i < W; ++i) store(to + (c + i) * s.c + t, block[i]);
    }
  }
  if (block_positions > 0 && block_channels < channels)
    unpack_element_wise(Rows<A>{rows.data + block_channels, rows.stride}, scale, to + block_channels * s.c, s,
                        channels - block_channels, block_positions);
  unpack_element_wise(Rows<A>{rows[block_positions], rows.stride}, scale ? scale + block_positions : nullptr,
                      to + block_positions * s.p, s, channels, positions - block_positions);
}

}  // namespace mnad::cpu::MNAD_ISA
