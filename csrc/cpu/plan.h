// How a pass is cut into tiles and chunks.
//
// A tile is a run of positions of one sample that stays in the second cache; in a contiguous map it is one piece of
// memory for each channel. A chunk is a run of tiles of one sample that leaves one partial sum behind. The cut depends
// on the shape alone, never on the number of threads, so that neither does any result.
#pragma once

#include <algorithm>

#include "core/pass.h"
#include "cpu/tuning.h"

namespace mnad::cpu {

// What is written past the caches: of a thread's chunks none, the last one, the later half, or all.
enum class Streaming { nothing, last_chunk, later_half, everything };

struct Plan {
  int64_t chunk;  // positions, a multiple of kTile
  int64_t chunks_per_sample;
  int64_t chunks_per_memory;
  int64_t chunks;
  Streaming streaming = Streaming::nothing;

  Plan(const Shape& shape, bool sums_per_item) {
    const int64_t tiles = (shape.P + kTile - 1) / kTile;
    int64_t wanted = tiles;
    if (sums_per_item) {
      // Partial sums are M x C each: few enough to stay small beside the features, enough for many threads.
      const int64_t partial_bytes = shape.M * shape.C * int64_t{8};
      const int64_t most = std::clamp(kMostPartialBytes / partial_bytes, kFewestChunks, kMostChunks);
      wanted = std::min(tiles, std::max<int64_t>(most / std::max<int64_t>(shape.B, 1), 1));
    }
    const int64_t tiles_per_chunk = tiles > 0 ? (tiles + wanted - 1) / wanted : 1;
    chunk = tiles_per_chunk * kTile;
    chunks_per_sample = (shape.P + chunk - 1) / chunk;
    chunks = shape.B * chunks_per_sample;
    chunks_per_memory = shape.items_per_sample ? chunks_per_sample : chunks;
  }
};

// Whether tiles are rows of channels (channels-last maps) or columns of positions.
inline bool in_rows(const Forward& pass) {
  return pass.features_strides.c == 1 && (!pass.output || pass.output_strides.c == 1);
}
inline bool in_rows(const Backward& pass) { return pass.features_strides.c == 1; }

// Which chunks of `to` are streamed, in a pass that moves `maps` times the bytes of the features. Streaming needs every
// vector aligned.
inline Streaming streaming(DType dtype, const Shape& shape, int maps, bool rows, const void* to, Strides s,
                           int64_t vector_bytes) {
  const int64_t element = dtype == DType::f64 ? 8 : dtype == DType::f32 ? 4 : 2, line = 64 / element;
  const bool aligned = reinterpret_cast<uintptr_t>(to) % 64 == 0 && s.b % line == 0 &&
                       (rows ? s.p % line == 0 && shape.C % line == 0 : s.c % line == 0);
  const int64_t bytes = maps * shape.B * shape.C * shape.P * element;
  if (!to || !aligned || bytes <= kSmallBytes) return Streaming::nothing;
  if (bytes > kHeldBytes) return Streaming::everything;
  // More is streamed where deferred stores hide it behind the computation.
  return rows ? Streaming::nothing : vector_bytes == 64 ? Streaming::later_half : Streaming::last_chunk;
}

// A read has three maps, a step and its backward pass have six.
inline Streaming streaming(const Forward& pass, int64_t vector_bytes) {
  const int maps = pass.wants_losses() ? 6 : 3;
  return streaming(pass.dtype, pass.shape, maps, in_rows(pass), pass.output, pass.output_strides, vector_bytes);
}
inline Streaming streaming(const Backward& pass, int64_t vector_bytes) {
  return streaming(pass.dtype, pass.shape, 6, in_rows(pass), pass.grad_features, pass.grad_features_strides,
                   vector_bytes);
}

}  // namespace mnad::cpu
